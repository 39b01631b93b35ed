"""Where the files are that come with the package: in the repository, or beside the package."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def _shipped(*parts: str) -> Path:
    """Return a file's path in the installed package, or in the repository around it."""
    installed = _PACKAGE.joinpath(*parts)
    return installed if installed.exists() else _PACKAGE.parent.joinpath(*parts)


def schema_sql() -> Path:
    """Return the path of schema.sql."""
    return _shipped("schema.sql")


def schema_postgresql_sql() -> Path:
    """Return the path of schema.postgresql.sql, its twin."""
    return _shipped("schema.postgresql.sql")


def kamailio_cfg() -> Path:
    """Return the path of kamailio.cfg."""
    return _shipped("kamailio.cfg")


def starter() -> Path:
    """Return the path of the configuration that `sbcauth init` begins with."""
    return _shipped("sbcauth.yaml")


def script() -> Path:
    """Return the path of the script that Kamailio loads."""
    return _shipped("kemi", "sbcauth_kemi.py")

"""Which database a URL names: `sqlite:///PATH`, or `postgresql://…` as libpq reads it."""

import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

_POSTGRESQL = ("postgresql://", "postgres://")
_PASSWORD = re.compile(
    r"(?<=://)(?P<user>[^:@/?]*:)(?P<of_user>[^?]*)(?=@)|"
    r"(?<=[?&])(?P<key>(?:ssl)?password=)(?P<of_key>[^&]*)"
)


def is_postgresql(url: str) -> bool:
    """Tell whether a URL names a database of PostgreSQL."""
    return url.startswith(_POSTGRESQL)


def sqlite_path(url: str) -> Path:
    """Return the file that `sqlite:///PATH` names; an absolute PATH makes a fourth slash."""
    return Path(unquote(urlsplit(url).path).removeprefix("/"))


def sqlite_url(path: Path) -> str:
    """Return the URL of a file."""
    return f"sqlite:///{quote(str(path))}"


def without_password(url: str, hide: Callable[[str], str] = lambda _: "********") -> str:
    """Return the URL with what `hide` makes of each password in its place."""

    def hidden(found: re.Match[str]) -> str:
        user, of_user, key, of_key = found.group("user", "of_user", "key", "of_key")
        return f"{user or key}{hide(of_user if user else of_key)}"

    return _PASSWORD.sub(hidden, url)


def name_of(url: str) -> str:
    """Return what messages call the database."""
    return without_password(url) if is_postgresql(url) else str(sqlite_path(url))

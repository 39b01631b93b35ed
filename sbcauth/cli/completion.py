"""What the shell completes: IP Groups of the configuration, and users of User Info."""

import os
from itertools import islice
from pathlib import Path
from typing import Any

import typer

from sbcauth.cli.options import default_config
from sbcauth.config.load import Config, load
from sbcauth.exceptions import SbcAuthError
from sbcauth.users.database_url import sqlite_url
from sbcauth.users.table import UserTable

_MOST = 100


def ip_groups(context: typer.Context, incomplete: str) -> list[str]:
    """Return the IP Groups whose names begin so; none where there is no configuration."""
    config = _config(context)
    groups = config.ip_groups if config else ()
    return [group.name for group in groups if group.name.startswith(incomplete)]


def users(context: typer.Context, incomplete: str) -> list[str]:
    """Return the users whose names begin so, a hundred at most."""
    config = _config(context)
    if config is None or not config.users_file.exists():
        return []
    try:
        with UserTable(sqlite_url(config.users_file), config.ha1_key_file) as table:
            return list(islice(table.names(incomplete), _MOST))
    except SbcAuthError:
        return []


def _config(context: Any) -> Config | None:
    file = context.find_root().params.get("config_file")
    try:
        return load(Path(file) if file else default_config(), os.environ)
    except SbcAuthError:
        return None

"""All that is found in a configuration: mistakes, warnings, and users that it no longer fits."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from sbcauth.config.load import Config, load
from sbcauth.exceptions import ConfigError, Mistake
from sbcauth.monitoring.user_table import table_to_read
from sbcauth.users.database_url import is_postgresql
from sbcauth.users.membership import orphans


class Checked(NamedTuple):
    """What is found in `file`; `users` has a line for each user that no longer fits."""

    file: str
    ip_groups: list[str]
    mistakes: list[Mistake]
    warnings: list[Mistake]
    users: list[str]


def check(file: Path, environment: Mapping[str, str]) -> Checked:
    """Return all that is found in the configuration as it stands in `file`."""
    try:
        config = load(file, environment)
    except ConfigError as error:
        return Checked(str(file), [], error.mistakes, [], [])
    names = [group.name for group in config.ip_groups]
    return Checked(str(file), names, [], [*config.warnings], unfit_users(config))


def unfit_users(config: Config) -> list[str]:
    """Return a line for each user that the configuration does not fit."""
    if not is_postgresql(config.database) and not config.users_file.exists():
        return []
    with table_to_read(config) as table:
        return list(orphans(table, config.ip_groups))

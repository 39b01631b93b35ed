"""Having a running server load a changed configuration, and what that changes."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from sbcauth.config.load import Config, load
from sbcauth.config.reload import request_reload
from sbcauth.config.versions import changes, kept, values, version
from sbcauth.exceptions import SbcAuthError
from sbcauth.monitoring.environment import unseen
from sbcauth.monitoring.in_force import running
from sbcauth.monitoring.rpc import Rpc


class NotReloaded(SbcAuthError):
    """The configuration is not in force after a reload."""


class Change(NamedTuple):
    """The version of a configuration, and what it changes in what is in force.

    `lines` are None where that is not known: the server started with another version, or none.
    """

    version: str
    lines: list[str] | None


def change(config: Config, server: Rpc) -> Change:
    """Return what a reload of `config` would change; raises NotRunning, RpcError."""
    new = values(config)
    before, old = running(server), kept(config)
    known = before is not None and old is not None and version(old) == before.version
    return Change(version(new), list(changes(old, new)) if known and old is not None else None)


def ask_for_reload(
    file: Path, environment: Mapping[str, str], server: Rpc
) -> tuple[Config, Change]:
    """Have the server reload `file`; return what that changes, once it comes into force.

    `is_in_force` tells when it has. Raises ConfigError, NotReloaded, NotRunning, RpcError.
    """
    config = load(file, environment)
    _see_the_same_variables(config, server)
    found = change(config, server)
    request_reload(config)
    return config, found


def _see_the_same_variables(config: Config, server: Rpc) -> None:
    """Raise NotReloaded where `${env:…}` means something else to the server."""
    if names := unseen(config.file, server):
        raise NotReloaded(
            "not reloaded: the server has the environment that it was started with, in which "
            f"{', '.join(names)} is another or missing; restart it, or write ${{file:…}} in place "
            "of ${env:…}"
        )

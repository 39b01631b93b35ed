"""Checks of whom an IP Group challenges, with what, and who verifies the answer."""

import pathlib
from collections.abc import Iterator, Sequence
from difflib import get_close_matches

from sbcauth.config.checks.finding import Finding
from sbcauth.config.external_servers import HttpFileSettings, RadiusFileSettings
from sbcauth.config.inheritance import at_least, setting, user_agents
from sbcauth.config.schema import FileSettings, IPGroupSettings
from sbcauth.config.source import Path
from sbcauth.digest.algorithms import Algorithm
from sbcauth.policy.external_server import LONGEST_WAIT
from sbcauth.policy.ip_groups import AuthenticationMode, AuthQop, IPGroupType, ServerAuthMode

_METHODS = [
    "INVITE",
    "REGISTER",
    "SUBSCRIBE",
    "NOTIFY",
    "MESSAGE",
    "PUBLISH",
    "REFER",
    "OPTIONS",
    "INFO",
    "UPDATE",
    "PRACK",
    "BYE",
]
_NEVER_CHALLENGED = {"ACK", "CANCEL"}


def check_as_server(path: Path, group: IPGroupSettings, file: FileSettings) -> Iterator[Finding]:
    """Find what is wrong with what an IP Group challenges, and with who verifies the answer."""
    methods = group.authentication_method_list
    where = (*path, "authentication_method_list")
    if methods is None:
        yield Finding(where, "is required in mode sbc-as-server", True)
    elif not methods:
        yield Finding(where, "is empty: nothing is challenged", False)
    for method in methods or ():
        if method in _NEVER_CHALLENGED:
            yield Finding(where, f"{method} is never challenged (RFC 3261, 22.1)", False)
        elif method not in _METHODS and method != "setup-invite":
            near = get_close_matches(method, _METHODS, n=1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            yield Finding(where, f"{method} is no method that we know{hint}", bool(near))
    yield from _check_offers(path, group, file)
    mode = setting(group, file, "server_auth_mode")
    if mode is not ServerAuthMode.LOCAL:
        yield from _check_external(path, group, file, mode)
    elif group.type is IPGroupType.SERVER and group.username_as_server is None:
        message = "is required: what the remote server must present (type server, sbc-as-server)"
        yield Finding((*path, "username_as_server"), message, True)


def _check_offers(path: Path, group: IPGroupSettings, file: FileSettings) -> Iterator[Finding]:
    """Find offers that are weaker than `at_least`: the IP Group's own, and those of rules."""
    floor = at_least(group, file)
    offers: list[tuple[Path, Sequence[Algorithm], AuthQop, bool]] = [
        (
            (*path, "at_least"),
            setting(group, file, "auth_algorithms"),
            setting(group, file, "auth_qop"),
            True,
        )
    ]
    for number, rule in enumerate(group.user_agents or ()):
        where = (*path, "user_agents", number)
        offers.append((where, rule.auth_algorithms or (), rule.auth_qop or floor.qop, False))
    for where, algorithms, qop, own in offers:
        weak = [str(each) for each in algorithms if each.strength < floor.algorithm.strength]
        weak += [f"qop {qop}"] * (qop.strength < floor.qop.strength)
        if weak:
            names, what = ", ".join(weak), f"algorithm {floor.algorithm}, qop {floor.qop}"
            message = f"is {what}: {names} of what this IP Group offers is weaker"
            if not own:
                message = f"{names} is weaker than at_least ({what}), and is not offered"
            yield Finding(where, message, own)


def _check_external(
    path: Path, group: IPGroupSettings, file: FileSettings, mode: ServerAuthMode
) -> Iterator[Finding]:
    """Find what is wrong with the servers that are asked in this mode."""
    asked: RadiusFileSettings | HttpFileSettings | None = setting(group, file, mode)
    where = "http.urls" if mode is ServerAuthMode.HTTP else "radius.servers"
    settings = asked.value(pathlib.Path()) if asked else None
    if asked is None or settings is None or not settings.patience:
        yield Finding((*path, "server_auth_mode"), f"{mode} needs {where}", True)
    elif mode is ServerAuthMode.RADIUS and asked.timeout * asked.tries <= 1.5:
        message = "gives up before a server that delays its Access-Reject by a second has answered"
        yield Finding((*path, "radius"), message, False)
    elif settings.patience > LONGEST_WAIT:
        message = f"nobody waits for all tries: after {LONGEST_WAIT:.0f} seconds it is 503"
        yield Finding((*path, str(mode)), message, False)
    if group.username_as_server is not None:
        message = f"plays no part: with server_auth_mode {mode} the external server knows the users"
        yield Finding((*path, "username_as_server"), message, False)
    offered = set(setting(group, file, "auth_algorithms"))
    offered.update(*(rule.algorithms or () for rule in user_agents(group, file)))
    if mode is ServerAuthMode.RADIUS and offered != {Algorithm.MD5}:
        message = "FreeRADIUS knows MD5 only, and rejects users of other algorithms"
        yield Finding((*path, "auth_algorithms"), message, False)


def check_shadow(where: Path, group: IPGroupSettings, file: FileSettings) -> Iterator[Finding]:
    """Find what is wrong with an IP Group in shadow, and say what it opens."""
    if group.authentication_mode is not AuthenticationMode.SBC_AS_SERVER:
        yield Finding(where, "has no effect but in mode sbc-as-server", False)
    elif setting(group, file, "server_auth_mode") is not ServerAuthMode.LOCAL:
        yield Finding(where, "is for server_auth_mode local: no external server is asked", True)
    elif group.type is IPGroupType.USER and group.route_to is None:
        message = "needs a route_to: what nobody has proved is not kept here"
        yield Finding(where, message, True)
    else:
        yield Finding(where, "is on: every request passes, whoever sent it", False)

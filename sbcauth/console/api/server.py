"""The server: its status, its IP Groups and its configuration, and the reload."""

from typing import Any, NamedTuple

from sbcauth.config.load import load_text, read_text
from sbcauth.config.show import effective
from sbcauth.console.api.asked import ClassificationQuery, Page, Text
from sbcauth.console.api.call import Call
from sbcauth.console.masking import new_references
from sbcauth.console.pages.ip_groups import whose
from sbcauth.exceptions import ConfigError, UserInfoError
from sbcauth.monitoring.config_check import Checked, check
from sbcauth.monitoring.in_force import is_in_force
from sbcauth.monitoring.reloading import ask_for_reload
from sbcauth.monitoring.status import Status
from sbcauth.monitoring.status import status as ask
from sbcauth.policy.classification import IPGroups
from sbcauth.policy.rules import Tried


class IPGroupList(NamedTuple):
    """What is in force for some of the IP Groups, of `total`, in the words of the file."""

    ip_groups: list[dict[str, Any]]
    total: int


class Rule(NamedTuple):
    """What is tried: requests from `network` that fit in all that is not null are of `ip_group`.

    It is null where they are refused. Where not `is_classification`, the rule comes from
    `proxy_set` or `edge_proxies`.
    """

    network: str
    ip_group: str | None
    port: int | None
    transport: str | None
    from_host: str | None
    request_uri_host: str | None
    is_classification: bool


class Classification(NamedTuple):
    """Some of the rules, of `total`, in the order that they are tried; the first that fits counts.

    `place` is the address that they are tried for, null for all of them.
    """

    place: str | None
    rules: list[Rule]
    total: int


class Reloaded(NamedTuple):
    """The version that was asked for, what it changes, and whether it is in force by now.

    `changes` are null where that is not known.
    """

    version: str
    changes: list[str] | None
    in_force: bool


def status(call: Call[None, None]) -> Status:
    """Tell what runs, since when, and what it has decided."""
    return ask(call.console.server(), call.console.cluster())


def ip_groups(call: Call[Page, None]) -> IPGroupList:
    """Tell what is in force for each IP Group, secrets masked."""
    found = effective(call.console.config())["ip_groups"]
    return IPGroupList(found[call.query.skip :][: call.query.limit], len(found))


def classification(call: Call[ClassificationQuery, None]) -> Classification:
    """Tell in which order the rules are tried, or whose an address is."""
    asked = call.query
    groups = IPGroups(call.console.config().ip_groups)
    place, found = None, groups.in_order()
    if asked.address is not None:
        place, found, trouble = whose(groups, asked.address)
        if trouble:
            raise UserInfoError(f"address {trouble}")
    shown = [_rule(each) for each in found[asked.skip :][: asked.limit]]
    return Classification(place, shown, len(found))


def _rule(tried: Tried) -> Rule:
    rule = tried.rule
    return Rule(
        tried.network,
        tried.ip_group or None,
        tried.port,
        rule.transport if rule else None,
        rule.from_host if rule else None,
        rule.request_uri_host if rule else None,
        is_classification=rule is not None,
    )


def check_configuration(call: Call[None, None]) -> Checked:
    """Name every mistake in the configuration, and users that it no longer fits."""
    console = call.console
    with console.alone():
        return check(console.file, console.environment)


def check_text(call: Call[None, Text]) -> Checked:
    """Name every mistake that the configuration would have with this text; it is not kept.

    A `${file:…}` or `${env:…}` that the file has not is a mistake here. Users are not looked at.
    """
    console, text = call.console, call.body.text
    file = str(console.file)
    if found := new_references(file, read_text(console.file), text):
        return Checked(file, [], found, [], [])
    try:
        config = load_text(console.file, text, console.environment)
    except ConfigError as error:
        return Checked(file, [], error.mistakes, [], [])
    return Checked(file, [each.name for each in config.ip_groups], [], [*config.warnings], [])


def reload(call: Call[None, None]) -> Reloaded:
    """Have the server load the configuration again, and say what changes."""
    console = call.console
    asked_at = int(call.now)
    server = console.server()
    _, (version, lines) = ask_for_reload(console.file, console.environment, server)
    call.log("reload", version=version)
    return Reloaded(version, lines, is_in_force(server, version, asked_at))

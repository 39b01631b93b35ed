"""IP Groups: what is in force for each, and whose an address is."""

import re
from ipaddress import ip_address
from typing import Any, NamedTuple

from starlette.responses import Response

from sbcauth.config.show import effective
from sbcauth.console.visit import Visit
from sbcauth.policy.classification import IPGroups
from sbcauth.policy.rules import Tried

_WHERE = re.compile(
    r"(?:(udp|tcp|tls|ws|wss):)?(\[[0-9a-f:.]+\]|[0-9a-f.]+|[0-9a-f:]+?)(?::([0-9]{1,5}))?",
    re.IGNORECASE,
)
_MOST_RULES = 500


class Whose(NamedTuple):
    """What an address is asked for by, and what may fit requests from there, in order."""

    place: str
    tried: list[Tried]
    trouble: str = ""


def ip_groups(visit: Visit) -> Response:
    """Show what is in force for each IP Group, and the order of classification."""
    config = visit.console.config()
    groups = IPGroups(config.ip_groups)
    values = effective(config)
    address = visit.asked("address")
    return visit.page(
        "ip_groups.html",
        groups=values.pop("ip_groups"),
        general=values,
        order=groups.in_order()[:_MOST_RULES],
        most=_MOST_RULES,
        address=address,
        whose=whose(groups, address) if address else None,
        shown=_shown,
    )


def whose(groups: IPGroups, text: str) -> Whose:
    """Return whose `ADDRESS`, `ADDRESS:PORT` or `tls:ADDRESS:PORT` is."""
    try:
        transport, address, port = "udp", str(ip_address(text.strip("[]"))), "5060"
    except ValueError:
        found = _WHERE.fullmatch(text)
        try:
            if not found:
                raise ValueError
            address = str(ip_address(found[2].strip("[]")))
        except ValueError:
            return Whose(text, [], "is no address, such as 192.0.2.7 or tls:192.0.2.7:5061")
        transport, port = (found[1] or "udp").lower(), found[3] or "5060"
    place = f"[{address}]" if ":" in address else address
    tried = groups.tried_at(address, int(port), transport)
    return Whose(f"{place}:{port}/{transport}", tried)


def _shown(value: Any) -> str:
    """Return a value of the configuration in words."""
    if value is None or value == [] or value == "":
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return "; ".join(map(_shown, value))
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_shown(each)}" for key, each in value.items())
    return str(value)

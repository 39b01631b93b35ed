"""The values of sbcauth.yaml that are SIP's: methods, algorithms, realms, numbers."""

import re
from typing import Any

from sbcauth.config.values import names, shown
from sbcauth.digest.algorithms import Algorithm
from sbcauth.policy.identities import as_identity
from sbcauth.policy.ip_groups import AuthQop

_TOKEN = re.compile(r"[A-Za-z0-9.!%*_+`'~-]+")
_NUMBER = re.compile(r"[+]?[0-9*#]{1,20}|urn:service:[a-z][a-z0-9.-]{0,60}", re.IGNORECASE)


def methods(value: Any) -> tuple[str, ...]:
    r"""Return method names in upper case, and `setup-invite`; the box's `INVITE\REGISTER` too."""
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list):
        raise ValueError("must be a list of SIP methods, such as [REGISTER, INVITE]")
    methods = []
    for item in items:
        names = re.split(r"[\\/,\s]+", item) if isinstance(item, str) else [item]
        for name in names:
            if name == "":
                continue
            if not isinstance(name, str) or not _TOKEN.fullmatch(name):
                raise ValueError(f"{shown(name)} is no SIP method")
            methods.append("setup-invite" if name.lower() == "setup-invite" else name.upper())
    return tuple(methods)


def algorithms(value: Any) -> tuple[Algorithm, ...]:
    """Return algorithms in the order given; one may stand without a list."""
    allowed = ", ".join(Algorithm)
    items = value if isinstance(value, list) else [value]
    if not items:
        raise ValueError(f"needs at least one of {allowed}")
    algorithms = []
    for item in items:
        if str(item).upper() not in [*Algorithm]:
            raise ValueError(f"{shown(item)} is not one of {allowed}")
        algorithms.append(Algorithm(str(item).upper()))
    if len(set(algorithms)) != len(algorithms):
        raise ValueError("names an algorithm twice")
    return tuple(algorithms)


def algorithm(value: Any) -> Algorithm:
    """Return an algorithm."""
    return algorithms([value])[0]


def least_qop(value: Any) -> AuthQop:
    """Return a qop that an answer has or has not."""
    word = str(value).lower()
    if word not in ("none", "auth", "auth-int"):
        raise ValueError(f"{shown(value)} is not one of none, auth, auth-int")
    return AuthQop(word)


def user_agents(value: Any) -> Any:
    """Return a list of rules; `known` may stand without a list, and is a rule of that pattern."""
    items = value if isinstance(value, list) else [value]
    for item in items:
        if not isinstance(item, dict) and str(item).lower() != "known":
            raise ValueError("must be `known`, or a list of rules with a pattern, and `known`")
    return tuple(item if isinstance(item, dict) else {"pattern": "known"} for item in items)


def server_auth_mode(value: Any) -> Any:
    """Refuse the number of a mode that nobody supports; leave all others to `words`."""
    if value == 1 and type(value) is int:
        raise ValueError("1 is not supported (nor by the box): use radius, and radius.attributes")
    return value


def realms(value: Any) -> tuple[str, ...]:
    """Return realms of other servers, as their challenges have them."""
    found = names(value)
    if not found:
        raise ValueError("must name a realm at least")
    return found


def emergency_numbers(value: Any) -> frozenset[str]:
    """Return the user parts and URNs of emergency calls, in lower case."""
    items = value if isinstance(value, list) else [value]
    if not items:
        raise ValueError("must name a number at least, such as 112")
    found = set()
    for item in items:
        number = str(item) if type(item) in (int, str) else ""
        if not _NUMBER.fullmatch(number):
            raise ValueError(f"{shown(item)} is not a number or URN, such as 112, urn:service:sos")
        found.add(number.lower())
    return frozenset(found)


def identities(value: Any) -> tuple[str, ...]:
    """Return numbers, and prefixes that end in a star; one may stand without a list."""
    items = value if isinstance(value, list) else [value]
    for item in items:
        if type(item) in (int, float):
            raise ValueError(f"{item} is a number to YAML: put it in quotes")
        if not isinstance(item, str):
            raise ValueError(f"{shown(item)} is no identity: a number or prefix in quotes")
        as_identity(item)
    return tuple(dict.fromkeys(items))

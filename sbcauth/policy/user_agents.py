"""Which algorithms and qop are offered to whom, by what a request's User-Agent says.

No order of challenges suits all programs: some read the first challenge only, some the last only,
and some know no qop. A User-Agent is anybody's to write, so a rule never offers what is weaker than
the IP Group's `at_least`; what of it is weaker is left out.
"""

import re
from fnmatch import translate
from typing import NamedTuple

from sbcauth.digest.algorithms import Algorithm
from sbcauth.policy.ip_groups import AtLeast, AuthQop, IPGroup, UserAgentRule

LONGEST_USER_AGENT = 255
"""Characters of a User-Agent that are looked at."""

_ONE = (Algorithm.MD5,)
KNOWN = (
    UserAgentRule("kamailio (5.*", _ONE),  # the module uac before 6.2 reads the first challenge
    UserAgentRule("kamailio (6.0*", _ONE),
    UserAgentRule("kamailio (6.1*", _ONE),
    UserAgentRule("pyVoIP 1.*", _ONE, AuthQop.NONE),  # reads the first; answers without qop
    UserAgentRule("*aiosip/*", _ONE, AuthQop.NONE),  # answers without qop
    UserAgentRule("JsSIP 3.*", _ONE),  # reads the last
    UserAgentRule("SIP.js/0.*", _ONE),  # reads the last
)
"""What `known` stands for: programs that were tried, which do MD5 and read one challenge only."""


class Terms(NamedTuple):
    """What is offered: algorithms, in the order of the challenges, and qop."""

    algorithms: tuple[Algorithm, ...]
    qop: AuthQop


def own_terms(group: IPGroup) -> Terms:
    """Return what an IP Group offers to whom no rule fits."""
    return Terms(group.auth_algorithms, group.auth_qop)


def weakest(terms: Terms) -> AtLeast:
    """Return the weakest that can be answered to an offer."""
    return AtLeast(min(terms.algorithms, key=lambda each: each.strength), terms.qop.weakest)


def floor_of(group: IPGroup) -> AtLeast:
    """Return the weakest that an IP Group offers to anybody."""
    return group.at_least or weakest(own_terms(group))


def rules_in_force(group: IPGroup) -> list[tuple[str, Terms]]:
    """Return the pattern of each rule of an IP Group and what it offers there.

    What is weaker than `at_least` is left out; of a rule that says nothing then, the IP Group's
    own is offered. Rules that all come to that are none.
    """
    own = own_terms(group)
    found = [(rule.pattern, _terms(rule, own, floor_of(group))) for rule in group.user_agents]
    return found if any(terms != own for _, terms in found) else []


def _terms(rule: UserAgentRule, own: Terms, floor: AtLeast) -> Terms:
    strong = tuple(
        each for each in rule.algorithms or () if each.strength >= floor.algorithm.strength
    )
    qop = rule.qop if rule.qop and rule.qop.strength >= floor.qop.strength else own.qop
    return Terms(strong or own.algorithms, qop)


def star_pattern(pattern: str) -> re.Pattern[str]:
    """Return what matches a pattern, in any case, in which `*` alone stands for any text."""
    only_stars = pattern.replace("[", "[[]").replace("?", "[?]")
    return re.compile(translate(only_stars), re.IGNORECASE)

"""The last refusals, whoever they were of, and what to do about them."""

from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from sbcauth.config.load import Config
from sbcauth.exceptions import Unavailable
from sbcauth.monitoring.latest import facts
from sbcauth.monitoring.lockouts import Lockout, lockouts
from sbcauth.monitoring.rpc import NotRunning, Rpc, RpcError
from sbcauth.monitoring.user_table import table_to_read
from sbcauth.monitoring.why import Outcome, advice
from sbcauth.policy.decision import Reason

_USUAL = frozenset(str(reason) for reason in Reason if reason.is_usual)
MOST_READ = 1000
"""So many outcomes are looked through for refusals."""


class Refusals(NamedTuple):
    """Refusals, the newest last, and a line of advice for each trouble in them."""

    outcomes: list[Outcome]
    advice: list[str]


def is_refusal(outcome: Outcome) -> bool:
    """Tell whether an outcome is a refusal, or a challenge for the wrong realm."""
    goes_on = outcome.decision in ("accept", "pass") or outcome.reason in _USUAL
    return not goes_on or bool(outcome.detail)


def with_advice(
    config: Config,
    server: Rpc,
    found: list[Outcome],
    now: float,
    user: str | None = None,
    warn: Callable[[str], None] | None = None,
) -> Refusals:
    """Return outcomes with what to do about them, at `now`; `user` is whom they are about.

    `warn` is told why User Info cannot be read, which is passed by then; without it, Unavailable is
    raised.
    """
    locked_out: list[Lockout] | None = None
    with suppress(NotRunning, RpcError):
        locked_out = lockouts(server, now)
    names = {name for each in found for name in (each.username, each.from_user)}
    are_complete = locked_out is not None
    try:
        with table_to_read(config) as table:
            known = facts(config, table, names, locked_out or ())
    except Unavailable as error:
        if warn is None:
            raise
        warn(str(error))
        are_complete = False
        known = facts(config, None, names, locked_out or ())
    return Refusals(found, advice(found, user or "", known, known=are_complete))

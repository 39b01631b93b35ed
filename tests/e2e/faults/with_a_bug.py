"""What a test has Kamailio load: the product's script, and a bug for requests from `bug`."""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "kemi"))

import sbcauth_kemi
from sbcauth_door.worker import Worker

from sbcauth.policy.decision import Decision
from sbcauth.policy.request import Request
from sbcauth.policy.server import AuthServer

_decide = AuthServer.decide


def _decide_with_a_bug(self: AuthServer, request: Request, *others: Any) -> Decision:
    if request.from_user == "bug":
        raise ZeroDivisionError("secret of the bug")
    return _decide(self, request, *others)


def mod_init() -> Worker:
    """Return the product's routing functions, which meet the bug."""
    setattr(AuthServer, "decide", _decide_with_a_bug)  # noqa: B010 - no method is assigned to
    return sbcauth_kemi.mod_init()

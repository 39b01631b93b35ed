"""Answering a request: with challenges, with a refusal, or with 200."""

from collections.abc import Iterable

import KSR

from sbcauth.policy.decision import Reject

# Each look-up of one of these costs half as much as the call.
append_to_reply, send_reply = KSR.hdr.append_to_reply, KSR.sl.send_reply
PHRASES = {401: "Unauthorized", 407: "Proxy Authentication Required"}


def challenge(status: int, headers: Iterable[str]) -> None:
    """Answer the request with challenges."""
    for header in headers:
        append_to_reply(f"{header}\r\n")
    send_reply(status, PHRASES[status])


def refuse(decision: Reject) -> None:
    """Answer the request with a refusal."""
    retry_after = decision.retry_after
    if retry_after:
        append_to_reply(f"Retry-After: {retry_after}\r\n")
    for header in decision.headers:
        append_to_reply(f"{header}\r\n")
    send_reply(decision.status, decision.phrase)


def keep_alive() -> None:
    """Answer the request with 200: that we are there is all that it asks."""
    send_reply(200, "OK")

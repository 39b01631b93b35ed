"""Shadow: what is decided in an IP Group where none of it is carried out yet."""

from sbcauth.policy.decision import Accept, Challenge, Decision, Pass, Reject
from sbcauth.policy.gate import Gate
from sbcauth.policy.request import Request
from sbcauth.policy.words import Word


def in_shadow(decision: Decision, gate: Gate, request: Request) -> Decision:
    """Return a Pass that tells what was decided; nothing of it reaches the wire.

    A registration is for the server that it is routed to: nothing is kept here in shadow.
    """
    if request.method == "REGISTER" and not gate.group.route_to:
        return decision
    word = Word.PEER if gate.is_peer else Word.CONFIGURED
    word = Word.DIALOG if request.party else word
    match decision:
        case Accept(ip_group, username, reason=reason, is_first=first):
            return Pass(reason, ip_group, username, "accept", is_first=first, word=word)
        case Challenge(_, _, reason, ip_group, username, detail):
            return Pass(reason, ip_group, username, "challenge", detail, word=word)
        case Reject(_, _, reason, ip_group, username, detail=detail):
            return Pass(reason, ip_group, username, "reject", detail, word=word)
    return Pass(decision.reason, word=word)  # pragma: no cover - there are no others

"""Calls as tests set them up and attack them: both sides, and every header field to be changed.

call = Call.between(alice, bob, "sip:1002@example.com")
call.caller.says("BYE")
call.callee.hears("BYE")
"""

import re
from secrets import token_hex
from typing import Self

import sip
from phone import Endpoint, Phone, Request
from sip import Response

NOBODY = 0.15
"""Seconds for which nothing must arrive."""


def uri_of(contact: str) -> str:
    """Return the URI of a Contact in angle brackets."""
    found = re.search(r"<([^<>]*:[^<>]*)>", contact)
    assert found, contact
    return found[1]


class Side:
    """One side of a dialog (RFC 3261, 12): what its requests are made of."""

    def __init__(self, phone: Phone, local: str, remote: str, call_id: str) -> None:
        self.phone = phone
        self.local, self.remote, self.call_id = local, remote, call_id
        self.target = ""
        self.routes: list[str] = []
        self.cseq = 100
        self.branch = ""

    def learns(self, message: Request | Response, *, backwards: bool) -> None:
        """Take target and route set from what has come."""
        contact = message.header("contact") or message.header("m")
        self.target = uri_of(contact)
        routes = message.all("record-route")
        self.routes = routes[::-1] if backwards else routes

    def build(
        self,
        method: str,
        *,
        uri: str = "",
        routes: list[str] | None = None,
        local: str = "",
        remote: str = "",
        call_id: str = "",
        headers: tuple[str, ...] = (),
        answering: Response | None = None,
        contact: str = "",
        by: Endpoint | None = None,
        body: bytes = b"",
        cseq: int | None = None,
        branch: str = "",
    ) -> bytes:
        """Return a request within the dialog; what is given replaces what would be."""
        if cseq is None:
            self.cseq += 1
            cseq = self.cseq
        uri = uri or self.target
        by = by or self.phone
        self.branch = branch or f"z9hG4bK{token_hex(8)}"
        fields = [f"Route: {each}" for each in (self.routes if routes is None else routes)]
        if answering:
            secret = (self.phone.username, self.phone.password)
            fields.append(sip.answer(answering.challenges[0], method, uri, *secret))
        lines = [
            f"{method} {uri} SIP/2.0",
            f"Via: SIP/2.0/{by.via};rport;branch={self.branch}",
            "Max-Forwards: 70",
            *fields,
            f"From: {local or self.local}",
            f"To: {remote or self.remote}",
            f"Call-ID: {call_id or self.call_id}",
            f"CSeq: {cseq} {method}",
            contact or f"Contact: {by.contact}",
            *headers,
            f"Content-Length: {len(body)}",
        ]
        return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape") + body

    def says(self, method: str, **how: object) -> None:
        """Send a request within the dialog."""
        by = how.get("by") or self.phone
        assert isinstance(by, Endpoint)
        by.send(self.build(method, **how))  # type: ignore[arg-type]

    def asks(self, method: str, **how: object) -> Response:
        """Send a request within the dialog and return its final answer."""
        self.says(method, **how)
        by = how.get("by") or self.phone
        assert isinstance(by, Endpoint)
        return by.response(self.branch)

    def hears(self, method: str, status: int = 200, **how: object) -> Request:
        """Return the request that comes, answered with `status`; 0 for none."""
        request = self.phone.incoming(method)
        if status:
            self.phone.reply(request, status, **how)  # type: ignore[arg-type]
        return request


class Call:
    """A call that stands."""

    def __init__(self, caller: Side, callee: Side, invite: Request, answer: Response) -> None:
        self.caller, self.callee, self.invite, self.answer = caller, callee, invite, answer

    @classmethod
    def between(
        cls,
        caller: Phone,
        callee: Endpoint,
        uri: str,
        *,
        method: str = "INVITE",
        challenged: bool = True,
        **how: object,
    ) -> Self:
        """Place a call, answer the challenge to it, and have it acknowledged."""
        invite = reached(caller, callee, uri, method=method, challenged=challenged, **how)
        callee.reply(invite, 200, tag=token_hex(4))
        answer = caller.response(caller.last_branch)
        assert answer.status == 200, answer
        call = cls.of(caller, callee, invite, answer)
        if method == "INVITE":
            call.caller.says("ACK", cseq=caller.cseq)
            assert callee.incoming("ACK")
        return call

    @classmethod
    def of(cls, caller: Phone, callee: Endpoint, invite: Request, answer: Response) -> Self:
        """Return both sides of what an INVITE and its answer have begun."""
        ours, theirs = answer.header("from"), answer.header("to")
        call_id = answer.header("call-id")
        one, other = Side(caller, ours, theirs, call_id), Side(callee, theirs, ours, call_id)  # type: ignore[arg-type]
        one.learns(answer, backwards=True)
        other.learns(invite, backwards=False)
        return cls(one, other, invite, answer)

    def sides(self) -> tuple[Side, Side]:
        """Return the caller's side and the callee's."""
        return self.caller, self.callee


def reached(
    caller: Phone,
    callee: Endpoint,
    uri: str,
    *,
    method: str = "INVITE",
    challenged: bool = True,
    **how: object,
) -> Request:
    """Send a request that answers its challenge, and return it as it arrives."""
    answering = None
    if challenged:
        answering = caller.request(method, uri, **how)
        assert answering.status in (401, 407), answering
    caller.send(caller.build(method, uri, answering=answering, **how))  # type: ignore[arg-type]
    while (request := callee.incoming(method)).header("call-id") != caller.call_id:
        pass
    return request

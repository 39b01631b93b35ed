"""What phones say: conversations with a server, as generators that check every answer.

    reply = yield (datagram, …)

sends datagrams and waits for one final reply. A conversation ends with its last check; what it
returns is sent without waiting, as an ACK is. It knows nothing of sockets and time.
"""

import hashlib
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from ipaddress import IPv4Address
from itertools import count
from typing import NamedTuple

REALM = "bench.example"
CALL_ID_LENGTH = 9
"""Every Call-ID has so many characters, so that replies are told apart by a slice."""

Datagrams = tuple[bytes, ...]
Conversation = Generator[Datagrams, bytes, Datagrams]

_HASHES = {"MD5": hashlib.md5, "SHA-256": hashlib.sha256}
_FIRST_ADDRESS = int(IPv4Address("127.1.0.0"))
_REGISTRAR = f"sip:{REALM}".encode()
_NOBODY = f"sip:nobody@{REALM}".encode()
_CNONCE = b"0a4f113b"
_OFFER = b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
BODY = (
    b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    b"m=audio 4000 RTP/AVP 0\r\n" + b"a=candidate:1 1 UDP 1 127.0.0.1 4000 typ host\r\n" * 60
)[:2048]
"""A session description of 2 KB."""


class UnexpectedReplyError(Exception):
    """The server answered something else than it should."""


class Start(NamedTuple):
    """A conversation that is to begin: its Call-ID, and the address that it is sent from."""

    call_id: bytes
    address: int
    conversation: Conversation


def username(user: int) -> str:
    """Return the digest user name, and the user part, of a user."""
    return f"u{user:07}"


def password(user: int) -> str:
    """Return the password of a user."""
    return f"secret-of-{user}"


class Phones:
    """Phones, each with an address of its own, at one port; methods make their conversations.

    `users` says, in turn, whose phone speaks. Call-IDs count up from `first`.
    """

    def __init__(
        self, port: int, server_port: int, *, algorithm: str = "MD5", first: int = 1
    ) -> None:
        self._port = port
        self._server = f"sip:127.0.0.1:{server_port}".encode()
        self._algorithm = algorithm
        self._serial = count(first)

    def register(
        self, users: Iterable[int], wrong: Callable[[int], bool] = lambda _: False
    ) -> Iterator[Start]:
        """REGISTER, 401, REGISTER with credentials, 200; those who are `wrong` get 401 or 403."""
        for user in users:
            phone = self._phone(user)
            yield phone.start(_register(phone, "wrong" if wrong(user) else password(user)))

    def count_up(self, users: Iterable[int], times: int = 4) -> Iterator[Start]:
        """REGISTER, 401, and then REGISTER, 200 by nc 1, 2, 3 … of one nonce (RFC 7616, 3.4)."""
        for user in users:
            phone = self._phone(user)
            yield phone.start(_count_up(phone, password(user), times))

    def call(self, users: Iterable[int]) -> Iterator[Start]:
        """INVITE, challenge, ACK, INVITE, 180, 200, ACK, BYE, 200: to oneself, as registered."""
        for user in users:
            phone = self._phone(user)
            yield phone.start(_call(phone, password(user)))

    def knock(self, users: Iterable[int]) -> Iterator[Start]:
        """REGISTER, 401, and no more."""
        for user in users:
            phone = self._phone(user)
            yield phone.start(_ask(phone, b"REGISTER", _REGISTRAR, b"401"))

    def leave_waiting(self, users: Iterable[int]) -> Iterator[Start]:
        """REGISTER, 401, REGISTER with credentials; whatever comes of it is left alone."""
        for user in users:
            phone = self._phone(user)
            yield phone.start(_leave_waiting(phone, password(user)))

    def options(self, users: Iterable[int]) -> Iterator[Start]:
        """OPTIONS, 200: a method that is not on the Authentication Method List."""
        for user in users:
            phone = self._phone(user)
            yield phone.start(_ask(phone, b"OPTIONS", self._server, b"200"))

    def bye(self, users: Iterable[int]) -> Iterator[Start]:
        """BYE in a dialog that is not known, 481: the method is not on the list either."""
        for user in users:
            phone = self._phone(user)
            yield phone.start(_ask(phone, b"BYE", self._server, b"481", to_tag=b";tag=1"))

    def invite(
        self, users: Iterable[int], *, qop: bytes = b"auth", body: bytes = b""
    ) -> Iterator[Start]:
        """INVITE, 401 or 407, ACK, INVITE with credentials, 404 (nobody is called), ACK."""
        for user in users:
            phone = self._phone(user)
            yield phone.start(_invite(phone, password(user), qop, body))

    def _phone(self, user: int) -> "_Phone":
        address = _FIRST_ADDRESS + user
        host = f"{IPv4Address(address)}:{self._port}".encode()
        call_id = b"%0*d" % (CALL_ID_LENGTH, next(self._serial))
        return _Phone(username(user).encode(), address, host, call_id, self._algorithm)


class _Phone(NamedTuple):
    """One phone in one conversation."""

    name: bytes
    address: int
    host: bytes
    call_id: bytes
    algorithm: str

    def start(self, conversation: Conversation) -> Start:
        return Start(self.call_id, self.address, conversation)

    def request(
        self,
        method: bytes,
        uri: bytes,
        cseq: int,
        credentials: bytes = b"",
        body: bytes = b"",
        to_tag: bytes = b"",
        to: bytes = b"",
    ) -> bytes:
        to = to or (self.name if method == b"REGISTER" else b"nobody")
        return (
            b"%b %b SIP/2.0\r\n"
            b"Via: SIP/2.0/UDP %b;rport;branch=z9hG4bK%b%d\r\n"
            b"Max-Forwards: 70\r\n"
            b"From: <sip:%b@bench.example>;tag=f%b\r\n"
            b"To: <sip:%b@bench.example>%b\r\n"
            b"Call-ID: %b\r\n"
            b"CSeq: %d %b\r\n"
            b"Contact: <sip:%b@%b>\r\n"
            b"Expires: 600\r\n"
            b"User-Agent: phone/1.0\r\n"
            b"%b"
            b"Content-Length: %d\r\n\r\n%b"
        ) % (
            method, uri, self.host, self.call_id, cseq, self.name, self.call_id, to, to_tag,
            self.call_id, cseq, method, self.name, self.host, credentials, len(body), body,
        )  # fmt: skip

    def ack(self, uri: bytes, cseq: int, reply: bytes) -> bytes:
        start = reply.index(b"\r\nTo: ")
        to = reply[start : reply.index(b"\r\n", start + 2)]
        return (
            b"ACK %b SIP/2.0\r\n"
            b"Via: SIP/2.0/UDP %b;rport;branch=z9hG4bK%b%d\r\n"
            b"Max-Forwards: 70\r\n"
            b"From: <sip:%b@bench.example>;tag=f%b%b\r\n"
            b"Call-ID: %b\r\n"
            b"CSeq: %d ACK\r\n"
            b"Content-Length: 0\r\n\r\n"
        ) % (uri, self.host, self.call_id, cseq, self.name, self.call_id, to, self.call_id, cseq)

    def within(
        self, method: bytes, target: bytes, cseq: int, to: bytes, routes: Sequence[bytes]
    ) -> bytes:
        """Return a request within the call, by the routes that it was answered with."""
        route = b"".join(b"Route: %b\r\n" % each for each in routes)
        return (
            b"%b %b SIP/2.0\r\n"
            b"Via: SIP/2.0/UDP %b;rport;branch=z9hG4bK%b%b%d\r\n"
            b"Max-Forwards: 70\r\n%b"
            b"From: <sip:%b@bench.example>;tag=f%b\r\n"
            b"To: %b\r\n"
            b"Call-ID: %b\r\n"
            b"CSeq: %d %b\r\n"
            b"Content-Length: 0\r\n\r\n"
        ) % (
            method, target, self.host, self.call_id, method, cseq, route, self.name, self.call_id,
            to, self.call_id, cseq, method,
        )  # fmt: skip

    def answer(self, request: bytes, status: bytes, body: bytes = b"") -> bytes:
        """Return the called phone's answer."""
        copied = b"".join(
            b"%b: %b\r\n" % (name, each)
            for name in (b"Via", b"Record-Route", b"From", b"Call-ID", b"CSeq")
            for each in _fields(request, name)
        )
        to = _field(request, b"To")
        to += b"" if b";tag=" in to else b";tag=t" + self.call_id
        return b"SIP/2.0 %b\r\n%bTo: %b\r\nContact: <sip:%b@%b>\r\nContent-Length: %d\r\n\r\n%b" % (
            status, copied, to, self.name, self.host, len(body), body,
        )  # fmt: skip

    def credentials(
        self,
        reply: bytes,
        method: bytes,
        uri: bytes,
        secret: str,
        qop: bytes = b"auth",
        body: bytes = b"",
        nc: int = 1,
    ) -> bytes:
        """Return the field that answers the challenge in `reply` (RFC 7616, 3.4)."""
        start = reply.index(b'nonce="') + 7
        nonce = reply[start : reply.index(b'"', start)]
        field = b"Proxy-Authorization" if reply[8:11] == b"407" else b"Authorization"
        h = _HASHES[self.algorithm]
        a1 = h(b"%b:bench.example:%b" % (self.name, secret.encode())).hexdigest().encode()
        a2 = b"%b:%b" % (method, uri)
        if qop == b"auth-int":
            a2 += b":" + h(body).hexdigest().encode()
        a2 = h(a2).hexdigest().encode()
        response = h(b"%b:%b:%08x:%b:%b:%b" % (a1, nonce, nc, _CNONCE, qop, a2)).hexdigest()
        return (
            b'%b: Digest username="%b", realm="bench.example", nonce="%b", uri="%b", '
            b'response="%b", algorithm=%b, cnonce="%b", qop=%b, nc=%08x\r\n'
        ) % (
            field, self.name, nonce, uri, response.encode(), self.algorithm.encode(), _CNONCE, qop,
            nc,
        )  # fmt: skip


def _register(phone: _Phone, secret: str) -> Conversation:
    reply = yield (phone.request(b"REGISTER", _REGISTRAR, 1),)
    _expect(reply, b"401")
    credentials = phone.credentials(reply, b"REGISTER", _REGISTRAR, secret)
    reply = yield (phone.request(b"REGISTER", _REGISTRAR, 2, credentials),)
    _expect(reply, *((b"401", b"403") if secret == "wrong" else (b"200",)))
    return ()


def _count_up(phone: _Phone, secret: str, times: int) -> Conversation:
    challenge = yield (phone.request(b"REGISTER", _REGISTRAR, 1),)
    _expect(challenge, b"401")
    for nc in range(1, times + 1):
        credentials = phone.credentials(challenge, b"REGISTER", _REGISTRAR, secret, nc=nc)
        reply = yield (phone.request(b"REGISTER", _REGISTRAR, 1 + nc, credentials),)
        _expect(reply, b"200")
    return ()


def _call(phone: _Phone, secret: str) -> Conversation:
    """Call the own address of record: one socket is caller and called phone."""
    uri = b"sip:%b@bench.example" % phone.name
    reply = yield (phone.request(b"INVITE", uri, 1, body=_OFFER, to=phone.name),)
    _expect(reply, b"401", b"407")
    ack = phone.ack(uri, 1, reply)
    credentials = phone.credentials(reply, b"INVITE", uri, secret, body=_OFFER)
    invite = phone.request(b"INVITE", uri, 2, credentials, _OFFER, to=phone.name)
    ringing = yield from _say_again((ack,), (b"SIP/2.0 4",), ack, invite)
    _expect_request(ringing, b"INVITE")
    answer = phone.answer(ringing, b"200 OK", _OFFER)
    ring = phone.answer(ringing, b"180 Ringing")
    reply = yield from _say_again((answer,), (b"INVITE ",), ring, answer)
    _expect(reply, b"200")
    target, routes = _field(reply, b"Contact"), _fields(reply, b"Record-Route")[::-1]
    target = target[target.index(b"<") + 1 : target.index(b">")]
    to = _field(reply, b"To")
    ack = phone.within(b"ACK", target, 2, to, routes)
    acknowledged = yield from _say_again((ack,), (b"SIP/2.0 200", b"INVITE "), ack)
    _expect_request(acknowledged, b"ACK")
    late = (b"SIP/2.0 200", b"INVITE ", b"ACK ")
    bye = yield from _say_again((), late, phone.within(b"BYE", target, 3, to, routes))
    _expect_request(bye, b"BYE")
    answer = phone.answer(bye, b"200 OK")
    reply = yield from _say_again((answer,), (b"BYE ",), answer)
    _expect(reply, b"200")
    return ()


def _say_again(
    again: Datagrams, repeats: tuple[bytes, ...], *first: bytes
) -> Generator[Datagrams, bytes, bytes]:
    """Say something and return what comes then; whatever was heard before is answered `again`.

    A server that is busy sends again what it has not seen answered in time; `repeats` is how that
    begins.
    """
    heard = yield first
    while heard.startswith(repeats):
        heard = yield again
    return heard


def _expect_request(request: bytes, method: bytes) -> None:
    if not request.startswith(method + b" "):
        raise UnexpectedReplyError(request.decode(errors="replace"))


def _fields(message: bytes, name: bytes) -> list[bytes]:
    """Return the values of all header fields `name`."""
    start = b"\r\n" + name.lower() + b":"
    lower, found, at = message.lower(), [], 0
    while (at := lower.find(start, at)) >= 0:
        at += len(start)
        found.append(message[at : message.index(b"\r\n", at)].strip())
    return found


def _field(message: bytes, name: bytes) -> bytes:
    return _fields(message, name)[0]


def _leave_waiting(phone: _Phone, secret: str) -> Conversation:
    reply = yield (phone.request(b"REGISTER", _REGISTRAR, 1),)
    _expect(reply, b"401")
    credentials = phone.credentials(reply, b"REGISTER", _REGISTRAR, secret)
    return (phone.request(b"REGISTER", _REGISTRAR, 2, credentials),)


def _invite(phone: _Phone, secret: str, qop: bytes, body: bytes) -> Conversation:
    reply = yield (phone.request(b"INVITE", _NOBODY, 1, body=body),)
    _expect(reply, b"401", b"407")
    ack = phone.ack(_NOBODY, 1, reply)
    credentials = phone.credentials(reply, b"INVITE", _NOBODY, secret, qop, body)
    reply = yield ack, phone.request(b"INVITE", _NOBODY, 2, credentials, body)
    _expect(reply, b"404")
    return (phone.ack(_NOBODY, 2, reply),)


def _ask(
    phone: _Phone, method: bytes, uri: bytes, status: bytes, to_tag: bytes = b""
) -> Conversation:
    reply = yield (phone.request(method, uri, 1, to_tag=to_tag),)
    _expect(reply, status)
    return ()


def _expect(reply: bytes, *statuses: bytes) -> None:
    if reply[8:11] not in statuses:
        raise UnexpectedReplyError(reply.decode(errors="replace"))

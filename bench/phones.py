"""What phones say: conversations with a server, as generators that check every answer.

    reply = yield (datagram, …)

sends datagrams and waits for one final reply. A conversation ends with its last check; what it
returns is sent without waiting, as an ACK is. It knows nothing of sockets and time.
"""

import hashlib
from collections.abc import Callable, Generator, Iterator
from itertools import count

REALM = "bench.example"
CALL_ID = 9
"""Every Call-ID has so many characters, so that replies are told apart by a slice."""

Datagrams = tuple[bytes, ...]
Conversation = Generator[Datagrams, bytes, Datagrams]
Start = tuple[bytes, Conversation]
"""A conversation that is to begin, and the Call-ID of its requests."""

_HASHES: dict[str, Callable[[bytes], "hashlib._Hash"]] = {
    "MD5": hashlib.md5,
    "SHA-256": hashlib.sha256,
}
_CNONCE = b"0a4f113b"
_SDP = b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
BODY = (_SDP + b"a=candidate:1 1 UDP 1 127.0.0.1 4000 typ host\r\n" * 60)[:2048]


class UnexpectedReplyError(Exception):
    """The server answered something else than it should."""


def username(number: int) -> str:
    """Return the digest user name, and the user part, of a user."""
    return f"u{number:07}"


def password(number: int) -> str:
    """Return the password of a user."""
    return f"secret-of-{number}"


class Phones:
    """Phones at one address: each method makes the conversations of one scenario.

    `users` says, in turn, which user's phone speaks.
    """

    def __init__(self, port: int, server_port: int, *, algorithm: str = "MD5") -> None:
        self._via = f"SIP/2.0/UDP 127.0.0.1:{port}".encode()
        self._contact = f"127.0.0.1:{port}".encode()
        self._server = f"sip:127.0.0.1:{server_port}".encode()
        self._algorithm = algorithm
        self._hash = _HASHES[algorithm]
        self._serial = count(1)

    def register(self, users: Iterator[int], *, wrong: Callable[[int], bool] | None = None) -> Iterator[Start]:
        """REGISTER, 401, REGISTER with credentials, 200; wrong ones for those who are `wrong`."""
        for user in users:
            is_wrong = wrong is not None and wrong(user)
            yield self._start(lambda call, user=user, bad=is_wrong: self._register(call, user, bad))

    def knock(self, users: Iterator[int]) -> Iterator[Start]:
        """REGISTER, 401, and no more."""
        for user in users:
            yield self._start(lambda call, user=user: self._knock(call, user))

    def invite(self, users: Iterator[int], *, qop: bytes = b"auth", body: bytes = b"") -> Iterator[Start]:
        """INVITE, 401 or 407, ACK, INVITE with credentials, 404 (nobody is called), ACK."""
        for user in users:
            yield self._start(lambda call, user=user: self._invite(call, user, qop, body))

    def options(self, users: Iterator[int]) -> Iterator[Start]:
        """OPTIONS, 200: a method that is not on the Authentication Method List."""
        for user in users:
            yield self._start(
                lambda call, user=user: self._plain(call, user, b"OPTIONS", self._server, b"", b"200")
            )

    def bye(self, users: Iterator[int]) -> Iterator[Start]:
        """BYE within a dialog that is not known, 481."""
        for user in users:
            yield self._start(
                lambda call, user=user: self._plain(call, user, b"BYE", self._server, b";tag=1", b"481")
            )

    def _start(self, conversation: Callable[[bytes], Conversation]) -> Start:
        call = b"%0*d" % (CALL_ID, next(self._serial))
        return call, conversation(call)

    def _register(self, call: bytes, user: int, wrong: bool) -> Conversation:
        uri = b"sip:" + REALM.encode()
        name = username(user).encode()
        reply = yield (self._request(b"REGISTER", uri, name, call, 1),)
        _expect(reply, b"401")
        secret = "wrong" if wrong else password(user)
        credentials = self._credentials(reply, b"REGISTER", uri, name, secret)
        reply = yield (self._request(b"REGISTER", uri, name, call, 2, credentials),)
        _expect(reply, *((b"401", b"403") if wrong else (b"200",)))
        return ()

    def _knock(self, call: bytes, user: int) -> Conversation:
        name = username(user).encode()
        reply = yield (self._request(b"REGISTER", b"sip:" + REALM.encode(), name, call, 1),)
        _expect(reply, b"401")
        return ()

    def _invite(self, call: bytes, user: int, qop: bytes, body: bytes) -> Conversation:
        uri = b"sip:nobody@" + REALM.encode()
        name = username(user).encode()
        reply = yield (self._request(b"INVITE", uri, name, call, 1, body=body),)
        _expect(reply, b"401", b"407")
        ack = self._ack(uri, name, call, 1, reply)
        credentials = self._credentials(reply, b"INVITE", uri, name, password(user), qop, body)
        reply = yield ack, self._request(b"INVITE", uri, name, call, 2, credentials, body)
        _expect(reply, b"404")
        return (self._ack(uri, name, call, 2, reply),)

    def _plain(
        self, call: bytes, user: int, method: bytes, uri: bytes, to_tag: bytes, status: bytes
    ) -> Conversation:
        name = username(user).encode()
        reply = yield (self._request(method, uri, name, call, 1, to_tag=to_tag),)
        _expect(reply, status)
        return ()

    def _request(
        self,
        method: bytes,
        uri: bytes,
        name: bytes,
        call: bytes,
        cseq: int,
        credentials: bytes = b"",
        body: bytes = b"",
        to_tag: bytes = b"",
    ) -> bytes:
        to = name if method == b"REGISTER" else b"nobody"
        return (
            b"%b %b SIP/2.0\r\n"
            b"Via: %b;rport;branch=z9hG4bK%b%d\r\n"
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
            method, uri, self._via, call, cseq, name, call, to, to_tag, call, cseq, method,
            name, self._contact, credentials, len(body), body,
        )  # fmt: skip

    def _ack(self, uri: bytes, name: bytes, call: bytes, cseq: int, reply: bytes) -> bytes:
        start = reply.index(b"\r\nTo: ")
        to = reply[start : reply.index(b"\r\n", start + 2)]
        return (
            b"ACK %b SIP/2.0\r\nVia: %b;rport;branch=z9hG4bK%b%d\r\nMax-Forwards: 70\r\n"
            b"From: <sip:%b@bench.example>;tag=f%b%b\r\nCall-ID: %b\r\nCSeq: %d ACK\r\n"
            b"Content-Length: 0\r\n\r\n"
        ) % (uri, self._via, call, cseq, name, call, to, call, cseq)

    def _credentials(
        self,
        reply: bytes,
        method: bytes,
        uri: bytes,
        name: bytes,
        secret: str,
        qop: bytes = b"auth",
        body: bytes = b"",
    ) -> bytes:
        """Return the field that answers the challenge in `reply` (RFC 7616, 3.4)."""
        start = reply.index(b'nonce="') + 7
        nonce = reply[start : reply.index(b'"', start)]
        field = b"Proxy-Authorization" if reply[8:11] == b"407" else b"Authorization"
        h = self._hash
        a1 = h(b"%b:bench.example:%b" % (name, secret.encode())).hexdigest().encode()
        a2 = b"%b:%b" % (method, uri)
        if qop == b"auth-int":
            a2 += b":" + h(body).hexdigest().encode()
        a2 = h(a2).hexdigest().encode()
        response = h(b"%b:%b:00000001:%b:%b:%b" % (a1, nonce, _CNONCE, qop, a2)).hexdigest()
        return (
            b'%b: Digest username="%b", realm="bench.example", nonce="%b", uri="%b", '
            b'response="%b", algorithm=%b, cnonce="%b", qop=%b, nc=00000001\r\n'
        ) % (
            field, name, nonce, uri, response.encode(), self._algorithm.encode(), _CNONCE, qop,
        )  # fmt: skip


def _expect(reply: bytes, *statuses: bytes) -> None:
    if reply[8:11] not in statuses:
        raise UnexpectedReplyError(reply.decode(errors="replace"))

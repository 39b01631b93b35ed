"""Phones and peer servers as tests play them: a socket, and the requests of `sip` on it.

    phone = Phone(server, "1001", "secret")
    challenge = phone.request("REGISTER")
    assert phone.request("REGISTER", answering=challenge).status == 200

Nothing is retransmitted unless a test says so, and nothing is shared with the server's code.
"""

import re
import socket
import ssl
import time
from collections.abc import Callable, Iterable
from secrets import token_hex
from typing import Any, NamedTuple, Protocol, Self

import sip
from sip import Challenge, Response

PATIENCE = 20.0
"""Seconds that an answer may take, on a machine that has much else to do."""
AGAIN = 2.0
"""Seconds after which a request that is not answered is sent again."""


class Request(NamedTuple):
    """A SIP request that arrived; `headers` keeps order and repetition, names in lower case."""

    method: str
    uri: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    sender: tuple[str, int]

    def header(self, name: str) -> str:
        """Return the first value of a header field, or nothing where there is none."""
        return next(iter(self.all(name)), "")

    def all(self, name: str) -> list[str]:
        """Return all values of a header field."""
        return [value for found, value in self.headers if found == name.lower()]


class Home(Protocol):
    """Where a server listens: what a phone needs to know of it."""

    address: str
    port: int


class Endpoint:
    """A socket that speaks SIP from the address of its choice.

    `home` is the server's port where it is not the one for UDP and TCP.
    """

    def __init__(
        self,
        server: Home,
        address: str = "127.0.0.1",
        transport: str = "udp",
        port: int = 0,
        home: int = 0,
    ) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        stream = transport != "udp"
        self.server = server
        self.patience = PATIENCE
        self.transport = transport
        self.cseq = 0
        self._home = ("::1" if family == socket.AF_INET6 else server.address, home or server.port)
        self._stream = stream
        self._buffer = b""
        self.socket = socket.socket(family, socket.SOCK_STREAM if stream else socket.SOCK_DGRAM)
        self.socket.bind((address, port))
        if stream:
            self.socket.settimeout(PATIENCE)
            self.socket.connect(self._home)
        if transport == "tls":
            self.socket = _any_certificate().wrap_socket(self.socket)
        self.address, self.port = self.socket.getsockname()[:2]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self.socket.close()

    @property
    def host(self) -> str:
        """Return the address and port as a URI or a Via has them."""
        address = f"[{self.address}]" if ":" in self.address else self.address
        return f"{address}:{self.port}"

    @property
    def contact(self) -> str:
        """Return the Contact of this endpoint."""
        transport = f";transport={self.transport}" if self._stream else ""
        return f"<sip:{self.host}{transport}>"

    @property
    def via(self) -> str:
        """Return what a Via says of this endpoint."""
        return f"{self.transport.upper()} {self.host}"

    def send(self, raw: bytes, to: tuple[str, int] | None = None) -> None:
        """Send these bytes as they are, to the server unless `to` says otherwise."""
        if self._stream:
            self.socket.sendall(raw)
        else:
            self.socket.sendto(raw, to or self._home)

    def receive(self, patience: float = PATIENCE) -> bytes:
        """Return the next message; raises TimeoutError where none comes."""
        self.socket.settimeout(patience)
        if not self._stream:
            raw, self._sender = self.socket.recvfrom(65535)
            return raw
        self._sender = self._home
        while True:
            head, end, rest = self._buffer.partition(b"\r\n\r\n")
            length = re.search(rb"(?im)^(?:content-length|l)\s*:\s*(\d+)", head)
            size = int(length[1]) if length else 0
            if end and len(rest) >= size:
                self._buffer = rest[size:]
                return head + end + rest[:size]
            more = self.socket.recv(65535)
            if not more:
                raise ConnectionError("the server has hung up")
            self._buffer += more

    def hears_nothing(self, seconds: float = 0.5) -> bool:
        """Tell whether nothing arrives."""
        try:
            self.receive(seconds)
        except TimeoutError:
            return True
        return False

    def response(
        self, branch: str = "", *, provisional: bool = False, patience: float = 0
    ) -> Response:
        """Return the next final response, of the transaction `branch` where one is named."""
        deadline = time.monotonic() + (patience or self.patience)
        while True:
            raw = self.receive(max(0.01, deadline - time.monotonic()))
            if not raw.startswith(b"SIP/2.0"):
                continue
            response = sip.parse_response(raw)
            if branch and branch not in response.header("via"):
                continue
            if provisional or response.status >= 200:
                return response

    def incoming(self, method: str = "", patience: float = PATIENCE) -> Request:
        """Return the next request, of `method` where one is named."""
        deadline = time.monotonic() + patience
        while True:
            raw = self.receive(max(0.01, deadline - time.monotonic()))
            if raw.startswith(b"SIP/2.0"):
                continue
            request = _parse_request(raw, self._sender)
            if not method or request.method == method:
                return request

    def reply(
        self,
        request: Request,
        status: int,
        phrase: str = "OK",
        headers: Iterable[str] = (),
        tag: str = "peer",
        contact: str = "",
    ) -> None:
        """Answer a request that came in; `contact` is a whole header field, ours unless given."""
        lines = [f"SIP/2.0 {status} {phrase}"]
        lines += [f"Via: {value}" for value in request.all("via")]
        lines += [f"Record-Route: {value}" for value in request.all("record-route")]
        to = request.header("to")
        lines += [
            f"From: {request.header('from')}",
            f"To: {to}" if ";tag=" in to else f"To: {to};tag={tag}",
            f"Call-ID: {request.header('call-id')}",
            f"CSeq: {request.header('cseq')}",
            contact or f"Contact: {self.contact}",
            *headers,
            "Content-Length: 0",
        ]
        self.send("\r\n".join([*lines, "", ""]).encode(), request.sender)


class Phone(Endpoint):
    """A user's phone; `local_user` is its address of record where that is not `username`.

    It registers for `expires` seconds; with 0 it has to authenticate all the same.
    """

    def __init__(
        self,
        server: Home,
        username: str = "1001",
        password: str = "secret",  # noqa: S107 - most tests use it
        *,
        realm: str = "example.com",
        local_user: str | None = None,
        address: str = "127.0.0.1",
        transport: str = "udp",
        expires: int = 60,
        home: int = 0,
    ) -> None:
        super().__init__(server, address, transport, home=home)
        self.expires = expires
        self.username = username
        self.password = password
        self.realm = realm
        self.local_user = local_user or username
        self.call_id = f"{token_hex(8)}@phone"
        self.from_tag = token_hex(4)
        self.cseq = 0
        self.last_sent = b""
        self.last_branch = ""

    @property
    def contact(self) -> str:
        """Return the Contact of this phone."""
        return super().contact.replace("<sip:", f"<sip:{self.local_user}@")

    @property
    def uri(self) -> str:
        """Return the address of record."""
        return f"sip:{self.local_user}@{self.realm}"

    @property
    def registrar(self) -> str:
        """Return the Request-URI of requests to the server itself."""
        return f"sip:{self.realm}"

    def build(
        self,
        method: str,
        uri: str = "",
        *,
        to: str = "",
        answering: Response | Challenge | None = None,
        username: str | None = None,
        password: str | None = None,
        digest_uri: str | None = None,
        qop: str | None = None,
        nc: int = 1,
        headers: Iterable[str] = (),
        body: bytes = b"",
        to_tag: str = "",
        cseq: int | None = None,
        from_uri: str | None = None,
    ) -> bytes:
        """Return the bytes of the next request, with credentials where `answering` is given."""
        uri = uri or self.registrar
        to = to or (self.uri if method == "REGISTER" else uri)
        headers = list(headers)
        if method == "REGISTER":
            headers.append(f"Expires: {self.expires}")
        if answering:
            challenge = answering if isinstance(answering, Challenge) else answering.challenges[0]
            headers.append(
                sip.answer(
                    challenge,
                    method,
                    digest_uri or uri,
                    self.username if username is None else username,
                    self.password if password is None else password,
                    qop=qop,
                    nc=nc,
                    cnonce=token_hex(8),
                    body=body,
                )
            )
        if cseq is None:
            self.cseq += 1
            cseq = self.cseq
        self.last_branch = f"z9hG4bK{token_hex(8)}"
        self.last_sent = sip.request(
            method,
            uri,
            self.uri if from_uri is None else from_uri,
            to,
            via=self.via,
            contact=self.contact,
            cseq=cseq,
            call_id=self.call_id,
            branch=self.last_branch,
            from_tag=self.from_tag,
            to_tag=to_tag,
            headers=headers,
            body=body,
        )
        return self.last_sent

    def request(self, method: str, uri: str = "", **how: Any) -> Response:
        """Send a request, as `build` makes it, and return its final response."""
        self.send(self.build(method, uri, **how))
        response = self.response(self.last_branch)
        if method == "INVITE" and response.status >= 300:
            self.acknowledge(response)
        return response

    def acknowledge(self, response: Response) -> None:
        """Send the ACK that a refused INVITE gets, in its transaction (RFC 3261, 17.1.1.3)."""
        head = self.last_sent.partition(b"\r\n\r\n")[0].decode(errors="surrogateescape")
        lines = head.replace("INVITE ", "ACK ", 1).split("\r\n")
        kept = [lines[0]] + [
            line
            for line in lines[1:]
            if line.startswith(("Via", "Max-Forwards", "From", "Call-ID"))
        ]
        number = re.search(r"CSeq: (\d+)", head)
        assert number
        kept += [f"To: {response.header('to')}", f"CSeq: {number[1]} ACK", "Content-Length: 0"]
        self.send("\r\n".join([*kept, "", ""]).encode(errors="surrogateescape"))

    def resend(self) -> Response:
        """Send the last request once more, byte for byte, and return the answer.

        And again where none comes: `t_precheck_trans()` drops what arrives while another worker is
        not quite done with the same.
        """
        deadline = time.monotonic() + self.patience
        while True:
            self.send(self.last_sent)
            try:
                return self.response(self.last_branch, patience=AGAIN)
            except TimeoutError:
                if time.monotonic() > deadline:
                    raise

    def authenticate(self, method: str, uri: str = "", **how: Any) -> Response:
        """Send a request, answer the challenge that it gets, and return what comes of it."""
        offered = {key: how[key] for key in how if key not in ("username", "password", "qop", "nc")}
        challenge = self.request(method, uri, **offered)
        assert challenge.status in (401, 407), challenge
        return self.request(method, uri, answering=challenge, **how)

    def register(self, **how: Any) -> Response:
        """Register, by answering one challenge."""
        return self.authenticate("REGISTER", **how)


class Dialog:
    """A call that stands, as one of its two sides sees it (RFC 3261, 12)."""

    def __init__(
        self, phone: Endpoint, ours: str, theirs: str, call_id: str, target: str, route: list[str]
    ) -> None:
        self.phone = phone
        self.cseq = phone.cseq
        self._fields = [f"From: {ours}", f"To: {theirs}", f"Call-ID: {call_id}"]
        self._target = re.sub(r"^.*<|>.*$", "", target)
        self._route = [f"Route: {value}" for value in route]

    @classmethod
    def opened_by(cls, phone: Phone, answer: Response) -> Self:
        """Return the caller's side, from the answer to its INVITE."""
        ours, theirs = answer.header("from"), answer.header("to")
        route = answer.all("record-route")[::-1]
        return cls(phone, ours, theirs, answer.header("call-id"), answer.header("contact"), route)

    @classmethod
    def joined_by(cls, phone: Endpoint, invite: Request, tag: str = "peer") -> Self:
        """Return the side of who was called, from the INVITE, answered with `tag`."""
        ours, theirs = f"{invite.header('to')};tag={tag}", invite.header("from")
        route = invite.all("record-route")
        return cls(phone, ours, theirs, invite.header("call-id"), invite.header("contact"), route)

    def acknowledge(self) -> None:
        """Send the ACK to the answer of the last INVITE."""
        self._send("ACK", ())

    def send(
        self, method: str, *, answering: Response | None = None, headers: Iterable[str] = ()
    ) -> None:
        """Send a request within the dialog."""
        self.cseq += 1
        phone = self.phone
        if answering:
            assert isinstance(phone, Phone)
            arguments = (method, self._target, phone.username, phone.password)
            headers = (sip.answer(answering.challenges[0], *arguments),)
        self._send(method, headers)

    def request(self, method: str, *, answering: Response | None = None) -> Response:
        """Send a request within the dialog and return its final response."""
        self.send(method, answering=answering)
        return self.phone.response(self._branch)

    def _send(self, method: str, headers: Iterable[str]) -> None:
        self._branch = f"z9hG4bK{token_hex(8)}"
        lines = [
            f"{method} {self._target} SIP/2.0",
            f"Via: SIP/2.0/{self.phone.via};rport;branch={self._branch}",
            "Max-Forwards: 70",
            *self._route,
            *self._fields,
            f"CSeq: {self.cseq} {method}",
            f"Contact: {self.phone.contact}",
            *headers,
            "Content-Length: 0",
        ]
        self.phone.send("\r\n".join([*lines, "", ""]).encode())


MakePhone = Callable[..., Phone]
"""What the fixture `phone` is: arguments are those of Phone, without the server."""
MakeEndpoint = Callable[..., Endpoint]
"""What the fixture `endpoint` is, likewise."""


def _any_certificate() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _parse_request(raw: bytes, sender: tuple[str, int]) -> Request:
    head, _, body = raw.partition(b"\r\n\r\n")
    text = re.sub(r"\r\n[ \t]+", " ", head.decode("utf-8", "surrogateescape"))
    first, *lines = text.split("\r\n")
    method, uri, _ = first.split(" ", 2)
    fields = (line.partition(":") for line in lines)
    headers = tuple((name.strip().lower(), value.strip()) for name, _, value in fields)
    return Request(method, uri, headers, body, sender[:2])

"""A peer server that challenges us, and takes nothing that RFC 3261 would not let it take.

    with Peer(server, "127.0.0.9", port) as peer:
        peer.challenged = {"INVITE", "BYE"}

It answers in a thread of its own. What it has seen stands in `seen`, `acks` and `requests`; what
was wrong with that, in `complaints`.
"""

import re
import threading
from collections.abc import Iterable
from secrets import token_hex
from typing import Any

import sip
from kamailio import Server, wait_for
from phone import PATIENCE, Endpoint, Request


class Peer(Endpoint):
    """A carrier's server; the attributes set in `__init__` say how it behaves."""

    def __init__(self, server: Server, address: str, port: int, **how: Any) -> None:
        super().__init__(server, address, port=port)
        self.username, self.password, self.realm = "trunk", "secret-of-the-trunk", "peer.example"
        self.status = 407
        self.algorithms: tuple[str, ...] = ("MD5",)
        self.qop = "auth"
        self.challenged = {"REGISTER", "INVITE", "SUBSCRIBE", "MESSAGE"}
        self.challenged_in_dialog: set[str] = set()
        self.never_content = False
        self.stale = 0
        self.final = 200
        self.scheme = "Digest"
        self.extra_challenge = ""
        self.tag = f"peer-{token_hex(4)}"
        self.holds_back: threading.Event | None = None
        self.holds_challenge_back: threading.Event | None = None
        self.answers_from: Endpoint | None = None
        self.reliable = False
        self.repeats_ok = 0.0
        self.cseq = 70  # of its own requests
        self.seen: list[tuple[str, int]] = []
        self.acks: list[int] = []
        self.requests: list[Request] = []
        self.complaints: list[str] = []
        for name, value in how.items():
            assert hasattr(self, name), name
            setattr(self, name, value)
        self._nonces: dict[str, bool] = {}
        self._highest: dict[tuple[str, str], int] = {}
        self._invites: dict[str, Request] = {}
        self._answered: dict[tuple[str, str], tuple[Any, ...]] = {}
        self._open = True
        self._pracked = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Hang up, and wait for the thread."""
        self._open = False
        self._thread.join(5)
        super().close()

    def waits_for_ack(self, number: int) -> bool:
        """Tell whether the ACK to the INVITE of this CSeq comes."""
        return wait_for(lambda: number in self.acks)

    def _listen(self) -> None:
        while self._open:
            try:
                request = self.incoming(patience=0.1)
            except TimeoutError:
                continue
            except OSError:
                return
            try:
                self._receive(request)
            except Exception as error:  # told in the test that owns the peer
                self.complaints.append(f"{request.method}: {error!r}")

    def _receive(self, request: Request) -> None:
        method, branch, number = request.method, _branch(request), _cseq(request)
        if answered := self._answered.get((method, branch)):
            self._send(*answered)
            return None
        if method == "ACK":
            return self._acknowledged(request, number)
        if method == "CANCEL":  # before anybody sees it: the call must not be answered any more
            self._canceled(request, branch, number)
        self.requests.append(request)
        self.seen.append((method, number))
        if method == "CANCEL":
            return None
        row = (request.header("call-id"), _tag(request.header("from")))
        if number <= self._highest.get(row, 0):
            self.complaints.append(f"{method}: CSeq {number} is not above {self._highest[row]}")
        self._highest[row] = number
        if method == "INVITE":
            self._invites[branch] = request
        if self._is_challenged(request):
            return None
        if method == "PRACK":
            if request.header("rack") != f"7 {self._ringing} INVITE":
                self.complaints.append(f"RAck: {request.header('rack')}")
            self._pracked.set()
        threading.Thread(target=self._accept, args=(request,), daemon=True).start()
        return None

    def _is_challenged(self, request: Request) -> bool:
        """Challenge the request where it has to be; tell whether that is so."""
        methods = self.challenged_in_dialog if _tag(request.header("to")) else self.challenged
        if request.method not in methods:
            return False
        stale = False
        if self._credentials(request):
            if not self.never_content and not self.stale:
                return False
            stale = self.stale > 0
            self.stale -= stale
        if self.holds_challenge_back:
            held = (self.holds_challenge_back, request, stale)
            threading.Thread(target=self._challenge_later, args=held, daemon=True).start()
        else:
            self._challenge(request, stale)
        return True

    def _challenge_later(self, event: threading.Event, request: Request, stale: bool) -> None:
        event.wait(PATIENCE)
        self._challenge(request, stale)

    def _challenge(self, request: Request, stale: bool) -> None:
        nonce = token_hex(8)
        self._nonces[nonce] = True
        name = "WWW-Authenticate" if self.status == 401 else "Proxy-Authenticate"
        qop = f', qop="{self.qop}"' if self.qop else ""
        end = ", stale=true" if stale else ""
        headers = [
            f'{name}: {self.scheme} realm="{self.realm}", nonce="{nonce}", algorithm={algorithm}'
            f'{qop}{end}, opaque="a\\"b"'
            for algorithm in self.algorithms
        ]
        if self.extra_challenge:
            headers.insert(0, f"{name}: {self.extra_challenge}")
        self._reply(request, self.status, "Prove Yourself", headers)

    def _credentials(self, request: Request) -> bool:
        """Tell whether there are credentials for our realm, and complain where they are wrong."""
        name = "authorization" if self.status == 401 else "proxy-authorization"
        ours = [value for value in request.all(name) if f'realm="{self.realm}"' in value]
        if not ours:
            return False
        if len(ours) > 1:
            self.complaints.append("several credentials for one realm")
        given = dict(re.findall(r'(\w+)="?((?<=")(?:[^"\\]|\\.)*|[^",\s]+)', ours[0]))
        algorithm = given["algorithm"].removesuffix("-sess")
        username, secret = self.username, self.password
        expected = sip.digest(
            algorithm,
            username,
            self.realm,
            secret,
            request.method,
            given["uri"],
            given["nonce"],
            qop=given.get("qop", ""),
            nc=given.get("nc", ""),
            cnonce=given.get("cnonce", ""),
            body=request.body,
        )
        wrong = {
            "nonce": given["nonce"] not in self._nonces,
            "uri": given["uri"] != request.uri,
            "qop": given.get("qop", "") not in self.qop.split(","),
            "response": given["response"] != expected,
            "username": given["username"] != username,
            "opaque": given.get("opaque") != r"a\"b",
        }
        self.complaints += [f"{request.method}: wrong {what}" for what in wrong if wrong[what]]
        self.algorithm = algorithm
        return True

    def _accept(self, request: Request) -> None:
        number = _cseq(request)
        if request.method == "INVITE":
            if self.reliable:
                self._ringing = number
                self._reply(request, 183, "Session Progress", ("Require: 100rel", "RSeq: 7"))
                self._pracked.wait(PATIENCE)
            else:
                self._reply(request, 180, "Ringing")
            if self.holds_back:
                self.holds_back.wait(PATIENCE)
            if ("INVITE", _branch(request)) in self._answered:
                return  # canceled
        phrase = "OK" if self.final < 300 else "No"
        final = 200 if _tag(request.header("to")) else self.final
        self._reply(request, final, phrase, ("Expires: 60",))
        if request.method == "INVITE" and self.repeats_ok:
            threading.Event().wait(self.repeats_ok)
            self._send(*self._answered["INVITE", _branch(request)])

    def _acknowledged(self, request: Request, number: int) -> None:
        numbers = {_cseq(invite) for invite in self._invites.values()}
        if number not in numbers:
            self.complaints.append(f"ACK: CSeq {number}, INVITEs {sorted(numbers)}")
        self.acks.append(number)

    def _canceled(self, request: Request, branch: str, number: int) -> None:
        invite = self._invites.get(branch)
        if invite is None or _cseq(invite) != number:
            self.complaints.append(f"CANCEL: CSeq {number} of no INVITE")
            return
        self._reply(request, 200, "OK")
        if ("INVITE", branch) not in self._answered:
            self._reply(invite, 487, "Request Terminated")

    def _reply(
        self, request: Request, status: int, phrase: str, headers: Iterable[str] = ()
    ) -> None:
        answer = (request, status, phrase, tuple(headers))
        if status >= 200 and request.method != "CANCEL":
            self._answered[request.method, _branch(request)] = answer
        self._send(*answer)

    def _send(self, request: Request, status: int, phrase: str, headers: tuple[str, ...]) -> None:
        (self.answers_from or self).reply(request, status, phrase, headers, tag=self.tag)


def _cseq(request: Request) -> int:
    return int(request.header("cseq").split()[0])


def _tag(value: str) -> str:
    found = re.search(r";tag=([^;>\s]+)", value)
    return found[1] if found else ""


def _branch(request: Request) -> str:
    found = re.search(r"branch=([^;,\s]+)", request.header("via"))
    assert found
    return found[1]

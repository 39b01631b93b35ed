"""Plays a conversation against a running server, and tells where it went otherwise.

Digests are computed here and by tests/peers/sip.py, never with the server's own code.
"""

import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from secrets import token_hex
from typing import Protocol

import sip
from script import Script, ScriptError, Step
from wire import Message, Socket

PATIENCE = float(os.environ.get("SBCAUTH_PATIENCE", "20"))
"""Seconds that an answer or a request may take."""
PASSWORD = "pw"
REASONS = {
    100: "Trying", 180: "Ringing", 183: "Session Progress", 200: "OK", 202: "Accepted",
    302: "Moved Temporarily", 401: "Unauthorized", 404: "Not Found",
    407: "Proxy Authentication Required", 480: "Temporarily Unavailable",
    481: "Call/Transaction Does Not Exist", 486: "Busy Here", 487: "Request Terminated",
    491: "Request Pending", 603: "Decline",
}  # fmt: skip
WITH_CONTACT = {"INVITE", "SUBSCRIBE", "UPDATE", "REFER", "NOTIFY"}


class ServerUnderTest(Protocol):
    """What the player needs of the server."""

    port: int

    def administer(self, *arguments: str) -> str: ...
    def log(self, start: int = 0) -> str: ...
    def log_size(self) -> int: ...
    def restart(self) -> None: ...


class WentOtherwise(AssertionError):
    """A step did not go as the text says."""


@dataclass
class Speaker:
    """What the player remembers of one socket."""

    socket: Socket
    all_sent: list[Message] = field(default_factory=list)
    last: Message | None = None
    challenges: list[sip.Challenge] = field(default_factory=list)
    requests: list[Message] = field(default_factory=list)
    waiting: list[Message] = field(default_factory=list)
    seen: set[tuple[object, ...]] = field(default_factory=set)
    answers: list[Message] = field(default_factory=list)

    def refusal(self, request: Message) -> Message | None:
        """Return the last answer to a request."""
        return next((m for m in reversed(self.answers) if m.branch == request.branch), None)


class Player:
    """Plays one conversation; `places` has the address and port of each socket's letter."""

    def __init__(
        self,
        server: ServerUnderTest,
        places: Mapping[str, tuple[str, int]],
        names: Mapping[str, str],
        *,
        transport: str = "udp",
        phones: Callable[[str], bool] = lambda name: True,
        strange_calls: set[str] | None = None,
    ) -> None:
        self.server = server
        self.places = places
        self.transport = transport
        self.phones = phones
        self.speakers: dict[str, Speaker] = {}
        self.transcript: list[str] = []
        self.calls: set[str] = set()
        self._strange = strange_calls or set()
        self._line, self._body = "", b""
        unique = token_hex(6)
        self.values = {
            "CID": f"c{unique}",
            "TAG": f"t{token_hex(4)}",
            "SERVER": f"127.0.0.1:{server.port}",
            **names,
        }

    def play(self, script: Script) -> None:
        """Play all steps; raises WentOtherwise at the first that goes otherwise."""
        self._began = self.server.log_size()
        try:
            for step in script.steps:
                try:
                    self._play(step)
                except WentOtherwise as error:
                    raise WentOtherwise(
                        f"{step.place}: {step.kind} {step.words}: {error}"
                    ) from None
                except (KeyError, IndexError, OSError) as error:
                    raise ScriptError(
                        f"{step.place}: {step.kind} {step.words}: {error!r}"
                    ) from error
            for name in self.speakers:
                self._hear(name, 0)
        finally:
            for speaker in self.speakers.values():
                speaker.socket.close()

    def arrived(self) -> list[tuple[str, Message]]:
        """Return every request that has arrived, with the name of its socket."""
        return [
            (name, request)
            for name, speaker in self.speakers.items()
            for request in speaker.requests + [m for m in speaker.waiting if not m.status]
        ]

    def log(self) -> str:
        """Return what the server has written since this conversation began."""
        return self.server.log(self._began)

    # --- steps ---

    def _play(self, step: Step) -> None:
        if step.kind in ("log", "nolog"):
            self._look_into_log(step)
            return
        words = self._expand(step.words) if step.kind == "!" else step.words
        name, _, rest = words.partition(" ")
        name = self._expand(name)
        match step.kind, name:
            case ">", _ if rest.startswith("reply"):
                self._reply(name, rest.split(maxsplit=1)[1], step)
            case ">", _:
                self._send(name, rest.split(), step)
            case "<", _:
                self._expect(name, rest)
            case "!", _:
                self._expect_nothing(name, rest)
            case "=", "sleep":
                time.sleep(float(rest))
            case "=", "close":
                self.speakers.pop(rest).socket.close()
            case "=", "open":
                for each in rest.split():
                    self._speaker(each)
            case "=", "dialog":
                self._keep_dialog(rest)
            case "=", "restart":
                self.server.restart()
            case "=", "cli":
                self.values["CLI"] = self.server.administer(*self._expand(rest).split())
            case "=", "set":
                key, _, value = rest.partition(" ")
                key = self._expand(key)
                self.values[key] = self._expand(value)
            case "=", "expect" | "expectnot":
                pattern, _, value = rest.rpartition(" ")
                self._look_into(pattern.strip('"'), self._expand(value), wanted=name == "expect")
            case "=", "same":
                one, _, other = rest.partition(" = ")
                if self._expand(one) != self._expand(other):
                    raise WentOtherwise(f"{self._expand(one)!r} and {self._expand(other)!r}")
            case _:
                raise ScriptError(f"{step.place}: there is no step like this")

    def _send(self, name: str, words: list[str], step: Step) -> None:
        speaker = self._speaker(name)
        times = int(words[words.index("times") + 1]) if "times" in words else 1
        invites = [each for each in speaker.all_sent if each.method == "INVITE"]
        if "again" in words:
            raw = speaker.all_sent[-1].raw
        elif "ack" in words:
            raw = within_transaction(invites[-1], "ACK", speaker.refusal(invites[-1]))
        elif "cancel" in words:
            raw = within_transaction(invites[-1], "CANCEL")
        else:
            block = self._in_full(name, step.block) if "short" in words else step.block
            raw = self._bytes(name, block, raw="raw" in words, adapt="short" in words)
        self._note(f"{name} sends", raw)
        speaker.all_sent.append(Message(raw))
        if call := speaker.all_sent[-1].header("call-id"):
            self.calls.add(call)
        for _ in range(times):
            speaker.socket.send(raw)

    def _reply(self, name: str, words: str, step: Step) -> None:
        speaker = self._speaker(name)
        words = self._expand(words.removesuffix(" with"), name)
        found = re.match(r"(\d{3})((?: (?:of|tag|times)[= ]\S+)*) ?(.*)", words, re.S)
        assert found
        options = dict(re.findall(r"(of|tag|times)[= ](\S+)", found[2]))
        of = options.get("of")
        asked = [each for each in speaker.requests if of in (None, each.method)]
        if not asked:
            raise WentOtherwise("nothing was asked")
        header, body = self._block(name, step.block)
        raw = reply(
            asked[-1],
            int(found[1]),
            tag=options.get("tag", self._tag(name)),
            contact=self._contact(name),
            header=[*filter(None, [found[3]]), *header],
            body=body,
        )
        self._note(f"{name} answers", raw)
        for _ in range(int(options.get("times", 1))):
            speaker.socket.answer(asked[-1], raw)

    def _expect(self, name: str, rest: str) -> None:
        speaker = self._speaker(name)
        if rest == "pong":
            self._wait_for_pong(name)
            return
        wanted, looks = _looks(rest)
        words = self._expand(wanted).split()
        if words[0] == "req":
            message = self._await(name, lambda m: not m.status and m.method == words[1], rest)
            speaker.requests.append(message)
        else:
            codes = {int(code) for code in words[0].split("|")}
            of = words[words.index("of") + 1] if "of" in words else None
            message = self._await(name, lambda m: _answers(m, codes, of), rest, codes=codes, of=of)
            text = "\n".join(f"{key}: {value}" for key, value in message.fields)
            speaker.answers.append(message)
            speaker.challenges = sip.parse_challenges(text) or speaker.challenges
        speaker.last = message
        for word, pattern in looks:
            self._look_into(self._expand(pattern, name), message.text, wanted=word == "has")

    def _await(
        self,
        name: str,
        fits: Callable[[Message], bool],
        rest: str,
        codes: set[int] | None = None,
        of: str | None = None,
    ) -> Message:
        """Return the first message that fits; an answer with another code is a failure at once."""
        speaker = self._speaker(name)
        deadline = time.monotonic() + PATIENCE
        while True:
            for message in speaker.waiting:
                if fits(message):
                    speaker.waiting.remove(message)
                    return message
                last = speaker.all_sent and speaker.all_sent[-1].branch == message.branch
                if codes and message.status >= 200 and last and of in (None, message.method):
                    raise WentOtherwise(f"got {message.first_line}")
            if not self._hear(name, deadline):
                came = [message.first_line for message in speaker.waiting]
                raise WentOtherwise(f"{rest} did not come; what did: {came}")

    def _hear(self, name: str, until: float) -> bool:
        """Take in what arrives next at a socket; tell whether something did."""
        speaker = self._speaker(name)
        while message := speaker.socket.receive(until):
            self._note(f"{name} gets", message.raw)
            if message.header("call-id") in self._strange:
                continue  # of an earlier conversation
            key = (message.first_line, message.branch, message.header("cseq"), message.to_tag)
            if key not in speaker.seen:
                speaker.seen.add(key)
                speaker.waiting.append(message)
                return True
        return False

    def _wait_for_pong(self, name: str) -> None:
        socket = self._speaker(name).socket
        before = socket.pongs
        deadline = time.monotonic() + PATIENCE
        while socket.pongs == before:
            if not self._hear(name, time.monotonic() + 0.05) and time.monotonic() > deadline:
                raise WentOtherwise("no pong came")

    def _expect_nothing(self, name: str, rest: str) -> None:
        seconds = float(rest.split()[1])
        speaker = self._speaker(name)
        deadline = time.monotonic() + seconds
        while self._hear(name, deadline):
            pass
        asked = {each.branch for each in speaker.all_sent}
        came = [m.first_line for m in speaker.waiting if m.status >= 200 or m.branch not in asked]
        if came:
            raise WentOtherwise(f"this arrived: {came}")

    def _look_into_log(self, step: Step) -> None:
        pattern = self._expand(step.words)
        wanted = step.kind == "log"
        deadline = time.monotonic() + (PATIENCE if wanted else 0.1)
        while True:
            found = re.search(pattern, self.log())
            if wanted == bool(found) and (found or time.monotonic() > deadline):
                return
            if found or time.monotonic() > deadline:
                raise WentOtherwise(f"the log has {found[0] if found else 'no such line'!r}")
            time.sleep(0.02)

    @staticmethod
    def _look_into(pattern: str, text: str, *, wanted: bool) -> None:
        found = re.search(pattern, text, re.MULTILINE)
        if bool(found) != wanted:
            raise WentOtherwise(f"{'no' if wanted else 'a'} {pattern!r} in:\n{text}")

    def _keep_dialog(self, rest: str) -> None:
        """Set {S_TARGET} and {S_DIALOG}: what a request within the dialog from here has.

        The dialog is that of the last answer or request at S; `as NAME` names it otherwise.
        """
        name, _, label = rest.partition(" as ")
        speaker = self._speaker(name)
        last = speaker.last
        assert last
        ours, theirs = last.header("from"), last.header("to")
        routes = last.values("record-route")
        if last.status:
            routes = routes[::-1]
        else:
            tag = "" if last.to_tag else f";tag={self._tag(name)}"
            ours, theirs = theirs + tag, ours
        self.values[f"{label or name}_TARGET"] = last.uri()
        self.values[f"{label or name}_DIALOG"] = "\n".join(
            [
                *(f"Route: {route}" for route in routes),
                f"From: {ours}",
                f"To: {theirs}",
                f"Call-ID: {last.header('call-id')}",
                f"Contact: {self._contact(name)}",
            ]
        )

    # --- texts ---

    def _tag(self, name: str) -> str:
        return f"{name.lower()}{self.values['TAG']}"

    def _contact(self, name: str) -> str:
        """Return the Contact that this socket has sent before, as phones keep to theirs."""
        socket = self._speaker(name).socket
        for sent in reversed(self._speaker(name).all_sent):
            if sent.uri().startswith("sip:"):
                return f"<{sent.uri()}>"
        parameter = ";transport=tcp" if socket.transport == "tcp" else ""
        return f"<sip:{name.lower()}@{socket.host}{parameter}>"

    def _in_full(self, name: str, block: tuple[str, ...]) -> tuple[str, ...]:
        """Add what a request must have and the block leaves out."""
        speaker = self._speaker(name)
        head, body = _split(block)
        present = Message(_encode("\r\n".join(self._expand_but_credentials(head, name))))
        method, call = present.method, present.header("call-id") or self.values["CID"]
        sent = [m.header("cseq").split() for m in speaker.all_sent if m.header("call-id") == call]
        numbers = [int(number) for number, of in sent if method != "ACK" or of == "INVITE"]
        number = max(numbers, default=0) + (method != "ACK")
        via = f"SIP/2.0/{speaker.socket.transport.upper()} {{ME}};branch={{BR}};rport"
        fields = {
            "Via": via,
            "Max-Forwards": "70",
            "Call-ID": self.values["CID"],
            "CSeq": f"{number} {method}",
            "Content-Length": "@LEN@",
        }
        missing = [f"{key}: {value}" for key, value in fields.items() if not present.header(key)]
        return (head[0], *missing, *head[1:], *([""] if body else []), *body)

    def _expand_but_credentials(self, head: list[str], name: str) -> list[str]:
        lines = [line for line in head if not re.search(r"\{(AUTH|RESPONSE) ", line)]
        return "\n".join(self._expand(line, name) for line in lines).split("\n")

    def _speaker(self, name: str) -> Speaker:
        if name not in self.speakers:
            found = re.fullmatch(r"([A-Z])(\d*)(t?)", name)
            if not found or found[1] not in self.places:
                raise ScriptError(f"there is no socket {name}")
            address, port = self.places.get(found[1] + found[2], self.places[found[1]])
            phone = self.phones(found[1])
            transport = "tcp" if found[3] or (phone and self.transport == "tcp") else "udp"
            server = ("127.0.0.1", self.server.port)
            if found[2] and found[1] + found[2] not in self.places:
                port = 0
            self.speakers[name] = Speaker(Socket(address, port, transport, server, phone=phone))
        return self.speakers[name]

    def _block(self, name: str, block: tuple[str, ...]) -> tuple[list[str], bytes]:
        """Return the header lines and the body that a block has."""
        head, body = _split(block)
        lines = [line for each in head for line in self._expand(each, name).split("\n") if line]
        return lines, _encode("\r\n".join(self._expand(line, name) for line in body))

    def _bytes(self, name: str, block: tuple[str, ...], *, raw: bool, adapt: bool = False) -> bytes:
        """Return the bytes that a block of lines stands for."""
        speaker = self._speaker(name)
        if speaker.socket.transport == "tcp" and (adapt or self.transport == "tcp"):
            block = tuple(_for_tcp(line) for line in block)
        if raw:
            self._line, self._body = (self._expand(block[0], name) if block else ""), b""
            return _encode("\r\n".join(self._expand(line, name) for line in block))
        head, body = _split(block)
        self._line = self._expand(head[0], name)
        self._body = _encode("\r\n".join(self._expand(line, name) for line in body))
        lines = [self._line]
        for each in head[1:]:
            lines += [line for line in self._expand(each, name).split("\n") if line]
        text = "\r\n".join(lines).replace("@LEN@", str(len(self._body)))
        return _encode(text) + b"\r\n\r\n" + self._body

    def _expand(self, text: str, name: str = "") -> str:
        """Return a text with its {VALUES} filled in, the innermost first."""
        while found := re.search(r"\{([A-Za-z][^{}]*)\}", text):
            text = text[: found.start()] + self._value(found[1], name) + text[found.end() :]
        return text

    def _value(self, word: str, name: str) -> str:
        key, _, rest = word.partition(" ")
        if key == "BR":
            return f"z9hG4bK{token_hex(8)}"
        if key == "ME":
            return self._speaker(name).socket.host
        if key in ("AUTH", "RESPONSE"):
            return self._credentials(name, rest, whole=key == "AUTH")
        if key.startswith("CHALLENGE:"):
            return self._challenge(name, rest.partition("=")[2]).get(key.partition(":")[2], "")
        if key in self.values:
            return self.values[key]
        socket, dot, attribute = key.partition(".")
        if not dot:
            raise ScriptError(f"there is no value {{{word}}}")
        return self._of(socket, attribute)

    def _of(self, name: str, attribute: str) -> str:
        """Return what {S.attribute} stands for."""
        speaker = self._speaker(name)
        if attribute == "me":
            return speaker.socket.host
        if attribute in ("ip", "port"):
            return speaker.socket.host.split(":")[attribute == "port"]
        if attribute == "asked":
            return speaker.all_sent[-1].branch
        if attribute == "stolen":
            invites = [each for each in speaker.requests if each.method == "INVITE"]
            return invites[-1].header("authorization") or invites[-1].header("proxy-authorization")
        last = speaker.last
        what, _, which = attribute.partition(":")
        if what == "heard":
            self._hear(name, 0)
            return "\n".join(each.text for each in speaker.waiting)
        if what == "sent":
            return speaker.all_sent[-1].header(which)
        if last is None:
            raise WentOtherwise(f"nothing has arrived at {name}")
        match what:
            case "tag":
                return last.tag(which)
            case "h":
                return last.header(which)
            case "uri":
                return last.uri(which or "contact")
            case "ruri":
                return last.first_line.split(" ")[1]
            case "branch":
                return last.branch
            case "line":
                return last.first_line
            case "body":
                return last.body.decode()
            case "rr" | "rrs":
                routes = last.values("record-route")
                routes = routes[::-1] if what == "rr" else routes
                return "\n".join(f"Route: {route}" for route in routes)
        raise ScriptError(f"there is no value {{{name}.{attribute}}}")

    def _challenge(self, name: str, which: str = "") -> dict[str, str]:
        """Return a challenge's parameters: the first, or the one of this number or algorithm."""
        challenges = self._speaker(name).challenges
        if not challenges:
            raise WentOtherwise(f"{name} was not challenged")
        chosen = challenges[int(which)] if which.isdigit() else challenges[0]
        for each in challenges:
            if which == each.algorithm:
                chosen = each
        return {
            "realm": chosen.realm,
            "nonce": chosen.nonce,
            "algorithm": chosen.algorithm,
            "opaque": chosen.opaque,
            "qop": ",".join(chosen.qop),
        }

    def _credentials(self, name: str, rest: str, *, whole: bool) -> str:
        """Return {AUTH user=… …} or {RESPONSE …}: what RFC 7616, 3.4 makes of them."""
        found = re.findall(r"""(\w+)=("[^"]*"|'[^']*'|\S+)""", rest)
        words = {key: value.strip("'" if value[0] == "'" else '"') for key, value in found}
        challenge = self._challenge(words.get("from", name), words.get("which", "")) | {
            key: words[key] for key in ("realm", "nonce") if key in words
        }
        offered = challenge["qop"].partition(",")[0]
        method, uri = (*self._line.split(" "), "", "")[:2]
        qop = "" if words.get("qop") == "none" else words.get("qop", offered)
        method, uri = words.get("method", method), words.get("uri", uri)
        nc, cnonce = words.get("nc", "00000001"), words.get("cnonce", token_hex(6))
        user, password = words["user"], str(words.get("pw", PASSWORD))
        response = sip.digest(
            str(words.get("hash", challenge["algorithm"])), user, challenge["realm"], password,
            method, uri, challenge["nonce"], qop=qop, nc=nc, cnonce=cnonce, body=self._body,
        )  # fmt: skip
        if not whole:
            return response.upper() if "upper" in words else response
        fields = [
            f'username="{user}"',
            f'realm="{challenge["realm"]}"',
            f'nonce="{challenge["nonce"]}"',
            f'uri="{uri}"',
            f'response="{response}"',
            f"algorithm={challenge['algorithm']}",
        ]
        if qop:
            fields += [f"qop={qop}", f"nc={nc}", f'cnonce="{cnonce}"']
        if challenge["opaque"]:
            fields.append(f'opaque="{challenge["opaque"]}"')
        return "Digest " + ", ".join(fields)

    def _note(self, who: str, raw: bytes) -> None:
        text = raw.decode("utf-8", "backslashreplace").replace("\r\n", "\n    ")
        self.transcript.append(f"{time.monotonic():.3f} {who}:\n    {text.rstrip()}\n")


def reply(
    request: Message, status: int, *, tag: str, contact: str, header: list[str], body: bytes
) -> bytes:
    """Return the answer to a request, as a phone or a trunk builds it (RFC 3261, 8.2.6)."""
    lines = [f"SIP/2.0 {status} {REASONS.get(status, 'Whatever')}"]
    to = request.header("to")
    if ";tag=" not in to.replace(" ", "") and status > 100:
        to += f";tag={tag}"
    opens = request.method in WITH_CONTACT and 100 < status < 300
    lines += [line for line in header if line.lower().startswith("record-route:")]
    for name in ("via", *(["record-route"] if opens else [])):
        lines += [f"{name.title()}: {value}" for value in request.values(name)]
    lines += [f"From: {request.header('from')}", f"To: {to}"]
    lines += [f"Call-ID: {request.header('call-id')}", f"CSeq: {request.header('cseq')}"]
    if opens and not any(line.lower().startswith("contact:") for line in header):
        lines.append(f"Contact: {contact}")
    lines += [line for line in header if line not in lines]
    lines.append(f"Content-Length: {len(body)}")
    return _encode("\r\n".join(lines)) + b"\r\n\r\n" + body


def within_transaction(invite: Message, method: str, answer: Message | None = None) -> bytes:
    """Return the CANCEL of an INVITE, or the ACK to its refusal (RFC 3261, 9.1 and 17.1.1.3)."""
    lines = [invite.first_line.replace("INVITE", method, 1), f"Via: {invite.values('via')[0]}"]
    for name in ("Route", "From", "Call-ID", "Max-Forwards"):
        lines += [f"{name}: {value}" for value in invite.values(name)]
    lines.append(f"To: {(answer or invite).header('to')}")
    lines += [f"CSeq: {invite.header('cseq').split()[0]} {method}", "Content-Length: 0"]
    return _encode("\r\n".join(lines)) + b"\r\n\r\n"


def _answers(message: Message, codes: set[int], of: str | None) -> bool:
    return message.status in codes and of in (None, message.method)


def _looks(rest: str) -> tuple[str, list[tuple[str, str]]]:
    """Return a step without its `has "…"` and `hasnot "…"`, and those."""
    found = re.findall(r'\b(has|hasnot) "((?:[^"\\]|\\.)*)"', rest)
    looks = [(word, pattern.replace('\\"', '"')) for word, pattern in found]
    return re.sub(r'\b(?:has|hasnot) "(?:[^"\\]|\\.)*"', "", rest).strip(), looks


def _for_tcp(line: str) -> str:
    """Write a line that was written for UDP for TCP."""
    line = line.replace("SIP/2.0/UDP {ME}", "SIP/2.0/TCP {ME}")
    return re.sub(r"\{ME\}(?=[;>])(?!;branch)(?!;transport)", "{ME};transport=tcp", line)


def _split(block: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Return a block's lines before and after its first empty line."""
    lines = list(block)
    end = lines.index("") if "" in lines else len(lines)
    return lines[:end], lines[end + 1 :]


def _encode(text: str) -> bytes:
    """Return a text's bytes, with `\\xNN` for the byte of that number."""
    raw = text.encode("utf-8", "surrogateescape")
    return re.sub(rb"\\x([0-9a-fA-F]{2})", lambda found: bytes([int(found[1], 16)]), raw)

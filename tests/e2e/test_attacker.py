"""An attacker by the ten thousand requests: nothing arrives where no word sends it.

Strangers, a phone with an ended call, a thief of that call's route, and a trunk send requests of
random methods, Request-URIs, Routes, tags, Call-IDs and identities. None has right credentials.
Listeners stand on every address that those could lead to.
"""

import os
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

import pytest
from kamailio import Server, free_port, wait_for
from log_of_kamailio import unexpected_errors
from memory import rpc, shared
from phone import Dialog, MakePhone, Phone
from wire import Message, Socket

SEED = int(os.environ.get("SBCAUTH_ATTACKS_SEED", "3261"))
COUNT = int(os.environ.get("SBCAUTH_ATTACKS", "20000"))
AT_ONCE = 20
SHARED_GROWTH = 2 * 1024
"""KiB of shared memory that may still be in use once the transactions have ended."""
TRUNK = ("127.43.0.1", free_port())
CONFIG = f"""
realm: example.com
max_failures_per_source: 0
ip_groups:
  - name: Phones
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER, INVITE, MESSAGE, SUBSCRIBE]
    classification: [{{address: 127.0.0.0/16}}, {{address: 127.41.0.0/16}}]
    route_to: Trunk
  - name: Trunk
    type: server
    authentication_mode: sbc-as-server
    authentication_method_list: [setup-invite]
    username_as_server: carrier
    password_as_server: carrier secret
    proxy_set: ["sip:{TRUNK[0]}:{TRUNK[1]}"]
"""
USERS = {"1001": "secret", "1002": "secret"}
LISTED = ("REGISTER", "INVITE", "MESSAGE", "SUBSCRIBE")
METHODS = (
    *LISTED, "ACK", "BYE", "CANCEL", "INFO", "NOTIFY", "OPTIONS", "PRACK", "PUBLISH", "REFER",
    "UPDATE", "FOO",
)  # fmt: skip
OURS = ("ACK", "BYE")
"""Methods that pass within a dialog on its signature alone, wherever they come from."""


@dataclass
class Call:
    """What a thief knows of a call: its identifiers, its route, and where it leads."""

    call_id: str
    ours: str
    theirs: str
    target: str
    routes: list[str]


@dataclass
class Attacker:
    """Makes requests from random pieces; `elsewhere` has the addresses that must hear nothing."""

    random: random.Random
    server: str
    elsewhere: list[str]
    contacts: list[str]
    calls: list[Call]
    used: str
    number: int = 0
    made: Counter[str] = field(default_factory=Counter)

    def request(self, who: str, via: str) -> bytes:
        """Return the next request of `who`."""
        pick, self.number = self.random.choice, self.number + 1
        method = pick(METHODS)
        self.made[method] += 1
        call = pick(self.calls)
        known = self.random.random() < 0.5
        ours, theirs = (call.ours, call.theirs) if self.random.random() < 0.8 else ("x", "y")
        if self.random.random() < 0.2:
            ours, theirs = theirs, ours
        lines = [
            f"{method} {self.uri(call)} SIP/2.0",
            f"Via: SIP/2.0/{via};branch=z9hG4bK-{self.number};rport",
            *self.maybe(0.1, f"Via: SIP/2.0/UDP {self.place()};branch=z9hG4bKx"),
            f"Max-Forwards: {pick((70, 70, 70, 1))}",
            *(f"Route: {route}" for route in self.routes(call)),
            *self.maybe(0.1, f"Record-Route: <sip:{self.place()};lr>"),
            f"From: <sip:{self.user()}@{pick(('example.com', 'elsewhere.example'))}>;tag={ours}",
            f"To: <sip:{self.user()}@example.com>" + pick(("", f";tag={theirs}", f";tag={theirs}")),
            f"Call-ID: {call.call_id if known else f'attack-{self.number}'}",
            f"CSeq: {pick((1, 2, 3, self.number))} {method}",
            *self.maybe(0.7, f"Contact: {pick((f'<sip:x@{self.place()}>', '*'))}"),
            *self.maybe(0.1, f"Path: <sip:{self.place()};lr>"),
            *self.maybe(0.2, "P-Asserted-Identity: <sip:boss@example.com>"),
            *self.maybe(0.1, "Remote-Party-ID: <sip:boss@example.com>;party=calling"),
            *self.maybe(0.1, f"Refer-To: <sip:x@{self.place()}>"),
            *self.maybe(0.1, f"Replaces: {call.call_id};to-tag=x;from-tag=y"),
            *self.maybe(0.2, f"{pick(('Authorization', 'Proxy-Authorization'))}: {self.used}"),
            *self.maybe(0.2, "RAck: 1 1 INVITE"),
            *self.maybe(0.3, f"Event: {pick(('presence', 'refer', 'dialog'))}"),
            f"X-Attacker: {who}",
            "Content-Length: 0",
        ]
        return "\r\n".join([*lines, "", ""]).encode()

    def answer(self, call: Call) -> bytes:
        """Return an answer that nobody asked for, on its way to an address of our choice."""
        pick = self.random.choice
        lines = [
            f"SIP/2.0 {pick((180, 200, 200, 401, 407, 500))} Whatever",
            f"Via: SIP/2.0/UDP {self.server};branch=z9hG4bKnone.0",
            f"Via: SIP/2.0/UDP {self.place()};branch=z9hG4bKnone",
            *(f"Record-{route}" for route in (f"Route: {each}" for each in self.routes(call))),
            f"From: <sip:1001@example.com>;tag={call.ours}",
            f"To: <sip:1002@example.com>;tag={call.theirs}",
            f"Call-ID: {call.call_id}",
            f"CSeq: 2 {pick(('INVITE', 'INVITE', 'BYE', 'SUBSCRIBE'))}",
            f"Contact: <sip:x@{self.place()}>",
            "X-Attacker: answer",
            "Content-Length: 0",
        ]
        return "\r\n".join([*lines, "", ""]).encode()

    def maybe(self, share: float, line: str) -> Iterator[str]:
        """Give the line in this share of all cases."""
        if self.random.random() < share:
            yield line

    def user(self) -> str:
        return self.random.choice(("1001", "1002", "1003", "+1900555", "boss", "0"))

    def place(self) -> str:
        """Return an address that must hear nothing, written in one way or another."""
        place = self.random.choice(self.elsewhere)
        return place + self.random.choice(("", "", ";transport=tcp", ";transport=udp", ";ob"))

    def uri(self, call: Call) -> str:
        place = self.random.choice(self.elsewhere)
        address, _, port = place.partition(":")
        return self.random.choice(
            (
                "sip:1002@example.com",
                "sip:1001@example.com",
                "sip:1003@example.com",
                "sip:+1900555@example.com",
                "sip:example.com",
                f"sip:+1900555@{self.place()}",
                f"sip:+1900555@{self.server}",
                f"sip:{self.place()}",
                f"sip:1002@{place};maddr={address}",
                f"sip:1002@{place};alias={address}~{port}~1",
                f"sip:1002@example.com;maddr={address}",
                f"sip:1002@example.com;received=sip:{place}",
                *self.contacts,
                call.target,
                call.target,
                f"{call.target};alias={address}~{port}~1",
                f"{call.target};maddr={address}",
            )
        )

    def routes(self, call: Call) -> list[str]:
        place = f"<sip:{self.place()};lr>"
        ours = f"<sip:{self.server};lr>"
        stolen = call.routes
        changed = [each[:-9] + self.random.choice("abAB09") + each[-8:] for each in stolen]
        return self.random.choice(
            ([], [], [ours], [ours, place], [place], stolen, stolen, stolen, [*stolen, place],
             [place, *stolen], changed, [*stolen, *stolen], [ours, *stolen])
        )  # fmt: skip


class Arrivals:
    """What came to whom, and whether a word sends it there."""

    def __init__(self, phone: str, calls: list[Call]) -> None:
        self._phone = phone
        self._calls = {call.call_id for call in calls}
        self.wrong: list[str] = []
        self.rightly: Counter[str] = Counter()

    def judge(self, place: str, message: Message) -> None:
        """Take in what arrived at a place."""
        who = message.header("x-attacker")
        if message.status and not who:
            return  # an answer to what this place asked
        if self._may(place, who, message):
            self.rightly[who] += 1
        else:
            self.wrong.append(f"at {place}, from {who}:\n{message.text}")

    def _may(self, place: str, who: str, message: Message) -> bool:
        within = message.header("call-id") in self._calls
        asserted = "boss@" in message.header("p-asserted-identity")
        asserted |= "boss@" in message.header("remote-party-id")
        if place == "elsewhere" or message.status or message.method == "REGISTER":
            return False
        if "response=" in message.text:
            return False
        if who == "trunk":
            return message.method != "INVITE" or within
        if asserted or message.method in LISTED:
            return False
        if within and message.method in OURS:
            return True
        return who == "phone" and (within or f"sip:{self._phone}@" in message.header("from"))


@pytest.fixture
def places(server: Server) -> Iterator[dict[str, Socket]]:
    """Sockets: those that attack, and those that must hear nothing."""
    home = ("127.0.0.1", server.port)
    with ExitStack() as stack:

        def make(address: str, port: int = 0, transport: str = "udp") -> Socket:
            made = Socket(address, port, transport, home, phone=True)
            stack.callback(made.close)
            return made

        elsewhere = make("127.66.0.1")
        yield {
            "elsewhere": elsewhere,
            "elsewhere over TCP": make("127.66.0.1", elsewhere.port, "tcp"),
            "elsewhere among phones": make("127.41.0.77"),
            "stranger": make("127.67.0.1"),
            "stranger over TCP": make("127.67.0.1", transport="tcp"),
            "neighbour": make("127.41.0.9"),
            "neighbour over TCP": make("127.41.0.9", transport="tcp"),
            "trunk": make(*TRUNK),
        }


def ended_call(caller: Phone, callee: Phone) -> Call:
    """Return what the caller knows of a call that has been made and ended."""
    challenge = caller.request("INVITE", "sip:1002@example.com")
    caller.send(caller.build("INVITE", "sip:1002@example.com", answering=challenge))
    invite = callee.incoming("INVITE")
    callee.reply(invite, 200)
    answer = caller.response(caller.last_branch)
    dialog = Dialog.opened_by(caller, answer)
    dialog.acknowledge()
    callee.incoming("ACK")
    dialog.send("BYE")
    callee.reply(callee.incoming("BYE"), 200)
    assert caller.response().status == 200
    target = answer.header("contact").partition("<")[2].partition(">")[0]
    ours, theirs = (answer.header(name).partition("tag=")[2] for name in ("from", "to"))
    return Call(answer.header("call-id"), ours, theirs, target, answer.all("record-route")[::-1])


def bindings(server: Server) -> dict[str, set[str]]:
    """Return the Contacts of each address of record, and where each is reached."""
    found: dict[str, set[str]] = {}
    for domain in rpc(server).call("ul.dump")["Domains"]:
        for aor in domain["Domain"]["AoRs"]:
            info = aor["Info"]
            contacts = (each["Contact"] for each in info["Contacts"])
            found[info["AoR"]] = {f"{each['Address']} {each['Received']}" for each in contacts}
    return found


def hear(arrivals: Arrivals, places: dict[str, Socket], callee: Phone) -> None:
    """Take in all that has arrived by now."""
    for name, place in places.items():
        while message := place.receive(0):
            arrivals.judge(name.split(" ")[0], message)
    while True:
        try:
            raw = callee.receive(0.001)
        except TimeoutError:
            return
        arrivals.judge("callee", Message(raw))


def test_nothing_arrives_that_no_word_sends(
    server: Server, phone: MakePhone, places: dict[str, Socket]
) -> None:
    print(f"seed {SEED}")
    caller, callee = phone("1001", expires=3600), phone("1002", expires=3600)
    assert caller.register().status == callee.register().status == 200
    used = caller.last_sent.decode().partition("Authorization: ")[2].partition("\r\n")[0]
    call = ended_call(caller, callee)
    before, began_at = bindings(server), server.log_size()
    attacker = Attacker(
        random.Random(SEED),  # noqa: S311 - the same requests each time
        f"127.0.0.1:{server.port}",
        [places["elsewhere"].host, places["elsewhere among phones"].host],
        [f"sip:1002@{callee.host}", f"sip:1001@{caller.host}"],
        [call],
        used,
    )
    arrivals = Arrivals("1001", [call])
    senders = [name for name in places if not name.startswith("elsewhere")]
    memory = shared(server)
    for number in range(0, COUNT, AT_ONCE):
        for _ in range(AT_ONCE):
            who = attacker.random.choice((*senders, "phone", "phone"))
            if who == "phone":
                caller.send(attacker.request(who, caller.via))
                continue
            place = places[who]
            via = f"{place.transport.upper()} {place.host}"
            answers = attacker.random.random() < 0.05 and place.transport == "udp"
            raw = attacker.answer(call) if answers else attacker.request(who.split(" ")[0], via)
            place.send(raw)
        question = caller.build("OPTIONS", headers=[f"X-Number: {number}"])
        caller.send(question)
        while not caller.response(caller.last_branch).status:
            pass
        hear(arrivals, places, callee)
        assert not arrivals.wrong, "\n".join(arrivals.wrong[:3])
    wait_for(lambda: hear(arrivals, places, callee), 1)
    assert not arrivals.wrong, "\n".join(arrivals.wrong[:3])
    print(f"{attacker.made}\narrived rightly: {arrivals.rightly}")
    assert arrivals.rightly["phone"]
    assert arrivals.rightly["trunk"]
    assert bindings(server) == before
    assert not unexpected_errors(server.log(began_at))
    assert wait_for(lambda: shared(server) - memory < SHARED_GROWTH, 40)
    with suppress(TimeoutError):  # answers to all that was sent have filled its buffer
        while caller.receive(0.1):
            pass
    assert caller.register().status == 200

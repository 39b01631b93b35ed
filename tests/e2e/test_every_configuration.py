"""Nothing passes unproved: whatever the mode, the transport, and the configuration.

One attacker against every configuration that we hand out (sample, README, docs)
and one with all modes at once. From an address of each IP Group, and from one of none, over UDP,
TCP and TLS, it sends each method to whom it might reach: an address of record, a Contact, an
address of its own choice; outside a dialog, and within dialogs that never were. It knows no
password. What arrives at anybody must have had a word that the configuration gives.

Addresses of the documentation are moved to loopback.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from textwrap import dedent

import pytest
from kamailio import Server, free_port
from memory import rpc
from phone import Endpoint, Phone
from repository import REPOSITORY
from wire import Message

from sbcauth.config.load import Config, load
from sbcauth.policy.ip_groups import AuthenticationMode, IPGroup, IPGroupType, UserSecurityMode

ERRORS_MEANT = (r"core/tcp_main\.c", r"tcp_send failed")  # who attacks has hung up
METHODS = (
    "REGISTER", "INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "MESSAGE", "SUBSCRIBE", "NOTIFY",
    "REFER", "PUBLISH", "INFO", "UPDATE", "PRACK", "FOO",
)  # fmt: skip
MOVED = {"192.0.2.": "127.2.2.", "198.51.100.": "127.51.100.", "203.0.113.": "127.113.113."}
OVER = ("udp", "tcp", "tls")
STRANGER, ELSEWHERE, VICTIM = "127.66.0.9", "127.77.0.1", "alice"
ALL_MODES = """
realm: example.com
ip_groups:
  - name: Phones
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER, setup-invite]
    classification: [{address: 192.0.2.0/28}]
    route_to: Carrier
  - name: Radius
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER, setup-invite]
    classification: [{address: 192.0.2.16/28}]
    server_auth_mode: radius
    radius: {servers: [{address: 127.0.0.1, port: 9, secret: s}]}
    route_to: Carrier
  - name: Http
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER, setup-invite]
    classification: [{address: 192.0.2.32/28}]
    server_auth_mode: http
    http: {urls: ["http://127.0.0.1:9/judge"], secret: a long shared secret}
    route_to: Carrier
  - name: Relayed
    type: user
    authentication_mode: user-authenticates
    classification: [{address: 192.0.2.48/28}]
    route_to: PBX
  - name: Kept
    type: user
    authentication_mode: user-authenticates
    classification: [{address: 192.0.2.64/28}]
  - name: AsClient
    type: user
    authentication_mode: sbc-as-client
    classification: [{address: 192.0.2.80/28}]
    username_as_client: trunk
    password_as_client: secret
    client_realms: [carrier.example]
    route_to: Provider
  - name: Shared
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER, setup-invite]
    classification: [{address: 192.0.2.96/28}]
    username_as_server: everybody
    password_as_server: secret
  - name: NothingListed
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: []
    classification: [{address: 192.0.2.112/28}]
  - name: Carrier
    type: server
    authentication_mode: sbc-as-server
    authentication_method_list: [setup-invite]
    proxy_set: ["sip:198.51.100.10"]
    username_as_server: carrier
    password_as_server: secret
  - name: PBX
    type: server
    authentication_mode: user-authenticates
    proxy_set: ["sip:198.51.100.11"]
  - name: Provider
    type: server
    authentication_mode: sbc-as-client
    proxy_set: ["sip:198.51.100.12"]
    username_as_client: trunk
    password_as_client: secret
    client_realms: [carrier.example]
"""


def configurations() -> Iterator[object]:
    """Yield the configurations that we hand out, the longest of a page, and one with all modes."""
    yield pytest.param(ALL_MODES, id="all modes")
    yield pytest.param(f"{ALL_MODES}unclassified_requests: drop\n", id="all modes, drop")
    yield pytest.param((REPOSITORY / "sbcauth.yaml").read_text(), id="sample")
    for page in (REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))):
        blocks = re.findall(r"^ *```yaml\n(.*?)^ *```", page.read_text("utf-8"), re.M | re.S)
        whole = [dedent(block) for block in blocks if "ip_groups" in block]
        if whole:
            yield pytest.param(max(whole, key=len), id=page.name)


@dataclass
class Attacker:
    """Sends what it can think of, and keeps what it has been answered."""

    realm: str
    server: str
    targets: list[str]
    number: int = 0
    sent: dict[str, str] = field(default_factory=dict)
    senders: dict[str, str] = field(default_factory=dict)
    answers: dict[str, bytes] = field(default_factory=dict)

    def requests(self, who: str, via: str) -> Iterator[bytes]:
        """Yield the requests of one place."""
        for target in self.targets:
            for method in METHODS:
                for within in (False, True) if f"{VICTIM}@" in target else (False,):
                    yield self.request(who, via, method, target, within=within)
        for contact in (f"<sip:x@{ELSEWHERE}>", "*", f"<sip:x@{self.server}>"):
            yield self.request(who, via, "REGISTER", f"sip:{self.realm}", contact=contact)
        yield self.late_answer(who, via)

    def request(
        self,
        who: str,
        via: str,
        method: str,
        target: str,
        *,
        within: bool = False,
        contact: str = f"<sip:x@{ELSEWHERE}>",
    ) -> bytes:
        """Return a request by somebody who says that he is the victim."""
        self.number += 1
        victim = f"sip:{VICTIM}@{self.realm}"
        call = f"m{self.number}"
        self.senders[call] = who
        self.sent[call] = f"{who} {method} {target}{' within a dialog' if within else ''}"
        tag, route = "", f"Route: <sip:{ELSEWHERE};lr>"
        if within:
            tag, route = ";tag=b", f"Route: <sip:{self.server};lr;sb=AAAA>, <sip:{ELSEWHERE};lr>"
        credentials = (
            f'Digest username="{VICTIM}", realm="{self.realm}", nonce="n", uri="{target}",'
            f' response="{"0" * 32}"'
        )
        lines = [
            f"{method} {target} SIP/2.0",
            f"Via: SIP/2.0/{via};branch=z9hG4bK{call};rport",
            "Max-Forwards: 70",
            route,
            f"From: <{victim}>;tag=a",
            f"To: <{victim if method == 'REGISTER' else target}>{tag}",
            f"Call-ID: {call}",
            f"CSeq: 1 {method}",
            f"Contact: {contact}",
            f"X-Attacker: {who}",
            f"Authorization: {credentials}",
            f"Proxy-Authorization: {credentials}",
            "p-asserted-identity : <sip:boss@example.com>",
            "P-Asserted-Identity:\r\n <tel:+1900>",
            "Remote-Party-ID: <sip:boss@example.com>;party=calling",
            "Content-Length: 0",
        ]
        return "\r\n".join([*lines, "", ""]).encode()

    def late_answer(self, who: str, via: str) -> bytes:
        """Return a 2xx to an INVITE that nobody sent."""
        self.number += 1
        call = f"m{self.number}"
        self.senders[call] = who
        self.sent[call] = f"{who} 200"
        lines = [
            "SIP/2.0 200 OK",
            f"Via: SIP/2.0/UDP {self.server};branch=z9hG4bKx.0",
            f"Via: SIP/2.0/UDP {ELSEWHERE};branch=z9hG4bKy",
            f"Record-Route: <sip:{self.server};lr;sb=AAAA>",
            f"From: <sip:{VICTIM}@{self.realm}>;tag=a",
            "To: <sip:x@example.com>;tag=b",
            f"Call-ID: {call}",
            "CSeq: 1 INVITE",
            f"X-Attacker: {who}",
            "Content-Length: 0",
        ]
        return "\r\n".join([*lines, "", ""]).encode()


@dataclass(frozen=True)
class Spot:
    """An address from which an IP Group is spoken for, as the configuration says."""

    name: str
    address: str
    transport: str


def spots(config: Config, transports: Sequence[str]) -> list[Spot]:
    """Return an address of each rule and Proxy Set, and one of none, over each transport."""
    found = [Spot("stranger", STRANGER, over) for over in transports]
    for group in config.ip_groups:
        for rule in group.classification:
            if rule.address.version == 4:
                address = _within(rule.address)
                overs = [over for over in transports if rule.transport in (None, over)]
                found += [Spot(group.name, address, over) for over in overs]
        for server in group.proxy_set[:1]:
            found += [Spot(group.name, server.host, over) for over in transports]
    return list(dict.fromkeys(found))


def _within(network: IPv4Network | IPv6Network) -> str:
    """Return an address of a network, on loopback."""
    address = str(network[0] if network.num_addresses == 1 else network[9])
    return address if address.startswith("127.") else "127.88.0.9"


def victims_group(config: Config) -> IPGroup | None:
    """Return the first IP Group whose phones prove themselves to this server."""
    as_server = AuthenticationMode.SBC_AS_SERVER
    for group in config.ip_groups:
        local = group.server_auth_mode == "local" and group.type is IPGroupType.USER
        if local and group.authentication_mode is as_server and "REGISTER" in group.methods:
            return group
    return None


def gives_a_word(group: IPGroup) -> bool:
    """Tell whether the configuration lets requests of an IP Group pass that prove nothing."""
    if group.type is IPGroupType.SERVER or group.shadow:
        return True
    if group.authentication_mode is not AuthenticationMode.SBC_AS_SERVER:
        return True
    return group.user_security_mode is UserSecurityMode.ACCEPT_ALL


def bindings(server: Server) -> set[str]:
    """Return all Contacts that are registered, with their addresses of record."""
    return {
        f"{aor['Info']['AoR']} {each['Contact']['Address']}"
        for domain in rpc(server).call("ul.dump")["Domains"]
        for aor in domain["Domain"]["AoRs"]
        for each in aor["Info"]["Contacts"]
    }


def drain(endpoint: Endpoint, seconds: float) -> Iterator[Message]:
    """Yield what arrives at a socket until nothing has for so long."""
    while True:
        try:
            yield Message(endpoint.receive(seconds))
        except (TimeoutError, ConnectionError):
            return


@pytest.mark.parametrize("text", list(configurations()))
def test_nothing_passes_unproved(
    start_server: Callable[..., Server], tls_config: Path, text: str
) -> None:
    for public, here in MOVED.items():
        text = text.replace(public, here)
    for name in re.findall(r"\$\{file:(.*?)\}", text):
        text = text.replace(f"${{file:{name}}}", "a-secret-of-some-length")
    text = re.sub(r"\$\{env:.*?\}", "a-secret-of-some-length", text)
    text = re.sub(r"(?m)^(log|log_to|database|nonce_key_file):.*\n", "", text)
    tls = free_port()
    server = start_server(
        text, listen=[f"tls:127.0.0.1:{tls}"], options=["--tls-config", str(tls_config)]
    )
    config = load(server.config_file, {})
    by_name = {group.name: group for group in config.ip_groups}
    group = victims_group(config)
    attacker = Attacker(
        group.realm if group else config.ip_groups[0].realm, f"127.0.0.1:{server.port}", []
    )
    attacker.targets = [
        f"sip:{VICTIM}@{attacker.realm}",
        f"sip:nobody@{attacker.realm}",
        f"sip:{attacker.realm}",
        f"sip:x@{ELSEWHERE}",
        f"sip:+1900@{attacker.realm};maddr={ELSEWHERE}",
    ]
    with ExitStack() as stack:

        def at(address: str, transport: str, port: int = 0) -> Endpoint:
            home = tls if transport == "tls" else server.port
            return stack.enter_context(Endpoint(server, address, transport, port, home))

        heard = {"elsewhere": at(ELSEWHERE, "udp", 5060)}
        if group and (victim := registered_victim(stack, server, group, tls)):
            heard["victim"] = victim
            attacker.targets.append(f"sip:{VICTIM}@{victim.host}")
        before = bindings(server)
        overs = OVER if "tls" in text or text.startswith(ALL_MODES) else ("udp", "tcp")
        for spot in spots(config, overs):
            endpoint = at(spot.address, spot.transport)
            for raw in attacker.requests(spot.name, endpoint.via):
                endpoint.send(raw)
            for message in drain(endpoint, 0.1):
                if message.status:
                    attacker.answers[message.header("call-id")] = message.raw
            endpoint.close()
        arrived = [
            (place, message)
            for place, endpoint in heard.items()
            for message in drain(endpoint, 0.5)
            if message.header("x-attacker") in {"stranger", *by_name}
        ]
        assert len(attacker.sent) >= 100
        for place, message in arrived:
            what = f"{attacker.sent[message.header('call-id')]} arrived at the {place}"
            assert place == "victim", what
            sender = by_name.get(message.header("x-attacker"))
            assert sender is not None, what
            assert gives_a_word(sender), what
            assert not message.status, what
            if sender.authentication_mode is AuthenticationMode.SBC_AS_SERVER:
                assert "response=" not in message.text, what
        changed = before ^ bindings(server)
        assert not group or not [each for each in changed if each.startswith(f"{VICTIM}@")]
        if "unclassified_requests: drop" in text:
            strange = [call for call in attacker.answers if attacker.senders[call] == "stranger"]
            assert not strange, attacker.answers[strange[0]]
        for call, raw in attacker.answers.items():
            sender = by_name.get(attacker.senders[call])
            if sender is None or not gives_a_word(sender):
                assert not re.match(rb"SIP/2.0 (2|40[45]|48[03])", raw) or b" OPTIONS\r" in raw, (
                    attacker.sent[call],
                    raw,
                )


def registered_victim(stack: ExitStack, server: Server, group: IPGroup, tls: int) -> Phone | None:
    """Have a phone register, from an address and over a transport of its IP Group.

    None where that is for browsers.
    """
    server.add_user(VICTIM, "secret", group.name)
    for rule in group.classification:
        if rule.address.version == 4 and rule.transport in (None, "udp", "tcp", "tls"):
            over = rule.transport or "udp"
            address = _within(rule.address)
            home = tls if over == "tls" else server.port
            place = {"address": address, "transport": over, "home": home}
            phone = Phone(server, VICTIM, "secret", realm=group.realm, **place)  # type: ignore[arg-type]
            stack.enter_context(phone)
            assert phone.register().status == 200
            return phone
    return None

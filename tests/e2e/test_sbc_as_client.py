"""SBC as Client: a peer's challenge is answered for the sender, who sees nothing of it."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from challenging_peer import Peer
from kamailio import Server, StartServer, free_port, wait_for
from phone import Dialog, Endpoint, MakeEndpoint, MakePhone, Phone
from sip import Response

from sbcauth.installation import kamailio_cfg

CARRIER, OTHER, OWN = free_port(), free_port(), free_port()
CONFIG = f"""
realm: example.com
ip_groups:
  - name: Phones
    type: user
    classification: [{{address: 127.0.0.1}}]
    route_to: Carrier
  - name: Carrier
    type: server
    proxy_set: ["sip:127.0.0.9:{CARRIER}", "sip:127.0.0.10:{OTHER}"]
    authentication_mode: sbc-as-client
    username_as_client: trunk
    password_as_client: secret-of-the-trunk
  - name: Own Accounts
    type: user
    authentication_mode: sbc-as-client
    classification: [{{address: 127.0.0.2}}]
    route_to: Registrar
  - name: Registrar
    type: server
    realm: peer.example
    proxy_set: ["sip:127.0.0.11:{OWN}"]
"""
WORKERS = 3


@pytest.fixture
def peer(server: Server) -> Iterator[Callable[..., Peer]]:
    """Make the carrier's servers; none may have complained at the end."""
    peers: list[Peer] = []

    def make(address: str = "127.0.0.9", port: int = CARRIER, **how: object) -> Peer:
        peers.append(Peer(server, address, port, **how))
        return peers[-1]

    yield make
    for each in peers:
        each.close()
    assert [each.complaints for each in peers if each.complaints] == []


@pytest.fixture
def alice(phone: Callable[..., Phone]) -> Phone:
    return phone("alice")


CALLEE = "sip:+15551234@example.com"


def call(phone: Phone, uri: str = CALLEE) -> Dialog:
    """Place a call that is answered; the INVITE alone is sent, and acknowledged."""
    answer = phone.request("INVITE", uri)
    assert answer.status == 200
    dialog = Dialog.opened_by(phone, answer)
    dialog.acknowledge()
    return dialog


def number(response: Response) -> int:
    return int(response.header("cseq").split()[0])


@pytest.mark.parametrize("status", [401, 407])
@pytest.mark.parametrize("method", ["MESSAGE", "SUBSCRIBE", "REGISTER"])
def test_challenge_is_answered(
    alice: Phone, peer: Callable[..., Peer], method: str, status: int
) -> None:
    carrier = peer(status=status)
    response = alice.request(method, CALLEE)
    assert response.status == 200
    assert number(response) == alice.cseq
    assert carrier.seen == [(method, 1), (method, 2)]


@pytest.mark.parametrize("qop", ["", "auth", "auth-int", "auth,auth-int"])
@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256", "SHA-512-256"])
def test_algorithms_and_qop(
    alice: Phone, peer: Callable[..., Peer], algorithm: str, qop: str
) -> None:
    carrier = peer(algorithms=(algorithm,), qop=qop)
    assert alice.request("MESSAGE", CALLEE, body="grüß dich\0".encode()).status == 200
    assert carrier.algorithm == algorithm
    if "auth-int" in qop:
        assert "qop=auth-int" in carrier.requests[1].header("proxy-authorization")


def test_strongest_of_several_challenges_is_answered(
    alice: Phone, peer: Callable[..., Peer]
) -> None:
    carrier = peer(algorithms=("MD5", "SHA-512-256", "SHA-256"))
    assert alice.request("MESSAGE", CALLEE).status == 200
    assert carrier.algorithm == "SHA-512-256"


def test_challenge_that_we_cannot_answer_is_passed_over(
    alice: Phone, peer: Callable[..., Peer]
) -> None:
    peer(extra_challenge='Digest realm="peer.example", nonce="n", algorithm=SHA-1024')
    assert alice.request("MESSAGE", CALLEE).status == 200


def test_whole_call(alice: Phone, peer: Callable[..., Peer]) -> None:
    carrier = peer()
    dialog = call(alice)
    assert carrier.waits_for_ack(2)
    answer = dialog.request("INVITE")
    assert answer.status == 200
    dialog.acknowledge()
    assert dialog.request("BYE").status == 200
    assert carrier.seen == [("INVITE", 1), ("INVITE", 2), ("INVITE", 3), ("BYE", 4)]
    assert carrier.waits_for_ack(3)
    assert carrier.acks == [1, 2, 3]


def test_requests_within_the_dialog_are_challenged_too(
    alice: Phone, peer: Callable[..., Peer]
) -> None:
    carrier = peer(challenged_in_dialog={"INVITE", "BYE"})
    dialog = call(alice)
    assert dialog.request("INFO").status == 200
    assert dialog.request("INVITE").status == 200
    dialog.acknowledge()
    assert carrier.waits_for_ack(5)
    assert dialog.request("BYE").status == 200
    numbers = [each for _, each in carrier.seen]
    assert numbers == [1, 2, 3, 4, 5, 6, 7]


def test_only_a_request_within_the_dialog_is_challenged(
    alice: Phone, peer: Callable[..., Peer]
) -> None:
    carrier = peer(challenged=set(), challenged_in_dialog={"BYE"})
    dialog = call(alice)
    assert dialog.request("BYE").status == 200
    assert carrier.seen == [("INVITE", 1), ("BYE", 2), ("BYE", 3)]


def test_peer_ends_the_call(server: Server, alice: Phone, peer: Callable[..., Peer]) -> None:
    carrier = peer()
    answer = alice.request("INVITE", CALLEE)
    Dialog.opened_by(alice, answer).acknowledge()
    assert carrier.waits_for_ack(2)
    hangup = Dialog.joined_by(carrier, carrier.requests[-1], carrier.tag)
    hangup.send("BYE")
    bye = alice.incoming("BYE")
    assert bye.header("cseq") == "71 BYE"
    alice.reply(bye, 200)


def test_registrations_go_on_in_one_row(alice: Phone, peer: Callable[..., Peer]) -> None:
    carrier = peer(status=401)
    for _ in range(3):
        assert alice.request("REGISTER").status == 200
    assert [each for _, each in carrier.seen] == [1, 2, 3, 4, 5, 6]


def test_prack_names_the_invite_that_the_peer_knows(
    alice: Phone, peer: Callable[..., Peer]
) -> None:
    carrier = peer(reliable=True, challenged_in_dialog={"PRACK"})
    alice.send(alice.build("INVITE", CALLEE))
    branch = alice.last_branch
    while (ringing := alice.response(branch, provisional=True)).status != 183:
        pass
    dialog = Dialog.opened_by(alice, ringing)
    dialog.send("PRACK", headers=["RAck: 7 1 INVITE"])
    statuses = {alice.response().status, alice.response().status}
    assert statuses == {200}
    dialog.cseq = 1
    dialog.acknowledge()
    assert carrier.waits_for_ack(2)
    assert carrier.seen == [("INVITE", 1), ("INVITE", 2), ("PRACK", 3), ("PRACK", 4)]


@pytest.mark.parametrize(
    "rack", ["1 \u00b2 INVITE", "1 \u0663 INVITE", f"1 {'9' * 5000} INVITE", "1"]
)
def test_prack_whose_rack_has_no_number_goes_on_as_it_is(
    server: Server, alice: Phone, peer: Callable[..., Peer], rack: str
) -> None:
    carrier = peer(reliable=True)
    alice.send(alice.build("INVITE", CALLEE))
    branch = alice.last_branch
    while (ringing := alice.response(branch, provisional=True)).status != 183:
        pass
    Dialog.opened_by(alice, ringing).send("PRACK", headers=[f"RAck: {rack}"])
    assert alice.response().status == 200
    assert carrier.complaints == [f"RAck: {rack}"]
    carrier.complaints.clear()


def test_second_refusal_is_handed_back_as_the_peer_sent_it(
    server: Server, alice: Phone, peer: Callable[..., Peer]
) -> None:
    carrier = peer(never_content=True)
    response = alice.request("INVITE", CALLEE)
    assert response.status == 407
    assert response.phrase == "Prove Yourself"
    assert len(response.challenges) == 1
    assert len(carrier.seen) == 2
    assert wait_for(lambda: "client=refused ip_group=Carrier" in server.log())


def test_stale_nonce_is_answered_once_more(alice: Phone, peer: Callable[..., Peer]) -> None:
    carrier = peer(stale=1)
    assert alice.request("MESSAGE", CALLEE).status == 200
    assert len(carrier.seen) == 3


def test_peer_whose_nonces_are_always_stale_is_answered_twice(
    alice: Phone, peer: Callable[..., Peer]
) -> None:
    carrier = peer(stale=9)
    assert alice.request("MESSAGE", CALLEE).status == 407
    assert len(carrier.seen) == 3


@pytest.mark.parametrize("final", [302, 404, 486, 603])
def test_what_comes_of_the_second_try_goes_to_the_sender(
    alice: Phone, peer: Callable[..., Peer], final: int
) -> None:
    peer(final=final)
    assert alice.request("INVITE", CALLEE).status == final


def test_next_server_is_asked_where_the_second_try_fails(
    alice: Phone, peer: Callable[..., Peer]
) -> None:
    first = peer(final=503)
    second = peer("127.0.0.10", OTHER)
    dialog = call(alice)
    assert dialog.request("BYE").status == 200
    assert [each[0] for each in first.seen] == ["INVITE", "INVITE"]
    assert [each[0] for each in second.seen] == ["INVITE", "INVITE", "BYE"]


def test_cancel_after_the_second_try(alice: Phone, peer: Callable[..., Peer]) -> None:
    held = threading.Event()
    carrier = peer(holds_back=held)
    invite = alice.build("INVITE", CALLEE)
    alice.send(invite)
    branch = alice.last_branch
    while alice.response(branch, provisional=True).status != 180:
        pass
    alice.send(cancel(invite))
    assert refused(alice, branch) == 487
    held.set()
    assert wait_for(lambda: ("CANCEL", 2) in carrier.seen)


def test_cancel_that_crosses_the_challenge(alice: Phone, peer: Callable[..., Peer]) -> None:
    held = threading.Event()
    carrier = peer(holds_challenge_back=held)
    invite = alice.build("INVITE", CALLEE)
    alice.send(invite)
    branch = alice.last_branch
    assert wait_for(lambda: carrier.seen)
    alice.send(cancel(invite))
    held.set()
    assert refused(alice, branch) == 487
    assert [each for each in carrier.seen if each[0] == "INVITE"] == [("INVITE", 1)]


def cancel(invite: bytes) -> bytes:
    return invite.replace(b"INVITE", b"CANCEL")


def refused(phone: Phone, branch: str) -> int:
    """Return the status of the INVITE's refusal, and acknowledge it."""
    while "INVITE" not in (response := phone.response(branch)).header("cseq"):
        pass
    phone.acknowledge(response)
    return response.status


def test_retransmission_is_absorbed_while_the_peer_thinks(
    alice: Phone, peer: Callable[..., Peer]
) -> None:
    held = threading.Event()
    carrier = peer(holds_back=held)
    invite = alice.build("INVITE", CALLEE)
    for _ in range(3):
        alice.send(invite)
        assert wait_for(lambda: len(carrier.seen) == 2)
    held.set()
    assert alice.response(alice.last_branch).status == 200
    assert carrier.seen == [("INVITE", 1), ("INVITE", 2)]


def test_stranger_who_challenges_is_not_answered(
    server: Server, alice: Phone, peer: Callable[..., Peer], endpoint: MakeEndpoint
) -> None:
    carrier = peer(answers_from=endpoint("127.0.0.66"))
    response = alice.request("MESSAGE", CALLEE)
    assert response.status == 407
    assert carrier.seen == [("MESSAGE", 1)]
    assert wait_for(lambda: "client=stranger" in server.log())


def test_challenge_of_another_scheme_goes_to_the_sender(
    server: Server, alice: Phone, peer: Callable[..., Peer]
) -> None:
    peer(scheme="NTLM")
    assert alice.request("MESSAGE", CALLEE).header("proxy-authenticate").startswith("NTLM")
    assert wait_for(lambda: "client=unsupported-challenge" in server.log())


def test_credentials_for_other_realms_stay_and_those_for_the_peer_are_replaced(
    alice: Phone, peer: Callable[..., Peer]
) -> None:
    carrier = peer()
    fields = [
        f'Proxy-Authorization: Digest username="u", realm="{realm}", nonce="n", uri="sip:x", '
        f'response="{"0" * 32}", opaque="{opaque}"'
        for realm, opaque in (("other.example", "kept"), ("unasked.example", "kept"))
    ]
    assert alice.request("MESSAGE", CALLEE, headers=fields).status == 200
    sent = carrier.requests[-1].all("proxy-authorization")
    assert [value.split('realm="')[1].split('"')[0] for value in sent] == [
        "other.example",
        "unasked.example",
        "peer.example",
    ]


def test_bytes_that_are_not_utf_8_reach_the_peer(alice: Phone, peer: Callable[..., Peer]) -> None:
    carrier = peer(qop="auth-int", algorithms=("SHA-256",))
    response = alice.request("MESSAGE", CALLEE, body=b"\xff\xfe\x00", headers=["X-Odd: \udcff"])
    assert response.status == 200
    assert carrier.requests[-1].header("x-odd") == "\udcff"


def test_cseq_keeps_its_place(alice: Phone, peer: Callable[..., Peer]) -> None:
    carrier = peer()
    alice.request("MESSAGE", CALLEE)
    names = [name for name, _ in carrier.requests[-1].headers]
    assert names.index("cseq") > names.index("call-id") > names.index("via")
    assert names.count("cseq") == 1


def test_2xx_that_comes_late_has_the_sender_s_number(
    alice: Phone, peer: Callable[..., Peer]
) -> None:
    carrier = peer(repeats_ok=5.5)
    dialog = call(alice)
    assert carrier.waits_for_ack(2)
    again = Endpoint.response(alice) if wait_for(lambda: False, 4) else alice.response()
    assert number(again) == 1
    dialog.acknowledge()
    assert wait_for(lambda: carrier.acks.count(2) == 2)


def test_sender_s_own_row_answers_for_a_group_of_users(
    server: Server, phone: MakePhone, peer: Callable[..., Peer]
) -> None:
    server.administer(
        "user", "add", "bob", "--ip-group", "Own Accounts", "--realm", "peer.example",
        "--password-stdin", stdin="secret-of-bob\n",
    )  # fmt: skip
    registrar = peer("127.0.0.11", OWN, status=401, username="bob", password="secret-of-bob")
    bob = phone("bob", address="127.0.0.2")
    assert wait_for(lambda: bob.request("REGISTER").status == 200)
    assert registrar.seen[-1][0] == "REGISTER"
    server.administer("config", "check")


def test_sender_without_a_row_gets_the_challenge(
    server: Server, phone: MakePhone, peer: Callable[..., Peer]
) -> None:
    registrar = peer("127.0.0.11", OWN, status=401)
    response = phone("carol", address="127.0.0.2").request("REGISTER")
    assert response.status == 401
    assert len(registrar.seen) == 1
    assert wait_for(lambda: "client=no-credentials ip_group=Registrar" in server.log())


@pytest.fixture
def forked(start_server: StartServer, tmp_path: Path) -> Iterator[tuple[Phone, Peer, Peer]]:
    """Run a kamailio.cfg that sends a call to both servers at once; return phone and servers."""
    cfg = tmp_path / "forking.cfg"
    first = "\t$du = $avp(sbcauth_next_hop);\n"
    both = f'\tappend_branch("sip:second@127.0.0.10:{OTHER}");\n{first}'
    shipped = kamailio_cfg().read_text()
    assert first in shipped
    cfg.write_text(shipped.replace(first, both))
    server = start_server(CONFIG, options=["--cfg", str(cfg)])
    with (
        Phone(server, "alice") as alice,
        Peer(server, "127.0.0.9", CARRIER) as one,
        Peer(server, "127.0.0.10", OTHER) as other,
    ):
        yield alice, one, other
    assert one.complaints + other.complaints == []


def answers_after_the_second_try_of(challenging: Peer, other: Peer) -> None:
    """Have `other` take the call no sooner than `challenging` has been answered."""
    other.holds_back = answers = threading.Event()

    def wait() -> None:
        if wait_for(lambda: [method for method, _ in challenging.seen].count("INVITE") == 2):
            answers.set()

    threading.Thread(target=wait).start()


def test_forked_call_is_answered_at_each_server_that_challenges(
    forked: tuple[Phone, Peer, Peer],
) -> None:
    alice, busy, other = forked
    busy.final = 486
    answers_after_the_second_try_of(busy, other)
    dialog = call(alice)
    assert dialog.request("BYE").status == 200
    assert [method for method, _ in busy.seen[:2]] == ["INVITE", "INVITE"]
    assert [method for method, _ in other.seen] == ["INVITE", "INVITE", "BYE"]


def test_second_try_does_not_wait_for_the_other_branch(forked: tuple[Phone, Peer, Peer]) -> None:
    alice, ringing, other = forked
    ringing.challenged = set()
    ringing.holds_back = threading.Event()
    dialog = call(alice)
    assert wait_for(lambda: ("CANCEL", 1) in ringing.seen)
    ringing.holds_back.set()
    assert dialog.request("BYE").status == 200
    assert [method for method, _ in other.seen] == ["INVITE", "INVITE", "BYE"]


def test_branch_that_nobody_challenged_keeps_its_numbers(forked: tuple[Phone, Peer, Peer]) -> None:
    alice, challenging, other = forked
    challenging.holds_back = threading.Event()
    other.challenged = set()
    answers_after_the_second_try_of(challenging, other)
    dialog = call(alice)
    assert wait_for(lambda: ("CANCEL", 2) in challenging.seen)
    challenging.holds_back.set()
    assert dialog.request("BYE").status == 200
    assert other.seen == [("INVITE", 1), ("BYE", 2)]


def test_many_calls_at_the_same_time(
    server: Server, peer: Callable[..., Peer], phone: MakePhone
) -> None:
    carrier = peer(challenged_in_dialog={"UPDATE"})

    def talk(who: Phone) -> None:
        dialog = call(who)
        done.append(dialog.request("UPDATE").status + dialog.request("BYE").status)

    done: list[int] = []
    threads = [threading.Thread(target=talk, args=(phone(f"caller{each}"),)) for each in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done == [400] * 40
    assert wait_for(lambda: len(carrier.acks) == 80)


def test_passwords_are_in_no_log(server: Server) -> None:
    assert "client=answered ip_group=Carrier" in server.log()
    assert "secret-of" not in server.log()

"""The torture messages of RFC 4475: each gets its answer, and none costs a worker.

The files are the RFC's own archive (appendix A.1), byte for byte. Where None is expected,
Kamailio cannot read what an answer needs (Via, From, To, Call-ID, CSeq), or the message is a
response.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from kamailio import Server, wait_for
from phone import MakeEndpoint, MakePhone

ERRORS_MEANT = ("",)  # what is sent is no SIP
CONFIG = """
realm: example.com
ip_groups:
  - name: Phones
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER, INVITE, MESSAGE]
    username_as_server: "1001"
    password_as_server: secret
    classification: [{address: 127.0.0.0/8}]
"""
MESSAGES = Path(__file__).with_name("rfc4475")
ANSWERS = {
    # 3.1.1, valid messages
    "wsinv": None,  # Kamailio reads no CSeq that is folded
    "intmeth": None,  # nor a header name with a quote or a percent sign in it
    "esc01": 401,
    "escnull": 401,
    "esc02": None,  # that again
    "lwsdisp": 200,  # OPTIONS is not on the list; a ping tells nobody who is registered
    "longreq": 401,
    "dblreq": 401,  # what follows the body is discarded (RFC 3261, 18.3)
    "semiuri": 200,
    "transports": 200,
    "mpart01": 401,
    "unreason": None,  # responses to nothing that was asked
    "noreason": None,
    # 3.1.2, invalid messages
    "badinv01": None,  # a Via that is none
    "clerr": 400,
    "ncl": None,  # a length that is none
    "scalar02": 400,
    "scalarlg": None,  # a response
    "quotbal": None,  # a To that is none
    "ltgtruri": 400,
    "lwsruri": None,  # a first line that is none
    "lwsstart": None,
    "trws": 200,  # white space is borne after the version
    "escruri": 401,
    "baddate": 401,  # nobody here reads a date
    "regbadct": 401,
    "badaspec": 200,
    "baddn": 200,
    "badvers": None,  # a Via of another version
    "mismatch01": 400,
    "mismatch02": 400,
    "bigcode": None,  # a response
    # 3.2, transaction layer
    "badbranch": 200,
    # 3.3, application layer
    "insuf": None,  # no From, To or Call-ID
    "unkscm": 400,
    "novelsc": 400,
    "unksm2": 400,
    "bext01": 420,
    "invut": 401,
    "regaut01": 401,
    "multi01": None,  # two Call-IDs, two CSeqs
    "mcl01": None,  # two lengths
    "bcast": None,  # a response that asks to be sent to everybody
    "zeromf": 483,
    "cparam01": 401,
    "cparam02": 401,
    "regescrt": 401,
    "sdp01": 401,
    # 3.4, backward compatibility
    "inv2543": 401,
}


@pytest.fixture(autouse=True)
def still_well(server: Server, phone: MakePhone) -> Iterator[None]:
    """After each message all processes are there, and right credentials get in."""
    processes = server.processes()
    yield
    assert processes == server.processes()
    assert phone(expires=0).register().status == 200


def test_every_message_is_there() -> None:
    assert len(ANSWERS) == 49
    assert {path.stem for path in MESSAGES.iterdir()} == set(ANSWERS)


@pytest.mark.parametrize("name", ANSWERS)
def test_over_udp_it_gets_its_answer(endpoint: MakeEndpoint, name: str) -> None:
    with endpoint() as sender:
        sender.send((MESSAGES / f"{name}.dat").read_bytes())
        if ANSWERS[name] is None:
            assert sender.hears_nothing(0.15)
        else:
            assert sender.response().status == ANSWERS[name]


def test_over_tcp_all_are_borne(endpoint: MakeEndpoint) -> None:
    """A stream is answered where the message says how long it is (RFC 3261, 20.14)."""
    for name, answer in ANSWERS.items():
        raw = (MESSAGES / f"{name}.dat").read_bytes()
        raw = raw.replace(b"branch=z9hG4bK", b"branch=z9hG4bKtcp")  # no retransmission of the above
        with endpoint(transport="tcp") as sender:
            sender.send(raw)
            if answer == 401 and re.search(rb"(?im)^(content-length|l) *:", raw):
                assert sender.response().status == 401, name


def test_response_to_nothing_that_was_asked_is_relayed_to_nobody(
    server: Server, endpoint: MakeEndpoint
) -> None:
    """Else anybody could have this server send what he likes to whom he likes."""
    sender, victim = endpoint(), endpoint(address="127.0.0.9")
    sender.send(
        f"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 127.0.0.1:{server.port};branch=z9hG4bKa\r\n"
        f"Via: SIP/2.0/UDP {victim.host};branch=z9hG4bKb\r\n"
        "From: <sip:a@example.com>;tag=1\r\nTo: <sip:b@example.com>;tag=2\r\n"
        "Call-ID: stray\r\nCSeq: 1 MESSAGE\r\nContent-Length: 0\r\n\r\n".encode()
    )
    assert victim.hears_nothing(0.3)


def test_refusal_by_the_first_checks_reaches_a_sender_behind_an_address_translator(
    endpoint: MakeEndpoint,
) -> None:
    """Its Via names an address that is not its own, and asks for no `rport`."""
    with endpoint() as sender:
        raw = (MESSAGES / "zeromf.dat").read_bytes()
        assert b"rport" not in raw
        sender.send(raw)
        reply = sender.response()
        assert "received=127.0.0.1" in reply.header("via")


def test_what_is_no_sip_is_named_by_its_source_and_not_copied(
    server: Server, endpoint: MakeEndpoint
) -> None:
    before = server.log_size()
    with endpoint() as sender:
        sender.send(b"\x00REGISTER " + b"copied" * 100 + b"\r\ndecision=accept\r\n\r\n")
        assert sender.hears_nothing(0.2)
        line = f"what came from {sender.host}/udp is not SIP"
        assert wait_for(lambda: line in server.log(before))
        assert "copied" not in server.log(before)

"""A known phone registers the same Contact again: it is saved at once, and so it is no other's."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from kamailio import Server
from phone import MakePhone, Phone

from sbcauth.installation import kamailio_cfg
from sbcauth.monitoring.rpc import Rpc, RpcError

CONFIG = """
realm: example.com
ip_groups:
  - name: Phones
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER]
    classification: [{address: 127.0.0.0/8}]
"""
USERS = {"1001": "secret", "1002": "secret"}
SHORT = '\t\treg_send_reply();\n\t\texit;\n\t}\n\tif (!python_exec("admit"))'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that says in its answer what was saved at once."""
    text = kamailio_cfg().read_text()
    assert text.count(SHORT) == 1
    folder = tmp_path_factory.mktemp("renewals")
    cfg = folder / "with-mark.cfg"
    mark = '\t\tappend_to_reply("X-Renewed: yes\\r\\n");\n'
    cfg.write_text(text.replace(SHORT, f"{mark}{SHORT}"))
    with Server(folder, CONFIG, options=["--cfg", str(cfg)], workers=1) as server:
        for name, password in USERS.items():
            server.add_user(name, password)
        yield server


@pytest.fixture(autouse=True)
def nobody_is_registered(server: Server) -> None:
    """Have no registration left of the tests before."""
    for name in USERS:
        with suppress(RpcError):
            ask(server, "ul.rm", "location", f"{name}@example.com")


def ask(server: Server, method: str, *parameters: str) -> Any:
    """Ask the running Kamailio."""
    return Rpc(server.folder / "run" / "rpc.sock").call(method, *parameters)


def bindings(server: Server, user: str = "1001") -> list[dict[str, Any]]:
    """Return what the registrar has of a user."""
    try:
        found = ask(server, "ul.lookup", "location", f"{user}@example.com")
    except RpcError:
        return []
    return [each["Contact"] for each in found["Contacts"]]


def renewed(phone: Phone, **how: object) -> bool:
    """Register, and tell whether that was saved at once."""
    answer = phone.register(**how)
    assert answer.status == 200, answer
    return answer.header("x-renewed") == "yes"


def test_same_contact_again_is_saved_at_once_and_reached_as_before(
    server: Server, phone: MakePhone
) -> None:
    desk = phone()
    assert not renewed(desk)
    before = bindings(server)
    assert renewed(desk)
    assert renewed(desk)
    after = bindings(server)
    assert len(after) == 1
    for name in ("Address", "Received", "Socket", "User-Agent"):
        assert after[0][name] == before[0][name]
    assert after[0]["CSeq"] > before[0]["CSeq"]
    owner = f"{b'Phones'.hex()};a={b'1001'.hex()}"
    assert after[0]["Received"] == f"sip:{desk.host};g={owner}"


def test_lost_answer_to_a_renewal_is_given_again(server: Server, phone: MakePhone) -> None:
    desk = phone()
    assert not renewed(desk)
    assert renewed(desk)
    for _ in range(3):
        assert desk.resend().status == 200
    assert server.reasons(desk.call_id)[-1] == "accepted"


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("Require: gruu", 420),
        ("Contact: <sip:1001@192.0.2.1>", 200),
        ("Path: <sip:192.0.2.1;lr>", 200),
    ],
    ids=["Require", "Contact", "Path"],
)
def test_what_has_more_to_it_is_looked_at_in_full(
    server: Server, phone: MakePhone, header: str, status: int
) -> None:
    desk = phone()
    assert not renewed(desk)
    assert renewed(desk)
    answer = desk.register(headers=[header])
    assert answer.status == status
    assert not answer.header("x-renewed")
    assert renewed(desk)


def test_same_contact_from_another_port_is_reached_at_that_port(
    server: Server, phone: MakePhone
) -> None:
    first, second = phone(), phone()
    assert not renewed(first)
    assert renewed(first)
    challenge = second.request("REGISTER")
    raw = second.build("REGISTER", answering=challenge)
    second.send(raw.replace(second.contact.encode(), first.contact.encode()))
    answer = second.response(second.last_branch)
    assert answer.status == 200
    assert not answer.header("x-renewed")
    assert [each["Received"].split(";")[0] for each in bindings(server)] == [f"sip:{second.host}"]


def test_renewal_of_nothing_removes_it(server: Server, phone: MakePhone) -> None:
    desk = phone()
    assert not renewed(desk)
    assert renewed(desk)
    desk.expires = 0
    answer = desk.register()
    assert answer.status == 200
    assert not bindings(server)


def test_contact_of_another_account_is_no_renewal(server: Server, phone: MakePhone) -> None:
    desk = phone()
    assert not renewed(desk)
    assert renewed(desk)
    with Phone(server, "1002") as other:
        assert not renewed(other)
    assert len(bindings(server)) == len(bindings(server, "1002")) == 1

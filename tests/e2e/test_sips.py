"""Calls to a `sips:` URI: they reach phones over TLS alone (RFC 3261, 26.2.2; RFC 5630)."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count

import pytest
from certificates import make_tls_config
from kamailio import Server, free_port
from log_of_kamailio import check_log
from phone import Dialog, Phone, Request

CONFIG = """
realm: example.com
ip_groups:
  - name: Phones
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER, setup-invite, MESSAGE]
    classification: [{address: 127.0.0.1}]
"""
WARNING = '380 127.0.0.1 "SIPS Not Allowed"'


class SipsPhone(Phone):
    """A phone whose Contact is a `sips:` URI."""

    @property
    def contact(self) -> str:
        """Return the Contact of this phone."""
        return f"<sips:{self.local_user}@{self.host}>"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, int]]:
    """Run a server that listens on TLS, too; give it and that port."""
    folder, secure = tmp_path_factory.mktemp("server"), free_port()
    options = ["--tls-config", str(make_tls_config(folder))]
    server = Server(folder, CONFIG, listen=[f"tls:127.0.0.1:{secure}"], options=options)
    users = [f"{user},{user},secret,Phones" for user in map(str, range(1000, 1100))]
    accounts = folder / "users.csv"
    accounts.write_text("\n".join(["local_user,username,password,ip_group", *users]) + "\n")
    server.administer("user", "import", str(accounts))
    with server:
        yield server, secure
    check_log(server)


MakeRegistered = Callable[..., Phone]
_users = map(str, count(1000))


@pytest.fixture
def registered(served: tuple[Server, int]) -> Iterator[MakeRegistered]:
    """Make phones that have registered, of users of their own unless one is named."""
    server, secure = served
    with ExitStack() as stack:

        def make(over: str, user: str = "", kind: type[Phone] = Phone) -> Phone:
            home = secure if over == "tls" else 0
            made = kind(server, user or next(_users), transport=over, home=home)
            phone = stack.enter_context(made)
            assert phone.register().status == 200
            return phone

        yield make


def sips(phone: Phone) -> str:
    """Return the address of record of a phone as a `sips:` URI."""
    return phone.uri.replace("sip:", "sips:")


def invites(caller: Phone, callee: Phone, uri: str) -> Request:
    """Have a phone call another by this URI; return the INVITE that arrives."""
    challenge = caller.request("INVITE", uri)
    caller.send(caller.build("INVITE", uri, answering=challenge))
    return callee.incoming("INVITE")


@pytest.mark.parametrize("kind", [Phone, SipsPhone])
@pytest.mark.parametrize(
    ("scheme", "over"), [("sips", "tls"), ("SIPS", "tcp"), ("sips", "udp"), ("sip", "udp")]
)
def test_phone_over_tls_is_called_from_any(
    scheme: str, over: str, kind: type[Phone], registered: MakeRegistered
) -> None:
    caller, callee = registered(over), registered("tls", kind=kind)
    invite = invites(caller, callee, callee.uri.replace("sip:", f"{scheme}:"))
    is_secure = kind is SipsPhone and scheme != "sip"
    assert invite.uri.startswith("sips:" if is_secure else f"sip:{callee.local_user}@")
    callee.reply(invite, 200)
    calling = Dialog.opened_by(caller, caller.response(caller.last_branch))
    calling.acknowledge()
    callee.incoming("ACK")
    called = Dialog.joined_by(callee, invite)
    for method in ("UPDATE", "INFO"):
        called.send(method)
        caller.reply(caller.incoming(method), 200)
        assert callee.response().status == 200
    calling.send("BYE")
    callee.reply(callee.incoming("BYE"), 200)
    assert caller.response().status == 200


@pytest.mark.parametrize(
    ("over", "kind", "method"),
    [("udp", Phone, "INVITE"), ("tcp", SipsPhone, "INVITE"), ("udp", SipsPhone, "MESSAGE")],
)
def test_phone_without_tls_is_not_called_by_sips(
    over: str, kind: type[Phone], method: str, registered: MakeRegistered
) -> None:
    caller, callee = registered("tls"), registered(over, kind=kind)
    answer = caller.authenticate(method, sips(callee))
    assert (answer.status, answer.header("warning")) == (480, WARNING)
    assert callee.hears_nothing()
    challenge = caller.request(method, callee.uri)
    caller.send(caller.build(method, callee.uri, answering=challenge))
    callee.reply(callee.incoming(method), 486)
    assert caller.response(caller.last_branch).status == 486


def test_the_very_contact_of_a_phone_without_tls_is_not_called_by_sips(
    registered: MakeRegistered,
) -> None:
    caller, callee = registered("tls"), registered("udp")
    answer = caller.authenticate("INVITE", f"sips:{callee.local_user}@{callee.host}")
    assert (answer.status, answer.header("warning")) == (480, WARNING)
    assert callee.hears_nothing()


@pytest.mark.parametrize("method", ["INVITE", "MESSAGE"])
@pytest.mark.parametrize("last", ["tls", "udp"])
def test_of_a_users_phones_those_over_tls_are_called_by_sips(
    last: str, method: str, registered: MakeRegistered
) -> None:
    caller, first = registered("tls"), registered("udp" if last == "tls" else "tls")
    phones = {first.transport: first, last: registered(last, first.username)}
    challenge = caller.request(method, sips(first))
    caller.send(caller.build(method, sips(first), answering=challenge))
    phones["tls"].reply(phones["tls"].incoming(method), 486)
    assert caller.response(caller.last_branch).status == 486
    assert phones["udp"].hears_nothing()
    again = caller.request(method, first.uri)
    caller.send(caller.build(method, first.uri, answering=again))
    for phone in phones.values():
        phone.reply(phone.incoming(method), 486)
    assert caller.response(caller.last_branch).status == 486

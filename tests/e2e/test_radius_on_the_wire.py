"""`server_auth_mode: radius`, with a real FreeRADIUS and what may become of one."""

import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sip
from challenging_peer import Peer as Carrier
from freeradius import DOCS, FreeRadius
from kamailio import Server, StartServer, free_port, wait_for
from phone import Dialog, Endpoint, MakePhone, Phone
from radius_peer import ACCEPT, Peer
from repository import REPOSITORY

from sbcauth.kamailio_snippet import snippet
from sbcauth.monitoring.rpc import Rpc

SECRET = "a secret with \u00e4 and #"
PORTS = {
    name: free_port() for name in ("main", "second", "unsigned", "silent", "restarted", "slow")
}


def group(number: int, name: str, ports: list[int], *keys: str, secret: str = SECRET) -> str:
    """Return an IP Group of phones at 127.`number`.0.0/16 that RADIUS knows."""
    servers = "".join(
        f"        - {{address: 127.0.0.1, port: {port}, secret: '{secret}'}}\n" for port in ports
    )
    radius = "".join(f"      {key}\n" for key in keys)
    return f"""\
  - name: {name}
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER, INVITE, MESSAGE]
    classification: [{{address: 127.{number}.0.0/16}}]
    server_auth_mode: radius
    radius:
{radius}      servers:
{servers}"""


ADDRESSES = (f"127.0.3.{host}" for host in range(1, 255))  # each locked out once, at most
QUICK = ("timeout: 300ms", "tries: 1", "dead_time: 0")
CONFIG = f"""
realm: example.com
auth_challenge_method: auto
auth_qop: both
ip_groups:
{group(0, "Phones", [PORTS["main"]], "timeout: 3s", "dead_time: 0")}
{group(41, "Standard", [PORTS["main"]], "attributes: rfc5090", "timeout: 3s", "dead_time: 0")}
{group(42, "Misconfigured", [PORTS["main"]], *QUICK, secret="another")}
{group(43, "Unsigned", [PORTS["unsigned"]], "timeout: 2s", "tries: 1", "dead_time: 0")}
{group(44, "Silent", [PORTS["silent"]], "timeout: 1500ms", "tries: 1", "dead_time: 0")}
{group(45, "Pair", [PORTS["silent"], PORTS["second"]], "timeout: 500ms", "dead_time: 1m")}
{group(46, "Restarted", [PORTS["restarted"]], "timeout: 1s", "tries: 1", "dead_time: 5s")}
{group(49, "Delayed", [PORTS["slow"]])}
  - name: Trunk
    type: server
    authentication_mode: sbc-as-server
    authentication_method_list: [setup-invite, MESSAGE]
    proxy_set: ["sip:127.47.0.1"]
    server_auth_mode: radius
    radius: {{servers: [{{address: 127.0.0.1, port: {PORTS["main"]}, secret: '{SECRET}'}}]}}
  - name: Local
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER]
    classification: [{{address: 127.48.0.0/16}}]
"""
USERS = {"Local/1001": "a local secret"}
KNOWN = {
    **{name: f"secret of {name}" for name in ("1001", "1002", "1003@example.com", "trunk")},
    'b\\"ob': "secret of bob",
}


@pytest.fixture(scope="module", autouse=True)
def radius(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FreeRadius]:
    """The FreeRADIUS that most IP Groups ask."""
    folder = tmp_path_factory.mktemp("radius")
    with FreeRadius(folder / "main", KNOWN, port=PORTS["main"], secret=SECRET) as radius:
        yield radius


@pytest.fixture(scope="module")
def silent() -> Iterator[socket.socket]:
    """A port at which questions arrive and are not answered."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", PORTS["silent"]))
        yield server


def drain(silent: socket.socket) -> list[bytes]:
    """Return the questions that have arrived."""
    found = []
    silent.setblocking(False)
    try:
        while True:
            found.append(silent.recv(4096))
    except BlockingIOError:
        return found


@pytest.fixture
def user(phone: MakePhone) -> MakePhone:
    """A phone whose password is the one that RADIUS knows."""
    return lambda name="1001", **how: phone(name, f"secret of {name}", **{"expires": 0, **how})


def asks(phone: Phone, method: str = "REGISTER", uri: str = "", **how: Any) -> None:
    """Send a request that answers its challenge, and do not wait."""
    challenge = phone.request(method, uri)
    phone.send(phone.build(method, uri, answering=challenge, **how))


def unavailable(server: Server, phone: Phone) -> str:
    """Return the detail of the last outcome, which must be that there was no verdict."""
    outcome = server.outcomes(phone.call_id)[-1]
    assert outcome["reason"] == "unavailable"
    return outcome["detail"]


# The verdict


def test_user_whom_radius_knows_registers(user: MakePhone, radius: FreeRadius) -> None:
    phone = user()
    assert phone.register().status == 200
    assert radius.verdicts("1001")[-1] == "OK"


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_nonce_is_used_again_until_the_phone_stops_counting(
    user: MakePhone, transport: str
) -> None:
    phone = user(transport=transport)
    challenge = phone.request("REGISTER")
    for count in (1, 2, 3):
        assert phone.request("REGISTER", answering=challenge, nc=count).status == 200
    replay = phone.request("REGISTER", answering=challenge, nc=3)
    assert (replay.status, replay.challenges[0].stale) == (401, True)


def test_replay_is_refused_without_asking(user: MakePhone, radius: FreeRadius) -> None:
    phone = user()
    challenge = phone.request("REGISTER")
    assert phone.request("REGISTER", answering=challenge).status == 200
    before = radius.verdicts("1001")
    assert phone.request("REGISTER", answering=challenge).status == 401
    assert radius.verdicts("1001") == before


def test_three_rejects_are_403_and_lock_out(user: MakePhone, radius: FreeRadius) -> None:
    phone = user(address=next(ADDRESSES))
    answers = [phone.register(password="wrong").status for _ in range(3)]
    assert answers == [401, 401, 403]
    before = radius.verdicts("1001")
    assert phone.register().status == 403
    assert radius.verdicts("1001") == before


def test_unknown_user_is_as_a_wrong_password(user: MakePhone, server: Server) -> None:
    phone = user("eve")
    assert phone.register().status == 401
    assert server.reasons(phone.call_id) == ["challenged", "asked", "wrong-credentials"]


def test_several_guesses_at_once_are_counted_one_by_one(
    user: MakePhone, server: Server, radius: FreeRadius
) -> None:
    """Three are asked about, the right one among them or not; the others are to come again."""
    address = next(ADDRESSES)
    phones = [user(address=address) for _ in range(6)]

    def turned_away() -> int:
        return sum("unavailable" in server.reasons(phone.call_id) for phone in phones)

    radius.pause()
    try:
        for phone in phones:
            asks(phone, password=None if phone is phones[-1] else "wrong")
        assert wait_for(lambda: turned_away() == 3)  # before there is a verdict on any
    finally:
        radius.resume()
    statuses = sorted(phone.response(phone.last_branch).status for phone in phones)
    assert statuses in ([200, 401, 401, 503, 503, 503], [401, 401, 403, 503, 503, 503])


@pytest.mark.parametrize("address", ["127.0.0.1", "127.41.0.1"])
@pytest.mark.parametrize("qop", ["auth", "auth-int", ""])
def test_both_dialects_and_every_qop(user: MakePhone, address: str, qop: str) -> None:
    phone = user(address=address)
    challenge = phone.request("MESSAGE", "sip:nobody@example.com").challenges[0]
    how: dict[str, Any] = {"answering": challenge, "qop": qop or "auth", "body": b"h\xe9llo\x00"}
    expected = 404 if qop else 403  # neither is left out unpunished, where one is offered
    if not qop:
        how["answering"] = challenge._replace(qop=())
        how["qop"] = ""
    assert phone.request("MESSAGE", "sip:nobody@example.com", **how).status == expected
    if qop == "auth-int":
        raw = phone.build("MESSAGE", "sip:nobody@example.com", **how)
        phone.send(raw.replace(b"h\xe9llo", b"hallo"))
        assert phone.response(phone.last_branch).status == 407


@pytest.mark.parametrize("address", ["127.0.0.1", "127.41.0.1"])
def test_user_name_with_a_quote_is_sent_as_it_was_meant(phone: MakePhone, address: str) -> None:
    bob = phone('b"ob', "secret of bob", local_user="b%22ob", expires=0, address=address)
    assert bob.register().status == 200


def test_values_that_radius_cannot_carry_are_400(user: MakePhone, server: Server) -> None:
    phone = user()
    answer = phone.register(digest_uri=f"sip:{'x' * 250}")
    assert answer.status == 400
    assert "uri is longer than 251 bytes" in server.outcomes(phone.call_id)[-1]["detail"]


# Who speaks for whom


def test_user_speaks_for_the_address_of_record_of_that_name_only(phone: MakePhone) -> None:
    assert phone("1001", "secret of 1001", local_user="1002").register().status == 403
    name = "1003@example.com"
    assert phone(name, f"secret of {name}", local_user="1003").register().status == 200


def test_user_info_says_who_else_a_user_is(phone: MakePhone, server: Server) -> None:
    server.add_user("1002", "not asked for", local_user="reception")
    other = phone("1002", "secret of 1002", local_user="reception", expires=0)
    assert wait_for(lambda: other.register().status == 200)
    assert phone("1002", "secret of 1002", expires=0).register().status == 403
    server.administer("user", "disable", "1002", "--ip-group", "Phones")
    assert wait_for(lambda: other.register().status == 401)
    server.administer("user", "remove", "1002", "--ip-group", "Phones")
    assert wait_for(lambda: user_registers(phone))


def user_registers(phone: MakePhone) -> bool:
    return phone("1002", "secret of 1002", expires=0).register().status == 200


def test_peer_server_speaks_for_everybody(phone: MakePhone) -> None:
    trunk = phone("trunk", "secret of trunk", local_user="anybody", address="127.47.0.1")
    assert trunk.authenticate("MESSAGE", "sip:nobody@example.com").status == 404


# Servers that do not answer, or cannot be trusted


def test_wrong_shared_secret_is_503_and_said(
    user: MakePhone, server: Server, radius: FreeRadius
) -> None:
    phone = user(address="127.42.0.1")
    answer = phone.register()
    assert (answer.status, answer.header("retry-after")) == (503, "5")
    assert "shared secret" in unavailable(server, phone)
    assert "invalid Message-Authenticator" in radius.log()


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"secret": SECRET, "ma": False}, "a reply without Message-Authenticator"),
        ({"secret": "guessed"}, "a reply not signed with our shared secret"),
    ],
)
def test_accept_that_may_be_forged_is_refused(
    user: MakePhone, server: Server, how: dict[str, Any], said: str
) -> None:
    with Peer(port=PORTS["unsigned"]) as peer:
        phone = user(address="127.43.0.1")
        asks(phone)
        assert wait_for(lambda: peer.questions)
        peer.answer(ACCEPT, **how)
        assert phone.response(phone.last_branch).status == 503
        assert said in unavailable(server, phone)


def test_reply_that_is_signed_by_hand_is_as_good_as_freeradius_s(user: MakePhone) -> None:
    """So the test above refuses what it means to."""
    with Peer(port=PORTS["unsigned"]) as peer:
        phone = user(address="127.43.0.1")
        asks(phone)
        assert wait_for(lambda: peer.questions)
        peer.answer(ACCEPT, secret=SECRET)
        assert phone.response(phone.last_branch).status == 200


def test_reject_that_freeradius_holds_back_is_waited_for(user: MakePhone, tmp_path: Path) -> None:
    with FreeRadius(
        tmp_path / "radius", KNOWN, port=PORTS["slow"], secret=SECRET, reject_delay=1
    ) as radius:
        phone = user(address="127.49.0.1")
        assert phone.register(password="wrong").status == 401
        assert phone.register().status == 200
        assert radius.verdicts("1001") == ["incorrect", "OK"]


def test_second_server_takes_over_and_the_first_is_left_alone(
    user: MakePhone, server: Server, silent: socket.socket, tmp_path: Path
) -> None:
    with FreeRadius(tmp_path / "radius", KNOWN, port=PORTS["second"], secret=SECRET):
        phone = user(address="127.45.0.1")
        began = time.monotonic()
        assert phone.register().status == 200
        assert time.monotonic() - began >= 1
        drain(silent)
        assert phone.register().status == 200
        assert not drain(silent)


def test_server_that_is_gone_is_503_until_it_is_back(
    user: MakePhone, server: Server, tmp_path: Path
) -> None:
    phone = user(address="127.46.0.1")
    radius = FreeRadius(tmp_path / "radius", KNOWN, port=PORTS["restarted"], secret=SECRET)
    with radius:
        assert phone.register().status == 200
    answer = phone.register()
    assert (answer.status, answer.header("retry-after")) == (503, "5")
    assert "Connection refused" in unavailable(server, phone)
    assert phone.register().status == 503
    assert "not asked" in unavailable(server, phone)
    with radius:
        assert wait_for(lambda: phone.register().status == 200)


# Requests that wait


def test_retransmissions_while_it_waits_ask_once_and_are_answered_once(
    user: MakePhone, radius: FreeRadius
) -> None:
    phone = user()
    before = len(radius.verdicts("1001"))
    radius.pause()
    try:
        asks(phone)
        for _ in range(3):
            time.sleep(0.1)
            phone.send(phone.last_sent)
        assert phone.hears_nothing()  # and so all have been read before there is an answer
    finally:
        radius.resume()
    assert phone.response(phone.last_branch).status == 200
    assert phone.hears_nothing()
    assert phone.resend().status == 200
    assert len(radius.verdicts("1001")) == before + 1


def cancel(phone: Phone) -> None:
    """Send the CANCEL of the last INVITE."""
    head = phone.last_sent.split(b"\r\n\r\n")[0].decode().split("\r\n")
    kept = ("Via", "Max-Forwards", "From", "To", "Call-ID", "CSeq")
    lines = [head[0], *(line for line in head[1:] if line.startswith(kept)), "Content-Length: 0"]
    phone.send("\r\n".join([*lines, "", ""]).replace("INVITE", "CANCEL").encode())


def test_caller_who_gives_up_while_it_waits_is_not_put_through(
    user: MakePhone, radius: FreeRadius
) -> None:
    caller, callee = user(), user("1002", expires=60)
    assert callee.register().status == 200
    challenge = caller.request("INVITE", "sip:1002@example.com")
    radius.pause()
    try:
        caller.send(caller.build("INVITE", "sip:1002@example.com", answering=challenge))
        assert caller.response(caller.last_branch, provisional=True).status == 100
        cancel(caller)
        replies = [caller.response(caller.last_branch) for _ in range(2)]
    finally:
        radius.resume()
    assert sorted(reply.status for reply in replies) == [200, 487]
    caller.acknowledge(max(replies, key=lambda reply: reply.status))
    assert callee.hears_nothing()


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_call_is_put_through_and_completes(user: MakePhone, transport: str) -> None:
    caller = user(transport=transport)
    callee = user("1002", transport=transport, expires=60)
    assert callee.register().status == 200
    asks(caller, "INVITE", "sip:1002@example.com", headers=["X-Kept: as it was"])
    incoming = callee.incoming("INVITE")
    assert incoming.header("proxy-authorization") == ""
    assert incoming.header("x-kept") == "as it was"
    callee.reply(incoming, 180, "Ringing")
    callee.reply(incoming, 200)
    ours = Dialog.opened_by(caller, caller.response(caller.last_branch))
    ours.acknowledge()
    callee.incoming("ACK")
    ours.send("BYE")
    callee.reply(callee.incoming("BYE"), 200)
    assert caller.response().status == 200


def test_others_are_served_while_200_requests_wait(
    user: MakePhone, phone: MakePhone, server: Server, silent: socket.socket
) -> None:
    waiting = [user(f"u{number}", address=f"127.44.0.{number + 1}") for number in range(200)]
    drain(silent)
    asked: list[bytes] = []
    for each in waiting:
        asks(each)
        asked += drain(silent)

    def all_have_asked() -> bool:
        asked.extend(drain(silent))
        return len(asked) == 200

    assert wait_for(all_have_asked)
    local = phone("1001", "a local secret", address="127.48.0.1", expires=0)
    took = []
    for _ in range(20):
        began = time.monotonic()
        assert local.register().status == 200
        took.append(time.monotonic() - began)
    assert sorted(took)[10] < 0.5  # a verdict is waited for three times as long
    answers = [each.response(each.last_branch) for each in waiting]
    assert {(answer.status, answer.header("retry-after")) for answer in answers} == {(503, "5")}


def test_process_that_is_stuck_holds_up_nobody_and_loses_no_answer(
    start_server: StartServer, radius: FreeRadius
) -> None:
    """Questions fill the pipe; from then on requests get 503 at once."""
    local = "127.48.0.1"
    server = start_server(CONFIG)
    server.add_user("1001", "a local secret", "Local")
    (stuck,) = [
        each["PID"]
        for each in Rpc(server.folder / "run" / "rpc.sock").call("core.psx")
        if "sbcauth_radius" in each["DSC"]
    ]
    with Phone(server, "1001", "secret of 1001") as phone:
        assert phone.register().status == 200
        os.kill(stuck, signal.SIGSTOP)
        try:
            assert fill(phone) == 503
            with Phone(server, "1001", "a local secret", address=local) as other:
                assert other.register().status == 200
        finally:
            os.kill(stuck, signal.SIGCONT)
        statuses = set(rest(phone))
        assert 404 in statuses
        assert statuses <= {404, 407, 503}  # 407: overtaken by far higher nonce counts
        assert phone.register().status == 200


def fill(phone: Phone) -> int:
    """Send requests until one is answered, which is when the pipe is full; return its status."""
    to = ("MESSAGE", "sip:nobody@example.com")
    challenge = phone.request(*to)
    for count in range(1, 9000):
        phone.send(phone.build(*to, answering=challenge, nc=count))
        if count % 8 == 0:
            try:
                return sip.parse_response(phone.receive(0.001)).status
            except TimeoutError:
                continue
    raise AssertionError("the pipe does not fill")


def rest(phone: Phone) -> Iterator[int]:
    """Yield the statuses of what is answered in the end."""
    try:
        while True:
            yield sip.parse_response(phone.receive(1)).status
    except TimeoutError:
        return


def test_hung_up_connection_does_no_harm(
    user: MakePhone, silent: socket.socket, server: Server
) -> None:
    phone = user(address="127.44.0.1", transport="tcp")
    asks(phone)
    phone.close()
    assert wait_for(lambda: server.reasons(phone.call_id)[-1] == "unavailable")


# Another cfg, another configuration


def test_timers_of_transactions_hold_for_what_follows_and_not_for_the_wait(
    start_server: StartServer, silent: socket.socket, radius: FreeRadius, tmp_path: Path
) -> None:
    """A next hop is given up after 0.3 s here, a RADIUS server after 0.8 s."""
    cfg = tmp_path / "kamailio.cfg"
    text = (REPOSITORY / "kamailio.cfg").read_text()
    assert '"fr_timer", 5000)' in text
    cfg.write_text(text.replace('"fr_timer", 5000)', '"fr_timer", 300)'))
    slow = group(44, "Silent", [PORTS["silent"]], "timeout: 800ms", "tries: 1", "dead_time: 0")
    fast = group(0, "Phones", [PORTS["main"]])
    config = f"realm: example.com\nip_groups:\n{slow}{fast}"
    server = start_server(config, options=("--cfg", str(cfg)))
    with Phone(server, address="127.44.0.1") as phone:
        assert phone.register().status == 503
        assert phone.authenticate("INVITE", phone.uri).status == 503
    with Phone(server, "1001", "secret of 1001") as phone:
        assert phone.register().status == 200
        began = time.monotonic()
        assert phone.authenticate("MESSAGE", phone.uri).status == 408
        assert time.monotonic() - began < 4  # as shipped, it is five


def test_reload_changes_servers_and_loses_no_request(
    start_server: StartServer, silent: socket.socket, radius: FreeRadius
) -> None:
    slow = group(0, "Phones", [PORTS["silent"]], "timeout: 1s", "tries: 1")
    server = start_server(f"realm: example.com\nip_groups:\n{slow}")
    with Phone(server, "1001", "secret of 1001") as first:
        asks(first)
        good = group(0, "Phones", [PORTS["main"]], "timeout: 1s", "tries: 1")
        server.config_file.write_text(f"realm: example.com\nip_groups:\n{good}")
        server.administer("reload")
        with Phone(server, "1001", "secret of 1001") as second:
            assert wait_for(lambda: second.register().status == 200)
        assert first.response(first.last_branch).status == 503
    assert SECRET not in server.log()


BEFORE = """\
#!KAMAILIO
loadmodule "tm.so"
loadmodule "tmx.so"
loadmodule "sl.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "siputils.so"
loadmodule "textops.so"
"""
AFTER = """
request_route {
	if (!mf_process_maxfwd_header("10")) {
		send_reply("483", "Too Many Hops");
		exit;
	}
	route(SBCAUTH);
	route(ON);
}
route[ON] {
	send_reply("200", "Hello $avp(sbcauth_local_user)");
}
"""


def test_existing_deployment_works_with_the_lines_that_are_printed_for_it(
    start_server: StartServer, radius: FreeRadius, tmp_path: Path
) -> None:
    cfg = tmp_path / "kamailio.cfg"
    ours = snippet(tmp_path, REPOSITORY / "kemi" / "sbcauth_kemi.py", radius_route="ON")
    ours = re.sub("#!define .*", "", ours)  # `sbcauth run` does this
    cfg.write_text(BEFORE + ours + AFTER)
    config = f"realm: example.com\nip_groups:\n{group(0, 'Phones', [PORTS['main']])}"
    server = start_server(config, options=("--cfg", str(cfg)))
    with Phone(server, "1001", "secret of 1001") as phone:
        answer = phone.register()
        assert (answer.status, answer.phrase) == (200, "Hello 1001")
        assert phone.register(password="wrong").status == 401


def test_deployment_without_the_process_says_so(
    start_server: StartServer, radius: FreeRadius, tmp_path: Path
) -> None:
    """Without the two lines of rtimer nobody would ever answer."""
    cfg = tmp_path / "kamailio.cfg"
    text = (REPOSITORY / "kamailio.cfg").read_text()
    cfg.write_text(re.sub(r'modparam\("rtimer".*', "", text))
    config = f"realm: example.com\nip_groups:\n{group(0, 'Phones', [PORTS['main']])}"
    server = start_server(config, options=("--cfg", str(cfg)))
    with Phone(server, "1001", "secret of 1001") as phone:
        assert phone.register().status == 503
        assert "there is no process that asks" in unavailable(server, phone)


def test_reload_hands_a_local_ip_group_over_to_radius(
    start_server: StartServer, radius: FreeRadius
) -> None:
    """No restart is needed: the process is always there."""
    by_radius = group(0, "Phones", [PORTS["main"]])
    local = by_radius.partition("    server_auth_mode")[0]
    top = "realm: example.com\nmax_auth_attempts: 100\nip_groups:"
    server = start_server(f"{top}\n{local}")
    server.add_user("1001", "a local secret")
    with Phone(server, "1001", "a local secret") as phone:
        assert phone.register().status == 200
        server.config_file.write_text(f"{top}\n{by_radius}")
        server.administer("reload")
        assert wait_for(lambda: phone.register(password="secret of 1001").status == 200)


def test_configuration_of_the_documentation_works(
    start_server: StartServer, tmp_path: Path
) -> None:
    """The side of FreeRADIUS is that of the documentation in every test here."""
    with FreeRadius(tmp_path / "radius", KNOWN, secret=SECRET) as radius:
        config = DOCS.split("```yaml\n")[1].split("```")[0]
        config = config.replace("192.0.2.20", f"127.0.0.1\n      port: {radius.port}")
        config = config.replace("192.0.2.21", "127.0.0.1")
        config = config.replace("${env:RADIUS_SECRET}", "${file:../secret}")
        config = config.replace("${file:second-server.secret}", "${file:../secret}")
        (tmp_path / "secret").write_text(f"{SECRET}\n")
        server = start_server(config)
        with Phone(server, "1001", "secret of 1001") as phone:
            assert phone.register().status == 200


def test_next_server_gets_what_the_first_one_got(
    start_server: StartServer, radius: FreeRadius
) -> None:
    """What was changed in a request is changed for all servers that it is tried at."""
    hops = [("127.50.0.2", free_port()), ("127.50.0.3", free_port())]
    config = f"""
realm: example.com
ip_groups:
{group(0, "Phones", [PORTS["main"]])}
    route_to: Pair
  - name: Pair
    type: server
    proxy_set: {[f"sip:{address}:{port}" for address, port in hops]}
"""
    server = start_server(config)
    with (
        Phone(server, "1001", "secret of 1001") as caller,
        Endpoint(server, hops[0][0], port=hops[0][1]) as first,
        Endpoint(server, hops[1][0], port=hops[1][1]) as second,
    ):
        headers = ["Route: <sip:elsewhere.example;lr>", "X-Kept: as it was"]
        challenge = caller.request("INVITE", "sip:+1555@example.com", headers=headers)
        uri = "sip:+1555@example.com"
        caller.send(caller.build("INVITE", uri, answering=challenge, headers=headers))
        got = []
        for hop, status in ((first, 503), (second, 486)):
            got.append(hop.incoming("INVITE"))
            hop.reply(got[-1], status, "No")
        assert caller.response(caller.last_branch).status == 486
        for each in got:  # sealed anew each time it goes out
            assert len(each.all("record-route")) == 1
        for name in ("route", "x-kept", "authorization", "contact"):
            assert got[0].all(name) == got[1].all(name), name
        assert got[1].all("record-route")
        assert not got[1].all("authorization") + got[1].all("route")


def test_carrier_that_challenges_us_is_answered_after_radius_has_let_the_caller_in(
    start_server: StartServer, radius: FreeRadius
) -> None:
    """Both sides of one call: RADIUS judges the phone, and we prove ourselves to the carrier."""
    port = free_port()
    config = f"""
realm: example.com
auth_challenge_method: auto
ip_groups:
{group(0, "Phones", [PORTS["main"]])}
    route_to: Carrier
  - name: Carrier
    type: server
    proxy_set: ["sip:127.50.0.9:{port}"]
    authentication_mode: sbc-as-client
    username_as_client: trunk
    password_as_client: secret-of-the-trunk
"""
    server = start_server(config)
    with (
        Phone(server, "1001", "secret of 1001") as caller,
        Carrier(
            server, "127.50.0.9", port, realm="carrier.example", challenged_in_dialog={"INVITE"}
        ) as carrier,
    ):
        answer = caller.authenticate("INVITE", "sip:+15551234@example.com")
        assert answer.status == 200
        dialog = Dialog.opened_by(caller, answer)
        dialog.acknowledge()
        assert carrier.waits_for_ack(carrier.seen[-1][1])
        again = dialog.request("INVITE", answering=dialog.request("INVITE"))
        assert again.status == 200
        dialog.acknowledge()
        assert carrier.waits_for_ack(carrier.seen[-1][1])
        assert dialog.request("BYE").status == 200
        assert [method for method, _ in carrier.seen] == ["INVITE"] * 4 + ["BYE"]
        for request in carrier.requests:
            assert not request.all("route")
            assert 'realm="example.com"' not in request.header("proxy-authorization")
        assert carrier.complaints == []


# Secrets, and what is told


def test_shared_secret_is_nowhere_to_be_seen(user: MakePhone, server: Server) -> None:
    assert user(address="127.42.0.1").register().status == 503
    assert user().register().status == 200
    assert SECRET not in server.log()
    assert SECRET not in server.administer("config", "show")
    assert SECRET not in server.administer("config", "check")
    for pid in server.processes():
        assert SECRET not in Path(f"/proc/{pid}/cmdline").read_text()


def test_explain_says_who_would_be_asked(user: MakePhone, server: Server, tmp_path: Path) -> None:
    phone = user()
    challenge = phone.request("REGISTER")
    raw = phone.build("REGISTER", answering=challenge)
    (tmp_path / "register.sip").write_bytes(raw)
    told = server.administer("explain", str(tmp_path / "register.sip"))
    told = re.sub(r"\s+", " ", told)
    assert f"127.0.0.1:{PORTS['main']}" in told
    assert "it waits for the verdict of the external server" in told


def test_process_is_idle_while_nobody_asks(server: Server) -> None:
    """What it costs where no IP Group uses RADIUS."""
    before = cpu(server)
    time.sleep(1)
    assert cpu(server) - before < 0.1


def cpu(server: Server) -> float:
    """Return the CPU time of all processes, in seconds."""
    found = 0
    for pid in server.processes():
        found += int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])
    return found / 1e9

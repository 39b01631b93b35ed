"""baresip calls, holds, transfers and hangs up: over UDP, TCP and TLS, over IPv4 and IPv6."""

from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import pytest
from baresip_phones import Baresip
from certificates import make_tls_config
from kamailio import Server, free_port
from log_of_kamailio import check_log

CONFIG = """
realm: example.com
ip_groups:
  - name: Phones
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER, INVITE, REFER]
    classification: [{address: 127.0.0.1}, {address: "::1"}]
"""
_users = map(str, count(1001))


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Run a server with all transports over IPv4 and IPv6; give its address for each."""
    folder, six, secure = tmp_path_factory.mktemp("server"), free_port(), free_port()
    listen = [f"udp:[::1]:{six}", f"tcp:[::1]:{six}", f"tls:127.0.0.1:{secure}"]
    options = ["--tls-config", str(make_tls_config(folder))]
    server = Server(folder, CONFIG, listen=listen, options=options)
    rows = [f"{user},{user},secret,Phones" for user in range(1001, 1050)]
    accounts = folder / "users.csv"
    accounts.write_text("\n".join(["local_user,username,password,ip_group", *rows]) + "\n")
    server.administer("user", "import", str(accounts))
    four = f"127.0.0.1:{server.port}"
    with server:
        yield {
            "udp": four,
            "tcp": four,
            "tls": f"127.0.0.1:{secure}",
            "udp6": f"[::1]:{six}",
            "tcp6": f"[::1]:{six}",
        }
    check_log(server)


@pytest.mark.parametrize(
    "over",
    [("udp", "tcp", "udp"), ("tls", "tls", "tls"), ("udp6", "tcp6", "udp6"), ("tcp", "tls", "udp")],
    ids="-".join,
)
def test_baresip_calls_holds_transfers_and_hangs_up(
    over: tuple[str, ...], homes: dict[str, str], tmp_path: Path
) -> None:
    with ExitStack() as stack:
        phones = [
            stack.enter_context(
                Baresip(tmp_path / user, user, "secret", homes[each], each.rstrip("6"))
            )
            for each, user in zip(over, _users, strict=False)
        ]
        for phone in phones:
            assert phone.shows("200 OK"), phone.log()
        caller, callee, other = phones
        caller.say("dial", f"sip:{callee.user}@example.com")
        assert caller.shows("Call established"), caller.log() + callee.log()
        assert callee.shows("Call established"), callee.log()
        for number, command in enumerate(("hold", "resume"), 1):
            caller.say(command)
            assert callee.shows("got re-INVITE", number), caller.log() + callee.log()
            assert caller.shows("got SDP answer", number + 1), caller.log()
        caller.say("transfer", f"sip:{other.user}@example.com")
        assert other.shows("Call established"), callee.log() + other.log()
        assert callee.shows("Call established", 2), callee.log()
        other.say("hangup")
        assert callee.shows(f"{other.user}@.*: session closed"), callee.log()

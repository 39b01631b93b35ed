"""The log of `sbcauth run`: whole lines, whoever writes at the same time, with their levels."""

import re
import threading

import pytest
from phone import Phone

from sbcauth.installation import kamailio_cfg

CONFIG = """
realm: example.com
ip_groups:
  - name: Phones
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER]
    classification: [{address: 127.0.0.0/8}]
"""
USERS = {"1001": "secret"}
WORKERS = 8
LINE = re.compile(
    r"\(\d+\) (INFO|NOTICE): sbcauth: decision=\w+ (status=\d+ )?reason=[\w-]+ ip_group=\S+ "
    r"method=\w+ source=\S+:\d+/(udp|tcp) username=\S+ from=\S+ to=\S+ call_id=\S+@phone"
)
PHONES, TIMES = 16, 25


def decisions(server) -> list[str]:
    return [line for line in server.log().splitlines() if "decision=" in line]


def test_lines_that_many_workers_write_at_once_are_whole(server, phone) -> None:
    before = len(decisions(server))
    phones = [phone("1001", "secret", expires=0) for _ in range(PHONES)]

    def register(each) -> None:
        for _ in range(TIMES):
            assert each.register().status == 200

    threads = [threading.Thread(target=register, args=(each,)) for each in phones]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    written = decisions(server)[before:]
    assert len(written) == 2 * PHONES * TIMES
    assert [line for line in written if not LINE.fullmatch(line)] == []


@pytest.mark.parametrize("debug", [1, 2])
def test_debug_of_kamailio_says_what_is_written(start_server, tmp_path, debug: int) -> None:
    cfg = tmp_path / "kamailio.cfg"
    cfg.write_text(kamailio_cfg().read_text().replace("debug=2 ", f"debug={debug} "))
    server = start_server(CONFIG, options=["--cfg", str(cfg)])
    server.add_user("1001", "secret")
    with Phone(server, "1001", "secret", expires=0) as registering:
        registering.register(password="wrong")
    reasons = re.findall(r"reason=([\w-]+)", "".join(decisions(server)))
    assert reasons == ["challenged", "wrong-credentials"][2 - debug :]


def test_journald_is_told_the_level(start_server, monkeypatch) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "8:1")  # as systemd sets it
    server = start_server(CONFIG)
    server.add_user("1001", "secret")
    with Phone(server, "1001", "secret", expires=0) as registering:
        registering.register(password="wrong")
    info, notice = decisions(server)
    assert info.startswith("<6>(")
    assert notice.startswith("<5>(")

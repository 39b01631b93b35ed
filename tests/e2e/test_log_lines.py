"""The outcomes of `sbcauth run`: whole lines, whoever writes at the same time."""

import re
import threading

from kamailio import Server
from phone import MakePhone, Phone

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
    r"[-0-9T:+]{24} decision=\w+ (status=\d+ )?reason=[\w-]+ (word=digest )?ip_group=\S+ "
    r"method=\w+ source=\S+:\d+/(udp|tcp) username=\S+ from=\S+ to=\S+ call_id=\S+@phone"
)
PHONES, TIMES = 16, 25


def decisions(server: Server) -> list[str]:
    return [line for line in server.log().splitlines() if "decision=" in line]


def test_lines_that_many_workers_write_at_once_are_whole(server: Server, phone: MakePhone) -> None:
    before = len(decisions(server))
    phones = [phone("1001", "secret", expires=0) for _ in range(PHONES)]

    def register(each: Phone) -> None:
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

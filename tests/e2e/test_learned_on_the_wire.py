"""What one worker has learned of a phone, another knows; and what no longer holds, none goes by."""

import time
import urllib.request
from pathlib import Path

from kamailio import Server, StartServer, free_port, wait_for
from phone import Phone

from sbcauth.monitoring.rpc import Rpc

CONFIG = """
realm: example.com
ip_groups:
  - name: Phones
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER]
    classification: [{address: 127.0.0.0/8}]
    max_auth_attempts: 100
"""
WORKERS = 3
NOTICED = 0.3
"""Seconds after which every worker looks for changes with its next request."""
ENOUGH = 6
"""Times that a worker has run, after which it has answered a request with credentials, too."""


class Workers:
    """The workers of a server, seen from the outside: who has run has served a request."""

    def __init__(self, server: Server) -> None:
        listing = Rpc(server.folder / "run" / "rpc.sock").call("core.psx")
        self._pids = [each["PID"] for each in listing if "udp receiver" in each["DSC"]]
        assert len(self._pids) == WORKERS

    def answer(self, phone: Phone, password: str) -> set[int]:
        """Register until every worker has answered, and return the status codes."""
        time.sleep(NOTICED)
        before = self._runs()
        answers = set()
        for _ in range(30):
            answers.add(phone.register(password=password).status)
            if all(
                after - then >= ENOUGH for then, after in zip(before, self._runs(), strict=True)
            ):
                return answers
        raise AssertionError("a worker serves nobody")

    def _runs(self) -> list[int]:
        """Return how often each worker has been given a processor."""
        return [int(Path(f"/proc/{pid}/schedstat").read_text().split()[2]) for pid in self._pids]


def test_phone_that_one_worker_knows_is_looked_up_by_no_other(start_server: StartServer) -> None:
    port = free_port()
    server = start_server(CONFIG, workers=WORKERS, options=["--metrics", f"127.0.0.1:{port}"])
    server.add_user("1001", "secret")
    server.add_user("1002", "secret")

    def told(name: str) -> int:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
            lines = answer.read().decode().splitlines()
        return next(int(float(line.split()[-1])) for line in lines if line.startswith(name))

    def looked_up() -> int:
        decisions = 0
        while decisions != told("sbcauth_decision_seconds_count"):
            decisions = told("sbcauth_decision_seconds_count")
            time.sleep(0.5)
        return told('sbcauth_user_cache_lookups_total{result="miss"}')

    workers = Workers(server)
    with Phone(server, "1001", expires=0) as first, Phone(server, "1002", expires=0) as phone:
        assert workers.answer(first, "secret") == {200}
        before = looked_up()
        assert phone.register().status == 200
        assert wait_for(lambda: looked_up() > before)
        after = looked_up()
        assert workers.answer(phone, "secret") == {200}
        assert looked_up() == after


def test_password_that_was_changed_and_user_that_is_disabled_get_in_at_no_worker(
    start_server: StartServer,
) -> None:
    server = start_server(CONFIG, workers=WORKERS)
    server.add_user("1001", "secret")
    workers = Workers(server)
    with Phone(server, "1001", expires=0) as phone:
        assert workers.answer(phone, "secret") == {200}
        server.administer("user", "set-password", "1001", "--password-stdin", stdin="changed\n")
        assert workers.answer(phone, "secret") == {401}
        assert workers.answer(phone, "changed") == {200}
        server.administer("user", "disable", "1001")
        assert workers.answer(phone, "changed") == {401}
        server.administer("user", "enable", "1001")
        assert workers.answer(phone, "changed") == {200}
        server.administer("user", "remove", "1001")
        assert workers.answer(phone, "changed") == {401}

"""Metrics of a real server, scraped over HTTP and read by Prometheus' own client library."""

import json
import re
import socket
import urllib.error
import urllib.request
from contextlib import ExitStack
from pathlib import Path

import pytest
from freeradius import FreeRadius
from kamailio import Server, StartServer, free_port, wait_for
from phone import Phone
from prometheus_client.parser import text_string_to_metric_families
from repository import REPOSITORY

PORT_OF_METRICS, RADIUS, SILENT = free_port(), free_port(), free_port()
CONFIG = f"""
realm: example.com
ip_groups:
  - name: Phones
    type: user
    classification: [{{address: 127.0.0.1}}]
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER]
  - name: 'A "quoted" \\ name'
    type: user
    classification: [{{address: 127.0.0.2}}]
  - name: Radius
    type: user
    classification: [{{address: 127.0.0.3}}]
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER]
    server_auth_mode: radius
    radius:
      timeout: 200ms
      tries: 1
      servers:
        - {{address: 127.0.0.1, port: {SILENT}, secret: a secret}}
        - {{address: 127.0.0.1, port: {RADIUS}, secret: a secret}}
"""
USERS = {"1001": "secret"}
WORKERS = 3
OPTIONS = ("--metrics", f"127.0.0.1:{PORT_OF_METRICS}")
DASHBOARD = json.loads((REPOSITORY / "contrib" / "grafana" / "sbcauth.json").read_text("utf-8"))
PAGE = (REPOSITORY / "docs" / "metrics.md").read_text("utf-8")


def scrape(path: str = "/metrics") -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{PORT_OF_METRICS}{path}", timeout=30) as answer:
        return str(answer.read().decode())


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (each.name, frozenset(each.labels.items())): each.value
        for family in text_string_to_metric_families(text)
        for each in family.samples
    }


@pytest.fixture(scope="module")
def scraped(server: Server, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Metrics after known outcomes: thirty registrations, a lockout, RADIUS and others."""
    with ExitStack() as stack:
        silent = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        silent.bind(("127.0.0.1", SILENT))
        folder = tmp_path_factory.mktemp("radius") / "server"
        stack.enter_context(FreeRadius(folder, {"2001": "known"}, port=RADIUS, secret="a secret"))
        good = stack.enter_context(Phone(server, "1001"))
        for _ in range(30):
            assert good.register().status == 200
        bad = stack.enter_context(Phone(server, "1001", "wrong"))
        assert [bad.register().status for _ in range(3)] == [401, 401, 403]
        stack.enter_context(Phone(server, "1002", address="127.0.0.2")).request("OPTIONS")
        asked = stack.enter_context(Phone(server, "2001", "known", address="127.0.0.3"))
        assert asked.register().status == 200
        assert wait_for(lambda: "sbcauth_decision_seconds_count 69" in scrape())
        return scrape()


def test_numbers_are_right_over_all_workers(scraped: str) -> None:
    found = samples(scraped)

    def value(name: str, **labels: str) -> float:
        return found[f"sbcauth_{name}", frozenset(labels.items())]

    assert value("outcomes_total", ip_group="Phones", reason="challenged") == 33
    assert value("outcomes_total", ip_group="Phones", reason="accepted") == 30
    assert value("outcomes_total", ip_group="Phones", reason="wrong-credentials") == 3
    quoted = 'A "quoted" \\ name'
    assert value("outcomes_total", ip_group=quoted, reason="keep-alive") == 1
    assert value("lockouts_total", ip_group="Phones", scope="pair") == 1
    assert value("decision_seconds_count") == 69  # two of each registration, and the OPTIONS
    assert value("decision_seconds_bucket", le="+Inf") == 69
    assert 0 < value("decision_seconds_sum") < 5
    hits, misses = (value("user_cache_lookups_total", result=each) for each in ("hit", "miss"))
    assert hits >= 30 - WORKERS
    assert 1 <= misses <= 10
    answered, silent = f"127.0.0.1:{RADIUS}", f"127.0.0.1:{SILENT}"
    assert value("external_answers_total", server=answered, answer="accept") == 1
    assert value("external_answers_total", server=silent, answer="none") == 1
    assert value("external_server_up", server=answered) == 1
    assert value("external_server_up", server=silent) == 0
    assert value("external_seconds_count") == 1
    assert value("workers") == 2 * WORKERS


def test_status_shows_the_same(scraped: str, server: Server) -> None:
    def told() -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        return samples(server.administer("status", "--prometheus"))

    # The process for metrics tells what was measured each second.
    assert wait_for(lambda: told().get(("sbcauth_decision_seconds_count", frozenset())) == 69)
    assert samples(scraped).keys() <= told().keys()
    shown = server.administer("status")
    assert "lockouts set: 1 of a pair" in shown
    assert re.search(r"user cache: \d+\.\d % of \d+ look-ups", shown)
    assert f"external server 127.0.0.1:{SILENT}: does not answer, is left alone until" in shown
    assert f"external server 127.0.0.1:{RADIUS}: answers (accept 1)" in shown


def test_every_metric_is_documented(scraped: str) -> None:
    families = {line.split()[2] for line in scraped.splitlines() if line.startswith("# TYPE ")}
    documented = set(re.findall(r"^\| `(sbcauth_\w+)` \|", PAGE, re.MULTILINE))
    with_postgresql = {name for name in documented if name.startswith("sbcauth_users_copy_")}
    assert len(with_postgresql) == 4  # test_postgresql_on_the_wire.py has them
    assert families == documented - with_postgresql


def test_dashboard_asks_for_what_there_is(scraped: str) -> None:
    labels: dict[str, set[str]] = {}
    for name, pairs in samples(scraped):
        labels.setdefault(name, set()).update(key for key, _ in pairs)
    expressions = [t["expr"] for panel in DASHBOARD["panels"] for t in panel["targets"]]
    assert len(expressions) >= 8
    for expression in expressions:
        names = set(re.findall(r"sbcauth_\w+", expression))
        assert names
        assert names <= set(labels), expression
        known = set().union(*(labels[name] for name in names)) | {"instance"}
        used = set(re.findall(r"(\w+)(?:=~?|!=)\"", expression))
        for group in re.findall(r"by \(([^)]*)\)", expression):
            used |= set(re.findall(r"\w+", group))
        assert used <= known, expression


def test_nothing_else_is_served(scraped: str) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404"):
        scrape("/")


def test_metrics_are_on_loopback_only(scraped: str) -> None:
    listening = [
        line.split()[1]
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
        if line.split()[3] == "0A" and line.split()[1].endswith(f":{PORT_OF_METRICS:04X}")
    ]
    assert listening == [f"0100007F:{PORT_OF_METRICS:04X}"]


def test_silent_client_holds_nobody_up(scraped: str) -> None:
    with socket.create_connection(("127.0.0.1", PORT_OF_METRICS)):
        assert "sbcauth_workers" in scrape()


def test_nothing_listens_where_metrics_are_off(start_server: StartServer) -> None:
    server = start_server(CONFIG)
    assert "sbcauth_metrics" not in server.administer("status", "--prometheus")
    assert "decision_seconds" not in server.administer("status", "--prometheus")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", 9464), 1).close()  # the usual port


@pytest.mark.parametrize("address", ["0.0.0.0:9464", "192.0.2.1:9464", "9464", "127.0.0.1:0"])
def test_address_that_will_not_do_is_wrong_usage(tmp_path: Path, address: str) -> None:
    done = Server(tmp_path, CONFIG).sbcauth("run", "--metrics", address)
    assert done.returncode == 2
    assert "--metrics" in done.stderr


def test_port_that_is_taken_keeps_kamailio_from_starting(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = Server(tmp_path, CONFIG, options=["--metrics", f"127.0.0.1:{port}"])
        process = server.launch()
        assert wait_for(lambda: process.poll() is not None)
    assert f"metrics cannot listen on 127.0.0.1:{port}" in server.log()

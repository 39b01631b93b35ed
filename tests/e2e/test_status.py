"""`sbcauth status` beside a real server: each outcome is counted, whichever worker decides."""

import json
import re
import subprocess
from pathlib import Path

from kamailio import REPOSITORY, SBCAUTH, Server

CONFIG = """
realm: example.com
ip_groups:
  - name: Phones
    type: user
    classification: [{address: 127.0.0.1}]
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER]
  - name: "A \\"quoted\\" name"
    type: user
    classification: [{address: 127.0.0.2}]
"""
USERS = {"1001": "secret"}
WORKERS = 4
EXPECTED = re.compile(r"kamailio .*, since .*, 8 workers\nshared memory: \d+ of 25\d MB\n")


def outcomes(server: Server) -> dict[tuple[str, str], int]:
    found = json.loads(server.administer("status", "--json"))
    return {(each["ip_group"], each["reason"]): each["times"] for each in found["outcomes"]}


def test_outcomes_are_counted_by_ip_group_and_reason(server, phone) -> None:
    for _ in range(10):
        assert phone("1001").register().status == 200
    assert phone("1001", "wrong").register().status == 401
    phone("1002", address="127.0.0.2").request("MESSAGE", "sip:1001@example.com")
    phone("1003", address="127.0.0.3").request("REGISTER")
    assert outcomes(server) == {
        ("Phones", "challenged"): 11,
        ("Phones", "accepted"): 10,
        ("Phones", "wrong-credentials"): 1,
        ('A "quoted" name', "pass-through"): 1,
        ("-", "unclassified"): 1,
    }


def test_status_says_what_runs(server) -> None:
    assert EXPECTED.match(server.administer("status"))
    found = json.loads(server.administer("status", "--json"))
    assert found["workers"] == 8  # four for UDP, four for TCP
    assert 0 < found["memory_used"] < found["memory_total"]
    assert found["entries"]["nonces in use"] >= 1


def test_metrics_are_in_prometheus_text_format(server) -> None:
    lines = server.administer("status", "--prometheus").splitlines()
    assert 'sbcauth_outcomes_total{ip_group="A \\"quoted\\" name",reason="pass-through"} 1' in lines
    sample = re.compile(r'(sbcauth_\w+)(\{\w+="(?:[^"\\]|\\.)*"(,\w+="(?:[^"\\]|\\.)*")*\})? \d+')
    samples = [line for line in lines if not line.startswith("#")]
    assert all(sample.fullmatch(line) for line in samples)
    names = {sample.match(line)[1] for line in samples}
    assert names == {line.split()[2] for line in lines if line.startswith("# TYPE")}
    documented = (REPOSITORY / "docs" / "cli.md").read_text()
    assert all(f"| `{name}` |" in documented for name in names)


def test_status_can_be_watched(server) -> None:
    watching = subprocess.Popen(
        [SBCAUTH, "--config", server.config_file, "status", "--watch"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert watching.stdout
    seen = [watching.stdout.readline() for _ in range(30)]
    watching.terminate()
    watching.wait(5)
    watching.stdout.close()
    assert sum(line.startswith("kamailio ") for line in seen) >= 2


def test_server_that_does_not_run_has_no_status(tmp_path: Path) -> None:
    done = Server(tmp_path, CONFIG).sbcauth("status")
    assert done.returncode == 1
    assert done.stderr.startswith("no server answers on ")

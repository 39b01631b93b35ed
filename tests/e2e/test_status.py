"""`sbcauth status` beside a real server: each outcome is counted, whichever worker decides."""

import json
import re
import subprocess
from contextlib import ExitStack
from pathlib import Path

from kamailio import SBCAUTH, Server, StartServer, wait_for
from phone import MakePhone, Phone
from repository import REPOSITORY

from sbcauth.monitoring.rpc import Rpc

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
EXPECTED = re.compile(
    r"kamailio .*, since .*, 8 workers\n"
    r"configuration \S+ [0-9a-f]{8}, loaded \d{4}-\S+; nonce key 0 signs\n"
    r"shared memory: \d+ of 25\d MB\n"
)


def with_groups(numbers: range) -> str:
    """Return a configuration with so many IP Groups, each with one address of 127.0.1.0/24."""
    group = """
  - name: Group {0:03}
    type: user
    classification: [{{address: 127.0.1.{0}}}]
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER]
"""
    return "realm: example.com\nip_groups:" + "".join(map(group.format, numbers))


def outcomes(server: Server) -> dict[tuple[str, str], int]:
    found = json.loads(server.administer("status", "--json"))
    return {
        (each["ip_group"], each["reason"]): each["times"]
        for each in found["outcomes"]
        if each["reason"] != "bad-request"  # by which Server sees that SIP is answered
    }


def test_outcomes_are_counted_by_ip_group_and_reason(server: Server, phone: MakePhone) -> None:
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


def test_status_says_what_runs(server: Server) -> None:
    assert EXPECTED.match(server.administer("status"))
    found = json.loads(server.administer("status", "--json"))
    assert found["workers"] == 8  # four for UDP, four for TCP
    assert 0 < found["memory_used"] < found["memory_total"]
    assert found["entries"]["nonce_counts_used"] >= 1
    assert found["failed_attempts"] == 1, "one wrong answer is one"


def test_metrics_are_in_prometheus_text_format(server: Server) -> None:
    lines = server.administer("status", "--prometheus").splitlines()
    assert 'sbcauth_outcomes_total{ip_group="A \\"quoted\\" name",reason="pass-through"} 1' in lines
    sample = re.compile(r'(sbcauth_\w+)(\{\w+="(?:[^"\\]|\\.)*"(,\w+="(?:[^"\\]|\\.)*")*\})? \d+')
    samples = [line for line in lines if not line.startswith("#")]
    assert all(sample.fullmatch(line) for line in samples)
    names = {re.split("[{ ]", line)[0] for line in samples}
    assert names == {line.split()[2] for line in lines if line.startswith("# TYPE")}
    documented = (REPOSITORY / "docs" / "metrics.md").read_text()
    assert all(f"| `{name}` |" in documented for name in names)


def test_status_can_be_watched(server: Server) -> None:
    watching = subprocess.Popen(
        [SBCAUTH, "--config", server.config_file, "status", "--watch"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert watching.stdout
    seen = [watching.stdout.readline().strip() for _ in range(30)]
    watching.terminate()
    watching.wait(20)
    watching.stdout.close()
    assert sum(line.startswith("kamailio ") for line in seen) >= 2
    assert "IP Group\tReason\tTimes" in seen
    assert "IP Group\tReason\tTimes\tA second" in seen
    assert "Phones\taccepted\t10\t0.0" in seen


def test_status_is_loud_about_a_group_in_shadow(start_server: StartServer) -> None:
    config = with_groups(range(2)).replace(
        "type: user", "type: user\n    shadow: true\n    route_to: PBX", 1
    )
    config += """
  - name: PBX
    type: server
    proxy_set: ["sip:127.0.9.9:5060"]
"""
    said = start_server(config).administer("status")
    assert "IN SHADOW, NOBODY IS REFUSED: Group 000\n" in said


def test_outcomes_of_a_hundred_ip_groups_are_all_there(start_server: StartServer) -> None:
    many = start_server(with_groups(range(100)), workers=2)
    with ExitStack() as stack:
        phones = [
            stack.enter_context(Phone(many, "1001", address=f"127.0.1.{n}")) for n in range(100)
        ]
        for each in phones:
            assert each.request("REGISTER").status == 401  # challenged
            each.request("MESSAGE", "sip:example.com")  # a method that is not listed
            each.request("MESSAGE", "sip:example.com")
    expected = {(f"Group {n:03}", "challenged"): 1 for n in range(100)}
    expected |= {(f"Group {n:03}", "not-registered"): 2 for n in range(100)}
    assert outcomes(many) == expected


def test_outcomes_of_an_ip_group_that_was_removed_are_still_there(
    start_server: StartServer,
) -> None:
    server = start_server(with_groups(range(2)))
    with Phone(server, "1001", address="127.0.1.1") as phone:
        phone.request("REGISTER")
        server.config_file.write_text(with_groups(range(1)))
        server.administer("reload")
        phone.request("REGISTER")
        assert wait_for(lambda: phone.request("REGISTER").status == 403)
    assert outcomes(server)["Group 001", "challenged"] >= 1


def test_counts_go_on_where_numbers_of_32_bits_end(start_server: StartServer) -> None:
    server = start_server(with_groups(range(1)))
    rpc = Rpc(server.folder / "run" / "rpc.sock")
    with Phone(server, "1001", address="127.0.1.0") as phone:
        phone.request("REGISTER")
        rpc.call("htable.seti", "sbcauth_outcomes", "challenged Group 000", (1 << 31) - 1)
        phone.request("REGISTER")
        assert outcomes(server) == {("Group 000", "challenged"): 1 << 31}
        rpc.call("htable.seti", "sbcauth_outcomes", "challenged Group 000", -1)
        phone.request("REGISTER")
        phone.request("REGISTER")
        phone.request("REGISTER")
    assert outcomes(server) == {("Group 000", "challenged"): (1 << 32) + 2}


def test_server_that_does_not_run_has_no_status(tmp_path: Path) -> None:
    done = Server(tmp_path, CONFIG).sbcauth("status")
    assert done.returncode == 1
    assert done.stderr.startswith("no server answers on ")

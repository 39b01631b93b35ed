"""The engine behind Sentinels, behind TLS and an ACL, and cut off from a node by the network."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
from certificates import make_tls_config
from counting_nodes import Roaming, node, start_engine
from engine import Engine, Sentinel
from kamailio import Server, wait_for
from log_of_kamailio import check_log

ACL = "user sbcauth on >secret ~sbcauth:* +@read +@write +@scripting +@connection +info +role +time"


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def serves(server: Server, phone: Roaming) -> bool:
    return phone.register(server)[-1] == 200


def stranger(stack: ExitStack, number: int) -> Roaming:
    phone = Roaming(address=f"127.0.9.{number}")
    stack.callback(phone.close)
    return phone


def test_primary_that_is_killed_is_followed_by_its_replica(
    stack: ExitStack, tmp_path: Path
) -> None:
    primary = start_engine(stack, tmp_path / "primary")
    replica_of = [f"replicaof {primary.address} {primary.port}"]
    replica = start_engine(stack, tmp_path / "replica", replica_of)
    assert wait_for(partial(_follows, replica))
    sentinels = [
        stack.enter_context(Sentinel(tmp_path / f"sentinel{n}", primary)) for n in range(3)
    ]
    assert wait_for(partial(_know_each_other, sentinels))
    places = ",".join(f"127.0.0.1:{each.port}" for each in sentinels)
    url = f"redis+sentinel://{places}/sbcauth"
    server = node(stack, tmp_path, 1, url, settings="engine_timeout: 200ms\nnonces: engine")
    phone = stranger(stack, 1)
    assert serves(server, phone)
    used = phone.build(phone.challenge, nc=phone.nc)
    primary.kill()
    answered = []

    def another() -> bool:
        assert phone.register(server)[-1] == 200  # a known phone, all the while
        answered.append(1)
        return serves(server, stranger(stack, 10 + len(answered) % 200))

    assert wait_for(another, 60), server.log()[-3000:]
    assert replica.command("ROLE")[0] == "master"
    assert phone.ask(server, used).status == 401  # never accepted again
    check_log(server)


def test_primary_that_was_the_replica_of_one_that_lacks_uses_accepts_nothing_again(
    stack: ExitStack, tmp_path: Path
) -> None:
    """An administrator may have it so; the engine's process is the same all the while."""
    at_once = "repl-diskless-sync-delay 0"
    engine = start_engine(stack, tmp_path / "engine", [at_once])
    replica_of = f"replicaof {engine.address} {engine.port}"
    lagging = start_engine(stack, tmp_path / "lagging", [replica_of, at_once])
    server = node(stack, tmp_path, 1, engine.url, settings="engine_timeout: 500ms\nnonces: engine")
    phone = stranger(stack, 2)
    assert wait_for(partial(serves, server, phone))
    epoch = engine.command("GET", "sbcauth:epoch")
    assert wait_for(lambda: lagging.command("GET", "sbcauth:epoch") == epoch)
    assert wait_for(partial(_follows, lagging))
    lagging.command("REPLICAOF", "NO", "ONE")
    assert phone.register(server) == [200]
    used = phone.build(phone.challenge, nc=phone.nc)
    assert phone.ask(server, used).status == 401
    engine.command("REPLICAOF", lagging.address, lagging.port)
    assert wait_for(partial(_follows, engine))
    engine.command("REPLICAOF", "NO", "ONE")
    for number in range(20):
        assert phone.ask(server, used).status == 401
        if serves(server, stranger(stack, 40 + number)):
            break
    assert phone.ask(server, used).status == 401
    assert wait_for(partial(serves, server, stranger(stack, 70)))
    assert phone.ask(server, used).status == 401
    check_log(server)


def test_engine_is_spoken_to_by_tls_with_a_user_of_its_acl(
    stack: ExitStack, tmp_path: Path
) -> None:
    make_tls_config(tmp_path)
    options = [
        "tls-cert-file ../certificate.pem",
        "tls-key-file ../key.pem",
        "tls-ca-cert-file ../certificate.pem",
        "tls-auth-clients no",
        "user default off",
        ACL,
        "user tests on >tests ~* +@all",
    ]
    folder = tmp_path / "engine"
    folder.mkdir()
    engine = stack.enter_context(TlsEngine(folder, options))
    settings = "\n".join(
        (
            "engine_timeout: 500ms",
            "engine_username: sbcauth",
            "engine_password: secret",
            f"engine_ca_file: {tmp_path / 'certificate.pem'}",
            "nonces: engine",
        )
    )
    url = f"rediss://localhost:{engine.port}"
    server = node(stack, tmp_path, 1, url, settings=settings)
    phone = stranger(stack, 1)
    assert phone.register(server) == [401, 200]
    assert phone.register(server) == [200]
    found = server.sbcauth("doctor").stdout
    assert "noeviction" in found, found
    guesser = stranger(stack, 2)
    for _ in range(3):
        challenge = guesser.challenge_from(server)
        guesser.ask(server, guesser.build(challenge, password="wrong"))
    host = guesser.host.split(":")[0]
    assert host in server.administer("lockout", "clear", "1001")
    assert serves(server, guesser)
    check_log(server)


def test_engine_with_a_certificate_of_somebody_else_is_not_spoken_to(
    stack: ExitStack, tmp_path: Path
) -> None:
    (tmp_path / "theirs").mkdir()
    make_tls_config(tmp_path)
    make_tls_config(tmp_path / "theirs")
    options = [
        "tls-cert-file ../theirs/certificate.pem",
        "tls-key-file ../theirs/key.pem",
        "tls-auth-clients no",
        "tls-ca-cert-file ../theirs/certificate.pem",
    ]
    folder = tmp_path / "engine"
    folder.mkdir()
    engine = stack.enter_context(TlsEngine(folder, options))
    settings = f"engine_ca_file: {tmp_path / 'certificate.pem'}\nengine_timeout: 500ms"
    server = node(stack, tmp_path, 1, f"rediss://localhost:{engine.port}", settings=settings)
    phone = stranger(stack, 1)
    assert phone.register(server)[-1] == 503
    assert "certificate verify failed" in server.log()


class TlsEngine(Engine):
    """An engine that listens by TLS alone."""

    def __init__(self, folder: Path, options: list[str]) -> None:
        super().__init__(folder, options)
        has_user = any(line.startswith("user tests") for line in options)
        self.client_options = {"ssl": True, "ssl_cert_reqs": "none"}
        if has_user:
            self.client_options |= {"username": "tests", "password": "tests"}

    def _where(self) -> list[str]:
        return ["port 0", f"tls-port {self.port}", 'save ""']


def test_node_that_the_network_cuts_off_serves_whom_it_knows(
    stack: ExitStack, tmp_path: Path
) -> None:
    """The engine is in a network namespace, at the other end of a cable that is pulled out."""
    far = Far(stack)
    folder = tmp_path / "engine"
    folder.mkdir()
    engine = stack.enter_context(FarEngine(folder, far))
    both = [
        node(stack, tmp_path, 1, engine.url, settings="engine_timeout: 100ms"),
    ]
    server = both[0]
    phone = stranger(stack, 1)
    assert phone.register(server)[-1] == 200
    far.cut()
    for number in range(10):
        assert phone.register(server) == [200]
        unknown = stranger(stack, 10 + number)
        assert unknown.ask(server, unknown.build(unknown.challenge_from(server))).status == 503
    found = server.sbcauth("doctor").stdout
    assert "strangers are refused" in found, found
    far.mend()
    assert wait_for(partial(serves, server, stranger(stack, 30)))
    check_log(server)


class Far:
    """A network namespace at the other end of a cable."""

    near, there = "10.231.7.1", "10.231.7.2"

    def __init__(self, stack: ExitStack) -> None:
        self.name = f"sbc{os.getpid()}"
        cable, end = f"n{os.getpid()}", f"f{os.getpid()}"
        self._end = end
        # `ip netns exec` wants to mount things, which it cannot do in a chroot
        self.inside = f"nsenter --net=/run/netns/{self.name}"
        stack.callback(_run, f"ip netns del {self.name}")
        _run(f"ip netns add {self.name}")
        _run(f"ip link add {cable} type veth peer name {end} netns {self.name}")
        _run(f"ip address add {self.near}/30 dev {cable}")
        _run(f"ip link set {cable} up")
        _run(f"{self.inside} ip address add {self.there}/30 dev {end}")
        self.mend()

    def cut(self) -> None:
        """Pull the cable out: nothing comes through, and nobody says so."""
        _run(f"{self.inside} ip link set {self._end} down")

    def mend(self) -> None:
        """Put the cable in."""
        _run(f"{self.inside} ip link set {self._end} up")


class FarEngine(Engine):
    """An engine in a network namespace."""

    def __init__(self, folder: Path, far: Far) -> None:
        super().__init__(folder, ["protected-mode no"], port=16379, address=far.there)
        self.prefix = far.inside.split()


def _run(command: str) -> None:
    subprocess.run(command.split(), check=True, capture_output=True)


def _follows(replica: Engine) -> bool:
    return bool(replica.command("INFO", "replication")["master_link_status"] == "up")


def _know_each_other(sentinels: list[Sentinel]) -> bool:
    found = [each.command("SENTINEL", "MASTER", "sbcauth") for each in sentinels]
    facts = [
        each if isinstance(each, dict) else dict(zip(each[::2], each[1::2], strict=True))
        for each in found
    ]
    return all(
        int(each["num-other-sentinels"]) == 2 and int(each["num-slaves"]) == 1 for each in facts
    )

"""Who holds a port, asked of the kernel about real sockets."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sbcauth.monitoring.ports import Listen, Owner, first_with, owner_of

UDP, TCP = socket.SOCK_DGRAM, socket.SOCK_STREAM


@pytest.fixture
def bound() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, UDP) as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken


def name_of_this_process() -> str:
    return Path("/proc/self/comm").read_text().strip()


def test_owner_of_a_udp_port_is_named(bound: socket.socket) -> None:
    owner = owner_of(Listen("udp", "127.0.0.1", bound.getsockname()[1]))
    assert owner
    assert (owner.pid, owner.name) == (os.getpid(), name_of_this_process())
    assert str(os.getpid()) in str(owner)


def test_port_of_another_transport_or_address_is_free(bound: socket.socket) -> None:
    port = bound.getsockname()[1]
    assert owner_of(Listen("tcp", "127.0.0.1", port)) is None
    assert owner_of(Listen("udp", "127.0.0.2", port)) is None


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "localhost"])  # noqa: S104
def test_address_that_takes_in_the_other_collides(bound: socket.socket, address: str) -> None:
    assert owner_of(Listen("udp", address, bound.getsockname()[1]))


@pytest.mark.parametrize("transport", ["tcp", "tls"])
def test_tcp_socket_that_listens_has_its_port_and_a_connection_has_not(transport: str) -> None:
    with (
        socket.create_server(("::1", 0), family=socket.AF_INET6) as server,
        socket.create_connection(server.getsockname()[:2]) as connection,
    ):
        assert owner_of(Listen(transport, "::1", server.getsockname()[1]))
        assert owner_of(Listen(transport, "::1", connection.getsockname()[1])) is None


def test_name_that_means_nothing_is_left_to_kamailio(bound: socket.socket) -> None:
    assert owner_of(Listen("udp", "no-such-name.invalid", bound.getsockname()[1])) is None


def test_fork_is_not_taken_for_the_owner(bound: socket.socket) -> None:
    bound.set_inheritable(True)
    child = subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False
    )
    try:
        owner = owner_of(Listen("udp", "127.0.0.1", bound.getsockname()[1]))
        assert owner
        assert owner.pid == os.getpid()
    finally:
        child.communicate(b"\n")


def test_owner_says_unit_and_user_as_far_as_they_are_known() -> None:
    service = Owner(812, "kamailio", "kamailio.service", "kamailio")
    assert str(service) == "process 812 (kamailio, unit kamailio.service)"
    assert str(Owner(812, "kamailio", "", "root")) == "process 812 (kamailio)"
    assert str(Owner(0, "", "", "kamailio")) == "a process of the user kamailio"


@pytest.mark.parametrize("text", ["udp:127.0.0.1:5060", "tls:[::1]:5061", "tcp:localhost:1"])
def test_address_is_read_as_it_is_written(text: str) -> None:
    assert str(Listen.parse(text)) == text


def test_process_that_opened_a_file_is_found(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    assert first_with(str(file)) == 0
    with file.open("w"):
        assert first_with(str(file)) == os.getpid()

"""`server_auth_mode: radius` with a server made with pyrad, by draft-sterman and by RFC 5090."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from kamailio import free_port
from phone import MakePhone
from pyrad_server import PyradServer

RADIUS_PORT = free_port()
SECRET = "a secret of their own"
CONFIG = f"""
realm: example.com
server_auth_mode: radius
radius:
  servers: [{{address: 127.0.0.1, port: {RADIUS_PORT}, secret: {SECRET}}}]
ip_groups:
  - name: Draft
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER]
    classification: [{{address: 127.0.0.1}}]
  - name: Standard
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER]
    auth_qop: none
    radius:
      servers: [{{address: 127.0.0.1, port: {RADIUS_PORT}, secret: {SECRET}}}]
      attributes: rfc5090
    classification: [{{address: 127.0.0.2}}]
"""


@pytest.fixture
def radius(tmp_path: Path) -> Iterator[PyradServer]:
    """Return the server, which knows 1001."""
    with PyradServer(tmp_path, RADIUS_PORT, SECRET, "1001", "secret of 1001") as server:
        yield server


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.2"], ids=["draft-sterman", "rfc5090"])
def test_its_verdicts_are_followed(phone: MakePhone, radius: PyradServer, address: str) -> None:
    right = phone("1001", "secret of 1001", address=address)
    assert right.register().status == 200
    wrong = phone("1001", "another", address=address)
    assert wrong.register().status == 401
    stranger = phone("1009", "secret of 1001", address=address)
    assert stranger.register().status == 401
    assert radius.verdicts() == ["accepted", "rejected", "rejected"]

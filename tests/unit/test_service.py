"""The service routes by the configuration, and keeps a registration that it accepted."""

from pathlib import Path

import pytest

from sbcauth.config.load import load
from sbcauth.digest.nonces import NonceKey
from sbcauth.policy.shared_state import LocalState
from sbcauth.service import Route, Service

CONFIG = """
realm: example.com
ip_groups:
  - {name: Phones, type: user, classification: [{address: 127.0.0.0/8}], route_to: Trunk}
  - {name: Trunk, type: server, proxy_set: [sip:192.0.2.1]}
"""


@pytest.fixture
def service(tmp_path: Path) -> Service:
    (tmp_path / "sbcauth.yaml").write_text(CONFIG)
    config = load(tmp_path / "sbcauth.yaml", {})
    return Service(config, LocalState(), [NonceKey(0, b"s" * 32)], started_at=0)


def test_requests_go_to_the_group_that_is_routed_to_or_stay_here(service: Service) -> None:
    elsewhere = Route(
        "Phones", "example.com", ("sip:192.0.2.1",), "Trunk", reached=("example.com",)
    )
    assert service.routes["Phones", False] == elsewhere
    assert service.routes["Phones", True] == Route("Phones", "example.com")

"""The service routes by the configuration, and keeps a registration that it accepted."""

from pathlib import Path

import pytest

from sbcauth.config import load
from sbcauth.nonces import NonceKey
from sbcauth.service import Route, Service
from sbcauth.shared_state import LocalState

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


@pytest.mark.parametrize(
    ("method", "accepted", "next_hops"),
    [
        ("INVITE", True, ("sip:192.0.2.1",)),
        ("INVITE", False, ("sip:192.0.2.1",)),
        ("REGISTER", False, ("sip:192.0.2.1",)),
        ("REGISTER", True, ()),
    ],
)
def test_only_a_registration_that_was_accepted_here_stays_here(
    service: Service, method: str, accepted: bool, next_hops: tuple[str, ...]
) -> None:
    route = service.route("Phones", method, accepted=accepted)
    assert route == Route("Phones", "example.com", next_hops, "Trunk" if next_hops else "")


def test_request_of_no_group_has_no_route(service: Service) -> None:
    assert service.route("", "ACK", accepted=False) is None

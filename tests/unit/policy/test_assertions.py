"""Who is told who calls (RFC 3325)."""

import pytest
from conversation import phones, trunk

from sbcauth.policy.assertions import hides, wants_privacy
from sbcauth.policy.ip_groups import AuthenticationMode


@pytest.mark.parametrize(
    ("privacy", "rpid", "private"),
    [
        ((), (), False),
        (("none",), (), False),
        (("session",), (), False),
        (("id",), (), True),
        (("User;critical",), (), True),
        (("none", "critical; header"), (), True),
        (("identity",), (), False),
        ((), ("<sip:1@h>;privacy=full",), True),
        ((), ("<sip:1@h>; Privacy = uri;x",), True),
        ((), ("<sip:1@h>;privacy=off",), False),
    ],
)
def test_privacy_is_wanted(privacy: tuple[str, ...], rpid: tuple[str, ...], private: bool) -> None:
    assert wants_privacy(privacy, rpid) == private


PHONES, TRUNK, OTHER = phones(), trunk(), trunk(trusted_identity=False)
OPEN = phones(authentication_mode=AuthenticationMode.USER_AUTHENTICATES)


def test_phone_is_told_by_a_trusted_server_alone_and_not_under_privacy() -> None:
    assert not hides(TRUNK, PHONES, private=False)
    assert hides(TRUNK, PHONES, private=True)
    assert hides(OTHER, PHONES, private=False)
    assert hides(None, PHONES, private=False)


def test_server_is_told_but_for_one_that_is_not_trusted_under_privacy() -> None:
    assert not hides(PHONES, TRUNK, private=True)
    assert not hides(PHONES, OTHER, private=False)
    assert hides(PHONES, OTHER, private=True)


def test_outside_sbc_as_server_all_is_told() -> None:
    assert not hides(OTHER, OPEN, private=True)
    assert not hides(OPEN, OTHER, private=True)

"""Numbers in a REGISTER: those of ASCII digits, and not too many, are some."""

import pytest

from sbcauth.policy.registration import fault

CONTACT = '<sip:1001@192.0.2.1>;+sip.instance="<urn:x>";reg-id='


@pytest.mark.parametrize(
    ("reg_id", "is_one"),
    [
        ("1", True),
        ("2147483647", True),
        ("0", False),
        ("²", False),
        ("٣", False),
        ("9" * 5000, False),
    ],
)
def test_reg_id_is_a_number(reg_id: str, is_one: bool) -> None:
    refusal = fault("1001", [CONTACT + reg_id], [], lambda _: False, "Phones", "1001")
    assert (refusal is None) is is_one

"""H(A1) by algorithm, as one value."""

from sbcauth.digest.algorithms import Algorithm
from sbcauth.digest.ha1s import HA1s
from sbcauth.digest.response import ha1


def test_password_makes_one_for_each_algorithm() -> None:
    made = HA1s.of_password("1001", "example.com", "secret")
    assert dict(made.items()) == {
        each: ha1(each, "1001", "example.com", "secret") for each in Algorithm
    }
    assert made.get("MD4") is None


def test_equal_values_are_equal_and_hash_alike() -> None:
    one, same = HA1s({"MD5": "0" * 32}), HA1s({"MD5": "0" * 32, "SHA-256": ""})
    assert one == same
    assert len({one, same, HA1s({"MD5": "1" * 32})}) == 2
    assert one != {"MD5": "0" * 32}


def test_repr_tells_which_there_are_and_none_of_them() -> None:
    made = HA1s.of_password("1001", "example.com", "secret")
    assert repr(made) == "HA1s(MD5, SHA-256, SHA-512-256)"
    assert not HA1s()


def test_passwords_are_told_apart_by_what_both_have() -> None:
    both = HA1s({"MD5": "0" * 32, "SHA-256": "1" * 64})
    assert both.may_be_of_the_password_of(HA1s({"MD5": "0" * 32}))
    assert both.may_be_of_the_password_of(HA1s({"SHA-512-256": "2" * 64}))
    assert not both.may_be_of_the_password_of(HA1s({"SHA-256": "2" * 64}))

"""The tables that all processes share: the lines of kamailio.cfg that make them."""

import pytest

from sbcauth.policy.shared_state import Table


@pytest.mark.parametrize(
    ("table", "traits"),
    [
        (Table.LIMITS, "size=4;"),
        (Table.OUTCOMES, "size=8;initval=0;"),
        (Table.FLOWS, "size=14;autoexpire=7200;"),
    ],
)
def test_table_is_made_with_its_traits(table: Table, traits: str) -> None:
    assert table.parameter == f'modparam("htable", "htable", "{table}=>{traits}")'


def test_entry_that_is_not_renewed_keeps_its_end() -> None:
    for table in Table:
        once = bool(table.lifetime) and not table.renews
        assert ("updateexpire=0;" in table.parameter) is once
    assert any("updateexpire=0;" in table.parameter for table in Table)

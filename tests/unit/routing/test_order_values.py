"""What rules and trials know of a study's order."""

from __future__ import annotations

import pytest

from fileroom.archive.services import Archive
from fileroom.routing.operands import ORDER_FIELDS
from fileroom.routing.order_values import KEYWORDS, order_values
from fileroom.routing.rule_trials import backtest, try_rule
from stored_objects import make_file, store_file


@pytest.fixture
async def ordered(archive: Archive) -> Archive:
    """A study with an urgent order, one with another, one without."""
    async with archive.pool.connection() as connection:
        await connection.execute(
            b"""INSERT INTO imaging_order (accession_number, study_instance_uid, priority, procedure_meaning, changed_by)
                VALUES ('A1', '1.2.3', 'STAT', 'CT of the chest', 'test'), ('A2', '1.2.4', 'ROUTINE', 'Hand', 'test')"""
        )
    for uid in ("1.2.3", "1.2.4", "1.2.5"):
        await store_file(
            archive, make_file(StudyInstanceUID=uid, SeriesInstanceUID=f"{uid}.1", SOPInstanceUID=f"{uid}.1.1")
        )
    return archive


async def test_values_are_there_by_field_and_by_keyword(ordered: Archive) -> None:
    values = await order_values(ordered, "1.2.3")
    assert (values["accession"], values["AccessionNumber"]) == ("A1", "A1")
    assert values["RequestedProcedureDescription"] == "CT of the chest"
    assert "reason" not in values
    assert set(KEYWORDS.values()) <= set(ORDER_FIELDS)
    assert await order_values(ordered, "1.2.5") == {}


async def test_a_dry_run_and_a_back_test_know_the_order(ordered: Archive) -> None:
    rule = {"when": 'order.priority == "STAT"'}
    assert [(await try_rule(ordered, rule, uid))[0].matched for uid in ("1.2.3", "1.2.4", "1.2.5")] == [
        True,
        False,
        False,
    ]
    found = await backtest(ordered, rule, 1)
    assert (found.asked, found.objects) == (3, 1)
    assert [one.study_instance_uid for one in found.listed] == ["1.2.3"]

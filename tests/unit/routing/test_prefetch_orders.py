"""Orders of the RIS as occasions to prefetch."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from fileroom.archive.services import Archive
from fileroom.routing.prefetch_orders import note_orders, scheduled_moment
from fileroom.routing.prefetch_rules import put_prefetch_rule


async def rows(archive: Archive, statement: bytes, *values: object) -> list[tuple[Any, ...]]:
    """What a statement returns."""
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(statement, values)
        return await cursor.fetchall() if cursor.description else []


async def order(archive: Archive, accession: str, patient: int | None, start: str = "20261122") -> int:
    """An order with one step for a CT."""
    (number,), *_ = await rows(
        archive,
        b"""INSERT INTO imaging_order (patient, accession_number, study_instance_uid, body_part, procedure_meaning, changed_by)
            VALUES (%s, %s, '2.25.1', 'CHEST', 'CT of the chest', 'test') RETURNING id""",
        patient,
        accession,
    )
    await rows(
        archive,
        b"""INSERT INTO scheduled_step (imaging_order, step_id, modality, start_date, start_time)
            VALUES (%s, 'S1', 'CT', %s, '1030')""",
        number,
        start,
    )
    return int(number)


async def patient(archive: Archive) -> int:
    """P1 of HOSPITAL."""
    (number,), *_ = await rows(
        archive, b"INSERT INTO registered_patient (patient_name, changed_by) VALUES ('A^B', 'test') RETURNING id"
    )
    await rows(
        archive,
        b"INSERT INTO patient_identifier (patient, home, authority, value, is_first) VALUES (%s, %s, 'HOSPITAL', 'P1', true)",
        number,
        number,
    )
    return int(number)


OCCASIONS = b"""SELECT key, patient_id, issuer, modality, body_part, description, scheduled_for FROM prefetch_occasion
    WHERE kind = 'order' ORDER BY id"""


async def test_an_order_is_an_occasion_once_with_what_priors_are_compared_with(archive: Archive) -> None:
    somebody = await patient(archive)
    await note_orders(archive)
    await order(archive, "BEFORE", somebody)
    await note_orders(archive)  # there is no rule for orders: nobody asks
    assert await rows(archive, OCCASIONS) == []
    await put_prefetch_rule(archive, "priors", {"on": "order"})
    number = await order(archive, "A1", somebody)
    for _ in range(3):
        await note_orders(archive)
    found = [row for row in await rows(archive, OCCASIONS) if row[0] == str(number)]
    assert [row[:6] for row in found] == [(str(number), "P1", "HOSPITAL", "CT", "CHEST", "CT of the chest")]
    assert found[0][6] == dt.datetime(2026, 11, 22, 10, 30).astimezone()


async def test_an_order_that_came_before_its_patient_counts_when_the_patient_has_come(archive: Archive) -> None:
    await put_prefetch_rule(archive, "priors", {"on": "order"})
    await note_orders(archive)
    number = await order(archive, "A1", None)
    await note_orders(archive)
    assert await rows(archive, OCCASIONS) == []
    somebody = await patient(archive)
    await rows(archive, b"UPDATE imaging_order SET patient = %s, changed_at = now() WHERE id = %s", somebody, number)
    await note_orders(archive)
    assert [row[0] for row in await rows(archive, OCCASIONS)] == [str(number)]


async def test_an_order_that_is_over_is_no_occasion(archive: Archive) -> None:
    await put_prefetch_rule(archive, "priors", {"on": "order"})
    await note_orders(archive)
    number = await order(archive, "A1", await patient(archive))
    await rows(archive, b"UPDATE imaging_order SET state = 'cancelled' WHERE id = %s", number)
    await note_orders(archive)
    assert await rows(archive, OCCASIONS) == []


@pytest.mark.parametrize(
    ("date", "time", "expected"),
    [
        ("20261122", "1030", "2026-11-22T10:30:00+01:00"),
        ("20261122", "103015.5", "2026-11-22T10:30:15+01:00"),
        ("20260722", "", "2026-07-22T00:00:00+02:00"),
        ("20261399", "1030", None),
        ("", "", None),
    ],
)
def test_the_moment_of_a_step_is_that_of_the_hospitals_clock(date: str, time: str, expected: str | None) -> None:
    moment = scheduled_moment(date, time, "Europe/Berlin")
    assert (moment.isoformat() if moment else None) == expected

"""When studies and series count as complete, and what goes then."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest

from fileroom.admin.entries import put_entry
from fileroom.archive.arrivals import PlannedDelivery
from fileroom.archive.services import Archive
from fileroom.core.access import SYSTEM, acting_as
from fileroom.routing.completeness import Hint, give_hint, hint_of_objects, is_complete, release_complete
from fileroom.routing.deliveries import DeliveryFilter, list_deliveries
from fileroom.routing.destinations import DESTINATIONS
from fileroom.routing.planner import Planner
from fileroom.routing.rules import put_rule
from stored_objects import make_file, store_file
from unit.routing.test_lanes import Everything

STUDY = "1.2.3"


@pytest.fixture(autouse=True)
def _as_system() -> Iterator[None]:
    with acting_as(SYSTEM):
        yield


@pytest.mark.parametrize(
    ("quiet_s", "hints", "instances", "complete"),
    [
        (59, {}, 5, False),
        (60, {}, 5, True),
        (9, {"association_ended": True}, 5, False),
        (10, {"association_ended": True}, 5, True),
        (0, {"availability": True, "expected": 5}, 5, True),
        (30, {"availability": True, "expected": 6}, 5, False),
        (60, {"availability": True, "expected": 6}, 5, True),
        (60, {"expected": "many"}, 5, True),
    ],
)
def test_what_makes_a_study_complete(quiet_s: float, hints: dict[str, object], instances: int, complete: bool) -> None:
    assert is_complete(quiet_s, hints, instances, stable_s=60) is complete


async def gathered(archive: Archive, until: str) -> Archive:
    """An archive whose objects go to a destination when their series or study is complete."""
    fields = {"kind": "folder", "target": {"path": "outbox"}}
    entry = await put_entry(archive.pool, archive.settings, DESTINATIONS, "OUT", fields)
    planned = PlannedDelivery(entry.id, None, until)
    return dataclasses.replace(archive, arrivals=Everything(planned))


async def states(archive: Archive) -> list[str]:
    return sorted(row.state for row in await list_deliveries(archive, DeliveryFilter()))


async def age(archive: Archive, seconds: float) -> None:
    """As if everything had come so long ago."""
    async with archive.pool.connection() as connection:
        await connection.execute(b"UPDATE gathering SET last_at = last_at - make_interval(secs => %s)", (seconds,))
        await connection.execute(b"UPDATE series SET changed_at = changed_at - make_interval(secs => %s)", (seconds,))


async def test_an_object_is_gathered_until_nothing_came_for_the_stable_time(archive: Archive) -> None:
    routed = await gathered(archive, "study")
    await store_file(routed, make_file(StudyInstanceUID=STUDY, SOPInstanceUID="1.2.3.1"))
    await release_complete(routed)
    assert await states(routed) == ["gathering"]
    await age(routed, routed.settings.routing_stable_s + 1)
    assert await release_complete(routed) == 1
    assert await states(routed) == ["waiting"]


async def test_what_comes_late_is_gathered_anew_and_the_others_are_left_alone(archive: Archive) -> None:
    routed = await gathered(archive, "study")
    await store_file(routed, make_file(StudyInstanceUID=STUDY, SOPInstanceUID="1.2.3.1"))
    await age(routed, 100)
    await release_complete(routed)
    async with routed.pool.connection() as connection:
        await connection.execute(b"UPDATE delivery SET state = 'delivered'")
    await store_file(routed, make_file(StudyInstanceUID=STUDY, SOPInstanceUID="1.2.3.2"))
    assert await states(routed) == ["delivered", "gathering"]
    await age(routed, 100)
    await release_complete(routed)
    assert await states(routed) == ["delivered", "waiting"]


async def test_a_series_goes_before_its_study(archive: Archive) -> None:
    routed = await gathered(archive, "series")
    await store_file(routed, make_file(StudyInstanceUID=STUDY, SeriesInstanceUID="1.2.3.1", SOPInstanceUID="1.2.3.1.1"))
    await age(routed, 100)
    await store_file(routed, make_file(StudyInstanceUID=STUDY, SeriesInstanceUID="1.2.3.2", SOPInstanceUID="1.2.3.2.1"))
    await release_complete(routed)
    rows = await list_deliveries(routed, DeliveryFilter())
    assert {row.series_instance_uid: row.state for row in rows} == {"1.2.3.1": "waiting", "1.2.3.2": "gathering"}


async def test_the_objects_that_were_announced_make_it_complete_at_once(archive: Archive) -> None:
    routed = await gathered(archive, "study")
    await store_file(routed, make_file(StudyInstanceUID=STUDY, SOPInstanceUID="1.2.3.1"))
    await give_hint(routed.pool, [STUDY], Hint.AVAILABILITY, 2)
    await release_complete(routed)
    assert await states(routed) == ["gathering"]
    await store_file(routed, make_file(StudyInstanceUID=STUDY, SOPInstanceUID="1.2.3.2"))
    await release_complete(routed)
    assert await states(routed) == ["waiting", "waiting"]


async def test_a_question_for_commitment_is_a_hint_for_the_studies_of_its_objects(archive: Archive) -> None:
    routed = await gathered(archive, "study")
    await store_file(routed, make_file(StudyInstanceUID=STUDY, SOPInstanceUID="1.2.3.1"))
    await hint_of_objects(routed.pool, ["1.2.3.1", "1.9.9"], Hint.COMMITMENT)
    await age(routed, 11)
    await release_complete(routed)
    assert await states(routed) == ["waiting"]


async def test_a_rule_asks_for_the_order_of_the_study(archive: Archive) -> None:
    fields = {"kind": "folder", "target": {"path": "outbox"}}
    await put_entry(archive.pool, archive.settings, DESTINATIONS, "OUT", fields)
    await put_rule(archive, "urgent", {"when": 'order.priority == "STAT"', "to": ["OUT"], "on": "study"})
    planner = Planner(archive.pool, archive.settings, archive.now)
    await planner.look()
    routed = dataclasses.replace(archive, arrivals=planner)
    async with routed.pool.connection() as connection:
        await connection.execute(
            b"""INSERT INTO imaging_order (accession_number, study_instance_uid, priority, changed_by)
                VALUES ('A1', '1.2.3', 'STAT', 'test'), ('A2', '1.2.4', 'ROUTINE', 'test')"""
        )
    await store_file(routed, make_file(StudyInstanceUID="1.2.3", SOPInstanceUID="1.2.3.1"))
    await store_file(routed, make_file(StudyInstanceUID="1.2.4", SOPInstanceUID="1.2.4.1"))
    await store_file(routed, make_file(StudyInstanceUID="1.2.5", SOPInstanceUID="1.2.5.1"))
    await age(routed, routed.settings.routing_stable_s + 1)
    await release_complete(routed)
    sent = [row.sop_instance_uid for row in await list_deliveries(routed, DeliveryFilter()) if row.state == "waiting"]
    assert sent == ["1.2.3.1"]

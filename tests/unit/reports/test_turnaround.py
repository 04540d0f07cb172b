"""The board of turnaround times: what is measured from where to where, and which studies wait."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest

from fileroom.archive.services import Archive
from fileroom.core.access import Access, ActorKind, Permission, RowScope, acting_as
from fileroom.core.errors import InvalidRequestError
from fileroom.reports.targets import put_target, read_targets, remove_target
from fileroom.reports.turnaround import BoardFilter, Figures, list_waiting, report_board
from report_rows import add_report, add_study, insert
from worklist_rows import add_step

NOW = dt.datetime.now(dt.UTC).replace(hour=12, minute=0, second=0, microsecond=0)


def ago(minutes: float) -> dt.datetime:
    return NOW - dt.timedelta(minutes=minutes)


@pytest.fixture
def noon(archive: Archive) -> Archive:
    return replace(archive, now=lambda: NOW)


async def order_of(archive: Archive, number: int, priority: str = "ROUTINE", **order: object) -> int:
    """An order that the study 1.2.<number> has met; its row."""
    await add_step(archive, number, order={"priority": priority, **order})
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(b"SELECT max(id) FROM imaging_order")
        row = await cursor.fetchone()
    assert row is not None
    await insert(
        archive,
        "study_match",
        study_instance_uid=f"1.2.{number}",
        imaging_order=row[0],
        how="accession",
        score=100,
        matched_by="test",
    )
    return int(row[0])


def of(figures: tuple[Figures, ...], group: str, key: str = "") -> Figures:
    return next(one for one in figures if (one.group, one.key) == (group, key))


async def test_each_way_is_measured_from_its_rows(noon: Archive) -> None:
    order = await order_of(noon, 1, "STAT", ordered_at=ago(300))
    async with noon.pool.connection() as connection:
        await connection.execute(b"UPDATE imaging_order SET state = 'arrived' WHERE id = %s", (order,))
        await connection.execute(b"UPDATE imaging_order SET state = 'completed' WHERE id = %s", (order,))
        for state, minutes in (("arrived", 270), ("completed", 210)):
            cursor = await connection.execute(
                b"UPDATE order_moment SET at = %s WHERE imaging_order = %s AND state = %s", (ago(minutes), order, state)
            )
            assert cursor.rowcount == 1
    await add_study(noon, "1.2.1", came=ago(200))
    report = await add_report(noon, "1.2.1", preliminary_at=ago(180), final_at=ago(80), is_critical=True)
    await insert(
        noon,
        "critical_result",
        report=report,
        finding="x",
        due_at=NOW,
        noted_by="test",
        acknowledged_at=ago(70),
    )
    board = await report_board(noon)
    whole = of(board.figures, "all")
    assert {name: way.median for name, way in whole.ways.items()} == {
        "ordered_arrived": 30,
        "arrived_performed": 60,
        "performed_images": 10,
        "images_preliminary": 20,
        "preliminary_final": 100,
        "images_final": 120,
        "final_acknowledged": 10,
        "ordered_final": 220,
    }
    assert (whole.studies, whole.reported, whole.in_time) == (1, 1, 0)
    assert of(board.figures, "priority", "STAT").ways["images_final"].number == 1
    assert board.waiting == ()


async def test_medians_and_percentiles_by_modality_day_and_hour(noon: Archive) -> None:
    for number in range(1, 12):
        await add_study(noon, f"1.2.{number}", came=ago(200), modality="CT")
        await add_report(noon, f"1.2.{number}", final_at=ago(200 - 10 * number))
    await add_study(noon, "1.2.99", came=ago(2000), modality="MR")
    await add_report(noon, "1.2.99", final_at=ago(400))
    board = await report_board(noon)
    way = of(board.figures, "modality", "CT").ways["images_final"]
    assert (way.number, way.median, way.percentile_90) == (11, 60, 100)
    assert of(board.figures, "modality", "MR").ways["images_final"].median == 1600
    assert of(board.figures, "modality", "MR").in_time == 0, "more than a day"
    assert [one.studies for one in board.of("day")] == [1, 11]
    assert {one.key for one in board.of("hour")} <= {f"{hour:02}" for hour in range(24)}
    only = await report_board(noon, BoardFilter(modality="MR"))
    assert of(only.figures, "all").studies == 1
    assert (await report_board(noon, BoardFilter(days=1, modality="MR"))).of("modality") == []


async def test_what_waits_is_sorted_by_its_target(noon: Archive) -> None:
    await add_study(noon, "1.2.1", came=ago(600))
    await add_study(noon, "1.2.2", came=ago(90))
    await order_of(noon, 2, "STAT")
    await add_study(noon, "1.2.3", came=ago(30))
    await order_of(noon, 3, "STAT")
    await add_study(noon, "1.2.4", came=ago(5000))
    draft = await add_report(noon, "1.2.4", state="draft", changed_by="ada")
    await add_study(noon, "1.2.5", came=ago(600), modality="KO")
    await add_study(noon, "1.2.6", came=ago(0), modality="CT")
    await add_study(noon, "1.2.7", came=ago(600))
    await add_report(noon, "1.2.7", final_at=ago(1))
    board = await report_board(noon)
    assert [one.study_instance_uid for one in board.waiting] == ["1.2.4", "1.2.2", "1.2.3", "1.2.1"]
    assert (board.waiting_number, board.late_number) == (4, 2)
    assert [round(one.minutes_left(NOW)) for one in board.waiting] == [-3560, -30, 30, 840]
    assert (board.waiting[0].state, board.waiting[0].report, board.waiting[0].report_by) == ("draft", draft, "ada")
    assert [one.study_instance_uid for one in await list_waiting(noon, BoardFilter(priority="STAT"))] == [
        "1.2.2",
        "1.2.3",
    ]
    await put_target(noon, "STAT", 10)
    assert [one.study_instance_uid for one in await list_waiting(noon, limit=3)] == ["1.2.4", "1.2.2", "1.2.3"]
    assert (await report_board(noon, waiting=1)).late_number == 3
    await remove_target(noon, "STAT")
    assert (await read_targets(noon.pool))["STAT"] == 60


async def test_wrong_questions_are_told(noon: Archive) -> None:
    with pytest.raises(InvalidRequestError, match="7"):
        await report_board(noon, BoardFilter(days=8))
    with pytest.raises(InvalidRequestError, match="ROUTINE"):
        await report_board(noon, BoardFilter(priority="soon"))
    with pytest.raises(InvalidRequestError, match="STAT"):
        await put_target(noon, "soon", 5)
    with pytest.raises(InvalidRequestError, match="minutes"):
        await put_target(noon, "STAT", 0)


async def test_what_somebody_does_not_see_is_in_no_figure(noon: Archive) -> None:
    await add_study(noon, "1.2.1", modality="CT")
    await add_study(noon, "1.2.2", modality="MR")
    await add_report(noon, "1.2.2", final_at=NOW)
    access = Access(
        ActorKind.PERSON, "ada", frozenset([Permission.STUDY_VIEW]), account_id=1, rows=RowScope(modalities=("CT",))
    )
    with acting_as(access):
        board = await report_board(noon)
    assert (of(board.figures, "all").studies, of(board.figures, "all").reported) == (1, 0)
    assert [one.study_instance_uid for one in board.waiting] == ["1.2.1"]

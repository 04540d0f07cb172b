"""Figures: what was counted lands in the right minute and hour, once; charts have every step; forecasts are honest."""

from __future__ import annotations

import dataclasses
import datetime as dt
from pathlib import Path

import pytest

from fileroom.archive import figures
from fileroom.archive.figures import (
    Counted,
    Span,
    arrivals_since,
    counted_since,
    forecast,
    keep_figures,
    read_figures,
    straight_line,
)
from fileroom.archive.processes import ProcessState
from fileroom.archive.services import Archive
from fileroom.core.settings import Settings
from fileroom.tasks.meter_files import begin_folder, meters_folder
from stored_objects import make_file, store_file

NOON = dt.datetime(2026, 11, 22, 12, 0, 30, tzinfo=dt.UTC)
GIB = 2**30


class Clock:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> dt.datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watched(archive: Archive, clock: Clock, tmp_path: Path) -> Archive:
    """The archive with a data folder and a clock of its own."""
    settings = Settings(data=tmp_path / "data")
    begin_folder(meters_folder(settings.data))
    return dataclasses.replace(archive, settings=settings, now=clock)


def _at(points: list, moment: dt.datetime) -> dict[str, float] | None:
    (values,) = [point.values for point in points if point.at == moment]
    return values


async def test_what_was_counted_is_added_to_its_minute_once(watched: Archive, clock: Clock) -> None:
    await store_file(watched, make_file())
    await keep_figures(watched)
    await keep_figures(watched)
    await store_file(watched, make_file(SOPInstanceUID="1.2.3.99"))
    await keep_figures(watched)
    clock.now += dt.timedelta(minutes=1)
    await store_file(watched, make_file(SOPInstanceUID="1.2.3.100"))
    await keep_figures(watched)
    minutes = await read_figures(watched, Span.HOUR)
    assert len(minutes) == 60
    noon = NOON.replace(second=0)
    first, second = _at(minutes, noon), _at(minutes, noon + dt.timedelta(minutes=1))
    assert first is not None
    assert second is not None
    assert (first["objects_in"], second["objects_in"]) == (2, 1)
    assert second["storage_bytes"] > first["storage_bytes"] > 0
    assert _at(minutes, noon - dt.timedelta(minutes=1)) is None
    hours = await read_figures(watched, Span.WEEK)
    hour = _at(hours, noon)
    assert hour is not None
    assert hour["objects_in"] == 3
    assert (await counted_since(watched, noon)).objects_in == 3
    assert (await counted_since(watched, noon - dt.timedelta(days=30))).objects_in == 3


async def test_old_minutes_and_older_hours_are_forgotten(watched: Archive, clock: Clock) -> None:
    await store_file(watched, make_file())
    await keep_figures(watched)
    clock.now += dt.timedelta(days=3)
    await keep_figures(watched)
    assert (await counted_since(watched, NOON - dt.timedelta(hours=1))).objects_in == 1  # the hour is there
    async with watched.pool.connection() as connection:
        rows = await (await connection.execute(b"SELECT span_s, count(*) FROM figure GROUP BY 1 ORDER BY 1")).fetchall()
    assert rows == [(60, 1), (3600, 2)]
    clock.now += dt.timedelta(days=800)
    await keep_figures(watched)
    async with watched.pool.connection() as connection:
        rows = await (await connection.execute(b"SELECT span_s, count(*) FROM figure GROUP BY 1 ORDER BY 1")).fetchall()
    assert rows == [(60, 1), (3600, 1)]


def test_a_count_that_began_anew_is_not_subtracted() -> None:
    assert Counted(objects_in=3).since(Counted(objects_in=10)) == Counted(objects_in=3)
    assert Counted(objects_in=13).since(Counted(objects_in=10)) == Counted(objects_in=3)


async def test_a_process_that_dies_takes_nothing_back(watched: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    def running(**cpu_s: float) -> None:
        states = [ProcessState(name, len(name), True, cpu_s=used) for name, used in cpu_s.items()]
        monkeypatch.setattr(figures, "list_processes", lambda *_: states)

    noon = NOON.replace(second=0)
    running(web=1000.0, task=2000.0)
    await keep_figures(watched)
    running(web=1001.0, task_again=0.5)  # the task worker was killed, another took its place
    await keep_figures(watched)
    assert (await counted_since(watched, noon)).cpu_s == pytest.approx(3000 + 1 + 0.5)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"counted": {"nothing": 1}, "cpu_s": {}}', b'{"counted": 3}'])
async def test_a_baseline_that_is_none_counts_from_nought(watched: Archive, content: bytes) -> None:
    (meters_folder(watched.settings.data) / "baseline.json").write_bytes(content)
    await store_file(watched, make_file())
    await keep_figures(watched)
    assert (await counted_since(watched, NOON.replace(second=0))).objects_in == 1


@pytest.mark.parametrize(
    ("rows", "usable", "per_day", "days_left"),
    [
        ([], 100, None, None),
        ([(0.0, 0.0), (2.9, 50.0)], 100, None, None),
        ([(0.0, 0.0), (5.0, 50.0), (10.0, 100.0)], 100, 10.0, 10.0),
        ([(0.0, 100.0), (10.0, 100.0)], 100, 0.0, None),
        ([(0.0, 200.0), (10.0, 100.0)], 100, -10.0, None),
        ([(0.0, 0.0), (10.0, 100.0)], None, 10.0, None),
        ([(0.0, 0.0), (10.0, 0.1)], 100 * GIB, 0.01, None),
    ],
)
def test_a_forecast_needs_history_growth_and_an_end(
    rows: list[tuple[float, float]], usable: int | None, per_day: float | None, days_left: float | None
) -> None:
    said = straight_line(rows, usable, NOON)
    assert said.bytes_per_day == (None if per_day is None else pytest.approx(per_day))
    assert said.full_at == (None if days_left is None else NOON + dt.timedelta(days=days_left))


async def test_an_empty_history_says_so(watched: Archive) -> None:
    said = await forecast(watched, 100)
    assert (said.days, said.bytes_per_day, said.full_at) == (0.0, None, None)
    assert all(point.values is None for point in await read_figures(watched, Span.QUARTER))


async def test_studies_are_counted_by_modality_and_by_who_brought_them(archive: Archive) -> None:
    await store_file(archive, make_file())
    async with archive.pool.connection() as connection:
        await connection.execute(
            b"""INSERT INTO study (patient, modalities, brought_by)
                SELECT id, '{CT,SR}', 'node:CT1@10.0.0.1' FROM patient LIMIT 1"""
        )
        await connection.execute(
            b"""INSERT INTO study (patient, modalities, received_at)
                SELECT id, '{MR}', now() - interval '2 days' FROM patient LIMIT 1"""
        )
    found = await arrivals_since(archive, archive.now() - dt.timedelta(days=1))
    assert found.studies == 2
    assert found.by_modality["SR"] == 1
    assert "MR" not in found.by_modality
    assert found.by_sender == {"CT1": 1, "": 1}
    assert not found.is_cut


def test_a_span_is_found_by_its_name() -> None:
    assert Span.named("90d") is Span.QUARTER
    assert Span.named("<script>") is Span.DAY

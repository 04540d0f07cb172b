"""The dashboard: what its page says in words, what its script is given, what it says with nothing, and to whom."""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import httpx
import pytest

from fileroom.admin.ledger import Ledger
from fileroom.admin.ledger_rows import Cause, Direction
from fileroom.archive.figures import Point, Span, keep_figures
from fileroom.archive.gauges import Storage
from fileroom.archive.services import Archive
from fileroom.core.access import Access, ActorKind, Permission, acting_as
from fileroom.core.clock import system_now
from fileroom.core.settings import Settings
from fileroom.net.association_handler import PeerAddress
from fileroom.tasks.meter_files import begin_folder, meters_folder
from fileroom.web.app import create_router
from fileroom.web.console import assets
from fileroom.web.console.dashboard import bars, storage_parts
from fileroom.web.console.dashboard_charts import CHARTS, TABLE_ROWS, as_json, draw, table
from stored_objects import make_file, store_file

NOON = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)
LOOKS_ONLY = Access(ActorKind.PERSON, "watcher", frozenset({Permission.SYSTEM_READ}))


def _points(values: list[float | None]) -> list[Point]:
    columns = [line.column for chart in CHARTS for line in chart.lines]
    return [
        Point(NOON + dt.timedelta(minutes=n), None if value is None else dict.fromkeys(columns, value))
        for n, value in enumerate(values)
    ]


def _client(archive: Archive, access: Access) -> httpx.AsyncClient:
    router = create_router(archive)

    async def app(scope: object, receive: object, send: object) -> None:
        with acting_as(access):
            await router(scope, receive, send)  # type: ignore[arg-type]

    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost:8080")


async def test_the_empty_page_says_what_will_appear(client: httpx.AsyncClient) -> None:
    html = (await client.get("/system")).text
    assert "No study has come since midnight" in html
    assert "Nothing is known of this time yet" in html
    assert "three days of history" in html
    assert "No association failed" in html


async def test_the_page_counts_what_came_and_draws_it(
    client: httpx.AsyncClient, archive: Archive, tmp_path: Path
) -> None:
    begin_folder(meters_folder(tmp_path))
    await store_file(archive, make_file())
    await keep_figures(dataclasses.replace(archive, settings=Settings(data=tmp_path)))
    html = (await client.get("/system?span=1h")).text
    assert "1 study" in html
    assert "1 objects received" in html
    assert 'class="line-0" d="M' in html
    assert 'aria-current="true">1 hour' in html
    figures = (await client.get("/system/figures?span=1h")).json()
    assert len(figures["at"]) == 60
    assert sum(value or 0 for value in figures["charts"]["objects"][0]) == pytest.approx(1 / 60, abs=1e-3)
    assert (await client.get("/system/now")).json()["objects_in"] == 1


async def test_what_failed_is_told_with_its_reason_and_a_link(client: httpx.AsyncClient, archive: Archive) -> None:
    ledger = Ledger(archive.pool, system_now)
    for _ in range(2):
        journal = ledger.begin(Direction.OUT, PeerAddress("10.0.0.9", 104), purpose="send")
        journal.called("FILEROOM", "FAR<b>")
        journal.unreachable("no route")
    assert journal.row.cause is Cause.NONE
    await ledger.flush()
    html = (await client.get("/system")).text
    assert "FAR&lt;b&gt;" in html
    assert "2 times" in html
    assert f'href="/admin/associations/{journal.row.id}"' in html


async def test_who_may_only_look_at_the_system_sees_no_associations_and_nodes(archive: Archive) -> None:
    ledger = Ledger(archive.pool, system_now)
    journal = ledger.begin(Direction.OUT, PeerAddress("10.0.0.9", 104))
    journal.called("FILEROOM", "FARAWAY")
    journal.unreachable("no route")
    await ledger.flush()
    async with _client(archive, LOOKS_ONLY) as watcher:
        html = (await watcher.get("/system")).text
    assert "What failed" in html
    assert "FARAWAY" not in html


def test_a_line_is_broken_where_nothing_is_known() -> None:
    drawn = draw(_points([1.0, 2.0, None, 4.0]), Span.HOUR, "en")
    path = drawn[2].lines[0].path
    assert path.count("M") == 2
    assert path.count("L") == 1
    assert (drawn[2].lines[0].least, drawn[2].lines[0].most, drawn[2].lines[0].last) == ("1", "4", "4")


def test_a_chart_of_nothing_is_empty() -> None:
    for chart in draw(_points([None, None]), Span.HOUR, "en"):
        assert chart.is_empty


def test_the_table_has_the_mean_of_each_part_the_latest_first() -> None:
    rows = table(_points([float(n) for n in range(60)]), Span.HOUR, "en")
    assert len(rows) == TABLE_ROWS
    assert rows[-1].at == NOON
    failures = 4
    assert rows[-1].numbers[failures] == "2"
    assert rows[0].numbers[failures] == "57"


def test_the_script_gets_as_many_numbers_as_moments() -> None:
    given = as_json(_points([1.0, None, 3.0]), Span.HOUR)
    charts = given["charts"]
    assert isinstance(charts, dict)
    for lines in charts.values():
        for line in lines:
            assert len(line) == 3
            assert line[1] is None


def test_small_parts_stand_together() -> None:
    shown = bars({f"N{number}": 100 - number for number in range(20)})
    assert [bar.name for bar in shown][-1] == "…"
    assert sum(bar.count for bar in shown) == sum(100 - number for number in range(20))
    assert max(bar.percent for bar in shown) == 100
    assert bars({}) == []


async def test_the_parts_of_the_storage_fill_its_bar(archive: Archive) -> None:
    storage = Storage(objects=100, aside=5, database=20, indexes=8, free=300, total=1000, reserve=50)
    parts = storage_parts(storage, archive)
    assert [part.kind for part in parts] == ["objects", "aside", "database", "other", "free", "reserve"]
    assert sum(part.size for part in parts) == 1000
    assert parts[-1].x + parts[-1].width == pytest.approx(1000, abs=0.1)
    assert storage_parts(dataclasses.replace(storage, free=None, total=None), archive) == []
    full = storage_parts(dataclasses.replace(storage, free=10), archive)
    assert [part.size for part in full if part.kind == "reserve"] == [10]


async def test_the_page_does_without_what_was_not_fetched(
    client: httpx.AsyncClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder, has_charts in ((tmp_path / "none", False), (tmp_path, True)):
        (tmp_path / "uplot.js").write_text("var uPlot")
        (tmp_path / "uplot.css").write_text(".uplot {}")
        monkeypatch.setattr(assets, "CHARTS_FOLDER", folder)
        assets._assets.cache_clear()
        assets._version.cache_clear()
        answer = await client.get("/system")
        assert answer.status_code == 200
        assert ("uplot.js" in answer.text) is has_charts
    script = re.search(r'src="(/static/[^"]+/uplot.js)"', answer.text)
    assert script is not None
    assert (await client.get(script[1])).text == "var uPlot"
    monkeypatch.undo()
    assets._assets.cache_clear()
    assets._version.cache_clear()


async def test_pictures_are_well_formed(client: httpx.AsyncClient) -> None:
    html = (await client.get("/system")).text
    for piece in html.split("<svg")[1:]:
        ET.fromstring("<svg" + piece.split("</svg>")[0] + "</svg>")

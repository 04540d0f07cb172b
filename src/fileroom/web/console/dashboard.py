"""`/system`: the dashboard. `/system/figures` are its charts as JSON, `/system/now` the numbers that it asks for repeatedly.

The page is whole without a script: numbers, pictures and a table. The script draws the charts larger and keeps them and
the numbers at the top up to date.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request

from fileroom.admin.certificate_expiry import pressing_expiries
from fileroom.admin.node_fields import Node
from fileroom.admin.nodes import list_nodes
from fileroom.archive import figures, gauges, overview
from fileroom.archive.figures import Forecast, Span
from fileroom.archive.gauges import Storage
from fileroom.archive.node_echo import EXPLANATIONS, EchoHistory, echo_histories, explanation_values
from fileroom.archive.processes import list_processes
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.meters import total
from fileroom.feeds.gauges import read_ris_gauges
from fileroom.routing.alerts import count_alerts
from fileroom.tasks.meter_files import meters_folder, read_workers, sum_of_workers
from fileroom.web.answers import Answer, json_answer
from fileroom.web.console import dashboard_charts
from fileroom.web.console.assets import has_asset
from fileroom.web.console.associations_page import ASSOCIATIONS_PATH
from fileroom.web.console.dashboard_errors import errors_of_the_day
from fileroom.web.console.language import Reader
from fileroom.web.console.page import page, view_of
from fileroom.web.endpoint import Handler

NOW_KEPT_S: Final = 1.0
"""However many pages are open, the database is asked once a second by each web worker."""
NODES_MAX: Final = 200
"""A hospital has some dozens."""
BARS_MAX: Final = 8
"""Modalities or nodes shown each by itself."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A part of a whole: its name, how many, and its share of the largest in percent."""

    name: str
    count: int
    percent: float


@dataclass(frozen=True, slots=True)
class StoragePart:
    """A part of the storage's bar. `kind` is its name for the style sheet and the words."""

    kind: str
    size: int
    x: float
    width: float


@dataclass(frozen=True, slots=True)
class NodeStrip:
    """A node's last day: `ticks` are "good", "bad" or "none". `problem` says why it does not answer."""

    name: str
    ticks: tuple[str, ...]
    is_asked: bool
    is_answered: bool
    problem: str


def system_handler(archive: Archive) -> Handler:
    """The handler of the page."""

    async def handle(request: Request) -> Answer:
        require(Permission.SYSTEM_READ)
        view, span = view_of(request), Span.named(request.query_params.get("span", ""))
        midnight = archive.now().astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
        points, arrivals, today, storage, errors = await asyncio.gather(
            figures.read_figures(archive, span),
            figures.arrivals_since(archive, midnight),
            figures.counted_since(archive, midnight),
            gauges.read_storage(archive),
            errors_of_the_day(archive, view.reader),
        )
        values: dict[str, Any] = {
            "parts": await overview.readiness(archive),
            "totals": await overview.system_totals(archive),
            "troubles": await overview.troubles(archive),
            "now": await _now(archive),
            "span": span,
            "spans": list(Span),
            "charts": dashboard_charts.draw(points, span, view.tag),
            "chart_columns": [(chart, line) for chart in dashboard_charts.CHARTS for line in chart.lines],
            "table": dashboard_charts.table(points, span, view.tag),
            "has_script": has_asset("uplot.js"),
            "today": today,
            "arrivals": arrivals,
            "by_modality": bars(arrivals.by_modality),
            "by_sender": bars(arrivals.by_sender),
            "storage": storage,
            "storage_parts": storage_parts(storage, archive),
            "forecast": await _forecast(archive, storage),
            "errors": errors,
            "association_path": f"{ASSOCIATIONS_PATH}/",
            "processes": await _processes(archive),
            "nodes": await _nodes(archive, view.reader),
            "pressing": await pressing_expiries(archive.pool, archive.settings, archive.now()),
            "ris": await read_ris_gauges(archive),
            "may_see_orders": view.access.allows(Permission.ORDER_READ),
            "may_see_messages": view.access.allows(Permission.MESSAGE_READ),
            "alerts_firing": await _alerts_firing(archive),
        }
        return await page(archive, request, "system.html", place="system", **values)

    return handle


async def _alerts_firing(archive: Archive) -> int:
    return sum(count for (_, state), count in (await count_alerts(archive)).items() if state == "firing")


def figures_handler(archive: Archive) -> Handler:
    """The handler of the charts' numbers."""

    async def handle(request: Request) -> Answer:
        span = Span.named(request.query_params.get("span", ""))
        return json_answer(dashboard_charts.as_json(await figures.read_figures(archive, span), span))

    return handle


def now_handler(archive: Archive) -> Handler:
    """The handler of the numbers of this moment."""
    kept: dict[str, Any] = {}
    kept_until = 0.0
    asking = asyncio.Lock()

    async def handle(_request: Request) -> Answer:
        nonlocal kept, kept_until
        require(Permission.SYSTEM_READ)
        async with asking:
            time = asyncio.get_running_loop().time()
            if time >= kept_until:
                kept, kept_until = await _now(archive), time + NOW_KEPT_S
        return json_answer(kept)

    return handle


async def _now(archive: Archive) -> dict[str, Any]:
    """Sums since the server's start, from which the page makes rates, and how it stands."""
    state = await gauges.read_gauges(archive)
    workers = await asyncio.to_thread(read_workers, meters_folder(archive.settings.data))
    meters = sum_of_workers(workers, archive.meters)
    sums = figures.counted(meters)
    return {
        "at": archive.now().timestamp(),
        "objects_in": sums.objects_in,
        "bytes_in": sums.bytes_in,
        "open": total(meters.associations_open),
        "arriving": state.arriving_studies,
        "queued": state.queued,
        "failed": state.exceptions["failed_association"] + state.exceptions["refusal"],
    }


async def _processes(archive: Archive) -> Any:
    workers = await asyncio.to_thread(read_workers, meters_folder(archive.settings.data))
    return await asyncio.to_thread(list_processes, archive, workers)


async def _forecast(archive: Archive, storage: Storage) -> Forecast:
    return await figures.forecast(archive, storage.usable)


async def _nodes(archive: Archive, reader: Reader) -> list[NodeStrip]:
    """Nodes with the last day of each; none for who may not see them."""
    if not require(Permission.SYSTEM_READ).allows(Permission.NODE_READ):
        return []
    nodes = [node for node in await list_nodes(archive.pool) if node.enabled][:NODES_MAX]
    histories = await echo_histories(archive, nodes)
    return [_strip(archive, node, histories[node.name], reader) for node in nodes]


def _strip(archive: Archive, node: Node, history: EchoHistory, reader: Reader) -> NodeStrip:
    ticks = tuple("none" if not tick.asked else "bad" if tick.failed else "good" for tick in history.ticks)
    last = history.last
    problem = ""
    if last is not None and not last.is_answered:
        problem = reader.gettext(EXPLANATIONS[last.problem]) % explanation_values(node, archive.settings.aet)
    return NodeStrip(node.name, ticks, last is not None, last is not None and last.is_answered, problem)


def bars(counts: dict[str, int]) -> list[Bar]:
    """The largest, and the rest together under '…'."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    rest = sum(count for _, count in ordered[BARS_MAX:])
    shown = ordered[:BARS_MAX] + ([("…", rest)] if rest else [])
    most = max((count for _, count in shown), default=1)
    return [Bar(name, count, round(100 * count / most, 1)) for name, count in shown]


def storage_parts(storage: Storage, archive: Archive) -> list[StoragePart]:
    """The parts of the file system under the store, from left to right; none where it has no end."""
    if storage.total is None or storage.free is None:
        return []
    has_database = not archive.settings.database_url.get_secret_value()
    reserve = min(storage.reserve, storage.free)
    sizes = {
        "objects": storage.objects,
        "aside": storage.aside,
        "database": storage.database if has_database else 0,
        "free": storage.free - reserve,
        "reserve": reserve,
    }
    other = storage.total - sum(sizes.values())
    sizes = {
        **{kind: sizes[kind] for kind in ("objects", "aside", "database")},
        "other": max(0, other),
        "free": sizes["free"],
        "reserve": reserve,
    }
    whole = max(sum(sizes.values()), 1)
    parts, x = [], 0.0
    for kind, size in sizes.items():
        if size > 0:
            width = 1000 * size / whole
            parts.append(StoragePart(kind, size, round(x, 2), round(width, 2)))
            x += width
    return parts

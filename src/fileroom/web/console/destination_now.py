"""How a destination does, on its page: state, queue, charts of a day, a week or a month, last failures and the next step."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Any, Final

from starlette.requests import Request

from fileroom.admin.entries import read_entries
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, current_access
from fileroom.routing.delivery_filter import DeliveryFilter
from fileroom.routing.delivery_search import search_deliveries
from fileroom.routing.destination_fields import Destination
from fileroom.routing.destination_figures import Figure, read_destination_figures
from fileroom.routing.destination_states import destinations_now
from fileroom.routing.rule_fields import RULES, destinations_of
from fileroom.web.console.dashboard_charts import DrawnChart, DrawnLine, Values, drawn_line, short
from fileroom.web.console.deliveries_page import words_of_deliveries
from fileroom.web.console.language import N_
from fileroom.web.console.page import view_of

SPANS: Final = {"24h": (1, 900), "7d": (7, 7200), "30d": (30, 21_600)}
"""Days, and how many seconds each point stands for."""
FAILURES_SHOWN: Final = 8
_FAILED: Final = ("failed", "quarantined")

_Line = tuple[str, Callable[[Figure, int], float | None]]
CHARTS: Final[tuple[tuple[str, str, str, tuple[_Line, ...]], ...]] = (
    ("objects", N_("Delivered"), N_("objects a minute"), ((N_("delivered"), lambda one, s: one.objects * 60 / s),)),
    ("data", N_("Data"), N_("MB per second"), ((N_("sent"), lambda one, s: one.bytes / 1e6 / s),)),
    (
        "latency",
        N_("From arrival to proof"),
        N_("seconds"),
        ((N_("median"), lambda one, _: one.latency_median_s), (N_("95 of 100"), lambda one, _: one.latency_p95_s)),
    ),
    (
        "failures",
        N_("Failures"),
        N_("in each step"),
        (
            (N_("attempts that failed"), lambda one, _: float(one.tries_failed)),
            (N_("given up"), lambda one, _: float(one.failed)),
        ),
    ),
)


async def now_values(archive: Archive, request: Request, destination: Destination) -> dict[str, Any]:
    """What `destination_now.html` shows. Raises NotAllowedError, DatabaseError."""
    span = request.query_params.get("span", "")
    span = span if span in SPANS else "24h"
    days, step_s = SPANS[span]
    until = archive.now()
    since = until - dt.timedelta(days=days)
    figures = await read_destination_figures(archive, destination.id, since=since, until=until, step_s=step_s)
    everything = await destinations_now(archive)
    failures = await search_deliveries(
        archive, DeliveryFilter(destination=destination.name, states=_FAILED), limit=FAILURES_SHOWN
    )
    rules = [
        one
        for one in await read_entries(archive.pool, RULES)
        if destination.name in destinations_of({"to": (), "actions": (), **one.fields})
    ]
    tries = sum(one.tries for one in figures)
    return {
        "standing": next((one for one in everything if one.name == destination.name), None),
        "pools": [one.name for one in everything if destination.name in [member.name for member in one.members]],
        "span": span,
        "spans": list(SPANS),
        "charts": draw(figures, since, until, step_s, view_of(request).tag),
        "delivered_in_span": sum(one.objects for one in figures),
        "tries_in_span": tries,
        "failed_tries_in_span": sum(one.tries_failed for one in figures),
        "failures": failures.rows,
        "leading_rules": sorted(rules, key=lambda one: (one.fields.get("priority", 0), one.name)),
        "may_act": current_access().allows(Permission.ROUTING_MANAGE),
        "moment_now": until,
        **words_of_deliveries(request),
    }


def draw(figures: Sequence[Figure], since: dt.datetime, until: dt.datetime, step_s: int, tag: str) -> list[DrawnChart]:
    """The charts. A step of which there is nothing is zero, but for how long deliveries took: that is not known then."""
    by_step = {int(one.began_at.timestamp()) // step_s: one for one in figures}
    first, last = int(since.timestamp()) // step_s, int(until.timestamp()) // step_s
    steps = [by_step.get(number) for number in range(first, last + 1)]
    drawn = []
    for key, title, unit, lines in CHARTS:
        nothing = None if key == "latency" or not figures else 0.0
        values: list[Values] = [[work(one, step_s) if one else nothing for one in steps] for _, work in lines]
        top = max((value for one in values for value in one if value is not None), default=0.0) or 1.0
        made: list[DrawnLine] = [drawn_line(name, one, top, tag) for (name, _), one in zip(lines, values, strict=True)]
        drawn.append(DrawnChart(key, title, unit, short(top, tag), tuple(made)))
    return drawn

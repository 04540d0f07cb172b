"""`/reports`: the board of turnaround times and of studies that wait; `/reports/list`: all reports, to be searched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlencode

from starlette.requests import Request

from fileroom.archive.services import Archive
from fileroom.core.access import Permission, current_access, require
from fileroom.core.errors import RequestError
from fileroom.reports.critical import count_open
from fileroom.reports.facts import ReportState
from fileroom.reports.reports import ReportFilter, search_reports
from fileroom.reports.targets import PRIORITIES, list_targets, put_target, remove_target
from fileroom.reports.turnaround import DAYS, STAGES, BoardFilter, Figures, report_board
from fileroom.reports.writing import STATE_WORDS
from fileroom.web.answers import Answer
from fileroom.web.authentication import FORM_TOKEN_FIELD, require_form_token
from fileroom.web.console.dashboard_charts import drawn_line
from fileroom.web.console.form_pages import back_to, number_of, whole_number
from fileroom.web.console.forms import read_form
from fileroom.web.console.language import N_
from fileroom.web.console.page import is_part, page, view_of
from fileroom.web.endpoint import Handler

BOARD_PATH: Final = "/reports"
LIST_PATH: Final = "/reports/list"
PAGE_REPORTS: Final = 100
WAITING_SHOWN: Final = 100
WAY_WORDS: Final = {
    "ordered_arrived": N_("Order to arrival"),
    "arrived_performed": N_("Arrival to end of the examination"),
    "performed_images": N_("End of the examination to last image"),
    "images_preliminary": N_("Last image to preliminary report"),
    "preliminary_final": N_("Preliminary to signed report"),
    "images_final": N_("Last image to signed report"),
    "final_acknowledged": N_("Signed report to acknowledged critical finding"),
    "ordered_final": N_("Order to signed report"),
}
_VALUE_CHARS_MAX: Final = 100
_DIGITS_MAX: Final = 15


def board_handlers(archive: Archive) -> dict[str, dict[str, Handler]]:
    """The pages, by path and method."""

    async def board(request: Request) -> Answer:
        return await _board(archive, request)

    async def reports(request: Request) -> Answer:
        return await _list(archive, request)

    async def save_target(request: Request) -> Answer:
        require(Permission.SETTINGS_MANAGE)
        form = await read_form(request)
        require_form_token(request, form.get(FORM_TOKEN_FIELD))
        try:
            if form.get("minutes"):
                await put_target(archive, form.get("priority"), whole_number(form, "minutes"))
            else:
                await remove_target(archive, form.get("priority"))
        except RequestError as error:
            return await _board(archive, request, error)
        return back_to(BOARD_PATH, "saved")

    return {
        BOARD_PATH: {"GET": board},
        f"{BOARD_PATH}/targets": {"POST": save_target},
        LIST_PATH: {"GET": reports},
    }


def minutes_text(minutes: float) -> str:
    """A length of time in its two largest units, as the hospital says it."""
    whole = round(abs(minutes))
    if whole < 120:
        return f"{whole} min"
    if whole < 48 * 60:
        return f"{whole // 60} h {whole % 60:02} min"
    return f"{whole // 1440} d {whole % 1440 // 60} h"


def asked_number(text: str) -> int | None:
    """A number of an address, None where it is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX else None


async def _board(archive: Archive, request: Request, error: RequestError | None = None) -> Answer:
    require(Permission.STUDY_VIEW)
    asked = {name: _asked(request, name) for name in ("days", "modality", "priority")}
    view = view_of(request)
    try:
        wanted = BoardFilter(asked_number(asked["days"] or "7") or 0, asked["modality"], asked["priority"])
        board = await report_board(archive, wanted, waiting=WAITING_SHOWN)
    except RequestError as problem:
        error, wanted = problem, BoardFilter()
        board = await report_board(archive, wanted, waiting=WAITING_SHOWN)
    made = {one.name for one in await list_targets(archive)}
    values: dict[str, Any] = {
        "board": board,
        "whole": next(iter(board.of("all")), None),
        "asked": asked,
        "wanted": wanted,
        "days": DAYS,
        "ways": WAY_WORDS,
        "stages": tuple(STAGES),
        "priorities": PRIORITIES,
        "modalities": sorted({*(one.key for one in board.of("modality") if one.key), *filter(None, [wanted.modality])}),
        "groups": [
            (N_("By modality"), "modality", board.of("modality")),
            (N_("By priority"), "priority", board.of("priority")),
            (N_("By day of the last image"), "day", board.of("day")[-31:]),
            (N_("By hour of the last image"), "hour", board.of("hour")),
        ],
        "by_day": _drawn(board.of("day"), view.tag),
        "by_hour": _drawn(board.of("hour"), view.tag),
        "minutes_text": minutes_text,
        "made": made,
        "query": urlencode({name: value for name, value in asked.items() if value}),
        "may_set": view.access.allows(Permission.SETTINGS_MANAGE),
        "may_write": view.access.allows(Permission.REPORT_WRITE),
        "critical": await count_open(archive),
        "done": request.query_params.get("done") == "saved",
        "error": view.reader.say(error) if error else "",
    }
    template = "report_board_live.html" if is_part(request) else "report_board.html"
    return await page(archive, request, template, place="reports", status=number_of(error), **values)


async def _list(archive: Archive, request: Request) -> Answer:
    require(Permission.STUDY_VIEW)
    asked = {name: _asked(request, name) for name in ("text", "state")}
    states = (ReportState(asked["state"]),) if asked["state"] in tuple(ReportState) else ()
    before = asked_number(_asked(request, "before"))
    rows = await search_reports(
        archive, ReportFilter(text=asked["text"], states=states), before=before, limit=PAGE_REPORTS + 1
    )
    more = len(rows) > PAGE_REPORTS
    rows = rows[:PAGE_REPORTS]
    given = {name: value for name, value in asked.items() if value}
    values: dict[str, Any] = {
        "rows": rows,
        "asked": asked,
        "states": {state.value: words for state, words in STATE_WORDS.items()},
        "state_words": STATE_WORDS,
        "older": f"{LIST_PATH}?{urlencode(given | {'before': str(rows[-1].id)})}" if more else "",
        "newest": f"{LIST_PATH}?{urlencode(given)}" if before is not None else "",
        "may_write": current_access().allows(Permission.REPORT_WRITE),
    }
    return await page(archive, request, "report_list.html", place="reports", **values)


# --- helpers ---


def _asked(request: Request, name: str) -> str:
    return request.query_params.get(name, "").strip()[:_VALUE_CHARS_MAX].replace("\0", "")


def _drawn(figures: Sequence[Figures], tag: str) -> dict[str, Any] | None:
    """Median and 90th percentile from the last image to the signed report, in hours, as lines."""
    if len(figures) < 2:
        return None
    ways = [one.ways.get("images_final") for one in figures]
    median = [round(way.median / 60, 2) if way else None for way in ways]
    ninety = [round(way.percentile_90 / 60, 2) if way else None for way in ways]
    top = max((value for value in ninety if value is not None), default=0.0) or 1.0
    return {
        "first": figures[0].key,
        "last": figures[-1].key,
        "lines": [drawn_line(N_("median"), median, top, tag), drawn_line(N_("90th percentile"), ninety, top, tag)],
    }

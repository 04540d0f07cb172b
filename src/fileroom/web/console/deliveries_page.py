"""`/routing/deliveries`: the delivery ledger by study and destination, or object by object; one parcel; export.

What is done to deliveries is `console.delivery_actions`. A page is read by walking the ledger back from its newest row, so that
it takes as long among a million as among ten (`routing.delivery_search`).
"""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Mapping
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode

from starlette.requests import Request

from fileroom.admin.entries import read_entries
from fileroom.admin.moments import read_moment
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.errors import InvalidRequestError, NotFoundError, RequestError, told
from fileroom.dicom.uids import uid_name
from fileroom.dimse.status import describe
from fileroom.routing.deliveries import DeliveryRow, delivery_counts
from fileroom.routing.deliveries import export_deliveries as read_all_deliveries
from fileroom.routing.delivery_filter import DeliveryFilter
from fileroom.routing.delivery_search import SCAN_MAX, search_deliveries, search_parcels
from fileroom.routing.destinations import DESTINATIONS
from fileroom.routing.rule_fields import RULES
from fileroom.web.answers import NO_STORE, Answer
from fileroom.web.console.form_pages import number_of
from fileroom.web.console.language import N_
from fileroom.web.console.page import page, view_of
from fileroom.web.console.routing_map_page import COLOURS, ICONS, STANDINGS
from fileroom.web.endpoint import Handler
from fileroom.web.instances import begun

DELIVERIES_PATH: Final = "/routing/deliveries"
PAGE_PARCELS: Final = 50
PAGE_OBJECTS: Final = 100
WORDS: Final = ("state", "destination", "rule", "patient", "accession", "study", "object", "from", "to", "cause")
"""What the ledger can be asked for, as names in its address."""
STATES: Final = {
    "gathering": N_("waits until it is complete"),
    "waiting": N_("waiting"),
    "sent": N_("taken, proof outstanding"),
    "delivered": N_("delivered"),
    "failed": N_("failed"),
    "held": N_("held"),
    "cancelled": N_("cancelled"),
    "quarantined": N_("quarantined"),
}
"""Where a delivery stands, in words; message ids."""
SAVED: Final = {
    "failed": ("failed", "quarantined"),
}
"""States that stand for several: dead letters."""
PARCEL_STATES: Final = {
    "idle": "",
    "ready": N_("goes next"),
    "claimed": N_("is being sent"),
    "later": N_("next try"),
    "held": N_("held"),
}
_VALUE_CHARS_MAX: Final = 200
_DIGITS_MAX: Final = 18


def deliveries_handlers(archive: Archive) -> dict[str, dict[str, Handler]]:
    """The pages that only show, by path and method."""

    async def ledger(request: Request) -> Answer:
        return await show_ledger(archive, request)

    async def parcel(request: Request) -> Answer:
        return await show_parcel(archive, request)

    async def export(request: Request) -> Answer:
        return await _export(archive, request)

    return {
        DELIVERIES_PATH: {"GET": ledger},
        f"{DELIVERIES_PATH}/export": {"GET": export},
        f"{DELIVERIES_PATH}/{{number}}": {"GET": parcel},
    }


def asked_of(request: Request) -> dict[str, str]:
    """What the address asks for."""
    return clean_words({name: request.query_params.get(name, "") for name in WORDS})


def clean_words(given: Mapping[str, str]) -> dict[str, str]:
    """Without what is empty, and nothing too long."""
    return {
        name: value for name in WORDS if (value := given.get(name, "").strip()[:_VALUE_CHARS_MAX].replace("\0", ""))
    }


def filter_of(archive: Archive, asked: Mapping[str, str]) -> DeliveryFilter:
    """The filter. Raises InvalidRequestError for what makes no sense."""
    state = asked.get("state", "")
    if state and state not in STATES:
        raise InvalidRequestError(told("There is no such state of a delivery."))
    now = archive.now()
    return DeliveryFilter(
        states=SAVED.get(state, (state,) if state else ()),
        destination=asked.get("destination", ""),
        rule=asked.get("rule", ""),
        study_instance_uid=asked.get("study", ""),
        sop_instance_uid=asked.get("object", ""),
        patient_id=asked.get("patient", ""),
        accession_number=asked.get("accession", ""),
        cause=asked.get("cause", ""),
        since=read_moment(asked.get("from", ""), now),
        until=read_moment(asked.get("to", ""), now, end=True),
    )


def address_of(asked: Mapping[str, str], **more: str) -> str:
    """The ledger's address with this question."""
    words = {**asked, **{name: value for name, value in more.items() if value}}
    return f"{DELIVERIES_PATH}?{urlencode(words)}" if words else DELIVERIES_PATH


def words_of_deliveries(request: Request) -> dict[str, Any]:
    """What every page about deliveries needs to say where they stand."""
    reader = view_of(request).reader
    return {
        "delivery_states": STATES,
        "parcel_states": PARCEL_STATES,
        "standings": STANDINGS,
        "standing_icons": ICONS,
        "standing_colours": COLOURS,
        "uid_name": uid_name,
        "status_text": lambda one: _status_text(one, reader.gettext),
    }


async def show_ledger(archive: Archive, request: Request, *, error: RequestError | None = None) -> Answer:
    """The ledger."""
    access = require(Permission.ROUTING_READ)
    asked = asked_of(request)
    by_object = request.query_params.get("by") == "object"
    before = request.query_params.get("before", "")
    rows: list[Any] = []
    older: int | None = None
    try:
        wanted = filter_of(archive, asked)
        before_id = int(before) if before.isascii() and before.isdigit() and len(before) <= _DIGITS_MAX else None
        if by_object:
            objects = await search_deliveries(archive, wanted, before_id=before_id, limit=PAGE_OBJECTS)
            rows, older = list(objects.rows), objects.before_id
        else:
            parcels = await search_parcels(archive, wanted, before_id=before_id, limit=PAGE_PARCELS)
            rows, older = list(parcels.rows), parcels.before_id
    except RequestError as problem:
        error = problem
    counts = await delivery_counts(archive)
    sums: dict[str, int] = {}
    for one in counts:
        if not asked.get("destination") or asked["destination"] == one.destination:
            sums[one.state] = sums.get(one.state, 0) + one.number
    sums["failed"] = sums.get("failed", 0) + sums.pop("quarantined", 0)
    by = "object" if by_object else ""
    values: dict[str, Any] = {
        "rows": rows,
        "by_object": by_object,
        "asked": asked,
        "sums": sums,
        "has_any": any(sums.values()) or bool(counts),
        "destinations": [one.name for one in await read_entries(archive.pool, DESTINATIONS)],
        "rules": [one.name for one in await read_entries(archive.pool, RULES)],
        "address_of": lambda **more: address_of({**asked, **more}, by=by),
        "state_address": lambda state: address_of(
            {**asked, "state": state} if state else _without(asked, "state"), by=by
        ),
        "other_address": address_of(asked, by="" if by_object else "object"),
        "older": address_of(asked, by=by, before=str(older)) if older is not None else "",
        "newest": address_of(asked, by=by) if before else "",
        "export": f"{DELIVERIES_PATH}/export?{urlencode(asked)}",
        "scan_max": SCAN_MAX,
        "may_manage": access.allows(Permission.ROUTING_MANAGE),
        "now": archive.now(),
        "done": request.query_params.get("done", "") if request.query_params.get("done", "").isdigit() else "",
        "error": view_of(request).reader.say(error) if error else "",
        **words_of_deliveries(request),
    }
    return await page(archive, request, "deliveries.html", place="routing", status=number_of(error), **values)


async def show_parcel(archive: Archive, request: Request) -> Answer:
    """What one destination gets of one study, object by object."""
    access = require(Permission.ROUTING_READ)
    text = request.path_params["number"]
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX):
        raise NotFoundError(told("There is no such delivery."))
    number, before = int(text), request.query_params.get("before", "")
    before_id = int(before) if before.isascii() and before.isdigit() and len(before) <= _DIGITS_MAX else None
    wanted = DeliveryFilter(parcels=(number,))
    state = request.query_params.get("state", "")
    if state in STATES:
        wanted = DeliveryFilter(parcels=(number,), states=SAVED.get(state, (state,)))
    parcels = await search_parcels(archive, DeliveryFilter(parcels=(number,)), limit=1)
    if not parcels.rows:
        raise NotFoundError(told("There is no such delivery."))
    objects = await search_deliveries(archive, wanted, before_id=before_id, limit=PAGE_OBJECTS)
    path = f"{DELIVERIES_PATH}/{number}"
    values: dict[str, Any] = {
        "parcel": parcels.rows[0],
        "rows": objects.rows,
        "rules_shown": list(dict.fromkeys(one.rule for one in objects.rows if one.rule)),
        "state": state if state in STATES else "",
        "path": path,
        "older": f"{path}?{urlencode({'before': objects.before_id, 'state': state})}" if objects.before_id else "",
        "newest": path if before else "",
        "may_manage": access.allows(Permission.ROUTING_MANAGE),
        "destinations": [one.name for one in await read_entries(archive.pool, DESTINATIONS)],
        "now": archive.now(),
        "done": request.query_params.get("done", "") if request.query_params.get("done", "").isdigit() else "",
        **words_of_deliveries(request),
    }
    return await page(archive, request, "delivery_parcel.html", place="routing", **values)


async def _export(archive: Archive, request: Request) -> Answer:
    """All that fits, as CSV: one line for each object and destination."""
    require(Permission.ROUTING_READ)
    wanted = filter_of(archive, asked_of(request))
    if wanted.patient_id or wanted.accession_number:
        require(Permission.STUDY_SEARCH)
    headers = {
        "content-type": "text/csv; charset=utf-8",
        "content-disposition": 'attachment; filename="deliveries.csv"',
        "cache-control": NO_STORE,
    }
    return await begun(Answer(HTTPStatus.OK, headers, _lines(read_all_deliveries(archive, wanted))))


_COLUMNS: Final = (
    *("id", "destination", "rule", "state", "cause", "status", "attempts", "study_instance_uid", "series_instance_uid"),
    *("sop_instance_uid", "sop_class_uid", "bytes", "created_at", "due_at", "taken_at", "settled_at", "delivered_as"),
)


async def _lines(rows: AsyncIterator[DeliveryRow]) -> AsyncIterator[bytes]:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(_COLUMNS)
    async for row in rows:
        writer.writerow([_cell(getattr(row, name)) for name in _COLUMNS])
        if out.tell() > 60_000:
            yield out.getvalue().encode()
            out.seek(0)
            out.truncate()
    yield out.getvalue().encode()


def _cell(value: Any) -> str:
    """A spreadsheet takes no text for a formula."""
    text = "" if value is None else value.isoformat() if hasattr(value, "isoformat") else str(value)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def _without(asked: Mapping[str, str], name: str) -> dict[str, str]:
    return {key: value for key, value in asked.items() if key != name}


def _status_text(row: DeliveryRow, say: Any) -> str:
    """The status that the destination answered with: its number, and what it means."""
    if row.status is None:
        return ""
    if row.status == 0:
        return str(say("success"))
    return f"{row.status:04X}H {describe(row.status)}" if row.status > 0x0FFF or row.status < 100 else str(row.status)

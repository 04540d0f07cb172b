"""ServiceRequest: the orders of the RIS side, each with its requested procedure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from psycopg import AsyncConnection

from fileroom.archive.services import Archive
from fileroom.core.access import Permission
from fileroom.fhir.conditions import (
    NEVER,
    Asked,
    Token,
    as_row,
    code,
    identifiers,
    local_moment,
    moment,
    number,
    reference,
    token,
)
from fileroom.fhir.elements import Resource, Words, concept, filled, instant, named, scheme
from fileroom.fhir.kinds import Include, Kind, Sort, by_name
from fileroom.index.conditions import Condition
from fileroom.worklist.facts import OrderState
from fileroom.worklist.order_rows import COLUMNS, Order, order_of
from fileroom.worklist.order_visibility import order_is_visible

STATUS: Final = {
    OrderState.SCHEDULED: "active",
    OrderState.ARRIVED: "active",
    OrderState.IN_PROGRESS: "active",
    OrderState.COMPLETED: "completed",
    OrderState.CANCELLED: "revoked",
    OrderState.DISCONTINUED: "revoked",
}
PRIORITY: Final = {"STAT": "stat", "HIGH": "urgent", "ROUTINE": "routine", "MEDIUM": "routine", "LOW": "routine"}
_NUMBERS: Final = ("accession", "placer", "filler")
_FIRST_STEP: Final = """(SELECT st.{column} FROM scheduled_step st WHERE st.imaging_order = o.id AND st.start_date <> ''
    ORDER BY st.id LIMIT 1)"""


def service_request(words: Words, order: Order) -> Resource:
    """An order as a resource; who made it last is not told."""
    start = next((step for step in order.steps if step.start_date), None)
    identifiers_ = (
        ("PLAC", order.placer_number, order.placer_authority),
        ("FILL", order.filler_number, order.filler_authority),
        ("ACSN", order.accession_number, order.accession_authority),
    )
    return filled(
        resourceType="ServiceRequest",
        id=str(order.id),
        identifier=[words.identifier(kind, value, authority) for kind, value, authority in identifiers_ if value],
        status=STATUS[order.state],
        intent="order",
        category=[{"coding": [{"system": "http://snomed.info/sct", "code": "363679005", "display": "Imaging"}]}],
        priority=PRIORITY.get(order.priority, "routine"),
        code=concept(order.procedure_code, order.procedure_scheme, order.procedure_meaning),
        subject=words.subject(order.patient, order.patient_id),
        occurrenceDateTime=words.moment(start.start_date, start.start_time) if start else None,
        requester=named(order.ordering_physician),
        reasonCode=[{"text": order.reason}] if order.reason else [],
        bodySite=[{"text": order.body_part}] if order.body_part else [],
    )


def of_patients(patients: Sequence[int], order: str = "o") -> Condition:
    """The order is one of these patients'."""
    return Condition(f"{order}.patient = ANY(%s)", (list(patients),))


async def _load(
    _archive: Archive, connection: AsyncConnection[Any], words: Words, ids: Sequence[str]
) -> dict[str, Resource]:
    statement = f"SELECT o.changed_at, o.ordered_at, {COLUMNS} FROM imaging_order o WHERE o.id = ANY(%s)"
    cursor = await connection.execute(statement.encode(), ([int(one) for one in ids],))
    found = {}
    for changed_at, ordered_at, *row in await cursor.fetchall():
        order = order_of(row)
        found[str(order.id)] = service_request(words, order) | {
            "meta": {"versionId": str(order.version), "lastUpdated": instant(changed_at)},
            "authoredOn": instant(ordered_at),
        }
    return found


def _numbered(value: str, authority: str | None) -> Condition:
    """An order with this accession, placer or filler number; each by an index of its own."""
    if not value:
        return NEVER
    parts = []
    for name in _NUMBERS:
        which = Condition(f"x.{name}_number = %s", (value,))
        if authority is not None:
            which = Condition.all_of([which, Condition(f"x.{name}_authority = %s", (authority,))])
        parts.append(Condition(f"SELECT x.id FROM imaging_order x WHERE {which.text}", which.parameters))
    return Condition(
        f"o.id IN ({' UNION ALL '.join(one.text for one in parts)})",
        tuple(value_ for one in parts for value_ in one.parameters),
    )


def procedure_code(wanted: Token, _asked: Asked) -> Condition:
    """The code of the order o's procedure."""
    parts = [Condition("o.procedure_code = %s", (wanted.value,))] if wanted.value else []
    if wanted.system is not None:
        parts.append(
            Condition(
                "o.procedure_scheme = ANY(%s)",
                (
                    [
                        name
                        for name in ("DCM", "SCT", "LN", "RADLEX", "")
                        if (scheme(name) if name else "") == wanted.system
                    ]
                    + ([wanted.system.removeprefix(scheme(""))] if wanted.system.startswith(scheme("")) else []),
                ),
            )
        )
    return Condition.all_of(parts) if parts else NEVER


def _turned_round(meanings: dict[Any, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for stored, meaning in meanings.items():
        found.setdefault(meaning, []).append(str(stored))
    return found


def _patient(ids: list[str]) -> Condition:
    return of_patients([as_row(one) for one in ids])


SERVICE_REQUEST: Final = Kind(
    name="ServiceRequest",
    permission=Permission.ORDER_READ,
    table="imaging_order o",
    key="o.id",
    id="o.id::text",
    visible=order_is_visible,
    of_patients=of_patients,
    load=_load,
    parameters=by_name(
        number("_id", "o.id"),
        moment("_lastUpdated", "o.changed_at"),
        identifiers(_numbered),
        reference("patient", "Patient", _patient, missing="o.patient IS NULL"),
        reference("subject", "Patient", _patient, missing="o.patient IS NULL"),
        code("status", "o.state", _turned_round(STATUS), ("http://hl7.org/fhir/request-status",), missing="false"),
        code(
            "priority",
            "CASE WHEN o.priority IN ('STAT', 'HIGH') THEN o.priority ELSE 'ROUTINE' END",
            _turned_round(PRIORITY),
            ("http://hl7.org/fhir/request-priority",),
            missing="false",
        ),
        code(
            "intent", "'order'::text", {"order": ("order",)}, ("http://hl7.org/fhir/request-intent",), missing="false"
        ),
        moment("authored", "o.ordered_at"),
        local_moment("occurrence", _FIRST_STEP.format(column="start_date"), _FIRST_STEP.format(column="start_time")),
        token("code", procedure_code, missing="(o.procedure_code = '' AND o.procedure_meaning = '')"),
    ),
    sorts={
        "_id": Sort("o.id", "bigint"),
        "_lastUpdated": Sort("o.changed_at", "timestamptz"),
        "authored": Sort("o.ordered_at", "timestamptz"),
    },
    includes={
        "patient": Include(("subject",), "Patient", "patient"),
        "subject": Include(("subject",), "Patient", "subject"),
    },
)

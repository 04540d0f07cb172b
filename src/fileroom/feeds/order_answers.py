"""What an order is answered with where the feed asks for it: ORR, ORG or ORI, with the order as it stands here.

HL7 v2.5.1 4.4.2 (ORR), 4.4.4 (ORG), 4.4.6 (ORI). ORC-1 says what became of the request (table 0119); ORI tells in IPC the
accession number, the Study Instance UID and the steps, so that the sender learns what Fileroom has given where it said none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from fileroom.feeds.answers import Body, OwnAnswer
from fileroom.hl7.acknowledge import response_kind
from fileroom.hl7.build import Value, field_value
from fileroom.hl7.message import Message, Segment, SegmentGroup
from fileroom.worklist.changes import Effect

GROUPS_MAX: Final = 100
"""Orders of one message that are told in its answer."""
STEPS_MAX: Final = 50
_DONE: Final = {"NW": "OK", "CA": "CR", "OC": "CR", "DC": "DR", "XO": "XR", "RP": "RQ", "HD": "HR", "RL": "OE"}
_NOT_DONE: Final = {"NW": "UA", "CA": "UC", "OC": "UC", "DC": "UD", "XO": "UX", "RP": "UM", "HD": "UH", "RL": "UR"}
"""HL7 table 0119."""


def is_order(message: Message) -> bool:
    """Whether the message has such an answer."""
    return message.get("MSH-9.1").strip().upper() in ("ORM", "OMG", "OMI") and bool(response_kind(message))


async def order_answer(
    connection: AsyncConnection[Any], message: Message, effects: Sequence[Effect], *, is_done: bool
) -> OwnAnswer:
    """The answer to a message with orders, after its changes were made or were not. Raises psycopg.Error."""
    known = await _orders(connection, {one.number for one in effects if one.subject == "order"}) if is_done else []
    body: list[tuple[str, dict[int, Value]]] = []
    patient = message.first("PID")
    if patient is not None:
        body.append(("PID", _fields(patient)))
    for group in message.groups(("ORC", "OBR"))[:GROUPS_MAX]:
        body += _group(group, known, is_imaging=message.kind == "OMI^O23", is_done=is_done)
    return OwnAnswer(response_kind(message), _tuple(body), "AA" if is_done else "AE")


# --- helpers ---


def _group(
    group: SegmentGroup, known: Sequence[dict[str, Any]], *, is_imaging: bool, is_done: bool
) -> list[tuple[str, dict[int, Value]]]:
    common, request = group.first("ORC"), group.first("OBR")
    control = common.get("1").strip().upper() if common is not None else "NW"
    row = _matching(group, known)
    told = _fields(common) if common is not None else {}
    told[1] = (_DONE if is_done else _NOT_DONE).get(control, "OK" if is_done else "UA")
    if row is not None and (common is None or not common.get("3").strip()):
        number, authority = row["filler_number"], row["filler_authority"]
        told[3] = (number, authority) if number else (row["accession_number"], "FILEROOM")
    found: list[tuple[str, dict[int, Value]]] = [("ORC", told)]
    if request is not None:
        found.append(("OBR", _fields(request)))
        if is_imaging and row is not None:
            found += [("IPC", _procedure(row, step)) for step in row["steps"][:STEPS_MAX] or [{}]]
        elif is_imaging:
            found += [("IPC", _fields(one)) for one in group.all("IPC")]
    return found


def _procedure(row: dict[str, Any], step: dict[str, Any]) -> dict[int, Value]:
    """IPC (v2.5.1 4.5.6)."""
    stations = step.get("station_aets") or []
    return {
        1: row["accession_number"],
        2: row["procedure_id"],
        3: row["study_instance_uid"],
        4: step.get("step_id", ""),
        5: step.get("modality", ""),
        7: step.get("station_name", ""),
        8: step.get("location", ""),
        9: stations[0] if stations else "",
    }


def _matching(group: SegmentGroup, known: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The order that a group speaks of, by any of its numbers."""
    said = {
        text
        for path in ("ORC-2.1", "ORC-3.1", "OBR-2.1", "OBR-3.1", "OBR-18.1", "IPC-1.1")
        if (text := group.get(path).strip())
    }
    for row in known:
        if said & {row["placer_number"], row["filler_number"], row["accession_number"]}:
            return row
    return known[0] if len(known) == 1 else None


async def _orders(connection: AsyncConnection[Any], numbers: set[int]) -> list[dict[str, Any]]:
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            b"""SELECT o.id, o.placer_number, o.filler_number, o.filler_authority, o.accession_number, o.procedure_id,
                    o.study_instance_uid, coalesce((SELECT jsonb_agg(jsonb_build_object('step_id', s.step_id, 'modality',
                        s.modality, 'station_aets', s.station_aets, 'station_name', s.station_name, 'location', s.location)
                        ORDER BY s.id) FROM scheduled_step s WHERE s.imaging_order = o.id), '[]') AS steps
                FROM imaging_order o WHERE o.id = ANY(%s) ORDER BY o.id""",
            (sorted(numbers)[:GROUPS_MAX],),
        )
        return await cursor.fetchall()


def _fields(segment: Segment) -> dict[int, Value]:
    return {number: field_value(segment.field(number)) for number in range(1, segment.field_count + 1)}


def _tuple(body: Sequence[tuple[str, dict[int, Value]]]) -> Body:
    return tuple(body)

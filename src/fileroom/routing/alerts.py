"""Alerts: something is as a condition says, from its beginning to its end, who has seen it, and who was told.

    firing ─▶ acknowledged (a person, with a note) ─▶ ended          each is a row, and what happened to it are rows too
       └──────────────────────────────────────────────▶ ended

`alerts_due` looks every few seconds, in one worker at a time. People are told (`routing.alert_notices`) when an alert begins,
again while nobody acknowledges it, and when it has ended; not in quiet times: what still is so after them is told then.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from psycopg import AsyncConnection
from psycopg.rows import class_row

from fileroom.admin.audit import record
from fileroom.admin.audit_events import node_changed
from fileroom.admin.entries import (
    Section,
    list_entries,
    put_entry,
    read_entries,
    remove_entry,
)
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.errors import InvalidRequestError, NotFoundError, told
from fileroom.routing.alert_rules import Condition, Finding, checked_condition, condition_of, findings, has_ended
from fileroom.routing.alert_sums import read_sums
from fileroom.routing.troubles import KEPT_DAYS as TROUBLES_KEPT_DAYS

ALERTS: Final = Section("alerts", "alert", checked_condition)
ALERTS_INTERVAL_S: Final = 15.0
NOTE_CHARS_MAX: Final = 1000
ENDED_SHOWN_MAX: Final = 200
ENDED_KEPT_DAYS: Final = 365
_LOCK: Final = 0x66A1E27
"""Of the transaction in which alerts begin and end: one worker at a time."""
USUAL: Final[Mapping[str, dict[str, Any]]] = {
    "Queue is old": {"kind": "queue_age", "above": 60},
    "Many failures": {"kind": "failure_rate", "above": 20},
    "Dead letters": {"kind": "dead_letters"},
    "Not de-identified": {"kind": "quarantined"},
    "Destination down": {"kind": "destination_down", "above": 5},
    "Disk nearly full": {"kind": "disk", "above": 90, "severity": "critical"},
    "Rule fails": {"kind": "rule_error"},
    "Routing loop": {"kind": "routing_loop", "severity": "critical"},
    "Edge silent": {"kind": "edge_silent"},
    "Feed silent": {"kind": "feed_silent"},
    "Messages to be mended": {"kind": "messages_failed"},
    "Critical finding not acknowledged": {"kind": "critical_overdue", "severity": "critical"},
}
"""What `add_usual_alerts` makes."""


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that is, or was, so. `subject` is the name of a destination or an edge, empty for the whole."""

    id: int
    condition_name: str
    kind: str
    subject: str
    state: str
    severity: str
    value: float
    sentence: str
    began_at: dt.datetime
    seen_at: dt.datetime
    ended_at: dt.datetime | None
    acknowledged_by: str
    acknowledged_at: dt.datetime | None
    note: str
    notices: int


@dataclass(frozen=True, slots=True)
class AlertEvent:
    """What happened to an alert: began, told, not told, acknowledged, ended."""

    alert_id: int
    at: dt.datetime
    event: str
    who: str
    note: str


# --- conditions ---


async def list_conditions(archive: Archive) -> list[Condition]:
    """All by name. Raises NotAllowedError, DatabaseError."""
    return [condition_of(one) for one in await list_entries(archive.pool, ALERTS)]


async def put_condition(
    archive: Archive,
    name: str,
    fields: Mapping[str, Any],
    *,
    enabled: bool = True,
    version: int | None = None,
    new: bool | None = None,
) -> Condition:
    """Add a condition, or change it, as `entries.put_entry` does; what it names (destinations, schedule) must be there.

    Raises InvalidRequestError, ConflictError (EditedMeanwhileError), NotFoundError, NotAllowedError, DatabaseError.
    """
    require(Permission.ROUTING_MANAGE)
    await _require_named(archive, checked_condition(name, fields))
    entry = await put_entry(
        archive.pool, archive.settings, ALERTS, name, fields, enabled=enabled, version=version, new=new
    )
    return condition_of(entry)


async def remove_condition(archive: Archive, name: str) -> None:
    """Remove it; what fires because of it ends. Raises NotFoundError, NotAllowedError, DatabaseError."""
    await remove_entry(archive.pool, ALERTS, name)


async def add_usual_alerts(archive: Archive) -> list[Condition]:
    """Make the usual conditions that are not there yet. Raises NotAllowedError, DatabaseError."""
    require(Permission.ROUTING_MANAGE)
    there = {one.name for one in await list_conditions(archive)}
    return [await put_condition(archive, name, fields) for name, fields in USUAL.items() if name not in there]


# --- alerts ---


async def list_alerts(archive: Archive, *, ended: bool = False) -> list[Alert]:
    """Those that are: critical ones first, not acknowledged ones first; or (`ended`) the last that have ended.

    Raises NotAllowedError, DatabaseError.
    """
    require(Permission.ROUTING_READ)
    if ended:
        return await _select(
            archive, b"WHERE state = 'ended' ORDER BY ended_at DESC, id DESC LIMIT %s", (ENDED_SHOWN_MAX,)
        )
    return await _select(
        archive, b"WHERE state <> 'ended' ORDER BY state = 'acknowledged', severity <> 'critical', began_at, id", ()
    )


async def alert_events(archive: Archive, alert_ids: Sequence[int]) -> dict[int, list[AlertEvent]]:
    """What happened to alerts, the first event first. Raises NotAllowedError, DatabaseError."""
    require(Permission.ROUTING_READ)
    found: dict[int, list[AlertEvent]] = {one: [] for one in alert_ids}
    async with archive.pool.connection() as connection, connection.cursor(row_factory=class_row(AlertEvent)) as cursor:
        await cursor.execute(
            b"SELECT alert_id, at, event, who, note FROM alert_event WHERE alert_id = ANY(%s) ORDER BY id",
            (list(alert_ids),),
        )
        for event in await cursor.fetchall():
            found[event.alert_id].append(event)
    return found


async def count_firing(archive: Archive) -> int:
    """How many nobody has acknowledged. Raises NotAllowedError, DatabaseError."""
    require(Permission.ROUTING_READ)
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(b"SELECT count(*) FROM alert WHERE state = 'firing'")
        row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def count_alerts(archive: Archive) -> dict[tuple[str, str], int]:
    """How many there are by severity and state (firing, acknowledged), for those who watch. Raises NotAllowedError."""
    require(Permission.SYSTEM_READ)
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(
            b"SELECT severity, state, count(*) FROM alert WHERE state <> 'ended' GROUP BY severity, state"
        )
        return {(row[0], row[1]): int(row[2]) for row in await cursor.fetchall()}


async def acknowledge_alert(archive: Archive, number: int, note: str) -> Alert:
    """Somebody takes care of it: it is not repeated to others. Raises InvalidRequestError, NotFoundError, NotAllowedError."""
    who = require(Permission.ROUTING_MANAGE).name
    note = " ".join(note.split())
    if len(note) > NOTE_CHARS_MAX:
        raise InvalidRequestError(told("A note has at most {most} characters.", most=NOTE_CHARS_MAX))
    now = archive.now()
    async with archive.pool.connection() as connection, connection.transaction():
        cursor = await connection.execute(
            b"""UPDATE alert SET state = 'acknowledged', acknowledged_by = %s, acknowledged_at = %s, note = %s,
                notice_due_at = NULL WHERE id = %s AND state <> 'ended' RETURNING condition_name, subject""",
            (who, now, note, number),
        )
        row = await cursor.fetchone()
        if row is None:
            raise NotFoundError(told("There is no alert {number} that still is so.", number=number))
        await add_event(connection, number, now, "acknowledged", who, note)
        await record(connection, node_changed(row[0], f"alert acknowledged: {row[1] or row[0]}; {note}"))
    return (await _select(archive, b"WHERE id = %s", (number,)))[0]


# --- the worker ---


async def alerts_due(archive: Archive) -> int:
    """Look at every condition: alerts begin, go on and end. Returns 0: it is asked again after ALERTS_INTERVAL_S.

    Raises NotAllowedError, DatabaseError.
    """
    require(Permission.SYSTEM_MANAGE)
    conditions = [condition_of(one) for one in await read_entries(archive.pool, ALERTS) if one.enabled]
    sums = await read_sums(archive, conditions)
    now = archive.now()
    async with archive.pool.connection() as connection, connection.transaction():
        cursor = await connection.execute(b"SELECT pg_try_advisory_xact_lock(%s)", (_LOCK,))
        row = await cursor.fetchone()
        if row is None or not row[0]:
            return 0
        cursor = await connection.execute(
            b"SELECT id, condition_id, subject, seen_at FROM alert WHERE state <> 'ended' FOR UPDATE"
        )
        is_open = {(one[1], one[2]): (one[0], one[3]) for one in await cursor.fetchall()}
        for condition in conditions:
            for finding in findings(condition, sums):
                known = is_open.pop((condition.id, finding.subject), None)
                if known is None:
                    await _begin(connection, condition, finding, now)
                else:
                    await connection.execute(
                        b"UPDATE alert SET seen_at = %s, value = %s, sentence = %s, severity = %s WHERE id = %s",
                        (now, finding.value, finding.sentence, condition.severity, known[0]),
                    )
        there = {condition.id for condition in conditions}
        for (condition_id, _), (number, seen_at) in is_open.items():
            if condition_id not in there or has_ended(seen_at, now):
                await _end(connection, number, now)
        await _forget_old(connection, now)
    return 0


async def add_event(
    connection: AsyncConnection[Any], number: int, now: dt.datetime, event: str, who: str = "", note: str = ""
) -> None:
    """Put down what happened to an alert. Raises psycopg.Error."""
    await connection.execute(
        b"INSERT INTO alert_event (alert_id, at, event, who, note) VALUES (%s, %s, %s, %s, %s)",
        (number, now, event, who, note[:NOTE_CHARS_MAX]),
    )


# --- helpers ---

_COLUMNS: Final = b"""SELECT id, condition_name, kind, subject, state, severity, value, sentence, began_at, seen_at, ended_at,
    acknowledged_by, acknowledged_at, note, notices FROM alert """


async def _select(archive: Archive, where: bytes, parameters: Sequence[object]) -> list[Alert]:
    async with archive.pool.connection() as connection, connection.cursor(row_factory=class_row(Alert)) as cursor:
        await cursor.execute(_COLUMNS + where, parameters)
        return await cursor.fetchall()


async def _begin(connection: AsyncConnection[Any], condition: Condition, finding: Finding, now: dt.datetime) -> None:
    cursor = await connection.execute(
        b"""INSERT INTO alert (condition_id, condition_name, kind, subject, severity, value, sentence, began_at, seen_at,
                notice_due_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING id""",
        (
            condition.id,
            condition.name,
            condition.kind.value,
            finding.subject,
            condition.severity,
            finding.value,
            finding.sentence,
            now,
            now,
            now if condition.notify else None,
        ),
    )
    row = await cursor.fetchone()
    await add_event(connection, row[0] if row else 0, now, "began", note=finding.sentence)


async def _end(connection: AsyncConnection[Any], number: int, now: dt.datetime) -> None:
    """Who was told that it began is told that it ended; where nobody was yet, nobody is."""
    await connection.execute(
        b"""UPDATE alert SET state = 'ended', ended_at = %s, notice_due_at = CASE WHEN notices > 0 THEN %s::timestamptz END,
            notice_attempts = 0, notice_left = '{}' WHERE id = %s""",
        (now, now, number),
    )
    await add_event(connection, number, now, "ended")


async def _forget_old(connection: AsyncConnection[Any], now: dt.datetime) -> None:
    await connection.execute(
        b"DELETE FROM alert WHERE state = 'ended' AND ended_at < %s", (now - dt.timedelta(days=ENDED_KEPT_DAYS),)
    )
    await connection.execute(
        b"DELETE FROM routing_trouble WHERE at < %s", (now - dt.timedelta(days=TROUBLES_KEPT_DAYS),)
    )


async def _require_named(archive: Archive, fields: Mapping[str, Any]) -> None:
    """Raises InvalidRequestError."""
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(
            b"""SELECT section, name, fields ->> 'kind' FROM named_entry
                WHERE removed_at IS NULL AND section IN ('destinations', 'schedules')"""
        )
        there = {(row[0], row[1]): row[2] for row in await cursor.fetchall()}
    for name in fields["destinations"]:
        if ("destinations", name) not in there:
            raise InvalidRequestError(told("There is no destination {name}. Add it first.", name=name))
    for name in fields["notify"]:
        if there.get(("destinations", name)) not in ("mail", "webhook"):
            raise InvalidRequestError(
                told("{name} is no destination of the kind mail or webhook, which notices go to.", name=name)
            )
    if fields["quiet"] and ("schedules", fields["quiet"]) not in there:
        raise InvalidRequestError(told("There is no schedule {name}. Add it first.", name=fields["quiet"]))

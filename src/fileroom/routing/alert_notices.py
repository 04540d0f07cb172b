"""Telling people about alerts: by e-mail and webhook, over the destinations of those kinds that a condition names.

A notice is due by its row (`alert.notice_due_at`), so that a killed worker forgets none; whoever could not be reached is tried
again with growing pauses, up to ATTEMPTS_MAX times. In quiet times nothing is sent.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from psycopg.rows import class_row

from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.errors import FileroomError
from fileroom.routing.alerts import add_event
from fileroom.routing.calendars import is_open
from fileroom.routing.destination_fields import Destination
from fileroom.routing.destinations import context_of, read_destinations
from fileroom.routing.mail_destination import MAIL
from fileroom.routing.schedules import read_schedules
from fileroom.routing.webhook_destination import WEBHOOK
from fileroom.tasks.loop import retry_delay

NOTICES_INTERVAL_S: Final = 5.0
NOTICES_AT_ONCE_MAX: Final = 20
ATTEMPTS_MAX: Final = 10
"""About four hours of trying."""
CLAIM_S: Final = 120.0
SEND_TIMEOUT_S: Final = 60.0
QUIET_RECHECK_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class _Due:
    """An alert of which somebody is to be told, and what its condition says."""

    id: int
    condition_name: str
    kind: str
    subject: str
    state: str
    severity: str
    value: float
    sentence: str
    began_at: dt.datetime
    ended_at: dt.datetime | None
    notices: int
    notice_attempts: int
    notice_left: list[str]
    fields: dict[str, Any]


async def send_due_notices(archive: Archive) -> int:
    """Tell people what is due; returns how many notices were tried. Raises NotAllowedError, DatabaseError."""
    require(Permission.SYSTEM_MANAGE)
    due = await _claim(archive)
    if not due:
        return 0
    schedules = await read_schedules(archive)
    destinations = await read_destinations(archive)
    now = archive.now()
    sent = 0
    for one in due:
        quiet = schedules.get(one.fields["quiet"]) if one.fields["quiet"] else None
        if quiet is not None and is_open(quiet, now):
            await _put_off(archive, one.id, now + dt.timedelta(seconds=QUIET_RECHECK_S))
            continue
        await _tell(archive, one, destinations)
        sent += 1
    return sent


def notice_subject(aet: str, state: str, sentence: str) -> str:
    """The subject of the mail."""
    word = {"firing": "Alert", "ended": "Ended"}.get(state, "Alert")
    return f"[{aet}] {word}: {sentence}"


def notice_text(one: _Due) -> str:
    """The words of the mail. No patient data: sentences of alerts hold none."""
    lines = [one.sentence, "", f"Alert:    {one.condition_name} ({one.severity})", f"Since:    {_moment(one.began_at)}"]
    if one.ended_at is not None:
        lines.insert(0, "This alert has ended. It was:")
        lines.append(f"Ended:    {_moment(one.ended_at)}")
    elif one.notices:
        lines.insert(0, "Nobody has acknowledged this alert yet:")
    return "\n".join([*lines, "", "Acknowledge it under Routing > Alerts.", ""])


def notice_event(one: _Due) -> dict[str, Any]:
    """The document of the webhook."""
    return {
        "event": "alert",
        "id": f"alert-{one.id}-{'ended' if one.ended_at else one.notices + 1}",
        "alert": one.id,
        "name": one.condition_name,
        "kind": one.kind,
        "state": one.state,
        "severity": one.severity,
        "subject": one.subject,
        "value": one.value,
        "sentence": one.sentence,
        "began_at": _moment(one.began_at),
        "ended_at": _moment(one.ended_at) if one.ended_at else None,
    }


# --- helpers ---


async def _claim(archive: Archive) -> list[_Due]:
    now = archive.now()
    async with archive.pool.connection() as connection, connection.cursor(row_factory=class_row(_Due)) as cursor:
        await cursor.execute(
            b"""UPDATE alert a SET notice_due_at = %s FROM named_entry e
                WHERE e.id = a.condition_id AND a.id IN (SELECT id FROM alert WHERE notice_due_at <= %s
                    ORDER BY notice_due_at LIMIT %s FOR UPDATE SKIP LOCKED)
                RETURNING a.id, a.condition_name, a.kind, a.subject, a.state, a.severity, a.value, a.sentence, a.began_at,
                    a.ended_at, a.notices, a.notice_attempts, a.notice_left, e.fields""",
            (now + dt.timedelta(seconds=CLAIM_S), now, NOTICES_AT_ONCE_MAX),
        )
        return await cursor.fetchall()


async def _put_off(archive: Archive, number: int, until: dt.datetime) -> None:
    async with archive.pool.connection() as connection:
        await connection.execute(
            b"UPDATE alert SET notice_due_at = %s WHERE id = %s AND notice_due_at IS NOT NULL", (until, number)
        )


async def _tell(archive: Archive, one: _Due, destinations: Mapping[str, Destination]) -> None:
    wanted = one.notice_left or one.fields["notify"]
    answers = await asyncio.gather(*(_tell_one(archive, one, name, destinations.get(name)) for name in wanted))
    left = [name for name, failure in zip(wanted, answers, strict=True) if failure]
    now = archive.now()
    attempts = one.notice_attempts + 1
    gives_up = attempts >= ATTEMPTS_MAX
    async with archive.pool.connection() as connection, connection.transaction():
        for name, failure in zip(wanted, answers, strict=True):
            note = f"{name}: {failure}" if failure else name
            await add_event(connection, one.id, now, "not told" if failure else "told", note=note)
        if left and not gives_up:
            due_at = now + dt.timedelta(seconds=retry_delay(attempts))
            await connection.execute(
                b"""UPDATE alert SET notice_attempts = %s, notice_left = %s, notice_due_at = CASE
                    WHEN state = %s THEN %s::timestamptz ELSE notice_due_at END WHERE id = %s""",
                (attempts, left, one.state, due_at, one.id),
            )
            return
        repeat_min = one.fields["repeat_min"]
        again_at = now + dt.timedelta(minutes=repeat_min) if repeat_min and one.state == "firing" else None
        # An alert that ended or was acknowledged meanwhile has its own due time, or none, by now.
        await connection.execute(
            b"""UPDATE alert SET notices = notices + 1, notice_attempts = 0, notice_left = '{}', notice_due_at = CASE
                WHEN state = %s THEN %s::timestamptz WHEN state = 'ended' THEN %s::timestamptz END WHERE id = %s""",
            (one.state, again_at, now, one.id),
        )


async def _tell_one(archive: Archive, one: _Due, name: str, destination: Destination | None) -> str:
    """Why somebody could not be told; empty when they were."""
    if destination is None or destination.kind not in (MAIL.name, WEBHOOK.name):
        return "There is no destination of that name to send notices to any more."
    if not destination.enabled:
        return "The destination is disabled."
    try:
        async with asyncio.timeout(SEND_TIMEOUT_S):
            if destination.kind == MAIL.name:
                return await _mail(archive, one, destination)
            return await _post(archive, one, destination)
    except TimeoutError:
        return f"{name} did not answer within {SEND_TIMEOUT_S:g} s."
    except FileroomError as error:
        return error.sentence


async def _mail(archive: Archive, one: _Due, destination: Destination) -> str:
    number = str(notice_event(one)["id"])
    subject = notice_subject(archive.settings.aet, one.state, one.sentence)
    async with MAIL.open(context_of(archive, destination)) as session:
        outcome = await session.post(subject, notice_text(one), f"{number}-{int(one.began_at.timestamp())}")
    return "" if outcome.kind in ("taken", "warned") else outcome.cause or "The mail server refused the mail."


async def _post(archive: Archive, one: _Due, destination: Destination) -> str:
    event = notice_event(one)
    async with WEBHOOK.open(context_of(archive, destination)) as session:
        answer = await session.post(event, str(event["id"]))
    return "" if 200 <= answer.status < 300 else f"It answers {answer.status}."


def _moment(moment: dt.datetime) -> str:
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

"""Telling people about critical findings: by mail and webhook, over the destinations that the level of the finding names.

No patient data leaves: a notice says that something waits, how pressing it is and the number of its report.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Mapping
from typing import Any, Final

from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.errors import FileroomError
from fileroom.reports.critical import note_flagged
from fileroom.reports.critical_due import DueNotice, claim_notices, settle_notice
from fileroom.routing.destination_fields import Destination
from fileroom.routing.destinations import context_of, read_destinations
from fileroom.routing.mail_destination import MAIL
from fileroom.routing.webhook_destination import WEBHOOK

CRITICAL_INTERVAL_S: Final = 5.0
SEND_TIMEOUT_S: Final = 60.0


async def tell_critical(archive: Archive) -> int:
    """Note what came as critical, and tell whom it concerns; returns how many notices were tried.

    Raises NotAllowedError, DatabaseError.
    """
    require(Permission.SYSTEM_MANAGE)
    await note_flagged(archive)
    due = await claim_notices(archive)
    if not due:
        return 0
    destinations = await read_destinations(archive)
    for one in due:
        answers = await asyncio.gather(*(_tell_one(archive, one, destinations.get(name)) for name in one.to))
        await settle_notice(archive, one, dict(zip(one.to, answers, strict=True)))
    return len(due)


def critical_sentence(notice: DueNotice) -> str:
    """What the notice says."""
    if notice.is_overdue:
        return f"A finding of the level {notice.level} was not acknowledged in time: report {notice.report}."
    return f"A finding of the level {notice.level} waits to be acknowledged: report {notice.report}."


def critical_text(notice: DueNotice) -> str:
    """The words of the mail."""
    lines = [
        critical_sentence(notice),
        "",
        f"Noted:    {_moment(notice.noted_at)}",
        f"Due:      {_moment(notice.due_at)}",
    ]
    return "\n".join([*lines, "", "Read and acknowledge it under Reports > Critical findings.", ""])


def critical_event(notice: DueNotice) -> dict[str, Any]:
    """The document of the webhook."""
    return {
        "event": "critical_result",
        "id": f"critical-{notice.id}-{'overdue' if notice.is_overdue else 'noted'}",
        "critical_result": notice.id,
        "report": notice.report,
        "level": notice.level,
        "overdue": notice.is_overdue,
        "sentence": critical_sentence(notice),
        "noted_at": _moment(notice.noted_at),
        "due_at": _moment(notice.due_at),
    }


# --- helpers ---


async def _tell_one(archive: Archive, notice: DueNotice, destination: Destination | None) -> str:
    """Why somebody could not be told; empty when they were."""
    if destination is None or destination.kind not in (MAIL.name, WEBHOOK.name):
        return "There is no destination of that name to send notices to any more."
    if not destination.enabled:
        return "The destination is disabled."
    event: Mapping[str, Any] = critical_event(notice)
    number = str(event["id"])
    try:
        async with asyncio.timeout(SEND_TIMEOUT_S):
            if destination.kind == MAIL.name:
                async with MAIL.open(context_of(archive, destination)) as mail:
                    subject = f"[{archive.settings.aet}] {critical_sentence(notice)}"
                    outcome = await mail.post(
                        subject, critical_text(notice), f"{number}-{int(notice.noted_at.timestamp())}"
                    )
                return (
                    "" if outcome.kind in ("taken", "warned") else outcome.cause or "The mail server refused the mail."
                )
            async with WEBHOOK.open(context_of(archive, destination)) as session:
                answer = await session.post(dict(event), number)
            return "" if 200 <= answer.status < 300 else f"It answers {answer.status}."
    except TimeoutError:
        return f"It did not answer within {SEND_TIMEOUT_S:g} s."
    except FileroomError as error:
        return error.sentence


def _moment(moment: dt.datetime) -> str:
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

"""The life of a report: the one place that adds a version and says in which state the report is now.

    draft ──> preliminary ──> final ──> corrected ──> corrected ...
      └──────────────┴──────────┴───────────┴──> cancelled

A version is never changed. Whoever writes has asked for permission, and records it in the audit trail.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from fileroom.core.errors import ConflictError, NotFoundError, TooLargeError, told
from fileroom.reports.facts import ReportContent, ReportState
from fileroom.reports.report_rows import ReportVersion, addenda_as_json, read_versions, sections_as_json

TEXT_CHARS_MAX: Final = 1_000_000
"""Of all sections and addenda of a version: some three hundred pages."""
SECTIONS_MAX: Final = 200
ADDENDA_MAX: Final = 200
DOCUMENT_BYTES_MAX: Final = 64 * 1024 * 1024
"""Of a PDF or CDA document: as much as an HL7 message may have."""
WORDS_CHARS_MAX: Final = 100_000
"""How far a report is found by its words: a tsvector has a megabyte at most."""
REASON_CHARS_MAX: Final = 1000
NAME_CHARS_MAX: Final = 324
"""Of a PN: three groups of 64 characters, with room for senders who count otherwise (PS3.5 6.2)."""
STATE_WORDS: Final = {
    ReportState.DRAFT: told("draft"),
    ReportState.PRELIMINARY: told("preliminary"),
    ReportState.FINAL: told("final"),
    ReportState.CORRECTED: told("corrected"),
    ReportState.CANCELLED: told("cancelled"),
}
_FOLLOWS: Final = {
    ReportState.DRAFT: frozenset(ReportState) - {ReportState.CORRECTED},
    ReportState.PRELIMINARY: frozenset(
        (ReportState.PRELIMINARY, ReportState.FINAL, ReportState.CORRECTED, ReportState.CANCELLED)
    ),
    ReportState.FINAL: frozenset((ReportState.CORRECTED, ReportState.CANCELLED)),
    ReportState.CORRECTED: frozenset((ReportState.CORRECTED, ReportState.CANCELLED)),
    ReportState.CANCELLED: frozenset[ReportState](),
}
"""Of a report that came from elsewhere the final version may have been missed: corrected follows preliminary, too."""


def may_follow(now: ReportState, wanted: ReportState) -> bool:
    """Whether a version in state `wanted` may follow one in state `now`."""
    return wanted in _FOLLOWS[now]


async def write_version(
    connection: AsyncConnection[Any],
    report: int,
    state: ReportState,
    content: ReportContent,
    *,
    who: str,
    reason: str = "",
    message: int | None = None,
    sop_instance_uid: str = "",
    signed_at: dt.datetime | None = None,
) -> ReportVersion:
    """Add a version to a report (its row) in the caller's transaction, and move the report on to it; the version.

    `signed_at`: now where a signed state gives none. Raises NotFoundError, ConflictError (the state does not follow),
    TooLargeError, psycopg.Error.
    """
    _require_fits(content)
    cursor = await connection.execute(b"SELECT state, version FROM report WHERE id = %s FOR UPDATE", (report,))
    row = await cursor.fetchone()
    if row is None:
        raise NotFoundError(told("There is no such report."))
    now, last = ReportState(row[0]), int(row[1])
    if last and not may_follow(now, state):
        raise ConflictError(_why_not(report, now, state))
    await connection.execute(
        b"""INSERT INTO report_version (report, version, state, sections, addenda, document, document_type, author, signer,
                reason, message, sop_instance_uid, made_by, signed_at)
            VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, CASE WHEN %s THEN coalesce(%s, now()) END)""",
        (
            report,
            last + 1,
            state.value,
            Jsonb(sections_as_json(content)),
            Jsonb(addenda_as_json(content)),
            content.document or None,
            content.document_type,
            content.author[:NAME_CHARS_MAX],
            content.signer[:NAME_CHARS_MAX],
            reason[:REASON_CHARS_MAX],
            message,
            sop_instance_uid,
            who,
            state.is_signed,
            signed_at,
        ),
    )
    await connection.execute(
        b"""UPDATE report SET state = %s, version = %s, changed_at = now(), changed_by = %s,
                finished_at = CASE WHEN %s THEN coalesce(finished_at, %s, now()) ELSE finished_at END,
                words = to_tsvector('simple', %s) WHERE id = %s""",
        (state.value, last + 1, who, state.is_signed, signed_at, _searched(content), report),
    )
    return (await read_versions(connection, report, last + 1))[0]


# --- helpers ---


def _searched(content: ReportContent) -> str:
    texts = [part for one in content.sections for part in (one.heading, one.text)]
    return "\n".join([*texts, *(one.text for one in content.addenda)])[:WORDS_CHARS_MAX]


def _require_fits(content: ReportContent) -> None:
    chars = sum(len(one.heading) + len(one.text) for one in content.sections)
    chars += sum(len(one.text) for one in content.addenda)
    if chars > TEXT_CHARS_MAX or len(content.sections) > SECTIONS_MAX or len(content.addenda) > ADDENDA_MAX:
        raise TooLargeError(
            told(
                "The report has {chars} characters in {sections} sections and {addenda} addenda; at most {most} characters, "
                "{sections_max} sections and {addenda_max} addenda are kept.",
                chars=chars,
                sections=len(content.sections),
                addenda=len(content.addenda),
                most=TEXT_CHARS_MAX,
                sections_max=SECTIONS_MAX,
                addenda_max=ADDENDA_MAX,
            )
        )
    if len(content.document) > DOCUMENT_BYTES_MAX:
        raise TooLargeError(
            told(
                "The document of the report has {count} bytes; at most {most} are kept.",
                count=len(content.document),
                most=DOCUMENT_BYTES_MAX,
            )
        )


def _why_not(report: int, now: ReportState, wanted: ReportState) -> str:
    if now is ReportState.CANCELLED:
        return told("Report {number} was cancelled; nothing follows that. Write or send a new one.", number=report)
    return told(
        "Report {number} is {now} already: {wanted} does not follow that.",
        number=report,
        now=STATE_WORDS[now],
        wanted=STATE_WORDS[wanted],
    )

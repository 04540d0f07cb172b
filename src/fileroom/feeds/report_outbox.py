"""Reports told to feeds out: each version once, in the order of versions, to every feed that asks for reports of its source.

A trigger notes every version in `report_task`; a round of the HL7 worker queues its messages. What was told to whom is a row
of `report_output`, written in the transaction that queues the message. A report is not told to the host that its message came
from.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import psycopg
import structlog
from psycopg import AsyncConnection
from psycopg.rows import dict_row

from fileroom.admin.audit import record
from fileroom.admin.audit_events import node_changed
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.errors import ConflictError, DatabaseError, FileroomError, NotFoundError, told
from fileroom.feeds.feed_fields import Outgoing
from fileroom.feeds.feeds import FeedSet, read_feeds
from fileroom.feeds.outbox import queue_message
from fileroom.feeds.report_messages import ToTell, document_message, result_message
from fileroom.reports.encapsulated import PDF
from fileroom.reports.facts import ReportState
from fileroom.reports.outputs import document_of
from fileroom.reports.report_rows import REPORT_COLUMNS, ReportRow, ReportVersion, read_versions, report_of
from fileroom.reports.reports import get_report
from fileroom.reports.subject import Subject, read_subject
from fileroom.tasks.loop import retry_delay

REPORTS_INTERVAL_S: Final = 1.0
PDF_BYTES_MAX: Final = 32 * 1024 * 1024
"""Of a document that goes along: a third more as Base64. A larger one is left out, with its text told."""
ATTEMPTS_MAX: Final = 50
"""Some two days: what no message can be made of by then is left, and told of in the log."""
_WHO: Final = "reports"
_REASON_CHARS_MAX: Final = 500
_MESSAGES: Final = {"oru": result_message, "mdm": document_message}

_log: Final = structlog.get_logger(__name__)


async def tell_reports(archive: Archive, feeds: FeedSet) -> int:
    """Queue the messages of one version that is due; 1 if there was one. Raises NotAllowedError, DatabaseError."""
    require(Permission.SYSTEM_MANAGE)
    try:
        async with archive.pool.connection() as connection, connection.transaction():
            task = await _claim(connection)
            if task is None:
                return 0
            try:
                async with connection.transaction():
                    await _tell(archive, connection, feeds, task["report"], task["version"])
            except (DatabaseError, psycopg.OperationalError):
                raise
            except Exception as error:  # noqa: BLE001 - one that nobody has foreseen must not stand in the way of the others
                await _later(connection, task, str(error) if isinstance(error, FileroomError) else type(error).__name__)
            else:
                await connection.execute(b"DELETE FROM report_task WHERE id = %s", (task["id"],))
    except psycopg.Error as error:
        raise DatabaseError(f"Reports cannot be told: {type(error).__name__}.") from error
    return 1


async def send_report(archive: Archive, number: int, feed: str) -> int:
    """Tell a feed the newest version of a report once more, behind what waits; its number in the outbox.

    Raises NotFoundError (report or feed), ConflictError for a draft, NotAllowedError, DatabaseError.
    """
    who = require(Permission.MESSAGE_MANAGE).name
    report = await get_report(archive, number)
    feeds = await read_feeds(archive.pool)
    to = next((one for one in feeds.outgoing if one.name == feed), None)
    if to is None:
        raise NotFoundError(told("There is no feed out {name} in force.", name=feed))
    if report.state is ReportState.DRAFT:
        raise ConflictError(told("Report {number} is a draft: only its author reads it.", number=number))
    subject = await read_subject(archive, report)
    cause = _cause(number, report.version)
    async with archive.pool.connection() as connection, connection.transaction():
        cursor = await connection.execute(
            b"SELECT count(*) FROM hl7_outgoing WHERE feed = %s AND (cause = %s OR cause LIKE %s)",
            (to.name, cause, f"{cause} again %"),
        )
        row = await cursor.fetchone()
        version = (await read_versions(connection, number, report.version, with_documents=True))[0]
        again = int(row[0]) if row else 0
        await _queue(
            archive, connection, replace(to, reports=_kind(to)), report, version, subject, again=again, who=who
        )
        cursor = await connection.execute(b"SELECT max(id) FROM hl7_outgoing WHERE feed = %s", (to.name,))
        made = await cursor.fetchone()
        await record(connection, node_changed(feed, f"Report {number} sent again: version {report.version}"))
    return int(made[0]) if made and made[0] else 0


# --- helpers ---


async def _claim(connection: AsyncConnection[Any]) -> Mapping[str, Any] | None:
    """The first version that is due and has none of the same report before it; nobody else takes it meanwhile."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            b"""SELECT t.id, t.attempts, v.report, v.version FROM report_task t JOIN report_version v ON v.id = t.report_version
                WHERE t.what = 'messages' AND t.due_at <= now()
                  AND NOT EXISTS (SELECT FROM report_version w JOIN report_task e ON e.report_version = w.id
                      WHERE w.report = v.report AND w.version < v.version AND e.what = 'messages')
                ORDER BY t.due_at, t.id LIMIT 1 FOR UPDATE OF t SKIP LOCKED"""
        )
        return await cursor.fetchone()


async def _later(connection: AsyncConnection[Any], task: Mapping[str, Any], reason: str) -> None:
    _log.warning("report_not_told", report=task["report"], version=task["version"], reason=reason)
    if task["attempts"] + 1 >= ATTEMPTS_MAX:
        await connection.execute(b"DELETE FROM report_task WHERE id = %s", (task["id"],))
        return
    await connection.execute(
        b"""UPDATE report_task SET attempts = attempts + 1, reason = %s, due_at = now() + make_interval(secs => %s)
            WHERE id = %s""",
        (reason[:_REASON_CHARS_MAX], retry_delay(task["attempts"] + 1), task["id"]),
    )


async def _tell(
    archive: Archive, connection: AsyncConnection[Any], feeds: FeedSet, number: int, version_number: int
) -> None:
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(b"SELECT " + REPORT_COLUMNS + b" FROM report r WHERE r.id = %s", (number,))
        row = await cursor.fetchone()
    if row is None:
        return
    report = report_of(row)
    wanted = [one for one in feeds.outgoing if one.tells_report_of(report.source.value, report.source_name)]
    versions = await read_versions(connection, number, version_number, with_documents=True) if wanted else []
    if not versions:
        return
    version = versions[0]
    from_host = await _host_of(connection, version)
    to = [one for one in wanted if _takes(one, version) and one.host != from_host]
    subject = await read_subject(archive, report) if to else None
    for feed in to:
        if subject is not None:
            await _queue(archive, connection, feed, report, version, subject)


def _takes(feed: Outgoing, version: ReportVersion) -> bool:
    return version.state is not ReportState.DRAFT and (
        feed.report_preliminary or version.state is not ReportState.PRELIMINARY
    )


async def _queue(
    archive: Archive,
    connection: AsyncConnection[Any],
    feed: Outgoing,
    report: ReportRow,
    version: ReportVersion,
    subject: Subject,
    *,
    again: int = 0,
    who: str = _WHO,
) -> None:
    """Put one message in the outbox, and write down that it was told."""
    before = await _told_before(connection, feed, report, version)
    if version.state is ReportState.CANCELLED and before is None and not again:
        return  # nobody has to be told that something is not valid that they never got
    pdf = await _pdf(archive, feed, report, version, subject)
    to_tell = ToTell(
        report, version, subject, before, pdf, with_text=feed.report_document != "pdf" or not pdf, again=again
    )
    message = _MESSAGES[feed.reports](to_tell, archive.now().astimezone())
    cause = _cause(report.id, version.version) + (f" again {again}" if again else "")
    if not await queue_message(connection, feed.name, message, cause=cause, who=who):
        return
    await connection.execute(
        b"""INSERT INTO report_output (report, version, kind, feed, result) VALUES (%s, %s, %s, %s, %s)
            ON CONFLICT (report, version, kind, feed) DO UPDATE SET result = excluded.result, made_at = now()""",
        (report.id, version.version, feed.reports, feed.name, message.control_id),
    )


async def _pdf(archive: Archive, feed: Outgoing, report: ReportRow, version: ReportVersion, subject: Subject) -> bytes:
    """As it was received or is printed. What came as nothing but a PDF goes along with a feed of texts, too."""
    content = version.content
    only_document = content.document_type == PDF and not content.sections and not content.addenda
    if feed.report_document == "text" and not only_document:
        return b""
    language = archive.settings.report_language
    document, media_type = await asyncio.to_thread(document_of, report, version, subject, language=language)
    return document if media_type == PDF and len(document) <= PDF_BYTES_MAX else b""


async def _told_before(
    connection: AsyncConnection[Any], feed: Outgoing, report: ReportRow, version: ReportVersion
) -> ReportVersion | None:
    """The version that the feed was told last, before this one."""
    cursor = await connection.execute(
        b"SELECT max(version) FROM report_output WHERE report = %s AND kind = %s AND feed = %s AND version < %s",
        (report.id, feed.reports, feed.name, version.version),
    )
    row = await cursor.fetchone()
    if row is None or row[0] is None:
        return None
    return (await read_versions(connection, report.id, int(row[0])))[0]


async def _host_of(connection: AsyncConnection[Any], version: ReportVersion) -> str:
    """Where the message came from that the version was read from."""
    if version.message is None:
        return ""
    cursor = await connection.execute(b"SELECT address FROM hl7_message WHERE id = %s", (version.message,))
    row = await cursor.fetchone()
    return str(row[0]).partition("%")[0] if row is not None else ""


def _kind(feed: Outgoing) -> str:
    """How a feed is told that gets no reports by itself."""
    return feed.reports if feed.reports != "none" else "oru"


def _cause(report: int, version: int) -> str:
    return f"report {report} version {version}"

"""Carries out orders to fetch studies (`routing.fetch`), in the task worker, within the budgets of their sources.

An order is claimed for half a minute at a time and renewed while it runs, so that another worker goes on with it when this
one was killed; what has come already is known and not stored twice. Who waits for a study goes before what is prefetched.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Any, Final

import structlog
from psycopg import AsyncConnection

from fileroom.admin.audit_events import imported
from fileroom.admin.audit_message import StudyReference
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.errors import DatabaseError, FileroomError, PeerRefusedError
from fileroom.index.known_studies import instances_here
from fileroom.routing.fetch import who_has
from fileroom.routing.fetch_ways import Fetched, fetch_study
from fileroom.routing.source_calls import reason_of
from fileroom.routing.sources import Source, read_sources
from fileroom.tasks.loop import retry_delay

CLAIM_S: Final = 30
WRITE_INTERVAL_S: Final = 1.0
"""How old the counts are that people see."""
ATTEMPTS_MAX: Final = {"asked": 3, "prefetch": 10}
"""Somebody who waits is told soon; ahead of time there is half a day for a source to come back."""
ASKED_RETRY_S: Final = 2.0
FAILED_S: Final = 120.0
"""For so long a source that broke while it gave a study comes after the others that have it."""
_CAUSE_CHARS_MAX: Final = 500
_CLAIM_LOCK: Final = 0x66657463
"""An advisory lock: budgets are counted by one claimant at a time."""

_log: Final = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Job:
    id: int
    study_uid: str
    source: str
    reason: str
    expected: int
    attempts: int


async def fetch_due(archive: Archive, stop: asyncio.Event) -> int:
    """Carry out one order; returns 1, or 0 when none is due. Raises NotAllowedError, DatabaseError."""
    require(Permission.SYSTEM_MANAGE)
    sources = {source.name: source for source in await read_sources(archive)}
    job = await _claim(archive, sources)
    if job is None:
        return 0
    source = sources.get(job.source)
    if source is None:
        await _end(archive, job, "failed", f"The source {job.source} is gone or disabled.")
        return 1
    fetched = Fetched()
    work = asyncio.create_task(_fetch(archive, source, job, fetched))
    stopped = asyncio.create_task(stop.wait())
    renewing = asyncio.create_task(_renew(archive, job, fetched, work))
    try:
        await asyncio.wait([work, stopped], return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            await _release(archive, job)
            return 1
        await _settle(archive, source, job, fetched, work)
    finally:
        for task in (stopped, renewing, work):
            task.cancel()
        await asyncio.gather(stopped, renewing, work, return_exceptions=True)
    return 1


async def _fetch(archive: Archive, source: Source, job: _Job, fetched: Fetched) -> None:
    await fetch_study(archive, source, job.study_uid, fetched)
    here = await instances_here(archive.pool, job.study_uid)
    if not here:
        raise PeerRefusedError(f"{source.shown} gave nothing of the study.")
    if fetched.failed:
        raise PeerRefusedError(f"{fetched.failed} objects could not be kept: {fetched.refused}")
    if here < job.expected:
        raise PeerRefusedError(f"{source.shown} gave {here} of {job.expected} objects.")


async def _settle(archive: Archive, source: Source, job: _Job, fetched: Fetched, work: asyncio.Task[None]) -> None:
    error = None if work.cancelled() else work.exception()
    await _write(archive, job, fetched)
    if work.cancelled():
        return  # somebody has cancelled the order
    if error is None:
        await _end(archive, job, "done", "")
        archive.audit.note(imported([StudyReference(job.study_uid)], f"fetched from the archive {source.name}"))
        _log.info("study_fetched", job=job.id, source=source.name, objects=fetched.objects)
        return
    if not isinstance(error, FileroomError):
        _log.error("fetch_failed", job=job.id, error_type=type(error).__name__, exc_info=error)
    cause = reason_of(source, error)[:_CAUSE_CHARS_MAX]
    if job.attempts >= ATTEMPTS_MAX[job.reason]:
        await _end(archive, job, "failed", cause)
        return
    source_name, expected = job.source, job.expected
    delay_s = ASKED_RETRY_S * job.attempts if job.reason == "asked" else retry_delay(job.attempts)
    if job.reason == "asked":
        archive.silent.note(_at(job, job.source), cause, FAILED_S)
        # The next source that has it, at once; where there is none, this one once more.
        others = [
            one for one in await who_has(archive, job.study_uid) if not archive.silent.reason(_at(job, one.source))[0]
        ]
        if others:
            source_name, expected, delay_s = others[0].source, others[0].instances, 0.0
            _log.warning("fetch_goes_elsewhere", job=job.id, source=job.source, next=source_name, reason=cause)
    async with archive.pool.connection() as connection:
        await connection.execute(
            b"""UPDATE fetch_job SET state = 'waiting', cause = %s, due_at = now() + make_interval(secs => %s),
                claimed_until = '-infinity', source = %s, expected = %s WHERE id = %s AND state = 'running'""",
            (cause, delay_s, source_name, expected, job.id),
        )


def _at(job: _Job, source: str) -> str:
    """What a failed fetch is remembered by."""
    return f"fetch {job.study_uid} {source}"


# --- rows ---


async def _claim(archive: Archive, sources: dict[str, Source]) -> _Job | None:
    async with archive.pool.connection() as connection, connection.transaction():
        await connection.execute(b"SELECT pg_advisory_xact_lock(%s)", (_CLAIM_LOCK,))
        full, spent = await _bounded(connection, sources)
        cursor = await connection.execute(
            b"""UPDATE fetch_job SET state = 'running', attempts = attempts + 1, started_at = coalesce(started_at, now()),
                claimed_until = now() + make_interval(secs => %s) WHERE id = (
                  SELECT id FROM fetch_job WHERE state IN ('waiting', 'running') AND due_at <= now()
                    AND claimed_until < now() AND NOT source = ANY(%s) AND NOT (reason = 'prefetch' AND source = ANY(%s))
                  ORDER BY reason, id LIMIT 1 FOR UPDATE SKIP LOCKED)
                RETURNING id, study_instance_uid, source, reason, expected, attempts""",
            (CLAIM_S, full, spent),
        )
        row = await cursor.fetchone()
    return None if row is None else _Job(*row)


async def _bounded(connection: AsyncConnection[Any], sources: dict[str, Source]) -> tuple[list[str], list[str]]:
    """Sources that are busy to their limit, and those from which no more may be prefetched now."""
    cursor = await connection.execute(
        b"""SELECT source, count(*) FILTER (WHERE state = 'running' AND claimed_until > now()),
              count(*) FILTER (WHERE reason = 'prefetch' AND started_at > now() - interval '1 hour'),
              coalesce(sum(bytes) FILTER (WHERE reason = 'prefetch'), 0)::bigint
            FROM fetch_job WHERE started_at > now() - interval '1 day' GROUP BY source"""
    )
    full, spent = [], []
    for name, running, hourly, daily_bytes in await cursor.fetchall():
        source = sources.get(name)
        if source is None:
            continue
        if running >= source.budget.associations:
            full.append(name)
        if hourly >= source.budget.hourly or daily_bytes >= source.budget.bytes_per_day:
            spent.append(name)
    return full, spent


async def _renew(archive: Archive, job: _Job, fetched: Fetched, work: asyncio.Task[None]) -> None:
    """Keep the claim and tell how far it is; end the work when the order was cancelled."""
    while True:
        await asyncio.sleep(WRITE_INTERVAL_S)
        try:
            if not await _write(archive, job, fetched):
                work.cancel()
                return
        except DatabaseError as error:
            _log.warning("fetch_not_written", job=job.id, reason=str(error))


async def _write(archive: Archive, job: _Job, fetched: Fetched) -> bool:
    """Whether the order still stands."""
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(
            b"""UPDATE fetch_job SET objects = greatest(objects, %s), bytes = greatest(bytes, %s),
                claimed_until = now() + make_interval(secs => %s) WHERE id = %s AND state = 'running' RETURNING id""",
            (fetched.objects, fetched.bytes, CLAIM_S, job.id),
        )
        return await cursor.fetchone() is not None


async def _release(archive: Archive, job: _Job) -> None:
    """We are asked to stop: another worker goes on at once."""
    with contextlib.suppress(DatabaseError):
        async with archive.pool.connection() as connection:
            await connection.execute(
                b"""UPDATE fetch_job SET state = 'waiting', claimed_until = '-infinity', attempts = attempts - 1
                    WHERE id = %s AND state = 'running'""",
                (job.id,),
            )


async def _end(archive: Archive, job: _Job, state: str, cause: str) -> None:
    """The order is over; how much a C-MOVE brought is counted now."""
    async with archive.pool.connection() as connection:
        await connection.execute(
            b"""UPDATE fetch_job f SET state = %s, cause = %s, finished_at = now(), due_at = now(),
                objects = greatest(f.objects, h.objects), bytes = greatest(f.bytes, h.bytes)
                FROM (SELECT count(i.id) AS objects, coalesce(sum(i.file_bytes), 0) AS bytes FROM study s
                      JOIN series e ON e.study = s.id JOIN instance i ON i.series = e.id
                      WHERE s.study_instance_uid = %s) h WHERE f.id = %s AND f.state = 'running'""",
            (state, cause, job.study_uid, job.id),
        )

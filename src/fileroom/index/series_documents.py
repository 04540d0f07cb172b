"""Series and their metadata documents: which are due, where they lie, which are true.

A document is true while `documented` holds; every change of the series or its corrections takes that away. A series that
is documented without a key has no document on purpose: it is answered from its headers.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row

from fileroom.db.pool import Pool
from fileroom.index.visibility import Visibility, study_is_visible

_LOCK_CLASS = 0x5345  # "SE": the first half of our advisory locks, so that they meet no others


@dataclass(frozen=True, slots=True)
class SeriesRow:
    """A series as far as its document goes."""

    id: int
    study_instance_uid: str
    series_instance_uid: str
    instance_count: int
    changed_at: dt.datetime
    documented: bool
    document_key: str | None


async def series_of_study(
    pool: Pool, study_uid: str, series_uid: str | None, visibility: Visibility
) -> list[SeriesRow]:
    """The series of a study by number; only one of them with `series_uid`. None of a study that may not be seen."""
    visible = study_is_visible(visibility)
    text = f"""SELECT e.id, s.study_instance_uid, e.series_instance_uid, e.instance_count, e.changed_at, e.documented,
                      e.document_key
               FROM series e JOIN study s ON s.id = e.study
               WHERE s.study_instance_uid = %s AND (%s::text IS NULL OR e.series_instance_uid = %s)
               AND {visible.text or "true"} ORDER BY e.series_number, e.id"""
    async with pool.connection() as connection, connection.cursor(row_factory=class_row(SeriesRow)) as cursor:
        await cursor.execute(text.encode(), (study_uid, series_uid, series_uid, *visible.parameters))
        return await cursor.fetchall()


async def stable_series(pool: Pool, quiet_s: float, limit: int) -> list[SeriesRow]:
    """Series without a true document to which nothing has come for `quiet_s`."""
    async with pool.connection() as connection, connection.cursor(row_factory=class_row(SeriesRow)) as cursor:
        await cursor.execute(
            b"""SELECT e.id, s.study_instance_uid, e.series_instance_uid, e.instance_count, e.changed_at, e.documented,
                       e.document_key
                FROM series e JOIN study s ON s.id = e.study
                WHERE NOT e.documented AND e.changed_at < now() - make_interval(secs => %s) ORDER BY e.id LIMIT %s""",
            (quiet_s, limit),
        )
        return await cursor.fetchall()


async def claim_series(connection: AsyncConnection[Any], series: SeriesRow) -> bool:
    """Whether this transaction is the only one that documents the series now. Receiving is not held up by it."""
    cursor = await connection.execute(b"SELECT pg_try_advisory_xact_lock(%s, %s)", (_LOCK_CLASS, series.id % 2**31))
    row = await cursor.fetchone()
    return bool(row and row[0])


async def put_document(connection: AsyncConnection[Any], series: SeriesRow, key: str | None) -> bool:
    """Let the document at `key` be that of the series, unless the series has changed since `series` was read.

    The document that it replaces is doomed, or the new one if it comes too late.
    """
    cursor = await connection.execute(
        b"UPDATE series SET documented = true, document_key = %s WHERE id = %s AND NOT documented AND changed_at = %s",
        (key, series.id, series.changed_at),
    )
    is_true = cursor.rowcount > 0
    doomed = series.document_key if is_true else key
    if doomed:
        await connection.execute(
            b"INSERT INTO doomed_object (storage_key) VALUES (%s) ON CONFLICT DO NOTHING", (doomed,)
        )
    return is_true


async def is_document(pool: Pool, key: str) -> bool:
    """Whether a series, or the list of what is to be removed, speaks of the document at `key`."""
    async with pool.connection() as connection:
        cursor = await connection.execute(
            b"""SELECT EXISTS (SELECT 1 FROM series WHERE document_key = %s)
                    OR EXISTS (SELECT 1 FROM doomed_object WHERE storage_key = %s)""",
            (key, key),
        )
        row = await cursor.fetchone()
        return bool(row and row[0])

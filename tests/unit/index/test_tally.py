"""The tally of stored bytes agrees with the rows whatever is added, deleted and emptied in between."""

from __future__ import annotations

import psycopg
import pytest

from fileroom.archive.services import Archive
from fileroom.index import tally


def _add(database_url: str, sizes: list[int], *, age_s: int = 3600) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        patient = connection.execute(
            "INSERT INTO patient (identity) VALUES (gen_random_uuid()::text) RETURNING id"
        ).fetchone()
        assert patient is not None
        study = connection.execute("INSERT INTO study (patient) VALUES (%s) RETURNING id", patient).fetchone()
        series = connection.execute("INSERT INTO series (study) VALUES (%s) RETURNING id", study).fetchone()
        assert series is not None
        for size in sizes:
            connection.execute(
                """INSERT INTO instance (series, transfer_syntax_uid, storage_key, file_bytes, dataset_offset, digest,
                       received_at, received_by)
                   VALUES (%s, '', gen_random_uuid()::text, %s, 0, '', now() - make_interval(secs => %s), '')""",
                (series[0], size, age_s),
            )


def _execute(database_url: str, statement: bytes) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(statement)


async def _count_all(archive: Archive) -> None:
    while await tally.count_on(archive.pool):
        pass


async def test_rows_are_counted_once_and_deleted_ones_subtracted(
    archive: Archive, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await tally.stored_bytes(archive.pool) == 0
    monkeypatch.setattr(tally, "ROWS_AT_ONCE", 2)
    _add(database_url, [1, 10, 100, 1000, 10000])
    await _count_all(archive)
    await _count_all(archive)
    assert await tally.stored_bytes(archive.pool) == 11111
    _execute(database_url, b"DELETE FROM instance WHERE file_bytes IN (10, 1000)")
    _add(database_url, [7])
    _execute(database_url, b"DELETE FROM instance WHERE file_bytes = 7")  # before it was counted
    _add(database_url, [5])
    await _count_all(archive)
    assert await tally.stored_bytes(archive.pool) == 10106
    await _count_all(archive)
    assert await tally.stored_bytes(archive.pool) == 10106


async def test_young_rows_wait_and_are_told_all_the_same(archive: Archive, database_url: str) -> None:
    _add(database_url, [1, 2])
    _add(database_url, [4], age_s=0)
    _add(database_url, [8])  # after a young one: its number is larger
    assert await tally.count_on(archive.pool) == 2
    assert await tally.count_on(archive.pool) == 0
    assert await tally.stored_bytes(archive.pool) == 15


async def test_an_emptied_index_begins_anew(archive: Archive, database_url: str) -> None:
    _add(database_url, [1, 2])
    await _count_all(archive)
    _execute(database_url, b"TRUNCATE instance")
    assert await tally.stored_bytes(archive.pool) == 0
    _add(database_url, [4])
    await _count_all(archive)
    assert await tally.stored_bytes(archive.pool) == 4

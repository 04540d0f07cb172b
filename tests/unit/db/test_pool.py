"""Connections that are lost are replaced, and nobody waits for ever for a database that is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest

from fileroom.app.services import repeatables
from fileroom.core.errors import DatabaseError
from fileroom.db import pool as pool_module
from fileroom.db.embedded import EmbeddedPostgres
from fileroom.db.pool import Pool, open_pool
from fileroom.db.schema import migrate
from fileroom.index.write import IndexWriter, Inserted, InstanceRow


@pytest.fixture
async def pool(server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pool]:
    monkeypatch.setattr(pool_module, "POOL_WAIT_TIMEOUT_S", 0.2)
    opened = await open_pool(server.url)
    yield opened
    await opened.close()


async def value(pool: Pool, statement: str, *parameters: object) -> object:
    async with pool.connection() as connection:
        row = await (await connection.execute(statement.encode(), parameters)).fetchone()
    return row[0] if row else None


async def eventually(pool: Pool, statement: str) -> object:
    """What the database says once it answers again."""
    async with asyncio.timeout(15):
        while True:
            try:
                return await value(pool, statement)
            except DatabaseError:
                continue


async def test_statements_are_ended_after_a_while(pool: Pool) -> None:
    assert await value(pool, "SHOW statement_timeout") == "1min"


async def test_each_statement_is_a_transaction_of_its_own(pool: Pool) -> None:
    async with pool.connection() as connection:
        assert connection.autocommit


async def test_a_connection_that_was_closed_while_idle_is_not_handed_out(pool: Pool) -> None:
    first = await value(pool, "SELECT pg_backend_pid()")
    with psycopg.connect(pool.conninfo, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", (first,))
    assert await value(pool, "SELECT pg_backend_pid()") != first


async def test_while_the_database_is_away_it_says_so_and_afterwards_it_works_by_itself(
    server: EmbeddedPostgres, pool: Pool
) -> None:
    assert await value(pool, "SELECT 1") == 1
    server.stop()
    with pytest.raises(DatabaseError, match=r"does not answer.*Try again later"):
        await value(pool, "SELECT 1")
    server.start()
    assert await eventually(pool, "SELECT 1") == 1


async def test_a_connection_lost_in_the_middle_is_told(server: EmbeddedPostgres, pool: Pool) -> None:
    with pytest.raises(DatabaseError, match="does not answer"):
        async with pool.connection() as connection:
            pid = connection.info.backend_pid
            with psycopg.connect(server.url, autocommit=True) as other:
                other.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
            await connection.execute(b"SELECT 1")
    assert await eventually(pool, "SELECT 1") == 1


async def test_what_is_wrong_with_a_statement_is_not_taken_for_a_lost_connection(pool: Pool) -> None:
    with pytest.raises(psycopg.errors.SyntaxError):
        await value(pool, "NONSENSE")


async def test_the_index_writer_goes_on_after_the_database_was_away(server: EmbeddedPostgres) -> None:
    migrate(server.url, repeatables())
    writer = IndexWriter(server.url)
    await writer.start()
    try:
        assert await writer.write(_row(1)) == Inserted()
        server.stop()
        for number in (2, 3):
            with pytest.raises(DatabaseError):
                await writer.write(_row(number))
        server.start()
        assert await writer.write(_row(4)) == Inserted()
    finally:
        await writer.stop()


def _row(number: int) -> InstanceRow:
    json = f"""{{"identity": "id:P|", "patient": {{}}, "study": {{"study_instance_uid": "1"}},
        "series": {{"series_instance_uid": "1.1"}},
        "instance": {{"sop_instance_uid": "1.1.{number}", "sop_class_uid": "1.2", "transfer_syntax_uid": "1.2",
            "storage_key": "objects/{number}", "file_bytes": 1, "dataset_offset": 1, "digest": "aa",
            "received_by": "test", "sender": ""}}}}"""
    return InstanceRow("1", "1.1", f"1.1.{number}", json.encode())

"""What tests of the rooms above the database share: one embedded PostgreSQL, and an empty archive for each test."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest

from fileroom.app.services import repeatables
from fileroom.archive.services import Archive
from fileroom.core.clock import system_now
from fileroom.core.settings import Settings
from fileroom.db.embedded import EmbeddedPostgres
from fileroom.db.pool import open_pool
from fileroom.db.schema import migrate
from fileroom.index.write import IndexWriter
from fileroom.storage.local import LocalStore

_KEPT_TABLES = ("alembic_version", "schema_repeatable")


@pytest.fixture(scope="session", autouse=True)
def _this_machine_need_not_log_in() -> Iterator[None]:
    """Tests of what the web port does need no token; those of who may enter say `web_login` themselves.

    And they come by plain HTTP, from wherever they say; tests of that say `web_plain_http` themselves.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FILEROOM_WEB_LOGIN", "beyond-loopback")
        patch.setenv("FILEROOM_WEB_PLAIN_HTTP", "everywhere")
        yield


@pytest.fixture(scope="session")
def database_url() -> Iterator[str]:
    """A migrated database of this test session."""
    # Not in pytest's own folder: the server may run as another account, which cannot pass through that.
    folder = Path(tempfile.mkdtemp(prefix="fileroom-tests-"))
    folder.chmod(0o755)
    server = EmbeddedPostgres(folder / "postgres")
    try:
        server.start()
        _forget_durability(server.url)
        migrate(server.url, repeatables())
        yield server.url
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def empty_database(database_url: str) -> str:
    """The database with the schema and no rows."""
    _empty_tables(database_url)
    return database_url


@pytest.fixture
async def archive(empty_database: str, tmp_path: Path) -> AsyncIterator[Archive]:
    """An empty archive: emptied tables, objects in the test's own folder."""
    writer = IndexWriter(empty_database)
    await writer.start()
    pool = await open_pool(empty_database)
    try:
        yield Archive(LocalStore(tmp_path / "store"), writer, pool, Settings(), system_now)
    finally:
        await writer.stop()
        await pool.close()


def _forget_durability(database_url: str) -> None:
    """Nobody pulls the plug on a test: without flushes, emptying the tables takes a few milliseconds."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            connection.execute(f"ALTER SYSTEM SET {setting} = off".encode())
        connection.execute("SELECT pg_reload_conf()")


def _empty_tables(database_url: str) -> None:
    """Only those that have rows, and by DELETE: a TRUNCATE of all takes ten times as long."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        rows = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        names = [name for (name,) in rows if name not in _KEPT_TABLES]
        looks = " UNION ALL ".join(f"(SELECT '{name}' FROM {name} LIMIT 1)" for name in names)
        full = [name for (name,) in connection.execute(looks.encode()).fetchall()]
        connection.execute("SET session_replication_role = replica")  # in any order
        for name in full:
            connection.execute(f"DELETE FROM {name}".encode())
        connection.execute(
            """SELECT setval(pg_get_serial_sequence(c.relname, a.attname), 1, false)
               FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
               WHERE a.attidentity <> '' AND c.relname = ANY(%s)""",
            (full,),
        )

"""From settings to the database alone: for the supervisor, and for commands that need no more than rows.

It stands apart from `app.services` so that those commands do not load the whole archive.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator

from fileroom.core.settings import Settings
from fileroom.db.embedded import EmbeddedPostgres
from fileroom.db.pool import Pool, open_pool
from fileroom.db.schema import is_current


def embedded_postgres(settings: Settings) -> EmbeddedPostgres | None:
    """The embedded server, None where the settings name another."""
    if settings.database_url.get_secret_value():
        return None
    return EmbeddedPostgres(settings.data / "postgres")


def database_url(settings: Settings) -> str:
    """Where the database is."""
    embedded = embedded_postgres(settings)
    return embedded.url if embedded else settings.database_url.get_secret_value()


def require_tables(settings: Settings) -> None:
    """Bring the schema up to this code if its tables are not. Functions for the ingest path may be of an older one."""
    if not is_current(database_url(settings)):
        # Those functions are made from the attribute table: this loads the index and pydicom, for once.
        from fileroom.app.services import migrate_database

        migrate_database(settings)


@contextlib.contextmanager
def running_database(settings: Settings, prepare: Callable[[Settings], None] = require_tables) -> Iterator[None]:
    """For commands: the embedded database is started if it is not running, and stopped again.

    `prepare` sees to its schema.
    """
    embedded = embedded_postgres(settings)
    if embedded:
        embedded.start()
    try:
        prepare(settings)
        yield
    finally:
        if embedded:
            embedded.stop()


@contextlib.asynccontextmanager
async def connected_pool(settings: Settings) -> AsyncIterator[Pool]:
    """Connections to the database, which must be running, for as long as the block lasts."""
    pool = await open_pool(database_url(settings))
    try:
        yield pool
    finally:
        await pool.close()

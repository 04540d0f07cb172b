"""A pool of connections for everything that is not the ingest path."""

from __future__ import annotations

import contextlib
import select
from collections.abc import AsyncIterator
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from fileroom.core.errors import DatabaseError
from fileroom.core.limits import QUERY_TIMEOUT_S

POOL_CONNECTIONS_MAX: Final = 16
"""Per process. Searches beyond it wait their turn: more at once only makes all of them slow on a shared server."""
POOL_WAIT_TIMEOUT_S: Final = 10.0
LOST_PEER_S: Final = 30
"""A database whose machine is gone sends no farewell: the system's own probes notice it within about this time."""
_KEEP_ALIVE: Final = {
    "keepalives_idle": LOST_PEER_S // 3,
    "keepalives_interval": LOST_PEER_S // 6,
    "keepalives_count": 4,
    "tcp_user_timeout": LOST_PEER_S * 1000,  # libpq takes it in milliseconds
}
_CONNECTION_LOST: Final = ("08", "57P", "53300")
"""SQLSTATEs: connection exceptions, the server shuts down or starts up, it has too many connections."""


class Pool(AsyncConnectionPool[AsyncConnection[Any]]):
    """Connections to the database, which may be away for a while."""

    @contextlib.asynccontextmanager
    async def connection(  # psycopg's own signature
        self,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> AsyncIterator[AsyncConnection[Any]]:
        """A connection for the length of the block. Raises DatabaseError when there is none or when it is lost."""
        try:
            async with super().connection(timeout) as connection:
                yield connection
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            if error.sqlstate and not error.sqlstate.startswith(_CONNECTION_LOST):
                raise  # A deadlock, a cancelled statement: whoever made the statement knows what to do.
            raise DatabaseError(
                f"The database does not answer ({type(error).__name__}). Try again later; see /readyz."
            ) from error


async def open_pool(database_url: str) -> Pool:
    """Open a pool. It connects in the background and again by itself after the database was away."""
    pool = Pool(
        database_url,
        kwargs=dict(_KEEP_ALIVE),
        min_size=1,
        max_size=POOL_CONNECTIONS_MAX,
        timeout=POOL_WAIT_TIMEOUT_S,
        reconnect_timeout=5.0,
        check=_check,
        configure=_configure,
        open=False,
    )
    await pool.open()
    return pool


async def _configure(connection: AsyncConnection[Any]) -> None:
    await connection.set_autocommit(True)
    # A search that nobody waits for any more must not run for ever, whatever its shape.
    # Searches differ too much in what they match: a plan made for any value, which PostgreSQL turns to after some repeats of
    # a prepared statement, read a day's 78 studies of a million in 17 ms instead of 2.
    await connection.execute(b"SET plan_cache_mode = force_custom_plan")
    await connection.execute(f"SET statement_timeout = {int(QUERY_TIMEOUT_S * 1000)}".encode())


async def _check(connection: AsyncConnection[Any]) -> None:
    """Hand out no connection that the server has closed since its last use."""
    if connection.pgconn.status != psycopg.pq.ConnStatus.OK or _is_readable(connection):
        await connection.execute(b"")


def _is_readable(connection: AsyncConnection[Any]) -> bool:
    """Something unread on an idle connection is the server's farewell, nearly always."""
    poller = select.poll()
    poller.register(connection.fileno(), select.POLLIN)
    return bool(poller.poll(0))


class JoinedPool(Pool):
    """One connection for everybody: services that open a transaction of their own take part in the one that it is in."""

    def __init__(self, connection: AsyncConnection[Any]) -> None:
        # Nothing of a real pool is opened: there is one connection, and whoever has it closes it.
        self._joined = connection
        self.name = "joined"

    @contextlib.asynccontextmanager
    async def connection(self, timeout: float | None = None) -> AsyncIterator[AsyncConnection[Any]]:  # noqa: ARG002, ASYNC109
        """The connection, which stays open after the block."""
        yield self._joined

"""A pool of connections for everything that is not the ingest path."""

from __future__ import annotations

import select
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from fileroom.core.limits import QUERY_TIMEOUT_S

POOL_CONNECTIONS_MAX: Final = 16
"""Per process. Searches beyond it wait their turn: more at once only makes all of them slow on a shared server."""
POOL_WAIT_TIMEOUT_S: Final = 10.0

Pool = AsyncConnectionPool[AsyncConnection[Any]]


async def open_pool(database_url: str) -> Pool:
    """Open a pool. It connects in the background and again by itself after the database was away."""
    pool: Pool = AsyncConnectionPool(
        database_url,
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

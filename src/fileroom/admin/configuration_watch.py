"""Every process has the newest version: PostgreSQL tells of it (LISTEN), and a look now and then catches what was missed.

While the database is away, the values that are there go on; the newest ones come with the connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final

import psycopg
import structlog
from psycopg import AsyncConnection, sql
from psycopg.rows import tuple_row

from fileroom.admin.configuration import CHANNEL
from fileroom.core.live_settings import LiveSettings, combined
from fileroom.core.settings import Settings
from fileroom.db.pool import Pool

LOOK_INTERVAL_S: Final = 2.0
"""How often it is looked without being told: a pooler between us and PostgreSQL may swallow notices."""
RETRY_INTERVAL_S: Final = 1.0
CONNECT_TIMEOUT_S: Final = 10

OnChange = Callable[[Settings], None]

_log: Final = structlog.get_logger(__name__)


class ConfigurationWatch:
    """Keeps `live` at the newest version: `given` from outside, with the managed values below it."""

    def __init__(
        self, database_url: str, given: Settings, live: LiveSettings, on_change: Sequence[OnChange] = ()
    ) -> None:
        """`on_change` are called with the new values, at the start too."""
        self._url = database_url
        self._given = given
        self._live = live
        self._on_change = on_change
        self._number = 0
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Take the newest version, then watch. A database that is away is waited for in the background."""
        try:
            async with await self._connect() as connection:
                await self._look(connection)
        except psycopg.Error as error:
            _log.warning("configuration_not_read", reason=type(error).__name__, trying_again_in_s=RETRY_INTERVAL_S)
        self._task = asyncio.create_task(self._watch(), name="configuration-watch")

    async def stop(self) -> None:
        """End watching."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _watch(self) -> None:
        while True:
            try:
                async with await self._connect() as connection:
                    await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(CHANNEL)))
                    while True:
                        await self._look(connection)
                        async for _ in connection.notifies(timeout=LOOK_INTERVAL_S, stop_after=1):
                            pass
            except psycopg.Error:
                await asyncio.sleep(RETRY_INTERVAL_S)

    async def _connect(self) -> AsyncConnection[Any]:
        return await AsyncConnection.connect(self._url, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S)

    async def _look(self, connection: AsyncConnection[Any]) -> None:
        async with connection.cursor(row_factory=tuple_row) as cursor:
            await cursor.execute(
                b"SELECT number, document -> 'settings' FROM configuration_version WHERE number > %s "
                b"ORDER BY number DESC LIMIT 1",
                (self._number,),
            )
            row = await cursor.fetchone()
        if row is not None:
            self._take(int(row[0]), row[1] or {})

    def _take(self, number: int, managed: dict[str, Any]) -> None:
        result = combined(self._given, managed)
        for problem in result.refused:
            _log.warning("setting_left_out", setting=problem.name, reason=problem.reason, version=number)
        self._live.exchange(result.settings)
        self._number = number
        for listener in self._on_change:
            listener(result.settings)
        _log.info("configuration_taken", version=number)


async def current_settings(pool: Pool, given: Settings) -> Settings:
    """The settings as they hold, for a command that needs them once. Raises DatabaseError."""
    async with pool.connection() as connection, connection.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(b"SELECT document -> 'settings' FROM configuration_version ORDER BY number DESC LIMIT 1")
        row = await cursor.fetchone()
    return combined(given, row[0] or {}).settings if row else given

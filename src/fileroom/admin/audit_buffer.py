"""Events that have no transaction of their own (searches, views, transfers): gathered for a moment, written together.

`note` costs a few microseconds and waits for nothing, so that neither receiving nor viewing is slowed. What is noted is
written within FLUSH_INTERVAL_S; only a kill -9 in that moment loses it. While the database is away events wait here, up
to WAITING_EVENTS_MAX; then `note` refuses, and with it whoever wanted to do something that could not be put down.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from typing import Final

import structlog

from fileroom.admin.audit import record_alone
from fileroom.admin.audit_message import AuditEvent
from fileroom.core.errors import DatabaseError, FileroomError
from fileroom.db.pool import Pool

FLUSH_INTERVAL_S: Final = 0.25
RETRY_INTERVAL_S: Final = 2.0
BATCH_EVENTS_MAX: Final = 200
"""Of one transaction: some 20 ms."""
WAITING_EVENTS_MAX: Final = 10_000
"""About 20 MB; an outage of minutes at any speed that people work at."""
VIEW_WINDOW_S: Final = 300.0
"""Somebody who looks at a study looks at all of it: one event for each person, study and kind of view in that time."""
VIEWS_REMEMBERED_MAX: Final = 20_000
"""A hundred people with two hundred studies each."""

_log: Final = structlog.get_logger(__name__)


class AuditBuffer:
    """The waiting events of one process, for one event loop."""

    def __init__(self) -> None:
        self._waiting: list[AuditEvent] = []
        self._wake = asyncio.Event()
        self._writing = asyncio.Lock()
        self._views: OrderedDict[tuple[object, ...], float] = OrderedDict()
        self._pool: Pool | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_stopping = asyncio.Event()

    def start(self, pool: Pool) -> None:
        """Begin to write what is noted."""
        self._pool = pool
        self._task = asyncio.create_task(self._write(pool), name="audit-buffer")

    async def stop(self) -> None:
        """Write what is left. If the database is away, that is lost, and the log says how much."""
        self._is_stopping.set()
        self._wake.set()
        if self._task is not None:
            await self._task
        if self._pool is not None:
            try:
                await self.flush(self._pool)
            except FileroomError as error:
                _log.error("audit_lost", events=len(self._waiting), reason=str(error))

    def note(self, event: AuditEvent) -> None:
        """Have an event written soon. Raises DatabaseError when too many wait already."""
        if len(self._waiting) >= WAITING_EVENTS_MAX:
            raise DatabaseError("The audit trail cannot be written, so nothing is given out. See /readyz.")
        self._waiting.append(event)
        self._wake.set()

    def is_new_view(self, *key: object, now: float) -> bool:
        """Whether this view has not been noted in the last VIEW_WINDOW_S; from now on it has. `now` in seconds."""
        since = self._views.get(key)
        if since is not None and now - since < VIEW_WINDOW_S:
            return False
        self._views[key] = now
        self._views.move_to_end(key)
        while len(self._views) > VIEWS_REMEMBERED_MAX:
            self._views.popitem(last=False)
        return True

    async def flush(self, pool: Pool) -> None:
        """Write what waits. Raises DatabaseError; what could not be written goes on waiting."""
        async with self._writing:
            while self._waiting:
                batch = self._waiting[:BATCH_EVENTS_MAX]
                await record_alone(pool, *batch)
                del self._waiting[: len(batch)]
            self._wake.clear()

    async def _write(self, pool: Pool) -> None:
        while not self._is_stopping.is_set():
            await self._wake.wait()
            await self._pause(FLUSH_INTERVAL_S)
            try:
                await self.flush(pool)
            except FileroomError as error:
                _log.error("audit_waits", waiting=len(self._waiting), reason=str(error))
                await self._pause(RETRY_INTERVAL_S)

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._is_stopping.wait()

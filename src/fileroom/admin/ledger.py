"""The association ledger: every association with its contexts, operations and end, written behind the work.

    journal = ledger.begin(Direction.IN, peer)      an association begins; `ledger_journal` says what can be told
    await ledger.flush()                            write what has changed (the ledger does it by itself after `start`)

What happens is noted in memory and written a batch at a time, every second and soon after an association's end. The
database may be slow or away: the queue is bounded, what finds no room is counted and left out, and no association ever
waits for it or fails for it.
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from fileroom.admin.ledger_journal import Journal
from fileroom.admin.ledger_rows import Direction, OperationRow
from fileroom.admin.ledger_upkeep import writer_name
from fileroom.admin.ledger_write import LedgerWriter
from fileroom.core.clock import Now
from fileroom.core.errors import DatabaseError
from fileroom.core.meters import Meters
from fileroom.db.pool import Pool
from fileroom.net.association_handler import PeerAddress

FLUSH_INTERVAL_S: Final = 1.0
"""How far behind the ledger may be; a transaction a second costs nothing."""
GATHER_S: Final = 0.05
"""At an association's end it is written at once, unless the last write was less than a second ago: some devices open an
association for each image, and their ends come together."""
FLUSH_ROWS: Final = 500
"""So many new rows are written before the second is over."""
ROWS_WAITING_MAX: Final = 20_000
"""Operations held while the database is away: about 20 MB, a quarter of an hour of refusals in a busy hospital."""
ASSOCIATIONS_WAITING_MAX: Final = 5_000
"""Associations held likewise, each with its proposal."""
BATCH_ASSOCIATIONS: Final = 100
"""Written in one transaction, so that encoding them never stops the loop for more than a few milliseconds."""
RETRY_S: Final = 5.0
HEARTBEAT_S: Final = 30.0
"""How often a process with open associations says that it lives; `ledger_upkeep` closes what others left open."""
STOP_TIMEOUT_S: Final = 3.0

Unwritten = dict[int, OperationRow]

_log: Final = structlog.get_logger(__name__)


class Ledger:
    """Gathers the journals of this process and writes them. Belongs to one event loop."""

    def __init__(self, pool: Pool | None, now: Now, name: str = "", *, meters: Meters | None = None) -> None:
        self._pool = pool
        self._now = now
        self._meters = meters or Meters()
        self._writer = LedgerWriter(name or writer_name(), now)
        self._changed: dict[Journal, None] = {}
        self._open: dict[Journal, None] = {}
        self._rows_waiting = 0
        self._left_out = 0
        self._work = asyncio.Event()
        self._urgent = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self._written_at_s = 0.0

    def begin(
        self, direction: Direction, peer: PeerAddress, *, purpose: str = "", parent: Journal | None = None
    ) -> Journal:
        """The journal of a new association. It is written once something is known of it."""
        return Journal(self._now, self._note, direction, peer, purpose=purpose, parent=parent, meters=self._meters)

    def start(self) -> None:
        """Write by itself from now on."""
        if self._running is None and self._pool is not None:
            self._running = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Write what is left, as far as that is quick."""
        running, self._running = self._running, None
        if running is None:
            return
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await self.flush()
        except (TimeoutError, DatabaseError, OSError) as error:
            _log.warning("ledger_not_written", associations=len(self._changed), error=type(error).__name__)

    async def flush(self) -> None:
        """Write all that has changed. Raises DatabaseError while the database is away; then it is kept for later."""
        for _ in range(0, len(self._changed), BATCH_ASSOCIATIONS):  # what changes meanwhile is for the next time
            await self._flush_some()

    def _note(self, journal: Journal, rows: int) -> bool:
        """A journal has changed and may have a new row; False when there is no room for that."""
        if self._pool is None:
            return False
        if journal not in self._changed:
            if len(self._changed) >= ASSOCIATIONS_WAITING_MAX and not journal.row.id:
                self._left_out += 1
                return False
            self._changed[journal] = None
        if self._rows_waiting + rows > ROWS_WAITING_MAX:
            return False
        self._rows_waiting += rows
        if journal.is_over:
            self._open.pop(journal, None)
            self._urgent.set()
        else:
            self._open[journal] = None
            if self._rows_waiting >= FLUSH_ROWS:
                self._urgent.set()
        self._work.set()
        return True

    async def _run(self) -> None:
        pause_s = 0.0
        while True:
            await asyncio.sleep(pause_s)
            await self._wait_for_work()
            try:
                await (self.flush() if self._changed else self._flush_some())
                pause_s = 0.0
            except (DatabaseError, OSError) as error:
                _log.warning("ledger_waits", associations=len(self._changed), error=type(error).__name__)
                pause_s = RETRY_S
            if self._left_out:
                _log.warning("ledger_left_out", associations=self._left_out)
                self._left_out = 0

    async def _wait_for_work(self) -> None:
        """Until there is something to write and others may have come to it, or it is time for a sign of life."""
        await _wait(self._work, HEARTBEAT_S if self._open else None)
        if self._changed and await _wait(self._urgent, FLUSH_INTERVAL_S):
            since_s = asyncio.get_running_loop().time() - self._written_at_s
            await asyncio.sleep(max(GATHER_S, FLUSH_INTERVAL_S - since_s))
        self._written_at_s = asyncio.get_running_loop().time()

    async def _flush_some(self) -> None:
        """Write one batch. What was not written is unwritten again."""
        if self._pool is None:
            return
        batch = list(self._changed)[:BATCH_ASSOCIATIONS]
        for journal in batch:
            del self._changed[journal]
        if not self._changed:
            self._work.clear()
            self._urgent.clear()
        taken = [(journal, journal.unwritten) for journal in batch]
        count = sum(len(rows) for _, rows in taken)
        self._rows_waiting = max(0, self._rows_waiting - count)
        for journal in batch:
            journal.unwritten = {}
        try:
            await self._writer.write(self._pool, taken)
        except (DatabaseError, OSError, asyncio.CancelledError):
            self._take_back(taken, count)
            raise
        except Exception as error:  # noqa: BLE001 - the boundary of a batch: what it cannot write must not stop the rest
            # Refused, by the database or already on the way there: it would be refused again.
            _log.error("ledger_lost", associations=len(batch), rows=count, error=type(error).__name__)

    def _take_back(self, taken: list[tuple[Journal, Unwritten]], count: int) -> None:
        for journal, rows in taken:
            journal.unwritten = rows | journal.unwritten
            self._changed[journal] = None
        self._rows_waiting += count
        self._work.set()


async def _wait(event: asyncio.Event, seconds: float | None) -> bool:
    """Whether the event came within so many seconds."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True

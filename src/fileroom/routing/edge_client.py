"""The edge's side of the link: dial the centre, say hello, fetch what waits there, store it, confirm. It never listens.

    link_due(archive, stop)    keeps a link to every enabled centre until `stop`; called again and again by a task worker

Of all task workers of an edge one keeps the link to a centre (an advisory lock of the database). What has been fetched in part
stays on the disk and goes on after a restart. What the centre sends *to* goes by `routing.edge_destination`.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final, TypeVar

import psycopg
import structlog

from fileroom import __version__
from fileroom.admin.entries import read_generation
from fileroom.archive.services import Archive
from fileroom.archive.store import StoreOutcome
from fileroom.core.access import SYSTEM, Access, ActorKind, Permission, acting_as, require
from fileroom.core.errors import DatabaseError, FileroomError, PeerError, ServiceError, StorageError
from fileroom.core.limits import OBJECT_MEMORY_BYTES_MAX
from fileroom.routing.destination_kind import OutcomeKind
from fileroom.routing.edge_arrivals import EdgeArrivals
from fileroom.routing.edge_call import CentreCall, CentreRefusesError, Waiting, WithdrawnError, calling
from fileroom.routing.edge_centres import Centre, note_link, read_centres
from fileroom.routing.edge_outbox import forget_old_offers
from fileroom.routing.edge_parts import OpenPart, PartBusyError, Parts, remove_dead_parts
from fileroom.routing.edge_turns import forget_orders
from fileroom.routing.edge_uploads import Receipt, forget_received, remember_received, store_pieces, was_received
from fileroom.routing.edge_wire import HELLO_EVERY_S, OBJECT_BYTES_MAX, OFFERS_MAX, OUTCOMES_MAX, WAIT_S_MAX, short_text

CHECK_EVERY_S: Final = 1.0
"""How often it is looked whether centres have changed."""
RETRY_FIRST_S: Final = 1.0
RETRY_MAX_S: Final = 30.0
"""A line that is back is used within half a minute."""
_POLL_S: Final = 20.0
_TRIES: Final = 5
"""Of one object on a line that breaks, without progress in between."""
_LOCK_SPACE: Final = 0x0ED6E
_OUTCOMES: Final[Mapping[str, OutcomeKind]] = {
    "stored": OutcomeKind.TAKEN,
    "already there": OutcomeKind.TAKEN,
    "kept aside": OutcomeKind.WARNED,
    "refused": OutcomeKind.REFUSED,
}
T = TypeVar("T")
_log: Final = structlog.get_logger(__name__)


async def link_due(archive: Archive, stop: asyncio.Event) -> int:
    """Keep the links to all enabled centres until `stop`. Returns 0 when there is none. Raises DatabaseError."""
    require(Permission.SYSTEM_MANAGE)
    links: dict[tuple[int, int], asyncio.Task[None]] = {}
    generation, wanted = -1, set[tuple[int, int]]()
    try:
        while not stop.is_set():
            if (now := await read_generation(archive.pool)) != generation:
                generation = now
                centres = {(one.id, one.version): one for one in await read_centres(archive) if one.enabled}
                wanted = set(centres)
                for key in [one for one in links if one not in wanted]:
                    await _ended(links.pop(key))
                for key in wanted - links.keys():
                    links[key] = asyncio.create_task(_keep_link(archive, centres[key]))
            if not wanted:
                return 0
            await _wait(stop, CHECK_EVERY_S)
    finally:
        for task in links.values():
            await _ended(task)
    return 0


async def tidy_edge_link(archive: Archive) -> int:
    """Remove what nobody continues: parts, offers, remembered digests. Raises NotAllowedError, DatabaseError."""
    require(Permission.SYSTEM_MANAGE)
    await asyncio.to_thread(remove_dead_parts, archive.settings)
    await forget_old_offers(archive)
    await forget_received(archive)
    await forget_orders(archive)
    return 0


async def _keep_link(archive: Archive, centre: Centre) -> None:
    """Dial again and again. Ends only when it is cancelled."""
    failures = 0
    while True:
        try:
            async with _only_one(archive, centre) as is_ours:
                if is_ours:
                    link = _Link(archive, centre)
                    try:
                        await link.run()
                    finally:
                        if link.was_connected:
                            failures = 0
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - the boundary of a task: the next attempt may succeed
            reason = error.sentence if isinstance(error, FileroomError) else type(error).__name__
            _log.warning("edge_link_down", centre=centre.name, reason=str(reason), error_type=type(error).__name__)
            with contextlib.suppress(DatabaseError, psycopg.Error):
                await note_link(archive, centre, connected=False, cause=str(reason))
            failures += 1
        await asyncio.sleep(min(RETRY_FIRST_S * 2.0 ** min(failures, 10), RETRY_MAX_S))


class _Link:
    """One life of the link to a centre."""

    def __init__(self, archive: Archive, centre: Centre) -> None:
        self._archive = archive
        self._centre = centre
        self._session = secrets.token_hex(8)
        self._parts = Parts(archive.settings, centre.id)
        self._busy: set[int] = set()
        self._outcomes: list[dict[str, Any]] = []
        self._has_outcomes = asyncio.Event()
        self._space = asyncio.Semaphore(centre.in_flight)
        self._last: dict[str, asyncio.Future[None]] = {}
        self._received = EdgeArrivals(archive, Access(ActorKind.SYSTEM, centre.name, SYSTEM.permissions))
        self.was_connected = False

    async def run(self) -> None:
        """Until something fails. Raises PeerError, ServiceError."""
        try:
            async with calling(self._archive, self._centre) as call:
                await self._hello(call, 0.0)
                self.was_connected = True
                _log.info("edge_link_up", centre=self._centre.name)
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._say_hello(call))
                    group.create_task(self._confirm(call))
                    group.create_task(self._fetch_all(call, group))
        except BaseExceptionGroup as errors:
            raise _first_of(errors) from errors
        finally:
            self._received.report()

    # --- hello ---

    async def _say_hello(self, call: CentreCall) -> None:
        round_trip_s = 0.0
        while True:
            await asyncio.sleep(HELLO_EVERY_S)
            round_trip_s = await _patiently(partial(self._hello, call, round_trip_s))

    async def _hello(self, call: CentreCall, round_trip_s: float) -> float:
        waiting, failed = await _queues(self._archive)
        began = time.monotonic()
        answer = await call.hello(
            {
                "session": self._session,
                "version": __version__,
                "time": self._archive.now().timestamp(),
                "round_trip_s": round_trip_s,
                "waiting": waiting,
                "failed": failed,
            }
        )
        round_trip_s = time.monotonic() - began
        await note_link(self._archive, self._centre, connected=True, version=short_text(answer.get("version"), 60))
        return round_trip_s

    # --- what waits at the centre ---

    async def _fetch_all(self, call: CentreCall, group: asyncio.TaskGroup) -> None:
        while True:
            room = 2 * self._centre.in_flight - len(self._busy)
            if room <= 0:
                await asyncio.sleep(0.01)
                continue
            for offer in await _patiently(partial(call.offers, min(_POLL_S, WAIT_S_MAX), min(room, OFFERS_MAX))):
                if offer.id not in self._busy:
                    self._busy.add(offer.id)
                    before = self._last.get(offer.study_instance_uid)
                    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                    self._last[offer.study_instance_uid] = done
                    group.create_task(self._take(call, offer, before, done))

    async def _take(
        self, call: CentreCall, offer: Waiting, before: asyncio.Future[None] | None, done: asyncio.Future[None]
    ) -> None:
        """Fetch, store in the order of the offers of a study, and have it confirmed."""
        try:
            async with self._space:
                receipt = await self._receive(call, offer, before)
            if receipt is not None:
                kind = _OUTCOMES.get(receipt.state, OutcomeKind.TRY_LATER)
                self._outcomes.append({"id": offer.id, "outcome": kind.value, "cause": receipt.cause})
                self._has_outcomes.set()
        finally:
            self._busy.discard(offer.id)
            if not done.done():
                done.set_result(None)
            if self._last.get(offer.study_instance_uid) is done:
                del self._last[offer.study_instance_uid]

    async def _receive(self, call: CentreCall, offer: Waiting, before: asyncio.Future[None] | None) -> Receipt | None:
        """None: it was withdrawn. Raises PeerError when the line breaks again and again."""
        if offer.bytes > OBJECT_BYTES_MAX:
            return Receipt("refused", cause="The object is larger than the edge link takes.")
        try:
            if await was_received(self._archive, self._centre.id, offer.sha256):
                return Receipt("already there")
            with self._parts.opened(offer.sha256, offer.bytes) as part:
                await self._fetch(call, offer, part)
                if (await asyncio.to_thread(part.digest)).hex() != offer.sha256:
                    self._parts.remove(offer.sha256)
                    return Receipt("try later", cause="The object was spoilt on the way, or is another by now.")
                if before is not None:
                    await asyncio.wait([before])
                receipt = await self._store(offer, part)
            self._parts.remove(offer.sha256)
            return receipt
        except WithdrawnError:
            return None
        except PartBusyError:
            return Receipt("try later", cause="It is being fetched already.")
        except (StorageError, DatabaseError) as error:
            return Receipt("try later", cause=error.sentence)

    async def _fetch(self, call: CentreCall, offer: Waiting, part: OpenPart) -> None:
        tries = 0
        while (have := part.size) < offer.bytes:
            buffer = bytearray()
            try:
                async for data in call.fetch(offer, have):
                    buffer += data
                    if len(buffer) >= OBJECT_MEMORY_BYTES_MAX:
                        ready, buffer = buffer, bytearray()
                        await part.append(ready)
            except WithdrawnError:
                raise
            except PeerError:
                tries = 0 if part.size + len(buffer) > have else tries + 1
                if tries >= _TRIES:
                    raise
                await asyncio.sleep(min(0.25 * 2**tries, 4.0))
            finally:
                if buffer:
                    await part.append(buffer)

    async def _store(self, offer: Waiting, part: OpenPart) -> Receipt:
        async def pieces() -> AsyncIterator[bytes]:
            at = 0
            while data := await part.read(at):
                at += len(data)
                yield data

        outcomes: list[StoreOutcome] = []
        with acting_as(Access(ActorKind.SYSTEM, self._centre.name, SYSTEM.permissions)):
            receipt = await store_pieces(self._archive, self._centre.name, pieces(), outcomes.append)
        for outcome in outcomes:
            self._received.stored(outcome)
            if offer.bytes > self._centre.piece_bytes:
                await remember_received(self._archive, self._centre.id, offer.sha256, outcome)
        return receipt

    # --- what became of it ---

    async def _confirm(self, call: CentreCall) -> None:
        """A lost answer does no harm: the object is offered again, and is there."""
        while True:
            await self._has_outcomes.wait()
            self._has_outcomes.clear()
            while self._outcomes:
                now = self._outcomes[:OUTCOMES_MAX]
                await _patiently(partial(call.settle, now))
                del self._outcomes[: len(now)]


# --- helpers ---


@contextlib.asynccontextmanager
async def _only_one(archive: Archive, centre: Centre) -> AsyncIterator[bool]:
    """Whether nobody else keeps this link. The lock goes with its connection, so a killed worker holds none."""
    async with archive.pool.connection() as connection:
        await connection.set_autocommit(True)
        try:
            cursor = await connection.execute(b"SELECT pg_try_advisory_lock(%s, %s)", (_LOCK_SPACE, centre.id))
            row = await cursor.fetchone()
            is_ours = bool(row and row[0])
            try:
                yield is_ours
            finally:
                if is_ours:
                    with contextlib.suppress(psycopg.Error):
                        await connection.execute(b"SELECT pg_advisory_unlock(%s, %s)", (_LOCK_SPACE, centre.id))
        finally:
            if not connection.closed:
                await connection.set_autocommit(False)


async def _patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """A single request that fails is asked again; a line that is really down is told by _TRIES of them in a row."""
    for tries in itertools.count(1):
        try:
            return await ask()
        except CentreRefusesError:
            raise
        except PeerError:
            if tries >= _TRIES:
                raise
            await asyncio.sleep(min(0.25 * 2**tries, 4.0))
    raise AssertionError("counting does not end")


async def _queues(archive: Archive) -> tuple[int, int]:
    """How many deliveries wait here, and how many have failed."""
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(
            b"""SELECT coalesce(sum(number) FILTER (WHERE state IN ('gathering', 'waiting', 'sent', 'held')), 0)::bigint,
                coalesce(sum(number) FILTER (WHERE state IN ('failed', 'quarantined')), 0)::bigint FROM delivery_tally"""
        )
        row = await cursor.fetchone()
    return (int(row[0]), int(row[1])) if row else (0, 0)


def _first_of(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """What went wrong: one of our errors where there is one."""
    flat: list[BaseException] = []

    def collect(group: BaseExceptionGroup[BaseException]) -> None:
        for one in group.exceptions:
            if isinstance(one, BaseExceptionGroup):
                collect(one)
            else:
                flat.append(one)

    collect(errors)
    return next((one for one in flat if isinstance(one, PeerError | ServiceError)), flat[0])


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()

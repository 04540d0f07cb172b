"""The delivery worker's heart: for each destination a runner, which opens lanes when parcels are ready and closes them again.

A runner obeys its destination: enabled, not held, inside its schedule, not resting after a failure, at most `lanes_max` lanes.
A change of any entry of routing is seen within a second; lanes that began with the old ones end with their batch.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import psycopg
import structlog
from psycopg import AsyncConnection

from fileroom.admin.entries import read_generation
from fileroom.archive.services import Archive
from fileroom.core.errors import DatabaseError, FileroomError
from fileroom.routing.calendars import Schedule, is_open
from fileroom.routing.clock_jumps import ClockWatch, pull_back, read_clock
from fileroom.routing.delivery_rows import CHANNEL, IS_BACK
from fileroom.routing.destination_fields import Destination
from fileroom.routing.destinations import read_destinations
from fileroom.routing.lanes import Errand, Lane, Rest
from fileroom.routing.parcels import ready_destinations, wake_due_parcels
from fileroom.routing.schedules import read_schedules
from fileroom.routing.throttle import AccountsInDatabase, Throttle

LOOK_INTERVAL_S: Final = 1.0
"""For entries that changed and for notices that were lost."""
RETRY_INTERVAL_S: Final = 1.0
LANES_AT_ONCE_MAX: Final = 200
"""Of one process: each has an association, and a batch of objects in memory."""

_log: Final = structlog.get_logger(__name__)


@dataclass
class _Runner:
    """One destination: its lanes, and whether they may go on."""

    destination: Destination
    schedule: Schedule | None = None
    rest: Rest = field(default_factory=Rest)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    lanes: set[asyncio.Task[None]] = field(default_factory=set)
    is_over: bool = False


class Dispatcher:
    """Delivers what waits, for as long as `run` runs. It acts as whoever calls it: Fileroom itself."""

    def __init__(self, archive: Archive, database_url: str) -> None:
        self._archive = archive
        self._url = database_url
        self._generation = -1
        self._runners: dict[int, _Runner] = {}
        self._by_name: Mapping[str, Destination] = {}
        self._throttle = Throttle(AccountsInDatabase(archive.pool))
        self._clock = ClockWatch()
        self._stop = asyncio.Event()
        self._look = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until `stop` is set; then let lanes end with the object that is on its way."""
        self._stop = stop
        listening = asyncio.create_task(self._listen(), name="parcel-notices")
        try:
            while not stop.is_set():
                try:
                    await self._refresh()
                    # Before the clock is looked at: what it was set forward by meanwhile makes no claim run out.
                    await wake_due_parcels(self._archive, self._clock.horizon())
                    if self._clock.look(await read_clock(self._archive)):
                        await pull_back(self._archive)
                    await self._open_lanes()
                except FileroomError as error:
                    _log.warning("dispatcher_waits", reason=str(error))
                await self._rest_a_while()
        finally:
            listening.cancel()
            lanes = [lane for runner in self._runners.values() for lane in runner.lanes]
            await asyncio.gather(listening, *lanes, return_exceptions=True)

    async def _rest_a_while(self) -> None:
        self._look.clear()
        waits = [asyncio.create_task(self._look.wait()), asyncio.create_task(self._stop.wait())]
        try:
            await asyncio.wait(waits, timeout=LOOK_INTERVAL_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waits:
                one.cancel()

    async def _refresh(self) -> None:
        """Take the entries as they are now."""
        generation = await read_generation(self._archive.pool)
        if generation == self._generation:
            return
        destinations = await read_destinations(self._archive)
        schedules = await read_schedules(self._archive)
        runners: dict[int, _Runner] = {}
        for one in destinations.values():
            before = self._runners.pop(one.id, None)
            schedule = schedules.get(one.schedule)
            if before is not None and before.destination == one and before.schedule == schedule and one.kind != "pool":
                runners[one.id] = before
                continue
            if before is not None:
                before.is_over = True
            runners[one.id] = _Runner(one, schedule, lanes=before.lanes if before else set())
        for gone in self._runners.values():
            gone.is_over = True
        self._runners, self._by_name, self._generation = runners, destinations, generation

    async def _open_lanes(self) -> None:
        may = [number for number, runner in self._runners.items() if self._may_deliver(runner)]
        if not may:
            return
        for number in await ready_destinations(self._archive, may):
            runner = self._runners[number]
            runner.wake.set()
            running = sum(len(one.lanes) for one in self._runners.values())
            wanted = runner.destination.lanes_max
            if runner.destination.throttle.associations:
                wanted = min(wanted, runner.destination.throttle.associations)
            if len(runner.lanes) < wanted and running < LANES_AT_ONCE_MAX:
                self._open_lane(runner)

    def _may_deliver(self, runner: _Runner) -> bool:
        one = runner.destination
        if not one.enabled or one.hold or runner.rest.left_s:
            return False
        if not one.schedule:
            return True
        # A schedule that is named but gone never opens: it was there to keep something from happening.
        return runner.schedule is not None and is_open(runner.schedule, self._archive.now())

    def _open_lane(self, runner: _Runner) -> None:
        errand = Errand(
            self._archive,
            runner.destination,
            runner.rest,
            runner.wake,
            lambda: self._stop.is_set() or runner.is_over or not self._may_deliver(runner),
            self._throttle,
            self._by_name,
        )
        task = asyncio.create_task(self._run_lane(Lane(errand)), name=f"lane-{runner.destination.name}")
        runner.lanes.add(task)
        task.add_done_callback(runner.lanes.discard)

    async def _run_lane(self, lane: Lane) -> None:
        try:
            await lane.run()
        except DatabaseError as error:
            _log.warning("lane_waits", destination=lane.destination.name, reason=str(error))
        except Exception as error:  # noqa: BLE001 - the boundary of a lane; its claim runs out and another one goes on
            _log.exception("lane_failed", destination=lane.destination.name, error_type=type(error).__name__)

    def _end_rest(self, runner: _Runner) -> None:
        """It is to be tried at once, and so are the pools that it is in."""
        runner.rest.worked()
        for other in self._runners.values():
            members = other.destination.target.get("members", ()) if other.destination.kind == "pool" else ()
            if any(one.get("destination") == runner.destination.name for one in members):
                other.rest.worked()

    async def _listen(self) -> None:
        """Wake runners as soon as parcels are ready. Without notices they look once a second."""
        while True:
            with contextlib.suppress(psycopg.Error, OSError):
                async with await AsyncConnection.connect(self._url, autocommit=True) as connection:
                    await connection.execute(f"LISTEN {CHANNEL}".encode())
                    async for notice in connection.notifies():
                        runner = self._runners.get(int(notice.payload.removeprefix(IS_BACK)))
                        if runner is not None and runner.lanes:
                            runner.wake.set()
                        if runner is not None and notice.payload.startswith(IS_BACK):
                            self._end_rest(runner)
                        self._look.set()
            await asyncio.sleep(RETRY_INTERVAL_S)

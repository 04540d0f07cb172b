"""What the processes of one server have counted, as files: `FILEROOM_DATA/meters/WORKER.json`, each written by its worker.

A worker writes its own numbers once a second when they have changed, aside of the event loop. One that is started again
after a kill -9 goes on from its predecessor's file, so that counters fall behind by a second and never back. The
supervisor empties the folder at its start: then all counters begin at nought together, as after any restart.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson
import structlog

from fileroom.core.meters import Meters

WRITE_INTERVAL_S: Final = 1.0
QUIET_INTERVAL_S: Final = 5.0
"""A file is written so often even where nothing has changed: it is its worker's sign of life."""
SILENT_AFTER_S: Final = 20.0
"""Four signs of life missed: the process is not there, or hangs."""
FILE_BYTES_MAX: Final = 32 * 1024 * 1024
"""All meters with all their label sets are some 4 MB."""
FOLDER: Final = "meters"
SUPERVISOR: Final = "supervisor"

_log: Final = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class WorkerFile:
    """What one worker has written: `at` and `started_at` in seconds since 1970."""

    worker: str
    pid: int
    started_at: float
    starts: int
    at: float
    state: dict[str, Any]
    ended: bool = False
    """It came to its end in order: the demo's worker when the studies are there."""

    @property
    def is_silent(self) -> bool:
        """Nothing has been heard of it for long."""
        return time.time() - self.at > SILENT_AFTER_S


def meters_folder(data: Path) -> Path:
    """Where the files of a server with this data folder lie."""
    return data / FOLDER


def begin_folder(folder: Path) -> None:
    """At the supervisor's start: away with the files of the last run, and its own number in place. Never fails for it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.iterdir():
            if path.suffix in (".json", ".part"):
                path.unlink(missing_ok=True)
        _write(folder, Meters(SUPERVISOR), time.time())
    except OSError as error:
        _log.warning("meters_not_kept", folder=str(folder), reason=error.strerror)


@contextlib.asynccontextmanager
async def kept_in_file(meters: Meters, folder: Path) -> AsyncIterator[None]:
    """Go on from the predecessor's numbers and write these down, for as long as the block lasts."""
    if not meters.worker:
        yield
        return
    before = await asyncio.to_thread(_read, folder / f"{meters.worker}.json")
    if before is not None:
        meters.add_state(before.state, gauges=False)
    meters.starts = 1 + (before.starts if before is not None else 0)
    writing = asyncio.create_task(_keep_writing(meters, folder, time.time()))
    try:
        yield
    finally:
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        for gauge in meters.all:
            if gauge.kind == "gauge":
                gauge.values.clear()
        with contextlib.suppress(OSError):
            await asyncio.to_thread(_write, folder, meters, time.time(), ended=True)


def read_workers(folder: Path) -> list[WorkerFile]:
    """What every worker of this server has written, the supervisor among them. A file that cannot be read is passed over."""
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix == ".json")
    except OSError:
        return []
    return [found for path in paths if (found := _read(path)) is not None]


def sum_of_workers(workers: list[WorkerFile], own: Meters | None = None) -> Meters:
    """The numbers of all workers together; of `own` as they are in memory."""
    total = Meters()
    for one in workers:
        if own is None or not own.worker or one.worker != own.worker:
            total.add_state(one.state, gauges=not one.is_silent)
    if own is not None:
        total.add_state(own.state())
    return total


async def _keep_writing(meters: Meters, folder: Path, started_at: float) -> None:
    written: dict[str, Any] | None = None
    written_at = 0.0
    fails = False
    while True:
        state = meters.state()
        if state != written or time.monotonic() - written_at >= QUIET_INTERVAL_S:
            try:
                await asyncio.to_thread(_write, folder, meters, started_at, state)
                written, written_at, fails = state, time.monotonic(), False
            except OSError as error:
                if not fails:
                    _log.warning("meters_not_kept", folder=str(folder), reason=error.strerror)
                fails = True
        await asyncio.sleep(WRITE_INTERVAL_S)


def _write(
    folder: Path, meters: Meters, started_at: float, state: dict[str, Any] | None = None, *, ended: bool = False
) -> None:
    content = {
        "worker": meters.worker,
        "pid": os.getpid(),
        "started_at": started_at,
        "starts": meters.starts,
        "at": time.time(),
        "ended": ended,
        "state": meters.state() if state is None else state,
    }
    path = folder / f"{meters.worker}.json"
    part = path.with_suffix(".part")
    part.write_bytes(orjson.dumps(content))
    part.replace(path)  # whoever reads finds the old numbers or the new ones, never half of them


def _read(path: Path) -> WorkerFile | None:
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            return None
        content = orjson.loads(path.read_bytes())
        return WorkerFile(
            path.stem,
            int(content["pid"]),
            float(content["started_at"]),
            int(content["starts"]),
            float(content["at"]),
            dict(content["state"]),
            bool(content["ended"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None

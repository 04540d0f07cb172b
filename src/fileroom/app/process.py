"""What every worker process does at its start and end: settings, logs, event loop, the wish to die with its parent."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
import uvloop

from fileroom.core.access import NOBODY, Access, set_process_access
from fileroom.core.errors import FileroomError
from fileroom.core.logs import configure_logs
from fileroom.core.settings import Settings

_PR_SET_PDEATHSIG: Final = 1
_log = structlog.get_logger(__name__)

WorkerMain = Callable[[Settings, asyncio.Event], Awaitable[None]]
"""A worker's work: settings, and the event that asks it to stop."""


def die_with_parent() -> None:
    """Run in a child before its program starts: when the supervisor is killed, its workers must not go on alone.

    They would hold the ports that the next supervisor needs. What they had not confirmed, nobody counts on.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def run_worker(name: str, main: WorkerMain, access: Access = NOBODY) -> None:
    """Run a worker until SIGTERM or SIGINT. Exits with 1 and one line of reason on an error of ours.

    It works in the name of `access`; of nobody where the edge says for each request who acts.
    """
    set_process_access(access)
    settings = Settings()
    configure_logs(settings.log_level, name)
    try:
        uvloop.run(_main(settings, main))
    except FileroomError as error:
        _log.error("worker_failed", reason=str(error))
        sys.exit(1)


async def _main(settings: Settings, main: WorkerMain) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    # What is loaded now stays for ever: leave it out of every later collection, and collect young garbage rarely.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    with contextlib.suppress(asyncio.CancelledError):
        await main(settings, stop)

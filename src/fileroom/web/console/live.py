"""Telling open pages what changes, as server-sent events (WHATWG HTML 9.2): `/events/studies`, `/events/associations`.

Each web worker looks once a second, and only while somebody listens, for what has changed; how many pages are open costs
the database nothing. A page learns the UIDs of changed studies that its reader may see, or the numbers of changed
associations, and asks for what it shows of them itself.
"""

from __future__ import annotations

import abc
import asyncio
import contextlib
import contextvars
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Final

import orjson
import structlog
from starlette.requests import Request

from fileroom.admin.ledger_search import changed_associations
from fileroom.archive.services import Archive
from fileroom.archive.study_list import arriving_studies, studies_by_uid
from fileroom.core.access import SYSTEM, Permission, acting_as, require
from fileroom.core.errors import FileroomError, ServiceError, told
from fileroom.core.limits import LIVE_CLIENTS_MAX, LIVE_STUDIES_MAX
from fileroom.web.answers import NO_STORE, Answer
from fileroom.web.endpoint import Handler

LOOK_EVERY_S: Final = 1.0
LOOK_AGAIN_AFTER_FAILURE_S: Final = 5.0
STILL_HERE_EVERY_S: Final = 15.0
"""Proxies close a stream that is silent for a minute; a browser that has left is found out by writing."""
STREAM_S_MAX: Final = 600.0
"""A browser asks again by itself, and whether its session still holds is looked at anew."""

_log = structlog.get_logger(__name__)


class LiveFeed(abc.ABC):
    """Looks for what has changed as long as somebody listens."""

    def __init__(self, archive: Archive, stopping: asyncio.Event | None = None) -> None:
        self._archive = archive
        self._stopping = stopping or asyncio.Event()
        self._listeners: set[_Listener] = set()
        self._looking: asyncio.Task[None] | None = None

    @property
    def is_stopping(self) -> bool:
        """The server ends: streams must not hold it up."""
        return self._stopping.is_set()

    @contextlib.contextmanager
    def listen(self) -> Iterator[_Listener]:
        """A listener for the length of the block. Raises ServiceError when there are too many."""
        if len(self._listeners) >= LIVE_CLIENTS_MAX:
            raise ServiceError(told("Too many pages are open to tell all of them of changes. They look by themselves."))
        listener = _Listener()
        self._listeners.add(listener)
        if self._looking is None:
            # In nobody's name: it outlives the request that happens to start it.
            self._looking = asyncio.get_running_loop().create_task(self._look(), context=contextvars.Context())
        try:
            yield listener
        finally:
            self._listeners.discard(listener)
            if not self._listeners and self._looking is not None:
                self._looking.cancel()
                self._looking = None
                self._forget()

    async def _look(self) -> None:
        while True:
            try:
                changed = await self._changed()
            except FileroomError as error:
                _log.warning("live_changes_not_seen", reason=str(error))
                await asyncio.sleep(LOOK_AGAIN_AFTER_FAILURE_S)
                continue
            for listener in self._listeners:
                listener.tell(changed)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._stopping.wait()
            if self.is_stopping:
                for listener in self._listeners:
                    listener.wake()
                return

    @abc.abstractmethod
    async def _changed(self) -> set[str]:
        """What has changed since the last look. Raises FileroomError."""

    def _forget(self) -> None:  # noqa: B027 - not every feed remembers something
        """Nobody listens any more."""


class LiveStudies(LiveFeed):
    """Which studies change."""

    def __init__(self, archive: Archive, stopping: asyncio.Event | None = None) -> None:
        super().__init__(archive, stopping)
        self._counts: dict[str, int] = {}

    def _forget(self) -> None:
        self._counts.clear()

    async def _changed(self) -> set[str]:
        """Studies that have more or fewer instances than at the last look, or have become quiet since."""
        # As Fileroom itself, once for all listeners; each is told only what its reader may see.
        with acting_as(SYSTEM):
            now = {study.study_instance_uid: study.instances for study in await arriving_studies(self._archive)}
        before, self._counts = self._counts, now
        return {uid for uid in now.keys() | before.keys() if now.get(uid) != before.get(uid)}


class LiveAssociations(LiveFeed):
    """Which associations begin, go on and end."""

    def __init__(self, archive: Archive, stopping: asyncio.Event | None = None) -> None:
        super().__init__(archive, stopping)
        self._change: int | None = None

    def _forget(self) -> None:
        self._change = None

    async def _changed(self) -> set[str]:
        """Numbers of associations whose rows were written since the last look."""
        with acting_as(SYSTEM):  # once for all listeners, who asked for the permission themselves
            entries = await changed_associations(self._archive.pool, self._change)
        is_first, self._change = self._change is None, entries[-1].change if entries else (self._change or 0)
        return set() if is_first else {str(entry.id) for entry in entries}


class _Listener:
    """What one page has not been told yet: never more than a set of UIDs or numbers."""

    def __init__(self) -> None:
        self._untold: set[str] = set()
        self._wake = asyncio.Event()

    def tell(self, changed: set[str]) -> None:
        """More has changed. What goes beyond LIVE_STUDIES_MAX is left out: the next change tells it again."""
        if changed:
            self._untold.update(list(changed)[: LIVE_STUDIES_MAX - len(self._untold)])
            self._wake.set()

    def wake(self) -> None:
        """Let `changed` return at once."""
        self._wake.set()

    async def changed(self) -> list[str]:
        """The studies that have changed since the last call; empty after STILL_HERE_EVERY_S without any."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STILL_HERE_EVERY_S):
                await self._wake.wait()
        self._wake.clear()
        changed, self._untold = sorted(self._untold), set()
        return changed


def live_handler(archive: Archive, live: LiveStudies) -> Handler:
    """The handler of `/events/studies`."""

    async def handle(_request: Request) -> Answer:
        access = require(Permission.STUDY_SEARCH)

        async def shown(changed: list[str]) -> list[str]:
            if access.rows.is_everything:
                return changed
            return [study.study_uid for study in await studies_by_uid(archive, changed)]

        return _stream(live, b"studies", shown)

    return handle


def live_associations_handler(live: LiveAssociations) -> Handler:
    """The handler of `/events/associations`."""

    async def handle(_request: Request) -> Answer:
        require(Permission.LEDGER_READ)

        async def shown(changed: list[str]) -> list[str]:
            return changed

        return _stream(live, b"associations", shown)

    return handle


def _stream(live: LiveFeed, name: bytes, shown: Callable[[list[str]], Awaitable[list[str]]]) -> Answer:
    """Events of that name with what has changed, as far as the reader may be shown it."""
    headers = {"content-type": "text/event-stream", "cache-control": NO_STORE, "x-accel-buffering": "no"}

    async def events() -> AsyncIterator[bytes]:
        with live.listen() as listener:
            yield b"retry: 3000\n\n"
            until = asyncio.get_running_loop().time() + STREAM_S_MAX
            while asyncio.get_running_loop().time() < until:
                changed = await listener.changed()
                if live.is_stopping:
                    return
                told = await shown(changed) if changed else []
                yield b"event: %s\ndata: %s\n\n" % (name, orjson.dumps(told)) if told else b": still here\n\n"

    return Answer(200, headers, events())

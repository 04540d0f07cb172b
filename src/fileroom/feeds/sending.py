"""Sends what waits in the outbox, each feed out by a task and a connection of its own: one that hangs holds up no other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import structlog

from fileroom.admin.tls_in_use import client_tls_for
from fileroom.archive.services import Archive
from fileroom.core.errors import FileroomError
from fileroom.feeds.feed_fields import Outgoing
from fileroom.feeds.feeds import FeedSet
from fileroom.feeds.outbox import send_due, waiting_feeds
from fileroom.hl7.acknowledge import Answer
from fileroom.net.mllp_client import MllpClient, MllpTimeouts
from fileroom.net.tls import PeerTls

LOOK_INTERVAL_S: Final = 0.5
AT_ONCE_MAX: Final = 10
"""Feeds that are sent to at the same time: each holds a connection of the pool while its receiver thinks."""

_log: Final = structlog.get_logger(__name__)


@dataclass(slots=True)
class Hl7Senders:
    """Sends by the feeds in force (`feeds`) until it is closed. The archive's pool shall be its own."""

    archive: Archive
    feeds: Callable[[], FeedSet]
    _running: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _clients: dict[str, tuple[Outgoing, MllpClient]] = field(default_factory=dict)

    async def look(self) -> int:
        """Begin to send what is due; for `tasks.loop.run_periodically`. Raises DatabaseError."""
        there = {one.name: one for one in self.feeds().outgoing}
        for name in [name for name, (feed, _) in self._clients.items() if there.get(name) != feed]:
            if name not in self._running:
                await self._clients.pop(name)[1].close()
        for name in await waiting_feeds(self.archive.pool, self.archive.now()):
            feed = there.get(name)
            if feed is None or name in self._running or len(self._running) >= AT_ONCE_MAX:
                continue
            task = asyncio.create_task(self._send_all(feed))
            self._running[name] = task
            task.add_done_callback(lambda _, name=name: self._running.pop(name, None))  # type: ignore[misc]  # mypy 1: default
        return 0

    async def close(self) -> None:
        """Send no more. What was on its way is sent again under the same control ID."""
        for task in self._running.values():
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)
        for _, client in self._clients.values():
            await client.close()

    async def _send_all(self, feed: Outgoing) -> None:
        try:
            while await send_due(self.archive, feed, self._send):
                pass
        except FileroomError as error:
            _log.warning("hl7_not_sent", feed=feed.name, reason=str(error))

    async def _send(self, feed: Outgoing, raw: bytes) -> Answer:
        known = self._clients.get(feed.name)
        if known is None or known[0] != feed:
            if known is not None:
                await known[1].close()
            tls = None
            if feed.tls != "off":
                wanted = PeerTls(shows_ours=feed.tls == "mutual")
                tls = await client_tls_for(self.archive.pool, self.archive.settings, wanted)
            known = (feed, MllpClient(feed.host, feed.port, tls=tls, timeouts=MllpTimeouts(answer_s=feed.timeout_s)))
            self._clients[feed.name] = known
        return await known[1].send(raw)

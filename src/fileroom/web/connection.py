"""What one HTTP connection may cost: how long its request heads are, how long it may stand still, how many there are.

uvicorn bounds none of it: a request line without an end fills the memory, and a thousand silent clients take every file
that the system lets us open. The application above sees only whole request heads and uploads that go on.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from fileroom.core.limits import (
    HTTP_BODY_TIMEOUT_S,
    HTTP_CHECK_INTERVAL_S,
    HTTP_CONNECTIONS_MAX,
    HTTP_HEAD_BYTES_MAX,
    HTTP_HEAD_TIMEOUT_S,
    SEND_TIMEOUT_S,
)
from fileroom.web.notifications import is_channel


class BoundedHttpProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol within limits. Connections that are idle between requests are left to uvicorn."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._check_timer: asyncio.TimerHandle | None = None
        self._head_since: float | None = self.loop.time()
        """When the request head that is being read began; None between heads."""
        self._head_bytes = 0
        self._received_at = self.loop.time()
        self._unsent_bytes = 0
        self._sent_at = self.loop.time()

    # --- events of the connection ---

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Begin to watch it, or turn it away when there are too many."""
        super().connection_made(transport)
        if len(self.connections) > HTTP_CONNECTIONS_MAX:
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE)
            return
        self._check_later()

    def connection_lost(self, exc: Exception | None) -> None:
        """Watch it no longer."""
        if self._check_timer is not None:
            self._check_timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse it, and end the connection when a head grows past its limit."""
        if self.transport.is_closing():
            return
        self._received_at = self.loop.time()
        super().data_received(data)
        if self._head_since is not None:
            self._head_bytes += len(data)
            if self._head_bytes > HTTP_HEAD_BYTES_MAX:
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    # --- events of the parser ---

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self._head_since = self.loop.time()
        self._head_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The request head is whole."""
        self._head_since = None
        super().on_headers_complete()

    def _should_upgrade_to_ws(self) -> bool:
        """A WebSocket is opened where there is one; elsewhere the request is answered as if it had not asked for that."""
        return super()._should_upgrade_to_ws() and is_channel(self.url)

    # --- standing still ---

    def _check_later(self) -> None:
        self._check_timer = self.loop.call_later(HTTP_CHECK_INTERVAL_S, self._check)

    def _check(self) -> None:
        if self.transport.is_closing():
            return
        now = self.loop.time()
        if self._head_since is not None and now - self._head_since > HTTP_HEAD_TIMEOUT_S:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)
        elif self._upload_stands_still(now) or self._answer_stands_still(now):
            self.transport.abort()
        else:
            self._check_later()

    def _upload_stands_still(self, now: float) -> bool:
        if self.cycle is None or self.cycle.response_complete or not self.cycle.more_body:
            return False
        if self.flow.read_paused:  # it is we who do not read
            self._received_at = now
        return now - self._received_at > HTTP_BODY_TIMEOUT_S

    def _answer_stands_still(self, now: float) -> bool:
        """The client takes none of what was sent. A slow one that takes a little counts as alive."""
        unsent = self.transport.get_write_buffer_size()
        if not unsent or unsent != self._unsent_bytes:
            self._unsent_bytes, self._sent_at = unsent, now
        return now - self._sent_at > SEND_TIMEOUT_S

    def _refuse(self, status: HTTPStatus) -> None:
        """Say why, unless an answer is under way or nothing was asked; then close."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.transport.abort()
            return
        if self._head_bytes or status is HTTPStatus.SERVICE_UNAVAILABLE:
            head = f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            self.transport.write(head.encode("ascii"))
        self.transport.close()

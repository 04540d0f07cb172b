"""The acceptor's side: listens, and serves each connection by a handler (PS3.8 9.1; PS3.7 7).

Several processes may serve one listening socket that they inherited. A handler's mistake ends its own association and
no other. The shapes of handler, sink and port are those of `net.association_handler`.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from fileroom.core.errors import PeerRefusedError
from fileroom.core.limits import ASSOCIATIONS_PER_WORKER_MAX, CONNECTIONS_PER_WORKER_MAX
from fileroom.net.accepting import Listener
from fileroom.net.association_handler import (
    AssociationEnd,
    AssociationHandler,
    AssociationPort,
    DataSink,
    EndKind,
    HandlerFactory,
    Operation,
    PeerAddress,
    Response,
)
from fileroom.net.connection import Timeouts, new_receive_buffer
from fileroom.net.exchange import MessageExchange
from fileroom.net.tls import ServerTls, Trust, check_peer
from fileroom.ul.association import Role
from fileroom.ul.events import AssociationAccepted, AssociationRejected, AssociationRequested
from fileroom.ul.pdu import LOCAL_LIMIT_EXCEEDED, TEMPORARY_CONGESTION, AssociateAC, AssociateRJ
from fileroom.ul.state import State

__all__ = [
    "AssociationEnd",
    "AssociationHandler",
    "AssociationPort",
    "AssociationServer",
    "DataSink",
    "EndKind",
    "HandlerFactory",
    "Operation",
    "PeerAddress",
    "Response",
    "Timeouts",
]

_log = structlog.get_logger(__name__)

_CLOSE_TIMEOUT_S: Final = 2.0
"""After the deadline of a shutdown, how long aborted peers may take to close."""


class AssociationServer:
    """Serves associations on a listening socket until `close`."""

    def __init__(
        self,
        handler_factory: HandlerFactory,
        *,
        associations_max: int = ASSOCIATIONS_PER_WORKER_MAX,
        connections_max: int = CONNECTIONS_PER_WORKER_MAX,
        timeouts: Timeouts | None = None,
    ) -> None:
        self._handler_factory = handler_factory
        self._associations_max = associations_max
        self._connections_max = connections_max
        self._timeouts = timeouts or Timeouts()
        self._receive_buffer = new_receive_buffer()
        self._connections: set[_ServerConnection] = set()
        self._associations: set[_ServerConnection] = set()
        self._servers: list[asyncio.Server | Listener] = []
        self._is_closing = False

    async def start(self, listening: socket.socket) -> None:
        """Serve `listening`, which is bound already and may be shared with other processes."""
        server = await asyncio.get_running_loop().create_server(
            lambda: _ServerConnection(self, self._receive_buffer, self._timeouts), sock=listening
        )
        self._servers.append(server)

    def start_tls(
        self,
        listening: socket.socket,
        current: Callable[[], ServerTls | None],
        on_refused: Callable[[PeerAddress, BaseException], None],
    ) -> None:
        """Serve another socket over TLS. `on_refused` hears who did not come in, and why (`net.tls.why_refused`)."""

        def new_connection() -> _ServerConnection:
            found = current()
            connection = _ServerConnection(self, self._receive_buffer, self._timeouts)
            connection.trust = found.trust if found is not None else None
            connection.on_refused = on_refused
            return connection

        def context() -> ssl.SSLContext | None:
            found = current()
            return found.context if found is not None else None

        listener = Listener(listening, new_connection, context, takes_plain=False, on_refused=on_refused)
        listener.start()
        self._servers.append(listener)

    @property
    def associations(self) -> int:
        """How many associations are open."""
        return len(self._associations)

    async def close(self, deadline_s: float) -> None:
        """Stop accepting; let associations finish for `deadline_s` seconds, then abort the rest.

        Connections without an association are closed at once, requests for new ones are rejected as transient.
        """
        self._is_closing = True
        for server in self._servers:
            server.close()
        for connection in self._connections - self._associations:
            connection.cut()
        await self._wait_for_ends(deadline_s)
        for connection in list(self._connections):
            connection.abort("the server is shutting down")
        await self._wait_for_ends(_CLOSE_TIMEOUT_S)
        for connection in list(self._connections):
            connection.cut()
        await self._wait_for_ends(_CLOSE_TIMEOUT_S)

    async def _wait_for_ends(self, timeout_s: float) -> None:
        if self._connections:
            await asyncio.wait([connection.closed for connection in self._connections], timeout=timeout_s)

    # --- for the connections ---

    def make_handler(self, connection: _ServerConnection) -> AssociationHandler:
        """The handler of a new connection."""
        return self._handler_factory(connection.peer, connection)

    def enter(self, connection: _ServerConnection) -> bool:
        """Count a connection; False if there are too many."""
        if self._is_closing or len(self._connections) >= self._connections_max:
            return False
        self._connections.add(connection)
        return True

    def begin(self, connection: _ServerConnection) -> AssociateRJ | None:
        """Count an association; the rejection if none may be added."""
        if self._is_closing:
            return TEMPORARY_CONGESTION
        if len(self._associations) >= self._associations_max:
            return LOCAL_LIMIT_EXCEEDED
        self._associations.add(connection)
        return None

    def end(self, connection: _ServerConnection) -> None:
        """The association is over."""
        self._associations.discard(connection)

    def leave(self, connection: _ServerConnection) -> None:
        """The connection is gone."""
        self._connections.discard(connection)


class _ServerConnection(MessageExchange):
    """One connection that a peer opened."""

    def __init__(self, server: AssociationServer, receive_buffer: memoryview, timeouts: Timeouts) -> None:
        super().__init__(Role.ACCEPTOR, receive_buffer, timeouts)
        self._server = server
        self._acceptor: AssociationHandler | None = None
        self.trust: Trust | None = None
        self.on_refused: Callable[[PeerAddress, BaseException], None] | None = None

    def _connected(self) -> None:
        try:
            self._check_certificate()
        except PeerRefusedError as error:
            if self.on_refused is not None:
                self.on_refused(self.peer, error)
            self.cut()
            return
        if not self._server.enter(self):
            _log.warning("connection closed, the limit of connections is reached", peer=str(self.peer))
            self.cut()
            return
        try:
            self._acceptor = self.handler = self._server.make_handler(self)
        except Exception as error:  # noqa: BLE001 - the boundary of one association
            self._handler_failed(error)
            self.cut()

    def _check_certificate(self) -> None:
        if self.trust is not None and self._transport is not None:
            check_peer(self._transport.get_extra_info("ssl_object"), None, self.trust)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._server.leave(self)

    def _association_answered(self, event: AssociationRequested | AssociationAccepted | AssociationRejected) -> None:
        if not isinstance(event, AssociationRequested) or self._acceptor is None:
            return
        full = self._server.begin(self)
        if full is not None:
            self._answer(full)
            return
        try:
            answer = self._acceptor.associate(event.request)
        except Exception as error:  # noqa: BLE001 - the boundary of one association
            self._handler_failed(error)
            return
        if isinstance(answer, AssociateAC | AssociateRJ):
            self._answer(answer)
        else:
            self._start_task(self._answer_later(answer))

    async def _answer_later(self, answer: Awaitable[AssociateAC | AssociateRJ]) -> None:
        try:
            async with asyncio.timeout(self._timeouts.artim_s):
                self._answer(await answer)
        except TimeoutError:
            self._answer(TEMPORARY_CONGESTION)

    def _answer(self, answer: AssociateAC | AssociateRJ) -> None:
        request = self.association.request
        if self.association.state is not State.STA3 or request is None:
            return  # the peer has gone meanwhile
        names = {"peer": str(self.peer), "calling_aet": request.calling_aet, "called_aet": request.called_aet}
        if isinstance(answer, AssociateRJ):
            _log.info("association rejected", **names, reason=answer.describe())
            self._perform(self.association.reject(answer))
            self._finish(EndKind.REJECTED, answer.describe(), answer)
            return
        window = answer.user_information.async_operations
        if window is not None:
            self._set_invocations_max(window.performed_max or 1)
        self._perform(self.association.accept(answer))
        _log.info("association accepted", **names, contexts=len(self.contexts))

    def _association_ended(self, end: AssociationEnd) -> None:
        self._server.end(self)
        if end.kind not in (EndKind.RELEASED, EndKind.REJECTED):
            # Port scanners and health checks connect and leave without a word: no news.
            level = "debug" if self.association.request is None else "info"
            getattr(_log, level)("association ended", peer=str(self.peer), kind=end.kind.value, detail=end.detail)
        super()._association_ended(end)

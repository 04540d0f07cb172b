"""One TCP connection that carries an association: bytes between the event loop and `ul.association` (PS3.8 9.1).

Server and client build on `UpperLayerConnection` by way of `net.exchange`. It reads into a buffer that all connections
of a worker share, acknowledges at once, keeps the timers, and sees to it that the end is told exactly once.
"""

from __future__ import annotations

import abc
import asyncio
import socket
import ssl
from dataclasses import dataclass
from typing import Any, Final, cast

import structlog

from fileroom.core.errors import PeerError, PeerTimeoutError
from fileroom.core.limits import (
    ARTIM_TIMEOUT_S,
    ASSOCIATION_IDLE_TIMEOUT_S,
    CONNECT_TIMEOUT_S,
    RECEIVE_BUFFER_BYTES,
    SEND_TIMEOUT_S,
    WRITE_BUFFER_BYTES,
)
from fileroom.net.association_handler import AssociationEnd, EndKind, PeerAddress
from fileroom.net.tls import peer_certificate, why_refused
from fileroom.ul.association import Association, Role
from fileroom.ul.events import (
    AbortOrigin,
    AssociationAborted,
    AssociationAccepted,
    AssociationRejected,
    AssociationRequested,
    CloseConnection,
    Event,
    PDataFragment,
    ReleaseConfirmed,
    ReleaseRequested,
    SendBytes,
    StartTimer,
    StopTimer,
)
from fileroom.ul.items import AbortReason, AbortSource
from fileroom.ul.pdu import Abort, AssociateRJ
from fileroom.ul.state import State

_log = structlog.get_logger(__name__)

_TCP_QUICKACK: Final[int | None] = getattr(socket, "TCP_QUICKACK", None)
_WATCH_INTERVAL_MAX_S: Final = 5.0
"""How late a silent peer may be noticed."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long a connection waits, in seconds."""

    artim_s: float = ARTIM_TIMEOUT_S
    idle_s: float = ASSOCIATION_IDLE_TIMEOUT_S
    send_s: float = SEND_TIMEOUT_S
    connect_s: float = CONNECT_TIMEOUT_S


def new_receive_buffer() -> memoryview:
    """A buffer for all connections of one event loop: each is done with its bytes before the next one reads."""
    return memoryview(bytearray(RECEIVE_BUFFER_BYTES))


class UpperLayerConnection(asyncio.BufferedProtocol, abc.ABC):
    """Feeds an `Association` from a transport and carries out its events."""

    def __init__(self, role: Role, receive_buffer: memoryview, timeouts: Timeouts) -> None:
        self.association = Association(role)
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the transport connection is gone."""
        self._loop = asyncio.get_running_loop()
        self._timeouts = timeouts
        self._buffer = receive_buffer
        self._peer = PeerAddress("", 0)
        self._end: AssociationEnd | None = None
        self._transport: asyncio.Transport | None = None
        self._socket: socket.socket | None = None
        self._artim: asyncio.TimerHandle | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._linger: asyncio.TimerHandle | None = None
        self._last_heard_s = 0.0
        self._bytes_received = 0
        self._bytes_sent = 0
        self._pauses = 0
        self._writable: asyncio.Future[None] | None = None
        self._blocked_since_s = 0.0

    # --- for the layer above ---

    def _connected(self) -> None:
        """The peer's address is known; nothing was read yet."""

    @abc.abstractmethod
    def _association_answered(self, event: AssociationRequested | AssociationAccepted | AssociationRejected) -> None:
        """The association is asked for (acceptor) or answered (requestor)."""

    @abc.abstractmethod
    def _fragment_received(self, fragment: PDataFragment) -> None:
        """Data came. The view is valid during the call."""

    @abc.abstractmethod
    def _association_ended(self, end: AssociationEnd) -> None:
        """The association, or the attempt at one, is over. Called once."""

    @abc.abstractmethod
    def _awaits_peer(self) -> bool:
        """Whether the peer is to speak next; its silence while we work is not held against it."""

    @property
    def peer(self) -> PeerAddress:
        """The other end of the connection."""
        return self._peer

    @property
    def is_established(self) -> bool:
        """False before acceptance and after the end."""
        return self._end is None and self.association.is_established

    def request_release(self) -> None:
        """Ask the peer for an orderly end. Without effect when one is under way."""
        if self.is_established:
            self._perform(self.association.release())

    def abort(self, detail: str = "") -> None:
        """Send A-ABORT as service user and end. `detail` goes to the log."""
        self._abort(AbortSource.SERVICE_USER, AbortReason.NOT_SPECIFIED, detail or "the application ended it")

    async def drain(self) -> None:
        """Wait until the peer has taken most of what was written.

        Raises PeerTimeoutError after the send timeout, PeerError if the association is over.
        """
        if self._end is None and self._writable is not None:
            await asyncio.shield(self._writable)
        if self._end is not None:
            raise self._error_of_end(self._end)

    @property
    def is_receiving(self) -> bool:
        """False while reading is paused."""
        return self._pauses == 0

    def pause_receiving(self) -> None:
        """Stop reading from the peer. Pieces that are already read still come."""
        self._pauses += 1
        if self._pauses == 1 and self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_receiving(self) -> None:
        """Read again. Calls must pair with `pause_receiving`."""
        self._pauses -= 1
        if self._pauses == 0 and self._transport is not None and not self._transport.is_closing():
            self._last_heard_s = self._loop.time()
            self._transport.resume_reading()

    def cut(self) -> None:
        """Drop the connection without a word."""
        if self._transport is not None:
            self._transport.abort()

    # --- asyncio.BufferedProtocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is open."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        address = transport.get_extra_info("peername") or ("", 0)
        shown = transport.get_extra_info("ssl_object")
        self._peer = PeerAddress(str(address[0]), int(address[1]), shown is not None, peer_certificate(shown))
        self._socket = _tuned_socket(transport)
        self._last_heard_s = self._loop.time()
        self._keep_watch()
        self._connected()
        self._perform(self.association.transport_connected())

    def get_buffer(self, _sizehint: int) -> memoryview:
        """Where to read to."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes came."""
        if self._socket is not None:
            _acknowledge_at_once(self._socket)
        self._last_heard_s = self._loop.time()
        self._bytes_received += nbytes
        self._perform(self.association.receive_data(self._buffer[:nbytes]))

    def eof_received(self) -> bool:
        """The peer closed its side. Associations need both: let the transport close."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        if self._socket is not None:
            self._socket.detach()
            self._socket = None
        self._perform(self.association.transport_closed())
        # In TLS 1.3 a server may refuse our certificate when the handshake is over for us.
        detail = why_refused(exc) if isinstance(exc, ssl.SSLError) else "the connection was closed"
        self._finish(EndKind.CONNECTION_LOST, detail)
        self._stop_artim()
        for timer in (self._watch, self._linger):
            if timer is not None:
                timer.cancel()
        self._release_writers()
        if not self.closed.done():
            self.closed.set_result(None)

    def pause_writing(self) -> None:
        """Too much is unsent."""
        self._writable = self._loop.create_future()
        self._blocked_since_s = self._loop.time()

    def resume_writing(self) -> None:
        """The peer took what was written."""
        self._release_writers()

    # --- events of the association ---

    def _perform(self, events: list[Event]) -> None:
        for event in events:
            if type(event) is PDataFragment:
                if self._end is None:
                    self._fragment_received(event)
            else:
                self._perform_one(event)

    def _perform_one(self, event: Event) -> None:
        match event:
            case SendBytes():
                self._write([event.data])
            case StartTimer():
                self._start_artim()
            case StopTimer():
                self._stop_artim()
            case CloseConnection():
                self._close()
            case AssociationRequested() | AssociationAccepted():
                self._association_answered(event)
            case AssociationRejected():
                self._association_answered(event)
                self._finish(EndKind.REJECTED, event.rejection.describe(), event.rejection)
            case ReleaseRequested():
                # On the acceptor's side of a collision our own release is confirmed first (Sta10).
                if self.association.state is not State.STA10:
                    self._respond_release()
            case ReleaseConfirmed():
                if self.association.state is State.STA12:
                    self._respond_release()
                self._finish(EndKind.RELEASED, "released")
            case AssociationAborted():
                abort = None if event.origin is AbortOrigin.CONNECTION else event.abort
                self._finish(_KIND_OF_ABORT[event.origin], event.detail, abort)

    def _respond_release(self) -> None:
        self._perform(self.association.respond_release())
        if self.association.state is not State.STA11:
            self._finish(EndKind.RELEASED, "released by the peer")

    def _abort(
        self, source: AbortSource, reason: AbortReason, detail: str, kind: EndKind = EndKind.ABORTED_BY_US
    ) -> None:
        self._perform(self.association.abort(source, reason))
        self._finish(kind, detail, Abort(source, reason))

    def _finish(self, kind: EndKind, detail: str, last: Abort | AssociateRJ | None = None) -> None:
        """It is over. `last` is the PDU that ended it."""
        if self._end is not None:
            return
        self._end = AssociationEnd(
            kind,
            detail,
            self.association.request,
            self.association.acceptance,
            last if isinstance(last, AssociateRJ) else None,
            last if isinstance(last, Abort) else None,
            self._bytes_received,
            self._bytes_sent,
        )
        self._release_writers()
        if self._pauses and self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()  # to see the peer close
        self._association_ended(self._end)

    @staticmethod
    def _error_of_end(end: AssociationEnd) -> PeerError:
        text = f"the association is over, {end.kind.value}: {end.detail}"
        return PeerTimeoutError(text) if end.kind is EndKind.TIMED_OUT else PeerError(text)

    # --- transport ---

    def _write(self, parts: list[Any]) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._bytes_sent += sum(map(len, parts))
            if len(parts) == 1:
                self._transport.write(parts[0])
            else:
                self._transport.writelines(parts)

    def _close(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.close()
            self._linger = self._loop.call_later(self._timeouts.send_s, self._transport.abort)

    def _release_writers(self) -> None:
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    # --- timers ---

    def _start_artim(self) -> None:
        self._stop_artim()
        self._artim = self._loop.call_later(self._timeouts.artim_s, self._artim_expired)

    def _stop_artim(self) -> None:
        if self._artim is not None:
            self._artim.cancel()
            self._artim = None

    def _artim_expired(self) -> None:
        self._artim = None
        self._perform(self.association.timer_expired())
        self._finish(EndKind.TIMED_OUT, f"no association was requested within {self._timeouts.artim_s:g} s")

    def _keep_watch(self) -> None:
        """Look now and then for a peer that is silent, or does not take our bytes."""
        now_s = self._loop.time()
        if self._writable is not None and now_s - self._blocked_since_s > self._timeouts.send_s:
            self._finish(EndKind.TIMED_OUT, f"the peer took none of our bytes for {self._timeouts.send_s:g} s")
            if self._transport is not None:
                self._transport.abort()
            return
        silent = self.is_established and not self._pauses and self._awaits_peer()
        if silent and now_s - self._last_heard_s > self._timeouts.idle_s:
            detail = f"the peer was silent for {self._timeouts.idle_s:g} s"
            self._abort(AbortSource.SERVICE_PROVIDER, AbortReason.NOT_SPECIFIED, detail, EndKind.TIMED_OUT)
        interval_s = min(self._timeouts.idle_s / 4, self._timeouts.send_s / 4, _WATCH_INTERVAL_MAX_S)
        self._watch = self._loop.call_later(interval_s, self._keep_watch)


_KIND_OF_ABORT: Final = {
    AbortOrigin.PEER: EndKind.ABORTED_BY_PEER,
    AbortOrigin.LOCAL: EndKind.ABORTED_BY_US,
    AbortOrigin.CONNECTION: EndKind.CONNECTION_LOST,
}


def _tuned_socket(transport: asyncio.BaseTransport) -> socket.socket | None:
    """The connection's socket with Nagle's algorithm off; it stays the transport's, and is never closed here."""
    descriptor = transport.get_extra_info("socket")
    if descriptor is None or descriptor.family not in (socket.AF_INET, socket.AF_INET6):
        return None
    own = socket.socket(descriptor.family, socket.SOCK_STREAM, fileno=descriptor.fileno())
    own.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if _TCP_QUICKACK is None:
        own.detach()
        return None
    _acknowledge_at_once(own)
    return own


def _acknowledge_at_once(connection: socket.socket) -> None:
    """Ask for an ACK without delay; the kernel forgets it after a while, so this is repeated with every read.

    Senders that leave Nagle's algorithm on, as DCMTK does, wait for that ACK in the middle of each object: without
    this every C-STORE takes 40 ms.
    """
    if _TCP_QUICKACK is not None:
        try:
            connection.setsockopt(socket.IPPROTO_TCP, _TCP_QUICKACK, 1)
        except OSError:
            _log.debug("quick acknowledgement refused by the system")

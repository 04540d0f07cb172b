"""What a service gives to an association, and what it gets from it: the shapes between `net` and the service classes.

The server and the client share them. Everything runs on the event loop of one worker; nothing here is thread-safe.

An object's way in: `open_store_sink` at the C-STORE-RQ, `DataSink.write` for each piece of its data set, `finish`
after the last. The sink answers when the object is safe: `port.send_response(context.id, respond(command, status))`.
Every other request comes as a whole `Operation` to `handle`, in a task of its own.
"""

from __future__ import annotations

import enum
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from fileroom.dimse.command_set import CommandSet
from fileroom.dimse.message import DataChunk
from fileroom.net.tls import PeerCertificate
from fileroom.ul.negotiation import AcceptedContext
from fileroom.ul.pdu import Abort, AssociateAC, AssociateRJ, AssociateRQ

DataSource = DataChunk | Iterable[DataChunk] | AsyncIterable[DataChunk]
"""An encoded data set, in one piece or in many; never assembled."""


@dataclass(frozen=True, slots=True)
class PeerAddress:
    """Where a connection comes from."""

    host: str
    port: int
    tls: bool = False
    certificate: PeerCertificate | None = None
    """What it has shown."""

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class EndKind(enum.Enum):
    """How an association, or the attempt at one, ended."""

    RELEASED = "released"
    REJECTED = "rejected"
    ABORTED_BY_PEER = "aborted by peer"
    ABORTED_BY_US = "aborted by us"
    CONNECTION_LOST = "connection lost"
    TIMED_OUT = "timed out"


@dataclass(frozen=True, slots=True)
class AssociationEnd:
    """Why an association is over, and what was there before. `detail` is plain text without patient data.

    `request` and `acceptance` are what was asked for and agreed, as far as it came to that; `rejection` or `abort` is
    the PDU that ended it, whoever sent it.
    """

    kind: EndKind
    detail: str
    request: AssociateRQ | None = None
    acceptance: AssociateAC | None = None
    rejection: AssociateRJ | None = None
    abort: Abort | None = None
    bytes_received: int = 0
    bytes_sent: int = 0


@dataclass(frozen=True, slots=True)
class Operation:
    """A whole request. `dataset` is encoded in the transfer syntax of `context`, None if the message had none."""

    context: AcceptedContext
    command: CommandSet
    dataset: bytes | None


@dataclass(frozen=True, slots=True)
class Response:
    """A response to a request of ours."""

    command: CommandSet
    dataset: bytes | None

    @property
    def status(self) -> int:
        """The status code (PS3.7 C)."""
        return self.command.status if self.command.status is not None else 0


class DataSink(Protocol):
    """Takes the data set of one C-STORE as it comes."""

    def write(self, data: memoryview) -> None:
        """A piece of the data set. The view is valid only during the call: copy or write it."""

    def finish(self) -> Awaitable[None] | None:
        """The last piece has come. The sink sends the C-STORE-RSP through the port, now or later.

        An awaitable is run as a task, to its end even if the association ends before; None is quicker.
        """

    def abort(self) -> None:
        """The association died before `finish`. What was written will never be complete."""


class AssociationPort(Protocol):
    """An association as its handler sees it: what was agreed, and ways to speak."""

    @property
    def peer(self) -> PeerAddress:
        """The other end of the connection."""

    @property
    def contexts(self) -> Mapping[int, AcceptedContext]:
        """The accepted presentation contexts by identifier; empty before the association is accepted."""

    @property
    def is_established(self) -> bool:
        """False before acceptance and after the end. What is sent after the end is dropped."""

    def send_response(self, context_id: int, command: CommandSet, dataset: DataChunk | None = None) -> None:
        """Write a response now. `command.has_dataset` must tell the truth. Await `drain()` when sending many."""

    async def drain(self) -> None:
        """Wait until the peer has taken most of what was written.

        Raises PeerTimeoutError (and aborts) after SEND_TIMEOUT_S, PeerError if the association ended.
        """

    async def send_request(
        self, context_id: int, command: CommandSet, dataset: DataSource | None = None, *, timeout_s: float | None = None
    ) -> Response:
        """Send a request of ours and wait for its final response. `command.message_id` is filled in if None.

        Raises PeerTimeoutError (and aborts) without a response in `timeout_s`, PeerError if the association ends.
        """

    def send_request_for_many(
        self, context_id: int, command: CommandSet, dataset: DataSource | None = None, *, timeout_s: float | None = None
    ) -> AsyncGenerator[Response, None]:
        """As `send_request`, giving every pending response and the final one.

        Closed early (`contextlib.aclosing`), it sends C-CANCEL-RQ where that exists and awaits the final response.
        """

    def find_context(
        self, abstract_syntax: str, transfer_syntax: str | None = None, *, as_scu: bool = True
    ) -> AcceptedContext | None:
        """An accepted context in which we may play the role of SCU (or SCP), in `transfer_syntax` if given."""

    def pause_receiving(self) -> None:
        """Stop reading from the peer. Pieces that are already read still come."""

    def resume_receiving(self) -> None:
        """Read again. Calls must pair with `pause_receiving`."""

    def cancelled(self, message_id: int) -> bool:
        """Whether the peer sent C-CANCEL-RQ for its request `message_id`."""

    def abort(self, detail: str = "") -> None:
        """Send A-ABORT (service user) and end. `detail` goes to the log."""


class RequestHandler(Protocol):
    """Answers the requests of a peer on an established association."""

    def open_store_sink(self, context: AcceptedContext, command: CommandSet) -> DataSink:
        """A C-STORE-RQ has come; its data set follows. To refuse it, give a sink that answers with the failure."""

    async def handle(self, operation: Operation) -> None:
        """Answer any other request. It must send a final response before it returns."""

    def association_ended(self, end: AssociationEnd) -> None:
        """Called once, after open sinks were aborted and running `handle` calls cancelled."""


class AssociationHandler(RequestHandler, Protocol):
    """Serves one connection that a peer opened."""

    def associate(self, request: AssociateRQ) -> AssociateAC | AssociateRJ | Awaitable[AssociateAC | AssociateRJ]:
        """Answer the request for an association, by `ul.negotiation.negotiate` as a rule. May be `async def`."""


HandlerFactory = Callable[[PeerAddress, AssociationPort], AssociationHandler]
"""Makes the handler of a new connection."""

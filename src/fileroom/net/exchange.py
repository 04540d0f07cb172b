"""DIMSE messages over one connection, both ways (PS3.7 7, 9, 10): the `AssociationPort` that handlers speak through.

Requests of the peer go to a `RequestHandler`: C-STORE data sets straight into a sink, every other request whole.
Requests of ours wait for their responses here. Nothing on the way of a C-STORE makes a task or a future.
"""

from __future__ import annotations

import asyncio
import traceback
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Coroutine, Iterator, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Final, Protocol

import structlog

from fileroom.core.errors import InvalidRequestError, PeerError, PeerTimeoutError, ProtocolError, TooLargeError
from fileroom.core.limits import (
    CANCEL_TIMEOUT_S,
    OPERATIONS_OUTSTANDING_MAX,
    RESPONSE_TIMEOUT_S,
    RESPONSES_QUEUED_MAX,
)
from fileroom.dimse.command_set import CommandField, CommandSet, encode_command
from fileroom.dimse.message import (
    CommandReceived,
    DataChunk,
    DataReceived,
    DataSetBuffer,
    DataSetCutter,
    MessageAssembler,
    encode_message,
)
from fileroom.dimse.status import is_pending
from fileroom.net.association_handler import AssociationEnd, DataSource, Operation, RequestHandler, Response
from fileroom.net.connection import Timeouts, UpperLayerConnection
from fileroom.ul.association import Role
from fileroom.ul.events import PDataFragment
from fileroom.ul.items import AbortReason, AbortSource
from fileroom.ul.negotiation import AcceptedContext

_log = structlog.get_logger(__name__)


_CANCELLABLE: Final = frozenset({CommandField.C_FIND_RQ, CommandField.C_MOVE_RQ, CommandField.C_GET_RQ})


class _Target(Protocol):
    """Where the data set that is arriving goes. A `DataSink` is one."""

    def write(self, data: memoryview) -> None: ...
    def finish(self) -> Awaitable[None] | None: ...
    def abort(self) -> None: ...


class MessageExchange(UpperLayerConnection):
    """An association's traffic of messages. Subclasses open or accept it, and set `handler`."""

    handler: RequestHandler | None = None

    def __init__(self, role: Role, receive_buffer: memoryview, timeouts: Timeouts) -> None:
        super().__init__(role, receive_buffer, timeouts)
        self._assembler = MessageAssembler()
        self._target: _Target | None = None
        self._open: set[int] = set()
        self._cancelled: set[int] = set()
        self._over_limit = False
        self._tasks: set[asyncio.Future[None]] = set()
        self._storing: set[asyncio.Future[None]] = set()
        self._requests: dict[int, _PendingRequest] = {}
        self._last_message_id = 0
        self._invocations = asyncio.Semaphore(1)
        self._sending = asyncio.Lock()
        self._held_responses: list[bytes] = []

    # --- AssociationPort: what was agreed ---

    @property
    def contexts(self) -> Mapping[int, AcceptedContext]:
        """The accepted presentation contexts by identifier; empty before the association is accepted."""
        return self.association.contexts

    def find_context(
        self, abstract_syntax: str, transfer_syntax: str | None = None, *, as_scu: bool = True
    ) -> AcceptedContext | None:
        """An accepted context in which we may play the role of SCU (or SCP), in `transfer_syntax` if given."""
        want_requestor_scu = as_scu == (self.association.role is Role.REQUESTOR)
        for context in self.contexts.values():
            role_fits = context.requestor_is_scu if want_requestor_scu else context.requestor_is_scp
            syntax_fits = transfer_syntax is None or context.transfer_syntax == transfer_syntax
            if role_fits and syntax_fits and context.abstract_syntax == abstract_syntax:
                return context
        return None

    def cancelled(self, message_id: int) -> bool:
        """Whether the peer sent C-CANCEL-RQ for its open request `message_id`."""
        return message_id in self._cancelled

    # --- AssociationPort: responses ---

    def send_response(self, context_id: int, command: CommandSet, dataset: DataChunk | None = None) -> None:
        """Write a response now, or right after a data set that is being sent. Dropped when the association is over."""
        if command.has_dataset != (dataset is not None):
            raise InvalidRequestError(f"a {command.command_field.name} says otherwise about its data set than is given")
        message_id = command.message_id_responded_to
        if not is_pending(command.status) and message_id is not None:
            self._close_operation(message_id)
        if self._end is not None or not self.association.may_send_data:
            return
        limit = self.association.pdu_bytes_max_send
        message = encode_message(context_id, encode_command(command), dataset, limit)
        if self._sending.locked():
            self._held_responses.append(message)
        else:
            self._write([message])

    def _close_operation(self, message_id: int) -> None:
        self._open.discard(message_id)
        self._cancelled.discard(message_id)
        if self._over_limit and len(self._open) <= OPERATIONS_OUTSTANDING_MAX:
            self._over_limit = False
            self.resume_receiving()

    # --- AssociationPort: requests of ours ---

    async def send_request(
        self, context_id: int, command: CommandSet, dataset: DataSource | None = None, *, timeout_s: float | None = None
    ) -> Response:
        """Send a request and wait for its final response; pending ones are passed over."""
        responses = self.send_request_for_many(context_id, command, dataset, timeout_s=timeout_s)
        async with aclosing(responses):
            async for response in responses:
                if not is_pending(response.status):
                    return response
        raise PeerError("the association ended without a response")

    async def send_request_for_many(
        self, context_id: int, command: CommandSet, dataset: DataSource | None = None, *, timeout_s: float | None = None
    ) -> AsyncGenerator[Response, None]:
        """Send a request; give every pending response and the final one. Closed early, it sends C-CANCEL-RQ.

        `timeout_s` bounds the wait for each response. Raises PeerTimeoutError (and aborts) or PeerError.
        """
        timeout_s = RESPONSE_TIMEOUT_S if timeout_s is None else timeout_s
        async with self._invocations:
            message_id = self._new_message_id() if command.message_id is None else command.message_id
            request = _PendingRequest(self)
            self._requests[message_id] = request
            try:
                await self._send_message(context_id, replace(command, message_id=message_id), dataset)
                while True:
                    response = await self._next_response(request, command, timeout_s)
                    if not is_pending(response.status):
                        request.is_complete = True
                    yield response
                    if request.is_complete:
                        return
            finally:
                await self._give_up(message_id, context_id, request, command)

    def _new_message_id(self) -> int:
        self._last_message_id = self._last_message_id % 0xFFFF + 1
        return self._last_message_id

    async def _next_response(self, request: _PendingRequest, command: CommandSet, timeout_s: float) -> Response:
        try:
            async with asyncio.timeout(timeout_s):
                return await request.take()
        except TimeoutError:
            detail = f"no response to {command.command_field.name} within {timeout_s:g} s"
            self._abort(AbortSource.SERVICE_USER, AbortReason.NOT_SPECIFIED, detail)
            raise PeerTimeoutError(f"{self._peer}: {detail}; the association was aborted") from None

    async def _give_up(self, message_id: int, context_id: int, request: _PendingRequest, command: CommandSet) -> None:
        """Forget a request; if it is still open, cancel it and pass over what comes until its final response."""
        try:
            if not request.is_complete and self._end is None and request.was_sent:
                if command.command_field in _CANCELLABLE:
                    cancel = CommandSet(CommandField.C_CANCEL_RQ, message_id_responded_to=message_id)
                    await self._send_message(context_id, cancel, None)
                while is_pending((await self._next_response(request, command, CANCEL_TIMEOUT_S)).status):
                    pass
        except PeerError:
            pass  # it is over anyway, and the caller has gone
        finally:
            request.forget()
            self._requests.pop(message_id, None)

    async def _send_message(self, context_id: int, command: CommandSet, dataset: DataSource | None) -> None:
        """Write a whole message; other messages wait until it is out (PS3.8 Annex F)."""
        command = replace(command, has_dataset=dataset is not None)
        limit = self.association.pdu_bytes_max_send
        async with self._sending:
            if self._end is not None:
                raise self._error_of_end(self._end)
            self.association.begin_data()
            pending = self._requests.get(command.message_id or 0)
            if pending is not None:
                pending.was_sent = True
            try:
                self._write([encode_message(context_id, encode_command(command), None, limit)])
                if dataset is not None:
                    await self._send_dataset(DataSetCutter(context_id, limit), dataset)
            except BaseException as error:
                if self._end is None:  # the message stands half on the wire: nothing sensible can follow it
                    detail = f"a data set could not be sent to its end: {type(error).__name__}"
                    self._abort(AbortSource.SERVICE_USER, AbortReason.NOT_SPECIFIED, detail)
                raise
            finally:
                held, self._held_responses = self._held_responses, []
                if held and self._end is None:
                    self._write(held)

    async def _send_dataset(self, cutter: DataSetCutter, dataset: DataSource) -> None:
        if isinstance(dataset, bytes | bytearray | memoryview):
            self._write_pairs(cutter.push(dataset))
        elif isinstance(dataset, AsyncIterable):
            async for chunk in dataset:
                self._write_pairs(cutter.push(chunk))
                await self.drain()
        else:
            for chunk in dataset:
                self._write_pairs(cutter.push(chunk))
                await self.drain()
        self._write_pairs(cutter.finish())
        await self.drain()

    def _write_pairs(self, pairs: Iterator[tuple[bytes, memoryview]]) -> None:
        parts = [part for pair in pairs for part in pair]
        if parts:
            self._write(parts)

    # --- what comes from the peer ---

    def _fragment_received(self, fragment: PDataFragment) -> None:
        try:
            message = self._assembler.receive_fragment(fragment)
            if type(message) is DataReceived:
                self._data_received(message)
            elif type(message) is CommandReceived:
                self._command_received(message)
        except (ProtocolError, TooLargeError) as error:
            self._abort(AbortSource.SERVICE_PROVIDER, AbortReason.INVALID_PDU_PARAMETER_VALUE, str(error))
        except Exception as error:  # noqa: BLE001 - the boundary of one association
            self._handler_failed(error)

    def _data_received(self, message: DataReceived) -> None:
        target = self._target
        if target is None:
            raise ProtocolError("a data set came that nobody waits for")
        if len(message.data):
            target.write(message.data)
        if message.is_last:
            self._target = None
            self._run(target.finish())

    def _command_received(self, message: CommandReceived) -> None:
        command, context = message.command, self.contexts[message.context_id]
        target: _Target | None
        if not command.is_request:
            target = self._response_received(command)
        elif command.command_field is CommandField.C_CANCEL_RQ:
            if command.message_id_responded_to in self._open:
                self._cancelled.add(command.message_id_responded_to)
            target = None
        else:
            self._open_operation(command)
            if command.command_field is CommandField.C_STORE_RQ:
                target = self._handler().open_store_sink(context, command)
            else:
                target = _OperationCollector(self, context, command)
        if message.has_dataset:
            self._target = target
        elif target is not None:
            self._run(target.finish())

    def _response_received(self, command: CommandSet) -> _Target:
        request = self._requests.get(command.message_id_responded_to or 0)
        if request is None:
            raise ProtocolError(f"a {command.command_field.name} came for a request that was not made")
        return _ResponseCollector(request, command)

    def _open_operation(self, command: CommandSet) -> None:
        message_id = command.message_id
        if message_id is None or message_id in self._open:
            raise ProtocolError(
                f"a {command.command_field.name} repeats the message ID of a request that is still open"
            )
        self._open.add(message_id)
        if len(self._open) > OPERATIONS_OUTSTANDING_MAX and not self._over_limit:
            self._over_limit = True
            self.pause_receiving()

    def _handler(self) -> RequestHandler:
        if self.handler is None:
            raise RuntimeError("a request came before the association had a handler")
        return self.handler

    def operation_received(self, operation: Operation) -> None:
        """A request other than C-STORE is whole: let the handler answer it in a task."""
        self._start_task(self._handle(operation))

    async def _handle(self, operation: Operation) -> None:
        await self._handler().handle(operation)
        if self._end is None and operation.command.message_id in self._open:
            raise RuntimeError(f"the handler of {operation.command.command_field.name} sent no final response")

    def _run(self, awaitable: Awaitable[None] | None) -> None:
        """Let a sink do what is left. Unlike a `handle` call it is not cancelled when the association ends."""
        if awaitable is not None:
            work = asyncio.ensure_future(awaitable)
            self._storing.add(work)
            work.add_done_callback(self._task_done)

    def _start_task(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)

    def _task_done(self, task: asyncio.Future[None]) -> None:
        self._tasks.discard(task)
        self._storing.discard(task)
        if not task.cancelled():
            error = task.exception()
            if isinstance(error, Exception) and (self._end is None or not isinstance(error, PeerError)):
                self._handler_failed(error)

    def _handler_failed(self, error: Exception) -> None:
        """Our own mistake costs this association only. The text of the error may hold patient data: DEBUG only."""
        place = " < ".join(
            f"{frame.name}:{frame.lineno}" for frame in reversed(traceback.extract_tb(error.__traceback__))
        )
        _log.error(
            "request handler failed, association aborted", peer=str(self._peer), error=type(error).__name__, at=place
        )
        _log.debug("request failed", peer=str(self._peer), exc_info=error)
        detail = f"a request could not be handled: {type(error).__name__}"
        self._abort(AbortSource.SERVICE_PROVIDER, AbortReason.NOT_SPECIFIED, detail)

    # --- the end, and the watch ---

    def _awaits_peer(self) -> bool:
        return not self._open or self._target is not None or not self._assembler.is_idle

    def _set_invocations_max(self, operations_max: int) -> None:
        """How many requests of ours may be open at once, as negotiated; 1 without an asynchronous operations window."""
        self._invocations = asyncio.Semaphore(operations_max)

    def _association_ended(self, end: AssociationEnd) -> None:
        target, self._target = self._target, None
        for request in self._requests.values():
            request.fail(self._error_of_end(end))
        for task in self._tasks:
            # Not at once: a response that came in the same bytes as the release is taken first.
            self._loop.call_soon(task.cancel)
        self._open.clear()
        try:
            if target is not None:
                target.abort()
            if self.handler is not None:
                self.handler.association_ended(end)
        except Exception as error:  # noqa: BLE001 - the boundary of one association
            self._handler_failed(error)


class _OperationCollector(DataSetBuffer):
    """Collects the data set of a request, then hands the operation over."""

    def __init__(self, exchange: MessageExchange, context: AcceptedContext, command: CommandSet) -> None:
        super().__init__()
        self._exchange, self._context, self._command = exchange, context, command

    def finish(self) -> None:
        dataset = self.take() if self._command.has_dataset else None
        self._exchange.operation_received(Operation(self._context, self._command, dataset))

    def abort(self) -> None:
        """Nothing is kept."""


class _ResponseCollector(DataSetBuffer):
    """Collects the data set of a response, then gives it to the request that waits."""

    def __init__(self, request: _PendingRequest, command: CommandSet) -> None:
        super().__init__()
        self._request, self._command = request, command

    def finish(self) -> None:
        dataset = self.take() if self._command.has_dataset else None
        self._request.put(Response(self._command, dataset))

    def abort(self) -> None:
        """Nothing is kept."""


class _PendingRequest:
    """A request of ours that waits for responses. Reads pause while too many of them wait to be taken."""

    def __init__(self, exchange: MessageExchange) -> None:
        self.was_sent = False
        self.is_complete = False
        self._exchange = exchange
        self._responses: deque[Response] = deque()
        self._error: PeerError | None = None
        self._wake: asyncio.Future[None] | None = None
        self._is_pausing = False

    def put(self, response: Response) -> None:
        """A response came."""
        self._responses.append(response)
        if len(self._responses) > RESPONSES_QUEUED_MAX and not self._is_pausing:
            self._is_pausing = True
            self._exchange.pause_receiving()
        self._wake_up()

    def fail(self, error: PeerError) -> None:
        """None will come any more."""
        self._error = error
        self._wake_up()

    async def take(self) -> Response:
        """The next response. Raises PeerError when the association is over and none is left."""
        while not self._responses:
            if self._error is not None:
                raise self._error
            self._wake = asyncio.get_running_loop().create_future()
            await self._wake
        response = self._responses.popleft()
        if not self._responses:
            self.forget()
        return response

    def forget(self) -> None:
        """No longer hold back the peer."""
        if self._is_pausing:
            self._is_pausing = False
            self._exchange.resume_receiving()

    def _wake_up(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

"""The requestor's side: open an association with a peer and use its services (PS3.8 9.1; PS3.7 9, 10; PS3.4 B, C).

    async with connect("pacs.example", 11112, calling_aet=ours, called_aet=theirs, contexts=[...]) as association:
        response = await association.store(sop_class_uid, sop_instance_uid, transfer_syntax, chunks)

Data sets and identifiers are encoded bytes, in the transfer syntax of the context they travel in (`context_of`). Every
wait has a timeout. Leaving the block releases the association; an exception aborts it.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from fileroom.core.errors import InvalidRequestError, NoContextError, PeerError, PeerRefusedError, PeerTimeoutError
from fileroom.core.identifiers import AETitle
from fileroom.core.limits import MOVE_RESPONSE_TIMEOUT_S, PRESENTATION_CONTEXTS_MAX
from fileroom.dimse.command_set import CommandField, CommandSet, Priority, respond
from fileroom.dimse.status import Status
from fileroom.net.association_handler import (
    AssociationEnd,
    AssociationPort,
    DataSink,
    DataSource,
    EndKind,
    Operation,
    RequestHandler,
    Response,
)
from fileroom.net.connection import Timeouts, new_receive_buffer
from fileroom.net.exchange import MessageExchange
from fileroom.net.tls import ClientTls, check_peer, why_refused
from fileroom.ul.association import Role
from fileroom.ul.events import AssociationAccepted, AssociationRejected, AssociationRequested
from fileroom.ul.items import (
    AsyncOperationsWindow,
    ContextResult,
    ExtendedNegotiation,
    PresentationContextProposal,
    RoleSelection,
    UserIdentity,
    UserInformation,
)
from fileroom.ul.negotiation import AcceptedContext
from fileroom.ul.pdu import AssociateAC, AssociateRQ

VERIFICATION: Final = "1.2.840.10008.1.1"
"""Verification SOP class (PS3.4 A)."""

OpenSink = Callable[[AssociationPort, AcceptedContext, CommandSet], DataSink]
"""Gives the sink of a C-STORE sub-operation that a C-GET brings. The sink answers through the port."""


@dataclass(frozen=True, slots=True)
class ProposedContext:
    """What we would like to do: a SOP class, its transfer syntaxes, and the roles we would play."""

    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]
    as_scu: bool = True
    as_scp: bool = False


@dataclass(frozen=True, slots=True)
class RefusedContext:
    """A proposal that the peer did not accept, and why."""

    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]
    result: ContextResult

    def describe(self) -> str:
        """The refusal in words."""
        return f"{self.abstract_syntax}: {_REFUSALS[self.result]}"


_REFUSALS: Final[Mapping[ContextResult, str]] = {
    ContextResult.ACCEPTANCE: "accepted with a transfer syntax that was not proposed",
    ContextResult.USER_REJECTION: "refused by the application",
    ContextResult.NO_REASON: "refused, no reason given",
    ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED: "the SOP class is not supported",
    ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED: "none of the transfer syntaxes is supported",
}


@asynccontextmanager
async def connect(
    host: str,
    port: int,
    *,
    calling_aet: AETitle,
    called_aet: AETitle,
    contexts: Sequence[ProposedContext],
    handler: RequestHandler | None = None,
    user_identity: UserIdentity | None = None,
    extended: tuple[ExtendedNegotiation, ...] = (),
    async_operations: AsyncOperationsWindow | None = None,
    timeouts: Timeouts | None = None,
    tls: ClientTls | None = None,
    on_end: Callable[[AssociationEnd], None] | None = None,
) -> AsyncIterator[ClientAssociation]:
    """Open an association and yield it.

    `handler` answers requests that the peer makes on it, as N-EVENT-REPORT; without one they are answered as
    unrecognized. With `tls` the peer is called over TLS, and checked before it hears anything. `on_end` hears how it ended,
    once there was a connection. Raises PeerRefusedError if the peer cannot be reached, is not who it shall be, rejects the
    association or accepts no context, and PeerTimeoutError if it does not answer in time.
    """
    user_information = UserInformation(
        async_operations=async_operations,
        roles=_role_selections(contexts),
        extended=extended,
        user_identity=user_identity,
    )
    request = AssociateRQ(str(called_aet), str(calling_aet), _proposals(contexts), user_information)
    connection = await _open(host, port, request, handler, timeouts or Timeouts(), tls, on_end)
    association = ClientAssociation(connection)
    try:
        if not connection.contexts:
            reasons = "; ".join(refused.describe() for refused in association.refused)
            raise NoContextError(f"{called_aet} at {host}:{port} accepted none of the proposed contexts: {reasons}")
        yield association
        await association.release()
    finally:
        connection.abort("the caller left")  # without effect after a release
        await connection.wait_closed()


class ClientAssociation:
    """An association that we opened. One request at a time, unless an asynchronous operations window was agreed."""

    def __init__(self, connection: _ClientConnection, port: AssociationPort | None = None) -> None:
        self._connection = connection
        self._port = port or connection
        accepted = connection.contexts
        self.refused: tuple[RefusedContext, ...] = tuple(
            RefusedContext(proposal.abstract_syntax, proposal.transfer_syntaxes, connection.result_of(proposal.id))
            for proposal in connection.proposals
            if proposal.id not in accepted
        )
        """What the peer did not accept."""

    @property
    def port(self) -> AssociationPort:
        """The association as handlers see it: `contexts`, `send_request`, ..."""
        return self._port

    def through(self, port: AssociationPort) -> ClientAssociation:
        """The same association, its requests made through a port that stands before its own."""
        return ClientAssociation(self._connection, port)

    @property
    def request(self) -> AssociateRQ:
        """What we asked for."""
        return self._connection.request

    @property
    def acceptance(self) -> AssociateAC:
        """The peer's answer, with extended negotiation and user identity response."""
        if self._connection.association.acceptance is None:
            raise InvalidRequestError("the association was not accepted")
        return self._connection.association.acceptance

    def context_of(self, abstract_syntax: str, transfer_syntax: str | None = None) -> AcceptedContext:
        """The accepted context in which we are SCU. Raises PeerRefusedError with the peer's reason if there is none."""
        context = self._connection.find_context(abstract_syntax, transfer_syntax)
        if context is not None:
            return context
        reasons = [refused.describe() for refused in self.refused if refused.abstract_syntax == abstract_syntax]
        syntax = "" if transfer_syntax is None else f" in transfer syntax {transfer_syntax}"
        why = "; ".join(reasons) or "it was not proposed, or accepted in another transfer syntax or role"
        raise PeerRefusedError(f"{self._connection.peer} has no accepted context for {abstract_syntax}{syntax}: {why}")

    # --- DIMSE-C (PS3.7 9.1) ---

    async def echo(self, *, timeout_s: float | None = None) -> Response:
        """C-ECHO."""
        return await self._request(CommandField.C_ECHO_RQ, VERIFICATION, timeout_s=timeout_s)

    async def store(
        self,
        sop_class_uid: str,
        sop_instance_uid: str,
        transfer_syntax: str,
        dataset: DataSource,
        *,
        move_originator: tuple[str, int] | None = None,
        timeout_s: float | None = None,
    ) -> Response:
        """C-STORE of an encoded data set. `move_originator` is AE title and message ID of the C-MOVE that caused it."""
        context = self.context_of(sop_class_uid, transfer_syntax)
        originator_aet, originator_message_id = move_originator or (None, None)
        command = CommandSet(
            CommandField.C_STORE_RQ,
            affected_sop_class_uid=sop_class_uid,
            affected_sop_instance_uid=sop_instance_uid,
            priority=Priority.MEDIUM,
            move_originator_aet=originator_aet,
            move_originator_message_id=originator_message_id,
        )
        return await self._port.send_request(context.id, command, dataset, timeout_s=timeout_s)

    def find(
        self, model_uid: str, identifier: bytes, *, timeout_s: float | None = None
    ) -> AsyncGenerator[Response, None]:
        """C-FIND: each match (status pending, `dataset` its identifier), then the final response.

        Leave early through `contextlib.aclosing` to cancel.
        """
        return self._query(CommandField.C_FIND_RQ, model_uid, identifier, None, timeout_s)

    def move(
        self, model_uid: str, identifier: bytes, destination: AETitle, *, timeout_s: float | None = None
    ) -> AsyncGenerator[Response, None]:
        """C-MOVE: pending responses with sub-operation counts, then the final one. `timeout_s` is for each."""
        timeout_s = MOVE_RESPONSE_TIMEOUT_S if timeout_s is None else timeout_s
        return self._query(CommandField.C_MOVE_RQ, model_uid, identifier, str(destination), timeout_s)

    async def get(
        self, model_uid: str, identifier: bytes, open_sink: OpenSink, *, timeout_s: float | None = None
    ) -> AsyncGenerator[Response, None]:
        """C-GET: objects go to the sinks that `open_sink` gives, responses as for `move`.

        The storage SOP classes must have been proposed with `as_scp`.
        """
        timeout_s = MOVE_RESPONSE_TIMEOUT_S if timeout_s is None else timeout_s
        responses = self._query(CommandField.C_GET_RQ, model_uid, identifier, None, timeout_s)
        self._connection.open_sink = open_sink
        try:
            async for response in responses:
                yield response
        finally:
            await responses.aclose()
            self._connection.open_sink = None

    def _query(
        self, field: CommandField, model_uid: str, identifier: bytes, destination: str | None, timeout_s: float | None
    ) -> AsyncGenerator[Response, None]:
        command = CommandSet(
            field, affected_sop_class_uid=model_uid, priority=Priority.MEDIUM, move_destination=destination
        )
        context = self.context_of(model_uid)
        return self._port.send_request_for_many(context.id, command, identifier, timeout_s=timeout_s)

    # --- DIMSE-N (PS3.7 10.1) ---

    async def n_event_report(
        self, sop_class_uid: str, sop_instance_uid: str, event_type_id: int, information: bytes | None
    ) -> Response:
        """N-EVENT-REPORT. As it goes from SCP to SCU, it needs a context in which we are SCP."""
        context = self._connection.find_context(sop_class_uid, as_scu=False) or self.context_of(sop_class_uid)
        command = CommandSet(
            CommandField.N_EVENT_REPORT_RQ,
            affected_sop_class_uid=sop_class_uid,
            affected_sop_instance_uid=sop_instance_uid,
            event_type_id=event_type_id,
        )
        return await self._port.send_request(context.id, command, information)

    async def n_action(
        self, sop_class_uid: str, sop_instance_uid: str, action_type_id: int, information: bytes | None
    ) -> Response:
        """N-ACTION."""
        return await self._request(
            CommandField.N_ACTION_RQ, sop_class_uid, sop_instance_uid, information, action_type_id=action_type_id
        )

    async def n_create(self, sop_class_uid: str, sop_instance_uid: str | None, attributes: bytes | None) -> Response:
        """N-CREATE. Without an instance UID the peer makes one and tells it in the response."""
        return await self._request(CommandField.N_CREATE_RQ, sop_class_uid, sop_instance_uid, attributes)

    async def n_set(self, sop_class_uid: str, sop_instance_uid: str, modifications: bytes) -> Response:
        """N-SET."""
        return await self._request(CommandField.N_SET_RQ, sop_class_uid, sop_instance_uid, modifications)

    async def n_get(self, sop_class_uid: str, sop_instance_uid: str, tags: tuple[int, ...] = ()) -> Response:
        """N-GET of the attributes `tags`, of all without any."""
        return await self._request(
            CommandField.N_GET_RQ, sop_class_uid, sop_instance_uid, attribute_identifiers=tags or None
        )

    async def n_delete(self, sop_class_uid: str, sop_instance_uid: str) -> Response:
        """N-DELETE."""
        return await self._request(CommandField.N_DELETE_RQ, sop_class_uid, sop_instance_uid)

    async def _request(
        self,
        field: CommandField,
        sop_class_uid: str,
        sop_instance_uid: str | None = None,
        dataset: bytes | None = None,
        *,
        action_type_id: int | None = None,
        attribute_identifiers: tuple[int, ...] | None = None,
        timeout_s: float | None = None,
    ) -> Response:
        """A request with one response. C-ECHO and N-CREATE affect their SOP, others request it (PS3.7 9.3, 10.3)."""
        affects = field in (CommandField.C_ECHO_RQ, CommandField.N_CREATE_RQ)
        command = CommandSet(
            field,
            affected_sop_class_uid=sop_class_uid if affects else None,
            affected_sop_instance_uid=sop_instance_uid if affects else None,
            requested_sop_class_uid=None if affects else sop_class_uid,
            requested_sop_instance_uid=None if affects else sop_instance_uid,
            action_type_id=action_type_id,
            attribute_identifiers=attribute_identifiers,
        )
        context = self.context_of(sop_class_uid)
        return await self._port.send_request(context.id, command, dataset, timeout_s=timeout_s)

    # --- the end ---

    async def release(self) -> None:
        """End in good order. Raises PeerError if the association broke before, PeerTimeoutError without an answer."""
        await self._connection.release()

    def abort(self) -> None:
        """End at once."""
        self._connection.abort("the caller aborted")


class _ClientConnection(MessageExchange):
    """One connection that we opened."""

    def __init__(
        self,
        request: AssociateRQ,
        handler: RequestHandler | None,
        timeouts: Timeouts,
        on_end: Callable[[AssociationEnd], None] | None,
    ) -> None:
        super().__init__(Role.REQUESTOR, new_receive_buffer(), timeouts)
        self.answered: asyncio.Future[None] = self._loop.create_future()
        self.open_sink: OpenSink | None = None
        self.request = request
        self.proposals = request.presentation_contexts
        self._on_end = on_end
        self.handler = _GetReceiver(self, handler)
        self._perform(self.association.request_association(request))

    def result_of(self, context_id: int) -> ContextResult:
        """The peer's word on a proposal; silence is rejection."""
        acceptance = self.association.acceptance
        results = acceptance.presentation_contexts if acceptance is not None else ()
        return next((result.result for result in results if result.id == context_id), ContextResult.NO_REASON)

    async def release(self) -> None:
        """Release and wait for the end."""
        self.request_release()
        await self.wait_closed()
        if self._end is None or self._end.kind is not EndKind.RELEASED:
            detail = "no answer to our release" if self._end is None else f"{self._end.kind.value}: {self._end.detail}"
            raise PeerError(f"{self._peer}: the association did not end in good order: {detail}")

    async def wait_closed(self) -> None:
        """Wait until the connection is gone; cut it if that takes too long."""
        await asyncio.wait([self.closed], timeout=self._timeouts.artim_s)
        if not self.closed.done():
            self.cut()
            await asyncio.wait([self.closed], timeout=self._timeouts.artim_s)

    def _association_answered(self, event: AssociationRequested | AssociationAccepted | AssociationRejected) -> None:
        if isinstance(event, AssociationAccepted):
            window = event.acceptance.user_information.async_operations
            if window is not None:
                self._set_invocations_max(window.invoked_max or PRESENTATION_CONTEXTS_MAX)
            if not self.answered.done():
                self.answered.set_result(None)
        elif isinstance(event, AssociationRejected) and not self.answered.done():
            self.answered.set_exception(PeerRefusedError(event.rejection.describe()))

    def _association_ended(self, end: AssociationEnd) -> None:
        if not self.answered.done():
            self.answered.set_exception(PeerRefusedError(f"no association: {end.kind.value}, {end.detail}"))
        super()._association_ended(end)
        if self._on_end is not None:
            self._on_end(end)


class _GetReceiver:
    """Answers the peer's requests: sub-operations of a running C-GET to its sinks, the others by the given handler."""

    def __init__(self, connection: _ClientConnection, handler: RequestHandler | None) -> None:
        self._connection, self._handler = connection, handler

    def open_store_sink(self, context: AcceptedContext, command: CommandSet) -> DataSink:
        if self._connection.open_sink is not None:
            return self._connection.open_sink(self._connection, context, command)
        if self._handler is not None:
            return self._handler.open_store_sink(context, command)
        return _RefusingSink(self._connection, context, command)

    async def handle(self, operation: Operation) -> None:
        if self._handler is not None:
            await self._handler.handle(operation)
        else:
            refusal = respond(operation.command, Status.UNRECOGNIZED_OPERATION)
            self._connection.send_response(operation.context.id, refusal)

    def association_ended(self, end: AssociationEnd) -> None:
        if self._handler is not None:
            self._handler.association_ended(end)


class _RefusingSink:
    """Answers a C-STORE that nobody asked for."""

    def __init__(self, port: AssociationPort, context: AcceptedContext, command: CommandSet) -> None:
        self._port, self._context, self._command = port, context, command

    def write(self, data: memoryview) -> None:
        """Nothing is kept."""

    def finish(self) -> None:
        self._port.send_response(self._context.id, respond(self._command, Status.UNRECOGNIZED_OPERATION))

    def abort(self) -> None:
        """Nothing was kept."""


# --- opening ---


def _proposals(contexts: Sequence[ProposedContext]) -> tuple[PresentationContextProposal, ...]:
    if not 1 <= len(contexts) <= PRESENTATION_CONTEXTS_MAX:
        raise InvalidRequestError(
            f"{len(contexts)} presentation contexts were to be proposed; an association has room for 1 to "
            f"{PRESENTATION_CONTEXTS_MAX}, use several"
        )
    return tuple(
        PresentationContextProposal(2 * index + 1, context.abstract_syntax, context.transfer_syntaxes)
        for index, context in enumerate(contexts)
    )


def _role_selections(contexts: Sequence[ProposedContext]) -> tuple[RoleSelection, ...]:
    roles = {c.abstract_syntax: RoleSelection(c.abstract_syntax, c.as_scu, c.as_scp) for c in contexts}
    return tuple(role for role in roles.values() if not role.scu_role or role.scp_role)


async def _connect(
    host: str, port: int, new: Callable[[], _ClientConnection], tls: ClientTls | None
) -> _ClientConnection:
    """A connection on which our request is under way. Raises OSError, PeerRefusedError for a peer that is another one."""
    loop = asyncio.get_running_loop()
    if tls is None:
        return (await loop.create_connection(new, host, port))[1]
    # The peer is known before it hears anything of us: the association begins after its certificate was looked at.
    transport, _ = await loop.create_connection(asyncio.Protocol, host, port, ssl=tls.context, server_hostname=host)
    try:
        check_peer(transport.get_extra_info("ssl_object"), tls.wanted, tls.trust)
    except BaseException:
        transport.abort()
        raise
    connection = new()
    transport.set_protocol(connection)
    connection.connection_made(transport)
    return connection


async def _open(
    host: str,
    port: int,
    request: AssociateRQ,
    handler: RequestHandler | None,
    timeouts: Timeouts,
    tls: ClientTls | None,
    on_end: Callable[[AssociationEnd], None] | None,
) -> _ClientConnection:
    """A connection whose association the peer accepted."""
    where = f"{request.called_aet} at {host}:{port}"
    try:
        async with asyncio.timeout(timeouts.connect_s):
            connection = await _connect(host, port, lambda: _ClientConnection(request, handler, timeouts, on_end), tls)
    except TimeoutError:
        raise PeerTimeoutError(f"{where} did not take a connection within {timeouts.connect_s:g} s") from None
    except (ssl.SSLError, ConnectionAbortedError, PeerRefusedError) as error:
        raise PeerRefusedError(f"No TLS with {where}: {why_refused(error)}") from error
    except OSError as error:
        raise PeerRefusedError(f"{where} could not be reached: {error.strerror or error}") from error
    try:
        async with asyncio.timeout(timeouts.artim_s):
            await connection.answered
    except TimeoutError:
        connection.cut()
        raise PeerTimeoutError(f"{where} did not answer the A-ASSOCIATE-RQ within {timeouts.artim_s:g} s") from None
    except PeerRefusedError as error:
        raise PeerRefusedError(f"{where}: {error}") from None
    except BaseException:
        connection.cut()
        raise
    return connection

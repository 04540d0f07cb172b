"""One association that a peer opened: may it come in, what is agreed, and which service answers which request.

C-ECHO  scp.echo        C-STORE  scp.store        C-FIND  scp.find
C-GET, C-MOVE  scp.retrieve                       N-ACTION, N-EVENT-REPORT       scp.commitment
N-CREATE  scp.performed_step, scp.availability    N-SET, N-GET  scp.performed_step
Everything on contexts of Unified Procedure Steps  scp.workitem

The association acts as a node. What comes from the network runs in asyncio's own context, in which nobody acts, so each
request is served inside of `acting_as`, and the tasks that it starts take that with them.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog

from fileroom.admin.callers import (
    AccessOf,
    Admission,
    admit,
    judge,
    narrowed,
    node_access,
    pace,
    plain_address,
    take_slot,
)
from fileroom.admin.ledger_rows import Cause, Direction
from fileroom.admin.node_fields import Node, NodeRole
from fileroom.archive.services import Archive
from fileroom.archive.transfers import ReceivedObjects
from fileroom.core.access import NOBODY, Access, Permission, acting_as
from fileroom.core.errors import DatabaseError, FileroomError, NotAllowedError
from fileroom.dicom import uids
from fileroom.dimse.command_set import CommandField, CommandSet, respond
from fileroom.dimse.status import Status
from fileroom.net.association_handler import AssociationEnd, AssociationPort, DataSink, Operation, PeerAddress
from fileroom.routing.completeness import Hint, give_hint
from fileroom.routing.fetch import RECEIVED_BY
from fileroom.scp import availability, commitment, find, offer, performed_step, retrieve
from fileroom.scp.call import Call
from fileroom.scp.node_watch import NodeWatch
from fileroom.scp.store import StoreSink
from fileroom.scp.workitem import WATCHING_ACTIONS, serve_workitem
from fileroom.scp.worklist import find_worklist
from fileroom.ul.negotiation import AcceptedContext, negotiate
from fileroom.ul.pdu import CALLING_AET_NOT_RECOGNIZED, LOCAL_LIMIT_EXCEEDED, AssociateAC, AssociateRJ, AssociateRQ

_log: Final = structlog.get_logger(__name__)


async def _echo(call: Call, operation: Operation) -> None:
    """Verification SCP (PS3.4 Annex A)."""
    call.port.send_response(operation.context.id, respond(operation.command, Status.SUCCESS))


async def _find(call: Call, operation: Operation) -> None:
    """A search for studies, or for a modality worklist."""
    is_worklist = operation.context.abstract_syntax == uids.MODALITY_WORKLIST_FIND
    await (find_worklist if is_worklist else find.find)(call, operation)


async def _create(call: Call, operation: Operation) -> None:
    """A performed procedure step begins, or objects are said to be available."""
    is_step = operation.command.sop_class_uid == uids.MODALITY_PERFORMED_PROCEDURE_STEP
    await (performed_step.create_step if is_step else availability.note_availability)(call, operation)


Service = Callable[[Call, Operation], Awaitable[None]]
SERVICES: Final[dict[CommandField, Service]] = {
    CommandField.C_ECHO_RQ: _echo,
    CommandField.C_FIND_RQ: _find,
    CommandField.C_GET_RQ: retrieve.get,
    CommandField.C_MOVE_RQ: retrieve.move,
    CommandField.N_ACTION_RQ: commitment.request_commitment,
    CommandField.N_EVENT_REPORT_RQ: commitment.receive_result,
    CommandField.N_CREATE_RQ: _create,
    CommandField.N_SET_RQ: performed_step.set_step,
    CommandField.N_GET_RQ: performed_step.get_step,
}


ROLES: Final = {
    CommandField.C_FIND_RQ: NodeRole.QUERY,
    CommandField.C_GET_RQ: NodeRole.RETRIEVE,
    CommandField.C_MOVE_RQ: NodeRole.RETRIEVE,
    CommandField.N_ACTION_RQ: NodeRole.COMMIT,
    CommandField.N_EVENT_REPORT_RQ: NodeRole.DESTINATION,
    CommandField.N_CREATE_RQ: NodeRole.SEND,
    CommandField.N_SET_RQ: NodeRole.SEND,
    CommandField.N_GET_RQ: NodeRole.QUERY,
}
"""What a node needs for a request, beside the permissions that the services ask for."""


def _service_of(operation: Operation) -> Service | None:
    if operation.context.abstract_syntax in offer.WORKITEMS:
        return serve_workitem
    return SERVICES.get(operation.command.command_field)


def _role_of(operation: Operation) -> NodeRole | None:
    """Whoever watches workitems only looks; who acts on them says something, as with performed steps."""
    command = operation.command
    if operation.context.abstract_syntax in offer.WORKITEMS and command.command_field is CommandField.N_ACTION_RQ:
        return NodeRole.QUERY if command.action_type_id in WATCHING_ACTIONS else NodeRole.SEND
    return ROLES.get(command.command_field)


class PeerAssociation:
    """The handler of one association (`net.association_handler.AssociationHandler`)."""

    def __init__(
        self,
        archive: Archive,
        peer: PeerAddress,
        port: AssociationPort,
        access_of: AccessOf = node_access,
        watch: NodeWatch | None = None,
    ) -> None:
        self.slot: int | None = None
        self._watch = watch
        self._node: Node | None = None
        self._archive = archive
        self._peer = peer
        self._port = port
        self._access_of = access_of
        self._access = NOBODY
        self._call: Call | None = None
        self._received: ReceivedObjects | None = None
        self._journal = archive.ledger.begin(Direction.IN, peer)

    async def associate(self, request: AssociateRQ) -> AssociateAC | AssociateRJ:
        """Look the caller up, then negotiate."""
        self._journal.requested(request)
        try:
            # Control characters in a title (PS3.5 6.2 allows none) would spoil logs, rows and file meta information.
            printable = request.calling_aet.isprintable()
            admission = await self._admitted(request) if printable else Admission(Cause.BAD_TITLE)
        except FileroomError as error:
            _log.warning("association_refused", peer=str(self._peer), reason=str(error))
            self._journal.answered(request, LOCAL_LIMIT_EXCEEDED, Cause.NOT_READY, str(error))
            return LOCAL_LIMIT_EXCEEDED
        if admission.cause is Cause.NODE_LIMIT:
            self._journal.answered(request, LOCAL_LIMIT_EXCEEDED, Cause.NODE_LIMIT, admission.detail)
            return LOCAL_LIMIT_EXCEEDED
        policy = offer.policy(
            self._archive.settings,
            caller_is_known=admission.is_granted,
            node=admission.node,
            roles=request.user_information.roles,
        )
        answer = negotiate(request, policy)
        cause = admission.cause if request.calling_aet else Cause.BAD_TITLE
        if answer != CALLING_AET_NOT_RECOGNIZED:
            cause = Cause.NONE
        self._journal.answered(request, answer, cause, admission.detail if cause else "")
        if isinstance(answer, AssociateRJ):
            _log.info(
                "association_rejected",
                peer=str(self._peer),
                calling_aet=request.calling_aet,
                called_aet=request.called_aet,
                reason=str(answer),
                cause=admission.cause.value,
            )
        else:
            self._node = admission.node
            self._call = Call.from_request(self._archive, self._port, request, self._journal, node=self._node)
            self._access = narrowed(self._access_of(request.calling_aet, self._peer.host), self._node)
            if self._watch is not None:
                self._watch.enter(self)
        return answer

    async def _admitted(self, request: AssociateRQ) -> Admission:
        """Whether the caller may come in, and whether there is a place for it. Raises DatabaseError."""
        pool = self._archive.pool
        peer = self._peer
        admission = await admit(pool, request.calling_aet, peer.host, tls=peer.tls, certificate=peer.certificate)
        node = admission.node
        if not admission.is_granted or node is None or not node.associations_max:
            return admission
        self.slot = await take_slot(pool, node)
        if self.slot is not None:
            return admission
        detail = f"The node {node.name} has {node.associations_max} associations open, as many as it may."
        return Admission(Cause.NODE_LIMIT, node, detail)

    async def nodes_changed(self, nodes: dict[str, Node]) -> None:
        """An administrator has changed nodes: what they allow holds from the next request on."""
        call = self._call
        if call is None:
            return
        node = nodes.get(call.calling_aet)
        peer = self._peer
        admission = await judge(node, plain_address(peer.host), tls=peer.tls, certificate=peer.certificate)
        if not admission.is_granted:
            self._journal.row.cause, self._journal.row.detail = admission.cause, admission.detail
            self._port.abort(f"the node of {call.calling_aet} was changed: {admission.cause.value}")
            return
        self._node = node
        self._call = dataclasses.replace(call, node=node)
        self._access = narrowed(self._access_of(call.calling_aet, self._peer.host), node)

    def open_store_sink(self, context: AcceptedContext, command: CommandSet) -> DataSink:
        """A C-STORE begins."""
        calling_aet, access, node = self._established().calling_aet, self._access, self._node
        if self._received is None:
            self._received = ReceivedObjects(self._archive, access)
        return StoreSink(
            self._archive,
            self._port,
            context,
            command,
            calling_aet,
            access if node is None else _for_storing(access, node),
            self._journal,
            self._received,
            assumed_charset=node.charset_assumed if node is not None else "",
            hold=partial(self._hold, node) if node is not None and node.objects_per_minute_max else None,
            received_by=_door(self._archive, node, command),
        )

    async def handle(self, operation: Operation) -> None:
        """Every other request."""
        call = self._established()
        self._journal.operation_began(operation.command, operation.context)
        service = _service_of(operation)
        if service is None:
            call.port.send_response(operation.context.id, respond(operation.command, Status.UNRECOGNIZED_OPERATION))
            return
        role = _role_of(operation)
        if role is not None and self._node is not None and not self._node.may(role):
            error = NotAllowedError(f"The node {self._node.name} has not the role {role.value}.")
            call.explain(operation, error)
            refusal = respond(operation.command, Status.NOT_AUTHORIZED, error_comment=str(error))
            call.port.send_response(operation.context.id, refusal)
            return
        with acting_as(self._access):
            await service(call, operation)

    def association_ended(self, end: AssociationEnd) -> None:
        """Nothing is held beyond the association; `net` has logged its end; ledger and audit trail keep it."""
        self._journal.ended(end)
        if self._received is not None:
            self._received.ended()
            if self._archive.arrivals.gathers and self._received.study_uids:
                _in_background(self._hint(sorted(self._received.study_uids)))
        if self._watch is not None and (self._call is not None or self.slot is not None):
            _in_background(self._watch.leave(self))

    async def _hint(self, study_uids: list[str]) -> None:
        """The studies that came on this association may be complete."""
        await give_hint(self._archive.pool, study_uids, Hint.ASSOCIATION_ENDED)

    async def _hold(self, node: Node) -> None:
        """Keep an answer back as long as the node's pace asks for."""
        try:
            await asyncio.sleep(await pace(self._archive.pool, node))
        except DatabaseError as error:
            _log.warning("pace_not_kept", node=node.name, reason=str(error))

    def _established(self) -> Call:
        if self._call is None:
            raise AssertionError("a request before the association was accepted")
        return self._call


def _door(archive: Archive, node: Node | None, command: CommandSet) -> str:
    """How an object comes in. What we have asked for by a C-MOVE to ourselves is fetched (PS3.7 9.1.1.1.7)."""
    own_titles = {archive.settings.aet, node.own_aet if node is not None else ""} - {""}
    return RECEIVED_BY if command.move_originator_aet in own_titles else "dimse"


def _for_storing(access: Access, node: Node) -> Access:
    """Storage commitment needs the permission to store as well, but does not bring it."""
    if node.may(NodeRole.SEND):
        return access
    return dataclasses.replace(access, permissions=access.permissions - {Permission.STUDY_STORE})


def _in_background(work: Awaitable[None]) -> None:
    task = asyncio.ensure_future(work)
    _leaving.add(task)
    task.add_done_callback(_left)


def _left(task: asyncio.Future[None]) -> None:
    """Written. What could not be written does no harm: a slot expires by itself, a study is complete after a while."""
    _leaving.discard(task)
    if not task.cancelled() and task.exception() is not None:
        _log.warning("farewell_not_written", reason=str(task.exception()))


_leaving: set[asyncio.Future[None]] = set()
"""Farewells that nobody awaits; asyncio itself keeps only weak references to tasks."""


@dataclass(frozen=True, slots=True)
class PeerAssociationFactory:
    """Makes the handler of each new connection. `watch.look` is to be called every second."""

    archive: Archive
    access_of: AccessOf = node_access
    watch: NodeWatch | None = None

    def __call__(self, peer: PeerAddress, port: AssociationPort) -> PeerAssociation:
        """A handler for one connection."""
        return PeerAssociation(self.archive, peer, port, self.access_of, self.watch)

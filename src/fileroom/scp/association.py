"""One association that a peer opened: may it come in, what is agreed, and which service answers which request.

C-ECHO  scp.echo        C-STORE  scp.store        C-FIND  scp.find
C-GET, C-MOVE  scp.retrieve                       N-ACTION (Storage Commitment)  scp.commitment

The association acts as a node. What comes from the network runs in asyncio's own context, in which nobody acts, so each
request is served inside of `acting_as`, and the tasks that it starts take that with them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import structlog

from fileroom.admin.ledger_rows import Cause, Direction
from fileroom.admin.nodes import AccessOf, may_call, node_access
from fileroom.archive.services import Archive
from fileroom.archive.transfers import ReceivedObjects
from fileroom.core.access import NOBODY, acting_as
from fileroom.core.errors import FileroomError
from fileroom.dimse.command_set import CommandField, CommandSet, respond
from fileroom.dimse.status import Status
from fileroom.net.association_handler import AssociationEnd, AssociationPort, DataSink, Operation, PeerAddress
from fileroom.scp import commitment, find, offer, retrieve
from fileroom.scp.call import Call
from fileroom.scp.store import StoreSink
from fileroom.ul.negotiation import AcceptedContext, negotiate
from fileroom.ul.pdu import CALLING_AET_NOT_RECOGNIZED, LOCAL_LIMIT_EXCEEDED, AssociateAC, AssociateRJ, AssociateRQ

_log: Final = structlog.get_logger(__name__)


async def _echo(call: Call, operation: Operation) -> None:
    """Verification SCP (PS3.4 Annex A)."""
    call.port.send_response(operation.context.id, respond(operation.command, Status.SUCCESS))


Service = Callable[[Call, Operation], Awaitable[None]]
SERVICES: Final[dict[CommandField, Service]] = {
    CommandField.C_ECHO_RQ: _echo,
    CommandField.C_FIND_RQ: find.find,
    CommandField.C_GET_RQ: retrieve.get,
    CommandField.C_MOVE_RQ: retrieve.move,
    CommandField.N_ACTION_RQ: commitment.request_commitment,
}


class PeerAssociation:
    """The handler of one association (`net.association_handler.AssociationHandler`)."""

    def __init__(
        self, archive: Archive, peer: PeerAddress, port: AssociationPort, access_of: AccessOf = node_access
    ) -> None:
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
            known = printable and await may_call(self._archive.pool, request.calling_aet, self._peer.host)
        except FileroomError as error:
            _log.warning("association_refused", peer=str(self._peer), reason=str(error))
            self._journal.answered(request, LOCAL_LIMIT_EXCEEDED, Cause.NOT_READY, str(error))
            return LOCAL_LIMIT_EXCEEDED
        policy = offer.policy(self._archive.settings, caller_is_known=known)
        answer = negotiate(request, policy)
        cause = Cause.UNKNOWN_CALLER if printable and request.calling_aet else Cause.BAD_TITLE
        self._journal.answered(request, answer, cause if answer == CALLING_AET_NOT_RECOGNIZED else Cause.NONE)
        if isinstance(answer, AssociateRJ):
            _log.info(
                "association_rejected",
                peer=str(self._peer),
                calling_aet=request.calling_aet,
                called_aet=request.called_aet,
                reason=str(answer),
                approved=known,
            )
        else:
            self._call = Call.from_request(self._archive, self._port, request, self._journal)
            self._access = self._access_of(request.calling_aet, self._peer.host)
        return answer

    def open_store_sink(self, context: AcceptedContext, command: CommandSet) -> DataSink:
        """A C-STORE begins."""
        calling_aet, access = self._established().calling_aet, self._access
        if self._received is None:
            self._received = ReceivedObjects(self._archive, access)
        return StoreSink(
            self._archive, self._port, context, command, calling_aet, access, self._journal, self._received
        )

    async def handle(self, operation: Operation) -> None:
        """Every other request."""
        call = self._established()
        self._journal.operation_began(operation.command, operation.context)
        service = SERVICES.get(operation.command.command_field)
        if service is None:
            call.port.send_response(operation.context.id, respond(operation.command, Status.UNRECOGNIZED_OPERATION))
            return
        with acting_as(self._access):
            await service(call, operation)

    def association_ended(self, end: AssociationEnd) -> None:
        """Nothing is held beyond the association; `net` has logged its end; ledger and audit trail keep it."""
        self._journal.ended(end)
        if self._received is not None:
            self._received.ended()

    def _established(self) -> Call:
        if self._call is None:
            raise AssertionError("a request before the association was accepted")
        return self._call


@dataclass(frozen=True, slots=True)
class PeerAssociationFactory:
    """Makes the handler of each new connection."""

    archive: Archive
    access_of: AccessOf = node_access

    def __call__(self, peer: PeerAddress, port: AssociationPort) -> PeerAssociation:
        """A handler for one connection."""
        return PeerAssociation(self.archive, peer, port, self.access_of)

"""Storage Commitment Push Model SCP (PS3.4 Annex J): N-ACTION asks, N-EVENT-REPORT tells the result.

The result goes out on the association that asked if that is still open, else on one that we open to the node with the
requester's AE title, where role selection makes us the SCP (PS3.4 J.3.3).
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog
from pydicom.dataset import Dataset

from fileroom.admin.callers import AccessOf, narrowed, node_access
from fileroom.admin.node_fields import NodeRole
from fileroom.admin.nodes import find_node
from fileroom.archive import commitment
from fileroom.archive.commitment import CommitmentItem, CommitmentRequest, CommitmentResult
from fileroom.archive.node_calls import connect_node
from fileroom.archive.services import Archive
from fileroom.core.access import acting_as
from fileroom.core.errors import (
    FileroomError,
    InvalidRequestError,
    NotAllowedError,
    NotFoundError,
    PeerError,
    PeerRefusedError,
)
from fileroom.core.identifiers import UID
from fileroom.dicom import uids
from fileroom.dicom.identifier import AnswerElement, decode_identifier, encode_answer
from fileroom.dimse.command_set import CommandField, CommandSet, respond
from fileroom.dimse.status import Status, StatusCategory, category, describe
from fileroom.net.association_client import ProposedContext
from fileroom.net.association_handler import AssociationPort, Operation
from fileroom.routing.commitment_proof import read_answer, take_result
from fileroom.routing.completeness import Hint, hint_of_objects
from fileroom.scp import offer
from fileroom.scp.call import Call

REQUEST_ACTION: Final = 1
ALL_COMMITTED_EVENT: Final = 1
FAILURES_EXIST_EVENT: Final = 2

_TRANSACTION_UID: Final = 0x00081195
_FAILED_SOP_SEQUENCE: Final = 0x00081198
_REFERENCED_SOP_SEQUENCE: Final = 0x00081199
_RETRIEVE_AET: Final = 0x00080054
_CONTEXT: Final = ProposedContext(
    uids.STORAGE_COMMITMENT_PUSH, offer.MESSAGE_TRANSFER_SYNTAXES, as_scu=False, as_scp=True
)

_log: Final = structlog.get_logger(__name__)


async def request_commitment(call: Call, operation: Operation) -> None:
    """Answer one N-ACTION-RQ, once the request is written down; then try to tell the result on this association."""
    command, port = operation.command, call.port
    refusal = _refusal(command)
    if refusal is not None:
        port.send_response(operation.context.id, respond(command, refusal))
        return
    try:
        request = _parse(call, operation)
        row_id = await commitment.record_request(call.archive, request)
    except InvalidRequestError as error:
        call.explain(operation, error)
        answer = respond(command, Status.INVALID_ARGUMENT_VALUE, error_comment=str(error))
        port.send_response(operation.context.id, answer)
        return
    except FileroomError as error:
        call.explain(operation, error)
        status = Status.NOT_AUTHORIZED if isinstance(error, NotAllowedError) else Status.PROCESSING_FAILURE
        answer = respond(command, status, error_comment=str(error))
        port.send_response(operation.context.id, answer)
        return
    answer = respond(command, Status.SUCCESS, action_type_id=command.action_type_id)
    port.send_response(operation.context.id, answer)
    if call.archive.arrivals.gathers:
        await hint_of_objects(call.archive.pool, [item.sop_instance_uid for item in request.items], Hint.COMMITMENT)
    claimed = CommitmentRequest(request.transaction_uid, request.requester, request.host, request.items, row_id)
    is_told = False
    try:
        await _report(call.archive, port, claimed)
        is_told = True
        await commitment.delivered(call.archive, claimed.id)
    except FileroomError as error:
        await commitment.not_delivered(call.archive, claimed, str(error))
    except asyncio.CancelledError:
        # The association has ended, as many requesters do at once, and this task with it. What it held is given free for
        # the task worker now; were we killed here, the row would become due by itself after SAME_ASSOCIATION_S.
        if is_told:
            await commitment.delivered(call.archive, claimed.id)
        else:
            await commitment.not_delivered(call.archive, claimed, "the association that asked has ended")
        raise


async def receive_result(call: Call, operation: Operation) -> None:
    """Answer one N-EVENT-REPORT-RQ: a destination tells whether it keeps what we have sent and asked for (as its SCU)."""
    command, port = operation.command, call.port
    status, comment = Status.SUCCESS, ""
    if command.sop_class_uid != uids.STORAGE_COMMITMENT_PUSH:
        status = Status.NO_SUCH_SOP_CLASS
    else:
        try:
            answer = read_answer(operation.dataset, operation.context.transfer_syntax)
            if not await take_result(call.archive, call.calling_aet, answer):
                raise InvalidRequestError("this transaction was not asked for, or was answered long ago")
        except InvalidRequestError as error:
            call.explain(operation, error)
            status, comment = Status.INVALID_ARGUMENT_VALUE, str(error)
        except FileroomError as error:
            call.explain(operation, error)
            status, comment = Status.PROCESSING_FAILURE, str(error)
    answer_set = respond(command, status, error_comment=comment or None)
    port.send_response(operation.context.id, answer_set)


async def deliver_due(archive: Archive, access_of: AccessOf = node_access) -> int:
    """Deliver one result that is due, on an association of its own. Returns 1, or 0 when nothing is due.

    The result is what the requester may know, so it is worked out in its name.
    """
    request = await commitment.claim_due(archive)
    if request is None:
        return 0
    try:
        node = await find_node(archive.pool, aet=request.requester)
        if node is None:
            raise NotFoundError(
                f"There is no node with AE title {request.requester}, which asked for a storage commitment from "
                f"{request.host}. Add it with 'fileroom node add', so that the result can be delivered."
            )
        if not node.enabled or not node.may(NodeRole.COMMIT):
            raise NotAllowedError(
                f"The node {node.name} is disabled or has not the role {NodeRole.COMMIT.value}, which the result of a storage "
                "commitment needs."
            )
        async with connect_node(archive, node, purpose="commitment", contexts=[_CONTEXT]) as (association, _):
            with acting_as(narrowed(access_of(request.requester, request.host), node)):
                await _report(archive, association.port, request)
        await commitment.delivered(archive, request.id)
    except FileroomError as error:
        _log.info("commitment_not_delivered", requester=request.requester, attempts=request.attempts, reason=str(error))
        await commitment.not_delivered(archive, request, str(error))
    return 1


# --- the request ---


def _refusal(command: CommandSet) -> Status | None:
    if command.sop_class_uid != uids.STORAGE_COMMITMENT_PUSH:
        return Status.NO_SUCH_SOP_CLASS
    if command.sop_instance_uid != uids.STORAGE_COMMITMENT_PUSH_INSTANCE:
        return Status.NO_SUCH_OBJECT_INSTANCE
    return None if command.action_type_id == REQUEST_ACTION else Status.NO_SUCH_ACTION


def _parse(call: Call, operation: Operation) -> CommitmentRequest:
    dataset = decode_identifier(operation.dataset or b"", operation.context.transfer_syntax)
    transaction = UID(str(dataset.get("TransactionUID") or ""))
    items: list[CommitmentItem] = []
    for item in dataset.get("ReferencedSOPSequence") or []:
        sop_class = str(item.get("ReferencedSOPClassUID") or "")
        sop_instance = str(item.get("ReferencedSOPInstanceUID") or "")
        items.append(CommitmentItem(UID(sop_class), UID(sop_instance)))
    if not items:
        raise InvalidRequestError("Referenced SOP Sequence is missing or empty")
    return CommitmentRequest(transaction, call.calling_aet, call.port.peer.host, tuple(items))


# --- the result ---


async def _report(archive: Archive, port: AssociationPort, request: CommitmentRequest) -> None:
    """Check, and send the N-EVENT-REPORT. Raises PeerError, PeerRefusedError, DatabaseError, StorageError."""
    result = await commitment.check_items(archive, request)
    context = port.find_context(uids.STORAGE_COMMITMENT_PUSH, as_scu=False) or port.find_context(
        uids.STORAGE_COMMITMENT_PUSH
    )
    if context is None:
        raise PeerRefusedError(f"{port.peer} does not accept the result of a storage commitment")
    command = CommandSet(
        CommandField.N_EVENT_REPORT_RQ,
        affected_sop_class_uid=uids.STORAGE_COMMITMENT_PUSH,
        affected_sop_instance_uid=uids.STORAGE_COMMITMENT_PUSH_INSTANCE,
        event_type_id=FAILURES_EXIST_EVENT if result.failed else ALL_COMMITTED_EVENT,
        has_dataset=True,
    )
    response = await port.send_request(context.id, command, encode_result(archive, result, context.transfer_syntax))
    if category(response.status) not in (StatusCategory.SUCCESS, StatusCategory.WARNING):
        raise PeerError(f"{port.peer} answered the result of a storage commitment with {describe(response.status)}")
    _log.info("commitment_delivered", requester=request.requester, items=len(request.items), failed=len(result.failed))


def encode_result(archive: Archive, result: CommitmentResult, transfer_syntax: str) -> bytes:
    """Event information (PS3.4 table J.3-2)."""
    elements = [
        AnswerElement(_TRANSACTION_UID, "UI", result.transaction_uid),
        AnswerElement(_RETRIEVE_AET, "AE", archive.settings.aet),
    ]
    if result.failed:
        failed = [_item(item.sop_class_uid, item.sop_instance_uid, item.reason) for item in result.failed]
        elements.append(AnswerElement(_FAILED_SOP_SEQUENCE, "SQ", failed))
    if result.committed:
        committed = [_item(item.sop_class_uid, item.sop_instance_uid) for item in result.committed]
        elements.append(AnswerElement(_REFERENCED_SOP_SEQUENCE, "SQ", committed))
    return encode_answer(elements, transfer_syntax, None)


def _item(sop_class_uid: str, sop_instance_uid: str, reason: int | None = None) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = sop_class_uid
    item.ReferencedSOPInstanceUID = sop_instance_uid
    if reason is not None:
        item.FailureReason = reason
    return item

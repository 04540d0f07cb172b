"""Proof by storage commitment, as its SCU (PS3.4 Annex J): a destination is asked whether it keeps what it has taken.

What was asked is a row (`commitment_asked`), as the answer comes when it comes: on the association that asked, or hours
later on one that the destination opens (`scp.commitment` hands it to `take_result`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from fileroom.admin.node_fields import Node
from fileroom.archive.node_calls import connect_node
from fileroom.archive.services import Archive
from fileroom.core.errors import InvalidRequestError, PeerError
from fileroom.dicom import uids
from fileroom.dicom.identifier import AnswerElement, decode_identifier, encode_answer
from fileroom.dimse.command_set import CommandField, CommandSet, respond
from fileroom.dimse.status import Status, StatusCategory, category, describe
from fileroom.net.association_client import ProposedContext
from fileroom.net.association_handler import AssociationEnd, AssociationPort, DataSink, Operation
from fileroom.routing.destination_kind import Outcome, OutcomeKind
from fileroom.routing.outgoing import OutgoingObject
from fileroom.ul.negotiation import AcceptedContext

ANSWER_WAIT_S: Final = 5.0
"""How long we stay on the association that asked: many answer at once, the others call back."""
ASK_AGAIN_S: Final = 3600
"""An answer that has not come by then was lost: it is asked again."""
REFERENCES_MAX: Final = 20_000
"""Of one answer; we ask for a few hundred at a time."""
_REQUEST_ACTION: Final = 1
_TRANSACTION_UID: Final = 0x00081195
_REFERENCED_SOP_SEQUENCE: Final = 0x00081199
_CONTEXT: Final = ProposedContext(
    uids.STORAGE_COMMITMENT_PUSH, (uids.EXPLICIT_VR_LITTLE_ENDIAN, uids.IMPLICIT_VR_LITTLE_ENDIAN)
)


@dataclass(frozen=True, slots=True)
class CommitmentAnswer:
    """What an N-EVENT-REPORT tells: objects that are kept, and those that are not with the reason (PS3.3 C.14.1.1)."""

    transaction_uid: str
    committed: tuple[str, ...]
    failed: Mapping[str, int]


async def ask_for_commitment(archive: Archive, node: Node, batch: Sequence[OutgoingObject]) -> Mapping[int, Outcome]:
    """What is known of each delivery, by its id; those of which nothing is known yet are asked for, and not named.

    Raises PeerError when the node cannot be asked, DatabaseError.
    """
    known = await _answers(archive, batch)
    asked = {row[0] for row in known}
    new = [one for one in batch if (one.delivery_id, one.sop_instance_uid) not in asked]
    if new:
        await _ask(archive, node, new)
        known = await _answers(archive, batch)
    outcomes: dict[int, Outcome] = {}
    for one in batch:
        found = [row for row in known if row[0][0] == one.delivery_id]
        failures = [row[2] for row in found if row[1] and row[2] is not None]
        if failures:
            cause = (
                f"{node.name} took it but does not keep it: storage commitment failed with {failures[0]:04X}H. "
                "Look there why, then send it again."
            )
            outcomes[one.delivery_id] = Outcome(OutcomeKind.REFUSED, cause, failures[0])
        elif found and all(row[1] for row in found):
            outcomes[one.delivery_id] = Outcome(OutcomeKind.TAKEN)
    if outcomes:
        async with archive.pool.connection() as connection:
            await connection.execute(b"DELETE FROM commitment_asked WHERE delivery_id = ANY(%s)", (list(outcomes),))
    return outcomes


def read_answer(dataset: bytes | None, transfer_syntax: str) -> CommitmentAnswer:
    """From the event information (PS3.4 table J.3-2). Raises InvalidRequestError."""
    event = decode_identifier(dataset or b"", transfer_syntax)
    transaction = str(event.get("TransactionUID") or "")
    kept, failed = event.get("ReferencedSOPSequence") or [], event.get("FailedSOPSequence") or []
    if not transaction or len(kept) + len(failed) > REFERENCES_MAX:
        raise InvalidRequestError("Transaction UID is missing, or there are too many references")
    return CommitmentAnswer(
        transaction,
        tuple(str(one.get("ReferencedSOPInstanceUID") or "") for one in kept),
        {str(one.get("ReferencedSOPInstanceUID") or ""): _reason(one) for one in failed},
    )


async def take_result(archive: Archive, aet: str, answer: CommitmentAnswer) -> bool:
    """Write down an answer, and let lanes look at it. False for a transaction that we do not know, or not of that node.

    Raises DatabaseError.
    """
    async with archive.pool.connection() as connection, connection.transaction():
        cursor = await connection.execute(
            b"""UPDATE commitment_asked a SET answered_at = now(), failure = g.failure
                FROM unnest(%s::text[], %s::integer[]) AS g(uid, failure)
                WHERE a.transaction_uid = %s AND a.node_aet = %s AND a.sop_instance_uid = g.uid RETURNING a.delivery_id""",
            (
                [*answer.committed, *answer.failed],
                [*(None for _ in answer.committed), *answer.failed.values()],
                answer.transaction_uid,
                aet,
            ),
        )
        deliveries = [row[0] for row in await cursor.fetchall()]
        if not deliveries:
            return False
        cursor = await connection.execute(
            b"UPDATE delivery SET due_at = now() WHERE id = ANY(%s) AND state = 'sent' RETURNING parcel_id",
            (deliveries,),
        )
        parcels = sorted({row[0] for row in await cursor.fetchall()})
        await connection.execute(b"SELECT wake_parcels(%s)", (parcels,))
        return True


# --- asking ---


async def _answers(archive: Archive, batch: Sequence[OutgoingObject]) -> list[tuple[tuple[int, str], bool, int | None]]:
    """((delivery, object), whether it was answered, the failure) of everything that was asked and not forgotten."""
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(
            b"""SELECT delivery_id, sop_instance_uid, answered_at IS NOT NULL, failure FROM commitment_asked
                WHERE delivery_id = ANY(%s) AND (answered_at IS NOT NULL OR asked_at > now() - make_interval(secs => %s))""",
            ([one.delivery_id for one in batch], ASK_AGAIN_S),
        )
        return [((row[0], row[1]), row[2], row[3]) for row in await cursor.fetchall()]


async def _ask(archive: Archive, node: Node, items: Sequence[OutgoingObject]) -> None:
    transaction = str(generate_uid(prefix="2.25."))
    async with archive.pool.connection() as connection, connection.transaction():
        # Before the question: the answer may be quicker than anything we write afterwards.
        await connection.execute(
            b"""INSERT INTO commitment_asked (delivery_id, sop_instance_uid, transaction_uid, node_aet)
                SELECT *, %s, %s FROM unnest(%s::bigint[], %s::text[])
                ON CONFLICT (delivery_id, sop_instance_uid) DO UPDATE SET transaction_uid = excluded.transaction_uid,
                    asked_at = now(), answered_at = NULL, failure = NULL""",
            (transaction, node.aet, [i.delivery_id for i in items], [i.sop_instance_uid for i in items]),
        )
    listener = _Listener(archive, node.aet)
    try:
        async with connect_node(archive, node, purpose="commitment", contexts=[_CONTEXT], handler=listener) as (
            association,
            _,
        ):
            listener.port = association.port
            await _request(association.port, transaction, items, node.response_timeout_s)
            await listener.wait(ANSWER_WAIT_S)
    except PeerError:
        async with archive.pool.connection() as connection:
            await connection.execute(
                b"DELETE FROM commitment_asked WHERE transaction_uid = %s AND answered_at IS NULL", (transaction,)
            )
        raise


async def _request(port: AssociationPort, transaction: str, items: Sequence[OutgoingObject], timeout_s: float) -> None:
    """N-ACTION. Raises PeerError when it is not taken."""
    context = port.find_context(uids.STORAGE_COMMITMENT_PUSH)
    if context is None:
        raise PeerError(
            f"{port.peer} does not do storage commitment. Prove its deliveries by its answer or by counting."
        )
    command = CommandSet(
        CommandField.N_ACTION_RQ,
        requested_sop_class_uid=uids.STORAGE_COMMITMENT_PUSH,
        requested_sop_instance_uid=uids.STORAGE_COMMITMENT_PUSH_INSTANCE,
        action_type_id=_REQUEST_ACTION,
        has_dataset=True,
    )
    references = [_reference(one) for one in items]
    elements = [
        AnswerElement(_TRANSACTION_UID, "UI", transaction),
        AnswerElement(_REFERENCED_SOP_SEQUENCE, "SQ", references),
    ]
    information = encode_answer(elements, context.transfer_syntax, None)
    response = await port.send_request(context.id, command, information, timeout_s=timeout_s)
    if category(response.status) not in (StatusCategory.SUCCESS, StatusCategory.WARNING):
        raise PeerError(f"{port.peer} answered the request for storage commitment with {describe(response.status)}")


def _reference(item: OutgoingObject) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID = item.sop_class_uid
    reference.ReferencedSOPInstanceUID = item.sop_instance_uid
    return reference


def _reason(item: Dataset) -> int:
    reason = item.get("FailureReason")
    return reason if isinstance(reason, int) else int(Status.PROCESSING_FAILURE)


class _Listener:
    """Takes the answer where it comes on the association that asked."""

    def __init__(self, archive: Archive, aet: str) -> None:
        self._archive, self._aet = archive, aet
        self._answered = asyncio.Event()
        self.port: AssociationPort | None = None

    async def wait(self, timeout_s: float) -> None:
        """Until the answer has come, or the association has ended, or the time is over."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._answered.wait()
        except TimeoutError:
            pass

    async def handle(self, operation: Operation) -> None:
        """N-EVENT-REPORT-RQ."""
        command = operation.command
        status = Status.SUCCESS
        if command.command_field is not CommandField.N_EVENT_REPORT_RQ:
            status = Status.UNRECOGNIZED_OPERATION
        else:
            try:
                answer = read_answer(operation.dataset, operation.context.transfer_syntax)
                await take_result(self._archive, self._aet, answer)
            except InvalidRequestError:
                status = Status.INVALID_ARGUMENT_VALUE
        if self.port is not None:
            self.port.send_response(operation.context.id, respond(command, status))
            await self.port.drain()
        self._answered.set()

    def open_store_sink(self, context: AcceptedContext, command: CommandSet) -> DataSink:
        """Nobody stores here."""
        del command
        raise InvalidRequestError(f"no C-STORE is expected on the association of a storage commitment ({context.id})")

    def association_ended(self, end: AssociationEnd) -> None:
        """No answer will come on it any more."""
        del end
        self._answered.set()

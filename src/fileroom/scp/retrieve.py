"""Retrieve SCP: C-GET and C-MOVE (PS3.4 C.4.2, C.4.3) of Patient Root, Study Root and Patient/Study Only.

Unique keys above the asked level may be missing, whether or not relational retrieval was agreed: every UID means one
thing only, and refusing helps nobody. The objects themselves are sent by `archive.suboperations`, to a node by
`scp.send_to_node`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from fileroom.admin.audit_events import node_participant, participant_of
from fileroom.admin.audit_message import Role
from fileroom.admin.node_fields import Node
from fileroom.admin.nodes import find_destination
from fileroom.archive.retrieve import Selection, list_instances
from fileroom.archive.suboperations import Progress, send_objects
from fileroom.core.access import Permission, current_access
from fileroom.core.errors import FileroomError, InvalidRequestError
from fileroom.dicom import uids
from fileroom.dicom.identifier import AnswerElement, decode_identifier, encode_answer
from fileroom.dicom.query import Level
from fileroom.dimse.command_set import CommandSet, respond
from fileroom.dimse.status import SUBOPERATIONS_WITH_FAILURES, Status
from fileroom.net.association_handler import Operation
from fileroom.scp.call import Call
from fileroom.scp.elsewhere import fetch_first, is_federated
from fileroom.scp.send_to_node import send_to_node
from fileroom.scp.sent_objects import put_down
from fileroom.scp.status import StatusAnswer, retrieve_failure

LEVELS: Final = {
    "PATIENT": Level.PATIENT,
    "STUDY": Level.STUDY,
    "SERIES": Level.SERIES,
    "IMAGE": Level.INSTANCE,
    "INSTANCE": Level.INSTANCE,
}
_PATIENT_ROOTS: Final = frozenset(
    {uids.PATIENT_ROOT_GET, uids.PATIENT_ROOT_MOVE, uids.PATIENT_STUDY_ONLY_GET, uids.PATIENT_STUDY_ONLY_MOVE}
)
_PATIENT_STUDY_ONLY: Final = frozenset({uids.PATIENT_STUDY_ONLY_GET, uids.PATIENT_STUDY_ONLY_MOVE})
_KEYS: Final = {
    Level.PATIENT: ("patient_ids", "PatientID"),
    Level.STUDY: ("study_uids", "StudyInstanceUID"),
    Level.SERIES: ("series_uids", "SeriesInstanceUID"),
    Level.INSTANCE: ("sop_uids", "SOPInstanceUID"),
}
_FAILED_SOP_INSTANCE_UID_LIST: Final = 0x00080058
_SHORT_VALUE_BYTES_MAX: Final = 0xFFFE


async def get(call: Call, operation: Operation) -> None:
    """Answer one C-GET-RQ: the objects go back on the association it came on, on contexts where the peer is SCP."""
    retrieval = _Retrieval(call, operation)
    try:
        selection = parse_selection(operation)
        await retrieval.fetch_first(selection)
        instances = await list_instances(call.archive, selection)
        receiver = participant_of(current_access(), Role.DESTINATION)
        with (
            retrieval.reporting(len(instances)) as progress,
            put_down(call.archive, receiver, instances, progress),
        ):
            await send_objects(call.archive, call.port, instances, progress, journal=call.journal)
    except FileroomError as error:
        retrieval.fail(error)
        return
    retrieval.finish()


async def move(call: Call, operation: Operation) -> None:
    """Answer one C-MOVE-RQ: the objects go to a registered node, on an association that we open."""
    retrieval = _Retrieval(call, operation)
    try:
        selection = parse_selection(operation)
        destination = await _destination(call, operation.command)
        if destination is None:
            retrieval.refuse(_unknown_destination(operation.command))
            return
        await retrieval.fetch_first(selection)
        instances = await list_instances(call.archive, selection, permission=Permission.STUDY_EXPORT)
        receiver = node_participant(destination.aet, destination.host, Role.DESTINATION)
        with (
            retrieval.reporting(len(instances)) as progress,
            put_down(call.archive, receiver, instances, progress),
        ):
            await send_to_node(
                call.archive,
                destination,
                instances,
                progress,
                purpose="move",
                parent=call.journal,
                originator=(call.calling_aet, operation.command.message_id or 0),
            )
    except FileroomError as error:
        retrieval.fail(error)
        return
    retrieval.finish()


def parse_selection(operation: Operation) -> Selection:
    """What an identifier asks for. Raises InvalidRequestError (status A900)."""
    context = operation.context
    identifier = decode_identifier(operation.dataset or b"", context.transfer_syntax)
    name = str(identifier.get("QueryRetrieveLevel", "")).strip().upper()
    level = LEVELS.get(name)
    has_patients = context.abstract_syntax in _PATIENT_ROOTS
    if level is None or (level is Level.PATIENT and not has_patients):
        raise InvalidRequestError(f"Query/Retrieve Level {name or '(none)'} does not exist in this model")
    if level > Level.STUDY and context.abstract_syntax in _PATIENT_STUDY_ONLY:
        raise InvalidRequestError("Patient/Study Only has no level below STUDY")
    keys: dict[str, tuple[str, ...]] = {}
    for above in Level:
        field, keyword = _KEYS[above]
        if above > level or (above is Level.PATIENT and not has_patients):
            continue
        keys[field] = _values(identifier.get(keyword))
    if not keys[_KEYS[level][0]]:
        raise InvalidRequestError(f"{_KEYS[level][1]} is missing at level {name}")
    return Selection(**keys)


def _values(value: object) -> tuple[str, ...]:
    """One value or a list of them; wildcards are not allowed in a retrieval and simply match nothing."""
    if value is None:
        return ()
    texts = [value] if isinstance(value, str) else list(value) if hasattr(value, "__iter__") else [value]
    return tuple(text for text in (str(each).strip(" \0") for each in texts) if text)


# --- C-MOVE ---


async def _destination(call: Call, command: CommandSet) -> Node | None:
    if not command.move_destination:
        return None
    return await find_destination(call.archive.pool, command.move_destination)


def _unknown_destination(command: CommandSet) -> StatusAnswer:
    title = command.move_destination or "(none)"
    return StatusAnswer(Status.MOVE_DESTINATION_UNKNOWN, f"No node {title}; add it: fileroom node add")


# --- responses ---


@dataclass(slots=True)
class _Retrieval:
    """The responses to one C-GET-RQ or C-MOVE-RQ."""

    call: Call
    operation: Operation
    progress: Progress | None = None

    def reporting(self, total: int) -> Progress:
        """Count `total` sub-operations, and tell the peer how it goes."""
        message_id = self.operation.command.message_id or 0
        self.progress = Progress(total, lambda: self.call.port.cancelled(message_id), self._report)
        return self.progress

    async def fetch_first(self, selection: Selection) -> None:
        """Where other archives stand behind the called title, have the studies here first; the peer hears that we live."""
        if not is_federated(self.call) or not selection.study_uids:
            return
        with self.reporting(len(selection.study_uids)):
            await fetch_first(self.call, selection.study_uids, self.operation.command.message_id or 0)
        self.progress = None

    def finish(self) -> None:
        """The final response, from the counts."""
        progress = self.progress
        if progress is None:
            return
        status, comment = _final_status(progress)
        self._respond(status, comment, progress)

    def fail(self, error: FileroomError) -> None:
        """The final response to what could not be done at all."""
        self.call.explain(self.operation, error)
        self.refuse(retrieve_failure(error))

    def refuse(self, answer: StatusAnswer) -> None:
        """A final response without counts."""
        self._respond(answer.status, answer.comment, self.progress)

    def _report(self, progress: Progress) -> None:
        response = respond(self.operation.command, Status.PENDING, **_counts(progress, pending=True))
        self.call.port.send_response(self.operation.context.id, response)

    def _respond(self, status: int, comment: str, progress: Progress | None) -> None:
        dataset = None
        counts: dict[str, Any] = {}
        if progress is not None:
            counts = _counts(progress, pending=status == Status.CANCEL)
            if status != Status.SUCCESS:
                dataset = _failed_list(progress.failed_uids, self.operation.context.transfer_syntax)
        response = respond(
            self.operation.command, status, has_dataset=dataset is not None, error_comment=comment or None, **counts
        )
        self.call.port.send_response(self.operation.context.id, response, dataset)


def _final_status(progress: Progress) -> tuple[int, str]:
    """PS3.4 C.4.2.1.5, C.4.3.1.4."""
    if progress.stopped:
        return Status.CANCEL, "Cancelled"
    if progress.failed and not progress.completed and not progress.warned:
        return Status.UNABLE_TO_PERFORM_SUBOPERATIONS, progress.last_failure
    if progress.failed or progress.warned:
        return SUBOPERATIONS_WITH_FAILURES, progress.last_failure
    return Status.SUCCESS, ""


def _counts(progress: Progress, *, pending: bool) -> dict[str, Any]:
    """Counts have 16 bits on the wire; the remaining ones are told only while there are some (PS3.4 C.4.2.1.6)."""
    counts = {
        "completed_suboperations": min(progress.completed, 0xFFFF),
        "failed_suboperations": min(progress.failed, 0xFFFF),
        "warning_suboperations": min(progress.warned, 0xFFFF),
    }
    if pending:
        counts["remaining_suboperations"] = min(progress.remaining, 0xFFFF)
    return counts


def _failed_list(failed: list[str], transfer_syntax: str) -> bytes:
    """The data set with Failed SOP Instance UID List (0008,0058)."""
    value = "\\".join(failed)
    # A UI of explicit VR ends at 64 KiB; a longer list goes as UN, which has a 32 bit length (PS3.5 6.2.2).
    is_long = len(value) > _SHORT_VALUE_BYTES_MAX and uids.transfer_syntax(transfer_syntax).explicit_vr
    element = AnswerElement(_FAILED_SOP_INSTANCE_UID_LIST, "UN" if is_long else "UI", value)
    return encode_answer([element], transfer_syntax, None)

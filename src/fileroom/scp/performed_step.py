"""Modality Performed Procedure Step SCP (PS3.4 F.7): N-CREATE begins a step, N-SET goes on with it; N-GET shows it (F.8).

What a modality says of the objects that it made is a hint that their study is complete when they are here.
"""

from __future__ import annotations

from typing import Any, Final

import structlog

from fileroom.core.errors import FileroomError, InvalidObjectError, InvalidRequestError
from fileroom.core.identifiers import UID
from fileroom.dicom import uids
from fileroom.dicom.json_model import JsonObject, encoded_to_model
from fileroom.dimse.command_set import respond
from fileroom.dimse.status import Status
from fileroom.net.association_handler import Operation
from fileroom.routing.completeness import Hint, give_hint
from fileroom.scp import offer
from fileroom.scp.call import Call
from fileroom.scp.elsewhere import encode_model
from fileroom.scp.status import performed_failure
from fileroom.worklist.performed import (
    Performed,
    create_performed_step,
    get_performed_step,
    update_performed_step,
)
from fileroom.worklist.performed_rules import AttributesError, FinalStateError

NO_LONGER_UPDATED: Final = 0xA710
"""Error ID of an N-SET after the final state (PS3.4 F.7.2.2.3)."""
_CHARACTER_SET: Final = "00080005"
_log: Final = structlog.get_logger(__name__)


async def create_step(call: Call, operation: Operation) -> None:
    """Answer one N-CREATE-RQ."""
    command = operation.command
    try:
        uid = str(UID(command.affected_sop_instance_uid)) if command.affected_sop_instance_uid else ""
        made = await create_performed_step(call.archive, uid, call.calling_aet, _model(operation))
    except FileroomError as error:
        _refuse(call, operation, error)
        return
    answer = respond(command, Status.SUCCESS, affected_sop_instance_uid=made.sop_instance_uid)
    call.port.send_response(operation.context.id, answer)


async def set_step(call: Call, operation: Operation) -> None:
    """Answer one N-SET-RQ."""
    command = operation.command
    if operation.context.abstract_syntax != uids.MODALITY_PERFORMED_PROCEDURE_STEP:
        call.port.send_response(operation.context.id, respond(command, Status.UNRECOGNIZED_OPERATION))
        return
    try:
        done = await update_performed_step(call.archive, command.sop_instance_uid or "", _model(operation))
    except FileroomError as error:
        _refuse(call, operation, error)
        return
    call.port.send_response(operation.context.id, respond(command, Status.SUCCESS))
    await _hint(call, done)


async def get_step(call: Call, operation: Operation) -> None:
    """Answer one N-GET-RQ with the attributes that it names, or all."""
    command = operation.command
    if operation.context.abstract_syntax not in offer.PERFORMED_STEP:
        call.port.send_response(operation.context.id, respond(command, Status.UNRECOGNIZED_OPERATION))
        return
    try:
        step = await get_performed_step(call.archive, command.sop_instance_uid or "")
    except FileroomError as error:
        _refuse(call, operation, error)
        return
    wanted = {f"{tag:08X}" for tag in command.attribute_identifiers or ()}
    model = {key: value for key, value in step.attributes.items() if not wanted or key in wanted}
    encoded = encode_model(model, operation.context.transfer_syntax, b"ISO_IR 192")
    if encoded is None:
        answer = respond(command, Status.PROCESSING_FAILURE, error_comment="Its values cannot be encoded")
        call.port.send_response(operation.context.id, answer)
        return
    response = respond(command, Status.SUCCESS, has_dataset=True)
    call.port.send_response(operation.context.id, response, encoded)


async def _hint(call: Call, done: Performed) -> None:
    if done.state == "in_progress" or not call.archive.arrivals.gathers:
        return
    try:
        await give_hint(call.archive.pool, done.study_uids, Hint.MPPS, done.expected or None)
    except FileroomError as error:
        _log.warning("hint_not_given", reason=str(error))


def _refuse(call: Call, operation: Operation, error: FileroomError) -> None:
    call.explain(operation, error)
    failure = performed_failure(error)
    fields: dict[str, Any] = {}
    if isinstance(error, AttributesError):
        fields["attribute_identifiers"] = error.tags
    if isinstance(error, FinalStateError):
        fields["error_id"] = NO_LONGER_UPDATED
    answer = respond(operation.command, failure.status, error_comment=failure.comment or None, **fields)
    call.port.send_response(operation.context.id, answer)


def _model(operation: Operation) -> JsonObject:
    """The data set as DICOM JSON, its text in UTF-8. Raises InvalidRequestError."""
    try:
        model = encoded_to_model(operation.dataset or b"", operation.context.transfer_syntax)
    except (InvalidObjectError, ValueError) as error:
        raise InvalidRequestError(f"The data set cannot be read: {type(error).__name__}") from error
    model.pop(_CHARACTER_SET, None)
    return model

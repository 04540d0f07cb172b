"""Unified Procedure Steps as their worklist manager (PS3.4 CC): UPS Push, Pull, Watch and Query SCP.

    N-CREATE      make one (Push)                     C-FIND        search (Pull, Watch, Query)
    N-GET         show one (Push, Pull, Watch)        N-SET         change one (Pull)
    N-ACTION  1   change its state (Pull)         2   ask for its end (Push, Watch)
              3   subscribe (Watch)    4  unsubscribe (Watch)    5  suspend (Watch)

Every instance is of the UPS Push SOP class, on whichever context a request comes. Events go out on associations of our own
(`scp.workitem_events`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any, Final

from fileroom.admin.audit_events import queried
from fileroom.core.access import current_access
from fileroom.core.errors import FileroomError, InvalidObjectError, InvalidRequestError
from fileroom.core.identifiers import UID
from fileroom.core.limits import QUERY_ROWS_PER_FETCH
from fileroom.dicom import charset, uids
from fileroom.dicom.header_scan import declared_encoding
from fileroom.dicom.json_model import JsonObject, ModelEncoder, encoded_to_model
from fileroom.dimse.command_set import CommandField, respond
from fileroom.dimse.status import Status
from fileroom.net.association_handler import Operation
from fileroom.scp.call import Call
from fileroom.scp.status import StatusAnswer, query_failure, workitem_failure
from fileroom.worklist import workitem_rules as rules
from fileroom.worklist.performed_rules import AttributesError, text_of
from fileroom.worklist.workitem_search import RESULTS_MAX, keys_of_identifier, pruned, search_workitems
from fileroom.worklist.workitem_subscriptions import DIMSE, subscribe, suspend, unsubscribe
from fileroom.worklist.workitems import (
    change_workitem_state,
    create_workitem,
    get_workitem,
    request_cancel,
    update_workitem,
)

CHANGE_STATE, REQUEST_CANCEL, SUBSCRIBE, UNSUBSCRIBE, SUSPEND = 1, 2, 3, 4, 5
"""Action Type IDs (tables CC.2.1-1, CC.2.2-1, CC.2.3-1)."""
WATCHING_ACTIONS: Final = frozenset({SUBSCRIBE, UNSUBSCRIBE, SUSPEND})
_MODIFIED: Final = 0xB300
_ALLOWED: Final = {
    CommandField.N_CREATE_RQ: frozenset({uids.UPS_PUSH}),
    CommandField.N_GET_RQ: frozenset({uids.UPS_PUSH, uids.UPS_PULL, uids.UPS_WATCH}),
    CommandField.N_SET_RQ: frozenset({uids.UPS_PULL}),
    CommandField.C_FIND_RQ: frozenset({uids.UPS_PULL, uids.UPS_WATCH, uids.UPS_QUERY}),
}
_ACTIONS: Final = {
    uids.UPS_PUSH: frozenset({REQUEST_CANCEL}),
    uids.UPS_PULL: frozenset({CHANGE_STATE}),
    uids.UPS_WATCH: frozenset({REQUEST_CANCEL, SUBSCRIBE, UNSUBSCRIBE, SUSPEND}),
}

Work = Callable[[Call, Operation], Awaitable[None]]


async def serve_workitem(call: Call, operation: Operation) -> None:
    """Answer one request on a context of a UPS SOP class."""
    command = operation.command
    work = _WORK.get(command.command_field)
    if command.command_field is not CommandField.N_ACTION_RQ:
        allowed = operation.context.abstract_syntax in _ALLOWED.get(command.command_field, ())
        if work is None or not allowed:
            _answer(call, operation, Status.UNRECOGNIZED_OPERATION)
            return
    assert work is not None
    try:
        await work(call, operation)
    except FileroomError as error:
        _refuse(call, operation, error)


# --- one request each ---


async def _create(call: Call, operation: Operation) -> None:
    uid = operation.command.affected_sop_instance_uid or ""
    made = await create_workitem(call.archive, uid and str(UID(uid)), _model(operation))
    status = _MODIFIED if made.is_modified else Status.SUCCESS
    _answer(call, operation, status, affected_sop_instance_uid=made.sop_instance_uid)


async def _get(call: Call, operation: Operation) -> None:
    """The attributes that are named, or all."""
    found = await get_workitem(call.archive, operation.command.sop_instance_uid or "")
    wanted = {f"{tag:08X}" for tag in operation.command.attribute_identifiers or ()}
    model = {key: value for key, value in found.attributes.items() if not wanted or key in wanted}
    dataset = encode_workitem(model, operation.context.transfer_syntax)
    response = respond(operation.command, Status.SUCCESS, has_dataset=True)
    call.port.send_response(operation.context.id, response, dataset)


async def _set(call: Call, operation: Operation) -> None:
    await update_workitem(call.archive, operation.command.sop_instance_uid or "", _model(operation))
    _answer(call, operation, Status.SUCCESS)


async def _action(call: Call, operation: Operation) -> None:
    command = operation.command
    action, uid = command.action_type_id or 0, command.sop_instance_uid or ""
    if action not in _ACTIONS.get(operation.context.abstract_syntax, ()):
        _answer(call, operation, Status.NO_SUCH_ACTION, action_type_id=action)
        return
    said = _model(operation)
    status = 0
    if action == CHANGE_STATE:
        status = await change_workitem_state(
            call.archive, uid, text_of(said, rules.STATE), text_of(said, rules.TRANSACTION)
        )
    elif action == REQUEST_CANCEL:
        status = await request_cancel(call.archive, uid, said, call.calling_aet)
    else:
        await _watch(call, action, uid, said)
    _answer(call, operation, status, action_type_id=action)


async def _watch(call: Call, action: int, uid: str, said: JsonObject) -> None:
    aet = text_of(said, rules.RECEIVING_AE)
    if not aet:
        raise InvalidRequestError("Receiving AE (0074,1234) is missing")
    if action == UNSUBSCRIBE:
        await unsubscribe(call.archive, uid, aet, via=DIMSE)
    elif action == SUSPEND:
        await suspend(call.archive, uid, aet, via=DIMSE)
    else:
        lock = text_of(said, rules.DELETION_LOCK).upper() == "TRUE"
        keys = keys_of_identifier(said) if uid == rules.FILTERED_SUBSCRIPTION else ()
        await subscribe(call.archive, uid, aet, deletion_lock=lock, keys=keys, via=DIMSE)


async def _find(call: Call, operation: Operation) -> None:
    """Pending responses and a final one (CC.2.8)."""
    try:
        status = await _send_matches(call, operation)
    except FileroomError as error:
        call.explain(operation, error)
        status = query_failure(error)
    final = respond(operation.command, status.status, error_comment=status.comment or None)
    call.port.send_response(operation.context.id, final)


async def _send_matches(call: Call, operation: Operation) -> StatusAnswer:
    asked = _model(operation)
    keys = keys_of_identifier(asked)
    _put_down(call, operation, asked)
    response = respond(operation.command, Status.PENDING, has_dataset=True)
    count = 0
    async with aclosing(search_workitems(call.archive, keys)) as workitems:
        async for found in workitems:
            if count % QUERY_ROWS_PER_FETCH == 0:
                await call.port.drain()
            if call.port.cancelled(operation.command.message_id or 0):
                return StatusAnswer(Status.CANCEL, "The search was cancelled")
            if count == RESULTS_MAX:
                return StatusAnswer(Status.OUT_OF_RESOURCES, f"More than {RESULTS_MAX} matches; add a key")
            dataset = encode_workitem(pruned(found.attributes, asked), operation.context.transfer_syntax)
            call.port.send_response(operation.context.id, response, dataset)
            count += 1
    return StatusAnswer(Status.SUCCESS)


_WORK: Final[dict[CommandField, Work]] = {
    CommandField.N_CREATE_RQ: _create,
    CommandField.N_GET_RQ: _get,
    CommandField.N_SET_RQ: _set,
    CommandField.N_ACTION_RQ: _action,
    CommandField.C_FIND_RQ: _find,
}


# --- helpers ---


def encode_workitem(model: JsonObject, transfer_syntax: str) -> bytes:
    """A data set of workitems, its text in UTF-8. Raises InvalidRequestError where its values cannot be encoded."""
    encoder = ModelEncoder(None, declared_encoding(transfer_syntax), charset.UTF_8)
    try:
        entries = encoder.sorted_entries({**model, f"{rules.CHARACTER_SET:08X}": {"vr": "CS"}})
        return b"".join(encoder.element(tag, entry, (), 0) for tag, entry in entries)
    except (InvalidObjectError, UnicodeEncodeError) as error:
        raise InvalidRequestError(f"Its values cannot be encoded: {error}") from error


def _answer(call: Call, operation: Operation, status: int, **fields: Any) -> None:
    call.port.send_response(operation.context.id, respond(operation.command, status, **fields))


def _refuse(call: Call, operation: Operation, error: FileroomError) -> None:
    call.explain(operation, error)
    failure = workitem_failure(error)
    fields: dict[str, Any] = {}
    if isinstance(error, AttributesError):
        fields["attribute_identifiers"] = error.tags
    if operation.command.action_type_id is not None:
        fields["action_type_id"] = operation.command.action_type_id
    _answer(call, operation, failure.status, error_comment=failure.comment or None, **fields)


def _model(operation: Operation) -> JsonObject:
    """The data set as DICOM JSON, its text in UTF-8. Raises InvalidRequestError."""
    try:
        model = encoded_to_model(operation.dataset or b"", operation.context.transfer_syntax)
    except (InvalidObjectError, ValueError) as error:
        raise InvalidRequestError(f"The data set cannot be read: {type(error).__name__}") from error
    model.pop(f"{rules.CHARACTER_SET:08X}", None)
    return model


def _put_down(call: Call, operation: Operation, asked: JsonObject) -> None:
    """The question for the audit trail."""
    patient_id = text_of(asked, rules.PATIENT_ID)
    call.archive.audit.note(
        queried(
            call.archive.settings.aet,
            current_access(),
            operation.dataset or b"",
            "WORKITEMS",
            sop_class_uid=operation.context.abstract_syntax,
            transfer_syntax_uid=operation.context.transfer_syntax,
            patient_ids=(patient_id,) if patient_id else (),
            study_uids=(),
        )
    )

"""Modality Worklist SCP (PS3.4 K): a question is passed on to the sources of routing that have a worklist."""

from __future__ import annotations

import struct
from typing import Final

from pydicom.dataset import Dataset

from fileroom.admin.audit_events import queried
from fileroom.core.access import current_access
from fileroom.core.errors import FileroomError
from fileroom.dicom.identifier import AnswerElement, decode_identifier, encode_answer
from fileroom.dicom.json_model import JsonObject
from fileroom.dimse.command_set import respond
from fileroom.dimse.status import Status
from fileroom.net.association_handler import Operation
from fileroom.routing.worklist_proxy import ask_worklists
from fileroom.scp.call import Call
from fileroom.scp.elsewhere import caller_of, value_of, without
from fileroom.scp.status import query_failure

_CHARACTER_SET_TAG: Final = 0x00080005


async def find_worklist(call: Call, operation: Operation) -> None:
    """Answer one C-FIND-RQ of the worklist with pending responses and a final one."""
    context, port = operation.context, call.port
    status, comment = int(Status.SUCCESS), ""
    try:
        identifier = decode_identifier(operation.dataset or b"", context.transfer_syntax)
        _put_down(call, operation, identifier)
        charset = "\\".join(_texts(identifier.get("SpecificCharacterSet"))).encode("latin-1", "replace") or None
        answer = await ask_worklists(call.archive, _elements(identifier), caller=caller_of(call))
        response = respond(operation.command, Status.PENDING, has_dataset=True)
        for entry in answer.entries:
            if port.cancelled(operation.command.message_id or 0):
                status, comment = Status.CANCEL, "The search was cancelled"
                break
            encoded = _encoded(entry, context.transfer_syntax, charset)
            if encoded is not None:
                port.send_response(context.id, response, encoded)
            await port.drain()
        else:
            comment = without(answer.silent)
    except FileroomError as error:
        call.explain(operation, error)
        failure = query_failure(error)
        status, comment = failure.status, failure.comment
    port.send_response(context.id, respond(operation.command, status, error_comment=comment or None))


def _put_down(call: Call, operation: Operation, identifier: Dataset) -> None:
    words = ", ".join(
        f"{element.keyword}={element.value}" for element in identifier if element.value and element.VR != "SQ"
    )
    call.archive.audit.note(
        queried(
            call.archive.settings.aet,
            current_access(),
            operation.dataset or b"",
            f"WORKLIST: {words or 'everything'}"[:1000],
            sop_class_uid=operation.context.abstract_syntax,
            transfer_syntax_uid=operation.context.transfer_syntax,
            patient_ids=tuple(_texts(identifier.get("PatientID"))),
            study_uids=(),
        )
    )


def _elements(identifier: Dataset) -> list[AnswerElement]:
    """The identifier as it came, for the sources."""
    found: list[AnswerElement] = []
    for element in identifier:
        if int(element.tag) == _CHARACTER_SET_TAG or element.tag.element == 0 or isinstance(element.value, bytes):
            continue
        if element.VR == "SQ":
            found.append(AnswerElement(int(element.tag), "SQ", list(element.value)))
        else:
            found.append(AnswerElement(int(element.tag), element.VR, "\\".join(_texts(element.value))))
    return found


def _encoded(entry: JsonObject, transfer_syntax: str, charset: bytes | None) -> bytes | None:
    elements = []
    for key, element in entry.items():
        tag, vr = int(key, 16), str(element.get("vr", "UN"))
        if tag != _CHARACTER_SET_TAG and "InlineBinary" not in element:
            elements.append(AnswerElement(tag, vr, value_of(entry, tag, vr)))
    try:
        return encode_answer(elements, transfer_syntax, charset)
    except (ValueError, OverflowError, struct.error):
        return None  # a number that is none: the other entries are answers all the same


def _texts(value: object) -> list[str]:
    if value is None or value == "":
        return []
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        return [str(value)]
    return [str(one) for one in value]

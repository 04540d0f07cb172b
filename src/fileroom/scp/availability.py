"""Instance Availability Notification SCP (PS3.4 Annex R): somebody says which objects of a study are available.

Fileroom takes it as a hint that the study is complete: when the objects that are named are here, rules need not wait longer.
"""

from __future__ import annotations

from typing import Final

from fileroom.core.access import Permission, require
from fileroom.core.errors import FileroomError, InvalidRequestError, NotAllowedError
from fileroom.core.identifiers import UID
from fileroom.dicom import uids
from fileroom.dicom.identifier import decode_identifier
from fileroom.dimse.command_set import respond
from fileroom.dimse.status import Status
from fileroom.net.association_handler import Operation
from fileroom.routing.completeness import EXPECTED_MAX, Hint, give_hint
from fileroom.scp.call import Call

_HERE: Final = frozenset({"ONLINE", "NEARLINE", ""})
"""Instance Availability (0008,0056) of objects that can be had."""


async def note_availability(call: Call, operation: Operation) -> None:
    """Answer one N-CREATE-RQ."""
    command = operation.command
    status, comment = Status.SUCCESS, ""
    try:
        require(Permission.STUDY_STORE)
        if command.sop_class_uid != uids.INSTANCE_AVAILABILITY_NOTIFICATION:
            status = Status.NO_SUCH_SOP_CLASS
        else:
            study, objects = _read(operation)
            await give_hint(call.archive.pool, [study], Hint.AVAILABILITY, objects)
    except InvalidRequestError as error:
        call.explain(operation, error)
        status, comment = Status.INVALID_ARGUMENT_VALUE, str(error)
    except FileroomError as error:
        call.explain(operation, error)
        status = Status.NOT_AUTHORIZED if isinstance(error, NotAllowedError) else Status.PROCESSING_FAILURE
        comment = str(error)
    call.port.send_response(operation.context.id, respond(command, status, error_comment=comment or None))


def _read(operation: Operation) -> tuple[str, int]:
    """The study, and how many of its objects are available (PS3.4 table R.3.2-1)."""
    dataset = decode_identifier(operation.dataset or b"", operation.context.transfer_syntax)
    study = UID(str(dataset.get("StudyInstanceUID") or ""))
    number = 0
    for series in dataset.get("ReferencedSeriesSequence") or []:
        for item in series.get("ReferencedSOPSequence") or []:
            number += str(item.get("InstanceAvailability") or "") in _HERE
        if number > EXPECTED_MAX:
            raise InvalidRequestError(f"more than {EXPECTED_MAX} objects")
    if not number:
        raise InvalidRequestError("Referenced Series Sequence names no object that is available")
    return study, number

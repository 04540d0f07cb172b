"""Other archives behind our port: whoever calls the AE title of the setting `federated_aet` also asks and gets from those.

Standard behaviour is not touched: our own AE title answers with what is here. A match from elsewhere is NEARLINE (0008,0056),
and its Retrieve AE Title (0008,0054) names first the title through which it can be had here, then the archive that has it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

from fileroom.core.errors import TooLargeError
from fileroom.dicom.identifier import AnswerElement, AnswerValue, encode_answer
from fileroom.dicom.json_model import JsonObject
from fileroom.index.attributes import BY_TAG, INSTANCE_AVAILABILITY_TAG
from fileroom.routing.federated_query import SourceAnswer
from fileroom.routing.fetch import ensure_study
from fileroom.routing.source_calls import text_of
from fileroom.scp.call import Call

STUDIES_FETCHED_MAX: Final = 20
"""By one C-GET or C-MOVE; each may take minutes."""
_LEVEL_TAG: Final = 0x00080052
_RETRIEVE_AET_TAG: Final = 0x00080054
_CHARACTER_SET_TAG: Final = 0x00080005


def is_federated(call: Call) -> bool:
    """Whether the peer has called the title that other archives stand behind."""
    title = call.archive.settings.federated_aet
    return bool(title) and call.called_aet == title


def caller_of(call: Call) -> str:
    """The node that asks, by name."""
    return call.node.name if call.node is not None else ""


def encode_match(
    call: Call,
    answer: SourceAnswer,
    match: JsonObject,
    asked: Sequence[tuple[int, str]],
    level_name: str,
    transfer_syntax: str,
    charset: bytes | None,
) -> bytes | None:
    """A match of another archive as the peer asked for it; None where its values cannot be written."""
    aets = f"{call.archive.settings.federated_aet}\\{answer.aet}"
    made: dict[int, AnswerValue] = {
        _LEVEL_TAG: level_name,
        _RETRIEVE_AET_TAG: aets,
        INSTANCE_AVAILABILITY_TAG: "NEARLINE",
    }
    elements = [AnswerElement(_RETRIEVE_AET_TAG, "AE", aets)]
    for tag, vr in asked:
        if tag in (_CHARACTER_SET_TAG, _RETRIEVE_AET_TAG):
            continue
        attribute = BY_TAG.get(tag)
        elements.append(AnswerElement(tag, attribute.vr if attribute else vr, made.get(tag, value_of(match, tag, vr))))
    try:
        return encode_answer(elements, transfer_syntax, charset)
    except (ValueError, OverflowError, struct.error):
        return None  # a number that is none: the other matches are answers all the same


def encode_model(model: JsonObject, transfer_syntax: str, charset: bytes | None) -> bytes | None:
    """A data set that is held as DICOM JSON, encoded; None where its values cannot be written."""
    elements = []
    for key, element in model.items():
        tag, vr = int(key, 16), str(element.get("vr", "UN"))
        if tag != _CHARACTER_SET_TAG and "InlineBinary" not in element:
            elements.append(AnswerElement(tag, vr, value_of(model, tag, vr)))
    try:
        return encode_answer(elements, transfer_syntax, charset)
    except (ValueError, OverflowError, struct.error):
        return None  # a number that is none: others are answers all the same


def value_of(match: JsonObject, tag: int, vr: str) -> AnswerValue:
    """The value of an attribute: items of a sequence, or one text."""
    if vr == "SQ":
        values = match.get(f"{tag:08X}", {}).get("Value", [])
        return [item for item in values if isinstance(item, dict)]
    return text_of(match, tag)


def without(problems: Sequence[str]) -> str:
    """What an answer says of sources that did not give theirs (64 characters leave)."""
    return f"Without: {', '.join(problems)}" if problems else ""


async def fetch_first(call: Call, study_uids: Sequence[str], message_id: int) -> None:
    """Have these studies here before they are sent on. Raises ServiceError, TooLargeError, NotAllowedError."""
    if len(study_uids) > STUDIES_FETCHED_MAX:
        raise TooLargeError(f"At most {STUDIES_FETCHED_MAX} studies at once from other archives")
    for uid in study_uids:
        await ensure_study(
            call.archive, uid, caller=caller_of(call), is_cancelled=lambda: call.port.cancelled(message_id)
        )

"""What notices (mail, webhook) may tell of a study: counts and UIDs, and of its attributes only those that were chosen."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydicom.datadict import dictionary_VR, tag_for_keyword

from fileroom.core.errors import InvalidRequestError, told
from fileroom.routing.outgoing import OutgoingObject
from fileroom.routing.target_fields import FieldType, TargetField

VALUE_CHARS_MAX: Final = 200
_NOT_TOLD: Final = frozenset(["SQ", "OB", "OD", "OF", "OL", "OV", "OW", "UN"])

ATTRIBUTES_FIELD: Final = TargetField(
    "attributes",
    told("Attributes"),
    FieldType.LIST,
    default=[],
    help=told("Keywords of attributes that the notice may tell, for example Modality. Empty: no patient data leaves."),
)


def checked_attributes(target: Mapping[str, Any]) -> None:
    """Raises InvalidRequestError for what is no keyword of an attribute with a text."""
    for keyword in target.get("attributes", ()):
        tag = tag_for_keyword(keyword)
        if tag is None or _NOT_TOLD & set(dictionary_VR(tag).split()):
            raise InvalidRequestError(
                told(
                    "{keyword} is no keyword of an attribute with a text, for example Modality.",
                    keyword=repr(keyword)[:60],
                )
            )


async def attributes_of(outgoing: OutgoingObject, keywords: Sequence[str]) -> dict[str, str]:
    """The chosen attributes of an object as texts on one line. Raises as `OutgoingObject.header` does."""
    if not keywords:
        return {}
    header = await outgoing.header()
    return {keyword: one_line(header.get(keyword)) for keyword in keywords}


def one_line(value: Any) -> str:
    """A value as a text that can stand in a header of a mail: no line breaks, no control characters, limited."""
    if value is None:
        return ""
    text = "\\".join(map(str, value)) if isinstance(value, Sequence) and not isinstance(value, str) else str(value)
    return " ".join("".join(one if one.isprintable() else " " for one in text).split())[:VALUE_CHARS_MAX]


def event_id(destination: str, batch: Sequence[OutgoingObject]) -> str:
    """The same for the same objects, so that a repeated notice is known as one."""
    digest = hashlib.sha256(destination.encode())
    for one in batch:
        digest.update(f"\n{one.delivery_id} {one.sop_instance_uid}".encode())
    return digest.hexdigest()[:32]

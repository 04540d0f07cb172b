"""Names of files and keys made of an object's attributes: `{PatientID}/{StudyDate}_{AccessionNumber}/{SOPInstanceUID}.dcm`.

What is in braces is the keyword of an attribute (PS3.6); the rest is taken as it stands. Values come from the network, so each
is cleaned until it can only be a part of one name: no separators, no control characters, nothing that Windows forbids, no name
that is a device there, never dots alone, of limited length. A pattern must hold {SOPInstanceUID}: else two objects could be
given one name, and one of them would be lost.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset

from fileroom.core.errors import InvalidRequestError, told
from fileroom.routing.outgoing import OutgoingObject

DEFAULT_PATTERN: Final = "{PatientID}/{StudyInstanceUID}/{SeriesInstanceUID}/{SOPInstanceUID}.dcm"
PATTERN_CHARS_MAX: Final = 500
STEPS_MAX: Final = 16
"""Folders within folders."""
VALUE_BYTES_MAX: Final = 96
"""Of one value in UTF-8: a long name of a patient; UIDs have 64."""
STEP_BYTES_MAX: Final = 240
"""Of one name; file systems take 255, and a part file's name is a little longer."""
PATH_BYTES_MAX: Final = 1000
"""Of all together; S3 takes 1,024."""
EMPTY: Final = "unknown"
"""Stands for a value that an object does not have."""

_PLACE: Final = re.compile(r"\{([^{}]*)\}")
_FORBIDDEN: Final = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]')
_DEVICES: Final = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?")
_NOT_IN_NAMES: Final = frozenset(["SQ", "OB", "OD", "OF", "OL", "OV", "OW", "UN", "UT", "UC"])
_UNIQUE: Final = "SOPInstanceUID"
_FROM_OBJECT: Final[Mapping[str, str]] = {
    "StudyInstanceUID": "study_instance_uid",
    "SeriesInstanceUID": "series_instance_uid",
    "SOPInstanceUID": "sop_instance_uid",
    "SOPClassUID": "sop_class_uid",
}
"""What is known without reading the object."""


def checked_pattern(pattern: str) -> str:
    """The pattern in its normal form. Raises InvalidRequestError, which says what is wrong and shows one that is right."""
    pattern = pattern.strip().strip("/")
    for keyword in _PLACE.findall(pattern):
        tag = tag_for_keyword(keyword)
        if tag is None or _NOT_IN_NAMES & set(dictionary_VR(tag).split()):
            raise InvalidRequestError(
                told(
                    "The pattern names {keyword}, which is no keyword of an attribute with a short text.",
                    keyword=repr(keyword)[:60],
                )
            )
    literal = _PLACE.sub("", pattern)
    steps = pattern.split("/")
    if "{" in literal or "}" in literal or _FORBIDDEN.search(literal.replace("/", "")):
        raise _wrong(told('it holds a brace without its partner, or one of < > : " \\ | ? *'))
    if any(step.strip(" .") == "" or step != step.strip(" ") for step in steps):
        raise _wrong(told("a folder's name in it is empty, only dots, or begins or ends with a blank"))
    if len(pattern) > PATTERN_CHARS_MAX or len(steps) > STEPS_MAX:
        raise _wrong(
            told("it has more than {chars} characters or {steps} folders", chars=PATTERN_CHARS_MAX, steps=STEPS_MAX)
        )
    if _UNIQUE not in _PLACE.findall(pattern):
        raise _wrong(told("it does not hold {field}, so two objects could get one name", field="{SOPInstanceUID}"))
    return pattern


def needs_header(pattern: str) -> bool:
    """Whether an object's attributes must be read to name it."""
    return any(keyword not in _FROM_OBJECT for keyword in _PLACE.findall(pattern))


async def name_of(pattern: str, outgoing: OutgoingObject) -> tuple[str, ...]:
    """The steps of an object's name, cleaned: folders, then the file. Raises as `OutgoingObject.header` does."""
    header = await outgoing.header() if needs_header(pattern) else Dataset()
    values = {keyword: getattr(outgoing, name) for keyword, name in _FROM_OBJECT.items()}
    return steps_of(pattern, header, values)


def steps_of(pattern: str, header: Dataset, values: Mapping[str, str]) -> tuple[str, ...]:
    """The same from a header; `values` come before it."""

    def filled(match: re.Match[str]) -> str:
        keyword = match[1]
        return cleaned(values[keyword] if keyword in values else _text_of(header.get(keyword)), keyword)

    steps = tuple(_whole_step(_PLACE.sub(filled, step)) for step in pattern.split("/"))
    if sum(len(step.encode()) + 1 for step in steps) <= PATH_BYTES_MAX:
        return steps
    # Too long in all: what is left is the last name, which holds the object's UID.
    return (_hashed("/".join(steps[:-1])), steps[-1])


def cleaned(value: str, keyword: str = "") -> str:
    """A value as part of a name. A UID that had to be changed keeps apart from others by a hash of what it was."""
    normal = unicodedata.normalize("NFC", value).strip()
    clean = "".join(
        one if one.isprintable() and not _FORBIDDEN.match(one) and not 0xD800 <= ord(one) <= 0xDFFF else "_"
        for one in normal
    ).strip(" .")
    clean = _cut(clean, VALUE_BYTES_MAX)
    if keyword.endswith("UID") and clean != value:
        return f"{_cut(clean, VALUE_BYTES_MAX - 17) or EMPTY}-{_hashed(value)}"
    return clean or EMPTY


def _whole_step(step: str) -> str:
    if len(step.encode()) > STEP_BYTES_MAX:
        end = step[-80:]  # The end holds the UID and the extension more often than the beginning does.
        step = f"{_cut(step, STEP_BYTES_MAX - len(end.encode()) - 18)}-{_hashed(step)}-{end}"
    step = step.rstrip(" .") or EMPTY
    return f"_{step}" if _DEVICES.fullmatch(step) or step.startswith(".") else step


def _text_of(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return "_".join(str(one) for one in list(value)[:8])
    return "" if isinstance(value, bytes) else str(value)


def _cut(text: str, bytes_max: int) -> str:
    return text.encode("utf-8", "replace")[:bytes_max].decode("utf-8", "ignore").rstrip(" .")


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _wrong(reason: str) -> InvalidRequestError:
    return InvalidRequestError(
        told(
            "The pattern cannot be used: {reason}. One that can: {example}",
            reason=reason,
            example=DEFAULT_PATTERN,
        )
    )

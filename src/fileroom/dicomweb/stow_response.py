"""The answer to a Store request: its status code and the Store Instances Response Module (PS3.18 10.5.3, annex I)."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape, quoteattr

import orjson
from pydicom.datadict import dictionary_VR, tag_for_keyword

from fileroom.core.identifiers import UID


class WarningReason(enum.IntEnum):
    """Why an instance was stored otherwise than it came (PS3.18 I.2.1)."""

    COERCED = 0xB000
    ELEMENTS_DISCARDED = 0xB006
    DATA_SET_MISMATCH = 0xB007


class FailureReason(enum.IntEnum):
    """Why an instance was not stored (PS3.18 I.2.2; the codes are those of PS3.4 B.2.3 and PS3.7 annex C)."""

    PROCESSING_FAILURE = 0x0110
    SOP_CLASS_NOT_SUPPORTED = 0x0122
    NOT_AUTHORIZED = 0x0124
    OUT_OF_RESOURCES = 0xA700
    DATA_SET_MISMATCH = 0xA900
    """It does not fit its SOP class, the study of the URL, or what is already stored under its UID."""
    CANNOT_UNDERSTAND = 0xC000
    TRANSFER_SYNTAX_NOT_SUPPORTED = 0xC122


@dataclass(frozen=True, slots=True)
class Stored:
    """An instance that is committed, now or since an earlier request."""

    sop_class: str
    sop_instance: UID
    study: UID
    series: UID
    warning: WarningReason | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """An instance that is not stored. The UIDs are empty where the part could not be read so far.

    `message` is for people; it goes into Error Comment.
    """

    reason: FailureReason
    message: str = ""
    sop_class: str = ""
    sop_instance: str = ""


Outcome = Stored | Failed

_ERROR_COMMENT_CHARS: Final = 64
"""Error Comment (0000,0902) has VR LO."""


def store_status(outcomes: Sequence[Outcome]) -> int:
    """The HTTP status (PS3.18 table 10.5.3-1).

    200 all stored; 202 stored with warnings or failures; if nothing is stored: 400 where no part could be read, 403
    where the sender may not store, 503 where there is no room, 409 for other and mixed reasons.
    """
    failed = [outcome for outcome in outcomes if isinstance(outcome, Failed)]
    if len(failed) < len(outcomes):
        warned = any(isinstance(outcome, Stored) and outcome.warning is not None for outcome in outcomes)
        return 202 if failed or warned else 200
    reasons = {outcome.reason for outcome in failed}
    if reasons == {FailureReason.OUT_OF_RESOURCES}:
        return 503
    if reasons == {FailureReason.NOT_AUTHORIZED}:
        return 403
    unread = all(not outcome.sop_instance for outcome in failed)
    return 400 if unread and reasons <= {FailureReason.CANNOT_UNDERSTAND} else 409


def store_response_json(outcomes: Iterable[Outcome], root_url: str) -> bytes:
    """The module as one DICOM JSON object (application/dicom+json). `root_url` is the DICOMweb root, without slash."""
    return orjson.dumps(_json(_module(outcomes, root_url)))


def store_response_xml(outcomes: Iterable[Outcome], root_url: str) -> bytes:
    """The module as Native DICOM Model (application/dicom+xml)."""
    body = "".join(_xml(_module(outcomes, root_url)))
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f'<NativeDicomModel xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM" xml:space="preserve">{body}'
        "</NativeDicomModel>"
    ).encode()


_Value = str | int | list["_Module"]
_Module = dict[str, _Value]
"""Keyword to value; a list is a sequence."""


def _module(outcomes: Iterable[Outcome], root_url: str) -> _Module:
    stored: list[Stored] = []
    failed: list[_Module] = []
    others: list[_Module] = []
    for outcome in outcomes:
        if isinstance(outcome, Stored):
            stored.append(outcome)
        elif outcome.sop_instance:
            reference: _Module = {
                "ReferencedSOPClassUID": outcome.sop_class,
                "ReferencedSOPInstanceUID": outcome.sop_instance,
            }
            failed.append(reference | _failure(outcome))
        else:
            others.append(_failure(outcome))
    studies = {one.study for one in stored}
    module: _Module = {"RetrieveURL": f"{root_url}/studies/{studies.pop()}" if len(studies) == 1 else ""}
    if failed:
        module["FailedSOPSequence"] = failed
    if stored:
        module["ReferencedSOPSequence"] = [_reference(one, root_url) for one in stored]
    if others:
        module["OtherFailuresSequence"] = others
    return module


def _reference(stored: Stored, root_url: str) -> _Module:
    reference: _Module = {
        "ReferencedSOPClassUID": stored.sop_class,
        "ReferencedSOPInstanceUID": stored.sop_instance,
        "RetrieveURL": f"{root_url}/studies/{stored.study}/series/{stored.series}/instances/{stored.sop_instance}",
    }
    if stored.warning is not None:
        reference["WarningReason"] = int(stored.warning)
    return reference


def _failure(failed: Failed) -> _Module:
    failure: _Module = {"FailureReason": int(failed.reason)}
    if failed.message:
        failure["ErrorComment"] = failed.message.replace("\\", "/")[:_ERROR_COMMENT_CHARS]
    return failure


def _sorted(module: _Module) -> list[tuple[str, str, str, _Value]]:
    """(tag as 8 digits, VR, keyword, value) by rising tag."""
    rows = []
    for keyword, value in module.items():
        tag = tag_for_keyword(keyword)
        if tag is None:
            raise KeyError(keyword)
        rows.append((f"{tag:08X}", str(dictionary_VR(tag)), keyword, value))
    return sorted(rows, key=lambda row: row[0])


def _json(module: _Module) -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = {}
    for tag, vr, _, value in _sorted(module):
        found[tag] = {"vr": vr}
        if isinstance(value, list):
            found[tag]["Value"] = [_json(item) for item in value]
        elif value != "":
            found[tag]["Value"] = [value]
    return found


def _xml(module: _Module) -> Iterable[str]:
    for tag, vr, keyword, value in _sorted(module):
        yield f'<DicomAttribute tag="{tag}" vr="{vr}" keyword={quoteattr(keyword)}>'
        if isinstance(value, list):
            for number, item in enumerate(value, start=1):
                yield f'<Item number="{number}">'
                yield from _xml(item)
                yield "</Item>"
        elif value != "":
            yield f'<Value number="1">{escape(str(value))}</Value>'
        yield "</DicomAttribute>"

"""The answer to a Store request: its status code and the Store Instances Response Module (PS3.18 10.5.3, annex I)."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from fileroom.core.identifiers import UID
from fileroom.dicom.dictionary import vr_of
from fileroom.dicom.json_model import JsonObject
from fileroom.dicom.xml_model import stream_xml
from fileroom.dicomweb.model import key_of


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
    return orjson.dumps(_model(_module(outcomes, root_url)))


def store_response_xml(outcomes: Iterable[Outcome], root_url: str) -> bytes:
    """The module as Native DICOM Model (application/dicom+xml)."""
    return b"".join(stream_xml(_model(_module(outcomes, root_url))))


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


def _model(module: _Module) -> JsonObject:
    """The module as a DICOM JSON object, by rising tag."""
    model: JsonObject = {}
    for keyword, value in sorted(module.items(), key=lambda pair: key_of(pair[0])):
        key = key_of(keyword)
        model[key] = {"vr": vr_of(int(key, 16))}
        if isinstance(value, list):
            model[key]["Value"] = [_model(item) for item in value]
        elif value != "":
            model[key]["Value"] = [value]
    return model

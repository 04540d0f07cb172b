"""Unified Procedure Steps (PS3.4 CC): their states, what they begin with, what they end with, which events follow. Pure.

A workitem is SCHEDULED; whoever performs it makes it IN PROGRESS with a Transaction UID of their own, which is their key from
then on; it ends COMPLETED or CANCELED (table CC.1.1-2). Attributes of type 1 in table CC.2.5-3 must have a value. Those of
type 2 may be missing, as with performed procedure steps, and are then there without a value.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydicom.datadict import keyword_for_tag

from fileroom.core.errors import ConflictError, InvalidRequestError, NotFoundError, told
from fileroom.core.identifiers import UID
from fileroom.dicom.dictionary import vr_of
from fileroom.dicom.json_model import JsonObject
from fileroom.dicom.normal_forms import normalize_datetime
from fileroom.worklist.performed_rules import (
    MissingAttributeError,
    MissingValueError,
    NoSuchAttributeError,
    WrongValueError,
    items_of,
    text_of,
)

SCHEDULED, IN_PROGRESS, COMPLETED, CANCELED = "SCHEDULED", "IN PROGRESS", "COMPLETED", "CANCELED"
STATES: Final = (SCHEDULED, IN_PROGRESS, COMPLETED, CANCELED)
FINAL_STATES: Final = frozenset({COMPLETED, CANCELED})

GLOBAL_SUBSCRIPTION: Final = "1.2.840.10008.5.1.4.34.5"
FILTERED_SUBSCRIPTION: Final = "1.2.840.10008.5.1.4.34.5.1"

SOP_CLASS: Final = 0x00080016
SOP_INSTANCE: Final = 0x00080018
CHARACTER_SET: Final = 0x00080005
TRANSACTION: Final = 0x00081195
STATE: Final = 0x00741000
PRIORITY: Final = 0x00741200
LABEL: Final = 0x00741204
WORKLIST_LABEL: Final = 0x00741202
START: Final = 0x00404005
EXPECTED_END: Final = 0x00404011
MODIFIED: Final = 0x00404010
READINESS: Final = 0x00404041
STATION: Final = 0x00404025
PERFORMERS: Final = 0x00404034
WORKITEM_CODE: Final = 0x00404018
INPUT: Final = 0x00404021
PATIENT_NAME: Final = 0x00100010
PATIENT_ID: Final = 0x00100020
STUDY_UID: Final = 0x0020000D
REQUEST: Final = 0x0040A370
PROGRESS: Final = 0x00741002
PERFORMED: Final = 0x00741216
PROGRESS_VALUE: Final = 0x00741004
PROGRESS_TEXT: Final = 0x00741006
PROGRESS_CONTACTS: Final = 0x00741008
CANCELLED_AT: Final = 0x00404052
CANCEL_REASON: Final = 0x00741238
CANCEL_CODE: Final = 0x0074100E
CONTACT_URI: Final = 0x0074100A
CONTACT_NAME: Final = 0x0074100C
RECEIVING_AE: Final = 0x00741234
REQUESTING_AE: Final = 0x00741236
DELETION_LOCK: Final = 0x00741230
SCP_STATUS, SUBSCRIPTIONS_STATUS, LIST_STATUS = 0x00741242, 0x00741244, 0x00741246

PRIORITIES: Final = ("HIGH", "MEDIUM", "LOW")
READINESSES: Final = ("INCOMPLETE", "UNAVAILABLE", "READY")
CREATE_TYPE_1: Final = (PRIORITY, LABEL, START, READINESS, STATE)
_KEPT_VALUED: Final = (PRIORITY, LABEL, START, READINESS, WORKLIST_LABEL)
"""Never without a value: type 1, and needed in a final state (code R)."""
_CREATE_TYPE_2: Final = (
    *(PATIENT_NAME, PATIENT_ID, 0x00100021, 0x00100030, 0x00100040, 0x00380010, 0x00380014, 0x00081080, 0x00081084),
    *(REQUEST, 0x00741210, STATION, 0x00404026, 0x00404027, WORKITEM_CODE, 0x00400400, INPUT, PROGRESS, PERFORMED),
)
_NOT_SET: Final = frozenset(
    {SOP_CLASS, SOP_INSTANCE, PATIENT_NAME, PATIENT_ID, 0x00100021, 0x00100030, 0x00100040, 0x00380010, 0x00380014}
)
_SCHEDULED_INFORMATION: Final = frozenset(
    {PRIORITY, LABEL, WORKLIST_LABEL, START, EXPECTED_END, 0x00404008, READINESS, STATION, 0x00404026, 0x00404027}
    | {PERFORMERS, WORKITEM_CODE, 0x00400400, INPUT, 0x00741210}
)
"""A change of it is a change of Scheduled Procedure Step Modification DateTime."""
_MOMENTS: Final = (START, EXPECTED_END, 0x00404008)
_COMPLETED_VALUES: Final = (0x00404028, 0x00404050, 0x00404019, 0x00404051)
"""Of an item of the performed procedure, final state code P: station, begin, workitem code, end."""
_OUTPUT: Final = 0x00404033
DEFAULT_WORKLIST: Final = "Worklist"
DATASET_CHARS_MAX: Final = 4_000_000
"""DICOM JSON of one workitem; input and output references of a large study are some hundred thousand."""
_UNSPECIFIED: Final = ("110513", "DCM", "Discontinued for unspecified reason")

STATE_REPORT, CANCEL_REQUESTED, PROGRESS_REPORT, SCP_STATUS_CHANGE, ASSIGNED = 1, 2, 3, 4, 5
"""Event Type IDs (table CC.2.4-1)."""


class WorkitemError(ConflictError):
    """A workitem is not in a state for that. `status` is the code of PS3.4 CC.2, `warning` PS3.18's sentence for it."""

    def __init__(self, status: int, message: str, warning: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.warning = warning


class DuplicateWorkitemError(ConflictError):
    """There is, or was, a workitem with this SOP Instance UID."""


class UnknownWorkitemError(NotFoundError):
    """There is no such workitem; with `is_gone` there was one."""

    def __init__(self, message: str, *, is_gone: bool = False) -> None:
        super().__init__(message)
        self.is_gone = is_gone


INCONSISTENT: Final = "The submitted request is inconsistent with the state of the UPS Instance."
_ALREADY: Final = "The UPS is already in the requested state of {state}."


def no_longer() -> WorkitemError:
    """C300."""
    return WorkitemError(0xC300, told("The UPS may no longer be updated"), INCONSISTENT)


def wrong_transaction(sent: str) -> WorkitemError:
    """C301."""
    words = "The Transaction UID is incorrect." if sent else "The Transaction UID is missing."
    return WorkitemError(0xC301, told("The correct Transaction UID was not provided"), words)


def unmet(missing: str) -> WorkitemError:
    """C304."""
    text = told("The final state requirements are not met: {missing}", missing=missing)
    return WorkitemError(0xC304, text, INCONSISTENT)


def check_transition(now: str, wanted: str, key: str, sent: str) -> int:
    """Whether a state change is legal (table CC.1.1-2): 0, or the warning B304 or B306 for what is so already.

    `key` is the Transaction UID on record, `sent` the request's. Raises WorkitemError, WrongValueError.
    """
    if wanted not in STATES:
        raise WrongValueError(told("There is no state {state}.", state=wanted[:20]), (STATE,))
    if wanted == SCHEDULED:
        text = told("The UPS may only become SCHEDULED via N-CREATE, not N-SET or N-ACTION")
        raise WorkitemError(0xC303, text, INCONSISTENT)
    if not sent or (key and sent != key):
        raise wrong_transaction(sent)
    if now == wanted and now in FINAL_STATES:
        return 0xB306 if wanted == COMPLETED else 0xB304
    if now in FINAL_STATES:
        raise no_longer()
    if wanted == IN_PROGRESS and now == IN_PROGRESS:
        raise WorkitemError(0xC302, told("The UPS is already IN PROGRESS"), INCONSISTENT)
    if wanted != IN_PROGRESS and now == SCHEDULED:
        raise WorkitemError(0xC310, told("The UPS is not yet in the IN PROGRESS state"), INCONSISTENT)
    return 0


def already(status: int) -> str:
    """PS3.18's sentence for the warnings B304 and B306; empty for others."""
    state = {0xB304: CANCELED, 0xB306: COMPLETED}.get(status)
    return _ALREADY.format(state=state) if state else ""


def check_cancel_request(now: str) -> None:
    """Whether somebody may ask for the end of a workitem (table CC.2.2-2). Raises WorkitemError."""
    if now == COMPLETED:
        raise WorkitemError(0xC311, told("The UPS is already COMPLETED"), INCONSISTENT)


@dataclass(frozen=True, slots=True)
class Made:
    """A data set as it is kept, and whether that differs from what was asked for."""

    attributes: JsonObject
    is_modified: bool


def check_create(model: JsonObject, uid: str, sop_class: str, now: dt.datetime) -> Made:
    """The data set of a new workitem. Raises AttributesError's children, WorkitemError (C309), InvalidRequestError."""
    _require(model, CREATE_TYPE_1)
    if text_of(model, STATE) != SCHEDULED:
        text = told("The provided value of UPS State was not SCHEDULED but {state}", state=text_of(model, STATE)[:20])
        raise WorkitemError(0xC309, text, INCONSISTENT)
    made = {key: value for key, value in model.items() if int(key, 16) not in (TRANSACTION, CHARACTER_SET)}
    for tag in (PROGRESS, PERFORMED):
        if items_of(made, tag):
            raise WrongValueError(told("{tag} must be empty when a step is made.", tag=_named([tag])), (tag,))
    is_modified = bool(text_of(model, TRANSACTION))
    if not text_of(made, WORKLIST_LABEL):
        put(made, WORKLIST_LABEL, DEFAULT_WORKLIST)
        is_modified = True
    for tag in _CREATE_TYPE_2:
        made.setdefault(f"{tag:08X}", {"vr": vr_of(tag)})
    put(made, MODIFIED, moment(now))
    put(made, SOP_CLASS, sop_class)
    put(made, SOP_INSTANCE, uid)
    _check_values(made)
    return Made(dict(sorted(made.items())), is_modified)


def merged(now: JsonObject, change: JsonObject, at: dt.datetime) -> JsonObject:
    """The data set after an N-SET; sequences come whole (CC.2.6.2). Raises AttributesError's children, WorkitemError."""
    wrong = []
    for key, value in change.items():
        tag = int(key, 16)
        if tag in _NOT_SET and value != now.get(key, {"vr": value.get("vr")}) and value.get("Value"):
            wrong.append(tag)
    if wrong:
        raise NoSuchAttributeError(told("{tags} may not be changed.", tags=_named(wrong)), wrong)
    state = text_of(change, STATE)
    if state and state != text_of(now, STATE):
        if state == SCHEDULED:
            text = told("The UPS may only become SCHEDULED via N-CREATE, not N-SET or N-ACTION")
            raise WorkitemError(0xC303, text, INCONSISTENT)
        text = told("{tag} is changed by N-ACTION, not by N-SET.", tag=_named([STATE]))
        raise NoSuchAttributeError(text, (STATE,))
    passed = _NOT_SET | {STATE, TRANSACTION, CHARACTER_SET}
    said = {key: value for key, value in change.items() if int(key, 16) not in passed}
    after = dict(now) | said
    if any(int(key, 16) in _SCHEDULED_INFORMATION and value != now.get(key) for key, value in said.items()):
        put(after, MODIFIED, moment(at))
    _require(after, _KEPT_VALUED)
    _check_values(after)
    return dict(sorted(after.items()))


def ended(now: JsonObject, state: str, at: dt.datetime) -> JsonObject:
    """The data set in a final state, with what the SCP fills in. Raises WorkitemError (C304)."""
    after = dict(now)
    if state == CANCELED:
        items = [dict(one) for one in items_of(now, PROGRESS)] or [{}]
        if not text_of(items[0], CANCELLED_AT):
            put(items[0], CANCELLED_AT, moment(at))
        if not items_of(items[0], CANCEL_CODE):
            put_items(items[0], CANCEL_CODE, [code_item(*_UNSPECIFIED)])
        put_items(after, PROGRESS, items)
    else:
        _check_completed(now)
    put(after, STATE, state)
    return after


def with_cancel_reason(now: JsonObject, request: JsonObject) -> JsonObject:
    """The data set of a step that is cancelled before anybody began it, with the reasons of the request."""
    item = dict((items_of(now, PROGRESS) or [{}])[0])
    for tag in (CANCEL_REASON, CANCEL_CODE):
        if f"{tag:08X}" in request:
            item[f"{tag:08X}"] = request[f"{tag:08X}"]
    contact = {f"{tag:08X}": request[f"{tag:08X}"] for tag in (CONTACT_URI, CONTACT_NAME) if f"{tag:08X}" in request}
    if f"{CONTACT_URI:08X}" in contact:
        put_items(item, PROGRESS_CONTACTS, [contact])
    after = dict(now)
    put_items(after, PROGRESS, [item])
    return after


# --- events ---


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its Event Type ID and its data set."""

    event_type: int
    information: JsonObject


def state_report(model: JsonObject) -> Event:
    """The state and whether the input is ready; of what was cancelled, why."""
    information = _picked(model, (STATE, READINESS))
    if text_of(model, STATE) == CANCELED:
        for item in items_of(model, PROGRESS)[:1]:
            information |= _picked(item, (CANCEL_REASON, CANCEL_CODE))
    return Event(STATE_REPORT, information)


def events_of_creation(model: JsonObject) -> list[Event]:
    """What is told of a new workitem."""
    found = [state_report(model)]
    if items_of(model, STATION) or items_of(model, PERFORMERS):
        found.append(Event(ASSIGNED, _picked(model, (STATION, PERFORMERS))))
    return found


def events_of_change(before: JsonObject, after: JsonObject) -> list[Event]:
    """What is told of a change (CC.2.4.3)."""
    found: list[Event] = []
    if _differ(before, after, (STATE, READINESS)):
        found.append(state_report(after))
    if _differ(before, after, (STATION, PERFORMERS)):
        found.append(Event(ASSIGNED, _picked(after, (STATION, PERFORMERS))))
    shown = (PROGRESS_VALUE, PROGRESS_TEXT, 0x00741007, PROGRESS_CONTACTS)
    items = [_picked(item, shown) for item in items_of(after, PROGRESS)]
    if items != [_picked(item, shown) for item in items_of(before, PROGRESS)] and any(items):
        information: JsonObject = {}
        put_items(information, PROGRESS, items)
        found.append(Event(PROGRESS_REPORT, information))
    return found


def cancel_requested(request: JsonObject, requester: str) -> Event:
    """Somebody asks the performer to stop."""
    information = _picked(request, (CANCEL_REASON, CANCEL_CODE, CONTACT_URI, CONTACT_NAME))
    put(information, REQUESTING_AE, requester)
    return Event(CANCEL_REQUESTED, information)


def restarted() -> Event:
    """Fileroom was started again; subscriptions and workitems are rows, so nothing of them is lost."""
    information: JsonObject = {}
    for tag, text in ((SCP_STATUS, "RESTARTED"), (SUBSCRIPTIONS_STATUS, "WARM START"), (LIST_STATUS, "WARM START")):
        put(information, tag, text)
    return Event(SCP_STATUS_CHANGE, information)


# --- values ---


def put(model: JsonObject, tag: int, text: str) -> None:
    """Set an attribute to one text."""
    model[f"{tag:08X}"] = {"vr": vr_of(tag), "Value": [text]} if text else {"vr": vr_of(tag)}


def put_items(model: JsonObject, tag: int, items: Sequence[JsonObject]) -> None:
    """Set a sequence."""
    model[f"{tag:08X}"] = {"vr": "SQ", "Value": list(items)} if items else {"vr": "SQ"}


def code_item(value: str, scheme: str, meaning: str) -> JsonObject:
    """An item of a code sequence."""
    item: JsonObject = {}
    for tag, text in ((0x00080100, value), (0x00080102, scheme), (0x00080104, meaning)):
        put(item, tag, text)
    return item


def moment(at: dt.datetime) -> str:
    """A DT value, with its offset from UTC."""
    return f"{at:%Y%m%d%H%M%S}{at:%z}"


def study_uids_of(model: JsonObject) -> list[str]:
    """The studies that a workitem is about: its own, those of its requests and of its input."""
    found = [text_of(model, STUDY_UID)]
    for tag in (REQUEST, INPUT):
        found += [text_of(item, STUDY_UID) for item in items_of(model, tag)]
    return [uid for uid in dict.fromkeys(found) if uid]


def without_transaction(model: JsonObject) -> JsonObject:
    """A data set that may be shown."""
    return {key: value for key, value in model.items() if int(key, 16) not in (TRANSACTION, CHARACTER_SET)}


# --- checks ---


def _require(model: JsonObject, tags: Sequence[int]) -> None:
    missing = [tag for tag in tags if f"{tag:08X}" not in model]
    if missing:
        raise MissingAttributeError(told("{tags} must be there.", tags=_named(missing)), missing)
    empty = [tag for tag in tags if not text_of(model, tag) and not items_of(model, tag)]
    if empty:
        raise MissingValueError(told("{tags} must have a value.", tags=_named(empty)), empty)


def _check_values(model: JsonObject) -> None:
    for tag, known in ((PRIORITY, PRIORITIES), (READINESS, READINESSES)):
        if text_of(model, tag) not in known:
            text = told("{tag} must be one of {known}.", tag=_named([tag]), known=", ".join(known))
            raise WrongValueError(text, (tag,))
    for tag in _MOMENTS:
        value = text_of(model, tag)
        if value and normalize_datetime(value) is None:
            raise WrongValueError(told("{tag} has a value that is no date and time.", tag=_named([tag])), (tag,))
    for uid in study_uids_of(model):
        try:
            UID(uid)
        except InvalidRequestError as error:
            raise WrongValueError(told("{tag} is no UID.", tag=_named([STUDY_UID])), (STUDY_UID,)) from error


def _check_completed(model: JsonObject) -> None:
    performed = items_of(model, PERFORMED)
    if not performed:
        raise unmet(_named([PERFORMED]))
    for item in performed:
        missing = [tag for tag in _COMPLETED_VALUES if not text_of(item, tag) and not items_of(item, tag)]
        missing += [] if f"{_OUTPUT:08X}" in item else [_OUTPUT]
        if missing:
            raise unmet(_named(missing))


def _picked(model: JsonObject, tags: Sequence[int]) -> JsonObject:
    return {f"{tag:08X}": model[f"{tag:08X}"] for tag in tags if model.get(f"{tag:08X}", {}).get("Value")}


def _differ(before: JsonObject, after: JsonObject, tags: Sequence[int]) -> bool:
    return _picked(before, tags) != _picked(after, tags)


def _named(tags: Sequence[int]) -> str:
    return ", ".join(f"{keyword_for_tag(tag)} ({tag >> 16:04X},{tag & 0xFFFF:04X})" for tag in tags)


def plain(value: Any) -> Any:
    """DICOM JSON that the database can keep: no NUL in texts."""
    if isinstance(value, str):
        return value.replace("\0", "")
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, list) else value

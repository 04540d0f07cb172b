"""The worklist question (PS3.4 K.6.1): an identifier becomes a `Question`, one statement, and steps, streamed.

Keys are taken as modalities ask them: the Scheduled Procedure Step Sequence empty, with an empty item or with any of its
attributes, and attributes of the sequence beside it. A date range and a time range are one range of moments where that was
agreed (PS3.4 C.2.2.2.5.2), and where the times alone could not be meant: from 22:00 to 06:00.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Final

import orjson
import psycopg
from psycopg import errors
from psycopg.types.json import set_json_loads
from pydicom.datadict import keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.errors import DatabaseError, InvalidRequestError, told
from fileroom.core.limits import QUERY_ROWS_PER_FETCH
from fileroom.dicom.matching import parse_matching, range_bounds, to_utc_bounds
from fileroom.dicom.query import AnyOf, Key, Matching, Range, SequenceItem, SingleValue, Wildcard
from fileroom.index.conditions import Condition
from fileroom.worklist.order_visibility import order_is_visible
from fileroom.worklist.step_keys import (
    START_DATE,
    START_TIME,
    STEP_SEQUENCE,
    Asked,
    StepAttribute,
    answer_elements,
    attribute_of,
    key_condition,
    unmatched_keys,
    vr_of,
)
from fileroom.worklist.step_rows import COLUMNS, ORDER, TABLES, Step, step_of
from fileroom.worklist.worklist_views import EVERYTHING, View, hospital_time, view_filters

__all__ = ["Question", "Step", "StepKey", "answer_elements", "find_steps", "read_question"]

_CHARACTER_SET: Final = 0x00080005
_TIMEZONE: Final = 0x00080201
_NO_KEYS: Final = frozenset({_CHARACTER_SET, _TIMEZONE, 0x00080052})
_STATION: Final = "ScheduledStationAETitle"
TEXT_SHOWN_MAX: Final = 64


@dataclass(frozen=True, slots=True)
class StepKey:
    """One matching key. `attribute` None: it limits nothing here."""

    tag: int
    text: str
    """As it was asked, for people."""
    matching: Matching
    attribute: StepAttribute | None = None

    @property
    def name(self) -> str:
        """The keyword, or the tag as people write it."""
        return keyword_for_tag(self.tag) or f"({self.tag >> 16:04X},{self.tag & 0xFFFF:04X})"


@dataclass(frozen=True, slots=True)
class Question:
    """What a modality asks. `caller` is its AE title."""

    caller: str = ""
    keys: tuple[StepKey, ...] = ()
    asked: tuple[Asked, ...] = ()
    combined_datetime: bool = False
    fuzzy_names: bool = False

    @property
    def has_unsupported_keys(self) -> bool:
        """A key was asked that limits nothing here (PS3.4 K.4.1.1.4: status FF01)."""
        return any(unmatched_keys(key.attribute, key.matching) for key in self.keys)


def read_question(
    identifier: Dataset, caller: str = "", *, combined_datetime: bool = False, fuzzy_names: bool = False
) -> Question:
    """The question of an identifier. Raises InvalidRequestError."""
    keys: dict[int, StepKey] = {}
    asked: list[Asked] = []
    for element in identifier:
        tag = int(element.tag)
        if element.tag.element == 0 or tag == _CHARACTER_SET:
            continue
        if tag != STEP_SEQUENCE:
            asked.append(Asked(tag, element.VR))
            _put_key(keys, element, in_step=False)
            continue
        items = list(element.value or [])
        inner = list(items[0]) if items else []
        asked.append(Asked(tag, "SQ", tuple(Asked(int(one.tag), one.VR) for one in inner if one.tag.element != 0)))
        for one in inner:
            _put_key(keys, one, in_step=True)
    return Question(caller, tuple(keys.values()), tuple(asked), combined_datetime, fuzzy_names)


async def find_steps(archive: Archive, question: Question, view: View = EVERYTHING) -> AsyncGenerator[Step, None]:
    """The steps that answer a question, in the order of their start, streamed: one more than the view's limit at most.

    Raises NotAllowedError, InvalidRequestError for values that cannot be meant, DatabaseError. Close it to cancel.
    """
    access = require(Permission.ORDER_READ)
    condition = Condition.all_of(
        [
            *(one.condition for one in view_filters(view, question.caller, hospital_time(archive))),
            *(condition for _, condition in key_conditions(question, view)),
            order_is_visible(access),
        ]
    )
    text = f"SELECT {COLUMNS} FROM {TABLES} WHERE {condition.text} ORDER BY {ORDER} LIMIT {int(view.results_max) + 1}"
    try:
        async with archive.pool.connection() as connection, connection.cursor() as cursor:
            set_json_loads(orjson.loads, cursor)
            async for row in cursor.stream(text.encode(), condition.parameters, size=QUERY_ROWS_PER_FETCH):
                yield step_of(row)
    except errors.QueryCanceled as error:
        raise DatabaseError(
            "The search took too long and was ended. Ask for less: add a key such as a date."
        ) from error
    except (psycopg.DataError, UnicodeEncodeError) as error:
        raise InvalidRequestError(
            "A value of the search holds characters that no text can have, such as NUL."
        ) from error
    except psycopg.Error as error:
        raise DatabaseError(f"The database could not answer the search: {type(error).__name__}. Try again.") from error


def key_conditions(question: Question, view: View) -> list[tuple[tuple[StepKey, ...], Condition]]:
    """Every condition of a question, with the keys that it comes from. Raises InvalidRequestError."""
    found: list[tuple[tuple[StepKey, ...], Condition]] = []
    keys = question.keys
    date, time = _key_of(keys, START_DATE), _key_of(keys, START_TIME)
    if date is not None and time is not None and _is_one_range(question, date.matching, time.matching):
        keys = tuple(key for key in keys if key not in (date, time))
        found.append(((date, time), _moments(date.matching, time.matching)))
    for key in keys:
        if key.attribute is None:
            continue
        condition = key_condition(key.attribute, key.matching, fuzzy=question.fuzzy_names)
        if view.unassigned and key.attribute.keyword == _STATION and _names(key.matching, question.caller):
            condition = Condition.any_of([condition, Condition("st.station_aets = '{}'")])
        if condition.text:
            found.append(((key,), condition))
    return found


# --- reading ---


def _put_key(keys: dict[int, StepKey], element: DataElement, *, in_step: bool) -> None:
    """The key of an element, unless it matches everything. What is asked inside of the sequence goes before."""
    tag = int(element.tag)
    if tag in _NO_KEYS or element.tag.element == 0:
        return
    attribute = attribute_of(tag, in_step=in_step)
    matching = _matching(element)
    if matching is None:
        return
    key = StepKey(tag, _text(element), matching, attribute)
    if in_step or tag not in keys:
        keys[tag] = key


def _matching(element: DataElement) -> Matching | None:
    if element.VR == "SQ":
        inner = []
        for one in (element.value or [])[:1]:
            for nested in one:
                matching = _matching(nested) if nested.tag.element != 0 else None
                if matching is not None:
                    inner.append(Key(int(nested.tag), nested.VR, matching))
        return SequenceItem(tuple(inner)) if inner else None
    value = element.value
    if value is None or value == "" or isinstance(value, bytes):
        return None
    text = "\\".join(map(str, value)) if element.VM > 1 else str(value)
    vr = vr_of(int(element.tag)) if keyword_for_tag(int(element.tag)) else element.VR
    try:
        return parse_matching(vr, text)
    except InvalidRequestError as error:
        raise InvalidRequestError(
            told("{key}: {why}", key=keyword_for_tag(int(element.tag)) or "key", why=str(error))
        ) from error


def _text(element: DataElement) -> str:
    if element.VR == "SQ":
        return ", ".join(
            f"{one.keyword}={_text(one)}" for item in (element.value or [])[:1] for one in item if one.value
        )
    value = element.value
    text = "\\".join(map(str, value)) if element.VM > 1 else str(value)
    return text[: TEXT_SHOWN_MAX * 4]


# --- dates and times ---


def _key_of(keys: Sequence[StepKey], tag: int) -> StepKey | None:
    return next((key for key in keys if key.tag == tag), None)


def _is_one_range(question: Question, date: Matching, time: Matching) -> bool:
    if not isinstance(date, Range | SingleValue) or not isinstance(time, Range | SingleValue):
        return False
    if question.combined_datetime:
        return True
    if not (isinstance(date, Range) and isinstance(time, Range)):
        return False
    bounds = range_bounds("TM", time)
    return bounds.lower is not None and bounds.upper is not None and bounds.lower > bounds.upper


def _moments(date: Matching, time: Matching) -> Condition:
    """From the first time on the first day to the last on the last; the days alone can be looked for in an index."""
    assert isinstance(date, Range | SingleValue)
    assert isinstance(time, Range | SingleValue)
    days, bounds = range_bounds("DA", date), to_utc_bounds(date, time)
    conditions = [Condition("st.start_date <> ''")]
    for day, moment, sign in ((days.lower, bounds.lower, ">="), (days.upper, bounds.upper, "<=")):
        if day is not None and moment is not None:
            conditions.append(Condition(f"st.start_date {sign} %s", (day,)))
            conditions.append(Condition(f"rpad(st.start_date || st.start_time, 14, '0') {sign} %s", (moment,)))
    return Condition.all_of(conditions)


def _names(matching: Matching, caller: str) -> bool:
    """Whether a key of a station names the caller."""
    if isinstance(matching, SingleValue):
        return matching.value == caller
    return isinstance(matching, Wildcard) or (isinstance(matching, AnyOf) and caller in matching.values)

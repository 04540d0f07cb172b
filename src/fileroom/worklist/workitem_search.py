"""Matching of workitems (PS3.4 CC.2.8): the same for C-FIND, UPS-RS, filtered subscriptions and the console.

What a key means is said once, in Python over the stored data set (`dicom.matching`), at any depth of sequences. The database
only narrows down which data sets are looked at.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Any, Final

import orjson
import psycopg
from psycopg import errors
from psycopg.types.json import set_json_loads

from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.errors import DatabaseError, InvalidRequestError
from fileroom.core.limits import QUERY_ROWS_PER_FETCH
from fileroom.dicom.dictionary import vr_of
from fileroom.dicom.json_model import JsonObject
from fileroom.dicom.matching import matches, parse_matching, range_bounds
from fileroom.dicom.query import AnyOf, EmptyValue, Key, Matching, Range, SequenceItem, SingleValue, Wildcard
from fileroom.index.conditions import Condition
from fileroom.worklist import workitem_rules as rules
from fileroom.worklist.workitem_rows import COLUMNS, Workitem, workitem_is_visible, workitem_of

RESULTS_MAX: Final = 10_000
"""Of one search; past that the question is to be narrowed down."""
KEYS_MAX: Final = 200
_NO_KEYS: Final = frozenset(
    {rules.CHARACTER_SET, 0x00080201, 0x00080052, rules.TRANSACTION, rules.RECEIVING_AE, rules.DELETION_LOCK}
)
_COLUMNS: Final = {
    rules.STATE: "w.state",
    rules.PRIORITY: "w.priority",
    rules.READINESS: "w.readiness",
    rules.PATIENT_ID: "w.patient_id",
    rules.SOP_INSTANCE: "w.sop_instance_uid",
}
_BINARY: Final = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})


async def search_workitems(
    archive: Archive, keys: Sequence[Key] = (), *, newest_first: bool = False
) -> AsyncGenerator[Workitem, None]:
    """The workitems that fit all keys, by their scheduled start, streamed. Close it to stop.

    Raises NotAllowedError, InvalidRequestError for values that cannot be meant, DatabaseError.
    """
    access = require(Permission.ORDER_READ)
    condition = Condition.all_of([*map(_narrowing, keys), workitem_is_visible(access)])
    where = f" WHERE {condition.text}" if condition.text else ""
    order = "w.id DESC" if newest_first else "w.start_moment, w.id"
    try:
        async with archive.pool.connection() as connection, connection.cursor() as cursor:
            set_json_loads(orjson.loads, cursor)
            text = f"SELECT {COLUMNS} FROM workitem w{where} ORDER BY {order}"
            rows = cursor.stream(text.encode(), condition.parameters, size=QUERY_ROWS_PER_FETCH)
            async with aclosing(rows):  # type: ignore[type-var]  # a generator, which psycopg calls an iterator
                async for row in rows:
                    found = workitem_of(row)
                    if fits(found.attributes, keys):
                        yield found
    except errors.QueryCanceled as error:
        raise DatabaseError(
            "The search took too long and was ended. Ask for less: add a key such as a date."
        ) from error
    except (psycopg.DataError, UnicodeEncodeError) as error:
        raise InvalidRequestError("A value of the search holds characters that no text can have.") from error
    except psycopg.Error as error:
        raise DatabaseError(f"The database could not answer the search: {type(error).__name__}. Try again.") from error


def fits(model: JsonObject, keys: Sequence[Key]) -> bool:
    """Whether a data set fits all keys (PS3.4 C.2.2.2)."""
    return all(_fits_one(model.get(f"{key.tag:08X}"), key) for key in keys)


def keys_of_identifier(model: JsonObject) -> tuple[Key, ...]:
    """The keys of an identifier in DICOM JSON; what matches everything is none. Raises InvalidRequestError."""
    found: list[Key] = []
    for name, element in model.items():
        tag = int(name, 16)
        if tag in _NO_KEYS or not tag & 0xFFFF:
            continue
        vr = _vr(tag, element)
        if vr == "SQ":
            items = [item for item in element.get("Value") or [] if isinstance(item, dict)]
            inner = keys_of_identifier(items[0]) if items else ()
            if inner:
                found.append(Key(tag, "SQ", SequenceItem(inner)))
            continue
        matching = None if vr in _BINARY else parse_matching(vr, element_text(element))
        if matching is not None:
            found.append(Key(tag, vr, matching))
    if len(found) > KEYS_MAX:
        raise InvalidRequestError(f"At most {KEYS_MAX} keys.")
    return tuple(found)


def element_text(element: JsonObject | None) -> str:
    """The values of an element as one text, apart by backslashes; of a name its groups apart by `=`."""
    return "\\".join(_value_text(one) for one in (element or {}).get("Value") or [])


def pruned(model: JsonObject, asked: JsonObject) -> JsonObject:
    """What an identifier asked for: every attribute of it, empty where there is nothing, and of items what it names."""
    found: JsonObject = {}
    for name, element in asked.items():
        tag = int(name, 16)
        if tag in (rules.CHARACTER_SET, rules.TRANSACTION) or not tag & 0xFFFF:
            continue
        vr = _vr(tag, element)
        kept = model.get(name)
        if kept is None or not kept.get("Value"):
            found[name] = {"vr": kept["vr"] if kept and vr != "SQ" else vr}
            continue
        inner = next((item for item in element.get("Value") or [] if isinstance(item, dict) and item), None)
        if vr == "SQ" and inner is not None:
            found[name] = {"vr": "SQ", "Value": [pruned(one, inner) for one in kept["Value"] if isinstance(one, dict)]}
        else:
            found[name] = kept
    return found


# --- keys as rows of the database keep them ---


def keys_to_json(keys: Sequence[Key]) -> list[Any]:
    """Keys as JSON, for `keys_from_json`."""
    return [[key.tag, key.vr, *_matching_to_json(key.matching)] for key in keys]


def keys_from_json(rows: Sequence[Sequence[Any]]) -> tuple[Key, ...]:
    """The keys that `keys_to_json` was given."""
    return tuple(Key(int(tag), str(vr), _FROM_JSON[kind](value)) for tag, vr, kind, value in rows)


_FROM_JSON: Final[dict[str, Callable[[Any], Matching]]] = {
    "one": SingleValue,
    "any": lambda value: AnyOf(tuple(value)),
    "wild": Wildcard,
    "range": lambda value: Range(*value),
    "empty": lambda _: EmptyValue(),
    "item": lambda value: SequenceItem(keys_from_json(value)),
}


def _matching_to_json(matching: Matching) -> tuple[str, Any]:
    match matching:
        case SingleValue(value):
            return "one", value
        case AnyOf(values):
            return "any", list(values)
        case Wildcard(pattern):
            return "wild", pattern
        case Range(start, end):
            return "range", [start, end]
        case SequenceItem(keys):
            return "item", keys_to_json(keys)
        case EmptyValue():
            return "empty", None


# --- matching ---


def _fits_one(element: JsonObject | None, key: Key) -> bool:
    if isinstance(key.matching, SequenceItem):
        items = [item for item in (element or {}).get("Value") or [] if isinstance(item, dict)]
        inner = key.matching.keys
        if not items:
            return all(isinstance(one.matching, EmptyValue) for one in inner)
        return any(fits(item, inner) for item in items)
    if isinstance(key.matching, EmptyValue):
        return not (element or {}).get("Value")
    return matches(element_text(element), key.matching, key.vr)


def _value_text(value: object) -> str:
    if isinstance(value, dict):
        groups = [str(value.get(group, "")) for group in ("Alphabetic", "Ideographic", "Phonetic")]
        return "=".join(groups).rstrip("=")
    return "" if value is None else str(value)


def _vr(tag: int, element: JsonObject) -> str:
    known = vr_of(tag)
    return str(element.get("vr", "UN")) if known == "UN" else known


def _narrowing(key: Key) -> Condition:
    """What the columns can say of a key: true for every row that fits it, and perhaps for others."""
    matching = key.matching
    if key.tag in _COLUMNS and isinstance(matching, SingleValue | AnyOf):
        values = [matching.value] if isinstance(matching, SingleValue) else list(matching.values)
        if not any("*" in value or "?" in value for value in values):
            return Condition(f"{_COLUMNS[key.tag]} = ANY(%s)", (values,))
    if key.tag == rules.STUDY_UID and isinstance(matching, SingleValue):
        return Condition("w.study_uids @> ARRAY[%s]::text[]", (matching.value,))
    if key.tag == rules.REQUEST and isinstance(matching, SequenceItem):
        return Condition.all_of(_narrowing(one) for one in matching.keys if one.tag == rules.STUDY_UID)
    if key.tag == rules.START and isinstance(matching, SingleValue | Range):
        bounds = range_bounds("DT", matching)
        # A day wider on both sides: moments may bear offsets from UTC.
        return Condition.all_of(
            Condition(f"w.start_day {sign} %s", (_day(moment, days),))
            for moment, sign, days in ((bounds.lower, ">=", -1), (bounds.upper, "<=", 1))
            if moment is not None
        )
    return Condition()


def _day(moment: str, days: int) -> str:
    try:
        day = dt.date(int(moment[:4]), int(moment[4:6]), int(moment[6:8])) + dt.timedelta(days=days)
    except (ValueError, OverflowError):
        return moment[:8]
    return f"{day:%Y%m%d}".zfill(8)

"""What each kind of step does. A kind is a function from its fields to the attributes it changes and the work.

set       attribute, value             remove  attribute            empty   attribute
copy      from, attribute              map     attribute, table, otherwise: leave|empty|remove|fail, or default
replace   attribute, pattern, with     prefix, suffix  attribute, value      case  attribute, to: upper|lower
trim      attribute                    order   attribute, from, otherwise: leave|empty|fail
new_uids  attributes                   each with an optional `when`
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from collections.abc import Sequence as Values
from types import MappingProxyType
from typing import Final

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from fileroom.core.errors import InvalidObjectError, told
from fileroom.dicom.dictionary import tag_of
from fileroom.pixels.header_values import BROKEN
from fileroom.transform.derived_uids import derived_uid
from fileroom.transform.element_values import element_of, texts_at
from fileroom.transform.errors import CannotChangeError, step_failed
from fileroom.transform.paths import AttributePath, items_at, places, vr_at
from fileroom.transform.patterns import VALUE_CHARS_MAX, checked_replacement, compiled_pattern
from fileroom.transform.steps import Context, Fields, Made, Maker, Work

TABLE_LINES_MAX: Final = 5000
_UID_KEYWORDS: Final = (
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SOPInstanceUID",
    "ReferencedSOPInstanceUID",
    "FrameOfReferenceUID",
    "ReferencedFrameOfReferenceUID",
    "SynchronizationFrameOfReferenceUID",
)
_NEVER_REMOVED: Final = frozenset({0x00080016, 0x00080018, 0x0020000D, 0x0020000E})
_NEVER_TOUCHED: Final = frozenset({0x00080016, 0x00080005, 0x04000561, 0x0018A001})
"""SOP class, character set, the records of changes: they have ways of their own."""
_PIXEL_MODULE: Final = frozenset(
    {
        0x00280002,
        0x00280004,
        0x00280006,
        0x00280008,
        0x00280010,
        0x00280011,
        0x00280100,
        0x00280101,
        0x00280102,
        0x00280103,
    }
)


def _target(fields: Fields, name: str = "attribute") -> AttributePath:
    path = fields.path(name)
    tag = path.last.tag
    if len(path.parts) == 1 and not path.last.creator and (tag in _NEVER_TOUCHED or tag in _PIXEL_MODULE):
        raise fields.wrong(
            name, told("an attribute that may be changed; {path} tells how the object is made", path=str(path))
        )
    return path


def _set(fields: Fields, number: int) -> Made:
    path, values = _target(fields), fields.texts("value")

    def work(dataset: Dataset, _context: Context) -> None:
        _put(dataset, path, values, number, "set")

    return (path,), work


def _remove(fields: Fields, _number: int) -> Made:
    path = _target(fields)
    if len(path.parts) == 1 and path.last.tag in _NEVER_REMOVED:
        raise fields.wrong("attribute", told("one that an object can be without"))

    def work(dataset: Dataset, _context: Context) -> None:
        for level, tag in places(dataset, path):
            if tag in level:
                del level[tag]

    return (path,), work


def _empty(fields: Fields, _number: int) -> Made:
    path = _target(fields)
    if len(path.parts) == 1 and path.last.tag in _NEVER_REMOVED:
        raise fields.wrong("attribute", told("one that an object can be without"))

    def work(dataset: Dataset, _context: Context) -> None:
        for level, tag in places(dataset, path):
            if tag in level:
                level[tag] = DataElement(tag, vr_at(level, tag, path.last), None)

    return (path,), work


def _copy(fields: Fields, number: int) -> Made:
    source, path = fields.path("from"), _target(fields)

    def work(dataset: Dataset, _context: Context) -> None:
        level, tag = next(places(dataset, source), (dataset, 0))
        if items_at(level, tag):
            items = copy.deepcopy(items_at(level, tag))
            for there, at in list(places(dataset, path, make=True)):
                if vr_at(there, at, path.last) != "SQ":
                    raise step_failed(number, "copy", str(path), "", "a sequence can only be copied to a sequence")
                there[at] = DataElement(at, "SQ", Sequence(items))
        elif (values := _texts(level, tag, source, number, "copy")) is not None:
            _put(dataset, path, values, number, "copy")

    return (path,), work


def _map(fields: Fields, number: int) -> Made:
    path, table = _target(fields), fields.take("table")
    source = fields.path("from") if fields.take("from") else path
    default = fields.take("default")
    otherwise = fields.choice("otherwise", ("leave", "empty", "remove", "fail"), "leave")
    if not isinstance(table, Mapping) or not 0 < len(table) <= TABLE_LINES_MAX:
        raise fields.wrong("table", told("a table of 1 to {most} lines", most=TABLE_LINES_MAX))
    lines = {str(key).strip(): str(value) for key, value in table.items()}

    def mapped(value: str) -> str | None:
        found = lines.get(value.strip(), default)
        if found is None and otherwise == "fail":
            raise step_failed(number, "map", str(path), value, "the table has no line for it")
        return None if found is None else str(found)

    def change(values: list[str]) -> list[str] | None:
        found = [mapped(value) for value in values or [""]]
        if any(one is None for one in found) and otherwise != "leave":
            return [] if otherwise == "empty" else None
        kept = [old if new is None else new for old, new in zip(values or [""], found, strict=True)]
        return values if kept == (values or [""]) else kept

    if source is path:
        return (path,), _each(path, number, "map", change)

    def work(dataset: Dataset, _context: Context) -> None:
        for level, tag in places(dataset, source):
            values = _texts(level, tag, source, number, "map")
            found = [mapped(value) for value in (values if values is not None else [])]
            if found and None not in found:
                _put(dataset, path, [one for one in found if one is not None], number, "map")
            elif otherwise == "empty":
                _put(dataset, path, [], number, "map")
            elif otherwise == "remove":
                for there, at in places(dataset, path):
                    there.pop(at, None)
            return

    return (path,), work


def _replace(fields: Fields, number: int) -> Made:
    path = _target(fields)
    pattern = compiled_pattern(fields.text("pattern"))
    replacement = checked_replacement(pattern, fields.text("with", ""))

    def change(values: list[str]) -> list[str]:
        if too_long := next((value for value in values if len(value) > VALUE_CHARS_MAX), None):
            reason = f"it is longer than the {VALUE_CHARS_MAX} characters that a pattern is tried on"
            raise step_failed(number, "replace", str(path), too_long, reason)
        return [pattern.sub(replacement, value) for value in values]

    return (path,), _each(path, number, "replace", change)


def _prefix(fields: Fields, number: int) -> Made:
    path, text = _target(fields), fields.text("value")
    return (path,), _each(path, number, "prefix", lambda values: [text + value for value in values])


def _suffix(fields: Fields, number: int) -> Made:
    path, text = _target(fields), fields.text("value")
    return (path,), _each(path, number, "suffix", lambda values: [value + text for value in values])


def _case(fields: Fields, number: int) -> Made:
    path, to = _target(fields), fields.choice("to", ("upper", "lower"))
    turn: Callable[[str], str] = str.upper if to == "upper" else str.lower
    return (path,), _each(path, number, "case", lambda values: [turn(value) for value in values])


def _trim(fields: Fields, number: int) -> Made:
    path = _target(fields)
    return (path,), _each(path, number, "trim", lambda values: [" ".join(value.split()) for value in values])


def _order(fields: Fields, number: int) -> Made:
    path = _target(fields)
    name = fields.text("from", path.last.creator or str(path.last))
    otherwise = fields.choice("otherwise", ("leave", "empty", "fail"), "leave")

    def work(dataset: Dataset, context: Context) -> None:
        value = context.order.get(name)
        if value is not None:
            _put(dataset, path, [value] if isinstance(value, str) else list(value), number, "order")
        elif otherwise == "fail":
            raise step_failed(number, "order", str(path), "", f"no order with {name} belongs to the object")
        elif otherwise == "empty":
            _put(dataset, path, [], number, "order")

    return (path,), work


def _new_uids(fields: Fields, _number: int) -> Made:
    keywords = fields.texts("attributes") if fields.take("attributes") else list(_UID_KEYWORDS)
    tags = frozenset(tag_of(keyword) or 0 for keyword in keywords)
    if 0 in tags:
        raise fields.wrong("attributes", told("a list of keywords of UIDs"))
    if 0x00080018 in tags:
        tags |= {0x00081155}

    def work(dataset: Dataset, context: Context) -> None:
        _derive(dataset, tags, context)

    return (), work


def _derive(level: Dataset, tags: frozenset[int], context: Context) -> None:
    for tag in list(level.keys()):
        if int(tag) in (0x04000561, 0x0018A001):
            continue
        try:
            element = level[tag]
        except BROKEN:
            continue
        if element.VR == "SQ":
            for item in element.value or ():
                _derive(item, tags, context)
        elif int(tag) in tags and element.value:
            olds = [str(element.value)] if isinstance(element.value, str) else [str(one) for one in element.value]
            news = [derived_uid(context.installation_uid, context.scope, old) for old in olds]
            level[tag] = DataElement(tag, "UI", news[0] if len(news) == 1 else news)


STEP_KINDS: Final[Mapping[str, Maker]] = MappingProxyType(
    {
        "set": _set,
        "remove": _remove,
        "empty": _empty,
        "copy": _copy,
        "map": _map,
        "replace": _replace,
        "prefix": _prefix,
        "suffix": _suffix,
        "case": _case,
        "trim": _trim,
        "order": _order,
        "new_uids": _new_uids,
    }
)


# --- work that several share ---


def _texts(level: Dataset, tag: int, path: AttributePath, number: int, kind: str) -> list[str] | None:
    try:
        return texts_at(level, tag)
    except InvalidObjectError as error:
        raise step_failed(number, kind, str(path), "", str(error)) from error


def _put(dataset: Dataset, path: AttributePath, values: Values[str], number: int, kind: str) -> None:
    """Set it wherever the path leads; items one past the last are added."""
    try:
        for level, tag in list(places(dataset, path, make=True)):
            level[tag] = element_of(tag, vr_at(level, tag, path.last), values)
    except CannotChangeError:
        raise
    except InvalidObjectError as error:
        raise step_failed(number, kind, str(path), "\\".join(values), str(error)) from error


def _each(path: AttributePath, number: int, kind: str, change: Callable[[list[str]], list[str] | None]) -> Work:
    """Change the values wherever the attribute is there; None from `change` removes it."""

    def work(dataset: Dataset, _context: Context) -> None:
        for level, tag in list(places(dataset, path)):
            values = _texts(level, tag, path, number, kind)
            if values is None:
                continue
            changed = change(values)
            if changed is None:
                del level[tag]
            elif changed != values:
                try:
                    level[tag] = element_of(tag, vr_at(level, tag, path.last), changed)
                except InvalidObjectError as error:
                    raise step_failed(number, kind, str(path), "\\".join(changed), str(error)) from error

    return work

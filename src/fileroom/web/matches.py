"""Answers of the index as DICOM JSON: what one match of a search looks like (PS3.18 10.6.3.3, annex F).

A `MatchRenderer` is made once per search and knows, for every attribute that was asked for, how its values are written.
Members stand in ascending order of their tags (PS3.18 F.2.2).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

from fileroom.dicom.query import Level, Query, TagPath
from fileroom.index.attributes import ATTRIBUTES, BY_TAG, INSTANCE_AVAILABILITY_TAG, UNIQUE_KEYS, Attribute, Kind
from fileroom.index.search import Answer as Found
from fileroom.index.search import IndexValue

JsonElement = dict[str, Any]
JsonDataSet = dict[str, JsonElement]

RETRIEVE_URL_TAG: Final = 0x00081190
_NAME_GROUPS: Final = ("Alphabetic", "Ideographic", "Phonetic")
_ONE_VALUE_VRS: Final = frozenset({"LT", "ST", "UR", "UT"})
_NUMBER_VRS: Final = frozenset({"DS", "IS"})


class MatchRenderer:
    """Renders the matches of one search. `root_url` is the DICOMweb root without its last slash."""

    def __init__(self, query: Query, root_url: str) -> None:
        self._root_url = root_url
        self._unique = tuple(UNIQUE_KEYS[level].tag for level in Level if Level.STUDY <= level <= query.level)
        everything = query.return_tags is None
        tags = set() if query.return_tags is None else {path[0] for path in query.return_tags}
        plans = [_plan(attribute, query.return_tags) for attribute in _wanted_attributes(query)]
        plans.append(_Plan(f"{RETRIEVE_URL_TAG:08X}", RETRIEVE_URL_TAG, "UR", _one_text, None))
        if everything or INSTANCE_AVAILABILITY_TAG in tags:
            plans.append(_Plan(f"{INSTANCE_AVAILABILITY_TAG:08X}", INSTANCE_AVAILABILITY_TAG, "CS", _one_text, None))
        self._plans = sorted(plans, key=lambda plan: plan.key)
        missing = tags - set(BY_TAG) - _MADE_HERE
        self.missing_paths: tuple[TagPath, ...] = tuple(p for p in query.return_tags or () if p[0] in missing)
        """Attributes that were asked for and that the index does not hold."""

    def render(self, found: Found, extra: Mapping[str, JsonElement] | None = None) -> JsonDataSet:
        """One match. `extra` are elements from the stored object's header."""
        uids = (found.study_instance_uid, found.series_instance_uid, found.sop_instance_uid)
        values = {
            **found.values,
            **dict(zip(self._unique, uids, strict=False)),
            RETRIEVE_URL_TAG: retrieve_url(self._root_url, *uids),
            INSTANCE_AVAILABILITY_TAG: "ONLINE",
        }
        match: JsonDataSet = {}
        for key, tag, vr, write, empty in self._plans:
            value = values.get(tag)
            if value is not None and value != "":
                match[key] = {"vr": vr, "Value": write(value)}
            elif empty is not None:
                match[key] = empty
        return dict(sorted({**match, **extra}.items())) if extra else match


def retrieve_url(root_url: str, study: str | None, series: str | None = None, instance: str | None = None) -> str:
    """Where a study, a series or an instance is retrieved from."""
    url = f"{root_url}/studies/{study}"
    if series is not None:
        url += f"/series/{series}"
    if instance is not None:
        url += f"/instances/{instance}"
    return url


_MADE_HERE: Final = frozenset({INSTANCE_AVAILABILITY_TAG, RETRIEVE_URL_TAG})

_Write = Callable[[Any], list[Any]]


class _Plan(NamedTuple):
    """How one attribute is written; `empty` is what stands for one without a value, None for nothing."""

    key: str
    tag: int
    vr: str
    write: _Write
    empty: JsonElement | None


def _plan(attribute: Attribute, return_tags: tuple[TagPath, ...] | None) -> _Plan:
    # Whoever asks for everything does not want to read a hundred empty attributes.
    empty: JsonElement | None = None if return_tags is None else {"vr": attribute.vr}
    return _Plan(f"{attribute.tag:08X}", attribute.tag, attribute.vr, _writer(attribute, return_tags), empty)


def _wanted_attributes(query: Query) -> set[Attribute]:
    unique = {a for level, a in UNIQUE_KEYS.items() if Level.STUDY <= level <= query.level}
    if query.return_tags is None:
        return {a for a in ATTRIBUTES if a.level <= query.level}
    asked = (BY_TAG.get(path[0]) for path in query.return_tags)
    return unique | {a for a in asked if a is not None and a.level <= query.level}


def _writer(attribute: Attribute, return_tags: tuple[TagPath, ...] | None) -> _Write:
    if attribute.kind is Kind.SEQUENCE:
        return _sequence_writer(attribute.tag, return_tags)
    if attribute.kind is Kind.NAME:
        return _names
    if attribute.vr in _NUMBER_VRS:
        return _numbers
    return _one_text if attribute.vr in _ONE_VALUE_VRS else _texts


def _texts(value: IndexValue) -> list[Any]:
    if isinstance(value, str):
        return [part or None for part in value.split("\\")] if "\\" in value else [value]
    return value if isinstance(value, list) else [value]


def _one_text(value: IndexValue) -> list[Any]:
    return [value]


def _numbers(value: IndexValue) -> list[Any]:
    return [_number(part) if isinstance(part, str) else part for part in _texts(value)]


def _number(text: str) -> int | float | str:
    """A JSON number where the text is one; a device's mistake goes out as it came (PS3.18 F.2.3 allows strings)."""
    try:
        return int(text)
    except ValueError:
        pass
    try:
        number = float(text)
    except ValueError:
        return text
    return number if math.isfinite(number) else text


def _names(value: IndexValue) -> list[Any]:
    return [_name(part) for part in str(value).split("\\")]


def _name(text: str) -> dict[str, str] | None:
    groups = zip(_NAME_GROUPS, text.split("="), strict=False)
    return {group: part for group, part in groups if part} or None


def _sequence_writer(tag: int, return_tags: tuple[TagPath, ...] | None) -> _Write:
    """Whole items, or only the elements of them that were asked for."""
    below = [path[1:] for path in return_tags or () if path[0] == tag]
    if not below or () in below:
        return list
    return lambda items: [pruned(item, below) for item in items]


def pruned(item: JsonDataSet, paths: Iterable[TagPath]) -> JsonDataSet:
    """The elements of a data set that `paths` lead to."""
    below: dict[str, list[TagPath]] = {}
    for path in paths:
        below.setdefault(f"{path[0]:08X}", []).append(path[1:])
    kept: JsonDataSet = {}
    for key, element in item.items():
        rest = below.get(key)
        if rest is None:
            continue
        if () in rest or "Value" not in element or element.get("vr") != "SQ":
            kept[key] = element
        else:
            kept[key] = {**element, "Value": [pruned(inner, rest) for inner in element["Value"]]}
    return kept

"""QIDO-RS: a resource and its query string become one `Query` (PS3.18 8.3.4 and 10.6).

What a parameter means is decided here; how a value matches is `dicom.matching`'s business, and which attributes can
be searched the index's. A parameter that is not known is ignored and told in `Search.warnings` (PS3.18 8.3), a known
one with a bad value refuses the request.

RetrieveURL, which the standard asks for in every answer, is not among the tags: the web room knows its own address. The
unique keys that it is made from are always returned.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from fileroom.core.errors import InvalidRequestError, TooLargeError
from fileroom.core.identifiers import UID
from fileroom.core.limits import (
    INCLUDE_FIELDS_MAX,
    QIDO_LIMIT_DEFAULT,
    QIDO_LIMIT_MAX,
    QUERY_OFFSET_MAX,
    SEQUENCE_DEPTH_MAX,
)
from fileroom.dicom.dictionary import tag_of, vr_of
from fileroom.dicom.matching import RANGE_VRS, parse_matching, range_bounds
from fileroom.dicom.query import (
    AnyOf,
    EmptyValue,
    Key,
    Level,
    Matching,
    Page,
    Query,
    Range,
    SequenceItem,
    SingleValue,
    TagPath,
)
from fileroom.dicomweb.parameters import boolean, bounded, shown, whole_number


class Resource(enum.Enum):
    """The target resources of the Search transaction (PS3.18 table 10.6.1-1)."""

    ALL_STUDIES = "/studies"
    STUDY_SERIES = "/studies/{study}/series"
    ALL_SERIES = "/series"
    STUDY_INSTANCES = "/studies/{study}/instances"
    SERIES_INSTANCES = "/studies/{study}/series/{series}/instances"
    ALL_INSTANCES = "/instances"

    @property
    def level(self) -> Level:
        """The level of its answers."""
        return _LEVEL[self]


@dataclass(frozen=True, slots=True)
class Search:
    """What is asked, and what the answer must tell beside the matches.

    `warnings` are sentences for Warning headers with code 299. `limit_named` says that the request itself named the
    page's limit; if it did not and there are more matches, the answer must warn of it (PS3.18 8.3.4.4).
    """

    query: Query
    warnings: tuple[str, ...] = ()
    limit_named: bool = False


def parse_search(
    resource: Resource,
    parameters: Iterable[tuple[str, str]],
    study: UID | None = None,
    series: UID | None = None,
) -> Search:
    """Read a search request.

    `parameters` are the name-value pairs of the query string, percent-decoded, in their order. `study` and `series`
    are those of the path, where the resource has them.

    Raises:
        InvalidRequestError: a value is malformed, contradicts the path, or comes twice.
        TooLargeError: more parameters or longer values than any real question has.
    """
    request = _Request()
    for name, value in bounded(parameters):
        request.take(name, value)
    for keyword, uid in (("StudyInstanceUID", study), ("SeriesInstanceUID", series)):
        if uid is not None:
            request.pin(keyword, uid)
    return request.search(resource)


def parse_attribute_search(parameters: Iterable[tuple[str, str]], defaults: Iterable[str]) -> Search:
    """The same for workitems (PS3.18 11.9), which have no levels: `defaults` are the keywords that are always returned.

    Raises InvalidRequestError, TooLargeError.
    """
    request = _Request()
    for name, value in bounded(parameters):
        request.take(name, value)
    if request.flags.pop("fuzzymatching", False):
        request.warnings.append(
            "The fuzzymatching parameter is not supported. Only literal matching has been performed."
        )
    paths = dict.fromkeys([*map(_path, defaults), *request.values, *request.include])
    query = Query(
        level=Level.INSTANCE,
        keys=request.keys(),
        return_tags=None if request.include_all else tuple(paths),
        page=request.page(Resource.ALL_INSTANCES),
    )
    return Search(query, tuple(request.warnings), "limit" in request.numbers)


_STUDY: Final = (
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "InstanceAvailability",
    "ModalitiesInStudy",
    "ReferringPhysicianName",
    "TimezoneOffsetFromUTC",
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyInstanceUID",
    "StudyID",
    "NumberOfStudyRelatedSeries",
    "NumberOfStudyRelatedInstances",
)
"""PS3.18 table 10.6.3-3, but for RetrieveURL."""

_SERIES: Final = (
    "Modality",
    "TimezoneOffsetFromUTC",
    "SeriesDescription",
    "SeriesInstanceUID",
    "SeriesNumber",
    "NumberOfSeriesRelatedInstances",
    "PerformedProcedureStepStartDate",
    "PerformedProcedureStepStartTime",
    "RequestAttributesSequence.ScheduledProcedureStepID",
    "RequestAttributesSequence.RequestedProcedureID",
)
"""PS3.18 table 10.6.3-4, but for RetrieveURL."""

_INSTANCE: Final = (
    "SOPClassUID",
    "SOPInstanceUID",
    "InstanceAvailability",
    "TimezoneOffsetFromUTC",
    "InstanceNumber",
    "Rows",
    "Columns",
    "BitsAllocated",
    "NumberOfFrames",
)
"""PS3.18 table 10.6.3-5, but for RetrieveURL."""

_DEFAULTS: Final = {
    Resource.ALL_STUDIES: _STUDY,
    Resource.STUDY_SERIES: ("StudyInstanceUID", *_SERIES),
    Resource.ALL_SERIES: (*_STUDY, *_SERIES),
    Resource.STUDY_INSTANCES: ("StudyInstanceUID", *_SERIES, *_INSTANCE),
    Resource.SERIES_INSTANCES: ("StudyInstanceUID", "SeriesInstanceUID", *_INSTANCE),
    Resource.ALL_INSTANCES: (*_STUDY, *_SERIES, *_INSTANCE),
}

_LEVEL: Final = {
    Resource.ALL_STUDIES: Level.STUDY,
    Resource.STUDY_SERIES: Level.SERIES,
    Resource.ALL_SERIES: Level.SERIES,
    Resource.STUDY_INSTANCES: Level.INSTANCE,
    Resource.SERIES_INSTANCES: Level.INSTANCE,
    Resource.ALL_INSTANCES: Level.INSTANCE,
}

_WITHIN_STUDY: Final = frozenset({Resource.STUDY_SERIES, Resource.STUDY_INSTANCES, Resource.SERIES_INSTANCES})

_FLAGS: Final = ("fuzzymatching", "emptyvaluematching", "multiplevaluematching")
_NUMBERS: Final = {"limit": QUERY_OFFSET_MAX, "offset": QUERY_OFFSET_MAX}

_COMMA_LISTS: Final = frozenset({"UI", "CS"})
"""VRs whose values cannot hold a comma. UID lists are written with it (PS3.18 8.3.4.1), code lists often are."""

_NOT_MATCHABLE: Final = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
_TAG: Final = re.compile(r"[0-9A-Fa-f]{8}")
_EMPTY: Final = '""'


class _NotKnownError(Exception):
    """An attribute that is in no dictionary."""


@dataclass(slots=True)
class _Request:
    """The query string while it is read."""

    values: dict[TagPath, tuple[str, str]] = field(default_factory=dict)
    """For each attribute the parameter's name as written and its value."""
    include: dict[TagPath, None] = field(default_factory=dict)
    include_all: bool = False
    flags: dict[str, bool] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def take(self, name: str, value: str) -> None:
        """Read one parameter."""
        control = name.lower()
        if control in _FLAGS:
            self._once(control, self.flags)
            self.flags[control] = boolean(control, value)
        elif control in _NUMBERS:
            self._once(control, self.numbers)
            self.numbers[control] = whole_number(control, value, _NUMBERS[control])
        elif control == "includefield":
            self._include(value)
        else:
            self._match(name, value)

    def pin(self, keyword: str, uid: UID) -> None:
        """Let only `uid`, which the path names, be matched."""
        path = _path(keyword)
        name, value = self.values.get(path, (keyword, ""))
        if value.strip() not in ("", "*") and uid not in _split_list(value):
            raise InvalidRequestError(f"{name}={shown(value)} contradicts {uid} in the path; leave the parameter out")
        self.values[path] = (name, uid)

    def search(self, resource: Resource) -> Search:
        """What was read, as a search."""
        paths = dict.fromkeys(_path(name) for name in _DEFAULTS[resource])
        paths.update(dict.fromkeys(self.values))
        paths.update(self.include)
        timezone = self._timezone()
        query = Query(
            level=resource.level,
            keys=self.keys(),
            return_tags=None if self.include_all else tuple(paths),
            page=self.page(resource),
            combined_datetime=True,
            fuzzy_names=self.flags.get("fuzzymatching", False),
            timezone=timezone,
            newest_first=resource is Resource.ALL_STUDIES,
        )
        return Search(query, tuple(self.warnings), "limit" in self.numbers)

    def _once(self, name: str, seen: dict[str, bool] | dict[str, int]) -> None:
        if name in seen:
            raise InvalidRequestError(f"the parameter {name} is given twice; give it once")

    def _include(self, value: str) -> None:
        for name in filter(None, (part.strip() for part in value.split(","))):
            if name.lower() == "all":
                self.include_all = True
                continue
            try:
                self.include[_path(name)] = None
            except _NotKnownError:
                self.warnings.append(f"includefield={shown(name)} is no attribute of the standard; it was ignored")
            if len(self.include) > INCLUDE_FIELDS_MAX:
                raise TooLargeError(
                    f"includefield names more than {INCLUDE_FIELDS_MAX} attributes; use includefield=all"
                )

    def _match(self, name: str, value: str) -> None:
        try:
            path = _path(name)
        except _NotKnownError:
            self.warnings.append(f"the parameter {shown(name)} is not known; it was ignored")
            return
        if path not in self.values:
            self.values[path] = (name, value)
        elif vr_of(path[-1]) in _COMMA_LISTS:
            self.values[path] = (name, self.values[path][1] + "\\" + value)
        elif self.values[path][1] != value:
            raise InvalidRequestError(f"{shown(name)} is given twice with different values; give it once")

    def keys(self) -> tuple[Key, ...]:
        """What is to be matched."""
        tree: _Tree = {}
        for path, (name, text) in self.values.items():
            if path == _path("TimezoneOffsetFromUTC") or (matching := self._matching(name, path[-1], text)) is None:
                continue
            node = tree
            for tag in path[:-1]:
                child = node.setdefault(tag, {})
                if not isinstance(child, dict):
                    raise InvalidRequestError(
                        f"{shown(name)}: its sequence is also matched as a whole; give one of both"
                    )
                node = child
            node[path[-1]] = matching
        return _keys_of(tree)

    def _matching(self, name: str, tag: int, text: str) -> Matching | None:
        """How the value matches; None for universal matching."""
        vr = vr_of(tag)
        if text.strip() in ("", "*"):
            return None
        if vr == "SQ" or vr in _NOT_MATCHABLE:
            raise InvalidRequestError(
                f"{shown(name)} (VR {vr}) cannot be matched with a value; name an element of its items,"
                " as in RequestAttributesSequence.ScheduledProcedureStepID"
            )
        if text.strip() == _EMPTY:
            return self._empty(name)
        if vr in _COMMA_LISTS:
            text = "\\".join(_split_list(text))
        elif "\\" in text and not self.flags.get("multiplevaluematching", False):
            self.warnings.append(
                f"{shown(name)} holds a backslash, which was taken as part of its value;"
                " for any of several values add multiplevaluematching=true"
            )
            return SingleValue(text)
        try:
            matching = parse_matching(vr, text)
            _check(vr, matching)
            return matching
        except InvalidRequestError as error:
            raise InvalidRequestError(f"{shown(name)}={shown(text)}: {error}") from error

    def _empty(self, name: str) -> Matching:
        if self.flags.get("emptyvaluematching", False):
            return EmptyValue()
        self.warnings.append(
            f"{shown(name)}: two quotation marks were taken as the value itself;"
            " for attributes without a value add emptyvaluematching=true"
        )
        return SingleValue(_EMPTY)

    def _timezone(self) -> str | None:
        name, text = self.values.get(_path("TimezoneOffsetFromUTC"), ("", ""))
        text = text.strip()
        if text in ("", "*"):
            return None
        # A plus sign that was not percent-encoded arrives as a blank, which was stripped.
        text = text if text[0] in "+-" else "+" + text
        if not re.fullmatch(r"[+-](0[0-9]|1[0-4])[0-5][0-9]", text):
            raise InvalidRequestError(f"{name}={shown(text)} is not an offset from UTC; write +HHMM or -HHMM")
        return text

    def page(self, resource: Resource) -> Page:
        """How many of the answers, and from which on."""
        # A study bounds its own list, so that one is cut only at the maximum.
        default = QIDO_LIMIT_MAX if resource in _WITHIN_STUDY else QIDO_LIMIT_DEFAULT
        limit = self.numbers.get("limit", default)
        if limit > QIDO_LIMIT_MAX:
            self.warnings.append(f"limit={limit} was lowered to {QIDO_LIMIT_MAX}; ask for the rest with offset")
            limit = QIDO_LIMIT_MAX
        return Page(limit, self.numbers.get("offset", 0))


_Tree = dict[int, "_Node"]
_Node = Matching | _Tree


def _keys_of(tree: _Tree) -> tuple[Key, ...]:
    """Keys below one sequence belong to one item that must match them all (PS3.4 C.2.2.2.6)."""
    return tuple(
        Key(tag, "SQ", SequenceItem(_keys_of(node))) if isinstance(node, dict) else Key(tag, vr_of(tag), node)
        for tag, node in tree.items()
        if node != {}
    )


def _check(vr: str, matching: Matching | None) -> None:
    """Refuse UIDs, dates and times that are none: in a URL they are mistakes, not values that someone stored so."""
    if not isinstance(matching, SingleValue | AnyOf | Range):
        return
    if vr in RANGE_VRS:
        ends = [SingleValue(value) for value in matching.values] if isinstance(matching, AnyOf) else [matching]
        for end in ends:
            range_bounds(vr, end)
    elif vr == "UI" and not isinstance(matching, Range):
        for value in matching.values if isinstance(matching, AnyOf) else (matching.value,):
            UID(value)


def _path(name: str) -> TagPath:
    """Keywords or tags with dots between them. Raises _NotKnownError for what is in no dictionary."""
    parts = name.strip().split(".")
    if len(parts) > SEQUENCE_DEPTH_MAX:
        raise InvalidRequestError(f"{shown(name)} goes deeper than {SEQUENCE_DEPTH_MAX} sequences")
    path = tuple(_tag(part) for part in parts)
    for tag, part in zip(path[:-1], parts, strict=False):
        if vr_of(tag) not in ("SQ", "UN"):
            raise InvalidRequestError(f"{shown(name)}: {part} is not a sequence, so nothing lies below it")
    return path


def _tag(text: str) -> int:
    if _TAG.fullmatch(text):
        return int(text, 16)
    tag = tag_of(text)
    if tag is None:
        raise _NotKnownError(text)
    return tag


def _split_list(text: str) -> list[str]:
    return [part.strip() for part in re.split(r"[,\\]", text) if part.strip()]

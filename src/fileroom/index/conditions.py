r"""One matching key as an SQL condition (PS3.4 C.2.2.2).

`column` is always an expression made from the attribute table; values are parameters. Backslashes, percent signs and
underscores of a wanted value are escaped for LIKE, whose `%` and `_` only ever come from `*` and `?`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from fileroom.core.errors import InvalidRequestError, UnsupportedError
from fileroom.dicom.matching import range_bounds, to_utc_bounds
from fileroom.dicom.normal_forms import Bounds, normalize_name, normalize_name_pattern
from fileroom.dicom.query import AnyOf, EmptyValue, Key, Matching, Range, SequenceItem, SingleValue, Wildcard
from fileroom.index.attributes import BY_KEYWORD, Attribute, Kind

MULTI_VALUED: Final = frozenset(
    {"OtherPatientIDs", "OtherPatientNames", "ImageType", "NameOfPhysiciansReadingStudy", "PhysiciansOfRecord"}
    | {"PerformingPhysicianName", "OperatorsName", "AdmittingDiagnosesDescription"}
)
"""Attributes of value multiplicity above one: any of their values may match."""

_STUDY_DATE: Final = BY_KEYWORD["StudyDate"].tag
_STUDY_TIME: Final = BY_KEYWORD["StudyTime"].tag
_TRAILING_PARTS: Final = re.compile(r"(\^\*)+$")


@dataclass(frozen=True, slots=True)
class Condition:
    """SQL text with placeholders (empty: no condition), and its parameters in order."""

    text: str = ""
    parameters: tuple[object, ...] = ()

    @staticmethod
    def all_of(conditions: Iterable[Condition]) -> Condition:
        """Every one of them."""
        return _join(conditions, " AND ")

    @staticmethod
    def any_of(conditions: Iterable[Condition]) -> Condition:
        """At least one of them."""
        return _join(conditions, " OR ")


_NEVER: Final = Condition("false")


def attribute_condition(attribute: Attribute, column: str, matching: Matching, *, fuzzy: bool) -> Condition:
    """`attribute`, whose values are in `column`, matches. Raises InvalidRequestError for values that make no sense."""
    if isinstance(matching, EmptyValue):
        return Condition(f"{column} IS NULL")
    if isinstance(matching, AnyOf) and attribute.kind not in (Kind.UID, Kind.TEXT, Kind.COMPUTED):
        singles = (_single_or_wildcard(value) for value in matching.values)
        return Condition.any_of(attribute_condition(attribute, column, one, fuzzy=fuzzy) for one in singles)
    if attribute.kind is Kind.NAME and fuzzy and isinstance(matching, SingleValue | Wildcard):
        return _fuzzy_name(column, matching)
    return _BY_KIND[attribute.kind](attribute, column, matching)


def combined_datetime_condition(keys: tuple[Key, ...], timezone: str | None) -> tuple[Condition, tuple[Key, ...]]:
    """Study Date and Study Time taken as one moment, in `timezone` if given; and the keys that are left.

    Where a study says its own offset, moments are compared in UTC. The plain date condition, a day wider on both sides,
    stays beside it so that the date's index serves.
    """
    found = {key.tag: key.matching for key in keys if key.tag in (_STUDY_DATE, _STUDY_TIME)}
    date, time = found.get(_STUDY_DATE), found.get(_STUDY_TIME)
    if not isinstance(date, Range | SingleValue) or not isinstance(time, Range | SingleValue | None):
        return Condition(), keys
    rest = tuple(key for key in keys if key.tag not in found)
    bounds = to_utc_bounds(date, time, timezone)
    moment = "dicom_moment(s.study_date, s.study_time, s.timezone_offset_from_utc)"
    if timezone is None:
        moment = "(s.study_date || coalesce(s.study_time, '000000'))"
    nearby = _between("s.study_date", Bounds(_day_from(bounds.lower, -1), _day_from(bounds.upper, 1)))
    return Condition.all_of([nearby, _between(moment, bounds)]), rest


def like_pattern(wildcard: str) -> str:
    """`*` and `?` as LIKE's `%` and `_`; what LIKE would take for its own is escaped."""
    escaped = wildcard.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return re.sub(r"\*+", "%", escaped).replace("?", "_")


# --- by kind ---


def _text(attribute: Attribute, column: str, matching: Matching) -> Condition:
    if attribute.keyword in MULTI_VALUED:
        one_value = _plain("value", matching)
        return Condition(
            f"EXISTS (SELECT 1 FROM unnest(string_to_array({column}, '\\')) AS value WHERE {one_value.text})",
            one_value.parameters,
        )
    return _plain(column, matching)


def _plain(column: str, matching: Matching) -> Condition:
    if isinstance(matching, SingleValue):
        return Condition(f"{column} = %s", (matching.value,))
    if isinstance(matching, Wildcard):
        return Condition(f"{column} LIKE %s", (like_pattern(matching.pattern),))
    if isinstance(matching, AnyOf):
        exact = [value for value in matching.values if not _is_wild(value)]
        wild = [Condition(f"{column} LIKE %s", (like_pattern(v),)) for v in matching.values if _is_wild(v)]
        return Condition.any_of([Condition(f"{column} = ANY(%s)", (exact,)), *wild] if exact else wild)
    raise InvalidRequestError(f"{type(matching).__name__} matching does not go with a text attribute.")


def _uid(_attribute: Attribute, column: str, matching: Matching) -> Condition:
    if isinstance(matching, SingleValue):
        return Condition(f"{column} = %s", (matching.value,))
    if isinstance(matching, AnyOf):
        return Condition(f"{column} = ANY(%s)", (list(matching.values),))
    raise InvalidRequestError("A UID matches only as a whole, alone or in a list.")


def _name(attribute: Attribute, column: str, matching: Matching) -> Condition:
    if not isinstance(matching, SingleValue | Wildcard):
        raise InvalidRequestError("A person name matches by value or with wildcards.")
    wild = isinstance(matching, Wildcard)
    text = (
        normalize_name_pattern(matching.pattern) if isinstance(matching, Wildcard) else normalize_name(matching.value)
    )
    groups = text.split("=")
    if len(groups) == 1:
        in_first = _name_group(attribute, f"{column}_key", groups[0], wild=wild)
        return Condition.any_of([in_first, _other_group(column, groups[0], wild=wild)])
    wanted = [_name_group(attribute, f"{column}_key", groups[0], wild=wild)] if groups[0].strip("*") else []
    wanted += [_other_group(column, group, wild=wild) for group in groups[1:] if group.strip("*")]
    return Condition.all_of(wanted)


def _name_group(attribute: Attribute, column: str, group: str, *, wild: bool) -> Condition:
    if attribute.keyword in MULTI_VALUED:
        one_name = _one_name("value", group, wild=wild)
        return Condition(
            f"EXISTS (SELECT 1 FROM unnest(string_to_array({column}, '\\')) AS value WHERE {one_name.text})",
            one_name.parameters,
        )
    return _one_name(column, group, wild=wild)


def _one_name(column: str, group: str, *, wild: bool) -> Condition:
    if not wild:
        return Condition(f"{column} = %s", (group,))
    # Empty parts at a name's end are not kept, so `DOE^*` must also find the bare `DOE`.
    shorter = _TRAILING_PARTS.sub("", group)
    whole = Condition(f"{column} LIKE %s", (like_pattern(group),))
    return whole if shorter == group else Condition.any_of([whole, _one_name(column, shorter, wild=_is_wild(shorter))])


def _other_group(column: str, group: str, *, wild: bool) -> Condition:
    inner = like_pattern(group) if wild else like_pattern(group.replace("*", "").replace("?", ""))
    return Condition(f"{column}_other_keys LIKE %s", (f"%={inner}=%",))


def _fuzzy_name(column: str, matching: SingleValue | Wildcard) -> Condition:
    """Every word of the question begins a word of the name, in any order (PS3.18 8.3.4.2)."""
    text = matching.value if isinstance(matching, SingleValue) else matching.pattern
    words = re.split(r"[\s^=,*?]+", normalize_name(text))
    conditions = []
    for word in filter(None, words):
        begins = like_pattern(word)
        patterns = (f"{begins}%", f"%^{begins}%", f"% {begins}%", f"%={begins}%")
        places = [Condition(f"{column}_key LIKE %s", (pattern,)) for pattern in patterns[:3]]
        places += [Condition(f"{column}_other_keys LIKE %s", (pattern,)) for pattern in patterns[1:]]
        conditions.append(Condition.any_of(places))
    return Condition.all_of(conditions) if conditions else _NEVER


def _date_or_time(attribute: Attribute, column: str, matching: Matching) -> Condition:
    if isinstance(matching, Wildcard):  # not of the standard, but people type it: 2026*
        return Condition(f"{column} LIKE %s", (like_pattern(matching.pattern),))
    if not isinstance(matching, Range | SingleValue):
        raise InvalidRequestError(f"{attribute.keyword} matches by value or range.")
    if isinstance(matching, SingleValue) and attribute.kind is Kind.DATE:
        return Condition(f"{column} = %s", (matching.value,))
    return _between(column, range_bounds("DA" if attribute.kind is Kind.DATE else "TM", matching))


def _integer(attribute: Attribute, column: str, matching: Matching) -> Condition:
    if not isinstance(matching, SingleValue):
        raise InvalidRequestError(f"{attribute.keyword} matches only a whole number.")
    try:
        number = int(matching.value)
    except ValueError as error:
        raise InvalidRequestError(f"{attribute.keyword} is a number; {matching.value[:20]!r} is none.") from error
    return Condition(f"{column} = %s", (number,)) if abs(number) < 2**63 else _NEVER


def _computed(attribute: Attribute, column: str, matching: Matching) -> Condition:
    if attribute.keyword == "AvailableTransferSyntaxUID":
        return _uid(attribute, column, matching)
    # ModalitiesInStudy and SOPClassesInStudy: any of the array's values.
    if isinstance(matching, SingleValue):
        return Condition(f"{column} @> ARRAY[%s]", (matching.value,))
    if isinstance(matching, AnyOf) and not any(map(_is_wild, matching.values)):
        return Condition(f"{column} && %s::text[]", (list(matching.values),))
    one_value = _plain("value", matching)
    return Condition(f"EXISTS (SELECT 1 FROM unnest({column}) AS value WHERE {one_value.text})", one_value.parameters)


def _sequence(attribute: Attribute, column: str, matching: Matching) -> Condition:
    if not isinstance(matching, SequenceItem):
        raise InvalidRequestError(f"{attribute.keyword} is a sequence: name an attribute of its items.")
    if not matching.keys:
        return Condition()
    return _item_condition(f"{column}", matching, depth=0)


def _item_condition(items: str, matching: SequenceItem, *, depth: int) -> Condition:
    if depth > 4:
        raise UnsupportedError("Sequence matching goes four levels deep.")
    name = f"item{depth}"
    inner = Condition.all_of(_item_key(name, key, depth) for key in matching.keys)
    return Condition(
        f"EXISTS (SELECT 1 FROM jsonb_array_elements({items}) AS {name} WHERE {inner.text})", inner.parameters
    )


def _item_key(item: str, key: Key, depth: int) -> Condition:
    values = f"{item}->'{key.tag:08X}'->'Value'"
    if isinstance(key.matching, SequenceItem):
        return _item_condition(values, key.matching, depth=depth + 1)
    if isinstance(key.matching, EmptyValue):
        return Condition(f"{values} IS NULL")
    name = f"value{depth}"
    if key.vr == "PN":
        return _item_name(values, name, key.matching)
    text = f"({name} #>> '{{}}')"
    if isinstance(key.matching, Range):
        one = _between(text, range_bounds(key.vr, key.matching))
    else:
        one = _plain(text, key.matching)
    return Condition(
        f"EXISTS (SELECT 1 FROM jsonb_array_elements({values}) AS {name} WHERE {one.text})", one.parameters
    )


def _item_name(values: str, name: str, matching: Matching) -> Condition:
    """Names inside of sequences have no normal form in the index; case is folded, accents count."""
    if not isinstance(matching, SingleValue | Wildcard):
        raise InvalidRequestError("A person name matches by value or with wildcards.")
    text = matching.value if isinstance(matching, SingleValue) else matching.pattern
    return Condition(
        f"EXISTS (SELECT 1 FROM jsonb_array_elements({values}) AS {name}, jsonb_each_text({name}) AS part "
        "WHERE lower(part.value) LIKE %s)",
        (like_pattern(text.lower()),),
    )


_BY_KIND: Final[dict[Kind, Callable[[Attribute, str, Matching], Condition]]] = {
    Kind.TEXT: _text,
    Kind.UID: _uid,
    Kind.NAME: _name,
    Kind.DATE: _date_or_time,
    Kind.TIME: _date_or_time,
    Kind.INTEGER: _integer,
    Kind.COMPUTED: _computed,
    Kind.SEQUENCE: _sequence,
}


def _between(column: str, bounds: Bounds) -> Condition:
    ends = [Condition(f"{column} >= %s", (bounds.lower,))] if bounds.lower is not None else []
    ends += [Condition(f"{column} <= %s", (bounds.upper,))] if bounds.upper is not None else []
    return Condition.all_of(ends) if ends else Condition(f"{column} IS NOT NULL")


def _day_from(moment: str | None, days: int) -> str | None:
    if moment is None:
        return None
    year, month, day = int(moment[:4]), int(moment[4:6]), int(moment[6:8])
    # A neighbouring text is enough: the exact comparison stands beside it.
    return f"{year:04}{month:02}{day + days:02}" if days > 0 or day > 1 else f"{year:04}{month - 1:02}99"


def _single_or_wildcard(value: str) -> SingleValue | Wildcard:
    return Wildcard(value) if _is_wild(value) else SingleValue(value)


def _is_wild(value: str) -> bool:
    return "*" in value or "?" in value


def _join(conditions: Iterable[Condition], word: str) -> Condition:
    kept = [condition for condition in conditions if condition.text]
    if len(kept) == 1:
        return kept[0]
    text = word.join(condition.text for condition in kept)
    return Condition(f"({text})" if kept else "", tuple(p for condition in kept for p in condition.parameters))


def moment_function_sql() -> str:
    """`dicom_moment(date, time, offset)`: DA and TM at +HHMM as YYYYMMDDHHMMSS in UTC, null where they are none."""
    return r"""
CREATE OR REPLACE FUNCTION dicom_moment(day text, clock text, zone text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    moment timestamp;
BEGIN
    IF day !~ '^\d{8}$' OR coalesce(clock, '') !~ '^(\d{2}){0,3}(\.\d*)?$' THEN
        RETURN NULL;
    END IF;
    moment := to_timestamp(day || rpad(left(coalesce(clock, ''), 6), 6, '0'), 'YYYYMMDDHH24MISS')::timestamp;
    IF zone ~ '^[+-]\d{4}$' THEN
        moment := moment - (left(zone, 3) || ':' || right(zone, 2))::interval;
    END IF;
    RETURN to_char(moment, 'YYYYMMDDHH24MISS');
EXCEPTION WHEN others THEN
    RETURN NULL;
END $$;
"""

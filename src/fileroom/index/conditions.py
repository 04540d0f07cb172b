r"""One matching key as an SQL condition (PS3.4 C.2.2.2).

`column` is always an expression made from the attribute table; values are parameters. Backslashes, percent signs and
underscores of a wanted value are escaped for LIKE, whose `%` and `_` only ever come from `*` and `?`.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from fileroom.core.errors import InvalidRequestError, UnsupportedError
from fileroom.dicom.matching import range_bounds, to_utc_bounds
from fileroom.dicom.normal_forms import Bounds, normalize_date, normalize_name, normalize_name_pattern
from fileroom.dicom.query import (
    AnyOf,
    EmptyValue,
    Key,
    Matching,
    Range,
    SequenceItem,
    SingleValue,
    StudyPlace,
    Wildcard,
)
from fileroom.index.attributes import BY_KEYWORD, Attribute, Kind

_STUDY_DATE: Final = BY_KEYWORD["StudyDate"].tag
_STUDY_TIME: Final = BY_KEYWORD["StudyTime"].tag


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
        return Condition(f"{column} = '{{}}'" if attribute.kind is Kind.COMPUTED else f"{column} IS NULL")
    if isinstance(matching, AnyOf) and attribute.kind not in (Kind.UID, Kind.TEXT, Kind.COMPUTED):
        singles = (_single_or_wildcard(value) for value in matching.values)
        return Condition.any_of(attribute_condition(attribute, column, one, fuzzy=fuzzy) for one in singles)
    if attribute.kind is Kind.NAME and fuzzy and isinstance(matching, SingleValue | Wildcard):
        return _fuzzy_name(column, matching)
    return _BY_KIND[attribute.kind](attribute, column, matching)


def combined_datetime_condition(keys: tuple[Key, ...], timezone: str | None) -> tuple[Condition, tuple[Key, ...]]:
    """Study Date and Study Time taken as one moment, in `timezone` if given; and the keys that are left.

    With a timezone, moments are compared in UTC; a study that does not say its own offset is taken to have the
    question's. The plain date condition, a day wider on both sides, stays beside it so that the date's index serves.
    """
    found = {key.tag: key.matching for key in keys if key.tag in (_STUDY_DATE, _STUDY_TIME)}
    date, time = found.get(_STUDY_DATE), found.get(_STUDY_TIME)
    if not isinstance(date, Range | SingleValue) or not isinstance(time, Range | SingleValue | None):
        return Condition(), keys
    rest = tuple(key for key in keys if key.tag not in found)
    bounds = to_utc_bounds(date, time, timezone)
    moment = Condition("dicom_moment(s.study_date, s.study_time, NULL)")
    if timezone is not None:
        moment = Condition(
            "dicom_moment(s.study_date, s.study_time, coalesce(s.timezone_offset_from_utc, %s))", (timezone,)
        )
    nearby = _between("s.study_date", Bounds(_day_from(bounds.lower, -1), _day_from(bounds.upper, 1)))
    return Condition.all_of([nearby, _within(moment, bounds)]), rest


def behind_study(place: StudyPlace) -> Condition:
    """The study `s` stands behind `place`, the newest first. The date alone leads to the place in the index."""
    if place.time is None:
        later_rows = Condition("s.study_time IS NULL AND s.id < %s", (place.row_id,))
    else:
        later_rows = Condition("(s.study_time IS NULL OR (s.study_time, s.id) < (%s, %s))", (place.time, place.row_id))
    if place.date is None:
        return Condition.all_of([Condition("s.study_date IS NULL"), later_rows])
    return Condition(
        f"(s.study_date <= %s AND (s.study_date < %s OR {later_rows.text}))",
        (place.date, place.date, *later_rows.parameters),
    )


def brought_in_condition(matching: Matching) -> Condition:
    """Studies whose first object came from a node of that AE title, or by a token of that name (`Access.uploader`)."""
    wanted = _wanted(matching)
    if wanted is None:
        raise InvalidRequestError("Who sent a study is searched for by an AE title, with * and ? as wildcards.")
    likes = [f"node:{like_pattern(one)}@%" for one in wanted] + [f"token:{like_pattern(one)}" for one in wanted]
    any_of = Condition.any_of(Condition("s.brought_by LIKE %s", (like,)) for like in likes)
    return Condition.all_of([Condition("s.brought_by <> ''"), any_of])  # as the index says, which has only such rows


def like_pattern(wildcard: str) -> str:
    """`*` and `?` as LIKE's `%` and `_`; what LIKE would take for its own is escaped."""
    return re.sub(r"\*+", "%", _escaped(wildcard)).replace("?", "_")


# --- by kind ---


def _text(attribute: Attribute, column: str, matching: Matching) -> Condition:
    if attribute.multi_valued:
        one_value = _plain("value", matching)
        return Condition(
            f"EXISTS (SELECT 1 FROM unnest(string_to_array({column}, '\\')) AS value WHERE {one_value.text})",
            one_value.parameters,
        )
    plain = _plain(column, matching)
    return (
        Condition.all_of([_begins(column, matching, attribute.indexed_chars), plain])
        if attribute.indexed_chars
        else plain
    )


def _begins(column: str, matching: Matching, chars: int) -> Condition:
    """What an index over the first `chars` characters can find; nothing for a value that begins with a wildcard."""
    wanted = _wanted(matching)
    if wanted is None:
        return Condition()
    begins = [re.split(r"[*?]", one, maxsplit=1)[0][:chars] for one in wanted]
    if not all(begins):
        return Condition()
    return Condition.any_of(Condition(f"left({column}, {chars}) LIKE %s", (f"{_escaped(one)}%",)) for one in begins)


def _wanted(matching: Matching) -> tuple[str, ...] | None:
    """The texts, with or without wildcards, of which one shall match; None for other kinds of matching."""
    if isinstance(matching, AnyOf):
        return matching.values
    if isinstance(matching, SingleValue):
        return (matching.value,)
    return (matching.pattern,) if isinstance(matching, Wildcard) else None


def _plain(column: str, matching: Matching) -> Condition:
    if isinstance(matching, SingleValue):
        return Condition(f"{column} = %s", (matching.value,))
    if isinstance(matching, Wildcard):
        return Condition(f"{column} LIKE %s", (like_pattern(matching.pattern),))
    if isinstance(matching, Range):  # a moment (DT); compared as text, which its canonical form allows
        return _between(column, range_bounds("DT", matching))
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
    groups = _name_text(matching).split("=")
    first, others = f"{column}_key", f"{column}_other_keys"
    if not attribute.multi_valued:
        return _name_groups(first, others, groups, wild=wild)
    one_name = _name_groups("name.first", "name.others", groups, wild=wild)
    names = f"unnest(string_to_array({first}, '\\'), string_to_array({others}, '\\')) AS name (first, others)"
    return Condition(f"EXISTS (SELECT 1 FROM {names} WHERE {one_name.text})", one_name.parameters)


def _name_text(matching: SingleValue | Wildcard) -> str:
    if isinstance(matching, Wildcard):
        return normalize_name_pattern(matching.pattern)
    return normalize_name(matching.value)


def _name_groups(first: str, others: str, groups: list[str], *, wild: bool) -> Condition:
    """A key of one group may match any group of the name; of several groups each must match its own."""
    if len(groups) == 1:
        return Condition.any_of([_group(first, groups[0], wild=wild), _any_other_group(others, groups[0], wild=wild)])
    wanted = [Condition(f"{first} IS NOT NULL")]
    wanted += [_group(first, groups[0], wild=wild)] if groups[0].strip("*") else []
    for position, group in enumerate(groups[1:], 2):
        if group.strip("*"):
            wanted += [_somewhere(others, group, wild=wild)]
            wanted += [_group(f"split_part({others}, '=', {position})", group, wild=wild)]
    return Condition.all_of(wanted)


def _group(column: str, group: str, *, wild: bool) -> Condition:
    if not wild:
        return Condition(f"{column} = %s", (group,))
    # Empty parts at a name's end are not kept, so `DOE^*` must also find the bare `DOE`.
    either = dict.fromkeys((group, group.removesuffix("^*")))
    return Condition.any_of(Condition(f"{column} LIKE %s", (like_pattern(one),)) for one in either)


def _any_other_group(others: str, group: str, *, wild: bool) -> Condition:
    somewhere = _somewhere(others, group, wild=wild)
    if not wild:
        return somewhere
    one = _group("other", group, wild=True)
    # Without the outer `=`, beside which there is no group that a pattern for empty ones could match.
    groups = f"string_to_array(substr({others}, 2, length({others}) - 2), '=')"
    exact = Condition(f"EXISTS (SELECT 1 FROM unnest({groups}) AS other WHERE {one.text})", one.parameters)
    return Condition.all_of([somewhere, exact])


def _somewhere(others: str, group: str, *, wild: bool) -> Condition:
    """`=GROUP=` stands in the column: exact for a plain group; for a pattern, which may run over `=`, only what an index
    can look for."""
    pattern = (
        like_pattern(group.removesuffix("^*") + "*" if group.endswith("^*") else group) if wild else _escaped(group)
    )
    return Condition(f"{others} LIKE %s", (f"%={pattern}=%",))


def _fuzzy_name(column: str, matching: SingleValue | Wildcard) -> Condition:
    """Every word of the question begins a word of the name, in any order (PS3.18 8.3.4.2)."""
    text = matching.value if isinstance(matching, SingleValue) else matching.pattern
    words = re.split(r"[\s^=,*?]+", normalize_name(text))
    conditions = []
    for word in filter(None, words):
        begins = _escaped(word)
        within = (f"%^{begins}%", f"% {begins}%")
        patterns = (f"{begins}%", *within, f"%\\\\{begins}%")
        places = [Condition(f"{column}_key LIKE %s", (pattern,)) for pattern in patterns]
        places += [Condition(f"{column}_other_keys LIKE %s", (pattern,)) for pattern in (*within, f"%={begins}%")]
        conditions.append(Condition.any_of(places))
    return Condition.all_of(conditions) if conditions else _NEVER


def _date_or_time(attribute: Attribute, column: str, matching: Matching) -> Condition:
    if isinstance(matching, Wildcard):  # not of the standard, but people type it: 2026*
        return Condition(f"{column} LIKE %s", (like_pattern(matching.pattern),))
    if not isinstance(matching, Range | SingleValue):
        raise InvalidRequestError(f"{attribute.keyword} matches by value or range.")
    if isinstance(matching, SingleValue) and attribute.kind is Kind.DATE:
        return Condition(f"{column} = %s", (normalize_date(matching.value) or matching.value,))
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
    return _within(Condition(column), bounds)


def _within(value: Condition, bounds: Bounds) -> Condition:
    ends = [(">=", bounds.lower)] if bounds.lower is not None else []
    ends += [("<=", bounds.upper)] if bounds.upper is not None else []
    if not ends:
        return Condition(f"{value.text} IS NOT NULL", value.parameters)
    return Condition.all_of(Condition(f"{value.text} {sign} %s", (*value.parameters, end)) for sign, end in ends)


def _day_from(moment: str | None, days: int) -> str | None:
    """The day of a moment, some days on; None at the ends of the calendar."""
    if moment is None:
        return None
    try:
        return f"{dt.datetime.strptime(moment[:8], '%Y%m%d') + dt.timedelta(days):%Y%m%d}".zfill(8)
    except OverflowError:
        return None


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


def _escaped(text: str) -> str:
    """Text as LIKE takes it literally."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def moment_function_sql() -> str:
    """`dicom_moment(date, time, offset)`: DA and TM at +HHMM as YYYYMMDDHHMMSS.F in UTC, null where they are none.

    Parts of the time that are missing count as zero, a missing or wrong offset too.
    """
    return r"""
DROP FUNCTION IF EXISTS dicom_moment(text, text, text);
CREATE FUNCTION dicom_moment(day text, clock text, zone text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    digits text := rpad(coalesce(substring(clock from '^\d+'), ''), 6, '0');
    moment timestamp;
BEGIN
    IF day !~ '^\d{8}$' OR coalesce(clock, '') !~ '^(\d{2}){0,3}(\.\d*)?$' THEN
        RETURN NULL;
    END IF;
    moment := make_timestamp(
        left(day, 4)::int, substr(day, 5, 2)::int, right(day, 2)::int,
        left(digits, 2)::int, substr(digits, 3, 2)::int, right(digits, 2)::int
    );
    IF zone ~ '^[+-]\d{2}[0-5]\d$' THEN
        moment := moment - (left(zone, 3) || ':' || right(zone, 2))::interval;
    END IF;
    RETURN to_char(moment, 'YYYYMMDDHH24MISS') || coalesce(substring(clock from '\.\d+$'), '');
EXCEPTION WHEN others THEN
    RETURN NULL;
END $$;
"""

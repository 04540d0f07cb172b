"""Searching the index: a `Query` becomes one SQL statement, its answers come as rows.

Statements are put together from the attribute table's own column names and placeholders; what a caller asks for is only
ever a parameter. Keys above the asked level join, keys below it become EXISTS (relational queries, PS3.4 C.4.1.2.2.1).
A row scope (`index.visibility`) is one more condition on the study, and on the studies that are counted.

A page of the newest studies is looked for in two ways, one after the other: first among the newest few thousand studies,
where it nearly always is; then, if they do not fill it, by the indexes of what is asked for. PostgreSQL, which cannot know how
many rows fit a list of modalities, would walk through a million studies to find that none does.
"""

from __future__ import annotations

import enum
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection, errors
from psycopg.rows import tuple_row

from fileroom.core.errors import DatabaseError, InvalidRequestError
from fileroom.core.limits import QUERY_ROWS_MAX, QUERY_ROWS_PER_FETCH
from fileroom.dicom.query import SENT_BY, Key, Level, Query
from fileroom.index.attributes import ATTRIBUTES, BY_KEYWORD, BY_TAG, Attribute, Kind
from fileroom.index.conditions import (
    Condition,
    attribute_condition,
    behind_study,
    brought_in_condition,
    combined_datetime_condition,
)
from fileroom.index.visibility import Visibility, study_is_visible

IndexValue = str | int | list[Any] | None
"""Text, a number, the values of a multi-valued computed attribute, or the DICOM JSON items of a sequence."""


class Way(enum.Enum):
    """How a page of the newest studies is looked for."""

    WHOLE = "whole"
    """As PostgreSQL thinks best."""
    NEAR = "near"
    """Among the newest few thousand studies only."""
    FAR = "far"
    """Among all, and not by walking from the newest."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One match: the identity of its level and above, and the values of the attributes asked for that the index has.

    `instance_id` is the newest row of the level itself; `values` maps tags to values, None where empty.
    """

    row_id: int
    study_instance_uid: str | None
    series_instance_uid: str | None
    sop_instance_uid: str | None
    values: Mapping[int, IndexValue]


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL text with placeholders, its parameters, and the attributes of the columns after the identity."""

    text: str
    parameters: tuple[object, ...]
    attributes: tuple[Attribute, ...]


ALIASES: Final = {Level.PATIENT: "p", Level.STUDY: "s", Level.SERIES: "e", Level.INSTANCE: "i"}
_TABLES: Final = {Level.PATIENT: "patient", Level.STUDY: "study", Level.SERIES: "series", Level.INSTANCE: "instance"}
_FROM: Final = {
    Level.PATIENT: "patient p",
    Level.STUDY: "study s",
    Level.SERIES: "series e JOIN study s ON s.id = e.study",
    Level.INSTANCE: "instance i JOIN series e ON e.id = i.series JOIN study s ON s.id = e.study",
}
_IDENTITY: Final = {
    Level.PATIENT: "p.id, NULL, NULL, NULL",
    Level.STUDY: "s.id, s.study_instance_uid, NULL, NULL",
    Level.SERIES: "e.id, s.study_instance_uid, e.series_instance_uid, NULL",
    Level.INSTANCE: "i.id, s.study_instance_uid, e.series_instance_uid, i.sop_instance_uid",
}
_IDENTITY_COLUMNS: Final = 4
_FROM_PAGE: Final = {
    Level.PATIENT: "JOIN patient p ON p.id = page.id",
    Level.STUDY: "JOIN study s ON s.id = page.id",
    Level.SERIES: "JOIN series e ON e.id = page.id JOIN study s ON s.id = e.study",
    Level.INSTANCE: "JOIN instance i ON i.id = page.id JOIN series e ON e.id = i.series JOIN study s ON s.id = e.study",
}
_ORDER: Final = {
    Level.PATIENT: "p.patient_name_key, p.id",
    Level.STUDY: "s.study_date DESC NULLS LAST, s.study_time DESC NULLS LAST, s.id DESC",
    Level.SERIES: "e.study DESC, e.series_number, e.id",
    Level.INSTANCE: "e.study DESC, e.series_number, e.id, i.instance_number, i.id",
}
_ORDER_WITHOUT_INDEX: Final = "s.study_date || '' DESC NULLS LAST, s.study_time DESC NULLS LAST, s.id DESC"
"""The same order, for which no index is kept: PostgreSQL looks for the rows first and sorts what it has found."""
_NEAR_STUDIES: Final = 5000
_NEAR_TIMES: Final = 20
"""The newest studies among which a page is looked for first: so many, and so many times the page's rows."""
_LEAD_STRAIGHT: Final = frozenset(
    BY_KEYWORD[keyword].tag
    for keyword in (
        *("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"),
        *("PatientName", "PatientID", "AccessionNumber", "StudyID", "PatientBirthDate"),
    )
) | {SENT_BY}
"""Few rows have one value of these, and PostgreSQL knows it."""
_STUDY_DATE: Final = BY_KEYWORD["StudyDate"].tag
_COMPUTED: Final = {
    "ModalitiesInStudy": "s.modalities",
    "SOPClassesInStudy": "s.sop_classes",
    "NumberOfStudyRelatedSeries": "(SELECT count(*) FROM series x WHERE x.study = s.id)",
    "NumberOfStudyRelatedInstances": "(SELECT sum(x.instance_count)::bigint FROM series x WHERE x.study = s.id)",
    "NumberOfSeriesRelatedInstances": "e.instance_count",
    "AvailableTransferSyntaxUID": "i.transfer_syntax_uid",
}
_PATIENT_COUNTS: Final = {
    "NumberOfPatientRelatedStudies": "(SELECT count(*) FROM study x WHERE x.patient = {patient}{visible})",
    "NumberOfPatientRelatedSeries": (
        "(SELECT count(*) FROM series y JOIN study x ON x.id = y.study WHERE x.patient = {patient}{visible})"
    ),
    "NumberOfPatientRelatedInstances": (
        "(SELECT sum(y.instance_count)::bigint FROM series y JOIN study x ON x.id = y.study "
        "WHERE x.patient = {patient}{visible})"
    ),
}
_COMPUTED_LEVELS: Final = {
    "ModalitiesInStudy": Level.STUDY,
    "SOPClassesInStudy": Level.STUDY,
    "AvailableTransferSyntaxUID": Level.INSTANCE,
}


async def search(
    connection: AsyncConnection[Any], query: Query, visibility: Visibility
) -> AsyncGenerator[Answer, None]:
    """The answers to `query` that may be seen, streamed. Ends after QUERY_ROWS_MAX at the latest.

    Raises InvalidRequestError for values that cannot be meant, DatabaseError. Closing the iterator early cancels the
    statement in the database.
    """
    ways = (Way.NEAR, Way.FAR) if _begins_with_the_newest(query, visibility) else (Way.WHOLE,)
    statement = build_statement(query, visibility, ways[0])
    try:
        async with connection.cursor(row_factory=tuple_row) as cursor:
            if query.page is not None and query.page.limit <= QUERY_ROWS_PER_FETCH:
                await cursor.execute(statement.text.encode(), statement.parameters)
                rows = await cursor.fetchall()
                if len(ways) > 1 and len(rows) < query.page.limit:
                    statement = build_statement(query, visibility, ways[1])
                    await cursor.execute(statement.text.encode(), statement.parameters)
                    rows = await cursor.fetchall()
                for row in rows:
                    yield _answer(row, statement.attributes)
            else:
                async for row in cursor.stream(
                    statement.text.encode(), statement.parameters, size=QUERY_ROWS_PER_FETCH
                ):
                    yield _answer(row, statement.attributes)
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


def _begins_with_the_newest(query: Query, visibility: Visibility) -> bool:
    """Is it a page of the newest studies with a condition of which nobody knows how many fit it?"""
    page = query.page
    if query.level is not Level.STUDY or page is None or page.offset or page.limit > QUERY_ROWS_PER_FETCH:
        return False
    if visibility.rows.patient_ids or visibility.rows.own_uploads:
        return False
    tags = {key.tag for key in query.keys}
    return not tags & _LEAD_STRAIGHT and (not visibility.is_everything or bool(tags - {_STUDY_DATE}))


def build_statement(query: Query, visibility: Visibility, way: Way = Way.WHOLE) -> Statement:
    """The one statement that answers `query`; with Way.NEAR only among the studies that a page is usually filled from."""
    attributes = _returned(query)
    expressions = [_counted(attribute, query.level, visibility) for attribute in attributes]
    columns = ", ".join([_IDENTITY[query.level], *(expression.text for expression in expressions)])
    condition = _where(query, visibility)
    behind = behind_study(query.page.behind) if query.page and query.page.behind else Condition()
    chosen = f"FROM {_FROM[query.level]}"
    if way is Way.NEAR and query.page:
        near = f" WHERE {behind.text}" if behind.text else ""
        rows = max(_NEAR_STUDIES, _NEAR_TIMES * query.page.limit)
        chosen = f"FROM (SELECT * FROM study s{near} ORDER BY {_ORDER[Level.STUDY]} LIMIT {int(rows)}) AS s"
        behind, condition = Condition(), Condition(condition.text, behind.parameters + condition.parameters)
    condition = Condition.all_of([condition, behind])
    if condition.text:
        chosen += f" WHERE {condition.text}"
    by = _ORDER_WITHOUT_INDEX if way is Way.FAR else _ORDER[query.level]
    order = f" ORDER BY {by}" if query.newest_first or query.page else ""
    chosen += order
    chosen += f" LIMIT {int(query.page.limit if query.page else QUERY_ROWS_MAX + 1)}"
    if query.page and query.page.offset:
        # PostgreSQL computes the columns of the rows that OFFSET passes over, counts of series and instances too. So a
        # page far down is first chosen by its keys alone.
        keys = f"SELECT {ALIASES[query.level]}.id {chosen} OFFSET {int(query.page.offset)}"
        text = f"SELECT {columns} FROM ({keys}) AS page {_FROM_PAGE[query.level]}{order}"
    else:
        text = f"SELECT {columns} {chosen}"
    counted = tuple(parameter for expression in expressions for parameter in expression.parameters)
    return Statement(text, counted + condition.parameters, attributes)


def can_match(tag: int) -> bool:
    """True where the index can search by the attribute."""
    attribute = BY_TAG.get(tag)
    return attribute is not None and (attribute.kind is not Kind.COMPUTED or attribute.keyword in _COMPUTED_LEVELS)


def _returned(query: Query) -> tuple[Attribute, ...]:
    if query.return_tags is None:
        wanted = [a for a in ATTRIBUTES if a.level <= query.level]
    else:
        tags = dict.fromkeys(path[0] for path in query.return_tags)
        wanted = [BY_TAG[tag] for tag in tags if tag in BY_TAG and BY_TAG[tag].level <= query.level]
    return tuple(wanted)


def _counted(attribute: Attribute, level: Level, visibility: Visibility) -> Condition:
    """SQL of an attribute in the columns of a statement at `level`, and its parameters. Only what is seen is counted."""
    if attribute.keyword not in _PATIENT_COUNTS:
        return Condition(_expression(attribute, level))
    patient = "p.id" if level is Level.PATIENT else "s.patient"
    visible = study_is_visible(visibility, "x")
    text = f" AND {visible.text}" if visible.text else ""
    return Condition(_PATIENT_COUNTS[attribute.keyword].format(patient=patient, visible=text), visible.parameters)


def _expression(attribute: Attribute, level: Level) -> str:
    """SQL of an attribute that needs no parameters, in a statement at `level`."""
    if attribute.kind is Kind.COMPUTED:
        return _COMPUTED[attribute.keyword]
    return f"{_alias(attribute, level)}.{attribute.column}"


def _alias(attribute: Attribute, level: Level) -> str:
    """Below the patient, patient attributes are read from the study, as its images name the patient."""
    if attribute.level is Level.PATIENT and level is not Level.PATIENT:
        return ALIASES[Level.STUDY]
    return ALIASES[attribute.level]


def _where(query: Query, visibility: Visibility) -> Condition:
    here: list[Condition] = []
    below: list[tuple[Level, Key, Attribute]] = []
    keys = query.keys
    if query.combined_datetime or query.timezone:
        combined, keys = combined_datetime_condition(keys, query.timezone)
        if combined.text:
            here.append(combined)
    for key in keys:
        if key.tag == SENT_BY and query.level is not Level.PATIENT:
            here.append(brought_in_condition(key.matching))
        attribute = BY_TAG.get(key.tag)
        if attribute is None or not can_match(key.tag):
            continue  # An attribute that cannot be matched on counts as universal (PS3.4 C.2.2.1.3).
        level = _COMPUTED_LEVELS.get(attribute.keyword, attribute.level)
        if level > query.level:
            below.append((level, key, attribute))
        else:
            here.append(_key_condition(attribute, key, query))
    visible = study_is_visible(visibility)
    if query.level is not Level.PATIENT:
        here.append(visible)
        visible = Condition()
    if below or visible.text:
        here.append(_exists_below(query, below, visible))
    return Condition.all_of(here)


def _key_condition(attribute: Attribute, key: Key, query: Query, level: Level | None = None) -> Condition:
    at = query.level if level is None else level
    if attribute.kind is Kind.COMPUTED:
        return attribute_condition(attribute, _COMPUTED[attribute.keyword], key.matching, fuzzy=False)
    return attribute_condition(attribute, _expression(attribute, at), key.matching, fuzzy=query.fuzzy_names)


def _exists_below(query: Query, below: list[tuple[Level, Key, Attribute]], visible: Condition) -> Condition:
    """One row further down satisfies all the keys further down; for a patient, in a study that is visible."""
    deepest = max((level for level, _, _ in below), default=Level.STUDY)
    steps = [level for level in Level if query.level < level <= deepest]
    first = steps[0]
    tables = f"{_TABLES[first]} {ALIASES[first]}"
    for level in steps[1:]:
        above = Level(level - 1)
        tables += f" JOIN {_TABLES[level]} {ALIASES[level]} ON {ALIASES[level]}.{_TABLES[above]} = {ALIASES[above]}.id"
    link = f"{ALIASES[first]}.{_TABLES[query.level]} = {ALIASES[query.level]}.id"
    conditions = [_key_condition(attribute, key, query, level) for level, key, attribute in below]
    inner = Condition.all_of([Condition(link), *conditions, visible])
    return Condition(f"EXISTS (SELECT 1 FROM {tables} WHERE {inner.text})", inner.parameters)


def _answer(row: tuple[Any, ...], attributes: tuple[Attribute, ...]) -> Answer:
    values = {attribute.tag: row[_IDENTITY_COLUMNS + n] for n, attribute in enumerate(attributes)}
    return Answer(row[0], row[1], row[2], row[3], values)

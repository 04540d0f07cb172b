"""Reading reports: those of a study, one with its versions, a list by what is looked for.

Everything keeps to the row scope of whoever asks (`report_visibility`): what they may not see is not there.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg.rows import dict_row

from fileroom.archive.services import Archive
from fileroom.core.access import Permission, current_access, require
from fileroom.core.errors import DatabaseError, NotFoundError, told
from fileroom.dicom.normal_forms import normalize_name
from fileroom.index.conditions import Condition
from fileroom.reports.facts import ReportSource, ReportState
from fileroom.reports.report_rows import REPORT_COLUMNS, ReportRow, ReportVersion, read_versions, report_of
from fileroom.reports.report_visibility import report_is_visible

LIST_MAX: Final = 500
"""Rows of one page of a list."""
OF_STUDY_MAX: Final = 200
TEXT_CHARS_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class ReportFilter:
    """Which reports; what is empty does not restrict.

    `text`: words that are in the report, or what begins its title, an accession number, a number of its sender's, a Patient
    ID or a patient's name. `since` and `until`: when it was changed, the first included.
    """

    text: str = ""
    states: tuple[ReportState, ...] = ()
    source: ReportSource | None = None
    study: str = ""
    order: int | None = None
    patient: int | None = None
    accession: str = ""
    since: dt.datetime | None = None
    until: dt.datetime | None = None


async def reports_of_study(archive: Archive, study_uid: str) -> list[ReportRow]:
    """The reports of a study, the newest first. Raises NotAllowedError, DatabaseError."""
    require(Permission.STUDY_VIEW)
    if not study_uid:
        return []
    return await _read(archive, Condition("r.study_instance_uid = %s", (study_uid,)), OF_STUDY_MAX)


async def get_report(archive: Archive, number: int) -> ReportRow:
    """The report with this number. Raises NotFoundError, NotAllowedError, DatabaseError."""
    require(Permission.STUDY_VIEW)
    found = await _read(archive, Condition("r.id = %s", (number,)), 1)
    if not found:
        raise NotFoundError(told("There is no report number {number}.", number=number))
    return found[0]


async def get_versions(
    archive: Archive, number: int, version: int | None = None, with_documents: bool = False
) -> list[ReportVersion]:
    """The versions of a report, the newest first, or the one that is named; documents only where they are wanted.

    Raises NotFoundError, NotAllowedError, DatabaseError.
    """
    await get_report(archive, number)
    try:
        async with archive.pool.connection() as connection:
            found = await read_versions(connection, number, version, with_documents=with_documents)
    except psycopg.Error as error:
        raise _unreadable(error) from error
    if version is not None and not found:
        raise NotFoundError(told("Report {number} has no version {version}.", number=number, version=version))
    return found


async def search_reports(
    archive: Archive, wanted: ReportFilter, *, before: int | None = None, limit: int = 100
) -> list[ReportRow]:
    """Reports, the newest first; `before`: the number of the last one of the page before.

    Raises NotAllowedError, DatabaseError.
    """
    require(Permission.STUDY_VIEW)
    conditions = [_text(wanted.text)] if wanted.text.strip() else []
    if wanted.states:
        conditions.append(Condition("r.state = ANY(%s)", ([state.value for state in wanted.states],)))
    equal: tuple[tuple[str, object], ...] = (
        ("r.source = %s", wanted.source.value if wanted.source else None),
        ("r.study_instance_uid = %s", wanted.study or None),
        ("r.imaging_order = %s", wanted.order),
        ("r.patient = %s", wanted.patient),
        ("r.accession_number = %s", wanted.accession or None),
        ("r.changed_at >= %s", wanted.since),
        ("r.changed_at < %s", wanted.until),
        ("r.id < %s", before),
    )
    conditions += [Condition(text, (value,)) for text, value in equal if value is not None]
    return await _read(archive, Condition.all_of(conditions), min(limit, LIST_MAX))


# --- helpers ---


async def _read(archive: Archive, condition: Condition, limit: int) -> list[ReportRow]:
    parts = (condition, report_is_visible(current_access()))
    every = Condition.all_of(one for one in parts if one.text)
    where = f"WHERE {every.text}" if every.text else ""
    statement = f"SELECT {REPORT_COLUMNS.decode()} FROM report r {where} ORDER BY r.id DESC LIMIT %s"
    try:
        async with archive.pool.connection() as connection, connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(statement.encode(), (*every.parameters, limit))
            return [report_of(row) for row in await cursor.fetchall()]
    except psycopg.Error as error:
        raise _unreadable(error) from error


def _text(text: str) -> Condition:
    """What begins with it, or has all its words."""
    text = text.strip()[:TEXT_CHARS_MAX].replace("\0", "")
    number, name = _pattern(text), _pattern(normalize_name(text))
    values: tuple[Any, ...] = (text, number, number, number, number, name, number, name)
    return Condition(
        """(r.words @@ plainto_tsquery('simple', %s) OR r.accession_number LIKE %s OR r.source_number LIKE %s
            OR r.patient_id LIKE %s OR r.title ILIKE %s OR lower(r.patient_name) LIKE %s
            OR r.patient IN (SELECT i.patient FROM patient_identifier i WHERE i.value LIKE %s
                UNION ALL SELECT p.id FROM registered_patient p WHERE p.patient_name_key LIKE %s))""",
        values,
    )


def _pattern(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"{escaped}%"


def _unreadable(error: psycopg.Error) -> DatabaseError:
    return DatabaseError(f"The reports cannot be read: {type(error).__name__}. Try again later.")

"""Reports in short, for places that show many: state, who wrote it, when, and how its impression begins.

A report that came only as a document has no words here; a draft that nobody has signed has none either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg.rows import dict_row

from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.errors import DatabaseError
from fileroom.reports.facts import ReportSection, ReportState
from fileroom.reports.headings import IMPRESSIONS, heading_of
from fileroom.reports.report_rows import REPORT_COLUMNS, ReportRow, report_of
from fileroom.reports.report_visibility import report_is_visible

REPORTS_MAX: Final = 100
"""Of one question: the earlier reports of a patient who was examined for decades."""
STUDIES_MAX: Final = 200
EXCERPT_CHARS_MAX: Final = 280
_MARKED: Final = (ReportState.CORRECTED, ReportState.FINAL, ReportState.PRELIMINARY)


@dataclass(frozen=True, slots=True)
class ReportSummary:
    """A report with its newest version's people and words."""

    report: ReportRow
    author: str
    signer: str
    sections: tuple[ReportSection, ...]
    document_type: str
    study_date: str
    """DA; empty where the study is not here."""

    @property
    def excerpt(self) -> str:
        """How the impression begins; without one, the last section that says something."""
        if self.report.state is ReportState.DRAFT:
            return ""
        said = [one for one in self.sections if one.text.strip()]
        impressions = [one for one in said if heading_of(one.heading) == IMPRESSIONS]
        text = " ".join((impressions or said)[-1].text.split()) if said else ""
        return text if len(text) <= EXCERPT_CHARS_MAX else text[: EXCERPT_CHARS_MAX - 1].rstrip() + "…"


async def summaries_of_studies(
    archive: Archive, study_uids: Sequence[str], *, patient: int | None = None
) -> list[ReportSummary]:
    """The reports of some studies, and of a registered patient, the newest first. Raises NotAllowedError, DatabaseError."""
    visible = report_is_visible(require(Permission.STUDY_VIEW))
    statement = f"""
        SELECT {REPORT_COLUMNS.decode()}, v.sections, v.author, v.signer, v.document_type,
            (SELECT s.study_date FROM study s WHERE s.study_instance_uid = r.study_instance_uid) AS study_date
        FROM report r JOIN report_version v ON v.report = r.id AND v.version = r.version
        WHERE (r.study_instance_uid = ANY(%s) OR r.patient = %s) {f"AND {visible.text}" if visible.text else ""}
        ORDER BY r.id DESC LIMIT {REPORTS_MAX}"""
    uids = [uid for uid in study_uids if uid][:STUDIES_MAX]
    try:
        async with archive.pool.connection() as connection, connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(statement.encode(), (uids, patient, *visible.parameters))
            return [_summary_of(row) for row in await cursor.fetchall()]
    except psycopg.Error as error:
        raise DatabaseError(f"The reports cannot be read: {type(error).__name__}. Try again later.") from error


async def marks_of_studies(archive: Archive, study_uids: Sequence[str]) -> dict[str, ReportState]:
    """How far the reports of some studies have come, by UID: the furthest of final and preliminary. One statement.

    Raises NotAllowedError, DatabaseError.
    """
    visible = report_is_visible(require(Permission.STUDY_VIEW))
    statement = f"""SELECT r.study_instance_uid, array_agg(DISTINCT r.state) FROM report r
        WHERE r.study_instance_uid = ANY(%s) {f"AND {visible.text}" if visible.text else ""} GROUP BY 1"""
    try:
        async with archive.pool.connection() as connection:
            cursor = await connection.execute(statement.encode(), (list(study_uids)[:STUDIES_MAX], *visible.parameters))
            rows = await cursor.fetchall()
    except psycopg.Error as error:
        raise DatabaseError(f"The reports cannot be read: {type(error).__name__}. Try again later.") from error
    furthest = {uid: next((state for state in _MARKED if state.value in states), None) for uid, states in rows}
    return {uid: state for uid, state in furthest.items() if state is not None}


def _summary_of(row: Mapping[str, Any]) -> ReportSummary:
    sections = tuple(ReportSection(one["heading"], one["text"]) for one in row["sections"])
    return ReportSummary(
        report_of(row), row["author"], row["signer"], sections, row["document_type"], row["study_date"] or ""
    )

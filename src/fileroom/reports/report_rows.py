"""Reports and their versions as the database has them; who shows or sends reports reads them with these."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from fileroom.reports.facts import Addendum, ReportContent, ReportSection, ReportSource, ReportState


@dataclass(frozen=True, slots=True)
class ReportRow:
    """A report without its words."""

    id: int
    study_instance_uid: str
    order: int | None
    patient: int | None
    accession_number: str
    source: ReportSource
    source_name: str
    source_number: str
    title: str
    state: ReportState
    version: int
    is_critical: bool
    created_at: dt.datetime
    created_by: str
    changed_at: dt.datetime
    changed_by: str
    finished_at: dt.datetime | None
    """When it was final for the first time."""
    patient_id: str = ""
    """As the message or the object says; the patient's record (`patient`) may have another one by now."""
    patient_name: str = ""


@dataclass(frozen=True, slots=True)
class ReportVersion:
    """One version with its words."""

    report: int
    version: int
    state: ReportState
    content: ReportContent = field(default_factory=ReportContent)
    reason: str = ""
    message: int | None = None
    sop_instance_uid: str = ""
    made_at: dt.datetime | None = None
    made_by: str = ""
    signed_at: dt.datetime | None = None


REPORT_COLUMNS = b"""r.id, r.study_instance_uid, r.imaging_order AS "order", r.patient, r.accession_number, r.source,
    r.source_name, r.source_number, r.title, r.state, r.version, r.is_critical, r.created_at, r.created_by,
    r.changed_at, r.changed_by, r.finished_at, r.patient_id, r.patient_name"""
"""Of the table report, called r in the statement."""


def report_of(row: Mapping[str, Any]) -> ReportRow:
    """Of REPORT_COLUMNS, by name (`dict_row`); other columns are passed over."""
    named = {one.name: row[one.name] for one in fields(ReportRow)}
    return ReportRow(**named | {"source": ReportSource(row["source"]), "state": ReportState(row["state"])})


async def read_versions(
    connection: AsyncConnection[Any], report: int, version: int | None = None, *, with_documents: bool = False
) -> list[ReportVersion]:
    """The versions of a report, the newest first, or the one that is named. Raises psycopg.Error.

    Documents are left out (only their type is told) where nobody wants their bytes.
    """
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            b"""SELECT report, version, state, sections, addenda, CASE WHEN %s THEN document END AS document, document_type,
                    author, signer, reason, message, sop_instance_uid, made_at, made_by, signed_at
                FROM report_version WHERE report = %s AND (%s::integer IS NULL OR version = %s) ORDER BY version DESC""",
            (with_documents, report, version, version),
        )
        return [_version_of(row) for row in await cursor.fetchall()]


def sections_as_json(content: ReportContent) -> list[dict[str, str]]:
    """As the column `sections` has them."""
    return [{"heading": one.heading, "text": one.text} for one in content.sections]


def addenda_as_json(content: ReportContent) -> list[dict[str, str]]:
    """As the column `addenda` has them."""
    return [{"text": one.text, "by": one.by, "at": one.at.isoformat()} for one in content.addenda]


def _version_of(row: Mapping[str, Any]) -> ReportVersion:
    content = ReportContent(
        tuple(ReportSection(one["heading"], one["text"]) for one in row["sections"]),
        tuple(Addendum(one["text"], one["by"], dt.datetime.fromisoformat(one["at"])) for one in row["addenda"]),
        row["document"] or b"",
        row["document_type"],
        row["author"],
        row["signer"],
    )
    return ReportVersion(
        row["report"],
        row["version"],
        ReportState(row["state"]),
        content,
        row["reason"],
        row["message"],
        row["sop_instance_uid"],
        row["made_at"],
        row["made_by"],
        row["signed_at"],
    )

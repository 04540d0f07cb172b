"""Reports of de-identification: one for each study that goes to a destination under a project, a row for each object.

They tell what was done and what was held back and why, with new UIDs only: nothing in them names anybody.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import psycopg
from psycopg.types.json import Jsonb

from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.errors import DatabaseError, NotFoundError, told
from fileroom.deid.deidentify import Cleaned
from fileroom.dicom.uids import uid_name
from fileroom.routing.project_fields import Project

REPORTS_PAGE_MAX: Final = 200
ROWS_MAX: Final = 50_000
"""Of one report that is read at once: a study of so many objects is rare, and its CSV has 10 MB."""


@dataclass(frozen=True, slots=True)
class ReportRow:
    """One object. `quarantined` is the sentence why it was held back, empty when it may leave."""

    sop_instance_uid: str
    sop_class_uid: str
    quarantined: str = ""
    actions: Mapping[str, int] = field(default_factory=dict)
    regions: Sequence[Sequence[int]] = ()
    """Rectangles that were blanked: left, top, right, bottom."""
    proof: str = ""

    @property
    def kind(self) -> str:
        """Of the object, in words."""
        return uid_name(self.sop_class_uid) or self.sop_class_uid


@dataclass(frozen=True, slots=True)
class Report:
    """A report without its rows."""

    id: int
    project: str
    project_version: int
    destination: str
    study_instance_uid: str
    begun_at: str
    changed_at: str
    objects: int
    quarantined: int


def cleaned_row(cleaned: Cleaned) -> ReportRow:
    """The row of an object that may leave."""
    dataset, work = cleaned.dataset, cleaned.pixels
    return ReportRow(
        str(dataset.get("SOPInstanceUID", "")),
        str(dataset.get("SOPClassUID", "")),
        "",
        dict(cleaned.actions),
        [list(one) for one in work.regions],
        work.proof,
    )


async def record_report(
    archive: Archive, project: Project, destination: str, study_instance_uid: str, rows: Sequence[ReportRow]
) -> int:
    """Write what became of objects of a study; an object that comes again replaces its row. The answer is the report's id.

    UIDs must be the new ones (`Pseudonyms.uid`), those of quarantined objects too. Raises DatabaseError.
    """
    require(Permission.STUDY_EXPORT)
    try:
        async with archive.pool.connection() as connection, connection.transaction():
            cursor = await connection.execute(
                b"""INSERT INTO deid_report AS r (project_id, project_version, destination, study_instance_uid)
                    VALUES (%s, %s, %s, %s) ON CONFLICT (project_id, destination, study_instance_uid)
                    DO UPDATE SET project_version = excluded.project_version, changed_at = now() RETURNING r.id""",
                (project.id, project.version, destination, study_instance_uid),
            )
            found = await cursor.fetchone()
            report = int(found[0]) if found else 0
            many = connection.cursor()
            await many.executemany(
                b"""INSERT INTO deid_report_row (report_id, sop_instance_uid, sop_class_uid, quarantined, actions, regions,
                        proof) VALUES (%s, %s, %s, %s, %s, %s, %s)
                    ON CONFLICT (report_id, sop_instance_uid) DO UPDATE SET quarantined = excluded.quarantined,
                        actions = excluded.actions, regions = excluded.regions, proof = excluded.proof, written_at = now()""",
                [
                    (
                        report,
                        one.sop_instance_uid,
                        one.sop_class_uid,
                        one.quarantined,
                        Jsonb(dict(one.actions)),
                        Jsonb([list(region) for region in one.regions]),
                        one.proof,
                    )
                    for one in sorted(rows, key=lambda row: row.sop_instance_uid)
                ],
            )
    except psycopg.Error as error:
        raise DatabaseError(f"The report cannot be written: {type(error).__name__}. Try again later.") from error
    return report


async def list_reports(
    archive: Archive, *, project: str = "", before: int | None = None, limit: int = 50
) -> list[Report]:
    """The latest first. `before` is the id of the last one of the page before. Raises NotAllowedError, DatabaseError."""
    require(Permission.ROUTING_READ)
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(
            _REPORTS
            + b""" WHERE (%(project)s = '' OR e.name = %(project)s)
                AND (%(before)s::bigint IS NULL OR r.id < %(before)s) ORDER BY r.id DESC LIMIT %(limit)s""",
            {"project": project, "before": before, "limit": min(max(limit, 1), REPORTS_PAGE_MAX)},
        )
        return [Report(*row) for row in await cursor.fetchall()]


async def get_report(archive: Archive, report: int) -> tuple[Report, list[ReportRow]]:
    """A report with its rows. Raises NotFoundError, NotAllowedError, DatabaseError."""
    require(Permission.ROUTING_READ)
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(_REPORTS + b" WHERE r.id = %s", (report,))
        head = await cursor.fetchone()
        if head is None:
            raise NotFoundError(told("There is no report {number}.", number=report))
        cursor = await connection.execute(
            b"""SELECT sop_instance_uid, sop_class_uid, quarantined, actions, regions, proof FROM deid_report_row
                WHERE report_id = %s ORDER BY quarantined = '', sop_instance_uid LIMIT %s""",
            (report, ROWS_MAX),
        )
        return Report(*head), [ReportRow(*row) for row in await cursor.fetchall()]


async def export_report(archive: Archive, report: int) -> str:
    """The report as CSV. Raises NotFoundError, NotAllowedError, DatabaseError."""
    head, rows = await get_report(archive, report)
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(
        ["project", "version", "destination", "study", "object", "kind", "outcome", "why", "actions", "blanked"]
    )
    for one in rows:
        outcome = "quarantined" if one.quarantined else "cleaned"
        actions = "; ".join(f"{what}: {count}" for what, count in sorted(one.actions.items()))
        blanked = "; ".join(",".join(map(str, region)) for region in one.regions)
        writer.writerow(
            [
                head.project,
                head.project_version,
                head.destination,
                head.study_instance_uid,
                one.sop_instance_uid,
                one.kind,
            ]
            + [outcome, one.quarantined or one.proof, actions, blanked]
        )
    return out.getvalue()


_REPORTS: Final = b"""
    SELECT r.id, e.name, r.project_version, r.destination, r.study_instance_uid,
        to_char(r.begun_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
        to_char(r.changed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
        (SELECT count(*) FROM deid_report_row AS o WHERE o.report_id = r.id),
        (SELECT count(*) FROM deid_report_row AS o WHERE o.report_id = r.id AND o.quarantined <> '')
    FROM deid_report AS r JOIN named_entry AS e ON e.id = r.project_id"""

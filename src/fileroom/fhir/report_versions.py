"""The versions of a report as DiagnosticReports: `_history` and one of them (vread)."""

from __future__ import annotations

from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.errors import NotFoundError, told
from fileroom.fhir.conditions import as_row
from fileroom.fhir.diagnostic_reports import DIAGNOSTIC_REPORT, diagnostic_report, read_version_rows
from fileroom.fhir.elements import Resource, Words
from fileroom.fhir.search import connected, read_resource


async def report_versions(archive: Archive, number: str, words: Words) -> list[Resource]:
    """All versions, the newest first. Raises NotFoundError, NotAllowedError, DatabaseError."""
    return await _versions(archive, number, None, words)


async def report_version(archive: Archive, number: str, version: str, words: Words) -> Resource:
    """One version. Raises NotFoundError, NotAllowedError, DatabaseError."""
    require(Permission.STUDY_VIEW)
    wanted = as_row(version)
    found = await _versions(archive, number, wanted, words) if 0 < wanted < 1 << 31 else []
    if not found:
        raise NotFoundError(
            told("The report {number} has no version {version}.", number=number[:64], version=version[:20])
        )
    return found[0]


async def _versions(archive: Archive, number: str, version: int | None, words: Words) -> list[Resource]:
    require(Permission.STUDY_VIEW)
    await read_resource(archive, DIAGNOSTIC_REPORT, number, words)
    async with connected(archive) as connection:
        rows = await read_version_rows(connection, as_row(number), version)
    return [diagnostic_report(words, row) for row in rows]

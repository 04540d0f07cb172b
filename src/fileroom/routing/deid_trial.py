"""Trying a project on one file: what would leave, and what the report would say."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.deid.errors import CannotCleanError
from fileroom.deid.file import deidentify_file
from fileroom.deid.ocr import installed_reader
from fileroom.pixels.source import open_source, reader_of
from fileroom.routing.deid_reports import ReportRow, cleaned_row
from fileroom.routing.pseudonyms import OpenedPseudonyms, open_pseudonyms


@dataclass(frozen=True, slots=True)
class Trial:
    """`file` is the de-identified Part 10 file, None when the object would be quarantined (`row.quarantined`)."""

    row: ReportRow
    file: bytes | None


async def try_file(archive: Archive, project: str, data: bytes) -> Trial:
    """De-identify a file as the project would; its patient gets a pseudonym as on the way to a destination.

    Raises InvalidObjectError (no DICOM file), NotFoundError, NotAllowedError, ConfigurationError, DatabaseError.
    """
    require(Permission.ROUTING_MANAGE)
    source = await asyncio.to_thread(lambda: open_source(reader_of(data), len(data)))
    opened = await open_pseudonyms(archive, project)
    await opened.learn([source.header])

    def work(opened: OpenedPseudonyms) -> Trial:
        try:
            cleaned, pieces = deidentify_file(source, opened.profile, opened, installed_reader())
            return Trial(cleaned_row(cleaned), b"".join(pieces))
        except CannotCleanError as error:
            uid = opened.uid(str(source.header.get("SOPInstanceUID", "")))
            return Trial(ReportRow(uid, str(source.header.get("SOPClassUID", "")), error.sentence), None)

    return await asyncio.to_thread(work, opened)

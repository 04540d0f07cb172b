"""Is there a study that the row scope hides? The one thing that is told of it, to somebody who may break the glass.

Only an exact Patient ID, accession number or Study Instance UID is answered: whoever knows one has the patient, or an order,
in front of them. Each question is put down in the audit trail.
"""

from __future__ import annotations

import dataclasses
from contextlib import aclosing
from typing import Final

from fileroom.admin.audit_events import queried
from fileroom.archive import query as archive_query
from fileroom.archive.services import Archive
from fileroom.core.access import EVERYTHING, Permission, acting_as, require
from fileroom.dicom.query import Key, Level, Page, Query, SingleValue
from fileroom.index.attributes import BY_KEYWORD

FIELDS: Final = ("PatientID", "AccessionNumber", "StudyInstanceUID")
_COUNTED_MAX: Final = 1000
"""Studies of one patient: more than anybody has."""
_TEXT_CHARS_MAX: Final = 64
"""The longest Patient ID or UID (PS3.5 6.2)."""


async def is_hidden(archive: Archive, text: str) -> bool:
    """Whether a study fits exactly that whoever acts does not see. Raises NotAllowedError, DatabaseError."""
    access = require(Permission.STUDY_BREAK_GLASS)
    text = text.strip()
    if access.rows.is_everything or not 1 <= len(text) <= _TEXT_CHARS_MAX or "\0" in text:
        return False
    archive.audit.note(
        queried(archive.settings.aet, access, b"", f"is a study hidden that is exactly {text}", resource="/break-glass")
    )
    for keyword in FIELDS:
        attribute = BY_KEYWORD[keyword]
        query = Query(
            Level.STUDY,
            keys=(Key(attribute.tag, attribute.vr, SingleValue(text)),),
            return_tags=((BY_KEYWORD["StudyInstanceUID"].tag,),),
            page=Page(_COUNTED_MAX, 0),
        )
        seen = await _count(archive, query)
        with acting_as(dataclasses.replace(access, rows=EVERYTHING)):
            if await _count(archive, query) > seen:
                return True
    return False


async def _count(archive: Archive, query: Query) -> int:
    async with aclosing(archive_query.search(archive, query)) as answers:
        return len([None async for _ in answers])

"""Key object notes that reject images (IHE RAD TF-3 4.66.4.1.3.3, imaging object change management): who says so of a study.

Fileroom tells it and hides nothing yet: what is rejected is deleted or corrected by a person.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final

import psycopg

from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.errors import DatabaseError, told

REJECTIONS: Final = {
    "113001": told("rejected for quality reasons"),
    "113037": told("rejected for patient safety reasons"),
    "113038": told("made for the wrong entry of the worklist"),
    "113039": told("not to be kept any longer"),
}
"""Document titles (PS3.16 CID 7011) that reject what a note refers to."""
NOTES_MAX: Final = 20
_KEY_OBJECTS: Final = "1.2.840.10008.5.1.4.1.1.88.59"


@dataclass(frozen=True, slots=True)
class RejectionNote:
    """A note in the study. `words` are a message id."""

    sop_instance_uid: str
    series_instance_uid: str
    code: str
    words: str
    received_at: dt.datetime


async def rejection_notes(archive: Archive, study_uid: str) -> list[RejectionNote]:
    """The rejecting notes of a study, the newest first, for who has been shown the study.

    Raises NotAllowedError, DatabaseError.
    """
    require(Permission.STUDY_SEARCH)
    try:
        async with archive.pool.connection() as connection:
            cursor = await connection.execute(
                b"""SELECT i.sop_instance_uid, e.series_instance_uid, i.concept_name_code_sequence, i.received_at
                    FROM study s JOIN series e ON e.study = s.id JOIN instance i ON i.series = e.id
                    WHERE s.study_instance_uid = %s AND e.modality = 'KO' AND i.sop_class_uid = %s
                    ORDER BY i.id DESC LIMIT %s""",
                (study_uid, _KEY_OBJECTS, NOTES_MAX),
            )
            rows = await cursor.fetchall()
    except psycopg.Error as error:
        raise DatabaseError(f"Notes cannot be read: {type(error).__name__}. Try again later.") from error
    found = [(sop, series, _code(title), at) for sop, series, title, at in rows]
    return [
        RejectionNote(sop, series, code, REJECTIONS[code], at) for sop, series, code, at in found if code in REJECTIONS
    ]


def _code(title: object) -> str:
    """Code Value of the document title, of the scheme DCM; empty: another one, or none."""
    items = title if isinstance(title, list) else []
    for item in items[:1]:
        said = {key: (item.get(key) or {}).get("Value") or [""] for key in ("00080100", "00080102")}
        if said["00080102"][0] == "DCM":
            return str(said["00080100"][0])
    return ""

"""What the order of a study says, for rules and treatments: by the names of `order.` fields, and by DICOM keyword."""

from __future__ import annotations

from typing import Final

import psycopg

from fileroom.archive.services import Archive
from fileroom.core.errors import DatabaseError
from fileroom.worklist.order_search import facts_of_study

KEYWORDS: Final = {
    "AccessionNumber": "accession",
    "PlacerOrderNumberImagingServiceRequest": "number",
    "RequestedProcedurePriority": "priority",
    "Modality": "modality",
    "RequestedProcedureDescription": "procedure",
    "StudyDescription": "procedure",
    "ScheduledStationAETitle": "station",
    "RequestingService": "department",
    "RequestingPhysician": "requester",
    "ReferringPhysicianName": "requester",
    "ReasonForTheRequestedProcedure": "reason",
}
"""Attributes that a treatment may take from the order by their own name, and which field they are."""


async def order_values(archive: Archive, study_uid: str) -> dict[str, str]:
    """Those that say something; empty where no order is known. For work that was allowed. Raises DatabaseError."""
    try:
        async with archive.pool.connection() as connection:
            facts = await facts_of_study(connection, study_uid)
    except psycopg.Error as error:
        raise DatabaseError(f"The order cannot be read: {type(error).__name__}. Try again later.") from error
    named = {keyword: facts.get(name, "") for keyword, name in KEYWORDS.items()}
    return {name: value for name, value in {**facts, **named}.items() if value}

"""Endpoint: where the images are. There is one, DICOMweb, and every study refers to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from psycopg import AsyncConnection

from fileroom.archive.services import Archive
from fileroom.core.access import Permission
from fileroom.fhir.conditions import code
from fileroom.fhir.elements import TERMINOLOGY, Resource, Words
from fileroom.fhir.imaging_studies import ENDPOINT_ID
from fileroom.fhir.kinds import Kind, Sort, about_nobody, by_name
from fileroom.index.conditions import Condition

_CONNECTION: Final = f"{TERMINOLOGY}/endpoint-connection-type"


def endpoint(words: Words) -> Resource:
    """Where the images are."""
    return {
        "resourceType": "Endpoint",
        "id": ENDPOINT_ID,
        "status": "active",
        "connectionType": {"system": _CONNECTION, "code": "dicom-wado-rs"},
        "name": "DICOMweb",
        "payloadType": [{"text": "DICOM"}],
        "payloadMimeType": ["application/dicom", "application/dicom+json"],
        "address": words.dicomweb,
    }


async def _load(
    _archive: Archive, _connection: AsyncConnection[Any], words: Words, ids: Sequence[str]
) -> dict[str, Resource]:
    return {ENDPOINT_ID: endpoint(words)} if ENDPOINT_ID in ids else {}


ENDPOINT: Final = Kind(
    name="Endpoint",
    permission=Permission.STUDY_SEARCH,
    table=f"(SELECT 1::bigint AS n, '{ENDPOINT_ID}'::text AS id) ep",
    key="ep.n",
    id="ep.id",
    visible=lambda _: Condition(),
    of_patients=about_nobody,
    load=_load,
    parameters=by_name(
        code("_id", "ep.id", {ENDPOINT_ID: (ENDPOINT_ID,)}, missing="false"),
        code("status", "'active'::text", {"active": ("active",)}, missing="false"),
        code("connection-type", "'dicom-wado-rs'::text", {"dicom-wado-rs": ("dicom-wado-rs",)}, (_CONNECTION,)),
    ),
    sorts={"_id": Sort("ep.id")},
    is_of_patients=False,
)

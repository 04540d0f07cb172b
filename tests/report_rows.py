"""Reports and studies, straight into the tables: what feeds, editors and modalities would have made."""

from __future__ import annotations

import datetime as dt
from typing import Any

from psycopg.types.json import Jsonb

from fileroom.archive.services import Archive


async def insert(archive: Archive, table: str, **values: Any) -> int:
    """A row; its number."""
    names, places = ", ".join(values), ", ".join(["%s"] * len(values))
    given = [Jsonb(one) if isinstance(one, list | dict) and not _is_text_list(one) else one for one in values.values()]
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(
            f"INSERT INTO {table} ({names}) VALUES ({places}) RETURNING id".encode(), given
        )
        row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def add_study(archive: Archive, uid: str, **values: Any) -> int:
    """A study of one series of CT with three images that came an hour ago, unless the values say otherwise."""
    came: dt.datetime = values.pop("came", archive.now() - dt.timedelta(hours=1))
    modality = values.pop("modality", "CT")
    images = values.pop("images", 3)
    patient_id = values.get("patient_id", "P1")
    patient = await insert(archive, "patient", identity=f"{uid} {patient_id}", patient_id=patient_id)
    fields: dict[str, Any] = {
        "patient_name": "Doe^Jane",
        "patient_id": patient_id,
        "modalities": [modality],
        "accession_number": "A1",
        "received_at": came,
        "study_date": "20261122",
        **values,
    }
    study = await insert(archive, "study", patient=patient, study_instance_uid=uid, **fields)
    if images:
        await insert(
            archive,
            "series",
            study=study,
            series_instance_uid=f"{uid}.1",
            modality=modality,
            instance_count=images,
            changed_at=came,
        )
    return study


async def add_report(archive: Archive, study: str = "1.2.1", state: str = "final", **values: Any) -> int:
    """A report with its versions; `preliminary_at`, `final_at`: when it was which."""
    now = archive.now()
    preliminary_at: dt.datetime | None = values.pop("preliminary_at", None)
    final_at: dt.datetime | None = values.pop("final_at", now if state in ("final", "corrected") else None)
    sections = values.pop("sections", [{"heading": "Impression", "text": "No change."}])
    fields: dict[str, Any] = {
        "study_instance_uid": study,
        "source": "console",
        "title": "CT of the thorax",
        "created_by": "test",
        "changed_by": "test",
        "finished_at": final_at,
        **values,
    }
    moments = [("preliminary", preliminary_at), ("final", final_at)]
    known = [(name, at) for name, at in moments if at is not None] or [(state, now)]
    number = await insert(archive, "report", state=state, version=len(known), **fields)
    for version, (name, at) in enumerate(known, start=1):
        await insert(
            archive,
            "report_version",
            report=number,
            version=version,
            state=name,
            sections=sections,
            made_at=at,
            made_by="test",
            signed_at=at if name == "final" else None,
        )
    return number


def _is_text_list(value: Any) -> bool:
    return bool(value) and isinstance(value, list) and all(isinstance(one, str) for one in value)

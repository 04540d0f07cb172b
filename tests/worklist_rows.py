"""Patients, orders and scheduled steps, straight into the tables: what the RIS would have told."""

from __future__ import annotations

from typing import Any

from psycopg.types.json import Jsonb

from fileroom.archive.services import Archive
from fileroom.index.rows import name_keys

STEP = {
    "modality": "CT",
    "station_aets": ["CT1"],
    "station_name": "CT-ROOM",
    "location": "ROOM1",
    "start_date": "20261122",
    "start_time": "083000",
    "performing_physician": "Miller^Max",
    "description": "CT thorax native",
    "protocol_codes": [{"value": "PROT1", "scheme": "99L", "meaning": "Thorax low dose"}],
    "pre_medication": "none",
    "contrast_agent": "Iomeprol",
    "comments": "walks",
    "state": "scheduled",
}
ORDER = {
    "placer_number": "PL1",
    "filler_number": "FI1",
    "accession_authority": "RIS",
    "procedure_id": "RP1",
    "procedure_code": "CTTHX",
    "procedure_scheme": "99L",
    "procedure_meaning": "CT of the thorax",
    "priority": "ROUTINE",
    "state": "scheduled",
    "ordering_physician": "Ward^Wanda",
    "referring_physician": "Ray^Rita",
    "reason": "cough",
    "department": "PNEUMO",
    "institution": "City Hospital",
    "transport": "BED",
    "danger": "MRSA",
}
PATIENT = {"patient_name": "Doe^Jane", "birth_date": "19700101", "sex": "F"}


async def add_patient(archive: Archive, patient_id: str, **fields: Any) -> int:
    """The row's number."""
    values = {**PATIENT, **fields}
    key, others = name_keys(str(values["patient_name"]))
    values |= {"patient_name_key": key, "patient_name_other_keys": others, "changed_by": "test"}
    number = await _insert(archive, "registered_patient", values)
    await _insert(
        archive,
        "patient_identifier",
        {"patient": number, "home": number, "authority": "HOSP", "value": patient_id, "is_first": True},
    )
    return number


async def add_step(
    archive: Archive,
    number: int = 1,
    *,
    patient: int | None = None,
    patient_id: str = "",
    patient_fields: dict[str, Any] | None = None,
    order: dict[str, Any] | None = None,
    **step: Any,
) -> int:
    """A step `S<number>` of an order of accession `A<number>`, study `1.2.<number>`; the row's number of the step."""
    if patient is None:
        patient = await add_patient(archive, patient_id or f"P{number}", **(patient_fields or {}))
    fields = {
        **ORDER,
        "placer_number": f"PL{number}",
        "accession_number": f"A{number}",
        "study_instance_uid": f"1.2.{number}",
        "patient": patient,
        **(order or {}),
    }
    fields |= {"referring_physician_key": _name_key(fields["referring_physician"]), "changed_by": "test"}
    order_id = await _insert(archive, "imaging_order", fields)
    return await add_step_of(archive, order_id, f"S{number}", **step)


async def add_step_of(archive: Archive, order: int, step_id: str, **step: Any) -> int:
    """One more step of an order."""
    values = {**STEP, **step, "imaging_order": order, "step_id": step.get("step_id", step_id)}
    values["performing_physician_key"] = _name_key(values["performing_physician"])
    return await _insert(archive, "scheduled_step", values)


def _name_key(name: Any) -> str | None:
    key, others = name_keys(str(name))
    return f"{key}{others.rstrip('=')}" if others else key


async def _insert(archive: Archive, table: str, values: dict[str, Any]) -> int:
    names = ", ".join(values)
    places = ", ".join(["%s"] * len(values))
    given = [
        Jsonb(value) if isinstance(value, dict) or key == "protocol_codes" else value for key, value in values.items()
    ]
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(
            f"INSERT INTO {table} ({names}) VALUES ({places}) RETURNING id".encode(), given
        )
        row = await cursor.fetchone()
    assert row is not None
    return int(row[0])

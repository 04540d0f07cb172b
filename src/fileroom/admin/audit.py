"""Writing the audit trail: events become rows in the transaction of what they report.

    await audit.record(connection, audit_events.role_changed("physician", "now may export"))

The rows are append-only (0003_audit.sql refuses changes). `audit_chain` seals them, `audit_search` finds them, `audit_verify`
checks them, `audit_forward` sends them on. What has no transaction of its own goes through `audit_buffer`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson
import psycopg
from psycopg import AsyncConnection
from psycopg.rows import tuple_row

from fileroom.admin.audit_message import (
    STUDIES_PER_EVENT_MAX,
    AuditEvent,
    EventCode,
    IdType,
    Message,
    ObjectRole,
    ObjectType,
    ParticipantObject,
    PatientReference,
    StudyReference,
    text,
    to_json,
)
from fileroom.core.errors import DatabaseError
from fileroom.db.pool import Pool

_FOUND_BY_MAX: Final = 200
"""Patients and studies by which one query is found; a list of more UIDs is a program's, not a person's."""
_OF_ONE_PATIENT: Final = frozenset(
    {
        EventCode.BEGIN_TRANSFERRING,
        EventCode.INSTANCES_TRANSFERRED,
        EventCode.INSTANCES_ACCESSED,
        EventCode.STUDY_DELETED,
    }
)
"""Messages that may speak of a single patient only (PS3.15 A.5.3.3, A.5.3.6 to A.5.3.8)."""


async def record(connection: AsyncConnection[Any], *events: AuditEvent) -> None:
    """Write events in the transaction of `connection`. Raises psycopg.Error."""
    if events:
        known = await _look_up(connection, events)
        rows = [_row(part) for event in events for part in _split(_described(event, known))]
        await connection.execute(_INSERT, (orjson.dumps(rows).decode(),))


async def record_alone(pool: Pool, *events: AuditEvent) -> None:
    """Write events in a transaction of their own, all or none. Raises DatabaseError."""
    try:
        async with pool.connection() as connection:
            await record(connection, *events)  # one statement: no need for a transaction around it
    except psycopg.Error as error:
        raise DatabaseError(
            f"The audit trail could not be written ({type(error).__name__}). Try again later; see /readyz."
        ) from error


async def describe_study(connection: AsyncConnection[Any], study_uid: str) -> StudyReference:
    """A study with its patient, for an event that is written when the study is gone."""
    return (await _read_studies(connection, [study_uid])).get(study_uid) or StudyReference(
        study_uid, patient=PatientReference()
    )


# --- patients ---

_Known = dict[str, StudyReference]


async def _look_up(connection: AsyncConnection[Any], events: Iterable[AuditEvent]) -> _Known:
    uids = {study.uid for event in events for study in event.studies if study.patient is None and study.uid}
    return await _read_studies(connection, sorted(uids)) if uids else {}


async def _read_studies(connection: AsyncConnection[Any], uids: Sequence[str]) -> _Known:
    async with connection.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(
            b"""SELECT study_instance_uid, coalesce(patient_id, ''), coalesce(patient_name, ''),
                coalesce(accession_number, '') FROM study WHERE study_instance_uid = ANY(%s)""",
            (list(uids),),
        )
        return {
            row[0]: StudyReference(row[0], patient=PatientReference(row[1], row[2]), accession_number=row[3])
            for row in await cursor.fetchall()
        }


def _described(event: AuditEvent, known: _Known) -> AuditEvent:
    """With the patients of its studies."""
    studies = tuple(_with_patient(study, known) for study in event.studies)
    return replace(event, studies=studies)


def _with_patient(study: StudyReference, known: _Known) -> StudyReference:
    if study.patient is not None:
        return study
    found = known.get(study.uid, StudyReference(study.uid, patient=PatientReference()))
    return replace(study, patient=found.patient, accession_number=study.accession_number or found.accession_number)


def _split(event: AuditEvent) -> list[AuditEvent]:
    """In as many as PS3.15 and the size of messages ask for."""
    groups: dict[object, list[StudyReference]] = {}
    for study in event.studies:
        groups.setdefault(study.patient if event.event in _OF_ONE_PATIENT else None, []).append(study)
    parts = [
        tuple(studies[start : start + STUDIES_PER_EVENT_MAX])
        for studies in groups.values()
        for start in range(0, len(studies), STUDIES_PER_EVENT_MAX)
    ]
    return [replace(event, studies=part) for part in parts] or [event]


# --- rows ---


@dataclass(frozen=True, slots=True)
class _Row:
    """The columns that the code gives; time and number come from the database."""

    event: str
    event_type: str
    action: str
    outcome: int
    actor_kind: str
    actor: str
    address: str
    patient_ids: list[str]
    study_uids: list[str]
    message: dict[str, Any]


def _row(event: AuditEvent) -> _Row:
    patients = {study.patient: None for study in event.studies if study.patient is not None}
    patient_ids = [*(patient.patient_id for patient in patients), *event.patient_ids[:_FOUND_BY_MAX]]
    study_uids = [*(study.uid for study in event.studies), *event.study_uids[:_FOUND_BY_MAX]]
    objects = (
        *(_study_object(study, event.life_cycle) for study in event.studies),
        *(_patient_object(patient) for patient in patients),
        *event.objects,
    )
    message = Message(event.event, event.participants, event.types, event.outcome_description, objects)
    return _Row(
        event=event.event.value,
        event_type=event.types[0].value if event.types else "",
        action=event.action.value,
        outcome=int(event.outcome),
        actor_kind=event.actor.kind.value,
        actor=text(event.actor.name),
        address=text(event.actor.address),
        patient_ids=_distinct(patient_ids),
        study_uids=_distinct(study_uids),
        message=to_json(message),
    )


def _distinct(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(text(value) for value in values if value))


def _study_object(study: StudyReference, life_cycle: int) -> ParticipantObject:
    return ParticipantObject(
        id=study.uid,
        id_type=IdType.STUDY_UID,
        object_type=ObjectType.SYSTEM,
        role=ObjectRole.REPORT,
        name=study.uid,  # A name or a query must be there (A.5.1), and a study has no other name.
        life_cycle=life_cycle,
        accession_numbers=(study.accession_number,) if study.accession_number else (),
        sop_classes=study.sop_classes,
    )


def _patient_object(patient: PatientReference) -> ParticipantObject:
    return ParticipantObject(
        id=patient.patient_id,
        id_type=IdType.PATIENT,
        object_type=ObjectType.PERSON,
        role=ObjectRole.PATIENT,
        name=patient.name,
    )


_INSERT: Final = b"""
WITH given AS (
    SELECT * FROM jsonb_to_recordset(%s::jsonb) AS g(event text, event_type text, action text, outcome smallint,
        actor_kind text, actor text, address text, patient_ids text[], study_uids text[], message jsonb)
), written AS (
    INSERT INTO audit_event (event, event_type, action, outcome, actor_kind, actor, address, patient_ids, study_uids, message)
    SELECT event, event_type, action, outcome, actor_kind, actor, address, patient_ids, study_uids, message FROM given
    RETURNING id, occurred_at
)
INSERT INTO audit_queue (event_id, occurred_at) SELECT id, occurred_at FROM written"""

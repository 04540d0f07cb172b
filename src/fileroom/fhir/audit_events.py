"""AuditEvent: the audit trail (PS3.15 A.5) in the form of IHE BALP. Each search is put down in the trail itself."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Any, Final

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from fileroom.admin.audit import record
from fileroom.admin.audit_events import audit_log_used
from fileroom.admin.audit_message import ActiveParticipant, Code, IdType, ParticipantObject
from fileroom.admin.audit_search import AuditRecord, record_of
from fileroom.archive.services import Archive
from fileroom.core.access import Permission
from fileroom.fhir.conditions import NEVER, Token, as_row, code, moment, number, reference, string, token
from fileroom.fhir.elements import DICOM_CODES, TERMINOLOGY, Resource, Words, filled, instant
from fileroom.fhir.kinds import Kind, Sort, by_name
from fileroom.index.conditions import Condition

_SYSTEMS: Final = {"DCM": DICOM_CODES}
_OUTCOMES: Final = ("0", "4", "8", "12")


def audit_event(one: AuditRecord) -> Resource:
    """An event of the trail as a resource."""
    message = one.message
    source = next((who.user_id for who in message.participants if who.user_id and not who.is_requestor), "Fileroom")
    return filled(
        resourceType="AuditEvent",
        id=str(one.id),
        type=_coding(message.event),
        subtype=[_coding(kind) for kind in message.types],
        action=one.action,
        recorded=instant(one.occurred_at),
        outcome=str(int(one.outcome)),
        outcomeDesc=message.outcome_description or None,
        agent=[_agent(who) for who in message.participants] or [{"requestor": False, "who": {"display": one.actor}}],
        source={
            "observer": {"display": source},
            "type": [{"system": f"{TERMINOLOGY}/security-source-type", "code": "4", "display": "Application Server"}],
        },
        entity=[_entity(what) for what in message.objects],
    )


def _coding(code_: Code) -> Resource:
    return filled(system=_SYSTEMS.get(code_.system, code_.system or None), code=code_.value, display=code_.meaning)


def _agent(who: ActiveParticipant) -> Resource:
    network = {"address": who.access_point, "type": str(who.access_point_type)} if who.access_point_type else {}
    return filled(
        role=[{"coding": [_coding(role)]} for role in who.roles],
        who=filled(identifier={"value": who.user_id} if who.user_id else None, display=who.user_name or who.user_id),
        altId=who.alternative_user_id or None,
        name=who.user_name or None,
        requestor=who.is_requestor,
        network=network,
    )


def _entity(what: ParticipantObject) -> Resource:
    is_study = what.id_type == IdType.STUDY_UID and what.id
    details = [
        *({"type": one.kind, "valueString": one.value} for one in what.details if one.kind and one.value),
        *({"type": "AccessionNumber", "valueString": one} for one in what.accession_numbers if one),
        *({"type": "SOPClass", "valueString": one.sop_class_uid} for one in what.sop_classes if one.sop_class_uid),
    ]
    query = _query(what.query)
    return filled(
        what=filled(
            reference=f"ImagingStudy/{what.id}" if is_study else None,
            identifier={"value": f"urn:oid:{what.id}" if is_study else what.id} if what.id else None,
            display=what.name or None,
        ),
        type={"system": f"{TERMINOLOGY}/audit-entity-type", "code": str(int(what.object_type))},
        role={"system": f"{TERMINOLOGY}/object-role", "code": str(int(what.role))} if what.role else None,
        lifecycle={"system": f"{TERMINOLOGY}/dicom-audit-lifecycle", "code": str(int(what.life_cycle))}
        if what.life_cycle
        else None,
        name=what.name or None if not query else None,
        query=query,
        detail=details,
    )


def _query(text: str) -> str | None:
    try:
        return base64.b64encode(base64.b64decode(text, validate=True)).decode("ascii") or None
    except (ValueError, binascii.Error):
        return None


async def _load(
    _archive: Archive, connection: AsyncConnection[Any], _words: Words, ids: Sequence[str]
) -> dict[str, Resource]:
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(b"SELECT * FROM audit_event WHERE id = ANY(%s)", ([int(one) for one in ids],))
        return {str(row["id"]): audit_event(record_of(row)) for row in await cursor.fetchall()}


async def note_reading(connection: AsyncConnection[Any], question: str) -> None:
    """Put down that the trail was read."""
    await record(connection, audit_log_used(f"FHIR: {question[:1000]}"))


def _patients(patients: Sequence[int]) -> Condition:
    return Condition(
        "a.patient_ids && ARRAY(SELECT i.value FROM patient_identifier i WHERE i.patient = ANY(%s))", (list(patients),)
    )


def _is(column: str) -> Callable[[Token], Condition]:
    return lambda wanted: Condition(f"{column} = %s", (wanted.value,)) if wanted.value else NEVER


def _agent_is(ids: list[str]) -> Condition:
    """A login, a token or `AET@address`; an AE title stands for itself at every address."""
    parts = [
        Condition("(a.actor = %s OR (a.actor >= %s AND a.actor < %s))", (one, f"{one}@", f"{one}A")) for one in ids
    ]
    return Condition.any_of(parts)


def _agent_name(text: str, modifier: str) -> Condition:
    if modifier == "exact":
        return Condition("a.actor = %s", (text,))
    return Condition(
        "strpos(lower(a.actor), lower(%s)) > 0" if modifier else "starts_with(lower(a.actor), lower(%s))", (text,)
    )


AUDIT_EVENT: Final = Kind(
    name="AuditEvent",
    permission=Permission.AUDIT_READ,
    table="audit_event a",
    key="a.id",
    id="a.id::text",
    visible=lambda _: Condition(),
    of_patients=_patients,
    load=_load,
    parameters=by_name(
        number("_id", "a.id"),
        moment("_lastUpdated", "a.occurred_at"),
        moment("date", "a.occurred_at"),
        reference("agent", "Practitioner", _agent_is),
        string("agent-name", _agent_name),
        reference(
            "patient", "Patient", lambda ids: _patients([as_row(one) for one in ids]), needs=Permission.ORDER_READ
        ),
        token("patient-id", lambda wanted, _: Condition("a.patient_ids @> ARRAY[%s]", (wanted.value,))),
        reference("entity", "ImagingStudy", lambda ids: Condition("a.study_uids && %s::text[]", (ids,))),
        token("type", lambda wanted, _: _is("a.event")(wanted), missing="false"),
        token("subtype", lambda wanted, _: _is("a.event_type")(wanted), missing="a.event_type = ''"),
        token("action", lambda wanted, _: _is("a.action")(wanted), missing="false"),
        code("outcome", "a.outcome::text", {name: (name,) for name in _OUTCOMES}, missing="false"),
        string("address", lambda text, _: Condition("a.address = %s", (text,))),
    ),
    sorts={"_id": Sort("a.id", "bigint"), "date": Sort("a.occurred_at", "timestamptz")},
    is_of_patients=False,
)

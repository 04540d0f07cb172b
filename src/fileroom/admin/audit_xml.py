"""An audit record as the XML of PS3.15 A.5.1, elements in the order of its schema, and as a line of JSON."""

from __future__ import annotations

import base64
import datetime as dt
from dataclasses import dataclass
from typing import Final
from xml.etree.ElementTree import Element, SubElement, tostring

import orjson

from fileroom.admin.audit_message import ActiveParticipant, Code, ParticipantObject, to_json
from fileroom.admin.audit_search import AuditRecord

APPLICATION_SERVER: Final = "4"
"""AuditSourceTypeCode of a PACS (PS3.15 A.5.2)."""


@dataclass(frozen=True, slots=True)
class AuditSource:
    """The system that speaks: its name, and its site in the enterprise (may be empty)."""

    source_id: str
    site: str = ""


def to_xml(record: AuditRecord, source: AuditSource) -> bytes:
    """The AuditMessage, UTF-8, without an XML declaration."""
    root = Element("AuditMessage")
    _event(root, record)
    for participant in record.message.participants:
        _participant(root, participant)
    _source(root, source)
    for one in record.message.objects:
        _object(root, one)
    encoded: bytes = tostring(root, "utf-8", xml_declaration=False)
    return encoded


def to_json_line(record: AuditRecord) -> bytes:
    """Everything that is known of it, in one line without its end."""
    return orjson.dumps(
        {
            "id": record.id,
            "occurred_at": _moment(record.occurred_at),
            "event": record.event,
            "event_type": record.event_type,
            "title": record.title,
            "action": record.action,
            "outcome": record.outcome,
            "actor_kind": record.actor_kind,
            "actor": record.actor,
            "address": record.address,
            "patient_ids": record.patient_ids,
            "study_uids": record.study_uids,
            "what": record.what,
            "message": to_json(record.message),
        }
    )


def _moment(at: dt.datetime) -> str:
    """With its time zone (A.5.2.5)."""
    return at.astimezone(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _event(root: Element, record: AuditRecord) -> None:
    event = SubElement(
        root,
        "EventIdentification",
        EventActionCode=record.action,
        EventDateTime=_moment(record.occurred_at),
        EventOutcomeIndicator=str(record.outcome),
    )
    _code(event, "EventID", record.message.event)
    for kind in record.message.types:
        _code(event, "EventTypeCode", kind)
    if record.message.outcome_description:
        SubElement(event, "EventOutcomeDescription").text = record.message.outcome_description


def _participant(root: Element, one: ActiveParticipant) -> None:
    attributes = {"UserID": one.user_id, "UserIsRequestor": "true" if one.is_requestor else "false"}
    if one.alternative_user_id:
        attributes["AlternativeUserID"] = one.alternative_user_id
    if one.user_name:
        attributes["UserName"] = one.user_name
    if one.access_point and one.access_point_type:
        attributes["NetworkAccessPointID"] = one.access_point
        attributes["NetworkAccessPointTypeCode"] = str(one.access_point_type)
    participant = SubElement(root, "ActiveParticipant", attributes)
    for role in one.roles:
        _code(participant, "RoleIDCode", role)


def _source(root: Element, source: AuditSource) -> None:
    attributes = {"AuditSourceID": source.source_id}
    if source.site:
        attributes["AuditEnterpriseSiteID"] = source.site
    identification = SubElement(root, "AuditSourceIdentification", attributes)
    SubElement(identification, "AuditSourceTypeCode", {"csd-code": APPLICATION_SERVER})


def _object(root: Element, one: ParticipantObject) -> None:
    attributes = {
        "ParticipantObjectID": one.id,
        "ParticipantObjectTypeCode": str(one.object_type),
        "ParticipantObjectTypeCodeRole": str(one.role),
    }
    if one.life_cycle:
        attributes["ParticipantObjectDataLifeCycle"] = str(one.life_cycle)
    subject = SubElement(root, "ParticipantObjectIdentification", attributes)
    _code(subject, "ParticipantObjectIDTypeCode", one.id_type)
    if one.query:
        SubElement(subject, "ParticipantObjectQuery").text = one.query
    else:
        SubElement(subject, "ParticipantObjectName").text = one.name
    for detail in one.details:
        value = base64.b64encode(detail.value.encode()).decode("ascii")
        SubElement(subject, "ParticipantObjectDetail", type=detail.kind, value=value)
    if one.accession_numbers or one.sop_classes:
        _description(subject, one)


def _description(subject: Element, one: ParticipantObject) -> None:
    description = SubElement(subject, "ParticipantObjectDescription")
    for number in one.accession_numbers:
        SubElement(description, "Accession", Number=number)
    for entry in one.sop_classes:
        attributes = {"NumberOfInstances": str(entry.instances)}
        if entry.sop_class_uid:
            attributes["UID"] = entry.sop_class_uid
        SubElement(description, "SOPClass", attributes)


def _code(parent: Element, name: str, code: Code) -> None:
    attributes = {"csd-code": code.value, "codeSystemName": code.system, "originalText": code.meaning}
    SubElement(parent, name, attributes)

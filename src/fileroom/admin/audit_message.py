"""The parts of a DICOM audit message (PS3.15 A.5.1, A.5.2) as values, and their form in the database.

Who did it: `ActiveParticipant`. What it was done to: `ParticipantObject`, and the studies with their patients
(`StudyReference`). Codes are those of PS3.16 CID 400 to 405; `RFC3881` codes are the numbers of PS3.15 A.5.1.2.4.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any, Final

from fileroom.core.access import Access

TEXT_CHARS_MAX: Final = 1024
"""Of one value. Names have 324 characters at most, UIDs 64; sentences of ours stay under it."""
STUDIES_PER_EVENT_MAX: Final = 25
"""With their patients about 25 KiB of XML: syslog servers need not take more than 32 KiB (PS3.15 A.6)."""
QUERY_BYTES_MAX: Final = 8 * 1024
"""Of a query's identifier; a longer one (a list of a hundred UIDs and more) is cut, and says so."""

_DCM: Final = "DCM"
_RFC3881: Final = "RFC-3881"


@dataclass(frozen=True, slots=True)
class Code:
    """A code with its meaning and the scheme it belongs to."""

    value: str
    meaning: str
    system: str = _DCM


class EventCode:
    """What kind of thing happened (CID 400)."""

    APPLICATION_ACTIVITY: Final = Code("110100", "Application Activity")
    AUDIT_LOG_USED: Final = Code("110101", "Audit Log Used")
    BEGIN_TRANSFERRING: Final = Code("110102", "Begin Transferring DICOM Instances")
    INSTANCES_ACCESSED: Final = Code("110103", "DICOM Instances Accessed")
    INSTANCES_TRANSFERRED: Final = Code("110104", "DICOM Instances Transferred")
    STUDY_DELETED: Final = Code("110105", "DICOM Study Deleted")
    EXPORT: Final = Code("110106", "Export")
    IMPORT: Final = Code("110107", "Import")
    NETWORK_ENTRY: Final = Code("110108", "Network Entry")
    ORDER_RECORD: Final = Code("110109", "Order Record")
    PATIENT_RECORD: Final = Code("110110", "Patient Record")
    QUERY: Final = Code("110112", "Query")
    SECURITY_ALERT: Final = Code("110113", "Security Alert")
    USER_AUTHENTICATION: Final = Code("110114", "User Authentication")


class EventType:
    """What kind of it (CID 401)."""

    APPLICATION_START: Final = Code("110120", "Application Start")
    APPLICATION_STOP: Final = Code("110121", "Application Stop")
    LOGIN: Final = Code("110122", "Login")
    LOGOUT: Final = Code("110123", "Logout")
    ATTACH: Final = Code("110124", "Attach")
    DETACH: Final = Code("110125", "Detach")
    NODE_AUTHENTICATION: Final = Code("110126", "Node Authentication")
    EMERGENCY_OVERRIDE_STARTED: Final = Code("110127", "Emergency Override Started")
    NETWORK_CONFIGURATION: Final = Code("110128", "Network Configuration")
    SECURITY_CONFIGURATION: Final = Code("110129", "Security Configuration")
    SOFTWARE_CONFIGURATION: Final = Code("110131", "Software Configuration")
    USE_OF_RESTRICTED_FUNCTION: Final = Code("110132", "Use of Restricted Function")
    SECURITY_ROLES_CHANGED: Final = Code("110136", "Security Roles Changed")
    USER_SECURITY_CHANGED: Final = Code("110137", "User security Attributes Changed")
    EMERGENCY_OVERRIDE_STOPPED: Final = Code("110138", "Emergency Override Stopped")


class Role:
    """What part a participant had (CID 402)."""

    APPLICATION: Final = Code("110150", "Application")
    APPLICATION_LAUNCHER: Final = Code("110151", "Application Launcher")
    DESTINATION: Final = Code("110152", "Destination Role ID")
    SOURCE: Final = Code("110153", "Source Role ID")
    DESTINATION_MEDIA: Final = Code("110154", "Destination Media")
    SOURCE_MEDIA: Final = Code("110155", "Source Media")


class IdType:
    """What an object's identifier is (CID 404 and PS3.15 A.5.1.2.4)."""

    STUDY_UID: Final = Code("110180", "Study Instance UID")
    SOP_CLASS_UID: Final = Code("110181", "SOP Class UID")
    NODE: Final = Code("110182", "Node ID")
    PATIENT: Final = Code("2", "Patient Number", _RFC3881)
    USER: Final = Code("11", "User Identifier", _RFC3881)
    URI: Final = Code("12", "URI", _RFC3881)


class Action(enum.StrEnum):
    """EventActionCode."""

    CREATE = "C"
    READ = "R"
    UPDATE = "U"
    DELETE = "D"
    EXECUTE = "E"


class Outcome(enum.IntEnum):
    """EventOutcomeIndicator."""

    SUCCESS = 0
    MINOR_FAILURE = 4
    SERIOUS_FAILURE = 8
    MAJOR_FAILURE = 12


class LifeCycle(enum.IntEnum):
    """ParticipantObjectDataLifeCycle (PS3.15 A.5.1.2.3), as far as it is used."""

    CREATION = 1
    IMPORT = 2
    AMENDMENT = 3
    ACCESS = 6
    EXPORT = 10
    ERASURE = 15


class ObjectType(enum.IntEnum):
    """ParticipantObjectTypeCode."""

    PERSON = 1
    SYSTEM = 2


class ObjectRole(enum.IntEnum):
    """ParticipantObjectTypeCodeRole (PS3.15 A.5.2.6), as far as it is used."""

    PATIENT = 1
    REPORT = 3
    MASTER_FILE = 5
    USER = 6
    SECURITY_USER = 11
    SECURITY_RESOURCE = 13
    QUERY = 24


class AccessPoint(enum.IntEnum):
    """NetworkAccessPointTypeCode."""

    MACHINE_NAME = 1
    IP_ADDRESS = 2
    URI = 5


@dataclass(frozen=True, slots=True)
class ActiveParticipant:
    """Somebody, or some process or medium, that took part."""

    user_id: str
    is_requestor: bool = False
    roles: tuple[Code, ...] = ()
    alternative_user_id: str = ""
    user_name: str = ""
    access_point: str = ""
    access_point_type: int = 0


@dataclass(frozen=True, slots=True)
class Detail:
    """A named value, implementation-defined (ParticipantObjectDetail)."""

    kind: str
    value: str


@dataclass(frozen=True, slots=True)
class SopClassCount:
    """How many instances of a SOP class. `sop_class_uid` may be empty."""

    sop_class_uid: str
    instances: int


@dataclass(frozen=True, slots=True)
class ParticipantObject:
    """What something was done to. It has a name or, instead, a query (an identifier or query string, base64)."""

    id: str
    id_type: Code
    object_type: int
    role: int
    name: str = ""
    query: str = ""
    life_cycle: int = 0
    details: tuple[Detail, ...] = ()
    accession_numbers: tuple[str, ...] = ()
    sop_classes: tuple[SopClassCount, ...] = ()


@dataclass(frozen=True, slots=True)
class PatientReference:
    """A patient by the ID and name that the study has. Empty where it has none."""

    patient_id: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class StudyReference:
    """A study; its patient and accession number are looked up when the event is written, unless `patient` is given."""

    uid: str
    sop_classes: tuple[SopClassCount, ...] = ()
    patient: PatientReference | None = None
    accession_number: str = ""


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One event before it is written. `actor` is who it is put down to.

    `studies` are what it was done to. By `patient_ids` and `study_uids` it is found too, as they were asked for.
    """

    event: Code
    action: Action
    actor: Access
    participants: tuple[ActiveParticipant, ...]
    types: tuple[Code, ...] = ()
    outcome: Outcome = Outcome.SUCCESS
    outcome_description: str = ""
    studies: tuple[StudyReference, ...] = ()
    life_cycle: int = 0
    """That of the studies."""
    objects: tuple[ParticipantObject, ...] = ()
    patient_ids: tuple[str, ...] = ()
    study_uids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Message:
    """What of an event stands in the column `message`."""

    event: Code
    participants: tuple[ActiveParticipant, ...]
    types: tuple[Code, ...] = ()
    outcome_description: str = ""
    objects: tuple[ParticipantObject, ...] = ()


def text(value: str, chars_max: int = TEXT_CHARS_MAX) -> str:
    """A value as database and XML take it: no control characters, no lone surrogates, not longer than it may be."""
    if value.isprintable() and len(value) <= chars_max and value.isascii():
        return value
    cut = value[:chars_max].encode("utf-8", "replace").decode()
    return "".join(character if _is_plain(character) else "\N{REPLACEMENT CHARACTER}" for character in cut)


def _is_plain(character: str) -> bool:
    """Allowed in XML 1.0 (2.2), and not a control character."""
    number = ord(character)
    return number >= 0x20 and not 0x7F <= number < 0xA0 and number & 0xFFFF < 0xFFFE


# --- the form in the database ---


def to_json(message: Message) -> dict[str, Any]:
    """As JSON; what is empty is left out, every text has gone through `text`."""
    return {
        "event": _code(message.event),
        **_given("types", [_code(code) for code in message.types]),
        **_given("outcome", text(message.outcome_description)),
        "participants": [_participant(one) for one in message.participants],
        **_given("objects", [_object(one) for one in message.objects]),
    }


def from_json(found: dict[str, Any]) -> Message:
    """The reverse of `to_json`."""
    return Message(
        event=_read_code(found["event"]),
        participants=tuple(_read_participant(one) for one in found["participants"]),
        types=tuple(_read_code(code) for code in found.get("types", ())),
        outcome_description=found.get("outcome", ""),
        objects=tuple(_read_object(one) for one in found.get("objects", ())),
    )


def _given(name: str, value: Any) -> dict[str, Any]:
    return {name: value} if value else {}


def _code(code: Code) -> list[str]:
    return [code.value, code.meaning, code.system]


def _read_code(found: list[str]) -> Code:
    return Code(*found)


def _participant(one: ActiveParticipant) -> dict[str, Any]:
    return {
        "user": text(one.user_id),
        "requestor": one.is_requestor,
        **_given("roles", [_code(role) for role in one.roles]),
        **_given("alternative", text(one.alternative_user_id)),
        **_given("name", text(one.user_name)),
        **_given("at", text(one.access_point)),
        **_given("at_type", int(one.access_point_type)),
    }


def _read_participant(found: dict[str, Any]) -> ActiveParticipant:
    return ActiveParticipant(
        user_id=found["user"],
        is_requestor=found["requestor"],
        roles=tuple(_read_code(code) for code in found.get("roles", ())),
        alternative_user_id=found.get("alternative", ""),
        user_name=found.get("name", ""),
        access_point=found.get("at", ""),
        access_point_type=found.get("at_type", 0),
    )


def _object(one: ParticipantObject) -> dict[str, Any]:
    return {
        "id": text(one.id),
        "id_type": _code(one.id_type),
        "type": int(one.object_type),
        "role": int(one.role),
        **_given("name", text(one.name)),
        **_given("query", one.query),
        **_given("life_cycle", int(one.life_cycle)),
        **_given("details", [[text(detail.kind), text(detail.value)] for detail in one.details]),
        **_given("accession", [text(number) for number in one.accession_numbers]),
        **_given("sop_classes", [[text(entry.sop_class_uid), entry.instances] for entry in one.sop_classes]),
    }


def _read_object(found: dict[str, Any]) -> ParticipantObject:
    return ParticipantObject(
        id=found["id"],
        id_type=_read_code(found["id_type"]),
        object_type=found["type"],
        role=found["role"],
        name=found.get("name", ""),
        query=found.get("query", ""),
        life_cycle=found.get("life_cycle", 0),
        details=tuple(Detail(*detail) for detail in found.get("details", ())),
        accession_numbers=tuple(found.get("accession", ())),
        sop_classes=tuple(SopClassCount(*entry) for entry in found.get("sop_classes", ())),
    )

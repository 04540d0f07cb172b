"""One function for each kind of event that is audited: it makes the message of PS3.15 A.5.3, `admin.audit.record` writes it.

Who did it is `core.access.current_access()`, unless `actor` says otherwise. Texts given here may name patients and people:
the audit trail is the one place for that.
"""

from __future__ import annotations

import base64
import os
import socket
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from fileroom.admin.audit_message import (
    QUERY_BYTES_MAX,
    AccessPoint,
    Action,
    ActiveParticipant,
    AuditEvent,
    Code,
    Detail,
    EventCode,
    EventType,
    IdType,
    LifeCycle,
    ObjectRole,
    ObjectType,
    Outcome,
    ParticipantObject,
    PatientReference,
    Role,
    StudyReference,
)
from fileroom.core.access import Access, ActorKind, current_access

AUDIT_LOG_URI: Final = "urn:fileroom:audit"
_ALERT: Final = "Alert Description"
_NOBODY: Final = "nobody"


# --- the application ---


def application_started(aet: str) -> AuditEvent:
    """`fileroom serve` began its work (A.5.3.1)."""
    return _application(EventType.APPLICATION_START, aet)


def application_stopped(aet: str) -> AuditEvent:
    """`fileroom serve` ends its work in order (A.5.3.1)."""
    return _application(EventType.APPLICATION_STOP, aet)


def network_entry(aet: str, *, attached: bool) -> AuditEvent:
    """Our ports are open, or closed (A.5.3.9)."""
    return AuditEvent(
        EventCode.NETWORK_ENTRY,
        Action.EXECUTE,
        current_access(),
        (this_process(aet),),
        (EventType.ATTACH if attached else EventType.DETACH,),
    )


def audit_log_used(what: str) -> AuditEvent:
    """Somebody read the audit trail (A.5.3.2). `what` is the question."""
    log = ParticipantObject(
        AUDIT_LOG_URI,
        IdType.URI,
        ObjectType.SYSTEM,
        ObjectRole.SECURITY_RESOURCE,
        name="Security Audit Log",
        details=(Detail("Question", what),) if what else (),
    )
    actor = current_access()
    participants = (_person(actor, is_requestor=True), this_process())
    return AuditEvent(EventCode.AUDIT_LOG_USED, Action.READ, actor, participants, objects=(log,))


# --- people ---


def logged_in(login: str, address: str, *, how: str = "") -> AuditEvent:
    """A person logged in (A.5.3.12). `how`: password, passkey, OpenID Connect ..."""
    return _authentication(EventType.LOGIN, login, address, Outcome.SUCCESS, how)


def login_failed(login: str, address: str, reason: str, *, locked: bool = False) -> AuditEvent:
    """A login was refused; `locked` when the account is now locked."""
    outcome = Outcome.SERIOUS_FAILURE if locked else Outcome.MINOR_FAILURE
    return _authentication(EventType.LOGIN, login, address, outcome, reason)


def logged_out(login: str, address: str, *, how: str = "") -> AuditEvent:
    """A session ended; `how` says by whom or what where it was not the person."""
    return _authentication(EventType.LOGOUT, login, address, Outcome.SUCCESS, how)


def account_changed(login: str, what: str) -> AuditEvent:
    """An account was made, changed, disabled, removed; its roles, second factors or passwords were changed."""
    return security_alert(EventType.USER_SECURITY_CHANGED, what, _user_object(login))


def role_changed(role: str, what: str) -> AuditEvent:
    """A role was made, changed or removed."""
    return security_alert(EventType.SECURITY_ROLES_CHANGED, what, _resource(f"role:{role}", role))


def token_changed(name: str, what: str) -> AuditEvent:
    """An API token was made, changed or revoked. Never give the token itself."""
    return security_alert(EventType.USER_SECURITY_CHANGED, what, _resource(f"token:{name}", name))


def settings_changed(name: str, what: str, *, security: bool = False) -> AuditEvent:
    """A setting was changed. `what` shows no secret."""
    kind = EventType.SECURITY_CONFIGURATION if security else EventType.SOFTWARE_CONFIGURATION
    return security_alert(kind, what, _resource(f"setting:{name}", name))


def break_glass_started(study_uids: Sequence[str], reason: str) -> AuditEvent:
    """Somebody opened what their row scope hides, and why."""
    return _emergency(EventType.EMERGENCY_OVERRIDE_STARTED, study_uids, reason)


def break_glass_ended(study_uids: Sequence[str], reason: str = "") -> AuditEvent:
    """It is over, or was reviewed."""
    return _emergency(EventType.EMERGENCY_OVERRIDE_STOPPED, study_uids, reason)


def refused(what: str, study_uids: Sequence[str] = (), *, actor: Access | None = None) -> AuditEvent:
    """Somebody asked for what they have no right to."""
    return security_alert(
        EventType.USE_OF_RESTRICTED_FUNCTION,
        what,
        study_uids=study_uids,
        outcome=Outcome.SERIOUS_FAILURE,
        actor=actor,
    )


# --- nodes and configuration ---


def node_changed(name: str, what: str) -> AuditEvent:
    """A node was added, changed or removed, a caller approved."""
    subject = ParticipantObject(
        name, IdType.NODE, ObjectType.SYSTEM, ObjectRole.MASTER_FILE, name=name, details=(Detail(_ALERT, what),)
    )
    return security_alert(EventType.NETWORK_CONFIGURATION, what, subject)


def security_alert(
    kind: Code,
    what: str,
    *subjects: ParticipantObject,
    study_uids: Sequence[str] = (),
    outcome: Outcome = Outcome.SUCCESS,
    actor: Access | None = None,
) -> AuditEvent:
    """Something about security was changed or happened (A.5.3.11)."""
    who = actor or current_access()
    described = tuple(
        subject if subject.details else replace(subject, details=(Detail(_ALERT, what),)) for subject in subjects
    )
    return AuditEvent(
        EventCode.SECURITY_ALERT,
        Action.EXECUTE,
        who,
        (_person(who, is_requestor=True), this_process()),
        (kind,),
        outcome,
        what,
        tuple(StudyReference(uid) for uid in study_uids),
        objects=described,
    )


# --- studies ---


def received(
    aet: str,
    sender: Access,
    studies: Sequence[StudyReference],
    *,
    refused_reason: str = "",
    what: str = "",
) -> AuditEvent:
    """Objects of these studies came in and were stored (A.5.3.7), or could not be."""
    return AuditEvent(
        EventCode.INSTANCES_TRANSFERRED,
        Action.CREATE,
        sender,
        (_peer(sender, Role.SOURCE, is_requestor=True), this_process(aet, Role.DESTINATION)),
        outcome=Outcome.MINOR_FAILURE if refused_reason else Outcome.SUCCESS,
        outcome_description=refused_reason or what,
        studies=tuple(studies),
        life_cycle=LifeCycle.CREATION,
    )


def begin_receiving(aet: str, sender: Access, studies: Sequence[StudyReference]) -> AuditEvent:
    """Objects of these studies are coming in (A.5.3.3)."""
    return AuditEvent(
        EventCode.BEGIN_TRANSFERRING,
        Action.EXECUTE,
        sender,
        (_peer(sender, Role.SOURCE, is_requestor=True), this_process(aet, Role.DESTINATION)),
        studies=tuple(studies),
        life_cycle=LifeCycle.CREATION,
    )


def begin_sending(
    aet: str, requestor: Access, destination: ActiveParticipant, studies: Sequence[StudyReference]
) -> AuditEvent:
    """Objects are about to be sent (A.5.3.3)."""
    return AuditEvent(
        EventCode.BEGIN_TRANSFERRING,
        Action.EXECUTE,
        requestor,
        _sending(aet, requestor, destination),
        studies=tuple(studies),
        life_cycle=LifeCycle.ACCESS,
    )


def sent(
    aet: str,
    requestor: Access,
    destination: ActiveParticipant,
    studies: Sequence[StudyReference],
    *,
    failure: str = "",
) -> AuditEvent:
    """Objects were sent, or could not be (A.5.3.7)."""
    return AuditEvent(
        EventCode.INSTANCES_TRANSFERRED,
        Action.READ,
        requestor,
        _sending(aet, requestor, destination),
        outcome=Outcome.MINOR_FAILURE if failure else Outcome.SUCCESS,
        outcome_description=failure,
        studies=tuple(studies),
        life_cycle=LifeCycle.ACCESS,
    )


def viewed(studies: Sequence[StudyReference], what: str, *, actor: Access | None = None) -> AuditEvent:
    """Somebody looked at images, frames or headers (A.5.3.6)."""
    return _accessed(Action.READ, studies, what, LifeCycle.ACCESS, actor)


def corrected(study_uid: str, what: str, *, actor: Access | None = None) -> AuditEvent:
    """Attributes of a study were changed, or a change was taken back (A.5.3.6)."""
    return _accessed(Action.UPDATE, [StudyReference(study_uid)], what, LifeCycle.AMENDMENT, actor)


def studies_corrected(study_uids: Sequence[str], what: str) -> AuditEvent:
    """The same for many studies at once, by a merge of their patients."""
    return _accessed(Action.UPDATE, [StudyReference(uid) for uid in study_uids], what, LifeCycle.AMENDMENT, None)


def patient_changed(patients: Sequence[tuple[str, str]], what: str, action: Action = Action.UPDATE) -> AuditEvent:
    """Patients of the RIS, by (Patient ID, name), were made, changed, merged, linked (CID 400: Patient Record)."""
    who = current_access()
    subjects = tuple(
        ParticipantObject(patient_id, IdType.PATIENT, ObjectType.PERSON, ObjectRole.PATIENT, name=name or patient_id)
        for patient_id, name in patients
    )
    return AuditEvent(
        EventCode.PATIENT_RECORD,
        action,
        who,
        (_person(who, is_requestor=True), this_process()),
        outcome_description=what,
        objects=subjects,
        patient_ids=tuple(patient_id for patient_id, _ in patients),
    )


def order_changed(
    study_uid: str, accession_number: str, patient: tuple[str, str], what: str, action: Action = Action.UPDATE
) -> AuditEvent:
    """An order of the RIS was made or changed (CID 400: Order Record). `patient`: ID and name, where known."""
    who = current_access()
    study = StudyReference(study_uid, patient=PatientReference(*patient), accession_number=accession_number)
    return AuditEvent(
        EventCode.ORDER_RECORD,
        action,
        who,
        (_person(who, is_requestor=True), this_process()),
        outcome_description=what,
        studies=(study,),
    )


def report_changed(
    study_uid: str, accession_number: str, patient: tuple[str, str], what: str, action: Action = Action.CREATE
) -> AuditEvent:
    """A report came, was written, signed, added to, corrected or cancelled (A.5.3.6): each makes something, nothing is changed.

    `patient`: ID and name, where known.
    """
    who = current_access()
    study = StudyReference(study_uid, patient=PatientReference(*patient), accession_number=accession_number)
    return AuditEvent(
        EventCode.INSTANCES_ACCESSED,
        action,
        who,
        (_person(who, is_requestor=True), this_process()),
        outcome_description=what,
        studies=(study,),
    )


def instances_deleted(study: StudyReference, what: str, *, actor: Access | None = None) -> AuditEvent:
    """Some series or instances of a study were deleted (A.5.3.6); the study stays."""
    return _accessed(Action.DELETE, [study], what, LifeCycle.ERASURE, actor)


def study_deleted(study: StudyReference, what: str = "", *, actor: Access | None = None) -> AuditEvent:
    """A study is gone (A.5.3.8). Give its patient: it cannot be looked up any more."""
    who = actor or current_access()
    return AuditEvent(
        EventCode.STUDY_DELETED,
        Action.DELETE,
        who,
        (_person(who, is_requestor=True), this_process()),
        outcome_description=what,
        studies=(study,),
        life_cycle=LifeCycle.ERASURE,
    )


def exported(studies: Sequence[StudyReference], target: str, *, actor: Access | None = None) -> AuditEvent:
    """Studies left as files (A.5.3.4). `target` is a folder, a file, or `download`."""
    who = actor or current_access()
    medium = ActiveParticipant(target, roles=(Role.DESTINATION_MEDIA,))
    return AuditEvent(
        EventCode.EXPORT,
        Action.READ,
        who,
        (_person(who, is_requestor=True, roles=(Role.SOURCE,)), this_process(role=Role.SOURCE), medium),
        studies=tuple(studies),
        life_cycle=LifeCycle.EXPORT,
    )


def imported(studies: Sequence[StudyReference], source: str, *, failure: str = "") -> AuditEvent:
    """Studies came from files (A.5.3.5), or some could not."""
    who = current_access()
    medium = ActiveParticipant(source, roles=(Role.SOURCE_MEDIA,))
    return AuditEvent(
        EventCode.IMPORT,
        Action.CREATE,
        who,
        (_person(who, is_requestor=True, roles=(Role.DESTINATION,)), this_process(role=Role.DESTINATION), medium),
        outcome=Outcome.MINOR_FAILURE if failure else Outcome.SUCCESS,
        outcome_description=failure,
        studies=tuple(studies),
        life_cycle=LifeCycle.IMPORT,
    )


def queried(
    aet: str,
    asker: Access,
    query: bytes,
    keys: str,
    *,
    sop_class_uid: str = "",
    transfer_syntax_uid: str = "",
    resource: str = "",
    patient_ids: Iterable[str] = (),
    study_uids: Iterable[str] = (),
    failure: str = "",
) -> AuditEvent:
    """Somebody searched (A.5.3.10): by C-FIND (`sop_class_uid`, and `query` is the identifier) or at a web address.

    `keys` are the same keys in words. The patients and studies that were asked for by name are found by them.
    """
    details = [Detail("Keys", keys)] if keys else []
    if transfer_syntax_uid:
        details.append(Detail("TransferSyntax", transfer_syntax_uid))
    if len(query) > QUERY_BYTES_MAX:
        details.append(Detail("Cut", f"the query had {len(query)} bytes"))
    subject = ParticipantObject(
        sop_class_uid or resource,
        IdType.SOP_CLASS_UID if sop_class_uid else IdType.URI,
        ObjectType.SYSTEM,
        ObjectRole.REPORT if sop_class_uid else ObjectRole.QUERY,
        query=base64.b64encode(query[:QUERY_BYTES_MAX]).decode("ascii"),
        details=tuple(details),
    )
    return AuditEvent(
        EventCode.QUERY,
        Action.EXECUTE,
        asker,
        (_peer(asker, Role.SOURCE, is_requestor=True), this_process(aet, Role.DESTINATION)),
        outcome=Outcome.MINOR_FAILURE if failure else Outcome.SUCCESS,
        outcome_description=failure,
        objects=(subject,),
        patient_ids=tuple(patient_ids),
        study_uids=tuple(study_uids),
    )


# --- participants ---


def this_process(aet: str = "", role: Code | None = None) -> ActiveParticipant:
    """Fileroom itself; the user ID is the number of the process, as in the system's own logs (A.5.2.1)."""
    return ActiveParticipant(
        user_id=str(os.getpid()),
        roles=(role,) if role else (),
        alternative_user_id=f"AETITLES={aet}" if aet else "",
        user_name="fileroom",
        access_point=socket.gethostname(),
        access_point_type=AccessPoint.MACHINE_NAME,
    )


def node_participant(aet: str, host: str, role: Code) -> ActiveParticipant:
    """A DICOM application elsewhere."""
    return ActiveParticipant(
        user_id=f"{aet}@{host}",
        roles=(role,),
        alternative_user_id=f"AETITLES={aet}",
        access_point=host,
        access_point_type=AccessPoint.IP_ADDRESS if _is_address(host) else AccessPoint.MACHINE_NAME,
    )


def participant_of(access: Access, role: Code) -> ActiveParticipant:
    """Whoever acts, in a role."""
    return _person(access, is_requestor=False, roles=(role,))


def _peer(access: Access, role: Code, *, is_requestor: bool) -> ActiveParticipant:
    return _person(access, is_requestor=is_requestor, roles=(role,))


def _person(access: Access, *, is_requestor: bool, roles: tuple[Code, ...] = ()) -> ActiveParticipant:
    aet = access.name.rpartition("@")[0] if access.kind is ActorKind.NODE else ""
    return ActiveParticipant(
        user_id=access.name or _NOBODY,
        is_requestor=is_requestor,
        roles=roles,
        alternative_user_id=f"AETITLES={aet}" if aet else "",
        access_point=access.address,
        access_point_type=_point_type(access.address),
    )


def _point_type(address: str) -> int:
    if not address:
        return 0
    return AccessPoint.IP_ADDRESS if _is_address(address) else AccessPoint.MACHINE_NAME


def _is_address(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdigit()


# --- messages ---


def _application(kind: Code, aet: str) -> AuditEvent:
    return AuditEvent(
        EventCode.APPLICATION_ACTIVITY,
        Action.EXECUTE,
        current_access(),
        (this_process(aet, Role.APPLICATION),),
        (kind,),
    )


def _authentication(kind: Code, login: str, address: str, outcome: Outcome, description: str) -> AuditEvent:
    who = Access(ActorKind.PERSON, login, address=address)
    at = address or socket.gethostname()
    person = ActiveParticipant(login or _NOBODY, is_requestor=True, access_point=at, access_point_type=_point_type(at))
    return AuditEvent(
        EventCode.USER_AUTHENTICATION, Action.EXECUTE, who, (person, this_process()), (kind,), outcome, description
    )


def _emergency(kind: Code, study_uids: Sequence[str], reason: str) -> AuditEvent:
    return security_alert(kind, reason, study_uids=study_uids)


def _accessed(
    action: Action, studies: Sequence[StudyReference], what: str, life_cycle: LifeCycle, actor: Access | None
) -> AuditEvent:
    who = actor or current_access()
    return AuditEvent(
        EventCode.INSTANCES_ACCESSED,
        action,
        who,
        (_person(who, is_requestor=True), this_process()),
        outcome_description=what,
        studies=tuple(studies),
        life_cycle=life_cycle,
    )


def _sending(aet: str, requestor: Access, destination: ActiveParticipant) -> tuple[ActiveParticipant, ...]:
    us = this_process(aet, Role.SOURCE)
    asked = _person(requestor, is_requestor=True)
    if asked.user_id != destination.user_id:
        return us, destination, asked
    return us, replace(destination, is_requestor=True)


def _user_object(login: str) -> ParticipantObject:
    return ParticipantObject(login, IdType.USER, ObjectType.PERSON, ObjectRole.SECURITY_USER, name=login)


def _resource(uri: str, name: str) -> ParticipantObject:
    return ParticipantObject(
        f"urn:fileroom:{uri}", IdType.URI, ObjectType.SYSTEM, ObjectRole.SECURITY_RESOURCE, name=name
    )

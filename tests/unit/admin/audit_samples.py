"""One event of every kind, with awkward texts in it."""

from __future__ import annotations

from collections.abc import Iterator

from fileroom.admin import audit_events as events
from fileroom.admin.audit_message import AuditEvent, Role, SopClassCount, StudyReference
from fileroom.core.access import Access, ActorKind

ODD = "Dörfler^Öse=德^山 <script>&\"' \x00\x1b\ud800"
CT = "1.2.840.10008.5.1.4.1.1.2"
STUDY = StudyReference("1.2.3", (SopClassCount(CT, 7), SopClassCount("", 1)))
NODE = Access(ActorKind.NODE, "CT1@10.1.2.3", address="10.1.2.3")
PERSON = Access(ActorKind.PERSON, "ada", address="fe80::1")
WORKSTATION = events.node_participant("WS", "ws.example", Role.DESTINATION)


def every_kind() -> Iterator[AuditEvent]:
    yield events.application_started("FILEROOM")
    yield events.application_stopped("FILEROOM")
    yield events.network_entry("FILEROOM", attached=True)
    yield events.audit_log_used(f"patient={ODD}")
    yield events.logged_in("ada", "10.0.0.1", how="password")
    yield events.login_failed(ODD, "", "wrong password", locked=True)
    yield events.logged_out("ada", "10.0.0.1")
    yield events.account_changed("ada", "disabled")
    yield events.role_changed("physician", "may export")
    yield events.token_changed("robot", "created")
    yield events.settings_changed("aet", "A to B", security=True)
    yield events.break_glass_started(["1.2.3"], ODD)
    yield events.break_glass_ended(["1.2.3"])
    yield events.refused("no permission study.view", ["1.2.3"], actor=PERSON)
    yield events.node_changed("CT1", "Added")
    yield events.received("FILEROOM", NODE, [STUDY])
    yield events.received("FILEROOM", NODE, [], refused_reason=ODD)
    yield events.begin_receiving("FILEROOM", NODE, [STUDY])
    yield events.begin_sending("FILEROOM", NODE, WORKSTATION, [STUDY])
    yield events.sent("FILEROOM", NODE, WORKSTATION, [STUDY], failure="no association")
    yield events.sent("FILEROOM", NODE, events.participant_of(NODE, Role.DESTINATION), [STUDY])
    yield events.viewed([STUDY], "images", actor=PERSON)
    yield events.corrected("1.2.3", ODD, actor=PERSON)
    yield events.studies_corrected(["1.2.3", "9.9"], ODD)
    yield events.patient_changed([("P-7", ODD), ("P-8", "")], "Merged, by feed:ris")
    yield events.order_changed("1.2.3", "A1", ("P-7", "DOE^JANE"), "Made the order")
    yield events.instances_deleted(STUDY, "series 1", actor=PERSON)
    yield events.study_deleted(STUDY, actor=PERSON)
    yield events.exported([STUDY], "/media/cd", actor=PERSON)
    yield events.imported([STUDY], "/media/cd")
    yield events.queried("FILEROOM", NODE, b"\x08\x00" * 9000, ODD, sop_class_uid="1.2", transfer_syntax_uid="1.3")
    yield events.queried("FILEROOM", PERSON, b"", "", resource="/dicom-web/studies", patient_ids=[ODD])

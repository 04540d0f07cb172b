"""Events as plain sentences: who did what to whom, in English and in German, whatever stands in the texts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fileroom.admin import audit_events as events
from fileroom.admin.audit import record_alone
from fileroom.admin.audit_csv import csv_head, to_csv_line
from fileroom.admin.audit_message import Action, AuditEvent, Role, StudyReference
from fileroom.admin.audit_names import names_for
from fileroom.admin.audit_search import AuditQuery, AuditRecord, search
from fileroom.admin.audit_sentences import sentence_of
from fileroom.archive.services import Archive
from fileroom.core.access import NOBODY, SYSTEM, Access, ActorKind, acting_as
from fileroom.core.errors import NotAllowedError
from fileroom.web.console.language import catalogue_of
from stored_objects import make_file, store_file
from unit.admin.audit_samples import NODE, PERSON, every_kind

KIM = Access(ActorKind.PERSON, "kim", address="10.0.0.7")
LOCAL = Access(ActorKind.SYSTEM, "local")
STUDY = StudyReference("1.2.3.1")
WORKSTATION = events.node_participant("WS", "ws.example", Role.DESTINATION)


async def written(archive: Archive, event: AuditEvent) -> AuditRecord:
    """The event as it is read again."""
    await record_alone(archive.pool, event)
    return (await search(archive.pool, AuditQuery(limit=2))).records[1]


@pytest.mark.parametrize(
    ("event", "sentence"),
    [
        (events.viewed([STUDY], "images", actor=KIM), "Dr Kim viewed CT chest of patient 4711 (images)"),
        (events.corrected("1.2.3.1", "wrong side", actor=KIM), "Dr Kim corrected CT chest of patient 4711: wrong side"),
        (events.exported([STUDY], "ZIP file", actor=PERSON), "ada exported CT chest of patient 4711: ZIP file"),
        (events.received("FILEROOM", NODE, [STUDY]), "CT1 sent CT chest of patient 4711 to Fileroom"),
        (events.sent("FILEROOM", KIM, WORKSTATION, [STUDY]),
         "CT chest of patient 4711 went to WS@ws.example, asked for by Dr Kim"),
        (events.sent("FILEROOM", KIM, WORKSTATION, [STUDY], failure="it is full"),
         "CT chest of patient 4711 could not be sent to WS@ws.example, asked for by Dr Kim: it is full"),
        (events.logged_in("kim", "10.0.0.7"), "Dr Kim logged in"),
        (events.login_failed("kim", "10.0.0.7", "wrong password"), "Somebody could not log in as Dr Kim: wrong password"),
        (events.audit_log_used("patient=4711"), "A command on the server read the audit trail: patient=4711"),
        (events.node_changed("CT1", "Added"), "Fileroom changed the node CT1: Added"),
        (events.patient_changed([("4711", "")], "Changed the name"),
         "Fileroom changed the record of patient 4711: Changed the name"),
        (events.patient_changed([("4711", ""), ("4712", "")], "Merged"),
         "Fileroom changed the record of 2 patients: Merged"),
        (events.refused("no permission", actor=KIM), "Dr Kim was not permitted: no permission"),
        (events.queried("FILEROOM", NODE, b"", "PatientID=4711", resource="/"), "CT1 searched: PatientID=4711"),
        (events.viewed([STUDY, StudyReference("9.9")], "images", actor=LOCAL),
         None),
    ],
)  # fmt: skip
async def test_an_event_is_a_sentence(archive: Archive, event: AuditEvent, sentence: str | None) -> None:
    await store_file(archive, make_file(PatientID="4711", StudyDescription="CT chest"))
    async with archive.pool.connection() as connection:
        await connection.execute(
            "INSERT INTO account (login, full_name, role, created_at) VALUES ('kim', 'Dr Kim', 'radiologist', now())"
        )
    record = await written(archive, event)
    said = str(sentence_of(record, await names_for(archive.pool, [record])))
    if sentence is None:
        assert said.startswith("Somebody on the server viewed ")
    else:
        assert said == sentence


async def test_objects_that_are_sent_once_more_did_not_go_out(archive: Archive) -> None:
    record = await written(archive, replace(events.received("FILEROOM", NODE, [STUDY]), action=Action.READ))
    assert str(sentence_of(record)) == "CT1 sent a study once more; Fileroom has it already"


@pytest.mark.parametrize("language", ["en", "de"])
async def test_every_kind_of_event_has_a_sentence_in_every_language(archive: Archive, language: str) -> None:
    await record_alone(archive.pool, *every_kind())
    page = await search(archive.pool, AuditQuery(limit=100))
    names = await names_for(archive.pool, page.records)
    for one in page.records:
        said = sentence_of(one, names).say(catalogue_of(language).gettext)
        assert said
        assert "no words for" not in said, one
        assert "keine Worte" not in said, one


async def test_names_are_for_those_who_may_read_the_trail(archive: Archive) -> None:
    with acting_as(NOBODY), pytest.raises(NotAllowedError):
        await names_for(archive.pool, [])


async def test_a_spreadsheet_takes_no_cell_for_a_formula(archive: Archive) -> None:
    with acting_as(SYSTEM):
        record = await written(archive, events.login_failed("=1+cmd|' /C calc'!A0", "10.0.0.1", "-1"))
    line = to_csv_line(record).decode()
    assert ",\"'=1+cmd|' /C calc'!A0\"," in line or ",'=1+cmd|' /C calc'!A0," in line
    assert csv_head().decode("utf-8-sig").count(",") == line.count(",")

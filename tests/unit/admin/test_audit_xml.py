"""Messages as PS3.15 A.5 wants them, from the database's rows on."""

from __future__ import annotations

import base64
from collections import Counter
from xml.etree.ElementTree import Element

import orjson
import pytest

from audit_schema import check
from fileroom.admin import audit_events as events
from fileroom.admin.audit import record_alone
from fileroom.admin.audit_message import AuditEvent, Code, EventCode, Message, from_json, text, to_json
from fileroom.admin.audit_search import AuditQuery, AuditRecord, search
from fileroom.admin.audit_xml import AuditSource, to_json_line, to_xml
from fileroom.archive.services import Archive
from unit.admin.audit_samples import NODE, ODD, every_kind

SOURCE = AuditSource("FILEROOM", "North Wing")


async def written(archive: Archive, *noted: AuditEvent) -> list[AuditRecord]:
    """The records of events, in their order."""
    await record_alone(archive.pool, *noted)
    page = await search(archive.pool, AuditQuery(limit=1000))
    records = [one for one in page.records if "Question" not in str(one.message) or len(noted) > 20]
    return sorted(records, key=lambda one: one.id)


async def test_every_kind_of_event_follows_the_schema(archive: Archive) -> None:
    kinds = list(every_kind())
    records = await written(archive, *kinds)
    assert len(records) >= len(kinds)
    seen = Counter(check(to_xml(one, SOURCE)).find("EventIdentification/EventID").attrib["csd-code"] for one in records)
    codes = {code.value for code in vars(EventCode).values() if isinstance(code, Code)}
    assert seen.keys() == codes


async def test_roles_and_objects_of_a_transfer(archive: Archive) -> None:
    (record,) = await written(archive, [e for e in every_kind() if e.event is EventCode.BEGIN_TRANSFERRING][-1])
    root = check(to_xml(record, SOURCE))
    roles = {p.attrib["UserID"]: [r.attrib["csd-code"] for r in p] for p in root.iter("ActiveParticipant")}
    assert roles["WS@ws.example"] == ["110152"]
    assert ["110153"] in roles.values()
    assert roles["CT1@10.1.2.3"] == []
    types = [one[0].attrib["csd-code"] for one in root.iter("ParticipantObjectIdentification")]
    assert types == ["110180", "2"]


async def test_a_retrieval_of_the_requestor_itself_names_it_once(archive: Archive) -> None:
    kinds = [e for e in every_kind() if e.event is EventCode.INSTANCES_TRANSFERRED and e.action == "R"]
    (record,) = await written(archive, kinds[-1])
    people = list(check(to_xml(record, SOURCE)).iter("ActiveParticipant"))
    assert [(p.attrib["UserID"], p.attrib["UserIsRequestor"]) for p in people][1:] == [("CT1@10.1.2.3", "true")]


async def test_a_query_keeps_its_identifier_and_says_where_it_was_cut(archive: Archive) -> None:
    event = events.queried(
        "FILEROOM", NODE, b"\x10" * 10_000, "PATIENT: x", sop_class_uid="1.2", transfer_syntax_uid="1.3"
    )
    (record,) = await written(archive, event)
    subject = check(to_xml(record, SOURCE)).find("ParticipantObjectIdentification")
    assert subject is not None
    assert base64.b64decode(subject.findtext("ParticipantObjectQuery", "")) == b"\x10" * 8192
    assert details(subject) == {"Keys": "PATIENT: x", "TransferSyntax": "1.3", "Cut": "the query had 10000 bytes"}


async def test_json_lines_hold_what_the_record_holds(archive: Archive) -> None:
    for one in await written(archive, *every_kind()):
        line = to_json_line(one)
        assert b"\n" not in line
        assert from_json(orjson.loads(line)["message"]) == one.message


@pytest.mark.parametrize("value", [ODD, "\x00", "\ufffe", "\U0001fffe", "\x7f\x85", "x" * 5000])
def test_text_is_what_database_and_xml_take(value: str) -> None:
    clean = text(value)
    clean.encode()
    assert len(clean) <= 1024
    assert not any(ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0 for character in clean)
    assert text(clean) == clean


def test_messages_survive_their_form_in_the_database() -> None:
    for event in every_kind():
        message = Message(event.event, event.participants, event.types, "", event.objects)
        clean = from_json(to_json(message))
        assert from_json(to_json(clean)) == clean


def details(subject: Element) -> dict[str, str]:
    found = subject.iter("ParticipantObjectDetail")
    return {one.attrib["type"]: base64.b64decode(one.attrib["value"]).decode() for one in found}

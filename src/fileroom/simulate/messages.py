"""What the simulated RIS says: ADT and OMI of HL7 v2.5.1, as a RIS of IHE Scheduled Workflow (SWF.b) writes them; and ORU for
what its radiologist has dictated."""

from __future__ import annotations

import base64
import datetime as dt
from typing import Final

from fileroom.hl7.build import MessageBuilder, Value, hl7_time
from fileroom.simulate.plan import AUTHORITY, Person, Story
from fileroom.simulate.reader import Dictation, Said, document

SENDER: Final = ("SIMRIS", "SIMULATED")


def register(story: Story, person: Person, now: dt.datetime, control_id: str) -> bytes:
    """A04: an outpatient is there."""
    return _patient_message("ADT^A04^ADT_A01", story, person, now, control_id)


def rename(story: Story, now: dt.datetime, control_id: str) -> bytes:
    """A08: the name is another one."""
    person = Person(story.person.patient_id, story.new_name, story.person.birth_date, story.person.sex)
    return _patient_message("ADT^A08^ADT_A01", story, person, now, control_id)


def merge(story: Story, now: dt.datetime, control_id: str) -> bytes:
    """A40: the second record becomes part of the first."""
    builder = _begin("ADT^A40^ADT_A39", now, control_id).segment("EVN", {2: hl7_time(now)})
    _patient(builder, story.person)
    builder.segment("MRG", {1: _identifier(story.second or story.known_as)})
    return builder.build()


def unmerge(story: Story, now: dt.datetime, control_id: str) -> bytes:
    """A37: the two records are two again."""
    builder = _begin("ADT^A37^ADT_A37", now, control_id).segment("EVN", {2: hl7_time(now)})
    for person in (story.person, story.second or story.person):
        _patient(builder, person)
    return builder.build()


def order(story: Story, start: dt.datetime, now: dt.datetime, control_id: str, control: str = "NW") -> bytes:
    """OMI^O23: NW a new order, XO the order changed, CA the order cancelled."""
    builder = _begin("OMI^O23^OMI_O23", now, control_id)
    _patient(builder, story.known_as)
    _visit(builder, story, story.known_as)
    step, physician = story.procedure, _physician(story)
    placer = (story.placer, SENDER[0])
    builder.segment("ORC", {1: control, 2: placer, 5: "CA" if control == "CA" else "SC", 12: physician})
    builder.segment("TQ1", {1: "1", 7: hl7_time(start), 9: "R"})
    builder.segment(
        "OBR", {1: "1", 2: placer, 4: (step.code, step.meaning, "SIMCODES"), 16: physician, 31: ("", "Follow-up")}
    )
    builder.segment(
        "IPC",
        {
            1: story.accession,
            2: f"{story.placer}R",
            3: story.study_uid,
            4: f"{story.placer}S",
            5: step.modality,
            6: (step.code, step.meaning, "SIMCODES"),
            9: step.station_aet,
        },
    )
    return builder.build()


def report(story: Story, dictation: Dictation, said: Said, now: dt.datetime, control_id: str) -> bytes:
    """ORU^R01: one state of a report, its text line by line in OBX, or a PDF in one (v2.5.1 7.3.1)."""
    builder = _begin("ORU^R01^ORU_R01", now, control_id)
    _patient(builder, story.person)
    placer, filler = (story.placer, SENDER[0]), (dictation.number, "SIMDICT")
    step, at = story.procedure, hl7_time(now)
    author = _person_value(dictation.author)
    builder.segment("ORC", {1: "RE", 2: placer, 3: filler})
    builder.segment(
        "OBR",
        {
            1: "1",
            2: placer,
            3: filler,
            4: (step.code, step.meaning, "SIMCODES"),
            7: at,
            18: story.accession,
            22: at,
            25: said.state,
            32: (tuple("" if part is None else part for part in author),),
        },
    )
    code = ("18748-4", "Diagnostic imaging report", "LN")
    if said.is_document:
        data = base64.b64encode(document(said.text)).decode("ascii")
        builder.segment("OBX", {1: "1", 2: "ED", 3: code, 5: ("", "AP", "PDF", "Base64", data), 11: said.state, 14: at})
    else:
        builder.segment("OBX", {1: "1", 2: "TX", 3: code, 5: said.text, 11: said.state, 14: at})
    return builder.build()


def _patient_message(kind: str, story: Story, person: Person, now: dt.datetime, control_id: str) -> bytes:
    builder = _begin(kind, now, control_id).segment("EVN", {2: hl7_time(now)})
    _patient(builder, person)
    _visit(builder, story, person)
    return builder.build()


def _begin(kind: str, now: dt.datetime, control_id: str) -> MessageBuilder:
    return MessageBuilder().header(
        kind, control_id=control_id, now=now, sender=SENDER, receiver=("FILEROOM", "FILEROOM")
    )


def _patient(builder: MessageBuilder, person: Person) -> None:
    builder.segment(
        "PID",
        {1: "1", 3: _identifier(person), 5: tuple(person.name.split("^")), 7: person.birth_date, 8: person.sex},
    )


def _visit(builder: MessageBuilder, story: Story, person: Person) -> None:
    builder.segment(
        "PV1", {1: "1", 2: "O", 3: ("RAD",), 8: _physician(story), 19: (f"V{person.patient_id}", None, None, SENDER[0])}
    )


def _identifier(person: Person) -> Value:
    return (person.patient_id, None, None, AUTHORITY, "MR")


def _physician(story: Story) -> Value:
    return _person_value(story.physician)


def _person_value(name: str) -> tuple[str | None, ...]:
    """XCN of a PN."""
    family, given, _, title = (name.split("^") + [""] * 4)[:4]
    return (f"D{len(family)}", family, given, None, None, title)

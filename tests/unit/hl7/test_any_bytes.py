"""Whatever comes: a message or an Hl7Error, and an answer to it in any case; never another error, never a lost byte."""

from __future__ import annotations

import datetime as dt

from hypothesis import example, given
from hypothesis import strategies as st

from fileroom.core.errors import Hl7Error
from fileroom.hl7.acknowledge import acknowledge, read_answer, wants_accept, wants_application
from fileroom.hl7.batch import split_messages
from fileroom.hl7.build import MessageBuilder
from fileroom.hl7.message import parse_message
from fileroom.hl7.values import Unreadable, coded, dicom_datetime, identifiers, other_names, person_name, staff_name

NOW = dt.datetime(2026, 1, 2, 3, 4, 5)
piece = st.binary(max_size=6) | st.sampled_from(
    [
        b"MSH|^~\\&|",
        b"\rPID|",
        b"\rMSH",
        b"\nOBX|",
        b"|",
        b"^",
        b"~",
        b"\\",
        b"&",
        b"\\X",
        b"\\M",
        b"\\.sp",
        b"\x1b$B",
        b"\x1b(B",
    ]
    + [
        b"\x81",
        b"8859/1",
        b"Shift_JIS",
        b"GB 18030",
        b"UTF-16",
        b"~ISO IR87",
        b"\xff\xfe",
        b"\x00",
        b'""',
        b"|" * 12,
        b"A08",
    ]
)
anything = st.lists(piece, max_size=30).map(b"".join)
message = st.tuples(st.sampled_from([b"MSH|^~\\&|", b"MSH", b"\xff\xfeM\x00S\x00H\x00", b"\nMSH#"]), anything).map(
    b"".join
)


@given(anything | message)
@example(b"MSH|^~\\&|||||||||||||||Shift_JIS\rPID|\x81")
@example(b"MSH|")
def test_any_bytes_are_a_message_or_told(raw) -> None:
    for assumed in ("", "8859/2", "Shift_JIS"):
        try:
            found = parse_message(raw, assumed_charset=assumed)
        except Hl7Error:
            return
        assert found.raw == raw
        assert isinstance(found.text + found.kind + found.control_id + found.version + found.charset, str)
        assert all(isinstance(warning, str) for warning in found.warnings)
        for segment in found.segments:
            for number in range(1, min(segment.field_count, 20) + 1):
                field = segment.field(number)
                assert isinstance(person_name(field) + staff_name(field) + "".join(other_names(field)), str)
                assert isinstance(dicom_datetime(field.text), str | Unreadable)
                identifiers(field)
                for place, one in enumerate(field.repetitions, start=1):
                    coded(one)
                    assert segment.value(number, place, 2, 1) == one.component(2)
        wants_accept(found, is_good=True), wants_application(found, is_good=False)
        builder = MessageBuilder(separators=found.separators, replaces=True)
        for segment in found.segments:
            if segment.name.isascii():
                builder.copy(segment)
        parse_message(builder.build())


@given(anything | message, st.sampled_from(["AA", "AE", "AR"]), st.text(max_size=20))
def test_any_bytes_are_answered(raw, code, reason) -> None:
    answer = acknowledge(raw, code, reason=reason, errors=[("PID-3", "101", reason)], now=NOW, control_id="1")
    assert read_answer(answer).code == code


@given(anything | message)
def test_no_byte_is_lost_when_messages_are_parted(raw) -> None:
    batch = split_messages(raw)
    place = 0
    for one in batch.messages:
        place = raw.index(one, place) + len(one)
    if not batch.is_batch:
        assert b"".join(batch.messages).strip() in raw


@given(message, st.sampled_from(["PID-3", "PID-5[2].3.2", "ZZZ-2", "MSH-7", "OBX(2)-5"]), st.text(max_size=5))
def test_any_message_can_be_changed_or_says_why_not(raw, path, value) -> None:
    try:
        changed = parse_message(raw).with_value(path, value)
    except Hl7Error:
        return
    assert changed.raw != raw or not value.strip() or changed.get(path) is not None

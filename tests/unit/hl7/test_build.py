"""Messages of ours, read back by ourselves and by python-hl7; values changed in messages of others."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

import hl7
from fileroom.core.errors import Hl7Error
from fileroom.hl7.build import NULL, MessageBuilder, field_value, hl7_time
from fileroom.hl7.message import parse_message
from fileroom.hl7.separators import Separators
from unit.hl7.samples import HEAD, ORM, adt

NOW = dt.datetime(2026, 1, 2, 3, 4, 5)
ODD = Separators(b"#", b"*", b"~", b"/", b"&")


def test_a_message_of_ours() -> None:
    raw = (
        MessageBuilder(charset="8859/1")
        .header(
            "ADT^A40^ADT_A39", control_id="77", now=NOW, sender=("FILEROOM", "H"), receiver=("RIS", "H"), accept="AL"
        )
        .segment("PID", {3: [("1", None, None, ("H", "1.2"), "MR"), "2"], 5: ("Mü|ler", "A\nB"), 8: NULL, 9: ""})
        .segment("ZZZ", {})
        .build()
    )
    assert raw == (
        b"MSH|^~\\&|FILEROOM|H|RIS|H|20260102030405||ADT^A40^ADT_A39|77|P|2.5.1|||AL|||8859/1\r"
        b'PID|||1^^^H&1.2^MR~2||M\xfc\\F\\ler^A\\.br\\B|||""\r'
        b"ZZZ\r"
    )
    assert hl7_time(NOW.replace(tzinfo=dt.timezone(dt.timedelta(hours=-1)))) == "20260102030405-0100"


def test_a_letter_that_the_character_set_lacks_is_told_or_replaced() -> None:
    with pytest.raises(Hl7Error, match="PID-5 has 'Ł', which 8859/1 does not; send UNICODE UTF-8"):
        MessageBuilder(charset="8859/1").segment("PID", {5: "üŁ"})
    assert MessageBuilder(charset="8859/1", replaces=True).segment("PID", {5: "üŁ"}).build() == b"PID|||||\xfc?\r"
    with pytest.raises(Hl7Error, match="KLINGON is no character set"):
        MessageBuilder(charset="KLINGON")
    assert MessageBuilder(charset="8859/1").segment("PID", {5: "ü"}).build() == b"PID|||||\xfc\r"


def test_a_segment_is_copied_into_other_separators() -> None:
    order = parse_message(ORM)
    builder = MessageBuilder(separators=ODD)
    for segment in order.segments:
        builder.copy(segment)
    copied = parse_message(builder.build(), assumed_charset="UNICODE UTF-8").with_value("MSH-18", "UNICODE UTF-8")
    assert b"|" not in copied.raw
    for path in ("MSH-9.2", "PID-3[2].4", "PID-3.4.2", "PID-5.2", "OBR-4.2", "OBR-13", "ZXY-2.2.2", "ZXY-3"):
        assert copied.get(path) == order.get(path)


text = st.text(
    st.characters(min_codepoint=32, blacklist_categories=("Cs", "Cc")) | st.sampled_from("|^~\\&#"), max_size=15
)
component = text | st.lists(text, min_size=1, max_size=3).map(tuple)
repetition = st.lists(component, min_size=1, max_size=4).map(tuple)
fields = st.dictionaries(st.integers(1, 8), st.lists(repetition, min_size=1, max_size=3), max_size=5)
separators = st.sampled_from([Separators(), ODD, Separators(b"|", b"^", b"~", b"\\", b"&", b"#")])


def written(value) -> list:
    """What is left of a value: empty ends say nothing, and a text alone is a component."""
    found = []
    for one in value:
        components = [list(part) if isinstance(part, tuple) else [part] for part in one]
        for part in components:
            while len(part) > 1 and not part[-1]:
                part.pop()
        while len(components) > 1 and components[-1] == [""]:
            components.pop()
        found.append(components)
    while len(found) > 1 and found[-1] == [[""]]:
        found.pop()
    return found


@given(fields, separators, st.sampled_from(["UNICODE UTF-8", "GB 18030-2000", "UNICODE UTF-16"]))
def test_what_is_built_is_read(values, signs, charset) -> None:
    values = {number: value for number, value in values.items() if '""' not in str(value)}
    builder = MessageBuilder(charset=charset, separators=signs).segment("MSH", {18: charset})
    found = parse_message(builder.segment("ZZZ", values).build())
    segment = found.first("ZZZ")
    for number, value in values.items():
        read = [
            [
                [one.sub(c, s) for s in range(1, len(one.subcomponents(c)) + 1)]
                for c in range(1, len(one.components) + 1)
            ]
            for one in segment.field(number).repetitions
        ]
        while len(read) > 1 and read[-1] == [[""]]:
            read.pop()
        assert read == written(value)
        assert parse_message(
            MessageBuilder(charset=charset, separators=signs)
            .segment("MSH", {18: charset})
            .segment("ZZZ", {1: field_value(segment.field(number))})
            .build()
        ).whole("ZZZ-1") == found.whole(f"ZZZ-{number}")


@given(fields)
def test_what_is_built_is_read_alike_by_python_hl7(values) -> None:
    values = {number: value for number, value in values.items() if '""' not in str(value)}
    raw = MessageBuilder().segment("MSH", {18: "UNICODE UTF-8"}).segment("ZZZ", {**values, 9: "end"}).build()
    theirs, ours = hl7.parse(raw), parse_message(raw)
    for number, value in values.items():
        for r, one in enumerate(written(value), start=1):
            for c, parts in enumerate(one, start=1):
                for s, expected in enumerate(parts, start=1):
                    assert ours.get(f"ZZZ-{number}[{r}].{c}.{s}") == expected
                    assert theirs.extract_field("ZZZ", 1, number, r, c, s) == expected


tokens = st.sampled_from(["|", "^", "~", "&", "a", "b c", "\\F\\", "\\T\\", "é", "\rZZZ|", "\rZZA|", '"'])


@given(st.lists(tokens, max_size=40).map("".join))
def test_any_message_is_parted_as_python_hl7_parts_it(body) -> None:
    text = HEAD.decode() + "||||||UNICODE UTF-8\rPID|" + body + "\r"
    theirs, ours = hl7.parse(text), parse_message(text.encode())
    assert [str(segment[0]) for segment in theirs] == [segment.name for segment in ours.segments]
    for their, our in zip(theirs, ours.segments, strict=True):
        assert [str(one).encode() for one in their[1:]] == [our.field(n).raw for n in range(1, len(their))]
        assert str(their).encode() == our.raw
    assert str(theirs).encode() == ours.raw


# --- values changed in messages of others ---


def test_one_value_is_changed_and_no_other_byte() -> None:
    order = parse_message(ORM)
    assert order.with_value("PID-5.2", "Karl|Heinz ä").raw == ORM.replace(
        b"M\xfcller^Hans J\xfcrgen^", b"M\xfcller^Karl\\F\\Heinz \xe4^"
    )
    assert order.with_value("PID-3[2].4", "X").raw == ORM.replace(b"K7781^^^KV^SS", b"K7781^^^X^SS")
    assert order.with_value("PID-3.4.2", "9").raw == ORM.replace(b"&1.2.276.0.76.3.1.1&ISO", b"&9&ISO")
    assert order.with_value("MSH-10", "5000").control_id == "5000"
    assert order.with_value("ZXY-9.2.2", "x").raw == ORM.replace(b"|\xe4\r", b"|\xe4||||||^&x\r")
    assert order.with_value("PID-3[4]", "n").raw == ORM.replace(b"^KV^SS||", b"^KV^SS~~n||")
    assert order.with_value("NTE-3", "new").raw == ORM + b"NTE|||new\r"
    assert order.with_value("PID-5", '""').said("PID-5") == ""
    assert order.raw == ORM


@pytest.mark.parametrize("line_end", [b"\r", b"\n", b"\r\n"])
def test_a_new_segment_ends_as_the_others_do(line_end) -> None:
    raw = b"\n" + adt(b"PID|1||5", b"OBX|1|TX|||a\rb", line_end=line_end)
    assert parse_message(raw).with_value("ZZZ-1", "x").raw == raw + b"ZZZ|x" + line_end
    assert parse_message(raw.rstrip()).with_value("ZZZ-1", "x").get("ZZZ-1") == "x"


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("PID", "x", "name a field"),
        ("MSH-2", "x", "cannot be changed alone"),
        ("OBX(3)-5", "x", "the message has 0 segments of that name"),
        ("PID-5", "Ł", "written in 8859/1, which has no 'Ł'"),
        ("nonsense", "x", "no place in a message"),
    ],
)
def test_changes_that_cannot_be_are_told(path, value, words) -> None:
    with pytest.raises(Hl7Error, match=words):
        parse_message(ORM).with_value(path, value)


places = st.sampled_from(["PID-5.2", "PID-3[2].4.2", "PID-30", "ZZZ-4.2", "OBR-4.2", "MSH-6", "OBX(2)-5[3]"])
bodies = st.lists(
    st.sampled_from(["|", "^", "~", "&", "é", "山", "x\\F\\y", "\rOBR|", "\rOBX|", "\n"]), max_size=30
).map("".join)
charsets = st.sampled_from(
    [("UNICODE UTF-8", "utf-8"), ("Shift_JIS", "shift_jis"), ("GB 18030-2000", "gb18030"), ("UTF-16", "utf-16")]
)


@given(bodies, places, text, charsets)
def test_a_change_is_read_back_and_all_else_stays(body, path, value, charset) -> None:
    said, codec = charset
    value = value.encode(codec, "ignore").decode(codec)
    raw = f"{HEAD.decode()}||||||{said}\rPID|1||{body}\rOBX|1\rOBX|2|a\r".encode(codec, "replace")
    before = parse_message(raw)
    after = before.with_value(path, value)
    assert after.get(path) == ("" if value == '""' else value)
    changed = path.split("-")[0].split("(")[0]
    for one, other in zip(before.segments, after.segments, strict=False):
        if one.name != changed:
            assert one.raw == other.raw
    assert after.with_value(path, value).raw == after.raw

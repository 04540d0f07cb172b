"""Reading messages: what stands where, whatever its sender did to separators, line ends, character sets and escapes."""

from __future__ import annotations

import time

import pytest

from fileroom.core.errors import Hl7Error, InvalidRequestError
from fileroom.hl7.message import parse_message
from fileroom.hl7.scan import SEGMENTS_MAX
from fileroom.hl7.segment import FIELDS_MAX
from unit.hl7.samples import HEAD, ORM, adt


def test_an_order_by_its_places() -> None:
    order = parse_message(ORM)
    assert (order.kind, order.control_id, order.version, order.charset) == ("ORM^O01", "4711", "2.5.1", "8859/1")
    assert order.raw == ORM
    assert order.warnings == ()
    assert [segment.name for segment in order.segments] == ["MSH", "PID", "PV1", "ORC", "OBR", "ZDS", "ZXY"]
    assert order.get("MSH-1") == "|"
    assert order.get("MSH-2") == "^~\\&"
    assert order.get("MSH-3") == "RIS"
    assert order.get("PID-3") == order.get("PID-3.1") == order.get("PID-3[1].1.1") == "10006579"
    assert order.get("PID-3.4") == "STJOHN"
    assert order.get("PID-3.4.2") == "1.2.276.0.76.3.1.1"
    assert order.get("PID-3[2].4") == "KV"
    assert order.get("PID-5") == "Müller"
    assert order.get("PID-5.2") == "Hans Jürgen"
    assert order.get("OBR-4.2") == "CT Abdomen & Becken"
    assert order.get("OBR-13") == "V.a. Divertikulitis\nCRP 120"
    assert order.get("ZXY-2[2]") == "d"
    assert order.get("ZXY-3") == "ä"
    for absent in ("PID-99", "PID-3[9].1", "PID-3.9", "PID-3.1.9", "PID(2)-3", "XXX-1"):
        assert order.get(absent) == ""
        assert order.said(absent) is None


def test_fields_repetitions_and_components_one_by_one() -> None:
    identifiers = parse_message(ORM).first("PID").field(3)
    assert [one.component(1) for one in identifiers.repetitions] == ["10006579", "K7781"]
    assert identifiers.sub(4, 2) == "1.2.276.0.76.3.1.1"
    assert identifiers.repetitions[0].whole(4) == "STJOHN&1.2.276.0.76.3.1.1&ISO"
    assert parse_message(ORM).first("PID").get("3[2].4") == "KV"
    assert len(parse_message(ORM).first("PID").field(77).repetitions) == 1


def test_absent_empty_and_taken_away_are_three_things() -> None:
    found = parse_message(adt(b'PID|1||""|""^x|||a""'))
    assert found.said("PID-2") is None
    assert found.said("PID-3") == ""
    assert found.first("PID").field(3).is_null
    assert found.said("PID-4") == ""
    assert not found.first("PID").field(4).is_null
    assert found.get("PID-3") == ""
    assert found.get("PID-7") == 'a""'


def test_free_text_of_senders_who_escape_nothing() -> None:
    found = parse_message(adt(b"OBX|1|ST|||head & neck ^ thorax|C:\\temp\\scan\\F|"))
    assert found.get("OBX-5") == "head "
    assert found.whole("OBX-5.1") == "head & neck "
    assert found.whole("OBX-5") == "head & neck ^ thorax"
    assert found.get("OBX-6") == "C:\\temp\\scan\\F"


@pytest.mark.parametrize("line_end", [b"\r", b"\n", b"\r\n", b"\r\r", b"\n\r\n"])
def test_line_ends(line_end) -> None:
    raw = b"\r\n \n" + adt(b"PID|1||5", b"PV1|1|I", line_end=line_end)
    found = parse_message(raw)
    assert [segment.name for segment in found.segments] == ["MSH", "PID", "PV1"]
    assert found.get("PID-3") == "5"
    assert found.raw == raw
    assert bool(found.warnings) is (line_end.strip(b"\r") != b"")


def test_line_ends_within_a_text_stay_in_it() -> None:
    found = parse_message(adt(b"OBX|1|TX|||first\nsecond\r\rthird line|F||X", b"NTE|1"))
    assert found.get("OBX-5") == "first\nsecond\r\rthird line"
    assert found.get("OBX-8") == "X"
    assert found.get("NTE-1") == "1"
    assert any("OBX" in warning for warning in found.warnings)


@pytest.mark.parametrize(
    ("header", "component"),
    [
        (b"MSH|^~\\&|", b"^"),
        (b"MSH|^~\\&#|", b"^"),
        (b"MSH#*~\\&#", b"*"),
        (b"MSH||", b"^"),
        (b"MSH|^~&|", b"^"),
        (b"MSH|^~\\\\&|", b"^"),
        (b"MSH|^|", b"^"),
        (b"MSH|^^^^|", b"^"),
        (b"MSH|A~\\&|", b"^"),
        (b"MSH^~|\\&^", b"~"),
    ],
)
def test_separators_as_given_or_as_meant(header, component) -> None:
    sign = header[3:4]
    found = parse_message(header + b"RIS" + sign + b"\rPID" + sign + sign + b"a" + component + b"b\\T\\c")
    assert found.get("MSH-3") == "RIS"
    assert (found.get("PID-2"), found.get("PID-2.2")) == ("a", "b&c")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\r\n",
        b"MSH",
        b"MSH\r",
        b"MSHA^",
        b"MSH ^~\\&",
        b"PID|1||5",
        b"\x00\x01\x02",
        b"FHS|^~\\&|\rBHS|",
        b"{}",
    ],
)
def test_what_is_no_message_is_told(raw) -> None:
    with pytest.raises(Hl7Error) as caught:
        parse_message(raw)
    assert isinstance(caught.value, InvalidRequestError)
    assert len(str(caught.value)) > 30


def test_what_stands_before_the_header_is_left_out_and_told() -> None:
    found = parse_message(b"FROM: ris\r\xef\xbb\xbfMSH|^~\\&|RIS|\rPID|1")
    assert found.get("MSH-3") == "RIS"
    assert any("before MSH" in warning for warning in found.warnings)
    assert parse_message(b"\xef\xbb\xbf" + ORM).kind == "ORM^O01"


@pytest.mark.parametrize(
    ("said", "codec", "text"),
    [
        ("", "ascii", "Mueller"),
        ("ASCII", "ascii", "Mueller"),
        ("8859/1", "latin-1", "Müller"),
        ("8859/2", "iso8859-2", "Łódź"),
        ("8859/5", "iso8859-5", "Люкceмбypг"),
        ("8859/7", "iso8859-7", "Διονυσιος"),
        ("8859/8", "iso8859-8", "שרון"),
        ("8859/15", "iso8859-15", "Œuvre €"),
        ("UNICODE UTF-8", "utf-8", "Łukasz 山田"),
        ("UTF-8", "utf-8", "Łukasz"),
        ("unicode", "utf-8", "Łukasz"),
        ("ISO_IR 100", "latin-1", "Müller"),
        ("ISO 8859-1", "latin-1", "Müller"),
        ("WINDOWS-1252", "cp1252", "„Müller“"),
        ("GB 18030-2000", "gb18030", "王丂亅小东㐀"),
        ("GBK", "gbk", "丂亅小东"),
        ("BIG-5", "big5", "功蓋許"),
        ("KS X 1001", "euc_kr", "김희중"),
        ("ISO IR14", "shift_jis", "ﾔﾏﾀﾞ"),
        ("Shift_JIS", "shift_jis", "ソ表能十"),
        ("~ISO IR87", "iso2022_jp", "山田太郎"),
        ("ISO IR14~ISO IR87", "iso2022_jp", "山田太郎"),
        ("UNICODE UTF-16", "utf-16", "“Łukasz” 山田"),
        ("UNICODE UTF-16", "utf-16-be", "“Łukasz” ČĜ"),
        ("UNICODE UTF-32", "utf-32", "Łukasz"),
    ],
)
def test_character_sets(said, codec, text) -> None:
    raw = f"{HEAD.decode()}||||||{said}\rPID|1||5||{text}^x^y|z|\r".encode(codec)
    found = parse_message(raw)
    assert (found.get("PID-5"), found.get("PID-5.2"), found.get("PID-6")) == (text, "x", "z")
    assert found.warnings == ()
    edited = found.with_value("PID-5.2", "u").with_value("PID-8", "M")
    assert (edited.get("PID-5"), edited.get("PID-5.2"), edited.get("PID-5.3")) == (text, "u", "y")
    assert edited.raw == f"{HEAD.decode()}||||||{said}\rPID|1||5||{text}^u^y|z||M\r".encode(codec)


@pytest.mark.parametrize(
    ("said", "data", "text", "warning"),
    [
        (b"KLINGON", b"M\xfcller", "Müller", "KLINGON, which is not known"),
        (b"KLINGON", b"M\xc3\xbcller", "Müller", "KLINGON, which is not known"),
        (b"", b"M\xfcller", "Müller", "names no character set"),
        (b"", b"M\xc3\xbcller", "Müller", "names no character set"),
        (b"UNICODE UTF-8", b"M\xfcller", "Müller", "not in the character set"),
        (b"8859/1", b"\x84M\xfcller\x93", "„Müller“", "not in the character set"),
        (b"ASCII", b"M\xfcller", "Müller", "not in the character set"),
        (b"8859/2", b"M\xfcller", "Müller", ""),
    ],
)
def test_character_sets_that_are_wrong_or_unknown_are_flagged_and_read_as_well_as_can_be(
    said, data, text, warning
) -> None:
    found = parse_message(adt(b"PID|1||5||" + data, charset=said))
    assert found.get("PID-5") == text
    assert found.raw.endswith(data + b"\r")
    assert [warning in one for one in found.warnings] == ([True] if warning else [])


def test_a_sender_that_names_no_character_set_may_have_one_set_for_it() -> None:
    found = parse_message(adt(b"PID|1||5||\xa3\xf3d\xbc"), assumed_charset="8859/2")
    assert found.get("PID-5") == "Łódź"
    assert parse_message(adt(b"PID|1||5||\xa3", charset=b"8859/1"), assumed_charset="8859/2").get("PID-5") == "£"


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (b"a\\F\\b\\S\\c\\T\\d\\R\\e\\E\\f", "a|b^c&d~e\\f"),
        (b"\\H\\bold\\N\\ plain", "bold plain"),
        (b"a\\.br\\b\\.sp\\c\\.sp2\\d", "a\nb\nc\n\nd"),
        (b"a\\.in+4\\b\\.ce\\c\\.fi\\d\\.nf\\\\.sk3\\e", "a    b\ncd   e"),
        (b"a\\X0D\\b\\X0D0A\\c", "a\rb\r\nc"),
        (b"M\\XC3BC\\ller \\XC3\\\\XBC\\", "Müller ü"),
        (b"\\Zhu\\ \\E\\T\\E\\ \\q\\", "\\Zhu\\ \\T\\ \\q\\"),
        (b"\\M2442\\;3ED\\C2842\\ x", "山田 x"),
        (b"\\C2D4C\\\xbb\xee\xda", "Люк"),
        (b"\\.sp99999\\x\\X0\\", "\\.sp99999\\x\\X0\\"),
        (b"50 \\% \\", "50 \\% \\"),
    ],
)
def test_escape_sequences(written, text) -> None:
    assert parse_message(adt(b"OBX|1|TX|||" + written + b"|F", charset=b"UNICODE UTF-8")).get("OBX-5") == text


def test_a_value_that_its_sender_cut() -> None:
    found = parse_message(b"MSH|^~\\&#|A||||||ADT^A08|1|P|2.7\rPID|1||5||Very long na#|a\\P\\b")
    assert found.first("PID").field(5).is_truncated
    assert not found.first("PID").field(3).is_truncated
    assert found.get("PID-6") == "a#b"


def test_groups_begin_at_their_outermost_segment() -> None:
    segments = (b"PID|1", b"ORC|NW|1", b"TQ1|1", b"OBR|1", b"NTE|1", b"OBR|2", b"ORC|NW|2", b"OBR|3", b"OBX|1")
    groups = parse_message(adt(*segments)).groups(("ORC", "OBR"))
    assert [[segment.name for segment in group.segments] for group in groups] == [
        ["ORC", "TQ1", "OBR", "NTE"],
        ["OBR"],
        ["ORC", "OBR", "OBX"],
    ]
    assert [group.get("OBR-1") for group in groups] == ["1", "2", "3"]
    assert groups[1].first("ORC") is None
    assert parse_message(adt(b"OBX|1", b"OBX|2")).get("OBX(2)-1") == "2"


@pytest.mark.parametrize(
    "path", ["", "PID-", "PID-0", "pid-3", "PID-3.0", "PID-3.1.2.3", "PID.3", "PIDX-3", "PID-3[0]", "PID-99999"]
)
def test_places_that_are_none_are_told(path) -> None:
    with pytest.raises(Hl7Error, match="is no place in a message; write it like PID-3"):
        parse_message(ORM).get(path)


def test_fifty_megabytes_in_one_field_cost_the_header_nothing() -> None:
    raw = adt(b"PID|1||5", b"OBX|1|ED|||^application^pdf^Base64^" + b"QUJD" * 13_000_000 + b"|F", charset=b"8859/1")
    started = time.perf_counter()
    found = parse_message(raw)
    assert (found.kind, found.get("PID-3")) == ("ADT^A08", "5")
    assert time.perf_counter() - started < 1
    assert len(found.get("OBX-5.5")) == 52_000_000
    assert found.get("OBX-6") == "F"
    assert time.perf_counter() - started < 3


@pytest.mark.parametrize(
    "filling", [b"\r", b"\n", b"|", b"~", b"^", b"&", b"\\", b"\rAAA|", b"\ra", b"\\X", b"\x1b$B", b"\x81", b"||A^~"]
)
@pytest.mark.parametrize("charset", [b"8859/1", b"Shift_JIS"])
def test_a_megabyte_of_separators_takes_no_longer(filling, charset) -> None:
    raw = adt(b"PID|1||5||a" + filling * (1_000_000 // len(filling)), b"PV1|1|I", charset=charset)
    started = time.perf_counter()
    found = parse_message(raw)
    assert found.get("MSH-10") == "7"
    found.get("PID-5.2"), found.get("PID-999"), found.whole("PID-5"), found.warnings
    assert len(found.segments) <= SEGMENTS_MAX
    assert time.perf_counter() - started < 2


def test_what_is_beyond_the_limits_is_told() -> None:
    found = parse_message(adt(b"ZZZ" + b"|x" * (FIELDS_MAX + 10)))
    assert found.get(f"ZZZ-{FIELDS_MAX - 1}") == "x"
    assert found.get(f"ZZZ-{FIELDS_MAX}") == ""
    assert any("more than" in warning for warning in found.warnings)
    assert any("segments" in one for one in parse_message(adt(b"NTE|1\r" * (SEGMENTS_MAX + 5))).warnings)

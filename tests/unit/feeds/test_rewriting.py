"""Messages are changed as they leave, by lines of their feed."""

from __future__ import annotations

import pytest

from fileroom.core.errors import Hl7Error, InvalidRequestError
from fileroom.feeds.rewriting import read_rewrites, rewritten
from fileroom.hl7.message import parse_message

RAW = (
    b"MSH|^~\\&|RIS|H|PACS|H|20261120||ADT^A08|1|P|2.5||||||8859/1\r"
    b"PID|1||P1^^^H^MR~X2^^^Z||M\xfcller^J\xf6rg\rZPI|1|secret\rPV1|1|I|5W\rOBX|1|TX|A||one\rOBX|2|TX|B||two\rZPI|2\r"
)


def after(*lines: str) -> bytes:
    return rewritten(RAW, lines)


def test_without_lines_not_a_byte_changes() -> None:
    assert after() is RAW
    assert after("PV1-2: O = OUT") == RAW


def test_a_value_is_put_at_a_place_and_nothing_else_changes() -> None:
    assert after("MSH-5 = RIS & 2") == RAW.replace(b"|PACS|", b"|RIS \\T\\ 2|")
    assert after("PID-3[2].4 = HOSP") == RAW.replace(b"X2^^^Z", b"X2^^^HOSP")
    assert after("OBX(2)-5 = zwei") == RAW.replace(b"|two", b"|zwei")
    assert after("PID-5.1 = Wei\xdf") == RAW.replace(b"M\xfcller", b"Wei\xdf")
    assert parse_message(after("PV1-19.1 = V7")).get("PV1-19") == "V7"


def test_a_table_uses_the_first_line_that_fits_and_then_no_other() -> None:
    table = ("PV1-2: I = O", "PV1-2: O = E", "PV1-2: * = U")
    assert parse_message(after(*table)).get("PV1-2") == "O"
    assert parse_message(after("PV1-2: X = O", "PV1-2: * = U")).get("PV1-2") == "U"
    assert after("PV1-9: * = U") == RAW  # nothing stands there: there is nothing to replace


def test_a_place_is_copied_and_segments_are_left_out() -> None:
    message = parse_message(after("PID-4 = $PID-3.1", "drop ZPI"))
    assert message.get("PID-4") == "P1"
    assert message.first("ZPI") is None
    assert [one.name for one in message.segments] == ["MSH", "PID", "PV1", "OBX", "OBX"]
    assert "M\xfcller" in message.get("PID-5.1")


def test_a_segment_that_is_not_there_is_not_made() -> None:
    assert after("AL1-3 = nuts", "drop AL1") == RAW


@pytest.mark.parametrize(
    "line", ["MSH-5", "PID = 1", "MSH-2 = x", "drop", "drop MSH", "PID-x = 1", "PID-4 = $PID-0", "= 5"]
)
def test_a_line_that_cannot_be_is_refused_by_its_words(line: str) -> None:
    with pytest.raises(InvalidRequestError) as told:
        read_rewrites(["MSH-6 = H", line])
    assert line in str(told.value)
    assert "drop ZPI" in str(told.value)


def test_a_text_that_the_character_set_lacks_names_its_line() -> None:
    with pytest.raises(Hl7Error, match=r"PID-5\.1 = "):
        after("PID-5.1 = \u674e")

"""Moments, names, identifiers and codes: HL7's forms in DICOM's, and back."""

from __future__ import annotations

import zoneinfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fileroom.hl7.build import MessageBuilder
from fileroom.hl7.message import parse_message
from fileroom.hl7.values import (
    CodedEntry,
    CodedIdentifier,
    Unreadable,
    coded,
    dicom_date,
    dicom_datetime,
    dicom_time,
    entity,
    hl7_datetime,
    identifiers,
    other_names,
    person_name,
    staff_name,
    xcn,
    xpn,
)
from unit.hl7.samples import ORM, adt

BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")


def field(text: str):
    """A field with this in it."""
    return parse_message(adt(b"ZZZ|" + text.encode(), charset=b"UNICODE UTF-8")).first("ZZZ").field(1)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("20260102153059", "20260102153059"),
        ("20260102153059.1234+0100", "20260102153059.1234"),
        ("202601021530", "202601021530"),
        ("20260102", "20260102"),
        ("2026", "2026"),
        ("20260102153059^S", "20260102153059"),
        ("2026-01-02T15:30:59", "20260102153059"),
        ("2026-01-02 15:30", "202601021530"),
        ("20240229", "20240229"),
        ("", ""),
        ("00000000", ""),
    ],
)
def test_moments(text, moment) -> None:
    assert dicom_datetime(text) == moment


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("20261399", "there is no month 13"),
        ("20260230", "there is no day 30 in that month"),
        ("20260100", "there is no day 0 in that month"),
        ("20250229", "there is no day 29 in that month"),
        ("2026010225", "there is no hour 25"),
        ("202601022360", "there is no minute 60"),
        ("20260102230061", "there is no second 61"),
        ("02.01.2026", "a moment is written YYYYMMDDHHMMSS"),
        ("yesterday" * 20, "a moment is written YYYYMMDDHHMMSS"),
    ],
)
def test_moments_that_are_none_say_what_where_and_why(text, why) -> None:
    found = dicom_datetime(text, "PID-7")
    assert found == Unreadable(text[:60], "PID-7", why)
    assert str(found) == f"PID-7 has {text[:60]!r}: {why}"


def test_a_moment_of_another_zone_is_told_by_the_clock_of_the_hospital() -> None:
    assert dicom_datetime("202607021200+0000", zone=BERLIN) == "202607021400"
    assert dicom_datetime("20260101003000.5+0300", zone=BERLIN) == "20251231223000.5"
    assert dicom_datetime("202607021200", zone=BERLIN) == "202607021200"
    assert dicom_datetime("20260702+0000", zone=BERLIN) == "20260702"
    assert isinstance(dicom_datetime("00010101000000+1400", zone=BERLIN), Unreadable)
    assert isinstance(dicom_datetime("202607021200+9900", zone=BERLIN), Unreadable)


def test_dates_and_times() -> None:
    assert dicom_date("19650312083000") == "19650312"
    assert dicom_date("") == ""
    assert dicom_date("196503", "PID-7") == Unreadable("196503", "PID-7", "the day is missing")
    assert dicom_time("0830") == "0830"
    assert dicom_time("083000.25+0100") == "083000.25"
    assert str(dicom_time("2461", "X")) == "X has '2461': there is no hour 24"
    assert isinstance(dicom_time("noon"), Unreadable)
    assert hl7_datetime("20260102153059.123456") == "20260102153059.1234"


@given(st.text(max_size=30) | st.from_regex(r"\d{4,14}(\.\d{1,4})?([+-]\d{4})?", fullmatch=True))
def test_any_text_is_a_moment_or_told(text) -> None:
    for zone in (None, BERLIN):
        found = dicom_datetime(text, "X", zone=zone)
        assert isinstance(found, Unreadable) or not found or found.replace(".", "").isdigit()
    dicom_date(text), dicom_time(text)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("Müller^Hans", "Müller^Hans"),
        ("Müller^Hans^Peter^Jr.^Dr.", "Müller^Hans^Peter^Dr.^Jr."),
        ("Müller^Hans^^III^Prof. Dr.^PhD", "Müller^Hans^^Prof. Dr.^III PhD"),
        ('O\'Brien "Bob"^Mary\\S\\Ann', 'O\'Brien "Bob"^Mary Ann'),
        ('Doe^""^""^^""', "Doe"),
        ("van Beethoven&van&Beethoven^Ludwig", "van Beethoven^Ludwig"),
        ("&van&Beethoven^Ludwig", "van Beethoven^Ludwig"),
        ("a=b\\E\\c^ x  y ", "a b c^x y"),
        ("", ""),
        ('""', ""),
        ("Yamada^Tarou^^^^^L^A~山田^太郎^^^^^L^I~やまだ^たろう^^^^^L^P", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("山田^太郎^^^^^L^I", "=山田^太郎"),
        ("Alias^A^^^^^A~Legal^L^^^^^L", "Legal^L"),
        ("Only^Alias^^^^^A", "Only^Alias"),
    ],
)
def test_names(written, name) -> None:
    assert person_name(field(written)) == name


def test_other_names_and_staff() -> None:
    assert other_names(field("Meyer^Eva^^^^^L~Schmidt^Eva^^^^^M~Evi^^^^^^N")) == ("Schmidt^Eva", "Evi")
    assert other_names(field("Meyer^Eva")) == ()
    assert staff_name(field("0815^Schmidt^Anna^^^Dr.")) == "Schmidt^Anna^^Dr."
    assert staff_name(field("0815")) == "0815"


name_part = st.text(
    st.characters(blacklist_categories=("Cs", "Cc", "Z"), blacklist_characters="^=\\"), max_size=12
).filter(lambda text: text != '""')


@given(
    st.lists(st.tuples(*[name_part] * 5), min_size=1, max_size=3), st.sampled_from(["UNICODE UTF-8", "UNICODE UTF-16"])
)
def test_names_go_there_and_come_back(groups, charset) -> None:
    # No group is empty but the first two: what stands behind must be told by its place.
    name = "=".join("^".join(group).rstrip("^") for group in groups).rstrip("=")
    raw = MessageBuilder(charset=charset).segment("MSH", {18: charset}).segment("PID", {5: xpn(name)}).build()
    assert person_name(parse_message(raw).first("PID").field(5)) == name


def test_a_name_in_another_script_alone_keeps_its_place() -> None:
    assert xpn("=山田^太郎") == [("山田", "太郎", "", "", "", "", "", "I")]


def test_staff_goes_there() -> None:
    assert xcn("Schmidt^Anna^^Dr.^MD", "0815") == ("0815", "Schmidt", "Anna", "", "MD", "Dr.")
    assert xpn("") == ()


def test_identifiers_and_codes() -> None:
    order = parse_message(ORM)
    assert identifiers(order.first("PID").field(3)) == (
        CodedIdentifier("10006579", "STJOHN", "MR"),
        CodedIdentifier("K7781", "KV", "SS"),
    )
    assert identifiers(field("5^^^&1.2.3&ISO~^^^X")) == (CodedIdentifier("5", "1.2.3", ""),)
    assert entity(order.first("ORC").field(2).repetitions[0]) == CodedIdentifier("P100", "RIS", "")
    assert entity(field("").repetitions[0]) is None
    assert coded(order.first("OBR").field(4).repetitions[0]) == CodedEntry("CTABD", "CT Abdomen & Becken", "LOCAL")
    assert coded(field("1^head & neck^L^2^other^M").repetitions[0], 4) == CodedEntry("2", "other", "M")
    assert coded(field("^^L").repetitions[0]) is None

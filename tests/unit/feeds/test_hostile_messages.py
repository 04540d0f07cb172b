"""No message, however broken, raises anything but the house's errors, under any mapping."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fileroom.core.errors import Hl7Error, RequestError
from fileroom.feeds.mapping import read_changes
from fileroom.feeds.mapping_fields import check_mapping, mapping_from_fields
from fileroom.feeds.mapping_trial import try_mapping
from fileroom.feeds.presets import PRESETS
from fileroom.hl7.message import parse_message
from fileroom.worklist.facts import Identifier
from hl7_texts import PID, PV1, header

KINDS = (
    *(f"ADT^A{number:02}" for number in range(1, 52)),
    "ORM^O01",
    "OMG^O19",
    "OMI^O23",
    "SIU^S12",
    "SIU^S26",
    "ORU^R01",
    "",
)
SEGMENTS = (
    PID,
    PV1,
    "EVN|A08|20261122",
    "MRG|4712^^^HOSP^MR||A66||V9",
    "ORC|NW|P1^RIS|F1^PACS||SC||1^once^^202611231000^^S|||||3^Order^Otto",
    "OBR|1|P1|F1|CT^CT Abdomen^L|||||||||||^^^ABD&Abdomen|||ACC1|RP1|SPS1||||CT||||||||||7&Tech&Tina",
    "TQ1|1||||||20261123093000+0100||A",
    "IPC|ACC9^RIS|RP9|1.2.3.9|SPS1|MR|PK1^Knee^LP|MR1|MRROOM^Room 3|MR_SCANNER",
    "NTE|1||claustrophobic",
    "OBX|1|NM|29463-7^Weight^LN||80|kg",
    "ZDS|1.2.3.4^RIS",
    "SCH|AP1|AP2|||||||||^^60^202611241000^202611241100||||||||||||||Booked|P1|F1",
    "RGS|1|A",
    "AIS|1|A|CT^CT|202611241030",
    "AIL|1|A|RAD^CT2",
    "AIP|1|A|77^Tech^Tina",
)
TEXTS = st.one_of(
    st.sampled_from(
        [
            "",
            '""',
            "20261399",
            "00000000",
            "99991231235959+1400",
            "00010101000000+1400",
            "2026-11-22T10:11:12Z",
            "^",
            "~",
            "&",
            "\\",
            "\\X",
            "\\E\\",
            "1^2^3^4^5^6^7^8",
            "a" * 500,
            "^^^^^",
            "\\.br\\",
            "NW",
            "CA",
            "1" * 70,
            "..",
            "1..2",
            "٣",
        ]
    ),
    st.text(max_size=20),
)


@st.composite
def mutated_messages(draw: st.DrawFn) -> bytes:
    chosen = draw(st.lists(st.sampled_from(SEGMENTS), max_size=10))
    segments = [header(draw(st.sampled_from(KINDS))), *chosen]
    for _ in range(draw(st.integers(0, 8))):
        place = draw(st.integers(0, len(segments) - 1))
        parts = segments[place].split("|")
        field = draw(st.integers(1 if place else 3, len(parts) + 2))
        parts += [""] * (field + 1 - len(parts))
        parts[field] = draw(TEXTS)
        segments[place] = "|".join(parts)
    raw = bytearray(draw(st.sampled_from(["\r", "\n", "\r\n"])).join(segments).encode("utf-8", "surrogatepass"))
    for _ in range(draw(st.integers(0, 3))):
        raw[draw(st.integers(0, len(raw) - 1))] = draw(st.integers(0, 255))
    return bytes(raw)


MAPPINGS = [
    *(mapping_from_fields({"preset": name}) for name in PRESETS),
    mapping_from_fields(
        {
            "facts": {
                "accession": ["OBR-18.2", "ZDS[1=1.2.3.4]-1", "MSH-10"],
                "sex": ["PID-8.2.2", "=F"],
                "patient_id": ["PID-3[2]", "MSH-1", "PID(2)-3"],
                "start": ["MSH-7", "OBX[3.1=29463-7]-5"],
                "station_aets": ["MSH-3", "=A\\B"],
                "PatientComments": ["NTE-3"],
                "IssueDateOfImagingServiceRequest": ["ORC-9"],
            },
            "values": {"control": {"*": "scheduled"}, "must_be": {"*": "known"}},
            "authority": {"patient": ["MSH-4.1"], "accession": ["=X"]},
            "names": "comma",
            "time_zone": "America/New_York",
        }
    ),
    mapping_from_fields({"names": "dicom", "only": [{"path": "OBR-24", "values": ["CT*"]}], "keep": ["ZDS"]}),
]


@given(mutated_messages(), st.sampled_from(MAPPINGS))
def test_a_broken_message_raises_only_what_can_be_answered(raw: bytes, mapping: Any) -> None:
    try:
        message = parse_message(raw)
    except Hl7Error:
        return
    trial = try_mapping(message, mapping)
    try:
        changes = read_changes(message, mapping)
    except RequestError:
        assert trial.error
        return
    assert changes
    assert trial.error == ""
    for change in changes:
        _require_sound(change)


def _require_sound(value: Any) -> None:
    """Identifiers are such, and no text has what a data set cannot hold."""
    if isinstance(value, Identifier):
        assert value.value
        assert len(value.value) <= 64
    if isinstance(value, str):
        assert "\0" not in value
        assert len(value) <= 10_240
    elif is_dataclass(value):
        for one in fields(value):
            _require_sound(getattr(value, one.name))
    elif isinstance(value, tuple):
        for each in value:
            _require_sound(each)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(["PID-3", "=X", "CT", "A08"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NAMED = st.sampled_from(["accession", "sex", "modality", "state", "patient", "ADT^A01", "path", "values", "X"])


@given(
    st.dictionaries(
        st.sampled_from(["preset", "facts", "values", "authority", "authorities", "names", "time_zone", "keep", "ignored",
                         "events", "only"]),
        JSON | st.dictionaries(NAMED, JSON | st.dictionaries(NAMED, JSON, max_size=2), max_size=3),
        max_size=3,
    )
)  # fmt: skip
def test_fields_of_any_form_are_a_mapping_or_told_why_not(some: dict[str, Any]) -> None:
    try:
        checked = check_mapping(some)
    except RequestError:
        return
    assert check_mapping(checked) == checked
    mapping_from_fields(checked)


def test_a_message_of_too_many_orders_is_refused_and_not_read() -> None:
    raw = "\r".join([header("ORM^O01"), PID, *["ORC|NW|P1", "OBR|1|P1"] * 600]).encode()
    with pytest.raises(RequestError, match="more than 500 orders"):
        read_changes(parse_message(raw), MAPPINGS[0])

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from fileroom.admin.entries import FIELDS_BYTES_MAX
from fileroom.core.errors import InvalidRequestError
from fileroom.feeds.mapping_facts import FACTS, fact_named
from fileroom.feeds.mapping_fields import FIELDS, check_mapping, mapping_from_fields, preset_fields, whole_fields
from fileroom.feeds.paths import parse_path
from fileroom.feeds.presets import PRESETS


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_is_a_whole_mapping_in_its_normal_form(preset: str) -> None:
    whole = preset_fields(preset)
    assert check_mapping({"preset": preset, **whole}) == {"preset": preset}
    assert whole_fields({"preset": preset}) == {"preset": preset, **whole}
    assert set(FACTS) - {name for name, paths in whole["facts"].items() if paths} <= {
        "pre_medication",
        "contrast_agent",
        "step_id",
    }
    assert mapping_from_fields({"preset": preset}).facts["patient_id"]
    assert len(orjson.dumps(whole)) < FIELDS_BYTES_MAX


def test_presets_differ_only_in_data() -> None:
    assert {type(value) for one in PRESETS.values() for value in one.fields.values()} <= {dict, list, str}
    assert len({orjson.dumps(preset_fields(name)) for name in PRESETS}) == len(PRESETS) >= 4


def test_the_normal_form_is_what_differs_from_the_preset() -> None:
    fields = check_mapping(
        {
            "preset": "ihe",
            "facts": {"accession": "OBR-18, ORC-3.1", "birth_date": ["PID-7"], "PatientComments": ["NTE-3"]},
            "values": {"modality": {"xr": "CR", "MRI": "MR"}, "sex": {"W": "F"}},
            "time_zone": "Europe/Berlin",
            "names": "hl7",
            "keep": "ZPI, ZVN",
            "ignored": [],
        }
    )
    assert fields == {
        "preset": "ihe",
        "facts": {"accession": ["OBR-18", "ORC-3.1"], "PatientComments": ["NTE-3"]},
        "values": {"modality": {"XR": "CR"}, "sex": {"W": "F"}},
        "time_zone": "Europe/Berlin",
        "keep": ["ZPI", "ZVN"],
    }
    assert check_mapping(fields) == fields


def test_rows_are_laid_over_the_presets_and_null_takes_one_away() -> None:
    mapping = mapping_from_fields({"values": {"modality": {"XR": None, "CT*": "CT", "CTA*": "XA", "DX": "CR"}}})
    table = mapping.values["modality"]
    assert [table.get(one) for one in ("XR", "ctbrain", "CTANGIO", "dx", "MRI")] == [None, "CT", "XA", "CR", "MR"]


def test_nothing_said_is_the_preset_of_ihe() -> None:
    assert check_mapping({}) == {"preset": "ihe"}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"colour": 1}, "no field colour"),
        ({"preset": "oracle"}, "no preset 'oracle'; there are ihe"),
        ({"preset": ["ihe"]}, "no preset"),
        ({"facts": []}, "field facts does not fit"),
        ({"facts": {"accesion": ["OBR-18"]}}, "no fact 'accesion'"),
        ({"facts": {"AccessionNumber": ["OBR-18"]}}, "is called accession in a mapping"),
        ({"facts": {"PixelData": ["OBX-5"]}}, "no fact 'PixelData'"),
        ({"facts": {"accession": ["OBR-18", "OBR18"]}}, "In facts.accession, place 2: 'OBR18' is no path"),
        ({"facts": {"accession": [7]}}, "In facts.accession, place 1"),
        ({"facts": {"accession": 7}}, "field facts.accession does not fit"),
        ({"facts": {"accession": ["OBR-0"]}}, "'OBR-0' is no path"),
        ({"facts": {"accession": ["OBR-1"] * 21}}, "at most 20 paths"),
        ({"values": {"birth_date": {"1": "2"}}}, "no table of values for 'birth_date'"),
        ({"values": {"state": {"X": "lost"}}}, "field values.state.X does not fit: it is one of scheduled"),
        ({"values": {"control": {"X": 3}}}, "values.control.X"),
        ({"values": {"sex": {"W": "W"}}}, "one of M, F, O"),
        ({"values": {"modality": {"X": "ct!"}}}, "a modality such as CT"),
        ({"values": {"modality": {"*X": "CT"}}}, r"where \* stands only at the end"),
        ({"authority": {"step": ["=X"]}}, "authority.step"),
        ({"authority": {"patient": ["="]}}, "authority.patient.*no path"),
        ({"authorities": {"HOSP": 1}}, "authorities.HOSP"),
        ({"names": "surname"}, "names does not fit: it is one of hl7, dicom, comma"),
        ({"time_zone": "Europe/Bonn"}, "no time zone 'Europe/Bonn'"),
        ({"time_zone": ["Europe/Berlin"]}, "no time zone"),
        ({"time_zone": "../../etc/passwd"}, "no time zone"),
        ({"keep": ["PID"]}, "names of Z segments"),
        ({"ignored": ["A31"]}, r"as in ADT\^A31"),
        ({"events": {"ADT^*": "A08"}}, "events.ADT"),
        ({"events": {"ADT^Z08": "update"}}, "an event such as A08"),
        ({"only": [{"path": "OBR-24"}]}, r"only\[1\] does not fit"),
        ({"only": [{"path": "OBR", "values": ["CT"]}]}, r"In only\[1\].path"),
        ({"only": [{"path": "OBR-24", "values": []}]}, r"only\[1\].values"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidRequestError, match=words):
        check_mapping(fields)


@pytest.mark.parametrize(
    "text",
    [
        "PID-3",
        "PID-3[2].4.2",
        "PID-3[5=MR]",
        "OBX[3.1=29463-7]-5",
        "OBX[3.1=1][6=kg]-5",
        "NTE(2)-3",
        "NTE[2]-3",
        "=St. Mary",
        "ZDS-1.1",
    ],
)
def test_paths_keep_their_text(text: str) -> None:
    assert parse_path(text).text == text


@pytest.mark.parametrize(
    "text", ["", "PID", "pid-3", "PID-3.", "PID-3.1.2.3", "PID-1000", "PID-3[", "PID-3[x]", "\n=a\x00b"]
)
def test_what_is_no_path(text: str) -> None:
    with pytest.raises(InvalidRequestError):
        parse_path(text)


def test_details_are_the_patients_where_the_standard_has_them_there() -> None:
    assert [
        fact_named(name) and fact_named(name).part for name in ("PatientAddress", "SpecialNeeds", "BodyPartExamined")
    ] == [  # type: ignore[union-attr]  # both are there
        "patient",
        "patient",
        "order",
    ]
    assert fact_named("NoSuchKeyword") is None


def test_the_document_names_every_fact_field_and_preset() -> None:
    text = (Path(__file__).parents[3] / "docs" / "mappings.md").read_text("utf-8")
    assert [name for name in (*FACTS, *FIELDS, *PRESETS) if f"`{name}`" not in text] == []


def test_the_example_of_the_document_is_a_mapping() -> None:
    text = (Path(__file__).parents[3] / "docs" / "mappings.md").read_text("utf-8")
    example = orjson.loads(text.partition("```json\n")[2].partition("```")[0])
    assert {"preset": "ihe", **check_mapping(example)} == example

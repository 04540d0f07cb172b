"""The one table of attributes agrees with itself, with the standard's dictionary and with the migrated schema."""

from __future__ import annotations

import psycopg
import pytest
from pydicom.datadict import dictionary_has_tag, keyword_for_tag

from fileroom.dicom.header_scan import SPECIFIC_CHARACTER_SET
from fileroom.dicom.query import Level
from fileroom.index.attributes import (
    ATTRIBUTES,
    BY_KEYWORD,
    BY_TAG,
    SCANNED_TAGS,
    UNIQUE_KEYS,
    Kind,
    at_level,
    columns_at,
    name_key_column,
    other_name_keys_column,
)
from fileroom.index.search import can_match
from fileroom.index.write import STORED_COLUMNS

TABLES = {Level.PATIENT: "patient", Level.STUDY: "study", Level.SERIES: "series", Level.INSTANCE: "instance"}
HOUSEKEEPING = {
    Level.PATIENT: {"id", "identity", "created_at"},
    Level.STUDY: {"id", "patient", "modalities", "sop_classes", "institutions", "brought_by", "received_at"},
    Level.SERIES: {"id", "study", "instance_count", "changed_at", "documented", "document_key"},
    Level.INSTANCE: {"id", "series", "vouched", *(name for name, _ in STORED_COLUMNS)},
}
"""Columns that hold no attribute."""


def columns_of(database_url: str, table: str) -> dict[str, tuple[str, str | None]]:
    """(type, collation) by column."""
    with psycopg.connect(database_url) as connection:
        rows = connection.execute(
            "SELECT column_name, data_type, collation_name FROM information_schema.columns WHERE table_name = %s",
            (table,),
        ).fetchall()
    return {name: (kind, collation) for name, kind, collation in rows}


@pytest.mark.parametrize("level", Level)
def test_the_schema_has_exactly_the_columns_of_the_table(database_url: str, level: Level) -> None:
    found = columns_of(database_url, TABLES[level])
    expected = dict(columns_at(level))
    if level is Level.STUDY:  # a study is searched by the patient as its own images name it
        expected |= dict(columns_at(Level.PATIENT))
    assert {name: found[name][0] for name in expected} == expected
    assert set(found) - set(expected) == HOUSEKEEPING[level]


@pytest.mark.parametrize("level", Level)
def test_text_is_compared_byte_by_byte(database_url: str, level: Level) -> None:
    """Other collations are slower, and do not let LIKE use an index."""
    found = columns_of(database_url, TABLES[level])
    wrong = [name for name, kind in columns_at(level) if kind == "text" and found[name][1] != "C"]
    assert wrong == []


@pytest.mark.parametrize("attribute", [a for a in ATTRIBUTES if a.searchable], ids=lambda a: a.keyword)
def test_a_searchable_attribute_has_an_index_of_its_own(database_url: str, attribute: object) -> None:
    assert isinstance(attribute, type(ATTRIBUTES[0]))
    column = name_key_column(attribute) if attribute.kind is Kind.NAME else attribute.column
    tables = {TABLES[attribute.level]} | ({"study"} if attribute.level is Level.PATIENT else set())
    with psycopg.connect(database_url) as connection:
        rows = connection.execute(
            """SELECT t.relname FROM pg_index x JOIN pg_class t ON t.oid = x.indrelid
               JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = x.indkey[0] WHERE a.attname = %s""",
            (column,),
        ).fetchall()
    assert tables <= {table for (table,) in rows}


def test_tags_and_keywords_are_those_of_the_standard() -> None:
    for attribute in ATTRIBUTES:
        assert dictionary_has_tag(attribute.tag)
        assert keyword_for_tag(attribute.tag) == attribute.keyword
    assert len(BY_TAG) == len(BY_KEYWORD) == len(ATTRIBUTES)


def test_kinds_fit_the_value_representations() -> None:
    kinds = {"PN": Kind.NAME, "DA": Kind.DATE, "TM": Kind.TIME, "UI": Kind.UID, "SQ": Kind.SEQUENCE}
    kinds |= dict.fromkeys(("IS", "US", "UL"), Kind.INTEGER)
    for attribute in ATTRIBUTES:
        if attribute.kind is not Kind.COMPUTED:
            assert attribute.kind is kinds.get(attribute.vr, Kind.TEXT), attribute.keyword


def test_attributes_of_several_values_are_known() -> None:
    several = {a.keyword for a in ATTRIBUTES if a.multi_valued}
    assert several == {
        "OtherPatientIDs",
        "OtherPatientNames",
        "NameOfPhysiciansReadingStudy",
        "PhysiciansOfRecord",
        "AdmittingDiagnosesDescription",
        "PerformingPhysicianName",
        "OperatorsName",
        "ImageType",
    }


def test_every_stored_attribute_is_scanned_and_nothing_else() -> None:
    stored = {a.tag for level in Level for a in at_level(level, stored=True)}
    assert stored | {SPECIFIC_CHARACTER_SET} == SCANNED_TAGS


def test_every_level_has_its_unique_key() -> None:
    assert [UNIQUE_KEYS[level].keyword for level in Level] == [
        "PatientID",
        "StudyInstanceUID",
        "SeriesInstanceUID",
        "SOPInstanceUID",
    ]
    assert all(UNIQUE_KEYS[level].level is level for level in Level)


def test_every_required_and_unique_key_of_the_standard_is_there() -> None:
    """PS3.4 tables C.6-1 to C.6-4."""
    required = {
        Level.PATIENT: {"PatientName", "PatientID"},
        Level.STUDY: {"StudyDate", "StudyTime", "AccessionNumber", "StudyID", "StudyInstanceUID"},
        Level.SERIES: {"Modality", "SeriesNumber", "SeriesInstanceUID"},
        Level.INSTANCE: {"InstanceNumber", "SOPInstanceUID"},
    }
    for level, keywords in required.items():
        assert keywords <= {a.keyword for a in at_level(level) if can_match(a.tag)}


def test_columns_are_keywords_in_snake_case() -> None:
    columns = {a.keyword: a.column for a in ATTRIBUTES}
    assert columns["StudyInstanceUID"] == "study_instance_uid"
    assert columns["OtherPatientIDs"] == "other_patient_ids"
    assert columns["MIMETypeOfEncapsulatedDocument"] == "mime_type_of_encapsulated_document"
    assert columns["SOPClassUID"] == "sop_class_uid"
    name = BY_KEYWORD["PatientName"]
    assert (name_key_column(name), other_name_keys_column(name)) == ("patient_name_key", "patient_name_other_keys")


def test_a_station_is_found_by_an_index_however_long_names_are(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        definitions = [
            row[0] for row in connection.execute("SELECT indexdef FROM pg_indexes WHERE tablename = 'series'")
        ]
    assert any('("left"(station_name, 64))' in text for text in definitions), definitions

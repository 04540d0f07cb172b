"""Report templates: which one fits a study, what becomes of its placeholders, and templates that cannot be meant."""

from __future__ import annotations

from typing import Any

import pytest

from fileroom.admin.entries import Entry
from fileroom.archive.services import Archive
from fileroom.core.access import Access, ActorKind, Permission, RowScope, acting_as
from fileroom.core.errors import ConflictError, InvalidRequestError, NotFoundError
from fileroom.reports.facts import ReportSection
from fileroom.reports.template_starters import BLANK, STARTERS
from fileroom.reports.template_words import ReportedStudy, read_reported_study
from fileroom.reports.templates import (
    add_starters,
    check_template,
    get_template,
    list_template_versions,
    list_templates,
    propose_templates,
    put_template,
    ranked,
    remove_template,
    sections_for,
    title_for,
)
from stored_objects import make_file, store_file

STUDY = ReportedStudy(
    "1.2.3",
    patient_name="Lovelace^Ada^King=愛達^洛夫萊斯",
    patient_id="4711",
    patient_birth_date="18151210",
    study_date="20261122",
    study_description="Thorax native",
    accession_number="A1",
    modalities=("CT", "SR"),
    body_parts=("CHEST",),
    procedure_code="CTTHX",
    procedure="CT of the thorax",
    reason="cough",
    prior_date="20250131",
    prior_description="CT chest",
)
SECTIONS = [{"heading": "Findings", "text": ""}]


def entry(name: str, **fields: Any) -> Entry:
    return Entry(0, name, check_template(name, {"sections": SECTIONS, **fields}))


def test_the_template_that_names_most_of_what_the_study_is_comes_first() -> None:
    entries = [
        entry("any"),
        entry("by modality", modalities=["ct"]),
        entry("by part", modalities=["CT"], body_parts=["Chest"]),
        entry("by code", procedure_codes=["CTTHX"]),
        entry("another code", procedure_codes=["CTHEAD"], modalities=["CT"]),
        entry("another modality", modalities=["MR"], body_parts=["CHEST"]),
    ]
    assert [one.name for one in ranked(entries, STUDY)] == ["by code", "by part", "by modality", "any"]


def test_a_word_of_the_description_stands_for_a_body_part_that_no_device_says() -> None:
    study = ReportedStudy("1.2", modalities=("US",), study_description="Abdomen complete")
    found = ranked([entry("part", body_parts=["abdomen"]), entry("piece", body_parts=["abdo"])], study)
    assert [one.name for one in found] == ["part"]


def test_among_equals_the_readers_language_comes_first() -> None:
    entries = [entry("CT chest", language="en"), entry("CT Thorax", language="de")]
    assert ranked(entries, STUDY, "de")[0].name == "CT Thorax"
    assert ranked(entries, STUDY, "en")[0].name == "CT chest"


def test_placeholders_become_what_the_study_says_and_nothing_where_it_says_nothing() -> None:
    text = "{PatientName}|{PatientBirthDate}|{StudyDate}|{Reason}|{ReferringPhysician}|{PriorStudy}|{Modality}"
    fields = check_template(
        "x", {"sections": [{"heading": "H", "text": text}], "title": "{Procedure}, {AccessionNumber}"}
    )
    assert sections_for(fields, STUDY) == (
        ReportSection("H", "Lovelace, Ada|1815-12-10|2026-11-22|cough||CT chest 2025-01-31|CT, SR"),
    )
    assert title_for(fields, STUDY) == "CT of the thorax, A1"
    german = sections_for({**fields, "language": "de"}, STUDY)[0].text
    assert "|10.12.1815|22.11.2026|" in german


def test_what_a_study_says_is_not_read_for_placeholders_again() -> None:
    study = ReportedStudy("1.2", reason="{PatientName}", patient_name="Doe")
    fields = {"sections": [{"heading": "", "text": "{Reason}"}]}
    assert sections_for(fields, study)[0].text == "{PatientName}"


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"sections": []}, "sections"),
        ({"sections": [{"heading": "a\nb", "text": ""}]}, "heading"),
        ({"sections": [{"heading": "a", "text": "{PatientNam}"}]}, "PatientNam"),
        ({"sections": [{"heading": "a", "words": ""}]}, "section"),
        ({"sections": SECTIONS, "colour": 1}, "colour"),
        ({"sections": SECTIONS, "language": "xx"}, "language"),
        ({"sections": SECTIONS, "modalities": "CT"}, "modalities"),
        ({"sections": SECTIONS, "title": "x" * 201}, "title"),
    ],
)
def test_a_template_that_cannot_be_meant_is_refused_with_the_reason(fields: dict[str, Any], word: str) -> None:
    with pytest.raises(InvalidRequestError, match=word):
        check_template("x", fields)


@pytest.mark.parametrize("language", STARTERS)
def test_what_comes_with_fileroom_is_good_and_fits_its_kind_of_study(language: str) -> None:
    starters = {name: check_template(name, fields) for name, fields in STARTERS[language].items()}
    assert all(check_template(name, fields) == fields for name, fields in starters.items())
    entries = [Entry(0, name, fields) for name, fields in starters.items()]
    kinds = {("CT", "CHEST"), ("DX", "CHEST"), ("MR", "BRAIN"), ("US", "ABDOMEN")}
    found = {
        ranked(entries, ReportedStudy("1", modalities=(modality,), body_parts=(part,)), language)[0].name
        for modality, part in kinds
    }
    assert found == set(starters)
    assert check_template("blank", BLANK[language])


async def test_starters_are_for_an_empty_list(archive: Archive) -> None:
    assert [one.name for one in await add_starters(archive, "de")] == list(STARTERS["de"])
    with pytest.raises(ConflictError):
        await add_starters(archive, "en")


async def test_a_template_is_kept_with_its_versions(archive: Archive) -> None:
    await put_template(archive, "CT", {"sections": SECTIONS}, new=True)
    changed = await put_template(archive, "CT", {"sections": SECTIONS, "title": "CT"}, version=1)
    assert changed.version == 2
    assert (await get_template(archive, "CT")).fields["title"] == "CT"
    assert [one.version for one in await list_template_versions(archive, "CT")] == [2, 1]
    with pytest.raises(ConflictError):
        await put_template(archive, "CT", {"sections": SECTIONS}, version=1)
    await remove_template(archive, "CT")
    assert await list_templates(archive) == []


async def test_a_study_is_proposed_what_fits_then_all_others_and_nothing_where_it_is_not_to_be_seen(
    archive: Archive,
) -> None:
    await store_file(archive, make_file(StudyInstanceUID="1.2.3", Modality="CT", BodyPartExamined="CHEST"))
    for name, fields in (("A other", {"modalities": ["MR"]}), ("B fits", {"modalities": ["CT"]}), ("C off", {})):
        await put_template(archive, name, {"sections": SECTIONS, **fields}, enabled=name != "C off")
    fitting, others = await propose_templates(archive, "1.2.3")
    assert ([one.name for one in fitting], [one.name for one in others]) == (["B fits"], ["A other"])
    ward = Access(
        ActorKind.PERSON, "ada", frozenset({Permission.REPORT_WRITE}), RowScope(patient_ids=("nobody",)), account_id=1
    )
    with acting_as(ward), pytest.raises(NotFoundError):
        await propose_templates(archive, "1.2.3")


async def test_the_prior_study_is_the_same_patients_of_the_same_modality(archive: Archive) -> None:
    async def stored(uid: str, date: str, modality: str, patient: str, description: str) -> None:
        await store_file(
            archive,
            make_file(
                StudyInstanceUID=uid,
                SeriesInstanceUID=uid + ".1",
                SOPInstanceUID=uid + ".1.1",
                StudyDate=date,
                Modality=modality,
                PatientID=patient,
                StudyDescription=description,
            ),
        )

    await stored("1.1", "20250101", "CT", "P1", "older")
    await stored("1.2", "20250601", "CT", "P1", "right")
    await stored("1.3", "20250901", "MR", "P1", "another modality")
    await stored("1.4", "20251001", "CT", "P2", "somebody else")
    await stored("1.5", "20261122", "CT", "P1", "now")
    async with archive.pool.connection() as connection:
        found = await read_reported_study(connection, Access(ActorKind.SYSTEM, "system"), "1.5")
    assert found is not None
    assert (found.prior_description, found.prior_date) == ("right", "20250601")

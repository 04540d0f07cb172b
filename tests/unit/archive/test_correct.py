"""Corrections: laid over every way out and the index, never over the stored bytes."""

from __future__ import annotations

import io
from typing import Any

import pydicom
import pytest

from corpus.ct import make_ct_series
from fileroom.archive.correct import (
    Corrections,
    add_corrections,
    list_corrections,
    refresh_index,
    revoke_corrections,
)
from fileroom.archive.rebuild import rebuild
from fileroom.archive.retrieve import Selection, get_instance, list_instances, open_object, read_header
from fileroom.archive.services import Archive
from fileroom.core.errors import InvalidRequestError, NotFoundError
from fileroom.dicom import uids
from fileroom.dicom.correction import AttributeCorrection
from stored_objects import data_set_of, make_file, store_file

STUDY, SERIES, SOP = "1.2.3.1", "1.2.3.1.1", "1.2.3.1.1.1"
NAME, PATIENT_ID, MODALITY, LABEL = 0x00100010, 0x00100020, 0x00080060, 0x00700080


def correction(tag: int, vr: str, *values: str) -> AttributeCorrection:
    return AttributeCorrection((tag,), vr, values)


def for_study(*attributes: AttributeCorrection, **scope: str) -> Corrections:
    return Corrections(STUDY, attributes, "wrong patient", "anna", **scope)


async def rows(archive: Archive, statement: str) -> list[tuple[Any, ...]]:
    async with archive.pool.connection() as connection:
        return await (await connection.execute(statement.encode())).fetchall()


async def sent(archive: Archive, sop: str = SOP, syntax: str | None = None) -> pydicom.Dataset:
    instance = (await list_instances(archive, Selection(sop_uids=(sop,))))[0]
    opened = await open_object(archive, instance, syntax, part10=True)
    data = b"".join([piece async for piece in opened.chunks])
    assert opened.length in (None, len(data))
    return pydicom.dcmread(io.BytesIO(data))


@pytest.mark.parametrize(
    "syntax",
    [uids.IMPLICIT_VR_LITTLE_ENDIAN, uids.EXPLICIT_VR_LITTLE_ENDIAN, uids.DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN],
)
async def test_what_leaves_is_corrected_and_what_is_stored_is_not(archive: Archive, syntax: str) -> None:
    file = make_file(syntax)
    outcome = await store_file(archive, file)
    await add_corrections(
        archive, for_study(correction(NAME, "PN", "MÜLLER^JÖRG"), correction(0x00081030, "LO", "Knee"))
    )
    expected = pydicom.dcmread(io.BytesIO(file))
    expected.SpecificCharacterSet = "ISO_IR 192"
    expected.PatientName = "MÜLLER^JÖRG"
    expected.StudyDescription = "Knee"
    assert await sent(archive) == expected
    assert await sent(archive, syntax=uids.IMPLICIT_VR_LITTLE_ENDIAN) == expected
    assert (await read_header(archive, await get_instance(archive, STUDY, SERIES, SOP))).PatientName == "MÜLLER^JÖRG"
    path = archive.store.path(outcome.storage_key)
    assert path is not None
    assert path.read_bytes().endswith(data_set_of(file))


async def test_the_index_finds_what_leaves_and_no_longer_what_was_received(archive: Archive) -> None:
    await store_file(archive, make_file())
    await add_corrections(archive, for_study(correction(NAME, "PN", "Roe^John=ロー")))
    columns = "patient_name, patient_name_key, patient_name_other_keys"
    assert await rows(archive, f"SELECT {columns} FROM study") == await rows(archive, f"SELECT {columns} FROM patient")
    [(name, key, others)] = await rows(archive, f"SELECT {columns} FROM study")
    assert (name, key) == ("Roe^John=ロー", "roe^john")
    assert others


async def test_another_patient_id_moves_the_study_to_that_patient(archive: Archive) -> None:
    await store_file(archive, make_file())
    await store_file(
        archive,
        make_file(PatientID="P2", PatientName="OTHER", StudyInstanceUID="7", SeriesInstanceUID="8", SOPInstanceUID="9"),
    )
    ids = await add_corrections(archive, for_study(correction(PATIENT_ID, "LO", "P2")))
    patients = (
        "SELECT p.patient_id, s.study_instance_uid FROM patient p LEFT JOIN study s ON s.patient = p.id ORDER BY 2"
    )
    assert await rows(archive, patients) == [("P2", STUDY), ("P2", "7")]
    assert [i.sop_instance_uid for i in await list_instances(archive, Selection(patient_ids=("P2",)))] == [SOP, "9"]
    await revoke_corrections(archive, ids, actor="anna")
    assert await rows(archive, patients) == [("P1", STUDY), ("P2", "7")]


async def test_a_patient_with_another_study_stays_when_one_moves_away(archive: Archive) -> None:
    await store_file(archive, make_file())
    await store_file(archive, make_file(StudyInstanceUID="7", SeriesInstanceUID="8", SOPInstanceUID="9"))
    await add_corrections(archive, for_study(correction(PATIENT_ID, "LO", "NEW")))
    assert await rows(archive, "SELECT patient_id FROM patient ORDER BY 1") == [("NEW",), ("P1",)]


async def test_revoking_restores_what_was_received(archive: Archive) -> None:
    await store_file(archive, make_file(ContentLabel="A", PatientSex="F"))
    await store_file(archive, make_file(Modality="MR", SeriesInstanceUID="8", SOPInstanceUID="9", SeriesNumber=2))
    tables = [f"SELECT * FROM {table} ORDER BY id" for table in ("study", "instance")]
    series = "SELECT series_instance_uid, modality, series_number, instance_count FROM series ORDER BY id"
    before = [await rows(archive, statement) for statement in (*tables, series)]
    received = await sent(archive)
    attributes = (
        correction(NAME, "PN", "X"),
        correction(LABEL, "CS", "B"),
        correction(MODALITY, "CS", "US"),
        AttributeCorrection((0x00100040,), "CS", None),
    )
    ids = await add_corrections(archive, for_study(*attributes))
    assert await rows(archive, "SELECT patient_sex, modalities FROM study") == [(None, ["US"])]
    assert await rows(archive, "SELECT content_label FROM instance ORDER BY id") == [("B",), ("B",)]
    await revoke_corrections(archive, ids, actor="anna")
    assert [await rows(archive, statement) for statement in (*tables, series)] == before
    assert await sent(archive) == received
    assert await list_corrections(archive, STUDY) == []
    history = await list_corrections(archive, STUDY, revoked_too=True)
    assert [(record.actor, record.revoked_by) for record in history] == [("anna", "anna")] * 4


async def test_the_later_correction_of_an_attribute_wins_and_the_earlier_returns(archive: Archive) -> None:
    await store_file(archive, make_file())
    await add_corrections(archive, for_study(correction(NAME, "PN", "FIRST")))
    later = await add_corrections(archive, for_study(correction(NAME, "PN", "SECOND"), series_uid=SERIES))
    assert (await sent(archive)).PatientName == "SECOND"
    await revoke_corrections(archive, later, actor="anna")
    assert (await sent(archive)).PatientName == "FIRST"


async def test_series_and_instance_corrections_touch_only_theirs(archive: Archive) -> None:
    await store_file(archive, make_file())
    await store_file(archive, make_file(SOPInstanceUID="1.2.3.1.1.2", InstanceNumber=2))
    await store_file(archive, make_file(SOPInstanceUID="9", SeriesInstanceUID="8", SeriesNumber=2))
    await add_corrections(archive, for_study(correction(0x0008103E, "LO", "ARTERIAL"), series_uid=SERIES))
    await add_corrections(archive, for_study(correction(LABEL, "CS", "ONE"), series_uid=SERIES, sop_uid=SOP))
    seen = {sop: await sent(archive, sop) for sop in (SOP, "1.2.3.1.1.2", "9")}
    assert [ds.get("SeriesDescription") for ds in seen.values()] == ["ARTERIAL", "ARTERIAL", None]
    assert [ds.get("ContentLabel") for ds in seen.values()] == ["ONE", None, None]
    assert await rows(archive, "SELECT series_description FROM series ORDER BY id") == [("ARTERIAL",), (None,)]
    assert await rows(archive, "SELECT content_label FROM instance ORDER BY id") == [("ONE",), (None,), (None,)]


async def test_nested_and_binary_attributes_can_be_corrected(archive: Archive) -> None:
    await store_file(archive, make_file())
    nested = AttributeCorrection((0x00400275, 0, 0x00400009), "SH", ("SPS1",))
    binary = AttributeCorrection((0x00420011,), "OB", b"\x00\x01")
    await add_corrections(archive, for_study(nested, binary))
    dataset = await sent(archive)
    assert dataset.RequestAttributesSequence[0].ScheduledProcedureStepID == "SPS1"
    assert dataset.EncapsulatedDocument == b"\x00\x01"


@pytest.mark.parametrize(
    ("corrections", "error"),
    [
        (for_study(correction(0x0020000D, "UI", "1.2")), InvalidRequestError),
        (for_study(correction(0x00280010, "US", "1")), InvalidRequestError),
        (for_study(correction(0x7FE00010, "OW", "1")), InvalidRequestError),
        (for_study(), InvalidRequestError),
        (for_study(correction(0x00100040, "XX", "F")), InvalidRequestError),
        (for_study(correction(NAME, "PN", "X"), sop_uid=SOP), InvalidRequestError),
        (for_study(correction(NAME, "PN", "X"), series_uid="9"), NotFoundError),
        (Corrections("9", (correction(NAME, "PN", "X"),), "why", "who"), NotFoundError),
        (Corrections(STUDY, (correction(NAME, "PN", "X"),), "", "who"), InvalidRequestError),
    ],
)
async def test_what_cannot_be_corrected_changes_nothing(
    archive: Archive, corrections: Corrections, error: type[Exception]
) -> None:
    await store_file(archive, make_file())
    with pytest.raises(error):
        await add_corrections(archive, corrections)
    assert await list_corrections(archive, STUDY, revoked_too=True) == []


async def test_corrections_are_revoked_once(archive: Archive) -> None:
    await store_file(archive, make_file())
    ids = await add_corrections(archive, for_study(correction(NAME, "PN", "X")))
    await revoke_corrections(archive, ids, actor="anna")
    with pytest.raises(NotFoundError, match="revoked already"):
        await revoke_corrections(archive, ids, actor="anna")


async def test_objects_that_arrive_later_are_corrected_too(archive: Archive) -> None:
    await store_file(archive, make_file())
    await add_corrections(archive, for_study(correction(MODALITY, "CS", "PT"), correction(LABEL, "CS", "B")))
    await store_file(archive, make_file(SOPInstanceUID="9", SeriesInstanceUID="8", SeriesNumber=2))
    assert (await sent(archive, "9")).Modality == "PT"
    await refresh_index(archive, STUDY)
    assert await rows(archive, "SELECT modality FROM series ORDER BY id") == [("PT",), ("PT",)]
    assert await rows(archive, "SELECT modalities FROM study") == [(["PT"],)]
    assert await rows(archive, "SELECT content_label FROM instance ORDER BY id") == [("B",), ("B",)]


async def test_a_correction_of_a_large_study_reads_few_headers(archive: Archive) -> None:
    files = make_ct_series(None, 40)
    for file in files:
        outcome = await store_file(archive, file)
    study = outcome.study_instance_uid
    for instance in (await list_instances(archive, Selection(study_uids=(study,))))[5:]:
        await archive.store.delete(instance.storage_key)  # whoever reads these headers fails
    await add_corrections(archive, Corrections(study, (correction(NAME, "PN", "MERGED"),), "merge", "anna"))
    assert await rows(archive, "SELECT patient_name FROM study") == [("MERGED",)]


async def test_a_rebuilt_index_still_shows_what_was_corrected(archive: Archive) -> None:
    await store_file(archive, make_file())
    await add_corrections(archive, for_study(correction(PATIENT_ID, "LO", "P9")))
    report = await rebuild(archive)
    assert (report.indexed, report.unreadable) == (1, [])
    assert await rows(archive, "SELECT patient_id FROM study") == [("P9",)]
    assert (await sent(archive)).PatientID == "P9"

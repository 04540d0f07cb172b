"""Deletions, corrections, exports, imports and node changes stand in the audit trail, with the change or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from fileroom.admin.audit_search import AuditQuery, AuditRecord, search
from fileroom.admin.nodes import Node, add_node, remove_node
from fileroom.archive.correct import Corrections, add_corrections, list_corrections, revoke_corrections
from fileroom.archive.delete import delete_series, delete_study
from fileroom.archive.media_export import export_folder, export_zip
from fileroom.archive.media_import import import_paths
from fileroom.archive.retrieve import Selection
from fileroom.archive.services import Archive
from fileroom.core.access import SYSTEM, Access, ActorKind, Permission, acting_as
from fileroom.core.errors import ConflictError, NotFoundError
from fileroom.dicom.correction import AttributeCorrection
from stored_objects import make_file, store_file

STUDY, SERIES = "1.2.3.1", "1.2.3.1.1"
ADA = Access(ActorKind.PERSON, "ada", frozenset(Permission), address="10.0.0.7")


async def events(archive: Archive, **query: str) -> list[AuditRecord]:
    await archive.audit.flush(archive.pool)
    with acting_as(SYSTEM):
        found = (await search(archive.pool, AuditQuery(user="ada", **query))).records  # type: ignore[arg-type]
    return [*reversed(found)]


@pytest.fixture
async def patient(archive: Archive) -> str:
    """The Patient ID of a study of two series."""
    await store_file(archive, make_file(PatientID="4711", PatientName="DOE^JANE"))
    await store_file(archive, make_file(PatientID="4711", SeriesInstanceUID="8", SOPInstanceUID="8.1"))
    return "4711"


async def test_a_deleted_study_is_put_down_with_its_patient(archive: Archive, patient: str) -> None:
    with acting_as(ADA):
        await delete_series(archive, STUDY, "8", actor="ada")
        await delete_study(archive, STUDY, actor="ada")
        with pytest.raises(NotFoundError):
            await delete_study(archive, STUDY, actor="ada")
    series, study = await events(archive, patient=patient)
    assert [(one.event, one.action, one.address) for one in (series, study)] == [
        ("110103", "D", "10.0.0.7"),
        ("110105", "D", "10.0.0.7"),
    ]
    assert [one.name for one in study.message.objects] == [STUDY, "DOE^JANE"]


async def test_corrections_and_their_end(archive: Archive, patient: str) -> None:
    attribute = AttributeCorrection((0x00081030,), "LO", ("Knee",))
    with acting_as(ADA):
        ids = await add_corrections(archive, Corrections(STUDY, (attribute,), "wrong knee", "ada"))
        await revoke_corrections(archive, ids, actor="ada")
        assert await list_corrections(archive, STUDY) == []
    made, revoked = await events(archive, study=STUDY)
    assert (made.action, made.what) == ("U", "Corrected (0008,1030) of the study by ada: wrong knee")
    assert "back" in revoked.what


async def test_an_export_is_put_down_before_it_begins(archive: Archive, patient: str, tmp_path: Path) -> None:
    with acting_as(ADA):
        await export_folder(archive, Selection(study_uids=(STUDY,)), tmp_path / "out")
        with pytest.raises(ConflictError):
            await export_folder(archive, Selection(study_uids=(STUDY,)), tmp_path / "out")
        await export_zip(archive, Selection(patient_ids=(patient,)), tmp_path / "out.zip")
    found = await events(archive, patient=patient)
    assert [one.message.participants[-1].user_id for one in found] == [str(tmp_path / "out"), str(tmp_path / "out.zip")]
    assert found[0].message.objects[0].sop_classes[0].instances == 2


async def test_an_import_names_its_studies_and_what_was_refused(archive: Archive, tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(make_file(PatientID="4711"))
    (tmp_path / "b.dcm").write_bytes(make_file(PatientID="4711")[:300])
    with acting_as(ADA):
        report = await import_paths(archive, [tmp_path])
    assert (report.stored, len(report.refused)) == (1, 1)
    good, bad = await events(archive)
    assert (good.event, good.patient_ids, good.study_uids) == ("110107", ("4711",), (STUDY,))
    assert (bad.outcome, bad.what) == (4, "1 files were refused")


async def test_node_changes(archive: Archive) -> None:
    with acting_as(ADA):
        await add_node(archive.pool, Node("CT1", "CT1", "10.1.2.3", 104))
        with pytest.raises(ConflictError):
            await add_node(archive.pool, Node("CT1", "CT1", "10.1.2.3", 104))
        await remove_node(archive.pool, "CT1")
        with pytest.raises(NotFoundError):
            await remove_node(archive.pool, "CT1")
    assert [(one.event_type, one.what) for one in await events(archive)] == [
        ("110128", "Added: name: CT1; aet: CT1; host: 10.1.2.3; port: 104"),
        ("110128", "Removed. It was name: CT1; aet: CT1; host: 10.1.2.3; port: 104"),
    ]

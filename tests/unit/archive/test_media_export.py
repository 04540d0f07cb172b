"""Exported objects are those that were received, wherever they are written."""

from __future__ import annotations

import errno
import io
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.fileset import FileSet

from dicom_bytes import nested
from fileroom.archive.correct import Corrections, add_corrections
from fileroom.archive.media_export import export_folder, export_media, export_zip
from fileroom.archive.media_import import import_paths
from fileroom.archive.retrieve import list_instances, open_object
from fileroom.archive.services import Archive
from fileroom.archive.store import Claim, begin
from fileroom.core.errors import ConflictError, NotFoundError
from fileroom.dicom import uids
from fileroom.dicom.correction import AttributeCorrection
from fileroom.index.stored import Selection
from stored_objects import CT, EXPLICIT_LE, data_set_of, make_file, store_file, undecodable_file

STUDY = Selection(study_uids=("1.2.3.1",))
COMPLETE = {"StudyTime": "101010", "StudyID": "S1"}


async def fill(archive: Archive, **attributes: Any) -> dict[str, bytes]:
    """Two series of two images; the files by SOP Instance UID."""
    stored = {}
    for series in (1, 2):
        for number in (1, 2):
            uid = f"1.2.3.1.{series}.{number}"
            stored[uid] = make_file(
                SeriesInstanceUID=f"1.2.3.1.{series}",
                SeriesNumber=series,
                InstanceNumber=number,
                SOPInstanceUID=uid,
                **attributes,
            )
            await store_file(archive, stored[uid])
    return stored


def exported(folder: Path) -> dict[str, pydicom.Dataset]:
    return {str(ds.SOPInstanceUID): ds for ds in map(pydicom.dcmread, sorted(folder.rglob("*.dcm")))}


def read_medium(folder: Path) -> dict[str, Path]:
    """The files that the DICOMDIR lists, by SOP Instance UID."""
    medium = FileSet(folder / "DICOMDIR")
    medium._stage["t"].cleanup()  # its temporary folder, else left to the garbage collector
    return {str(instance.SOPInstanceUID): Path(instance.path) for instance in medium}


async def test_a_folder_has_one_file_for_each_object(archive: Archive, tmp_path: Path) -> None:
    stored = await fill(archive)
    report = await export_folder(archive, STUDY, tmp_path / "out")
    names = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.dcm"))
    assert names == [f"STUDY1/SERIES{s}/IMAGE{n}.dcm" for s in (1, 2) for n in (1, 2)]
    assert report.objects == 4
    assert report.bytes == sum(path.stat().st_size for path in (tmp_path / "out").rglob("*.dcm"))
    for path in (tmp_path / "out").rglob("*.dcm"):
        assert data_set_of(path.read_bytes()) == data_set_of(stored[pydicom.dcmread(path).SOPInstanceUID])


async def test_corrections_are_laid_over_what_is_exported(archive: Archive, tmp_path: Path) -> None:
    await fill(archive)
    change = AttributeCorrection((0x00100010,), "PN", ("RIGHT^NAME",))
    await add_corrections(archive, Corrections("1.2.3.1", (change,), "wrong patient", "me"))
    await export_folder(archive, STUDY, tmp_path / "out")
    assert {str(ds.PatientName) for ds in exported(tmp_path / "out").values()} == {"RIGHT^NAME"}


async def test_a_zip_file_holds_the_same(archive: Archive, tmp_path: Path) -> None:
    stored = await fill(archive)
    target = tmp_path / "out.zip"
    report = await export_zip(archive, STUDY, target)
    with zipfile.ZipFile(target) as file:
        assert file.testzip() is None
        contents = [file.read(name) for name in file.namelist()]
    assert report.objects == len(contents) == 4
    assert {data_set_of(content) for content in contents} == {data_set_of(content) for content in stored.values()}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.zip", "store"]


async def test_what_is_exported_can_be_imported(archive: Archive, tmp_path: Path) -> None:
    await fill(archive)
    await export_folder(archive, STUDY, tmp_path / "folder")
    await export_zip(archive, STUDY, tmp_path / "file.zip")
    report = await import_paths(archive, [tmp_path / "folder", tmp_path / "file.zip"])
    assert (report.already_there, len(report.refused)) == (8, 0)


# --- media ---


async def test_a_medium_has_a_directory_that_others_can_read(archive: Archive, tmp_path: Path) -> None:
    stored = await fill(archive, **COMPLETE)
    report = await export_media(archive, STUDY, tmp_path / "cd")
    assert report.objects == 4
    medium = read_medium(tmp_path / "cd")
    assert set(medium) == set(stored)
    for uid, path in medium.items():
        assert data_set_of(path.read_bytes()) == data_set_of(stored[uid])
    assert sorted(path.name for path in (tmp_path / "cd").iterdir()) == ["DICOMDIR", "PT000000"]
    files = [path for path in (tmp_path / "cd").rglob("*") if path.is_file()]
    assert len(files) == 5
    parts = {part for path in files for part in path.relative_to(tmp_path / "cd").parts}
    assert all(part.isalnum() and part.isupper() and len(part) <= 8 for part in parts)


@pytest.mark.skipif(shutil.which("dcmdump") is None, reason="dcmdump (DCMTK) is not installed")
async def test_dcmtk_reads_the_directory(archive: Archive, tmp_path: Path) -> None:
    await fill(archive, **COMPLETE)
    await export_media(archive, STUDY, tmp_path / "cd")
    result = subprocess.run(
        ["dcmdump", "+P", "0004,1430", str(tmp_path / "cd" / "DICOMDIR")], capture_output=True, text=True, check=True
    )
    kinds = [line.split("[")[1].split("]")[0].strip() for line in result.stdout.splitlines()]
    assert kinds.count("IMAGE") == 4
    assert (kinds.count("PATIENT"), kinds.count("STUDY"), kinds.count("SERIES")) == (1, 1, 2)


async def test_objects_that_lack_what_a_directory_needs_stand_in_it_all_the_same(
    archive: Archive, tmp_path: Path
) -> None:
    file = make_file(PatientID="", StudyDate="", Modality="", SeriesNumber=None, InstanceNumber=None)
    await store_file(archive, file)
    await export_media(archive, STUDY, tmp_path / "cd")
    [path] = read_medium(tmp_path / "cd").values()
    assert data_set_of(path.read_bytes()) == data_set_of(file), "the object itself is as it was"


@pytest.mark.parametrize(
    "sop_class",
    [
        "1.2.840.10008.5.1.4.1.1.88.11",
        "1.2.840.10008.5.1.4.1.1.88.59",
        "1.2.840.10008.5.1.4.1.1.11.1",
        "1.2.840.10008.5.1.4.1.1.104.1",
        "1.2.840.10008.5.1.4.1.1.481.2",
        "1.2.840.10008.5.1.4.1.1.481.3",
        "1.2.840.10008.5.1.4.1.1.481.5",
        "1.2.840.10008.5.1.4.1.1.9.1.1",
        "1.2.840.10008.5.1.4.1.1.66",
        "1.2.840.10008.5.1.4.1.1.4.2",
        "1.2.3.4.5",
    ],
)
async def test_every_kind_of_object_stands_in_the_directory(archive: Archive, tmp_path: Path, sop_class: str) -> None:
    file = make_file(SOPClassUID=sop_class, pixels=None, ContentSequence=[], Modality="OT")
    await store_file(archive, file)
    await export_media(archive, STUDY, tmp_path / "cd")
    [path] = read_medium(tmp_path / "cd").values()
    assert data_set_of(path.read_bytes()) == data_set_of(file)


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        ("ISO_IR 100", "Müller^Jürgen"),
        ("ISO_IR 192", "Yamada^Tarou=山田^太郎"),
        ("\\ISO 2022 IR 87", "Yamada^T=山田^太郎"),
    ],
)
async def test_names_in_the_directory_are_readable(archive: Archive, tmp_path: Path, charset: str, name: str) -> None:
    await store_file(archive, make_file(SpecificCharacterSet=charset.split("\\"), PatientName=name, **COMPLETE))
    await export_media(archive, STUDY, tmp_path / "cd")
    directory = pydicom.dcmread(tmp_path / "cd" / "DICOMDIR")
    [patient] = [r for r in directory.DirectoryRecordSequence if r.DirectoryRecordType == "PATIENT"]
    assert str(patient.PatientName) == name


@pytest.mark.parametrize(
    "broken",
    [
        b"\x08\x00\x64\x00OB\x00\x00\x04\x00\x00\x00DV  ",  # Conversion Type is CS
        b"\x20\x00\x13\x00IS\x04\x000x1F",  # Instance Number is decimal
        b"\x00\x00\x02\x09LO\x04\x00none",  # a command's comment
    ],
)
async def test_a_broken_attribute_is_missing_only_in_the_directory(
    archive: Archive, tmp_path: Path, broken: bytes
) -> None:
    file = make_file(**COMPLETE)
    at = file.index({0x20: b"\x20\x00\x13\x00IS"}.get(broken[0], b"\x08\x00\x60\x00CS"))
    await store_file(archive, file[:at] + broken + file[at + (10 if broken[0] == 0x20 else 0) :])
    await export_media(archive, STUDY, tmp_path / "cd")
    [path] = read_medium(tmp_path / "cd").values()
    assert broken in path.read_bytes()


async def store_too_deep(archive: Archive, sop_uid: str) -> None:
    """An object with sequences in sequences as deep as pydicom cannot read, in the first study of `fill`."""
    file = make_file(SOPInstanceUID=sop_uid, **COMPLETE)
    at = file.index(b"\x10\x00\x10\x00PN")
    incoming = begin(archive, Claim(CT, sop_uid, EXPLICIT_LE, "test"))
    incoming.write(memoryview(data_set_of(file[:at] + nested(1000) + file[at:])))
    await incoming.finish()


async def test_objects_that_a_medium_cannot_have_are_left_out_and_named(archive: Archive, tmp_path: Path) -> None:
    stored = await fill(archive, **COMPLETE)
    await store_too_deep(archive, "1.2.3.1.1.8")
    await store_file(archive, undecodable_file(SOPInstanceUID="1.2.3.1.1.9", **COMPLETE))
    report = await export_media(archive, STUDY, tmp_path / "cd")
    reasons = {one.sop_instance_uid: one.reason for one in report.left_out}
    assert set(reasons) == {"1.2.3.1.1.8", "1.2.3.1.1.9"}
    assert "cannot stand in a DICOMDIR" in reasons["1.2.3.1.1.8"]
    assert "form of a medium" in reasons["1.2.3.1.1.9"]
    medium = read_medium(tmp_path / "cd")
    assert set(medium) == set(stored)
    assert (report.objects, report.bytes) == (4, sum(path.stat().st_size for path in medium.values()))
    assert sorted(path.name for path in (tmp_path / "cd").iterdir()) == ["DICOMDIR", "PT000000"]
    assert len([path for path in (tmp_path / "cd").rglob("*") if path.is_file()]) == 5


async def test_an_object_that_fails_after_its_record_was_made_does_not_stay_in_the_directory(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = await fill(archive, **COMPLETE)
    real = pydicom.Dataset.save_as

    def save_as(self: pydicom.Dataset, *arguments: Any, **options: Any) -> None:
        if self.SOPInstanceUID == "1.2.3.1.1.2":
            raise ValueError("no room in this header")
        real(self, *arguments, **options)

    monkeypatch.setattr(pydicom.Dataset, "save_as", save_as)
    report = await export_media(archive, STUDY, tmp_path / "cd")
    [left_out] = report.left_out
    assert (left_out.sop_instance_uid, "no room in this header" in left_out.reason) == ("1.2.3.1.1.2", True)
    assert set(read_medium(tmp_path / "cd")) == set(stored) - {"1.2.3.1.1.2"}


async def test_a_full_disk_is_not_taken_for_an_unfit_object(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(archive, **COMPLETE)

    def save_as(self: pydicom.Dataset, *arguments: Any, **options: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pydicom.Dataset, "save_as", save_as)
    with pytest.raises(OSError, match="No space left"):
        await export_media(archive, STUDY, tmp_path / "cd")


async def test_a_medium_that_can_have_none_of_the_objects_is_not_made(archive: Archive, tmp_path: Path) -> None:
    await store_too_deep(archive, "1.2.3.1.1.1")
    report = await export_media(archive, STUDY, tmp_path / "cd")
    assert (report.objects, report.bytes, len(report.left_out)) == (0, 0, 1)
    assert list((tmp_path / "cd").iterdir()) == []
    assert (await export_zip(archive, STUDY, tmp_path / "out.zip")).objects == 1


async def test_an_object_without_a_study_stands_in_the_directory(archive: Archive, tmp_path: Path) -> None:
    palette = pydicom.dcmread(Path(pydicom.__file__).parent / "data/palettes/pet.dcm")
    outcome = await store_file(archive, (Path(pydicom.__file__).parent / "data/palettes/pet.dcm").read_bytes())
    assert "StudyInstanceUID" not in palette
    await export_media(archive, Selection(sop_uids=(outcome.sop_instance_uid,)), tmp_path / "cd")
    assert list(read_medium(tmp_path / "cd")) == [palette.SOPInstanceUID]


async def test_a_medium_carries_explicit_little_endian(archive: Archive, tmp_path: Path) -> None:
    file = make_file(uids.IMPLICIT_VR_LITTLE_ENDIAN, **COMPLETE)
    await store_file(archive, file)
    await export_media(archive, STUDY, tmp_path / "cd")
    [path] = read_medium(tmp_path / "cd").values()
    assert pydicom.dcmread(path).file_meta.TransferSyntaxUID == EXPLICIT_LE
    assert pydicom.dcmread(path) == pydicom.dcmread(io.BytesIO(file))


async def test_a_medium_carries_no_jpeg_xl(archive: Archive, tmp_path: Path) -> None:
    original = make_file(**COMPLETE)
    outcome = await store_file(archive, original)
    [instance] = await list_instances(archive, Selection(sop_uids=(outcome.sop_instance_uid,)))
    opened = await open_object(archive, instance, uids.JPEG_XL_LOSSLESS, part10=True)
    packed = b"".join([piece async for piece in opened.chunks])
    packed = packed.replace(b"1.2.3.1.1.1\0", b"1.2.3.9.9.9\0").replace(b"1.2.3.1\0", b"1.2.3.9\0")
    await store_file(archive, packed)
    await export_media(archive, Selection(study_uids=("1.2.3.9",)), tmp_path / "cd")
    [path] = read_medium(tmp_path / "cd").values()
    assert pydicom.dcmread(path).file_meta.TransferSyntaxUID == EXPLICIT_LE
    assert pydicom.dcmread(path).PixelData == pydicom.dcmread(io.BytesIO(original)).PixelData


# --- refusals ---


async def test_nothing_selected_is_an_error(archive: Archive, tmp_path: Path) -> None:
    for export, target in ((export_folder, "a"), (export_zip, "b.zip"), (export_media, "c")):
        with pytest.raises(NotFoundError, match="Nothing matches"):
            await export(archive, Selection(study_uids=("9.9",)), tmp_path / target)
    assert [path.name for path in tmp_path.iterdir()] in ([], ["store"])


async def test_nothing_is_written_over(archive: Archive, tmp_path: Path) -> None:
    await store_file(archive, make_file())
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("keep")
    (tmp_path / "mine.zip").write_text("keep")
    for export, target in ((export_folder, "full"), (export_media, "full"), (export_zip, "mine.zip")):
        with pytest.raises(ConflictError, match="choose"):
            await export(archive, STUDY, tmp_path / target)
    assert (tmp_path / "mine.zip").read_text() == (tmp_path / "full" / "mine").read_text() == "keep"


async def test_an_empty_folder_will_do(archive: Archive, tmp_path: Path) -> None:
    await fill(archive, **COMPLETE)
    for export in (export_folder, export_media):
        target = tmp_path / export.__name__
        target.mkdir()
        assert (await export(archive, STUDY, target)).objects == 4


async def test_a_broken_export_leaves_no_half_zip_file(archive: Archive, tmp_path: Path) -> None:
    outcome = await store_file(archive, make_file())
    path = archive.store.path(outcome.storage_key)
    assert path is not None
    path.unlink()
    with pytest.raises(NotFoundError):
        await export_zip(archive, STUDY, tmp_path / "out.zip")
    with pytest.raises(NotFoundError):
        await export_media(archive, STUDY, tmp_path / "cd")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cd", "store"]
    assert list((tmp_path / "cd").iterdir()) == []

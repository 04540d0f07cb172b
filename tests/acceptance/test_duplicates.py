"""The same object again is stored once; the same UID with other content is kept aside, and the first one stays."""

from __future__ import annotations

from pathlib import Path

import pydicom

from acceptance.conftest import SeriesFactory
from acceptance.dicom_files import read_part10, study_uid
from acceptance.programs.dcmtk import Dcmtk
from acceptance.programs.dicomweb import retrieve, store
from acceptance.programs.fileroom import Fileroom
from acceptance.programs.pynetdicom_peer import send_exactly


def _with_other_content(path: Path, target: Path) -> Path:
    ds = pydicom.dcmread(path)
    ds.PatientComments = "another object under the same UID"
    ds.save_as(target)
    return target


def test_the_same_object_again_is_success_and_stored_once(fileroom: Fileroom, ct_series: SeriesFactory) -> None:
    files = ct_series(3)
    assert {answer.status for answer in send_exactly(fileroom.dicom_port, files)} == {0}
    stored, rows = sorted(fileroom.stored_files()), fileroom.instance_count()
    assert {answer.status for answer in send_exactly(fileroom.dicom_port, files)} == {0}
    assert store(fileroom.dicomweb, files).status_code == 200
    assert (sorted(fileroom.stored_files()), fileroom.instance_count()) == (stored, rows)


def test_the_same_object_from_four_senders_at_once_is_stored_once(
    fileroom: Fileroom, dcmtk: Dcmtk, ct_series: SeriesFactory
) -> None:
    files = ct_series(30)
    before, rows = len(fileroom.stored_files()), fileroom.instance_count()
    senders = [dcmtk.start_store(files) for _ in range(4)]
    for sender in senders:
        sender.communicate()
        assert sender.returncode == 0
    assert fileroom.instance_count() == rows + 30
    assert len(fileroom.stored_files()) == before + 30


def test_other_content_under_a_known_uid_is_kept_aside(
    fileroom: Fileroom, ct_series: SeriesFactory, tmp_path: Path
) -> None:
    (first,) = ct_series(1)
    other = _with_other_content(first, tmp_path / "other.dcm")
    uid = read_part10(first).sop_instance_uid
    assert send_exactly(fileroom.dicom_port, [first])[0].status == 0
    answer = send_exactly(fileroom.dicom_port, [other])[0]
    assert answer.status is not None
    assert answer.status & 0xF000 in (0x0000, 0xB000), "kept aside is success, perhaps with a warning"

    assert retrieve(fileroom.dicomweb, f"studies/{study_uid(first)}")[uid].dataset == read_part10(first).dataset
    conflicts = fileroom.rows("SELECT storage_key FROM conflict WHERE sop_instance_uid = %s", uid)
    assert len(conflicts) == 1
    kept = fileroom.data / "store" / conflicts[0][0]
    assert read_part10(kept).dataset == read_part10(other).dataset

    send_exactly(fileroom.dicom_port, [other])  # once more: it is aside already
    assert len(fileroom.rows("SELECT 1 FROM conflict WHERE sop_instance_uid = %s", uid)) == 1

"""What is stored comes back by every standard way, bit by bit as it was sent, in every transfer syntax."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pydicom
import pytest

from acceptance.conftest import SeriesFactory
from acceptance.dicom_files import (
    DCMTK_PREFERENCES,
    DCMTK_PROPOSALS,
    JPEG_XL_LOSSLESS,
    Part10,
    as_dataset,
    by_instance,
    make_ct_in,
    read_part10,
    study_uid,
)
from acceptance.programs.dcmtk import Dcmtk, StoreScp
from acceptance.programs.dicomweb import retrieve, retrieve_by_uri, search, value
from acceptance.programs.fileroom import Fileroom
from acceptance.programs.pynetdicom_peer import get_instances, instances_of_study, send_exactly

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
RLE = "1.2.840.10008.1.2.5"
JPEG_LS = "1.2.840.10008.1.2.4.80"
JPEG_2000 = "1.2.840.10008.1.2.4.90"
HTJ2K = "1.2.840.10008.1.2.4.201"
DCMTK_CAN_SEND = (IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED, RLE, JPEG_LS, JPEG_2000)
ALL = (*DCMTK_CAN_SEND, HTJ2K, JPEG_XL_LOSSLESS)


def assert_same(received: Mapping[str, Part10], sent: Mapping[str, Part10]) -> None:
    """The same objects, the same bytes, and file meta that tells the truth."""
    assert received.keys() == sent.keys()
    for uid, part in sent.items():
        assert received[uid].transfer_syntax_uid == part.transfer_syntax_uid
        assert received[uid].sop_class_uid == part.sop_class_uid
        assert received[uid].dataset == part.dataset, f"{uid} came back with other bytes"


def assert_same_images(received: Mapping[str, Part10], sent: Mapping[str, Part10]) -> None:
    """As `assert_same` where the transfer syntax is the same; elsewhere the same values and pixels in another one."""
    assert received.keys() == sent.keys()
    for uid, part in sent.items():
        if received[uid].transfer_syntax_uid == part.transfer_syntax_uid:
            assert_same({uid: received[uid]}, {uid: part})
            continue
        ours, theirs = as_dataset(received[uid]), as_dataset(part)
        assert (ours.pixel_array == theirs.pixel_array).all()
        del ours.PixelData, theirs.PixelData
        assert {e.tag: e.value for e in ours} == {e.tag: e.value for e in theirs}


def assert_same_over_web(received: Mapping[str, Part10], sent: Mapping[str, Part10]) -> None:
    """As `assert_same`, but implicit VR and big endian may not travel over the web (PS3.18 8.7.3) and come explicit."""
    for uid, part in sent.items():
        if part.transfer_syntax_uid in (IMPLICIT, BIG_ENDIAN):
            assert received[uid].transfer_syntax_uid == EXPLICIT
    assert_same_images(received, sent)


@pytest.mark.parametrize("syntax", DCMTK_CAN_SEND)
def test_what_storescu_sends_comes_back_bit_identical(
    fileroom: Fileroom, dcmtk: Dcmtk, storescp: StoreScp, tmp_path: Path, new_seed: Callable[[], int], syntax: str
) -> None:
    files = make_ct_in(syntax, tmp_path / "ct", count=3, seed=new_seed())
    study = study_uid(files[0])
    proposal = DCMTK_PROPOSALS[syntax]
    # storescu encodes anew what it reads; what it really sends is what storescp writes.
    storescp.clear()
    assert Dcmtk(storescp.port, storescp.aet).store(files, proposal).returncode == 0
    sent = by_instance(storescp.received())
    assert {part.transfer_syntax_uid for part in sent.values()} == {syntax}

    result = dcmtk.store(files, proposal)
    assert result.returncode == 0, result.stdout + result.stderr

    assert_same_over_web(retrieve(fileroom.dicomweb, f"studies/{study}"), sent)
    # getscu proposes its preference and the uncompressed syntaxes in one context; which of them is ours to choose.
    got = dcmtk.get(tmp_path / "got", "STUDY", {"StudyInstanceUID": study}, DCMTK_PREFERENCES[syntax])
    assert_same_images(by_instance(got), sent)
    storescp.clear()
    result = dcmtk.move(storescp.aet, "STUDY", {"StudyInstanceUID": study})
    assert result.returncode == 0, result.stdout + result.stderr
    assert_same(by_instance(storescp.received()), sent)


@pytest.mark.parametrize("syntax", ALL)
def test_any_transfer_syntax_comes_back_bit_identical(
    fileroom: Fileroom, tmp_path: Path, new_seed: Callable[[], int], syntax: str
) -> None:
    files = make_ct_in(syntax, tmp_path, count=2, seed=new_seed())
    sent = by_instance(files)
    study = study_uid(files[0])

    answers = send_exactly(fileroom.dicom_port, files)
    assert [answer.status for answer in answers] == [0, 0]

    assert_same_over_web(retrieve(fileroom.dicomweb, f"studies/{study}"), sent)
    contexts = [(part.sop_class_uid, syntax) for part in list(sent.values())[:1]]
    assert_same(get_instances(fileroom.dicom_port, contexts, instances_of_study(study)), sent)
    for path in files:
        ds = pydicom.dcmread(path, stop_before_pixels=True)
        part = retrieve_by_uri(fileroom.url, ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID)
        assert_same_over_web({part.sop_instance_uid: part}, {part.sop_instance_uid: read_part10(path)})


def test_real_images_of_every_jpeg_family_come_back_bit_identical(fileroom: Fileroom, wg04: Path) -> None:
    files = sorted(wg04.glob("*/*.dcm"))
    assert len(files) > 50
    answers = send_exactly(fileroom.dicom_port, files)
    assert {answer.status for answer in answers} == {0}

    sent = by_instance(files)
    received: dict[str, Part10] = {}
    for study in sorted({study_uid(path) for path in files}):
        received |= retrieve(fileroom.dicomweb, f"studies/{study}")
    assert_same(received, sent)


def test_real_jpeg_images_sent_by_storescu_come_back_by_getscu(
    fileroom: Fileroom, dcmtk: Dcmtk, wg04: Path, tmp_path: Path
) -> None:
    """As getscu leaves the choice of transfer syntax to us, they may come decoded: pixels as in the original."""
    originals = {path.name.removesuffix("_UNC.dcm"): path for path in (wg04 / "UNC").glob("*.dcm")}
    lossless = {name: path for name in originals if (path := wg04 / "JPLL" / f"{name}_JPLL.dcm").exists()}
    assert len(lossless) >= 3
    result = dcmtk.store(lossless.values(), "-xs")
    assert result.returncode == 0, result.stdout + result.stderr
    for name, path in lossless.items():
        ds = pydicom.dcmread(path, stop_before_pixels=True)
        keys = {
            keyword: str(ds[keyword].value) for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
        }
        (got,) = dcmtk.get(tmp_path / name, "IMAGE", keys, "+xs")
        part = read_part10(got)
        if part.transfer_syntax_uid == read_part10(path).transfer_syntax_uid:
            assert part.dataset.endswith(read_part10(path).dataset[-10_000:])
        else:
            assert (pydicom.dcmread(got).pixel_array == pydicom.dcmread(originals[name]).pixel_array).all()


def test_getscu_without_the_stored_transfer_syntax_gets_decoded_pixels(
    fileroom: Fileroom, dcmtk: Dcmtk, tmp_path: Path, new_seed: Callable[[], int]
) -> None:
    files = make_ct_in(JPEG_2000, tmp_path / "ct", count=1, seed=new_seed())
    original = pydicom.dcmread(files[0]).pixel_array
    send_exactly(fileroom.dicom_port, files)
    (got,) = dcmtk.get(tmp_path / "got", "STUDY", {"StudyInstanceUID": study_uid(files[0])})
    ds = pydicom.dcmread(got)
    assert ds.file_meta.TransferSyntaxUID == EXPLICIT
    assert (ds.pixel_array == original).all()


def test_found_at_every_level_by_findscu_and_qido(
    fileroom: Fileroom, dcmtk: Dcmtk, ct_series: SeriesFactory, tmp_path: Path
) -> None:
    files = ct_series(3)
    assert dcmtk.store(files).returncode == 0
    ds = pydicom.dcmread(files[0], stop_before_pixels=True)
    study, series, instance = ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID

    (patient,) = dcmtk.find(tmp_path / "patient", "PATIENT", {"PatientID": ds.PatientID, "PatientName": ""}, "-P")
    assert patient.PatientName == ds.PatientName
    keys = {"PatientID": ds.PatientID, "StudyInstanceUID": "", "NumberOfStudyRelatedInstances": "", "StudyDate": ""}
    (found,) = dcmtk.find(tmp_path / "study", "STUDY", keys)
    assert (found.StudyInstanceUID, found.NumberOfStudyRelatedInstances, found.StudyDate) == (study, 3, ds.StudyDate)
    (found,) = dcmtk.find(
        tmp_path / "series", "SERIES", {"StudyInstanceUID": study, "SeriesInstanceUID": "", "Modality": ""}
    )
    assert (found.SeriesInstanceUID, found.Modality) == (series, "CT")
    keys = {"StudyInstanceUID": study, "SeriesInstanceUID": series, "SOPInstanceUID": "", "InstanceNumber": ""}
    found_instances = dcmtk.find(tmp_path / "image", "IMAGE", keys)
    assert sorted(int(each.InstanceNumber) for each in found_instances) == [1, 2, 3]

    (match,) = search(fileroom.dicomweb, "studies", {"PatientID": ds.PatientID})
    assert value(match, "0020000D") == study
    (match,) = search(fileroom.dicomweb, f"studies/{study}/series")
    assert value(match, "0020000E") == series
    matches = search(fileroom.dicomweb, f"studies/{study}/series/{series}/instances")
    assert instance in {value(match, "00080018") for match in matches}
    assert len(matches) == 3


def test_every_level_can_be_moved_and_retrieved(
    fileroom: Fileroom, dcmtk: Dcmtk, storescp: StoreScp, ct_series: SeriesFactory
) -> None:
    files = ct_series(3)
    assert dcmtk.store(files).returncode == 0
    ds = pydicom.dcmread(files[1], stop_before_pixels=True)
    study = {"StudyInstanceUID": str(ds.StudyInstanceUID)}
    series = study | {"SeriesInstanceUID": str(ds.SeriesInstanceUID)}
    instance = series | {"SOPInstanceUID": str(ds.SOPInstanceUID)}
    for level, keys, count in (("STUDY", study, 3), ("SERIES", series, 3), ("IMAGE", instance, 1)):
        storescp.clear()
        result = dcmtk.move(storescp.aet, level, keys)
        assert result.returncode == 0, result.stdout + result.stderr
        assert len(storescp.received()) == count
    storescp.clear()
    result = dcmtk.move(storescp.aet, "PATIENT", {"PatientID": ds.PatientID}, "-P")
    assert result.returncode == 0, result.stdout + result.stderr
    assert len(storescp.received()) == 3
    path = f"studies/{ds.StudyInstanceUID}/series/{ds.SeriesInstanceUID}"
    assert len(retrieve(fileroom.dicomweb, path)) == 3
    assert len(retrieve(fileroom.dicomweb, f"{path}/instances/{ds.SOPInstanceUID}")) == 1

"""Objects are changed on their way: by steps, in their character set, transfer syntax, frames and series."""

from __future__ import annotations

import dataclasses
import datetime as dt
import io
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.uid import JPEGLSLossless, RLELossless

from fileroom.admin.entries import Entry
from fileroom.archive.correct import Corrections, add_corrections
from fileroom.archive.retrieve import Selection, list_instances
from fileroom.archive.services import Archive
from fileroom.dicom import uids
from fileroom.dicom.correction import AttributeCorrection
from fileroom.pixels import transcode
from fileroom.routing.outgoing import OutgoingObject, StoredOutgoing
from fileroom.routing.treatment import Treated, compiled_treatment, fall_back, treat
from fileroom.routing.treatment_fields import checked_treatment
from fileroom.transform.hops import hops_of
from stored_objects import EXPLICIT_LE, make_file, store_file

OURS = "2.25.123456789"
IMPLICIT_LE, DEFLATED, BIG = (
    uids.IMPLICIT_VR_LITTLE_ENDIAN,
    uids.DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    uids.EXPLICIT_VR_BIG_ENDIAN,
)
PIXELS = np.arange(64 * 48, dtype="<u2").tobytes()


async def stored(archive: Archive, file: bytes) -> StoredOutgoing:
    outcome = await store_file(archive, file)
    (instance,) = await list_instances(archive, Selection(sop_uids=(outcome.sop_instance_uid,)))
    return StoredOutgoing(archive, 7, instance)


async def treated(archive: Archive, one: StoredOutgoing, fields: Mapping[str, Any]) -> Treated:
    treatment = compiled_treatment(Entry(1, "T", checked_treatment("T", fields)), OURS)
    (answer,) = await treat(archive, treatment, [one])
    return answer


async def read(one: OutgoingObject, syntax: str | None = None) -> pydicom.FileDataset:
    opened = await one.open(syntax, part10=True)
    data = b"".join([piece async for piece in opened.chunks])
    assert opened.length in (None, len(data))
    return pydicom.dcmread(io.BytesIO(data))


def image(syntax: str = EXPLICIT_LE, **attributes: Any) -> bytes:
    dataset = pydicom.dcmread(io.BytesIO(make_file(EXPLICIT_LE, pixels=PIXELS, **attributes)))
    dataset.Rows, dataset.Columns = 64, 48
    dataset.private_block(0x0029, "ACME", create=True).add_new(0x10, "LO", "private")
    if syntax == BIG:
        dataset.PixelData = np.frombuffer(PIXELS, "<u2").astype(">u2").tobytes()
    dataset.file_meta.TransferSyntaxUID = syntax
    out = io.BytesIO()
    pydicom.dcmwrite(out, dataset, implicit_vr=syntax == IMPLICIT_LE, little_endian=syntax != BIG, force_encoding=True)
    return out.getvalue()


async def test_what_is_sent_again_later_is_the_same_object_byte_for_byte(archive: Archive) -> None:
    ordered_at = dt.datetime(2026, 3, 1, 10, 0, tzinfo=dt.UTC)
    one = dataclasses.replace(await stored(archive, image()), ordered_at=ordered_at)
    later = dataclasses.replace(archive, now=lambda: ordered_at + dt.timedelta(days=2))
    fields = {"steps": [{"do": "set", "attribute": "PatientID", "value": "X9"}, {"do": "new_uids"}]}
    copies = []
    for known in (archive, later):
        answer = await treated(known, dataclasses.replace(one, archive=known), fields)
        opened = await answer.made[0].open(None, part10=True)
        copies.append(b"".join([piece async for piece in opened.chunks]))
    assert copies[0] == copies[1]
    made = pydicom.dcmread(io.BytesIO(copies[0]))
    assert made.OriginalAttributesSequence[0].AttributeModificationDateTime == "20260301100000"


async def test_what_nothing_is_changed_of_leaves_as_it_is_stored(archive: Archive) -> None:
    one = await stored(archive, image())
    answer = await treated(archive, one, {"steps": [{"do": "set", "attribute": "PatientID", "value": "P1"}]})
    assert answer.made == (one,)


@pytest.mark.parametrize("syntax", [EXPLICIT_LE, IMPLICIT_LE, DEFLATED, BIG])
async def test_a_changed_object_keeps_its_pixels_and_says_what_it_was(archive: Archive, syntax: str) -> None:
    one = await stored(archive, image(syntax))
    steps = [
        {"do": "set", "attribute": "PatientID", "value": "X9"},
        {"do": "remove", "attribute": "StudyDate"},
        {"do": "set", "attribute": '(0029,10,"ACME")', "value": "other"},
    ]
    answer = await treated(archive, one, {"steps": steps})
    assert not answer.failed
    assert not answer.quarantined
    made = await read(answer.made[0])
    assert made.PatientID == "X9"
    assert "StudyDate" not in made
    assert np.array_equal(made.pixel_array, np.frombuffer(PIXELS, "<u2").reshape(64, 48))
    (note,) = made.OriginalAttributesSequence
    previous = note.ModifiedAttributesSequence[0]
    assert {elem.keyword for elem in previous if not elem.tag.is_private} == {"PatientID", "StudyDate"}
    assert previous.PatientID == "P1"
    assert previous.StudyDate == "20260101"
    assert previous.private_block(0x0029, "ACME")[0x10].value in ("private", b"private ")
    assert note.ReasonForTheAttributeModification == "COERCE"
    assert hops_of(made, OURS) == 1


async def test_hops_are_counted_in_raw_bytes(archive: Archive) -> None:
    one = await stored(archive, image())
    answer = await treated(archive, one, {"steps": [{"do": "set", "attribute": "PatientID", "value": "X9"}]})
    for syntax in (EXPLICIT_LE, IMPLICIT_LE):
        opened = await answer.made[0].open(syntax, part10=False)
        data = b"".join([piece async for piece in opened.chunks])
        assert (hops_of(data, OURS), hops_of(data, "2.25.1")) == (1, 0)


async def test_dcmdump_reads_what_was_made(archive: Archive, tmp_path: Path) -> None:
    one = await stored(archive, image())
    answer = await treated(archive, one, {"steps": [{"do": "set", "attribute": "PatientName", "value": "Żółć^Ewa"}]})
    path = tmp_path / "made.dcm"
    opened = await answer.made[0].open(part10=True)
    path.write_bytes(b"".join([piece async for piece in opened.chunks]))
    shown = subprocess.run(["dcmdump", "+U8", str(path)], capture_output=True, text=True, check=True).stdout
    assert "Żółć^Ewa" in shown
    assert "ISO_IR 192" in shown
    assert "W:" not in shown


async def test_a_step_that_cannot_be_applied_fails_and_nothing_leaves(archive: Archive) -> None:
    one = await stored(archive, image())
    answer = await treated(
        archive, one, {"steps": [{"do": "copy", "from": "PatientName", "attribute": "PatientBirthDate"}]}
    )
    assert answer.made == ()
    assert "Step 1 (copy PatientBirthDate)" in answer.failed
    assert "DOE^JANE" in answer.failed


async def test_lossless_transcoding_is_proven_frame_by_frame(archive: Archive) -> None:
    one = await stored(archive, image())
    answer = await treated(archive, one, {"syntax": "JPEG-LS Lossless"})
    made = await read(answer.made[0])
    assert made.file_meta.TransferSyntaxUID == uids.JPEG_LS_LOSSLESS
    assert np.array_equal(made.pixel_array.reshape(-1), np.frombuffer(PIXELS, "<u2"))
    assert "OriginalAttributesSequence" not in made


async def test_other_pixels_are_quarantined(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    one = await stored(archive, image())
    monkeypatch.setattr(transcode, "_encode", _one_pixel_off(transcode._encode))
    answer = await treated(archive, one, {"syntax": "JPEG-LS Lossless"})
    assert answer.made == ()
    assert "frame 1 has other pixels" in answer.quarantined
    unasked = await treated(archive, one, {"syntax": "JPEG-LS Lossless", "prove_pixels": False})
    assert len(unasked.made) == 1


def _one_pixel_off(encode: Any) -> Any:
    def off(pixel: Any, samples: Any, *rest: Any) -> Any:
        changed = samples.copy()
        changed[0, 0] += 1
        return encode(pixel, changed, *rest)

    return off


async def test_loss_must_be_allowed_and_makes_another_image(archive: Archive) -> None:
    with pytest.raises(Exception, match="loses information"):
        checked_treatment("T", {"syntax": uids.JPEG_2000})
    one = await stored(archive, image())
    answer = await treated(archive, one, {"syntax": uids.JPEG_2000, "lossy": True})
    made = await read(answer.made[0])
    assert made.SOPInstanceUID != one.sop_instance_uid
    assert made.ImageType[0] == "DERIVED"
    assert made.LossyImageCompression == "01"
    assert made.SourceImageSequence[0].ReferencedSOPInstanceUID == one.sop_instance_uid


async def test_a_charset_is_converted_or_the_object_fails(archive: Archive) -> None:
    one = await stored(archive, image(SpecificCharacterSet="ISO_IR 192", PatientName="山田^太郎"))
    answer = await treated(archive, one, {"charset": "ISO_IR 100"})
    assert "ISO_IR 100 has no '山'" in answer.failed
    made = await read((await treated(archive, one, {"charset": "ISO 2022 IR 87"})).made[0])
    assert str(made.PatientName) == "山田^太郎"
    assert "ISO 2022 IR 87" in made.SpecificCharacterSet
    note = made.OriginalAttributesSequence[0].ModifiedAttributesSequence[0]
    assert note.SpecificCharacterSet == "ISO_IR 192"
    replaced = await read((await treated(archive, one, {"charset": "ISO_IR 100", "transliterate": True})).made[0])
    assert str(replaced.PatientName) == "??^??"
    note = replaced.OriginalAttributesSequence[0].ModifiedAttributesSequence[0]
    assert str(note.PatientName) == "山田^太郎"


async def test_a_condition_is_asked_of_what_steps_have_left(archive: Archive) -> None:
    one = await stored(archive, image())
    steps = [
        {"do": "set", "attribute": "PatientID", "value": "NEW"},
        {"do": "set", "attribute": "StudyID", "value": "yes", "when": 'PatientID == "NEW"'},
        {"do": "set", "attribute": "AccessionNumber", "value": "no", "when": 'PatientID == "P1"'},
    ]
    made = await read((await treated(archive, one, {"steps": steps})).made[0])
    assert made.StudyID == "yes"
    assert "AccessionNumber" not in made


async def test_a_split_gives_the_same_series_again(archive: Archive) -> None:
    first = await stored(archive, image(EchoTime="1.5"))
    second = await stored(archive, image(EchoTime="9", SOPInstanceUID="1.2.3.1.1.2"))
    fields = {"split": {"by": "echo"}}
    made = [(await treated(archive, one, fields)).made[0] for one in (first, second, first)]
    series = [one.series_instance_uid for one in made]
    assert series[0] == series[2] != series[1]
    assert first.series_instance_uid not in series
    assert made[0].sop_instance_uid == made[2].sop_instance_uid != first.sop_instance_uid


async def test_series_of_a_frame_of_reference_are_merged(archive: Archive) -> None:
    first = await stored(archive, image(FrameOfReferenceUID="1.9", SeriesNumber=2))
    second = await stored(
        archive,
        image(FrameOfReferenceUID="1.9", SeriesNumber=3, SeriesInstanceUID="1.2.3.1.2", SOPInstanceUID="1.2.3.1.2.1"),
    )
    made = [
        await read((await treated(archive, one, {"merge": {"by": "frame of reference"}})).made[0])
        for one in (first, second)
    ]
    assert made[0].SeriesInstanceUID == made[1].SeriesInstanceUID
    assert (made[0].InstanceNumber, made[1].InstanceNumber) == (20001, 30001)


def enhanced_ct(frames: int = 3) -> bytes:
    attributes: dict[str, Any] = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2.1", "NumberOfFrames": frames}
    dataset = pydicom.dcmread(io.BytesIO(make_file(EXPLICIT_LE, pixels=bytes(8), **attributes)))
    dataset.Rows, dataset.Columns = 16, 12
    dataset.PixelData = np.arange(frames * 16 * 12, dtype="<u2").tobytes()
    shared = Dataset()
    measures = Dataset()
    measures.PixelSpacing, measures.SliceThickness = [0.5, 0.5], 2
    shared.PixelMeasuresSequence = [measures]
    orientation = Dataset()
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    shared.PlaneOrientationSequence = [orientation]
    rescale = Dataset()
    rescale.RescaleIntercept, rescale.RescaleSlope, rescale.RescaleType = -1024, 1, "HU"
    shared.PixelValueTransformationSequence = [rescale]
    dataset.SharedFunctionalGroupsSequence = [shared]
    groups = []
    for number in range(frames):
        group, position, kind, content = Dataset(), Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = [0, 0, number * 2]
        group.PlanePositionSequence = [position]
        kind.FrameType = ["ORIGINAL", "PRIMARY", "AXIAL", "NONE"]
        group.CTImageFrameTypeSequence = [kind]
        content.FrameAcquisitionDateTime = f"2026010112000{number}"
        content.FrameAcquisitionNumber = 4
        group.FrameContentSequence = [content]
        groups.append(group)
    dataset.PerFrameFunctionalGroupsSequence = groups
    out = io.BytesIO()
    pydicom.dcmwrite(out, dataset)
    return out.getvalue()


@pytest.mark.parametrize("syntax", ["", uids.JPEG_LS_LOSSLESS])
async def test_frames_of_an_enhanced_object_leave_one_by_one(archive: Archive, syntax: str) -> None:
    file = enhanced_ct()
    one = await stored(archive, file)
    fields = {"sop_class_fallback": {"when": "always"}, "syntax": syntax}
    answer = await treated(archive, one, fields)
    assert not answer.failed
    assert not answer.quarantined
    whole = pydicom.dcmread(io.BytesIO(file)).pixel_array
    made = [await read(item) for item in answer.made]
    for number, single in enumerate(made):
        assert single.SOPClassUID == "1.2.840.10008.5.1.4.1.1.2"
        assert single.InstanceNumber == number + 1
        assert single.ImagePositionPatient == [0, 0, number * 2]
        assert single.PixelSpacing == [0.5, 0.5]
        assert single.AcquisitionTime == f"12000{number}"
        assert single.RescaleIntercept == -1024
        assert "NumberOfFrames" not in single
        assert "PerFrameFunctionalGroupsSequence" not in single
        assert np.array_equal(single.pixel_array, whole[number])
        assert hops_of(single, OURS) == 1
    assert len({single.SOPInstanceUID for single in made}) == 3
    assert len({single.SeriesInstanceUID for single in made}) == 1


async def test_a_fallback_waits_until_the_class_is_refused(archive: Archive) -> None:
    one = await stored(archive, enhanced_ct())
    fields = checked_treatment("T", {"sop_class_fallback": {"classes": ["Enhanced CT Image Storage"]}})
    treatment = compiled_treatment(Entry(1, "T", fields), OURS)
    assert (await treat(archive, treatment, [one]))[0].made == (one,)
    answer = await fall_back(archive, treatment, one)
    assert answer is not None
    assert len(answer.made) == 3
    assert await fall_back(archive, treatment, await stored(archive, image(SOPInstanceUID="1.2.3.9"))) is None


async def test_an_object_that_contradicts_itself_is_not_taken_apart(archive: Archive) -> None:
    dataset = pydicom.dcmread(io.BytesIO(enhanced_ct()))
    del dataset.PerFrameFunctionalGroupsSequence[0]
    out = io.BytesIO()
    pydicom.dcmwrite(out, dataset)
    answer = await treated(archive, await stored(archive, out.getvalue()), {"sop_class_fallback": {"when": "always"}})
    assert answer.made == ()
    assert "3 frames but describes 2" in answer.failed


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless])
async def test_compressed_frames_are_cut_out_without_decoding(archive: Archive, syntax: str) -> None:
    dataset = pydicom.dcmread(io.BytesIO(enhanced_ct()))
    whole = dataset.pixel_array
    dataset.compress(syntax, generate_instance_uid=False)
    out = io.BytesIO()
    pydicom.dcmwrite(out, dataset)
    one = await stored(archive, out.getvalue())
    answer = await treated(archive, one, {"sop_class_fallback": {"when": "always"}})
    assert not answer.quarantined
    encoded = list(generate_frames(dataset.PixelData, number_of_frames=3))
    for number, item in enumerate(answer.made):
        assert item.transfer_syntax_uid == syntax
        single = await read(item)
        assert next(generate_frames(single.PixelData, number_of_frames=1)) == encoded[number]
        assert np.array_equal((await read(item, EXPLICIT_LE)).pixel_array, whole[number])


async def test_compressed_pixels_leave_byte_for_byte_and_can_be_had_in_another_syntax(archive: Archive) -> None:
    dataset = pydicom.dcmread(io.BytesIO(image()))
    dataset.compress(RLELossless, generate_instance_uid=False)
    out = io.BytesIO()
    pydicom.dcmwrite(out, dataset)
    one = await stored(archive, out.getvalue())
    answer = await treated(archive, one, {"steps": [{"do": "set", "attribute": "PatientID", "value": "X9"}]})
    made = await read(answer.made[0])
    assert made.PixelData == dataset.PixelData
    other = await read(answer.made[0], IMPLICIT_LE)
    assert other.PatientID == "X9"
    assert np.array_equal(other.pixel_array.reshape(-1), np.frombuffer(PIXELS, "<u2"))


@pytest.mark.parametrize("syntax", [EXPLICIT_LE, IMPLICIT_LE, DEFLATED, BIG])
async def test_attributes_behind_the_pixels_are_attributes_too(archive: Archive, syntax: str) -> None:
    dataset = pydicom.dcmread(io.BytesIO(image()))
    dataset.private_block(0x7FE1, "LATE", create=True).add_new(0x10, "LO", "behind")
    if syntax == BIG:
        dataset.PixelData = np.frombuffer(PIXELS, "<u2").astype(">u2").tobytes()
    dataset.file_meta.TransferSyntaxUID = syntax
    out = io.BytesIO()
    pydicom.dcmwrite(out, dataset, implicit_vr=syntax == IMPLICIT_LE, little_endian=syntax != BIG, force_encoding=True)
    one = await stored(archive, out.getvalue())
    steps = [{"do": "set", "attribute": '(7FE1,10,"LATE")', "value": "changed"}]
    answer = await treated(archive, one, {"steps": steps})
    assert not answer.quarantined
    assert not answer.failed
    made = await read(answer.made[0])
    assert made.private_block(0x7FE1, "LATE")[0x10].value in ("changed", b"changed ")
    assert np.array_equal(made.pixel_array.reshape(-1), np.frombuffer(PIXELS, "<u2"))


async def test_corrections_are_laid_over_before_anything_else(archive: Archive) -> None:
    one = await stored(archive, image())
    correction = AttributeCorrection((0x00100020,), "LO", ("RIGHT",))
    await add_corrections(archive, Corrections(one.study_instance_uid, (correction,), "wrong", "me"))
    (instance,) = await list_instances(archive, Selection(sop_uids=(one.sop_instance_uid,)))
    steps = [{"do": "prefix", "attribute": "PatientID", "value": "N-"}]
    answer = await treated(archive, StoredOutgoing(archive, 7, instance), {"steps": steps})
    assert (await read(answer.made[0])).PatientID == "N-RIGHT"


async def test_objects_without_pixels_are_changed_and_never_compressed(archive: Archive) -> None:
    one = await stored(archive, make_file(pixels=None, SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11", Modality="SR"))
    steps = [{"do": "set", "attribute": "PatientID", "value": "X9"}]
    answer = await treated(archive, one, {"steps": steps, "syntax": uids.JPEG_LS_LOSSLESS})
    assert answer.made[0].transfer_syntax_uid == EXPLICIT_LE
    assert (await read(answer.made[0])).PatientID == "X9"


async def test_a_step_takes_from_the_order_that_the_study_belongs_to(archive: Archive) -> None:
    one = await stored(archive, image(StudyInstanceUID="1.2.3.77", AccessionNumber="TYPED"))
    steps = [
        {"do": "order", "attribute": "AccessionNumber"},
        {"do": "order", "attribute": "StudyDescription", "from": "procedure"},
        {"do": "order", "attribute": "StationName", "from": "station", "otherwise": "leave"},
    ]
    (made,) = (await treated(archive, one, {"steps": steps})).made
    assert (await read(made)).AccessionNumber == "TYPED"  # there is no order yet
    async with archive.pool.connection() as connection:
        await connection.execute(
            b"""INSERT INTO imaging_order (accession_number, study_instance_uid, procedure_meaning, changed_by)
                VALUES ('A123', '1.2.3.77', 'CT of the chest', 'test')"""
        )
    (made,) = (await treated(archive, one, {"steps": steps})).made
    shown = await read(made)
    assert (shown.AccessionNumber, shown.StudyDescription) == ("A123", "CT of the chest")
    before = shown.OriginalAttributesSequence[-1].ModifiedAttributesSequence[0]
    assert before.AccessionNumber == "TYPED"

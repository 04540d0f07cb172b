"""Pixels: what cannot be proven clean stays, what is blanked is gone, what is not touched is the same bit by bit."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite

from fileroom.deid.errors import CannotCleanError
from fileroom.deid.file import deidentify_file
from fileroom.deid.ocr import TextReader
from fileroom.deid.options import Option
from fileroom.deid.profile import Profile
from fileroom.deid.pseudonyms import KeyedPseudonyms, Pseudonym, identity_of
from fileroom.deid.regions import Region, device_rule, without
from fileroom.dicom.part10 import build_file_meta
from fileroom.pixels.source import open_source, reader_of
from fileroom.pixels.transcode import transcode_source
from fileroom.pixels.transcoded import data_set_chunks

CT, US, SC, PDF, WSI, PHOTO = (
    "1.2.840.10008.5.1.4.1.1." + one for one in ("2", "6.1", "7", "104.1", "77.1.6", "77.1.4")
)
CLEAN = Profile(frozenset({Option.PIXELS}))
RLE = "1.2.840.10008.1.2.5"


def image(sop_class: str, **attributes: object) -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, "1.2.3.9.1"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.PatientID = "1.2.3.9", "1.2.3.9.2", "P1"
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = 32, 48, 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    shape = (dataset.Rows, dataset.Columns, dataset.SamplesPerPixel)
    pixels = np.random.default_rng(1).integers(1, 200, shape).astype(f"<u{dataset.BitsAllocated // 8}")
    dataset.add_new(0x7FE00010, "OW", pixels.tobytes())
    return dataset


def file_of(dataset: Dataset) -> bytes:
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    out = io.BytesIO()
    dcmwrite(out, dataset, enforce_file_format=True)
    return out.getvalue()


def cleaned(file: bytes, profile: Profile = CLEAN, reader: TextReader | None = None) -> tuple[Dataset, str]:
    source = open_source(reader_of(file), len(file))
    known = KeyedPseudonyms(b"k" * 32, {identity_of(source.header): Pseudonym("S-1", "S-1", -77)})
    done, pieces = deidentify_file(source, profile, known, reader)
    return dcmread(io.BytesIO(b"".join(pieces))), done.pixels.proof


def ultrasound(**attributes: object) -> Dataset:
    dataset = image(US, Modality="US", Manufacturer="ACME", **attributes)
    region = Dataset()
    region.RegionLocationMinX0, region.RegionLocationMinY0 = 4, 8
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = 43, 31
    dataset.SequenceOfUltrasoundRegions = [region]
    return dataset


def test_outside_of_ultrasound_regions_is_black_and_inside_untouched() -> None:
    dataset = ultrasound()
    made, proof = cleaned(file_of(dataset))
    before = np.frombuffer(dataset.PixelData, np.uint8).reshape(32, 48)
    after = made.pixel_array
    assert (after[8:32, 4:44] == before[8:32, 4:44]).all()
    outside = np.ones((32, 48), bool)
    outside[8:32, 4:44] = False
    assert not after[outside].any()
    assert (made.BurnedInAnnotation, proof) == ("NO", "ultrasound regions")


@pytest.mark.parametrize(
    ("attributes", "black"),
    [
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}, (0, 0, 0)),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "YBR_FULL", "PlanarConfiguration": 0}, (0, 128, 128)),
        ({"PhotometricInterpretation": "MONOCHROME1"}, (255,)),
        ({"BitsAllocated": 16, "BitsStored": 12, "HighBit": 11}, (0,)),
    ],
)
def test_black_is_black_in_every_colour_model(attributes: dict[str, object], black: tuple[int, ...]) -> None:
    made, _ = cleaned(file_of(ultrasound(**attributes)))
    samples = np.frombuffer(made.PixelData, f"<u{made.BitsAllocated // 8}").reshape(32, 48, -1)
    assert tuple(samples[0, 0]) == black


def test_pixels_that_need_nothing_are_the_same_bit_by_bit_compressed_too() -> None:
    file = file_of(image(CT, BitsAllocated=16, BitsStored=12, HighBit=11))
    source = open_source(reader_of(file), len(file))
    made = transcode_source(source, RLE)
    body = b"".join(data_set_chunks(made))
    compressed = build_file_meta(CT, "1.2.3.9.1", RLE) + body
    for one in (file, compressed):
        after, proof = cleaned(one)
        before = dcmread(io.BytesIO(one))
        assert hashlib.sha256(after.PixelData).digest() == hashlib.sha256(before.PixelData).digest()
        assert after.file_meta.TransferSyntaxUID == before.file_meta.TransferSyntaxUID
        assert proof == "computed image"


@pytest.mark.parametrize(
    ("sop_class", "attributes", "sentence"),
    [
        (SC, {}, "no rule for ACME"),
        (PHOTO, {}, "photograph"),
        (PDF, {}, "PDF document"),
        ("1.2.840.10008.5.1.4.1.1.77.1.4.1", {}, "video"),
        ("1.2.840.10008.5.1.4.1.1.9.4.1", {}, "voice"),
        ("1.2.3.4.5.6", {}, "not known where"),
        (US, {}, "no rule for ACME"),
        (WSI, {"ImageType": ["ORIGINAL", "PRIMARY", "LABEL", "NONE"], "BurnedInAnnotation": "NO"}, "slide"),
        (CT, {"BurnedInAnnotation": "YES"}, "burned in"),
        (CT, {"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, "screen"),
    ],
)
def test_what_cannot_be_cleaned_stays(sop_class: str, attributes: dict[str, object], sentence: str) -> None:
    file = file_of(image(sop_class, Manufacturer="ACME", **attributes))
    with pytest.raises(CannotCleanError, match=sentence):
        cleaned(file)


def test_ultrasound_stays_where_pixels_are_not_cleaned() -> None:
    with pytest.raises(CannotCleanError, match="Switch on Clean Pixel Data"):
        cleaned(file_of(ultrasound()), Profile())


def test_region_of_the_whole_picture_proves_nothing() -> None:
    dataset = ultrasound()
    region = dataset.SequenceOfUltrasoundRegions[0]
    region.RegionLocationMinX0 = region.RegionLocationMinY0 = 0
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = 47, 31
    with pytest.raises(CannotCleanError, match="no rule"):
        cleaned(file_of(dataset))


def test_pixels_that_do_not_decode_stay() -> None:
    file = file_of(ultrasound())
    body = b"".join(data_set_chunks(transcode_source(open_source(reader_of(file), len(file)), RLE)))
    compressed = build_file_meta(US, "1.2.3.9.1", RLE) + body
    assert cleaned(compressed)
    start = compressed.rindex(b"\xfe\xff\x00\xe0") + 8
    for broken in (file[:-200], compressed[:start] + b"\xff" * 64 + compressed[start + 64 :]):
        with pytest.raises(CannotCleanError, match="cannot be decoded"):
            cleaned(broken)


def test_rule_of_the_project_names_the_rectangles_and_one_without_says_there_are_none() -> None:
    where = {"Manufacturer": "acme", "Rows": "32"}
    with_text = device_rule({"name": "banner", "where": where, "regions": [[0, 0, 48, 5]]})
    without_text = device_rule({"name": "plain", "where": where, "regions": []})
    file = file_of(image(SC, Manufacturer="ACME"))
    made, proof = cleaned(file, Profile(frozenset({Option.PIXELS}), devices=(with_text,)))
    assert not made.pixel_array[:5].any()
    assert made.pixel_array[5:].all()
    assert proof == "device rule banner"
    same, _ = cleaned(file, Profile(frozenset({Option.PIXELS}), devices=(without_text,)))
    assert same.PixelData == dcmread(io.BytesIO(file)).PixelData


class BrightBlocks:
    """A reader that calls very bright rows text."""

    name = "bright blocks"

    def find_text(self, picture: NDArray[np.uint8], /) -> Sequence[tuple[int, int, int, int]]:
        rows = np.flatnonzero((picture > 250).any(axis=1))
        return [(0, int(rows.min()), picture.shape[1], int(rows.max()) + 1)] if len(rows) else []


def test_reader_finds_text_in_any_frame_and_it_is_blanked_in_all() -> None:
    dataset = image(SC, Manufacturer="ACME", NumberOfFrames=2)
    frames = np.full((2, 32, 48), 100, np.uint8)
    frames[1, 3:6, 10:20] = 255
    dataset.PixelData = frames.tobytes()
    made, proof = cleaned(file_of(dataset), reader=BrightBlocks())
    after = made.pixel_array
    assert not after[:, 3:6].any()
    assert (after[:, 6:] == 100).all()
    assert proof == "read by bright blocks"


def test_reader_reads_inside_of_ultrasound_regions_too() -> None:
    dataset = ultrasound()
    frame = np.full((32, 48), 100, np.uint8)
    frame[20:22, 10:20] = 255
    dataset.PixelData = frame.tobytes()
    made, proof = cleaned(file_of(dataset), reader=BrightBlocks())
    assert not made.pixel_array[20:22].any()
    assert proof == "ultrasound regions, read by bright blocks"


def test_overlays_in_unused_bits_are_cleared() -> None:
    dataset = image(CT, BitsAllocated=16, BitsStored=12, HighBit=11)
    words = np.frombuffer(dataset.PixelData, "<u2") | 0x8000
    dataset.PixelData = words.astype("<u2").tobytes()
    for number, vr, value in (
        (0x10, "US", 32),
        (0x11, "US", 48),
        (0x40, "CS", "G"),
        (0x100, "US", 16),
        (0x102, "US", 15),
    ):
        dataset.add_new(0x60000000 | number, vr, value)
    made, _ = cleaned(file_of(dataset))
    after = np.frombuffer(made.PixelData, "<u2")
    assert not (after & 0x8000).any()
    assert (after == words & 0x0FFF).all()
    assert 0x60000010 not in made


def test_faces_stay_where_they_must_not_be_seen() -> None:
    profile = Profile(frozenset({Option.PIXELS, Option.VISUAL_FEATURES}))
    for body_part in ("HEAD", "", "BRAIN"):
        with pytest.raises(CannotCleanError, match="face"):
            cleaned(file_of(image(CT, BodyPartExamined=body_part)), profile)
    cleaned(file_of(image(CT, BodyPartExamined="CHEST")), profile)


def test_rectangles_around_what_is_kept_cover_everything_else_once() -> None:
    kept = [Region(2, 3, 8, 9), Region(5, 6, 12, 11), Region(15, 0, 17, 4)]
    count = np.zeros((14, 20), int)
    for one in without(Region(0, 0, 20, 14), kept):
        count[one.top : one.bottom, one.left : one.right] += 1
    expected = np.ones((14, 20), int)
    for one in kept:
        expected[one.top : one.bottom, one.left : one.right] = 0
    assert (count == expected).all()

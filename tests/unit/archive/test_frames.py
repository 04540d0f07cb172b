"""Frames come from where they lie; only another encoding makes anybody decode."""

from __future__ import annotations

import io
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.encaps import generate_frames

from fileroom.archive.frame_tables import FrameTables, KnownFrames
from fileroom.archive.frames import Frame, count_frames, read_frame, read_frames
from fileroom.archive.retrieve import Selection, StoredInstance, list_instances, open_object
from fileroom.archive.services import Archive
from fileroom.core.errors import NotFoundError, UnsupportedError
from fileroom.dicom import uids
from fileroom.pixels.frames import FrameTable, NativeLayout
from stored_objects import make_file, store_file

EXPLICIT, JPEG_LS = uids.EXPLICIT_VR_LITTLE_ENDIAN, uids.JPEG_LS_LOSSLESS


async def stored(archive: Archive, file: bytes) -> StoredInstance:
    outcome = await store_file(archive, file)
    return (await list_instances(archive, Selection(sop_uids=(outcome.sop_instance_uid,))))[0]


def bundled(name: str) -> bytes:
    path = get_testdata_file(name, download=False)
    assert isinstance(path, str)
    return Path(path).read_bytes()


def bytes_of(frame: Frame) -> bytes:
    if frame.data is not None:
        return frame.data
    pieces = []
    for part in frame.ranges:
        with part.path.open("rb") as file:
            file.seek(part.offset)
            pieces.append(file.read(part.length))
    return b"".join(pieces)


async def test_native_frames_are_ranges_of_the_file(archive: Archive) -> None:
    file = bundled("rtdose.dcm")
    instance = await stored(archive, file)
    pixels = pydicom.dcmread(io.BytesIO(file)).pixel_array
    assert await count_frames(archive, instance) == 15
    frames = await read_frames(archive, instance, [3, 1, 15], as_ranges=True)
    assert [frame.number for frame in frames] == [3, 1, 15]
    for frame in frames:
        assert frame.data is None
        assert frame.length == 10 * 10 * 4
        found = np.frombuffer(bytes_of(frame), "<u4").reshape(10, 10)
        assert (found == pixels[frame.number - 1]).all()


@pytest.mark.parametrize(("name", "count"), [("rtdose_rle.dcm", 15), ("MR_small_jp2klossless.dcm", 1)])
@pytest.mark.parametrize("as_ranges", [True, False])
async def test_encapsulated_frames_are_given_as_stored(
    archive: Archive, name: str, count: int, as_ranges: bool
) -> None:
    file = bundled(name)
    dataset = pydicom.dcmread(io.BytesIO(file))
    instance = await stored(archive, file)
    expected = list(generate_frames(dataset.PixelData, number_of_frames=count))
    frames = await read_frames(archive, instance, list(range(1, count + 1)), as_ranges=as_ranges)
    assert [bytes_of(frame) for frame in frames] == expected
    assert {frame.data is None for frame in frames} == {as_ranges}
    assert {frame.transfer_syntax for frame in frames} == {dataset.file_meta.TransferSyntaxUID}


@pytest.mark.parametrize("name", ["rtdose_rle.dcm", "rtdose_expb.dcm"])
async def test_a_frame_of_many_can_be_had_uncompressed(archive: Archive, name: str) -> None:
    file = bundled(name)
    instance = await stored(archive, file)
    pixels = pydicom.dcmread(io.BytesIO(file)).pixel_array
    frame = await read_frame(archive, instance, 4, EXPLICIT, as_ranges=True)
    assert (np.frombuffer(bytes_of(frame), "<u4").reshape(10, 10) == pixels[3]).all()


@pytest.mark.parametrize("name", ["MR_small.dcm", "MR_small_RLE.dcm", "MR_small_bigendian.dcm"])
async def test_a_frame_can_be_had_compressed(archive: Archive, name: str) -> None:
    file = bundled(name)
    instance = await stored(archive, file)
    frame = await read_frame(archive, instance, 1, JPEG_LS)
    assert frame.transfer_syntax == JPEG_LS
    found = imagecodecs.jpegls_decode(bytes_of(frame)).view("<i2")
    assert (found == pydicom.dcmread(io.BytesIO(file)).pixel_array).all()


@pytest.mark.parametrize("syntax", [uids.IMPLICIT_VR_LITTLE_ENDIAN, uids.DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN])
async def test_uncompressed_encodings_give_the_same_frame(archive: Archive, syntax: str) -> None:
    instance = await stored(archive, make_file(syntax))
    for as_ranges in (True, False):
        frame = await read_frame(archive, instance, 1, EXPLICIT, as_ranges=as_ranges)
        assert (bytes_of(frame), frame.transfer_syntax) == (b"\1\2\3\4\5\6\7\x08", EXPLICIT)


async def test_frames_that_are_not_there_are_refused_before_anything_is_read(archive: Archive) -> None:
    instance = await stored(archive, make_file())
    for number in (0, 2, -1):
        with pytest.raises(NotFoundError, match="1"):
            await read_frames(archive, instance, [1, number])
    with pytest.raises(NotFoundError, match="no pixel data"):
        await count_frames(archive, await stored(archive, make_file(pixels=None, SOPInstanceUID="1.2.3.9")))


async def test_a_syntax_that_is_not_written_is_refused(archive: Archive) -> None:
    instance = await stored(archive, make_file())
    with pytest.raises(UnsupportedError):
        await read_frame(archive, instance, 1, "1.2.840.10008.1.2.4.102")


async def test_a_lost_file_is_told(archive: Archive) -> None:
    instance = await stored(archive, make_file())
    await archive.store.delete(instance.storage_key)
    with pytest.raises(NotFoundError, match="has no object"):
        await read_frame(archive, instance, 1)


# --- whole objects ---


@pytest.mark.parametrize(
    ("name", "syntax"),
    [
        ("rtdose_rle.dcm", EXPLICIT),
        ("rtdose_rle.dcm", uids.IMPLICIT_VR_LITTLE_ENDIAN),
        ("rtdose_rle.dcm", uids.DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN),
        ("rtdose.dcm", uids.RLE_LOSSLESS),
        ("rtdose_expb.dcm", EXPLICIT),
        ("rtdose_expb.dcm", uids.IMPLICIT_VR_LITTLE_ENDIAN),
    ],
)
async def test_an_object_in_another_transfer_syntax_has_the_same_pixels(
    archive: Archive, name: str, syntax: str
) -> None:
    file = bundled(name)
    instance = await stored(archive, file)
    opened = await open_object(archive, instance, syntax, part10=True)
    found = pydicom.dcmread(io.BytesIO(b"".join([piece async for piece in opened.chunks])))
    before = pydicom.dcmread(io.BytesIO(file))
    assert found.file_meta.TransferSyntaxUID == syntax
    assert found.file_meta.MediaStorageSOPInstanceUID == before.SOPInstanceUID
    assert (found.pixel_array == before.pixel_array).all()
    assert found.PatientName == before.PatientName


async def test_an_object_without_pixels_changes_its_byte_order_only(archive: Archive) -> None:
    instance = await stored(archive, make_file(uids.EXPLICIT_VR_BIG_ENDIAN, pixels=None, PatientComments="hello"))
    opened = await open_object(archive, instance, EXPLICIT, part10=True)
    found = pydicom.dcmread(io.BytesIO(b"".join([piece async for piece in opened.chunks])))
    assert (found.PatientComments, found.SeriesNumber) == ("hello", 1)


# --- the memory of tables ---


def known(frames: int = 1) -> KnownFrames:
    return KnownFrames(FrameTable(frames, EXPLICIT, NativeLayout(0, 8, 64)), pydicom.Dataset(), "PixelData")


def test_the_least_recently_used_table_is_forgotten_first() -> None:
    tables = FrameTables(entries_max=2)
    first, second = known(), known()
    tables.put("a", first)
    tables.put("b", second)
    assert tables.get("a") is first
    tables.put("c", known())
    assert tables.get("b") is None
    assert tables.get("a") is first


def test_tables_keep_to_their_memory() -> None:
    one = known().memory_bytes
    tables = FrameTables(bytes_max=3 * one)
    for name in "abcdef":
        tables.put(name, known())
    assert len(tables) == 3
    FrameTables(bytes_max=one - 1).put("a", known())
    tables.put("f", known())
    assert len(tables) == 3

"""Elements behind the pixel data keep their values in every transfer syntax; what is no element there is left out."""

from __future__ import annotations

import io

import pydicom
import pytest
from pydicom.dataset import Dataset

from fileroom.core.errors import TooLargeError
from fileroom.dicom import uids
from fileroom.dicom.part10 import build_file_meta
from fileroom.pixels import behind
from fileroom.pixels.behind import chunks_behind
from fileroom.pixels.frames import frame_table
from fileroom.pixels.source import PixelSource
from fileroom.pixels.transcode import transcode_source
from fileroom.pixels.transcoded import data_set_chunks
from pixel_objects import SOP_CLASS, data_set_bytes, header, native_file, source_of

IMPLICIT, EXPLICIT, BIG = uids.IMPLICIT_VR_LITTLE_ENDIAN, uids.EXPLICIT_VR_LITTLE_ENDIAN, uids.EXPLICIT_VR_BIG_ENDIAN
SYNTAXES = (IMPLICIT, EXPLICIT, BIG, uids.RLE_LOSSLESS, uids.JPEG_LS_LOSSLESS)


def trailer(**more: object) -> Dataset:
    made = Dataset()
    made.add_new(0x7FE10010, "LO", "GEMS_Ultrasound_MovieGroup_001")
    signature = Dataset()
    signature.MACIDNumber = 7
    made.DigitalSignaturesSequence = [signature]
    for keyword, value in more.items():
        setattr(made, keyword, value)
    return made


def file_with(tail: bytes, syntax: str = EXPLICIT, pixels: bytes = b"abcdefghi\0") -> bytes:
    return native_file(header(3, 3, bits=8), pixels, syntax=syntax, vr=b"OB") + tail


def written(source: PixelSource, syntax: str) -> bytes:
    table = frame_table(source)
    tail = chunks_behind(source, table, syntax)
    chunks = data_set_chunks(transcode_source(source, syntax, table=table), behind=tail)
    return build_file_meta(SOP_CLASS, "1.2.3.4", syntax) + b"".join(chunks)


@pytest.mark.parametrize("first", [IMPLICIT, EXPLICIT, BIG])
@pytest.mark.parametrize("second", SYNTAXES)
def test_they_pass_through_two_changes(first: str, second: str) -> None:
    data = file_with(data_set_bytes(trailer(), first), first)
    if second != first:
        data = written(source_of(data), second)
    last = EXPLICIT if second != EXPLICIT else uids.RLE_LOSSLESS
    found = pydicom.dcmread(io.BytesIO(written(source_of(data), last)))
    assert found[0x7FE10010].value == "GEMS_Ultrasound_MovieGroup_001"
    assert found.DigitalSignaturesSequence[0].MACIDNumber == 7


@pytest.mark.parametrize("tail", [b"", bytes(3), bytes(64), b"\r\n</html>\r\n" * 3, b"\xff" * 50])
def test_what_is_no_element_is_left_out(tail: bytes) -> None:
    assert written(source_of(file_with(tail)), uids.RLE_LOSSLESS) == written(
        source_of(file_with(b"")), uids.RLE_LOSSLESS
    )


def test_padding_and_a_second_object_are_left_out() -> None:
    tail = data_set_bytes(header(3, 3, bits=8, DataSetTrailingPadding=bytes(10)), EXPLICIT)
    source = source_of(file_with(tail))
    assert chunks_behind(source, frame_table(source), uids.RLE_LOSSLESS) == ()


def test_more_than_is_held_in_memory_passes_unread_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    tail = data_set_bytes(trailer(), EXPLICIT)
    monkeypatch.setattr(behind, "HEADER_BYTES_MAX", len(tail) - 1)
    monkeypatch.setattr(behind, "STREAM_CHUNK_BYTES", 10)
    source = source_of(file_with(tail))
    table = frame_table(source)
    assert b"".join(chunks_behind(source, table, uids.RLE_LOSSLESS)) == tail
    with pytest.raises(TooLargeError, match="behind the pixel data"):
        chunks_behind(source, table, BIG)

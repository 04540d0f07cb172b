"""The same pixels in every lossless transfer syntax; what is refused and why; how the answer is written."""

from __future__ import annotations

import io
import itertools
import struct
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from fileroom.core.errors import InvalidObjectError, NotFoundError, UnsupportedError
from fileroom.dicom import uids
from fileroom.dicom.part10 import build_file_meta
from fileroom.pixels import transcoded
from fileroom.pixels.codestream import describe_jpeg, describe_jpeg_2000
from fileroom.pixels.encoders import NATIVE, LossyOptions
from fileroom.pixels.frames import frame_bytes, frame_table
from fileroom.pixels.image_pixel import image_pixel
from fileroom.pixels.source import PixelSource
from fileroom.pixels.transcode import can_transcode, lossless_targets, transcode, transcode_source
from fileroom.pixels.transcoded import data_set_chunks
from pixel_objects import (
    SOP_CLASS,
    bundled,
    color_header,
    data_set_bytes,
    decoded,
    encapsulated_file,
    header,
    native_file,
    needs_wg04,
    ramp,
    source_of,
    wg04_files,
)

TARGETS = sorted(lossless_targets())
NAMED = [
    uids.IMPLICIT_VR_LITTLE_ENDIAN,
    uids.EXPLICIT_VR_LITTLE_ENDIAN,
    uids.EXPLICIT_VR_BIG_ENDIAN,
    uids.DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    uids.RLE_LOSSLESS,
    uids.JPEG_LOSSLESS_SV1,
    uids.JPEG_LS_LOSSLESS,
    uids.JPEG_2000_LOSSLESS,
    uids.HTJ2K_LOSSLESS,
    uids.HTJ2K_LOSSLESS_RPCL,
    uids.JPEG_XL_LOSSLESS,
]


def written(source: PixelSource, target: str, *, offset_table: bool = True, lossy: LossyOptions | None = None) -> bytes:
    made = transcode_source(source, target, lossy=lossy)
    return build_file_meta(SOP_CLASS, "1.2.3.4", target) + b"".join(data_set_chunks(made, offset_table=offset_table))


def all_frames(source: PixelSource) -> list[np.ndarray]:
    return [decoded(source, index) for index in range(frame_table(source).count)]


def gray(stored: int, *, signed: bool = False, bits: int = 16, frames: int = 2, **more: object) -> bytes:
    low, high = (-(1 << (stored - 1)), (1 << (stored - 1)) - 1) if signed else (0, (1 << stored) - 1)
    kind = np.dtype(f"{'i' if signed else 'u'}{bits // 8}")
    pixels = b"".join(ramp(13, 11, low, high, kind)[:: (-1) ** index].tobytes() for index in range(frames))
    made = header(13, 11, bits=bits, stored=stored, signed=signed, NumberOfFrames=str(frames), **more)
    return native_file(made, pixels + b"\0" * (len(pixels) % 2))


def color(photometric: str = "RGB", planar: int = 0, bits: int = 8) -> bytes:
    pixels = np.random.default_rng(4).integers(0, 1 << bits, (2, 7, 6, 3)).astype(f"u{bits // 8}")
    if planar:
        pixels = np.moveaxis(pixels, -1, 1)
    made = color_header(7, 6, photometric, PlanarConfiguration=planar, NumberOfFrames="2")
    made.BitsAllocated = made.BitsStored = bits
    made.HighBit = bits - 1
    return native_file(made, pixels.tobytes())


def one_bit() -> bytes:
    bits = np.random.default_rng(6).integers(0, 2, 3 * 5 * 7)
    packed = np.packbits(bits.astype(np.uint8), bitorder="little").tobytes()
    return native_file(header(5, 7, bits=1, NumberOfFrames="3"), packed)


IMAGES = {
    "8 bit": lambda: gray(8, bits=8),
    "8 bit signed": lambda: gray(8, bits=8, signed=True),
    "12 bit": lambda: gray(12),
    "12 bit signed": lambda: gray(12, signed=True),
    "16 bit": lambda: gray(16),
    "16 bit signed": lambda: gray(16, signed=True),
    "10 bit in 16 MONOCHROME1": lambda: gray(10, PhotometricInterpretation="MONOCHROME1"),
    "7 bit in 16": lambda: gray(7),
    "20 bit": lambda: gray(20, bits=32),
    "32 bit": lambda: gray(32, bits=32),
    "32 bit signed": lambda: gray(32, bits=32, signed=True),
    "palette": lambda: gray(8, bits=8, PhotometricInterpretation="PALETTE COLOR"),
    "RGB": color,
    "RGB by plane": lambda: color(planar=1),
    "RGB 16 bit": lambda: color(bits=16),
    "YBR_FULL": lambda: color("YBR_FULL"),
    "1 bit": one_bit,
}

SIXTEEN_BITS = {
    uids.JPEG_LOSSLESS_SV1,
    uids.JPEG_LS_LOSSLESS,
    uids.HTJ2K_LOSSLESS,
    uids.HTJ2K_LOSSLESS_RPCL,
    uids.JPEG_XL_LOSSLESS,
}

ENCAPSULATED_AND_REFUSED = {
    "8 bit signed": {uids.JPEG_XL_LOSSLESS},
    "12 bit signed": {uids.JPEG_XL_LOSSLESS},
    "16 bit signed": {uids.JPEG_XL_LOSSLESS},
    "20 bit": SIXTEEN_BITS,
    "32 bit": SIXTEEN_BITS | {uids.JPEG_2000_LOSSLESS},
    "32 bit signed": SIXTEEN_BITS | {uids.JPEG_2000_LOSSLESS},
    "YBR_FULL": {uids.JPEG_XL_LOSSLESS},
    "1 bit": set(NAMED) - set(NATIVE),
}


@pytest.mark.parametrize("target", NAMED, ids=uids.uid_name)
@pytest.mark.parametrize("name", IMAGES)
def test_every_lossless_family_keeps_every_pixel_it_takes(name: str, target: str) -> None:
    source = source_of(IMAGES[name]())
    verdict = can_transcode(source.transfer_syntax, target, source.header)
    refused = target in ENCAPSULATED_AND_REFUSED.get(name, set())
    assert bool(verdict) != refused, verdict.reason
    if refused:
        with pytest.raises(UnsupportedError):
            transcode_source(source, target)
        return
    if target == source.transfer_syntax:
        return
    answer = source_of(written(source, target))
    assert answer.transfer_syntax == target
    for index, original in enumerate(all_frames(source)):
        assert np.array_equal(decoded(answer, index), original)
    back = source_of(written(answer, uids.EXPLICIT_VR_LITTLE_ENDIAN))
    for index, original in enumerate(all_frames(source)):
        assert np.array_equal(decoded(back, index), original)


@pytest.mark.parametrize("name", ["12 bit signed", "RGB"])
def test_every_family_becomes_every_other(name: str) -> None:
    source = source_of(IMAGES[name]())
    originals = all_frames(source)
    takers = [target for target in TARGETS if can_transcode(source.transfer_syntax, target, source.header)]
    assert len(takers) >= 11
    for first, second in itertools.permutations(takers, 2):
        middle = source if first == source.transfer_syntax else source_of(written(source, first))
        answer = source_of(written(middle, second))
        assert np.array_equal(all_frames(answer), originals), (first, second)


def quiet_pixels(data: bytes) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pydicom.dcmread(io.BytesIO(data)).pixel_array


READ_BY_PYDICOM = [
    (name, target)
    for name in ("8 bit", "12 bit signed", "16 bit signed", "RGB by plane", "RGB 16 bit", "32 bit", "1 bit")
    for target in (
        uids.IMPLICIT_VR_LITTLE_ENDIAN,
        uids.EXPLICIT_VR_BIG_ENDIAN,
        uids.DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
        uids.RLE_LOSSLESS,
        uids.JPEG_LS_LOSSLESS,
        uids.JPEG_2000_LOSSLESS,
    )
    if target not in ENCAPSULATED_AND_REFUSED.get(name, set())
    and (name, target) != ("RGB 16 bit", uids.JPEG_2000_LOSSLESS)  # more than Pillow decodes
]


@pytest.mark.parametrize(("name", "target"), READ_BY_PYDICOM)
def test_pydicom_reads_the_same_pixels(name: str, target: str) -> None:
    source = source_of(IMAGES[name]())
    assert np.array_equal(quiet_pixels(written(source, target)), all_frames(source))


@needs_wg04
@pytest.mark.parametrize("path", wg04_files("UNC", "JPLL")[::3], ids=lambda path: path.stem)
def test_real_images_survive_a_chain_of_transfer_syntaxes(path: Path) -> None:
    source = source_of(path.read_bytes())
    original = decoded(source)
    for target in (uids.RLE_LOSSLESS, uids.JPEG_LS_LOSSLESS, uids.HTJ2K_LOSSLESS_RPCL, uids.JPEG_LOSSLESS_SV1):
        if target != source.transfer_syntax:
            source = source_of(written(source, target))
            assert np.array_equal(decoded(source), original)


# --- the header ---


@pytest.mark.parametrize(
    ("target", "photometric"),
    [
        (uids.JPEG_2000_LOSSLESS, "YBR_RCT"),
        (uids.HTJ2K_LOSSLESS, "YBR_RCT"),
        (uids.JPEG_LS_LOSSLESS, "RGB"),
        (uids.RLE_LOSSLESS, "RGB"),
        (uids.IMPLICIT_VR_LITTLE_ENDIAN, "RGB"),
    ],
)
def test_the_photometric_follows_the_codec_and_comes_back(target: str, photometric: str) -> None:
    answer = source_of(written(source_of(color(planar=1)), target))
    assert answer.header.PhotometricInterpretation == photometric
    back = source_of(written(answer, uids.EXPLICIT_VR_LITTLE_ENDIAN))
    assert back.header.PhotometricInterpretation == "RGB"
    assert target in NATIVE or back.header.PlanarConfiguration == 0


def test_colour_transform_is_used_only_for_rgb() -> None:
    for photometric, transform in (("RGB", True), ("YBR_FULL", False)):
        for target in (uids.JPEG_2000_LOSSLESS, uids.HTJ2K_LOSSLESS):
            frame = next(transcode_source(source_of(color(photometric)), target).frames)
            assert describe_jpeg_2000(frame).component_transform is transform


def test_shared_chroma_is_written_out() -> None:
    source = bundled("SC_ybr_full_422_uncompressed.dcm")
    answer = source_of(written(source, uids.RLE_LOSSLESS))
    assert answer.header.PhotometricInterpretation == "YBR_FULL"
    assert np.array_equal(decoded(answer), decoded(source))
    reordered = source_of(written(source, uids.IMPLICIT_VR_LITTLE_ENDIAN))
    assert reordered.header.PhotometricInterpretation == "YBR_FULL_422"
    assert frame_table(reordered).frame_length(0) == 20000


def test_native_reordering_keeps_words_to_the_bit() -> None:
    words = np.array([[0xF123, 0x8FFF]], "<u2").tobytes()
    source = source_of(native_file(header(1, 2, stored=12), words))
    for target in (uids.EXPLICIT_VR_BIG_ENDIAN, uids.RLE_LOSSLESS, uids.DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN):
        middle = source_of(written(source, target))
        back = source_of(written(middle, uids.EXPLICIT_VR_LITTLE_ENDIAN))
        assert frame_bytes(frame_table(back), 0, back.read) == words


def test_a_high_bit_above_bits_stored_moves_down() -> None:
    words = np.array([[0xFFF0, 0x1230]], "<u2").tobytes()
    source = source_of(native_file(header(1, 2, stored=12, HighBit=15), words))
    answer = source_of(written(source, uids.JPEG_LS_LOSSLESS))
    assert answer.header.HighBit == 11
    assert decoded(answer).tolist() == [[0xFFF, 0x123]]


def test_words_of_the_header_follow_the_byte_order() -> None:
    made = header(1, 1, PhotometricInterpretation="PALETTE COLOR", bits=8)
    item = Dataset()
    item.add_new(0x00283006, "OW", b"\1\2")
    made.ModalityLUTSequence = [item]
    made.add_new(0x00281201, "OW", b"\1\2\3\4")
    made.add_new(0x00660016, "OF", b"\1\2\3\4")
    made.add_new(0x60003000, "OB", b"\1\2")
    source = source_of(native_file(made, b"\0\0"))
    big = written(source, uids.EXPLICIT_VR_BIG_ENDIAN)
    raw = pydicom.dcmread(io.BytesIO(big))
    assert raw[0x00281201].value == b"\2\1\4\3"
    assert raw[0x00660016].value == b"\4\3\2\1"
    assert raw[0x60003000].value == b"\1\2"
    assert raw.ModalityLUTSequence[0][0x00283006].value == b"\2\1"
    back = source_of(written(source_of(big), uids.EXPLICIT_VR_LITTLE_ENDIAN))
    assert back.header[0x00281201].value == b"\1\2\3\4"
    assert source.header[0x00281201].value == b"\1\2\3\4"


def test_the_given_header_is_not_changed() -> None:
    source = source_of(color(planar=1))
    before = data_set_bytes(source.header, uids.EXPLICIT_VR_LITTLE_ENDIAN)
    written(source, uids.JPEG_2000_LOSSLESS)
    written(source, uids.EXPLICIT_VR_BIG_ENDIAN)
    assert data_set_bytes(source.header, uids.EXPLICIT_VR_LITTLE_ENDIAN) == before


def test_private_and_nested_attributes_survive() -> None:
    source = bundled("CT_small.dcm")
    answer = source_of(written(source, uids.JPEG_LS_LOSSLESS))
    assert list(answer.header.keys()) == [tag for tag, _ in source.header.items() if tag.element != 0]
    assert answer.header.PatientName == source.header.PatientName
    assert answer.header[0x00431028].value == source.header[0x00431028].value


# --- loss ---


def test_a_lossy_source_stays_lossy() -> None:
    answer = source_of(written(bundled("SC_rgb_dcmtk_+eb+cy+s2.dcm"), uids.EXPLICIT_VR_LITTLE_ENDIAN))
    assert answer.header.LossyImageCompression == "01"
    assert answer.header.PhotometricInterpretation == "RGB"
    assert np.array_equal(decoded(answer), decoded(bundled("SC_rgb_dcmtk_+eb+cy+s2.dcm")))


@pytest.mark.parametrize(
    ("target", "photometric", "method"),
    [(uids.JPEG_BASELINE, "YBR_FULL_422", "ISO_10918_1"), (uids.JPEG_2000, "YBR_ICT", "ISO_15444_1")],
)
def test_loss_is_written_down(target: str, photometric: str, method: str) -> None:
    smooth = np.stack([ramp(64, 64, 0, 255, np.uint8)] * 3, axis=-1)
    made = color_header(64, 64, LossyImageCompressionRatio="3", LossyImageCompressionMethod="ISO_14495_1")
    source = source_of(native_file(made, smooth.tobytes()))
    with pytest.raises(UnsupportedError, match="asked for explicitly"):
        transcode_source(source, target)
    answer = source_of(written(source, target, lossy=LossyOptions(quality=95, psnr_db=45)))
    found = answer.header
    assert (found.LossyImageCompression, found.PhotometricInterpretation) == ("01", photometric)
    assert found.LossyImageCompressionMethod == ["ISO_14495_1", method]
    assert float(found.LossyImageCompressionRatio[1]) > 1
    assert np.abs(decoded(answer).astype(int) - smooth).mean() < 5


def test_more_loss_makes_smaller_frames() -> None:
    source = source_of(gray(12, frames=1))
    sizes = [
        len(next(transcode_source(source, uids.JPEG_2000, lossy=LossyOptions(psnr_db=level)).frames))
        for level in (30, 60)
    ]
    assert sizes[0] < sizes[1]


@pytest.mark.parametrize(
    ("made", "target", "reason"),
    [
        (header(1, 1, stored=12), uids.JPEG_BASELINE, "at most 8 bits"),
        (header(1, 1, bits=8, signed=True), uids.JPEG_BASELINE, "unsigned"),
        (header(1, 1, bits=8, PhotometricInterpretation="PALETTE COLOR"), uids.JPEG_BASELINE, "palette"),
        (header(1, 1), uids.JPEG_EXTENDED, "not written"),
        (header(1, 1, NumberOfFrames="1", Rows=0), uids.RLE_LOSSLESS, "no image"),
        (header(60000, 60000, NumberOfFrames="2"), uids.IMPLICIT_VR_LITTLE_ENDIAN, "4 GiB"),
        (color_header(2, 2, "YBR_PARTIAL_420"), uids.RLE_LOSSLESS, "YBR_PARTIAL_420"),
    ],
)
def test_a_refusal_says_why(made: Dataset, target: str, reason: str) -> None:
    verdict = can_transcode(uids.EXPLICIT_VR_LITTLE_ENDIAN, target, made, lossy=True)
    assert not verdict
    assert reason in verdict.reason


def test_embedded_overlays_forbid_compression_but_not_reordering() -> None:
    made = header(1, 1, stored=12)
    made.add_new(0x60000102, "US", 15)
    assert not can_transcode(uids.EXPLICIT_VR_LITTLE_ENDIAN, uids.JPEG_LS_LOSSLESS, made)
    assert can_transcode(uids.EXPLICIT_VR_LITTLE_ENDIAN, uids.RLE_LOSSLESS, made)
    assert can_transcode(uids.EXPLICIT_VR_LITTLE_ENDIAN, uids.EXPLICIT_VR_BIG_ENDIAN, made)


def test_float_pixels_change_only_their_byte_order() -> None:
    made = header(1, 2, bits=32)
    del made.BitsStored, made.HighBit, made.PixelRepresentation
    element = struct.pack("<HH2sHI2f", 0x7FE0, 0x0008, b"OF", 0, 8, 1.5, -2.5)
    data = build_file_meta(SOP_CLASS, "1.2", uids.EXPLICIT_VR_LITTLE_ENDIAN)
    data += data_set_bytes(made, uids.EXPLICIT_VR_LITTLE_ENDIAN) + element
    answer = source_of(written(source_of(data), uids.EXPLICIT_VR_BIG_ENDIAN))
    assert answer.pixel_keyword == "FloatPixelData"
    assert decoded(answer).tolist() == [[1.5, -2.5]]
    assert not can_transcode(uids.EXPLICIT_VR_LITTLE_ENDIAN, uids.RLE_LOSSLESS, made, pixel_keyword="FloatPixelData")


def test_video_and_the_same_syntax_are_refused() -> None:
    video = source_of(encapsulated_file(header(1, 1), [b"mpeg"], syntax="1.2.840.10008.1.2.4.102"))
    with pytest.raises(UnsupportedError, match="not decoded"):
        transcode_source(video, uids.EXPLICIT_VR_LITTLE_ENDIAN)
    with pytest.raises(UnsupportedError, match="already"):
        transcode_source(source_of(gray(8, bits=8)), uids.EXPLICIT_VR_LITTLE_ENDIAN)


@pytest.mark.parametrize("count", [1, 3])
def test_a_wrong_number_of_frames_is_an_error_not_a_short_object(count: int) -> None:
    made = transcode(
        header(1, 1, NumberOfFrames="2"), [b"ab"] * count, uids.EXPLICIT_VR_LITTLE_ENDIAN, uids.RLE_LOSSLESS
    )
    with pytest.raises(InvalidObjectError, match="frames"):
        list(data_set_chunks(made))
    with pytest.raises(NotFoundError):
        transcode(header(1, 1), [], uids.EXPLICIT_VR_LITTLE_ENDIAN, uids.RLE_LOSSLESS)


def test_missing_frames_are_seen_before_anything_leaves() -> None:
    data = native_file(header(2, 2, bits=8, NumberOfFrames="3"), b"abcdefgh")
    with pytest.raises(InvalidObjectError, match="frame 3"):
        transcode_source(source_of(data), uids.RLE_LOSSLESS)


# --- how it is written ---


def test_fragments_are_even_and_the_basic_offset_table_fits() -> None:
    source = source_of(gray(12, frames=5))
    answer = source_of(written(source, uids.JPEG_LS_LOSSLESS))
    table = frame_table(answer)
    assert table.has_offset_table
    assert all(table.frame_length(index) % 2 == 0 for index in range(5))
    streaming = source_of(written(source, uids.JPEG_LS_LOSSLESS, offset_table=False))
    assert not frame_table(streaming).has_offset_table
    assert np.array_equal(all_frames(streaming), all_frames(source))


def test_beyond_four_gigabytes_the_table_is_extended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transcoded, "_BASIC_TABLE_REACH", 100)
    source = source_of(gray(12, frames=5))
    answer = source_of(written(source, uids.RLE_LOSSLESS))
    assert len(answer.header.ExtendedOffsetTable) == 40
    assert frame_table(answer).has_offset_table
    assert np.array_equal(all_frames(answer), all_frames(source))
    monkeypatch.undo()
    back = source_of(written(answer, uids.EXPLICIT_VR_LITTLE_ENDIAN))
    assert "ExtendedOffsetTable" not in back.header


def test_jpeg_ls_has_no_spiff_header_and_lossless_jpeg_uses_predictor_one() -> None:
    frame = next(transcode_source(source_of(gray(12)), uids.JPEG_LS_LOSSLESS).frames)
    assert frame[:4] == b"\xff\xd8\xff\xf7"
    frame = next(transcode_source(source_of(gray(12)), uids.JPEG_LOSSLESS_SV1).frames)
    found = describe_jpeg(frame)
    assert (found.is_lossless_jpeg, found.precision) == (True, 12)
    scan = frame.index(b"\xff\xda")
    assert frame[scan + 7] == 1


def test_the_rpcl_variant_has_its_markers() -> None:
    frame = next(transcode_source(source_of(gray(12)), uids.HTJ2K_LOSSLESS_RPCL).frames)
    assert b"\xff\x55" in frame[:200]
    coding = frame.index(b"\xff\x52")
    assert frame[coding + 5] == 2


def test_frames_are_made_one_at_a_time() -> None:
    frames = 200
    made = header(256, 256, stored=12, NumberOfFrames=str(frames))
    noise = np.random.default_rng(0).integers(0, 4096, (256, 256)).astype("<u2").tobytes()
    answer = transcode(made, (noise for _ in range(frames)), uids.EXPLICIT_VR_LITTLE_ENDIAN, uids.RLE_LOSSLESS)
    tracemalloc.start()
    total = sum(len(chunk) for chunk in data_set_chunks(answer, offset_table=False))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total > 20_000_000
    assert peak < 3_000_000


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from([(8, 8), (8, 5), (16, 12), (16, 16), (16, 9)]),
    st.booleans(),
    st.sampled_from(NAMED[4:]),
    st.integers(0, 2**32 - 1),
    st.booleans(),
)
def test_noise_and_flat_images_of_any_size_survive(
    rows: int, columns: int, depth: tuple[int, int], signed: bool, target: str, seed: int, flat: bool
) -> None:
    bits, stored = depth
    made = header(rows, columns, bits=bits, stored=stored, signed=signed)
    low, high = image_pixel(made).value_range
    kind = image_pixel(made).dtype
    rng = np.random.default_rng(seed)
    frame = np.full((rows, columns), high, kind) if flat else rng.integers(low, high + 1, (rows, columns)).astype(kind)
    if not can_transcode(uids.EXPLICIT_VR_LITTLE_ENDIAN, target, made):
        assert target == uids.JPEG_XL_LOSSLESS
        assert signed
        return
    answer = transcode(made, [frame.tobytes()], uids.EXPLICIT_VR_LITTLE_ENDIAN, target)
    back = transcode(answer.header, answer.frames, target, uids.EXPLICIT_VR_LITTLE_ENDIAN)
    unsigned = np.frombuffer(next(back.frames), kind).reshape(rows, columns)
    assert np.array_equal(unsigned, frame)

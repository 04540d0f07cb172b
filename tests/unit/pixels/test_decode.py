"""Frames to numbers, against the uncompressed originals, against pydicom's own decoders, and by round trip."""

from __future__ import annotations

import struct
import warnings
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file

from fileroom.core.errors import InvalidObjectError, TooLargeError, UnsupportedError
from fileroom.dicom import uids
from fileroom.pixels.decode import decode_frame
from fileroom.pixels.image_pixel import image_pixel
from fileroom.pixels.transcode import transcode
from pixel_objects import (
    bundled,
    color_header,
    decoded,
    encapsulated_file,
    header,
    native_file,
    needs_wg04,
    ramp,
    source_of,
    wg04_files,
    wg04_folder,
)

LOSSLESS_FOLDERS = ("UNC", "J2KR", "JLSL", "JPLL", "RLE")
MEAN_ERROR_MAX = {"J2KI": 40, "JLSN": 4, "JPLY": 12}
"""Stored values; the set was compressed hard (CT1_J2KI from 524,288 to 7,552 bytes)."""

FUZZED = [
    uids.RLE_LOSSLESS,
    uids.JPEG_LOSSLESS_SV1,
    uids.JPEG_LS_LOSSLESS,
    uids.JPEG_2000_LOSSLESS,
    uids.HTJ2K_LOSSLESS,
    uids.JPEG_XL_LOSSLESS,
    uids.DEFLATED_IMAGE_FRAME,
]
FUZZ_HEADER = header(24, 20, stored=12)
FUZZ_FRAME = ramp(24, 20, 0, 4095, np.uint16).tobytes()

PYDICOM_FILES = [
    "693_J2KI.dcm",
    "CT_small.dcm",
    "ExplVR_BigEnd.dcm",
    "J2K_pixelrep_mismatch.dcm",
    "JPEG2000.dcm",
    "JPEGLSNearLossless_08.dcm",
    "JPEGLSNearLossless_16.dcm",
    "MR_small_RLE.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_implicit.dcm",
    "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "MR_small_padded.dcm",
    "SC_jpeg_no_color_transform.dcm",
    "SC_jpeg_no_color_transform_2.dcm",
    "SC_rgb_dcmtk_+eb+cr.dcm",
    "SC_rgb_dcmtk_+eb+cy+n1.dcm",
    "SC_rgb_dcmtk_+eb+cy+np.dcm",
    "SC_rgb_dcmtk_+eb+cy+s4.dcm",
    "SC_rgb_gdcm_KY.dcm",
    "SC_rgb_jls_lossy_line.dcm",
    "SC_rgb_jls_lossy_sample.dcm",
    "SC_rgb_jpeg_app14_dcmd.dcm",
    "SC_rgb_jpeg_lossy_gdcm.dcm",
    "SC_rgb_rle_16bit_2frame.dcm",
    "SC_rgb_rle_32bit_2frame.dcm",
    "SC_rgb_small_odd.dcm",
    "SC_rgb_small_odd_big_endian.dcm",
    "SC_rgb_small_odd_jpeg.dcm",
    "SC_ybr_full_422_uncompressed.dcm",
    "examples_palette.dcm",
    "examples_ybr_color.dcm",
    "liver_1frame.dcm",
    "liver_expb_1frame.dcm",
    "rtdose.dcm",
    "rtdose_expb.dcm",
    "rtdose_rle.dcm",
]


def original_of(path: Path) -> np.ndarray | None:
    root = wg04_folder()
    assert root is not None
    original = root / "UNC" / f"{path.name.split('_')[0]}_UNC.dcm"
    return decoded(source_of(original.read_bytes())) if original.exists() else None


@needs_wg04
@pytest.mark.parametrize("path", wg04_files(*LOSSLESS_FOLDERS), ids=lambda path: path.stem)
def test_lossless_images_equal_their_originals(path: Path) -> None:
    found = decoded(source_of(path.read_bytes()))
    original = original_of(path)
    if original is None:
        assert found.size
        return
    assert found.dtype == original.dtype
    assert np.array_equal(found, original)


@needs_wg04
@pytest.mark.parametrize("path", wg04_files("J2KI", "JLSN", "JPLY"), ids=lambda path: path.stem)
def test_lossy_images_resemble_their_originals(path: Path) -> None:
    found = decoded(source_of(path.read_bytes()))
    original = original_of(path)
    if original is not None and original.shape == found.shape:
        difference = np.abs(original.astype(np.int64) - found.astype(np.int64))
        assert difference.mean() < MEAN_ERROR_MAX[path.parent.name]


@pytest.mark.parametrize("name", PYDICOM_FILES)
def test_bundled_files_decode_as_pydicom_decodes_them(name: str) -> None:
    path = get_testdata_file(name, download=False)
    source = bundled(name)
    last = image_pixel(source.header).number_of_frames - 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = pydicom.pixels.pixel_array(path, index=last)
    assert np.array_equal(decoded(source, last), expected)


def test_the_lossless_jpeg_of_colour_equals_the_rle_of_the_same_image() -> None:
    assert np.array_equal(decoded(bundled("SC_rgb_jpeg_gdcm.dcm")), decoded(bundled("SC_rgb_rle.dcm")))


def test_a_twelve_bit_jpeg_stays_in_its_range() -> None:
    found = decoded(bundled("JPGExtended.dcm"))
    assert found.dtype == np.uint16
    assert found.max() == 264


# --- what the header says about stored bits ---


@pytest.mark.parametrize("stored", [10, 12, 16])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("codec", ["jpegls", "sv1", "j2k", "htj2k", "native"])
def test_sign_and_depth_come_from_the_header(stored: int, signed: bool, codec: str) -> None:
    low, high = (-(1 << (stored - 1)), (1 << (stored - 1)) - 1) if signed else (0, (1 << stored) - 1)
    image = ramp(24, 32, low, high, np.int16 if signed else np.uint16)
    words = image.view(np.uint16) & ((1 << stored) - 1)
    frame, syntax = {
        "jpegls": lambda: (imagecodecs.jpegls_encode(words), uids.JPEG_LS_LOSSLESS),
        "sv1": lambda: (
            imagecodecs.jpeg8_encode(words, lossless=True, predictor=1, bitspersample=stored),
            uids.JPEG_LOSSLESS_SV1,
        ),
        "j2k": lambda: (
            imagecodecs.jpeg2k_encode(image, level=0, reversible=True, codecformat="j2k", bitspersample=stored),
            uids.JPEG_2000_LOSSLESS,
        ),
        "htj2k": lambda: (imagecodecs.htj2k_encode(image, reversible=True), uids.HTJ2K_LOSSLESS),
        "native": lambda: (words.tobytes(), uids.IMPLICIT_VR_LITTLE_ENDIAN),
    }[codec]()
    found = decode_frame(header(24, 32, stored=stored, signed=signed), syntax, bytes(frame))
    assert found.dtype == image.dtype
    assert np.array_equal(found, image)


def test_bits_outside_bits_stored_are_no_pixels() -> None:
    words = np.array([[0xF001, 0x0FFF], [0x8800, 0x1234]], "<u2")
    unsigned = decode_frame(header(2, 2, stored=12), uids.EXPLICIT_VR_LITTLE_ENDIAN, words.tobytes())
    assert unsigned.tolist() == [[0x001, 0xFFF], [0x800, 0x234]]
    signed = decode_frame(header(2, 2, stored=12, signed=True), uids.EXPLICIT_VR_LITTLE_ENDIAN, words.tobytes())
    assert signed.tolist() == [[1, -1], [-2048, 0x234]]


def test_a_high_bit_above_bits_stored_shifts() -> None:
    words = np.array([[0xFFF0, 0x1230]], "<u2").tobytes()
    assert decode_frame(header(1, 2, stored=12, HighBit=15), uids.EXPLICIT_VR_LITTLE_ENDIAN, words).tolist() == [
        [0xFFF, 0x123]
    ]
    signed = header(1, 2, stored=12, signed=True, HighBit=15)
    assert decode_frame(signed, uids.EXPLICIT_VR_LITTLE_ENDIAN, words).tolist() == [[-1, 0x123]]


@pytest.mark.parametrize("bits", [8, 16, 32, 64])
def test_every_allocation_decodes_in_both_byte_orders(bits: int) -> None:
    image = np.array([[0, 1], [2, (1 << bits) - 1]], f"u{bits // 8}")
    for syntax, order in ((uids.EXPLICIT_VR_LITTLE_ENDIAN, "<"), (uids.EXPLICIT_VR_BIG_ENDIAN, ">")):
        frame = image.astype(image.dtype.newbyteorder(order)).tobytes()
        assert np.array_equal(decode_frame(header(2, 2, bits=bits), syntax, frame), image)


@pytest.mark.parametrize(("keyword", "bits"), [("FloatPixelData", 32), ("DoubleFloatPixelData", 64)])
def test_float_pixels_are_floats(keyword: str, bits: int) -> None:
    image = np.array([[-1.5, 0.0], [3.25, 1e30]], f"f{bits // 8}")
    made = header(2, 2, bits=bits)
    del made.BitsStored, made.HighBit, made.PixelRepresentation
    for named in (keyword, None):
        found = decode_frame(made, uids.EXPLICIT_VR_LITTLE_ENDIAN, image.tobytes(), pixel_keyword=named)
        assert np.array_equal(found, image)


# --- colour ---


def test_planar_configuration_only_says_where_samples_stand() -> None:
    image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    planes = np.moveaxis(image, -1, 0).tobytes()
    planar = color_header(2, 4, PlanarConfiguration=1)
    assert np.array_equal(decode_frame(planar, uids.EXPLICIT_VR_LITTLE_ENDIAN, planes), image)
    assert np.array_equal(decode_frame(color_header(2, 4), uids.EXPLICIT_VR_LITTLE_ENDIAN, image.tobytes()), image)


@pytest.mark.parametrize(
    ("ybr", "rgb"), [((76, 85, 255), (254, 0, 0)), ((255, 128, 128), (255, 255, 255)), ((0, 128, 128), (0, 0, 0))]
)
def test_full_range_ybr_becomes_rgb(ybr: tuple[int, ...], rgb: tuple[int, ...]) -> None:
    found = decode_frame(color_header(1, 1, "YBR_FULL"), uids.EXPLICIT_VR_LITTLE_ENDIAN, bytes(ybr) + b"\0")
    assert np.abs(found[0, 0].astype(int) - rgb).max() <= 1


def test_half_chroma_is_shared_by_two_pixels() -> None:
    found = decode_frame(color_header(1, 2, "YBR_FULL_422"), uids.EXPLICIT_VR_LITTLE_ENDIAN, bytes([50, 200, 128, 128]))
    assert found.tolist() == [[[50] * 3, [200] * 3]]


@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL", "YBR_FULL_422"])
@pytest.mark.parametrize("stream", ["rgb", "ycbcr"])
def test_a_jpeg_that_names_its_transform_is_believed(photometric: str, stream: str) -> None:
    image = np.full((16, 16, 3), (200, 30, 90), np.uint8)
    if stream == "rgb":
        frame = imagecodecs.jpeg8_encode(image, 95, colorspace="rgb", outcolorspace="rgb")
    else:
        frame = imagecodecs.jpeg8_encode(image, 95, subsampling="422")
    found = decode_frame(color_header(16, 16, photometric), uids.JPEG_BASELINE, frame)
    assert np.abs(found.astype(int) - image).max() <= 4


def test_a_jpeg_without_marker_is_what_the_header_says() -> None:
    image = np.full((16, 16, 3), (200, 30, 90), np.uint8)
    marked = imagecodecs.jpeg8_encode(image, 95, colorspace="rgb", outcolorspace="rgb")
    at = marked.find(b"\xff\xee")
    bare = marked[:at] + marked[at + 16 :]
    named_rgb = decode_frame(color_header(16, 16, "YBR_FULL"), uids.JPEG_BASELINE, bare)
    assert np.abs(named_rgb.astype(int) - image).max() <= 4
    numbered = bare.replace(b"\x03R\x11\0G\x11\0B", b"\x03\1\x11\0\2\x11\0\3").replace(
        b"\x03R\0G\0B", b"\x03\1\0\2\0\3"
    )
    assert numbered != bare
    as_rgb = decode_frame(color_header(16, 16, "RGB"), uids.JPEG_BASELINE, numbered)
    assert np.abs(as_rgb.astype(int) - image).max() <= 4
    as_ybr = decode_frame(color_header(16, 16, "YBR_FULL"), uids.JPEG_BASELINE, numbered)
    assert np.abs(as_ybr.astype(int) - image).max() > 50


@pytest.mark.parametrize("transform", [True, False])
def test_jpeg_2000_colour_is_rgb_with_and_without_transform(transform: bool) -> None:
    image = np.random.default_rng(3).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    frame = imagecodecs.jpeg2k_encode(image, level=0, reversible=True, codecformat="j2k", mct=transform)
    for photometric in ("YBR_RCT", "RGB"):
        found = decode_frame(color_header(20, 30, photometric), uids.JPEG_2000_LOSSLESS, frame)
        assert np.array_equal(found, image)


@pytest.mark.parametrize("transform", [True, False])
def test_htj2k_colour_is_by_pixel_with_and_without_transform(transform: bool) -> None:
    image = np.random.default_rng(3).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    frame = bytes(imagecodecs.htj2k_encode(image, reversible=True, rgb=transform))
    found = decode_frame(color_header(20, 30, "YBR_RCT" if transform else "RGB"), uids.HTJ2K_LOSSLESS, frame)
    assert np.array_equal(found, image)


def test_jpeg_2000_deeper_than_it_is_exact_is_refused() -> None:
    image = ramp(8, 8, 0, (1 << 26) - 1, np.uint32)
    frame = bytes(imagecodecs.jpeg2k_encode(image, level=0, reversible=True, codecformat="j2k", bitspersample=26))
    with pytest.raises(UnsupportedError, match="26 bits"):
        decode_frame(header(8, 8, bits=32, stored=26), uids.JPEG_2000_LOSSLESS, frame)
    frame = bytes(imagecodecs.htj2k_encode(image >> 8, reversible=True))
    with pytest.raises(UnsupportedError, match="32 bits"):
        decode_frame(header(8, 8, bits=32, stored=18), uids.HTJ2K_LOSSLESS, frame)


# --- other encapsulations ---


def test_a_deflated_frame_is_inflated() -> None:
    image = ramp(9, 7, 0, 4095, np.uint16)
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    frame = packer.compress(image.tobytes()) + packer.flush() + b"\0"
    data = encapsulated_file(header(9, 7, stored=12), [frame], syntax=uids.DEFLATED_IMAGE_FRAME)
    assert np.array_equal(decoded(source_of(data)), image)


def test_encapsulated_uncompressed_frames_are_native_frames() -> None:
    image = ramp(9, 7, 0, 4095, np.uint16)
    data = encapsulated_file(header(9, 7), [image.tobytes()], syntax=uids.ENCAPSULATED_UNCOMPRESSED)
    assert np.array_equal(decoded(source_of(data)), image)


@pytest.mark.parametrize(("shape", "top"), [((40, 24), 255), ((40, 24), 65535), ((40, 24, 3), 255)])
def test_jpeg_xl_is_lossless(shape: tuple[int, ...], top: int) -> None:
    kind = np.uint8 if top == 255 else np.uint16
    image = np.random.default_rng(5).integers(0, top + 1, shape).astype(kind)
    made = color_header(40, 24) if len(shape) == 3 else header(40, 24, bits=8 if top == 255 else 16)
    for container in (False, True):
        frame = imagecodecs.jpegxl_encode(image, lossless=True, effort=3, usecontainer=container)
        assert np.array_equal(decode_frame(made, uids.JPEG_XL_LOSSLESS, frame), image)


@pytest.mark.parametrize("size", [(1, 1), (7, 300), (256, 256), (64, 80), (513, 9)])
def test_the_size_of_every_codestream_is_read_before_it_is_decoded(size: tuple[int, int]) -> None:
    image = np.zeros(size, np.uint8)
    frames = {
        uids.JPEG_XL_LOSSLESS: imagecodecs.jpegxl_encode(image, lossless=True, usecontainer=False),
        uids.JPEG_2000_LOSSLESS: imagecodecs.jpeg2k_encode(image, level=0, reversible=True, codecformat="j2k"),
        uids.JPEG_BASELINE: imagecodecs.jpeg8_encode(image),
        uids.JPEG_LS_LOSSLESS: imagecodecs.jpegls_encode(image, out=size[0] * size[1] * 2 + 1000),
    }
    for syntax, frame in frames.items():
        assert decode_frame(header(*size, bits=8), syntax, bytes(frame)).shape == size
        with pytest.raises(InvalidObjectError, match="contradicts itself"):
            decode_frame(header(size[0] + 1, size[1], bits=8), syntax, bytes(frame))


# --- bad frames ---


@pytest.mark.parametrize(
    "syntax",
    [
        uids.EXPLICIT_VR_LITTLE_ENDIAN,
        uids.RLE_LOSSLESS,
        uids.JPEG_BASELINE,
        uids.JPEG_LOSSLESS_SV1,
        uids.JPEG_LS_LOSSLESS,
        uids.JPEG_2000_LOSSLESS,
        uids.HTJ2K_LOSSLESS,
        uids.JPEG_XL_LOSSLESS,
        uids.DEFLATED_IMAGE_FRAME,
    ],
)
@pytest.mark.parametrize(
    "frame", [b"", b"\xff\xd8", b"garbage that is no image at all" * 9], ids=["empty", "SOI", "text"]
)
def test_garbage_is_an_invalid_object(syntax: str, frame: bytes) -> None:
    with pytest.raises(InvalidObjectError):
        decode_frame(header(64, 64), syntax, frame)


@pytest.mark.parametrize("offsets", [(64, 2**31), (64, 64), (100, 80), (0, 70), (64, 200)])
def test_rle_segments_outside_the_frame_are_refused(offsets: tuple[int, int]) -> None:
    frame = struct.pack("<16I", 2, *offsets, *[0] * 13) + b"\x81\0" * 64
    with pytest.raises(InvalidObjectError, match="corrupt"):
        decode_frame(header(8, 8), uids.RLE_LOSSLESS, frame)


def test_a_truncated_jpeg_ls_frame_is_refused_quickly() -> None:
    frame = bytes(imagecodecs.jpegls_encode(ramp(48, 40, 0, 4095, np.uint16)))
    for end in range(60, len(frame) - 4, 11):
        with pytest.raises(InvalidObjectError):
            decode_frame(header(48, 40, stored=12), uids.JPEG_LS_LOSSLESS, frame[:end])


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 6), st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=6), st.integers(1, 400)
)
def test_corrupt_frames_decode_or_are_refused(which: int, changes: list[tuple[int, int]], cut: int) -> None:
    syntax = FUZZED[which]
    frame = bytearray(next(transcode(FUZZ_HEADER, [FUZZ_FRAME], uids.EXPLICIT_VR_LITTLE_ENDIAN, syntax).frames))
    for place, value in changes:
        frame[place % len(frame)] = value
    try:
        found = decode_frame(FUZZ_HEADER, syntax, bytes(frame[: max(len(frame) - cut, 0)] if cut % 2 else frame))
        assert found.shape == (24, 20)
    except (InvalidObjectError, UnsupportedError):
        pass


def test_an_rle_frame_that_promises_too_much_is_refused() -> None:
    frame = (2).to_bytes(4, "little") + (64).to_bytes(4, "little") + (65).to_bytes(4, "little") + bytes(52) + b"\x81\0"
    with pytest.raises(InvalidObjectError):
        decode_frame(header(4096, 4096), uids.RLE_LOSSLESS, frame)


def test_video_is_not_decoded() -> None:
    with pytest.raises(UnsupportedError, match=r"MPEG-4"):
        decode_frame(header(4, 4), "1.2.840.10008.1.2.4.102", b"\0\0\0\x18ftyp")


def test_enormous_frames_are_refused() -> None:
    with pytest.raises(TooLargeError):
        decode_frame(header(65535, 65535, bits=8), uids.JPEG_BASELINE, b"\xff\xd8")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"Rows": 0}, InvalidObjectError),
        ({"BitsAllocated": 12}, UnsupportedError),
        ({"BitsStored": 17}, InvalidObjectError),
        ({"SamplesPerPixel": 2}, InvalidObjectError),
    ],
)
def test_a_header_that_contradicts_itself_is_refused(change: dict[str, int], error: type[Exception]) -> None:
    made = header(2, 2)
    for keyword, value in change.items():
        setattr(made, keyword, value)
    with pytest.raises(error):
        decode_frame(made, uids.EXPLICIT_VR_LITTLE_ENDIAN, bytes(8))


def test_a_number_of_frames_that_is_no_number_counts_as_one() -> None:
    assert decoded(source_of(native_file(header(2, 2), bytes(8)))).shape == (2, 2)
    assert image_pixel(bundled("badVR.dcm").header).number_of_frames == 1

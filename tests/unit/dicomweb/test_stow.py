"""Metadata with bulk data become objects that an independent reader understands."""

from __future__ import annotations

import io
import json
import struct
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fileroom.core.errors import InvalidRequestError, RequestError, UnsupportedError
from fileroom.dicom import uids
from fileroom.dicomweb.media_types import parse_media_type
from fileroom.dicomweb.stow import AssembledObject, BulkData, BulkPart, assemble, read_metadata
from fileroom.pixels.pictures import read_picture

RNG = np.random.default_rng(7)
GREY = RNG.integers(0, 255, (24, 32), np.uint8)
COLOUR = RNG.integers(0, 255, (24, 32, 3), np.uint8)
IDENTITY = {
    "00080016": {"vr": "UI", "Value": [uids.SECONDARY_CAPTURE_IMAGE_STORAGE]},
    "00080018": {"vr": "UI", "Value": ["1.2.4"]},
    "0020000D": {"vr": "UI", "Value": ["1.2.2"]},
    "0020000E": {"vr": "UI", "Value": ["1.2.3"]},
}
PIXELS = {"7FE00010": {"vr": "OW", "BulkDataURI": "http://host/bulk/1"}}


def part(kind: str, data: bytes, location: str | None = "http://host/bulk/1") -> BulkPart:
    return BulkPart(parse_media_type(kind), location, memoryview(data))


def build(model: dict[str, Any], *parts: BulkPart) -> tuple[AssembledObject, pydicom.Dataset]:
    (read,) = read_metadata(parse_media_type("application/dicom+json"), json.dumps([model]).encode())
    found = assemble(read, BulkData(parts), read_picture)
    body = b"".join(bytes(piece) for piece in found.pieces)
    assert found.length == len(body)
    data_set = pydicom.dcmread(io.BytesIO(body))
    assert data_set.file_meta.TransferSyntaxUID == found.transfer_syntax
    assert (data_set.SOPInstanceUID, data_set.StudyInstanceUID) == (found.sop_instance, found.study)
    return found, data_set


def encoded(image: NDArray[np.uint8], kind: str, **options: Any) -> bytes:
    encode = {
        "jpeg": imagecodecs.jpeg8_encode,
        "ljpeg": imagecodecs.ljpeg_encode,
        "jls": imagecodecs.jpegls_encode,
        "j2k": imagecodecs.jpeg2k_encode,
    }[kind]
    return bytes(encode(image, **options))


@pytest.mark.parametrize(
    ("media_type", "data", "syntax", "photometric"),
    [
        ("image/jpeg", encoded(GREY, "jpeg", level=90), uids.JPEG_BASELINE, "MONOCHROME2"),
        ("image/jpeg", encoded(COLOUR, "jpeg", level=90), uids.JPEG_BASELINE, "YBR_FULL_422"),
        ("image/jpeg", encoded(GREY, "ljpeg"), uids.JPEG_LOSSLESS, "MONOCHROME2"),
        ("image/jls", encoded(GREY, "jls"), uids.JPEG_LS_LOSSLESS, "MONOCHROME2"),
        ("image/jls", encoded(GREY, "jls", level=2), uids.JPEG_LS_NEAR_LOSSLESS, "MONOCHROME2"),
        ("image/jp2", encoded(GREY, "j2k", reversible=True, codecformat="j2k"), uids.JPEG_2000_LOSSLESS, "MONOCHROME2"),
        ("image/jp2", encoded(GREY, "j2k", reversible=True, codecformat="jp2"), uids.JPEG_2000_LOSSLESS, "MONOCHROME2"),
        ("image/jp2", encoded(COLOUR, "j2k", level=40, codecformat="j2k"), uids.JPEG_2000, None),
    ],
)
def test_compressed_image_is_encapsulated_and_described_from_its_own_header(
    media_type: str, data: bytes, syntax: str, photometric: str | None
) -> None:
    found, data_set = build(IDENTITY | PIXELS, part(media_type, data))
    assert found.transfer_syntax == syntax
    assert (data_set.Rows, data_set.Columns) == (24, 32)
    assert (data_set.BitsAllocated, data_set.BitsStored, data_set.HighBit) == (8, 8, 7)
    if photometric is not None:
        assert data_set.PhotometricInterpretation == photometric
    assert ("LossyImageCompression" in data_set) == uids.transfer_syntax(syntax).lossy
    frame = next(pydicom.encaps.generate_frames(data_set.PixelData, number_of_frames=1))
    assert frame[:-1] in data


def test_sixteen_bit_jpeg_2000_is_described_as_such() -> None:
    image = RNG.integers(0, 4095, (16, 16), np.uint16)
    data = bytes(imagecodecs.jpeg2k_encode(image, reversible=True, bitspersample=12, codecformat="j2k"))
    _, data_set = build(IDENTITY | PIXELS, part("image/jp2", data))
    assert (data_set.BitsAllocated, data_set.BitsStored, data_set.PixelRepresentation) == (16, 12, 0)


def test_high_throughput_jpeg_2000_is_known_by_its_header() -> None:
    data = bytes(imagecodecs.htj2k_encode(GREY, reversible=True))
    found, _ = build(IDENTITY | PIXELS, part("image/jphc", data))
    assert found.transfer_syntax == uids.HTJ2K_LOSSLESS


def test_frames_in_separate_parts_become_one_multi_frame_object_with_offsets() -> None:
    frames = [encoded(np.roll(GREY, shift), "jls") for shift in range(3)]
    parts = [part("image/jls", data, f"/bulk/1/frames/{number}") for number, data in enumerate(frames, start=1)]
    _, data_set = build(IDENTITY | PIXELS, *parts)
    assert data_set.NumberOfFrames == 3
    kept = list(pydicom.encaps.generate_frames(data_set.PixelData, number_of_frames=3))
    assert [frame[: len(data)] for frame, data in zip(kept, frames, strict=True)] == frames
    offsets, _ = pydicom.encaps.parse_basic_offsets(data_set.PixelData), None
    assert len(offsets) == 3


def test_transfer_syntax_of_the_part_goes_before_the_guess() -> None:
    data = encoded(GREY, "j2k", reversible=True, codecformat="j2k")
    found, _ = build(IDENTITY | PIXELS, part(f"image/jp2; transfer-syntax={uids.JPEG_2000}", data))
    assert found.transfer_syntax == uids.JPEG_2000
    found, _ = build(IDENTITY | PIXELS, part(f"application/octet-stream; transfer-syntax={uids.JPEG_2000}", data))
    assert found.transfer_syntax == uids.JPEG_2000
    with pytest.raises(InvalidRequestError, match="transfer-syntax"):
        build(IDENTITY | PIXELS, part(f"image/jp2; transfer-syntax={uids.RLE_LOSSLESS}", data))


DESCRIPTION = {
    "00280002": {"vr": "US", "Value": [1]},
    "00280004": {"vr": "CS", "Value": ["MONOCHROME2"]},
    "00280010": {"vr": "US", "Value": [24]},
    "00280011": {"vr": "US", "Value": [32]},
    "00280100": {"vr": "US", "Value": [8]},
    "00280101": {"vr": "US", "Value": [8]},
    "00280102": {"vr": "US", "Value": [7]},
    "00280103": {"vr": "US", "Value": [0]},
}


def test_native_pixels_are_kept_as_they_are() -> None:
    found, data_set = build(IDENTITY | DESCRIPTION | PIXELS, part("application/octet-stream", GREY.tobytes()))
    assert found.transfer_syntax == uids.EXPLICIT_VR_LITTLE_ENDIAN
    assert np.array_equal(data_set.pixel_array, GREY)


def test_native_pixels_without_description_or_too_short_are_refused() -> None:
    with pytest.raises(InvalidRequestError, match="Rows, Columns"):
        build(IDENTITY | PIXELS, part("application/octet-stream", GREY.tobytes()))
    with pytest.raises(InvalidRequestError, match="767 bytes"):
        build(IDENTITY | DESCRIPTION | PIXELS, part("application/octet-stream", GREY.tobytes()[:-1]))


def test_metadata_that_contradict_the_image_are_refused() -> None:
    wrong = {"00280010": {"vr": "US", "Value": [25]}}
    with pytest.raises(InvalidRequestError, match="Rows 25"):
        build(IDENTITY | wrong | PIXELS, part("image/jpeg", encoded(GREY, "jpeg", level=90)))


def test_pdf_becomes_an_encapsulated_document_with_its_true_length() -> None:
    pdf = b"%PDF-1.4 odd length"
    model = IDENTITY | {
        "00080016": {"vr": "UI", "Value": [uids.ENCAPSULATED_PDF_STORAGE]},
        "00420010": {"vr": "ST", "Value": ["Befund für Müller"]},
        "00420011": {"vr": "OB", "BulkDataURI": "report"},
        "00420013": {"vr": "SQ", "Value": []},
    }
    _, data_set = build(model, part("application/pdf", pdf, "report"))
    assert data_set.EncapsulatedDocument == pdf + b"\0"
    assert data_set.EncapsulatedDocumentLength == len(pdf)
    assert data_set.MIMETypeOfEncapsulatedDocument == "application/pdf"
    assert data_set.DocumentTitle == "Befund für Müller"


def test_other_bulk_data_are_put_in_at_any_depth() -> None:
    wave = {"54001010": {"vr": "OW", "BulkDataURI": "wave"}}
    model = IDENTITY | {"54000100": {"vr": "SQ", "Value": [wave]}}
    _, data_set = build(model, part("application/octet-stream", b"\1\2\3\4", "wave"))
    assert data_set.WaveformSequence[0].WaveformData == b"\1\2\3\4"


def test_lone_part_without_location_is_the_one_that_is_meant() -> None:
    _, data_set = build(IDENTITY | PIXELS, part("image/jpeg", encoded(GREY, "jpeg", level=90), None))
    assert data_set.Rows == 24


def test_missing_part_and_missing_identity_are_refused_by_name() -> None:
    with pytest.raises(InvalidRequestError, match="Content-Location"):
        build(IDENTITY | PIXELS, part("image/jpeg", b"", "elsewhere"))
    without = {key: value for key, value in IDENTITY.items() if key != "0020000E"}
    with pytest.raises(InvalidRequestError, match="SeriesInstanceUID"):
        build(without)


def png(image: NDArray[np.uint8] | NDArray[np.uint16]) -> bytes:
    return bytes(imagecodecs.png_encode(image))


@pytest.mark.parametrize(
    ("image", "photometric"),
    [(GREY, "MONOCHROME2"), (GREY.astype(np.uint16) * 257, "MONOCHROME2"), (COLOUR, "RGB"), (COLOUR[:, :-1], "RGB")],
)
def test_png_becomes_uncompressed_and_is_described(image: NDArray[np.uint8], photometric: str) -> None:
    found, data_set = build(IDENTITY | PIXELS, part("image/png", png(image)))
    assert found.transfer_syntax == uids.EXPLICIT_VR_LITTLE_ENDIAN
    assert data_set.PhotometricInterpretation == photometric
    assert data_set.BitsStored == 8 * image.itemsize
    assert np.array_equal(data_set.pixel_array, image)


def test_pictures_in_separate_parts_become_frames() -> None:
    parts = [part("image/png", png(GREY), f"http://host/bulk/1/frames/{number}") for number in (1, 2, 3)]
    _, data_set = build(IDENTITY | PIXELS, *parts)
    assert data_set.NumberOfFrames == 3
    assert np.array_equal(data_set.pixel_array, [GREY] * 3)


@pytest.mark.parametrize(
    ("attribute", "reason"),
    [
        ({"00280100": {"vr": "US", "Value": [16]}}, "BitsAllocated 16"),
        ({"00280010": {"vr": "US", "Value": [7]}}, "Rows 7"),
        ({"00280004": {"vr": "CS", "Value": ["PALETTE COLOR"]}}, "PhotometricInterpretation PALETTE COLOR"),
        ({"00280008": {"vr": "IS", "Value": [2]}}, "NumberOfFrames 2"),
        ({"00280002": {"vr": "US", "Value": [1]}}, "has colours"),
    ],
)
def test_metadata_that_contradict_a_picture_are_refused(attribute: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidRequestError, match=reason):
        build(IDENTITY | PIXELS | attribute, part("image/png", png(COLOUR)))


def test_another_picture_type_is_refused_with_what_to_send_instead() -> None:
    with pytest.raises(UnsupportedError, match=r"image/webp .* send image/jpeg"):
        build(IDENTITY | PIXELS, part("image/webp", b"RIFF"))


def box(kind: bytes, *content: bytes) -> bytes:
    body = b"".join(content)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def film(codec: bytes = b"avc1", configuration: bytes = b"\1\x64\0\x28", frames: int = 50) -> bytes:
    """The boxes of an MP4 file with one video track of 640 x 480 and 2 s, without any picture."""
    entry = box(
        codec,
        bytes(24),
        struct.pack(">HH", 640, 480),
        bytes(50),
        box(b"avcC" if codec == b"avc1" else b"hvcC", configuration),
    )
    tables = box(
        b"stbl", box(b"stsd", bytes(4), struct.pack(">I", 1), entry), box(b"stsz", struct.pack(">III", 0, 0, frames))
    )
    media = box(
        b"mdia",
        box(b"mdhd", bytes(12), struct.pack(">II", 1000, 2000), bytes(4)),
        box(b"hdlr", bytes(8), b"vide", bytes(12)),
        box(b"minf", tables),
    )
    sound = box(b"trak", box(b"mdia", box(b"hdlr", bytes(8), b"soun", bytes(12))))
    return box(b"ftyp", b"isom") + box(b"mdat", b"pictures") + box(b"moov", sound, box(b"trak", media))


@pytest.mark.parametrize(
    ("codec", "configuration", "suffix"),
    [
        (b"avc1", b"\1\x64\0\x28", "102"),
        (b"avc1", b"\1\x64\0\x2a", "104"),
        (b"avc1", b"\1\x80\0\x28", "106"),
        (b"hvc1", b"\1\1" + bytes(11), "107"),
        (b"hvc1", b"\1\2" + bytes(11), "108"),
    ],
)
def test_mp4_is_described_from_its_boxes(codec: bytes, configuration: bytes, suffix: str) -> None:
    data = film(codec, configuration)
    found, data_set = build(IDENTITY | PIXELS, part("video/mp4", data))
    assert found.transfer_syntax == f"1.2.840.10008.1.2.4.{suffix}"
    assert (data_set.Rows, data_set.Columns, data_set.NumberOfFrames) == (480, 640, 50)
    assert data_set.FrameTime == 40
    assert data_set.FrameIncrementPointer == 0x00181063
    assert data in data_set.PixelData


def test_film_of_a_level_that_dicom_does_not_have_is_refused() -> None:
    with pytest.raises(UnsupportedError, match=r"level 5\.1"):
        build(IDENTITY | PIXELS, part("video/mp4", film(configuration=b"\1\x64\0\x33")))


def test_mpeg2_is_described_from_its_sequence_header_and_needs_the_number_of_frames() -> None:
    data = b"\0\0\1\xb3" + bytes([0x2D, 0x02, 0x40, 0x23]) + b"rest"
    with pytest.raises(InvalidRequestError, match="NumberOfFrames"):
        build(IDENTITY | PIXELS, part("video/mpeg", data))
    count = {"00280008": {"vr": "IS", "Value": [9]}}
    found, data_set = build(IDENTITY | count | PIXELS, part("video/mpeg2", data))
    assert found.transfer_syntax == "1.2.840.10008.1.2.4.100"
    assert (data_set.Columns, data_set.Rows, data_set.FrameTime) == (720, 576, 40)


MEDIA = ["image/jpeg", "image/jls", "image/jp2", "image/jphc", "video/mp4", "video/mpeg2", "application/octet-stream"]
SEEDS = [
    encoded(COLOUR, "jpeg", level=50),
    encoded(GREY, "j2k", reversible=True, codecformat="jp2"),
    film(),
    b"\0\0\1\xb3\x2d\2\x40\x23",
]


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(MEDIA),
    st.sampled_from(SEEDS),
    st.integers(0, 2000),
    st.binary(max_size=8),
    st.integers(0, 3000),
)
def test_any_damage_to_an_image_is_told_as_a_request_error(
    kind: str, seed: bytes, at: int, new: bytes, cut: int
) -> None:
    data = (seed[:at] + new + seed[at + len(new) :])[: max(cut, 1)]
    try:
        build(IDENTITY | DESCRIPTION | PIXELS, part(kind, data))
    except RequestError:
        pass


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b'"x"', b"[[]]"])
def test_malformed_metadata_are_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequestError):
        read_metadata(parse_media_type("application/json"), body)


def test_xml_metadata_are_read_too() -> None:
    attributes = "".join(
        f'<DicomAttribute tag="{tag}" vr="UI"><Value number="1">{one["Value"][0]}</Value></DicomAttribute>'
        for tag, one in IDENTITY.items()
    )
    pixels = '<DicomAttribute tag="7FE00010" vr="OW"><BulkData uri="cid:pixels"/></DicomAttribute>'
    space = "http://dicom.nema.org/PS3.19/models/NativeDICOM"
    document = f'<NativeDicomModel xmlns="{space}">{attributes}{pixels}</NativeDicomModel>'.encode()
    (model,) = read_metadata(parse_media_type("application/dicom+xml"), document)
    found = assemble(model, BulkData([part("image/jpeg", encoded(GREY, "jpeg", level=90), "cid:pixels")]), read_picture)
    assert (found.sop_instance, found.transfer_syntax) == ("1.2.4", uids.JPEG_BASELINE)


def test_metadata_of_another_type_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="text/html"):
        read_metadata(parse_media_type("text/html"), b"")


values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**40) | st.floats() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["Alphabetic", "00100020"]), inner, max_size=2)
    ),
    max_leaves=6,
)
vrs = st.sampled_from(["PN", "US", "FD", "SQ", "AT", "DS", "OW", "UN", "LT", "UI", "XX", ""])
attributes = st.fixed_dictionaries(
    {"vr": vrs},
    optional={"Value": st.lists(values, max_size=3) | values, "InlineBinary": values, "BulkDataURI": values},
)
tags = st.sampled_from(
    ["00080018", "00100010", "00280010", "7FE00010", "7fe00010", "00420011", "00091001", "5400100", "x"]
)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(tags, attributes, max_size=4))
def test_any_metadata_are_understood_or_refused_as_a_request(extra: dict[str, Any]) -> None:
    parts = [part("application/octet-stream", b"abcd", None)]
    try:
        assemble(IDENTITY | extra, BulkData(parts), read_picture)
    except RequestError:
        pass

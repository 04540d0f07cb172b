"""Uploaded pixel data and the attributes that describe them (PS3.18 10.5.2, PS3.3 C.7.6.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from fileroom.core.errors import InvalidRequestError, UnsupportedError
from fileroom.dicom import uids
from fileroom.dicom.json_model import JsonObject
from fileroom.dicomweb.codestream import ImageHeader, read_jpeg, read_jpeg_2000
from fileroom.dicomweb.model import key_of, number_of, put, put_if_absent, text_of
from fileroom.dicomweb.video_header import read_mp4, read_mpeg2


def read_pixel_header(essence: str, named_syntax: str | None, data: memoryview) -> ImageHeader:
    """What the compressed frame or film says of itself. `named_syntax`, from the part's Content-Type, goes before it.

    Raises:
        InvalidRequestError: the bytes are not what the type says, or the named syntax belongs to another type.
        UnsupportedError: a media type whose bytes are not those of a transfer syntax.
    """
    if named_syntax is not None and uids.transfer_syntax(named_syntax).media_type != _OWN_NAME.get(essence, essence):
        # Octets with a named syntax may be any of them.
        if essence != uids.OCTET_STREAM or named_syntax not in uids.TRANSFER_SYNTAXES:
            raise InvalidRequestError(f"transfer-syntax {named_syntax[:64]} is none of {essence}")
        essence = uids.transfer_syntax(named_syntax).media_type
    if essence in _READERS:
        header = _READERS[essence](data)
    elif essence in _UNREAD:
        header = ImageHeader(_UNREAD[essence], 0, 0, 0, 0, False, "", False, data)
    else:
        raise UnsupportedError(
            f"pixel data of type {essence} cannot be kept as they are;"
            " send image/jpeg, image/jls, image/jp2, image/png, image/gif, video/mp4 or application/octet-stream"
        )
    if named_syntax is None:
        return header
    lossy = uids.transfer_syntax(named_syntax).lossy and header.lossy
    return replace(header, transfer_syntax=named_syntax, lossy=lossy)


def with_pixel_description(model: JsonObject, headers: Sequence[ImageHeader]) -> None:
    """Put into `model` what the frames say and the metadata leave out.

    Raises InvalidRequestError where the two contradict each other, or where neither says it.
    """
    first = headers[0]
    if first.rows:
        if any((one.rows, one.columns, one.samples) != (first.rows, first.columns, first.samples) for one in headers):
            raise InvalidRequestError("the frames differ in size or samples; one object has frames of one kind")
        for keyword, told in (("Rows", first.rows), ("Columns", first.columns), ("SamplesPerPixel", first.samples)):
            given = number_of(model, keyword)
            if given is not None and given != told:
                raise InvalidRequestError(
                    f"the metadata say {keyword} {given}, the image has {told}; correct the metadata"
                )
        for keyword, value in _description(first):
            put_if_absent(model, keyword, value)
    frames = len(headers) if len(headers) > 1 else first.frames
    if frames is not None and frames > 1:
        put_if_absent(model, "NumberOfFrames", frames)
    if first.frame_time_ms is not None and not text_of(model, "FrameTime"):
        put(model, "FrameTime", round(first.frame_time_ms, 6))
        put_if_absent(model, "FrameIncrementPointer", key_of("FrameTime"))
    if first.lossy:
        put_if_absent(model, "LossyImageCompression", "01")
    required = _REQUIRED if first.frames is not None else (*_REQUIRED, "NumberOfFrames")
    _require(model, required, f"the {uids.transfer_syntax(first.transfer_syntax).media_type} data do not tell it")


def describe_pictures(model: JsonObject, headers: Sequence[ImageHeader]) -> None:
    """`with_pixel_description` for pictures that were decoded, whose pixels nobody but us has laid out.

    Raises InvalidRequestError where the metadata describe other pixels.
    """
    first = headers[0]
    if any((one.bits, one.photometric) != (first.bits, first.photometric) for one in headers):
        raise InvalidRequestError("the pictures differ in bits or colours; one object has frames of one kind")
    for keyword, told in _description(first):
        if keyword in ("PhotometricInterpretation", "BitsAllocated", "PlanarConfiguration"):
            given = text_of(model, keyword)
            if given not in ("", str(told)) and (given, told) != ("MONOCHROME1", "MONOCHROME2"):
                raise InvalidRequestError(
                    f"the metadata say {keyword} {given[:32]}, the decoded picture has {told}; correct or leave it out"
                )
    with_pixel_description(model, headers)
    count = sum(header.frames or 1 for header in headers)
    if count > 1:
        put_if_absent(model, "NumberOfFrames", count)
    if (number_of(model, "NumberOfFrames") or 1) != count:
        raise InvalidRequestError(
            f"the metadata say NumberOfFrames {text_of(model, 'NumberOfFrames')[:20]}, the pictures have {count}"
        )
    check_native_pixels(model, sum(len(header.codestream) for header in headers))


def check_native_pixels(model: JsonObject, length: int) -> None:
    """Refuse uncompressed pixels that `model` does not describe, or of which it describes more than `length` bytes."""
    _require(model, _REQUIRED, "uncompressed pixel data do not tell it")
    needed = _native_bytes(model)
    if length < needed:
        raise InvalidRequestError(
            f"the pixel data have {length} bytes, the metadata describe {needed}; send all frames"
        )


_OWN_NAME: Final = {"video/mpeg": "video/mpeg2", "video/h265": "video/H265"}
_READERS: Final = {
    "image/jpeg": read_jpeg,
    "image/jls": read_jpeg,
    "image/jp2": read_jpeg_2000,
    "image/jpx": read_jpeg_2000,
    "image/jphc": read_jpeg_2000,
    "video/mp4": read_mp4,
    "video/mpeg": read_mpeg2,
    "video/mpeg2": read_mpeg2,
}
_UNREAD: Final = {
    "image/dicom-rle": uids.RLE_LOSSLESS,
    "image/jxl": uids.JPEG_XL,
    "video/h265": "1.2.840.10008.1.2.4.107",
    "video/H265": "1.2.840.10008.1.2.4.107",
}
"""Types whose headers are not read: the metadata must describe them."""

_REQUIRED: Final = (
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
)


def _description(header: ImageHeader) -> list[tuple[str, str | int]]:
    """The attributes of the Image Pixel Description Macro (PS3.3 table C.7-11c)."""
    found: list[tuple[str, str | int]] = [
        ("Rows", header.rows),
        ("Columns", header.columns),
        ("SamplesPerPixel", header.samples),
        ("PhotometricInterpretation", header.photometric),
        ("BitsAllocated", header.bits_allocated),
        ("BitsStored", header.bits),
        ("HighBit", header.bits - 1),
        ("PixelRepresentation", int(header.signed)),
    ]
    if header.samples > 1:
        found.append(("PlanarConfiguration", 0))
    return found


def _require(model: JsonObject, keywords: Sequence[str], why: str) -> None:
    missing = [keyword for keyword in keywords if not text_of(model, keyword)]
    if missing:
        raise InvalidRequestError(f"the metadata have no {', '.join(missing)}; {why}, so the metadata must")


def _native_bytes(model: JsonObject) -> int:
    rows, columns, samples, bits = (
        number_of(model, keyword) or 0 for keyword in ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated")
    )
    if text_of(model, "PhotometricInterpretation") == "YBR_FULL_422":
        samples = 2  # two pixels share their colour (PS3.3 C.7.6.3.1.2)
    frames = number_of(model, "NumberOfFrames") or 1
    if min(rows, columns, samples, bits, frames) < 1:
        raise InvalidRequestError("Rows, Columns, SamplesPerPixel, BitsAllocated and NumberOfFrames must be above 0")
    return (rows * columns * samples * bits * frames + 7) // 8

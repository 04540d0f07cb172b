"""Store requests with metadata and bulk data in separate parts become Part 10 objects (PS3.18 8.6.1, 10.5.2).

The order of work: `read_metadata` on each metadata part, `BulkData` over the other parts, then `assemble` for each data
set. Every object is assembled alone, so that the fault of one is told for that one.

Pixels and documents are not copied: an object is a list of pieces, some of which are views of the parts, so a film of
2 GB costs as much memory as the caller's own buffer (or mapped file) does.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol
from urllib.parse import unquote, urlsplit

import orjson

from fileroom.core.errors import InvalidRequestError, TooLargeError, UnsupportedError
from fileroom.core.identifiers import UID
from fileroom.core.limits import JSON_BODY_BYTES_MAX, STOW_INLINE_BULK_BYTES_MAX, STOW_OBJECTS_MAX
from fileroom.dicom import uids
from fileroom.dicom.json_model import BulkPath, BulkReference, JsonObject, model_to_encoded
from fileroom.dicom.part10 import build_file_meta
from fileroom.dicom.xml_model import parse_xml
from fileroom.dicomweb.codestream import ImageHeader
from fileroom.dicomweb.media_types import MediaType
from fileroom.dicomweb.model import key_of, number_of, put, put_if_absent, text_of
from fileroom.dicomweb.pixel_data import (
    check_native_pixels,
    describe_pictures,
    read_pixel_header,
    with_pixel_description,
)

PICTURE_TYPES: Final = frozenset({"image/png", "image/gif"})
"""Media types without a transfer syntax of their own, to be made uncompressed (PS3.18 table 10.5.2-1: Transform)."""
METADATA_TYPES: Final = frozenset({"application/dicom+json", "application/json", "application/dicom+xml"})


class ReadPicture(Protocol):
    """Decodes a file of PICTURE_TYPES to uncompressed pixels: `pixels.pictures.read_picture`."""

    def __call__(self, essence: str, data: memoryview, *, gray: bool) -> ImageHeader:
        """`gray`: one sample a pixel is wanted. Raises RequestError."""


@dataclass(frozen=True, slots=True)
class BulkPart:
    """One part of the request that is not metadata."""

    content_type: MediaType
    location: str | None
    data: memoryview


@dataclass(frozen=True, slots=True)
class AssembledObject:
    """A Part 10 object in pieces to be written one after the other."""

    sop_class: str
    sop_instance: UID
    study: UID
    series: UID
    transfer_syntax: str
    pieces: tuple[bytes | memoryview, ...]

    @property
    def length(self) -> int:
        """All bytes of it."""
        return sum(len(piece) for piece in self.pieces)


def read_metadata(content_type: MediaType, body: bytes | memoryview) -> list[JsonObject]:
    """The data sets of one metadata part, as DICOM JSON objects: any number in JSON, one in XML.

    Raises:
        InvalidRequestError: the body is not what its type says.
        InvalidObjectError: the XML is no Native DICOM Model.
        UnsupportedError: the type is none for metadata.
        TooLargeError: more than Fileroom takes.
    """
    if len(body) > JSON_BODY_BYTES_MAX:
        raise TooLargeError(f"the metadata have {len(body)} bytes; at most {JSON_BODY_BYTES_MAX} are read")
    if content_type.essence == "application/dicom+xml":
        return [parse_xml(bytes(body))]
    if content_type.essence not in METADATA_TYPES:
        raise UnsupportedError(
            f"{content_type.essence} holds no metadata; send application/dicom+json or application/dicom+xml"
        )
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequestError(f"the metadata are not JSON: {error}") from error
    objects = parsed if isinstance(parsed, list) else [parsed]
    if len(objects) > STOW_OBJECTS_MAX:
        raise TooLargeError(
            f"the metadata describe {len(objects)} objects; at most {STOW_OBJECTS_MAX} go into one request"
        )
    if not all(isinstance(one, dict) for one in objects):
        raise InvalidRequestError('the metadata must be an array of objects such as {"00080018": {"vr": "UI", ...}}')
    return objects


class BulkData:
    """Finds the parts that the metadata refer to.

    A reference and a Content-Location are one if they are equal, or if their paths are, percent-encoding aside: writers
    mix absolute and relative ones. If no part has a location, as in uploads of one object, the parts are taken in the
    order of the references.
    """

    def __init__(self, parts: Sequence[BulkPart]) -> None:
        self._by_location: dict[str, list[BulkPart]] = {}
        for part in parts:
            if part.location is not None:
                self._by_location.setdefault(_path_of(part.location), []).append(part)
        self._in_order = list(parts) if not self._by_location else []
        self._taken: dict[str, list[BulkPart]] = {}

    def find(self, uri: str) -> list[BulkPart]:
        """The parts for one reference: one, or one a frame (`uri/frames/1`...).

        Raises InvalidRequestError where there is none.
        """
        path = _path_of(uri)
        found = self._by_location.get(path) or self._taken.get(path) or self._frames(path)
        if not found and self._in_order:
            found = self._taken[path] = [self._in_order.pop(0)]
        if not found:
            raise InvalidRequestError(
                f"no part has the Content-Location {uri[:200]!r}, to which the metadata refer; send that part too"
            )
        return found

    def _frames(self, path: str) -> list[BulkPart]:
        numbered = []
        for number in range(1, len(self._by_location) + 1):
            parts = self._by_location.get(f"{path}/frames/{number}")
            if parts is None:
                break
            numbered.append(parts[0])
        return numbered


def assemble(model: JsonObject, bulk: BulkData, read_picture: ReadPicture) -> AssembledObject:
    """One object from its metadata and the parts that these refer to.

    Compressed pixels keep their bytes and decide the transfer syntax, except those of PICTURE_TYPES, which `read_picture`
    makes uncompressed; attributes of the Image Pixel module that the metadata leave out are read from them. Everything else
    becomes Explicit VR Little Endian, text in UTF-8.

    Raises:
        InvalidRequestError: identifiers, parts or image attributes are missing, or they contradict each other.
        InvalidObjectError: a value does not fit its VR, or the object is none of the DICOM JSON model.
        UnsupportedError: pixel data of a media type that cannot be kept as it is.
        TooLargeError: a value is past what an element or Fileroom's memory takes.
    """
    model = {key.upper(): attribute for key, attribute in model.items()}
    put(model, "SpecificCharacterSet", "ISO_IR 192")
    identity = _identity(model)
    syntax = uids.EXPLICIT_VR_LITTLE_ENDIAN
    pixels: tuple[bytes | memoryview, ...] = ()
    document = _document(model, bulk)
    place = _pixel_place(model)
    if place is not None:
        syntax, pixels = _pixel_data(model, place, bulk, read_picture)
    inline = _InlineBulk(bulk)
    before = model_to_encoded({key: value for key, value in model.items() if key <= _DOCUMENT}, inline.resolve)
    behind = model_to_encoded({key: value for key, value in model.items() if key > _DOCUMENT}, inline.resolve)
    pieces = (
        build_file_meta(identity[0], identity[1], syntax),
        before.head,
        *document,
        behind.head,
        *pixels,
        behind.tail,
    )
    return AssembledObject(*identity, transfer_syntax=syntax, pieces=tuple(piece for piece in pieces if len(piece)))


_DOCUMENT: Final = key_of("EncapsulatedDocument")
_PIXEL_DATA: Final = int(key_of("PixelData"), 16)
_VALUE_BYTES_MAX: Final = 0xFFFFFFFE
"""The longest defined length, for an element and for a fragment (PS3.5 7.1.1)."""


class _InlineBulk:
    """Gives the bytes of bulk data that are held in memory, up to a bound for one object."""

    def __init__(self, bulk: BulkData) -> None:
        self._bulk = bulk
        self._left = STOW_INLINE_BULK_BYTES_MAX

    def resolve(self, path: BulkPath, vr: str, uri: str) -> bytes:
        """The value at `path`."""
        part = self._bulk.find(uri)[0]
        if part.content_type.essence != uids.OCTET_STREAM:
            raise UnsupportedError(
                f"bulk data of ({path[-1] >> 16:04X},{path[-1] & 0xFFFF:04X}) with VR {vr} must be"
                f" {uids.OCTET_STREAM}, not {part.content_type.essence}"
            )
        self._left -= len(part.data)
        if self._left < 0:
            raise TooLargeError(
                f"the object has more than {STOW_INLINE_BULK_BYTES_MAX} bytes of bulk data beside its pixels;"
                " send it as application/dicom"
            )
        return bytes(part.data)


def _identity(model: JsonObject) -> tuple[str, UID, UID, UID]:
    """SOP class, SOP instance, study and series, without which nothing can be stored."""
    found = []
    for keyword in ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        text = text_of(model, keyword)
        if not text:
            raise InvalidRequestError(f"the metadata have no {keyword}; it is needed to store the object")
        found.append(UID(text))
    return str(found[0]), found[1], found[2], found[3]


def _pixel_place(model: JsonObject) -> BulkReference | None:
    """Where the pixels of `model` are, if it has any."""
    only = {key: value for key, value in model.items() if key.startswith("7FE000")}
    place = model_to_encoded(only).pixel_data
    return place if place is not None and (place.uri is not None or place.data) else None


def _pixel_data(
    model: JsonObject, place: BulkReference, bulk: BulkData, read_picture: ReadPicture
) -> tuple[str, tuple[bytes | memoryview, ...]]:
    """Transfer syntax and encoded pixels; the attributes that describe them are put into `model`."""
    parts = bulk.find(place.uri) if place.uri is not None else []
    content_type = parts[0].content_type if parts else MediaType(uids.OCTET_STREAM)
    named = content_type.parameter("transfer-syntax")
    compressed_octets = named is not None and uids.transfer_syntax(named).encapsulated
    if content_type.essence == uids.OCTET_STREAM and not compressed_octets:
        if len(parts) > 1:
            raise InvalidRequestError("uncompressed pixel data must come as one part, all frames one after the other")
        data = parts[0].data if parts else memoryview(place.data or b"")
        if place.tag == _PIXEL_DATA:
            check_native_pixels(model, len(data))
        return uids.EXPLICIT_VR_LITTLE_ENDIAN, _value_pieces(place.tag, _native_vr(place.vr), data)
    if content_type.essence in PICTURE_TYPES:
        return uids.EXPLICIT_VR_LITTLE_ENDIAN, _pictures(model, parts, read_picture)
    headers = [read_pixel_header(content_type.essence, named, part.data) for part in parts]
    with_pixel_description(model, headers)
    syntax = headers[0].transfer_syntax
    is_video = uids.transfer_syntax(syntax).is_video
    return syntax, tuple(_encapsulated([header.codestream for header in headers], is_video=is_video))


def _pictures(
    model: JsonObject, parts: Sequence[BulkPart], read_picture: ReadPicture
) -> tuple[bytes | memoryview, ...]:
    """Pixel Data of pictures that are decoded, one behind the other."""
    gray = number_of(model, "SamplesPerPixel") == 1
    headers = [read_picture(part.content_type.essence, part.data, gray=gray) for part in parts]
    describe_pictures(model, headers)
    frames = [header.codestream for header in headers]
    length = sum(map(len, frames))
    _check_value(length + length % 2)
    head = _long_head(_PIXEL_DATA, "OW" if headers[0].bits > 8 else "OB", length + length % 2)
    return head, *frames, b"\0" * (length % 2)


def _native_vr(vr: str) -> str:
    """OB, OW, and OF and OD for float pixels; nothing else holds pixels."""
    return vr if vr in ("OB", "OW", "OF", "OD") else "OW"


def _encapsulated(frames: Sequence[memoryview], *, is_video: bool) -> Iterable[bytes | memoryview]:
    """Pixel Data of one fragment a frame, with a Basic Offset Table if there is more than one (PS3.5 A.4)."""
    yield _long_head(_PIXEL_DATA, "OB", 0xFFFFFFFF)
    offsets: list[int] = []
    at = 0
    for frame in frames:
        offsets.append(at)
        at += 8 + len(frame) + len(frame) % 2
    # Its entries have 32 bits; past 4 GiB it stays empty, and the frames are told apart by being fragments.
    table = b"" if is_video or len(frames) == 1 or at > _VALUE_BYTES_MAX else struct.pack(f"<{len(frames)}I", *offsets)
    yield _item_head(len(table)) + table
    for frame in frames:
        if len(frame) > _VALUE_BYTES_MAX:
            raise TooLargeError(f"a frame or film of {len(frame)} bytes is past the {_VALUE_BYTES_MAX} of one fragment")
        yield _item_head(len(frame) + len(frame) % 2)
        yield frame
        yield b"\0" * (len(frame) % 2)
    yield b"\xfe\xff\xdd\xe0\0\0\0\0"


def _document(model: JsonObject, bulk: BulkData) -> tuple[bytes | memoryview, ...]:
    """Encapsulated Document as it came; its media type and true length are noted in `model` (PS3.3 C.24.2)."""
    attribute = model.get(_DOCUMENT)
    uri = attribute.get("BulkDataURI") if isinstance(attribute, dict) else None
    if not isinstance(uri, str):
        return ()
    del model[_DOCUMENT]
    part = bulk.find(uri)[0]
    put_if_absent(model, "MIMETypeOfEncapsulatedDocument", part.content_type.essence)
    put_if_absent(model, "EncapsulatedDocumentLength", len(part.data))
    return _value_pieces(int(_DOCUMENT, 16), "OB", part.data)


def _value_pieces(tag: int, vr: str, data: memoryview) -> tuple[bytes | memoryview, ...]:
    """An element around bytes that stay where they are."""
    length = len(data) + len(data) % 2
    _check_value(length)
    return _long_head(tag, vr, length), data, b"\0" * (len(data) % 2)


def _check_value(length: int) -> None:
    if length > _VALUE_BYTES_MAX:
        raise TooLargeError(f"a value of {length} bytes is past the {_VALUE_BYTES_MAX} of one element; compress it")


def _long_head(tag: int, vr: str, length: int) -> bytes:
    return struct.pack("<HH2s2xI", tag >> 16, tag & 0xFFFF, vr.encode("ascii"), length)


def _item_head(length: int) -> bytes:
    return struct.pack("<HHI", 0xFFFE, 0xE000, length)


def _path_of(uri: str) -> str:
    """What is compared of a reference or a location."""
    try:
        split = urlsplit(uri.strip())
    except ValueError:
        return uri
    # Opaque ones (cid:, urn:uuid:) and bare names have all they have in the path.
    return unquote(split.path if split.netloc else uri.strip()).strip("/")

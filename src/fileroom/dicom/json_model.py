"""The DICOM JSON Model (PS3.18 annex F), straight from encoded bytes and back, without data set objects between.

Series metadata of a thousand instances is made by this file, so the way out is one walk over the bytes. Group lengths
and group 0002 are left out, text becomes UTF-8 and Specific Character Set says so, long binary values become a
reference that a callback makes. A data set that ends too early gives what came before.
"""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
import pydicom
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from fileroom.core.errors import InvalidObjectError
from fileroom.core.limits import INFLATED_BYTES_MAX, INLINE_BINARY_BYTES_MAX, SEQUENCE_DEPTH_MAX
from fileroom.dicom import charset as charsets
from fileroom.dicom import uids, walk
from fileroom.dicom.charset import CharacterSet
from fileroom.dicom.dictionary import is_private_creator, vr_of
from fileroom.dicom.header_scan import PIXEL_TAGS, PixelDataPlace, inflate, real_encoding
from fileroom.dicom.values import BULK_VRS, TEXT_VRS, Value, decode_values, encode_values, padded, swapped
from fileroom.dicom.walk import Element, Encoding, RanOutError

JsonObject = dict[str, Any]
"""A DICOM JSON Model object: attributes by eight capital hexadecimal digits."""

BulkPath = tuple[int, ...]
"""A tag, or tags with item indexes (from 0) between them: (0x00540016, 0, 0x00091010)."""

BulkUri = Callable[[BulkPath], str]
"""Makes the BulkDataURI of the element at a path."""

ResolveBulk = Callable[[BulkPath, str, str], bytes]
"""(path, VR, BulkDataURI) to the bytes, little endian."""

_KNOWN_VRS: Final = frozenset(vr.decode() for vr in walk.SHORT_VRS | walk.LONG_VRS)
_CHARACTER_SET: Final = 0x00080005
_PIXEL_REPRESENTATION: Final = 0x00280103
_CONTEXT: Final = frozenset({_CHARACTER_SET, _PIXEL_REPRESENTATION})
"""What values of other elements depend on, beside private creators."""


def encoded_to_json(
    data: bytes,
    transfer_syntax: str,
    *,
    bulk_uri: BulkUri | None = None,
    inline_bytes_max: int = INLINE_BINARY_BYTES_MAX,
    pixel_data: PixelDataPlace | None = None,
    behind: bytes = b"",
) -> bytes:
    """The JSON text of an encoded data set; see `encoded_to_model`."""
    model = encoded_to_model(
        data,
        transfer_syntax,
        bulk_uri=bulk_uri,
        inline_bytes_max=inline_bytes_max,
        pixel_data=pixel_data,
        behind=behind,
    )
    return orjson.dumps(model)


def encoded_to_model(
    data: bytes,
    transfer_syntax: str,
    *,
    bulk_uri: BulkUri | None = None,
    inline_bytes_max: int = INLINE_BINARY_BYTES_MAX,
    pixel_data: PixelDataPlace | None = None,
    behind: bytes = b"",
    only: frozenset[int] | None = None,
) -> JsonObject:
    """The JSON object of an encoded data set, or of its head up to Pixel Data (not inflated, if it is deflated).

    Binary values longer than `inline_bytes_max` bytes become a BulkDataURI, or are left empty without `bulk_uri`.
    `pixel_data` adds Pixel Data by reference when `data` ends before it, `behind` the elements that follow it. With `only`,
    other elements of the top level are passed over, except a few on which values depend.
    Raises InvalidObjectError when the nesting of the bytes is broken.
    """
    syntax = uids.transfer_syntax(transfer_syntax)
    if syntax.deflated:
        data, _ = inflate(data, INFLATED_BYTES_MAX)
    out = _Out(bulk_uri, inline_bytes_max, only)
    encoding = real_encoding(data, transfer_syntax)
    context = _Context(charsets.DEFAULT)
    model = out.level(data, 0, len(data), encoding, context)
    if pixel_data is not None and bulk_uri is not None:
        vr = pixel_data.vr or "OW"
        model[f"{pixel_data.tag:08X}"] = {"vr": vr, "BulkDataURI": bulk_uri((pixel_data.tag,))}
    if behind:
        # What is in the header already is a correction.
        model = dict(sorted({**out.level(behind, 0, len(behind), encoding, context), **model}.items()))
    return model


def items_to_json(raw: bytes, encoding: Encoding, vr: bytes | None, charset: CharacterSet) -> list[JsonObject]:
    """The items of a sequence whose encoded content is `raw`, as `header_scan` gives it with `vrs` and `charset`."""
    out = _Out(None, INLINE_BINARY_BYTES_MAX)
    return out.items(raw, 0, len(raw), walk.encoding_of_items(encoding, vr), _Context(charset), ())


def dataset_to_json(dataset: pydicom.Dataset, *, bulk_uri: BulkUri | None = None) -> bytes:
    """The JSON text of a pydicom data set."""
    return encoded_to_json(encode_dataset(dataset), uids.EXPLICIT_VR_LITTLE_ENDIAN, bulk_uri=bulk_uri)


def encode_dataset(dataset: pydicom.Dataset, *, implicit: bool = False) -> bytes:
    """A pydicom data set in Explicit VR Little Endian, or in Implicit."""
    out = DicomBytesIO()
    out.is_implicit_VR, out.is_little_endian = implicit, True
    write_dataset(out, dataset)
    return out.getvalue()


def decode_dataset(data: bytes) -> pydicom.Dataset:
    """An encoded Explicit VR Little Endian data set as pydicom's."""
    return pydicom.filereader.read_dataset(io.BytesIO(data), False, True)


@dataclass(frozen=True, slots=True)
class BulkReference:
    """A value that a model does not hold itself: Pixel Data for the caller to stream. `data` when it was inline."""

    tag: int
    vr: str
    uri: str | None
    data: bytes | None


@dataclass(frozen=True, slots=True)
class EncodedModel:
    """What a JSON or XML model becomes: elements before Pixel Data and behind it in Explicit VR Little Endian."""

    head: bytes
    pixel_data: BulkReference | None = None
    tail: bytes = b""


def model_to_encoded(model: Mapping[str, Any], resolve: ResolveBulk | None = None) -> EncodedModel:
    """Encode a DICOM JSON object (STOW-RS metadata) in Explicit VR Little Endian, text in UTF-8.

    Raises InvalidObjectError when it is no DICOM JSON object, or refers to bulk data and there is no `resolve`.
    """
    encoder = ModelEncoder(resolve)
    head: list[bytes] = []
    tail: list[bytes] = []
    pixel_data: BulkReference | None = None
    for tag, entry in encoder.sorted_entries(model):
        if tag in PIXEL_TAGS:
            pixel_data = _pixel_reference(tag, entry)
        else:
            (tail if tag > max(PIXEL_TAGS) else head).append(_element_in_utf_8(encoder, tag, entry))
    if encoder.beyond_ascii and f"{_CHARACTER_SET:08X}" not in model:
        head.insert(0, walk.encode_element(_CHARACTER_SET, b"CS", b"ISO_IR 192", walk.EXPLICIT_LE))
    return EncodedModel(b"".join(head), pixel_data, b"".join(tail))


def json_to_dataset(model: Mapping[str, Any] | bytes, resolve: ResolveBulk | None = None) -> pydicom.Dataset:
    """A DICOM JSON object, or its text, as a pydicom data set, Pixel Data too when it can be had."""
    encoded = model_to_encoded(parse_json(model) if isinstance(model, bytes) else model, resolve)
    dataset = decode_dataset(encoded.head + encoded.tail)
    place = encoded.pixel_data
    if place is not None:
        data = place.data if place.uri is None or resolve is None else resolve((place.tag,), place.vr, place.uri)
        dataset.add_new(place.tag, place.vr, data)
    return dataset


def parse_json(text: bytes) -> JsonObject:
    """One DICOM JSON object from its text. Raises InvalidObjectError when it is none."""
    try:
        model = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidObjectError(f"the metadata is not JSON: {error}") from error
    if not isinstance(model, dict):
        raise InvalidObjectError("the metadata of one instance must be a JSON object with tags as names")
    return model


@dataclass(slots=True)
class _Context:
    """What an item knows from around it."""

    charset: CharacterSet
    signed: bool = False
    creators: dict[int, str] = field(default_factory=dict)
    """Private creators by (group, block)."""


class _Out:
    """The walk from bytes to a model."""

    __slots__ = ("_bulk_uri", "_inline_bytes_max", "_only")

    def __init__(self, bulk_uri: BulkUri | None, inline_bytes_max: int, only: frozenset[int] | None = None) -> None:
        self._bulk_uri = bulk_uri
        self._inline_bytes_max = inline_bytes_max
        self._only = only

    def level(
        self, data: bytes, start: int, end: int, encoding: Encoding, context: _Context, path: BulkPath = ()
    ) -> JsonObject:
        """The elements of a data set or an item."""
        model: JsonObject = {}
        last = -1
        ordered = True
        position = start
        only = None if path else self._only
        while position < end:
            try:
                element = walk.element_at(data, position, end, encoding)
            except RanOutError:
                break
            position = element.end
            tag = element.tag
            if tag & 0xFFFF == 0 or tag <= 0x0002FFFF or tag >= 0xFFFE0000:
                if tag == 0:
                    break
                continue
            if only is not None and tag not in only and tag not in _CONTEXT and not is_private_creator(tag):
                continue
            ordered = ordered and tag > last
            last = tag
            model["%08X" % tag] = self._attribute(data, element, encoding, context, path)  # noqa: UP031  the fastest way
        return model if ordered else dict(sorted(model.items()))

    def items(
        self, data: bytes, start: int, end: int, encoding: Encoding, context: _Context, path: BulkPath
    ) -> list[JsonObject]:
        """The items of a sequence; those deeper than SEQUENCE_DEPTH_MAX are left out."""
        if len(path) > 2 * SEQUENCE_DEPTH_MAX:
            return []
        found: list[JsonObject] = []
        try:
            for first, last, _ in walk.items(data, encoding, start, end):
                inner = _Context(context.charset, context.signed)
                found.append(self.level(data, first, last, encoding, inner, (*path, len(found))))
        except RanOutError:
            pass
        return found

    def _attribute(
        self, data: bytes, element: Element, encoding: Encoding, context: _Context, path: BulkPath
    ) -> dict[str, Any]:
        tag, vr_bytes, _, first, last, _, undefined = element
        vr = vr_bytes.decode("latin_1") if vr_bytes else self._vr_of(tag, context)
        if vr == "UN":
            vr = "SQ" if undefined else self._vr_of(tag, context)
            if vr == "SQ":
                encoding = walk.encoding_of_items(encoding, b"UN")
        elif undefined and vr not in BULK_VRS:
            vr = "SQ"
        elif vr not in _KNOWN_VRS:
            vr = "UN"
        if vr == "SQ":
            items = self.items(data, first, last, encoding, context, (*path, tag))
            return {"vr": vr, "Value": items} if items else {"vr": vr}
        if first == last:
            return {"vr": vr}
        if vr in BULK_VRS:
            return self._binary(data[first:last], tag, vr, encoding, path, undefined)
        raw = data[first:last]
        if tag == _CHARACTER_SET:
            context.charset = charsets.character_set(raw)
            return {"vr": vr, "Value": ["ISO_IR 192"]}
        values = decode_values(raw, vr, context.charset, little_endian=encoding.little_endian)
        if tag == _PIXEL_REPRESENTATION:
            context.signed = values == [1]
        elif tag >> 16 & 1 and is_private_creator(tag) and values:
            context.creators[tag >> 16 << 8 | tag & 0xFF] = str(values[0])
        return {"vr": vr, "Value": values} if values else {"vr": vr}

    def _vr_of(self, tag: int, context: _Context) -> str:
        creator = context.creators.get(tag >> 16 << 8 | tag >> 8 & 0xFF, "") if tag >> 16 & 1 else ""
        return vr_of(tag, creator, signed=context.signed)

    def _binary(
        self, raw: bytes, tag: int, vr: str, encoding: Encoding, path: BulkPath, undefined: bool
    ) -> dict[str, Any]:
        if len(raw) > self._inline_bytes_max or undefined:
            return {"vr": vr, "BulkDataURI": self._bulk_uri((*path, tag))} if self._bulk_uri else {"vr": vr}
        if not encoding.little_endian:
            raw = swapped(raw, vr)
        return {"vr": vr, "InlineBinary": base64.b64encode(raw).decode("ascii")}


class ModelEncoder:
    """The way from a model to bytes, for any encoding and character set."""

    __slots__ = ("_charset", "_encoding", "_resolve", "beyond_ascii")

    def __init__(
        self,
        resolve: ResolveBulk | None,
        encoding: Encoding = walk.EXPLICIT_LE,
        charset: CharacterSet = charsets.UTF_8,
    ) -> None:
        self._resolve = resolve
        self._encoding = encoding
        self._charset = charset
        self.beyond_ascii = False
        """Was any text written that needs a character set to be named?"""

    def sorted_entries(self, model: object) -> list[tuple[int, Mapping[str, Any]]]:
        """(tag, attribute) in the order of tags; group lengths and group 0002 left out."""
        if not isinstance(model, Mapping):
            raise InvalidObjectError("a DICOM JSON object was expected: tags as names, attributes as values")
        entries: list[tuple[int, Mapping[str, Any]]] = []
        for name, entry in model.items():
            if not (isinstance(name, str) and len(name) == 8 and isinstance(entry, Mapping)):
                raise InvalidObjectError(f"{name!r:.40} is not an attribute: eight hexadecimal digits and an object")
            try:
                tag = int(name, 16)
            except ValueError:
                raise InvalidObjectError(f"{name!r} is not a tag: it must be eight hexadecimal digits") from None
            if tag & 0xFFFF and tag > 0x0002FFFF and tag < 0xFFFE0000:
                entries.append((tag, entry))
        return sorted(entries, key=lambda pair: pair[0])

    def element(self, tag: int, entry: Mapping[str, Any], path: BulkPath, depth: int) -> bytes:
        """One encoded element. Raises InvalidObjectError, and UnicodeEncodeError for text that the set does not have."""
        vr = entry.get("vr")
        if not (isinstance(vr, str) and (vr.encode() in walk.SHORT_VRS or vr.encode() in walk.LONG_VRS)):
            raise InvalidObjectError(f"attribute {tag:08X} has no valid vr: {vr!r:.20}")
        try:
            value = self._value(tag, vr, entry, path, depth)
        except InvalidObjectError as error:
            raise InvalidObjectError(f"attribute {tag:08X}: {error}") from error
        return walk.encode_element(tag, vr.encode(), value, self._encoding)

    def _value(self, tag: int, vr: str, entry: Mapping[str, Any], path: BulkPath, depth: int) -> bytes:
        if tag == _CHARACTER_SET:
            return padded("\\".join(self._charset.terms).encode("ascii", "replace"), "CS")
        if "BulkDataURI" in entry:
            if self._resolve is None:
                raise InvalidObjectError("it refers to bulk data, but none was sent along")
            return self._bulk(self._resolve((*path, tag), vr, str(entry["BulkDataURI"])), vr)
        if "InlineBinary" in entry:
            return self._bulk(_from_base64(entry["InlineBinary"]), vr)
        values = entry.get("Value")
        if values is None:
            return b""
        if not isinstance(values, list):
            raise InvalidObjectError("its Value is not an array")
        if vr == "SQ":
            return b"".join(self._item(tag, item, path, index, depth) for index, item in enumerate(values))
        if vr in BULK_VRS:
            raise InvalidObjectError(f"a value of VR {vr} must be InlineBinary or BulkDataURI")
        raw = encode_values(vr, _plain(values), self._charset, little_endian=self._encoding.little_endian)
        self.beyond_ascii = self.beyond_ascii or (vr in TEXT_VRS and not raw.isascii())
        return raw

    def _item(self, tag: int, item: object, path: BulkPath, index: int, depth: int) -> bytes:
        if depth >= SEQUENCE_DEPTH_MAX:
            raise InvalidObjectError(f"sequences are nested deeper than {SEQUENCE_DEPTH_MAX} levels")
        entries = self.sorted_entries({} if item is None else item)
        content = b"".join(self.element(child, entry, (*path, tag, index), depth + 1) for child, entry in entries)
        return walk.encode_item(content, self._encoding)

    def _bulk(self, raw: bytes, vr: str) -> bytes:
        return padded(raw if self._encoding.little_endian else swapped(raw, vr), vr)


def _element_in_utf_8(encoder: ModelEncoder, tag: int, entry: Mapping[str, Any]) -> bytes:
    try:
        return encoder.element(tag, entry, (), 0)
    except UnicodeEncodeError as error:
        raise InvalidObjectError(f"attribute {tag:08X}: its text cannot be written: {error.reason}") from error


def _plain(values: list[object]) -> list[Value]:
    for value in values:
        if not (value is None or isinstance(value, (str, int, float, dict))):
            raise InvalidObjectError(f"a {type(value).__name__} stands where a value belongs")
    return values  # type: ignore[return-value]  # just checked


def _from_base64(text: object) -> bytes:
    try:
        return base64.b64decode("".join(str(text).split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidObjectError(f"its InlineBinary is not base64: {error}") from error


def _pixel_reference(tag: int, entry: Mapping[str, Any]) -> BulkReference:
    vr = str(entry.get("vr", "OW"))
    if "BulkDataURI" in entry:
        return BulkReference(tag, vr, str(entry["BulkDataURI"]), None)
    return BulkReference(tag, vr, None, _from_base64(entry.get("InlineBinary", "")))

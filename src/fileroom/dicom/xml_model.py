"""The Native DICOM Model in XML (PS3.19 A.1), as DICOMweb sends and takes it: the JSON model in other clothes.

Out: an XML document in UTF-8, whole or in pieces. In: a document becomes a DICOM JSON object, which `json_model` encodes.
Documents from outside are parsed without document types and entities, with a bounded depth.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

import pydicom

from fileroom.core.errors import InvalidObjectError
from fileroom.core.limits import INLINE_BINARY_BYTES_MAX, SEQUENCE_DEPTH_MAX
from fileroom.dicom.dictionary import is_private_creator, keyword_of, tag_of
from fileroom.dicom.header_scan import PixelDataPlace
from fileroom.dicom.json_model import (
    BulkUri,
    EncodedModel,
    JsonObject,
    ResolveBulk,
    encoded_to_model,
    json_to_dataset,
    model_to_encoded,
)

NAMESPACE: Final = "http://dicom.nema.org/PS3.19/models/NativeDICOM"
_NAME_GROUPS: Final = ("Alphabetic", "Ideographic", "Phonetic")
_NAME_PARTS: Final = ("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix")
_NOT_IN_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 has no way to write."""
_ELEMENT_DEPTH_MAX: Final = 4 * SEQUENCE_DEPTH_MAX
_NUMBER_VRS: Final = frozenset({"FL", "FD", "SL", "SS", "SV", "UL", "US", "UV"})


def encoded_to_xml(
    data: bytes,
    transfer_syntax: str,
    *,
    bulk_uri: BulkUri | None = None,
    inline_bytes_max: int = INLINE_BINARY_BYTES_MAX,
    pixel_data: PixelDataPlace | None = None,
    behind: bytes = b"",
) -> bytes:
    """The XML document of an encoded data set; the arguments are those of `json_model.encoded_to_model`."""
    model = encoded_to_model(
        data,
        transfer_syntax,
        bulk_uri=bulk_uri,
        inline_bytes_max=inline_bytes_max,
        pixel_data=pixel_data,
        behind=behind,
    )
    return b"".join(stream_xml(model))


def stream_xml(model: Mapping[str, Any]) -> Iterator[bytes]:
    """The XML document of a DICOM JSON object, one piece per attribute of its top level."""
    yield b'<?xml version="1.0" encoding="UTF-8"?>\n'
    yield f'<NativeDicomModel xmlns="{NAMESPACE}" xml:space="preserve">\n'.encode()
    creators = _creators(model)
    for name, entry in model.items():
        yield _attribute(name, entry, creators).encode("utf-8", "replace")
    yield b"</NativeDicomModel>\n"


def parse_xml(document: bytes) -> JsonObject:
    """The DICOM JSON object of a Native DICOM Model document. Raises InvalidObjectError when it is none."""
    reader = _Reader()
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = reader.refuse_doctype
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    try:
        parser.Parse(document, True)
    except expat.ExpatError as error:
        raise InvalidObjectError(f"the metadata is not XML: {error}") from error
    if reader.model is None:
        raise InvalidObjectError("the metadata is no Native DICOM Model: it has no NativeDicomModel element")
    return reader.model


def xml_to_encoded(document: bytes, resolve: ResolveBulk | None = None) -> EncodedModel:
    """A document as encoded elements; see `json_model.model_to_encoded`. `resolve` gets the uri or uuid of BulkData."""
    return model_to_encoded(parse_xml(document), resolve)


def xml_to_dataset(document: bytes, resolve: ResolveBulk | None = None) -> pydicom.Dataset:
    """A document as a pydicom data set."""
    return json_to_dataset(parse_xml(document), resolve)


def _creators(model: Mapping[str, Any]) -> dict[str, str]:
    """Group and block of private elements, `GGGGBB`, to the creator that owns the block."""
    found: dict[str, str] = {}
    for name, entry in model.items():
        if is_private_creator(int(name, 16)) and entry.get("Value"):
            found[name[:4] + name[6:]] = str(entry["Value"][0])
    return found


def _attribute(name: str, entry: Mapping[str, Any], creators: dict[str, str]) -> str:
    vr = str(entry["vr"])
    tag = int(name, 16)
    creator = creators.get(name[:6], "") if tag >> 16 & 1 and not is_private_creator(tag) else ""
    # The block of a private element is an accident of its data set: the creator says more, and `00` stands for it.
    shown = f"{name[:4]}00{name[6:]}" if creator else name
    keyword = keyword_of(tag)
    parts = [f'<DicomAttribute tag="{shown}" vr="{vr}"']
    if keyword:
        parts.append(f' keyword="{keyword}"')
    if creator:
        parts.append(f" privateCreator={quoteattr(_clean(creator))}")
    return "".join((*parts, ">", *_content(vr, entry), "</DicomAttribute>\n"))


def _content(vr: str, entry: Mapping[str, Any]) -> Iterator[str]:
    if "BulkDataURI" in entry:
        yield f"<BulkData uri={quoteattr(_clean(str(entry['BulkDataURI'])))}/>"
    elif "InlineBinary" in entry:
        yield f"<InlineBinary>{entry['InlineBinary']}</InlineBinary>"
    for number, value in enumerate(entry.get("Value", ()), start=1):
        if vr == "SQ":
            creators = _creators(value)
            inner = "".join(_attribute(name, child, creators) for name, child in value.items())
            yield f'<Item number="{number}">\n{inner}</Item>'
        elif vr == "PN":
            yield f'<PersonName number="{number}">{_name(value)}</PersonName>'
        else:
            text = "" if value is None else escape(_clean(str(value)))
            yield f'<Value number="{number}">{text}</Value>'


def _name(value: Mapping[str, str] | None) -> str:
    groups: list[str] = []
    for group in _NAME_GROUPS:
        components = (value or {}).get(group, "").split("^")
        filled = "".join(
            f"<{part}>{escape(_clean(text))}</{part}>"
            for part, text in zip(_NAME_PARTS, components, strict=False)
            if text
        )
        if filled:
            groups.append(f"<{group}>{filled}</{group}>")
    return "".join(groups)


def _clean(text: str) -> str:
    return _NOT_IN_XML.sub("", text)


class _Reader:
    """Builds the JSON object from the events of the parser, with a stack instead of recursion."""

    __slots__ = ("_entries", "_name", "_names", "_objects", "_path", "_text", "model")

    def __init__(self) -> None:
        self.model: JsonObject | None = None
        self._path: list[str] = []
        self._objects: list[JsonObject] = []
        """Data set and items that are open."""
        self._entries: list[dict[str, Any]] = []
        """Attributes that are open."""
        self._names: list[str] = []
        self._name: dict[str, dict[str, str]] = {}
        self._text: list[str] = []

    def refuse_doctype(self, *_: object) -> None:
        raise InvalidObjectError("the metadata has a document type declaration, which is not taken; send it without")

    def start(self, qualified: str, attributes: dict[str, str]) -> None:
        name = qualified.rpartition(" ")[2]
        self._path.append(name)
        self._text.clear()
        if len(self._path) > _ELEMENT_DEPTH_MAX:
            raise InvalidObjectError(f"sequences are nested deeper than {SEQUENCE_DEPTH_MAX} levels")
        if name == "NativeDicomModel":
            self.model = {}
            self._objects = [self.model]
        elif name == "DicomAttribute":
            self._open_attribute(attributes)
        elif name == "Item":
            self._objects.append({})
        elif name == "PersonName":
            self._name = {}
        elif name == "BulkData" and self._entries:
            self._entries[-1]["BulkDataURI"] = attributes.get("uri") or attributes.get("uuid") or ""

    def text(self, text: str) -> None:
        self._text.append(text)

    def end(self, qualified: str) -> None:
        name = qualified.rpartition(" ")[2]
        text = "".join(self._text)
        self._text.clear()
        self._path.pop()
        if name == "DicomAttribute" and self._entries:
            self._objects[-1][self._names.pop()] = _finished(self._entries.pop())
        elif name == "Item" and self._entries and len(self._objects) > 1:
            self._entries[-1].setdefault("Value", []).append(self._objects.pop())
        elif name == "Value" and self._entries:
            self._entries[-1].setdefault("Value", []).append(text or None)
        elif name == "InlineBinary" and self._entries:
            self._entries[-1]["InlineBinary"] = text
        elif name in _NAME_PARTS and self._path:
            self._name.setdefault(self._path[-1], {})[name] = text
        elif name == "PersonName" and self._entries:
            self._entries[-1].setdefault("Value", []).append(_name_value(self._name))

    def _open_attribute(self, attributes: dict[str, str]) -> None:
        if not self._objects:
            raise InvalidObjectError("the metadata is no Native DICOM Model: an attribute stands outside of it")
        tag = attributes.get("tag") or f"{tag_of(attributes.get('keyword', '')) or 0:08X}"
        creator = attributes.get("privateCreator")
        if not re.fullmatch("[0-9A-Fa-f]{8}", tag) or tag == "00000000":
            raise InvalidObjectError(f"{tag!r:.40} is not a tag: it must be eight hexadecimal digits")
        name = tag.upper()
        if creator and name[4:6] == "00":
            name = _in_block(self._objects[-1], name, creator)
        self._names.append(name)
        self._entries.append({"vr": attributes.get("vr", "UN")})


def _in_block(model: JsonObject, name: str, creator: str) -> str:
    """The tag in the block of its creator, which gets the next free one when it has none yet (PS3.5 7.8.1)."""
    group = name[:4]
    blocks = {f"{number:02X}": f"{group}00{number:02X}" for number in range(0x10, 0x100)}
    owned = next((block for block, tag in blocks.items() if model.get(tag, {}).get("Value") == [creator]), None)
    block = owned or next((block for block, tag in blocks.items() if tag not in model), None)
    if block:
        model.setdefault(blocks[block], {"vr": "LO", "Value": [creator]})
        return f"{group}{block}{name[6:]}"
    raise InvalidObjectError(f"group {group} has no free block for another private creator")


def _finished(entry: dict[str, Any]) -> dict[str, Any]:
    """Numbers of binary VRs as numbers; the text of the others is what they are."""
    values = entry.get("Value")
    if values and entry["vr"] in _NUMBER_VRS:
        convert = float if entry["vr"] in ("FL", "FD") else int
        try:
            entry["Value"] = [None if value is None else convert(value) for value in values]
        except (ValueError, TypeError) as error:
            raise InvalidObjectError(f"a value of VR {entry['vr']} is not a number") from error
    return entry


def _name_value(groups: dict[str, dict[str, str]]) -> dict[str, str] | None:
    found: dict[str, str] = {}
    for group in _NAME_GROUPS:
        parts = groups.get(group, {})
        text = "^".join(parts.get(part, "") for part in _NAME_PARTS).rstrip("^")
        if text:
            found[group] = text
    return found or None

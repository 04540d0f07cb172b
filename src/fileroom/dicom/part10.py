"""File meta information (PS3.10 section 7): read it from the head of a file, make it for a file or a stream of ours.

Files that people import are not always Part 10 files. Without preamble, without `DICM`, without group 2 or without a
transfer syntax, the first bytes of the data set tell how it is encoded; what does not look like a data set is refused.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Final

from fileroom.core.errors import InvalidObjectError
from fileroom.core.identifiers import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from fileroom.dicom import uids, walk
from fileroom.dicom.header_scan import NeedMoreData
from fileroom.dicom.walk import LONG_VRS, SHORT_VRS, RanOutError

PREAMBLE_BYTES: Final = 128
_MAGIC: Final = b"DICM"
_LONGEST_PLAUSIBLE_FIRST_VALUE: Final = 64 * 1024
"""The first element of a data set is a group length, a character set or a UID; never long."""

_GROUP_LENGTH: Final = 0x00020000
_GROUP_LENGTH_ELEMENT_BYTES: Final = 12
"""Header and value, in explicit and in implicit VR alike."""
_SOP_CLASS_UID: Final = 0x00020002
_SOP_INSTANCE_UID: Final = 0x00020003
_TRANSFER_SYNTAX_UID: Final = 0x00020010
_SOURCE_AET: Final = 0x00020016


@dataclass(frozen=True, slots=True)
class FileMeta:
    """The start of a file: `data_set_offset` is where its data set begins.

    Text fields are empty when absent. `guessed` says that the transfer syntax was not written down, but told by the
    first bytes of the data set. `values` are the raw values of group 2 by tag.
    """

    transfer_syntax: str
    data_set_offset: int
    sop_class_uid: str = ""
    sop_instance_uid: str = ""
    source_aet: str = ""
    guessed: bool = False
    values: dict[int, bytes] = field(default_factory=dict)


def parse_file_meta(head: bytes, *, complete: bool = False) -> FileMeta:
    """Read the meta information from the first bytes of a file.

    Raises NeedMoreData when the head is too short (not when it is `complete`), InvalidObjectError when the file is no
    DICOM object.
    """
    if len(head) < PREAMBLE_BYTES + 4 and not complete:
        raise NeedMoreData(PREAMBLE_BYTES + 4)
    start = _start_of_elements(head)
    try:
        values, offset = _read_group_2(head, start)
    except RanOutError as short:
        if complete:
            raise InvalidObjectError("the file ends inside its file meta information; it is truncated") from None
        raise NeedMoreData(short.needed) from None
    syntax = _text(values, _TRANSFER_SYNTAX_UID)
    guessed = not syntax
    if len(head) < offset + 8 and not complete:
        raise NeedMoreData(offset + 8)
    if guessed:
        syntax = guess_transfer_syntax(head[offset : offset + 16])
    return FileMeta(
        transfer_syntax=syntax,
        data_set_offset=offset,
        sop_class_uid=_text(values, _SOP_CLASS_UID),
        sop_instance_uid=_text(values, _SOP_INSTANCE_UID),
        source_aet=_text(values, _SOURCE_AET),
        guessed=guessed,
        values=values,
    )


def guess_transfer_syntax(head: bytes) -> str:
    """One of the three uncompressed syntaxes, from the first 8 bytes of a data set; ACR-NEMA objects are implicit VR.

    Raises InvalidObjectError when they are not the start of a data set.
    """
    if len(head) >= 8:
        group, number, vr = struct.unpack_from("<HH2s", head)
        has_vr = vr in SHORT_VRS or vr in LONG_VRS
        if has_vr and 0x0002 < group <= 0x0050:
            return uids.EXPLICIT_VR_LITTLE_ENDIAN
        if has_vr and group in (0x0400, 0x0800, 0x1000, 0x1800, 0x2000, 0x2800):
            return uids.EXPLICIT_VR_BIG_ENDIAN
        (length,) = struct.unpack_from("<I", head, 4)
        plausible = length <= _LONGEST_PLAUSIBLE_FIRST_VALUE and (number != 0 or length == 4)
        if plausible and group in (0x0004, 0x0008, 0x0010, 0x0018, 0x0020, 0x0028):
            return uids.IMPLICIT_VR_LITTLE_ENDIAN
    raise InvalidObjectError(
        "this is not a DICOM object: it has no DICM prefix, and its first bytes are not a data set either"
    )


def build_file_meta(
    sop_class_uid: str,
    sop_instance_uid: str,
    transfer_syntax: str,
    *,
    source_aet: str | None = None,
    sending_aet: str | None = None,
    receiving_aet: str | None = None,
) -> bytes:
    """Preamble, prefix and group 2 for an object; append the data set to get a file (PS3.10 7.1).

    `source_aet` is (0002,0016), `sending_aet` (0002,0017), `receiving_aet` (0002,0018).
    """
    elements = [
        b"\x02\x00\x01\x00OB\x00\x00\x02\x00\x00\x00\x00\x01",
        _element(_SOP_CLASS_UID, b"UI", sop_class_uid),
        _element(_SOP_INSTANCE_UID, b"UI", sop_instance_uid),
        _element(_TRANSFER_SYNTAX_UID, b"UI", transfer_syntax),
        _element(0x00020012, b"UI", IMPLEMENTATION_CLASS_UID),
        _element(0x00020013, b"SH", IMPLEMENTATION_VERSION_NAME),
    ]
    for tag, aet in ((_SOURCE_AET, source_aet), (0x00020017, sending_aet), (0x00020018, receiving_aet)):
        if aet:
            elements.append(_element(tag, b"AE", aet))
    group = b"".join(elements)
    return b"".join((bytes(PREAMBLE_BYTES), _MAGIC, struct.pack("<HH2sHI", 2, 0, b"UL", 4, len(group)), group))


def _start_of_elements(head: bytes) -> int:
    if head[PREAMBLE_BYTES : PREAMBLE_BYTES + 4] == _MAGIC:
        return PREAMBLE_BYTES + 4
    return 4 if head[:4] == _MAGIC else 0


def _read_group_2(head: bytes, start: int) -> tuple[dict[int, bytes], int]:
    """(raw values, offset of the data set). The group ends where its elements do, whatever its length says.

    A length that ends it earlier, between two elements, is believed: what follows is a stray element of the data set,
    which must not become the transfer syntax.
    """
    values: dict[int, bytes] = {}
    position = start
    encoding = walk.EXPLICIT_LE
    if head[start : start + 2] == b"\x02\x00" and head[start + 4 : start + 6] not in SHORT_VRS | LONG_VRS:
        encoding = walk.IMPLICIT_LE
    while head[position : position + 2] == b"\x02\x00":
        element = walk.element_at(head, position, len(head), encoding)
        values[element.tag] = head[element.value_start : element.value_end]
        position = element.end
        if position == _declared_end(values, start) and _TRANSFER_SYNTAX_UID in values:
            break
    return values, position


def _declared_end(values: dict[int, bytes], start: int) -> int | None:
    raw = values.get(_GROUP_LENGTH, b"")
    return start + _GROUP_LENGTH_ELEMENT_BYTES + int.from_bytes(raw, "little") if len(raw) == 4 else None


def _text(values: dict[int, bytes], tag: int) -> str:
    return values.get(tag, b"").decode("latin_1").strip("\0 ")


def _element(tag: int, vr: bytes, text: str) -> bytes:
    value = text.encode("ascii", "replace")
    if len(value) % 2:
        value += b"\0" if vr == b"UI" else b" "
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, len(value)) + value

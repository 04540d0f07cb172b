"""Command sets: the group 0000 elements of DIMSE messages, always Implicit VR Little Endian (PS3.7 6.3, 9.3, 10.3, E).

One `CommandSet` serves all messages; a field that a message does not have is None. The codec is written by hand because
it runs twice for every object that arrives.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from fileroom.core.errors import ProtocolError
from fileroom.core.limits import COMMAND_SET_BYTES_MAX

NO_DATA_SET: Final = 0x0101
"""Command Data Set Type that says that no data set follows (PS3.7 E.1)."""
DATA_SET_FOLLOWS: Final = 0x0001
"""What we send when one follows; every value other than 0101H says so."""
RESPONSE: Final = 0x8000
"""Bit of the command field that makes a request's number that of its response."""
ERROR_COMMENT_CHARS_MAX: Final = 64
"""Value representation LO."""


class CommandField(enum.IntEnum):
    """Kinds of DIMSE message (PS3.7 E.1)."""

    C_STORE_RQ = 0x0001
    C_STORE_RSP = 0x8001
    C_GET_RQ = 0x0010
    C_GET_RSP = 0x8010
    C_FIND_RQ = 0x0020
    C_FIND_RSP = 0x8020
    C_MOVE_RQ = 0x0021
    C_MOVE_RSP = 0x8021
    C_ECHO_RQ = 0x0030
    C_ECHO_RSP = 0x8030
    N_EVENT_REPORT_RQ = 0x0100
    N_EVENT_REPORT_RSP = 0x8100
    N_GET_RQ = 0x0110
    N_GET_RSP = 0x8110
    N_SET_RQ = 0x0120
    N_SET_RSP = 0x8120
    N_ACTION_RQ = 0x0130
    N_ACTION_RSP = 0x8130
    N_CREATE_RQ = 0x0140
    N_CREATE_RSP = 0x8140
    N_DELETE_RQ = 0x0150
    N_DELETE_RSP = 0x8150
    C_CANCEL_RQ = 0x0FFF


class Priority(enum.IntEnum):
    """Priority of a C-STORE, C-FIND, C-GET or C-MOVE (PS3.7 E.1)."""

    MEDIUM = 0
    HIGH = 1
    LOW = 2


@dataclass(frozen=True, slots=True)
class CommandSet:
    """The command set of one message. UIDs and AE titles are text as it came, without padding; not yet validated."""

    command_field: CommandField
    message_id: int | None = None
    message_id_responded_to: int | None = None
    affected_sop_class_uid: str | None = None
    affected_sop_instance_uid: str | None = None
    requested_sop_class_uid: str | None = None
    requested_sop_instance_uid: str | None = None
    has_dataset: bool = False
    priority: int | None = None
    status: int | None = None
    move_destination: str | None = None
    move_originator_aet: str | None = None
    move_originator_message_id: int | None = None
    remaining_suboperations: int | None = None
    completed_suboperations: int | None = None
    failed_suboperations: int | None = None
    warning_suboperations: int | None = None
    event_type_id: int | None = None
    action_type_id: int | None = None
    attribute_identifiers: tuple[int, ...] | None = None
    error_comment: str | None = None
    error_id: int | None = None
    offending_elements: tuple[int, ...] | None = None

    @property
    def is_request(self) -> bool:
        """True for requests and for C-CANCEL-RQ, False for responses."""
        return not self.command_field & RESPONSE

    @property
    def sop_class_uid(self) -> str | None:
        """The affected SOP class, or the requested one where the message has that instead."""
        return self.affected_sop_class_uid or self.requested_sop_class_uid

    @property
    def sop_instance_uid(self) -> str | None:
        """The affected SOP instance, or the requested one where the message has that instead."""
        return self.affected_sop_instance_uid or self.requested_sop_instance_uid


def respond(
    request: CommandSet,
    status: int,
    *,
    has_dataset: bool = False,
    error_comment: str | None = None,
    **fields: Any,
) -> CommandSet:
    """The response to `request`. `fields` are further fields of `CommandSet`, as sub-operation counts.

    The comment is cut to the 64 characters of LO; characters outside ASCII become question marks.
    """
    return CommandSet(
        command_field=CommandField(request.command_field | RESPONSE),
        message_id_responded_to=request.message_id,
        affected_sop_class_uid=fields.pop("affected_sop_class_uid", request.sop_class_uid),
        affected_sop_instance_uid=fields.pop("affected_sop_instance_uid", request.sop_instance_uid),
        has_dataset=has_dataset,
        status=status,
        error_comment=error_comment,
        **fields,
    )


# --- encode ---

_ELEMENT: Final = struct.Struct("<HHI")
_ELEMENT_US: Final = struct.Struct("<HHIH")
_ELEMENT_UL: Final = struct.Struct("<HHII")
_U16: Final = struct.Struct("<H")


def encode_command(command: CommandSet) -> bytes:
    """The encoded command set with its group length, elements in ascending order."""
    parts: list[bytes] = []
    for element, name, encode_value in _ENCODERS:
        value = getattr(command, name)
        if value is not None:
            parts.append(encode_value(element, value))
    body = b"".join(parts)
    return _ELEMENT_UL.pack(0, 0, 4, len(body)) + body


def _encode_us(element: int, value: int) -> bytes:
    return _ELEMENT_US.pack(0, element, 2, value)


def _encode_uid(element: int, value: str) -> bytes:
    data = value.encode("ascii")
    if len(data) % 2:
        data += b"\0"
    return _ELEMENT.pack(0, element, len(data)) + data


def _encode_text(element: int, value: str) -> bytes:
    data = value.encode("ascii", "replace")
    if len(data) % 2:
        data += b" "
    return _ELEMENT.pack(0, element, len(data)) + data


def _encode_comment(element: int, value: str) -> bytes:
    return _encode_text(element, value.replace("\\", "/")[:ERROR_COMMENT_CHARS_MAX])


def _encode_tags(element: int, value: tuple[int, ...]) -> bytes:
    data = b"".join(struct.pack("<HH", tag >> 16, tag & 0xFFFF) for tag in value)
    return _ELEMENT.pack(0, element, len(data)) + data


def _encode_has_dataset(element: int, value: bool) -> bytes:
    return _ELEMENT_US.pack(0, element, 2, DATA_SET_FOLLOWS if value else NO_DATA_SET)


_ENCODERS: Final[tuple[tuple[int, str, Callable[[int, Any], bytes]], ...]] = (
    (0x0002, "affected_sop_class_uid", _encode_uid),
    (0x0003, "requested_sop_class_uid", _encode_uid),
    (0x0100, "command_field", _encode_us),
    (0x0110, "message_id", _encode_us),
    (0x0120, "message_id_responded_to", _encode_us),
    (0x0600, "move_destination", _encode_text),
    (0x0700, "priority", _encode_us),
    (0x0800, "has_dataset", _encode_has_dataset),
    (0x0900, "status", _encode_us),
    (0x0901, "offending_elements", _encode_tags),
    (0x0902, "error_comment", _encode_comment),
    (0x0903, "error_id", _encode_us),
    (0x1000, "affected_sop_instance_uid", _encode_uid),
    (0x1001, "requested_sop_instance_uid", _encode_uid),
    (0x1002, "event_type_id", _encode_us),
    (0x1005, "attribute_identifiers", _encode_tags),
    (0x1008, "action_type_id", _encode_us),
    (0x1020, "remaining_suboperations", _encode_us),
    (0x1021, "completed_suboperations", _encode_us),
    (0x1022, "failed_suboperations", _encode_us),
    (0x1023, "warning_suboperations", _encode_us),
    (0x1030, "move_originator_aet", _encode_text),
    (0x1031, "move_originator_message_id", _encode_us),
)


# --- decode ---


def decode_command(data: bytes | bytearray | memoryview) -> CommandSet:
    """The command set in `data`.

    Elements that PS3.7 does not know are skipped, an empty value counts as absent. Raises ProtocolError if an element
    is cut off, a value has a wrong length, the command field is unknown, or a field is missing without which the
    message could not be answered.
    """
    if len(data) > COMMAND_SET_BYTES_MAX:
        raise ProtocolError(f"a command set has {len(data)} bytes; at most {COMMAND_SET_BYTES_MAX} are accepted")
    raw = bytes(data)
    fields: dict[str, Any] = {}
    offset, end = 0, len(raw)
    while offset < end:
        if end - offset < 8:
            raise ProtocolError(f"a command set ends inside an element header, {end - offset} bytes before its end")
        group, element, length = _ELEMENT.unpack_from(raw, offset)
        offset += 8
        if length > end - offset:
            raise ProtocolError(
                f"element ({group:04X},{element:04X}) of a command set says {length} bytes, but {end - offset} follow"
            )
        if group:
            raise ProtocolError(f"element ({group:04X},{element:04X}) does not belong into a command set")
        known = _DECODERS.get(element)
        if known is not None and length:
            name, decode_value = known
            fields[name] = decode_value(element, raw[offset : offset + length])
        offset += length
    return _checked(fields)


def _decode_us(element: int, value: bytes) -> int:
    if len(value) != 2:
        raise ProtocolError(f"element (0000,{element:04X}) of a command set has {len(value)} bytes, not 2")
    return int.from_bytes(value, "little")


def _decode_text(element: int, value: bytes) -> str | None:
    try:
        return value.decode("ascii").strip("\0 ") or None
    except UnicodeDecodeError:
        raise ProtocolError(f"element (0000,{element:04X}) of a command set holds bytes that are not ASCII") from None


def _decode_comment(_element: int, value: bytes) -> str | None:
    # Free text for people: a peer that writes its own language here breaks nothing.
    return value.decode("ascii", "replace").strip("\0 ") or None


def _decode_tags(element: int, value: bytes) -> tuple[int, ...]:
    if len(value) % 4:
        raise ProtocolError(
            f"element (0000,{element:04X}) of a command set has {len(value)} bytes, not tags of 4 bytes"
        )
    return tuple(group << 16 | number for group, number in struct.iter_unpack("<HH", value))


_DATA_SET_TYPE: Final = "data_set_type"
_DECODER_OF_ENCODER: Final[dict[Callable[[int, Any], bytes], Callable[[int, bytes], Any]]] = {
    _encode_us: _decode_us,
    _encode_uid: _decode_text,
    _encode_text: _decode_text,
    _encode_comment: _decode_comment,
    _encode_tags: _decode_tags,
}
_DECODERS: Final[dict[int, tuple[str, Callable[[int, bytes], Any]]]] = {
    element: (name, _DECODER_OF_ENCODER[encode_value])
    for element, name, encode_value in _ENCODERS
    if name != "has_dataset"
} | {0x0800: (_DATA_SET_TYPE, _decode_us)}
_COMMAND_FIELDS: Final = {int(value): value for value in CommandField}


def _checked(fields: dict[str, Any]) -> CommandSet:
    number = fields.get("command_field")
    command_field = _COMMAND_FIELDS.get(number) if number is not None else None
    if command_field is None:
        shown = "none" if number is None else f"{number:04X}H"
        raise ProtocolError(f"the command field of a message is {shown}, which PS3.7 E.1 does not know")
    data_set_type = fields.pop(_DATA_SET_TYPE, None)
    if data_set_type is None:
        raise ProtocolError(f"a {command_field.name} lacks its Command Data Set Type (0000,0800)")
    for name in _REQUIRED[command_field]:
        if name not in fields:
            raise ProtocolError(f"a {command_field.name} lacks its {name}, so it cannot be answered")
    fields["command_field"] = command_field
    return CommandSet(has_dataset=data_set_type != NO_DATA_SET, **fields)


def _required(command_field: CommandField) -> tuple[str, ...]:
    if command_field is CommandField.C_CANCEL_RQ:
        return ("message_id_responded_to",)
    if command_field & RESPONSE:
        return ("message_id_responded_to", "status")
    return ("message_id",)


_REQUIRED: Final = {value: _required(value) for value in CommandField}

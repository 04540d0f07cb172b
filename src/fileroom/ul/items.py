"""Items inside A-ASSOCIATE PDUs: presentation contexts and user information (PS3.8 9.3.2, 9.3.3, Annex D; PS3.7 D.3.3).

Text stands here as it came on the wire, only freed of padding: whether an AE title or a UID is acceptable is decided
in `ul.negotiation`. Decoding never reads past the item it is in and never allocates by a length field. Items that are
not known are kept as `UnknownItem`.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from fileroom.core.errors import ProtocolError
from fileroom.core.identifiers import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from fileroom.core.limits import PDU_BYTES_MAX_RECEIVE, PRESENTATION_CONTEXTS_MAX

APPLICATION_CONTEXT_NAME: Final = "1.2.840.10008.3.1.1.1"
"""The only application context of DICOM (PS3.7 Annex A)."""


class AbortSource(enum.IntEnum):
    """Who aborts (PS3.8 9.3.8)."""

    SERVICE_USER = 0
    SERVICE_PROVIDER = 2


class AbortReason(enum.IntEnum):
    """Why the service provider aborts (PS3.8 9.3.8). A service user always gives 0."""

    NOT_SPECIFIED = 0
    UNRECOGNIZED_PDU = 1
    UNEXPECTED_PDU = 2
    UNRECOGNIZED_PDU_PARAMETER = 4
    UNEXPECTED_PDU_PARAMETER = 5
    INVALID_PDU_PARAMETER_VALUE = 6


class InvalidPduError(ProtocolError):
    """A PDU that cannot be read. `reason` is what an A-ABORT shall say about it."""

    def __init__(self, message: str, reason: AbortReason = AbortReason.INVALID_PDU_PARAMETER_VALUE) -> None:
        super().__init__(message)
        self.reason = reason


class ContextResult(enum.IntEnum):
    """The acceptor's word on one presentation context (PS3.8 9.3.3.2)."""

    ACCEPTANCE = 0
    USER_REJECTION = 1
    NO_REASON = 2
    ABSTRACT_SYNTAX_NOT_SUPPORTED = 3
    TRANSFER_SYNTAXES_NOT_SUPPORTED = 4


class UserIdentityType(enum.IntEnum):
    """Kinds of user identity (PS3.7 D.3.3.7). A type outside these is kept as a plain number."""

    USERNAME = 1
    USERNAME_AND_PASSCODE = 2
    KERBEROS = 3
    SAML = 4
    JWT = 5


@dataclass(frozen=True, slots=True)
class PresentationContextProposal:
    """One proposed use: an abstract syntax and the transfer syntaxes it may travel in. `id` is odd, 1 to 255."""

    id: int
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PresentationContextResult:
    """The answer to one proposal. `transfer_syntax` means something only with ACCEPTANCE."""

    id: int
    result: ContextResult
    transfer_syntax: str = ""


@dataclass(frozen=True, slots=True)
class AsyncOperationsWindow:
    """How many operations may be open at once; 0 is unlimited (PS3.7 D.3.3.3)."""

    invoked_max: int
    performed_max: int


@dataclass(frozen=True, slots=True)
class RoleSelection:
    """The roles that the association requestor proposes, or is granted, for a SOP class (PS3.7 D.3.3.4)."""

    sop_class_uid: str
    scu_role: bool
    scp_role: bool


@dataclass(frozen=True, slots=True)
class ExtendedNegotiation:
    """Service class application information of a SOP class (PS3.7 D.3.3.5)."""

    sop_class_uid: str
    information: bytes


@dataclass(frozen=True, slots=True)
class CommonExtendedNegotiation:
    """Service class and related general SOP classes of a SOP class (PS3.7 D.3.3.6). Never answered."""

    sop_class_uid: str
    service_class_uid: str
    related_general_sop_classes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class UserIdentity:
    """Who the requestor says it is (PS3.7 D.3.3.7.1). The fields may be secrets and are not shown by `repr`."""

    type: int
    primary: bytes = field(repr=False)
    secondary: bytes = field(default=b"", repr=False)
    positive_response_requested: bool = False


@dataclass(frozen=True, slots=True)
class UnknownItem:
    """An item that this implementation does not know; kept, never fatal."""

    type: int
    value: bytes


@dataclass(frozen=True, slots=True)
class UserInformation:
    """The user information item of an A-ASSOCIATE-RQ or -AC (PS3.8 9.3.2.3, 9.3.3.3).

    `pdu_bytes_max` is the longest P-DATA-TF body that the sender of the item can receive, 0 for no limit.
    `user_identity` occurs only in a request, `user_identity_response` only in an acceptance.
    """

    pdu_bytes_max: int = PDU_BYTES_MAX_RECEIVE
    implementation_class_uid: str = IMPLEMENTATION_CLASS_UID
    implementation_version_name: str = IMPLEMENTATION_VERSION_NAME
    async_operations: AsyncOperationsWindow | None = None
    roles: tuple[RoleSelection, ...] = ()
    extended: tuple[ExtendedNegotiation, ...] = ()
    common_extended: tuple[CommonExtendedNegotiation, ...] = ()
    user_identity: UserIdentity | None = None
    user_identity_response: bytes | None = None
    unknown: tuple[UnknownItem, ...] = ()


DEFAULT_USER_INFORMATION: Final = UserInformation()


class ItemType(enum.IntEnum):
    """First byte of an item."""

    APPLICATION_CONTEXT = 0x10
    PRESENTATION_CONTEXT_RQ = 0x20
    PRESENTATION_CONTEXT_AC = 0x21
    ABSTRACT_SYNTAX = 0x30
    TRANSFER_SYNTAX = 0x40
    USER_INFORMATION = 0x50
    MAXIMUM_LENGTH = 0x51
    IMPLEMENTATION_CLASS_UID = 0x52
    ASYNC_OPERATIONS = 0x53
    ROLE_SELECTION = 0x54
    IMPLEMENTATION_VERSION_NAME = 0x55
    EXTENDED_NEGOTIATION = 0x56
    COMMON_EXTENDED_NEGOTIATION = 0x57
    USER_IDENTITY_RQ = 0x58
    USER_IDENTITY_AC = 0x59


_ITEM_HEADER: Final = struct.Struct(">BxH")
_U16: Final = struct.Struct(">H")
_U32: Final = struct.Struct(">I")
_WINDOW: Final = struct.Struct(">HH")
PDU_BYTES_MIN_SEND: Final = 8
"""A P-DATA-TF body holds at least a PDV header of 6 bytes and 2 bytes of data."""


# --- encode ---


def encode_item(item_type: int, value: bytes) -> bytes:
    """One item with its header. Raises struct.error if the value is longer than 65,535 bytes."""
    return _ITEM_HEADER.pack(item_type, len(value)) + value


def encode_proposal(context: PresentationContextProposal) -> bytes:
    """Presentation context item of an A-ASSOCIATE-RQ (PS3.8 9.3.2.2)."""
    parts = [
        bytes((context.id, 0, 0, 0)),
        encode_item(ItemType.ABSTRACT_SYNTAX, context.abstract_syntax.encode("ascii")),
    ]
    parts += [encode_item(ItemType.TRANSFER_SYNTAX, uid.encode("ascii")) for uid in context.transfer_syntaxes]
    return encode_item(ItemType.PRESENTATION_CONTEXT_RQ, b"".join(parts))


def encode_result(context: PresentationContextResult) -> bytes:
    """Presentation context item of an A-ASSOCIATE-AC (PS3.8 9.3.3.2)."""
    syntax = encode_item(ItemType.TRANSFER_SYNTAX, context.transfer_syntax.encode("ascii"))
    return encode_item(ItemType.PRESENTATION_CONTEXT_AC, bytes((context.id, 0, context.result, 0)) + syntax)


def encode_user_information(info: UserInformation) -> bytes:
    """The user information item with all its sub-items."""
    parts = [
        encode_item(ItemType.MAXIMUM_LENGTH, _U32.pack(info.pdu_bytes_max)),
        encode_item(ItemType.IMPLEMENTATION_CLASS_UID, info.implementation_class_uid.encode("ascii")),
    ]
    if info.async_operations is not None:
        window = info.async_operations
        parts.append(encode_item(ItemType.ASYNC_OPERATIONS, _WINDOW.pack(window.invoked_max, window.performed_max)))
    parts += [_encode_role(role) for role in info.roles]
    if info.implementation_version_name:
        name = info.implementation_version_name.encode("ascii")
        parts.append(encode_item(ItemType.IMPLEMENTATION_VERSION_NAME, name))
    parts += [_encode_extended(item) for item in info.extended]
    parts += [_encode_common_extended(item) for item in info.common_extended]
    if info.user_identity is not None:
        parts.append(_encode_user_identity(info.user_identity))
    if info.user_identity_response is not None:
        parts.append(encode_item(ItemType.USER_IDENTITY_AC, _counted(info.user_identity_response)))
    parts += [encode_item(item.type, item.value) for item in info.unknown]
    return encode_item(ItemType.USER_INFORMATION, b"".join(parts))


def _counted(value: bytes) -> bytes:
    return _U16.pack(len(value)) + value


def _encode_role(role: RoleSelection) -> bytes:
    value = _counted(role.sop_class_uid.encode("ascii")) + bytes((role.scu_role, role.scp_role))
    return encode_item(ItemType.ROLE_SELECTION, value)


def _encode_extended(item: ExtendedNegotiation) -> bytes:
    value = _counted(item.sop_class_uid.encode("ascii")) + item.information
    return encode_item(ItemType.EXTENDED_NEGOTIATION, value)


def _encode_common_extended(item: CommonExtendedNegotiation) -> bytes:
    related = b"".join(_counted(uid.encode("ascii")) for uid in item.related_general_sop_classes)
    value = _counted(item.sop_class_uid.encode("ascii")) + _counted(item.service_class_uid.encode("ascii"))
    return encode_item(ItemType.COMMON_EXTENDED_NEGOTIATION, value + _counted(related))


def _encode_user_identity(identity: UserIdentity) -> bytes:
    head = bytes((identity.type, identity.positive_response_requested))
    return encode_item(ItemType.USER_IDENTITY_RQ, head + _counted(identity.primary) + _counted(identity.secondary))


# --- decode ---


def iterate_items(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """(type, value) of each item, in order. The values are views of `data`."""
    offset, end = 0, len(data)
    while offset < end:
        if end - offset < _ITEM_HEADER.size:
            raise InvalidPduError(f"an item header is cut off: {end - offset} of 4 bytes are left")
        item_type, length = _ITEM_HEADER.unpack_from(data, offset)
        offset += _ITEM_HEADER.size
        if length > end - offset:
            raise InvalidPduError(f"item {item_type:02X}H says {length} bytes, but only {end - offset} follow")
        yield item_type, data[offset : offset + length]
        offset += length


def decode_text(value: memoryview, what: str) -> str:
    """ASCII text without its padding of spaces and NULs."""
    try:
        return str(value, "ascii").strip("\0 ")
    except UnicodeDecodeError:
        raise InvalidPduError(f"the {what} holds bytes that are not ASCII") from None


def decode_proposal(value: memoryview) -> PresentationContextProposal:
    """Presentation context item of an A-ASSOCIATE-RQ."""
    context_id, body = _context_head(value)
    abstract_syntaxes: list[str] = []
    transfer_syntaxes: list[str] = []
    for item_type, item in iterate_items(body):
        if item_type == ItemType.ABSTRACT_SYNTAX:
            abstract_syntaxes.append(decode_text(item, "abstract syntax"))
        elif item_type == ItemType.TRANSFER_SYNTAX:
            transfer_syntaxes.append(decode_text(item, "transfer syntax"))
    if len(abstract_syntaxes) != 1:
        raise InvalidPduError(
            f"presentation context {context_id} has {len(abstract_syntaxes)} abstract syntaxes, not one"
        )
    if not transfer_syntaxes:
        raise InvalidPduError(f"presentation context {context_id} proposes no transfer syntax")
    return PresentationContextProposal(context_id, abstract_syntaxes[0], tuple(transfer_syntaxes))


def decode_result(value: memoryview) -> PresentationContextResult:
    """Presentation context item of an A-ASSOCIATE-AC. An unknown result counts as rejection without a reason."""
    context_id, body = _context_head(value)
    result = ContextResult(value[2]) if value[2] <= max(ContextResult) else ContextResult.NO_REASON
    syntaxes = [
        decode_text(item, "transfer syntax") for kind, item in iterate_items(body) if kind == ItemType.TRANSFER_SYNTAX
    ]
    if result is ContextResult.ACCEPTANCE and len(syntaxes) != 1:
        raise InvalidPduError(
            f"presentation context {context_id} is accepted with {len(syntaxes)} transfer syntaxes, not one"
        )
    return PresentationContextResult(context_id, result, syntaxes[0] if syntaxes else "")


def check_context_ids(ids: list[int]) -> None:
    """Raise InvalidPduError if an identifier of a presentation context occurs twice, or there are too many."""
    if len(ids) > PRESENTATION_CONTEXTS_MAX:
        raise InvalidPduError(f"{len(ids)} presentation contexts, but at most {PRESENTATION_CONTEXTS_MAX} are allowed")
    if len(set(ids)) != len(ids):
        raise InvalidPduError("two presentation contexts have the same identifier")


def decode_user_information(value: memoryview) -> UserInformation:
    """The sub-items of the user information item. Of those that may occur once, the first counts."""
    single: dict[int, memoryview] = {}
    roles: list[RoleSelection] = []
    extended: list[ExtendedNegotiation] = []
    common: list[CommonExtendedNegotiation] = []
    unknown: list[UnknownItem] = []
    for item_type, item in iterate_items(value):
        if item_type in _SINGLE_ITEMS:
            single.setdefault(item_type, item)
        elif item_type == ItemType.ROLE_SELECTION:
            roles.append(_decode_role(item))
        elif item_type == ItemType.EXTENDED_NEGOTIATION:
            uid, rest = _take_counted(item, "SOP class extended negotiation")
            extended.append(ExtendedNegotiation(decode_text(uid, "SOP class UID"), bytes(rest)))
        elif item_type == ItemType.COMMON_EXTENDED_NEGOTIATION:
            common.append(_decode_common_extended(item))
        else:
            unknown.append(UnknownItem(item_type, bytes(item)))
    window, identity = single.get(ItemType.ASYNC_OPERATIONS), single.get(ItemType.USER_IDENTITY_RQ)
    answer = single.get(ItemType.USER_IDENTITY_AC)
    return UserInformation(
        pdu_bytes_max=_decode_maximum_length(single.get(ItemType.MAXIMUM_LENGTH)),
        implementation_class_uid=decode_text(
            single.get(ItemType.IMPLEMENTATION_CLASS_UID, _EMPTY), "implementation class UID"
        ),
        implementation_version_name=decode_text(
            single.get(ItemType.IMPLEMENTATION_VERSION_NAME, _EMPTY), "implementation version name"
        ),
        async_operations=None if window is None else _decode_window(window),
        roles=tuple(roles),
        extended=tuple(extended),
        common_extended=tuple(common),
        user_identity=None if identity is None else _decode_user_identity(identity),
        user_identity_response=None if answer is None else bytes(_take_counted(answer, "user identity response")[0]),
        unknown=tuple(unknown),
    )


_EMPTY: Final = memoryview(b"")
_SINGLE_ITEMS: Final = frozenset(
    {
        ItemType.MAXIMUM_LENGTH,
        ItemType.IMPLEMENTATION_CLASS_UID,
        ItemType.ASYNC_OPERATIONS,
        ItemType.IMPLEMENTATION_VERSION_NAME,
        ItemType.USER_IDENTITY_RQ,
        ItemType.USER_IDENTITY_AC,
    }
)


def _context_head(value: memoryview) -> tuple[int, memoryview]:
    if len(value) < 4:
        raise InvalidPduError(f"a presentation context item has {len(value)} bytes, fewer than 4")
    if value[0] % 2 == 0:
        raise InvalidPduError(f"{value[0]} is not a presentation context identifier: they are odd")
    return value[0], value[4:]


def _take_counted(data: memoryview, what: str) -> tuple[memoryview, memoryview]:
    if len(data) < 2:
        raise InvalidPduError(f"the {what} item is cut off before a length")
    end = 2 + _U16.unpack_from(data)[0]
    if end > len(data):
        raise InvalidPduError(f"the {what} item says {end - 2} bytes, but only {len(data) - 2} follow")
    return data[2:end], data[end:]


def _decode_maximum_length(item: memoryview | None) -> int:
    if item is None:
        return 0
    if len(item) != 4:
        raise InvalidPduError(f"the maximum length item has {len(item)} bytes, not 4")
    length = int(_U32.unpack(item)[0])
    if 0 < length < PDU_BYTES_MIN_SEND:
        raise InvalidPduError(f"a maximum length of {length} bytes leaves no room for data")
    return length


def _decode_window(item: memoryview) -> AsyncOperationsWindow:
    if len(item) != 4:
        raise InvalidPduError(f"the asynchronous operations window item has {len(item)} bytes, not 4")
    return AsyncOperationsWindow(*_WINDOW.unpack(item))


def _decode_role(item: memoryview) -> RoleSelection:
    uid, roles = _take_counted(item, "role selection")
    if len(roles) < 2:
        raise InvalidPduError("the role selection item is cut off before the roles")
    return RoleSelection(decode_text(uid, "SOP class UID"), roles[0] == 1, roles[1] == 1)


def _decode_common_extended(item: memoryview) -> CommonExtendedNegotiation:
    what = "SOP class common extended negotiation"
    sop_class, rest = _take_counted(item, what)
    service_class, rest = _take_counted(rest, what)
    related_uids: list[str] = []
    if len(rest):  # version 0 of the item ended here
        related, _ = _take_counted(rest, what)
        while len(related):
            uid, related = _take_counted(related, what)
            related_uids.append(decode_text(uid, "related general SOP class UID"))
    return CommonExtendedNegotiation(
        decode_text(sop_class, "SOP class UID"), decode_text(service_class, "service class UID"), tuple(related_uids)
    )


def _decode_user_identity(item: memoryview) -> UserIdentity:
    if len(item) < 2:
        raise InvalidPduError("the user identity item is cut off")
    primary, rest = _take_counted(item[2:], "user identity")
    secondary = _take_counted(rest, "user identity")[0] if len(rest) else _EMPTY
    return UserIdentity(item[0], bytes(primary), bytes(secondary), item[1] == 1)

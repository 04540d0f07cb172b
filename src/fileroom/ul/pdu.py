"""The seven PDUs of the upper layer and their codec (PS3.8 9.3).

`encode` gives a whole PDU; `decode` takes the type and the body (what follows the header of 6 bytes). The items inside
A-ASSOCIATE PDUs live in `ul.items`. The data of a decoded P-DATA-TF are views of the bytes that were given.
"""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass
from typing import Final

from fileroom.core.identifiers import AE_TITLE_CHARS_MAX
from fileroom.ul.items import (
    APPLICATION_CONTEXT_NAME,
    DEFAULT_USER_INFORMATION,
    AbortReason,
    AbortSource,
    InvalidPduError,
    ItemType,
    PresentationContextProposal,
    PresentationContextResult,
    UserInformation,
    check_context_ids,
    decode_proposal,
    decode_result,
    decode_text,
    decode_user_information,
    encode_item,
    encode_proposal,
    encode_result,
    encode_user_information,
    iterate_items,
)

PROTOCOL_VERSION: Final = 1
"""Bit 0 set: version 1, the only one (PS3.8 9.3.2)."""


class PduType(enum.IntEnum):
    """First byte of a PDU."""

    ASSOCIATE_RQ = 1
    ASSOCIATE_AC = 2
    ASSOCIATE_RJ = 3
    P_DATA_TF = 4
    RELEASE_RQ = 5
    RELEASE_RP = 6
    ABORT = 7


@dataclass(frozen=True, slots=True)
class AssociateRQ:
    """A-ASSOCIATE-RQ (PS3.8 9.3.2): the peer asks for an association. AE titles stand without their padding."""

    called_aet: str
    calling_aet: str
    presentation_contexts: tuple[PresentationContextProposal, ...]
    user_information: UserInformation = DEFAULT_USER_INFORMATION
    application_context: str = APPLICATION_CONTEXT_NAME
    protocol_version: int = PROTOCOL_VERSION


@dataclass(frozen=True, slots=True)
class AssociateAC:
    """A-ASSOCIATE-AC (PS3.8 9.3.3). The AE titles are sent back as they came and mean nothing to the receiver."""

    called_aet: str
    calling_aet: str
    presentation_contexts: tuple[PresentationContextResult, ...]
    user_information: UserInformation = DEFAULT_USER_INFORMATION
    application_context: str = APPLICATION_CONTEXT_NAME
    protocol_version: int = PROTOCOL_VERSION


class RejectResult(enum.IntEnum):
    """Whether trying again may help (PS3.8 9.3.4)."""

    PERMANENT = 1
    TRANSIENT = 2


class RejectSource(enum.IntEnum):
    """Who rejects (PS3.8 9.3.4)."""

    SERVICE_USER = 1
    SERVICE_PROVIDER_ACSE = 2
    SERVICE_PROVIDER_PRESENTATION = 3


@dataclass(frozen=True, slots=True)
class AssociateRJ:
    """A-ASSOCIATE-RJ (PS3.8 9.3.4). The numbers are kept even where the standard does not define them."""

    result: int
    source: int
    reason: int

    def describe(self) -> str:
        """The rejection in words: result, source and reason."""
        result = _REJECT_RESULTS.get(self.result, "with an undefined result")
        source = _REJECT_SOURCES.get(self.source, "an undefined source")
        reason = _REJECT_REASONS.get((self.source, self.reason), "a reason that the standard does not define")
        numbers = f"result {self.result}, source {self.source}, reason {self.reason}"
        return f"rejected {result} by {source}: {reason} ({numbers})"


NO_REASON_GIVEN: Final = AssociateRJ(RejectResult.PERMANENT, RejectSource.SERVICE_USER, 1)
APPLICATION_CONTEXT_NOT_SUPPORTED: Final = AssociateRJ(RejectResult.PERMANENT, RejectSource.SERVICE_USER, 2)
CALLING_AET_NOT_RECOGNIZED: Final = AssociateRJ(RejectResult.PERMANENT, RejectSource.SERVICE_USER, 3)
CALLED_AET_NOT_RECOGNIZED: Final = AssociateRJ(RejectResult.PERMANENT, RejectSource.SERVICE_USER, 7)
PROTOCOL_VERSION_NOT_SUPPORTED: Final = AssociateRJ(RejectResult.PERMANENT, RejectSource.SERVICE_PROVIDER_ACSE, 2)
TEMPORARY_CONGESTION: Final = AssociateRJ(RejectResult.TRANSIENT, RejectSource.SERVICE_PROVIDER_PRESENTATION, 1)
LOCAL_LIMIT_EXCEEDED: Final = AssociateRJ(RejectResult.TRANSIENT, RejectSource.SERVICE_PROVIDER_PRESENTATION, 2)

_REJECT_RESULTS: Final = {1: "permanently", 2: "for now"}
_REJECT_SOURCES: Final = {
    1: "the application (service user)",
    2: "the association layer (service provider, ACSE)",
    3: "the presentation layer (service provider)",
}
_REJECT_REASONS: Final = {
    (1, 1): "no reason given",
    (1, 2): "the application context name is not supported",
    (1, 3): "it does not know our (calling) AE title",
    (1, 7): "it does not answer to the called AE title",
    (2, 1): "no reason given",
    (2, 2): "the protocol version is not supported",
    (3, 1): "temporary congestion",
    (3, 2): "its limit of associations is reached",
}


@dataclass(frozen=True, slots=True)
class PresentationDataValue:
    """One fragment of a command set or data set (PS3.8 9.3.5.1, Annex E)."""

    context_id: int
    is_command: bool
    is_last: bool
    data: memoryview


@dataclass(frozen=True, slots=True)
class PDataTF:
    """P-DATA-TF (PS3.8 9.3.5)."""

    values: tuple[PresentationDataValue, ...]


@dataclass(frozen=True, slots=True)
class ReleaseRQ:
    """A-RELEASE-RQ (PS3.8 9.3.6)."""


@dataclass(frozen=True, slots=True)
class ReleaseRP:
    """A-RELEASE-RP (PS3.8 9.3.7)."""


@dataclass(frozen=True, slots=True)
class Abort:
    """A-ABORT (PS3.8 9.3.8). `source` and `reason` are kept even where the standard does not define them."""

    source: int = AbortSource.SERVICE_USER
    reason: int = AbortReason.NOT_SPECIFIED

    def describe(self) -> str:
        """The abort in words."""
        who = "the application" if self.source == AbortSource.SERVICE_USER else "the protocol layer"
        known = self.reason in AbortReason.__members__.values()
        why = AbortReason(self.reason).name.lower().replace("_", " ") if known else "undefined reason"
        return f"aborted by {who}: {why} (source {self.source}, reason {self.reason})"


Pdu = AssociateRQ | AssociateAC | AssociateRJ | PDataTF | ReleaseRQ | ReleaseRP | Abort

PDU_HEADER: Final = struct.Struct(">BxI")
"""Type, reserved, length of the body."""
PDV_HEADER: Final = struct.Struct(">IBB")
"""Length of the rest, presentation context, control header (bit 0: command, bit 1: last fragment)."""
CONTROL_COMMAND: Final = 1
CONTROL_LAST: Final = 2

_FIXED: Final = struct.Struct(">H2x16s16s32x")
_REJECT: Final = struct.Struct(">xBBB")
_ABORT: Final = struct.Struct(">xxBB")


# --- encode ---


def encode(pdu: Pdu) -> bytes:
    """A whole PDU, header included."""
    match pdu:
        case AssociateRQ():
            contexts = [encode_proposal(context) for context in pdu.presentation_contexts]
            return _with_header(PduType.ASSOCIATE_RQ, _encode_associate(pdu, contexts))
        case AssociateAC():
            contexts = [encode_result(context) for context in pdu.presentation_contexts]
            return _with_header(PduType.ASSOCIATE_AC, _encode_associate(pdu, contexts))
        case AssociateRJ():
            return _with_header(PduType.ASSOCIATE_RJ, _REJECT.pack(pdu.result, pdu.source, pdu.reason))
        case PDataTF():
            return _with_header(PduType.P_DATA_TF, b"".join(_encode_pdv(value) for value in pdu.values))
        case ReleaseRQ():
            return _with_header(PduType.RELEASE_RQ, bytes(4))
        case ReleaseRP():
            return _with_header(PduType.RELEASE_RP, bytes(4))
        case Abort():
            return _with_header(PduType.ABORT, _ABORT.pack(pdu.source, pdu.reason))


def _with_header(pdu_type: PduType, body: bytes) -> bytes:
    return PDU_HEADER.pack(pdu_type, len(body)) + body


def _encode_associate(pdu: AssociateRQ | AssociateAC, contexts: list[bytes]) -> bytes:
    return b"".join(
        [
            _FIXED.pack(pdu.protocol_version, _padded_aet(pdu.called_aet), _padded_aet(pdu.calling_aet)),
            encode_item(ItemType.APPLICATION_CONTEXT, pdu.application_context.encode("ascii")),
            *contexts,
            encode_user_information(pdu.user_information),
        ]
    )


def _padded_aet(aet: str) -> bytes:
    return aet.encode("ascii").ljust(AE_TITLE_CHARS_MAX)


def _encode_pdv(value: PresentationDataValue) -> bytes:
    control = CONTROL_COMMAND * value.is_command | CONTROL_LAST * value.is_last
    return PDV_HEADER.pack(len(value.data) + 2, value.context_id, control) + value.data


# --- decode ---


def decode(pdu_type: int, body: bytes | bytearray | memoryview) -> Pdu:
    """The PDU whose body (without the header of 6 bytes) is given.

    Raises InvalidPduError, with the reason that an A-ABORT shall give, if the body is malformed or the type unknown.
    """
    view = memoryview(body)
    match pdu_type:
        case PduType.P_DATA_TF:
            return _decode_p_data(view)
        case PduType.ASSOCIATE_RQ:
            return _decode_associate_rq(view)
        case PduType.ASSOCIATE_AC:
            return _decode_associate_ac(view)
        case PduType.ASSOCIATE_RJ:
            _check_length("A-ASSOCIATE-RJ", view)
            return AssociateRJ(*_REJECT.unpack(view))
        case PduType.RELEASE_RQ:
            _check_length("A-RELEASE-RQ", view)
            return ReleaseRQ()
        case PduType.RELEASE_RP:
            _check_length("A-RELEASE-RP", view)
            return ReleaseRP()
        case PduType.ABORT:
            _check_length("A-ABORT", view)
            return Abort(*_ABORT.unpack(view))
        case _:
            raise InvalidPduError(f"{pdu_type:02X}H is not a PDU type", AbortReason.UNRECOGNIZED_PDU)


def _check_length(name: str, body: memoryview) -> None:
    if len(body) != 4:
        raise InvalidPduError(f"the body of an {name} has {len(body)} bytes, not 4")


def _decode_associate_rq(body: memoryview) -> AssociateRQ:
    version, called, calling, application_context, contexts, user_information = _decode_associate(
        body, ItemType.PRESENTATION_CONTEXT_RQ
    )
    proposals = tuple(decode_proposal(context) for context in contexts)
    return AssociateRQ(called, calling, proposals, user_information, application_context, version)


def _decode_associate_ac(body: memoryview) -> AssociateAC:
    version, called, calling, application_context, contexts, user_information = _decode_associate(
        body, ItemType.PRESENTATION_CONTEXT_AC
    )
    results = tuple(decode_result(context) for context in contexts)
    return AssociateAC(called, calling, results, user_information, application_context, version)


def _decode_associate(
    body: memoryview, context_type: ItemType
) -> tuple[int, str, str, str, list[memoryview], UserInformation]:
    """What both A-ASSOCIATE PDUs share. Unknown items between the known ones are skipped."""
    if len(body) < _FIXED.size:
        raise InvalidPduError(f"an A-ASSOCIATE PDU has a body of {len(body)} bytes, fewer than {_FIXED.size}")
    version, called, calling = _FIXED.unpack_from(body)
    application_context: str | None = None
    user_information: UserInformation | None = None
    contexts: list[memoryview] = []
    for item_type, item in iterate_items(body[_FIXED.size :]):
        if item_type == ItemType.APPLICATION_CONTEXT and application_context is None:
            application_context = decode_text(item, "application context name")
        elif item_type == context_type:
            contexts.append(item)
        elif item_type == ItemType.USER_INFORMATION and user_information is None:
            user_information = decode_user_information(item)
    if not contexts:
        raise InvalidPduError("an A-ASSOCIATE PDU holds no presentation context")
    if user_information is None:
        raise InvalidPduError("an A-ASSOCIATE PDU holds no user information item")
    check_context_ids([item[0] for item in contexts if len(item)])
    called_aet, calling_aet = decode_text(called, "called AE title"), decode_text(calling, "calling AE title")
    return version, called_aet, calling_aet, application_context or "", contexts, user_information


def _decode_p_data(body: memoryview) -> PDataTF:
    values: list[PresentationDataValue] = []
    offset, end = 0, len(body)
    if not end:
        raise InvalidPduError("a P-DATA-TF holds no presentation data value")
    while offset < end:
        if end - offset < PDV_HEADER.size:
            raise InvalidPduError(f"a presentation data value is cut off: {end - offset} bytes are left")
        length, context_id, control = PDV_HEADER.unpack_from(body, offset)
        if not 2 <= length <= end - offset - 4:
            raise InvalidPduError(f"a presentation data value says {length} bytes, but {end - offset - 4} are left")
        data = body[offset + PDV_HEADER.size : offset + 4 + length]
        values.append(
            PresentationDataValue(context_id, bool(control & CONTROL_COMMAND), bool(control & CONTROL_LAST), data)
        )
        offset += 4 + length
    return PDataTF(tuple(values))

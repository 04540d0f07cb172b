"""The PDU codec of PS3.8 9.3: round trip, what the standard's bytes are, and what is refused."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fileroom.ul.items import (
    AbortReason,
    AbortSource,
    AsyncOperationsWindow,
    CommonExtendedNegotiation,
    ContextResult,
    ExtendedNegotiation,
    InvalidPduError,
    PresentationContextProposal,
    PresentationContextResult,
    RoleSelection,
    UnknownItem,
    UserIdentity,
    UserInformation,
)
from fileroom.ul.pdu import (
    LOCAL_LIMIT_EXCEEDED,
    Abort,
    AssociateAC,
    AssociateRJ,
    AssociateRQ,
    PDataTF,
    PresentationDataValue,
    ReleaseRP,
    ReleaseRQ,
    decode,
    encode,
)
from unit.ul.strategies import pdus

CT = "1.2.840.10008.5.1.4.1.1.2"
IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"

FULL_REQUEST = AssociateRQ(
    called_aet="FILEROOM",
    calling_aet="MODALITY",
    presentation_contexts=(PresentationContextProposal(1, CT, (IMPLICIT, EXPLICIT)),),
    user_information=UserInformation(
        pdu_bytes_max=16384,
        implementation_class_uid="1.2.3.4",
        implementation_version_name="MODALITY_1",
        async_operations=AsyncOperationsWindow(5, 6),
        roles=(RoleSelection(CT, scu_role=True, scp_role=True),),
        extended=(ExtendedNegotiation("1.2.840.10008.5.1.4.1.2.1.1", b"\x01\x01\x00"),),
        common_extended=(CommonExtendedNegotiation(CT, "1.2.840.10008.4.2", (CT, "1.2.3")),),
        user_identity=UserIdentity(2, b"ada", b"secret", positive_response_requested=True),
    ),
)


def item(item_type: int, value: bytes) -> bytes:
    return struct.pack(">BBH", item_type, 0, len(value)) + value


FIXED = struct.pack(">HH16s16s32s", 1, 0, b"CALLED".ljust(16), b"CALLING".ljust(16), bytes(32))
APPLICATION = item(0x10, b"1.2.840.10008.3.1.1.1")
CONTEXT = item(0x20, b"\x01\x00\x00\x00" + item(0x30, b"1.2.3") + item(0x40, b"1.2.840.10008.1.2"))
MAX_LENGTH = item(0x51, struct.pack(">I", 16384))
USER = item(0x50, MAX_LENGTH + item(0x52, b"1.2.3.4"))


def decode_whole(data: bytes):
    pdu_type, length = struct.unpack_from(">BxI", data)
    assert length == len(data) - 6
    return decode(pdu_type, data[6:])


@given(pdus)
def test_every_pdu_comes_back_as_it_was(pdu) -> None:
    assert decode_whole(encode(pdu)) == pdu


@pytest.mark.parametrize(
    ("pdu", "expected"),
    [
        (AssociateRJ(1, 1, 7), "0300 00000004 00 01 01 07"),
        (ReleaseRQ(), "0500 00000004 00000000"),
        (ReleaseRP(), "0600 00000004 00000000"),
        (Abort(AbortSource.SERVICE_PROVIDER, AbortReason.UNEXPECTED_PDU), "0700 00000004 00 00 02 02"),
        (
            PDataTF((PresentationDataValue(3, True, True, memoryview(b"\xaa\xbb")),)),
            "0400 00000008 00000004 03 03 aabb",
        ),
    ],
)
def test_short_pdus_have_the_bytes_of_the_standard(pdu, expected: str) -> None:
    assert encode(pdu) == bytes.fromhex(expected)
    assert decode_whole(bytes.fromhex(expected)) == pdu


def test_request_from_handmade_bytes() -> None:
    request = decode(1, FIXED + APPLICATION + CONTEXT + USER)
    assert request == AssociateRQ(
        "CALLED",
        "CALLING",
        (PresentationContextProposal(1, "1.2.3", (IMPLICIT,)),),
        UserInformation(pdu_bytes_max=16384, implementation_class_uid="1.2.3.4", implementation_version_name=""),
    )


def test_another_implementation_reads_our_request() -> None:
    from pynetdicom.pdu import A_ASSOCIATE_RQ

    theirs = A_ASSOCIATE_RQ()
    theirs.decode(encode(FULL_REQUEST))
    user_items = {type(entry).__name__: entry for entry in theirs.user_information.user_data}
    assert (theirs.called_ae_title.strip(), theirs.calling_ae_title.strip()) == ("FILEROOM", "MODALITY")
    assert [str(s) for s in theirs.presentation_context[0].transfer_syntax] == [IMPLICIT, EXPLICIT]
    assert user_items["MaximumLengthSubItem"].maximum_length_received == 16384
    assert user_items["UserIdentitySubItemRQ"].secondary_field == b"secret"
    assert user_items["SCP_SCU_RoleSelectionSubItem"].scp_role == 1
    assert user_items["SOPClassCommonExtendedNegotiationSubItem"].related_general_sop_class_identification == [
        CT,
        "1.2.3",
    ]
    assert theirs.encode() == encode(FULL_REQUEST)


def test_unknown_items_are_kept_or_skipped() -> None:
    user = item(0x50, MAX_LENGTH + item(0x99, b"vendor") + item(0x52, b"1.2.3.4"))
    request = decode(1, FIXED + APPLICATION + item(0x77, b"?") + CONTEXT + user)
    assert isinstance(request, AssociateRQ)
    assert request.user_information.unknown == (UnknownItem(0x99, b"vendor"),)
    assert len(request.presentation_contexts) == 1


def test_padding_of_uids_and_titles_is_dropped() -> None:
    context = item(0x20, b"\x01\x00\x00\x00" + item(0x30, b"1.2.3\0") + item(0x40, b"1.2.840.10008.1.2\0"))
    request = decode(1, FIXED + APPLICATION + context + USER)
    assert isinstance(request, AssociateRQ)
    assert request.presentation_contexts[0] == PresentationContextProposal(1, "1.2.3", (IMPLICIT,))


def test_refused_context_may_lack_its_transfer_syntax() -> None:
    body = FIXED + APPLICATION + item(0x21, b"\x01\x00\x03\x00") + USER
    acceptance = decode(2, body)
    assert isinstance(acceptance, AssociateAC)
    expected = PresentationContextResult(1, ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED, "")
    assert acceptance.presentation_contexts == (expected,)


def test_data_of_p_data_are_views_of_the_given_bytes() -> None:
    body = bytearray(encode(PDataTF((PresentationDataValue(1, False, True, memoryview(b"abcd")),)))[6:])
    pdu = decode(4, body)
    assert isinstance(pdu, PDataTF)
    body[-1] = ord("z")
    assert bytes(pdu.values[0].data) == b"abcz"


def test_secrets_are_not_shown() -> None:
    assert "secret" not in repr(FULL_REQUEST)


def many_contexts(count: int) -> bytes:
    return b"".join(
        item(0x20, bytes((2 * n % 256 + 1, 0, 0, 0)) + item(0x30, b"1.2") + item(0x40, b"1.2")) for n in range(count)
    )


MALFORMED = {
    "no body": (1, b""),
    "cut in the fixed part": (1, FIXED[:-1]),
    "no context": (1, FIXED + APPLICATION + USER),
    "no user information": (1, FIXED + APPLICATION + CONTEXT),
    "item header cut": (1, FIXED + APPLICATION + CONTEXT + USER + b"\x50\x00"),
    "item longer than the PDU": (1, FIXED + APPLICATION + CONTEXT + struct.pack(">BBH", 0x50, 0, 999) + b"abc"),
    "even context identifier": (1, FIXED + item(0x20, b"\x02\0\0\0" + item(0x30, b"1") + item(0x40, b"1")) + USER),
    "context without syntaxes": (1, FIXED + item(0x20, b"\x01\0\0\0") + USER),
    "context without transfer syntax": (1, FIXED + item(0x20, b"\x01\0\0\0" + item(0x30, b"1.2")) + USER),
    "context cut": (1, FIXED + item(0x20, b"\x01") + USER),
    "empty context": (1, FIXED + item(0x20, b"") + USER),
    "same context twice": (1, FIXED + CONTEXT + CONTEXT + USER),
    "thousands of contexts": (1, FIXED + many_contexts(3000) + USER),
    "title not ASCII": (1, FIXED.replace(b"CALLED", b"CALL\xc9D") + CONTEXT + USER),
    "maximum length cut": (1, FIXED + CONTEXT + item(0x50, item(0x51, b"\0\0"))),
    "maximum length without room": (1, FIXED + CONTEXT + item(0x50, item(0x51, b"\0\0\0\x07"))),
    "role selection cut": (1, FIXED + CONTEXT + item(0x50, item(0x54, b"\0\x09" + b"1.2"))),
    "identity cut": (1, FIXED + CONTEXT + item(0x50, item(0x58, b"\x02\x00\x00\x09abc"))),
    "accepted without transfer syntax": (2, FIXED + item(0x21, b"\x01\0\0\0") + USER),
    "rejection too short": (3, b"\0\1"),
    "rejection too long": (3, bytes(5)),
    "release too long": (5, bytes(6)),
    "abort empty": (7, b""),
    "data empty": (4, b""),
    "value header cut": (4, b"\0\0\0\x04\x01"),
    "value length zero": (4, b"\0\0\0\x00\x01\x03"),
    "value longer than its PDU": (4, b"\xff\xff\xff\xff\x01\x03abcd"),
}


@pytest.mark.parametrize(("pdu_type", "body"), MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_bodies_are_refused_as_invalid_values(pdu_type: int, body: bytes) -> None:
    with pytest.raises(InvalidPduError) as caught:
        decode(pdu_type, body)
    assert caught.value.reason is AbortReason.INVALID_PDU_PARAMETER_VALUE


@pytest.mark.parametrize("pdu_type", [0, 8, 0x47, 255])
def test_unknown_types_are_unrecognized(pdu_type: int) -> None:
    with pytest.raises(InvalidPduError) as caught:
        decode(pdu_type, bytes(4))
    assert caught.value.reason is AbortReason.UNRECOGNIZED_PDU


@given(st.integers(0, 9), st.binary(max_size=300))
def test_random_bodies_decode_or_are_refused(pdu_type: int, body: bytes) -> None:
    decodes_or_refuses(pdu_type, body)


@given(pdus, st.data())
@settings(max_examples=100)
def test_damaged_pdus_decode_or_are_refused(pdu, data) -> None:
    raw = bytearray(encode(pdu))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(6, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(6, len(raw)))
    decodes_or_refuses(raw[0], bytes(raw[6:cut]))


def decodes_or_refuses(pdu_type: int, body: bytes) -> None:
    """Anything but InvalidPduError would fail the test."""
    with contextlib.suppress(InvalidPduError):
        decode(pdu_type, body)


def test_rejection_is_described_in_words() -> None:
    assert LOCAL_LIMIT_EXCEEDED.describe() == (
        "rejected for now by the presentation layer (service provider): its limit of associations is reached "
        "(result 2, source 3, reason 2)"
    )
    assert "undefined" in AssociateRJ(9, 9, 9).describe()


def test_abort_is_described_in_words() -> None:
    assert "unexpected pdu" in Abort(AbortSource.SERVICE_PROVIDER, AbortReason.UNEXPECTED_PDU).describe()
    assert "undefined" in Abort(2, 77).describe()

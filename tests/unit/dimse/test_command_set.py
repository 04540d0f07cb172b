"""The command set codec of PS3.7: round trip, what another implementation makes of it, and what is refused."""

from __future__ import annotations

import contextlib
import io
import struct
from dataclasses import replace

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fileroom.core.errors import ProtocolError
from fileroom.core.limits import COMMAND_SET_BYTES_MAX
from fileroom.dimse.command_set import (
    NO_DATA_SET,
    RESPONSE,
    CommandField,
    CommandSet,
    decode_command,
    encode_command,
    respond,
)
from unit.ul.strategies import aets, uids

u16 = st.integers(0, 0xFFFF)
tags = st.lists(st.integers(0, 0xFFFFFFFF), min_size=1, max_size=5).map(tuple)
comments = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="\\"), min_size=1, max_size=64)


def maybe(strategy):
    return st.none() | strategy


@st.composite
def commands(draw) -> CommandSet:
    field = draw(st.sampled_from(CommandField))
    command = draw(
        st.builds(
            CommandSet,
            command_field=st.just(field),
            message_id=maybe(u16),
            message_id_responded_to=maybe(u16),
            affected_sop_class_uid=maybe(uids),
            affected_sop_instance_uid=maybe(uids),
            requested_sop_class_uid=maybe(uids),
            requested_sop_instance_uid=maybe(uids),
            has_dataset=st.booleans(),
            priority=maybe(u16),
            status=maybe(u16),
            move_destination=maybe(aets),
            move_originator_aet=maybe(aets),
            move_originator_message_id=maybe(u16),
            remaining_suboperations=maybe(u16),
            completed_suboperations=maybe(u16),
            failed_suboperations=maybe(u16),
            warning_suboperations=maybe(u16),
            event_type_id=maybe(u16),
            action_type_id=maybe(u16),
            attribute_identifiers=maybe(tags),
            error_comment=maybe(comments),
            error_id=maybe(u16),
            offending_elements=maybe(tags),
        )
    )
    if field is CommandField.C_CANCEL_RQ:
        return replace(command, message_id_responded_to=draw(u16))
    if field & RESPONSE:
        return replace(command, message_id_responded_to=draw(u16), status=draw(u16))
    return replace(command, message_id=draw(u16))


STORE_REQUEST = CommandSet(
    CommandField.C_STORE_RQ,
    message_id=7,
    affected_sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
    affected_sop_instance_uid="1.2.3.4.5",
    has_dataset=True,
    priority=0,
    move_originator_aet="ARCHIVE",
    move_originator_message_id=3,
)


def element(number: int, value: bytes, group: int = 0) -> bytes:
    return struct.pack("<HHI", group, number, len(value)) + value


def us(number: int, value: int) -> bytes:
    return element(number, struct.pack("<H", value))


ECHO = us(0x0100, 0x0030) + us(0x0110, 1) + us(0x0800, NO_DATA_SET)


@given(commands())
def test_every_command_comes_back_as_it_was(command: CommandSet) -> None:
    assert decode_command(encode_command(command)) == command


@given(commands())
def test_elements_ascend_have_even_length_and_the_group_length_is_right(command: CommandSet) -> None:
    raw = encode_command(command)
    assert struct.unpack_from("<HHII", raw) == (0, 0, 4, len(raw) - 12)
    offset, previous = 0, -1
    while offset < len(raw):
        _, number, length = struct.unpack_from("<HHI", raw, offset)
        assert number > previous
        assert length % 2 == 0
        offset, previous = offset + 8 + length, number
    assert offset == len(raw)


def test_pydicom_reads_our_store_request() -> None:
    raw = encode_command(STORE_REQUEST)
    read = pydicom.filereader.read_dataset(io.BytesIO(raw), is_implicit_VR=True, is_little_endian=True)
    assert (read.CommandField, read.MessageID, read.Priority) == (1, 7, 0)
    assert (read.AffectedSOPClassUID, read.AffectedSOPInstanceUID) == ("1.2.840.10008.5.1.4.1.1.2", "1.2.3.4.5")
    assert (read.MoveOriginatorApplicationEntityTitle, read.MoveOriginatorMessageID) == ("ARCHIVE", 3)
    assert read.CommandDataSetType != NO_DATA_SET


def test_echo_request_from_handmade_bytes() -> None:
    assert decode_command(ECHO) == CommandSet(CommandField.C_ECHO_RQ, message_id=1)


def test_padding_is_dropped_and_empty_values_are_absent() -> None:
    raw = (
        ECHO + element(0x0600, b"DEST  ") + element(0x1000, b"1.2.3\0") + element(0x0002, b"") + element(0x1030, b"  ")
    )
    command = decode_command(raw)
    assert command.move_destination == "DEST"
    assert command.affected_sop_instance_uid == "1.2.3"
    assert command.affected_sop_class_uid is None
    assert command.move_originator_aet is None


def test_unknown_and_retired_elements_are_skipped() -> None:
    assert decode_command(element(0x0001, b"\0\0\0\0") + ECHO + element(0x5110, b"x" * 10)).message_id == 1


@pytest.mark.parametrize("value", [0x0000, 0x0001, 0x0102, 0xFFFF])
def test_every_data_set_type_but_one_announces_a_data_set(value: int) -> None:
    assert decode_command(us(0x0100, 0x0030) + us(0x0110, 1) + us(0x0800, value)).has_dataset


def test_comments_in_other_characters_do_not_matter() -> None:
    raw = encode_command(CommandSet(CommandField.C_ECHO_RSP, message_id_responded_to=1, status=0x0110))
    assert decode_command(raw + element(0x0902, "naïve ".encode("latin-1"))).error_comment is not None


REFUSED = {
    "empty": b"",
    "cut in a header": ECHO[:-3] + b"",
    "value longer than the rest": ECHO + struct.pack("<HHI", 0, 0x1000, 0xFFFFFFFF) + b"1.2",
    "other group": ECHO + element(0x0010, b"x", group=0x0010),
    "number too long": us(0x0100, 0x0030) + element(0x0110, bytes(4)) + us(0x0800, NO_DATA_SET),
    "no command field": us(0x0110, 1) + us(0x0800, NO_DATA_SET),
    "unknown command field": us(0x0100, 0x0777) + us(0x0110, 1) + us(0x0800, NO_DATA_SET),
    "no data set type": us(0x0100, 0x0030) + us(0x0110, 1),
    "request without message ID": us(0x0100, 0x0030) + us(0x0800, NO_DATA_SET),
    "response without status": us(0x0100, 0x8030) + us(0x0120, 1) + us(0x0800, NO_DATA_SET),
    "cancel of nothing": us(0x0100, 0x0FFF) + us(0x0110, 1) + us(0x0800, NO_DATA_SET),
    "UID not ASCII": ECHO + element(0x1000, b"1.2\xff"),
    "half a tag": ECHO + element(0x0901, b"\0\0"),
    "too long": ECHO + element(0x0902, bytes(COMMAND_SET_BYTES_MAX)),
}


@pytest.mark.parametrize("raw", REFUSED.values(), ids=REFUSED.keys())
def test_malformed_commands_are_refused(raw: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_command(raw)


@given(st.binary(max_size=200))
def test_random_bytes_decode_or_are_refused(raw: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        decode_command(raw)


@given(commands(), st.data())
def test_damaged_commands_decode_or_are_refused(command: CommandSet, data) -> None:
    raw = bytearray(encode_command(command))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ProtocolError):
        decode_command(raw[: data.draw(st.integers(0, len(raw)))])


def test_response_mirrors_its_request() -> None:
    assert respond(STORE_REQUEST, 0) == CommandSet(
        CommandField.C_STORE_RSP,
        message_id_responded_to=7,
        affected_sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
        affected_sop_instance_uid="1.2.3.4.5",
        status=0,
    )


def test_response_to_an_action_affects_what_was_requested() -> None:
    request = CommandSet(
        CommandField.N_ACTION_RQ, 9, requested_sop_class_uid="1.2.3", requested_sop_instance_uid="1.2.3.4"
    )
    response = respond(request, 0x0110, completed_suboperations=5)
    assert (response.affected_sop_class_uid, response.affected_sop_instance_uid) == ("1.2.3", "1.2.3.4")
    assert response.requested_sop_class_uid is None
    assert response.completed_suboperations == 5


def test_long_comments_are_cut_to_what_fits() -> None:
    response = respond(STORE_REQUEST, 0xC000, error_comment="é\\" + "x" * 100)
    assert decode_command(encode_command(response)).error_comment == "?/" + "x" * 62


def test_a_cancel_is_a_request() -> None:
    assert CommandSet(CommandField.C_CANCEL_RQ, message_id_responded_to=1).is_request
    assert not respond(STORE_REQUEST, 0).is_request

"""Messages out of fragments and back (PS3.7 6.3; PS3.8 Annex E, F)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fileroom.core.errors import InvalidRequestError, ProtocolError, TooLargeError
from fileroom.dimse.command_set import CommandField, CommandSet, encode_command
from fileroom.dimse.message import (
    CommandReceived,
    DataReceived,
    DataSetBuffer,
    DataSetCutter,
    MessageAssembler,
    cut_fragments,
    encode_message,
)
from fileroom.ul.association import Role
from fileroom.ul.events import PDataFragment
from fileroom.ul.pdu import PDataTF, decode
from fileroom.ul.state import State
from unit.ul.test_state import association_in

STORE = CommandSet(CommandField.C_STORE_RQ, message_id=1, has_dataset=True)
ECHO = CommandSet(CommandField.C_ECHO_RQ, message_id=2)


def fragment(data: bytes, *, command: bool, last: bool, context_id: int = 1) -> PDataFragment:
    return PDataFragment(context_id, command, last, memoryview(data))


def run(*fragments: PDataFragment):
    assembler = MessageAssembler()
    events = [assembler.receive_fragment(item) for item in fragments]
    return [event for event in events if event is not None], assembler


def test_command_comes_whole_and_data_pass_through() -> None:
    raw = encode_command(STORE)
    events, assembler = run(
        fragment(raw[:20], command=True, last=False),
        fragment(raw[20:], command=True, last=True),
        fragment(b"abc", command=False, last=False),
        fragment(b"", command=False, last=True),
        fragment(encode_command(ECHO), command=True, last=True),
    )
    assert events == [
        CommandReceived(1, STORE),
        DataReceived(1, memoryview(b"abc"), is_last=False),
        DataReceived(1, memoryview(b""), is_last=True),
        CommandReceived(1, ECHO),
    ]
    assert assembler.is_idle


def test_assembler_is_busy_inside_a_message() -> None:
    assert not run(fragment(encode_command(STORE), command=True, last=True))[1].is_idle
    assert not run(fragment(b"ab", command=True, last=False))[1].is_idle


RAW_STORE, RAW_ECHO = encode_command(STORE), encode_command(ECHO)
WRONG = {
    "data first": [fragment(b"a", command=False, last=False)],
    "data after a command without": [
        fragment(RAW_ECHO, command=True, last=True),
        fragment(b"a", command=False, last=True),
    ],
    "command inside data": [
        fragment(RAW_STORE, command=True, last=True),
        fragment(RAW_ECHO, command=True, last=True),
    ],
    "data inside a command": [
        fragment(RAW_STORE[:9], command=True, last=False),
        fragment(b"a", command=False, last=True),
    ],
    "data on another context": [
        fragment(RAW_STORE, command=True, last=True),
        fragment(b"a", command=False, last=True, context_id=3),
    ],
    "command on two contexts": [
        fragment(RAW_STORE[:9], command=True, last=False),
        fragment(RAW_STORE[9:], command=True, last=True, context_id=3),
    ],
    "endless command": [fragment(bytes(60_000), command=True, last=False)] * 2,
    "data after the last": [
        fragment(RAW_STORE, command=True, last=True),
        fragment(b"a", command=False, last=True),
        fragment(b"a", command=False, last=True),
    ],
}


@pytest.mark.parametrize("fragments", WRONG.values(), ids=WRONG.keys())
def test_fragments_out_of_order_are_refused(fragments: list[PDataFragment]) -> None:
    with pytest.raises(ProtocolError):
        run(*fragments)


def test_buffered_data_sets_are_bounded() -> None:
    buffer = DataSetBuffer(bytes_max=5)
    buffer.write(memoryview(b"abc"))
    buffer.write(memoryview(b"de"))
    assert buffer.take() == b"abcde"
    with pytest.raises(TooLargeError, match="5 bytes"):
        buffer.write(memoryview(b"f"))


def decoded(raw: bytes) -> list[PDataTF]:
    pdus = []
    while raw:
        length = int.from_bytes(raw[2:6], "big")
        pdu = decode(raw[0], raw[6 : 6 + length])
        assert isinstance(pdu, PDataTF)
        pdus.append(pdu)
        raw = raw[6 + length :]
    return pdus


@given(st.binary(max_size=300), st.integers(8, 64), st.booleans())
def test_cut_data_keep_to_the_limit_and_come_together_again(data: bytes, pdu_bytes_max: int, is_command: bool) -> None:
    pairs = list(cut_fragments(5, memoryview(data), pdu_bytes_max, is_command=is_command, is_end=True))
    values = [value for header, view in pairs for pdu in decoded(header + view) for value in pdu.values]
    assert b"".join(bytes(value.data) for value in values) == data
    assert [value.is_last for value in values] == [False] * (len(values) - 1) + [True]
    assert all(value.context_id == 5 and value.is_command == is_command for value in values)
    assert all(len(header) - 6 + len(view) <= pdu_bytes_max for header, view in pairs)
    assert all(len(view) % 2 == 0 for _, view in pairs[:-1])


def test_cut_data_are_views_not_copies() -> None:
    data = bytes(100)
    assert all(view.obj is data for _, view in cut_fragments(1, memoryview(data), 30, is_end=True))


def test_pdus_without_room_for_data_are_refused() -> None:
    with pytest.raises(InvalidRequestError, match="no room"):
        list(cut_fragments(1, memoryview(b"ab"), 7, is_end=True))


@given(st.lists(st.binary(max_size=40), max_size=8), st.integers(8, 40))
def test_chunks_of_any_size_make_even_fragments_with_one_last(chunks: list[bytes], pdu_bytes_max: int) -> None:
    cutter = DataSetCutter(1, pdu_bytes_max)
    pairs = [pair for chunk in chunks for pair in cutter.push(chunk)] + list(cutter.finish())
    values = [value for header, view in pairs for pdu in decoded(header + view) for value in pdu.values]
    assert b"".join(bytes(value.data) for value in values) == b"".join(chunks)
    assert [value.is_last for value in values] == [False] * (len(values) - 1) + [True]
    assert all(len(value.data) % 2 == 0 for value in values[:-1])


@given(st.binary(max_size=200), st.integers(8, 50), st.integers(1, 50))
def test_a_message_survives_the_whole_way(dataset: bytes, pdu_bytes_max: int, step: int) -> None:
    raw = encode_message(1, encode_command(STORE), dataset, pdu_bytes_max)
    association, assembler = association_in(Role.ACCEPTOR, State.STA6), MessageAssembler()
    events = []
    received = b""
    for at in range(0, len(raw), step):
        for item in association.receive_data(memoryview(raw)[at : at + step]):
            assert isinstance(item, PDataFragment)
            event = assembler.receive_fragment(item)
            if isinstance(event, DataReceived):
                received += bytes(event.data)
            if event is not None:
                events.append(event)
    assert events[0] == CommandReceived(1, STORE)
    assert received == dataset
    assert isinstance(events[-1], DataReceived)
    assert events[-1].is_last
    assert assembler.is_idle

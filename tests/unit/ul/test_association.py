"""Bytes into `Association`: whole, byte by byte, too long, in the wrong order, at random (PS3.8 9.2, 9.3)."""

from __future__ import annotations

import itertools
import struct
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fileroom.core.errors import InvalidRequestError
from fileroom.core.limits import ASSOCIATE_PDU_BYTES_MAX, PDU_BYTES_MAX_RECEIVE, PDU_BYTES_MAX_SEND
from fileroom.ul.association import Association, Role
from fileroom.ul.events import (
    AbortOrigin,
    AssociationAborted,
    AssociationRequested,
    Event,
    PDataFragment,
    ReleaseRequested,
    SendBytes,
    StartTimer,
)
from fileroom.ul.items import AbortReason, AbortSource, ContextResult, PresentationContextResult, UserInformation
from fileroom.ul.negotiation import AcceptedContext
from fileroom.ul.pdu import (
    Abort,
    AssociateAC,
    AssociateRQ,
    PDataTF,
    PresentationDataValue,
    ReleaseRQ,
    decode,
    encode,
)
from fileroom.ul.state import State
from unit.ul.strategies import pdus
from unit.ul.test_state import ACCEPTANCE, DATA, REQUEST, association_in


def value(data: bytes, *, context_id: int = 1, command: bool = False, last: bool = True) -> PresentationDataValue:
    return PresentationDataValue(context_id, command, last, memoryview(data))


def established() -> Association:
    return association_in(Role.ACCEPTOR, State.STA6)


def sent_abort(events: list[Event]) -> Abort:
    [sent] = [event for event in events if isinstance(event, SendBytes)]
    abort = decode(sent.data[0], sent.data[6:])
    assert isinstance(abort, Abort)
    return abort


def joined(events: list[Event]) -> list[tuple[int, bool, bytes]]:
    """Fragments put together to whole values, as a receiver would."""
    whole: list[tuple[int, bool, bytes]] = []
    parts = b""
    for event in events:
        assert isinstance(event, PDataFragment)
        parts += bytes(event.data)
        if event.is_last:
            whole.append((event.context_id, event.is_command, parts))
            parts = b""
    assert parts == b""
    return whole


MESSAGES = encode(PDataTF((value(b"command", command=True), value(b"first", last=False)))) + encode(
    PDataTF((value(b"second"), value(b"")))
)
WHOLE = [(1, True, b"command"), (1, False, b"firstsecond"), (1, False, b"")]


def test_messages_in_one_buffer_come_as_views_of_it() -> None:
    buffer = bytearray(MESSAGES)
    events = established().receive_data(memoryview(buffer))
    assert joined(events) == WHOLE
    assert all(event.data.obj is buffer for event in events)


def test_messages_byte_by_byte_come_out_the_same() -> None:
    association = established()
    events = [event for byte in MESSAGES for event in association.receive_data(memoryview(bytes((byte,))))]
    assert joined(events) == WHOLE


@given(st.lists(st.integers(0, len(MESSAGES)), max_size=6))
def test_messages_cut_anywhere_come_out_the_same(cuts: list[int]) -> None:
    association = established()
    bounds = sorted({0, *cuts, len(MESSAGES)})
    pieces = [memoryview(MESSAGES)[a:b] for a, b in itertools.pairwise(bounds)]
    assert joined([event for piece in pieces for event in association.receive_data(piece)]) == WHOLE


def test_whole_life_of_an_acceptor_byte_by_byte() -> None:
    association = Association(Role.ACCEPTOR)
    events = association.transport_connected()
    for byte in encode(REQUEST):
        events += association.receive_data(memoryview(bytes((byte,))))
    assert isinstance(events[-1], AssociationRequested)
    assert events[-1].request == REQUEST
    events = association.accept(ACCEPTANCE)
    for byte in encode(DATA) + encode(ReleaseRQ()):
        events += association.receive_data(memoryview(bytes((byte,))))
    assert events[-1] == ReleaseRequested()
    assert association.state is State.STA8
    assert association.may_send_data


def test_large_data_come_out_before_their_pdu_is_complete() -> None:
    association = established()
    head = struct.pack(">BxI", 4, PDU_BYTES_MAX_RECEIVE) + struct.pack(">IBB", PDU_BYTES_MAX_RECEIVE - 4, 1, 2)
    assert association.receive_data(memoryview(head)) == []
    [first] = association.receive_data(memoryview(b"x" * 1000))
    assert isinstance(first, PDataFragment)
    assert (len(first.data), first.is_last) == (1000, False)
    [rest] = association.receive_data(memoryview(bytes(PDU_BYTES_MAX_RECEIVE - 1006)))
    assert isinstance(rest, PDataFragment)
    assert rest.is_last


def test_agreed_contexts_and_sizes_are_known() -> None:
    association = established()
    assert association.contexts == {1: AcceptedContext(1, "1.2.3", "1.2.840.10008.1.2")}
    assert association.pdu_bytes_max_send == min(PDU_BYTES_MAX_RECEIVE, PDU_BYTES_MAX_SEND)


@pytest.mark.parametrize(("offered", "used"), [(0, PDU_BYTES_MAX_SEND), (4096, 4096), (2**32 - 1, PDU_BYTES_MAX_SEND)])
def test_we_send_no_longer_pdus_than_the_peer_offers(offered: int, used: int) -> None:
    association = Association(Role.ACCEPTOR)
    association.transport_connected()
    request = AssociateRQ("A", "B", REQUEST.presentation_contexts, UserInformation(pdu_bytes_max=offered))
    association.receive_data(memoryview(encode(request)))
    association.accept(ACCEPTANCE)
    assert association.pdu_bytes_max_send == used


INVALID = AbortReason.INVALID_PDU_PARAMETER_VALUE
WRONG = {
    "unknown type": (b"\x08\0\0\0\0\x04abcd", AbortReason.UNRECOGNIZED_PDU),
    "type zero and huge": (b"\x00\0\xff\xff\xff\xff", AbortReason.UNRECOGNIZED_PDU),
    "data of no length": (struct.pack(">BxI", 4, 0), INVALID),
    "data too short": (struct.pack(">BxI", 4, 5), INVALID),
    "data longer than offered": (struct.pack(">BxI", 4, PDU_BYTES_MAX_RECEIVE + 1), INVALID),
    "release of no length": (struct.pack(">BxI", 5, 0), INVALID),
    "release too long": (struct.pack(">BxI", 5, 2**31), INVALID),
    "value longer than its PDU": (struct.pack(">BxIIBB", 4, 10, 400, 1, 3) + b"abcd", INVALID),
    "value of no length": (struct.pack(">BxIIBB", 4, 10, 0, 1, 3) + b"abcd", INVALID),
    "bytes after the last value": (struct.pack(">BxIIBB", 4, 10, 4, 1, 3) + b"abcd", INVALID),
    "context that was not accepted": (encode(PDataTF((value(b"ab", context_id=3),))), INVALID),
    "second request": (encode(REQUEST), AbortReason.UNEXPECTED_PDU),
    "acceptance": (encode(ACCEPTANCE), AbortReason.UNEXPECTED_PDU),
    "huge request is not awaited": (struct.pack(">BxI", 1, 2**32 - 1), AbortReason.UNEXPECTED_PDU),
}


@pytest.mark.parametrize(("data", "reason"), WRONG.values(), ids=WRONG.keys())
@pytest.mark.parametrize("step", [1, 10_000])
def test_wrong_bytes_on_an_association_abort_it_as_provider(data: bytes, reason: AbortReason, step: int) -> None:
    association = established()
    view = memoryview(data)
    events = [event for at in range(0, len(data), step) for event in association.receive_data(view[at : at + step])]
    assert sent_abort(events) == Abort(AbortSource.SERVICE_PROVIDER, reason)
    [told] = [event for event in events if isinstance(event, AssociationAborted)]
    assert told.origin is AbortOrigin.LOCAL
    assert told.detail
    assert events[-1] == StartTimer()
    assert association.state is State.STA13


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        encode(DATA),
        encode(ReleaseRQ()),
        struct.pack(">BxI", 1, ASSOCIATE_PDU_BYTES_MAX + 1),
        struct.pack(">BxI", 1, 0),
        struct.pack(">BxI", 1, 10) + bytes(10),
    ],
)
def test_wrong_bytes_before_an_association_abort_as_service_user(data: bytes) -> None:
    """AA-1 of PS3.8 Table 9-9: until the request is understood there is no association that a provider could abort."""
    association = Association(Role.ACCEPTOR)
    association.transport_connected()
    events = association.receive_data(memoryview(data))
    assert sent_abort(events) == Abort(AbortSource.SERVICE_USER, AbortReason.NOT_SPECIFIED)
    assert association.state is State.STA13


def test_rubbish_after_an_abort_is_answered_once_and_then_dropped() -> None:
    association = established()
    association.receive_data(memoryview(b"\x99" + bytes(5)))
    answers = [event for _ in range(50) for event in association.receive_data(memoryview(b"\x99" * 600))]
    assert len(answers) == 1


def test_a_sound_pdu_after_a_refused_one_is_still_understood() -> None:
    association = established()
    refused = struct.pack(">BxI", 4, PDU_BYTES_MAX_RECEIVE + 2) + bytes(PDU_BYTES_MAX_RECEIVE + 2)
    association.receive_data(memoryview(refused))
    association.receive_data(memoryview(encode(Abort())))
    assert association.state is State.STA1


def test_nothing_is_told_of_data_after_our_abort() -> None:
    association = established()
    pdu = encode(PDataTF((value(b"0123456789"),)))
    association.receive_data(memoryview(pdu[:-4]))
    association.abort()
    assert association.receive_data(memoryview(pdu[-4:])) == []


def test_nothing_is_read_after_the_end() -> None:
    association = established()
    association.receive_data(memoryview(encode(Abort()) + encode(DATA) + b"\x99" * 100))
    assert association.state is State.STA1
    assert association.receive_data(memoryview(b"\x99" * 100)) == []


def test_an_answer_with_a_syntax_that_was_not_proposed_is_no_accepted_context() -> None:
    association = association_in(Role.REQUESTOR, State.STA5)
    results = (PresentationContextResult(1, ContextResult.ACCEPTANCE, "1.2.840.10008.1.2.4.50"),)
    association.receive_data(memoryview(encode(AssociateAC("A", "B", results))))
    assert association.contexts == {}


def test_data_may_not_be_sent_before_acceptance() -> None:
    with pytest.raises(InvalidRequestError, match="P-DATA"):
        association_in(Role.ACCEPTOR, State.STA3).begin_data()


def test_a_length_field_allocates_nothing() -> None:
    association = Association(Role.ACCEPTOR)
    association.transport_connected()
    tracemalloc.start()
    try:
        association.receive_data(memoryview(struct.pack(">BxI", 1, ASSOCIATE_PDU_BYTES_MAX) + b"abc"))
        assert tracemalloc.get_traced_memory()[1] < 20_000
    finally:
        tracemalloc.stop()


@given(st.lists(st.one_of(st.binary(max_size=200), pdus.map(encode)), max_size=6), st.data())
def test_no_bytes_ever_raise_or_leave_the_table(chunks: list[bytes], data) -> None:
    role = data.draw(st.sampled_from(Role))
    state = data.draw(
        st.sampled_from(
            [
                s
                for s in (State.STA2, State.STA5, State.STA6, State.STA7, State.STA13)
                if (role, s) not in ((Role.ACCEPTOR, State.STA5), (Role.REQUESTOR, State.STA2))
            ]
        )
    )
    association = association_in(role, state)
    for chunk in chunks:
        association.receive_data(memoryview(chunk))
    assert association.state in State


@given(pdus, st.data())
def test_damaged_pdus_never_raise(pdu, data) -> None:
    raw = bytearray(encode(pdu))
    for _ in range(data.draw(st.integers(0, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    whole, single = established(), established()
    events = whole.receive_data(memoryview(raw))
    events_single = [event for byte in raw for event in single.receive_data(memoryview(bytes((byte,))))]
    assert whole.state is single.state
    kinds = [type(event) for event in events if not isinstance(event, PDataFragment)]
    assert kinds == [type(event) for event in events_single if not isinstance(event, PDataFragment)]

"""Frames: every stream whole, then byte by byte; nothing that came is lost."""

from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fileroom.hl7.mllp import HEAD_BYTES_KEPT, Deframer, Frame, FrameError, FrameFault, frame

A = b"MSH|^~\\&|A\rPID|1\r"
B = b"MSH|^~\\&|B\r"


def taken(*pieces: bytes, limit: int = 10_000) -> list[Frame | FrameError]:
    """What comes out when a stream comes in pieces and ends."""
    deframer = Deframer(limit)
    found = [one for piece in pieces for one in deframer.receive(piece)]
    return found + deframer.finish()


def in_short(found: list[Frame | FrameError]) -> list[object]:
    return [one.raw if isinstance(one, Frame) else (one.fault.value, one.raw, one.size) for one in found]


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (frame(A), [A]),
        (frame(A) + frame(B), [A, B]),
        (b"\r\n" + frame(A) + b"\n\n" + frame(B), [A, B]),
        (b"\x0b\x0b" + A + b"\x1c\r", [A]),
        (b"\x0b" + A + frame(B), [("no_end", A, len(A)), B]),
        (b"\x0b" + A + b"\x1c" + frame(B), [A, B]),
        (b"\x0b" + A + b"\x1c\n" + frame(B), [A, B]),
        (b"\x0b" + A + b"\x1c", [A]),
        (b"\x0b" + A, [("no_end", A, len(A))]),
        (b"hello" + frame(A), [("no_start", b"hello", 5), A]),
        (b"hello\x1c\r" + frame(A), [("no_start", b"hello", 5), A]),
        (A + b"\x1c\r" + frame(B), [A, B]),
        (frame(A + B), [A + B]),
        (frame(b"MSH|^~\\&|a\x0bb\rOBX|\x0bMSX"), [b"MSH|^~\\&|a\x0bb\rOBX|\x0bMSX"]),
        (frame(b"MSH|\x1cx"), [b"MSH|\x1cx"]),
        (frame(b""), [b""]),
        (b"\x1c\r\r", []),
        (b"", []),
    ],
)
def test_streams_whole_and_byte_by_byte(stream, expected) -> None:
    assert in_short(taken(stream)) == expected
    assert in_short(taken(*(stream[place : place + 1] for place in range(len(stream))))) == expected


pieces = st.sampled_from(
    [b"\x0b", b"\x1c", b"\r", b"\n", b"MSH", b"FHS", b"|x", b" ", b"\x00", b"y" * 30, b"\x0bMSH|1\x1c\r"]
)


@given(st.lists(pieces, max_size=25), st.lists(st.integers(0, 300), max_size=6))
@example([b"\x0b", b"y" * 30, b"\x1c", b"\x0b", b"MSH"], [])
def test_any_stream_gives_the_same_however_it_is_cut(parts, cuts) -> None:
    stream = b"".join(parts)
    marks = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    whole = taken(stream, limit=100)
    assert taken(*(stream[a:b] for a, b in itertools.pairwise(marks)), limit=100) == whole
    assert taken(*(stream[place : place + 1] for place in range(len(stream))), limit=100) == whole


@given(st.lists(st.binary(max_size=200).filter(lambda raw: b"\x0b" not in raw and b"\x1c" not in raw), max_size=8))
def test_what_is_framed_comes_out(messages) -> None:
    assert [one.raw for one in taken(b"".join(frame(raw) for raw in messages))] == messages


def test_a_message_past_the_limit_is_told_with_its_beginning_and_the_next_is_read() -> None:
    large = b"MSH|^~\\&|L\rOBX|" + b"x" * 1_000_000
    deframer = Deframer(500_000)
    found: list[Frame | FrameError] = []
    held = 0
    for place in range(0, len(large), 10_000):
        found += deframer.receive((b"\x0b" if not place else b"") + large[place : place + 10_000])
        held = max(held, deframer.size)
    found += deframer.receive(b"\x1c\r" + frame(A))
    assert held <= 510_001
    assert deframer.size == 0
    refused, after = found
    assert isinstance(refused, FrameError)
    assert (refused.fault, refused.size, refused.raw) == (FrameFault.TOO_LARGE, len(large), large[:HEAD_BYTES_KEPT])
    assert after == Frame(A)


def test_what_is_left_out_of_a_large_message_makes_no_end_block() -> None:
    # The kept beginning ends with 1CH, and what is kept behind it begins with 0DH.
    large = b"x" * (HEAD_BYTES_KEPT - 1) + b"\x1c" + b"y" * 200_000 + b"\r" + b"z" * 11
    deframer = Deframer(1000)
    assert deframer.receive(b"\x0b" + large) == []
    (refused,) = deframer.receive(b"\x1c\r")
    assert isinstance(refused, FrameError)
    assert refused.size == len(large)


def test_junk_without_end_is_told_in_pieces() -> None:
    found = taken(b"y" * (3 * HEAD_BYTES_KEPT + 5))
    assert [one.size for one in found if isinstance(one, FrameError)] == [HEAD_BYTES_KEPT] * 3 + [5]


def test_fifty_megabytes_in_small_pieces_take_time_in_proportion() -> None:
    piece = b"x" * 65_536
    deframer = Deframer(80_000_000)
    started = time.perf_counter()
    deframer.receive(b"\x0bMSH|")
    for _ in range(800):
        deframer.receive(piece)
    (found,) = deframer.receive(b"\x1c\r")
    assert len(found.raw) == 800 * 65_536 + 4
    assert time.perf_counter() - started < 3


def test_what_waits_for_its_last_byte_is_known() -> None:
    deframer = Deframer(1000)
    deframer.receive(b"\x0b" + A)
    assert not deframer.has_end_mark
    deframer.receive(b"\x1c")
    assert deframer.has_end_mark
    assert deframer.finish() == [Frame(A)]
    assert not deframer.is_inside

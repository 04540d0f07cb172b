"""A document with slots inflates, with Python's own gzip, to the text with the address in it, whatever both are."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import AsyncIterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fileroom.archive.slotted_deflate import (
    FILLER,
    GZIP_HEAD,
    SLOT_BYTES,
    TAIL_BYTES,
    GzipJoiner,
    SlottedDeflater,
    filled,
    read_layout,
    trailer_bytes,
)

texts = st.one_of(
    st.text(max_size=300).map(str.encode),
    st.sampled_from([b'{"vr":"DS","Value":[1.5]}' * 40, bytes(40000), b"/studies/1.2.3" * 3000]),
)
addresses = st.binary(min_size=SLOT_BYTES, max_size=SLOT_BYTES)


def document(pieces: list[bytes]) -> bytes:
    deflater = SlottedDeflater(3)
    out = []
    for index, piece in enumerate(pieces):
        out.append(deflater.slot() if index else b"")
        out.append(deflater.text(piece))
    return b"".join(out) + deflater.end()


async def gzipped(documents: list[bytes], address: bytes, piece_bytes: int) -> bytes:
    joiner = GzipJoiner()
    out = [GZIP_HEAD, joiner.plain(b"[")]
    for one in documents:
        layout = read_layout(one[-trailer_bytes(one[-TAIL_BYTES:]) :])
        body = pieces_of(one[: layout.deflated_bytes], piece_bytes)
        out += [piece async for piece in filled(body, layout.plain_slots, address)]
        joiner.add(layout.filled_crc(address), layout.text_bytes)
        assert len(one) == layout.deflated_bytes + trailer_bytes(one)
    return b"".join([*out, joiner.plain(b"]"), joiner.end()])


async def pieces_of(data: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


@given(st.lists(st.lists(texts, min_size=1, max_size=6), max_size=3), addresses, st.integers(1, 5000))
@example([[b"a", b"b" * (32768 - SLOT_BYTES), b"c"]], b"x" * SLOT_BYTES, 1)
@example([[b"a", b"b" * (32769 - SLOT_BYTES), b"c"]], b"x" * SLOT_BYTES, 1)
@example([[b""], [b"", b"", b""]], b"x" * SLOT_BYTES, 100)
async def test_it_inflates_to_the_filled_text(documents: list[list[bytes]], address: bytes, size: int) -> None:
    expected = b"[" + b"".join(address.join(pieces) for pieces in documents) + b"]"
    assert gzip.decompress(await gzipped([document(pieces) for pieces in documents], address, size)) == expected


@pytest.mark.parametrize("distance", [SLOT_BYTES, 257 + 257, 1024, 1025, 4097, 8192, 8193, 16385, 24577, 32767, 32768])
def test_every_distance_can_be_written(distance: int) -> None:
    between = b"y" * (distance - SLOT_BYTES)
    whole = document([b"<", between, b">"])
    layout = read_layout(whole[-trailer_bytes(whole) :])
    assert len(layout.plain_slots) == 1
    inflated = zlib.decompressobj(-zlib.MAX_WBITS).decompress(whole[: layout.deflated_bytes])
    assert inflated == b"<" + FILLER + between + FILLER + b">"


def test_a_slot_far_behind_is_written_again() -> None:
    whole = document([b"", bytes(40000), b"", bytes(10), b""])
    assert len(read_layout(whole[-trailer_bytes(whole) :]).plain_slots) == 2


def test_something_else_is_no_document() -> None:
    with pytest.raises(ValueError, match="no document"):
        trailer_bytes(bytes(100))

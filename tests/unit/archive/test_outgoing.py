"""Data sets change their encoding in pieces, however they are cut."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator

import pytest

from dicom_bytes import Node, encode, sequence, text
from fileroom.archive import outgoing
from fileroom.archive.outgoing import deflate, recode
from fileroom.core.errors import InvalidObjectError, TooLargeError
from fileroom.dicom import uids
from fileroom.dicom.walk import EXPLICIT_LE, IMPLICIT_LE

IMPLICIT, EXPLICIT = uids.IMPLICIT_VR_LITTLE_ENDIAN, uids.EXPLICIT_VR_LITTLE_ENDIAN
HEADER = [text(0x00100010, "PN", "DOE^JANE"), Node(0x00280103, "US", b"\x01\x00")]
REST = [
    Node(0x7FE00010, "OW", bytes(range(250)) * 3),
    sequence(0xFFFAFFFA, [text(0x04000100, "UI", "1.2")], undefined=False),
    Node(0xFFFCFFFC, "OB", bytes(10)),
]


async def pieces(data: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def joined(chunks: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in chunks])


@pytest.mark.parametrize("size", [1, 7, 10_000])
async def test_what_stands_behind_the_header_is_reencoded_too(size: int) -> None:
    to_implicit = recode(encode(HEADER), pieces(encode(REST), size), EXPLICIT_LE, IMPLICIT)
    assert await joined(to_implicit) == encode([*HEADER, *REST], explicit=False)
    rest = encode(REST, explicit=False)
    to_explicit = recode(encode(HEADER, explicit=False), pieces(rest, size), IMPLICIT_LE, EXPLICIT)
    assert await joined(to_explicit) == encode([*HEADER, *REST])


async def test_the_same_encoding_passes_untouched() -> None:
    data = b"not even elements"
    assert await joined(recode(data, pieces(data, 5), EXPLICIT_LE, EXPLICIT)) == data * 2


async def test_a_rest_that_is_cut_is_told() -> None:
    cut = encode(REST[:1])[:-1]
    with pytest.raises(InvalidObjectError, match="truncated"):
        await joined(recode(encode(HEADER), pieces(cut, 100), EXPLICIT_LE, IMPLICIT))


async def test_a_few_bytes_of_padding_at_the_end_are_dropped() -> None:
    padded = encode(REST) + b"\0\0\0"
    assert await joined(recode(encode(HEADER), pieces(padded, 64), EXPLICIT_LE, IMPLICIT)) == encode(
        [*HEADER, *REST], explicit=False
    )


async def test_encapsulated_pixels_are_not_touched() -> None:
    fragments = encode([sequence(0x7FE00010, [], undefined=True)])
    with pytest.raises(InvalidObjectError, match="undefined length"):
        await joined(recode(encode(HEADER), pieces(fragments, 100), EXPLICIT_LE, IMPLICIT))


async def test_a_sequence_behind_the_header_is_held_in_memory_only_up_to_a_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outgoing, "HEADER_BYTES_MAX", 10)
    with pytest.raises(TooLargeError):
        await joined(recode(encode(HEADER), pieces(encode(REST), 100), EXPLICIT_LE, IMPLICIT))


@pytest.mark.parametrize("length", [0, 1, 1000, 100_000])
async def test_deflated_bytes_inflate_to_the_same_and_have_even_length(length: int) -> None:
    data = bytes(range(256)) * (length // 256) + b"x" * (length % 256)
    packed = await joined(deflate(pieces(data, 1000)))
    assert len(packed) % 2 == 0
    assert zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed) == data

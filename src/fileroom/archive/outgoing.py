"""What happens to a data set on its way out when only its encoding changes, not its values (PS3.5 7.1, A.1, A.2, A.3, A.5).

    big endian ─ turn_rest ─▶ plain elements ─ recode ─▶ implicit or explicit VR ─ deflate ─▶ deflated

Values pass through untouched and in pieces, however long they are.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator
from typing import Final

from fileroom.core.errors import InvalidObjectError, TooLargeError
from fileroom.core.limits import HEADER_BYTES_MAX, STREAM_CHUNK_BYTES
from fileroom.dicom import uids, walk
from fileroom.dicom.big_endian import WORD_BYTES, to_little_endian, turn_header, turned
from fileroom.dicom.header_scan import PIXEL_TAGS, declared_encoding
from fileroom.dicom.reencode import Surroundings, reencode, vr_in
from fileroom.dicom.walk import UNDEFINED_LENGTH, Element, Encoding, RanOutError

SAME_VALUES: Final = frozenset(
    {uids.IMPLICIT_VR_LITTLE_ENDIAN, uids.EXPLICIT_VR_LITTLE_ENDIAN, uids.DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN}
)
"""Transfer syntaxes that hold the same little endian values and differ only around them."""
_LONGEST_HEADER_BYTES: Final = 12
_MAY_HOLD_ITEMS: Final = frozenset({b"SQ", None})


async def chain(first: bytes, more: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """`first`, then the pieces of `more`."""
    yield first
    async for piece in more:
        yield piece


async def turn_rest(rest: AsyncIterator[bytes], pixel_word_bytes: int) -> AsyncIterator[bytes]:
    """What stands behind the header of a big endian data set, in little endian and of the same length, in pieces.

    `pixel_word_bytes` is the size of the words in an OW value of pixel data. An object that ends too early ends so again,
    and what is no element stays as it is.
    """
    stream = _Stream(rest)
    while await stream.fill(_LONGEST_HEADER_BYTES):
        async for piece in _turn_element(stream, pixel_word_bytes):
            yield piece


async def recode(header: bytes, rest: AsyncIterator[bytes], source: Encoding, syntax: str) -> AsyncIterator[bytes]:
    """A data set in pieces (whole elements first, then the rest) in the encoding of a transfer syntax of SAME_VALUES.

    Raises InvalidObjectError when the rest is broken or is made of fragments, TooLargeError for a sequence behind the header
    that is longer than HEADER_BYTES_MAX.
    """
    target = declared_encoding(syntax)
    if source == target:
        async for piece in chain(header, rest):
            yield piece
        return
    around = Surroundings()
    yield await asyncio.to_thread(_whole, header, source, target, around)
    stream = _Stream(rest)
    while await stream.fill(8):
        async for piece in _recode_element(stream, source, target, around):
            yield piece


async def deflate(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Deflate a data set (PS3.5 A.5): without a zlib header, with a null byte at the end where its length is odd."""
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    count = 0
    async for piece in chunks:
        deflated = await asyncio.to_thread(compressor.compress, piece)
        count += len(deflated)
        if deflated:
            yield deflated
    last = compressor.flush()
    yield last + b"\0" * ((count + len(last)) % 2)


def _whole(data: bytes, source: Encoding, target: Encoding, around: Surroundings) -> bytes:
    try:
        return reencode(data, source, target, around)
    except RanOutError:
        raise InvalidObjectError("the header ends inside an element; it cannot be given in another encoding") from None
    except RecursionError:
        raise InvalidObjectError(
            "the header nests sequences too deeply to be given in another encoding; ask for it as it is stored"
        ) from None


async def _turn_element(stream: _Stream, pixel_word_bytes: int) -> AsyncIterator[bytes]:
    """One element behind the header. A value of words is turned while it passes; a sequence must be there as a whole."""
    head = stream.peek(_LONGEST_HEADER_BYTES)
    try:
        tag, vr, value_start, length = walk.element_header(head, 0, len(head), walk.EXPLICIT_BE)
    except RanOutError:
        yield stream.take(len(head))
        return
    if tag == 0 or vr in _MAY_HOLD_ITEMS or length == UNDEFINED_LENGTH:
        try:
            data = await _whole_element(stream, walk.EXPLICIT_BE) if tag else b""
            if data:
                yield await asyncio.to_thread(to_little_endian, data)
                return
        except (InvalidObjectError, TooLargeError):
            pass
        async for piece in stream.rest():
            yield piece
        return
    out = bytearray(head[:value_start])
    turn_header(head, out, 0, value_start, vr)
    yield bytes(out)
    stream.take(value_start)
    word_bytes = WORD_BYTES.get(vr or b"", 1)
    if vr == b"OW" and tag in PIXEL_TAGS:
        word_bytes = pixel_word_bytes
    left = length
    while left and await stream.fill(min(left, word_bytes)):
        data = stream.take_words(min(left, STREAM_CHUNK_BYTES), word_bytes)
        left -= len(data)
        yield turned(data, word_bytes)


async def _recode_element(
    stream: _Stream, source: Encoding, target: Encoding, around: Surroundings
) -> AsyncIterator[bytes]:
    """One element behind the header. Its value is only passed on, except that of a sequence."""
    await stream.fill(_LONGEST_HEADER_BYTES)
    head = stream.peek(_LONGEST_HEADER_BYTES)
    try:
        tag, vr, value_start, length = walk.element_header(head, 0, len(head), source)
    except RanOutError:
        stream.take(len(head))  # A few bytes behind the last element: padding of careless writers.
        return
    is_open = length == UNDEFINED_LENGTH
    if is_open and tag in PIXEL_TAGS:
        raise InvalidObjectError("the pixel data has undefined length, as fragments have; its encoding is not changed")
    found = vr_in(Element(tag, vr, 0, value_start, value_start + length, value_start + length, is_open), around)
    if found == b"SQ" or is_open:
        yield await asyncio.to_thread(_whole, await _whole_element(stream, source), source, target, around)
        return
    stream.take(value_start)
    yield walk.encode_header(tag, found, length, target)
    async for piece in stream.pass_on(length):
        yield piece


async def _whole_element(stream: _Stream, encoding: Encoding) -> bytes:
    """Take the next element, which holds items. Raises TooLargeError past HEADER_BYTES_MAX, InvalidObjectError."""
    size = _LONGEST_HEADER_BYTES
    while True:
        await stream.fill(size)
        there = stream.peek(size)
        try:
            return stream.take(walk.element_at(there, 0, len(there), encoding).end)
        except RanOutError as short:
            if len(there) < size:
                raise InvalidObjectError(
                    "the object ends inside a sequence behind the header; it is truncated"
                ) from None
            size = max(short.needed, 2 * size)
        if size > HEADER_BYTES_MAX:
            raise TooLargeError(
                f"a sequence of more than {HEADER_BYTES_MAX} bytes stands behind the header; its encoding is not changed"
            )


class _Stream:
    """Bytes of an iterator, taken in portions of another size than they come."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self._buffer = b""

    async def fill(self, count: int) -> bool:
        """Have at least `count` bytes if there are so many; False when there are none at all."""
        while len(self._buffer) < count:
            piece = await anext(self._chunks, None)
            if piece is None:
                break
            self._buffer += piece
        return bool(self._buffer)

    def peek(self, count: int) -> bytes:
        """The next bytes, at most what `fill` has got."""
        return self._buffer[:count]

    def take(self, count: int) -> bytes:
        """Take them."""
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken

    def take_words(self, count_max: int, word_bytes: int) -> bytes:
        """At most `count_max` of the bytes that are there: whole words, unless there is not one."""
        count = min(count_max, len(self._buffer))
        return self.take(count - count % word_bytes or count)

    async def rest(self) -> AsyncIterator[bytes]:
        """Everything to the end."""
        while await self.fill(1):
            yield self.take(len(self._buffer))

    async def pass_on(self, count: int) -> AsyncIterator[bytes]:
        """The next `count` bytes in pieces. Raises InvalidObjectError when there are fewer."""
        while count:
            if not await self.fill(1):
                raise InvalidObjectError(f"the object ends {count} bytes before its last element does; it is truncated")
            piece = self.take(min(count, STREAM_CHUNK_BYTES))
            count -= len(piece)
            yield piece

"""Answers in parts: multipart/related from pieces that are read while they go out (PS3.18 8.6.1.2, RFC 2387)."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from fileroom.dicomweb.media_types import Representation
from fileroom.dicomweb.multipart import PART_TAIL, MultipartWriter
from fileroom.web.answers import Answer, Piece

_BOUNDARY_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Part:
    """One part: its Content-Type, where it can be had alone, its body. `length` None: known only at its end."""

    content_type: str
    body: Piece | AsyncIterator[Piece]
    length: int | None = None
    location: str | None = None
    headers: tuple[tuple[str, str], ...] = field(default=())


def multipart_answer(
    representation: Representation, parts: AsyncIterator[Part], headers: dict[str, str] | None = None
) -> Answer:
    """Parts that come one after another; the length is not known."""
    writer = MultipartWriter(secrets.token_hex(_BOUNDARY_BYTES))
    content_type = representation.body_content_type(writer.boundary)
    return Answer(200, {**(headers or {}), "content-type": content_type}, _streamed(writer, parts))


def sized_multipart_answer(
    content_type: str, parts: Sequence[Part], *, status: int = 200, headers: dict[str, str] | None = None
) -> Answer:
    """Parts whose lengths are all known: the answer has Content-Length. `content_type` is that of the parts' type."""
    writer = MultipartWriter(secrets.token_hex(_BOUNDARY_BYTES))
    heads = [writer.part_head(part.content_type, part.location, part.headers) for part in parts]
    length = len(writer.tail)
    for head, part in zip(heads, parts, strict=True):
        body_length = part.length if isinstance(part.body, AsyncIterator) else len(part.body)
        if body_length is None:
            raise ValueError("a part of a sized answer has no length")
        length += len(head) + body_length + len(PART_TAIL)
    all_headers = {**(headers or {}), "content-type": f"{content_type}; boundary={writer.boundary}"}
    pieces: list[Piece] = []
    for head, part in zip(heads, parts, strict=True):
        if isinstance(part.body, AsyncIterator):
            break
        pieces += (head, part.body, PART_TAIL)
    else:
        return Answer(status, all_headers, (*pieces, writer.tail))
    return Answer(status, all_headers, _sized(writer, heads, parts), length)


async def _streamed(writer: MultipartWriter, parts: AsyncIterator[Part]) -> AsyncIterator[Piece]:
    between = b""
    async for part in parts:
        yield between + writer.part_head(part.content_type, part.location, part.headers)
        async for piece in _body(part):
            yield piece
        between = PART_TAIL
    yield between + writer.tail


async def _sized(writer: MultipartWriter, heads: list[bytes], parts: Sequence[Part]) -> AsyncIterator[Piece]:
    between = b""
    for head, part in zip(heads, parts, strict=True):
        yield between + head
        async for piece in _body(part):
            yield piece
        between = PART_TAIL
    yield between + writer.tail


async def _body(part: Part) -> AsyncIterator[Piece]:
    if not isinstance(part.body, AsyncIterator):
        yield part.body
        return
    async for piece in part.body:
        yield piece

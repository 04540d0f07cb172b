"""What a handler returns, and the few ways to make it: JSON that is compressed where it pays, parts, pieces of files.

An `Answer` is only a description; `web.endpoint` sends it. Bodies whose length is known carry Content-Length, which
saves the server a copy of every piece; others go out in chunks.
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import orjson

from fileroom.core.limits import GZIP_BYTES_MIN, GZIP_PIECE_BYTES

Piece = bytes | bytearray | memoryview
Body = Piece | tuple[Piece, ...] | AsyncIterator[Piece]
"""All of it, all of it in pieces, or pieces as they come."""

PRIVATE: Final = "private, no-cache"
"""Patient data: no shared cache may keep it, and a browser's own asks before it uses it again."""
NO_STORE: Final = "no-store"
GZIP_LEVEL: Final = 1
"""DICOM JSON shrinks to about a tenth at every level; the lowest costs a third of the usual one's time."""
_GZIP_WINDOW: Final = 31
"""zlib's word for: 32 KiB window, gzip header and trailer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers (names in lower case) and body. `length` is the body's where it streams and is known."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body = b""
    length: int | None = None

    def with_headers(self, headers: Mapping[str, str]) -> Answer:
        """The same with these headers added or changed."""
        return replace(self, headers={**self.headers, **headers})


def json_answer(value: object, *, status: int = 200, media_type: str = "application/json") -> Answer:
    """A small JSON document that is never cached."""
    return Answer(status, {"content-type": media_type, "cache-control": NO_STORE}, orjson.dumps(value))


def accepted_codings(header: str | None) -> dict[str, float]:
    """The content codings that Accept-Encoding names, with their weights (RFC 9110 12.5.3)."""
    weights: dict[str, float] = {}
    for member in (header or "").lower().split(","):
        coding, _, parameters = member.partition(";")
        name, _, value = parameters.strip().partition("=")
        try:
            weights[coding.strip()] = float(value) if name.strip() == "q" else 1.0
        except ValueError:
            weights[coding.strip()] = 0.0
    return weights


def accepts_gzip(header: str | None) -> bool:
    """True where Accept-Encoding allows gzip."""
    weights = accepted_codings(header)
    return weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0))) > 0


def compressed(answer: Answer, accept_encoding: str | None) -> Answer:
    """The answer as gzip where the client takes it and it is not tiny."""
    if isinstance(answer.body, (tuple, bytearray, memoryview)):
        raise TypeError("only text is compressed, and that is made as bytes or streamed")
    small = isinstance(answer.body, bytes) and len(answer.body) < GZIP_BYTES_MIN
    marked = answer.with_headers({"vary": _vary(answer.headers.get("vary"))})
    if small or not accepts_gzip(accept_encoding):
        return marked
    headers = {**marked.headers, "content-encoding": "gzip"}
    if "etag" in headers and not headers["etag"].startswith("W/"):
        headers["etag"] = "W/" + headers["etag"]
    if isinstance(answer.body, bytes) and len(answer.body) <= GZIP_PIECE_BYTES:
        return Answer(answer.status, headers, zlib.compress(answer.body, GZIP_LEVEL, wbits=_GZIP_WINDOW))
    return Answer(answer.status, headers, _gzip(answer.body))


async def before_first(pieces: AsyncIterator[Piece]) -> AsyncIterator[Piece]:
    """The same pieces, the first of them made already: what fails before it can still become a proper error answer."""
    try:
        first = await anext(pieces)
    except StopAsyncIteration:
        return _nothing()
    return _chained(first, pieces)


async def _gzip(body: bytes | AsyncIterator[Piece]) -> AsyncIterator[Piece]:
    encoder = zlib.compressobj(GZIP_LEVEL, wbits=_GZIP_WINDOW)
    started = False
    async for piece in _pieces(body):
        data = encoder.compress(piece)
        if not started:
            # The client shall see the first bytes at once, not when the encoder's buffer is full.
            data += encoder.flush(zlib.Z_SYNC_FLUSH)
            started = True
        if data:
            yield data
    yield encoder.flush()


async def _pieces(body: bytes | AsyncIterator[Piece]) -> AsyncIterator[Piece]:
    if isinstance(body, bytes):
        view = memoryview(body)
        for start in range(0, len(view), GZIP_PIECE_BYTES):
            yield view[start : start + GZIP_PIECE_BYTES]
        return
    async for piece in body:
        yield piece


async def _nothing() -> AsyncIterator[Piece]:
    return
    yield b""


async def _chained(first: Piece, rest: AsyncIterator[Piece]) -> AsyncIterator[Piece]:
    yield first
    async for piece in rest:
        yield piece


def _vary(existing: str | None) -> str:
    return f"{existing}, Accept-Encoding" if existing else "Accept-Encoding"

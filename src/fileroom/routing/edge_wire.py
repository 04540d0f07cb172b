"""What both ends of the edge link agree on: addresses, header fields, limits. No I/O.

POST /edge/v1/hello               who I am, how late it is here, what waits here; what the centre allows
HEAD /edge/v1/objects/{sha256}    how much of an object the centre has
PUT  /edge/v1/objects/{sha256}    a piece of it: Content-Range (RFC 9110 14.4), Content-Digest (RFC 9530)
GET  /edge/v1/offers              what waits for the edge; answers when there is something, or after a while
GET  /edge/v1/offers/{id}         one of them, with Range
POST /edge/v1/outcomes            what became of them
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Final

from fileroom.core.errors import InvalidRequestError
from fileroom.core.limits import KIB, MIB

EDGE_PATH: Final = "/edge/v1"

OBJECT_BYTES_MAX: Final = 16 * 1024 * MIB
"""A whole slide image of pathology has up to some GB."""
PIECE_BYTES_MAX: Final = 32 * MIB
"""Of one request: it is lost at most when a connection breaks in a way that nothing of it arrives."""
PIECE_BYTES_MIN: Final = 64 * KIB
PIECE_BYTES_DEFAULT: Final = 4 * MIB
"""At 10 Mbit/s three seconds; nearly every CT or MR image is one piece."""
UNFINISHED_OBJECTS_MAX: Final = 200
"""Of one edge: sixteen lanes with some objects in flight each, and what broken ones have left."""
UNFINISHED_BYTES_MAX: Final = 64 * 1024 * MIB
"""Of one edge, on the centre's disk."""
UNFINISHED_DAYS: Final = 2
"""Parts that nobody continues are removed; a line is seldom away longer, and what is lost then is sent again."""
STALL_S: Final = 30.0
"""How long a piece may stand still before its request counts as dead; what arrived stays."""
OFFERS_MAX: Final = 64
"""In one answer. An edge fetches a few at a time."""
WAIT_S_MAX: Final = 30.0
"""Of a long poll. NAT tables forget silent connections after a minute or more."""
HELLO_EVERY_S: Final = 15.0
OUTCOMES_MAX: Final = 500
TEXT_CHARS_MAX: Final = 500
"""Of one text from the other end: a version, a cause."""
JSON_BYTES_MAX: Final = 1 * MIB
"""Of one JSON body: the outcomes of 500 objects have 300 KB at most."""
RECEIVED_DAYS: Final = 7
"""How long a digest is remembered as taken."""

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_RANGE: Final = re.compile(r"bytes ([0-9]{1,15})-([0-9]{1,15})/([0-9]{1,15})")
_DIGEST: Final = re.compile(r"sha-256=:([A-Za-z0-9+/=]{44}):")


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes `start` to `end` (not included) of an object of `total` bytes."""

    start: int
    end: int
    total: int

    @property
    def is_whole(self) -> bool:
        """The object is this one piece."""
        return self.start == 0 and self.end == self.total

    @property
    def is_last(self) -> bool:
        """Nothing comes behind it."""
        return self.end == self.total

    def __str__(self) -> str:
        return f"bytes {self.start}-{self.end - 1}/{self.total}"


def read_sha256(text: str) -> str:
    """Raises InvalidRequestError."""
    if not _SHA256.fullmatch(text):
        raise InvalidRequestError("An object's address ends in its SHA-256: 64 digits 0-9 and a-f.")
    return text


def read_content_range(text: str) -> Piece:
    """Raises InvalidRequestError, also for what is past a limit."""
    found = _RANGE.fullmatch(text.strip())
    if found is None:
        raise InvalidRequestError("A piece needs Content-Range: bytes FIRST-LAST/ALL (RFC 9110 14.4).")
    first, last, total = map(int, found.groups())
    if not first <= last < total or total > OBJECT_BYTES_MAX or last - first >= PIECE_BYTES_MAX:
        raise InvalidRequestError(
            f"The piece {text[:80]} cannot be: at most {PIECE_BYTES_MAX} bytes at once, of at most {OBJECT_BYTES_MAX}."
        )
    return Piece(first, last + 1, total)


def content_digest(digest: bytes) -> str:
    """The header field of RFC 9530 for a SHA-256."""
    return f"sha-256=:{base64.b64encode(digest).decode()}:"


def read_content_digest(text: str) -> bytes:
    """The SHA-256 in a Content-Digest. Raises InvalidRequestError."""
    found = _DIGEST.search(text[:1000])
    if found is not None:
        try:
            digest = base64.b64decode(found[1], validate=True)
        except binascii.Error:
            digest = b""
        if len(digest) == 32:
            return digest
    raise InvalidRequestError("A piece needs Content-Digest: sha-256=:BASE64: (RFC 9530).")


def read_turn(text: str) -> tuple[str, int]:
    """Order and place of `ORDER/PLACE`; an empty order without. Raises InvalidRequestError."""
    if not text:
        return "", 0
    found = re.fullmatch(r"([0-9a-f]{16})/([0-9]{1,9})", text)
    if found is None:
        raise InvalidRequestError("Edge-Turn is ORDER/PLACE.")
    return found[1], int(found[2])


def read_range_start(text: str | None) -> int:
    """The first byte of `bytes=N-`; 0 without. Raises InvalidRequestError."""
    if not text:
        return 0
    found = re.fullmatch(r"bytes=([0-9]{1,15})-", text.strip())
    if found is None:
        raise InvalidRequestError("Range here is bytes=FIRST-.")
    return int(found[1])


def short_text(value: object, most: int = TEXT_CHARS_MAX) -> str:
    """A text of the other end, fit to be stored and shown."""
    text = value if isinstance(value, str) else ""
    return "".join(one for one in text[:most] if one.isprintable())

"""The Range header of bulk data requests (RFC 9110 14.1, 14.2 and 15.5.17)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from fileroom.core.errors import InvalidRequestError
from fileroom.core.limits import BYTE_RANGES_MAX

_RANGE: Final = re.compile(r"([0-9]{0,18})-([0-9]{0,18})")


class UnsatisfiableRangeError(InvalidRequestError):
    """No byte that was asked for exists: 416, with `Content-Range: bytes */total`."""

    def __init__(self, header: str, total: int) -> None:
        super().__init__(f"Range {header[:80]!r} lies outside the {total} bytes that there are")
        self.total = total


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes from `start` up to, not including, `stop`. Never empty."""

    start: int
    stop: int

    def content_range(self, total: int) -> str:
        """The value of Content-Range for this part of `total` bytes."""
        return f"bytes {self.start}-{self.stop - 1}/{total}"


def parse_range(header: str | None, total: int) -> tuple[ByteRange, ...] | None:
    """The ranges to send of `total` bytes, in the order asked; None means all of it with status 200.

    A header that is malformed, in another unit, or asks for more ranges than makes sense is ignored, as RFC 9110 14.2
    allows. Ranges that overlap are joined, so that no byte is sent twice.

    Raises:
        UnsatisfiableRangeError: the header is sound and none of its ranges holds a byte.
    """
    if header is None:
        return None
    unit, equals, listed = header.partition("=")
    members = [member.strip() for member in listed.split(",") if member.strip()]
    if not equals or unit.strip().lower() != "bytes" or not 1 <= len(members) <= BYTE_RANGES_MAX:
        return None
    ranges: list[ByteRange] = []
    for member in members:
        match = _RANGE.fullmatch(member)
        if match is None or member == "-" or (match[1] and match[2] and int(match[2]) < int(match[1])):
            return None
        start, stop = _bounds(match[1], match[2], total)
        if start < stop:
            ranges.append(ByteRange(start, stop))
    if not ranges:
        raise UnsatisfiableRangeError(header, total)
    return _joined(ranges)


def _bounds(first: str, last: str, total: int) -> tuple[int, int]:
    if not first:
        return max(total - int(last), 0), total
    return int(first), min(int(last) + 1, total) if last else total


def _joined(ranges: list[ByteRange]) -> tuple[ByteRange, ...]:
    """The ranges as they are, or, if some overlap, the fewest that cover them, from low to high."""
    ordered = sorted(ranges, key=lambda one: one.start)
    covering = [ordered[0]]
    for one in ordered[1:]:
        before = covering[-1]
        if one.start < before.stop:
            covering[-1] = ByteRange(before.start, max(before.stop, one.stop))
        else:
            covering.append(one)
    return tuple(ranges if len(covering) == len(ranges) else covering)

"""The Range header: what RFC 9110 gives as examples, and what it leaves open."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fileroom.core.limits import BYTE_RANGES_MAX
from fileroom.dicomweb.byte_ranges import ByteRange, UnsatisfiableRangeError, parse_range


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("bytes=0-499", [(0, 500)]),
        ("Bytes = 500-999", [(500, 1000)]),
        ("bytes=9500-", [(9500, 10000)]),
        ("bytes=-500", [(9500, 10000)]),
        ("bytes=-20000", [(0, 10000)]),
        ("bytes=0-99999", [(0, 10000)]),
        ("bytes=500-600,0-0,-1", [(500, 601), (0, 1), (9999, 10000)]),
        ("bytes=0-9, 20000-30000", [(0, 10)]),
        ("bytes=0-9,5-20,30-30", [(0, 21), (30, 31)]),
        ("bytes=5-4", None),
        ("bytes=-", None),
        ("bytes=a-b", None),
        ("bytes", None),
        ("bytes=", None),
        ("lines=1-2", None),
        ("bytes=" + ",".join(["0-0"] * (BYTE_RANGES_MAX + 1)), None),
    ],
)
def test_header_gives_the_ranges_or_is_ignored(header: str | None, expected: list[tuple[int, int]] | None) -> None:
    found = parse_range(header, 10_000)
    assert found == (expected and tuple(ByteRange(start, stop) for start, stop in expected))


@pytest.mark.parametrize(("header", "total"), [("bytes=10-", 10), ("bytes=-0", 10), ("bytes=0-", 0), ("bytes=-5", 0)])
def test_range_without_any_byte_is_told_with_the_total(header: str, total: int) -> None:
    with pytest.raises(UnsatisfiableRangeError) as raised:
        parse_range(header, total)
    assert raised.value.total == total


def test_content_range_names_the_last_byte() -> None:
    assert ByteRange(0, 500).content_range(10_000) == "bytes 0-499/10000"


@settings(max_examples=100, deadline=None)
@given(st.one_of(st.text(max_size=20), st.text(alphabet="bytes=0123456789-, ", max_size=30)), st.integers(0, 10**6))
def test_any_header_gives_sound_ranges(header: str, total: int) -> None:
    try:
        found = parse_range("bytes=" + header, total)
    except UnsatisfiableRangeError:
        return
    assert all(0 <= one.start < one.stop <= total for one in found or ())

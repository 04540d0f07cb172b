"""Where frames lie: native and encapsulated, with good, odd and hostile tables."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fileroom.core.errors import InvalidObjectError, NotFoundError, TooLargeError
from fileroom.core.limits import FRAMES_MAX
from fileroom.dicom import uids
from fileroom.pixels.frames import frame_bytes, frame_table, iter_frames
from fileroom.pixels.source import open_source
from pixel_objects import DELIMITER, bundled, encapsulated_file, header, item, native_file, source_of

JPEG = uids.JPEG_BASELINE
SOI = b"\xff\xd8"


def frames_of(data: bytes) -> list[bytes]:
    source = source_of(data)
    return list(iter_frames(frame_table(source), source.read))


def offsets_of(fragments: list[bytes], firsts: list[int]) -> list[int]:
    starts, position = [], 0
    for fragment in fragments:
        starts.append(position)
        position += 8 + len(fragment)
    return [starts[index] for index in firsts]


# --- native ---


def test_native_frames_follow_each_other() -> None:
    pixels = bytes(range(48))
    data = native_file(header(2, 4, NumberOfFrames="3"), pixels)
    source = source_of(data)
    table = frame_table(source)
    assert table.count == 3
    assert not table.is_encapsulated
    assert list(iter_frames(table, source.read)) == [pixels[:16], pixels[16:32], pixels[32:]]
    offset, length = table.segments(1)[0]
    assert data[offset : offset + length] == pixels[16:32]


def test_one_bit_frames_are_moved_to_a_byte_boundary() -> None:
    bits = np.random.default_rng(1).integers(0, 2, (3, 15), dtype=np.uint8)
    packed = np.packbits(bits.ravel(), bitorder="little").tobytes()
    found = frames_of(native_file(header(3, 5, bits=1, NumberOfFrames="3"), packed))
    unpacked = [np.unpackbits(np.frombuffer(frame, np.uint8), bitorder="little")[:15] for frame in found]
    assert np.array_equal(unpacked, bits)


def test_bytes_in_big_endian_words_are_put_in_order() -> None:
    pixels = bytes(range(18))
    swapped = np.frombuffer(pixels, "<u2").byteswap().tobytes()
    made = header(3, 3, bits=8, NumberOfFrames="2")
    assert frames_of(native_file(made, swapped, syntax=uids.EXPLICIT_VR_BIG_ENDIAN)) == [pixels[:9], pixels[9:]]
    as_bytes = native_file(made, pixels, syntax=uids.EXPLICIT_VR_BIG_ENDIAN, vr=b"OB")
    assert frames_of(as_bytes) == [pixels[:9], pixels[9:]]


def test_half_chroma_frames_have_two_samples_per_pixel_unless_the_length_says_three() -> None:
    made = header(2, 2, bits=8, SamplesPerPixel=3, PlanarConfiguration=0, PhotometricInterpretation="YBR_FULL_422")
    assert [len(frame) for frame in frames_of(native_file(made, bytes(8)))] == [8]
    assert [len(frame) for frame in frames_of(native_file(made, bytes(12)))] == [12]


def test_a_truncated_object_still_gives_the_frames_before_its_end() -> None:
    source = source_of(native_file(header(2, 4, NumberOfFrames="3"), bytes(range(40))))
    table = frame_table(source)
    assert frame_bytes(table, 1, source.read) == bytes(range(16, 32))
    with pytest.raises(InvalidObjectError, match="frame 3 ends at byte 48 of the pixel data, which has only 40"):
        table.segments(2)


def test_a_frame_that_is_not_there_is_not_found() -> None:
    table = frame_table(source_of(native_file(header(1, 1), bytes(2))))
    for index in (-1, 1):
        with pytest.raises(NotFoundError):
            table.segments(index)


def test_native_syntax_with_fragments_is_refused() -> None:
    data = encapsulated_file(header(1, 1), [b"ab"], syntax=uids.EXPLICIT_VR_LITTLE_ENDIAN)
    with pytest.raises(InvalidObjectError, match="wrong transfer syntax"):
        frame_table(source_of(data))


def test_an_object_without_pixels_has_no_frames() -> None:
    source = source_of(native_file(header(1, 1), b"")[:-12])
    assert source.place is None
    with pytest.raises(NotFoundError):
        frame_table(source)


@pytest.mark.parametrize("frames", [FRAMES_MAX + 1, 2**31 - 1])
def test_absurd_frame_counts_are_refused_before_any_allocation(frames: int) -> None:
    made = header(1, 1, bits=8, NumberOfFrames=str(frames))
    for data in (native_file(made, bytes(2)), encapsulated_file(made, [SOI], syntax=JPEG)):
        with pytest.raises(InvalidObjectError, match="NumberOfFrames"):
            frame_table(source_of(data))


def test_a_frame_too_large_for_memory_is_refused_but_its_place_is_told() -> None:
    data = native_file(header(20000, 20000), b"")[:-4] + struct.pack("<I", 800_000_000)
    source = open_source(lambda offset, length: data[offset : offset + length], 2**30)
    table = frame_table(source)
    assert table.segments(0) == ((len(data), 800_000_000),)
    with pytest.raises(TooLargeError):
        frame_bytes(table, 0, source.read)


# --- encapsulated ---


def test_one_fragment_per_frame_without_table() -> None:
    frames = [SOI + bytes([i]) * (2 * i) for i in range(5)]
    made = header(1, 1, NumberOfFrames="5")
    assert frames_of(encapsulated_file(made, frames, syntax=JPEG)) == frames


def test_the_basic_offset_table_joins_fragments() -> None:
    fragments = [b"aaaa", b"bb", b"cccc", b"dd", b"eeee"]
    data = encapsulated_file(
        header(1, 1, NumberOfFrames="2"), fragments, syntax=JPEG, offsets=offsets_of(fragments, [0, 3])
    )
    table = frame_table(source_of(data))
    assert table.has_offset_table
    assert len(table.segments(0)) == 3
    assert frames_of(data) == [b"aaaabbcccc", b"ddeeee"]


def test_without_table_frames_begin_where_codestreams_begin() -> None:
    fragments = [SOI + b"aa", b"bb", SOI + b"cc", SOI + b"dd", b"ee", b"ff"]
    data = encapsulated_file(header(1, 1, NumberOfFrames="3"), fragments, syntax=JPEG)
    assert frames_of(data) == [SOI + b"aabb", SOI + b"cc", SOI + b"ddeeff"]


def test_a_single_frame_takes_all_fragments() -> None:
    data = encapsulated_file(header(1, 1), [b"ab", b"cd", b"ef"], syntax=JPEG)
    assert frames_of(data) == [b"abcdef"]


@pytest.mark.parametrize("offsets", [[0, 9], [0, 0], [4, 8], [0, 999999], [0]])
def test_a_wrong_basic_offset_table_is_not_trusted(offsets: list[int]) -> None:
    data = encapsulated_file(header(1, 1, NumberOfFrames="2"), [b"abcd", b"ef"], syntax=JPEG, offsets=offsets)
    assert frames_of(data) == [b"abcd", b"ef"]
    assert not frame_table(source_of(data)).has_offset_table


def test_the_extended_offset_table_spares_the_walk() -> None:
    fragments = [bytes([i]) * 20000 for i in range(50)]
    made = header(1, 1, NumberOfFrames="50")
    made.ExtendedOffsetTable = struct.pack("<50Q", *offsets_of(fragments, list(range(50))))
    made.ExtendedOffsetTableLengths = struct.pack("<50Q", *[20000] * 50)
    data = encapsulated_file(made, fragments, syntax=JPEG)
    reads: list[tuple[int, int]] = []

    def read(offset: int, length: int) -> bytes:
        reads.append((offset, length))
        return data[offset : offset + length]

    source = open_source(read, len(data))
    reads.clear()
    table = frame_table(source)
    assert table.has_offset_table
    assert len(reads) <= 4
    assert sum(length for _, length in reads) < 20000
    assert list(iter_frames(table, read)) == fragments


def test_a_contradicting_extended_offset_table_is_not_trusted() -> None:
    fragments = [b"abcd", b"ef"]
    for offsets, lengths in [([0, 13], [4, 2]), ([0, 12], [4, 200]), ([0, 2**63], [4, 2]), ([0], [4])]:
        made = header(1, 1, NumberOfFrames="2")
        made.ExtendedOffsetTable = struct.pack(f"<{len(offsets)}Q", *offsets)
        made.ExtendedOffsetTableLengths = struct.pack(f"<{len(lengths)}Q", *lengths)
        assert frames_of(encapsulated_file(made, fragments, syntax=JPEG)) == fragments


def test_video_is_one_stream_over_all_fragments() -> None:
    made = header(1, 1, NumberOfFrames="250")
    source = source_of(encapsulated_file(made, [b"mpeg", b"more"], syntax="1.2.840.10008.1.2.4.102"))
    table = frame_table(source)
    assert (table.count, table.is_video) == (1, True)
    assert frame_bytes(table, 0, source.read) == b"mpegmore"


@pytest.mark.parametrize("tail", [b"", bytes(8), b"\xfc\xff\xfc\xffOB\0\0", DELIMITER[:5]])
def test_a_missing_delimiter_is_forgiven(tail: bytes) -> None:
    data = encapsulated_file(header(1, 1, NumberOfFrames="2"), [b"ab", b"cd"], syntax=JPEG, delimiter=tail)
    assert frames_of(data) == [b"ab", b"cd"]


def test_a_delimiter_inside_a_fragment_is_just_data() -> None:
    fragments = [b"a" + DELIMITER + b"b", item(b"cc")]
    assert frames_of(encapsulated_file(header(1, 1, NumberOfFrames="2"), fragments, syntax=JPEG)) == fragments


@pytest.mark.parametrize(
    ("tail", "message"),
    [
        (struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFF0), "past the end of the object"),
        (struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF), "undefined length"),
        (b"\x10\x00\x10\x00\x02\x00\x00\x00", "where a fragment should begin"),
    ],
)
def test_hostile_fragments_are_refused(tail: bytes, message: str) -> None:
    data = encapsulated_file(header(1, 1), [b"ab"], syntax=JPEG, delimiter=tail)
    with pytest.raises(InvalidObjectError, match=message):
        frame_table(source_of(data))


def test_fewer_fragments_than_frames_are_refused() -> None:
    data = encapsulated_file(header(1, 1, NumberOfFrames="3"), [b"ab", b"cd"], syntax=JPEG)
    with pytest.raises(InvalidObjectError, match="declares 3 frames but has only 2 fragments"):
        frame_table(source_of(data))


def test_fragments_that_no_rule_assigns_are_refused() -> None:
    data = encapsulated_file(header(1, 1, NumberOfFrames="2"), [b"ab", b"cd", b"ef"], syntax=JPEG)
    with pytest.raises(InvalidObjectError, match="cannot be told"):
        frame_table(source_of(data))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=80), st.integers(1, 3))
def test_arbitrary_bytes_give_frames_or_a_clear_error(body: bytes, frames: int) -> None:
    data = encapsulated_file(header(1, 1, NumberOfFrames=str(frames)), [], syntax=JPEG, delimiter=body)
    source = source_of(data)
    try:
        table = frame_table(source)
        for index in range(table.count):
            for offset, length in table.segments(index):
                assert 0 <= offset <= offset + length <= len(data)
    except InvalidObjectError:
        pass


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.binary(min_size=2, max_size=40), min_size=1, max_size=4), min_size=1, max_size=6))
def test_any_grouping_of_fragments_survives_the_basic_offset_table(groups: list[list[bytes]]) -> None:
    fragments = [fragment for group in groups for fragment in group]
    firsts = [sum(len(group) for group in groups[:index]) for index in range(len(groups))]
    data = encapsulated_file(
        header(1, 1, NumberOfFrames=str(len(groups))), fragments, syntax=JPEG, offsets=offsets_of(fragments, firsts)
    )
    assert frames_of(data) == [b"".join(group) for group in groups]


# --- whole objects ---


def test_a_deflated_object_is_inflated_for_its_pixels() -> None:
    source = bundled("image_dfl.dcm")
    assert len(frame_bytes(frame_table(source), 0, source.read)) == 512 * 512


def test_only_the_header_is_read_of_a_large_object() -> None:
    head = native_file(header(1000, 1000, NumberOfFrames="1000"), b"")[:-4] + struct.pack("<I", 2_000_000_000)
    total = len(head) + 2_000_000_000
    reads: list[int] = []

    def read(offset: int, length: int) -> bytes:
        reads.append(length)
        return (head + bytes(100_000))[offset : offset + length] if offset < len(head) else bytes(length)

    source = open_source(read, total)
    table = frame_table(source)
    assert sum(reads) <= 128 * 1024
    assert table.segments(999) == ((len(head) + 999 * 2_000_000, 2_000_000),)

"""Multipart bodies: whole, byte by byte, split anywhere, malformed."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fileroom.core.errors import InvalidRequestError, RequestError, TooLargeError
from fileroom.core.limits import MULTIPART_HEADER_BYTES_MAX, MULTIPART_PREAMBLE_BYTES_MAX
from fileroom.dicomweb.media_types import parse_media_type
from fileroom.dicomweb.multipart import (
    PART_TAIL,
    End,
    Event,
    MultipartParser,
    MultipartWriter,
    PartBegin,
    PartData,
    PartEnd,
    boundary_of,
)

Part = tuple[tuple[tuple[str, str], ...], bytes]


def gather(events: list[Event]) -> list[Part]:
    """The parts that a whole list of events describes; fails if the events do not alternate as promised."""
    parts: list[Part] = []
    headers: tuple[tuple[str, str], ...] | None = None
    body = b""
    ended = False
    for event in events:
        assert not ended
        match event:
            case PartBegin():
                assert headers is None
                headers, body = event.headers, b""
            case PartData():
                assert headers is not None
                assert len(event.data) > 0
                body += bytes(event.data)
            case PartEnd():
                assert headers is not None
                parts.append((headers, body))
                headers = None
            case End():
                assert headers is None
                ended = True
    assert ended
    return parts


def read(body: bytes, boundary: str = "BOUNDARY", cuts: tuple[int, ...] = ()) -> list[Part]:
    parser = MultipartParser(boundary)
    events: list[Event] = []
    edges = [0, *sorted({min(cut, len(body)) for cut in cuts}), len(body)]
    for start, end in itertools.pairwise(edges):
        events += parser.feed(body[start:end])
    parser.close()
    return gather(events)


def write(parts: list[tuple[str, bytes]], boundary: str = "BOUNDARY") -> bytes:
    writer = MultipartWriter(boundary)
    return b"".join(writer.part_head(kind) + body + PART_TAIL for kind, body in parts) + writer.tail


TWO_PARTS = write([("application/dicom", b"first\r\n--BOUND\r\nrest\r"), ("text/plain", b"")])


def test_two_parts_are_read_whole_and_byte_by_byte() -> None:
    expected = [
        ((("content-type", "application/dicom"),), b"first\r\n--BOUND\r\nrest\r"),
        ((("content-type", "text/plain"),), b""),
    ]
    assert read(TWO_PARTS) == expected
    assert read(TWO_PARTS, cuts=tuple(range(len(TWO_PARTS)))) == expected


# Bodies made of the pieces that a boundary is made of are the ones that could be mistaken for it.
tricky_bodies = st.lists(
    st.sampled_from([b"\r", b"\n", b"--", b"-", b"BOUNDARY", b"BOUND", b" ", b"x", b"\0"]), max_size=12
).map(b"".join)


def is_lawful(body: bytes) -> bool:
    """RFC 2046 5.1.1: the boundary delimiter must not occur in a part, nor begin at the part's first byte."""
    return b"\n--BOUNDARY" not in b"\n" + body


@settings(max_examples=100, deadline=None)
@given(
    bodies=st.lists(tricky_bodies.filter(is_lawful), max_size=4),
    cuts=st.lists(st.integers(0, 300), max_size=8),
)
def test_any_split_gives_back_the_parts_that_were_written(bodies: list[bytes], cuts: list[int]) -> None:
    parts = [("application/octet-stream", body) for body in bodies]
    stream = write(parts) + b"epilogue"
    assert [body for _, body in read(stream, cuts=tuple(cuts))] == bodies


@settings(max_examples=100, deadline=None)
@given(
    stream=st.lists(
        st.sampled_from([b"\r\n", b"\n", b"--BOUNDARY", b"--", b"a:b", b" ", b"\t", b"x", b"\xff"]), max_size=25
    ).map(b"".join),
    cuts=st.lists(st.integers(0, 120), max_size=6),
)
def test_any_split_of_any_bytes_ends_alike_and_only_in_a_request_error(stream: bytes, cuts: list[int]) -> None:
    def outcome(at: tuple[int, ...]) -> list[Part] | str:
        try:
            return read(stream, cuts=at)
        except RequestError as error:
            return str(error)

    assert outcome(tuple(cuts)) == outcome(())


def test_body_of_a_large_part_is_handed_out_as_one_view_per_chunk_without_a_copy() -> None:
    parser = MultipartParser("BOUNDARY")
    parser.feed(MultipartWriter("BOUNDARY").part_head("application/dicom") + b"x")
    chunk = b"\x01" * 500_000
    events = parser.feed(chunk)
    assert len(events) == 1
    assert isinstance(events[0], PartData)
    assert events[0].data.obj is chunk


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_bytes_like_chunk_is_taken(kind: type) -> None:
    assert gather(MultipartParser("BOUNDARY").feed(kind(TWO_PARTS)))[0][1] == b"first\r\n--BOUND\r\nrest\r"


def test_preamble_epilogue_padding_and_bare_line_feeds_are_tolerated() -> None:
    stream = b"hello\n--BOUNDARY  \t\nA: 1\n\nbody\n--BOUNDARY--\nbye\n--BOUNDARY\n"
    assert read(stream) == [((("a", "1"),), b"body")]


def test_part_without_headers_and_empty_part_without_its_own_line_break() -> None:
    assert read(b"--BOUNDARY\r\n\r\nx\r\n--BOUNDARY--") == [((), b"x")]
    assert read(b"--BOUNDARY\r\nA: 1\r\n\r\n--BOUNDARY--") == [((("a", "1"),), b"")]


def test_longer_boundary_in_the_body_is_not_taken_for_the_boundary() -> None:
    assert read(b"--BOUNDARY\r\n\r\na\r\n--BOUNDARYX\r\nb\r\n--BOUNDARY--") == [((), b"a\r\n--BOUNDARYX\r\nb")]


def test_folded_header_is_joined_and_value_keeps_its_unicode() -> None:
    stream = "--BOUNDARY\r\nContent-Type: a/b;\r\n  c=d\r\nX-Ä: 1\r\n\r\n\r\n--BOUNDARY--".encode()
    with pytest.raises(InvalidRequestError, match="part 1 has a header line"):
        read(stream)
    stream = "--BOUNDARY\r\nContent-Type: a/b;\r\n  c=d\r\nContent-Disposition: ü\r\n\r\n\r\n--BOUNDARY--".encode()
    assert read(stream) == [((("content-type", "a/b; c=d"), ("content-disposition", "ü")), b"")]


def test_header_without_colon_is_refused_with_the_number_of_the_part() -> None:
    with pytest.raises(InvalidRequestError, match="part 2 has a header line"):
        read(write([("a/b", b"x")])[:-4] + b"\r\nnonsense\r\n\r\n\r\n--BOUNDARY--")


def test_cut_body_is_refused_on_close() -> None:
    parser = MultipartParser("BOUNDARY")
    parser.feed(TWO_PARTS[:60])
    with pytest.raises(InvalidRequestError, match="ends within part 1"):
        parser.close()


def test_body_without_the_boundary_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="holds no part"):
        read(b"something else")
    with pytest.raises(InvalidRequestError, match="no part begins"):
        read(b"x" * (MULTIPART_PREAMBLE_BYTES_MAX + 1))


def test_endless_headers_and_too_many_parts_are_refused() -> None:
    parser = MultipartParser("BOUNDARY", parts_max=1)
    parser.feed(b"--BOUNDARY\r\nA: ")
    with pytest.raises(TooLargeError, match="headers"):
        for _ in range(MULTIPART_HEADER_BYTES_MAX // 1000 + 1):
            parser.feed(b"x" * 1000)
    with pytest.raises(TooLargeError, match="more than 1 parts"):
        MultipartParser("BOUNDARY", parts_max=1).feed(TWO_PARTS)


def test_boundary_is_taken_from_quoted_and_unquoted_content_types() -> None:
    assert boundary_of(parse_media_type('multipart/related; type="application/dicom"; boundary="a b=c"')) == "a b=c"
    assert boundary_of(parse_media_type("Multipart/Related;type=application/dicom;BOUNDARY=--abc")) == "--abc"
    with pytest.raises(InvalidRequestError, match="no boundary"):
        boundary_of(parse_media_type("multipart/related"))
    with pytest.raises(InvalidRequestError, match="not multipart"):
        boundary_of(parse_media_type("application/dicom"))


@pytest.mark.parametrize("boundary", ["", "x" * 201, "a\nb", "ä"])
def test_unusable_boundary_is_refused(boundary: str) -> None:
    with pytest.raises(InvalidRequestError, match="boundary"):
        MultipartParser(boundary)


def test_writer_refuses_line_breaks_in_headers_and_odd_boundaries() -> None:
    with pytest.raises(ValueError, match="line break"):
        MultipartWriter("BOUNDARY").part_head("a/b", location="x\r\nEvil: 1")
    with pytest.raises(ValueError, match="boundary"):
        MultipartWriter("a b")

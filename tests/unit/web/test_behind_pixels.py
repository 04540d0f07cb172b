"""Elements behind Pixel Data: they stand in the metadata, and what is long of them can be retrieved."""

from __future__ import annotations

import base64
import struct

import httpx
import pytest

from corpus.elements import (
    BIG,
    EXPLICIT,
    EXPLICIT_BE,
    EXPLICIT_LE,
    IMPLICIT,
    IMPLICIT_LE,
    PIXEL_DATA,
    PREAMBLE,
    UNDEFINED,
    Body,
    Coder,
    file_meta,
    odd_uid,
)
from fileroom.core.limits import FRAGMENTS_STEPPED_MAX

NAME = "behind"
JPEG = "1.2.840.10008.1.2.4.50"
PATH = "/dicom-web/studies/{}/series/{}/instances/{}".format(
    *(odd_uid(NAME, k) for k in ("study", "series", "instance"))
)
LONG = bytes(range(256)) * 8


def tail(coder: Coder) -> bytes:
    signature = coder.element(0x04000005, "US", coder.number(3)) + coder.element(0x04000100, "UI", b"1.2.3\0")
    return (
        coder.element(0x7FE10010, "LO", b"LATE CREATOR")
        + coder.element(0x7FE11001, "OB", LONG)
        + coder.sequence(0xFFFAFFFA, [signature], undefined=True, items_undefined=True)
        + coder.element(0xFFFCFFFC, "OB", bytes(6))
    )


def fragments(frames: list[bytes], *, table: bool, delimiter: bool = True, lie: int = 0) -> bytes:
    """Encapsulated Pixel Data; `lie` is added to the last entry of the table."""
    offsets = [sum(8 + len(one) for one in frames[:index]) for index in range(len(frames))]
    offsets[-1] += lie
    entries = struct.pack(f"<{len(offsets)}I", *offsets) if table else b""
    items = b"".join(map(EXPLICIT.item, [entries, *frames]))
    end = EXPLICIT.mark(0xFFFEE0DD, 0) if delimiter else b""
    return EXPLICIT.element(PIXEL_DATA, "OB", b"", length=UNDEFINED) + items + end


def encapsulated(count: int, **options: bool | int) -> Body:
    body = Body(NAME).put(0x00280008, "IS", str(count))
    return body.raw(PIXEL_DATA, fragments([b"\xff\xd8\xff\xd9"] * count, **options))  # type: ignore[arg-type]


async def stored(client: httpx.AsyncClient, body: Body, syntax: str) -> dict[str, dict[str, object]]:
    """The metadata of the object with its tail."""
    file = PREAMBLE + file_meta(body.sop_class, body.sop_instance, syntax) + body.encoded()
    answer = await client.post("/dicom-web/studies", content=file, headers={"content-type": "application/dicom"})
    assert answer.status_code == 200, answer.text
    (metadata,) = (await client.get(f"{PATH}/metadata")).json()
    assert list(metadata) == sorted(metadata)
    return metadata


def is_complete(metadata: dict[str, dict[str, object]]) -> None:
    assert metadata["7FE10010"] == {"vr": "LO", "Value": ["LATE CREATOR"]}
    assert str(metadata["7FE11001"]["BulkDataURI"]).endswith(f"{PATH}/bulkdata/7FE11001")
    ((signature),) = metadata["FFFAFFFA"]["Value"]  # type: ignore[misc]
    assert signature["04000005"]["Value"] == [3]
    assert signature["04000100"]["Value"] == ["1.2.3"]
    assert base64.b64decode(str(metadata["FFFCFFFC"]["InlineBinary"])) == bytes(6)


@pytest.mark.parametrize(
    ("coder", "syntax"),
    [(EXPLICIT, EXPLICIT_LE), (IMPLICIT, IMPLICIT_LE), (BIG, EXPLICIT_BE)],
    ids=["le", "implicit", "be"],
)
async def test_behind_plain_pixels(client: httpx.AsyncClient, coder: Coder, syntax: str) -> None:
    body = Body(NAME, coder)
    body.tail = tail(coder)
    metadata = await stored(client, body, syntax)
    if coder.explicit:
        is_complete(metadata)
    assert metadata["FFFAFFFA"]["Value"][0]["04000005"]["Value"] == [3]  # type: ignore[index]
    value = await client.get(f"{PATH}/bulkdata/7FE11001", headers={"accept": "application/octet-stream"})
    assert value.content == LONG
    xml = await client.get(f"{PATH}/metadata", headers={"accept": 'multipart/related; type="application/dicom+xml"'})
    assert b'tag="FFFAFFFA"' in xml.content


@pytest.mark.parametrize(
    "body",
    [
        encapsulated(1, table=False),
        encapsulated(1, table=True),
        encapsulated(FRAGMENTS_STEPPED_MAX - 1, table=False),
        encapsulated(1000, table=True),
        encapsulated(3, table=False, delimiter=False),
    ],
    ids=["one", "one with table", "few", "many with table", "no delimiter"],
)
async def test_behind_fragments(client: httpx.AsyncClient, body: Body) -> None:
    body.tail = tail(EXPLICIT)
    is_complete(await stored(client, body, JPEG))
    value = await client.get(f"{PATH}/bulkdata/7FE11001", headers={"accept": "application/octet-stream"})
    assert value.content == LONG
    nested = await client.get(f"{PATH}/bulkdata/FFFAFFFA/0/04000100", headers={"accept": "application/octet-stream"})
    assert nested.content == b"1.2.3\0"


@pytest.mark.parametrize(
    "value",
    [
        fragments([b"\xff\xd8\xff\xd9"] * (FRAGMENTS_STEPPED_MAX + 1), table=False) + tail(EXPLICIT),
        fragments([b"\xff\xd8\xff\xd9"] * 3, table=True, lie=4) + tail(EXPLICIT),
        fragments([b"\xff\xd8\xff\xd9"] * 3, table=True, lie=1 << 30) + tail(EXPLICIT),
        EXPLICIT.element(PIXEL_DATA, "OB", b"", length=UNDEFINED) + bytes(40),
        EXPLICIT.element(PIXEL_DATA, "OB", b"", length=UNDEFINED),
    ],
    ids=["many", "a table that lies", "a table that lies a lot", "no fragments", "nothing"],
)
async def test_what_is_far_or_broken_is_left_out(client: httpx.AsyncClient, value: bytes) -> None:
    metadata = await stored(client, Body(NAME).raw(PIXEL_DATA, value), JPEG)
    assert list(metadata)[-1] == "7FE00010"


@pytest.mark.parametrize("rubbish", [bytes(512), b"garbage", bytes(range(256)), Body("other").encoded()])
async def test_what_is_no_element_is_left_out(client: httpx.AsyncClient, rubbish: bytes) -> None:
    body = Body(NAME)
    body.tail = EXPLICIT.element(0x7FE10010, "LO", b"LATE CREATOR") + rubbish
    metadata = await stored(client, body, EXPLICIT_LE)
    assert list(metadata)[-2:] == ["7FE00010", "7FE10010"]

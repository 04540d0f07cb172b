"""Explicit VR Big Endian objects, sound and odd, over the web: little endian wherever it can be made, never nothing."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from corpus.elements import (
    BIG,
    EXPLICIT,
    EXPLICIT_BE,
    PIXEL_DATA,
    PREAMBLE,
    SERIES,
    STUDY,
    Body,
    Coder,
    file_meta,
    odd_uid,
)
from corpus.odd_structure import nest
from stored_objects import data_set_of
from web_requests import split_parts

NAME = "over-the-web"
STUDY_PATH = f"/dicom-web/studies/{odd_uid(NAME, 'study')}"
INSTANCE_PATH = f"{STUDY_PATH}/series/{odd_uid(NAME, 'series')}/instances/{odd_uid(NAME, 'instance')}"

Odd = Callable[[Coder], Body]


def _pixels(value: bytes, vr: str = "OW") -> Odd:
    return lambda coder: Body(NAME, coder).put(PIXEL_DATA, vr, value if coder.big else _turned(value, vr), pad=False)


def _turned(value: bytes, vr: str) -> bytes:
    if vr == "OB":
        return value
    return b"".join(value[at : at + 2][::-1] for at in range(0, len(value), 2))


def _deep(levels: int, undefined: bool) -> Odd:
    return lambda coder: Body(NAME, coder).raw(0x0040A730, nest(coder, levels, undefined))


def _behind(coder: Coder) -> Body:
    body = Body(NAME, coder)
    body.tail = (
        coder.element(0x7FE10010, "LO", b"late creator")
        + coder.element(0x7FE11001, "OL", coder.number(70000, "I") * 3)
        + coder.sequence(0xFFFAFFFA, [coder.element(0x04000005, "US", coder.number(3))], undefined=True)
        + coder.element(0xFFFCFFFC, "OB", bytes(10))
    )
    return body


ODD: dict[str, Odd] = {
    "sound": lambda coder: Body(NAME, coder),
    "deeper than is followed": _deep(33, False),
    "a thousand levels": _deep(1000, True),
    "empty pixels": _pixels(b""),
    "short pixels": _pixels(b"\1\2\3\4"),
    "odd pixels": _pixels(b"\1\2\3"),
    "pixels in bytes": _pixels(bytes(range(256)) * 2, "OB"),
    "no pixels": lambda coder: Body(NAME, coder).drop(PIXEL_DATA),
    "elements behind": _behind,
}


def part10(body: Body) -> bytes:
    return PREAMBLE + file_meta(body.sop_class, body.sop_instance, EXPLICIT_BE) + body.encoded()


async def store(client: httpx.AsyncClient, file: bytes) -> None:
    answer = await client.post("/dicom-web/studies", content=file, headers={"content-type": "application/dicom"})
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("name", ODD)
async def test_it_leaves_in_little_endian_with_the_same_values(client: httpx.AsyncClient, name: str) -> None:
    stored, expected = part10(ODD[name](BIG)), ODD[name](EXPLICIT).encoded()
    await store(client, stored)
    for accept in ("application/dicom", "application/dicom; transfer-syntax=*"):
        answer = await client.get(INSTANCE_PATH, headers={"accept": accept})
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"].endswith("=1.2.840.10008.1.2.1")
        assert int(answer.headers["content-length"]) == len(answer.content)
        assert data_set_of(answer.content) == expected
    study = await client.get(STUDY_PATH)
    ((_, part),) = split_parts(study.headers["content-type"], study.content)
    assert data_set_of(part) == expected
    named = {"accept": f"application/dicom; transfer-syntax={EXPLICIT_BE}"}
    assert data_set_of((await client.get(INSTANCE_PATH, headers=named)).content) == data_set_of(stored)


async def test_thirty_two_bit_pixels_are_words_of_four_bytes(client: httpx.AsyncClient) -> None:
    body = Body(NAME, BIG).put(0x00280100, "US", b"\0\x20").put(PIXEL_DATA, "OW", bytes(range(256)) * 4)
    await store(client, part10(body))
    whole = data_set_of((await client.get(INSTANCE_PATH, headers={"accept": "application/dicom"})).content)
    frame = await client.get(f"{INSTANCE_PATH}/frames/1", headers={"accept": "application/octet-stream"})
    value = await client.get(f"{INSTANCE_PATH}/bulkdata/7FE00010", headers={"accept": "application/octet-stream"})
    assert frame.content[:8] == bytes((3, 2, 1, 0, 7, 6, 5, 4))
    assert frame.content == whole[-1024:]
    assert value.content == whole[-1024:]
    for first, last in ((1, 2), (3, 9), (1000, 1023)):
        headers = {"accept": "application/octet-stream", "range": f"bytes={first}-{last}"}
        part = await client.get(f"{INSTANCE_PATH}/bulkdata/7FE00010", headers=headers)
        assert part.content == value.content[first : last + 1]


async def test_one_that_cannot_be_turned_leaves_as_it_is_and_stops_no_other(client: httpx.AsyncClient) -> None:
    inner = BIG.element(0x00081150, "UI", b"1.2.3\0", length=60)
    broken = Body(NAME, BIG).raw(0x00081140, BIG.sequence(0x00081140, [inner]))
    stored = part10(broken)
    await store(client, stored)
    sound = Body(f"{NAME}-2", BIG)
    sound.put(STUDY, "UI", odd_uid(NAME, "study")).put(SERIES, "UI", odd_uid(NAME, "series"))
    await store(client, part10(sound))

    alone = await client.get(INSTANCE_PATH, headers={"accept": "application/dicom"})
    assert alone.status_code == 409
    assert "as it is stored" in alone.json()["detail"]
    for accept in ("application/dicom; transfer-syntax=*", f"application/dicom; transfer-syntax={EXPLICIT_BE}"):
        answer = await client.get(INSTANCE_PATH, headers={"accept": accept})
        assert data_set_of(answer.content) == data_set_of(stored)
        assert answer.headers["content-type"] == f"application/dicom; transfer-syntax={EXPLICIT_BE}"
    study = await client.get(STUDY_PATH)
    found = {
        str(head["content-type"]).replace('"', ""): part
        for head, part in split_parts(study.headers["content-type"], study.content)
    }
    assert data_set_of(found[f"application/dicom; transfer-syntax={EXPLICIT_BE}"]) == data_set_of(stored)
    assert len(found) == 2

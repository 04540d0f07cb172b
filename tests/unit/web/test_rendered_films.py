"""Films over the web: passed on, made into MP4, shown as pictures; frames and bulk data keep their bytes."""

from __future__ import annotations

import asyncio
import io
import time
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from fileroom.archive.services import Archive
from fileroom.dicom import uids
from film_objects import COLUMNS, FRAMES, ROWS, SYNTAX, film_file, frames_of, make_film, number_in
from stored_objects import store_file
from web_objects import ROOT, store_bundled
from web_requests import split_parts

UIDS = {
    "StudyInstanceUID": "1.2.3.1",
    "SeriesInstanceUID": "1.2.3.2",
    "PatientID": "P1",
    "PatientName": "Doe^Jane",
    "Modality": "ES",
}
STUDY = f"{ROOT}/studies/1.2.3.1"
SERIES = f"{STUDY}/series/1.2.3.2"
INSTANCE = f"{SERIES}/instances/1.2.3.4"


@dataclass(frozen=True)
class Film:
    """A stored film: its stream, and its own media type."""

    stream: bytes
    media_type: str


async def stored(archive: Archive, suffix: str, encoder: str, container: str, **more: Any) -> Film:
    stream = make_film(encoder, container)
    stream += bytes(len(stream) % 2)
    await store_file(archive, film_file(stream, SYNTAX + suffix, **UIDS, **more))
    return Film(stream, uids.transfer_syntax(SYNTAX + suffix).media_type)


@pytest.fixture
async def h264(archive: Archive) -> Film:
    return await stored(archive, "102", "libx264", "mp4")


@pytest.fixture
async def mpeg2(archive: Archive) -> Film:
    return await stored(archive, "100", "mpeg2video", "mpeg")


def numbers(answer: httpx.Response) -> list[int]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "video/mp4"
    return [number_in(rgb) for _, rgb in frames_of(answer.content)]


def shown(answer: httpx.Response) -> np.ndarray:
    assert answer.status_code == 200, answer.text
    return np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGB"))


@pytest.mark.parametrize("accept", ["*/*", "video/mp4", "video/*"])
async def test_an_mp4_of_which_nothing_is_wanted_keeps_its_bytes(
    client: httpx.AsyncClient, h264: Film, accept: str
) -> None:
    answer = await client.get(f"{INSTANCE}/rendered", headers={"accept": accept})
    assert (answer.headers["content-type"], answer.content) == ("video/mp4", h264.stream)
    again = await client.get(f"{INSTANCE}/rendered", headers={"if-none-match": answer.headers["etag"]})
    assert again.status_code == 304


@pytest.mark.parametrize(
    ("suffix", "encoder", "container"),
    [("100", "mpeg2video", "mpeg"), ("107", "libx265", "mp4"), ("103.1", "libx264", "mpegts")],
)
async def test_other_films_are_passed_on_or_made_into_an_mp4(
    client: httpx.AsyncClient, archive: Archive, suffix: str, encoder: str, container: str
) -> None:
    film = await stored(archive, suffix, encoder, container)
    assert numbers(await client.get(f"{INSTANCE}/rendered", headers={"accept": "video/mp4"})) == list(range(FRAMES))
    as_is = await client.get(f"{INSTANCE}/rendered")
    if film.media_type == "video/mp4":
        assert numbers(as_is) == list(range(FRAMES))
    else:
        assert (as_is.headers["content-type"], as_is.content) == (film.media_type, film.stream)


async def test_frames_and_pixel_data_of_a_film_keep_their_bytes(client: httpx.AsyncClient, mpeg2: Film) -> None:
    for path in ("frames/1", "pixeldata"):
        answer = await client.get(
            f"{INSTANCE}/{path}", headers={"accept": 'multipart/related; type="video/mpeg2"; transfer-syntax=*'}
        )
        [(_, body)] = split_parts(answer.headers["content-type"], answer.content)
        assert body == mpeg2.stream


async def test_what_is_wanted_of_a_film_is_done(client: httpx.AsyncClient, h264: Film) -> None:
    small = await client.get(f"{INSTANCE}/rendered", params={"viewport": "80,80"})
    assert numbers(small) == list(range(FRAMES))
    assert next(frames_of(small.content))[1].shape == (48, 80, 3)
    some = await client.get(f"{INSTANCE}/frames/3,9,4/rendered", headers={"accept": "video/mp4"})
    assert numbers(some) == [2, 8, 3]
    moving = await client.get(f"{INSTANCE}/frames/3,9/rendered", headers={"accept": "image/gif"})
    assert Image.open(io.BytesIO(moving.content)).n_frames == 2  # type: ignore[attr-defined]
    named = await client.get(f"{INSTANCE}/rendered", params={"annotation": "patient", "viewport": "640,384"})
    plain = await client.get(f"{INSTANCE}/rendered", params={"viewport": "640,384"})
    difference = np.abs(next(frames_of(named.content))[1].astype(int) - next(frames_of(plain.content))[1])
    assert difference[:60].max() > 200
    assert difference[-100:].max() < 60


@pytest.mark.parametrize("accept", ["image/jpeg", "image/png"])
async def test_films_are_shown_as_pictures(client: httpx.AsyncClient, mpeg2: Film, accept: str) -> None:
    headers = {"accept": accept}
    assert number_in(shown(await client.get(f"{INSTANCE}/rendered", headers=headers))) == 0
    assert number_in(shown(await client.get(f"{INSTANCE}/frames/8/rendered", headers=headers))) == 7
    for path in (INSTANCE, SERIES, STUDY):
        small = shown(await client.get(f"{path}/thumbnail", params={"viewport": "80,80"}, headers=headers))
        assert (small.shape, number_in(small)) == ((48, 80, 3), FRAMES // 2)
    answer = await client.get(f"{SERIES}/rendered", headers={"accept": f'multipart/related; type="{accept}"'})
    [(_, body)] = split_parts(answer.headers["content-type"], answer.content)
    assert Image.open(io.BytesIO(body)).size == (COLUMNS, ROWS)


async def test_a_single_frame_of_a_film_is_a_picture_unless_asked_otherwise(
    client: httpx.AsyncClient, h264: Film
) -> None:
    assert (await client.get(f"{INSTANCE}/frames/2/rendered")).headers["content-type"] == "image/jpeg"
    assert (await client.get(f"{INSTANCE}/frames/2,3/rendered")).headers["content-type"] == "video/mp4"
    missing = await client.get(f"{INSTANCE}/frames/31/rendered")
    assert (missing.status_code, "has 30" in missing.text) == (404, True)


async def test_a_multi_frame_image_becomes_an_mp4_on_request(client: httpx.AsyncClient, archive: Archive) -> None:
    us = await store_bundled(archive, "examples_ybr_color.dcm")
    answer = await client.get(
        f"{us.instance}/frames/1,2,3/rendered", params={"viewport": "160,160"}, headers={"accept": "video/mp4"}
    )
    assert answer.headers["content-type"] == "video/mp4"
    found = list(frames_of(answer.content))
    assert [rgb.shape for _, rgb in found] == [(120, 160, 3)] * 3
    assert found[1][0] == pytest.approx(float(us.data.FrameTime) / 1000, abs=0.001)
    whole = await client.get(f"{us.instance}/frames/1,2/rendered")
    assert whole.headers["content-type"] == "image/gif"


async def test_wado_uri_gives_films_and_their_pictures(client: httpx.AsyncClient, h264: Film) -> None:
    base = {"requestType": "WADO", "studyUID": "1.2.3.1", "seriesUID": "1.2.3.2", "objectUID": "1.2.3.4"}
    assert (await client.get("/wado", params=base)).headers["content-type"].startswith("application/dicom")
    still = await client.get("/wado", params={**base, "contentType": "image/jpeg", "frameNumber": "5", "rows": "48"})
    assert (shown(still).shape, number_in(shown(still))) == ((48, 80, 3), 4)
    film = await client.get("/wado", params={**base, "contentType": "video/mp4", "columns": "80"})
    assert numbers(film) == list(range(FRAMES))


async def test_a_damaged_film_is_told_and_still_sent(client: httpx.AsyncClient, archive: Archive) -> None:
    await store_file(archive, film_file(b"mpeg" * 500, SYNTAX + "100", **UIDS))
    answer = await client.get(f"{INSTANCE}/thumbnail")
    assert answer.status_code == 409
    assert (await client.get(f"{INSTANCE}/rendered")).content == b"mpeg" * 500


async def test_others_are_served_while_films_are_made(client: httpx.AsyncClient, archive: Archive, h264: Film) -> None:
    """Films have turns of their own, and none of their work is done in the event loop."""
    making = [
        asyncio.create_task(client.get(f"{INSTANCE}/rendered", params={"viewport": f"{1200 + i},1200"}))
        for i in range(6)
    ]
    answered = 0
    longest = 0.0
    while not all(task.done() for task in making):
        began = time.perf_counter()
        assert number_in(shown(await client.get(f"{INSTANCE}/frames/1/rendered"))) == 0
        longest = max(longest, time.perf_counter() - began)
        answered += 1
    assert answered > 1
    assert longest < 10
    for task in making:
        assert (await task).status_code == 200


async def test_capabilities_name_what_can_be_had(client: httpx.AsyncClient) -> None:
    listed = (await client.get(f"{ROOT}/", headers={"accept": "application/json"})).json()["resources"]
    rendered = {resource["path"]: resource["methods"][0] for resource in listed if "rendered" in resource["path"]}
    one = next(method for path, method in rendered.items() if path.endswith("{instance}/rendered"))
    assert "video/mp4" in one["returns"]
    assert {"overlays", "annotation"} <= {parameter["name"] for parameter in one["parameters"]}

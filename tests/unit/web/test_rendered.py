"""Rendered images, thumbnails and WADO-URI."""

from __future__ import annotations

import io

import httpx
import numpy as np
import pydicom
import pytest
from PIL import Image

from fileroom.archive.services import Archive
from stored_objects import store_file
from web_objects import ROOT, Bundled, store_bundled
from web_requests import split_parts


def picture(answer: httpx.Response) -> Image.Image:
    assert answer.status_code == 200, answer.text
    return Image.open(io.BytesIO(answer.content))


@pytest.fixture
async def ct(archive: Archive) -> Bundled:
    return await store_bundled(archive, "CT_small.dcm")


@pytest.mark.parametrize(("accept", "form"), [("image/jpeg", "JPEG"), ("image/png", "PNG"), ("*/*", "JPEG")])
async def test_an_image_is_rendered_as_asked(client: httpx.AsyncClient, ct: Bundled, accept: str, form: str) -> None:
    for path in ("rendered", "frames/1/rendered", "thumbnail", "frames/1/thumbnail"):
        made = picture(await client.get(f"{ct.instance}/{path}", headers={"accept": accept}))
        assert (made.format, made.size) == (form, (128, 128)), path


async def test_a_window_makes_another_picture_and_another_tag(client: httpx.AsyncClient, ct: Bundled) -> None:
    narrow = await client.get(f"{ct.instance}/rendered", params={"window": "40,10,linear", "accept": "image/png"})
    wide = await client.get(f"{ct.instance}/rendered", params={"window": "40,4000,linear", "accept": "image/png"})
    assert narrow.headers["etag"] != wide.headers["etag"]
    assert np.asarray(picture(narrow)).std() > np.asarray(picture(wide)).std()
    again = await client.get(
        f"{ct.instance}/rendered",
        params={"window": "40,10,linear", "accept": "image/png"},
        headers={"if-none-match": narrow.headers["etag"]},
    )
    assert again.status_code == 304


async def test_a_viewport_limits_the_size(client: httpx.AsyncClient, ct: Bundled) -> None:
    assert picture(await client.get(f"{ct.instance}/rendered", params={"viewport": "64,32"})).size == (32, 32)
    assert picture(await client.get(f"{ct.instance}/thumbnail", params={"viewport": "50,50"})).size == (50, 50)


async def test_a_series_is_rendered_image_by_image(client: httpx.AsyncClient, ct: Bundled) -> None:
    answer = await client.get(f"{ct.series}/rendered", headers={"accept": 'multipart/related; type="image/png"'})
    [(head, body)] = split_parts(answer.headers["content-type"], answer.content)
    assert head.get_content_type() == "image/png"
    assert Image.open(io.BytesIO(body)).size == (128, 128)
    for path in (ct.study, ct.series):
        assert picture(await client.get(f"{path}/thumbnail")).size == (128, 128)


async def test_a_multi_frame_image_moves_or_shows_one_frame(client: httpx.AsyncClient, archive: Archive) -> None:
    us = await store_bundled(archive, "examples_ybr_color.dcm")
    moving = picture(await client.get(f"{us.instance}/frames/1,2,3/rendered", headers={"accept": "image/gif"}))
    assert moving.n_frames == 3  # type: ignore[attr-defined]
    still = picture(await client.get(f"{us.instance}/rendered", headers={"accept": "image/jpeg"}))
    assert still.size == (320, 240)


async def test_what_is_not_done_is_told(client: httpx.AsyncClient, ct: Bundled) -> None:
    answer = await client.get(f"{ct.instance}/rendered", params={"iccprofile": "srgb", "colour": "red"})
    assert answer.status_code == 200
    assert "iccprofile" in answer.headers["warning"]
    assert "colour" in answer.headers["warning"]


@pytest.mark.parametrize(
    "query",
    ["window=1", "window=a,b,linear", "window=1,0,linear", "viewport=0,0", "viewport=99999,1", "viewport=1,2,3",
     "quality=0", "quality=101", "iccprofile=blue", "overlays=1",
     "window=1,2,linear&window=3,4,linear", "window=1e999,1,linear"],
)  # fmt: skip
async def test_impossible_wishes_are_refused(client: httpx.AsyncClient, ct: Bundled, query: str) -> None:
    answer = await client.get(f"{ct.instance}/rendered?{query}")
    assert answer.status_code == 400, answer.text


@pytest.mark.parametrize("where", ["rendered", "wado"])
async def test_overlays_and_annotations_are_burned_in_on_request(
    client: httpx.AsyncClient, archive: Archive, where: str
) -> None:
    plain = pydicom.dcmread(io.BytesIO((await store_bundled(archive, "MR_small.dcm")).file))
    plain.SOPInstanceUID = plain.file_meta.MediaStorageSOPInstanceUID = "1.2.3.77"
    plain.add_new(0x60000010, "US", 64)
    plain.add_new(0x60000011, "US", 64)
    plain.add_new(0x60000040, "CS", "G")
    plain.add_new(0x60000050, "SS", [1, 1])
    plain.add_new(0x60000100, "US", 1)
    plain.add_new(0x60000102, "US", 0)
    plain.add_new(0x60003000, "OW", b"\xff" * 32 + bytes(480))
    out = io.BytesIO()
    plain.save_as(out)
    await store_file(archive, out.getvalue())
    names = plain.StudyInstanceUID, plain.SeriesInstanceUID, plain.SOPInstanceUID
    path = "{}/studies/{}/series/{}/instances/{}/rendered".format(ROOT, *names) if where == "rendered" else "/wado"
    keys = zip(("studyUID", "seriesUID", "objectUID"), names, strict=True)
    base = {"requestType": "WADO", "contentType": "image/png", **dict(keys)} if where == "wado" else {}

    async def shown(**more: str) -> np.ndarray:
        params = {**base, **more}
        answer = await client.get(path, params=params, headers={"accept": "image/png"})
        assert "warning" not in answer.headers
        return np.asarray(picture(answer)).astype(int)

    without = await shown(overlays="false")
    assert (await shown(overlays="true"))[:4].min() == 255
    assert without[:4].min() < 255
    patient, technique = await shown(annotation="patient"), await shown(annotation="technique")
    assert (patient[:32] != without[:32]).any()
    assert (technique[32:] != without[32:]).any()
    both = await shown(annotation="patient,technique")
    assert (both != patient).any()
    assert (both != technique).any()


def wado(stored: Bundled, **more: str) -> dict[str, str]:
    data = stored.data
    return {
        "requestType": "WADO",
        "studyUID": data.StudyInstanceUID,
        "seriesUID": data.SeriesInstanceUID,
        "objectUID": data.SOPInstanceUID,
        **more,
    }


async def test_wado_uri_gives_the_object(client: httpx.AsyncClient, ct: Bundled) -> None:
    answer = await client.get("/wado", params=wado(ct, contentType="application/dicom"))
    assert answer.headers["content-type"].startswith("application/dicom")
    assert pydicom.dcmread(io.BytesIO(answer.content)).PixelData == ct.data.PixelData


async def test_wado_uri_gives_a_picture_within_rows_and_columns(client: httpx.AsyncClient, ct: Bundled) -> None:
    assert picture(await client.get("/wado", params=wado(ct))).format == "JPEG"
    assert picture(await client.get("/wado", params=wado(ct, rows="32"))).size == (32, 32)
    half = wado(ct, region="0.0,0.0,0.5,1.0", contentType="image/png")
    assert picture(await client.get("/wado", params=half)).size == (64, 128)
    windowed = wado(ct, windowCenter="40", windowWidth="400", frameNumber="1", imageQuality="50")
    assert (await client.get("/wado", params=windowed)).status_code == 200


async def test_wado_uri_decodes_when_another_syntax_is_asked_for(client: httpx.AsyncClient, archive: Archive) -> None:
    stored = await store_bundled(archive, "MR_small_RLE.dcm")
    plain = wado(stored, contentType="application/dicom")
    found = pydicom.dcmread(io.BytesIO((await client.get("/wado", params=plain)).content))
    assert found.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    assert np.array_equal(found.pixel_array, stored.data.pixel_array)
    kept = wado(stored, contentType="application/dicom", transferSyntax="1.2.840.10008.1.2.5")
    found = pydicom.dcmread(io.BytesIO((await client.get("/wado", params=kept)).content))
    assert found.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.5"


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"requestType": "x"}, 400),
        ({"objectUID": ""}, 400),
        ({"objectUID": "1.2.3"}, 404),
        ({"contentType": "text/html"}, 406),
        ({"anonymize": "yes"}, 406),
        ({"frameNumber": "7"}, 404),
        ({"frameNumber": "1", "contentType": "application/dicom"}, 400),
        ({"rows": "-1"}, 400),
        ({"region": "1,1,0,0"}, 400),
        ({"presentationUID": "1.2.3"}, 400),
        ({"presentationUID": "1.2.3", "presentationSeriesUID": "1.2.3"}, 404),
    ],
)
async def test_wado_uri_refuses_what_it_cannot_do(
    client: httpx.AsyncClient, ct: Bundled, change: dict[str, str], status: int
) -> None:
    assert (await client.get("/wado", params=wado(ct, **change))).status_code == status

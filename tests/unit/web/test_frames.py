"""WADO-RS frames and pixel data: the stored bytes, or another encoding where it is asked for."""

from __future__ import annotations

import io

import httpx
import numpy as np
import pydicom
import pytest
from pydicom.encaps import generate_frames

from fileroom.archive.services import Archive
from fileroom.dicom import uids
from stored_objects import make_file, store_file
from web_objects import Bundled, store_bundled
from web_requests import split_parts

OCTETS = 'multipart/related; type="application/octet-stream"'
PLAIN = f"application/octet-stream; transfer-syntax={uids.EXPLICIT_VR_LITTLE_ENDIAN}"
ANY_SYNTAX = f"{OCTETS}; transfer-syntax=*"


async def parts_of(client: httpx.AsyncClient, path: str, accept: str) -> list[tuple[str, bytes]]:
    answer = await client.get(path, headers={"accept": accept})
    assert answer.status_code == 200, answer.text
    found = split_parts(answer.headers["content-type"], answer.content)
    return [(str(head.get_content_type()), body) for head, body in found]


async def test_a_native_frame_is_the_stored_bytes(client: httpx.AsyncClient, archive: Archive) -> None:
    stored = await store_bundled(archive, "CT_small.dcm")
    [(media_type, body)] = await parts_of(client, f"{stored.instance}/frames/1", OCTETS)
    assert media_type == "application/octet-stream"
    assert body == stored.data.PixelData


async def test_one_frame_comes_alone_with_its_length(client: httpx.AsyncClient, archive: Archive) -> None:
    stored = await store_bundled(archive, "CT_small.dcm")
    answer = await client.get(f"{stored.instance}/frames/1", headers={"accept": "application/octet-stream"})
    assert answer.content == stored.data.PixelData
    assert int(answer.headers["content-length"]) == len(answer.content)
    headers = {"accept": "application/octet-stream", "if-none-match": answer.headers["etag"]}
    assert (await client.get(f"{stored.instance}/frames/1", headers=headers)).status_code == 304


async def test_compressed_frames_are_not_touched(client: httpx.AsyncClient, archive: Archive) -> None:
    stored = await store_bundled(archive, "examples_ybr_color.dcm")
    own = list(generate_frames(stored.data.PixelData, number_of_frames=30))
    for accept, media_type in ((ANY_SYNTAX, "image/jpeg"), ('multipart/related; type="image/jpeg"', "image/jpeg")):
        parts = await parts_of(client, f"{stored.instance}/frames/3,1,30", accept)
        assert [found for found, _ in parts] in (["application/octet-stream"] * 3, [media_type] * 3)
        assert [body for _, body in parts] == [own[2], own[0], own[29]]


async def test_frames_are_decoded_when_plain_pixels_are_asked_for(client: httpx.AsyncClient, archive: Archive) -> None:
    stored = await store_bundled(archive, "MR_small_RLE.dcm")
    [(_, body)] = await parts_of(client, f"{stored.instance}/frames/1", OCTETS)
    assert np.array_equal(np.frombuffer(body, "<i2").reshape(64, 64), stored.data.pixel_array)


async def test_frames_are_encoded_when_a_codec_is_asked_for(client: httpx.AsyncClient, archive: Archive) -> None:
    stored = await store_bundled(archive, "CT_small.dcm")
    accept = f'multipart/related; type="image/jls"; transfer-syntax={uids.JPEG_LS_LOSSLESS}'
    [(media_type, body)] = await parts_of(client, f"{stored.instance}/frames/1", accept)
    assert media_type == "image/jls"
    assert body[:2] == b"\xff\xd8"
    assert len(body) < len(stored.data.PixelData)


@pytest.mark.parametrize("name", ["MR_small_bigendian.dcm", "image_dfl.dcm"])
async def test_big_endian_and_deflated_frames_come_as_little_endian(
    client: httpx.AsyncClient, archive: Archive, name: str
) -> None:
    stored = await store_bundled(archive, name)
    for path in ("frames/1", "pixeldata", "bulkdata/7FE00010"):
        [(_, body)] = await parts_of(client, f"{stored.instance}/{path}", OCTETS)
        pixels = stored.data.pixel_array
        assert np.array_equal(np.frombuffer(body, pixels.dtype.newbyteorder("<"), pixels.size), pixels.ravel()), path


async def test_all_pixel_data_is_every_frame(client: httpx.AsyncClient, archive: Archive) -> None:
    stored = await store_bundled(archive, "examples_ybr_color.dcm")
    for path in ("pixeldata", "bulkdata/7FE00010"):
        parts = await parts_of(client, f"{stored.instance}/{path}", ANY_SYNTAX)
        assert len(parts) == 30


@pytest.mark.parametrize("accept", [None, "*/*", 'multipart/related; type="*/*"'])
async def test_who_takes_anything_gets_plain_pixels(
    client: httpx.AsyncClient, archive: Archive, accept: str | None
) -> None:
    stored = await store_bundled(archive, "MR_small_RLE.dcm")
    for path in ("frames/1", "pixeldata", "bulkdata/7FE00010"):
        headers = {"accept": accept} if accept else {}
        client.headers.pop("accept", None)
        answer = await client.get(f"{stored.instance}/{path}", headers=headers)
        [(head, body)] = split_parts(answer.headers["content-type"], answer.content)
        assert str(head["content-type"]).replace('"', "") == PLAIN
        assert body == stored.data.pixel_array.astype("<i2").tobytes()


@pytest.mark.parametrize(
    "name", ["examples_ybr_color.dcm", "rtdose_rle.dcm", "rtdose.dcm", "rtdose_expb.dcm", "SC_rgb_rle_16bit_2frame.dcm"]
)
async def test_all_frames_may_come_as_one_value(client: httpx.AsyncClient, archive: Archive, name: str) -> None:
    stored = await store_bundled(archive, name)
    plain = await client.get(stored.instance, headers={"accept": "application/dicom"})
    expected = pydicom.dcmread(io.BytesIO(plain.content)).PixelData
    for path in ("pixeldata", "bulkdata/7FE00010"):
        for accept in ("application/octet-stream", "application/octet-stream; transfer-syntax=*"):
            answer = await client.get(f"{stored.instance}/{path}", headers={"accept": accept})
            assert answer.status_code == 200, answer.text
            assert answer.headers["content-type"].startswith("application/octet-stream; ")
            assert int(answer.headers["content-length"]) == len(answer.content)
            assert answer.content == expected
    refused = await client.get(f"{stored.instance}/pixeldata", headers={"accept": "image/jpeg"})
    assert refused.status_code == 406


@pytest.mark.parametrize("attributes", [{}, {"BitsStored": 32, "HighBit": 31, "PixelRepresentation": 0}])
@pytest.mark.parametrize("syntax", [uids.JPEG_2000_LOSSLESS, uids.RLE_LOSSLESS])
async def test_floating_point_pixels_have_no_compressed_form(
    client: httpx.AsyncClient, archive: Archive, syntax: str, attributes: dict[str, int]
) -> None:
    values = np.arange(4, dtype="<f4").tobytes()
    image = {"Rows": 2, "Columns": 2, "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2"}
    float_image = {**image, "BitsAllocated": 32, "FloatPixelData": values, **attributes}
    await store_file(archive, make_file(pixels=None, **float_image))
    study = "/dicom-web/studies/1.2.3.1"
    instance = f"{study}/series/1.2.3.1.1/instances/1.2.3.1.1.1"
    named = f"; transfer-syntax={syntax}"
    related = f'multipart/related; type="application/dicom"{named}'
    media_type = uids.transfer_syntax(syntax).media_type
    for path, accept in (
        (instance, f"application/dicom{named}"),
        (instance, related),
        (f"{study}/series/1.2.3.1.1", related),
        (study, related),
        (f"{instance}/frames/1", f'multipart/related; type="{media_type}"'),
        (f"{instance}/pixeldata", f'multipart/related; type="{media_type}"{named}'),
        (f"{instance}/bulkdata/7FE00008", media_type),
    ):
        answer = await client.get(path, headers={"accept": accept})
        assert answer.status_code == 406, (path, accept)
        assert answer.json()["detail"]


@pytest.mark.parametrize(
    ("frames", "status"), [("2", 404), ("1,2", 404), ("0", 400), ("-1", 400), ("x", 400), (",", 400), ("1" * 30, 400)]
)
async def test_frames_that_are_not_there(client: httpx.AsyncClient, archive: Archive, frames: str, status: int) -> None:
    stored = await store_bundled(archive, "CT_small.dcm")
    assert (await client.get(f"{stored.instance}/frames/{frames}")).status_code == status


async def test_an_object_without_pixels_has_no_frames(client: httpx.AsyncClient, archive: Archive) -> None:
    stored = await store_bundled(archive, "test-SR.dcm")
    for path in ("frames/1", "pixeldata", "bulkdata/7FE00010", "rendered", "thumbnail", "frames/1/rendered"):
        answer = await client.get(f"{stored.instance}/{path}")
        assert answer.status_code in (404, 406), (path, answer.text)


async def test_a_series_is_looked_up_once_and_found_again(client: httpx.AsyncClient, archive: Archive) -> None:
    stored = await store_bundled(archive, "CT_small.dcm")
    for _ in range(3):
        await frame_is_there(client, stored)
    assert (await client.get(f"{stored.series}/instances/1.2.3/frames/1")).status_code == 404
    other = await store_bundled(archive, "MR_small_RLE.dcm")
    await frame_is_there(client, other)


async def frame_is_there(client: httpx.AsyncClient, stored: Bundled) -> None:
    assert (await client.get(f"{stored.instance}/frames/1")).status_code == 200


async def test_a_lost_file_is_told_before_the_first_byte(client: httpx.AsyncClient, archive: Archive) -> None:
    stored = await store_bundled(archive, "CT_small.dcm")
    await frame_is_there(client, stored)
    async for known in archive.store.objects():
        await archive.store.delete(known.key)
    assert (await client.get(f"{stored.instance}/frames/1")).status_code == 404

"""Another implementation of DICOMweb talks to a real server on loopback."""

from __future__ import annotations

import asyncio
import dataclasses
import io

import httpx
import numpy as np
import pydicom
import pytest
from dicomweb_client.api import DICOMwebClient

from corpus.ct import make_ct_series
from fileroom.archive.metadata import document_stable_series
from fileroom.archive.services import Archive
from fileroom.core.settings import Settings
from stored_objects import store_file


@pytest.fixture
def peer(server_url: str) -> DICOMwebClient:
    return DICOMwebClient(f"{server_url}/dicom-web")


def read(file: bytes) -> pydicom.Dataset:
    return pydicom.dcmread(io.BytesIO(file))


async def test_it_stores_finds_and_retrieves(peer: DICOMwebClient) -> None:
    sent = [read(file) for file in make_ct_series(None, 3)]
    answer = await asyncio.to_thread(peer.store_instances, sent)
    assert len(answer.ReferencedSOPSequence) == 3
    study = sent[0].StudyInstanceUID
    assert [s["0020000D"]["Value"][0] for s in await asyncio.to_thread(peer.search_for_studies)] == [study]
    assert len(await asyncio.to_thread(peer.search_for_series, study)) == 1
    assert len(await asyncio.to_thread(peer.search_for_instances, study, limit=2)) == 2
    back = await asyncio.to_thread(peer.retrieve_study, study)
    assert back == sent
    series = await asyncio.to_thread(peer.retrieve_series, study, sent[0].SeriesInstanceUID)
    assert len(series) == 3
    one = sent[1]
    uids = (study, one.SeriesInstanceUID, one.SOPInstanceUID)
    assert await asyncio.to_thread(peer.retrieve_instance, *uids) == one


async def test_it_reads_metadata_frames_and_pictures(peer: DICOMwebClient, archive: Archive) -> None:
    files = make_ct_series(None, 2)
    for file in files:
        await store_file(archive, file)
    sent = read(files[0])
    uids = (sent.StudyInstanceUID, sent.SeriesInstanceUID, sent.SOPInstanceUID)
    for metadata in (
        await asyncio.to_thread(peer.retrieve_study_metadata, uids[0]),
        await asyncio.to_thread(peer.retrieve_series_metadata, *uids[:2]),
    ):
        assert [one["00200013"]["Value"] for one in metadata] == [[1], [2]]
    metadata = await asyncio.to_thread(peer.retrieve_instance_metadata, *uids)
    url = metadata["7FE00010"]["BulkDataURI"]
    assert (await asyncio.to_thread(peer.retrieve_bulkdata, url))[0] == sent.PixelData
    assert (await asyncio.to_thread(peer.retrieve_bulkdata, url, byte_range=(10, 19)))[0] == sent.PixelData[10:20]
    frames = await asyncio.to_thread(peer.retrieve_instance_frames, *uids, [1])
    assert np.array_equal(np.frombuffer(frames[0], "<i2"), sent.pixel_array.ravel())
    for picture in (
        await asyncio.to_thread(peer.retrieve_instance_rendered, *uids, ("image/jpeg",)),
        await asyncio.to_thread(peer.retrieve_instance_frames_rendered, *uids, [1], ("image/png",)),
    ):
        assert picture[:3] in (b"\xff\xd8\xff", b"\x89PN")


async def test_it_reads_the_metadata_of_a_quiet_series_packed(
    peer: DICOMwebClient, server_url: str, archive: Archive
) -> None:
    for file in make_ct_series(None, 20):
        await store_file(archive, file)
    sent = read(file)
    uids = (sent.StudyInstanceUID, sent.SeriesInstanceUID)
    from_headers = await asyncio.to_thread(peer.retrieve_series_metadata, *uids)
    assert await document_stable_series(dataclasses.replace(archive, settings=Settings(series_stable_s=1e-9))) == 1
    assert await asyncio.to_thread(peer.retrieve_series_metadata, *uids) == from_headers
    assert await asyncio.to_thread(peer.retrieve_study_metadata, uids[0]) == from_headers
    url = f"{server_url}/dicom-web/studies/{uids[0]}/metadata"
    async with httpx.AsyncClient() as client:
        answer = await client.get(url, headers={"accept-encoding": "gzip"})
        assert answer.headers["content-encoding"] == "gzip"
        assert answer.json() == from_headers
        assert (await client.get(url, headers={"accept-encoding": "identity"})).json() == from_headers
    assert from_headers[0]["7FE00010"]["BulkDataURI"].startswith(f"{server_url}/dicom-web/studies/")

"""Series metadata is the same from the document and from the headers, and never an old one."""

from __future__ import annotations

import dataclasses
import datetime as dt
import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import pydicom
import pytest

from corpus.ct import make_ct_series
from fileroom.archive.correct import Corrections, add_corrections
from fileroom.archive.delete import delete_series, remove_doomed_objects
from fileroom.archive.metadata import (
    document_stable_series,
    instances_metadata,
    remove_orphan_documents,
    series_metadata,
    study_metadata,
)
from fileroom.archive.retrieve import Selection, list_instances
from fileroom.archive.services import Archive
from fileroom.core.errors import NotFoundError
from fileroom.core.settings import Settings
from fileroom.dicom.correction import AttributeCorrection
from stored_objects import make_file, store_file

ROOT = "https://pacs.example/dicom-web"
STUDY, SERIES = "1.2.3.1", "1.2.3.1.1"
COUNT = 20


@pytest.fixture
def archive(archive: Archive) -> Archive:
    """A series counts as quiet at once."""
    return dataclasses.replace(archive, settings=Settings(series_stable_s=1e-9))


async def parsed(pieces: AsyncIterator[bytes]) -> list[dict[str, Any]]:
    return json.loads(b"".join([piece async for piece in pieces]))


async def unpacked(pieces: AsyncIterator[bytes]) -> list[dict[str, Any]]:
    return json.loads(gzip.decompress(b"".join([piece async for piece in pieces])))


async def store_series(archive: Archive, count: int = COUNT, **attributes: Any) -> None:
    for number in range(1, count + 1):
        uid = f"{attributes.get('SeriesInstanceUID', SERIES)}.{number}"
        await store_file(archive, make_file(**attributes, SOPInstanceUID=uid, InstanceNumber=number))


async def document_keys(archive: Archive) -> set[str]:
    return {stored.key async for stored in archive.store.objects("documents")}


async def test_the_document_says_what_the_headers_say(archive: Archive) -> None:
    await store_series(archive)
    from_headers = await parsed(series_metadata(archive, STUDY, SERIES, ROOT))
    assert [row["00200013"]["Value"] for row in from_headers] == [[number] for number in range(1, COUNT + 1)]
    assert await document_stable_series(archive) == 1
    assert len(await document_keys(archive)) == 1
    for instance in await list_instances(archive, Selection(study_uids=(STUDY,))):
        await archive.store.delete(instance.storage_key)  # whoever reads headers now finds none
    assert await parsed(series_metadata(archive, STUDY, SERIES, ROOT)) == from_headers
    assert await document_stable_series(archive) == 0


async def test_bulk_data_has_addresses_below_the_root_that_was_asked(archive: Archive) -> None:
    item = pydicom.Dataset()
    item.add_new(0x00281201, "OW", bytes(2048))
    await store_series(archive, RedPaletteColorLookupTableData=bytes(2048), IconImageSequence=[item])
    for _ in range(2):
        first = (await parsed(series_metadata(archive, STUDY, SERIES, ROOT)))[0]
        base = f"{ROOT}/studies/{STUDY}/series/{SERIES}/instances/{SERIES}.1/bulkdata"
        assert first["7FE00010"]["BulkDataURI"] == f"{base}/7FE00010"
        assert first["00281201"]["BulkDataURI"] == f"{base}/00281201"
        assert first["00880200"]["Value"][0]["00281201"]["BulkDataURI"] == f"{base}/00880200/0/00281201"
        await document_stable_series(archive)


async def test_a_new_instance_outdates_the_document(archive: Archive) -> None:
    await store_series(archive)
    await document_stable_series(archive)
    await store_file(archive, make_file(SOPInstanceUID="9", InstanceNumber=99))
    assert len(await parsed(series_metadata(archive, STUDY, SERIES, ROOT))) == COUNT + 1
    await document_stable_series(archive)
    assert len(await parsed(series_metadata(archive, STUDY, SERIES, ROOT))) == COUNT + 1
    await remove_doomed_objects(archive, grace_s=0)
    assert len(await document_keys(archive)) == 1


async def test_a_correction_shows_at_once_and_after(archive: Archive) -> None:
    await store_series(archive)
    await document_stable_series(archive)
    name = AttributeCorrection((0x00100010,), "PN", ("ROE^RICHARD",))
    await add_corrections(archive, Corrections(STUDY, (name,), "wrong patient", "anna"))
    for _ in range(2):
        rows = await parsed(series_metadata(archive, STUDY, SERIES, ROOT))
        assert {row["00100010"]["Value"][0]["Alphabetic"] for row in rows} == {"ROE^RICHARD"}
        assert await document_stable_series(archive) in (0, 1)


async def test_a_study_is_one_array_of_all_its_series(archive: Archive) -> None:
    await store_series(archive)
    await document_stable_series(archive)
    await store_series(archive, 2, SeriesInstanceUID="5", SeriesNumber=2)
    rows = await parsed(study_metadata(archive, STUDY, ROOT))
    assert [row["0020000E"]["Value"][0] for row in rows] == [SERIES] * COUNT + ["5"] * 2


async def test_a_small_series_gets_no_document(archive: Archive) -> None:
    await store_series(archive, 2)
    assert await document_stable_series(archive) == 1
    assert await document_keys(archive) == set()
    assert await document_stable_series(archive) == 0
    assert len(await parsed(series_metadata(archive, STUDY, SERIES, ROOT))) == 2


async def test_a_series_that_still_arrives_gets_none(archive: Archive) -> None:
    await store_series(archive)
    assert await document_stable_series(dataclasses.replace(archive, settings=Settings(series_stable_s=3600))) == 0


async def test_one_lost_file_does_not_hide_the_others(archive: Archive) -> None:
    await store_series(archive)
    instances = await list_instances(archive, Selection(study_uids=(STUDY,)))
    await archive.store.delete(instances[3].storage_key)
    rows = await parsed(instances_metadata(archive, instances, ROOT))
    assert len(rows) == COUNT
    assert rows[3]["00080018"]["Value"] == [instances[3].sop_instance_uid]
    assert "00100010" not in rows[3]
    assert "00100010" in rows[4]


async def test_a_lost_document_is_made_up_for_from_headers(archive: Archive) -> None:
    await store_series(archive)
    await document_stable_series(archive)
    for key in await document_keys(archive):
        await archive.store.delete(key)
    assert len(await parsed(series_metadata(archive, STUDY, SERIES, ROOT))) == COUNT


async def test_packed_metadata_are_the_same_whatever_they_are_made_of(archive: Archive) -> None:
    big = {"RedPaletteColorLookupTableData": bytes(2048)}
    await store_series(archive, **big)
    await store_series(archive, 3, SeriesInstanceUID="1.2.3.1.2", SeriesNumber=2)
    await store_series(archive, SeriesInstanceUID="1.2.3.1.3", SeriesNumber=3, PatientComments="Ä" * 9000)
    roots = (ROOT, "http://a", "https://" + "long" * 60 + "/dicom-web")
    for stage in ("headers", "documents", "a document is lost", "a document is cut"):
        for root in roots:
            plain = await parsed(study_metadata(archive, STUDY, root))
            assert len(plain) == 2 * COUNT + 3, stage
            assert plain[0]["7FE00010"]["BulkDataURI"].startswith(f"{root}/studies/{STUDY}/series/{SERIES}/instances/")
            assert await unpacked(study_metadata(archive, STUDY, root, packed=True)) == plain, (stage, root)
            packed = await unpacked(series_metadata(archive, STUDY, SERIES, root, packed=True))
            assert packed == plain[:COUNT], (stage, root)
        keys = sorted(await document_keys(archive))
        if stage == "headers":
            assert await document_stable_series(archive) == 3
        elif stage == "documents":
            await archive.store.delete(keys[0])
        elif stage == "a document is lost":
            path = archive.store.path(keys[0])
            assert path is not None
            path.write_bytes(path.read_bytes()[1:])


async def test_a_document_leaves_as_it_is_stored(archive: Archive) -> None:
    await store_series(archive)
    await document_stable_series(archive)
    (key,) = await document_keys(archive)
    path = archive.store.path(key)
    assert path is not None
    stored = path.read_bytes()
    sent = b"".join([piece async for piece in series_metadata(archive, STUDY, SERIES, ROOT, packed=True)])
    slot = sent.index(f'"{ROOT}'.encode())
    start = sent.index(stored[:100])
    behind = stored.rindex(b"\xff" * 200) + 200
    assert stored[behind : behind + 500] in sent[slot:]
    assert start < slot


async def test_what_is_not_there_is_told_at_the_first_piece(archive: Archive) -> None:
    for pieces in (series_metadata(archive, "1", "2", ROOT), study_metadata(archive, "1", ROOT)):
        with pytest.raises(NotFoundError, match="There is no"):
            await parsed(pieces)
    assert await parsed(instances_metadata(archive, [], ROOT)) == []


async def test_the_document_goes_with_its_series(archive: Archive) -> None:
    await store_series(archive)
    await document_stable_series(archive)
    await delete_series(archive, STUDY, SERIES, actor="anna")
    await remove_doomed_objects(archive, grace_s=0)
    assert await document_keys(archive) == set()


async def test_documents_that_no_series_speaks_of_are_removed_when_they_are_old(archive: Archive) -> None:
    await store_series(archive)
    await document_stable_series(archive)
    known = await document_keys(archive)
    writer = archive.store.begin("documents/2026/01/01/aa/orphan.json.gz")
    writer.write(b"left behind")
    writer.seal()
    await writer.flush()
    assert await remove_orphan_documents(archive) == 0
    assert await remove_orphan_documents(archive, dt.timedelta(seconds=-1)) == 1
    assert await document_keys(archive) == known


async def test_a_document_larger_than_a_piece_comes_whole(archive: Archive) -> None:
    files = make_ct_series(None, 40, 8)
    for file in files:
        outcome = await store_file(archive, file)
    await store_series(archive, 30, PatientComments="x" * 60_000)
    await document_stable_series(archive)
    rows = await parsed(series_metadata(archive, STUDY, SERIES, ROOT))
    assert [len(row["00104000"]["Value"][0]) for row in rows] == [60_000] * 30
    study, series = outcome.study_instance_uid, outcome.series_instance_uid
    assert len(await parsed(series_metadata(archive, study, series, ROOT))) == 40


async def test_the_metadata_tells_the_transfer_syntax(archive: Archive) -> None:
    await store_series(archive, 1)
    [model] = await parsed(series_metadata(archive, STUDY, SERIES, ROOT))
    assert model["00083002"] == {"vr": "UI", "Value": ["1.2.840.10008.1.2.1"]}
    assert list(model) == sorted(model), "elements are ordered by tag (PS3.18 F.2.2)"

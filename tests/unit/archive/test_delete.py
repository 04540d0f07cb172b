"""Deleting takes rows at once and files later, and leaves nothing half."""

from __future__ import annotations

from typing import Any

import pytest

from fileroom.archive.correct import Corrections, add_corrections, list_corrections
from fileroom.archive.delete import Deleted, delete_instance, delete_series, delete_study, remove_doomed_objects
from fileroom.archive.services import Archive
from fileroom.core.errors import NotFoundError
from fileroom.dicom.correction import AttributeCorrection
from stored_objects import make_file, store_file

STUDY, SERIES, SOP = "1.2.3.1", "1.2.3.1.1", "1.2.3.1.1.1"


async def rows(archive: Archive, statement: str) -> list[tuple[Any, ...]]:
    async with archive.pool.connection() as connection:
        return await (await connection.execute(statement.encode())).fetchall()


async def keys(archive: Archive) -> set[str]:
    return {stored.key async for stored in archive.store.objects()}


@pytest.fixture
async def stored(archive: Archive) -> dict[str, str]:
    """SOP Instance UID to key: two CT instances in one series, an MR in another, one of another study."""
    found = {}
    for attributes in (
        {},
        {"SOPInstanceUID": "1.2.3.1.1.2"},
        {
            "SOPInstanceUID": "8.1",
            "SeriesInstanceUID": "8",
            "Modality": "MR",
            "SOPClassUID": "1.2.840.10008.5.1.4.1.1.4",
        },
        {"SOPInstanceUID": "9.1", "SeriesInstanceUID": "9", "StudyInstanceUID": "9.9"},
    ):
        outcome = await store_file(archive, make_file(**attributes))
        found[outcome.sop_instance_uid] = outcome.storage_key
    return found


async def test_an_instance_goes_and_its_series_is_counted_again(archive: Archive, stored: dict[str, str]) -> None:
    assert await delete_instance(archive, STUDY, SERIES, SOP, actor="anna") == Deleted(0, 0, 1)
    assert await rows(archive, "SELECT instance_count FROM series ORDER BY id") == [(1,), (1,), (1,)]
    assert await keys(archive) == set(stored.values())
    assert await remove_doomed_objects(archive, grace_s=0) == 1
    assert await keys(archive) == set(stored.values()) - {stored[SOP]}
    assert await remove_doomed_objects(archive, grace_s=0) == 0


async def test_the_last_instance_takes_series_and_study_along(archive: Archive, stored: dict[str, str]) -> None:
    assert await delete_instance(archive, "9.9", "9", "9.1", actor="anna") == Deleted(1, 1, 1)
    assert await rows(archive, "SELECT study_instance_uid FROM study") == [(STUDY,)]
    assert await rows(archive, "SELECT patient_id FROM patient") == [("P1",)]


async def test_a_series_goes_and_the_study_forgets_its_modality(archive: Archive, stored: dict[str, str]) -> None:
    assert await delete_series(archive, STUDY, "8", actor="anna") == Deleted(0, 1, 1)
    assert await rows(archive, "SELECT modalities, cardinality(sop_classes) FROM study ORDER BY id") == [
        (["CT"], 1),
        (["CT"], 1),
    ]


async def test_studies_go_with_all_below_and_the_patient_with_the_last(
    archive: Archive, stored: dict[str, str]
) -> None:
    attribute = AttributeCorrection((0x00100010,), "PN", ("X",))
    await add_corrections(archive, Corrections(STUDY, (attribute,), "why", "anna"))
    assert await delete_study(archive, STUDY, actor="anna") == Deleted(1, 2, 3)
    assert await list_corrections(archive, STUDY) == []
    assert await delete_study(archive, "9.9", actor="anna") == Deleted(1, 1, 1)
    for table in ("patient", "study", "series", "instance"):
        assert await rows(archive, f"SELECT count(*) FROM {table}") == [(0,)]
    assert await remove_doomed_objects(archive, grace_s=0) == 4
    assert await keys(archive) == set()


async def test_what_was_kept_aside_goes_too(archive: Archive) -> None:
    await store_file(archive, make_file())
    await store_file(archive, make_file(PatientName="OTHER"))
    assert await rows(archive, "SELECT count(*) FROM conflict") == [(1,)]
    await delete_study(archive, STUDY, actor="anna")
    assert await rows(archive, "SELECT count(*) FROM conflict") == [(0,)]
    assert await remove_doomed_objects(archive, grace_s=0) == 2


async def test_files_stay_for_the_time_of_grace(archive: Archive, stored: dict[str, str]) -> None:
    await delete_study(archive, STUDY, actor="anna")
    assert await remove_doomed_objects(archive) == 0
    assert await keys(archive) == set(stored.values())


async def test_what_was_deleted_can_be_received_again(archive: Archive, stored: dict[str, str]) -> None:
    await delete_study(archive, STUDY, actor="anna")
    outcome = await store_file(archive, make_file())
    await remove_doomed_objects(archive, grace_s=0)
    assert outcome.storage_key in await keys(archive)


async def test_what_is_not_there_cannot_be_deleted(archive: Archive, stored: dict[str, str]) -> None:
    with pytest.raises(NotFoundError, match=r"no study 5\.5"):
        await delete_study(archive, "5.5", actor="anna")
    with pytest.raises(NotFoundError, match=r"no instance 9\.1 in series 8"):
        await delete_instance(archive, STUDY, "8", "9.1", actor="anna")

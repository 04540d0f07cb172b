"""The index can be made again from the stored objects alone."""

from __future__ import annotations

import os
from typing import Any

import pytest

from corpus.ct import make_ct_series
from fileroom.archive.correct import Corrections, add_corrections
from fileroom.archive.delete import delete_study
from fileroom.archive.rebuild import rebuild
from fileroom.archive.services import Archive
from fileroom.core.errors import DatabaseError
from fileroom.dicom.correction import AttributeCorrection
from fileroom.dicom.query import Level
from fileroom.index.attributes import columns_at
from stored_objects import make_file, store_file


async def ask(archive: Archive, statement: str) -> list[tuple[Any, ...]]:
    async with archive.pool.connection() as connection:
        return await (await connection.execute(statement.encode())).fetchall()


async def index(archive: Archive) -> dict[str, list[tuple[Any, ...]]]:
    """Everything in the index that an object says itself."""
    names = {level: ", ".join(f"{level.name.lower()[0]}.{name}" for name, _ in columns_at(level)) for level in Level}
    return {
        "patient": await ask(archive, f"SELECT identity, {names[Level.PATIENT]} FROM patient p ORDER BY 1"),
        "study": await ask(archive, f"SELECT {names[Level.STUDY]}, modalities, sop_classes FROM study s ORDER BY 1"),
        "series": await ask(
            archive,
            f"SELECT st.study_instance_uid, {names[Level.SERIES]}, instance_count FROM series s "
            "JOIN study st ON st.id = s.study ORDER BY s.series_instance_uid",
        ),
        "instance": await ask(
            archive,
            f"SELECT {names[Level.INSTANCE]}, transfer_syntax_uid, storage_key, file_bytes, dataset_offset, "
            "pixel_offset, digest FROM instance i ORDER BY 1",
        ),
        "conflict": await ask(
            archive, "SELECT sop_instance_uid, sop_class_uid, storage_key, file_bytes, digest FROM conflict ORDER BY 3"
        ),
    }


async def test_the_index_is_equal_before_and_after(archive: Archive) -> None:
    for file in make_ct_series(None, 5):
        await store_file(archive, file)
    await store_file(archive, make_file())
    await store_file(archive, make_file(PatientName="ELSE^SOMEBODY"))
    await store_file(archive, make_file(PatientName="THIRD^PERSON"))
    await store_file(archive, make_file("1.2.840.10008.1.2", SOPInstanceUID="1.5", Modality="SR", pixels=None))
    await store_file(
        archive, make_file(SOPInstanceUID="1.6", SeriesInstanceUID="1.2.9", PatientID="", StudyInstanceUID="1.9")
    )
    before = await index(archive)
    report = await rebuild(archive)
    assert (report.indexed, report.surplus, report.conflicts, report.unreadable) == (8, 0, 2, [])
    assert report.seen == 10
    assert await index(archive) == before
    again = await rebuild(archive)
    assert again == report
    assert await index(archive) == before


async def test_of_two_with_the_same_uid_the_older_stays_however_long_it_takes_to_read(archive: Archive) -> None:
    """The first is large, the second small and read sooner."""
    first = await store_file(archive, make_file(pixels=bytes(4 << 20)))
    for number in range(5):
        await store_file(archive, make_file(PatientName=f"ELSE^{number}"))
    await rebuild(archive)
    assert await ask(archive, "SELECT storage_key FROM instance") == [(first.storage_key,)]
    assert await ask(archive, "SELECT count(*) FROM conflict") == [(5,)]


async def test_age_counts_even_when_the_names_are_the_other_way_round(archive: Archive) -> None:
    first = await store_file(archive, make_file())
    second = await store_file(archive, make_file(PatientName="ELSE^SOMEBODY"))
    for outcome, age_s in ((first, 10), (second, 1000)):  # as if the second had come first
        path = archive.store.path(outcome.storage_key)
        assert path is not None
        then = archive.now().timestamp() - age_s
        os.utime(path, (then, then))
    await rebuild(archive)
    assert await ask(archive, "SELECT storage_key FROM instance") == [(second.storage_key,)]
    assert await ask(archive, "SELECT patient_name FROM patient") == [("ELSE^SOMEBODY",)]


async def test_objects_are_dated_by_their_files(archive: Archive) -> None:
    outcome = await store_file(archive, make_file())
    path = archive.store.path(outcome.storage_key)
    assert path is not None
    os.utime(path, (1_700_000_000, 1_700_000_000))
    await rebuild(archive)
    assert await ask(archive, "SELECT extract(epoch FROM received_at)::bigint FROM instance") == [(1_700_000_000,)]


async def test_what_cannot_be_read_is_told_and_stays(archive: Archive) -> None:
    good = await store_file(archive, make_file())
    bad = await store_file(archive, make_file(SOPInstanceUID="1.7"))
    path = archive.store.path(bad.storage_key)
    assert path is not None
    path.write_bytes(path.read_bytes()[:-5])
    report = await rebuild(archive)
    assert [(u.storage_key, "truncated" in u.reason) for u in report.unreadable] == [(bad.storage_key, True)]
    assert await ask(archive, "SELECT storage_key FROM instance") == [(good.storage_key,)]
    assert path.exists()


async def test_a_second_copy_is_surplus(archive: Archive) -> None:
    outcome = await store_file(archive, make_file())
    path = archive.store.path(outcome.storage_key)
    assert path is not None
    (path.parent / "copy.dcm").write_bytes(path.read_bytes())
    report = await rebuild(archive)
    assert (report.indexed, report.surplus) == (1, 1)


async def test_what_was_deleted_does_not_come_back(archive: Archive) -> None:
    """The files of deleted objects are removed a little later; until then they are not to be indexed again."""
    await store_file(archive, make_file())
    await store_file(archive, make_file(StudyInstanceUID="5", SeriesInstanceUID="6", SOPInstanceUID="7"))
    await delete_study(archive, "1.2.3.1", actor="me")
    report = await rebuild(archive)
    assert (report.indexed, report.seen) == (1, 1)
    assert await ask(archive, "SELECT study_instance_uid FROM study") == [("5",)]


async def test_corrections_are_laid_over_again(archive: Archive) -> None:
    await store_file(archive, make_file())
    change = AttributeCorrection((0x00100010,), "PN", ("RIGHT^NAME",))
    await add_corrections(archive, Corrections("1.2.3.1", (change,), "wrong patient", "me"))
    before = await index(archive)
    await rebuild(archive)
    assert await index(archive) == before
    assert await ask(archive, "SELECT patient_name FROM study") == [("RIGHT^NAME",)]


async def test_progress_goes_up_to_the_number_of_objects(archive: Archive) -> None:
    for file in make_ct_series(None, 5):
        await store_file(archive, file)
    told: list[tuple[int, int]] = []
    await rebuild(archive, progress=lambda done, total: told.append((done, total)))
    assert told == [(n, 5) for n in range(1, 6)]


async def test_an_empty_store_gives_an_empty_index(archive: Archive) -> None:
    assert (await rebuild(archive)).seen == 0


async def test_a_rebuild_that_was_broken_off_can_be_run_again(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in make_ct_series(None, 5):
        await store_file(archive, file)
    before = await index(archive)
    real = archive.writer.write

    def failing(row: Any) -> Any:
        if row.sop_instance_uid == before["instance"][2][0]:
            raise DatabaseError("away")
        return real(row)

    monkeypatch.setattr(archive.writer, "write", failing)
    with pytest.raises(DatabaseError):
        await rebuild(archive)
    monkeypatch.undo()
    await rebuild(archive)
    assert await index(archive) == before

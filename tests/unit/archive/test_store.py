"""An object is safe when `finish` says so, and leaves nothing behind when it does not."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import pytest

from fileroom.archive.services import Archive
from fileroom.archive.store import Claim, MismatchError, StoreKind, begin
from fileroom.core.errors import DatabaseError, InvalidObjectError, StorageError, StorageFullError
from fileroom.core.settings import Settings
from fileroom.index.write import InstanceRow, UnconfirmedCommitError
from fileroom.storage.local import LocalStore, LocalWriter
from stored_objects import CT, EXPLICIT_LE, data_set_of, make_file, store_file

UID = "1.2.3.1.1.1"


async def ask(archive: Archive, statement: str) -> list[tuple[Any, ...]]:
    async with archive.pool.connection() as connection:
        return await (await connection.execute(statement.encode())).fetchall()


async def files(archive: Archive) -> list[str]:
    """Every file of the store, unfinished ones too."""
    root = archive.store.path("")
    assert root is not None
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


async def rows(archive: Archive) -> list[tuple[Any, ...]]:
    return await ask(archive, "SELECT sop_instance_uid, storage_key FROM instance ORDER BY 1")


async def store(archive: Archive, claim: Claim, data: bytes) -> Any:
    incoming = begin(archive, claim)
    incoming.write(data)
    return await incoming.finish()


def claim(sop_class: str = CT, sop_instance: str = UID, **others: str) -> Claim:
    return Claim(sop_class, sop_instance, EXPLICIT_LE, "dimse", "CT1@10.0.0.1", **others)


class FailingStore(LocalStore):
    """Flushes of which `failing` ones fail."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.flush_error: Exception | None = None
        self.before_flush: asyncio.Event | None = None

    def begin(self, key: str) -> LocalWriter:
        writer = super().begin(key)
        flush = writer.flush

        async def failing_flush() -> None:
            if self.before_flush is not None:
                await self.before_flush.wait()
            if self.flush_error is not None:
                raise self.flush_error
            await flush()

        writer.flush = failing_flush  # type: ignore[method-assign]
        return writer


@pytest.fixture
def failing(archive: Archive, tmp_path: Path) -> Archive:
    """The archive over a store whose flushes can be made to fail."""
    return dataclasses.replace(archive, store=FailingStore(tmp_path / "store"))


# --- kept ---


async def test_a_stored_object_has_its_file_and_its_row(archive: Archive) -> None:
    file = make_file()
    outcome = await store_file(archive, file)
    assert outcome.kind is StoreKind.STORED
    assert (outcome.sop_class_uid, outcome.sop_instance_uid) == (CT, UID)
    assert (outcome.study_instance_uid, outcome.series_instance_uid) == ("1.2.3.1", "1.2.3.1.1")
    assert await files(archive) == [outcome.storage_key]
    assert await rows(archive) == [(UID, outcome.storage_key)]
    [(size, offset, digest)] = await ask(
        archive, "SELECT file_bytes, dataset_offset, encode(digest, 'hex') FROM instance"
    )
    path = archive.store.path(outcome.storage_key)
    assert path is not None
    stored = path.read_bytes()
    assert len(stored) == size
    assert stored[offset:] == data_set_of(file)
    assert hashlib.sha256(stored[offset:]).hexdigest() == digest


async def test_no_part_of_a_name_from_outside_is_in_the_path(archive: Archive) -> None:
    outcome = await store_file(archive, make_file(PatientID="../../etc/passwd", PatientName="A^B"))
    assert "1.2.3" not in outcome.storage_key
    assert outcome.storage_key.startswith(f"objects/{archive.now():%Y/%m/%d}/")


async def test_the_same_object_again_is_stored_once(archive: Archive) -> None:
    first = await store_file(archive, make_file())
    again = await store_file(archive, make_file())
    assert again == dataclasses.replace(first, kind=StoreKind.ALREADY_THERE)
    assert await files(archive) == [first.storage_key]


async def test_the_same_object_many_times_at_once_is_stored_once(archive: Archive) -> None:
    outcomes = await asyncio.gather(*(store_file(archive, make_file()) for _ in range(20)))
    kinds = [outcome.kind for outcome in outcomes]
    assert kinds.count(StoreKind.STORED) == 1
    assert kinds.count(StoreKind.ALREADY_THERE) == 19
    assert len(await files(archive)) == 1
    assert await ask(archive, "SELECT instance_count FROM series") == [(1,)]


async def test_other_content_under_a_known_uid_is_kept_aside(archive: Archive) -> None:
    first = await store_file(archive, make_file())
    second = await store_file(archive, make_file(PatientName="ELSE^SOMEBODY"))
    assert second.kind is StoreKind.KEPT_ASIDE
    assert await rows(archive) == [(UID, first.storage_key)]
    assert await files(archive) == sorted([first.storage_key, second.storage_key])
    assert await ask(archive, "SELECT sop_instance_uid, storage_key, sender FROM conflict") == [
        (UID, second.storage_key, "")
    ]
    assert await ask(archive, "SELECT patient_name FROM study") == [("DOE^JANE",)]


async def test_the_same_other_content_is_kept_aside_once_and_its_file_is_named(archive: Archive) -> None:
    await store_file(archive, make_file())
    second = await store_file(archive, make_file(PatientName="ELSE^SOMEBODY"))
    third = await store_file(archive, make_file(PatientName="ELSE^SOMEBODY"))
    assert third == second
    assert len(await files(archive)) == 2
    assert await ask(archive, "SELECT count(*) FROM conflict") == [(1,)]


@pytest.mark.parametrize("damage", ["lost", "cut"])
async def test_an_object_whose_file_was_damaged_is_replaced_by_the_same_one_sent_again(
    archive: Archive, damage: str
) -> None:
    file = make_file()
    first = await store_file(archive, file)
    path = archive.store.path(first.storage_key)
    assert path is not None
    if damage == "lost":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-10])
    second = await store_file(archive, file)
    assert second.kind is StoreKind.STORED
    assert await rows(archive) == [(UID, second.storage_key)]
    assert await files(archive) == [second.storage_key]
    replaced = archive.store.path(second.storage_key)
    assert replaced is not None
    assert replaced.read_bytes().endswith(data_set_of(file))


async def test_what_is_aside_and_was_damaged_is_replaced_too(archive: Archive) -> None:
    await store_file(archive, make_file())
    second = await store_file(archive, make_file(PatientName="ELSE^SOMEBODY"))
    path = archive.store.path(second.storage_key)
    assert path is not None
    path.unlink()
    third = await store_file(archive, make_file(PatientName="ELSE^SOMEBODY"))
    assert third.kind is StoreKind.KEPT_ASIDE
    assert await ask(archive, "SELECT storage_key FROM conflict") == [(third.storage_key,)]
    assert third.storage_key in await files(archive)


# --- refused ---


@pytest.mark.parametrize(
    ("attributes", "announced", "reason"),
    [
        ({}, claim(sop_instance="9.9"), "has SOP Instance UID 1.2.3.1.1.1, but 9.9 was announced"),
        ({}, claim(sop_class="1.2.840.10008.5.1.4.1.1.4"), "has SOP Class UID"),
        ({}, claim(study_instance_uid="7.7"), "belongs to study 1.2.3.1, not to 7.7"),
    ],
)
async def test_what_contradicts_its_announcement_is_a_mismatch(
    archive: Archive, attributes: dict[str, Any], announced: Claim, reason: str
) -> None:
    with pytest.raises(MismatchError, match=reason):
        await store(archive, announced, data_set_of(make_file(**attributes)))
    await nothing_was_kept(archive, 0xA900, reason)


async def nothing_was_kept(archive: Archive, status: int, reason: str) -> None:
    assert await files(archive) == []
    assert await rows(archive) == []
    [(noted, why, door, sender)] = await ask(archive, "SELECT status, reason, received_by, sender FROM refusal")
    assert (noted, door, sender) == (status, "dimse", "CT1@10.0.0.1")
    assert reason in why


@pytest.mark.parametrize(
    ("attributes", "cut", "reason"),
    [
        ({"StudyInstanceUID": ""}, 0, "has no Study Instance UID"),
        ({"SeriesInstanceUID": "1.2.x"}, 0, "Series Instance UID cannot be used"),
        ({"StudyInstanceUID": "1." * 40 + "1"}, 0, "Study Instance UID cannot be used"),
        ({}, 4, "truncated"),
        ({}, 35, "truncated"),
        ({"pixels": bytes(100_000)}, 50_000, "truncated"),
    ],
)
@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
async def test_what_cannot_be_filed_is_refused_and_noted(
    archive: Archive, attributes: dict[str, Any], cut: int, reason: str
) -> None:
    data = data_set_of(make_file(**attributes))
    with pytest.raises(InvalidObjectError, match=reason) as caught:
        await store(archive, claim(), data[: len(data) - cut])
    assert not isinstance(caught.value, MismatchError)
    await nothing_was_kept(archive, 0xC000, reason)


@pytest.mark.parametrize("uid", ["", "../../etc/passwd", "1" * 65, "1..2", "a.b", "1.2\n3"])
async def test_a_claim_that_cannot_be_kept_is_refused_at_once(archive: Archive, uid: str) -> None:
    with pytest.raises(InvalidObjectError):
        begin(archive, claim(sop_instance=uid))
    assert await files(archive) == []


async def test_unknown_sop_classes_are_a_setting(archive: Archive) -> None:
    strict = dataclasses.replace(archive, settings=Settings(accept_unknown_sop_classes=False))
    with pytest.raises(InvalidObjectError, match="accept_unknown_sop_classes"):
        begin(strict, claim(sop_class="1.2.3.4"))
    outcome = await store_file(archive, make_file(SOPClassUID="1.2.3.4"))
    assert outcome.kind is StoreKind.STORED


async def test_giving_up_in_the_middle_leaves_nothing(archive: Archive) -> None:
    for size in (100, 3 << 20):
        incoming = begin(archive, claim())
        incoming.write(bytes(size))
        await incoming.abort()
    assert await files(archive) == []


# --- the store fails ---


@pytest.mark.parametrize("size", [8, 3 << 20])
async def test_a_flush_that_fails_takes_the_rows_back(failing: Archive, size: int) -> None:
    assert isinstance(failing.store, FailingStore)
    failing.store.flush_error = StorageError("The disk is broken.")
    with pytest.raises(StorageError, match="broken"):
        await store_file(failing, make_file(pixels=bytes(size)))
    assert await rows(failing) == []
    assert await files(failing) == []
    assert await ask(failing, "SELECT instance_count FROM series WHERE instance_count <> 0") == []
    failing.store.flush_error = None
    outcome = await store_file(failing, make_file(pixels=bytes(size)))
    assert outcome.kind is StoreKind.STORED
    assert await ask(failing, "SELECT instance_count FROM series") == [(1,)]


async def test_a_flush_that_fails_for_a_copy_leaves_the_first_alone(failing: Archive) -> None:
    assert isinstance(failing.store, FailingStore)
    first = await store_file(failing, make_file())
    failing.store.flush_error = StorageFullError("The disk is full.")
    with pytest.raises(StorageFullError):
        await store_file(failing, make_file())
    assert await rows(failing) == [(UID, first.storage_key)]
    assert await files(failing) == [first.storage_key]


async def test_nobody_is_told_before_the_flush_is_done(failing: Archive) -> None:
    assert isinstance(failing.store, FailingStore)
    failing.store.before_flush = asyncio.Event()
    storing = asyncio.create_task(store_file(failing, make_file()))
    async with asyncio.timeout(10):
        while not await rows(failing):  # the rows are committed side by side
            pass
    assert not storing.done()
    failing.store.before_flush.set()
    assert (await storing).kind is StoreKind.STORED


async def test_a_copy_that_was_answered_outlives_the_failure_of_the_first_ones_flush(failing: Archive) -> None:
    assert isinstance(failing.store, FailingStore)
    failing.store.before_flush = asyncio.Event()
    first = asyncio.create_task(store_file(failing, make_file()))
    async with asyncio.timeout(10):
        while not await rows(failing):
            pass
    gate, failing.store.before_flush = failing.store.before_flush, None
    second = await store_file(failing, make_file())
    assert second.kind is StoreKind.ALREADY_THERE
    failing.store.flush_error = StorageError("The disk is broken.")
    gate.set()
    with pytest.raises(StorageError):
        await first
    assert await rows(failing) == [(UID, second.storage_key)]
    assert await files(failing) == [second.storage_key]


# --- the database fails ---


class FailingWriter:
    """An index writer that fails in a given way."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def write(self, _row: InstanceRow) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        future.set_exception(self.error)
        return future


@pytest.mark.parametrize("size", [8, 3 << 20])
async def test_rows_that_are_not_committed_take_the_file_along(archive: Archive, size: int) -> None:
    without = dataclasses.replace(archive, writer=FailingWriter(DatabaseError("away")))
    with pytest.raises(DatabaseError, match="away"):
        await store_file(without, make_file(pixels=bytes(size)))
    assert await files(archive) == []


async def test_when_the_commit_is_in_doubt_the_file_stays(archive: Archive) -> None:
    without = dataclasses.replace(archive, writer=FailingWriter(UnconfirmedCommitError("who knows")))
    with pytest.raises(UnconfirmedCommitError):
        await store_file(without, make_file())
    assert len(await files(archive)) == 1
    again = await store_file(archive, make_file())
    assert again.kind is StoreKind.STORED


async def test_an_object_that_is_taken_away_while_its_copy_arrives_is_not_told_to_be_there(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`verify --repair` removes the row of a lost file in the very moment that the file comes again."""
    first = await store_file(archive, make_file())
    path = archive.store.path(first.storage_key)
    assert path is not None
    path.unlink()
    stat = archive.store.stat

    async def stat_and_lose(key: str) -> Any:
        await ask(archive, "DELETE FROM instance RETURNING 1")
        return await stat(key)

    monkeypatch.setattr(archive.store, "stat", stat_and_lose)
    with pytest.raises(DatabaseError, match="Send it again"):
        await store_file(archive, make_file())
    monkeypatch.undo()
    assert (await store_file(archive, make_file())).kind is StoreKind.STORED

"""What does not fit is found, put right where that is safe, and nothing else is touched."""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
from pathlib import Path
from typing import Any

import pytest

from fileroom.archive.services import Archive
from fileroom.archive.store import StoreKind, StoreOutcome
from fileroom.archive.store_identity import require_own_store
from fileroom.archive.verify import ARRIVING_FOR_S, Finding, recover, verify
from fileroom.core.errors import StorageError
from fileroom.core.limits import MIB
from stored_objects import data_set_of, make_file, store_file


@pytest.fixture
async def filled(archive: Archive) -> Archive:
    """Three objects; the clock stands long after their arrival."""
    await require_own_store(archive)
    for number in (1, 2, 3):
        await store_file(archive, one(number))
    return later(archive)


def one(number: int, **attributes: Any) -> bytes:
    return make_file(SOPInstanceUID=f"1.2.3.1.1.{number}", InstanceNumber=number, **attributes)


def later(archive: Archive, seconds: float = ARRIVING_FOR_S + 60) -> Archive:
    return dataclasses.replace(archive, now=lambda: archive.now() + dt.timedelta(seconds=seconds))


async def ask(archive: Archive, statement: str) -> list[tuple[Any, ...]]:
    async with archive.pool.connection() as connection:
        return await (await connection.execute(statement.encode())).fetchall()


async def path_of(archive: Archive, number: int) -> Path:
    [(key,)] = await ask(archive, f"SELECT storage_key FROM instance WHERE sop_instance_uid = '1.2.3.1.1.{number}'")
    path = archive.store.path(key)
    assert path is not None
    return path


def told(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(finding.kind, finding.sop_instance_uid) for finding in findings]


async def orphan(archive: Archive, number: int, **attributes: Any) -> StoreOutcome:
    """An object in the store whose row is gone."""
    outcome = await store_file(archive, one(number, **attributes))
    await ask(archive, f"DELETE FROM instance WHERE storage_key = '{outcome.storage_key}' RETURNING 1")
    await ask(archive, "UPDATE series SET instance_count = instance_count - 1 RETURNING 1")
    return outcome


async def keep_aside(archive: Archive, number: int) -> Path:
    """Other content under the UID of object `number`: kept aside as a conflict. Returns its file."""
    outcome = await store_file(archive, one(number, PatientName="ELSE^SOMEBODY"))
    assert outcome.kind is StoreKind.KEPT_ASIDE
    path = archive.store.path(outcome.storage_key)
    assert path is not None
    return path


# --- everything fits ---


async def test_a_sound_archive_has_no_findings(filled: Archive) -> None:
    await store_file(filled, one(1, PatientName="ELSE^SOMEBODY"))  # kept aside
    report = await verify(filled)
    assert (report.rows, report.conflicts, report.objects, report.findings) == (3, 1, 4, [])
    files = [*(one(number) for number in (1, 2, 3)), one(1, PatientName="ELSE^SOMEBODY")]
    assert report.checked_bytes == sum(len(data_set_of(file)) for file in files)
    quick = await verify(filled, checksums=False)
    assert (quick.rows, quick.checked_bytes, quick.findings) == (3, 0, [])


async def test_an_empty_archive_fits(archive: Archive) -> None:
    assert (await verify(archive, repair=True)).findings == []


async def test_progress_is_told_row_by_row(filled: Archive) -> None:
    steps: list[tuple[int, int]] = []
    await verify(filled, progress=lambda done, total: steps.append((done, total)))
    assert steps == [(1, 3), (2, 3), (3, 3)]


async def test_progress_counts_what_is_kept_aside_too(filled: Archive) -> None:
    await keep_aside(filled, 1)
    steps: list[tuple[int, int]] = []
    await verify(filled, progress=lambda done, total: steps.append((done, total)))
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]


# --- rows without their object ---


async def damage(path: Path, how: str) -> None:
    data = path.read_bytes()
    if how == "missing":
        path.unlink()
    elif how == "truncated":
        path.write_bytes(data[:-7])
    elif how == "changed":
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


@pytest.mark.parametrize(
    ("how", "kind", "detail"),
    [
        ("missing", "missing", "no such object"),
        ("truncated", "damaged", "instead of"),
        ("changed", "damaged", "SHA-256 differs"),
    ],
)
async def test_a_damaged_object_is_told_and_without_repair_nothing_changes(
    filled: Archive, how: str, kind: str, detail: str
) -> None:
    await damage(await path_of(filled, 2), how)
    report = await verify(filled)
    assert told(report.findings) == [(kind, "1.2.3.1.1.2")]
    assert detail in report.findings[0].detail
    assert report.findings[0].repair == ""
    assert await ask(filled, "SELECT count(*) FROM instance") == [(3,)]
    assert told((await verify(filled)).findings) == [(kind, "1.2.3.1.1.2")]


async def test_a_quick_look_reads_no_object(filled: Archive) -> None:
    await damage(await path_of(filled, 1), "changed")
    await damage(await path_of(filled, 2), "truncated")
    assert told((await verify(filled, checksums=False)).findings) == [("damaged", "1.2.3.1.1.2")]


@pytest.mark.parametrize("how", ["missing", "truncated", "changed"])
async def test_after_repair_the_same_object_can_be_sent_again(filled: Archive, how: str) -> None:
    await damage(await path_of(filled, 2), how)
    report = await verify(filled, repair=True)
    assert "send the object again" in report.findings[0].repair
    assert await ask(filled, "SELECT sop_instance_uid FROM lost_object") == [("1.2.3.1.1.2",)]
    assert await ask(filled, "SELECT instance_count FROM series") == [(2,)]
    assert (await verify(filled, repair=True)).findings == []
    assert (await store_file(filled, one(2))).kind is StoreKind.STORED
    assert await ask(filled, "SELECT instance_count FROM series") == [(3,)]
    assert (await verify(filled)).findings == []


async def test_a_missing_object_that_turns_up_again_is_filed(filled: Archive, tmp_path: Path) -> None:
    path = await path_of(filled, 2)
    away = path.rename(tmp_path / "away")
    await verify(filled, repair=True)
    away.rename(path)
    report = await verify(filled, repair=True)
    assert [finding.repair for finding in report.findings] == ["filed (indexed)"]
    assert await ask(filled, "SELECT count(*) FROM instance") == [(3,)]
    assert await ask(filled, "SELECT count(*) FROM lost_object") == [(0,)]


async def test_an_object_that_cannot_be_read_now_keeps_its_row(
    filled: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bad sector, or a network store that is away: neither ends the check, nor is it taken for a loss."""
    path = await path_of(filled, 2)
    real = os.pread

    def pread(descriptor: int, length: int, offset: int) -> bytes:
        if os.path.samestat(os.fstat(descriptor), path.stat()):
            raise OSError(5, "Input/output error")
        return real(descriptor, length, offset)

    monkeypatch.setattr(os, "pread", pread)
    report = await verify(filled, repair=True)
    assert report.rows == 3
    assert told(report.findings) == [("unreadable", "1.2.3.1.1.2")]
    assert "Input/output error" in report.findings[0].detail
    assert await ask(filled, "SELECT count(*) FROM instance") == [(3,)]


async def test_a_store_that_goes_away_in_the_middle_ends_the_check(
    filled: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fileroom.archive.verify.UNREADABLE_IN_A_ROW_MAX", 3)

    async def stat(key: str) -> None:
        raise StorageError(f"The store could not read {key}: timed out.")

    monkeypatch.setattr(filled.store, "stat", stat)
    with pytest.raises(StorageError, match="timed out"):
        await verify(filled, repair=True)
    monkeypatch.undo()
    assert (await verify(filled)).findings == []


async def test_an_unmounted_disk_costs_no_row(filled: Archive, tmp_path: Path) -> None:
    (tmp_path / "store").rename(tmp_path / "unmounted")
    (tmp_path / "store").mkdir()
    for check in (verify(filled, repair=True), recover(filled)):
        with pytest.raises(StorageError, match="mounted"):
            await check
    assert await ask(filled, "SELECT count(*) FROM instance") == [(3,)]


# --- conflicts: kept aside, and looked at all the same ---


@pytest.mark.parametrize(
    ("how", "kind", "detail"),
    [
        ("missing", "missing", "no such object"),
        ("truncated", "damaged", "instead of"),
        ("changed", "damaged", "SHA-256 differs"),
        ("no meta", "damaged", "file meta information has changed"),
    ],
)
async def test_a_damaged_object_kept_aside_is_told_and_can_be_sent_again(
    filled: Archive, how: str, kind: str, detail: str
) -> None:
    path = await keep_aside(filled, 2)
    if how == "no meta":
        path.write_bytes(bytes(path.stat().st_size))
    await damage(path, how)
    report = await verify(filled)
    [finding] = report.findings
    assert (finding.kind, finding.sop_instance_uid, finding.repair) == (kind, "1.2.3.1.1.2", "")
    assert finding.detail.startswith("kept aside as a conflict: ")
    assert detail in finding.detail
    assert await ask(filled, "SELECT count(*) FROM conflict") == [(1,)]
    report = await verify(filled, repair=True)
    assert "send the object again" in report.findings[0].repair
    assert await ask(filled, "SELECT sop_instance_uid, kind FROM lost_object") == [("1.2.3.1.1.2", kind)]
    assert await ask(filled, "SELECT count(*) FROM conflict") == [(0,)]
    assert await ask(filled, "SELECT count(*) FROM instance") == [(3,)]
    assert (await verify(filled, repair=True)).findings == []
    await keep_aside(filled, 2)
    assert (await verify(filled)).findings == []


async def test_a_quick_look_sees_the_size_of_what_is_kept_aside(filled: Archive) -> None:
    await damage(await keep_aside(filled, 1), "changed")
    await damage(await keep_aside(filled, 2), "truncated")
    assert told((await verify(filled, checksums=False)).findings) == [("damaged", "1.2.3.1.1.2")]


async def test_an_object_kept_aside_whose_row_is_gone_is_an_orphan_and_kept_aside_again(filled: Archive) -> None:
    path = await keep_aside(filled, 2)
    await ask(filled, "DELETE FROM conflict RETURNING 1")
    report = await verify(filled, repair=True)
    assert [(f.kind, f.repair) for f in report.findings] == [("orphan", "filed (conflict)")]
    assert (await verify(filled)).findings == []
    assert path.exists()


async def test_a_missing_object_kept_aside_that_turns_up_again_is_kept_aside(filled: Archive, tmp_path: Path) -> None:
    path = await keep_aside(filled, 2)
    away = path.rename(tmp_path / "away")
    await verify(filled, repair=True)
    away.rename(path)
    report = await verify(filled, repair=True)
    assert [finding.repair for finding in report.findings] == ["filed (conflict)"]
    assert await ask(filled, "SELECT count(*) FROM lost_object") == [(0,)]


async def test_recovering_looks_at_what_is_kept_aside(filled: Archive) -> None:
    await damage(await keep_aside(filled, 2), "missing")
    assert told((await recover(filled)).findings) == [("missing", "1.2.3.1.1.2")]
    assert await ask(filled, "SELECT count(*) FROM conflict") == [(0,)]


# --- objects without their row ---


async def test_an_orphan_is_told_and_with_repair_filed(filled: Archive) -> None:
    lost = await orphan(filled, 4)
    report = await verify(filled)
    assert [(f.kind, f.storage_key, f.repair) for f in report.findings] == [("orphan", lost.storage_key, "")]
    report = await verify(filled, repair=True)
    assert report.findings[0].repair == "filed (indexed)"
    assert await ask(filled, "SELECT storage_key FROM instance WHERE sop_instance_uid = '1.2.3.1.1.4'") == [
        (lost.storage_key,)
    ]
    assert (await verify(filled)).findings == []


async def test_an_orphan_that_is_a_second_copy_is_deleted(filled: Archive) -> None:
    lost = await orphan(filled, 4)
    again = await store_file(filled, one(4))
    report = await verify(filled, repair=True)
    assert report.findings[0].repair.startswith("deleted")
    path = filled.store.path(lost.storage_key)
    assert path is not None
    assert not path.exists()
    assert (await filled.store.stat(again.storage_key)).size > 0


async def test_an_orphan_with_other_content_is_a_conflict(filled: Archive) -> None:
    lost = await orphan(filled, 4, PatientName="ELSE^SOMEBODY")
    await store_file(filled, one(4))
    report = await verify(filled, repair=True)
    assert report.findings[0].repair == "filed (conflict)"
    assert await ask(filled, "SELECT storage_key FROM conflict") == [(lost.storage_key,)]
    assert (await verify(filled)).findings == []


async def test_a_file_that_is_no_object_stays_where_it_is(filled: Archive) -> None:
    path = (await path_of(filled, 1)).with_name("notes.txt")
    path.write_text("do not delete")
    report = await verify(filled, repair=True)
    assert [(f.kind, f.repair) for f in report.findings] == [("unreadable", "it stays where it is")]
    assert path.read_text() == "do not delete"


async def test_an_object_that_is_just_arriving_is_left_alone(archive: Archive) -> None:
    await require_own_store(archive)
    lost = await orphan(archive, 4)
    assert (await verify(archive, repair=True)).findings == []
    assert [f.storage_key for f in (await verify(later(archive), repair=True)).findings] == [lost.storage_key]


async def test_what_was_deleted_is_no_orphan(filled: Archive) -> None:
    lost = await orphan(filled, 4)
    await ask(filled, f"INSERT INTO doomed_object (storage_key) VALUES ('{lost.storage_key}') RETURNING 1")
    assert (await verify(filled, repair=True)).findings == []


# --- at the start ---


async def test_recovering_puts_right_what_a_crash_left(filled: Archive) -> None:
    lost = await orphan(filled, 4)
    await damage(await path_of(filled, 1), "truncated")
    await damage(await path_of(filled, 2), "changed")  # not looked at: checksums take long
    leftover = (await path_of(filled, 3)).with_name("x.dcm.part")
    leftover.write_bytes(b"half")
    then = filled.now().timestamp() - ARRIVING_FOR_S - 1
    os.utime(leftover, (then, then))
    report = await recover(filled)
    assert sorted(told(report.findings)) == [("damaged", "1.2.3.1.1.1"), ("orphan", "")]
    assert not leftover.exists()
    assert await ask(filled, "SELECT count(*) FROM instance") == [(3,)]
    assert (await filled.store.stat(lost.storage_key)).size > 0


async def test_recovering_looks_at_the_last_days_only(filled: Archive) -> None:
    await damage(await path_of(filled, 1), "missing")
    assert (await recover(later(filled, 5 * 86_400))).findings == []
    assert len((await recover(filled)).findings) == 1


async def test_many_objects_are_compared_in_several_rounds(filled: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fileroom.archive.verify._ROWS_AT_A_TIME", 2)
    lost = [await orphan(filled, number) for number in (4, 5, 6)]
    report = await verify(filled)
    assert (report.rows, report.objects) == (3, 6)
    assert {finding.storage_key for finding in report.findings} == {outcome.storage_key for outcome in lost}


async def test_a_large_object_is_checked_piece_by_piece(filled: Archive) -> None:
    await store_file(filled, one(9, pixels=bytes(3 * MIB)))
    path = await path_of(filled, 9)
    with path.open("r+b") as file:
        file.seek(2 * MIB)
        file.write(b"x")
    assert told((await verify(filled)).findings) == [("damaged", "1.2.3.1.1.9")]

"""The disk fills up: A700 for what has no room, nothing half is kept, and all goes on when there is room again."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from acceptance.conftest import FileroomFactory, SeriesFactory
from acceptance.dicom_files import by_instance
from acceptance.programs.fileroom import Fileroom
from acceptance.programs.processes import wait_until
from acceptance.programs.raw_scu import send_exactly
from acceptance.programs.small_disk import small_disk as small_disk_at
from corpus.ct import make_big_multiframe

MIB = 1024 * 1024
DISK_MIB = 24
OUT_OF_RESOURCES = 0xA700


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of DISK_MIB in memory."""
    with small_disk_at(tmp_path / "disk", DISK_MIB) as folder:
        yield folder


def _is_full(status: int | None) -> bool:
    return status is not None and status & 0xFF00 == OUT_OF_RESOURCES


def _assert_consistent(room: Fileroom, store: Path) -> None:
    keys = {row[0] for row in room.rows("SELECT storage_key FROM instance")}

    def files() -> set[str]:
        return {str(path.relative_to(store)) for path in (store / "objects").rglob("*") if path.is_file()}

    wait_until(lambda: files() == keys, 20, "one file a row", lambda: str(files() ^ keys))


def test_a_full_disk_is_answered_a700_and_room_is_used_again(
    fileroom_factory: FileroomFactory, small_disk: Path, ct_series: SeriesFactory
) -> None:
    store = small_disk / "store"
    room = fileroom_factory(storage_url=f"file://{store}", storage_reserve_mib=0, workers=1)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes((DISK_MIB - 8) * MIB))
    files = ct_series(30, size=512)  # 15 MiB into 8
    answers = send_exactly(room.dicom_port, files)
    assert answers[0].status == 0
    assert _is_full(answers[-1].status), answers[-1]
    assert all(answer.status == 0 or _is_full(answer.status) for answer in answers)
    assert room.instance_count() == sum(answer.status == 0 for answer in answers)
    _assert_consistent(room, store)

    ballast.unlink()
    room.wait_until_ready()
    assert {answer.status for answer in send_exactly(room.dicom_port, files)} == {0}
    assert room.instance_count() == len(files)
    _assert_consistent(room, store)


def test_a_large_object_that_does_not_fit_leaves_nothing(
    fileroom_factory: FileroomFactory, small_disk: Path, ct_series: SeriesFactory, tmp_path: Path
) -> None:
    store = small_disk / "store"
    room = fileroom_factory(storage_url=f"file://{store}", storage_reserve_mib=0, workers=1)
    big = tmp_path / "big.dcm"
    make_big_multiframe(big, 2 * DISK_MIB * MIB)
    (answer,) = send_exactly(room.dicom_port, [big])
    assert _is_full(answer.status), answer
    _assert_consistent(room, store)
    assert {each.status for each in send_exactly(room.dicom_port, ct_series(3))} == {0}


def test_the_reserve_is_kept_free_and_readiness_says_so(
    fileroom_factory: FileroomFactory, ct_series: SeriesFactory, tmp_path: Path
) -> None:
    room = fileroom_factory(workers=1)
    room.stop()
    free_mib = shutil.disk_usage(tmp_path).free // MIB
    room.environment["FILEROOM_STORAGE_RESERVE_MIB"] = str(free_mib + 10_000)
    room.start_unready()
    files = ct_series(2)
    assert all(_is_full(answer.status) for answer in send_exactly(room.dicom_port, files))
    assert not room.is_ready()

    room.stop()
    room.environment["FILEROOM_STORAGE_RESERVE_MIB"] = "1"
    room.start()
    assert {answer.status for answer in send_exactly(room.dicom_port, files)} == {0}
    assert len(by_instance(files)) == room.instance_count()

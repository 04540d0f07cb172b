"""Files in a folder: full disks, folders that vanish, leftovers, memory."""

from __future__ import annotations

import asyncio
import datetime as dt
import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fileroom.core.errors import NotFoundError, StorageError, StorageFullError
from fileroom.core.limits import MIB, OBJECT_MEMORY_BYTES_MAX
from fileroom.storage import local
from fileroom.storage.local import LocalStore

KEY = "objects/2026/11/22/a7/one.dcm"
LARGE = 3 * MIB


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(folder: Path) -> LocalStore:
    return LocalStore(folder)


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


async def put(store: LocalStore, key: str, data: bytes) -> None:
    writer = store.begin(key)
    writer.write(data)
    writer.seal()
    await writer.flush()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)


class FullDisk:
    """os.writev that fails at a given call, for a time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, at_call: int, code: int = errno.ENOSPC) -> None:
        self._real = os.writev
        self._calls = 0
        self._at_call = at_call
        self._code = code
        self.full = True
        monkeypatch.setattr(os, "writev", self)

    def __call__(self, descriptor: int, pieces: list[bytes]) -> int:
        self._calls += 1
        if self.full and self._calls >= self._at_call:
            raise OSError(self._code, os.strerror(self._code))
        return self._real(descriptor, pieces)


# --- full disks ---


@pytest.mark.parametrize("size", [100, LARGE])
async def test_below_the_reserve_new_objects_are_refused(
    folder: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalStore(folder, reserve_bytes=256 * MIB)
    real = os.statvfs

    def nearly_full(path: Any) -> os.statvfs_result:
        values = list(real(path))
        values[1], values[4] = 4096, 255 * MIB // 4096  # f_frsize, f_bavail
        return os.statvfs_result(values)

    monkeypatch.setattr(os, "statvfs", nearly_full)
    writer = store.begin(KEY)
    writer.write(b"x" * size)
    with pytest.raises(StorageFullError, match=r"less than 256 MiB left.*Make room"):
        await finish(writer)
    await writer.abort()
    assert files(folder) == []


async def finish(writer: Any) -> None:
    await writer.drain()
    writer.seal()
    await writer.flush()


async def test_the_room_left_is_told_without_the_reserve(folder: Path, tmp_path: Path) -> None:
    free = await LocalStore(folder).free_bytes()
    held_back = await LocalStore(folder, reserve_bytes=MIB).free_bytes()
    assert free is not None
    assert held_back is not None
    assert MIB - 64 * MIB < free - held_back < 65 * MIB  # other programs write to the same disk meanwhile
    assert await LocalStore(folder, reserve_bytes=1 << 62).free_bytes() == 0


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("size", [100, LARGE])
async def test_a_failing_disk_leaves_nothing(
    store: LocalStore, folder: Path, size: int, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    FullDisk(monkeypatch, at_call=1, code=code)
    writer = store.begin(KEY)
    writer.write(b"x" * size)
    expected = StorageError if code == errno.EIO else StorageFullError
    with pytest.raises(expected, match=rf"could not write {KEY}: .*Check the disk") as caught:
        await finish(writer)
    assert type(caught.value) is expected
    await writer.abort()
    assert files(folder) == []


async def test_an_object_with_a_hole_is_never_finished(
    store: LocalStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full for one write only, and the sender goes on."""
    disk = FullDisk(monkeypatch, at_call=2)
    writer = store.begin(KEY)
    piece = b"x" * (OBJECT_MEMORY_BYTES_MAX + 1)
    writer.write(piece)
    await writer.drain()
    writer.write(piece)
    with pytest.raises(StorageFullError):
        await writer.drain()
    disk.full = False
    with pytest.raises(StorageFullError):
        for _ in range(3):
            writer.write(piece)
            await asyncio.sleep(0)
        await finish(writer)
    await writer.abort()
    assert files(folder) == []


async def test_a_failure_that_nobody_waited_for_is_told_at_the_end(
    store: LocalStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = FullDisk(monkeypatch, at_call=1)
    writer = store.begin(KEY)
    writer.write(b"x" * (OBJECT_MEMORY_BYTES_MAX + 1))
    await asyncio.wait([writer._writing])  # type: ignore[list-item,type-var]  # the moment between two writes
    disk.full = False
    writer.write(b"y" * (OBJECT_MEMORY_BYTES_MAX + 1))
    with pytest.raises(StorageFullError):
        await finish(writer)
    await writer.abort()
    assert files(folder) == []


async def test_a_short_write_is_completed(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.writev
    monkeypatch.setattr(os, "writev", lambda descriptor, pieces: real(descriptor, [pieces[0][:3]]))
    writer = store.begin(KEY)
    writer.write(b"abcdef")
    writer.write(b"ghi")
    await finish(writer)
    assert await store.read(KEY, 0, 100) == b"abcdefghi"


# --- folders ---


@pytest.mark.parametrize("size", [100, LARGE])
async def test_a_folder_removed_behind_our_back_is_made_again(store: LocalStore, folder: Path, size: int) -> None:
    await put(store, KEY, b"first")
    await store.delete(KEY)
    (folder / KEY).parent.rmdir()
    await put(store, KEY, b"x" * size)
    assert (await store.stat(KEY)).size == size


async def test_a_file_is_readable_by_us_and_our_group_only(store: LocalStore) -> None:
    await put(store, KEY, b"x")
    assert store.path(KEY).stat().st_mode & 0o007 == 0


async def test_an_existing_object_is_never_written_over(store: LocalStore) -> None:
    await put(store, KEY, b"first")
    first = store.begin(KEY)
    first.write(b"a" * LARGE)
    await first.drain()
    second = store.begin(KEY)
    second.write(b"b" * LARGE)
    with pytest.raises(StorageError, match="File exists"):
        await finish(second)


async def test_a_store_that_is_not_there_yet_is_empty(store: LocalStore) -> None:
    assert [found async for found in store.objects()] == []
    assert [found async for found in store.objects("objects/")] == []
    assert await store.sweep(dt.datetime.now(dt.UTC)) == 0
    with pytest.raises(NotFoundError):
        await store.read(KEY, 0, 1)


# --- leftovers ---


async def test_old_unfinished_files_are_swept_and_young_ones_stay(store: LocalStore, folder: Path) -> None:
    await put(store, KEY, b"whole")
    old, young = folder / "objects/2026/old.dcm.part", folder / "objects/2026/young.dcm.part"
    for path in (old, young):
        path.write_bytes(b"half")
    now = dt.datetime.now(dt.UTC)
    os.utime(old, (now.timestamp() - 3600,) * 2)
    assert await store.sweep(now - dt.timedelta(minutes=5)) == 1
    assert files(folder) == [KEY, "objects/2026/young.dcm.part"]
    assert [found.key async for found in store.objects()] == [KEY]


async def test_aborting_while_the_thread_writes_leaves_nothing(store: LocalStore, folder: Path) -> None:
    writer = store.begin(KEY)
    writer.write(b"x" * LARGE)
    await writer.abort()
    assert files(folder) == []


@pytest.mark.parametrize("size", [100, LARGE])
@pytest.mark.parametrize("threads", [1, 2])
async def test_a_flush_that_nobody_waits_for_any_more_closes_its_file_once(
    folder: Path, size: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second close would hit whatever has the number by then: another file, or somebody's connection."""
    monkeypatch.setattr(local, "FLUSH_THREADS_MAX", threads)
    store = LocalStore(folder)
    await put(store, f"{KEY}.other", b"x")  # makes the folder
    writer = store.begin(KEY)
    writer.write(b"x" * size)
    writer.seal()
    closed: list[int] = []
    go = threading.Event()
    real_sync, real_close = os.fsync, os.close

    def sync(descriptor: int) -> None:
        go.wait(10)
        real_sync(descriptor)

    def close(descriptor: int) -> None:
        closed.append(descriptor)
        real_close(descriptor)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "close", close)
    first = store._threads.submit(go.wait, 10)  # of one thread, this is the only one: the flush has not begun
    flushing = asyncio.create_task(writer.flush())
    await until(lambda: writer._finishing is not None)
    flushing.cancel()
    await asyncio.wait([flushing])
    aborting = asyncio.create_task(writer.abort())
    await asyncio.sleep(0)
    assert closed == []
    flushed = writer._descriptor
    go.set()
    await aborting
    assert first.result()
    assert closed == [flushed]
    assert files(folder) == [f"{KEY}.other"]


# --- memory ---


async def test_little_of_a_large_object_waits_in_memory_when_drained(store: LocalStore) -> None:
    writer = store.begin(KEY)
    piece = bytes(256 * 1024)
    most = 0
    for _ in range(64 * 4):
        writer.write(piece)
        most = max(most, writer.pending_bytes)
        if writer.pending_bytes > OBJECT_MEMORY_BYTES_MAX:
            await writer.drain()
    writer.seal()
    await writer.flush()
    assert (await store.stat(KEY)).size == 64 * MIB
    assert most <= 2 * OBJECT_MEMORY_BYTES_MAX + len(piece)
    assert writer.pending_bytes == 0

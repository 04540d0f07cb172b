"""What every object store keeps to, whatever is behind it (`fileroom.storage.store`)."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest

from fileroom.core.errors import NotFoundError
from fileroom.core.limits import MIB, OBJECT_MEMORY_BYTES_MAX, STREAM_CHUNK_BYTES
from fileroom.storage.store import ObjectStore, ObjectWriter, new_object_key

KEY = "objects/2026/11/22/a7/one.dcm"


async def put(store: ObjectStore, key: str, data: bytes, piece: int = 1 << 20) -> None:
    await write_pieces(writer := store.begin(key), data, piece)
    writer.seal()
    await writer.flush()


async def write_pieces(writer: ObjectWriter, data: bytes, piece: int) -> None:
    for start in range(0, len(data), piece):
        writer.write(memoryview(data)[start : start + piece])
        if writer.pending_bytes > OBJECT_MEMORY_BYTES_MAX:
            await writer.drain()


async def content(store: ObjectStore, key: str, start: int = 0, length: int | None = None) -> bytes:
    return b"".join([piece async for piece in store.stream(key, start, length)])


async def keys(store: ObjectStore, prefix: str = "") -> list[str]:
    return sorted([found.key async for found in store.objects(prefix)])


def pattern(size: int) -> bytes:
    """Bytes in which a piece that is lost, doubled or displaced shows."""
    return np.arange(-(-size // 4), dtype=">u4").tobytes()[:size]


@pytest.mark.parametrize("size", [0, 1, 1000, OBJECT_MEMORY_BYTES_MAX, OBJECT_MEMORY_BYTES_MAX + 1, 9 * MIB + 7])
async def test_what_was_written_is_read(store: ObjectStore, size: int) -> None:
    data = pattern(size)
    await put(store, KEY, data, piece=777_777)
    assert await content(store, KEY) == data
    assert await store.read(KEY, 0, size) == data
    stat = await store.stat(KEY)
    assert (stat.key, stat.size) == (KEY, size)
    assert stat.modified_at.tzinfo is not None
    assert abs(dt.datetime.now(dt.UTC) - stat.modified_at) < dt.timedelta(minutes=5)


async def test_a_large_object_arrives_whole_in_odd_pieces(store: ObjectStore) -> None:
    data = pattern(2 * MIB + 13)
    writer = store.begin(KEY)
    sizes = [1, 65_535, 0, 131_072 - 7, 3, 400_001]
    position = turn = 0
    while position < len(data):
        writer.write(data[position : position + sizes[turn % len(sizes)]])
        position += sizes[turn % len(sizes)]
        turn += 1
        await writer.drain()
    writer.seal()
    await writer.flush()
    assert await content(store, KEY) == data


async def test_a_buffer_may_be_used_again_after_write(store: ObjectStore) -> None:
    buffer = bytearray(b"first")
    writer = store.begin(KEY)
    writer.write(memoryview(buffer))
    buffer[:] = b"other"
    writer.seal()
    await writer.flush()
    assert await content(store, KEY) == b"first"


async def test_a_range_ends_at_the_end_of_the_object(store: ObjectStore) -> None:
    data = pattern(1000)
    await put(store, KEY, data)
    for start, length in ((0, 5), (3, 4), (995, 5), (995, 100), (999, 1), (1000, 1), (1500, 10), (10, 0)):
        assert await store.read(KEY, start, length) == data[start : start + length]
        assert await content(store, KEY, start, length) == data[start : start + length]


async def test_streaming_from_the_middle(store: ObjectStore) -> None:
    data = pattern(2 * STREAM_CHUNK_BYTES + 99)
    await put(store, KEY, data)
    assert await content(store, KEY, 1_000_001) == data[1_000_001:]
    assert await content(store, KEY, 7, STREAM_CHUNK_BYTES + 1) == data[7 : 8 + STREAM_CHUNK_BYTES]


async def test_a_stream_that_is_left_early_can_be_closed(store: ObjectStore) -> None:
    await put(store, KEY, pattern(3 * MIB))
    stream = store.stream(KEY)
    assert len(await anext(stream)) > 0
    await stream.aclose()  # type: ignore[attr-defined]  # an async generator in every store


@pytest.mark.parametrize("size", [10, 3 * MIB])
async def test_nothing_is_seen_before_the_seal(store: ObjectStore, size: int) -> None:
    writer = store.begin(KEY)
    await write_pieces(writer, pattern(size), 400_000)
    await writer.drain()
    assert await keys(store) == []
    with pytest.raises(NotFoundError):
        await store.stat(KEY)
    readable = writer.seal()
    if readable:
        assert await content(store, KEY) == pattern(size)
    else:
        assert await keys(store) == []
    await writer.flush()
    assert await keys(store) == [KEY]


@pytest.mark.parametrize("size", [10, 3 * MIB])
@pytest.mark.parametrize("sealed", [False, True])
async def test_an_aborted_object_leaves_nothing(store: ObjectStore, size: int, sealed: bool) -> None:
    writer = store.begin(KEY)
    await write_pieces(writer, pattern(size), 400_000)
    if sealed:
        writer.seal()
    await writer.abort()
    assert await keys(store) == []
    with pytest.raises(NotFoundError):
        await store.read(KEY, 0, 1)


@pytest.mark.parametrize("size", [10, 3 * MIB])
async def test_what_was_flushed_can_still_be_aborted(store: ObjectStore, size: int) -> None:
    writer = store.begin(KEY)
    await write_pieces(writer, pattern(size), 400_000)
    writer.seal()
    await writer.flush()
    await writer.abort()
    assert await keys(store) == []


async def test_an_absent_object_is_named_with_what_to_do(store: ObjectStore) -> None:
    with pytest.raises(NotFoundError, match=r"no object objects/x\.dcm.*fileroom verify"):
        await store.read("objects/x.dcm", 0, 10)
    with pytest.raises(NotFoundError, match="fileroom verify"):
        await store.stat("objects/x.dcm")
    with pytest.raises(NotFoundError, match="fileroom verify"):
        await content(store, "objects/x.dcm")


async def test_deleting_twice_is_no_error(store: ObjectStore) -> None:
    await put(store, KEY, b"x")
    await store.delete(KEY)
    await store.delete(KEY)
    assert await keys(store) == []


async def test_objects_below_a_folder_are_listed(store: ObjectStore) -> None:
    for key in ("objects/2026/01/a.dcm", "objects/2026/02/b.dcm", "objects/2027/c.dcm", "documents/d.json"):
        await put(store, key, key.encode())
    assert await keys(store) == [
        "documents/d.json",
        "objects/2026/01/a.dcm",
        "objects/2026/02/b.dcm",
        "objects/2027/c.dcm",
    ]
    assert await keys(store, "objects/2026/") == ["objects/2026/01/a.dcm", "objects/2026/02/b.dcm"]
    assert await keys(store, "objects/2028/") == []
    sizes = {found.key: found.size async for found in store.objects("documents/")}
    assert sizes == {"documents/d.json": 16}


async def test_sweeping_leaves_whole_objects_alone(store: ObjectStore) -> None:
    await put(store, KEY, b"x")
    assert await store.sweep(dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)) == 0
    assert await content(store, KEY) == b"x"


async def test_room_is_told_where_it_ends(store: ObjectStore) -> None:
    free = await store.free_bytes()
    assert free is None or free > 0


async def test_keys_of_one_hour_lie_together_and_never_collide() -> None:
    made = {new_object_key(dt.datetime(2026, 11, 2, 23, 59, tzinfo=dt.UTC)) for _ in range(200)}
    assert len(made) == 200
    assert all(key.startswith("objects/2026/11/02/23/") and key.endswith(".dcm") for key in made)
    assert new_object_key(dt.datetime(2026, 1, 1, tzinfo=dt.UTC), "documents").startswith("documents/2026/01/01/00/")

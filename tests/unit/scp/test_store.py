"""C-STORE: one answer for each object, the right one, and only after the work is done."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from fake_port import FakePort
from fileroom.archive.services import Archive
from fileroom.core.access import SYSTEM
from fileroom.core.errors import DatabaseError, StorageError, StorageFullError
from fileroom.core.limits import MIB
from fileroom.core.settings import Settings
from fileroom.dimse.command_set import CommandField, CommandSet
from fileroom.dimse.status import Status
from fileroom.scp import store as store_module
from fileroom.scp.store import StoreSink
from fileroom.ul.negotiation import AcceptedContext
from stored_objects import CT, EXPLICIT_LE, data_set_of, make_file

UID = "1.2.3.1.1.1"


def open_sink(
    archive: Archive, port: FakePort, *, sop_class: str | None = CT, sop_instance: str | None = UID
) -> StoreSink:
    command = CommandSet(
        CommandField.C_STORE_RQ,
        5,
        affected_sop_class_uid=sop_class,
        affected_sop_instance_uid=sop_instance,
        has_dataset=True,
    )
    return StoreSink(archive, port, AcceptedContext(9, sop_class or "1.2", EXPLICIT_LE), command, "CT1", SYSTEM)


async def send(
    archive: Archive, file: bytes, port: FakePort | None = None, piece: int = 65536, **uids: Any
) -> FakePort:
    """One object, its pieces as they would come from the network; the port with the answer."""
    port = port or FakePort()
    sink = open_sink(archive, port, **uids)
    buffer = bytearray(piece)
    data = data_set_of(file)
    for start in range(0, len(data), piece):
        part = data[start : start + piece]
        buffer[: len(part)] = part
        sink.write(memoryview(buffer)[: len(part)])
        if port.paused:
            await until(lambda: not port.paused)
    buffer[:] = bytes(len(buffer))  # the network's buffer is used again
    assert port.sent == []
    await finish(sink)
    return port


async def finish(sink: StoreSink) -> None:
    ended = sink.finish()
    if ended is not None:
        await ended


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)


async def ask(archive: Archive, statement: str) -> list[tuple[Any, ...]]:
    async with archive.pool.connection() as connection:
        return await (await connection.execute(statement.encode())).fetchall()


def files(archive: Archive) -> list[str]:
    root = archive.store.path("")
    assert root is not None
    return [path.name for path in root.rglob("*") if path.is_file()]


# --- kept ---


async def test_a_stored_object_is_answered_with_success(archive: Archive) -> None:
    port = await send(archive, make_file())
    [(context_id, answer, dataset)] = port.sent
    assert (context_id, dataset) == (9, None)
    assert answer.command_field == CommandField.C_STORE_RSP
    assert (answer.status, answer.message_id_responded_to) == (Status.SUCCESS, 5)
    assert (answer.affected_sop_class_uid, answer.affected_sop_instance_uid) == (CT, UID)
    assert await ask(archive, "SELECT received_by, sender FROM instance") == [("dimse", "CT1@10.0.0.1")]


async def test_the_same_again_is_success_and_other_content_a_warning(archive: Archive) -> None:
    await send(archive, make_file())
    assert (await send(archive, make_file())).statuses == [Status.SUCCESS]
    port = await send(archive, make_file(PatientName="ELSE^SOMEBODY"))
    assert port.statuses == [0xB000]
    assert "kept aside" in (port.final.error_comment or "")


async def test_nothing_is_answered_before_the_object_is_safe(archive: Archive) -> None:
    port = FakePort()
    sink = open_sink(archive, port)
    seen: list[tuple[Any, ...]] = []
    sink.write(memoryview(data_set_of(make_file())))
    task = sink.finish()
    assert task is not None
    port.on_send = lambda: seen.append(tuple(files(archive)))
    await task
    assert [len(names) for names in seen] == [1]
    assert await ask(archive, "SELECT count(*) FROM instance") == [(1,)]


async def test_what_has_wholly_come_is_stored_even_when_the_peer_has_left(archive: Archive) -> None:
    sink = open_sink(archive, FakePort())
    sink.write(memoryview(data_set_of(make_file())))
    task = sink.finish()
    assert task is not None
    await asyncio.sleep(0)
    sink.abort()
    await task
    assert await ask(archive, "SELECT count(*) FROM instance") == [(1,)]


async def test_an_association_that_dies_in_the_middle_leaves_nothing(archive: Archive) -> None:
    port = FakePort()
    sink = open_sink(archive, port)
    sink.write(memoryview(data_set_of(make_file(pixels=bytes(3 * MIB)))))
    sink.abort()
    await until(lambda: not store_module._background)
    assert files(archive) == []
    assert port.sent == []


# --- refused ---


@pytest.mark.parametrize(
    ("uids", "attributes", "status", "reason"),
    [
        ({"sop_instance": "9.9"}, {}, 0xA900, "announced"),
        ({"sop_class": "1.2.840.10008.5.1.4.1.1.4"}, {}, 0xA900, "announced"),
        ({}, {"StudyInstanceUID": ""}, 0xC000, "Study Instance UID"),
        ({"sop_instance": "../../etc/passwd"}, {}, 0xC000, "SOP Instance UID"),
        ({"sop_instance": None}, {}, 0xC000, "SOP Instance UID"),
        ({"sop_class": None}, {}, 0xC000, "SOP Class UID"),
    ],
)
async def test_a_refusal_has_a_status_a_comment_and_a_row(
    archive: Archive, uids: dict[str, Any], attributes: dict[str, Any], status: int, reason: str
) -> None:
    port = await send(archive, make_file(**attributes), **uids)
    assert port.statuses == [status]
    assert port.final.error_comment
    [(noted, why)] = await ask(archive, "SELECT status, reason FROM refusal")
    assert noted == status
    assert reason in why
    assert files(archive) == []


async def test_unknown_sop_classes_can_be_refused(archive: Archive) -> None:
    strict = dataclasses.replace(archive, settings=Settings(accept_unknown_sop_classes=False))
    port = await send(strict, make_file(SOPClassUID="1.2.3.4"), sop_class="1.2.3.4")
    assert port.statuses == [0xC000]
    assert await ask(archive, "SELECT count(*) FROM refusal") == [(1,)]


async def test_what_turns_out_to_be_no_data_set_in_the_middle_is_refused_once_and_noted(archive: Archive) -> None:
    port = FakePort()
    sink = open_sink(archive, port)
    for _ in range(4):
        sink.write(memoryview(b"\xff" * 65536))
    await finish(sink)
    await until(lambda: not store_module._background)
    assert [status & 0xF000 for status in port.statuses] == [0xC000]
    assert await ask(archive, "SELECT count(*) FROM refusal") == [(1,)]
    assert files(archive) == []


# --- the store or the database fails ---


class FailingWriter:
    """A store's writer that fails at one step."""

    def __init__(self, writer: Any, step: str, error: Exception) -> None:
        self._writer = writer
        self._step = step
        self._error = error

    def __getattr__(self, name: str) -> Any:
        if name != self._step:
            return getattr(self._writer, name)
        if name in ("drain", "flush"):

            async def fail() -> None:
                raise self._error

            return fail

        def fail_now(*_: Any) -> None:
            raise self._error

        return fail_now


@pytest.mark.parametrize("step", ["drain", "seal", "flush"])
@pytest.mark.parametrize("error", [StorageError("The disk is broken."), StorageFullError("The disk is full.")])
async def test_a_store_that_fails_is_a700_and_leaves_nothing(
    archive: Archive, step: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = archive.store.begin
    monkeypatch.setattr(archive.store, "begin", lambda key: FailingWriter(real(key), step, error))
    port = await send(archive, make_file(pixels=bytes(6 * MIB)))
    assert port.statuses == [Status.OUT_OF_RESOURCES]
    assert str(error)[:20] in (port.final.error_comment or "")
    await until(lambda: not store_module._background)
    assert files(archive) == []
    assert await ask(archive, "SELECT count(*) FROM instance") == [(0,)]


async def test_a_store_that_fails_while_the_last_piece_is_drained_is_a700(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The data set is complete while the store is still behind; then the store fails."""
    go = asyncio.Event()
    real = archive.store.begin

    class Slow(FailingWriter):
        def __getattr__(self, name: str) -> Any:
            if name != "drain":
                return getattr(self._writer, name)

            async def drain() -> None:
                await go.wait()
                raise StorageFullError("The disk is full.")

            return drain

    monkeypatch.setattr(archive.store, "begin", lambda key: Slow(real(key), "", StorageError("")))
    port = FakePort()
    sink = open_sink(archive, port)
    data = data_set_of(make_file(pixels=bytes(6 * MIB)))
    sink.write(memoryview(data))
    assert port.paused == 1
    task = sink.finish()
    await asyncio.sleep(0)
    go.set()
    assert task is not None
    await task
    assert port.statuses == [Status.OUT_OF_RESOURCES]
    assert port.paused == 0
    await until(lambda: not store_module._background)
    assert files(archive) == []
    assert await ask(archive, "SELECT count(*) FROM instance") == [(0,)]


class HangingWriter(FailingWriter):
    """A store's writer that does not come back from one step until it is let."""

    def __init__(self, writer: Any, step: str, go: asyncio.Event) -> None:
        super().__init__(writer, step, StorageError(""))
        self._go = go

    def __getattr__(self, name: str) -> Any:
        if name != self._step:
            return getattr(self._writer, name)

        async def hang() -> None:
            await self._go.wait()
            await getattr(self._writer, name)()

        return hang


@pytest.mark.parametrize(("step", "mebibytes"), [("flush", 0), ("flush", 6), ("drain", 6)])
async def test_a_store_that_hangs_is_answered_all_the_same_and_once(
    archive: Archive, step: str, mebibytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = asyncio.Event()
    real = archive.store.begin
    monkeypatch.setattr(archive.store, "begin", lambda key: HangingWriter(real(key), step, go))
    monkeypatch.setattr(store_module, "STORE_TIMEOUT_S", 0.05)
    port = FakePort()
    file = make_file(pixels=bytes(mebibytes * MIB or 8))
    sink = open_sink(archive, port)
    sink.write(memoryview(data_set_of(file)))
    stored = sink.finish()
    await until(lambda: bool(port.sent))
    assert port.statuses == [Status.OUT_OF_RESOURCES]
    assert "not safe within" in (port.final.error_comment or "")
    go.set()
    assert stored is not None
    await stored
    await until(lambda: not store_module._background)
    assert len(port.sent) == 1
    assert port.paused == 0
    monkeypatch.undo()
    assert (await send(archive, file)).statuses == [Status.SUCCESS]
    assert len(files(archive)) == 1


async def test_a_drain_that_hangs_in_the_midst_lets_the_rest_pass_and_is_answered(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = asyncio.Event()
    real = archive.store.begin
    monkeypatch.setattr(archive.store, "begin", lambda key: HangingWriter(real(key), "drain", go))
    monkeypatch.setattr(store_module, "STORE_TIMEOUT_S", 0.05)
    port = FakePort()
    sink = open_sink(archive, port)
    data = memoryview(data_set_of(make_file(pixels=bytes(6 * MIB))))
    sink.write(data[: 5 * MIB])
    assert port.paused == 1
    await until(lambda: port.paused == 0)
    sink.write(data[5 * MIB :])
    await finish(sink)
    assert port.statuses == [Status.OUT_OF_RESOURCES]
    await until(lambda: not store_module._background)
    assert files(archive) == []


async def test_a_database_that_fails_is_a700(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_row: Any) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        future.set_exception(DatabaseError("The database does not answer."))
        return future

    monkeypatch.setattr(archive.writer, "write", fail)
    port = await send(archive, make_file())
    assert port.statuses == [Status.OUT_OF_RESOURCES]
    assert files(archive) == []


async def test_a_sender_faster_than_the_store_is_paused_and_resumed(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "PENDING_BYTES_MAX", MIB)
    port = FakePort()
    sink = open_sink(archive, port)
    data = memoryview(data_set_of(make_file(pixels=bytes(8 * MIB))))
    most = 0
    for start in range(0, len(data), 128 * 1024):
        sink.write(data[start : start + 128 * 1024])
        incoming = sink._incoming
        assert incoming is not None
        most = max(most, incoming.pending_bytes)
        if port.paused:
            await until(lambda: not port.paused)
    await finish(sink)
    assert port.pauses > 2
    assert port.paused == 0
    assert most < 3 * MIB
    assert port.statuses == [Status.SUCCESS]

"""Rows are committed together, each future tells the truth, and a lost connection is opened again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pytest

from failing_database import FailingDatabase, Fault
from fileroom.archive.services import Archive
from fileroom.core.errors import DatabaseError
from fileroom.index import write
from fileroom.index.write import (
    AlreadyThere,
    IndexWriter,
    Inserted,
    InstanceRow,
    UnconfirmedCommitError,
    WriteOutcome,
)


def row(study: str, series: str, instance: str, *, patient: str = "P1", **columns: Any) -> InstanceRow:
    """A row; `columns` are those of the instance."""
    key = f"{study}.{series}.{instance}"
    entry = {
        "identity": f"id:{patient}|",
        "patient": {"patient_id": patient},
        "study": {"study_instance_uid": study, "study_id": columns.pop("study_id", None)},
        "series": {"series_instance_uid": f"{study}.{series}", "modality": columns.pop("modality", "CT")},
        "instance": {
            "sop_instance_uid": key,
            "sop_class_uid": "1.2.840.10008.5.1.4.1.1.2",
            "transfer_syntax_uid": "1.2.840.10008.1.2.1",
            "storage_key": f"objects/{key}",
            "file_bytes": 10,
            "dataset_offset": 1,
            "digest": "aa",
            "received_by": "test",
            "sender": "",
            **columns,
        },
    }
    return InstanceRow(study, f"{study}.{series}", key, orjson.dumps(entry))


@pytest.fixture
async def writer(archive: Archive) -> IndexWriter:
    return archive.writer


@pytest.fixture
async def second_writer(archive: Archive, database_url: str) -> AsyncIterator[IndexWriter]:
    second = IndexWriter(database_url)
    await second.start()
    yield second
    await second.stop()


async def ask(archive: Archive, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
    async with archive.pool.connection() as connection:
        return await (await connection.execute(statement.encode(), parameters)).fetchall()


async def write_all(writer: IndexWriter, rows: list[InstanceRow]) -> list[WriteOutcome | BaseException]:
    return await asyncio.gather(*(writer.write(each) for each in rows), return_exceptions=True)


async def test_what_waits_is_committed_together(archive: Archive, writer: IndexWriter) -> None:
    rows = [row("1", str(n % 3), str(n)) for n in range(50)]
    assert await write_all(writer, rows) == [Inserted()] * 50
    assert await ask(archive, "SELECT count(*), count(DISTINCT xmin::text) FROM instance") == [(50, 1)]


async def test_a_batch_has_a_limit(archive: Archive, writer: IndexWriter) -> None:
    rows = [row("1", "1", str(n)) for n in range(write.BATCH_ROWS_MAX + 1)]
    assert await write_all(writer, rows) == [Inserted()] * len(rows)
    assert await ask(archive, "SELECT count(DISTINCT xmin::text) FROM instance") == [(2,)]


async def test_series_study_and_patient_are_made_once_and_counted(archive: Archive, writer: IndexWriter) -> None:
    await write_all(
        writer, [row("1", "1", "1"), row("1", "1", "2"), row("1", "2", "1", modality="SR"), row("2", "1", "1")]
    )
    assert await ask(archive, "SELECT identity FROM patient") == [("id:P1|",)]
    assert await ask(archive, "SELECT study_instance_uid, modalities FROM study ORDER BY 1") == [
        ("1", ["CT", "SR"]),
        ("2", ["CT"]),
    ]
    assert await ask(archive, "SELECT series_instance_uid, instance_count FROM series ORDER BY 1") == [
        ("1.1", 2),
        ("1.2", 1),
        ("2.1", 1),
    ]
    assert await ask(archive, "SELECT sop_classes FROM study") == [(["1.2.840.10008.5.1.4.1.1.2"],)] * 2


async def test_a_later_series_fills_in_what_the_study_lacks(archive: Archive, writer: IndexWriter) -> None:
    await writer.write(row("1", "1", "1"))
    await writer.write(row("1", "2", "1", study_id="S1"))
    await writer.write(row("1", "3", "1", study_id="S2"))
    assert await ask(archive, "SELECT study_id FROM study") == [("S1",)]


async def test_the_same_series_uid_in_two_studies_is_two_series(archive: Archive, writer: IndexWriter) -> None:
    one, other = row("1", "1", "1"), row("2", "1", "1")
    other = InstanceRow("2", "1.1", "2.1.1", other.json.replace(b'"2.1"', b'"1.1"'))
    assert await write_all(writer, [one, other]) == [Inserted(), Inserted()]
    assert await ask(archive, "SELECT series_instance_uid, instance_count FROM series") == [("1.1", 1)] * 2


async def test_a_known_uid_is_told_with_what_is_there(writer: IndexWriter) -> None:
    await writer.write(row("1", "1", "1", digest="0b", file_bytes=77))
    again = await writer.write(row("1", "1", "1", digest="0c", storage_key="objects/other"))
    assert again == AlreadyThere("objects/1.1.1", 77, b"\x0b", is_young=True)


async def test_of_the_same_uid_in_one_batch_the_first_stays(archive: Archive, writer: IndexWriter) -> None:
    rows = [row("1", "1", "1", digest=f"0{n}", storage_key=f"objects/{n}") for n in range(3)]
    there = AlreadyThere("objects/0", 10, b"\x00", is_young=True)
    assert await write_all(writer, [*rows, row("1", "1", "2")]) == [Inserted(), there, there, Inserted()]
    assert await ask(archive, "SELECT instance_count FROM series") == [(2,)]


async def test_a_row_that_is_refused_does_not_refuse_its_neighbours(archive: Archive, writer: IndexWriter) -> None:
    rows = [
        row("1", "1", "1"),
        row("1", "1", "2", rows="many"),
        row("1", "1", "3"),
        row("2", "1", "1", file_bytes=None),
    ]
    outcomes = await write_all(writer, rows)
    assert outcomes[0] == outcomes[2] == Inserted()
    for outcome in (outcomes[1], outcomes[3]):
        assert isinstance(outcome, DatabaseError)
        assert not isinstance(outcome, UnconfirmedCommitError)
        assert "did not take the object's row" in str(outcome)
    assert await ask(archive, "SELECT count(*) FROM instance") == [(2,)]
    assert await ask(archive, "SELECT study_instance_uid FROM study") == [("1",)]


async def test_two_writers_agree_on_new_patients_studies_and_series(
    archive: Archive, writer: IndexWriter, second_writer: IndexWriter
) -> None:
    """Patients are taken in opposite orders, so that transactions do get into each other's way."""
    tasks = []
    for n in range(120):
        for which, turn in ((writer, n % 12), (second_writer, 11 - n % 12)):
            name = f"{n}" if which is writer else f"x{n}"
            study, patient = f"{turn}", f"P{(turn * 7) % 5}"
            tasks.append(which.write(row(study, str(n % 4), name, patient=patient, modality=f"M{n % 4}")))
            tasks.append(which.write(row(study, "same", str(n // 12), patient=patient)))
        await asyncio.sleep(0)
    outcomes = await asyncio.gather(*tasks)
    assert sum(isinstance(outcome, Inserted) for outcome in outcomes) == 240 + 120
    assert await ask(archive, "SELECT count(*) FROM instance") == [(360,)]
    assert await ask(archive, "SELECT count(*) FROM patient") == [(5,)]
    assert await ask(archive, "SELECT count(*) FROM study") == [(12,)]
    wrong = await ask(
        archive,
        "SELECT id FROM series e WHERE instance_count <> (SELECT count(*) FROM instance i WHERE i.series = e.id)",
    )
    assert wrong == []


async def test_a_connection_killed_in_the_middle_leaves_nothing_confirmed(
    archive: Archive, writer: IndexWriter
) -> None:
    await writer.write(row("1", "1", "1"))
    assert writer._connection is not None
    killed = writer._connection.info.backend_pid
    async with archive.pool.connection() as blocking, blocking.transaction():
        await blocking.execute("LOCK TABLE instance IN ACCESS EXCLUSIVE MODE")
        future = writer.write(row("1", "1", "2"))
        await until_waiting(archive, killed)
        await ask(archive, "SELECT pg_terminate_backend(%s)", killed)
        with pytest.raises(UnconfirmedCommitError, match=r"did not confirm.*|shutting down.*"):
            await future
    assert await writer.write(row("1", "1", "3")) == Inserted()
    assert writer._connection.info.backend_pid != killed
    assert await writer.write(row("1", "1", "2")) == Inserted()
    assert await ask(archive, "SELECT instance_count FROM series") == [(3,)]


async def until_waiting(archive: Archive, pid: int) -> None:
    """Until the server says that this connection waits for a lock."""
    async with asyncio.timeout(10):
        while not await ask(archive, "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'", pid):
            pass


async def test_a_connection_killed_while_idle_is_not_noticed(archive: Archive, writer: IndexWriter) -> None:
    await writer.write(row("1", "1", "1"))
    assert writer._connection is not None
    await ask(archive, "SELECT pg_terminate_backend(%s, 5000)", writer._connection.info.backend_pid)
    assert await writer.write(row("1", "1", "2")) == Inserted()
    assert await ask(archive, "SELECT instance_count FROM series") == [(2,)]


@pytest.fixture
async def failing(archive: Archive, database_url: str, tmp_path: Path) -> AsyncIterator[FailingDatabase]:
    folder = tmp_path / "socket"
    folder.mkdir()
    async with FailingDatabase(database_url, folder) as running:
        yield running


@pytest.mark.parametrize("fault", Fault)
@pytest.mark.parametrize("piece", [1, 2, 3])
@pytest.mark.parametrize("side", ["client", "server"])
async def test_wherever_the_connection_breaks_or_freezes_every_wait_ends(
    failing: FailingDatabase, monkeypatch: pytest.MonkeyPatch, side: str, piece: int, fault: Fault
) -> None:
    """Three pieces each way: the connection is opened, the statement prepared, the rows written."""
    writer = IndexWriter(failing.url)
    await writer.start()
    rows = [row(f"{n // 3}", "1", f"{n % 3}") for n in range(6)]
    try:
        failing.fail(fault, side, piece)
        failing.cut_all()
        with monkeypatch.context() as quick:
            quick.setattr(write, "COMMIT_TIMEOUT_S", 0.2)
            quick.setattr(write, "OPEN_TIMEOUT_S", 0.2)
            quick.setattr(write, "CONNECT_TIMEOUT_S", 2)
            under_way = [writer.write(each) for each in rows[:3]]
            await asyncio.sleep(0)
            waiting = [writer.write(each) for each in rows[3:]]
            ended = asyncio.gather(*under_way, *waiting, return_exceptions=True)
            outcomes = await asyncio.wait_for(ended, 10)
        assert all(isinstance(outcome, DatabaseError) for outcome in outcomes), outcomes
        assert failing.has_failed
        failing.heal()
        again = await asyncio.wait_for(asyncio.gather(*map(writer.write, rows)), 30)
        assert all(isinstance(outcome, Inserted | AlreadyThere) for outcome in again)
    finally:
        failing.heal()
        await writer.stop()


async def test_a_failure_that_nobody_foresaw_costs_the_connection_and_nothing_after_it(
    writer: IndexWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """libpq may be left in the midst of something: what comes next must not find it so."""

    async def fail(*_: Any) -> None:
        raise psycopg.OperationalError("another command is already in progress")

    await writer.write(row("1", "1", "1"))
    monkeypatch.setattr(writer, "_ask", fail)
    with pytest.raises(UnconfirmedCommitError):
        await writer.write(row("1", "1", "2"))
    monkeypatch.undo()
    assert writer._connection is None
    assert await writer.write(row("1", "1", "2")) == Inserted()


async def test_who_comes_after_the_end_is_refused(database_url: str, archive: Archive) -> None:
    writer = IndexWriter(database_url)
    await writer.start()
    assert writer._connection is not None
    pid = writer._connection.info.backend_pid
    async with archive.pool.connection() as blocking, blocking.transaction():
        await blocking.execute("LOCK TABLE instance IN ACCESS EXCLUSIVE MODE")
        under_way = writer.write(row("1", "1", "1"))
        await until_waiting(archive, pid)
        stopping = asyncio.create_task(writer.stop())
        await asyncio.sleep(0)
        late = writer.write(row("1", "1", "2"))
        with pytest.raises(DatabaseError, match="stops"):
            await asyncio.wait_for(late, 10)
    await asyncio.wait_for(stopping, 10)
    assert await under_way == Inserted()
    with pytest.raises(DatabaseError, match="stops"):
        await asyncio.wait_for(writer.write(row("1", "1", "3")), 10)


async def test_a_commit_that_is_never_confirmed_is_not_success(
    archive: Archive, writer: IndexWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "COMMIT_TIMEOUT_S", 0.05)
    async with archive.pool.connection() as blocking, blocking.transaction():
        await blocking.execute("LOCK TABLE instance IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(UnconfirmedCommitError):
            await writer.write(row("1", "1", "1"))
    monkeypatch.undo()
    outcome = await writer.write(row("1", "1", "1"))  # the first may have been committed after all
    assert isinstance(outcome, Inserted | AlreadyThere)


@pytest.mark.parametrize("waiting", [0, 1, 3])
async def test_stopping_waits_for_what_is_under_way(archive: Archive, database_url: str, waiting: int) -> None:
    writer = IndexWriter(database_url)
    await writer.start()
    assert writer._connection is not None
    pid = writer._connection.info.backend_pid
    async with archive.pool.connection() as blocking, blocking.transaction():
        await blocking.execute("LOCK TABLE instance IN ACCESS EXCLUSIVE MODE")
        futures = [writer.write(row("1", "1", "1"))]
        await until_waiting(archive, pid)
        futures += [writer.write(row("2", "1", str(n))) for n in range(waiting)]
        stopping = asyncio.create_task(writer.stop())
        await asyncio.sleep(0)
    await asyncio.wait_for(stopping, 10)
    assert await asyncio.wait_for(asyncio.gather(*futures), 10) == [Inserted()] * (1 + waiting)


async def test_nobody_waits_for_ever_when_stopping_does_not_help(
    archive: Archive, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = IndexWriter(database_url)
    await writer.start()
    assert writer._connection is not None
    pid = writer._connection.info.backend_pid
    async with archive.pool.connection() as blocking, blocking.transaction():
        await blocking.execute("LOCK TABLE instance IN ACCESS EXCLUSIVE MODE")
        futures = [writer.write(row("1", "1", "1"))]
        await until_waiting(archive, pid)
        futures.append(writer.write(row("1", "1", "2")))
        monkeypatch.setattr(write, "STOP_TIMEOUT_S", 0.05)
        await asyncio.wait_for(writer.stop(), 10)
        outcomes = await asyncio.wait_for(asyncio.gather(*futures, return_exceptions=True), 10)
    assert [type(outcome) for outcome in outcomes] == [UnconfirmedCommitError] * 2


async def test_a_caller_that_went_away_does_not_disturb_the_others(archive: Archive, writer: IndexWriter) -> None:
    futures = [writer.write(row("1", "1", str(n))) for n in range(3)]
    futures[1].cancel()
    assert await futures[0] == await futures[2] == Inserted()
    assert await writer.write(row("1", "1", "9")) == Inserted()


async def test_more_than_the_database_can_take_is_refused_at_once(
    writer: IndexWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "WAITING_ROWS_MAX", 2)
    futures = [writer.write(row("1", "1", str(n))) for n in range(3)]
    with pytest.raises(DatabaseError, match="too slow"):
        await futures[2]
    assert await asyncio.gather(*futures[:2]) == [Inserted(), Inserted()]


async def test_a_database_that_does_not_answer_is_named(tmp_path: Any) -> None:
    writer = IndexWriter(f"postgresql://nobody@/none?host={tmp_path}")
    with pytest.raises(DatabaseError, match=r"does not answer: .*Check FILEROOM_DATABASE_URL"):
        await writer.start()


async def test_a_database_without_our_functions_is_told_what_to_do(database_url: str) -> None:
    writer = IndexWriter(database_url.replace("/fileroom?", "/postgres?"))
    with pytest.raises(DatabaseError, match=r"lacks the function store_instances.*fileroom serve"):
        await writer.start()


async def test_a_transaction_that_lost_a_race_is_tried_again(
    archive: Archive, writer: IndexWriter, database_url: str
) -> None:
    """Two transactions that wait for each other: PostgreSQL ends one of them, and nobody hears of it."""
    async with await psycopg.AsyncConnection.connect(database_url) as other:
        await writer.write(row("1", "1", "1"))
        await writer.write(row("2", "1", "1"))
        assert writer._connection is not None
        await other.execute("SELECT 1 FROM series WHERE series_instance_uid = '2.1' FOR UPDATE")
        futures = [writer.write(row("1", "1", "2")), writer.write(row("2", "1", "2"))]
        await until_waiting(archive, writer._connection.info.backend_pid)
        try:
            await other.execute("SELECT 1 FROM series WHERE series_instance_uid = '1.1' FOR UPDATE")
        except psycopg.errors.DeadlockDetected:
            await other.rollback()
        else:
            await other.commit()
        assert await asyncio.gather(*futures) == [Inserted(), Inserted()]

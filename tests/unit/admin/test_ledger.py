"""The ledger without a network: paging, the live feed, limits, weeks that come and go, and what dead processes leave."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
from typing import Any

import pytest

from fileroom.admin import ledger as ledger_module
from fileroom.admin.ledger import Ledger
from fileroom.admin.ledger_journal import ROWS_PER_ASSOCIATION_MAX, SERIES_REMEMBERED_MAX, Journal, ObjectNote
from fileroom.admin.ledger_rows import Direction, Mark, Outcome
from fileroom.admin.ledger_search import (
    LedgerFilter,
    Place,
    changed_associations,
    list_associations,
    read_association,
)
from fileroom.admin.ledger_upkeep import close_interrupted, keep_ledger, writer_name
from fileroom.archive.services import Archive
from fileroom.core.access import NOBODY, acting_as
from fileroom.core.errors import DatabaseError, InvalidRequestError, NotAllowedError, NotFoundError
from fileroom.net.association_handler import AssociationEnd, EndKind, PeerAddress

BEGIN = dt.datetime(2026, 11, 22, 8, tzinfo=dt.UTC)
CT = "1.2.840.10008.5.1.4.1.1.2"
RELEASED = AssociationEnd(EndKind.RELEASED, "released", bytes_received=10)


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = BEGIN

    def __call__(self) -> dt.datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(archive: Archive, clock: Clock) -> Ledger:
    return Ledger(archive.pool, clock)


def call(ledger: Ledger, aet: str = "CT1", host: str = "10.0.0.1") -> Journal:
    journal = ledger.begin(Direction.IN, PeerAddress(host, 40000))
    journal.called(aet, "FILEROOM")
    return journal


def note(journal: Journal, number: int = 1, status: int | None = 0, series: str = "1.2.3") -> None:
    began_at = journal.row.began_at
    journal.object_ended(ObjectNote(began_at, CT, f"1.2.9.{number}", "1.2", 100, status, "1.2", series, "", "reason"))


async def test_pages_follow_each_other_without_gap_or_repetition(
    ledger: Ledger, archive: Archive, clock: Clock
) -> None:
    for number in range(7):
        clock.now = BEGIN + dt.timedelta(seconds=number // 2)  # some begin at the same moment
        call(ledger, f"CT{number}").ended(RELEASED)
    await ledger.flush()
    seen, place = [], None
    while page := await list_associations(archive.pool, LedgerFilter(), after=place, limit=3):
        seen += [entry.calling_aet for entry in page]
        place = Place.parse(str(page[-1].place))
    assert sorted(seen) == [f"CT{number}" for number in range(7)]
    assert len(seen) == 7
    assert seen[0] == "CT6"


@pytest.mark.parametrize("text", ["", "x-1", "1-x", "1e400-1", "nan-1", "1-1-1"])
def test_a_place_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError):
        Place.parse(text)


async def test_every_filter_finds_its_own(ledger: Ledger, archive: Archive, clock: Clock) -> None:
    early = call(ledger, "CT1", "10.0.0.1")
    note(early)
    early.ended(RELEASED)
    clock.now += dt.timedelta(hours=1)
    late = call(ledger, "MR1", "10.0.0.2")
    note(late, status=0xA700, series="")
    late.ended(AssociationEnd(EndKind.CONNECTION_LOST, "gone", bytes_received=1))
    await ledger.flush()

    async def found(**wanted: Any) -> list[str]:
        return [entry.calling_aet for entry in await list_associations(archive.pool, LedgerFilter(**wanted))]

    assert await found() == ["MR1", "CT1"]
    assert await found(aet="CT1") == ["CT1"]
    assert await found(aet="FILEROOM") == []  # everybody calls us
    assert await found(host="10.0.0.2") == ["MR1"]
    assert await found(failed=True) == ["MR1"]
    assert await found(outcome=Outcome.RELEASED) == ["CT1"]
    assert await found(since=BEGIN + dt.timedelta(minutes=1)) == ["MR1"]
    assert await found(until=BEGIN + dt.timedelta(minutes=1)) == ["CT1"]
    assert await found(direction=Direction.OUT) == []
    assert await found(study_uids=("1.2",)) == ["MR1", "CT1"]
    assert await found(study_uids=()) == []
    assert await found(sop_instance_uid="1.2.9.1") == ["MR1"]


async def test_the_feed_tells_begin_and_end_of_each_association_once(ledger: Ledger, archive: Archive) -> None:
    assert await changed_associations(archive.pool, 0) == []
    journal = call(ledger)
    await ledger.flush()
    [begun] = await changed_associations(archive.pool, 0)
    assert (begun.outcome, begun.ended_at) == (Outcome.OPEN, None)
    assert await changed_associations(archive.pool, begun.change) == []
    note(journal)
    journal.ended(RELEASED)
    await ledger.flush()
    [ended] = await changed_associations(archive.pool, begun.change)
    assert (ended.id, ended.outcome, ended.objects) == (begun.id, Outcome.RELEASED, 1)
    assert await changed_associations(archive.pool, ended.change) == []


async def test_only_who_may_reads_the_ledger(archive: Archive) -> None:
    with acting_as(NOBODY):
        for read in (
            list_associations(archive.pool, LedgerFilter()),
            changed_associations(archive.pool, 0),
            read_association(archive.pool, 1),
        ):
            with pytest.raises(NotAllowedError):
                await read


@pytest.mark.parametrize("number", [0, -1, 1, 1 << 63, 1 << 70])
async def test_an_association_that_is_not_there_is_not_found(archive: Archive, number: int) -> None:
    with pytest.raises(NotFoundError):
        await read_association(archive.pool, number)


async def test_failures_are_single_up_to_a_limit_and_counted_beyond(ledger: Ledger, archive: Archive) -> None:
    journal = call(ledger)
    for number in range(ROWS_PER_ASSOCIATION_MAX + 50):
        note(journal, number, status=0xA700, series="")
    journal.ended(RELEASED)
    await ledger.flush()
    entry = await read_association(archive.pool, journal.row.id or 0)
    assert entry.failures == ROWS_PER_ASSOCIATION_MAX + 50
    assert len(entry.operations) == ROWS_PER_ASSOCIATION_MAX + 1
    assert max(row.count for row in entry.operations) == 50
    assert sum(row.count for row in entry.operations) == entry.failures


async def test_objects_of_many_series_are_all_counted(ledger: Ledger, archive: Archive) -> None:
    journal = call(ledger)
    for number in range(3 * SERIES_REMEMBERED_MAX):
        note(journal, number, series=f"1.2.{number % (SERIES_REMEMBERED_MAX + 1)}")
    journal.ended(RELEASED)
    await ledger.flush()
    entry = await read_association(archive.pool, journal.row.id or 0)
    assert entry.objects == sum(row.count for row in entry.operations) == 3 * SERIES_REMEMBERED_MAX
    assert entry.mark is Mark.GOOD


async def test_text_of_a_peer_that_no_database_takes_is_written_without_it(ledger: Ledger, archive: Archive) -> None:
    journal = ledger.begin(Direction.IN, PeerAddress("10.0.0.1", 1))
    journal.called("CT\0\ud800", "FILEROOM")
    journal.object_ended(ObjectNote(BEGIN, "1\0", "2\0" * 400, "1.2", 1, 0xC000, reason="a\nb\0" + "x" * 5000))
    journal.ended(RELEASED)
    await ledger.flush()
    [row] = (await read_association(archive.pool, journal.row.id or 0)).operations
    assert len(row.reason) <= 500


async def test_while_the_database_is_away_rows_wait_up_to_a_limit(
    ledger: Ledger, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        raise DatabaseError("away")

    monkeypatch.setattr(ledger_module, "ROWS_WAITING_MAX", 10)
    monkeypatch.setattr(ledger._writer, "write", away)
    journal = call(ledger)
    for number in range(15):
        note(journal, number, status=0xA700, series="")
    with pytest.raises(DatabaseError):
        await ledger.flush()
    monkeypatch.undo()
    journal.ended(RELEASED)
    await ledger.flush()
    entry = await read_association(archive.pool, journal.row.id or 0)
    assert (entry.failures, len(entry.operations), entry.unrecorded) == (15, 10, 5)


async def test_a_batch_that_is_refused_does_not_stop_the_next(
    ledger: Ledger, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise TypeError("cannot be encoded")

    monkeypatch.setattr(ledger._writer, "write", broken)
    call(ledger, "LOST").ended(RELEASED)
    await ledger.flush()
    monkeypatch.undo()
    call(ledger, "KEPT").ended(RELEASED)
    await ledger.flush()
    assert [entry.calling_aet for entry in await list_associations(archive.pool, LedgerFilter())] == ["KEPT"]


async def test_a_batch_that_is_written_twice_counts_once(ledger: Ledger, archive: Archive) -> None:
    journal = call(ledger)
    note(journal)
    rows = dict(journal.unwritten)
    await ledger.flush()
    journal.unwritten = rows
    journal.ended(RELEASED)
    await ledger.flush()
    [entry] = await list_associations(archive.pool, LedgerFilter())
    assert [row.count for row in (await read_association(archive.pool, entry.id or 0)).operations] == [1]


async def weeks(archive: Archive) -> list[str]:
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(
            b"""SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                WHERE i.inhparent = 'association'::regclass ORDER BY 1"""
        )
        return [name for (name,) in await cursor.fetchall()]


async def test_weeks_are_made_ahead_and_dropped_when_they_are_old(
    ledger: Ledger, archive: Archive, clock: Clock
) -> None:
    old = call(ledger)
    old.ended(RELEASED)
    await ledger.flush()  # makes its own week, as nobody has
    assert "association_20261116" in await weeks(archive)
    clock.now = BEGIN + dt.timedelta(days=25)
    await keep_ledger(archive.pool, clock, days=30)
    assert {"association_20261214", "association_20261221", "association_20261228"} <= set(await weeks(archive))
    assert [entry.id for entry in await list_associations(archive.pool, LedgerFilter())] == [old.row.id]
    clock.now = BEGIN + dt.timedelta(days=37)
    await keep_ledger(archive.pool, clock, days=30)
    assert "association_20261116" not in await weeks(archive)
    assert await list_associations(archive.pool, LedgerFilter()) == []


async def test_what_a_dead_process_left_open_is_closed(ledger: Ledger, archive: Archive, clock: Clock) -> None:
    journal = call(ledger)
    await ledger.flush()
    assert await close_interrupted(archive.pool) == 0
    async with archive.pool.connection() as connection:
        await connection.execute(b"UPDATE ledger_writer SET seen_at = now() - interval '5 minutes'")
    assert await close_interrupted(archive.pool) == 1
    entry = await read_association(archive.pool, journal.row.id or 0)
    assert (entry.outcome, entry.mark) == (Outcome.INTERRUPTED, Mark.FAILED)
    assert entry.ended_at is not None


@pytest.mark.parametrize("how", ["gone", "killed and not waited for", "its number given to another process"])
async def test_a_process_of_this_machine_that_is_dead_is_not_waited_for(
    archive: Archive, clock: Clock, how: str
) -> None:
    here, number, began = writer_name().rsplit(":", 2)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    pid = int(number) if how.startswith("its number") else child.pid
    child.kill()
    if how == "gone":
        child.wait()
    else:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    name = f"{here}:{pid}:{int(began) - 1}"
    dead, alive = Ledger(archive.pool, clock, name), Ledger(archive.pool, clock)
    cut, going_on = call(dead), call(alive)
    await dead.flush()
    await alive.flush()
    assert await close_interrupted(archive.pool) == 1
    assert (await read_association(archive.pool, cut.row.id or 0)).outcome is Outcome.INTERRUPTED
    assert (await read_association(archive.pool, going_on.row.id or 0)).outcome is Outcome.OPEN
    child.wait()


async def test_what_nobody_known_has_written_is_closed(ledger: Ledger, archive: Archive) -> None:
    journal = call(ledger)
    await ledger.flush()
    async with archive.pool.connection() as connection:
        await connection.execute(b"DELETE FROM ledger_writer")
    assert await close_interrupted(archive.pool) == 1
    assert (await read_association(archive.pool, journal.row.id or 0)).outcome is Outcome.INTERRUPTED

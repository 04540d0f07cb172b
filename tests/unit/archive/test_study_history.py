"""The history of a study: put together from index, corrections, ledger and trail, for whoever may see what."""

from __future__ import annotations

import dataclasses
import datetime as dt

import pytest

from fileroom.admin import audit_events as events
from fileroom.admin.audit import record_alone
from fileroom.admin.audit_message import StudyReference
from fileroom.admin.audit_search import AuditQuery, search
from fileroom.admin.ledger import Ledger
from fileroom.admin.ledger_journal import ObjectNote
from fileroom.admin.ledger_rows import Direction
from fileroom.archive.correct import Corrections, add_corrections, revoke_corrections
from fileroom.archive.services import Archive
from fileroom.archive.study_history import HistoryPlace, Source, study_history
from fileroom.core.access import Access, ActorKind, Permission, RowScope, acting_as
from fileroom.core.errors import InvalidRequestError, NotAllowedError, NotFoundError
from fileroom.dicom.correction import AttributeCorrection
from fileroom.net.association_handler import AssociationEnd, EndKind, PeerAddress
from stored_objects import CT, make_file, store_file

STUDY = "1.2.3.1"
SEARCH, VIEW = Permission.STUDY_SEARCH, Permission.STUDY_VIEW
LEDGER, AUDIT = Permission.LEDGER_READ, Permission.AUDIT_READ


def somebody(*permissions: Permission, rows: RowScope | None = None) -> Access:
    return Access(ActorKind.PERSON, "kim", frozenset(permissions), rows or RowScope(), address="10.0.0.7")


async def live(archive: Archive, associations: int = 1) -> None:
    """A study that came, was viewed, exported, corrected, and the correction taken back."""
    await store_file(archive, make_file(PatientID="4711"))
    ledger = Ledger(archive.pool, archive.now)
    for number in range(associations):
        journal = ledger.begin(Direction.IN, PeerAddress("10.0.0.1", 40000))
        journal.called("CT1", "FILEROOM")
        status = 0 if number % 2 == 0 else 0xA700
        journal.object_ended(ObjectNote(archive.now(), CT, f"1.2.9.{number}", "1.2", 100, status, STUDY, "1.2.3.1.1"))
        journal.ended(AssociationEnd(EndKind.RELEASED, "released"))
    await ledger.flush()
    kim = somebody()
    await record_alone(
        archive.pool,
        events.viewed([StudyReference(STUDY)], "images", actor=kim),
        events.exported([StudyReference(STUDY)], "ZIP file", actor=kim),
        events.viewed([StudyReference("9.9.9")], "images", actor=kim),  # another one
    )
    made = await add_corrections(
        archive, Corrections(STUDY, (AttributeCorrection((0x00100020,), "LO", ("4712",)),), "wrong patient", "kim")
    )
    await revoke_corrections(archive, made, actor="ada")


async def sources(archive: Archive, access: Access) -> set[Source]:
    with acting_as(access):
        return {entry.place.source for entry in (await study_history(archive, STUDY)).entries}


async def test_everything_is_there_the_latest_first(archive: Archive) -> None:
    await live(archive)
    history = await study_history(archive, STUDY)
    assert [entry.place for entry in history.entries] == sorted((e.place for e in history.entries), reverse=True)
    assert {entry.place.source for entry in history.entries} == set(Source)
    carried = [entry.carried for entry in history.entries if entry.carried]
    assert [(one.peer, one.objects, one.failures, one.by_us) for one in carried] == [("CT1", 1, 0, False)]
    told = [entry.event for entry in history.entries if entry.event]
    assert {one.event for one in told} == {"110103", "110106"}
    assert all(one.study_uids == (STUDY,) for one in told)
    assert history.hidden == frozenset()


async def test_each_sees_what_they_may_and_is_told_that_more_is_hidden(archive: Archive) -> None:
    await live(archive)
    assert await sources(archive, somebody(SEARCH)) == {Source.ARRIVAL}
    with acting_as(somebody(SEARCH)):
        assert (await study_history(archive, STUDY)).hidden == {VIEW, LEDGER, AUDIT}
    viewer = await sources(archive, somebody(SEARCH, VIEW))
    assert viewer == {Source.ARRIVAL, Source.CORRECTION, Source.REVOCATION}
    assert await sources(archive, somebody(SEARCH, LEDGER)) == {Source.ARRIVAL, Source.ASSOCIATION}
    assert await sources(archive, somebody(SEARCH, AUDIT)) == {Source.ARRIVAL, Source.EVENT}
    with acting_as(somebody(VIEW, LEDGER, AUDIT)), pytest.raises(NotAllowedError):
        await study_history(archive, STUDY)
    with acting_as(somebody(SEARCH, AUDIT, rows=RowScope(patient_ids=("1",)))), pytest.raises(NotFoundError):
        await study_history(archive, STUDY)


async def test_pages_follow_each_other_without_gap_or_repetition(archive: Archive) -> None:
    await live(archive, associations=9)
    everything = [entry.place for entry in (await study_history(archive, STUDY)).entries]
    assert len(everything) == 9 + 2 + 2 * 1 + 1
    for size in (1, 2, 5):
        seen: list[HistoryPlace] = []
        before: HistoryPlace | None = None
        while True:
            page = await study_history(archive, STUDY, before=before, limit=size)
            seen += [entry.place for entry in page.entries]
            if page.next_place is None:
                break
            before = HistoryPlace.parse(str(page.next_place))
        assert seen == everything


async def test_entries_of_the_same_moment_are_not_lost_between_pages(archive: Archive) -> None:
    await live(archive, associations=4)
    moment = dt.datetime(2026, 11, 22, 8, tzinfo=dt.UTC)
    async with archive.pool.connection() as connection:
        await connection.execute("UPDATE correction SET made_at = %s, revoked_at = %s", (moment, moment))
        await connection.execute("UPDATE study SET received_at = %s", (moment,))
    everything = [entry.place for entry in (await study_history(archive, STUDY)).entries]
    seen = []
    before = None
    while True:
        page = await study_history(archive, STUDY, before=before, limit=1)
        seen += [entry.place for entry in page.entries]
        before = page.next_place
        if before is None:
            break
    assert seen == everything


async def test_who_reads_the_trail_here_is_put_down_once(archive: Archive) -> None:
    await live(archive)
    archive.audit.start(archive.pool)
    with acting_as(dataclasses.replace(somebody(SEARCH, AUDIT), name="ada")):
        await study_history(archive, STUDY)
        await study_history(archive, STUDY)
    with acting_as(somebody(SEARCH, VIEW)):
        await study_history(archive, STUDY)
    await archive.audit.stop()
    reads = [one for one in (await search(archive.pool, AuditQuery(event="110101"))).records if "history" in one.what]
    assert [(one.actor, one.what) for one in reads] == [("ada", f"history of study={STUDY}")]


@pytest.mark.parametrize(
    "text", ["", "x", "20261122T080000.000000-9-1", "20261122T080000.000000-1--1", "a-b-c", "1-1-1"]
)
def test_a_place_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError):
        HistoryPlace.parse(text)

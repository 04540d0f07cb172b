"""What came in together is one event for each study, not one for each object."""

from __future__ import annotations

import asyncio

import pytest

from fileroom.admin.audit_search import AuditQuery, AuditRecord, search
from fileroom.archive import transfers
from fileroom.archive.services import Archive
from fileroom.archive.store import StoreKind, StoreOutcome
from fileroom.archive.transfers import ReceivedObjects, StudyCounts
from unit.admin.audit_samples import NODE

CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"


def outcome(study: str, sop_class: str = CT, kind: StoreKind = StoreKind.STORED) -> StoreOutcome:
    return StoreOutcome(kind, sop_class, "1.1", study, "1.2", "key")


async def events(archive: Archive) -> list[AuditRecord]:
    await archive.audit.flush(archive.pool)
    return [*reversed((await search(archive.pool, AuditQuery(user=NODE.name))).records)]


async def test_an_association_is_one_event_for_each_study(archive: Archive) -> None:
    received = ReceivedObjects(archive, NODE)
    for _ in range(500):
        received.stored(outcome("1.1"))
    received.stored(outcome("1.1", MR))
    received.stored(outcome("1.2"))
    assert await events(archive) == []
    received.ended()
    first, second = await events(archive)
    assert [(entry.sop_class_uid, entry.instances) for entry in first.message.objects[0].sop_classes] == [
        (CT, 500),
        (MR, 1),
    ]
    assert second.study_uids == ("1.2",)


async def test_what_was_there_is_not_created(archive: Archive) -> None:
    received = ReceivedObjects(archive, NODE)
    received.stored(outcome("1.1", kind=StoreKind.ALREADY_THERE))
    received.stored(outcome("1.1", kind=StoreKind.KEPT_ASIDE))
    received.ended()
    assert [one.action for one in await events(archive)] == ["C", "R"]


async def test_refusals_are_counted_with_a_reason(archive: Archive) -> None:
    received = ReceivedObjects(archive, NODE)
    received.refused("no UID")
    received.refused("no study")
    received.ended()
    (event,) = await events(archive)
    assert (event.outcome, event.what) == (4, "2 objects were refused; the last: no study")


async def test_a_long_association_is_put_down_on_the_way(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfers, "REPORT_INTERVAL_S", 0.0)
    monkeypatch.setattr(transfers, "LOOK_INTERVAL_S", 0.0)
    received = ReceivedObjects(archive, NODE)
    for _ in range(2):
        received.stored(outcome("1.1"))
        async with asyncio.timeout(10):
            while received._timer is not None:
                await asyncio.sleep(0)
    received.ended()
    assert len(await events(archive)) == 2


async def test_a_longer_association_tells_of_each_study_as_it_begins(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfers, "LOOK_INTERVAL_S", 0.0)
    received = ReceivedObjects(archive, NODE)
    for study in ("1.1", "1.2"):
        received.stored(outcome(study))
        async with asyncio.timeout(10):
            while study not in received._begun:
                await asyncio.sleep(0)
    assert [(one.event, one.study_uids) for one in await events(archive)] == [
        ("110102", ("1.1",)),
        ("110102", ("1.2",)),
    ]
    received.ended()
    assert [one.event for one in await events(archive)] == ["110102", "110102", "110104", "110104"]


async def test_what_is_stored_after_the_end_is_put_down_too(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfers, "AFTER_END_S", 0.0)
    received = ReceivedObjects(archive, NODE)
    received.ended()
    received.stored(outcome("1.1"))
    async with asyncio.timeout(10):
        while received._timer is not None:
            await asyncio.sleep(0)
    assert len(await events(archive)) == 1


def test_counts_by_study() -> None:
    counts = StudyCounts.empty()
    for each in (outcome("1.1"), outcome("1.2"), outcome("1.1", MR)):
        counts.add(each)
    assert {study.uid: len(study.sop_classes) for study in counts.studies()} == {"1.1": 2, "1.2": 1}

"""Critical findings: noted, told, acknowledged, overdue, told to the second address, and who may do what."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from fileroom.archive.services import Archive
from fileroom.core.access import Access, ActorKind, Permission, RowScope, acting_as
from fileroom.core.errors import ConflictError, InvalidRequestError, NotAllowedError, NotFoundError
from fileroom.reports.critical import (
    acknowledge_critical,
    count_open,
    critical_events,
    get_critical,
    list_critical,
    note_critical,
    reopen_critical,
)
from fileroom.reports.critical_levels import list_levels, put_level
from fileroom.routing.alerts import alerts_due, list_alerts, put_condition
from fileroom.routing.critical_notices import tell_critical
from fileroom.routing.destinations import put_destination
from report_rows import add_report, add_study

READER = Access(ActorKind.PERSON, "ada", frozenset([Permission.STUDY_VIEW]), account_id=1)
WRITER = Access(ActorKind.PERSON, "rita", READER.permissions | {Permission.REPORT_WRITE}, account_id=2)


@dataclass
class Clock:
    now: dt.datetime

    def __call__(self) -> dt.datetime:
        return self.now

    def forward(self, minutes: float) -> None:
        self.now += dt.timedelta(minutes=minutes)


@pytest.fixture
def clock() -> Clock:
    return Clock(dt.datetime.now(dt.UTC))


@pytest.fixture
async def clocked(archive: Archive, clock: Clock) -> Archive:
    return replace(archive, now=clock)


@pytest.fixture
async def hook() -> AsyncIterator[tuple[int, list[dict[str, Any]]]]:
    """A web server that takes whatever is posted."""
    events: list[dict[str, Any]] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        events.append(json.loads(await reader.readexactly(length)))
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], events
    finally:
        server.close()
        await server.wait_closed()


async def words(archive: Archive, number: int) -> list[tuple[str, str, str]]:
    return [(one.event, one.who, one.note) for one in (await critical_events(archive, [number]))[number]]


async def test_a_finding_is_noted_and_acknowledged_with_its_history(clocked: Archive, clock: Clock) -> None:
    await add_study(clocked, "1.2.1")
    report = await add_report(clocked)
    with acting_as(WRITER):
        found = await note_critical(clocked, report, "Tension pneumothorax\n left", told_to="Dr Ward")
        assert (found.finding, found.level, found.noted_by) == ("Tension pneumothorax left", "critical", "rita")
        assert (found.patient_name, found.study_instance_uid) == ("Doe^Jane", "1.2.1")
        assert found.minutes_left(clock.now) == 60
        assert await count_open(clocked) == (1, 0)
    clock.forward(61)
    with acting_as(READER):
        assert await count_open(clocked) == (1, 1)
        done = await acknowledge_critical(clocked, found.id, by="somebody else", comment="on my way")
        assert (done.acknowledged_by, done.how, done.comment) == ("ada", "fileroom", "on my way")
        assert done.minutes_left(clock.now + dt.timedelta(days=1)) == -1
        with pytest.raises(ConflictError, match="ada"):
            await acknowledge_critical(clocked, found.id)
        assert [one.id for one in await list_critical(clocked, acknowledged=True)] == [found.id]
        assert await list_critical(clocked) == []
        assert await words(clocked, found.id) == [("noted", "rita", "Dr Ward"), ("acknowledged", "ada", "on my way")]


async def test_who_was_told_by_phone_is_noted_by_who_writes_reports(clocked: Archive) -> None:
    found = await note_critical(clocked, await add_report(clocked), "Bleeding")
    with acting_as(READER), pytest.raises(NotAllowedError):
        await acknowledge_critical(clocked, found.id, how="phone", by="Dr Ward")
    with acting_as(WRITER):
        with pytest.raises(InvalidRequestError, match="who was told"):
            await acknowledge_critical(clocked, found.id, how="phone")
        with pytest.raises(InvalidRequestError, match="phone"):
            await acknowledge_critical(clocked, found.id, how="pigeon", by="x")
        done = await acknowledge_critical(clocked, found.id, how="phone", by="Dr Ward", comment="read back")
        assert (done.acknowledged_by, done.how) == ("Dr Ward", "phone")
        assert (await words(clocked, found.id))[-1] == ("acknowledged", "rita", "phone: Dr Ward; read back")
        with pytest.raises(InvalidRequestError, match="why"):
            await reopen_critical(clocked, found.id, " ")
        again = await reopen_critical(clocked, found.id, "wrong ward")
        assert again.acknowledged_at is None
        with pytest.raises(ConflictError):
            await reopen_critical(clocked, found.id, "twice")


async def test_a_finding_needs_words_a_level_and_a_report(clocked: Archive) -> None:
    report = await add_report(clocked)
    with pytest.raises(InvalidRequestError, match="what was found"):
        await note_critical(clocked, report, " \x00 ")
    with pytest.raises(InvalidRequestError, match="critical, urgent, unexpected"):
        await note_critical(clocked, report, "x", level="nonsense")
    with pytest.raises(NotFoundError):
        await note_critical(clocked, report + 1, "x")
    with pytest.raises(NotFoundError):
        await get_critical(clocked, 4711)


async def test_findings_of_studies_that_are_not_seen_are_not_there(clocked: Archive) -> None:
    await add_study(clocked, "1.2.1", modality="CT")
    found = await note_critical(clocked, await add_report(clocked), "Bleeding")
    homeless = await note_critical(clocked, await add_report(clocked, "9.9"), "Study nobody knows")
    for modality, seen in (("MR", []), ("CT", [found.id])):
        with acting_as(replace(WRITER, rows=RowScope(modalities=(modality,)))):
            assert [one.id for one in await list_critical(clocked)] == seen
            assert await count_open(clocked) == (len(seen), 0)
            with pytest.raises(NotFoundError):
                await acknowledge_critical(clocked, homeless.id)
    with acting_as(replace(WRITER, rows=RowScope(modalities=("MR",)))):
        with pytest.raises(NotFoundError):
            await acknowledge_critical(clocked, found.id)
        assert await critical_events(clocked, [found.id]) == {found.id: []}


async def test_it_is_told_at_once_and_to_the_second_address_when_nobody_acknowledges(
    clocked: Archive, clock: Clock, hook: tuple[int, list[dict[str, Any]]]
) -> None:
    port, events = hook
    for name in ("ward", "chief"):
        target = {"kind": "webhook", "target": {"url": f"http://127.0.0.1:{port}/{name}"}}
        await put_destination(clocked, name, target)
    with pytest.raises(InvalidRequestError, match="nobody"):
        await put_level(clocked, "critical", {"tell": ["nobody"]})
    await put_level(clocked, "critical", {"minutes": 30, "tell": ["ward"], "escalate": ["chief"]})
    assert [one.name for one in await list_levels(clocked)] == ["critical", "urgent", "unexpected"]
    found = await note_critical(clocked, await add_report(clocked), "Bleeding of Jane Doe")
    assert await tell_critical(clocked) == 1
    assert await tell_critical(clocked) == 0
    assert [(one["id"], one["overdue"]) for one in events] == [(f"critical-{found.id}-noted", False)]
    assert "Jane" not in json.dumps(events)
    clock.forward(31)
    assert await tell_critical(clocked) == 1
    assert [one["overdue"] for one in events] == [False, True]
    clock.forward(600)
    assert await tell_critical(clocked) == 0
    assert [one[0] for one in await words(clocked, found.id)] == ["noted", "told", "overdue", "told"]
    now = await get_critical(clocked, found.id)
    assert now.told_at is not None
    assert now.escalated_at is not None


async def test_what_was_acknowledged_is_told_to_nobody(
    clocked: Archive, clock: Clock, hook: tuple[int, list[dict[str, Any]]]
) -> None:
    port, events = hook
    await put_destination(clocked, "chief", {"kind": "webhook", "target": {"url": f"http://127.0.0.1:{port}/"}})
    await put_level(clocked, "critical", {"escalate": ["chief"]})
    found = await note_critical(clocked, await add_report(clocked), "Bleeding")
    await tell_critical(clocked)
    await acknowledge_critical(clocked, found.id)
    clock.forward(600)
    assert await tell_critical(clocked) == 0
    assert events == []


async def test_who_cannot_be_told_is_tried_again(clocked: Archive, clock: Clock) -> None:
    target = {"kind": "webhook", "target": {"url": "http://127.0.0.1:9/"}}
    await put_destination(clocked, "gone", target)
    await put_level(clocked, "critical", {"tell": ["gone"]})
    found = await note_critical(clocked, await add_report(clocked), "Bleeding")
    assert await tell_critical(clocked) == 1
    assert await tell_critical(clocked) == 0
    clock.forward(30)
    assert await tell_critical(clocked) == 1
    assert [one[0] for one in await words(clocked, found.id)] == ["noted", "not told", "not told"]


async def test_a_report_that_comes_as_critical_is_noted_once(clocked: Archive) -> None:
    sections = [{"heading": "Findings", "text": "Long."}, {"heading": "IMPRESSION", "text": "Aortic rupture."}]
    report = await add_report(clocked, is_critical=True, source="hl7", sections=sections)
    await add_report(clocked, "1.2.2", state="draft", is_critical=True)
    await tell_critical(clocked)
    await tell_critical(clocked)
    [found] = await list_critical(clocked)
    assert (found.report, found.finding, found.noted_by) == (report, "Aortic rupture.", "test")


async def test_what_is_overdue_is_an_alert_until_somebody_acknowledges(clocked: Archive, clock: Clock) -> None:
    await put_condition(clocked, "overdue", {"kind": "critical_overdue"})
    found = await note_critical(clocked, await add_report(clocked), "Bleeding")
    await alerts_due(clocked)
    assert await list_alerts(clocked) == []
    clock.forward(75)
    await alerts_due(clocked)
    [alert] = await list_alerts(clocked)
    assert alert.sentence == "Critical findings that nobody acknowledged in time: 1, the oldest for 15 min."
    await acknowledge_critical(clocked, found.id)
    clock.forward(5)
    await alerts_due(clocked)
    assert await list_alerts(clocked) == []

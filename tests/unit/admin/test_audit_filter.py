"""The words in which the audit trail is asked, and moments as people write them."""

from __future__ import annotations

import datetime as dt

import pytest

from fileroom.admin import audit_events as events
from fileroom.admin.audit import record_alone
from fileroom.admin.audit_filter import read_filter
from fileroom.admin.audit_kinds import KINDS, kind_of
from fileroom.admin.audit_search import AuditRecord, read_event, search
from fileroom.admin.moments import read_moment
from fileroom.archive.services import Archive
from fileroom.core.access import NOBODY, acting_as
from fileroom.core.errors import InvalidRequestError, NotAllowedError, NotFoundError, RequestError
from unit.admin.audit_samples import every_kind

NOW = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        ("", None),
        ("2h", NOW - dt.timedelta(hours=2)),
        ("7d", NOW - dt.timedelta(days=7)),
        ("2026-03-01T08:00+01:00", dt.datetime(2026, 3, 1, 7, tzinfo=dt.UTC)),
        (" 2026-03-01 08:00Z ", dt.datetime(2026, 3, 1, 8, tzinfo=dt.UTC)),
    ],
)
def test_a_moment_is_written_in_several_ways(written: str, moment: dt.datetime | None) -> None:
    assert read_moment(written, NOW) == moment


def test_up_to_a_day_means_with_it() -> None:
    first, after = read_moment("2026-03-01", NOW), read_moment("2026-03-01", NOW, end=True)
    assert first is not None
    assert after is not None
    assert after - first == dt.timedelta(days=1)


@pytest.mark.parametrize(
    "written", ["yesterday", "2026-02-30", "9999999d", "9999-12-31", "0001-01-01T00:00+23:59", "١h"]
)
def test_what_is_no_moment_is_refused(written: str) -> None:
    with pytest.raises(InvalidRequestError, match="no day or moment"):
        read_moment(written, NOW, end=True)


@pytest.mark.parametrize(
    "words", [{"event": "teleport"}, {"outcome": "maybe"}, {"patient": "x" * 500}, {"user": "a\0b"}, {"from": "soon"}]
)
def test_what_makes_no_sense_is_refused(words: dict[str, str]) -> None:
    with pytest.raises(RequestError):
        read_filter(words, NOW)


async def asked(archive: Archive, **words: str) -> list[AuditRecord]:
    query = read_filter({name.rstrip("_"): value for name, value in words.items()}, NOW)
    return [one for one in (await search(archive.pool, query)).records if one.event != "110101"]


async def test_every_word_narrows(archive: Archive) -> None:
    await record_alone(archive.pool, *every_kind())
    await record_alone(archive.pool, events.logged_in("otto", "10.9.9.9"))
    assert {one.actor for one in await asked(archive, address="10.9.9.9")} == {"otto"}
    assert {one.actor for one in await asked(archive, event="login", outcome="success")} == {"ada", "otto"}
    assert all(one.outcome for one in await asked(archive, outcome="failure"))
    assert {one.action for one in await asked(archive, event="receive")} == {"C"}
    assert {one.action for one in await asked(archive, event="delete-part")} == {"D"}
    assert {one.event_type for one in await asked(archive, event="110122")} == {"110122"}
    assert {one.event for one in await asked(archive, event="110112")} == {"110112"}


async def test_a_person_is_found_by_their_full_name_too(archive: Archive) -> None:
    async with archive.pool.connection() as connection:
        await connection.execute(
            "INSERT INTO account (login, full_name, role, created_at) VALUES ('otto', 'Otto Öhm', 'auditor', now())"
        )
    await record_alone(archive.pool, events.logged_in("otto", "10.9.9.9"), events.logged_in("ada", "10.9.9.9"))
    assert {one.actor for one in await asked(archive, user="Otto Öhm")} == {"otto"}
    assert {one.actor for one in await asked(archive, user="OTTO Öhm")} == {"otto"}


async def test_every_kind_finds_something_among_all_events(archive: Archive) -> None:
    await record_alone(archive.pool, *every_kind(), events.settings_changed("aet", "A to B"))
    for name in KINDS:
        query = read_filter({"event": name}, NOW)
        assert (await search(archive.pool, query)).records, name
    assert kind_of("LOGIN") is KINDS["login"]


async def test_one_event_is_read_and_that_is_an_event(archive: Archive) -> None:
    await record_alone(archive.pool, events.logged_in("otto", "10.9.9.9"))
    [event] = await asked(archive, user="otto")
    assert (await read_event(archive.pool, event.id)).actor == "otto"
    reads = (await search(archive.pool, read_filter({"event": "audit"}, NOW))).records
    assert f"event={event.id}" in {one.what for one in reads}
    for number in (0, -1, 1 << 62, 1 << 70):
        with pytest.raises(NotFoundError):
            await read_event(archive.pool, number)
    with acting_as(NOBODY), pytest.raises(NotAllowedError):
        await read_event(archive.pool, event.id)

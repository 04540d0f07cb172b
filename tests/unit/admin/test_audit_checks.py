"""Checks of the chain: asked for by a person, run by the task worker, followed by their row."""

from __future__ import annotations

import asyncio

import pytest

from fileroom.admin import audit_checks, audit_verify
from fileroom.admin import audit_events as events
from fileroom.admin.audit import record_alone
from fileroom.admin.audit_chain import seal_waiting
from fileroom.admin.audit_checks import ask_for_check, note_check, run_asked_check, trail_state
from fileroom.admin.audit_search import AuditQuery, search
from fileroom.admin.audit_verify import verify_trail
from fileroom.archive.services import Archive
from fileroom.core.access import NOBODY, acting_as
from fileroom.core.errors import NotAllowedError


async def fill(archive: Archive, count: int = 5) -> None:
    for number in range(count):
        await record_alone(archive.pool, events.role_changed(f"role{number}", "changed"))
    await seal_waiting(archive.pool)


async def tamper(archive: Archive, statement: str) -> None:
    async with archive.pool.connection() as connection, connection.transaction():
        await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute(statement.encode())


async def test_a_check_is_asked_for_run_and_told(archive: Archive) -> None:
    await fill(archive)
    assert (await trail_state(archive.pool)).check is None
    assert await run_asked_check(archive.pool) == 0  # nobody has asked
    await ask_for_check(archive.pool)
    await ask_for_check(archive.pool)  # the same one
    waiting = (await trail_state(archive.pool)).check
    assert waiting is not None
    assert waiting.is_running
    await run_asked_check(archive.pool)
    state = await trail_state(archive.pool)
    assert state.check is not None
    assert state.check.is_whole
    assert state.check.id == waiting.id
    assert state.check.done >= 5
    assert state.check.checkpoint.startswith(f"{state.check.end.position}:")
    assert state.whole == state.check
    asked = [one for one in (await search(archive.pool, AuditQuery())).records if one.what == "verify the chain"]
    assert len(asked) == 1


async def test_what_was_changed_past_the_trail_is_told_and_the_last_good_check_stays(archive: Archive) -> None:
    await fill(archive)
    await ask_for_check(archive.pool)
    await run_asked_check(archive.pool)
    await tamper(archive, "UPDATE audit_event SET actor = 'somebody else' WHERE event = '110113'")
    await ask_for_check(archive.pool)
    await run_asked_check(archive.pool)
    state = await trail_state(archive.pool)
    assert state.check is not None
    assert state.whole is not None
    assert not state.check.is_whole
    assert state.check.finding_count == 5
    assert {finding.kind.value for finding in state.check.findings} == {"changed"}
    assert all(finding.occurred_at is not None for finding in state.check.findings)
    assert state.whole.id < state.check.id


async def test_a_check_whose_worker_died_is_begun_anew(archive: Archive) -> None:
    await fill(archive)
    await ask_for_check(archive.pool)
    async with archive.pool.connection() as connection:
        await connection.execute("UPDATE audit_check SET seen_at = clock_timestamp(), done = 3")
    await run_asked_check(archive.pool)  # somebody else's, who moved a moment ago
    state = await trail_state(archive.pool)
    assert state.check is not None
    assert state.check.is_running
    async with archive.pool.connection() as connection:
        await connection.execute("UPDATE audit_check SET seen_at = clock_timestamp() - interval '2 minutes'")
    await run_asked_check(archive.pool)
    state = await trail_state(archive.pool)
    assert state.check is not None
    assert state.check.is_whole


async def test_a_check_tells_how_far_it_is(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    await fill(archive, 6)
    monkeypatch.setattr(audit_verify, "ROWS_PER_READ", 2)
    monkeypatch.setattr(audit_checks, "MOVES_EVERY_S", 0.0)
    seen: list[int] = []
    moved = audit_checks._Progress.moved

    async def watched(self: audit_checks._Progress, done: int) -> None:
        await moved(self, done)
        state = await trail_state(archive.pool)
        assert state.check is not None
        seen.append(state.check.done)

    monkeypatch.setattr(audit_checks._Progress, "moved", watched)
    await ask_for_check(archive.pool)
    await run_asked_check(archive.pool)
    assert seen[:3] == [2, 4, 6]


async def test_a_check_by_a_command_is_put_down_too(archive: Archive) -> None:
    await fill(archive)
    await note_check(archive.pool, await verify_trail(archive.pool))
    state = await trail_state(archive.pool)
    assert state.whole is not None
    assert state.whole.actor == "system"


async def test_two_who_ask_at_once_get_one_check(archive: Archive) -> None:
    await asyncio.gather(*(ask_for_check(archive.pool) for _ in range(5)))
    async with archive.pool.connection() as connection:
        cursor = await connection.execute("SELECT count(*) FROM audit_check")
        assert await cursor.fetchone() == (1,)


async def test_only_who_may_asks(archive: Archive) -> None:
    with acting_as(NOBODY):
        for work in (trail_state(archive.pool), ask_for_check(archive.pool)):
            with pytest.raises(NotAllowedError):
                await work

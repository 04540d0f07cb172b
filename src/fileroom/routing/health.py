"""How destinations are: up, suspect or down, as what is sent to them and asking them shows.

    up       --failure-->  suspect  --failures in a row: FAILURES_DOWN-->  down
    down     --a trial (probe) that is answered-->  suspect  --a success-->  up

A destination that is down is asked again after 5, 10, 20 ... seconds, at last every five minutes (a circuit breaker with a
half-open state): one process at a time, by its row. An answered probe does not forget the failures, only a delivery does: what
answers an echo and refuses objects is down again at the next refusal, and is asked more seldom each time. What waits for one
that answers again goes at once: its lanes need not sit out the pause that began with the last failure.

The state is a row, so that every process and page sees the same one and a restart forgets nothing. Only what concerns the
destination as a whole is a failure of it: no connection, no room, an association that breaks. That it refuses an object is not.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import enum
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection

from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.errors import DatabaseError
from fileroom.routing.delivery_rows import CHANNEL, IS_BACK
from fileroom.routing.destination_figures import count_tries
from fileroom.routing.destination_kind import Outcome, OutcomeKind
from fileroom.routing.destinations import probe, read_destinations

FAILURES_DOWN: Final = 3
"""One may be an accident; three in a row are not."""
TRIAL_FIRST_S: Final = 5.0
TRIAL_MAX_S: Final = 300.0
"""A destination that is back is known to be back after five minutes at the latest."""
FORGET_S: Final = 3600.0
"""A failure after an hour without one is the first in a row."""
IDLE_PROBE_S: Final = 300.0
"""A destination that is up and unused is asked so often; a used one shows how it is."""
MEMBER_PROBE_S: Final = 30.0
"""A member of a pool: the pool must know before it chooses."""
PROBES_AT_ONCE_MAX: Final = 8
CAUSE_CHARS_MAX: Final = 500
_JITTER: Final = 0.2
_NEVER: Final = dt.datetime.min.replace(tzinfo=dt.UTC)
_ASKED_WHEN_ILL: Final = frozenset({"mail", "webhook"})
"""Notices: whoever gets them need not hear from us all day while they work."""


class HealthState(enum.StrEnum):
    """How a destination is."""

    UP = "up"
    SUSPECT = "suspect"
    """It failed lately, or answers again after it was down."""
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Health:
    """How a destination is. `failures` in a row; `cause` of the last one, a sentence; `trial_at`: when it is asked next."""

    state: HealthState = HealthState.UP
    failures: int = 0
    cause: str = ""
    since: dt.datetime = _NEVER
    asked_at: dt.datetime = _NEVER
    """When a delivery or a probe last showed how it is."""
    failed_at: dt.datetime | None = None
    trial_at: dt.datetime = _NEVER

    @property
    def is_usable(self) -> bool:
        """Whether something new may be sent there."""
        return self.state is not HealthState.DOWN


UNKNOWN: Final = Health()
"""Of a destination that nothing is known of: it counts as up."""


# --- the states, pure ---


def after_success(
    health: Health, now: dt.datetime, *, probed: bool, chance: Callable[[], float] = random.random
) -> Health:
    """What it is after it took an object, or (`probed`) only answered a question."""
    step = {HealthState.DOWN: HealthState.SUSPECT, HealthState.SUSPECT: HealthState.UP, HealthState.UP: HealthState.UP}
    state = step[health.state] if probed else HealthState.UP
    return Health(
        state,
        health.failures if probed else 0,
        health.cause if state is not HealthState.UP else "",
        now if state is not health.state else health.since,
        now,
        health.failed_at,
        # Suspect: once more, soon. Up: whoever asks decides by `asked_at`.
        now + dt.timedelta(seconds=_with_jitter(TRIAL_FIRST_S, chance)),
    )


def after_failure(health: Health, now: dt.datetime, cause: str, chance: Callable[[], float] = random.random) -> Health:
    """What it is after it failed as a whole."""
    forgotten = health.failed_at is None or (now - health.failed_at).total_seconds() > FORGET_S
    failures = 1 if forgotten and health.state is not HealthState.DOWN else health.failures + 1
    down = failures >= FAILURES_DOWN or health.state is HealthState.DOWN
    state = HealthState.DOWN if down else HealthState.SUSPECT
    pause_s = min(TRIAL_FIRST_S * 2.0 ** min(max(failures - FAILURES_DOWN, 0), 20), TRIAL_MAX_S)
    return Health(
        state,
        failures,
        cause[:CAUSE_CHARS_MAX],
        now if state is not health.state else health.since,
        now,
        now,
        now + dt.timedelta(seconds=_with_jitter(pause_s, chance)),
    )


def probe_is_due(health: Health, now: dt.datetime, every_s: float) -> bool:
    """Whether to ask it: on trial when that is due; when it is up, after it showed nothing for `every_s`."""
    if health.state is HealthState.UP:
        return (now - health.asked_at).total_seconds() >= every_s
    return health.trial_at <= now


# --- rows ---


async def read_health(archive: Archive) -> dict[int, Health]:
    """By destination; those that nothing is known of are missing (`UNKNOWN`). Raises DatabaseError."""
    try:
        async with archive.pool.connection() as connection:
            cursor = await connection.execute(_SELECT)
            return {row[0]: _health(row[1:]) for row in await cursor.fetchall()}
    except psycopg.Error as error:
        raise DatabaseError(
            f"The state of destinations cannot be read: {type(error).__name__}. Try again later."
        ) from error


async def health_of(archive: Archive, destination_id: int) -> Health:
    """How a destination is. Raises NotAllowedError, DatabaseError."""
    require(Permission.ROUTING_READ)
    return (await read_health(archive)).get(destination_id, UNKNOWN)


async def note_outcomes(
    archive: Archive, destination_id: int, outcomes: Sequence[Outcome], *, name: str = ""
) -> Health | None:
    """What a lane has seen of a destination: once for a batch. The last outcome that tells of the whole decides.

    None: they say nothing of it. An error of the session itself is `note_failure`. With the `name` of the destination they
    are counted for `/metrics`, too. Raises DatabaseError.
    """
    if name:
        for one in outcomes:
            archive.meters.delivery_tries.add((name, one.kind.value))
            archive.meters.delivered_bytes.add((name,), one.sent_bytes)
    telling = [one for one in outcomes if one.kind is not OutcomeKind.REFUSED]
    failed = sum(one.kind is not OutcomeKind.TAKEN and one.kind is not OutcomeKind.WARNED for one in outcomes)
    async with archive.pool.connection() as connection, connection.transaction():
        if outcomes:
            await count_tries(connection, destination_id, len(outcomes), failed, archive.now())
        if not telling:
            return None
        last = telling[-1]
        cause = last.cause if last.kind is OutcomeKind.TRY_LATER else None
        return await _note(connection, destination_id, archive.now(), cause, probed=False)


async def note_failure(archive: Archive, destination_id: int, cause: str, *, name: str = "") -> Health | None:
    """A session could not be opened, or broke. Raises DatabaseError."""
    return await note_outcomes(archive, destination_id, [Outcome(OutcomeKind.TRY_LATER, cause)], name=name)


async def probe_due(archive: Archive) -> int:
    """Ask the destinations whose time has come; returns how many were asked. Raises NotAllowedError, DatabaseError."""
    require(Permission.SYSTEM_MANAGE)
    destinations = {one.id: one for one in (await read_destinations(archive)).values()}
    members = {
        member["destination"]
        for one in destinations.values()
        if one.kind == "pool"
        for member in one.target.get("members", ())
    }
    health = await read_health(archive)
    now = archive.now()
    due = [
        one
        for one in destinations.values()
        if one.enabled
        and one.kind != "pool"  # It is as its members are
        and (one.kind not in _ASKED_WHEN_ILL or health.get(one.id, UNKNOWN).state is not HealthState.UP)
        and probe_is_due(health.get(one.id, UNKNOWN), now, MEMBER_PROBE_S if one.name in members else IDLE_PROBE_S)
    ]
    room = asyncio.Semaphore(PROBES_AT_ONCE_MAX)

    async def ask(number: int) -> bool:
        async with room:
            if not await _claim_trial(archive, number, health.get(number)):
                return False
            result = await probe(archive, destinations[number])
            async with archive.pool.connection() as connection, connection.transaction():
                cause = None if result.is_there else result.answer or "It does not answer."
                await _note(connection, number, archive.now(), cause, probed=True)
                if result.is_there and health.get(number, UNKNOWN).state is not HealthState.UP:
                    await connection.execute(b"SELECT pg_notify(%s, %s)", (CHANNEL, f"{IS_BACK}{number}"))
            return True

    return sum(await asyncio.gather(*(ask(one.id) for one in due)))


# --- helpers ---

_SELECT: Final = b"""SELECT destination_id, state, failures, cause, since, asked_at, failed_at, trial_at
    FROM destination_health"""


def _health(row: tuple[Any, ...]) -> Health:
    state, failures, cause, since, asked_at, failed_at, trial_at = row
    return Health(HealthState(state), failures, cause, since, asked_at, failed_at, trial_at)


async def _note(
    connection: AsyncConnection[Any], destination_id: int, now: dt.datetime, cause: str | None, *, probed: bool
) -> Health:
    """Put down a success (`cause` None) or a failure. Raises DatabaseError."""
    cursor = await connection.execute(_SELECT + b" WHERE destination_id = %s FOR UPDATE", (destination_id,))
    row = await cursor.fetchone()
    was = _health(row[1:]) if row is not None else replace(UNKNOWN, since=now)
    if cause is None:
        is_now = after_success(was, now, probed=probed)
        fresh = (now - was.asked_at).total_seconds() < MEMBER_PROBE_S / 6
        if fresh and row is not None and is_now.state is was.state and is_now.failures == was.failures:
            return was  # A good destination's row is not written for every batch.
    else:
        is_now = after_failure(was, now, cause)
    await connection.execute(
        b"""INSERT INTO destination_health (destination_id, state, failures, cause, since, asked_at, failed_at, trial_at)
            VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (destination_id) DO UPDATE SET state = excluded.state,
                failures = excluded.failures, cause = excluded.cause, since = excluded.since,
                asked_at = excluded.asked_at, failed_at = excluded.failed_at, trial_at = excluded.trial_at""",
        (
            destination_id,
            is_now.state,
            is_now.failures,
            is_now.cause,
            is_now.since,
            is_now.asked_at,
            is_now.failed_at,
            is_now.trial_at,
        ),
    )
    return is_now


async def _claim_trial(archive: Archive, destination_id: int, seen: Health | None) -> bool:
    """Whether it is ours to ask: the row is as it was seen, and is put off, so that nobody else asks at the same time."""
    now = archive.now()
    later = now + dt.timedelta(seconds=MEMBER_PROBE_S)
    async with archive.pool.connection() as connection:
        if seen is None:
            cursor = await connection.execute(
                b"""INSERT INTO destination_health (destination_id, since, asked_at, trial_at) VALUES (%s, %s, %s, %s)
                    ON CONFLICT (destination_id) DO NOTHING""",
                (destination_id, now, now, later),
            )
        else:
            cursor = await connection.execute(
                b"""UPDATE destination_health SET trial_at = %s, asked_at = CASE WHEN state = 'up' THEN %s ELSE asked_at END
                    WHERE destination_id = %s AND trial_at = %s AND asked_at = %s""",
                (later, now, destination_id, seen.trial_at, seen.asked_at),
            )
        return cursor.rowcount > 0


def _with_jitter(seconds: float, chance: Callable[[], float]) -> float:
    """What failed together is not asked together for ever."""
    return seconds * (1 - _JITTER / 2 + _JITTER * chance())

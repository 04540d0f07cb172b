"""Images meet orders: in the background, for every study of which series came or whose orders changed.

    series above a mark ─┐
    changed orders ──────┼─> unmatched_study ─> candidates ─> score ─┬─> study_match with its corrections
    performed steps ─────┘                                           └─> study_exception, once the study is quiet

The storing path knows nothing of it. Everything stands in rows: a worker that is killed loses nothing, and a study that is
looked at twice meets its order once. A site without a RIS has no exceptions: where no order was told of for RIS_DAYS, none are
made (docs/adr/0042).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog
from psycopg import AsyncConnection

from fileroom.admin.audit import record
from fileroom.admin.audit_events import corrected
from fileroom.archive.correct import Corrections, take_back, write_corrections
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, current_access, require
from fileroom.core.errors import DatabaseError, FileroomError
from fileroom.dicom.correction import AttributeCorrection
from fileroom.index.refresh import lock_study
from fileroom.index.stored import read_correction
from fileroom.tasks.loop import retry_delay
from fileroom.worklist.changes import Cause
from fileroom.worklist.coercion import DEFAULT, Coercion, coerce, read_coercions
from fileroom.worklist.match_score import Decision, OrderSaid, Scored, decide, order_name, rank
from fileroom.worklist.matching_rows import (
    MatchRow,
    StudyRow,
    claim_due,
    find_orders,
    forget_study,
    has_orders,
    insert_match,
    knows_patient,
    last_exception_state,
    looked_at,
    note_orders,
    note_series,
    put_exception,
    read_match,
    read_orders,
    read_study,
    undone_orders,
)
from fileroom.worklist.patient_images import show_arrived

RIS_DAYS: Final = 90
"""Without an order for so long there is no RIS, and a study without an order is as it should be."""
FRESH_DAYS: Final = 30
"""Studies made longer ago are taken over from elsewhere: their orders are over, and nobody is asked about them."""
STUDIES_PER_ROUND: Final = 20
SETTLED_S: Final = 120
"""A series' number is given before its row can be seen; no commit takes so long."""
_CLAIM_S: Final = 120.0
_BY: Final = "matching"

_log: Final = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Looked:
    """What was found about a study."""

    study: StudyRow
    coercion: Coercion
    ranked: list[Scored]
    decision: Decision


async def match_due(archive: Archive, stop: asyncio.Event | None = None) -> int:
    """Note what has come or changed, and look at some of the studies that are due; returns how many those were.

    Raises NotAllowedError, DatabaseError.
    """
    require(Permission.SYSTEM_MANAGE)
    async with archive.pool.connection() as connection:
        async with connection.transaction():
            await note_series(connection, SETTLED_S)
        async with connection.transaction():
            noted = await note_orders(connection)
        due = await claim_due(connection, STUDIES_PER_ROUND, _CLAIM_S)
    coercions = await read_coercions(archive) if due else {}
    for uid, attempt in due:
        if stop is not None and stop.is_set():
            break
        await _take_on(archive, uid, attempt, coercions)
    return len(due) or noted


async def look(connection: AsyncConnection[Any], uid: str, coercions: dict[str, Coercion]) -> Looked | None:
    """What a study and the orders say now; None when it is gone. For services that have asked."""
    study = await read_study(connection, uid)
    if study is None:
        return None
    coercion = coercions.get(study.sender) or coercions[DEFAULT]
    ranked = rank(study.said, await find_orders(connection, study.said))
    decision = decide(
        study.said,
        ranked,
        enough=coercion.score_min,
        undone=await undone_orders(connection, uid),
        known=await knows_patient(connection, study.said),
    )
    return Looked(study, coercion, ranked, decision)


async def meet(
    archive: Archive,
    connection: AsyncConnection[Any],
    row: int,
    looked: Looked,
    chosen: Scored,
    *,
    how: str,
    who: str,
) -> None:
    """A study (its `row` is locked) is an order's from now on, and says what the order says: one transaction.

    For services that have asked. Raises InvalidRequestError, StorageError.
    """
    uid = looked.study.said.uid
    attributes = coerce(looked.study.said, chosen.order, looked.coercion.attributes)
    ids = await _write(archive, connection, row, uid, chosen.order, attributes)
    await insert_match(connection, uid, chosen.order.id, how=how, points=chosen.score, corrections=ids, who=who)
    what = f"Matched with the order {order_name(chosen.order)} ({how}, {chosen.score} points) by {who}"
    await record(connection, corrected(uid, what))


async def part(archive: Archive, connection: AsyncConnection[Any], row: int, match: MatchRow, *, who: str) -> None:
    """A match is undone, and with it what was corrected for it. For services that have asked. Raises StorageError."""
    await _take_back(archive, connection, row, match.study_uid, match.corrections)
    await connection.execute(
        b"UPDATE study_match SET undone_at = now(), undone_by = %s WHERE id = %s AND undone_at IS NULL", (who, match.id)
    )
    await record(
        connection, corrected(match.study_uid, f"The match with the order number {match.order} was undone by {who}")
    )


# --- one study ---


async def _take_on(archive: Archive, uid: str, attempt: int, coercions: dict[str, Coercion]) -> None:
    """Look at a study. What goes wrong with one holds no other up: it is tried again later."""
    again_in_s: float | None
    try:
        again_in_s = await _match(archive, uid, coercions)
    except DatabaseError:
        raise
    except FileroomError as error:
        again_in_s = retry_delay(attempt)
        _log.warning("study_not_matched", study=uid, attempt=attempt, reason=str(error))
    async with archive.pool.connection() as connection:
        await looked_at(connection, uid, attempt, again_in_s)


async def _match(archive: Archive, uid: str, coercions: dict[str, Coercion]) -> float | None:
    """Returns in how many seconds the study is to be looked at again; None: when something changes."""
    async with archive.pool.connection() as connection, connection.transaction():
        # What came under a number that a merge has retired is the survivor's before it is anybody's order.
        await show_arrived(archive, connection, uid, Cause(_BY))
    async with archive.pool.connection() as connection:
        match = await read_match(connection, uid)
        looked = await look(connection, uid, coercions)
        if looked is None:
            await forget_study(connection, uid)
            return None
    if match is not None:
        await _follow(archive, uid, coercions)
        return None
    if looked.decision.match is not None:
        await _match_by_itself(archive, uid, coercions)
        return None
    return await _wait_for_a_person(archive, looked)


async def _match_by_itself(archive: Archive, uid: str, coercions: dict[str, Coercion]) -> None:
    """Decided once more under the lock: somebody may have been quicker."""
    async with archive.pool.connection() as connection, connection.transaction():
        row = await lock_study(connection, uid)
        looked = await look(connection, uid, coercions) if row is not None else None
        if row is None or looked is None or await read_match(connection, uid) is not None:
            return
        chosen = looked.decision.match
        if chosen is not None:
            await meet(archive, connection, row, looked, chosen, how=chosen.how, who=_BY)
            _log.info("study_matched", study=uid, order=chosen.order.id, how=chosen.how, score=chosen.score)


async def _follow(archive: Archive, uid: str, coercions: dict[str, Coercion]) -> None:
    """A matched study keeps saying what its order says, also when that has changed; what a person or a merge has corrected
    since then stays."""
    async with archive.pool.connection() as connection, connection.transaction():
        row = await lock_study(connection, uid)
        match = await read_match(connection, uid)
        study = await read_study(connection, uid)
        orders = await read_orders(connection, [match.order]) if match else []
        if row is None or match is None or study is None or not orders:
            return
        coercion = coercions.get(study.sender) or coercions[DEFAULT]
        latest = await _latest_corrections(connection, uid)
        changes = [
            one
            for one in coerce(study.said, orders[0], coercion.attributes)
            if latest.get(one.path) is None or latest[one.path] in match.corrections
        ]
        if not changes:
            return
        replaced = [latest[one.path] for one in changes if one.path in latest]
        await _take_back(archive, connection, row, uid, replaced)
        made = await _write(archive, connection, row, uid, orders[0], changes)
        kept = [one for one in match.corrections if one not in replaced]
        await connection.execute(b"UPDATE study_match SET corrections = %s WHERE id = %s", (kept + made, match.id))


async def _wait_for_a_person(archive: Archive, looked: Looked) -> float | None:
    """Make the study an exception, if it is one; the seconds until that can be said."""
    study = looked.study
    uid = study.said.uid
    async with archive.pool.connection() as connection, connection.transaction():
        state = await last_exception_state(connection, uid)
        if state == "dismissed" or not study.has_patient:
            return None
        is_old = study.was_fetched or study.age_days > FRESH_DAYS
        is_named = bool(looked.ranked) and looked.ranked[0].is_named
        if state != "open" and not is_named and (is_old or not await has_orders(connection, RIS_DAYS)):
            return None
        missing_s = archive.settings.routing_stable_s - study.quiet_s
        if missing_s > 0 and state != "open":
            return missing_s + 0.5
        await put_exception(connection, uid, looked.decision.reasons, looked.ranked)
    return None


# --- corrections ---


async def _write(
    archive: Archive,
    connection: AsyncConnection[Any],
    row: int,
    uid: str,
    order: OrderSaid,
    attributes: Sequence[AttributeCorrection],
) -> list[int]:
    if not attributes:
        return []
    reason = f"Met the order {order_name(order)}"
    corrections = Corrections(uid, tuple(attributes), reason, current_access().name)
    return await write_corrections(archive, connection, row, corrections)


async def _take_back(
    archive: Archive, connection: AsyncConnection[Any], row: int, uid: str, ids: Sequence[int]
) -> None:
    cursor = await connection.execute(
        b"SELECT path, vr, value, reason, actor FROM correction WHERE id = ANY(%s) AND revoked_at IS NULL ORDER BY id",
        (list(ids),),
    )
    rows = await cursor.fetchall()
    scopes = [Corrections(uid, (read_correction(*one[:3]),), one[3], one[4]) for one in rows]
    if scopes:
        await take_back(archive, connection, row, scopes, ids, actor=current_access().name)


async def _latest_corrections(connection: AsyncConnection[Any], uid: str) -> dict[tuple[int, ...], int]:
    """Of each path of a study, the correction that wins."""
    cursor = await connection.execute(
        b"""SELECT path, max(id) FROM correction WHERE study_instance_uid = %s AND series_instance_uid IS NULL
            AND revoked_at IS NULL GROUP BY path""",
        (uid,),
    )
    return {tuple(row[0]): row[1] for row in await cursor.fetchall()}

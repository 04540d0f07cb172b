"""The exceptions queue for people: studies that met no order, why, which orders come near, and what may be done about it.

Fixing says which order a study is of; undoing takes that back with everything that was corrected for it; dismissing says that
no order will come. Each is one transaction, and stands in the audit trail. Studies outside somebody's row scope are not there.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import class_row

from fileroom.admin.audit import record
from fileroom.admin.audit_events import corrected
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, current_access, require
from fileroom.core.errors import ConflictError, DatabaseError, FileroomError, InvalidRequestError, NotFoundError, told
from fileroom.dicom.charset import clean
from fileroom.index.refresh import lock_study
from fileroom.index.stored import has_visible_study
from fileroom.index.visibility import Visibility, study_is_visible, visibility_of
from fileroom.worklist.coercion import read_coercions
from fileroom.worklist.match_score import REASONS, Scored, score
from fileroom.worklist.matching import Looked, look, meet, part
from fileroom.worklist.matching_rows import (
    CANDIDATES_KEPT_MAX,
    MatchRow,
    note_study,
    orders_called,
    put_exception,
    read_match,
    read_orders,
)
from fileroom.worklist.order_states import STATE_WORDS

PAGE_MAX: Final = 500
LOOKED_AT_MAX: Final = 50
BULK_MAX: Final = 500
"""Studies of one action: a page of them."""
NOTE_CHARS_MAX: Final = 300
ORDERS_LATE_H: Final = 4
"""An order without images so long after its step was planned is counted."""
ORDERS_DAYS: Final = 30
STATES: Final = ("open", "fixed", "dismissed")


@dataclass(frozen=True, slots=True)
class ExceptionRow:
    """A study in the queue, with what its images say. `reasons` are {"code", "values"} of `match_score.REASONS`."""

    id: int
    study_instance_uid: str
    state: str
    reasons: list[dict[str, Any]]
    candidates: list[dict[str, Any]]
    found_at: dt.datetime
    ended_at: dt.datetime | None
    ended_by: str
    note: str
    patient_id: str
    patient_name: str
    birth_date: str
    sex: str
    accession_number: str
    study_date: str
    study_time: str
    description: str
    modalities: list[str]
    instances: int
    is_matched: bool


@dataclass(frozen=True, slots=True)
class MatchedStudy:
    """A study that has met an order."""

    id: int
    study_instance_uid: str
    order: int
    order_name: str
    how: str
    score: int
    corrections: int
    matched_at: dt.datetime
    matched_by: str
    patient_id: str
    patient_name: str
    study_date: str
    modalities: list[str]


@dataclass(frozen=True, slots=True)
class ExceptionView:
    """One study of the queue as everything stands now: its row, what was found, and its match if it has one."""

    row: ExceptionRow | None
    looked: Looked
    match: MatchRow | None


@dataclass(frozen=True, slots=True)
class ExceptionCounts:
    """What waits for a person: studies in the queue, their images, and orders whose images have not come."""

    studies: int
    images: int
    orders_without_images: int


@dataclass(frozen=True, slots=True)
class Fix:
    """This study is of that order."""

    study_uid: str
    order: int


@dataclass(frozen=True, slots=True)
class NotDone:
    """What could not be done of an action for several studies, and why."""

    study_uid: str
    error: FileroomError


# --- to see ---


async def list_exceptions(
    archive: Archive, *, state: str = "open", before_id: int | None = None, limit: int = 100
) -> list[ExceptionRow]:
    """The queue, the newest first; `before_id` is the last one of the page before.

    Raises InvalidRequestError, NotAllowedError, DatabaseError.
    """
    visibility = visibility_of(require(Permission.ORDER_READ))
    if state not in STATES:
        raise InvalidRequestError(told("An exception is open, fixed or dismissed."))
    return await _rows(archive, "x.state = %s", [state], visibility, before_id, min(limit, PAGE_MAX))


async def look_at_exceptions(
    archive: Archive, *, state: str = "open", before_id: int | None = None, limit: int = 20
) -> list[ExceptionView]:
    """The same with the orders that come near to each study now: some milliseconds a study. Raises as `list_exceptions`."""
    rows = await list_exceptions(archive, state=state, before_id=before_id, limit=min(limit, LOOKED_AT_MAX))
    coercions = await read_coercions(archive)
    views: list[ExceptionView] = []
    async with archive.pool.connection() as connection:
        for row in rows:
            looked = await look(connection, row.study_instance_uid, coercions)
            if looked is not None:
                views.append(ExceptionView(row, looked, await read_match(connection, row.study_instance_uid)))
    return views


async def get_exception(archive: Archive, study_uid: str) -> ExceptionView:
    """A study, whether it is in the queue or not, with the orders that come near to it now.

    Raises NotFoundError, NotAllowedError, DatabaseError.
    """
    visibility = visibility_of(require(Permission.ORDER_READ))
    rows = await _rows(archive, "x.study_instance_uid = %s", [study_uid], visibility, None, 1)
    coercions = await read_coercions(archive)
    async with archive.pool.connection() as connection:
        await _require_visible(connection, study_uid, visibility)
        looked = await look(connection, study_uid, coercions)
        match = await read_match(connection, study_uid)
    if looked is None:
        raise _no_study(study_uid)
    return ExceptionView(rows[0] if rows else None, looked, match)


async def list_matches(archive: Archive, *, before_id: int | None = None, limit: int = 100) -> list[MatchedStudy]:
    """Studies that have met an order, the latest first. Raises NotAllowedError, DatabaseError."""
    visible = study_is_visible(visibility_of(require(Permission.ORDER_READ)))
    statement = f"""
        SELECT m.id, m.study_instance_uid, m.imaging_order AS order,
            coalesce(nullif(o.accession_number, ''), nullif(o.procedure_id, ''), o.id::text) AS order_name, m.how, m.score,
            cardinality(m.corrections) AS corrections, m.matched_at, m.matched_by, coalesce(s.patient_id, '') AS patient_id,
            coalesce(s.patient_name, '') AS patient_name, coalesce(s.study_date, '') AS study_date, s.modalities
        FROM study_match m JOIN study s ON s.study_instance_uid = m.study_instance_uid
        JOIN imaging_order o ON o.id = m.imaging_order
        WHERE m.undone_at IS NULL AND (%s::bigint IS NULL OR m.id < %s) AND {visible.text or "true"}
        ORDER BY m.id DESC LIMIT %s"""
    parameters = [before_id, before_id, *visible.parameters, min(limit, PAGE_MAX)]
    return await _select(archive, MatchedStudy, statement, parameters)


async def exception_counts(archive: Archive) -> ExceptionCounts:
    """For dashboards: of all that is there, whatever the row scope. Raises NotAllowedError, DatabaseError."""
    require(Permission.ORDER_READ)
    found: list[ExceptionCounts] = await _select(
        archive,
        ExceptionCounts,
        """SELECT (SELECT count(*) FROM study_exception WHERE state = 'open') AS studies,
            (SELECT coalesce(sum(e.instance_count), 0)::bigint FROM study_exception x
                JOIN study s ON s.study_instance_uid = x.study_instance_uid JOIN series e ON e.study = s.id
                WHERE x.state = 'open') AS images,
            (SELECT count(*) FROM imaging_order o WHERE o.state NOT IN ('cancelled', 'discontinued')
                AND o.ordered_at > now() - make_interval(days => %s)
                AND EXISTS (SELECT FROM scheduled_step t WHERE t.imaging_order = o.id AND t.start_date <> ''
                    AND t.start_date || rpad(left(t.start_time, 4), 4, '0') BETWEEN %s AND %s)
                AND NOT EXISTS (SELECT FROM study_match m WHERE m.imaging_order = o.id AND m.undone_at IS NULL)
            ) AS orders_without_images""",
        [
            ORDERS_DAYS,
            f"{archive.now() - dt.timedelta(days=ORDERS_DAYS):%Y%m%d%H%M}",
            f"{archive.now().astimezone() - dt.timedelta(hours=ORDERS_LATE_H):%Y%m%d%H%M}",
        ],
    )
    return found[0]


async def orders_named(archive: Archive, study_uid: str, text: str) -> list[Scored]:
    """Orders that somebody names by a number, and how well they fit a study, the best first.

    Raises NotFoundError, NotAllowedError, DatabaseError.
    """
    visibility = visibility_of(require(Permission.ORDER_READ))
    async with archive.pool.connection() as connection:
        await _require_visible(connection, study_uid, visibility)
        looked = await look(connection, study_uid, await read_coercions(archive))
        if looked is None:
            raise _no_study(study_uid)
        orders = await read_orders(
            connection, await orders_called(connection, clean(text).strip(), CANDIDATES_KEPT_MAX)
        )
    return sorted((score(looked.study.said, one) for one in orders), key=lambda one: -one.points)


# --- to act ---


async def fix_exception(archive: Archive, study_uid: str, order: int) -> None:
    """A person says which order a study is of; it takes over what the order says. A match with another order is undone.

    Raises NotFoundError, ConflictError, NotAllowedError, DatabaseError, StorageError.
    """
    visibility = visibility_of(require(Permission.ORDER_MANAGE))
    who = current_access().name
    coercions = await read_coercions(archive)
    async with archive.pool.connection() as connection, connection.transaction():
        row = await _locked(connection, study_uid, visibility)
        match = await read_match(connection, study_uid)
        if match is not None and match.order == order:
            raise ConflictError(told("The study has met this order already."))
        if match is not None:
            await part(archive, connection, row, match, who=who)
        looked = await look(connection, study_uid, coercions)
        orders = await read_orders(connection, [order])
        if looked is None or not orders:
            raise NotFoundError(told("There is no order number {order}.", order=order))
        await meet(archive, connection, row, looked, score(looked.study.said, orders[0]), how="person", who=who)


async def fix_exceptions(archive: Archive, fixes: Sequence[Fix]) -> list[NotDone]:
    """Several, each on its own; returns what could not be done. Raises InvalidRequestError, NotAllowedError, DatabaseError."""
    require(Permission.ORDER_MANAGE)
    _check_number(len(fixes))
    failed: list[NotDone] = []
    for one in fixes:
        try:
            await fix_exception(archive, one.study_uid, one.order)
        except DatabaseError:
            raise
        except FileroomError as error:
            failed.append(NotDone(one.study_uid, error))
    return failed


async def undo_exception(archive: Archive, study_uid: str) -> None:
    """Take back what was said last of a study: its match, with all corrections made for it, or that it was dismissed.

    The study is in the queue again, and does not meet that order by itself any more.
    Raises NotFoundError, ConflictError, NotAllowedError, DatabaseError, StorageError.
    """
    visibility = visibility_of(require(Permission.ORDER_MANAGE))
    who = current_access().name
    coercions = await read_coercions(archive)
    async with archive.pool.connection() as connection, connection.transaction():
        row = await _locked(connection, study_uid, visibility)
        match = await read_match(connection, study_uid)
        if match is not None:
            await part(archive, connection, row, match, who=who)
        elif not await _reopen(connection, study_uid):
            raise ConflictError(told("The study has met no order and was not dismissed: there is nothing to undo."))
        looked = await look(connection, study_uid, coercions)
        if looked is not None:
            await put_exception(connection, study_uid, looked.decision.reasons, looked.ranked)
            if looked.decision.match is not None:
                await note_study(connection, study_uid)
        if match is None:
            await record(connection, corrected(study_uid, f"Put back into the exceptions queue by {who}"))


async def dismiss_exceptions(archive: Archive, study_uids: Sequence[str], note: str) -> int:
    """No order will come for these studies; returns how many left the queue.

    Raises InvalidRequestError, NotAllowedError, DatabaseError.
    """
    visible = study_is_visible(visibility_of(require(Permission.ORDER_MANAGE)))
    _check_number(len(study_uids))
    note = clean(note).strip()[:NOTE_CHARS_MAX]
    if not note:
        raise InvalidRequestError(told("Say in a few words why no order belongs to it; others will read it."))
    who = current_access().name
    async with archive.pool.connection() as connection, connection.transaction():
        cursor = await connection.execute(
            f"""UPDATE study_exception x SET state = 'dismissed', ended_at = now(), ended_by = %s, note = %s FROM study s
                WHERE s.study_instance_uid = x.study_instance_uid AND x.state = 'open' AND x.study_instance_uid = ANY(%s)
                AND {visible.text or "true"} RETURNING x.study_instance_uid""".encode(),
            (who, note, list(study_uids), *visible.parameters),
        )
        done = [row[0] for row in await cursor.fetchall()]
        for uid in done:
            await record(connection, corrected(uid, f"Dismissed from the exceptions queue by {who}: {note}"))
    return len(done)


def reason_text(reason: Mapping[str, Any], say: Callable[[str], str] = str) -> str:
    """Why a study waits, as a sentence; `say` gives the words of a message id in somebody's language."""
    values = dict(reason["values"])
    if state := STATE_WORDS.get(values.get("state", "")):
        values["state"] = say(state)
    try:
        return say(REASONS[reason["code"]]).format_map(values)
    except (KeyError, ValueError):
        return str(reason["code"])


# --- helpers ---


async def _rows(
    archive: Archive,
    condition: str,
    values: Sequence[object],
    visibility: Visibility,
    before_id: int | None,
    limit: int,
) -> list[ExceptionRow]:
    visible = study_is_visible(visibility)
    statement = f"""
        SELECT x.id, x.study_instance_uid, x.state, x.reasons, x.candidates, x.found_at, x.ended_at, x.ended_by, x.note,
            coalesce(s.patient_id, '') AS patient_id, coalesce(s.patient_name, '') AS patient_name,
            coalesce(s.patient_birth_date, '') AS birth_date, coalesce(s.patient_sex, '') AS sex,
            coalesce(s.accession_number, '') AS accession_number, coalesce(s.study_date, '') AS study_date,
            coalesce(s.study_time, '') AS study_time, coalesce(s.study_description, '') AS description, s.modalities,
            coalesce((SELECT sum(instance_count) FROM series WHERE study = s.id), 0)::bigint AS instances,
            EXISTS (SELECT FROM study_match m WHERE m.study_instance_uid = x.study_instance_uid AND m.undone_at IS NULL)
                AS is_matched
        FROM study_exception x JOIN study s ON s.study_instance_uid = x.study_instance_uid
        WHERE {condition} AND (%s::bigint IS NULL OR x.id < %s) AND {visible.text or "true"} ORDER BY x.id DESC LIMIT %s"""
    return await _select(archive, ExceptionRow, statement, [*values, before_id, before_id, *visible.parameters, limit])


async def _select(archive: Archive, kind: type[Any], statement: str, parameters: Sequence[object]) -> list[Any]:
    try:
        async with archive.pool.connection() as connection, connection.cursor(row_factory=class_row(kind)) as cursor:
            await cursor.execute(statement.encode(), parameters)
            return await cursor.fetchall()
    except psycopg.Error as error:
        raise DatabaseError(f"The exceptions cannot be read: {type(error).__name__}. Try again later.") from error


async def _locked(connection: AsyncConnection[Any], study_uid: str, visibility: Visibility) -> int:
    await _require_visible(connection, study_uid, visibility)
    row = await lock_study(connection, study_uid)
    if row is None:
        raise _no_study(study_uid)
    return row


async def _require_visible(connection: AsyncConnection[Any], study_uid: str, visibility: Visibility) -> None:
    if not await has_visible_study(connection, study_uid, visibility):
        raise _no_study(study_uid)


async def _reopen(connection: AsyncConnection[Any], study_uid: str) -> bool:
    """Whether the study was dismissed; it is not any more."""
    cursor = await connection.execute(
        b"""UPDATE study_exception SET state = 'open', ended_at = NULL, ended_by = '' WHERE id = (
                SELECT id FROM study_exception WHERE study_instance_uid = %s ORDER BY id DESC LIMIT 1)
            AND state = 'dismissed' RETURNING id""",
        (study_uid,),
    )
    return await cursor.fetchone() is not None


def _check_number(number: int) -> None:
    if not 1 <= number <= BULK_MAX:
        raise InvalidRequestError(told("Mark the studies that are meant: 1 to {most}.", most=BULK_MAX))


def _no_study(study_uid: str) -> NotFoundError:
    return NotFoundError(told("There is no study {study}; it was deleted or never received.", study=study_uid))

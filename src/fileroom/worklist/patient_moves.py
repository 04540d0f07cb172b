"""Visits moved by people, and moves taken back: those of people and those of messages (A43 A44 A45).

A move is taken back only where everything it took is still where it brought it. After a merge of its target, or another move,
that one is to be taken back first: what it moved on is its own to give back.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import class_row

from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.errors import ConflictError, DatabaseError, NotFoundError, told
from fileroom.worklist.changes import Cause, Effect
from fileroom.worklist.merges import in_transaction, require_own
from fileroom.worklist.order_rows import note_in_history
from fileroom.worklist.patient_images import show_studies
from fileroom.worklist.patient_rows import lock_patients
from fileroom.worklist.patient_search import require_visible
from fileroom.worklist.patients import record_patients
from fileroom.worklist.visit_moves import give_visit_to
from fileroom.worklist.visits import VisitRow, find_visit_by_row

MOVES_MAX: Final = 100
"""Of one patient that are shown, the latest first."""


@dataclass(frozen=True, slots=True)
class PatientMove:
    """A move from or to a patient. `undone_at` None: it can be taken back."""

    id: int
    source: int
    source_name: str
    target: int
    target_name: str
    numbers: list[str]
    """Of its visits, as they are called now."""
    whole: bool
    """All that was known under one identifier."""
    visits: int
    orders: int
    studies: int
    message: int | None
    moved_at: dt.datetime
    moved_by: str
    undone_at: dt.datetime | None
    undone_by: str | None


async def list_moves(archive: Archive, patient: int) -> list[PatientMove]:
    """Moves from and to a patient, the latest first. Raises NotFoundError, NotAllowedError, DatabaseError."""
    access = require(Permission.ORDER_READ)
    try:
        async with archive.pool.connection() as connection, connection.transaction():
            await require_visible(connection, access, patient)
            async with connection.cursor(row_factory=class_row(PatientMove)) as cursor:
                await cursor.execute(_MOVES.encode(), (patient, MOVES_MAX))
                return await cursor.fetchall()
    except psycopg.Error as error:
        raise DatabaseError(
            f"The database could not tell about moves: {type(error).__name__}. Try again later."
        ) from error


async def move_patient_visit(archive: Archive, visit: int, target: int) -> list[Effect]:
    """Let a visit (by its row) with its orders and their images be another patient's.

    Raises NotFoundError, ConflictError, NotAllowedError, DatabaseError, StorageError.
    """
    access = require(Permission.ORDER_MANAGE)

    async def work(connection: AsyncConnection[Any]) -> list[Effect]:
        row = await _visit(connection, visit)
        await require_visible(connection, access, row.patient, target)
        for each in (await lock_patients(connection, [row.patient, target])).values():
            require_own(each)
        if row.patient == target:
            raise ConflictError(told("The visit is that patient's already."))
        return await give_visit_to(archive, connection, row, target, Cause(access.name))

    return await in_transaction(archive, work)


async def undo_move(archive: Archive, move: int) -> list[Effect]:
    """Bring back what a move has taken. Raises NotFoundError, ConflictError, NotAllowedError, DatabaseError, StorageError."""
    access = require(Permission.ORDER_MANAGE)

    async def work(connection: AsyncConnection[Any]) -> list[Effect]:
        return await _undo(archive, connection, move, Cause(access.name))

    return await in_transaction(archive, work)


# --- helpers ---

_MOVES: Final = """
SELECT m.id, m.source, s.patient_name AS source_name, m.target, t.patient_name AS target_name,
    ARRAY(SELECT v.number FROM visit v WHERE v.id = ANY(m.visits) ORDER BY v.id LIMIT 20) AS numbers,
    m.identifier IS NOT NULL AS whole, cardinality(m.visits) AS visits, cardinality(m.orders) AS orders,
    cardinality(m.studies) AS studies, m.message, m.moved_at, m.moved_by, m.undone_at, m.undone_by
FROM patient_move m JOIN registered_patient s ON s.id = m.source JOIN registered_patient t ON t.id = m.target
WHERE %s IN (m.source, m.target) ORDER BY m.id DESC LIMIT %s"""


async def _visit(connection: AsyncConnection[Any], number: int) -> VisitRow:
    row = await find_visit_by_row(connection, number)
    if row is None:
        raise NotFoundError(told("There is no such visit."))
    return row


async def _undo(archive: Archive, connection: AsyncConnection[Any], move: int, cause: Cause) -> list[Effect]:
    async with connection.cursor(row_factory=psycopg.rows.dict_row) as cursor:
        await cursor.execute(b"SELECT * FROM patient_move WHERE id = %s FOR UPDATE", (move,))
        row = await cursor.fetchone()
    if row is None:
        raise NotFoundError(told("There is no such move."))
    source, target = int(row["source"]), int(row["target"])
    await require_visible(connection, require(Permission.ORDER_MANAGE), source, target)
    if row["undone_at"] is not None:
        raise ConflictError(told("This move was taken back already."))
    for each in (await lock_patients(connection, [source, target])).values():
        if each.merged_into is not None:
            raise ConflictError(
                told(
                    "Patient number {number} has become part of patient number {into} since. Take that merge back first.",
                    number=each.id,
                    into=each.merged_into,
                )
            )
    await _move_rows(connection, "visit", row["visits"], source, target, cause)
    await _move_rows(connection, "imaging_order", row["orders"], source, target, cause)
    if row["identifier"] is not None:
        await _identifier_back(connection, row["identifier"], source, target, first=row["was_first"])
    history = told("went back to patient number {source}: a move was taken back", source=source)
    await note_in_history(connection, row["orders"], cause, [history])
    await connection.execute(
        b"UPDATE patient_move SET undone_at = now(), undone_by = %s WHERE id = %s", (cause.who, move)
    )
    words = f"took a move back from patient {target} (visits: {len(row['visits'])}, orders: {len(row['orders'])})"
    effects = [Effect(words, "patient", source)]
    effects += await show_studies(archive, connection, source, row["studies"], target, cause)
    await record_patients(connection, [source, target], f"{words[0].upper()}{words[1:]}", cause)
    return effects


async def _move_rows(
    connection: AsyncConnection[Any], table: str, rows: Sequence[int], source: int, target: int, cause: Cause
) -> None:
    """Raises ConflictError where one has gone on, or is no more."""
    statement = (
        f"UPDATE {table} SET patient = %s, changed_at = now(), changed_by = %s WHERE id = ANY(%s) AND patient = %s"
    )
    cursor = await connection.execute(statement.encode(), (source, cause.who, list(rows), target))
    if cursor.rowcount != len(rows):
        raise ConflictError(
            told(
                "Not everything that was moved is there still: some of it was moved on or removed. Move visits one by one."
            )
        )


async def _identifier_back(
    connection: AsyncConnection[Any], identifier: int, source: int, target: int, *, first: bool
) -> None:
    if first:
        await connection.execute(b"UPDATE patient_identifier SET is_first = false WHERE patient = %s", (source,))
    cursor = await connection.execute(
        b"""UPDATE patient_identifier SET patient = %s, home = %s, is_first = %s, retired = false
            WHERE id = %s AND patient = %s""",
        (source, source, first, identifier, target),
    )
    if cursor.rowcount != 1:
        raise ConflictError(told("The identifier that was moved is another patient's now."))

"""One patient of two, and two of one again (HL7 A40 and its elders, A37), with all that they have: docs/adr/0039.

A merge moves identifiers, visits and orders of the retired record to the survivor and remembers which; images follow by
corrections (`patient_images`). The retired record stays, empty and pointing to the survivor, so that a chain of merges (3 into
2, then 2 into 1) can be taken apart in any order. Whoever is merged into somebody cannot be the survivor of that one: a circle
is refused.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

import psycopg
from psycopg import AsyncConnection, errors
from psycopg.rows import class_row

from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.errors import ConflictError, DatabaseError, InvalidRequestError, NotFoundError, told
from fileroom.worklist.changes import Cause, Effect, MergePatients, UnmergePatients
from fileroom.worklist.facts import Identifier
from fileroom.worklist.identifiers import check_identifier, is_of_records
from fileroom.worklist.order_rows import note_in_history
from fileroom.worklist.patient_images import latest_merge, show_patient, take_back
from fileroom.worklist.patient_rows import (
    IdentifierRow,
    PatientRow,
    identifiers_of,
    insert_identifiers,
    insert_patient,
    lock_patients,
    read_identifiers,
)
from fileroom.worklist.patient_search import require_visible
from fileroom.worklist.patient_values import check_patient
from fileroom.worklist.patients import lock_holders, put_patient, record_patients

Done = TypeVar("Done")

REASON_CHARS_MAX: Final = 400
_ATTEMPTS: Final = 3
"""Of a transaction that met another one in a circle."""


@dataclass(frozen=True, slots=True)
class MergeRow:
    """A merge that is in force, and what it has moved."""

    id: int
    survivor: int
    retired: int
    identifiers: list[int]
    visits: list[int]
    orders: list[int]
    first_identifier: int | None
    retired_identifiers: list[int]


# --- for people ---


async def merge_patients(
    archive: Archive,
    survivor_id: int,
    retired_id: int,
    *,
    versions: tuple[int, int] | None = None,
    reason: str = "",
) -> tuple[int, list[Effect]]:
    """Make one patient of two that a person has looked at; the merge's number, for `unmerge`, and its effects.

    `versions`: of the survivor and the other one, as they were seen; one that has changed since is not merged unseen.
    Raises InvalidRequestError, NotFoundError, ConflictError, NotAllowedError, DatabaseError, StorageError.
    """
    access = require(Permission.ORDER_MANAGE)

    async def work(connection: AsyncConnection[Any]) -> tuple[int, list[Effect]]:
        await require_visible(connection, access, survivor_id, retired_id)
        if versions is not None:
            rows = await lock_patients(connection, [survivor_id, retired_id])
            require_version(rows[survivor_id], versions[0])
            require_version(rows[retired_id], versions[1])
        return await merge_rows(archive, connection, survivor_id, retired_id, Cause(access.name), reason)

    return await in_transaction(archive, work)


async def unmerge(archive: Archive, merge_id: int, *, reason: str = "") -> list[Effect]:
    """Take a merge back. Raises NotFoundError, NotAllowedError, DatabaseError, StorageError."""
    access = require(Permission.ORDER_MANAGE)

    async def work(connection: AsyncConnection[Any]) -> list[Effect]:
        effects = await unmerge_rows(archive, connection, merge_id, Cause(access.name), reason)
        await require_visible(connection, access, *{effect.number for effect in effects if effect.subject == "patient"})
        return effects

    return await in_transaction(archive, work)


# --- for messages ---


async def merge(
    archive: Archive, connection: AsyncConnection[Any], change: MergePatients, cause: Cause
) -> tuple[int, list[Effect]]:
    """The survivor, who is made if unknown, and what has become of the merge.

    A retired patient that is unknown leaves its identifier as the survivor's alias, so that what comes under it later lands
    there. One that is part of a third patient is taken out of that first.

    Raises InvalidRequestError, ConflictError (a circle), StorageError.
    """
    retired = check_identifier(change.retired, "retired identifier")
    survivor = check_patient(change.survivor)
    if retired == survivor.identifiers[0]:
        raise InvalidRequestError(told("The patient cannot be merged with itself."))
    # Some senders name the retired identifier among the survivor's already.
    survivor = replace(survivor, identifiers=tuple(each for each in survivor.identifiers if each != retired))
    found = await lock_holders(connection, [survivor.identifiers[0], retired])
    into, away = found.get(survivor.identifiers[0]), found.get(retired)
    if into is not None and away is not None and into.patient == away.patient:
        await _refuse_circle(connection, into, away)
        _, effects = await put_patient(connection, survivor, cause)
        return into.patient, [*effects, Effect("the two are one patient already", "patient", into.patient)]
    number, effects = await put_patient(connection, survivor, cause)
    if away is None:
        other = await _make_retired(connection, retired, cause)
    else:
        other = away.home
        if away.home != away.patient:
            # Part of a third one until now. Nobody has said that the third one is the survivor too.
            effects += await unmerge_rows(archive, connection, await _merge_of(connection, away.home), cause)
    _, more = await merge_rows(archive, connection, number, other, cause)
    return number, [*effects, *more]


async def unmerge_named(
    archive: Archive, connection: AsyncConnection[Any], change: UnmergePatients, cause: Cause
) -> list[Effect]:
    """Two that were merged or linked are two again (A37). Raises NotFoundError, ConflictError, StorageError."""
    one, other = check_identifier(change.one), check_identifier(change.other)
    found = await read_identifiers(connection, [one, other])
    if one not in found or other not in found:
        raise NotFoundError(told("The two are neither merged nor linked."))
    first, second = found[one], found[other]
    cursor = await connection.execute(
        b"DELETE FROM patient_link WHERE one = %s AND other = %s",
        (min(first.patient, second.patient), max(first.patient, second.patient)),
    )
    if cursor.rowcount:
        await record_patients(connection, [first.patient, second.patient], "Took a link back", cause)
        return [Effect(f"is no longer linked with patient {second.patient}", "patient", first.patient)]
    if first.patient != second.patient or first.home == second.home:
        raise NotFoundError(told("The two are neither merged nor linked."))
    for lower, upper in ((first, second), (second, first)):
        if upper.home in await _ancestors(connection, lower.home):
            return await unmerge_rows(archive, connection, await _merge_of(connection, lower.home), cause)
    raise ConflictError(
        told(
            "The two were not merged with each other: each is part of patient number {number}. Take out the one that does "
            "not belong there.",
            number=first.patient,
        )
    )


# --- rows ---


def require_own(row: PatientRow) -> None:
    """Raises ConflictError for a patient that has become part of another one."""
    if row.merged_into is not None:
        raise ConflictError(
            told("The patient was merged into patient number {number}. Merge with that one.", number=row.merged_into)
        )


def require_version(row: PatientRow, version: int) -> None:
    """Raises ConflictError for a patient that has changed since somebody looked."""
    if row.version != version:
        raise ConflictError(
            told(
                "Patient number {number} was changed while you were looking; nothing of yours is done. Look at it as it is "
                "now, and try again.",
                number=row.id,
            )
        )


async def merge_rows(
    archive: Archive,
    connection: AsyncConnection[Any],
    survivor: int,
    retired: int,
    cause: Cause,
    reason: str = "",
) -> tuple[int, list[Effect]]:
    """Merge two records in the caller's transaction; the merge's number and effects. See `merge_patients` for errors."""
    if survivor == retired:
        raise InvalidRequestError(told("The patient cannot be merged with itself."))
    rows = await lock_patients(connection, [survivor, retired])
    for number in (survivor, retired):
        if number not in rows:
            raise NotFoundError(told("There is no patient number {number}.", number=number))
        require_own(rows[number])
    moved = await identifiers_of(connection, retired)
    has_first = any(row.is_first for row in await identifiers_of(connection, survivor))
    gone = retired_by_merge(moved) if has_first else []
    moved = [replace(row, retired=row.retired or row.id in gone) for row in moved]
    await connection.execute(
        b"""UPDATE patient_identifier SET patient = %s, is_first = is_first AND NOT %s, retired = retired OR id = ANY(%s)
            WHERE patient = %s""",
        (survivor, has_first, gone, retired),
    )
    visits = await _move(connection, "visit", survivor, "patient = %s", retired, cause)
    orders = await _move(connection, "imaging_order", survivor, "patient = %s", retired, cause)
    await connection.execute(
        b"""UPDATE registered_patient SET merged_into = CASE WHEN id = %s THEN %s::bigint END, version = version + 1,
                changed_at = now(), changed_by = %s WHERE id IN (%s, %s)""",
        (retired, survivor, cause.who, retired, survivor),
    )
    cursor = await connection.execute(
        b"""INSERT INTO patient_merge (survivor, retired, identifiers, visits, orders, first_identifier, retired_identifiers,
                message, merged_by, reason) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING id""",
        (
            survivor,
            retired,
            [row.id for row in moved],
            visits,
            orders,
            next((row.id for row in moved if row.is_first), None),
            gone,
            cause.message,
            cause.who,
            reason[:REASON_CHARS_MAX],
        ),
    )
    made = await cursor.fetchone()
    number = int(made[0]) if made else 0
    history = told(
        "belongs to patient number {survivor} now: patient number {retired} became part of that one (merge {number})",
        survivor=survivor,
        retired=retired,
        number=number,
    )
    await note_in_history(connection, orders, cause, [history])
    words = f"merged patient {retired} into patient {survivor} (visits: {len(visits)}, orders: {len(orders)})"
    known = [rows[survivor], rows[retired]] if rows[retired].patient_name or rows[retired].birth_date else []
    effects = [
        Effect(words, "patient", survivor),
        *await show_patient(archive, connection, survivor, cause, under=moved, known=known, merge=number, exactly=True),
    ]
    what = f"{words[0].upper()}{words[1:]} (merge {number}){_because(reason)}"
    await record_patients(connection, [survivor, retired], what, cause)
    return number, effects


async def unmerge_rows(
    archive: Archive, connection: AsyncConnection[Any], merge_id: int, cause: Cause, reason: str = ""
) -> list[Effect]:
    """Take a merge back in the caller's transaction: exactly what it moved, from wherever later merges have taken it."""
    undone = await _lock_merge(connection, merge_id)
    path = await _lock_path(connection, undone)
    owner = path[-1]
    await connection.execute(
        b"""UPDATE patient_identifier SET patient = %s, is_first = (id IS NOT DISTINCT FROM %s),
                retired = retired AND NOT id = ANY(%s) WHERE id = ANY(%s) AND patient = %s""",
        (undone.retired, undone.first_identifier, undone.retired_identifiers, undone.identifiers, owner),
    )
    where = "id = ANY(%s) AND patient = %s"
    visits = await _move(connection, "visit", undone.retired, where, undone.visits, cause, owner)
    orders = await _move(connection, "imaging_order", undone.retired, where, undone.orders, cause, owner)
    await connection.execute(
        b"""UPDATE registered_patient SET merged_into = CASE WHEN id = %s THEN NULL ELSE merged_into END,
                version = version + 1, changed_at = now(), changed_by = %s WHERE id IN (%s, %s)""",
        (undone.retired, cause.who, undone.retired, owner),
    )
    await connection.execute(
        b"UPDATE patient_merge SET revoked_at = now(), revoked_by = %s, revoke_reason = %s WHERE id = %s",
        (cause.who, reason[:REASON_CHARS_MAX], merge_id),
    )
    history = told(
        "belongs to patient number {retired} again: merge {number} was taken back",
        retired=undone.retired,
        number=merge_id,
    )
    await note_in_history(connection, orders, cause, [history])
    await _forget_moved(connection, undone, path)
    words = f"took patient {undone.retired} out of patient {owner} (visits: {len(visits)}, orders: {len(orders)})"
    effects = [
        Effect(words, "patient", undone.retired),
        *await take_back(archive, connection, merge_id, undone.retired, owner, cause),
    ]
    # Images that came under a record that is part of the one that stands for itself now.
    below = [row for row in await identifiers_of(connection, undone.retired) if row.home != undone.retired]
    if below:
        latest = await latest_merge(connection, undone.retired)
        effects += await show_patient(
            archive, connection, undone.retired, cause, under=below, merge=latest, exactly=True
        )
    what = f"{words[0].upper()}{words[1:]} (merge {merge_id}){_because(reason)}"
    await record_patients(connection, [owner, undone.retired], what, cause)
    return effects


def _because(reason: str) -> str:
    return f" because: {reason[:REASON_CHARS_MAX]}" if reason else ""


async def _lock_path(connection: AsyncConnection[Any], undone: MergeRow) -> list[int]:
    """From the survivor of a merge to whoever has its things now; that one and the retired record are locked."""
    path = [undone.survivor, *await _ancestors(connection, undone.survivor)]
    for _ in range(_ATTEMPTS):
        await lock_patients(connection, [path[-1], undone.retired])
        still = [undone.survivor, *await _ancestors(connection, undone.survivor)]
        if still == path:
            return path
        path = still
    raise ConflictError(told("The patient is being merged just now. Try again."))


async def _forget_moved(connection: AsyncConnection[Any], undone: MergeRow, path: Sequence[int]) -> None:
    """The merges of those on the way up have moved the same: when they are taken back, it is not theirs to give any more."""
    columns = ("identifiers", "visits", "orders")
    kept = ", ".join(f"{name} = ARRAY(SELECT u FROM unnest({name}) u WHERE u <> ALL(%({name})s))" for name in columns)
    text = f"UPDATE patient_merge SET {kept} WHERE revoked_at IS NULL AND retired = ANY(%(path)s)"
    await connection.execute(text.encode(), {"path": list(path)} | {name: getattr(undone, name) for name in columns})


def retired_by_merge(moved: Sequence[IdentifierRow]) -> list[int]:
    """The first identifier and others of its authority. Another authority knows nothing of the merge: its number is good."""
    authority = next((row.authority for row in moved if row.is_first), None)
    return [row.id for row in moved if not row.retired and is_of_records(row.kind) and row.authority == authority]


async def _move(
    connection: AsyncConnection[Any],
    table: str,
    patient: int,
    where: str,
    which: int | list[int],
    cause: Cause,
    *more: int,
) -> list[int]:
    """Let rows of visits or orders be a patient's; their ids."""
    text = f"UPDATE {table} SET patient = %s, changed_at = now(), changed_by = %s WHERE {where} RETURNING id"
    cursor = await connection.execute(text.encode(), (patient, cause.who, which, *more))
    return sorted(row[0] for row in await cursor.fetchall())


async def _make_retired(connection: AsyncConnection[Any], retired: Identifier, cause: Cause) -> int:
    """A record of which nothing is known but that somebody was called so."""
    number = await insert_patient(connection, PatientRow(0), cause.who)
    await insert_identifiers(connection, number, [retired], first=retired)
    return number


async def _refuse_circle(connection: AsyncConnection[Any], into: IdentifierRow, away: IdentifierRow) -> None:
    if away.home in await _ancestors(connection, into.home):
        raise ConflictError(
            told(
                "The survivor was itself merged into the patient that shall be retired now (merge number {number}): that would "
                "be a circle. Take that merge back first if it was wrong.",
                number=await _merge_of(connection, into.home),
            )
        )


async def _ancestors(connection: AsyncConnection[Any], patient: int) -> list[int]:
    """What a record has become part of, step by step."""
    cursor = await connection.execute(
        b"""WITH RECURSIVE up(id, step) AS (
                SELECT merged_into, 1 FROM registered_patient WHERE id = %s
                UNION ALL SELECT p.merged_into, up.step + 1 FROM up JOIN registered_patient p ON p.id = up.id
                WHERE up.step < 10000
            ) SELECT id FROM up WHERE id IS NOT NULL ORDER BY step""",
        (patient,),
    )
    return [row[0] for row in await cursor.fetchall()]


async def _merge_of(connection: AsyncConnection[Any], retired: int) -> int:
    """The merge in force by which a record was retired."""
    cursor = await connection.execute(
        b"SELECT max(id) FROM patient_merge WHERE retired = %s AND revoked_at IS NULL", (retired,)
    )
    row = await cursor.fetchone()
    return int(row[0]) if row and row[0] is not None else 0


async def _lock_merge(connection: AsyncConnection[Any], merge_id: int) -> MergeRow:
    async with connection.cursor(row_factory=class_row(MergeRow)) as cursor:
        await cursor.execute(
            b"""SELECT id, survivor, retired, identifiers, visits, orders, first_identifier, retired_identifiers
                FROM patient_merge WHERE id = %s AND revoked_at IS NULL FOR UPDATE""",
            (merge_id,),
        )
        row = await cursor.fetchone()
    if row is None:
        raise NotFoundError(told("There is no merge number {number} in force.", number=merge_id))
    return row


async def in_transaction(archive: Archive, work: Callable[[AsyncConnection[Any]], Awaitable[Done]]) -> Done:
    """Do it in one transaction, again where it met another one in a circle. Raises DatabaseError."""
    for attempt in range(_ATTEMPTS):
        try:
            async with archive.pool.connection() as connection, connection.transaction():
                return await work(connection)
        except errors.DeadlockDetected as error:
            if attempt + 1 == _ATTEMPTS:
                raise _failure(error) from error
        except psycopg.Error as error:
            raise _failure(error) from error
    raise AssertionError("unreachable")


def _failure(error: psycopg.Error) -> DatabaseError:
    return DatabaseError(
        f"The database did not take the change of the patient: {type(error).__name__}. Try again later."
    )

"""Visits, or all that somebody has, become another patient's (HL7 A35 A41 A43 A44 A45 A50); their images go with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection

from fileroom.archive.services import Archive
from fileroom.core.errors import ConflictError, told
from fileroom.worklist.changes import Cause, Effect, MergePatients, MoveVisit
from fileroom.worklist.identifiers import check_identifier, is_of_records
from fileroom.worklist.merges import merge
from fileroom.worklist.order_rows import note_in_history
from fileroom.worklist.patient_images import find_images, show_patient, show_studies
from fileroom.worklist.patient_rows import identifiers_of, lock_patients, read_identifiers
from fileroom.worklist.patients import lock_holders, make_first, put_patient, record_patients
from fileroom.worklist.visits import VisitRow, find_visit, give_visit, rename_visit


@dataclass(frozen=True, slots=True)
class Moved:
    """What a move has taken from one patient to another. `identifier`: that of a move of everything under it."""

    source: int
    target: int
    visits: tuple[int, ...]
    orders: tuple[int, ...]
    studies: tuple[str, ...]
    identifier: int | None = None
    was_first: bool = False


async def move_visit(
    archive: Archive, connection: AsyncConnection[Any], change: MoveVisit, cause: Cause
) -> list[Effect]:
    """Move one visit, give it another number, or, without a visit, move all that the source has.

    Raises InvalidRequestError, ConflictError, StorageError.
    """
    if change.visit is None:
        return await _move_all(archive, connection, change, cause)
    target, effects = await put_patient(connection, change.target, cause)
    visit = await find_visit(connection, check_identifier(change.visit, "visit number"))
    if visit is None:
        return [*effects, Effect("the visit is not known: there is nothing to move", "patient", target)]
    if visit.patient != target:
        source = (await read_identifiers(connection, [change.source])).get(change.source)
        if source is not None and source.patient != visit.patient:
            raise ConflictError(
                told(
                    "The visit belongs to another patient (number {number}), not to the one named as its source.",
                    number=visit.patient,
                )
            )
        effects += await give_visit_to(archive, connection, visit, target, cause)
    if change.new_number is not None:
        effects += await _renumber(connection, visit, target, change, cause)
    return effects


async def give_visit_to(
    archive: Archive, connection: AsyncConnection[Any], visit: VisitRow, target: int, cause: Cause
) -> list[Effect]:
    """Let a visit with its orders and their studies be another patient's, and remember it for `patient_moves`."""
    await lock_patients(connection, [visit.patient, target])
    orders = await give_visit(connection, visit, target, cause)
    words = f"moved the visit from patient {visit.patient} (orders: {len(orders)})"
    uids = await _studies_of(connection, orders)
    theirs = await identifiers_of(connection, visit.patient)
    matched, _ = await find_images(connection, archive, theirs, ()) if uids else ([], 0)
    moved = sorted({study.study_instance_uid for study, _ in matched} & set(uids))
    effects = [Effect(words, "patient", target)]
    effects += await show_studies(archive, connection, target, moved, visit.patient, cause)
    await remember_move(connection, Moved(visit.patient, target, (visit.id,), tuple(orders), tuple(moved)), cause)
    await record_patients(connection, [visit.patient, target], f"{words[0].upper()}{words[1:]}", cause)
    return effects


async def remember_move(connection: AsyncConnection[Any], moved: Moved, cause: Cause) -> None:
    """Keep what a move has taken along."""
    await connection.execute(
        b"""INSERT INTO patient_move (source, target, visits, orders, identifier, was_first, studies, message, moved_by)
            VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)""",
        (
            moved.source,
            moved.target,
            list(moved.visits),
            list(moved.orders),
            moved.identifier,
            moved.was_first,
            list(moved.studies),
            cause.message,
            cause.who,
        ),
    )


async def _renumber(
    connection: AsyncConnection[Any], visit: VisitRow, target: int, change: MoveVisit, cause: Cause
) -> list[Effect]:
    """Another number for the visit; where the patient has a visit of that number, the two become that one (A35, A42)."""
    new = check_identifier(change.new_number or change.source, "visit number")
    there = await find_visit(connection, new)
    if there is None or there.id == visit.id:
        return await rename_visit(connection, visit, new, cause)
    if there.patient != target:
        raise ConflictError(told("Another visit has the new number already."))
    cursor = await connection.execute(
        b"UPDATE imaging_order SET visit = %s WHERE visit = %s RETURNING id", (there.id, visit.id)
    )
    orders = [row[0] for row in await cursor.fetchall()]
    words = told("its visit {old} became one with visit {new}", old=visit.number, new=there.number)
    await note_in_history(connection, orders, cause, [words])
    await connection.execute(b"DELETE FROM visit WHERE id = %s", (visit.id,))
    return [Effect(f"the visit became one with another (orders: {len(orders)})", "visit", there.id)]


async def _move_all(
    archive: Archive, connection: AsyncConnection[Any], change: MoveVisit, cause: Cause
) -> list[Effect]:
    source = check_identifier(change.source, "source")
    row = (await lock_holders(connection, [source])).get(source)
    others = (
        [] if row is None else [each for each in await identifiers_of(connection, row.patient) if each.id != row.id]
    )
    if row is None or not any(is_of_records(each.kind) and each.home == row.patient for each in others):
        # Nothing would be left of the source: that is a merge, and can be taken back as one.
        _, effects = await merge(archive, connection, MergePatients(change.target, source), cause)
        return effects
    target, effects = await put_patient(connection, change.target, cause)
    if target == row.patient:
        return [*effects, Effect("the two are one patient already", "patient", target)]
    await lock_patients(connection, [row.patient, target])
    await connection.execute(
        b"UPDATE patient_identifier SET patient = %s, home = %s, is_first = false, retired = true WHERE id = %s",
        (target, target, row.id),
    )
    heir = next(each for each in others if is_of_records(each.kind) and each.home == row.patient)
    if row.is_first:
        await make_first(connection, row.patient, heir.identifier)
    taken: list[tuple[int, ...]] = []
    for table in (b"visit", b"imaging_order"):
        cursor = await connection.execute(
            b"UPDATE "
            + table
            + b" SET patient = %s, changed_at = now(), changed_by = %s WHERE patient = %s RETURNING id",
            (target, cause.who, row.patient),
        )
        taken.append(tuple(sorted(each[0] for each in await cursor.fetchall())))
    visits, orders = taken
    history = told(
        "went with an identifier from patient number {source} to patient number {target}",
        source=row.patient,
        target=target,
    )
    await note_in_history(connection, orders, cause, [history])
    words = f"moved an identifier from patient {row.patient} (visits: {len(visits)}, orders: {len(orders)})"
    effects.append(Effect(words, "patient", target))
    [moved] = [each for each in await identifiers_of(connection, target) if each.id == row.id]
    matched, _ = await find_images(connection, archive, [moved], ())
    studies = tuple(sorted({study.study_instance_uid for study, _ in matched}))
    await remember_move(connection, Moved(row.patient, target, visits, orders, studies, row.id, row.is_first), cause)
    effects += await show_patient(archive, connection, target, cause, under=[moved], exactly=True)
    await record_patients(connection, [row.patient, target], f"{words[0].upper()}{words[1:]}", cause)
    return effects


async def _studies_of(connection: AsyncConnection[Any], orders: list[int]) -> list[str]:
    """The studies that carry the orders' UIDs or have met them."""
    cursor = await connection.execute(
        b"""SELECT study_instance_uid FROM imaging_order WHERE id = ANY(%s)
            UNION SELECT study_instance_uid FROM study_match WHERE imaging_order = ANY(%s) AND undone_at IS NULL""",
        (orders, orders),
    )
    return [row[0] for row in await cursor.fetchall()]

"""What a message asks for is written here, with its effects, in the transaction of whoever calls.

`merges`, `patients`, `visits`, `visit_moves` and `orders` have the rules. What is refused raises an error of the caller's
(InvalidRequestError, NotFoundError, ConflictError): the caller rolls back to its savepoint and tells it.
"""

from __future__ import annotations

from typing import Any

from psycopg import AsyncConnection

from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.worklist.changes import (
    Cause,
    Change,
    ChangeIdentifier,
    Effect,
    LinkPatients,
    MergePatients,
    MoveVisit,
    Nothing,
    PutOrder,
    PutPatient,
    RemoveVisit,
    UnmergePatients,
)
from fileroom.worklist.facts import PatientFacts
from fileroom.worklist.identifiers import VISIT_KINDS
from fileroom.worklist.merges import merge, unmerge_named
from fileroom.worklist.orders import write_order
from fileroom.worklist.patient_images import has_images, show_patient
from fileroom.worklist.patient_rows import PatientRow, identifiers_of, read_patients
from fileroom.worklist.patients import change_identifier, find_patient, link_patients, write_patient
from fileroom.worklist.visit_moves import move_visit
from fileroom.worklist.visits import find_visit, put_visit, remove_visit, rename_visit


async def apply_change(
    archive: Archive, connection: AsyncConnection[Any], change: Change, cause: Cause
) -> list[Effect]:
    """Write the change and tell its effects, in words without patient data.

    Raises InvalidRequestError, NotFoundError, ConflictError, NotAllowedError; StorageError; psycopg.Error, of which a
    DeadlockDetected means: do the whole transaction again.
    """
    require(Permission.ORDER_MANAGE)
    match change:
        case PutPatient():
            return await _put_patient(archive, connection, change, cause)
        case MergePatients():
            before = await _known(connection, change.survivor)
            patient, effects = await merge(archive, connection, change, cause)
            return effects + await _bring_images_in_line(archive, connection, patient, before, cause)
        case UnmergePatients():
            return await unmerge_named(archive, connection, change, cause)
        case LinkPatients():
            return await link_patients(connection, change, cause)
        case ChangeIdentifier():
            return await _change_identifier(archive, connection, change, cause)
        case MoveVisit():
            return await move_visit(archive, connection, change, cause)
        case RemoveVisit():
            known = await find_patient(connection, change.patient.identifiers[0])
            return await remove_visit(connection, known, change.visit, cause)
        case PutOrder():
            written = await write_order(connection, change, cause)
            if written.patient is None:
                return written.effects
            before, after = written.patient.before, written.patient.after
            return written.effects + await _update_images(archive, connection, before, after, cause)
        case Nothing():
            return [Effect(change.why)]


async def _put_patient(
    archive: Archive, connection: AsyncConnection[Any], change: PutPatient, cause: Cause
) -> list[Effect]:
    put = await write_patient(connection, change.patient, cause)
    effects = list(put.effects)
    if change.visit is not None:
        _, more = await put_visit(connection, put.after.id, change.visit, cause)
        effects += more
    return effects + await _update_images(archive, connection, put.before, put.after, cause)


async def _change_identifier(
    archive: Archive, connection: AsyncConnection[Any], change: ChangeIdentifier, cause: Cause
) -> list[Effect]:
    if change.old.kind in VISIT_KINDS:
        visit = await find_visit(connection, change.old)
        if visit is not None:
            return await rename_visit(connection, visit, change.new, cause)
    before = await _known(connection, PatientFacts((change.old,)))
    patient, effects = await change_identifier(connection, change, cause)
    rows = await identifiers_of(connection, patient)
    old = [row for row in rows if row.retired and row.value == change.old.value.strip()]
    new = next((row.identifier for row in rows if not row.retired and row.value == change.new.value.strip()), None)
    effects += await show_patient(archive, connection, patient, cause, under=old, shown_as=new, exactly=True)
    return effects + await _bring_images_in_line(archive, connection, patient, before, cause)


async def _known(connection: AsyncConnection[Any], facts: PatientFacts | None) -> PatientRow | None:
    """The patient before the change, since images that are there say what was known then."""
    if facts is None or not facts.identifiers:
        return None
    number = await find_patient(connection, facts.identifiers[0])
    return None if number is None else (await read_patients(connection, [number])).get(number)


async def _bring_images_in_line(
    archive: Archive, connection: AsyncConnection[Any], patient: int | None, before: PatientRow | None, cause: Cause
) -> list[Effect]:
    if patient is None:
        return []
    after = (await read_patients(connection, [patient]))[patient]
    return await _update_images(archive, connection, before, after, cause)


async def _update_images(
    archive: Archive, connection: AsyncConnection[Any], before: PatientRow | None, after: PatientRow, cause: Cause
) -> list[Effect]:
    """Let images say what the RIS says now, if it has said something new."""
    if not archive.settings.ris_updates_images or (before is not None and _shown(before) == _shown(after)):
        return []
    if not await has_images(connection, after.id):
        return []
    known = [after] if before is None or before.id != after.id else [before, after]
    return await show_patient(archive, connection, after.id, cause, known=known)


def _shown(row: PatientRow) -> tuple[str, str, str]:
    """What of a patient stands in images."""
    return row.patient_name, row.birth_date, row.sex

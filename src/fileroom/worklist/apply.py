"""What a message asks for is written here, with its effects, in the transaction of whoever calls.

One function a kind of change; `merges`, `patients`, `visits` and `orders` have the rules. What is refused raises an error of
the caller's (InvalidRequestError, NotFoundError, ConflictError): the caller rolls back to its savepoint and tells the reason.
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
    Nothing,
    PutPatient,
    RemoveVisit,
)
from fileroom.worklist.patients import change_identifier, find_patient, link_patients, put_patient
from fileroom.worklist.visits import put_visit, remove_visit


async def apply_change(
    archive: Archive, connection: AsyncConnection[Any], change: Change, cause: Cause
) -> list[Effect]:
    """Write the change and tell its effects, in words without patient data.

    Raises InvalidRequestError, NotFoundError, ConflictError, NotAllowedError; psycopg.Error, of which a DeadlockDetected
    means: do the whole transaction again.
    """
    require(Permission.ORDER_MANAGE)
    match change:
        case PutPatient():
            return await _put_patient(archive, connection, change, cause)
        case LinkPatients():
            return await link_patients(connection, change, cause)
        case ChangeIdentifier():
            _, effects = await change_identifier(connection, change, cause)
            return effects
        case RemoveVisit():
            patient = await find_patient(connection, change.patient.identifiers[0])
            return await remove_visit(connection, patient, change.visit, cause)
        case Nothing():
            return [Effect(change.why)]
    raise NotImplementedError(type(change).__name__)


async def _put_patient(
    archive: Archive, connection: AsyncConnection[Any], change: PutPatient, cause: Cause
) -> list[Effect]:
    patient, effects = await put_patient(connection, change.patient, cause)
    if change.visit is not None:
        _, more = await put_visit(connection, patient, change.visit, cause)
        effects += more
    return effects

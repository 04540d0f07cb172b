"""Patients changed by people: what is known of them, and that two records are of one person.

The RIS is the source; this is for what it forgot or got wrong. A later message about the same patient changes it again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from psycopg import AsyncConnection

from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.errors import InvalidRequestError, NotFoundError, told
from fileroom.worklist.changes import Cause, Effect
from fileroom.worklist.facts import PatientFacts
from fileroom.worklist.merges import in_transaction, require_own, require_version
from fileroom.worklist.patient_images import find_images, show_patient
from fileroom.worklist.patient_rows import identifiers_of, lock_patients, read_patients, update_patient
from fileroom.worklist.patient_search import require_visible
from fileroom.worklist.patient_values import changed_parts, check_patient, with_facts
from fileroom.worklist.patients import record_patients


async def count_studies(archive: Archive, number: int) -> int:
    """How many studies are a patient's and would show what is changed.

    Raises NotFoundError, ConflictError, NotAllowedError, DatabaseError.
    """
    access = require(Permission.ORDER_READ)

    async def work(connection: AsyncConnection[Any]) -> int:
        await require_visible(connection, access, number)
        row = (await read_patients(connection, [number]))[number]
        known = [row] if row.patient_name or row.birth_date else []
        matched, _ = await find_images(connection, archive, await identifiers_of(connection, number), known)
        return len({study.study_instance_uid for study, _ in matched})

    return await in_transaction(archive, work)


async def save_patient(
    archive: Archive, number: int, facts: PatientFacts, *, version: int | None = None, correct_images: bool = False
) -> list[Effect]:
    """Change what is known of a patient (its identifiers stay, whatever the facts name), as it was in `version`.

    With `correct_images` the studies that are the patient's show it from now on; the received bytes stay.
    Raises InvalidRequestError, NotFoundError, ConflictError, NotAllowedError, DatabaseError, StorageError.
    """
    access = require(Permission.ORDER_MANAGE)
    cause = Cause(access.name)

    async def work(connection: AsyncConnection[Any]) -> list[Effect]:
        await require_visible(connection, access, number)
        before = (await lock_patients(connection, [number]))[number]
        require_own(before)
        if version is not None:
            require_version(before, version)
        mine = await identifiers_of(connection, number)
        said = check_patient(replace(facts, identifiers=tuple(row.identifier for row in mine[:1])))
        after = with_facts(before, said)
        effects: list[Effect] = []
        if parts := changed_parts(before, after):
            await update_patient(connection, after, access.name)
            words = f"changed the patient's {', '.join(parts)}"
            effects.append(Effect(words, "patient", number))
            await record_patients(connection, [number], f"{words[0].upper()}{words[1:]}", cause)
        if correct_images:
            known = [before, after] if before.patient_name or before.birth_date else []
            effects += await show_patient(archive, connection, number, cause, known=known, exactly=True)
        return effects

    return await in_transaction(archive, work)


async def link_records(archive: Archive, one: int, other: int) -> list[Effect]:
    """Say that two records are of one person, and keep both.

    Raises InvalidRequestError, NotFoundError, ConflictError, NotAllowedError, DatabaseError.
    """
    access = require(Permission.ORDER_MANAGE)

    async def work(connection: AsyncConnection[Any]) -> list[Effect]:
        if one == other:
            raise InvalidRequestError(told("A patient cannot be linked with itself."))
        await require_visible(connection, access, one, other)
        for row in (await lock_patients(connection, [one, other])).values():
            require_own(row)
        cursor = await connection.execute(
            b"INSERT INTO patient_link (one, other, linked_by) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
            (min(one, other), max(one, other), access.name),
        )
        if cursor.rowcount == 0:
            return [Effect("the two were linked already", "patient", one)]
        await record_patients(connection, [one, other], "Linked as one person", Cause(access.name))
        return [Effect(f"linked with patient {other}", "patient", one)]

    return await in_transaction(archive, work)


async def unlink_records(archive: Archive, one: int, other: int) -> list[Effect]:
    """Take a link back. Raises NotFoundError, NotAllowedError, DatabaseError."""
    access = require(Permission.ORDER_MANAGE)

    async def work(connection: AsyncConnection[Any]) -> list[Effect]:
        await require_visible(connection, access, one, other)
        cursor = await connection.execute(
            b"DELETE FROM patient_link WHERE one = %s AND other = %s", (min(one, other), max(one, other))
        )
        if cursor.rowcount == 0:
            raise NotFoundError(told("The two are not linked."))
        await record_patients(connection, [one, other], "Took a link back", Cause(access.name))
        return [Effect(f"is no longer linked with patient {other}", "patient", one)]

    return await in_transaction(archive, work)

"""Patients of the RIS: found by an identifier, made, brought up to date, linked, given another identifier.

A patient is who its identifiers say (assigning authority, number). The first identifier of a message decides whom it speaks
of. Others are cross references: a new one is taken on; one that belongs to somebody else stays there and is told, since only
a merge (`merges`) may make one patient of two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from psycopg import AsyncConnection

from fileroom.admin.audit import record
from fileroom.admin.audit_events import patient_changed
from fileroom.admin.audit_message import Action
from fileroom.core.errors import ConflictError, InvalidRequestError, told
from fileroom.worklist.changes import Cause, ChangeIdentifier, Effect, LinkPatients
from fileroom.worklist.facts import Identifier, PatientFacts
from fileroom.worklist.identifiers import check_identifier, is_of_records
from fileroom.worklist.patient_rows import (
    IdentifierRow,
    PatientRow,
    identifiers_of,
    insert_identifiers,
    insert_patient,
    lock_identifiers,
    lock_patients,
    read_identifiers,
    update_patient,
)
from fileroom.worklist.patient_values import changed_parts, check_patient, contradicts, with_facts

_ATTEMPTS: Final = 5
"""Each time somebody else has merged the patient between finding and locking it."""


async def find_patient(connection: AsyncConnection[Any], identifier: Identifier) -> int | None:
    """Whose the identifier is now: after a merge, the survivor's. None: nobody's."""
    found = await read_identifiers(connection, [identifier])
    return found[identifier].patient if identifier in found else None


@dataclass(frozen=True, slots=True)
class PatientChange:
    """A patient before and after facts were written; `before` None: it was made."""

    before: PatientRow | None
    after: PatientRow
    effects: list[Effect]


async def put_patient(connection: AsyncConnection[Any], facts: PatientFacts, cause: Cause) -> tuple[int, list[Effect]]:
    """Make the patient or bring it up to date; its row, locked, and what has changed.

    What comes under an identifier that a merge has retired belongs to the survivor, but fills only gaps of what is known of
    that. Raises InvalidRequestError.
    """
    change = await write_patient(connection, facts, cause)
    return change.after.id, change.effects


async def write_patient(connection: AsyncConnection[Any], facts: PatientFacts, cause: Cause) -> PatientChange:
    """`put_patient`, with what was known before."""
    facts = check_patient(facts)
    row, identifiers = await _locked(connection, facts)
    if row is None:
        await lock_identifiers(connection, facts.identifiers)
        row, identifiers = await _locked(connection, facts)
    if row is None:
        return await _make(connection, facts, identifiers, cause)
    effects = await _add_identifiers(connection, facts, row.id, identifiers)
    first = identifiers.get(facts.identifiers[0])
    is_retired = first is not None and first.home != row.id
    after = with_facts(row, facts, only_gaps=is_retired)
    parts = changed_parts(row, after)
    if parts:
        await update_patient(connection, after, cause.who)
        effects.append(Effect(f"changed the patient's {', '.join(parts)}", "patient", row.id))
    if is_retired and changed_parts(after, with_facts(row, facts)):
        effects.append(
            Effect("came under a retired identifier: what is known of the survivor stays", "patient", row.id)
        )
    if effects:
        words = "; ".join(effect.words for effect in effects)
        subject = [(facts.identifiers[0].value, after.patient_name)]
        await record(connection, patient_changed(subject, f"{words[0].upper()}{words[1:]}, by {cause.who}"))
    return PatientChange(row, after, effects)


async def link_patients(connection: AsyncConnection[Any], change: LinkPatients, cause: Cause) -> list[Effect]:
    """Say that two records are of one person, and keep both (A24). Raises InvalidRequestError."""
    one, effects = await put_patient(connection, change.one, cause)
    other, more = await put_patient(connection, change.other, cause)
    effects += more
    if one == other:
        return [*effects, Effect("the two are one patient already", "patient", one)]
    cursor = await connection.execute(
        b"INSERT INTO patient_link (one, other, linked_by) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
        (min(one, other), max(one, other), cause.who),
    )
    if cursor.rowcount == 0:
        return [*effects, Effect("the two were linked already", "patient", one)]
    effects.append(Effect(f"linked with patient {other}", "patient", one))
    await record_patients(connection, [one, other], "Linked as one person", cause)
    return effects


async def change_identifier(
    connection: AsyncConnection[Any], change: ChangeIdentifier, cause: Cause
) -> tuple[int, list[Effect]]:
    """Let the patient of `old` be known by `new`; `old` stays an alias, so that what still comes under it finds its way.

    Raises InvalidRequestError; ConflictError when `new` is another patient's: that is a merge.
    """
    old, new = check_identifier(change.old, "old identifier"), check_identifier(change.new, "new identifier")
    if is_of_records(old.kind) != is_of_records(new.kind):
        raise InvalidRequestError(told("The old and the new identifier are of different kinds."))
    found = await lock_holders(connection, [old, new])
    if old in found and new in found and found[old].patient != found[new].patient:
        raise ConflictError(
            told(
                "The new identifier belongs to another patient (number {number}). If both are one person, merge them.",
                number=found[new].patient,
            )
        )
    holder = found.get(new) or found.get(old)
    effects: list[Effect] = []
    if holder is not None:
        patient = holder.patient
    else:
        patient, effects = await put_patient(connection, PatientFacts((old,)), cause)
        found = await read_identifiers(connection, [old, new])
    missing = [each for each in (old, new) if each not in found]
    await insert_identifiers(connection, patient, missing)
    rows = await identifiers_of(connection, patient)
    was_first = any(row.is_first and row.identifier == _stored(found, old) for row in rows)
    if is_of_records(new.kind) and (was_first or not any(row.is_first for row in rows)):
        await make_first(connection, patient, new)
    both = {_stored(found, old), _stored(found, new)}
    await connection.execute(
        b"UPDATE patient_identifier SET retired = (id = %s) WHERE id = ANY(%s)",
        (
            next(row.id for row in rows if row.identifier == _stored(found, old)),
            [row.id for row in rows if row.identifier in both],
        ),
    )
    effects.append(Effect("changed the patient's identifier; the old one stays an alias", "patient", patient))
    await record_patients(connection, [patient], "Changed an identifier", cause)
    _, more = await put_patient(connection, _known_as(change.patient, new), cause)
    return patient, [*effects, *more]


def _known_as(facts: PatientFacts, new: Identifier) -> PatientFacts:
    """The facts with the new identifier in front: the message may still name the patient by the old one."""
    return PatientFacts(
        (new, *(each for each in facts.identifiers if each != new)),
        facts.name,
        facts.birth_date,
        facts.sex,
        facts.other_names,
        facts.details,
    )


def _stored(found: dict[Identifier, IdentifierRow], identifier: Identifier) -> Identifier:
    return found[identifier].identifier if identifier in found else identifier


async def make_first(connection: AsyncConnection[Any], patient: int, identifier: Identifier) -> None:
    """Let an identifier that the patient has be the one that images carry."""
    found = await read_identifiers(connection, [identifier])
    await connection.execute(
        b"UPDATE patient_identifier SET is_first = (id = %s) WHERE patient = %s AND is_first <> (id = %s)",
        (found[identifier].id, patient, found[identifier].id),
    )


async def record_patients(
    connection: AsyncConnection[Any], patients: list[int], what: str, cause: Cause, action: Action = Action.UPDATE
) -> None:
    """Write into the audit trail what was done to patients."""
    cursor = await connection.execute(
        b"""SELECT coalesce((SELECT i.value FROM patient_identifier i WHERE p.id IN (i.patient, i.home)
                ORDER BY i.patient = p.id AND i.is_first DESC, i.home = p.id DESC, i.id LIMIT 1), ''), p.patient_name
            FROM registered_patient p WHERE p.id = ANY(%s) ORDER BY p.id""",
        (patients,),
    )
    rows = await cursor.fetchall()
    await record(connection, patient_changed([(row[0], row[1]) for row in rows], f"{what}, by {cause.who}", action))


async def lock_holders(
    connection: AsyncConnection[Any], identifiers: Sequence[Identifier]
) -> dict[Identifier, IdentifierRow]:
    """Those identifiers that are known, with whoever has them locked: they stay whose they are. Raises ConflictError."""
    await lock_identifiers(connection, identifiers)
    found = await read_identifiers(connection, identifiers)
    for _ in range(_ATTEMPTS):
        await lock_patients(connection, [row.patient for row in found.values()])
        still = await read_identifiers(connection, identifiers)
        if still == found:
            return found
        found = still
    raise ConflictError(told("The patient is being merged just now. Try again."))


# --- finding and making ---


async def _locked(
    connection: AsyncConnection[Any], facts: PatientFacts
) -> tuple[PatientRow | None, dict[Identifier, IdentifierRow]]:
    """Who the facts are about, locked, with those of their identifiers that are known to anybody."""
    for _ in range(_ATTEMPTS):
        found = await read_identifiers(connection, facts.identifiers)
        first = found.get(facts.identifiers[0])
        candidates = (
            {first.patient} if first else {row.patient for key, row in found.items() if is_of_records(key.kind)}
        )
        if len(candidates) != 1:
            # Unknown; or cross references of several patients, which say nothing about who this one is.
            return None, found
        [patient] = candidates
        row = (await lock_patients(connection, [patient])).get(patient)
        if row is None or row.merged_into is not None:
            continue  # merged between the two statements: its identifiers are the survivor's now
        if first is None and contradicts(row, facts):
            return None, found
        return row, found
    raise ConflictError(told("The patient is being merged just now. Try again."))


async def _make(
    connection: AsyncConnection[Any], facts: PatientFacts, found: dict[Identifier, IdentifierRow], cause: Cause
) -> PatientChange:
    row = with_facts(PatientRow(0), facts)
    patient = await insert_patient(connection, row, cause.who)
    free = [each for each in facts.identifiers if each not in found]
    first = next((each for each in free if is_of_records(each.kind)), None)
    await insert_identifiers(connection, patient, free, first=first)
    effects = [Effect("made the patient", "patient", patient), *_belong_elsewhere(found, patient)]
    subject = [((first or free[0]).value, row.patient_name)]
    await record(connection, patient_changed(subject, f"Made the patient, by {cause.who}", Action.CREATE))
    return PatientChange(None, replace(row, id=patient), effects)


async def _add_identifiers(
    connection: AsyncConnection[Any], facts: PatientFacts, patient: int, found: dict[Identifier, IdentifierRow]
) -> list[Effect]:
    effects = _belong_elsewhere(found, patient)
    if all(each in found for each in facts.identifiers):
        return effects
    await lock_identifiers(connection, facts.identifiers)
    found |= await read_identifiers(connection, facts.identifiers)
    missing = [each for each in facts.identifiers if each not in found]
    if missing:
        await insert_identifiers(connection, patient, missing)
        effects.append(Effect(f"took on {len(missing)} further identifiers", "patient", patient))
    return effects


def _belong_elsewhere(found: dict[Identifier, IdentifierRow], patient: int) -> list[Effect]:
    others = sorted({row.patient for row in found.values()} - {patient})
    return [
        Effect(
            f"one of the identifiers belongs to patient {other} and stays there: merge them if both are one person",
            "patient",
            other,
        )
        for other in others
    ]

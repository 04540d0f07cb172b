"""Visits and accounts of patients: made, brought up to date, moved to another patient, removed (HL7 v2.5.1 ch. 3, PV1)."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any, Final

from psycopg import AsyncConnection
from psycopg.rows import class_row

from fileroom.core.errors import ConflictError, InvalidRequestError, told
from fileroom.dicom.charset import clean
from fileroom.worklist.changes import Cause, Effect
from fileroom.worklist.facts import Identifier, VisitFacts, VisitState
from fileroom.worklist.identifiers import check_identifier
from fileroom.worklist.order_rows import note_in_history
from fileroom.worklist.patient_values import clean_name

TEXT_CHARS_MAX: Final = 256
_TIME: Final = re.compile(r"[0-9]{4,14}(\.[0-9]{1,6})?")
_TEXTS: Final = ("patient_class", "location", "institution", "attending", "referring", "admitted_at", "discharged_at")


@dataclass(frozen=True, slots=True)
class VisitRow:
    """A visit as it stands. Times are DT of the hospital's clock."""

    id: int
    patient: int
    authority: str
    number: str
    state: str = VisitState.SCHEDULED
    patient_class: str = ""
    location: str = ""
    institution: str = ""
    attending: str = ""
    referring: str = ""
    admitted_at: str = ""
    discharged_at: str = ""


_COLUMNS: Final = ", ".join(VisitRow.__dataclass_fields__)
_KNOWN: Final = f"SELECT {_COLUMNS} FROM visit WHERE authority = %s AND number = %s FOR NO KEY UPDATE"


async def find_visit(connection: AsyncConnection[Any], number: Identifier) -> VisitRow | None:
    """The visit of that number, locked until the transaction ends."""
    async with connection.cursor(row_factory=class_row(VisitRow)) as cursor:
        await cursor.execute(_KNOWN.encode(), (number.authority.strip(), number.value.strip()))
        return await cursor.fetchone()


async def find_visit_by_row(connection: AsyncConnection[Any], row: int) -> VisitRow | None:
    """The visit of that row, locked until the transaction ends."""
    async with connection.cursor(row_factory=class_row(VisitRow)) as cursor:
        await cursor.execute(f"SELECT {_COLUMNS} FROM visit WHERE id = %s FOR NO KEY UPDATE".encode(), (row,))
        return await cursor.fetchone()


async def put_visit(
    connection: AsyncConnection[Any], patient: int, facts: VisitFacts, cause: Cause
) -> tuple[int, list[Effect]]:
    """Make a visit of the patient or bring it up to date; its row and what has changed.

    An admission of a discharged visit takes the discharge back (A13). Raises InvalidRequestError; ConflictError when the
    number is another patient's visit.
    """
    facts = _check(facts)
    known = await find_visit(connection, facts.number)
    if known is None:
        made = _with_facts(VisitRow(0, patient, facts.number.authority, facts.number.value), facts)
        cursor = await connection.execute(_INSERT.encode(), (*_values(made), cause.who))
        row = await cursor.fetchone()
        if row is not None:
            return int(row[0]), [Effect(f"made the visit ({made.state})", "visit", int(row[0]))]
        known = await find_visit(connection, facts.number)  # somebody else has made it meanwhile
    if known is None or known.patient != patient:
        raise ConflictError(
            told(
                "The visit number belongs to a visit of another patient (number {number}). If it is the same visit, it must "
                "be moved (A45) or the patients merged (A40).",
                number=known.patient if known else 0,
            )
        )
    after = _with_facts(known, facts)
    if after == known:
        return known.id, []
    await connection.execute(_UPDATE.encode(), (*_values(after)[3:], cause.who, known.id))
    words = f"the visit is {after.state} now" if after.state != known.state else "changed the visit"
    return known.id, [Effect(words, "visit", known.id)]


async def remove_visit(
    connection: AsyncConnection[Any], patient: int | None, number: Identifier, cause: Cause
) -> list[Effect]:
    """Take a visit away that was entered by mistake (A23); its orders stay, without it. Raises ConflictError."""
    known = await find_visit(connection, check_identifier(number, "visit number"))
    if known is None:
        return [Effect("the visit is not known: there is nothing to remove")]
    if patient is not None and known.patient != patient:
        raise ConflictError(told("The visit belongs to another patient (number {number}).", number=known.patient))
    cursor = await connection.execute(
        b"UPDATE imaging_order SET visit = NULL WHERE visit = %s RETURNING id", (known.id,)
    )
    left = [row[0] for row in await cursor.fetchall()]
    words = told("its visit {number} was entered by mistake: the order stays without it", number=known.number)
    await note_in_history(connection, left, cause, [words])
    await connection.execute(b"DELETE FROM visit WHERE id = %s", (known.id,))
    orders = f"; orders that stay without it: {len(left)}" if left else ""
    return [Effect(f"removed the visit{orders}", "patient", known.patient)]


async def rename_visit(
    connection: AsyncConnection[Any], visit: VisitRow, number: Identifier, cause: Cause
) -> list[Effect]:
    """Give a visit another number (A50, A49). Raises ConflictError when another visit has it."""
    new = check_identifier(number, "visit number")
    if (new.authority, new.value) == (visit.authority, visit.number):
        return []
    if await find_visit(connection, new) is not None:
        raise ConflictError(told("Another visit has the new number already."))
    await connection.execute(
        b"UPDATE visit SET authority = %s, number = %s, changed_at = now(), changed_by = %s WHERE id = %s",
        (new.authority, new.value, cause.who, visit.id),
    )
    return [Effect("changed the visit's number", "visit", visit.id)]


async def give_visit(connection: AsyncConnection[Any], visit: VisitRow, patient: int, cause: Cause) -> list[int]:
    """Let a visit with its orders be another patient's; the orders that went with it."""
    await connection.execute(
        b"UPDATE visit SET patient = %s, changed_at = now(), changed_by = %s WHERE id = %s",
        (patient, cause.who, visit.id),
    )
    cursor = await connection.execute(
        b"UPDATE imaging_order SET patient = %s WHERE visit = %s RETURNING id", (patient, visit.id)
    )
    orders = sorted(row[0] for row in await cursor.fetchall())
    words = told(
        "went with its visit {number} from patient number {source} to patient number {target}",
        number=visit.number,
        source=visit.patient,
        target=patient,
    )
    await note_in_history(connection, orders, cause, [words])
    return orders


# --- values ---


def _check(facts: VisitFacts) -> VisitFacts:
    for moment in (facts.admitted_at, facts.discharged_at):
        if moment and not _TIME.fullmatch(moment):
            raise InvalidRequestError(told("A time of the visit is no date and time (YYYYMMDDHHMMSS)."))
    texts = {name: getattr(facts, name) for name in _TEXTS}
    kept: dict[str, Any] = {
        name: None if text is None else clean(text).strip()[:TEXT_CHARS_MAX] for name, text in texts.items()
    }
    for name in ("attending", "referring"):
        kept[name] = None if texts[name] is None else clean_name(texts[name])
    return replace(facts, number=check_identifier(facts.number, "visit number"), **kept)


def _with_facts(row: VisitRow, facts: VisitFacts) -> VisitRow:
    said = {name: getattr(facts, name) for name in _TEXTS}
    if facts.state is VisitState.ADMITTED and row.state == VisitState.DISCHARGED and facts.discharged_at is None:
        said["discharged_at"] = ""
    state = row.state if facts.state is None else facts.state.value
    return replace(row, state=state, **{name: value for name, value in said.items() if value is not None})


def _values(row: VisitRow) -> tuple[object, ...]:
    return (row.patient, row.authority, row.number, str(row.state), *(getattr(row, name) for name in _TEXTS))


_INSERT: Final = f"""INSERT INTO visit (patient, authority, number, state, {", ".join(_TEXTS)}, changed_by)
    VALUES (%s, %s, %s, %s, {", ".join(["%s"] * len(_TEXTS))}, %s) ON CONFLICT DO NOTHING RETURNING id"""
_UPDATE: Final = f"""UPDATE visit SET state = %s, {", ".join(f"{name} = %s" for name in _TEXTS)}, changed_by = %s,
    changed_at = now() WHERE id = %s"""

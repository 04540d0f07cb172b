"""Patients and visits for programs that ask by name, number, date of birth or place (HL7 queries; IHE ITI-9, ITI-21, ITI-22).

Answers are in the order of their rows, which only ever grow: whoever asks goes on behind the last row that it has, and nothing
is kept between two questions. Names are compared without case and accents; what ends with * stands for all that begin so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from fileroom.core.access import Permission, require
from fileroom.dicom.normal_forms import normalize_name
from fileroom.index.conditions import Condition
from fileroom.worklist.facts import Identifier
from fileroom.worklist.identifiers import RECORD_KINDS
from fileroom.worklist.patient_search import patient_is_visible

COUNTED_MAX: Final = 10_000
"""Hits that are counted; whoever has more of them asks for too much to need the number."""
IDENTIFIERS_MAX: Final = 200
LINKED_MAX: Final = 50
"""Records of one person."""


@dataclass(frozen=True, slots=True)
class PatientWanted:
    """What is asked for; empty ones are not asked. Dates are DA or their beginning; names one component of a PN each."""

    numbers: tuple[tuple[str, str], ...] = ()
    """Value and authority (empty: any) of an identifier; all of them."""
    family: str = ""
    given: str = ""
    middle: str = ""
    birth_date: str = ""
    sex: str = ""
    address: str = ""
    visit_number: str = ""
    patient_class: str = ""
    location: str = ""
    attending: str = ""
    referring: str = ""

    @property
    def is_empty(self) -> bool:
        """Nothing is asked for: everybody is meant."""
        return self == PatientWanted()


@dataclass(frozen=True, slots=True)
class VisitFound:
    """A visit; names are PN, times DT."""

    number: str
    authority: str
    state: str
    patient_class: str
    location: str
    institution: str
    attending: str
    referring: str
    admitted_at: str
    discharged_at: str


@dataclass(frozen=True, slots=True)
class PatientFound:
    """A hit. `key` is the row to go on behind; `visit` the visit that was asked for, or the last one."""

    key: int
    id: int
    patient_name: str
    birth_date: str
    sex: str
    other_names: Sequence[str]
    details: dict[str, str]
    identifiers: tuple[Identifier, ...]
    visit: VisitFound | None = None


@dataclass(frozen=True, slots=True)
class PatientsFound:
    """A page of hits and how many there are in all, at most COUNTED_MAX."""

    patients: tuple[PatientFound, ...] = ()
    total: int = 0


@dataclass(frozen=True, slots=True)
class CrossReference:
    """The identifiers of one person. `is_known`: the number that was asked for is somebody's."""

    is_known: bool
    identifiers: tuple[Identifier, ...] = field(default=())


async def find_patients(
    connection: AsyncConnection[Any], wanted: PatientWanted, *, by_visit: bool = False, after: int = 0, limit: int = 100
) -> PatientsFound:
    """Patients that stand for themselves; with `by_visit` each visit is a hit. Raises NotAllowedError, psycopg.Error.

    A retired number finds the survivor; it is not among the identifiers that are told.
    """
    access = require(Permission.ORDER_READ)
    key = "v.id" if by_visit else "p.id"
    rows = "registered_patient p JOIN visit v ON v.patient = p.id" if by_visit else "registered_patient p"
    conditions = [Condition("p.merged_into IS NULL"), patient_is_visible(access), *_conditions(wanted, by_visit)]
    where = Condition.all_of([one for one in conditions if one.text])
    counted = await connection.execute(
        f"SELECT count(*) FROM (SELECT 1 FROM {rows} WHERE {where.text} LIMIT {COUNTED_MAX}) hit".encode(),
        where.parameters,
    )
    [total] = await counted.fetchone() or (0,)
    visit = "v.id" if by_visit else "(SELECT max(id) FROM visit WHERE patient = p.id AND state <> 'cancelled')"
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            f"""SELECT {key} AS key, p.id, p.patient_name, p.birth_date, p.sex, p.other_names, p.details, {visit} AS visit
                FROM {rows} WHERE {where.text} AND {key} > %s ORDER BY {key} LIMIT %s""".encode(),
            (*where.parameters, after, limit),
        )
        found = await cursor.fetchall()
    identifiers = await _identifiers(connection, [row["id"] for row in found])
    visits = await _visits(connection, [row["visit"] for row in found if row["visit"] is not None])
    patients = tuple(
        PatientFound(
            **{name: value for name, value in row.items() if name != "visit"},
            identifiers=tuple(identifiers.get(row["id"], ())),
            visit=visits.get(row["visit"]),
        )
        for row in found
    )
    return PatientsFound(patients, int(total))


async def read_patient(connection: AsyncConnection[Any], patient: int, visit: int | None = None) -> PatientFound | None:
    """One patient, with a visit. For who asks for no permission: messages that a feed out is told by. Raises psycopg.Error."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            b"""SELECT id AS key, id, patient_name, birth_date, sex, other_names, details FROM registered_patient
                WHERE id = %s""",
            (patient,),
        )
        row = await cursor.fetchone()
    if row is None:
        return None
    identifiers = await _identifiers(connection, [patient])
    visits = await _visits(connection, [visit] if visit is not None else [])
    return PatientFound(**row, identifiers=tuple(identifiers.get(patient, ())), visit=visits.get(visit))


async def identifiers_of_person(connection: AsyncConnection[Any], patient: int) -> tuple[Identifier, ...]:
    """The numbers in force of a patient and of records that are linked with it. Raises psycopg.Error."""
    people = await linked_with(connection, patient)
    found = await _identifiers(connection, people)
    return tuple(one for number in people for one in found.get(number, ()))


async def cross_reference(connection: AsyncConnection[Any], asked: Identifier) -> CrossReference:
    """All identifiers in force of whom a number names, also of records that are linked with that one (A24), the first first.

    Raises NotAllowedError, psycopg.Error.
    """
    access = require(Permission.ORDER_READ)
    visible = patient_is_visible(access)
    cursor = await connection.execute(
        f"""SELECT p.id FROM patient_identifier i JOIN registered_patient p ON p.id = i.patient
            WHERE i.value = %s AND i.authority = %s AND i.kind = ANY(%s) AND {visible.text or "true"} LIMIT 1""".encode(),
        (asked.value, asked.authority, list(RECORD_KINDS), *visible.parameters),
    )
    row = await cursor.fetchone()
    if row is None:
        return CrossReference(False)
    return CrossReference(True, await identifiers_of_person(connection, int(row[0])))


async def linked_with(connection: AsyncConnection[Any], patient: int) -> list[int]:
    """The records of one person: the patient's own, then those that are linked with it. Raises psycopg.Error."""
    cursor = await connection.execute(
        b"""WITH RECURSIVE person(id) AS (
                SELECT %s::bigint
                UNION SELECT CASE WHEN l.one = person.id THEN l.other ELSE l.one END
                FROM person JOIN patient_link l ON person.id IN (l.one, l.other))
            SELECT id FROM person ORDER BY id <> %s, id LIMIT %s""",
        (patient, patient, LINKED_MAX),
    )
    return [int(row[0]) for row in await cursor.fetchall()]


async def known_authorities(connection: AsyncConnection[Any], names: Sequence[str]) -> set[str]:
    """Those of the names that have ever assigned an identifier. Raises psycopg.Error."""
    cursor = await connection.execute(
        b"""SELECT n FROM unnest(%s::text[]) AS n
            WHERE EXISTS (SELECT FROM patient_identifier i WHERE i.authority = n)""",
        (list(names),),
    )
    return {str(row[0]) for row in await cursor.fetchall()}


# --- helpers ---


def _conditions(wanted: PatientWanted, by_visit: bool) -> list[Condition]:
    found = [_number(value, authority) for value, authority in wanted.numbers]
    for place, part in enumerate((wanted.family, wanted.given, wanted.middle), 1):
        if part:
            found.append(_compared(f"split_part(coalesce(p.patient_name_key, ''), '^', {place})", _folded(part)))
    if wanted.family and not wanted.family.endswith("*"):
        # The same once more in a form that the index has.
        found.append(Condition("p.patient_name_key LIKE %s", (f"{_escaped(_folded(wanted.family))}%",)))
    if wanted.birth_date:
        found.append(_compared("p.birth_date", f"{wanted.birth_date}{'*' if len(wanted.birth_date) < 8 else ''}"))
    if wanted.sex:
        found.append(Condition("p.sex = %s", (wanted.sex,)))
    if wanted.address:
        words = f"%{_escaped(wanted.address.rstrip('*').lower())}%"
        found.append(Condition("lower(p.details ->> 'PatientAddress') LIKE %s", (words,)))
    own = [
        _compared(column, value)
        for column, value in (
            ("v.number", wanted.visit_number),
            ("v.patient_class", wanted.patient_class),
        )
        if value
    ]
    if wanted.location:
        # Point of care, then room and bed.
        within = _compared("v.location", f"{wanted.location} *")
        own.append(Condition.any_of((_compared("v.location", wanted.location), within)))
    own += [
        _compared(f"split_part(lower({column}), '^', 1)", value.lower())
        for column, value in (("v.attending", wanted.attending), ("v.referring", wanted.referring))
        if value
    ]
    if own and not by_visit:
        visit = Condition.all_of(own)
        own = [Condition(f"EXISTS (SELECT FROM visit v WHERE v.patient = p.id AND {visit.text})", visit.parameters)]
    return found + own


def _number(value: str, authority: str) -> Condition:
    compared = _compared("n.value", value)
    text = f"EXISTS (SELECT FROM patient_identifier n WHERE n.patient = p.id AND {compared.text}"
    if authority:
        return Condition(f"{text} AND n.authority = %s)", (*compared.parameters, authority))
    return Condition(f"{text})", compared.parameters)


def _compared(column: str, value: str) -> Condition:
    """Equal, or with a trailing * beginning so."""
    if value.endswith("*"):
        return Condition(f"{column} LIKE %s", (f"{_escaped(value.rstrip('*'))}%",))
    return Condition(f"{column} = %s", (value,))


def _folded(name: str) -> str:
    """One component as `patient_name_key` has it."""
    star = "*" if name.endswith("*") else ""
    return normalize_name(name.rstrip("*").replace("^", " ").replace("=", " ")) + star


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


async def _identifiers(connection: AsyncConnection[Any], patients: Sequence[int]) -> dict[int, list[Identifier]]:
    """Those in force, by patient, the first one first."""
    cursor = await connection.execute(
        b"""SELECT patient, value, authority, kind FROM (
                SELECT *, row_number() OVER (PARTITION BY patient ORDER BY is_first DESC, id) AS place
                FROM patient_identifier WHERE patient = ANY(%s) AND NOT retired) i
            WHERE place <= %s ORDER BY patient, place""",
        (list(patients), IDENTIFIERS_MAX),
    )
    found: dict[int, list[Identifier]] = {}
    for patient, value, authority, kind in await cursor.fetchall():
        found.setdefault(patient, []).append(Identifier(value, authority, kind))
    return found


async def _visits(connection: AsyncConnection[Any], numbers: Sequence[int]) -> dict[int | None, VisitFound]:
    if not numbers:
        return {}
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            b"""SELECT id, number, authority, state, patient_class, location, institution, attending, referring, admitted_at,
                    discharged_at FROM visit WHERE id = ANY(%s)""",
            (list(numbers),),
        )
        return {row.pop("id"): VisitFound(**row) for row in await cursor.fetchall()}

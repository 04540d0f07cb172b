"""Which images are a patient's, and corrections that let them say what the RIS says of the patient (docs/adr/0039).

Images are a patient's when they show one of its Patient IDs with the assigning authority as issuer. Images without an issuer
are taken for a patient's only when nobody else has that ID, of whatever authority, and their birth date (or, where one is
missing, their name) is not another's. So are images whose issuer is right but whose birth date *and* name both are another's:
a wrong merge can kill, and what is left out is told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from fileroom.admin.audit import record
from fileroom.admin.audit_events import studies_corrected
from fileroom.archive.patient_corrections import LaidOver, Wanted, lay_over, take_off
from fileroom.archive.services import Archive
from fileroom.core.errors import ConflictError, told
from fileroom.index.patient_columns import (
    BIRTH_DATE,
    ISSUER,
    NAME,
    PATIENT_ID,
    SEX,
    PatientStudy,
    lock_studies,
    studies_by_uid,
    studies_of_patient_ids,
)
from fileroom.worklist.changes import Cause, Effect
from fileroom.worklist.facts import Identifier
from fileroom.worklist.identifiers import RECORD_KINDS, is_of_records
from fileroom.worklist.patient_rows import IdentifierRow, PatientRow, identifiers_of, read_patients
from fileroom.worklist.patient_values import main_name

STUDIES_MAX: Final = 5000
"""Of one patient: thirty years of dialysis have some thousand. More is a number that many share, such as 0 or TEST."""


@dataclass(frozen=True, slots=True)
class Target:
    """What images of a patient shall say. `exactly`: also where only the spelling of the name differs."""

    patient: PatientRow
    first: IdentifierRow
    """What stands in the place of a retired identifier."""
    own_issuers: frozenset[str]
    """What the patient's images that show the first identifier already say as issuer."""
    exactly: bool
    renames: bool = False
    """Whatever identifier they show, the first one shall take its place; else only retired ones give way."""

    def wanted(self, study: PatientStudy, shown: IdentifierRow) -> Wanted:
        """The attributes with a known value that the study shall show."""
        known = {NAME: self.patient.patient_name, BIRTH_DATE: self.patient.birth_date, SEX: self.patient.sex}
        wanted = {tag: value for tag, value in known.items() if value}
        if not self.exactly and NAME in wanted and _same_name(study.text(NAME), wanted[NAME]):
            del wanted[NAME]
        if (shown.retired or self.renames) and shown.id != self.first.id:
            wanted |= {PATIENT_ID: self.first.value, ISSUER: self._issuer(study, shown)}
        return wanted

    def _issuer(self, study: PatientStudy, shown: IdentifierRow) -> str:
        """As the patient's own images have it, so that all are one patient's; else the new authority where it is another."""
        if self.own_issuers:
            return self.first.authority if self.first.authority in self.own_issuers else min(self.own_issuers)
        is_same_space = self.first.authority == shown.authority or not self.first.authority
        return study.text(ISSUER) if is_same_space else self.first.authority


async def find_images(
    connection: AsyncConnection[Any],
    archive: Archive,
    identifiers: Sequence[IdentifierRow],
    known: Sequence[PatientRow],
) -> tuple[list[tuple[PatientStudy, IdentifierRow]], int]:
    """(the studies of whoever has these identifiers, locked, each with the identifier that it shows; how many were left).

    `known` are the records that the images may agree with; none: there is nothing to compare. Raises ConflictError.
    """
    usable = [each for each in identifiers if is_of_records(each.kind)]
    if not usable:
        return [], 0
    values = sorted({each.value for each in usable})
    found = await studies_of_patient_ids(connection, values, STUDIES_MAX + 1)
    if not found:
        return [], 0
    if len(found) > STUDIES_MAX:
        raise ConflictError(
            told(
                "The patient has more than {most} studies; that many are not one person's. Look at its identifier.",
                most=STUDIES_MAX,
            )
        )
    uids = [study.study_instance_uid for study in found]
    await lock_studies(connection, uids)
    unique = await _unique_values(connection, values)
    matched: list[tuple[PatientStudy, IdentifierRow]] = []
    left = 0
    for study in await studies_by_uid(connection, uids):
        identifier = shown_by(study, usable, unique, archive.settings.default_patient_issuer)
        if identifier is None:
            continue
        if _is_somebody_else(study, known):
            left += 1
        else:
            matched.append((study, identifier))
    return matched, left


async def has_images(connection: AsyncConnection[Any], patient: int) -> bool:
    """Whether any study shows a number of the patient, be it the patient's or not: most messages come before any image."""
    cursor = await connection.execute(
        b"""SELECT EXISTS (SELECT 1 FROM patient_identifier i JOIN study s ON s.patient_id = i.value WHERE i.patient = %s)""",
        (patient,),
    )
    row = await cursor.fetchone()
    return bool(row and row[0])


async def show_patient(
    archive: Archive,
    connection: AsyncConnection[Any],
    patient: int,
    cause: Cause,
    *,
    under: Sequence[IdentifierRow] | None = None,
    known: Sequence[PatientRow] = (),
    merge: int | None = None,
    exactly: bool = False,
    studies: Sequence[str] | None = None,
    shown_as: Identifier | None = None,
) -> list[Effect]:
    """Let the images of a patient, or of those identifiers that it has now, show the patient as it is known.

    With `merge` they have become the patient's by that; without, each stays with the merge that it came by. With `studies`
    only those are changed. Images with a retired identifier show the first one, or `shown_as`, from now on.

    Raises ConflictError, StorageError.
    """
    row = (await read_patients(connection, [patient]))[patient]
    mine = await identifiers_of(connection, patient)
    first = next((each for each in mine if (each.is_first if shown_as is None else each.identifier == shown_as)), None)
    if first is None:
        return []
    matched, left = await find_images(connection, archive, mine if under is None else under, known or ())
    if studies is not None:
        matched = [pair for pair in matched if pair[0].study_instance_uid in studies]
    return await _show(
        archive,
        connection,
        Target(row, first, await _own_issuers(connection, archive, first), exactly),
        matched,
        left,
        cause,
        merge,
    )


async def show_studies(
    archive: Archive, connection: AsyncConnection[Any], patient: int, uids: Sequence[str], source: int, cause: Cause
) -> list[Effect]:
    """Let studies that were of the patient `source` (those of a visit that has moved) show another patient."""
    row = (await read_patients(connection, [patient]))[patient]
    mine = await identifiers_of(connection, patient)
    first = next((each for each in mine if each.is_first), None)
    theirs = await identifiers_of(connection, source)
    if first is None or not uids:
        return []
    matched, left = await find_images(connection, archive, theirs, ())
    chosen = [pair for pair in matched if pair[0].study_instance_uid in set(uids)]
    target = Target(row, first, await _own_issuers(connection, archive, first), exactly=True, renames=True)
    return await _show(archive, connection, target, chosen, left, cause, None)


async def take_back(
    archive: Archive, connection: AsyncConnection[Any], merge: int, retired: int, survivor: int, cause: Cause
) -> list[Effect]:
    """Take off what a merge, and whoever came after it, has laid over the images that are the retired patient's again."""
    rows = await _laid_since(connection, merge)
    theirs = await identifiers_of(connection, retired)
    rows += await _late_arrivals(connection, archive, theirs, survivor, {each.study_instance_uid for each in rows})
    if not rows:
        return []
    await lock_studies(connection, [each.study_instance_uid for each in rows])
    uids = await take_off(archive, connection, rows, actor=cause.who)
    await record(connection, studies_corrected(uids, f"Took a merge of patients back, by {cause.who}"))
    await _match_anew(connection, uids)
    return [Effect(f"studies that show again what they showed before: {len(uids)}", "patient", retired)]


# --- images that arrive later ---


async def show_arrived(
    archive: Archive, connection: AsyncConnection[Any], study_uid: str, cause: Cause
) -> list[Effect]:
    """Let a study that has arrived under a retired identifier show the survivor; taken back when that merge is.

    Raises ConflictError, StorageError.
    """
    study = next(iter(await studies_by_uid(connection, [study_uid])), None)
    if study is None or not study.text(PATIENT_ID):
        return []
    found = await _retired_identifier(connection, study.text(PATIENT_ID), study.text(ISSUER))
    if found is None:
        return []
    rows = await read_patients(connection, [found.patient, found.home])
    known = _comparable(rows[found.patient], rows[found.home])
    merge = await latest_merge(connection, found.patient) if found.home != found.patient else None
    return await show_patient(
        archive,
        connection,
        found.patient,
        cause,
        under=[found],
        known=known,
        merge=merge,
        exactly=True,
        studies=[study_uid],
    )


async def latest_merge(connection: AsyncConnection[Any], survivor: int) -> int | None:
    """The latest merge into a patient that is in force."""
    cursor = await connection.execute(
        b"SELECT max(id) FROM patient_merge WHERE survivor = %s AND revoked_at IS NULL", (survivor,)
    )
    row = await cursor.fetchone()
    return row[0] if row else None


# --- which ---


def _comparable(*rows: PatientRow) -> list[PatientRow]:
    """The records, or none where the last one (whose images they are) says nothing to compare with."""
    last = rows[-1]
    return list(rows) if last.patient_name or last.birth_date else []


def shown_by(
    study: PatientStudy, identifiers: Sequence[IdentifierRow], unique: frozenset[str], default_issuer: str
) -> IdentifierRow | None:
    """Which of the identifiers the study shows."""
    shown, issuer = study.text(PATIENT_ID), study.text(ISSUER)
    same = [each for each in identifiers if each.value == shown]
    if issuer:
        accepted = (issuer, "") if issuer == default_issuer else (issuer,)
        return next((each for authority in accepted for each in same if each.authority == authority), None)
    if shown not in unique:
        return None
    if default_issuer:
        same = [each for each in same if each.authority in (default_issuer, "")]
    return min(same, key=lambda each: (not each.is_first, each.id)) if same else None


async def _unique_values(connection: AsyncConnection[Any], values: Sequence[str]) -> frozenset[str]:
    """Those numbers that only one patient has, of whatever authority."""
    cursor = await connection.execute(
        b"""SELECT value FROM patient_identifier WHERE value = ANY(%s) AND kind = ANY(%s)
            GROUP BY value HAVING count(DISTINCT patient) = 1""",
        (list(values), list(RECORD_KINDS)),
    )
    return frozenset(row[0] for row in await cursor.fetchall())


def _is_somebody_else(study: PatientStudy, known: Sequence[PatientRow]) -> bool:
    dates = {row.birth_date for row in known} - {""}
    names = {main_name(name) for row in known for name in (row.patient_name, *row.other_names) if name}
    shown_date, shown_name = study.text(BIRTH_DATE), study.text(NAME)
    other_date = bool(dates and shown_date) and shown_date not in dates
    other_name = bool(names and shown_name) and main_name(shown_name) not in names
    if study.text(ISSUER):
        return other_date and other_name
    return other_date or (other_name and not (dates and shown_date))


def _same_name(one: str, other: str) -> bool:
    return one == other or (main_name(one) == main_name(other) and one.count("=") == other.count("="))


async def _own_issuers(connection: AsyncConnection[Any], archive: Archive, first: IdentifierRow) -> frozenset[str]:
    own = await studies_of_patient_ids(connection, [first.value], STUDIES_MAX)
    unique = await _unique_values(connection, [first.value])
    default = archive.settings.default_patient_issuer
    return frozenset(study.text(ISSUER) for study in own if shown_by(study, [first], unique, default))


async def _retired_identifier(connection: AsyncConnection[Any], patient_id: str, issuer: str) -> IdentifierRow | None:
    """The identifier of an image, if it is one that its patient no longer has first."""
    rows = await _identifiers_of_value(connection, patient_id)
    if issuer:
        rows = [row for row in rows if row.authority == issuer]
    if len({row.patient for row in rows}) != 1 or not all(row.retired for row in rows):
        return None
    return rows[0]


async def _identifiers_of_value(connection: AsyncConnection[Any], value: str) -> list[IdentifierRow]:
    cursor = await connection.execute(
        b"""SELECT id, patient, home, authority, value, kind, is_first, retired FROM patient_identifier
            WHERE value = %s AND kind = ANY(%s) ORDER BY id""",
        (value, list(RECORD_KINDS)),
    )
    return [IdentifierRow(*row) for row in await cursor.fetchall()]


# --- laying over, and remembering it ---


async def _show(
    archive: Archive,
    connection: AsyncConnection[Any],
    target: Target,
    matched: Sequence[tuple[PatientStudy, IdentifierRow]],
    left: int,
    cause: Cause,
    merge: int | None,
) -> list[Effect]:
    number = target.patient.id
    plans = [(study, target.wanted(study, identifier)) for study, identifier in matched]
    plans = [(study, wanted) for study, wanted in plans if any(study.text(tag) != text for tag, text in wanted.items())]
    effects = []
    if plans:
        reason = "Merge of patients" if merge is not None else "Patient data of the RIS"
        merges: Mapping[str, int] = {}
        if merge is None:
            merges = await _merges_of(connection, number, [study.study_instance_uid for study, _ in plans])
        laid = await lay_over(archive, connection, plans, reason=reason, actor=cause.who)
        await _remember(connection, laid, number, merges, merge)
        uids = sorted({each.study_instance_uid for each in laid})
        await record(connection, studies_corrected(uids, f"{reason}, by {cause.who}"))
        await _match_anew(connection, uids)
        effects.append(Effect(f"studies that show the patient as the RIS knows it: {len(uids)}", "patient", number))
    if left:
        words = f"studies left as they are, with the patient's ID but another birth date or name: {left}"
        effects.append(Effect(words, "patient", number))
    return effects


async def _merges_of(connection: AsyncConnection[Any], patient: int, uids: Sequence[str]) -> Mapping[str, int]:
    """By which merge studies have become a patient's, where they have."""
    cursor = await connection.execute(
        b"""SELECT pc.study_instance_uid, max(pc.merge) FROM patient_correction pc JOIN correction c ON c.id = pc.correction
            WHERE pc.study_instance_uid = ANY(%s) AND pc.patient = %s AND pc.merge IS NOT NULL AND c.revoked_at IS NULL
            GROUP BY pc.study_instance_uid""",
        (list(uids), patient),
    )
    return {row[0]: row[1] for row in await cursor.fetchall()}


async def _remember(
    connection: AsyncConnection[Any],
    laid: Sequence[LaidOver],
    patient: int,
    merges: Mapping[str, int],
    merge: int | None,
) -> None:
    rows = [
        {
            "correction": each.id,
            "uid": each.study_instance_uid,
            "merge": merge if merge is not None else merges.get(each.study_instance_uid),
            "received": each.received,
        }
        for each in laid
    ]
    await connection.execute(
        b"""INSERT INTO patient_correction (correction, study_instance_uid, patient, merge, received)
            SELECT g.correction, g.uid, %s, g.merge, nullif(g.received, 'null'::jsonb)
            FROM jsonb_to_recordset(%s) AS g(correction bigint, uid text, merge bigint, received jsonb)""",
        (patient, Jsonb(rows)),
    )


_LAID: Final = """
SELECT c.id, pc.study_instance_uid, c.path[1], pc.received FROM patient_correction pc JOIN correction c ON c.id = pc.correction
WHERE c.revoked_at IS NULL AND """


async def _laid_since(connection: AsyncConnection[Any], merge: int) -> list[LaidOver]:
    """All that is in force of what the RIS said of studies that a merge has moved, from the merge on."""
    cursor = await connection.execute(
        (
            _LAID
            + """c.id >= (SELECT min(m.correction) FROM patient_correction m JOIN correction k ON k.id = m.correction
                     WHERE m.merge = %s AND k.revoked_at IS NULL AND m.study_instance_uid = pc.study_instance_uid)
            AND pc.study_instance_uid = ANY(ARRAY(SELECT study_instance_uid FROM patient_correction WHERE merge = %s))
            ORDER BY c.id"""
        ).encode(),
        (merge, merge),
    )
    return [LaidOver(*row) for row in await cursor.fetchall()]


async def _late_arrivals(
    connection: AsyncConnection[Any], archive: Archive, theirs: Sequence[IdentifierRow], survivor: int, done: set[str]
) -> list[LaidOver]:
    """What is laid over studies that came under an identifier of the retired patient when it was part of others already."""
    cursor = await connection.execute((_LAID + "pc.patient = %s ORDER BY c.id").encode(), (survivor,))
    rows = [LaidOver(*row) for row in await cursor.fetchall() if row[1] not in done]
    received: dict[str, dict[str, str | None]] = {}
    for each in rows:
        for name, value in (each.received or {}).items():
            received.setdefault(each.study_instance_uid, {}).setdefault(name, value)
    values = sorted({each.value for each in theirs})
    unique = await _unique_values(connection, values)
    back = set()
    for study in await studies_by_uid(connection, sorted(received)):
        before = PatientStudy(
            study.row_id, study.study_instance_uid, study.columns | received[study.study_instance_uid], [], True
        )
        if shown_by(before, theirs, unique, archive.settings.default_patient_issuer) is not None:
            back.add(study.study_instance_uid)
    return [each for each in rows if each.study_instance_uid in back]


async def _match_anew(connection: AsyncConnection[Any], uids: Sequence[str]) -> None:
    """Another patient may have another order for a study."""
    await connection.execute(
        b"""INSERT INTO unmatched_study (study_instance_uid) SELECT unnest(%s::text[])
            ON CONFLICT (study_instance_uid) DO UPDATE SET due_at = now(), attempts = 0""",
        (sorted(uids),),
    )

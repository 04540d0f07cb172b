"""Whom and what a report is about, as its study is shown: for the objects and messages that are made of it.

What the images say, corrections laid over, comes first; the order and the registered patient fill in what they leave open, and
stand alone where no images are here yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from psycopg import AsyncConnection
from psycopg.rows import class_row
from pydicom.dataset import Dataset

from fileroom.archive.retrieve import Selection, StoredInstance, list_instances, read_header
from fileroom.archive.services import Archive
from fileroom.reports.report_rows import ReportRow
from fileroom.worklist.facts import Identifier
from fileroom.worklist.order_rows import Order, read_order
from fileroom.worklist.patient_rows import identifiers_of, read_patients
from fileroom.worklist.visits import VisitRow

EVIDENCE_MAX: Final = 20_000
"""Instances that a structured report lists as what it was read from: about 2 MB of it."""
_DOCUMENTS: Final = frozenset({"SR", "DOC", "KO", "PR"})


@dataclass(frozen=True, slots=True)
class SeriesOfStudy:
    """A series with its instances: (SOP class, SOP Instance UID)."""

    series_instance_uid: str
    modality: str
    instances: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Subject:
    """Patient, study and order. Names are PN, dates DA, times TM; an empty text: not known."""

    study_instance_uid: str = ""
    patient_id: str = ""
    patient_issuer: str = ""
    patient_name: str = ""
    birth_date: str = ""
    sex: str = ""
    age: str = ""
    identifiers: tuple[Identifier, ...] = ()
    """All that the patient is known by, the one of the images first."""
    study_date: str = ""
    study_time: str = ""
    study_id: str = ""
    description: str = ""
    accession_number: str = ""
    accession_issuer: str = ""
    referring_physician: str = ""
    institution: str = ""
    modality: str = ""
    order: Order | None = None
    visit: VisitRow | None = None
    series: tuple[SeriesOfStudy, ...] = ()


async def read_subject(archive: Archive, report: ReportRow) -> Subject:
    """For who may see the report. Raises NotAllowedError, DatabaseError, StorageError."""
    instances: list[StoredInstance] = []
    if report.study_instance_uid:
        instances = await list_instances(archive, Selection(study_uids=(report.study_instance_uid,)))
    header = await _header(archive, instances)
    async with archive.pool.connection() as connection:
        order = await read_order(connection, report.order) if report.order is not None else None
        patient = report.patient if report.patient is not None else order.patient if order else None
        return await _subject(connection, report, header, order, patient, _series(instances))


async def _header(archive: Archive, instances: Sequence[StoredInstance]) -> Dataset:
    """Of an image, else of what there is."""
    chosen = next((one for one in instances if one.modality not in _DOCUMENTS), None)
    if chosen is None:
        chosen = next(iter(instances), None)
    return await read_header(archive, chosen) if chosen else Dataset()


async def _subject(
    connection: AsyncConnection[Any],
    report: ReportRow,
    header: Dataset,
    order: Order | None,
    patient: int | None,
    series: tuple[SeriesOfStudy, ...],
) -> Subject:
    registered = (await read_patients(connection, [patient])).get(patient) if patient is not None else None
    known = [one.identifier for one in await identifiers_of(connection, patient)] if patient is not None else []
    first = Identifier(
        text(header, "PatientID") or ("" if known else report.patient_id), text(header, "IssuerOfPatientID")
    )
    if not first.value and known:
        first = known[0]
    others = [
        one for one in known if one.value != first.value or (first.authority and one.authority != first.authority)
    ]
    # The images may not say who assigned their Patient ID; the register does.
    same = next((one for one in known if one.value == first.value and not first.authority), None)
    identifiers = tuple(one for one in (same or first, *others) if one.value)
    return Subject(
        study_instance_uid=report.study_instance_uid,
        patient_id=first.value,
        patient_issuer=(same or first).authority,
        patient_name=text(header, "PatientName") or (registered.patient_name if registered else report.patient_name),
        birth_date=text(header, "PatientBirthDate") or (registered.birth_date if registered else ""),
        sex=text(header, "PatientSex") or (registered.sex if registered else ""),
        age=text(header, "PatientAge"),
        identifiers=identifiers,
        study_date=text(header, "StudyDate"),
        study_time=text(header, "StudyTime"),
        study_id=text(header, "StudyID"),
        description=text(header, "StudyDescription") or (order.procedure_meaning if order else ""),
        accession_number=text(header, "AccessionNumber")
        or report.accession_number
        or (order.accession_number if order else ""),
        accession_issuer=order.accession_authority if order else "",
        referring_physician=text(header, "ReferringPhysicianName") or (order.referring_physician if order else ""),
        institution=text(header, "InstitutionName") or (order.institution if order else ""),
        modality=text(header, "Modality") or (order.steps[0].modality if order and order.steps else ""),
        order=order,
        visit=await _visit(connection, order),
        series=series,
    )


def text(header: Dataset, keyword: str) -> str:
    """A value as text; of several the first; nothing where it is absent or cannot be read."""
    try:
        value = header.get(keyword)
        if isinstance(value, Sequence) and not isinstance(value, str):
            value = value[0] if value else ""
        return "" if value is None else str(value).strip(" \0")
    except (ValueError, TypeError, NotImplementedError, LookupError):  # what pydicom raises for values that are none
        return ""


def _series(instances: Sequence[StoredInstance]) -> tuple[SeriesOfStudy, ...]:
    """What was read: images and their like, not the reports that were made of them."""
    found: dict[str, list[StoredInstance]] = {}
    for one in instances[:EVIDENCE_MAX]:
        if one.modality not in ("SR", "DOC") or one.sop_class_uid in _MEASUREMENTS:
            found.setdefault(one.series_instance_uid, []).append(one)
    return tuple(
        SeriesOfStudy(uid, ones[0].modality or "", tuple((one.sop_class_uid, one.sop_instance_uid) for one in ones))
        for uid, ones in found.items()
    )


_SR: Final = "1.2.840.10008.5.1.4.1.1.88."
_MEASUREMENTS: Final = frozenset(_SR + last for last in ("33", "50", "65", "67"))
"""Structured reports that are evidence: Comprehensive (measurements of devices), Mammography CAD, Chest CAD, radiation dose."""


_VISIT: Final = f"SELECT {', '.join(VisitRow.__dataclass_fields__)} FROM visit WHERE id = %s".encode()


async def _visit(connection: AsyncConnection[Any], order: Order | None) -> VisitRow | None:
    if order is None or order.visit is None:
        return None
    async with connection.cursor(row_factory=class_row(VisitRow)) as cursor:
        await cursor.execute(_VISIT, (order.visit,))
        return await cursor.fetchone()

"""ImagingStudy: the studies of the archive with their series, by their Study Instance UIDs.

Whose a study is, is said by the order that it met, else by the one patient of the RIS side that has its Patient ID.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final

from psycopg import AsyncConnection

from fileroom.archive.services import Archive
from fileroom.core.access import Permission, current_access
from fileroom.dicom.query import AnyOf, Key, Level, Page, Query
from fileroom.fhir.conditions import (
    NEVER,
    Token,
    as_row,
    code,
    identifiers,
    local_moment,
    moment,
    reference,
    token,
)
from fileroom.fhir.elements import DICOM_CODES, DICOM_UID, Resource, Words, filled, instant, modality, named
from fileroom.fhir.elements import reference as refer
from fileroom.fhir.kinds import Include, Kind, Sort, by_name
from fileroom.index import search as index_search
from fileroom.index.attributes import BY_KEYWORD
from fileroom.index.conditions import Condition
from fileroom.index.search import Answer as Found
from fileroom.index.visibility import study_is_visible, visibility_of
from fileroom.worklist.identifiers import RECORD_KINDS
from fileroom.worklist.order_visibility import order_is_visible

SERIES_MAX: Final = 5000
"""In one page of studies; what a study has more is read over DICOMweb."""
ENDPOINT_ID: Final = "dicomweb"
_KINDS: Final = ", ".join(f"'{one}'" for one in RECORD_KINDS)
_MET: Final = """SELECT m.imaging_order FROM study_match m
    WHERE m.study_instance_uid = {study}.study_instance_uid AND m.undone_at IS NULL ORDER BY m.id LIMIT 1"""
_CHANGED_AT: Final = """coalesce((SELECT max(e.changed_at) FROM series e WHERE e.study = s.id), s.received_at)"""


def _tags(*keywords: str) -> tuple[tuple[int, ...], ...]:
    return tuple((BY_KEYWORD[word].tag,) for word in keywords)


_STUDY_TAGS: Final = _tags(
    *("AccessionNumber", "StudyDate", "StudyTime", "StudyDescription", "PatientID", "IssuerOfPatientID", "PatientName"),
    *("ModalitiesInStudy", "NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances", "ReferringPhysicianName"),
)
_SERIES_TAGS: Final = _tags(
    *("SeriesNumber", "Modality", "SeriesDescription", "BodyPartExamined", "SeriesDate", "SeriesTime"),
    "NumberOfSeriesRelatedInstances",
)


def subject_of(study: str = "s") -> str:
    """SQL: the patient (a row of the RIS side) that the row of the table study is of; null: not known."""
    return f"""coalesce((SELECT so.patient FROM imaging_order so WHERE so.id = ({_MET.format(study=study)})),
    (SELECT min(x.patient) FROM patient_identifier x WHERE x.value = {study}.patient_id
        AND coalesce({study}.issuer_of_patient_id, '') IN ('', x.authority) AND x.kind IN ({_KINDS})
        HAVING count(DISTINCT x.patient) = 1))"""


def of_patients(patients: Sequence[int], study: str = "s") -> Condition:
    """The study is one of these patients'. First those that may be, by indexes; then who it is of."""
    wanted = list(patients)
    return Condition(
        f"""{study}.id IN (
            SELECT c.id FROM study c JOIN patient_identifier y ON y.value = c.patient_id WHERE y.patient = ANY(%s)
            UNION SELECT c.id FROM imaging_order co JOIN study_match cm ON cm.imaging_order = co.id AND cm.undone_at IS NULL
                JOIN study c ON c.study_instance_uid = cm.study_instance_uid WHERE co.patient = ANY(%s))
        AND {subject_of(study)} = ANY(%s)""",
        (wanted, wanted, wanted),
    )


def imaging_study(
    words: Words, study: Found, series: Sequence[Found], order: int | None, patient: int | None
) -> Resource:
    """A study with its series; `order` and `patient` are rows of the RIS side, where they are known."""
    uid = study.study_instance_uid or ""
    text = _texts(study)
    found: list[Resource] = [{"use": "official", "system": DICOM_UID, "value": f"urn:oid:{uid}"}]
    if text("AccessionNumber"):
        found.append(words.identifier("ACSN", text("AccessionNumber"), ""))
    return filled(
        resourceType="ImagingStudy",
        id=uid,
        identifier=found,
        status="available",
        modality=[modality(one) for one in _values(study, "ModalitiesInStudy")],
        subject=words.subject(patient, text("PatientID"), text("IssuerOfPatientID"), text("PatientName")),
        started=words.moment(text("StudyDate"), text("StudyTime")),
        basedOn=[refer("ServiceRequest", order)] if order else [],
        referrer=named(text("ReferringPhysicianName")),
        endpoint=[refer("Endpoint", ENDPOINT_ID)],
        numberOfSeries=_count(study, "NumberOfStudyRelatedSeries"),
        numberOfInstances=_count(study, "NumberOfStudyRelatedInstances"),
        description=text("StudyDescription") or None,
        series=[_series(words, one) for one in series],
    )


async def _load(
    _archive: Archive, connection: AsyncConnection[Any], words: Words, ids: Sequence[str]
) -> dict[str, Resource]:
    """Three questions for any number of studies: the studies, their series, and to whom they belong."""
    key = Key(BY_KEYWORD["StudyInstanceUID"].tag, "UI", AnyOf(tuple(ids)))
    studies = await _search(connection, Query(Level.STUDY, keys=(key,), return_tags=_STUDY_TAGS, page=Page(len(ids))))
    series: dict[str, list[Found]] = defaultdict(list)
    for one in await _search(
        connection, Query(Level.SERIES, keys=(key,), return_tags=_SERIES_TAGS, page=Page(SERIES_MAX))
    ):
        series[one.study_instance_uid or ""].append(one)
    belongs = await _belonging(connection, ids)
    found = {}
    for study in studies:
        uid = study.study_instance_uid or ""
        order, patient, changed_at = belongs.get(uid, (None, None, None))
        made = imaging_study(words, study, series[uid], order, patient)
        found[uid] = made | ({"meta": {"lastUpdated": instant(changed_at)}} if changed_at else {})
    return found


async def _search(connection: AsyncConnection[Any], query: Query) -> list[Found]:
    async with aclosing(index_search.search(connection, query, visibility_of(current_access()))) as answers:
        return [one async for one in answers]


async def _belonging(connection: AsyncConnection[Any], ids: Sequence[str]) -> dict[str, tuple[Any, ...]]:
    """(order, patient, changed_at) by Study Instance UID; the order only for who may see it, both for who sees orders."""
    access = current_access()
    sees = access.allows(Permission.ORDER_READ)
    visible = order_is_visible(access) if sees else NEVER
    condition = f" AND {visible.text}" if visible.text else ""
    cursor = await connection.execute(
        f"""SELECT s.study_instance_uid,
                (SELECT o.id FROM imaging_order o WHERE o.id = ({_MET.format(study="s")}){condition}),
                CASE WHEN %s THEN {subject_of()} END, {_CHANGED_AT}
            FROM study s WHERE s.study_instance_uid = ANY(%s)""".encode(),
        (*visible.parameters, sees, list(ids)),
    )
    return {row[0]: row[1:] for row in await cursor.fetchall()}


def _series(words: Words, series: Found) -> Resource:
    text = _texts(series)
    number = text("SeriesNumber")
    return filled(
        uid=series.series_instance_uid,
        number=int(number) if number.isdigit() and len(number) < 10 else None,
        modality=modality(text("Modality") or "OT"),
        description=text("SeriesDescription") or None,
        numberOfInstances=_count(series, "NumberOfSeriesRelatedInstances"),
        bodySite={"display": text("BodyPartExamined")} if text("BodyPartExamined") else None,
        started=words.moment(text("SeriesDate"), text("SeriesTime")),
    )


def _texts(found: Found) -> Callable[[str], str]:
    return lambda keyword: "\\".join(_values(found, keyword))


def _values(found: Found, keyword: str) -> list[str]:
    value: object = found.values.get(BY_KEYWORD[keyword].tag)
    if value is None or value == "":
        return []
    if isinstance(value, str) or not isinstance(value, Sequence | Mapping):
        return [str(value)]
    return [str(one) for one in value]


def _count(found: Found, keyword: str) -> int | None:
    values = _values(found, keyword)
    return int(values[0]) if values and values[0].isdigit() else None


def _by_uid(wanted: Token) -> Condition:
    """A Study Instance UID as the standard writes it: urn:dicom:uid|urn:oid:1.2.3; nothing for other tokens."""
    if wanted.system == DICOM_UID or wanted.value.startswith("urn:oid:"):
        return Condition("s.study_instance_uid = %s", (wanted.value.removeprefix("urn:oid:"),))
    return Condition()


def _accession(value: str, authority: str | None) -> Condition:
    return Condition("s.accession_number = %s", (value,)) if value and not authority else NEVER


def _modality(wanted: Token) -> Condition:
    if wanted.system not in (None, DICOM_CODES) or not wanted.value:
        return NEVER
    return Condition("s.modalities @> ARRAY[%s]", (wanted.value,))


def _based_on(ids: list[str]) -> Condition:
    return Condition(
        """s.study_instance_uid IN (SELECT b.study_instance_uid FROM study_match b
            WHERE b.imaging_order = ANY(%s) AND b.undone_at IS NULL)""",
        ([as_row(one) for one in ids],),
    )


def _patient(ids: list[str]) -> Condition:
    return of_patients([as_row(one) for one in ids])


IMAGING_STUDY: Final = Kind(
    name="ImagingStudy",
    permission=Permission.STUDY_SEARCH,
    table="study s",
    key="s.id",
    id="s.study_instance_uid",
    visible=lambda access: study_is_visible(visibility_of(access)),
    of_patients=of_patients,
    load=_load,
    parameters=by_name(
        token(
            "_id",
            lambda wanted, _: Condition("s.study_instance_uid = %s", (wanted.value,)),
        ),
        moment("_lastUpdated", _CHANGED_AT),
        identifiers(_accession, _by_uid),
        reference("patient", "Patient", _patient, missing=f"{subject_of()} IS NULL", needs=Permission.ORDER_READ),
        reference("subject", "Patient", _patient, missing=f"{subject_of()} IS NULL", needs=Permission.ORDER_READ),
        local_moment("started", "s.study_date", "s.study_time"),
        token("modality", lambda wanted, _: _modality(wanted), missing="s.modalities = '{}'"),
        code("status", "'available'::text", {"available": ("available",)}, missing="false"),
        reference(
            "basedon",
            "ServiceRequest",
            _based_on,
            missing=f"({_MET.format(study='s')}) IS NULL",
            needs=Permission.ORDER_READ,
        ),
        reference(
            "endpoint", "Endpoint", lambda ids: Condition("true") if ENDPOINT_ID in ids else NEVER, missing="false"
        ),
    ),
    sorts={
        "_id": Sort("s.study_instance_uid"),
        "_lastUpdated": Sort(_CHANGED_AT, "timestamptz"),
        "started": Sort("coalesce(s.study_date, '') || coalesce(s.study_time, '')"),
    },
    includes={
        "patient": Include(("subject",), "Patient", "patient"),
        "subject": Include(("subject",), "Patient", "subject"),
        "basedon": Include(("basedOn",), "ServiceRequest", "basedon"),
        "endpoint": Include(("endpoint",), "Endpoint", "endpoint"),
    },
    unasked=Condition("s.study_instance_uid IS NOT NULL"),
)

"""`/studies`: found as in the study list, looked into, corrected and deleted. Images themselves come by DICOMweb."""

from __future__ import annotations

import datetime as dt
from contextlib import aclosing
from typing import Annotated, Final, Literal

from fastapi import Query, Request
from pydantic import Field

from fileroom.admin.audit_names import Names
from fileroom.admin.audit_sentences import sentence_of
from fileroom.archive import delete, query, study_contents, study_history, study_list
from fileroom.archive.study_contents import ListedSeries
from fileroom.archive.study_history import HistoryPlace, Source
from fileroom.archive.study_list import ListedStudy, StudyStatus
from fileroom.core.access import Permission, current_access
from fileroom.core.errors import InvalidRequestError, NotFoundError
from fileroom.core.limits import SERIES_SHOWN_MAX
from fileroom.dicom import query as dicom_query
from fileroom.dicom.query import Key, Level, SingleValue, StudyPlace
from fileroom.index.attributes import BY_KEYWORD
from fileroom.index.search import Answer
from fileroom.web.api.models import Moment, Shown, Uid
from fileroom.web.api.operations import Api
from fileroom.web.api.paging import Cursor, Limit, Page, next_address, read_cursor, write_cursor
from fileroom.web.audited import note_query, note_view
from fileroom.web.console.study_question import FIELD_CHARS_MAX, StudyQuestion, read_question

_INSTANCE_FIELDS: Final = ("SOPInstanceUID", "SOPClassUID", "InstanceNumber", "NumberOfFrames", "Rows", "Columns")

ID: Final = "How it begins, or with `*` and `?`; in quotation marks: exactly."
NAMES: Final = "Beginnings of names, or `Family^Given` with `*` and `?`; without regard to case and accents."
DATES: Final = "`today`, `yesterday`, `7d`, `2026-11-20` or `2026-11-01..2026-11-20`."


def _field(description: str, example: str) -> object:
    return Query(max_length=FIELD_CHARS_MAX, description=description, examples=[example])


PatientName = Annotated[str, _field(NAMES, "sorensen")]
PatientId = Annotated[str, _field(ID, "FR-1001*")]
Date = Annotated[str, _field(DATES, "7d")]
Sex = Annotated[str, _field("F, M or O.", "F")]
Modalities = Annotated[str, _field("CT, or several: CT, MR.", "CT")]
Description = Annotated[str, _field("Any part of the description.", "thorax")]
AnyId = Annotated[str, _field(ID, "A1*")]
Person = Annotated[str, _field(NAMES, "curie")]


class ShownStudy(Shown):
    """A study: its attributes as they stand in DICOM, and how far it has come."""

    study_instance_uid: str
    patient_name: Annotated[str, Field(description="Family^Given^Middle^Prefix^Suffix, groups with =")]
    patient_id: str
    issuer_of_patient_id: str
    patient_sex: str
    patient_birth_date: Annotated[str, Field(description="YYYYMMDD")]
    patient_age: str
    study_date: Annotated[str, Field(description="YYYYMMDD")]
    study_time: Annotated[str, Field(description="HHMMSS.FFFFFF")]
    study_description: str
    study_id: str
    accession_number: str
    modalities_in_study: list[str]
    referring_physician_name: str
    status: StudyStatus
    series: Annotated[int, Field(description="How many series.")]
    instances: Annotated[int, Field(description="How many instances.")]
    stations: list[str]
    institutions: list[str]
    sender: Annotated[str, Field(description="Who sent its first object.")]
    received_by: str
    received_at: Moment
    changed_at: Moment | None
    exceptions: Annotated[int, Field(description="Objects that contradict what is here, or are lost.")]
    dicomweb: Annotated[str, Field(description="Its address in DICOMweb, where its images are.")]


class StudyPage(Page[ShownStudy]):
    """Studies, the newest first."""


class ShownSeries(Shown):
    """A series of a study."""

    series_instance_uid: str
    series_number: str
    modality: str
    series_description: str
    series_date: str
    series_time: str
    body_part_examined: str
    station_name: str
    device: Annotated[str, Field(description="Manufacturer and model.")]
    instances: int


class SeriesPage(Page[ShownSeries]):
    """Series by their numbers."""


class ShownInstance(Shown):
    """An instance of a series."""

    sop_instance_uid: str
    sop_class_uid: str
    instance_number: int | None
    number_of_frames: int | None
    rows: int | None
    columns: int | None


class InstancePage(Page[ShownInstance]):
    """Instances by their numbers."""


class HistoryEntry(Shown):
    """One thing that happened to a study."""

    at: Moment
    kind: Annotated[
        Literal["arrival", "correction", "revocation", "association", "event"],
        Field(description="Where it is known from: the index, corrections, the ledger, the audit trail."),
    ]
    what: str
    association: Annotated[int | None, Field(description="Its number in the ledger.")]
    event: Annotated[int | None, Field(description="Its number in the audit trail.")]


class HistoryPage(Page[HistoryEntry]):
    """What happened, the latest first; what one may not know is left out."""


class Deleted(Shown):
    """How many of each are gone."""

    studies: int
    series: int
    instances: int


HistoryCursor = Annotated[
    str, Query(max_length=60, pattern=r"^[0-9T.-]*$", description="Where a page ended; `next` has it.")
]
Reason = Annotated[
    str,
    Query(
        min_length=3,
        max_length=200,
        pattern=r"^[^\x00-\x1f\x7f]*$",
        description="Why, for the audit trail. Addresses stand in logs of proxies: name no patient.",
        examples=["sent to the wrong archive"],
    ),
]


def add_studies(api: Api) -> None:
    """The operations."""
    archive = api.archive
    studies = api.resource(
        "studies", "Studies, their series and instances, with the state of the study list. Images come by DICOMweb."
    )

    @studies.get("/studies", "search", Permission.STUDY_SEARCH)
    async def search(
        request: Request,
        patient_name: PatientName = "",
        patient_id: PatientId = "",
        patient_birth_date: Date = "",
        patient_sex: Sex = "",
        modalities_in_study: Modalities = "",
        study_description: Description = "",
        study_date: Date = "",
        accession_number: AnyId = "",
        station_name: AnyId = "",
        referring_physician_name: Person = "",
        institution_name: AnyId = "",
        study_id: AnyId = "",
        sender: AnyId = "",
        status: Annotated[
            Literal["receiving", "exception"] | None, Query(description="Only those that arrive, or need a look.")
        ] = None,
        limit: Limit = 100,
        cursor: Cursor = "",
    ) -> StudyPage:
        """Find studies, the newest first. The fields are those of the study list and take what people type there."""
        typed = {
            "PatientName": patient_name,
            "PatientID": patient_id,
            "PatientBirthDate": patient_birth_date,
            "PatientSex": patient_sex,
            "ModalitiesInStudy": modalities_in_study,
            "StudyDescription": study_description,
            "StudyDate": study_date,
            "AccessionNumber": accession_number,
            "StationName": station_name,
            "ReferringPhysicianName": referring_physician_name,
            "InstitutionName": institution_name,
            "StudyID": study_id,
            "SourceApplicationEntityTitle": sender,
            "status": status or "",
        }
        question = read_question(typed.items(), dt.date.today(), {})
        for keyword, why in question.problems.items():
            raise InvalidRequestError(f"{keyword}: {why}")
        found = await _found(question, limit, _place(cursor))
        note_query(archive, request, found.query)
        place = found.next_place
        behind = write_cursor(place.date or "", place.time or "", place.row_id) if place else ""
        return StudyPage(items=[shown_study(study) for study in found.studies], next=next_address(request, behind))

    async def _found(question: StudyQuestion, limit: int, place: StudyPlace | None) -> study_list.StudyPage:
        if not question.status:
            return await study_list.list_studies(
                archive, question.keys, limit=limit, behind=place, fuzzy_names=question.fuzzy_names
            )
        if question.status == "receiving":
            uids = [study.study_instance_uid for study in await study_list.arriving_studies(archive)]
        else:
            uids = await study_list.studies_with_exceptions(archive)
        some = await study_list.studies_by_uid(archive, uids, question.keys, fuzzy_names=question.fuzzy_names)
        return study_list.StudyPage(some[:limit], None, dicom_query.Query(Level.STUDY, keys=question.keys))

    @studies.get("/studies/{study}", "get", Permission.STUDY_SEARCH)
    async def get_study(request: Request, study: Uid) -> ShownStudy:
        """One study."""
        shown = shown_study(await study_contents.get_study(archive, study))
        note_view(archive, request, study, "study")
        return shown

    @studies.get("/studies/{study}/patient-studies", "of_patient", Permission.STUDY_SEARCH)
    async def of_patient(request: Request, study: Uid) -> StudyPage:
        """All studies of the same patient that one may see, that one included, the newest first; at most 200."""
        first = await study_contents.get_study(archive, study)
        found = await study_contents.studies_of_patient(archive, first)
        for one in found:
            note_view(archive, request, one.study_uid, "study")
        return StudyPage(items=[shown_study(one) for one in found])

    @studies.get("/studies/{study}/history", "history", Permission.STUDY_SEARCH)
    async def history(request: Request, study: Uid, limit: Limit = 100, cursor: HistoryCursor = "") -> HistoryPage:
        """What happened to a study, the latest first: who sent, viewed, exported or changed it, as far as one may know."""
        before = HistoryPlace.parse(cursor) if cursor else None
        found = await study_history.study_history(archive, study, before=before, limit=limit)
        items = [_history_entry(entry, found.names) for entry in found.entries]
        behind = str(found.next_place) if found.next_place else ""
        return HistoryPage(items=items, next=next_address(request, behind))

    @studies.get("/studies/{study}/series", "series", Permission.STUDY_SEARCH)
    async def list_series(request: Request, study: Uid, limit: Limit = 100, cursor: Cursor = "") -> SeriesPage:
        """The series of a study."""
        await study_contents.get_study(archive, study)
        note_view(archive, request, study, "study")
        offset = _offset(cursor)
        found = await study_contents.list_series(archive, study, offset=offset)
        page = found[: min(limit, SERIES_SHOWN_MAX)]
        behind = write_cursor(offset + len(page)) if len(found) > len(page) else ""
        return SeriesPage(items=[_shown_series(series) for series in page], next=next_address(request, behind))

    @studies.get("/studies/{study}/series/{series}/instances", "instances", Permission.STUDY_SEARCH)
    async def list_instances(
        request: Request, study: Uid, series: Uid, limit: Limit = 100, cursor: Cursor = ""
    ) -> InstancePage:
        """The instances of a series."""
        offset = _offset(cursor)
        asked = dicom_query.Query(
            Level.INSTANCE,
            keys=(_key("StudyInstanceUID", study), _key("SeriesInstanceUID", series)),
            return_tags=tuple((BY_KEYWORD[keyword].tag,) for keyword in _INSTANCE_FIELDS),
            page=dicom_query.Page(limit + 1, offset),
        )
        async with aclosing(query.search(archive, asked)) as answers:
            found = [answer async for answer in answers]
        if not found and not offset:
            raise NotFoundError(
                "There is no such series in the archive; it was never received, was deleted, or is hidden."
            )
        note_view(archive, request, study, "study")
        behind = write_cursor(offset + limit) if len(found) > limit else ""
        return InstancePage(
            items=[_shown_instance(answer) for answer in found[:limit]], next=next_address(request, behind)
        )

    @studies.delete_and_tell("/studies/{study}", "delete", Permission.STUDY_DELETE)
    async def delete_study(study: Uid, reason: Reason) -> Deleted:
        """Delete a study with its corrections. It cannot be taken back."""
        return _deleted(await delete.delete_study(archive, study, actor=_actor(), reason=reason))

    @studies.delete_and_tell("/studies/{study}/series/{series}", "delete_series", Permission.STUDY_DELETE)
    async def delete_series(study: Uid, series: Uid, reason: Reason) -> Deleted:
        """Delete a series, and the study if it was its last."""
        return _deleted(await delete.delete_series(archive, study, series, actor=_actor(), reason=reason))

    @studies.delete_and_tell(
        "/studies/{study}/series/{series}/instances/{instance}", "delete_instance", Permission.STUDY_DELETE
    )
    async def delete_instance(study: Uid, series: Uid, instance: Uid, reason: Reason) -> Deleted:
        """Delete an instance, and series and study if it was their last."""
        return _deleted(await delete.delete_instance(archive, study, series, instance, actor=_actor(), reason=reason))


def _history_entry(entry: study_history.HistoryEntry, names: Names) -> HistoryEntry:
    what, association = "", None
    if entry.study is not None:
        what = f"The first object came from {entry.study.state.sender or 'this server'}"
    elif entry.correction is not None:
        one = entry.correction
        is_made = entry.place.source is Source.CORRECTION
        what = f"{'Corrected' if is_made else 'Correction revoked'} by {one.actor if is_made else one.revoked_by}: {one.reason}"
    elif entry.carried is not None:
        carried = entry.carried
        way = "sent to" if carried.by_us else "came from"
        what = f"{carried.objects} objects {way} {carried.peer} at {carried.host}, {carried.failures} failed"
        association = carried.association
    elif entry.event is not None:
        what = str(sentence_of(entry.event, names))
    return HistoryEntry(
        at=entry.place.at,
        kind=entry.place.source.name.lower(),
        what=what,
        association=association,
        event=entry.event.id if entry.event else None,
    )


def shown_study(study: ListedStudy) -> ShownStudy:
    """A study of the list as the API shows it."""
    return ShownStudy(
        study_instance_uid=study.study_uid,
        patient_name=study.patient_name,
        patient_id=study.patient_id,
        issuer_of_patient_id=study.issuer,
        patient_sex=study.sex,
        patient_birth_date=study.birth_date,
        patient_age=study.age,
        study_date=study.date,
        study_time=study.time,
        study_description=study.description,
        study_id=study.study_id,
        accession_number=study.accession,
        modalities_in_study=list(study.modalities),
        referring_physician_name=study.referring,
        status=study.status,
        series=study.state.series,
        instances=study.state.instances,
        stations=study.state.stations,
        institutions=study.state.institutions,
        sender=study.state.sender,
        received_by=study.state.received_by,
        received_at=study.state.received_at,
        changed_at=study.state.changed_at,
        exceptions=study.state.exceptions,
        dicomweb=f"/dicom-web/studies/{study.study_uid}",
    )


def _shown_series(series: ListedSeries) -> ShownSeries:
    return ShownSeries(
        series_instance_uid=series.series_uid,
        series_number=series.number,
        modality=series.modality,
        series_description=series.description,
        series_date=series.date,
        series_time=series.time,
        body_part_examined=series.body_part,
        station_name=series.station,
        device=series.device,
        instances=series.instances,
    )


def _shown_instance(answer: Answer) -> ShownInstance:
    values = {keyword: answer.values.get(BY_KEYWORD[keyword].tag) for keyword in _INSTANCE_FIELDS}

    def number(keyword: str) -> int | None:
        value = values[keyword]
        return int(value) if isinstance(value, (int, str)) and str(value).strip().lstrip("+-").isdecimal() else None

    return ShownInstance(
        sop_instance_uid=answer.sop_instance_uid or "",
        sop_class_uid=str(values["SOPClassUID"] or ""),
        instance_number=number("InstanceNumber"),
        number_of_frames=number("NumberOfFrames"),
        rows=number("Rows"),
        columns=number("Columns"),
    )


def _deleted(deleted: delete.Deleted) -> Deleted:
    return Deleted(studies=deleted.studies, series=deleted.series, instances=deleted.instances)


def _key(keyword: str, uid: str) -> Key:
    return Key(BY_KEYWORD[keyword].tag, "UI", SingleValue(uid))


def _actor() -> str:
    return current_access().name


def _place(cursor: str) -> StudyPlace | None:
    place = read_cursor(cursor, str, str, int)
    if place is None:
        return None
    date, time, row = place
    if not isinstance(row, int) or not 0 <= row < 1 << 63 or "\0" in f"{date}{time}":
        raise InvalidRequestError("This cursor is from no page of ours; begin again without one.")
    return StudyPlace(str(date) or None, str(time) or None, row)


def _offset(cursor: str) -> int:
    place = read_cursor(cursor, int)
    offset = place[0] if place else 0
    if not isinstance(offset, int) or not 0 <= offset < 1 << 31:
        raise InvalidRequestError("This cursor is from no page of ours; begin again without one.")
    return offset

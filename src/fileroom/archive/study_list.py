"""The list of studies, the newest first, page by page, each study with its state.

The question is the `Query` of every other door, so that the same studies are found, and the same row scope holds. A page
begins behind the last study of the one before, which is as quick at the millionth study as at the first.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Final

from fileroom.archive import query as archive_query
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.limits import STUDY_PAGE_MAX
from fileroom.dicom.query import AnyOf, Key, Level, Page, Query, StudyPlace
from fileroom.index import study_state
from fileroom.index.attributes import BY_KEYWORD
from fileroom.index.search import Answer, IndexValue
from fileroom.index.study_state import StudyInMotion, StudyState
from fileroom.index.visibility import visibility_of

_SHOWN: Final = (
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "PatientSex",
    "PatientBirthDate",
    "PatientAge",
    "StudyDate",
    "StudyTime",
    "StudyDescription",
    "StudyID",
    "AccessionNumber",
    "ModalitiesInStudy",
    "ReferringPhysicianName",
)
_TAGS: Final = tuple((BY_KEYWORD[keyword].tag,) for keyword in _SHOWN)
_DATE, _TIME = BY_KEYWORD["StudyDate"].tag, BY_KEYWORD["StudyTime"].tag
_STUDY_UID: Final = BY_KEYWORD["StudyInstanceUID"].tag
_UNDATED: Final = StudyPlace(None, "~", 0)
"""In front of the first study without a date: no time is greater."""


class StudyStatus(enum.Enum):
    """How far a study has come."""

    RECEIVING = "receiving"
    """An instance came a moment ago."""
    COMPLETE = "complete"
    """None has come for FILEROOM_SERIES_STABLE_S."""
    EXCEPTION = "exception"
    """Something of it contradicts what is here already, or is lost; a person must look."""


@dataclass(frozen=True, slots=True)
class ListedStudy:
    """One row of the list: attributes as the index keeps them, and the state."""

    row_id: int
    study_uid: str
    patient_name: str
    patient_id: str
    issuer: str
    sex: str
    birth_date: str
    age: str
    date: str
    time: str
    description: str
    study_id: str
    accession: str
    modalities: tuple[str, ...]
    referring: str
    status: StudyStatus
    state: StudyState


@dataclass(frozen=True, slots=True)
class StudyPage:
    """Some studies, where the next page begins (None where there is none), and what was asked."""

    studies: list[ListedStudy]
    next_place: StudyPlace | None
    query: Query


async def list_studies(
    archive: Archive, keys: Sequence[Key], *, limit: int, behind: StudyPlace | None = None, fuzzy_names: bool = False
) -> StudyPage:
    """The studies that match `keys`, from the newest or from behind a place.

    Raises InvalidRequestError for keys that make no sense, NotAllowedError, DatabaseError.
    """
    wanted = min(limit, STUDY_PAGE_MAX) + 1
    query = Query(
        Level.STUDY,
        keys=tuple(keys),
        return_tags=_TAGS,
        page=Page(wanted, behind=behind),
        newest_first=True,
        combined_datetime=True,
        fuzzy_names=fuzzy_names,
    )
    found = await _found(archive, query)
    if behind is not None and behind.date is not None and len(found) < wanted:
        rest = replace(query, page=Page(wanted - len(found), behind=_UNDATED))
        found += await _found(archive, rest)
    studies = await _with_states(archive, found[: wanted - 1])
    more = len(found) == wanted
    return StudyPage(studies, _place(found[wanted - 2]) if more else None, query)


async def studies_by_uid(
    archive: Archive, uids: Sequence[str], keys: Sequence[Key] = (), *, fuzzy_names: bool = False
) -> list[ListedStudy]:
    """Those of some studies that exist, may be seen and match `keys`. Raises as `list_studies` does."""
    if not uids:
        return []
    key = Key(_STUDY_UID, "UI", AnyOf(tuple(uids[:STUDY_PAGE_MAX])))
    return (await list_studies(archive, (key, *keys), limit=STUDY_PAGE_MAX, fuzzy_names=fuzzy_names)).studies


async def arriving_studies(archive: Archive) -> list[StudyInMotion]:
    """Studies that something arrived for within FILEROOM_SERIES_STABLE_S and that may be seen; the latest first.

    Raises NotAllowedError, DatabaseError.
    """
    visibility = visibility_of(require(Permission.STUDY_SEARCH))
    return await study_state.studies_in_motion(archive.pool, archive.settings.series_stable_s, visibility)


async def studies_with_exceptions(archive: Archive) -> list[str]:
    """The UIDs of studies that may be seen and that a person must look at, the latest first.

    Raises NotAllowedError, DatabaseError.
    """
    return await study_state.studies_with_exceptions(archive.pool, visibility_of(require(Permission.STUDY_SEARCH)))


async def _found(archive: Archive, query: Query) -> list[Answer]:
    async with aclosing(archive_query.search(archive, query)) as answers:
        return [answer async for answer in answers]


async def _with_states(archive: Archive, found: Sequence[Answer]) -> list[ListedStudy]:
    states = await study_state.read_states(archive.pool, [answer.row_id for answer in found])
    stable_s = archive.settings.series_stable_s
    # A study that was deleted between the two statements is left out.
    return [_listed(answer, states[answer.row_id], stable_s) for answer in found if answer.row_id in states]


def _listed(answer: Answer, state: StudyState, stable_s: float) -> ListedStudy:
    values = {keyword: answer.values.get(BY_KEYWORD[keyword].tag) for keyword in _SHOWN}
    modalities = values["ModalitiesInStudy"]
    return ListedStudy(
        row_id=answer.row_id,
        study_uid=answer.study_instance_uid or "",
        patient_name=_text(values["PatientName"]),
        patient_id=_text(values["PatientID"]),
        issuer=_text(values["IssuerOfPatientID"]),
        sex=_text(values["PatientSex"]),
        birth_date=_text(values["PatientBirthDate"]),
        age=_text(values["PatientAge"]),
        date=_text(values["StudyDate"]),
        time=_text(values["StudyTime"]),
        description=_text(values["StudyDescription"]),
        study_id=_text(values["StudyID"]),
        accession=_text(values["AccessionNumber"]),
        modalities=tuple(map(str, modalities)) if isinstance(modalities, list) else (),
        referring=_text(values["ReferringPhysicianName"]),
        status=_status(state, stable_s),
        state=state,
    )


def _status(state: StudyState, stable_s: float) -> StudyStatus:
    if state.quiet_s is not None and state.quiet_s < stable_s:
        return StudyStatus.RECEIVING
    return StudyStatus.EXCEPTION if state.exceptions else StudyStatus.COMPLETE


def _place(answer: Answer) -> StudyPlace:
    date, time = answer.values.get(_DATE), answer.values.get(_TIME)
    return StudyPlace(str(date) if date is not None else None, str(time) if time is not None else None, answer.row_id)


def _text(value: IndexValue) -> str:
    return "" if value is None else str(value)

"""What a study consists of, for people who look at it: its series, the patient's other studies, its objects in order."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from fileroom.archive import query as archive_query
from fileroom.archive.services import Archive
from fileroom.archive.study_list import ListedStudy, list_studies, studies_by_uid
from fileroom.core.errors import NotFoundError, told
from fileroom.core.limits import PRIORS_SHOWN_MAX, SERIES_SHOWN_MAX
from fileroom.dicom.query import EmptyValue, Key, Level, Page, Query, SingleValue
from fileroom.index import study_state
from fileroom.index.attributes import BY_KEYWORD
from fileroom.index.search import Answer
from fileroom.index.study_state import SeriesSample

_SHOWN: Final = (
    "Modality",
    "SeriesNumber",
    "SeriesDescription",
    "SeriesDate",
    "SeriesTime",
    "BodyPartExamined",
    "Laterality",
    "ProtocolName",
    "StationName",
    "Manufacturer",
    "ManufacturerModelName",
    "NumberOfSeriesRelatedInstances",
)


@dataclass(frozen=True, slots=True)
class ListedSeries:
    """One series: attributes as the index keeps them, and one of its instances as a sample (None: it is empty by now)."""

    series_uid: str
    number: str
    modality: str
    description: str
    date: str
    time: str
    body_part: str
    station: str
    device: str
    instances: int
    sample: SeriesSample | None


async def get_study(archive: Archive, study_uid: str) -> ListedStudy:
    """A study with its state. Raises NotFoundError, NotAllowedError, DatabaseError."""
    found = await studies_by_uid(archive, [study_uid])
    if not found:
        raise NotFoundError(
            told("There is no such study in the archive. It was never received, was deleted, or is not yours to see.")
        )
    return found[0]


async def list_series(archive: Archive, study_uid: str, *, offset: int = 0) -> list[ListedSeries]:
    """At most SERIES_SHOWN_MAX + 1 series of a study by their numbers, so that the caller can see that there are more.

    Raises NotAllowedError, DatabaseError.
    """
    query = Query(
        Level.SERIES,
        keys=(Key(BY_KEYWORD["StudyInstanceUID"].tag, "UI", SingleValue(study_uid)),),
        return_tags=tuple((BY_KEYWORD[keyword].tag,) for keyword in _SHOWN),
        page=Page(SERIES_SHOWN_MAX + 1, offset),
    )
    async with aclosing(archive_query.search(archive, query)) as answers:
        found = [answer async for answer in answers]
    samples = await study_state.read_samples(archive.pool, [answer.row_id for answer in found])
    return [_listed(answer, samples.get(answer.row_id)) for answer in found]


async def studies_of_patient(archive: Archive, study: ListedStudy) -> Sequence[ListedStudy]:
    """The studies of the same patient that may be seen, that one included, the newest first; at most PRIORS_SHOWN_MAX.

    The same patient is who has the same ID of the same issuer. Raises NotAllowedError, DatabaseError.
    """
    if not study.patient_id:
        return [study]
    issuer = EmptyValue() if not study.issuer else SingleValue(study.issuer)
    keys = (
        Key(BY_KEYWORD["PatientID"].tag, "LO", SingleValue(study.patient_id)),
        Key(BY_KEYWORD["IssuerOfPatientID"].tag, "LO", issuer),
    )
    return (await list_studies(archive, keys, limit=PRIORS_SHOWN_MAX)).studies


def _listed(answer: Answer, sample: SeriesSample | None) -> ListedSeries:
    texts = {keyword: _text(answer, keyword) for keyword in _SHOWN}
    return ListedSeries(
        series_uid=answer.series_instance_uid or "",
        number=texts["SeriesNumber"],
        modality=texts["Modality"],
        description=texts["SeriesDescription"] or texts["ProtocolName"],
        date=texts["SeriesDate"],
        time=texts["SeriesTime"],
        body_part=" ".join(filter(None, (texts["BodyPartExamined"], texts["Laterality"]))),
        station=texts["StationName"],
        device=" ".join(filter(None, (texts["Manufacturer"], texts["ManufacturerModelName"]))),
        instances=int(texts["NumberOfSeriesRelatedInstances"] or 0),
        sample=sample,
    )


def _text(answer: Answer, keyword: str) -> str:
    value = answer.values.get(BY_KEYWORD[keyword].tag)
    return "" if value is None else str(value)

"""The page of a study, `/studies/{study}`: patient, time line, series, a quick look, attributes, documents, corrections."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydicom.dataset import Dataset
from starlette.requests import Request

from fileroom.archive import bulk_data, retrieve
from fileroom.archive.rejection_notes import rejection_notes
from fileroom.archive.retrieve import Selection, StoredInstance
from fileroom.archive.services import Archive
from fileroom.archive.study_contents import ListedSeries, get_study, list_series, studies_of_patient
from fileroom.core.access import Permission, current_access
from fileroom.core.errors import FileroomError, InvalidRequestError, NotFoundError, told
from fileroom.core.identifiers import UID
from fileroom.core.limits import SERIES_SHOWN_MAX
from fileroom.dicom import uids
from fileroom.reports.summaries import summaries_of_studies
from fileroom.reports.writing import STATE_WORDS
from fileroom.routing.deliveries import ParcelRow
from fileroom.routing.delivery_filter import DeliveryFilter
from fileroom.routing.delivery_search import search_parcels
from fileroom.routing.fetch import FetchJob, fetches_of
from fileroom.web.address import path_uid
from fileroom.web.answers import NO_STORE, PRIVATE, Answer, json_answer
from fileroom.web.console.attribute_table import attribute_rows
from fileroom.web.console.break_glass_page import way_in
from fileroom.web.console.deliveries_page import words_of_deliveries
from fileroom.web.console.history_page import history_values
from fileroom.web.console.page import is_part, page, view_of
from fileroom.web.console.structured_report import report_of
from fileroom.web.console.timeline import time_line
from fileroom.web.endpoint import Handler
from fileroom.web.instances import begun

ENCAPSULATED_PDF: Final = "1.2.840.10008.5.1.4.1.1.104.1"
_ENCAPSULATED_DOCUMENT: Final = 0x00420011
_DOCUMENT_POLICY: Final = (
    "default-src 'none'; object-src 'self'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'"
)
"""A browser's own reader of PDF is a plug-in to it; nothing else of the document is let in, and only our page frames it."""
_OFFSET_DIGITS_MAX: Final = 6
DELIVERIES_SHOWN: Final = 20
"""Destinations of a study; all of them stand in the ledger."""


def study_page_handler(archive: Archive) -> Handler:
    """The handler of the page; `?series=` chooses what is looked at, a request for a part gets only that."""

    async def handle(request: Request) -> Answer:
        try:
            study = await get_study(archive, path_uid(request, "study"))
        except NotFoundError:
            if (offered := await way_in(archive, request, path_uid(request, "study"))) is not None:
                return offered
            if (job := await _being_fetched(archive, path_uid(request, "study"))) is not None:
                return await page(archive, request, "study_fetching.html", place="studies", job=job)
            raise
        offset = _offset(request.query_params.get("from", ""))
        series = await list_series(archive, study.study_uid, offset=offset)
        shown, more = series[:SERIES_SHOWN_MAX], len(series) > SERIES_SHOWN_MAX
        chosen = _chosen(shown, request.query_params.get("series", ""))
        access = current_access()
        values: dict[str, Any] = {"study": study, "chosen": chosen}
        values |= await _stage(archive, study.study_uid, chosen, request.query_params.get("instance", ""))
        if is_part(request):
            return await page(archive, request, "study_stage.html", **values)
        others = await studies_of_patient(archive, study)
        may_view = access.allows(Permission.STUDY_VIEW)
        values |= {
            "series": shown,
            "offset": offset,
            "next_offset": offset + SERIES_SHOWN_MAX if more else None,
            "others": others,
            "line": time_line(others, study.study_uid),
            "patient": await _patient(archive, values["header"]),
            "may_export": access.allows(Permission.STUDY_EXPORT),
            "may_view": may_view,
            "reports": await summaries_of_studies(archive, [study.study_uid]) if may_view else [],
            "rejections": await rejection_notes(archive, study.study_uid),
            "state_words": STATE_WORDS,
            "deliveries": await _deliveries(archive, study.study_uid),
            **words_of_deliveries(request),
            "fetching": (await fetches_of(archive, [study.study_uid])).get(study.study_uid),
            **await history_values(archive, study.study_uid, view_of(request).reader),
        }
        return await page(archive, request, "study_page.html", place="studies", **values)

    return handle


async def _being_fetched(archive: Archive, study_uid: UID) -> FetchJob | None:
    """The open order for a study of which nothing has come yet. Whoever sees only some studies is not told of others."""
    if not current_access().rows.is_everything:
        return None
    return (await fetches_of(archive, [study_uid])).get(study_uid)


async def _deliveries(archive: Archive, study_uid: str) -> list[ParcelRow]:
    """Where the study was sent by rules or people, for who may see it."""
    if not current_access().allows(Permission.ROUTING_READ):
        return []
    return (await search_parcels(archive, DeliveryFilter(study_instance_uid=study_uid), limit=DELIVERIES_SHOWN)).rows


def look_handler(archive: Archive) -> Handler:
    """The handler of `/studies/{study}/series/{series}/look`: the images of a series in their order, for the quick look."""

    async def handle(request: Request) -> Answer:
        study, series = path_uid(request, "study"), path_uid(request, "series")
        instances = await _instances(archive, study, series)
        images = [one for one in instances if one.rows and one.columns]
        window = _window(await retrieve.read_header(archive, images[len(images) // 2])) if images else None
        listed = [[one.sop_instance_uid, max(one.number_of_frames or 1, 1)] for one in images]
        return json_answer({"instances": listed, "window": window}).with_headers({"cache-control": NO_STORE})

    return handle


def attributes_handler(archive: Archive) -> Handler:
    """The handler of `/studies/{study}/series/{series}/instances/{instance}/attributes`."""

    async def handle(request: Request) -> Answer:
        study, series, sop = (path_uid(request, name) for name in ("study", "series", "instance"))
        found = await retrieve.list_instances(
            archive, Selection((), (study,), (series,), (sop,)), permission=Permission.STUDY_SEARCH
        )
        if not found:
            raise NotFoundError(told("There is no such object in the archive."))
        received = dataclasses.replace(found[0], corrections=())
        shown = await retrieve.read_header(archive, found[0], permission=Permission.STUDY_SEARCH)
        before = await retrieve.read_header(archive, received, permission=Permission.STUDY_SEARCH)
        rows = await asyncio.to_thread(attribute_rows, shown, before)
        values: dict[str, Any] = {
            "rows": rows,
            "instance": found[0],
            "syntax": uids.transfer_syntax(found[0].transfer_syntax_uid).name,
        }
        template = "attributes_table.html" if is_part(request) else "attributes.html"
        return await page(archive, request, template, place="studies", study_uid=study, **values)

    return handle


def document_handler(archive: Archive) -> Handler:
    """The handler of `/studies/{study}/series/{series}/instances/{instance}/document`: an encapsulated PDF as it is."""

    async def handle(request: Request) -> Answer:
        study, series, sop = (path_uid(request, name) for name in ("study", "series", "instance"))
        instance = await retrieve.get_instance(archive, study, series, sop)
        if instance.sop_class_uid != ENCAPSULATED_PDF:
            raise NotFoundError(told("This object is no PDF document."))
        value = await bulk_data.find_bulk_value(archive, instance, (_ENCAPSULATED_DOCUMENT,))
        headers = {
            "content-type": "application/pdf",
            "cache-control": PRIVATE,
            "content-security-policy": _DOCUMENT_POLICY,
        }
        pieces = bulk_data.bulk_pieces(archive, value, 0, value.length)
        return await begun(Answer(200, headers, pieces, value.length))

    return handle


async def _stage(archive: Archive, study_uid: str, chosen: ListedSeries | None, sop: str) -> Mapping[str, Any]:
    """What is looked at: an image (its place in the series), a report, a document, or just an object."""
    nothing: dict[str, Any] = {"kind": "none", "instance": None, "instances": [], "header": None, "report": None}
    if chosen is None or not current_access().allows(Permission.STUDY_VIEW):
        return nothing
    instances = await _instances(archive, study_uid, chosen.series_uid)
    if not instances:
        return nothing
    images = [one for one in instances if one.rows and one.columns]
    middle = images[len(images) // 2] if images else instances[0]
    instance = next((one for one in instances if one.sop_instance_uid == sop), middle)
    staged: dict[str, Any] = {**nothing, "instance": instance, "instances": instances, "kind": "object", "problem": ""}
    try:
        staged["header"] = await retrieve.read_header(archive, instance)
    except FileroomError as error:
        return {**staged, "kind": "problem", "problem": str(error)}
    if instance.rows and instance.columns:
        staged["kind"] = "image"
    elif instance.sop_class_uid == ENCAPSULATED_PDF:
        staged["kind"] = "document"
    else:
        report = await asyncio.to_thread(report_of, staged["header"])
        staged |= {"report": report, "kind": "report" if report else "object"}
    return staged


async def _instances(archive: Archive, study: str, series: str) -> list[StoredInstance]:
    return await retrieve.list_instances(archive, Selection(study_uids=(study,), series_uids=(series,)))


async def _patient(_archive: Archive, header: Dataset | None) -> Mapping[str, str]:
    """What only an object's header says of the patient: allergies and alerts that a person must not overlook."""
    names = ("Allergies", "MedicalAlerts", "PregnancyStatus", "SmokingStatus", "PatientComments")
    if header is None:
        return dict.fromkeys(names, "")
    return {name: "; ".join(_texts(header, name)) for name in names}


def _texts(header: Dataset, keyword: str) -> list[str]:
    value = header.get(keyword)
    if value is None or value == "":
        return []
    several = value if not isinstance(value, str) and hasattr(value, "__iter__") else [value]
    return [str(one)[:200] for one in several]


def _window(header: Dataset) -> list[float] | None:
    """Center and width as the header says, or such that they show every value that the bits can have."""
    try:
        center, width = header.get("WindowCenter"), header.get("WindowWidth")
        if center is not None and width is not None:
            first = [one[0] if hasattr(one, "__iter__") else one for one in (center, width)]
            return [float(first[0]), max(float(first[1]), 1.0)]
        if int(header.get("SamplesPerPixel", 1)) != 1:
            return None
        bits = int(header.get("BitsStored", 8))
        slope, intercept = float(header.get("RescaleSlope", 1)), float(header.get("RescaleIntercept", 0))
        whole = 2.0**bits
        lowest = -whole / 2 if int(header.get("PixelRepresentation", 0)) else 0.0
        return [(lowest + whole / 2) * slope + intercept, max(abs(whole * slope), 1.0)]
    except (TypeError, ValueError, IndexError, OverflowError):
        return None


def _chosen(series: Sequence[ListedSeries], uid: str) -> ListedSeries | None:
    """The series that the address names, else the first with several images (not the topogram), else what there is."""
    if uid:
        UID(uid)
    named = next((one for one in series if one.series_uid == uid), None)
    with_images = [one for one in series if one.sample and one.sample.has_pixels]
    with_several = next((one for one in with_images if one.instances > 1), None)
    return named or with_several or next(iter([*with_images, *series]), None)


def _offset(text: str) -> int:
    if not text:
        return 0
    if not text.isdecimal() or len(text) > _OFFSET_DIGITS_MAX:
        raise InvalidRequestError(told("This is no page of the study's series."))
    return int(text)

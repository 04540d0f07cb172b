"""The study list at `/`: search by any column, page by page, rows for live changes, saved filters, choice of columns."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode

from starlette.requests import Request

from fileroom.admin import saved_filters
from fileroom.archive import overview
from fileroom.archive.services import Archive
from fileroom.archive.study_list import (
    ListedStudy,
    StudyPage,
    arriving_studies,
    list_studies,
    studies_by_uid,
    studies_with_exceptions,
)
from fileroom.core.access import Permission, current_access
from fileroom.core.errors import InvalidRequestError, told
from fileroom.core.identifiers import UID
from fileroom.core.limits import LIVE_STUDIES_MAX
from fileroom.dicom.query import Level, Query, StudyPlace
from fileroom.reports.facts import ReportState
from fileroom.reports.summaries import marks_of_studies
from fileroom.routing.sources import has_sources
from fileroom.web.answers import NO_STORE, Answer
from fileroom.web.audited import note_query
from fileroom.web.authentication import FORM_TOKEN_FIELD, require_form_token
from fileroom.web.console.break_glass_page import hidden_behind_glass
from fileroom.web.console.forms import own_path, read_form
from fileroom.web.console.page import is_part, page, view_of
from fileroom.web.console.study_columns import COLUMNS, chosen_columns
from fileroom.web.console.study_question import DATE_WORDS, StudyQuestion, read_question
from fileroom.web.endpoint import Handler

PAGE_STUDIES: Final = 50
"""Rows of one page: three screens, and half of what a page may weigh."""
ARRIVING_SHOWN_MAX: Final = 12
"""Studies in motion above the list; more would push the list off the screen."""
_PLACE_CHARS_MAX: Final = 200


def study_list_handler(archive: Archive) -> Handler:
    """The handler of `/`."""

    async def handle(request: Request) -> Answer:
        question = _question(request)
        place = _place(request.query_params.get("behind", ""))
        found = await _found(archive, question, place)
        if not question.problems:
            note_query(archive, request, found.query)
        arriving: list[ListedStudy] = []
        if question.is_empty and place is None:
            arriving = await _arriving(archive, {study.study_uid for study in found.studies})
        is_new = question.is_empty and place is None and not found.studies and not arriving
        values: dict[str, Any] = {
            **_common(request, question),
            "studies": found.studies,
            "arriving": arriving,
            "marks": await _marks(archive, [*found.studies, *arriving]),
            "older": _address(question, found.next_place) if found.next_place else None,
            "is_first": place is None,
            "is_new": is_new,
            "hidden": not found.studies and await _is_hidden(archive, question),
        }
        if is_part(request):
            return await page(archive, request, "study_list_body.html", **values)
        values |= {
            "saved": await saved_filters.list_filters(archive.pool),
            "has_sources": await has_sources(archive),
            "totals": await overview.totals(archive),
            "all_columns": COLUMNS,
            "settings": archive.settings,
        }
        return await page(archive, request, "study_list.html", place="studies", **values)

    return handle


def study_rows_handler(archive: Archive) -> Handler:
    """The handler of `/studies/rows`: rows of some studies, as far as they match the search that the page shows."""

    async def handle(request: Request) -> Answer:
        uids = [UID(uid) for uid in request.query_params.get("uid", "").split(",")[:LIVE_STUDIES_MAX] if uid]
        question = _question(request)
        studies = (
            []
            if question.problems
            else await studies_by_uid(archive, uids, question.keys, fuzzy_names=question.fuzzy_names)
        )
        if question.status:
            studies = [study for study in studies if study.status.value == question.status]
        marks = await _marks(archive, studies)
        return await page(
            archive, request, "study_rows.html", studies=studies, marks=marks, **_common(request, question)
        )

    return handle


def filters_handler(archive: Archive) -> Handler:
    """The handler of `/studies/filters`: keep the search under a name, or forget one."""

    async def handle(request: Request) -> Answer:
        form = await read_form(request)
        require_form_token(request, form.get(FORM_TOKEN_FIELD))
        if gone := form.get("remove"):
            if not gone.isdecimal() or len(gone) > 18:
                raise InvalidRequestError(told("There is no such filter."))
            await saved_filters.remove_filter(archive.pool, int(gone))
        else:
            question = form.get("question")
            await saved_filters.save_filter(archive.pool, form.get("name"), question)
        return _back(form.get("back"), {})

    return handle


async def _found(archive: Archive, question: StudyQuestion, place: StudyPlace | None) -> StudyPage:
    if question.problems:
        return StudyPage([], None, Query(Level.STUDY))
    if question.status:
        if question.status == "receiving":
            uids = [study.study_instance_uid for study in await arriving_studies(archive)]
        else:
            uids = await studies_with_exceptions(archive)
        studies = await studies_by_uid(archive, uids, question.keys, fuzzy_names=question.fuzzy_names)
        return StudyPage(studies, None, Query(Level.STUDY, keys=question.keys))
    return await list_studies(
        archive, question.keys, limit=PAGE_STUDIES, behind=place, fuzzy_names=question.fuzzy_names
    )


async def _marks(archive: Archive, studies: Sequence[ListedStudy]) -> dict[str, ReportState]:
    """How far the reports of the studies have come, for who may read them; one statement for the page."""
    if not studies or not current_access().allows(Permission.STUDY_VIEW):
        return {}
    return await marks_of_studies(archive, [study.study_uid for study in studies])


async def _is_hidden(archive: Archive, question: StudyQuestion) -> bool:
    """Whether the Patient ID or accession number that was searched for, and nothing else, is one behind the glass."""
    typed = [text for name, text in question.typed.items() if name in ("PatientID", "AccessionNumber")]
    return len(question.typed) == len(typed) == 1 and await hidden_behind_glass(archive, typed[0])


async def _arriving(archive: Archive, shown: set[str]) -> list[ListedStudy]:
    """Studies in motion that the page does not show anyway: old ones, which are sent again or imported."""
    moving = [study.study_instance_uid for study in await arriving_studies(archive)]
    return await studies_by_uid(archive, [uid for uid in moving if uid not in shown][:ARRIVING_SHOWN_MAX])


def _common(request: Request, question: StudyQuestion) -> Mapping[str, Any]:
    return {
        "columns": chosen_columns(request),
        "question": question,
        "asked": urlencode(question.typed),
        "reader": view_of(request).reader,
    }


def _question(request: Request) -> StudyQuestion:
    reader = view_of(request).reader
    words = {reader.gettext(word).lower(): word for word in DATE_WORDS}
    return read_question(request.query_params.multi_items(), dt.date.today(), words)


def _address(question: StudyQuestion, place: StudyPlace) -> str:
    behind = f"{place.date or ''}~{place.time or ''}~{place.row_id}"
    return "/?" + urlencode({**question.typed, "behind": behind})


def _place(text: str) -> StudyPlace | None:
    if not text:
        return None
    date, _, rest = text.partition("~")
    time, _, row = rest.rpartition("~")
    if len(text) > _PLACE_CHARS_MAX or not row.isdecimal() or len(row) > 18 or not text.isprintable():
        raise InvalidRequestError(told("This is no place in the list. Begin again with the newest studies."))
    return StudyPlace(date or None, time or None, int(row))


def _back(address: str, headers: dict[str, str]) -> Answer:
    return Answer(HTTPStatus.SEE_OTHER, {"location": own_path(address), "cache-control": NO_STORE, **headers})

"""`/studies/elsewhere`: a search that other archives answer too, each study with where it is, and fetching one from there."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode

from starlette.requests import Request

from fileroom.archive import query as archive_query
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, current_access, require
from fileroom.core.errors import RequestError
from fileroom.core.identifiers import UID
from fileroom.dicom.json_model import JsonObject
from fileroom.dicom.query import Level, Page, Query
from fileroom.index.attributes import BY_KEYWORD
from fileroom.index.search import Answer as Found
from fileroom.routing import fetch
from fileroom.routing.federated_query import answer_key, asked_elsewhere
from fileroom.routing.source_calls import text_of
from fileroom.routing.sources import read_sources
from fileroom.web.answers import NO_STORE, Answer
from fileroom.web.audited import note_query
from fileroom.web.authentication import FORM_TOKEN_FIELD, require_form_token
from fileroom.web.console.form_pages import number_of
from fileroom.web.console.forms import read_form
from fileroom.web.console.page import page, view_of
from fileroom.web.console.study_question import StudyQuestion, read_question
from fileroom.web.endpoint import Handler

ELSEWHERE_PATH: Final = "/studies/elsewhere"
SHOWN_MAX: Final = 200
FIELDS: Final = ("PatientID", "PatientName", "AccessionNumber", "StudyDate")
_WORDS: Final = (
    *("PatientName", "PatientID", "StudyDate", "StudyDescription", "AccessionNumber"),
    *("ModalitiesInStudy", "NumberOfStudyRelatedInstances", "StudyInstanceUID"),
)
_TAGS: Final = {word: BY_KEYWORD[word].tag for word in _WORDS}


@dataclass(frozen=True, slots=True)
class FoundStudy:
    """One study of the answer; `label` is the archive that has it, empty: it is here."""

    uid: str
    patient_name: str
    patient_id: str
    date: str
    description: str
    accession: str
    modalities: str
    instances: str
    label: str = ""


def elsewhere_handlers(archive: Archive) -> dict[str, dict[str, Handler]]:
    """The page, and its button."""

    async def show(request: Request) -> Answer:
        require(Permission.STUDY_SEARCH)
        return await _page(archive, request)

    async def order(request: Request) -> Answer:
        form = await read_form(request)
        require_form_token(request, form.get(FORM_TOKEN_FIELD))
        try:
            await fetch.order_fetch(archive, UID(form.get("study")))
        except RequestError as error:
            return await _page(archive, request, error=error)
        asked = urlencode({name: form.get(name) for name in FIELDS if form.get(name)})
        location = f"{ELSEWHERE_PATH}?{asked}" if asked else ELSEWHERE_PATH
        return Answer(HTTPStatus.SEE_OTHER, {"location": location, "cache-control": NO_STORE})

    return {ELSEWHERE_PATH: {"GET": show}, f"{ELSEWHERE_PATH}/fetch": {"POST": order}}


async def _page(archive: Archive, request: Request, *, error: RequestError | None = None) -> Answer:
    parameters = [(name, value) for name, value in request.query_params.multi_items() if name in FIELDS]
    question = read_question(parameters, archive.now().date(), {})
    found: list[FoundStudy] = []
    silent: list[str] = []
    if question.keys and not question.problems:
        found, silent = await _found(archive, request, question)
    values: dict[str, Any] = {
        "question": question,
        "found": found[:SHOWN_MAX],
        "more": len(found) > SHOWN_MAX,
        "silent": silent,
        "sources": [one.shown for one in await read_sources(archive, lambda one: one.federate)],
        "jobs": await fetch.fetches_of(archive, [study.uid for study in found]),
        "may_fetch": current_access().allows(Permission.STUDY_VIEW),
        "error": view_of(request).reader.say(error) if error is not None else "",
    }
    return await page(archive, request, "elsewhere.html", place="studies", status=number_of(error), **values)


async def _found(archive: Archive, request: Request, question: StudyQuestion) -> tuple[list[FoundStudy], list[str]]:
    query = Query(
        Level.STUDY,
        keys=question.keys,
        return_tags=tuple((tag,) for tag in _TAGS.values()),
        page=Page(SHOWN_MAX + 1),
        fuzzy_names=question.fuzzy_names,
        newest_first=True,
    )
    note_query(archive, request, query)
    here: list[FoundStudy] = []
    there: list[FoundStudy] = []
    silent: list[str] = []
    seen: set[str] = set()
    async with asked_elsewhere(archive, query) as elsewhere:
        async with aclosing(archive_query.search(archive, query)) as answers:
            async for found in answers:
                seen.add(answer_key(query.level, found))
                here.append(_ours(found))
        async with aclosing(elsewhere.answers(seen)) as others:
            async for answer in others:
                there += [_theirs(match, answer.source.shown) for match in answer.matches]
                if answer.problem:
                    silent.append(answer.problem)
    return sorted(here + there, key=lambda study: study.date, reverse=True), silent


def _ours(found: Found) -> FoundStudy:
    values = {word: found.values.get(tag) for word, tag in _TAGS.items()}
    texts = {
        word: "\\".join(map(str, one)) if isinstance(one, list) else str(one or "") for word, one in values.items()
    }
    return _study({**texts, "StudyInstanceUID": found.study_instance_uid or ""}, "")


def _theirs(match: JsonObject, label: str) -> FoundStudy:
    return _study({word: text_of(match, tag) for word, tag in _TAGS.items()}, label)


def _study(texts: dict[str, str], label: str) -> FoundStudy:
    return FoundStudy(
        texts["StudyInstanceUID"],
        texts["PatientName"],
        texts["PatientID"],
        texts["StudyDate"],
        texts["StudyDescription"],
        texts["AccessionNumber"],
        texts["ModalitiesInStudy"].replace("\\", " "),
        texts["NumberOfStudyRelatedInstances"],
        label,
    )

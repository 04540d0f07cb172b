"""`/exceptions`: studies that met no order, why, the orders that come near, and what may be done: fix, undo, dismiss."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote, urlencode

from starlette.requests import Request

from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.errors import InvalidRequestError, RequestError, told
from fileroom.web.answers import NO_STORE, Answer
from fileroom.web.authentication import FORM_TOKEN_FIELD, require_form_token
from fileroom.web.console.form_pages import number_of, whole_number
from fileroom.web.console.forms import Form, read_form
from fileroom.web.console.language import N_
from fileroom.web.console.page import page, view_of
from fileroom.web.endpoint import Handler
from fileroom.worklist import coercion, exceptions
from fileroom.worklist.match_score import Evidence, order_name
from fileroom.worklist.order_states import STATE_WORDS

EXCEPTIONS_PATH: Final = "/exceptions"
PAGE_STUDIES: Final = 20
PAGE_MATCHES: Final = 100
SHOWN: Final = ("open", "matched", "dismissed")
EVIDENCE: Final = {
    Evidence.STUDY_UID: N_("Study UID"),
    Evidence.PERFORMED_STEP: N_("Performed step"),
    Evidence.STEP: N_("Scheduled step"),
    Evidence.PROCEDURE_ID: N_("Requested procedure"),
    Evidence.ACCESSION: N_("Accession number"),
    Evidence.PATIENT_ID: N_("Patient ID"),
    Evidence.PATIENT_NAME: N_("Name"),
    Evidence.BIRTH_DATE: N_("Birth date"),
    Evidence.SEX: N_("Sex"),
    Evidence.MODALITY: N_("Modality"),
    Evidence.STATION: N_("Station"),
    Evidence.TIME: N_("Time"),
    Evidence.ORDER_STATE: N_("Order"),
    Evidence.TAKEN: N_("Images of this order"),
}
"""In what a study and an order agree or differ; message ids."""
HOW: Final = {
    "study_uid": N_("by the Study UID"),
    "performed_step": N_("by its performed step"),
    "step": N_("by its scheduled step"),
    "accession": N_("by its accession number"),
    "patient_time": N_("by patient and time"),
    "person": N_("by a person"),
}
DONE: Final = {
    "fixed": N_("The study has met its order. What was delivered of it before is sent again."),
    "undone": N_("It is undone. The study says again what its images said."),
    "dismissed": N_("They left the queue."),
    "saved": N_("Saved."),
}
ORDER_STATES: Final = {state.value: word for state, word in STATE_WORDS.items()}
_DIGITS_MAX: Final = 18


def exceptions_handlers(archive: Archive) -> dict[str, dict[str, Handler]]:
    """The pages and what their forms do, by path and method."""

    async def queue(request: Request) -> Answer:
        return await _show_queue(archive, request)

    async def one(request: Request) -> Answer:
        return await _show_one(archive, request, request.path_params["study"])

    async def fix(request: Request) -> Answer:
        form = await _form(request)
        study, _, order = form.get("fix").partition(" ")
        try:
            await exceptions.fix_exception(archive, study, _order_number(order))
        except RequestError as error:
            return await _show_queue(archive, request, error)
        return _back(form, "fixed")

    async def fix_marked(request: Request) -> Answer:
        form = await _form(request)
        try:
            fixes = [
                exceptions.Fix(study, _order_number(form.get(f"best.{study}")))
                for study in form.all("study")
                if form.get(f"best.{study}")
            ]
            failed = await exceptions.fix_exceptions(archive, fixes)
        except RequestError as error:
            return await _show_queue(archive, request, error)
        first = failed[0].error if failed else None
        return await _show_queue(archive, request, first) if isinstance(first, RequestError) else _back(form, "fixed")

    async def undo(request: Request) -> Answer:
        form = await _form(request)
        try:
            await exceptions.undo_exception(archive, form.get("undo"))
        except RequestError as error:
            return await _show_queue(archive, request, error)
        return _back(form, "undone")

    async def dismiss(request: Request) -> Answer:
        form = await _form(request)
        try:
            await exceptions.dismiss_exceptions(archive, form.all("study"), form.get("note"))
        except RequestError as error:
            return await _show_queue(archive, request, error)
        return _back(form, "dismissed")

    async def save_matching(request: Request) -> Answer:
        form = await _form(request)
        try:
            fields = {"attributes": form.all("attributes"), "score_min": whole_number(form, "score_min")}
            version = whole_number(form, "version") if form.get("version") else None
            await coercion.put_coercion(archive, form.get("name"), fields, version=version)
        except RequestError as error:
            return await _show_queue(archive, request, error)
        return _back(form, "saved")

    async def remove_matching(request: Request) -> Answer:
        form = await _form(request)
        try:
            await coercion.remove_coercion(archive, form.get("name"))
        except RequestError as error:
            return await _show_queue(archive, request, error)
        return _back(form, "saved")

    return {
        EXCEPTIONS_PATH: {"GET": queue},
        f"{EXCEPTIONS_PATH}/fix": {"POST": fix},
        f"{EXCEPTIONS_PATH}/fix-marked": {"POST": fix_marked},
        f"{EXCEPTIONS_PATH}/undo": {"POST": undo},
        f"{EXCEPTIONS_PATH}/dismiss": {"POST": dismiss},
        f"{EXCEPTIONS_PATH}/matching": {"POST": save_matching},
        f"{EXCEPTIONS_PATH}/matching/remove": {"POST": remove_matching},
        f"{EXCEPTIONS_PATH}/{{study}}": {"GET": one},
    }


# --- pages ---


async def _show_queue(archive: Archive, request: Request, error: RequestError | None = None) -> Answer:
    require(Permission.ORDER_READ)
    shown = request.query_params.get("show", "open")
    shown = shown if shown in SHOWN else "open"
    before = request.query_params.get("before", "")
    before_id = int(before) if before.isascii() and before.isdigit() and len(before) <= _DIGITS_MAX else None
    views: list[exceptions.ExceptionView] = []
    matches: list[exceptions.MatchedStudy] = []
    if shown == "matched":
        matches = await exceptions.list_matches(archive, before_id=before_id, limit=PAGE_MATCHES)
        last = matches[-1].id if len(matches) == PAGE_MATCHES else None
    else:
        views = await exceptions.look_at_exceptions(archive, state=shown, before_id=before_id, limit=PAGE_STUDIES)
        last = views[-1].row.id if len(views) == PAGE_STUDIES and views[-1].row is not None else None
    entries = await coercion.list_coercions(archive)
    values: dict[str, Any] = {
        "shown": shown,
        "views": views,
        "matches": matches,
        "counts": await exceptions.exception_counts(archive),
        "older": f"{EXCEPTIONS_PATH}?{urlencode({'show': shown, 'before': last})}" if last else "",
        "newest": f"{EXCEPTIONS_PATH}?{urlencode({'show': shown})}" if before else "",
        "entries": entries,
        "has_default": any(one.name == coercion.DEFAULT for one in entries),
        "usual": coercion.Coercion(),
        "known_attributes": tuple(coercion.COERCED),
        "score_max": coercion.NEVER,
        "default_name": coercion.DEFAULT,
        **_common(request, error),
    }
    return await page(archive, request, "exceptions.html", place="exceptions", status=number_of(error), **values)


async def _show_one(archive: Archive, request: Request, study: str) -> Answer:
    """One study with all orders that come near, and those that somebody looks for."""
    asked = request.query_params.get("order", "")[:64]
    view = await exceptions.get_exception(archive, study)
    named = await exceptions.orders_named(archive, study, asked) if asked else []
    values = {"view_of_study": view, "asked": asked, "named": named, **_common(request, None)}
    return await page(archive, request, "exception.html", place="exceptions", **values)


def _common(request: Request, error: RequestError | None) -> dict[str, Any]:
    view = view_of(request)
    done = request.query_params.get("done", "")
    return {
        "reason_text": lambda one: exceptions.reason_text(one, view.reader.gettext),
        "evidence_words": EVIDENCE,
        "how_words": HOW,
        "order_states": ORDER_STATES,
        "order_name": order_name,
        "may_manage": view.access.allows(Permission.ORDER_MANAGE),
        "may_view": view.access.allows(Permission.STUDY_VIEW),
        "may_search": view.access.allows(Permission.STUDY_SEARCH),
        "done": DONE.get(done, ""),
        "error": view.reader.say(error) if error else "",
    }


# --- helpers ---


def _order_number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX):
        raise InvalidRequestError(told("Say which order it is."))
    return int(text)


async def _form(request: Request) -> Form:
    require(Permission.ORDER_MANAGE)  # before anything of it is read
    form = await read_form(request)
    require_form_token(request, form.get(FORM_TOKEN_FIELD))
    return form


def _back(form: Form, done: str) -> Answer:
    shown = form.get("show")
    words = {"show": shown, "done": done} if shown in SHOWN[1:] else {"done": done}
    return Answer(
        HTTPStatus.SEE_OTHER,
        {"location": f"{EXCEPTIONS_PATH}?{urlencode(words, quote_via=quote)}", "cache-control": NO_STORE},
    )

"""`/worklist/patients/.../other` and what follows: another patient is looked for, to merge with, to link, or for a visit.

A merge is shown side by side with what will move, asked once more, and done; taking one back shows what goes back first.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from starlette.requests import Request

from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.errors import NotFoundError, RequestError
from fileroom.web.answers import Answer
from fileroom.web.console.form_pages import number_of, whole_number
from fileroom.web.console.forms import Form
from fileroom.web.console.page import page, view_of
from fileroom.web.console.patients_page import (
    PATIENTS_PATH,
    asked_text,
    patient_form,
    patient_number,
    show_patient_page,
    to_patient,
)
from fileroom.web.endpoint import Handler
from fileroom.worklist import merges, patient_editing, patient_moves
from fileroom.worklist.merge_preview import preview_merge, preview_unmerge
from fileroom.worklist.patient_search import PatientDetail, get_patient, search_patients

CANDIDATES_SHOWN: Final = 25
PURPOSES: Final = ("merge", "link", "visit")
_ONE: Final = f"{PATIENTS_PATH}/{{patient}}"
_DIGITS_MAX: Final = 15


def patient_merge_handlers(archive: Archive) -> dict[str, dict[str, Handler]]:
    """The pages and forms, by path and method."""

    async def other(request: Request) -> Answer:
        require(Permission.ORDER_MANAGE)
        return await _choose(archive, request)

    async def compare(request: Request) -> Answer:
        require(Permission.ORDER_MANAGE)
        number, retired = patient_number(request), _asked_number(request, "other")
        return await _compare(archive, request, number, retired)

    async def merge(request: Request) -> Answer:
        form = await patient_form(request)
        number, retired = patient_number(request), whole_number(form, "other")
        if not form.has("sure"):
            return await _compare(archive, request, number, retired, form=form)
        try:
            versions = whole_number(form, "survivor_version"), whole_number(form, "retired_version")
            await merges.merge_patients(archive, number, retired, versions=versions, reason=form.get("reason"))
        except RequestError as error:
            if isinstance(error, NotFoundError):
                raise
            return await _compare(archive, request, number, retired, error=error)
        return to_patient(number, "merged")

    async def ask_unmerge(request: Request) -> Answer:
        require(Permission.ORDER_MANAGE)
        number = patient_number(request)
        found = await preview_unmerge(archive, _asked_number(request, "merge"))
        values: dict[str, Any] = {"number": number, "found": found}
        return await page(archive, request, "patient_unmerge.html", place="worklist", **values)

    async def unmerge(request: Request, form: Form) -> Answer:
        effects = await merges.unmerge(archive, whole_number(form, "merge"), reason=form.get("reason"))
        back = next((one.number for one in effects if one.subject == "patient"), patient_number(request))
        return to_patient(back, "unmerged")

    async def link(request: Request, form: Form) -> Answer:
        await patient_editing.link_records(archive, patient_number(request), whole_number(form, "other"))
        return to_patient(patient_number(request), "linked")

    async def unlink(request: Request, form: Form) -> Answer:
        await patient_editing.unlink_records(archive, patient_number(request), whole_number(form, "other"))
        return to_patient(patient_number(request), "unlinked")

    async def move(_: Request, form: Form) -> Answer:
        target = whole_number(form, "other")
        await patient_moves.move_patient_visit(archive, whole_number(form, "visit"), target)
        return to_patient(target, "moved")

    async def move_back(request: Request, form: Form) -> Answer:
        await patient_moves.undo_move(archive, whole_number(form, "move"))
        return to_patient(patient_number(request), "moved-back")

    def acting(work: Callable[[Request, Form], Awaitable[Answer]]) -> Handler:
        """What is refused is told on the patient's page."""

        async def handle(request: Request) -> Answer:
            form = await patient_form(request)
            try:
                return await work(request, form)
            except RequestError as error:
                return await show_patient_page(archive, request, patient_number(request), error)

        return handle

    return {
        f"{_ONE}/other": {"GET": other},
        f"{_ONE}/merge": {"GET": compare, "POST": merge},
        f"{_ONE}/unmerge": {"GET": ask_unmerge, "POST": acting(unmerge)},
        f"{_ONE}/link": {"POST": acting(link)},
        f"{_ONE}/unlink": {"POST": acting(unlink)},
        f"{_ONE}/move": {"POST": acting(move)},
        f"{_ONE}/move-back": {"POST": acting(move_back)},
    }


# --- pages ---


async def _choose(archive: Archive, request: Request) -> Answer:
    found = await get_patient(archive, patient_number(request))
    purpose = request.query_params.get("for", "merge")
    text = asked_text(request, "text") if "text" in request.query_params else _likely(found)
    visit = _asked_number(request, "visit")
    rows = await search_patients(archive, text, limit=CANDIDATES_SHOWN + 1) if text else []
    values: dict[str, Any] = {
        "found": found,
        "purpose": purpose if purpose in PURPOSES else "merge",
        "visit": next((one for one in found.visits if one.id == visit), None),
        "text": text,
        "rows": [one for one in rows if one.id != found.id][:CANDIDATES_SHOWN],
        "more": len(rows) > CANDIDATES_SHOWN,
    }
    return await page(archive, request, "patient_other.html", place="worklist", **values)


async def _compare(
    archive: Archive,
    request: Request,
    number: int,
    retired: int,
    *,
    form: Form | None = None,
    error: RequestError | None = None,
) -> Answer:
    """The two beside each other; with a form that somebody has sent, the question once more."""
    preview = None
    try:
        preview = await preview_merge(archive, number, retired)
    except RequestError as problem:
        if isinstance(problem, NotFoundError):
            raise
        error = error or problem
    values: dict[str, Any] = {
        "survivor": await get_patient(archive, number),
        "retired": await get_patient(archive, retired),
        "preview": preview,
        "asks": form is not None and error is None,
        "reason": form.get("reason") if form is not None else "",
        "error": view_of(request).reader.say(error) if error else "",
    }
    return await page(archive, request, "patient_merge.html", place="worklist", status=number_of(error), **values)


# --- helpers ---


def _asked_number(request: Request, name: str) -> int:
    text = request.query_params.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX else 0


def _likely(found: PatientDetail) -> str:
    """What finds other records of the same person: the birth date, else the family name."""
    return found.birth_date or found.patient_name.split("=")[0].split("^")[0]

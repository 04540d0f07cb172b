"""`/break-glass`: seeing for a time, with a reason, what a row scope hides; `/admin/break-glass`: reviewing it."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode

from starlette.requests import Request

from fileroom.admin import break_glass as glass
from fileroom.admin.people import People
from fileroom.archive.hidden_studies import is_hidden
from fileroom.archive.services import Archive
from fileroom.core.access import ActorKind, Permission, current_access, require
from fileroom.core.errors import ConflictError, RequestError, told
from fileroom.web.answers import NO_STORE, Answer
from fileroom.web.authentication import IdentityCache
from fileroom.web.console.form_pages import Did, back_to, form_handler, number_of, whole_number
from fileroom.web.console.forms import own_path
from fileroom.web.console.page import page, view_of
from fileroom.web.endpoint import Handler

BREAK_PATH: Final = "/break-glass"
REVIEW_PATH: Final = "/admin/break-glass"
MINUTES: Final = (15, 30, 60, 120, 240, 480)
"""What the form offers, up to `admin.break_glass.MINUTES_MAX`."""


def break_glass_handlers(archive: Archive, people: People, cache: IdentityCache) -> dict[str, dict[str, Handler]]:
    """The pages and what their forms do, by path."""

    async def show(request: Request, **shown: Any) -> Answer:
        return await _show(archive, people, request, **shown)

    async def show_review(request: Request, **shown: Any) -> Answer:
        return await _show_review(archive, people, request, **shown)

    return {
        BREAK_PATH: {"GET": lambda request: show(request), "POST": form_handler(people, cache, _break, show)},
        f"{BREAK_PATH}/end": {"POST": form_handler(people, cache, _end, show)},
        REVIEW_PATH: {"GET": lambda request: show_review(request)},
        f"{REVIEW_PATH}/review": {"POST": form_handler(people, cache, _review, show_review)},
    }


async def hidden_behind_glass(archive: Archive, text: str) -> bool:
    """Whether whoever looks at a page can be told that there is a study outside their access."""
    access = current_access()
    may = access.kind is ActorKind.PERSON and access.allows(Permission.STUDY_BREAK_GLASS)
    return may and access.allows(Permission.STUDY_SEARCH) and await is_hidden(archive, text)


async def way_in(archive: Archive, request: Request, study_uid: str) -> Answer | None:
    """The page that offers the way to a study which the row scope hides; None where there is none, or no way."""
    if not await hidden_behind_glass(archive, study_uid):
        return None
    values = {"back": request.url.path, **_form_values()}
    return await page(archive, request, "break_glass.html", place="studies", status=HTTPStatus.NOT_FOUND, **values)


def _form_values() -> dict[str, Any]:
    return {
        "error": "",
        "hidden": True,
        "is_person": True,
        "sees_everything": False,
        "own": None,
        "reason": "",
        "minutes": MINUTES,
        "minutes_usual": glass.MINUTES_DEFAULT,
        "reason_chars_max": glass.REASON_CHARS_MAX,
    }


async def _show(
    archive: Archive, people: People, request: Request, *, error: RequestError | None = None, **_: Any
) -> Answer:
    access = require(Permission.STUDY_BREAK_GLASS)
    is_person = access.kind is ActorKind.PERSON and access.account_id is not None
    values = {
        **_form_values(),
        "hidden": False,
        "error": view_of(request).reader.say(error) if error else "",
        "is_person": is_person,
        "own": await glass.find_own_break_glass(people) if is_person else None,
        "sees_everything": access.rows.is_everything,
        "back": own_path(request.query_params.get("back", ""), "/"),
    }
    return await page(archive, request, "break_glass.html", place="studies", status=number_of(error), **values)


async def _show_review(
    archive: Archive, people: People, request: Request, *, error: RequestError | None = None, **_: Any
) -> Answer:
    shows_all = request.query_params.get("show") == "all"
    listed = await glass.list_break_glass(people, unreviewed_only=not shows_all)
    seen = await glass.seen_meanwhile(people, listed[: glass.REVIEWED_AT_ONCE_MAX])
    values = {
        "error": view_of(request).reader.say(error) if error else "",
        "rows": [(one, seen[one.id], _trail_of(one)) for one in listed[: glass.REVIEWED_AT_ONCE_MAX]],
        "more": len(listed) > glass.REVIEWED_AT_ONCE_MAX,
        "now": archive.now(),
        "shows_all": shows_all,
        "done": request.query_params.get("done", ""),
    }
    return await page(archive, request, "break_glass_review.html", place="admin", status=number_of(error), **values)


def _trail_of(one: glass.BrokenGlass) -> str:
    """The audit trail of that time and person."""
    span = {"user": one.login, "from": one.began_at.isoformat(), "to": one.ends_at.isoformat()}
    return f"/admin/audit?{urlencode(span)}"


async def _break(did: Did) -> Answer:
    if current_access().kind is not ActorKind.PERSON:
        require(Permission.STUDY_BREAK_GLASS)
        raise ConflictError(told("Only a person who has logged in can break the glass."))
    await glass.break_glass(did.people, did.form.get("reason"), whole_number(did.form, "minutes"))
    return _back(did)


async def _end(did: Did) -> Answer:
    if current_access().kind is not ActorKind.PERSON:
        require(Permission.STUDY_BREAK_GLASS)
        raise ConflictError(told("Only a person who has logged in can break the glass."))
    await glass.end_break_glass(did.people)
    return _back(did)


async def _review(did: Did) -> Answer:
    await glass.review_break_glass(did.people, whole_number(did.form, "id"), did.form.get("remark"))
    return back_to(REVIEW_PATH, "reviewed")


def _back(did: Did) -> Answer:
    return Answer(HTTPStatus.SEE_OTHER, {"location": own_path(did.form.get("back"), "/"), "cache-control": NO_STORE})

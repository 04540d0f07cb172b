"""`/routing/schedules`: when destinations are sent to and alerts keep quiet, each as a drawn week."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

from starlette.requests import Request

from fileroom.archive.services import Archive
from fileroom.core.access import Permission, current_access
from fileroom.core.errors import RequestError
from fileroom.routing import schedules
from fileroom.routing.calendars import ALWAYS, windows_from_text, windows_to_text
from fileroom.routing.schedules import NamedSchedule, drawn_week, schedule_users
from fileroom.web.answers import NO_STORE, Answer
from fileroom.web.authentication import FORM_TOKEN_FIELD, require_form_token
from fileroom.web.console.form_pages import number_of, whole_number
from fileroom.web.console.forms import Form, read_form
from fileroom.web.console.language import N_
from fileroom.web.console.page import page, view_of
from fileroom.web.endpoint import Handler

SCHEDULES_PATH: Final = "/routing/schedules"
WEEKDAYS: Final = (N_("Mon"), N_("Tue"), N_("Wed"), N_("Thu"), N_("Fri"), N_("Sat"), N_("Sun"))


def schedules_handlers(archive: Archive) -> dict[str, dict[str, Handler]]:
    """The page and what its forms do, by path and method."""

    async def show(request: Request, error: RequestError | None = None, typed: Form | None = None) -> Answer:
        found = await schedules.list_schedules(archive)
        now = archive.now()
        values: dict[str, Any] = {
            "schedules": [
                (
                    one,
                    drawn_week(one.schedule if one.enabled else ALWAYS, now),
                    _texts(one),
                    await schedule_users(archive.pool, one.name),
                )
                for one in found
            ],
            "weekdays": WEEKDAYS,
            "may_change": current_access().allows(Permission.ROUTING_MANAGE),
            "error": view_of(request).reader.say(error) if error else "",
            "typed": typed,
            "typed_was": typed.get("was") if typed else "",
            "done": request.query_params.get("done", ""),
        }
        return await page(archive, request, "schedules.html", place="routing", status=number_of(error), **values)

    async def save(request: Request) -> Answer:
        form = await _form(request)
        was = form.get("was")
        name = was or form.get("name")
        try:
            fields = {
                "windows": windows_from_text(form.get("windows")),
                "holidays": form.get("holidays"),
                "dates": form.get("dates"),
                "zone": form.get("zone"),
            }
            version = whole_number(form, "version") if was else None
            saved = await schedules.put_schedule(
                archive, name, fields, enabled=form.has("enabled"), version=version, new=not was
            )
        except RequestError as error:
            return await show(request, error, form)
        return _back(saved.name)

    async def remove(request: Request) -> Answer:
        form = await _form(request)
        try:
            await schedules.remove_schedule(archive, form.get("name"))
        except RequestError as error:
            return await show(request, error)
        return _back()

    return {
        SCHEDULES_PATH: {"GET": lambda request: show(request)},
        f"{SCHEDULES_PATH}/save": {"POST": save},
        f"{SCHEDULES_PATH}/remove": {"POST": remove},
    }


# --- helpers ---


def _texts(one: NamedSchedule) -> dict[str, str]:
    """As the form shows the fields."""
    return {
        "windows": windows_to_text(one.schedule),
        "holidays": one.schedule.holidays,
        "dates": " ".join(sorted(one.schedule.dates)),
        "zone": one.schedule.zone,
    }


async def _form(request: Request) -> Form:
    form = await read_form(request)
    require_form_token(request, form.get(FORM_TOKEN_FIELD))
    return form


def _back(name: str = "") -> Answer:
    mark = f"#schedule-{quote(name, safe='')}" if name else ""
    return Answer(HTTPStatus.SEE_OTHER, {"location": f"{SCHEDULES_PATH}?done=1{mark}", "cache-control": NO_STORE})

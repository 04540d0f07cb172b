"""`/routing/alerts`: what is alarming, who takes care of it, what was, and when something is an alert."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from starlette.requests import Request

from fileroom.archive.services import Archive
from fileroom.core.access import Permission, current_access, require
from fileroom.core.errors import InvalidRequestError, RequestError, told
from fileroom.routing import alerts
from fileroom.routing.alert_rules import ABOVE_USUAL, OF_DESTINATIONS, SEVERITIES, UNITS, AlertKind
from fileroom.routing.destinations import list_destinations
from fileroom.routing.schedules import list_schedules
from fileroom.web.answers import NO_STORE, Answer
from fileroom.web.authentication import FORM_TOKEN_FIELD, require_form_token
from fileroom.web.console.form_pages import number_of, whole_number
from fileroom.web.console.forms import Form, read_form
from fileroom.web.console.language import N_
from fileroom.web.console.page import page, view_of
from fileroom.web.endpoint import Handler

ALERTS_PATH: Final = "/routing/alerts"
HISTORY_SHOWN: Final = 50
KINDS: Final = {
    AlertKind.QUEUE_AGE: N_("Something waits for a destination for longer than (minutes)"),
    AlertKind.FAILURE_RATE: N_("More of the attempts fail than (percent)"),
    AlertKind.DEAD_LETTERS: N_("More objects were given up than"),
    AlertKind.QUARANTINED: N_("More objects could not be de-identified than"),
    AlertKind.DESTINATION_DOWN: N_("A destination is down for longer than (minutes)"),
    AlertKind.DISK: N_("The store's disk is fuller than (percent)"),
    AlertKind.RULE_ERROR: N_("A rule failed more often than"),
    AlertKind.ROUTING_LOOP: N_("Objects came back in a loop more often than"),
    AlertKind.EDGE_SILENT: N_("An edge is silent for longer than (minutes)"),
    AlertKind.FEED_SILENT: N_("An HL7 feed is silent for longer than (minutes)"),
    AlertKind.MESSAGES_FAILED: N_("HL7 messages to be mended or not delivered, more than"),
    AlertKind.CRITICAL_OVERDUE: N_("Critical findings not acknowledged in time, more than"),
}
"""What each kind looks at, with the limit behind it; message ids."""
EVENTS: Final = {
    "began": N_("began"),
    "told": N_("told"),
    "not told": N_("could not be told"),
    "acknowledged": N_("acknowledged"),
    "ended": N_("ended"),
}
SEVERITY_WORDS: Final = {"critical": N_("critical"), "warning": N_("warning")}


def alerts_handlers(archive: Archive) -> dict[str, dict[str, Handler]]:
    """The page and what its forms do, by path and method."""
    pages = _AlertPages(archive)
    return {
        ALERTS_PATH: {"GET": lambda request: pages.show(request)},
        f"{ALERTS_PATH}/acknowledge": {"POST": pages.acknowledge},
        f"{ALERTS_PATH}/save": {"POST": pages.save},
        f"{ALERTS_PATH}/remove": {"POST": pages.remove},
        f"{ALERTS_PATH}/usual": {"POST": pages.usual},
    }


class _AlertPages:
    """The handlers, over one archive."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    async def show(self, request: Request, error: RequestError | None = None, typed: Form | None = None) -> Answer:
        archive = self._archive
        now = await alerts.list_alerts(archive)
        ended = (await alerts.list_alerts(archive, ended=True))[:HISTORY_SHOWN]
        destinations = await list_destinations(archive)
        values: dict[str, Any] = {
            "alerts": now,
            "ended": ended,
            "events": await alerts.alert_events(archive, [one.id for one in (*now, *ended)]),
            "event_words": EVENTS,
            "severity_words": SEVERITY_WORDS,
            "conditions": await alerts.list_conditions(archive),
            "kinds": KINDS,
            "usual": ABOVE_USUAL,
            "units": UNITS,
            "of_destinations": OF_DESTINATIONS,
            "severities": SEVERITIES,
            "destinations": [one.name for one in destinations],
            "receivers": [one.name for one in destinations if one.kind in ("mail", "webhook")],
            "schedules": [one.name for one in await list_schedules(archive)],
            "may_change": current_access().allows(Permission.ROUTING_MANAGE),
            "error": view_of(request).reader.say(error) if error else "",
            "typed_was": typed.get("was") if typed else "",
            "typed": typed,
            "done": request.query_params.get("done", ""),
            "note_chars_max": alerts.NOTE_CHARS_MAX,
        }
        return await page(archive, request, "alerts.html", place="routing", status=number_of(error), **values)

    async def acknowledge(self, request: Request) -> Answer:
        require(Permission.ROUTING_MANAGE)
        form = await _form(request)
        try:
            await alerts.acknowledge_alert(self._archive, whole_number(form, "id"), form.get("note"))
        except RequestError as error:
            return await self.show(request, error)
        return _back()

    async def save(self, request: Request) -> Answer:
        require(Permission.ROUTING_MANAGE)
        form = await _form(request)
        was = form.get("was")
        try:
            version = whole_number(form, "version") if was else None
            await alerts.put_condition(
                self._archive,
                was or form.get("name"),
                _fields(form),
                enabled=form.has("enabled"),
                version=version,
                new=not was,
            )
        except RequestError as error:
            return await self.show(request, error, form)
        return _back()

    async def remove(self, request: Request) -> Answer:
        require(Permission.ROUTING_MANAGE)
        form = await _form(request)
        try:
            await alerts.remove_condition(self._archive, form.get("name"))
        except RequestError as error:
            return await self.show(request, error)
        return _back()

    async def usual(self, request: Request) -> Answer:
        require(Permission.ROUTING_MANAGE)
        await _form(request)
        await alerts.add_usual_alerts(self._archive)
        return _back()


def _fields(form: Form) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "kind": form.get("kind"),
        "severity": form.get("severity"),
        "destinations": form.all("destinations"),
        "notify": form.all("notify"),
        "quiet": form.get("quiet"),
        "window_min": whole_number(form, "window_min"),
        "repeat_min": whole_number(form, "repeat_min"),
    }
    if above := form.get("above"):
        try:
            fields["above"] = float(above.replace(",", "."))
        except ValueError as error:
            raise InvalidRequestError(told("{name} is a number.", name="above")) from error
    return fields


async def _form(request: Request) -> Form:
    form = await read_form(request)
    require_form_token(request, form.get(FORM_TOKEN_FIELD))
    return form


def _back() -> Answer:
    return Answer(HTTPStatus.SEE_OTHER, {"location": f"{ALERTS_PATH}?done=1", "cache-control": NO_STORE})

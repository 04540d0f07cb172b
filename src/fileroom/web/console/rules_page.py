"""`/routing/rules`: the rules in their order, and a page for each with its editor, a dry run, a back-test and its versions.

What the editor's buttons try is what stands in the form, saved or not; only Save changes anything.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode

import orjson
from starlette.requests import Request

from fileroom.admin.entries import EditedMeanwhileError, Entry, Section, list_entries
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, current_access, require
from fileroom.core.errors import InvalidRequestError, RequestError, told
from fileroom.routing import rule_trials, rules
from fileroom.routing.condition_tree import text_of_tree
from fileroom.routing.destinations import list_destinations
from fileroom.routing.expression import TEXT_CHARS_MAX, ExpressionError
from fileroom.routing.rule_fields import ON, destinations_of
from fileroom.routing.urgency import Urgency
from fileroom.web.answers import NO_STORE, Answer
from fileroom.web.authentication import FORM_TOKEN_FIELD, require_form_token
from fileroom.web.console.form_pages import number_of, whole_number
from fileroom.web.console.forms import Form, read_form
from fileroom.web.console.language import N_
from fileroom.web.console.page import page, view_of
from fileroom.web.endpoint import Handler

RULES_PATH: Final = "/routing/rules"
RULE_PATH: Final = f"{RULES_PATH}/rule"
FORM_BYTES_MAX: Final = 16 * TEXT_CHARS_MAX
"""A condition in a form is URL-encoded: up to twelve bytes for a character."""
OBJECTS_SHOWN_MAX: Final = 100
STUDIES_SHOWN_MAX: Final = 50
DAYS_DEFAULT: Final = 30
ON_TITLES: Final = {
    "instance": N_("each object, at once"),
    "series": N_("when the series is complete"),
    "study": N_("when the study is complete"),
}
URGENCY_TITLES: Final = {
    "stat": N_("STAT: before everything else"),
    "routine": N_("Routine"),
    "bulk": N_("Bulk: when there is room"),
}
_NAME_CHARS_MAX: Final = 64
_TREATMENTS: Final = Section("treatments", "treatment", lambda _, fields: dict(fields))
"""Only their names are read here."""


@dataclasses.dataclass(frozen=True, slots=True)
class Marked:
    """A condition with the place where it is wrong."""

    before: str
    wrong: str
    after: str


def rules_handlers(archive: Archive) -> dict[str, dict[str, Handler]]:
    """The pages, and what their forms do, by path and method."""
    pages = RulePages(archive)
    posts: dict[str, Handler] = {
        "/save": pages.save,
        "/try": pages.try_it,
        "/backtest": pages.backtest,
        "/enable": pages.enable,
        "/disable": pages.disable,
        "/move": pages.move,
        "/remove": pages.remove,
        "/restore": pages.restore,
    }
    return {
        RULES_PATH: {"GET": pages.show},
        RULE_PATH: {"GET": pages.show_rule},
        **{RULES_PATH + path: {"POST": handler} for path, handler in posts.items()},
    }


class RulePages:
    """The handlers, over one archive."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    # --- what is shown ---

    async def show(self, request: Request) -> Answer:
        """The list."""
        return await self._list(request)

    async def show_rule(self, request: Request) -> Answer:
        """One rule; without a name, the fields of a new one."""
        require(Permission.ROUTING_READ)
        name = request.query_params.get("name", "")
        if not name:
            return await self._rule(request, None)
        return await self._rule(request, await rules.get_rule(self._archive, name))

    # --- what forms do ---

    async def save(self, request: Request) -> Answer:
        """Add a rule, or change it."""
        require(Permission.ROUTING_MANAGE)
        form = await _form(request)
        was = form.get("was")
        now = await rules.get_rule(self._archive, was) if was else None
        try:
            saved = await rules.put_rule(
                self._archive,
                was or form.get("name"),
                fields_of_form(form),
                enabled=bool(form.get("enabled")),
                version=whole_number(form, "version") if was else None,
                new=not was,
            )
        except EditedMeanwhileError as error:
            return await self._rule(request, error.now, typed=form, error=error)
        except RequestError as error:
            return await self._rule(request, now, typed=form, error=error)
        return _to_rule(saved.name)

    async def try_it(self, request: Request) -> Answer:
        """What the condition in the form says to the objects of a study."""
        require(Permission.ROUTING_READ)
        form = await _form(request)
        now = await self._saved(form)
        study = form.get("study")
        try:
            if not study:
                raise InvalidRequestError(told("Say which study, by its Study Instance UID."))
            tried = await rule_trials.try_rule(self._archive, {"when": _when(form)}, study, called=form.get("called"))
        except RequestError as error:
            return await self._rule(request, now, typed=form, error=error)
        return await self._rule(request, now, typed=form, tried=tried)

    async def backtest(self, request: Request) -> Answer:
        """What the condition in the form would have matched."""
        require(Permission.ROUTING_READ)
        form = await _form(request)
        now = await self._saved(form)
        try:
            found = await rule_trials.backtest(self._archive, {"when": _when(form)}, whole_number(form, "days"))
        except RequestError as error:
            return await self._rule(request, now, typed=form, error=error)
        return await self._rule(request, now, typed=form, backtest=found)

    async def enable(self, request: Request) -> Answer:
        """Let it take part."""
        return await self._switch(request, enabled=True)

    async def disable(self, request: Request) -> Answer:
        """Let it take part no more."""
        return await self._switch(request, enabled=False)

    async def move(self, request: Request) -> Answer:
        """Let it be asked earlier or later."""
        require(Permission.ROUTING_MANAGE)
        form = await _form(request)
        await rules.move_rule(self._archive, form.get("name"), earlier=form.get("to") == "earlier")
        return _redirect(RULES_PATH)

    async def remove(self, request: Request) -> Answer:
        """Remove it."""
        await rules.remove_rule(self._archive, (await _form(request)).get("name"))
        return _redirect(RULES_PATH)

    async def restore(self, request: Request) -> Answer:
        """Make it what it was."""
        require(Permission.ROUTING_MANAGE)
        form = await _form(request)
        name = form.get("name")
        try:
            await rules.restore_rule(self._archive, name, whole_number(form, "version"))
        except InvalidRequestError as error:
            return await self._rule(request, await rules.get_rule(self._archive, name), error=error)
        return _to_rule(name)

    # --- pages ---

    async def _switch(self, request: Request, *, enabled: bool) -> Answer:
        form = await _form(request)
        try:
            await rules.set_rule_enabled(self._archive, form.get("name"), enabled=enabled)
        except InvalidRequestError as error:
            return await self._list(request, error=error)
        return _redirect(RULES_PATH)

    async def _list(self, request: Request, *, error: RequestError | None = None) -> Answer:
        found = await rules.list_rules(self._archive)
        known = {one.name for one in await list_destinations(self._archive)}
        return await page(
            self._archive,
            request,
            "rules.html",
            place="routing",
            status=number_of(error),
            rules=found,
            conditions={one.name: condition_text(one.fields["when"]) for one in found},
            destinations={one.name: destinations_of(one.fields) for one in found},
            known=known,
            on_titles=ON_TITLES,
            may_manage=current_access().allows(Permission.ROUTING_MANAGE),
            error=_said(request, error),
        )

    async def _rule(
        self,
        request: Request,
        rule: Entry | None,
        *,
        typed: Form | None = None,
        error: RequestError | None = None,
        **shown: Any,
    ) -> Answer:
        values: dict[str, Any] = {
            "rule": rule,
            "texts": field_texts(rule, typed),
            "destinations": [one.name for one in await list_destinations(self._archive)],
            "treatments": [one.name for one in await list_entries(self._archive.pool, _TREATMENTS)],
            "versions": await rules.rule_versions(self._archive, rule.name) if rule else [],
            "may_manage": current_access().allows(Permission.ROUTING_MANAGE),
            "may_search": current_access().allows(Permission.STUDY_SEARCH),
            "on_titles": ON_TITLES,
            "urgency_titles": URGENCY_TITLES,
            "condition_text": condition_text,
            "moment_of": dt.datetime.fromisoformat,
            "error": _said(request, error),
            "marked": marked(typed.get("when") if typed else "", error),
            "changed_meanwhile": isinstance(error, EditedMeanwhileError),
            "done": request.query_params.get("done", ""),
            "called": typed.get("called") if typed else "",
            "study": typed.get("study") if typed else request.query_params.get("study", ""),
            "days": typed.get("days", str(DAYS_DEFAULT)) if typed else str(DAYS_DEFAULT),
            "tried": None,
            "backtest": None,
            "objects_shown_max": OBJECTS_SHOWN_MAX,
            "studies_shown_max": STUDIES_SHOWN_MAX,
            "condition_chars_max": TEXT_CHARS_MAX,
        }
        return await page(
            self._archive, request, "rule.html", place="routing", status=number_of(error), **{**values, **shown}
        )

    async def _saved(self, form: Form) -> Entry | None:
        return await rules.get_rule(self._archive, form.get("was")) if form.get("was") else None


def fields_of_form(form: Form) -> dict[str, Any]:
    """The fields of a rule as services take them. Raises InvalidRequestError."""
    actions = form.get("actions")
    urgency = form.get("urgency")
    return {
        "when": _when(form),
        "on": form.get("on", ON[0]),
        "to": [] if actions else form.all("to"),
        "priority": whole_number(form, "priority"),
        "stop": bool(form.get("stop")),
        "urgency": urgency or Urgency.ROUTINE.value,
        "treatment": form.get("treatment"),
        "hold": bool(form.get("hold")) and not actions,
        "actions": _json(actions) if actions else [],
        "description": form.get("description"),
    }


def field_texts(rule: Entry | None, typed: Form | None) -> dict[str, Any]:
    """What stands in the editor: what was typed, else what the rule is, else what a new one begins with."""
    if typed is not None:
        names = ("name", "when", "on", "priority", "urgency", "treatment", "actions", "description")
        found: dict[str, Any] = {name: typed.get(name) for name in names}
        found |= {name: bool(typed.get(name)) for name in ("stop", "hold", "enabled")}
        return {**found, "to": typed.all("to"), "name": found["name"] or (rule.name if rule else "")}
    fields = rule.fields if rule else {}
    return {
        "name": rule.name if rule else "",
        "when": condition_text(fields.get("when", ""), as_tree=True),
        "on": fields.get("on", ON[0]),
        "priority": str(fields.get("priority", 100)),
        "urgency": str(fields.get("urgency", Urgency.ROUTINE.value)),
        "treatment": fields.get("treatment", ""),
        "actions": orjson.dumps(fields["actions"]).decode() if fields.get("actions") else "",
        "description": fields.get("description", ""),
        "stop": fields.get("stop", False),
        "hold": fields.get("hold", False),
        "enabled": rule.enabled if rule else True,
        "to": fields.get("to", []),
    }


def condition_text(when: Any, *, as_tree: bool = False) -> str:
    """A condition as it is read: CEL; `as_tree`: a tree as it was written."""
    if isinstance(when, str):
        return when
    return orjson.dumps(when, option=orjson.OPT_INDENT_2).decode() if as_tree else text_of_tree(when)


def marked(when: str, error: RequestError | None) -> Marked | None:
    """Where a condition is wrong, to be shown in its text."""
    if not isinstance(error, ExpressionError) or not when or when.startswith("{"):
        return None
    start = min(error.position, len(when))
    end = min(start + max(error.length, 1), len(when))
    return Marked(when[:start], when[start:end] or " ", when[end:])


async def _form(request: Request) -> Form:
    form = await read_form(request, FORM_BYTES_MAX)
    require_form_token(request, form.get(FORM_TOKEN_FIELD))
    return form


def _when(form: Form) -> Any:
    """CEL, or JSON where it begins like it; browsers end lines by two characters."""
    text = form.get("when").replace("\r\n", "\n")
    return _json(text) if text.startswith("{") else text


def _json(text: str) -> Any:
    try:
        return orjson.loads(text)
    except ValueError as error:
        raise InvalidRequestError(told("This is no JSON: {why}", why=str(error)[:200])) from error


def _said(request: Request, error: RequestError | None) -> str:
    return view_of(request).reader.say(error) if error is not None else ""


def _redirect(path: str) -> Answer:
    return Answer(HTTPStatus.SEE_OTHER, {"location": path, "cache-control": NO_STORE})


def _to_rule(name: str) -> Answer:
    return _redirect(f"{RULE_PATH}?{urlencode({'name': name, 'done': 1})}")

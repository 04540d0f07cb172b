"""`/admin/settings`: every setting with its value and where it comes from; changes are looked at before they are applied.

The form carries the version that it was made from and the values that it showed. So whoever sends it changes what they have
touched and nothing else, and learns when somebody else was quicker.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request

from fileroom.admin import configuration as services
from fileroom.admin.configuration import (
    Intent,
    InvalidConfigurationError,
    SettingState,
    VersionConflictError,
)
from fileroom.admin.configuration_changes import Change
from fileroom.admin.configuration_file import write_file
from fileroom.admin.configuration_sections import Configuration
from fileroom.admin.people import People
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, current_access, require
from fileroom.core.errors import RequestError
from fileroom.core.live_settings import settings_table
from fileroom.core.setting_marks import Group, SettingKind, Value
from fileroom.web.answers import NO_STORE, Answer
from fileroom.web.authentication import IdentityCache
from fileroom.web.console.form_pages import Did, FormWork, back_to, form_handler, number_of, whole_number
from fileroom.web.console.forms import Form
from fileroom.web.console.page import page, view_of
from fileroom.web.console.settings_history import history_handlers
from fileroom.web.endpoint import Handler

SETTINGS_PATH: Final = "/admin/settings"
SOUGHT_CHARS_MAX: Final = 100
_NEW: Final = "set."
_SHOWN: Final = "was."
_DEFAULT: Final = "default."


@dataclass(frozen=True, slots=True)
class Touched:
    """What a form changes: values by setting as they were typed, None for the default; and the version it was made from."""

    values: Mapping[str, str | None]
    expected: int


def settings_handlers(archive: Archive, people: People, cache: IdentityCache) -> dict[str, dict[str, Handler]]:
    """The pages and what their forms do, by path."""
    configuration = Configuration(people, archive.sections)

    async def show(request: Request, **shown: Any) -> Answer:
        return await _show(archive, configuration, request, **shown)

    async def export(_request: Request) -> Answer:
        return await _export(configuration)

    async def review(did: Did) -> Answer:
        return await _review(archive, configuration, did)

    async def apply(did: Did) -> Answer:
        return await _apply(archive, configuration, did)

    works: dict[str, FormWork] = {"/review": review, "/apply": apply}
    forms = {SETTINGS_PATH + path: {"POST": form_handler(people, cache, work, show)} for path, work in works.items()}
    return {
        SETTINGS_PATH: {"GET": lambda request: show(request)},
        f"{SETTINGS_PATH}/file": {"GET": export},
        **forms,
        **history_handlers(archive, configuration, cache),
    }


async def _show(
    archive: Archive,
    configuration: Configuration,
    request: Request,
    *,
    error: RequestError | None = None,
    touched: Touched | None = None,
    **shown: Any,
) -> Answer:
    require(Permission.SETTINGS_READ)
    reader = view_of(request).reader
    sought = request.query_params.get("q", "").strip()[:SOUGHT_CHARS_MAX]
    only_changed = "changed" in request.query_params
    number, states = await services.read_settings(configuration)
    wrong = {one.name: reader.tell(one.reason) for one in getattr(error, "problems", ())}
    fitting = [
        state
        for state in states
        if (_is_sought(state, sought, reader.gettext) and (state.stored is not None or not only_changed))
        or state.entry.name in wrong
    ]
    managed = [state for state in fitting if state.entry.kind is SettingKind.MANAGED]
    groups = [(group, [state for state in managed if state.entry.group == group]) for group in Group]
    values: dict[str, Any] = {
        "version": touched.expected if touched else number,
        "groups": [(str(group), members) for group, members in groups if members],
        "from_outside": [state for state in fitting if state.entry.kind is not SettingKind.MANAGED],
        "may_manage": current_access().allows(Permission.SETTINGS_MANAGE),
        "typed": touched.values if touched else {},
        "wrong": wrong,
        "sought": sought,
        "only_changed": only_changed,
        "count_changed": sum(state.stored is not None for state in states),
        "error": "" if error is None or wrong else reader.say(error),
        "done": request.query_params.get("done", ""),
        "tell": reader.tell,
        "as_typed": _as_typed,
    }
    return await page(archive, request, "settings.html", place="admin", status=number_of(error), **{**values, **shown})


async def _review(archive: Archive, configuration: Configuration, did: Did) -> Answer:
    """What would change, for a second look."""
    require(Permission.SETTINGS_MANAGE)
    touched = _touched(did.form)
    try:
        applied = await services.change_settings(
            configuration, touched.values, Intent(expected=touched.expected, dry_run=True)
        )
    except VersionConflictError as error:
        return await _look_again(archive, did, touched, error.yours, conflict=error)
    except InvalidConfigurationError as error:
        return await did.show(did.request, error=error, touched=touched)
    if not applied.changes:
        return back_to(SETTINGS_PATH, "same")
    return await _look_again(archive, did, touched, applied.changes)


async def _apply(archive: Archive, configuration: Configuration, did: Did) -> Answer:
    require(Permission.SETTINGS_MANAGE)
    touched = _touched(did.form)
    try:
        applied = await services.change_settings(
            configuration, touched.values, Intent(did.form.get("comment"), touched.expected)
        )
    except VersionConflictError as error:
        return await _look_again(archive, did, touched, error.yours, conflict=error)
    except InvalidConfigurationError as error:
        return await did.show(did.request, error=error, touched=touched)
    return back_to(SETTINGS_PATH, str(applied.number) if applied.changes else "same")


async def _look_again(
    archive: Archive,
    did: Did,
    touched: Touched,
    changes: Sequence[Change],
    *,
    conflict: VersionConflictError | None = None,
) -> Answer:
    return await page(
        archive,
        did.request,
        "settings_review.html",
        place="admin",
        status=number_of(conflict),
        changes=changes,
        table=settings_table(),
        conflict=conflict,
        expected=conflict.latest.number if conflict else touched.expected,
        touched=dict(touched.values),
        comment=did.form.get("comment"),
    )


async def _export(configuration: Configuration) -> Answer:
    number, document = await services.read_document(configuration)
    settings, table = configuration.people.settings, settings_table()
    outside = {name: getattr(settings, name) for name in settings.model_fields_set & table.keys()}
    headers = {
        "content-type": "application/toml",
        "content-disposition": f'attachment; filename="fileroom-config-{number}.toml"',
        "cache-control": NO_STORE,
    }
    return Answer(200, headers, write_file(document, number, table, outside).encode())


def _touched(form: Form) -> Touched:
    """Raises InvalidRequestError."""
    values: dict[str, str | None] = {}
    for name, entry in settings_table().items():
        if entry.kind is not SettingKind.MANAGED:
            continue
        if form.get(_DEFAULT + name):
            values[name] = None
        elif form.has(_NEW + name):
            typed = form.get(_NEW + name)
            if not form.has(_SHOWN + name) or typed != form.get(_SHOWN + name):
                values[name] = typed
    return Touched(values, whole_number(form, "expected"))


def _as_typed(value: Value) -> str:
    """As it stands in a field of the form."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _is_sought(state: SettingState, sought: str, say: Any) -> bool:
    """By every word, in the setting's name, its help or the heading above it."""
    entry = state.entry
    text = (
        f"{entry.name} {entry.variable} {say(entry.description)} {say(entry.group) if entry.group else ''}".casefold()
    )
    return all(word in text for word in sought.casefold().split())

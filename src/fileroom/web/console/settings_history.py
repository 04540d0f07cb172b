"""`/admin/settings/history`: the versions of the configuration, what makes one of another, and the way back to one."""

from __future__ import annotations

from typing import Any, Final

from starlette.requests import Request

from fileroom.admin import configuration as services
from fileroom.admin.configuration import VERSIONS_PER_PAGE, Intent, VersionConflictError
from fileroom.admin.configuration_changes import Change
from fileroom.admin.configuration_sections import Configuration
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, current_access, require
from fileroom.core.errors import RequestError
from fileroom.web.answers import Answer
from fileroom.web.authentication import IdentityCache
from fileroom.web.console.form_pages import Did, back_to, form_handler, number_of, whole_number
from fileroom.web.console.page import page, view_of
from fileroom.web.endpoint import Handler

HISTORY_PATH: Final = "/admin/settings/history"
ROLLBACK_PATH: Final = "/admin/settings/rollback"
_DIGITS_MAX: Final = 15


def history_handlers(
    archive: Archive, configuration: Configuration, cache: IdentityCache
) -> dict[str, dict[str, Handler]]:
    """The page and its form, by path."""

    async def show(request: Request, **shown: Any) -> Answer:
        return await _show(archive, configuration, request, **shown)

    async def go_back(did: Did) -> Answer:
        require(Permission.SETTINGS_MANAGE)
        intent = Intent(did.form.get("comment"), whole_number(did.form, "expected"))
        try:
            applied = await services.roll_back(configuration, whole_number(did.form, "number"), intent)
        except VersionConflictError as error:
            return await did.show(did.request, error=error)
        return back_to(HISTORY_PATH, str(applied.number) if applied.changes else "same")

    return {
        HISTORY_PATH: {"GET": lambda request: show(request)},
        ROLLBACK_PATH: {"POST": form_handler(configuration.people, cache, go_back, show)},
    }


async def _show(
    archive: Archive, configuration: Configuration, request: Request, *, error: RequestError | None = None
) -> Answer:
    """`first` and `second` compare two versions; `back` shows what going back to one would change."""
    require(Permission.SETTINGS_READ)
    asked = {name: _number(request, name) for name in ("first", "second", "back", "before")}
    versions = await services.list_versions(configuration, before=asked["before"])
    newest = await services.list_versions(configuration, limit=1)
    compared: list[Change] | None = None
    back: tuple[Change, ...] | None = None
    may_manage = current_access().allows(Permission.SETTINGS_MANAGE)
    if asked["first"] is not None and asked["second"] is not None:
        compared = await services.compare_versions(configuration, asked["first"], asked["second"])
    if asked["back"] is not None and may_manage:
        back = (await services.roll_back(configuration, asked["back"], Intent(dry_run=True))).changes
    return await page(
        archive,
        request,
        "settings_history.html",
        place="admin",
        status=number_of(error),
        versions=versions,
        newest=newest[0].number if newest else 0,
        older=versions[-1].number if len(versions) == VERSIONS_PER_PAGE else None,
        asked=asked,
        compared=compared,
        back=back,
        may_manage=may_manage,
        error=view_of(request).reader.say(error) if error else "",
        done=request.query_params.get("done", ""),
    )


def _number(request: Request, name: str) -> int | None:
    """A version's number in the address; None where there is none, or something else."""
    text = request.query_params.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX else None

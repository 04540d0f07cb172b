"""`/routing/treatments`: how objects are changed on the way, and what a treatment would make of an object of the archive.

Every treatment has a page of its own, `/routing/treatments/treatment?name=`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode

from starlette.requests import Request

from fileroom.admin.entries import EditedMeanwhileError
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, current_access, require
from fileroom.core.errors import RequestError
from fileroom.dicom import uids
from fileroom.pixels.encoders import targets
from fileroom.pixels.transcode import lossless_targets
from fileroom.routing import treatments
from fileroom.routing.deid_projects import list_projects
from fileroom.routing.treatment_fields import FALLBACK_TIMES, with_defaults
from fileroom.transform.legacy import SINGLE_OF
from fileroom.transform.split_merge import MERGE_WAYS, SPLIT_WAYS
from fileroom.web.answers import NO_STORE, Answer
from fileroom.web.authentication import FORM_TOKEN_FIELD, require_form_token
from fileroom.web.console.form_pages import number_of, whole_number
from fileroom.web.console.forms import Form, read_form
from fileroom.web.console.language import N_
from fileroom.web.console.page import page, view_of
from fileroom.web.console.treatment_form import WORDS, fields_of_form, rows_of
from fileroom.web.endpoint import Handler

TREATMENTS_PATH: Final = "/routing/treatments"
_ONE: Final = f"{TREATMENTS_PATH}/treatment"
SPLIT_WORDS: Final = {
    "attribute": N_("by the value of an attribute"),
    "echo": N_("by echo"),
    "orientation": N_("by orientation"),
    "frames": N_("single and multi-frame images apart"),
    "count": N_("after so many images"),
}
MERGE_WORDS: Final = {
    "frame of reference": N_("those of the same frame of reference"),
    "study": N_("all of a modality in the study"),
}
FALLBACK_WORDS: Final = {"refused": N_("where the destination refuses them"), "always": N_("always")}


def treatments_handlers(archive: Archive) -> dict[str, dict[str, Handler]]:
    """The pages, and what their forms do, by path and method."""
    pages = TreatmentPages(archive)
    return {
        TREATMENTS_PATH: {"GET": pages.show},
        _ONE: {"GET": pages.show_one},
        f"{TREATMENTS_PATH}/save": {"POST": pages.save},
        f"{TREATMENTS_PATH}/try": {"POST": pages.try_out},
        f"{TREATMENTS_PATH}/remove": {"POST": pages.remove},
    }


class TreatmentPages:
    """The handlers, over one archive."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    async def show(self, request: Request) -> Answer:
        """The list."""
        found = await treatments.list_treatments(self._archive)
        values: dict[str, Any] = {
            "treatments": [(one, with_defaults(one.fields)) for one in found],
            "users": {one.name: await treatments.treatment_users(self._archive, one.name) for one in found},
            "may_manage": current_access().allows(Permission.ROUTING_MANAGE),
            "uid_name": uids.uid_name,
        }
        return await page(self._archive, request, "treatments.html", place="routing", **values)

    async def show_one(self, request: Request) -> Answer:
        """One treatment; without a name, a new one."""
        require(Permission.ROUTING_READ)
        name = request.query_params.get("name", "")
        if not name:
            return await self._one(request, "", {}, is_new=True)
        entry = await treatments.get_treatment(self._archive, name)
        return await self._one(request, name, entry.fields, version=entry.version, enabled=entry.enabled)

    async def save(self, request: Request) -> Answer:
        """Add or change one."""
        require(Permission.ROUTING_MANAGE)
        form = await _form(request)
        name, is_new = form.get("name"), bool(form.get("is_new"))
        fields: dict[str, Any] = {}
        version = None if is_new else whole_number(form, "version")
        enabled = bool(form.get("enabled"))
        try:
            fields = fields_of_form(form)
            saved = await treatments.put_treatment(
                self._archive, name, fields, enabled=enabled, version=version, new=is_new
            )
        except EditedMeanwhileError as error:
            return await self._one(request, name, fields, version=error.now.version, enabled=enabled, error=error)
        except RequestError as error:
            return await self._one(
                request, name, fields, is_new=is_new, version=version or 0, enabled=enabled, error=error, form=form
            )
        return _to(f"{_ONE}?{urlencode({'name': saved.name, 'done': 'saved'})}")

    async def try_out(self, request: Request) -> Answer:
        """What it would make of an object; nothing is saved."""
        require(Permission.ROUTING_READ)
        form = await _form(request)
        name, is_new = form.get("name"), bool(form.get("is_new"))
        shown: dict[str, Any] = {
            "is_new": is_new,
            "version": 0 if is_new else whole_number(form, "version"),
            "enabled": bool(form.get("enabled")),
            "tried": form.get("sop_instance_uid"),
            "form": form,
        }
        fields: dict[str, Any] = {}
        try:
            fields = fields_of_form(form)
            trial = await treatments.try_treatment(self._archive, name or "new", fields, form.get("sop_instance_uid"))
        except RequestError as error:
            return await self._one(request, name, fields, error=error, **shown)
        return await self._one(request, name, fields, trial=trial, **shown)

    async def remove(self, request: Request) -> Answer:
        """Remove it."""
        require(Permission.ROUTING_MANAGE)
        form = await _form(request)
        name = form.get("name")
        try:
            await treatments.remove_treatment(self._archive, name)
        except RequestError as error:
            entry = await treatments.get_treatment(self._archive, name)
            return await self._one(request, name, entry.fields, version=entry.version, error=error)
        return _to(TREATMENTS_PATH)

    async def _one(
        self,
        request: Request,
        name: str,
        fields: Mapping[str, Any],
        *,
        is_new: bool = False,
        version: int = 0,
        enabled: bool = True,
        error: RequestError | None = None,
        trial: treatments.Trial | None = None,
        tried: str = "",
        form: Form | None = None,
    ) -> Answer:
        shown = with_defaults(fields)
        rows = rows_of(shown["steps"]) if not request.query_params.get("json") else None
        lossless = sorted(lossless_targets() - {uids.EXPLICIT_VR_BIG_ENDIAN}, key=uids.uid_name)
        values: dict[str, Any] = {
            "name": name,
            "fields": shown,
            "rows": rows,
            "steps_json": form.get("steps") if form is not None and form.has("steps") else _pretty(shown["steps"]),
            "is_new": is_new,
            "version": version,
            "enabled": enabled,
            "words": WORDS,
            "split_ways": [(way, SPLIT_WORDS[way]) for way in SPLIT_WAYS],
            "merge_ways": [(way, MERGE_WORDS[way]) for way in MERGE_WAYS],
            "fallback_times": [(when, FALLBACK_WORDS[when]) for when in FALLBACK_TIMES],
            "classes": sorted(SINGLE_OF, key=uids.uid_name),
            "syntaxes": lossless,
            "lossy_syntaxes": sorted((one for one in targets() if one not in lossless), key=uids.uid_name),
            "uid_name": uids.uid_name,
            "projects": [one.name for one in await list_projects(self._archive)],
            "users": await treatments.treatment_users(self._archive, name) if name and not is_new else [],
            "versions": await treatments.treatment_versions(self._archive, name) if name and version else [],
            "may_manage": current_access().allows(Permission.ROUTING_MANAGE),
            "error": view_of(request).reader.say(error) if error is not None else "",
            "trial": trial,
            "tried": tried or request.query_params.get("object", ""),
            "done": request.query_params.get("done", ""),
        }
        return await page(self._archive, request, "treatment.html", place="routing", status=number_of(error), **values)


async def _form(request: Request) -> Form:
    form = await read_form(request)
    require_form_token(request, form.get(FORM_TOKEN_FIELD))
    return form


def _pretty(steps: list[dict[str, Any]]) -> str:
    return json.dumps(steps, indent=1, ensure_ascii=False) if steps else ""


def _to(address: str) -> Answer:
    return Answer(HTTPStatus.SEE_OTHER, {"location": address, "cache-control": NO_STORE})

"""`/routing/destinations`: where objects are sent. Each has a page with its state and its fields, `/routing/destinations/NAME`.

The form of a destination is made from the fields that its kind tells; secrets are never shown, an empty one stays as it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

from starlette.requests import Request

from fileroom.admin.entries import EditedMeanwhileError
from fileroom.admin.nodes import list_nodes
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, current_access, require
from fileroom.core.errors import InvalidRequestError, RequestError, told
from fileroom.routing import destinations
from fileroom.routing.destination_fields import COMMON, fields_of_destination, with_texts
from fileroom.routing.destination_kind import DestinationKind
from fileroom.routing.destinations import ProbeResult
from fileroom.routing.kinds import all_kinds, kind_named
from fileroom.routing.target_fields import FieldType, TargetField, fields_of, filled
from fileroom.web.answers import NO_STORE, Answer
from fileroom.web.authentication import FORM_TOKEN_FIELD, require_form_token
from fileroom.web.console.destination_now import now_values
from fileroom.web.console.form_pages import number_of, whole_number
from fileroom.web.console.forms import Form, read_form
from fileroom.web.console.language import N_
from fileroom.web.console.page import page, view_of
from fileroom.web.endpoint import Handler

DESTINATIONS_PATH: Final = "/routing/destinations"
_ONE: Final = DESTINATIONS_PATH + "/{name}"
_FORMS: Final = "/routing/destination"
KIND_WORDS: Final = {
    "dicom": N_("DICOM node (C-STORE)"),
    "stow": N_("DICOMweb (STOW-RS)"),
    "folder": N_("Folder or mounted share"),
    "bucket": N_("Bucket (S3, Google, Azure)"),
    "edge": N_("Centre, by the edge link"),
    "edge_inbox": N_("Edge, which fetches it"),
    "mail": N_("E-mail notice"),
    "webhook": N_("Webhook"),
    "pool": N_("Pool of destinations"),
}
STATE_WORDS: Final = {"enabled": N_("enabled"), "held": N_("held"), "disabled": N_("disabled")}


def destinations_handlers(archive: Archive) -> dict[str, dict[str, Handler]]:
    """The pages, and what their forms do, by path and method."""
    pages = DestinationPages(archive)
    return {
        DESTINATIONS_PATH: {"GET": pages.show},
        _ONE: {"GET": pages.show_one},
        f"{_FORMS}/new": {"GET": pages.show_new},
        f"{_FORMS}/save": {"POST": pages.save},
        f"{_FORMS}/probe": {"POST": pages.probe},
        f"{_FORMS}/state": {"POST": pages.set_state},
        f"{_FORMS}/remove": {"POST": pages.remove},
    }


class DestinationPages:
    """The handlers, over one archive."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    async def show(self, request: Request) -> Answer:
        """The list."""
        kinds = all_kinds()
        values: dict[str, Any] = {
            "destinations": await destinations.list_destinations(self._archive),
            "kinds": list(kinds.usable),
            "broken": kinds.broken,
            "kind_words": KIND_WORDS,
            "state_words": STATE_WORDS,
            "may_manage": current_access().allows(Permission.ROUTING_MANAGE),
            "done": request.query_params.get("done", ""),
        }
        return await page(self._archive, request, "destinations.html", place="routing", **values)

    async def show_one(self, request: Request) -> Answer:
        """One destination."""
        return await self._one(request, request.path_params["name"])

    async def show_new(self, request: Request) -> Answer:
        """The form of a new one of a kind."""
        require(Permission.ROUTING_READ)
        kind = kind_named(request.query_params.get("kind", "dicom"))
        return await self._form(request, "", kind, {"kind": kind.name, "target": {}}, is_new=True)

    async def save(self, request: Request) -> Answer:
        """Add or change one."""
        require(Permission.ROUTING_MANAGE)
        form = await _read(request)
        name, is_new = form.get("name"), bool(form.get("is_new"))
        kind = kind_named(form.get("kind"))
        version = None if is_new else whole_number(form, "version")
        fields: dict[str, Any] = {"kind": kind.name, "target": {}}
        try:
            fields = _fields_of_form(kind, form)
            saved = await destinations.put_destination(
                self._archive, name, fields, enabled=bool(form.get("enabled")), version=version, new=is_new
            )
        except EditedMeanwhileError as error:
            return await self._form(request, name, kind, fields, version=error.now.version, error=error)
        except RequestError as error:
            return await self._form(request, name, kind, fields, is_new=is_new, version=version or 0, error=error)
        return _to(saved.name, "saved")

    async def probe(self, request: Request) -> Answer:
        """Ask it now; the page tells the answer."""
        form = await _read(request)
        name = form.get("name")
        return await self._one(request, name, probed=await destinations.probe_destination(self._archive, name))

    async def set_state(self, request: Request) -> Answer:
        """Enable, disable, hold or release it."""
        require(Permission.ROUTING_MANAGE)
        form = await _read(request)
        name = form.get("name")
        match form.get("do"):
            case "enable" | "disable" as what:
                await destinations.set_destination_enabled(self._archive, name, enabled=what == "enable")
            case "hold":
                await destinations.hold_destination(self._archive, name)
            case "release":
                await destinations.release_destination(self._archive, name)
            case _:
                raise InvalidRequestError(told("A destination is enabled, disabled, held or released."))
        return _to(name, "state")

    async def remove(self, request: Request) -> Answer:
        """Remove it."""
        require(Permission.ROUTING_MANAGE)
        name = (await _read(request)).get("name")
        try:
            await destinations.remove_destination(self._archive, name)
        except RequestError as error:
            return await self._one(request, name, error=error)
        return Answer(
            HTTPStatus.SEE_OTHER, {"location": f"{DESTINATIONS_PATH}?done=removed", "cache-control": NO_STORE}
        )

    async def _one(
        self, request: Request, name: str, *, probed: ProbeResult | None = None, error: RequestError | None = None
    ) -> Answer:
        found = await destinations.get_destination(self._archive, name)
        kind = all_kinds().usable.get(found.kind)
        fields = fields_of_destination(found)
        more: dict[str, Any] = {
            "destination": found,
            "enabled": found.enabled,
            "probed": probed,
            "probe_answer": view_of(request).reader.tell(probed.answer) if probed is not None else "",
            "users": await destinations.destination_users(self._archive.pool, name),
            "versions": await destinations.destination_versions(self._archive, name),
            **await now_values(self._archive, request, found),
        }
        return await self._form(request, name, kind, fields, version=found.version, error=error, **more)

    async def _form(
        self,
        request: Request,
        name: str,
        kind: DestinationKind | None,
        fields: Mapping[str, Any],
        *,
        is_new: bool = False,
        version: int = 0,
        error: RequestError | None = None,
        **more: Any,
    ) -> Answer:
        own = fields_of(kind)
        values: dict[str, Any] = {
            "name": name,
            "kind": str(fields["kind"]),
            "kind_words": KIND_WORDS,
            "state_words": STATE_WORDS,
            "own_fields": _shown(own, fields["target"]) if kind is not None else [],
            "target_json": json.dumps(fields["target"], indent=1, ensure_ascii=False) if not own else "",
            "common_fields": _shown(COMMON, _flat(fields), kind),
            "choices": await self._choices(),
            "is_new": is_new,
            "version": version,
            "enabled": True,
            "destination": None,
            "probed": None,
            "users": [],
            "versions": [],
            "installed": kind is not None,
            "may_manage": current_access().allows(Permission.ROUTING_MANAGE),
            "error": view_of(request).reader.say(error) if error is not None else "",
            "done": request.query_params.get("done", ""),
            "say": view_of(request).reader.tell,
            **more,
        }
        return await page(
            self._archive, request, "destination_form.html", place="routing", status=number_of(error), **values
        )

    async def _choices(self) -> dict[str, list[str]]:
        """What exists for fields that name something."""
        if not current_access().allows(Permission.NODE_READ):
            return {}
        return {"node": [one.name for one in await list_nodes(self._archive.pool)]}


def _fields_of_form(kind: DestinationKind, form: Form) -> dict[str, Any]:
    """What somebody wrote. An empty secret stays what it was; a mark that is not set is not sent."""
    texts: dict[str, str] = {}
    own = fields_of(kind)
    for prefix, one in [("target.", field) for field in own] + [("", field) for field in COMMON]:
        name = prefix + one.name
        if one.type is FieldType.FLAG:
            texts[name] = "yes" if form.get(name) else "no"
        elif one.type is FieldType.SECRET:
            if form.get(f"{name}.there") and not form.exactly(name):
                texts[name] = "secret"
            else:
                texts[name] = form.exactly(name)
        elif form.has(name):
            texts[name] = form.exactly(name) if one.type is FieldType.LINES else form.get(name)
    made = with_texts(kind, {}, texts)
    if not own:
        try:
            made["target"] = json.loads(form.get("target_json") or "{}")
        except ValueError as error:
            raise InvalidRequestError(told("The target cannot be read as JSON.")) from error
    return made


def _flat(fields: Mapping[str, Any]) -> dict[str, Any]:
    throttle = fields.get("throttle", {})
    return {**fields, **{f"throttle.{key}": value for key, value in throttle.items()}}


def _shown(
    fields: tuple[TargetField, ...], values: Mapping[str, Any], kind: DestinationKind | None = None
) -> list[dict[str, Any]]:
    """Fields with their texts, as the form shows them. A secret only tells whether there is one."""
    whole, rows = filled(fields, values), []
    for one in fields:
        value = whole[one.name]
        choices = [
            choice
            for choice in one.choices
            if kind is None or one.name != "confirmation" or choice in kind.confirmations
        ]
        text = "" if one.type is FieldType.SECRET else _text(value)
        rows.append({"field": one, "text": text, "is_set": bool(value), "choices": choices})
    return rows


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(
            f"{one.get('destination')}:{one.get('weight', 1)}" if isinstance(one, Mapping) else str(one)
            for one in value
        )
    return f"{value:g}" if isinstance(value, float) else str(value)


async def _read(request: Request) -> Form:
    form = await read_form(request)
    require_form_token(request, form.get(FORM_TOKEN_FIELD))
    return form


def _to(name: str, done: str) -> Answer:
    address = f"{DESTINATIONS_PATH}/{quote(name, safe='')}?done={done}"
    return Answer(HTTPStatus.SEE_OTHER, {"location": address, "cache-control": NO_STORE})

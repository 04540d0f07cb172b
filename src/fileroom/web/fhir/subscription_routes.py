"""`/fhir/Subscription`: making, reading, changing and ending subscriptions (FHIR R4 Subscription)."""

from __future__ import annotations

import contextlib
import re
from http import HTTPStatus
from typing import Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.routing import BaseRoute, Route

from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.errors import InvalidRequestError, told
from fileroom.fhir import subscriptions
from fileroom.fhir.elements import Resource
from fileroom.fhir.subscriptions import KIND, RemovedError, Subscription, subscription_resource
from fileroom.web.answers import Answer
from fileroom.web.fhir.outcomes import GoneError, UnprocessableError, fhir_endpoint, read_resource_body, resource_answer
from fileroom.web.fhir.words import FHIR_PATH, words_for

LIST_MAX: Final = 100
_VERSION: Final = re.compile(r'W/"(\d{1,9})"')


def subscription_routes(archive: Archive) -> list[BaseRoute]:
    """The routes below FHIR_PATH."""
    service = _Service(archive)
    path = f"{FHIR_PATH}/{KIND}"
    one = f"{path}/{{id}}"
    return [
        Route(path, fhir_endpoint(path, {"GET": service.search, "POST": service.create})),
        Route(one, fhir_endpoint(one, {"GET": service.read, "PUT": service.update, "DELETE": service.delete})),
    ]


class _Service:
    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    async def search(self, request: Request) -> Answer:
        """Those that there are; `_id` and `status` narrow it down."""
        require(Permission.ROUTING_READ)
        asked = {
            name: value for name, value in request.query_params.items() if value and name in ("_id", "status", "_after")
        }
        after = asked.get("_after", "0")
        if not (after.isascii() and after.isdigit() and len(after) < 19):
            raise InvalidRequestError(told("This page does not exist; begin at the first one."))
        found = await subscriptions.list_subscriptions(
            self._archive,
            number=asked.get("_id", ""),
            state=asked.get("status", ""),
            after=int(after),
            limit=LIST_MAX + 1,
        )
        base = f"{words_for(self._archive, request).base}/{KIND}"
        links = [{"relation": "self", "url": f"{base}?{urlencode(asked)}" if asked else base}]
        if len(found) > LIST_MAX:
            links.append({"relation": "next", "url": f"{base}?{urlencode(asked | {'_after': found[LIST_MAX - 1].id})}"})
        bundle: Resource = {"resourceType": "Bundle", "type": "searchset", "link": links}
        entries = [
            {"fullUrl": f"{base}/{one.id}", "resource": subscription_resource(one), "search": {"mode": "match"}}
            for one in found[:LIST_MAX]
        ]
        return resource_answer({**bundle, "entry": entries} if entries else bundle)

    async def read(self, request: Request) -> Answer:
        """One."""
        try:
            return _shown(await subscriptions.get_subscription(self._archive, str(request.path_params["id"])))
        except RemovedError as error:
            raise GoneError(error.sentence) from error

    async def create(self, request: Request) -> Answer:
        """Make one."""
        return await self._put(request, "")

    async def update(self, request: Request) -> Answer:
        """Change one; with If-Match only the version that is named."""
        return await self._put(request, str(request.path_params["id"]))

    async def delete(self, request: Request) -> Answer:
        """End one."""
        with contextlib.suppress(RemovedError):
            await subscriptions.remove_subscription(self._archive, str(request.path_params["id"]))
        return Answer(HTTPStatus.NO_CONTENT, {"cache-control": "no-store"})

    async def _put(self, request: Request, number: str) -> Answer:
        require(Permission.ROUTING_MANAGE)
        words = words_for(self._archive, request)
        resource = await read_resource_body(request, KIND)
        if number and resource.get("id") != number:
            raise InvalidRequestError(told("The id of the resource is not that of the address."))
        match = _VERSION.fullmatch(request.headers.get("if-match", ""))
        try:
            made, is_new = await subscriptions.put_subscription(
                self._archive, resource, words, number, version=int(match[1]) if match else None
            )
        except RemovedError as error:
            raise GoneError(error.sentence) from error
        except InvalidRequestError as error:
            raise UnprocessableError(error.sentence) from error
        answer = _shown(made, HTTPStatus.CREATED if is_new else HTTPStatus.OK)
        return answer.with_headers({"location": f"{words.base}/{KIND}/{made.id}"}) if is_new else answer


def _shown(one: Subscription, status: int = HTTPStatus.OK) -> Answer:
    return resource_answer(subscription_resource(one), status, {"etag": f'W/"{one.version}"'})

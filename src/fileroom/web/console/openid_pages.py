"""`/login/openid`: leaving for the OpenID provider, and coming back from it.

What `admin.openid_login` wants to remember meanwhile is kept in a cookie of ten minutes that scripts cannot read.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from starlette.requests import Request

from fileroom.admin.openid_login import OpenIdAnswer, begin_openid_login, finish_openid_login
from fileroom.admin.people import People
from fileroom.archive.services import Archive
from fileroom.core.limits import OPENID_LOGIN_S
from fileroom.web.address import own_origin
from fileroom.web.answers import NO_STORE, Answer
from fileroom.web.console.forms import own_path
from fileroom.web.console.login import TOLD_AT_THE_DOOR, begun, client_of, show_login_page
from fileroom.web.endpoint import Handler

OPENID_PATH: Final = "/login/openid"
OPENID_RETURN_PATH: Final = "/login/openid/return"
_COOKIE: Final = "fileroom_openid"
_SECURE_COOKIE: Final = "__Host-fileroom_openid"


def openid_handler(archive: Archive, people: People) -> Handler:
    """To the provider."""

    async def handle(request: Request) -> Answer:
        following = own_path(request.query_params.get("next", "/"), "/")
        try:
            start = await begin_openid_login(people, own_origin(request) + OPENID_RETURN_PATH, following)
        except TOLD_AT_THE_DOOR as error:
            return await show_login_page(archive, request, following, error=error)
        # Lax: it must come along when the provider sends the browser back.
        more = "; Secure" if request.scope["scheme"] == "https" else ""
        cookie = f"{_name(request)}={start.flow}; Path=/; Max-Age={OPENID_LOGIN_S}; HttpOnly; SameSite=Lax{more}"
        headers = {"location": start.address, "cache-control": NO_STORE, "set-cookie": cookie}
        return Answer(HTTPStatus.SEE_OTHER, headers)

    return handle


def openid_return_handler(archive: Archive, people: People) -> Handler:
    """Back from the provider, with a code or with the reason why not."""

    async def handle(request: Request) -> Answer:
        asked = request.query_params
        answer = OpenIdAnswer(asked.get("state", ""), asked.get("code", ""), asked.get("error", ""), asked.get("iss"))
        try:
            session, following = await finish_openid_login(
                people, request.cookies.get(_name(request), ""), answer, client_of(request)
            )
        except TOLD_AT_THE_DOOR as error:
            return await show_login_page(archive, request, "/", error=error)
        return begun(request, session, own_path(following, "/"))

    return handle


def _name(request: Request) -> str:
    return _SECURE_COOKIE if request.scope["scheme"] == "https" else _COOKIE

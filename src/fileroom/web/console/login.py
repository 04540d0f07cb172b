"""`/login` and `/logout`: password, then the code where the account has a second factor.

Both addresses are open to everybody. The session's secret goes into the cookie and nowhere else.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

from starlette.requests import Request

from fileroom.admin.logins import Client, finish_log_in, log_in
from fileroom.admin.openid_login import logout_address
from fileroom.admin.passkey_logins import finish_log_in_by_passkey, log_in_by_passkey
from fileroom.admin.people import People
from fileroom.admin.sessions import NewSession, end_session
from fileroom.archive.services import Archive
from fileroom.core.errors import (
    ConflictError,
    FileroomError,
    NotAllowedError,
    NotAuthenticatedError,
    ProviderDownError,
    RequestError,
    TooManyAttemptsError,
)
from fileroom.web.address import client_address, own_origin
from fileroom.web.answers import NO_STORE, Answer
from fileroom.web.authentication import FORM_TOKEN_FIELD, LOGIN_PATH, IdentityCache
from fileroom.web.console.forms import own_path, read_form
from fileroom.web.console.page import page, view_of
from fileroom.web.console.passkey_pages import site_of
from fileroom.web.credentials import form_token, no_session_cookie, read_head, session_cookie, session_secret
from fileroom.web.endpoint import Handler
from fileroom.web.errors import error_answer

CODE_PATH: Final = "/login/code"
LOGOUT_PATH: Final = "/logout"
TOLD_AT_THE_DOOR: Final = (
    NotAuthenticatedError,
    TooManyAttemptsError,
    NotAllowedError,
    ConflictError,
    ProviderDownError,
)
"""Why somebody does not come in: said above the form, which stays."""


def login_page_handler(archive: Archive) -> Handler:
    """The form for login and password."""

    async def handle(request: Request) -> Answer:
        return await show_login_page(archive, request, request.query_params.get("next", "/"))

    return handle


def login_handler(archive: Archive, people: People) -> Handler:
    """What the form sends: a session begins, or the page says why not."""

    async def handle(request: Request) -> Answer:
        form = await read_form(request)
        following, login = own_path(form.get("next"), "/"), form.get("username")
        try:
            session = await log_in(people, login, form.exactly("password"), client_of(request))
        except TOLD_AT_THE_DOOR as error:
            return await show_login_page(archive, request, following, login=login, error=error)
        return begun(request, session, following)

    return handle


def code_page_handler(archive: Archive) -> Handler:
    """The form for the code."""

    async def handle(request: Request) -> Answer:
        return await _code_page(archive, request, request.query_params.get("next", "/"))

    return handle


def code_handler(archive: Archive, people: People) -> Handler:
    """What the form of the code sends."""

    async def handle(request: Request) -> Answer:
        form = await read_form(request)
        following = own_path(form.get("next"), "/")
        half = session_secret(read_head(request.scope)) or ""
        try:
            session = await finish_log_in(people, half, form.get("code"), client_of(request))
        except (NotAuthenticatedError, TooManyAttemptsError) as error:
            return await _code_page(archive, request, following, error=error)
        return begun(request, session, following)

    return handle


def passkey_login_handler(archive: Archive, people: People) -> Handler:
    """What the script sends with the answer of a passkey: instead of the password, or as the second step."""

    async def handle(request: Request) -> Answer:
        form = await read_form(request)
        following, credential, is_second = own_path(form.get("next"), "/"), form.get("credential"), form.get("step")
        try:
            if is_second:
                half = session_secret(read_head(request.scope)) or ""
                session = await finish_log_in_by_passkey(people, site_of(request), half, credential, client_of(request))
            else:
                session = await log_in_by_passkey(people, site_of(request), credential, client_of(request))
        except NotAuthenticatedError as error:
            shown = _code_page if is_second else show_login_page
            return await shown(archive, request, following, error=error)
        return begun(request, session, following)

    return handle


def logout_handler(archive: Archive, people: People, cache: IdentityCache) -> Handler:
    """The session ends, then that of the OpenID provider it came from. A form of another session, or of none, ends nothing."""

    async def handle(request: Request) -> Answer:
        form = await read_form(request)
        head = read_head(request.scope)
        secret = session_secret(head)
        if secret is not None and form.get(FORM_TOKEN_FIELD) == form_token(secret):
            onward = await logout_address(people, secret, own_origin(request) + LOGIN_PATH)
            await end_session(people, secret)
            cache.forget()
            if onward is not None:
                # Browsers let a form lead nowhere but here (form-action), so the page that answers it leads on.
                answer = await page(
                    archive, request, "logged_out.html", onward=onward, provider=archive.settings.oidc_name
                )
                return answer.with_headers({"set-cookie": no_session_cookie(head), "refresh": f"0; url={onward}"})
        headers = {"location": LOGIN_PATH, "cache-control": NO_STORE, "set-cookie": no_session_cookie(head)}
        return Answer(HTTPStatus.SEE_OTHER, headers)

    return handle


def client_of(request: Request) -> Client:
    """Where a login comes from."""
    return Client(client_address(request), request.headers.get("user-agent", ""))


def begun(request: Request, session: NewSession, following: str) -> Answer:
    """The session's cookie, and on to where they wanted to go, or to the second step."""
    where = f"{CODE_PATH}?next={quote(following, safe='')}" if session.second_factor_due else following
    cookie = session_cookie(read_head(request.scope), session.secret)
    return Answer(HTTPStatus.SEE_OTHER, {"location": where, "cache-control": NO_STORE, "set-cookie": cookie})


async def show_login_page(
    archive: Archive, request: Request, following: str, *, login: str = "", error: FileroomError | None = None
) -> Answer:
    """The form for login and password, with what went wrong before."""
    provider = archive.settings.oidc_name if archive.settings.oidc_issuer else ""
    values = {"following": own_path(following, "/"), "login": login[:64], "openid_name": provider}
    return await _told(archive, request, "login.html", values, error)


async def _code_page(
    archive: Archive, request: Request, following: str, *, error: RequestError | None = None
) -> Answer:
    return await _told(archive, request, "login_code.html", {"following": own_path(following, "/")}, error)


async def _told(
    archive: Archive, request: Request, template: str, values: dict[str, Any], error: FileroomError | None
) -> Answer:
    """The form again, with what went wrong and the status and headers of it."""
    if error is None:
        return await page(archive, request, template, error="", wait_s=0, **values)
    problem = error_answer(error, LOGIN_PATH)
    wait_s = error.retry_after_s if isinstance(error, TooManyAttemptsError) else 0
    said = view_of(request).reader.say(error)
    answer = await page(archive, request, template, status=problem.status, error=said, wait_s=wait_s, **values)
    kept = {name: value for name, value in problem.headers.items() if name in ("retry-after", "www-authenticate")}
    return answer.with_headers(kept)

"""`/account`: what a person keeps of themselves: choices, password, second factor, sessions, tokens."""

from __future__ import annotations

import zoneinfo
from http import HTTPStatus
from typing import Any, Final

import segno
from markupsafe import Markup
from starlette.requests import Request

from fileroom.admin import passkeys, sessions, tokens, totp
from fileroom.admin.accounts import change_own_password, change_own_profile, find_own_account
from fileroom.admin.fhir_scopes import split_scopes
from fileroom.admin.logins import confirm_password, is_fresh_login
from fileroom.admin.people import People
from fileroom.admin.profiles import LANGUAGES as PROFILE_LANGUAGES
from fileroom.admin.profiles import Profile
from fileroom.admin.roles import permissions_from_names
from fileroom.archive.services import Archive
from fileroom.core.access import Permission
from fileroom.core.errors import RequestError
from fileroom.web.address import client_address
from fileroom.web.answers import NO_STORE, Answer
from fileroom.web.authentication import NEW_PASSWORD_PATH, IdentityCache, identity_of
from fileroom.web.console.form_pages import Did, FormWork, back_to, form_handler, number_of, whole_number
from fileroom.web.console.forms import Form
from fileroom.web.console.page import page, view_of
from fileroom.web.console.passkey_pages import passkey_works
from fileroom.web.console.permission_words import PERMISSION_WORDS
from fileroom.web.endpoint import Handler
from fileroom.web.viewer_config import HANGING_PROTOCOLS

ACCOUNT_PATH: Final = "/account"


def account_handlers(archive: Archive, people: People, cache: IdentityCache) -> dict[str, dict[str, Handler]]:
    """The page and what its forms do, by path."""

    async def show(request: Request, **shown: Any) -> Answer:
        return await _show(archive, people, request, **shown)

    works: dict[str, FormWork] = {
        **passkey_works(),
        "/profile": _keep_profile,
        "/password": _change_password,
        "/second-factor": _offer_second_factor,
        "/second-factor/confirm": _confirm_second_factor,
        "/second-factor/remove": _remove_second_factor,
        "/sessions/end": _end_session,
        "/tokens": _create_token,
        "/tokens/revoke": _revoke_token,
    }
    forms = {ACCOUNT_PATH + path: {"POST": form_handler(people, cache, work, show)} for path, work in works.items()}

    async def show_due(request: Request, **shown: Any) -> Answer:
        await find_own_account(people)
        error = shown.get("error")
        said = view_of(request).reader.say(error) if error else ""
        least = people.settings.password_chars_min
        return await page(
            archive, request, "new_password.html", status=number_of(error), error=said, password_chars_min=least
        )

    due: dict[str, Handler] = {
        "GET": lambda request: show_due(request),
        "POST": form_handler(people, cache, _change_due_password, show_due),
    }
    return {ACCOUNT_PATH: {"GET": lambda request: show(request)}, NEW_PASSWORD_PATH: due, **forms}


async def _show(
    archive: Archive, people: People, request: Request, *, error: RequestError | None = None, **shown: Any
) -> Answer:
    account = await find_own_account(people)
    values: dict[str, Any] = {
        "account": account,
        "sessions": await sessions.list_own_sessions(people),
        "session_id": identity_of(request).session_id,
        "tokens": await tokens.list_own_tokens(people),
        "passkeys": await passkeys.list_own_passkeys(people),
        "site": request.url.hostname,
        "is_fresh": await is_fresh_login(people, identity_of(request).session_id),
        "codes_left": await totp.count_recovery_codes(people),
        "permission_words": PERMISSION_WORDS,
        "permissions": sorted(identity_of(request).access.permissions),
        "hanging_protocols": HANGING_PROTOCOLS,
        "time_zones": sorted(zoneinfo.available_timezones()),
        "profile_languages": PROFILE_LANGUAGES,
        "password_chars_min": people.settings.password_chars_min,
        "done": request.query_params.get("done", ""),
        "offered": None,
        "qr": "",
        "recovery_codes": None,
        "new_token": None,
    }
    return await page(
        archive,
        request,
        "account.html",
        status=number_of(error),
        error=view_of(request).reader.say(error) if error else "",
        **{**values, **shown},
    )


async def _keep_profile(did: Did) -> Answer:
    form = did.form
    before = (await find_own_account(did.people)).profile
    profile = Profile(
        form.get("language"),
        form.get("time_zone"),
        form.get("theme"),
        form.get("density"),
        before.columns,
        form.get("layout"),
        form.get("hanging_protocol"),
    )
    await change_own_profile(did.people, profile)
    return back_to(ACCOUNT_PATH, "profile")


async def _change_password(did: Did) -> Answer:
    await _replace_password(did)
    return back_to(ACCOUNT_PATH, "password")


async def _change_due_password(did: Did) -> Answer:
    await _replace_password(did)
    return Answer(HTTPStatus.SEE_OTHER, {"location": "/", "cache-control": NO_STORE})


async def _replace_password(did: Did) -> None:
    old, new = did.form.exactly("old"), did.form.exactly("new")
    await _confirm(did, old)
    await change_own_password(did.people, identity_of(did.request).session_id, old, new)


async def _offer_second_factor(did: Did) -> Answer:
    await _confirm(did, did.form.exactly("password"))
    offered = await totp.offer_totp(did.people)
    return await did.show(did.request, offered=offered, qr=_qr_code(offered.uri))


async def _confirm_second_factor(did: Did) -> Answer:
    return await did.show(did.request, recovery_codes=await totp.confirm_totp(did.people, did.form.get("code")))


async def _remove_second_factor(did: Did) -> Answer:
    await _confirm(did, did.form.exactly("password"))
    await totp.remove_own_totp(did.people)
    return back_to(ACCOUNT_PATH, "second-factor")


async def _end_session(did: Did) -> Answer:
    await sessions.end_own_session(did.people, whole_number(did.form, "id"))
    return back_to(ACCOUNT_PATH, "session")


async def _create_token(did: Did) -> Answer:
    secret = await tokens.create_own_token(did.people, token_request(did.form))
    return await did.show(did.request, new_token=secret)


async def _revoke_token(did: Did) -> Answer:
    await tokens.revoke_own_token(did.people, whole_number(did.form, "id"))
    return back_to(ACCOUNT_PATH, "token")


def _qr_code(text: str) -> Markup:
    """A drawing within the page: nothing is fetched, and the secret is in no address."""
    drawing = segno.make(text, error="m", micro=False).svg_inline(border=4, dark="#000", light="#fff", omitsize=True)
    return Markup(drawing)  # noqa: S704 - made here, of lines alone


async def _confirm(did: Did, password: str) -> None:
    """Whoever finds an open browser must not make the account their own."""
    await confirm_password(did.people, password, client_address(did.request))


def token_request(form: Form) -> tokens.TokenRequest:
    """Of a form: no permission marked means all, no days without an end."""
    permissions: frozenset[Permission] | None = permissions_from_names(form.all("permission")) or None
    return tokens.TokenRequest(
        form.get("name"),
        permissions,
        whole_number(form, "days") if form.get("days") else None,
        split_scopes(form.get("fhir_scopes")),
        whole_number(form, "fhir_patient") if form.get("fhir_patient") else None,
    )

"""`/account`: what a person keeps of themselves: choices, password, second factor, sessions, tokens."""

from __future__ import annotations

import zoneinfo
from typing import Any, Final

from starlette.requests import Request

from fileroom.admin import sessions, tokens, totp
from fileroom.admin.accounts import change_own_password, change_own_profile, find_own_account
from fileroom.admin.logins import confirm_password
from fileroom.admin.people import People
from fileroom.admin.profiles import LANGUAGES as PROFILE_LANGUAGES
from fileroom.admin.profiles import Profile
from fileroom.admin.roles import permissions_from_names
from fileroom.archive.services import Archive
from fileroom.core.access import Permission
from fileroom.core.errors import RequestError
from fileroom.web.answers import Answer
from fileroom.web.authentication import IdentityCache, identity_of
from fileroom.web.console.form_pages import Did, FormWork, back_to, form_handler, number_of, whole_number
from fileroom.web.console.forms import Form
from fileroom.web.console.page import page
from fileroom.web.endpoint import Handler

ACCOUNT_PATH: Final = "/account"


def account_handlers(archive: Archive, people: People, cache: IdentityCache) -> dict[str, dict[str, Handler]]:
    """The page and what its forms do, by path."""

    async def show(request: Request, **shown: Any) -> Answer:
        return await _show(archive, people, request, **shown)

    works: dict[str, FormWork] = {
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
    return {ACCOUNT_PATH: {"GET": lambda request: show(request)}, **forms}


async def _show(
    archive: Archive, people: People, request: Request, *, error: RequestError | None = None, **shown: Any
) -> Answer:
    account = await find_own_account(people)
    values: dict[str, Any] = {
        "account": account,
        "sessions": await sessions.list_own_sessions(people),
        "session_id": identity_of(request).session_id,
        "tokens": await tokens.list_own_tokens(people),
        "codes_left": await totp.count_recovery_codes(people),
        "permissions": sorted(identity_of(request).access.permissions),
        "time_zones": sorted(zoneinfo.available_timezones()),
        "profile_languages": PROFILE_LANGUAGES,
        "password_chars_min": people.settings.password_chars_min,
        "done": request.query_params.get("done", ""),
        "offered": None,
        "recovery_codes": None,
        "new_token": None,
    }
    return await page(
        archive, request, "account.html", status=number_of(error), error=str(error or ""), **{**values, **shown}
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
        before.layout,
        before.hanging_protocol,
    )
    await change_own_profile(did.people, profile)
    return back_to(ACCOUNT_PATH, "profile")


async def _change_password(did: Did) -> Answer:
    old, new = did.form.exactly("old"), did.form.exactly("new")
    await _confirm(did, old)
    await change_own_password(did.people, identity_of(did.request).session_id, old, new)
    return back_to(ACCOUNT_PATH, "password")


async def _offer_second_factor(did: Did) -> Answer:
    await _confirm(did, did.form.exactly("password"))
    return await did.show(did.request, offered=await totp.offer_totp(did.people))


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


async def _confirm(did: Did, password: str) -> None:
    """Whoever finds an open browser must not make the account their own."""
    await confirm_password(did.people, password, did.request.client.host if did.request.client else "")


def token_request(form: Form) -> tokens.TokenRequest:
    """Of a form: no permission marked means all, no days without an end."""
    permissions: frozenset[Permission] | None = permissions_from_names(form.all("permission")) or None
    return tokens.TokenRequest(form.get("name"), permissions, whole_number(form, "days") if form.get("days") else None)

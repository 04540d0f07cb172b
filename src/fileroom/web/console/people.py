"""`/admin/people`: accounts, roles and the tokens of programs, for whoever may manage them."""

from __future__ import annotations

from typing import Any, Final

from starlette.requests import Request

from fileroom.admin import accounts, lockout, roles, sessions, tokens, totp
from fileroom.admin.people import People
from fileroom.admin.people_versions import EditedMeanwhileError, rows_of_fields
from fileroom.admin.row_scopes import LISTS, row_scope_from_json, row_scope_to_json
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, RowScope, require
from fileroom.core.errors import RequestError
from fileroom.web.answers import Answer
from fileroom.web.authentication import IdentityCache
from fileroom.web.console.account import token_request
from fileroom.web.console.form_pages import Did, FormWork, back_to, form_handler, number_of, whole_number
from fileroom.web.console.forms import Form
from fileroom.web.console.page import page, view_of
from fileroom.web.console.permission_words import PERMISSION_WORDS
from fileroom.web.endpoint import Handler

PEOPLE_PATH: Final = "/admin/people"


def people_handlers(archive: Archive, people: People, cache: IdentityCache) -> dict[str, dict[str, Handler]]:
    """The page and what its forms do, by path."""

    async def show(request: Request, **shown: Any) -> Answer:
        return await _show(archive, people, request, **shown)

    works: dict[str, FormWork] = {
        "/add": _add_account,
        "/change": _change_account,
        "/rename": _rename_account,
        "/disable": _disable_account,
        "/enable": _enable_account,
        "/password": _set_password,
        "/reset-password": _reset_password,
        "/unlock": _unlock,
        "/logout": _end_sessions,
        "/second-factor/remove": _remove_second_factor,
        "/roles/add": _add_role,
        "/roles/change": _change_role,
        "/roles/remove": _remove_role,
        "/tokens": _create_token,
        "/tokens/revoke": _revoke_token,
    }
    forms = {PEOPLE_PATH + path: {"POST": form_handler(people, cache, work, show)} for path, work in works.items()}
    return {PEOPLE_PATH: {"GET": lambda request: show(request)}, **forms}


async def _show(
    archive: Archive, people: People, request: Request, *, error: RequestError | None = None, **shown: Any
) -> Answer:
    require(Permission.USER_MANAGE)
    values: dict[str, Any] = {
        "accounts": await accounts.list_accounts(people),
        "roles": await roles.list_roles(people),
        "tokens": await tokens.list_tokens(people),
        "permission_words": PERMISSION_WORDS,
        "all_permissions": list(Permission),
        "only": row_scope_to_json,
        "scope_lists": LISTS,
        "password_chars_min": people.settings.password_chars_min,
        "done": request.query_params.get("done", ""),
        "new_token": None,
        "new_password": None,
        "reset_login": "",
        "account_conflict": None,
        "role_conflict": None,
        "rows_of": rows_of_fields,
        "allowed": lambda fields: [may for may in Permission if fields[may.value]],
    }
    return await page(
        archive,
        request,
        "people.html",
        place="admin",
        status=number_of(error),
        error=view_of(request).reader.say(error) if error else "",
        **{**values, **shown},
    )


async def _add_account(did: Did) -> Answer:
    form = did.form
    new = accounts.NewAccount(
        form.get("login"), form.get("role"), form.exactly("password"), form.get("full_name"), _row_scope(form)
    )
    await accounts.add_account(did.people, new)
    return back_to(PEOPLE_PATH, "added")


async def _change_account(did: Did) -> Answer:
    form = did.form
    change = accounts.AccountChange(form.get("full_name"), form.get("role"), _row_scope(form))
    try:
        await accounts.change_account(did.people, form.get("login"), change, version=whole_number(form, "version"))
    except EditedMeanwhileError as error:
        return await did.show(did.request, error=error, account_conflict=error)
    return back_to(PEOPLE_PATH, "changed")


async def _rename_account(did: Did) -> Answer:
    await accounts.rename_account(did.people, did.form.get("login"), did.form.get("new_login"))
    return back_to(PEOPLE_PATH, "renamed")


async def _disable_account(did: Did) -> Answer:
    await accounts.change_account(did.people, did.form.get("login"), accounts.AccountChange(disabled=True))
    return back_to(PEOPLE_PATH, "disabled")


async def _enable_account(did: Did) -> Answer:
    await accounts.change_account(did.people, did.form.get("login"), accounts.AccountChange(disabled=False))
    return back_to(PEOPLE_PATH, "enabled")


async def _set_password(did: Did) -> Answer:
    await accounts.set_password(did.people, did.form.get("login"), did.form.exactly("password"))
    return back_to(PEOPLE_PATH, "password")


async def _reset_password(did: Did) -> Answer:
    login = did.form.get("login")
    password = await accounts.reset_password(did.people, login)
    return await did.show(did.request, new_password=password, reset_login=login)


async def _unlock(did: Did) -> Answer:
    await lockout.lift_wait(did.people, did.form.get("login"))
    return back_to(PEOPLE_PATH, "unlocked")


async def _end_sessions(did: Did) -> Answer:
    await sessions.end_sessions(did.people, did.form.get("login"))
    return back_to(PEOPLE_PATH, "logged-out")


async def _remove_second_factor(did: Did) -> Answer:
    await totp.remove_totp(did.people, did.form.get("login"))
    return back_to(PEOPLE_PATH, "changed")


async def _add_role(did: Did) -> Answer:
    await roles.add_role(did.people, _role(did.form))
    return back_to(PEOPLE_PATH, "role")


async def _change_role(did: Did) -> Answer:
    try:
        await roles.change_role(did.people, _role(did.form), version=whole_number(did.form, "version"))
    except EditedMeanwhileError as error:
        return await did.show(did.request, error=error, role_conflict=error)
    return back_to(PEOPLE_PATH, "role")


async def _remove_role(did: Did) -> Answer:
    await roles.remove_role(did.people, did.form.get("name"))
    return back_to(PEOPLE_PATH, "role")


async def _create_token(did: Did) -> Answer:
    secret = await tokens.create_token(did.people, token_request(did.form), did.form.get("role"))
    return await did.show(did.request, new_token=secret)


async def _revoke_token(did: Did) -> Answer:
    await tokens.revoke_token(did.people, did.form.get("name"))
    return back_to(PEOPLE_PATH, "token")


def _role(form: Form) -> roles.Role:
    permissions = roles.permissions_from_names(form.all("permission"))
    return roles.Role(form.get("name"), permissions, _row_scope(form), form.get("description"))


def _row_scope(form: Form) -> RowScope:
    """One entry per line, as names have commas of their own."""
    lists = {name: [line.strip() for line in form.get(name).splitlines() if line.strip()] for name in LISTS}
    return row_scope_from_json({**lists, "own_uploads": bool(form.get("own_uploads"))})

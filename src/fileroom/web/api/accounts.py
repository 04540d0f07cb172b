"""`/accounts`: people, their roles, what they see, their sessions and passwords."""

from __future__ import annotations

from typing import Annotated

from fastapi import Request, Response
from pydantic import Field

from fileroom.admin import accounts, lockout, sessions, totp
from fileroom.admin.accounts import Account, AccountChange, NewAccount
from fileroom.admin.provided_people import Source
from fileroom.admin.row_scopes import row_scope_to_json
from fileroom.core.access import Permission, require
from fileroom.core.limits import LOGIN_CHARS_MAX
from fileroom.web.api.me import Sessions
from fileroom.web.api.models import (
    Asked,
    Count,
    Flag,
    Moment,
    Name,
    NameInPath,
    NewSecret,
    Rows,
    Secret,
    ShortText,
    Shown,
)
from fileroom.web.api.operations import Api
from fileroom.web.api.paging import Cursor, Limit, Page, cut, next_address
from fileroom.web.api.versions import IfMatch, require_unchanged, tag

Login = Annotated[
    str,
    Field(
        strict=True,
        min_length=1,
        max_length=LOGIN_CHARS_MAX,
        pattern=r"^[a-z0-9][a-z0-9._@+-]*$",
        examples=["mueller"],
    ),
]


class ShownAccount(Shown):
    """A person. `rows` narrows what the role shows."""

    login: str
    full_name: str
    role: str
    rows: Rows
    has_password: bool
    has_second_factor: bool
    passkeys: Annotated[int, Field(description="How many.")]
    password_must_change: Annotated[bool, Field(description="At the next login.")]
    source: Annotated[Source, Field(description="Who vouches for it: Fileroom itself, the directory, the provider.")]
    disabled: bool
    created_at: Moment
    last_login_at: Moment | None
    version: Annotated[int, Field(description="Counts the changes of name, role, studies and state.")]


class AccountPage(Page[ShownAccount]):
    """Accounts."""


class AskedAccount(Asked):
    """A new person."""

    login: Login
    role: Annotated[Name, Field(examples=["radiologist"])]
    full_name: Annotated[ShortText, Field(max_length=100, examples=["Anna Müller"])] = ""
    password: Annotated[Secret | None, Field(description="Null: nobody can log in by password.")] = None
    rows: Rows = Rows()


class AskedChange(Asked):
    """What shall be different; what is left out or null stays."""

    full_name: Annotated[ShortText, Field(max_length=100)] | None = None
    role: Name | None = None
    rows: Rows | None = None
    disabled: Flag | None = None


class NewPassword(Asked):
    """A password, by the rules of the installation."""

    password: Secret
    must_change: Annotated[Flag | None, Field(description="At the next login; null: unless it is one's own.")] = None


class NewLogin(Asked):
    """Another login; what the account has done stays under the old one."""

    new_login: Login


def add_accounts(api: Api) -> None:
    """The operations."""
    people = api.people
    resource = api.resource("accounts", "People: who may log in, and as what. Accounts are disabled, never removed.")

    @resource.get("/accounts", "all", Permission.USER_MANAGE)
    async def all_accounts(request: Request, limit: Limit = 100, cursor: Cursor = "") -> AccountPage:
        """All accounts, by login."""
        found, behind = cut(await accounts.list_accounts(people), lambda account: account.login, cursor, limit)
        return AccountPage(items=[_shown(account) for account in found], next=next_address(request, behind))

    @resource.add("/accounts", "add", Permission.USER_MANAGE)
    async def add_account(asked: AskedAccount, response: Response) -> ShownAccount:
        """Make an account. Nobody can give rights that they do not have."""
        new = NewAccount(asked.login, asked.role, asked.password, asked.full_name, asked.rows.scope())
        return _tagged(await accounts.add_account(people, new), response)

    @resource.get("/accounts/{login}", "get", Permission.USER_MANAGE)
    async def get_account(login: NameInPath, response: Response) -> ShownAccount:
        """One account."""
        return _tagged(await _found(login), response)

    @resource.patch("/accounts/{login}", "change", Permission.USER_MANAGE)
    async def change_account(
        login: NameInPath, asked: AskedChange, response: Response, if_match: IfMatch = None
    ) -> ShownAccount:
        """Change name, role or studies; disable or enable. It holds within seconds, and disabling ends the sessions."""
        now = await _found(login)
        require_unchanged(if_match, _seen(now))
        rows = None if asked.rows is None else asked.rows.scope()
        change = AccountChange(asked.full_name, asked.role, rows, asked.disabled)
        version = None if if_match is None else now.version
        return _tagged(await accounts.change_account(people, login, change, version=version), response)

    @resource.delete("/accounts/{login}/wait", "unlock", Permission.USER_MANAGE)
    async def unlock(login: NameInPath) -> None:
        """Lift the wait after failed logins."""
        await lockout.lift_wait(people, login)

    @resource.delete("/accounts/{login}/second-factor", "remove_second_factor", Permission.USER_MANAGE)
    async def remove_second_factor(login: NameInPath) -> None:
        """Help somebody who has lost telephone and recovery codes."""
        await totp.remove_totp(people, login)

    @resource.get("/accounts/{login}/sessions", "sessions", Permission.USER_MANAGE)
    async def list_sessions(login: NameInPath) -> Sessions:
        """The living sessions of an account."""
        return Sessions.model_validate({"items": await sessions.list_sessions(people, login)}, from_attributes=True)

    @resource.delete_and_tell("/accounts/{login}/sessions", "end_sessions", Permission.USER_MANAGE)
    async def end_sessions(login: NameInPath) -> Count:
        """End all sessions of an account, and tell how many there were."""
        return Count(count=await sessions.end_sessions(people, login))

    @resource.put_quietly("/accounts/{login}/password", "set_password", Permission.USER_MANAGE)
    async def set_password(login: NameInPath, asked: NewPassword) -> None:
        """Give an account a new password; its sessions end and it need not wait any longer."""
        await accounts.set_password(people, login, asked.password, must_change=asked.must_change)

    @resource.post("/accounts/{login}/password/reset", "reset_password", Permission.USER_MANAGE)
    async def reset_password(login: NameInPath) -> NewSecret:
        """Give an account a random password, told this once, which must be changed at the next login."""
        return NewSecret(secret=await accounts.reset_password(people, login))

    @resource.put("/accounts/{login}/login", "rename", Permission.USER_MANAGE)
    async def rename(login: NameInPath, asked: NewLogin) -> ShownAccount:
        """Give an account another login, so that somebody else can have the old one."""
        return _shown(await accounts.rename_account(people, login, asked.new_login))

    async def _found(login: str) -> Account:
        require(Permission.USER_MANAGE)
        return await accounts.find_account(people, login)


def _tagged(account: Account, response: Response) -> ShownAccount:
    tag(response, _seen(account))
    return _shown(account)


def _seen(account: Account) -> ShownAccount:
    """What the tag is made of: that its person logs in is no change that an administrator must look at."""
    return _shown(account).model_copy(update={"last_login_at": None})


def _shown(account: Account) -> ShownAccount:
    return ShownAccount(
        login=account.login,
        full_name=account.full_name,
        role=account.role,
        rows=Rows(**row_scope_to_json(account.rows)),
        has_password=account.has_password,
        has_second_factor=account.has_second_factor,
        passkeys=account.passkeys,
        password_must_change=account.password_must_change,
        source=account.source,
        disabled=account.disabled,
        created_at=account.created_at,
        last_login_at=account.last_login_at,
        version=account.version,
    )

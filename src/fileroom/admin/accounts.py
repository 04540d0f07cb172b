"""Accounts of people: who there is, with which role, which studies, which password.

Accounts are never removed, as the audit trail names them; they are disabled. A change takes effect within seconds
everywhere (`core.limits.ACCESS_CACHE_S`), and what makes an account weaker ends its sessions.
"""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import dict_row
from psycopg.types.json import Json

from fileroom.admin.audit import record
from fileroom.admin.audit_events import account_changed
from fileroom.admin.passwords import require_good_password
from fileroom.admin.people import People
from fileroom.admin.people_versions import EditedMeanwhileError, Fields, fields_of_rows, keep_version, read_version
from fileroom.admin.profiles import Profile, profile_from_json, profile_to_json, stored_profile
from fileroom.admin.provided_people import Source
from fileroom.admin.random_secrets import new_readable_secret
from fileroom.admin.roles import ADMINISTRATOR, find_role, require_may_give
from fileroom.admin.row_scopes import both, row_scope_from_json, row_scope_to_json
from fileroom.core.access import EVERYTHING, Access, ActorKind, Permission, RowScope, current_access, require
from fileroom.core.errors import ConflictError, InvalidRequestError, NotAllowedError, NotFoundError, told
from fileroom.core.limits import LOGIN_CHARS_MAX

FIRST_LOGIN: Final = "admin"
_LOGIN: Final = re.compile(r"[a-z0-9][a-z0-9._@+-]*")
_FULL_NAME_CHARS_MAX: Final = 100
_RESET_GROUPS: Final = 4
"""Of five characters: 99 bits, which no list of passwords has."""
_COLUMNS: Final = """id, login, full_name, role, row_scope, profile, password_hash IS NOT NULL AS has_password,
    totp_secret IS NOT NULL AS has_totp, source, disabled_at, created_at, last_login_at, password_must_change,
    version, changed_by,
    (SELECT count(*) FROM passkey WHERE account_id = account.id) AS passkeys"""


@dataclass(frozen=True, slots=True)
class Account:
    """A person. `rows` narrows the row scope of the role. Times are aware, in UTC."""

    id: int
    login: str
    full_name: str
    role: str
    rows: RowScope
    profile: Profile
    has_password: bool
    has_totp: bool
    disabled: bool
    created_at: dt.datetime
    last_login_at: dt.datetime | None
    passkeys: int = 0
    password_must_change: bool = False
    source: Source = Source.LOCAL
    version: int = 1
    changed_by: str = ""
    """Who made this version; empty for the first."""

    @property
    def has_second_factor(self) -> bool:
        """Whether a password alone begins no session."""
        return self.has_totp or self.passkeys > 0


@dataclass(frozen=True, slots=True)
class NewAccount:
    """What an account begins with. Without a password nobody can log in by one.

    `must_change`: the password must be changed at the first login; None: if somebody else than Fileroom itself chose it.
    """

    login: str
    role: str
    password: str | None = None
    full_name: str = ""
    rows: RowScope = EVERYTHING
    must_change: bool | None = None


@dataclass(frozen=True, slots=True)
class AccountChange:
    """What shall be different; None stays."""

    full_name: str | None = None
    role: str | None = None
    rows: RowScope | None = None
    disabled: bool | None = None


async def add_account(people: People, new: NewAccount) -> Account:
    """Make an account. Raises InvalidRequestError, ConflictError, NotFoundError (the role), NotAllowedError."""
    access = require(Permission.USER_MANAGE)
    login = checked_login(new.login)
    full_name = _checked_full_name(new.full_name)
    await _require_may_have(people, access, new.role, new.rows)
    kept = None
    if new.password is not None:
        _require_good(people, new.password, login, full_name)
        kept = await people.hashing.make(new.password)
    must_change = kept is not None and _must_change(access, None, new.must_change)
    try:
        async with people.pool.connection() as connection, connection.transaction():
            await connection.execute(
                b"""INSERT INTO account (login, full_name, role, row_scope, password_hash, created_at, password_must_change)
                    VALUES (%s, %s, %s, %s, %s, %s, %s)""",
                (login, full_name, new.role, Json(row_scope_to_json(new.rows)), kept, people.now(), must_change),
            )
            await record(
                connection, account_changed(login, f"Made with the role {new.role}, {_rows_in_words(new.rows)}")
            )
    except psycopg.errors.UniqueViolation as error:
        raise ConflictError(
            told("There is an account {login} already; see 'fileroom user list'.", login=login)
        ) from error
    return await find_account(people, login)


async def list_accounts(people: People) -> list[Account]:
    """All accounts by login."""
    require(Permission.USER_MANAGE)
    async with people.pool.connection() as connection, connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(f"SELECT {_COLUMNS} FROM account ORDER BY login".encode())  # noqa: S608 - our own columns
        return [_account_of(row) for row in await cursor.fetchall()]


async def find_account(people: People, login: str) -> Account:
    """An account by its login: one's own, or with the permission anybody's. Raises NotFoundError, NotAllowedError."""
    async with people.pool.connection() as connection, connection.cursor(row_factory=dict_row) as cursor:
        statement = f"SELECT {_COLUMNS} FROM account WHERE login = %s"  # noqa: S608 - our own columns
        await cursor.execute(statement.encode(), (_folded(login),))
        row = await cursor.fetchone()
    access = current_access()
    if row is None or row["id"] != access.account_id:
        access.require(Permission.USER_MANAGE)
    if row is None:
        raise NotFoundError(told("There is no account {login}; see 'fileroom user list'.", login=f"{login!r:.80}"))
    return _account_of(row)


async def change_account(people: People, login: str, change: AccountChange, *, version: int | None = None) -> Account:
    """Give an account another role, other studies, another name; disable or enable it.

    `version` is the one that the edit began with; None: whatever it is now. Raises EditedMeanwhileError, NotFoundError,
    NotAllowedError, InvalidRequestError, ConflictError for the last administrator.
    """
    access = require(Permission.USER_MANAGE)
    current = await find_account(people, login)
    await _require_may_manage(people, access, current)
    seen = current.version if version is None else version
    if seen != current.version:
        async with people.pool.connection() as connection:
            raise await _edited_meanwhile(connection, current, seen, change)
    role = current.role if change.role is None else change.role
    rows = current.rows if change.rows is None else change.rows
    disabled = current.disabled if change.disabled is None else change.disabled
    full_name = current.full_name if change.full_name is None else _checked_full_name(change.full_name)
    if (role, rows, full_name) != (current.role, current.rows, current.full_name):
        require_own(current)
    if change.role is not None or change.rows is not None:
        await _require_may_have(people, access, role, rows)
    moment = people.now()
    async with people.pool.connection() as connection, connection.transaction():
        # One change at a time: two administrators must not remove each other in the same moment.
        await connection.execute(
            b"SELECT FROM account WHERE role = %s OR id = %s ORDER BY id FOR UPDATE", (ADMINISTRATOR, current.id)
        )
        now = await _read_account(connection, current.id)
        if now.version != seen:
            raise await _edited_meanwhile(connection, now, seen, change)
        await connection.execute(
            b"""UPDATE account SET full_name = %s, role = %s, row_scope = %s,
                    disabled_at = CASE WHEN %s THEN coalesce(disabled_at, %s) END
                WHERE id = %s""",
            (full_name, role, Json(row_scope_to_json(rows)), disabled, moment, current.id),
        )
        if (full_name, role, rows, disabled) != (now.full_name, now.role, now.rows, now.disabled):
            await keep_version(connection, _subject(now), now.version, _fields(now))
            await connection.execute(
                b"UPDATE account SET version = version + 1, changed_by = %s WHERE id = %s", (access.name, now.id)
            )
        if disabled:
            await connection.execute(b"DELETE FROM session WHERE account_id = %s", (current.id,))
        was_administrator = current.role == ADMINISTRATOR and not current.disabled
        if was_administrator and current.source is Source.LOCAL and (disabled or role != ADMINISTRATOR):
            # One of Fileroom's own: those of a directory do not come in while it is down.
            cursor = await connection.execute(
                b"SELECT FROM account WHERE role = %s AND disabled_at IS NULL AND source = %s LIMIT 1",
                (ADMINISTRATOR, Source.LOCAL.value),
            )
            if await cursor.fetchone() is None:
                raise ConflictError(
                    told("{login} is the last administrator; make another one first.", login=current.login)
                )
        state = "disabled" if disabled else "enabled"
        what = f"Changed: role {current.role} to {role}, {_rows_in_words(rows)}, {state}"
        await record(connection, account_changed(current.login, what))
    return await find_account(people, login)


async def set_password(people: People, login: str, password: str, *, must_change: bool | None = None) -> None:
    """Give an account a new password. It ends the account's sessions and lifts its wait. Raises as `change_account`.

    `must_change`: it must be changed at the next login; None: if it is somebody else's and not set at the server itself.
    """
    access = require(Permission.USER_MANAGE)
    current = await find_account(people, login)
    await _require_may_manage(people, access, current)
    require_own(current)
    due = _must_change(access, current.id, must_change)
    await _keep_password(people, current, password, spared_session=None, must_change=due)


async def reset_password(people: People, login: str) -> str:
    """Give an account a random password, to be told to its person, who must change it at the next login.

    Raises as `change_account`.
    """
    password = new_readable_secret(_RESET_GROUPS)
    await set_password(people, login, password, must_change=True)
    return password


async def change_own_password(people: People, session_id: int | None, old: str, new: str) -> None:
    """Replace one's own password; every other session of the account ends. Raises InvalidRequestError, NotAllowedError.

    Whoever calls counts wrong old passwords (`logins.confirm_password`).
    """
    current = await find_own_account(people)
    require_own(current)
    if old == new:
        raise InvalidRequestError(told("The new password is the old one."))
    await _keep_password(people, current, new, spared_session=session_id, must_change=False)


async def change_own_profile(people: People, profile: Profile) -> None:
    """Keep what a person has chosen. Raises InvalidRequestError, NotAllowedError."""
    account_id = own_account_id()
    value = profile_to_json(profile_from_json(profile_to_json(profile)))
    async with people.pool.connection() as connection:
        await connection.execute(b"UPDATE account SET profile = %s WHERE id = %s", (Json(value), account_id))


async def find_own_account(people: People) -> Account:
    """The account of whoever acts. Raises NotAllowedError where it is no person."""
    account_id = own_account_id()
    async with people.pool.connection() as connection:
        return await _read_account(connection, account_id)


def own_account_id() -> int:
    """Raises NotAllowedError where whoever acts has no account."""
    account_id = current_access().account_id
    if account_id is None:
        raise NotAllowedError(told("This belongs to a person's account; log in first."))
    return account_id


async def require_may_manage(people: People, login: str) -> Account:
    """The account, if whoever acts may change it. Raises NotFoundError, NotAllowedError."""
    access = require(Permission.USER_MANAGE)
    current = await find_account(people, login)
    await _require_may_manage(people, access, current)
    return current


async def rename_account(people: People, login: str, new_login: str) -> Account:
    """Give an account another login, so that somebody else can have the old one; what it has done stays under the old one.

    Raises NotFoundError, NotAllowedError, InvalidRequestError, ConflictError.
    """
    current = await require_may_manage(people, login)
    new_login = checked_login(new_login)
    try:
        async with people.pool.connection() as connection, connection.transaction():
            await connection.execute(b"UPDATE account SET login = %s WHERE id = %s", (new_login, current.id))
            await record(
                connection,
                account_changed(new_login, f"Was called {current.login} before"),
                account_changed(current.login, f"Is called {new_login} from now on"),
            )
    except psycopg.errors.UniqueViolation as error:
        raise ConflictError(
            told("There is an account {login} already; see 'fileroom user list'.", login=new_login)
        ) from error
    return await find_account(people, new_login)


def require_own(account: Account) -> None:
    """Raises ConflictError for an account whose password, role and name somebody else decides about."""
    if account.source is Source.LDAP:
        raise ConflictError(
            told(
                "{login} comes from the directory (LDAP): password, name and role are changed there, the role by its groups.",
                login=account.login,
            )
        )
    if account.source is Source.OPENID:
        raise ConflictError(
            told(
                "{login} comes from the OpenID provider: password, name and role are changed there, the role by its groups.",
                login=account.login,
            )
        )


def checked_login(login: str) -> str:
    """The login as it is kept. Raises InvalidRequestError."""
    folded = _folded(login)
    if len(folded) > LOGIN_CHARS_MAX or not _LOGIN.fullmatch(folded):
        raise InvalidRequestError(
            told(
                "{login} is no login: letters, digits and . _ - + @, first a letter or digit, {count} at most.",
                login=f"{login!r:.80}",
                count=LOGIN_CHARS_MAX,
            )
        )
    return folded


def _folded(login: str) -> str:
    return unicodedata.normalize("NFKC", login).strip().lower().replace("\0", "")


def _checked_full_name(name: str) -> str:
    name = name.strip()
    if len(name) > _FULL_NAME_CHARS_MAX or not (name.isprintable() or not name):
        raise InvalidRequestError(
            told("The name of a person has at most {count} printable characters.", count=_FULL_NAME_CHARS_MAX)
        )
    return name


async def _require_may_have(people: People, access: Access, role_name: str, rows: RowScope) -> None:
    role = await find_role(people, role_name)
    require_may_give(access, role)
    row_scope_from_json(row_scope_to_json(rows))
    if both(role.rows, rows) is None:
        raise InvalidRequestError(
            told(
                "No study fits both the role {role} and the account: their lists have nothing in common.",
                role=role.name,
            )
        )


async def _require_may_manage(people: People, access: Access, account: Account) -> None:
    """Whoever could change a mightier account's password would be as mighty."""
    try:
        role = await find_role(people, account.role)
    except NotFoundError:
        return
    require_may_give(access, role)


def _require_good(people: People, password: str, login: str, full_name: str) -> None:
    names = (login, full_name, people.settings.aet)
    require_good_password(password, names, chars_min=people.settings.password_chars_min)


async def _keep_password(
    people: People, account: Account, password: str, *, spared_session: int | None, must_change: bool
) -> None:
    _require_good(people, password, account.login, account.full_name)
    kept = await people.hashing.make(password)
    async with people.pool.connection() as connection, connection.transaction():
        await connection.execute(
            b"UPDATE account SET password_hash = %s, password_must_change = %s WHERE id = %s",
            (kept, must_change, account.id),
        )
        await connection.execute(
            b"DELETE FROM session WHERE account_id = %s AND id IS DISTINCT FROM %s", (account.id, spared_session)
        )
        await connection.execute(
            b"DELETE FROM login_failure WHERE subject = %s OR starts_with(subject, %s)",
            (f"account {account.login}", f"account {account.login} at "),
        )
        what = "A new password was set; other sessions ended" + ("; it must be changed" if must_change else "")
        await record(connection, account_changed(account.login, what))


def _must_change(access: Access, account_id: int | None, wanted: bool | None) -> bool:
    """Whoever has chosen a password for somebody else knows it; only its person should."""
    if wanted is not None:
        return wanted
    return access.kind is not ActorKind.SYSTEM and (account_id is None or access.account_id != account_id)


async def _read_account(connection: AsyncConnection[Any], account_id: int) -> Account:
    async with connection.cursor(row_factory=dict_row) as cursor:
        statement = f"SELECT {_COLUMNS} FROM account WHERE id = %s"  # noqa: S608 - our own columns
        await cursor.execute(statement.encode(), (account_id,))
        row = await cursor.fetchone()
    if row is None:
        raise NotFoundError(told("Your account is gone."))
    return _account_of(row)


async def _edited_meanwhile(
    connection: AsyncConnection[Any], now: Account, seen: int, change: AccountChange
) -> EditedMeanwhileError:
    fields = _fields(now)
    base = await read_version(connection, _subject(now), seen, fields)
    asked = {"full_name": change.full_name, "role": change.role, "disabled": change.disabled}
    mine = {name: value for name, value in asked.items() if value is not None}
    mine |= {} if change.rows is None else fields_of_rows(change.rows)
    return EditedMeanwhileError(now.login, now.changed_by, now.version, base=base, now=fields, mine=mine)


def _fields(account: Account) -> Fields:
    """What administrators edit."""
    own: Fields = {"full_name": account.full_name, "role": account.role, "disabled": account.disabled}
    return own | fields_of_rows(account.rows)


def _subject(account: Account) -> str:
    return f"account {account.id}"


def _rows_in_words(rows: RowScope) -> str:
    return "all studies" if rows.is_everything else f"studies of {row_scope_to_json(rows)}"


def _account_of(row: dict[str, Any]) -> Account:
    return Account(
        id=row["id"],
        login=row["login"],
        full_name=row["full_name"],
        role=row["role"],
        rows=row_scope_from_json(row["row_scope"]),
        profile=stored_profile(row["profile"]),
        has_password=row["has_password"],
        has_totp=row["has_totp"],
        disabled=row["disabled_at"] is not None,
        created_at=row["created_at"],
        last_login_at=row["last_login_at"],
        passkeys=row["passkeys"],
        password_must_change=row["password_must_change"],
        source=Source(row["source"]),
        version=row["version"],
        changed_by=row["changed_by"],
    )

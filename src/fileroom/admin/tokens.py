"""API tokens: how programs log in. A person's own token may do at most what the person may; a program's has a role.

The token is shown once; the database holds its hash.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg.rows import dict_row

from fileroom.admin.accounts import find_own_account, own_account_id
from fileroom.admin.audit import record
from fileroom.admin.audit_events import token_changed
from fileroom.admin.fhir_scopes import checked_scopes
from fileroom.admin.people import People
from fileroom.admin.random_secrets import TOKEN_PREFIX, hash_of, new_secret
from fileroom.admin.roles import find_role, require_may_give, stored_permissions
from fileroom.core.access import Access, Permission, current_access, require
from fileroom.core.errors import ConflictError, InvalidRequestError, NotAllowedError, NotFoundError, told
from fileroom.core.limits import API_TOKEN_DAYS_MAX, API_TOKENS_MAX

_NAME_CHARS_MAX: Final = 60


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """What a token shall be. `permissions` None: all that role or person may. `days` None: without an end.

    With `fhir_scopes` it is good for these resources of FHIR and for nothing else; those of the level patient are about
    `fhir_patient`, a row of the RIS side.
    """

    name: str
    permissions: frozenset[Permission] | None = None
    days: int | None = None
    fhir_scopes: tuple[str, ...] = ()
    fhir_patient: int | None = None


@dataclass(frozen=True, slots=True)
class ApiToken:
    """A token without its secret. `login` of the person, or `role` of the program. Times are aware, in UTC."""

    id: int
    name: str
    login: str | None
    role: str | None
    permissions: tuple[str, ...] | None
    created_at: dt.datetime
    created_by: str
    expires_at: dt.datetime | None
    last_used_at: dt.datetime | None
    fhir_scopes: tuple[str, ...] | None = None
    fhir_patient: int | None = None


async def create_token(people: People, request: TokenRequest, role_name: str) -> str:
    """Make a program's token with a role; returns the secret. Raises InvalidRequestError, NotFoundError, ConflictError."""
    access = require(Permission.USER_MANAGE)
    role = await find_role(people, role_name)
    require_may_give(access, role)
    if request.permissions is not None and (missing := request.permissions - role.permissions):
        raise InvalidRequestError(
            told("The role {name} does not have {names}.", name=role.name, names=", ".join(sorted(missing)))
        )
    return await _create(people, request, None, role.name, access)


async def create_own_token(people: People, request: TokenRequest) -> str:
    """Make a token of one's own; returns the secret. Raises as `create_token`, NotAllowedError where no person acts."""
    access = current_access()
    _require_session(access)
    account = await find_own_account(people)
    if request.permissions is not None and (missing := request.permissions - access.permissions):
        raise NotAllowedError(
            told("You have no permission {names} to give to a token.", names=", ".join(sorted(missing)))
        )
    return await _create(people, request, account.id, None, access)


async def list_tokens(people: People) -> list[ApiToken]:
    """All tokens by name."""
    require(Permission.USER_MANAGE)
    return await _list(people, b"true", None)


async def list_own_tokens(people: People) -> list[ApiToken]:
    """The tokens of whoever acts."""
    return await _list(people, b"t.account_id = %s", (own_account_id(),))


async def revoke_token(people: People, name: str) -> None:
    """End a program's token, or by LOGIN/NAME a person's. Raises NotFoundError."""
    require(Permission.USER_MANAGE)
    login, _, own_name = name.rpartition("/")
    async with people.pool.connection() as connection, connection.transaction():
        cursor = await connection.execute(
            b"""DELETE FROM api_token t WHERE (account_id IS NULL AND name = %(name)s)
                OR (name = %(own_name)s AND account_id = (SELECT id FROM account WHERE login = %(login)s))""",
            {"name": name, "own_name": own_name, "login": login},
        )
        if cursor.rowcount:
            await record(connection, token_changed(name, "Revoked"))
    if cursor.rowcount == 0:
        raise NotFoundError(told("There is no token named {name}; see 'fileroom token list'.", name=f"{name!r:.80}"))


async def revoke_own_token(people: People, token_id: int) -> None:
    """End a token of one's own. Raises NotFoundError, NotAllowedError."""
    account_id = own_account_id()
    async with people.pool.connection() as connection, connection.transaction():
        cursor = await connection.execute(
            b"DELETE FROM api_token WHERE id = %s AND account_id = %s RETURNING name", (token_id, account_id)
        )
        row = await cursor.fetchone()
        if row is not None:
            await record(connection, token_changed(f"{current_access().name}/{row[0]}", "Revoked"))
    if row is None:
        raise NotFoundError(told("That token is gone already."))


def _require_session(access: Access) -> None:
    """A token that makes tokens would outlive its own end."""
    if access.kind.value == "token":
        raise NotAllowedError(told("A token cannot make tokens; log in by password."))


async def _create(
    people: People, request: TokenRequest, account_id: int | None, role: str | None, access: Access
) -> str:
    name = request.name.strip()
    if not name or len(name) > _NAME_CHARS_MAX or not name.isprintable() or "/" in name:
        raise InvalidRequestError(
            told(
                "A token needs a name of at most {count} printable characters without /, for example dose-report.",
                count=_NAME_CHARS_MAX,
            )
        )
    if request.permissions is not None and not request.permissions:
        raise InvalidRequestError(told("A token needs at least one permission."))
    if request.days is not None and not 1 <= request.days <= API_TOKEN_DAYS_MAX:
        raise InvalidRequestError(
            told("A token is good for 1 to {count} days, or without an end.", count=API_TOKEN_DAYS_MAX)
        )
    _require_session(access)
    scopes = checked_scopes(request.fhir_scopes, request.fhir_patient)
    now, secret = people.now(), new_secret(TOKEN_PREFIX)
    expires_at = now + dt.timedelta(days=request.days) if request.days is not None else None
    permissions = sorted(request.permissions) if request.permissions is not None else None
    try:
        async with people.pool.connection() as connection, connection.transaction():
            cursor = await connection.execute(
                b"""INSERT INTO api_token
                        (name, token_hash, account_id, role, permissions, created_at, created_by, expires_at, fhir_scopes,
                         fhir_patient)
                    SELECT %s, %s, %s, %s, %s, %s, %s, %s, %s::text[], %s WHERE (SELECT count(*) FROM api_token) < %s""",
                (name, hash_of(secret), account_id, role, permissions, now, access.name, expires_at)
                + (scopes, request.fhir_patient, API_TOKENS_MAX),
            )
            if cursor.rowcount:
                whose = f"with the role {role}" if role else f"of {access.name}"
                until = f"until {expires_at:%Y-%m-%d}" if expires_at else "without an end"
                if scopes:
                    of = f" of patient {request.fhir_patient}" if request.fhir_patient is not None else ""
                    until += f", for FHIR alone: {' '.join(scopes)}{of}"
                await record(
                    connection, token_changed(name if role else f"{access.name}/{name}", f"Made {whose}, {until}")
                )
    except psycopg.errors.UniqueViolation as error:
        raise ConflictError(told("There is a token named {name} already.", name=name)) from error
    except (psycopg.errors.ForeignKeyViolation, psycopg.DataError) as error:
        raise InvalidRequestError(told("There is no patient number {number}.", number=request.fhir_patient)) from error
    if cursor.rowcount == 0:
        raise ConflictError(told("There are {count} tokens already; revoke what nobody uses.", count=API_TOKENS_MAX))
    return secret


async def _list(people: People, condition: bytes, values: tuple[int, ...] | None) -> list[ApiToken]:
    async with people.pool.connection() as connection, connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            b"""SELECT t.id, t.name, a.login, t.role, t.permissions, t.created_at, t.created_by, t.expires_at, t.last_used_at,
                       t.fhir_scopes, t.fhir_patient
                FROM api_token t LEFT JOIN account a ON a.id = t.account_id WHERE """
            + condition
            + b" ORDER BY t.name, t.id",
            values,
        )
        return [_token_of(row) for row in await cursor.fetchall()]


def _token_of(row: dict[str, Any]) -> ApiToken:
    permissions, scopes = row["permissions"], row["fhir_scopes"]
    return ApiToken(
        **{**row, "fhir_scopes": None if scopes is None else tuple(scopes)}
        | {"permissions": None if permissions is None else tuple(sorted(stored_permissions(permissions)))}
    )

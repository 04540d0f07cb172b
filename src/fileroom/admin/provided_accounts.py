"""Accounts of people whom a directory or an OpenID provider vouches for: made at the first login, brought up to date at each.

The groups there decide about role and studies. An account is found by its source and `subject`, never by its login: whoever can
name themselves `admin` at a provider must not become the admin here. Nothing here enables an account that was disabled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg
import structlog
from psycopg import AsyncConnection
from psycopg.rows import dict_row
from psycopg.types.json import Json

from fileroom.admin.accounts import checked_login
from fileroom.admin.audit import record
from fileroom.admin.audit_events import account_changed
from fileroom.admin.group_roles import GroupRole, choose_group_role
from fileroom.admin.people import People
from fileroom.admin.provided_people import ProvidedPerson, Source
from fileroom.admin.roles import find_role
from fileroom.admin.row_scopes import both, row_scope_to_json
from fileroom.core.access import Access, ActorKind, acting_as
from fileroom.core.errors import (
    ConflictError,
    NotAllowedError,
    NotAuthenticatedError,
    NotFoundError,
    told,
)

NO_ROLE: Final = ""
"""The role of an account whose groups give none any more: it allows nothing, in sessions and tokens that are left too."""
_FULL_NAME_CHARS_MAX: Final = 100
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ProvidedAccount:
    """The account that a person got."""

    id: int
    login: str
    has_totp: bool


async def take_in(
    people: People, person: ProvidedPerson, mapping: Sequence[GroupRole], *, address: str
) -> ProvidedAccount:
    """The account of a person who has proved who they are, with the role that their groups give now.

    Raises NotAllowedError where no group gives a role, ConflictError where the login is somebody else's,
    NotAuthenticatedError for a disabled account, InvalidRequestError for a login that cannot be one here.
    """
    login = checked_login(person.login)
    given = await _usable(people, choose_group_role(mapping, person.groups))
    # In the name of the source: nobody has logged in yet.
    with acting_as(Access(ActorKind.SYSTEM, person.source.value, address=address)):
        try:
            return await _take_in(people, person, login, given)
        except psycopg.errors.UniqueViolation:  # the same person in two windows, or two people with one login
            return await _take_in(people, person, login, given)


async def follow_groups(
    people: People, source: Source, subject: str, groups: Sequence[str], mapping: Sequence[GroupRole]
) -> None:
    """Between logins: the account gets what its groups give now; without any, or without the person, it loses its role."""
    given = await _usable(people, choose_group_role(mapping, groups))
    with acting_as(Access(ActorKind.SYSTEM, source.value)):
        async with people.pool.connection() as connection, connection.transaction():
            row = await _find(connection, source, subject)
            if row is None or row["disabled_at"] is not None:
                return
            if given is not None:
                await _update(connection, row, row["login"], row["full_name"], given)
            elif row["role"] != NO_ROLE:
                await _take_away(connection, row)


async def _take_in(people: People, person: ProvidedPerson, login: str, given: GroupRole | None) -> ProvidedAccount:
    async with people.pool.connection() as connection, connection.transaction():
        # A second window waits here for the first one's account, instead of finding its login taken by a stranger.
        await connection.execute(
            b"SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))",
            (f"account {person.source.value} {person.subject}",),
        )
        row = await _find(connection, person.source, person.subject)
        if row is not None and row["disabled_at"] is not None:
            raise NotAuthenticatedError(told("Login or password is wrong."))
        if given is not None:
            await _require_free(connection, person.source, login, None if row is None else row["id"])
            if row is None:
                row = await _insert(people, connection, person, login, given)
            else:
                await _update(connection, row, login, _shown_name(person), given)
            return ProvidedAccount(row["id"], login, row["has_totp"])
        if row is not None and row["role"] != NO_ROLE:
            await _take_away(connection, row)
    _log.warning("login_without_role", login=login, source=person.source.value, groups=list(person.groups)[:50])
    raise NotAllowedError(
        told(
            "{login} is in no group that has a role here. Ask an administrator of Fileroom which group you need.",
            login=login,
        )
    )


async def _usable(people: People, given: GroupRole | None) -> GroupRole | None:
    """The mapping's entry, if its role is there and shows something. A mistake in it lets nobody in."""
    if given is None:
        return None
    try:
        role = await find_role(people, given.role)
    except NotFoundError as error:
        _log.error("group_role_unknown", group=given.group, role=given.role, reason=str(error))
        return None
    if both(role.rows, given.rows) is None:
        _log.error("group_role_shows_nothing", group=given.group, role=given.role)
        return None
    return given


async def _find(connection: AsyncConnection[Any], source: Source, subject: str) -> dict[str, Any] | None:
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            b"""SELECT id, login, full_name, role, row_scope, disabled_at, totp_secret IS NOT NULL AS has_totp
                FROM account WHERE source = %s AND subject = %s FOR UPDATE""",
            (source.value, subject),
        )
        return await cursor.fetchone()


async def _require_free(connection: AsyncConnection[Any], source: Source, login: str, own_id: int | None) -> None:
    """Raises ConflictError: the login belongs to an account of another source, or to somebody else of this one."""
    cursor = await connection.execute(b"SELECT id, source FROM account WHERE login = %s", (login,))
    row = await cursor.fetchone()
    if row is None or row[0] == own_id:
        return
    _log.error("login_belongs_to_another", login=login, source=source.value, account_source=row[1])
    raise ConflictError(
        told(
            "The login {login} belongs to another account here. An administrator of Fileroom can give that one another "
            "login; then log in again.",
            login=login,
        )
    )


async def _insert(
    people: People, connection: AsyncConnection[Any], person: ProvidedPerson, login: str, given: GroupRole
) -> dict[str, Any]:
    cursor = await connection.execute(
        b"""INSERT INTO account (login, full_name, role, row_scope, source, subject, created_at)
            VALUES (%s, %s, %s, %s, %s, %s, %s) RETURNING id""",
        (
            login,
            _shown_name(person),
            given.role,
            Json(row_scope_to_json(given.rows)),
            person.source.value,
            person.subject,
            people.now(),
        ),
    )
    row = await cursor.fetchone()
    assert row is not None  # RETURNING of one row
    await record(
        connection, account_changed(login, f"Made for {person.source.value}: group {given.group} gives {_words(given)}")
    )
    return {"id": row[0], "has_totp": False}


async def _update(
    connection: AsyncConnection[Any], row: dict[str, Any], login: str, full_name: str, given: GroupRole
) -> None:
    rows = row_scope_to_json(given.rows)
    if (row["login"], row["full_name"], row["role"], row["row_scope"]) == (login, full_name, given.role, rows):
        return
    await connection.execute(
        b"UPDATE account SET login = %s, full_name = %s, role = %s, row_scope = %s WHERE id = %s",
        (login, full_name, given.role, Json(rows), row["id"]),
    )
    renamed = f"; was called {row['login']}" if row["login"] != login else ""
    what = f"By its groups: role {row['role'] or 'none'} to {_words(given)}{renamed}"
    await record(connection, account_changed(login, what))


async def _take_away(connection: AsyncConnection[Any], row: dict[str, Any]) -> None:
    await connection.execute(b"UPDATE account SET role = %s WHERE id = %s", (NO_ROLE, row["id"]))
    await connection.execute(b"DELETE FROM session WHERE account_id = %s", (row["id"],))
    await record(connection, account_changed(row["login"], f"Lost the role {row['role']}: no group gives one"))


def _shown_name(person: ProvidedPerson) -> str:
    return "".join(c for c in person.full_name.strip() if c.isprintable())[:_FULL_NAME_CHARS_MAX]


def _words(given: GroupRole) -> str:
    rows = row_scope_to_json(given.rows)
    return f"{given.role}, {f'studies of {rows}' if rows else 'all studies'}"

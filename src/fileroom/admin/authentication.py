"""From a session's or token's secret to who acts and what they may do, in one query each."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from psycopg.rows import dict_row

from fileroom.admin.fhir_scopes import stored_scopes
from fileroom.admin.people import People
from fileroom.admin.profiles import Profile, stored_profile
from fileroom.admin.random_secrets import hash_of
from fileroom.admin.roles import BUILT_IN, stored_permissions
from fileroom.admin.row_scopes import both, row_scope_from_json
from fileroom.admin.sessions import idle_since
from fileroom.core.access import EVERYTHING, Access, ActorKind, FhirScopes, Permission, RowScope
from fileroom.core.errors import InvalidRequestError

_SEEN_EVERY_S: Final = 60
"""How exactly it is known when a session or token was last used: a row is written no more often."""
_OF_STUDIES: Final = frozenset(permission for permission in Permission if permission.value.startswith("study."))


@dataclass(frozen=True, slots=True)
class Identity:
    """Who acts, and for pages: the person's name and choices, the session."""

    access: Access
    full_name: str = ""
    profile: Profile = field(default_factory=Profile)
    session_id: int | None = None
    expires_at: dt.datetime | None = None
    """Not good beyond, whatever a cache says."""
    must_change_password: bool = False
    """Until it is changed the session is good for nothing else."""
    glass_ends_at: dt.datetime | None = None
    """The person has broken the glass (`admin.break_glass`) and sees everything until then."""


async def identity_of_session(people: People, secret: str) -> Identity | None:
    """Who has this session; None where it is over, wants its second factor, or never was."""
    async with people.pool.connection() as connection, connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            b"""SELECT s.id AS session_id, s.last_seen_at, s.expires_at, a.id AS account_id, a.login, a.full_name, a.profile,
                       a.password_must_change, a.role, a.row_scope,
                       r.permissions AS role_permissions, r.row_scope AS role_row_scope,
                       (SELECT max(g.ends_at) FROM break_glass g WHERE g.account_id = a.id AND g.ends_at > %s) AS glass_ends_at
                FROM session s JOIN account a ON a.id = s.account_id LEFT JOIN role r ON r.name = a.role
                WHERE s.token_hash = %s AND NOT s.second_factor_due AND s.expires_at > %s AND s.last_seen_at > %s
                  AND a.disabled_at IS NULL""",
            (people.now(), hash_of(secret), people.now(), idle_since(people)),
        )
        row = await cursor.fetchone()
        if row is None:
            return None
        if _is_due(people, row["last_seen_at"]):
            await cursor.execute(
                b"UPDATE session SET last_seen_at = %s WHERE id = %s", (people.now(), row["session_id"])
            )
    permissions, rows = _rights(row)
    must_change = bool(row["password_must_change"])
    if must_change:
        permissions = frozenset()
    expires_at, glass_ends_at = row["expires_at"], None
    if row["glass_ends_at"] is not None and Permission.STUDY_BREAK_GLASS in permissions and not rows.is_everything:
        rows, glass_ends_at = EVERYTHING, row["glass_ends_at"]
        expires_at = min(expires_at, glass_ends_at)
    access = Access(ActorKind.PERSON, row["login"], permissions, rows, account_id=row["account_id"])
    profile = stored_profile(row["profile"])
    return Identity(access, row["full_name"], profile, row["session_id"], expires_at, must_change, glass_ends_at)


async def identity_of_token(people: People, secret: str) -> Identity | None:
    """Who has this API token; None where it is over, revoked, or never was, or where its person is disabled."""
    return await _of_token(people, b"t.token_hash = %s", hash_of(secret))


async def identity_of_token_row(people: People, token_id: int) -> Identity | None:
    """As `identity_of_token`, for work that somebody has left to Fileroom with a token."""
    return await _of_token(people, b"t.id = %s", token_id)


async def _of_token(people: People, which: bytes, value: bytes | int) -> Identity | None:
    async with people.pool.connection() as connection, connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            b"""SELECT t.id, t.name, t.permissions, t.last_used_at, t.expires_at, t.account_id, a.login, a.full_name, a.profile,
                       coalesce(a.row_scope, '{}') AS row_scope, coalesce(a.role, t.role) AS role,
                       r.permissions AS role_permissions, r.row_scope AS role_row_scope, t.fhir_scopes,
                       coalesce(p.merged_into, p.id) AS fhir_patient,
                       ARRAY(SELECT i.value FROM patient_identifier i WHERE i.patient = coalesce(p.merged_into, p.id))
                           AS fhir_patient_ids
                FROM api_token t LEFT JOIN account a ON a.id = t.account_id
                LEFT JOIN role r ON r.name = coalesce(a.role, t.role)
                LEFT JOIN registered_patient p ON p.id = t.fhir_patient
                WHERE """
            + which
            + b" AND (t.expires_at IS NULL OR t.expires_at > %s) AND a.disabled_at IS NULL",
            (value, people.now()),
        )
        row = await cursor.fetchone()
        if row is None:
            return None
        if _is_due(people, row["last_used_at"]):
            await cursor.execute(b"UPDATE api_token SET last_used_at = %s WHERE id = %s", (people.now(), row["id"]))
    permissions, rows = _rights(row)
    if row["permissions"] is not None:
        permissions &= stored_permissions(row["permissions"])
    name = f"{row['login']}/{row['name']}" if row["login"] else row["name"]
    access = Access(ActorKind.TOKEN, name, permissions, rows, account_id=row["account_id"])
    if row["fhir_scopes"] is not None:
        access = _narrowed(access, row)
    return Identity(access, row["full_name"] or "", stored_profile(row["profile"] or {}), expires_at=row["expires_at"])


async def identity_of_account(people: People, account_id: int) -> Identity | None:
    """Who has this account, for a request that showed its password."""
    async with people.pool.connection() as connection, connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            b"""SELECT a.id, a.login, a.full_name, a.profile, a.role, a.row_scope,
                       r.permissions AS role_permissions, r.row_scope AS role_row_scope
                FROM account a LEFT JOIN role r ON r.name = a.role WHERE a.id = %s AND a.disabled_at IS NULL""",
            (account_id,),
        )
        row = await cursor.fetchone()
    if row is None:
        return None
    permissions, rows = _rights(row)
    access = Access(ActorKind.PERSON, row["login"], permissions, rows, account_id=row["id"])
    return Identity(access, row["full_name"], stored_profile(row["profile"]))


def _narrowed(access: Access, row: Mapping[str, Any]) -> Access:
    """The access of a token with scopes of FHIR: its permissions are good there alone. Where every scope is about one
    patient, the row scope is that patient's too, beside what FHIR itself asks for."""
    scopes = stored_scopes(row["fhir_scopes"])
    patients = () if row["fhir_patient"] is None else (int(row["fhir_patient"]),)
    permissions, rows = access.permissions, access.rows
    if scopes and all(scope.level == "patient" for scope in scopes):
        ids = tuple(sorted(set(row["fhir_patient_ids"])))
        narrowed = both(rows, RowScope(patient_ids=ids)) if ids else None
        if narrowed is None:
            permissions = frozenset()  # nothing fits both, which a row scope cannot say
        else:
            rows = narrowed
    found = FhirScopes(scopes, permissions, patients)
    return replace(access, permissions=frozenset(), rows=rows, fhir=found)


def _rights(row: Mapping[str, Any]) -> tuple[frozenset[Permission], RowScope]:
    """What role and account allow together. What cannot be understood allows nothing."""
    try:
        if row["role"] in BUILT_IN:
            permissions, rows = BUILT_IN[row["role"]].permissions, BUILT_IN[row["role"]].rows
        else:
            permissions = stored_permissions(row["role_permissions"])
            rows = row_scope_from_json(row["role_row_scope"] or {})
        seen = both(rows, row_scope_from_json(row["row_scope"]))
    except InvalidRequestError:
        return frozenset(), EVERYTHING
    if seen is None:
        # The role was changed since: no study fits both, which a row scope cannot say.
        return permissions - _OF_STUDIES, EVERYTHING
    return permissions, seen


def _is_due(people: People, last_at: dt.datetime | None) -> bool:
    return last_at is None or (people.now() - last_at).total_seconds() > _SEEN_EVERY_S

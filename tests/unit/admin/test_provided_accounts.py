"""Accounts of people whom somebody else vouches for: made, kept up to date, never taken over."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from fileroom.admin.accounts import (
    Account,
    AccountChange,
    change_account,
    change_own_password,
    find_account,
    rename_account,
    set_password,
)
from fileroom.admin.group_roles import GroupRole, choose_group_role, group_roles_of
from fileroom.admin.logins import Client, log_in
from fileroom.admin.passkeys import offer_passkey
from fileroom.admin.people import People
from fileroom.admin.provided_accounts import take_in
from fileroom.admin.provided_people import ProvidedPerson, Source
from fileroom.admin.roles import Role, add_role
from fileroom.admin.sessions import begin_session, list_sessions
from fileroom.admin.totp import offer_totp
from fileroom.core.access import EVERYTHING, NOBODY, Permission, RowScope, acting_as
from fileroom.core.errors import (
    ConfigurationError,
    ConflictError,
    InvalidRequestError,
    NotAllowedError,
    NotAuthenticatedError,
)
from people_of_tests import PASSWORD, access_of, add

HERE = "10.0.0.1"
MAPPING = group_roles_of(
    '{"admins": "administrator", "CN=CT Desk,OU=x": {"role": "technologist", "modalities": ["CT"]}, "readers": "physician"}',
    "ldap_roles",
)
ANNA = ProvidedPerson(Source.LDAP, "guid-1", "Anna", "Anna Müller", ("readers",))


async def _take(people: People, person: ProvidedPerson = ANNA) -> Account:
    with acting_as(NOBODY):
        taken = await take_in(people, person, MAPPING, address=HERE)
    return await find_account(people, taken.login)


async def test_an_account_is_made_and_follows_its_groups(people: People) -> None:
    made = await _take(people)
    assert (made.login, made.full_name, made.role, made.source) == ("anna", "Anna Müller", "physician", Source.LDAP)
    assert not made.has_password
    changed = await _take(people, dataclasses.replace(ANNA, groups=("cn=ct desk , ou=x", "readers"), full_name="Anna"))
    assert (changed.id, changed.role, changed.rows) == (made.id, "technologist", RowScope(modalities=("CT",)))
    assert (await access_of(people, changed)).rows == RowScope(modalities=("CT",))
    again = await _take(people)
    assert (again.id, again.role, again.rows) == (made.id, "physician", EVERYTHING)


async def test_who_loses_every_group_loses_role_and_sessions(people: People) -> None:
    anna = await _take(people)
    await begin_session(people, anna.id, HERE, "")
    with pytest.raises(NotAllowedError, match="anna is in no group that has a role here"):
        await _take(people, dataclasses.replace(ANNA, groups=("others",)))
    assert await list_sessions(people, "anna") == []
    assert (await access_of(people, anna)).permissions == frozenset()
    assert (await _take(people)).role == "physician"


async def test_a_stranger_without_a_group_gets_no_account(people: People) -> None:
    with pytest.raises(NotAllowedError):
        await _take(people, dataclasses.replace(ANNA, groups=()))
    assert (await _take(people)).created_at == people.now()


async def test_a_role_that_is_not_there_lets_nobody_in(people: People) -> None:
    for mapping in ((GroupRole("readers", "wizard"),), (GroupRole("readers", "narrow", RowScope(modalities=("MR",))),)):
        narrow = Role("narrow", frozenset({Permission.STUDY_SEARCH}), RowScope(modalities=("CT",)))
        if mapping[0].role == "narrow":
            await add_role(people, narrow)
        with pytest.raises(NotAllowedError):
            await take_in(people, ANNA, mapping, address=HERE)


async def test_a_login_that_is_somebody_s_is_not_taken_over(people: People) -> None:
    await add(people, "anna", "administrator")
    with pytest.raises(ConflictError, match="The login anna belongs to another account"):
        await _take(people)
    await rename_account(people, "anna", "anna-of-fileroom")
    await _take(people)
    for other in (Source.OPENID, Source.LDAP):
        with pytest.raises(ConflictError):
            await _take(people, dataclasses.replace(ANNA, source=other, subject="guid-2", groups=("admins",)))
    assert (await find_account(people, "anna")).role == "physician"


async def test_a_new_login_is_the_same_account(people: People) -> None:
    anna = await _take(people)
    married = await _take(people, dataclasses.replace(ANNA, login="schmidt"))
    assert (married.id, married.login) == (anna.id, "schmidt")
    await add(people, "boss", "administrator")
    with pytest.raises(ConflictError):
        await _take(people, dataclasses.replace(ANNA, login="boss"))


async def test_a_disabled_account_stays_disabled(people: People) -> None:
    await _take(people)
    await change_account(people, "anna", AccountChange(disabled=True))
    for groups in (("admins",), ()):
        with pytest.raises(NotAuthenticatedError):
            await _take(people, dataclasses.replace(ANNA, groups=groups))
    assert (await find_account(people, "anna")).disabled
    await change_account(people, "anna", AccountChange(disabled=False))
    await _take(people)


@pytest.mark.parametrize("login", ["", " ", "a b", "Müller", "x" * 65, "../x", "<script>"])
async def test_a_login_that_cannot_be_one_is_refused(people: People, login: str) -> None:
    with pytest.raises(InvalidRequestError):
        await _take(people, dataclasses.replace(ANNA, login=login))


async def test_a_name_is_kept_as_far_as_it_can_be_shown(people: People) -> None:
    assert (await _take(people, dataclasses.replace(ANNA, full_name="\u202eAnna\0\n" + "x" * 200))).full_name == (
        "Anna" + "x" * 96
    )


async def test_the_same_person_in_two_windows_gets_one_account(people: People) -> None:
    found = await asyncio.gather(*(take_in(people, ANNA, MAPPING, address=HERE) for _ in range(8)))
    assert len({one.id for one in found}) == 1


@pytest.mark.parametrize("source", [Source.LDAP, Source.OPENID])
async def test_what_others_decide_is_not_changed_here(people: People, source: Source) -> None:
    anna = await _take(people, dataclasses.replace(ANNA, source=source))
    for change in (
        AccountChange(role="administrator"),
        AccountChange(full_name="X"),
        AccountChange(rows=RowScope(("A",))),
    ):
        with pytest.raises(ConflictError, match="anna comes from the"):
            await change_account(people, "anna", change)
    with pytest.raises(ConflictError):
        await set_password(people, "anna", PASSWORD)
    with acting_as(await access_of(people, anna)):
        with pytest.raises(ConflictError):
            await change_own_password(people, None, PASSWORD, PASSWORD + "!")
        with pytest.raises(ConflictError):
            await offer_passkey(people, None)  # type: ignore[arg-type]  # not looked at
        if source is Source.OPENID:
            with pytest.raises(ConflictError):
                await offer_totp(people)
    with pytest.raises(NotAuthenticatedError):
        await log_in(people, "anna", PASSWORD, Client(HERE))


async def test_an_administrator_of_fileroom_itself_stays(people: People) -> None:
    await add(people, "boss", "administrator")
    await _take(people, dataclasses.replace(ANNA, groups=("admins",)))
    with pytest.raises(ConflictError, match="last administrator"):
        await change_account(people, "boss", AccountChange(disabled=True))
    await change_account(people, "anna", AccountChange(disabled=True))  # of the directory: it may


# --- the mapping ---


def test_the_first_group_of_the_mapping_decides() -> None:
    assert [one.group for one in MAPPING] == ["admins", "CN=CT Desk,OU=x", "readers"]
    for groups, role in (
        (("readers", "ADMINS"), "administrator"),
        (("cn = ct desk, ou = X",), "technologist"),
        (("CT Desk",), None),  # only as that DN
        (("readers ", "x"), "physician"),
        ((), None),
    ):
        found = choose_group_role(MAPPING, groups)
        assert (found.role if found else None) == role


@pytest.mark.parametrize(
    "setting",
    [
        "[]",
        "{",
        '{"a": 1}',
        '{"a": ""}',
        '{"": "physician"}',
        '{"a": {"modalities": ["CT"]}}',
        '{"a": {"role": "physician", "modality": ["CT"]}}',
        '{"a": {"role": "physician", "modalities": "CT"}}',
    ],
)
def test_a_mapping_that_cannot_be_understood_is_named(setting: str) -> None:
    with pytest.raises(ConfigurationError, match="FILEROOM_OIDC_ROLES"):
        group_roles_of(setting, "oidc_roles")
    assert group_roles_of("", "oidc_roles") == ()

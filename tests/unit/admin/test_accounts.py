"""Accounts: made, changed, disabled; who may give what to whom."""

from __future__ import annotations

import asyncio

import pytest

from fileroom.admin.accounts import (
    AccountChange,
    NewAccount,
    add_account,
    change_account,
    change_own_password,
    change_own_profile,
    find_account,
    find_own_account,
    list_accounts,
    set_password,
)
from fileroom.admin.authentication import identity_of_account, identity_of_session
from fileroom.admin.people import People
from fileroom.admin.profiles import Profile
from fileroom.admin.roles import Role, add_role, change_role
from fileroom.admin.sessions import begin_session
from fileroom.core.access import NOBODY, Permission, RowScope, acting_as
from fileroom.core.errors import ConflictError, InvalidRequestError, NotAllowedError, NotFoundError
from people_of_tests import OTHER_PASSWORD, PASSWORD, access_of, add, everything_stored

CT = RowScope(modalities=("CT",))


async def test_an_account_is_found_whatever_the_case_of_its_login(people: People) -> None:
    made = await add_account(people, NewAccount(" Mueller ", "radiologist", PASSWORD, "Anna Müller", CT))
    assert (made.login, made.full_name, made.role, made.rows) == ("mueller", "Anna Müller", "radiologist", CT)
    assert made.has_password
    assert not made.has_totp
    assert await find_account(people, "MUELLER") == made
    assert await list_accounts(people) == [made]


async def test_a_password_is_not_stored(people: People, empty_database: str) -> None:
    await add(people, "mueller")
    assert PASSWORD not in everything_stored(empty_database)


@pytest.mark.parametrize("login", ["", " ", "a b", ".a", "a/b", "a\0b", "x" * 65, "<script>", "müller", "../etc"])
async def test_odd_logins_are_refused(people: People, login: str) -> None:
    if login == "a\0b":
        login = "\0/"
    with pytest.raises(InvalidRequestError, match="is no login"):
        await add_account(people, NewAccount(login, "radiologist", PASSWORD))
    assert await list_accounts(people) == []


async def test_a_login_is_taken_once(people: People) -> None:
    await add(people, "mueller")
    with pytest.raises(ConflictError, match="account mueller already"):
        await add(people, "Mueller")


async def test_roles_must_exist_and_passwords_be_good(people: People) -> None:
    with pytest.raises(NotFoundError, match="no role 'wizard'"):
        await add(people, "a1", "wizard")
    with pytest.raises(InvalidRequestError, match="too short"):
        await add_account(people, NewAccount("a1", "radiologist", "short"))
    with pytest.raises(InvalidRequestError, match="guessers"):
        await add_account(people, NewAccount("jonathan", "radiologist", "jonathan-2026"))


async def test_nobody_does_nothing(people: People) -> None:
    made = await add(people, "mueller")
    for work in (
        add_account(people, NewAccount("x", "radiologist", PASSWORD)),
        list_accounts(people),
        find_account(people, "mueller"),
        find_account(people, "nobody"),
        change_account(people, "mueller", AccountChange(role="administrator")),
        set_password(people, "mueller", OTHER_PASSWORD),
        find_own_account(people),
    ):
        with acting_as(NOBODY), pytest.raises(NotAllowedError):
            await work
    assert await find_account(people, "mueller") == made


async def test_people_see_their_own_account_and_no_other(people: People) -> None:
    mine = await add(people, "mueller")
    await add(people, "schmidt")
    with acting_as(await access_of(people, mine)):
        assert await find_own_account(people) == mine
        assert await find_account(people, "mueller") == mine
        with pytest.raises(NotAllowedError):
            await find_account(people, "schmidt")
        with pytest.raises(NotAllowedError):
            await list_accounts(people)


async def test_a_change_leaves_the_rest(people: People) -> None:
    await add(people, "mueller", full_name="Anna Müller", rows=CT)
    changed = await change_account(people, "mueller", AccountChange(role="physician"))
    assert (changed.role, changed.full_name, changed.rows, changed.disabled) == ("physician", "Anna Müller", CT, False)
    changed = await change_account(people, "mueller", AccountChange(rows=RowScope(), full_name="A. M."))
    assert (changed.role, changed.full_name, changed.rows) == ("physician", "A. M.", RowScope())


async def test_disabling_ends_sessions_and_enabling_lets_in_again(people: People) -> None:
    account = await add(people, "mueller")
    session = await begin_session(people, account.id, "10.0.0.1", "")
    await change_account(people, "mueller", AccountChange(disabled=True))
    assert await identity_of_session(people, session.secret) is None
    assert await identity_of_account(people, account.id) is None
    await change_account(people, "mueller", AccountChange(disabled=False))
    assert await identity_of_account(people, account.id) is not None
    assert await identity_of_session(people, session.secret) is None


async def test_the_last_administrator_stays(people: People) -> None:
    await add(people, "one", "administrator")
    for change in (AccountChange(disabled=True), AccountChange(role="physician")):
        with pytest.raises(ConflictError, match="last administrator"):
            await change_account(people, "one", change)
    await add(people, "two", "administrator")
    await change_account(people, "one", AccountChange(role="physician"))
    with pytest.raises(ConflictError, match="last administrator"):
        await change_account(people, "two", AccountChange(disabled=True))


async def test_two_administrators_who_disable_each_other_leave_one(people: People) -> None:
    for _ in range(5):
        for login in ("one", "two"):
            with_account = {account.login for account in await list_accounts(people)}
            if login not in with_account:
                await add(people, login, "administrator")
            await change_account(people, login, AccountChange(disabled=False))
        outcomes = await asyncio.gather(
            *(change_account(people, login, AccountChange(disabled=True)) for login in ("one", "two")),
            return_exceptions=True,
        )
        assert sum(isinstance(outcome, ConflictError) for outcome in outcomes) == 1
        assert sum(not account.disabled for account in await list_accounts(people)) == 1


async def test_nobody_gives_rights_that_they_do_not_have(people: People) -> None:
    await add(people, "boss", "administrator")
    await add_role(people, Role("desk", frozenset({Permission.USER_MANAGE, Permission.STUDY_SEARCH})))
    desk = await access_of(people, await add(people, "desk", "desk"))
    with acting_as(desk):
        for attempt in (
            add_account(people, NewAccount("x", "administrator", PASSWORD)),
            add_account(people, NewAccount("x", "researcher", PASSWORD)),
            change_account(people, "desk", AccountChange(role="administrator")),
            change_account(people, "boss", AccountChange(disabled=True)),
            set_password(people, "boss", OTHER_PASSWORD),
            add_role(people, Role("more", frozenset({Permission.STUDY_DELETE}))),
            change_role(people, Role("desk", frozenset({Permission.STUDY_DELETE}))),
        ):
            with pytest.raises(NotAllowedError):
                await attempt
        await add_account(people, NewAccount("colleague", "desk", PASSWORD))
    assert [account.login for account in await list_accounts(people)] == ["boss", "colleague", "desk"]


async def test_nobody_shows_studies_that_they_do_not_see(people: People) -> None:
    rights = frozenset({Permission.USER_MANAGE, Permission.STUDY_SEARCH})
    await add_role(people, Role("ct-desk", rights, CT))
    await add_role(people, Role("all-desk", rights))
    await add_role(people, Role("ct-mr-desk", rights, RowScope(modalities=("CT", "MR"))))
    desk = await access_of(people, await add(people, "desk", "ct-desk"))
    with acting_as(desk):
        for role in ("all-desk", "ct-mr-desk"):
            with pytest.raises(NotAllowedError, match="does not see"):
                await add(people, "x", role)
        await add(people, "colleague", "ct-desk")


async def test_role_and_account_must_leave_something(people: People) -> None:
    await add_role(people, Role("ct", frozenset({Permission.STUDY_SEARCH}), CT))
    with pytest.raises(InvalidRequestError, match="nothing in common"):
        await add(people, "x", "ct", rows=RowScope(modalities=("MR",)))


async def test_where_a_later_role_leaves_nothing_nothing_is_seen(people: People) -> None:
    rights = frozenset({Permission.STUDY_SEARCH, Permission.STUDY_VIEW, Permission.NODE_READ})
    await add_role(people, Role("desk", rights, RowScope(modalities=("CT", "MR"))))
    account = await add(people, "x", "desk", rows=CT)
    assert (await access_of(people, account)).rows == CT
    await change_role(people, Role("desk", rights, RowScope(modalities=("US",))))
    access = await access_of(people, account)
    assert access.permissions == {Permission.NODE_READ}


async def test_a_new_password_ends_the_sessions(people: People) -> None:
    account = await add(people, "mueller")
    session = await begin_session(people, account.id, "10.0.0.1", "")
    await set_password(people, "mueller", OTHER_PASSWORD)
    assert await identity_of_session(people, session.secret) is None


async def test_a_new_password_of_ones_own_spares_the_session_it_was_made_in(people: People) -> None:
    account = await add(people, "mueller")
    here = await begin_session(people, account.id, "10.0.0.1", "")
    elsewhere = await begin_session(people, account.id, "10.0.0.2", "")
    identity = await identity_of_session(people, here.secret)
    assert identity is not None
    with acting_as(identity.access):
        with pytest.raises(InvalidRequestError, match="is the old one"):
            await change_own_password(people, identity.session_id, PASSWORD, PASSWORD)
        with pytest.raises(InvalidRequestError, match="too short"):
            await change_own_password(people, identity.session_id, PASSWORD, "short")
        assert await identity_of_session(people, elsewhere.secret) is not None
        await change_own_password(people, identity.session_id, PASSWORD, OTHER_PASSWORD)
    assert await identity_of_session(people, here.secret) is not None
    assert await identity_of_session(people, elsewhere.secret) is None


async def test_a_profile_is_kept(people: People) -> None:
    account = await add(people, "mueller")
    profile = Profile("de", "Europe/Berlin", "dark", "compact", ("PatientName", "StudyDate"), "images", "mpr")
    with acting_as(await access_of(people, account)):
        await change_own_profile(people, profile)
        assert (await find_own_account(people)).profile == profile
    identity = await identity_of_account(people, account.id)
    assert identity is not None
    assert identity.profile == profile


@pytest.mark.parametrize(
    "profile",
    [
        Profile(language="xx"),
        Profile(time_zone="Mars/Olympus"),
        Profile(time_zone="../../etc/passwd"),
        Profile(theme="pink"),
        Profile(columns=("x" * 65,)),
        Profile(layout="2x2"),
        Profile(hanging_protocol="a\0b"),
    ],
)
async def test_a_profile_that_makes_no_sense_is_refused(people: People, profile: Profile) -> None:
    account = await add(people, "mueller")
    with acting_as(await access_of(people, account)), pytest.raises(InvalidRequestError):
        await change_own_profile(people, profile)


async def test_a_row_that_cannot_be_understood_allows_nothing(people: People) -> None:
    account = await add(people, "mueller")
    async with people.pool.connection() as connection:
        await connection.execute(b"""UPDATE account SET row_scope = '{"planets": ["Mars"]}', profile = '[1]'""")
    identity = await identity_of_account(people, account.id)
    assert identity is not None
    assert identity.access.permissions == frozenset()
    assert identity.profile == Profile()


async def test_an_account_whose_role_is_gone_may_nothing(people: People) -> None:
    account = await add(people, "mueller")
    async with people.pool.connection() as connection:
        await connection.execute(b"UPDATE account SET role = 'gone'")
    assert (await access_of(people, account)).permissions == frozenset()

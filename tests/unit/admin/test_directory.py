"""The directory as Active Directory speaks it: groups in groups by its rule, its reasons, references, and what goes wrong."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from active_directory import BASE, GROUP_DN, GUID, PASSWORD, PERSON_DN, SERVICE, ActiveDirectory
from fileroom.admin.accounts import AccountChange, change_account, find_account
from fileroom.admin.authentication import identity_of_token
from fileroom.admin.directory import Directory, RefusedByDirectoryError
from fileroom.admin.directory_refresh import refresh_directory_accounts
from fileroom.admin.logins import Client, log_in
from fileroom.admin.people import People
from fileroom.admin.tokens import TokenRequest, create_own_token
from fileroom.archive.services import Archive
from fileroom.core import limits
from fileroom.core.access import Permission, acting_as
from fileroom.core.errors import ProviderDownError
from fileroom.core.settings import Settings
from people_of_tests import HeldClock, access_of, people_of


@pytest.fixture
def active() -> Iterator[ActiveDirectory]:
    with ActiveDirectory() as running:
        yield running


def _settings(*urls: str, **more: object) -> Settings:
    given = {
        "ldap_url": " ".join(urls),
        "ldap_base": BASE,
        "ldap_bind_dn": SERVICE[0],
        "ldap_bind_password": SERVICE[1],
        "ldap_plain": True,
        "ldap_nested_groups": "rule",
    }
    return Settings(**(given | more))


async def test_somebody_of_active_directory_is_found_with_the_groups_of_their_groups(active: ActiveDirectory) -> None:
    found = await Directory().find_person(_settings(active.url), "amueller", PASSWORD)
    assert found is not None
    assert (found.subject, found.login, found.full_name, found.place) == (
        str(GUID),
        "amueller",
        "Müller, Anna",
        PERSON_DN,
    )
    assert found.groups == (GROUP_DN, "Radiologists")
    assert active.binds == [SERVICE, (PERSON_DN, PASSWORD)]


async def test_nothing_is_tried_without_a_password(active: ActiveDirectory) -> None:
    with pytest.raises(RefusedByDirectoryError):
        await Directory().find_person(_settings(active.url), "amueller", "")
    assert active.binds == []
    assert await Directory().find_person(_settings(active.url), "amueller", None) is not None
    assert active.binds == [SERVICE]


@pytest.mark.parametrize(
    ("reason", "told"),
    [("", ""), ("data 52e", ""), ("data 533", ""), ("data 532", "run out"), ("data 773", "wants a new password")],
)
async def test_why_a_password_is_refused_is_told_only_to_who_has_it(
    active: ActiveDirectory, reason: str, told: str
) -> None:
    active.reason = reason
    with pytest.raises(RefusedByDirectoryError) as refused:
        await Directory().find_person(_settings(active.url), "amueller", PASSWORD if reason else "wrong")
    assert told in refused.value.args[0]
    assert bool(told) == bool(refused.value.args[0])


async def test_a_login_of_two_people_is_nobody_s(active: ActiveDirectory) -> None:
    active.doubles = 2
    assert await Directory().find_person(_settings(active.url), "amueller", PASSWORD) is None


async def test_a_value_that_looks_like_a_place_in_the_filter_stays_what_it_is(active: ActiveDirectory) -> None:
    await Directory().find_person(_settings(active.url, ldap_user_filter="(cn={login})"), "{dn}*)(x=", PASSWORD)
    assert active.filters == [[(0xA3, ("cn", "{dn}*)(x="))]]


async def test_a_server_that_is_down_is_asked_last(active: ActiveDirectory) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        down = f"ldap://127.0.0.1:{closed.getsockname()[1]}"
    directory, settings = Directory(), _settings(down, active.url)
    for _ in range(2):
        assert await directory.find_person(settings, "amueller", PASSWORD) is not None
    assert str(directory._in_order(settings)[0]) in active.url
    with pytest.raises(ProviderDownError):
        await directory.find_person(_settings(down), "amueller", PASSWORD)


async def test_a_server_that_never_answers_is_given_up(
    active: ActiveDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fileroom.admin.directory.DIRECTORY_ANSWER_TIMEOUT_S", 1)
    assert limits.DIRECTORY_ANSWER_TIMEOUT_S > 1
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"ldap://127.0.0.1:{silent.getsockname()[1]}"
        assert await Directory().find_person(_settings(url, active.url), "amueller", PASSWORD) is not None


@pytest.mark.parametrize(
    "wrong",
    [
        {"ldap_bind_password": "wrong"},
        {"ldap_bind_password": ""},
        {"ldap_url": "http://127.0.0.1"},
        {"ldap_url": "ldaps://"},
        {"ldap_plain": False},  # it cannot StartTLS
        {"ldap_ca": "/nowhere/ca.pem"},
        {"ldap_user_filter": "(((("},
    ],
)
async def test_what_is_set_up_wrongly_is_no_wrong_password(active: ActiveDirectory, wrong: dict[str, object]) -> None:
    with pytest.raises(ProviderDownError, match="Accounts of Fileroom itself"):
        await Directory().find_person(_settings(active.url, **wrong), "amueller", PASSWORD)
    assert (PERSON_DN, PASSWORD) not in active.binds


async def test_who_is_disabled_there_is_nobody_here(active: ActiveDirectory) -> None:
    active.control |= 0x2
    for password in (PASSWORD, None):
        assert await Directory().find_person(_settings(active.url), "amueller", password) is None


# --- between logins ---


async def _may_view(people: People, token: str) -> bool:
    identity = await identity_of_token(people, token)
    return identity is not None and identity.access.allows(Permission.STUDY_VIEW)


async def test_who_leaves_loses_session_and_rights_without_another_login(
    active: ActiveDirectory, archive: Archive, clock: HeldClock
) -> None:
    given = _settings(active.url, ldap_roles='{"Radiologists": "radiologist"}')
    people = people_of(
        archive, clock, **given.model_dump(include={n for n in Settings.model_fields if n[:5] == "ldap_"})
    )
    await log_in(people, "amueller", PASSWORD, Client("10.0.0.1"))
    account = await find_account(people, "amueller")
    with acting_as(await access_of(people, account)):
        token = await create_own_token(people, TokenRequest("script"))

    async def refreshed() -> bool:
        await refresh_directory_accounts(people)
        return await _may_view(people, token)

    async def sessions() -> int:
        async with people.pool.connection() as connection:
            cursor = await connection.execute(b"SELECT count(*) FROM session WHERE account_id = %s", (account.id,))
            return (await cursor.fetchone())[0]  # type: ignore[index]  # it counts

    assert await refreshed()
    assert await sessions() == 1
    for leaves, comes_back in (
        ({"control": 0x202}, {"control": 0x200}),
        ({"doubles": 0}, {"doubles": 1}),
        ({"is_member": False}, {"is_member": True}),
    ):
        vars(active).update(leaves)
        assert not await refreshed()
        assert await sessions() == 0
        vars(active).update(comes_back)
        assert await refreshed()
    active.is_down = True
    assert await refreshed()  # a directory that does not answer changes nothing
    active.is_down = False
    await change_account(people, "amueller", AccountChange(disabled=True))
    assert not await refreshed()
    assert (await find_account(people, "amueller")).disabled

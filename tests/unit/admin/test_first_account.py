"""The first start makes the account admin, once."""

from __future__ import annotations

import asyncio
import re

import pytest
from pydantic import SecretStr

from fileroom.admin.accounts import AccountChange, change_account, list_accounts
from fileroom.admin.first_account import ensure_first_account
from fileroom.admin.logins import Client, log_in
from fileroom.admin.people import People
from fileroom.archive.services import Archive
from fileroom.core.errors import ConfigurationError
from people_of_tests import HeldClock, add, everything_stored, people_of


async def test_a_random_password_is_made_and_told_once(people: People, empty_database: str) -> None:
    first = await ensure_first_account(people)
    assert first is not None
    assert first.login == "admin"
    assert first.password is not None
    assert re.fullmatch(r"([a-z2-9]{5}-){3}[a-z2-9]{5}", first.password)
    assert first.password not in everything_stored(empty_database)
    assert await log_in(people, "admin", first.password, Client("10.0.0.1"))
    assert [(account.login, account.role) for account in await list_accounts(people)] == [("admin", "administrator")]
    assert await ensure_first_account(people) is None


async def test_the_password_of_the_setting_is_taken(archive: Archive, clock: HeldClock) -> None:
    people = people_of(archive, clock, admin_password=SecretStr("tin-roof-9"))
    first = await ensure_first_account(people)
    assert first is not None
    assert first.password is None
    assert await log_in(people, "admin", "tin-roof-9", Client("10.0.0.1"))


@pytest.mark.parametrize("password", ["k7#Vx9q", "admin123", "password1234"])
async def test_a_weak_one_stops_the_start(archive: Archive, clock: HeldClock, password: str) -> None:
    people = people_of(archive, clock, admin_password=SecretStr(password))
    with pytest.raises(ConfigurationError, match="FILEROOM_ADMIN_PASSWORD") as refused:
        await ensure_first_account(people)
    assert password not in str(refused.value)
    assert await list_accounts(people) == []


async def test_where_there_is_an_account_nothing_is_made(people: People) -> None:
    await add(people, "one", "administrator")
    await add(people, "two", "administrator")
    await change_account(people, "one", AccountChange(disabled=True))
    assert await ensure_first_account(people) is None
    assert len(await list_accounts(people)) == 2


async def test_of_several_machines_one_makes_it(people: People) -> None:
    made = await asyncio.gather(*(ensure_first_account(people) for _ in range(5)))
    assert sum(first is not None for first in made) == 1

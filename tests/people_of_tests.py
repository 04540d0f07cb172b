"""People for tests: a clock that stands still until it is moved, and somebody to act as."""

from __future__ import annotations

import datetime as dt

import argon2
import psycopg

from fileroom.admin.accounts import Account, NewAccount, add_account
from fileroom.admin.authentication import identity_of_account
from fileroom.admin.passwords import PasswordHashing
from fileroom.admin.people import People
from fileroom.archive.services import Archive
from fileroom.core.access import Access
from fileroom.core.settings import Settings

PASSWORD = "violet-kettle-harbour-42"
OTHER_PASSWORD = "seven lamps over water"


class HeldClock:
    """The time, aware, in UTC; it passes by `wait` only."""

    def __init__(self) -> None:
        self.time = dt.datetime(2026, 11, 20, 12, 0, tzinfo=dt.UTC)

    def __call__(self) -> dt.datetime:
        return self.time

    def wait(self, seconds: float = 0, **more: float) -> None:
        self.time += dt.timedelta(seconds=seconds, **more)


def people_of(archive: Archive, clock: HeldClock, **settings: object) -> People:
    """The services around people on the archive's database."""
    return People(archive.pool, Settings(**settings), clock, quick_hashing())  # type: ignore[arg-type]


def quick_hashing() -> PasswordHashing:
    """The same in a hundredth of the time."""
    hasher = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    return PasswordHashing(hasher, hasher.hash("nobody"))


async def add(people: People, login: str, role: str = "radiologist", **more: object) -> Account:
    """An account with PASSWORD."""
    return await add_account(people, NewAccount(login, role, PASSWORD, **more))  # type: ignore[arg-type]


async def access_of(people: People, account: Account) -> Access:
    """What the account may do now."""
    identity = await identity_of_account(people, account.id)
    assert identity is not None
    return identity.access


def everything_stored(database_url: str) -> str:
    """All rows of the tables of people as text."""
    tables = ("account", "recovery_code", "session", "api_token", "login_failure", "known_address", "passkey")
    with psycopg.connect(database_url) as connection:
        return "\n".join(
            str(row) for table in tables for row in connection.execute(f"SELECT t::text FROM {table} t").fetchall()
        )

"""Named entries: each section's own permissions, versions, two people at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from fileroom.admin.entries import (
    EditedMeanwhileError,
    Section,
    get_entry,
    list_entries,
    list_entry_versions,
    put_entry,
    remove_entry,
    set_entry_enabled,
)
from fileroom.admin.people import People
from fileroom.core.access import Access, ActorKind, Permission, acting_as
from fileroom.core.errors import InvalidRequestError, NotAllowedError, NotFoundError


def _check(_name: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    if "word" not in fields:
        raise InvalidRequestError("A trial has a word.")
    return {"word": str(fields["word"]), "key": str(fields.get("key", ""))}


TRIALS = Section(
    "trials",
    "trial",
    _check,
    lambda fields: frozenset({("key",)}) if fields.get("key") else frozenset(),
    may_read=Permission.MESSAGE_READ,
    may_manage=Permission.MESSAGE_MANAGE,
)


def somebody(*permissions: Permission) -> Access:
    """A person with these permissions alone."""
    return Access(ActorKind.PERSON, "ann", frozenset(permissions))


async def test_a_section_asks_for_its_own_permissions(people: People) -> None:
    pool, settings = people.pool, people.settings
    await put_entry(pool, settings, TRIALS, "one", {"word": "a"})
    with acting_as(somebody(*(set(Permission) - {Permission.MESSAGE_READ}))):
        for refused in (
            list_entries(pool, TRIALS),
            get_entry(pool, TRIALS, "one"),
            list_entry_versions(pool, TRIALS, "one"),
        ):
            with pytest.raises(NotAllowedError):
                await refused
    with acting_as(somebody(*(set(Permission) - {Permission.MESSAGE_MANAGE}))):
        for refused_change in (
            put_entry(pool, settings, TRIALS, "one", {"word": "b"}),
            set_entry_enabled(pool, settings, TRIALS, "one", enabled=False),
            remove_entry(pool, TRIALS, "one"),
        ):
            with pytest.raises(NotAllowedError):
                await refused_change
        assert [one.fields["word"] for one in await list_entries(pool, TRIALS)] == ["a"]
    with acting_as(somebody(Permission.MESSAGE_READ, Permission.MESSAGE_MANAGE)):
        assert (await put_entry(pool, settings, TRIALS, "one", {"word": "b"})).version == 2


async def test_who_edits_what_another_has_changed_is_told(people: People) -> None:
    pool, settings = people.pool, people.settings
    first = await put_entry(pool, settings, TRIALS, "one", {"word": "a"})
    await put_entry(pool, settings, TRIALS, "one", {"word": "b"}, version=first.version)
    with pytest.raises(EditedMeanwhileError) as told:
        await put_entry(pool, settings, TRIALS, "one", {"word": "c"}, version=first.version)
    assert told.value.now.fields["word"] == "b"
    assert [one.fields["word"] for one in await list_entry_versions(pool, TRIALS, "one")] == ["b", "a"]


async def test_a_secret_is_never_shown_and_stays_when_it_is_not_given_anew(people: People) -> None:
    pool, settings = people.pool, people.settings
    await put_entry(pool, settings, TRIALS, "one", {"word": "a", "key": "hush"})
    assert (await get_entry(pool, TRIALS, "one")).fields == {"word": "a", "key": "secret"}
    await put_entry(pool, settings, TRIALS, "one", {"word": "b", "key": "secret"})
    async with pool.connection() as connection:
        cursor = await connection.execute(b"SELECT count(*) FROM named_entry WHERE secrets IS NOT NULL")
        assert await cursor.fetchone() == (1,)
        cursor = await connection.execute(b"SELECT count(*) FROM named_entry_version WHERE fields::text LIKE '%hush%'")
        assert await cursor.fetchone() == (0,)


async def test_what_is_wrong_changes_nothing(people: People) -> None:
    pool, settings = people.pool, people.settings
    with pytest.raises(InvalidRequestError):
        await put_entry(pool, settings, TRIALS, "one", {})
    with pytest.raises(NotFoundError):
        await get_entry(pool, TRIALS, "one")

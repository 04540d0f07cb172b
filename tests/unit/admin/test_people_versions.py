"""Two administrators and one account or role: the second sees the difference, and nothing is lost."""

from __future__ import annotations

import asyncio

import pytest

from fileroom.admin.accounts import AccountChange, change_account, find_account
from fileroom.admin.node_fields import Difference
from fileroom.admin.people import People
from fileroom.admin.people_versions import VERSIONS_KEPT_MAX, EditedMeanwhileError
from fileroom.admin.roles import Role, add_role, change_role, find_role, remove_role
from fileroom.core.access import Permission, RowScope
from fileroom.core.errors import ConflictError
from people_of_tests import add

VIEW = frozenset({Permission.STUDY_SEARCH, Permission.STUDY_VIEW})


async def test_every_change_of_an_account_counts_and_one_that_changes_nothing_does_not(people: People) -> None:
    assert (await add(people, "mueller")).version == 1
    assert (await change_account(people, "mueller", AccountChange(role="physician"), version=1)).version == 2
    changed = await change_account(people, "mueller", AccountChange(disabled=True))  # in one step: any version
    assert (changed.version, changed.changed_by) == (3, "system")
    assert (await change_account(people, "mueller", AccountChange(disabled=True))).version == 3


async def test_the_second_change_of_an_account_is_refused_with_what_the_first_one_did(people: People) -> None:
    await add(people, "mueller", full_name="Anna", rows=RowScope(modalities=("CT",)))
    theirs = AccountChange("Anna M.", "physician", RowScope(), disabled=True)
    await change_account(people, "mueller", theirs, version=1)
    mine = AccountChange("Anna Müller", "radiologist", RowScope(institutions=("North",), modalities=("CT",)))
    with pytest.raises(EditedMeanwhileError, match="mueller was changed by system while you were editing it") as caught:
        await change_account(people, "mueller", mine, version=1)
    assert caught.value.version == 2
    assert caught.value.theirs == (
        Difference("full_name", "Anna", "Anna M."),
        Difference("role", "radiologist", "physician"),
        Difference("disabled", "no", "yes"),
        Difference("modalities", "CT", ""),
    )
    assert caught.value.clashes == (Difference("full_name", "Anna M.", "Anna Müller"),)
    merged = caught.value.merged
    assert (merged["full_name"], merged["role"], merged["disabled"]) == ("Anna Müller", "physician", True)
    assert (merged["modalities"], merged["institutions"]) == ([], ["North"])
    now = await find_account(people, "mueller")
    assert (now.full_name, now.role, now.rows, now.version) == ("Anna M.", "physician", RowScope(), 2)
    await change_account(people, "mueller", mine, version=2)
    assert (await find_account(people, "mueller")).full_name == "Anna Müller"


async def test_of_two_in_the_same_moment_one_is_told(people: People) -> None:
    await add(people, "mueller")
    changes = (AccountChange(full_name="One"), AccountChange(role="physician"))
    outcomes = await asyncio.gather(
        *(change_account(people, "mueller", change, version=1) for change in changes), return_exceptions=True
    )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Account", "EditedMeanwhileError"]
    assert (await find_account(people, "mueller")).version == 2


async def test_an_edit_that_was_left_open_too_long_counts_as_ones_own(people: People) -> None:
    await add(people, "mueller")
    for number in range(VERSIONS_KEPT_MAX + 2):
        await change_account(people, "mueller", AccountChange(full_name=f"Name {number}"))
    for version in (1, 0, 9999):
        with pytest.raises(EditedMeanwhileError) as caught:
            await change_account(people, "mueller", AccountChange(full_name="Mine"), version=version)
        assert caught.value.theirs == ()
        assert caught.value.merged["full_name"] == "Mine"
    async with people.pool.connection() as connection:
        cursor = await connection.execute(b"SELECT count(*) FROM people_version")
        assert await cursor.fetchone() == (VERSIONS_KEPT_MAX,)


async def test_permissions_that_two_give_and_take_add_up(people: People) -> None:
    await add_role(people, Role("ct-desk", VIEW, description="The desk"))
    await change_role(people, Role("ct-desk", VIEW | {Permission.STUDY_STORE}, description="Desk"), version=1)
    mine = Role("ct-desk", frozenset({Permission.STUDY_SEARCH}), RowScope(modalities=("CT",)), "The desk")
    with pytest.raises(EditedMeanwhileError, match="ct-desk was changed by system") as caught:
        await change_role(people, mine, version=1)
    assert caught.value.theirs == (
        Difference("description", "The desk", "Desk"),
        Difference("study.store", "no", "yes"),
    )
    assert caught.value.clashes == ()
    merged = caught.value.merged
    assert {may for may in Permission if merged[may]} == {Permission.STUDY_SEARCH, Permission.STUDY_STORE}
    assert (merged["description"], merged["modalities"]) == ("Desk", ["CT"])
    assert (await find_role(people, "ct-desk")).permissions == VIEW | {Permission.STUDY_STORE}
    await change_role(people, mine, version=2)
    assert await find_role(people, "ct-desk") == mine
    await change_role(people, Role("ct-desk", VIEW))  # in one step: the last word wins
    assert (await find_role(people, "ct-desk")).version == 4


async def test_a_role_that_is_made_anew_has_no_past(people: People) -> None:
    await add_role(people, Role("ct-desk", VIEW))
    await change_role(people, Role("ct-desk", frozenset({Permission.STUDY_VIEW})))
    await remove_role(people, "ct-desk")
    await add_role(people, Role("ct-desk", VIEW, description="Another"))
    with pytest.raises(EditedMeanwhileError) as caught:
        await change_role(people, Role("ct-desk", VIEW), version=2)
    assert caught.value.theirs == ()
    with pytest.raises(ConflictError, match="built in"):
        await change_role(people, Role("auditor", VIEW), version=1)

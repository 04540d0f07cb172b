"""Roles, and what is left where the row scopes of a role and an account hold together."""

from __future__ import annotations

import pytest

from fileroom.admin.people import People
from fileroom.admin.roles import (
    ADMINISTRATOR,
    BUILT_IN,
    Role,
    add_role,
    change_role,
    find_role,
    list_roles,
    permissions_from_names,
    remove_role,
    stored_permissions,
)
from fileroom.admin.row_scopes import both, is_within, row_scope_from_json, row_scope_to_json
from fileroom.admin.tokens import TokenRequest, create_token, revoke_token
from fileroom.core.access import EVERYTHING, Permission, RowScope
from fileroom.core.errors import ConflictError, InvalidRequestError, NotFoundError
from people_of_tests import add

VIEW = frozenset({Permission.STUDY_VIEW})
CT = RowScope(modalities=("CT",))


def test_the_built_in_roles_are_those_of_a_hospital() -> None:
    assert list(BUILT_IN) == [
        ADMINISTRATOR,
        "radiologist",
        "physician",
        "technologist",
        "researcher",
        "auditor",
        "interface analyst",
        "edge",
    ]
    assert BUILT_IN[ADMINISTRATOR].permissions == frozenset(Permission)
    for name in ("radiologist", "physician", "technologist", "researcher"):
        assert {Permission.STUDY_SEARCH, Permission.STUDY_VIEW} <= BUILT_IN[name].permissions
        assert Permission.USER_MANAGE not in BUILT_IN[name].permissions
    assert not [permission for permission in BUILT_IN["auditor"].permissions if permission.startswith("study.")]


async def test_a_role_is_made_changed_and_removed(people: People) -> None:
    role = Role("ct-desk", VIEW, CT, "The desk of the CT")
    await add_role(people, role)
    assert await find_role(people, "ct-desk") == role
    assert await list_roles(people) == [*BUILT_IN.values(), role]
    await change_role(people, Role("ct-desk", VIEW))
    assert (await find_role(people, "ct-desk")).rows == EVERYTHING
    await remove_role(people, "ct-desk")
    with pytest.raises(NotFoundError, match="Built in are administrator"):
        await find_role(people, "ct-desk")
    for attempt in (change_role(people, role), remove_role(people, "ct-desk")):
        with pytest.raises(NotFoundError):
            await attempt


async def test_built_in_roles_stay_as_they_are(people: People) -> None:
    for attempt in (
        add_role(people, Role("radiologist", VIEW)),
        change_role(people, Role("radiologist", VIEW)),
        remove_role(people, "radiologist"),
    ):
        with pytest.raises(ConflictError, match="built in"):
            await attempt


@pytest.mark.parametrize(
    "role",
    [
        Role("", VIEW),
        Role("A B", VIEW),
        Role("x" * 41, VIEW),
        Role("x", frozenset()),
        Role("x", VIEW, description="\0"),
    ],
)
async def test_a_role_that_makes_no_sense_is_refused(people: People, role: Role) -> None:
    with pytest.raises(InvalidRequestError):
        await add_role(people, role)


async def test_a_role_that_somebody_has_stays(people: People) -> None:
    await add_role(people, Role("a-role", VIEW))
    await add_role(people, Role("b-role", VIEW))
    await add(people, "mueller", "a-role")
    await create_token(people, TokenRequest("t"), "b-role")
    for name in ("a-role", "b-role"):
        with pytest.raises(ConflictError, match="still given"):
            await remove_role(people, name)
    await revoke_token(people, "t")
    await remove_role(people, "b-role")


def test_permissions_have_names() -> None:
    assert permissions_from_names(["study.view"]) == VIEW
    with pytest.raises(InvalidRequestError, match=r"no permission 'fly'. There are study\.search, "):
        permissions_from_names(["study.view", "fly"])
    assert stored_permissions(["study.view", "of.the.future"]) == VIEW


# --- row scopes ---


@pytest.mark.parametrize(
    ("first", "second", "left"),
    [
        (EVERYTHING, EVERYTHING, EVERYTHING),
        (EVERYTHING, CT, CT),
        (CT, EVERYTHING, CT),
        (CT, RowScope(modalities=("CT", "MR")), CT),
        (CT, RowScope(modalities=("ct", "MR")), None),  # as the index has them: in capitals
        (RowScope(patient_ids=("ab", "X")), RowScope(patient_ids=("AB", "X")), RowScope(patient_ids=("X",))),
        (
            RowScope(institutions=("Clinic  A",)),
            RowScope(institutions=("CLINIC A",)),
            RowScope(institutions=("Clinic  A",)),
        ),
        (
            RowScope(referring_physicians=("doe^john",)),
            RowScope(referring_physicians=("Doe^John^^",)),
            RowScope(referring_physicians=("doe^john",)),
        ),
        (CT, RowScope(modalities=("MR",)), None),
        (CT, RowScope(institutions=("A",)), RowScope(modalities=("CT",), institutions=("A",))),
        (CT, RowScope(own_uploads=True), RowScope(modalities=("CT",), own_uploads=True)),
    ],
)
def test_two_scopes_leave_what_fits_both(first: RowScope, second: RowScope, left: RowScope | None) -> None:
    assert both(first, second) == left


def test_within() -> None:
    wide = RowScope(modalities=("CT", "MR"))
    assert is_within(CT, EVERYTHING)
    assert is_within(CT, wide)
    assert is_within(wide, wide)
    assert is_within(RowScope(modalities=("CT",), own_uploads=True), wide)
    assert not is_within(EVERYTHING, wide)
    assert not is_within(wide, CT)
    assert not is_within(RowScope(institutions=("A",)), wide)
    assert not is_within(RowScope(patient_ids=("ab",)), RowScope(patient_ids=("AB",)))
    assert not is_within(wide, RowScope(modalities=("CT", "MR"), own_uploads=True))


def test_a_scope_survives_json() -> None:
    scope = RowScope(("Clinic A",), ("CT", "MR"), ("doe^john",), ("1", "2"), True)
    assert row_scope_from_json(row_scope_to_json(scope)) == scope
    assert row_scope_to_json(EVERYTHING) == {}
    assert row_scope_from_json({}) == EVERYTHING
    assert row_scope_from_json({"referring_physicians": ["Doe^John^^"]}).referring_physicians == ("doe^john",)


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        "CT",
        {"planets": ["Mars"]},
        {"modalities": "CT"},
        {"modalities": [1]},
        {"modalities": [""]},
        {"modalities": [" "]},
        {"own_uploads": 1},
        {"patient_ids": ["a\0b"]},
        {"institutions": ["x" * 300]},
        {"patient_ids": [str(number) for number in range(1001)]},
    ],
)
def test_a_scope_that_cannot_be_understood_is_refused(value: object) -> None:
    with pytest.raises(InvalidRequestError):
        row_scope_from_json(value)

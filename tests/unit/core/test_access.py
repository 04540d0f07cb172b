"""Who acts: nobody unless it was said, and only inside of where it was said."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from fileroom.core import access
from fileroom.core.access import (
    NOBODY,
    SYSTEM,
    Access,
    ActorKind,
    Permission,
    RowScope,
    acting_as,
    current_access,
    require,
)
from fileroom.core.errors import NotAllowedError

VIEWER = Access(ActorKind.PERSON, "ada", frozenset({Permission.STUDY_VIEW}))


@pytest.fixture(autouse=True)
def _process_of_nobody() -> Iterator[None]:
    before = current_access()
    access.set_process_access(NOBODY)
    yield
    access.set_process_access(before)


def test_nothing_is_permitted_where_nobody_was_named() -> None:
    assert current_access() is NOBODY
    for permission in Permission:
        with pytest.raises(NotAllowedError, match=permission.value):
            require(permission)


def test_a_permission_holds_inside_and_ends_with_the_block() -> None:
    with acting_as(VIEWER):
        assert require(Permission.STUDY_VIEW) is VIEWER
        with pytest.raises(NotAllowedError, match=r"ada has no permission study\.delete"):
            require(Permission.STUDY_DELETE)
        with acting_as(SYSTEM):
            require(Permission.STUDY_DELETE)
        assert current_access() is VIEWER
    assert current_access() is NOBODY


def test_the_process_s_own_access_is_the_ground() -> None:
    access.set_process_access(SYSTEM)
    assert require(Permission.USER_MANAGE) is SYSTEM
    with acting_as(VIEWER), pytest.raises(NotAllowedError):
        require(Permission.USER_MANAGE)


async def test_tasks_keep_the_one_in_whose_name_they_were_started() -> None:
    gate = asyncio.Event()

    async def later() -> Access:
        await gate.wait()
        return current_access()

    with acting_as(VIEWER):
        task = asyncio.create_task(later())
    gate.set()
    assert await task is VIEWER
    assert current_access() is NOBODY


def test_a_scope_without_lists_is_everything() -> None:
    assert RowScope().is_everything
    assert not RowScope(modalities=("CT",)).is_everything
    assert not RowScope(own_uploads=True).is_everything

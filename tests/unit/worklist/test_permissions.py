"""Every service of `worklist` asks for the permission that the list names, before it does anything."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from typing import Any

import pytest

import fileroom.worklist
from fileroom.core.access import NOBODY, Access, ActorKind, Permission, acting_as
from fileroom.core.errors import NotAllowedError
from unit.test_service_permissions import Nothing, refuses
from worklist_permissions import INNER, WORKLIST


def services() -> dict[str, Callable[..., Any]]:
    """Public coroutines and asynchronous generators that take the archive."""
    found: dict[str, Callable[..., Any]] = {}
    for module in pkgutil.iter_modules(fileroom.worklist.__path__):
        loaded = importlib.import_module(f"fileroom.worklist.{module.name}")
        for name, value in vars(loaded).items():
            if name.startswith("_") or getattr(value, "__module__", None) != loaded.__name__:
                continue
            runs = inspect.iscoroutinefunction(value) or inspect.isasyncgenfunction(value)
            if runs and next(iter(inspect.signature(value).parameters), "") == "archive":
                found[f"{module.name}.{name}"] = value
    return found


ALL = services()


async def refusal(function: Callable[..., Any], access: Access) -> str | None:
    if not inspect.isasyncgenfunction(function):
        return await refuses(function, access)
    try:
        with acting_as(access):
            async for _ in function(Nothing(), Nothing()):
                break
    except NotAllowedError as error:
        return str(error)
    except Exception:  # noqa: BLE001 - whatever it stumbled over, it was let in
        return None
    return None


def test_every_service_is_listed_once() -> None:
    assert sorted(ALL.keys() - WORKLIST.keys() - INNER.keys()) == []
    assert sorted({*WORKLIST, *INNER} - ALL.keys()) == []
    assert WORKLIST.keys() & INNER.keys() == set()


@pytest.mark.parametrize("name", sorted(WORKLIST))
async def test_the_permission_named_is_the_one_that_is_asked_for(name: str) -> None:
    needed = WORKLIST[name]
    assert await refusal(ALL[name], NOBODY) is not None
    others = Access(ActorKind.PERSON, "ada", frozenset(Permission) - {needed}, account_id=1)
    text = await refusal(ALL[name], others)
    assert text is not None
    assert needed.value in text

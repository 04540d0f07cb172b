"""Every service of the rooms above the archive asks for the permission that its list names, before it does anything."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from typing import Any

import pytest

import feeds_permissions
import fhir_permissions
import reports_permissions
import routing_permissions
import worklist_permissions
from fileroom.core.access import NOBODY, Access, ActorKind, Permission, acting_as
from fileroom.core.errors import NotAllowedError
from unit.test_service_permissions import Nothing, refuses

ROOMS = {
    "feeds": (feeds_permissions.FEEDS, feeds_permissions.INNER),
    "fhir": (fhir_permissions.FHIR, fhir_permissions.INNER),
    "reports": (reports_permissions.REPORTS, reports_permissions.INNER),
    "routing": (routing_permissions.ROUTING, routing_permissions.INNER),
    "worklist": (worklist_permissions.WORKLIST, worklist_permissions.INNER),
}


def services(room: str) -> dict[str, Callable[..., Any]]:
    """Public coroutines and asynchronous generators of a room that take the archive."""
    found: dict[str, Callable[..., Any]] = {}
    for module in pkgutil.iter_modules(importlib.import_module(f"fileroom.{room}").__path__):
        loaded = importlib.import_module(f"fileroom.{room}.{module.name}")
        for name, value in vars(loaded).items():
            if name.startswith("_") or getattr(value, "__module__", None) != loaded.__name__:
                continue
            runs = inspect.iscoroutinefunction(value) or inspect.isasyncgenfunction(value)
            if runs and next(iter(inspect.signature(value).parameters), "") == "archive":
                found[f"{module.name}.{name}"] = value
    return found


ALL = {room: services(room) for room in ROOMS}


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


@pytest.mark.parametrize("room", ROOMS)
def test_every_service_is_listed_once(room: str) -> None:
    asking, inner = ROOMS[room]
    assert sorted(ALL[room].keys() - asking.keys() - inner.keys()) == []
    assert sorted({*asking, *inner} - ALL[room].keys()) == []
    assert asking.keys() & inner.keys() == set()


@pytest.mark.parametrize(("room", "name"), [(room, name) for room in ROOMS for name in sorted(ROOMS[room][0])])
async def test_the_permission_named_is_the_one_that_is_asked_for(room: str, name: str) -> None:
    needed = ROOMS[room][0][name]
    assert await refusal(ALL[room][name], NOBODY) is not None
    others = Access(ActorKind.PERSON, "ada", frozenset(Permission) - {needed}, account_id=1)
    text = await refusal(ALL[room][name], others)
    assert text is not None
    assert needed.value in text

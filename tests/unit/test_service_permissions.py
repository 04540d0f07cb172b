"""Every public function of `archive` and `admin` asks for the permission that the list names, before it does anything."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import fileroom.admin
import fileroom.archive
from fileroom.core.access import NOBODY, SYSTEM, Access, ActorKind, Permission, acting_as
from fileroom.core.errors import NotAllowedError
from service_permissions import ASKED_ELSEWHERE, OWN, PARTS, SERVICES

ROOMS = (fileroom.archive, fileroom.admin)


def modules() -> Iterator[str]:
    """The rooms' modules as `archive.store`."""
    for room in ROOMS:
        for module in pkgutil.iter_modules(room.__path__):
            yield f"{room.__name__.removeprefix('fileroom.')}.{module.name}"


def public_callables(module: str) -> dict[str, Callable[..., Any]]:
    """Functions by name, and methods as `Class.method`."""
    loaded = importlib.import_module(f"fileroom.{module}")
    found: dict[str, Callable[..., Any]] = {}
    for name, value in vars(loaded).items():
        if name.startswith("_") or getattr(value, "__module__", None) != loaded.__name__:
            continue
        if inspect.isfunction(value):
            found[f"{module}.{name}"] = value
        elif inspect.isclass(value):
            methods = {key: method for key, method in vars(value).items() if inspect.isfunction(method)}
            found |= {f"{module}.{name}.{key}": method for key, method in methods.items() if not key.startswith("_")}
            if f"{module}.{name}" in SERVICES:
                found[f"{module}.{name}"] = value
    return found


ALL = {name: value for module in modules() if module not in PARTS for name, value in public_callables(module).items()}


def test_every_public_function_is_listed_once() -> None:
    listed = [*SERVICES, *ASKED_ELSEWHERE]
    missing = sorted(ALL.keys() - set(listed))
    assert missing == [], f"not in tests/service_permissions.py: {missing}"
    assert sorted(set(listed) - ALL.keys()) == [], "listed, but there is no such function"
    assert SERVICES.keys() & ASKED_ELSEWHERE.keys() == set()
    assert set(PARTS) <= set(modules())


class Nothing:
    """A value that has every attribute and can do nothing: not be called, awaited or gone through."""

    def __getattr__(self, name: str) -> Nothing:
        if name.startswith("__"):
            raise AttributeError(name)
        return Nothing()


async def call(function: Callable[..., Any]) -> None:
    """Call it with values that nothing can be done with: whatever it does first, it cannot do a second thing."""
    parameters = inspect.signature(function).parameters.values()
    required = [p for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    arguments = [Nothing() for p in required if p.kind is not p.KEYWORD_ONLY]
    named = {p.name: Nothing() for p in required if p.kind is p.KEYWORD_ONLY}
    result = function(*arguments, **named)
    if inspect.isawaitable(result):
        await result
    elif inspect.isasyncgen(result):
        await result.aclose()


async def refuses(function: Callable[..., Any], access: Access) -> str | None:
    """The refusal's text; None where it went on to something else."""
    with acting_as(access):
        try:
            await call(function)
        except NotAllowedError as error:
            return str(error)
        except Exception:  # noqa: BLE001 - whatever it stumbled over, it was let in
            return None
    return None


@pytest.mark.parametrize("name", sorted(SERVICES))
async def test_nobody_is_refused(name: str) -> None:
    assert await refuses(ALL[name], NOBODY) is not None


@pytest.mark.parametrize("name", sorted(name for name, needed in SERVICES.items() if needed != OWN))
async def test_the_permission_named_is_the_one_that_is_asked_for(name: str) -> None:
    needed = SERVICES[name]
    assert isinstance(needed, Permission)
    others = Access(ActorKind.PERSON, "ada", frozenset(Permission) - {needed}, account_id=1)
    refusal = await refuses(ALL[name], others)
    assert refusal is not None
    assert needed.value in refusal
    assert await refuses(ALL[name], Access(ActorKind.PERSON, "ada", frozenset({needed}), account_id=1)) is None
    if needed is not Permission.STUDY_BREAK_GLASS:  # which is for persons
        assert await refuses(ALL[name], SYSTEM) is None


@pytest.mark.parametrize("name", sorted(name for name, needed in SERVICES.items() if needed == OWN))
async def test_ones_own_needs_an_account_and_nothing_else(name: str) -> None:
    assert await refuses(ALL[name], SYSTEM) is not None
    assert await refuses(ALL[name], Access(ActorKind.PERSON, "ada", account_id=1)) is None

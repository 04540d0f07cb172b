"""What a kind of resource is to a search: its table, who may see which rows, its parameters, and how rows become resources."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from psycopg import AsyncConnection

from fileroom.archive.services import Archive
from fileroom.core.access import Access, Permission
from fileroom.fhir.conditions import SearchParameter
from fileroom.fhir.elements import Resource, Words
from fileroom.index.conditions import Condition

Load = Callable[[Archive, AsyncConnection[Any], Words, Sequence[str]], Awaitable[dict[str, Resource]]]
"""The resources of these ids, of rows that may be seen, by id; those that are gone meanwhile are left out."""


@dataclass(frozen=True, slots=True)
class Sort:
    """What answers may be ordered by: an expression that is never null, and its type for the way back from text."""

    expression: str
    type: str = "text"


@dataclass(frozen=True, slots=True)
class Include:
    """A reference that may be followed: the elements that hold it, the kind that it leads to, and the parameter of ours
    that goes the same way (for _revinclude)."""

    elements: tuple[str, ...]
    target: str
    parameter: str


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of resource. `key` is the row's number, which orders the answers; `id` the resource's id as text."""

    name: str
    permission: Permission
    table: str
    key: str
    id: str
    visible: Callable[[Access], Condition]
    of_patients: Callable[[Sequence[int]], Condition]
    """The condition that narrows it to what is about these patients."""
    load: Load
    parameters: Mapping[str, SearchParameter]
    sorts: Mapping[str, Sort]
    includes: Mapping[str, Include] = field(default_factory=dict)
    unasked: Condition = field(default_factory=Condition)
    """Holds where the question has none of `unless`."""
    unless: frozenset[str] = frozenset()
    is_of_patients: bool = True
    """It is among what $everything of a patient answers."""


def by_name(*parameters: SearchParameter) -> dict[str, SearchParameter]:
    """A table of parameters."""
    return {one.name: one for one in parameters}


def about_nobody(_patients: Sequence[int]) -> Condition:
    """For what belongs to no patient, and is no secret of one."""
    return Condition()

"""Nodes as a section of the configuration: `[nodes.CT1]` with the fields of `admin.node_fields`, defaults left out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Final

from fileroom.admin.configuration_changes import Change
from fileroom.admin.configuration_sections import ConfigurationSection
from fileroom.admin.node_fields import FIELDS, LISTS, Node, checked, to_fields
from fileroom.admin.nodes import add_node, change_node, get_node, list_nodes, remove_node
from fileroom.admin.people import People
from fileroom.core.errors import InvalidRequestError

_USUAL: Final = to_fields(Node("", "", "", 0))
_NAME: Final = "name"


async def _read(people: People) -> dict[str, Any]:
    return {node.name: _to_entry(node) for node in await list_nodes(people.pool)}


def _check(name: str, value: Any) -> dict[str, Any]:
    return _to_entry(checked(_node_of(name, value)))


async def _apply(people: People, change: Change) -> None:
    if change.new is None:
        await remove_node(people.pool, change.name)
    elif change.old is None:
        await add_node(people.pool, _node_of(change.name, change.new))
    else:
        now = await get_node(people.pool, change.name)
        fresh = _node_of(change.name, change.new)
        await change_node(people.pool, change.name, dataclasses.replace(fresh, id=now.id, version=now.version))


def _to_entry(node: Node) -> dict[str, Any]:
    return {name: value for name, value in to_fields(node).items() if name != _NAME and value != _USUAL[name]}


def _node_of(name: str, value: Any) -> Node:
    """Raises InvalidRequestError for fields that a node does not have, or of another type."""
    if not isinstance(value, Mapping):
        raise InvalidRequestError('a node is a table such as {aet = "CT1", host = "10.1.2.3", port = 104}')
    fields = {one: known for one, known in _USUAL.items() if one != _NAME}
    if unknown := set(value) - set(fields):
        raise InvalidRequestError(f"a node has no field {min(unknown)!r:.60}; it has {', '.join(fields)}")
    for one, given in value.items():
        if type(given) is not type(fields[one]):
            raise InvalidRequestError(f"{one} is {_KINDS[type(fields[one])]}")
        if isinstance(given, list) and not all(isinstance(entry, str) for entry in given):
            raise InvalidRequestError(f"{one} is a list of texts")
    merged: dict[str, Any] = {**fields, **value, _NAME: name}
    values: dict[str, Any] = {one: tuple(merged[one]) if one in LISTS else merged[one] for one in FIELDS}
    return Node(**values)


_KINDS: Final[dict[type, str]] = {
    str: "a text",
    int: "a whole number",
    bool: "true or false",
    list: "a list of texts",
}

NODES: Final = ConfigurationSection("nodes", _read, _check, _apply)

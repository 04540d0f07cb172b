"""Nodes from a file: first what would change, then, in one transaction, all of it.

A node of the file is the one here with its name, else the one with its AE title. Fields that the file does not have stay as
they are; no node is removed.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from fileroom.admin.node_fields import Difference, Node, checked, differences, with_texts
from fileroom.admin.node_files import NodeEntry, read_entries
from fileroom.admin.nodes import insert_node, read_nodes, update_node
from fileroom.core.access import Permission, require
from fileroom.core.errors import InvalidRequestError, Told, told
from fileroom.db.pool import Pool

PROBLEMS_TOLD_MAX: Final = 50
"""Lines of a file that are told to be wrong; whoever has so many looks at the file anyway."""


class ImportKind(enum.StrEnum):
    """What happens to a node of a file."""

    ADD = "add"
    CHANGE = "change"
    SAME = "same"


@dataclass(frozen=True, slots=True)
class PlannedChange:
    """What the import of one node does. `before` is the name of the node that is changed."""

    line: int
    kind: ImportKind
    node: Node
    before: str = ""
    changes: tuple[Difference, ...] = ()


class WrongLinesError(InvalidRequestError):
    """Lines of the file that cannot be taken; nothing was changed. `problems` are their numbers and reasons."""

    def __init__(self, problems: Sequence[tuple[int, str]]) -> None:
        self.problems = tuple(problems[:PROBLEMS_TOLD_MAX])
        line, reason = self.problems[0]
        super().__init__(
            told(
                "Nothing was imported: {count} entries of the file are wrong. Entry in line {line}: {reason}",
                count=len(problems),
                line=line,
                reason=reason,
            )
        )


async def plan_import(pool: Pool, text: str) -> list[PlannedChange]:
    """What a file would change. Raises WrongLinesError, InvalidRequestError, NotAllowedError, DatabaseError."""
    require(Permission.NODE_MANAGE)
    return _plan(read_entries(text), await read_nodes(pool))


async def import_nodes(pool: Pool, text: str) -> list[PlannedChange]:
    """Do it, all or nothing; returns what was done. Raises as `plan_import` does, ConflictError."""
    planned = await plan_import(pool, text)
    async with pool.connection() as connection, connection.transaction():
        for one in planned:
            if one.kind is ImportKind.ADD:
                await insert_node(connection, one.node)
            elif one.kind is ImportKind.CHANGE:
                await update_node(connection, one.before, one.node)
    return planned


def _plan(entries: Sequence[NodeEntry], known: Sequence[Node]) -> list[PlannedChange]:
    by_name = {node.name: node for node in known}
    by_aet = {node.aet: node for node in known}
    planned: list[PlannedChange] = []
    problems: list[tuple[int, str]] = []
    used: dict[tuple[str, str], int] = {}
    for entry in entries:
        try:
            change = _plan_one(entry, by_name, by_aet)
            _claim(used, entry.line, change)
            planned.append(change)
        except InvalidRequestError as error:
            problems.append((entry.line, error.sentence))
    _check_titles(planned, known, problems)
    if problems:
        raise WrongLinesError(sorted(problems, key=lambda problem: problem[0]))
    return planned


def _plan_one(entry: NodeEntry, by_name: Mapping[str, Node], by_aet: Mapping[str, Node]) -> PlannedChange:
    texts = dict(entry.texts)
    name, aet = texts.get("name", "").strip(), texts.get("aet", "").strip()
    before = by_name.get(name) or by_aet.get(aet)
    if not name:
        texts["name"] = before.name if before else aet
    if before is None:
        missing = [field for field in ("aet", "host") if not texts.get(field, "").strip()]
        if missing:
            raise InvalidRequestError(told("{field} is missing.", field=missing[0]))
        texts.setdefault("port", "104")
    empty = {field for field in ("aet", "host", "port", "enabled", *_NUMBERED) if not texts.get(field, "x").strip()}
    node = checked(with_texts(before or Node("", "", "", 104), {f: t for f, t in texts.items() if f not in empty}))
    if before is None:
        return PlannedChange(entry.line, ImportKind.ADD, node)
    changes = differences(before, node)
    return PlannedChange(entry.line, ImportKind.CHANGE if changes else ImportKind.SAME, node, before.name, changes)


_NUMBERED: Final = (
    "associations_max",
    "objects_per_minute_max",
    "connect_timeout_s",
    "response_timeout_s",
    "echo_interval_s",
)
"""An empty cell of these says nothing; one of a text says that it is empty."""


def _claim(used: dict[tuple[str, str], int], line: int, change: PlannedChange) -> None:
    for key in (("name", change.node.name), ("aet", change.node.aet), ("before", change.before)):
        if key[1] and used.setdefault(key, line) != line:
            raise InvalidRequestError(_twice(key[1], used[key]))


def _twice(what: str, line: int) -> Told:
    return told("{what} stands in line {line} already.", what=what, line=line)


def _check_titles(planned: Sequence[PlannedChange], known: Sequence[Node], problems: list[tuple[int, str]]) -> None:
    """Names and titles that a node has which the file does not touch."""
    before = {one.before for one in planned}
    names = {node.name for node in known if node.name not in before}
    titles = {node.aet for node in known if node.name not in before}
    for one in planned:
        for value, taken in ((one.node.name, names), (one.node.aet, titles)):
            if value in taken:
                problems.append((one.line, told("{value} is taken by another node.", value=value)))

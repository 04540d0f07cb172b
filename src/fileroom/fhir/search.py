"""Answering: a question becomes one statement for the rows of a page, and one load of their resources.

Whoever asks needs the permission of the kind, and finds what their row scope and the scopes of their token let them see. A page
is followed by the place of its last row, so that pages stay whole while rows come and go.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection

from fileroom.archive.services import Archive
from fileroom.core.access import current_access, require
from fileroom.core.errors import DatabaseError, InvalidRequestError, NotFoundError, told
from fileroom.fhir.audit_events import note_reading
from fileroom.fhir.conditions import as_row
from fileroom.fhir.elements import Resource, Words, references_in
from fileroom.fhir.kinds import Kind, Sort
from fileroom.fhir.question import FollowedReference, Question, cursor_of, read_question
from fileroom.fhir.registry import KINDS
from fileroom.fhir.scopes import may, require_scope
from fileroom.index.conditions import Condition

INCLUDED_MAX: Final = 1000
"""Resources that come with a page because of references."""
_ALWAYS: Final = frozenset({"resourceType", "id", "meta"})
_NEEDED: Final = {
    "Patient": frozenset[str](),
    "ServiceRequest": frozenset({"status", "intent", "subject"}),
    "ImagingStudy": frozenset({"status", "subject"}),
    "DiagnosticReport": frozenset({"status", "code"}),
    "Endpoint": frozenset({"status", "connectionType", "payloadType", "address"}),
    "AuditEvent": frozenset({"type", "recorded", "agent", "source"}),
}
"""Elements that a resource must have, also where only others were asked for."""


@dataclass(frozen=True, slots=True)
class Found:
    """A page: its resources, what came with them by references, the place behind it (empty: it is the last), and how many
    there are in all (None: not asked for, not known)."""

    matches: tuple[Resource, ...] = ()
    included: tuple[Resource, ...] = ()
    cursor: str = ""
    total: int | None = None


async def search_resources(archive: Archive, kind: Kind, question: Question, words: Words) -> Found:
    """One page. Raises NotAllowedError, InvalidRequestError, DatabaseError."""
    require(kind.permission)
    for permission in question.needs:
        require(permission)
    condition = _allowed(kind, "s", question.condition)
    async with connected(archive) as connection:
        if kind.name == "AuditEvent" and question.behind is None:
            await note_reading(connection, "&".join(f"{name}={value}" for name, value in question.kept) or "everything")
        if question.only_count:
            return Found(total=await _count(connection, kind, condition))
        rows = await _pick(connection, kind, question, condition)
        page = rows[: question.count]
        found = await _loaded(archive, connection, kind, words, [row[0] for row in page])
        total = await _total(connection, kind, question, condition, len(rows))
        included = await _included(archive, connection, words, question, found)
    matches = tuple(_cut(kind, one, question.elements) for one in found)
    cursor = cursor_of(str(page[-1][2]), int(page[-1][1])) if len(rows) > question.count else ""
    return Found(matches, tuple(included), cursor, total)


async def read_resource(archive: Archive, kind: Kind, number: str, words: Words) -> Resource:
    """One resource. Raises NotFoundError, NotAllowedError, DatabaseError."""
    require(kind.permission)
    condition = _allowed(kind, "r", _by_id(kind, [number]))
    async with connected(archive) as connection:
        if kind.name == "AuditEvent":
            await note_reading(connection, f"_id={number[:64]}")
        ids = await _ids(connection, kind, condition, 1)
        found = await _loaded(archive, connection, kind, words, ids)
    if not found:
        raise NotFoundError(told("There is no {kind} {id}.", kind=kind.name, id=number[:64]))
    return found[0]


def _allowed(kind: Kind, right: str, condition: Condition) -> Condition:
    """The condition with what the row scope and the scopes of the token leave. Raises NotAllowedError."""
    patients = require_scope(kind.name, right)
    narrowed = kind.of_patients(patients) if patients is not None else Condition()
    return Condition.all_of([condition, kind.visible(current_access()), narrowed])


def _by_id(kind: Kind, ids: Sequence[str]) -> Condition:
    """The rows of these ids; by the row's number where that is the id."""
    if kind.id == f"{kind.key}::text":
        return Condition(f"{kind.key} = ANY(%s)", ([as_row(one) for one in ids],))
    return Condition(f"{kind.id} = ANY(%s)", ([one for one in ids if "\0" not in one],))


async def _pick(
    connection: AsyncConnection[Any], kind: Kind, question: Question, condition: Condition
) -> list[tuple[Any, ...]]:
    """(id, key, value that it is ordered by) of the rows of a page, and of one more where there is one."""
    sort = kind.sorts[question.order.name] if question.order.name else Sort(kind.key, "bigint")
    sign, direction = ("<", "DESC") if question.order.descending else (">", "ASC")
    behind = Condition()
    if question.behind is not None:
        behind = Condition(
            f"({sort.expression}, {kind.key}) {sign} (%s::{sort.type}, %s)", (question.behind[0], question.behind[1])
        )
    where = Condition.all_of([condition, behind])
    order = (
        f"{sort.expression} {direction}, {kind.key} {direction}" if question.order.name else f"{kind.key} {direction}"
    )
    cursor = await connection.execute(
        f"""SELECT {kind.id}, {kind.key}, ({sort.expression})::text FROM {kind.table}
            {f"WHERE {where.text}" if where.text else ""} ORDER BY {order} LIMIT %s""".encode(),
        (*where.parameters, question.count + 1),
    )
    return await cursor.fetchall()


async def _ids(connection: AsyncConnection[Any], kind: Kind, condition: Condition, limit: int) -> list[str]:
    cursor = await connection.execute(
        f"SELECT {kind.id} FROM {kind.table} WHERE {condition.text} ORDER BY {kind.key} DESC LIMIT %s".encode(),
        (*condition.parameters, limit),
    )
    return [row[0] for row in await cursor.fetchall()]


async def _count(connection: AsyncConnection[Any], kind: Kind, condition: Condition) -> int:
    where = f" WHERE {condition.text}" if condition.text else ""
    cursor = await connection.execute(f"SELECT count(*) FROM {kind.table}{where}".encode(), condition.parameters)
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def _total(
    connection: AsyncConnection[Any], kind: Kind, question: Question, condition: Condition, rows: int
) -> int | None:
    """Where the first page holds everything it is known without counting."""
    if question.behind is None and rows <= question.count:
        return rows
    return await _count(connection, kind, condition) if question.total else None


async def _loaded(
    archive: Archive, connection: AsyncConnection[Any], kind: Kind, words: Words, ids: Sequence[str]
) -> list[Resource]:
    """In the order of their ids."""
    found = await kind.load(archive, connection, words, ids) if ids else {}
    return [found[one] for one in ids if one in found]


async def _included(
    archive: Archive, connection: AsyncConnection[Any], words: Words, question: Question, matches: Sequence[Resource]
) -> list[Resource]:
    """What the matches refer to, and what refers to them, as far as whoever asks may see it."""
    found: dict[tuple[str, str], Resource] = {}
    ours = {(one["resourceType"], one["id"]) for one in matches}
    for followed in question.includes:
        wanted = [
            number
            for one in matches
            for number in references_in(one, followed.include.elements, followed.include.target)
        ]
        target = KINDS[followed.include.target]
        if wanted and _may_follow(target, "r"):
            condition = _allowed(target, "r", _by_id(target, list(dict.fromkeys(wanted))))
            await _add(archive, connection, words, target, condition, found)
    for followed in question.revincludes:
        source = KINDS[followed.kind]
        if matches and _may_follow(source, "s"):
            condition = _allowed(source, "s", _referring(followed, source, words, [one["id"] for one in matches]))
            await _add(archive, connection, words, source, condition, found)
    return [one for key, one in found.items() if key not in ours][:INCLUDED_MAX]


async def _add(
    archive: Archive,
    connection: AsyncConnection[Any],
    words: Words,
    kind: Kind,
    condition: Condition,
    found: dict[tuple[str, str], Resource],
) -> None:
    ids = await _ids(connection, kind, condition, INCLUDED_MAX)
    for one in await _loaded(archive, connection, kind, words, ids):
        found[one["resourceType"], one["id"]] = one


def _may_follow(kind: Kind, right: str) -> bool:
    access = current_access()
    return access.allows(kind.permission) and may(access, kind.name, right)


def _referring(followed: FollowedReference, source: Kind, words: Words, ids: Sequence[str]) -> Condition:
    """The rows of `source` that refer to these. Raises InvalidRequestError."""
    conditions = [
        read_question(source, [(followed.name, ",".join(ids[start : start + 20]))], base=words.base).condition
        for start in range(0, len(ids), 20)
    ]
    return Condition.any_of([Condition(f"({one.text})", one.parameters) for one in conditions])


def _cut(kind: Kind, resource: Resource, elements: frozenset[str]) -> Resource:
    """Only these elements and those that must be there, marked as a part of the resource."""
    if not elements:
        return resource
    kept = {name: value for name, value in resource.items() if name in elements | _ALWAYS | _NEEDED[kind.name]}
    tag = {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "SUBSETTED"}
    return kept | {"meta": {**kept.get("meta", {}), "tag": [tag]}}


@asynccontextmanager
async def connected(archive: Archive) -> AsyncIterator[AsyncConnection[Any]]:
    """A connection in a transaction, and what the database says as an error of ours."""
    try:
        async with archive.pool.connection() as connection, connection.transaction():
            yield connection
    except psycopg.errors.QueryCanceled as error:
        raise DatabaseError("The search took too long and was ended. Ask for less: add a parameter.") from error
    except (psycopg.DataError, UnicodeEncodeError) as error:
        raise InvalidRequestError(told("A value of the search cannot be compared with what it asks for.")) from error
    except psycopg.Error as error:
        raise DatabaseError(f"The database could not answer the search: {type(error).__name__}. Try again.") from error

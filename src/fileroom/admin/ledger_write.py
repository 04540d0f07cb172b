"""Writing the ledger: one transaction for a batch of associations and their operations.

Every row is written whole and again with each change (upsert), so a batch that is written twice, after a connection
was lost in the midst of a commit, counts once. Writers take turns by an advisory lock: then `change` grows in the order
of the commits, and whoever asks for what is past a number misses nothing. These commits do not wait for the disk.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

import orjson
import psycopg
from psycopg import AsyncConnection

from fileroom.admin.ledger_journal import Contexts, Journal
from fileroom.admin.ledger_rows import AssociationRow, OperationRow
from fileroom.admin.ledger_upkeep import LEDGER_LOCK, ensure_weeks
from fileroom.core.clock import Now
from fileroom.db.pool import Pool
from fileroom.ul.items import ContextResult

CONTEXTS_REMEMBERED_MAX: Final = 500
"""Proposals known to be in the database; a worker has about as many callers."""
CONTEXTS_REFRESH: Final = dt.timedelta(days=1)
"""How often it is noted that a proposal is still in use."""
TRANSFER_SYNTAXES_MAX: Final = 64
"""Kept of one proposed context. There are about 60; a hostile proposal may name thousands."""
UID_CHARS_MAX: Final = 64

_ASSOCIATION_COLUMNS: Final = tuple(field.name for field in fields(AssociationRow) if field.name != "parent") + (
    "parent",
    "writer",
    "mark",
    "contexts_digest",
)
_OPERATION_COLUMNS: Final = ("association", "association_began_at", *(field.name for field in fields(OperationRow)))

Batch = Sequence[tuple[Journal, dict[int, OperationRow]]]


def _upsert(table: str, columns: Sequence[str], key: Sequence[str], extra: str = "", value: str = "") -> bytes:
    names = ", ".join(columns)
    changes = ", ".join(
        f"{name} = excluded.{name}" for name in (*columns, *([extra] if extra else [])) if name not in key
    )
    return f"""INSERT INTO {table} ({names}{", " + extra if extra else ""})
        SELECT {names}{", " + value if value else ""} FROM jsonb_populate_recordset(NULL::{table}, %s::jsonb)
        ON CONFLICT ({", ".join(key)}) DO UPDATE SET {changes}""".encode()  # noqa: S608 - names of our own columns


_WRITE_ASSOCIATIONS: Final = _upsert(
    "association", _ASSOCIATION_COLUMNS, ("id", "began_at"), "change", "nextval('association_change')"
)
_WRITE_OPERATIONS: Final = _upsert(
    "association_operation", _OPERATION_COLUMNS, ("association", "n", "association_began_at")
)


class LedgerWriter:
    """Writes batches in the name of one process."""

    def __init__(self, name: str, now: Now) -> None:
        self._name = name
        self._now = now
        self._id: int | None = None
        self._known_contexts: OrderedDict[bytes, dt.datetime] = OrderedDict()

    async def write(self, pool: Pool, batch: Batch) -> None:
        """Write, or with an empty batch only say that this process lives. Raises DatabaseError, psycopg.Error."""
        try:
            await self._write(pool, batch)
        except psycopg.errors.CheckViolation:
            # There is no week for these rows: the task worker has not run for long, or never has.
            for journal, _ in batch:
                await ensure_weeks(pool, journal.row.began_at)
            await self._write(pool, batch)

    async def _write(self, pool: Pool, batch: Batch) -> None:
        known = [(journal, rows) for journal, rows in batch if journal.is_known]
        described = [_described(journal.contexts) for journal, _ in known]
        async with pool.connection() as connection, connection.transaction():
            await connection.execute(b"SET LOCAL synchronous_commit = off")
            await self._say_alive(connection)
            if not known:
                return
            await connection.execute(b"SELECT pg_advisory_xact_lock(%s)", (LEDGER_LOCK,))
            await _give_ids(connection, [journal.row for journal, _ in known])
            await self._write_contexts(connection, described)
            associations = [
                self._association(journal, contexts) for (journal, _), contexts in zip(known, described, strict=True)
            ]
            operations = [_operation(journal.row, row) for journal, rows in known for row in rows.values()]
            await connection.execute(_WRITE_ASSOCIATIONS, (_json(associations),))
            if operations:
                await connection.execute(_WRITE_OPERATIONS, (_json(operations),))
        self._remember(described)

    async def _say_alive(self, connection: AsyncConnection[Any]) -> None:
        cursor = await connection.execute(b"UPDATE ledger_writer SET seen_at = now() WHERE id = %s", (self._id,))
        if cursor.rowcount:
            return
        cursor = await connection.execute(b"INSERT INTO ledger_writer (name) VALUES (%s) RETURNING id", (self._name,))
        row = await cursor.fetchone()
        self._id = int(row[0]) if row else None

    async def _write_contexts(self, connection: AsyncConnection[Any], described: Sequence[_Described | None]) -> None:
        """Put the proposals there that are not known to be."""
        now = self._now()
        for contexts in {contexts.digest: contexts for contexts in described if contexts is not None}.values():
            seen = self._known_contexts.get(contexts.digest)
            if seen is None or now - seen > CONTEXTS_REFRESH:
                self._known_contexts.pop(contexts.digest, None)
                await connection.execute(
                    b"""INSERT INTO association_contexts (digest, contexts) VALUES (%s, %s::jsonb)
                        ON CONFLICT (digest) DO UPDATE SET used_at = now()""",
                    (contexts.digest, contexts.text),
                )

    def _remember(self, described: Sequence[_Described | None]) -> None:
        """These are in the database now: their transaction is through."""
        now = self._now()
        for contexts in described:
            if contexts is not None and contexts.digest not in self._known_contexts:
                self._known_contexts[contexts.digest] = now
        while len(self._known_contexts) > CONTEXTS_REMEMBERED_MAX:
            self._known_contexts.popitem(last=False)

    def _association(self, journal: Journal, contexts: _Described | None) -> dict[str, object]:
        row = journal.row
        values: dict[str, object] = {name: getattr(row, name) for name in _ROW_FIELDS}
        values["parent"] = journal.parent.row.id if journal.parent is not None else row.parent
        values["writer"], values["mark"] = self._id, int(row.mark)
        values["contexts_digest"] = None if contexts is None else f"\\x{contexts.digest.hex()}"
        return values


_ROW_FIELDS: Final = tuple(field.name for field in fields(AssociationRow))


@dataclass(frozen=True, slots=True)
class _Described:
    """Contexts as they are written, under their digest."""

    digest: bytes
    text: str


def _described(contexts: Contexts | None) -> _Described | None:
    if contexts is None:
        return None
    text = _json(describe_contexts(contexts))
    return _Described(hashlib.blake2b(text.encode(), digest_size=16).digest(), text)


def describe_contexts(contexts: Contexts) -> list[list[object]]:
    """[[id, abstract syntax, [transfer syntaxes], result or null, transfer syntax, role], ...] for the table.

    `role` is "", or which roles the requestor asked for: "scp", "scu scp".
    """
    request, acceptance = contexts
    results = {r.id: r for r in acceptance.presentation_contexts} if acceptance is not None else {}
    roles = {
        role.sop_class_uid: "scu scp" if role.scu_role else "scp"
        for role in request.user_information.roles
        if role.scp_role
    }
    described: list[list[object]] = []
    for proposal in request.presentation_contexts:
        result = results.get(proposal.id)
        accepted = result is not None and result.result is ContextResult.ACCEPTANCE
        described.append(
            [
                proposal.id,
                _uid(proposal.abstract_syntax),
                [_uid(syntax) for syntax in proposal.transfer_syntaxes[:TRANSFER_SYNTAXES_MAX]],
                None if result is None else int(result.result),
                _uid(result.transfer_syntax) if result is not None and accepted else "",
                roles.get(proposal.abstract_syntax, ""),
            ]
        )
    return described


def _uid(text: str) -> str:
    return text[:UID_CHARS_MAX] if text.isascii() and text.isprintable() else "?"


async def _give_ids(connection: AsyncConnection[Any], rows: Sequence[AssociationRow]) -> None:
    new = [row for row in rows if row.id is None]
    if not new:
        return
    cursor = await connection.execute(b"SELECT nextval('association_id') FROM generate_series(1, %s)", (len(new),))
    for row, (number,) in zip(new, await cursor.fetchall(), strict=True):
        row.id = number


def _operation(association: AssociationRow, row: OperationRow) -> dict[str, object]:
    values: dict[str, object] = {name: getattr(row, name) for name in _OPERATION_COLUMNS[2:]}
    values["association"], values["association_began_at"] = association.id, association.began_at
    return values


def _json(value: object) -> str:
    return orjson.dumps(value).decode()

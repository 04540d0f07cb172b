"""Writing the ledger: one transaction for a batch of associations and their operations.

Every row is written whole and again with each change (upsert), so a batch that is written twice, after a connection
was lost in the midst of a commit, counts once. Writers take turns by an advisory lock: then `change` grows in the order
of the commits, and whoever asks for what is past a number misses nothing. These commits do not wait for the disk.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections import OrderedDict, deque
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
SIGN_OF_LIFE: Final = dt.timedelta(seconds=15)
"""How often a writer renews its row, at most."""
NUMBERS_AT_ONCE: Final = 20
"""Association numbers taken at a time by a busy worker; a quiet one takes as few, so that numbers stay small."""
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
        self._alive_at: dt.datetime | None = None
        self._numbers: deque[int] = deque()
        self._known_contexts: OrderedDict[bytes, dt.datetime] = OrderedDict()

    async def write(self, pool: Pool, batch: Batch) -> None:
        """Write, or with an empty batch only say that this process lives. Raises DatabaseError, psycopg.Error."""
        # As it is now: what changes while we wait for the database goes with the next batch, rows and sums together.
        pictures = [_picture(journal, rows) for journal, rows in batch if journal.is_known]
        try:
            await self._write(pool, pictures)
        except psycopg.errors.CheckViolation:
            self._alive_at = None
            # There is no week for these rows: the task worker has not run for long, or never has.
            for picture in pictures:
                await ensure_weeks(pool, picture.row.began_at)
            await self._write(pool, pictures)
        except BaseException:
            self._alive_at = None  # what it said was undone too
            raise

    async def _write(self, pool: Pool, pictures: Sequence[_Picture]) -> None:
        async with pool.connection() as connection, connection.transaction():
            await connection.execute(
                b"SELECT set_config('synchronous_commit', 'off', true), pg_advisory_xact_lock(%s)", (LEDGER_LOCK,)
            )
            await self._say_alive(connection)
            if not pictures:
                return
            await self._give_ids(connection, [picture.row for picture in pictures])
            await self._write_contexts(connection, pictures)
            associations = [
                picture.association
                | {
                    "id": picture.row.id,
                    "writer": self._id,
                    "parent": None if picture.parent is None else picture.parent.id,
                }
                for picture in pictures
            ]
            operations = [row | {"association": p.row.id} for p in pictures for row in p.operations]
            await connection.execute(_WRITE_ASSOCIATIONS, (_json(associations),))
            if operations:
                await connection.execute(_WRITE_OPERATIONS, (_json(operations),))
        self._remember(pictures)

    async def _say_alive(self, connection: AsyncConnection[Any]) -> None:
        now = self._now()
        if self._alive_at is not None and now - self._alive_at < SIGN_OF_LIFE:
            return
        self._alive_at = now
        cursor = await connection.execute(b"UPDATE ledger_writer SET seen_at = now() WHERE id = %s", (self._id,))
        if cursor.rowcount:
            return
        # Once for each process, and flushed: a database that is killed may forget the last moments of the ledger, but not
        # who wrote what follows.
        await connection.execute(b"SELECT set_config('synchronous_commit', 'on', true)")
        cursor = await connection.execute(b"INSERT INTO ledger_writer (name) VALUES (%s) RETURNING id", (self._name,))
        row = await cursor.fetchone()
        self._id = int(row[0]) if row else None

    async def _give_ids(self, connection: AsyncConnection[Any], rows: Sequence[AssociationRow]) -> None:
        """Numbers come from a stock, so that only every so many associations ask for them."""
        new = [row for row in rows if row.id is None]
        if len(new) > len(self._numbers):
            cursor = await connection.execute(
                b"SELECT nextval('association_id') FROM generate_series(1, %s)",
                (max(NUMBERS_AT_ONCE, len(new) - len(self._numbers)),),
            )
            self._numbers += [int(number) for (number,) in await cursor.fetchall()]
        for row in new:
            row.id = self._numbers.popleft()

    async def _write_contexts(self, connection: AsyncConnection[Any], pictures: Sequence[_Picture]) -> None:
        """Put the proposals there that are not known to be."""
        now = self._now()
        texts = {p.contexts_digest: p.contexts for p in pictures if p.contexts_digest is not None}
        for digest, text in texts.items():
            seen = self._known_contexts.get(digest)
            if seen is None or now - seen > CONTEXTS_REFRESH:
                self._known_contexts.pop(digest, None)
                await connection.execute(
                    b"""INSERT INTO association_contexts (digest, contexts) VALUES (%s, %s::jsonb)
                        ON CONFLICT (digest) DO UPDATE SET used_at = now()""",
                    (digest, text),
                )

    def _remember(self, pictures: Sequence[_Picture]) -> None:
        """Their proposals are in the database now: the transaction is through."""
        now = self._now()
        for picture in pictures:
            if picture.contexts_digest is not None:
                self._known_contexts.setdefault(picture.contexts_digest, now)
        while len(self._known_contexts) > CONTEXTS_REMEMBERED_MAX:
            self._known_contexts.popitem(last=False)


_ROW_FIELDS: Final = tuple(field.name for field in fields(AssociationRow))
_OPERATION_FIELDS: Final = tuple(field.name for field in fields(OperationRow))


@dataclass(frozen=True, slots=True)
class _Picture:
    """A journal as it was when its batch was taken. `row` and `parent` are asked for their numbers only."""

    row: AssociationRow
    parent: AssociationRow | None
    association: dict[str, object]
    operations: list[dict[str, object]]
    contexts_digest: bytes | None
    contexts: str


def _picture(journal: Journal, rows: dict[int, OperationRow]) -> _Picture:
    row = journal.row
    contexts = "" if journal.contexts is None else _json(describe_contexts(journal.contexts))
    digest = hashlib.blake2b(contexts.encode(), digest_size=16).digest() if contexts else None
    association: dict[str, object] = {name: getattr(row, name) for name in _ROW_FIELDS}
    association["mark"] = int(row.mark)
    association["contexts_digest"] = None if digest is None else f"\\x{digest.hex()}"
    operations = [
        {name: getattr(operation, name) for name in _OPERATION_FIELDS} | {"association_began_at": row.began_at}
        for operation in rows.values()
    ]
    return _Picture(row, journal.parent.row if journal.parent else None, association, operations, digest, contexts)


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


def _json(value: object) -> str:
    return orjson.dumps(value).decode()

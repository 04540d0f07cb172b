"""Reading the ledger: a list by peer, time and outcome, page by page; one association whole; what has changed lately."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

from psycopg.rows import dict_row

from fileroom.admin.ledger_rows import AssociationRow, Cause, Direction, Mark, OperationRow, Outcome
from fileroom.core.access import Permission, require
from fileroom.core.errors import InvalidRequestError, NotFoundError
from fileroom.db.pool import Pool

PAGE_ROWS_MAX: Final = 500
"""Associations of one page, or of one look at what has changed."""
OPERATIONS_MAX: Final = 2000
"""Operations shown of one association; it records up to 1,000 single ones and one for each series."""
FAILURES_LISTED: Final = 5
"""Failed operations of each association in a list; the first ones tell most."""
STUDIES_MAX: Final = 1000
"""Studies of one patient that are looked for."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page ends: the next one begins behind it."""

    began_at: dt.datetime
    id: int

    def __str__(self) -> str:
        return f"{self.began_at.timestamp():.6f}-{self.id}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The place that `str` gave. Raises InvalidRequestError."""
        moment, _, number = text.partition("-")
        try:
            return cls(dt.datetime.fromtimestamp(float(moment), dt.UTC), int(number))
        except (ValueError, OverflowError, OSError) as error:
            raise InvalidRequestError(
                f"{text[:40]!r} is no place in the ledger; begin again with the first page."
            ) from error


@dataclass(frozen=True, slots=True)
class LedgerFilter:
    """Which associations: those that fit everything that is given."""

    aet: str = ""
    """The peer's AE title, as written."""
    host: str = ""
    direction: Direction | None = None
    since: dt.datetime | None = None
    until: dt.datetime | None = None
    failed: bool = False
    outcome: Outcome | None = None
    running: bool = False
    """Only those that are open."""
    parent: int | None = None
    study_uids: tuple[str, ...] | None = None
    """Those that carried something of these studies; None: whatever they carried."""
    sop_instance_uid: str = ""
    """Those on which this object failed."""


@dataclass(frozen=True, slots=True)
class ContextEntry:
    """One proposed presentation context and the answer. `result` is that of PS3.8 9.3.3.2, None without an answer."""

    id: int
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]
    result: int | None
    transfer_syntax: str
    role: str

    @property
    def is_accepted(self) -> bool:
        """Whether it could be used."""
        return self.result == 0


@dataclass(slots=True)
class AssociationEntry(AssociationRow):
    """An association as the ledger shows it."""

    change: int = 0
    operations: list[OperationRow] = field(default_factory=list)
    contexts: list[ContextEntry] = field(default_factory=list)

    @property
    def place(self) -> Place:
        """For the page behind it."""
        return Place(self.began_at, self.id or 0)

    @property
    def duration_s(self) -> float | None:
        """From request to end, None while it is open."""
        return None if self.ended_at is None else (self.ended_at - self.began_at).total_seconds()


async def list_associations(
    pool: Pool, wanted: LedgerFilter, *, after: Place | None = None, limit: int = 50
) -> list[AssociationEntry]:
    """The associations that fit, the newest first, without their contexts and operations.

    `after` is the place of the last one of the page before. Raises NotAllowedError, DatabaseError.
    """
    require(Permission.LEDGER_READ)
    conditions, values = _conditions(wanted)
    if after is not None:
        conditions.append("(began_at, id) < (%s, %s)")
        values += [after.began_at, after.id]
    where = " AND ".join(conditions) or "true"
    rows = await _fetch(
        pool,
        f"SELECT {_COLUMNS} FROM association WHERE {where} ORDER BY began_at DESC, id DESC LIMIT %s",  # noqa: S608
        [*values, min(limit, PAGE_ROWS_MAX)],
    )
    return [_entry(row) for row in rows]


async def changed_associations(pool: Pool, after: int | None, limit: int = PAGE_ROWS_MAX) -> list[AssociationEntry]:
    """What has begun, gone on or ended since the change number `after`, in that order; None: only the latest one.

    The `change` of the last entry is the next `after`. Nothing is missed. Raises NotAllowedError, DatabaseError.
    """
    require(Permission.LEDGER_READ)
    if after is None:
        statement = f"SELECT {_COLUMNS} FROM association ORDER BY change DESC LIMIT 1"  # noqa: S608
        return [_entry(row) for row in await _fetch(pool, statement, [])]
    statement = f"SELECT {_COLUMNS} FROM association WHERE change > %s ORDER BY change LIMIT %s"  # noqa: S608
    return [_entry(row) for row in await _fetch(pool, statement, [after, min(limit, PAGE_ROWS_MAX)])]


async def read_association(pool: Pool, number: int) -> AssociationEntry:
    """One association with its contexts and operations. Raises NotFoundError, NotAllowedError, DatabaseError."""
    require(Permission.LEDGER_READ)
    if not 0 < number < 1 << 63:
        raise NotFoundError(f"There is no association {number}.")
    rows = await _fetch(pool, f"SELECT {_COLUMNS}, contexts_digest FROM association WHERE id = %s", [number])  # noqa: S608
    if not rows:
        raise NotFoundError(
            f"There is no association {number} in the ledger. Old ones are dropped after FILEROOM_LEDGER_DAYS days."
        )
    digest = rows[0].pop("contexts_digest")
    entry = _entry(rows[0])
    if digest is not None:
        found = await _fetch(pool, "SELECT contexts FROM association_contexts WHERE digest = %s", [digest])
        entry.contexts = _contexts(found[0]["contexts"]) if found else []
    rows = await _fetch(
        pool,
        f"""SELECT {_OPERATION_COLUMNS} FROM association_operation
            WHERE association = %s AND association_began_at = %s ORDER BY began_at, n LIMIT %s""",  # noqa: S608
        [entry.id, entry.began_at, OPERATIONS_MAX],
    )
    entry.operations = [OperationRow(**row) for row in rows]
    return entry


async def add_failures(pool: Pool, entries: Sequence[AssociationEntry]) -> None:
    """Give listed associations what their advice needs: refused contexts, and a few failed operations of each.

    Raises NotAllowedError, DatabaseError.
    """
    require(Permission.LEDGER_READ)
    bad = {entry.id: entry for entry in entries if entry.mark is not Mark.GOOD}
    if not bad:
        return
    numbers, moments = list(bad), [entry.began_at for entry in bad.values()]
    contexts = await _fetch(
        pool,
        """SELECT a.id, c.contexts FROM unnest(%s::bigint[], %s::timestamptz[]) w (id, began_at)
           JOIN association a ON a.id = w.id AND a.began_at = w.began_at
           JOIN association_contexts c ON c.digest = a.contexts_digest WHERE a.contexts_accepted < a.contexts_proposed""",
        [numbers, moments],
    )
    for row in contexts:
        bad[row["id"]].contexts = _contexts(row["contexts"])
    operations = await _fetch(
        pool,
        f"""SELECT w.id AS association, o.* FROM unnest(%s::bigint[], %s::timestamptz[]) w (id, began_at)
            CROSS JOIN LATERAL (
                SELECT {_OPERATION_COLUMNS} FROM association_operation
                WHERE association = w.id AND association_began_at = w.began_at AND ended_at IS NOT NULL
                AND (status IS DISTINCT FROM 0 OR failed > 0) ORDER BY n LIMIT %s) o""",  # noqa: S608
        [numbers, moments, FAILURES_LISTED],
    )
    for row in operations:
        bad[row.pop("association")].operations.append(OperationRow(**row))


def _contexts(described: Sequence[Sequence[Any]]) -> list[ContextEntry]:
    return [
        ContextEntry(id_, abstract, tuple(syntaxes), result, syntax, role)
        for id_, abstract, syntaxes, result, syntax, role in described
    ]


def _conditions(wanted: LedgerFilter) -> tuple[list[str], list[Any]]:
    conditions: list[str] = []
    values: list[Any] = []

    def add(condition: str, *given: Any) -> None:
        conditions.append(condition)
        values.extend(given)

    if wanted.aet:
        add("(CASE direction WHEN 'in' THEN calling_aet ELSE called_aet END) = %s", wanted.aet)
    if wanted.host:
        add("peer_host = %s", wanted.host)
    if wanted.direction is not None:
        add("direction = %s", wanted.direction.value)
    if wanted.since is not None:
        add("began_at >= %s", wanted.since)
    if wanted.until is not None:
        add("began_at < %s", wanted.until)
    if wanted.failed:
        add("mark = 2")
    if wanted.outcome is not None:
        add("outcome = %s", wanted.outcome.value)
    if wanted.running:
        add("ended_at IS NULL")
    if wanted.parent is not None:
        add("parent = %s", wanted.parent)
    if wanted.study_uids is not None:
        add(
            """(id, began_at) IN (SELECT association, association_began_at FROM association_operation
                                  WHERE study_instance_uid = ANY(%s) AND study_instance_uid <> '')""",
            list(wanted.study_uids[:STUDIES_MAX]),
        )
    if wanted.sop_instance_uid:
        add(
            """(id, began_at) IN (SELECT association, association_began_at FROM association_operation
                                  WHERE sop_instance_uid = %s)""",
            wanted.sop_instance_uid,
        )
    return conditions, values


async def _fetch(pool: Pool, statement: str, values: Sequence[Any]) -> list[dict[str, Any]]:
    async with pool.connection() as connection, connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(statement.encode(), values)
        return await cursor.fetchall()


def _entry(row: dict[str, Any]) -> AssociationEntry:
    row["direction"], row["outcome"] = Direction(row["direction"]), Outcome(row["outcome"])
    row["cause"] = Cause(row["cause"])
    return AssociationEntry(**row)


_COLUMNS: Final = (
    "id, began_at, ended_at, change, direction, purpose, parent, calling_aet, called_aet, peer_host, peer_port, tls, "
    "peer_certificate, implementation_class_uid, implementation_version, pdu_bytes_max, contexts_proposed, "
    "contexts_accepted, outcome, cause, detail, "
    "reject_result, reject_source, reject_reason, abort_source, abort_reason, bytes_in, bytes_out, "
    "requests, objects, warnings, failures, unrecorded"
)
_OPERATION_COLUMNS: Final = (
    "n, kind, by_us, began_at, ended_at, busy_s, count, status, cause, reason, sop_class_uid, transfer_syntax_uid, "
    "study_instance_uid, series_instance_uid, sop_instance_uid, bytes, matches, completed, warned, failed, destination"
)

"""Reading the audit trail: "who looked at this patient?", page after page, the latest first.

Reading needs the permission `audit.read`, and is itself an event (Audit Log Used), once for each question.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
from collections.abc import AsyncIterator
from dataclasses import dataclass, fields, replace
from typing import Any, Final

import orjson
import psycopg
from psycopg import AsyncConnection
from psycopg.rows import dict_row

from fileroom.admin.audit import record
from fileroom.admin.audit_events import audit_log_used
from fileroom.admin.audit_message import Message, from_json
from fileroom.core.access import Permission, require
from fileroom.core.errors import DatabaseError, InvalidRequestError, NotFoundError, told
from fileroom.db.pool import Pool

PAGE_ROWS_MAX: Final = 1000
"""About a megabyte; whoever wants more pages on or exports."""


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """What is looked for; what is empty does not matter. `since` is included, `until` is not; both are aware.

    `patient` is a Patient ID, `user` a login, full name, token, `AET@address` or AE title; `event` a code of EventID,
    `event_type` one of EventTypeCode, `action` an EventActionCode. In words: `admin.audit_filter`.
    """

    patient: str = ""
    user: str = ""
    study: str = ""
    since: dt.datetime | None = None
    until: dt.datetime | None = None
    event: str = ""
    event_type: str = ""
    action: str = ""
    address: str = ""
    failures_only: bool = False
    successes_only: bool = False
    limit: int = 100
    cursor: str = ""
    """`AuditPage.next_cursor` of the page before."""


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One event as it was written."""

    id: int
    occurred_at: dt.datetime
    event: str
    event_type: str
    action: str
    outcome: int
    actor_kind: str
    actor: str
    address: str
    patient_ids: tuple[str, ...]
    study_uids: tuple[str, ...]
    message: Message

    @property
    def title(self) -> str:
        """What happened, in a few words."""
        kinds = ", ".join(code.meaning for code in self.message.types)
        return f"{self.message.event.meaning}: {kinds}" if kinds else self.message.event.meaning

    @property
    def what(self) -> str:
        """The sentence that goes with it, or the keys of a query."""
        keys = next((d.value for o in self.message.objects for d in o.details if d.kind in ("Keys", "Question")), "")
        return self.message.outcome_description or keys


@dataclass(frozen=True, slots=True)
class AuditPage:
    """A page; `next_cursor` is empty on the last one."""

    records: tuple[AuditRecord, ...]
    next_cursor: str


async def search(pool: Pool, query: AuditQuery, *, purpose: str = "") -> AuditPage:
    """One page of what fits. `purpose` is put down with the question, where it is not only looked at.

    Raises NotAllowedError, InvalidRequestError, DatabaseError.
    """
    require(Permission.AUDIT_READ)
    if not 1 <= query.limit <= PAGE_ROWS_MAX:
        raise InvalidRequestError(f"A page has 1 to {PAGE_ROWS_MAX} events, not {query.limit}.")
    try:
        async with pool.connection() as connection, connection.transaction():
            statement, parameters = _statement(query, await _logins_of(connection, query.user))
            if not query.cursor:
                await record(
                    connection, audit_log_used(f"{purpose}: {_question(query)}" if purpose else _question(query))
                )
            found = await _read(connection, statement, parameters)
    except psycopg.Error as error:
        raise _failure(error) from error
    page = tuple(found[: query.limit])
    return AuditPage(page, _cursor(page[-1]) if len(found) > query.limit else "")


async def read_event(pool: Pool, number: int) -> AuditRecord:
    """One event. Raises NotFoundError, NotAllowedError, DatabaseError."""
    require(Permission.AUDIT_READ)
    missing = NotFoundError(told("There is no event {number} in the audit trail.", number=number))
    if not 0 < number < 1 << 63:
        raise missing
    try:
        async with pool.connection() as connection, connection.transaction():
            await record(connection, audit_log_used(f"event={number}"))
            found = await _read(connection, b"SELECT * FROM audit_event WHERE id = %s", [number])
    except psycopg.Error as error:
        raise _failure(error) from error
    if not found:
        raise missing
    return found[0]


async def read_all(pool: Pool, query: AuditQuery, *, purpose: str = "") -> AsyncIterator[AuditRecord]:
    """Everything that fits, the latest first, however much that is; `limit` and `cursor` do not matter.

    Raises as `search` does, at the first one.
    """
    cursor = ""
    while True:
        page = await search(pool, replace(query, limit=PAGE_ROWS_MAX, cursor=cursor), purpose=purpose)
        for one in page.records:
            yield one
        cursor = page.next_cursor
        if not cursor:
            return


def record_of(row: dict[str, Any]) -> AuditRecord:
    """A row of audit_event as a record."""
    values = {name: row[name] for name in _COLUMNS}
    lists = {name: tuple(row[name]) for name in ("patient_ids", "study_uids")}
    return AuditRecord(**(values | lists | {"message": from_json(row["message"])}))


_COLUMNS: Final = tuple(field.name for field in fields(AuditRecord))


async def _logins_of(connection: AsyncConnection[Any], name: str) -> list[str]:
    """What was asked for as a person, and the logins of whoever has it for a full name."""
    if not name:
        return []
    # As written, too: the database's locale may know the case of ASCII letters only.
    cursor = await connection.execute(
        b"SELECT login FROM account WHERE full_name = %s OR lower(full_name) = lower(%s) LIMIT 50", (name, name)
    )
    return [name, *(login for (login,) in await cursor.fetchall())]


def _statement(query: AuditQuery, logins: list[str]) -> tuple[bytes, list[Any]]:
    conditions: list[tuple[bytes, tuple[Any, ...]]] = []
    if query.patient:
        conditions.append((b"patient_ids @> ARRAY[%s]", (query.patient,)))
    if query.study:
        conditions.append((b"study_uids @> ARRAY[%s]", (query.study,)))
    if query.user:
        # An AE title stands for itself at every address: '@' sorts right before 'A'.
        conditions.append(
            (b"(actor = ANY(%s) OR (actor >= %s AND actor < %s))", (logins, query.user + "@", query.user + "A"))
        )
    if query.since:
        conditions.append((b"occurred_at >= %s", (query.since,)))
    if query.until:
        conditions.append((b"occurred_at < %s", (query.until,)))
    if query.event:
        conditions.append((b"event = %s", (query.event,)))
    if query.event_type:
        conditions.append((b"event_type = %s", (query.event_type,)))
    if query.action:
        conditions.append((b"action = %s", (query.action,)))
    if query.address:
        conditions.append((b"address = %s", (query.address,)))
    if query.failures_only:
        conditions.append((b"outcome > 0", ()))
    if query.successes_only:
        conditions.append((b"outcome = 0", ()))
    if query.cursor:
        at, number = _read_cursor(query.cursor)
        conditions.append((b"(occurred_at, id) < (%s, %s)", (at, number)))
    where = b" AND ".join(condition for condition, _ in conditions) or b"true"
    parameters = [value for _, values in conditions for value in values]
    statement = b"SELECT * FROM audit_event WHERE " + where + b" ORDER BY occurred_at DESC, id DESC LIMIT %s"
    return statement, [*parameters, query.limit + 1]


async def _read(connection: AsyncConnection[Any], statement: bytes, parameters: list[Any]) -> list[AuditRecord]:
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(statement, parameters)
        return [record_of(row) for row in await cursor.fetchall()]


def _question(query: AuditQuery) -> str:
    asked = {field.name: getattr(query, field.name) for field in fields(query) if field.name not in ("limit", "cursor")}
    return ", ".join(f"{name}={value}" for name, value in asked.items() if value) or "everything"


def _cursor(last: AuditRecord) -> str:
    place = orjson.dumps([last.occurred_at.astimezone(dt.UTC).isoformat(), last.id])
    return base64.urlsafe_b64encode(place).decode("ascii").rstrip("=")


def _read_cursor(cursor: str) -> tuple[dt.datetime, int]:
    try:
        at, number = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        moment = dt.datetime.fromisoformat(at)
        if moment.tzinfo is None or not isinstance(number, int) or not 0 <= number < 1 << 63:
            raise ValueError(cursor)
    except (ValueError, TypeError, binascii.Error) as error:
        raise InvalidRequestError("This page of the audit trail does not exist; begin at the first one.") from error
    return moment, number


def _failure(error: psycopg.Error) -> DatabaseError:
    return DatabaseError(f"The audit trail cannot be read: {type(error).__name__}. Try again later; see /readyz.")

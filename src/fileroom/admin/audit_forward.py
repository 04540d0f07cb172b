"""Sending the audit trail to a syslog server (PS3.15 A.6, A.7): every sealed event, in the order of the seals.

How far the server has been told is a row for each address. It moves only over what has safely arrived (`net.syslog`), so a
killed Fileroom or a lost connection makes some events be sent twice, and none lost. Of several task workers one sends.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg
import structlog
from psycopg import AsyncConnection
from psycopg.rows import dict_row

from fileroom.admin.audit_search import AuditRecord, record_of
from fileroom.admin.audit_xml import AuditSource, to_xml
from fileroom.core.errors import ConfigurationError, DatabaseError, FileroomError
from fileroom.core.settings import Settings
from fileroom.db.pool import Pool
from fileroom.net.syslog import (
    NOTICE,
    WARNING,
    SyslogConnection,
    SyslogServer,
    format_message,
    parse_server,
    process_name,
)

EVENTS_PER_ROUND: Final = 500
URL_SETTING: Final = "audit_syslog_url"

_log: Final = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Sealed:
    position: int
    record: AuditRecord


class AuditForwarder:
    """Sends to one server; `step` is called again and again by the task worker."""

    def __init__(self, pool: Pool, server: SyslogServer, source: AuditSource) -> None:
        self._pool = pool
        self._server = server
        self._source = source
        self._connection: SyslogConnection | None = None
        self._noted = 0
        """The position in the database as we last saw it."""
        self._sent = 0
        self._fails = False

    async def step(self) -> int:
        """Send what is new and note what has arrived; returns how many were sent. Raises DatabaseError.

        A server that is away is logged once, and tried again at every step.
        """
        try:
            async with self._pool.connection() as connection, connection.transaction():
                noted = await self._claim(connection)
                if noted is None:
                    return 0  # another task worker sends
                return await self._send_new(connection, noted)
        except psycopg.Error as error:
            raise DatabaseError(f"The audit trail cannot be sent on: {type(error).__name__}.") from error

    async def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await connection.close()

    async def _send_new(self, connection: AsyncConnection[Any], noted: int) -> int:
        if self._connection is None or noted != self._noted:
            await self.close()
            self._noted = self._sent = noted
        events = await self._next(connection)
        if not events and self._connection is None:
            return 0
        try:
            await self._deliver(events)
            await self._note(connection)
        except FileroomError as error:
            await self.close()
            self._sent = self._noted
            if not self._fails:
                _log.error("audit_not_forwarded", server=str(self._server), reason=str(error))
            self._fails = True
            return 0
        if self._fails and events:
            _log.info("audit_forwarded_again", server=str(self._server))
            self._fails = False
        return len(events)

    async def _deliver(self, events: list[_Sealed]) -> None:
        if self._connection is None:
            fresh = SyslogConnection(self._server)
            await fresh.open()
            fresh.delivered = self._noted
            self._connection = fresh
        for event in events:
            await self._connection.send(event.position, self._message(event.record))
            self._sent = event.position

    async def _note(self, connection: AsyncConnection[Any]) -> None:
        if self._connection is None:
            return
        delivered = self._connection.settle()
        if delivered > self._noted:
            await connection.execute(
                b"UPDATE audit_forward SET position = %s, moved_at = now() WHERE target = %s",
                (delivered, str(self._server)),
            )
            self._noted = delivered

    def _message(self, record: AuditRecord) -> bytes:
        severity = WARNING if record.outcome else NOTICE
        content = to_xml(record, self._source)
        return format_message(content, record.occurred_at, severity, socket.gethostname(), process_name())

    async def _claim(self, connection: AsyncConnection[Any]) -> int | None:
        await connection.execute(
            b"INSERT INTO audit_forward (target, position) VALUES (%s, 0) ON CONFLICT DO NOTHING", (str(self._server),)
        )
        cursor = await connection.execute(
            b"SELECT position FROM audit_forward WHERE target = %s FOR UPDATE SKIP LOCKED", (str(self._server),)
        )
        row = await cursor.fetchone()
        return int(row[0]) if row else None

    async def _next(self, connection: AsyncConnection[Any]) -> list[_Sealed]:
        async with connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(_SEALED, (self._sent, EVENTS_PER_ROUND))
            return [_Sealed(row["position"], record_of(row)) for row in await cursor.fetchall()]


class CurrentForwarder:
    """The forwarder that the settings ask for now: another one takes over when they name another server."""

    def __init__(self, pool: Pool, settings: Settings) -> None:
        """Raises ConfigurationError for a server that the environment names and that cannot be used."""
        self._pool = pool
        self._settings = settings
        self._asked = _asked(settings)
        self._forwarder: AuditForwarder | None = None
        self._make(refuse=URL_SETTING in settings.model_fields_set)

    async def step(self) -> int:
        """Send what is new to the server of this moment; 0 where there is none. Raises DatabaseError."""
        if (asked := _asked(self._settings)) != self._asked:
            self._asked = asked
            await self.close()
            self._make(refuse=False)
        return await self._forwarder.step() if self._forwarder is not None else 0

    async def close(self) -> None:
        """End the connection."""
        if self._forwarder is not None:
            forwarder, self._forwarder = self._forwarder, None
            await forwarder.close()

    def _make(self, *, refuse: bool) -> None:
        try:
            self._forwarder = forwarder_of(self._pool, self._settings)
        except ConfigurationError as error:
            if refuse:
                raise
            # An administrator's slip must not end the work that goes on beside it.
            _log.error("audit_not_forwarded", server=self._settings.audit_syslog_url, reason=str(error))


def _asked(settings: Settings) -> tuple[object, ...]:
    """All that a forwarder is made of."""
    return (
        settings.audit_syslog_url,
        settings.audit_syslog_ca,
        settings.audit_syslog_certificate,
        settings.audit_syslog_key,
        source_of(settings),
    )


def forwarder_of(pool: Pool, settings: Settings) -> AuditForwarder | None:
    """The forwarder that the settings ask for, None where they name no server. Raises ConfigurationError."""
    if not settings.audit_syslog_url:
        return None
    server = parse_server(
        settings.audit_syslog_url,
        _path(settings.audit_syslog_ca),
        _path(settings.audit_syslog_certificate),
        _path(settings.audit_syslog_key),
    )
    return AuditForwarder(pool, server, source_of(settings))


def source_of(settings: Settings) -> AuditSource:
    """How Fileroom calls itself in its messages."""
    return AuditSource(settings.audit_source_id or settings.aet, settings.audit_site)


def _path(name: str) -> Path | None:
    return Path(name) if name else None


_SEALED: Final = b"""
SELECT s.position, e.* FROM (SELECT * FROM audit_seal WHERE position > %s ORDER BY position LIMIT %s) s
JOIN audit_event e ON e.id = s.event_id AND e.occurred_at = s.occurred_at ORDER BY s.position"""

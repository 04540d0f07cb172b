"""The stored certificates as the ports and our calls use them: contexts, and the number that tells when they have changed.

    found = await read_tls(pool, settings)      once, and again when `tls_version(pool)` has changed
    found.server(Use.DICOM, "required")         a context for the DICOM port, None without a certificate
    found.client(PeerTls(...))                  what a call to a node needs

It is for Fileroom's own ports and calls, so it asks for no permission; `admin.certificates` is for people.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import psycopg
import structlog
from psycopg.rows import dict_row

from fileroom.admin.certificate_uses import Use
from fileroom.admin.key_folder import KeyFolder
from fileroom.core.errors import ConfigurationError, DatabaseError
from fileroom.core.settings import Settings
from fileroom.db.pool import Pool
from fileroom.net.tls import (
    ClientCertificates,
    ClientTls,
    KeyPair,
    PeerTls,
    ServerTls,
    Trust,
    client_tls,
    server_context,
)

_log: Final = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class TlsInUse:
    """What is active: our certificates by use, and whom we trust. `not_after` is when each ends, aware, in UTC."""

    version: int = 0
    own: Mapping[Use, KeyPair] = field(default_factory=dict)
    trust: Trust = field(default_factory=Trust)
    not_after: Mapping[Use, dt.datetime] = field(default_factory=dict)

    def server(self, use: Use, clients: ClientCertificates, *, protocols: tuple[str, ...] = ()) -> ServerTls | None:
        """What a port needs; None without a certificate, or with one that cannot be used (the log says why)."""
        own = self.own.get(use)
        if own is None:
            return None
        try:
            return ServerTls(server_context(own, self.trust, clients, protocols=protocols), self.trust)
        except ConfigurationError as error:
            _log.error("certificate_not_usable", use=use.value, reason=str(error))
            return None

    def client(self, wanted: PeerTls) -> ClientTls:
        """What a call needs. Raises ConfigurationError where our own certificate cannot be used."""
        return client_tls(self.own.get(Use.CALLS) or self.own.get(Use.DICOM), self.trust, wanted)


async def client_tls_for(pool: Pool, settings: Settings, wanted: PeerTls) -> ClientTls:
    """What a call to a node over TLS needs, from what is stored now. Raises ConfigurationError, DatabaseError."""
    return (await read_tls(pool, settings)).client(wanted)


async def tls_version(pool: Pool) -> int:
    """A number that grows with every change of certificates. Raises DatabaseError."""
    try:
        async with pool.connection() as connection:
            row = await (await connection.execute(b"SELECT version FROM certificate_version")).fetchone()
    except psycopg.Error as error:
        raise DatabaseError(f"The certificates cannot be read: {type(error).__name__}.") from error
    return int(row[0]) if row else 0


async def read_tls(pool: Pool, settings: Settings) -> TlsInUse:
    """All of it. A certificate whose key lies on another machine is left out. Raises DatabaseError."""
    keys = KeyFolder(settings.data)
    version = await tls_version(pool)
    try:
        async with pool.connection() as connection, connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(
                b"""SELECT u.use, c.name, c.chain_pem, c.key_id, c.not_after
                    FROM certificate_use u JOIN certificate c ON c.id = u.certificate WHERE c.chain_pem <> ''"""
            )
            used = await cursor.fetchall()
            await cursor.execute(b"SELECT pem, crl_pem FROM trusted_certificate ORDER BY id")
            trusted = await cursor.fetchall()
    except psycopg.Error as error:
        raise DatabaseError(f"The certificates cannot be read: {type(error).__name__}.") from error
    own, not_after = {}, {}
    for row in used:
        use = Use(row["use"])
        if keys.has(row["key_id"]):
            own[use], not_after[use] = KeyPair(row["chain_pem"], keys.path(row["key_id"])), row["not_after"]
        else:
            _log.error(
                "certificate_without_key", use=use.value, name=row["name"], folder=str(keys.path(row["key_id"]).parent)
            )
    revoked = _revoked([row["crl_pem"] for row in trusted if row["crl_pem"]])
    return TlsInUse(version, own, Trust("".join(row["pem"] for row in trusted), revoked), not_after)


def _revoked(lists: list[str]) -> dict[bytes, frozenset[int]]:
    """Revoked numbers by issuer, from the stored lists."""
    if not lists:
        return {}
    from fileroom.admin.certificate_files import revoked_numbers  # loads cryptography, which most starts do not need

    found: dict[bytes, frozenset[int]] = {}
    for pem in lists:
        issuer, numbers = revoked_numbers(pem)
        found[issuer] = found.get(issuer, frozenset()) | numbers
    return found

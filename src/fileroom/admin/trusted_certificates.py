"""Whom we trust: issuers' certificates, or those of single devices, and their lists of revoked ones (RFC 5280 5).

Callers of the DICOM port over TLS and the systems that we call are checked by them. They say nothing about web browsers.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from dataclasses import dataclass
from typing import Any

import psycopg
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from psycopg.rows import dict_row

from fileroom.admin.certificate_files import facts_of, judge_anchor, pem_of, read_crl, read_upload
from fileroom.admin.certificates import Certificates, good_name, note_change
from fileroom.core.access import Permission, current_access, require
from fileroom.core.errors import ConflictError, InvalidRequestError, NotFoundError, told
from fileroom.core.limits import CERTIFICATES_MAX


@dataclass(frozen=True, slots=True)
class TrustedCertificate:
    """A certificate that others are checked by. Times are aware, in UTC; `revoked_until` is when its list is to be renewed."""

    name: str
    subject: str
    issuer: str
    fingerprint: str
    not_before: dt.datetime
    not_after: dt.datetime
    has_crl: bool
    crl_next_update: dt.datetime | None
    created_at: dt.datetime
    created_by: str


async def list_trusted(certificates: Certificates) -> list[TrustedCertificate]:
    """All by name. Raises NotAllowedError."""
    require(Permission.SETTINGS_READ)
    async with certificates.pool.connection() as connection, connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            b"""SELECT name, subject, issuer, fingerprint, not_before, not_after, crl_pem <> '' AS has_crl, crl_next_update,
                    created_at, created_by FROM trusted_certificate ORDER BY name LIMIT %s""",
            (CERTIFICATES_MAX,),
        )
        return [TrustedCertificate(**row) for row in await cursor.fetchall()]


async def trust(certificates: Certificates, name: str, file: bytes) -> list[str]:
    """Trust the certificates of a file, PEM or DER; returns the names that they got. Raises as `add_certificate`."""
    require(Permission.SETTINGS_MANAGE)
    uploaded = await asyncio.to_thread(read_upload, file)
    if uploaded.key is not None:
        raise InvalidRequestError(
            told("There is a key in the file. Trust needs the certificate alone; keep the key where it belongs.")
        )
    if not uploaded.certificates:
        raise InvalidRequestError(told("There is no certificate in the file."))
    name, now, added = good_name(name), certificates.now(), []
    try:
        async with certificates.pool.connection() as connection, connection.transaction():
            for number, one in enumerate(uploaded.certificates, start=1):
                judge_anchor(one, now)
                each = name if number == 1 else f"{name} ({number})"
                cursor = await connection.execute(_INSERT, _values(one, each, now))
                if not cursor.rowcount:
                    raise ConflictError(
                        told("There are {most} certificates already; remove what nobody uses.", most=CERTIFICATES_MAX)
                    )
                await note_change(connection, each, f"Trusted: {facts_of(one).subject}")
                added.append(each)
    except psycopg.errors.UniqueViolation as error:
        raise ConflictError(told("This certificate, or one named {name}, is trusted already.", name=name)) from error
    return added


async def trusted_part(certificates: Certificates, name: str) -> str:
    """It as PEM. Raises NotFoundError, NotAllowedError."""
    require(Permission.SETTINGS_READ)
    return str((await _find(certificates, name))["pem"])


async def distrust(certificates: Certificates, name: str) -> None:
    """Trust it no longer. Associations that are open go on. Raises NotFoundError, NotAllowedError."""
    require(Permission.SETTINGS_MANAGE)
    async with certificates.pool.connection() as connection, connection.transaction():
        cursor = await connection.execute(b"DELETE FROM trusted_certificate WHERE name = %s", (name,))
        if not cursor.rowcount:
            raise _unknown(name)
        await note_change(connection, name, "Not trusted any more")


async def set_revoked(certificates: Certificates, name: str, file: bytes) -> int:
    """Take over an issuer's list of revoked certificates, or with an empty file forget it; returns how many it names.

    Raises InvalidRequestError for a list that this issuer has not signed, NotFoundError, NotAllowedError.
    """
    require(Permission.SETTINGS_MANAGE)
    row = await _find(certificates, name)
    crl = await asyncio.to_thread(read_crl, file, x509.load_pem_x509_certificate(row["pem"].encode())) if file else None
    pem = crl.public_bytes(Encoding.PEM).decode() if crl is not None else ""
    next_update = crl.next_update_utc if crl is not None else None
    count = len(crl) if crl is not None else 0
    async with certificates.pool.connection() as connection, connection.transaction():
        await connection.execute(
            b"UPDATE trusted_certificate SET crl_pem = %s, crl_next_update = %s WHERE id = %s",
            (pem, next_update, row["id"]),
        )
        await note_change(connection, name, f"List of revoked certificates: {count}")
    return count


_INSERT = b"""INSERT INTO trusted_certificate
        (name, pem, subject, issuer, fingerprint, not_before, not_after, created_at, created_by)
    SELECT %(name)s, %(pem)s, %(subject)s, %(issuer)s, %(fingerprint)s, %(not_before)s, %(not_after)s, %(now)s, %(by)s
    WHERE (SELECT count(*) FROM trusted_certificate) < %(most)s"""


def _values(one: x509.Certificate, name: str, now: dt.datetime) -> dict[str, Any]:
    facts = facts_of(one)
    return {
        "name": name,
        "pem": pem_of([one]),
        "subject": facts.subject,
        "issuer": facts.issuer,
        "fingerprint": facts.fingerprint,
        "not_before": facts.not_before,
        "not_after": facts.not_after,
        "now": now,
        "by": current_access().name,
        "most": CERTIFICATES_MAX,
    }


async def _find(certificates: Certificates, name: str) -> dict[str, Any]:
    async with certificates.pool.connection() as connection, connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(b"SELECT * FROM trusted_certificate WHERE name = %s", (name,))
        row = await cursor.fetchone()
    if row is None:
        raise _unknown(name)
    return row


def _unknown(name: str) -> NotFoundError:
    return NotFoundError(
        told("No trusted certificate is named {name}; see 'fileroom certificate trusted'.", name=repr(name[:80]))
    )

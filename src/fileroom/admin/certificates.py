"""Certificates of Fileroom's own: add, make, request, choose what each is shown for, remove.

    certificates = Certificates(pool, settings.data, now)
    await make_self_signed_certificate(certificates, "pacs", CertificateWish(("pacs.example.org",)))
    await activate(certificates, "pacs", Use.WEB)       shown to new connections within seconds, without a restart

The database holds what is public, `admin.key_folder` the keys. Every change is a security event of the audit trail.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg
from cryptography import x509
from psycopg import AsyncConnection
from psycopg.rows import dict_row

from fileroom.admin.audit import record
from fileroom.admin.audit_events import settings_changed
from fileroom.admin.certificate_files import (
    OwnKey,
    Uploaded,
    facts_of,
    judge_leaf,
    key_id_of,
    key_pem,
    kind_of,
    names_of,
    order_chain,
    pem_of,
    read_upload,
)
from fileroom.admin.certificate_making import KeyKind, make_key, make_request, make_self_signed
from fileroom.admin.certificate_uses import Use
from fileroom.admin.key_folder import KeyFolder
from fileroom.core.access import Permission, current_access, require
from fileroom.core.clock import Now
from fileroom.core.errors import ConflictError, InvalidRequestError, NotFoundError, told
from fileroom.core.limits import CERTIFICATES_MAX
from fileroom.db.pool import Pool

SELF_SIGNED_DAYS: Final = 730
"""Two years: those who trust it by hand must do it again then."""
_NAME_CHARS_MAX: Final = 60


@dataclass(frozen=True, slots=True)
class Certificates:
    """What the services stand on: connections, the data folder with the keys, and the clock."""

    pool: Pool
    data: Path
    now: Now

    @property
    def keys(self) -> KeyFolder:
        """Where keys lie."""
        return KeyFolder(self.data)


@dataclass(frozen=True, slots=True)
class CertificateWish:
    """What is to be made: `names` are the host names and addresses that it is called by, the first one the main one."""

    names: tuple[str, ...]
    organization: str = ""
    key_kind: KeyKind = "rsa"
    days: int = SELF_SIGNED_DAYS


@dataclass(frozen=True, slots=True)
class Certificate:
    """One certificate, or a request that waits for its answer (`is_request`). Times are aware, in UTC."""

    name: str
    subject: str
    issuer: str
    names: tuple[str, ...]
    fingerprint: str
    key_kind: str
    not_before: dt.datetime | None
    not_after: dt.datetime | None
    uses: tuple[Use, ...]
    has_key: bool
    """False: the key lies on another machine, so this one cannot show it."""
    created_at: dt.datetime
    created_by: str

    @property
    def is_request(self) -> bool:
        """Whether its issuer has not answered yet."""
        return self.not_after is None

    @property
    def is_self_signed(self) -> bool:
        """Whether nobody else vouches for it."""
        return not self.is_request and self.subject == self.issuer


async def list_certificates(certificates: Certificates) -> list[Certificate]:
    """All by name. Raises NotAllowedError."""
    require(Permission.SETTINGS_READ)
    async with certificates.pool.connection() as connection, connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            b"""SELECT c.*, ARRAY(SELECT u.use FROM certificate_use u WHERE u.certificate = c.id ORDER BY u.use) AS uses
                FROM certificate c ORDER BY c.name LIMIT %s""",
            (CERTIFICATES_MAX,),
        )
        return [_certificate_of(row, certificates.keys) for row in await cursor.fetchall()]


async def public_part(certificates: Certificates, name: str) -> str:
    """The chain as PEM, or of a request the request. Raises NotFoundError, NotAllowedError."""
    require(Permission.SETTINGS_READ)
    async with certificates.pool.connection() as connection:
        row = await _find(connection, name)
    return str(row["chain_pem"] or row["request_pem"])


async def add_certificate(
    certificates: Certificates, name: str, file: bytes, key_file: bytes = b"", password: str = ""
) -> Certificate:
    """Keep a certificate with its key: PEM in one file or two, or PKCS #12.

    Without a key it is the answer to the request that was made here for it. Raises InvalidRequestError, ConflictError,
    NotAllowedError.
    """
    require(Permission.SETTINGS_MANAGE)
    uploaded = await asyncio.to_thread(read_upload, file, password)
    key = uploaded.key or ((await asyncio.to_thread(read_upload, key_file, password)).key if key_file else None)
    if not uploaded.certificates:
        raise InvalidRequestError(told("There is no certificate in the file."))
    if key is None:
        return await _complete_request(certificates, uploaded)
    chain = order_chain(uploaded.certificates, key.public_key())
    return await _keep(certificates, name, key, chain, "", "Added")


async def make_self_signed_certificate(certificates: Certificates, name: str, wish: CertificateWish) -> Certificate:
    """Make key and certificate. Raises InvalidRequestError, ConflictError, NotAllowedError."""
    require(Permission.SETTINGS_MANAGE)
    key = await asyncio.to_thread(make_key, wish.key_kind)
    made = make_self_signed(key, wish.names, wish.organization, certificates.now(), wish.days)
    return await _keep(certificates, name, key, [made], "", "Made, self-signed")


async def request_certificate(certificates: Certificates, name: str, wish: CertificateWish) -> str:
    """Make a key and a request for an issuer, which is returned as PEM. The key stays here.

    `add_certificate` with the issuer's answer completes it. Raises InvalidRequestError, ConflictError, NotAllowedError.
    """
    require(Permission.SETTINGS_MANAGE)
    key = await asyncio.to_thread(make_key, wish.key_kind)
    request = make_request(key, wish.names, wish.organization)
    await _keep(certificates, name, key, [], request, "Requested")
    return request


async def activate(certificates: Certificates, name: str, use: Use) -> None:
    """Show it to everybody who connects from now on, in place of another. Raises NotFoundError, ConflictError."""
    require(Permission.SETTINGS_MANAGE)
    async with certificates.pool.connection() as connection, connection.transaction():
        row = await _find(connection, name)
        if not row["chain_pem"]:
            raise ConflictError(told("{name} is a request; its issuer's answer must come first.", name=name))
        if not certificates.keys.has(row["key_id"]):
            raise ConflictError(
                told("The key of {name} is not on this machine; add the certificate with its key here.", name=name)
            )
        await connection.execute(
            b"""INSERT INTO certificate_use (use, certificate) VALUES (%s, %s)
                ON CONFLICT (use) DO UPDATE SET certificate = excluded.certificate""",
            (use.value, row["id"]),
        )
        await note_change(connection, name, f"Active for {use.value}")


async def deactivate(certificates: Certificates, use: Use) -> None:
    """Show none for this use any more. Raises NotFoundError when there is none, NotAllowedError."""
    require(Permission.SETTINGS_MANAGE)
    async with certificates.pool.connection() as connection, connection.transaction():
        cursor = await connection.execute(
            b"""DELETE FROM certificate_use u USING certificate c
                WHERE u.use = %s AND c.id = u.certificate RETURNING c.name""",
            (use.value,),
        )
        row = await cursor.fetchone()
        if row is None:
            raise NotFoundError(told("No certificate is active for {use}.", use=use.value))
        await note_change(connection, row[0], f"Not active for {use.value} any more")


async def remove_certificate(certificates: Certificates, name: str) -> None:
    """Remove certificate and key for good. Raises NotFoundError, ConflictError while it is active, NotAllowedError."""
    require(Permission.SETTINGS_MANAGE)
    async with certificates.pool.connection() as connection, connection.transaction():
        row = await _find(connection, name)
        try:
            await connection.execute(b"DELETE FROM certificate WHERE id = %s", (row["id"],))
        except psycopg.errors.ForeignKeyViolation as error:
            raise ConflictError(told("{name} is active. Activate another one first, or none.", name=name)) from error
        cursor = await connection.execute(b"SELECT 1 FROM certificate WHERE key_id = %s", (row["key_id"],))
        is_last = await cursor.fetchone() is None
        await note_change(connection, name, "Removed")
    if is_last:
        certificates.keys.forget(row["key_id"])


# --- for this module and `trusted_certificates` ---


async def note_change(connection: AsyncConnection[Any], name: str, what: str) -> None:
    """In the transaction of a change: the workers shall see it, and the audit trail keeps it."""
    await connection.execute(
        b"""INSERT INTO certificate_version (version) VALUES (1)
            ON CONFLICT (one) DO UPDATE SET version = certificate_version.version + 1"""
    )
    await record(connection, settings_changed(f"certificate {name}", what, security=True))


def good_name(name: str) -> str:
    """Raises InvalidRequestError."""
    stripped = name.strip()
    if not stripped or len(stripped) > _NAME_CHARS_MAX or not stripped.isprintable() or "/" in stripped:
        raise InvalidRequestError(
            told("A name has 1 to {most} printable characters without /, for example pacs-2026.", most=_NAME_CHARS_MAX)
        )
    return stripped


async def _complete_request(certificates: Certificates, uploaded: Uploaded) -> Certificate:
    """The answer to a request names it by its key."""
    by_key = {key_id_of(one.public_key()): one for one in uploaded.certificates}
    async with certificates.pool.connection() as connection, connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(b"SELECT * FROM certificate WHERE key_id = ANY(%s) AND request_pem <> ''", (list(by_key),))
        row = await cursor.fetchone()
    if row is None or not certificates.keys.has(row["key_id"]):
        raise InvalidRequestError(
            told(
                "The key of this certificate is missing: it is not in the file, and no request of this machine has it."
            )
        )
    chain = order_chain(uploaded.certificates, by_key[row["key_id"]].public_key())
    facts = _judged(chain, certificates.now())
    async with certificates.pool.connection() as connection, connection.transaction():
        await connection.execute(
            b"""UPDATE certificate SET chain_pem = %(chain_pem)s, subject = %(subject)s, issuer = %(issuer)s, names = %(names)s,
                    fingerprint = %(fingerprint)s, not_before = %(not_before)s, not_after = %(not_after)s
                WHERE id = %(id)s""",
            facts | {"id": row["id"]},
        )
        await note_change(connection, row["name"], f"The issuer's answer was added: {facts['subject']}")
    return _certificate_of({**row, **facts, "uses": []}, certificates.keys)


async def _keep(
    certificates: Certificates, name: str, key: OwnKey, chain: list[x509.Certificate], request: str, how: str
) -> Certificate:
    """Key first, then the row. Raises ConflictError for a name or certificate that is there."""
    name, now, key_id = good_name(name), certificates.now(), key_id_of(key.public_key())
    values = _judged(chain, now) if chain else _requested(request)
    values |= {
        "name": name,
        "request_pem": request,
        "key_id": key_id,
        "key_kind": kind_of(key.public_key()),
        "created_at": now,
        "created_by": current_access().name,
        "most": CERTIFICATES_MAX,
    }
    already = certificates.keys.has(key_id)
    certificates.keys.keep(key_id, key_pem(key))
    try:
        async with certificates.pool.connection() as connection, connection.transaction():
            cursor = await connection.execute(_INSERT, values)
            if not cursor.rowcount:
                raise ConflictError(
                    told("There are {most} certificates already; remove what nobody uses.", most=CERTIFICATES_MAX)
                )
            await note_change(connection, name, f"{how}: {values['subject']}")
    except psycopg.errors.UniqueViolation as error:
        _forget_unless(already, certificates, key_id)
        raise ConflictError(told("There is a certificate named {name} already.", name=name)) from error
    except BaseException:
        _forget_unless(already, certificates, key_id)
        raise
    return _certificate_of({**values, "uses": []}, certificates.keys)


_INSERT: Final = b"""INSERT INTO certificate (name, chain_pem, request_pem, key_id, subject, issuer, names, fingerprint,
        key_kind, not_before, not_after, created_at, created_by)
    SELECT %(name)s, %(chain_pem)s, %(request_pem)s, %(key_id)s, %(subject)s, %(issuer)s, %(names)s, %(fingerprint)s,
        %(key_kind)s, %(not_before)s, %(not_after)s, %(created_at)s, %(created_by)s
    WHERE (SELECT count(*) FROM certificate) < %(most)s"""


def _forget_unless(already: bool, certificates: Certificates, key_id: str) -> None:
    if not already:
        certificates.keys.forget(key_id)


def _judged(chain: list[x509.Certificate], now: dt.datetime) -> dict[str, Any]:
    judge_leaf(chain[0], now)
    facts = facts_of(chain[0])
    return {
        "chain_pem": pem_of(chain),
        "subject": facts.subject,
        "issuer": facts.issuer,
        "names": list(facts.names),
        "fingerprint": facts.fingerprint,
        "not_before": max(one.not_valid_before_utc for one in chain),
        "not_after": min(one.not_valid_after_utc for one in chain),
    }


def _requested(pem: str) -> dict[str, Any]:
    request = x509.load_pem_x509_csr(pem.encode())
    return {
        "chain_pem": "",
        "subject": request.subject.rfc4514_string(),
        "issuer": "",
        "names": list(names_of(request)),
        "fingerprint": "",
        "not_before": None,
        "not_after": None,
    }


async def _find(connection: AsyncConnection[Any], name: str) -> dict[str, Any]:
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(b"SELECT * FROM certificate WHERE name = %s", (name,))
        row = await cursor.fetchone()
    if row is None:
        raise NotFoundError(
            told("There is no certificate named {name}; see 'fileroom certificate list'.", name=repr(name[:80]))
        )
    return row


def _certificate_of(row: dict[str, Any], keys: KeyFolder) -> Certificate:
    return Certificate(
        row["name"],
        row["subject"],
        row["issuer"],
        tuple(row["names"]),
        row["fingerprint"],
        row["key_kind"],
        row["not_before"],
        row["not_after"],
        tuple(Use(use) for use in row["uses"]),
        keys.has(row["key_id"]),
        row["created_at"],
        row["created_by"],
    )

"""Passkeys: key pairs on telephones, computers and security keys that people log in with (W3C WebAuthn level 2).

A passkey is good at one name of this server and nowhere else, so what a person is talked into at another site opens nothing
here. We ask for the person to be verified by the device (finger, face, PIN): a passkey is two factors in one. This file
keeps them; `admin.passkey_challenges` asks and checks, `admin.passkey_logins` begins sessions by them.
"""

from __future__ import annotations

import datetime as dt
import secrets
from dataclasses import dataclass
from typing import Final

import psycopg
from psycopg.rows import class_row

from fileroom.admin.accounts import find_own_account, own_account_id
from fileroom.admin.audit import record
from fileroom.admin.audit_events import account_changed
from fileroom.admin.passkey_challenges import Known, Site, offer, take_registration
from fileroom.admin.people import People
from fileroom.admin.provided_people import Source
from fileroom.admin.recovery_codes import first_codes, forget_needless_codes
from fileroom.core.access import current_access
from fileroom.core.errors import ConflictError, InvalidRequestError, NotFoundError, told
from fileroom.core.limits import PASSKEYS_PER_ACCOUNT_MAX

NAME_CHARS_MAX: Final = 60
_HANDLE_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Passkey:
    """A passkey as its owner sees it. `site`: the name of this server that it is good at. Times are aware, in UTC."""

    id: int
    name: str
    site: str
    created_at: dt.datetime
    last_used_at: dt.datetime | None


async def offer_passkey(people: People, site: Site) -> str:
    """What the browser needs to make a passkey for whoever acts: PublicKeyCredentialCreationOptions as JSON.

    Whoever calls has asked for the password or a fresh login. Raises ConflictError for one too many, InvalidRequestError at
    a name where no passkey can be, NotAllowedError.
    """
    account = await find_own_account(people)
    if account.source is not Source.LOCAL:  # it would open the account past whoever vouches for it
        raise ConflictError(
            told(
                "Passkeys here are for accounts of Fileroom itself; {login} comes from elsewhere.", login=account.login
            )
        )
    async with people.pool.connection() as connection, connection.transaction():
        await connection.execute(
            b"UPDATE account SET passkey_handle = %s WHERE id = %s AND passkey_handle IS NULL",
            (secrets.token_bytes(_HANDLE_BYTES), account.id),
        )
        cursor = await connection.execute(b"SELECT passkey_handle FROM account WHERE id = %s", (account.id,))
        row = await cursor.fetchone()
        cursor = await connection.execute(
            b"SELECT credential_id, site FROM passkey WHERE account_id = %s", (account.id,)
        )
        known = await cursor.fetchall()
    if len(known) >= PASSKEYS_PER_ACCOUNT_MAX:
        raise ConflictError(
            told("An account has at most {count} passkeys; remove one first.", count=PASSKEYS_PER_ACCOUNT_MAX)
        )
    handle = row[0] if row else b""
    here = [credential for credential, at in known if at == site.name]
    return await offer(people, site, Known(account.id, account.login, account.full_name, handle, here))


async def add_own_passkey(people: People, site: Site, name: str, credential: str) -> list[str]:
    """Keep the passkey that the browser has made. Returns recovery codes, to be shown once; none if there are some already.

    Raises InvalidRequestError for an answer that is wrong, late or was given before, ConflictError, NotAllowedError.
    """
    account_id, name = own_account_id(), _checked_name(name)
    made = await take_registration(people, site, account_id, credential)
    try:
        async with people.pool.connection() as connection, connection.transaction():
            await connection.execute(b"SELECT FROM account WHERE id = %s FOR UPDATE", (account_id,))
            cursor = await connection.execute(
                b"""INSERT INTO passkey (account_id, name, credential_id, public_key, sign_count, site, created_at)
                    SELECT %(account)s, %(name)s, %(credential)s, %(key)s, %(count)s, %(site)s, %(now)s
                    WHERE (SELECT count(*) FROM passkey WHERE account_id = %(account)s) < %(most)s""",
                {
                    "account": account_id,
                    "name": name,
                    "credential": made.credential_id,
                    "key": made.public_key,
                    "count": made.sign_count,
                    "site": site.name,
                    "now": people.now(),
                    "most": PASSKEYS_PER_ACCOUNT_MAX,
                },
            )
            if cursor.rowcount != 1:
                raise ConflictError(
                    told("An account has at most {count} passkeys; remove one first.", count=PASSKEYS_PER_ACCOUNT_MAX)
                )
            codes = await first_codes(connection, account_id)
            await record(connection, account_changed(current_access().name, f"The passkey {name} was added"))
    except psycopg.errors.UniqueViolation as error:
        raise ConflictError(told("That passkey is known already.")) from error
    return codes


async def list_own_passkeys(people: People) -> list[Passkey]:
    """Those of whoever acts, the oldest first. Raises NotAllowedError where it is no person."""
    account_id = own_account_id()
    async with people.pool.connection() as connection, connection.cursor(row_factory=class_row(Passkey)) as cursor:
        await cursor.execute(
            b"SELECT id, name, site, created_at, last_used_at FROM passkey WHERE account_id = %s ORDER BY id",
            (account_id,),
        )
        return await cursor.fetchall()


async def rename_own_passkey(people: People, passkey_id: int, name: str) -> None:
    """Call it differently. Raises NotFoundError, InvalidRequestError, NotAllowedError."""
    account_id, name = own_account_id(), _checked_name(name)
    async with people.pool.connection() as connection, connection.transaction():
        cursor = await connection.execute(
            b"""UPDATE passkey SET name = %(name)s FROM passkey before
                WHERE passkey.id = %(id)s AND passkey.account_id = %(account)s AND before.id = passkey.id
                RETURNING before.name""",
            {"name": name, "id": passkey_id, "account": account_id},
        )
        row = await cursor.fetchone()
        if row is None:
            raise NotFoundError(told("You have no such passkey."))
        what = f"The passkey {row[0]} is called {name} now"
        await record(connection, account_changed(current_access().name, what))


async def remove_own_passkey(people: People, passkey_id: int) -> None:
    """Nobody logs in by it any more. Whoever calls has asked for the password or a fresh login.

    Raises NotFoundError, NotAllowedError.
    """
    account_id = own_account_id()
    async with people.pool.connection() as connection, connection.transaction():
        cursor = await connection.execute(
            b"DELETE FROM passkey WHERE id = %s AND account_id = %s RETURNING name", (passkey_id, account_id)
        )
        row = await cursor.fetchone()
        if row is None:
            raise NotFoundError(told("You have no such passkey."))
        await forget_needless_codes(connection, account_id)
        await record(connection, account_changed(current_access().name, f"The passkey {row[0]} was removed"))


def _checked_name(name: str) -> str:
    kept = " ".join(name.split())
    if not 1 <= len(kept) <= NAME_CHARS_MAX or not kept.isprintable():
        raise InvalidRequestError(
            told("A passkey needs a name of 1 to {count} printable characters.", count=NAME_CHARS_MAX)
        )
    return kept

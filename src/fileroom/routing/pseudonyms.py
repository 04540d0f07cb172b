"""The vault of a project: who is called what. Rows are sealed, looked up by HMAC; one patient has one pseudonym for ever.

opened = await open_pseudonyms(archive, "STUDY01")      # once for a batch, or kept until the entries' generation changes
await opened.learn(headers)                             # makes the pseudonyms that are missing
cleaned = deidentify(header, opened.profile, opened)    # pure; as often as wanted
"""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
import psycopg
from psycopg import AsyncConnection
from pydicom.dataset import Dataset

from fileroom.admin.audit import record
from fileroom.admin.audit_events import security_alert
from fileroom.admin.audit_message import EventType
from fileroom.admin.sealing import seal, unseal
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.errors import ConflictError, DatabaseError, InvalidRequestError, NotFoundError, told
from fileroom.deid.errors import CannotCleanError, UnknownPatientError
from fileroom.deid.profile import Profile
from fileroom.deid.pseudonyms import Pseudonym, identity_of, keyed, new_uid
from fileroom.pixels.header_values import value_of
from fileroom.routing.deid_projects import read_project
from fileroom.routing.project_fields import Project

CACHED_MAX: Final = 10_000
"""Pseudonyms in memory of one opened project: some 3 MB."""
REASON_CHARS_MAX: Final = 500
_KEY_BYTES: Final = 32
_NUMBERS_TRIED_MAX: Final = 100_000
"""Numbers that a given map may already have taken."""


@dataclass(slots=True)
class OpenedPseudonyms:
    """`deid.pseudonyms.Pseudonyms` of a project. Not for two threads at a time while it learns."""

    archive: Archive
    project: Project
    key: bytes = field(repr=False)
    _known: OrderedDict[str, Pseudonym] = field(default_factory=OrderedDict, repr=False)

    @property
    def profile(self) -> Profile:
        """What is done to attributes and pixels."""
        return self.project.profile

    async def learn(self, headers: Iterable[Dataset]) -> None:
        """Have the pseudonyms of these patients in memory, made where there were none.

        Patients that get none (no identity; not in the given map where others are refused) are left out: `patient` tells.
        Raises DatabaseError, ConfigurationError.
        """
        wanted: dict[str, Dataset] = {}
        for header in headers:
            try:
                identity = identity_of(header)
            except CannotCleanError:
                continue
            if identity not in self._known and identity not in wanted:
                wanted[identity] = header
        if not wanted:
            return
        try:
            async with self.archive.pool.connection() as connection, connection.transaction():
                found = await self._read(connection, list(wanted))
                missing = [one for one in wanted if one not in found]
                if missing:
                    found |= await self._make(connection, {one: wanted[one] for one in missing})
        except psycopg.Error as error:
            raise DatabaseError(
                f"The pseudonyms of {self.project.name} cannot be read: {type(error).__name__}. Try again later."
            ) from error
        self._known.update(found)
        while len(self._known) > max(CACHED_MAX, len(wanted)):
            self._known.popitem(last=False)

    def patient(self, identity: str) -> Pseudonym:
        """See deid.pseudonyms.Pseudonyms."""
        found = self._known.get(identity)
        if found is None:
            raise UnknownPatientError(
                f"The patient is not in the patient map of {self.project.name}, and the project makes no other pseudonyms."
                if not self.project.makes_others
                else f"The patient has no pseudonym in {self.project.name} yet."
            )
        return found

    def uid(self, original: str) -> str:
        """See deid.pseudonyms.Pseudonyms."""
        return new_uid(self.key, original)

    def hashed(self, text: str) -> str:
        """See deid.pseudonyms.Pseudonyms."""
        return keyed(self.key, b"text", text.encode())[:8].hex()

    # --- rows ---

    async def _read(self, connection: AsyncConnection[Any], identities: list[str]) -> dict[str, Pseudonym]:
        cursor = await connection.execute(
            b"SELECT lookup, sealed FROM pseudonym WHERE project_id = %s AND lookup = ANY(%s)",
            (self.project.id, [self._lookup(one) for one in identities]),
        )
        by_lookup = {bytes(row[0]): bytes(row[1]) for row in await cursor.fetchall()}
        found = {}
        for identity in identities:
            sealed = by_lookup.get(self._lookup(identity))
            if sealed is not None:
                opened = orjson.loads(await asyncio.to_thread(unseal, self.archive.settings.data, sealed))
                found[identity] = Pseudonym(opened["id"], opened["name"], opened["shift"])
        return found

    async def _make(self, connection: AsyncConnection[Any], wanted: dict[str, Dataset]) -> dict[str, Pseudonym]:
        """One at a time for a project: the row of its vault is the lock."""
        cursor = await connection.execute(
            b"SELECT last_number FROM deid_vault WHERE project_id = %s FOR UPDATE", (self.project.id,)
        )
        row = await cursor.fetchone()
        number = int(row[0]) if row else 0
        found = await self._read(connection, list(wanted))  # made by others while we waited
        for identity, header in wanted.items():
            if identity in found:
                continue
            made, number = await self._next(connection, identity, number)
            if made is None:
                continue
            who = {key: _said(header, keyword) for key, keyword in _WHO.items()}
            sealed = {"id": made.patient_id, "name": made.patient_name, "shift": made.shift_days, "who": who}
            await connection.execute(
                b"INSERT INTO pseudonym (project_id, lookup, pseudonym_lookup, sealed) VALUES (%s, %s, %s, %s)",
                (
                    self.project.id,
                    self._lookup(identity),
                    self._pseudonym_lookup(made.patient_id),
                    await asyncio.to_thread(seal, self.archive.settings.data, orjson.dumps(sealed)),
                ),
            )
            found[identity] = made
        await connection.execute(
            b"UPDATE deid_vault SET last_number = %s WHERE project_id = %s", (number, self.project.id)
        )
        return found

    async def _next(self, connection: AsyncConnection[Any], identity: str, number: int) -> tuple[Pseudonym | None, int]:
        kind, _, rest = identity.partition("\0")
        given = self.project.patients.get(rest.rpartition("\0")[2]) if kind == "id" else None
        if given is not None and not await self._is_taken(connection, given):
            return self._pseudonym(given, identity), number
        if given is not None:
            raise ConflictError(
                f"The patient map of {self.project.name} gives a pseudonym that another patient has already."
            )
        if not self.project.makes_others:
            return None, number
        reserved = set(self.project.patients.values())
        for _ in range(_NUMBERS_TRIED_MAX):
            number += 1
            name = self.project.pseudonym.format(n=number)
            if name not in reserved and not await self._is_taken(connection, name):
                return self._pseudonym(name, identity), number
        raise ConflictError(f"The pattern of {self.project.name} makes pseudonyms that are all taken. Change it.")

    async def _is_taken(self, connection: AsyncConnection[Any], pseudonym: str) -> bool:
        cursor = await connection.execute(
            b"SELECT 1 FROM pseudonym WHERE project_id = %s AND pseudonym_lookup = %s",
            (self.project.id, self._pseudonym_lookup(pseudonym)),
        )
        return await cursor.fetchone() is not None

    def _pseudonym(self, name: str, identity: str) -> Pseudonym:
        return Pseudonym(name, name, shift_of(self.key, identity, self.project.shift_days))

    def _lookup(self, identity: str) -> bytes:
        return keyed(self.key, b"patient", identity.encode("utf-8", "surrogateescape"))

    def _pseudonym_lookup(self, pseudonym: str) -> bytes:
        return keyed(self.key, b"pseudonym", pseudonym.encode())


@dataclass(frozen=True, slots=True)
class Revealed:
    """Who a pseudonym is."""

    pseudonym: str
    patient_id: str = field(repr=False)
    issuer: str = field(repr=False)
    patient_name: str = field(repr=False)
    birth_date: str = field(repr=False)


async def open_pseudonyms(archive: Archive, project: str) -> OpenedPseudonyms:
    """A project, ready to de-identify. Raises NotFoundError, NotAllowedError, ConfigurationError, DatabaseError."""
    require(Permission.STUDY_EXPORT)
    found = await read_project(archive, project)
    return OpenedPseudonyms(archive, found, await _key(archive, found.id))


async def reveal(archive: Archive, project: str, pseudonym: str, reason: str) -> Revealed:
    """Open the vault for one pseudonym. Written to the audit trail with the reason, found or not.

    Raises InvalidRequestError without a reason, NotFoundError, NotAllowedError, ConfigurationError, DatabaseError.
    """
    require(Permission.IDENTITY_REVEAL)
    reason, pseudonym = " ".join(reason.split())[:REASON_CHARS_MAX], pseudonym.strip()
    if not reason:
        raise InvalidRequestError(told("Say why you want to know who this is; it is written to the audit trail."))
    found = await read_project(archive, project)
    key = await _key(archive, found.id)
    lookup = keyed(key, b"pseudonym", pseudonym.encode("utf-8", "replace"))
    async with archive.pool.connection() as connection, connection.transaction():
        cursor = await connection.execute(
            b"SELECT sealed FROM pseudonym WHERE project_id = %s AND pseudonym_lookup = %s", (found.id, lookup)
        )
        row = await cursor.fetchone()
        what = (
            f"Pseudonym {pseudonym[:80]} of project {project}: {'revealed' if row else 'not found'}. Reason: {reason}"
        )
        await record(connection, security_alert(EventType.USE_OF_RESTRICTED_FUNCTION, what))
    if row is None:
        raise NotFoundError(told("{project} has no pseudonym {pseudonym}.", project=project, pseudonym=pseudonym[:80]))
    opened = orjson.loads(await asyncio.to_thread(unseal, archive.settings.data, bytes(row[0])))
    return Revealed(pseudonym, *(str(opened["who"].get(one, "")) for one in _WHO))


def shift_of(key: bytes, identity: str, days_max: int) -> int:
    """Days to add to every date of a patient: 1 to `days_max` back in time, the same for ever."""
    number = int.from_bytes(keyed(key, b"shift", identity.encode("utf-8", "surrogateescape"))[:8], "big")
    return -(1 + number % days_max)


async def _key(archive: Archive, project_id: int) -> bytes:
    """The key of the project, made when there is none. The first of several processes wins."""
    try:
        async with archive.pool.connection() as connection, connection.transaction():
            select = b"SELECT sealed_key FROM deid_vault WHERE project_id = %s"
            row = await (await connection.execute(select, (project_id,))).fetchone()
            if row is None:
                fresh = await asyncio.to_thread(seal, archive.settings.data, secrets.token_bytes(_KEY_BYTES))
                await connection.execute(
                    b"INSERT INTO deid_vault (project_id, sealed_key) VALUES (%s, %s) ON CONFLICT DO NOTHING",
                    (project_id, fresh),
                )
                row = await (await connection.execute(select, (project_id,))).fetchone()
    except psycopg.Error as error:
        raise DatabaseError(f"The vault cannot be opened: {type(error).__name__}. Try again later.") from error
    if row is None:
        raise DatabaseError("The vault of the project is gone. Try again.")
    return await asyncio.to_thread(unseal, archive.settings.data, bytes(row[0]))


_WHO: Final = {
    "patient_id": "PatientID",
    "issuer": "IssuerOfPatientID",
    "name": "PatientName",
    "birth": "PatientBirthDate",
}


def _said(header: Dataset, keyword: str) -> str:
    value = value_of(header, keyword)
    return str(value)[:200] if value is not None else ""

"""Centres: the Filerooms that this one, the edge, dials (decision 35). Usually there is one.

    await connect_centre(archive, "centre", {"url": "https://pacs.hospital.example", "token": "fr_..."})
    await list_centres(archive)                       connected or why not, since when

`edge_client` keeps the link; destinations of kind `edge` name a centre and send over it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from psycopg.rows import dict_row

from fileroom.admin.entries import (
    Entry,
    Fields,
    Section,
    put_entry,
    read_entries,
    read_entry,
    remove_entry,
    set_entry_enabled,
    with_secrets,
)
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.errors import InvalidRequestError, NotFoundError, told
from fileroom.core.limits import KIB
from fileroom.routing.edge_wire import PIECE_BYTES_DEFAULT, PIECE_BYTES_MAX, PIECE_BYTES_MIN
from fileroom.routing.target_fields import FieldType, TargetField, checked_target, filled

IN_FLIGHT_MAX: Final = 16
_FINGERPRINT_CHARS: Final = 64
_SECRET: Final = "secret"  # noqa: S105 - the word that stands for one

FIELDS: Final = (
    TargetField(
        "url",
        told("Address"),
        FieldType.URL,
        required=True,
        help=told("Of the centre's web port, for example https://pacs.hospital.example."),
    ),
    TargetField(
        "token",
        told("Token"),
        FieldType.SECRET,
        required=True,
        help=told("As 'fileroom edge add' has shown it at the centre."),
    ),
    TargetField(
        "fingerprint",
        told("Fingerprint"),
        help=told("SHA-256 of the centre's certificate, where no known issuer has signed it."),
    ),
    TargetField(
        "compress",
        told("Compress"),
        FieldType.FLAG,
        default=False,
        help=told("For slow lines: pieces travel as gzip."),
    ),
    TargetField(
        "piece_kib",
        told("Piece (KiB)"),
        FieldType.NUMBER,
        default=PIECE_BYTES_DEFAULT // KIB,
        minimum=PIECE_BYTES_MIN // KIB,
        maximum=PIECE_BYTES_MAX // KIB,
        help=told("How much of an object goes in one request."),
    ),
    TargetField(
        "in_flight",
        told("In flight"),
        FieldType.NUMBER,
        default=4,
        minimum=1,
        maximum=IN_FLIGHT_MAX,
        help=told("Objects that travel at once in each direction."),
    ),
    TargetField("description", told("Description")),
)


def _checked(_name: str, fields: Mapping[str, Any]) -> Fields:
    checked = checked_target(told("A centre"), FIELDS, fields)
    url = urlsplit(str(checked["url"]))
    if url.query or url.fragment:
        raise InvalidRequestError(told("The address of a centre ends with its path: no ? and no #."))
    if fingerprint := str(checked.get("fingerprint", "")):
        plain = fingerprint.replace(":", "").lower()
        if len(plain) != _FINGERPRINT_CHARS or set(plain) - set("0123456789abcdef"):
            raise InvalidRequestError(told("The fingerprint is SHA-256: 64 digits 0-9 and a-f, colons between or not."))
        checked["fingerprint"] = plain
    return {**checked, "url": str(checked["url"]).rstrip("/")}


CENTRES: Final = Section("centres", "centre", _checked, lambda _: frozenset({("token",)}))


@dataclass(frozen=True, slots=True)
class Centre:
    """A centre with what is needed to call it."""

    id: int
    name: str
    url: str
    token: str = field(repr=False)
    fingerprint: str
    compress: bool
    piece_bytes: int
    in_flight: int
    version: int
    enabled: bool


@dataclass(frozen=True, slots=True)
class CentreState:
    """A centre and its link, for people. Times are aware, in UTC."""

    id: int
    name: str
    fields: Fields
    enabled: bool
    version: int
    connected: bool
    since: dt.datetime | None
    seen_at: dt.datetime | None
    software: str
    cause: str
    """Why there is no link."""


async def connect_centre(
    archive: Archive, name: str, fields: Mapping[str, Any], *, enabled: bool = True, version: int | None = None
) -> Entry:
    """Dial this centre from now on, or otherwise than before. The token is given, or as the word `secret` stays what it was.

    Raises InvalidRequestError, ConflictError (EditedMeanwhileError), NotAllowedError, DatabaseError.
    """
    require(Permission.ROUTING_MANAGE)
    if fields.get("token") == _SECRET:
        try:
            before = await read_entry(archive.pool, CENTRES, name)
        except NotFoundError:
            before = None
        if before is None or before.fields.get("url") != _checked(name, fields)["url"]:
            raise InvalidRequestError(told("Enter the token again: it stays only where the address stays."))
    return await put_entry(archive.pool, archive.settings, CENTRES, name, fields, enabled=enabled, version=version)


async def set_centre_enabled(archive: Archive, name: str, *, enabled: bool) -> Entry:
    """Dial it, or no more. Raises NotFoundError, NotAllowedError, DatabaseError."""
    return await set_entry_enabled(archive.pool, archive.settings, CENTRES, name, enabled=enabled)


async def disconnect_centre(archive: Archive, name: str) -> None:
    """Dial it no more and forget the token. Raises NotFoundError, NotAllowedError, InvalidRequestError, DatabaseError."""
    require(Permission.ROUTING_MANAGE)
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(
            b"""SELECT name FROM named_entry WHERE section = 'destinations' AND removed_at IS NULL
                AND fields ->> 'kind' = 'edge' AND fields -> 'target' ->> 'centre' = %s LIMIT 1""",
            (name,),
        )
        user = await cursor.fetchone()
    if user is not None:
        raise InvalidRequestError(
            told(
                "The destination {destination} still sends to {name}; remove it first.", destination=user[0], name=name
            )
        )
    await remove_entry(archive.pool, CENTRES, name)


async def list_centres(archive: Archive) -> list[CentreState]:
    """All by name, with their links. Raises NotAllowedError, DatabaseError."""
    require(Permission.ROUTING_READ)
    async with archive.pool.connection() as connection, connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            b"""SELECT e.id, e.name, e.fields, e.enabled, e.version, e.enabled AND coalesce(s.connected, false)
                    AND s.seen_at > now() - interval '60 seconds' AS connected,
                    s.since, s.seen_at, s.version AS software, s.cause
                FROM named_entry e LEFT JOIN centre_state s ON s.centre_id = e.id
                WHERE e.section = 'centres' AND e.removed_at IS NULL ORDER BY e.name"""
        )
        rows = await cursor.fetchall()
    return [
        CentreState(
            **{
                **row,
                "connected": bool(row["connected"]),
                "software": row["software"] or "",
                "cause": row["cause"] or "",
            }
        )
        for row in rows
    ]


async def read_centre(archive: Archive, name: str) -> Centre:
    """One with its token, for those who call it. Raises NotFoundError, DatabaseError, ConfigurationError."""
    return _centre(await read_entry(archive.pool, CENTRES, name, settings=archive.settings))


async def read_centres(archive: Archive) -> list[Centre]:
    """All of them. Raises as `read_centre`."""
    return [_centre(one) for one in await read_entries(archive.pool, CENTRES, settings=archive.settings)]


async def note_link(archive: Archive, centre: Centre, *, connected: bool, version: str = "", cause: str = "") -> None:
    """Write down how the link is. Raises DatabaseError."""
    async with archive.pool.connection() as connection:
        await connection.execute(
            b"""INSERT INTO centre_state AS s (centre_id, connected, seen_at, version, cause)
                VALUES (%(id)s, %(connected)s, CASE WHEN %(connected)s THEN now() END, %(version)s, %(cause)s)
                ON CONFLICT (centre_id) DO UPDATE SET connected = excluded.connected,
                    since = CASE WHEN s.connected = excluded.connected THEN s.since ELSE now() END,
                    seen_at = coalesce(excluded.seen_at, s.seen_at),
                    version = CASE WHEN excluded.connected THEN excluded.version ELSE s.version END,
                    cause = excluded.cause""",
            {"id": centre.id, "connected": connected, "version": version, "cause": cause[:500]},
        )


def _centre(entry: Entry) -> Centre:
    fields = filled(FIELDS, with_secrets(entry))
    return Centre(
        id=entry.id,
        name=entry.name,
        url=str(fields["url"]),
        token=str(fields["token"]),
        fingerprint=str(fields["fingerprint"]),
        compress=bool(fields["compress"]),
        piece_bytes=int(fields["piece_kib"]) * KIB,
        in_flight=int(fields["in_flight"]),
        version=entry.version,
        enabled=entry.enabled,
    )

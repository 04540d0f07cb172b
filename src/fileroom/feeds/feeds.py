"""Feeds by name: who sends HL7 messages to Fileroom, and who gets some from it. The page, the API and the CLI call these.

The worker takes `read_feeds`: the ports to listen on, and which feed a message belongs to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from fileroom.admin.entries import (
    Entry,
    EntryVersion,
    Fields,
    Section,
    get_entry,
    list_entries,
    list_entry_versions,
    put_entry,
    read_entries,
    remove_entry,
)
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.errors import ConflictError, InvalidRequestError, told
from fileroom.core.networks import address_of
from fileroom.core.settings import Settings
from fileroom.db.pool import Pool
from fileroom.feeds.feed_fields import BUILT_IN, DEFAULT_FEED, Incoming, Outgoing, checked_fields, incoming, outgoing
from fileroom.feeds.mapping_fields import Mapping as FieldMapping
from fileroom.feeds.mapping_fields import check_mapping, mapping_from_fields


def _check(name: str, fields: Mapping[str, Any]) -> Fields:
    del name
    checked = checked_fields(fields)
    if checked["direction"] == "in":
        checked["mapping"] = check_mapping(fields.get("mapping", {}))
    return checked


FEEDS: Final = Section("feeds", "feed", _check, may_read=Permission.MESSAGE_READ, may_manage=Permission.MESSAGE_MANAGE)


@dataclass(frozen=True, slots=True)
class Feed:
    """A feed as it was made. `is_built_in`: nobody made it; it takes what this machine sends."""

    name: str
    fields: Fields
    enabled: bool = True
    version: int = 0
    changed_by: str = ""
    is_built_in: bool = False

    @property
    def is_incoming(self) -> bool:
        """Messages come in by it."""
        return bool(self.fields["direction"] == "in")


@dataclass(frozen=True, slots=True)
class InFeed:
    """A feed in with how its messages are read, and the feeds out that may forward them."""

    feed: Incoming
    mapping: FieldMapping
    forwards: tuple[Outgoing, ...] = ()


@dataclass(frozen=True, slots=True)
class FeedSet:
    """All feeds at a moment. `built_in` takes what comes from this machine to the default port and is nobody else's: the feed
    that nobody made, or the entry that has its name."""

    incoming: tuple[InFeed, ...]
    outgoing: tuple[Outgoing, ...]
    built_in: InFeed | None
    ports: Mapping[int, str] = field(default_factory=dict)
    """Ports beside the default one, each with its TLS."""

    def choose(self, port: int, application: str, facility: str, address: str) -> InFeed | None:
        """The feed of a message that came to `port` (0: the default one): the first by name that names the sender."""
        for one in self.incoming:
            if one.feed.port == port and one.feed.names(application, facility, address):
                return one
        if port == 0 and self.built_in is not None and is_this_machine(address):
            return self.built_in
        return None


# --- for people ---


async def list_feeds(archive: Archive) -> list[Feed]:
    """All by name, the built-in one first. Raises NotAllowedError, DatabaseError."""
    found = [_feed(one) for one in await list_entries(archive.pool, FEEDS)]
    return found if any(one.name == DEFAULT_FEED for one in found) else [built_in_feed(), *found]


async def get_feed(archive: Archive, name: str) -> Feed:
    """One. Raises NotFoundError, NotAllowedError, DatabaseError."""
    if name == DEFAULT_FEED:
        return next(one for one in await list_feeds(archive) if one.name == name)
    return _feed(await get_entry(archive.pool, FEEDS, name))


async def feed_versions(archive: Archive, name: str) -> list[EntryVersion]:
    """What it was, the latest first. Raises NotFoundError, NotAllowedError, DatabaseError."""
    return await list_entry_versions(archive.pool, FEEDS, name)


async def put_feed(
    archive: Archive,
    name: str,
    fields: Mapping[str, Any],
    *,
    enabled: bool = True,
    version: int | None = None,
    new: bool | None = None,
) -> Feed:
    """Add a feed, or change it, as `entries.put_entry` does. The worker takes it within seconds.

    Raises InvalidRequestError, ConflictError (EditedMeanwhileError), NotFoundError, NotAllowedError, DatabaseError.
    """
    require(Permission.MESSAGE_MANAGE)
    checked = _check(name, fields)
    await _require_port(archive, name.strip(), checked)
    entry = await put_entry(
        archive.pool, archive.settings, FEEDS, name, checked, enabled=enabled, version=version, new=new
    )
    return _feed(entry)


async def remove_feed(archive: Archive, name: str) -> None:
    """Remove it; its messages stay, and what waits to leave by it is cancelled. Raises NotFoundError, NotAllowedError."""
    await remove_entry(archive.pool, FEEDS, name)
    async with archive.pool.connection() as connection:
        await connection.execute(
            b"""UPDATE hl7_outgoing SET state = 'cancelled', reason = 'The feed was removed.'
                WHERE feed = %s AND state = 'waiting'""",
            (name,),
        )


# --- for workers, and for pages that have asked ---


async def read_feeds(pool: Pool) -> FeedSet:
    """All feeds that are in force. Raises DatabaseError."""
    entries = await read_entries(pool, FEEDS)
    out = tuple(
        outgoing(one.name, one.fields, enabled=one.enabled)
        for one in entries
        if one.fields["direction"] == "out" and one.enabled
    )
    taken = tuple(
        InFeed(
            incoming(one.name, one.fields),
            mapping_from_fields(one.fields["mapping"]),
            tuple(to for to in out if not to.sources or one.name in to.sources),
        )
        for one in entries
        if one.fields["direction"] == "in" and one.enabled
    )
    ports = {one.feed.port: one.feed.tls for one in taken if one.feed.port}
    # An entry of the built-in feed's name takes its place; one that is not in force leaves it empty.
    built_in = next((one for one in taken if one.feed.name == DEFAULT_FEED and not one.feed.port), None)
    if all(one.name != DEFAULT_FEED for one in entries):
        forwards = tuple(to for to in out if not to.sources or DEFAULT_FEED in to.sources)
        built_in = InFeed(BUILT_IN, mapping_from_fields(check_mapping({})), forwards)
    return FeedSet(taken, out, built_in, ports)


async def charset_of_feed(pool: Pool, name: str) -> str:
    """What the messages of a feed that name no character set are taken to be in. Raises DatabaseError."""
    entries = await read_entries(pool, FEEDS)
    return next((str(one.fields.get("assumed_charset", "")) for one in entries if one.name == name), "")


def built_in_feed() -> Feed:
    """The feed that is there without anybody having made it."""
    return Feed(DEFAULT_FEED, _check(DEFAULT_FEED, {"direction": "in"}), is_built_in=True)


def is_this_machine(address: str) -> bool:
    """Whether somebody calls from the machine itself."""
    found = address_of(address)
    return found is not None and found.is_loopback


# --- helpers ---


def _feed(entry: Entry) -> Feed:
    return Feed(entry.name, entry.fields, entry.enabled, entry.version, entry.changed_by)


async def _require_port(archive: Archive, name: str, checked: Fields) -> None:
    """A port belongs to one protocol, and to one kind of TLS."""
    port = checked["port"]
    if checked["direction"] != "in" or not port:
        return
    if taken := _own_ports(archive.settings).get(port):
        raise InvalidRequestError(
            told(
                "Port {port} is Fileroom's own: {what}. Choose another, or 0 for the default port.",
                port=port,
                what=taken,
            )
        )
    for one in await read_entries(archive.pool, FEEDS):
        there = one.fields
        if one.name != name and there["direction"] == "in" and there["port"] == port and there["tls"] != checked["tls"]:
            raise ConflictError(
                told(
                    "The feed {name} listens on port {port} too, with TLS {tls}. Feeds that share a port share its TLS.",
                    name=one.name,
                    port=port,
                    tls=there["tls"],
                )
            )


def _own_ports(settings: Settings) -> dict[int, str]:
    return {
        settings.dicom_port: "DICOM",
        settings.dicom_tls_port: "DICOM TLS",
        settings.http_port: "web",
        settings.hl7_port: "HL7",
    }

"""What people set up by name: rules, destinations, treatments, schedules, feeds ... Every change is a version.

A `Section` says how the fields of its entries are checked and which of them are secrets; everything else about an entry is
the same for all: two people who edit the same one at once, versions, the audit trail, the section of the configuration.
The services of a section (`routing.rules`, `routing.destinations` ...) call these functions, which ask for its permissions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
import psycopg
from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from fileroom.admin.audit import record
from fileroom.admin.audit_events import node_changed
from fileroom.admin.configuration_changes import Change
from fileroom.admin.configuration_sections import ConfigurationSection
from fileroom.admin.people import People
from fileroom.admin.sealing import seal, unseal
from fileroom.core.access import Permission, current_access, require
from fileroom.core.errors import ConflictError, DatabaseError, InvalidRequestError, NotFoundError, told
from fileroom.core.settings import Settings
from fileroom.db.pool import Pool

ENTRIES_MAX: Final = 2000
"""Of one section: a hospital group's router has some hundred rules."""
NAME_CHARS_MAX: Final = 64
FIELDS_BYTES_MAX: Final = 256 * 1024
"""Of one entry: a table of some thousand lines to map by."""
VERSIONS_KEPT_MAX: Final = 100
_AUDIT_CHARS_MAX: Final = 2000
_SECRET: Final = "secret"  # noqa: S105 - the word that stands for one
"""What stands in the place of a secret wherever fields are shown, and means in a change: it stays what it was."""

Fields = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Section:
    """A kind of entry. `word` is what people call one."""

    name: str
    word: str
    check: Callable[[str, Mapping[str, Any]], Fields]
    """(name, fields) to the fields' normal form. Raises InvalidRequestError. Reads no table."""
    secrets: Callable[[Fields], frozenset[tuple[str, ...]]] = lambda _: frozenset()
    """Paths of fields that are sealed and never shown."""
    may_read: Permission = Permission.ROUTING_READ
    may_manage: Permission = Permission.ROUTING_MANAGE


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry. `fields` show no secret; `secrets` are those in clear, by path, where they were asked for."""

    id: int
    name: str
    fields: Fields
    enabled: bool = True
    version: int = 1
    changed_by: str = ""
    secrets: Mapping[tuple[str, ...], str] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class EntryVersion:
    """What an entry was."""

    version: int
    fields: Fields
    enabled: bool
    changed_by: str
    changed_at: str


class EditedMeanwhileError(ConflictError):
    """Somebody else has changed the entry since the edit began; nothing was written. `now` is how it is."""

    def __init__(self, section: Section, now: Entry) -> None:
        super().__init__(
            told(
                "The {word} {name} was changed by {who} while you were editing it; nothing of yours is written. Look at it "
                "as it is now, and save again.",
                word=section.word,
                name=now.name,
                who=now.changed_by or "somebody",
            )
        )
        self.now = now


# --- for people and the command line ---


async def list_entries(pool: Pool, section: Section) -> list[Entry]:
    """All entries by name, without secrets. Raises NotAllowedError, DatabaseError."""
    require(section.may_read)
    return await read_entries(pool, section)


async def get_entry(pool: Pool, section: Section, name: str) -> Entry:
    """One entry. Raises NotFoundError, NotAllowedError, DatabaseError."""
    require(section.may_read)
    return await read_entry(pool, section, name)


async def put_entry(
    pool: Pool,
    settings: Settings,
    section: Section,
    name: str,
    fields: Mapping[str, Any],
    *,
    enabled: bool = True,
    version: int | None = None,
    new: bool | None = None,
) -> Entry:
    """Add an entry, or change it. `version` is the one that the edit began with, None: whatever it is. `new` True: it must
    not be there yet; False: it must be.

    Raises InvalidRequestError, ConflictError (EditedMeanwhileError), NotFoundError, NotAllowedError, DatabaseError.
    """
    require(section.may_manage)
    name = checked_name(section, name)
    async with pool.connection() as connection, connection.transaction():
        now = await _find(connection, section, name, lock=True)
        if now is None and (new is False or version is not None):
            raise unknown_entry(section, name)
        if now is not None and new is True:
            raise ConflictError(told("There is a {word} {name} already.", word=section.word, name=name))
        if now is not None and version is not None and now.version != version:
            raise EditedMeanwhileError(section, now)
        checked, secrets = _checked(section, name, fields)
        return await _write(connection, settings, section, Entry(0, name, checked, enabled), secrets, now)


async def set_entry_enabled(pool: Pool, settings: Settings, section: Section, name: str, *, enabled: bool) -> Entry:
    """Let an entry take part, or no more. Raises NotFoundError, NotAllowedError, DatabaseError."""
    require(section.may_manage)
    now = await read_entry(pool, section, name)
    return await put_entry(pool, settings, section, name, now.fields, enabled=enabled, new=False)


async def remove_entry(pool: Pool, section: Section, name: str) -> None:
    """Remove an entry; what refers to it in the ledger still tells its name. Raises NotFoundError, NotAllowedError."""
    require(section.may_manage)
    async with pool.connection() as connection, connection.transaction():
        now = await _find(connection, section, name, lock=True)
        if now is None:
            raise unknown_entry(section, name)
        await connection.execute(b"UPDATE named_entry SET removed_at = now(), secrets = NULL WHERE id = %s", (now.id,))
        await record(connection, node_changed(name, f"{section.word} removed"))


async def list_entry_versions(pool: Pool, section: Section, name: str) -> list[EntryVersion]:
    """What an entry was, the latest first. Raises NotFoundError, NotAllowedError, DatabaseError."""
    now = await get_entry(pool, section, name)
    async with pool.connection() as connection:
        cursor = await connection.execute(
            b"""SELECT version, fields, enabled, changed_by,
                to_char(changed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
                FROM named_entry_version WHERE entry_id = %s ORDER BY version DESC""",
            (now.id,),
        )
        return [EntryVersion(*row) for row in await cursor.fetchall()]


# --- rows, for services that have asked ---


async def read_entries(pool: Pool, section: Section, *, settings: Settings | None = None) -> list[Entry]:
    """All entries by name; with `settings` their secrets in clear. Raises DatabaseError."""
    try:
        async with pool.connection() as connection:
            cursor = await connection.execute(_SELECT + b" ORDER BY name", (section.name,))
            return [_entry(row, settings) for row in await cursor.fetchall()]
    except psycopg.Error as error:
        raise DatabaseError(f"The {section.name} cannot be read: {type(error).__name__}. Try again later.") from error


async def read_entry(pool: Pool, section: Section, name: str, *, settings: Settings | None = None) -> Entry:
    """One entry; with `settings` its secrets in clear. Raises NotFoundError, DatabaseError."""
    async with pool.connection() as connection:
        cursor = await connection.execute(_SELECT + b" AND name = %s", (section.name, name))
        row = await cursor.fetchone()
    if row is None:
        raise unknown_entry(section, name)
    return _entry(row, settings)


async def read_generation(pool: Pool) -> int:
    """Counts every change of any entry. Raises DatabaseError."""
    async with pool.connection() as connection:
        cursor = await connection.execute(b"SELECT generation FROM entry_generation")
        row = await cursor.fetchone()
    return int(row[0]) if row else 0


def checked_name(section: Section, name: str) -> str:
    """Raises InvalidRequestError."""
    name = name.strip()
    if not name or not name.isprintable() or len(name) > NAME_CHARS_MAX or "/" in name or "," in name:
        raise InvalidRequestError(
            told(
                "A {word} needs a name of 1 to {most} characters without / and comma.",
                word=section.word,
                most=NAME_CHARS_MAX,
            )
        )
    return name


def with_secrets(entry: Entry) -> Fields:
    """The fields with the secrets of the entry in their places, in clear. Never to be shown."""
    fields: Fields = orjson.loads(orjson.dumps(entry.fields))
    for path, secret in entry.secrets.items():
        _put(fields, path, secret)
    return fields


def unknown_entry(section: Section, name: str) -> NotFoundError:
    """There is no such entry."""
    return NotFoundError(told("There is no {word} {name}.", word=section.word, name=name))


def configuration_section(section: Section) -> ConfigurationSection:
    """The section as versions and files of the configuration hold it. Secrets are not in files; they stay what they are."""

    async def read(people: People) -> dict[str, Any]:
        return {one.name: _to_document(one) for one in await list_entries(people.pool, section)}

    def check(name: str, value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise InvalidRequestError(f"a {section.word} is a table")
        fields = {key: one for key, one in value.items() if key != "enabled"}
        checked = section.check(checked_name(section, name), fields)
        return checked if value.get("enabled", True) else {**checked, "enabled": False}

    async def apply(people: People, change: Change) -> None:
        if change.new is None:
            await remove_entry(people.pool, section, change.name)
            return
        fields = {key: one for key, one in change.new.items() if key != "enabled"}
        enabled = bool(change.new.get("enabled", True))
        await put_entry(people.pool, people.settings, section, change.name, fields, enabled=enabled)

    return ConfigurationSection(section.name, read, check, apply)


# --- helpers ---

_SELECT: Final = b"""SELECT id, name, fields, enabled, version, changed_by, secrets FROM named_entry
    WHERE section = %s AND removed_at IS NULL"""


def _entry(row: tuple[Any, ...], settings: Settings | None = None) -> Entry:
    secrets: dict[tuple[str, ...], str] = {}
    if settings is not None and row[6] is not None:
        secrets = {tuple(path): value for path, value in orjson.loads(unseal(settings.data, bytes(row[6])))}
    number, name, fields, enabled, version, changed_by = row[:6]
    return Entry(number, name, fields, enabled, version, changed_by, secrets)


async def _find(connection: AsyncConnection[Any], section: Section, name: str, *, lock: bool) -> Entry | None:
    cursor = await connection.execute(
        _SELECT + b" AND name = %s" + (b" FOR UPDATE" if lock else b""), (section.name, name)
    )
    row = await cursor.fetchone()
    return _entry(row) if row is not None else None


def _checked(section: Section, name: str, fields: Mapping[str, Any]) -> tuple[Fields, dict[tuple[str, ...], str]]:
    """The fields without secrets, and the secrets that are given (`secret` where one stays what it was)."""
    checked = section.check(name, fields)
    if len(orjson.dumps(checked)) > FIELDS_BYTES_MAX:
        raise InvalidRequestError(told("The {word} is too large: at most 256 KB.", word=section.word))
    given: dict[tuple[str, ...], str] = {}
    for path in section.secrets(checked):
        value = _get(checked, path)
        if value:
            given[path] = str(value)
            _put(checked, path, _SECRET)
    return checked, given


async def _write(
    connection: AsyncConnection[Any],
    settings: Settings,
    section: Section,
    entry: Entry,
    given: dict[tuple[str, ...], str],
    now: Entry | None,
) -> Entry:
    who = current_access().name
    sealed = await _sealed(connection, settings, given, now)
    if now is None:
        await _require_room(connection, section)
        cursor = await connection.execute(
            b"""INSERT INTO named_entry (section, name, fields, secrets, enabled, changed_by) VALUES (%s, %s, %s, %s, %s, %s)
                RETURNING id, version""",
            (section.name, entry.name, Jsonb(entry.fields), sealed, entry.enabled, who),
        )
    elif (
        now.fields == entry.fields
        and now.enabled == entry.enabled
        and set(given.values() if given else ()) <= {_SECRET}
    ):
        return now
    else:
        cursor = await connection.execute(
            b"""UPDATE named_entry SET fields = %s, secrets = %s, enabled = %s, version = version + 1, changed_by = %s,
                changed_at = now() WHERE id = %s RETURNING id, version""",
            (Jsonb(entry.fields), sealed, entry.enabled, who, now.id),
        )
    row = await cursor.fetchone()
    number, version = (row[0], row[1]) if row else (0, 1)
    await connection.execute(
        b"INSERT INTO named_entry_version (entry_id, version, fields, enabled, changed_by) VALUES (%s, %s, %s, %s, %s)",
        (number, version, Jsonb(entry.fields), entry.enabled, who),
    )
    await connection.execute(
        b"DELETE FROM named_entry_version WHERE entry_id = %s AND version <= %s",
        (number, version - VERSIONS_KEPT_MAX),
    )
    await record(connection, node_changed(entry.name, _in_words(section, entry, now)[:_AUDIT_CHARS_MAX]))
    return Entry(number, entry.name, entry.fields, entry.enabled, version, who)


async def _sealed(
    connection: AsyncConnection[Any], settings: Settings, given: dict[tuple[str, ...], str], now: Entry | None
) -> bytes | None:
    if not given:
        return None
    kept: dict[tuple[str, ...], str] = {}
    if now is not None and _SECRET in given.values():
        cursor = await connection.execute(b"SELECT secrets FROM named_entry WHERE id = %s", (now.id,))
        row = await cursor.fetchone()
        if row is not None and row[0] is not None:
            kept = {tuple(path): value for path, value in orjson.loads(unseal(settings.data, bytes(row[0])))}
    clear = [(list(path), kept.get(path, "") if value == _SECRET else value) for path, value in given.items()]
    return seal(settings.data, orjson.dumps(clear))


async def _require_room(connection: AsyncConnection[Any], section: Section) -> None:
    cursor = await connection.execute(
        b"SELECT count(*) FROM named_entry WHERE section = %s AND removed_at IS NULL", (section.name,)
    )
    row = await cursor.fetchone()
    if row is not None and row[0] >= ENTRIES_MAX:
        raise InvalidRequestError(told("There are {most} entries already; remove some first.", most=ENTRIES_MAX))


def _in_words(section: Section, entry: Entry, before: Entry | None) -> str:
    if before is None:
        return f"{section.word} added: {orjson.dumps(entry.fields).decode()}"
    was = {**before.fields, "enabled": before.enabled}
    is_now = {**entry.fields, "enabled": entry.enabled}
    changes = [
        f"{key}: {orjson.dumps(was.get(key)).decode()} -> {orjson.dumps(is_now.get(key)).decode()}"
        for key in sorted({*was, *is_now})
        if was.get(key) != is_now.get(key)
    ]
    return f"{section.word} changed: {'; '.join(changes)}"


def _to_document(entry: Entry) -> dict[str, Any]:
    return entry.fields if entry.enabled else {**entry.fields, "enabled": False}


def _get(fields: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    value: Any = fields
    for step in path:
        value = value.get(step) if isinstance(value, Mapping) else None
    return value


def _put(fields: Fields, path: tuple[str, ...], value: str) -> None:
    inner = fields
    for step in path[:-1]:
        inner = inner.setdefault(step, {})
    inner[path[-1]] = value

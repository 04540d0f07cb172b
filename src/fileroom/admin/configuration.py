"""The configuration as versions: settings that administrators change while Fileroom runs, and sections of other rooms.

Every change is checked as a whole, compared with what is there, written as a new version with its author, time and comment,
audited, and told to every process (`configuration_watch`); nothing of it happens without the rest. Going back to an earlier
version is a new version too. Whoever says which version they have seen (`Intent.expected`) is told when there is a newer one,
with what it changed, and can apply on top of it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection
from psycopg.types.json import Json

from fileroom.admin.audit import record
from fileroom.admin.audit_events import settings_changed
from fileroom.admin.configuration_changes import (
    SETTINGS,
    Change,
    Document,
    differences,
    fingerprint,
    taken_back,
    together,
    with_changes,
)
from fileroom.admin.configuration_file import MASK
from fileroom.admin.configuration_rows import (
    VERSIONS_BEFORE,
    VERSIONS_BETWEEN,
    Version,
    read_last_changes,
    read_latest,
    read_versions,
    require_version,
)
from fileroom.admin.configuration_sections import ENTRIES_MAX, Configuration, ConfigurationSection
from fileroom.core.access import Permission, require
from fileroom.core.errors import ConflictError, InvalidRequestError, NotAllowedError, told
from fileroom.core.live_settings import Problem, check_values, settings_table
from fileroom.core.setting_marks import SettingEntry, SettingKind, Value
from fileroom.core.settings import Settings
from fileroom.db.pool import JoinedPool

COMMENT_CHARS_MAX: Final = 500
VERSIONS_PER_PAGE: Final = 100
CHANNEL: Final = "fileroom_configuration"
"""Of PostgreSQL's NOTIFY; its text is the number of the new version."""
_PROBLEMS_SHOWN_MAX: Final = 20


Wanted = Callable[[AsyncConnection[Any]], Awaitable[Document]]
"""What shall be, asked inside of the transaction that makes it so."""


@dataclass(frozen=True, slots=True)
class Intent:
    """How a change is meant. `expected`: the version that was seen, None: whichever there is. `dry_run`: change nothing.

    `seen` are fingerprints of sections as they were seen: their entries are changed elsewhere too, without a version.
    """

    comment: str = ""
    expected: int | None = None
    dry_run: bool = False
    seen: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Applied:
    """What came of it: the version that holds now, and what it changed. Without changes no version was made."""

    number: int
    changes: tuple[Change, ...]
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class SettingState:
    """A setting, its value now and where that comes from. `stored` is what the database says, None: nothing."""

    entry: SettingEntry
    value: Value
    from_outside: bool
    stored: Any = None
    refused: str = ""
    """Why the stored value cannot be used; it is left out."""
    changed_by: Version | None = None


class InvalidConfigurationError(InvalidRequestError):
    """Values that cannot be used; nothing was changed."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        more = f" And {len(problems) - _PROBLEMS_SHOWN_MAX} more." if len(problems) > _PROBLEMS_SHOWN_MAX else ""
        super().__init__(
            f"Nothing was changed. {'; '.join(map(str, problems[:_PROBLEMS_SHOWN_MAX]))}.{more}".replace("..", ".")
        )
        self.problems = tuple(problems)


class VersionConflictError(ConflictError):
    """Somebody else has made a version in between; nothing was changed. `theirs` came in between, `yours` would."""

    def __init__(self, expected: int, latest: Version, theirs: Sequence[Change], yours: Sequence[Change]) -> None:
        by = f"{latest.actor}, {latest.made_at:%Y-%m-%d %H:%M} UTC"
        super().__init__(
            f"Nothing was changed. You have seen version {expected}; now there is version {latest.number} ({by}). In between: "
            f"{'; '.join(map(str, theirs)) or 'no difference'}. Yours: {'; '.join(map(str, yours)) or 'no difference'}. "
            f"If that is right, apply it on top of version {latest.number}."
        )
        self.expected = expected
        self.latest = latest
        self.theirs = tuple(theirs)
        self.yours = tuple(yours)


# --- reading ---


async def read_settings(configuration: Configuration) -> tuple[int, list[SettingState]]:
    """The version that holds, and every setting as it is here now. Raises NotAllowedError, DatabaseError."""
    require(Permission.SETTINGS_READ)
    settings = configuration.people.settings
    async with configuration.people.pool.connection() as connection:
        number, stored = await read_latest(connection)
        changed_by = await read_last_changes(connection)
    good, problems = check_values(stored)
    refused = {problem.name: problem.reason for problem in problems}
    states = [
        SettingState(
            entry,
            _value_now(entry, settings, good),
            name in settings.model_fields_set,
            stored.get(name),
            refused.get(name, ""),
            changed_by.get(name),
        )
        for name, entry in settings_table().items()
    ]
    return number, states


async def read_document(configuration: Configuration) -> tuple[int, dict[str, dict[str, Any]]]:
    """The version that holds, and everything that a file can hold, without sections that one may not read."""
    require(Permission.SETTINGS_READ)
    document: dict[str, dict[str, Any]] = {}
    async with configuration.people.pool.connection() as connection:
        number, document[SETTINGS] = await read_latest(connection)
    for section in configuration.sections:
        try:
            document[section.name] = dict(await section.read(configuration.people))
        except NotAllowedError:
            continue
    return number, document


async def list_versions(
    configuration: Configuration, *, before: int | None = None, limit: int = VERSIONS_PER_PAGE
) -> list[Version]:
    """Versions, the newest first; `before` is the number that the former page ended with."""
    require(Permission.SETTINGS_READ)
    async with configuration.people.pool.connection() as connection:
        return await read_versions(connection, VERSIONS_BEFORE, (before, before, max(1, min(limit, VERSIONS_PER_PAGE))))


async def compare_versions(configuration: Configuration, first: int, second: int) -> list[Change]:
    """What makes version `second` of version `first`, whichever is newer. Raises NotFoundError."""
    require(Permission.SETTINGS_READ)
    low, high = min(first, second), max(first, second)
    async with configuration.people.pool.connection() as connection:
        await require_version(connection, low)
        await require_version(connection, high)
        versions = await read_versions(connection, VERSIONS_BETWEEN, (low, high))
    found = together(change for version in versions for change in version.changes)
    if first > second:
        found = [dataclasses.replace(change, old=change.new, new=change.old) for change in found]
    return found


# --- changing ---


async def change_settings(
    configuration: Configuration, values: Mapping[str, object], intent: Intent | None = None
) -> Applied:
    """Set some settings; None puts one back to its default.

    Raises InvalidConfigurationError that names each wrong value, VersionConflictError, NotAllowedError, DatabaseError.
    """
    require(Permission.SETTINGS_MANAGE)

    async def wanted(connection: AsyncConnection[Any]) -> Document:
        _, stored = await read_latest(connection)
        unknown = [
            Problem(name, None, "there is no such setting")
            for name, value in values.items()
            if value is None and name not in settings_table() and name not in stored
        ]
        if unknown:
            raise InvalidConfigurationError(unknown)
        return {SETTINGS: with_changes(stored, values.items())}

    return await _apply(configuration, wanted, intent or Intent())


async def apply_document(configuration: Configuration, document: Document, intent: Intent | None = None) -> Applied:
    """Make the configuration what a document says, in the sections that it has. Raises as `change_settings` does."""
    require(Permission.SETTINGS_MANAGE)

    async def wanted(_connection: AsyncConnection[Any]) -> Document:
        return document

    return await _apply(configuration, wanted, intent or Intent())


async def roll_back(configuration: Configuration, number: int, intent: Intent | None = None) -> Applied:
    """Take back what the versions after `number` changed; 0 takes back all. It makes a new version.

    What was changed elsewhere since (a role on the page of people) stays. Raises NotFoundError, and as `change_settings`.
    """
    require(Permission.SETTINGS_MANAGE)
    intent = intent or Intent()

    async def wanted(connection: AsyncConnection[Any]) -> Document:
        await require_version(connection, number)
        versions = await read_versions(connection, VERSIONS_BETWEEN, (number, None))
        before = taken_back(change for version in versions for change in version.changes)
        document: dict[str, dict[str, Any]] = {}
        for name, entries in before.items():
            section = _section(configuration, name)
            now = (await read_latest(connection))[1] if section is None else await section.read(configuration.people)
            document[name] = with_changes(now, entries.items())
        return document

    comment = intent.comment or f"Back to version {number}"
    return await _apply(configuration, wanted, dataclasses.replace(intent, comment=comment))


async def _apply(configuration: Configuration, wanted: Wanted, intent: Intent) -> Applied:
    if len(intent.comment) > COMMENT_CHARS_MAX or not intent.comment.isprintable():
        raise InvalidRequestError(f"A comment is one line of up to {COMMENT_CHARS_MAX} characters.")
    people = configuration.people
    async with people.pool.connection() as connection, connection.transaction():
        # Readers go on; a second writer waits, and then sees this version.
        await connection.execute(b"LOCK TABLE configuration_version IN SHARE ROW EXCLUSIVE MODE")
        number, stored = await read_latest(connection)
        joined = dataclasses.replace(configuration, people=dataclasses.replace(people, pool=JoinedPool(connection)))
        document = await wanted(connection)
        changes = await _changes(joined, document, stored, intent.seen)
        _require_may_set(changes)
        if changes and intent.expected is not None and intent.expected != number:
            await _refuse_conflict(connection, intent.expected, changes)
        if changes:
            number += 1
            before = await _missing(joined)
            await _write(connection, joined, number, changes, stored, intent.comment)
            if problems := [one for one in await _missing(joined) if one not in before]:
                raise InvalidConfigurationError(problems)
        if intent.dry_run:
            raise psycopg.Rollback
    return Applied(number - bool(intent.dry_run and changes), tuple(changes), intent.dry_run)


async def _missing(configuration: Configuration) -> list[Problem]:
    """What entries name and is not there."""
    asked = [section.missing for section in configuration.sections if section.missing is not None]
    return [problem for missing in asked for problem in await missing(configuration.people)]


async def _changes(
    configuration: Configuration, document: Document, stored: Mapping[str, Any], seen: Mapping[str, str]
) -> list[Change]:
    """What a document changes, checked. Raises InvalidConfigurationError, ConflictError for a section changed elsewhere."""
    problems: list[Problem] = []
    changes: list[Change] = []
    for name, entries in document.items():
        section = _section(configuration, name, problems)
        if name == SETTINGS:
            new = _checked_settings(entries, stored, problems)
            changes += differences(name, stored, new)
        elif section is not None:
            checked = _checked_entries(section, entries, problems)
            now = await section.read(configuration.people)
            found = differences(name, now, checked)
            if found and not problems and seen.get(name, "") not in ("", fingerprint(now)):
                raise ConflictError(
                    f"Nothing was changed. What stands under [{name}] was changed elsewhere since you have seen it. Applied as "
                    f"it is, this would change: {'; '.join(map(str, found))}. Export it again and carry your changes over."
                )
            changes += found
    if problems:
        raise InvalidConfigurationError(problems)
    return changes


def _section(
    configuration: Configuration, name: str, problems: list[Problem] | None = None
) -> ConfigurationSection | None:
    """A section by its name; None for the settings, and with a problem where there is none."""
    for section in configuration.sections:
        if section.name == name:
            return section
    if name != SETTINGS and problems is not None:
        known = ", ".join([SETTINGS, *(section.name for section in configuration.sections)])
        problems.append(Problem(name, None, f"there is no such section; there are {known}"))
    return None


def _checked_settings(
    given: Mapping[str, object], stored: Mapping[str, Any], problems: list[Problem]
) -> dict[str, Any]:
    """The settings of a document as they are stored.

    What is stored and unchanged passes, whatever newer code says of it: somebody who changes another setting has nothing to
    do with it. A masked secret says nothing.
    """
    unchanged = {name: value for name, value in given.items() if name in stored and stored[name] == value}
    table = settings_table()
    asked = {
        name: value
        for name, value in given.items()
        if name not in unchanged and not (value == MASK and name in table and table[name].kind is SettingKind.SECRET)
    }
    good, found = check_values(asked)
    problems += found
    return {**unchanged, **good}


def _checked_entries(
    section: ConfigurationSection, entries: Mapping[str, Any], problems: list[Problem]
) -> dict[str, Any]:
    if len(entries) > ENTRIES_MAX:
        problems.append(Problem(section.name, len(entries), f"a section has up to {ENTRIES_MAX} entries"))
        return {}
    checked = {}
    for name, value in entries.items():
        try:
            checked[name] = section.check(name, value)
        except InvalidRequestError as error:
            problems.append(Problem(f"{section.name}.{name}", None, str(error).rstrip(".")))
    return checked


async def _write(
    connection: AsyncConnection[Any],
    configuration: Configuration,
    number: int,
    changes: Sequence[Change],
    stored: Mapping[str, Any],
    comment: str,
) -> None:
    access = require(Permission.SETTINGS_MANAGE)
    document: dict[str, dict[str, Any]] = {SETTINGS: dict(stored)}
    table = settings_table()
    for change in sorted(changes, key=_order):
        section = _section(configuration, change.section)
        if section is not None:
            await section.apply(configuration.people, change)
        entries = document.setdefault(change.section, {})
        document[change.section] = with_changes(entries, [(change.name, change.new)])
    await connection.execute(
        b"""INSERT INTO configuration_version (number, actor_kind, actor, address, comment, changes, document)
            VALUES (%s, %s, %s, %s, %s, %s, %s)""",
        (
            number,
            access.kind.value,
            access.name,
            access.address,
            comment,
            Json([change.to_json() for change in changes]),
            Json(document),
        ),
    )
    told = f" (version {number}{f': {comment}' if comment else ''})"
    events = [
        settings_changed(change.name, f"{change}{told}", security=change.name in table and table[change.name].security)
        for change in changes
        if change.section == SETTINGS  # services of other sections audit their own
    ]
    await record(connection, *events)
    await connection.execute(b"SELECT pg_notify(%s, %s)", (CHANNEL, str(number)))


def _require_may_set(changes: Sequence[Change]) -> None:
    """Raises NotAllowedError where a setting decides who gets which rights, and one has not got all of them oneself."""
    table, access = settings_table(), require(Permission.SETTINGS_MANAGE)
    if access.permissions >= frozenset(Permission):
        return
    for change in changes:
        if change.section == SETTINGS and change.name in table and table[change.name].gives_rights:
            raise NotAllowedError(
                told(
                    "{setting} decides who gets which rights; only an administrator who has every right may change it.",
                    setting=change.name,
                )
            )


def _order(change: Change) -> int:
    """Entries that go make room for those that come, of the same AE title for instance."""
    return 0 if change.new is None else 1 if change.old is not None else 2


async def _refuse_conflict(connection: AsyncConnection[Any], expected: int, yours: Sequence[Change]) -> None:
    """Raises VersionConflictError, ConflictError for a version that there never was."""
    latest, _ = await read_latest(connection)
    if expected > latest:
        raise ConflictError(
            f"Nothing was changed. You have seen version {expected}, and the newest here is {latest}: the file may be from "
            f"another archive. Look at what it would change, and apply it on top of version {latest}."
        )
    versions = await read_versions(connection, VERSIONS_BETWEEN, (expected, None))
    theirs = together(change for version in versions for change in version.changes)
    raise VersionConflictError(expected, versions[-1], theirs, yours)


def _value_now(entry: SettingEntry, settings: Settings, managed: Mapping[str, Value]) -> Value:
    """By the newest version, which this process may take only in a moment."""
    if entry.kind is SettingKind.SECRET:
        return ""
    if entry.kind is SettingKind.START or entry.name in settings.model_fields_set:
        value = getattr(settings, entry.name)
        return value if isinstance(value, Value) else str(value)
    return managed.get(entry.name, entry.default)

"""Projects of de-identification by name. The page, the API and the command line call these."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fileroom.admin.entries import (
    Entry,
    EntryVersion,
    get_entry,
    list_entries,
    list_entry_versions,
    put_entry,
    read_entry,
    remove_entry,
    with_secrets,
)
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.errors import ConflictError, told
from fileroom.routing.project_fields import PROJECTS, Project, patient_map, profile_of


async def list_projects(archive: Archive) -> list[Entry]:
    """All by name; patient maps are not shown. Raises NotAllowedError, DatabaseError."""
    return await list_entries(archive.pool, PROJECTS)


async def get_project(archive: Archive, name: str) -> Entry:
    """One. Raises NotFoundError, NotAllowedError, DatabaseError."""
    return await get_entry(archive.pool, PROJECTS, name)


async def project_versions(archive: Archive, name: str) -> list[EntryVersion]:
    """What it was, the latest first. Raises NotFoundError, NotAllowedError, DatabaseError."""
    return await list_entry_versions(archive.pool, PROJECTS, name)


async def put_project(
    archive: Archive,
    name: str,
    fields: Mapping[str, Any],
    *,
    enabled: bool = True,
    version: int | None = None,
    new: bool | None = None,
) -> Entry:
    """Add a project, or change it, as `entries.put_entry` does.

    Raises InvalidRequestError, ConflictError (EditedMeanwhileError), NotFoundError, NotAllowedError, DatabaseError.
    """
    return await put_entry(
        archive.pool, archive.settings, PROJECTS, name, fields, enabled=enabled, version=version, new=new
    )


async def remove_project(archive: Archive, name: str) -> None:
    """Remove it. Its vault stays, so that pseudonyms that have left can still be revealed; a new project of the same name
    has a new vault. Raises ConflictError while a treatment names it, NotFoundError, NotAllowedError, DatabaseError."""
    require(Permission.ROUTING_MANAGE)
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(
            b"""SELECT name FROM named_entry WHERE section = 'treatments' AND removed_at IS NULL
                AND fields ->> 'deid' = %s ORDER BY name LIMIT 5""",
            (name,),
        )
        users = [str(row[0]) for row in await cursor.fetchall()]
    if users:
        raise ConflictError(
            told("{name} is still named by the treatment {users}. Change it first.", name=name, users=", ".join(users))
        )
    await remove_entry(archive.pool, PROJECTS, name)


async def read_project(archive: Archive, name: str) -> Project:
    """The project with its patient map, for work. Raises NotFoundError, ConfigurationError, DatabaseError."""
    entry = await read_entry(archive.pool, PROJECTS, name, settings=archive.settings)
    fields = with_secrets(entry)
    return Project(
        entry.id,
        entry.name,
        entry.version,
        profile_of(fields),
        fields["pseudonym"],
        fields["shift_days"],
        patient_map(fields.get("patient_map", "")),
        fields["others"] == "make",
    )

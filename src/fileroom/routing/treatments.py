"""The treatments that an administrator has made: list, add, change, remove, try without effect.

The page, the API and the command line call these functions; delivery lanes take `treatment.load_treatment`.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydicom.dataset import Dataset

from fileroom.admin.entries import (
    Entry,
    EntryVersion,
    get_entry,
    list_entries,
    list_entry_versions,
    put_entry,
    remove_entry,
    set_entry_enabled,
)
from fileroom.archive.retrieve import Selection, list_instances
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.errors import ConflictError, InvalidRequestError, NotFoundError, told
from fileroom.dicom import uids
from fileroom.routing.differences import DIFFERENCES_MAX, Difference, differences
from fileroom.routing.installation import installation_uid
from fileroom.routing.made_object import MadeObject
from fileroom.routing.object_parts import take_apart
from fileroom.routing.outgoing import StoredOutgoing
from fileroom.routing.treatment import TREATMENTS, compiled_treatment, try_on
from fileroom.routing.treatment_fields import checked_treatment, with_defaults
from fileroom.routing.treatment_work import changed_object
from fileroom.transform.steps import Context

MADE_SHOWN_MAX: Final = 5
"""Objects that one becomes and that are shown when a treatment is tried; the others are counted."""
_USERS_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class TriedObject:
    """One object that leaves. `frame` counts from 1, 0: all frames. `left_out`: differences that are not in the list."""

    sop_instance_uid: str
    sop_class: str
    transfer_syntax: str
    frame: int
    differences: tuple[Difference, ...]
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Trial:
    """What a treatment would make of an object. `made` counts what would leave; `objects` are the first of them. `reason`:
    why nothing would leave; `quarantined` says that it would wait in quarantine. `unchanged`: it would leave as stored."""

    made: int
    objects: tuple[TriedObject, ...]
    unchanged: bool = False
    reason: str = ""
    quarantined: bool = False


async def list_treatments(archive: Archive) -> list[Entry]:
    """All by name, with the fields that are not as by default. Raises NotAllowedError, DatabaseError."""
    return await list_entries(archive.pool, TREATMENTS)


async def get_treatment(archive: Archive, name: str) -> Entry:
    """One. Raises NotFoundError, NotAllowedError, DatabaseError."""
    return await get_entry(archive.pool, TREATMENTS, name)


async def treatment_versions(archive: Archive, name: str) -> list[EntryVersion]:
    """What it was, the latest first. Raises NotFoundError, NotAllowedError, DatabaseError."""
    return await list_entry_versions(archive.pool, TREATMENTS, name)


async def put_treatment(
    archive: Archive,
    name: str,
    fields: Mapping[str, Any],
    *,
    enabled: bool = True,
    version: int | None = None,
    new: bool | None = None,
) -> Entry:
    """Add a treatment, or change it, as `entries.put_entry` does; the project it names must be there.

    Raises InvalidRequestError (which names field or step), ConflictError (EditedMeanwhileError), NotFoundError,
    NotAllowedError, DatabaseError.
    """
    require(Permission.ROUTING_MANAGE)
    await _require_project(archive, name, checked_treatment(name, fields))
    return await put_entry(
        archive.pool, archive.settings, TREATMENTS, name, fields, enabled=enabled, version=version, new=new
    )


async def set_treatment_enabled(archive: Archive, name: str, *, enabled: bool) -> Entry:
    """A disabled one lets nothing through to who asks for it. Raises NotFoundError, NotAllowedError, DatabaseError."""
    return await set_entry_enabled(archive.pool, archive.settings, TREATMENTS, name, enabled=enabled)


async def remove_treatment(archive: Archive, name: str) -> None:
    """Remove it. Raises ConflictError while a rule or destination names it, NotFoundError, NotAllowedError, DatabaseError."""
    require(Permission.ROUTING_MANAGE)
    if users := await treatment_users(archive, name):
        raise ConflictError(
            told("{name} is still named by {users}. Change or remove them first.", name=name, users=", ".join(users))
        )
    await remove_entry(archive.pool, TREATMENTS, name)


async def treatment_users(archive: Archive, name: str) -> list[str]:
    """Rules and destinations that name it, in words; the first few. Raises NotAllowedError, DatabaseError."""
    require(Permission.ROUTING_READ)
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(
            b"""SELECT section, name FROM named_entry WHERE removed_at IS NULL AND section IN ('rules', 'destinations')
                AND fields ->> 'treatment' = %s ORDER BY section, name LIMIT %s""",
            (name, _USERS_SHOWN),
        )
        return [f"{section.removesuffix('s')} {one}" for section, one in await cursor.fetchall()]


async def try_treatment(archive: Archive, name: str, fields: Mapping[str, Any], sop_instance_uid: str) -> Trial:
    """What a treatment with these fields would make of a stored object; nothing is written and nothing leaves.

    Pixels are not looked at, and a refused SOP class is assumed where the fallback waits for that. Raises
    InvalidRequestError, NotFoundError, NotAllowedError, StorageError, DatabaseError.
    """
    require(Permission.ROUTING_READ)
    checked = checked_treatment(name, fields)
    await _require_project(archive, name, checked)
    found = await list_instances(archive, Selection(sop_uids=(sop_instance_uid.strip(),)))
    if not sop_instance_uid.strip() or not found:
        raise NotFoundError(told("There is no object {uid} in the archive.", uid=sop_instance_uid[:64] or "-"))
    compiled = compiled_treatment(Entry(0, name or "treatment", checked), await installation_uid(archive.pool))
    one = StoredOutgoing(archive, 0, found[0])
    answer = await try_on(archive, dataclasses.replace(compiled, prove_pixels=False), one)
    if answer.quarantined or answer.failed:
        return Trial(0, (), reason=answer.quarantined or answer.failed, quarantined=bool(answer.quarantined))
    parts = await take_apart(archive, one.instance)
    made = [item for item in answer.made if isinstance(item, MadeObject)]
    shown = [
        await asyncio.to_thread(_tried, parts.dataset, item.dataset, item.transfer_syntax_uid, item.frame)
        for item in made[:MADE_SHOWN_MAX]
    ]
    return Trial(len(answer.made), tuple(shown), unchanged=not made)


def try_on_dataset(name: str, fields: Mapping[str, Any], dataset: Dataset) -> Trial:
    """The same for a data set that is in no archive: all but de-identification and transfer syntax. Raises
    InvalidRequestError."""
    treatment = compiled_treatment(Entry(0, name or "treatment", checked_treatment(name, fields)), "2.25.0")
    if treatment.deid:
        raise InvalidRequestError(
            told(
                "A treatment that de-identifies can only be tried on an object of the archive: it needs the pseudonyms."
            )
        )
    context = Context(treatment.installation_uid, moment="", scope=name)
    changed = changed_object(dataset, treatment.plan, context, single=bool(treatment.plan.single_classes))
    if len(changed) == 1 and changed[0].dataset is dataset:
        return Trial(1, (), unchanged=True)
    shown = [_tried(dataset, one.dataset, "", one.frame) for one in changed[:MADE_SHOWN_MAX]]
    return Trial(len(changed), tuple(shown))


def shown_fields(entry: Entry) -> dict[str, Any]:
    """All fields of an entry, those as by default too."""
    return with_defaults(entry.fields)


def _tried(before: Dataset, after: Dataset, syntax: str, frame: int | None) -> TriedObject:
    found = differences(before, after)
    return TriedObject(
        str(after.get("SOPInstanceUID", "")),
        uids.uid_name(str(after.get("SOPClassUID", ""))),
        uids.uid_name(syntax) if syntax else "",
        0 if frame is None else frame + 1,
        tuple(found[:DIFFERENCES_MAX]),
        max(len(found) - DIFFERENCES_MAX, 0),
    )


async def _require_project(archive: Archive, name: str, checked: Mapping[str, Any]) -> None:
    project = str(checked.get("deid", ""))
    if not project:
        return
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(
            b"SELECT 1 FROM named_entry WHERE section = 'projects' AND name = %s AND removed_at IS NULL", (project,)
        )
        if await cursor.fetchone() is None:
            raise InvalidRequestError(
                told(
                    "Treatment {name}: there is no de-identification project {project}. Make it first.",
                    name=name,
                    project=project,
                )
            )

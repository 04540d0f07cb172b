"""The association ledger as people ask it: by patient, node, time and outcome, with the patients that one may see.

`admin.ledger_search` knows associations, the index knows patients; this joins them. Which patients are found and named is
what the caller may see (`archive.query`).
"""

from __future__ import annotations

import dataclasses
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from fileroom.admin.audit_names import studies_of_patient_id
from fileroom.admin.ledger_search import (
    STUDIES_MAX,
    AssociationEntry,
    LedgerFilter,
    Place,
    add_failures,
    list_associations,
    read_association,
)
from fileroom.admin.nodes import find_node
from fileroom.archive.query import search
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, current_access, require
from fileroom.core.errors import NotAllowedError, NotFoundError, told
from fileroom.dicom.matching import parse_matching
from fileroom.dicom.query import AnyOf, InformationModel, Key, Level, Query, SingleValue

_PATIENT_NAME: Final = 0x00100010
_PATIENT_ID: Final = 0x00100020
_STUDY_DATE: Final = 0x00080020
_STUDY_DESCRIPTION: Final = 0x00081030
_STUDY_INSTANCE_UID: Final = 0x0020000D


@dataclass(frozen=True, slots=True)
class CarriedStudy:
    """A study that an association carried objects of, as far as the caller may see it."""

    study_instance_uid: str
    patient_name: str
    patient_id: str
    study_date: str
    description: str


async def search_associations(
    archive: Archive,
    wanted: LedgerFilter,
    *,
    patient: str = "",
    node: str = "",
    after: Place | None = None,
    limit: int = 50,
) -> list[AssociationEntry]:
    """A page of the ledger, the newest first, with what the advice on failures needs.

    `patient` is a Patient ID or a name, with the wildcards of DICOM, `node` a node's name: its AE title is looked for.
    Raises NotAllowedError, NotFoundError for a node that is none, DatabaseError.
    """
    require(Permission.LEDGER_READ)
    if node:
        found = await find_node(archive.pool, name=node)
        if found is None:
            raise NotFoundError(told("There is no node named {name}.", name=node[:64]))
        wanted = dataclasses.replace(wanted, aet=found.aet)
    if patient:
        wanted = dataclasses.replace(wanted, study_uids=await _studies_of(archive, patient))
    entries = await list_associations(archive.pool, wanted, after=after, limit=limit)
    await add_failures(archive.pool, entries)
    return entries


async def show_association(archive: Archive, number: int) -> tuple[AssociationEntry, list[CarriedStudy]]:
    """One association whole, and the studies that it carried. Raises NotFoundError, NotAllowedError, DatabaseError."""
    entry = await read_association(archive.pool, number)
    carried = dict.fromkeys(row.study_instance_uid for row in entry.operations if row.study_instance_uid)
    return entry, await _carried(archive, tuple(carried)[:STUDIES_MAX])


async def associations_caused_by(archive: Archive, entry: AssociationEntry, limit: int) -> list[AssociationEntry]:
    """Those that Fileroom opened because of a request on this one (C-MOVE), with what their advice needs.

    Raises NotAllowedError, DatabaseError.
    """
    wanted = LedgerFilter(parent=entry.id, since=entry.began_at)
    return await search_associations(archive, wanted, limit=limit)


async def _studies_of(archive: Archive, patient: str) -> tuple[str, ...]:
    """The studies of a patient by ID, else by name; for an auditor, who sees no studies, by the whole ID only."""
    access = current_access()
    if not access.allows(Permission.STUDY_SEARCH) and access.allows(Permission.AUDIT_READ):
        return await studies_of_patient_id(archive.pool, patient)
    for tag, vr in ((_PATIENT_ID, "LO"), (_PATIENT_NAME, "PN")):
        matching = parse_matching(vr, patient)
        if matching is None:
            continue
        found = await _search(archive, Key(tag, vr, matching), (_STUDY_INSTANCE_UID,))
        if found:
            return tuple(str(values[_STUDY_INSTANCE_UID]) for values in found)
    return ()


async def _carried(archive: Archive, study_uids: tuple[str, ...]) -> list[CarriedStudy]:
    if not study_uids:
        return []
    matching = AnyOf(study_uids) if len(study_uids) > 1 else SingleValue(study_uids[0])
    key = Key(_STUDY_INSTANCE_UID, "UI", matching)
    tags = (_STUDY_INSTANCE_UID, _PATIENT_NAME, _PATIENT_ID, _STUDY_DATE, _STUDY_DESCRIPTION)
    try:
        found = await _search(archive, key, tags)
    except NotAllowedError:
        return []  # Who may read the ledger but no studies sees their UIDs only.
    return [CarriedStudy(*(str(values.get(tag) or "") for tag in tags)) for values in found]


async def _search(archive: Archive, key: Key, tags: tuple[int, ...]) -> list[dict[int, object]]:
    query = Query(
        level=Level.STUDY, model=InformationModel.STUDY_ROOT, keys=(key,), return_tags=tuple((tag,) for tag in tags)
    )
    rows: list[dict[int, object]] = []
    async with aclosing(search(archive, query)) as answers:
        async for answer in answers:
            rows.append(dict(answer.values))
            if len(rows) >= STUDIES_MAX:
                break
    return rows

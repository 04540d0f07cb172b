"""Attributes that the index does not hold, taken from the header of a stored object (includefield, PS3.18 8.3.4.3).

For a study or a series one instance speaks for all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing

import structlog

from fileroom.archive import query as archive_query
from fileroom.archive import retrieve
from fileroom.archive.retrieve import StoredInstance
from fileroom.archive.services import Archive
from fileroom.core.access import Permission
from fileroom.core.errors import InvalidObjectError, NotFoundError
from fileroom.dicom.json_model import encoded_to_model
from fileroom.dicom.query import Key, Level, Page, Query, SingleValue, TagPath
from fileroom.index.attributes import UNIQUE_KEYS
from fileroom.index.search import Answer as Found
from fileroom.web.matches import JsonDataSet, pruned

_log = structlog.get_logger(__name__)


async def page_elements(archive: Archive, page: Sequence[Found], paths: tuple[TagPath, ...]) -> list[JsonDataSet]:
    """For each match the elements at `paths` that the object behind it has; none where its file cannot be read."""
    uids = [found.sop_instance_uid or await _one_instance(archive, found) or "" for found in page]
    selection = retrieve.Selection(sop_uids=tuple(filter(None, uids)))
    known = {}
    if any(uids):
        found = await retrieve.list_instances(archive, selection, permission=Permission.STUDY_SEARCH)
        known = {one.sop_instance_uid: one for one in found}
    return [await _elements(archive, known[uid], paths) if uid in known else {} for uid in uids]


async def _elements(archive: Archive, instance: StoredInstance, paths: tuple[TagPath, ...]) -> JsonDataSet:
    try:
        header = await retrieve.read_header_bytes(archive, instance, permission=Permission.STUDY_SEARCH)
        wanted = frozenset(path[0] for path in paths)
        return pruned(encoded_to_model(header.data, header.transfer_syntax, only=wanted), paths)
    except (InvalidObjectError, NotFoundError) as error:
        _log.warning("header_not_read", sop_instance_uid=instance.sop_instance_uid, reason=str(error))
        return {}


async def _one_instance(archive: Archive, found: Found) -> str | None:
    """The SOP Instance UID of some instance of a study or a series."""
    named = (
        (UNIQUE_KEYS[Level.STUDY].tag, found.study_instance_uid),
        (UNIQUE_KEYS[Level.SERIES].tag, found.series_instance_uid),
    )
    keys = tuple(Key(tag, "UI", SingleValue(uid)) for tag, uid in named if uid is not None)
    query = Query(Level.INSTANCE, keys=keys, page=Page(1))
    async with aclosing(archive_query.search(archive, query)) as answers:
        async for answer in answers:
            return answer.sop_instance_uid
    return None

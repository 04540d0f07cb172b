"""Filing an object that lies in the store already: its rows are made from its own bytes.

For `archive.rebuild`, which has lost the rows, and for `archive.verify`, which finds objects without any. Who brought an
object in stands in no file: a study that begins with a filed object is nobody's own upload, unless `rebuild` knows better.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from fileroom.archive.examine import Claim, Examination
from fileroom.archive.services import Archive
from fileroom.core.limits import KIB
from fileroom.dicom.charset import DEFAULT, clean, decode_text
from fileroom.dicom.part10 import parse_file_meta
from fileroom.index.instances import keep_conflict
from fileroom.index.rows import StoredFacts, build_row
from fileroom.index.write import AlreadyThere, InstanceRow, WriteOutcome
from fileroom.storage.store import StoredObject

FILE_META_BYTES_MAX: Final = 4 * KIB
"""The meta information is our own and has a few hundred bytes."""
_SENDING_AET: Final = 0x00020017


class Filed(enum.Enum):
    """What became of an object."""

    INDEXED = "indexed"
    SURPLUS = "surplus"
    """Another object with the same UID and content is indexed already."""
    CONFLICT = "conflict"
    """Another object with the same UID and other content is indexed; this one is recorded as a conflict."""


@dataclass(frozen=True, slots=True)
class ReadObject:
    """What the bytes of a stored object say: its row, and the facts about its file."""

    row: InstanceRow
    facts: StoredFacts


async def file_stored_object(archive: Archive, stored: StoredObject) -> Filed:
    """Read the object, make its rows, commit them. Raises InvalidObjectError, StorageError, DatabaseError."""
    read = await read_stored_object(archive, stored)
    return await settle_filing(archive, read, await archive.writer.write(read.row))


async def read_stored_object(archive: Archive, stored: StoredObject) -> ReadObject:
    """Read the object and make its row. Raises InvalidObjectError, NotFoundError, StorageError."""
    meta = parse_file_meta(await archive.store.read(stored.key, 0, FILE_META_BYTES_MAX), complete=True)
    sender = clean(decode_text(meta.values.get(_SENDING_AET, b""), DEFAULT))
    claim = Claim(
        meta.sop_class_uid, meta.sop_instance_uid, meta.transfer_syntax, received_by="store", sender=sender or "unknown"
    )
    examination = Examination(claim)
    async for piece in archive.store.stream(stored.key, meta.data_set_offset):
        examination.feed(piece)
    examined = examination.conclude()
    facts = StoredFacts(
        sop_class_uid=claim.sop_class_uid,
        sop_instance_uid=claim.sop_instance_uid,
        transfer_syntax_uid=claim.transfer_syntax_uid,
        storage_key=stored.key,
        file_bytes=stored.size,
        dataset_offset=meta.data_set_offset,
        pixel_offset=None if examined.pixel_offset is None else meta.data_set_offset + examined.pixel_offset,
        digest=examined.digest,
        received_by=claim.received_by,
        sender=claim.sender,
        received_at=stored.modified_at,
    )
    row = build_row(examined.header, facts, examined.study_instance_uid, examined.series_instance_uid)
    return ReadObject(row, facts)


async def settle_filing(archive: Archive, read: ReadObject, outcome: WriteOutcome) -> Filed:
    """What became of an object whose row was written. Raises DatabaseError."""
    facts = read.facts
    if not isinstance(outcome, AlreadyThere) or outcome.storage_key == facts.storage_key:
        return Filed.INDEXED
    if outcome.digest == facts.digest:
        return Filed.SURPLUS
    aside = await keep_conflict(archive.pool, facts)
    return Filed.CONFLICT if aside is None or aside.storage_key == facts.storage_key else Filed.SURPLUS

"""Giving stored objects back: find them, open them as they shall leave, read their headers (PS3.4 C.4.2, PS3.18 10.4).

Stored bytes are never changed. Corrections are laid over the header when it leaves; pixels pass untouched, unless the
caller asks for a transfer syntax in which they are encoded otherwise. Everything streams: an object of 2 GB costs a few
megabytes of memory.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset

from fileroom.archive.services import Archive
from fileroom.core.errors import NotFoundError
from fileroom.index import stored
from fileroom.index.stored import Selection, StoredInstance

__all__ = ["FileRange", "OpenedObject", "Selection", "StoredInstance", "find_instances", "get_instance", "open_object"]


@dataclass(frozen=True, slots=True)
class FileRange:
    """`length` bytes from `offset` of a local file, which may be sent as they are (sendfile)."""

    path: Path
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class OpenedObject:
    """An object on its way out.

    `length` is how many bytes `chunks` gives, None when that is known only at the end (deflated, transcoded). `file`
    is where those very bytes lie on the disk, None when they are made on the way out or are not in a local file; whoever
    sends `file` need not touch `chunks`. `chunks` can be iterated once; nothing is opened before that.
    """

    transfer_syntax: str
    length: int | None
    file: FileRange | None
    chunks: AsyncIterator[bytes]


def find_instances(archive: Archive, selection: Selection) -> AsyncIterator[StoredInstance]:
    """The selected instances, streamed, by study, series number and instance number. Raises DatabaseError.

    It holds a database connection until it ends or is closed (`aclosing`): for long work, take `list_instances`.
    """
    return stored.stream_instances(archive.pool, selection)


async def list_instances(archive: Archive, selection: Selection) -> list[StoredInstance]:
    """`find_instances` in a list (about 1 KiB for each). Raises DatabaseError."""
    return await stored.list_instances(archive.pool, selection)


async def get_instance(archive: Archive, study_uid: str, series_uid: str, sop_uid: str) -> StoredInstance:
    """One instance by its three UIDs. Raises NotFoundError, which says what of it exists; DatabaseError."""
    found = await list_instances(archive, Selection(sop_uids=(sop_uid,)))
    for instance in found:
        if instance.study_instance_uid == study_uid and instance.series_instance_uid == series_uid:
            return instance
    if found:
        raise NotFoundError(
            f"There is no instance {sop_uid} in series {series_uid} of study {study_uid}; it is in series "
            f"{found[0].series_instance_uid} of study {found[0].study_instance_uid}."
        )
    raise NotFoundError(f"There is no instance {sop_uid} in the archive. It was never received, or was deleted.")


async def open_object(
    archive: Archive, instance: StoredInstance, transfer_syntax: str | None = None, *, part10: bool
) -> OpenedObject:
    """The object as it leaves: with `part10` as a file (preamble and file meta), else its bare data set.

    `transfer_syntax` None or the stored one: the stored pixels untouched. Another one: re-encoded, frame by frame; also
    between Implicit and Explicit VR, where only the header changes.
    Raises NotFoundError when the object's file is lost, UnsupportedError when it cannot be had in `transfer_syntax`,
    InvalidObjectError when its pixels cannot be decoded, StorageError.
    """
    raise NotImplementedError


async def read_header(archive: Archive, instance: StoredInstance) -> Dataset:
    """The data set without Pixel Data and without other values above a size, corrections applied.

    Raises NotFoundError when the object's file is lost, InvalidObjectError, StorageError.
    """
    raise NotImplementedError


async def read_header_bytes(archive: Archive, instance: StoredInstance) -> tuple[bytes, str]:
    """(encoded data set up to Pixel Data with the corrections laid over, its transfer syntax).

    A deflated data set comes inflated, as Explicit VR Little Endian. Raises as `read_header` does.
    """
    raise NotImplementedError

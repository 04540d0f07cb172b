"""An object as it leaves for a destination: as it was received, or as it was made for that destination on the way."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Protocol

from pydicom.dataset import Dataset

from fileroom.archive.retrieve import OpenedObject, StoredInstance, open_object, read_header, read_small
from fileroom.archive.services import Archive
from fileroom.archive.suboperations import Sendable
from fileroom.core.access import Permission
from fileroom.core.limits import OBJECT_MEMORY_BYTES_MAX
from fileroom.net.association_handler import DataSource


class OutgoingObject(Sendable, Protocol):
    """What a destination's session is given. UIDs and transfer syntax are those with which it leaves."""

    @property
    def delivery_id(self) -> int:
        """The row of the delivery ledger that stands for it."""

    async def open(self, transfer_syntax: str | None = None, *, part10: bool) -> OpenedObject:
        """Its bytes: a file, or the bare data set. Raises as `archive.retrieve.open_object` does."""

    async def header(self) -> Dataset:
        """Its attributes without pixel data, for names of files and for notices."""


async def data_set_of(item: OutgoingObject, transfer_syntax: str) -> DataSource:
    """The bare data set in a transfer syntax: a small one in one piece. Raises as `open` does."""
    opened = await item.open(transfer_syntax, part10=False)
    if isinstance(item, StoredOutgoing):
        whole = await read_small(item.archive, item.instance, opened)
        return opened.chunks if whole is None else whole
    if opened.length is not None and opened.length <= OBJECT_MEMORY_BYTES_MAX:
        return b"".join([piece async for piece in opened.chunks])
    return opened.chunks


@dataclass(frozen=True, slots=True)
class StoredOutgoing:
    """An object that leaves as it is stored, corrections laid over."""

    archive: Archive
    delivery_id: int
    instance: StoredInstance
    ordered_at: dt.datetime | None = None
    """When its delivery was entered in the ledger: a treatment dates its changes by that, so that what is sent again after a
    kill is the same object, byte for byte."""

    @property
    def study_instance_uid(self) -> str:
        """As stored."""
        return self.instance.study_instance_uid

    @property
    def series_instance_uid(self) -> str:
        """As stored."""
        return self.instance.series_instance_uid

    @property
    def sop_instance_uid(self) -> str:
        """As stored."""
        return self.instance.sop_instance_uid

    @property
    def sop_class_uid(self) -> str:
        """As stored."""
        return self.instance.sop_class_uid

    @property
    def transfer_syntax_uid(self) -> str:
        """As stored."""
        return self.instance.transfer_syntax_uid

    @property
    def file_bytes(self) -> int:
        """As stored."""
        return self.instance.file_bytes

    async def open(self, transfer_syntax: str | None = None, *, part10: bool) -> OpenedObject:
        """Pixels untouched unless another transfer syntax is asked for."""
        return await open_object(
            self.archive, self.instance, transfer_syntax, part10=part10, permission=Permission.STUDY_EXPORT
        )

    async def header(self) -> Dataset:
        """Corrections laid over."""
        return await read_header(self.archive, self.instance, permission=Permission.STUDY_EXPORT)

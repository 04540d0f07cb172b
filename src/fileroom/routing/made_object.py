"""An object as it was made for a destination: a new header, and pixels as they are stored or as they had to become."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

from pydicom.dataset import Dataset

from fileroom.archive.retrieve import OpenedObject, StoredInstance
from fileroom.archive.services import Archive
from fileroom.core.errors import UnsupportedError


@dataclass(frozen=True, slots=True)
class MadeObject:
    """An OutgoingObject. `dataset` has no pixel data and must not be changed."""

    archive: Archive
    delivery_id: int
    instance: StoredInstance
    """What it was made of."""
    dataset: Dataset = field(repr=False)
    transfer_syntax_uid: str

    @property
    def study_instance_uid(self) -> str:
        """With which it leaves."""
        return str(self.dataset.get("StudyInstanceUID", ""))

    @property
    def series_instance_uid(self) -> str:
        """With which it leaves."""
        return str(self.dataset.get("SeriesInstanceUID", ""))

    @property
    def sop_instance_uid(self) -> str:
        """With which it leaves."""
        return str(self.dataset.get("SOPInstanceUID", ""))

    @property
    def sop_class_uid(self) -> str:
        """With which it leaves."""
        return str(self.dataset.get("SOPClassUID", ""))

    @property
    def file_bytes(self) -> int:
        """About as large as what it was made of."""
        return self.instance.file_bytes

    async def open(self, transfer_syntax: str | None = None, *, part10: bool) -> OpenedObject:
        """As `archive.retrieve.open_object`."""
        raise UnsupportedError("objects are not changed on the way yet")

    async def header(self) -> Dataset:
        """A copy that may be changed."""
        return copy.copy(self.dataset)

"""Frames of stored objects, served from where they lie (PS3.18 10.4.1.1.6; PS3.5 A.4).

Where the frames of an object lie is worked out once and kept for a while (`FrameTables`); a frame is then a range of
the stored file, which a web worker can send without reading it.
"""

from __future__ import annotations

from dataclasses import dataclass

from fileroom.archive.retrieve import FileRange
from fileroom.archive.services import Archive
from fileroom.index.stored import StoredInstance


@dataclass(frozen=True, slots=True)
class Frame:
    """One encoded frame: its bytes, or the pieces of a local file that make it (`data` is None then).

    `length` is the sum of the pieces. `number` counts from 1.
    """

    number: int
    transfer_syntax: str
    length: int
    data: bytes | None
    ranges: tuple[FileRange, ...] = ()


async def count_frames(archive: Archive, instance: StoredInstance) -> int:
    """How many frames can be asked for. Raises NotFoundError when the object has no pixels."""
    raise NotImplementedError


async def read_frame(
    archive: Archive,
    instance: StoredInstance,
    number: int,
    transfer_syntax: str | None = None,
    *,
    as_ranges: bool = False,
) -> Frame:
    """Frame `number` (from 1) as stored, or in `transfer_syntax`.

    With `as_ranges`, a frame that can be sent from the file comes without its bytes. Raises NotFoundError when there is
    no such frame, UnsupportedError when it cannot be had in `transfer_syntax`, InvalidObjectError, StorageError.
    """
    raise NotImplementedError


async def read_frames(
    archive: Archive,
    instance: StoredInstance,
    numbers: list[int],
    transfer_syntax: str | None = None,
    *,
    as_ranges: bool = False,
) -> list[Frame]:
    """`read_frame` for several; every number is checked before the first frame is read. For few or as ranges."""
    raise NotImplementedError

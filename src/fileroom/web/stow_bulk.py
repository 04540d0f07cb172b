"""Store requests of metadata and bulk data: kept until the request is complete, then assembled (PS3.18 10.5.2).

Bulk data go to a temporary file without a name and are read back as a memory map, so a film of 2 GB costs no memory
beyond the system's own cache.
"""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from fileroom.core.errors import InvalidObjectError, InvalidRequestError, RequestError, TooLargeError
from fileroom.core.limits import JSON_BODY_BYTES_MAX, STOW_BULK_BYTES_MAX
from fileroom.dicom.json_model import JsonObject
from fileroom.dicomweb.media_types import MediaType
from fileroom.dicomweb.stow import METADATA_TYPES, AssembledObject, BulkData, BulkPart, assemble, read_metadata
from fileroom.dicomweb.stow_response import Failed, FailureReason
from fileroom.pixels.pictures import read_picture

_SOP_CLASS_UID: Final = "00080016"
_SOP_INSTANCE_UID: Final = "00080018"


@dataclass(slots=True)
class _Placed:
    """A bulk data part and where it lies in the temporary file."""

    content_type: MediaType
    location: str | None
    start: int
    length: int = 0


@dataclass(slots=True)
class _Metadata:
    content_type: MediaType
    body: bytearray = field(default_factory=bytearray)


class BulkUpload:
    """The parts of one request that are not application/dicom."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  closed by `close`
        self._map: mmap.mmap | None = None
        self._bytes = 0
        self._parts: list[_Placed | _Metadata] = []

    def begin_part(self, content_type: MediaType, location: str | None) -> None:
        """The next part begins."""
        if content_type.essence in METADATA_TYPES:
            self._parts.append(_Metadata(content_type))
        else:
            self._parts.append(_Placed(content_type, location, self._bytes))

    async def take(self, data: bytes | memoryview) -> None:
        """Its next bytes. Raises TooLargeError."""
        part = self._parts[-1]
        if isinstance(part, _Metadata):
            if len(part.body) + len(data) > JSON_BODY_BYTES_MAX:
                raise TooLargeError(f"The metadata have more than {JSON_BODY_BYTES_MAX} bytes; send fewer objects")
            part.body += data
            return
        if self._bytes + len(data) > STOW_BULK_BYTES_MAX:
            raise TooLargeError(f"The bulk data have more than {STOW_BULK_BYTES_MAX} bytes; send fewer objects")
        # A copy into the system's cache, as for small objects of the store.
        self._file.write(data)
        part.length += len(data)
        self._bytes += len(data)

    def objects(self) -> Iterator[AssembledObject | Failed]:
        """The objects, assembled one by one, each with its own fault. Raises RequestError for unreadable metadata."""
        metadata = [part for part in self._parts if isinstance(part, _Metadata)]
        bulk = BulkData(self._bulk_parts())
        for part in metadata:
            for model in _read(part):
                yield _assembled(model, bulk)

    def close(self) -> None:
        """Give the temporary file up. Views into it must be gone, or are left to the garbage collector."""
        self._file.close()

    def _bulk_parts(self) -> list[BulkPart]:
        placed = [part for part in self._parts if isinstance(part, _Placed)]
        view = memoryview(b"")
        if self._bytes:
            self._file.flush()
            self._map = mmap.mmap(self._file.fileno(), self._bytes, access=mmap.ACCESS_READ)
            view = memoryview(self._map)
        return [BulkPart(p.content_type, p.location, view[p.start : p.start + p.length]) for p in placed]


def _read(part: _Metadata) -> list[JsonObject]:
    try:
        return read_metadata(part.content_type, bytes(part.body))
    except InvalidObjectError as error:
        # Nothing in it can be named, so it is the request that is wrong, not one of its objects.
        raise InvalidRequestError(str(error)) from error


def _assembled(model: JsonObject, bulk: BulkData) -> AssembledObject | Failed:
    try:
        return assemble(model, bulk, read_picture)
    except RequestError as error:
        return Failed(
            FailureReason.CANNOT_UNDERSTAND, str(error), _uid(model, _SOP_CLASS_UID), _uid(model, _SOP_INSTANCE_UID)
        )


def _uid(model: JsonObject, key: str) -> str:
    """A UID as far as it can be read, to name the object in the answer."""
    try:
        return str(model[key]["Value"][0])[:64]
    except (KeyError, IndexError, TypeError):
        return ""

"""Receiving one file (PS3.10): its meta information is read while it arrives, the data set goes on to `archive.store`.

For STOW-RS and import. What the file's own meta says of the object's UIDs does not count: the data set does. Files without
preamble, without meta information, and bare data sets are taken too.
"""

from __future__ import annotations

from typing import Final

from fileroom.archive.services import Archive
from fileroom.archive.store import Claim, IncomingObject, StoreOutcome, begin, refuse
from fileroom.core.access import Permission, require
from fileroom.core.errors import InvalidObjectError
from fileroom.core.limits import HEADER_BYTES_MAX, KIB
from fileroom.core.meters import cause_of
from fileroom.dicom import uids
from fileroom.dicom.header_scan import NeedMoreData, scan_header
from fileroom.dicom.part10 import FileMeta, parse_file_meta
from fileroom.index.attributes import BY_KEYWORD

_FIRST_LOOK_BYTES: Final = 4 * KIB
_SOP_CLASS_UID: Final = BY_KEYWORD["SOPClassUID"].tag
_SOP_INSTANCE_UID: Final = BY_KEYWORD["SOPInstanceUID"].tag
_IDENTITY: Final = frozenset({_SOP_CLASS_UID, _SOP_INSTANCE_UID})


class IncomingFile:
    """One file while its bytes arrive. Not to be used again after `finish` or `abort`."""

    def __init__(self, archive: Archive, received_by: str, sender: str, study_instance_uid: str = "") -> None:
        """`study_instance_uid`: the one study that the file may belong to; empty: any. Raises NotAllowedError."""
        require(Permission.STUDY_STORE)
        self._archive = archive
        self._study_instance_uid = study_instance_uid
        self._received_by = received_by
        self._sender = sender
        self._head = bytearray()
        self._look_at = _FIRST_LOOK_BYTES
        self._object: IncomingObject | None = None
        self.claim: Claim | None = None
        """What the file says it is, as soon as that is known."""

    @property
    def pending_bytes(self) -> int:
        """Bytes in memory that the store has not taken yet."""
        return len(self._head) + (self._object.pending_bytes if self._object else 0)

    async def drain(self) -> None:
        """Wait until the store has taken most of it."""
        if self._object is not None:
            await self._object.drain()

    def write(self, data: bytes | memoryview) -> None:
        """Take the next bytes of the file. Raises InvalidObjectError as soon as it is no DICOM object."""
        if self._object is not None:
            self._object.write(data)
            return
        self._head += data
        if len(self._head) >= self._look_at:
            self._identify(complete=False)

    async def finish(self) -> StoreOutcome:
        """Store it; see `IncomingObject.finish`. A refusal is recorded."""
        if self._object is None:
            try:
                self._identify(complete=True)
            except InvalidObjectError as error:
                await self.refuse(error)
                raise
        if self._object is None:
            raise AssertionError("a complete head is either identified or refused")
        return await self._object.finish()

    async def refuse(self, error: InvalidObjectError) -> None:
        """Record that the file was not kept and why."""
        claim = self.claim or Claim("", "", "", self._received_by, self._sender)
        await refuse(self._archive, claim, error)

    def count_failure(self, error: Exception) -> None:
        """Let those who watch know that it was not kept."""
        self._archive.meters.not_received.add((self._received_by, "", cause_of(error)))

    async def abort(self) -> None:
        """Leave nothing behind."""
        self._head.clear()
        if self._object is not None:
            await self._object.abort()

    def _identify(self, *, complete: bool) -> None:
        complete = complete or len(self._head) >= HEADER_BYTES_MAX
        head = bytes(self._head)
        try:
            meta = parse_file_meta(head, complete=complete)
            claim = self._claim(head, meta, complete=complete)
        except NeedMoreData:
            self._look_at = 2 * len(head)
            return
        self.claim = claim
        self._object = begin(self._archive, claim)
        self._object.write(memoryview(head)[meta.data_set_offset :])
        self._head.clear()

    def _claim(self, head: bytes, meta: FileMeta, *, complete: bool) -> Claim:
        if meta.sop_class_uid == uids.MEDIA_STORAGE_DIRECTORY:
            raise InvalidObjectError("This is a DICOMDIR, the table of contents of a medium; give the files it lists.")
        data_set = memoryview(head)[meta.data_set_offset :]
        header = scan_header(bytes(data_set), meta.transfer_syntax, _IDENTITY, complete=complete)
        return Claim(
            sop_class_uid=header.text(_SOP_CLASS_UID) or meta.sop_class_uid,
            sop_instance_uid=header.text(_SOP_INSTANCE_UID),
            transfer_syntax_uid=meta.transfer_syntax,
            received_by=self._received_by,
            sender=self._sender,
            sending_aet=meta.source_aet or None,
            receiving_aet=self._archive.settings.aet,
            study_instance_uid=self._study_instance_uid,
        )

"""Receiving one object: the single way into the archive for C-STORE, STOW-RS and import.

    incoming = begin(archive, claim)      what the sender says the object is
    incoming.write(fragment) ...          as the bytes arrive; large objects go straight to the store
    outcome = await incoming.finish()     only now is it safe: flushed, and its rows committed

The flush of the object and the commit of its rows run side by side. Whatever is not confirmed leaves nothing behind:
neither a row without an object nor, as far as can be known, an object without a row; what a crash leaves is put right by
`archive.recover` at the next start.
"""

from __future__ import annotations

import asyncio
import enum
import hashlib
from dataclasses import dataclass
from typing import Final

import structlog

from fileroom.archive.services import Archive
from fileroom.core.errors import (
    DatabaseError,
    InvalidObjectError,
    InvalidRequestError,
    NotFoundError,
    StorageError,
)
from fileroom.core.identifiers import UID
from fileroom.core.limits import HEADER_BYTES_MAX, KIB
from fileroom.dicom import uids
from fileroom.dicom.header_scan import NeedMoreData, ScannedHeader, scan_header
from fileroom.dicom.part10 import build_file_meta
from fileroom.index.attributes import BY_KEYWORD, SCANNED_TAGS
from fileroom.index.instances import adopt_file, keep_conflict, record_refusal, withdraw_instance
from fileroom.index.rows import StoredFacts, build_row, study_and_series_uids
from fileroom.index.write import AlreadyThere, InstanceRow, UnconfirmedCommitError, WriteOutcome
from fileroom.storage.store import new_object_key

_FIRST_SCAN_BYTES: Final = 32 * KIB
"""Most headers end before this; a longer one is scanned again when it has doubled."""
_SOP_CLASS_UID: Final = BY_KEYWORD["SOPClassUID"].tag
_SOP_INSTANCE_UID: Final = BY_KEYWORD["SOPInstanceUID"].tag

_log = structlog.get_logger(__name__)


class MismatchError(InvalidObjectError):
    """The data set is not what the sender announced (PS3.4 B.2.3, status A900)."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What the sender says the object is. Empty UIDs: only the data set tells (import, STOW-RS of bare data sets).

    `received_by` is the door (dimse, stow, import), `sender` who stood there (AE title and address, file name).
    """

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    received_by: str
    sender: str = ""
    sending_aet: str | None = None
    receiving_aet: str | None = None


class StoreKind(enum.Enum):
    """How an accepted object was dealt with."""

    STORED = "stored"
    ALREADY_THERE = "already there"
    """The same content was stored before; nothing was added."""
    KEPT_ASIDE = "kept aside"
    """The UID is taken by other content: that stays, this one is kept as a conflict for a person to decide."""


@dataclass(frozen=True, slots=True)
class StoreOutcome:
    """An object that is safe. `storage_key` names the file that holds it."""

    kind: StoreKind
    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    storage_key: str


def begin(archive: Archive, claim: Claim) -> IncomingObject:
    """Start to receive an object. Raises InvalidObjectError when already the claim cannot be kept."""
    return IncomingObject(archive, claim)


class IncomingObject:
    """One object while its bytes arrive. Not to be used again after `finish` or `abort`."""

    def __init__(self, archive: Archive, claim: Claim) -> None:
        self._archive = archive
        self._claim = claim
        self._check_claim()
        meta = build_file_meta(
            claim.sop_class_uid,
            claim.sop_instance_uid,
            claim.transfer_syntax_uid,
            sending_aet=claim.sending_aet,
            receiving_aet=claim.receiving_aet,
        )
        self._dataset_offset = len(meta)
        self._dataset_bytes = 0
        self._digest = hashlib.sha256()
        self._head = bytearray()
        self._scan_at = _FIRST_SCAN_BYTES
        self._header: ScannedHeader | None = None
        self._writer = archive.store.begin(new_object_key(archive.now()))
        self._writer.write(meta)

    @property
    def pending_bytes(self) -> int:
        """Bytes in memory that the store has not taken yet; pause the sender when it grows."""
        return self._writer.pending_bytes

    async def drain(self) -> None:
        """Wait until the store has taken most of it."""
        await self._writer.drain()

    def write(self, data: bytes | memoryview) -> None:
        """Take the next bytes of the data set."""
        self._dataset_bytes += len(data)
        self._digest.update(data)
        self._writer.write(data)
        if self._header is None and len(self._head) < HEADER_BYTES_MAX:
            self._head += data
            if len(self._head) >= self._scan_at:
                self._scan(complete=False)

    async def finish(self) -> StoreOutcome:
        """Check, flush and commit. Raises InvalidObjectError (refused, recorded), StorageError, DatabaseError."""
        try:
            header = self._checked_header()
            facts, study_uid, series_uid = self._facts(header)
        except InvalidObjectError as error:
            await self._writer.abort()
            await self.refuse(error)
            raise
        except BaseException:
            await self._writer.abort()
            raise
        row = build_row(header, facts, study_uid, series_uid)
        self._head.clear()
        outcome = await self._flush_and_commit(row)
        if isinstance(outcome, AlreadyThere):
            kind, key = await self._settle_known_uid(facts, outcome)
        else:
            kind, key = StoreKind.STORED, facts.storage_key
        return StoreOutcome(kind, facts.sop_class_uid, facts.sop_instance_uid, study_uid, series_uid, key)

    async def abort(self) -> None:
        """The sender went away: leave nothing behind."""
        await self._writer.abort()

    async def refuse(self, error: InvalidObjectError) -> None:
        """Record that the object was not kept and why."""
        await record_refusal(
            self._archive.pool,
            sop_instance_uid=self._claim.sop_instance_uid,
            sop_class_uid=self._claim.sop_class_uid,
            transfer_syntax_uid=self._claim.transfer_syntax_uid,
            status=0xA900 if isinstance(error, MismatchError) else 0xC000,
            reason=str(error),
            received_by=self._claim.received_by,
            sender=self._claim.sender,
        )

    # --- checks ---

    def _check_claim(self) -> None:
        claim = self._claim
        for name, value in (("SOP Class UID", claim.sop_class_uid), ("SOP Instance UID", claim.sop_instance_uid)):
            _require_uid(name, value)
        known = uids.is_storage_sop_class(claim.sop_class_uid)
        if not known and not self._archive.settings.accept_unknown_sop_classes:
            raise InvalidObjectError(
                f"SOP class {claim.sop_class_uid} is not a storage SOP class of the standard, and unknown ones are not "
                "accepted (setting accept_unknown_sop_classes)."
            )

    def _scan(self, *, complete: bool) -> None:
        try:
            self._header = scan_header(
                bytes(self._head), self._claim.transfer_syntax_uid, SCANNED_TAGS, complete=complete
            )
        except NeedMoreData as need:
            self._scan_at = max(need.bytes_needed, 2 * len(self._head))
            return
        if not complete:
            self._head.clear()

    def _checked_header(self) -> ScannedHeader:
        if self._header is None:
            self._scan(complete=self._dataset_bytes <= HEADER_BYTES_MAX)
        header = self._header
        if header is None:
            raise InvalidObjectError("The data set ends before its attributes do: it is truncated. Send it again.")
        if header.truncated or _pixel_data_is_cut(header, self._dataset_bytes):
            raise InvalidObjectError(
                f"The data set ends after {self._dataset_bytes} bytes inside an element: it is truncated. Send it again."
            )
        return header

    def _facts(self, header: ScannedHeader) -> tuple[StoredFacts, str, str]:
        claim = self._claim
        for name, tag, claimed in (
            ("SOP Class UID", _SOP_CLASS_UID, claim.sop_class_uid),
            ("SOP Instance UID", _SOP_INSTANCE_UID, claim.sop_instance_uid),
        ):
            found = header.text(tag)
            if not found:
                raise MismatchError(f"The data set has no {name}; {claimed} was announced.")
            if found != claimed:
                raise MismatchError(f"The data set has {name} {found[:64]}, but {claimed} was announced.")
        study_uid, series_uid = study_and_series_uids(header, claim.sop_class_uid, claim.sop_instance_uid)
        _require_uid("Study Instance UID", study_uid)
        _require_uid("Series Instance UID", series_uid)
        pixel = header.pixel_data
        in_file = pixel is not None and not header.inflated
        facts = StoredFacts(
            sop_class_uid=claim.sop_class_uid,
            sop_instance_uid=claim.sop_instance_uid,
            transfer_syntax_uid=claim.transfer_syntax_uid,
            storage_key=self._writer.key,
            file_bytes=self._dataset_offset + self._dataset_bytes,
            dataset_offset=self._dataset_offset,
            pixel_offset=self._dataset_offset + pixel.value_offset if pixel and in_file else None,
            digest=self._digest.digest(),
            received_by=claim.received_by,
            sender=claim.sender,
        )
        return facts, study_uid, series_uid

    # --- flush and commit ---

    async def _flush_and_commit(self, row: InstanceRow) -> WriteOutcome:
        try:
            readable_now = self._writer.seal()
            if not readable_now:
                await self._writer.flush()
        except BaseException:
            await self._writer.abort()
            raise
        commit = self._archive.writer.write(row)
        flush_error = None
        if readable_now:
            flush_error = (await asyncio.gather(self._writer.flush(), return_exceptions=True))[0]
        try:
            outcome = await commit
        except UnconfirmedCommitError:
            # The row may stand. The file stays too; the sweep at the next start decides.
            raise
        except DatabaseError:
            await self._writer.abort()
            raise
        if isinstance(flush_error, BaseException):
            await self._withdraw(outcome)
            raise flush_error
        return outcome

    async def _withdraw(self, outcome: WriteOutcome) -> None:
        """The rows were committed, but the object is not safe: take them back before anybody is told anything."""
        if not isinstance(outcome, AlreadyThere):
            await withdraw_instance(self._archive.pool, self._writer.key)
        await self._writer.abort()

    async def _settle_known_uid(self, facts: StoredFacts, known: AlreadyThere) -> tuple[StoreKind, str]:
        archive = self._archive
        if known.digest != facts.digest:
            kept = await keep_conflict(archive.pool, facts)
            if not kept:  # This very content is aside already.
                await archive.store.delete(facts.storage_key)
            _log.info("object_kept_aside", sop_instance_uid=facts.sop_instance_uid, storage_key=facts.storage_key)
            return StoreKind.KEPT_ASIDE, facts.storage_key
        if await self._is_intact(known):
            await archive.store.delete(facts.storage_key)
            return StoreKind.ALREADY_THERE, known.storage_key
        # The row stands but its file is lost or cut (a crash, a disk): what has just arrived takes its place.
        await adopt_file(archive.pool, facts)
        _log.warning("lost_object_replaced", storage_key=known.storage_key, replaced_by=facts.storage_key)
        return StoreKind.STORED, facts.storage_key

    async def _is_intact(self, known: AlreadyThere) -> bool:
        try:
            return (await self._archive.store.stat(known.storage_key)).size == known.file_bytes
        except NotFoundError:
            return False
        except StorageError:
            raise


def _require_uid(name: str, value: str) -> None:
    if not value:
        raise InvalidObjectError(f"The object has no {name}; without it, it cannot be filed.")
    try:
        UID(value)
    except InvalidRequestError as error:
        raise InvalidObjectError(f"The object's {name} cannot be used: {error}.") from None


def _pixel_data_is_cut(header: ScannedHeader, dataset_bytes: int) -> bool:
    """True when Pixel Data of a stated length runs past the end. (Deflated data sets count in other bytes.)"""
    pixel = header.pixel_data
    if pixel is None or pixel.length is None or header.inflated:
        return False
    return pixel.value_offset + pixel.length > dataset_bytes

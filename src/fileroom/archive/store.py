"""Receiving one object: the single way into the archive for C-STORE, STOW-RS and import.

    incoming = begin(archive, claim)      what the sender says the object is
    incoming.write(fragment) ...          as the bytes arrive; large objects go straight to the store
    outcome = await incoming.finish()     only now is it safe: flushed, and its rows committed

The flush of the object and the commit of its rows run side by side. Whatever is not confirmed leaves nothing behind:
neither a row without an object nor, as far as can be known, an object without a row. What a crash leaves is put right
by `archive.verify` at the next start.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from fileroom.archive.examine import Claim, Examination, MismatchError
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.errors import DatabaseError, InvalidObjectError, NotFoundError
from fileroom.core.meters import modality_label
from fileroom.db.pool import Pool
from fileroom.dicom import uids
from fileroom.dicom.part10 import build_file_meta
from fileroom.index.instances import (
    adopt_conflict_file,
    adopt_file,
    keep_conflict,
    record_refusal,
    vouch_for_instance,
    withdraw_instance,
)
from fileroom.index.rows import StoredFacts, build_row
from fileroom.index.write import AlreadyThere, InstanceRow, UnconfirmedCommitError, WriteOutcome
from fileroom.storage.store import new_object_key

__all__ = ["Claim", "IncomingObject", "MismatchError", "StoreKind", "StoreOutcome", "begin", "refuse"]

_log = structlog.get_logger(__name__)


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
    """Start to receive an object. Raises InvalidObjectError when already the claim cannot be kept, NotAllowedError.

    Whoever acts now has brought it in, however long it takes and in whichever task it ends.
    """
    access = require(Permission.STUDY_STORE)
    known = uids.is_storage_sop_class(claim.sop_class_uid)
    if not known and not archive.settings.accept_unknown_sop_classes:
        raise InvalidObjectError(
            f"SOP class {claim.sop_class_uid[:64]} is not a storage SOP class of the standard, and unknown ones are not "
            "accepted (setting accept_unknown_sop_classes)."
        )
    return IncomingObject(archive, claim, access.uploader)


async def refuse(archive: Archive, claim: Claim, error: InvalidObjectError) -> None:
    """Record that an object was not kept and why. Raises NotAllowedError."""
    require(Permission.STUDY_STORE)
    await _refuse(archive, claim, error)


async def _refuse(archive: Archive, claim: Claim, error: InvalidObjectError) -> None:
    await record_refusal(
        archive.pool,
        sop_instance_uid=claim.sop_instance_uid,
        sop_class_uid=claim.sop_class_uid,
        transfer_syntax_uid=claim.transfer_syntax_uid,
        status=0xA900 if isinstance(error, MismatchError) else 0xC000,
        reason=str(error),
        received_by=claim.received_by,
        sender=claim.sender,
    )


class IncomingObject:
    """One object while its bytes arrive. Not to be used again after `finish` or `abort`."""

    def __init__(self, archive: Archive, claim: Claim, brought_by: str) -> None:
        self._archive = archive
        self._claim = claim
        self._brought_by = brought_by
        self._examination = Examination(claim, archive.arrivals.tags)
        meta = build_file_meta(
            claim.sop_class_uid,
            claim.sop_instance_uid,
            claim.transfer_syntax_uid,
            sending_aet=claim.sending_aet,
            receiving_aet=claim.receiving_aet,
        )
        self._dataset_offset = len(meta)
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
        self._examination.feed(data)
        self._writer.write(data)

    async def finish(self) -> StoreOutcome:
        """Check, flush and commit. Raises InvalidObjectError (refused, recorded), StorageError, DatabaseError."""
        try:
            row, facts = self._row()
        except InvalidObjectError as error:
            await self._writer.abort()
            await self.refuse(error)
            raise
        except BaseException:
            await self._writer.abort()
            raise
        outcome = await self._flush_and_commit(row)
        if isinstance(outcome, AlreadyThere):
            kind, key = await self._settle_known_uid(facts, outcome)
        else:
            kind, key = StoreKind.STORED, facts.storage_key
        self._count(kind, row.modality, facts.file_bytes)
        return StoreOutcome(
            kind, facts.sop_class_uid, facts.sop_instance_uid, row.study_instance_uid, row.series_instance_uid, key
        )

    async def abort(self) -> None:
        """The sender went away: leave nothing behind."""
        await self._writer.abort()

    async def refuse(self, error: InvalidObjectError) -> None:
        """Record that the object was not kept and why."""
        await _refuse(self._archive, self._claim, error)

    def _count(self, kind: StoreKind, modality: str, file_bytes: int) -> None:
        meters, claim = self._archive.meters, self._claim
        node = (claim.sending_aet or "") if claim.received_by == "dimse" else ""
        meters.received.add((claim.received_by, node, modality_label(modality), kind.value))
        meters.received_bytes.add((claim.received_by, node), file_bytes)

    def _row(self) -> tuple[InstanceRow, StoredFacts]:
        examined = self._examination.conclude()
        claim, offset, pixel_offset = self._claim, self._dataset_offset, examined.pixel_offset
        facts = StoredFacts(
            sop_class_uid=claim.sop_class_uid,
            sop_instance_uid=claim.sop_instance_uid,
            transfer_syntax_uid=claim.transfer_syntax_uid,
            storage_key=self._writer.key,
            file_bytes=offset + examined.dataset_bytes,
            dataset_offset=offset,
            pixel_offset=None if pixel_offset is None else offset + pixel_offset,
            digest=examined.digest,
            received_by=claim.received_by,
            sender=claim.sender,
            brought_by=self._brought_by,
        )
        planned = self._archive.arrivals.plan(examined.header, claim)
        row = build_row(examined.header, facts, examined.study_instance_uid, examined.series_instance_uid, planned)
        return row, facts

    async def _flush_and_commit(self, row: InstanceRow) -> WriteOutcome:
        try:
            readable_now = self._writer.seal()
            if not readable_now:
                await self._writer.flush()
        except BaseException:
            await self._writer.abort()
            raise
        commit = self._archive.writer.write(row)
        flush_error: BaseException | None = None
        if readable_now:
            try:
                await self._writer.flush()
            except Exception as error:  # noqa: BLE001 - raised again below, once the fate of the rows is known
                flush_error = error
        try:
            outcome = await commit
        except UnconfirmedCommitError:
            # The row may stand. The file stays too; the check at the next start decides.
            raise
        except DatabaseError:
            await self._writer.abort()
            raise
        if flush_error is not None:
            await self._withdraw(outcome)
            raise flush_error
        return outcome

    async def _withdraw(self, outcome: WriteOutcome) -> None:
        """The rows were committed, but the object is not safe: take them back before anybody is told anything."""
        inserted = not isinstance(outcome, AlreadyThere)
        if inserted and not await withdraw_instance(self._archive.pool, self._writer.key):
            return  # The same object came again meanwhile, and its own flush of this file succeeded.
        await self._writer.abort()

    async def _settle_known_uid(self, facts: StoredFacts, known: AlreadyThere) -> tuple[StoreKind, str]:
        pool = self._archive.pool
        if known.digest == facts.digest:
            return await self._settle_known_content(facts, known, StoreKind.ALREADY_THERE, adopt_file)
        aside = await keep_conflict(pool, facts)
        _log.info("object_kept_aside", sop_instance_uid=facts.sop_instance_uid, storage_key=facts.storage_key)
        if aside is None:
            return StoreKind.KEPT_ASIDE, facts.storage_key
        _, key = await self._settle_known_content(facts, aside, StoreKind.KEPT_ASIDE, adopt_conflict_file)
        return StoreKind.KEPT_ASIDE, key

    async def _settle_known_content(
        self, facts: StoredFacts, known: AlreadyThere, kind: StoreKind, adopt: _Adopt
    ) -> tuple[StoreKind, str]:
        """This content has a row already: one file is enough, and it must be a whole one."""
        archive = self._archive
        if await self._is_intact(known):
            if known.is_young:
                await self._vouch_for(known)
            await archive.store.delete(facts.storage_key)
            return kind, known.storage_key
        # The row stands but its file is lost or cut (a crash, a disk): what has just arrived takes its place.
        if not await adopt(archive.pool, facts):
            await archive.store.delete(facts.storage_key)
            raise DatabaseError("The object's lost copy was cleared away in this very moment. Send it again.")
        _log.warning("lost_object_replaced", storage_key=known.storage_key, replaced_by=facts.storage_key)
        await archive.store.delete(known.storage_key)
        return StoreKind.STORED, facts.storage_key

    async def _vouch_for(self, known: AlreadyThere) -> None:
        """The same content came twice at nearly the same time, and the first one's flush may still be under way, or fail.

        Whoever is told that it is there must be able to count on it: we flush it too, and the row says so, so that it
        is not withdrawn any more.
        """
        await self._archive.store.flush(known.storage_key)
        if not await vouch_for_instance(self._archive.pool, known.storage_key):
            await self._archive.store.delete(self._writer.key)
            raise DatabaseError("The object's first copy could not be kept, in this very moment. Send it again.")

    async def _is_intact(self, known: AlreadyThere) -> bool:
        try:
            return (await self._archive.store.stat(known.storage_key)).size == known.file_bytes
        except NotFoundError:
            return False


_Adopt = Callable[[Pool, StoredFacts], Awaitable[bool]]

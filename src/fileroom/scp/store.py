"""Storage SCP (PS3.4 Annex B): a C-STORE's data set goes into the archive while it arrives; the answer comes last.

The path of an object: `net.connection` reads, `StoreSink.write` passes each piece to `archive.store`, and when that has
flushed and committed, `StoreSink` sends the C-STORE-RSP. A store that hangs is answered too, after STORE_TIMEOUT_S.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from fileroom.admin.ledger_journal import Journal, ObjectNote
from fileroom.archive.services import Archive
from fileroom.archive.store import Claim, IncomingObject, StoreKind, StoreOutcome, begin, refuse
from fileroom.archive.transfers import ReceivedObjects
from fileroom.core.access import Access, acting_as
from fileroom.core.errors import FileroomError, InvalidObjectError, NotAllowedError, StorageError
from fileroom.core.limits import MIB, STORE_TIMEOUT_S
from fileroom.core.meters import cause_of
from fileroom.dimse.command_set import CommandSet, respond
from fileroom.net.association_handler import AssociationPort
from fileroom.scp.status import SUCCESS, StatusAnswer, store_failure
from fileroom.ul.negotiation import AcceptedContext

PENDING_BYTES_MAX: Final = 4 * MIB
"""Past this the sender is paused until the store has caught up: a slow disk must not fill the memory."""
KEPT_ASIDE: Final = StatusAnswer(0xB000, "UID known with other content: kept aside, see Exceptions")

_log = structlog.get_logger(__name__)


class StoreSink:
    """Receives one C-STORE and answers it, in the name of `access`: its methods are called where nobody acts.

    `assumed_charset` is what its text is read in when it names no character set; `hold` keeps the answer back, where the
    sender has a pace to keep.
    """

    def __init__(
        self,
        archive: Archive,
        port: AssociationPort,
        context: AcceptedContext,
        command: CommandSet,
        calling_aet: str,
        access: Access,
        journal: Journal | None = None,
        received: ReceivedObjects | None = None,
        *,
        assumed_charset: str = "",
        hold: Callable[[], Awaitable[None]] | None = None,
        received_by: str = "dimse",
    ) -> None:
        self._hold = hold
        self._archive = archive
        self._received = received
        self._journal = journal
        self._began_at = archive.now()
        self._bytes = 0
        self._outcome: StoreOutcome | None = None
        self._access = access
        self._port = port
        self._context = context
        self._command = command
        self._error: FileroomError | None = None
        self._incoming: IncomingObject | None = None
        self._draining: asyncio.Task[None] | None = None
        self._clearing: asyncio.Task[None] | None = None
        self._overdue: asyncio.TimerHandle | None = None
        self._is_answered = False
        self._claim = Claim(
            sop_class_uid=command.affected_sop_class_uid or "",
            sop_instance_uid=command.affected_sop_instance_uid or "",
            transfer_syntax_uid=context.transfer_syntax,
            received_by=received_by,
            sender=f"{calling_aet}@{port.peer.host}",
            sending_aet=calling_aet,
            receiving_aet=archive.settings.aet,
            assumed_charset=assumed_charset,
        )
        try:
            with acting_as(access):
                self._incoming = begin(archive, self._claim)
        except (InvalidObjectError, NotAllowedError) as error:
            # The data set still follows; it is let through and the refusal is the answer to it.
            self._give_up(error)

    def write(self, data: memoryview) -> None:
        """A piece of the data set."""
        self._bytes += len(data)
        incoming = self._incoming
        if incoming is None:
            return
        try:
            incoming.write(data)
        except FileroomError as error:
            self._give_up(error)
            return
        if incoming.pending_bytes > PENDING_BYTES_MAX and self._draining is None:
            self._port.pause_receiving()
            self._draining = asyncio.create_task(self._drain(incoming))

    def finish(self) -> asyncio.Task[None] | None:
        """The data set is complete: store it, then answer."""
        if self._incoming is not None:
            # A timer, not a cancellation: that would wait for the very thing that hangs.
            self._overdue = asyncio.get_running_loop().call_later(STORE_TIMEOUT_S, self._refuse_overdue)
            with acting_as(self._access):
                return asyncio.create_task(self._store(self._incoming))
        if self._error is None:
            raise AssertionError("finished after an abort")
        self._refuse(self._error)
        return self._clearing

    def abort(self) -> None:
        """The association died: leave nothing behind."""
        if self._draining is not None:
            self._draining.cancel()
        self._clear(None)
        self._note(None, "", "the association ended before the object was complete")

    async def _store(self, incoming: IncomingObject) -> None:
        self._incoming = None  # From here on the object is stored whether or not the peer waits for the answer.
        try:
            if self._draining is not None:
                await self._draining
            if self._error is not None:
                await incoming.abort()
                raise self._error
            self._outcome = outcome = await incoming.finish()
        except FileroomError as error:
            self._refuse(error)
            return
        if self._hold is not None:
            await self._hold()
        self._answer(KEPT_ASIDE if outcome.kind is StoreKind.KEPT_ASIDE else SUCCESS)

    async def _drain(self, incoming: IncomingObject) -> None:
        try:
            async with asyncio.timeout(STORE_TIMEOUT_S):
                await incoming.drain()
        except TimeoutError:
            self._give_up(_overdue_error())
        except FileroomError as error:
            self._give_up(error)
        finally:
            self._draining = None
            self._port.resume_receiving()

    def _give_up(self, error: FileroomError) -> None:
        """It failed before the end: let the rest of the data set pass and answer with the failure."""
        self._error = error
        self._clear(error)

    def _clear(self, error: FileroomError | None) -> None:
        """Leave nothing behind but, of an object that cannot be kept, the note of it."""
        incoming, self._incoming = self._incoming, None

        async def clear() -> None:
            if incoming is not None:
                await incoming.abort()
            if isinstance(error, InvalidObjectError):
                await refuse(self._archive, self._claim, error)

        with acting_as(self._access):
            self._clearing = asyncio.create_task(clear())
        _background.add(self._clearing)
        self._clearing.add_done_callback(_background.discard)

    def _refuse_overdue(self) -> None:
        self._refuse(_overdue_error())

    def _refuse(self, error: FileroomError) -> None:
        answer = store_failure(error)
        _log.info("object_refused", peer=str(self._port.peer), status=f"{answer.status:04X}", reason=str(error))
        self._answer(answer, error)

    def _answer(self, answer: StatusAnswer, error: FileroomError | None = None) -> None:
        if self._is_answered:
            return  # as overdue; if it was stored after all, the sender's next attempt finds it there
        self._is_answered = True
        if self._overdue is not None:
            self._overdue.cancel()
        response = respond(self._command, answer.status, error_comment=answer.comment or None)
        self._port.send_response(self._context.id, response)
        if error is None:
            self._note(answer.status, "", answer.comment)
        else:
            self._note(answer.status, type(error).__name__, str(error))

    def _note(self, status: int | None, cause: str, reason: str) -> None:
        """Tell the meters, the ledger and the audit trail what became of it."""
        if self._outcome is None or cause:
            node = self._claim.sending_aet or ""
            self._archive.meters.not_received.add(("dimse", node, cause_of(cause) if cause else "association_ended"))
        if self._received is not None:
            if self._outcome is not None:
                self._received.stored(self._outcome)
            elif status is not None:
                self._received.refused(reason)
        if self._journal is None:
            return
        claim, outcome = self._claim, self._outcome
        note = ObjectNote(
            self._began_at,
            claim.sop_class_uid,
            claim.sop_instance_uid,
            claim.transfer_syntax_uid,
            self._bytes,
            status,
            outcome.study_instance_uid if outcome is not None else "",
            outcome.series_instance_uid if outcome is not None else "",
            cause,
            reason,
        )
        self._journal.object_ended(note)


def _overdue_error() -> StorageError:
    return StorageError(
        f"The object was not safe within {STORE_TIMEOUT_S:g} s. Check disk and database, then send it again."
    )


_background: set[asyncio.Task[None]] = set()
"""Clean-ups that nobody awaits; asyncio itself keeps only weak references to tasks."""

"""The journal of one association: what its services tell as it happens, kept in memory until the ledger writes it.

Nothing here waits, raises or does I/O: a call costs microseconds, and whatever becomes of the ledger, the association
goes on. Objects that were stored are counted by series; each one that failed has a row of its own, up to a limit.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from fileroom.admin.ledger_rows import AssociationRow, Cause, Direction, OperationRow, Outcome, safe_text
from fileroom.core.clock import Now
from fileroom.core.meters import Meters, cause_of
from fileroom.dimse.command_set import CommandField, CommandSet
from fileroom.dimse.status import StatusCategory, category, is_pending
from fileroom.net.association_handler import AssociationEnd, PeerAddress
from fileroom.ul.items import ContextResult
from fileroom.ul.negotiation import AcceptedContext
from fileroom.ul.pdu import AssociateAC, AssociateRJ, AssociateRQ

ROWS_PER_ASSOCIATION_MAX: Final = 1000
"""Single rows of one association. What comes after them is counted by kind and status: nobody reads the ten-thousandth."""
SERIES_REMEMBERED_MAX: Final = 256
"""Series whose row is still added to; more than that on one association go on in a further row."""

ENDED_BEFORE: Final = "the association ended before the answer"

Contexts = tuple[AssociateRQ, AssociateAC | None]
"""What was proposed and what was answered."""


@dataclass(frozen=True, slots=True)
class ObjectNote:
    """What became of one C-STORE. `status` None: it was never answered. `cause` is the class of the error, if any."""

    began_at: dt.datetime
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    bytes: int
    status: int | None
    study_instance_uid: str = ""
    series_instance_uid: str = ""
    cause: str = ""
    reason: str = ""


class Journal:
    """One association's entry in the ledger."""

    def __init__(
        self,
        now: Now,
        changed: Callable[[Journal, int], bool],
        direction: Direction,
        peer: PeerAddress,
        *,
        purpose: str = "",
        parent: Journal | None = None,
        meters: Meters | None = None,
    ) -> None:
        self._meters = meters or Meters()
        self._is_counted = False
        shown = safe_text(str(peer.certificate or ""))
        self.row = AssociationRow(now(), direction, peer.host, peer.port, peer.tls, shown, purpose=purpose)
        self.parent = parent
        self.contexts: Contexts | None = None
        self.unwritten: dict[int, OperationRow] = {}
        """Rows that are new or have changed since the last write, by their number."""
        self.is_known = False
        """Whether it is worth a row: a connection that says nothing is none."""
        self._now = now
        self._changed = changed
        self._last_n = 0
        self._single_rows = 0
        self._sums: dict[tuple[object, ...], OperationRow] = {}
        self._open: dict[tuple[bool, int], OperationRow] = {}

    # --- the association ---

    def called(self, calling_aet: str, called_aet: str) -> None:
        """We call a peer."""
        self.row.calling_aet, self.row.called_aet = safe_text(calling_aet), safe_text(called_aet)
        self.is_known = True
        self._touch()

    def requested(self, request: AssociateRQ) -> None:
        """An association is asked for."""
        row, information = self.row, request.user_information
        row.calling_aet, row.called_aet = safe_text(request.calling_aet), safe_text(request.called_aet)
        self.contexts = (request, None)
        row.contexts_proposed = len(request.presentation_contexts)
        if row.direction is Direction.IN:
            self._introduce(information.implementation_class_uid, information.implementation_version_name)
            row.pdu_bytes_max = information.pdu_bytes_max
        self.is_known = True
        self._touch()

    def answered(
        self, request: AssociateRQ, answer: AssociateAC | AssociateRJ, cause: Cause = Cause.NONE, detail: str = ""
    ) -> None:
        """It is accepted or rejected, by us or by the peer."""
        row = self.row
        row.cause, row.detail = cause, safe_text(detail)
        if isinstance(answer, AssociateRJ):
            row.reject_result, row.reject_source, row.reject_reason = answer.result, answer.source, answer.reason
        else:
            self.contexts = (request, answer)
            results = answer.presentation_contexts
            self._count_open()
            row.contexts_accepted = sum(result.result is ContextResult.ACCEPTANCE for result in results)
            if row.direction is Direction.OUT:
                information = answer.user_information
                self._introduce(information.implementation_class_uid, information.implementation_version_name)
                row.pdu_bytes_max = information.pdu_bytes_max
        self._touch()

    def ended(self, end: AssociationEnd) -> None:
        """It is over. Objects that had wholly come may still be stored, and told, after this."""
        row = self.row
        if end.request is not None and self.contexts is None:
            self.requested(end.request)
            if end.acceptance is not None:
                self.answered(end.request, end.acceptance)
        if end.rejection is not None and row.reject_result is None and end.request is not None:
            self.answered(end.request, end.rejection, row.cause, row.detail)
        if end.abort is not None:
            row.abort_source, row.abort_reason = end.abort.source, end.abort.reason
        # A port scanner or a health check that connects and leaves is no call; one that speaks something else is.
        self.is_known = self.is_known or end.bytes_received > 0
        row.bytes_in, row.bytes_out = end.bytes_received, end.bytes_sent
        self._close(Outcome(end.kind.value), end.detail)

    def not_secured(self, reason: str) -> None:
        """The caller did not get through the TLS handshake: there was no association to ask for."""
        self.is_known = True
        self.row.cause = Cause.TLS_FAILED
        self._close(Outcome.REJECTED, reason)

    def unreachable(self, reason: str) -> None:
        """Ours could not even be asked for, or was not answered."""
        if self.row.ended_at is None:
            self.is_known = True
            self._close(Outcome.UNREACHABLE, reason)

    @property
    def is_over(self) -> bool:
        """The association has ended."""
        return self.row.ended_at is not None

    def _close(self, outcome: Outcome, detail: str) -> None:
        row = self.row
        row.ended_at, row.outcome = self._now(), outcome
        row.detail = row.detail or safe_text(detail)
        self._count_end()
        while self._open:
            _, operation = self._open.popitem()
            operation.reason = operation.reason or ENDED_BEFORE
            self._close_operation(operation)
        self._sums.clear()
        self._touch()

    def _count_open(self) -> None:
        if not self._is_counted:
            self._is_counted = True
            self._meters.associations_open.add((self.row.direction.value,))

    def _count_end(self) -> None:
        row, meters = self.row, self._meters
        direction = row.direction.value
        if self._is_counted:
            meters.associations_open.add((direction,), -1)
        if self.is_known and row.ended_at is not None:
            meters.associations.add((direction, self._node, row.outcome.value))
            meters.association_seconds.observe((direction,), (row.ended_at - row.began_at).total_seconds())

    @property
    def _node(self) -> str:
        """The peer's AE title."""
        return self.row.calling_aet if self.row.direction is Direction.IN else self.row.called_aet

    def _count_object_sent(self, note: ObjectNote) -> None:
        meters, node = self._meters, self._node
        if note.status is not None and category(note.status) is not StatusCategory.FAILURE:
            meters.sent.add((node,))
            meters.sent_bytes.add((node,), note.bytes)
        else:
            cause = cause_of(note.cause) if note.cause else "no_answer" if note.status is None else "refused_by_peer"
            meters.not_sent.add((node, cause))

    def _introduce(self, class_uid: str, version: str) -> None:
        self.row.implementation_class_uid = safe_text(class_uid)
        self.row.implementation_version = safe_text(version)

    # --- operations ---

    def operation_began(
        self, command: CommandSet, context: AcceptedContext | None, *, by_us: bool = False, message_id: int = 0
    ) -> None:
        """A request other than C-STORE has come, or is sent by us."""
        row = OperationRow(0, _kind(command.command_field), by_us, self._now())
        row.sop_class_uid = command.sop_class_uid or ""
        row.sop_instance_uid = command.sop_instance_uid or ""
        row.transfer_syntax_uid = context.transfer_syntax if context is not None else ""
        row.destination = command.move_destination or ""
        self._open[by_us, message_id or command.message_id or 0] = row
        if command.command_field is not CommandField.C_ECHO_RQ and self._single_rows < ROWS_PER_ASSOCIATION_MAX:
            self._keep(row, None)  # at once: the live view shows a search or a retrieval while it goes on

    def responded(self, command: CommandSet, *, by_us: bool = False, message_id: int = 0) -> None:
        """A response to such a request: pending, or the final one."""
        key = (by_us, message_id or command.message_id_responded_to or 0)
        row = self._open.get(key)
        if row is None:
            return
        if command.completed_suboperations is not None:
            row.completed, row.warned = command.completed_suboperations, command.warning_suboperations
            row.failed = command.failed_suboperations
        elif is_pending(command.status):
            row.matches += 1
        if row.n:
            self.unwritten[row.n] = row
            self._touch()
        if not is_pending(command.status):
            del self._open[key]
            row.status, row.reason = command.status, row.reason or command.error_comment or ""
            self._close_operation(row)

    def operation_failed(self, error: Exception, *, by_us: bool, message_id: int = 0) -> None:
        """There was no answer to a request."""
        row = self._open.pop((by_us, message_id), None)
        if row is not None:
            row.cause, row.reason = type(error).__name__, str(error)
            self._close_operation(row)

    def explain(self, error: Exception, message_id: int | None) -> None:
        """Why a request of theirs will be refused: the answer has room for 64 characters, this for all."""
        row = self._open.get((False, message_id or 0))
        if row is not None:
            row.cause, row.reason = type(error).__name__, str(error)

    def object_ended(self, note: ObjectNote, *, by_us: bool = False) -> None:
        """A C-STORE is over: of theirs to us, or of ours to them."""
        if by_us:
            self._count_object_sent(note)
        alike = (by_us, note.series_instance_uid, note.sop_class_uid, note.transfer_syntax_uid)
        total = self._sums.get(alike) if note.status == 0 else None
        if total is not None:
            now = self._now()
            self.row.requests += 1
            self.row.objects += 1
            seconds = (now - note.began_at).total_seconds()
            self._meters.operations.observe(("C-STORE", "out" if by_us else "in"), seconds)
            self._add(total, note.bytes, now, seconds)
            return
        row = OperationRow(0, "C-STORE", by_us, note.began_at)
        row.status, row.bytes = note.status, note.bytes
        row.sop_class_uid, row.transfer_syntax_uid = note.sop_class_uid, note.transfer_syntax_uid
        row.study_instance_uid, row.series_instance_uid = note.study_instance_uid, note.series_instance_uid
        self._settle(row)
        if note.status == 0:
            self._keep(row, alike)
        else:
            row.sop_instance_uid, row.cause, row.reason = note.sop_instance_uid, note.cause, note.reason
            self._keep(row, None)

    def _close_operation(self, row: OperationRow) -> None:
        self._settle(row)
        if row.n:
            row.reason = safe_text(row.reason)
            self.unwritten[row.n] = row
            self._touch()
        else:
            self._keep(row, (row.kind, row.by_us) if row.status == 0 else None)

    def _settle(self, row: OperationRow) -> None:
        """It has its answer, or will have none."""
        row.ended_at = self._now()
        self.row.requests += 1
        row.busy_s = (row.ended_at - row.began_at).total_seconds()
        kind = StatusCategory.FAILURE if row.status is None else category(row.status)
        which = (row.kind, "out" if row.by_us else "in")
        self._meters.operations.observe(which, row.busy_s)
        if kind is StatusCategory.FAILURE:
            self._meters.operation_failures.add(which)
        if kind is StatusCategory.FAILURE:
            self.row.failures += 1
        elif kind is StatusCategory.WARNING:
            self.row.warnings += 1
        if row.kind == "C-STORE" and kind is not StatusCategory.FAILURE:
            self.row.objects += 1

    def _keep(self, row: OperationRow, alike: tuple[object, ...] | None) -> None:
        """Write it as a row of its own; where many are alike, or are more than anybody reads, in one that counts them."""
        if alike is None:
            if self._single_rows < ROWS_PER_ASSOCIATION_MAX:
                self._single_rows += 1
                self._number(row)
                return
            alike = ("past the limit", row.kind, row.by_us, row.status)
            row.sop_instance_uid = ""
        total = self._sums.get(alike)
        if total is None:
            if len(self._sums) >= SERIES_REMEMBERED_MAX:
                self._sums.clear()
            self._number(row)
            if row.n:
                self._sums[alike] = row
            return
        self._add(total, row.bytes, row.ended_at, row.busy_s)

    def _add(self, total: OperationRow, size: int, ended_at: dt.datetime | None, busy_s: float) -> None:
        """One more of the kind that a row counts."""
        total.count += 1
        total.bytes += size
        total.busy_s += busy_s
        total.ended_at = ended_at
        self.unwritten[total.n] = total
        self._touch()

    def _number(self, row: OperationRow) -> None:
        if not self._changed(self, 1):
            self.row.unrecorded += 1  # no room: the database has been away for long
            return
        for name in _TEXTS:
            setattr(row, name, safe_text(getattr(row, name)))
        self._last_n += 1
        row.n = self._last_n
        self.unwritten[row.n] = row

    def _touch(self) -> None:
        if self.is_known:
            self._changed(self, 0)


_TEXTS: Final = (
    "cause",
    "reason",
    "sop_class_uid",
    "transfer_syntax_uid",
    "study_instance_uid",
    "series_instance_uid",
    "sop_instance_uid",
    "destination",
)


def _kind(field: CommandField) -> str:
    """`C-FIND` of C_FIND_RQ."""
    return field.name.removesuffix("_RQ").replace("_", "-")

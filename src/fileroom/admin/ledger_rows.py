"""What the association ledger knows of one association and of one operation: the rows, while they are still in memory."""

from __future__ import annotations

import datetime as dt
import enum
from dataclasses import dataclass
from typing import Final

from fileroom.dicom.charset import clean

TEXT_CHARS_MAX: Final = 500
"""Reasons, details and names; the longest that Fileroom writes have about 300 characters, and peers may send anything."""


class Direction(enum.StrEnum):
    """Who called."""

    IN = "in"
    OUT = "out"


class Outcome(enum.StrEnum):
    """How an association ended, or the attempt at one. The first ones are `net.association_handler.EndKind`."""

    OPEN = "open"
    RELEASED = "released"
    REJECTED = "rejected"
    ABORTED_BY_PEER = "aborted by peer"
    ABORTED_BY_US = "aborted by us"
    CONNECTION_LOST = "connection lost"
    TIMED_OUT = "timed out"
    UNREACHABLE = "unreachable"
    """Ours: no connection could be opened."""
    INTERRUPTED = "interrupted"
    """The process that served it died."""


class Cause(enum.StrEnum):
    """What we know of an end better than the protocol says it."""

    NONE = ""
    UNKNOWN_CALLER = "unknown caller"
    """Held: nobody has approved this AE title from this address."""
    BAD_TITLE = "bad title"
    """The calling AE title is empty or has control characters."""
    NOT_READY = "not ready"
    """The caller could not be looked up."""
    NODE_DISABLED = "node disabled"
    """An administrator has disabled the node."""
    OTHER_ADDRESS = "other address"
    """The node may not call from this address."""
    TLS_DEMANDED = "tls demanded"
    """The node must use TLS and did not, or showed another certificate than it must."""
    TLS_FAILED = "tls failed"
    """The handshake of the TLS port went wrong: a certificate that is missing or no good, a version of long ago."""
    NODE_LIMIT = "node limit"
    """The node has as many associations open as it may."""


class Mark(enum.IntEnum):
    """What the list shows at a glance."""

    GOOD = 0
    WARNING = 1
    FAILED = 2


@dataclass(slots=True)
class OperationRow:
    """One request and its answer, or many that are alike. Times are aware, in UTC; `busy_s` is their sum in seconds."""

    n: int
    kind: str
    by_us: bool
    began_at: dt.datetime
    ended_at: dt.datetime | None = None
    busy_s: float = 0.0
    count: int = 1
    status: int | None = None
    cause: str = ""
    reason: str = ""
    sop_class_uid: str = ""
    transfer_syntax_uid: str = ""
    study_instance_uid: str = ""
    series_instance_uid: str = ""
    sop_instance_uid: str = ""
    bytes: int = 0
    matches: int = 0
    completed: int | None = None
    warned: int | None = None
    failed: int | None = None
    destination: str = ""


@dataclass(slots=True)
class AssociationRow:
    """One association. `id` is given by the database, with the first write."""

    began_at: dt.datetime
    direction: Direction
    peer_host: str
    peer_port: int
    tls: bool = False
    peer_certificate: str = ""
    """Subject and fingerprint of what the peer has shown, where it was asked."""
    id: int | None = None
    ended_at: dt.datetime | None = None
    purpose: str = ""
    parent: int | None = None
    calling_aet: str = ""
    called_aet: str = ""
    implementation_class_uid: str = ""
    implementation_version: str = ""
    pdu_bytes_max: int = 0
    contexts_proposed: int = 0
    contexts_accepted: int = 0
    outcome: Outcome = Outcome.OPEN
    cause: Cause = Cause.NONE
    detail: str = ""
    reject_result: int | None = None
    reject_source: int | None = None
    reject_reason: int | None = None
    abort_source: int | None = None
    abort_reason: int | None = None
    bytes_in: int = 0
    bytes_out: int = 0
    requests: int = 0
    objects: int = 0
    warnings: int = 0
    failures: int = 0
    unrecorded: int = 0

    @property
    def mark(self) -> Mark:
        """Good, with warnings, or failed: an end out of order, an operation that failed, nothing that was agreed on."""
        ended_badly = self.outcome not in (Outcome.OPEN, Outcome.RELEASED)
        nothing_agreed = (
            bool(self.contexts_proposed) and not self.contexts_accepted and self.outcome is not Outcome.OPEN
        )
        if ended_badly or nothing_agreed or self.failures:
            return Mark.FAILED
        return Mark.WARNING if self.warnings or self.came_for_nothing else Mark.GOOD

    @property
    def came_for_nothing(self) -> bool:
        """Something was refused and then nothing was done: what the caller wanted was perhaps just that."""
        refused = self.contexts_accepted < self.contexts_proposed
        left = self.outcome in (Outcome.RELEASED, Outcome.ABORTED_BY_PEER)
        return left and refused and not self.requests


def safe_text(text: str | None) -> str:
    """Text of a peer, or that quotes one: a single line that the database takes, at most TEXT_CHARS_MAX characters."""
    return clean((text or "")[:TEXT_CHARS_MAX])

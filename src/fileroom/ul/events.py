"""What an `Association` asks of the connection that carries it, and what it tells the user of the association."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from fileroom.ul.pdu import Abort, AssociateAC, AssociateRJ, AssociateRQ

# --- for the connection ---


@dataclass(frozen=True, slots=True)
class SendBytes:
    """Write these bytes to the peer."""

    data: bytes


@dataclass(frozen=True, slots=True)
class StartTimer:
    """Start the ARTIM timer, or start it afresh (PS3.8 9.1.5). On expiry call `Association.timer_expired`."""


@dataclass(frozen=True, slots=True)
class StopTimer:
    """Stop the ARTIM timer if it runs."""


@dataclass(frozen=True, slots=True)
class CloseConnection:
    """Close the transport connection after what was written is sent."""


# --- for the user of the association ---


@dataclass(frozen=True, slots=True)
class AssociationRequested:
    """A-ASSOCIATE indication. Answer with `accept` or `reject`."""

    request: AssociateRQ


@dataclass(frozen=True, slots=True)
class AssociationAccepted:
    """A-ASSOCIATE confirmation: the peer accepted."""

    acceptance: AssociateAC


@dataclass(frozen=True, slots=True)
class AssociationRejected:
    """A-ASSOCIATE confirmation: the peer rejected; the connection closes."""

    rejection: AssociateRJ


@dataclass(frozen=True, slots=True)
class PDataFragment:
    """P-DATA indication: data of one message, as much as has arrived.

    `is_last` is true once, with the end of the last fragment of a command set or data set; until then more follows.
    `data` is a view of the bytes given to `receive_data`, valid until that call's events are handled.
    """

    context_id: int
    is_command: bool
    is_last: bool
    data: memoryview


@dataclass(frozen=True, slots=True)
class ReleaseRequested:
    """A-RELEASE indication. Answer with `respond_release`. `collision`: both sides asked at once (PS3.8 7.2.2)."""

    collision: bool = False


@dataclass(frozen=True, slots=True)
class ReleaseConfirmed:
    """A-RELEASE confirmation: the peer agreed to the release."""


class AbortOrigin(enum.Enum):
    """Where an abort came from."""

    PEER = "the peer"
    LOCAL = "us"
    CONNECTION = "the connection"


@dataclass(frozen=True, slots=True)
class AssociationAborted:
    """A-ABORT or A-P-ABORT indication: the association is over at once. `detail` says why in words."""

    origin: AbortOrigin
    abort: Abort
    detail: str


Event = (
    SendBytes
    | StartTimer
    | StopTimer
    | CloseConnection
    | AssociationRequested
    | AssociationAccepted
    | AssociationRejected
    | PDataFragment
    | ReleaseRequested
    | ReleaseConfirmed
    | AssociationAborted
)

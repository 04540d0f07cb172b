"""One association, either role, without I/O: bytes and local requests in, events out (PS3.8 9.2).

Every method returns the events that follow, in order; the caller carries out those for the connection (`SendBytes`,
`StartTimer`, ...) and hands on the others. A P-DATA-TF is never assembled: its data come out as they arrive, as views
of the caller's buffer. Every other PDU is short and bounded. Bytes that the standard does not allow end in an A-ABORT
with the source and reason of PS3.8 9.3.8.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from typing import Final

from fileroom.core.errors import InvalidRequestError
from fileroom.core.limits import ASSOCIATE_PDU_BYTES_MAX, PDU_BYTES_MAX_SEND
from fileroom.ul import state as table
from fileroom.ul.events import (
    AbortOrigin,
    AssociationAborted,
    AssociationAccepted,
    AssociationRejected,
    AssociationRequested,
    CloseConnection,
    Event,
    PDataFragment,
    ReleaseConfirmed,
    ReleaseRequested,
    SendBytes,
    StartTimer,
    StopTimer,
)
from fileroom.ul.items import AbortReason, AbortSource, InvalidPduError
from fileroom.ul.negotiation import AcceptedContext, accepted_contexts
from fileroom.ul.pdu import (
    CONTROL_COMMAND,
    CONTROL_LAST,
    PDU_HEADER,
    PDV_HEADER,
    Abort,
    AssociateAC,
    AssociateRJ,
    AssociateRQ,
    Pdu,
    PduType,
    ReleaseRP,
    ReleaseRQ,
    decode,
    encode,
)
from fileroom.ul.state import Action, State


class Role(enum.Enum):
    """Who opened the association."""

    REQUESTOR = "requestor"
    ACCEPTOR = "acceptor"


class Association:
    """The upper layer's end of one transport connection."""

    def __init__(self, role: Role) -> None:
        self.role = role
        self.state = State.STA1
        self.request: AssociateRQ | None = None
        self.acceptance: AssociateAC | None = None
        self.contexts: Mapping[int, AcceptedContext] = {}
        """The accepted presentation contexts by identifier."""
        self.pdu_bytes_max_send = PDU_BYTES_MAX_SEND
        """The longest P-DATA-TF body we may send: the peer's bound, but not above our own."""
        self._pdu_bytes_max_receive = 0
        self._stage: _Stage = Association._read_pdu_header
        self._partial = bytearray()
        self._pdu_type = 0
        self._pdu_left = 0
        self._pdv_left = 0
        self._pdv_context_id = 0
        self._pdv_control = 0

    # --- what the transport tells ---

    def transport_connected(self) -> list[Event]:
        """The connection is open (Evt2 or Evt5). As requestor call `request_association` before."""
        acceptor = self.role is Role.ACCEPTOR
        return self._apply(table.Event.EVT5 if acceptor else table.Event.EVT2)

    def transport_closed(self) -> list[Event]:
        """The connection is gone (Evt17)."""
        return [] if self.state is State.STA1 else self._apply(table.Event.EVT17)

    def timer_expired(self) -> list[Event]:
        """The ARTIM timer ran out (Evt18). Without effect if the machine no longer waits for it."""
        return self._apply(table.Event.EVT18) if self.state in (State.STA2, State.STA13) else []

    def receive_data(self, data: memoryview) -> list[Event]:
        """Bytes from the peer, cut anywhere. Views of `data` in the events are valid until `data` is reused."""
        events: list[Event] = []
        offset, end = 0, len(data)
        while offset < end and self.state is not State.STA1:
            offset = self._stage(self, data, offset, events)
        return events

    # --- what the user of the association asks ---

    def request_association(self, request: AssociateRQ) -> list[Event]:
        """Remember what to ask for (Evt1). It is sent when the transport is connected."""
        self.request = request
        self._pdu_bytes_max_receive = request.user_information.pdu_bytes_max
        return self._apply(table.Event.EVT1)

    def accept(self, acceptance: AssociateAC) -> list[Event]:
        """Accept the peer's request (Evt7)."""
        events = self._apply(table.Event.EVT7, acceptance)
        self._pdu_bytes_max_receive = acceptance.user_information.pdu_bytes_max
        self._establish(acceptance)
        return events

    def reject(self, rejection: AssociateRJ) -> list[Event]:
        """Reject the peer's request (Evt8)."""
        return self._apply(table.Event.EVT8, rejection)

    def release(self) -> list[Event]:
        """Ask for an orderly end (Evt11)."""
        return self._apply(table.Event.EVT11)

    def respond_release(self) -> list[Event]:
        """Agree to the peer's release (Evt14)."""
        return self._apply(table.Event.EVT14)

    def abort(
        self, source: AbortSource = AbortSource.SERVICE_USER, reason: AbortReason = AbortReason.NOT_SPECIFIED
    ) -> list[Event]:
        """End at once (Evt15). Without effect before the connection is open and when it is already ending."""
        if (self.state, table.Event.EVT15) not in table.TRANSITIONS:
            return []
        return self._apply(table.Event.EVT15, Abort(source, reason))

    def begin_data(self) -> None:
        """Ask whether P-DATA-TF PDUs may be written now (Evt9); raise InvalidRequestError if not."""
        self._apply(table.Event.EVT9)

    @property
    def may_send_data(self) -> bool:
        """Whether `begin_data` would succeed."""
        return self.state is State.STA6 or self.state is State.STA8

    @property
    def is_established(self) -> bool:
        """True from acceptance until release or abort begins."""
        return self.state is State.STA6

    # --- the state machine ---

    def _apply(self, event: table.Event, pdu: Pdu | None = None, detail: str = "") -> list[Event]:
        transition = table.TRANSITIONS.get((self.state, event))
        if transition is None:
            raise InvalidRequestError(f"an association cannot do this now: {event.value} while {self.state.value}")
        self.state = transition.next if self.role is Role.REQUESTOR else transition.acceptor_next
        return _ACTIONS[transition.action](self, pdu, detail)

    def _establish(self, acceptance: AssociateAC) -> None:
        if self.request is None:
            raise InvalidRequestError("an association was accepted that nobody requested")
        self.acceptance = acceptance
        self.contexts = accepted_contexts(self.request, acceptance)
        peer = self.request if self.role is Role.ACCEPTOR else acceptance
        self.pdu_bytes_max_send = min(peer.user_information.pdu_bytes_max or PDU_BYTES_MAX_SEND, PDU_BYTES_MAX_SEND)

    def _send_request(self, _pdu: Pdu | None, _detail: str) -> list[Event]:
        if self.request is None:
            raise InvalidRequestError("there is no A-ASSOCIATE-RQ to send")
        return [SendBytes(encode(self.request))]

    def _indicate_request(self, pdu: Pdu | None, _detail: str) -> list[Event]:
        if not isinstance(pdu, AssociateRQ):
            raise TypeError(f"expected an A-ASSOCIATE-RQ, not {pdu!r}")
        self.request = pdu
        return [StopTimer(), AssociationRequested(pdu)]

    def _confirm_acceptance(self, pdu: Pdu | None, _detail: str) -> list[Event]:
        if not isinstance(pdu, AssociateAC):
            raise TypeError(f"expected an A-ASSOCIATE-AC, not {pdu!r}")
        self._establish(pdu)
        return [AssociationAccepted(pdu)]

    # --- reading PDUs: each stage takes what it can from `data` at `offset` and returns the new offset ---

    def _take(self, data: memoryview, offset: int, size: int) -> tuple[memoryview | None, int]:
        """The next `size` bytes, without a copy if `data` holds them all; None while some are missing."""
        if not self._partial and len(data) - offset >= size:
            return data[offset : offset + size], offset + size
        end = min(offset + size - len(self._partial), len(data))
        self._partial += data[offset:end]
        if len(self._partial) < size:
            return None, end
        whole, self._partial = memoryview(self._partial), bytearray()
        return whole, end

    def _read_pdu_header(self, data: memoryview, offset: int, events: list[Event]) -> int:
        header, offset = self._take(data, offset, PDU_HEADER.size)
        if header is None:
            return offset
        self._pdu_type, self._pdu_left = PDU_HEADER.unpack(header)
        event = _EVENT_OF_PDU.get(self._pdu_type)
        if event is None:
            detail = f"{self._pdu_type:02X}H is not a PDU type"
            self._refuse(events, table.Event.EVT19, AbortReason.UNRECOGNIZED_PDU, detail)
            return offset
        transition = table.TRANSITIONS.get((self.state, event))
        if transition is None:
            raise InvalidRequestError(f"bytes were received while {self.state.value}")
        if transition.action in _WRONG_ORDER:
            detail = f"{event.value} while {self.state.value}"
            self._refuse(events, event, AbortReason.UNEXPECTED_PDU, detail)
        elif not self._length_is_allowed():
            detail = f"{event.value} with a body of {self._pdu_left} bytes, which is not allowed"
            self._refuse(events, table.Event.EVT19, AbortReason.INVALID_PDU_PARAMETER_VALUE, detail)
        elif event is table.Event.EVT10:
            self._stage = Association._read_pdv_header
            self._apply(event)
        else:
            self._stage = Association._read_body
        return offset

    def _length_is_allowed(self) -> bool:
        if self._pdu_type == PduType.P_DATA_TF:
            return self._pdu_left >= PDV_HEADER.size and (
                not self._pdu_bytes_max_receive or self._pdu_left <= self._pdu_bytes_max_receive
            )
        if self._pdu_type in (PduType.ASSOCIATE_RQ, PduType.ASSOCIATE_AC):
            return 0 < self._pdu_left <= ASSOCIATE_PDU_BYTES_MAX
        return self._pdu_left == 4

    def _read_body(self, data: memoryview, offset: int, events: list[Event]) -> int:
        body, offset = self._take(data, offset, self._pdu_left)
        if body is None:
            return offset
        self._stage = Association._read_pdu_header
        self._pdu_left = 0
        try:
            pdu = decode(self._pdu_type, body)
        except InvalidPduError as error:
            self._refuse(events, table.Event.EVT19, error.reason, str(error))
            return offset
        events += self._apply(_EVENT_OF_PDU[self._pdu_type], pdu)
        return offset

    def _read_pdv_header(self, data: memoryview, offset: int, events: list[Event]) -> int:
        header, offset = self._take(data, offset, PDV_HEADER.size)
        if header is None:
            return offset
        length, context_id, control = PDV_HEADER.unpack(header)
        self._pdu_left -= PDV_HEADER.size
        self._pdv_left = length - 2
        if length < 2 or self._pdv_left > self._pdu_left:
            detail = f"a presentation data value says {length} bytes, but its PDU has {self._pdu_left + 2} left"
        elif 0 < self._pdu_left - self._pdv_left < PDV_HEADER.size:
            detail = f"{self._pdu_left - self._pdv_left} bytes are left in a PDU, too few for a presentation data value"
        elif context_id not in self.contexts:
            detail = f"data for presentation context {context_id}, which was not accepted"
        else:
            self._pdu_left -= self._pdv_left
            self._pdv_context_id, self._pdv_control = context_id, control
            self._stage = Association._read_pdv_data
            # An empty value must come out here: no further byte may follow to bring it out.
            return offset if self._pdv_left else self._read_pdv_data(data, offset, events)
        self._refuse(events, table.Event.EVT19, AbortReason.INVALID_PDU_PARAMETER_VALUE, detail)
        return offset

    def _read_pdv_data(self, data: memoryview, offset: int, events: list[Event]) -> int:
        piece = data[offset : offset + self._pdv_left]
        self._pdv_left -= len(piece)
        control, is_last = self._pdv_control, False
        if not self._pdv_left:
            is_last = bool(control & CONTROL_LAST)
            self._stage = Association._read_pdv_header if self._pdu_left else Association._read_pdu_header
        if self.state is State.STA6 or self.state is State.STA7:  # not after an abort of ours amid the PDU
            events.append(PDataFragment(self._pdv_context_id, bool(control & CONTROL_COMMAND), is_last, piece))
        return offset + len(piece)

    def _refuse(self, events: list[Event], event: table.Event, reason: AbortReason, detail: str) -> None:
        """Carry out what the table says about a PDU that is wrong, then pass over the rest of it."""
        already_ending = self.state is State.STA13
        events += self._apply(event, Abort(AbortSource.SERVICE_PROVIDER, reason), detail)
        if already_ending and event is table.Event.EVT19:
            self._stage = Association._discard  # one more A-ABORT is enough for someone who sends rubbish
        else:
            self._stage = Association._skip if self._pdu_left else Association._read_pdu_header

    def _skip(self, data: memoryview, offset: int, _events: list[Event]) -> int:
        skipped = min(self._pdu_left, len(data) - offset)
        self._pdu_left -= skipped
        if not self._pdu_left:
            self._stage = Association._read_pdu_header
        return offset + skipped

    def _discard(self, data: memoryview, _offset: int, _events: list[Event]) -> int:
        return len(data)


_Stage = Callable[[Association, memoryview, int, "list[Event]"], int]
_Perform = Callable[[Association, "Pdu | None", str], "list[Event]"]

_EVENT_OF_PDU: Final = {
    int(PduType.ASSOCIATE_RQ): table.Event.EVT6,
    int(PduType.ASSOCIATE_AC): table.Event.EVT3,
    int(PduType.ASSOCIATE_RJ): table.Event.EVT4,
    int(PduType.P_DATA_TF): table.Event.EVT10,
    int(PduType.RELEASE_RQ): table.Event.EVT12,
    int(PduType.RELEASE_RP): table.Event.EVT13,
    int(PduType.ABORT): table.Event.EVT16,
}
_WRONG_ORDER: Final = frozenset({Action.AA_1, Action.AA_6, Action.AA_7, Action.AA_8})
"""Actions that do not look into the PDU: it is not waited for, only passed over."""


def _send(pdu: Pdu | None) -> SendBytes:
    if pdu is None:
        raise TypeError("there is no PDU to send")
    return SendBytes(encode(pdu))


def _abort_as_user(_association: Association, pdu: Pdu | None, detail: str) -> list[Event]:
    """AA-1. A local caller may name another source in its own request; a wrong PDU is answered as service user."""
    if not detail:
        return [_send(pdu), StartTimer()]
    abort = Abort(AbortSource.SERVICE_USER)
    return [SendBytes(encode(abort)), StartTimer(), AssociationAborted(AbortOrigin.LOCAL, abort, detail)]


def _indicate_abort(_association: Association, pdu: Pdu | None, _detail: str) -> list[Event]:
    abort = pdu if isinstance(pdu, Abort) else Abort()
    return [AssociationAborted(AbortOrigin.PEER, abort, abort.describe()), CloseConnection()]


def _abort_as_provider(_association: Association, pdu: Pdu | None, detail: str) -> list[Event]:
    abort = pdu if isinstance(pdu, Abort) else Abort(AbortSource.SERVICE_PROVIDER)
    return [SendBytes(encode(abort)), AssociationAborted(AbortOrigin.LOCAL, abort, detail), StartTimer()]


def _lost(_association: Association, _pdu: Pdu | None, _detail: str) -> list[Event]:
    abort = Abort(AbortSource.SERVICE_PROVIDER)
    return [AssociationAborted(AbortOrigin.CONNECTION, abort, "the connection was closed without a release")]


def _indicate_rejection(_association: Association, pdu: Pdu | None, _detail: str) -> list[Event]:
    if not isinstance(pdu, AssociateRJ):
        raise TypeError(f"expected an A-ASSOCIATE-RJ, not {pdu!r}")
    return [AssociationRejected(pdu), CloseConnection()]


_ACTIONS: Final[Mapping[Action, _Perform]] = {
    Action.AE_1: lambda _a, _p, _d: [],
    Action.AE_2: Association._send_request,
    Action.AE_3: Association._confirm_acceptance,
    Action.AE_4: _indicate_rejection,
    Action.AE_5: lambda _a, _p, _d: [StartTimer()],
    Action.AE_6: Association._indicate_request,
    Action.AE_7: lambda _a, pdu, _d: [_send(pdu)],
    Action.AE_8: lambda _a, pdu, _d: [_send(pdu), StartTimer()],
    Action.DT_1: lambda _a, _p, _d: [],  # the caller writes the PDUs
    Action.DT_2: lambda _a, _p, _d: [],  # the data follow as PDataFragment
    Action.AR_1: lambda _a, _p, _d: [SendBytes(encode(ReleaseRQ()))],
    Action.AR_2: lambda _a, _p, _d: [ReleaseRequested()],
    Action.AR_3: lambda _a, _p, _d: [ReleaseConfirmed(), CloseConnection()],
    Action.AR_4: lambda _a, _p, _d: [SendBytes(encode(ReleaseRP())), StartTimer()],
    Action.AR_5: lambda _a, _p, _d: [StopTimer()],
    Action.AR_6: lambda _a, _p, _d: [],
    Action.AR_7: lambda _a, _p, _d: [],
    Action.AR_8: lambda _a, _p, _d: [ReleaseRequested(collision=True)],
    Action.AR_9: lambda _a, _p, _d: [SendBytes(encode(ReleaseRP()))],
    Action.AR_10: lambda _a, _p, _d: [ReleaseConfirmed()],
    Action.AA_1: _abort_as_user,
    Action.AA_2: lambda _a, _p, _d: [StopTimer(), CloseConnection()],
    Action.AA_3: _indicate_abort,
    Action.AA_4: _lost,
    Action.AA_5: lambda _a, _p, _d: [StopTimer()],
    Action.AA_6: lambda _a, _p, _d: [],
    Action.AA_7: lambda _a, pdu, _d: [_send(pdu)],
    Action.AA_8: _abort_as_provider,
}

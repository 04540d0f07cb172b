"""The state machine of the upper layer as data: states, events, actions and the table (PS3.8 9.2).

`ul.association` carries the actions out. A pair of state and event that is not in `TRANSITIONS` cannot happen, or is a
mistake of the local caller.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


class State(enum.Enum):
    """PS3.8 Tables 9-1 to 9-5."""

    STA1 = "idle"
    STA2 = "transport connection open, awaiting A-ASSOCIATE-RQ"
    STA3 = "awaiting local A-ASSOCIATE response"
    STA4 = "awaiting transport connection opening to complete"
    STA5 = "awaiting A-ASSOCIATE-AC or A-ASSOCIATE-RJ"
    STA6 = "association established, ready for data transfer"
    STA7 = "awaiting A-RELEASE-RP"
    STA8 = "awaiting local A-RELEASE response"
    STA9 = "release collision, requestor side, awaiting local A-RELEASE response"
    STA10 = "release collision, acceptor side, awaiting A-RELEASE-RP"
    STA11 = "release collision, requestor side, awaiting A-RELEASE-RP"
    STA12 = "release collision, acceptor side, awaiting local A-RELEASE response"
    STA13 = "awaiting transport connection close"


class Event(enum.Enum):
    """PS3.8 Table 9-10, first column."""

    EVT1 = "A-ASSOCIATE request of the local user"
    EVT2 = "transport connection confirmed"
    EVT3 = "A-ASSOCIATE-AC received"
    EVT4 = "A-ASSOCIATE-RJ received"
    EVT5 = "transport connection indication"
    EVT6 = "A-ASSOCIATE-RQ received"
    EVT7 = "A-ASSOCIATE response of the local user: accept"
    EVT8 = "A-ASSOCIATE response of the local user: reject"
    EVT9 = "P-DATA request of the local user"
    EVT10 = "P-DATA-TF received"
    EVT11 = "A-RELEASE request of the local user"
    EVT12 = "A-RELEASE-RQ received"
    EVT13 = "A-RELEASE-RP received"
    EVT14 = "A-RELEASE response of the local user"
    EVT15 = "A-ABORT request of the local user"
    EVT16 = "A-ABORT received"
    EVT17 = "transport connection closed"
    EVT18 = "ARTIM timer expired"
    EVT19 = "unrecognized or invalid PDU received"


class Action(enum.Enum):
    """PS3.8 Tables 9-6 to 9-9."""

    AE_1 = "request a transport connection"
    AE_2 = "send A-ASSOCIATE-RQ"
    AE_3 = "confirm the association to the local user"
    AE_4 = "tell the local user of the rejection, close the connection"
    AE_5 = "answer the transport connection, start ARTIM"
    AE_6 = "stop ARTIM, give the request to the local user"
    AE_7 = "send A-ASSOCIATE-AC"
    AE_8 = "send A-ASSOCIATE-RJ, start ARTIM"
    DT_1 = "send P-DATA-TF"
    DT_2 = "give the data to the local user"
    AR_1 = "send A-RELEASE-RQ"
    AR_2 = "tell the local user of the release"
    AR_3 = "confirm the release to the local user, close the connection"
    AR_4 = "send A-RELEASE-RP, start ARTIM"
    AR_5 = "stop ARTIM"
    AR_6 = "give the data to the local user while awaiting the release"
    AR_7 = "send P-DATA-TF before the release is answered"
    AR_8 = "tell the local user of the release collision"
    AR_9 = "send A-RELEASE-RP in a collision"
    AR_10 = "confirm the release to the local user in a collision"
    AA_1 = "send A-ABORT as service user, start ARTIM"
    AA_2 = "stop ARTIM, close the connection"
    AA_3 = "tell the local user of the abort, close the connection"
    AA_4 = "tell the local user that the connection was lost"
    AA_5 = "stop ARTIM, the connection was closed"
    AA_6 = "ignore the PDU"
    AA_7 = "send A-ABORT"
    AA_8 = "send A-ABORT as service provider, tell the local user, start ARTIM"


@dataclass(frozen=True, slots=True)
class Transition:
    """What to do, and the state afterwards.

    `acceptor_next` differs from `next` only in AR-8, where the sides of a release collision part. In AE-6 `next` is the
    state after an acceptable request; one that the service provider itself rejects leads to Sta13 by way of AE-8.
    """

    action: Action
    next: State
    acceptor_next: State


_NEXT: Final[Mapping[Action, State]] = {
    Action.AE_1: State.STA4,
    Action.AE_2: State.STA5,
    Action.AE_3: State.STA6,
    Action.AE_4: State.STA1,
    Action.AE_5: State.STA2,
    Action.AE_6: State.STA3,
    Action.AE_7: State.STA6,
    Action.AE_8: State.STA13,
    Action.DT_1: State.STA6,
    Action.DT_2: State.STA6,
    Action.AR_1: State.STA7,
    Action.AR_2: State.STA8,
    Action.AR_3: State.STA1,
    Action.AR_4: State.STA13,
    Action.AR_5: State.STA1,
    Action.AR_6: State.STA7,
    Action.AR_7: State.STA8,
    Action.AR_8: State.STA9,
    Action.AR_9: State.STA11,
    Action.AR_10: State.STA12,
    Action.AA_1: State.STA13,
    Action.AA_2: State.STA1,
    Action.AA_3: State.STA1,
    Action.AA_4: State.STA1,
    Action.AA_5: State.STA1,
    Action.AA_6: State.STA13,
    Action.AA_7: State.STA13,
    Action.AA_8: State.STA13,
}

_TABLE: Final = """
        Sta1  Sta2  Sta3  Sta4  Sta5  Sta6  Sta7  Sta8  Sta9  Sta10 Sta11 Sta12 Sta13
Evt1    AE-1  .     .     .     .     .     .     .     .     .     .     .     .
Evt2    .     .     .     AE-2  .     .     .     .     .     .     .     .     .
Evt3    .     AA-1  AA-8  .     AE-3  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-6
Evt4    .     AA-1  AA-8  .     AE-4  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-6
Evt5    AE-5  .     .     .     .     .     .     .     .     .     .     .     .
Evt6    .     AE-6  AA-8  .     AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-7
Evt7    .     .     AE-7  .     .     .     .     .     .     .     .     .     .
Evt8    .     .     AE-8  .     .     .     .     .     .     .     .     .     .
Evt9    .     .     .     .     .     DT-1  .     AR-7  .     .     .     .     .
Evt10   .     AA-1  AA-8  .     AA-8  DT-2  AR-6  AA-8  AA-8  AA-8  AA-8  AA-8  AA-6
Evt11   .     .     .     .     .     AR-1  .     .     .     .     .     .     .
Evt12   .     AA-1  AA-8  .     AA-8  AR-2  AR-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-6
Evt13   .     AA-1  AA-8  .     AA-8  AA-8  AR-3  AA-8  AA-8  AR-10 AR-3  AA-8  AA-6
Evt14   .     .     .     .     .     .     .     AR-4  AR-9  .     .     AR-4  .
Evt15   .     .     AA-1  AA-2  AA-1  AA-1  AA-1  AA-1  AA-1  AA-1  AA-1  AA-1  .
Evt16   .     AA-2  AA-3  .     AA-3  AA-3  AA-3  AA-3  AA-3  AA-3  AA-3  AA-3  AA-2
Evt17   .     AA-5  AA-4  AA-4  AA-4  AA-4  AA-4  AA-4  AA-4  AA-4  AA-4  AA-4  AR-5
Evt18   .     AA-2  .     .     .     .     .     .     .     .     .     .     AA-2
Evt19   .     AA-1  AA-8  .     AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-7
"""


def _read_table(text: str) -> dict[tuple[State, Event], Transition]:
    rows = [line.split() for line in text.strip().splitlines()]
    states = [State[name.upper()] for name in rows[0]]
    transitions: dict[tuple[State, Event], Transition] = {}
    for name, *cells in rows[1:]:
        for state, cell in zip(states, cells, strict=True):
            if cell != ".":
                action = Action[cell.replace("-", "_")]
                acceptor_next = State.STA10 if action is Action.AR_8 else _NEXT[action]
                transitions[state, Event[name.upper()]] = Transition(action, _NEXT[action], acceptor_next)
    return transitions


TRANSITIONS: Final[Mapping[tuple[State, Event], Transition]] = _read_table(_TABLE)
"""PS3.8 Table 9-10."""

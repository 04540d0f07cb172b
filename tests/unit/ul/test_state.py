"""The whole state table of PS3.8 9.2, driven through `Association`: every event in every state, both roles."""

from __future__ import annotations

import pytest
from pynetdicom.fsm import TRANSITION_TABLE

from fileroom.core.errors import InvalidRequestError
from fileroom.ul import events as out
from fileroom.ul.association import Association, Role
from fileroom.ul.events import AbortOrigin
from fileroom.ul.items import (
    AbortSource,
    ContextResult,
    PresentationContextProposal,
    PresentationContextResult,
)
from fileroom.ul.pdu import (
    Abort,
    AssociateAC,
    AssociateRJ,
    AssociateRQ,
    PDataTF,
    PresentationDataValue,
    ReleaseRP,
    ReleaseRQ,
    decode,
    encode,
)
from fileroom.ul.state import TRANSITIONS, Action, Event, State

REQUEST = AssociateRQ("CALLED", "CALLING", (PresentationContextProposal(1, "1.2.3", ("1.2.840.10008.1.2",)),))
ACCEPTANCE = AssociateAC(
    "CALLED", "CALLING", (PresentationContextResult(1, ContextResult.ACCEPTANCE, "1.2.840.10008.1.2"),)
)
REJECTION = AssociateRJ(1, 1, 1)
DATA = PDataTF((PresentationDataValue(1, True, True, memoryview(b"abcd")),))
INVALID = b"\x47" + bytes(9)


def receive(pdu):
    return lambda association: association.receive_data(memoryview(encode(pdu)))


STIMULI = {
    Event.EVT1: lambda a: a.request_association(REQUEST),
    Event.EVT2: lambda a: a.transport_connected(),
    Event.EVT3: receive(ACCEPTANCE),
    Event.EVT4: receive(REJECTION),
    Event.EVT5: lambda a: a.transport_connected(),
    Event.EVT6: receive(REQUEST),
    Event.EVT7: lambda a: a.accept(ACCEPTANCE),
    Event.EVT8: lambda a: a.reject(REJECTION),
    Event.EVT9: lambda a: a.begin_data() or [],
    Event.EVT10: receive(DATA),
    Event.EVT11: lambda a: a.release(),
    Event.EVT12: receive(ReleaseRQ()),
    Event.EVT13: receive(ReleaseRP()),
    Event.EVT14: lambda a: a.respond_release(),
    Event.EVT15: lambda a: a.abort(),
    Event.EVT16: receive(Abort()),
    Event.EVT17: lambda a: a.transport_closed(),
    Event.EVT18: lambda a: a.timer_expired(),
    Event.EVT19: lambda a: a.receive_data(memoryview(INVALID)),
}

E = Event
PATHS = {
    Role.ACCEPTOR: {
        State.STA1: [],
        State.STA2: [E.EVT5],
        State.STA3: [E.EVT5, E.EVT6],
        State.STA6: [E.EVT5, E.EVT6, E.EVT7],
        State.STA7: [E.EVT5, E.EVT6, E.EVT7, E.EVT11],
        State.STA8: [E.EVT5, E.EVT6, E.EVT7, E.EVT12],
        State.STA10: [E.EVT5, E.EVT6, E.EVT7, E.EVT11, E.EVT12],
        State.STA12: [E.EVT5, E.EVT6, E.EVT7, E.EVT11, E.EVT12, E.EVT13],
        State.STA13: [E.EVT5, E.EVT6, E.EVT8],
    },
    Role.REQUESTOR: {
        State.STA1: [],
        State.STA4: [E.EVT1],
        State.STA5: [E.EVT1, E.EVT2],
        State.STA6: [E.EVT1, E.EVT2, E.EVT3],
        State.STA7: [E.EVT1, E.EVT2, E.EVT3, E.EVT11],
        State.STA8: [E.EVT1, E.EVT2, E.EVT3, E.EVT12],
        State.STA9: [E.EVT1, E.EVT2, E.EVT3, E.EVT11, E.EVT12],
        State.STA11: [E.EVT1, E.EVT2, E.EVT3, E.EVT11, E.EVT12, E.EVT14],
        State.STA13: [E.EVT1, E.EVT2, E.EVT3, E.EVT15],
    },
}
IMPOSSIBLE = {Role.ACCEPTOR: {Event.EVT1, Event.EVT2}, Role.REQUESTOR: {Event.EVT5}}
"""Events of the other role: no call makes them."""

EXPECTED = {
    Action.AE_1: [],
    Action.AE_2: [out.SendBytes],
    Action.AE_3: [out.AssociationAccepted],
    Action.AE_4: [out.AssociationRejected, out.CloseConnection],
    Action.AE_5: [out.StartTimer],
    Action.AE_6: [out.StopTimer, out.AssociationRequested],
    Action.AE_7: [out.SendBytes],
    Action.AE_8: [out.SendBytes, out.StartTimer],
    Action.DT_1: [],
    Action.DT_2: [out.PDataFragment],
    Action.AR_1: [out.SendBytes],
    Action.AR_2: [out.ReleaseRequested],
    Action.AR_3: [out.ReleaseConfirmed, out.CloseConnection],
    Action.AR_4: [out.SendBytes, out.StartTimer],
    Action.AR_5: [out.StopTimer],
    Action.AR_6: [out.PDataFragment],
    Action.AR_7: [],
    Action.AR_8: [out.ReleaseRequested],
    Action.AR_9: [out.SendBytes],
    Action.AR_10: [out.ReleaseConfirmed],
    Action.AA_1: [out.SendBytes, out.StartTimer],
    Action.AA_2: [out.StopTimer, out.CloseConnection],
    Action.AA_3: [out.AssociationAborted, out.CloseConnection],
    Action.AA_4: [out.AssociationAborted],
    Action.AA_5: [out.StopTimer],
    Action.AA_6: [],
    Action.AA_7: [out.SendBytes],
    Action.AA_8: [out.SendBytes, out.AssociationAborted, out.StartTimer],
}
RECEIVED = {E.EVT3, E.EVT4, E.EVT6, E.EVT10, E.EVT12, E.EVT13, E.EVT16, E.EVT19}
TOLERATED = {E.EVT15, E.EVT17, E.EVT18}
"""Outside the table these are without effect: they race with the end of the association."""

CASES = [
    (role, state, event)
    for role, paths in PATHS.items()
    for state in paths
    for event in Event
    if event not in IMPOSSIBLE[role]
]


def association_in(role: Role, state: State) -> Association:
    association = Association(role)
    for event in PATHS[role][state]:
        STIMULI[event](association)
    assert association.state is state
    return association


def test_table_equals_that_of_another_implementation() -> None:
    ours = {
        (event.name.capitalize(), state.name.capitalize()): transition.action.name.replace("_", "-")
        for (state, event), transition in TRANSITIONS.items()
    }
    assert ours == dict(TRANSITION_TABLE)


def test_every_state_is_reached_by_some_path() -> None:
    assert set(PATHS[Role.ACCEPTOR]) | set(PATHS[Role.REQUESTOR]) == set(State)


@pytest.mark.parametrize(("role", "state", "event"), CASES, ids=lambda value: value.name)
def test_each_event_in_each_state_does_what_the_table_says(role: Role, state: State, event: Event) -> None:
    association = association_in(role, state)
    transition = TRANSITIONS.get((state, event))
    if transition is None:
        check_outside_the_table(association, state, event)
        return
    events = STIMULI[event](association)
    kinds = [type(item) for item in events if not (is_local_abort(item) and transition.action is Action.AA_1)]
    assert kinds == EXPECTED[transition.action]
    expected_state = transition.next if role is Role.REQUESTOR else transition.acceptor_next
    assert association.state is expected_state


def check_outside_the_table(association: Association, state: State, event: Event) -> None:
    if event in TOLERATED or (event in RECEIVED and state is State.STA1):
        assert STIMULI[event](association) == []
    else:
        with pytest.raises(InvalidRequestError):
            STIMULI[event](association)
    assert association.state is state


def is_local_abort(event) -> bool:
    return isinstance(event, out.AssociationAborted) and event.origin is AbortOrigin.LOCAL


def test_both_sides_get_through_a_release_collision() -> None:
    requestor, acceptor = association_in(Role.REQUESTOR, State.STA7), association_in(Role.ACCEPTOR, State.STA7)
    assert requestor.receive_data(memoryview(encode(ReleaseRQ()))) == [out.ReleaseRequested(collision=True)]
    assert acceptor.receive_data(memoryview(encode(ReleaseRQ()))) == [out.ReleaseRequested(collision=True)]
    [answer] = requestor.respond_release()
    assert acceptor.receive_data(memoryview(answer.data)) == [out.ReleaseConfirmed()]
    answer, timer = acceptor.respond_release()
    assert timer == out.StartTimer()
    assert requestor.receive_data(memoryview(answer.data)) == [out.ReleaseConfirmed(), out.CloseConnection()]
    assert acceptor.transport_closed() == [out.StopTimer()]
    assert (requestor.state, acceptor.state) == (State.STA1, State.STA1)


def test_acceptor_in_a_collision_waits_for_its_own_confirmation_first() -> None:
    acceptor = association_in(Role.ACCEPTOR, State.STA10)
    with pytest.raises(InvalidRequestError):
        acceptor.respond_release()


@pytest.mark.parametrize("state", [State.STA3, State.STA6, State.STA8])
def test_local_abort_is_sent_as_service_user(state: State) -> None:
    sent = association_in(Role.ACCEPTOR, state).abort()[0]
    assert isinstance(sent, out.SendBytes)
    assert decode(7, sent.data[6:]) == Abort(AbortSource.SERVICE_USER, 0)

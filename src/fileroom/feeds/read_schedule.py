"""What messages about appointments ask for: SIU S12 to S17, S26 (HL7 v2.5.1 chapter 10).

An appointment says when and where the steps of an order are: SCH names the order, each AIS is a step, AIG, AIL and AIP of its
resource group (RGS) say with what, where and by whom. Resources in groups without a service are meant for all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from fileroom.core.errors import InvalidRequestError, told
from fileroom.feeds.paths import Scope
from fileroom.feeds.read_adt import parted
from fileroom.feeds.read_orders import OneStep, join_steps, read_order, read_step, read_subject, state_word
from fileroom.feeds.reading import Reader
from fileroom.hl7.message import Segment
from fileroom.worklist.changes import Change, Nothing
from fileroom.worklist.facts import OrderFacts, StepFacts

EVENTS: Final = ("S12", "S13", "S14", "S15", "S16", "S17", "S26")
_STEPS_MAX: Final = 100


def read_schedule(reader: Reader, event: str, segments: Sequence[Segment]) -> list[Change]:
    """The changes of an appointment. Raises InvalidRequestError where it names no order."""
    table = reader.mapping.values.get("event")
    deed = table.get(event) if table is not None else None
    if event not in EVENTS or deed is None or deed == "nothing":
        return [Nothing(told("SIU {event} asks for nothing here.", event=event or "-"))]
    if not any(segment.name == "SCH" for segment in segments):
        raise InvalidRequestError(told("The message has no SCH segment, so it speaks of no appointment."))
    head, groups = parted(segments, "RGS")
    patient, visit = read_subject(reader, head, segments)
    services = _services(head, groups)
    count = sum(segment.name == "AIS" for segment in segments)
    if count > _STEPS_MAX:
        raise InvalidRequestError(told("The appointment has more than {most} services.", most=_STEPS_MAX))
    orders = _orders(reader, head)
    steps: list[OneStep] = []
    for place, layers in enumerate(services * (1 if len(orders) == len(services) else len(orders))):
        of_order = orders[place if len(orders) == len(services) else place // len(services)]
        one = of_order.within(Scope(*layers))
        order = read_order(
            one, [segment for segment in head if segment.name[:1] == "Z" and segment not in _of_pid(head)]
        )
        step = read_step(one)
        state = state_word(one, deed)
        steps.append(OneStep(_without_names(order), state, "", step or StepFacts()))
    return list(join_steps(steps, patient, visit))


def _orders(reader: Reader, head: list[Segment]) -> list[Reader]:
    """A reader for each order that SCH-26 or SCH-27 names: each service is for its own one, or all are for each."""
    scope = Scope(head)
    paths = [
        path for name in ("placer", "filler") for path in reader.mapping.facts.get(name, ()) if path.segment == "SCH"
    ]
    count = max((sum(1 for _ in scope.at(path)) for path in paths), default=1)
    if count < 2:
        return [reader]
    found = []
    for number in range(1, min(count, _STEPS_MAX) + 1):
        facts = dict(reader.mapping.facts)
        for name in ("placer", "filler"):
            facts[name] = tuple(
                replace(path, repetition=number) if path.segment == "SCH" else path for path in facts.get(name, ())
            )
        found.append(Reader(reader.message, replace(reader.mapping, facts=facts), reader.scope, reader.reading))
    return found


def _of_pid(head: Sequence[Segment]) -> list[Segment]:
    """Z segments that follow PID: they are the patient's."""
    _, groups = parted(head, "PID")
    return groups[0] if groups else []


def _services(head: list[Segment], groups: list[list[Segment]]) -> list[tuple[list[Segment], ...]]:
    """For each service its layers of segments, nearest first; one without services where there is none."""
    found: list[tuple[list[Segment], ...]] = []
    for_all = [segment for group in groups if not any(one.name == "AIS" for one in group) for segment in group]
    for group in [head, *groups]:
        common = [segment for segment in group if segment.name != "AIS"]
        for segment in group:
            if segment.name == "AIS":
                found.append(([segment], common, for_all, head))
    return found or [(for_all, head)]


def _without_names(order: OrderFacts) -> OrderFacts:
    """An appointment's number is the order's, whatever procedures its services are: they are steps of one order."""
    return replace(order, procedure_id=None)

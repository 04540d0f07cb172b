"""What messages about patients and visits ask for (HL7 v2.5.1 chapter 3, ADT).

Which event does what is here and not in mappings: it is the standard's. A sender's own event can be read as one of these
(`events` of its mapping). Accounts are kept as numbers of visits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from fileroom.core.errors import InvalidRequestError, told
from fileroom.feeds.paths import Scope
from fileroom.feeds.read_persons import (
    account,
    prior_account,
    prior_patient,
    prior_visit_number,
    read_patient,
    read_visit,
    required,
    required_prior_patient,
    visit_number,
)
from fileroom.feeds.reading import Reader
from fileroom.hl7.message import Segment
from fileroom.worklist.changes import (
    Change,
    ChangeIdentifier,
    LinkPatients,
    MergePatients,
    MoveVisit,
    Nothing,
    PutPatient,
    RemoveVisit,
    UnmergePatients,
)
from fileroom.worklist.facts import Identifier, PatientFacts, VisitState

GROUPS_MAX: Final = 1000
"""Patients, or merges, of one message."""

_STATE_AFTER: Final[dict[str, VisitState | None]] = {
    "A01": VisitState.ADMITTED,
    "A02": None,
    "A03": VisitState.DISCHARGED,
    "A04": VisitState.ADMITTED,
    "A05": VisitState.SCHEDULED,
    "A06": VisitState.ADMITTED,
    "A07": VisitState.ADMITTED,
    "A08": None,
    "A10": None,
    "A11": VisitState.CANCELLED,
    "A12": None,
    "A13": VisitState.ADMITTED,
    "A14": VisitState.SCHEDULED,
    "A28": None,
    "A31": None,
    "A38": VisitState.CANCELLED,
}
"""Events that make a patient and a visit or bring them up to date; None: the visit stays in its state."""


def read_adt(reader: Reader, event: str, segments: Sequence[Segment]) -> list[Change]:
    """The changes of an ADT message. Raises InvalidRequestError where it does not say of whom."""
    if event in _STATE_AFTER:
        return [_put_patient(reader.within(scope), event, own) for scope, own in _patients(segments)]
    read = _READ.get(event)
    if read is None:
        return [Nothing(told("ADT {event} asks for nothing here.", event=event or "-"))]
    return read(reader, segments)


def _put_patient(reader: Reader, event: str, segments: list[Segment]) -> Change:
    patient = read_patient(reader, segments)
    cleared = "" if event == "A13" else None
    visit = read_visit(reader, _STATE_AFTER[event], discharged_at=cleared)
    return PutPatient(patient, visit)


def _merge(reader: Reader, segments: Sequence[Segment]) -> list[Change]:
    """A18, A34, A36, A39, A40: MRG becomes part of PID."""
    found: list[Change] = []
    for one in _merges(reader, segments):
        found.append(MergePatients(read_patient(one), required_prior_patient(one)))
    return found


def _merge_with_account(reader: Reader, segments: Sequence[Segment]) -> list[Change]:
    """A36: the account becomes another one too."""
    found: list[Change] = []
    for one in _merges(reader, segments):
        patient = read_patient(one)
        found.append(MergePatients(patient, required_prior_patient(one)))
        old, new = prior_account(one), account(one)
        if old is not None and new is not None and old != new:
            found.append(MoveVisit(patient.identifiers[0], patient, old, new))
    return found


def _link(reader: Reader, segments: Sequence[Segment]) -> list[Change]:
    one, other = _two_patients(reader, segments)
    return [LinkPatients(one, other)]


def _unlink(reader: Reader, segments: Sequence[Segment]) -> list[Change]:
    one, other = _two_patients(reader, segments)
    return [UnmergePatients(one.identifiers[0], other.identifiers[0])]


def _two_patients(reader: Reader, segments: Sequence[Segment]) -> tuple[PatientFacts, PatientFacts]:
    found = [read_patient(reader.within(scope), own) for scope, own in _patients(segments)]
    if len(found) == 1:
        other = prior_patient(reader.within(Scope(segments)))
        if other is not None:
            found.append(PatientFacts((other,)))
    if len(found) != 2:
        raise InvalidRequestError(
            told("This message links two patients and needs two PID segments; it has {count}.", count=len(found))
        )
    return found[0], found[1]


def _change_identifier(reader: Reader, segments: Sequence[Segment]) -> list[Change]:
    """A46, A47: MRG is what it was, PID what it is."""
    found: list[Change] = []
    for one in _merges(reader, segments):
        patient = read_patient(one)
        found.append(ChangeIdentifier(patient, required_prior_patient(one), patient.identifiers[0]))
    return found


def _move_patient(reader: Reader, segments: Sequence[Segment]) -> list[Change]:
    """A43: all that MRG had is PID's."""
    return [MoveVisit(required_prior_patient(one), read_patient(one)) for one in _merges(reader, segments)]


def _move_account(reader: Reader, segments: Sequence[Segment]) -> list[Change]:
    """A35, A41, A44, A49: the account of MRG is PID's, under its number."""
    found: list[Change] = []
    for one in _merges(reader, segments):
        patient = read_patient(one)
        old = required(prior_account(one), one, "prior_account")
        found.append(MoveVisit(_source(one, patient), patient, old, _other(account(one), old)))
    return found


def _move_visit(reader: Reader, segments: Sequence[Segment]) -> list[Change]:
    """A45, A50: the visit of MRG is PID's, under the number of PV1."""
    found: list[Change] = []
    for one in _merges(reader, segments):
        patient = read_patient(one)
        old = required(prior_visit_number(one), one, "prior_visit_number")
        new = visit_number(one) if one.scope.has("PV1") else None
        found.append(MoveVisit(_source(one, patient), patient, old, _other(new, old)))
    return found


def _remove_visit(reader: Reader, segments: Sequence[Segment]) -> list[Change]:
    found: list[Change] = []
    for scope, _ in _patients(segments):
        one = reader.within(scope)
        found.append(RemoveVisit(read_patient(one), required(visit_number(one), one, "visit_number")))
    return found


def _source(reader: Reader, patient: PatientFacts) -> Identifier:
    """Whose it was: MRG-1, else the patient's own."""
    return prior_patient(reader) or patient.identifiers[0]


def _other(new: Identifier | None, old: Identifier) -> Identifier | None:
    return None if new is None or (new.value, new.authority) == (old.value, old.authority) else new


_READ: Final[dict[str, Callable[[Reader, Sequence[Segment]], list[Change]]]] = {
    "A18": _merge,
    "A23": _remove_visit,
    "A24": _link,
    "A34": _merge,
    "A35": _move_account,
    "A36": _merge_with_account,
    "A37": _unlink,
    "A39": _merge,
    "A40": _merge,
    "A41": _move_account,
    "A43": _move_patient,
    "A44": _move_account,
    "A45": _move_visit,
    "A46": _change_identifier,
    "A47": _change_identifier,
    "A49": _move_account,
    "A50": _move_visit,
}
EVENTS: Final = tuple(sorted({*_STATE_AFTER, *_READ}))
"""All that are read."""


def _patients(segments: Sequence[Segment]) -> Iterator[tuple[Scope, list[Segment]]]:
    """Each PID with what follows it, and what stands before the first."""
    head, groups = parted(segments, "PID")
    if not groups:
        raise InvalidRequestError(told("The message has no PID segment, so it does not say of whom it speaks."))
    for group in groups:
        yield Scope(group, head), group


def _merges(reader: Reader, segments: Sequence[Segment]) -> Iterator[Reader]:
    """Each MRG with the PID that it belongs to."""
    for _, group in _patients(segments):
        common, merges = parted(group, "MRG")
        if not merges:
            raise InvalidRequestError(
                told("The message has no MRG segment, so it does not say what is merged, moved or changed.")
            )
        for merge in merges:
            yield reader.within(Scope(merge, common, segments[:1]))


def parted(segments: Sequence[Segment], start: str) -> tuple[list[Segment], list[list[Segment]]]:
    """What stands before the first segment called `start`, and the groups that begin at each.

    Raises InvalidRequestError for more groups than one message may have.
    """
    head: list[Segment] = []
    groups: list[list[Segment]] = []
    for segment in segments:
        if segment.name == start:
            groups.append([segment])
        else:
            (groups[-1] if groups else head).append(segment)
    if len(groups) > GROUPS_MAX:
        raise InvalidRequestError(
            told("The message has {count} {name} segments; at most {most} are read.",
                 count=len(groups), name=start, most=GROUPS_MAX)
        )  # fmt: skip
    return head, groups

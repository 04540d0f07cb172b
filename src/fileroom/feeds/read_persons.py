"""The patient and the visit that a message speaks of (PID, PV1; HL7 v2.5.1 3.4)."""

from __future__ import annotations

from typing import Final

from fileroom.core.errors import InvalidRequestError, told
from fileroom.feeds.mapping_facts import Part
from fileroom.feeds.reading import Reader
from fileroom.hl7.message import Segment
from fileroom.worklist.facts import Identifier, PatientFacts, VisitFacts, VisitState

_RECORD: Final = "MR"
_VISIT: Final = "VN"
_ACCOUNT: Final = "AN"


def read_patient(reader: Reader, segments: list[Segment] | None = None) -> PatientFacts:
    """The patient. `segments`: whose Z segments are kept with it. Raises InvalidRequestError where nobody is named."""
    first = _patient_number(reader, "patient_id")
    if first is None:
        raise InvalidRequestError(
            told(
                "The message has no patient identifier: {places} say none. If the sender has it elsewhere, change patient_id "
                "in the mapping of the feed.",
                places=_places(reader, "patient_id"),
            )
        )
    others = reader.identifiers("other_patient_ids", "patient", _RECORD)
    known = {(first.value, first.authority)}
    identifiers = [first]
    for one in others:
        if (one.value, one.authority) not in known:
            known.add((one.value, one.authority))
            identifiers.append(one)
    details = reader.details(Part.PATIENT)
    if segments is not None:
        details.update(reader.kept(segments))
    return PatientFacts(
        tuple(identifiers),
        reader.value("patient_name"),
        reader.value("birth_date"),
        reader.value("sex"),
        reader.names("other_names"),
        details,
    )


def prior_patient(reader: Reader) -> Identifier | None:
    """Who was another one (MRG-1)."""
    return _patient_number(reader, "prior_patient_id")


def required_prior_patient(reader: Reader) -> Identifier:
    """Who was another one. Raises InvalidRequestError where nobody is named."""
    found = prior_patient(reader)
    if found is None:
        raise InvalidRequestError(
            told("The message does not say which patient it was: {places} say none.",
                 places=_places(reader, "prior_patient_id"))
        )  # fmt: skip
    return found


def read_visit(
    reader: Reader, state: VisitState | None = None, *, discharged_at: str | None = None
) -> VisitFacts | None:
    """The visit, None where no number names one. `discharged_at` stands where the message says none."""
    number = visit_number(reader)
    if number is None:
        if reader.scope.has("PV1"):
            reader.reading.note(told("There is no visit number, so nothing is kept of the visit."))
        return None
    said = reader.value("discharged_at")
    return VisitFacts(
        number,
        state,
        reader.value("patient_class"),
        reader.value("visit_location"),
        reader.value("visit_institution"),
        reader.value("attending"),
        reader.value("visit_referring"),
        reader.value("admitted_at"),
        said if said is not None else discharged_at,
    )


def visit_number(reader: Reader) -> Identifier | None:
    """What the visit is called."""
    return reader.identifier("visit_number", "visit", _VISIT)


def account(reader: Reader) -> Identifier | None:
    """The patient's account (PID-18), which names a visit too."""
    return reader.identifier("account", "visit", _ACCOUNT)


def prior_account(reader: Reader) -> Identifier | None:
    """The account that it was (MRG-3)."""
    return reader.identifier("prior_account", "visit", _ACCOUNT)


def prior_visit_number(reader: Reader) -> Identifier | None:
    """The visit that it was (MRG-5)."""
    return reader.identifier("prior_visit_number", "visit", _VISIT)


def required(found: Identifier | None, reader: Reader, name: str) -> Identifier:
    """`found`. Raises InvalidRequestError, which names the places of the fact, where it is None."""
    if found is None:
        raise InvalidRequestError(
            told("The message does not say {fact}: {places} say nothing.", fact=name, places=_places(reader, name))
        )
    return found


def _patient_number(reader: Reader, name: str) -> Identifier | None:
    return reader.identifier(name, "patient", _RECORD)


def _places(reader: Reader, name: str) -> str:
    return ", ".join(path.text for path in reader.mapping.facts.get(name, ())) or "-"

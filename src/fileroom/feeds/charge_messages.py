"""Messages to who bills: DFT^P03 for a charge, BAR^P01 and P05 for its account (HL7 v2.5.1 chapter 6; IHE RAD-35, RAD-36)."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final

from fileroom.feeds.query_segments import patient_segments
from fileroom.hl7.build import MessageBuilder, Value, hl7_time
from fileroom.hl7.message import Message, parse_message
from fileroom.hl7.values import xcn
from fileroom.worklist.patient_query import PatientFound

SENDER: Final = ("FILEROOM", "FILEROOM")


@dataclass(frozen=True, slots=True)
class Charge:
    """What is billed. Times are DT of the hospital's clock, names PN; empty ones are not known."""

    order: int
    number: int
    """The how manieth charge for the order."""
    is_credit: bool
    code: str
    scheme: str
    meaning: str
    placer: tuple[str, str]
    filler: tuple[str, str]
    """Number and authority."""
    accession: str
    performed_at: str
    performed_by: str
    ordered_by: str
    department: str
    institution: str
    diagnosis: str

    @property
    def transaction(self) -> str:
        """FT1-2: the same of a charge and of what takes it back."""
        return f"{self.order}.{self.number}"


def charge_message(charge: Charge, patient: PatientFound, now: dt.datetime) -> Message:
    """DFT^P03: one charge, or with CR in FT1-6 what takes it back."""
    control = f"FRD{charge.order}{'C' if charge.is_credit else 'D'}{charge.number}"
    builder = _begin("DFT^P03^DFT_P03", control, patient, now)
    common: dict[int, Value] = {1: "SC", 2: charge.placer, 3: charge.filler, 5: "CM"}
    builder.segment("ORC", common)
    service: Value = (charge.code, charge.meaning, charge.scheme)
    builder.segment(
        "OBR",
        {1: "1", 2: charge.placer, 3: charge.filler, 4: service, 7: charge.performed_at, 18: charge.accession},
    )
    financial: dict[int, Value] = {
        1: "1",
        2: charge.transaction,
        4: charge.performed_at or hl7_time(now),
        5: hl7_time(now),
        6: "CR" if charge.is_credit else "CG",
        7: service,
        10: "1",
        13: ("", charge.department) if charge.department else None,
        16: ("", "", "", charge.institution) if charge.institution else None,
        18: patient.visit.patient_class if patient.visit is not None else None,
        19: ("", charge.diagnosis) if charge.diagnosis else None,
        20: tuple(xcn(charge.performed_by)) if charge.performed_by else None,
        21: tuple(xcn(charge.ordered_by)) if charge.ordered_by else None,
        23: charge.filler,
        25: service,
    }
    return parse_message(builder.segment("FT1", financial).build())


def account_message(patient: PatientFound, visit: int, number: int, now: dt.datetime) -> Message:
    """BAR: P01 for an account that is new to the receiver (`number` 1), P05 for one that has changed. `visit`: its row."""
    kind = "BAR^P01^BAR_P01" if number == 1 else "BAR^P05^BAR_P05"
    control = f"B{patient.id:x}V{visit:x}N{number:x}"  # 20 characters at most (v2.5.1 2.15.9.10)
    return parse_message(_begin(kind, control, patient, now).build())


def _begin(kind: str, control_id: str, patient: PatientFound, now: dt.datetime) -> MessageBuilder:
    builder = MessageBuilder().header(kind, control_id=control_id, now=now, sender=SENDER)
    event = kind.split("^")[1]
    builder.segment("EVN", {1: event, 2: hl7_time(now)})
    for name, fields in patient_segments(patient, 1, (), with_visit=True, is_candidate=False):
        if name == "PID" and patient.visit is not None and patient.visit.number:
            fields[18] = (patient.visit.number, "", "", patient.visit.authority)
        builder.segment(name, fields)
    return builder

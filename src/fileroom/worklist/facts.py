"""What is said of patients, visits and orders, in DICOM's forms: names as PN, dates as DA, times as DT, sex as CS.

A field that is None was not said and stays what it is; an empty text takes the value away (HL7 v2.5.1 2.5.3: `""`).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

NO_AUTHORITY = ""
"""Of identifiers whose sender names no assigning authority and has none set for it."""


@dataclass(frozen=True, slots=True)
class Identifier:
    """An identifier with who assigned it (HL7 CX, DICOM Issuer of ...). `kind` is a code of HL7 table 0203."""

    value: str
    authority: str = NO_AUTHORITY
    kind: str = "MR"


@dataclass(frozen=True, slots=True)
class Code:
    """A coded entry (PS3.3 8.8, HL7 CE)."""

    value: str
    scheme: str = ""
    meaning: str = ""


@dataclass(frozen=True, slots=True)
class PatientFacts:
    """A patient. The first identifier is the one that images carry as Patient ID, its authority as Issuer."""

    identifiers: tuple[Identifier, ...]
    name: str | None = None
    birth_date: str | None = None
    sex: str | None = None
    other_names: tuple[str, ...] | None = None
    details: Mapping[str, str] = field(default_factory=dict)
    """By DICOM keyword: PatientAddress, PatientTelephoneNumbers, EthnicGroup, PatientWeight, MedicalAlerts, Allergies ..."""


class VisitState(enum.StrEnum):
    """Visit Status ID (0038,0008)."""

    SCHEDULED = "scheduled"
    ADMITTED = "admitted"
    DISCHARGED = "discharged"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class VisitFacts:
    """A visit (HL7 PV1). Times are DT without an offset: as the hospital's clock says them."""

    number: Identifier
    state: VisitState | None = None
    patient_class: str | None = None
    location: str | None = None
    institution: str | None = None
    attending: str | None = None
    referring: str | None = None
    admitted_at: str | None = None
    discharged_at: str | None = None


class OrderState(enum.StrEnum):
    """The life of an order. The last three are final."""

    SCHEDULED = "scheduled"
    ARRIVED = "arrived"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    DISCONTINUED = "discontinued"

    @property
    def is_final(self) -> bool:
        """No more work is expected."""
        return self in (OrderState.COMPLETED, OrderState.CANCELLED, OrderState.DISCONTINUED)


@dataclass(frozen=True, slots=True)
class StepFacts:
    """A scheduled procedure step (PS3.3 C.4.10). `start` is DT without an offset."""

    step_id: str = ""
    """Empty: given by Fileroom."""
    modality: str | None = None
    station_aets: tuple[str, ...] | None = None
    station_name: str | None = None
    location: str | None = None
    start: str | None = None
    performing_physician: str | None = None
    description: str | None = None
    protocol_codes: tuple[Code, ...] | None = None
    pre_medication: str | None = None
    contrast_agent: str | None = None
    comments: str | None = None


@dataclass(frozen=True, slots=True)
class OrderFacts:
    """An order with its one requested procedure (HL7 ORC and OBR; PS3.3 C.4.11, C.4.12) and its scheduled steps.

    One of `placer`, `filler` and `accession` says which order it is. Orders may share an accession or a study.
    """

    placer: Identifier | None = None
    filler: Identifier | None = None
    accession: Identifier | None = None
    procedure_id: str | None = None
    """Requested Procedure ID (0040,1001)."""
    study_instance_uid: str | None = None
    procedure: Code | None = None
    priority: str | None = None
    """STAT, HIGH, ROUTINE, MEDIUM or LOW (0040,1003)."""
    ordering_physician: str | None = None
    referring_physician: str | None = None
    reason: str | None = None
    clinical_information: str | None = None
    department: str | None = None
    institution: str | None = None
    body_part: str | None = None
    laterality: str | None = None
    transport: str | None = None
    danger: str | None = None
    steps: tuple[StepFacts, ...] | None = None
    details: Mapping[str, str] = field(default_factory=dict)
    """More, by DICOM keyword."""

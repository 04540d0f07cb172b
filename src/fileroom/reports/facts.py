"""What a report says, whatever it came as and whatever is made of it."""

from __future__ import annotations

import datetime as dt
import enum
from dataclasses import dataclass

from fileroom.worklist.facts import Identifier, PatientFacts


class ReportState(enum.StrEnum):
    """The life of a report. A draft is its author's own; what was final becomes corrected, never preliminary again."""

    DRAFT = "draft"
    PRELIMINARY = "preliminary"
    FINAL = "final"
    CORRECTED = "corrected"
    """Final, after a change or an addendum."""
    CANCELLED = "cancelled"

    @property
    def is_signed(self) -> bool:
        """Somebody stands for it."""
        return self in (ReportState.FINAL, ReportState.CORRECTED)


class ReportSource(enum.StrEnum):
    """Where a report comes from; only those of the console can be changed here."""

    CONSOLE = "console"
    HL7 = "hl7"
    DICOM = "dicom"


@dataclass(frozen=True, slots=True)
class ReportSection:
    """A heading (History, Findings, Impression ...; may be empty) and its text, lines apart by newlines."""

    heading: str
    text: str


@dataclass(frozen=True, slots=True)
class Addendum:
    """What was added after signing. `by` is a PN or a login."""

    text: str
    by: str
    at: dt.datetime


@dataclass(frozen=True, slots=True)
class ReportContent:
    """One version's words. Names are PN."""

    sections: tuple[ReportSection, ...] = ()
    addenda: tuple[Addendum, ...] = ()
    document: bytes = b""
    """As received: PDF, CDA or RTF; empty: the sections are all there is."""
    document_type: str = ""
    """application/pdf, text/xml (CDA) or text/rtf."""
    author: str = ""
    signer: str = ""


@dataclass(frozen=True, slots=True)
class PutReport:
    """A change that a message asks for (ORU, MDM): a report is made or has a new version.

    `number` says which report of the feed it is. The study is found by `study_uid`, else by the order (`placer`, `filler`,
    `accession`), else it stays open until the order or the study is there.
    """

    number: str
    state: ReportState
    content: ReportContent
    title: str = ""
    placer: Identifier | None = None
    filler: Identifier | None = None
    accession: Identifier | None = None
    study_uid: str = ""
    patient: PatientFacts | None = None
    reported_at: str = ""
    """DT without an offset, as the sender's clock says it."""
    is_critical: bool = False
    source_name: str = ""
    """The feed; `feeds` says it when the change is applied."""
    is_addendum: bool = False
    """The sections are added to what is there (MDM T06), not put in its place."""

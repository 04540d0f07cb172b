"""How well a study and an order agree, with the reasons; and whether that is enough to match them without a person.

Pure: values in, values out. Points are added up and stand in `POINTS`; what people see is the sum, at most 100. A match by
itself needs `enough` points, a distance of CLOSE to the next candidate, and a patient in whom nothing disagrees: images under
the wrong name are worse than images that wait.
"""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from fileroom.core.errors import told
from fileroom.dicom.matching import normalize_name

SCORE_MAX: Final = 100
CLOSE: Final = 25
"""Less between the first and the second: a person decides. One more agreeing time or modality is no proof."""
FAR_SCORE: Final = 40
"""With less than this an order only happened to be planned at that time; it is shown, but it is no reason."""
NEAR_TIME: Final = dt.timedelta(hours=2)
"""An examination begins at most so long before or after it was planned, most of the time."""
SAME_DAY: Final = dt.timedelta(hours=12)
FAR_TIME: Final = dt.timedelta(days=7)
_UNKNOWN_SEXES: Final = frozenset({"", "O", "U"})
_DATE_CHARS: Final = 8
_TITLE_PARTS: Final = 2
"""Family and given name are compared; middle names, prefixes and suffixes come and go."""
_UMLAUTS: Final = (("ae", "a"), ("oe", "o"), ("ue", "u"))


class Evidence(enum.StrEnum):
    """Something in which a study and an order agree or differ."""

    STUDY_UID = "study_uid"
    PERFORMED_STEP = "performed_step"
    STEP = "step"
    PROCEDURE_ID = "procedure_id"
    ACCESSION = "accession"
    PATIENT_ID = "patient_id"
    PATIENT_NAME = "patient_name"
    BIRTH_DATE = "birth_date"
    SEX = "sex"
    MODALITY = "modality"
    STATION = "station"
    TIME = "time"
    ORDER_STATE = "order_state"
    TAKEN = "taken"


POINTS: Final[dict[Evidence, tuple[int, int]]] = {
    Evidence.STUDY_UID: (100, 0),
    Evidence.PERFORMED_STEP: (90, 0),
    Evidence.ACCESSION: (80, -30),
    Evidence.STEP: (60, -20),
    Evidence.PROCEDURE_ID: (20, -10),
    Evidence.PATIENT_ID: (30, -40),
    Evidence.PATIENT_NAME: (10, -30),
    Evidence.BIRTH_DATE: (10, -30),
    Evidence.SEX: (0, -20),
    Evidence.MODALITY: (15, -30),
    Evidence.STATION: (10, 0),
    Evidence.TIME: (25, -30),
    Evidence.ORDER_STATE: (0, -30),
    Evidence.TAKEN: (0, -30),
}
"""(agrees, differs). An accession number alone is enough; patient, modality and time within two hours are, together."""
SAME_DAY_POINTS: Final = 10
_PATIENT: Final = (Evidence.PATIENT_ID, Evidence.PATIENT_NAME, Evidence.BIRTH_DATE, Evidence.SEX)
_STRONG: Final = (Evidence.STUDY_UID, Evidence.PERFORMED_STEP, Evidence.STEP, Evidence.ACCESSION)
"""What names an order; the first that agrees says how a match was made."""


@dataclass(frozen=True, slots=True)
class RequestSaid:
    """An item of Request Attributes (0040,0275)."""

    step_id: str = ""
    procedure_id: str = ""
    accession: str = ""


@dataclass(frozen=True, slots=True)
class StudySaid:
    """What the images of a study say, corrections applied. Dates are DA, times TM as the index keeps them; empty: nothing."""

    uid: str
    patient_id: str = ""
    issuer: str = ""
    name: str = ""
    birth_date: str = ""
    sex: str = ""
    accession: str = ""
    accession_issuer: str = ""
    date: str = ""
    time: str = ""
    description: str = ""
    referring: str = ""
    modalities: tuple[str, ...] = ()
    stations: tuple[str, ...] = ()
    """Station names and AE titles of whoever sent."""
    requests: tuple[RequestSaid, ...] = ()


@dataclass(frozen=True, slots=True)
class StepSaid:
    """A scheduled step of an order."""

    step_id: str
    modality: str = ""
    stations: tuple[str, ...] = ()
    date: str = ""
    time: str = ""


@dataclass(frozen=True, slots=True)
class PatientSaid:
    """The patient of an order. `identifiers` are (value, authority), the first one is what images carry."""

    identifiers: tuple[tuple[str, str], ...] = ()
    name: str = ""
    birth_date: str = ""
    sex: str = ""
    other_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OrderSaid:
    """An order as matching sees it. `patient` None: it came before its patient."""

    id: int
    patient: PatientSaid | None = None
    study_uid: str = ""
    accession: str = ""
    accession_authority: str = ""
    procedure_id: str = ""
    description: str = ""
    referring: str = ""
    state: str = "scheduled"
    steps: tuple[StepSaid, ...] = ()
    performed_studies: tuple[str, ...] = ()
    """Studies that a performed procedure step of this order names."""
    matched_studies: tuple[str, ...] = ()
    """Studies that have met it already."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing in which both agree, or differ. What one of them does not say is no finding."""

    evidence: Evidence
    agrees: bool
    of_study: str = ""
    of_order: str = ""
    points: int = 0


@dataclass(frozen=True, slots=True)
class Scored:
    """An order that may be the one of a study. `points` may pass 100, so that the first is told from the second."""

    order: OrderSaid
    points: int
    findings: tuple[Finding, ...]

    @property
    def score(self) -> int:
        """0 to 100, for people."""
        return max(0, min(SCORE_MAX, self.points))

    @property
    def how(self) -> str:
        """By what the study was found to be this order's."""
        agreeing = {one.evidence for one in self.findings if one.agrees}
        return next((one.value for one in _STRONG if one in agreeing), "patient_time")

    @property
    def is_named(self) -> bool:
        """The images name the order, one way or another."""
        return self.how != "patient_time"

    @property
    def patient_differences(self) -> tuple[Finding, ...]:
        """In what the patient is another one."""
        return tuple(one for one in self.findings if one.evidence in _PATIENT and not one.agrees)


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a study is in the queue: a code of `REASONS` and what its sentence names."""

    code: str
    values: dict[str, str]


@dataclass(frozen=True, slots=True)
class Decision:
    """What matching makes of a study: it is the order's (`match`), or a person has to look at it (`reasons`)."""

    match: Scored | None = None
    reasons: tuple[Reason, ...] = ()


REASONS: Final[dict[str, str]] = {
    "patient_differs": told("The patient of the order {order} differs: {what}."),
    "close": told("{count} orders fit about equally well."),
    "weak": told("The order that fits best has {score} points of the {enough} that a match by itself needs."),
    "no_patient": told("The order {order} has no patient yet."),
    "ended": told("The order {order} is {state}."),
    "undone": told("The match with the order {order} was undone by a person."),
    "accession_unknown": told("No order has the accession number {accession}."),
    "accession_elsewhere": told("The accession number {accession} is that of another facility: {issuer}."),
    "step_unknown": told("No order has the scheduled step {step}."),
    "patient_unknown": told("The RIS has told of no patient {patient}."),
    "no_patient_id": told("The images have no patient ID."),
    "no_order": told("No order of this patient fits."),
}
"""Why studies wait for a person; message ids."""


def score(study: StudySaid, order: OrderSaid) -> Scored:
    """How well they agree, finding by finding."""
    findings = [one for one in (*_names(study, order), *_patient(study, order), *_work(study, order)) if one]
    return Scored(order, sum(one.points for one in findings), tuple(findings))


def rank(study: StudySaid, orders: Sequence[OrderSaid]) -> list[Scored]:
    """All of them, the best first; of equals the one that is still to be done, then the older one."""
    scored = [score(study, order) for order in orders]
    return sorted(scored, key=lambda one: (-one.points, bool(one.order.matched_studies), one.order.id))


def decide(
    study: StudySaid, ranked: Sequence[Scored], *, enough: int, undone: frozenset[int] = frozenset(), known: bool = True
) -> Decision:
    """Match by itself, or not and why. `undone`: orders from which a person has taken the study away; `known`: the RIS has
    told of the study's patient."""
    if not ranked:
        return Decision(reasons=_nothing(study, known=known))
    best = ranked[0]
    reasons = _against(best, enough, undone)
    rivals = [one for one in ranked[1:] if best.points - one.points < CLOSE and not _same_work(best, one)]
    if rivals and best.points >= enough - CLOSE:
        reasons.append(Reason("close", {"count": str(1 + len(rivals))}))
    if not reasons:
        return Decision(match=best)
    if not best.is_named and best.points < FAR_SCORE:
        return Decision(reasons=_nothing(study, known=known))
    if not best.is_named:
        reasons += _nothing(study, known=known, has_candidates=True)
    return Decision(reasons=tuple(reasons))


def order_name(order: OrderSaid) -> str:
    """What people call an order."""
    return order.accession or order.procedure_id or str(order.id)


def same_name(one: str, other: str) -> bool:
    """Family and given name are the same but for case, accents and ways to write umlauts; a missing part is no difference.

    Groups (alphabetic, ideographic, phonetic) are compared each with its own; one that agrees is enough.
    """
    pairs = list(zip(_groups(one), _groups(other), strict=False))
    both = [(a, b) for a, b in pairs if a.strip("^ ") and b.strip("^ ")]
    return not both or any(_same_group(a, b) for a, b in both)


def moment_of(date: str, time: str) -> dt.datetime | None:
    """A date and time as the index keeps them; None where there is none, or no time of day."""
    try:
        return dt.datetime.strptime(f"{date}{time.split('.')[0][:6]:0<6}", "%Y%m%d%H%M%S")
    except ValueError:
        return None


# --- findings ---


def _found(evidence: Evidence, agrees: bool, of_study: str, of_order: str, points: int | None = None) -> Finding:
    worth = POINTS[evidence][0 if agrees else 1] if points is None else points
    return Finding(evidence, agrees, of_study, of_order, worth)


def _names(study: StudySaid, order: OrderSaid) -> list[Finding | None]:
    """What names an order."""
    found: list[Finding | None] = []
    if study.uid == order.study_uid:
        found.append(_found(Evidence.STUDY_UID, True, study.uid, order.study_uid))
    if study.uid in order.performed_studies:
        found.append(_found(Evidence.PERFORMED_STEP, True, study.uid, order_name(order)))
    accessions = {study.accession, *(one.accession for one in study.requests)} - {""}
    if accessions and order.accession:
        issuers_differ = bool(
            study.accession_issuer and order.accession_authority and study.accession_issuer != order.accession_authority
        )
        agrees = order.accession in accessions and not issuers_differ
        theirs = f"{order.accession} ({order.accession_authority})" if issuers_differ else order.accession
        ours = f"{study.accession} ({study.accession_issuer})" if issuers_differ else ", ".join(sorted(accessions))
        found.append(_found(Evidence.ACCESSION, agrees, ours, theirs))
    steps = {one.step_id for one in order.steps} - {""}
    asked = {one.step_id for one in study.requests} - {""}
    if asked and steps:
        found.append(_found(Evidence.STEP, bool(asked & steps), ", ".join(sorted(asked)), ", ".join(sorted(steps))))
    procedures = {one.procedure_id for one in study.requests} - {""}
    if procedures and order.procedure_id:
        agrees = order.procedure_id in procedures
        found.append(_found(Evidence.PROCEDURE_ID, agrees, ", ".join(sorted(procedures)), order.procedure_id))
    return found


def _patient(study: StudySaid, order: OrderSaid) -> list[Finding | None]:
    patient = order.patient
    if patient is None:
        return []
    found: list[Finding | None] = []
    if study.patient_id and patient.identifiers:
        agrees = any(
            value == study.patient_id and (not study.issuer or not authority or authority == study.issuer)
            for value, authority in patient.identifiers
        )
        value, authority = patient.identifiers[0]
        ours = f"{study.patient_id} ({study.issuer})" if study.issuer else study.patient_id
        theirs = f"{value} ({authority})" if authority else value
        found.append(_found(Evidence.PATIENT_ID, agrees, ours, theirs))
    if study.name.strip("^= ") and patient.name.strip("^= "):
        agrees = any(same_name(study.name, name) for name in (patient.name, *patient.other_names))
        found.append(_found(Evidence.PATIENT_NAME, agrees, study.name, patient.name))
    if study.birth_date and patient.birth_date:
        agrees = study.birth_date == patient.birth_date
        found.append(_found(Evidence.BIRTH_DATE, agrees, study.birth_date, patient.birth_date))
    if not {study.sex, patient.sex} & _UNKNOWN_SEXES:
        found.append(_found(Evidence.SEX, study.sex == patient.sex, study.sex, patient.sex))
    return found


def _work(study: StudySaid, order: OrderSaid) -> list[Finding | None]:
    """What was planned and what was done."""
    found: list[Finding | None] = []
    modalities = {one.modality for one in order.steps} - {""}
    if modalities and study.modalities:
        agrees = bool(modalities & set(study.modalities))
        planned = ", ".join(sorted(modalities))
        found.append(_found(Evidence.MODALITY, agrees, ", ".join(study.modalities), planned))
    stations = {name for one in order.steps for name in one.stations} - {""}
    if stations and stations & set(study.stations):
        common = ", ".join(sorted(stations & set(study.stations)))
        found.append(_found(Evidence.STATION, True, common, common))
    found.append(_time(study, order))
    if _is_over(order, study.uid):
        found.append(_found(Evidence.ORDER_STATE, False, "", order.state))
    others = [uid for uid in order.matched_studies if uid != study.uid]
    if others and study.uid != order.study_uid:
        found.append(_found(Evidence.TAKEN, False, study.uid, others[0]))
    return found


def _is_over(order: OrderSaid, study_uid: str) -> bool:
    """No images are expected of it. What was broken off has the images that were made before."""
    if order.state == "discontinued":
        return study_uid not in order.performed_studies
    return order.state == "cancelled"


def _time(study: StudySaid, order: OrderSaid) -> Finding | None:
    begun = moment_of(study.date, study.time)
    planned = [(moment_of(one.date, one.time), one) for one in order.steps]
    distances = [(abs(begun - when), when, one) for when, one in planned if begun and when]
    if not distances or begun is None:
        return None
    distance, when, step = min(distances, key=lambda one: one[0])
    ours = f"{begun:%Y-%m-%d %H:%M}" if study.time else f"{begun:%Y-%m-%d}"
    theirs = f"{when:%Y-%m-%d %H:%M}" if step.time else f"{when:%Y-%m-%d}"
    if study.time and step.time and distance <= NEAR_TIME:
        return _found(Evidence.TIME, True, ours, theirs)
    if distance <= SAME_DAY or study.date == step.date:
        return _found(Evidence.TIME, True, ours, theirs, SAME_DAY_POINTS)
    if distance >= FAR_TIME:
        return _found(Evidence.TIME, False, ours, theirs)
    return _found(Evidence.TIME, False, ours, theirs, 0)


# --- reasons ---


def _against(best: Scored, enough: int, undone: frozenset[int]) -> list[Reason]:
    name = order_name(best.order)
    reasons: list[Reason] = []
    if best.order.id in undone:
        reasons.append(Reason("undone", {"order": name}))
    is_meant = best.is_named or any(one.evidence is Evidence.PATIENT_ID and one.agrees for one in best.findings)
    if best.patient_differences and is_meant:
        what = "; ".join(
            f"{_readable(one, one.of_study)} / {_readable(one, one.of_order)}" for one in best.patient_differences
        )
        reasons.append(Reason("patient_differs", {"order": name, "what": what}))
    if best.order.patient is None and best.is_named:
        reasons.append(Reason("no_patient", {"order": name}))
    is_performed = any(one.evidence is Evidence.PERFORMED_STEP and one.agrees for one in best.findings)
    if best.order.state == "cancelled" or (best.order.state == "discontinued" and not is_performed):
        reasons.append(Reason("ended", {"order": name, "state": best.order.state}))
    if not reasons and (best.score < enough or best.patient_differences):
        reasons.append(Reason("weak", {"score": str(best.score), "enough": str(enough)}))
    return reasons


def _readable(finding: Finding, text: str) -> str:
    """A value as it stands in a sentence."""
    if finding.evidence is Evidence.PATIENT_NAME:
        return ", ".join(part for part in text.split("=")[0].split("^") if part.strip()) or text
    if finding.evidence is Evidence.BIRTH_DATE and len(text) == _DATE_CHARS:
        return f"{text[:4]}-{text[4:6]}-{text[6:]}"
    return text


def _nothing(study: StudySaid, *, known: bool, has_candidates: bool = False) -> tuple[Reason, ...]:
    reasons: list[Reason] = []
    if study.accession and study.accession_issuer and has_candidates:
        reasons.append(Reason("accession_elsewhere", {"accession": study.accession, "issuer": study.accession_issuer}))
    elif study.accession:
        reasons.append(Reason("accession_unknown", {"accession": study.accession}))
    elif steps := [one.step_id for one in study.requests if one.step_id]:
        reasons.append(Reason("step_unknown", {"step": steps[0]}))
    if not study.patient_id:
        reasons.append(Reason("no_patient_id", {}))
    elif not known:
        reasons.append(Reason("patient_unknown", {"patient": study.patient_id}))
    elif not reasons and not has_candidates:
        reasons.append(Reason("no_order", {}))
    return tuple(reasons)


def _same_work(one: Scored, other: Scored) -> bool:
    """Two orders of one patient that share accession and study are done together: either stands for both."""
    a, b = one.order, other.order
    return bool(a.accession) and a.accession == b.accession and a.study_uid == b.study_uid and a.patient == b.patient


# --- names ---


def _groups(name: str) -> list[str]:
    return [*normalize_name(name).split("="), "", ""][:3]


def _same_group(one: str, other: str) -> bool:
    parts = [(_folded(a), _folded(b)) for a, b in zip(_parts(one), _parts(other), strict=True)]
    return all(not a or not b or a == b for a, b in parts)


def _parts(group: str) -> list[str]:
    return [*(part.strip() for part in group.split("^")), "", ""][:_TITLE_PARTS]


def _folded(part: str) -> str:
    """MUELLER and MÜLLER are one name; blanks, hyphens and apostrophes are written as people like."""
    for long, short in _UMLAUTS:
        part = part.replace(long, short)
    return "".join(letter for letter in part if letter not in " -'.")

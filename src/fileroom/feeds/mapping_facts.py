"""The facts that a mapping can say the places of: what they are called, of what form they are, and whose they are.

Every other fact is called by a DICOM keyword (PatientAddress, MedicalAlerts ...): it becomes a detail of the patient, where
the standard has it there, else of the order.
"""

from __future__ import annotations

import enum
import functools
from dataclasses import dataclass
from typing import Final

from fileroom.core.errors import told
from fileroom.dicom.dictionary import tag_of, vr_of


class Form(enum.StrEnum):
    """How the text at a path is read."""

    TEXT = "text"
    PLACE = "place"
    """PL (2.A.53): point of care, room and bed."""
    ADDRESS = "address"
    """XAD (2.A.85)."""
    DECIMAL = "decimal"
    """DS and IS (PS3.5 6.2)."""
    CODE_STRING = "code string"
    """CS."""
    LINES = "lines"
    """All repetitions of all segments, one a line."""
    NAME = "name"
    """XPN (HL7 v2.5.1 2.A.88) to PN."""
    NAMES = "names"
    PERSON = "person"
    """XCN (2.A.86) to PN."""
    PATIENT_NUMBER = "patient number"
    """CX (2.A.14)."""
    PATIENT_NUMBERS = "patient numbers"
    NUMBER = "number"
    """EI (2.A.28)."""
    DATE = "date"
    TIME = "time"
    CODE = "code"
    """CE, CWE (2.A.13): from the component that the path names: value, meaning, scheme."""
    CODES = "codes"
    UID = "UID"
    AE_TITLES = "AE titles"
    CONTROL = "order control"
    """As it stands; the mapping's table says what it asks for."""
    STATE = "state"
    """One of the order's, by the mapping's table; what is not in it is not said."""
    REPORT_STATE = "report state"
    """One of the report's, by the mapping's table."""
    PRIORITY = "priority"
    SEX = "sex"
    MODALITY = "modality"


class Part(enum.StrEnum):
    """Whose fact it is."""

    PATIENT = "patient"
    PRIOR = "prior"
    """What a merge or move takes away from."""
    VISIT = "visit"
    ORDER = "order"
    STEP = "step"
    REPORT = "report"


@dataclass(frozen=True, slots=True)
class Fact:
    """`words` is what people call it."""

    name: str
    part: Part
    form: Form
    words: str


_HOUSE: Final = (
    Fact("patient_id", Part.PATIENT, Form.PATIENT_NUMBER, told("Patient ID")),
    Fact("other_patient_ids", Part.PATIENT, Form.PATIENT_NUMBERS, told("Other patient IDs")),
    Fact("patient_name", Part.PATIENT, Form.NAME, told("Patient's name")),
    Fact("other_names", Part.PATIENT, Form.NAMES, told("Other names")),
    Fact("birth_date", Part.PATIENT, Form.DATE, told("Birth date")),
    Fact("sex", Part.PATIENT, Form.SEX, told("Sex")),
    Fact("prior_patient_id", Part.PRIOR, Form.PATIENT_NUMBER, told("Former patient ID")),
    Fact("prior_account", Part.PRIOR, Form.PATIENT_NUMBER, told("Former account number")),
    Fact("prior_visit_number", Part.PRIOR, Form.PATIENT_NUMBER, told("Former visit number")),
    Fact("account", Part.VISIT, Form.PATIENT_NUMBER, told("Account number")),
    Fact("visit_number", Part.VISIT, Form.PATIENT_NUMBER, told("Visit number")),
    Fact("patient_class", Part.VISIT, Form.TEXT, told("Patient class")),
    Fact("visit_location", Part.VISIT, Form.PLACE, told("Ward and bed")),
    Fact("visit_institution", Part.VISIT, Form.TEXT, told("Institution of the visit")),
    Fact("attending", Part.VISIT, Form.PERSON, told("Attending physician")),
    Fact("visit_referring", Part.VISIT, Form.PERSON, told("Referring physician of the visit")),
    Fact("admitted_at", Part.VISIT, Form.TIME, told("Admitted at")),
    Fact("discharged_at", Part.VISIT, Form.TIME, told("Discharged at")),
    Fact("control", Part.ORDER, Form.CONTROL, told("Order control")),
    Fact("state", Part.ORDER, Form.STATE, told("State of the order")),
    Fact("placer", Part.ORDER, Form.NUMBER, told("Placer order number")),
    Fact("filler", Part.ORDER, Form.NUMBER, told("Filler order number")),
    Fact("accession", Part.ORDER, Form.NUMBER, told("Accession number")),
    Fact("procedure_id", Part.ORDER, Form.TEXT, told("Requested procedure ID")),
    Fact("study_uid", Part.ORDER, Form.UID, told("Study Instance UID")),
    Fact("procedure", Part.ORDER, Form.CODE, told("Procedure")),
    Fact("priority", Part.ORDER, Form.PRIORITY, told("Priority")),
    Fact("ordering_physician", Part.ORDER, Form.PERSON, told("Ordering physician")),
    Fact("referring_physician", Part.ORDER, Form.PERSON, told("Referring physician")),
    Fact("reason", Part.ORDER, Form.TEXT, told("Reason")),
    Fact("clinical_information", Part.ORDER, Form.LINES, told("Clinical information")),
    Fact("department", Part.ORDER, Form.TEXT, told("Department")),
    Fact("institution", Part.ORDER, Form.TEXT, told("Institution")),
    Fact("body_part", Part.ORDER, Form.TEXT, told("Body part")),
    Fact("laterality", Part.ORDER, Form.TEXT, told("Laterality")),
    Fact("transport", Part.ORDER, Form.TEXT, told("Transport")),
    Fact("danger", Part.ORDER, Form.TEXT, told("Danger")),
    Fact("step_id", Part.STEP, Form.TEXT, told("Scheduled step ID")),
    Fact("modality", Part.STEP, Form.MODALITY, told("Modality")),
    Fact("station_aets", Part.STEP, Form.AE_TITLES, told("AE titles of the station")),
    Fact("station_name", Part.STEP, Form.TEXT, told("Station name")),
    Fact("step_location", Part.STEP, Form.PLACE, told("Room")),
    Fact("start", Part.STEP, Form.TIME, told("Start")),
    Fact("performing_physician", Part.STEP, Form.PERSON, told("Performing physician")),
    Fact("step_description", Part.STEP, Form.TEXT, told("Description of the step")),
    Fact("protocol_codes", Part.STEP, Form.CODES, told("Protocol codes")),
    Fact("pre_medication", Part.STEP, Form.TEXT, told("Pre-medication")),
    Fact("contrast_agent", Part.STEP, Form.TEXT, told("Contrast agent")),
    Fact("comments", Part.STEP, Form.LINES, told("Comments")),
    Fact("report_number", Part.REPORT, Form.NUMBER, told("Number of the report")),
    Fact("parent_number", Part.REPORT, Form.NUMBER, told("Number of the report that is added to or replaced")),
    Fact("report_placer", Part.REPORT, Form.NUMBER, told("Placer order number, of a document")),
    Fact("report_filler", Part.REPORT, Form.NUMBER, told("Filler order number, of a document")),
    Fact("report_accession", Part.REPORT, Form.NUMBER, told("Accession number, of a document")),
    Fact("report_study", Part.REPORT, Form.UID, told("Study Instance UID, of a report")),
    Fact("report_title", Part.REPORT, Form.TEXT, told("Title of the report")),
    Fact("report_state", Part.REPORT, Form.REPORT_STATE, told("State of the report")),
    Fact("report_withdrawn", Part.REPORT, Form.REPORT_STATE, told("Withdrawn report")),
    Fact("report_author", Part.REPORT, Form.PERSON, told("Author of the report")),
    Fact("report_signer", Part.REPORT, Form.PERSON, told("Who signed the report")),
    Fact("reported_at", Part.REPORT, Form.TIME, told("Time of the report")),
    Fact("section", Part.REPORT, Form.TEXT, told("Section of the report")),
    Fact("critical", Part.REPORT, Form.TEXT, told("Critical finding")),
)
FACTS: Final = {one.name: one for one in _HOUSE}
_SAME_AS: Final = {
    "PatientID": "patient_id",
    "PatientName": "patient_name",
    "PatientBirthDate": "birth_date",
    "PatientSex": "sex",
    "OtherPatientIDs": "other_patient_ids",
    "OtherPatientNames": "other_names",
    "AccessionNumber": "accession",
    "StudyInstanceUID": "study_uid",
    "RequestedProcedureID": "procedure_id",
    "RequestedProcedureDescription": "procedure",
    "RequestedProcedurePriority": "priority",
    "ReferringPhysicianName": "referring_physician",
    "RequestingPhysician": "ordering_physician",
    "RequestingService": "department",
    "ReasonForTheRequestedProcedure": "reason",
    "AdmissionID": "visit_number",
    "CurrentPatientLocation": "visit_location",
    "PatientTransportArrangements": "transport",
    "Modality": "modality",
    "ScheduledStationAETitle": "station_aets",
    "ScheduledStationName": "station_name",
    "ScheduledProcedureStepID": "step_id",
    "ScheduledProcedureStepLocation": "step_location",
    "ScheduledProcedureStepDescription": "step_description",
    "ScheduledPerformingPhysicianName": "performing_physician",
}
_OF_THE_PATIENT: Final = frozenset({0x00380050, 0x00380500, 0x00403001})
"""Special Needs, Patient State, confidentiality: of the patient, though outside of group 0010 (PS3.3 C.7.1.1, C.2.4)."""
_ADDRESSES: Final = frozenset({"PatientAddress", "ReferringPhysicianAddress", "InstitutionAddress"})
_FORM_OF: Final = {
    **dict.fromkeys(("LO", "SH", "UC"), Form.TEXT),
    **dict.fromkeys(("LT", "ST", "UT"), Form.LINES),
    **dict.fromkeys(("DS", "IS"), Form.DECIMAL),
    "CS": Form.CODE_STRING,
    "DA": Form.DATE,
    "DT": Form.TIME,
}


@functools.lru_cache(maxsize=512)
def fact_named(name: str) -> Fact | None:
    """The fact of this name; a detail for a DICOM keyword of a text, a name, a date or a time; None where there is none."""
    if name in FACTS:
        return FACTS[name]
    tag = tag_of(name)
    if tag is None or name in _SAME_AS:
        return None
    vr = vr_of(tag)
    is_of_patient = tag >> 16 == 0x0010 or tag in _OF_THE_PATIENT
    name_form = Form.NAME if is_of_patient else Form.PERSON
    form = name_form if vr == "PN" else Form.ADDRESS if name in _ADDRESSES else _FORM_OF.get(vr)
    if form is None:
        return None
    return Fact(name, Part.PATIENT if is_of_patient else Part.ORDER, form, name)


def house_name(keyword: str) -> str:
    """What the house calls the fact of a DICOM keyword, empty where the keyword is right."""
    return _SAME_AS.get(keyword, "")

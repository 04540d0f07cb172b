"""The attributes of the Modality Worklist information model (PS3.4 table K.6-1): how each is matched, and what is returned.

One table. An attribute of the Scheduled Procedure Step Sequence that a modality asks for beside the sequence, or one of the
order inside of it, is understood as meant. Return keys of type 1 are never empty: what the RIS did not say is filled from
what it said elsewhere.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword

from fileroom.dicom.identifier import AnswerElement, AnswerValue
from fileroom.dicom.json_model import JsonObject
from fileroom.dicom.query import AnyOf, EmptyValue, Key, Level, Matching, SequenceItem, SingleValue, Wildcard
from fileroom.index.attributes import Attribute, Kind
from fileroom.index.conditions import Condition, attribute_condition, like_pattern
from fileroom.worklist.step_rows import Step

STEP_SEQUENCE: Final = 0x00400100
_CHARACTER_SET: Final = 0x00080005
_DETACHED_STUDY: Final = "1.2.840.10008.3.1.2.3.1"
"""Detached Study Management, retired: what Referenced Study Sequence has always named the study by."""
_ITEM_CHARS_MAX: Final = 16
_SINGLE_TEXTS: Final = frozenset({"LT", "ST", "UR", "UT"})
_NUMBERS: Final = frozenset({"US", "SS", "UL", "SL", "FL", "FD", "UV", "SV"})
_VISIT_STATES: Final = {"scheduled": "SCHEDULED", "admitted": "ADMITTED", "discharged": "DISCHARGED"}
_STEP_STATES: Final = {
    "scheduled": "SCHEDULED",
    "arrived": "ARRIVED",
    "in_progress": "STARTED",
    "completed": "COMPLETED",
    "discontinued": "DISCONTINUED",
}
"""Scheduled Procedure Step Status (0040,0020), PS3.3 C.4.10."""

Value = Callable[[Step, str], AnswerValue]
"""The value of an attribute, from a step and the AE title that asks."""


@functools.lru_cache(maxsize=1024)
def vr_of(tag: int) -> str:
    """The VR of a tag; LO for one that the dictionary does not have."""
    try:
        return str(dictionary_VR(tag)).split(" or ", 1)[0]
    except KeyError:
        return "LO"


@functools.cache
def _tag(keyword: str) -> int:
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise KeyError(keyword)
    return tag


@dataclass(frozen=True, slots=True)
class StepAttribute:
    """One attribute. `column`: SQL that it is matched on, empty: it is returned only."""

    keyword: str
    value: Value
    kind: Kind = Kind.TEXT
    column: str = ""
    items: Mapping[str, str] = field(default_factory=dict)
    """Of a sequence: the columns of its items' attributes, by keyword."""
    rows: str = ""
    """Of a sequence with several items: SQL that makes a row `code` of each."""

    @property
    def tag(self) -> int:
        """0xGGGGEEEE."""
        return _tag(self.keyword)

    @property
    def vr(self) -> str:
        """The VR of the dictionary (PS3.6)."""
        return vr_of(self.tag)

    @property
    def can_match(self) -> bool:
        """Whether a key of it limits the answers."""
        return bool(self.column or self.items)


@dataclass(frozen=True, slots=True)
class Asked:
    """What shall be returned: a tag and, of a sequence, the tags of its items (empty: all)."""

    tag: int
    vr: str
    items: tuple[Asked, ...] = ()


# --- values ---


def _of(name: str) -> Value:
    """A column of the row as it is."""
    return lambda step, _: str(getattr(step, name))


def _first(*names: str) -> Value:
    """The first that is not empty."""
    return lambda step, _: next((str(text) for name in names if (text := getattr(step, name))), "")


def _detail(keyword: str, *names: str) -> Value:
    """A column or what else the RIS has said, by keyword."""

    def value(step: Step, _: str) -> AnswerValue:
        told = next((str(text) for name in names if (text := getattr(step, name))), "")
        return told or str(step.patient_details.get(keyword) or step.order_details.get(keyword) or "")

    return value


def _code_items(value: str, scheme: str, meaning: str) -> list[JsonObject]:
    if not value:
        return []
    return [json_item({"CodeValue": value, "CodingSchemeDesignator": scheme or "L", "CodeMeaning": meaning or value})]


def _procedure_codes(step: Step, _: str) -> AnswerValue:
    return _code_items(step.procedure_code, step.procedure_scheme, step.procedure_meaning)


def _protocol_codes(step: Step, _: str) -> AnswerValue:
    codes = (
        _code_items(one.get("value", ""), one.get("scheme", ""), one.get("meaning", "")) for one in step.protocol_codes
    )
    return [item for items in codes for item in items]


def _issuer(name: str) -> Value:
    return lambda step, _: [json_item({"LocalNamespaceEntityID": text})] if (text := getattr(step, name)) else []


def _referenced_study(step: Step, _: str) -> AnswerValue:
    item = {"ReferencedSOPClassUID": _DETACHED_STUDY, "ReferencedSOPInstanceUID": step.study_instance_uid}
    return [json_item(item)]


def _stations(step: Step, caller: str) -> AnswerValue:
    return step.stations or caller


def _description(step: Step, _: str) -> AnswerValue:
    """Type 1C: one of description and protocol codes must be there."""
    return step.description or step.procedure_meaning or step.procedure_code or step.modality or step.step_id


def _procedure_id(step: Step, _: str) -> AnswerValue:
    told = step.procedure_id or step.accession_number or step.filler_number or step.placer_number or str(step.order)
    return told[:_ITEM_CHARS_MAX]


def _admitted(part: slice) -> Value:
    return lambda step, _: step.admitted_at[part]


# --- the table ---

_TEXT, _NAME, _UID, _DATE, _TIME = Kind.TEXT, Kind.NAME, Kind.UID, Kind.DATE, Kind.TIME
_CODE_OF_PROCEDURE: Final = {
    "CodeValue": "o.procedure_code",
    "CodingSchemeDesignator": "o.procedure_scheme",
    "CodeMeaning": "o.procedure_meaning",
}
_CODE_OF_ROW: Final = {
    "CodeValue": "(code->>'value')",
    "CodingSchemeDesignator": "(code->>'scheme')",
    "CodeMeaning": "(code->>'meaning')",
}

_STEP_ATTRIBUTES: Final = (
    StepAttribute("ScheduledStationAETitle", _stations, Kind.COMPUTED, "st.station_aets"),
    StepAttribute("ScheduledProcedureStepStartDate", _first("start_date", "ordered_date"), _DATE, "st.start_date"),
    StepAttribute(
        "ScheduledProcedureStepStartTime", lambda step, _: step.start_time or "000000", _TIME, "st.start_time"
    ),
    StepAttribute("Modality", lambda step, _: step.modality or "OT", _TEXT, "st.modality"),
    StepAttribute("ScheduledPerformingPhysicianName", _of("performing_physician"), _NAME, "n.performing_physician"),
    StepAttribute("ScheduledProcedureStepDescription", _description, _TEXT, "st.description"),
    StepAttribute("ScheduledStationName", _of("station_name"), _TEXT, "st.station_name"),
    StepAttribute("ScheduledProcedureStepLocation", _of("step_location"), _TEXT, "st.location"),
    StepAttribute(
        "ScheduledProtocolCodeSequence",
        _protocol_codes,
        Kind.SEQUENCE,
        items=_CODE_OF_ROW,
        rows="jsonb_array_elements(st.protocol_codes) AS code",
    ),
    StepAttribute("PreMedication", _of("pre_medication")),
    StepAttribute("ScheduledProcedureStepID", _of("step_id"), _TEXT, "st.step_id"),
    StepAttribute("RequestedContrastAgent", _of("contrast_agent")),
    StepAttribute("ScheduledProcedureStepStatus", lambda step, _: _STEP_STATES.get(step.state, "")),
    StepAttribute("CommentsOnTheScheduledProcedureStep", _of("comments")),
)
_ORDER_ATTRIBUTES: Final = (
    # Requested procedure
    StepAttribute("RequestedProcedureID", _procedure_id, _TEXT, "o.procedure_id"),
    StepAttribute(
        "RequestedProcedureDescription",
        _first("procedure_meaning", "procedure_code", "description", "modality", "step_id"),
        _TEXT,
        "o.procedure_meaning",
    ),
    StepAttribute("RequestedProcedureCodeSequence", _procedure_codes, Kind.SEQUENCE, items=_CODE_OF_PROCEDURE),
    StepAttribute("StudyInstanceUID", _of("study_instance_uid"), _UID, "o.study_instance_uid"),
    StepAttribute("StudyDate", _first("start_date", "ordered_date"), _DATE, "st.start_date"),
    StepAttribute("StudyTime", _of("start_time"), _TIME, "st.start_time"),
    StepAttribute(
        "ReferencedStudySequence",
        _referenced_study,
        Kind.SEQUENCE,
        items={
            "ReferencedSOPInstanceUID": "o.study_instance_uid",
            "ReferencedSOPClassUID": f"'{_DETACHED_STUDY}'::text",
        },
    ),
    StepAttribute("RequestedProcedurePriority", _of("priority"), _TEXT, "o.priority"),
    StepAttribute("PatientTransportArrangements", _of("transport")),
    StepAttribute("ReasonForTheRequestedProcedure", _of("reason"), _TEXT, "o.reason"),
    StepAttribute("RequestedProcedureComments", _detail("RequestedProcedureComments", "clinical_information")),
    StepAttribute("BodyPartExamined", _of("body_part"), _TEXT, "o.body_part"),
    StepAttribute("Laterality", _of("laterality"), _TEXT, "o.laterality"),
    # Imaging service request
    StepAttribute("AccessionNumber", _of("accession_number"), _TEXT, "o.accession_number"),
    StepAttribute("IssuerOfAccessionNumberSequence", _issuer("accession_authority"), Kind.SEQUENCE),
    StepAttribute("RequestingPhysician", _of("ordering_physician")),
    StepAttribute(
        "ReferringPhysicianName", _first("referring_physician", "visit_referring"), _NAME, "n.referring_physician"
    ),
    StepAttribute("RequestingService", _of("department"), _TEXT, "o.department"),
    StepAttribute("PlacerOrderNumberImagingServiceRequest", _of("placer_number"), _TEXT, "o.placer_number"),
    StepAttribute("FillerOrderNumberImagingServiceRequest", _of("filler_number"), _TEXT, "o.filler_number"),
    StepAttribute("OrderPlacerIdentifierSequence", _issuer("placer_authority"), Kind.SEQUENCE),
    StepAttribute("OrderFillerIdentifierSequence", _issuer("filler_authority"), Kind.SEQUENCE),
    StepAttribute("IssueDateOfImagingServiceRequest", _of("ordered_date")),
    StepAttribute("ImagingServiceRequestComments", _detail("ImagingServiceRequestComments")),
    StepAttribute("ReasonForTheImagingServiceRequest", _of("reason"), _TEXT, "o.reason"),
    StepAttribute("InstitutionName", _first("institution", "visit_institution"), _TEXT, "o.institution"),
    # Visit
    StepAttribute("AdmissionID", _of("visit_number"), _TEXT, "coalesce(v.number, '')"),
    StepAttribute("IssuerOfAdmissionIDSequence", _issuer("visit_authority"), Kind.SEQUENCE),
    StepAttribute("CurrentPatientLocation", _of("visit_location"), _TEXT, "coalesce(v.location, '')"),
    StepAttribute("VisitStatusID", lambda step, _: _VISIT_STATES.get(step.visit_state, "")),
    StepAttribute("AdmittingDate", _admitted(slice(0, 8))),
    StepAttribute("AdmittingTime", _admitted(slice(8, 14))),
    StepAttribute("ReferencedPatientSequence", lambda *_: [], Kind.SEQUENCE),
    # Patient
    StepAttribute("PatientName", _first("patient_name", "patient_id"), _NAME, "p.patient_name"),
    StepAttribute("PatientID", _of("patient_id"), _TEXT, "coalesce(i.value, '')"),
    StepAttribute("IssuerOfPatientID", _of("patient_authority"), _TEXT, "coalesce(i.authority, '')"),
    StepAttribute("OtherPatientIDs", _of("other_patient_ids")),
    StepAttribute("OtherPatientNames", _of("other_names")),
    StepAttribute("PatientBirthDate", _of("birth_date"), _DATE, "p.birth_date"),
    StepAttribute("PatientSex", _of("sex"), _TEXT, "p.sex"),
    StepAttribute("MedicalAlerts", _detail("MedicalAlerts", "danger")),
)

_ALL_OF_STEP: Final = tuple(Asked(one.tag, one.vr) for one in _STEP_ATTRIBUTES)
STEP_ATTRIBUTES: Final = {one.tag: one for one in _STEP_ATTRIBUTES}
ORDER_ATTRIBUTES: Final = {one.tag: one for one in _ORDER_ATTRIBUTES}
START_DATE: Final = _STEP_ATTRIBUTES[1].tag
START_TIME: Final = _STEP_ATTRIBUTES[2].tag


def attribute_of(tag: int, *, in_step: bool) -> StepAttribute | None:
    """The attribute of a tag, looked for first where it was asked for."""
    first, second = (STEP_ATTRIBUTES, ORDER_ATTRIBUTES) if in_step else (ORDER_ATTRIBUTES, STEP_ATTRIBUTES)
    return first.get(tag) or second.get(tag)


def key_condition(attribute: StepAttribute, matching: Matching, *, fuzzy: bool) -> Condition:
    """A step fits one key. Raises InvalidRequestError for values that cannot be meant."""
    if isinstance(matching, SequenceItem):
        inner = Condition.all_of(_item_condition(attribute, key) for key in matching.keys)
        if not attribute.rows or not inner.text:
            return inner
        return Condition(f"EXISTS (SELECT 1 FROM {attribute.rows} WHERE {inner.text})", inner.parameters)
    if isinstance(matching, EmptyValue) and attribute.kind is not Kind.COMPUTED:
        column = f"{attribute.column}_key" if attribute.column.startswith("n.") else attribute.column
        return Condition(f"coalesce({column}, '') = ''")
    if attribute.column.startswith("coalesce"):
        return _with_plain_column(attribute, matching)
    indexed = Attribute(attribute.keyword, Level.STUDY, attribute.kind)
    return attribute_condition(indexed, attribute.column, matching, fuzzy=fuzzy)


def unmatched_keys(attribute: StepAttribute | None, matching: Matching) -> bool:
    """Whether a key, or one in its item, limits nothing here."""
    if attribute is None or not attribute.can_match:
        return True
    if isinstance(matching, SequenceItem):
        return any((keyword_for_tag(key.tag) or "") not in attribute.items for key in matching.keys)
    return False


# --- answers ---


def answer_elements(step: Step, asked: Sequence[Asked], caller: str) -> list[AnswerElement]:
    """What is returned of a step: every attribute that was asked for, empty where there is nothing to say."""
    return [_element(step, one, caller) for one in asked if one.tag != _CHARACTER_SET]


def json_item(texts: Mapping[str, str]) -> JsonObject:
    """An item of a sequence as DICOM JSON, from texts by keyword."""
    found = {}
    for keyword, text in texts.items():
        tag = _tag(keyword)
        found[f"{tag:08X}"] = _json_element(vr_of(tag), text)
    return found


def stored_text(attribute: StepAttribute, step: Step, caller: str) -> str:
    """What a step has, for people; of items of codes their values."""
    value = attribute.value(step, caller)
    if not isinstance(value, list):
        return str(value if value is not None else "")
    first = ("00080100", "00081155")
    texts = [str(item[tag]["Value"][0]) for item in value if isinstance(item, dict) for tag in first if tag in item]
    return ", ".join(texts)


def _element(step: Step, asked: Asked, caller: str) -> AnswerElement:
    if asked.tag == STEP_SEQUENCE:
        return AnswerElement(STEP_SEQUENCE, "SQ", [_step_item(step, asked.items, caller)])
    attribute = attribute_of(asked.tag, in_step=False)
    return _said(asked, attribute.value(step, caller) if attribute else _unlisted(step, asked.tag))


def _step_item(step: Step, asked: Sequence[Asked], caller: str) -> JsonObject:
    """The item of the sequence; all of it where nothing of it was named (PS3.4 C.2.2.2.6)."""
    wanted = asked or _ALL_OF_STEP
    item: JsonObject = {}
    for one in sorted(wanted, key=lambda each: each.tag):
        attribute = attribute_of(one.tag, in_step=True)
        said = _said(one, attribute.value(step, caller) if attribute else _unlisted(step, one.tag))
        if isinstance(said.value, list):
            item[f"{one.tag:08X}"] = {"vr": "SQ", "Value": said.value} if said.value else {"vr": "SQ"}
        else:
            item[f"{one.tag:08X}"] = _json_element(said.vr, str(said.value or ""))
    return item


def _said(asked: Asked, value: AnswerValue) -> AnswerElement:
    """With the VR that the dictionary gives; a number that is none is left out."""
    vr = "SQ" if isinstance(value, list) else _vr_to_say(asked.tag, asked.vr)
    if vr == "SQ" and not isinstance(value, list):
        return AnswerElement(asked.tag, "SQ", [])
    if vr in _NUMBERS and not str(value or "").isdigit():
        return AnswerElement(asked.tag, vr, "")
    return AnswerElement(asked.tag, vr, value)


@functools.lru_cache(maxsize=1024)
def _vr_to_say(tag: int, asked: str) -> str:
    return vr_of(tag) if keyword_for_tag(tag) else asked


def _unlisted(step: Step, tag: int) -> AnswerValue:
    """Of an attribute that is not in the table: what the RIS has said by its keyword."""
    keyword = keyword_for_tag(tag)
    return str(step.patient_details.get(keyword) or step.order_details.get(keyword) or "") if keyword else ""


def _json_element(vr: str, text: str) -> JsonObject:
    if not text:
        return {"vr": vr}
    values = [text] if vr in _SINGLE_TEXTS else text.split("\\")
    if vr == "PN":
        groups = ("Alphabetic", "Ideographic", "Phonetic")
        return {
            "vr": vr,
            "Value": [
                {group: part for group, part in zip(groups, one.split("="), strict=False) if part} for one in values
            ],
        }
    return {"vr": vr, "Value": [int(one) for one in values] if vr in _NUMBERS else values}


# --- conditions ---


def _item_condition(attribute: StepAttribute, key: Key) -> Condition:
    column = attribute.items.get(keyword_for_tag(key.tag) or "")
    if column is None:
        return Condition()
    if isinstance(key.matching, EmptyValue):
        return Condition(f"coalesce({column}, '') = ''")
    return _plain(column, key.matching)


def _with_plain_column(attribute: StepAttribute, matching: Matching) -> Condition:
    """`coalesce(i.value, '') = 'X'` would keep an index from being used; a value is never null where it matches."""
    inner = attribute.column.removeprefix("coalesce(").removesuffix(", '')")
    return _plain(inner, matching)


def _plain(column: str, matching: Matching) -> Condition:
    if isinstance(matching, SingleValue):
        return Condition(f"{column} = %s", (matching.value,))
    if isinstance(matching, Wildcard):
        return Condition(f"{column} LIKE %s", (like_pattern(matching.pattern),))
    if isinstance(matching, AnyOf):
        return Condition.any_of(
            Condition(f"{column} LIKE %s", (like_pattern(one),))
            if "*" in one or "?" in one
            else Condition(f"{column} = %s", (one,))
            for one in matching.values
        )
    return Condition()

"""A scheduled procedure step as the worklist needs it: the step with its order, patient and visit, in one row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Step:
    """One row, its fields in the order of COLUMNS. Texts are in DICOM's forms, empty where nobody said anything; several
    values stand apart by backslashes; codes are {"value", "scheme", "meaning"}."""

    id: int
    step_id: str
    modality: str
    stations: str
    station_name: str
    step_location: str
    start_date: str
    start_time: str
    performing_physician: str
    description: str
    protocol_codes: Sequence[Mapping[str, str]]
    pre_medication: str
    contrast_agent: str
    comments: str
    state: str
    order: int
    order_state: str
    placer_number: str
    placer_authority: str
    filler_number: str
    filler_authority: str
    accession_number: str
    accession_authority: str
    procedure_id: str
    study_instance_uid: str
    procedure_code: str
    procedure_scheme: str
    procedure_meaning: str
    priority: str
    ordering_physician: str
    referring_physician: str
    reason: str
    clinical_information: str
    department: str
    institution: str
    body_part: str
    laterality: str
    transport: str
    danger: str
    order_details: Mapping[str, str]
    ordered_date: str
    patient: int
    patient_name: str
    birth_date: str
    sex: str
    other_names: str
    patient_details: Mapping[str, str]
    patient_id: str
    patient_authority: str
    other_patient_ids: str
    visit_number: str
    visit_authority: str
    visit_state: str
    patient_class: str
    visit_location: str
    visit_institution: str
    attending: str
    visit_referring: str
    admitted_at: str

    @property
    def station_aets(self) -> tuple[str, ...]:
        """The AE titles of the stations that it is scheduled for."""
        return tuple(self.stations.split("\\")) if self.stations else ()


COLUMNS: Final = r"""st.id, st.step_id, st.modality, array_to_string(st.station_aets, '\') AS stations,
    st.station_name, st.location AS step_location,
    st.start_date, st.start_time, st.performing_physician, st.description, st.protocol_codes, st.pre_medication,
    st.contrast_agent, st.comments, st.state,
    o.id AS "order", o.state AS order_state, o.placer_number, o.placer_authority, o.filler_number, o.filler_authority,
    o.accession_number, o.accession_authority, o.procedure_id, o.study_instance_uid, o.procedure_code, o.procedure_scheme,
    o.procedure_meaning, o.priority, o.ordering_physician, o.referring_physician, o.reason, o.clinical_information,
    o.department, o.institution, o.body_part, o.laterality, o.transport, o.danger, o.details AS order_details,
    to_char(o.ordered_at, 'YYYYMMDD') AS ordered_date,
    p.id AS patient, p.patient_name, p.birth_date, p.sex, array_to_string(p.other_names, '\') AS other_names,
    p.details AS patient_details,
    coalesce(i.value, '') AS patient_id, coalesce(i.authority, '') AS patient_authority,
    (SELECT coalesce(string_agg(x.value, '\' ORDER BY x.id), '') FROM patient_identifier x
        WHERE x.patient = p.id AND NOT x.is_first AND x.kind IN ('MR', 'PI')) AS other_patient_ids,
    coalesce(v.number, '') AS visit_number, coalesce(v.authority, '') AS visit_authority,
    coalesce(v.state, '') AS visit_state, coalesce(v.patient_class, '') AS patient_class,
    coalesce(v.location, '') AS visit_location, coalesce(v.institution, '') AS visit_institution,
    coalesce(v.attending, '') AS attending, coalesce(v.referring, '') AS visit_referring,
    coalesce(v.admitted_at, '') AS admitted_at"""

TABLES: Final = """scheduled_step st JOIN imaging_order o ON o.id = st.imaging_order AND o.placed
    JOIN registered_patient p ON p.id = o.patient
    LEFT JOIN patient_identifier i ON i.patient = p.id AND i.is_first
    LEFT JOIN visit v ON v.id = o.visit
    CROSS JOIN LATERAL (SELECT
        split_part(st.performing_physician_key, '=', 1) AS performing_physician_key,
        CASE WHEN strpos(st.performing_physician_key, '=') > 0 THEN
            substr(st.performing_physician_key, strpos(st.performing_physician_key, '=')) || '=' END
            AS performing_physician_other_keys,
        split_part(o.referring_physician_key, '=', 1) AS referring_physician_key,
        CASE WHEN strpos(o.referring_physician_key, '=') > 0 THEN
            substr(o.referring_physician_key, strpos(o.referring_physician_key, '=')) || '=' END
            AS referring_physician_other_keys) n"""
"""An order without a patient is on no worklist: nobody could be examined for it. Nor is one that was never placed."""

ORDER: Final = "st.start_date, st.start_time, st.id"


def step_of(row: Sequence[Any]) -> Step:
    """A row of COLUMNS."""
    return Step(*row)

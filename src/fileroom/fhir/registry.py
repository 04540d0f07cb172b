"""The kinds of resources that can be searched, by name."""

from __future__ import annotations

from typing import Final

from fileroom.fhir.audit_events import AUDIT_EVENT
from fileroom.fhir.diagnostic_reports import DIAGNOSTIC_REPORT
from fileroom.fhir.endpoints import ENDPOINT
from fileroom.fhir.imaging_studies import IMAGING_STUDY
from fileroom.fhir.kinds import Kind
from fileroom.fhir.patients import PATIENT
from fileroom.fhir.service_requests import SERVICE_REQUEST

KINDS: Final[dict[str, Kind]] = {
    kind.name: kind for kind in (PATIENT, SERVICE_REQUEST, IMAGING_STUDY, DIAGNOSTIC_REPORT, ENDPOINT, AUDIT_EVENT)
}

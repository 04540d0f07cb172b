"""Resources as JSON: what the archive and the RIS side know, in the words of FHIR R4. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from fileroom.dicom.normal_forms import normalize_time
from fileroom.index.attributes import BY_KEYWORD
from fileroom.index.search import Answer as Found
from fileroom.worklist.facts import OrderState
from fileroom.worklist.order_rows import Order
from fileroom.worklist.patient_search import PatientDetail, PatientIdentifier

Resource = dict[str, Any]

DICOM_UID: Final = "urn:dicom:uid"
DICOM_MODALITY: Final = "http://dicom.nema.org/resources/ontology/DCM"
_TERMINOLOGY: Final = "http://terminology.hl7.org/CodeSystem"
_GENDERS: Final = {"F": "female", "M": "male", "O": "other"}
_STATUS: Final = {
    OrderState.SCHEDULED: "active",
    OrderState.ARRIVED: "active",
    OrderState.IN_PROGRESS: "active",
    OrderState.COMPLETED: "completed",
    OrderState.CANCELLED: "revoked",
    OrderState.DISCONTINUED: "revoked",
}
_PRIORITY: Final = {"STAT": "stat", "HIGH": "urgent", "ROUTINE": "routine", "MEDIUM": "routine", "LOW": "routine"}


class Writer:
    """Writes resources for one request. `base` is the root of FHIR, `dicomweb` that of DICOMweb, as the client knows them;
    `zone` is the hospital's, for times of its clock."""

    def __init__(self, base: str, dicomweb: str, zone: dt.tzinfo | None) -> None:
        self._base, self._dicomweb, self._zone = base, dicomweb, zone

    def authority(self, name: str) -> str:
        """The system of identifiers that an assigning authority gives."""
        return f"{self._base}/authority/{quote(name, safe='')}"

    def patient(self, patient: PatientDetail) -> Resource:
        """A patient of the RIS."""
        links = (
            [{"other": _reference("Patient", patient.merged_into), "type": "replaced-by"}]
            if patient.merged_into
            else []
        )
        links += [
            {"other": _reference("Patient", merge.retired), "type": "replaces"}
            for merge in patient.merges
            if merge.survivor == patient.id and merge.revoked_at is None
        ]
        return _filled(
            resourceType="Patient",
            id=str(patient.id),
            meta={"versionId": str(patient.version), "lastUpdated": _instant(patient.changed_at)},
            active=patient.merged_into is None,
            identifier=[self._identifier(one) for one in patient.identifiers],
            name=[human_name(name) for name in (patient.patient_name, *patient.other_names) if name],
            gender=_GENDERS.get(patient.sex, "unknown"),
            birthDate=day(patient.birth_date),
            link=links,
        )

    def service_request(self, order: Order) -> Resource:
        """An order with its requested procedure."""
        start = next((step for step in order.steps if step.start_date), None)
        identifiers = (
            ("PLAC", order.placer_number, order.placer_authority),
            ("FILL", order.filler_number, order.filler_authority),
            ("ACSN", order.accession_number, order.accession_authority),
        )
        return _filled(
            resourceType="ServiceRequest",
            id=str(order.id),
            meta={"versionId": str(order.version)},
            identifier=[self._numbered(kind, value, authority) for kind, value, authority in identifiers if value],
            status=_STATUS[order.state],
            intent="order",
            category=[
                {"coding": [{"system": "http://snomed.info/sct", "code": "363679005", "display": "Imaging"}]},
            ],
            priority=_PRIORITY.get(order.priority, "routine"),
            code=_concept(order.procedure_code, order.procedure_scheme, order.procedure_meaning),
            subject=self._subject(order.patient, order.patient_id),
            occurrenceDateTime=self.moment(start.start_date, start.start_time) if start else None,
            requester=_named(order.ordering_physician),
            reasonCode=[{"text": order.reason}] if order.reason else [],
            bodySite=[{"text": order.body_part}] if order.body_part else [],
        )

    def imaging_study(self, study: Found, series: Sequence[Found], order: int | None, patient: int | None) -> Resource:
        """A study of the archive with its series; `order` and `patient` are rows of the RIS side, where they are known."""
        uid = study.study_instance_uid or ""
        text = _texts(study)
        identifiers: list[Resource] = [{"use": "official", "system": DICOM_UID, "value": f"urn:oid:{uid}"}]
        if text("AccessionNumber"):
            identifiers.append(self._numbered("ACSN", text("AccessionNumber"), ""))
        return _filled(
            resourceType="ImagingStudy",
            id=uid,
            identifier=identifiers,
            status="available",
            modality=[_modality(one) for one in _values(study, "ModalitiesInStudy")],
            subject=self._subject(patient, text("PatientID"), text("IssuerOfPatientID"), text("PatientName")),
            started=self.moment(text("StudyDate"), text("StudyTime")),
            basedOn=[_reference("ServiceRequest", order)] if order else [],
            referrer=_named(text("ReferringPhysicianName")),
            endpoint=[_reference("Endpoint", "dicomweb")],
            numberOfSeries=_count(study, "NumberOfStudyRelatedSeries"),
            numberOfInstances=_count(study, "NumberOfStudyRelatedInstances"),
            description=text("StudyDescription") or None,
            series=[self._series(one) for one in series],
        )

    def endpoint(self) -> Resource:
        """Where the images are."""
        return {
            "resourceType": "Endpoint",
            "id": "dicomweb",
            "status": "active",
            "connectionType": {"system": f"{_TERMINOLOGY}/endpoint-connection-type", "code": "dicom-wado-rs"},
            "name": "DICOMweb",
            "payloadType": [{"text": "DICOM"}],
            "payloadMimeType": ["application/dicom", "application/dicom+json"],
            "address": self._dicomweb,
        }

    def moment(self, date: str, time: str) -> str | None:
        """A FHIR dateTime of DA and TM; the day alone where there is no time."""
        written = day(date)
        if not written:
            return None
        digits = (normalize_time(time) or "")[:6] if time else ""
        if len(digits) < 4:
            return written
        try:
            naive = dt.datetime.strptime(f"{date[:8]}{digits.ljust(6, '0')}", "%Y%m%d%H%M%S")
        except ValueError:
            return written
        aware = naive.replace(tzinfo=self._zone) if self._zone else naive.astimezone()
        return aware.isoformat(timespec="seconds")

    def _series(self, series: Found) -> Resource:
        text = _texts(series)
        number = text("SeriesNumber")
        return _filled(
            uid=series.series_instance_uid,
            number=int(number) if number.isdigit() else None,
            modality=_modality(text("Modality") or "OT"),
            description=text("SeriesDescription") or None,
            numberOfInstances=_count(series, "NumberOfSeriesRelatedInstances"),
            bodySite={"display": text("BodyPartExamined")} if text("BodyPartExamined") else None,
            started=self.moment(text("SeriesDate"), text("SeriesTime")),
        )

    def _subject(self, patient: int | None, patient_id: str, issuer: str = "", name: str = "") -> Resource:
        """Who it is about: a resource where there is one, else by the identifier alone."""
        subject = _reference("Patient", patient) if patient else {}
        if patient_id:
            identifier = {"value": patient_id}
            subject["identifier"] = {"system": self.authority(issuer), **identifier} if issuer else identifier
        if name:
            subject["display"] = human_name(name)["text"]
        return subject or {"display": "unknown"}

    def _identifier(self, one: PatientIdentifier) -> Resource:
        made = self._numbered(one.kind, one.value, one.authority)
        return {"use": "old" if one.retired else "usual" if one.is_first else "secondary", **made}

    def _numbered(self, kind: str, value: str, authority: str) -> Resource:
        coding = {"system": f"{_TERMINOLOGY}/v2-0203", "code": kind}
        return _filled(
            type={"coding": [coding]} if kind else None,
            system=self.authority(authority) if authority else None,
            value=value,
            assigner={"display": authority} if authority else None,
        )


def human_name(name: str) -> Resource:
    """A name of VR PN (PS3.5 6.2): its alphabetic group, else the first one that says something."""
    group = next((one for one in name.split("=") if one.strip("^ ")), "")
    family, given, middle, prefix, suffix = (part.strip() for part in (group.split("^") + [""] * 5)[:5])
    return _filled(
        text=" ".join(one for one in (prefix, given, middle, family, suffix) if one),
        family=family or None,
        given=[one for one in (given, middle) if one],
        prefix=[prefix] if prefix else [],
        suffix=[suffix] if suffix else [],
    )


def day(date: str) -> str | None:
    """A FHIR date of DA; None where it is none."""
    try:
        return dt.datetime.strptime(date, "%Y%m%d").date().isoformat() if len(date) == 8 else None
    except ValueError:
        return None


def _instant(moment: dt.datetime) -> str:
    return moment.astimezone(dt.UTC).isoformat(timespec="milliseconds")


def _filled(**elements: Any) -> Resource:
    """Without those that say nothing: FHIR has no empty elements."""
    return {key: value for key, value in elements.items() if value is not None and value not in ([], {}, "")}


def _reference(kind: str, number: object) -> Resource:
    return {"reference": f"{kind}/{number}"}


def _named(name: str) -> Resource | None:
    return {"display": human_name(name)["text"]} if name.strip("^= ") else None


def _modality(code: str) -> Resource:
    return {"system": DICOM_MODALITY, "code": code}


def _concept(code: str, scheme: str, meaning: str) -> Resource | None:
    coding = _filled(system=f"urn:x-fileroom:scheme:{quote(scheme)}" if scheme else None, code=code, display=meaning)
    return _filled(coding=[coding] if code else [], text=meaning or code) or None


def _texts(found: Found) -> Any:
    return lambda keyword: "\\".join(_values(found, keyword))


def _values(found: Found, keyword: str) -> list[str]:
    value: object = found.values.get(BY_KEYWORD[keyword].tag)
    if value is None or value == "":
        return []
    if isinstance(value, str) or not isinstance(value, Sequence | Mapping):
        return [str(value)]
    return [str(one) for one in value]


def _count(found: Found, keyword: str) -> int | None:
    values = _values(found, keyword)
    return int(values[0]) if values and values[0].isdigit() else None

"""Elements that many resources have, as JSON: names, identifiers, references, moments. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from fileroom.dicom.normal_forms import normalize_time

Resource = dict[str, Any]

TERMINOLOGY: Final = "http://terminology.hl7.org/CodeSystem"
DICOM_UID: Final = "urn:dicom:uid"
DICOM_CODES: Final = "http://dicom.nema.org/resources/ontology/DCM"


@dataclass(frozen=True, slots=True)
class Words:
    """What resources are written with. `base` is the root of FHIR, `dicomweb` that of DICOMweb, as the client knows them;
    `zone` is the hospital's, for times of its clock (None: this machine's)."""

    base: str
    dicomweb: str = ""
    zone: dt.tzinfo | None = None

    def authority(self, name: str) -> str:
        """The system of identifiers that an assigning authority gives."""
        return f"{self.base}/authority/{quote(name, safe='')}"

    def identifier(self, kind: str, value: str, authority: str) -> Resource:
        """An identifier with its type of HL7 table 0203."""
        return filled(
            type={"coding": [{"system": f"{TERMINOLOGY}/v2-0203", "code": kind}]} if kind else None,
            system=self.authority(authority) if authority else None,
            value=value,
            assigner={"display": authority} if authority else None,
        )

    def subject(self, patient: int | None, patient_id: str = "", issuer: str = "", name: str = "") -> Resource:
        """Who it is about: a resource where there is one, else by the identifier alone."""
        subject = reference("Patient", patient) if patient else {}
        if patient_id:
            system = {"system": self.authority(issuer)} if issuer else {}
            subject["identifier"] = {**system, "value": patient_id}
        if name:
            subject["display"] = human_name(name).get("text", name)
        return subject or {"display": "unknown"}

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
        aware = naive.replace(tzinfo=self.zone) if self.zone else naive.astimezone()
        return aware.isoformat(timespec="seconds")


def human_name(name: str) -> Resource:
    """A name of VR PN (PS3.5 6.2): its alphabetic group, else the first one that says something."""
    group = next((one for one in name.split("=") if one.strip("^ ")), "")
    family, given, middle, prefix, suffix = (part.strip() for part in (group.split("^") + [""] * 5)[:5])
    return filled(
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


def instant(moment: dt.datetime) -> str:
    """A FHIR instant, in UTC."""
    return moment.astimezone(dt.UTC).isoformat(timespec="milliseconds")


def filled(**elements: Any) -> Resource:
    """Without those that say nothing: FHIR has no empty elements."""
    return {key: value for key, value in elements.items() if value is not None and value not in ([], {}, "")}


def reference(kind: str, number: object) -> Resource:
    """A reference to a resource here."""
    return {"reference": f"{kind}/{number}"}


def named(name: str) -> Resource | None:
    """A reference to somebody of whom only the name is known."""
    text = human_name(name).get("text") if name else None
    return {"display": text} if text else None


def modality(code: str) -> Resource:
    """A code of PS3.16 CID 29."""
    return {"system": DICOM_CODES, "code": code}


def scheme(name: str) -> str:
    """The system of a coding scheme designator: the known ones, else one of our own naming."""
    known = {
        "DCM": DICOM_CODES,
        "SCT": "http://snomed.info/sct",
        "LN": "http://loinc.org",
        "RADLEX": "http://radlex.org",
    }
    return known.get(name, f"urn:x-fileroom:scheme:{quote(name)}")


def concept(code: str, designator: str, meaning: str) -> Resource | None:
    """A code of DICOM as a CodeableConcept; None where there is neither code nor meaning."""
    coding = filled(system=scheme(designator) if designator else None, code=code, display=meaning)
    return filled(coding=[coding] if code else [], text=meaning or code) or None


def references_in(resource: Resource, elements: Iterable[str], kind: str) -> list[str]:
    """The ids of the resources of a kind that elements of a resource refer to."""
    found = []
    for element in elements:
        value = resource.get(element, [])
        for one in value if isinstance(value, list) else [value]:
            target, _, number = str(one.get("reference", "")).partition("/")
            if target == kind and number:
                found.append(number)
    return found

"""Search parameters of FHIR: prefixes, tokens, modifiers, several values, chains, orders, pages, what comes along."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from fhir_asking import STUDY, get, resources
from fileroom.archive.services import Archive
from fileroom.core.access import SYSTEM, acting_as
from stored_objects import make_file, store_file


@pytest.mark.parametrize(
    ("question", "found"),
    [
        ("Patient?given=maria", 0),
        ("Patient?given=%C3%A4nne", 1),
        ("Patient?family:exact=M%C3%BCller", 1),
        ("Patient?family:exact=muller", 0),
        ("Patient?family:contains=ulle", 1),
        ("Patient?family=ulle", 0),
        ("Patient?name=anne%20muller", 1),
        ("Patient?gender=female", 1),
        ("Patient?gender=male", 0),
        ("Patient?gender:not=male", 1),
        ("Patient?gender=male,female", 1),
        ("Patient?gender=male&gender=female", 0),
        ("Patient?birthdate=1958", 1),
        ("Patient?birthdate=ne1958-03-14", 0),
        ("Patient?birthdate=sa1958-03-13", 1),
        ("Patient?birthdate=eb1958-03-14", 0),
        ("Patient?birthdate:missing=true", 0),
        ("Patient?birthdate:missing=false", 1),
        ("Patient?active=true", 1),
        ("Patient?_lastUpdated=ge2020-01-01", 1),
        ("Patient?_lastUpdated=lt2020-01-01T00:00:00Z", 0),
        ("Patient?identifier=http://localhost:8080/fhir/authority/HOSPITAL|", 1),
        ("ServiceRequest?status=active", 1),
        ("ServiceRequest?status=completed,revoked", 0),
        ("ServiceRequest?status=nonsense", 0),
        ("ServiceRequest?priority=stat", 1),
        ("ServiceRequest?code=CTCHE", 1),
        ("ServiceRequest?code=urn:x-fileroom:scheme:LOCAL|CTCHE", 1),
        ("ServiceRequest?code=http://loinc.org|CTCHE", 0),
        ("ServiceRequest?authored=gt2020-01-01", 1),
        ("ServiceRequest?occurrence=2026-11-22", 1),
        ("ServiceRequest?occurrence=gt2026-11-22T10:29", 1),
        ("ServiceRequest?occurrence=gt2026-11-22T10:30", 0),
        ("ServiceRequest?patient.identifier=P1", 1),
        ("ServiceRequest?subject:Patient.family=meier", 0),
        ("ServiceRequest?patient=http://localhost:8080/fhir/Patient/1", 1),
        ("ServiceRequest?patient=Group/1", 0),
        ("ImagingStudy?started=2026-11-22T10:35", 1),
        ("ImagingStudy?started=gt2026-11-22T10:35", 0),
        ("ImagingStudy?modality=SR,MR", 1),
        ("ImagingStudy?modality=CT&modality=SR", 1),
        ("ImagingStudy?modality=http://dicom.nema.org/resources/ontology/DCM|SR", 1),
        ("ImagingStudy?basedon=ServiceRequest/1", 1),
        ("ImagingStudy?basedon:missing=true", 1),
        ("ImagingStudy?patient.name=muller", 1),
        ("ImagingStudy?endpoint=Endpoint/dicomweb", 2),
        ("ImagingStudy?status=available", 2),
        ("ImagingStudy?_lastUpdated=gt2020", 2),
        ("DiagnosticReport?status=final", 1),
        ("DiagnosticReport?status=preliminary", 0),
        (f"DiagnosticReport?study=ImagingStudy/{STUDY}", 1),
        ("DiagnosticReport?based-on=ServiceRequest/1", 1),
        ("DiagnosticReport?patient=1", 1),
        ("DiagnosticReport?patient=2", 0),
        ("DiagnosticReport?subject.identifier=P1", 1),
        ("DiagnosticReport?date=2026-11-22", 1),
        ("DiagnosticReport?issued=gt2020-01-01", 1),
        ("DiagnosticReport?code=18748-4", 1),
        ("DiagnosticReport?code=CTCHE", 1),
        ("DiagnosticReport?identifier=A123", 1),
        ("DiagnosticReport?category=RAD", 1),
        ("Endpoint?connection-type=dicom-wado-rs", 1),
    ],
)
@pytest.mark.usefixtures("filled")
async def test_parameters_find_what_they_say(client: httpx.AsyncClient, question: str, found: int) -> None:
    bundle = await get(client, question, prefer="handling=strict")
    assert len(resources(bundle)) == found
    assert bundle["total"] == found
    kind, _, rest = question.partition("?")
    posted = await client.post(
        f"/fhir/{kind}/_search", content=rest, headers={"content-type": "application/x-www-form-urlencoded"}
    )
    assert posted.json()["total"] == found


@pytest.mark.parametrize(
    "question",
    [
        "Patient?family:sounds=x",
        "Patient?birthdate=ap2020",
        "Patient?birthdate=2020-13",
        "Patient?birthdate=2020-01-01T25:00",
        "Patient?birthdate:missing=perhaps",
        "Patient?_count=many",
        "Patient?_sort=color",
        "Patient?_cursor=nonsense",
        "Patient?_cursor=WyJ4IiwxXQ&_sort=_lastUpdated",
        "Patient?_include=Patient:organization",
        "ImagingStudy?_include=ServiceRequest:patient",
        "ImagingStudy?_revinclude=Observation:subject",
        "Patient?_count=1&_count=2",
    ],
)
@pytest.mark.usefixtures("filled")
async def test_what_makes_no_sense_is_refused_with_an_outcome(client: httpx.AsyncClient, question: str) -> None:
    assert (await get(client, question, 400))["issue"][0]["code"] == "invalid"


async def test_too_much_is_refused(client: httpx.AsyncClient) -> None:
    assert (await get(client, f"Patient?name={'x' * 2001}", 413))["issue"][0]["code"] == "too-long"
    assert (await get(client, f"Patient?name={','.join('x' * 101)}", 413))["issue"][0]["code"] == "too-long"
    assert (await get(client, "Patient?name=%00", 413))["issue"][0]["code"] == "too-long"
    assert resources(await get(client, f"Patient?_id={'9' * 30}")) == []
    assert resources(await get(client, "ImagingStudy?patient=9223372036854775807999")) == []


@pytest.mark.usefixtures("filled")
async def test_xml_is_not_made(client: httpx.AsyncClient) -> None:
    for path, headers in (("Patient?_format=xml", {}), ("Patient", {"accept": "application/fhir+xml"})):
        assert (await get(client, path, 406, **headers))["issue"][0]["code"] == "not-supported"
    await get(client, "Patient?_format=application/fhir%2Bjson", accept="application/fhir+xml")
    await get(client, "Patient?_format=json")


@pytest.mark.usefixtures("filled")
async def test_unknown_parameters_stand_in_no_link(client: httpx.AsyncClient) -> None:
    bundle = await get(client, "Patient?color=red&family=muller")
    assert bundle["link"][0]["url"] == "http://localhost:8080/fhir/Patient?family=muller"


@pytest.mark.usefixtures("filled")
async def test_a_count_alone_holds_no_resources(client: httpx.AsyncClient) -> None:
    for question in ("_summary=count", "_count=0"):
        bundle = await get(client, f"ImagingStudy?{question}")
        assert (bundle["total"], resources(bundle)) == (2, [])
    bundle = await get(client, "ImagingStudy?_count=1&_total=accurate")
    assert (bundle["total"], len(resources(bundle))) == (2, 1)
    assert "total" not in await get(client, "ImagingStudy?_count=1")


@pytest.mark.usefixtures("filled")
async def test_only_some_elements_are_marked_as_a_part(client: httpx.AsyncClient) -> None:
    [patient] = resources(await get(client, "Patient?_elements=birthDate"))
    assert set(patient) == {"resourceType", "id", "meta", "birthDate"}
    assert patient["meta"]["tag"][0]["code"] == "SUBSETTED"


def by_mode(bundle: dict[str, Any]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {"match": [], "include": []}
    for entry in bundle.get("entry", []):
        found[entry["search"]["mode"]].append(f"{entry['resource']['resourceType']}/{entry['resource']['id']}")
    return found


@pytest.mark.parametrize(
    ("question", "match", "included"),
    [
        ("ServiceRequest?_include=ServiceRequest:patient", ["ServiceRequest/1"], ["Patient/1"]),
        (
            f"ImagingStudy?_id={STUDY}&_include=ImagingStudy:patient&_include=ImagingStudy:basedon"
            "&_include=ImagingStudy:endpoint",
            [f"ImagingStudy/{STUDY}"],
            ["Patient/1", "ServiceRequest/1", "Endpoint/dicomweb"],
        ),
        (
            "DiagnosticReport?_include=DiagnosticReport:based-on&_include=DiagnosticReport:imaging-study",
            ["DiagnosticReport/1"],
            ["ServiceRequest/1", f"ImagingStudy/{STUDY}"],
        ),
        (
            "Patient?_revinclude=DiagnosticReport:patient&_revinclude=ImagingStudy:patient",
            ["Patient/1"],
            ["DiagnosticReport/1", f"ImagingStudy/{STUDY}"],
        ),
        (
            f"ImagingStudy?_id={STUDY}&_revinclude=DiagnosticReport:study",
            [f"ImagingStudy/{STUDY}"],
            ["DiagnosticReport/1"],
        ),
    ],
)
@pytest.mark.usefixtures("filled")
async def test_references_are_followed(
    client: httpx.AsyncClient, question: str, match: list[str], included: list[str]
) -> None:
    assert by_mode(await get(client, question)) == {"match": match, "include": included}


async def test_pages_stay_whole_while_studies_come(client: httpx.AsyncClient, filled: Archive) -> None:
    for question in ("_count=1", "_count=1&_sort=-started", "_count=1&_sort=started", "_count=1&_sort=-_lastUpdated"):
        seen: list[str] = []
        path = f"ImagingStudy?{question}"
        before = {one["id"] for one in resources(await get(client, "ImagingStudy"))}
        while path:
            bundle = await get(client, path)
            seen += [one["id"] for one in resources(bundle)]
            links = {one["relation"]: one["url"] for one in bundle["link"]}
            path = links.get("next", "").partition("/fhir/")[2]
            if len(seen) == 1:
                uid = f"1.2.4.{len(before)}"
                with acting_as(SYSTEM):
                    await store_file(
                        filled,
                        make_file(
                            StudyInstanceUID=uid, SeriesInstanceUID=f"{uid}.1", SOPInstanceUID=f"{uid}.1.1", PatientID="P3",
                            StudyDate="20260101", StudyTime="",
                        ),
                    )  # fmt: skip
        assert len(seen) == len(set(seen))
        assert before <= set(seen)


@pytest.mark.usefixtures("filled")
async def test_everything_of_a_patient_comes_in_pages(client: httpx.AsyncClient) -> None:
    whole = by_mode(await get(client, "Patient/1/$everything"))["match"]
    assert whole == ["Patient/1", "ServiceRequest/1", f"ImagingStudy/{STUDY}", "DiagnosticReport/1"]
    seen, path = [], "Patient/1/$everything?_count=1"
    while path:
        bundle = await get(client, path)
        seen += by_mode(bundle)["match"]
        path = {one["relation"]: one["url"] for one in bundle["link"]}.get("next", "").partition("/fhir/")[2]
    assert seen == whole
    assert by_mode(await get(client, "Patient/1/$everything?_type=ImagingStudy"))["match"] == [f"ImagingStudy/{STUDY}"]
    assert by_mode(await get(client, "Patient/1/$everything?_since=2200-01-01"))["match"] == ["Patient/1"]
    assert (await get(client, "Patient/1/$everything?_type=Account", 400))["issue"][0]["code"] == "invalid"
    assert (await get(client, "Patient/99/$everything", 404))["issue"][0]["code"] == "not-found"

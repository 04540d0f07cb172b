"""FHIR: what is answered is FHIR R4 by the models of somebody else, and says what archive and RIS side know."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from fhir_asking import STUDY, get, resources
from fileroom.archive.services import Archive
from fileroom.core.access import Access, ActorKind, Permission, acting_as


@pytest.mark.usefixtures("filled")
async def test_a_patient_is_found_by_identifier_name_and_birth_date_and_read(client: httpx.AsyncClient) -> None:
    for question in ("identifier=P1", "family=muller", "name=%C3%A4nne", "birthdate=1958-03-14"):
        [patient] = resources(await get(client, f"Patient?{question}"))
        assert patient["name"][0] | {"text": ""} == {"text": "", "family": "Müller", "given": ["Änne", "Maria"]}
        assert (patient["birthDate"], patient["gender"]) == ("1958-03-14", "female")
    assert await get(client, f"Patient/{patient['id']}") == patient
    system = patient["identifier"][0]["system"]
    assert system == "http://localhost:8080/fhir/authority/HOSPITAL"
    assert resources(await get(client, f"Patient?identifier={system}|P1")) == [patient]
    assert resources(await get(client, "Patient?identifier=urn:oid:1.2|P1")) == []


@pytest.mark.usefixtures("filled")
async def test_an_order_is_a_service_request_of_its_patient(client: httpx.AsyncClient) -> None:
    [patient] = resources(await get(client, "Patient?identifier=P1"))
    for question in (
        "identifier=A123",
        "identifier=P77",
        f"patient=Patient/{patient['id']}",
        f"patient={patient['id']}",
    ):
        [order] = resources(await get(client, f"ServiceRequest?{question}"))
    assert (order["status"], order["intent"], order["priority"]) == ("active", "order", "stat")
    assert order["code"]["coding"][0]["code"] == "CTCHE"
    assert order["subject"]["reference"] == f"Patient/{patient['id']}"
    assert order["occurrenceDateTime"].startswith("2026-11-22T10:30:00")
    assert {one["type"]["coding"][0]["code"]: one["value"] for one in order["identifier"]} == {
        "PLAC": "P77",
        "ACSN": "A123",
    }
    assert await get(client, f"ServiceRequest/{order['id']}") == order
    assert resources(await get(client, "ServiceRequest?identifier=A12")) == []


@pytest.mark.usefixtures("filled")
async def test_a_study_refers_to_patient_order_and_endpoint(client: httpx.AsyncClient) -> None:
    study = await get(client, f"ImagingStudy/{STUDY}")
    [patient], [order] = resources(await get(client, "Patient")), resources(await get(client, "ServiceRequest"))
    assert study["subject"]["reference"] == f"Patient/{patient['id']}"
    assert study["basedOn"] == [{"reference": f"ServiceRequest/{order['id']}"}]
    assert (study["numberOfSeries"], study["numberOfInstances"]) == (2, 2)
    assert {one["modality"]["code"] for one in study["series"]} == {"CT", "SR"}
    assert study["identifier"][0] == {"use": "official", "system": "urn:dicom:uid", "value": f"urn:oid:{STUDY}"}
    endpoint = await get(client, study["endpoint"][0]["reference"])
    assert endpoint["address"] == "http://localhost:8080/dicom-web"


@pytest.mark.parametrize(
    ("question", "found"),
    [
        ("", ["1.2.3.2", STUDY]),
        ("_sort=-started", [STUDY, "1.2.3.2"]),
        ("_sort=started", ["1.2.3.2", STUDY]),
        (f"identifier=urn:dicom:uid|urn:oid:{STUDY}", [STUDY]),
        ("identifier=B1", ["1.2.3.2"]),
        ("started=ge2026-01-01", [STUDY]),
        ("started=lt2026", ["1.2.3.2"]),
        ("started=ge2025-01-01&started=le2025-12-31", ["1.2.3.2"]),
        ("started=gt2026-11-21", [STUDY]),
        ("started=gt2026-11-22", []),
        ("started=2026-11", [STUDY]),
        ("started=2026-02-30", 400),
        ("modality=SR", [STUDY]),
        ("patient=1", [STUDY]),
        ("patient=999", []),
        ("started=yesterday", 400),
    ],
)
@pytest.mark.usefixtures("filled")
async def test_studies_are_searched(client: httpx.AsyncClient, question: str, found: list[str] | int) -> None:
    if isinstance(found, int):
        assert (await get(client, f"ImagingStudy?{question}", found))["resourceType"] == "OperationOutcome"
    else:
        assert [one["id"] for one in resources(await get(client, f"ImagingStudy?{question}"))] == found


@pytest.mark.usefixtures("filled")
async def test_pages_lead_from_one_to_the_next(client: httpx.AsyncClient) -> None:
    first = await get(client, "ImagingStudy?_count=1")
    links = {one["relation"]: one["url"] for one in first["link"]}
    second = await get(client, links["next"].partition("/fhir/")[2])
    assert [one["id"] for one in (*resources(first), *resources(second))] == ["1.2.3.2", STUDY]
    assert [one["relation"] for one in second["link"]] == ["self"]


async def test_what_is_not_there_or_not_known_is_told_as_an_outcome(client: httpx.AsyncClient) -> None:
    for path in ("Patient/1", "Patient/x", "ServiceRequest/7", "ImagingStudy/1.2", "Endpoint/other", "Patient/1&_id=2"):
        assert (await get(client, path, 404))["issue"][0]["code"] == "not-found"
    assert resources(await get(client, "Patient?color=red")) == []
    strict = await get(client, "Patient?color=red", 400, prefer="handling=strict")
    assert "color" in strict["issue"][0]["diagnostics"]


async def test_the_capability_statement_names_what_there_is(client: httpx.AsyncClient) -> None:
    statement = await get(client, "metadata")
    assert [one["type"] for one in statement["rest"][0]["resource"]] == [
        "Patient",
        "ServiceRequest",
        "ImagingStudy",
        "DiagnosticReport",
        "Endpoint",
        "AuditEvent",
        "Subscription",
        "Binary",
    ]
    for one in statement["rest"][0]["resource"]:
        for parameter in one.get("searchParam", []):
            answer = await client.get(
                f"/fhir/{one['type']}?{parameter['name']}=1", headers={"prefer": "handling=strict"}
            )
            assert answer.status_code in (200, 400, 404)
            assert "no parameter" not in answer.text


async def test_names_and_orders_are_for_those_who_may_see_orders(filled: Archive) -> None:
    from fileroom.web.fhir.routes import fhir_routes

    nobody = Access(ActorKind.PERSON, "ann", frozenset({Permission.STUDY_SEARCH}))
    routes = {route.path: route for route in fhir_routes(filled)}  # type: ignore[attr-defined]
    transport = httpx.ASGITransport(_as(nobody, routes["/fhir/Patient"].app))  # type: ignore[attr-defined]
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as refused:
        answer = await refused.get("/fhir/Patient")
    assert answer.status_code == 403
    assert answer.json()["issue"][0]["code"] == "forbidden"


def _as(access: Access, app: Any) -> Any:
    async def call(scope: Any, receive: Any, send: Any) -> None:
        with acting_as(access):
            await app(scope, receive, send)

    return call

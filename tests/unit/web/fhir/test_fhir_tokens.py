"""Tokens with scopes of FHIR: good for their resources and their patient, and for nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from fhir_asking import STUDY, get, resources
from fileroom.admin.fhir_scopes import KINDS as SCOPED_KINDS
from fileroom.admin.fhir_scopes import read_scope
from fileroom.admin.people import People
from fileroom.admin.tokens import TokenRequest, create_token, list_tokens
from fileroom.archive.services import Archive
from fileroom.core.access import SYSTEM, FhirScope, acting_as
from fileroom.core.errors import InvalidRequestError
from fileroom.fhir.registry import KINDS
from fileroom.worklist.apply import apply_change
from fileroom.worklist.changes import Cause, PutOrder
from fileroom.worklist.facts import Identifier, OrderFacts, PatientFacts


@pytest.fixture
async def two_patients(filled: Archive) -> Archive:
    """Another patient, whose number is the same at another authority, with an order."""
    order = OrderFacts(placer=Identifier("P88", "RIS", ""), accession=Identifier("B1", "RIS", ""))
    with acting_as(SYSTEM):
        async with filled.pool.connection() as connection, connection.transaction():
            await apply_change(
                filled,
                connection,
                PutOrder(order, PatientFacts((Identifier("P1", "OTHER"),), "Meier^Max")),
                Cause("test"),
            )
    return filled


async def token(archive: Archive, name: str, scopes: tuple[str, ...], patient: int | None = None) -> dict[str, str]:
    """The header of a new token of an administrator's role."""
    with acting_as(SYSTEM):
        people = People(archive.pool, archive.settings, archive.now)
        request = TokenRequest(name, fhir_scopes=scopes, fhir_patient=patient)
        return {"authorization": f"Bearer {await create_token(people, request, 'administrator')}"}


@pytest.fixture
async def strangers(client: httpx.AsyncClient) -> AsyncIterator[httpx.AsyncClient]:
    """The same application for who is not of this machine."""
    transport = client._transport
    assert isinstance(transport, httpx.ASGITransport)
    away = httpx.ASGITransport(transport.app, client=("192.0.2.7", 40000))
    async with httpx.AsyncClient(transport=away, base_url="http://localhost:8080") as other:
        yield other


async def test_a_token_with_scopes_is_good_for_fhir_alone(client: httpx.AsyncClient, filled: Archive) -> None:
    header = await token(filled, "app", ("user/*.read",))
    assert len(resources(await get(client, "ImagingStudy", **header))) == 2
    for path in ("/dicom-web/studies", "/api/v1/studies", "/api/v1/me", "/worklist", "/fhirx", "/account"):
        assert (await client.get(path, headers=header)).status_code == 403
    assert (await client.get("/dicom-web/studies", headers={})).status_code == 200


async def test_a_scope_names_what_may_be_read_or_searched(client: httpx.AsyncClient, filled: Archive) -> None:
    header = await token(filled, "studies", ("user/ImagingStudy.s", "system/Patient.r"))
    assert len(resources(await get(client, "ImagingStudy", **header))) == 2
    await get(client, f"ImagingStudy/{STUDY}", 403, **header)
    await get(client, "Patient/1", **header)
    for path in (
        *(
            "Patient",
            "ServiceRequest",
            "DiagnosticReport/1",
            "AuditEvent",
            "Binary/pdf-1-1",
            "Patient/1/$everything?_type=x",
        ),
        *("DiagnosticReport/1/_history", "DiagnosticReport/1/_history/1", "Endpoint/dicomweb"),
    ):
        found = await get(client, path, 400 if "everything" in path else 403, **header)
        assert found["resourceType"] == "OperationOutcome"
    followed = await get(client, "ImagingStudy?_include=ImagingStudy:patient&_include=ImagingStudy:basedon", **header)
    assert {one["resourceType"] for one in resources(followed)} == {"ImagingStudy", "Patient"}
    everything = resources(await get(client, "Patient/1/$everything", **header))
    assert {one["resourceType"] for one in everything} == {"Patient", "ImagingStudy"}


async def test_a_scope_of_a_patient_shows_that_patient_alone(client: httpx.AsyncClient, two_patients: Archive) -> None:
    header = await token(two_patients, "launched", ("patient/*.rs",), 1)
    assert [one["id"] for one in resources(await get(client, "Patient", **header))] == ["1"]
    assert [one["id"] for one in resources(await get(client, "ServiceRequest", **header))] == ["1"]
    assert [one["id"] for one in resources(await get(client, "ImagingStudy", **header))] == [STUDY]
    assert [one["id"] for one in resources(await get(client, "DiagnosticReport", **header))] == ["1"]
    for path in ("Patient/2", "ServiceRequest/2", "ImagingStudy/1.2.3.2", "Patient/2/$everything"):
        await get(client, path, 404, **header)
    assert resources(await get(client, "ServiceRequest?patient=2", **header)) == []
    other = await token(two_patients, "other", ("patient/*.rs", "user/Endpoint.rs"), 2)
    assert resources(await get(client, "DiagnosticReport", **other)) == []
    await get(client, "DiagnosticReport/1/_history/1", 404, **other)
    await get(client, "Binary/pdf-1-2", 404, **other)
    answer = await client.get("/fhir/Binary/pdf-1-2", headers=header)
    assert (answer.status_code, answer.content[:5]) == (200, b"%PDF-")


@pytest.mark.parametrize(
    ("text", "scope"),
    [
        ("patient/*.read", FhirScope("patient", "*", "rs")),
        ("user/ImagingStudy.rs", FhirScope("user", "ImagingStudy", "rs")),
        ("system/*.*", FhirScope("system", "*", "cruds")),
        ("system/Subscription.write", FhirScope("system", "Subscription", "cud")),
        ("system/Subscription.cu", FhirScope("system", "Subscription", "cu")),
    ],
)
def test_scopes_are_read(text: str, scope: FhirScope) -> None:
    assert read_scope(text) == scope


@pytest.mark.parametrize(
    "text",
    [
        "",
        "openid",
        "user/ImagingStudy",
        "user/ImagingStudy.",
        "user/Claim.rs",
        "user/*.sr",
        "any/*.rs",
        "user/*.rs?x=1",
    ],
)
def test_what_is_no_scope_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError):
        read_scope(text)


async def test_patients_and_scopes_of_patients_go_together(filled: Archive) -> None:
    for scopes, patient in ((("patient/*.rs",), None), (("user/*.rs",), 1), (("patient/*.rs",), 99), (("x",), None)):
        with pytest.raises(InvalidRequestError):
            await token(filled, "wrong", scopes, patient)
    await token(filled, "right", ("patient/*.rs",), 1)
    with acting_as(SYSTEM):
        [shown] = await list_tokens(People(filled.pool, filled.settings, filled.now))
    assert (shown.fhir_scopes, shown.fhir_patient) == (("patient/*.rs",), 1)


async def test_smart_looks_for_its_document_without_a_login(strangers: httpx.AsyncClient) -> None:
    answer = await strangers.get("/fhir/.well-known/smart-configuration")
    assert "permission-patient" in answer.json()["capabilities"]
    assert (await strangers.get("/fhir/metadata")).status_code == 401


def test_scopes_name_every_kind_that_there_is() -> None:
    assert set(SCOPED_KINDS) == {*KINDS, "Binary", "Subscription"}

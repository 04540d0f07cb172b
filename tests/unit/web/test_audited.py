"""Who looked at what over the web."""

from __future__ import annotations

import httpx
import pytest
from starlette.requests import Request

from fileroom.admin.audit_search import AuditQuery, search
from fileroom.archive.services import Archive
from fileroom.core.access import SYSTEM, Access, ActorKind, acting_as
from fileroom.core.errors import NotAllowedError
from fileroom.web.answers import Answer
from fileroom.web.audited import audited
from stored_objects import make_file, store_file
from web_requests import DICOM_RELATED, dicom_parts

STUDY, SERIES, SOP = "1.2.3.1", "1.2.3.1.1", "1.2.3.1.1.1"
INSTANCE = f"/dicom-web/studies/{STUDY}/series/{SERIES}/instances/{SOP}"


async def kinds(archive: Archive) -> list[tuple[str, str, str]]:
    await archive.audit.flush(archive.pool)
    with acting_as(SYSTEM):
        records = (await search(archive.pool, AuditQuery())).records
    return [(one.event, one.action, one.what) for one in reversed(records) if one.event != "110101"]


async def test_each_kind_of_view_is_noted_once(archive: Archive, client: httpx.AsyncClient) -> None:
    await store_file(archive, make_file())
    for _ in range(3):
        assert (await client.get(f"{INSTANCE}/frames/1")).status_code == 200
        assert (await client.get(f"{INSTANCE}/rendered")).status_code == 200
        assert (await client.get(f"{INSTANCE}/metadata")).status_code == 200
        assert (await client.get(INSTANCE, headers={"accept": "application/dicom"})).status_code == 200
        assert (await client.get(f"/dicom-web/studies/{STUDY}")).status_code == 200
    assert sorted(await kinds(archive)) == [
        ("110103", "R", "attributes"),
        ("110103", "R", "images"),
        ("110104", "R", ""),
    ]


async def test_each_download_of_a_zip_file_is_an_export(archive: Archive, client: httpx.AsyncClient) -> None:
    await store_file(archive, make_file())
    for _ in range(2):
        answer = await client.get(f"/dicom-web/studies/{STUDY}", headers={"accept": "application/zip"})
        assert answer.status_code == 200
    assert await kinds(archive) == [("110106", "R", "")] * 2


async def test_what_is_not_there_is_not_a_view(archive: Archive, client: httpx.AsyncClient) -> None:
    assert (await client.get(f"{INSTANCE}/rendered")).status_code == 404
    assert await kinds(archive) == []


async def test_searches_are_noted_with_their_keys(archive: Archive, client: httpx.AsyncClient) -> None:
    await client.get("/dicom-web/studies", params={"PatientID": "4711", "PatientName": "DOE*"})
    ((event, action, what),) = await kinds(archive)
    assert (event, action) == ("110112", "E")
    assert set(what.removeprefix("STUDY: ").split(", ")) == {"PatientID=4711", "PatientName=DOE*"}
    with acting_as(SYSTEM):
        assert (await search(archive.pool, AuditQuery(patient="4711"))).records


async def test_an_upload_is_one_event_for_each_study(archive: Archive, client: httpx.AsyncClient) -> None:
    files = [make_file(SOPInstanceUID=f"1.9.{number}") for number in range(4)]
    body = dicom_parts(*files, b"rubbish")
    answer = await client.post("/dicom-web/studies", content=body, headers={"content-type": DICOM_RELATED})
    assert answer.status_code == 202
    found = await kinds(archive)
    assert [(event, action) for event, action, _ in found] == [("110104", "C")] * 2
    assert found[1][2].startswith("1 objects were refused")


async def test_a_refusal_is_a_security_alert(archive: Archive) -> None:
    async def refuse(_request: Request) -> Answer:
        raise NotAllowedError("eve has no permission study.view.")

    scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "path_params": {"study": STUDY}}
    eve = Access(ActorKind.PERSON, "eve", address="10.6.6.6")
    with acting_as(eve), pytest.raises(NotAllowedError):
        await audited(archive, refuse, "images")(Request(scope))
    await archive.audit.flush(archive.pool)
    with acting_as(SYSTEM):
        (record,) = (await search(archive.pool, AuditQuery(study=STUDY))).records
    assert (record.event_type, record.outcome, record.actor, record.address) == ("110132", 8, "eve", "10.6.6.6")

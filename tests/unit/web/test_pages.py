"""Health, metrics, capabilities, and what the router refuses."""

from __future__ import annotations

import dataclasses
import socket
import xml.etree.ElementTree as ET

import httpx
import pytest

from fileroom.archive.services import Archive
from fileroom.core.settings import Settings
from fileroom.web.app import create_app
from stored_objects import make_file, store_file


def client_of(archive: Archive) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(create_app(archive)), base_url="http://localhost:8080")


async def test_alive_needs_nothing(client: httpx.AsyncClient) -> None:
    assert (await client.get("/healthz")).json() == {"status": "alive"}


async def test_ready_when_database_store_and_dicom_port_answer(archive: Archive) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        ready = dataclasses.replace(archive, settings=Settings(dicom_port=listening.getsockname()[1]))
        async with client_of(ready) as client:
            answer = await client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json()["parts"]["database"]["ready"] is True


async def test_not_ready_names_the_part(archive: Archive) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    closed = dataclasses.replace(archive, settings=Settings(dicom_port=port))
    async with client_of(closed) as client:
        answer = await client.get("/readyz")
    assert answer.status_code == 503
    parts = answer.json()["parts"]
    assert parts["dicom"]["ready"] is False
    assert str(port) in parts["dicom"]["detail"]
    assert parts["database"]["ready"] is True


async def test_metrics_count_what_is_held(client: httpx.AsyncClient, archive: Archive) -> None:
    await store_file(archive, make_file())
    text = (await client.get("/metrics")).text
    assert "\nfileroom_instances 1.0\n" in text
    assert 'fileroom_ready{part="database"} 1' in text


async def test_capabilities_list_every_resource(client: httpx.AsyncClient) -> None:
    answer = await client.get("/dicom-web/")
    assert answer.headers["content-type"] == "application/vnd.sun.wadl+xml"
    tree = ET.fromstring(answer.content)
    paths = {one.get("path") for one in tree.iter("{http://wadl.dev.java.net/2009/02}resource")}
    for path in ("studies", "studies/{study}/series/{series}/instances/{instance}/frames/{frames}", "instances"):
        assert path in paths
    as_json = (await client.get("/dicom-web", headers={"accept": "application/json"})).json()
    assert {one["path"] for one in as_json["resources"]} == paths


async def test_options_tell_the_methods(client: httpx.AsyncClient) -> None:
    answer = await client.options("/dicom-web/studies")
    assert answer.status_code == 204
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD", "POST", "OPTIONS"}


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/nowhere", 404), ("DELETE", "/dicom-web/studies", 405)]
)
async def test_what_is_not_there_is_told_as_a_problem(
    client: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    answer = await client.request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status


async def test_head_has_no_body(client: httpx.AsyncClient) -> None:
    answer = await client.head("/healthz")
    assert answer.status_code == 200

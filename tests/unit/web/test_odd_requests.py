"""No request, however odd, is the server's own mistake: every route answers anything with less than 500."""

from __future__ import annotations

import itertools
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fileroom.archive.services import Archive
from fileroom.web.app import create_app
from stored_objects import make_file, store_file

ODD_VALUES = (
    "",
    "0",
    "-1",
    "1.2.3.1",
    "x" * 300,
    "%00",
    "%FF%FE",
    "..",
    "%2e%2e%2f",
    "a%0d%0aB: c",
    "1.2.3'--",
    "%25s",
    "*",
)
ODD_HEADERS = (
    {"accept": "a"},
    {"accept": "multipart/related; type="},
    {"accept": 'multipart/related; type="image/jpeg"; transfer-syntax=1.2'},
    {"accept": "*/*;q=2"},
    {"accept": "," * 3000},
    {"accept": "x/y," * 5000},
    {"accept-encoding": "gzip;q=x, ;;=, *;q="},
    {"range": "bytes=0-,-,5"},
    {"range": "lines=1"},
    {"if-none-match": ',"", W/'},
    {"cookie": "a" * 5000},
)


async def paths_of(client: httpx.AsyncClient) -> list[str]:
    described = await client.get("/dicom-web", headers={"accept": "application/json"})
    return [f"/dicom-web/{one['path']}" for one in described.json()["resources"]] + ["/wado", "/", "/dicom-web"]


def filled(path: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        path = path.replace("{" + name + "}", value)
    return path


REAL = {
    "study": "1.2.3.1",
    "series": "1.2.3.1.1",
    "instance": "1.2.3.1.1.1",
    "frames": "1",
    "path": "7FE00010",
    "workitem": "1.2.3.9",
    "aetitle": "WATCHER",
    "requester": "WATCHER",
}
CHANGED_BY_OTHERS = frozenset({"PUT", "DELETE"})
"""Methods that some addresses of workitems answer."""


async def test_odd_paths(client: httpx.AsyncClient, archive: Archive) -> None:
    await store_file(archive, make_file())
    for path, name, odd in itertools.product(await paths_of(client), REAL, ODD_VALUES):
        if "{" + name + "}" in path:
            answer = await client.get(filled(path, {**REAL, name: odd}))
            assert answer.status_code < 500, (path, name, odd, answer.text)


async def test_odd_headers(client: httpx.AsyncClient, archive: Archive) -> None:
    await store_file(archive, make_file())
    for path, headers in itertools.product(await paths_of(client), ODD_HEADERS):
        answer = await client.get(filled(path, REAL), headers=headers)
        assert answer.status_code < 500, (path, headers, answer.text)


async def test_odd_queries(client: httpx.AsyncClient, archive: Archive) -> None:
    await store_file(archive, make_file())
    queries = [
        "&".join(["a=b"] * 600),
        "=&=&&;",
        "accept=",
        "accept=%00",
        "accept=x",
        "viewport=%F0",
        "limit=" + "9" * 400,
    ]
    for path, query in itertools.product(await paths_of(client), queries):
        answer = await client.get(f"{filled(path, REAL)}?{query}")
        assert answer.status_code < 500, (path, query, answer.text)


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "TRACE", "BREW"])
async def test_odd_methods(client: httpx.AsyncClient, method: str) -> None:
    for path in await paths_of(client):
        answer = await client.request(method, filled(path, REAL))
        if "/workitems" in path and method in CHANGED_BY_OTHERS and answer.status_code != 405:
            assert 400 <= answer.status_code < 500
            continue
        assert answer.status_code == 405
        assert answer.headers["allow"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.text(max_size=40), name=st.sampled_from(["PatientName", "StudyDate", "includefield", "00100020", "limit"])
)
async def test_any_text_as_a_key(archive: Archive, text: str, name: str) -> None:
    transport = httpx.ASGITransport(create_app(archive))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        answer = await client.get(f"/dicom-web/studies?{name}={quote(text.encode('utf-8', 'surrogatepass'))}")
    assert answer.status_code in (200, 400, 413), answer.text


async def test_a_database_that_is_gone_is_told_and_not_our_mistake(client: httpx.AsyncClient, archive: Archive) -> None:
    await store_file(archive, make_file())
    await archive.pool.close()
    for path in await paths_of(client):
        if path in ("/", "/dicom-web", "/wado", "/dicom-web/subscribers/{aetitle}"):
            continue
        answer = await client.get(filled(path, REAL), headers={"accept": "*/*"})
        if answer.status_code == 405:
            assert "GET" not in answer.headers["allow"]
            continue
        assert answer.status_code == 503, (path, answer.text)
        assert int(answer.headers["retry-after"]) > 0
    page = await client.get("/")
    assert page.status_code == 503
    assert "does not answer" in page.text

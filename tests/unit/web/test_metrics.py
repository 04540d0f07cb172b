"""`/metrics`: what was counted stands there, in both formats, without patients, and Prometheus' own tool is content."""

from __future__ import annotations

import shutil
import subprocess

import httpx
import pytest
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from fileroom.archive.services import Archive
from fileroom.routing.destination_kind import Outcome, OutcomeKind
from fileroom.routing.destinations import put_destination
from fileroom.routing.health import note_failure, note_outcomes
from stored_objects import make_file, store_file


async def _samples(client: httpx.AsyncClient) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    text = (await client.get("/metrics")).text
    families = text_string_to_metric_families(text)
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


async def test_received_objects_are_counted_with_their_bytes(client: httpx.AsyncClient, archive: Archive) -> None:
    data = make_file()
    await store_file(archive, data)
    await store_file(archive, data)
    samples = await _samples(client)
    received = {
        dict(labels)["outcome"]: value
        for (name, labels), value in samples.items()
        if name == "fileroom_objects_received_total"
    }
    assert received == {"stored": 1, "already there": 1}
    (received_bytes,) = [value for (name, _), value in samples.items() if name == "fileroom_received_bytes_total"]
    stored = samples["fileroom_storage_used_bytes", frozenset()]
    assert received_bytes == 2 * stored > 0
    assert samples["fileroom_last_received_timestamp_seconds", frozenset()] > 1e9


async def test_deliveries_and_alerts_are_told_by_destination(client: httpx.AsyncClient, archive: Archive) -> None:
    hook = {"kind": "webhook", "target": {"url": "https://example.org/hook"}}
    one = await put_destination(archive, "CARDIO", hook)
    taken = Outcome(OutcomeKind.TAKEN, sent_bytes=500)
    await note_outcomes(archive, one.id, [taken, taken, Outcome(OutcomeKind.REFUSED)], name=one.name)
    for _ in range(3):
        await note_failure(archive, one.id, "No connection.", name=one.name)
    samples = await _samples(client)
    destination = ("destination", "CARDIO")
    assert samples["fileroom_delivery_tries_total", frozenset({destination, ("outcome", "taken")})] == 2
    assert samples["fileroom_delivery_tries_total", frozenset({destination, ("outcome", "try later")})] == 3
    assert samples["fileroom_delivered_bytes_total", frozenset({destination})] == 1000
    assert samples["fileroom_destination_up", frozenset({destination})] == 0
    assert samples["fileroom_deliveries", frozenset({destination, ("state", "waiting")})] == 0
    assert samples["fileroom_delivery_oldest_seconds", frozenset({destination})] == 0
    assert samples["fileroom_alerts", frozenset({("severity", "critical"), ("state", "firing")})] == 0


async def test_requests_are_timed_by_route_and_status(client: httpx.AsyncClient) -> None:
    await client.get("/dicom-web/studies/1.2.3/metadata")
    await client.get("/nowhere/DOE^JOHN")
    await client.get("/healthz")
    text = (await client.get("/metrics")).text
    family = "fileroom_http_request_duration_seconds_count"
    assert f'{family}{{code="404",method="GET",route="/dicom-web/studies/{{study}}/metadata"}} 1.0' in text
    assert f'{family}{{code="404",method="GET",route="none"}} 1.0' in text
    assert f'{family}{{code="200",method="GET",route="/healthz"}} 1.0' in text
    assert "1.2.3" not in text
    assert "DOE" not in text


async def test_buckets_grow_and_end_with_all(client: httpx.AsyncClient) -> None:
    await client.get("/healthz")
    samples = await _samples(client)
    rows = [
        (float(dict(labels)["le"]), value)
        for (name, labels), value in samples.items()
        if name == "fileroom_http_request_duration_seconds_bucket" and dict(labels)["route"] == "/healthz"
    ]
    counts = [value for _, value in sorted(rows)]
    assert counts == sorted(counts)
    assert counts[-1] == 1


async def test_openmetrics_is_given_to_who_asks_for_it(client: httpx.AsyncClient, archive: Archive) -> None:
    await store_file(archive, make_file())
    answer = await client.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    names = {family.name for family in openmetrics.text_string_to_metric_families(answer.text)}
    assert "fileroom_objects_received" in names


async def test_promtool_finds_no_fault(client: httpx.AsyncClient, archive: Archive) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("needs promtool (Debian package prometheus)")
    await store_file(archive, make_file())
    text = (await client.get("/metrics")).text
    result = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout + result.stderr) == (0, "")


async def test_without_a_database_the_counters_are_there(client: httpx.AsyncClient, archive: Archive) -> None:
    await store_file(archive, make_file())
    await archive.pool.close()
    answer = await client.get("/metrics")
    assert answer.status_code == 200
    assert "fileroom_objects_received_total{" in answer.text
    assert 'fileroom_ready{part="database"} 0.0' in answer.text
    assert "fileroom_instances" not in answer.text

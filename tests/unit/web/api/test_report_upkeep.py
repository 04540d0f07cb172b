"""Critical findings, the board, reconciliation and dictation over the API."""

from __future__ import annotations

import datetime as dt

import httpx

from fileroom.archive.services import Archive
from fileroom.feeds.feeds import put_feed
from report_rows import add_report, add_study


async def test_findings_over_the_api(client: httpx.AsyncClient, archive: Archive) -> None:
    report = await add_report(archive, "1.1")
    noted = await client.post("/api/v1/critical-results", json={"report": report, "finding": "Bleeding"})
    assert noted.status_code in (200, 201), noted.text
    number = noted.json()["id"]
    assert [one["id"] for one in (await client.get("/api/v1/critical-results")).json()["items"]] == [number]
    path = f"/api/v1/critical-results/{number}/acknowledgement"
    assert (await client.post(path, json={"how": "phone"})).status_code == 422
    done = await client.post(path, json={"how": "phone", "by": "Dr Ward", "comment": "read back"})
    assert done.json()["acknowledged_by"] == "Dr Ward"
    assert (await client.get("/api/v1/critical-results?acknowledged=true")).json()["items"][0]["how"] == "phone"


async def test_board_and_reconciliation_over_the_api(client: httpx.AsyncClient, archive: Archive) -> None:
    then = archive.now() - dt.timedelta(days=2)
    await add_study(archive, "1.1", came=then)
    board = (await client.get("/api/v1/turnaround?modality=CT")).json()
    assert (board["waiting_number"], board["late_number"]) == (1, 1)
    assert board["figures"][0]["group"] == "all"
    lost = (await client.get("/api/v1/reconciliation/images_without_report")).json()["items"]
    assert [one["subject"] for one in lost] == ["1.1"]
    gone = {"subjects": ["1.1"], "reason": "seen"}
    path = "/api/v1/reconciliation/images_without_report"
    assert (await client.post(f"{path}/dismissal", json=gone)).json()["count"] == 1
    assert (await client.get(f"{path}?dismissed=true")).json()["items"][0]["dismissed_because"] == "seen"
    report = await add_report(archive, "", changed_at=then)
    put = await client.post(f"/api/v1/report-assignments/{report}", json={"study": "1.1", "other_patient": True})
    assert put.status_code < 300, put.text
    assert (await client.delete(f"/api/v1/report-assignments/{report}")).status_code < 300
    assert (await client.delete(f"/api/v1/report-assignments/{report}")).status_code == 409


async def test_dictation_over_the_api(client: httpx.AsyncClient, archive: Archive) -> None:
    await add_study(archive, "1.1", accession_number="A1")
    await put_feed(archive, "out", {"direction": "out", "host": "127.0.0.1", "port": 9})
    path = "/api/v1/reporting-systems/dictate"
    made = await client.put(path, json={"url": "dictate://open?a={accession}", "context": "json", "feed": "out"})
    assert made.status_code < 300, made.text
    assert (await client.get("/api/v1/reporting-systems")).json()["items"][0]["feed"] == "out"
    assert (await client.post(f"{path}/exams/1.1")).json()["url"] == "dictate://open?a=A1"
    assert (await client.post(f"{path}/orders/1.1")).status_code < 300
    assert (await client.delete(path)).status_code < 300

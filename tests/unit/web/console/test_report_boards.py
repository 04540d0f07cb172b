"""Board, list, critical findings, reconciliation and hand-over as pages."""

from __future__ import annotations

import datetime as dt

import httpx
import pytest

from fileroom.archive.services import Archive
from fileroom.reports.critical import list_critical, note_critical
from fileroom.reports.reconciliation import list_findings
from fileroom.reports.reporting_systems import list_systems, put_system
from fileroom.reports.reports import get_report
from report_rows import add_report, add_study

NAME = "Roe^<b>Richard</b>"
SHOWN = "Roe, &lt;b&gt;Richard&lt;/b&gt;"


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/reports", "No study waits."),
        ("/reports/list", "There is no report yet."),
        ("/reports/critical", "No critical finding waits."),
        ("/reports/reconciliation", "Everything fits"),
        ("/reports/reconciliation?show=dismissed", "Nothing was dismissed."),
        ("/reports/systems", "No reporting system is set up"),
    ],
)
async def test_an_empty_page_says_what_will_appear(client: httpx.AsyncClient, path: str, words: str) -> None:
    answer = await client.get(path)
    assert answer.status_code == 200
    assert words in answer.text
    assert 'aria-current="page"' in answer.text


async def test_the_board_shows_what_waits_and_how_long_it_took(client: httpx.AsyncClient, archive: Archive) -> None:
    now = archive.now()
    await add_study(archive, "1.1", patient_name=NAME, came=now - dt.timedelta(days=2))
    for number in (2, 3):
        await add_study(archive, f"1.{number}", came=now - dt.timedelta(hours=26 * number))
        await add_report(archive, f"1.{number}", final_at=now - dt.timedelta(hours=26 * number - 3))
    html = (await client.get("/reports")).text
    assert SHOWN in html
    assert "<b>Richard" not in html
    assert "24 h 00 min late" in html
    assert "3 h 00 min" in html
    assert 'class="line-0" d="M' in html
    part = (await client.get("/reports", headers={"x-fileroom-part": "1"})).text
    assert "<html" not in part
    assert SHOWN in part
    assert (await client.get("/reports?days=8")).status_code == 400
    assert "No study waits" in (await client.get("/reports?modality=MR&days=30")).text
    assert (await client.post("/reports/targets", data={"priority": "ROUTINE", "minutes": "9000"})).status_code == 303
    assert "h 00 min late" not in (await client.get("/reports")).text
    assert (await client.post("/reports/targets", data={"priority": "ROUTINE", "minutes": "x"})).status_code == 400


async def test_the_list_is_searched(client: httpx.AsyncClient, archive: Archive) -> None:
    await add_study(archive, "1.1")
    number = await add_report(archive, "1.1", title="CT of the <i>knee</i>", accession_number="A77")
    html = (await client.get("/reports/list?text=A77&state=final")).text
    assert f'href="/reports/{number}"' in html
    assert "CT of the &lt;i&gt;knee" in html
    assert "No report that you may see fits" in (await client.get("/reports/list?text=zzz")).text


async def test_a_finding_is_noted_acknowledged_and_opened_again(client: httpx.AsyncClient, archive: Archive) -> None:
    await add_study(archive, "1.1", patient_name=NAME)
    report = await add_report(archive, "1.1")
    form = {"report": str(report), "finding": "Bleeding <now>", "level": "critical", "told_to": "Dr Ward"}
    assert (await client.post("/reports/critical/note", data={**form, "finding": ""})).status_code == 400
    assert (await client.post("/reports/critical/note", data=form)).status_code == 303
    html = (await client.get("/reports/critical")).text
    assert "Bleeding &lt;now&gt;" in html
    assert SHOWN in html
    [found] = await list_critical(archive)
    done = {"id": str(found.id), "comment": "on my way"}
    assert (await client.post("/reports/critical/acknowledge", data=done)).status_code == 303
    assert (await client.post("/reports/critical/acknowledge", data=done)).status_code == 409
    assert "on my way" in (await client.get("/reports/critical?done=acknowledged")).text
    assert (
        await client.post("/reports/critical/reopen", data={"id": str(found.id), "reason": "no"})
    ).status_code == 303
    assert len(await list_critical(archive)) == 1
    level = {"name": "critical", "version": "", "minutes": "15"}
    assert (await client.post("/reports/critical/levels", data=level)).status_code == 303
    assert "15 min" in (await client.get("/reports/critical")).text


async def test_what_does_not_fit_is_dismissed_put_back_and_assigned(
    client: httpx.AsyncClient, archive: Archive
) -> None:
    then = archive.now() - dt.timedelta(days=2)
    await add_study(archive, "1.1", patient_name=NAME, came=then, accession_number="A1")
    html = (await client.get("/reports/reconciliation")).text
    assert SHOWN in html
    form = {"kind": "images_without_report", "subject": "1.1", "reason": "seen elsewhere"}
    assert (await client.post("/reports/reconciliation/dismiss", data={**form, "reason": ""})).status_code == 400
    assert (await client.post("/reports/reconciliation/dismiss", data=form)).status_code == 303
    assert "seen elsewhere" in (await client.get("/reports/reconciliation?show=dismissed")).text
    back = {"kind": "images_without_report", "put_back": "1.1"}
    assert (await client.post("/reports/reconciliation/put-back", data=back)).status_code == 303
    assert len(await list_findings(archive, "images_without_report")) == 1
    report = await add_report(archive, "", source="hl7", changed_at=then, accession_number="A1")
    html = (await client.get("/reports/reconciliation?kind=reports_without_images")).text
    assert f'value="{report} 1.1"' in html
    form = {"kind": "reports_without_images", "assign": f"{report} 1.1"}
    assert (await client.post("/reports/reconciliation/assign", data=form)).status_code == 303
    assert (await get_report(archive, report)).study_instance_uid == "1.1"
    assert (await client.post("/reports/reconciliation/undo", data={"report": str(report)})).status_code == 303
    assert (await get_report(archive, report)).study_instance_uid == ""
    assert (await client.get("/reports/reconciliation?hours=99999")).status_code == 400


async def test_a_link_opens_the_study_offers_a_choice_or_teaches(client: httpx.AsyncClient, archive: Archive) -> None:
    await add_study(archive, "1.1", accession_number="A1", patient_id="P1", patient_name=NAME)
    await add_study(archive, "1.2", accession_number="A1", patient_id="P2")
    one = await client.get("/open?accession=A1&patient=P2")
    assert (one.status_code, one.headers["location"]) == (303, "/studies/1.2")
    seen = await client.get("/open?study=1.1&view=viewer")
    assert seen.headers["location"] == "/viewer?StudyInstanceUIDs=1.1"
    several = await client.get("/open?accession=A1")
    assert several.status_code == 200
    assert SHOWN in several.text
    assert 'href="/studies/1.1"' in several.text
    none = await client.get('/open?accession="><script>x&next=https://example.org')
    assert none.status_code == 404
    assert "<script>x" not in none.text
    assert (await client.get("/open")).status_code == 400


async def test_a_dictation_program_is_called_and_gets_its_file(client: httpx.AsyncClient, archive: Archive) -> None:
    await add_study(archive, "1.1", accession_number="A&1")
    assert "No reporting system is set up" in (await client.get("/reports/dictate?study=1.1")).text
    form = {"name": "dictate", "url": "dictate://open?accession={accession}", "context": "xml"}
    assert (await client.post("/reports/systems/save", data={**form, "url": "javascript:x"})).status_code == 400
    assert (await client.post("/reports/systems/save", data=form)).status_code == 303
    [system] = await list_systems(archive)
    html = (await client.get("/reports/dictate?study=1.1")).text
    assert 'href="dictate://open?accession=A%261"' in html
    got = await client.get("/reports/dictate/file?study=1.1&system=dictate")
    assert got.headers["content-disposition"] == 'attachment; filename="A1.xml"'
    assert "<accession>A&amp;1</accession>" in got.text
    link = got.text.partition("<context_link>")[2].partition("<")[0]
    assert (await client.get(link)).text.startswith("<?xml")
    assert (await client.get(link[:-5])).status_code == 404
    assert (await client.get("/reports/dictate?study=9.9")).status_code == 404
    refused = await client.post("/reports/dictate/write", data={"study": "1.1", "system": "dictate"})
    assert refused.status_code == 400
    changed = {**form, "version": str(system.version), "enabled": "1", "context": "json"}
    assert (await client.post("/reports/systems/save", data=changed)).status_code == 303
    assert (await client.post("/reports/systems/remove", data={"name": "dictate"})).status_code == 303


async def test_the_order_is_sent_when_somebody_asks(client: httpx.AsyncClient, archive: Archive) -> None:
    await add_study(archive, "1.1")
    await put_system(archive, "dictate", {"feed": "nowhere"})
    form = {"study": "1.1", "system": "dictate"}
    assert (await client.post("/reports/dictate/send", data=form)).status_code == 404
    number = await add_report(archive, "1.1")
    await note_critical(archive, number, "x")
    assert (await client.get("/reports/critical?report=1")).status_code == 200

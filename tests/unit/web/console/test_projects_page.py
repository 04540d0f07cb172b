"""The pages of de-identification: a project as a form, reports, and who a pseudonym is."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import httpx
import pytest
from pydicom.dataset import Dataset

from fileroom.archive.services import Archive
from fileroom.deid.pseudonyms import identity_of
from fileroom.routing.deid_projects import get_project, list_projects, put_project, read_project
from fileroom.routing.deid_reports import ReportRow, export_report, get_report, list_reports, record_report
from fileroom.routing.pseudonyms import open_pseudonyms
from fileroom.web.console.forms import Form
from fileroom.web.console.project_form import default_fields, fields_of_form

NEW = {
    "is_new": "1",
    "name": "S/1",
    "enabled": "1",
    "option": ["pixels", "descriptors"],
    "dates": "modified_dates",
    "pseudonym": "S-{n}",
    "shift_days": "100",
    "others": "make",
    "overrides": "StudyDescription keep\nManufacturer replace ACME <b>",
    "safe_private": "0019xx10 ACME 1.0",
    "devices": '[{"name": "banner", "where": {"Manufacturer": "ACME"}, "regions": [[0, 0, 100, 10]]}]',
    "patient_map": "P1,T-1",
}


@pytest.fixture
def archive(archive: Archive, tmp_path: Path) -> Archive:
    """With a data folder of its own, where the sealing key is made."""
    return dataclasses.replace(archive, settings=archive.settings.model_copy(update={"data": tmp_path / "data"}))


def test_defaults_are_a_project_that_holds() -> None:
    assert default_fields()["options"] == ["modified_dates", "pixels"]
    assert fields_of_form(Form([("pseudonym", "S-{n}"), ("shift_days", "x")]))["shift_days"] == "x"


async def test_project_is_added_changed_and_removed(client: httpx.AsyncClient, archive: Archive) -> None:
    assert "There is no project yet" in (await client.get("/routing/projects")).text
    assert (await client.post("/routing/projects/save", data=NEW)).status_code == 400
    answer = await client.post("/routing/projects/save", data={**NEW, "name": "S1"})
    assert answer.headers["location"] == "/routing/projects/project?name=S1&done=saved"
    fields = (await get_project(archive, "S1")).fields
    assert fields["options"] == ["modified_dates", "descriptors", "pixels"]
    assert fields["overrides"][1] == {"tag": "00080070", "action": "replace", "value": "ACME <b>"}
    assert fields["patient_map"] == "secret"
    html = (await client.get(answer.headers["location"])).text
    assert "StudyDescription keep" in html
    assert "ACME &lt;b&gt;" in html
    assert "T-1" not in html
    changed = {**NEW, "name": "S1", "is_new": "", "version": "1", "dates": "", "patient_map": "", "has_map": "1"}
    assert (await client.post("/routing/projects/save", data=changed)).status_code == 303
    assert (await read_project(archive, "S1")).patients == {"P1": "T-1"}
    assert (await client.post("/routing/projects/save", data={**changed, "dates": "full_dates"})).status_code == 409
    wrong = await client.post("/routing/projects/save", data={**changed, "version": "2", "devices": "{<i>"})
    assert wrong.status_code == 400
    assert "{&lt;i&gt;" in wrong.text
    assert (await client.post("/routing/projects/remove", data={"name": "S1"})).status_code == 303
    assert await list_projects(archive) == []


async def test_report_is_shown_and_downloaded_without_anybodys_name(
    client: httpx.AsyncClient, archive: Archive
) -> None:
    await put_project(archive, "S", {})
    project = await read_project(archive, "S")
    rows = [
        ReportRow("2.25.2", "1.2.840.10008.5.1.4.1.1.2", "", {"removed": 3}, (), "computed image"),
        ReportRow("2.25.3", "1.2.840.10008.5.1.4.1.1.6.1", "", {}, ((0, 0, 9, 5),), "ultrasound regions"),
    ]
    number = await record_report(archive, project, "RESEARCH", "2.25.1", rows)
    again = ReportRow("2.25.3", "1.2.840.10008.5.1.4.1.1.6.1", "There is no rule for <ACME>.")
    assert await record_report(archive, project, "RESEARCH", "2.25.1", [again]) == number
    [head] = await list_reports(archive, project="S")
    assert (head.objects, head.quarantined, head.destination) == (2, 1, "RESEARCH")
    assert await list_reports(archive, before=number) == []
    found = (await get_report(archive, number))[1]
    assert [one.sop_instance_uid for one in found] == ["2.25.3", "2.25.2"]  # what was held back first
    html = (await client.get(f"/routing/projects/report?number={number}")).text
    assert "There is no rule for &lt;ACME&gt;." in html
    assert "CT Image Storage" in html
    text = (await client.get(f"/routing/projects/report.csv?number={number}")).text
    assert text == await export_report(archive, number)
    assert "S,1,RESEARCH,2.25.1,2.25.2,CT Image Storage,cleaned,computed image,removed: 3," in text
    assert (await client.get("/routing/projects/report?number=x")).status_code == 400
    assert (await client.get("/routing/projects/report?number=77")).status_code == 404


async def test_pseudonym_is_revealed_with_a_reason(client: httpx.AsyncClient, archive: Archive) -> None:
    await put_project(archive, "S", {"pseudonym": "S-{n}"})
    header = Dataset()
    header.PatientID, header.PatientName = "P4711", "DOE^<b>JANE"
    opened = await open_pseudonyms(archive, "S")
    await opened.learn([header])
    assert opened.patient(identity_of(header)).patient_id == "S-1"
    asked = {"project": "S", "pseudonym": "S-1", "reason": "adverse event"}
    shown = await client.post("/routing/projects/reveal", data=asked)
    assert "P4711" in shown.text
    assert "DOE^&lt;b&gt;JANE" in shown.text
    assert "no-store" in shown.headers["cache-control"]
    refused = await client.post("/routing/projects/reveal", data={**asked, "reason": " "})
    assert refused.status_code == 400
    assert "P4711" not in refused.text
    assert (await client.post("/routing/projects/reveal", data={**asked, "pseudonym": "S-9"})).status_code == 404

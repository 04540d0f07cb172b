"""The pages of reports: begun, written, signed, read with their versions; what is refused stays in the form."""

from __future__ import annotations

import re

import httpx
import pytest

from fileroom.archive.services import Archive
from fileroom.reports.editing import begin_report, correct_report, read_edit, save_report, sign_report
from fileroom.reports.facts import ReportSection, ReportState
from fileroom.reports.reports import get_versions
from fileroom.reports.templates import list_templates
from fileroom.web.console.word_differences import Piece, compare_texts
from stored_objects import make_file, store_file

STUDY = "1.2.3"
FOUND = (ReportSection("Findings <b>", "No <script>alert(1)</script> nodule."), ReportSection("Impression", "Normal."))
FORM = {"title": "CT", "heading": ["Findings", "Impression"], "text": ["No nodule.", "Normal."]}


@pytest.fixture(autouse=True)
async def _study(archive: Archive) -> None:
    await store_file(
        archive,
        make_file(StudyInstanceUID=STUDY, PatientName="Doe^Jane <i>", StudyDescription="CT chest", Modality="CT"),
    )


async def signed(archive: Archive) -> int:
    number = await begin_report(archive, STUDY, "")
    edit = await save_report(archive, number, 0, FOUND, "CT <u>")
    await sign_report(archive, number, edit.edits, ReportState.FINAL)
    return number


async def test_a_report_from_the_study_to_the_signature(client: httpx.AsyncClient, archive: Archive) -> None:
    html = (await client.get(f"/studies/{STUDY}")).text
    assert f'href="/reports/new?study={STUDY}"' in html
    assert "Nobody has reported on this study yet" in html
    await client.post("/reports/templates/starters", data={"language": "en"})
    html = (await client.get(f"/reports/new?study={STUDY}")).text
    assert 'value="CT chest" checked' in html
    begun = await client.post("/reports/begin", data={"study": STUDY, "template": "CT chest"})
    assert (begun.status_code, begun.headers["location"]) == (303, "/reports/1/edit")
    html = (await client.get("/reports/1/edit")).text
    assert "CT of the chest" in html
    assert "no consolidation" in html
    saved = await client.post("/reports/1/save", data={**FORM, "edits": "0", "then": "sign"})
    assert saved.headers["location"] == "/reports/1/sign"
    html = (await client.get("/reports/1/sign")).text
    assert "No nodule." in html
    assert "Sign as final" in html
    done = await client.post("/reports/1/sign", data={"edits": "1", "state": "final"})
    assert done.headers["location"] == "/reports/1?done=signed"
    html = (await client.get("/reports/1")).text
    assert "No nodule." in html
    assert "Signed by" in html
    html = (await client.get(f"/studies/{STUDY}")).text
    assert '<p class="excerpt">Normal.</p>' in html
    assert "Report: final" in (await client.get("/")).text


async def test_text_is_never_markup(client: httpx.AsyncClient, archive: Archive) -> None:
    number = await signed(archive)
    edit = await read_edit(archive, number)
    await save_report(archive, number, edit.edits, [ReportSection("<b>", "</textarea><script>x</script>")])
    for path in (f"/reports/{number}", f"/reports/{number}/edit", f"/reports/{number}/sign", f"/studies/{STUDY}"):
        html = (await client.get(path)).text
        assert "<script>alert" not in html
        assert "<script>x" not in html
        assert "Jane <i>" not in html


async def test_saving_by_script_tells_the_number_and_the_time(client: httpx.AsyncClient, archive: Archive) -> None:
    await begin_report(archive, STUDY, "")
    part = {"x-fileroom-part": "1"}
    answer = await client.post("/reports/1/save", data={**FORM, "edits": "0"}, headers=part)
    assert answer.json()["edits"] == 1
    assert re.search(r"\d:\d\d", answer.json()["saved"])
    stale = await client.post("/reports/1/save", data={**FORM, "edits": "0", "title": "Other"}, headers=part)
    assert (stale.status_code, stale.json()["conflict"]) == (409, True)
    assert "nothing of yours is written yet" in stale.json()["told"]


async def test_what_is_refused_stays_in_the_form_beside_what_is_there(
    client: httpx.AsyncClient, archive: Archive
) -> None:
    await begin_report(archive, STUDY, "")
    await save_report(archive, 1, 0, [ReportSection("Findings", "theirs\nlines")])
    answer = await client.post("/reports/1/save", data={**FORM, "edits": "0", "text": ["mine", "too"]})
    assert answer.status_code == 409
    assert ">\nmine</textarea>" in answer.text
    assert "theirs\nlines" in answer.text
    assert 'name="edits" value="1"' in answer.text  # saving again puts mine in the place of theirs
    again = await client.post("/reports/1/save", data={**FORM, "edits": "1", "text": ["mine", "too"]})
    assert again.status_code == 303
    long = await client.post("/reports/1/save", data={**FORM, "edits": "2", "text": ["x" * 400_001, "y"]})
    assert long.status_code == 413
    assert "x" * 400_001 in long.text


async def test_sections_are_added_moved_and_removed(client: httpx.AsyncClient, archive: Archive) -> None:
    await begin_report(archive, STUDY, "")
    edits = 0
    for change, headings in (
        ("add", ["Findings", "Impression", ""]),
        ("up 1", ["Impression", "Findings", ""]),
        ("down 0", ["Findings", "Impression", ""]),
        ("remove 2", ["Findings", "Impression"]),
    ):
        edit = await read_edit(archive, 1)
        sections = edit.sections if edits else ()
        data = {
            "title": "CT",
            "edits": str(edit.edits),
            "change": change,
            "heading": [one.heading for one in sections] or FORM["heading"],
            "text": [one.text for one in sections] or FORM["text"],
        }
        answer = await client.post("/reports/1/save", data=data)
        assert answer.status_code == 303, answer.text
        edit = await read_edit(archive, 1)
        edits = edit.edits
        assert [one.heading for one in edit.sections] == headings
    wrong = await client.post("/reports/1/save", data={**FORM, "edits": str(edits), "change": "remove 9"})
    assert wrong.status_code == 400


async def test_versions_and_their_differences(client: httpx.AsyncClient, archive: Archive) -> None:
    number = await signed(archive)
    added = await client.post(f"/reports/{number}/addendum", data={"version": "2", "text": "Seen with <b>Dr. X</b>."})
    assert added.headers["location"] == f"/reports/{number}?done=addendum"
    edit = await read_edit(archive, number)
    edit = await save_report(archive, number, edit.edits, (FOUND[0], ReportSection("Impression", "Not normal.")))
    await correct_report(archive, number, edit.edits, "typing error")
    html = (await client.get(f"/reports/{number}?from=2&to=4")).text
    assert re.search(r"<del>Normal</del><ins>Not normal</ins>", html)
    assert "<ins>Seen with &lt;b&gt;Dr. X&lt;/b&gt;.</ins>" in html
    assert "typing error" in html
    old = (await client.get(f"/reports/{number}?version=2")).text
    assert "no longer holds" in old
    assert (await client.get(f"/reports/{number}?version=9")).status_code == 404
    assert (await client.get(f"/reports/{number}?from=2&to=x")).status_code == 404


async def test_a_stale_addendum_is_refused_with_its_text(client: httpx.AsyncClient, archive: Archive) -> None:
    number = await signed(archive)
    answer = await client.post(f"/reports/{number}/addendum", data={"version": "1", "text": "my words"})
    assert (answer.status_code, "my words" in answer.text) == (409, True)
    assert len(await get_versions(archive, number)) == 2


async def test_cancelling_asks_for_a_reason(client: httpx.AsyncClient, archive: Archive) -> None:
    number = await signed(archive)
    assert (await client.post(f"/reports/{number}/cancel", data={"reason": " "})).status_code == 400
    assert (await client.post(f"/reports/{number}/cancel", data={"reason": "wrong patient"})).status_code == 303
    html = (await client.get(f"/reports/{number}")).text
    assert "It must not be relied on." in html
    assert "wrong patient" in html
    assert (await client.get(f"/reports/{number}/edit")).status_code == 409


async def test_a_document_is_shown_where_it_is_a_pdf_and_taken_away_otherwise(
    client: httpx.AsyncClient, archive: Archive
) -> None:
    number = await signed(archive)
    assert (await client.get(f"/reports/{number}/document")).status_code == 404
    for kind, disposition in (("application/pdf", "inline"), ("text/xml", "attachment"), ("text/rtf", "attachment")):
        async with archive.pool.connection() as connection:
            await connection.execute(
                b"UPDATE report_version SET document = %s, document_type = %s WHERE report = %s AND version = 2",
                (b"<x/>", kind, number),
            )
        answer = await client.get(f"/reports/{number}/document")
        assert answer.content == b"<x/>"
        assert answer.headers["content-disposition"].startswith(disposition)
        assert answer.headers["x-content-type-options"] == "nosniff"
        html = (await client.get(f"/reports/{number}")).text
        assert ("<object" in html) is (kind == "application/pdf")
        assert f"/reports/{number}/document?version=2" in html


@pytest.mark.parametrize("path", ["/reports/9", "/reports/x", "/reports/9/edit", "/reports/new?study=9.9"])
async def test_what_is_not_there_is_not_found(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code == 404


async def test_templates_are_begun_with_starters_and_edited(client: httpx.AsyncClient, archive: Archive) -> None:
    assert "There are no templates yet" in (await client.get("/reports/templates")).text
    await client.post("/reports/templates/starters", data={"language": "de"})
    html = (await client.get("/reports/templates/template?name=CT+Thorax")).text
    assert "Befund" in html
    fields = {"modalities": "CT, PT", "title": "{Procedure}", "language": "de", "enabled": "1"}
    texts = {"heading": ["A", "", "B"], "text": ["{Reason}", " ", ""]}
    form = {"name": "CT Thorax", "version": "1", **fields, **texts}
    assert (await client.post("/reports/templates/save", data=form)).status_code == 303
    entry = next(one for one in await list_templates(archive) if one.name == "CT Thorax")
    assert [one["heading"] for one in entry.fields["sections"]] == ["A", "B"]
    assert (await client.post("/reports/templates/save", data=form)).status_code == 409
    wrong = {**form, "version": "2", "text": ["{Reson}", "", "kept"]}
    answer = await client.post("/reports/templates/save", data=wrong)
    assert (answer.status_code, "{Reson}" in answer.text, ">\nkept<" in answer.text) == (400, True, True)
    new = await client.post("/reports/templates/save", data={**form, "name": "New", "is_new": "1", "version": ""})
    assert new.status_code == 303
    assert (await client.post("/reports/templates/remove", data={"name": "New"})).status_code == 303


def test_words_that_came_and_went() -> None:
    assert compare_texts("No nodule.", "No large nodule.") == [
        Piece("same", "No"),
        Piece("added", " large"),
        Piece("same", " nodule."),
    ]
    assert compare_texts("", "x") == [Piece("added", "x")]
    assert compare_texts("same", "same") == [Piece("same", "same")]


def test_long_texts_are_compared_in_lines_and_then_as_a_whole() -> None:
    before = "\n".join(f"line {place}" for place in range(3000))
    after = before.replace("line 1500\n", "")
    assert [one for one in compare_texts(before, after) if one.kind != "same"] == [Piece("removed", "line 1500\n")]
    lines = "a\n" * 5000
    assert [one.kind for one in compare_texts(lines, lines + "b")] == ["removed", "added"]

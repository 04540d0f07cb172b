"""The pages of treatments: rows become steps and rows again, a trial shows what would change."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from fileroom.archive.services import Archive
from fileroom.routing.treatments import get_treatment, list_treatments, put_treatment
from fileroom.web.console.forms import Form
from fileroom.web.console.treatment_form import fields_of_form, rows_of
from stored_objects import make_file, store_file

STEPS: list[dict[str, Any]] = [
    {"do": "set", "attribute": "InstitutionName", "value": "St. <Mary>", "when": 'Modality == "CT"'},
    {"do": "set", "attribute": "ImageType", "value": ["DERIVED", "PRIMARY"]},
    {"do": "replace", "attribute": "PatientID", "pattern": "^0+", "with": ""},
    {"do": "map", "attribute": "StationName", "table": {"CT1": "CT ONE", "CT2": "CT TWO"}, "otherwise": "fail"},
    {"do": "copy", "from": "PatientID", "attribute": "OtherPatientIDs"},
    {"do": "new_uids", "attributes": ["StudyInstanceUID"]},
    {"do": "remove", "attribute": "(0029,1010)"},
]
ROW = {"step.do": "prefix", "step.attribute": "PatientID", "step.value": "N-"}
EMPTY = {"step.more": "", "step.otherwise": "", "step.when": ""}
NEW = {"is_new": "1", "name": "north/?", "enabled": "1", "prove_pixels": "1", **ROW, **EMPTY}


def test_rows_say_the_same_steps_again() -> None:
    rows = rows_of(STEPS)
    assert rows is not None
    sent = [
        (f"step.{name}", getattr(row, name))
        for row in rows
        for name in ("do", "attribute", "value", "more", "otherwise", "when")
    ]
    assert fields_of_form(Form(sent))["steps"] == STEPS


def test_what_rows_cannot_say_is_edited_as_json() -> None:
    assert rows_of([{"do": "set", "attribute": "PatientID", "value": "1", "when": {"all": []}}]) is None
    assert rows_of([STEPS[0]] * 40) is None


async def test_treatment_is_added_changed_and_removed(client: httpx.AsyncClient, archive: Archive) -> None:
    assert "There is no treatment yet" in (await client.get("/routing/treatments")).text
    assert (await client.post("/routing/treatments/save", data=NEW)).status_code == 400
    answer = await client.post("/routing/treatments/save", data={**NEW, "name": "north"})
    assert answer.headers["location"] == "/routing/treatments/treatment?name=north&done=saved"
    assert (await get_treatment(archive, "north")).fields == {
        "steps": [{"do": "prefix", "attribute": "PatientID", "value": "N-"}]
    }
    html = (await client.get(answer.headers["location"])).text
    assert 'value="N-"' in html
    changed = {**NEW, "name": "north", "is_new": "", "version": "1", "step.value": "S-", "charset": "ISO_IR 100"}
    assert (await client.post("/routing/treatments/save", data=changed)).status_code == 303
    assert (await client.post("/routing/treatments/save", data={**changed, "step.value": "T-"})).status_code == 409
    assert (await get_treatment(archive, "north")).fields["charset"] == "ISO_IR 100"
    assert "north" in (await client.get("/routing/treatments")).text
    assert (await client.post("/routing/treatments/remove", data={"name": "north"})).status_code == 303
    assert await list_treatments(archive) == []


async def test_what_is_wrong_is_told_and_what_was_typed_stays(client: httpx.AsyncClient) -> None:
    answer = await client.post("/routing/treatments/save", data={**NEW, "name": "a", "step.attribute": "PatentID<b>"})
    assert answer.status_code == 400
    assert "PatentID&lt;b&gt;" in answer.text
    assert "<b>" not in answer.text.partition("<main")[2].partition("PatentID")[2][:20]
    german = await client.post(
        "/routing/treatments/save",
        data={**NEW, "name": "a", "syntax": "1.2.840.10008.1.2.4.91"},
        headers={"accept-language": "de"},
    )
    assert german.status_code == 400
    assert "verliert Information der Pixel" in german.text
    assert "Eine neue Behandlung" in german.text


async def test_trial_shows_before_and_after_and_writes_nothing(client: httpx.AsyncClient, archive: Archive) -> None:
    await store_file(archive, make_file())
    asked = {**NEW, "name": "north", "sop_instance_uid": "1.2.3.1.1.1"}
    html = (await client.post("/routing/treatments/try", data=asked)).text
    assert "<del>P1</del>" in html
    assert "<ins>N-P1</ins>" in html
    assert await list_treatments(archive) == []
    unchanged = await client.post("/routing/treatments/try", data={**asked, "step.value": ""})
    assert "bit by bit" in unchanged.text
    failed = await client.post("/routing/treatments/try", data={**asked, "step.attribute": "StudyDate"})
    assert "Step 1 (prefix StudyDate)" in failed.text
    assert (await client.post("/routing/treatments/try", data={**asked, "sop_instance_uid": "1.9"})).status_code == 404


@pytest.mark.parametrize("user", ["rules", "destinations"])
async def test_treatment_in_use_is_not_removed(client: httpx.AsyncClient, archive: Archive, user: str) -> None:
    await put_treatment(archive, "north", {})
    async with archive.pool.connection() as connection:
        await connection.execute(
            b"""INSERT INTO named_entry (section, name, fields, changed_by)
                VALUES (%s, 'X', '{"treatment": "north"}', 'me')""",
            (user,),
        )
    answer = await client.post("/routing/treatments/remove", data={"name": "north"})
    assert answer.status_code == 409
    assert f"{user[:-1]} X" in answer.text

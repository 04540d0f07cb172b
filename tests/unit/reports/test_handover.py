"""Hand-over to a dictation program: links that find a study, its URL and file, and values that mean no good."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree

import pytest

from fileroom.archive.services import Archive
from fileroom.core.access import NOBODY, Access, ActorKind, Permission, RowScope, acting_as
from fileroom.core.errors import ConfigurationError, InvalidRequestError, NotAllowedError, NotFoundError
from fileroom.reports.handover import CONTEXT_PATH, find_studies, hand_over, open_context
from fileroom.reports.reporting_systems import put_system
from fileroom.routing.dictation import put_context
from report_rows import add_study, insert
from worklist_rows import add_patient, add_step

URL = "dictate://open?accession={accession}&patient={patient_id}&by={user}"
HOSTILE = 'A1&admin=1"</exam>{user}%'


@pytest.fixture
def kept(archive: Archive, tmp_path: Path) -> Archive:
    return replace(archive, settings=archive.settings.model_copy(update={"data": tmp_path}))


async def uids(archive: Archive, **asked: str) -> list[str]:
    return sorted(one.study_instance_uid for one in await find_studies(archive, **asked))


async def test_a_link_finds_by_the_numbers_of_images_and_orders(archive: Archive) -> None:
    await add_study(archive, "1.1", accession_number="A1", patient_id="P1")
    await add_study(archive, "1.2", accession_number="A1", patient_id="P2")
    await add_study(archive, "1.3", accession_number="", patient_id="P1")
    await add_step(archive, 7, patient_id="P7")  # accession A7
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(b"SELECT id FROM imaging_order")
        [order] = await cursor.fetchone() or (0,)
    await insert(
        archive, "study_match", study_instance_uid="1.3", imaging_order=order, how="person", score=1, matched_by="x"
    )
    assert await uids(archive, accession="A1") == ["1.1", "1.2"]
    assert await uids(archive, accession="A1", patient="P2") == ["1.2"]
    assert await uids(archive, accession="A7") == ["1.3"]
    assert await uids(archive, accession="A7", issuer="RIS") == ["1.3"]
    assert await uids(archive, accession="A7", issuer="OTHER") == []
    assert await uids(archive, study_uid="1.2") == ["1.2"]
    assert await uids(archive, accession="nothing") == []
    with pytest.raises(InvalidRequestError, match="accession"):
        await find_studies(archive, patient="P1")


async def test_the_issuer_of_the_images_and_another_number_of_the_patient(archive: Archive) -> None:
    issuer = {"00400031": {"vr": "UT", "Value": ["EAST"]}}
    await add_study(
        archive, "1.1", accession_number="A1", patient_id="P1", issuer_of_accession_number_sequence=[issuer]
    )
    await add_study(archive, "1.2", accession_number="A1", patient_id="P2", issuer_of_accession_number_sequence=[])
    patient = await add_patient(archive, "P1")
    await insert(archive, "patient_identifier", patient=patient, home=patient, authority="OTHER", value="X9")
    assert await uids(archive, accession="A1", issuer="EAST") == ["1.1"]
    assert await uids(archive, accession="A1", issuer="EAS") == []
    assert await uids(archive, accession="A1", patient="X9") == ["1.1"]


@pytest.mark.parametrize(
    "fields",
    [
        {"url": "javascript:alert({accession})"},
        {"url": "data:text/html,{accession}"},
        {"url": "//example.org/{accession}"},
        {"url": "https://{patient_id}/x"},
        {"url": "https://example.org/{nonsense}"},
        {"url": "dictate://a b"},
        {"context": "text"},
        {"context": "yaml"},
        {"context": "xml", "extension": "../x"},
        {"context": "xml", "media_type": "text/html\r\nx: y"},
        {"url": "dictate://x", "folder": "out"},
        {"feed": "x", "colour": "blue"},
        {},
    ],
)
async def test_a_reporting_system_that_makes_no_sense_is_refused(archive: Archive, fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError):
        await put_system(archive, "dictate", fields)


async def test_url_and_files_hold_values_as_their_form_wants_them(kept: Archive) -> None:
    await add_study(kept, "1.1", accession_number=HOSTILE, patient_id="Ä 1", patient_name="Doe^\x01Jane")
    await put_system(kept, "xml", {"url": URL, "context": "xml"})
    made = await hand_over(kept, "1.1", "xml")
    asked = parse_qs(urlsplit(made.url).query)
    assert asked == {"accession": [HOSTILE], "patient": ["Ä 1"], "by": ["system"]}
    assert (made.media_type, made.file_name) == ("application/xml", "A1admin1examuser.xml")
    exam = ElementTree.fromstring(made.content)
    assert (exam.findtext("accession"), exam.findtext("patient_name")) == (HOSTILE, "Doe^Jane")
    await put_system(kept, "json", {"context": "json"})
    assert json.loads((await hand_over(kept, "1.1", "json")).content)["accession"] == HOSTILE
    template = '{"exam": {"number": "{accession}", "of": "{patient_name}"}}'
    await put_system(kept, "own", {"context": "json", "template": template, "extension": "psc"})
    own = await hand_over(kept, "1.1", "own")
    assert json.loads(own.content) == {"exam": {"number": HOSTILE, "of": "Doe^\x01Jane"}}
    assert own.file_name.endswith(".psc")
    await put_system(kept, "ini", {"context": "text", "template": "[exam]\nnumber={accession}\n"})
    assert (await hand_over(kept, "1.1", "ini")).content == f"[exam]\nnumber={HOSTILE}".encode()


async def test_who_may_and_that_it_is_put_down(kept: Archive) -> None:
    await add_study(kept, "1.1")
    await put_system(kept, "xml", {"context": "xml"})
    reader = Access(ActorKind.PERSON, "ada", frozenset([Permission.STUDY_VIEW]), account_id=1)
    with acting_as(reader), pytest.raises(NotAllowedError):
        await hand_over(kept, "1.1", "xml")
    writer = replace(reader, permissions=reader.permissions | {Permission.REPORT_WRITE})
    with acting_as(writer):
        await hand_over(kept, "1.1", "xml")
    with acting_as(replace(writer, rows=RowScope(modalities=("MR",)))), pytest.raises(NotFoundError):
        await hand_over(kept, "1.1", "xml")
    await put_system(kept, "xml", {"context": "xml"}, enabled=False)
    with pytest.raises(InvalidRequestError, match="disabled"):
        await hand_over(kept, "1.1", "xml")
    async with kept.pool.connection() as connection:
        cursor = await connection.execute(b"SELECT count(*) FROM audit_event")
        assert (await cursor.fetchone() or (0,))[0] >= 1


async def test_a_link_gives_the_file_for_a_few_minutes(kept: Archive) -> None:
    await add_study(kept, "1.1", accession_number="A1")
    await put_system(kept, "xml", {"context": "xml"})
    made = await hand_over(kept, "1.1", "xml")
    link = ElementTree.fromstring(made.content).findtext("context_link") or ""
    assert link.startswith(CONTEXT_PATH)
    sealed = link.removeprefix(CONTEXT_PATH)
    with acting_as(NOBODY):
        again = await open_context(kept, sealed)
        assert ElementTree.fromstring(again.content).findtext("accession") == "A1"
        for wrong in ("", "x", sealed[:-4], sealed[::-1], "ä", "A" * 3000):
            with pytest.raises(NotFoundError, match="over"):
                await open_context(kept, wrong)
        later = replace(kept, now=lambda: dt.datetime.now(dt.UTC) + dt.timedelta(minutes=11))
        with pytest.raises(NotFoundError, match="over"):
            await open_context(later, sealed)
    await put_system(kept, "xml", {"context": "xml"}, enabled=False)
    with acting_as(NOBODY), pytest.raises(NotFoundError):
        await open_context(kept, sealed)


async def test_a_file_in_the_folder_that_is_allowed(kept: Archive, tmp_path: Path) -> None:
    folder = tmp_path.parent / f"{tmp_path.name}-share"
    folder.mkdir()
    await add_study(kept, "1.1", accession_number="../../x")
    await put_system(kept, "xml", {"context": "xml", "folder": str(folder)})
    with pytest.raises(ConfigurationError, match="routing_folders"):
        await put_context(kept, "1.1", "xml")
    allowed = replace(kept, settings=kept.settings.model_copy(update={"routing_folders": str(folder)}))
    name = await put_context(allowed, "1.1", "xml")
    assert name == "x-1.1.xml"
    assert [one.name for one in folder.iterdir()] == [name]
    assert ElementTree.fromstring((folder / name).read_bytes()).findtext("study_uid") == "1.1"
    await put_system(kept, "none", {"url": URL})
    with pytest.raises(InvalidRequestError, match="folder"):
        await put_context(allowed, "1.1", "none")

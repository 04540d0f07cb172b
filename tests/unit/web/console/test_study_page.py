"""The page of a study: patient, priors, series, quick look, reports, documents, attributes with their corrections."""

from __future__ import annotations

import re

import httpx
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from fileroom.archive.correct import Corrections, add_corrections
from fileroom.archive.services import Archive
from fileroom.core.access import Access, ActorKind, Permission, acting_as
from fileroom.dicom.correction import AttributeCorrection
from fileroom.web.app import create_router
from stored_objects import make_file, store_file

STUDY = "/studies/1.2.3.1"
SERIES = f"{STUDY}/series/1.2.3.1.1"
INSTANCE = f"{SERIES}/instances/1.2.3.1.1.1"
PART = {"x-fileroom-part": "1"}
SR = "1.2.840.10008.5.1.4.1.1.88.33"
PDF = "1.2.840.10008.5.1.4.1.1.104.1"


def item(**values: object) -> Dataset:
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def code(meaning: str) -> Sequence:
    return Sequence([item(CodeValue="1", CodingSchemeDesignator="99T", CodeMeaning=meaning)])


def content(kind: str, name: str, **values: object) -> Dataset:
    return item(RelationshipType="CONTAINS", ValueType=kind, ConceptNameCodeSequence=code(name), **values)


def report_file() -> bytes:
    measured = Sequence([item(NumericValue="12.5", MeasurementUnitsCodeSequence=Sequence([item(CodeValue="mm")]))])
    findings = content(
        "CONTAINER",
        "Findings",
        ContentSequence=Sequence(
            [
                content("TEXT", "Finding", TextValue="A nodule <b>of</b> the lung"),
                content("NUM", "Diameter", MeasuredValueSequence=measured),
                content("CODE", "Side", ConceptCodeSequence=code("Left")),
                content("PNAME", "Observer", PersonName="HOUSE^GREGORY"),
            ]
        ),
    )
    return make_file(
        SOPClassUID=SR,
        Modality="SR",
        pixels=None,
        ValueType="CONTAINER",
        ConceptNameCodeSequence=code("Chest report"),
        ContentSequence=Sequence([findings]),
    )


async def test_the_page_names_the_patient_and_what_must_not_be_overlooked(
    client: httpx.AsyncClient, archive: Archive
) -> None:
    await store_file(
        archive,
        make_file(
            PatientName="Buc^Jérôme=山田^太郎",
            SpecificCharacterSet="ISO_IR 192",
            PatientBirthDate="19800215",
            PatientSex="M",
            Allergies=["Penicillin", "Nuts"],
            StudyDescription="Thorax",
        ),
    )
    html = (await client.get(STUDY)).text
    assert "Buc, Jérôme" in html
    assert "山田 太郎" in html
    assert "45 years" in html
    assert "Penicillin; Nuts" in html
    assert "Thorax" in html
    assert "/viewer?StudyInstanceUIDs=1.2.3.1" in html


async def test_priors_of_the_same_patient_are_on_the_time_line(client: httpx.AsyncClient, archive: Archive) -> None:
    for number, (patient, issuer) in enumerate((("P1", "A"), ("P1", "A"), ("P1", "B"), ("P2", "A")), start=1):
        uid = f"1.2.3.{number}"
        names = {"StudyInstanceUID": uid, "SeriesInstanceUID": f"{uid}.1", "SOPInstanceUID": f"{uid}.1.1"}
        identity = {"PatientID": patient, "IssuerOfPatientID": issuer}
        await store_file(archive, make_file(**names, **identity, StudyDate=f"202{number}0101"))
    html = (await client.get(STUDY)).text
    drawn = re.findall(r'<a href="/studies/([\d.]+)"(?: class="current" aria-current="page")?><title>', html)
    assert drawn == ["1.2.3.1", "1.2.3.2"]


async def test_the_quick_look_knows_the_frames_in_order_and_the_window(
    client: httpx.AsyncClient, archive: Archive
) -> None:
    for number in (2, 1, 3):
        await store_file(
            archive,
            make_file(SOPInstanceUID=f"1.2.3.1.1.{number}", InstanceNumber=number, WindowCenter=40, WindowWidth=400),
        )
    look = (await client.get(f"{SERIES}/look")).json()
    assert look == {"instances": [[f"1.2.3.1.1.{number}", 1] for number in (1, 2, 3)], "window": [40.0, 400.0]}
    html = (await client.get(STUDY)).text
    assert f'data-look="{SERIES}/look"' in html
    assert 'src="/dicom-web/studies/1.2.3.1/series/1.2.3.1.1/instances/1.2.3.1.1.2/frames/1/rendered"' in html
    assert (await client.get("/dicom-web" + INSTANCE + "/frames/1/rendered?window=40,400,linear")).status_code == 200


async def test_a_report_is_shown_as_headings_and_values(client: httpx.AsyncClient, archive: Archive) -> None:
    await store_file(archive, report_file())
    html = re.sub(r"\s+", " ", (await client.get(STUDY)).text)
    for shown in ("<h2>Chest report</h2>", "<h3>Findings</h3>", "12.5 mm", "HOUSE, GREGORY", "Left"):
        assert shown in html
    assert "A nodule &lt;b&gt;of&lt;/b&gt; the lung" in html


async def test_a_pdf_stands_in_the_page_and_only_there(client: httpx.AsyncClient, archive: Archive) -> None:
    document = b"%PDF-1.4 test "
    attributes = {"SOPClassUID": PDF, "Modality": "DOC", "MIMETypeOfEncapsulatedDocument": "application/pdf"}
    await store_file(archive, make_file(pixels=None, **attributes, EncapsulatedDocument=document))
    assert f'src="{INSTANCE}/document"' in (await client.get(STUDY)).text
    answer = await client.get(f"{INSTANCE}/document")
    assert answer.content == document
    assert answer.headers["content-type"] == "application/pdf"
    assert "frame-ancestors 'self'" in answer.headers["content-security-policy"]
    assert "script-src" not in answer.headers["content-security-policy"]


async def test_attributes_show_what_was_received_beside_what_is_shown(
    client: httpx.AsyncClient, archive: Archive
) -> None:
    await store_file(archive, make_file(StudyDescription="Hed"))
    change = AttributeCorrection((0x00081030,), "LO", ("Head",))
    added = AttributeCorrection((0x00104000,), "LT", ("<i>new</i>",))
    await add_corrections(archive, Corrections("1.2.3.1", (change, added), "typing error", "ann"))
    html = (await client.get(f"{INSTANCE}/attributes", headers=PART)).text
    assert '<del title="received">Hed</del> <ins title="shown">Head</ins>' in html
    assert '<ins title="shown">&lt;i&gt;new&lt;/i&gt;</ins>' in html
    assert "2 attributes are shown otherwise" in html
    assert "<html" not in html
    assert "<html" in (await client.get(f"{INSTANCE}/attributes")).text
    assert "Corrected by ann: typing error" in (await client.get(STUDY)).text


async def test_another_series_is_chosen_by_the_address_and_sent_as_a_part(
    client: httpx.AsyncClient, archive: Archive
) -> None:
    await store_file(archive, make_file())
    await store_file(archive, make_file(SeriesInstanceUID="1.2.3.1.2", SOPInstanceUID="1.2.3.1.2.1", SeriesNumber=2))
    html = (await client.get(f"{STUDY}?series=1.2.3.1.2", headers=PART)).text
    assert "<html" not in html
    assert "/series/1.2.3.1.2/look" in html


@pytest.mark.parametrize(
    "address",
    ["/studies/9.9.9", "/studies/x", f"{STUDY}?series=x", f"{STUDY}?from=-1", f"{SERIES}/instances/9/document"],
)
async def test_what_is_not_there_is_a_page_that_says_so(
    client: httpx.AsyncClient, archive: Archive, address: str
) -> None:
    await store_file(archive, make_file())
    answer = await client.get(address)
    assert answer.status_code in (400, 404)
    assert 'role="alert"' in answer.text


async def test_who_may_only_search_sees_no_image(archive: Archive) -> None:
    await store_file(archive, make_file())
    router = create_router(archive)
    clerk = Access(ActorKind.PERSON, "clerk", frozenset({Permission.STUDY_SEARCH}), account_id=9)

    async def app(scope: object, receive: object, send: object) -> None:
        with acting_as(clerk):
            await router(scope, receive, send)  # type: ignore[arg-type]

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost:8080") as client:
        html = (await client.get(STUDY)).text
        assert "<img" not in html
        assert "/viewer" not in html
        assert "/studies/download" not in html
        assert (await client.get(f"{SERIES}/look")).status_code == 403
        assert (await client.get(f"{INSTANCE}/attributes")).status_code == 200


async def test_a_study_with_5000_series_is_shown_in_pieces(client: httpx.AsyncClient, archive: Archive) -> None:
    await store_file(archive, make_file(SeriesNumber=1))
    copies = """
        INSERT INTO {table} OVERRIDING SYSTEM VALUE
        SELECT (jsonb_populate_record(one, jsonb_build_object('id', one.id + n, {changes}))).*
        FROM {table} one, generate_series(1, 4999) n
    """
    series = "'series_instance_uid', one.series_instance_uid || '.' || n, 'series_number', n + 1"
    instance = "'series', one.series + n, 'sop_instance_uid', one.sop_instance_uid || '.' || n, 'storage_key', n"
    async with archive.pool.connection() as connection:
        await connection.execute(copies.format(table="series", changes=series).encode())
        await connection.execute(copies.format(table="instance", changes=instance).encode())
    seen: list[str] = []
    address: str | None = STUDY
    while address:
        page = await client.get(address)
        assert page.status_code == 200
        assert len(page.content) < 1_000_000
        assert "5,000 series" in page.text
        seen += re.findall(r'data-series="([\d.]+)"', page.text)
        more = re.search(r'href="(/studies/[\d.]+\?from=\d+)"', page.text.partition("First series")[2] or page.text)
        address = more[1] if more else None
    assert len(seen) == len(set(seen)) == 5000
    assert "5,000" in (await client.get("/")).text
    found = (await client.get("/dicom-web/studies/1.2.3.1/series?limit=5000")).json()
    assert len(found) == 5000

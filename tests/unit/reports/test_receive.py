"""Reports of feeds become versions, are linked to orders and studies, and what may not follow is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fileroom.archive.services import Archive
from fileroom.core.access import SYSTEM, Access, ActorKind, Permission, RowScope, acting_as
from fileroom.core.errors import ConflictError, InvalidRequestError, NotAllowedError, NotFoundError
from fileroom.reports.facts import PutReport, ReportContent, ReportSection, ReportState
from fileroom.reports.linking import link_reports_due
from fileroom.reports.receive import put_report
from fileroom.reports.report_rows import ReportRow
from fileroom.reports.reports import ReportFilter, get_report, get_versions, reports_of_study, search_reports
from fileroom.worklist.apply import apply_change
from fileroom.worklist.changes import Cause, Change, MergePatients, PutOrder, PutPatient, UnmergePatients
from fileroom.worklist.facts import Identifier, OrderFacts, PatientFacts, StepFacts
from fileroom.worklist.matching import match_due
from stored_objects import make_file, store_file

JANE = PatientFacts((Identifier("P1", "HOSP"),), "Doe^Jane", "19700101", "F")
JOE = PatientFacts((Identifier("P2", "HOSP"),), "Doe^Joe", "19710101", "M")
STUDY = "1.2.3.1"
REPORT = PutReport(
    "R1",
    ReportState.FINAL,
    ReportContent(
        (ReportSection("Findings", "No fracture."), ReportSection("Impression", "Normal.")), signer="Ray^Rita"
    ),
    title="CT head",
    accession=Identifier("A1", "RIS"),
    patient=JANE,
    source_name="ris",
)


@pytest.fixture(autouse=True)
def _as_the_system() -> Any:
    with acting_as(SYSTEM):
        yield


async def put(archive: Archive, change: PutReport = REPORT, **changes: Any) -> list[str]:
    """The effects of a report, in one transaction."""
    async with archive.pool.connection() as connection, connection.transaction():
        found = await put_report(archive, connection, replace(change, **changes), Cause("feed ris", 7))
    return [str(one.words) for one in found]


async def tell(archive: Archive, change: Change) -> None:
    async with archive.pool.connection() as connection, connection.transaction():
        await apply_change(archive, connection, change, Cause("feed ris"))


async def order(archive: Archive, accession: str = "A1", patient: PatientFacts = JANE, study: str = "") -> None:
    facts = OrderFacts(
        placer=Identifier(f"PL-{accession}", "RIS"),
        accession=Identifier(accession, "RIS"),
        study_instance_uid=study or None,
        steps=(StepFacts("S1", "CT"),),
    )
    await tell(archive, PutOrder(facts, patient))


async def images(archive: Archive, study: str = STUDY, **said: Any) -> None:
    attributes = {
        "StudyInstanceUID": study,
        "SeriesInstanceUID": f"{study}.1",
        "SOPInstanceUID": f"{study}.1.1",
        "PatientName": "Doe^Jane",
        "PatientID": "P1",
        "PatientBirthDate": "19700101",
        "AccessionNumber": "A1",
        **said,
    }
    await store_file(archive, make_file(**attributes))


async def only(archive: Archive) -> ReportRow:
    found = await search_reports(archive, ReportFilter())
    assert len(found) == 1
    return found[0]


async def settle(archive: Archive) -> None:
    while await match_due(archive):
        pass
    while await link_reports_due(archive):
        pass


async def test_a_report_comes_after_its_order_and_its_images(archive: Archive) -> None:
    await order(archive)
    await images(archive)
    await settle(archive)
    assert await put(archive) == ["report 1 made for study 1.2.3.1", "report 1: version 1 is final"]
    (row,) = await reports_of_study(archive, STUDY)
    assert (row.order, row.patient, row.accession_number, row.title, row.version) == (1, 1, "A1", "CT head", 1)
    (version,) = await get_versions(archive, row.id)
    assert version.content.sections[1] == ReportSection("Impression", "Normal.")
    assert (version.message, version.state, version.signed_at is not None) == (7, ReportState.FINAL, True)


async def test_a_report_comes_first_and_is_linked_to_what_comes_later(archive: Archive) -> None:
    assert (await put(archive))[0].startswith("report 1 made; neither its order nor its images are known yet")
    row = await only(archive)
    assert (row.study_instance_uid, row.order, row.patient) == ("", None, None)
    await order(archive)
    await settle(archive)
    row = await only(archive)
    assert (row.study_instance_uid, row.order, row.patient) == ("", 1, 1)
    await images(archive)
    await settle(archive)
    assert (await only(archive)).study_instance_uid == STUDY


async def test_a_patient_comes_later_and_merges_take_reports_along_and_back(archive: Archive) -> None:
    await put(archive, accession=None, study_uid="1.2.3.9")
    await tell(archive, PutPatient(JANE))
    await settle(archive)
    assert (await only(archive)).patient == 1
    await tell(archive, MergePatients(JOE, JANE.identifiers[0]))
    await settle(archive)
    assert (await only(archive)).patient == 2
    await tell(archive, UnmergePatients(JANE.identifiers[0], JOE.identifiers[0]))
    await settle(archive)
    assert (await only(archive)).patient == 1


async def test_an_order_of_another_patient_is_never_the_reports(archive: Archive) -> None:
    await order(archive, patient=JOE)
    await put(archive)
    assert (await only(archive)).order is None


async def test_versions_follow_as_the_life_of_a_report_says(archive: Archive) -> None:
    await put(archive, state=ReportState.PRELIMINARY)
    assert await put(archive) == ["report 1: version 2 is final"]
    assert await put(archive) == ["report 1: nothing new, it stays version 2"]
    changed = ReportContent((ReportSection("", "A fracture."),))
    assert await put(archive, content=changed) == ["report 1: version 3 is corrected"]
    with pytest.raises(ConflictError, match="corrected already: preliminary does not follow"):
        await put(archive, state=ReportState.PRELIMINARY)
    added = replace(
        REPORT, content=ReportContent((ReportSection("", "Seen again."),), signer="Ray^Rita"), is_addendum=True
    )
    assert await put(archive, added, reported_at="20261122101500") == ["report 1: an addendum, version 4 is corrected"]
    newest = (await get_versions(archive, 1))[0]
    assert newest.content.sections == changed.sections
    assert [(one.text, one.by, one.at.hour) for one in newest.content.addenda] == [("Seen again.", "Ray^Rita", 10)]
    assert await put(archive, state=ReportState.CANCELLED, content=ReportContent()) == [
        "report 1: version 5 is cancelled"
    ]
    with pytest.raises(ConflictError, match="was cancelled; nothing follows"):
        await put(archive, state=ReportState.CORRECTED)
    assert (await get_report(archive, 1)).state is ReportState.CANCELLED
    assert (await get_report(archive, 1)).finished_at is not None


async def test_an_addendum_before_its_report_is_kept_and_the_report_is_laid_under_it(archive: Archive) -> None:
    added = replace(REPORT, content=ReportContent((ReportSection("", "Seen again."),)), is_addendum=True)
    assert "is not known: the addendum is kept" in (await put(archive, added))[-1]
    await put(archive)
    newest = (await get_versions(archive, 1))[0]
    assert newest.content.sections == REPORT.content.sections
    assert newest.content.addenda[0].text == "Seen again."


async def test_a_state_alone_keeps_the_words_and_a_cancellation_may_come_first(archive: Archive) -> None:
    await put(archive, state=ReportState.PRELIMINARY)
    await put(archive, content=ReportContent(signer="Boss^Bea"))
    newest = (await get_versions(archive, 1))[0]
    assert (newest.content.sections, newest.content.signer) == (REPORT.content.sections, "Boss^Bea")
    words = await put(archive, number="R2", state=ReportState.CANCELLED, content=ReportContent())
    assert words[-1] == "report 2 is not known: kept as cancelled, and it stays so when it comes"
    with pytest.raises(InvalidRequestError, match="says nothing"):
        await put(archive, number="R3", content=ReportContent())
    with pytest.raises(InvalidRequestError, match="no number"):
        await put(archive, number=" ")


async def test_a_number_of_two_feeds_is_two_reports_and_of_two_patients_a_conflict(archive: Archive) -> None:
    await put(archive)
    words = await put(archive, source_name="other")
    assert words[-1] == "another feed has a report of this number: the two are kept apart"
    with pytest.raises(ConflictError, match="belongs to another patient"):
        await put(archive, patient=JOE)


async def test_who_may_not_see_the_study_does_not_see_its_report(archive: Archive) -> None:
    await put(archive)
    views = frozenset({Permission.STUDY_VIEW})
    all_of_it = Access(ActorKind.PERSON, "ada", views, account_id=1)
    ct_only = replace(all_of_it, rows=RowScope(modalities=("MR",)))
    with acting_as(ct_only), pytest.raises(NotFoundError):
        await get_report(archive, 1)
    with acting_as(ct_only):
        assert await search_reports(archive, ReportFilter()) == []
    await order(archive)
    await images(archive, Modality="MR")
    await settle(archive)
    with acting_as(ct_only):
        assert len(await reports_of_study(archive, STUDY)) == 1
    with acting_as(replace(ct_only, rows=RowScope(modalities=("US",)))):
        assert await reports_of_study(archive, STUDY) == []
    with acting_as(replace(all_of_it, permissions=frozenset())), pytest.raises(NotAllowedError):
        await search_reports(archive, ReportFilter())


@pytest.mark.parametrize("text", ["fracture", "impression normal", "A1", "R1", "CT", "doe^ja", "P1"])
async def test_reports_are_found_by_words_numbers_and_names(archive: Archive, text: str) -> None:
    await order(archive)
    await put(archive)
    await put(
        archive,
        number="X9",
        title="Nothing",
        accession=None,
        patient=None,
        content=ReportContent((ReportSection("", "?"),)),
    )
    assert [row.source_number for row in await search_reports(archive, ReportFilter(text))] == ["R1"]
    assert await search_reports(archive, ReportFilter("100%_\\ 'x")) == []
    assert len(await search_reports(archive, ReportFilter(states=(ReportState.FINAL,)), before=2)) == 1

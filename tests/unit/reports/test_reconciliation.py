"""What does not fit: images without reports, reports without images, and putting a report where it belongs."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest

from fileroom.archive.services import Archive
from fileroom.core.access import Access, ActorKind, Permission, RowScope, acting_as
from fileroom.core.errors import ConflictError, InvalidRequestError, NotAllowedError, NotFoundError
from fileroom.reports.assignments import assign_report, list_assignments, undo_assignment
from fileroom.reports.linking import link_reports_due
from fileroom.reports.reconciliation import (
    KINDS,
    count_findings,
    dismiss_findings,
    list_findings,
    suggest_studies,
    undismiss_finding,
)
from fileroom.reports.reports import get_report
from report_rows import add_report, add_study, insert
from worklist_rows import add_step

LONG_AGO = dt.timedelta(days=2)


async def found(archive: Archive, kind: str, **more: object) -> list[tuple[str, str]]:
    return [(one.subject, one.reason) for one in await list_findings(archive, kind, hours=24, **more)]  # type: ignore[arg-type]  # named


async def changed(archive: Archive, table: str, number: int, **values: object) -> None:
    names = ", ".join(f"{name} = %s" for name in values)
    async with archive.pool.connection() as connection:
        await connection.execute(f"UPDATE {table} SET {names} WHERE id = %s".encode(), (*values.values(), number))


async def test_images_without_a_report(archive: Archive) -> None:
    then = archive.now() - LONG_AGO
    await add_study(archive, "1.1", came=then)
    await add_study(archive, "1.2", came=then)
    await add_report(archive, "1.2", state="draft")
    await add_study(archive, "1.3", came=then)
    await add_report(archive, "1.3")
    await add_study(archive, "1.4", came=then, modality="SR")
    await add_study(archive, "1.5")  # an hour ago
    await add_study(archive, "1.6", came=then, images=0)
    assert await found(archive, "images_without_report") == [("1.1", "no_report"), ("1.2", "only_draft")]
    assert len(await list_findings(archive, "images_without_report", hours=0)) == 3


async def test_reports_without_images(archive: Archive) -> None:
    then = archive.now() - LONG_AGO
    homeless = await add_report(archive, "", source="hl7", changed_at=then, accession_number="A7")
    elsewhere = await add_report(archive, "9.9", source="hl7", changed_at=then)
    await add_study(archive, "1.1", images=0)
    empty = await add_report(archive, "1.1", changed_at=then)
    await add_study(archive, "1.2")
    await add_report(archive, "1.2", changed_at=then)
    await add_report(archive, "", state="draft", changed_at=then)
    assert await found(archive, "reports_without_images") == [
        (str(homeless), "no_study"),
        (str(elsewhere), "study_not_here"),
        (str(empty), "study_empty"),
    ]
    assert (await count_findings(archive))["reports_without_images"] == 3


async def test_orders_without_images_and_reports_on_cancelled_orders(archive: Archive) -> None:
    then = archive.now() - LONG_AGO
    for number in (1, 2, 3):
        await add_step(archive, number, order={"state": "completed", "changed_at": then})
    await add_study(archive, "1.2.2", accession_number="A2")
    await add_study(archive, "8.8")
    numbers = [int(one.subject) for one in await list_findings(archive, "orders_without_images")]
    assert len(numbers) == 2
    await insert(
        archive,
        "study_match",
        study_instance_uid="8.8",
        imaging_order=numbers[1],
        how="person",
        score=1,
        matched_by="x",
    )
    assert await found(archive, "orders_without_images") == [(str(numbers[0]), "not_matched")]
    report = await add_report(archive, "8.8", imaging_order=numbers[1])
    await changed(archive, "imaging_order", numbers[1], state="cancelled")
    assert await found(archive, "reports_on_cancelled") == [(str(report), "order_cancelled")]


async def test_dismissed_with_a_reason_and_put_back(archive: Archive) -> None:
    await add_study(archive, "1.1", came=archive.now() - LONG_AGO)
    with pytest.raises(InvalidRequestError, match="why"):
        await dismiss_findings(archive, "images_without_report", ["1.1"], " ")
    with pytest.raises(InvalidRequestError):
        await dismiss_findings(archive, "images_without_report", [], "x")
    with pytest.raises(InvalidRequestError, match="reports_on_cancelled"):
        await list_findings(archive, "nonsense")
    assert await dismiss_findings(archive, "images_without_report", ["1.1", "7.7"], "read\nelsewhere") == 1
    assert await dismiss_findings(archive, "images_without_report", ["1.1"], "again") == 0
    assert await found(archive, "images_without_report") == []
    [gone] = await list_findings(archive, "images_without_report", dismissed=True)
    assert gone.dismissed_because == "read elsewhere"
    assert (await count_findings(archive))["images_without_report"] == 0
    assert await undismiss_finding(archive, "images_without_report", "1.1")
    assert not await undismiss_finding(archive, "images_without_report", "1.1")
    assert await found(archive, "images_without_report") == [("1.1", "no_report")]


async def test_a_report_is_put_to_its_study_holds_there_and_is_put_back(archive: Archive) -> None:
    report = await add_report(archive, "", source="hl7", accession_number="A1", patient_id="P1")
    await add_study(archive, "1.1", accession_number="A1", patient_id="P1")
    await add_study(archive, "1.2", accession_number="A9", patient_id="P1")
    await add_study(archive, "1.3", accession_number="A1", patient_id="P2", images=0)
    [first, second] = (await suggest_studies(archive, [report]))[report]
    assert (first.study_instance_uid, first.same_accession, second.study_instance_uid) == ("1.1", True, "1.2")
    await assign_report(archive, report, study_uid="1.2", reason="wrong number dictated")
    assert (await get_report(archive, report)).study_instance_uid == "1.2"
    async with archive.pool.connection() as connection:
        await connection.execute(b"INSERT INTO report_note (report) VALUES (%s)", (report,))
    await link_reports_due(archive)
    assert (await get_report(archive, report)).study_instance_uid == "1.2", "what a person says holds"
    [told] = await list_assignments(archive)
    assert (told.study_before, told.study_after, told.reason) == ("", "1.2", "wrong number dictated")
    with pytest.raises(ConflictError):
        await assign_report(archive, report, study_uid="1.2")
    await undo_assignment(archive, report)
    assert (await get_report(archive, report)).study_instance_uid == ""
    await link_reports_due(archive)
    assert (await get_report(archive, report)).study_instance_uid == "1.1", "it is linked by its number again"
    with pytest.raises(ConflictError, match="undo"):
        await undo_assignment(archive, report)


async def test_another_patient_must_be_meant(archive: Archive) -> None:
    report = await add_report(archive, "", source="hl7", patient_id="P1")
    await add_study(archive, "1.1", patient_id="P2")
    with pytest.raises(ConflictError, match="P2"):
        await assign_report(archive, report, study_uid="1.1")
    await assign_report(archive, report, study_uid="1.1", other_patient=True)
    with pytest.raises(NotFoundError, match="no study"):
        await assign_report(archive, report, study_uid="7.7")
    with pytest.raises(InvalidRequestError):
        await assign_report(archive, report)


async def test_a_report_is_put_to_an_order_and_its_study(archive: Archive) -> None:
    await add_step(archive, 5)
    await add_study(archive, "1.2.5")
    report = await add_report(archive, "", source="hl7")
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(b"SELECT id, patient FROM imaging_order")
        order = await cursor.fetchone()
    assert order is not None
    await assign_report(archive, report, order=order[0])
    row = await get_report(archive, report)
    assert (row.study_instance_uid, row.order, row.patient) == ("1.2.5", order[0], order[1])


async def test_what_is_not_seen_is_on_no_list_and_cannot_be_moved(archive: Archive) -> None:
    then = archive.now() - LONG_AGO
    await add_study(archive, "1.1", came=then)
    report = await add_report(archive, "", changed_at=then)
    permissions = frozenset([Permission.STUDY_VIEW, Permission.ORDER_MANAGE])
    access = Access(ActorKind.PERSON, "ada", permissions, account_id=1, rows=RowScope(modalities=("MR",)))
    with acting_as(access):
        assert await count_findings(archive) == dict.fromkeys(KINDS, 0)
        assert await dismiss_findings(archive, "images_without_report", ["1.1"], "x") == 0
        with pytest.raises(NotFoundError):
            await assign_report(archive, report, study_uid="1.1")
    with acting_as(replace(access, permissions=frozenset([Permission.STUDY_VIEW]))), pytest.raises(NotAllowedError):
        await assign_report(archive, report, study_uid="1.1")

"""Stored images meet orders by themselves, or wait in the queue; people fix, undo and dismiss."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from pydicom.dataset import Dataset

from fileroom.archive.correct import Corrections, add_corrections, list_corrections
from fileroom.archive.delete import delete_study
from fileroom.archive.retrieve import Selection, list_instances, read_header
from fileroom.archive.services import Archive
from fileroom.core.access import SYSTEM, Access, ActorKind, Permission, RowScope, acting_as
from fileroom.core.errors import ConflictError, InvalidRequestError, NotAllowedError, NotFoundError
from fileroom.dicom.correction import AttributeCorrection
from fileroom.worklist.apply import apply_change
from fileroom.worklist.changes import Cause, MergePatients, PutOrder, PutPatient
from fileroom.worklist.coercion import list_coercions, put_coercion
from fileroom.worklist.exceptions import (
    Fix,
    dismiss_exceptions,
    exception_counts,
    fix_exception,
    fix_exceptions,
    get_exception,
    list_exceptions,
    list_matches,
    orders_named,
    undo_exception,
)
from fileroom.worklist.facts import Identifier, OrderFacts, OrderState, PatientFacts, StepFacts
from fileroom.worklist.matching import match_due
from fileroom.worklist.orders import put_order
from stored_objects import make_file, store_file

NOW = dt.datetime.now()
TODAY = f"{NOW:%Y%m%d}"
STUDY = "1.2.3.1"
JANE = PatientFacts((Identifier("P1", "HOSP"),), "Doe^Jane", "19700101", "F")
STEP = StepFacts("SPS1", "CT", ("CT1",), start=f"{TODAY}0830")
ACTOR = Access(ActorKind.PERSON, "ada", frozenset({Permission.ORDER_READ, Permission.ORDER_MANAGE}), account_id=1)


async def order(
    archive: Archive, accession: str = "A1", *, state: OrderState | None = None, patient: Any = JANE, **facts: Any
) -> int:
    """Place or change an order as a message would; its row's number."""
    said: dict[str, Any] = {
        "placer": Identifier(f"PL-{accession}", "RIS"),
        "accession": Identifier(accession, "RIS"),
        "procedure_id": f"RP-{accession}",
        "study_instance_uid": f"1.2.826.9.{accession.strip('A')}",
        "referring_physician": "Ray^Rita",
        "steps": (STEP,),
        **facts,
    }
    async with archive.pool.connection() as connection, connection.transaction():
        await put_order(archive, connection, PutOrder(OrderFacts(**said), patient, state=state), Cause("test"))
        cursor = await connection.execute(b"SELECT id FROM imaging_order WHERE accession_number = %s", (accession,))
        row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def images(archive: Archive, study: str = STUDY, number: int = 1, **said: Any) -> None:
    """Store an image of Jane's that carries the accession number."""
    attributes = {
        "StudyInstanceUID": study,
        "SeriesInstanceUID": f"{study}.{number}",
        "SOPInstanceUID": f"{study}.{number}.1",
        "PatientName": "DOE^JANE",
        "PatientID": "P1",
        "IssuerOfPatientID": "HOSP",
        "PatientBirthDate": "19700101",
        "PatientSex": "F",
        "AccessionNumber": "A1",
        "StudyDate": TODAY,
        "StudyTime": "084500",
        **said,
    }
    await store_file(archive, make_file(**{key: value for key, value in attributes.items() if value is not None}))


async def rounds(archive: Archive, *, quiet: bool = False) -> None:
    """All that the worker does; `quiet`: as if nothing had come for a while."""
    if quiet:
        async with archive.pool.connection() as connection:
            await connection.execute(b"UPDATE series SET changed_at = changed_at - interval '1 hour'")
            await connection.execute(b"UPDATE unmatched_study SET due_at = now() WHERE due_at IS NOT NULL")
    while await match_due(archive):
        pass


async def header(archive: Archive, study: str = STUDY) -> Dataset:
    found = await list_instances(archive, Selection(study_uids=(study,)))
    return await read_header(archive, found[-1])


async def codes(archive: Archive) -> dict[str, list[str]]:
    return {one.study_instance_uid: [r["code"] for r in one.reasons] for one in await list_exceptions(archive)}


async def count(archive: Archive, table: str) -> int:
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(f"SELECT count(*) FROM {table}".encode())
        row = await cursor.fetchone()
    return int(row[0]) if row else -1


# --- by itself ---


async def test_images_meet_the_order_whose_number_they_carry_and_say_what_it_says(archive: Archive) -> None:
    number = await order(archive)
    await images(archive)
    await rounds(archive)
    (match,) = await list_matches(archive)
    assert (match.order, match.how, match.matched_by, match.score) == (number, "accession", "matching", 100)
    assert await codes(archive) == {}
    said = await header(archive)
    assert (str(said.PatientName), said.ReferringPhysicianName) == ("Doe^Jane", "Ray^Rita")
    assert said.RequestAttributesSequence[0].RequestedProcedureID == "RP-A1"
    assert said.StudyInstanceUID == STUDY
    made = await list_corrections(archive, STUDY)
    assert len(made) == match.corrections == 4
    assert {one.reason for one in made} == {"Met the order A1"}
    # A late series of the study says it too, and nothing is matched twice.
    await images(archive, number=2)
    await rounds(archive)
    assert str((await header(archive)).PatientName) == "Doe^Jane"
    assert len(await list_matches(archive)) == 1
    assert await count(archive, "study_match") == 1


async def test_an_order_that_comes_late_is_met_then(archive: Archive) -> None:
    await order(archive, "A7")
    await images(archive)
    await rounds(archive, quiet=True)
    await rounds(archive, quiet=True)
    assert list(await codes(archive)) == [STUDY]
    await order(archive)
    await rounds(archive)
    assert await codes(archive) == {}
    assert [one.how for one in await list_matches(archive)] == ["accession"]
    assert [one.state for one in await list_exceptions(archive, state="fixed")] == ["fixed"]


async def test_what_a_scheduled_step_or_a_performed_one_names_is_met(archive: Archive) -> None:
    number = await order(archive)
    item = Dataset()
    item.ScheduledProcedureStepID, item.RequestedProcedureID = "SPS1", "RP-A1"
    await images(archive, AccessionNumber="", RequestAttributesSequence=[item], StudyDate="", StudyTime="")
    await images(
        archive, "1.2.3.2", AccessionNumber="", PatientBirthDate="", StudyDate="", StudyTime="", PatientSex=None
    )
    await rounds(archive)
    assert {one.study_instance_uid: one.how for one in await list_matches(archive)} == {STUDY: "step"}
    async with archive.pool.connection() as connection:
        await connection.execute(
            b"""INSERT INTO performed_step (sop_instance_uid, state, calling_aet, imaging_order, study_instance_uid, attributes)
                VALUES ('1.2.9.9', 'in_progress', 'CT1', %s, '1.2.3.2', '{}')""",
            (number,),
        )
    await rounds(archive)
    assert {one.study_instance_uid: one.how for one in await list_matches(archive)}["1.2.3.2"] == "performed_step"


async def test_what_an_order_changes_later_its_images_say_and_what_a_person_corrected_stays(archive: Archive) -> None:
    await order(archive)
    await images(archive)
    await rounds(archive)
    name = AttributeCorrection((0x00100010,), "PN", ("Doe^Janet",))
    await add_corrections(archive, Corrections(STUDY, (name,), "passport seen", "ada"))
    await order(archive, referring_physician="Ward^Wanda")
    await rounds(archive)
    said = await header(archive)
    assert (str(said.ReferringPhysicianName), str(said.PatientName)) == ("Ward^Wanda", "Doe^Janet")
    await undo_exception(archive, STUDY)
    said = await header(archive)
    assert ("ReferringPhysicianName" in said, str(said.PatientName)) == (False, "Doe^Janet")


async def test_a_node_may_take_over_less_or_nothing_by_itself(archive: Archive) -> None:
    await put_coercion(archive, "default", {"attributes": ["AccessionNumber"], "score_min": 101})
    await order(archive)
    await images(archive)
    await rounds(archive)
    await rounds(archive, quiet=True)
    assert await codes(archive) == {STUDY: ["weak"]}
    await put_coercion(archive, "default", {"attributes": ["AccessionNumber"]})
    await order(archive, reason="again")
    await rounds(archive)
    assert [one.corrections for one in await list_matches(archive)] == [0]
    with pytest.raises(InvalidRequestError, match="StudyInstanceUID is never"):
        await put_coercion(archive, "CT1", {"attributes": ["StudyInstanceUID"]})
    assert [one.name for one in await list_coercions(archive)] == ["default"]


async def test_images_under_a_number_that_was_merged_away_are_the_survivors_and_meet_their_order(
    archive: Archive,
) -> None:
    await order(archive)
    old = PatientFacts((Identifier("P-OLD", "HOSP"),), "Doe^Jane", "19700101", "F")
    async with archive.pool.connection() as connection, connection.transaction():
        await apply_change(archive, connection, PutPatient(old), Cause("test"))
        await apply_change(archive, connection, MergePatients(JANE, old.identifiers[0]), Cause("test"))
    await images(archive, PatientID="P-OLD")
    await rounds(archive)
    assert [(one.how, one.patient_id) for one in await list_matches(archive)] == [("accession", "P1")]
    assert (await header(archive)).PatientID == "P1"


# --- the queue ---


async def test_where_no_order_was_ever_told_of_nothing_is_an_exception(archive: Archive) -> None:
    await images(archive)
    await rounds(archive)
    await rounds(archive, quiet=True)
    assert await codes(archive) == {}
    # The first order makes a RIS known; what comes from then on is asked about, what came before is not.
    await order(archive, "A7", patient=PatientFacts((Identifier("P7", "HOSP"),), "Roe^Richard"))
    await rounds(archive, quiet=True)
    assert await codes(archive) == {}
    await images(archive, "1.2.3.2")
    await rounds(archive)
    await rounds(archive, quiet=True)
    assert await codes(archive) == {"1.2.3.2": ["accession_unknown", "patient_unknown"]}
    # And a RIS that has been silent for a quarter of a year is none any more.
    async with archive.pool.connection() as connection:
        await connection.execute(
            b"UPDATE imaging_order SET ordered_at = now() - interval '91 days', changed_at = ordered_at"
        )
        await connection.execute(b"UPDATE imaging_order SET changed_at = now() - interval '91 days'")
    await images(archive, "1.2.3.3", AccessionNumber="A8", StudyTime="010000")
    await rounds(archive)
    await rounds(archive, quiet=True)
    assert list(await codes(archive)) == ["1.2.3.2"]


async def test_a_study_is_asked_about_only_when_it_is_quiet_and_recent(archive: Archive) -> None:
    await order(archive, "A7")
    await images(archive, AccessionNumber="A9", StudyTime="")
    await images(archive, "1.2.3.2", AccessionNumber="A9", StudyDate="20200101")
    await rounds(archive)
    assert await codes(archive) == {}
    await rounds(archive, quiet=True)
    assert list(await codes(archive)) == [STUDY]


async def test_another_patient_is_an_exception_with_what_differs_and_a_person_decides(archive: Archive) -> None:
    number = await order(archive)
    await images(archive, PatientID="P2", PatientName="ROE^RICHARD")
    await rounds(archive)
    await rounds(archive, quiet=True)
    assert await codes(archive) == {STUDY: ["patient_differs"]}
    view = await get_exception(archive, STUDY)
    assert [(one.order.id, one.is_named) for one in view.looked.ranked] == [(number, True)]
    assert {one.evidence.value for one in view.looked.ranked[0].patient_differences} == {"patient_id", "patient_name"}
    with acting_as(ACTOR):
        await fix_exception(archive, STUDY, number)
    said = await header(archive)
    assert (said.PatientID, str(said.PatientName)) == ("P1", "Doe^Jane")
    (match,) = await list_matches(archive)
    assert (match.how, match.matched_by, match.patient_id) == ("person", "ada", "P1")
    assert await codes(archive) == {}
    with pytest.raises(ConflictError):
        await fix_exception(archive, STUDY, number)


async def test_undo_brings_everything_back_and_it_does_not_match_by_itself_again(archive: Archive) -> None:
    await order(archive)
    await images(archive)
    await rounds(archive)
    with acting_as(ACTOR):
        await undo_exception(archive, STUDY)
    assert str((await header(archive)).PatientName) == "DOE^JANE"
    assert await list_corrections(archive, STUDY) == []
    assert await codes(archive) == {STUDY: ["undone"]}
    await order(archive, reason="changed")
    await rounds(archive)
    assert await list_matches(archive) == []
    other = await order(archive, "A2")
    await fix_exception(archive, STUDY, other)
    await fix_exception(archive, STUDY, await order(archive))  # and from one to another
    assert [one.order_name for one in await list_matches(archive)] == ["A1"]
    said = await header(archive)
    assert (said.AccessionNumber, said.IssuerOfAccessionNumberSequence[0].LocalNamespaceEntityID) == ("A1", "RIS")


async def test_two_orders_that_fit_are_shown_and_several_are_fixed_at_once(archive: Archive) -> None:
    one = await order(archive, "A1")
    other = await order(archive, "A2", steps=(StepFacts("SPS2", "CT", start=f"{TODAY}0900"),))
    await images(archive, AccessionNumber="")
    await images(archive, "1.2.3.2", AccessionNumber="")
    await rounds(archive)
    await rounds(archive, quiet=True)
    assert await codes(archive) == {STUDY: ["close"], "1.2.3.2": ["close"]}
    (row, _) = await list_exceptions(archive)
    assert {each["order"] for each in row.candidates} == {one, other}
    failed = await fix_exceptions(archive, [Fix(STUDY, one), Fix("1.2.3.2", other), Fix("1.2.3.9", other)])
    assert [(each.study_uid, type(each.error)) for each in failed] == [("1.2.3.9", NotFoundError)]
    assert {each.order_name for each in await list_matches(archive)} == {"A1", "A2"}
    assert [each.order.accession for each in await orders_named(archive, STUDY, "A2")] == ["A2"]


async def test_what_is_dismissed_stays_so_until_that_is_undone_or_its_order_comes(archive: Archive) -> None:
    await order(archive, "A7")
    await images(archive, AccessionNumber="A9", StudyTime="")
    await rounds(archive)
    await rounds(archive, quiet=True)
    with pytest.raises(InvalidRequestError):
        await dismiss_exceptions(archive, [STUDY], " ")
    assert await dismiss_exceptions(archive, [STUDY, "1.2.3.9"], "an emergency, booked by hand") == 1
    await images(archive, number=2, AccessionNumber="A9", StudyTime="")
    await rounds(archive)
    await rounds(archive, quiet=True)
    assert await codes(archive) == {}
    (row,) = await list_exceptions(archive, state="dismissed")
    assert (row.note, row.ended_by, row.instances) == ("an emergency, booked by hand", SYSTEM.name, 2)
    await undo_exception(archive, STUDY)
    assert list(await codes(archive)) == [STUDY]
    await order(archive, "A9")
    await rounds(archive)
    assert await codes(archive) == {}
    with pytest.raises(NotFoundError):
        await undo_exception(archive, "1.2.3.9")


async def test_counts(archive: Archive) -> None:
    yesterday = f"{NOW - dt.timedelta(days=1):%Y%m%d}0830"
    await order(archive, "A7", steps=(StepFacts("S", "CT", start=yesterday),))
    await order(archive, "A8", steps=(StepFacts("S", "CT", start=yesterday),), state=OrderState.CANCELLED)
    await images(archive, AccessionNumber="A9", StudyTime="")
    await images(archive, number=2, AccessionNumber="A9", StudyTime="")
    await rounds(archive)
    await rounds(archive, quiet=True)
    counts = await exception_counts(archive)
    assert (counts.studies, counts.images, counts.orders_without_images) == (1, 2, 1)


# --- bad days ---


async def test_a_study_that_is_deleted_leaves_the_queue(archive: Archive) -> None:
    await order(archive, "A7")
    await images(archive, AccessionNumber="A9", StudyTime="")
    await rounds(archive)
    await rounds(archive, quiet=True)
    await delete_study(archive, STUDY, actor="ada")
    assert await codes(archive) == {}
    async with archive.pool.connection() as connection:
        await connection.execute(b"UPDATE unmatched_study SET due_at = now()")
    await rounds(archive)
    assert await count(archive, "study_exception") == 0


async def test_what_a_killed_worker_had_in_hand_is_done_once(archive: Archive) -> None:
    await order(archive)
    await images(archive)
    async with archive.pool.connection() as connection:
        # Noted and claimed by somebody who is gone.
        await connection.execute(
            b"""INSERT INTO unmatched_study (study_instance_uid, due_at, attempts, series)
                VALUES (%s, now() - interval '1 s', 3, 1)""",
            (STUDY,),
        )
    await rounds(archive)
    await rounds(archive)
    assert await count(archive, "study_match") == 1


async def test_a_series_whose_commit_was_slow_is_seen_behind_the_mark(archive: Archive) -> None:
    await order(archive)
    await rounds(archive)
    await images(archive)
    async with archive.pool.connection() as connection:
        # Others have committed behind it: the mark looks further, but has not gone by yet.
        await connection.execute(b"UPDATE matching_mark SET reached = 0, ahead = 1000")
    await rounds(archive)
    assert len(await list_matches(archive)) == 1


async def test_nobody_sees_or_fixes_what_is_not_theirs(archive: Archive) -> None:
    number = await order(archive, "A7")
    await images(archive, AccessionNumber="A9", StudyTime="")
    await rounds(archive)
    await rounds(archive, quiet=True)
    elsewhere = Access(ActorKind.PERSON, "bob", ACTOR.permissions, RowScope(modalities=("MG",)), account_id=2)
    with acting_as(elsewhere):
        assert await list_exceptions(archive) == []
        assert await dismiss_exceptions(archive, [STUDY], "mine") == 0
        with pytest.raises(NotFoundError):
            await get_exception(archive, STUDY)
        with pytest.raises(NotFoundError):
            await fix_exception(archive, STUDY, number)
    with acting_as(Access(ActorKind.PERSON, "eve", frozenset({Permission.ORDER_READ}), account_id=3)):
        assert len(await list_exceptions(archive)) == 1
        with pytest.raises(NotAllowedError):
            await fix_exception(archive, STUDY, number)

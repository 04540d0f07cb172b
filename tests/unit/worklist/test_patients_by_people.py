"""What people do with patients: look before a merge, take it back, change what is known, link, move visits and back."""

from __future__ import annotations

from typing import Any

import pytest

from fileroom.archive.services import Archive
from fileroom.core.errors import ConflictError, InvalidRequestError, NotFoundError
from fileroom.worklist.apply import apply_change
from fileroom.worklist.changes import Cause, Change, MoveVisit, PutOrder, PutPatient, RemoveVisit
from fileroom.worklist.facts import Code, Identifier, OrderFacts, PatientFacts, StepFacts, VisitFacts
from fileroom.worklist.merge_preview import MergedRecord, merged_records, preview_merge, preview_unmerge
from fileroom.worklist.merges import merge_patients, unmerge
from fileroom.worklist.order_search import read_history
from fileroom.worklist.patient_editing import count_studies, link_records, save_patient, unlink_records
from fileroom.worklist.patient_moves import list_moves, move_patient_visit, undo_move
from fileroom.worklist.patient_search import PatientDetail, get_patient, search_patients
from stored_objects import make_file, store_file

CAUSE = Cause("feed:ris", 7)
P1, P2 = Identifier("P1", "HOSP"), Identifier("P2", "HOSP")
V2 = Identifier("V2", "HOSP", "VN")


def known(identifier: Identifier, name: str = "Meier^Anna", birth_date: str = "19600401") -> PatientFacts:
    return PatientFacts((identifier,), name=name, birth_date=birth_date, sex="F")


def order(number: str, uid: str) -> OrderFacts:
    return OrderFacts(
        placer=Identifier(number, "RIS"),
        accession=Identifier(f"A-{number}"),
        study_instance_uid=uid,
        procedure=Code("CT", "L", "CT head"),
        steps=(StepFacts(modality="CT"),),
    )


async def apply(archive: Archive, *changes: Change) -> None:
    for change in changes:
        async with archive.pool.connection() as connection, connection.transaction():
            await apply_change(archive, connection, change, CAUSE)


async def store(archive: Archive, uid: str, patient_id: str, **more: Any) -> None:
    given = {"PatientID": patient_id, "IssuerOfPatientID": "HOSP", "PatientName": "MEIER^ANNA", "PatientSex": "F"}
    given |= {"StudyInstanceUID": uid, "SeriesInstanceUID": f"{uid}.1", "SOPInstanceUID": f"{uid}.1.1"}
    await store_file(archive, make_file(**(given | {"PatientBirthDate": "19600401"} | more)))


async def shown(archive: Archive, uid: str) -> tuple[str, str]:
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(
            b"SELECT patient_id, patient_name FROM study WHERE study_instance_uid = %s", (uid,)
        )
        row = await cursor.fetchone()
    assert row is not None
    return row[0], row[1]


async def patient(archive: Archive, number: str) -> PatientDetail:
    [found] = await search_patients(archive, number)
    return await get_patient(archive, found.id)


async def two(archive: Archive) -> tuple[int, int]:
    """Two patients; the second has a visit with an order, and a study of that order."""
    await apply(archive, PutPatient(known(P1)), PutPatient(known(P2)))
    await apply(archive, PutOrder(order("O2", "1.2.9"), known(P2), VisitFacts(V2)))
    await store(archive, "1.2.9", "P2")
    return (await patient(archive, "P1")).id, (await patient(archive, "P2")).id


async def history(archive: Archive, one: PatientDetail) -> list[str]:
    [number] = [each.id for each in one.orders]
    return [words for change in await read_history(archive, number) for words in change.sentences]


async def test_what_a_merge_will_move_is_what_it_moves_and_what_goes_back(archive: Archive) -> None:
    one, other = await two(archive)
    before = await preview_merge(archive, one, other)
    assert (before.visits, before.orders, before.studies, before.instances, before.left) == (1, 1, 1, 1, 0)
    assert [(each.value, each.retires) for each in before.identifiers] == [("P2", True)]
    assert before.differences == ()

    number, _ = await merge_patients(
        archive,
        one,
        other,
        versions=(before.survivor_version, before.retired_version),
        reason="the same insurance card",
    )
    survivor = await patient(archive, "P1")
    assert (len(survivor.visits), len(survivor.orders), await shown(archive, "1.2.9")) == (1, 1, ("P1", "Meier^Anna"))
    assert survivor.merges[0].reason == "the same insurance card"
    assert f"(merge {number})" in (await history(archive, survivor))[0]
    tree = await merged_records(archive, other)
    assert (tree.id, [part.id for part in tree.parts], tree.parts[0].merge) == (one, [other], number)

    back = await preview_unmerge(archive, number)
    assert (back.owner, back.retired, back.visits, back.orders, back.studies, back.instances) == (
        one,
        other,
        1,
        1,
        1,
        1,
    )
    assert [each.value for each in back.identifiers] == ["P2"]
    await unmerge(archive, number, reason="twins")
    again = await patient(archive, "P2")
    assert (again.id, await shown(archive, "1.2.9")) == (other, ("P2", "MEIER^ANNA"))
    assert f"merge {number} was taken back" in (await history(archive, again))[0]
    assert (await get_patient(archive, one)).merges[0].revoke_reason == "twins"
    with pytest.raises(NotFoundError):
        await preview_unmerge(archive, number)


async def test_a_patient_that_changed_since_somebody_looked_is_not_merged_unseen(archive: Archive) -> None:
    one, other = await two(archive)
    seen = await preview_merge(archive, one, other)
    await apply(archive, PutPatient(known(P2, "Maier^Anna")))
    with pytest.raises(ConflictError, match="was changed while you were looking"):
        await merge_patients(archive, one, other, versions=(seen.survivor_version, seen.retired_version))
    assert (await preview_merge(archive, one, other)).differences == ("name",)


async def test_studies_of_somebody_else_are_counted_as_left(archive: Archive) -> None:
    one, other = await two(archive)
    await store(archive, "1.2.10", "P2", PatientName="OTHER^PERSON", PatientBirthDate="20010101")
    before = await preview_merge(archive, one, other)
    assert (before.studies, before.left) == (1, 1)


async def test_a_chain_of_merges_is_one_picture(archive: Archive) -> None:
    one, other = await two(archive)
    await apply(archive, PutPatient(known(Identifier("P3", "HOSP"))))
    third = (await patient(archive, "P3")).id
    await merge_patients(archive, other, third)
    await merge_patients(archive, one, other)

    def names(record: MergedRecord) -> list[Any]:
        return [record.id, *(names(part) for part in record.parts)]

    assert names(await merged_records(archive, third)) == [one, [other, [third]]]


async def test_a_changed_name_is_shown_by_images_only_where_that_was_said(archive: Archive) -> None:
    _, other = await two(archive)
    assert await count_studies(archive, other) == 1
    now = await get_patient(archive, other)
    facts = PatientFacts((), name="Schulz^Anna", details={"Allergies": "Penicillin"})
    await save_patient(archive, other, facts, version=now.version)
    changed = await get_patient(archive, other)
    assert (changed.patient_name, changed.details["Allergies"]) == ("Schulz^Anna", "Penicillin")
    assert (changed.birth_date, await shown(archive, "1.2.9")) == ("19600401", ("P2", "MEIER^ANNA"))
    with pytest.raises(ConflictError, match="nothing of yours is done"):
        await save_patient(archive, other, facts, version=now.version)
    with pytest.raises(InvalidRequestError, match="birth date"):
        await save_patient(archive, other, PatientFacts((), birth_date="20261399"))

    await save_patient(archive, other, PatientFacts((), sex="F"), correct_images=True)
    assert await shown(archive, "1.2.9") == ("P2", "Schulz^Anna")


async def test_links_are_made_and_taken_back(archive: Archive) -> None:
    one, other = await two(archive)
    await link_records(archive, other, one)
    assert [each.other for each in (await get_patient(archive, one)).links] == [other]
    await unlink_records(archive, one, other)
    assert (await get_patient(archive, one)).links == ()
    with pytest.raises(NotFoundError, match="not linked"):
        await unlink_records(archive, one, other)
    with pytest.raises(InvalidRequestError, match="itself"):
        await link_records(archive, one, one)


@pytest.mark.parametrize("by", ["person", "message"])
async def test_a_moved_visit_goes_back_with_its_order_and_images(archive: Archive, by: str) -> None:
    one, other = await two(archive)
    if by == "person":
        [visit] = (await get_patient(archive, other)).visits
        await move_patient_visit(archive, visit.id, one)
    else:
        await apply(archive, MoveVisit(P2, known(P1), V2))
    target = await get_patient(archive, one)
    assert ([each.number for each in target.visits], await shown(archive, "1.2.9")) == (["V2"], ("P1", "Meier^Anna"))
    assert "went with its visit V2" in (await history(archive, target))[0]
    [move] = await list_moves(archive, one)
    assert (move.source, move.numbers, move.orders, move.studies, move.whole) == (other, ["V2"], 1, 1, False)

    await undo_move(archive, move.id)
    source = await get_patient(archive, other)
    assert ([each.number for each in source.visits], await shown(archive, "1.2.9")) == (["V2"], ("P2", "Meier^Anna"))
    assert "a move was taken back" in (await history(archive, source))[0]
    with pytest.raises(ConflictError, match="taken back already"):
        await undo_move(archive, move.id)


async def test_all_that_was_moved_under_a_number_goes_back(archive: Archive) -> None:
    await apply(archive, PutPatient(PatientFacts((P2, Identifier("C9", "CLINIC")), name="Meier^Anna", sex="F")))
    one, other = await two(archive)
    await apply(archive, MoveVisit(P2, known(P1)))
    assert {each.value for each in (await get_patient(archive, one)).identifiers} == {"P1", "P2"}
    assert (await shown(archive, "1.2.9"))[0] == "P1"
    [move] = await list_moves(archive, other)
    assert (move.whole, move.visits, move.orders, move.studies) == (True, 1, 1, 1)
    await undo_move(archive, move.id)
    source = await get_patient(archive, other)
    assert [(each.value, each.is_first, each.retired) for each in source.identifiers] == [
        ("P2", True, False),
        ("C9", False, False),
    ]
    assert ((await shown(archive, "1.2.9"))[0], len(source.orders), len(source.visits)) == ("P2", 1, 1)


async def test_a_move_whose_target_was_merged_waits_for_that(archive: Archive) -> None:
    one, other = await two(archive)
    await apply(archive, PutPatient(known(Identifier("P3", "HOSP"))))
    third = (await patient(archive, "P3")).id
    [visit] = (await get_patient(archive, other)).visits
    await move_patient_visit(archive, visit.id, one)
    merge, _ = await merge_patients(archive, third, one)
    [move] = await list_moves(archive, other)
    with pytest.raises(ConflictError, match="Take that merge back first"):
        await undo_move(archive, move.id)
    await unmerge(archive, merge)
    await undo_move(archive, move.id)
    assert len((await get_patient(archive, other)).visits) == 1


async def test_an_order_tells_that_its_visit_was_removed(archive: Archive) -> None:
    _, other = await two(archive)
    await apply(archive, RemoveVisit(known(P2), V2))
    left = await get_patient(archive, other)
    assert left.visits == ()
    assert "entered by mistake" in (await history(archive, left))[0]

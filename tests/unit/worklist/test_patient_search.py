"""Patients are found by what people know of them, and shown with all that belongs to them, to whoever may see it."""

from __future__ import annotations

import pytest

from fileroom.archive.services import Archive
from fileroom.core.access import Access, ActorKind, Permission, RowScope, acting_as
from fileroom.core.errors import NotFoundError
from fileroom.worklist.apply import apply_change
from fileroom.worklist.changes import Cause, Change, LinkPatients, MergePatients, PutOrder, PutPatient
from fileroom.worklist.facts import Code, Identifier, OrderFacts, PatientFacts, VisitFacts
from fileroom.worklist.merges import merge_patients
from fileroom.worklist.patient_search import get_patient, search_patients
from stored_objects import make_file, store_file

P1, P2, P3 = (Identifier(f"A-{number}", "HOSP") for number in (1, 2, 3))


async def apply(archive: Archive, *changes: Change) -> None:
    for change in changes:
        async with archive.pool.connection() as connection, connection.transaction():
            await apply_change(archive, connection, change, Cause("feed:ris", 7))


@pytest.fixture
async def hospital(archive: Archive) -> Archive:
    for number, name in (("A-1", "MÜLLER^JÖRG"), ("A-2", "MUELLER^ANNA")):
        await store_file(
            archive,
            make_file(
                SpecificCharacterSet="ISO_IR 192",
                PatientID=number,
                PatientName=name,
                StudyInstanceUID=f"1.2.{number[-1]}",
                SOPInstanceUID=f"1.2.{number[-1]}.1",
            ),
        )
    await apply(
        archive,
        PutPatient(
            PatientFacts((P1,), name="Müller^Jörg", birth_date="19600401", sex="M"), VisitFacts(Identifier("V1"))
        ),
        PutPatient(PatientFacts((P2,), name="Mueller^Anna", birth_date="19700502", sex="F")),
        PutPatient(PatientFacts((P3,), name="Roe^100%_", birth_date="19600401")),
        PutOrder(
            OrderFacts(placer=Identifier("O1", "RIS"), procedure=Code("CT1", "L", "CT chest")),
            PatientFacts((P1,)),
        ),
    )
    return archive


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", [2, 1, 3]),
        ("jorg", [1]),
        ("Müller", [1]),
        ("anna muell", [2]),
        ("A-2", [2]),
        ("A-", [2, 1, 3]),
        ("1960-04-01", [1, 3]),
        ("19600401 roe", [3]),
        ("1.4.1960", [1, 3]),
        ("100%_", [3]),
        ("%", [3]),
        ("nobody", []),
        ("x" * 5000, []),
    ],
)
async def test_every_word_is_part_of_a_name_begins_a_number_or_is_a_birth_date(
    hospital: Archive, text: str, expected: list[int]
) -> None:
    assert [each.id for each in await search_patients(hospital, text)] == expected


async def test_pages_follow_each_other(hospital: Archive) -> None:
    first = await search_patients(hospital, limit=2)
    assert [each.id for each in await search_patients(hospital, limit=2, after=first[-1].id)] == [3]


async def test_a_patient_is_shown_with_all_that_belongs_to_it(hospital: Archive) -> None:
    await apply(hospital, LinkPatients(PatientFacts((P1,)), PatientFacts((P3,))))
    number, _ = await merge_patients(hospital, 1, 2)
    [found] = await search_patients(hospital, "A-2")
    assert (found.id, found.patient_id, found.others, found.orders, found.studies, found.merged) == (
        1,
        "A-1",
        ["A-2"],
        1,
        2,
        1,
    )
    patient = await get_patient(hospital, 1)
    assert [(each.value, each.home, each.retired) for each in patient.identifiers] == [
        ("A-1", 1, False),
        ("A-2", 2, True),
    ]
    assert [each.number for each in patient.visits] == ["V1"]
    assert [(each.placer_number, each.what, each.state) for each in patient.orders] == [("O1", "CT chest", "scheduled")]
    [merge] = patient.merges
    assert (merge.id, merge.retired_name, merge.retired_id, merge.studies) == (number, "Mueller^Anna", "A-2", 1)
    assert [each.other for each in patient.links] == [3]
    assert sorted(patient.study_uids) == ["1.2.1", "1.2.2"]
    assert (await get_patient(hospital, 2)).merged_into == 1


async def test_whoever_sees_only_some_studies_sees_only_their_patients(hospital: Archive) -> None:
    some = Access(ActorKind.PERSON, "ada", frozenset(Permission), RowScope(patient_ids=("A-2",)), account_id=1)
    with acting_as(some):
        assert [each.id for each in await search_patients(hospital)] == [2]
        for call in (get_patient(hospital, 1), merge_patients(hospital, 2, 1), get_patient(hospital, 99)):
            with pytest.raises(NotFoundError):
                await call
    with acting_as(Access(ActorKind.PERSON, "eve", frozenset(Permission), RowScope(own_uploads=True), account_id=2)):
        assert await search_patients(hospital) == []


async def test_a_merge_by_a_message_names_the_message(hospital: Archive) -> None:
    await apply(hospital, MergePatients(PatientFacts((P1,)), P2))
    assert [each.message for each in (await get_patient(hospital, 1)).merges] == [7]

"""Merges and what takes them back: rows of the RIS, and images from the index to every byte that leaves."""

from __future__ import annotations

import asyncio
import io
import random
from collections.abc import Iterable
from typing import Any

import psycopg
import pydicom
import pytest

from fileroom.archive.correct import Corrections, add_corrections, refresh_index, revoke_corrections
from fileroom.archive.metadata import study_metadata
from fileroom.archive.retrieve import Selection, list_instances, open_object
from fileroom.archive.services import Archive
from fileroom.core.errors import ConflictError, InvalidRequestError, NotFoundError
from fileroom.core.settings import Settings
from fileroom.dicom.correction import AttributeCorrection
from fileroom.worklist.apply import apply_change
from fileroom.worklist.changes import (
    Cause,
    Change,
    ChangeIdentifier,
    MergePatients,
    MoveVisit,
    PutPatient,
    UnmergePatients,
)
from fileroom.worklist.facts import Identifier, PatientFacts, VisitFacts
from fileroom.worklist.matching import match_due
from fileroom.worklist.merges import merge_patients, unmerge
from fileroom.worklist.patient_images import show_arrived
from stored_objects import make_file, store_file

CAUSE = Cause("feed:ris", 7)
P1, P2, P3 = (Identifier(f"P{number}", "HOSP") for number in (1, 2, 3))
V1, V2 = Identifier("V1", "HOSP", "VN"), Identifier("V2", "HOSP", "VN")


def known(identifier: Identifier, name: str = "Meier^Anna", birth_date: str = "19600401") -> PatientFacts:
    return PatientFacts((identifier,), name=name, birth_date=birth_date, sex="F")


async def apply(archive: Archive, *changes: Change) -> list[str]:
    words: list[str] = []
    for change in changes:
        async with archive.pool.connection() as connection, connection.transaction():
            words += [effect.words for effect in await apply_change(archive, connection, change, CAUSE)]
    return words


async def rows(archive: Archive, statement: str) -> list[tuple[Any, ...]]:
    async with archive.pool.connection() as connection:
        return await (await connection.execute(statement.encode())).fetchall()


async def store(archive: Archive, number: int, patient_id: str, **attributes: Any) -> str:
    """A study of one CT image; its UID."""
    uid = f"1.2.3.{number}"
    given = {"PatientID": patient_id, "PatientName": "MEIER^ANNA", "PatientBirthDate": "19600401", "PatientSex": "F"}
    given |= {"StudyInstanceUID": uid, "SeriesInstanceUID": f"{uid}.1", "SOPInstanceUID": f"{uid}.1.1"}
    await store_file(archive, make_file(**(given | {"IssuerOfPatientID": "HOSP"} | attributes)))
    return uid


async def sent(archive: Archive, uid: str) -> bytes:
    instance = (await list_instances(archive, Selection(study_uids=(uid,))))[0]
    return b"".join([piece async for piece in (await open_object(archive, instance, None, part10=True)).chunks])


async def shown(archive: Archive, *uids: str) -> list[tuple[str, str, str]]:
    """What C-FIND and WADO say: they must agree."""
    found = []
    for uid in uids:
        header = pydicom.dcmread(io.BytesIO(await sent(archive, uid)))
        [row] = await rows(
            archive,
            f"""SELECT coalesce(patient_name, ''), patient_id, coalesce(issuer_of_patient_id, ''), p.identity FROM study
                JOIN LATERAL (SELECT identity FROM patient WHERE id = study.patient) p ON true
                WHERE study_instance_uid = '{uid}'""",
        )
        said = (str(header.PatientName), header.PatientID, header.get("IssuerOfPatientID", ""))
        assert said == row[:3]
        assert row[3] == f"id:{said[1]}|{said[2]}"
        found.append(said)
    return found


async def index(archive: Archive) -> list[list[tuple[Any, ...]]]:
    tables = ("study", "patient", "instance")
    columns = {
        "patient": "identity, patient_name, patient_name_key, patient_id, issuer_of_patient_id, patient_birth_date"
    }
    found = [await rows(archive, f"SELECT {columns.get(table, '*')} FROM {table} ORDER BY 1") for table in tables]
    found[0] = [row[:1] + row[2:] for row in found[0]]  # the row of the patient may be another one
    return found


OWNERS = "SELECT value, patient, home, is_first FROM patient_identifier ORDER BY id"
ALIVE = "SELECT id, merged_into FROM registered_patient ORDER BY id"


async def test_a_merge_moves_everything_and_images_show_the_survivor_until_it_is_taken_back(archive: Archive) -> None:
    own, other = await store(archive, 1, "P1"), await store(archive, 2, "P2", PatientName="MEYER^ANNA")
    await apply(archive, PutPatient(known(P1)), PutPatient(known(P2, "Meyer^Anna"), VisitFacts(V1)))
    await rows(
        archive, "INSERT INTO imaging_order (patient, study_instance_uid, changed_by) VALUES (2, '9', 'x') RETURNING id"
    )
    before, bytes_before = await index(archive), await sent(archive, other)
    owners, alive = await rows(archive, OWNERS), await rows(archive, ALIVE)
    metadata = await metadata_of(archive, other)

    words = await apply(archive, MergePatients(known(P1), P2))
    assert words == [
        "merged patient 2 into patient 1 (visits: 1, orders: 1)",
        "studies that show the patient as the RIS knows it: 1",
    ]
    assert await rows(archive, OWNERS) == [("P1", 1, 1, True), ("P2", 1, 2, False)]
    assert await shown(archive, own, other) == [("MEIER^ANNA", "P1", "HOSP"), ("Meier^Anna", "P1", "HOSP")]
    assert await found_ids(archive, "P2") == []
    assert sorted(await found_ids(archive, "P1")) == [own, other]
    assert b"Meier^Anna" in await metadata_of(archive, other)
    after = await index(archive)
    await refresh_index(archive, other)  # from the header: the same
    assert await index(archive) == after

    words = await apply(archive, UnmergePatients(P1, P2))
    assert words[-1] == "studies that show again what they showed before: 1"
    assert await rows(archive, OWNERS) == owners
    assert await rows(archive, ALIVE) == alive
    assert await rows(archive, "SELECT patient FROM visit UNION ALL SELECT patient FROM imaging_order") == [(2,), (2,)]
    assert await index(archive) == before
    assert await sent(archive, other) == bytes_before
    assert await metadata_of(archive, other) == metadata


async def metadata_of(archive: Archive, uid: str) -> bytes:
    return b"".join([piece async for piece in study_metadata(archive, uid, "http://here")])


async def found_ids(archive: Archive, patient_id: str) -> list[str]:
    found = await rows(archive, f"SELECT study_instance_uid FROM study WHERE patient_id = '{patient_id}' ORDER BY 1")
    return [row[0] for row in found]


async def test_a_chain_is_taken_apart_in_either_order(archive: Archive) -> None:
    third, second = await store(archive, 3, "P3"), await store(archive, 2, "P2")
    await apply(archive, PutPatient(known(P3)), PutPatient(known(P2)), PutPatient(known(P1)))
    start, owners = await index(archive), await rows(archive, OWNERS)
    for order in ((P3, P2), (P2, P3)):
        await apply(archive, MergePatients(known(P2), P3), MergePatients(known(P1), P2))
        assert [each[1] for each in await shown(archive, third, second)] == ["P1", "P1"]
        assert [row[1] for row in await rows(archive, OWNERS)] == [3, 3, 3]
        into = {P3: P2, P2: P1}
        await apply(archive, UnmergePatients(order[0], into[order[0]]))
        left = {P3: ["P3", "P1"], P2: ["P2", "P2"]}[order[0]]
        assert [each[1] for each in await shown(archive, third, second)] == left
        await apply(archive, UnmergePatients(order[1], into[order[1]]))
        assert await rows(archive, OWNERS) == owners
        assert await index(archive) == start


async def test_a_circle_is_refused_and_a_repetition_changes_nothing(archive: Archive) -> None:
    await apply(archive, MergePatients(known(P2), P3), MergePatients(known(P1), P2))
    before = await rows(archive, OWNERS)
    for survivor, retired in ((P3, P2), (P3, P1), (P2, P1)):
        with pytest.raises(ConflictError, match="circle"):
            await apply(archive, MergePatients(known(survivor), retired))
    assert await apply(archive, MergePatients(known(P1), P3)) == ["the two are one patient already"]
    with pytest.raises(InvalidRequestError, match="itself"):
        await apply(archive, MergePatients(known(P1), P1))
    assert await rows(archive, OWNERS) == before


async def test_who_is_part_of_a_third_patient_leaves_that_alone(archive: Archive) -> None:
    third, second = await store(archive, 3, "P3"), await store(archive, 2, "P2")
    await apply(archive, *(PutPatient(known(each)) for each in (P1, P2, P3)))
    await apply(archive, MergePatients(known(P2), P3), MergePatients(known(P1), P3))
    assert [each[1] for each in await shown(archive, third, second)] == ["P1", "P2"]
    await apply(archive, UnmergePatients(P1, P3))
    assert [each[1] for each in await shown(archive, third, second)] == ["P3", "P2"]


@pytest.mark.parametrize("seed", [2, 9])
async def test_whatever_is_merged_and_taken_apart_in_the_end_all_is_as_it_was(archive: Archive, seed: int) -> None:
    """Against a model: every number is owned by the root of its record, and images show that one's number."""
    luck = random.Random(seed)
    numbers = [Identifier(f"P{n}", "HOSP") for n in range(6)]
    uids = [await store(archive, n, f"P{n}", PatientName=f"N{n}^A") for n in range(6)]
    for n, number in enumerate(numbers):
        await apply(archive, PutPatient(known(number, f"N{n}^A")))
    start, owners = await index(archive), await rows(archive, OWNERS)
    into: dict[int, int] = {}

    def root(n: int) -> int:
        return root(into[n]) if n in into else n

    for _ in range(15):
        one, other = luck.sample(range(6), 2)
        if luck.random() < 0.4 and into:
            lower = luck.choice(sorted(into))
            await apply(archive, UnmergePatients(numbers[lower], numbers[into[lower]]))
            del into[lower]
        else:
            try:
                await apply(archive, MergePatients(PatientFacts((numbers[one],)), numbers[other]))
            except ConflictError:
                assert root(one) == root(other)
            else:
                if root(one) != root(other):
                    into[other] = root(one)
        assert [row[1] - 1 for row in await rows(archive, OWNERS)] == [root(n) for n in range(6)]
        assert [each[1] for each in await shown(archive, *uids)] == [f"P{root(n)}" for n in range(6)]
        assert [each[0] for each in await shown(archive, *uids)] == [f"N{root(n)}^A" for n in range(6)]
    for lower in luck.sample(sorted(into), len(into)):
        await apply(archive, UnmergePatients(numbers[lower], numbers[into[lower]]))
    assert await rows(archive, OWNERS) == owners
    assert await index(archive) == start
    assert await rows(archive, "SELECT 1 FROM correction WHERE revoked_at IS NULL") == []


async def test_a_merge_of_unknown_patients_makes_the_survivor_and_an_alias(archive: Archive) -> None:
    study = await store(archive, 2, "P2")
    await apply(archive, MergePatients(known(P1), P2))
    assert await shown(archive, study) == [("Meier^Anna", "P1", "HOSP")]
    words = await apply(
        archive, PutPatient(PatientFacts((P2,), name="Meyer^A", details={"EthnicGroup": "X"}), VisitFacts(V1))
    )
    assert "came under a retired identifier: what is known of the survivor stays" in words
    assert await rows(archive, "SELECT patient_name, details FROM registered_patient WHERE merged_into IS NULL") == [
        ("Meier^Anna", {"EthnicGroup": "X"})
    ]
    assert await rows(archive, "SELECT patient FROM visit") == [(1,)]
    late = await store(archive, 4, "P2", PatientName="MEYER^A")
    async with archive.pool.connection() as connection, connection.transaction():
        await show_arrived(archive, connection, late, CAUSE)
    assert await shown(archive, late) == [("Meier^Anna", "P1", "HOSP")]
    await apply(archive, UnmergePatients(P1, P2))
    assert await shown(archive, late, study) == [("MEYER^A", "P2", "HOSP"), ("MEIER^ANNA", "P2", "HOSP")]


async def test_matching_looks_for_the_survivor_of_what_arrives(archive: Archive) -> None:
    await apply(archive, MergePatients(known(P1), P2))
    late, stranger = await store(archive, 2, "P2"), await store(archive, 3, "P2", IssuerOfPatientID="CLINIC")
    await match_due(archive)
    assert await shown(archive, late, stranger) == [("Meier^Anna", "P1", "HOSP"), ("MEIER^ANNA", "P2", "CLINIC")]
    await apply(archive, UnmergePatients(P1, P2))
    assert (await shown(archive, late))[0][1] == "P2"


async def test_images_that_came_late_leave_a_chain_with_the_patient_they_came_for(archive: Archive) -> None:
    await apply(archive, MergePatients(known(P2, "Two^A"), P3), MergePatients(known(P1, "One^A"), P2))
    late = await store(archive, 3, "P3", PatientName="THREE^A")
    async with archive.pool.connection() as connection, connection.transaction():
        await show_arrived(archive, connection, late, CAUSE)
    assert await shown(archive, late) == [("One^A", "P1", "HOSP")]
    await apply(archive, UnmergePatients(P2, P1))
    assert await shown(archive, late) == [("Two^A", "P2", "HOSP")]
    await apply(archive, UnmergePatients(P3, P2))
    assert await shown(archive, late) == [("THREE^A", "P3", "HOSP")]
    await apply(archive, MergePatients(known(P2), P3), MergePatients(known(P1, "One^A"), P2))
    await apply(archive, UnmergePatients(P3, P2))
    assert await shown(archive, late) == [("THREE^A", "P3", "HOSP")]


async def test_a_change_of_the_survivor_after_a_merge_goes_with_the_unmerge(archive: Archive) -> None:
    own, other = await store(archive, 1, "P1"), await store(archive, 2, "P2")
    await apply(archive, PutPatient(known(P1)), PutPatient(known(P2)), MergePatients(known(P1), P2))
    await apply(archive, PutPatient(known(P1, "Schmidt^Anna")))
    assert [each[0] for each in await shown(archive, own, other)] == ["Schmidt^Anna", "Schmidt^Anna"]
    await apply(archive, UnmergePatients(P1, P2))
    assert await shown(archive, own, other) == [("Schmidt^Anna", "P1", "HOSP"), ("MEIER^ANNA", "P2", "HOSP")]


async def test_demographic_updates_reach_images_of_that_patient_only(archive: Archive) -> None:
    right = await store(archive, 1, "P1")
    elsewhere = await store(archive, 2, "P1", IssuerOfPatientID="CLINIC")
    stranger = await store(archive, 3, "P1", PatientName="ROE^JOHN", PatientBirthDate="20010101")
    await apply(archive, PutPatient(known(P1)))
    words = await apply(archive, PutPatient(known(P1, "Schmidt^Anna")))
    assert words[1:] == [
        "studies that show the patient as the RIS knows it: 1",
        "studies left as they are, with the patient's ID but another birth date or name: 1",
    ]
    assert [each[0] for each in await shown(archive, right, elsewhere, stranger)] == [
        "Schmidt^Anna",
        "MEIER^ANNA",
        "ROE^JOHN",
    ]


async def test_demographic_updates_may_be_kept_from_images(archive: Archive) -> None:
    study = await store(archive, 1, "P1")
    object.__setattr__(archive, "settings", Settings(ris_updates_images=False))
    await apply(archive, PutPatient(known(P1)), PutPatient(known(P1, "Schmidt^Anna")))
    assert (await shown(archive, study))[0][0] == "MEIER^ANNA"
    await apply(archive, MergePatients(known(P2, "Schmidt^Anna"), P1))
    assert await shown(archive, study) == [("Schmidt^Anna", "P2", "HOSP")]


@pytest.mark.parametrize(
    ("others", "attributes", "default", "moves"),
    [
        ((), {}, "", True),
        ((), {}, "HOSP", True),
        ((), {}, "CLINIC", False),
        ((), {"PatientBirthDate": "20010101"}, "", False),
        ((), {"PatientBirthDate": "", "PatientName": "ROE^JOHN"}, "", False),
        ((), {"PatientBirthDate": "", "PatientName": "meier^anna^^^dr"}, "", True),
        ((Identifier("P2", "CLINIC"),), {}, "", False),
        ((Identifier("P2", "CLINIC"),), {}, "HOSP", False),
    ],
)
async def test_images_without_an_issuer_go_only_where_there_is_no_doubt(
    archive: Archive, others: Iterable[Identifier], attributes: dict[str, Any], default: str, moves: bool
) -> None:
    object.__setattr__(archive, "settings", Settings(default_patient_issuer=default))
    study = await store(archive, 2, "P2", **({"IssuerOfPatientID": ""} | attributes))
    await apply(archive, PutPatient(known(P1)), PutPatient(known(P2)), *(PutPatient(known(each)) for each in others))
    await apply(archive, MergePatients(known(P1), P2))
    assert (await shown(archive, study))[0][1:] == ("P1" if moves else "P2", "")


async def test_all_images_of_a_survivor_are_one_patients(archive: Archive) -> None:
    """The issuer becomes what the survivor's own images say."""
    own = await store(archive, 1, "P1", IssuerOfPatientID="")
    other = await store(archive, 2, "P2")
    clinic = await store(archive, 3, "C3", IssuerOfPatientID="CLINIC")
    c3 = Identifier("C3", "CLINIC")
    await apply(archive, *(PutPatient(known(each)) for each in (P1, P2, c3)))
    await apply(archive, MergePatients(known(P1), P2), MergePatients(known(P1), c3))
    assert {each[1:] for each in await shown(archive, own, other, clinic)} == {("P1", "")}
    assert len(await rows(archive, "SELECT 1 FROM patient")) == 1


async def test_another_authority_becomes_the_issuer(archive: Archive) -> None:
    c3 = Identifier("C3", "CLINIC")
    study = await store(archive, 3, "C3", IssuerOfPatientID="CLINIC")
    await apply(archive, PutPatient(known(c3)), MergePatients(known(P1), c3))
    assert await shown(archive, study) == [("Meier^Anna", "P1", "HOSP")]


async def test_what_a_person_corrected_before_stays_and_returns(archive: Archive) -> None:
    study = await store(archive, 2, "P2")
    await apply(archive, PutPatient(known(P2)))
    name = AttributeCorrection((0x00100010,), "PN", ("MEIER^ANNE",))
    await add_corrections(archive, Corrections(study, (name,), "typed wrongly", "anna"))
    only_series = AttributeCorrection((0x00100040,), "CS", ("O",))
    await add_corrections(archive, Corrections(study, (only_series,), "typed wrongly", "anna", series_uid=f"{study}.1"))
    before, was = await index(archive), await sent(archive, study)
    await apply(archive, MergePatients(known(P1), P2))
    assert (await shown(archive, study))[0] == ("Meier^Anna", "P1", "HOSP")
    await apply(archive, UnmergePatients(P1, P2))
    assert await index(archive) == before
    assert await sent(archive, study) == was


async def test_a_correction_taken_back_while_merged_is_not_there_again_after_the_unmerge(archive: Archive) -> None:
    study = await store(archive, 2, "P2")
    name = AttributeCorrection((0x00100010,), "PN", ("WRONG^NAME",))
    ids = await add_corrections(archive, Corrections(study, (name,), "a mistake", "anna"))
    await apply(archive, MergePatients(known(P1), P2))
    await revoke_corrections(archive, ids, actor="anna")
    await apply(archive, UnmergePatients(P1, P2))
    assert await shown(archive, study) == [("MEIER^ANNA", "P2", "HOSP")]


async def test_an_identifier_that_changes_takes_images_along(archive: Archive) -> None:
    study = await store(archive, 1, "P1")
    new = Identifier("5000", "HOSP")
    await apply(archive, PutPatient(known(P1)), ChangeIdentifier(known(new), P1, new))
    assert await shown(archive, study) == [("Meier^Anna", "5000", "HOSP")]


async def test_a_cross_reference_keeps_its_number_on_images(archive: Archive) -> None:
    """The clinic's number is good, whatever the hospital does with its own."""
    c3, study = Identifier("C3", "CLINIC"), await store(archive, 3, "C3", IssuerOfPatientID="CLINIC")
    await apply(archive, PutPatient(PatientFacts((P2, c3), name="Meier^Anna", birth_date="19600401")))
    await apply(archive, PutPatient(known(P2, "Schmidt^Anna")))
    assert await shown(archive, study) == [("Schmidt^Anna", "C3", "CLINIC")]
    await apply(archive, MergePatients(known(P1, "Schmidt^Anne"), P2))
    assert await shown(archive, study) == [("Schmidt^Anne", "C3", "CLINIC")]
    new = Identifier("C4", "CLINIC")
    await apply(archive, ChangeIdentifier(known(P1, "Schmidt^Anne"), c3, new))
    assert await shown(archive, study) == [("Schmidt^Anne", "C4", "CLINIC")]


async def test_a_visit_moves_with_its_orders_and_their_images(archive: Archive) -> None:
    ordered, other = await store(archive, 1, "P2"), await store(archive, 2, "P2")
    await apply(archive, PutPatient(known(P1)), PutPatient(known(P2), VisitFacts(V1)))
    await rows(
        archive,
        f"""INSERT INTO imaging_order (patient, visit, study_instance_uid, changed_by) VALUES (2, 1, '{ordered}', 'x')
            RETURNING id""",
    )
    words = await apply(archive, MoveVisit(P2, known(P1), V1, V2))
    assert words[0] == "moved the visit from patient 2 (orders: 1)"
    assert await rows(archive, "SELECT patient, number FROM visit") == [(1, "V2")]
    assert await rows(archive, "SELECT patient FROM imaging_order") == [(1,)]
    assert [each[1] for each in await shown(archive, ordered, other)] == ["P1", "P2"]
    with pytest.raises(ConflictError, match="source"):
        await apply(archive, PutPatient(known(P3)), MoveVisit(P2, known(P3), V2))
    assert "nothing to move" in (await apply(archive, MoveVisit(P1, known(P2), Identifier("V9", "HOSP"))))[-1]


async def test_two_visits_become_one(archive: Archive) -> None:
    await apply(archive, PutPatient(known(P1), VisitFacts(V1)), PutPatient(known(P1), VisitFacts(V2)))
    assert await apply(archive, MoveVisit(P1, known(P1), V1, V2)) == ["the visit became one with another (orders: 0)"]
    assert await rows(archive, "SELECT number FROM visit") == [("V2",)]


async def test_all_that_one_identifier_has_moves_and_the_others_stay(archive: Archive) -> None:
    extra = Identifier("X7", "HOSP")
    moved, stays = await store(archive, 1, "X7"), await store(archive, 2, "P2")
    await apply(
        archive, PutPatient(PatientFacts((P2, extra), name="Meier^Anna", birth_date="19600401"), VisitFacts(V1))
    )
    await apply(archive, MoveVisit(extra, known(P1)))
    assert [each[1] for each in await shown(archive, moved, stays)] == ["P1", "P2"]
    assert await rows(archive, "SELECT value, patient, is_first FROM patient_identifier ORDER BY id") == [
        ("P2", 1, True),
        ("X7", 2, False),
        ("P1", 2, True),
    ]
    await apply(archive, MoveVisit(P2, known(P1)))
    assert await rows(archive, ALIVE) == [(1, 2), (2, None)]


async def test_many_who_merge_and_unmerge_at_once_leave_nothing_half_done(archive: Archive) -> None:
    """Each transaction is done again when it met another in a circle, as the inbox does."""
    numbers = [Identifier(f"P{n}", "HOSP") for n in range(5)]
    uids = [await store(archive, n, f"P{n}") for n in range(5)]

    async def work(seed: int) -> None:
        luck = random.Random(seed)
        for _ in range(8):
            one, other = luck.sample(numbers, 2)
            change = UnmergePatients(one, other) if luck.random() < 0.3 else MergePatients(known(one), other)
            for _ in range(20):
                try:
                    await apply(archive, change)
                except psycopg.errors.DeadlockDetected:
                    continue
                except (ConflictError, NotFoundError):
                    pass
                break
            else:
                raise AssertionError("it never came through")

    await asyncio.gather(*(work(seed) for seed in range(4)))
    wrong = """WITH RECURSIVE up(home, at) AS (
            SELECT id, id FROM registered_patient
            UNION ALL SELECT up.home, p.merged_into FROM up JOIN registered_patient p ON p.id = up.at
            WHERE p.merged_into IS NOT NULL
        ) SELECT i.value FROM patient_identifier i JOIN up ON up.home = i.home
        JOIN registered_patient p ON p.id = up.at AND p.merged_into IS NULL WHERE i.patient <> p.id"""
    assert await rows(archive, wrong) == []
    firsts = """SELECT p.id FROM registered_patient p LEFT JOIN patient_identifier i ON i.patient = p.id AND i.is_first
        WHERE p.merged_into IS NULL GROUP BY p.id HAVING count(i.id) <> 1"""
    assert await rows(archive, firsts) == []
    owners = dict(
        await rows(
            archive,
            """SELECT i.value, f.value FROM patient_identifier i
            JOIN patient_identifier f ON f.patient = i.patient AND f.is_first""",
        )
    )
    assert [each[1] for each in await shown(archive, *uids)] == [owners.get(f"P{n}", f"P{n}") for n in range(5)]


async def test_people_merge_and_unmerge_by_number(archive: Archive) -> None:
    await apply(archive, PutPatient(known(P1)), PutPatient(known(P2)))
    number, effects = await merge_patients(archive, 1, 2)
    assert [each.subject for each in effects] == ["patient"]
    with pytest.raises(ConflictError, match="merged into patient number 1"):
        await merge_patients(archive, 1, 2)
    with pytest.raises(NotFoundError):
        await merge_patients(archive, 1, 99)
    with pytest.raises(InvalidRequestError):
        await merge_patients(archive, 1, 1)
    await unmerge(archive, number)
    with pytest.raises(NotFoundError):
        await unmerge(archive, number)
    assert await rows(archive, ALIVE) == [(1, None), (2, None)]
    trail = await rows(archive, "SELECT patient_ids FROM audit_event WHERE event = '110110' ORDER BY id DESC LIMIT 2")
    assert trail == [(["P1", "P2"],), (["P1", "P2"],)]


async def test_two_that_have_nothing_to_do_with_each_other_cannot_be_taken_apart(archive: Archive) -> None:
    await apply(archive, MergePatients(known(P1), P2), MergePatients(known(P1), P3))
    with pytest.raises(ConflictError, match="not merged with each other"):
        await apply(archive, UnmergePatients(P2, P3))
    with pytest.raises(NotFoundError):
        await apply(archive, UnmergePatients(P1, Identifier("Z", "HOSP")))

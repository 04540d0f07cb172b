"""Patients as the RIS tells them: made, changed, cross-referenced, linked, renumbered; visits and their states."""

from __future__ import annotations

from typing import Any

import pytest

from fileroom.archive.services import Archive
from fileroom.core.access import NOBODY, acting_as
from fileroom.core.errors import ConflictError, InvalidRequestError, NotAllowedError
from fileroom.worklist.apply import apply_change
from fileroom.worklist.changes import (
    Cause,
    Change,
    ChangeIdentifier,
    LinkPatients,
    Nothing,
    PutPatient,
    RemoveVisit,
)
from fileroom.worklist.facts import Identifier, PatientFacts, VisitFacts, VisitState

CAUSE = Cause("feed:ris", 7)
A1, B1 = Identifier("4711", "HOSP"), Identifier("B-9", "CLINIC")
VISIT = Identifier("V1", "HOSP", "VN")


def meier(*identifiers: Identifier, **facts: Any) -> PatientFacts:
    return PatientFacts(identifiers or (A1,), **{"name": "Meier^Anna", "birth_date": "19600401", "sex": "F"} | facts)


async def apply(archive: Archive, *changes: Change) -> list[str]:
    words: list[str] = []
    for change in changes:
        async with archive.pool.connection() as connection, connection.transaction():
            words += [effect.words for effect in await apply_change(archive, connection, change, CAUSE)]
    return words


async def rows(archive: Archive, statement: str) -> list[tuple[Any, ...]]:
    async with archive.pool.connection() as connection:
        return await (await connection.execute(statement.encode())).fetchall()


PATIENTS = "SELECT patient_name, birth_date, sex, details FROM registered_patient ORDER BY id"
IDENTIFIERS = "SELECT patient, authority, value, kind, is_first FROM patient_identifier ORDER BY id"


async def test_a_patient_is_made_then_changed_and_the_same_again_changes_nothing(archive: Archive) -> None:
    put = PutPatient(meier(A1, B1, details={"PatientAddress": "Main Street 1"}))
    assert await apply(archive, put) == ["made the patient"]
    assert await rows(archive, IDENTIFIERS) == [(1, "HOSP", "4711", "MR", True), (1, "CLINIC", "B-9", "MR", False)]
    assert await apply(archive, put) == []
    assert await apply(archive, PutPatient(meier(name="Schmidt^Anna"))) == ["changed the patient's name"]
    assert await rows(archive, PATIENTS) == [
        ("Schmidt^Anna", "19600401", "F", {"PatientAddress": "Main Street 1"}),
    ]


async def test_what_is_not_said_stays_and_an_empty_text_takes_away(archive: Archive) -> None:
    await apply(archive, PutPatient(meier(details={"PatientAddress": "X", "EthnicGroup": "Y"})))
    await apply(archive, PutPatient(PatientFacts((A1,), birth_date="", details={"EthnicGroup": ""})))
    assert await rows(archive, PATIENTS) == [("Meier^Anna", "", "F", {"PatientAddress": "X"})]


async def test_the_same_number_of_two_authorities_is_two_patients(archive: Archive) -> None:
    await apply(archive, PutPatient(meier()), PutPatient(meier(Identifier("4711", "CLINIC"), name="Roe^John")))
    assert [row[0] for row in await rows(archive, PATIENTS)] == ["Meier^Anna", "Roe^John"]


async def test_kinds_of_medical_records_are_one_number_space(archive: Archive) -> None:
    await apply(archive, PutPatient(meier(Identifier("4711", "HOSP", "PI"))))
    assert await apply(archive, PutPatient(meier(Identifier("4711", "HOSP", "")))) == []
    await apply(archive, PutPatient(meier(Identifier("4711", "HOSP", "SS"), name="Roe^John")))
    assert len(await rows(archive, PATIENTS)) == 2


async def test_a_cross_reference_leads_to_a_known_patient_unless_birth_dates_differ(archive: Archive) -> None:
    await apply(archive, PutPatient(meier()))
    assert await apply(archive, PutPatient(meier(B1, A1))) == ["took on 1 further identifiers"]
    other = Identifier("C-1", "OTHER")
    words = await apply(archive, PutPatient(meier(other, A1, birth_date="20010101")))
    assert words[0] == "made the patient"
    assert "belongs to patient 1" in words[1]
    assert [row[:3] for row in await rows(archive, IDENTIFIERS)] == [
        (1, "HOSP", "4711"),
        (1, "CLINIC", "B-9"),
        (2, "OTHER", "C-1"),
    ]


async def test_two_records_of_one_person_are_linked_once(archive: Archive) -> None:
    link = LinkPatients(meier(A1), meier(B1))
    assert (await apply(archive, link))[-1] == "linked with patient 2"
    assert await apply(archive, link) == ["the two were linked already"]
    assert await rows(archive, "SELECT one, other FROM patient_link") == [(1, 2)]


async def test_another_identifier_is_first_and_the_old_one_stays_an_alias(archive: Archive) -> None:
    new = Identifier("5000", "HOSP")
    await apply(archive, PutPatient(meier()), ChangeIdentifier(meier(new), A1, new))
    assert await rows(archive, IDENTIFIERS) == [(1, "HOSP", "4711", "MR", False), (1, "HOSP", "5000", "MR", True)]
    await apply(archive, PutPatient(meier(B1)))
    with pytest.raises(ConflictError, match="merge"):
        await apply(archive, ChangeIdentifier(meier(new), new, B1))


async def test_a_patient_that_was_never_heard_of_may_change_its_identifier(archive: Archive) -> None:
    new = Identifier("5000", "HOSP")
    await apply(archive, ChangeIdentifier(meier(new), A1, new))
    assert await rows(archive, IDENTIFIERS) == [(1, "HOSP", "4711", "MR", False), (1, "HOSP", "5000", "MR", True)]
    assert (await rows(archive, PATIENTS))[0][0] == "Meier^Anna"


async def test_a_visit_is_admitted_moved_discharged_taken_back_and_cancelled(archive: Archive) -> None:
    visit = "SELECT state, location, discharged_at FROM visit"

    async def say(**facts: Any) -> None:
        await apply(archive, PutPatient(meier(), VisitFacts(VISIT, **facts)))

    await say(state=VisitState.ADMITTED, location="WARD-1", admitted_at="20260101")
    await say(location="WARD-2")  # A02
    assert await rows(archive, visit) == [("admitted", "WARD-2", "")]
    await say(location="WARD-1")  # A12
    await say(state=VisitState.DISCHARGED, discharged_at="202601021200")  # A03
    assert await rows(archive, visit) == [("discharged", "WARD-1", "202601021200")]
    await say(state=VisitState.ADMITTED)  # A13
    assert await rows(archive, visit) == [("admitted", "WARD-1", "")]
    await say(state=VisitState.CANCELLED)  # A11
    assert await rows(archive, visit) == [("cancelled", "WARD-1", "")]


async def test_a_visit_number_of_another_patient_is_refused(archive: Archive) -> None:
    await apply(archive, PutPatient(meier(), VisitFacts(VISIT)))
    with pytest.raises(ConflictError, match="number 1"):
        await apply(archive, PutPatient(meier(B1, name="Roe^John"), VisitFacts(VISIT)))
    assert len(await rows(archive, PATIENTS)) == 1


async def test_a_visit_entered_by_mistake_goes_and_its_orders_stay(archive: Archive) -> None:
    await apply(archive, PutPatient(meier(), VisitFacts(VISIT)))
    await rows(
        archive,
        """INSERT INTO imaging_order (patient, visit, placer_number, study_instance_uid, changed_by)
           VALUES (1, 1, 'P1', '1.2', 'test') RETURNING id""",
    )
    words = await apply(archive, RemoveVisit(meier(), VISIT))
    assert words == ["removed the visit; orders that stay without it: 1"]
    assert await rows(archive, "SELECT patient, visit FROM imaging_order") == [(1, None)]
    assert await apply(archive, RemoveVisit(meier(), VISIT)) == ["the visit is not known: there is nothing to remove"]


@pytest.mark.parametrize(
    "facts",
    [
        PatientFacts(()),
        PatientFacts((Identifier("A\\B"),)),
        PatientFacts((Identifier("9" * 65),)),
        PatientFacts((Identifier(" "),)),
        PatientFacts((A1,), birth_date="20261399"),
        PatientFacts((A1,), sex="female!"),
        PatientFacts((A1,) * 1 + tuple(Identifier(str(n)) for n in range(60))),
        PatientFacts((A1,), details={f"Keyword{n}": "x" for n in range(99)}),
    ],
)
async def test_what_dicom_cannot_hold_is_refused(archive: Archive, facts: PatientFacts) -> None:
    with pytest.raises(InvalidRequestError):
        await apply(archive, PutPatient(facts))
    assert await rows(archive, PATIENTS) == []


async def test_every_change_of_a_patient_is_audited(archive: Archive) -> None:
    await apply(
        archive, PutPatient(meier()), PutPatient(meier(name="Schmidt^Anna")), PutPatient(meier(name="Schmidt^Anna"))
    )
    found = await rows(archive, "SELECT event, action, patient_ids FROM audit_event ORDER BY id")
    assert found == [("110110", "C", ["4711"]), ("110110", "U", ["4711"])]


async def test_nothing_says_why_and_nobody_may_change_anything(archive: Archive) -> None:
    assert await apply(archive, Nothing("a table of codes")) == ["a table of codes"]
    with acting_as(NOBODY), pytest.raises(NotAllowedError):
        await apply(archive, PutPatient(meier()))

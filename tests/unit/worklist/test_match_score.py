"""How well studies and orders agree, and when that is enough to match them without a person."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fileroom.worklist.coercion import USUAL, coerce
from fileroom.worklist.match_score import (
    OrderSaid,
    PatientSaid,
    RequestSaid,
    StepSaid,
    StudySaid,
    decide,
    rank,
    same_name,
    score,
)

PATIENT = PatientSaid((("P1", "HOSP"),), "Doe^Jane", "19700101", "F")
STEP = StepSaid("SPS1", "CT", ("CT1",), "20261122", "083000")
ORDER = OrderSaid(
    1, PATIENT, study_uid="1.2.9", accession="A1", accession_authority="RIS", procedure_id="RP1", steps=(STEP,)
)
STUDY = StudySaid(
    "1.2.3", "P1", "HOSP", "DOE^JANE", "19700101", "F", date="20261122", time="084500", modalities=("CT",)
)
ENOUGH = 80


def decided(study: StudySaid, *orders: OrderSaid, **more: object) -> str:
    """`how` of the match, or the codes of the reasons."""
    decision = decide(study, rank(study, orders), enough=ENOUGH, **more)  # type: ignore[arg-type]  # few of a kind
    return decision.match.how if decision.match else " ".join(one.code for one in decision.reasons)


def bare(**said: object) -> StudySaid:
    return StudySaid("1.2.3", **said)  # type: ignore[arg-type]  # few of a kind


@pytest.mark.parametrize(
    ("study", "expected"),
    [
        (bare(accession="A1", modalities=("CT",)), "accession"),
        (replace(STUDY, uid="1.2.9"), "study_uid"),
        (StudySaid("1.2.9"), "study_uid"),
        (replace(STUDY, requests=(RequestSaid("SPS1", "RP1"),), date="", time=""), "step"),
        (bare(requests=(RequestSaid("SPS1", "RP1"),)), "step"),
        (bare(requests=(RequestSaid("SPS1"),)), "weak"),
        (bare(requests=(RequestSaid(accession="A1"),)), "accession"),
        (STUDY, "patient_time"),
        (replace(STUDY, time="133000"), "weak"),  # the same day alone is not enough
        (replace(STUDY, time="", stations=("CT1",)), "patient_time"),  # the same day on the same machine is
        (replace(STUDY, modalities=("MR",)), "weak"),
        (replace(STUDY, date="20261101"), "no_order"),
        (replace(STUDY, accession="A1", modalities=("OT",), date="20261120"), "accession"),
        (replace(STUDY, accession="A1", accession_issuer="OTHER"), "weak accession_elsewhere"),
        (replace(STUDY, accession="A1", accession_issuer="RIS"), "accession"),
        (replace(STUDY, accession="A1", birth_date="", sex="", name=""), "accession"),
        # --- the patient differs ---
        (replace(STUDY, accession="A1", patient_id="P2"), "patient_differs"),
        (replace(STUDY, accession="A1", issuer="ELSEWHERE"), "patient_differs"),
        (replace(STUDY, accession="A1", name="DOE^JOHN"), "patient_differs"),
        (replace(STUDY, accession="A1", birth_date="19700102"), "patient_differs"),
        (replace(STUDY, accession="A1", sex="M"), "patient_differs"),
        (replace(STUDY, uid="1.2.9", sex="M"), "patient_differs"),
        (replace(STUDY, name="ROE^RICHARD"), "patient_differs"),  # the right number, another name
        # --- and here it does not ---
        (replace(STUDY, accession="A1", sex="O"), "accession"),
        (replace(STUDY, accession="A1", issuer=""), "accession"),
        (replace(STUDY, accession="A1", name="Döe^Jane^Mary^Dr."), "accession"),
    ],
)
def test_what_one_order_is_to_a_study(study: StudySaid, expected: str) -> None:
    assert decided(study, ORDER) == expected


def test_two_that_fit_about_equally_well_are_for_a_person() -> None:
    other = replace(ORDER, id=2, accession="A2", study_uid="1.2.8", procedure_id="RP2")
    assert decided(STUDY, ORDER, other) == "close"
    assert decided(replace(STUDY, accession="A1"), ORDER, other) == "accession"
    # Images that carry the UID of one order and the accession number of another.
    assert decided(replace(STUDY, uid="1.2.8", accession="A1"), ORDER, other) == "close"


def test_orders_of_one_accession_and_one_study_are_done_together() -> None:
    other = replace(ORDER, id=2, procedure_id="RP2")
    study = replace(STUDY, uid="1.2.9", accession="A1")
    assert decided(study, ORDER, other) == "study_uid"
    assert decided(replace(study, requests=(RequestSaid("SPS1", "RP2"),)), ORDER, other) == "study_uid"
    assert rank(replace(study, requests=(RequestSaid("SPS1", "RP2"),)), [ORDER, other])[0].order.id == 2


def test_a_performed_step_links_study_and_order() -> None:
    linked = replace(ORDER, performed_studies=("1.2.3",), steps=())
    assert decided(bare(), linked) == "performed_step"


def test_an_order_that_is_over_needs_a_person() -> None:
    assert decided(replace(STUDY, accession="A1"), replace(ORDER, state="cancelled")) == "ended"
    assert decided(replace(STUDY, accession="A1"), replace(ORDER, state="discontinued")) == "ended"
    broken_off = replace(ORDER, state="discontinued", performed_studies=(STUDY.uid,))
    assert decided(replace(STUDY, accession="A1"), broken_off) == "performed_step"
    assert decided(replace(STUDY, accession="A1"), replace(ORDER, state="completed")) == "accession"


def test_an_order_that_came_before_its_patient_waits_for_them() -> None:
    assert decided(replace(STUDY, accession="A1"), replace(ORDER, patient=None)) == "no_patient"


def test_what_a_person_has_undone_is_not_done_again() -> None:
    assert decided(replace(STUDY, accession="A1"), ORDER, undone=frozenset({1})) == "undone"


def test_an_order_whose_images_are_here_is_not_found_by_time_again() -> None:
    assert decided(STUDY, replace(ORDER, matched_studies=("1.2.77",))) == "weak"
    assert decided(replace(STUDY, accession="A1"), replace(ORDER, matched_studies=("1.2.77",))) == "accession"


@pytest.mark.parametrize(
    ("study", "known", "codes"),
    [
        (bare(), True, "no_patient_id"),
        (bare(patient_id="P9"), False, "patient_unknown"),
        (bare(patient_id="P1"), True, "no_order"),
        (bare(patient_id="P1", accession="A9"), True, "accession_unknown"),
        (bare(patient_id="P1", requests=(RequestSaid("S9"),)), True, "step_unknown"),
    ],
)
def test_what_is_said_where_no_order_comes_near(study: StudySaid, known: bool, codes: str) -> None:
    assert decided(study, known=known) == codes


def test_findings_say_what_agrees_and_what_differs() -> None:
    found = score(replace(STUDY, accession="A1", birth_date="19991231"), ORDER)
    said = {one.evidence.value: (one.agrees, one.of_study, one.of_order) for one in found.findings}
    assert said["accession"] == (True, "A1", "A1")
    assert said["birth_date"] == (False, "19991231", "19700101")
    assert said["time"] == (True, "2026-11-22 08:45", "2026-11-22 08:30")
    assert 0 <= found.score <= 100 < found.points


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("MUELLER^HANS", "Müller^Hans", True),
        ("Muller^Hans", "Müller^Hans^Peter", True),
        ("Müller^Hans^^Dr.", "MUELLER^HANS", True),
        ("MÜLLER-LÜDENSCHEIDT^A", "Mueller Luedenscheidt^A", True),
        ("Müller^Hans", "Müller", True),
        ("Müller^Hans", "Müller^H", False),
        ("Müller^Hans", "Hans^Müller", False),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "=山田^太郎", True),
        ("Yamada^Tarou=山田^太郎", "Yamada^Jirou=山田^次郎", False),
        ("", "Müller", True),
    ],
)
def test_names_are_the_same_however_they_are_written(one: str, other: str, same: bool) -> None:
    assert same_name(one, other) is same
    assert same_name(other, one) is same


def coerced(study: StudySaid, order: OrderSaid, attributes: tuple[str, ...] = USUAL) -> dict[str, object]:
    return {f"{one.path[-1]:08X}": one.value for one in coerce(study, order, attributes)}


def test_only_what_differs_is_taken_over() -> None:
    order = replace(ORDER, referring="Ray^Rita", description="CT thorax")
    assert coerced(replace(STUDY, accession="A1", requests=(RequestSaid(procedure_id="RP1"),)), order) == {
        "00100010": ("Doe^Jane",),
        "00080051": ({"00400031": {"vr": "UT", "Value": ["RIS"]}},),
        "00080090": ("Ray^Rita",),
    }
    assert coerced(STUDY, order, ("AccessionNumber", "StudyDescription")) == {
        "00080050": ("A1",),
        "00081030": ("CT thorax",),
    }


def test_what_the_order_does_not_say_stays() -> None:
    study = replace(STUDY, referring="Ray^Rita", accession="A7")
    assert coerced(study, OrderSaid(1, PatientSaid((("P1", "HOSP"),)))) == {}
    assert coerced(study, OrderSaid(1)) == {}


def test_who_assigned_the_accession_number_is_taken_over_with_it() -> None:
    ris = ({"00400031": {"vr": "UT", "Value": ["RIS"]}},)
    order = OrderSaid(1, accession="A1", accession_authority="RIS")
    assert coerced(replace(STUDY, accession="A1"), order) == {"00080051": ris}
    assert coerced(replace(STUDY, accession="A1", accession_issuer="RIS"), order) == {}
    assert coerced(STUDY, order) == {"00080050": ("A1",), "00080051": ris}
    assert coerced(replace(STUDY, accession="A7"), order, ("IssuerOfAccessionNumberSequence",)) == {}
    foreign = replace(STUDY, accession="A7", accession_issuer="CLINIC")
    assert coerced(foreign, OrderSaid(1, accession="A1")) == {"00080050": ("A1",), "00080051": ()}


def test_an_issuer_does_not_stay_with_a_number_that_it_did_not_issue() -> None:
    order = OrderSaid(1, PatientSaid((("P7", ""),)))
    assert coerced(STUDY, order) == {"00100020": ("P7",), "00100021": ()}

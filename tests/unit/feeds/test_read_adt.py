from __future__ import annotations

import pytest

from fileroom.core.errors import InvalidRequestError
from fileroom.feeds.mapping import read_changes, read_into
from fileroom.feeds.mapping_fields import mapping_from_fields
from fileroom.feeds.reading import Reading
from fileroom.worklist.changes import (
    Change,
    ChangeIdentifier,
    LinkPatients,
    MergePatients,
    MoveVisit,
    Nothing,
    PutPatient,
    RemoveVisit,
    UnmergePatients,
)
from fileroom.worklist.facts import Identifier, PatientFacts, VisitFacts, VisitState
from hl7_texts import PID, PV1, message

IHE = mapping_from_fields({})
ANNA = Identifier("4711", "HOSP", "MR")
OTHER = Identifier("4712", "HOSP", "MR")


def changes_of(event: str, *segments: str) -> list[Change]:
    return read_changes(message(f"ADT^{event}", f"EVN|{event}|20261122101500", *segments), IHE)


def only(changes: list[Change]) -> Change:
    assert len(changes) == 1
    return changes[0]


@pytest.mark.parametrize(
    ("event", "state"),
    [
        ("A01", VisitState.ADMITTED),
        ("A02", None),
        ("A03", VisitState.DISCHARGED),
        ("A04", VisitState.ADMITTED),
        ("A05", VisitState.SCHEDULED),
        ("A08", None),
        ("A11", VisitState.CANCELLED),
        ("A12", None),
        ("A13", VisitState.ADMITTED),
        ("A28", None),
        ("A31", None),
    ],
)
def test_events_of_a_stay_put_patient_and_visit(event: str, state: VisitState | None) -> None:
    change = only(changes_of(event, PID, PV1))
    assert change == PutPatient(
        PatientFacts(
            (ANNA, Identifier("123456789", "SSA", "SS")),
            "Muster^Anna^Maria^Dr.^jun.",
            "19700301",
            "F",
        ),
        VisitFacts(
            Identifier("V100", "", "VN"),
            state,
            "I",
            "W1 101 A",
            "HOSP",
            "Boss^Bea^^Prof.",
            "Ruf^Rolf",
            "202611220800",
            "" if event == "A13" else None,
        ),
    )


@pytest.mark.parametrize("event", ["A18", "A34", "A36", "A39", "A40"])
def test_merges_name_who_remains_and_who_goes(event: str) -> None:
    change = only(changes_of(event, PID, "MRG|4712^^^HOSP^MR"))
    assert isinstance(change, MergePatients)
    assert change.survivor.identifiers[0] == ANNA
    assert change.retired == OTHER


def test_a40_with_several_patients_is_several_merges_in_order() -> None:
    changes = changes_of(
        "A40", PID, "MRG|1^^^HOSP^MR", "PID|2||9^^^HOSP^MR||Zwei^Z", "PD1", "MRG|2^^^HOSP^MR", "PV1|1|O"
    )
    assert [
        (one.survivor.identifiers[0].value, one.retired.value) for one in changes if isinstance(one, MergePatients)
    ] == [
        ("4711", "1"),
        ("9", "2"),
    ]


def test_a40_of_a_number_list_takes_the_medical_record_number() -> None:
    change = only(changes_of("A40", PID, "MRG|123456789^^^SSA^SS~4712^^^HOSP^MR"))
    assert isinstance(change, MergePatients)
    assert change.retired == OTHER


def test_a36_merges_the_account_too() -> None:
    merge, move = changes_of("A36", f"{PID}||||||||||A77", "MRG|4712^^^HOSP^MR||A66")
    assert isinstance(merge, MergePatients)
    assert isinstance(move, MoveVisit)
    assert (move.source, move.visit, move.new_number) == (
        ANNA,
        Identifier("A66", "", "AN"),
        Identifier("A77", "", "AN"),
    )


def test_a24_links_and_a37_parts_two_patients() -> None:
    two = (PID, "PV1|1|O", "PID|2||4712^^^HOSP^MR||Muster^A.", "PV1|1|O")
    link = only(changes_of("A24", *two))
    assert isinstance(link, LinkPatients)
    assert (link.one.identifiers[0], link.other.identifiers[0]) == (ANNA, OTHER)
    assert link.other.name == "Muster^A."
    assert only(changes_of("A37", *two)) == UnmergePatients(ANNA, OTHER)


@pytest.mark.parametrize("event", ["A46", "A47"])
def test_changed_identifiers(event: str) -> None:
    change = only(changes_of(event, PID, "MRG|4712^^^HOSP^MR"))
    assert isinstance(change, ChangeIdentifier)
    assert (change.old, change.new) == (OTHER, ANNA)


def test_a43_moves_all_that_the_other_one_had() -> None:
    change = only(changes_of("A43", PID, "MRG|4712^^^HOSP^MR"))
    assert isinstance(change, MoveVisit)
    assert (change.source, change.visit, change.new_number) == (OTHER, None, None)


@pytest.mark.parametrize(
    ("event", "merge", "source"),
    [
        ("A35", "MRG|4711^^^HOSP^MR||A66", ANNA),
        ("A41", "MRG|4711^^^HOSP^MR||A66", ANNA),
        ("A44", "MRG|4712^^^HOSP^MR||A66", OTHER),
        ("A49", "MRG|||A66", ANNA),
    ],
)
def test_accounts_move_under_their_new_number(event: str, merge: str, source: Identifier) -> None:
    change = only(changes_of(event, f"{PID}||||||||||A77", merge))
    assert isinstance(change, MoveVisit)
    assert change.source == source
    assert change.target.identifiers[0] == ANNA
    assert (change.visit, change.new_number) == (Identifier("A66", "", "AN"), Identifier("A77", "", "AN"))


@pytest.mark.parametrize(
    ("event", "merge", "source", "new"),
    [
        ("A45", "MRG|4712^^^HOSP^MR||||V100", OTHER, None),
        ("A50", "MRG|4711^^^HOSP^MR||||V99", ANNA, Identifier("V100", "", "VN")),
    ],
)
def test_visits_move(event: str, merge: str, source: Identifier, new: Identifier | None) -> None:
    change = only(changes_of(event, PID, merge, PV1))
    assert isinstance(change, MoveVisit)
    assert (change.source, change.new_number) == (source, new)
    assert change.visit == Identifier(merge.rsplit("|", 1)[1], "", "VN")


def test_a45_moves_each_visit_of_its_list() -> None:
    changes = changes_of(
        "A45", PID, "MRG|4712^^^HOSP^MR||||V1", "PV1|1|I||||||||||||||||||V1", "MRG|4712^^^HOSP^MR||||V2", PV1
    )
    assert [(one.visit and one.visit.value, one.new_number) for one in changes if isinstance(one, MoveVisit)] == [
        ("V1", None),
        ("V2", Identifier("V100", "", "VN")),
    ]


def test_a23_removes_a_visit() -> None:
    change = only(changes_of("A23", PID, PV1))
    assert isinstance(change, RemoveVisit)
    assert change.visit == Identifier("V100", "", "VN")


def test_an_event_that_is_not_known_asks_for_nothing_and_says_so() -> None:
    assert only(changes_of("A60", PID)) == Nothing("ADT A60 asks for nothing here.")


@pytest.mark.parametrize(
    ("event", "segments", "words"),
    [
        ("A08", ("PID|1||||Muster^Anna",), "no patient identifier: PID-3"),
        ("A08", (), "no PID segment"),
        ("A40", (PID,), "no MRG segment"),
        ("A40", (PID, "MRG|^^^HOSP"), "which patient it was: MRG-1"),
        ("A24", (PID,), "needs two PID segments; it has 1"),
        ("A23", (PID,), "visit_number: PV1-19"),
        ("A44", (PID, "MRG|4712^^^HOSP"), "prior_account: MRG-3"),
    ],
)
def test_what_does_not_say_of_whom_is_refused_with_the_place(event: str, segments: tuple[str, ...], words: str) -> None:
    with pytest.raises(InvalidRequestError, match=words.replace("[", r"\[")):
        changes_of(event, *segments)


def test_a_date_that_is_none_is_left_out_and_the_rest_stays() -> None:
    reading = Reading()
    read_into(reading, message("ADT^A08", "PID|1||4711^^^HOSP||Muster^Anna||20261399|M"), IHE)
    change = only(reading.changes)
    assert isinstance(change, PutPatient)
    assert (change.patient.birth_date, change.patient.sex, change.patient.name) == (None, "M", "Muster^Anna")
    (left_out,) = reading.unusable
    assert (left_out.fact, left_out.path, left_out.raw) == ("birth_date", "PID-7", "20261399")
    assert "no month 13" in left_out.words


def test_two_quotation_marks_take_a_value_away() -> None:
    change = only(changes_of("A08", 'PID|1||4711^^^HOSP||""||""|""|||""'))
    assert isinstance(change, PutPatient)
    patient = change.patient
    assert (patient.name, patient.birth_date, patient.sex) == ("", "", "")
    assert patient.details == {"PatientAddress": ""}


def test_the_event_stands_in_evn_where_msh_says_none() -> None:
    assert isinstance(only(read_changes(message("ADT", "EVN|A23", PID, PV1, version="2.1"), IHE)), RemoveVisit)


def test_a_patient_without_a_type_code_and_with_the_old_number_field() -> None:
    change = only(changes_of("A04", "PID|1|0815||A-1|Muster^Anna"))
    assert isinstance(change, PutPatient)
    assert change.patient.identifiers == (Identifier("0815", "", "MR"),)


def test_names_in_other_scripts_are_groups_of_the_name() -> None:
    change = only(
        changes_of("A08", "PID|1||1||Yamada^Tarou^^^^^L^A~山田^太郎^^^^^L^I~やまだ^たろう^^^^^L^P~Taro^^^^^^A")
    )
    assert isinstance(change, PutPatient)
    assert change.patient.name == "Yamada^Tarou=山田^太郎=やまだ^たろう"
    assert change.patient.other_names == ("Taro",)


def test_a_weight_is_taken_in_kilograms_only() -> None:
    kg, lb = ("OBX|1|NM|29463-7^Weight^LN||80.5|kg", "OBX|1|NM|29463-7^Weight^LN||177|[lb_av]")
    found = [
        only(changes_of("A08", PID, *segments)) for segments in ((lb, kg), (lb,), (kg.replace("80.5", "about 80"),))
    ]
    assert [one.patient.details for one in found if isinstance(one, PutPatient)] == [{"PatientWeight": "80.5"}, {}, {}]

"""A set of rules: what goes where, in which order, how answers are kept, and that nothing it meets raises."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from fileroom.admin.entries import Entry
from fileroom.admin.node_fields import Node
from fileroom.archive.arrivals import PlannedDelivery
from fileroom.archive.examine import Claim
from fileroom.dicom.header_scan import ScannedHeader, scan_header
from fileroom.routing import rule_set
from fileroom.routing.operands import StudyFacts
from fileroom.routing.rule_set import RuleSet, node_of
from routed_objects import EXPLICIT_LE, IMPLICIT_LE, encoded

NOW = dt.datetime(2026, 1, 31, 18, 30, tzinfo=dt.UTC)
DESTINATIONS = [
    Entry(1, "PACS", {"kind": "dicom", "target": {"node": "PACS node"}}),
    Entry(2, "CLOUD", {"kind": "bucket", "target": {}}),
    Entry(3, "MAIL", {"kind": "mail", "target": {}}),
    Entry(4, "OFF", {"kind": "folder", "target": {}}, enabled=False),
]
NODES = [
    Node("CT one", "CT1", "10.1.2.3", 104),
    Node("CT two", "CT1", "10.1.2.4", 104, calling_from=("10.7.0.0/16",)),
    Node("PACS node", "PACS", "10.1.2.9", 104),
]


def rule(number: int, when: str = "true", **fields: Any) -> Entry:
    return Entry(100 + number, f"R{number}", {"when": when, **({"to": ["PACS"]} | fields)})


def claim(aet: str = "CT1", address: str = "10.1.2.3", received_by: str = "dimse") -> Claim:
    return Claim("1.2", "1.2.3", EXPLICIT_LE, received_by, f"{aet}@{address}", aet, "FILEROOM")


def header(rules: RuleSet, *, implicit: bool = False, **attributes: Any) -> ScannedHeader:
    dataset = Dataset()
    for keyword, value in {"Modality": "CT", **attributes}.items():
        setattr(dataset, keyword, value)
    data = encoded(dataset, implicit=implicit)
    return scan_header(data, IMPLICIT_LE if implicit else EXPLICIT_LE, rules.tags, complete=True)


def plan(*rules: Entry, of: Claim | None = None, **attributes: Any) -> list[PlannedDelivery]:
    made = RuleSet(rules, DESTINATIONS, nodes=NODES)
    return list(made.plan(header(made, **attributes), of or claim(), NOW))


def test_the_first_rule_that_sends_somewhere_decides_how() -> None:
    planned = plan(
        rule(2, priority=20, urgency="bulk", to=["PACS", "CLOUD"]),
        rule(1, priority=10, urgency=77),
        rule(3, 'Modality == "MR"', priority=1, to=["CLOUD"]),
    )
    assert [(one.destination_id, one.rule_id, one.bonus_s) for one in planned] == [(1, 101, 77), (2, 102, -8 * 3600)]


def test_a_rule_that_stops_is_the_last_one() -> None:
    assert [one.rule_id for one in plan(rule(1, stop=True), rule(2, to=["CLOUD"]))] == [101]
    assert [one.rule_id for one in plan(rule(1, 'Modality == "MR"', stop=True), rule(2, to=["CLOUD"]))] == [102]


def test_actions_are_done_in_order() -> None:
    actions = [{"do": "send", "to": ["PACS"]}, {"do": "hold"}, {"do": "send", "to": ["CLOUD"]}]
    sent, held = plan(rule(1, to=[], actions=actions))
    assert (sent.destination_id, sent.state, sent.cause) == (1, "waiting", "")
    assert (held.destination_id, held.state) == (2, "held")
    assert "R1" in held.cause
    assert plan(rule(1, hold=True))[0].state == "held"
    assert plan(rule(1, to=["CLOUD"]), rule(2, to=[], actions=[{"do": "drop"}]), rule(3)) == []


def test_what_waits_for_series_or_study_says_so() -> None:
    assert [one.until for one in plan(rule(1, on="series"), rule(2, on="study", to=["CLOUD"]))] == ["series", "study"]


def test_nothing_goes_back_to_where_it_came_from() -> None:
    back = claim("PACS", "10.1.2.9")
    assert [one.destination_id for one in plan(rule(1, to=["PACS", "CLOUD"]), of=back)] == [2]
    assert [one.destination_id for one in plan(rule(1, to=["PACS", "CLOUD"]))] == [1, 2]
    by_web = claim("PACS", "10.1.2.9", received_by="stow")
    assert [one.destination_id for one in plan(rule(1, to=["PACS", "CLOUD"]), of=by_web)] == [1, 2]


def test_nodes_of_one_title_are_told_apart_by_their_addresses() -> None:
    assert node_of(claim(), NODES) == "CT one"
    assert node_of(claim(address="10.7.1.1"), NODES) == "CT two"
    assert node_of(claim(address="10.9.9.9"), NODES) == ""
    assert node_of(claim("PACS", "10.9.9.9"), NODES) == "PACS node"
    assert [one.rule_id for one in plan(rule(1, 'node == "CT two"'), of=claim(address="10.7.1.1"))] == [101]


def test_wrong_rules_and_missing_destinations_are_told_and_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, str]] = []
    entries = [
        rule(1, "Nonsense == 1"),
        rule(2, to=["NOWHERE", "CLOUD"]),
        Entry(103, "R3", {"when": 7}),
        rule(4, to=["OFF"]),
        Entry(105, "R5", {"when": "true", "to": ["PACS"]}, enabled=False),
    ]
    rules = RuleSet(entries, DESTINATIONS, alarm=lambda name, why: told.append((name, why)))
    assert [name for name, _ in told] == ["R1", "R2", "R3"]
    assert [one.destination_id for one in rules.plan(header(rules), claim(), NOW)] == [2]

    def fail(*_: Any) -> Any:
        raise RuntimeError("a rule that nobody has thought of")

    monkeypatch.setattr(rule_set, "node_of", fail)
    assert rules.plan(header(rules), claim("OTHER"), NOW) == ()
    assert told[-1][0] == ""


def test_late_rules_are_asked_when_the_study_is_complete() -> None:
    entries = [
        rule(1, 'Modality == "SR"', stop=True, to=["MAIL"]),
        rule(2, "study.instances > 100", on="study", to=["PACS"]),
        rule(3, 'order.priority == "STAT"', on="series", to=["CLOUD"]),
        rule(4, to=["MAIL"]),
    ]
    rules = RuleSet(entries, DESTINATIONS)
    assert rules.has_late
    assert [one.rule_id for one in rules.plan(header(rules), claim(), NOW)] == [104]
    big, stat = StudyFacts(instances=101), {"priority": "STAT"}

    def late(study: StudyFacts, on: str, **attributes: Any) -> list[tuple[int, str]]:
        planned = rules.plan_study(header(rules, **attributes), claim(), NOW, study, stat, on=on)
        return [(one.rule_id, one.until) for one in planned]

    assert late(big, "study") == [(102, "")]
    assert late(StudyFacts(instances=100), "study") == []
    assert late(big, "series") == [(103, "")]
    assert late(big, "study", Modality="SR") == []


def test_time_is_that_of_the_house() -> None:
    entries = [rule(1, "now.hour >= 19 && now.holiday", to=["CLOUD"])]
    here = RuleSet(entries, DESTINATIONS, zone="Europe/Berlin", holidays="DE")
    there = RuleSet(entries, DESTINATIONS, zone="UTC", holidays="DE")
    new_year = dt.datetime(2026, 1, 1, 18, 30, tzinfo=dt.UTC)
    assert len(here.plan(header(here), claim(), new_year)) == 1
    assert here.plan(header(here), claim(), new_year + dt.timedelta(days=1)) == ()
    assert there.plan(header(there), claim(), new_year) == ()


CONDITIONS = (
    'Modality == "CT"',
    'StudyDescription == "Schädel"',
    'like(StudyDescription, "*del*") && Rows > 100',
    "SmallestImagePixelValue < 0",
    '"A" in ImageType || PatientName == "Müller"',
    'association.calling == "CT1" && now.hour < 12',
    'present(private("ACME", "29,10"))',
    '"X" in attr("RequestAttributesSequence.AccessionNumber")',
    "age_in_years() < 18",
    'private("ACME", "29,10") == "1"',
    "true",
)
ITEM = Dataset()
ITEM.AccessionNumber = "X"
OBJECTS = st.fixed_dictionaries(
    {},
    optional={
        "Modality": st.sampled_from(["CT", "MR", ""]),
        "SpecificCharacterSet": st.sampled_from(["ISO_IR 100", "ISO_IR 192", "ISO_IR 101"]),
        "StudyDescription": st.sampled_from(["Schädel", "Knie", "Modell"]),
        "Rows": st.sampled_from([64, 512]),
        "SmallestImagePixelValue": st.sampled_from([0xFFF0, 3]),
        "PixelRepresentation": st.sampled_from([0, 1]),
        "ImageType": st.sampled_from([["A", "B"], ["B"], []]),
        "PatientName": st.sampled_from(["Müller", "Doe^John"]),
        "PatientBirthDate": st.sampled_from(["20200101", "19700101", "nonsense"]),
        "StudyDate": st.sampled_from(["20260101", ""]),
        "RequestAttributesSequence": st.sampled_from([[], [ITEM]]),
    },
)


def data_of(attributes: dict[str, Any], private: str, *, implicit: bool) -> bytes:
    dataset = Dataset()
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    if "SmallestImagePixelValue" in dataset:
        dataset["SmallestImagePixelValue"].VR = "US"
    if private:
        block = dataset.private_block(0x0029, private, create=True)
        block.add_new(0x10, "LO" if private == "ACME" else "SH", "1")
    return encoded(dataset, implicit=implicit)


@given(
    st.lists(st.sampled_from(CONDITIONS), min_size=1, max_size=8),
    st.lists(
        st.tuples(
            OBJECTS,
            st.sampled_from(["", "ACME", "OTHER"]),
            st.booleans(),
            st.sampled_from(["CT1", "MR1"]),
            st.integers(0, 23),
        ),
        min_size=2,
        max_size=12,
    ),
)
@settings(max_examples=120, deadline=None)
def test_kept_answers_are_those_that_would_be_given_anew(
    conditions: list[str], objects: list[tuple[dict[str, Any], str, bool, str, int]]
) -> None:
    entries = [rule(number, when, to=["PACS", "CLOUD"][number % 2 :]) for number, when in enumerate(conditions)]
    kept = RuleSet(entries, DESTINATIONS)
    for attributes, private, implicit, aet, hour in objects:
        data = data_of(attributes, private, implicit=implicit)
        found = scan_header(data, IMPLICIT_LE if implicit else EXPLICIT_LE, kept.tags, complete=True)
        now = NOW.replace(hour=hour)
        fresh = RuleSet(entries, DESTINATIONS)
        first = kept.plan(found, claim(aet), now)
        assert first == kept.plan(found, claim(aet), now) == fresh.plan(found, claim(aet), now)


def test_tables_of_answers_are_bounded() -> None:
    rules = RuleSet([rule(1, "InstanceNumber > 5")], DESTINATIONS)
    for number in range(3 * rule_set.ANSWERS_KEPT_MAX):
        assert bool(rules.plan(header(rules, InstanceNumber=number), claim(), NOW)) is (number > 5)
    assert all(len(group.answers) <= rule_set.ANSWERS_KEPT_MAX for group in rules._groups)


def test_long_values_are_answered_and_not_kept() -> None:
    rules = RuleSet([rule(1, 'TextValue.contains("needle")')], DESTINATIONS)
    assert rules.plan(header(rules, TextValue="hay " * 5000 + "needle"), claim(), NOW)
    assert not any(group.answers for group in rules._groups)

"""The simulated day: the same seed gives the same day, every twist leaves what it must."""

from __future__ import annotations

import datetime as dt
from collections import Counter

import hl7
import pytest

from fileroom.core.errors import InvalidRequestError
from fileroom.simulate import messages
from fileroom.simulate.plan import WEIGHTS, Story, Twist, make_stories
from fileroom.simulate.truth import truth_of

NOW = dt.datetime(2026, 11, 22, 10, 0, tzinfo=dt.UTC)


def stories_with(twist: Twist) -> list[Story]:
    """Those of a long day."""
    return [story for story in make_stories(3, 1000, 60) if story.twist is twist]


def test_the_same_seed_gives_the_same_day_and_another_one_another() -> None:
    assert make_stories(1, 50, 60) == make_stories(1, 50, 60)
    assert make_stories(1, 50, 60) != make_stories(2, 50, 60)
    assert make_stories(1, 50, 60) == make_stories(1, 80, 60)[:50]


def test_as_many_come_in_an_hour_as_were_asked_for_and_every_twist_happens() -> None:
    stories = make_stories(1, 2000, 120)
    assert 110 < 3600 * len(stories) / stories[-1].arrives_s < 130
    assert [story.arrives_s for story in stories] == sorted(story.arrives_s for story in stories)
    counts = Counter(story.twist for story in stories)
    assert set(counts) == set(WEIGHTS)
    assert len({story.image_study_uid for story in stories}) == len({story.accession for story in stories}) == 2000


@pytest.mark.parametrize(("patients", "per_hour"), [(0, 60), (100_001, 60), (1, 0), (1, -3), (1, float("inf"))])
def test_a_day_that_cannot_be_is_refused(patients: int, per_hour: float) -> None:
    with pytest.raises(InvalidRequestError):
        make_stories(1, patients, per_hour)


def test_a_stranger_reads_the_messages() -> None:
    story = stories_with(Twist.MERGED)[0]
    start = dt.datetime(2026, 11, 22, 11, 30)
    order = hl7.parse(messages.order(story, start, NOW, "M1").decode())
    assert str(order.segment("MSH")[9]) == "OMI^O23^OMI_O23"
    assert order.segment("IPC")[1][0] == story.accession
    assert str(order.segment("IPC")[9]) == story.procedure.station_aet
    assert str(order.segment("TQ1")[7]) == "20261122113000"
    assert str(order.segment("PID")[3]) == f"{story.known_as.patient_id}^^^SIMULATED^MR"
    merged = hl7.parse(messages.merge(story, NOW, "M2").decode())
    assert str(merged.segment("PID")[3][0][0]) == story.person.patient_id
    assert str(merged.segment("MRG")[1][0][0]) == story.known_as.patient_id != story.person.patient_id
    cancelled = hl7.parse(messages.order(story, start, NOW, "M3", "CA").decode())
    assert (str(cancelled.segment("ORC")[1]), str(cancelled.segment("ORC")[5])) == ("CA", "CA")


def test_the_truth_of_each_twist() -> None:
    for twist in Twist:
        story = stories_with(twist)[0]
        truth = truth_of([story])
        order, study = truth.orders.get(story.accession), truth.studies.get(story.image_study_uid)
        assert (order is None) == (twist is Twist.EMERGENCY)
        assert (study is None) == (twist is Twist.CANCELLED)
        if study is not None and twist is not Twist.EMERGENCY:
            assert study["patient"] == story.person.patient_id
    merged = stories_with(Twist.MERGED)[0]
    assert truth_of([merged]).merged == {merged.known_as.patient_id: merged.person.patient_id}
    renamed = stories_with(Twist.RENAMED)[0]
    assert truth_of([renamed]).patients[renamed.person.patient_id]["name"] == renamed.new_name != renamed.person.name
    broken = stories_with(Twist.DISCONTINUED)[0]
    assert truth_of([broken]).orders[broken.accession]["state"] == "discontinued"
    assert truth_of([broken]).studies[broken.image_study_uid]["images"] == 1

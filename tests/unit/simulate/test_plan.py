"""The simulated day: the same seed gives the same day, every twist leaves what it must."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import io
from collections import Counter
from dataclasses import replace

import pypdf
import pytest

import hl7
from fileroom.core.errors import InvalidRequestError
from fileroom.hl7.acknowledge import Answer
from fileroom.simulate import messages
from fileroom.simulate.modality import Archive
from fileroom.simulate.plan import WEIGHTS, Story, Twist, make_stories
from fileroom.simulate.reader import Course, document, read
from fileroom.simulate.run import Day, Downtime
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


def test_another_record_that_was_merged_by_mistake_stands_for_itself_in_the_end() -> None:
    story = stories_with(Twist.UNMERGED)[0]
    assert story.second is not None
    assert story.known_as is story.person
    truth = truth_of([story])
    assert (set(truth.patients), truth.merged) == ({story.person.patient_id, story.second.patient_id}, {})
    wrong = hl7.parse(messages.merge(story, NOW, "M1").decode())
    assert str(wrong.segment("MRG")[1][0][0]) == story.second.patient_id
    back = hl7.parse(messages.unmerge(story, NOW, "M2").decode())
    assert [str(one[3][0][0]) for one in back.segments("PID")] == [story.person.patient_id, story.second.patient_id]


def test_examinations_are_read_in_every_way_and_always_in_the_same() -> None:
    stories = make_stories(3, 1000, 60)
    dictated = {story.number: read(story) for story in stories}
    assert {one.course for one in dictated.values()} == set(Course)
    assert dictated == {story.number: read(story) for story in stories}
    assert len({one.number for one in dictated.values()}) == 1000
    for story in stories:
        said = dictated[story.number].said
        assert [one.after_s for one in said] == sorted(one.after_s for one in said)
        if story.twist in (Twist.CANCELLED, Twist.EMERGENCY, Twist.DISCONTINUED):
            assert said == ()
    truth = truth_of(stories)
    assert len(truth.reports) == sum(bool(one.said) for one in dictated.values())
    corrected = next(one for one in dictated.values() if one.course is Course.CORRECTED)
    assert truth.reports[corrected.number]["state"] == "corrected"
    assert truth.reports[corrected.number]["versions"] == 2
    assert truth.reports[corrected.number]["text"] == corrected.said[-1].text


def test_a_stranger_reads_the_reports() -> None:
    story = next(one for one in make_stories(3, 1000, 60) if read(one).course is Course.DOCUMENT)
    dictation = read(story)
    found = hl7.parse(messages.report(story, dictation, dictation.said[0], NOW, "R1").decode())
    assert (str(found.segment("OBR")[3][0][0]), str(found.segment("OBR")[25])) == (dictation.number, "F")
    assert str(found.segment("OBR")[18]) == story.accession
    value = found.segment("OBX")[5]
    assert [str(value[0][place]) for place in (1, 2, 3)] == [["AP"], ["PDF"], ["Base64"]] or str(value).startswith(
        "^AP^PDF^Base64^"
    )
    pdf = base64.b64decode(str(value).split("^")[4])
    assert pdf == document(dictation.said[0].text)
    assert dictation.said[0].text.partition(":")[0] in pypdf.PdfReader(io.BytesIO(pdf)).pages[0].extract_text()
    text = next(one for one in make_stories(3, 1000, 60) if read(one).course is Course.FINAL)
    plain = hl7.parse(messages.report(text, read(text), read(text).said[0], NOW, "R2").decode())
    assert str(plain.segment("OBX")[5]) == read(text).said[0].text


async def test_messages_of_a_downtime_leave_afterwards_in_their_order() -> None:
    sent: list[tuple[float, str]] = []
    loop = asyncio.get_running_loop()

    async def send(raw: bytes) -> Answer:
        sent.append((loop.time(), raw.split(b"|")[9].decode()))
        return Answer(b"", "AA", "", "")

    stories = [replace(one, arrives_s=0.0) for one in stories_with(Twist.CANCELLED)[:5]]
    day = Day(send, Archive("", 0, ""), lambda: NOW, speed=1000, ris_down=Downtime(10, 300))
    begun = loop.time()
    outcome = await day.play(stories, asyncio.Event())
    assert (outcome.patients, outcome.messages, outcome.troubles) == (5, 15, [])
    # Each patient's messages in their order, and what was written in the downtime after it.
    numbers = [int(name.rpartition("M")[2]) for _, name in sent]
    assert numbers == list(range(1, 16))
    assert all(at - begun >= 0.31 for at, _ in sent[5:])

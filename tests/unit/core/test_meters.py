"""Meters: what they count, that labels cannot grow without end, and that processes add up."""

from __future__ import annotations

import pytest

from fileroom.core.errors import StorageFullError
from fileroom.core.meters import LABEL_SETS_MAX, OTHER, Meters, cause_of, modality_label, total


def test_a_histogram_counts_each_observation_in_the_first_bucket_that_holds_it() -> None:
    meters = Meters()
    for seconds in (0.0001, 0.001, 0.0011, 1000.0):
        meters.requests.observe(("GET", "/", "200"), seconds)
    (numbers,) = meters.requests.values.values()
    assert numbers[:2] == [2, 1]
    assert numbers[-2] == 1
    assert numbers[-1] == pytest.approx(1000.0022)
    assert total(meters.requests, method="GET") == 4


def test_made_up_titles_are_counted_together_past_the_limit() -> None:
    meters = Meters()
    for number in range(LABEL_SETS_MAX + 50):
        meters.sent.add((f"AE{number}",))
    assert len(meters.sent.values) == LABEL_SETS_MAX + 1
    assert meters.sent.values[OTHER,] == [50]
    assert total(meters.sent) == LABEL_SETS_MAX + 50


def test_the_numbers_of_two_processes_add_up() -> None:
    one, two = Meters("a"), Meters("b")
    one.received.add(("dimse", "CT", "CT", "stored"), 3)
    two.received.add(("dimse", "CT", "CT", "stored"), 4)
    two.commits.observe((), 0.002)
    two.associations_open.add(("in",), 2)
    both = Meters()
    both.add_state(one.state())
    both.add_state(two.state())
    assert total(both.received, node="CT") == 7
    assert total(both.commits) == 1
    assert total(both.associations_open) == 2


def test_a_successor_takes_the_counters_and_leaves_the_gauges() -> None:
    dead, successor = Meters("a"), Meters("a")
    dead.sent.add(("CT",), 5)
    dead.associations_open.add(("in",), 2)
    successor.add_state(dead.state(), gauges=False)
    assert total(successor.sent) == 5
    assert total(successor.associations_open) == 0


def test_numbers_of_another_shape_are_left_out() -> None:
    meters = Meters()
    meters.add_state(
        {
            "fileroom_objects_sent_total": [(["CT", "more"], [1]), (["CT"], [1, 2])],
            "fileroom_index_commit_duration_seconds": [([], [1, 2, 3])],
            "fileroom_gone_total": [([], [1])],
            "fileroom_sent_bytes_total": "rubbish",
        }
    )
    assert all(not meter.values for meter in meters.all)


def test_every_name_is_one_of_prometheus() -> None:
    names = [meter.name for meter in Meters().all]
    assert len(names) == len(set(names))
    for meter in Meters().all:
        assert meter.name.startswith("fileroom_")
        assert meter.name.endswith("_total") == (meter.kind == "counter")
        assert meter.bounds == tuple(sorted(meter.bounds))


@pytest.mark.parametrize(
    ("text", "label"), [("CT", "CT"), ("", "none"), ("ct", OTHER), ("DOE^JOHN", OTHER), ("C" * 17, OTHER)]
)
def test_only_a_code_string_becomes_a_label(text: str, label: str) -> None:
    assert modality_label(text) == label


def test_an_error_is_a_label_in_words() -> None:
    assert cause_of(StorageFullError("x")) == cause_of("StorageFullError") == "storage_full"

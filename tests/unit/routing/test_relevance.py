"""Which priors matter: body region, modality, age, number."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fileroom.routing.relevance import Measure, Prior, Subject, choose, regions_of, score

CHEST = Subject("1", "CT", "CHEST", "", "20260101")


def _prior(uid: str, date: str = "20250101", modality: str = "CT", description: str = "CT Thorax") -> Prior:
    return Prior(uid, date, (modality,), "", description)


@pytest.mark.parametrize(
    ("body_part", "description", "regions"),
    [
        ("", "CT Thorax nativ", {"CHEST"}),
        ("", "MRT Kopf/Hals", {"HEAD", "NECK"}),
        ("CSPINE", "", {"SPINE"}),
        ("", "LWS in 2 Ebenen", {"SPINE"}),
        ("HEAD", "CT Thorax", {"HEAD"}),
        ("", "Charm of numbers 12", set()),
        ("", "", set()),
    ],
)
def test_the_body_part_counts_before_words_of_the_description(
    body_part: str, description: str, regions: set[str]
) -> None:
    assert regions_of(body_part, description, {}) == regions


def test_a_rule_adds_words_and_regions_of_its_own() -> None:
    assert regions_of("", "Ganzkörper", {"WHOLE": ("GANZK",)}) == {"WHOLE"}
    assert regions_of("", "Torakal", {"CHEST": ("torak",)}) == {"CHEST"}


def test_the_best_come_first_and_only_so_many() -> None:
    priors = [
        _prior("old", "20180101"),
        _prior("new", "20251201"),
        _prior("abdomen", description="CT Abdomen"),
        _prior("foot", description="XR Foot"),
        _prior("ultrasound", modality="US"),
        _prior("1"),
    ]
    assert [one.study_uid for one in choose(priors, CHEST, Measure(count_max=4))] == [
        "new",
        "old",
        "ultrasound",
        "abdomen",
    ]
    assert "foot" in {one.study_uid for one in choose(priors, CHEST, Measure(same_body_part=False, count_max=9))}


def test_modalities_of_a_rule_decide_and_rank() -> None:
    measure = Measure(modalities={"CT": ("CT", "MR")})
    assert score(_prior("a", modality="US"), CHEST, measure) is None
    ct, mr = (score(_prior("a", modality=one), CHEST, measure) or 0 for one in ("CT", "MR"))
    assert ct > mr > 0


def test_too_old_and_later_ones_do_not_count_and_undated_ones_do() -> None:
    measure = Measure(years_max=5)
    assert score(_prior("a", "20201230"), CHEST, measure) is None
    assert score(_prior("a", "20260110"), CHEST, measure) is None
    assert score(_prior("a", ""), CHEST, measure) is not None
    assert score(_prior("a", "no date"), CHEST, measure) is not None


@given(st.text(), st.text(), st.text(), st.text())
def test_no_text_is_too_odd(body_part: str, description: str, date: str, modality: str) -> None:
    prior = Prior("2", date, (modality,), body_part, description)
    choose([prior], Subject("1", modality, body_part, description, date), Measure())

"""Which earlier studies of a patient matter beside a new one: a score from body region, modality and age. Pure.

Body parts are told by Body Part Examined where it is said, else by words of the study's description, in English and German;
a rule can add words of its own. What cannot be told counts a little: it may be the one that matters.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

REGIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "HEAD": (
        "HEAD",
        "BRAIN",
        "SKULL",
        "CRANI",
        "CEREBR",
        "NEURO",
        "ORBIT",
        "SINUS",
        "FACE",
        "KOPF",
        "HIRN",
        "SCHAEDEL",
        "SCHÄDEL",
    ),
    "NECK": ("NECK", "THYROID", "CAROTID", "LARYNX", "HALS", "SCHILDDR"),
    "CHEST": ("CHEST", "THORAX", "LUNG", "HEART", "CARD", "CORONARY", "RIB", "STERNUM", "HERZ", "KORONAR"),
    "BREAST": ("BREAST", "MAMM", "BRUST"),
    "ABDOMEN": (
        "ABDOM",
        "LIVER",
        "KIDNEY",
        "RENAL",
        "PANCREA",
        "SPLEEN",
        "BOWEL",
        "COLON",
        "LEBER",
        "NIERE",
        "OBERBAUCH",
    ),
    "PELVIS": ("PELVI", "HIP", "PROSTAT", "UTER", "BLADDER", "BECKEN", "HÜFT", "HUEFT"),
    "SPINE": ("SPINE", "VERTEBRA", "LUMBAR", "SACR", "WIRBEL", "HWS", "BWS", "LWS"),
    "ARM": ("ARM", "HAND", "WRIST", "ELBOW", "SHOULDER", "HUMERUS", "FINGER", "CLAVICLE", "SCHULTER", "ELLENBOGEN"),
    "LEG": ("LEG", "KNEE", "FOOT", "ANKLE", "FEMUR", "TIBIA", "TOE", "KNIE", "FUSS", "SPRUNGGELENK"),
}
"""Beginnings of words, by region."""
RELATED: Final = frozenset(
    frozenset(pair)
    for pair in (("HEAD", "NECK"), ("NECK", "CHEST"), ("CHEST", "ABDOMEN"), ("ABDOMEN", "PELVIS"), ("PELVIS", "LEG"))
)
"""What is often on one image, or lies side by side."""
_SAME, _RELATED, _UNKNOWN = 1.0, 0.5, 0.4
_BODY_WEIGHT, _MODALITY_WEIGHT = 4.0, 2.0
_OTHER_MODALITY: Final = 0.6
_DAYS_OF_YEAR: Final = 365.2425
_WORD: Final = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True, slots=True)
class Subject:
    """The study, or the order, that priors are looked for. `date` is YYYYMMDD."""

    study_uid: str = ""
    modality: str = ""
    body_part: str = ""
    description: str = ""
    date: str = ""


@dataclass(frozen=True, slots=True)
class Prior:
    """An earlier study, here (`source` empty) or at a source."""

    study_uid: str
    date: str = ""
    modalities: tuple[str, ...] = ()
    body_part: str = ""
    description: str = ""
    source: str = ""
    instances: int = 0


@dataclass(frozen=True, slots=True)
class Measure:
    """By what priors are chosen. `modalities`: which ones matter for a modality, the best first; nothing: all."""

    same_body_part: bool = True
    body_parts: Mapping[str, Sequence[str]] = field(default_factory=dict)
    modalities: Mapping[str, Sequence[str]] = field(default_factory=dict)
    years_max: float = 10
    count_max: int = 3


def choose(priors: Iterable[Prior], subject: Subject, measure: Measure) -> list[Prior]:
    """The relevant ones, the best first; of equals the newer one."""
    scored = [(score(prior, subject, measure), prior) for prior in priors]
    relevant = [(value, prior) for value, prior in scored if value is not None]
    relevant.sort(key=lambda one: (-one[0], _descending(one[1].date), one[1].study_uid))
    return [prior for _, prior in relevant[: measure.count_max]]


def score(prior: Prior, subject: Subject, measure: Measure) -> float | None:
    """How much a prior matters; None: not at all."""
    if not prior.study_uid or prior.study_uid == subject.study_uid:
        return None
    body = _body(prior, subject, measure)
    modality = _modality(prior, subject, measure)
    age = _years_between(prior.date, subject.date)
    if body == 0 and measure.same_body_part:
        return None
    if modality == 0 or (age is not None and not 0 <= age <= measure.years_max):
        return None
    recency = 0.5 if age is None else 1 - age / measure.years_max
    return _BODY_WEIGHT * body + _MODALITY_WEIGHT * modality + recency


def regions_of(body_part: str, description: str, more: Mapping[str, Sequence[str]]) -> frozenset[str]:
    """The regions that a study is of; none where it cannot be told."""
    table = {region: (*words, *(word.upper() for word in more.get(region, ()))) for region, words in REGIONS.items()}
    table |= {region: tuple(word.upper() for word in words) for region, words in more.items() if region not in table}
    for text in (body_part, description):
        words = _WORD.findall(text.upper())
        found = {
            region
            for region, beginnings in table.items()
            if any(word.startswith(beginnings) or (word.endswith("SPINE") and region == "SPINE") for word in words)
        }
        if found:
            return frozenset(found)
    return frozenset()


def _body(prior: Prior, subject: Subject, measure: Measure) -> float:
    ours = regions_of(subject.body_part, subject.description, measure.body_parts)
    theirs = regions_of(prior.body_part, prior.description, measure.body_parts)
    if not ours or not theirs:
        return _UNKNOWN
    if ours & theirs:
        return _SAME
    return _RELATED if any(frozenset((one, other)) in RELATED for one in ours for other in theirs) else 0


def _modality(prior: Prior, subject: Subject, measure: Measure) -> float:
    wanted = measure.modalities.get(subject.modality) or measure.modalities.get("*")
    if wanted:
        places = [place for place, one in enumerate(wanted) if one in prior.modalities]
        return 1 - min(places) / (2 * len(wanted)) if places else 0
    return 1.0 if subject.modality in prior.modalities else _OTHER_MODALITY


def _years_between(earlier: str, later: str) -> float | None:
    try:
        days = dt.datetime.strptime(later[:8], "%Y%m%d") - dt.datetime.strptime(earlier[:8], "%Y%m%d")
    except ValueError:
        return None
    # A day of grace: the study of the same night may have tomorrow's date.
    return max(days.days, 0) / _DAYS_OF_YEAR if days.days >= -1 else -1.0


def _descending(date: str) -> int:
    return -int(date[:8]) if date[:8].isascii() and date[:8].isdigit() else 0

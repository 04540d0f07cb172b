"""A patient's studies on a time line: where each stands, drawn by the template as SVG."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from fileroom.archive.study_list import ListedStudy
from fileroom.dicom.normal_forms import normalize_date

WIDTH: Final = 1000
"""Units of the drawing; it is stretched to the page."""
MARGIN: Final = 24
NEAR: Final = 22
"""Dots that are closer than this are put above each other."""
LANES_MAX: Final = 4
YEARS_MARKED_MAX: Final = 12


@dataclass(frozen=True, slots=True)
class Dot:
    """One study: its place from the left, and its lane from the bottom."""

    x: float
    lane: int
    study: ListedStudy
    is_current: bool


@dataclass(frozen=True, slots=True)
class Mark:
    """A year's beginning."""

    x: float
    year: int


@dataclass(frozen=True, slots=True)
class TimeLine:
    """What is drawn; `undated` are studies that have no place on it."""

    dots: tuple[Dot, ...]
    marks: tuple[Mark, ...]
    lanes: int
    undated: tuple[ListedStudy, ...]


def time_line(studies: Sequence[ListedStudy], current_uid: str) -> TimeLine:
    """The studies from the oldest at the left to the newest at the right."""
    dated = [(day, study) for study in studies if (day := _day(study.date)) is not None]
    undated = tuple(study for study in studies if _day(study.date) is None)
    if not dated:
        return TimeLine((), (), 0, undated)
    dated.sort(key=lambda entry: (entry[0], entry[1].time))
    first, last = dated[0][0], dated[-1][0]
    span = max((last - first).days, 30)

    def place(day: dt.date) -> float:
        return MARGIN + (WIDTH - 2 * MARGIN) * (day - first).days / span

    ends = [-1000.0] * LANES_MAX
    dots: list[Dot] = []
    for day, study in dated:
        x = place(day)
        lane = next((number for number, end in enumerate(ends) if x - end >= NEAR), LANES_MAX - 1)
        ends[lane] = x
        dots.append(Dot(round(x, 1), lane, study, study.study_uid == current_uid))
    step = max(1, -(-(last.year - first.year) // YEARS_MARKED_MAX))
    years = range(first.year + 1, last.year + 1, step)
    marks = tuple(Mark(round(place(dt.date(year, 1, 1)), 1), year) for year in years)
    return TimeLine(tuple(dots), marks, 1 + max(dot.lane for dot in dots), undated)


def _day(text: str) -> dt.date | None:
    normal = normalize_date(text)
    return dt.datetime.strptime(normal, "%Y%m%d").date() if normal and normal >= "1000" else None

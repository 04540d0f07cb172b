"""The dashboard's charts: what each shows, its lines as numbers for the script, and as a picture and words without one."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from fileroom.archive.figures import Point, Span
from fileroom.web.console.formats import NOTHING, number
from fileroom.web.console.language import N_

WIDTH: Final = 600
HEIGHT: Final = 120
TABLE_ROWS: Final = 12
_MEGABYTE: Final = 1e6
_GIB: Final = 2.0**30

Values = list[float | None]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chart: a column of `archive.figures`, what it is called, and what its numbers are divided by."""

    column: str
    title: str
    scale: float = 1.0
    per_second: bool = False
    """The column holds what happened in a step."""

    def values(self, points: Sequence[Point], step_s: int) -> Values:
        """Its numbers; None where nothing is known."""
        divisor = self.scale * (step_s if self.per_second else 1)
        return [None if point.values is None else round(point.values[self.column] / divisor, 4) for point in points]


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart. `unit` is what its numbers count."""

    key: str
    title: str
    unit: str
    lines: tuple[Line, ...]


CHARTS: Final = (
    Chart(
        "objects",
        N_("Objects"),
        N_("per second"),
        (
            Line("objects_in", N_("received"), per_second=True),
            Line("objects_out", N_("sent"), per_second=True),
        ),
    ),
    Chart(
        "data",
        N_("Data"),
        N_("MB per second"),
        (
            Line("bytes_in", N_("received"), _MEGABYTE, per_second=True),
            Line("bytes_out", N_("sent"), _MEGABYTE, per_second=True),
        ),
    ),
    Chart("failures", N_("Objects that failed"), N_("in each step"), (Line("failures", N_("failed")),)),
    Chart("queued", N_("Work that waits"), N_("tasks"), (Line("queued", N_("waiting")),)),
    Chart("processor", N_("Processor"), N_("cores in use"), (Line("cpu_s", N_("in use"), per_second=True),)),
    Chart("storage", N_("Stored"), N_("GiB"), (Line("storage_bytes", N_("objects"), _GIB),)),
)


@dataclass(frozen=True, slots=True)
class DrawnLine:
    """A line as a picture (`path`, in WIDTH x HEIGHT) and in numbers for a sentence, as the reader writes them."""

    title: str
    path: str
    least: str
    most: str
    last: str


@dataclass(frozen=True, slots=True)
class DrawnChart:
    """A chart as the page shows it without a script. `top` is the value at its upper edge."""

    key: str
    title: str
    unit: str
    top: str
    lines: tuple[DrawnLine, ...]

    @property
    def is_empty(self) -> bool:
        """Nothing is known of that time."""
        return not any(line.path for line in self.lines)


@dataclass(frozen=True, slots=True)
class TableRow:
    """One row of the table of all charts: when it begins, and the number of each column."""

    at: dt.datetime
    numbers: tuple[str, ...]


def draw(points: Sequence[Point], span: Span, tag: str) -> list[DrawnChart]:
    """All charts over these points, numbers as `tag` (language and region) writes them."""
    drawn = []
    for chart in CHARTS:
        values = [line.values(points, span.step_s) for line in chart.lines]
        top = max((value for one in values for value in one if value is not None), default=0.0) or 1.0
        lines = tuple(drawn_line(line.title, one, top, tag) for line, one in zip(chart.lines, values, strict=True))
        drawn.append(DrawnChart(chart.key, chart.title, chart.unit, short(top, tag), lines))
    return drawn


def as_json(points: Sequence[Point], span: Span) -> dict[str, object]:
    """The same for the script: `at` in seconds since 1970, and of each chart its lines."""
    return {
        "span": span.title,
        "step_s": span.step_s,
        "at": [int(point.at.timestamp()) for point in points],
        "charts": {chart.key: [line.values(points, span.step_s) for line in chart.lines] for chart in CHARTS},
    }


def table(points: Sequence[Point], span: Span, tag: str) -> list[TableRow]:
    """TABLE_ROWS rows over all points, the latest first: the mean of each line where something is known."""
    columns = [line.values(points, span.step_s) for chart in CHARTS for line in chart.lines]
    size = -(-len(points) // TABLE_ROWS)
    rows = []
    for begin in range(0, len(points), size):
        parts = ([value for value in column[begin : begin + size] if value is not None] for column in columns)
        means = tuple(short(sum(part) / len(part), tag) if part else NOTHING for part in parts)
        rows.append(TableRow(points[begin].at, means))
    return rows[::-1]


def short(value: float, tag: str) -> str:
    """A number with about three digits."""
    digits = 0 if value >= 100 or value == int(value) else 1 if value >= 10 else 2 if value >= 0.1 else 4
    return number(round(value, digits), tag)


def drawn_line(title: str, values: Values, top: float, tag: str) -> DrawnLine:
    """A line over all of a chart's width, `top` at its upper edge."""
    known = [value for value in values if value is not None]
    if not known:
        return DrawnLine(title, "", NOTHING, NOTHING, NOTHING)
    least, most, last = (short(value, tag) for value in (min(known), max(known), known[-1]))
    return DrawnLine(title, _path(values, top), least, most, last)


def _path(values: Values, top: float) -> str:
    """SVG path data; the line is broken where nothing is known. A single point is drawn as a short line."""
    steps, is_down = [], False
    width = WIDTH / max(len(values) - 1, 1)
    for place, value in enumerate(values):
        if value is None:
            is_down = False
            continue
        x, y = round(place * width, 1), round(HEIGHT - 2 - value / top * (HEIGHT - 4), 1)
        steps.append(f"{'L' if is_down else 'M'}{x:g} {y:g}" if is_down else f"M{x:g} {y:g}h.1")
        is_down = True
    return "".join(steps)

"""The map of routing as a drawing: boxes of known heights in three columns, and between them lines as SVG paths.

Heights are in CSS pixels and stand in routing_map.css too; a column's boxes lie one below the other, so that the ends of a
line are known without a script.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from fileroom.routing.destination_states import DestinationNow, Standing
from fileroom.routing.routing_map import MapLine, RoutingMap

BOX: Final = 68
GAP: Final = 10
LOW: Final = 28
CROWDED: Final = 24
"""With more rules than this their boxes are one line each (LOW): a hundred of them on four screens in place of nine."""
MEMBER: Final = 24
"""A line in a pool's box."""
WIDTH: Final = 100
LINE_MAX: Final = 9.0
"""The widest line, px: about 10,000 objects a minute."""


@dataclass(frozen=True, slots=True)
class DrawnLine:
    """A line from one box to another. `look` is the class that says how its destination is; `rate` is objects a minute."""

    begin: str
    end: str
    path: str
    width: float
    look: str
    rate: float


@dataclass(frozen=True, slots=True)
class Drawing:
    """The lines of both gaps, and how high all of it is."""

    left: tuple[DrawnLine, ...]
    right: tuple[DrawnLine, ...]
    height: int
    crowded: bool = False
    """There are so many rules that their boxes are low."""


def draw(shown: RoutingMap) -> Drawing:
    """Lines for a map."""
    sources = _middles([(one.key, BOX) for one in shown.sources])
    crowded = len(shown.rules) > CROWDED
    rule_box = LOW if crowded else BOX
    rules = _middles([(f"r{one.id}", rule_box) for one in shown.rules])
    destinations = _middles([(f"d{one.destination.id}", height_of(one)) for one in shown.destinations])
    looks = {f"d{one.destination.id}": one.standing.value for one in shown.destinations}
    off = {f"r{one.id}" for one in shown.rules if not one.enabled}
    right = [
        _line(line, rules, destinations, Standing.DISABLED if line.begin in off else looks[line.end])
        for line in shown.to_destinations
        if line.begin in rules and line.end in destinations
    ]
    left = [_line(line, sources, rules, "up") for line in shown.from_sources if line.end in rules]
    heights = (len(sources) * (BOX + GAP), len(rules) * (rule_box + GAP), _height(shown.destinations))
    return Drawing(tuple(left), tuple(right), max(*heights, BOX + GAP), crowded)


def height_of(one: DestinationNow) -> int:
    """Of a destination's box; a pool lists its members."""
    return BOX + MEMBER * len(one.members)


def line_width(per_minute: float) -> float:
    """By the logarithm: 1 px for nothing, about 2 px more for each power of ten."""
    return 1.0 if per_minute <= 0 else round(min(1.5 + 1.9 * math.log10(1 + per_minute), LINE_MAX), 1)


def _height(destinations: Sequence[DestinationNow]) -> int:
    return sum(height_of(one) + GAP for one in destinations)


def _middles(boxes: Sequence[tuple[str, int]]) -> dict[str, int]:
    """Where lines end at a box: in the middle of its upper part, which all boxes have."""
    found, top = {}, 0
    for key, height in boxes:
        found[key] = top + min(height, BOX) // 2
        top += height + GAP
    return found


def _line(line: MapLine, begins: dict[str, int], ends: dict[str, int], look: str) -> DrawnLine:
    y1, y2 = begins[line.begin], ends[line.end]
    path = f"M0 {y1}C{WIDTH // 2} {y1} {WIDTH // 2} {y2} {WIDTH} {y2}"
    return DrawnLine(line.begin, line.end, path, line_width(line.per_minute), str(look), line.per_minute)

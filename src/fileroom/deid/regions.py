"""Where devices write text into the pixels: rules as data (`devices.json`), and the regions that follow for an object.

A rule names a device by what its images say of themselves (manufacturer, model, software, size, image type) and the
rectangles that are blanked; a rule without rectangles says that the device writes nothing into its images. Rules of a
project stand before ours.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Final, NamedTuple

import orjson
from pydicom.dataset import Dataset

from fileroom.core.errors import InvalidRequestError
from fileroom.pixels.header_values import integer, items, value_of

RULES_MAX: Final = 500
REGIONS_MAX: Final = 50
"""Of one rule; a screen has no more places with text."""

CONDITIONS: Final = (
    "Modality",
    "SOPClassUID",
    "Manufacturer",
    "ManufacturerModelName",
    "SoftwareVersions",
    "StationName",
    "ImageType",
    "SeriesDescription",
    "BurnedInAnnotation",
    "Rows",
    "Columns",
)
"""What a rule may look at. Text fits when it contains the words, without regard to case; numbers when they are equal."""


class Region(NamedTuple):
    """A rectangle of pixels: columns from `left` up to and without `right`, rows from `top` up to and without `bottom`."""

    left: int
    top: int
    right: int
    bottom: int


@dataclass(frozen=True, slots=True)
class DeviceRule:
    """What a device writes into its images. `where` are conditions (keyword, text); all must fit."""

    name: str
    where: tuple[tuple[str, str], ...]
    regions: tuple[Region, ...] = field(default=())

    def fits(self, header: Dataset) -> bool:
        """Whether the image says that it is of this device."""
        return all(_fits(header, keyword, wanted) for keyword, wanted in self.where)


def device_rule(data: Mapping[str, Any]) -> DeviceRule:
    """A rule from its JSON form: `{"name", "where": {keyword: text}, "regions": [[left, top, width, height]]}`.

    Raises InvalidRequestError, which names what is wrong.
    """
    where = data.get("where")
    regions = data.get("regions", [])
    if not isinstance(where, Mapping) or not where or not isinstance(regions, Sequence):
        raise InvalidRequestError('A device rule is {"name": ..., "where": {"Manufacturer": ...}, "regions": [...]}.')
    for keyword in where:
        if keyword not in CONDITIONS:
            raise InvalidRequestError(
                f"A device rule cannot look at {keyword!s:.40}; it can at {', '.join(CONDITIONS)}."
            )
    if not ("ManufacturerModelName" in where or "Manufacturer" in where):
        raise InvalidRequestError("A device rule must name a Manufacturer or a ManufacturerModelName.")
    if len(regions) > REGIONS_MAX:
        raise InvalidRequestError(f"A device rule has at most {REGIONS_MAX} regions.")
    return DeviceRule(
        str(data.get("name", ""))[:200],
        tuple(sorted((str(keyword), str(wanted)[:200]) for keyword, wanted in where.items())),
        tuple(_region(one) for one in regions),
    )


def _region(data: Any) -> Region:
    if not (
        isinstance(data, Sequence) and len(data) == 4 and all(isinstance(n, int) and 0 <= n < 1 << 16 for n in data)
    ):
        raise InvalidRequestError("A region is [left, top, width, height] in pixels.")
    left, top, width, height = data
    return Region(left, top, left + width, top + height)


def device_regions(header: Dataset, rules: Iterable[DeviceRule]) -> DeviceRule | None:
    """The first rule that fits, of the given ones and then of ours."""
    for rule in (*rules, *DEVICES):
        if rule.fits(header):
            return rule
    return None


def outside_of_ultrasound_regions(header: Dataset) -> tuple[Region, ...] | None:
    """What lies outside of the Sequence of Ultrasound Regions (PS3.3 C.8.5.5): the places for text.

    None when the sequence is absent, or leaves (nearly) nothing outside, so that it proves nothing.
    """
    rows, columns = integer(header, "Rows", 0), integer(header, "Columns", 0)
    kept = []
    for item in items(header, "SequenceOfUltrasoundRegions")[:REGIONS_MAX]:
        left, top = integer(item, "RegionLocationMinX0", -1), integer(item, "RegionLocationMinY0", -1)
        right, bottom = integer(item, "RegionLocationMaxX1", -1), integer(item, "RegionLocationMaxY1", -1)
        if not (0 <= left < right <= columns and 0 <= top < bottom <= rows):
            return None
        kept.append(Region(left, top, min(right + 1, columns), min(bottom + 1, rows)))
    if not kept or rows <= 0 or columns <= 0:
        return None
    outside = without(Region(0, 0, columns, rows), kept)
    blanked = sum((one.right - one.left) * (one.bottom - one.top) for one in outside)
    return outside if blanked * 50 >= rows * columns else None


def without(whole: Region, kept: Sequence[Region]) -> tuple[Region, ...]:
    """The rest of `whole` as rectangles that do not overlap."""
    edges = sorted({whole.top, whole.bottom, *(y for one in kept for y in (one.top, one.bottom))})
    rest = []
    for top, bottom in itertools.pairwise(edges):
        position = whole.left
        for left, right in sorted((one.left, one.right) for one in kept if one.top <= top and one.bottom >= bottom):
            if left > position:
                rest.append(Region(position, top, left, bottom))
            position = max(position, right)
        if position < whole.right:
            rest.append(Region(position, top, whole.right, bottom))
    return tuple(rest)


def _fits(header: Dataset, keyword: str, wanted: str) -> bool:
    if keyword in ("Rows", "Columns"):
        return wanted.isdigit() and integer(header, keyword, -1) == int(wanted)
    value = value_of(header, keyword)
    if value is None:
        return False
    told = "\\".join(map(str, value)) if not isinstance(value, str) and hasattr(value, "__iter__") else str(value)
    return wanted.casefold() in told.casefold()


DEVICES: Final = tuple(
    device_rule(one) for one in orjson.loads((resources.files("fileroom.deid") / "devices.json").read_bytes())["rules"]
)

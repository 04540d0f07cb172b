"""Where a fact stands in a message, as a mapping writes it, and what stands there.

    PID-3                field 3 of the first PID that has it; in a list fact all repetitions
    PID-3[2].4.2         second repetition, fourth component, second subcomponent
    PID-3[5=MR]          the repetitions whose fifth component is MR
    OBX[3.1=29463-7]-5   field 5 of the OBX whose field 3.1 is 29463-7; several conditions follow each other: [..][6=kg]
    NTE(2)-3             field 3 of the second NTE
    =St. Mary            always this text

The segments of a message are asked in `Scope`s: those of an order's group first, then what its message says once for all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from fileroom.core.errors import InvalidRequestError, told
from fileroom.hl7.message import Field, Repetition, Segment

PATH_CHARS_MAX: Final = 120
FIELD_MAX: Final = 999
REPETITIONS_MAX: Final = 100
"""Of one field that are looked at: nobody has more names or numbers."""
_PATH: Final = re.compile(
    r"(?P<segment>[A-Z][A-Z0-9]{2})"
    r"(?:\((?P<among>\d{1,3})\)|\[(?P<nth>\d{1,3})\])?"
    r"(?P<conditions>(?:\[\d{1,3}(?:\.\d{1,2})?=[^\]\[]{1,60}\]){0,3})"
    r"-(?P<field>\d{1,3})"
    r"(?:\[(?:(?P<rep>\d{1,3})|(?P<rep_where>\d{1,2})=(?P<rep_is>[^\]\[]{1,60}))\])?"
    r"(?:\.(?P<component>\d{1,2})(?:\.(?P<sub>\d{1,2}))?)?"
)
_CONDITION: Final = re.compile(r"\[(\d{1,3})(?:\.(\d{1,2}))?=([^\]\[]{1,60})\]")


@dataclass(frozen=True, slots=True)
class Path:
    """A path taken apart; numbers count from 1, 0 means "not said". `fixed` is the text of `=text`."""

    text: str
    segment: str = ""
    field: int = 0
    component: int = 0
    sub: int = 0
    nth: int = 0
    where: tuple[tuple[int, int, str], ...] = ()
    """Field, component and what it is, of the segments that are meant."""
    repetition: int = 0
    repetition_where: int = 0
    repetition_is: str = ""
    fixed: str | None = None

    def __str__(self) -> str:
        return self.text


def parse_path(text: object) -> Path:
    """A path from its text. Raises InvalidRequestError, which names it."""
    if not isinstance(text, str) or not text.strip() or len(text) > PATH_CHARS_MAX or not text.isprintable():
        raise InvalidRequestError(
            told("{path} is no path: write segment and field, as in PID-3.1.", path=repr(text)[:60])
        )
    text = text.strip()
    if text.startswith("=") and text[1:].strip():
        return Path(text, fixed=text[1:].strip())
    match = _PATH.fullmatch(text)
    if match is None or int(match["field"]) == 0:
        raise InvalidRequestError(
            told(
                "{path} is no path. Examples: PID-3.1, PID-3[2].4, PID-3[5=MR], OBX[3.1=29463-7]-5, or =text for a fixed "
                "value.",
                path=repr(text)[:60],
            )
        )
    conditions = _CONDITION.findall(match["conditions"])
    return Path(
        text,
        match["segment"],
        int(match["field"]),
        int(match["component"] or 0),
        int(match["sub"] or 0),
        int(match["nth"] or match["among"] or 0),
        tuple((int(field), int(component or 1), text) for field, component, text in conditions),
        int(match["rep"] or 0),
        int(match["rep_where"] or 0),
        match["rep_is"] or "",
    )


class Scope:
    """Segments in layers: a name is looked up in the first layer that has it."""

    __slots__ = ("_layers",)

    def __init__(self, *layers: Iterable[Segment]) -> None:
        self._layers: list[dict[str, list[Segment]]] = []
        for layer in layers:
            by_name: dict[str, list[Segment]] = {}
            for segment in layer:
                by_name.setdefault(segment.name, []).append(segment)
            self._layers.append(by_name)

    def named(self, name: str) -> Sequence[Segment]:
        """The segments of this name, nearest layer first."""
        for layer in self._layers:
            found = layer.get(name)
            if found:
                return found
        return ()

    def has(self, name: str) -> bool:
        """Is there such a segment?"""
        return any(name in layer for layer in self._layers)

    def at(self, path: Path) -> Iterator[Repetition]:
        """What stands where the path leads, field repetitions that are not empty, in order."""
        for field in self.fields(path):
            repetitions = field.repetitions[:REPETITIONS_MAX]
            if path.repetition:
                repetitions = repetitions[path.repetition - 1 : path.repetition]
            for one in repetitions:
                if path.repetition_where and one.component(path.repetition_where).strip() != path.repetition_is:
                    continue
                if one.raw:
                    yield one

    def fields(self, path: Path) -> Iterator[Field]:
        """The fields that the path leads to, whichever of their repetitions it means."""
        segments = self.named(path.segment)
        if path.nth:
            segments = segments[path.nth - 1 : path.nth]
        for segment in segments:
            if not path.where or all(_says(segment, *condition) for condition in path.where):
                found = segment.field(path.field)
                if found.raw:
                    yield found


def _says(segment: Segment, field: int, component: int, text: str) -> bool:
    return any(one.component(component).strip() == text for one in segment.field(field).repetitions[:REPETITIONS_MAX])

"""One question to the archive, whatever door it came through: C-FIND, QIDO-RS, the console, the command line.

The kinds of matching are those of PS3.4 C.2.2.2. A key that matches everything (universal matching) is simply absent
from `Query.keys`; what shall be returned stands in `Query.return_tags`.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

TagPath = tuple[int, ...]
"""One tag, or tags from a sequence down to an element of its items: (0x00400275, 0x00400009)."""


SENT_BY: Final = 0x00020016
"""Source Application Entity Title, for our own lists: who brought a study in. Data sets have no group 0002 (PS3.10 7.1)."""


class Level(enum.IntEnum):
    """The levels of the Query/Retrieve information models (PS3.4 C.6)."""

    PATIENT = 0
    STUDY = 1
    SERIES = 2
    INSTANCE = 3
    """Called IMAGE in C-FIND."""


class InformationModel(enum.Enum):
    """The root that a hierarchical question starts from."""

    PATIENT_ROOT = "patient"
    STUDY_ROOT = "study"


@dataclass(frozen=True, slots=True)
class SingleValue:
    """Equal to `value` (PS3.4 C.2.2.2.1)."""

    value: str


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Equal to one of `values`: list of UID matching, multiple value matching (PS3.4 C.2.2.2.2, C.2.2.2.8)."""

    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wildcard:
    """`*` stands for any run of characters, `?` for any one (PS3.4 C.2.2.2.4)."""

    pattern: str


@dataclass(frozen=True, slots=True)
class Range:
    """Between `start` and `end`, both included; None is open (PS3.4 C.2.2.2.5). DA, TM or DT text as given."""

    start: str | None
    end: str | None


@dataclass(frozen=True, slots=True)
class EmptyValue:
    """The stored value is empty or absent (PS3.4 C.2.2.2.7, asked for by two quotation marks)."""


@dataclass(frozen=True, slots=True)
class SequenceItem:
    """One item of the stored sequence matches all `keys` (PS3.4 C.2.2.2.6)."""

    keys: tuple[Key, ...]


Matching = SingleValue | AnyOf | Wildcard | Range | EmptyValue | SequenceItem


@dataclass(frozen=True, slots=True)
class Key:
    """A matching key: a tag, its VR and how it must match."""

    tag: int
    vr: str
    matching: Matching


@dataclass(frozen=True, slots=True)
class StudyPlace:
    """A study's place in the list of studies, the newest first: its date and time (None: it has none) and its row.

    Those without a date stand at the end.
    """

    date: str | None
    time: str | None
    row_id: int


@dataclass(frozen=True, slots=True)
class Page:
    """A window on the ordered answers: at most `limit` of them after the first `offset`.

    `behind` begins behind a study instead, which costs the same however far down it is. Studies without a date follow
    only where that one has none either: the caller asks for them when those with a date are at their end.
    """

    limit: int
    offset: int = 0
    behind: StudyPlace | None = None


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked.

    `return_tags` None means every attribute that the index holds at `level` and above. `combined_datetime` takes a date
    range and a time range of one event as one range of moments (PS3.4 C.2.2.2.5.2). `fuzzy_names` asks for person names
    that begin with the same words in any order. `timezone` is the offset (+HHMM) that dates and times of the question
    are in, None for the archive's own. `newest_first` orders by study date; otherwise the order is free.
    """

    level: Level
    model: InformationModel = InformationModel.STUDY_ROOT
    keys: tuple[Key, ...] = ()
    return_tags: tuple[TagPath, ...] | None = ()
    page: Page | None = None
    combined_datetime: bool = False
    fuzzy_names: bool = False
    timezone: str | None = None
    newest_first: bool = False

"""A query in words, for the audit trail: its keys as people write them, and whom and what it asks for by name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pydicom.datadict import keyword_for_tag

from fileroom.dicom.query import AnyOf, EmptyValue, Key, Matching, Query, Range, SequenceItem, SingleValue, Wildcard

_PATIENT_ID: Final = 0x00100020
_STUDY_INSTANCE_UID: Final = 0x0020000D
_VALUES_SHOWN_MAX: Final = 10
_WORDS_CHARS_MAX: Final = 1000


@dataclass(frozen=True, slots=True)
class Question:
    """`words` such as `STUDY: PatientName=DOE*, StudyDate=20260101-20260131`."""

    words: str
    patient_ids: tuple[str, ...]
    study_uids: tuple[str, ...]


def question_of(query: Query) -> Question:
    """What a query asks."""
    keys = ", ".join(_key(key) for key in query.keys)
    words = f"{query.level.name}: {keys or 'everything'}"
    if len(words) > _WORDS_CHARS_MAX:
        words = words[: _WORDS_CHARS_MAX - 3] + "..."
    return Question(words, tuple(_named(query, _PATIENT_ID)), tuple(_named(query, _STUDY_INSTANCE_UID)))


def _key(key: Key) -> str:
    return f"{keyword_for_tag(key.tag) or f'{key.tag:08X}'}={_matching(key.matching)}"


def _matching(matching: Matching) -> str:
    if isinstance(matching, SingleValue):
        return matching.value
    if isinstance(matching, Wildcard):
        return matching.pattern
    if isinstance(matching, Range):
        return f"{matching.start or ''}-{matching.end or ''}"
    if isinstance(matching, EmptyValue):
        return '""'
    if isinstance(matching, SequenceItem):
        return "{" + ", ".join(_key(key) for key in matching.keys) + "}"
    shown = "\\".join(matching.values[:_VALUES_SHOWN_MAX])
    more = len(matching.values) - _VALUES_SHOWN_MAX
    return f"{shown} and {more} more" if more > 0 else shown


def _named(query: Query, tag: int) -> Iterator[str]:
    for key in query.keys:
        if key.tag == tag and isinstance(key.matching, SingleValue):
            yield key.matching.value
        elif key.tag == tag and isinstance(key.matching, AnyOf):
            yield from key.matching.values

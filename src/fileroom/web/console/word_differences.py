"""What was changed from one version of a text to the next, word by word."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from fileroom.reports.facts import ReportContent, ReportSection

WORDS_MAX: Final = 4000
"""Of one text: comparing takes the square of it at worst. Longer ones are compared line by line, and then as a whole."""
_WORD: Final = re.compile(r"\s+|\w+|[^\w\s]")

Kind = Literal["same", "added", "removed"]


@dataclass(frozen=True, slots=True)
class Piece:
    """Some words, and whether they came or went."""

    kind: Kind
    text: str


@dataclass(frozen=True, slots=True)
class ComparedSection:
    """A section of either version."""

    heading: list[Piece]
    pieces: list[Piece]

    @property
    def is_changed(self) -> bool:
        """Whether anything came or went."""
        return any(one.kind != "same" for one in (*self.heading, *self.pieces))


def compare_texts(before: str, after: str) -> list[Piece]:
    """The words of both, in their order. What they have in common stands once."""
    if before == after:
        return [Piece("same", after)] if after else []
    for tokens in (_WORD.findall, lambda text: text.splitlines(keepends=True)):
        old, new = tokens(before), tokens(after)
        if len(old) <= WORDS_MAX and len(new) <= WORDS_MAX:
            return _pieces(old, new)
    return _joined([Piece("removed", before), Piece("added", after)])


def compare_contents(before: ReportContent, after: ReportContent, addendum: str) -> list[ComparedSection]:
    """The sections of two versions side by side, addenda behind them under the heading `addendum`."""
    old, new = _sections(before, addendum), _sections(after, addendum)
    matcher = difflib.SequenceMatcher(None, [one.heading for one in old], [one.heading for one in new], autojunk=False)
    found: list[ComparedSection] = []
    for kind, i, j, k, m in matcher.get_opcodes():
        both = min(j - i, m - k) if kind in ("equal", "replace") else 0
        found += [_compared(old[i + place], new[k + place]) for place in range(both)]
        found += [_compared(one, ReportSection("", "")) for one in old[i + both : j]]
        found += [_compared(ReportSection("", ""), one) for one in new[k + both : m]]
    return found


def _sections(content: ReportContent, addendum: str) -> Sequence[ReportSection]:
    return (*content.sections, *(ReportSection(addendum, one.text) for one in content.addenda))


def _compared(old: ReportSection, new: ReportSection) -> ComparedSection:
    return ComparedSection(compare_texts(old.heading, new.heading), compare_texts(old.text, new.text))


def _pieces(old: list[str], new: list[str]) -> list[Piece]:
    pieces: list[Piece] = []
    for kind, i, j, k, m in difflib.SequenceMatcher(None, old, new, autojunk=len(old) > WORDS_MAX // 4).get_opcodes():
        if kind == "equal":
            pieces.append(Piece("same", "".join(new[k:m])))
        else:
            pieces += [Piece("removed", "".join(old[i:j])), Piece("added", "".join(new[k:m]))]
    return _joined(pieces)


def _joined(pieces: list[Piece]) -> list[Piece]:
    return [one for one in pieces if one.text]

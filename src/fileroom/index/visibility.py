"""Whose studies somebody may see, as an SQL condition on a study.

A study is seen as a whole or not at all. It is seen when its patient ID and its referring physician are of the lists, when
one of its series is of a listed modality and a listed institution, and, of own uploads, when its first object came from
whoever asks. What is not seen is answered as if it did not exist, so every statement that reads for somebody takes a
`Visibility`; only Fileroom's own upkeep says ALL.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fileroom.core.access import EVERYTHING, Access, RowScope
from fileroom.dicom.normal_forms import normalize_name
from fileroom.dicom.query import SingleValue
from fileroom.index.attributes import BY_KEYWORD
from fileroom.index.conditions import Condition, attribute_condition
from fileroom.index.rows import folded

_REFERRING: Final = BY_KEYWORD["ReferringPhysicianName"]
_NEVER: Final = Condition("false")


@dataclass(frozen=True, slots=True)
class Visibility:
    """A row scope and, where it speaks of own uploads, whose they are. Equal ones see the same studies."""

    rows: RowScope = EVERYTHING
    uploader: str = ""

    @property
    def is_everything(self) -> bool:
        """No condition at all."""
        return self.rows.is_everything


ALL: Final = Visibility()
"""For upkeep, which must see every row, and for whoever has no row scope."""


def visibility_of(access: Access) -> Visibility:
    """What somebody who acts may see."""
    if access.rows.is_everything:
        return ALL
    return Visibility(access.rows, access.uploader if access.rows.own_uploads else "")


def study_is_visible(visibility: Visibility, study: str = "s") -> Condition:
    """The condition on the row of the table study that is called `study` in the statement; empty for ALL."""
    rows = visibility.rows
    if rows.is_everything:
        return Condition()
    conditions: list[Condition] = []
    if rows.patient_ids:
        conditions.append(Condition(f"{study}.patient_id = ANY(%s)", (list(rows.patient_ids),)))
    if rows.referring_physicians:
        column = f"{study}.{_REFERRING.column}"
        names = (normalize_name(name) for name in rows.referring_physicians)
        conditions.append(
            Condition.any_of(
                attribute_condition(_REFERRING, column, SingleValue(name), fuzzy=False) if name else _NEVER
                for name in names
            )
        )
    if rows.modalities:
        conditions.append(Condition(f"{study}.modalities && %s::text[]", (list(rows.modalities),)))
    if rows.institutions:
        conditions.append(Condition(f"{study}.institutions && %s::text[]", (_folded(rows),)))
    if rows.modalities and rows.institutions:
        # The study's lists narrow it down; that one series has both must be seen there.
        conditions.append(
            Condition(
                f"EXISTS (SELECT 1 FROM series seen WHERE seen.study = {study}.id AND seen.modality = ANY(%s) "
                "AND seen.institution_name_key = ANY(%s))",
                (list(rows.modalities), _folded(rows)),
            )
        )
    if rows.own_uploads:
        conditions.append(
            Condition(f"{study}.brought_by = %s", (visibility.uploader,)) if visibility.uploader else _NEVER
        )
    return Condition.all_of(conditions)


def _folded(rows: RowScope) -> list[str]:
    return [folded(name) for name in rows.institutions]

"""What a treatment does to the attributes of one object: steps, character set, single frames, split or merge. No I/O."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

from fileroom.dicom import charset as charsets
from fileroom.pixels.header_values import value_of
from fileroom.transform.changes import apply_steps, changes_between, note_hop, record_changes, shallow
from fileroom.transform.charset import charset_of, converted, text_fits
from fileroom.transform.legacy import can_be_single, single_frames
from fileroom.transform.split_merge import Merge, Split, merge_series, split_series
from fileroom.transform.steps import Context, Step

_SIGNATURES: Final = (0x4FFE0001, 0xFFFAFFFA)
"""MAC parameters and digital signatures: of an object that was changed they are no longer true (PS3.15 C)."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The part of a treatment that works on attributes. `single_classes`: SOP classes whose frames leave one by one, where
    the destination refuses them or (`single_always`) in any case; `all` is every class that can."""

    scope: str
    steps: tuple[Step, ...] = ()
    charset: tuple[str, ...] = ()
    transliterate: bool = False
    split: Split | None = None
    merge: Merge | None = None
    single_classes: frozenset[str] = frozenset()
    single_always: bool = False


@dataclass(frozen=True, slots=True)
class Changed:
    """An object that comes of it. `frame`: which frame of the original it is (from 0), None: it has all."""

    dataset: Dataset
    frame: int | None = None


def changed_object(
    dataset: Dataset, plan: Plan, context: Context, *, single: bool, anonymous: bool = False
) -> list[Changed]:
    """The objects that leave instead of one; the given data set itself where nothing is to be changed.

    `anonymous`: it was de-identified, so its own previous values are no secret, but what they were before that is not known
    here either. Raises CannotChangeError.
    """
    made = _morphed(dataset, plan, context)
    sop_class = str(value_of(made, "SOPClassUID") or "")
    if single and can_be_single(sop_class) and ({sop_class, "all"} & plan.single_classes):
        made = _recorded(dataset, made, context, anonymous=anonymous)
        return list(_singles(made, dataset, plan, context))
    placed = _placed(made, plan, context)
    return [Changed(_recorded(dataset, placed, context, anonymous=anonymous))]


def _morphed(dataset: Dataset, plan: Plan, context: Context) -> Dataset:
    made = apply_steps(dataset, plan.steps, context) if plan.steps else dataset
    if plan.charset:
        wanted = charsets.character_set("\\".join(plan.charset).encode("ascii"))
        if charset_of(made, charsets.DEFAULT) != wanted:
            return converted(made, plan.charset, transliterate=plan.transliterate)
    return made


def _singles(made: Dataset, dataset: Dataset, plan: Plan, context: Context) -> Iterator[Changed]:
    for one in single_frames(made, context.installation_uid, plan.scope):
        placed = _placed(one.dataset, plan, context)
        if placed is not one.dataset:
            record_changes(one.dataset, placed, context)
        elif made is dataset:
            note_hop(placed, context)
        yield Changed(text_fits(placed), one.index)


def _placed(made: Dataset, plan: Plan, context: Context) -> Dataset:
    if plan.split is not None:
        return split_series(made, plan.split, context.installation_uid, plan.scope)
    if plan.merge is not None:
        return merge_series(made, plan.merge, context.installation_uid, plan.scope)
    return made


def _recorded(before: Dataset, after: Dataset, context: Context, *, anonymous: bool) -> Dataset:
    """With the records of what was changed; `before` itself when nothing was."""
    if anonymous:
        noted = shallow(after)
        if changes_between(before, after):
            record_changes(before, noted, context)
        else:
            note_hop(noted, context)
        return text_fits(noted)
    if after is before or not changes_between(before, after):
        return before
    fitted = text_fits(after)
    for tag in _SIGNATURES:
        fitted._dict.pop(BaseTag(tag), None)
    record_changes(before, fitted, context)
    return text_fits(fitted)

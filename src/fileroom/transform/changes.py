"""Steps applied, and what they changed kept in the object itself: Original Attributes (PS3.3 C.12.1.1.9.1), hop record.

The data set that is given stays as it is; the answer shares what was not changed with it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.tag import BaseTag

from fileroom.core.identifiers import IMPLEMENTATION_VERSION_NAME
from fileroom.pixels.header_values import BROKEN
from fileroom.transform.errors import CannotChangeError, step_failed
from fileroom.transform.paths import isolated
from fileroom.transform.steps import Context, Step

ORIGINAL_ATTRIBUTES: Final = 0x04000561
CONTRIBUTING_EQUIPMENT: Final = 0x0018A001
_CHARACTER_SET: Final = 0x00080005
_HOPS_KEPT_MAX: Final = 200
"""Items of Contributing Equipment beyond which no more are added: a loop was stopped long before."""
_PURPOSE: Final = ("109103", "DCM", "Modifying Equipment")


@dataclass(frozen=True, slots=True)
class Change:
    """A top-level attribute before and after; None: not there."""

    tag: int
    before: DataElement | None
    after: DataElement | None


def shallow(dataset: Dataset) -> Dataset:
    """Another data set with the same elements: replacing one there does not replace it here."""
    made = Dataset()
    made._dict = dict(dataset._dict)  # Elements that nobody has looked at stay as raw as they are.
    encoding = dataset.original_encoding
    made.set_original_encoding(encoding[0], encoding[1], dataset.original_character_set)
    return made


def apply_steps(dataset: Dataset, steps: Sequence[Step], context: Context) -> Dataset:
    """The data set after all steps whose conditions hold. Raises CannotChangeError, which names step, attribute, value."""
    made = shallow(dataset)
    for step in steps:
        if step.condition is not None and not step.condition(made):
            continue
        _isolate(made, step)
        try:
            step.work(made, context)
        except CannotChangeError:
            raise
        except BROKEN as error:
            names = ", ".join(map(str, step.paths))
            raise step_failed(step.number, step.kind, names, "", f"the object is broken there: {error}") from error
    return made


def changes_between(before: Dataset, after: Dataset) -> list[Change]:
    """What differs at the top level, by tag; the records of changes themselves are not looked at."""
    found: list[Change] = []
    for tag in sorted({int(tag) for tag in (*before._dict, *after._dict)}):
        if tag in (ORIGINAL_ATTRIBUTES, CONTRIBUTING_EQUIPMENT) or tag & 0xFFFF == 0:
            continue
        if before._dict.get(BaseTag(tag)) is after._dict.get(BaseTag(tag)):
            continue
        old, new = _element(before, tag), _element(after, tag)
        if old != new:
            found.append(Change(tag, old, new))
    return found


def record_changes(
    before: Dataset, after: Dataset, context: Context, *, changes: Iterable[Change] | None = None
) -> bool:
    """Note in `after` what is no more as it was in `before`, and that it was here; False when nothing is.

    The item holds previous values, an empty one for an attribute that was not there; private ones come with their creator.
    """
    found = list(changes_between(before, after) if changes is None else changes)
    if not found:
        return False
    _append(after, ORIGINAL_ATTRIBUTES, _original_attributes(before, found, context))
    note_hop(after, context)
    return True


def note_hop(dataset: Dataset, context: Context) -> None:
    """An item of Contributing Equipment that names this installation (PS3.3 C.12.1.1.5)."""
    if len(_items(dataset, CONTRIBUTING_EQUIPMENT)) < _HOPS_KEPT_MAX:
        _append(dataset, CONTRIBUTING_EQUIPMENT, _equipment(context))


def _isolate(made: Dataset, step: Step) -> None:
    """Sequences that the step may look into become copies."""
    if step.anywhere:
        for tag in list(made.keys()):
            isolated(made, int(tag))
    for path in step.paths:
        if len(path.parts) > 1:
            first = path.parts[0].tag
            for inner in [int(one) for one in made._dict if int(one) >> 16 == first >> 16]:
                isolated(made, inner)


def _element(dataset: Dataset, tag: int) -> DataElement | None:
    if tag not in dataset:
        return None
    try:
        return dataset[tag]
    except BROKEN:
        raw = dataset.get_item(tag)
        return DataElement(tag, "UN", bytes(getattr(raw, "value", b"") or b""), already_converted=True)


def _items(dataset: Dataset, tag: int) -> list[Dataset]:
    element = _element(dataset, tag)
    return list(element.value or ()) if element is not None and element.VR == "SQ" else []


def _append(dataset: Dataset, tag: int, item: Dataset) -> None:
    """The sequence is made anew: the old one may be shared."""
    dataset[tag] = DataElement(tag, "SQ", Items([*_items(dataset, tag), item]))


def _original_attributes(before: Dataset, changes: Sequence[Change], context: Context) -> Dataset:
    previous = Dataset()
    for change in changes:
        if change.before is not None:
            previous[change.tag] = copy.deepcopy(change.before)
        elif change.after is not None:
            previous[change.tag] = DataElement(change.tag, change.after.VR, None)
        creator = change.tag & 0xFFFF0000 | change.tag >> 8 & 0xFF
        if change.tag >> 16 & 1 and change.tag & 0xFFFF > 0xFF and creator in before:
            previous[creator] = before[creator]
    if any(change.tag == _CHARACTER_SET for change in changes) and _CHARACTER_SET not in previous:
        previous[_CHARACTER_SET] = DataElement(_CHARACTER_SET, "CS", None)
    item = Dataset()
    item.ModifiedAttributesSequence = [previous]
    item.AttributeModificationDateTime = context.moment
    item.ModifyingSystem = context.system
    item.SourceOfPreviousValues = context.source
    item.ReasonForTheAttributeModification = context.reason
    return item


def _equipment(context: Context) -> Dataset:
    purpose = Dataset()
    purpose.CodeValue, purpose.CodingSchemeDesignator, purpose.CodeMeaning = _PURPOSE
    item = Dataset()
    item.Manufacturer = "Fileroom"
    item.ManufacturerModelName = "Fileroom"
    item.StationName = context.system[:16]
    item.SoftwareVersions = IMPLEMENTATION_VERSION_NAME
    item.DeviceUID = context.installation_uid
    item.ContributionDateTime = context.moment
    item.ContributionDescription = "Changed on the way"
    item.PurposeOfReferenceCodeSequence = [purpose]
    return item

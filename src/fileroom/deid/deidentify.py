"""De-identification of one header (PS3.15 E.1.1): a data set in, a data set that may leave out.

Elements that are kept keep their bytes; they are not even parsed. In the end everything kept is searched once for what
names this patient (`deid.identifiers`), because attributes that the standard keeps can hold anything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import MutableMapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from pydicom._dicom_dict import DicomDictionary
from pydicom.datadict import dictionary_VR, private_dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement, convert_raw_data_element
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag

from fileroom.core.limits import SEQUENCE_DEPTH_MAX
from fileroom.deid import marks
from fileroom.deid.burned_in import PixelWork, pixel_work
from fileroom.deid.content import clean_content_item
from fileroom.deid.errors import CannotCleanError
from fileroom.deid.identifiers import byte_finder, identifiers_of, suspicious, without_identifiers
from fileroom.deid.options import Option
from fileroom.deid.profile import Action, Plan, Profile, Step, plan
from fileroom.deid.pseudonyms import Pseudonym, Pseudonyms, identity_of
from fileroom.deid.table import CURVE, OVERLAY_COMMENTS, OVERLAY_DATA
from fileroom.deid.values import DUMMY_TEXT, capped_age, dummy, moved_date
from fileroom.pixels.header_values import BROKEN, value_of

VRS: Final = MappingProxyType({tag: row[0] for tag, row in DicomDictionary.items()})
_TEXT: Final = frozenset({"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"})
_SEARCHED_BYTES_MAX: Final = 64 * 1024
"""Of a binary value: longer ones are tables and curves."""
_NUMBERS: Final = frozenset({"DS", "IS", "AS"})
_WORDS: Final = frozenset({"AT", "FD", "FL", "SL", "SS", "SV", "UL", "US", "UV", "OD", "OF", "OL", "OV", "OW"})
_PIXELS: Final = frozenset({0x7FE00001, 0x7FE00002, 0x7FE00003, 0x7FE00008, 0x7FE00009, 0x7FE00010})
_PATIENT_ID: Final = 0x00100020
_PATIENT_NAME: Final = 0x00100010
_SUBJECT_ID: Final = 0x00120040
_CONTENT: Final = 0x0040A730
_REFERENCED_REQUEST: Final = 0x0040A370
_REQUESTED_PROCEDURE_ID: Final = 0x00401001
_FOREIGN_UIDS: Final = frozenset({0x0008010C, 0x00080117, 0x0008010D, 0x00081150, 0x0008115A, 0x00080016, 0x0008001A})
"""UIDs of kinds of things (coding schemes, classes), which are no instance of anybody's."""

_Element = DataElement | RawDataElement


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What may leave once `pixels` is done to its pixel data. `actions` counts what was done, by words for the report."""

    dataset: Dataset
    actions: Counter[str]
    pixels: PixelWork

    @property
    def regions(self) -> tuple[Any, ...]:
        """Rectangles that must be blanked in every frame."""
        return self.pixels.regions


def deidentify(header: Dataset, profile: Profile, pseudonyms: Pseudonyms, *, can_read_pixels: bool = False) -> Cleaned:
    """`header` as it may leave; it is not changed itself. Pixel data in it stays, `Cleaned.pixels` says what to do to it.

    With `can_read_pixels` the caller promises to read the pixels (`deid.pixels`) where `Cleaned.pixels.reading` says so;
    else such objects are refused. Raises CannotCleanError with a sentence for people, and UnknownPatientError.
    """
    work = pixel_work(header, profile)
    if work.reading and not can_read_pixels:
        raise CannotCleanError(work.reading)
    sop_class = str(value_of(header, "SOPClassUID") or "").strip("\0 ")
    steps = plan(profile, sop_class)
    patient = pseudonyms.patient(identity_of(header))
    try:
        identifiers = identifiers_of(header, steps, dates_kept=Option.FULL_DATES in profile.options)
        job = _Job(steps, pseudonyms, patient, identifiers, Counter())
        made = job.level(header, 0)
        job.search()
        marks.set_marks(made, profile, blanked=bool(work.regions))
    except BROKEN as error:
        raise CannotCleanError(
            f"An attribute of it cannot be read ({type(error).__name__}), so nobody knows what it says."
        ) from error
    return Cleaned(made, job.actions, work)


class _Job:
    """One object on its way."""

    def __init__(
        self,
        steps: Plan,
        pseudonyms: Pseudonyms,
        patient: Pseudonym,
        identifiers: tuple[str, ...],
        actions: Counter[str],
    ) -> None:
        self.steps = steps.steps
        self.private = steps.private
        self.options = steps.options
        self.pseudonyms = pseudonyms
        self.patient = patient
        self.identifiers = identifiers
        self.actions = actions
        self._kept: list[tuple[MutableMapping[BaseTag, _Element], Dataset, BaseTag, str, bytes]] = []

    def level(self, dataset: Dataset, depth: int, *, as_dummy: bool = False) -> Dataset:
        """A data set or an item of a sequence, cleaned. `as_dummy`: no text of it is kept, whatever it is."""
        if depth > SEQUENCE_DEPTH_MAX:
            raise CannotCleanError(f"Its sequences lie more than {SEQUENCE_DEPTH_MAX} deep.")
        made = Dataset()
        elements = made._dict
        blocks = _private_blocks(dataset) if self.private else {}
        for tag, element in dataset._dict.items():
            group = tag >> 16
            if group & 1:
                self._private(dataset, elements, tag, element, blocks, depth, as_dummy=as_dummy)
                continue
            if not tag & 0xFFFF or tag in _PIXELS:
                if tag in _PIXELS:
                    elements[tag] = element
                continue
            step = self.steps.get(tag)
            if step is None and group & 0xFF00 in (0x5000, 0x6000):
                step = self._repeating(dataset, tag)
            known = VRS.get(tag) or _vr_of_group(tag)
            vr = element.VR if element.VR not in (None, "UN") else known
            if vr is None or (known is None and step is None):
                self.actions["unknown attribute removed"] += 1
                continue
            if step is None:
                step = self._unlisted(vr, tag)
            if step is None:
                if as_dummy:
                    self._dummy_or_kept(dataset, elements, tag, element, vr, depth)
                elif vr == "SQ":
                    self._sequence(dataset, elements, tag, depth, as_dummy=False)
                else:
                    self._keep(dataset, elements, tag, element, vr)
            elif step.action is not Action.REMOVE:
                self._apply(dataset, elements, tag, element, vr, step, depth, as_dummy=as_dummy)
            else:
                self.actions["removed"] += 1
        encoding = dataset.original_encoding
        made.set_original_encoding(encoding[0], encoding[1], dataset.original_character_set)
        made._parent_encoding = dataset._parent_encoding
        return made

    # --- one element ---

    def _apply(
        self,
        dataset: Dataset,
        elements: MutableMapping[BaseTag, _Element],
        tag: BaseTag,
        element: _Element,
        vr: str,
        step: Step,
        depth: int,
        *,
        as_dummy: bool,
    ) -> None:
        action = step.action
        if tag in (_PATIENT_ID, _PATIENT_NAME, _SUBJECT_ID) and action in (Action.EMPTY, Action.DUMMY):
            name = self.patient.patient_name if tag == _PATIENT_NAME else self.patient.patient_id
            elements[tag] = DataElement(tag, vr, name)
            self.actions["pseudonym"] += 1
            return
        if as_dummy and action in (Action.KEEP, Action.CLEAN) and vr in _TEXT:
            action = Action.DUMMY
        if action is Action.CLEAN:
            if self._clean(dataset, elements, tag, vr, depth):
                return
            action = step.otherwise
        if action is Action.KEEP:
            if vr == "SQ":
                self._sequence(dataset, elements, tag, depth, as_dummy=as_dummy)
            elif vr == "AS":
                elements[tag] = DataElement(tag, vr, capped_age(_text_of(dataset, tag)))
            else:
                self._keep(dataset, elements, tag, element, vr)
        elif action is Action.EMPTY:
            elements[tag] = DataElement(tag, vr, Sequence() if vr == "SQ" else None)
            self.actions["emptied"] += 1
        elif action is Action.UID:
            self._new_uid(dataset, elements, tag, vr, depth)
        elif action is Action.DUMMY:
            self._dummy(dataset, elements, tag, vr, depth)
        elif action is Action.REPLACE:
            elements[tag] = DataElement(tag, vr, step.value)
            self.actions["replaced"] += 1
        elif action is Action.HASH:
            elements[tag] = DataElement(tag, vr, self.pseudonyms.hashed(_text_of(dataset, tag)))
            self.actions["hashed"] += 1
        else:
            self.actions["removed"] += 1

    def _keep(
        self, dataset: Dataset, elements: MutableMapping[BaseTag, _Element], tag: BaseTag, element: _Element, vr: str
    ) -> None:
        """Its bytes as they are, noted for the search."""
        elements[tag] = element
        if vr in _WORDS:
            return
        value: Any = element.value
        if not element.is_raw:
            if isinstance(value, bytes):
                pass
            elif vr in _TEXT or vr in ("UI", "OB", "UN"):
                value = "\\".join(map(str, value)) if _is_many(value) else str(value if value is not None else "")
                value = value.encode("utf-8", "surrogateescape")
            else:
                return
        if value and len(value) <= _SEARCHED_BYTES_MAX:
            self._kept.append((elements, dataset, tag, vr, bytes(value)))

    def _sequence(
        self, dataset: Dataset, elements: MutableMapping[BaseTag, _Element], tag: BaseTag, depth: int, *, as_dummy: bool
    ) -> list[Dataset]:
        items = dataset[tag].value
        if isinstance(items, bytes):
            raise CannotCleanError(f"Its sequence {tag} cannot be read, so nobody knows what it says.")
        made = [self.level(item, depth + 1, as_dummy=as_dummy) for item in items or ()]
        if tag == _REFERENCED_REQUEST:
            for item, new in zip(items, made, strict=True):
                if _REQUESTED_PROCEDURE_ID in item and _REQUESTED_PROCEDURE_ID not in new:
                    new.RequestedProcedureID = None  # type 2 there (PS3.3 C.17.2): empty where the table removes it
        elements[tag] = DataElement(tag, "SQ", Sequence(made))
        return made

    def _new_uid(
        self, dataset: Dataset, elements: MutableMapping[BaseTag, _Element], tag: BaseTag, vr: str, depth: int
    ) -> None:
        if vr == "SQ":  # X/Z/U*: kept, with new UIDs inside
            self._sequence(dataset, elements, tag, depth, as_dummy=False)
            return
        value = dataset[tag].value
        many = list(value) if _is_many(value) else ([value] if value else [])
        elements[tag] = DataElement(tag, "UI", [self.pseudonyms.uid(str(one)) for one in many] or None)
        self.actions["new UID"] += 1

    def _dummy(
        self, dataset: Dataset, elements: MutableMapping[BaseTag, _Element], tag: BaseTag, vr: str, depth: int
    ) -> None:
        if vr == "SQ":
            self._sequence(dataset, elements, tag, depth, as_dummy=True)
        elif vr == "UI":
            self._new_uid(dataset, elements, tag, vr, depth)
            return
        else:
            elements[tag] = dummy(tag, vr)
        self.actions["dummy"] += 1

    def _dummy_or_kept(
        self,
        dataset: Dataset,
        elements: MutableMapping[BaseTag, _Element],
        tag: BaseTag,
        element: _Element,
        vr: str,
        depth: int,
    ) -> None:
        """What the table does not name inside of something that only stays as a dummy: codes and numbers stay, text not."""
        if vr == "SQ":
            self._sequence(dataset, elements, tag, depth, as_dummy=True)
        elif vr in ("LO", "LT", "PN", "SH", "ST", "UC", "UT", "UR", "AE") and not _is_code(dataset, tag):
            elements[tag] = dummy(tag, vr)
            self.actions["dummy"] += 1
        else:
            self._keep(dataset, elements, tag, element, vr)

    # --- cleaning ---

    def _clean(
        self, dataset: Dataset, elements: MutableMapping[BaseTag, _Element], tag: BaseTag, vr: str, depth: int
    ) -> bool:
        """Action C by VR; False when nothing can be kept."""
        if vr == "SQ":
            made_items = self._sequence(dataset, elements, tag, depth, as_dummy=False)
            if tag == _CONTENT:
                for item in made_items:
                    clean_content_item(item, self)
        elif vr in ("DA", "DT"):
            return self._move(dataset, elements, tag, vr)
        elif vr == "TM":
            elements[tag] = dataset._dict[tag]
        elif vr in _TEXT:
            cleaned = self.clean_text(_text_of(dataset, tag))
            if cleaned is None:
                return False
            elements[tag] = DataElement(tag, vr, cleaned)
        else:
            return False
        self.actions["cleaned"] += 1
        return True

    def clean_text(self, text: str) -> str | None:
        """Without what names this patient; None when something suspicious is left, or nothing."""
        cleaned = without_identifiers(text, self.identifiers)
        return None if suspicious(cleaned) or not cleaned.replace("***", "").strip() else cleaned

    def _move(self, dataset: Dataset, elements: MutableMapping[BaseTag, _Element], tag: BaseTag, vr: str) -> bool:
        value = dataset[tag].value
        many = [str(one) for one in value] if _is_many(value) else [str(value)] if value else []
        moved = [moved_date(one, self.patient.shift_days) for one in many]
        if any(one is None for one in moved):
            return False
        elements[tag] = DataElement(tag, vr, moved or None)
        self.actions["date moved"] += 1
        return True

    def _unlisted(self, vr: str, tag: int) -> Step | None:
        """What the table does not name and is kept by the standard, but whose VR alone says too much."""
        if vr in ("DA", "DT", "TM"):
            if Option.FULL_DATES in self.options:
                return None
            return Step(Action.CLEAN) if Option.MODIFIED_DATES in self.options else Step(Action.REMOVE)
        if vr == "PN":
            return Step(Action.DUMMY)
        if vr == "UI" and Option.UIDS not in self.options and tag not in _FOREIGN_UIDS and tag in _INSTANCE_UIDS:
            return Step(Action.UID)
        return None

    def _repeating(self, dataset: Dataset, tag: int) -> Step | None:
        group = tag >> 16
        if group & 0xFF00 == 0x5000:
            return Step(Action.REMOVE) if self.steps[CURVE].action is not Action.KEEP else None
        if tag & 0xFFFF == 0x4000:
            return self.steps[OVERLAY_COMMENTS]
        step = self.steps[OVERLAY_DATA]
        kept = step.action is Action.KEEP or (
            step.action is Action.CLEAN and str(value_of(dataset, group << 16 | 0x0040) or "").strip() == "R"
        )
        if (
            not kept
        ):  # Without its data the rest of the overlay makes no sense; a region (R) is no text, graphics may be.
            return Step(Action.REMOVE)
        return Step(Action.CLEAN, Action.EMPTY) if tag & 0xFFFF in (0x0022, 0x1500) else None

    # --- private attributes ---

    def _private(
        self,
        dataset: Dataset,
        elements: MutableMapping[BaseTag, _Element],
        tag: BaseTag,
        element: _Element,
        blocks: dict[int, str],
        depth: int,
        *,
        as_dummy: bool,
    ) -> None:
        override = self.steps.get(tag)
        number = tag & 0xFFFF
        creator = blocks.get((tag >> 16) << 16 | number >> 8, "") if number >= 0x1000 else ""
        kept = bool(creator) and (creator, (tag >> 16) << 16 | number & 0xFF) in self.private
        if not kept or as_dummy or (override is not None and override.action is Action.REMOVE):
            if number >= 0x1000:
                self.actions["private removed"] += 1
            return
        vr = element.VR
        if vr in (None, "UN"):
            try:
                vr = private_dictionary_VR(tag, creator)
            except KeyError:
                raise CannotCleanError(
                    f"Nobody knows how the private attribute {tag} of {creator} is to be read."
                ) from None
        if vr == "SQ":
            self._sequence(dataset, elements, tag, depth, as_dummy=False)
        elif vr in ("DA", "DT", "TM", "PN"):
            step = self._unlisted(vr, tag)
            if step is not None:
                self._apply(dataset, elements, tag, element, vr, step, depth, as_dummy=False)
            else:
                self._keep(dataset, elements, tag, element, vr)
        else:
            self._keep(dataset, elements, tag, element, vr)
        if tag in elements:
            block = BaseTag((tag >> 16) << 16 | number >> 8)
            elements[block] = dataset._dict[block]
            self.actions["private kept"] += 1

    # --- the search at the end ---

    def search(self) -> None:
        """Look through everything that was kept for what names the patient, and take it out there."""
        pattern = byte_finder(self.identifiers)
        if pattern is None or not self._kept:
            return
        if pattern.search(b"\x01".join([one[4] for one in self._kept])) is None:
            return
        for elements, dataset, tag, vr, value in self._kept:
            if pattern.search(value) is not None:
                self._take_out(elements, dataset, tag, vr)

    def _take_out(self, elements: MutableMapping[BaseTag, _Element], dataset: Dataset, tag: BaseTag, vr: str) -> None:
        if vr in _TEXT:
            old = _text_of(dataset, tag)
            new = without_identifiers(old, self.identifiers)
            if new == old:
                return  # Short words are only looked for as whole words.
            elements[tag] = DataElement(tag, vr, new if vr != "CS" else DUMMY_TEXT)
        elif vr == "UI":
            value = dataset[tag].value
            many = list(value) if _is_many(value) else [value]
            gone = [self.pseudonyms.uid(one) if one in self.identifiers else one for one in map(str, many)]
            if gone == [str(one) for one in many]:
                return
            elements[tag] = DataElement(tag, vr, gone)
        elif vr in _NUMBERS:
            if not any(len(one) >= 6 and one in self.identifiers for one in _text_of(dataset, tag).split("\\")):
                return
            elements[tag] = DataElement(tag, vr, None)
        else:
            del elements[tag]
        self.actions["identifier taken out"] += 1


_INSTANCE_UIDS: Final = frozenset(
    tag for tag, row in DicomDictionary.items() if row[0] == "UI" and row[4].endswith(("InstanceUID", "InstanceUIDs"))
)


def _vr_of_group(tag: BaseTag) -> str | None:
    """The VR of an element of a repeating group; None for what no edition knows."""
    try:
        return dictionary_VR(tag)
    except KeyError:
        return None


def _private_blocks(dataset: Dataset) -> dict[int, str]:
    """(group << 16 | block) to the private creator that has reserved it (PS3.5 7.8.1)."""
    found = {}
    for tag in dataset._dict:
        if (tag >> 16) & 1 and 0x10 <= tag & 0xFFFF <= 0xFF:
            found[(tag >> 16) << 16 | tag & 0xFFFF] = _text_of(dataset, tag).strip()
    return found


def _is_code(dataset: Dataset, tag: int) -> bool:
    """Of a coded entry (PS3.3 8) of a public scheme: its words are the scheme's."""
    if tag not in (0x00080100, 0x00080102, 0x00080103, 0x00080104, 0x00080119, 0x00080120):
        return False
    scheme = str(value_of(dataset, "CodingSchemeDesignator") or "")
    return scheme in _PUBLIC_SCHEMES


_PUBLIC_SCHEMES: Final = frozenset(
    {"DCM", "SCT", "SRT", "SNM3", "LN", "UCUM", "RADLEX", "FMA", "NCIt", "UMLS", "ISO639_1", "ISO639_2", "ISO3166_1", "BI",
     "RADELEMENT", "I10", "ICDO3", "MSH", "ACR", "UBERON", "NEU", "DC"}
)  # fmt: skip


def _text_of(dataset: Dataset, tag: int) -> str:
    """All values of a text attribute in one, by backslashes."""
    element = dataset._dict[BaseTag(tag)]
    if isinstance(element, RawDataElement):
        element = convert_raw_data_element(element, encoding=dataset._character_set, ds=dataset)
    value = element.value
    if value is None:
        return ""
    if isinstance(value, bytes):
        return value.decode("latin_1").strip("\0 ")
    return "\\".join(map(str, value)) if _is_many(value) else str(value)


def _is_many(value: Any) -> bool:
    return hasattr(value, "__iter__") and not isinstance(value, (str, bytes)) and not hasattr(value, "components")

"""Multi-frame objects as single-frame ones, for destinations that cannot take the newer SOP classes (PS3.3 A.36, A.38, A.56).

Enhanced CT, MR and PET (also legacy converted ones) become CT, MR and PET images; multi-frame Secondary Capture becomes
Secondary Capture. Functional groups (PS3.3 C.7.6.16) are unpacked: shared ones first, those of the frame over them. The
pixels of a frame are not touched here; whoever sends the object cuts them out by its number.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag

from fileroom.core.errors import told
from fileroom.core.limits import FRAMES_MAX
from fileroom.dicom import uids
from fileroom.dicom.dictionary import tag_of, vr_of
from fileroom.pixels.header_values import BROKEN, first_item, integer, items, value_of
from fileroom.transform.changes import shallow
from fileroom.transform.derived_uids import derived_uid
from fileroom.transform.errors import CannotChangeError
from fileroom.transform.legacy_modules import MODULES

_STORAGE: Final = "1.2.840.10008.5.1.4.1.1."
_CT, _MR, _PET, _SC = _STORAGE + "2", _STORAGE + "4", _STORAGE + "128", _STORAGE + "7"
SINGLE_OF: Final[dict[str, str]] = {
    _STORAGE + "2.1": _CT,
    _STORAGE + "2.2": _CT,
    _STORAGE + "4.1": _MR,
    _STORAGE + "4.4": _MR,
    _STORAGE + "130": _PET,
    _STORAGE + "128.1": _PET,
    _STORAGE + "7.1": _SC,
    _STORAGE + "7.2": _SC,
    _STORAGE + "7.3": _SC,
    _STORAGE + "7.4": _SC,
}
"""SOP class of a multi-frame object to that of its single frames."""

_OF_THE_WHOLE: Final = frozenset(
    tag_of(keyword) or 0
    for keyword in (
        "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "NumberOfFrames", "DimensionOrganizationSequence",
        "DimensionIndexSequence", "DimensionOrganizationType", "ConcatenationUID", "InConcatenationNumber",
        "InConcatenationTotalNumber", "ConcatenationFrameOffsetNumber", "SOPInstanceUIDOfConcatenationSource",
        "RepresentativeFrameNumber", "FrameIncrementPointer", "FrameTime", "FrameTimeVector", "PageNumberVector",
        "FrameLabelVector", "FramePrimaryAngleVector", "FrameSecondaryAngleVector", "SliceLocationVector",
        "DisplayWindowLabelVector", "StartTrim", "StopTrim", "RecommendedDisplayFrameRate", "CineRate", "FrameDelay",
        "ImageTriggerDelay", "EffectiveDuration", "ActualFrameDuration", "ExtendedOffsetTable", "ExtendedOffsetTableLengths",
        "EncapsulatedPixelDataValueTotalLength", "ConversionSourceAttributesSequence", "PixelPresentation",
        "VolumetricProperties", "VolumeBasedCalculationTechnique", "ContentQualification", "ComplexImageComponent",
        "AcquisitionContrast", "IconImageSequence", "StackID",
    )
)  # fmt: skip
_NOT_UNPACKED: Final = frozenset(
    tag_of(keyword) or 0
    for keyword in (
        "ConversionSourceAttributesSequence", "ReferencedImageSequence", "DerivationImageSequence",
        "RealWorldValueMappingSequence", "FrameContentSequence",
    )
)  # fmt: skip
"""Groups that stay sequences, or mean something else in a single frame."""
_DERIVED_FROM: Final = ("121322", "DCM", "Source image for image processing operation")


@dataclass(frozen=True, slots=True)
class SingleFrame:
    """One frame as an object of its own. `index` counts from 0."""

    index: int
    dataset: Dataset


def can_be_single(sop_class_uid: str) -> bool:
    """Whether objects of the class can be converted."""
    return sop_class_uid in SINGLE_OF


def single_frames(dataset: Dataset, secret: str, scope: str) -> Iterator[SingleFrame]:
    """The frames of a multi-frame object, in order; `dataset` stays as it is.

    Raises CannotChangeError when its class has no single-frame form or it contradicts itself.
    """
    sop_class = str(value_of(dataset, "SOPClassUID") or "")
    target = SINGLE_OF.get(sop_class)
    if target is None:
        raise CannotChangeError(
            told("{kind} has no form of single frames; it can only be sent as it is.", kind=uids.uid_name(sop_class))
        )
    count = integer(dataset, "NumberOfFrames", 1)
    per_frame = items(dataset, "PerFrameFunctionalGroupsSequence")
    is_enhanced = target != _SC
    if (
        not 1 <= count <= FRAMES_MAX
        or (is_enhanced and len(per_frame) != count)
        or (per_frame and len(per_frame) != count)
    ):
        raise CannotChangeError(
            told(
                "The object says that it has {count} frames but describes {described} of them; it cannot be taken apart.",
                count=count,
                described=len(per_frame),
            )
        )
    return _frames(dataset, target, count, per_frame, secret, scope)


def _frames(
    dataset: Dataset, target: str, count: int, per_frame: list[Dataset], secret: str, scope: str
) -> Iterator[SingleFrame]:
    base = shallow(dataset)
    base._dict = {tag: one for tag, one in dataset._dict.items() if int(tag) not in _OF_THE_WHOLE}
    shared = first_item(dataset, "SharedFunctionalGroupsSequence")
    if shared is not None:
        _unpack(base, shared)
    sop = str(value_of(dataset, "SOPInstanceUID") or "")
    whole = str(value_of(dataset, "SOPInstanceUIDOfConcatenationSource") or sop)
    offset = integer(dataset, "ConcatenationFrameOffsetNumber", 0)
    series = derived_uid(secret, scope, "frames", str(value_of(dataset, "SeriesInstanceUID") or ""), whole)
    for index in range(count):
        made = shallow(base)
        groups = [one for one in (shared, per_frame[index] if per_frame else None) if one is not None]
        if per_frame:
            _unpack(made, per_frame[index])
        put(made, "SOPClassUID", target)
        put(made, "SOPInstanceUID", derived_uid(secret, scope, "frame", whole, str(offset + index + 1)))
        put(made, "SeriesInstanceUID", series)
        put(made, "InstanceNumber", str(offset + index + 1))
        MODULES[target](made, dataset, groups, offset + index)
        _note_source(made, dataset, groups, index)
        yield SingleFrame(index, made)


def _unpack(made: Dataset, groups: Dataset) -> None:
    """The attributes of the first item of each functional group, at the top level."""
    for element in _elements(groups):
        tag = int(element.tag)
        if element.VR != "SQ" or tag >> 16 & 1:
            continue
        if tag in _NOT_UNPACKED:
            if tag == tag_of("RealWorldValueMappingSequence"):
                made[tag] = element
            continue
        for item in list(element.value or ())[:1]:
            for one in _elements(item):
                if not int(one.tag) >> 16 & 1:
                    made[one.tag] = one


def _elements(level: Dataset) -> Iterator[DataElement]:
    for tag in sorted(level._dict):
        try:
            yield level[tag]
        except BROKEN:
            continue


def _note_source(made: Dataset, dataset: Dataset, groups: list[Dataset], index: int) -> None:
    """What it was a frame of (PS3.3 C.7.6.1.1.4), and what other images that frame refers to."""
    purpose = Dataset()
    purpose.CodeValue, purpose.CodingSchemeDesignator, purpose.CodeMeaning = _DERIVED_FROM
    source = Dataset()
    source.ReferencedSOPClassUID = str(value_of(dataset, "SOPClassUID") or "")
    source.ReferencedSOPInstanceUID = str(value_of(dataset, "SOPInstanceUID") or "")
    source.ReferencedFrameNumber = index + 1
    source.PurposeOfReferenceCodeSequence = [purpose]
    put(made, "SourceImageSequence", Sequence([source]))
    found: list[Dataset] = []
    for group in groups:
        found.extend(copy.deepcopy(one) for one in items(group, "ReferencedImageSequence"))
    if found:
        put(made, "ReferencedImageSequence", Sequence(found))


def put(made: Dataset, keyword: str, value: object) -> None:
    """A new element: setting the attribute could change one that another data set shares."""
    tag = tag_of(keyword) or 0
    made[BaseTag(tag)] = DataElement(tag, vr_of(tag), value)

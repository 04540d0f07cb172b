"""What a single-frame CT, MR or PET image must say (PS3.3 C.8.2.1, C.8.3.1, C.8.9) in the words of its enhanced form.

Most attributes have the same name in both and were unpacked already. Here are those with other names or units, and those
that must be there even if nobody knows their value.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from fileroom.dicom.dictionary import tag_of, vr_of
from fileroom.pixels.header_values import BROKEN, first_item, number, value_of

_STORAGE: Final = "1.2.840.10008.5.1.4.1.1."
_Module = Callable[[Dataset, Dataset, list[Dataset], int], None]
"""(the single frame, the whole object, its functional groups from shared to own, number of the frame from 0)."""


def _ct(made: Dataset, _whole: Dataset, groups: list[Dataset], _index: int) -> None:
    _frame(made, groups)
    _rename(made, "ExposureInmAs", "Exposure", whole_number=True)
    _rename(made, "XRayTubeCurrentInmA", "XRayTubeCurrent", whole_number=True)
    _rename(made, "ExposureTimeInms", "ExposureTime", whole_number=True)
    _default(made, "RescaleIntercept", "0")
    _default(made, "RescaleSlope", "1")
    _empty(made, "KVP", "AcquisitionNumber", "PatientPosition", "SliceThickness")
    _without(made, "RescaleType" if value_of(made, "RescaleType") == "US" else "")


def _mr(made: Dataset, _whole: Dataset, groups: list[Dataset], _index: int) -> None:
    _frame(made, groups)
    kind = {"SPIN": ["SE"], "GRADIENT": ["GR"], "BOTH": ["SE", "GR"]}.get(
        str(value_of(made, "EchoPulseSequence") or ""), []
    )
    if value_of(made, "InversionRecovery") == "YES":
        kind = [*kind, "IR"]
    if value_of(made, "EchoPlanarPulseSequence") == "YES":
        kind = [*kind, "EP"]
    _default(made, "ScanningSequence", kind or ["RM"])
    variants = [
        short
        for keyword, none, short in (
            ("SegmentedKSpaceTraversal", "SINGLE", "SK"),
            ("MagnetizationTransfer", "NONE", "MTC"),
            ("SteadyStatePulseSequence", "NONE", "SS"),
            ("Spoiling", "NONE", "SP"),
            ("OversamplingPhase", "NONE", "OSP"),
        )
        if value_of(made, keyword) not in (None, none)
    ]
    _default(made, "SequenceVariant", variants or ["NONE"])
    _rename(made, "EffectiveEchoTime", "EchoTime")
    _rename(made, "PulseSequenceName", "SequenceName")
    _rename(made, "TransmitterFrequency", "ImagingFrequency")
    if str(value_of(made, "InPlanePhaseEncodingDirection") or "") in ("COLUMN", "OTHER"):
        is_column = value_of(made, "InPlanePhaseEncodingDirection") == "COLUMN"
        _without(made, "InPlanePhaseEncodingDirection")
        if is_column:
            _put(made, "InPlanePhaseEncodingDirection", "COL")
    _empty(made, "ScanOptions", "EchoTime", "EchoTrainLength", "RepetitionTime", "MRAcquisitionType", "SliceThickness")
    _empty(made, "PatientPosition")
    if value_of(made, "MRAcquisitionType") not in ("2D", "3D"):
        _put(made, "MRAcquisitionType", "2D")


def _pet(made: Dataset, whole: Dataset, groups: list[Dataset], index: int) -> None:
    _frame(made, groups)
    rescale = str(value_of(made, "RescaleType") or "")
    _default(made, "Units", _units(made) or (rescale if rescale in ("CNTS", "BQML", "PROPCPS") else "CNTS"))
    _default(made, "CountsSource", "EMISSION")
    _default(made, "SeriesType", ["STATIC", "IMAGE"])
    _default(made, "CorrectedImage", _corrections(made))
    _default(made, "DecayCorrection", "START" if value_of(made, "DecayCorrected") == "YES" else "NONE")
    _default(made, "CollimatorType", "NONE")
    _default(made, "NumberOfSlices", int(number(whole, "NumberOfFrames") or 1))
    _default(made, "FrameReferenceTime", _since_start(made, whole))
    _default(made, "RescaleIntercept", "0")
    _default(made, "RescaleSlope", "1")
    _put(made, "ImageIndex", index + 1)
    duration = number(made, "FrameAcquisitionDuration")
    if duration is not None:
        _put(made, "ActualFrameDuration", str(round(duration)))
    _default(made, "ActualFrameDuration", "0")
    _empty(made, "SliceThickness", "EnergyWindowRangeSequence", "AcquisitionDate", "AcquisitionTime")
    _empty(made, "RadiopharmaceuticalInformationSequence")
    if not value_of(made, "PatientPosition"):
        _without(made, "PatientPosition")
        _empty(made, "PatientOrientationCodeSequence", "PatientGantryRelationshipCodeSequence")


def _secondary(made: Dataset, _whole: Dataset, groups: list[Dataset], _index: int) -> None:
    _frame(made, groups)
    _default(made, "ConversionType", "WSD")


MODULES: Final[Mapping[str, _Module]] = MappingProxyType(
    {_STORAGE + "2": _ct, _STORAGE + "4": _mr, _STORAGE + "128": _pet, _STORAGE + "7": _secondary}
)

# --- what all have ---


def _frame(made: Dataset, groups: list[Dataset]) -> None:
    """Frame Content (PS3.3 C.7.6.16.2.2) and Frame Type in the words of General Image."""
    frame_type = value_of(made, "FrameType")
    if frame_type is not None:
        _put(made, "ImageType", _unmixed([str(one) for one in _list(frame_type)]))
        _without(made, "FrameType")
    elif value_of(made, "ImageType") is not None:
        _put(made, "ImageType", [str(one) for one in _list(value_of(made, "ImageType"))])
    for keyword in (
        "PixelPresentation",
        "VolumetricProperties",
        "VolumeBasedCalculationTechnique",
        "ComplexImageComponent",
    ):
        _without(made, keyword)
    _without(made, "AcquisitionContrast")
    if "FrameLaterality" in made:
        side = str(value_of(made, "FrameLaterality") or "")
        _put(made, "Laterality", side if side in ("R", "L") else None)
        _without(made, "FrameLaterality")
    content = next((one for group in reversed(groups) if (one := first_item(group, "FrameContentSequence"))), None)
    if content is not None:
        _content(made, content)


def _content(made: Dataset, content: Dataset) -> None:
    acquired = str(value_of(content, "FrameAcquisitionDateTime") or "")
    if len(acquired) >= 14:
        _put(made, "AcquisitionDateTime", acquired)
        _put(made, "AcquisitionDate", acquired[:8])
        _put(made, "AcquisitionTime", acquired[8:].split("+")[0].split("-")[0])
    for theirs, ours in (
        ("FrameAcquisitionNumber", "AcquisitionNumber"),
        ("TemporalPositionIndex", "TemporalPositionIdentifier"),
        ("FrameComments", "ImageComments"),
        ("FrameAcquisitionDuration", "FrameAcquisitionDuration"),
        ("FrameReferenceDateTime", "FrameReferenceDateTime"),
        ("NominalCardiacTriggerDelayTime", "TriggerTime"),
    ):
        value = value_of(content, theirs)
        if value is not None:
            _put(made, ours, str(value) if vr_of(tag_of(ours) or 0) in ("IS", "DS", "LT", "DT") else value)


def _unmixed(image_type: list[str]) -> list[str]:
    """ORIGINAL or DERIVED, never MIXED; at least three values."""
    first = image_type[0] if image_type and image_type[0] in ("ORIGINAL", "DERIVED") else "DERIVED"
    return [first, *(image_type[1:2] or ["PRIMARY"]), *(image_type[2:3] or ["OTHER"]), *image_type[3:]]


# --- PET ---


def _units(made: Dataset) -> str:
    """Units (0054,1001) by the UCUM code of the Real World Value Mapping."""
    mapping = first_item(made, "RealWorldValueMappingSequence")
    code = first_item(mapping, "MeasurementUnitsCodeSequence") if mapping is not None else None
    found = str(value_of(code, "CodeValue") or "") if code is not None else ""
    return {"Bq/ml": "BQML", "Bq/mL": "BQML", "{counts}": "CNTS", "{counts}/s": "CPS", "g/ml{SUVbw}": "GML"}.get(
        found, ""
    )


def _corrections(made: Dataset) -> list[str]:
    return [
        short
        for keyword, short in (
            ("DecayCorrected", "DECY"),
            ("AttenuationCorrected", "ATTN"),
            ("ScatterCorrected", "SCAT"),
            ("DeadTimeCorrected", "DTIM"),
            ("GantryMotionCorrected", "MOTN"),
            ("PatientMotionCorrected", "PMOT"),
            ("RandomsCorrected", "RAN"),
            ("SensitivityCalibrated", "NORM"),
        )
        if value_of(made, keyword) == "YES"
    ]


def _since_start(made: Dataset, whole: Dataset) -> str:
    """Milliseconds from the begin of the series (or acquisition) to the reference time of the frame."""
    then = _moment(str(value_of(made, "FrameReferenceDateTime") or ""))
    start = _moment(str(value_of(whole, "AcquisitionDateTime") or ""))
    return str(max(round((then - start).total_seconds() * 1000), 0)) if then and start else "0"


def _moment(text: str) -> dt.datetime | None:
    try:
        return dt.datetime.strptime(text[:14], "%Y%m%d%H%M%S")
    except ValueError:
        return None


# --- elements ---


def _put(made: Dataset, keyword: str, value: Any) -> None:
    tag = tag_of(keyword) or 0
    made[tag] = DataElement(tag, vr_of(tag), value)


def _default(made: Dataset, keyword: str, value: Any) -> None:
    if value_of(made, keyword) in (None, [], ""):
        _put(made, keyword, value)


def _empty(made: Dataset, *keywords: str) -> None:
    for keyword in keywords:
        if keyword not in made:
            _put(made, keyword, None)


def _without(made: Dataset, keyword: str) -> None:
    if keyword and keyword in made:
        del made[keyword]


def _rename(made: Dataset, theirs: str, ours: str, *, whole_number: bool = False) -> None:
    value = value_of(made, theirs)
    if value is None:
        return
    try:
        if whole_number:
            value = str(round(float(value)))
        elif vr_of(tag_of(ours) or 0) == "DS":
            value = f"{float(value):.10g}"
        _put(made, ours, value)
    except BROKEN:
        return
    _without(made, theirs)


def _list(value: Any) -> list[Any]:
    return [value] if isinstance(value, str) or not hasattr(value, "__iter__") else list(value)

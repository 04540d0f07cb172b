"""Registered UIDs (PS3.6 annex A): the table of transfer syntaxes, storage SOP classes, the services we speak.

The names of SOP classes come from pydicom's dictionary; what later editions of the standard added is filled in below.
Media types are those of PS3.18 8.7.3 (compressed bulk data, table 8.7.3-5).
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from pydicom._uid_dict import UID_dictionary

_DICOM: Final = "1.2.840.10008."
_SYNTAX: Final = _DICOM + "1.2"
_STORAGE: Final = _DICOM + "5.1.4.1.1."

OCTET_STREAM: Final = "application/octet-stream"


class Family(enum.Enum):
    """Which kind of encoder made the pixel data."""

    NATIVE = "native"
    DEFLATED_FRAME = "deflated frame"
    RLE = "RLE"
    JPEG = "JPEG"
    JPEG_LS = "JPEG-LS"
    JPEG_2000 = "JPEG 2000"
    HTJ2K = "HTJ2K"
    JPEG_XL = "JPEG XL"
    JPIP = "JPIP"
    MPEG2 = "MPEG-2"
    MPEG4 = "MPEG-4"
    HEVC = "HEVC"
    SMPTE_2110 = "SMPTE ST 2110"
    UNKNOWN = "unknown"


VIDEO_FAMILIES: Final = frozenset({Family.MPEG2, Family.MPEG4, Family.HEVC})


@dataclass(frozen=True, slots=True)
class TransferSyntax:
    """How a data set and its pixel data are encoded (PS3.5 section 10 and annex A).

    `lossy` says that the syntax allows loss (JPEG 2000 .91 may still be reversible). `deflated` is about the whole data
    set. `encapsulated` means that Pixel Data of undefined length with fragments is used. `media_type` is what a single
    frame or the video is called when it travels alone through DICOMweb.
    """

    uid: str
    name: str
    family: Family
    explicit_vr: bool = True
    little_endian: bool = True
    deflated: bool = False
    encapsulated: bool = True
    lossy: bool = False
    media_type: str = OCTET_STREAM
    retired: bool = False

    @property
    def is_video(self) -> bool:
        """One fragment stream holds all frames."""
        return self.family in VIDEO_FAMILIES


def _native(
    uid: str, name: str, *, explicit: bool = True, little: bool = True, deflated: bool = False
) -> TransferSyntax:
    retired = not little
    return TransferSyntax(uid, name, Family.NATIVE, explicit, little, deflated, encapsulated=False, retired=retired)


def _jpeg(suffix: str, name: str, *, lossy: bool = True, retired: bool = False) -> TransferSyntax:
    uid = f"{_SYNTAX}.4.{suffix}"
    return TransferSyntax(uid, f"JPEG {name}", Family.JPEG, lossy=lossy, media_type="image/jpeg", retired=retired)


def _image(suffix: str, name: str, family: Family, media_type: str, *, lossy: bool = False) -> TransferSyntax:
    return TransferSyntax(f"{_SYNTAX}.4.{suffix}", name, family, lossy=lossy, media_type=media_type)


def _video(suffix: str, name: str, family: Family) -> TransferSyntax:
    media_type = {Family.MPEG2: "video/mpeg2", Family.MPEG4: "video/mp4", Family.HEVC: "video/H265"}[family]
    return TransferSyntax(f"{_SYNTAX}.4.{suffix}", name, family, lossy=True, media_type=media_type)


def _videos() -> tuple[TransferSyntax, ...]:
    """Every video syntax up to MPEG-4 exists twice: as one fragment, and fragmentable (`.1`)."""
    rows = [
        ("100", "MPEG2 Main Profile / Main Level", Family.MPEG2),
        ("101", "MPEG2 Main Profile / High Level", Family.MPEG2),
        ("102", "MPEG-4 AVC/H.264 High Profile / Level 4.1", Family.MPEG4),
        ("103", "MPEG-4 AVC/H.264 BD-compatible High Profile / Level 4.1", Family.MPEG4),
        ("104", "MPEG-4 AVC/H.264 High Profile / Level 4.2 For 2D Video", Family.MPEG4),
        ("105", "MPEG-4 AVC/H.264 High Profile / Level 4.2 For 3D Video", Family.MPEG4),
        ("106", "MPEG-4 AVC/H.264 Stereo High Profile / Level 4.2", Family.MPEG4),
    ]
    whole = [_video(suffix, name, family) for suffix, name, family in rows]
    parts = [_video(f"{suffix}.1", f"Fragmentable {name}", family) for suffix, name, family in rows]
    hevc = [
        _video("107", "HEVC/H.265 Main Profile / Level 5.1", Family.HEVC),
        _video("108", "HEVC/H.265 Main 10 Profile / Level 5.1", Family.HEVC),
    ]
    return (*whole, *parts, *hevc)


def _without_pixels(suffix: str, name: str, family: Family, *, deflated: bool = False) -> TransferSyntax:
    """The data set is there, its pixels come another way (JPIP server, real-time video)."""
    return TransferSyntax(f"{_SYNTAX}.{suffix}", name, family, deflated=deflated, encapsulated=False, lossy=True)


IMPLICIT_VR_LITTLE_ENDIAN: Final = _SYNTAX
EXPLICIT_VR_LITTLE_ENDIAN: Final = _SYNTAX + ".1"
ENCAPSULATED_UNCOMPRESSED: Final = _SYNTAX + ".1.98"
DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN: Final = _SYNTAX + ".1.99"
EXPLICIT_VR_BIG_ENDIAN: Final = _SYNTAX + ".2"
RLE_LOSSLESS: Final = _SYNTAX + ".5"
JPEG_BASELINE: Final = _SYNTAX + ".4.50"
JPEG_EXTENDED: Final = _SYNTAX + ".4.51"
JPEG_LOSSLESS: Final = _SYNTAX + ".4.57"
JPEG_LOSSLESS_SV1: Final = _SYNTAX + ".4.70"
JPEG_LS_LOSSLESS: Final = _SYNTAX + ".4.80"
JPEG_LS_NEAR_LOSSLESS: Final = _SYNTAX + ".4.81"
JPEG_2000_LOSSLESS: Final = _SYNTAX + ".4.90"
JPEG_2000: Final = _SYNTAX + ".4.91"
JPEG_2000_PART2_LOSSLESS: Final = _SYNTAX + ".4.92"
JPEG_2000_PART2: Final = _SYNTAX + ".4.93"
JPEG_XL_LOSSLESS: Final = _SYNTAX + ".4.110"
JPEG_XL_JPEG_RECOMPRESSION: Final = _SYNTAX + ".4.111"
JPEG_XL: Final = _SYNTAX + ".4.112"
HTJ2K_LOSSLESS: Final = _SYNTAX + ".4.201"
HTJ2K_LOSSLESS_RPCL: Final = _SYNTAX + ".4.202"
HTJ2K: Final = _SYNTAX + ".4.203"
DEFLATED_IMAGE_FRAME: Final = _SYNTAX + ".8.1"
GE_IMPLICIT_VR_BIG_ENDIAN_PIXELS: Final = "1.2.840.113619.5.2"
"""Private to GE: the data set is Implicit VR Little Endian, the words of Pixel Data are big endian."""

_ROWS: Final = (
    _native(IMPLICIT_VR_LITTLE_ENDIAN, "Implicit VR Little Endian", explicit=False),
    _native(EXPLICIT_VR_LITTLE_ENDIAN, "Explicit VR Little Endian"),
    TransferSyntax(ENCAPSULATED_UNCOMPRESSED, "Encapsulated Uncompressed Explicit VR Little Endian", Family.NATIVE),
    _native(DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, "Deflated Explicit VR Little Endian", deflated=True),
    _native(EXPLICIT_VR_BIG_ENDIAN, "Explicit VR Big Endian", little=False),
    _native(GE_IMPLICIT_VR_BIG_ENDIAN_PIXELS, "GE Implicit VR Little Endian, big endian pixels", explicit=False),
    _native(_DICOM + "1.20", "Papyrus 3 Implicit VR Little Endian", explicit=False),
    TransferSyntax(DEFLATED_IMAGE_FRAME, "Deflated Image Frame Compression", Family.DEFLATED_FRAME),
    TransferSyntax(RLE_LOSSLESS, "RLE Lossless", Family.RLE, media_type="image/dicom-rle"),
    _jpeg("50", "Baseline (Process 1)"),
    _jpeg("51", "Extended (Process 2 and 4)"),
    _jpeg("52", "Extended (Process 3 and 5)", retired=True),
    _jpeg("53", "Spectral Selection, Non-Hierarchical (Process 6 and 8)", retired=True),
    _jpeg("54", "Spectral Selection, Non-Hierarchical (Process 7 and 9)", retired=True),
    _jpeg("55", "Full Progression, Non-Hierarchical (Process 10 and 12)", retired=True),
    _jpeg("56", "Full Progression, Non-Hierarchical (Process 11 and 13)", retired=True),
    _jpeg("57", "Lossless, Non-Hierarchical (Process 14)", lossy=False),
    _jpeg("58", "Lossless, Non-Hierarchical (Process 15)", lossy=False, retired=True),
    _jpeg("59", "Extended, Hierarchical (Process 16 and 18)", retired=True),
    _jpeg("60", "Extended, Hierarchical (Process 17 and 19)", retired=True),
    _jpeg("61", "Spectral Selection, Hierarchical (Process 20 and 22)", retired=True),
    _jpeg("62", "Spectral Selection, Hierarchical (Process 21 and 23)", retired=True),
    _jpeg("63", "Full Progression, Hierarchical (Process 24 and 26)", retired=True),
    _jpeg("64", "Full Progression, Hierarchical (Process 25 and 27)", retired=True),
    _jpeg("65", "Lossless, Hierarchical (Process 28)", lossy=False, retired=True),
    _jpeg("66", "Lossless, Hierarchical (Process 29)", lossy=False, retired=True),
    _jpeg("70", "Lossless, Non-Hierarchical, First-Order Prediction (Process 14, Selection Value 1)", lossy=False),
    _image("80", "JPEG-LS Lossless", Family.JPEG_LS, "image/jls"),
    _image("81", "JPEG-LS Lossy (Near-Lossless)", Family.JPEG_LS, "image/jls", lossy=True),
    _image("90", "JPEG 2000 (Lossless Only)", Family.JPEG_2000, "image/jp2"),
    _image("91", "JPEG 2000", Family.JPEG_2000, "image/jp2", lossy=True),
    _image("92", "JPEG 2000 Part 2 Multi-component (Lossless Only)", Family.JPEG_2000, "image/jpx"),
    _image("93", "JPEG 2000 Part 2 Multi-component", Family.JPEG_2000, "image/jpx", lossy=True),
    _without_pixels("4.94", "JPIP Referenced", Family.JPIP),
    _without_pixels("4.95", "JPIP Referenced Deflate", Family.JPIP, deflated=True),
    *_videos(),
    _image("110", "JPEG XL Lossless", Family.JPEG_XL, "image/jxl"),
    _image("111", "JPEG XL JPEG Recompression", Family.JPEG_XL, "image/jxl", lossy=True),
    _image("112", "JPEG XL", Family.JPEG_XL, "image/jxl", lossy=True),
    _image("201", "High-Throughput JPEG 2000 (Lossless Only)", Family.HTJ2K, "image/jphc"),
    _image("202", "High-Throughput JPEG 2000 with RPCL Options (Lossless Only)", Family.HTJ2K, "image/jphc"),
    _image("203", "High-Throughput JPEG 2000", Family.HTJ2K, "image/jphc", lossy=True),
    _without_pixels("4.204", "JPIP HTJ2K Referenced", Family.JPIP),
    _without_pixels("4.205", "JPIP HTJ2K Referenced Deflate", Family.JPIP, deflated=True),
    _without_pixels("7.1", "SMPTE ST 2110-20 Uncompressed Progressive Active Video", Family.SMPTE_2110),
    _without_pixels("7.2", "SMPTE ST 2110-20 Uncompressed Interlaced Active Video", Family.SMPTE_2110),
    _without_pixels("7.3", "SMPTE ST 2110-30 PCM Digital Audio", Family.SMPTE_2110),
)

TRANSFER_SYNTAXES: Final[Mapping[str, TransferSyntax]] = MappingProxyType({row.uid: row for row in _ROWS})
"""Every transfer syntax that Fileroom stores, by UID."""


def transfer_syntax(uid: str) -> TransferSyntax:
    """The row of `uid`. One that is not in the table is taken as Explicit VR Little Endian with encapsulated pixels,
    which is what PS3.5 A.4 asks of every syntax that may still be registered."""
    known = TRANSFER_SYNTAXES.get(uid)
    return known or TransferSyntax(uid, f"Unknown transfer syntax {uid}", Family.UNKNOWN, lossy=True)


_LATER_STORAGE_SOP_CLASSES: Final = {
    "2.3": "CT Image Storage - For Processing",
    "2.4": "Enhanced CT Image Storage - For Processing",
    "2.5": "Legacy Converted Enhanced CT Image Storage - For Processing",
    "9.100.1": "Waveform Presentation State Storage",
    "9.100.2": "Waveform Acquisition Presentation State Storage",
    "66.7": "Label Map Segmentation Storage",
    "66.8": "Height Map Segmentation Storage",
    "601.3": "Thermography Image Storage",
    "601.4": "Thermography Multi-frame Image Storage",
    "601.5": "Ultrasound Waveform Storage",
    "12.77": "Retired storage SOP class 12.77",
    "40": "Retired storage SOP class 40",
}
"""In PS3.6 of 2026, not (or without a name) in pydicom 3.0.2."""

MEDIA_STORAGE_DIRECTORY: Final = _DICOM + "1.3.10"
"""The SOP class of a DICOMDIR; it never travels by C-STORE."""

_STORAGE_NAME: Final = re.compile(r"\bStorage\b(?! Commitment)")


def _storage_sop_classes() -> dict[str, str]:
    found = {
        uid: row[0]
        for uid, row in UID_dictionary.items()
        if row[1] == "SOP Class" and _STORAGE_NAME.search(row[0]) and uid != MEDIA_STORAGE_DIRECTORY
    }
    found.update({_STORAGE + suffix: name for suffix, name in _LATER_STORAGE_SOP_CLASSES.items()})
    return dict(sorted(found.items()))


STORAGE_SOP_CLASSES: Final[Mapping[str, str]] = MappingProxyType(_storage_sop_classes())
"""UID to name: all storage SOP classes of the standard, retired ones too."""

RETIRED_STORAGE_SOP_CLASSES: Final = frozenset(
    uid
    for uid in STORAGE_SOP_CLASSES
    if "Retired" in STORAGE_SOP_CLASSES[uid] or (uid in UID_dictionary and UID_dictionary[uid][3] == "Retired")
)


def is_storage_sop_class(uid: str) -> bool:
    """Is it a storage SOP class of the standard? Private and unknown ones are not; a setting decides about those."""
    return uid in STORAGE_SOP_CLASSES


def uid_name(uid: str) -> str:
    """The registered name of any UID, or the UID itself."""
    syntax = TRANSFER_SYNTAXES.get(uid)
    if syntax is not None:
        return syntax.name
    return STORAGE_SOP_CLASSES.get(uid) or (UID_dictionary[uid][0] if uid in UID_dictionary else uid)


# --- often named storage SOP classes ---
CT_IMAGE_STORAGE: Final = _STORAGE + "2"
MR_IMAGE_STORAGE: Final = _STORAGE + "4"
CR_IMAGE_STORAGE: Final = _STORAGE + "1"
SECONDARY_CAPTURE_IMAGE_STORAGE: Final = _STORAGE + "7"
ULTRASOUND_MULTI_FRAME_IMAGE_STORAGE: Final = _STORAGE + "3.1"
GRAYSCALE_PRESENTATION_STATE_STORAGE: Final = _STORAGE + "11.1"
ENCAPSULATED_PDF_STORAGE: Final = _STORAGE + "104.1"

# --- services ---
APPLICATION_CONTEXT: Final = _DICOM + "3.1.1.1"
VERIFICATION: Final = _DICOM + "1.1"
STORAGE_COMMITMENT_PUSH: Final = _DICOM + "1.20.1"
STORAGE_COMMITMENT_PUSH_INSTANCE: Final = _DICOM + "1.20.1.1"
PATIENT_ROOT_FIND: Final = _DICOM + "5.1.4.1.2.1.1"
PATIENT_ROOT_MOVE: Final = _DICOM + "5.1.4.1.2.1.2"
PATIENT_ROOT_GET: Final = _DICOM + "5.1.4.1.2.1.3"
STUDY_ROOT_FIND: Final = _DICOM + "5.1.4.1.2.2.1"
STUDY_ROOT_MOVE: Final = _DICOM + "5.1.4.1.2.2.2"
STUDY_ROOT_GET: Final = _DICOM + "5.1.4.1.2.2.3"
PATIENT_STUDY_ONLY_FIND: Final = _DICOM + "5.1.4.1.2.3.1"
PATIENT_STUDY_ONLY_MOVE: Final = _DICOM + "5.1.4.1.2.3.2"
PATIENT_STUDY_ONLY_GET: Final = _DICOM + "5.1.4.1.2.3.3"
COMPOSITE_INSTANCE_ROOT_MOVE: Final = _DICOM + "5.1.4.1.2.4.2"
COMPOSITE_INSTANCE_ROOT_GET: Final = _DICOM + "5.1.4.1.2.4.3"
COMPOSITE_INSTANCE_WITHOUT_BULK_DATA_GET: Final = _DICOM + "5.1.4.1.2.5.3"
MODALITY_WORKLIST_FIND: Final = _DICOM + "5.1.4.31"
MODALITY_PERFORMED_PROCEDURE_STEP: Final = _DICOM + "3.1.2.3.3"
MODALITY_PERFORMED_PROCEDURE_STEP_RETRIEVE: Final = _DICOM + "3.1.2.3.4"
INSTANCE_AVAILABILITY_NOTIFICATION: Final = _DICOM + "5.1.4.33"
UPS_PUSH: Final = _DICOM + "5.1.4.34.6.1"
UPS_WATCH: Final = _DICOM + "5.1.4.34.6.2"
UPS_PULL: Final = _DICOM + "5.1.4.34.6.3"
UPS_EVENT: Final = _DICOM + "5.1.4.34.6.4"
UPS_QUERY: Final = _DICOM + "5.1.4.34.6.5"

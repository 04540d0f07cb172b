"""From a scanned header to the row of an instance: the attributes of its four levels as JSON for `store_instances`.

The index keeps clean text: decoded by the object's character set, control characters gone, long values cut. The object
itself keeps every byte as received.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from fileroom.core.limits import SEARCHED_TEXT_CHARS_MAX, TEXT_CHARS_MAX
from fileroom.dicom import uids
from fileroom.dicom.charset import clean, decode_text
from fileroom.dicom.header_scan import ScannedHeader
from fileroom.dicom.json_model import items_to_json
from fileroom.dicom.matching import normalize_date, normalize_name, normalize_time
from fileroom.dicom.normal_forms import fold_text
from fileroom.dicom.query import Level
from fileroom.index.attributes import ATTRIBUTES, BY_KEYWORD, Attribute, Kind, name_key_column, other_name_keys_column
from fileroom.index.write import InstanceRow

Entry = dict[str, dict[str, object]]

_PATIENT_ID: Final = BY_KEYWORD["PatientID"].tag
_ISSUER: Final = BY_KEYWORD["IssuerOfPatientID"].tag
_STUDY_UID: Final = BY_KEYWORD["StudyInstanceUID"].tag
_SERIES_UID: Final = BY_KEYWORD["SeriesInstanceUID"].tag
_LEVEL_NAMES: Final = {
    Level.PATIENT: "patient",
    Level.STUDY: "study",
    Level.SERIES: "series",
    Level.INSTANCE: "instance",
}


@dataclass(frozen=True, slots=True)
class StoredFacts:
    """What is known of the stored object besides its header. `digest` is the SHA-256 of the data set."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    storage_key: str
    file_bytes: int
    dataset_offset: int
    pixel_offset: int | None
    digest: bytes
    received_by: str
    sender: str
    received_at: dt.datetime | None = None
    """None: now, by the database's clock."""
    brought_by: str = ""
    """Whose own upload a study is that begins with this object (`core.access.Access.uploader`)."""


def build_row(
    header: ScannedHeader,
    facts: StoredFacts,
    study_instance_uid: str,
    series_instance_uid: str,
    deliveries: Sequence[Sequence[object]] = (),
) -> InstanceRow:
    """The row of one instance. The UIDs are validated ones; those of the header may have padding, or be absent.

    `deliveries` are written with it, each as `archive.arrivals.PlannedDelivery` has its values.
    """
    entry = attribute_columns(header)
    entry["study"]["study_instance_uid"] = study_instance_uid
    entry["series"]["series_instance_uid"] = series_instance_uid
    entry["instance"].update(
        sop_class_uid=facts.sop_class_uid,
        sop_instance_uid=facts.sop_instance_uid,
        transfer_syntax_uid=facts.transfer_syntax_uid,
        storage_key=facts.storage_key,
        file_bytes=facts.file_bytes,
        dataset_offset=facts.dataset_offset,
        pixel_offset=facts.pixel_offset,
        digest=facts.digest.hex(),
        received_by=facts.received_by,
        sender=facts.sender,
        received_at=facts.received_at,
    )
    whole: dict[str, object] = {
        "identity": patient_identity_of(header, study_instance_uid),
        "brought_by": facts.brought_by,
        **entry,
    }
    if deliveries:
        whole["deliveries"] = [list(one) for one in deliveries]
    return InstanceRow(
        study_instance_uid,
        series_instance_uid,
        facts.sop_instance_uid,
        orjson.dumps(whole),
        str(entry["series"].get("modality") or ""),
    )


def attribute_columns(header: ScannedHeader) -> Entry:
    """The columns that a header (scanned for SCANNED_TAGS) fills, by level: patient, study, series, instance."""
    entry: Entry = {"patient": {}, "study": {}, "series": {}, "instance": {}}
    for tag, raw in header.values.items():
        plan = _PLANS.get(tag)
        if plan is not None and raw:
            plan.put(entry[plan.level], header, plan.attribute, raw)
    return entry


def patient_identity_of(header: ScannedHeader, study_instance_uid: str) -> str:
    """`patient_identity` from a header."""
    return patient_identity(header.text(_PATIENT_ID), header.text(_ISSUER), study_instance_uid)


def patient_identity(patient_id: str, issuer: str, study_instance_uid: str) -> str:
    """The key of a patient: Patient ID and its issuer; without a Patient ID every study has a patient of its own."""
    if not patient_id:
        return f"study:{study_instance_uid}"
    identity = f"id:{patient_id}|{issuer}"
    if len(identity) <= SEARCHED_TEXT_CHARS_MAX:
        return identity
    return f"sha256:{hashlib.sha256(identity.encode()).hexdigest()}"


def study_and_series_uids(header: ScannedHeader, sop_class_uid: str, sop_instance_uid: str) -> tuple[str, str]:
    """The Study and Series Instance UIDs, empty when absent.

    Objects without a patient (hanging protocols, color palettes, implant templates: PS3.4 GG) have neither; they are
    filed under UIDs made from their own.
    """
    study, series = header.text(_STUDY_UID), header.text(_SERIES_UID)
    if not study and sop_class_uid in _NON_PATIENT_SOP_CLASSES:
        return _derived_uid("study", sop_instance_uid), _derived_uid("series", sop_instance_uid)
    return study, series


_NON_PATIENT_NAMES: Final = (
    "Hanging Protocol",
    "Color Palette",
    "Generic Implant",
    "Implant",
    "CT Defined Procedure Protocol",
    "XA Defined Procedure Protocol",
    "Protocol Approval",
    "Inventory",
    "Template",
    "Stored Print",
)
_NON_PATIENT_SOP_CLASSES: Final = frozenset(
    uid for uid, name in uids.STORAGE_SOP_CLASSES.items() if name.startswith(_NON_PATIENT_NAMES)
)


def _derived_uid(kind: str, uid: str) -> str:
    return f"2.25.{int.from_bytes(hashlib.sha256(f'{kind}:{uid}'.encode()).digest()[:16], 'big')}"


# --- one function per kind of value ---

_Put = Callable[[dict[str, object], ScannedHeader, Attribute, bytes], None]


def _text(header: ScannedHeader, attribute: Attribute, raw: bytes) -> str | None:
    chars_max = SEARCHED_TEXT_CHARS_MAX if _is_indexed_whole(attribute) else TEXT_CHARS_MAX
    if raw.isascii() and not header.charset.extended:
        text = raw.decode("ascii").strip(" \0")
        if text.isprintable():
            return text[:chars_max] or None
    return clean(decode_text(raw, header.charset))[:chars_max] or None


def _is_indexed_whole(attribute: Attribute) -> bool:
    """Its values are entries of an index of the database. (Of names the normal forms are; of modalities the study's list.)"""
    if attribute.kind in (Kind.DATE, Kind.TIME) or attribute.keyword == "Modality":
        return True
    return attribute.searchable and attribute.kind is not Kind.NAME


def _put_text(columns: dict[str, object], header: ScannedHeader, attribute: Attribute, raw: bytes) -> None:
    text = _text(header, attribute, raw)
    if text and "\\" in text and attribute.multi_valued:  # some devices pad each value
        text = "\\".join(value.strip() for value in text.split("\\"))
    columns[attribute.column] = text


def _put_folded(columns: dict[str, object], header: ScannedHeader, attribute: Attribute, raw: bytes) -> None:
    _put_text(columns, header, attribute, raw)
    text = columns[attribute.column]
    if text:
        columns[name_key_column(attribute)] = folded(str(text))


def folded(text: str) -> str:
    """As the columns of folded texts hold it, which an index must be able to take."""
    return fold_text(text)[:SEARCHED_TEXT_CHARS_MAX]


def _put_name(columns: dict[str, object], header: ScannedHeader, attribute: Attribute, raw: bytes) -> None:
    text = _text(header, attribute, raw)
    columns[attribute.column] = text
    if text:
        key, others = name_keys(text)
        columns[name_key_column(attribute)] = key[:SEARCHED_TEXT_CHARS_MAX] if attribute.searchable else key
        if others:
            columns[other_name_keys_column(attribute)] = others


def name_keys(text: str) -> tuple[str, str | None]:
    r"""(normal form of the first component group, `=ideographic=phonetic=` or None where the name has neither).

    Several names (`A\B`) keep the backslash between them in both.
    """
    names = [normalize_name(name).split("=") for name in text.split("\\")]
    first = "\\".join(groups[0] for groups in names)
    if all(len(groups) == 1 for groups in names):
        return first, None
    return first, "\\".join(f"={'='.join(groups[1:])}=" if len(groups) > 1 else "" for groups in names)


def _put_date(columns: dict[str, object], header: ScannedHeader, attribute: Attribute, raw: bytes) -> None:
    text = _text(header, attribute, raw)
    columns[attribute.column] = text if text is None or len(text) == 8 else normalize_date(text) or text


def _put_time(columns: dict[str, object], header: ScannedHeader, attribute: Attribute, raw: bytes) -> None:
    text = _text(header, attribute, raw)
    columns[attribute.column] = text if text is None or text.isdecimal() else normalize_time(text) or text


def _put_integer(columns: dict[str, object], header: ScannedHeader, attribute: Attribute, _raw: bytes) -> None:
    number = header.integer(attribute.tag, attribute.vr)
    columns[attribute.column] = number if number is not None and abs(number) < 2**63 else None


def _put_sequence(columns: dict[str, object], header: ScannedHeader, attribute: Attribute, raw: bytes) -> None:
    columns[attribute.column] = items_to_json(raw, header.encoding, header.vrs.get(attribute.tag), header.charset)


@dataclass(frozen=True, slots=True)
class _Plan:
    attribute: Attribute
    level: str
    put: _Put


_PUT_BY_KIND: Final[dict[Kind, _Put]] = {
    Kind.TEXT: _put_text,
    Kind.UID: _put_text,
    Kind.NAME: _put_name,
    Kind.DATE: _put_date,
    Kind.TIME: _put_time,
    Kind.INTEGER: _put_integer,
    Kind.SEQUENCE: _put_sequence,
}
_PLANS: Final = {
    a.tag: _Plan(a, _LEVEL_NAMES[a.level], _put_folded if a.folded else _PUT_BY_KIND[a.kind])
    for a in ATTRIBUTES
    if a.kind is not Kind.COMPUTED
}

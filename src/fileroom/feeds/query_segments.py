"""Patients as an answer to a query tells them: PID and PV1 (HL7 v2.5.1 3.4), numbers with their domains."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from fileroom.dicom.charset import clean
from fileroom.feeds.mapping_fields import Mapping
from fileroom.feeds.reading import named_authority
from fileroom.hl7.build import Value
from fileroom.hl7.values import xcn, xpn
from fileroom.worklist.facts import Identifier
from fileroom.worklist.identifiers import RECORD_KINDS
from fileroom.worklist.patient_query import PatientFound, VisitFound

_OID: Final = re.compile(r"[0-2](\.(0|[1-9]\d*))+")


@dataclass(frozen=True, slots=True)
class Domain:
    """Who assigns numbers: as it is called here, and as the sender writes it (HD: namespace, universal ID, its type)."""

    authority: str
    written: tuple[str, ...]


def domain_of(parts: tuple[str, ...], mapping: Mapping) -> Domain:
    """An HD of a question; `authority` is empty where it names nobody."""
    namespace, universal, kind = (clean(one).strip() for one in parts)
    return Domain(named_authority(mapping, namespace, universal, kind), (namespace, universal, kind))


def patient_segments(
    one: PatientFound, number: int, domains: Sequence[Domain], *, with_visit: bool, is_candidate: bool = True
) -> list[tuple[str, dict[int, Value]]]:
    """PID, PV1 where the answer has one, and QRI of a candidate: it is what was asked for, surely.

    `domains`: whose numbers are told, all where it is empty. A domain without a number of the patient is told so (ITI-21).
    """
    numbers = [one_of for one_of in one.identifiers if not domains]
    cells: list[str | tuple[str | tuple[str, ...], ...] | None] = [_cx(each, ()) for each in numbers]
    for domain in domains:
        mine = [each for each in one.identifiers if each.authority == domain.authority]
        cells += [_cx(each, domains) for each in mine] or [("", "", "", _written(domain.authority, domains))]
    names = [_name(one.patient_name, "L"), *(_name(each, "A") for each in one.other_names[:10])]
    pid: dict[int, Value] = {
        1: str(number),
        3: list(cells),
        5: [each for each in names if each] or None,
        7: one.birth_date,
        8: one.sex,
        11: ((one.details["PatientAddress"],),) if one.details.get("PatientAddress") else None,
        13: one.details.get("PatientTelephoneNumbers"),
    }
    segments = [("PID", pid)]
    if with_visit:
        segments.append(("PV1", _pv1(one.visit)))
    if is_candidate:
        segments.append(("QRI", {1: "1"}))
    return segments


def reference_segment(others: Sequence[Identifier], domains: Sequence[Domain]) -> tuple[str, dict[int, Value]]:
    """PID of an answer to a PIX query: numbers alone, the name is not told (ITI-9 3.9.4.2.2.6)."""
    return "PID", {3: [_cx(one, domains) for one in others], 5: [None, ("", "", "", "", "", "", "S")]}


def _cx(one: Identifier, domains: Sequence[Domain]) -> tuple[str | tuple[str, ...], ...]:
    kind = "MR" if one.kind in RECORD_KINDS and one.kind == "" else one.kind
    return (one.value, "", "", _written(one.authority, domains), kind)


def _written(authority: str, domains: Sequence[Domain]) -> tuple[str, ...]:
    """An authority as HD: as the sender has written it, else by its name here."""
    for domain in domains:
        if domain.authority == authority:
            return domain.written
    return ("", authority, "ISO") if _OID.fullmatch(authority) else (authority,)


def _name(name: str, kind: str) -> tuple[str, ...] | None:
    """XPN of the alphabetic group, with its type."""
    parts = xpn(name.split("=")[0])
    texts = tuple(part if isinstance(part, str) else "" for part in parts)
    if not any(texts):
        return None
    return (*texts, *("",) * (6 - len(texts)), kind)


def _pv1(visit: VisitFound | None) -> dict[int, Value]:
    if visit is None:
        return {1: "1", 2: "N"}
    return {
        1: "1",
        2: visit.patient_class or "U",
        3: (visit.location, "", "", visit.institution),
        7: _person(visit.attending),
        8: _person(visit.referring),
        19: (visit.number, "", "", _written(visit.authority, ())) if visit.number else None,
        44: visit.admitted_at,
        45: visit.discharged_at,
    }


def _person(name: str) -> Value:
    return tuple(xcn(name)) if name else None

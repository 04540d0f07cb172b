"""What an HL7 message is found by in the inbox: identifiers of patients and orders, accession numbers, every word.

Pure: the message and what it asks for come in. Nothing here raises for odd content; a message that cannot be read in part is
found by the rest.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from fileroom.feeds.changes import Change
from fileroom.hl7.message import Message
from fileroom.reports.facts import PutReport
from fileroom.worklist.changes import (
    ChangeIdentifier,
    LinkPatients,
    MergePatients,
    MoveVisit,
    Nothing,
    PutOrder,
    PutPatient,
    RemoveVisit,
    UnmergePatients,
)
from fileroom.worklist.facts import Identifier, PatientFacts

WORDS_MAX: Final = 1000
"""A message of an order has some hundred words; a report of ten pages has most of its vocabulary in so many."""
WORD_CHARS_MAX: Final = 60
"""What is longer is no word but an encoded document."""
TEXT_CHARS_MAX: Final = 200_000
"""How far a message is looked through for words."""
NUMBERS_MAX: Final = 50
NUMBER_CHARS_MAX: Final = 200
_WORD: Final = re.compile(r"[^\W_](?:[\w.\-/@]*[^\W_])?")


_INNER: Final = re.compile(r"[\W_]+")
"""Within a word: Lüdenscheid is found in Müller-Lüdenscheid."""


@dataclass(frozen=True, slots=True)
class FoundBy:
    """Each list without repetition, cut at its maximum; the words are case folded."""

    patient_ids: list[str]
    accession_numbers: list[str]
    order_numbers: list[str]
    words: list[str]


def found_by(message: Message, changes: Sequence[Change]) -> FoundBy:
    """What the message is found by."""
    patients: list[str] = []
    orders: list[str] = []
    accessions: list[str] = []
    for change in changes:
        patients += (one.value for one in _patients(change))
        if isinstance(change, PutOrder):
            order = change.order
            orders += (one.value for one in (order.placer, order.filler) if one is not None)
            if order.accession is not None:
                accessions.append(order.accession.value)
        elif isinstance(change, PutReport):
            orders += [change.number, *(one.value for one in (change.placer, change.filler) if one is not None)]
            if change.accession is not None:
                accessions.append(change.accession.value)
    patients += (message.get(path) for path in ("PID-2.1", "PID-3.1", "MRG-1.1"))
    orders += (message.get(path) for path in ("ORC-2.1", "ORC-3.1", "OBR-2.1", "OBR-3.1"))
    accessions += (message.get(path) for path in ("OBR-18.1", "IPC-1.1"))
    return FoundBy(_numbers(patients), _numbers(accessions), _numbers(orders), words_of(message.text))


def words_of(text: str) -> list[str]:
    """The words of a text, case folded, each once, in the order of their first place."""
    found: dict[str, None] = {}
    for match in _WORD.finditer(text[:TEXT_CHARS_MAX]):
        word = match.group().casefold()
        if len(word) > WORD_CHARS_MAX:
            continue
        found[word] = None
        if not word.isalnum():
            found.update(dict.fromkeys(_INNER.split(word)))
        if len(found) >= WORDS_MAX:
            break
    found.pop("", None)
    return list(found)


# --- helpers ---


def _patients(change: Change) -> Iterable[Identifier]:
    match change:
        case PutPatient(patient=patient) | ChangeIdentifier(patient=patient) | RemoveVisit(patient=patient):
            yield from patient.identifiers
        case MergePatients(survivor=survivor, retired=retired):
            yield from (*survivor.identifiers, retired)
        case UnmergePatients(one=one, other=other):
            yield from (one, other)
        case LinkPatients(one=first, other=second):
            yield from (*first.identifiers, *second.identifiers)
        case MoveVisit(source=source, target=target):
            yield from (source, *target.identifiers)
        case PutOrder(patient=PatientFacts() as patient) | PutReport(patient=PatientFacts() as patient):
            yield from patient.identifiers
        case PutOrder() | PutReport() | Nothing():
            pass
    if isinstance(change, ChangeIdentifier):
        yield from (change.old, change.new)


def _numbers(values: Iterable[str]) -> list[str]:
    kept = dict.fromkeys(one.replace("\x00", "")[:NUMBER_CHARS_MAX] for one in values if one)
    return list(itertools.islice((one for one in kept if one), NUMBERS_MAX))

"""A message and a mapping to what the message asks for. Pure: nothing is looked up, nothing is written.

Patients and visits (ADT) are read by `read_adt`, orders (ORM, OMG, OMI) by `read_orders`, appointments (SIU) by
`read_schedule`, reports (ORU, MDM) by `read_reports`. Whatever else comes is kept in the inbox and asks for nothing.
"""

from __future__ import annotations

from typing import Final

from fileroom.core.errors import told
from fileroom.dicom.charset import clean
from fileroom.feeds.changes import Change
from fileroom.feeds.mapping_fields import Mapping
from fileroom.feeds.paths import Scope
from fileroom.feeds.read_adt import read_adt
from fileroom.feeds.read_orders import read_orders
from fileroom.feeds.read_reports import REPORT_TYPES, read_reports
from fileroom.feeds.read_schedule import read_schedule
from fileroom.feeds.reading import Reader, Reading
from fileroom.hl7.message import Message
from fileroom.worklist.changes import Nothing

KIND_CHARS_MAX: Final = 20
"""Of a kind: ORM^O01^ORM_O01 has fifteen."""
ORDER_TYPES: Final = ("ORM", "OMG", "OMI")
_RESULTS: Final = ("OUL", "OPU")
_QUERIES: Final = ("QRY", "QBP", "QCN", "QSB", "QVR")
_ANSWERS: Final = ("ACK", "ORR", "ORI", "ORG", "RSP", "ADR", "MCF", "SRR")


def read_changes(message: Message, mapping: Mapping) -> list[Change]:
    """What the message asks for, in order; one `Nothing` at least. Raises InvalidRequestError where it cannot be meant."""
    reading = Reading(is_traced=False)
    read_into(reading, message, mapping)
    return reading.changes


def read_into(reading: Reading, message: Message, mapping: Mapping) -> None:
    """Read, keeping what has been found when something cannot be meant. Raises InvalidRequestError."""
    structure, event = kind_of(message, mapping)
    if is_ignored(message, mapping):
        reading.changes = [Nothing(told("The feed ignores {kind}.", kind=shown_kind(message)))]
        return
    reader = Reader(message, mapping, Scope(message.segments), reading)
    if structure == "ADT":
        reading.changes = [*read_adt(reader, event, message.segments)]
    elif structure in ORDER_TYPES:
        reading.changes = [*read_orders(reader, message.segments)]
    elif structure == "SIU":
        reading.changes = [*read_schedule(reader, event, message.segments)]
    elif structure in REPORT_TYPES:
        reading.changes = read_reports(reader, structure, event, message.segments)
    else:
        reading.changes = [Nothing(_why_not(structure, shown_kind(message)))]


def kind_of(message: Message, mapping: Mapping) -> tuple[str, str]:
    """The message type and the event that it is read as: MSH-9, else EVN-1, else the structure of MSH-9.3."""
    structure, event = _said_kind(message)
    return structure, (mapping.events or {}).get(f"{structure}^{event}", event)


def is_ignored(message: Message, mapping: Mapping) -> bool:
    """Whether the mapping says that messages of this kind ask for nothing."""
    structure, event = _said_kind(message)
    return bool(mapping.ignored & {"*", f"{structure}^*", f"{structure}^{event}"})


def shown_kind(message: Message) -> str:
    """The kind as its sender writes it, fit to be shown and kept."""
    return clean(message.kind)[:KIND_CHARS_MAX]


def _said_kind(message: Message) -> tuple[str, str]:
    structure, event, evn, whole = (
        clean(message.get(path)).upper()[:KIND_CHARS_MAX] for path in ("MSH-9.1", "MSH-9.2", "EVN-1", "MSH-9.3")
    )
    return structure, event or evn or whole.partition("_")[2]


def _why_not(structure: str, kind: str) -> str:
    if structure in _RESULTS:
        return told("Results of laboratories ({kind}) are not read: the message is kept, nothing was done.", kind=kind)
    if structure in _QUERIES:
        return told("{kind} asks for an answer, and for nothing to be changed.", kind=kind)
    if structure in _ANSWERS:
        return told("{kind} is an answer and asks for nothing.", kind=kind)
    return told("{kind} is not read: the message is kept, nothing was done.", kind=kind or "-")

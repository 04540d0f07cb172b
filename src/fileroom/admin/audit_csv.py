"""Audit records as lines of CSV (RFC 4180), for spreadsheets: one event a line, with its plain sentence."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import Final

from fileroom.admin.audit_search import AuditRecord
from fileroom.admin.audit_sentences import sentence_of

COLUMNS: Final = (
    "id",
    "time",
    "person",
    "kind_of_actor",
    "address",
    "event",
    "event_type",
    "action",
    "outcome",
    "patient_ids",
    "study_uids",
    "sentence",
    "details",
)
_FORMULA: Final = frozenset("=+-@\t\r")
"""A spreadsheet takes a cell that begins so for a formula, whoever wrote it: a login, a patient's ID."""


def csv_head() -> bytes:
    """The line of names, behind the mark by which spreadsheets know UTF-8."""
    return b"\xef\xbb\xbf" + _line(COLUMNS)


def to_csv_line(record: AuditRecord, translate: Callable[[str], str] = str) -> bytes:
    """One event, with the end of the line."""
    kinds = ", ".join(code.meaning for code in record.message.types)
    return _line(
        (
            str(record.id),
            record.occurred_at.astimezone().isoformat(timespec="milliseconds"),
            record.actor,
            record.actor_kind,
            record.address,
            record.message.event.meaning,
            kinds,
            record.action,
            str(record.outcome),
            " ".join(record.patient_ids),
            " ".join(record.study_uids),
            sentence_of(record).say(translate),
            record.what,
        )
    )


def _line(cells: tuple[str, ...]) -> bytes:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerow([_harmless(cell) for cell in cells])
    return out.getvalue().encode()


def _harmless(cell: str) -> str:
    return "'" + cell if cell[:1] in _FORMULA else cell

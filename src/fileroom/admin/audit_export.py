"""The audit trail as a file: JSON lines, the XML messages of PS3.15 A.5.1, or CSV, in pieces that need little memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Final

from fileroom.admin.audit_csv import csv_head, to_csv_line
from fileroom.admin.audit_search import AuditQuery, AuditRecord, read_all
from fileroom.admin.audit_xml import AuditSource, to_json_line, to_xml
from fileroom.core.errors import InvalidRequestError, told
from fileroom.db.pool import Pool

FORMATS: Final = ("csv", "xml", "jsonl")
PIECE_EVENTS: Final = 200
"""About 200 KiB."""


async def export_pieces(
    pool: Pool, query: AuditQuery, form: str, source: AuditSource, translate: Callable[[str], str] = str
) -> AsyncIterator[tuple[bytes, int]]:
    """Pieces of the file with the number of events in each, the latest event first. XML is one message a line.

    Raises InvalidRequestError for another form, NotAllowedError and DatabaseError, at the first piece.
    """
    lines: dict[str, Callable[[AuditRecord], bytes]] = {
        "csv": lambda record: to_csv_line(record, translate),
        "xml": lambda record: to_xml(record, source) + b"\n",
        "jsonl": lambda record: to_json_line(record) + b"\n",
    }
    if form not in lines:
        raise InvalidRequestError(
            told("There is no format {form}; choose {formats}.", form=repr(form[:40]), formats=", ".join(FORMATS))
        )
    line = lines[form]
    waiting = [csv_head()] if form == "csv" else []
    count = 0
    async for record in read_all(pool, query, purpose=f"export as {form}"):
        waiting.append(line(record))
        count += 1
        if count >= PIECE_EVENTS:
            yield b"".join(waiting), count
            waiting, count = [], 0
    yield b"".join(waiting), count

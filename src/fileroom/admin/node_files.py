"""Nodes as files: JSON and CSV (RFC 4180), there and back. Values in, values out; `admin.node_import` brings them in.

Other systems' lists are read too where their columns say clearly what they are: "AE Title", "IP Address", "Port Number".
Text that a spreadsheet would take for a formula is written with an apostrophe before it, and read without.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fileroom.admin.node_fields import FIELDS, NODES_MAX, Node, to_fields
from fileroom.core.errors import InvalidRequestError, told
from fileroom.core.limits import MIB

FILE_BYTES_MAX: Final = 4 * MIB
"""A list of all nodes of the largest hospital groups has one or two."""
_CELL_CHARS_MAX: Final = 10_000
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
_DELIMITERS: Final = ",;\t|"

COLUMNS: Final[dict[str, tuple[str, ...]]] = {
    "name": (
        "name",
        "nodename",
        "alias",
        "station",
        "stationname",
        "displayname",
        "devicename",
        "symbolicname",
        "label",
    ),
    "aet": ("aet", "aetitle", "ae", "applicationentity", "applicationentitytitle", "dicomaet", "dicomaetitle", "title"),
    "host": ("host", "hostname", "ip", "ipaddress", "address", "ipaddr", "networkaddress", "hostorip", "server"),
    "port": ("port", "portnumber", "portno", "tcpport", "dicomport", "listenport"),
    "description": ("description", "desc", "manufacturer", "model"),
    "location": ("location", "room", "department", "site", "institution"),
    "comment": ("comment", "comments", "note", "notes", "remark", "remarks"),
    "enabled": ("enabled", "active"),
    "own_aet": ("ownaet", "callingaet", "callingaetitle", "localaet", "localaetitle"),
}
"""What other systems call our fields: letters and digits of a column's title, in lower case."""


@dataclass(frozen=True, slots=True)
class NodeEntry:
    """One node of a file: its fields as texts, and where it stands there, for messages."""

    line: int
    texts: Mapping[str, str]


def nodes_to_json(nodes: Iterable[Node]) -> str:
    """The nodes as a JSON document."""
    return json.dumps({"nodes": [to_fields(node) for node in nodes]}, indent=2, ensure_ascii=False) + "\n"


def nodes_to_csv(nodes: Iterable[Node]) -> str:
    """The nodes as CSV with a line of titles; entries of lists are apart by blanks."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(FIELDS)
    for node in nodes:
        writer.writerow([_guarded(_text(value)) for value in to_fields(node).values()])
    return out.getvalue()


def read_entries(text: str) -> list[NodeEntry]:
    """The nodes of a file, JSON or CSV. Raises InvalidRequestError with the line."""
    if len(text.encode("utf-8", "replace")) > FILE_BYTES_MAX:
        raise InvalidRequestError(told("The file has more than {most} bytes.", most=FILE_BYTES_MAX))
    text = text.lstrip("\ufeff")
    entries = _read_json(text) if text.lstrip()[:1] in ("{", "[") else _read_csv(text)
    if not entries:
        raise InvalidRequestError(told("There is no node in the file."))
    if len(entries) > NODES_MAX:
        raise InvalidRequestError(told("The file has more than {most} nodes.", most=NODES_MAX))
    return entries


# --- JSON ---


def _read_json(text: str) -> list[NodeEntry]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        where = f"line {error.lineno}: {error.msg}" if isinstance(error, json.JSONDecodeError) else "nested too deeply"
        raise InvalidRequestError(told("The file is no JSON: {where}.", where=where)) from error
    if isinstance(document, dict) and isinstance(document.get("nodes"), list):
        document = document["nodes"]
    if isinstance(document, dict):
        document = [_named(name, value) for name, value in document.items()]
    entries: list[NodeEntry] = []
    for number, item in enumerate(document, start=1):
        if not isinstance(item, dict):
            raise InvalidRequestError(told("Node {number} of the file is no JSON object.", number=number))
        texts = {_field(key) or key: _text(value) for key, value in item.items() if value is not None}
        entries.append(NodeEntry(number, {field: value for field, value in texts.items() if field in FIELDS}))
    return entries


def _named(name: str, value: Any) -> Any:
    """An entry of an object by names: `{"CT1": {...}}`, or `{"CT1": ["AET", "host", 104]}`."""
    if isinstance(value, list) and len(value) >= 3:
        return {"name": name, "aet": value[0], "host": value[1], "port": value[2]}
    return {"name": name, **value} if isinstance(value, dict) else value


# --- CSV ---


def _read_csv(text: str) -> list[NodeEntry]:
    first = text.lstrip("\r\n").partition("\n")[0]
    delimiter = max(_DELIMITERS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    entries: list[NodeEntry] = []
    fields: Sequence[str | None] | None = None
    try:
        for row in reader:
            if not any(cell.strip() for cell in row):
                continue
            if fields is None:
                fields = _fields_of(row)
                continue
            if len(row) > len(fields):
                raise InvalidRequestError(
                    told("Line {line} has more columns than the line of titles.", line=reader.line_num)
                )
            texts = {
                field: _unguarded(cell[:_CELL_CHARS_MAX]) for field, cell in zip(fields, row, strict=False) if field
            }
            entries.append(NodeEntry(reader.line_num, texts))
    except csv.Error as error:
        raise InvalidRequestError(
            told("Line {line} is no CSV: {why}.", line=reader.line_num, why=str(error))
        ) from error
    return entries


def _fields_of(titles: Sequence[str]) -> list[str | None]:
    fields: list[str | None] = []
    for title in titles:
        field = _field(title)
        fields.append(field if field not in fields else None)
    missing = [field for field in ("aet", "host") if field not in fields]
    if missing:
        raise InvalidRequestError(
            told(
                "The first line must name the columns; there is none for {missing}. It may be called {names}.",
                missing=" and ".join(missing),
                names=", ".join(COLUMNS[missing[0]][:4]),
            )
        )
    return fields


def _field(title: str) -> str | None:
    """Our field that a title means."""
    plain = title.strip().lower()
    if plain in FIELDS:
        return plain
    letters = "".join(letter for letter in plain if letter.isalnum())
    by_letters = {field.replace("_", ""): field for field in FIELDS}
    return by_letters.get(letters) or next((field for field, names in COLUMNS.items() if letters in names), None)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _guarded(text: str) -> str:
    return f"'{text}" if text.startswith((*_FORMULA, "'")) else text


def _unguarded(text: str) -> str:
    text = text.strip(" ")
    return text[1:] if text.startswith("'") and text[1:].startswith((*_FORMULA, "'")) else text

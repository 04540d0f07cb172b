"""What the OBX segments of a report say: its words by sections, addenda, and a document (HL7 v2.5.1 7.4.2, 2.A.24).

Lines of text (TX, FT, ST), coded and measured values, RTF in a text, documents as ED (PDF, RTF, CDA, in one OBX or in pieces),
references (RP), which are told of. Every OBX is read or told of; none is dropped.
"""

from __future__ import annotations

import binascii
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from fileroom.core.errors import InvalidRequestError, told
from fileroom.dicom.charset import clean
from fileroom.feeds import forms
from fileroom.feeds.paths import Scope
from fileroom.feeds.reading import Found, Reader
from fileroom.hl7.message import Field, Segment
from fileroom.hl7.segment import REPETITIONS_MAX
from fileroom.reports.documents import (
    CDA,
    PDF,
    PLAIN,
    RTF,
    decode_base64,
    read_cda,
    sections_of_text,
    text_of_rtf,
    tidy,
    type_of,
)
from fileroom.reports.facts import ReportSection
from fileroom.reports.headings import is_heading

OBX_MAX: Final = 20_000
"""Of one report: one for each line, as many write it."""
_TEXTS: Final = frozenset(("TX", "FT", "ST", "GTS", ""))
_CODED: Final = frozenset(("CE", "CWE", "CNE", "CF", "CK"))
_PLACED: Final = frozenset(("ED", "RP"))
_ADDENDA: Final = frozenset(("addendum", "nachtrag", "ergänzung"))
_WHOLE: Final = frozenset(("report", "befundtext"))
"""Headings that say no more than that it is the report."""
_BEGINNINGS: Final = ("JVBERi0", "e1xydGY", "PD94bWw", "PENsaW5pY2Fs", "77u/")
"""Of PDF, RTF and XML in base64."""
_PREFERRED: Final = {PDF: 3, CDA: 2, RTF: 1}
_LEFT_OUT: Final = "nothing"
_PDF_BEGINS: Final = b"JVBERi0"


@dataclass(slots=True)
class Body:
    """What the segments say."""

    sections: list[ReportSection] = field(default_factory=list)
    addenda: list[str] = field(default_factory=list)
    document: bytes = b""
    document_type: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Nothing is said."""
        return not (self.sections or self.addenda or self.document)


@dataclass(slots=True)
class _Piece:
    """The bytes of a document, perhaps of several OBX."""

    label: str
    subtype: str
    parts: list[str]
    is_base64: bool


def read_body(reader: Reader, segments: Sequence[Segment], withdrawn: frozenset[str]) -> Body:
    """The words of a report. `withdrawn`: states (OBX-11) of what does not count any more.

    Raises InvalidRequestError for a document that cannot be what it is said to be.
    """
    body = Body()
    runs: list[tuple[str, list[str]]] = []
    pieces: list[_Piece] = []
    number = 0
    for segment in segments:
        if segment.name == "NTE" and runs:
            runs[-1][1].append(_text(segment.field(3)))
        if segment.name != "OBX":
            continue
        number += 1
        if number > OBX_MAX:
            raise InvalidRequestError(told("The report has more than {most} OBX segments.", most=OBX_MAX))
        if segment.get("11").strip().upper() in withdrawn:
            body.notes.append(told("OBX {number} was withdrawn by its sender (OBX-11).", number=number))
            continue
        heading = _heading(reader, segment)
        if heading == _LEFT_OUT:
            continue
        _read_obx(segment, heading, runs, pieces, number, body)
    for heading, lines in runs:
        _add_text(body, heading, tidy("\n".join(lines)))
    for piece in pieces:
        _add_document(body, piece)
    return body


# --- one OBX ---


def _read_obx(
    segment: Segment, heading: str, runs: list[tuple[str, list[str]]], pieces: list[_Piece], number: int, body: Body
) -> None:
    kind = segment.get("2").strip().upper()
    value = segment.field(5)
    if kind == "ED":
        _note_piece(segment, value, pieces)
        return
    raw = value.raw.lstrip()
    if raw.startswith((b"{\\rtf", b"{\\E\\rtf")):
        data = raw if raw.startswith(b"{\\rtf") else value.text.encode("latin-1", "replace")
        pieces.append(_Piece(_label(segment), "RTF", [data.decode("latin-1")], False))
        return
    if kind in _TEXTS and raw.startswith(_PDF_BEGINS) and len(raw) > 200:
        pieces.append(_Piece(_label(segment), "PDF", [value.text], True))
        return
    if kind in _TEXTS:
        text = _text(value)
    elif not raw:
        text = ""
    elif kind == "RP":
        text = f"{_label(segment)}: {clean(value.text)}".lstrip(": ")
        body.notes.append(
            told("OBX {number} refers to a document elsewhere: it is told of in the text.", number=number)
        )
    else:
        said = _value(kind, value, segment)
        text = said if heading or not _label(segment) else f"{_label(segment)}: {said}"
    if not runs or runs[-1][0] != heading:
        runs.append((heading, []))
    runs[-1][1].append(text)


def _text(value: Field) -> str:
    """Repetitions are lines (2.A.78 TX); `""` is none."""
    if value.raw.count(b"~") >= REPETITIONS_MAX:
        return value.text.replace("~", "\n")
    return "\n".join(one.text for one in value.repetitions)


def _value(kind: str, value: Field, segment: Segment) -> str:
    texts = []
    for one in value.repetitions:
        if kind in _CODED:
            texts.append(clean(one.component(2) or one.component(9) or one.component(5) or one.component(1)))
        elif kind == "SN":
            texts.append("".join(clean(one.component(place)) for place in range(1, 5)))
        elif kind in ("XCN", "CN", "XPN", "PN"):
            texts.append(" ".join(part for place in range(1, 7) if (part := clean(one.component(place)))))
        else:
            texts.append(clean(one.text.replace("^", " ")))
    unit = segment.field(6)
    shown = clean(unit.component(1) or unit.component(2)) if kind in ("NM", "SN") else ""
    return " ".join(part for part in (", ".join(filter(None, texts)), shown) if part)


def _label(segment: Segment) -> str:
    name = segment.field(3)
    return clean(name.component(2) or name.component(5) or name.component(1))


def _heading(reader: Reader, segment: Segment) -> str:
    """Of the section that an OBX belongs to: by the mapping's table, else words that people head sections with."""
    table = reader.mapping.values.get("section")
    scope = Scope([segment])
    for path in reader.mapping.facts.get("section", ()):
        for one in scope.at(path):
            text = forms.plain(one, path)
            used = table.get(text) if table is not None and text else None
            if used is None and is_heading(text):
                used = text.strip(" :")
            if used:
                if reader.reading.is_traced:
                    found = Found("section", path.text, text, used)
                    if found not in reader.reading.found[-50:]:
                        reader.reading.found.append(found)
                return "" if used.casefold() in _WHOLE else used
    return ""


# --- documents ---


def _note_piece(segment: Segment, value: Field, pieces: list[_Piece]) -> None:
    """A document, or one more piece of the last one: long ones are sent in several OBX of the same name."""
    one = value.repetitions[0]
    count = len(one.components)
    place = 5 if count >= 5 else count
    text = one.whole(place) if value.raw else ""
    if not text.strip():
        return
    coding = one.component(4).strip().upper() if count >= 5 else "BASE64"
    subtype = (clean(one.component(3)) or clean(one.component(2))).upper() if count >= 5 else ""
    label = _label(segment)
    if coding == "HEX":
        try:
            text, coding = binascii.b2a_base64(bytes.fromhex(text)).decode(), "BASE64"
        except ValueError:
            raise InvalidRequestError(told("The document is said to be hexadecimal, and is not.")) from None
    is_base64 = coding in ("BASE64", "B64", "")
    last = pieces[-1] if pieces else None
    goes_on = (
        last is not None
        and last.is_base64
        and is_base64
        and (last.label, last.subtype) == (label, subtype)
        and last.parts[0].lstrip().startswith(_BEGINNINGS)
        and not text.lstrip().startswith(_BEGINNINGS)
    )
    if last is not None and goes_on:
        last.parts.append(text)
    else:
        pieces.append(_Piece(label, subtype, [text], is_base64))


def _add_document(body: Body, piece: _Piece) -> None:
    data = _bytes_of(piece)
    kind = type_of(data)
    if kind == PLAIN and piece.subtype not in ("PDF", "RTF"):
        _add_text(body, "", tidy(data.decode("utf-8", "replace")))
        return
    if kind not in _PREFERRED or (piece.subtype == "PDF" and kind != PDF):
        raise InvalidRequestError(
            told(
                "The document {name} ({kind}, {count} bytes) is none that is known: PDF, RTF, CDA or text.",
                name=piece.label or "-",
                kind=piece.subtype or "-",
                count=len(data),
            )
        )
    if kind == RTF:
        text = text_of_rtf(data)
        if text:
            _add_text(body, "", text)
    elif kind == CDA:
        found = read_cda(data)
        body.sections += found.sections
        if found.document and type_of(found.document) == PDF:
            data, kind = found.document, PDF
    if body.document:
        body.notes.append(told("There is more than one document; the others are only in the message."))
    if _PREFERRED[kind] > _PREFERRED.get(body.document_type, 0):
        body.document, body.document_type = data, kind


def _bytes_of(piece: _Piece) -> bytes:
    if not piece.is_base64:
        return piece.parts[0].encode("latin-1" if piece.subtype == "RTF" else "utf-8", "replace")
    joined = "".join(piece.parts)
    if len(piece.parts) > 1 and any(part.rstrip().endswith("=") for part in piece.parts[:-1]):
        return b"".join(decode_base64(part) for part in piece.parts)  # each piece was coded by itself
    return decode_base64(joined)


def _add_text(body: Body, heading: str, text: str) -> None:
    if not text:
        return
    if heading.casefold() in _ADDENDA:
        body.addenda.append(text)
        return
    parts = sections_of_text(text)
    if not any(one.heading for one in parts):
        body.sections.append(ReportSection(heading, text))
        return
    first = parts[0]
    if not first.heading:
        body.sections.append(ReportSection(heading, first.text))
        parts = parts[1:]
    body.sections += parts

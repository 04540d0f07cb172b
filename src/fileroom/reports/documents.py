"""What documents say that reports come as: plain text, RTF, CDA (HL7 CDA R2). A PDF says nothing but itself.

Documents come from the network: XML is read without document types and entities, with a bounded depth, RTF of a bounded size.
Pure; nothing is looked up.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from xml.parsers import expat

from striprtf.striprtf import rtf_to_text

from fileroom.core.errors import InvalidRequestError, told
from fileroom.dicom.charset import clean_lines
from fileroom.reports.facts import ReportSection
from fileroom.reports.headings import is_heading

PDF: Final = "application/pdf"
RTF: Final = "text/rtf"
CDA: Final = "text/xml"
PLAIN: Final = "text/plain"
RTF_BYTES_MAX: Final = 2 * 1024 * 1024
"""Of which text is made; what is longer has pictures in it. The document is kept whatever its size."""
CDA_BYTES_MAX: Final = 64 * 1024 * 1024
TEXT_CHARS_MAX: Final = 500_000
"""Of the text of one document; some hundred and fifty pages."""
SECTIONS_MAX: Final = 100
HEADING_CHARS_MAX: Final = 64
_DEPTH_MAX: Final = 100
_HEADING: Final = re.compile(r"[ \t]*([^\W\d_][^:\n]{0,60}?)[ \t]*(?::[ \t]*(.*)|$)")
_CDA_SPACE: Final = "urn:hl7-org:v3 "
_LINE_ENDS: Final = frozenset(("br", "paragraph", "item", "tr", "caption", "list", "table", "title", "text", "section"))


@dataclass(frozen=True, slots=True)
class Cda:
    """What a CDA document says. `document`: what it encloses instead of text, decoded."""

    title: str = ""
    sections: tuple[ReportSection, ...] = ()
    document: bytes = b""


def type_of(data: bytes) -> str:
    """PDF, RTF, CDA or PLAIN, by how it begins; empty: none of them."""
    head = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n\x00")
    if head.startswith(b"%PDF"):
        return PDF
    if head.startswith(b"{\\rtf"):
        return RTF
    if head.startswith(b"<") and (b"ClinicalDocument" in data[:20_000] or head.startswith(b"<?xml")):
        return CDA
    return "" if b"\x00" in data[:4096] else PLAIN


def decode_base64(text: str | bytes) -> bytes:
    """The bytes, however the lines are broken. Raises InvalidRequestError."""
    data = text.encode("ascii", "replace") if isinstance(text, str) else text
    compact = data.translate(None, b" \t\r\n")
    try:
        return base64.b64decode(compact + b"=" * (-len(compact) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequestError(told("The document is said to be base64, and is not.")) from None


def text_of_rtf(data: bytes) -> str:
    """The text of an RTF document; empty where none can be made of it."""
    if len(data) > RTF_BYTES_MAX:
        return ""
    try:
        text = str(rtf_to_text(data.decode("latin-1"), errors="replace"))  # type: ignore[no-untyped-call] # it has none
    except Exception:  # noqa: BLE001 - a document from outside, which nobody else has checked either; it is kept as it is
        return ""
    return tidy(text)[:TEXT_CHARS_MAX]


def tidy(text: str) -> str:
    """Text with plain line ends, without control characters, blank lines only between lines."""
    lines = clean_lines(text.replace("\r\n", "\n").replace("\r", "\n").replace("\f", "\n").replace("\v", "\n")).split(
        "\n"
    )
    return re.sub(r"\n{3,}", "\n\n", "\n".join(line.rstrip() for line in lines)).strip("\n")


def sections_of_text(text: str) -> tuple[ReportSection, ...]:
    """Text parted at its headings: lines that begin with a known one and a colon, or are nothing else."""
    found: list[tuple[str, list[str]]] = [("", [])]
    for line in text.split("\n"):
        match = _HEADING.fullmatch(line) if len(line) < 2000 or ":" in line[:HEADING_CHARS_MAX] else None
        if match is not None and is_heading(match[1]) and len(found) <= SECTIONS_MAX:
            found.append((match[1].strip()[:HEADING_CHARS_MAX], [match[2]] if match[2] else []))
        else:
            found[-1][1].append(line)
    made = ((heading, "\n".join(lines).strip("\n").strip()) for heading, lines in found)
    return tuple(ReportSection(heading, text) for heading, text in made if heading or text)


def read_cda(data: bytes) -> Cda:
    """What a CDA document says (R2: ClinicalDocument/component). Raises InvalidRequestError when it is none."""
    if len(data) > CDA_BYTES_MAX:
        raise InvalidRequestError(told("The XML document has more than {most} bytes.", most=CDA_BYTES_MAX))
    reader = _CdaReader()
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = reader.refuse_doctype
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise InvalidRequestError(told("The XML document cannot be read: {why}.", why=str(error)[:100])) from error
    return reader.result()


# --- helpers ---


@dataclass(slots=True)
class _CdaReader:
    path: list[str] = field(default_factory=list)
    title: str = ""
    sections: list[tuple[str, list[str]]] = field(default_factory=list)
    body: list[str] = field(default_factory=list)
    is_encoded: bool = False
    chars: int = 0

    def refuse_doctype(self, *_: object) -> None:
        raise InvalidRequestError(told("The XML document declares a document type, which is not allowed."))

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if len(self.path) >= _DEPTH_MAX:
            raise InvalidRequestError(told("The XML document is nested too deeply."))
        local = name.rpartition(" ")[2]
        self.path.append(local)
        if local == "section":
            self.sections.append(("", []))
        if local == "text" and "nonXMLBody" in self.path:
            self.is_encoded = attributes.get("representation", "").upper() == "B64"
        if local in ("td", "th") and self._is_narrative() and self.sections:
            self._say("\t")

    def end(self, name: str) -> None:
        local = name.rpartition(" ")[2]
        if local in _LINE_ENDS and self._is_narrative():
            self._say("\n")
        if self.path:
            self.path.pop()

    def text(self, data: str) -> None:
        if "nonXMLBody" in self.path and self.path[-1] == "text":
            self.body.append(data)
        elif self.path == ["ClinicalDocument", "title"]:
            self.title += data
        elif self.path[-2:] == ["section", "title"] and self.sections:
            self.sections[-1] = (self.sections[-1][0] + data, self.sections[-1][1])
        elif self._is_narrative():
            self._say(re.sub(r"\s+", " ", data))

    def result(self) -> Cda:
        title = " ".join(self.title.split())
        made = tuple(
            ReportSection(" ".join(heading.split())[:HEADING_CHARS_MAX], tidy(_joined(parts)))
            for heading, parts in self.sections[:SECTIONS_MAX]
        )
        sections = tuple(one for one in made if one.heading or one.text)
        body = "".join(self.body)
        if not body.strip():
            return Cda(title, sections)
        if self.is_encoded:
            return Cda(title, sections, decode_base64(body))
        return Cda(title, (*sections, *sections_of_text(tidy(body)[:TEXT_CHARS_MAX])))

    def _is_narrative(self) -> bool:
        if not self.sections or "text" not in self.path:
            return False
        place = len(self.path) - 1 - self.path[::-1].index("text")
        return place > 0 and self.path[place - 1] == "section"

    def _say(self, text: str) -> None:
        self.chars += len(text)
        if self.chars <= TEXT_CHARS_MAX:
            self.sections[-1][1].append(text)


def _joined(parts: Sequence[str]) -> str:
    return re.sub(r" *\n *", "\n", "".join(parts))

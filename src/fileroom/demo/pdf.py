"""One page of PDF written by hand (ISO 32000-1): a letterhead, a table of facts, paragraphs in Helvetica."""

from __future__ import annotations

import textwrap
import zlib
from typing import Final

WIDTH_PT: Final = 595
HEIGHT_PT: Final = 842
MARGIN_PT: Final = 64
LINE_CHARS: Final = 88


def one_page(
    letterhead: str, title: str, facts: tuple[tuple[str, str], ...], paragraphs: tuple[str, ...], footer: str
) -> bytes:
    """A valid PDF 1.4 file of one A4 page. Characters outside Windows-1252 are shown as '?'."""
    page = _Page()
    page.box(0, HEIGHT_PT - 74, WIDTH_PT, 74, "0.13 0.27 0.42")
    page.text(MARGIN_PT, HEIGHT_PT - 46, letterhead, 18, bold=True, colour="1 1 1")
    page.text(MARGIN_PT, HEIGHT_PT - 118, title, 20, bold=True)
    y = HEIGHT_PT - 150.0
    for name, value in facts:
        page.text(MARGIN_PT, y, name, 10, colour="0.40 0.45 0.50")
        page.text(MARGIN_PT + 96, y, value, 10)
        y -= 16
    page.box(MARGIN_PT, y, WIDTH_PT - 2 * MARGIN_PT, 0.8, "0.75 0.79 0.83")
    y -= 26
    for paragraph in paragraphs:
        for line in textwrap.wrap(paragraph, LINE_CHARS):
            page.text(MARGIN_PT, y, line, 11)
            y -= 15.5
        y -= 9
    page.text(MARGIN_PT, 64, footer, 10, colour="0.40 0.45 0.50")
    return _file(page.content())


class _Page:
    """Collects drawing operators."""

    def __init__(self) -> None:
        self._operators: list[str] = []

    def text(self, x: float, y: float, text: str, size: float, bold: bool = False, colour: str = "0.1 0.1 0.1") -> None:
        escaped = text.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")
        font = "F2" if bold else "F1"
        self._operators.append(f"BT {colour} rg /{font} {size:g} Tf {x:g} {y:g} Td ({escaped}) Tj ET")

    def box(self, x: float, y: float, width: float, height: float, colour: str) -> None:
        self._operators.append(f"{colour} rg {x:g} {y:g} {width:g} {height:g} re f")

    def content(self) -> bytes:
        return "\n".join(self._operators).encode("cp1252", "replace")


def _file(content: bytes) -> bytes:
    packed = zlib.compress(content, 9)
    font = b"<< /Type /Font /Subtype /Type1 /BaseFont /%s /Encoding /WinAnsiEncoding >>"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 %d %d] /Contents 4 0 R "
        b"/Resources << /Font << /F1 5 0 R /F2 6 0 R >> >> >>" % (WIDTH_PT, HEIGHT_PT),
        b"<< /Length %d /Filter /FlateDecode >>\nstream\n" % len(packed) + packed + b"\nendstream",
        font % b"Helvetica",
        font % b"Helvetica-Bold",
    ]
    out = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
    offsets = []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(out))
        out += b"%d 0 obj\n" % number + body + b"\nendobj\n"
    table = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, table)
    return bytes(out)

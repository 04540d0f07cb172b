"""A version of a report as PDF, to be read and printed (reportlab, Roboto).

What is not simply final says so on every page. Names and texts of other scripts: `print_text`.
"""

from __future__ import annotations

import datetime as dt
import functools
import io
from collections.abc import Mapping
from typing import Any, Final

from reportlab.lib.colors import Color, HexColor
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import BaseDocTemplate, Flowable, Frame, PageTemplate, Paragraph, Spacer, Table

from fileroom.dicom.charset import clean, clean_lines
from fileroom.reports.facts import ReportState
from fileroom.reports.print_text import BOLD, MISSING, REGULAR, load_fonts, marked_up
from fileroom.reports.print_words import date_words, name_words, stamp_of, words_in
from fileroom.reports.report_rows import ReportRow, ReportVersion
from fileroom.reports.structured import sections_said
from fileroom.reports.subject import Subject

CHARS_MAX: Final = 200_000
"""Of all texts of a report: some 60 pages."""
LINE_CHARS_MAX: Final = 1000
"""Of a paragraph: breaking longer ones into lines takes more time than they have letters."""
FACT_CHARS_MAX: Final = 300
_MARGIN: Final = 20 * mm
_HEAD: Final = 32 * mm
_INK: Final = HexColor("#1b1f24")
_QUIET: Final = HexColor("#5b6570")
_STAMP: Final = HexColor("#b3261e")


def report_pdf(report: ReportRow, version: ReportVersion, subject: Subject, *, language: str = "en") -> bytes:
    """The document; the same version and study give the same one. Takes no time worth naming but for long texts."""
    words = words_in(language)
    load_fonts()
    story, is_whole = _story(report, version, subject, words, language)
    out = io.BytesIO()
    document = BaseDocTemplate(
        out,
        pagesize=A4,
        leftMargin=_MARGIN,
        rightMargin=_MARGIN,
        topMargin=_HEAD,
        bottomMargin=_MARGIN,
        title=_fact(report.title or subject.description or words["report"]),
        author=_fact(name_words(version.content.signer or version.content.author)),
        subject=words["version"].format(version=version.version),
        creator="Fileroom",
        producer="Fileroom (ReportLab)",
        invariant=1,
        lang=language,
    )
    frame = Frame(_MARGIN, _MARGIN + 4 * mm, A4[0] - 2 * _MARGIN, A4[1] - _HEAD - _MARGIN - 4 * mm, 0, 0, 0, 0)
    document.addPageTemplates(PageTemplate("page", [frame]))
    if not is_whole:
        story.append(_line(words["cut"], _style("note", 8, color=_QUIET)))
    if any(MISSING in one.text for one in story if isinstance(one, Paragraph)):
        story.append(_line(words["missing"], _style("note", 8, color=_QUIET)))
    head = _PageHead(report, version, subject, words, language)
    document.build(story, canvasmaker=functools.partial(_NumberedCanvas, head=head, made_at=_moment(version)))
    return out.getvalue()


class _PageHead:
    """What stands above and below the text of every page."""

    def __init__(
        self, report: ReportRow, version: ReportVersion, subject: Subject, words: Mapping[str, str], language: str
    ) -> None:
        born = date_words(subject.birth_date, language)
        self.institution = _fact(subject.institution)
        self.patient = "  ".join(part for part in (name_words(subject.patient_name), born, subject.patient_id) if part)
        self.stamp = stamp_of(version.state, words)
        number = f"{words['report']} {report.id}, {words['version'].format(version=version.version)}"
        self.foot = ", ".join(part for part in (number, _fact(subject.accession_number)) if part)
        self.words = words

    def draw(self, canvas: Canvas, page: int, pages: int) -> None:
        top, right = A4[1] - 14 * mm, A4[0] - _MARGIN
        stamp_width = 0.0
        if self.stamp:
            stamp_width = canvas.stringWidth(self.stamp, BOLD, 12) + 5 * mm
            canvas.setStrokeColor(_STAMP)
            canvas.setFillColor(_STAMP)
            canvas.roundRect(right - stamp_width, top - 2 * mm, stamp_width, 7 * mm, 1.5 * mm)
            canvas.setFont(BOLD, 12)
            canvas.drawRightString(right - 2.5 * mm, top, self.stamp)
        width = A4[0] - 2 * _MARGIN - stamp_width - 4 * mm
        _draw(canvas, self.institution, _MARGIN, top, width, _style("institution", 12, BOLD))
        _draw(canvas, self.patient, _MARGIN, top - 7 * mm, A4[0] - 2 * _MARGIN, _style("who", 9, color=_QUIET))
        canvas.setStrokeColor(_QUIET)
        canvas.setLineWidth(0.4)
        canvas.line(_MARGIN, top - 10 * mm, right, top - 10 * mm)
        counted = self.words["of"].format(page=page, pages=pages)
        _draw(canvas, self.foot, _MARGIN, 12 * mm, A4[0] - 2 * _MARGIN - 40 * mm, _style("foot", 8, color=_QUIET))
        canvas.setFillColor(_QUIET)
        canvas.setFont(REGULAR, 8)
        canvas.drawRightString(right, 12 * mm, counted)


class _NumberedCanvas(Canvas):  # type: ignore[misc]  # reportlab has no types
    """Draws the heads when it is known how many pages there are."""

    def __init__(self, *arguments: Any, head: _PageHead, made_at: dt.datetime, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._head = head
        self._kept: list[dict[str, Any]] = []
        self.setDateFormatter(lambda *_: f"D:{made_at.astimezone(dt.UTC):%Y%m%d%H%M%S}Z")

    def showPage(self) -> None:
        self._kept.append(dict(self.__dict__))
        self._startPage()

    def save(self) -> None:
        for page, state in enumerate(self._kept, 1):
            self.__dict__.update(state)
            self._head.draw(self, page, len(self._kept))
            super().showPage()
        super().save()


# --- the text ---


def _story(
    report: ReportRow, version: ReportVersion, subject: Subject, words: Mapping[str, str], language: str
) -> tuple[list[Flowable], bool]:
    """The paragraphs, and whether they are all of the text."""
    story: list[Flowable] = [
        _line(_fact(report.title or subject.description or words["report"]), _style("title", 15, BOLD, after=3 * mm)),
        _facts(subject, words, language),
        Spacer(0, 5 * mm),
    ]
    left = CHARS_MAX
    parts = list(sections_said(version))
    is_valid = version.state is not ReportState.CANCELLED
    if version.reason and is_valid:
        parts.insert(0, (words["correction"], version.reason))
    if is_valid:
        for one in version.content.addenda:
            when = f"{one.at.astimezone():%Y-%m-%d %H:%M}"
            parts.append((f"{words['addendum']}: {name_words(one.by)}, {when}", one.text))
    for heading, text in parts:
        if heading:
            story.append(_line(_fact(heading), _style("heading", 11, BOLD, before=3 * mm, after=1 * mm, keep=True)))
        said = clean_lines(text)[:left]
        is_cut = len(clean_lines(text)) > left
        left -= len(said)
        style = _style("text", 10)
        story += [_line(piece, style) for line in said.splitlines() for piece in _pieces(line)]
        if is_cut:
            return story, False
    if is_valid:
        story.append(_line(_signature(version, words), _style("signature", 10, BOLD, before=8 * mm)))
    return story, True


def _facts(subject: Subject, words: Mapping[str, str], language: str) -> Table:
    values = (
        ("patient", name_words(subject.patient_name)),
        ("patient_id", " ".join(part for part in (subject.patient_id, subject.patient_issuer) if part)),
        ("born", date_words(subject.birth_date, language)),
        ("sex", subject.sex),
        ("study", subject.description),
        ("date", date_words(subject.study_date, language)),
        ("accession", subject.accession_number),
        ("referring", name_words(subject.referring_physician)),
    )
    name, fact = _style("name", 8, color=_QUIET), _style("fact", 10)
    rows = [[_line(words[key], name), _line(_fact(value), fact)] for key, value in values if value]
    if not rows:
        return Table([[""]])
    width = A4[0] - 2 * _MARGIN
    return Table(rows, [42 * mm, width - 42 * mm], style=[("VALIGN", (0, 0), (-1, -1), "TOP"), *_TIGHT])


_TIGHT: Final = [(f"{side}PADDING", (0, 0), (-1, -1), 1) for side in ("TOP", "BOTTOM", "LEFT", "RIGHT")]


def _signature(version: ReportVersion, words: Mapping[str, str]) -> str:
    content = version.content
    name = _fact(name_words(content.signer or content.author)) or "-"
    if not version.state.is_signed:
        return words["not_signed"].format(name=name)
    when = (version.signed_at or _moment(version)).astimezone()
    return words["signed"].format(name=name, when=f"{when:%Y-%m-%d %H:%M}")


def _moment(version: ReportVersion) -> dt.datetime:
    return version.made_at or version.signed_at or dt.datetime.fromtimestamp(0, dt.UTC)


def _pieces(line: str) -> list[str]:
    """A line in pieces that are quickly set, broken between words where there are words."""
    pieces: list[str] = []
    while len(line) > LINE_CHARS_MAX:
        cut = line.rfind(" ", LINE_CHARS_MAX // 2, LINE_CHARS_MAX) + 1 or LINE_CHARS_MAX
        pieces.append(line[:cut])
        line = line[cut:]
    return [*pieces, line]


def _fact(text: str) -> str:
    """One line of a bounded length."""
    text = clean(text)
    return text if len(text) <= FACT_CHARS_MAX else text[: FACT_CHARS_MAX - 3] + "..."


def _line(text: str, style: ParagraphStyle) -> Paragraph:
    return Paragraph(marked_up(text) or "&nbsp;", style)


def _style(
    name: str,
    size: float,
    font: str = REGULAR,
    *,
    color: Color = _INK,
    before: float = 0,
    after: float = 0,
    keep: bool = False,
) -> ParagraphStyle:
    return ParagraphStyle(
        name,
        fontName=font,
        fontSize=size,
        leading=size * 1.35,
        textColor=color,
        spaceBefore=before,
        spaceAfter=after,
        keepWithNext=keep,
        allowWidows=0,
        allowOrphans=0,
    )


def _draw(canvas: Canvas, text: str, x: float, y: float, width: float, style: ParagraphStyle) -> None:
    """One line at a place; what does not fit into the width is left away, and told by dots."""
    while text:
        paragraph = Paragraph(marked_up(text), style)
        _, height = paragraph.wrap(width, style.leading)
        if height <= style.leading * 1.01:
            paragraph.drawOn(canvas, x, y - style.fontSize * 0.35)
            return
        text = text.removesuffix("...")[: max(len(text) * 9 // 10 - 3, 0)]
        text = text + "..." if text else ""

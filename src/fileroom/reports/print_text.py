"""Text in the fonts of printed reports: Roboto, and for Chinese, Japanese and Korean the fonts of the reader's program.

What neither has becomes U+FFFD, the sign of a missing letter, so that nobody takes the text for complete.
"""

from __future__ import annotations

import functools
import itertools
from typing import Final
from xml.sax.saxutils import escape

import font_roboto
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfbase.ttfonts import TTFont

REGULAR: Final = "FileroomRoboto"
BOLD: Final = "FileroomRoboto-Bold"
CHINESE: Final = "STSong-Light"
JAPANESE: Final = "HeiseiKakuGo-W5"
KOREAN: Final = "HYGothic-Medium"
MISSING: Final = "\N{REPLACEMENT CHARACTER}"
_SPELT: Final = {"→": "->", "←": "<-", "⇒": "=>", "\t": "    ", "\N{NON-BREAKING HYPHEN}": "-"}
_HAN: Final = ((0x2E80, 0x303F), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0xFF00, 0xFFEF))
_KANA: Final = ((0x3040, 0x30FF), (0x31F0, 0x31FF))
_HANGUL: Final = ((0x1100, 0x11FF), (0x3130, 0x318F), (0xAC00, 0xD7AF))


@functools.cache
def load_fonts() -> frozenset[int]:
    """Let reportlab know the fonts; the letters that Roboto has. About 0.1 s, once in a process."""
    regular = TTFont(REGULAR, font_roboto.font_files["Roboto"])
    for font in (regular, TTFont(BOLD, font_roboto.font_files["RobotoBold"])):
        pdfmetrics.registerFont(font)
    for name in (CHINESE, JAPANESE, KOREAN):
        pdfmetrics.registerFont(UnicodeCIDFont(name))
    return frozenset(regular.face.charToGlyph)


def marked_up(text: str) -> str:
    """The text of one line as reportlab's paragraphs take it: escaped, and each letter in a font that has it."""
    letters = load_fonts()
    spelt = "".join(_SPELT.get(one, one) for one in text)
    han = JAPANESE if any(_is_in(ord(one), _KANA) for one in spelt) else CHINESE
    runs = itertools.groupby(spelt, key=lambda one: _font_of(one, letters, han))
    return "".join(_run(font, "".join(run)) for font, run in runs)


def _font_of(letter: str, letters: frozenset[int], han: str) -> str:
    code = ord(letter)
    if code in letters or letter.isspace():
        return REGULAR
    if _is_in(code, _KANA):
        return JAPANESE
    if _is_in(code, _HANGUL):
        return KOREAN
    return han if _is_in(code, _HAN) else ""


def _run(font: str, text: str) -> str:
    if not font:
        return MISSING * len(text)
    if font == REGULAR:
        return escape(text)
    return f'<font name="{font}">{escape(text)}</font>'


def _is_in(code: int, ranges: tuple[tuple[int, int], ...]) -> bool:
    return any(first <= code <= last for first, last in ranges)

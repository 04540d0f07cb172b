"""Character sets of a data set (PS3.3 C.12.1.1.2, PS3.5 6.1): bytes to text and back, and text cleaned for an index.

Decoding never raises. Where a set is unknown, or bytes do not fit it, they are read as UTF-8, then as Latin-1, and a
note says so. Values are decoded whole and split at backslashes afterwards, because in several sets the byte of the
backslash is also the second half of a character.
"""

from __future__ import annotations

import codecs
import functools
import re
from dataclasses import dataclass
from typing import Final

_ESC: Final = b"\x1b"

_SINGLE_BYTE: Final = {
    "6": "ascii",
    "13": "shift_jis",
    "100": "latin_1",
    "101": "iso8859_2",
    "109": "iso8859_3",
    "110": "iso8859_4",
    "126": "iso8859_7",
    "127": "iso8859_6",
    "138": "iso8859_8",
    "144": "iso8859_5",
    "148": "iso8859_9",
    "166": "iso8859_11",
    "203": "iso8859_15",
}
"""Number of the ISO registration to Python codec. JIS X 0201 is the single-byte part of Shift JIS."""

_MULTI_BYTE: Final = {"87": "iso2022_jp", "159": "iso2022_jp_2", "149": "euc_kr", "58": "gb2312"}

_STAND_ALONE: Final = {
    "ISO_IR 192": "utf_8",
    "GB18030": "gb18030",
    "GBK": "gbk",
    "UTF-8": "utf_8",
    "UTF8": "utf_8",
    "GB2312": "gb18030",
    "SHIFT_JIS": "shift_jis",
    "ISO 8859-1": "latin_1",
    "LATIN1": "latin_1",
    "ASCII": "ascii",
}
"""Sets without code extension, and names that devices use by mistake."""

_ESCAPES_G0: Final = {
    b"(B": "ascii",
    b"(J": "shift_jis",
    b"$B": "iso2022_jp",
    b"$@": "iso2022_jp",
    b"$(D": "iso2022_jp_2",
}
_ESCAPES_G1: Final = {
    b")I": "shift_jis",
    b"-A": "latin_1",
    b"-B": "iso8859_2",
    b"-C": "iso8859_3",
    b"-D": "iso8859_4",
    b"-F": "iso8859_7",
    b"-G": "iso8859_6",
    b"-H": "iso8859_8",
    b"-L": "iso8859_5",
    b"-M": "iso8859_9",
    b"-T": "iso8859_11",
    b"-b": "iso8859_15",
    b"$)C": "euc_kr",
    b"$)A": "gb2312",
}
_ESCAPE_OF: Final = {codec: escape for escape, codec in _ESCAPES_G1.items()}
_DOUBLE_BYTE_G0: Final = {"iso2022_jp": b"\x1b$B", "iso2022_jp_2": b"\x1b$(D"}
_ESCAPE: Final = re.compile(rb"\x1b(\$[()][A-Z]|\$[@AB]|[()\-,./][A-Za-z])")
_DELIMITER: Final = re.compile(rb"([\\^=\t\n\f\r]+)")
_TERM: Final = re.compile(r"ISO[ _-]*(2022)?[ _-]*(?:IR)?[ _-]*(\d+)")

_CONTROL: Final[dict[int, str | None]] = {
    **dict.fromkeys((*range(0x20), *range(0x7F, 0xA0))),
    **dict.fromkeys(range(0xD800, 0xE000), "\ufffd"),
}
_CONTROL_BUT_LINES: Final = {code: to for code, to in _CONTROL.items() if code not in (0x09, 0x0A, 0x0C, 0x0D)}


@dataclass(frozen=True, slots=True)
class CharacterSet:
    """What Specific Character Set (0008,0005) says.

    `terms` are the values as given. `codec` decodes bytes without escape sequences; `extended` says that escape
    sequences of ISO 2022 may switch to others. `note` tells what was wrong with the terms, None when nothing was.
    """

    terms: tuple[str, ...]
    codec: str
    extended: bool = False
    extensions: tuple[str, ...] = ()
    note: str | None = None


DEFAULT: Final = CharacterSet((), "ascii")
"""ISO_IR 6, meant when a data set says nothing."""
UTF_8: Final = CharacterSet(("ISO_IR 192",), "utf_8")


@functools.lru_cache(maxsize=512)
def character_set(raw: bytes | None) -> CharacterSet:
    """The set that the encoded value `raw` of (0008,0005) names; None or empty is the default repertoire."""
    text = (raw or b"").decode("latin_1").strip(" \0")
    if not text:
        return DEFAULT
    terms = tuple(term.strip(" \0") for term in text.split("\\"))
    found = [_codec_of(term) for term in terms]
    unknown = [term for term, codec in zip(terms, found, strict=True) if codec is None]
    note = f"unknown character set {', '.join(map(repr, unknown))}" if unknown else None
    codecs_known = [codec for codec in found if codec is not None]
    first = found[0] or "utf_8"
    if len(terms) == 1 and first not in _MULTI_BYTE.values() and not terms[0].upper().startswith("ISO 2022"):
        return CharacterSet(terms, first, note=note)
    if first in ("utf_8", "gb18030", "gbk"):
        return CharacterSet(terms, first, note=note or "code extensions given beside a set that allows none")
    extensions = [
        codec for codec in codecs_known[1:] or codecs_known if codec in _ESCAPE_OF or codec in _DOUBLE_BYTE_G0
    ]
    return CharacterSet(terms, first, True, tuple(extensions), note)


def decode_text(raw: bytes, charset: CharacterSet) -> str:
    """The text of an encoded value, padding and backslashes kept. Never raises."""
    if raw.isascii() and not (charset.extended and _ESC in raw):
        return raw.decode("ascii")
    return decode_text_noted(raw, charset)[0]


def decode_text_noted(raw: bytes, charset: CharacterSet) -> tuple[str, str | None]:
    """As `decode_text`, with a note when the bytes do not fit the set that the data set names."""
    try:
        if charset.extended:
            return _decode_extended(raw, charset), charset.note
        return raw.decode(charset.codec), charset.note
    except UnicodeError:
        pass
    try:
        return raw.decode("utf_8"), f"not in {_named(charset)}, read as UTF-8"
    except UnicodeError:
        return raw.decode("latin_1"), f"not in {_named(charset)}, read as Latin-1"


def encode_text(text: str, charset: CharacterSet) -> bytes:
    """`text` in the set, with escape sequences where it has code extensions. Raises UnicodeEncodeError if it cannot."""
    if text.isascii():
        return text.encode("ascii")
    if not charset.extended:
        return text.encode(charset.codec)
    pieces = re.split(r"([\\^=\t\n\f\r]+)", text)
    return b"".join(_encode_piece(piece, charset) for piece in pieces)


def clean(text: str) -> str:
    """One line fit for an index: no NUL or other control character, no lone surrogate, no blanks around it."""
    if not text.isprintable():
        text = text.translate(_CONTROL)
    return text.strip()


def clean_lines(text: str) -> str:
    """As `clean`, for the VRs that may have several lines (LT, ST, UT): tabs and line ends stay."""
    if not text.isprintable():
        text = text.translate(_CONTROL_BUT_LINES)
    return text.strip()


def _codec_of(term: str) -> str | None:
    name = term.upper()
    if not name:
        return "ascii"
    stand_alone = _STAND_ALONE.get(name) or _STAND_ALONE.get(name.replace("ISO 2022 ", ""))
    if stand_alone is not None:
        return stand_alone
    match = _TERM.fullmatch(name)
    if match is None:
        return None
    number = match[2]
    return "utf_8" if number == "192" else _SINGLE_BYTE.get(number) or _MULTI_BYTE.get(number)


def _named(charset: CharacterSet) -> str:
    return "\\".join(charset.terms) or "the default character set"


def _decode_extended(raw: bytes, charset: CharacterSet) -> str:
    """ISO 2022 as DICOM uses it (PS3.5 6.1.2.5): bytes below 0x80 are read by G0, the others by G1.

    A delimiter brings both back to the first value of Specific Character Set; inside a double-byte G0 it cannot be told
    from half a character, and the standard asks for a return to ASCII before it.
    """
    first_g0, first_g1 = _initial_sets(charset)
    g0, g1 = first_g0, first_g1
    out: list[str] = []
    pieces = _ESCAPE.split(raw)
    for index, piece in enumerate(pieces):
        if index % 2:
            g0, g1 = _ESCAPES_G0.get(piece, g0), _ESCAPES_G1.get(piece, g1)
        elif g0 in _DOUBLE_BYTE_G0:
            out.append(_decode_double_byte(piece, g0, g1))
        else:
            for turn, part in enumerate(_DELIMITER.split(piece)):
                if turn % 2:
                    out.append(part.decode("ascii"))
                    g0, g1 = first_g0, first_g1 if first_g1 != "ascii" else g1
                else:
                    out.append(part.decode(g1 if not part.isascii() else "ascii"))
    return "".join(out)


def _initial_sets(charset: CharacterSet) -> tuple[str, str]:
    """(G0, G1) at the start of a value."""
    if charset.codec in _DOUBLE_BYTE_G0:
        return "ascii", "ascii"
    return "ascii", charset.codec


def _decode_double_byte(piece: bytes, g0: str, g1: str) -> str:
    """A run after ESC $B or ESC $(D: pairs of 7 bit bytes; control characters and G1 bytes between them stay single."""
    out: list[str] = []
    for run in re.findall(rb"[\x21-\x7e]+|[\x80-\xff]+|[\x00-\x20\x7f]+", piece):
        if run[0] >= 0x80:
            out.append(run.decode(g1))
        elif run[0] <= 0x20 or run[0] == 0x7F:
            out.append(run.decode("ascii"))
        else:
            even = len(run) - len(run) % 2
            out.append((_DOUBLE_BYTE_G0[g0] + run[:even] + b"\x1b(B" + run[even:]).decode(g0))
    return "".join(out)


def _encode_piece(piece: str, charset: CharacterSet) -> bytes:
    if piece.isascii():
        return piece.encode("ascii")
    if charset.codec not in _DOUBLE_BYTE_G0:
        try:
            return _without_kanji(piece.encode(charset.codec), charset.codec, piece)
        except UnicodeEncodeError:
            pass
    failure: UnicodeEncodeError | None = None
    for codec in charset.extensions:
        try:
            return _encode_with_escape(piece, codec, charset)
        except UnicodeEncodeError as error:
            failure = error
    raise failure or UnicodeEncodeError(charset.codec, piece, 0, len(piece), f"not in {_named(charset)}")


def _encode_with_escape(piece: str, codec: str, charset: CharacterSet) -> bytes:
    if codec in _DOUBLE_BYTE_G0:
        encoded = piece.encode(codec)
        return (
            encoded.replace(b"\x1b$@", b"\x1b$B").replace(b"\x1b(B", b"\x1b(J") if _is_jis_first(charset) else encoded
        )
    return _ESC + _ESCAPE_OF[codec] + _without_kanji(piece.encode(codec), codec, piece)


def _is_jis_first(charset: CharacterSet) -> bool:
    return charset.codec == "shift_jis"


def _without_kanji(encoded: bytes, codec: str, piece: str) -> bytes:
    """Shift JIS stands for JIS X 0201 here: one byte per character, or the piece does not fit."""
    if codec == "shift_jis" and len(encoded) != len(piece):
        raise UnicodeEncodeError(codec, piece, 0, len(piece), "not in JIS X 0201")
    return encoded


for _name in {*_SINGLE_BYTE.values(), *_MULTI_BYTE.values(), *_STAND_ALONE.values()}:
    codecs.lookup(_name)  # a Python built without a codec shows at import, not at the first patient

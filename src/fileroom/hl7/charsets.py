"""Character sets of messages: MSH-18 (HL7 table 0211), and how they are named by those who have not read it.

Three kinds, by how the bytes of a message are read. In most sets a byte below 80H is always the ASCII character, so that
separators can be looked for in the bytes. In Shift-JIS, GBK, GB 18030 and Big5 the second byte of a character, and in ISO
2022 any byte, may be that of a separator; in UTF-16 nothing is what it seems. Messages in those are turned into UTF-8
as a whole before they are parted (`Charset.hides_separators`).

ISO 2022 escape sequences (ISO-IR register; v2.5.1 2.15.9.18) may also stand as \\Cxxyy\\ and \\Mxxyyzz\\ (v2.5.1 2.7.2).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

_REPETITIONS_MAX: Final = 16
"""Of MSH-18; table 0211 has some thirty sets."""


@dataclass(frozen=True, slots=True)
class Charset:
    """A character set in which a message stands. `said`: as its first name came; `codec`: Python's."""

    said: str
    codec: str
    is_known: bool = True
    extra_codec: str = ""
    """ISO 2022: for characters that `codec` does not have, when writing."""

    @property
    def hides_separators(self) -> bool:
        """Bytes of its characters may be equal to separators."""
        return self.codec in _HIDING

    def encode(self, text: str) -> bytes:
        """Raises UnicodeEncodeError where the set has no such character."""
        try:
            return text.encode(self.codec)
        except UnicodeEncodeError:
            if not self.extra_codec:
                raise
        return text.encode(self.extra_codec)


_HIDING: Final = frozenset(
    {"shift_jis", "gbk", "gb18030", "big5", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "iso2022_jp_2"}
)
_CODECS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("ASCII", "USASCII", "ISO646", "ISOIR6", "ANSIX34"), "ascii"),
    **{f"8859{part}": f"iso8859-{part}" for part in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 16)},
    **{f"LATIN{number}": f"iso8859-{number}" for number in (1, 2, 3, 4)},
    **dict.fromkeys(("ISOIR100",), "iso8859-1"),
    **dict.fromkeys(("ISOIR101",), "iso8859-2"),
    **dict.fromkeys(("ISOIR109",), "iso8859-3"),
    **dict.fromkeys(("ISOIR110",), "iso8859-4"),
    **dict.fromkeys(("ISOIR144",), "iso8859-5"),
    **dict.fromkeys(("ISOIR127",), "iso8859-6"),
    **dict.fromkeys(("ISOIR126",), "iso8859-7"),
    **dict.fromkeys(("ISOIR138",), "iso8859-8"),
    **dict.fromkeys(("ISOIR148", "LATIN5"), "iso8859-9"),
    **dict.fromkeys(("ISOIR203", "LATIN9"), "iso8859-15"),
    **dict.fromkeys(("ISOIR166", "TIS620"), "tis_620"),
    **dict.fromkeys(
        ("ISOIR14", "ISOIR13", "JISX0201", "SHIFTJIS", "SJIS", "MSKANJI", "CP932", "WINDOWS31J"), "shift_jis"
    ),
    **dict.fromkeys(("ISOIR87", "ISOIR159", "JISX0208", "JISX0212", "ISO2022JP"), "iso2022_jp_2"),
    "EUCJP": "euc_jp",
    **dict.fromkeys(("ISOIR149", "KSX1001", "KSC5601", "EUCKR", "CP949"), "cp949"),
    **dict.fromkeys(("GB18030", "GB180302000"), "gb18030"),
    **dict.fromkeys(("GBK", "GB2312", "ISOIR58", "CP936"), "gbk"),
    **dict.fromkeys(("BIG5", "CP950"), "big5"),
    **dict.fromkeys(("UTF8", "UNICODE", "ISOIR192", "ISO10646"), "utf-8"),
    "UTF16": "utf-16",
    "UTF16LE": "utf-16-le",
    "UTF16BE": "utf-16-be",
    "UTF32": "utf-32",
    **{f"{prefix}125{n}": f"cp125{n}" for prefix in ("CP", "WINDOWS", "", "WIN") for n in range(9)},
    **dict.fromkeys(("ANSI",), "cp1252"),
    **dict.fromkeys(("CP850", "IBM850"), "cp850"),
    **dict.fromkeys(("CP437", "IBM437"), "cp437"),
    "KOI8R": "koi8-r",
    "KOI8U": "koi8-u",
    "MACROMAN": "mac-roman",
}
"""By what is left of a name without its punctuation. UNICODE alone is UTF-8 in every message seen (v2.3 did not say)."""


@lru_cache(maxsize=256)
def find_charset(name: str) -> Charset | None:
    """The set of that name, in whatever spelling; None if nobody knows it."""
    codec = _CODECS.get(_key(name))
    return Charset(name, codec) if codec is not None else None


def charset_of(names: tuple[str, ...], data: bytes, assumed: str = "") -> Charset:
    """The set of a message whose MSH-18 has these repetitions.

    Without a name it is `assumed`, else ASCII, else what the bytes look like. Names that nobody knows are flagged, and the
    bytes decide as well.
    """
    first = names[0].strip() if names else ""
    said = first or ("" if len(names) > 1 else assumed)
    found = find_charset(said) if said else Charset("", "ascii")
    extra = _extra_codec(names)
    if found is not None and (said or data.isascii() or extra):
        return Charset(first or said, found.codec, extra_codec=extra) if extra else found
    return Charset(said, "ascii" if data.isascii() else looks_like(data), is_known=not said, extra_codec=extra)


def looks_like(data: bytes) -> str:
    """The codec that bytes without a name most likely are in: UTF-8 is hardly ever met by chance."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8"


def decode(data: bytes, codec: str) -> str:
    """Text in that codec; what is not in it is read as what it looks like. Never raises."""
    if b"\x1b" in data:
        return decode_iso2022(data, codec)
    return _decode(data, codec)


def is_clean(data: bytes, codec: str) -> bool:
    """Whether all of it is in the codec."""
    if b"\x1b" in data:
        return True
    try:
        data.decode(codec)
    except UnicodeDecodeError:
        return False
    return codec != "iso8859-1" or not _C1.search(data)


def _decode(data: bytes, codec: str) -> str:
    if codec == "iso8859-1" and _C1.search(data):
        codec = "cp1252"  # Windows says Latin-1 when it means its own page; C1 controls mean nothing in a message
    try:
        return data.decode(codec)
    except UnicodeDecodeError:
        pass
    for guess in ("utf-8", "cp1252"):
        try:
            return data.decode(guess)
        except UnicodeDecodeError:
            continue
    return data.decode("latin-1")


_C1: Final = re.compile(rb"[\x80-\x9f]")


# --- ISO 2022 ---


_ESCAPES: Final[Mapping[bytes, str]] = {
    b"(B": "",
    b"(J": "shift_jis",
    b")I": "shift_jis",
    b"(I": "katakana",
    b"-A": "iso8859-1",
    b"-B": "iso8859-2",
    b"-C": "iso8859-3",
    b"-D": "iso8859-4",
    b"-L": "iso8859-5",
    b"-G": "iso8859-6",
    b"-F": "iso8859-7",
    b"-H": "iso8859-8",
    b"-M": "iso8859-9",
    b"-b": "iso8859-15",
    b"-T": "tis_620",
    b"$@": "jis",
    b"$B": "jis",
    b"$(B": "jis",
    b"$(D": "jis",
    b"$)C": "cp949",
    b"$)A": "gbk",
}
"""Escape sequences by the register; "" is back to the first set."""
_PARTS: Final = re.compile(rb"\x1b(\$?[()\-]?[@-~])|([\r\n])")


def decode_iso2022(data: bytes, codec: str) -> str:
    """Text with ISO 2022 escape sequences. Each line begins in `codec`. Never raises."""
    texts: list[str] = []
    current, start, lead = codec, 0, b""
    for found in _PARTS.finditer(data):
        texts.append(_decode_part(data[start : found.start()], current, lead))
        start = found.end()
        sequence, line_end = found.groups()
        if line_end:
            texts.append(line_end.decode("ascii"))
            current, lead = codec, b""
        else:
            current, lead = _ESCAPES.get(sequence, current) or codec, sequence
    texts.append(_decode_part(data[start:], current, lead))
    return "".join(texts)


def _decode_part(data: bytes, codec: str, sequence: bytes) -> str:
    if not data:
        return ""
    if codec == "jis":
        # Python's codec knows the planes by their own sequences alone.
        return (b"\x1b" + sequence.replace(b"$(B", b"$B") + data + b"\x1b(B").decode("iso2022_jp_2", "replace")
    if codec == "katakana":
        return bytes(byte | 0x80 for byte in data).decode("shift_jis", "replace")
    if codec == "iso2022_jp_2":
        codec = "ascii"
    return _decode(data, codec)


def _extra_codec(names: tuple[str, ...]) -> str:
    for name in names[1:_REPETITIONS_MAX]:
        found = find_charset(name)
        if found is not None and found.codec == "iso2022_jp_2":
            return found.codec
    return ""


def _key(name: str) -> str:
    key = re.sub(r"[^A-Z0-9]", "", name.upper()[:64])
    key = key.replace("ISO2022IR", "ISOIR")
    for prefix in ("ISO8859", "ISOIEC8859"):
        if key.startswith(prefix):
            return "8859" + key.removeprefix(prefix)
    if key.startswith(("UNICODEUTF", "UNICODEU")):
        return key.removeprefix("UNICODE")
    return key

"""All text of a data set in another Specific Character Set (PS3.3 C.12.1.1.2, PS3.5 6.1), nested items too.

Values of unknown VR stay as they are, for nobody can say whether they are text. What the new set does not have is a clear
error, or is written in other letters where that was asked for.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import Final

from pydicom.charset import convert_encodings
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from fileroom.core.errors import InvalidRequestError, told
from fileroom.core.limits import SEQUENCE_DEPTH_MAX
from fileroom.dicom import charset as charsets
from fileroom.dicom.charset import CharacterSet, decode_text, encode_text
from fileroom.dicom.dictionary import keyword_of, vr_of
from fileroom.dicom.values import TEXT_VRS, padded
from fileroom.pixels.header_values import BROKEN
from fileroom.transform.changes import shallow
from fileroom.transform.errors import CannotChangeError

UTF_8_TERMS: Final = ("ISO_IR 192",)
_CHARACTER_SET: Final = 0x00080005
_MODIFIED_ATTRIBUTES: Final = 0x04000550
_VALUE_CHARS_SHOWN: Final = 64
_LETTERS: Final = {
    "ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "ß": "ss", "æ": "ae", "Æ": "Ae", "ø": "oe", "Ø": "Oe",
    "å": "aa", "Å": "Aa", "œ": "oe", "Œ": "Oe", "ł": "l", "Ł": "L", "đ": "d", "Đ": "D", "ð": "d", "Ð": "D", "þ": "th",
    "Þ": "Th", "ı": "i", "’": "'", "‘": "'", "“": '"', "”": '"', "–": "-", "—": "-", "…": "...", "\u00a0": " ", "€": "EUR",
    "µ": "u", "°": " deg", "²": "2", "³": "3", "×": "x",
}  # fmt: skip
_CYRILLIC: Final = (
    "а=a б=b в=v г=g д=d е=e ё=e ж=zh з=z и=i й=i к=k л=l м=m н=n о=o п=p р=r с=s т=t у=u ф=f х=kh ц=ts ч=ch ш=sh"
)
_CYRILLIC_TOO: Final = "щ=shch ъ= ы=y ь= э=e ю=iu я=ia і=i ї=i є=ie ґ=g"
_GREEK: Final = "α=a β=v γ=g δ=d ε=e ζ=z η=i θ=th ι=i κ=k λ=l μ=m ν=n ξ=x ο=o π=p ρ=r σ=s ς=s τ=t υ=y φ=f χ=ch ψ=ps ω=o"
_ALPHABETS: Final = {one[0]: one[2:] for alphabet in (_CYRILLIC, _CYRILLIC_TOO, _GREEK) for one in alphabet.split(" ")}

_Encode = Callable[[str], bytes]


def character_set_terms(text: str) -> tuple[str, ...]:
    r"""The values of Specific Character Set for what somebody wrote: `ISO_IR 100`, `\ISO 2022 IR 87`, `ISO 2022 IR 87`.

    A set with code extension that cannot stand first gets the default repertoire before it. Raises InvalidRequestError.
    """
    terms = tuple(term.strip() for term in text.split("\\"))
    found = charsets.character_set("\\".join(terms).encode("ascii", "replace"))
    if not any(terms) or found.note or len(terms) > 8 or len(set(terms)) != len(terms):
        raise InvalidRequestError(
            told(
                "{text} is no character set. Write a defined term as ISO_IR 100, ISO_IR 192, GB18030 or \\ISO 2022 IR 87.",
                text=text[:80] or "-",
            )
        )
    if len(terms) == 1 and terms[0].upper() in (
        "ISO 2022 IR 87",
        "ISO 2022 IR 159",
        "ISO 2022 IR 149",
        "ISO 2022 IR 58",
    ):
        return ("", *terms)
    return terms


def converted(dataset: Dataset, terms: tuple[str, ...], *, transliterate: bool = False) -> Dataset:
    """The same text in another character set; `dataset` stays as it is.

    Raises CannotChangeError, which names the attribute and the character, unless such characters shall be written in other
    letters (`transliterate`; a question mark where there are none).
    """
    wanted = charsets.character_set("\\".join(terms).encode("ascii"))

    def encode(text: str) -> bytes:
        try:
            return encode_text(text, wanted)
        except UnicodeEncodeError:
            if not transliterate:
                raise
            return encode_text(transliterated(text, wanted), wanted)

    return _level(dataset, charsets.DEFAULT, wanted, encode, 0)


def text_fits(dataset: Dataset) -> Dataset:
    """The data set with text that steps have set in its own character set; where it does not fit, all text in UTF-8."""
    own = charset_of(dataset, charsets.DEFAULT)
    try:
        return _level(dataset, charsets.DEFAULT, own, lambda text: encode_text(text, own), 0)
    except CannotChangeError:
        return converted(dataset, UTF_8_TERMS)


def charset_of(dataset: Dataset, outer: CharacterSet) -> CharacterSet:
    """What a data set says, or (in an item that says nothing) what the one around it says."""
    if _CHARACTER_SET not in dataset:
        return outer
    try:
        value = dataset[_CHARACTER_SET].value
    except BROKEN:
        return outer
    terms = [] if value is None else [value] if isinstance(value, str) else list(value)
    return charsets.character_set("\\".join(map(str, terms)).encode("latin_1", "replace"))


def transliterated(text: str, charset: CharacterSet) -> str:
    """`text` with every character that `charset` does not have in other letters."""
    return "".join(_letter(character, charset) for character in text)


def _letter(character: str, charset: CharacterSet) -> str:
    plain = unicodedata.normalize("NFKD", character)
    without_marks = "".join(one for one in plain if not unicodedata.combining(one))
    low = character.lower()
    other = _ALPHABETS.get(low, _ALPHABETS.get(without_marks.lower()))
    if _has(character, charset):
        return character
    if other is not None:
        return other if low == character else other.capitalize()
    for candidate in (_LETTERS.get(character, ""), without_marks):
        if candidate and all(_has(one, charset) for one in candidate):
            return candidate
    return "?"


def _level(
    source: Dataset,
    outer: CharacterSet,
    wanted: CharacterSet,
    encode: _Encode,
    depth: int,
    around: tuple[bool | None, bool | None] = (None, None),
) -> Dataset:
    """One data set or item. Every text becomes encoded bytes, so that whoever writes it has nothing to decide."""
    own = charset_of(source, outer)
    made = shallow(source)
    implicit, little = source.original_encoding if None not in source.original_encoding else around
    for tag in sorted(int(tag) for tag in source._dict):
        element = source.get_item(tag)
        vr = _vr_of(element, tag)
        if vr == "SQ" and depth < SEQUENCE_DEPTH_MAX:
            items = source[tag].value or ()
            change = _previous if tag == _MODIFIED_ATTRIBUTES else _level
            made[tag] = DataElement(
                tag, "SQ", [change(item, own, wanted, encode, depth + 1, (implicit, little)) for item in items]
            )
        elif vr in TEXT_VRS and (text := _text(element, own)) is not None:
            if (
                isinstance(element, RawDataElement)
                and (own == wanted or text.isascii())
                and b"\x1b" not in element.value
            ):
                continue
            try:
                raw = padded(encode(text), vr)
            except UnicodeEncodeError as error:
                raise _no_such_letter(tag, text, wanted) from error
            little_endian = True if little is None else little
            made[tag] = RawDataElement(Tag(tag), vr, len(raw), raw, 0, bool(implicit), little_endian)
    if depth == 0 and own != wanted:
        made[_CHARACTER_SET] = _terms_element(wanted)
    elif depth and _CHARACTER_SET in source:
        del made[_CHARACTER_SET]
    names = convert_encodings(list(wanted.terms))
    made._parent_encoding = names
    made.set_original_encoding(implicit, little, names)
    return made


def _previous(
    source: Dataset,
    outer: CharacterSet,
    wanted: CharacterSet,
    encode: _Encode,
    depth: int,
    around: tuple[bool | None, bool | None],
) -> Dataset:
    """Values that were before a change (PS3.3 C.12.1.1.9.1): where the new set does not have them, they keep their own."""
    own = charset_of(source, outer)
    if _CHARACTER_SET not in source:
        try:
            return _level(source, outer, wanted, encode, depth, around)
        except CannotChangeError:
            pass
    made = _level(source, outer, own, lambda text: encode_text(text, own), depth, around)
    made[_CHARACTER_SET] = _terms_element(own)
    return made


def _terms_element(charset: CharacterSet) -> DataElement:
    terms = list(charset.terms)
    return DataElement(_CHARACTER_SET, "CS", terms if len(terms) > 1 else terms[0] if terms else None)


def _vr_of(element: DataElement | RawDataElement, tag: int) -> str:
    if element.VR is None:
        return vr_of(tag)
    return str(element.VR)


def _text(element: DataElement | RawDataElement, charset: CharacterSet) -> str | None:
    if isinstance(element, RawDataElement):
        return decode_text(element.value, charset).rstrip(" \0") if element.value else None
    value = element.value
    if value is None or value == "":
        return None
    return (
        str(value)
        if isinstance(value, str) or not hasattr(value, "__iter__") or (element.VR == "PN" and element.VM == 1)
        else "\\".join(map(str, value))
    )


def _no_such_letter(tag: int, text: str, wanted: CharacterSet) -> CannotChangeError:
    missing = next((one for one in text if not _has(one, wanted)), "")
    return CannotChangeError(
        told(
            "The character set {charset} has no {character}, which stands in {attribute} ({value}). Choose another set, or "
            "let characters be written in other letters.",
            charset="\\".join(wanted.terms) or "ISO_IR 6",
            character=repr(missing),
            attribute=keyword_of(tag) or f"({tag >> 16:04X},{tag & 0xFFFF:04X})",
            value=repr(text[:_VALUE_CHARS_SHOWN]),
        )
    )


def _has(character: str, charset: CharacterSet) -> bool:
    try:
        encode_text(character, charset)
    except UnicodeEncodeError:
        return False
    return True

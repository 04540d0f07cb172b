"""Escape sequences in texts (HL7 v2.5.1 2.7, v2.7 2.7.1): what they stand for, and how text is written with them.

Only sequences that the standard knows are taken for such. A path like C:\\temp\\scan, whose sender escaped nothing, stays
as it is, and so does what the two parties have agreed on (\\Z..\\).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from fileroom.hl7.charsets import decode, decode_iso2022
from fileroom.hl7.separators import Separators

_BLANKS_MAX: Final = 200
"""Lines or spaces that one command (\\.sp200\\) may stand for; a page has some sixty lines."""


def unescape(text: str, separators: Separators, codec: str) -> str:
    """Text with its escape sequences carried out. Highlighting is left out, formatting becomes line ends and spaces.

    `codec`: of \\X..\\ sequences, whose bytes are characters as often as control codes.
    """
    sign = separators.escape.decode("ascii")
    if not sign or sign not in text:
        return text
    return _pattern(sign).sub(_meaning(separators, codec), text)


def escape(text: str, separators: Separators) -> str:
    """Text as it may stand in a component: separators and control codes as sequences, line ends as \\.br\\.

    Without an escape character in MSH-2 there is no way to write them; they become blanks.
    """
    return _special(separators).sub(_sequences(separators), text)


@lru_cache(maxsize=64)
def _pattern(sign: str) -> re.Pattern[str]:
    s = re.escape(sign)
    hexadecimal = "[0-9A-Fa-f]"
    return re.compile(
        f"{s}(?:"
        f"([FSTREPHN])"
        f"|\\.(br|sp|fi|nf|in|ti|sk|ce)[ ]?([+-]?[0-9]{{0,3}})"
        f"|X((?:{hexadecimal}{{2}})+(?:{s}{s}X(?:{hexadecimal}{{2}})+)*)"
        f"|([CM]){hexadecimal}{{4,6}}"
        f"){s}"
    )


@lru_cache(maxsize=256)
def _meaning(separators: Separators, codec: str) -> Callable[[re.Match[str]], str]:
    plain = {
        "F": separators.field.decode("ascii"),
        "S": separators.component.decode("ascii"),
        "T": separators.subcomponent.decode("ascii"),
        "R": separators.repetition.decode("ascii"),
        "E": separators.escape.decode("ascii"),
        "P": separators.truncation.decode("ascii") or "#",
        "H": "",
        "N": "",
    }

    def meaning(found: re.Match[str]) -> str:
        letter, command, count, digits, switch = found.groups()
        if letter:
            return plain[letter]
        if command:
            return _formatted(command, count)
        if switch:
            return ""  # the character set was seen to before, in the bytes
        # A character of several bytes may have come as several sequences.
        return decode(bytes.fromhex(re.sub("[^0-9A-Fa-f]", "", digits)), codec)

    return meaning


def _formatted(command: str, count: str) -> str:
    number = min(int(count), _BLANKS_MAX) if count.strip("+-") else 0
    if command in ("br", "ce"):
        return "\n"
    if command == "sp":
        return "\n" * max(number, 1)
    if command in ("in", "ti", "sk"):
        return " " * max(number, 0)
    return ""


@lru_cache(maxsize=64)
def _special(separators: Separators) -> re.Pattern[str]:
    signs = separators.field + separators.encoding
    return re.compile("\r\n|[\x00-\x1f\x7f" + re.escape(signs.decode("ascii")) + "]")


@lru_cache(maxsize=64)
def _sequences(separators: Separators) -> Callable[[re.Match[str]], str]:
    sign = separators.escape.decode("ascii")
    letters = {
        separators.field: "F",
        separators.component: "S",
        separators.subcomponent: "T",
        separators.repetition: "R",
        separators.escape: "E",
        separators.truncation: "P",
    }
    known = {key.decode("ascii"): f"{sign}{letter}{sign}" for key, letter in letters.items() if key}
    known |= dict.fromkeys(("\r\n", "\r", "\n"), f"{sign}.br{sign}")

    def sequence(found: re.Match[str]) -> str:
        one = found.group()
        if not sign:
            return " "
        return known.get(one) or f"{sign}X{ord(one):02X}{sign}"

    return sequence


_SWITCH: Final = re.compile(rb"\\([CM])([0-9A-Fa-f]{4}(?:[0-9A-Fa-f]{2})?)\\")


def carry_out_switches(data: bytes, codec: str) -> str:
    """Bytes whose \\Cxxyy\\ and \\Mxxyyzz\\ are ISO 2022 escape sequences, as text."""
    if not _SWITCH.search(data):
        return decode(data, codec)
    return decode_iso2022(
        _SWITCH.sub(lambda found: b"\x1b" + bytes.fromhex(found.group(2).decode("ascii")), data), codec
    )

"""Passwords: which are taken, and how they are kept (NIST 800-63B 3.1.1.2; Argon2id, RFC 9106).

Length decides, not the kinds of characters, and nothing expires. Refused is what guessers try first: common words in their
usual disguises, runs along the keyboard, repetitions, and the names around the account.
"""

from __future__ import annotations

import asyncio
import string
import unicodedata
from collections.abc import Callable, Iterable
from importlib import resources
from typing import Final, TypeVar

import argon2

from fileroom.core.errors import InvalidRequestError, ServiceError, told
from fileroom.core.limits import LOGIN_CHARS_MAX, PASSWORD_CHARS_MAX, PASSWORD_HASHES_MAX, PASSWORD_HASHES_WAITING_MAX

T = TypeVar("T")

_COMMON: Final = frozenset((resources.files(__package__) / "common_words.txt").read_text("utf-8").split())
"""What people's passwords are made of, in English and German, and around a hospital."""
OF_NOBODY: Final = "$argon2id$v=19$m=65536,t=3,p=4$FncHXyw+qSLanWFCvEOddw$VUxoQNu6CoA/p36Q81jy0+IevkUIbRDlxUP1eqfRiyo"
"""A hash with today's parameters, to spend the time on where there is no account."""
_RUNS: Final = (
    "abcdefghijklmnopqrstuvwxyz",
    "01234567890123456789",
    "qwertyuiopasdfghjklzxcvbnm",
    "qwertzuiopasdfghjklyxcvbnm",
    "azertyuiopqsdfghjklmwxcvbn",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p",
)
_DISGUISES: Final = str.maketrans(
    {"0": "o", "1": "i", "3": "e", "4": "a", "5": "s", "7": "t", "$": "s", "@": "a", "!": "i"}
)
_APPENDED: Final = string.digits + string.punctuation + " "
"""What people put before and behind a word to please rules of composition."""
_DISTINCT_CHARS_MIN: Final = 5
"""Fewer are a pattern, whatever their order."""
_NAME_CHARS_MIN: Final = 4
"""Shorter names are part of ordinary words."""
_WORD_CHARS_MAX: Final = LOGIN_CHARS_MAX
"""Longest word that is looked for."""


def require_good_password(password: str, names: Iterable[str] = (), *, chars_min: int) -> None:
    """Raises InvalidRequestError that says what to do. `names`: the login, the person, the company."""
    text = normalised(password)
    if len(text) < chars_min:
        raise InvalidRequestError(
            told(
                "The password is too short: it needs {chars_min} characters. Four random words are easy to keep.",
                chars_min=chars_min,
            )
        )
    if len(text) > PASSWORD_CHARS_MAX:
        raise InvalidRequestError(
            told("The password is too long: {count} characters are the most.", count=PASSWORD_CHARS_MAX)
        )
    if any(unicodedata.category(character) == "Cc" for character in text):
        raise InvalidRequestError(told("The password holds a control character, which cannot be typed into a form."))
    if is_easily_guessed(text, names):
        raise InvalidRequestError(
            told(
                "The password is among those that guessers try first (a common word, a pattern, or a name of "
                "the account). Take four random words."
            )
        )


def is_easily_guessed(password: str, names: Iterable[str] = ()) -> bool:
    """Whether nothing is left of a password but common words, patterns and names."""
    lower = normalised(password).casefold()
    if len(set(lower)) < _DISTINCT_CHARS_MIN or _is_run(lower):
        return True
    words = {part for name in names for part in _parts(name) if len(part) >= _NAME_CHARS_MIN} | _COMMON
    undisguised = lower.strip(_APPENDED).translate(_DISGUISES)
    return any(_is_made_of(_letters(text), words) for text in (lower, undisguised))


def normalised(password: str) -> str:
    """The same characters however a keyboard composed them (NIST 800-63B 3.1.1.2: NFKC)."""
    return unicodedata.normalize("NFKC", password)


class PasswordHashing:
    """Argon2id in threads: a few at a time, so that a flood of logins takes neither all memory nor all cores."""

    def __init__(self, hasher: argon2.PasswordHasher | None = None, of_nobody: str = OF_NOBODY) -> None:
        """`hasher` with other costs than RFC 9106's second recommended choice (64 MiB, three passes) is for tests."""
        self._argon2 = hasher or argon2.PasswordHasher()
        self._of_nobody = of_nobody
        self._free = asyncio.Semaphore(PASSWORD_HASHES_MAX)
        self._waiting = 0

    async def make(self, password: str) -> str:
        """The hash to keep. Raises ServiceError when too many wait."""
        return await self._run(lambda: self._argon2.hash(normalised(password)))

    async def fits(self, kept: str | None, password: str) -> bool:
        """Whether the password is the one of the kept hash. Takes as long where there is none: nobody learns who exists."""
        if len(password) > PASSWORD_CHARS_MAX:
            return False
        if kept is None:
            await self._run(lambda: self._verify(self._of_nobody, password))
            return False
        return await self._run(lambda: self._verify(kept, password))

    def is_outdated(self, kept: str) -> bool:
        """Whether the hash was made with other parameters than today's."""
        return self._argon2.check_needs_rehash(kept)

    def _verify(self, kept: str, password: str) -> bool:
        try:
            return self._argon2.verify(kept, normalised(password))
        except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
            return False

    async def _run(self, work: Callable[[], T]) -> T:
        if self._waiting >= PASSWORD_HASHES_WAITING_MAX:
            raise ServiceError(told("Too many people log in at this moment. Try again in a few seconds."))
        self._waiting += 1
        try:
            async with self._free:
                return await asyncio.to_thread(work)
        finally:
            self._waiting -= 1


def _parts(name: str) -> set[str]:
    """A name as a whole and its words."""
    lower = normalised(name).casefold()
    return {_letters(lower), *("".join(c if c.isalpha() else " " for c in lower).split())}


def _letters(text: str) -> str:
    return "".join(character for character in text if character.isalpha())


def _is_made_of(text: str, words: frozenset[str] | set[str]) -> bool:
    """Whether the text is nothing but words of the list, one behind the other; also when nothing is left of it."""
    reachable = {0}
    for end in range(1, len(text) + 1):
        if any(start in reachable and text[start:end] in words for start in range(max(0, end - _WORD_CHARS_MAX), end)):
            reachable.add(end)
    return len(text) in reachable


def _is_run(text: str) -> bool:
    """Whether it is mostly a run along the alphabet, the digits or the keyboard, or one piece over and over."""
    for size in range(1, len(text) // 2 + 1):
        if (text[:size] * (len(text) // size + 1))[: len(text)] == text:
            return True
    runs = 0
    for run in (*_RUNS, *(run[::-1] for run in _RUNS)):
        runs = max(runs, sum(text[at : at + 2] in run for at in range(len(text) - 1)))
    return runs * 4 >= (len(text) - 1) * 3

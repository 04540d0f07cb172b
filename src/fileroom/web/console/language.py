"""The languages of the console: gettext catalogues read from their .po files, and which one a reader gets.

A reader's own choice comes first, then what the browser asks for (Accept-Language, RFC 9110 12.5.4), then English, which
the message ids are written in. Dates and numbers follow the region that the browser names, `en-GB` for instance.
"""

from __future__ import annotations

import functools
import gettext
import io
from dataclasses import dataclass
from importlib import resources
from typing import Final

from babel import Locale, UnknownLocaleError
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

from fileroom.core.errors import FileroomError, Told

LANGUAGES: Final = {"en": "English", "de": "Deutsch"}
"""Every language that is complete, by what it calls itself."""
DEFAULT: Final = "en"
RANGES_MAX: Final = 10
"""Languages of one Accept-Language header that are looked at; browsers send up to five."""

_LOCALE: Final = resources.files("fileroom.web.console") / "locale"


@dataclass(frozen=True, slots=True)
class Reader:
    """In what language and by which region's customs somebody reads."""

    language: str
    locale: Locale
    catalogue: gettext.NullTranslations

    def gettext(self, message: str) -> str:
        """The message in the reader's language."""
        return self.catalogue.gettext(message)

    def say(self, error: FileroomError) -> str:
        """What an error says, in the reader's language where its sentence can be said in it (`core.errors.told`)."""
        return str(self._said(error.sentence))

    def tell(self, sentence: str) -> str:
        """The same of a sentence alone."""
        return str(self._said(sentence))

    def _said(self, value: object) -> object:
        """A sentence may hold others."""
        if not isinstance(value, Told):
            return value
        words = self.catalogue.gettext(value.template)
        return (
            words.format_map({name: self._said(one) for name, one in value.values.items()}) if value.values else words
        )

    def ngettext(self, one: str, many: str, number: int) -> str:
        """The same where the words depend on a number."""
        return self.catalogue.ngettext(one, many, number)


def N_(message: str) -> str:
    """Marks a message that is translated where it is shown."""
    return message


def choose_reader(own_choice: str | None, accept_language: str | None) -> Reader:
    """Who reads: by their own choice of a language, else by what the browser accepts."""
    wanted = _ranges(accept_language)
    if own_choice in LANGUAGES:
        region = next((tag for tag in wanted if tag.partition("-")[0] == own_choice), own_choice)
        return reader_of(region)
    return reader_of(next((tag for tag in wanted if tag.partition("-")[0] in LANGUAGES), DEFAULT))


@functools.lru_cache(maxsize=64)
def reader_of(tag: str) -> Reader:
    """The reader of a language tag such as `de-AT` whose language the console has."""
    language = tag.partition("-")[0]
    try:
        locale = Locale.parse(tag, sep="-")
    except (ValueError, UnknownLocaleError):
        locale = Locale.parse(language)
    return Reader(language, locale, catalogue_of(language))


@functools.cache
def catalogue_of(language: str) -> gettext.NullTranslations:
    """The messages of a language, from its .po file: nothing compiled is kept beside it."""
    if language == DEFAULT:
        return gettext.NullTranslations()
    text = (_LOCALE / language / "LC_MESSAGES" / "fileroom.po").read_bytes()
    compiled = io.BytesIO()
    write_mo(compiled, read_po(io.BytesIO(text)))
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


def _ranges(header: str | None) -> list[str]:
    """Language tags of an Accept-Language header, the best first; what makes no sense is passed over."""
    weighted: list[tuple[float, str]] = []
    for member in (header or "").split(",")[:RANGES_MAX]:
        tag, _, parameters = member.partition(";")
        name, _, value = parameters.strip().partition("=")
        try:
            quality = float(value) if name.strip() == "q" else 1.0
        except ValueError:
            continue
        tag = tag.strip()
        if quality > 0 and tag.replace("-", "").isalnum() and tag.isascii() and len(tag) <= 35:
            weighted.append((-quality, tag.lower()))
    return [tag for _, tag in sorted(weighted, key=lambda entry: entry[0])]

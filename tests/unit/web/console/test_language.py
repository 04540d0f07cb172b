"""Which language a reader gets, and that every text of the console is in the catalogues."""

from __future__ import annotations

import io
import re
from html.parser import HTMLParser
from importlib import resources

import pytest
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

from fileroom.core.live_settings import setting_texts
from fileroom.web.console.language import LANGUAGES, catalogue_of, choose_reader

CONSOLE = resources.files("fileroom.web.console")
SENTENCES = [
    resources.files(f"fileroom.{room}")
    for room in ("core", "hl7", "admin", "archive", "worklist", "reports", "feeds", "routing", "fhir", "transform")
]
TEMPLATES = sorted((CONSOLE / "templates").iterdir(), key=lambda file: file.name)


@pytest.mark.parametrize(
    ("own", "accepted", "language", "locale"),
    [
        (None, None, "en", "en"),
        (None, "de-AT,de;q=0.9,en;q=0.8", "de", "de_AT"),
        (None, "fr-FR, en-GB;q=0.5", "en", "en_GB"),
        (None, "fr", "en", "en"),
        (None, "en;q=0.2, de;q=0.9", "de", "de"),
        (None, "de;q=0", "en", "en"),
        ("de", "en-US", "de", "de"),
        ("de", "en-US, de-CH;q=0.1", "de", "de_CH"),
        ("xx", "de", "de", "de"),
        (None, "de;q=x, ../../etc, *", "en", "en"),
        (None, "de-" + "x" * 5000, "en", "en"),
    ],
)
def test_the_own_choice_comes_before_the_browsers(
    own: str | None, accepted: str | None, language: str, locale: str
) -> None:
    reader = choose_reader(own, accepted)
    assert (reader.language, str(reader.locale)) == (language, locale)


def extracted() -> set[str | tuple[str, ...]]:
    """Every message id of the console's templates and modules."""
    methods = [("**.py", "python"), ("templates/**.html", "jinja2")]
    options = {"templates/**.html": {"trimmed": "true", "silent": "false", "extensions": "jinja2.ext.do"}}
    keywords = {"_": None, "N_": None, "gettext": None, "ngettext": (1, 2)}
    found = [*extract_from_dir(str(CONSOLE), methods, options, keywords)]
    found += extract_from_dir(str(resources.files("fileroom.web")), methods[:1], None, {"told": None})
    for room in SENTENCES:
        found += extract_from_dir(str(room), methods[:1], None, {"N_": None, "told": None})
    return {message for _, _, message, _, _ in found} | {str(text) for text in setting_texts()}


def catalogue(language: str) -> Catalog:
    text = (CONSOLE / "locale" / language / "LC_MESSAGES" / "fileroom.po").read_bytes()
    return read_po(io.BytesIO(text))


@pytest.mark.parametrize("language", [code for code in LANGUAGES if code != "en"])
def test_every_message_is_translated_and_none_is_left_over(language: str) -> None:
    read = catalogue(language)
    messages = {message.id: message for message in read if message.id}
    wanted = extracted()
    wanted -= {one[0] for one in wanted if isinstance(one, tuple)}  # gettext finds the singular of a plural, too.
    assert wanted - messages.keys() == set(), "not in the catalogue"
    assert messages.keys() - wanted == set(), "no longer used"
    for message in messages.values():
        texts = message.string if isinstance(message.string, tuple) else (message.string,)
        assert all(texts), f"not translated: {message.id}"
        assert not message.fuzzy, f"fuzzy: {message.id}"
        assert not list(message.check(read)), f"placeholders differ: {message.id}"


def test_a_catalogue_is_read_from_its_text() -> None:
    assert catalogue_of("de").gettext("Studies") == "Studien"
    assert catalogue_of("en").gettext("Studies") == "Studies"


class _VisibleText(HTMLParser):
    """Text between tags, and in attributes that people see or hear."""

    SPOKEN = frozenset({"title", "placeholder", "alt", "aria-label"})

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._silent = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._silent += tag in ("kbd", "code", "script", "svg")
        self.found += [value for name, value in attrs if name in self.SPOKEN and value]

    def handle_endtag(self, tag: str) -> None:
        self._silent -= tag in ("kbd", "code", "script", "svg")

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.found.append(data)


@pytest.mark.parametrize("file", TEMPLATES, ids=lambda file: file.name)
def test_no_template_says_anything_outside_of_the_catalogues(file: object) -> None:
    text = file.read_text("utf-8")  # type: ignore[attr-defined]
    text = re.sub(r"\{#.*?#\}", "", text, flags=re.DOTALL)
    text = re.sub(r"\{% set locked %\}.*?\{% endset %\}", "", text)  # The attribute of HTML, for many fields.
    text = re.sub(r"\{%-?\s*trans\b.*?endtrans\s*-?%\}", "", text, flags=re.DOTALL)
    text = re.sub(r"\{%.*?%\}|\{\{.*?\}\}", "", text, flags=re.DOTALL)
    parser = _VisibleText()
    parser.feed(text)
    words = [found for found in parser.found if re.search(r"[A-Za-z]{2}", found)]
    assert [word.strip() for word in words if word.strip() not in NAMES] == []


NAMES = frozenset(
    {
        "Fileroom",
        "· Fileroom",
        "ZIP",
        "DICOMDIR",
        "VR",
        "STOW-RS",
        "FHIR:  ()",
        "user/ImagingStudy.rs patient/*.read",
        "Study Instance UID",
        "SOP Instance UID",
        "ms",
        "s min h",
    }
) | {
    "0019xx10 ACME 1.0",
    "{Procedure}",
    "CHEST, THORAX",
    "CT, PT",
    "CT1, CT*",
    "DE-BY",
    "ISO_IR 100",
    "today, +12h, today+7",
    "today, -2h, today-1",
    "Europe/Berlin",
    'Modality == "CT"',
    "PatientID",
    "StudyDescription keep",
    '[{"name": "banner", "where": {"Manufacturer": "ACME", "Rows": "768"}, "regions": [[0, 0, 1024, 60]]}]',
    "clinic-north",
    "https://pacs.hospital.example",
    "mon-fri 18:00-06:00",
    "nights",
}
"""What is called the same in every language: names, units, and examples of what is typed as it stands."""

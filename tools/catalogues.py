"""Bring the console's catalogues in line with its texts: new messages come in empty, unused ones go.

Run after changing a text of the console; then translate what is empty (tests name it).
"""

from __future__ import annotations

import io
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

from fileroom.core.live_settings import setting_texts

SOURCE = Path(__file__).parent.parent / "src" / "fileroom"
CONSOLE = SOURCE / "web" / "console"
SENTENCES = [
    SOURCE / room
    for room in ("core", "hl7", "admin", "archive", "worklist", "reports", "feeds", "routing", "fhir", "transform")
]
"""Services mark the sentences that they make for people with `told` or N_; the console says them in the reader's language."""
METHODS = [("**.py", "python"), ("templates/**.html", "jinja2")]
OPTIONS = {"templates/**.html": {"trimmed": "true", "silent": "false", "extensions": "jinja2.ext.do"}}
KEYWORDS = {"_": None, "N_": None, "gettext": None, "ngettext": (1, 2)}


def main() -> None:
    """Update every catalogue that there is."""
    template = Catalog(project="Fileroom")
    found = [*extract_from_dir(str(SOURCE / "web"), METHODS[:1], None, {"told": None})]
    found += extract_from_dir(str(CONSOLE), METHODS, OPTIONS, KEYWORDS)
    for room in SENTENCES:
        found += extract_from_dir(str(room), METHODS[:1], None, {"N_": None, "told": None})
    for file, _, message, comments, context in found:
        template.add(message, None, [(file, None)], auto_comments=comments, context=context)  # type: ignore[list-item]
    for text in sorted(setting_texts()):
        template.add(str(text))
    for path in sorted((CONSOLE / "locale").glob("*/LC_MESSAGES/fileroom.po")):
        language = path.parent.parent.name
        catalogue = read_po(io.BytesIO(path.read_bytes()), locale=language)
        catalogue.update(template, no_fuzzy_matching=True, update_creation_date=False)
        catalogue.obsolete.clear()
        written = io.BytesIO()
        write_po(written, catalogue, width=120, omit_header=True, include_lineno=False, sort_output=True)
        head = f'msgid ""\nmsgstr ""\n"Language: {language}\\n"\n"Content-Type: text/plain; charset=utf-8\\n"\n'
        head += f'"Plural-Forms: {catalogue.plural_forms}\\n"\n\n'
        path.write_bytes(head.encode() + written.getvalue())
        empty = [message.id for message in catalogue if message.id and not all(_texts(message.string))]
        print(f"{language}: {len(catalogue)} messages, {len(empty)} to translate")
        for one in empty:
            print(f"  {one!r}")


def _texts(string: object) -> tuple[str, ...]:
    return tuple(string) if isinstance(string, (list, tuple)) else (str(string or ""),)


if __name__ == "__main__":
    main()

"""Content items of structured reports (PS3.3 C.17.3) under Clean Structured Content: by what they are and what they mean."""

from __future__ import annotations

from typing import Final, Protocol

from pydicom.dataset import Dataset

from fileroom.deid.values import DUMMY_TEXT
from fileroom.pixels.header_values import items, text, value_of

_NAMING_CONCEPTS: Final = frozenset(
    {
        "121008", "121009", "121010", "121012", "121013", "121016", "121017", "121018", "121019", "121020", "121021", "121022",
        "121024", "121025", "121026", "121027", "121028", "121029", "121030", "121031", "121034", "121035", "121036", "121037",
        "121125", "121160", "122005", "122146",
    }
)  # fmt: skip
"""DCM codes whose values name a person, an organization, a device or an order (PS3.16 TID 1001 to 1010)."""


class TextCleaner(Protocol):
    """Cleans text of what names the patient."""

    def clean_text(self, text: str, /) -> str | None:
        """None when nothing can be kept."""


def clean_content_item(item: Dataset, cleaner: TextCleaner) -> None:
    """Clean an item and what it contains, in place. Dates and UIDs have been seen to by the table before."""
    kind = text(item, "ValueType")
    concept = next((str(value_of(code, "CodeValue") or "") for code in items(item, "ConceptNameCodeSequence")), "")
    if kind == "TEXT" and "TextValue" in item:
        cleaned = None if concept in _NAMING_CONCEPTS else cleaner.clean_text(str(value_of(item, "TextValue") or ""))
        item.TextValue = cleaned if cleaned is not None else DUMMY_TEXT
    for inner in items(item, "ContentSequence"):
        clean_content_item(inner, cleaner)

"""Status codes and their categories (PS3.7 Annex C)."""

from __future__ import annotations

import pytest

from fileroom.dimse.status import Status, StatusCategory, category, describe, is_pending


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (0x0000, StatusCategory.SUCCESS),
        (0xFF00, StatusCategory.PENDING),
        (0xFF01, StatusCategory.PENDING),
        (0xFE00, StatusCategory.CANCEL),
        (0x0001, StatusCategory.WARNING),
        (0x0107, StatusCategory.WARNING),
        (0x0116, StatusCategory.WARNING),
        (0xB000, StatusCategory.WARNING),
        (0xB007, StatusCategory.WARNING),
        (0xBFFF, StatusCategory.WARNING),
        (0x0110, StatusCategory.FAILURE),
        (0x0122, StatusCategory.FAILURE),
        (0xA700, StatusCategory.FAILURE),
        (0xA801, StatusCategory.FAILURE),
        (0xC123, StatusCategory.FAILURE),
        (0x7777, StatusCategory.FAILURE),
    ],
)
def test_categories(status: int, expected: StatusCategory) -> None:
    assert category(status) is expected
    assert is_pending(status) == (expected is StatusCategory.PENDING)


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (0x0000, "success 0000H: success"),
        (0x0122, "failure 0122H: SOP class not supported"),
        (0xA7FF, "failure A7FFH: out of resources"),
        (0xA9FF, "failure A9FFH: data set or identifier does not match SOP class"),
        (0xC321, "failure C321H: cannot understand or unable to process"),
        (0xB123, "warning B123H: warning of the service class"),
        (0x7777, "failure 7777H: not defined by the standard"),
    ],
)
def test_descriptions(status: int, text: str) -> None:
    assert describe(status) == text


def test_every_named_status_has_words_of_its_own() -> None:
    assert len({describe(status) for status in Status}) == len(Status)

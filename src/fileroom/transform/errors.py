"""What went wrong with an object that should be changed."""

from __future__ import annotations

from typing import Final

from fileroom.core.errors import InvalidObjectError, Told, told

_VALUE_CHARS_SHOWN: Final = 64


class CannotChangeError(InvalidObjectError):
    """The object cannot be changed as asked; it must not leave unchanged."""


def step_failed(number: int, kind: str, attribute: str, value: object, reason: str) -> CannotChangeError:
    """Names step, attribute and value."""
    shown: Told = told(
        "Step {number} ({kind} {attribute}) cannot be applied to the value {value}: {reason}.",
        number=number,
        kind=kind,
        attribute=attribute,
        value=repr(str(value)[:_VALUE_CHARS_SHOWN]) if value not in (None, "") else "-",
        reason=reason,
    )
    return CannotChangeError(shown)

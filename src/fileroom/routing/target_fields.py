"""How a kind of destination says which fields its target has: forms, the command line and the checks are made from that.

    FIELDS = (TargetField("url", told("Address"), FieldType.URL, required=True), ...)
    checked_target("stow", FIELDS, target)      the normal form: known fields only, defaults left out
    filled(FIELDS, target)                      the same with the defaults in their places

A kind of a third party may have `fields` too; without them people write its target as JSON.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, runtime_checkable
from urllib.parse import urlsplit

from fileroom.core.errors import InvalidRequestError, told

TEXT_CHARS_MAX: Final = 1000
"""Of one line: an address, a pattern, a subject."""
LINES_CHARS_MAX: Final = 20_000
"""Of a text of several lines: a mail."""
LIST_MAX: Final = 100
"""Entries of one list: the addresses that one notice goes to."""
_YES: Final = frozenset({"yes", "true", "1", "on"})
_NO: Final = frozenset({"no", "false", "0", "off", ""})


class FieldType(enum.StrEnum):
    """What a field holds."""

    TEXT = "text"
    LINES = "lines"
    """A text of several lines."""
    SECRET = "secret"  # noqa: S105 - a type of field
    URL = "url"
    """http:// or https://, without a login in it."""
    NUMBER = "number"
    """A whole number."""
    DECIMAL = "decimal"
    FLAG = "flag"
    CHOICE = "choice"
    LIST = "list"
    """Texts, apart by commas where people write them."""


@dataclass(frozen=True, slots=True)
class TargetField:
    """One field. `label` and `help` are for people, `told` where they can be said in other languages."""

    name: str
    label: str
    type: FieldType = FieldType.TEXT
    help: str = ""
    default: Any = ""
    required: bool = False
    choices: tuple[str, ...] = ()
    minimum: float = 0
    maximum: float = 1_000_000


@runtime_checkable
class KindWithFields(Protocol):
    """A kind of destination that tells its fields."""

    @property
    def fields(self) -> Sequence[TargetField]:
        """In the order of its form."""


def fields_of(kind: object) -> tuple[TargetField, ...]:
    """The fields that a kind tells; none where it tells none."""
    return tuple(kind.fields) if isinstance(kind, KindWithFields) else ()


def checked_target(what: str, fields: Sequence[TargetField], target: Mapping[str, Any]) -> dict[str, Any]:
    """The target in its normal form: known fields only, checked, defaults left out. `what` names it in sentences.

    Raises InvalidRequestError, which names the field and says what would be right.
    """
    known = {one.name: one for one in fields}
    if unknown := [name for name in target if name not in known]:
        raise InvalidRequestError(
            told(
                "{what} has no field {unknown}; it has {known}.",
                what=what,
                unknown=repr(str(min(unknown, key=str)))[:60],
                known=", ".join(known),
            )
        )
    found: dict[str, Any] = {}
    for one in fields:
        value = checked_value(one, target[one.name]) if one.name in target else one.default
        if one.required and value in ("", [], None):
            raise InvalidRequestError(told("{what} needs the field {field}.", what=what, field=one.name))
        if value != one.default:
            found[one.name] = value
    return found


def filled(fields: Sequence[TargetField], target: Mapping[str, Any]) -> dict[str, Any]:
    """A checked target with the defaults of what it leaves out."""
    return {one.name: one.default for one in fields} | dict(target)


def from_text(field: TargetField, text: str) -> Any:
    """What somebody wrote on a form or a command line, as the type of the field. Raises InvalidRequestError."""
    text = text if field.type in (FieldType.SECRET, FieldType.LINES) else text.strip()
    match field.type:
        case FieldType.FLAG:
            if text.lower() in _YES | _NO:
                return text.lower() in _YES
            raise _wrong(field.name, told("yes or no"))
        case FieldType.NUMBER | FieldType.DECIMAL:
            if not text:
                return field.default
            try:
                return int(text) if field.type is FieldType.NUMBER else float(text)
            except ValueError:
                raise _wrong(field.name, _range(field)) from None
        case FieldType.LIST:
            return [one for one in (piece.strip() for piece in text.replace("\n", ",").split(",")) if one]
        case _:
            return text.replace("\r\n", "\n")


def checked_value(field: TargetField, value: Any) -> Any:
    """One value in its normal form. Raises InvalidRequestError."""
    match field.type:
        case FieldType.FLAG:
            if not isinstance(value, bool):
                raise _wrong(field.name, told("true or false"))
            return value
        case FieldType.NUMBER | FieldType.DECIMAL:
            return _number(field, value)
        case FieldType.LIST:
            return _list(field, value)
        case FieldType.CHOICE:
            if value not in field.choices:
                raise _wrong(field.name, told("one of {choices}", choices=", ".join(field.choices)))
            return value
        case _:
            return _text(field, value)


def _number(field: TargetField, value: Any) -> int | float:
    whole = field.type is FieldType.NUMBER
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        raise _wrong(field.name, _range(field))
    if not math.isfinite(value) or not field.minimum <= value <= field.maximum:
        raise _wrong(field.name, _range(field))
    return int(value) if whole or float(value).is_integer() else float(value)


def _list(field: TargetField, value: Any) -> list[str]:
    if not isinstance(value, list | tuple) or len(value) > LIST_MAX or not all(isinstance(one, str) for one in value):
        raise _wrong(field.name, told("a list of at most {most} texts", most=LIST_MAX))
    return [_text(field, one) for one in value]


def _text(field: TargetField, value: Any) -> str:
    most = LINES_CHARS_MAX if field.type is FieldType.LINES else TEXT_CHARS_MAX
    if not isinstance(value, str) or len(value) > most:
        raise _wrong(field.name, told("a text of at most {most} characters", most=most))
    lines = field.type is FieldType.LINES
    if field.type is FieldType.SECRET:
        # A secret is what it is, blanks at its ends included; what is no character at all is a mistake.
        if any(ord(one) < 32 and one not in "\n\r\t" for one in value):
            raise _wrong(field.name, told("a text without control characters"))
        return value
    if any(not one.isprintable() and not (lines and one in "\n\t") for one in value):
        raise _wrong(field.name, told("a text without control characters"))
    text: str = value if lines else value.strip()
    if field.type is FieldType.URL and text:
        _require_url(field.name, text)
    return text


def _require_url(name: str, value: str) -> None:
    fitting = told("an address such as https://pacs.hospital.example/path, without a login in it")
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError as error:
        raise _wrong(name, fitting) from error
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc or parts.fragment:
        raise _wrong(name, fitting)
    if port == 0 or " " in value or "\\" in value:
        raise _wrong(name, fitting)


def _range(field: TargetField) -> str:
    number = told("a whole number") if field.type is FieldType.NUMBER else told("a number")
    return told("{number} from {low} to {high}", number=number, low=f"{field.minimum:g}", high=f"{field.maximum:g}")


def _wrong(name: str, fits: str) -> InvalidRequestError:
    return InvalidRequestError(told("The field {field} does not fit: it is {fits}.", field=name, fits=fits))

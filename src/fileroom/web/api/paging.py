"""Lists page by page. A page begins behind the last entry of the one before, so that it costs the same however far down.

`next` is the address of the next page, to be asked as it stands; it is null on the last one.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Annotated, Final, Generic, TypeVar
from urllib.parse import urlencode

import orjson
from fastapi import Query, Request
from pydantic import Field

from fileroom.core.errors import InvalidRequestError
from fileroom.web.api.models import Shown

T = TypeVar("T")
Entry = TypeVar("Entry")

LIMIT_DEFAULT: Final = 100
LIMIT_MAX: Final = 500
"""Entries of one page: half a megabyte of studies."""
CURSOR_CHARS_MAX: Final = 1000

Limit = Annotated[int, Query(ge=1, le=LIMIT_MAX, description="Entries of one page.")]
Cursor = Annotated[
    str,
    Query(max_length=CURSOR_CHARS_MAX, pattern=r"^[A-Za-z0-9_-]*$", description="Where a page ended; `next` has it."),
]


class Page(Shown, Generic[T]):
    """Some entries of a list."""

    items: list[T]
    next: Annotated[str | None, Field(description="Address of the next page; null where this is the last.")] = None


def next_address(request: Request, cursor: str) -> str | None:
    """The same question, from a place on; None without one."""
    if not cursor:
        return None
    kept = [(name, value) for name, value in request.query_params.multi_items() if name != "cursor"]
    return f"{request.url.path}?{urlencode([*kept, ('cursor', cursor)])}"


def write_cursor(*place: object) -> str:
    """A place as text that says nothing to others."""
    return base64.urlsafe_b64encode(orjson.dumps(place)).decode("ascii").rstrip("=")


def read_cursor(cursor: str, *kinds: type) -> list[object] | None:
    """The values that `write_cursor` was given, of these kinds; None for an empty one. Raises InvalidRequestError."""
    if not cursor:
        return None
    try:
        place = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, binascii.Error):
        place = None
    if (
        not isinstance(place, list)
        or len(place) != len(kinds)
        or not all(isinstance(value, kind) for value, kind in zip(place, kinds, strict=True))
    ):
        raise InvalidRequestError("This cursor is from no page of ours; begin again without one.")
    return place


def cut(entries: Sequence[Entry], key: Callable[[Entry], str], cursor: str, limit: int) -> tuple[Sequence[Entry], str]:
    """A page of a list that is short enough to be read whole, in the order of `key`, and the cursor behind it."""
    place = read_cursor(cursor, str)
    ordered = sorted(entries, key=key)
    if place is not None:
        behind = str(place[0])
        ordered = [entry for entry in ordered if key(entry) > behind]
    page = ordered[:limit]
    return page, write_cursor(key(page[-1])) if len(ordered) > limit else ""


def by_number(number: int) -> str:
    """A number as a key of `cut`."""
    return f"{number:020d}"

"""The name that stands under a report: the person's full name as a PN, else the login."""

from __future__ import annotations

from typing import Any, Final

from psycopg import AsyncConnection

from fileroom.core.access import Access

_TITLES: Final = frozenset({"dr.", "dr", "prof.", "prof", "pd", "priv.-doz.", "med.", "doc.", "dipl.-med."})
_CHARS_MAX: Final = 64
"""Of each component group (PS3.5 6.2)."""


async def signing_name(connection: AsyncConnection[Any], access: Access) -> str:
    """Raises psycopg.Error."""
    row = None
    if access.account_id is not None:
        cursor = await connection.execute(b"SELECT full_name FROM account WHERE id = %s", (access.account_id,))
        row = await cursor.fetchone()
    return pn_of_full_name(row[0] if row and row[0] else access.name)


def pn_of_full_name(name: str) -> str:
    """`Dr. Ada Lovelace` and `Lovelace, Ada` as a PN; without a comma the last word is the family name."""
    if "^" in name:
        return name[:_CHARS_MAX]
    name = name.replace("\\", " ").replace("=", " ")
    family, comma, given = name.partition(",")
    words = (given if comma else name).split()
    titles: list[str] = []
    while words and words[0].casefold() in _TITLES:
        titles.append(words.pop(0))
    if not comma:
        family = words.pop() if words else " ".join(titles)
        titles = titles if words or family not in titles else []
    parts = (" ".join(family.split()), " ".join(words), "", " ".join(titles))
    return "^".join(parts).rstrip("^")[:_CHARS_MAX]

"""Searches of the study list that a person keeps under a name. Each person has their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import psycopg
from psycopg.rows import class_row

from fileroom.core.access import Access, Permission, require
from fileroom.core.errors import ConflictError, DatabaseError, InvalidRequestError, told
from fileroom.core.limits import SAVED_FILTERS_MAX
from fileroom.db.pool import Pool

NAME_CHARS_MAX: Final = 60
QUESTION_CHARS_MAX: Final = 4000
"""Every field of the study list at its longest."""


@dataclass(frozen=True, slots=True)
class SavedFilter:
    """A search under a name. `question` is a query string."""

    id: int
    name: str
    question: str


async def list_filters(pool: Pool) -> list[SavedFilter]:
    """The filters of whoever acts, by name. Raises NotAllowedError, DatabaseError."""
    owner = _owner(require(Permission.STUDY_SEARCH))
    try:
        async with pool.connection() as connection, connection.cursor(row_factory=class_row(SavedFilter)) as cursor:
            await cursor.execute(
                b"SELECT id, name, question FROM saved_filter WHERE owner = %s ORDER BY lower(name) LIMIT %s",
                (owner, SAVED_FILTERS_MAX),
            )
            return await cursor.fetchall()
    except psycopg.Error as error:
        raise _failure(error) from error


async def save_filter(pool: Pool, name: str, question: str) -> None:
    """Keep a search; one of the same name is replaced. Raises InvalidRequestError, ConflictError when there are too many,
    NotAllowedError, DatabaseError."""
    owner = _owner(require(Permission.STUDY_SEARCH))
    name = name.strip()
    if not name or len(name) > NAME_CHARS_MAX or not name.isprintable():
        raise InvalidRequestError(
            told("A filter needs a name of up to {count} characters, for example CT today.", count=NAME_CHARS_MAX)
        )
    if len(question) > QUESTION_CHARS_MAX or not question.isprintable():
        raise InvalidRequestError(told("This search is too long to be kept."))
    try:
        async with pool.connection() as connection:
            cursor = await connection.execute(
                b"""INSERT INTO saved_filter (owner, name, question)
                    SELECT %(owner)s, %(name)s, %(question)s
                    WHERE (SELECT count(*) FROM saved_filter WHERE owner = %(owner)s AND name <> %(name)s) < %(most)s
                    ON CONFLICT (owner, name) DO UPDATE SET question = excluded.question""",
                {"owner": owner, "name": name, "question": question, "most": SAVED_FILTERS_MAX},
            )
    except psycopg.Error as error:
        raise _failure(error) from error
    if cursor.rowcount == 0:
        raise ConflictError(told("There are {count} saved filters already. Remove one first.", count=SAVED_FILTERS_MAX))


async def remove_filter(pool: Pool, filter_id: int) -> None:
    """Forget a filter of whoever acts; one that is gone already is no mistake. Raises NotAllowedError, DatabaseError."""
    owner = _owner(require(Permission.STUDY_SEARCH))
    try:
        async with pool.connection() as connection:
            await connection.execute(b"DELETE FROM saved_filter WHERE owner = %s AND id = %s", (owner, filter_id))
    except psycopg.Error as error:
        raise _failure(error) from error


def _owner(access: Access) -> str:
    return f"account:{access.account_id}" if access.account_id is not None else f"{access.kind.value}:{access.name}"


def _failure(error: psycopg.Error) -> DatabaseError:
    return DatabaseError(
        told("The saved filters cannot be reached: {name}. Try again later.", name=type(error).__name__)
    )

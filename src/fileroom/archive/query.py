"""Asking the archive: the one search behind C-FIND, QIDO-RS, the console and the command line."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from fileroom.archive.services import Archive
from fileroom.dicom.query import Query
from fileroom.index import search as index_search
from fileroom.index.search import Answer


async def search(archive: Archive, query: Query) -> AsyncGenerator[Answer, None]:
    """The answers to `query`, streamed; at most QUERY_ROWS_MAX + 1, so that the caller can see that there were more.

    Raises DatabaseError. Close the iterator (`aclosing`) to cancel the search in the database.
    """
    # The search is closed before its connection goes back: a statement left running would cost the connection.
    async with (
        archive.pool.connection() as connection,
        aclosing(index_search.search(connection, query)) as answers,
    ):
        async for answer in answers:
            yield answer

"""Asking the archive: the one search behind C-FIND, QIDO-RS, the console and the command line.

Whoever asks needs STUDY_SEARCH, and finds the studies of their row scope only.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.dicom.query import Query
from fileroom.index import search as index_search
from fileroom.index.search import Answer
from fileroom.index.visibility import Visibility, visibility_of


def search(archive: Archive, query: Query) -> AsyncGenerator[Answer, None]:
    """The answers to `query`, streamed; at most QUERY_ROWS_MAX + 1, so that the caller can see that there were more.

    Raises NotAllowedError at once, DatabaseError. Close the iterator (`aclosing`) to cancel the search in the database.
    """
    return _search(archive, query, visibility_of(require(Permission.STUDY_SEARCH)))


async def _search(archive: Archive, query: Query, visibility: Visibility) -> AsyncGenerator[Answer, None]:
    # The search is closed before its connection goes back: a statement left running would cost the connection.
    async with (
        archive.pool.connection() as connection,
        aclosing(index_search.search(connection, query, visibility)) as answers,
    ):
        async for answer in answers:
            yield answer

"""The one search: streamed, and ended in the database when nobody listens any more."""

from __future__ import annotations

from contextlib import aclosing

import pytest

from fileroom.archive.query import search
from fileroom.archive.services import Archive
from fileroom.core.errors import DatabaseError
from fileroom.dicom.query import Level, Query
from stored_objects import make_file, store_file


async def test_a_search_that_is_given_up_leaves_its_connection_usable(archive: Archive) -> None:
    for number in range(3):
        await store_file(archive, make_file(SOPInstanceUID=f"1.2.3.1.1.{number}"))
    for _ in range(3):
        async with aclosing(search(archive, Query(Level.INSTANCE))) as answers:
            async for answer in answers:
                assert answer.study_instance_uid == "1.2.3.1"
                break
    assert archive.pool.get_stats().get("returns_bad", 0) == 0


async def test_without_a_database_it_says_so(archive: Archive) -> None:
    await archive.pool.close()
    with pytest.raises(DatabaseError, match="does not answer"):
        _ = [answer async for answer in search(archive, Query(Level.STUDY))]

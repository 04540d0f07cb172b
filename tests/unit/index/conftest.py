"""Several hundred studies in the index, loaded once for a module's searches."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from index_collection import Indexed, make_collection

STUDIES = 200


@pytest.fixture(scope="module")
def indexed(database_url: str) -> Iterator[Indexed]:
    """An index that holds the collection and nothing else."""
    made = make_collection(STUDIES)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("TRUNCATE patient, study, series, instance RESTART IDENTITY")
        batch = b"[" + b",".join(made.rows) + b"]"
        connection.execute("SELECT count(*) FROM store_instances(%s::jsonb)", (batch.decode(),))
        connection.execute("ANALYZE")
        yield Indexed(made, connection)

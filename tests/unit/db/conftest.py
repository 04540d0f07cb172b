"""A PostgreSQL of these tests' own, which its tests may stop and kill."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from fileroom.db.embedded import EmbeddedPostgres


@pytest.fixture(scope="session")
def server_folder() -> Iterator[Path]:
    """Not in pytest's own folder: the server may run as another account, which cannot pass through that."""
    folder = Path(tempfile.mkdtemp(prefix="fileroom-tests-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def cluster(server_folder: Path) -> Iterator[EmbeddedPostgres]:
    """The server; a test that has stopped it finds it running again by `server`."""
    server = EmbeddedPostgres(server_folder / "postgres")
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def server(cluster: EmbeddedPostgres) -> EmbeddedPostgres:
    """The running server."""
    cluster.start()
    return cluster


@pytest.fixture
def new_database(server: EmbeddedPostgres) -> Iterator[Callable[[str], str]]:
    """Makes empty databases; returns their addresses."""
    made: list[str] = []

    def make(name: str) -> str:
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE template0".encode())
        made.append(name)
        return server.url.replace("/fileroom?", f"/{name}?")

    yield make
    with psycopg.connect(server.url, autocommit=True) as connection:
        for name in made:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())

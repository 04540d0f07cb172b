"""Settings become services in one place."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from fileroom.app import database, services
from fileroom.app.database import database_url, embedded_postgres, running_database
from fileroom.app.services import open_archive, open_store
from fileroom.core.errors import StorageError
from fileroom.core.settings import Settings
from fileroom.db import schema
from fileroom.storage.cloud import CloudStore
from fileroom.storage.local import LocalStore
from stored_objects import make_file, store_file


def test_without_an_address_the_database_is_the_embedded_one(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path)
    embedded = embedded_postgres(settings)
    assert embedded is not None
    assert database_url(settings) == embedded.url
    assert str(tmp_path / "postgres") in embedded.url


def test_with_an_address_it_is_that() -> None:
    settings = Settings(database_url=SecretStr("postgresql://u:p@h/d"))
    assert embedded_postgres(settings) is None
    assert database_url(settings) == "postgresql://u:p@h/d"


def test_the_store_follows_its_address(tmp_path: Path) -> None:
    store = open_store(Settings(data=tmp_path))
    assert isinstance(store, LocalStore)
    assert store.path("a") == tmp_path / "store" / "a"
    store = open_store(Settings(storage_url=f"file://{tmp_path}/objects"))
    assert store.path("a") == tmp_path / "objects" / "a"
    assert isinstance(open_store(Settings(storage_url="memory:///")), CloudStore)
    with pytest.raises(StorageError, match="FILEROOM_STORAGE_URL"):
        open_store(Settings(storage_url="ftp://somewhere"))


async def test_an_archive_opens_and_closes(database_url: str, tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, database_url=SecretStr(database_url))
    async with open_archive(settings) as archive:
        outcome = await store_file(archive, make_file(SOPInstanceUID="1.2.3.4.5.6"))
        assert archive.settings.data == tmp_path
        assert archive.settings.model_fields_set == settings.model_fields_set
    assert (tmp_path / "store" / outcome.storage_key).exists()
    assert archive.pool.closed


@pytest.mark.parametrize("fails", [False, True])
def test_a_command_stops_the_database_that_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    calls: list[str] = []

    class Server:
        url = "postgresql://x"

        def start(self) -> None:
            calls.append("start")

        def stop(self) -> None:
            calls.append("stop")

    monkeypatch.setattr(database, "embedded_postgres", lambda _settings: Server())
    try:
        with running_database(Settings(data=tmp_path), lambda _settings: calls.append("migrate")):
            calls.append("work")
            if fails:
                raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    assert calls == ["start", "migrate", "work", "stop"]


def test_tables_of_an_earlier_version_are_upgraded_before_a_command_reads_them(
    empty_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(data=tmp_path, database_url=SecretStr(empty_database))
    calls: list[Settings] = []
    monkeypatch.setattr(services, "migrate_database", calls.append)
    database.require_tables(settings)
    assert calls == [], "they are current"
    monkeypatch.setattr(schema, "_newest_version", lambda: "9999")
    database.require_tables(settings)
    assert calls == [settings]


def test_a_worker_that_cannot_begin_says_why_and_ends_with_1(tmp_path: Path) -> None:
    program = """
from fileroom.app.process import run_worker
from fileroom.core.errors import ConfigurationError
async def main(settings, stop):
    raise ConfigurationError("The cellar is flooded.")
run_worker("test", main)
"""
    result = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(services.__file__).parents[2])},
    )
    assert result.returncode == 1
    [line] = result.stderr.splitlines()
    assert '"reason": "The cellar is flooded."' in line
    assert '"process": "test"' in line

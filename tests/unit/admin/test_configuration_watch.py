"""A process has the newest version within a moment: with and without notices, and after a lost connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest
from pydantic import SecretStr

from fileroom.admin import configuration_watch
from fileroom.admin.configuration import change_settings, roll_back
from fileroom.admin.configuration_sections import SECTIONS, Configuration
from fileroom.admin.configuration_watch import ConfigurationWatch
from fileroom.admin.people import People
from fileroom.core.access import SYSTEM, acting_as
from fileroom.core.live_settings import LiveSettings
from fileroom.core.settings import Settings

TIMEOUT_S = 10.0


class Process:
    """A process that watches, and the values that it was told."""

    def __init__(self, database_url: str, **given: object) -> None:
        outside = Settings(**given)  # type: ignore[arg-type]
        self.settings = LiveSettings.of(outside)
        self.told: asyncio.Queue[Settings] = asyncio.Queue()
        self.watch = ConfigurationWatch(database_url, outside, self.settings, [self.told.put_nowait])

    async def next(self) -> Settings:
        return await asyncio.wait_for(self.told.get(), TIMEOUT_S)


@pytest.fixture(autouse=True)
async def _as_system() -> AsyncIterator[None]:
    with acting_as(SYSTEM):
        yield


@pytest.fixture
def configuration(people: People) -> Configuration:
    return Configuration(people, SECTIONS)


@pytest.fixture
async def process(empty_database: str) -> AsyncIterator[Process]:
    process = Process(empty_database, session_hours=3)
    await process.watch.start()
    yield process
    await process.watch.stop()


async def test_a_change_is_there_without_a_restart(process: Process, configuration: Configuration) -> None:
    settings = process.settings
    assert settings.ledger_days == 90
    await change_settings(configuration, {"ledger_days": 30, "audit_site": "North"})
    assert (await process.next()).ledger_days == 30
    assert (settings.ledger_days, settings.audit_site) == (30, "North")
    await roll_back(configuration, 0)
    await process.next()
    assert (settings.ledger_days, settings.audit_site) == (90, "")


async def test_what_comes_from_outside_wins(process: Process, configuration: Configuration) -> None:
    await change_settings(configuration, {"session_hours": 8, "ledger_days": 30})
    assert (await process.next()).session_hours == 3
    assert process.settings.model_fields_set == Process("", session_hours=3).settings.model_fields_set


async def test_a_process_that_starts_has_it_from_the_start(empty_database: str, configuration: Configuration) -> None:
    await change_settings(configuration, {"ledger_days": 30})
    process = Process(empty_database)
    await process.watch.start()
    assert process.settings.ledger_days == 30
    await process.watch.stop()


async def test_it_is_there_without_notices_too(
    empty_database: str, configuration: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As behind a pooler that hands connections from one to the next."""
    monkeypatch.setattr(configuration_watch, "CHANNEL", "another")
    monkeypatch.setattr(configuration_watch, "LOOK_INTERVAL_S", 0.05)
    process = Process(empty_database)
    await process.watch.start()
    await change_settings(configuration, {"ledger_days": 30})
    assert (await process.next()).ledger_days == 30
    await process.watch.stop()


async def test_after_a_lost_connection_it_catches_up(
    process: Process, configuration: Configuration, empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(configuration_watch, "RETRY_INTERVAL_S", 0.05)
    await change_settings(configuration, {"ledger_days": 30})
    await process.next()
    with psycopg.connect(empty_database, autocommit=True) as other:
        ended = other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' OR query LIKE "
            "'SELECT number, document%' AND pid <> pg_backend_pid()"
        ).fetchall()
    assert ended
    await change_settings(configuration, {"ledger_days": 60})
    assert (await process.next()).ledger_days == 60


async def test_a_database_that_is_away_at_the_start_is_waited_for(
    empty_database: str, configuration: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(configuration_watch, "RETRY_INTERVAL_S", 0.05)
    await change_settings(configuration, {"ledger_days": 30})
    process = Process("postgresql://127.0.0.1:1/nowhere")
    await process.watch.start()
    assert process.settings.ledger_days == 90
    monkeypatch.setattr(process.watch, "_url", empty_database)
    assert (await process.next()).ledger_days == 30
    await process.watch.stop()


async def test_a_value_that_this_code_refuses_is_left_out_and_the_rest_is_taken(
    empty_database: str, configuration: Configuration, capsys: pytest.CaptureFixture[str]
) -> None:
    async with configuration.people.pool.connection() as connection:
        await connection.execute(
            b"""INSERT INTO configuration_version (number, actor_kind, actor, changes, document)
                VALUES (1, 'system', 'an older Fileroom', '[]',
                '{"settings": {"ledger_days": 30, "session_hours": 9999, "gone": 1, "viewer_priors": "none"}}')"""
        )
    process = Process(empty_database)
    await process.watch.start()
    settings = process.settings
    assert (settings.ledger_days, settings.session_hours, settings.viewer_priors) == (30, 12, "all")
    await process.watch.stop()
    said = "".join(capsys.readouterr())
    for name in ("session_hours", "gone", "viewer_priors"):
        assert name in said


def test_live_settings_begin_with_what_is_given() -> None:
    given = Settings(database_url=SecretStr("postgresql://h/d"), ledger_days=10)
    live = LiveSettings.of(given)
    assert live.ledger_days == 10
    assert live.database_url.get_secret_value() == "postgresql://h/d"
    assert "h/d" not in repr(live)

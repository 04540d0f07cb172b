"""What runs is kept running, what is stopped is stopped in order, and what makes a start impossible is told."""

from __future__ import annotations

import itertools
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fileroom.app import supervisor as supervisor_module
from fileroom.app.supervisor import (
    RESTART_DELAY_MAX_S,
    RESTART_DELAY_S,
    Supervisor,
    _listen,
    _take_lock,
)
from fileroom.core.errors import ConfigurationError, DatabaseError
from fileroom.core.settings import Settings


class Clock:
    """Time that passes only while somebody sleeps; the supervisor stops when `until` is reached."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.events: list[tuple[float, Any]] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        while self.events and self.events[0][0] <= self.now:
            self.events.pop(0)[1]()

    def at(self, seconds: float, action: Any) -> None:
        self.events.append((1000.0 + seconds, action))
        self.events.sort(key=lambda event: event[0])


class Process:
    """A program that runs until it is told, or not even then."""

    def __init__(self, module: str, started_at: float, *, stubborn: bool = False) -> None:
        self.module = module
        self.started_at = started_at
        self.code: int | None = None
        self.stubborn = stubborn
        self.signals: list[str] = []

    def poll(self) -> int | None:
        return self.code

    def terminate(self) -> None:
        self.signals.append("term")
        if not self.stubborn and self.code is None:
            self.code = 0

    def kill(self) -> None:
        self.signals.append("kill")
        self.code = -9

    def wait(self, timeout: float | None = None) -> int:
        if self.code is None:
            raise subprocess.TimeoutExpired(self.module, timeout or 0)
        return self.code


class Database:
    """An embedded PostgreSQL that can be made to fail."""

    def __init__(self) -> None:
        self.starts = 0
        self.looks_at_log = 0
        self.stops = 0
        self.dead = False
        self.failure: Exception | None = None

    def start(self) -> None:
        self.starts += 1
        if self.failure is not None:
            raise self.failure
        self.dead = False

    def keep_log_small(self) -> None:
        self.looks_at_log += 1

    def stop(self) -> None:
        self.stops += 1

    def has_died(self) -> bool:
        return self.dead


class House:
    """A supervisor among fakes."""

    def __init__(self, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = Clock()
        self.database = Database()
        self.processes: list[Process] = []
        self.ready = 0
        self.stubborn = False
        self.supervisor = Supervisor(settings, self.on_ready, ("extra.module",))
        monkeypatch.setattr(supervisor_module, "time", self.clock)
        monkeypatch.setattr(supervisor_module, "embedded_postgres", lambda _settings: self.database)
        monkeypatch.setattr(supervisor_module, "migrate_database", lambda _settings: None)
        monkeypatch.setattr(supervisor_module, "make_first_account", lambda _settings: None)
        monkeypatch.setattr(self.supervisor, "_launch", self.launch)

    def launch(self, module: str, _arguments: Any, _sockets: Any, _name: str) -> Process:
        process = Process(module.rpartition(".")[2], self.clock.now, stubborn=self.stubborn)
        self.processes.append(process)
        return process

    def on_ready(self) -> None:
        self.ready += 1

    def run(self, seconds: float) -> None:
        self.clock.at(seconds, self.supervisor._ask_to_stop)
        self.supervisor.run()

    def of(self, module: str) -> list[Process]:
        return [process for process in self.processes if process.module == module]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        web_workers=1,
        data=tmp_path / "data",
        dicom_port=free_port(),
        http_port=free_port(),
        hl7_port=free_port(),
        workers=2,
    )


@pytest.fixture
def house(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    built = House(settings, monkeypatch)
    yield built
    for number, handler in handlers.items():
        signal.signal(number, handler)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


# --- running ---


def test_all_workers_are_started_and_stopped_and_the_database_last(house: House) -> None:
    house.run(1)
    modules = sorted(process.module for process in house.processes)
    assert modules == [
        "association_worker",
        "association_worker",
        "delivery_worker",
        "hl7_worker",
        "module",
        "task_worker",
        "web_worker",
    ]
    assert all(process.signals == ["term"] for process in house.processes)
    assert house.ready == 1
    assert (house.database.starts, house.database.stops) == (1, 1)


def test_a_worker_that_ends_is_started_again(house: House) -> None:
    house.clock.at(1, lambda: setattr(house.of("web_worker")[0], "code", 1))
    house.run(5)
    first, second = house.of("web_worker")
    assert second.started_at - first.started_at == pytest.approx(1 + 2 * RESTART_DELAY_S, abs=0.5)
    assert len(house.of("association_worker")) == 2


def test_a_worker_that_cannot_live_is_tried_less_and_less_often(house: House) -> None:
    real = house.launch

    def launch(module: str, arguments: Any, sockets: Any, name: str) -> Process:
        process = real(module, arguments, sockets, name)
        if process.module == "web_worker":
            process.code = 1
        return process

    house.supervisor._launch = launch  # type: ignore[method-assign,assignment]
    house.run(200)
    starts = [process.started_at for process in house.of("web_worker")]
    pauses = [later - earlier for earlier, later in itertools.pairwise(starts)]
    assert 5 < len(starts) < 20
    assert pauses == sorted(pauses)
    assert max(pauses) <= RESTART_DELAY_MAX_S + 1


def test_after_a_healthy_time_the_next_start_does_not_wait(house: House) -> None:
    for second in (1, 3, 60):
        house.clock.at(second, lambda: setattr(house.of("web_worker")[-1], "code", 1))
    house.run(70)
    starts = [process.started_at - 1000 for process in house.of("web_worker")]
    assert len(starts) == 4
    assert starts[3] - 60 == pytest.approx(RESTART_DELAY_S, abs=0.5)


def test_what_runs_once_is_not_started_again(house: House) -> None:
    house.clock.at(1, lambda: setattr(house.of("module")[0], "code", 0))
    house.run(5)
    assert len(house.of("module")) == 1


def test_a_worker_that_will_not_stop_is_killed(house: House) -> None:
    house.stubborn = True
    house.clock.at(0.5, lambda: setattr(house.of("module")[0], "code", 0))
    house.run(1)
    workers = [process for process in house.processes if process.module != "module"]
    assert all(process.signals == ["term", "kill"] for process in workers)


# --- the database ---


def test_the_log_of_the_database_is_kept_small_as_long_as_it_runs(house: House) -> None:
    house.run(60)
    assert house.database.looks_at_log > 50


def test_a_database_that_died_is_started_again(house: House) -> None:
    house.clock.at(1, lambda: setattr(house.database, "dead", True))
    house.run(3)
    assert house.database.starts == 2
    assert len(house.of("web_worker")) == 1


@pytest.mark.parametrize("error", [DatabaseError("no memory"), ConfigurationError("no folder")])
def test_a_database_that_does_not_come_back_is_tried_again_with_pauses(house: House, error: Exception) -> None:
    def die() -> None:
        house.database.dead = True
        house.database.failure = error

    house.clock.at(1, die)
    house.clock.at(100, lambda: setattr(house.database, "failure", None))
    house.run(140)
    assert not house.database.dead
    assert 5 < house.database.starts < 20


def test_a_schema_that_cannot_be_made_stops_the_database_and_is_told(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_settings: Settings) -> None:
        raise ConfigurationError("newer schema")

    monkeypatch.setattr(supervisor_module, "migrate_database", fail)
    with pytest.raises(ConfigurationError, match="newer schema"):
        house.run(1)
    assert house.database.stops == 1
    assert house.processes == []


# --- what makes a start impossible ---


def test_one_server_for_each_data_folder(settings: Settings) -> None:
    refused = pytest.raises(ConfigurationError, match=r"Another 'fileroom serve' is running on .*data")
    with _take_lock(settings), refused:
        _take_lock(settings)
    _take_lock(settings).close()


def test_a_data_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigurationError, match=r"data folder .*file/data cannot be used: .*FILEROOM_DATA"):
        _take_lock(Settings(web_workers=1, data=tmp_path / "file" / "data"))


def test_a_port_that_is_taken_is_named_with_its_setting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=rf"DICOM port 127\.0\.0\.1:{port} .*FILEROOM_DICOM_PORT"):
            _listen("127.0.0.1", port, "DICOM", "FILEROOM_DICOM_PORT")


def test_a_listening_socket_can_be_handed_on() -> None:
    with _listen("127.0.0.1", 0, "DICOM", "X") as listening:
        assert listening.get_inheritable()
        socket.create_connection(listening.getsockname(), timeout=5).close()


def test_nothing_is_started_when_a_port_is_taken(house: House, settings: Settings) -> None:
    refused = pytest.raises(ConfigurationError, match="FILEROOM_HTTP_PORT")
    with socket.create_server(("127.0.0.1", settings.http_port)), refused:
        house.run(1)
    assert house.database.starts == 0

"""The list of processes: those that run, one that is gone, one that came to its end, an embedded database."""

from __future__ import annotations

import dataclasses
import os
import sys
import time
from pathlib import Path

import pytest

from fileroom.archive.processes import DATABASE, list_processes
from fileroom.archive.services import Archive
from fileroom.core.settings import Settings
from fileroom.tasks.meter_files import SUPERVISOR, WorkerFile

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="proc(5) is Linux")
GONE = 2**22 + 1
"""No process has such a number (/proc/sys/kernel/pid_max)."""


def _file(worker: str, pid: int, *, age_s: float = 0.0, starts: int = 1, ended: bool = False) -> WorkerFile:
    now = time.time()
    return WorkerFile(worker, pid, now - 100, starts, now - age_s, {}, ended)


def test_a_running_worker_is_told_with_its_memory_and_time(archive: Archive) -> None:
    (state,) = list_processes(archive, [_file("web-1", os.getpid(), starts=3)])
    assert state.is_alive
    assert state.starts == 3
    assert state.memory_bytes is not None
    assert state.memory_bytes > 1_000_000
    assert state.cpu_s is not None
    assert 0 < state.cpu_s < 3600
    assert state.since is not None


def test_one_that_is_gone_or_silent_gives_no_sign_of_life(archive: Archive) -> None:
    killed, hanging, supervisor = list_processes(
        archive,
        [_file("task", GONE, age_s=60), _file("web-1", os.getpid(), age_s=60), _file(SUPERVISOR, GONE)],
    )
    assert not killed.is_alive
    assert killed.memory_bytes is None
    assert not hanging.is_alive
    assert hanging.memory_bytes
    assert not supervisor.is_alive


def test_one_that_came_to_its_end_is_not_missed(archive: Archive) -> None:
    assert list_processes(archive, [_file("demo", GONE, age_s=60, ended=True)]) == []


def test_the_supervisor_writes_once_and_counts_as_long_as_it_runs(archive: Archive) -> None:
    (state,) = list_processes(archive, [_file(SUPERVISOR, os.getpid(), age_s=3600)])
    assert state.is_alive


def test_an_embedded_database_is_told_with_its_children(archive: Archive, tmp_path: Path) -> None:
    cluster = tmp_path / "postgres" / "cluster"
    cluster.mkdir(parents=True)
    (cluster / "postmaster.pid").write_text(f"{os.getppid()}\n{cluster}\n1700000000\n5432\n")
    (state,) = list_processes(dataclasses.replace(archive, settings=Settings(data=tmp_path)), [])
    assert state.name == DATABASE
    assert state.processes >= 2  # this test is a child of its parent
    assert state.started_at == 1_700_000_000
    (cluster / "postmaster.pid").write_text(f"{GONE}\n{cluster}\n1700000000\n")
    assert list_processes(dataclasses.replace(archive, settings=Settings(data=tmp_path)), []) == []
    (cluster / "postmaster.pid").write_text("rubbish")
    assert list_processes(dataclasses.replace(archive, settings=Settings(data=tmp_path)), []) == []

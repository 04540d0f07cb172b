"""The processes of this server: which run, since when, with how much memory and processor time (Linux; elsewhere without)."""

from __future__ import annotations

import datetime as dt
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.tasks.meter_files import SUPERVISOR, WorkerFile

PROCESSES_MAX: Final = 5000
"""Looked through for children of the database's first process."""
_PROC: Final = Path("/proc")
DATABASE: Final = "database"


@dataclass(frozen=True, slots=True)
class ProcessState:
    """One process, or the database with all of its own. `started_at` in seconds since 1970, None where it is not known.

    `starts` counts how often it was begun since the server was started: more than 1 means that it has died.
    """

    name: str
    pid: int
    is_alive: bool
    processes: int = 1
    started_at: float | None = None
    starts: int = 1
    memory_bytes: int | None = None
    cpu_s: float | None = None

    @property
    def since(self) -> dt.datetime | None:
        """`started_at`, aware."""
        return None if self.started_at is None else dt.datetime.fromtimestamp(self.started_at, dt.UTC)


@dataclass(frozen=True, slots=True)
class _Usage:
    parent: int
    memory_bytes: int
    private_bytes: int
    own_cpu_s: float
    children_cpu_s: float


def list_processes(archive: Archive, workers: list[WorkerFile]) -> list[ProcessState]:
    """Supervisor, workers and an embedded database. Reads /proc, so it belongs into a thread. Raises NotAllowedError."""
    require(Permission.SYSTEM_READ)
    states = [_worker(one) for one in workers if not one.ended]
    database = None if archive.settings.database_url.get_secret_value() else _database(archive.settings.data)
    return [*states, *([database] if database else [])]


def _worker(file: WorkerFile) -> ProcessState:
    usage = _usage(file.pid)
    is_alive = usage is not None if file.worker == SUPERVISOR and _PROC.is_dir() else not file.is_silent
    return ProcessState(
        file.worker,
        file.pid,
        is_alive,
        started_at=file.started_at,
        starts=max(file.starts, 1),
        memory_bytes=usage.memory_bytes if usage else None,
        cpu_s=usage.own_cpu_s if usage else None,
    )


def _database(data: Path) -> ProcessState | None:
    """The embedded PostgreSQL: its first process and the children of that."""
    try:
        lines = (data / "postgres" / "cluster" / "postmaster.pid").read_text().splitlines()
        pid, started_at = int(lines[0]), float(lines[2])
    except (OSError, ValueError, IndexError):
        return None
    first = _usage(pid)
    if first is None:
        return None
    children = [usage for other in _pids() if (usage := _usage(other)) is not None and usage.parent == pid]
    return ProcessState(
        DATABASE,
        pid,
        is_alive=True,
        processes=1 + len(children),
        started_at=started_at,
        # Its buffers are shared by all of them, and counted once.
        memory_bytes=first.memory_bytes + sum(child.private_bytes for child in children),
        cpu_s=first.own_cpu_s + first.children_cpu_s + sum(child.own_cpu_s for child in children),
    )


def _pids() -> list[int]:
    return [int(entry.name) for entry in _PROC.iterdir() if entry.name.isdecimal()][:PROCESSES_MAX]


def _usage(pid: int) -> _Usage | None:
    """What proc(5) says: `stat` fields 4 and 14 to 17, `statm` fields 2 and 3."""
    try:
        # The name may hold blanks and brackets; what follows its last bracket does not.
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        resident, shared = map(int, (_PROC / str(pid) / "statm").read_text().split()[1:3])
    except (OSError, ValueError):
        return None
    page, tick = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")
    user, system, children_user, children_system = (int(field) / tick for field in fields[11:15])
    return _Usage(
        int(fields[1]), resident * page, (resident - shared) * page, user + system, children_user + children_system
    )

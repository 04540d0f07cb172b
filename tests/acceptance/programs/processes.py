"""Processes of the tests: started with their output in a file, watched while they start, and surely gone afterwards.

Everything listens on 127.0.0.1 on a free port. What is started here ends with us, however we end.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

LOOPBACK: Final = "127.0.0.1"
STOP_TIMEOUT_S: Final = 30.0
POLL_INTERVAL_S: Final = 0.02
LOG_TAIL_CHARS: Final = 4000


class NotReadyError(AssertionError):
    """Something that was waited for did not come in time."""


def wait_until(condition: Callable[[], object], timeout_s: float, what: str, detail: Callable[[], str] = str) -> None:
    """Ask again and again until `condition` is true. Raises NotReadyError, with `detail`, after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise NotReadyError(f"{what} did not come true within {timeout_s:g} s. {detail()}")
        time.sleep(POLL_INTERVAL_S)


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody uses now, all different."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind((LOOPBACK, 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def accepts_connections(port: int) -> bool:
    """Whether somebody listens on a port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((LOOPBACK, port)) == 0


class Server:
    """One server process with a log file."""

    def __init__(self, command: Sequence[str | Path], log: Path, environment: Mapping[str, str] | None = None) -> None:
        """`environment` is laid over ours."""
        self.command = [str(part) for part in command]
        self.log_path = log
        self._environment = dict(environment or {})
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        assert self.process is not None, f"{self.command[0]} is not running"
        return self.process.pid

    def start(
        self, ready: Callable[[], object], timeout_s: float = 30.0, environment: Mapping[str, str] | None = None
    ) -> None:
        """Start and wait until `ready`. Raises NotReadyError with the end of the log.

        `environment` is laid over the one given at first.
        """
        ends_with_us = ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [*ends_with_us, *self.command],
                env=os.environ | self._environment | dict(environment or {}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            wait_until(lambda: self.has_ended() or ready(), timeout_s, f"{self.command[0]} ready", self.log_tail)
            if self.has_ended():
                raise NotReadyError(
                    f"{' '.join(self.command)} ended with code {self.process.returncode}. {self.log_tail()}"
                )
        except BaseException:
            self.kill()
            raise

    def has_ended(self) -> bool:
        """Whether the process is over."""
        return self.process is None or self.process.poll() is not None

    def stop(self, signal_number: int = signal.SIGTERM, timeout_s: float = STOP_TIMEOUT_S) -> int | None:
        """Ask the process to end, wait, and give its exit code. Kills it and raises NotReadyError when it does not."""
        if self.process is None:
            return None
        process, self.process = self.process, None
        if process.poll() is None:
            process.send_signal(signal_number)
        try:
            return process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise NotReadyError(f"{self.command[0]} did not end within {timeout_s:g} s. {self.log_tail()}") from None

    def kill(self) -> None:
        """kill -9, and wait for it."""
        if self.process is not None:
            process, self.process = self.process, None
            process.kill()
            process.wait()

    def log_tail(self) -> str:
        """The end of its output."""
        try:
            return f"Its log ends with:\n{self.log_path.read_text(errors='replace')[-LOG_TAIL_CHARS:]}"
        except OSError:
            return "It has no log."


def command_line(pid: int) -> str:
    """The command of a process, words joined by spaces; empty when it is gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    return ""


def children(pid: int) -> list[int]:
    """The direct children of a process."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError):
                found += map(int, Path(f"/proc/{pid}/task/{task}/children").read_text().split())
    return found


def descendants(pid: int) -> list[int]:
    """Children, their children, and so on."""
    found: list[int] = []
    for child in children(pid):
        found += [child, *descendants(child)]
    return found


def processes_with(text: str) -> dict[int, str]:
    """Process ids and commands of the processes whose environment, command or current folder names `text`."""
    found = {}
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        pid = int(name)
        with contextlib.suppress(OSError):
            environment = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
            folder = os.readlink(f"/proc/{pid}/cwd")
            if text in environment or text in command_line(pid) or folder.startswith(text):
                found[pid] = command_line(pid)
    return {pid: command for pid, command in found.items() if not _is_zombie(pid)}


def resident_bytes(pid: int, *, peak: bool = False) -> int:
    """Memory of a process (RSS), now or at its highest."""
    wanted = "VmHWM:" if peak else "VmRSS:"
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(wanted):
            return int(line.split()[1]) * 1024
    raise ProcessLookupError(f"process {pid} is over")


def reset_peak_memory(pid: int) -> None:
    """Begin to measure the highest memory anew (proc(5), clear_refs)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def _is_zombie(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return ") Z" in Path(f"/proc/{pid}/stat").read_text()
    return True

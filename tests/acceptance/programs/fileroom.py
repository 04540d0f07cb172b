"""A real Fileroom: `python -m fileroom serve` on free ports with a data folder of its own."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from subprocess import CompletedProcess, run
from types import TracebackType
from typing import Any, Final

import httpx
import psycopg

from acceptance.programs.processes import (
    LOOPBACK,
    Server,
    accepts_connections,
    children,
    command_line,
    free_ports,
    processes_with,
    wait_until,
)
from fileroom.db.embedded import EmbeddedPostgres

SOURCE: Final = Path(__file__).parents[3] / "src"
START_TIMEOUT_S: Final = 60.0
COMMAND_TIMEOUT_S: Final = 300.0
ASSOCIATION_WORKER: Final = "fileroom.app.association_worker"
WEB_WORKER: Final = "fileroom.app.web_worker"
TASK_WORKER: Final = "fileroom.app.task_worker"


class Fileroom:
    """One Fileroom. A context manager: started on entry, stopped on exit, and then nothing of it may be left running.

    `settings` are FILEROOM_* settings by their lower-case names, for example `workers=1`. Unless they say otherwise this
    machine need not log in, so that tests of everything else need no token.
    """

    run_in: Sequence[str] = ()
    """A command in front of its own, for example one that enters a network namespace."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.folder = folder.resolve()
        self.data = self.folder / "data"
        self.aet = str(settings.get("aet", "FILEROOM"))
        self.dicom_port, self.http_port, self.hl7_port = free_ports(3)
        values: dict[str, object] = {
            "data": self.data,
            "host": LOOPBACK,
            "dicom_port": self.dicom_port,
            "http_port": self.http_port,
            "hl7_port": self.hl7_port,
            "hl7_workers": 0,  # tests of HL7 ask for one
            "storage_reserve_mib": 1,
            "web_login": "beyond-loopback",
        }
        self.environment = {f"FILEROOM_{name.upper()}": str(value) for name, value in (values | settings).items()}
        self.environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(SOURCE), os.environ.get("PYTHONPATH"))))
        self._server = Server(
            [*self.run_in, sys.executable, "-m", "fileroom", "serve"], self.folder / "fileroom.log", self.environment
        )

    # --- life ---

    def __enter__(self) -> Fileroom:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start and wait until it is ready for work."""
        self._server.start(self.is_ready, START_TIMEOUT_S, self.environment)

    def start_unready(self) -> None:
        """Start where it cannot become ready; wait until both ports answer."""
        answers = (self.is_alive, lambda: accepts_connections(self.dicom_port))
        self._server.start(lambda: all(answer() for answer in answers), START_TIMEOUT_S, self.environment)

    def stop(self) -> None:
        """Stop in order. Raises AssertionError when it ends with an error or leaves a process behind."""
        try:
            code = self._server.stop(signal.SIGTERM)
            assert code in (0, None), f"fileroom serve ended with code {code}. {self.log_tail()}"
            self.wait_until_nothing_runs()
        finally:
            for pid in self.running_processes():
                os.kill(pid, signal.SIGKILL)

    def kill(self) -> None:
        """kill -9 of the supervisor; its children must follow by themselves."""
        self._server.kill()

    def wait_until_nothing_runs(self, timeout_s: float = 30.0) -> None:
        """Raises NotReadyError with the commands of what is left."""
        wait_until(
            lambda: not self.running_processes(),
            timeout_s,
            "the end of all processes",
            lambda: str(self.running_processes()),
        )

    def wait_until_ready(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Raises NotReadyError."""
        wait_until(self.is_ready, timeout_s, f"{self.url}/readyz", self.log_tail)

    def is_ready(self) -> bool:
        """Whether /readyz says so."""
        return self._says_200("readyz")

    def is_alive(self) -> bool:
        """Whether /healthz says so."""
        return self._says_200("healthz")

    def _says_200(self, page: str) -> bool:
        try:
            return httpx.get(f"{self.url}/{page}", timeout=10).status_code == 200
        except httpx.TransportError:
            return False

    # --- its processes ---

    @property
    def pid(self) -> int:
        """The supervisor."""
        return self._server.pid

    def workers(self, module: str) -> list[int]:
        """Process ids of the workers that run a module, for example ASSOCIATION_WORKER."""
        return [pid for pid in children(self.pid) if module in command_line(pid)]

    def postgres_pid(self) -> int:
        """The embedded PostgreSQL's first process."""
        found = [pid for pid in children(self.pid) if "postgres" in command_line(pid).split(" ")[0]]
        assert len(found) == 1, f"{len(found)} PostgreSQL servers run below the supervisor"
        return found[0]

    def running_processes(self) -> dict[int, str]:
        """Everything that belongs to this data folder and runs."""
        return processes_with(str(self.data))

    def log_text(self) -> str:
        """All that it has logged."""
        return self._server.log_path.read_text(errors="replace")

    def log_tail(self) -> str:
        """The end of its log."""
        return self._server.log_tail()

    # --- ways in ---

    @property
    def url(self) -> str:
        """Where the web pages begin."""
        return f"http://{LOOPBACK}:{self.http_port}"

    @property
    def dicomweb(self) -> str:
        """Where DICOMweb begins."""
        return f"{self.url}/dicom-web"

    def command(self, *arguments: str | Path, timeout_s: float = COMMAND_TIMEOUT_S) -> CompletedProcess[str]:
        """Run a `fileroom` command on the same settings."""
        command: Sequence[str] = [sys.executable, "-m", "fileroom", *map(str, arguments)]
        environment = os.environ | self.environment
        return run(command, env=environment, capture_output=True, text=True, timeout=timeout_s, check=False)

    def add_node(self, name: str, aet: str, port: int) -> None:
        """Make a program on this machine known as a node."""
        result = self.command("node", "add", name, "--aet", aet, "--host", LOOPBACK, "--port", str(port))
        assert result.returncode == 0, result.stderr

    @property
    def database_url(self) -> str:
        """Address of its database, embedded or not."""
        return self.environment.get("FILEROOM_DATABASE_URL") or EmbeddedPostgres(self.data / "postgres").url

    def rows(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Look into its database."""
        with psycopg.connect(self.database_url, connect_timeout=5) as connection:
            return connection.execute(sql.encode(), parameters).fetchall()

    def execute(self, sql: str, *parameters: object) -> None:
        """Change its database behind its back."""
        with psycopg.connect(self.database_url, connect_timeout=5) as connection:
            connection.execute(sql.encode(), parameters)

    def instance_count(self) -> int:
        """How many objects the index holds."""
        return int(self.rows("SELECT count(*) FROM instance")[0][0])

    def stored_files(self) -> list[Path]:
        """The objects in its store, half ones included; not the documents made from them."""
        return [path for path in (self.data / "store" / "objects").rglob("*") if path.is_file()]

    def age_files(self, days: float) -> None:
        """Make every file of the store so much older."""
        for path in self.stored_files():
            then = path.stat().st_mtime - days * 86400
            os.utime(path, (then, then))

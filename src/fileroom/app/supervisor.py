"""`fileroom serve`: starts the database and the workers, keeps them running, stops them in order.

Workers are separate programs that inherit the listening sockets, so that any of them may die and be started again while
the ports stay open. The supervisor itself does nothing but watch.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO, Final

import structlog

from fileroom.admin.first_account import FirstAccount
from fileroom.app.database import embedded_postgres
from fileroom.app.first_certificates import make_first_certificates
from fileroom.app.first_start import make_first_account
from fileroom.app.process import die_with_parent
from fileroom.app.services import WORKER_NAME, migrate_database
from fileroom.core.errors import ConfigurationError, FileroomError
from fileroom.core.settings import Settings
from fileroom.db.embedded import EmbeddedPostgres
from fileroom.tasks.meter_files import begin_folder, meters_folder

WATCH_INTERVAL_S: Final = 0.2
RESTART_DELAY_S: Final = 0.5
RESTART_DELAY_MAX_S: Final = 30.0
HEALTHY_AFTER_S: Final = 10.0
"""A worker that ran this long was healthy: its next restart does not wait."""
STOP_TIMEOUT_S: Final = 20.0
LISTEN_BACKLOG: Final = 256
"""A burst of callers waits here while all workers are busy."""

_log = structlog.get_logger(__name__)


@dataclass
class _Worker:
    """A worker program, its process, and when it may be started again."""

    module: str
    arguments: tuple[str, ...]
    sockets: tuple[int, ...]
    name: str
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    start_after: float = 0.0
    delay_s: float = field(default=RESTART_DELAY_S)


class Supervisor:
    """Runs Fileroom until SIGTERM or SIGINT."""

    def __init__(self, settings: Settings, on_ready: Callable[[], None], extra_workers: tuple[str, ...] = ()) -> None:
        """`on_ready` is called once when everything has been started. `extra_workers` are modules run once."""
        self._settings = settings
        self.first_account: FirstAccount | None = None
        """What was made at the first start; known when `on_ready` is called."""
        self.made_certificate = False
        """Whether this start has made a self-signed certificate; known likewise."""
        self._on_ready = on_ready
        self._extra = extra_workers
        self._workers: list[_Worker] = []
        self._stopping = False
        self._database: EmbeddedPostgres | None = None
        self._database_delay_s = RESTART_DELAY_S
        self._database_after = 0.0

    def run(self) -> None:
        """Start everything, watch, stop. Raises ConfigurationError, DatabaseError when it cannot start."""
        settings = self._settings
        with (
            contextlib.ExitStack() as stack,
            _take_lock(settings),
            _listen(settings.host, settings.dicom_port, "DICOM", "FILEROOM_DICOM_PORT") as dicom,
            _listen(settings.web_host, settings.http_port, "web", "FILEROOM_HTTP_PORT") as http,
        ):
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, self._ask_to_stop)
            self._add("fileroom.app.task_worker", (), 1)
            self._add("fileroom.app.delivery_worker", (), settings.delivery_workers)
            secure = self._listen_for_tls(stack)
            self._add("fileroom.app.association_worker", (dicom.fileno(), *secure), settings.association_workers)
            self._add("fileroom.app.web_worker", (http.fileno(),), settings.web_processes)
            self._add("fileroom.app.hl7_worker", self._listen_for_hl7(stack), settings.hl7_workers)
            begin_folder(meters_folder(settings.data))
            self._database = embedded_postgres(settings)
            try:
                if self._database:
                    self._database.start()
                migrate_database(settings)
                self.first_account = make_first_account(settings)
                self.made_certificate = make_first_certificates(settings)
                self._watch()
            finally:
                self._stop_workers()
                if self._database:
                    self._database.stop()

    def _listen_for_tls(self, stack: contextlib.ExitStack) -> tuple[int, ...]:
        """The socket of DICOM over TLS, where one is wanted."""
        settings = self._settings
        if not settings.dicom_tls_port:
            return ()
        secure = _listen(settings.host, settings.dicom_tls_port, "DICOM TLS", "FILEROOM_DICOM_TLS_PORT")
        return (stack.enter_context(secure).fileno(),)

    def _listen_for_hl7(self, stack: contextlib.ExitStack) -> tuple[int, ...]:
        """The default port of HL7; ports of single feeds are opened by the workers, which know when they change."""
        settings = self._settings
        if not settings.hl7_workers:
            return ()
        return (stack.enter_context(_listen(settings.host, settings.hl7_port, "HL7", "FILEROOM_HL7_PORT")).fileno(),)

    def _add(self, module: str, sockets: tuple[int, ...], count: int) -> None:
        kind = _kind(module)
        for number in range(1, count + 1):
            name = f"{kind}-{number}" if count > 1 else kind
            self._workers.append(_Worker(module, tuple(map(str, sockets)), sockets, name))

    def _ask_to_stop(self, *_: object) -> None:
        self._stopping = True

    def _watch(self) -> None:
        for worker in self._workers:
            self._start(worker)
        once = [self._launch(module, (), (), _kind(module)) for module in self._extra]
        self._on_ready()
        while not self._stopping:
            time.sleep(WATCH_INTERVAL_S)
            once = [process for process in once if process.poll() is None]
            self._revive_database()
            if self._database:
                self._database.keep_log_small()
            for worker in self._workers:
                self._revive(worker)
        for process in once:
            process.terminate()
            process.wait()

    def _revive_database(self) -> None:
        if self._database is None or not self._database.has_died() or time.monotonic() < self._database_after:
            return
        _log.error("database_ended", action="starting it again")
        try:
            self._database.start()
        except FileroomError as error:
            self._database_delay_s = min(self._database_delay_s * 2, RESTART_DELAY_MAX_S)
            self._database_after = time.monotonic() + self._database_delay_s
            _log.error("database_not_started", reason=str(error), trying_again_in_s=self._database_delay_s)
        else:
            self._database_delay_s = RESTART_DELAY_S

    def _revive(self, worker: _Worker) -> None:
        now = time.monotonic()
        if worker.process is None:
            if now >= worker.start_after:
                self._start(worker)
            return
        code = worker.process.poll()
        if code is None:
            return
        healthy = now - worker.started_at > HEALTHY_AFTER_S
        worker.delay_s = RESTART_DELAY_S if healthy else min(worker.delay_s * 2, RESTART_DELAY_MAX_S)
        worker.start_after = now + worker.delay_s
        worker.process = None
        _log.warning("worker_ended", worker=worker.module, exit_code=code, starting_again_in_s=worker.delay_s)

    def _start(self, worker: _Worker) -> None:
        worker.started_at = time.monotonic()
        worker.process = self._launch(worker.module, worker.arguments, worker.sockets, worker.name)

    def _launch(
        self, module: str, arguments: tuple[str, ...], sockets: tuple[int, ...], name: str
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            pass_fds=sockets,
            env=os.environ | self._settings.as_environment() | {WORKER_NAME: name},
            preexec_fn=die_with_parent,
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C reaches the supervisor, which stops the others in order.
        )

    def _stop_workers(self) -> None:
        running = [worker.process for worker in self._workers if worker.process is not None]
        for process in running:
            process.terminate()
        deadline = time.monotonic() + STOP_TIMEOUT_S
        for process in running:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _kind(module: str) -> str:
    """`web` of fileroom.app.web_worker."""
    return module.rpartition(".")[2].removesuffix("_worker")


def _take_lock(settings: Settings) -> IO[bytes]:
    """One `fileroom serve` per data folder. The lock goes with the process, however it ends."""
    try:
        settings.data.mkdir(parents=True, exist_ok=True)
        lock = (settings.data / "serve.lock").open("wb")
    except OSError as error:
        raise ConfigurationError(
            f"The data folder {settings.data} cannot be used: {error.strerror}. Choose another by FILEROOM_DATA."
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.close()
        raise ConfigurationError(
            f"Another 'fileroom serve' is running on {settings.data}. Stop it, or choose another folder by FILEROOM_DATA."
        ) from error
    return lock


def _listen(host: str, port: int, what: str, setting: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(LISTEN_BACKLOG)
    except OSError as error:
        listening.close()
        raise ConfigurationError(
            f"The {what} port {host}:{port} cannot be opened: {error.strerror}. Another program may use it; choose another "
            f"by {setting}."
        ) from error
    listening.set_inheritable(True)
    return listening

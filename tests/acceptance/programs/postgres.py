"""Debian's PostgreSQL 15 as an external database, in a folder of its own."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Final

import psycopg

from acceptance.programs.processes import LOOPBACK, Server, free_ports

PROGRAMS: Final = Path("/usr/lib/postgresql/15/bin")
ACCOUNT: Final = "postgres"
"""PostgreSQL does not run as root; Debian's package makes this account."""


def postgres_is_installed() -> bool:
    """Whether this machine can run it as who we are."""
    if not (PROGRAMS / "postgres").exists():
        return False
    return os.geteuid() != 0 or any(account.pw_name == ACCOUNT for account in pwd.getpwall())


class Postgres15:
    """A PostgreSQL server with one empty database. A context manager; may be stopped and started between."""

    def __init__(self) -> None:
        self.port = free_ports(1)[0]
        self._folder = Path(tempfile.mkdtemp(prefix="fileroom-postgres15-"))
        self._as_account: list[str] = []
        if os.geteuid() == 0:
            shutil.chown(self._folder, ACCOUNT)
            self._as_account = [
                "setpriv",
                f"--reuid={ACCOUNT}",
                f"--regid={ACCOUNT}",
                "--clear-groups",
                "--pdeathsig",
                "QUIT",
            ]
        command = [*self._as_account, PROGRAMS / "postgres", "-D", self._folder / "cluster", "-k", self._folder]
        command += ["-c", f"listen_addresses={LOOPBACK}", "-p", str(self.port)]
        self._server = Server(command, self._folder / "log" / "postgres.log")

    @property
    def url(self) -> str:
        """Address of the database."""
        return self._url("fileroom")

    def __enter__(self) -> Postgres15:
        arguments = ["-D", self._folder / "cluster", "-U", "fileroom", "--auth=trust", "-E", "UTF8", "--locale=C.UTF-8"]
        subprocess.run([*self._as_account, PROGRAMS / "initdb", *arguments], check=True, capture_output=True)
        self.start()
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            connection.execute("CREATE DATABASE fileroom")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self._folder)

    def start(self) -> None:
        """Start and wait until it answers."""
        self._server.start(self._answers)

    def stop(self) -> None:
        """Stop at once, as after a loss of power: what was committed must be there again."""
        self._server.stop(signal.SIGQUIT)

    def _answers(self) -> bool:
        try:
            with psycopg.connect(self._url("postgres"), connect_timeout=3):
                return True
        except psycopg.OperationalError:
            return False

    def _url(self, database: str) -> str:
        return f"postgresql://fileroom@{LOOPBACK}:{self.port}/{database}"

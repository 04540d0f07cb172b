"""Debian's rsyslog as a syslog server over TLS that asks for a certificate of whoever sends; and certificates for both."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Final

from acceptance.programs.processes import LOOPBACK, Server, accepts_connections, free_ports

PROGRAM: Final = "/usr/sbin/rsyslogd"

_CONFIGURATION: Final = """
global(workDirectory="{folder}" maxMessageSize="64k"
    defaultNetstreamDriverCAFile="{folder}/ca.pem"
    defaultNetstreamDriverCertFile="{folder}/server.pem"
    defaultNetstreamDriverKeyFile="{folder}/server.key")
module(load="imtcp" streamDriver.name="gtls" streamDriver.mode="1" streamDriver.authMode="x509/certvalid")
input(type="imtcp" port="{port}" address="127.0.0.1")
template(name="whole" type="string" string="%pri% %msgid% %app-name% %timestamp:::date-rfc3339% %msg%\\n")
*.* action(type="omfile" file="{folder}/got.log" template="whole" asyncWriting="off" flushOnTXEnd="on")
"""


def rsyslog_is_installed() -> bool:
    """Whether rsyslog is here with its TLS driver, and openssl to make certificates."""
    drivers = list(Path("/usr/lib").glob("*/rsyslog/lmnsd_gtls.so"))
    return Path(PROGRAM).exists() and bool(drivers) and shutil.which("openssl") is not None


class Rsyslog:
    """A running rsyslogd; a context manager."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        (self.port,) = free_ports(1)
        make_certificates(folder)
        configuration = folder / "rsyslog.conf"
        configuration.write_text(_CONFIGURATION.format(folder=folder, port=self.port))
        command = [PROGRAM, "-n", "-f", configuration, "-i", folder / "pid"]
        self._server = Server(command, folder / "rsyslogd.log")

    def __enter__(self) -> Rsyslog:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start it, again on the same port."""
        self._server.start(lambda: accepts_connections(self.port))

    def stop(self) -> None:
        """Stop it in order."""
        self._server.stop()

    def kill(self) -> None:
        """kill -9."""
        self._server.kill()
        (self.folder / "pid").unlink(missing_ok=True)

    @property
    def settings(self) -> dict[str, object]:
        """Fileroom's settings that send the audit trail here."""
        return {
            "audit_syslog_url": f"tls://{LOOPBACK}:{self.port}",
            "audit_syslog_ca": self.folder / "ca.pem",
            "audit_syslog_certificate": self.folder / "client.pem",
            "audit_syslog_key": self.folder / "client.key",
        }

    def lines(self) -> list[str]:
        """What it has written, a message a line."""
        log = self.folder / "got.log"
        return [line for line in log.read_text("utf-8").splitlines() if "DICOM+RFC3881" in line] if log.exists() else []


def make_certificates(folder: Path) -> None:
    """A certificate authority, and by it `server` (for 127.0.0.1) and `client`, in PEM."""
    new = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30"]
    _run([*new, "-subj", "/CN=Test CA", "-keyout", folder / "ca.key", "-out", folder / "ca.pem"])
    for name in ("server", "client"):
        _run(
            [
                *new,
                *(
                    "-subj",
                    f"/CN={name}",
                    "-addext",
                    "subjectAltName=IP:127.0.0.1",
                    "-addext",
                    "basicConstraints=CA:FALSE",
                ),
                *("-CA", folder / "ca.pem", "-CAkey", folder / "ca.key"),
                *("-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem"),
            ]
        )


def _run(command: list[str | Path]) -> None:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

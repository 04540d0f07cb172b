"""nginx (Debian package nginx) serving a folder, as the measure of how fast bytes can leave."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from types import TracebackType

from acceptance.programs.processes import LOOPBACK, Server, accepts_connections, free_ports


def nginx_program() -> str | None:
    """Where nginx is; Debian keeps it among the programs of the administrator."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


class Nginx:
    """nginx over `root`. A context manager. `more` are further lines of its server block."""

    def __init__(self, folder: Path, root: Path, workers: int, more: str = "") -> None:
        program = nginx_program()
        assert program is not None, "nginx is not installed"
        self.port = free_ports(1)[0]
        folder.mkdir(parents=True, exist_ok=True)
        user = "user root;\n" if os.geteuid() == 0 else ""
        spool = "".join(
            f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        configuration = folder / "nginx.conf"
        configuration.write_text(
            f"{user}worker_processes {workers};\npid {folder}/nginx.pid;\ndaemon off;\nerror_log {folder}/error.log;\n"
            f"events {{ worker_connections 512; }}\n"
            f"http {{\n{spool}access_log off;\nsendfile on;\ntcp_nopush on;\ntcp_nodelay on;\n"
            f"keepalive_requests 1000000;\n"
            f"server {{ listen {LOOPBACK}:{self.port}; root {root}; default_type application/octet-stream; "
            f"{more} }}\n}}\n"
        )
        self._server = Server([program, "-e", folder / "error.log", "-c", configuration], folder / "nginx.log")

    @property
    def url(self) -> str:
        """Where the folder begins."""
        return f"http://{LOOPBACK}:{self.port}"

    def __enter__(self) -> Nginx:
        self._server.start(lambda: accepts_connections(self.port))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.stop(signal.SIGTERM)

"""DCMTK programs (Debian package dcmtk) as peers: `storescu findscu getscu movescu echoscu`, `storescp dcmqrscp`."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final

import pydicom
from pydicom.dataset import Dataset

from acceptance.programs.processes import LOOPBACK, Server, accepts_connections, free_ports

PROGRAMS: Final = ("storescu", "storescp", "dcmqrscp", "findscu", "getscu", "movescu", "echoscu")
TIMEOUT_S: Final = 300.0
CALLING_AET: Final = "MODALITY"


def missing_programs() -> list[str]:
    """Which of DCMTK's programs this machine lacks."""
    return [program for program in PROGRAMS if shutil.which(program) is None]


class Dcmtk:
    """DCMTK's client programs, aimed at one server."""

    def __init__(self, port: int, called_aet: str = "FILEROOM", calling_aet: str = CALLING_AET) -> None:
        self._port = port
        self._called_aet = called_aet
        self._calling_aet = calling_aet

    def echo(self, *options: str) -> subprocess.CompletedProcess[str]:
        """C-ECHO."""
        return self._run("echoscu", options)

    def store(
        self, paths: Iterable[Path], *options: str, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """C-STORE of files or, with `+sd`, of folders. Verbose: the answers are in its output."""
        return self._run("storescu", ("-v", *options), tuple(map(str, paths)), environment)

    def start_store(
        self, paths: Iterable[Path], *options: str, environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """C-STORE in the background. Its output, read by `communicate`, holds the answers in the order of the files."""
        return subprocess.Popen(
            self._command("storescu", ("-v", *options), tuple(map(str, paths))),
            env=os.environ | dict(environment or {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )

    def find(self, folder: Path, level: str, keys: Mapping[str, str], *options: str) -> list[Dataset]:
        """C-FIND, Study Root unless an option says otherwise; the answers as data sets. `folder` must be empty."""
        folder.mkdir(parents=True, exist_ok=True)
        model = () if {"-P", "-O"} & set(options) else ("-S",)
        arguments = [*model, *options, "-X", "-od", str(folder), *_key_options(level, keys)]
        result = self._run("findscu", arguments)
        assert result.returncode == 0, result.stderr
        return [pydicom.dcmread(path, force=True) for path in sorted(folder.glob("rsp*.dcm"))]

    def get(self, folder: Path, level: str, keys: Mapping[str, str], *options: str) -> list[Path]:
        """C-GET; what came, written bit by bit as received."""
        folder.mkdir(parents=True, exist_ok=True)
        model = () if {"-P", "-O"} & set(options) else ("-S",)
        result = self._run("getscu", [*model, "+B", *options, "-od", str(folder), *_key_options(level, keys)])
        assert result.returncode == 0, result.stderr + result.stdout
        return sorted(path for path in folder.iterdir() if path.is_file())

    def move(
        self, destination: str, level: str, keys: Mapping[str, str], *options: str
    ) -> subprocess.CompletedProcess[str]:
        """C-MOVE to a destination that the server knows."""
        model = () if {"-P", "-O"} & set(options) else ("-S",)
        return self._run("movescu", ["-v", *model, *options, "-aem", destination, *_key_options(level, keys)])

    def _run(
        self,
        program: str,
        options: Sequence[str],
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self._command(program, options, arguments),
            env=os.environ | dict(environment or {}),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT_S,
            check=False,
        )

    def _command(self, program: str, options: Sequence[str], arguments: Sequence[str]) -> list[str]:
        aets = ["-aet", self._calling_aet, "-aec", self._called_aet]
        return [program, *aets, *options, LOOPBACK, str(self._port), *arguments]


class StoreScp:
    """DCMTK's `storescp`: writes every data set as it came, named by its SOP Instance UID. A context manager."""

    def __init__(
        self,
        folder: Path,
        *options: str,
        aet: str = "STORESCP",
        bit_preserving: bool = True,
        environment: Mapping[str, str] | None = None,
        port: int = 0,
    ) -> None:
        """`port`: its own one; 0: a free one."""
        self.received_folder = folder / "received"
        self.aet = aet
        self.port = port or free_ports(1)[0]
        self.received_folder.mkdir(parents=True, exist_ok=True)
        how = ("+B", "-pm", "+xa") if bit_preserving else ()
        command = ["storescp", *how, *options, "-aet", aet, "-od", self.received_folder, str(self.port)]
        self._server = Server(command, folder / "storescp.log", environment)

    def __enter__(self) -> StoreScp:
        self._server.start(lambda: accepts_connections(self.port))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.stop()

    def kill(self) -> None:
        """kill -9; what has come stays."""
        self._server.kill()

    def received(self) -> list[Path]:
        """The files that have come."""
        return sorted(path for path in self.received_folder.iterdir() if path.is_file())

    def clear(self) -> None:
        """Forget what has come."""
        for path in self.received():
            path.unlink()


class Dcmqrscp:
    """DCMTK's `dcmqrscp`: a small archive with an index in one file. A context manager."""

    def __init__(self, folder: Path, nodes: Mapping[str, int], environment: Mapping[str, str] | None = None) -> None:
        """`nodes`: AE titles that it may move to, and their ports on this machine."""
        self.aet = "DCMQRSCP"
        self.port = free_ports(1)[0]
        store = folder / "dcmqrscp"
        store.mkdir(parents=True, exist_ok=True)
        hosts = "".join(f"{aet.lower()} = ({aet}, {LOOPBACK}, {port})\n" for aet, port in nodes.items())
        configuration = folder / "dcmqrscp.cfg"
        configuration.write_text(
            f"NetworkTCPPort = {self.port}\nMaxPDUSize = 131072\nMaxAssociations = 64\n"
            f"HostTable BEGIN\n{hosts}HostTable END\nVendorTable BEGIN\nVendorTable END\n"
            f"AETable BEGIN\n{self.aet} {store} RW (100000, 1024mb) ANY\nAETable END\n"
        )
        self._server = Server(["dcmqrscp", "-c", configuration], folder / "dcmqrscp.log", environment)

    def __enter__(self) -> Dcmqrscp:
        self._server.start(lambda: accepts_connections(self.port))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.stop()


def _key_options(level: str, keys: Mapping[str, str]) -> list[str]:
    options = ["-k", f"QueryRetrieveLevel={level}"]
    for keyword, value in keys.items():
        options += ["-k", f"{keyword}={value}" if value else keyword]
    return options

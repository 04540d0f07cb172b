"""A whole session as tshark's DICOM dissector sees it: nothing malformed."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from acceptance.conftest import SeriesFactory
from acceptance.dicom_files import study_uid
from acceptance.programs.dcmtk import Dcmtk, StoreScp
from acceptance.programs.fileroom import Fileroom
from acceptance.programs.processes import NotReadyError, Server, wait_until

CAPTURE_START_TIMEOUT_S = 20.0


@pytest.fixture
def capture(fileroom: Fileroom, storescp: StoreScp, tmp_path: Path) -> Iterator[Capture]:
    """Everything on the DICOM ports of the loopback device, until it is stopped."""
    if shutil.which("tshark") is None:
        pytest.skip("needs tshark (Debian package tshark)")
    file = tmp_path / "session.pcapng"
    ports = f"tcp port {fileroom.dicom_port} or tcp port {storescp.port}"
    server = Server(["tshark", "-i", "lo", "-w", file, "-f", ports, "-B", "64"], tmp_path / "tshark.log")
    try:
        server.start(lambda: "Capturing on" in server.log_path.read_text() and file.exists(), CAPTURE_START_TIMEOUT_S)
    except NotReadyError as error:
        pytest.skip(f"capturing is not permitted here: {error}")
    capture = Capture(file, server, (fileroom.dicom_port, storescp.port))
    try:
        yield capture
    finally:
        capture.stop()


@dataclass(frozen=True, slots=True)
class Capture:
    """A running tshark, its file, and the ports whose traffic is DICOM."""

    file: Path
    server: Server
    ports: tuple[int, ...]

    def stop(self) -> None:
        """Nothing more comes; the file is whole."""
        self.server.stop(signal.SIGINT)

    def releases(self) -> int:
        """How many A-RELEASE-RP have been written so far; the file may end in the middle of a packet."""
        return len(self._run("dicom.pdu.type == 6", "frame.number").stdout.split())

    def dissect(self, display_filter: str, *fields: str) -> list[str]:
        """These fields of the packets that the filter lets through."""
        result = self._run(display_filter, *fields)
        assert result.returncode == 0, result.stderr
        return [line for line in result.stdout.splitlines() if line.strip()]

    def _run(self, display_filter: str, *fields: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self._command(display_filter, *fields), capture_output=True, text=True, check=False)

    def _command(self, display_filter: str, *fields: str) -> list[str]:
        command = ["tshark", "-r", str(self.file), "-Y", display_filter, "-T", "fields"]
        command += ["-o", "tcp.desegment_tcp_streams:TRUE"]
        for port in self.ports:
            command += ["-d", f"tcp.port=={port},dicom"]
        for field in fields:
            command += ["-e", field]
        return command


def test_no_packet_of_a_session_is_malformed(
    fileroom: Fileroom,
    dcmtk: Dcmtk,
    storescp: StoreScp,
    ct_series: SeriesFactory,
    capture: Capture,
    tmp_path: Path,
) -> None:
    files = ct_series(5)
    study = {"StudyInstanceUID": study_uid(files[0])}
    assert dcmtk.echo().returncode == 0
    assert Dcmtk(fileroom.dicom_port, "SOMEBODY").echo().returncode != 0
    assert dcmtk.store(files).returncode == 0
    assert len(dcmtk.find(tmp_path / "found", "IMAGE", study | {"SeriesInstanceUID": "", "SOPInstanceUID": ""})) == 5
    assert len(dcmtk.get(tmp_path / "got", "STUDY", study)) == 5
    assert dcmtk.move(storescp.aet, "STUDY", study).returncode == 0

    wait_until(lambda: capture.releases() >= 6, 20, "the end of the session in the capture")
    capture.stop()
    assert capture.dissect("_ws.malformed", "frame.number", "_ws.col.Info") == []
    assert capture.dissect("dicom && _ws.expert.severity == error", "frame.number", "_ws.expert.message") == []
    seen = " ".join(capture.dissect("dicom.pdv.ctx", "_ws.col.Info"))
    for message in ("C-ECHO-RSP", "C-STORE-RSP", "C-FIND-RSP", "C-GET-RSP", "C-MOVE-RSP"):
        assert message in seen, f"{message} was not recognised in: {seen[:2000]}"

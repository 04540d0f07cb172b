"""A whole session as tshark's DICOM dissector sees it: nothing malformed."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from acceptance.conftest import SeriesFactory
from acceptance.dicom_files import study_uid
from acceptance.programs.dcmtk import Dcmtk, StoreScp
from acceptance.programs.fileroom import Fileroom
from acceptance.programs.processes import NotReadyError, Server, wait_until

CAPTURE_START_TIMEOUT_S = 20.0


@pytest.fixture
def capture(fileroom: Fileroom, storescp: StoreScp, tmp_path: Path) -> Iterator[Path]:
    """Everything on the DICOM ports of the loopback device goes into this file while the test runs."""
    if shutil.which("tshark") is None:
        pytest.skip("needs tshark (Debian package tshark)")
    file = tmp_path / "session.pcapng"
    ports = f"tcp port {fileroom.dicom_port} or tcp port {storescp.port}"
    server = Server(["tshark", "-i", "lo", "-w", file, "-f", ports, "-B", "64"], tmp_path / "tshark.log")
    try:
        server.start(lambda: "Capturing on" in server.log_path.read_text() and file.exists(), CAPTURE_START_TIMEOUT_S)
    except NotReadyError as error:
        pytest.skip(f"capturing is not permitted here: {error}")
    try:
        yield file
    finally:
        server.stop(signal.SIGINT)


def _dissect(file: Path, ports: tuple[int, ...], display_filter: str, *fields: str) -> list[str]:
    command = ["tshark", "-r", str(file), "-Y", display_filter, "-T", "fields"]
    command += ["-o", "tcp.desegment_tcp_streams:TRUE", "-o", "dicom.heuristic:TRUE"]
    for port in ports:
        command += ["-d", f"tcp.port=={port},dicom"]
    for field in fields:
        command += ["-e", field]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return [line for line in result.stdout.splitlines() if line.strip()]


def test_no_packet_of_a_session_is_malformed(
    fileroom: Fileroom,
    dcmtk: Dcmtk,
    storescp: StoreScp,
    ct_series: SeriesFactory,
    capture: Path,
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

    ports = (fileroom.dicom_port, storescp.port)
    wait_until(
        lambda: len(_dissect(capture, ports, "dicom.pdu.type == 6", "frame.number")) >= 5, 20, "the whole capture"
    )
    assert _dissect(capture, ports, "_ws.malformed", "frame.number", "_ws.col.Info") == []
    assert _dissect(capture, ports, "dicom && _ws.expert.severity >= error", "frame.number", "_ws.expert.message") == []
    commands = _dissect(capture, ports, "dicom.pctx.id", "_ws.col.Info")
    seen = " ".join(commands)
    for message in ("C-ECHO-RSP", "C-STORE-RSP", "C-FIND-RSP", "C-GET-RSP", "C-MOVE-RSP"):
        assert message in seen, f"{message} was not recognised in: {seen[:2000]}"

"""A CT study of 1,000 images back: C-GET, C-MOVE and WADO-RS from us and from Orthanc.

The client throws the images away (`getscu --ignore`, `storescp --ignore`, curl to /dev/null): what is measured is the
sender. With a tuned Orthanc the DCMTK client runs with TCP_NODELAY=1 too, on both sides' turns.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from acceptance.dicom_files import study_uid
from acceptance.programs.dcmtk import Dcmtk, StoreScp
from acceptance.programs.orthanc import Orthanc
from acceptance.programs.processes import LOOPBACK
from benchmarks.results import Goal, Row
from benchmarks.rounds import alternate, median, timed
from benchmarks.session import NEVER_STABLE_S, Session

TUNED: Final = {"TCP_NODELAY": "1"}
OURS: Final = "Fileroom"
TIMEOUT_S: Final = 600.0


@dataclass(frozen=True, slots=True)
class _Archive:
    """A server that has the study."""

    port: int
    aet: str
    dicomweb: str


def retrieve(session: Session) -> list[Row]:
    """Rows of the three ways, against Orthanc as it comes and tuned."""
    count, size = session.amount(1000, 20), session.amount(512, 64)
    rows: list[Row] = []
    with session.ct_files(1, count, size) as [files]:
        study = study_uid(files[0])
        for label, environment in (("Orthanc", {}), ("Orthanc tuned", TUNED)):
            with _archives(session, files, label, environment) as (archives, sink):
                for way, fetch in _ways(sink, study, environment).items():
                    sides = {name: partial(_rate, fetch, archive, count) for name, archive in archives.items()}
                    results = alternate(sides, session.rounds)
                    rows.append(_row(way, count, size, label, results))
    return rows


@contextmanager
def _archives(
    session: Session, files: list[Path], label: str, environment: Mapping[str, str]
) -> Iterator[tuple[dict[str, _Archive], StoreScp]]:
    """Us and Orthanc, each with the study, and the destination of C-MOVE that both know."""
    with ExitStack() as stack:
        folder = session.new_folder("retrieve")
        sink = StoreScp(
            folder / "sink", "--ignore", "--fork", aet="SINK", bit_preserving=False, environment=environment
        )
        stack.enter_context(sink)
        room = stack.enter_context(session.fileroom(series_stable_s=NEVER_STABLE_S))
        orthanc = stack.enter_context(Orthanc(folder / "orthanc", nodes={"SINK": sink.port}, environment=environment))
        room.add_node("sink", "SINK", sink.port)
        client = Dcmtk(room.dicom_port, room.aet)
        result = client.store([files[0].parent], "+sd", environment=TUNED)
        assert result.returncode == 0, result.stdout[-500:]
        orthanc.upload(files)
        yield (
            {
                OURS: _Archive(room.dicom_port, room.aet, room.dicomweb),
                label: _Archive(orthanc.port, orthanc.aet, orthanc.dicomweb),
            },
            sink,
        )


def _ways(sink: StoreScp, study: str, environment: Mapping[str, str]) -> dict[str, Callable[[_Archive], None]]:
    def c_get(archive: _Archive) -> None:
        _run("getscu", archive, ["-S", "--ignore"], study, environment)

    def c_move(archive: _Archive) -> None:
        _run("movescu", archive, ["-S", "-aem", sink.aet], study, environment)

    def wado_rs(archive: _Archive) -> None:
        accept = 'Accept: multipart/related; type="application/dicom"; transfer-syntax=*'
        command = ["curl", "-sS", "--fail", "-o", "/dev/null", "-H", accept, f"{archive.dicomweb}/studies/{study}"]
        subprocess.run(command, check=True, timeout=TIMEOUT_S)

    return {"C-GET": c_get, "C-MOVE": c_move, "WADO-RS": wado_rs}


def _run(program: str, archive: _Archive, options: list[str], study: str, environment: Mapping[str, str]) -> None:
    keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study}"]
    command = [program, "-aet", "BENCH", "-aec", archive.aet, *options, *keys, LOOPBACK, str(archive.port)]
    clean = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"} | dict(environment)
    result = subprocess.run(
        command, env=clean, capture_output=True, text=True, errors="replace", check=False, timeout=TIMEOUT_S
    )
    assert result.returncode == 0, result.stderr[-500:]


def _rate(fetch: Callable[[_Archive], None], archive: _Archive, count: int, _round: int) -> float:
    return count / timed(lambda: fetch(archive))


def _row(way: str, count: int, size: int, peer: str, results: dict[str, list[float]]) -> Row:
    return Row(
        work=f"{way} of a study of {count:,} CT images, {size}x{size}",
        unit="images/s",
        ours=median(results[OURS]),
        peer=peer,
        theirs=median(results[peer]),
        goal=Goal("at least 2 x Orthanc", at_least=2),
        rounds=results,
    )

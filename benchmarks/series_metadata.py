"""The metadata of a series of 1,000 instances: ours and that of Orthanc's DICOMweb plugin; time to the first byte."""

from __future__ import annotations

import subprocess
from functools import partial
from typing import Final

import pydicom

from acceptance.programs.dcmtk import Dcmtk
from acceptance.programs.orthanc import Orthanc
from acceptance.programs.processes import wait_until
from benchmarks.results import Goal, Row
from benchmarks.rounds import alternate, median
from benchmarks.session import Session

OURS: Final = "Fileroom"
PEER: Final = "Orthanc DICOMweb plugin"
FIRST_BYTE_MS: Final = 50.0
STABLE_S: Final = 2.0
DOCUMENT_TIMEOUT_S: Final = 120.0
TIMEOUT_S: Final = 600.0


def series_metadata(session: Session) -> list[Row]:
    """Rows: whole answer against Orthanc, first byte, and both before the series is complete."""
    count = session.amount(1000, 20)
    folder = session.new_folder("metadata")
    with (
        session.ct_files(1, count, 64) as [files],
        session.fileroom(series_stable_s=STABLE_S) as room,
        Orthanc(folder / "orthanc") as orthanc,
    ):
        orthanc.upload(files)
        assert Dcmtk(room.dicom_port, room.aet).store(files, environment={"TCP_NODELAY": "1"}).returncode == 0
        ds = pydicom.dcmread(files[0], stop_before_pixels=True)
        path = f"studies/{ds.StudyInstanceUID}/series/{ds.SeriesInstanceUID}/metadata"
        early_first, early_total = _fetch(f"{room.dicomweb}/{path}")
        wait_until(
            lambda: room.rows("SELECT bool_and(documented) FROM series")[0][0],
            DOCUMENT_TIMEOUT_S,
            "the series' document",
        )
        totals: dict[str, list[float]] = {}
        firsts: list[float] = []

        def ours(_round: int) -> float:
            first, total = _fetch(f"{room.dicomweb}/{path}")
            firsts.append(first)
            return total

        sides = {OURS: ours, PEER: partial(_total, f"{orthanc.dicomweb}/{path}")}
        totals = alternate(sides, session.rounds)
    work = f"series metadata of {count:,} instances"
    return [
        Row(
            work=work,
            unit="ms",
            ours=median(totals[OURS]),
            peer=PEER,
            theirs=median(totals[PEER]),
            less_is_better=True,
            goal=Goal("at least 10 x Orthanc", at_least=10),
            rounds=totals,
        ),
        Row(
            work=f"{work}: first byte",
            unit="ms",
            ours=median(firsts),
            goal=Goal(f"under {FIRST_BYTE_MS:.0f} ms", at_most=FIRST_BYTE_MS),
            bound_on="value",
            rounds={OURS: firsts},
        ),
        Row(work=f"{work}: first byte while the series still arrives", unit="ms", ours=early_first),
        Row(
            work=f"{work}: whole, while the series still arrives",
            unit="ms",
            ours=early_total,
            peer=PEER,
            theirs=median(totals[PEER]),
            less_is_better=True,
        ),
    ]


def _total(url: str, _round: int) -> float:
    return _fetch(url)[1]


def _fetch(url: str) -> tuple[float, float]:
    """Milliseconds to the first and to the last byte, as curl counts them."""
    command = ["curl", "-sS", "--fail", "-H", "Accept: application/dicom+json", "-o", "/dev/null"]
    command += ["-w", "%{time_starttransfer} %{time_total}", url]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=TIMEOUT_S)
    first, total = result.stdout.split()
    return float(first) * 1000, float(total) * 1000

"""Modality worklist (C-FIND of PS3.4 K): what a modality waits for its list of the day, one association for all questions.

Fileroom has 100,000 scheduled steps: 100 days, 40 stations, 25 patients each; a station asks for its day and gets 25. Beside it
Orthanc's worklist plugin and DCMTK's wlmscpfs, which read a folder of files for every question: with 1,000 entries in each,
Fileroom too. Answers are read whole, not decoded.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psycopg
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from acceptance.programs.fileroom import Fileroom
from acceptance.programs.orthanc import Orthanc
from acceptance.programs.processes import LOOPBACK, Server, accepts_connections, free_ports
from benchmarks.results import Goal, Row
from benchmarks.rounds import median
from benchmarks.session import Session
from fileroom.core.identifiers import AETitle
from fileroom.dicom import uids
from fileroom.dicom.json_model import encode_dataset
from fileroom.net.association_client import ProposedContext, connect

DAYS, STATIONS, PATIENTS = 100, 40, 25
FEW_DAYS, FEW_STATIONS = 8, 5
DAY: Final = "20270101"
GOAL_MS: Final = 20.0
_STEPS: Final = """
INSERT INTO registered_patient (patient_name, patient_name_key, birth_date, sex, changed_by)
SELECT 'BENCH^' || n, 'bench^' || n, '19600401', 'F', 'bench' FROM generate_series(1, {all}) AS n;
INSERT INTO patient_identifier (patient, home, authority, value, is_first)
SELECT id, id, 'HOSP', 'P' || id, true FROM registered_patient;
INSERT INTO imaging_order (patient, placer_number, filler_number, accession_number, procedure_id, study_instance_uid,
    procedure_code, procedure_scheme, procedure_meaning, changed_by)
SELECT id, 'PL' || id, 'FI' || id, 'A' || id, 'RP' || id, '1.2.826.0.1.3680043.10.999.8.' || id, 'CTTHX', '99L',
    'CT of the thorax', 'bench' FROM registered_patient ORDER BY id;
INSERT INTO scheduled_step (imaging_order, step_id, modality, station_aets, station_name, start_date, start_time, description)
SELECT o.id, 'S' || o.id, 'CT', ARRAY['ST' || (o.id / {patients}) % {stations}], 'ROOM',
    to_char(date '2027-01-01' + (o.id / {patients} / {stations})::integer, 'YYYYMMDD'),
    lpad((8 + o.id % 10)::text, 2, '0') || '3000', 'CT thorax' FROM imaging_order o;
"""
_ASKED: Final = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyInstanceUID"),
    *("RequestedProcedureID", "RequestedProcedureDescription", "ReferringPhysicianName"),
)
_STEP_ASKED: Final = (
    "ScheduledStationAETitle",
    "ScheduledProcedureStepStartDate",
    "ScheduledProcedureStepStartTime",
    "Modality",
)


def worklist(session: Session) -> list[Row]:
    """Rows of 100,000 steps, and of as few as the peers can search."""
    calls = session.amount(100, 5)
    days, stations = session.amount(DAYS, FEW_DAYS), session.amount(STATIONS, FEW_STATIONS)
    rows = []
    with _filled(session, days, stations) as room:
        total = days * stations * PATIENTS
        for name, keys, matches in (
            ("a station's day", {"station": "ST3", "date": DAY}, PATIENTS),
            ("one accession number", {"accession": "A77"}, 1),
        ):
            rounds = [asyncio.run(_ask(room.dicom_port, room.aet, keys, matches, calls)) for _ in range(session.rounds)]
            goal = Goal(f"{GOAL_MS:g} ms or less", at_most=GOAL_MS)
            work = f"worklist of {total:,} steps, {name}, {matches} answers"
            rows.append(_row(work, rounds, bound_on="value", goal=goal))
    return rows + _beside_peers(session, calls)


def _beside_peers(session: Session, calls: int) -> list[Row]:
    keys, entries = {"station": "ST3", "date": DAY}, FEW_DAYS * FEW_STATIONS * PATIENTS
    folder = _files(session.new_folder("entries"))
    ours: list[float] = []
    theirs: dict[str, list[float]] = {"Orthanc": [], "wlmscpfs": []}
    nodelay = {"TCP_NODELAY": "1"}
    with (
        _filled(session, FEW_DAYS, FEW_STATIONS) as room,
        Orthanc(session.new_folder("orthanc"), worklists=folder, environment=nodelay) as orthanc,
        _wlmscpfs(session.new_folder("wlmscpfs"), folder) as port,
    ):
        for _ in range(session.rounds):
            ours.append(asyncio.run(_ask(room.dicom_port, room.aet, keys, PATIENTS, calls)))
            theirs["Orthanc"].append(asyncio.run(_ask(orthanc.port, orthanc.aet, keys, PATIENTS, calls)))
            theirs["wlmscpfs"].append(asyncio.run(_ask(port, "WORKLIST", keys, PATIENTS, calls)))
    work = f"worklist of {entries:,} steps, a station's day, {PATIENTS} answers"
    return [_row(work, ours, peer=peer, theirs=rounds) for peer, rounds in theirs.items()]


def _row(
    work: str,
    ours: list[float],
    *,
    peer: str = "",
    theirs: list[float] | None = None,
    goal: Goal | None = None,
    bound_on: str = "ratio",
) -> Row:
    return Row(
        work=work,
        unit="ms",
        ours=median(ours),
        peer=peer,
        theirs=median(theirs) if theirs else None,
        less_is_better=True,
        goal=goal,
        bound_on=bound_on,
        rounds={"Fileroom": ours} | ({peer: theirs} if theirs else {}),
    )


# --- servers with entries ---


@contextmanager
def _filled(session: Session, days: int, stations: int) -> Iterator[Fileroom]:
    with session.fileroom(workers=1, web_workers=1, delivery_workers=0) as room:
        text = _STEPS.replace("{all}", str(days * stations * PATIENTS)).replace("{patients}", str(PATIENTS))
        with psycopg.connect(room.database_url, autocommit=True) as connection:
            connection.execute(text.replace("{stations}", str(stations)).encode())
            connection.execute("VACUUM ANALYZE")
        yield room


@contextmanager
def _wlmscpfs(folder: Path, files: Path) -> Iterator[int]:
    [port] = free_ports(1)
    shutil.copytree(files, folder / "data" / "WORKLIST")
    (folder / "data" / "WORKLIST" / "lockfile").touch()
    server = Server(
        ["wlmscpfs", "--single-process", "--data-files-path", folder / "data", str(port)],
        folder / "log",
        {"TCP_NODELAY": "1"},
    )
    server.start(lambda: accepts_connections(port))
    try:
        yield port
    finally:
        server.stop()


def _files(folder: Path) -> Path:
    """The same entries as files, as both peers read them."""
    for day in range(FEW_DAYS):
        for station in range(FEW_STATIONS):
            for patient in range(PATIENTS):
                number = (day * FEW_STATIONS + station) * PATIENTS + patient
                _entry(number, f"ST{station}", f"202701{day + 1:02}").save_as(
                    folder / f"{number}.wl", enforce_file_format=True
                )
    return folder


def _entry(number: int, station: str, date: str) -> Dataset:
    step = Dataset()
    step.Modality, step.ScheduledStationAETitle, step.ScheduledStationName = "CT", station, "ROOM"
    step.ScheduledProcedureStepStartDate, step.ScheduledProcedureStepStartTime = date, f"{8 + number % 10:02}3000"
    step.ScheduledProcedureStepDescription, step.ScheduledProcedureStepID = "CT thorax", f"S{number}"
    entry = Dataset()
    entry.SpecificCharacterSet, entry.PatientName, entry.PatientID = "ISO_IR 192", f"BENCH^{number}", f"P{number}"
    entry.PatientBirthDate, entry.PatientSex, entry.AccessionNumber = "19600401", "F", f"A{number}"
    entry.StudyInstanceUID = f"1.2.826.0.1.3680043.10.999.8.{number}"
    entry.RequestedProcedureID, entry.RequestedProcedureDescription = f"RP{number}", "CT of the thorax"
    entry.ReferringPhysicianName = ""
    entry.ScheduledProcedureStepSequence = [step]
    entry.file_meta = FileMetaDataset()
    entry.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    entry.file_meta.MediaStorageSOPClassUID = uids.MODALITY_WORKLIST_FIND
    entry.file_meta.MediaStorageSOPInstanceUID = f"1.2.826.0.1.3680043.10.999.7.{number + 1}"
    return entry


# --- questions ---


async def _ask(port: int, aet: str, keys: Mapping[str, str], matches: int, calls: int) -> float:
    """Milliseconds until the last response: the median of the calls, without the first one."""
    identifier = encode_dataset(_question(keys))
    context = ProposedContext(uids.MODALITY_WORKLIST_FIND, (uids.EXPLICIT_VR_LITTLE_ENDIAN,))
    times: list[float] = []
    async with connect(
        LOOPBACK, port, calling_aet=AETitle("BENCH"), called_aet=AETitle(aet), contexts=[context]
    ) as one:
        for _ in range(calls + 1):
            began, found = time.perf_counter(), 0
            async for response in one.find(uids.MODALITY_WORKLIST_FIND, identifier):
                assert response.status in (0xFF00, 0xFF01, 0x0000), f"C-FIND ended with {response.status:04X}"
                found += response.dataset is not None
            times.append((time.perf_counter() - began) * 1000)
            assert found == matches, f"{found} answers instead of {matches}"
    return median(times[1:])


def _question(keys: Mapping[str, str]) -> Dataset:
    step = Dataset()
    for keyword in _STEP_ASKED:
        setattr(step, keyword, "")
    step.ScheduledStationAETitle = keys.get("station", "")
    step.ScheduledProcedureStepStartDate = keys.get("date", "")
    asked = Dataset()
    for keyword in _ASKED:
        setattr(asked, keyword, "")
    asked.AccessionNumber = keys.get("accession", "")
    asked.ScheduledProcedureStepSequence = [step]
    return asked

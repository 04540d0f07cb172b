"""How long the console's study list takes: the newest, pages far down, searches by what people type."""

from __future__ import annotations

import time
from typing import Final

import httpx
import psycopg

from acceptance.programs.fileroom import Fileroom
from benchmarks.results import Goal, Row
from benchmarks.rounds import percentile
from benchmarks.session import Session

P95_MS_MAX: Final = 50.0


def console(session: Session) -> list[Row]:
    """One row per question: p95 of the whole page, frame and all, as one browser after the other asks for it."""
    room = session.large_archive()
    calls = session.amount(100, 10)
    return [_row(session, name, _times(room, path, calls)) for name, path in _questions(room).items()]


def _questions(room: Fileroom) -> dict[str, str]:
    with psycopg.connect(room.database_url) as connection:
        found = connection.execute(
            b"""SELECT study_date, study_time, id FROM study ORDER BY study_date DESC NULLS LAST,
                study_time DESC NULLS LAST, id DESC OFFSET (SELECT count(*) / 2 FROM study) LIMIT 1"""
        ).fetchone()
        newest = connection.execute(b"SELECT max(study_date) FROM study").fetchone()
    assert found is not None
    assert newest is not None
    date, clock, row = found
    return {
        "newest": "/",
        "page in the middle": f"/?behind={date}~{clock}~{row}",
        "name by beginnings: doe john": "/?PatientName=doe john",
        "name: *OHN*": "/?PatientName=*OHN*",
        "patient ID": "/?PatientID=P00000042",
        "accession number": "/?AccessionNumber=A000000123",
        "one day and a modality": f"/?StudyDate={newest[0]}&ModalitiesInStudy=MR",
        "modality": "/?ModalitiesInStudy=MG",
        "part of the description: knee": "/?StudyDescription=knee",
        "nobody of that name": "/?PatientName=xyzzy",
        "no such station": "/?StationName=NOWHERE",
        "search everywhere: doe": "/search?q=doe",
    }


def _times(room: Fileroom, path: str, calls: int) -> list[float]:
    """Milliseconds until the last byte, one connection for all calls."""
    times: list[float] = []
    with httpx.Client(base_url=room.url, timeout=60) as client:
        for _ in range(calls + 1):
            began = time.perf_counter()
            answer = client.get(path)
            times.append((time.perf_counter() - began) * 1000)
            assert answer.status_code == 200, answer.text[:300]
    return times[1:]


def _row(session: Session, name: str, times: list[float]) -> Row:
    return Row(
        work=f"console, {name}, {session.studies:,} studies: p95",
        unit="ms",
        ours=percentile(times, 95),
        goal=Goal(f"at most {P95_MS_MAX:.0f} ms", at_most=P95_MS_MAX),
        bound_on="value",
        note=f"p50 {percentile(times, 50):.1f} ms",
        rounds={"ms": times},
    )

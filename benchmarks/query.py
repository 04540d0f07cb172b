"""Searches in an index of a million studies: C-FIND and QIDO-RS as a client sees them, and PostgreSQL's own time.

PostgreSQL's time is what EXPLAIN (ANALYZE, TIMING OFF) reports for planning and executing the very statement that the
question becomes; beside it stands how long a bare psycopg takes to fetch its rows, which no server in Python goes below.
Answers are read whole, not decoded.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import httpx
import psycopg
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from acceptance.programs.fileroom import Fileroom
from acceptance.programs.processes import LOOPBACK
from benchmarks.results import Goal, Row
from benchmarks.rounds import median, percentile
from benchmarks.session import Session
from fileroom.core.identifiers import AETitle
from fileroom.dicom import uids
from fileroom.dicom.query import Query
from fileroom.dicomweb.qido_params import Resource, parse_search
from fileroom.index.search import build_statement
from fileroom.index.visibility import ALL
from fileroom.net.association_client import ProposedContext, connect

LISTED: Final = (
    "StudyInstanceUID",
    "PatientName",
    "PatientID",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ModalitiesInStudy",
    "NumberOfStudyRelatedInstances",
)
"""What a work station asks for by C-FIND; QIDO-RS returns its own set."""
FAST_MS: Final = 20.0
WIDE_MS: Final = 200.0
POSTGRES_FACTOR: Final = 2.0
STATEMENT_RUNS: Final = 20


@dataclass(frozen=True, slots=True)
class Question:
    """A search by its matching keys. `limit` is QIDO's; C-FIND has none and returns everything that matches."""

    name: str
    keys: Mapping[str, str]
    limit: int | None = None
    p95_ms_max: float = FAST_MS
    by_c_find: bool = True


def query(session: Session) -> list[Row]:
    """Rows of every question by C-FIND and QIDO-RS."""
    room = session.large_archive()
    calls = session.amount(200, 10)
    rows: list[Row] = []
    for question in _questions(room):
        if question.by_c_find:
            times = asyncio.run(_find_times(room, question, calls))
            rows += _rows(session, "C-FIND", question, times, _ask_postgres(room, _query_of_c_find(question)))
        times = _qido_times(room, question, calls)
        rows += _rows(session, "QIDO-RS", question, times, _ask_postgres(room, _query_of_qido(question)))
    return rows


def _questions(room: Fileroom) -> Iterator[Question]:
    """About a study from the middle of the index."""
    patient_id, accession, study_uid, date = room.rows(
        """SELECT patient_id, accession_number, study_instance_uid, study_date FROM study
           WHERE id = (SELECT (min(id) + max(id)) / 2 FROM study)"""
    )[0]
    newest = room.rows("SELECT max(study_date) FROM study")[0][0]
    yield Question("PatientID", {"PatientID": patient_id})
    yield Question("accession number", {"AccessionNumber": accession})
    yield Question("Study Instance UID", {"StudyInstanceUID": study_uid})
    yield Question("date range + modality", {"StudyDate": f"{date}-{date}", "ModalitiesInStudy": "MR"}, 100)
    yield Question("PatientName DOE^J*", {"PatientName": "DOE^J*"}, 100)
    yield Question("newest 100", {}, 100, by_c_find=False)
    yield Question("newest day", {"StudyDate": f"{newest}-"}, 100)
    yield Question("PatientName *OHN*", {"PatientName": "*OHN*"}, 100, WIDE_MS)


# --- C-FIND ---


async def _find_times(room: Fileroom, question: Question, calls: int) -> list[float]:
    """Milliseconds until the last response, one association for all calls."""
    identifier = _identifier(question)
    context = ProposedContext(uids.STUDY_ROOT_FIND, (uids.EXPLICIT_VR_LITTLE_ENDIAN,))
    times: list[float] = []
    async with connect(
        LOOPBACK, room.dicom_port, calling_aet=AETitle("BENCH"), called_aet=AETitle(room.aet), contexts=[context]
    ) as association:
        for _ in range(calls + 1):
            began = time.perf_counter()
            async for response in association.find(uids.STUDY_ROOT_FIND, identifier):
                assert response.status in (0xFF00, 0xFF01, 0x0000), f"C-FIND ended with {response.status:04X}"
            times.append((time.perf_counter() - began) * 1000)
    return times[1:]


def _identifier(question: Question) -> bytes:
    ds = Dataset()
    ds.QueryRetrieveLevel = "STUDY"
    for keyword in LISTED:
        setattr(ds, keyword, None)
    for keyword, value in question.keys.items():
        setattr(ds, keyword, value)
    encoded = DicomBytesIO()
    encoded.is_little_endian, encoded.is_implicit_VR = True, False
    write_dataset(encoded, ds)
    return encoded.getvalue()


# --- QIDO-RS ---


def _qido_times(room: Fileroom, question: Question, calls: int) -> list[float]:
    """Milliseconds until the last byte, one connection for all calls."""
    times: list[float] = []
    with httpx.Client(headers={"Accept": "application/dicom+json"}, timeout=60) as client:
        for _ in range(calls + 1):
            began = time.perf_counter()
            answer = client.get(f"{room.dicomweb}/studies", params=_parameters(question, question.limit))
            times.append((time.perf_counter() - began) * 1000)
            assert answer.status_code in (200, 204), answer.text[:300]
    return times[1:]


def _parameters(question: Question, limit: int | None) -> dict[str, str]:
    return dict(question.keys) | ({"limit": str(limit)} if limit else {})


# --- PostgreSQL ---


def _query_of_qido(question: Question) -> Query:
    return parse_search(Resource.ALL_STUDIES, list(_parameters(question, question.limit).items())).query


def _query_of_c_find(question: Question) -> Query:
    """The same keys, but no page, no order, and the attributes of our identifier."""
    tags = tuple((tag_for_keyword(keyword),) for keyword in LISTED)
    return replace(_query_of_qido(question), page=None, newest_first=False, return_tags=tags)


@dataclass(frozen=True, slots=True)
class _Statement:
    """A statement's time as EXPLAIN tells it, as psycopg sees it (rows fetched), and how many rows it has."""

    explained_ms: float
    fetched_ms: float
    rows: int


def _ask_postgres(room: Fileroom, query: Query) -> _Statement:
    """Planning and execution time of the statement, and the time to fetch its rows: medians of some runs."""
    statement = build_statement(query, ALL)
    text = statement.text.encode()
    explain = b"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) " + text
    explained, fetched, rows = [], [], 0
    with psycopg.connect(room.database_url) as connection:
        for _ in range(STATEMENT_RUNS + 1):
            plan: Any = connection.execute(explain, statement.parameters).fetchone()
            explained.append(plan[0][0]["Planning Time"] + plan[0][0]["Execution Time"])
            began = time.perf_counter()
            rows = len(connection.execute(text, statement.parameters).fetchall())
            fetched.append((time.perf_counter() - began) * 1000)
    return _Statement(median(explained[1:]), median(fetched[1:]), rows)


def _rows(session: Session, door: str, question: Question, times: list[float], statement: _Statement) -> list[Row]:
    work = f"{door} {question.name}, {session.studies:,} studies"
    p50, p95 = median(times), percentile(times, 95)
    return [
        Row(
            work=f"{work}: p50 against PostgreSQL's own time",
            unit="ms",
            ours=p50,
            peer="PostgreSQL (EXPLAIN ANALYZE)",
            theirs=statement.explained_ms,
            less_is_better=True,
            goal=Goal("at most 2 x PostgreSQL", at_least=1 / POSTGRES_FACTOR),
            note=f"{statement.rows} rows; psycopg fetches them in {statement.fetched_ms:.2f} ms",
            rounds={"ms": times},
        ),
        Row(
            work=f"{work}: p95",
            unit="ms",
            ours=p95,
            goal=Goal(f"at most {question.p95_ms_max:.0f} ms", at_most=question.p95_ms_max),
            bound_on="value",
        ),
    ]

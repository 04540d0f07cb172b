"""A merge of a patient with 50,000 instances and taking it back, committed: `worklist.apply_change` on a database of rows.

No server and no files: a merge reads none. The 60 studies stand among 20,000 of others, so that indexes have their size.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Final

import psycopg

from benchmarks.population import populate
from benchmarks.results import Goal, Row
from benchmarks.rounds import median
from benchmarks.session import Session
from fileroom.app.services import repeatables
from fileroom.archive.services import Archive
from fileroom.core.access import SYSTEM, set_process_access
from fileroom.core.clock import system_now
from fileroom.core.settings import Settings
from fileroom.db.embedded import EmbeddedPostgres
from fileroom.db.pool import open_pool
from fileroom.db.schema import migrate
from fileroom.index.write import IndexWriter
from fileroom.storage.local import LocalStore
from fileroom.worklist.apply import apply_change
from fileroom.worklist.changes import Cause, Change, MergePatients, PutPatient, UnmergePatients
from fileroom.worklist.facts import Identifier, PatientFacts

STUDIES: Final = 60
SERIES: Final = 3
INSTANCES: Final = 50_000
SURVIVOR, RETIRED = Identifier("MERGE-1", "HOSP"), Identifier("MERGE-2", "HOSP")
_PATIENTS: Final = """
INSERT INTO patient (identity, patient_name, patient_name_key, patient_id, issuer_of_patient_id)
SELECT 'id:' || id || '|HOSP', 'MEIER^ANNA', 'meier^anna', id, 'HOSP' FROM unnest(ARRAY['MERGE-1', 'MERGE-2']) AS id;
INSERT INTO study (patient, patient_name, patient_name_key, patient_id, issuer_of_patient_id, patient_birth_date,
    study_instance_uid, study_date, study_description, modalities)
SELECT p.id, p.patient_name, p.patient_name_key, p.patient_id, 'HOSP', '19600401', '1.2.826.0.1.3680043.10.999.9.' || n,
    '20260101', 'CT', '{CT}'
FROM generate_series(1, {studies} + 5) AS n
JOIN patient p ON p.patient_id = CASE WHEN n > {studies} THEN 'MERGE-1' ELSE 'MERGE-2' END;
INSERT INTO series (study, series_instance_uid, modality, series_number, instance_count, documented)
SELECT s.id, s.study_instance_uid || '.' || k, 'CT', k, 0, true FROM study s CROSS JOIN generate_series(1, {series}) AS k
WHERE s.patient_id LIKE 'MERGE-%';
INSERT INTO instance (series, sop_instance_uid, sop_class_uid, instance_number, rows, columns, transfer_syntax_uid,
    storage_key, file_bytes, dataset_offset, pixel_offset, digest, received_by)
SELECT e.id, e.series_instance_uid || '.' || k, '1.2.840.10008.5.1.4.1.1.2', k, 512, 512, '1.2.840.10008.1.2.1',
    'objects/merge/' || e.id || '/' || k, 526000, 400, 2000, sha256(e.id::text::bytea), 'generated'
FROM series e JOIN study s ON s.id = e.study CROSS JOIN generate_series(1, {each}) AS k
WHERE s.patient_id = 'MERGE-2';
"""


def merge(session: Session) -> list[Row]:
    """Two rows: milliseconds of a merge, and of taking it back."""
    folder = session.new_folder("merge")
    server = EmbeddedPostgres(folder / "postgres")
    server.start()
    try:
        migrate(server.url, repeatables())
        populate(server.url, session.amount(20_000, 500))
        studies, instances = session.amount(STUDIES, 6), session.amount(INSTANCES, 600)
        text = _PATIENTS.replace("{studies}", str(studies)).replace("{series}", str(SERIES))
        text = text.replace("{each}", str(instances // studies // SERIES + 1))
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute(text.encode())
            connection.execute("VACUUM ANALYZE")
        merged, back = asyncio.run(_measure(server.url, folder, session.amount(15, 2)))
    finally:
        server.stop()
    return [
        _row(f"merge of a patient with {instances:,} instances in {studies} studies", merged),
        _row("taking that merge back", back),
    ]


def _row(work: str, rounds: list[float]) -> Row:
    return Row(
        work=work,
        unit="ms",
        ours=median(rounds),
        less_is_better=True,
        bound_on="value",
        goal=Goal("under 100 ms", at_most=100.0),
        durable="committed",
        rounds={"Fileroom": rounds},
    )


async def _measure(url: str, folder: Path, repeats: int) -> tuple[list[float], list[float]]:
    set_process_access(SYSTEM)
    pool = await open_pool(url)
    archive = Archive(LocalStore(folder / "store"), IndexWriter(url), pool, Settings(), system_now)
    survivor = PatientFacts((SURVIVOR,), name="Meier^Anna", birth_date="19600401", sex="F")
    retired = PatientFacts((RETIRED,), name="Meier^Anne", birth_date="19600401", sex="F")
    merged, back = [], []
    try:
        await _apply(archive, PutPatient(survivor))
        await _apply(archive, PutPatient(retired))
        for _ in range(repeats):
            merged.append(await _apply(archive, MergePatients(survivor, RETIRED)))
            back.append(await _apply(archive, UnmergePatients(SURVIVOR, RETIRED)))
    finally:
        await pool.close()
    return merged, back


async def _apply(archive: Archive, change: Change) -> float:
    """Milliseconds of a transaction, with its commit."""
    began = time.perf_counter()
    async with archive.pool.connection() as connection, connection.transaction():
        await apply_change(archive, connection, change, Cause("benchmark"))
    return (time.perf_counter() - began) * 1000

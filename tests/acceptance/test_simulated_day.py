"""A day in a hospital that is not there: afterwards patients, orders, studies and reports are as the plan of the day says.

The RIS is down for a while and sends what it has held back; Fileroom's HL7 port goes away in the middle, the sender repeats.
"""

from __future__ import annotations

import hashlib
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson

from acceptance.conftest import FileroomFactory
from acceptance.programs.fileroom import Fileroom
from acceptance.programs.processes import wait_until

PATIENTS = 120
HL7_WORKER = "fileroom.app.hl7_worker"


def test_after_a_simulated_day_everything_is_as_planned(fileroom_factory: FileroomFactory, tmp_path: Path) -> None:
    room = fileroom_factory(workers=1, hl7_workers=1)
    with ThreadPoolExecutor(1) as hospital:
        day = hospital.submit(
            room.command,
            *("simulate", "--patients", str(PATIENTS), "--patients-per-hour", "20000", "--speed", "90", "--seed", "7"),
            *("--ris-down-at", "310", "--ris-down-for", "90", "--truth", tmp_path / "truth.json"),
            *("--dicom-port", str(room.dicom_port), "--hl7-port", str(room.hl7_port)),
        )
        wait_until(lambda: day.done() or messages(room) > PATIENTS, 120, "the day's first messages", room.log_tail)
        for pid in room.workers(HL7_WORKER):
            os.kill(pid, signal.SIGKILL)
        played = day.result()
    assert played.returncode == 0, played.stderr
    truth = orjson.loads((tmp_path / "truth.json").read_bytes())
    assert len(truth["patients"]) > 100
    assert len(truth["reports"]) > 50
    wait_until(
        lambda: not differences(room, truth), 60, "the end of the day", lambda: "\n".join(differences(room, truth))
    )
    assert (
        room.rows("SELECT state, count(*) FROM hl7_message WHERE state IN ('failed', 'rejected') GROUP BY state") == []
    )


def messages(room: Fileroom) -> int:
    """How many have come."""
    return int(room.rows("SELECT count(*) FROM hl7_message")[0][0])


def differences(room: Fileroom, truth: dict[str, Any]) -> list[str]:
    """What is in Fileroom and not as the truth says, or the other way round."""
    return [*_patients(room, truth), *_orders(room, truth), *_studies(room, truth), *_reports(room, truth)]


def _patients(room: Fileroom, truth: dict[str, Any]) -> list[str]:
    held = {
        value: {"name": name, "birth_date": birth_date, "sex": sex}
        for value, name, birth_date, sex in room.rows(
            """SELECT i.value, p.patient_name, p.birth_date, p.sex FROM patient_identifier i
               JOIN registered_patient p ON p.id = i.patient
               WHERE i.authority = 'SIMULATED' AND i.kind = 'MR' AND p.merged_into IS NULL AND i.is_first"""
        )
    }
    wrong = [
        f"patient {key}: {held.get(key)}, not {said}"
        for key, said in truth["patients"].items()
        if held.get(key) != said
    ]
    wrong += [f"patient {key} is too many" for key in held.keys() - truth["patients"].keys()]
    survivors = dict(
        room.rows(
            """SELECT old.value, now.value FROM patient_identifier old JOIN patient_identifier now
               ON now.patient = old.patient AND now.is_first WHERE old.kind = 'MR' AND NOT old.is_first"""
        )
    )
    return wrong + [
        f"{old} leads to {survivors.get(old)}, not to {new}"
        for old, new in truth["merged"].items()
        if survivors.get(old) != new
    ]


def _orders(room: Fileroom, truth: dict[str, Any]) -> list[str]:
    held = {
        accession: (patient, state)
        for accession, patient, state in room.rows(
            """SELECT o.accession_number, i.value, o.state FROM imaging_order o
               LEFT JOIN patient_identifier i ON i.patient = o.patient AND i.is_first"""
        )
    }
    wrong = [f"order {key} is too many" for key in held.keys() - truth["orders"].keys()]
    for key, said in truth["orders"].items():
        patient, state = held.get(key, ("", "missing"))
        expected = ("scheduled", "completed") if said["state"] == "open" else (said["state"],)
        if patient != said["patient"] or state not in expected:
            wrong.append(f"order {key}: {patient} {state}, not {said}")
    return wrong


def _studies(room: Fileroom, truth: dict[str, Any]) -> list[str]:
    held = {
        uid: (patient, accession or "", images, is_matched)
        for uid, patient, accession, images, is_matched in room.rows(
            """SELECT s.study_instance_uid, s.patient_id, s.accession_number,
                   (SELECT sum(e.instance_count)::int FROM series e WHERE e.study = s.id),
                   EXISTS (SELECT FROM study_match m WHERE m.study_instance_uid = s.study_instance_uid AND m.undone_at IS NULL)
               FROM study s"""
        )
    }
    wrong = [f"study {key} is too many" for key in held.keys() - truth["studies"].keys()]
    for key, said in truth["studies"].items():
        patient, accession, images, is_matched = held.get(key, ("", "", 0, False))
        # Images that met their order by themselves carry its accession number.
        accessions = (
            {said["accession"], accession if is_matched else ""} if said["matched"] is None else {said["accession"]}
        )
        if patient != said["patient"] or images != said["images"] or accession not in accessions:
            wrong.append(f"study {key}: {patient} {accession} {images} images, not {said}")
        if said["matched"] and not is_matched:
            wrong.append(f"study {key} has not met its order")
    return wrong


def _reports(room: Fileroom, truth: dict[str, Any]) -> list[str]:
    held = {
        number: {
            "patient": patient,
            "accession": accession,
            "study": study,
            "state": state,
            "versions": version,
            "text": "" if document else "\n".join(one["text"] for one in sections),
            "document_sha256": hashlib.sha256(document).hexdigest() if document else "",
        }
        for number, patient, accession, study, state, version, sections, document in room.rows(
            """SELECT r.source_number, i.value, coalesce(o.accession_number, r.accession_number), r.study_instance_uid, r.state,
                   r.version, v.sections, v.document
               FROM report r JOIN report_version v ON v.report = r.id AND v.version = r.version
               LEFT JOIN imaging_order o ON o.id = r.imaging_order
               LEFT JOIN patient_identifier i ON i.patient = r.patient AND i.is_first WHERE r.source = 'hl7'"""
        )
    }
    wrong = [f"report {key} is too many" for key in held.keys() - truth["reports"].keys()]
    for key, said in truth["reports"].items():
        found = held.get(key)
        # Whether images that were typed in meet their order, and so the report, is for the rules of matching to say.
        expected = said if said["study"] is not None or found is None else {**said, "study": found["study"]}
        if found != expected:
            wrong.append(f"report {key}: {found}, not {said}")
    return wrong

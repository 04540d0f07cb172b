"""The audit trail of a running Fileroom: who did what, over DICOM, the web and the command line, and at rsyslog over TLS."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pydicom
import pytest

from acceptance.conftest import FileroomFactory, SeriesFactory
from acceptance.programs.dcmtk import Dcmtk
from acceptance.programs.fileroom import Fileroom
from acceptance.programs.processes import wait_until
from acceptance.programs.rsyslog import Rsyslog, rsyslog_is_installed
from audit_schema import check

TRANSFERRED, BEGIN, ACCESSED, QUERY, EXPORT, IMPORT = "110104", "110102", "110103", "110112", "110106", "110107"


@pytest.fixture
def rsyslog(tmp_path: Path) -> Iterator[Rsyslog]:
    """A syslog server over TLS that asks for a certificate."""
    if not rsyslog_is_installed():
        pytest.skip("needs rsyslog with TLS (Debian packages rsyslog and rsyslog-gnutls) and openssl")
    with Rsyslog(tmp_path / "rsyslog") as running:
        yield running


def search(fileroom: Fileroom, *options: str) -> list[dict[str, Any]]:
    """The events that fit, the oldest first."""
    result = fileroom.command("audit", "search", "--json", "--limit", "1000", *options)
    assert result.returncode == 0, result.stderr
    return list(reversed(json.loads(result.stdout)["events"]))


def exported_messages(fileroom: Fileroom) -> set[str]:
    result = fileroom.command("audit", "export", "-", "--format", "xml")
    assert result.returncode == 0, result.stderr
    return set(result.stdout.splitlines())


def received_messages(rsyslog: Rsyslog) -> list[str]:
    return [line[line.index("<AuditMessage") :] for line in rsyslog.lines()]


def wait_for_messages(rsyslog: Rsyslog, expected: set[str]) -> None:
    wait_until(
        lambda: expected <= set(received_messages(rsyslog)),
        60,
        "all events at rsyslog",
        lambda: "\n".join(sorted(expected - set(received_messages(rsyslog)))[:3]),
    )


def test_who_did_what_with_this_study(
    fileroom_factory: FileroomFactory, dcmtk_installed: None, ct_series: SeriesFactory, tmp_path: Path
) -> None:
    files = ct_series(5)
    header = pydicom.dcmread(files[0])
    study, patient = str(header.StudyInstanceUID), str(header.PatientID)
    fileroom = fileroom_factory(workers=1, web_workers=1)
    dcmtk = Dcmtk(fileroom.dicom_port, fileroom.aet)
    assert dcmtk.store(files).returncode == 0
    assert dcmtk.store(files).returncode == 0
    dcmtk.find(tmp_path / "found", "STUDY", {"PatientID": patient, "StudyInstanceUID": ""})
    assert len(dcmtk.get(tmp_path / "got", "STUDY", {"StudyInstanceUID": study})) == 5
    instance = (
        f"{fileroom.dicomweb}/studies/{study}/series/{header.SeriesInstanceUID}/instances/{header.SOPInstanceUID}"
    )
    for _ in range(20):
        assert httpx.get(f"{instance}/rendered").status_code == 200
    assert httpx.get(f"{fileroom.dicomweb}/studies/{study}/metadata").status_code == 200
    assert httpx.get(instance, headers={"Accept": "application/dicom"}).status_code == 200
    assert httpx.get(f"{fileroom.dicomweb}/studies/{study}", headers={"Accept": "application/zip"}).status_code == 200
    assert httpx.get(f"{fileroom.dicomweb}/studies", params={"PatientID": patient}).status_code == 200
    assert fileroom.command("export", tmp_path / "out.zip", "--study", study).returncode == 0
    assert fileroom.command("import", tmp_path / "out.zip").returncode == 0

    expected = {
        (TRANSFERRED, "C", "MODALITY@127.0.0.1"): 1,
        (TRANSFERRED, "R", "MODALITY@127.0.0.1"): 2,
        (QUERY, "E", "MODALITY@127.0.0.1"): 1,
        (BEGIN, "E", "MODALITY@127.0.0.1"): 1,
        (ACCESSED, "R", "local"): 2,
        (TRANSFERRED, "R", "local"): 1,
        (EXPORT, "R", "local"): 1,
        (QUERY, "E", "local"): 1,
        (EXPORT, "R", "system"): 1,
        (IMPORT, "C", "system"): 1,
    }

    def seen() -> Counter[tuple[str, str, str]]:
        return Counter((one["event"], one["action"], one["actor"]) for one in search(fileroom, "--patient", patient))

    wait_until(lambda: seen() == expected, 30, "the events", lambda: str(seen()))
    events = search(fileroom, "--study", study)
    stored = next(one for one in events if one["action"] == "C" and one["event"] == TRANSFERRED)
    assert stored["message"]["objects"][0]["sop_classes"] == [[str(header.SOPClassUID), 5]]
    assert stored["patient_ids"] == [patient]
    by_aet = {one["event"] for one in search(fileroom, "--user", "MODALITY")}
    assert {TRANSFERRED, QUERY, BEGIN} <= by_aet
    # Nothing of it stands in the log.
    assert str(header.PatientName) not in fileroom.log_text()
    assert patient not in fileroom.log_text()


def test_a_changed_trail_is_found(fileroom_factory: FileroomFactory) -> None:
    fileroom = fileroom_factory(workers=1)
    for number in range(3):
        fileroom.add_node(f"node{number}", f"NODE{number}", 1000 + number)
    wait_until(lambda: fileroom.rows("SELECT 1 FROM audit_queue") == [], 30, "all events sealed")
    whole = fileroom.command("audit", "verify")
    assert whole.returncode == 0, whole.stderr
    checkpoint = whole.stdout.split()[-1]
    assert fileroom.command("audit", "verify", "--checkpoint", checkpoint).returncode == 0
    [(number,)] = fileroom.rows("SELECT min(id) FROM audit_event WHERE event = '110113'")
    with psycopg.connect(fileroom.database_url) as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("UPDATE audit_event SET actor = 'nobody' WHERE id = %s", (number,))
        connection.rollback()
        connection.execute("SET session_replication_role = replica")
        connection.execute("UPDATE audit_event SET actor = 'nobody' WHERE id = %s", (number,))
    broken = fileroom.command("audit", "verify")
    assert broken.returncode == 1
    assert f"event {number} " in broken.stderr
    assert "does not say any more what was sealed" in broken.stderr


def test_every_event_reaches_the_syslog_server_whatever_is_killed(
    fileroom_factory: FileroomFactory, rsyslog: Rsyslog, dcmtk_installed: None, ct_series: SeriesFactory
) -> None:
    fileroom = fileroom_factory(workers=1, **rsyslog.settings)
    dcmtk = Dcmtk(fileroom.dicom_port, fileroom.aet)
    assert dcmtk.store(ct_series(2)).returncode == 0
    fileroom.add_node("ct1", "CT1", 1041)
    wait_for_messages(rsyslog, exported_messages(fileroom))
    rsyslog.kill()
    fileroom.add_node("ct2", "CT2", 1042)
    rsyslog.start()
    fileroom.add_node("ct3", "CT3", 1043)
    wait_for_messages(rsyslog, exported_messages(fileroom))
    fileroom.add_node("ct4", "CT4", 1044)
    fileroom.kill()
    fileroom.wait_until_nothing_runs()
    fileroom.start()
    fileroom.add_node("ct5", "CT5", 1045)
    wait_for_messages(rsyslog, exported_messages(fileroom))
    for message in set(received_messages(rsyslog)):
        check(message.encode())
    assert all(
        line.startswith(("85 DICOM+RFC3881 fileroom ", "84 DICOM+RFC3881 fileroom ")) for line in rsyslog.lines()
    )
    assert fileroom.command("audit", "verify").returncode == 0


def test_a_syslog_server_with_another_certificate_gets_nothing(
    fileroom_factory: FileroomFactory, rsyslog: Rsyslog, tmp_path: Path
) -> None:
    with Rsyslog(tmp_path / "stranger") as stranger:
        settings = rsyslog.settings | {"audit_syslog_url": stranger.settings["audit_syslog_url"]}
        fileroom = fileroom_factory(workers=1, **settings)
        wait_until(lambda: "audit_not_forwarded" in fileroom.log_text(), 30, "the complaint in the log")
        assert stranger.lines() == []
        [(position,)] = fileroom.rows("SELECT position FROM audit_forward") or [(0,)]
        assert position == 0

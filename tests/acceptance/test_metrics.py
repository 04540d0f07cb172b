"""What /metrics tells agrees with what independent programs have sent and got, also when a worker is killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from acceptance.conftest import SeriesFactory
from acceptance.programs.dcmtk import Dcmtk, StoreScp
from acceptance.programs.fileroom import ASSOCIATION_WORKER, Fileroom
from acceptance.programs.processes import wait_until

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
COUNT = 6


@pytest.fixture(scope="module")
def room(dcmtk_installed: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fileroom]:
    """A Fileroom of this module's own, so that its counters begin at nought; two association workers share the port."""
    with Fileroom(tmp_path_factory.mktemp("metrics"), workers=2, web_workers=2) as running:
        yield running


class Scrape:
    """One look at /metrics."""

    def __init__(self, room: Fileroom) -> None:
        self.text = httpx.get(f"{room.url}/metrics").raise_for_status().text
        families = text_string_to_metric_families(self.text)
        self._samples = [sample for family in families for sample in family.samples]

    def sum(self, name: str, **labels: str) -> float:
        """Over all samples of that name with these labels."""
        return sum(s.value for s in self._samples if s.name == name and labels.items() <= s.labels.items())


def _eventually(room: Fileroom, name: str, value: float, **labels: str) -> Scrape:
    """A look at which the number has arrived; workers write theirs once a second."""
    last = [0.0]

    def is_there() -> bool:
        last[0] = Scrape(room).sum(name, **labels)
        return last[0] >= value

    wait_until(is_there, 15.0, f"{name} {labels} = {value}", lambda: str(last[0]))
    return Scrape(room)


def test_counts_bytes_and_times_are_those_of_what_was_sent(
    room: Fileroom, ct_series: SeriesFactory, tmp_path: Path
) -> None:
    files = ct_series(COUNT)
    sender = Dcmtk(room.dicom_port, room.aet, "SCANNER7")
    assert sender.store(files).returncode == 0
    assert sender.store(files[:2]).returncode == 0  # again
    assert len(sender.find(tmp_path / "found", "STUDY", {"StudyInstanceUID": ""})) == 1
    assert sender.store(files[:1], "-aec", "WRONG").returncode != 0
    seen = _eventually(room, "fileroom_associations_total", 4, node="SCANNER7")
    received = "fileroom_objects_received_total"
    assert seen.sum(received, node="SCANNER7", modality="CT", outcome="stored") == COUNT
    assert seen.sum(received, node="SCANNER7", outcome="already there") == 2
    assert seen.sum(received) == COUNT + 2
    stored = sum(path.stat().st_size for path in room.stored_files())
    assert seen.sum("fileroom_storage_used_bytes") == stored
    again = sum(
        size
        for _, size in room.rows("SELECT instance_number, file_bytes FROM instance ORDER BY instance_number LIMIT 2")
    )
    assert seen.sum("fileroom_received_bytes_total", node="SCANNER7") == stored + again
    times = "fileroom_dimse_duration_seconds"
    assert seen.sum(f"{times}_count", operation="C-STORE", direction="in") == COUNT + 2
    assert seen.sum(f"{times}_bucket", operation="C-STORE", direction="in", le="+Inf") == COUNT + 2
    assert 0 < seen.sum(f"{times}_sum", operation="C-STORE") < 30
    assert seen.sum(f"{times}_count", operation="C-FIND", direction="in") == 1
    assert seen.sum("fileroom_index_commit_duration_seconds_count") >= 1
    assert seen.sum("fileroom_associations_total", node="SCANNER7", outcome="released") == 3
    assert seen.sum("fileroom_associations_total", node="SCANNER7", outcome="rejected") == 1
    assert seen.sum("fileroom_association_duration_seconds_count", direction="in") == 4
    assert seen.sum("fileroom_associations_open") == 0
    assert seen.sum("fileroom_instances") == COUNT


def test_what_was_sent_by_a_move_is_counted_for_its_destination(
    room: Fileroom, ct_series: SeriesFactory, tmp_path: Path
) -> None:
    sender = Dcmtk(room.dicom_port, room.aet)
    sender.store(ct_series(3))
    uid = room.rows("SELECT study_instance_uid FROM study ORDER BY id DESC LIMIT 1")[0][0]
    with StoreScp(tmp_path / "peer") as peer:
        room.add_node("peer", peer.aet, peer.port)
        sender.move(peer.aet, "STUDY", {"StudyInstanceUID": uid})
        assert len(peer.received()) == 3
        seen = _eventually(room, "fileroom_objects_sent_total", 3, node=peer.aet)
    assert seen.sum("fileroom_objects_sent_total", node=peer.aet) == 3
    assert seen.sum("fileroom_sent_bytes_total", node=peer.aet) > 0
    assert seen.sum("fileroom_dimse_duration_seconds_count", operation="C-STORE", direction="out") == 3
    assert seen.sum("fileroom_dimse_duration_seconds_count", operation="C-MOVE", direction="in") == 1
    assert room.command("node", "remove", "peer").returncode == 0


def test_counters_survive_the_death_of_their_process(room: Fileroom, ct_series: SeriesFactory) -> None:
    name, labels = "fileroom_objects_received_total", {"node": "MODALITY", "outcome": "stored"}
    before = Scrape(room).sum(name, **labels)
    Dcmtk(room.dicom_port, room.aet).store(ct_series(4))
    _eventually(room, name, before + 4, **labels)
    killed = room.workers(ASSOCIATION_WORKER)
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    assert Scrape(room).sum(name, **labels) == before + 4
    wait_until(lambda: len(set(room.workers(ASSOCIATION_WORKER)) - set(killed)) == 2, 20.0, "new workers")
    Dcmtk(room.dicom_port, room.aet).store(ct_series(3))
    seen = _eventually(room, name, before + 7, **labels)
    assert seen.sum(name, **labels) == before + 7
    assert seen.sum("fileroom_process_starts_total", process="association-1") == 2
    assert seen.sum("fileroom_process_starts_total", process="association-2") == 2
    assert seen.sum("fileroom_process_up") == seen.text.count("\nfileroom_process_up{")


def test_prometheus_own_tool_finds_no_fault_and_no_patient_is_told(room: Fileroom) -> None:
    text = Scrape(room).text
    for patient in room.rows("SELECT patient_name, patient_id, study_instance_uid FROM study"):
        assert not any(value in text for value in patient if value)
    if shutil.which("promtool") is None:
        pytest.skip("needs promtool (Debian package prometheus)")
    result = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout + result.stderr) == (0, "")


def test_whoever_has_the_permission_may_look_and_nobody_else(room: Fileroom) -> None:
    made = room.command("token", "create", "--name", "prometheus", "--role", "auditor", "--permission", "system.read")
    assert made.returncode == 0, made.stderr
    token = made.stdout.split()[-1]
    with httpx.Client(base_url=room.url) as client:
        assert client.get("/metrics", headers={"authorization": f"Bearer {token}"}).status_code == 200
        assert client.get("/metrics", headers={"authorization": "Bearer wrong"}).status_code == 401


def test_counters_begin_anew_with_the_server(room: Fileroom) -> None:
    assert Scrape(room).sum("fileroom_objects_received_total") > 0
    room.stop()
    room.start()
    seen = Scrape(room)
    assert seen.sum("fileroom_objects_received_total") == 0
    assert seen.sum("fileroom_instances") > 0

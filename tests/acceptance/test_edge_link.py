"""Two real Filerooms, an edge and its centre, over a line that breaks: everything arrives, once and bit by bit."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import time
from collections.abc import Iterable
from pathlib import Path

import httpx
import pytest

from acceptance.conftest import FileroomFactory
from acceptance.programs.breaking_proxy import BreakingProxy
from acceptance.programs.fileroom import Fileroom
from acceptance.programs.namespace import FileroomInside, Namespace
from acceptance.programs.processes import children, wait_until
from acceptance.programs.routing import TAKEN_WITHIN_S
from corpus.ct import instance_uid, make_ct_series, uid_of
from fileroom.dicom.part10 import parse_file_meta

OBJECTS = 24
UP, DOWN = 31_001, 31_002
"""Seeds of the study that goes to the centre, and of the one that goes to the edge."""


def configure(fileroom: Fileroom, folder: Path, **sections: dict[str, object]) -> None:
    """Put destinations and rules in place, as an administrator does by a file."""
    path = folder / "routing.toml"
    lines = []
    for section, entries in sections.items():
        for name, fields in entries.items():
            lines += [f"[{section}.{json.dumps(name)}]"]
            assert isinstance(fields, dict)
            lines += [f"{key} = {_toml(value)}" for key, value in fields.items()]
    path.write_text("\n".join(lines) + "\n")
    result = fileroom.command("config", "apply", path)
    assert result.returncode == 0, result.stderr + result.stdout


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(one)}" for key, one in value.items()) + " }"
    return json.dumps(value)


def connect(centre: Fileroom, edge: Fileroom, folder: Path, url: str, *options: str) -> None:
    """Make the edge known at the centre, let it dial `url`, and rules both ways."""
    added = centre.command("edge", "add", "clinic")
    assert added.returncode == 0, added.stderr
    up, down = (f'StudyInstanceUID == "{uid_of("study", seed)}"' for seed in (UP, DOWN))
    folder.mkdir(exist_ok=True)
    token = added.stdout.split()[0]
    result = edge.command("edge", "connect", url, "--token", token, "--name", "hospital", *options)
    assert result.returncode == 0, result.stderr
    configure(
        edge,
        folder,
        destinations={"hospital": {"kind": "edge", "target": {"centre": "hospital"}}},
        rules={"to the hospital": {"when": up, "to": ["hospital"]}},
    )
    configure(
        centre,
        folder,
        destinations={"clinic": {"kind": "edge_inbox", "target": {"edge": "clinic"}}},
        rules={"to the clinic": {"when": down, "to": ["clinic"]}},
    )
    time.sleep(TAKEN_WITHIN_S)


def store(fileroom: Fileroom, files: Iterable[bytes]) -> None:
    """By STOW-RS."""
    for file in files:
        answer = httpx.post(
            f"{fileroom.dicomweb}/studies", content=file, headers={"content-type": "application/dicom"}, timeout=60
        )
        assert answer.status_code == 200, answer.text


def held(fileroom: Fileroom) -> list[tuple[str, str]]:
    """SOP Instance UID and digest of each stored data set, in the order in which they came."""
    found = []
    for uid, key, offset in fileroom.rows(
        "SELECT sop_instance_uid, storage_key, dataset_offset FROM instance ORDER BY id"
    ):
        data = (fileroom.data / "store" / key).read_bytes()[offset:]
        found.append((uid, hashlib.sha256(data).hexdigest()))
    return found


def expected(files: Iterable[bytes], seed: int) -> set[tuple[str, str]]:
    """The same of what was made."""
    return {(instance_uid(seed, number), _data_set_digest(file)) for number, file in enumerate(files, start=1)}


def _data_set_digest(file: bytes) -> str:
    return hashlib.sha256(file[parse_file_meta(file, complete=True).data_set_offset :]).hexdigest()


def has_all(fileroom: Fileroom, wanted: set[tuple[str, str]]) -> bool:
    """Every object, bit by bit."""
    return wanted <= set(held(fileroom))


def states(fileroom: Fileroom) -> dict[str, int]:
    """The ledger, by state."""
    return dict(fileroom.rows("SELECT state, count(*) FROM delivery GROUP BY state"))


def connects_to(fileroom: Fileroom, ports: set[int]) -> set[int]:
    """To which of these ports processes of a Fileroom hold a connection that they have opened (`/proc/net/tcp`)."""
    pids = [fileroom.pid, *children(fileroom.pid)]
    inodes = set()
    for pid in pids:
        try:
            names = os.listdir(f"/proc/{pid}/fd")
        except OSError:
            continue
        for name in names:
            try:
                target = os.readlink(f"/proc/{pid}/fd/{name}")
            except OSError:
                continue
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    found = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[9] in inodes and (port := int(fields[2].rpartition(":")[2], 16)) in ports:
            found.add(port)
    return found


def in_sight(fileroom: Fileroom) -> bool:
    """Whether the centre sees its edge."""
    return bool(fileroom.rows("SELECT 1 FROM edge_state WHERE seen_at > now() - interval '20 seconds'"))


def test_both_ways_over_a_line_that_breaks(fileroom_factory: FileroomFactory, tmp_path: Path) -> None:
    """Connections are cut at random, either side is killed in the midst: each object arrives once, bit by bit."""
    centre, edge = fileroom_factory(workers=1), fileroom_factory(workers=1)
    up, down = make_ct_series(None, OBJECTS, 256, UP), make_ct_series(None, OBJECTS, 256, DOWN)
    edge_ports = {edge.dicom_port, edge.http_port}
    with BreakingProxy(centre.http_port, seed=7, cut_after=(30_000, 500_000)) as line:
        connect(centre, edge, tmp_path / "toml", f"http://127.0.0.1:{line.port}", "--piece-kib", "64")
        wait_until(lambda: in_sight(centre), 30, "the edge's first hello", edge.log_tail)
        store(edge, up)
        store(centre, down)
        wait_until(lambda: len(held(edge)) > OBJECTS + 3, 60, "the first objects at the edge", edge.log_tail)
        assert connects_to(centre, edge_ports) == set()
        assert connects_to(edge, {line.port}) == {line.port}
        edge.kill()
        edge.wait_until_nothing_runs()
        edge.start()
        wait_until(lambda: len(held(centre)) > OBJECTS + 3, 60, "the first objects at the centre", centre.log_tail)
        centre.kill()
        centre.wait_until_nothing_runs()
        centre.start()
        line.cut_after = (150_000, 1_500_000)
        both = expected(up, UP) | expected(down, DOWN)
        wait_until(lambda: has_all(centre, both), 90, "all objects at the centre", edge.log_tail)
        wait_until(
            lambda: has_all(edge, both), 90, "all objects at the edge", lambda: centre.log_tail() + edge.log_tail()
        )
        all_delivered = {"delivered": OBJECTS}
        wait_until(lambda: states(centre) == all_delivered, 60, "the centre's ledger", lambda: str(states(centre)))
        wait_until(lambda: states(edge) == all_delivered, 60, "the edge's ledger", lambda: str(states(edge)))
        assert connects_to(centre, edge_ports) == set()
        assert line.cuts > 5, "the line never broke"
    for one in (centre, edge):
        uids = [uid for uid, _ in held(one)]
        assert len(uids) == len(set(uids)) == 2 * OBJECTS
        assert one.rows("SELECT count(*) FROM conflict")[0][0] == 0
        assert not [path for path in (one.data / "edge" / "parts").rglob("*") if path.is_file()]


@pytest.mark.parametrize("loss", ["", "delay 20ms 5ms loss 2%"], ids=["slow line", "lossy line"])
def test_an_edge_behind_a_router_in_a_network_of_its_own(
    fileroom_factory: FileroomFactory, tmp_path: Path, loss: str
) -> None:
    """The centre cannot reach it at all, knows no address of it but the router's, and is served all the same.

    The router is a program that translates addresses by passing bytes on, as a kernel's NAT does with packets.
    """
    with Namespace(loss) as clinic:
        centre = fileroom_factory(workers=1, trusted_hosts=clinic.outside)
        with (
            FileroomInside(clinic, tmp_path / "edge", workers=1) as edge,
            BreakingProxy(centre.http_port, seed=3, cut_after=None, host=clinic.outside, delay_s=0.005) as router,
        ):
            connect(centre, edge, tmp_path / "toml", f"http://{clinic.outside}:{router.port}", "--compress")
            wait_until(lambda: in_sight(centre), 30, "the edge's first hello", edge.log_tail)
            up, down = make_ct_series(None, 6, 128, UP), make_ct_series(None, 6, 128, DOWN)
            clinic.do(lambda: store(edge, up))
            store(centre, down)
            both = expected(up, UP) | expected(down, DOWN)
            wait_until(lambda: has_all(centre, both), 60, "all objects at the centre", edge.log_tail)
            wait_until(lambda: has_all(edge, both), 60, "all objects at the edge", centre.log_tail)
            for uids in ([uid for uid, _ in held(one)] for one in (centre, edge)):
                assert [uid for uid in uids if uid in {instance_uid(UP, n) for n in range(1, 7)}] == [
                    instance_uid(UP, n) for n in range(1, 7)
                ], "order within the study"
            for port in (edge.http_port, edge.dicom_port):
                with socket.socket() as probe:
                    probe.settimeout(2)
                    assert probe.connect_ex((clinic.inside, port)) != 0, "the edge listens to the outside"
            assert connects_to(centre, {edge.http_port, edge.dicom_port}) == set()
            status = json.loads(centre.command("edge", "status", "--json").stdout)["edges"][0]
            assert (status["state"], status["waiting_here"], status["address"]) == ("here", 0, "127.0.0.1")
            assert abs(status["clock_ahead_s"]) < 2
            assert json.loads(edge.command("edge", "status", "--json").stdout)["centres"][0]["connected"]

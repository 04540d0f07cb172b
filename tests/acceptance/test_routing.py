"""Rules, deliveries and their proof between independent programs: what a sender gave is where the rules say, bit by bit.

One Fileroom with destinations of different health serves all tests; each test has studies and a modality of its own.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from pydicom import dcmread

from acceptance.dicom_files import by_instance, study_uid
from acceptance.programs.dcmtk import Dcmtk, StoreScp
from acceptance.programs.fileroom import TASK_WORKER, Fileroom
from acceptance.programs.orthanc import Orthanc, orthanc_program
from acceptance.programs.processes import free_ports, wait_until
from acceptance.programs.routing import Routing, node, rule, to_node
from corpus.ct import make_ct_series

pytestmark = pytest.mark.usefixtures("dcmtk_installed")

DELIVERY_WORKER: Final = "fileroom.app.delivery_worker"
KILLS: Final = int(os.environ.get("FILEROOM_TEST_ROUNDS", "3"))
SEED: Final = int(os.environ.get("FILEROOM_TEST_SEED", "0")) or random.SystemRandom().randrange(1, 2**31)


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreScp]:
    with StoreScp(tmp_path_factory.mktemp("receiver"), aet="WS1") as running:
        yield running


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fileroom]:
    with Fileroom(tmp_path_factory.mktemp("room"), workers=2, routing_stable_s=3) as running:
        yield running


@pytest.fixture(scope="module")
def routing(room: Fileroom, receiver: StoreScp) -> Routing:
    """Of all tests here: a destination that is well, WS1, and one where nobody listens, DEAD."""
    made = Routing(room)
    made.add(
        nodes={"WS1": node("WS1", receiver.port), "DEAD": node("DEAD", free_ports(1)[0])},
        destinations={"WS1": to_node("WS1"), "DEAD": to_node("DEAD", attempts_max=2)},
        rules={
            "relay": rule('StationName == "RELAY"', "WS1"),
            "complete": rule('StationName == "WHOLE"', "WS1", on="study"),
            "counted": rule('StationName == "COUNTED" && study.instances >= 4', "WS1", on="study"),
            "dead": rule('StationName == "DEAD"', "DEAD"),
            "held": rule('StationName == "HELD"', "WS1", hold=True),
        },
    )
    return made


def wait_for_states(
    room: Fileroom, routing: Routing, study: str, wanted: dict[str, int], destination: str = "", s: float = 30
) -> None:
    wait_until(
        lambda: routing.states(study, destination) == wanted,
        s,
        f"deliveries {wanted}",
        lambda: f"{routing.states(study, destination)}\n{routing.causes(study)}\n{room.log_tail()}",
    )


def ct(folder: Path, count: int, seed: int, modality_station: str) -> list[Path]:
    """A CT series whose station name tells which rule is meant."""
    files = make_ct_series(folder, count, 64, seed)
    for path in files:
        dataset = dcmread(path)
        dataset.StationName = modality_station
        dataset.save_as(path)
    return files


def assert_received(receiver: StoreScp, files: list[Path]) -> None:
    held = by_instance(receiver.received())
    for uid, sent in by_instance(files).items():
        assert uid in held, f"{uid} is not there"
        assert held[uid].dataset == sent.dataset, f"{uid} is not bit-identical"


def test_what_a_rule_matches_arrives_bit_by_bit_and_is_proven_in_the_ledger(
    room: Fileroom, routing: Routing, receiver: StoreScp, tmp_path: Path
) -> None:
    files = ct(tmp_path / "yes", 20, 3001, "RELAY")
    others = ct(tmp_path / "no", 5, 3002, "OTHER")
    assert Dcmtk(room.dicom_port).store([*files, *others]).returncode == 0
    wait_for_states(room, routing, study_uid(files[0]), {"delivered": 20})
    assert_received(receiver, files)
    assert routing.states(study_uid(others[0])) == {}
    assert not {*by_instance(others)} & {*by_instance(receiver.received())}


def test_the_same_object_again_is_not_sent_again(
    room: Fileroom, routing: Routing, receiver: StoreScp, tmp_path: Path
) -> None:
    files = ct(tmp_path, 3, 3003, "RELAY")
    assert Dcmtk(room.dicom_port).store(files).returncode == 0
    wait_for_states(room, routing, study_uid(files[0]), {"delivered": 3})
    assert_received(receiver, files)
    for path in receiver.received():
        if path.name.split(".", 1)[1] in by_instance(files) or any(uid in path.name for uid in by_instance(files)):
            path.unlink()
    assert Dcmtk(room.dicom_port).store(files).returncode == 0
    time.sleep(1.5)
    assert not {*by_instance(files)} & {*by_instance(receiver.received())}


def test_a_study_goes_when_it_is_complete_and_what_comes_late_goes_after(
    room: Fileroom, routing: Routing, receiver: StoreScp, tmp_path: Path
) -> None:
    files = ct(tmp_path, 6, 3004, "WHOLE")
    study = study_uid(files[0])
    assert Dcmtk(room.dicom_port).store(files[:5]).returncode == 0
    assert routing.states(study) == {"gathering": 5}
    wait_for_states(room, routing, study, {"delivered": 5})
    attempts = room.rows("SELECT sum(attempts) FROM delivery WHERE study_instance_uid = %s", study)
    assert Dcmtk(room.dicom_port).store(files[5:]).returncode == 0
    wait_for_states(room, routing, study, {"delivered": 6})
    assert (
        room.rows("SELECT sum(attempts) FROM delivery WHERE study_instance_uid = %s", study)[0][0] == attempts[0][0] + 1
    )
    assert_received(receiver, files)


def test_a_rule_may_ask_for_the_whole_study(
    room: Fileroom, routing: Routing, receiver: StoreScp, tmp_path: Path
) -> None:
    small, large = ct(tmp_path / "s", 2, 3005, "COUNTED"), ct(tmp_path / "l", 4, 3006, "COUNTED")
    assert Dcmtk(room.dicom_port).store([*small, *large]).returncode == 0
    wait_for_states(room, routing, study_uid(large[0]), {"delivered": 4})
    wait_until(
        lambda: not room.rows("SELECT 1 FROM gathering WHERE study_instance_uid = %s", study_uid(small[0])),
        20,
        "an end",
    )
    assert routing.states(study_uid(small[0])) == {}
    assert_received(receiver, large)


def test_a_destination_that_is_down_says_why_and_gets_everything_when_it_is_back(
    room: Fileroom, routing: Routing, tmp_path: Path
) -> None:
    port = free_ports(1)[0]
    routing.add(
        nodes={"LATER": node("LATER", port)},
        destinations={"LATER": to_node("LATER")},
        rules={"later": rule('StationName == "LATER"', "LATER", "WS1")},
    )
    files = ct(tmp_path / "files", 8, 3007, "LATER")
    study = study_uid(files[0])
    assert Dcmtk(room.dicom_port).store(files).returncode == 0
    wait_for_states(room, routing, study, {"delivered": 8}, "WS1")  # it does not wait for the one that is down
    wait_until(lambda: any("LATER" in one or str(port) in one for one in routing.causes(study)), 10, "a cause")
    assert routing.states(study, "LATER") == {"waiting": 8}
    with StoreScp(tmp_path, aet="LATER", port=port) as back:
        wait_for_states(room, routing, study, {"delivered": 8}, "LATER", s=60)
        assert_received(back, files)


def test_a_destination_that_stays_down_ends_in_dead_letters_which_go_elsewhere(
    room: Fileroom, routing: Routing, receiver: StoreScp, tmp_path: Path
) -> None:
    files = ct(tmp_path, 2, 3008, "DEAD")
    study = study_uid(files[0])
    assert Dcmtk(room.dicom_port).store(files).returncode == 0
    wait_for_states(room, routing, study, {"failed": 2}, s=60)
    listed = json.loads(room.command("deliveries", "--study", study, "--json").stdout)
    assert {one["state"] for one in listed} == {"failed"}
    assert all(one["cause"] and one["attempts"] == 2 for one in listed)
    done = room.command("deliveries", "redirect", "--study", study, "--to", "WS1", "--reason", "the other one is gone")
    assert done.returncode == 0, done.stderr
    wait_for_states(room, routing, study, {"cancelled": 2}, "DEAD")
    wait_for_states(room, routing, study, {"delivered": 2}, "WS1")
    assert_received(receiver, files)


def test_what_is_held_stays_until_it_is_released(
    room: Fileroom, routing: Routing, receiver: StoreScp, tmp_path: Path
) -> None:
    files = ct(tmp_path, 2, 3009, "HELD")
    study = study_uid(files[0])
    assert Dcmtk(room.dicom_port).store(files).returncode == 0
    assert routing.states(study) == {"held": 2}
    assert room.command("deliveries", "release", "--study", study, "--reason", "seen").returncode == 0
    wait_for_states(room, routing, study, {"delivered": 2})
    assert_received(receiver, files)


@pytest.mark.parametrize("proof", ["count", "commitment"])
def test_a_delivery_is_proven_by_what_the_destination_says_afterwards(
    room: Fileroom, routing: Routing, proof: str, tmp_path: Path
) -> None:
    if orthanc_program() is None:
        pytest.skip("needs Orthanc (Debian package orthanc)")
    with Orthanc(tmp_path / "orthanc", nodes={"FILEROOM": room.dicom_port}) as orthanc:
        name = proof.upper()
        routing.add(
            nodes={name: {**node(orthanc.aet, orthanc.port)}},
            destinations={name: to_node(name, confirmation=proof)},
            rules={proof: rule(f'StationName == "{name}"', name)},
        )
        files = ct(tmp_path / "files", 4, 3010 + len(proof), name)
        assert Dcmtk(room.dicom_port).store(files).returncode == 0
        wait_for_states(room, routing, study_uid(files[0]), {"delivered": 4}, s=45)
        assert len(orthanc.get("/instances")) == 4
        routing.remove(rules=proof, destinations=name, nodes=name)  # the other proof calls a node of this AE title too


def test_kill_9_of_workers_and_database_loses_and_repeats_nothing(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    with (
        StoreScp(tmp_path / "one", aet="ONE") as one,
        StoreScp(tmp_path / "two", aet="TWO") as two,
        Fileroom(tmp_path / "room", workers=2) as room,
    ):
        Routing(room).add(
            nodes={"ONE": node("ONE", one.port), "TWO": node("TWO", two.port)},
            destinations={"ONE": to_node("ONE"), "TWO": to_node("TWO")},
            rules={"all": rule('Modality == "CT"', "ONE", "TWO")},
        )
        sent: list[Path] = []
        for number in range(KILLS):
            files = make_ct_series(tmp_path / f"files{number}", 40, 64, 4_000_000 + number)
            sender = Dcmtk(room.dicom_port).start_store(files)
            time.sleep(rng.uniform(0.05, 0.5))
            victim = (DELIVERY_WORKER, TASK_WORKER, "postgres")[number % 3]
            pid = room.postgres_pid() if victim == "postgres" else rng.choice(room.workers(victim))
            os.kill(pid, signal.SIGKILL)
            sender.communicate()
            room.wait_until_ready(60)
            client = Dcmtk(room.dicom_port)
            wait_until(lambda f=files, c=client: c.store(f).returncode == 0, 60, "a store", room.log_tail)  # type: ignore[misc]
            sent += files
        wait_until(
            lambda: room.rows("SELECT DISTINCT state FROM delivery") == [("delivered",)],
            90,
            f"everything to be delivered (FILEROOM_TEST_SEED={SEED})",
            lambda: f"{room.rows('SELECT state, count(*), max(cause) FROM delivery GROUP BY 1')}\n{room.log_tail()}",
        )
        objects = room.rows("SELECT count(*) FROM instance")[0][0]
        assert objects == len(by_instance(sent))
        assert room.rows("SELECT count(*) FROM delivery")[0][0] == 2 * objects
        assert room.rows("SELECT sum(number) FROM delivery_tally")[0][0] == 2 * objects
        assert room.rows("SELECT sum(number) FROM delivery_tally WHERE state = 'delivered'")[0][0] == 2 * objects
        for receiver in (one, two):
            assert len(receiver.received()) == objects
            assert_received(receiver, sent)

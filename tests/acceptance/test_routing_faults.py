"""Destinations that behave badly: DCMTK's storescp with its fault switches, one behind a line that spoils answers, one held,
a folder on a full disk, a member of a pool that is killed.

Whatever they do, the ledger says why in words, other destinations get theirs, and when the fault is gone everything arrives.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from acceptance.dicom_files import by_instance, study_uid
from acceptance.programs.dcmtk import Dcmtk, StoreScp
from acceptance.programs.fileroom import Fileroom
from acceptance.programs.processes import free_ports, wait_until
from acceptance.programs.routing import Routing, node, rule, to_node
from acceptance.programs.small_disk import small_disk
from corpus.ct import make_ct_series

pytestmark = pytest.mark.usefixtures("dcmtk_installed")

OBJECTS: Final = 6
LANES: Final = 2
"""Of a destination that says nothing else."""
MIB: Final = 1024 * 1024
DISK_MIB: Final = 8
RESPONDED_TO: Final = b"\0\0\x20\x01\x02\0\0\0"
"""Message ID Being Responded To (0000,0120) in Implicit VR Little Endian, up to its value."""
FAULTS: Final = {
    "ABORTS": ("--abort-during",),
    "LEAVES": ("--abort-after",),
    "REFUSES": ("--refuse",),
    "SLOW": ("--sleep-during", "3"),
}


@pytest.fixture(scope="module")
def well(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreScp]:
    with StoreScp(tmp_path_factory.mktemp("well"), aet="WELL") as running:
        yield running


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fileroom]:
    folder = tmp_path_factory.mktemp("room")
    with Fileroom(folder, workers=2, routing_folders=folder / "shares") as running:
        yield running


@pytest.fixture(scope="module")
def routing(room: Fileroom, well: StoreScp) -> Routing:
    """Everything goes to WELL and to FAULTY, whose port each test gives to somebody else in turn."""
    made = Routing(room)
    made.add(
        nodes={"WELL": node("WELL", well.port), "FAULTY": node("FAULTY", free_ports(1)[0], response_timeout_s=2)},
        destinations={"WELL": to_node("WELL"), "FAULTY": to_node("FAULTY")},
        rules={"both": rule('Modality == "CT"', "WELL", "FAULTY")},
    )
    return made


def listen_at(routing: Routing, port: int) -> None:
    routing.add(nodes={"FAULTY": node("FAULTY", port, response_timeout_s=2)})


def send(room: Fileroom, folder: Path, seed: int) -> tuple[str, list[Path]]:
    files = make_ct_series(folder, OBJECTS, 64, seed)
    assert Dcmtk(room.dicom_port).store(files).returncode == 0
    return study_uid(files[0]), files


def wait_for(room: Fileroom, routing: Routing, study: str, destination: str, wanted: dict[str, int]) -> None:
    wait_until(
        lambda: routing.states(study, destination) == wanted,
        60,
        f"{destination}: {wanted}",
        lambda: f"{routing.states(study)}\n{routing.causes(study)}\n{room.log_tail()}",
    )


def assert_is_told_and_heals(room: Fileroom, routing: Routing, well: StoreScp, study: str, files: list[Path]) -> None:
    """The fault stands in the ledger, WELL has everything; and once FAULTY is another program, so has that."""
    wait_for(room, routing, study, "WELL", {"delivered": OBJECTS})
    wait_until(lambda: any(routing.causes(study)), 30, "a cause", room.log_tail)
    assert routing.states(study, "FAULTY") != {"delivered": OBJECTS}
    with StoreScp(files[0].parent.parent / "healed", aet="FAULTY") as healed:
        listen_at(routing, healed.port)
        done = room.command("deliveries", "retry", "--study", study, "--destination", "FAULTY", "--reason", "repaired")
        assert done.returncode == 0, done.stderr
        wait_for(room, routing, study, "FAULTY", {"delivered": OBJECTS})
        held = by_instance(healed.received())
        assert held, "nothing was left to be sent: the fault was none"
        assert all(by_instance(files)[uid].dataset == one.dataset for uid, one in held.items())
    assert by_instance(files).keys() <= by_instance(well.received()).keys()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_destination_with_a_fault_is_told_of_and_gets_everything_when_it_is_well(
    room: Fileroom, routing: Routing, well: StoreScp, tmp_path: Path, fault: str
) -> None:
    number = list(FAULTS).index(fault)
    with StoreScp(tmp_path / "faulty", *FAULTS[fault], aet="FAULTY") as faulty:
        listen_at(routing, faulty.port)
        study, files = send(room, tmp_path / "files", 5100 + number)
        wait_for(room, routing, study, "WELL", {"delivered": OBJECTS})
        wait_until(lambda: any(routing.causes(study)), 30, "a cause", room.log_tail)
    assert_is_told_and_heals(room, routing, well, study, files)


def test_answers_with_a_wrong_message_id_are_not_believed(
    room: Fileroom, routing: Routing, well: StoreScp, tmp_path: Path
) -> None:
    with StoreScp(tmp_path / "behind", aet="FAULTY") as behind, spoiling(behind.port) as port:
        listen_at(routing, port)
        study, files = send(room, tmp_path / "files", 5200)
        wait_for(room, routing, study, "WELL", {"delivered": OBJECTS})
        wait_until(lambda: any(routing.causes(study)), 30, "a cause", room.log_tail)
        assert "delivered" not in routing.states(study, "FAULTY")
    assert_is_told_and_heals(room, routing, well, study, files)


def test_a_destination_that_is_held_lets_its_objects_wait(room: Fileroom, routing: Routing, tmp_path: Path) -> None:
    routing.add(destinations={"HELD": to_node("WELL", hold=True)}, rules={"held": rule('Modality == "CT"', "HELD")})
    study, _ = send(room, tmp_path / "files", 5300)
    wait_for(room, routing, study, "HELD", {"waiting": OBJECTS})
    routing.add(destinations={"HELD": to_node("WELL")})
    wait_for(room, routing, study, "HELD", {"delivered": OBJECTS})
    routing.remove(rules="held")


def test_folder_on_a_full_disk_says_so_keeps_nothing_half_and_gets_the_rest_when_there_is_room(
    room: Fileroom, routing: Routing, well: StoreScp, tmp_path: Path
) -> None:
    with small_disk(room.folder / "shares" / "small", DISK_MIB) as share:
        ballast = share / "ballast"
        ballast.write_bytes(bytes((DISK_MIB - 3) * MIB))
        routing.add(
            destinations={
                "SHARE": {"kind": "folder", "target": {"path": str(share), "pattern": "{SOPInstanceUID}.dcm"}}
            },
            rules={"share": rule('Modality == "CT" && Rows == 512', "SHARE")},
        )
        files = make_ct_series(tmp_path / "files", 12, 512, 5400)  # 6 MiB into 3
        study = study_uid(files[0])
        assert Dcmtk(room.dicom_port).store(files).returncode == 0
        wait_for(room, routing, study, "WELL", {"delivered": len(files)})
        wait_until(lambda: any("full" in cause for cause in routing.causes(study)), 30, "a cause", room.log_tail)
        wait_until(
            lambda: (
                sum(routing.states(study, "SHARE").values()) == len(files)
                and routing.states(study, "SHARE").get("delivered", 0) == len(list(share.glob("*.dcm"))) > 0
            ),
            30,
            "as many files as deliveries",
            lambda: f"{routing.states(study, 'SHARE')} {list(share.iterdir())}",
        )
        assert {path.suffix for path in share.iterdir() if path != ballast} == {".dcm"}, "half files are left"
        ballast.unlink()
        done = room.command(
            "deliveries", "retry", "--study", study, "--destination", "SHARE", "--reason", "room was made"
        )
        assert done.returncode == 0, done.stderr
        wait_for(room, routing, study, "SHARE", {"delivered": len(files)})
        held = by_instance(list(share.iterdir()))
        assert {uid: one.dataset for uid, one in held.items()} == {
            uid: one.dataset for uid, one in by_instance(files).items()
        }
        routing.remove(rules="share")


def test_when_a_member_of_a_pool_is_killed_the_other_one_gets_the_rest(
    room: Fileroom, routing: Routing, tmp_path: Path
) -> None:
    with (
        StoreScp(tmp_path / "first", "--sleep-after", "1", aet="FIRST") as first,
        StoreScp(tmp_path / "second", aet="SECOND") as second,
    ):
        routing.add(
            nodes={"FIRST": node("FIRST", first.port, response_timeout_s=5), "SECOND": node("SECOND", second.port)},
            destinations={
                "FIRST": to_node("FIRST"),
                "SECOND": to_node("SECOND"),
                "PAIR": {"kind": "pool", "target": {"members": [{"destination": "FIRST"}, {"destination": "SECOND"}]}},
            },
            rules={"pair": rule('Modality == "CT"', "PAIR")},
        )
        files = [path for n in range(3) for path in make_ct_series(tmp_path / f"files{n}", 8, 64, 5500 + n)]
        assert Dcmtk(room.dicom_port).store(files).returncode == 0
        wait_until(lambda: len(first.received()) >= 3, 30, "something at the first member", room.log_tail)
        first.kill()
        for study in {study_uid(path) for path in files}:
            wait_for(room, routing, study, "PAIR", {"delivered": 8})
        one, other = by_instance(first.received()), by_instance(second.received())
        assert one.keys() | other.keys() == by_instance(files).keys()
        # What the first one had on its disk when it was killed, but had not answered yet: one object of each lane at most.
        assert len(one.keys() & other.keys()) <= LANES, "the other member was sent what the first one had confirmed"
        assert other, "the first member got everything before it was killed"
        assert all(by_instance(files)[uid].dataset == got.dataset for uid, got in other.items())
        routing.remove(rules="pair")


@contextlib.contextmanager
def spoiling(port: int) -> Iterator[int]:
    """A line to `port` on which every answer names a message that nobody sent."""
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

        def pass_on(source: socket.socket, target: socket.socket, *, spoils: bool) -> None:
            with contextlib.suppress(OSError):
                while data := source.recv(65536):
                    place = data.find(RESPONDED_TO) if spoils else -1
                    if place >= 0:
                        value = place + len(RESPONDED_TO)
                        data = data[:value] + b"\x77\x77" + data[value + 2 :]
                    target.sendall(data)
                target.shutdown(socket.SHUT_WR)

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    caller, called = listening.accept()[0], socket.create_connection(("127.0.0.1", port))
                    ends = (caller, called)
                    threads.extend(
                        threading.Thread(target=pass_on, args=order, kwargs={"spoils": spoils})
                        for order, spoils in ((ends, False), (ends[::-1], True))
                    )
                    lines.extend(ends)
                    for one in threads[-2:]:
                        one.start()

        threads: list[threading.Thread] = []
        lines: list[socket.socket] = []
        serving = threading.Thread(target=serve)
        serving.start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            serving.join()
            for one in lines:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()
            for one in lines:
                one.close()

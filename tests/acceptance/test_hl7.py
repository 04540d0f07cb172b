"""HL7 against the running server: `mllp_send`, raw bytes, a port of a feed's own, forwarding, the database killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from acceptance.programs.fileroom import Fileroom
from acceptance.programs.mllp import END, START, Sender
from acceptance.programs.processes import LOOPBACK, accepts_connections, free_ports, wait_until


@pytest.fixture(scope="module")
def ris(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fileroom]:
    """A Fileroom that takes HL7."""
    folder = tmp_path_factory.mktemp("ris")
    with Fileroom(folder, workers=1, web_workers=1, delivery_workers=0, hl7_workers=1) as running:
        yield running


def order(control_id: str, number: str, *, patient: str = "P1", control: str = "NW") -> bytes:
    return "\r".join(
        (
            f"MSH|^~\\&|RIS|HOSP|FILEROOM|HOSP|20261122101500||ORM^O01|{control_id}|P|2.3.1",
            f"PID|1||{patient}^^^HOSP^MR||Doe^Jane||19700203|F",
            f"ORC|{control}|PL{number}|{number}||||^^^20261123080000^^R",
            f"OBR|1|PL{number}|{number}|CTHEAD^CT head^L||||||||||||||{number}||||||CT",
            "",
        )
    ).encode()


def code(answer: bytes) -> bytes:
    """MSA-1."""
    return next((line.split(b"|")[1] for line in answer.split(b"\r") if line.startswith(b"MSA|")), b"")


def listed(fileroom: Fileroom, **wanted: str) -> list[dict[str, Any]]:
    answer = httpx.get(f"{fileroom.url}/api/v1/hl7/messages", params=wanted, timeout=20)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


def add_feed(fileroom: Fileroom, name: str, **fields: object) -> None:
    answer = httpx.put(f"{fileroom.url}/api/v1/hl7/feeds/{name}", json=fields, timeout=20)
    assert answer.status_code == 200, answer.text


def orders(fileroom: Fileroom) -> int:
    return int(fileroom.rows("SELECT count(*) FROM imaging_order")[0][0])


def test_an_order_of_an_independent_sender_is_acknowledged_and_stands_in_the_worklist(
    ris: Fileroom, tmp_path: Path
) -> None:
    file = tmp_path / "order.hl7"
    file.write_bytes(order("M1", "ACC1"))
    program = Path(sys.executable).with_name("mllp_send")
    done = subprocess.run(
        [str(program), "--loose", "-p", str(ris.hl7_port), "-f", str(file), LOOPBACK],
        capture_output=True,
        timeout=30,
        check=True,
    )
    assert b"MSA|AA|M1" in done.stdout
    steps = ris.rows(
        "SELECT o.accession_number, s.modality, s.state FROM scheduled_step s JOIN imaging_order o ON o.id = s.imaging_order"
    )
    assert steps == [("ACC1", "CT", "scheduled")]
    [message] = listed(ris, control_id="M1")
    assert (message["state"], message["feed"]) == ("applied", "default")
    shown = ris.command("hl7", "show", str(message["id"]))
    assert "PID-5" in shown.stdout
    assert "Doe^Jane" in shown.stdout


def test_dribbled_bytes_odd_frames_and_duplicates(ris: Fileroom) -> None:
    before = orders(ris)
    with Sender(ris.hl7_port) as sender:
        for byte in START + order("D1", "ACC2") + END:
            sender.socket.sendall(bytes((byte,)))
        assert code(sender.answer()) == b"AA"
        assert code(sender.send(order("D1", "ACC2"))) == b"AA"
        assert code(sender.send(order("D2", "ACC3").replace(b"\r", b"\n"))) == b"AA"
        assert code(sender.send(b"GET / HTTP/1.1")) == b"AR"
        pipelined = b"".join(START + order(f"D{number}", f"ACC{number}") + END for number in range(10, 30))
        sender.socket.sendall(pipelined)
        answers = b""
        while answers.count(END) < 20:
            answers += sender.socket.recv(65536)
    controls = [line.split(b"|")[2] for line in answers.split(b"\r") if line.startswith(b"MSA|")]
    assert controls == [b"D%d" % number for number in range(10, 30)]
    assert orders(ris) == before + 22
    assert [one["state"] for one in listed(ris, control_id="D1")] == ["duplicate", "applied"]


def test_a_feed_has_a_port_of_its_own_and_another_gets_what_came_in(ris: Fileroom) -> None:
    own_port, ward_port = free_ports(2)
    got: list[bytes] = []

    def ward(listening: socket.socket) -> None:
        """Refuses the first attempt, and takes the second."""
        connection, _ = listening.accept()
        with closing(connection):
            for answer in (b"AE", b"AA"):
                raw = b""
                while not raw.endswith(END):
                    raw += connection.recv(65536)
                got.append(raw)
                control = raw.split(b"|")[9]
                ack = b"MSH|^~\\&|W|H|FR|H|20261122||ACK|1|P|2.5\rMSA|" + answer + b"|" + control + b"\r"
                connection.sendall(START + ack + END)

    with socket.create_server((LOOPBACK, ward_port)) as listening:
        listening.settimeout(30)
        thread = threading.Thread(target=ward, args=(listening,), daemon=True)
        thread.start()
        add_feed(ris, "ward", direction="out", host=LOOPBACK, port=ward_port, kinds=["ORM"], sources=["ct"])
        add_feed(ris, "ct", port=own_port)
        wait_until(lambda: accepts_connections(own_port), 15, "the port of the feed", ris.log_tail)
        with Sender(own_port) as sender:
            assert code(sender.send(order("F1", "ACC50"))) == b"AA"
        thread.join(timeout=25)
    assert [one.split(b"|")[9] for one in got] == [b"F1", b"F1"]
    assert listed(ris, feed="ct")[0]["control_id"] == "F1"

    def sent() -> bool:
        items = httpx.get(f"{ris.url}/api/v1/hl7/outbox", timeout=20).json()["items"]
        return [(one["state"], one["attempts"]) for one in items] == [("sent", 2)]

    wait_until(sent, 10, "the outbox", ris.log_tail)


def test_the_database_killed_in_the_middle_costs_no_order_and_doubles_none(ris: Fileroom) -> None:
    before = orders(ris)
    killed = False
    unanswered = 0
    for number in range(100, 130):
        raw = order(f"K{number}", f"KILL{number}")
        while True:
            try:
                with Sender(ris.hl7_port) as sender:
                    if number == 110 and not killed:
                        sender.socket.sendall(START + raw + END)
                        os.kill(ris.postgres_pid(), signal.SIGKILL)
                        killed = True
                        answer = sender.answer()
                    else:
                        answer = sender.send(raw)
            except OSError:
                answer = b""
            if code(answer) == b"AA":
                break
            assert answer == b"", answer  # never another answer than that of the commit
            unanswered += 1
            wait_until(ris.is_ready, 30, "the database again", ris.log_tail)
    assert killed
    assert orders(ris) == before + 30
    states = [one["state"] for one in listed(ris, q="kill110")]
    assert states.count("applied") == 1

"""HL7 over MLLP into the running server: ADT and ORM a second through one connection, each committed before its ACK, and fifty
connections at once. Beside it the rate at which the same database commits single rows, which no receiver can pass.

The messages are of a day: patients who come again, orders that are made and changed. Goals: 500 ADT and 200 ORM a second; of
fifty senders the slowest has at least half of what the fastest has.
"""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Final

import psycopg

from acceptance.programs.fileroom import Fileroom
from acceptance.programs.processes import LOOPBACK, accepts_connections, wait_until
from benchmarks.results import Goal, Row
from benchmarks.rounds import median
from benchmarks.session import Session

SENDERS: Final = 50
PATIENTS: Final = 500
START, END = b"\x0b", b"\x1c\r"
DURABLE: Final = "row, effects and answer committed (WAL fsynced)"


def hl7(session: Session) -> list[Row]:
    """Four rows: the database's own commits, ADT, ORM, the fairness of fifty senders."""
    adt, orm, commits, shares, together = [], [], [], [], []
    with session.fileroom(workers=1, web_workers=1, delivery_workers=0, hl7_workers=1) as server:
        wait_until(lambda: accepts_connections(server.hl7_port), 30, "the HL7 port", server.log_tail)
        for number in range(session.rounds):
            commits.append(_commits(server, session.amount(5_000, 200)))
            adt.append(_rate(server, [_adt(f"A{number}", n) for n in range(session.amount(5_000, 200))]))
            orm.append(_rate(server, [_orm(f"O{number}", n) for n in range(session.amount(2_000, 100))]))
            rate, share = asyncio.run(_many(server, number, session.amount(5, 1)))
            together.append(rate)
            shares.append(share)
    return [
        _row("commits of one row by one connection, the same database", commits, None, durable="WAL fsynced"),
        _row("ADT A08 through one MLLP connection", adt, Goal("at least 500/s", at_least=500.0)),
        _row("ORM O01 through one MLLP connection", orm, Goal("at least 200/s", at_least=200.0)),
        _row(f"ADT A08 through {SENDERS} connections together", together, None),
        Row(
            work=f"the slowest of {SENDERS} senders beside the fastest",
            unit="%",
            ours=median(shares),
            bound_on="value",
            goal=Goal("at least 50 %", at_least=50.0),
            rounds={"Fileroom": shares},
        ),
    ]


def _row(work: str, rounds: list[float], goal: Goal | None, durable: str = DURABLE) -> Row:
    return Row(
        work=work,
        unit="/s",
        ours=median(rounds),
        bound_on="value",
        goal=goal,
        durable=durable,
        rounds={"Fileroom": rounds},
    )


def _adt(control: str, number: int) -> bytes:
    patient = number % PATIENTS
    return "\r".join(
        (
            f"MSH|^~\\&|RIS|HOSP|FILEROOM|HOSP|20261122101500||ADT^A08|{control}-{number}|P|2.5.1",
            "EVN|A08|20261122101500",
            f"PID|1||B{patient}^^^HOSP^MR||Doe^Jane {number // PATIENTS}||19700203|F|||Main Street 1^^Town^^12345^US||555-1234",
            f"PV1|1|O|CT1^^^HOSP||||||||||||||||V{patient}^^^HOSP",
            "",
        )
    ).encode()


def _orm(control: str, number: int) -> bytes:
    """Of two messages about an order the first makes it, the second changes it."""
    order, patient = f"{control}-{number // 2}", number // 2 % PATIENTS
    return "\r".join(
        (
            f"MSH|^~\\&|RIS|HOSP|FILEROOM|HOSP|20261122101500||ORM^O01|{control}-{number}|P|2.3.1",
            f"PID|1||B{patient}^^^HOSP^MR||Doe^Jane||19700203|F",
            f"ORC|{'XO' if number % 2 else 'NW'}|PL{order}|{order}||||^^^2026112308{number % 2}000^^R",
            f"OBR|1|PL{order}|{order}|CTHEAD^CT head^L||||||||||||||{order}||||||CT",
            "",
        )
    ).encode()


def _rate(server: Fileroom, messages: list[bytes]) -> float:
    """Messages a second: the next one is sent when the one before was acknowledged."""
    with socket.create_connection((LOOPBACK, server.hl7_port), timeout=60) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        began = time.perf_counter()
        for raw in messages:
            connection.sendall(START + raw + END)
            answer = b""
            while not answer.endswith(END):
                answer += connection.recv(65536)
            assert b"MSA|AA|" in answer, answer
        return len(messages) / (time.perf_counter() - began)


async def _many(server: Fileroom, number: int, seconds: float) -> tuple[float, float]:
    """Messages a second of all senders together, and the fewest of one in percent of the most of one."""
    until = time.perf_counter() + seconds

    async def send(sender: int) -> int:
        reader, writer = await asyncio.open_connection(LOOPBACK, server.hl7_port)
        count = 0
        while time.perf_counter() < until:
            writer.write(START + _adt(f"M{number}-{sender}", count * SENDERS + sender) + END)
            answer = await reader.readuntil(END)
            assert b"MSA|AA|" in answer, answer
            count += 1
        writer.close()
        return count

    counts = await asyncio.gather(*(send(one) for one in range(SENDERS)))
    return sum(counts) / seconds, 100 * min(counts) / max(counts)


def _commits(server: Fileroom, count: int) -> float:
    with psycopg.connect(server.database_url, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS benchmark_commit (id bigint GENERATED ALWAYS AS IDENTITY, text text)"
        )
        began = time.perf_counter()
        for number in range(count):
            connection.execute("INSERT INTO benchmark_commit (text) VALUES (%s)", (f"row {number}",))
        rate = count / (time.perf_counter() - began)
        connection.execute("DROP TABLE benchmark_commit")
    return rate

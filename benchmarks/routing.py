"""Routing: a sender's objects through one rule to a fast receiver, beside the same sender straight into that receiver and
through Orthanc's auto-routing (Lua); rules that cost ingest; a queue of many; a slow destination beside a fast one.

Everything is measured to the moment at which the receiver has the last object. The receiver is storescp with TCP_NODELAY=1; the
sender is storescu, tuned likewise. What passes us is durable before it goes on; straight into the receiver nothing is.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import psycopg

from acceptance.programs.dcmtk import Dcmtk, StoreScp
from acceptance.programs.fileroom import Fileroom
from acceptance.programs.orthanc import Orthanc
from acceptance.programs.routing import Routing, node, rule, to_node
from benchmarks.results import Goal, Row
from benchmarks.rounds import Measure, alternate, median, timed
from benchmarks.session import NEVER_STABLE_S, Session
from benchmarks.store import TUNED

OBJECTS: Final = 1000
SIZE: Final = 512
ARRIVAL_TIMEOUT_S: Final = 300.0
LOOK_INTERVAL_S: Final = 0.005
RULES: Final = 100
QUEUE: Final = 1_000_000
CLAIMS: Final = 200
SLOW: Final = 10
SLOW_S: Final = 1
"""Seconds that a slow destination takes for an object."""
SLOW_STUDIES: Final = 4
SLOW_OBJECTS: Final = 60
"""Of each study: with two lanes, work for two minutes."""
SLOW_SIZE: Final = 64
_LUA: Final = (
    "function OnStoredInstance(instanceId, tags, metadata, origin)\n  SendToModality(instanceId, 'receiver')\nend\n"
)


def routing(session: Session) -> list[Row]:
    """All rows of routing."""
    return [*_relay(session), *_rules(session), *_queue(session), *_beside_slow(session)]


def _relay(session: Session) -> list[Row]:
    count = 40 if session.quick else OBJECTS
    with _relays(session) as (receiver, ports):
        sides = {name: _side(session, receiver, port, count) for name, port in ports.items()}
        results = alternate(sides, session.rounds)
    work = f"relay of {count} CT {SIZE}x{SIZE} through one rule, to the last object at the receiver"
    goals = {
        "storescp directly, tuned": Goal(">= 0.8", at_least=0.8),
        "Orthanc's Lua, tuned": Goal(">= 3", at_least=3.0),
    }
    return [
        Row(
            work=work,
            unit="/s",
            ours=median(results["Fileroom"]),
            peer=name,
            theirs=median(results[name]),
            goal=goals[name],
            rounds={"Fileroom": results["Fileroom"], name: results[name]},
        )
        for name in goals
    ]


@contextmanager
def _relays(session: Session) -> Iterator[tuple[StoreScp, dict[str, tuple[int, str]]]]:
    """The receiver, and by whom objects may go to it: port and AE title."""
    folder = session.new_folder("relay")
    receiving = StoreScp(folder / "receiver", "--fork", aet="RECEIVER", bit_preserving=False, environment=TUNED)
    with receiving as receiver, session.fileroom(series_stable_s=NEVER_STABLE_S) as room:
        Routing(room).add(
            nodes={"RECEIVER": node("RECEIVER", receiver.port)},
            destinations={"RECEIVER": to_node("RECEIVER")},
            rules={"relay": rule('Modality == "CT"', "RECEIVER")},
        )
        nodes = {"RECEIVER": receiver.port}
        with Orthanc(folder / "orthanc", nodes=nodes, lua=_LUA, environment=TUNED) as orthanc:
            yield (
                receiver,
                {
                    "Fileroom": (room.dicom_port, room.aet),
                    "storescp directly, tuned": (receiver.port, receiver.aet),
                    "Orthanc's Lua, tuned": (orthanc.port, orthanc.aet),
                },
            )


def _side(session: Session, receiver: StoreScp, target: tuple[int, str], count: int) -> Measure:
    def measure(_round: int) -> float:
        receiver.clear()
        with session.ct_files(1, count, SIZE) as series:
            client = Dcmtk(*target)

            def relay() -> None:
                sender = client.start_store([series[0][0].parent], "-q", "+sd", environment=TUNED)
                output = sender.communicate()[0]
                assert sender.returncode == 0, output[-500:]
                deadline = time.monotonic() + ARRIVAL_TIMEOUT_S
                while _arrived(receiver.received_folder) < count:
                    assert time.monotonic() < deadline, "the last object did not come"
                    time.sleep(LOOK_INTERVAL_S)

            return count / timed(relay)

    return measure


def _arrived(folder: Path) -> int:
    """How many files are there; the last ones may still be written, which costs each side the same."""
    return sum(1 for _ in folder.iterdir())


def _rules(session: Session) -> list[Row]:
    """What 100 rules, none of which matches, cost the ingest."""
    count = 40 if session.quick else OBJECTS
    with (
        session.fileroom(series_stable_s=NEVER_STABLE_S) as plain,
        session.fileroom(series_stable_s=NEVER_STABLE_S) as ruled,
    ):
        Routing(ruled).add(
            destinations={"OUT": {"kind": "folder", "target": {"path": "outbox"}}},
            rules={
                f"rule {number}": rule(
                    f'Modality == "CT" && StudyDescription.contains("nothing {number}") && BodyPartExamined == "CHEST"',
                    "OUT",
                )
                for number in range(RULES)
            },
        )
        sides = {
            "100 rules": _ingest(session, ruled, count),
            "no rule": _ingest(session, plain, count),
        }
        results = alternate(sides, session.rounds)
    return [
        Row(
            work=f"C-STORE of {count} CT {SIZE}x{SIZE} with {RULES} rules of three conditions each",
            unit="/s",
            ours=median(results["100 rules"]),
            peer="Fileroom without rules",
            theirs=median(results["no rule"]),
            goal=Goal(">= 0.9", at_least=0.9),
            rounds=results,
        )
    ]


def _ingest(session: Session, room: Fileroom, count: int) -> Measure:
    def measure(_round: int) -> float:
        client = Dcmtk(room.dicom_port, room.aet)
        with session.ct_files(1, count, SIZE) as series:

            def send() -> None:
                sender = client.start_store([series[0][0].parent], "-q", "+sd", environment=TUNED)
                output = sender.communicate()[0]
                assert sender.returncode == 0, output[-500:]

            return count / timed(send)

    return measure


def _beside_slow(session: Session) -> list[Row]:
    """A fast destination beside ten that take a second for each object and all have work waiting, and alone."""
    count = 40 if session.quick else OBJECTS
    folder = session.new_folder("slow")
    with (
        ExitStack() as stack,
        session.fileroom(series_stable_s=NEVER_STABLE_S) as alone,
        session.fileroom(series_stable_s=NEVER_STABLE_S) as beside,
    ):
        fast = stack.enter_context(
            StoreScp(folder / "fast", "--fork", aet="FAST", bit_preserving=False, environment=TUNED)
        )
        slow = {
            f"SLOW{number}": stack.enter_context(
                StoreScp(folder / f"slow{number}", "--fork", "--sleep-after", str(SLOW_S), aet=f"SLOW{number}")
            )
            for number in range(SLOW)
        }
        for room, with_slow in ((alone, {}), (beside, slow)):
            Routing(room).add(
                nodes={name: node(name, one.port) for name, one in ({"FAST": fast} | with_slow).items()},
                destinations={name: to_node(name) for name in ("FAST", *with_slow)},
                rules={
                    "fast": rule(f"Rows == {SIZE}", "FAST"),
                    **({"slow": rule(f"Rows == {SLOW_SIZE}", *with_slow)} if with_slow else {}),
                },
            )
        with session.ct_files(SLOW_STUDIES, SLOW_OBJECTS, SLOW_SIZE) as series:
            client = Dcmtk(beside.dicom_port, beside.aet)
            for files in series:
                sent = client.store([files[0].parent], "-q", "+sd", environment=TUNED)
                assert sent.returncode == 0, sent.stdout[-500:]
        sides = {
            "beside ten slow ones": _side(session, fast, (beside.dicom_port, beside.aet), count),
            "alone": _side(session, fast, (alone.dicom_port, alone.aet), count),
        }
        results = alternate(sides, session.rounds)
        busy = beside.rows("SELECT count(DISTINCT destination_id) FROM delivery WHERE state = 'waiting'")[0][0]
        assert busy == SLOW, f"only {busy} of the slow destinations still had work"
    return [
        Row(
            work=f"relay of {count} CT {SIZE}x{SIZE} to a fast destination beside {SLOW} that take {SLOW_S} s an object",
            unit="/s",
            ours=median(results["beside ten slow ones"]),
            peer="the fast one alone",
            theirs=median(results["alone"]),
            goal=Goal(">= 0.9", at_least=0.9),
            rounds=results,
        )
    ]


def _queue(session: Session) -> list[Row]:
    """Taking a parcel and its deliveries from a queue of a million, beside one of a thousand."""
    number = 10_000 if session.quick else QUEUE
    with session.fileroom(delivery_workers=0) as room:
        short = _filled(room, 1000)
        long = _filled(room, number)
        sides = {"long": lambda _: _claims(room, long), "short": lambda _: _claims(room, short)}
        results = alternate(sides, session.rounds)
    return [
        Row(
            work=f"claim of a parcel from {number:,} pending deliveries",
            unit="ms",
            ours=median(results["long"]),
            peer="the same from 1,000",
            theirs=median(results["short"]),
            less_is_better=True,
            goal=Goal(">= 0.7", at_least=0.7),
            rounds=results,
        )
    ]


def _filled(room: Fileroom, deliveries: int) -> int:
    """A destination with so many deliveries that wait, 100 to a study; its number."""
    with psycopg.connect(room.database_url, autocommit=True) as connection:
        row = connection.execute(
            """INSERT INTO named_entry (section, name, fields, changed_by)
               VALUES ('destinations', %s, '{"kind": "folder", "target": {"path": "outbox"}}', 'benchmark') RETURNING id""",
            (f"of {deliveries}",),
        ).fetchone()
        assert row is not None
        connection.execute(
            """INSERT INTO parcel (destination_id, study_instance_uid, state, rank_at)
               SELECT %(d)s, '1.2.' || %(d)s || '.' || n, 'ready', now() - make_interval(secs => n)
               FROM generate_series(1, %(n)s) n""",
            {"d": row[0], "n": deliveries // 100},
        )
        connection.execute(
            """INSERT INTO delivery (destination_id, parcel_id, instance_id, study_instance_uid, series_instance_uid,
                   sop_instance_uid, sop_class_uid, state)
               SELECT p.destination_id, p.id, p.id * 1000 + n, p.study_instance_uid, p.study_instance_uid || '.1',
                   p.study_instance_uid || '.1.' || n, '1.2.840.10008.5.1.4.1.1.2', 'waiting'
               FROM parcel p, generate_series(1, 100) n WHERE p.destination_id = %s""",
            (row[0],),
        )
        connection.execute("ANALYZE parcel, delivery")
        return int(row[0])


def _claims(room: Fileroom, destination: int) -> float:
    """Milliseconds of one claim: the statements of `routing.parcels`, by one connection."""
    with psycopg.connect(room.database_url, autocommit=True) as connection:
        began = time.perf_counter()
        for _ in range(CLAIMS):
            row = connection.execute(
                """UPDATE parcel SET state = 'claimed', claimed_until = now()
                   WHERE id = (SELECT id FROM parcel WHERE destination_id = %s AND state = 'ready'
                       ORDER BY rank_at, id LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING id""",
                (destination,),
            ).fetchone()
            if row is None:
                break
            connection.execute(
                """SELECT id, sop_instance_uid FROM delivery WHERE parcel_id = %s AND state = 'waiting' AND due_at <= now()
                   AND id > 0 ORDER BY id LIMIT 200""",
                row,
            ).fetchall()
            connection.execute("UPDATE parcel SET state = 'ready' WHERE id = %s", row)
        return (time.perf_counter() - began) / CLAIMS * 1000

"""`python -m benchmarks.backlog [--objects 100000] [--real 3000]`: a destination that is down while 100,000 objects wait.

`--real` of what waits was brought by a sender; the rest are rows made by SQL over hard links to the same files. Told are: what
the worker costs while the destination is down, how long it takes to empty the queue once it is back, the memory of the
delivery worker, and what a claim costs on the way. It fails where the receiver does not hold each object once.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from acceptance.programs.dcmtk import Dcmtk, StoreScp
from acceptance.programs.fileroom import Fileroom
from acceptance.programs.processes import reset_peak_memory, resident_bytes, wait_until
from acceptance.programs.routing import Routing, node, rule, to_node
from corpus.ct import make_ct_series

STUDY_OBJECTS: Final = 30
DOWN_S: Final = 20.0
TIMEOUT_S: Final = 3600.0
WORKER: Final = "fileroom.app.delivery_worker"
PORT: Final = 29_104
"""Below the ports that programs are given by themselves: nobody else listens there while it is down."""
MIB: Final = 1024 * 1024


def main(arguments: list[str] | None = None) -> int:
    """Run it and print what was found."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.backlog", description=__doc__)
    parser.add_argument("--objects", type=int, default=100_000)
    parser.add_argument("--real", type=int, default=3_000)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="fileroom-backlog-") as folder, ExitStack() as stack:
        room = stack.enter_context(Fileroom(Path(folder) / "room", series_stable_s=86_400))
        Routing(room).add(
            nodes={"DOWN": node("DOWN", PORT)},
            destinations={"DOWN": to_node("DOWN")},
            rules={"all": rule('Modality == "CT"', "DOWN")},
        )
        for number in range(options.real // STUDY_OBJECTS):
            files = make_ct_series(Path(folder) / "files", STUDY_OBJECTS, 64, 8_000_000 + number)
            assert Dcmtk(room.dicom_port).store([files[0].parent], "-q", "+sd").returncode == 0
        _fill(room, options.objects - options.real)
        waiting = _count(room, "waiting")
        print(f"{waiting:,} objects wait for a destination that is down")
        pid = room.workers(WORKER)[0]
        began = _cpu_s(pid)
        time.sleep(DOWN_S)
        print(
            f"while it is down: {100 * (_cpu_s(pid) - began) / DOWN_S:.1f} % of a core, "
            f"{resident_bytes(pid) / MIB:.0f} MiB, {_claim_ms(room):.1f} ms a claim, "
            f"{room.rows('SELECT sum(attempts) FROM delivery')[0][0]} attempts noted"
        )
        reset_peak_memory(pid)
        receiver = stack.enter_context(StoreScp(Path(folder) / "down", "--fork", "+uf", aet="DOWN", port=PORT))
        began_at = time.monotonic()
        retried = room.command(
            "deliveries", "retry", "--destination", "DOWN", "--state", "waiting", "--reason", "it is back"
        )
        assert retried.returncode == 0, retried.stderr
        print(f"retried by hand in {time.monotonic() - began_at:.1f} s: {retried.stdout.strip()[:100]}")
        claims = [_claim_ms(room)]

        def is_empty() -> bool:
            time.sleep(1)
            claims.append(_claim_ms(room))
            return not _count(room, "waiting")

        wait_until(is_empty, TIMEOUT_S, "an empty queue", room.log_tail)
        took_s = time.monotonic() - began_at
        received = receiver.received()
        delivered = _count(room, "delivered")
        print(
            f"empty after {took_s:.0f} s ({waiting / took_s:.0f}/s): {delivered:,} delivered; "
            f"at most {resident_bytes(pid, peak=True) / MIB:.0f} MiB; a claim "
            f"{claims[0]:.1f} ms at first, {max(claims):.1f} ms at most, {claims[-1]:.1f} ms at last; "
            f"{len(received):,} files at the receiver"
        )
        assert delivered == len(received) == waiting, "not each object exactly once"
    return 0


def _fill(room: Fileroom, rows: int) -> None:
    """So many more objects of the same studies: their files are hard links, their data sets those of the first ones."""
    originals = room.rows("SELECT id, storage_key FROM instance ORDER BY id")
    copies = -(-rows // len(originals))
    store = room.data / "store"
    for _, key in originals:
        for number in range(copies):
            os.link(store / key, store / f"{key}.{number}")
    own = "'id', 'sop_instance_uid', 'storage_key'"
    columns = ", ".join(
        f'"{row[0]}"'
        for row in room.rows(
            f"""SELECT column_name FROM information_schema.columns WHERE table_name = 'instance' AND is_generated = 'NEVER'
                AND column_name NOT IN ({own})"""
        )
    )
    room.execute(
        f"""INSERT INTO instance (sop_instance_uid, storage_key, {columns})
            SELECT '2.25.' || id || '.' || n, storage_key || '.' || n, {columns}
            FROM instance, generate_series(0, {copies - 1}) n"""
    )
    room.execute(
        """INSERT INTO delivery (destination_id, parcel_id, instance_id, study_instance_uid, series_instance_uid,
               sop_instance_uid, sop_class_uid, state)
           SELECT p.destination_id, p.id, i.id, p.study_instance_uid, e.series_instance_uid, i.sop_instance_uid,
               i.sop_class_uid, 'waiting'
           FROM instance i JOIN series e ON e.id = i.series JOIN study s ON s.id = e.study
           JOIN parcel p ON p.study_instance_uid = s.study_instance_uid
           WHERE i.sop_instance_uid LIKE '2.25.%%.%%' ON CONFLICT DO NOTHING"""
    )
    room.execute("SELECT wake_parcels(array_agg(id)) FROM parcel")


def _count(room: Fileroom, state: str) -> int:
    return int(room.rows("SELECT coalesce(sum(number), 0) FROM delivery_tally WHERE state = %s", state)[0][0])


def _claim_ms(room: Fileroom) -> float:
    """What finding the next parcel and its deliveries costs, as a lane asks for them (`routing.parcels`)."""
    parcel = "SELECT id FROM parcel WHERE destination_id = (SELECT max(destination_id) FROM parcel) AND state = 'ready'"
    asked = f"EXPLAIN (ANALYZE, FORMAT JSON) {parcel} ORDER BY rank_at, id LIMIT 1 FOR UPDATE SKIP LOCKED"
    due = "state = 'waiting' AND due_at <= now() AND id > 0 ORDER BY id LIMIT 200"
    found = f"EXPLAIN (ANALYZE, FORMAT JSON) SELECT id FROM delivery WHERE parcel_id = (SELECT max(id) FROM parcel) AND {due}"
    return sum(float(room.rows(one)[0][0][0]["Execution Time"]) for one in (asked, found))


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    sys.exit(main())

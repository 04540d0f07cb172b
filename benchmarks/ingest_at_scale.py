"""The rate of C-STORE into an index of a million studies, against an empty one."""

from __future__ import annotations

from benchmarks.results import Goal, Row
from benchmarks.rounds import alternate, median
from benchmarks.session import NEVER_STABLE_S, Session
from benchmarks.store import OUR_DURABILITY, Receiver, Sending, send_rate

SENDING = Sending(size=64, associations=4, tuned=True)


def ingest_at_scale(session: Session) -> list[Row]:
    """One row: large index, empty index, their ratio."""
    full, empty = f"{session.studies:,} studies", "empty index"
    large = session.large_archive()
    with session.fileroom(series_stable_s=NEVER_STABLE_S) as fresh:
        count = session.amount(3000, 40)
        receivers = {
            full: Receiver(full, large.dicom_port, large.aet),
            empty: Receiver(empty, fresh.dicom_port, fresh.aet),
        }
        for receiver in receivers.values():
            send_rate(session, receiver, SENDING, count)
        sides = {
            name: lambda _round, receiver=receiver: send_rate(session, receiver, SENDING, count)
            for name, receiver in receivers.items()
        }
        results = alternate(sides, session.rounds)
    return [
        Row(
            work=f"C-STORE into an index of {full}, four associations, 64x64",
            unit="/s",
            ours=median(results[full]),
            peer=f"Fileroom, {empty}",
            theirs=median(results[empty]),
            goal=Goal("at least 0.9", at_least=0.9),
            durable=OUR_DURABILITY,
            rounds=results,
        )
    ]

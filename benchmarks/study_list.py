"""How long the study list takes while four senders push, against an idle server."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import httpx

from acceptance.programs.dcmtk import Dcmtk
from acceptance.programs.fileroom import Fileroom
from benchmarks.results import Goal, Row
from benchmarks.rounds import percentile
from benchmarks.session import Session

SENDERS: Final = 4
PAUSE_S: Final = 0.05
"""Between two looks at the list: people and pages do not ask without a break."""


def study_list(session: Session) -> list[Row]:
    """One row: p95 of the newest 100 studies, under load against idle."""
    room = session.large_archive()
    calls = session.amount(200, 10)
    idle = _list_times(room, calls)
    count = session.amount(1500, 20)
    with session.ct_files(SENDERS, count, 512 if not session.quick else 64) as series:
        client = Dcmtk(room.dicom_port, room.aet)
        senders = [
            client.start_store([files[0].parent], "-q", "+sd", environment={"TCP_NODELAY": "1"}) for files in series
        ]
        busy = _list_times(room, calls, until=lambda: all(sender.poll() is not None for sender in senders))
        for sender in senders:
            sender.terminate()  # They only had to push while we looked.
            sender.communicate()
    return [
        Row(
            work=f"study list (QIDO-RS newest 100, {session.studies:,} studies) while {SENDERS} senders push: p95",
            unit="ms",
            ours=percentile(busy, 95),
            peer="Fileroom, idle",
            theirs=percentile(idle, 95),
            less_is_better=True,
            goal=Goal("at most 2 x idle", at_least=0.5),
            rounds={"busy": busy, "idle": idle},
        )
    ]


def _list_times(room: Fileroom, calls: int, until: Callable[[], bool] = lambda: False) -> list[float]:
    """Milliseconds of each look, at most `calls` of them; fewer when `until` comes true."""
    times: list[float] = []
    with httpx.Client(headers={"Accept": "application/dicom+json"}, timeout=60) as client:
        client.get(f"{room.dicomweb}/studies", params={"limit": "100"})
        while len(times) < calls and not (times and until()):
            began = time.perf_counter()
            assert client.get(f"{room.dicomweb}/studies", params={"limit": "100"}).status_code == 200
            times.append((time.perf_counter() - began) * 1000)
            time.sleep(PAUSE_S)
    return times

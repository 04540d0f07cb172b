"""The edge link beside STOW-RS: CT images wait at one Fileroom, then go to another on the same machine, by either way.

The same lanes bring them; only the kind of the destination differs. Counted is from the first
batch that the ledger of the edge has as delivered to the last; each object is stored and committed at the centre then.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydicom import dcmread

from acceptance.programs.fileroom import Fileroom
from acceptance.programs.processes import wait_until
from acceptance.programs.routing import Routing, rule
from benchmarks.results import Row
from benchmarks.rounds import median
from benchmarks.session import Session
from fileroom.routing.lanes import SETTLE_INTERVAL_S

TIMEOUT_S: Final = 600.0


def edge(session: Session) -> list[Row]:
    """One row: objects a second over the link, and by STOW-RS."""
    count = session.amount(500, 20)
    rates: dict[str, list[float]] = {"edge link": [], "STOW-RS": []}
    with session.fileroom() as centre, session.fileroom() as clinic:
        token = _run(centre, "edge", "add", "clinic").split()[0]
        routing = Routing(clinic)
        routing.add(centres={"centre": {"url": centre.url, "token": token}})
        targets: dict[str, Mapping[str, Any]] = {
            "edge link": {"kind": "edge", "target": {"centre": "centre"}},
            "STOW-RS": {"kind": "stow", "target": {"url": centre.dicomweb}},
        }
        for _ in range(session.rounds):
            for way, target in targets.items():
                with session.ct_files(1, count, 512) as [files]:
                    rates[way].append(_rate(routing, centre, clinic, files, target))
    return [
        Row(
            work=f"{count} CT of 512x512 that wait at an edge, to its centre",
            unit="/s",
            ours=median(rates["edge link"]),
            peer="STOW-RS by the same lanes",
            theirs=median(rates["STOW-RS"]),
            durable="flushed and committed at the centre",
            rounds=rates,
        )
    ]


def _rate(routing: Routing, centre: Fileroom, clinic: Fileroom, files: list[Path], target: Mapping[str, Any]) -> float:
    study = str(dcmread(files[0], stop_before_pixels=True).StudyInstanceUID)
    routing.add(
        destinations={"far": {**target, "hold": True}}, rules={"far": rule(f'StudyInstanceUID == "{study}"', "far")}
    )
    _run(clinic, "import", files[0].parent)
    wait_until(lambda: sum(routing.states(study).values()) == len(files), TIMEOUT_S, "a delivery for each object")
    before = centre.instance_count()
    routing.add(destinations={"far": dict(target)})
    wait_until(lambda: centre.instance_count() == before + len(files), TIMEOUT_S, "the last object at the centre")
    wait_until(lambda: routing.states(study) == {"delivered": len(files)}, TIMEOUT_S, "the ledger")
    times = [
        float(taken)
        for (taken,) in clinic.rows(
            "SELECT extract(epoch FROM taken_at) FROM delivery WHERE study_instance_uid = %s ORDER BY taken_at", study
        )
    ]
    behind_first = sum(one > times[0] for one in times)
    return behind_first / (times[-1] - times[0]) if behind_first else len(times) / SETTLE_INTERVAL_S


def _run(fileroom: Fileroom, *arguments: str | Path) -> str:
    result = fileroom.command(*arguments)
    if result.returncode != 0:
        raise RuntimeError(f"{arguments[0]}: {result.stderr}{result.stdout}")
    return result.stdout

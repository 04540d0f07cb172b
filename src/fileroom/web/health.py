"""`/healthz` (the process lives), `/readyz` (everything it needs is there), `/metrics` (Prometheus text format)."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request

from fileroom.archive import overview
from fileroom.archive.services import Archive
from fileroom.web.answers import NO_STORE, Answer, json_answer
from fileroom.web.endpoint import Handler

_METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


async def alive(_request: Request) -> Answer:
    """200 as long as the process answers at all."""
    return json_answer({"status": "alive"})


def ready_handler(archive: Archive) -> Handler:
    """200, or 503 naming what is not ready."""

    async def handle(_request: Request) -> Answer:
        parts = await overview.readiness(archive)
        ready = all(part.ready for part in parts)
        body = {
            "status": "ready" if ready else "not ready",
            "parts": {part.name: {"ready": part.ready, "detail": part.detail} for part in parts},
        }
        return json_answer(body, status=200 if ready else 503)

    return handle


def metrics_handler(archive: Archive) -> Handler:
    """What the archive holds and whether it is ready, for Prometheus."""

    async def handle(_request: Request) -> Answer:
        held = await overview.system_totals(archive)
        counts = {
            "patients": held.patients,
            "studies": held.studies,
            "series": held.series,
            "instances": held.instances,
        }
        lines = []
        for name, total in counts.items():
            lines += [
                f"# HELP fileroom_{name} Number of {name} in the archive.",
                f"# TYPE fileroom_{name} gauge",
                f"fileroom_{name} {total.count}",
            ]
        lines += ["# HELP fileroom_ready Whether a part is ready (1) or not (0).", "# TYPE fileroom_ready gauge"]
        lines += [f'fileroom_ready{{part="{p.name}"}} {int(p.ready)}' for p in await overview.readiness(archive)]
        body = "\n".join(lines) + "\n"
        return Answer(200, {"content-type": _METRICS_TYPE, "cache-control": NO_STORE}, body.encode())

    return handle

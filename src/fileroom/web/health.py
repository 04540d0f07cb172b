"""`/healthz` (the process lives) and `/readyz` (everything it needs is there)."""

from __future__ import annotations

from starlette.requests import Request

from fileroom.archive import overview
from fileroom.archive.services import Archive
from fileroom.web.answers import Answer, json_answer
from fileroom.web.endpoint import Handler


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

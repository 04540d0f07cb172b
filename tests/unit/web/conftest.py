"""Clients that speak to the application, without a network and over a real server on loopback."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import httpx
import pytest
import uvicorn

from fileroom.archive.services import Archive
from fileroom.web.app import create_app
from fileroom.web.server import GatheringHttpProtocol

BASE_URL = "http://localhost:8080"


@pytest.fixture
async def client(archive: Archive) -> AsyncIterator[httpx.AsyncClient]:
    """HTTP to the application over an empty archive."""
    transport = httpx.ASGITransport(create_app(archive), client=("127.0.0.1", 40000))
    async with httpx.AsyncClient(transport=transport, base_url=BASE_URL) as client:
        yield client


@pytest.fixture
async def server_url(archive: Archive) -> AsyncIterator[str]:
    """The address of a real server over an empty archive, in this test's own event loop."""
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        create_app(archive), http=GatheringHttpProtocol, log_config=None, access_log=False, lifespan="off", ws="none"
    )
    server = uvicorn.Server(config)
    server.config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup([listening])
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        await server.shutdown([listening])
        await asyncio.sleep(0)

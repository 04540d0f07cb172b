"""A client that speaks to the application without a network."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from fileroom.archive.services import Archive
from fileroom.web.app import create_app

BASE_URL = "http://localhost:8080"


@pytest.fixture
async def client(archive: Archive) -> AsyncIterator[httpx.AsyncClient]:
    """HTTP to the application over an empty archive."""
    transport = httpx.ASGITransport(create_app(archive), client=("127.0.0.1", 40000))
    async with httpx.AsyncClient(transport=transport, base_url=BASE_URL) as client:
        yield client

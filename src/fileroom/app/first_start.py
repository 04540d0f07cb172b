"""At the start of the supervisor: somebody must be able to log in."""

from __future__ import annotations

import asyncio

from fileroom.admin.first_account import FirstAccount, ensure_first_account
from fileroom.admin.people import People
from fileroom.app.database import connected_pool
from fileroom.core.clock import system_now
from fileroom.core.settings import Settings


def make_first_account(settings: Settings) -> FirstAccount | None:
    """Make the account `admin` where there is no account at all; None where there is one. Raises ConfigurationError."""

    async def make() -> FirstAccount | None:
        async with connected_pool(settings) as pool:
            return await ensure_first_account(People(pool, settings, system_now))

    return asyncio.run(make())

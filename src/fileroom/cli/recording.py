"""Calls that commands make to other systems are put down in the association ledger, where its database can be had.

A command that only calls a peer starts no database for it, and works as well where there is none.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from fileroom.cli.output import settings_or_exit

if TYPE_CHECKING:
    from fileroom.archive.peer import Associate
    from fileroom.core.settings import Settings
    from fileroom.net.tls import ClientTls


@contextlib.asynccontextmanager
async def recording() -> AsyncIterator[Associate]:
    """How to open associations in this block; what they did is written at its end."""
    from fileroom.archive.peer import associate

    settings = settings_or_exit()
    if not _may_have_database(settings):
        yield associate
        return
    # Only now: a machine without an archive shall not load what it takes.
    from fileroom.admin.ledger import Ledger
    from fileroom.app.database import connected_pool, embedded_postgres
    from fileroom.archive.recorded_calls import recorded
    from fileroom.core.clock import system_now

    embedded = embedded_postgres(settings)
    if embedded is not None and not embedded.is_running():
        yield associate
        return
    async with connected_pool(settings) as pool:
        ledger = Ledger(pool, system_now)
        ledger.start()
        try:
            yield recorded(ledger)
        finally:
            await ledger.stop()


async def stored_tls(wanted: bool) -> ClientTls | None:
    """What a call over TLS needs, from the stored certificates; None where it shall be without."""
    if not wanted:
        return None
    from fileroom.admin.tls_in_use import client_tls_for
    from fileroom.app.database import connected_pool
    from fileroom.net.tls import PeerTls

    settings = settings_or_exit()
    async with connected_pool(settings) as pool:
        return await client_tls_for(pool, settings, PeerTls())


def _may_have_database(settings: Settings) -> bool:
    return bool(settings.database_url.get_secret_value()) or (settings.data / "postgres").exists()

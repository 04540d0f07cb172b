"""The worker of HL7 messages, in and out: `python -m fileroom.app.hl7_worker FD`. FD is the socket of the default port."""

from __future__ import annotations

import asyncio
import socket
import sys
from dataclasses import replace
from functools import partial
from typing import Final

from fileroom.app.database import database_url
from fileroom.app.process import run_worker
from fileroom.app.services import open_archive
from fileroom.core.access import SYSTEM
from fileroom.core.settings import Settings
from fileroom.db.pool import open_pool
from fileroom.feeds import listening, sending
from fileroom.feeds.billing import BILLING_INTERVAL_S, tell_charges
from fileroom.feeds.identifier_updates import UPDATES_INTERVAL_S, tell_identifiers
from fileroom.feeds.listening import Hl7Ports
from fileroom.feeds.order_messages import ORDERS_INTERVAL_S, tell_orders
from fileroom.feeds.report_outbox import REPORTS_INTERVAL_S, tell_reports
from fileroom.feeds.retention import RETENTION_INTERVAL_S, forget_old_messages
from fileroom.feeds.sending import Hl7Senders
from fileroom.scp.handshakes import handshake_failed
from fileroom.tasks.loop import run_periodically

SHUTDOWN_DEADLINE_S: Final = 10.0
"""How long messages that are being applied may take when the server is asked to stop."""


async def serve_hl7(settings: Settings, stop: asyncio.Event) -> None:
    """Serve the listening socket that the supervisor handed over, and the ports of the feeds, until asked to stop."""
    default = socket.socket(fileno=int(sys.argv[1]))
    default.setblocking(False)
    async with open_archive(settings) as archive:
        # Receivers take their time to answer; what waits for them must not hold the connections that messages come in by.
        own_pool = await open_pool(database_url(settings))
        ports = Hl7Ports(archive, partial(handshake_failed, archive))
        senders = Hl7Senders(replace(archive, pool=own_pool), lambda: ports.feeds)
        loops = [
            run_periodically("hl7 feeds", listening.LOOK_INTERVAL_S, ports.look, stop),
            run_periodically("hl7 outbox", sending.LOOK_INTERVAL_S, senders.look, stop),
            run_periodically("orders out", ORDERS_INTERVAL_S, lambda: tell_orders(archive, ports.feeds), stop),
            run_periodically("billing", BILLING_INTERVAL_S, lambda: tell_charges(archive, ports.feeds), stop),
            run_periodically("reports", REPORTS_INTERVAL_S, lambda: tell_reports(archive, ports.feeds), stop),
            run_periodically("identifiers", UPDATES_INTERVAL_S, lambda: tell_identifiers(archive, ports.feeds), stop),
            run_periodically("hl7 retention", RETENTION_INTERVAL_S, lambda: forget_old_messages(archive), stop),
        ]
        running = [asyncio.create_task(one) for one in loops]
        try:
            await ports.start(default)
            await stop.wait()
            await asyncio.gather(*running)
        finally:
            await ports.close(SHUTDOWN_DEADLINE_S)
            await senders.close()
            await own_pool.close()


if __name__ == "__main__":
    run_worker("hl7", serve_hl7, access=SYSTEM)

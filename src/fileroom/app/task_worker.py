"""The worker for background work: `python -m fileroom.app.task_worker`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from functools import partial
from typing import Final

import structlog

from fileroom.admin.audit_chain import make_checkpoint, seal_waiting
from fileroom.admin.audit_checks import run_asked_check
from fileroom.admin.audit_events import application_started, application_stopped, network_entry
from fileroom.admin.audit_forward import CurrentForwarder
from fileroom.admin.audit_retention import keep_months
from fileroom.admin.certificate_expiry import warn_of_expiry
from fileroom.admin.directory_refresh import refresh_directory_accounts
from fileroom.admin.ledger_upkeep import close_interrupted, keep_ledger
from fileroom.admin.lockout import forget_old_failures
from fileroom.admin.passkey_challenges import forget_old_challenges
from fileroom.admin.people import People
from fileroom.admin.sessions import forget_dead_sessions
from fileroom.app.process import run_worker
from fileroom.app.services import open_archive
from fileroom.archive.delete import remove_doomed_objects
from fileroom.archive.figures import keep_figures
from fileroom.archive.metadata import document_stable_series, remove_orphan_documents
from fileroom.archive.node_echo import echo_due, forget_old_echoes
from fileroom.archive.send_jobs import forget_old_jobs
from fileroom.archive.services import Archive
from fileroom.archive.verify import recover
from fileroom.core.access import SYSTEM
from fileroom.core.errors import FileroomError
from fileroom.core.settings import Settings
from fileroom.fhir.notices import NOTICES_INTERVAL_S as FHIR_NOTICES_INTERVAL_S
from fileroom.fhir.notices import tell_subscribers
from fileroom.index.tally import count_on
from fileroom.reports.from_objects import OBJECTS_INTERVAL_S, read_objects_due
from fileroom.reports.linking import LINKS_INTERVAL_S, link_reports_due
from fileroom.reports.outputs import OUTPUTS_INTERVAL_S, outputs_due
from fileroom.routing.alert_notices import NOTICES_INTERVAL_S, send_due_notices
from fileroom.routing.alerts import ALERTS_INTERVAL_S, alerts_due
from fileroom.routing.completeness import release_complete
from fileroom.routing.corrected import resend_corrected
from fileroom.routing.critical_notices import CRITICAL_INTERVAL_S, tell_critical
from fileroom.routing.deliveries import forget_old_deliveries
from fileroom.routing.destination_figures import keep_destination_figures
from fileroom.routing.edge_client import link_due, tidy_edge_link
from fileroom.routing.fetch import forget_old_fetches
from fileroom.routing.fetch_work import fetch_due
from fileroom.routing.health import probe_due
from fileroom.routing.prefetch import (
    forget_old_occasions,
    note_arrivals,
    prefetch_by_timer,
    prefetch_due,
    push_fetched,
)
from fileroom.routing.prefetch_orders import note_orders
from fileroom.scp.commitment import deliver_due
from fileroom.scp.sending import send_due
from fileroom.scp.workitem_events import tell_due
from fileroom.tasks.loop import Work, run_periodically
from fileroom.worklist.availability import tell_availability
from fileroom.worklist.matching import match_due
from fileroom.worklist.node_notices import forget_old_notices, send_notices
from fileroom.worklist.workitem_outbox import forget_old_workitems, note_restart

DOCUMENTS_INTERVAL_S: Final = 1.0
COMMITMENTS_INTERVAL_S: Final = 1.0
ECHOES_INTERVAL_S: Final = 1.0
OLD_ECHOES_INTERVAL_S: Final = 3600.0
SENDING_INTERVAL_S: Final = 1.0
SENDINGS_AT_ONCE: Final = 3
"""Orders carried out side by side: a node that is slow must not make the others wait."""
FETCH_INTERVAL_S: Final = 0.5
"""Somebody may be waiting for the study."""
PREFETCH_INTERVAL_S: Final = 1.0
PREFETCH_TIMERS_INTERVAL_S: Final = 30.0
FETCHES_AT_ONCE: Final = 4
"""Studies from other archives side by side; each source has its own limit."""
COMPLETENESS_INTERVAL_S: Final = 1.0
MATCHING_INTERVAL_S: Final = 1.0
REMOVALS_INTERVAL_S: Final = 10.0
EDGE_LINK_INTERVAL_S: Final = 1.0
"""How soon a centre that was just connected is dialled."""
EDGE_UPKEEP_INTERVAL_S: Final = 3600.0
LEDGER_INTERVAL_S: Final = 60.0
LEDGER_ENDS_INTERVAL_S: Final = 5.0
PEOPLE_INTERVAL_S: Final = 600.0
DIRECTORY_INTERVAL_S: Final = 900.0
AUDIT_INTERVAL_S: Final = 1.0
CHECKPOINTS_INTERVAL_S: Final = 60.0
AUDIT_MONTHS_INTERVAL_S: Final = 3600.0
CERTIFICATES_INTERVAL_S: Final = 86_400.0
FIGURES_INTERVAL_S: Final = 20.0
HEALTH_INTERVAL_S: Final = 2.0
"""How soon a destination that is down is asked after its time has come."""
RECOVERY_RETRY_S: Final = 15.0
ORPHAN_DOCUMENTS_INTERVAL_S: Final = 86_400.0

_log = structlog.get_logger(__name__)


async def run_tasks(settings: Settings, stop: asyncio.Event) -> None:
    """Recover from whatever ended the last run, then do background work until asked to stop."""
    async with open_archive(settings) as archive, _audited_life(archive) as forwarder:
        people = People(archive.pool, archive.settings, archive.now)
        works: list[tuple[str, float, Work]] = [
            ("report_links", LINKS_INTERVAL_S, partial(link_reports_due, archive)),
            ("report_arrivals", OBJECTS_INTERVAL_S, partial(read_objects_due, archive)),
            ("report_objects", OUTPUTS_INTERVAL_S, partial(outputs_due, archive)),
            ("series_documents", DOCUMENTS_INTERVAL_S, partial(document_stable_series, archive)),
            ("commitment_results", COMMITMENTS_INTERVAL_S, partial(deliver_due, archive)),
            ("workitem_events", COMMITMENTS_INTERVAL_S, partial(tell_due, archive)),
            ("old_workitems", OLD_ECHOES_INTERVAL_S, partial(forget_old_workitems, archive)),
            ("node_echoes", ECHOES_INTERVAL_S, partial(echo_due, archive)),
            *((f"sending_{n}", SENDING_INTERVAL_S, partial(send_due, archive, stop)) for n in range(SENDINGS_AT_ONCE)),
            ("old_sendings", OLD_ECHOES_INTERVAL_S, partial(forget_old_jobs, archive)),
            ("completeness", COMPLETENESS_INTERVAL_S, partial(release_complete, archive)),
            ("matching", MATCHING_INTERVAL_S, partial(match_due, archive, stop)),
            ("availability", MATCHING_INTERVAL_S, partial(tell_availability, archive)),
            ("node_notices", MATCHING_INTERVAL_S, partial(send_notices, archive)),
            ("old_node_notices", OLD_ECHOES_INTERVAL_S, partial(forget_old_notices, archive)),
            ("corrected_deliveries", MATCHING_INTERVAL_S, partial(resend_corrected, archive)),
            ("old_deliveries", OLD_ECHOES_INTERVAL_S, partial(forget_old_deliveries, archive)),
            ("old_node_echoes", OLD_ECHOES_INTERVAL_S, partial(forget_old_echoes, archive)),
            *((f"fetch_{n}", FETCH_INTERVAL_S, partial(fetch_due, archive, stop)) for n in range(FETCHES_AT_ONCE)),
            ("prefetch_arrivals", PREFETCH_INTERVAL_S, partial(note_arrivals, archive)),
            ("prefetch_orders", PREFETCH_INTERVAL_S, partial(note_orders, archive)),
            ("prefetch", PREFETCH_INTERVAL_S, partial(prefetch_due, archive, stop)),
            ("prefetch_timers", PREFETCH_TIMERS_INTERVAL_S, partial(prefetch_by_timer, archive)),
            ("prefetch_pushes", PREFETCH_INTERVAL_S, partial(push_fetched, archive)),
            ("old_occasions", OLD_ECHOES_INTERVAL_S, partial(forget_old_occasions, archive)),
            ("old_fetches", OLD_ECHOES_INTERVAL_S, partial(forget_old_fetches, archive)),
            ("removals", REMOVALS_INTERVAL_S, partial(remove_doomed_objects, archive)),
            ("edge_link", EDGE_LINK_INTERVAL_S, partial(link_due, archive, stop)),
            ("edge_upkeep", EDGE_UPKEEP_INTERVAL_S, partial(tidy_edge_link, archive)),
            ("ledger", LEDGER_INTERVAL_S, partial(_keep_ledger_days, archive)),
            ("ledger_ends", LEDGER_ENDS_INTERVAL_S, partial(_close_interrupted, archive)),
            ("people", PEOPLE_INTERVAL_S, partial(_forget_what_is_over, people)),
            ("directory_accounts", DIRECTORY_INTERVAL_S, partial(refresh_directory_accounts, people)),
            ("audit_seals", AUDIT_INTERVAL_S, partial(seal_waiting, archive.pool)),
            ("audit_checks", AUDIT_INTERVAL_S, partial(run_asked_check, archive.pool)),
            ("audit_checkpoints", CHECKPOINTS_INTERVAL_S, partial(make_checkpoint, archive.pool)),
            ("audit_months", AUDIT_MONTHS_INTERVAL_S, partial(_keep_audit_months, archive)),
            ("audit_forwarding", AUDIT_INTERVAL_S, forwarder.step),
            (
                "certificates",
                CERTIFICATES_INTERVAL_S,
                partial(warn_of_expiry, archive.pool, archive.settings, archive.now),
            ),
            ("figures", FIGURES_INTERVAL_S, partial(keep_figures, archive)),
            ("destination_figures", FIGURES_INTERVAL_S, partial(keep_destination_figures, archive)),
            ("destination_health", HEALTH_INTERVAL_S, partial(probe_due, archive)),
            ("alerts", ALERTS_INTERVAL_S, partial(alerts_due, archive)),
            ("alert_notices", NOTICES_INTERVAL_S, partial(send_due_notices, archive)),
            ("critical_notices", CRITICAL_INTERVAL_S, partial(tell_critical, archive)),
            ("fhir_notices", FHIR_NOTICES_INTERVAL_S, partial(tell_subscribers, archive)),
            ("storage_tally", FIGURES_INTERVAL_S, partial(count_on, archive.pool)),
            ("orphan_documents", ORPHAN_DOCUMENTS_INTERVAL_S, partial(remove_orphan_documents, archive)),
        ]
        recovery = asyncio.create_task(_recover(archive))
        async with asyncio.TaskGroup() as group:
            for name, interval_s, work in works:
                group.create_task(run_periodically(name, interval_s, work, stop))
        recovery.cancel()
        await asyncio.gather(recovery, return_exceptions=True)


async def _close_interrupted(archive: Archive) -> int:
    """All of them at once: there is no more to do at once, however many they were."""
    await close_interrupted(archive.pool)
    return 0


async def _forget_what_is_over(people: People) -> int:
    """Sessions and failed logins that count no more; all of them at once."""
    await forget_dead_sessions(people)
    await forget_old_failures(people)
    await forget_old_challenges(people)
    return 0


@contextlib.asynccontextmanager
async def _audited_life(archive: Archive) -> AsyncIterator[CurrentForwarder]:
    """Puts start and stop into the audit trail, and sends the trail on where a syslog server is named."""
    forwarder = CurrentForwarder(archive.pool, archive.settings)
    aet = archive.settings.aet
    archive.audit.note(application_started(aet))
    archive.audit.note(network_entry(aet, attached=True))
    try:
        yield forwarder
    finally:
        archive.audit.note(network_entry(aet, attached=False))
        archive.audit.note(application_stopped(aet))
        await forwarder.close()


async def _keep_ledger_days(archive: Archive) -> int:
    return await keep_ledger(archive.pool, archive.now, archive.settings.ledger_days)


async def _keep_audit_months(archive: Archive) -> int:
    await keep_months(archive.pool, archive.settings.audit_keep_months, archive.now())
    return 0


async def _recover(archive: Archive) -> None:
    """Once, beside the other work: a store of many objects takes its time. While store or database is away, it waits."""
    while True:
        try:
            await note_restart(archive)
            await recover(archive)
            return
        except FileroomError as error:
            _log.error("recovery_waits", reason=str(error))
            await asyncio.sleep(RECOVERY_RETRY_S)


if __name__ == "__main__":
    run_worker("tasks", run_tasks, access=SYSTEM)

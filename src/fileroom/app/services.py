"""The composition root: from settings to the services that everything else is given."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import structlog

from fileroom.admin.audit_buffer import AuditBuffer
from fileroom.admin.configuration_watch import ConfigurationWatch, OnChange
from fileroom.admin.ledger import Ledger
from fileroom.app.configuration import CONFIGURATION_SECTIONS
from fileroom.app.database import database_url
from fileroom.archive.services import Archive
from fileroom.archive.store_identity import require_own_store
from fileroom.core.clock import system_now
from fileroom.core.errors import StorageError
from fileroom.core.limits import MIB
from fileroom.core.live_settings import LiveSettings
from fileroom.core.logs import set_log_level
from fileroom.core.meters import Meters
from fileroom.core.settings import Settings
from fileroom.db.pool import open_pool
from fileroom.db.schema import migrate
from fileroom.index.conditions import moment_function_sql
from fileroom.index.write import IndexWriter, store_function_sql
from fileroom.routing.delivery_rows import delivery_functions_sql
from fileroom.routing.planner import Planner
from fileroom.storage.cloud import CloudStore
from fileroom.storage.local import LocalStore
from fileroom.storage.store import ObjectStore
from fileroom.tasks.meter_files import kept_in_file, meters_folder

WORKER_NAME: Final = "FILEROOM_WORKER_NAME"
"""Set by the supervisor: under which name a worker counts what it does."""

_log = structlog.get_logger(__name__)


def repeatables() -> list[str]:
    """The database functions that belong to this code."""
    return [store_function_sql(), moment_function_sql(), delivery_functions_sql()]


def migrate_database(settings: Settings) -> None:
    """Bring the schema up to this code."""
    migrate(database_url(settings), repeatables())


def open_store(settings: Settings) -> ObjectStore:
    """The object store that the settings name."""
    url = settings.storage_url
    reserve = settings.storage_reserve_mib * MIB
    if not url:
        return LocalStore(settings.data / "store", reserve, require_marker=True)
    if url.startswith("file://"):
        return LocalStore(Path(url.removeprefix("file://")), reserve, require_marker=True)
    return CloudStore(url)


@contextlib.asynccontextmanager
async def open_archive(given: Settings, *, keep_log_level: bool = False) -> AsyncIterator[Archive]:
    """The archive's services, for as long as the block lasts. The database must be running and migrated.

    Their settings are `given` with the managed values of the database, always of the newest version. `keep_log_level` is for
    commands, which say themselves what went wrong.
    """
    url = database_url(given)
    settings = LiveSettings.of(given)
    store = open_store(given)
    meters = Meters(os.environ.get(WORKER_NAME, ""))
    writer = IndexWriter(url, meters)
    await writer.start()
    pool = await open_pool(url)
    ledger = Ledger(pool, system_now, meters=meters)
    ledger.start()
    audit = AuditBuffer()
    audit.start(pool)
    watch = ConfigurationWatch(url, given, settings, _listeners(store, keep_log_level=keep_log_level))
    planner = Planner(pool, settings, system_now)
    try:
        await watch.start()
        await planner.start()
        archive = Archive(
            store,
            writer,
            pool,
            settings,
            system_now,
            ledger=ledger,
            audit=audit,
            meters=meters,
            arrivals=planner,
            sections=CONFIGURATION_SECTIONS,
        )
        try:
            await require_own_store(archive)
        except StorageError as error:
            # What can be answered without the store is answered; what needs it says so, until it is back.
            _log.error("store_not_usable", reason=str(error))
        async with kept_in_file(meters, meters_folder(settings.data)):
            yield archive
    finally:
        await planner.stop()
        await watch.stop()
        await writer.stop()
        await ledger.stop()
        await audit.stop()
        await pool.close()


def _listeners(store: ObjectStore, *, keep_log_level: bool) -> list[OnChange]:
    """What keeps a value of its own, and is told the new one."""

    def keep_free(settings: Settings) -> None:
        if isinstance(store, LocalStore):
            store.keep_free(settings.storage_reserve_mib * MIB)

    def take_log_level(settings: Settings) -> None:
        set_log_level(settings.log_level)

    return [keep_free] if keep_log_level else [keep_free, take_log_level]

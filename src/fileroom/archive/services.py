"""What the archive's services stand on; the composition root builds it once and passes it in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from fileroom.admin.audit_buffer import AuditBuffer
from fileroom.admin.configuration_sections import SECTIONS, ConfigurationSection
from fileroom.admin.ledger import Ledger
from fileroom.archive.arrivals import NO_RULES, ArrivalRules
from fileroom.archive.frame_tables import FrameTables
from fileroom.archive.silent_peers import SilentPeers
from fileroom.core.clock import Now, system_now
from fileroom.core.meters import Meters
from fileroom.core.settings import Settings
from fileroom.db.pool import Pool
from fileroom.index.write import IndexWriter
from fileroom.storage.store import ObjectStore


@dataclass(frozen=True, slots=True)
class Archive:
    """Object store, writer of the index, connections to search it, settings, clock, and which frames lie where.

    In a running process `settings` is a LiveSettings: read a value where it is used, keep no copy of it.
    """

    store: ObjectStore
    writer: IndexWriter
    pool: Pool
    settings: Settings
    now: Now
    frame_tables: FrameTables = field(default_factory=FrameTables)
    ledger: Ledger = field(default_factory=lambda: Ledger(None, system_now))
    """Writes down every association; one without a database writes nothing."""
    audit: AuditBuffer = field(default_factory=AuditBuffer)
    """Takes the events of the audit trail that have no transaction of their own."""
    meters: Meters = field(default_factory=Meters)
    """Counts what this process does, for those who watch."""
    silent: SilentPeers = field(default_factory=SilentPeers)
    """Remembers for a short time who does not answer."""
    arrivals: ArrivalRules = NO_RULES
    """Says where an object shall go that arrives."""
    sections: Sequence[ConfigurationSection] = SECTIONS
    """What versions and files of the configuration hold beside the settings."""

"""What the archive's services stand on; the composition root builds it once and passes it in."""

from __future__ import annotations

from dataclasses import dataclass

from fileroom.core.clock import Now
from fileroom.core.settings import Settings
from fileroom.db.pool import Pool
from fileroom.index.write import IndexWriter
from fileroom.storage.store import ObjectStore


@dataclass(frozen=True, slots=True)
class Archive:
    """The object store, the writer of the index, connections to search it, the settings and the clock."""

    store: ObjectStore
    writer: IndexWriter
    pool: Pool
    settings: Settings
    now: Now

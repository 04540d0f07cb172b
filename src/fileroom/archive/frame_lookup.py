"""Which object a frame belongs to, without asking the database for each: viewers read a series frame after frame.

The first question about a series asks for one instance, the second reads the series, and for a few seconds the answers are
remembered, for those who may see the same studies. What may be out of date by then does no harm: frames are not touched by
corrections, the bytes under a storage key never change, and a deleted object's file is gone.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from fileroom.archive import retrieve
from fileroom.archive.retrieve import Selection, StoredInstance
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.limits import FRAME_LOOKUP_INSTANCES_MAX, FRAME_LOOKUP_SERIES_MAX
from fileroom.index.visibility import Visibility, visibility_of

REMEMBERED_S: Final = 5.0

_SeriesKey = tuple[str, str, Visibility]


@dataclass(slots=True)
class _Remembered:
    """Instances of one series by SOP Instance UID, until when, and the reading of the whole series if it has begun."""

    until: float
    instances: dict[str, StoredInstance] = field(default_factory=dict)
    reading: asyncio.Task[None] | None = None


class FrameLookup:
    """Finds instances for their frames, for one event loop."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._series: OrderedDict[_SeriesKey, _Remembered] = OrderedDict()

    async def find(self, study_uid: str, series_uid: str, sop_uid: str) -> StoredInstance:
        """The instance by its three UIDs. Raises NotFoundError, NotAllowedError, DatabaseError."""
        key = (study_uid, series_uid, visibility_of(require(Permission.STUDY_VIEW)))
        now = asyncio.get_running_loop().time()
        remembered = self._series.get(key)
        if remembered is None or remembered.until < now:
            instance = await retrieve.get_instance(self._archive, study_uid, series_uid, sop_uid)
            self._remember(key, _Remembered(now + REMEMBERED_S, {sop_uid: instance}))
            return instance
        found = remembered.instances.get(sop_uid)
        if found is not None:
            return found
        if remembered.reading is None:
            remembered.reading = asyncio.create_task(self._read_series(key, remembered))
        await asyncio.shield(remembered.reading)
        found = remembered.instances.get(sop_uid)
        # One of a very long series, or new since a moment ago, or not there.
        return found or await retrieve.get_instance(self._archive, study_uid, series_uid, sop_uid)

    async def _read_series(self, key: _SeriesKey, remembered: _Remembered) -> None:
        selection = Selection(study_uids=(key[0],), series_uids=(key[1],))
        found = await retrieve.list_instances(self._archive, selection)
        remembered.instances = {one.sop_instance_uid: one for one in found[:FRAME_LOOKUP_INSTANCES_MAX]}

    def _remember(self, key: _SeriesKey, remembered: _Remembered) -> None:
        self._series[key] = remembered
        self._series.move_to_end(key)
        while len(self._series) > FRAME_LOOKUP_SERIES_MAX:
            self._series.popitem(last=False)

"""De-identification as a part of a treatment, with the report of the export. It fails closed: what cannot be cleaned never
leaves."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from pydicom.dataset import Dataset

from fileroom.archive.random_access import lasting_reader
from fileroom.archive.retrieve import StoredInstance
from fileroom.archive.services import Archive
from fileroom.deid.deidentify import Cleaned, deidentify
from fileroom.deid.ocr import TextReader, installed_reader
from fileroom.deid.pixels import is_touched, proven, settled_regions
from fileroom.deid.regions import Region
from fileroom.pixels.source import open_source
from fileroom.routing.deid_reports import ReportRow, cleaned_row, record_report
from fileroom.routing.pseudonyms import OpenedPseudonyms, open_pseudonyms


@dataclass(frozen=True, slots=True)
class CleanObject:
    """Attributes that may leave. `regions` None: pixels need not be touched."""

    dataset: Dataset
    regions: tuple[Region, ...] | None


@dataclass(frozen=True, slots=True)
class DeidSession:
    """A project that is open for the objects of one study."""

    archive: Archive
    pseudonyms: OpenedPseudonyms
    reader: TextReader | None
    rows: list[ReportRow] = field(default_factory=list)

    async def clean(self, instance: StoredInstance, dataset: Dataset) -> CleanObject:
        """Raises CannotCleanError with a sentence for people, DatabaseError, StorageError."""
        await self.pseudonyms.learn([dataset])
        loop = asyncio.get_running_loop()

        def work() -> tuple[Cleaned, tuple[Region, ...] | None]:
            profile, reader = self.pseudonyms.profile, self.reader
            cleaned = deidentify(dataset, profile, self.pseudonyms, can_read_pixels=reader is not None)
            if not is_touched(cleaned.pixels):
                return cleaned, None
            source = open_source(lasting_reader(self.archive, instance, loop), instance.file_bytes)
            regions = settled_regions(source, cleaned.pixels, reader)
            return Cleaned(cleaned.dataset, cleaned.actions, proven(cleaned.pixels, regions, reader)), regions

        cleaned, regions = await asyncio.to_thread(work)
        self.rows.append(cleaned_row(cleaned))
        return CleanObject(cleaned.dataset, regions)

    def quarantined(self, instance: StoredInstance, reason: str) -> None:
        """Note in the report that an object was held back, whatever was noted of it before."""
        uid = self.pseudonyms.uid(instance.sop_instance_uid)
        self.rows[:] = [row for row in self.rows if row.sop_instance_uid != uid]
        self.rows.append(ReportRow(uid, instance.sop_class_uid, reason))

    async def report(self, destination: str, study_instance_uid: str) -> None:
        """Write the report. Raises DatabaseError."""
        if self.rows:
            new_study = self.pseudonyms.uid(study_instance_uid)
            await record_report(self.archive, self.pseudonyms.project, destination, new_study, self.rows)


async def open_deid(archive: Archive, project: str) -> DeidSession:
    """Raises NotFoundError, NotAllowedError, ConfigurationError, DatabaseError."""
    pseudonyms = await open_pseudonyms(archive, project)
    return DeidSession(archive, pseudonyms, installed_reader())

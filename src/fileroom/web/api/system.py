"""`/system`: is everything ready, what does the archive hold, and what did not go as it should."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Query
from pydantic import Field

from fileroom import __version__
from fileroom.archive import figures, overview
from fileroom.archive.figures import Span
from fileroom.archive.gauges import read_gauges, read_storage
from fileroom.core.access import Permission
from fileroom.web.api.models import Moment, Shown
from fileroom.web.api.operations import Api


class ShownPart(Shown):
    """A part that Fileroom needs."""

    name: str
    ready: bool
    detail: str


class ShownTotal(Shown):
    """A number of rows; not `exact`: the database's estimate."""

    count: int
    exact: bool


class ShownTotals(Shown):
    """What the archive holds, whoever may see it."""

    patients: ShownTotal
    studies: ShownTotal
    series: ShownTotal
    instances: ShownTotal


class System(Shown):
    """The state of the system."""

    version: str
    aet: str
    dicom_port: int
    ready: bool
    parts: list[ShownPart]
    totals: ShownTotals


class ShownQueues(Shown):
    """What waits: background work by kind, what a person must look at, and callers."""

    queues: dict[str, int]
    exceptions: dict[str, int]
    arriving_studies: int
    held_callers: int
    sessions: int
    last_received_at: Moment | None


class ShownForecast(Shown):
    """When the store is full, if it goes on as lately; null where too little is known, or that is far."""

    days: float
    bytes_per_day: float | None
    full_at: Moment | None


class ShownStorage(Shown):
    """Bytes; null where the store has no end."""

    objects: int
    aside: int
    database: int
    free: int | None
    total: int | None
    reserve: int
    usable: Annotated[int | None, Field(description="Free without the reserve.")]
    forecast: ShownForecast


class ShownPoint(Shown):
    """A step of time: what happened in it, and how it stood; null where nothing is known of it."""

    at: Moment
    values: dict[str, float] | None


class Figures(Shown):
    """The points of a chart, the oldest first."""

    items: list[ShownPoint]


class ShownRefusal(Shown):
    """An object that was not kept."""

    refused_at: str
    status: Annotated[str, Field(description="DIMSE status, hexadecimal.")]
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    received_by: str
    sender: str
    reason: str


class ShownConflict(Shown):
    """An object kept aside, as its UID has other content."""

    received_at: str
    sop_instance_uid: str
    sop_class_uid: str
    file_bytes: int
    received_by: str
    sender: str


class Troubles(Shown):
    """The latest of each kind; at most 50."""

    refusals: list[ShownRefusal]
    conflicts: list[ShownConflict]


def add_system(api: Api) -> None:
    """The operations."""
    archive = api.archive
    resource = api.resource("system", "The system: readiness, totals, queues, storage, figures, troubles.")

    @resource.get("/system", "get", Permission.SYSTEM_READ)
    async def get_system() -> System:
        """Whether database, storage and DICOM port are ready, and what the archive holds."""
        totals = await overview.system_totals(archive)
        parts = await overview.readiness(archive)
        return System(
            version=__version__,
            aet=archive.settings.aet,
            dicom_port=archive.settings.dicom_port,
            ready=all(part.ready for part in parts),
            parts=[ShownPart.model_validate(part) for part in parts],
            totals=ShownTotals.model_validate(totals, from_attributes=True),
        )

    @resource.get("/system/queues", "queues", Permission.SYSTEM_READ)
    async def queues() -> ShownQueues:
        """What waits to be done, and what a person must look at."""
        return ShownQueues.model_validate(await read_gauges(archive))

    @resource.get("/system/storage", "storage", Permission.SYSTEM_READ)
    async def storage() -> ShownStorage:
        """How full the store is, and when it will be."""
        found = await read_storage(archive)
        ahead = ShownForecast.model_validate(await figures.forecast(archive, found.usable))
        names = ("objects", "aside", "database", "free", "total", "reserve", "usable")
        return ShownStorage(**{name: getattr(found, name) for name in names}, forecast=ahead)

    @resource.get("/system/figures", "figures", Permission.SYSTEM_READ)
    async def read_figures(
        span: Annotated[Literal["1h", "24h", "7d", "90d"], Query(description="How far back.")] = "24h",
    ) -> Figures:
        """What came, went and failed, step by step, as the dashboard draws it."""
        points = await figures.read_figures(archive, Span.named(span))
        return Figures(items=[ShownPoint.model_validate(point) for point in points])

    @resource.get("/system/troubles", "troubles", Permission.SYSTEM_READ)
    async def troubles() -> Troubles:
        """Objects that were refused, and objects kept aside."""
        return Troubles.model_validate(await overview.troubles(archive), from_attributes=True)

"""`/system`: is everything ready, what does the archive hold, and what did not go as it should."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from fileroom import __version__
from fileroom.archive import overview
from fileroom.core.access import Permission
from fileroom.web.api.models import Shown
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
    resource = api.resource("system", "The system: readiness, totals, troubles.")

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

    @resource.get("/system/troubles", "troubles", Permission.SYSTEM_READ)
    async def troubles() -> Troubles:
        """Objects that were refused, and objects kept aside."""
        return Troubles.model_validate(await overview.troubles(archive), from_attributes=True)

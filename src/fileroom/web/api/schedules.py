"""`/schedules`: when destinations are sent to, and when alerts keep quiet."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from fileroom.core.access import Permission
from fileroom.routing import schedules
from fileroom.routing.calendars import DATES_MAX, WINDOWS_MAX
from fileroom.routing.schedules import NamedSchedule
from fileroom.web.api.models import Asked, Flag, Moment, NameInPath, ShortText, Shown
from fileroom.web.api.operations import Api

_Windows = Annotated[
    list[Annotated[dict[str, ShortText], Field(max_length=3)]],
    Field(
        max_length=WINDOWS_MAX,
        description="Open hours: `days` (mon-fri, sat,sun, holiday, daily), `from` and `to` as times of day. An end "
        "that is not later than the beginning is on the next day.",
        examples=[[{"days": "mon-fri", "from": "18:00", "to": "06:00"}]],
    ),
]


class AskedSchedule(Asked):
    """A schedule; without windows it is always open."""

    windows: _Windows = Field(default_factory=list)
    holidays: Annotated[ShortText, Field(description="Country, or a part of one.", examples=["DE-BY"])] = ""
    dates: Annotated[list[ShortText], Field(max_length=DATES_MAX, examples=[["12-24"]])] = Field(default_factory=list)
    zone: Annotated[ShortText, Field(examples=["Europe/Berlin"])] = "UTC"
    enabled: Flag = True

    def fields(self) -> dict[str, Any]:
        """As the service takes them."""
        return self.model_dump(exclude={"enabled"})


class ShownSchedule(Shown):
    """A schedule, and how it stands now."""

    name: str
    windows: list[dict[str, str]]
    holidays: str
    dates: list[str]
    zone: str
    enabled: bool
    version: int
    changed_by: str
    open: Annotated[bool, Field(description="Whether it is open now; one that is not enabled always is.")]
    changes_at: Annotated[Moment | None, Field(description="When it opens or closes next.")]


class Schedules(Shown):
    """All schedules, by name."""

    items: list[ShownSchedule]


def add_schedules(api: Api) -> None:
    """The operations."""
    archive = api.archive
    resource = api.resource("schedules", "When destinations are sent to, and when alerts keep quiet.")

    @resource.get("/schedules", "all", Permission.ROUTING_READ)
    async def all_schedules() -> Schedules:
        """All schedules, by name."""
        return Schedules(items=[_shown(one) for one in await schedules.list_schedules(archive)])

    @resource.get("/schedules/{name}", "get", Permission.ROUTING_READ)
    async def get_schedule(name: NameInPath) -> ShownSchedule:
        """One schedule."""
        return _shown(await schedules.get_schedule(archive, name))

    @resource.put("/schedules/{name}", "save", Permission.ROUTING_MANAGE)
    async def save_schedule(name: NameInPath, asked: AskedSchedule) -> ShownSchedule:
        """Add a schedule, or replace it."""
        return _shown(await schedules.put_schedule(archive, name, asked.fields(), enabled=asked.enabled))

    @resource.delete("/schedules/{name}", "remove", Permission.ROUTING_MANAGE)
    async def remove_schedule(name: NameInPath) -> None:
        """Remove a schedule that nothing keeps to."""
        await schedules.remove_schedule(archive, name)


def _shown(one: NamedSchedule) -> ShownSchedule:
    return ShownSchedule(
        name=one.name,
        windows=one.fields["windows"],
        holidays=one.schedule.holidays,
        dates=sorted(one.schedule.dates),
        zone=one.schedule.zone,
        enabled=one.enabled,
        version=one.version,
        changed_by=one.changed_by,
        open=one.open_now,
        changes_at=one.changes_at,
    )

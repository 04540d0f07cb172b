"""`/alerts`: what is alarming, who takes care of it, and the conditions that make it so."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query
from pydantic import Field

from fileroom.core.access import Permission
from fileroom.routing import alerts
from fileroom.routing.alert_rules import ABOVE_USUAL, NAMES_MAX, AlertKind, Condition
from fileroom.web.api.models import INTEGRAL, Asked, Flag, Moment, NameInPath, NumberInPath, ShortText, Shown, Text
from fileroom.web.api.operations import Api

_Names = Annotated[list[ShortText], Field(max_length=NAMES_MAX)]
_KINDS = ", ".join(f"{kind.value} ({ABOVE_USUAL[kind]:g})" for kind in AlertKind)


class AskedCondition(Asked):
    """When something is an alert."""

    kind: Annotated[ShortText, Field(description=f"One of, with the usual limit: {_KINDS}.", examples=["queue_age"])]
    above: Annotated[
        float | None,
        Field(strict=True, ge=0, description="The limit: minutes, percent or a number. Null: the usual one."),
    ] = None
    destinations: Annotated[_Names, Field(description="Empty: all.")] = Field(default_factory=list)
    window_min: Annotated[int, Field(strict=True, ge=5, le=1440), INTEGRAL] = 15
    severity: Annotated[ShortText, Field(description="critical or warning.")] = "warning"
    notify: Annotated[_Names, Field(description="Destinations of the kinds mail and webhook.")] = Field(
        default_factory=list
    )
    quiet: Annotated[ShortText, Field(description="A schedule: while it is open, nobody is told.")] = ""
    repeat_min: Annotated[int, Field(strict=True, ge=0, le=10080), INTEGRAL] = 0
    enabled: Flag = True

    def fields(self) -> dict[str, Any]:
        """As the service takes them."""
        fields = self.model_dump(exclude={"enabled"})
        if self.above is None:
            del fields["above"]
        return fields


class ShownCondition(Shown):
    """When something is an alert."""

    name: str
    kind: str
    above: float
    destinations: list[str]
    window_min: int
    severity: str
    notify: list[str]
    quiet: str
    repeat_min: int
    enabled: bool
    version: int


class Conditions(Shown):
    """All conditions, by name."""

    items: list[ShownCondition]


class ShownAlert(Shown):
    """Something that is, or was, as a condition says."""

    id: int
    condition_name: str
    kind: str
    subject: Annotated[str, Field(description="The destination or edge that it is about; empty for the whole.")]
    state: Annotated[str, Field(description="firing, acknowledged or ended.")]
    severity: str
    value: float
    sentence: str
    began_at: Moment
    seen_at: Annotated[Moment, Field(description="When it was last so.")]
    ended_at: Moment | None
    acknowledged_by: str
    acknowledged_at: Moment | None
    note: str
    notices: Annotated[int, Field(description="How often people were told.")]


class Alerts(Shown):
    """Critical ones first; of those that have ended the last first."""

    items: list[ShownAlert]


class AskedAcknowledgement(Asked):
    """What somebody does about it."""

    note: Text = ""


def add_alerts(api: Api) -> None:
    """The operations."""
    archive = api.archive
    resource = api.resource("alerts", "What is alarming about routing and the disk, and when it is.")

    @resource.get("/alerts", "all", Permission.ROUTING_READ)
    async def all_alerts(
        ended: Annotated[bool, Query(description="Those that have ended instead of those that are.")] = False,
    ) -> Alerts:
        """What is alarming now; or what was."""
        return Alerts.model_validate({"items": await alerts.list_alerts(archive, ended=ended)}, from_attributes=True)

    @resource.post("/alerts/{number}/acknowledge", "acknowledge", Permission.ROUTING_MANAGE)
    async def acknowledge_alert(number: NumberInPath, asked: AskedAcknowledgement) -> ShownAlert:
        """Say that somebody takes care of it: people are not told again."""
        return ShownAlert.model_validate(await alerts.acknowledge_alert(archive, number, asked.note))

    @resource.get("/alert-conditions", "conditions", Permission.ROUTING_READ)
    async def all_conditions() -> Conditions:
        """When something is an alert."""
        return Conditions(items=[_shown(one) for one in await alerts.list_conditions(archive)])

    @resource.put("/alert-conditions/{name}", "save_condition", Permission.ROUTING_MANAGE)
    async def save_condition(name: NameInPath, asked: AskedCondition) -> ShownCondition:
        """Add a condition, or replace it."""
        return _shown(await alerts.put_condition(archive, name, asked.fields(), enabled=asked.enabled))

    @resource.delete("/alert-conditions/{name}", "remove_condition", Permission.ROUTING_MANAGE)
    async def remove_condition(name: NameInPath) -> None:
        """Remove a condition; what fires because of it ends."""
        await alerts.remove_condition(archive, name)

    @resource.post("/alert-conditions", "add_usual_conditions", Permission.ROUTING_MANAGE)
    async def add_usual_conditions() -> Conditions:
        """Add the usual conditions that are not there yet; the answer is what was added."""
        return Conditions(items=[_shown(one) for one in await alerts.add_usual_alerts(archive)])


def _shown(one: Condition) -> ShownCondition:
    return ShownCondition(
        name=one.name,
        kind=one.kind.value,
        above=one.above,
        destinations=list(one.destinations),
        window_min=one.window_min,
        severity=one.severity,
        notify=list(one.notify),
        quiet=one.quiet,
        repeat_min=one.repeat_min,
        enabled=one.enabled,
        version=one.version,
    )

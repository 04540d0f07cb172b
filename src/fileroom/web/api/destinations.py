"""`/routing/destinations`: where objects are sent; which kinds of destinations there are, and which fields they have."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Request, Response
from pydantic import Field

from fileroom.admin.entries import NAME_CHARS_MAX
from fileroom.core.access import Permission
from fileroom.routing import destinations
from fileroom.routing.destination_fields import (
    ATTEMPTS_MAX,
    LANES_MAX,
    MBIT_S_MAX,
    OBJECTS_S_MAX,
    Destination,
    fields_of_destination,
)
from fileroom.routing.destination_kind import Confirmation
from fileroom.routing.destinations import ProbeResult
from fileroom.routing.kinds import all_kinds
from fileroom.routing.target_fields import FieldType, TargetField, fields_of
from fileroom.web.api.models import INTEGRAL, Asked, Flag, NameInPath, Shown, Text
from fileroom.web.api.operations import Api
from fileroom.web.api.paging import Cursor, Limit, Page, cut, next_address
from fileroom.web.api.versions import IfMatch, require_unchanged, tag

_Resent = Literal["usual", "always", "never"]
_Named = Annotated[str, Field(strict=True, max_length=NAME_CHARS_MAX, pattern=r"^[^\x00-\x1f\x7f]*$")]
_Rate = Annotated[float, Field(ge=0, le=MBIT_S_MAX, allow_inf_nan=False)]
Target = Annotated[
    dict[str, Any],
    Field(
        description="The fields of its kind. A secret is given as itself, and shown as the word `secret`; that word keeps "
        "the one that is there.",
        examples=[{"node": "PACS"}],
        max_length=100,
    ),
]


class AskedThrottle(Asked):
    """How fast at most; 0: no limit."""

    mbit_s: _Rate = 0
    objects_s: Annotated[float, Field(ge=0, le=OBJECTS_S_MAX, allow_inf_nan=False)] = 0
    associations: Annotated[int, Field(strict=True, ge=0, le=LANES_MAX), INTEGRAL] = 0


class AskedDestination(Asked):
    """Where objects go."""

    kind: Annotated[str, Field(strict=True, min_length=1, max_length=64, pattern=r"^[a-z0-9_.-]+$", examples=["dicom"])]
    target: Target
    confirmation: Annotated[Confirmation, Field(description="What makes a delivery proven.")] = Confirmation.ANSWER
    lanes_max: Annotated[
        int, Field(strict=True, ge=1, le=LANES_MAX, description="Studies that go there side by side."), INTEGRAL
    ] = 2
    attempts_max: Annotated[
        int,
        Field(strict=True, ge=0, le=ATTEMPTS_MAX, description="Then an object counts as failed; 0: never."),
        INTEGRAL,
    ] = 0
    treatment: _Named = ""
    schedule: _Named = ""
    throttle: AskedThrottle = Field(default_factory=AskedThrottle)
    hold: Annotated[Flag, Field(description="Nothing is sent; deliveries wait.")] = False
    corrected: Annotated[
        _Resent,
        Field(description="Whether what was corrected after its delivery is sent again; usual: to other archives."),
    ] = "usual"
    description: Text = ""
    enabled: Flag = True

    def fields(self) -> dict[str, Any]:
        """As the service takes them."""
        return self.model_dump(mode="json", exclude={"enabled"})


class ShownThrottle(Shown):
    """How fast at most; 0: no limit."""

    mbit_s: float
    objects_s: float
    associations: int


class ShownDestination(Shown):
    """A destination, without its secrets."""

    name: str
    kind: str
    target: dict[str, Any]
    leads_to: Annotated[str, Field(description="In a few words; empty where its kind is not installed.")]
    state: Annotated[str, Field(description="enabled, held or disabled.")]
    confirmation: Confirmation
    lanes_max: int
    attempts_max: int
    treatment: str
    schedule: str
    throttle: ShownThrottle
    hold: bool
    corrected: _Resent
    description: str
    enabled: bool
    version: int
    changed_by: str


class DestinationPage(Page[ShownDestination]):
    """Destinations by name."""


class ShownDestinationVersion(Shown):
    """What a destination was."""

    version: int
    fields: dict[str, Any]
    enabled: bool
    changed_by: str
    changed_at: str


class DestinationHistory(Shown):
    """The latest first."""

    items: list[ShownDestinationVersion]


class ShownProbe(Shown):
    """What a destination said when it was asked."""

    is_there: bool
    answer: Annotated[str, Field(description="What answered, or why nothing did.")]
    latency_ms: float


class ShownTargetField(Shown):
    """One field of a kind's target."""

    name: str
    label: str
    type: FieldType
    help: str
    default: Any
    required: bool
    choices: list[str]


class ShownDestinationKind(Shown):
    """A kind of destination; one that tells no fields takes what its package's handbook says."""

    name: str
    confirmations: list[Confirmation]
    secrets: list[str]
    fields: list[ShownTargetField]


class ShownBrokenKind(Shown):
    """A kind of an installed package that is left out."""

    name: str
    package: str
    reason: str


class DestinationKinds(Shown):
    """Fileroom's own first."""

    items: list[ShownDestinationKind]
    left_out: list[ShownBrokenKind]


def add_destinations(api: Api) -> None:
    """The operations."""
    archive = api.archive
    resource = api.resource("destinations", "Destinations: where objects are sent.")

    @resource.get("/routing/destinations", "all", Permission.ROUTING_READ)
    async def all_destinations(request: Request, limit: Limit = 100, cursor: Cursor = "") -> DestinationPage:
        """All destinations by name."""
        found, behind = cut(await destinations.list_destinations(archive), lambda one: one.name, cursor, limit)
        return DestinationPage(items=[_shown(one) for one in found], next=next_address(request, behind))

    @resource.get("/routing/destinations/{name}", "get", Permission.ROUTING_READ)
    async def get_destination(name: NameInPath, response: Response) -> ShownDestination:
        """One destination."""
        return _tagged(await destinations.get_destination(archive, name), response)

    @resource.put("/routing/destinations/{name}", "save", Permission.ROUTING_MANAGE)
    async def save_destination(
        name: NameInPath, asked: AskedDestination, response: Response, if_match: IfMatch = None
    ) -> ShownDestination:
        """Add a destination, or replace it."""
        if if_match is not None:
            require_unchanged(if_match, _shown(await destinations.get_destination(archive, name)))
        saved = await destinations.put_destination(archive, name, asked.fields(), enabled=asked.enabled)
        return _tagged(saved, response)

    @resource.delete("/routing/destinations/{name}", "remove", Permission.ROUTING_MANAGE)
    async def remove_destination(name: NameInPath) -> None:
        """Remove a destination that no rule names and nothing waits for."""
        await destinations.remove_destination(archive, name)

    @resource.get("/routing/destinations/{name}/versions", "history", Permission.ROUTING_READ)
    async def history(name: NameInPath) -> DestinationHistory:
        """What a destination was, the latest first."""
        found = await destinations.destination_versions(archive, name)
        return DestinationHistory.model_validate({"items": found}, from_attributes=True)

    @resource.post("/routing/destinations/{name}/hold", "hold", Permission.ROUTING_MANAGE)
    async def hold(name: NameInPath) -> ShownDestination:
        """Send nothing there; deliveries wait."""
        return _shown(await destinations.hold_destination(archive, name))

    @resource.post("/routing/destinations/{name}/release", "release", Permission.ROUTING_MANAGE)
    async def release(name: NameInPath) -> ShownDestination:
        """Send what waits."""
        return _shown(await destinations.release_destination(archive, name))

    @resource.post("/routing/destinations/{name}/probe", "probe", Permission.ROUTING_READ)
    async def probe(name: NameInPath) -> ShownProbe:
        """Ask a destination whether it is there; nothing stays there."""
        return _probe(await destinations.probe_destination(archive, name))

    @resource.get("/routing/destination-kinds", "kinds", Permission.ROUTING_READ)
    async def kinds() -> DestinationKinds:
        """Which kinds of destinations there are, and those that are left out."""
        found = all_kinds()
        return DestinationKinds(
            items=[
                ShownDestinationKind(
                    name=name,
                    confirmations=sorted(kind.confirmations),
                    secrets=sorted(kind.secrets),
                    fields=[_field(one) for one in fields_of(kind)],
                )
                for name, kind in found.usable.items()
            ],
            left_out=[ShownBrokenKind.model_validate(one, from_attributes=True) for one in found.broken],
        )


def _field(one: TargetField) -> ShownTargetField:
    return ShownTargetField(
        name=one.name,
        label=str(one.label),
        type=one.type,
        help=str(one.help),
        default=one.default,
        required=one.required,
        choices=list(one.choices),
    )


def _probe(found: ProbeResult) -> ShownProbe:
    return ShownProbe(is_there=found.is_there, answer=str(found.answer), latency_ms=found.latency_ms)


def _shown(one: Destination) -> ShownDestination:
    return ShownDestination(
        name=one.name,
        **fields_of_destination(one),
        leads_to=one.leads_to,
        state=one.state,
        enabled=one.enabled,
        version=one.version,
        changed_by=one.changed_by,
    )


def _tagged(one: Destination, response: Response) -> ShownDestination:
    shown = _shown(one)
    tag(response, shown)
    return shown

"""`/routing/edges` and `/routing/centres`: the edge link, as the centre and as an edge see it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from fileroom.core.access import Permission
from fileroom.core.limits import KIB
from fileroom.routing import edge_centres, edges
from fileroom.routing.edge_wire import PIECE_BYTES_DEFAULT, PIECE_BYTES_MAX, PIECE_BYTES_MIN
from fileroom.routing.target_fields import TEXT_CHARS_MAX, filled
from fileroom.web.api.models import INTEGRAL, Asked, Flag, Moment, NameInPath, Shown
from fileroom.web.api.operations import Api

_Text = Annotated[str, Field(max_length=TEXT_CHARS_MAX)]


class AskedEdge(Asked):
    """A Fileroom that may dial in."""

    description: _Text = ""
    silent_after_s: Annotated[int, Field(strict=True, ge=60, le=604_800), INTEGRAL] = edges.SILENT_AFTER_S


class ShownEdge(Shown):
    """An edge as the centre knows it."""

    name: str
    description: str
    silent_after_s: int
    enabled: bool
    version: int
    state: Literal["here", "silent", "never seen", "disabled"]
    seen_at: Moment | None
    since: Moment | None
    address: str
    software: str
    clock_ahead_s: float
    round_trip_s: float
    waiting_here: Annotated[int, Field(description="Deliveries that wait for it at the centre.")]
    waiting_there: Annotated[int, Field(description="Deliveries that wait at the edge, as it said.")]
    failed_there: int
    destinations: list[str]


class Edges(Shown):
    """All edges, by name."""

    items: list[ShownEdge]


class EdgeToken(Shown):
    """An edge's token, which is shown this one time."""

    name: str
    token: str


class AskedCentre(Asked):
    """The Fileroom that this one dials."""

    url: Annotated[str, Field(max_length=TEXT_CHARS_MAX, description="Address of its web port.")]
    token: Annotated[str, Field(max_length=TEXT_CHARS_MAX, description="`secret`: as it is.")]
    fingerprint: Annotated[str, Field(max_length=200, description="SHA-256 of its certificate.")] = ""
    compress: Flag = False
    piece_kib: Annotated[int, Field(strict=True, ge=PIECE_BYTES_MIN // KIB, le=PIECE_BYTES_MAX // KIB), INTEGRAL] = (
        PIECE_BYTES_DEFAULT // KIB
    )
    in_flight: Annotated[int, Field(strict=True, ge=1, le=edge_centres.IN_FLIGHT_MAX), INTEGRAL] = 4
    description: _Text = ""
    enabled: Flag = True


class ShownCentre(AskedCentre):
    """A centre and its link; of the token only that there is one."""

    name: str
    version: int
    connected: bool
    since: Moment | None
    seen_at: Moment | None
    software: str
    cause: Annotated[str, Field(description="Why there is no link.")]


class Centres(Shown):
    """All centres, by name."""

    items: list[ShownCentre]


def add_edges(api: Api) -> None:
    """The operations."""
    archive = api.archive
    resource = api.resource(
        "edges", "The edge link: Filerooms behind NAT that dial in, and the centres that are dialled."
    )

    @resource.get("/routing/edges", "all", Permission.ROUTING_READ)
    async def all_edges() -> Edges:
        """All edges: when each was here, what waits both ways."""
        return Edges(items=[ShownEdge.model_validate(one) for one in await edges.list_edges(archive)])

    @resource.get("/routing/edges/{name}", "get", Permission.ROUTING_READ)
    async def get_edge(name: NameInPath) -> ShownEdge:
        """One edge."""
        return ShownEdge.model_validate(await edges.get_edge(archive, name))

    @resource.add("/routing/edges/{name}", "add", Permission.ROUTING_MANAGE)
    async def add_edge(name: NameInPath, asked: AskedEdge) -> EdgeToken:
        """Let an edge dial in; its token is in the answer, this one time. Whoever adds one needs user.manage besides."""
        added = await edges.add_edge(archive, name, asked.model_dump())
        return EdgeToken(name=added.name, token=added.token)

    @resource.put("/routing/edges/{name}", "save", Permission.ROUTING_MANAGE)
    async def save_edge(name: NameInPath, asked: AskedEdge) -> ShownEdge:
        """Change an edge."""
        await edges.change_edge(archive, name, asked.model_dump())
        return ShownEdge.model_validate(await edges.get_edge(archive, name))

    @resource.post("/routing/edges/{name}/token", "renew_token", Permission.ROUTING_MANAGE)
    async def renew_token(name: NameInPath) -> EdgeToken:
        """Give an edge another token. The old one is good no more."""
        renewed = await edges.renew_edge_token(archive, name)
        return EdgeToken(name=renewed.name, token=renewed.token)

    @resource.delete("/routing/edges/{name}", "remove", Permission.ROUTING_MANAGE)
    async def remove_edge(name: NameInPath) -> None:
        """Remove an edge and its token."""
        await edges.remove_edge(archive, name)

    @resource.get("/routing/centres", "centres", Permission.ROUTING_READ)
    async def all_centres() -> Centres:
        """The centres that this Fileroom dials, and how the links are."""
        return Centres(items=[_centre(one) for one in await edge_centres.list_centres(archive)])

    @resource.put("/routing/centres/{name}", "save_centre", Permission.ROUTING_MANAGE)
    async def save_centre(name: NameInPath, asked: AskedCentre) -> Centres:
        """Dial a centre, or otherwise than before."""
        fields = asked.model_dump(exclude={"enabled"})
        await edge_centres.connect_centre(archive, name, fields, enabled=asked.enabled)
        return await all_centres()

    @resource.delete("/routing/centres/{name}", "remove_centre", Permission.ROUTING_MANAGE)
    async def remove_centre(name: NameInPath) -> None:
        """Dial a centre no more."""
        await edge_centres.disconnect_centre(archive, name)


def _centre(one: edge_centres.CentreState) -> ShownCentre:
    return ShownCentre(
        **filled(edge_centres.FIELDS, one.fields),
        enabled=one.enabled,
        name=one.name,
        version=one.version,
        connected=one.connected,
        since=one.since,
        seen_at=one.seen_at,
        software=one.software,
        cause=one.cause,
    )

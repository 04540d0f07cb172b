"""`/nodes` and `/held-callers`: the systems that Fileroom talks to, and callers that nobody has approved yet."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, Literal

from fastapi import Query, Request, Response
from pydantic import Field

from fileroom.admin import callers, nodes
from fileroom.admin.callers import APPROVED_PORT
from fileroom.admin.node_fields import (
    ALL_ROLES,
    ASSOCIATIONS_MAX,
    CALLING_FROM_MAX,
    CONNECT_TIMEOUT_S_MAX,
    ECHO_INTERVAL_S_MAX,
    FIELDS,
    LISTS,
    NAME_CHARS_MAX,
    OBJECTS_PER_MINUTE_MAX,
    RESPONSE_TIMEOUT_S_MAX,
    SYNTAXES_MAX,
    USUAL_ROLES,
    Node,
    NodeRole,
    TlsUse,
)
from fileroom.admin.node_files import FILE_BYTES_MAX, nodes_to_csv, nodes_to_json
from fileroom.admin.node_import import ImportKind, PlannedChange, import_nodes, plan_import
from fileroom.archive import node_echo
from fileroom.archive.node_echo import EchoHistory, EchoProblem, EchoResult
from fileroom.core.access import Permission
from fileroom.core.identifiers import UID_CHARS_MAX
from fileroom.web.api.models import INTEGRAL, Asked, Flag, Moment, Name, NameInPath, ShortText, Shown, Text, given
from fileroom.web.api.operations import Api
from fileroom.web.api.paging import Cursor, Limit, Page, cut, next_address
from fileroom.web.api.versions import IfMatch, require_unchanged, tag

NodeName = Annotated[Name, Field(max_length=NAME_CHARS_MAX, examples=["CT1"])]
Title = Annotated[str, Field(strict=True, min_length=1, max_length=16, pattern=r"^[!-\[\]-~]+$", examples=["CT1"])]
Host = Annotated[
    str, Field(strict=True, min_length=1, max_length=255, pattern=r"^[A-Za-z0-9._:-]+$", examples=["10.1.2.3"])
]
Port = Annotated[int, Field(strict=True, ge=1, le=65535, examples=[104]), INTEGRAL]
Networks = Annotated[
    list[Annotated[str, Field(strict=True, pattern=r"^[0-9A-Fa-f.:/]{2,64}$")]],
    Field(max_length=CALLING_FROM_MAX, description="Addresses and networks that it may call from; empty: its host's."),
]
Syntaxes = Annotated[
    list[Annotated[str, Field(strict=True, pattern=r"^[0-9]+(\.[0-9]+)*$", max_length=UID_CHARS_MAX)]],
    Field(max_length=SYNTAXES_MAX, description="UIDs of transfer syntaxes, by preference; empty: all."),
]
Roles = Annotated[list[NodeRole], Field(max_length=len(ALL_ROLES), description="What it may do here, or be used for.")]
Fingerprint = Annotated[
    str, Field(strict=True, pattern=r"^([0-9a-f]{64})?$", description="SHA-256 of its certificate.")
]
OwnTitle = Annotated[
    str,
    Field(
        strict=True,
        max_length=16,
        pattern=r"^[!-\[\]-~]*$",
        description="What we call ourselves to it; empty: our own.",
    ),
]


def _number(least: int, most: int, description: str) -> Any:
    return Field(strict=True, ge=least, le=most, description=description)


AssociationsMax = Annotated[int, _number(0, ASSOCIATIONS_MAX, "Open at a time; 0: no limit of its own."), INTEGRAL]
PerMinute = Annotated[
    int, _number(0, OBJECTS_PER_MINUTE_MAX, "Pace of its objects, 10 or more; 0: as they come."), INTEGRAL
]
ConnectTimeout = Annotated[int, _number(1, CONNECT_TIMEOUT_S_MAX, "Seconds to connect."), INTEGRAL]
ResponseTimeout = Annotated[int, _number(1, RESPONSE_TIMEOUT_S_MAX, "Seconds to answer."), INTEGRAL]
EchoInterval = Annotated[
    int, _number(0, ECHO_INTERVAL_S_MAX, "Seconds between echoes, 10 or more; 0: never."), INTEGRAL
]


class ShownNode(Shown):
    """A system that Fileroom talks to: `name` is for people, `aet`, `host` and `port` are for the network."""

    name: str
    aet: str
    host: str
    port: int
    description: str
    location: str
    enabled: bool
    calling_from: list[str]
    roles: list[NodeRole]
    tls: TlsUse
    tls_subject: str
    tls_fingerprint: str
    charset: str
    charset_assumed: str
    accept_syntaxes: list[str]
    propose_syntaxes: list[str]
    associations_max: int
    objects_per_minute_max: int
    own_aet: str
    connect_timeout_s: int
    response_timeout_s: int
    echo_interval_s: int
    comment: str
    version: Annotated[int, Field(description="Counts its changes.")]
    changed_by: str


class NodePage(Page[ShownNode]):
    """Nodes by name."""


class NewNode(Asked):
    """A system that may call us, and that objects may be sent to."""

    name: NodeName
    aet: Title
    host: Host
    port: Port
    description: Text = ""
    location: Text = ""
    enabled: Flag = True
    calling_from: Networks = Field(default_factory=list)
    roles: Roles = Field(default_factory=lambda: list(USUAL_ROLES))
    tls: TlsUse = TlsUse.OFF
    tls_subject: ShortText = ""
    tls_fingerprint: Fingerprint = ""
    charset: ShortText = ""
    charset_assumed: ShortText = ""
    accept_syntaxes: Syntaxes = Field(default_factory=list)
    propose_syntaxes: Syntaxes = Field(default_factory=list)
    associations_max: AssociationsMax = 0
    objects_per_minute_max: PerMinute = 0
    own_aet: OwnTitle = ""
    connect_timeout_s: ConnectTimeout = 10
    response_timeout_s: ResponseTimeout = 120
    echo_interval_s: EchoInterval = 300
    comment: Text = ""


class NodeChange(Asked):
    """What shall be different; what is left out or null stays."""

    name: NodeName | None = None
    aet: Title | None = None
    host: Host | None = None
    port: Port | None = None
    description: Text | None = None
    location: Text | None = None
    enabled: Flag | None = None
    calling_from: Networks | None = None
    roles: Roles | None = None
    tls: TlsUse | None = None
    tls_subject: ShortText | None = None
    tls_fingerprint: Fingerprint | None = None
    charset: ShortText | None = None
    charset_assumed: ShortText | None = None
    accept_syntaxes: Syntaxes | None = None
    propose_syntaxes: Syntaxes | None = None
    associations_max: AssociationsMax | None = None
    objects_per_minute_max: PerMinute | None = None
    own_aet: OwnTitle | None = None
    connect_timeout_s: ConnectTimeout | None = None
    response_timeout_s: ResponseTimeout | None = None
    echo_interval_s: EchoInterval | None = None
    comment: Text | None = None


class NodeDifference(Shown):
    """A field before and after."""

    field: str
    before: str
    after: str


class ShownNodeVersion(Shown):
    """One version of a node: who made it, and what it changed; nothing of the first."""

    version: int
    changed_at: str
    changed_by: str
    changes: list[NodeDifference]


class NodeHistory(Shown):
    """What was done to a node, the latest first."""

    items: list[ShownNodeVersion]


class ShownHeldCaller(Shown):
    """A caller that was turned away because nobody has approved it."""

    aet: str
    host: str
    calls: int
    last_at: str
    ignored: bool


class HeldCallers(Shown):
    """The latest first; at most 1,000."""

    items: list[ShownHeldCaller]


class Caller(Asked):
    """Which caller is approved, and what the node shall be called; without a name as its AE title."""

    aet: Title
    host: Host
    name: Annotated[ShortText, Field(max_length=NAME_CHARS_MAX)] = ""
    port: Port = APPROVED_PORT


class IgnoredCaller(Asked):
    """Which caller is listed no more, or again. It is turned away either way."""

    aet: Title
    host: Host
    ignored: Flag = True


class ShownEcho(Shown):
    """What came of a C-ECHO."""

    asked_at: Moment
    answered: bool
    latency_ms: float | None
    problem: EchoProblem
    why: Annotated[str, Field(description="Why there was no answer, and what to do.")]
    detail: str


class ShownEchoTick(Shown):
    """Half an hour: how often it was asked, how many of that failed, and the slowest answer."""

    began_at: Moment
    asked: int
    failed: int
    slowest_ms: float | None


class ShownEchoHistory(Shown):
    """How a node answered during the last day, the oldest half hour first."""

    node: str
    last: ShownEcho | None
    answered_at: Annotated[Moment | None, Field(description="When it last answered.")]
    ticks: list[ShownEchoTick]


class EchoHistories(Shown):
    """All nodes, by name."""

    items: list[ShownEchoHistory]


class NodeFile(Shown):
    """All nodes as a file."""

    text: str


class NodesToImport(Asked):
    """A file, JSON or CSV with a line of titles. Fields that it does not have stay; no node is removed."""

    text: Annotated[str, Field(strict=True, min_length=1, max_length=FILE_BYTES_MAX, pattern=r"^[^\x00]*$")]
    dry_run: Annotated[Flag, Field(description="Only tell what it would change.")] = False


class ShownPlannedChange(Shown):
    """What becomes of one node of the file."""

    line: int
    kind: ImportKind
    name: str
    before: Annotated[str, Field(description="The name of the node that is changed.")]
    changes: list[NodeDifference]


class ImportResult(Shown):
    """What was done, or with `dry_run` would be."""

    dry_run: bool
    changes: list[ShownPlannedChange]


def add_nodes(api: Api) -> None:
    """The operations."""
    archive = api.archive
    resource = api.resource("nodes", "The systems that Fileroom talks to, and callers that wait for approval.")

    @resource.get("/nodes", "all", Permission.NODE_READ)
    async def all_nodes(request: Request, limit: Limit = 100, cursor: Cursor = "") -> NodePage:
        """All nodes by name."""
        found, behind = cut(await nodes.list_nodes(archive.pool), lambda node: node.name, cursor, limit)
        return NodePage(items=[ShownNode.model_validate(node) for node in found], next=next_address(request, behind))

    @resource.add("/nodes", "add", Permission.NODE_MANAGE)
    async def add_node(asked: NewNode, response: Response) -> ShownNode:
        """Add a node; it may call from then on."""
        return _tagged(await nodes.add_node(archive.pool, Node(**_fields(asked.model_dump()))), response)

    @resource.get("/nodes/{node}", "get", Permission.NODE_READ)
    async def get_node(node: NameInPath, response: Response) -> ShownNode:
        """One node."""
        return _tagged(await nodes.get_node(archive.pool, node), response)

    @resource.patch("/nodes/{node}", "change", Permission.NODE_MANAGE)
    async def change_node(
        node: NameInPath, asked: NodeChange, response: Response, if_match: IfMatch = None
    ) -> ShownNode:
        """Change some fields of a node; open associations hear of it."""
        now = await nodes.get_node(archive.pool, node)
        require_unchanged(if_match, ShownNode.model_validate(now))
        wanted = dataclasses.replace(now, **_fields(given(asked)))
        return _tagged(await nodes.change_node(archive.pool, node, wanted), response)

    @resource.delete("/nodes/{node}", "remove", Permission.NODE_MANAGE)
    async def remove_node(node: NameInPath, if_match: IfMatch = None) -> None:
        """Remove a node; it may no longer call."""
        require_unchanged(if_match, ShownNode.model_validate(await nodes.get_node(archive.pool, node)))
        await nodes.remove_node(archive.pool, node)

    @resource.get("/nodes/{node}/versions", "history", Permission.NODE_READ)
    async def history(node: NameInPath) -> NodeHistory:
        """What was done to a node, the latest first."""
        return NodeHistory.model_validate(
            {"items": await nodes.list_versions(archive.pool, node)}, from_attributes=True
        )

    @resource.post("/nodes/{node}/echo", "echo", Permission.NODE_READ)
    async def echo(node: NameInPath) -> ShownEcho:
        """Ask a node whether it is there (C-ECHO), and keep the result."""
        result = await node_echo.echo_node(archive, node)
        return _echo(await nodes.get_node(archive.pool, node), result, archive.settings.aet)

    @resource.get("/node-echoes", "echoes", Permission.NODE_READ)
    async def echoes() -> EchoHistories:
        """How the nodes answered during the last day."""
        known = await nodes.list_nodes(archive.pool)
        found = await node_echo.echo_histories(archive, known)
        return EchoHistories(items=[_echo_history(node, found[node.name], archive.settings.aet) for node in known])

    @resource.get("/node-file", "export_file", Permission.NODE_READ)
    async def export_file(
        form: Annotated[Literal["json", "csv"], Query(description="Kind of file.")] = "json",
    ) -> NodeFile:
        """All nodes as a file, to be kept or imported elsewhere."""
        known = await nodes.list_nodes(archive.pool)
        return NodeFile(text=nodes_to_csv(known) if form == "csv" else nodes_to_json(known))

    @resource.post("/node-file", "import_file", Permission.NODE_MANAGE)
    async def import_file(asked: NodesToImport) -> ImportResult:
        """Add and change nodes by a file, all or nothing."""
        work = plan_import if asked.dry_run else import_nodes
        planned = await work(archive.pool, asked.text)
        return ImportResult(dry_run=asked.dry_run, changes=[_planned(one) for one in planned])

    @resource.get("/held-callers", "held", Permission.NODE_READ)
    async def held(ignored: bool = False) -> HeldCallers:
        """Callers that were turned away, or those of them that are ignored."""
        found = await callers.list_held_callers(archive.pool, ignored=ignored)
        return HeldCallers.model_validate({"items": found}, from_attributes=True)

    @resource.post("/held-callers/approve", "approve", Permission.NODE_MANAGE)
    async def approve(asked: Caller, response: Response) -> ShownNode:
        """Make a node of a held caller, or let the node with its AE title call from this address too."""
        node = await callers.approve_caller(archive.pool, asked.aet, asked.host, name=asked.name, port=asked.port)
        return _tagged(node, response)

    @resource.put_quietly("/held-callers/ignored", "ignore", Permission.NODE_MANAGE)
    async def ignore(asked: IgnoredCaller) -> None:
        """List a held caller no more, or again."""
        await callers.ignore_caller(archive.pool, asked.aet, asked.host, ignored=asked.ignored)


def _echo(node: Node, result: EchoResult, own_aet: str) -> ShownEcho:
    return ShownEcho(
        asked_at=result.asked_at,
        answered=result.is_answered,
        latency_ms=result.latency_ms,
        problem=result.problem,
        why=node_echo.explain(node, result, own_aet),
        detail=result.detail,
    )


def _echo_history(node: Node, history: EchoHistory, own_aet: str) -> ShownEchoHistory:
    return ShownEchoHistory(
        node=node.name,
        last=None if history.last is None else _echo(node, history.last, own_aet),
        answered_at=history.answered_at,
        ticks=[ShownEchoTick.model_validate(tick) for tick in history.ticks],
    )


def _planned(change: PlannedChange) -> ShownPlannedChange:
    return ShownPlannedChange(
        line=change.line,
        kind=change.kind,
        name=change.node.name,
        before=change.before,
        changes=[NodeDifference.model_validate(one) for one in change.changes],
    )


def _fields(values: dict[str, Any]) -> dict[str, Any]:
    """As the service takes them."""
    named = {name: value for name, value in values.items() if name in FIELDS and value is not None}
    return {name: tuple(value) if name in LISTS else value for name, value in named.items()}


def _tagged(node: Node, response: Response) -> ShownNode:
    shown = ShownNode.model_validate(node)
    tag(response, shown)
    return shown

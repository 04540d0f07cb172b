"""`/routing/sources`, `/routing/fetches`, `/routing/prefetch`: other archives, studies that are fetched from them, and rules
that fetch priors before anybody asks.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from fileroom.admin.entries import Entry
from fileroom.core.access import Permission
from fileroom.core.identifiers import UID_CHARS_MAX
from fileroom.routing import fetch, prefetch_rules, sources
from fileroom.routing.source_calls import probe
from fileroom.web.api.models import INTEGRAL, Asked, Flag, Moment, NameInPath, NumberInPath, ShortText, Shown
from fileroom.web.api.operations import Api

_Names = Annotated[list[Annotated[str, Field(strict=True, min_length=1, max_length=64)]], Field(max_length=50)]
_Table = Annotated[dict[str, _Names], Field(max_length=200)]


class OtherArchiveBudget(Asked):
    """What may be taken from a source; 0: no limit."""

    studies_per_hour: Annotated[int, Field(strict=True, ge=0, le=sources.STUDIES_PER_HOUR_MAX), INTEGRAL] = 100
    gb_per_day: Annotated[float, Field(ge=0, le=sources.GB_PER_DAY_MAX)] = 50
    associations: Annotated[int, Field(strict=True, ge=1, le=sources.ASSOCIATIONS_MAX), INTEGRAL] = 2


class AskedOtherArchive(Asked):
    """Another archive: the name of a node, or the address of its DICOMweb service."""

    node: ShortText = ""
    dicomweb: Annotated[
        str, Field(max_length=sources.URL_CHARS_MAX, description="Address of its DICOMweb service.")
    ] = ""
    federate: Annotated[Flag, Field(description="Searches of people and peers may reach it.")] = True
    prefetch: Annotated[Flag, Field(description="Rules may fetch priors from it.")] = False
    worklist: Annotated[Flag, Field(description="Questions for a modality worklist are passed on to it.")] = False
    timeout_s: Annotated[int, Field(strict=True, ge=1, le=sources.TIMEOUT_S_MAX), INTEGRAL] = 10
    results_max: Annotated[int, Field(strict=True, ge=1, le=sources.RESULTS_MAX), INTEGRAL] = 200
    method: Literal["get", "move"] = "get"
    label: Annotated[ShortText, Field(description="What people read beside its studies.")] = ""
    login: ShortText = ""
    password: Annotated[str, Field(max_length=sources.SECRET_CHARS_MAX, description="`secret`: as it is.")] = ""
    token: Annotated[str, Field(max_length=sources.SECRET_CHARS_MAX, description="`secret`: as it is.")] = ""
    ca: Annotated[str, Field(max_length=sources.URL_CHARS_MAX, description="PEM file to check it by.")] = ""
    budget: OtherArchiveBudget = Field(default_factory=OtherArchiveBudget)
    enabled: Flag = True

    def fields(self) -> dict[str, Any]:
        """As the service takes them."""
        return self.model_dump(exclude={"enabled"})


class ShownOtherArchive(AskedOtherArchive):
    """A source as it is kept; of secrets only that there are some."""

    name: str
    version: int
    changed_by: str


class OtherArchives(Shown):
    """All sources, by name."""

    items: list[ShownOtherArchive]


class ShownOtherArchiveEcho(Shown):
    """Whether a source answers."""

    answered: bool
    latency_ms: float | None
    why: str


class AskedFetch(Asked):
    """Which study is fetched."""

    study_instance_uid: Annotated[str, Field(strict=True, pattern=r"^[0-9]+(\.[0-9]+)*$", max_length=UID_CHARS_MAX)]


class ShownFetch(Shown):
    """An order to fetch a study, and how far it is."""

    id: int
    study_instance_uid: str
    source: str
    reason: Literal["asked", "prefetch"]
    asked_by: str
    rule: str
    state: Literal["waiting", "running", "done", "failed", "cancelled"]
    cause: str
    expected: Annotated[int, Field(description="Objects that the source says it has; 0: it does not say.")]
    objects: int
    bytes: int
    attempts: int
    requested_at: Moment
    started_at: Moment | None
    finished_at: Moment | None


class Fetches(Shown):
    """The latest orders first."""

    items: list[ShownFetch]


class AskedPrefetch(Asked):
    """A rule that fetches priors."""

    on: Literal["arrival", "order", "timer"] = "arrival"
    when: Annotated[
        str, Field(max_length=8000, description="Condition in the language of the rules; empty: always.")
    ] = ""
    sources: Annotated[_Names, Field(description="Empty: all that may be prefetched from.")] = Field(
        default_factory=list
    )
    push_to: Annotated[_Names, Field(description="Destinations that get the priors.")] = Field(default_factory=list)
    modalities: Annotated[_Table, Field(description="Which modalities matter for one, the best first.")] = Field(
        default_factory=dict
    )
    body_parts: Annotated[_Table, Field(description="More beginnings of words that tell a region.")] = Field(
        default_factory=dict
    )
    same_body_part: Flag = True
    years_max: Annotated[int, Field(strict=True, ge=1, le=prefetch_rules.YEARS_MAX), INTEGRAL] = 10
    count_max: Annotated[int, Field(strict=True, ge=1, le=prefetch_rules.COUNT_MAX), INTEGRAL] = 3
    every_minutes: Annotated[int, Field(strict=True, ge=1, le=prefetch_rules.EVERY_MINUTES_MAX), INTEGRAL] = 60
    enabled: Flag = True

    def fields(self) -> dict[str, Any]:
        """As the service takes them."""
        return self.model_dump(exclude={"enabled"})


class ShownPrefetch(AskedPrefetch):
    """A rule as it is kept."""

    name: str
    version: int
    changed_by: str


class PrefetchRules(Shown):
    """All rules, by name."""

    items: list[ShownPrefetch]


def add_sources(api: Api) -> None:
    """The operations."""
    archive = api.archive
    resource = api.resource("sources", "Other archives that may be asked, what is fetched from them, and prefetching.")

    @resource.get("/routing/sources", "all", Permission.ROUTING_READ)
    async def all_sources() -> OtherArchives:
        """All sources, by name."""
        return OtherArchives(items=[_source(one) for one in await sources.list_sources(archive)])

    @resource.get("/routing/sources/{name}", "get", Permission.ROUTING_READ)
    async def get_source(name: NameInPath) -> ShownOtherArchive:
        """One source."""
        return _source(await sources.get_source(archive, name))

    @resource.put("/routing/sources/{name}", "save", Permission.ROUTING_MANAGE)
    async def save_source(name: NameInPath, asked: AskedOtherArchive) -> ShownOtherArchive:
        """Add a source, or replace it."""
        return _source(await sources.put_source(archive, name, asked.fields(), enabled=asked.enabled))

    @resource.delete("/routing/sources/{name}", "remove", Permission.ROUTING_MANAGE)
    async def remove_source(name: NameInPath) -> None:
        """Ask a source no more."""
        await sources.remove_source(archive, name)

    @resource.post("/routing/sources/{name}/echo", "echo", Permission.ROUTING_READ)
    async def echo_source(name: NameInPath) -> ShownOtherArchiveEcho:
        """Ask a source whether it is there."""
        return ShownOtherArchiveEcho.model_validate(await sources.echo_source(archive, name, probe))

    @resource.get("/routing/fetches", "fetches", Permission.ROUTING_READ)
    async def all_fetches() -> Fetches:
        """The latest orders to fetch studies."""
        return Fetches(items=[ShownFetch.model_validate(job) for job in await fetch.list_fetches(archive)])

    @resource.add("/routing/fetches", "fetch", Permission.STUDY_VIEW)
    async def order_fetch(asked: AskedFetch) -> ShownFetch:
        """Order a study that another archive has; an order that is open already is answered as it is."""
        return ShownFetch.model_validate(await fetch.order_fetch(archive, asked.study_instance_uid))

    @resource.post("/routing/fetches/{number}/cancel", "cancel_fetch", Permission.ROUTING_MANAGE)
    async def cancel_fetch(number: NumberInPath) -> Fetches:
        """End an order; what has come stays."""
        await fetch.cancel_fetch(archive, number)
        return await all_fetches()

    @resource.post("/routing/fetches/{number}/retry", "retry_fetch", Permission.ROUTING_MANAGE)
    async def retry_fetch(number: NumberInPath) -> Fetches:
        """Carry out again an order that failed or was cancelled."""
        await fetch.retry_fetch(archive, number)
        return await all_fetches()

    @resource.get("/routing/prefetch", "prefetch_rules", Permission.ROUTING_READ)
    async def all_rules() -> PrefetchRules:
        """The rules that fetch priors, by name."""
        return PrefetchRules(items=[_rule(one) for one in await prefetch_rules.list_prefetch_rules(archive)])

    @resource.put("/routing/prefetch/{name}", "save_prefetch_rule", Permission.ROUTING_MANAGE)
    async def save_rule(name: NameInPath, asked: AskedPrefetch) -> ShownPrefetch:
        """Add a rule, or replace it."""
        return _rule(await prefetch_rules.put_prefetch_rule(archive, name, asked.fields(), enabled=asked.enabled))

    @resource.delete("/routing/prefetch/{name}", "remove_prefetch_rule", Permission.ROUTING_MANAGE)
    async def remove_rule(name: NameInPath) -> None:
        """Remove a rule; what it has ordered is still fetched."""
        await prefetch_rules.remove_prefetch_rule(archive, name)


def _source(one: Entry) -> ShownOtherArchive:
    return ShownOtherArchive(
        **one.fields, enabled=one.enabled, name=one.name, version=one.version, changed_by=one.changed_by
    )


def _rule(one: Entry) -> ShownPrefetch:
    return ShownPrefetch(
        **one.fields, enabled=one.enabled, name=one.name, version=one.version, changed_by=one.changed_by
    )

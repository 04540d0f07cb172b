"""`/routing/treatments`: how objects are changed on the way to a destination."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from fileroom.admin.entries import Entry
from fileroom.core.access import Permission
from fileroom.routing import treatments
from fileroom.transform.steps import STEPS_MAX
from fileroom.web.api.models import Asked, Flag, NameInPath, ShortText, Shown
from fileroom.web.api.operations import Api

_Steps = Annotated[
    list[dict[str, Any]],
    Field(
        max_length=STEPS_MAX,
        description="Changes of attributes, in order. `do` is one of set, remove, empty, copy, map, replace, prefix, "
        "suffix, case, trim, order, new_uids; `when` is a condition in the language of the rules.",
        examples=[[{"do": "set", "attribute": "InstitutionName", "value": "St. Mary"}]],
    ),
]


class AskedTreatment(Asked):
    """A treatment. What is left out is as by default: nothing is changed, and the pixels are proven."""

    description: Annotated[str, Field(max_length=1000)] = ""
    deid: Annotated[ShortText, Field(description="The de-identification project.")] = ""
    steps: _Steps = Field(default_factory=list)
    charset: Annotated[ShortText, Field(examples=["ISO_IR 100"])] = ""
    transliterate: Flag = False
    merge: dict[str, Any] = Field(default_factory=dict)
    split: dict[str, Any] = Field(default_factory=dict)
    sop_class_fallback: dict[str, Any] = Field(default_factory=dict)
    syntax: Annotated[ShortText, Field(description="The transfer syntax, by UID or name.")] = ""
    lossy: Annotated[Flag, Field(description="Allows a syntax that loses information.")] = False
    quality: Annotated[int, Field(ge=1, le=100)] = 90
    prove_pixels: Flag = True
    enabled: Flag = True

    def fields(self) -> dict[str, Any]:
        """As the service takes them."""
        return self.model_dump(exclude={"enabled"})


class ShownTreatment(AskedTreatment):
    """A treatment as it is kept."""

    name: str
    version: int
    changed_by: str


class Treatments(Shown):
    """All treatments, by name."""

    items: list[ShownTreatment]


class AskedTrial(Asked):
    """A stored object, and the treatment to try on it."""

    sop_instance_uid: Annotated[str, Field(min_length=1, max_length=64, examples=["1.2.3"])]
    treatment: Annotated[
        dict[str, Any],
        Field(description="The fields of the treatment, as they are saved.", examples=[{"charset": "ISO_IR 100"}]),
    ]


class ShownDifference(Shown):
    """An attribute that would not be the same; null: it is not there."""

    path: str
    tag: str
    before: str | None
    after: str | None


class ShownTried(Shown):
    """An object that would leave. `frame` counts from 1; 0: all of them."""

    sop_instance_uid: str
    sop_class: str
    transfer_syntax: str
    frame: int
    differences: list[ShownDifference]
    left_out: int


class ShownTrial(Shown):
    """What would become of the object."""

    made: Annotated[int, Field(description="How many objects would leave.")]
    objects: Annotated[list[ShownTried], Field(description="The first of them, where they are not as stored.")]
    unchanged: bool
    reason: Annotated[str, Field(description="Why nothing would leave.")]
    quarantined: bool


def add_treatments(api: Api) -> None:
    """The operations."""
    archive = api.archive
    resource = api.resource("treatments", "How objects are changed on the way to a destination.")

    @resource.get("/routing/treatments", "all", Permission.ROUTING_READ)
    async def all_treatments() -> Treatments:
        """All treatments, by name."""
        return Treatments(items=[_shown(one) for one in await treatments.list_treatments(archive)])

    @resource.get("/routing/treatments/{name}", "get", Permission.ROUTING_READ)
    async def get_treatment(name: NameInPath) -> ShownTreatment:
        """One treatment."""
        return _shown(await treatments.get_treatment(archive, name))

    @resource.put("/routing/treatments/{name}", "save", Permission.ROUTING_MANAGE)
    async def save_treatment(name: NameInPath, asked: AskedTreatment) -> ShownTreatment:
        """Add a treatment, or replace it. Deliveries that wait are made by the new one."""
        return _shown(await treatments.put_treatment(archive, name, asked.fields(), enabled=asked.enabled))

    @resource.delete("/routing/treatments/{name}", "remove", Permission.ROUTING_MANAGE)
    async def remove_treatment(name: NameInPath) -> None:
        """Remove a treatment that no rule and no destination names."""
        await treatments.remove_treatment(archive, name)

    @resource.post("/routing/treatments/{name}/trial", "test", Permission.ROUTING_READ)
    async def try_treatment(name: NameInPath, asked: AskedTrial) -> ShownTrial:
        """What a treatment would make of a stored object, attribute by attribute; nothing is written and nothing leaves."""
        found = await treatments.try_treatment(archive, name, asked.treatment, asked.sop_instance_uid)
        return ShownTrial.model_validate(found, from_attributes=True)


def _shown(one: Entry) -> ShownTreatment:
    fields = treatments.shown_fields(one)
    return ShownTreatment(**fields, enabled=one.enabled, name=one.name, version=one.version, changed_by=one.changed_by)

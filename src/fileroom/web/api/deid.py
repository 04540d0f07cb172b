"""`/routing/projects` and `/routing/deid-reports`: how objects are de-identified, and what became of them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from fileroom.admin.entries import Entry
from fileroom.core.access import Permission
from fileroom.deid.options import Option
from fileroom.routing import deid_projects, deid_reports, pseudonyms
from fileroom.routing.deid_reports import REPORTS_PAGE_MAX
from fileroom.routing.project_fields import (
    MAP_CHARS_MAX,
    OVERRIDES_MAX,
    PATTERN_DEFAULT,
    SHIFT_DAYS_DEFAULT,
    SHIFT_DAYS_MAX,
)
from fileroom.web.api.models import NUMBER_MAX, Asked, Flag, NameInPath, NumberInPath, ShortText, Shown
from fileroom.web.api.operations import Api

_Objects = Annotated[list[dict[str, Any]], Field(max_length=OVERRIDES_MAX)]


class AskedProject(Asked):
    """A project: the Basic Profile of PS3.15 annex E with options, and what is done otherwise."""

    options: Annotated[
        list[ShortText], Field(max_length=len(Option), description=f"Of {', '.join(Option)}.", examples=[["pixels"]])
    ] = Field(default_factory=list)
    pseudonym: Annotated[ShortText, Field(description="Pattern of pseudonyms.", examples=["STUDY01-{n:04}"])] = (
        PATTERN_DEFAULT
    )
    shift_days: Annotated[int, Field(ge=1, le=SHIFT_DAYS_MAX, strict=True)] = SHIFT_DAYS_DEFAULT
    patient_map: Annotated[
        str,
        Field(max_length=MAP_CHARS_MAX, description='Lines of ID,PSEUDONYM; "secret" leaves the one that is there.'),
    ] = ""
    others: Annotated[ShortText, Field(description="Patients that are not in the map: make or refuse.")] = "make"
    overrides: Annotated[_Objects, Field(examples=[[{"tag": "StudyDescription", "action": "keep"}]])] = Field(
        default_factory=list
    )
    safe_private: Annotated[_Objects, Field(examples=[[{"creator": "ACME 1.0", "tag": "0019xx10"}]])] = Field(
        default_factory=list
    )
    devices: Annotated[
        _Objects,
        Field(
            description="Where devices write text into images.",
            examples=[[{"name": "banner", "where": {"Manufacturer": "ACME"}, "regions": [[0, 0, 1024, 60]]}]],
        ),
    ] = Field(default_factory=list)
    description: Annotated[str, Field(max_length=2000)] = ""
    enabled: Flag = True

    def fields(self) -> dict[str, Any]:
        """As the service takes them."""
        return self.model_dump(exclude={"enabled"})


class ShownProject(AskedProject):
    """A project as it is kept; a patient map is not shown."""

    name: str
    version: int
    changed_by: str


class Projects(Shown):
    """All projects, by name."""

    items: list[ShownProject]


class AskedReveal(Asked):
    """Whose pseudonym, and why; the reason is written to the audit trail."""

    pseudonym: Annotated[ShortText, Field(min_length=1)]
    reason: Annotated[str, Field(min_length=1, max_length=500)]


class ShownIdentity(Shown):
    """Who a pseudonym is."""

    pseudonym: str
    patient_id: str
    issuer: str
    patient_name: str
    birth_date: str


class ShownReport(Shown):
    """What became of a study on its way to a destination. UIDs are the new ones."""

    id: int
    project: str
    project_version: int
    destination: str
    study_instance_uid: str
    begun_at: str
    changed_at: str
    objects: int
    quarantined: int


class Reports(Shown):
    """Reports, the latest first."""

    items: list[ShownReport]


class ShownRow(Shown):
    """One object: what was done, or why it was held back."""

    sop_instance_uid: str
    sop_class_uid: str
    quarantined: str
    actions: dict[str, int]
    regions: Annotated[list[list[int]], Field(description="Blanked: left, top, right, bottom.")]
    proof: str


class WholeReport(ShownReport):
    """A report with its objects."""

    rows: list[ShownRow]


def add_deid(api: Api) -> None:
    """The operations."""
    archive = api.archive
    projects = api.resource("projects", "How objects are de-identified on the way to a destination.")
    reports = api.resource("deid_reports", "What became of objects that were de-identified.")

    @projects.get("/routing/projects", "all", Permission.ROUTING_READ)
    async def all_projects() -> Projects:
        """All projects, by name."""
        return Projects(items=[_shown(one) for one in await deid_projects.list_projects(archive)])

    @projects.get("/routing/projects/{name}", "get", Permission.ROUTING_READ)
    async def get_project(name: NameInPath) -> ShownProject:
        """One project."""
        return _shown(await deid_projects.get_project(archive, name))

    @projects.put("/routing/projects/{name}", "save", Permission.ROUTING_MANAGE)
    async def save_project(name: NameInPath, asked: AskedProject) -> ShownProject:
        """Add a project, or replace it. Its pseudonyms stay what they are."""
        return _shown(await deid_projects.put_project(archive, name, asked.fields(), enabled=asked.enabled))

    @projects.delete("/routing/projects/{name}", "remove", Permission.ROUTING_MANAGE)
    async def remove_project(name: NameInPath) -> None:
        """Remove a project that no treatment names."""
        await deid_projects.remove_project(archive, name)

    @projects.post("/routing/projects/{name}/reveal", "reveal", Permission.IDENTITY_REVEAL)
    async def reveal_patient(name: NameInPath, asked: AskedReveal) -> ShownIdentity:
        """Who a pseudonym is. Written to the audit trail with the reason, found or not."""
        return ShownIdentity.model_validate(await pseudonyms.reveal(archive, name, asked.pseudonym, asked.reason))

    @reports.get("/routing/deid-reports", "all", Permission.ROUTING_READ)
    async def all_reports(
        project: ShortText = "",
        before: Annotated[int | None, Field(ge=1, le=NUMBER_MAX)] = None,
        limit: Annotated[int, Field(ge=1, le=REPORTS_PAGE_MAX)] = 50,
    ) -> Reports:
        """Reports, the latest first. `before` is the number of the last one of the page before."""
        found = await deid_reports.list_reports(archive, project=project, before=before, limit=limit)
        return Reports(items=[ShownReport.model_validate(one) for one in found])

    @reports.get("/routing/deid-reports/{number}", "get", Permission.ROUTING_READ)
    async def get_report(number: NumberInPath) -> WholeReport:
        """One report with its objects."""
        head, rows = await deid_reports.get_report(archive, number)
        shown = ShownReport.model_validate(head)
        return WholeReport(**shown.model_dump(), rows=[ShownRow.model_validate(one) for one in rows])


def _shown(one: Entry) -> ShownProject:
    return ShownProject(
        **one.fields, enabled=one.enabled, name=one.name, version=one.version, changed_by=one.changed_by
    )

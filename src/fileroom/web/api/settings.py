"""`/settings`: the configuration as versions. Every change is checked, compared, attributed and can be taken back."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query, Request, Response
from pydantic import Field

from fileroom.admin import configuration
from fileroom.admin.configuration import COMMENT_CHARS_MAX, VERSIONS_PER_PAGE, Applied, Intent
from fileroom.admin.configuration_changes import Change, Document
from fileroom.admin.configuration_sections import Configuration
from fileroom.core.access import Permission
from fileroom.core.errors import InvalidRequestError
from fileroom.core.setting_marks import SettingKind
from fileroom.web.api.models import INTEGRAL, NUMBER_MAX, Asked, Flag, Moment, Shown
from fileroom.web.api.operations import Api
from fileroom.web.api.paging import Cursor, Limit, Page, next_address, read_cursor, write_cursor

VersionNumber = Annotated[int, Query(ge=0, le=NUMBER_MAX, description="0: nothing is set.")]
Expected = Annotated[
    int | None,
    Field(strict=True, ge=0, le=NUMBER_MAX, description="The version that was seen; where there is a newer one: 409."),
    INTEGRAL,
]
Comment = Annotated[
    str, Field(strict=True, max_length=COMMENT_CHARS_MAX, pattern=r"^[^\x00-\x1f\x7f]*$", examples=["for the new CT"])
]
Value = (
    Annotated[bool, Field(strict=True)]
    | Annotated[int, Field(strict=True, ge=-NUMBER_MAX, le=NUMBER_MAX), INTEGRAL]
    | Annotated[float, Field(strict=True)]
    | Annotated[str, Field(strict=True, max_length=4000, pattern=r"^[^\x00]*$")]
    | None
)


class ShownSetting(Shown):
    """A setting, its value now, and where that comes from. Secrets have no value here."""

    name: str
    description: str
    kind: SettingKind
    value: bool | int | float | str
    default: bool | int | float | str
    stored: Annotated[Any, Field(description="What the versions say; null: nothing.")]
    from_outside: Annotated[bool, Field(description="The environment or fileroom.toml says it.")]
    refused: Annotated[str, Field(description="Why the stored value cannot be used.")]
    fits: Annotated[str, Field(description="Which values it takes.")]
    unit: str
    group: str
    affects: str


class ShownSettings(Shown):
    """All settings, and the version that holds."""

    version: int
    items: list[ShownSetting]


class ShownChange(Shown):
    """One entry before and after; null: it is not there, so that the default holds."""

    section: str
    name: str
    old: Any
    new: Any


class ShownVersion(Shown):
    """One version and how it came about."""

    number: int
    made_at: Moment
    actor: str
    address: str
    comment: str
    changes: list[ShownChange]


class VersionPage(Page[ShownVersion]):
    """Versions, the newest first."""


class Differences(Shown):
    """What makes the second version of the first."""

    changes: list[ShownChange]


class ShownApplied(Shown):
    """The version that holds now, and what came of the change. Without changes no version was made."""

    version: int
    changes: list[ShownChange]
    dry_run: bool


class ShownDocument(Shown):
    """Everything that a file can hold: settings and other sections, by name."""

    version: int
    document: dict[str, dict[str, Any]]


class Intention(Asked):
    """How a change is meant."""

    comment: Comment = ""
    expected: Expected = None
    dry_run: Annotated[Flag, Field(description="Check and compare, and change nothing.")] = False


class SettingsChange(Intention):
    """Some settings; null puts one back to its default."""

    settings: Annotated[
        dict[str, Value], Field(min_length=1, max_length=200, examples=[{"ledger_days": 30, "viewer_priors": None}])
    ]


class DocumentToApply(Intention):
    """Sections: each that is named becomes exactly this; one that is not named is left alone."""

    document: Annotated[dict[str, dict[str, Any]], Field(max_length=50, examples=[{"settings": {"ledger_days": 30}}])]


class RollBack(Intention):
    """The version that shall hold again; 0 takes back all."""

    to: Annotated[int, Field(strict=True, ge=0, le=NUMBER_MAX), INTEGRAL]


def add_settings(api: Api) -> None:
    """The operations."""
    held = Configuration(api.people, api.archive.sections)
    resource = api.resource("settings", "The configuration as versions: read, change, compare, take back.")

    @resource.get("/settings", "get", Permission.SETTINGS_READ)
    async def get_settings(response: Response) -> ShownSettings:
        """Every setting with its value, its default, and where the value comes from."""
        number, states = await configuration.read_settings(held)
        items = [
            ShownSetting(
                **{name: getattr(state.entry, name) for name in _OF_ENTRY},
                **{name: getattr(state, name) for name in ("value", "stored", "from_outside", "refused")},
            )
            for state in states
        ]
        response.headers["etag"] = f'"{number}"'
        return ShownSettings(version=number, items=items)

    @resource.patch("/settings", "change", Permission.SETTINGS_MANAGE)
    async def change_settings(asked: SettingsChange) -> ShownApplied:
        """Change some settings as a new version; every process takes it within a moment."""
        return _applied(await configuration.change_settings(held, _sound(asked.settings), _intent(asked)))

    @resource.get("/settings/document", "export", Permission.SETTINGS_READ)
    async def export() -> ShownDocument:
        """The whole configuration as a document, to be kept or applied elsewhere."""
        number, document = await configuration.read_document(held)
        return ShownDocument(version=number, document=document)

    @resource.put("/settings/document", "apply", Permission.SETTINGS_MANAGE)
    async def apply(asked: DocumentToApply) -> ShownApplied:
        """Make the configuration what a document says, in the sections that it has."""
        document: Document = _sound(asked.document)
        return _applied(await configuration.apply_document(held, document, _intent(asked)))

    @resource.get("/settings/versions", "history", Permission.SETTINGS_READ)
    async def history(request: Request, limit: Limit = 100, cursor: Cursor = "") -> VersionPage:
        """Versions, the newest first: who changed what, when and why."""
        place = read_cursor(cursor, int)
        before = place[0] if place else None
        if before is not None and not (isinstance(before, int) and 0 <= before < 1 << 31):
            raise InvalidRequestError("This cursor is from no page of ours; begin again without one.")
        wanted = min(limit, VERSIONS_PER_PAGE)
        found = await configuration.list_versions(held, before=before, limit=wanted)
        behind = write_cursor(found[-1].number) if len(found) == wanted and found[-1].number > 1 else ""
        items = [ShownVersion.model_validate(version, from_attributes=True) for version in found]
        return VersionPage(items=items, next=next_address(request, behind))

    @resource.get("/settings/differences", "compare", Permission.SETTINGS_READ)
    async def compare(first: VersionNumber, second: VersionNumber) -> Differences:
        """What makes one version of another."""
        return Differences(changes=_changes(await configuration.compare_versions(held, first, second)))

    @resource.post("/settings/rollback", "roll_back", Permission.SETTINGS_MANAGE)
    async def roll_back(asked: RollBack) -> ShownApplied:
        """Take back what the versions after one changed; that is a new version too."""
        return _applied(await configuration.roll_back(held, asked.to, _intent(asked)))


_OF_ENTRY = ("name", "description", "kind", "default", "fits", "unit", "group", "affects")


def _intent(asked: Intention) -> Intent:
    return Intent(asked.comment, asked.expected, asked.dry_run)


def _applied(applied: Applied) -> ShownApplied:
    return ShownApplied(version=applied.number, changes=_changes(applied.changes), dry_run=applied.dry_run)


def _changes(changes: Any) -> list[ShownChange]:
    found: list[Change] = list(changes)
    return [ShownChange(section=one.section, name=one.name, old=one.old, new=one.new) for one in found]


def _sound(value: Any) -> Any:
    """The same, if the database can keep every text of it. Raises InvalidRequestError."""
    if isinstance(value, str) and "\0" in value:
        raise InvalidRequestError("A text of the document holds a null character.")
    for part in value if isinstance(value, list) else []:
        _sound(part)
    for name, part in value.items() if isinstance(value, dict) else []:
        _sound(name)
        _sound(part)
    return value

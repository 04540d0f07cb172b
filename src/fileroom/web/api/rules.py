"""`/routing/rules`: which objects are sent where, tried without effect; names of attributes for whoever writes them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query, Request, Response
from pydantic import Field

from fileroom.admin.entries import NAME_CHARS_MAX, Entry
from fileroom.core.access import Permission
from fileroom.routing import rule_trials, rules
from fileroom.routing.attribute_names import FOUND_MAX, complete_attribute
from fileroom.routing.condition_tree import text_of_tree
from fileroom.routing.expression import TEXT_CHARS_MAX, ExpressionError
from fileroom.routing.rule_fields import (
    ACTIONS,
    ACTIONS_MAX,
    DESCRIPTION_CHARS_MAX,
    DESTINATIONS_MAX,
    ON,
    PRIORITY_MAX,
)
from fileroom.routing.urgency import BONUS_MAX_S
from fileroom.web.api.models import INTEGRAL, Asked, Flag, NameInPath, Shown
from fileroom.web.api.operations import Api
from fileroom.web.api.paging import Cursor, Limit, Page, cut, next_address
from fileroom.web.api.versions import IfMatch, require_unchanged, tag

_Cel = Annotated[str, Field(strict=True, min_length=1, max_length=TEXT_CHARS_MAX, pattern=r"^[^\x00]*$")]
When = Annotated[
    _Cel | dict[str, Any],
    Field(
        description="A condition in CEL, or a tree of all, any, not and {attribute, operator, value} (docs/routing.md).",
        examples=['Modality == "CT" && SliceThickness < 1.5'],
    ),
]
_EntryName = Annotated[str, Field(strict=True, min_length=1, max_length=NAME_CHARS_MAX, pattern=r"^[^\x00-\x1f\x7f]*$")]
_Destinations = Annotated[list[_EntryName], Field(max_length=DESTINATIONS_MAX)]
Urgency = Annotated[
    Annotated[str, Field(strict=True, pattern="^(stat|routine|bulk)$")]
    | Annotated[int, Field(strict=True, ge=-BONUS_MAX_S, le=BONUS_MAX_S), INTEGRAL],
    Field(description="stat, routine, bulk, or by how many seconds it stands before what arrives with it."),
]
StudyUid = Annotated[str, Field(strict=True, min_length=1, max_length=64, pattern=r"^[0-9]+(\.[0-9]+)*$")]


class RuleAction(Asked):
    """One thing that a rule does. send and notify have destinations."""

    do: Annotated[str, Field(strict=True, pattern=f"^({'|'.join(ACTIONS)})$")]
    to: _Destinations = Field(default_factory=list)


class AskedRule(Asked):
    """A rule. It has `to` (and `hold`), or `actions` for what is more than sending."""

    when: When
    on: Annotated[str, Field(strict=True, pattern=f"^({'|'.join(ON)})$", description="What must be complete.")] = ON[0]
    to: _Destinations = Field(default_factory=list)
    priority: Annotated[
        int, Field(strict=True, ge=0, le=PRIORITY_MAX, description="Lower ones are asked first."), INTEGRAL
    ] = 100
    stop: Flag = False
    urgency: Urgency = "routine"
    treatment: Annotated[str, Field(strict=True, max_length=NAME_CHARS_MAX, pattern=r"^[^\x00-\x1f\x7f]*$")] = ""
    hold: Flag = False
    actions: Annotated[list[RuleAction], Field(max_length=ACTIONS_MAX)] = Field(default_factory=list)
    description: Annotated[str, Field(strict=True, max_length=DESCRIPTION_CHARS_MAX, pattern=r"^[^\x00]*$")] = ""
    enabled: Flag = True

    def fields(self) -> dict[str, Any]:
        """As the service takes them."""
        found = self.model_dump(exclude={"enabled", "actions"})
        return {**found, "actions": [_action(one) for one in self.actions]}


class ShownRule(Shown):
    """A rule. `text` is its condition in CEL, however it was written."""

    name: str
    when: str | dict[str, Any]
    text: str
    on: str
    to: list[str]
    priority: int
    stop: bool
    urgency: str | int
    treatment: str
    hold: bool
    actions: list[dict[str, Any]]
    description: str
    enabled: bool
    version: int
    changed_by: str


class RulePage(Page[ShownRule]):
    """Rules in the order in which they are asked."""


class ShownRuleVersion(Shown):
    """What a rule was."""

    version: int
    fields: dict[str, Any]
    enabled: bool
    changed_by: str
    changed_at: str


class RuleHistory(Shown):
    """The latest first."""

    items: list[ShownRuleVersion]


class RuleVersionToRestore(Asked):
    """Which version."""

    version: Annotated[int, Field(strict=True, ge=1, le=2**31 - 1), INTEGRAL]


class RuleMove(Asked):
    """In which direction."""

    earlier: Flag


class AskedCondition(Asked):
    """A condition."""

    when: When


class ConditionCheck(Shown):
    """Whether it is a condition; else what is wrong, and where."""

    valid: bool
    text: Annotated[str, Field(description="The condition in CEL.")] = ""
    problem: str = ""
    position: Annotated[int, Field(description="Character of the text where it is wrong, from 0.")] = 0
    length: int = 0
    attributes: list[str] = Field(default_factory=list)
    late: Annotated[bool, Field(description="Only known when the study is complete.")] = False


class RuleTest(Asked):
    """A condition and a study to try it on."""

    when: When
    study: StudyUid
    called: Annotated[
        str,
        Field(max_length=16, description="The AE title that the sender called, as `association.called`; empty: ours."),
    ] = ""


class ShownConditionPart(Shown):
    """A part of the condition."""

    text: str
    start: int
    end: int
    holds: bool
    values: dict[str, str]


class ShownTriedObject(Shown):
    """One object."""

    sop_instance_uid: str
    series_instance_uid: str
    modality: str
    instance_number: int | None
    matched: bool
    parts: list[ShownConditionPart]
    failure: str


class RuleTestResult(Shown):
    """What the rule says to each object."""

    matched: int
    items: list[ShownTriedObject]


class RuleBacktest(Asked):
    """A condition, and how far to look back."""

    when: When
    days: Annotated[int, Field(strict=True, ge=1, le=rule_trials.DAYS_MAX), INTEGRAL] = 30


class ShownFoundStudy(Shown):
    """A study of which something matched."""

    study_instance_uid: str
    date: str
    description: str
    modalities: list[str]
    arrived: str
    objects: int


class BacktestResult(Shown):
    """What would have matched. `stopped` says why not everything was looked at."""

    days: int
    since: str
    source: Annotated[str, Field(description="index, or headers where files had to be read.")]
    asked: int
    objects: int
    studies: int
    by_modality: dict[str, int]
    studies_by_modality: dict[str, int]
    by_day: dict[str, int]
    listed: list[ShownFoundStudy]
    unreadable: int
    stopped: str


class ShownAttributeName(Shown):
    """A name that conditions know. What is no attribute has no tag."""

    keyword: str
    tag: str
    vr: str
    name: str
    retired: bool


class AttributeNames(Shown):
    """The best first."""

    items: list[ShownAttributeName]


def add_rules(api: Api) -> None:
    """The operations."""
    archive = api.archive
    resource = api.resource("rules", "Rules: which objects are sent where.")

    @resource.get("/routing/rules", "all", Permission.ROUTING_READ)
    async def all_rules(request: Request, limit: Limit = 100, cursor: Cursor = "") -> RulePage:
        """All rules in the order in which they are asked."""
        found, behind = cut(await rules.list_rules(archive), _place, cursor, limit)
        return RulePage(items=[_shown(one) for one in found], next=next_address(request, behind))

    @resource.get("/routing/rules/{name}", "get", Permission.ROUTING_READ)
    async def get_rule(name: NameInPath, response: Response) -> ShownRule:
        """One rule."""
        return _tagged(await rules.get_rule(archive, name), response)

    @resource.put("/routing/rules/{name}", "save", Permission.ROUTING_MANAGE)
    async def save_rule(name: NameInPath, asked: AskedRule, response: Response, if_match: IfMatch = None) -> ShownRule:
        """Add a rule, or replace it. A rule that is wrong is refused, and the version in force stays."""
        if if_match is not None:
            require_unchanged(if_match, _shown(await rules.get_rule(archive, name)))
        await rules.put_rule(archive, name, asked.fields(), enabled=asked.enabled)
        return _tagged(await rules.get_rule(archive, name), response)  # as it will be read: its tag must be that

    @resource.delete("/routing/rules/{name}", "remove", Permission.ROUTING_MANAGE)
    async def remove_rule(name: NameInPath) -> None:
        """Remove a rule; what it has planned is still sent."""
        await rules.remove_rule(archive, name)

    @resource.get("/routing/rules/{name}/versions", "history", Permission.ROUTING_READ)
    async def history(name: NameInPath) -> RuleHistory:
        """What a rule was, the latest first."""
        found = await rules.rule_versions(archive, name)
        return RuleHistory.model_validate({"items": found}, from_attributes=True)

    @resource.post("/routing/rules/{name}/restore", "restore", Permission.ROUTING_MANAGE)
    async def restore(name: NameInPath, asked: RuleVersionToRestore, response: Response) -> ShownRule:
        """Make a rule what it was; that is a new version."""
        await rules.restore_rule(archive, name, asked.version)
        return _tagged(await rules.get_rule(archive, name), response)

    @resource.post("/routing/rules/{name}/move", "move", Permission.ROUTING_MANAGE)
    async def move(name: NameInPath, asked: RuleMove) -> RulePage:
        """Let a rule be asked one place earlier or later; priorities change as they must."""
        await rules.move_rule(archive, name, earlier=asked.earlier)
        return RulePage(items=[_shown(one) for one in await rules.list_rules(archive)])

    @resource.post("/routing/condition-checks", "check", Permission.ROUTING_READ)
    async def check(asked: AskedCondition) -> ConditionCheck:
        """Whether a condition is one, and where it is wrong."""
        return checked_condition(asked.when)

    @resource.post("/routing/rule-tests", "test", Permission.ROUTING_READ)
    async def test(asked: RuleTest) -> RuleTestResult:
        """What a condition says to each object of a study. Nothing is sent."""
        tried = await rule_trials.try_rule(archive, {"when": asked.when}, asked.study, called=asked.called.strip())
        items = [ShownTriedObject.model_validate(one, from_attributes=True) for one in tried]
        return RuleTestResult(matched=sum(one.matched for one in tried), items=items)

    @resource.post("/routing/rule-backtests", "backtest", Permission.STUDY_SEARCH)
    async def backtest(asked: RuleBacktest) -> BacktestResult:
        """What a condition would have matched of all that arrived in the last days. Nothing is sent."""
        found = await rule_trials.backtest(archive, {"when": asked.when}, asked.days)
        return BacktestResult.model_validate(found, from_attributes=True)

    @resource.get("/routing/attribute-names", "attribute_names", Permission.ROUTING_READ)
    async def attribute_names(
        text: Annotated[str, Query(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$")],
        limit: Annotated[int, Query(ge=1, le=FOUND_MAX)] = 20,
    ) -> AttributeNames:
        """Names that begin with a text: attributes, and what else conditions know."""
        return AttributeNames.model_validate({"items": complete_attribute(text, limit)}, from_attributes=True)


def checked_condition(when: str | dict[str, Any]) -> ConditionCheck:
    """For the API and the editor's page. Raises NotAllowedError."""
    try:
        condition = rules.check_condition(when)
    except ExpressionError as error:
        text = when if isinstance(when, str) else ""
        return ConditionCheck(valid=False, text=text, problem=str(error), position=error.position, length=error.length)
    return ConditionCheck(
        valid=True,
        text=condition.text,
        attributes=[one.text for one in condition.operands],
        late=condition.is_late,
    )


def _action(action: RuleAction) -> dict[str, Any]:
    return action.model_dump() if action.to else {"do": action.do}


def _place(rule: Entry) -> str:
    return f"{rule.fields['priority']:06} {rule.name}"


def _shown(rule: Entry) -> ShownRule:
    when = rule.fields["when"]
    return ShownRule(
        name=rule.name,
        **rule.fields,
        text=when if isinstance(when, str) else text_of_tree(when),
        enabled=rule.enabled,
        version=rule.version,
        changed_by=rule.changed_by,
    )


def _tagged(rule: Entry, response: Response) -> ShownRule:
    shown = _shown(rule)
    tag(response, shown)
    return shown

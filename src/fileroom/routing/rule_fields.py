"""What a rule is made of, as fields: checked, in their normal form, and turned into a `Rule` that can be asked.

    {"when": 'Modality == "CT"', "on": "instance" | "series" | "study", "to": ["PACS"], "priority": 100, "stop": false,
     "urgency": "stat" | "routine" | "bulk" | seconds, "treatment": "", "hold": false, "actions": [], "description": ""}

`actions` are for more than sending, in order: {"do": "send", "to": [...]}, {"do": "notify", "to": [...]}, {"do": "hold"} (what
the rule sends after it waits for a person) and {"do": "drop"} (the object goes nowhere, whatever rules say).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from fileroom.admin.entries import NAME_CHARS_MAX, Entry, Section
from fileroom.core.errors import InvalidRequestError, told
from fileroom.routing.conditions import Condition, compile_condition
from fileroom.routing.expression import ExpressionError
from fileroom.routing.urgency import bonus_s, checked_urgency

PRIORITY_MAX: Final = 100_000
DESTINATIONS_MAX: Final = 50
"""Of one rule."""
ACTIONS_MAX: Final = 20
DESCRIPTION_CHARS_MAX: Final = 2000
ON: Final = ("instance", "series", "study")
ACTIONS: Final = ("send", "notify", "hold", "drop")
_DEFAULTS: Final[dict[str, Any]] = {
    "when": "",
    "on": "instance",
    "to": [],
    "priority": 100,
    "stop": False,
    "urgency": "routine",
    "treatment": "",
    "hold": False,
    "actions": [],
    "description": "",
}
FIELDS: Final = tuple(_DEFAULTS)


@dataclass(frozen=True)
class Rule:
    """A rule that can be asked. `actions` are (do, destinations) in order."""

    id: int
    name: str
    condition: Condition
    on: str
    actions: tuple[tuple[str, tuple[str, ...]], ...]
    priority: int
    stop: bool
    bonus_s: int
    treatment: str

    @property
    def order(self) -> tuple[int, str]:
        """Rules are asked in this order."""
        return self.priority, self.name

    @property
    def until(self) -> str:
        """What is waited for: nothing (empty), series or study complete."""
        return "" if self.on == "instance" else self.on

    @property
    def destinations(self) -> tuple[str, ...]:
        """All that it names."""
        return tuple(dict.fromkeys(name for _, names in self.actions for name in names))


def rule_of(entry: Entry) -> Rule:
    """The rule of an entry. Raises InvalidRequestError where it has become wrong."""
    fields = check_rule(entry.name, entry.fields)
    actions = fields["actions"] or [
        *([{"do": "hold"}] if fields["hold"] else []),
        {"do": "send", "to": fields["to"]},
    ]
    return Rule(
        entry.id,
        entry.name,
        compile_condition(fields["when"]),
        fields["on"],
        tuple((one["do"], tuple(one.get("to", ()))) for one in actions),
        fields["priority"],
        fields["stop"],
        bonus_s(fields["urgency"]),
        fields["treatment"],
    )


def check_rule(_name: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields in their normal form. Raises InvalidRequestError (ExpressionError where the condition is wrong)."""
    unknown = sorted(set(fields) - set(FIELDS))
    if unknown:
        raise InvalidRequestError(
            told("A rule has no field {name}; it has {all}.", name=unknown[0][:40], all=", ".join(FIELDS))
        )
    given = {**_DEFAULTS, **fields}
    checked = {
        "when": _when(given["when"]),
        "on": _one_of("on", given["on"], ON),
        "to": _names("to", given["to"]),
        "priority": _number("priority", given["priority"], 0, PRIORITY_MAX),
        "stop": _flag("stop", given["stop"]),
        "urgency": checked_urgency(given["urgency"]),
        "treatment": _text("treatment", given["treatment"], NAME_CHARS_MAX),
        "hold": _flag("hold", given["hold"]),
        "actions": _actions(given["actions"]),
        "description": _text("description", given["description"], DESCRIPTION_CHARS_MAX),
    }
    if checked["actions"] and (checked["to"] or checked["hold"]):
        raise InvalidRequestError(told("A rule has actions, or to and hold; not both."))
    if not checked["actions"] and not checked["to"]:
        raise InvalidRequestError(told("A rule needs a destination: to."))
    condition = compile_condition(checked["when"])
    if condition.is_late and checked["on"] == "instance":
        late = next(one.text for one in condition.operands if one.is_late)
        raise ExpressionError(
            told("{name} is only known when the series or study is complete: set on to series or study.", name=late),
            max(0, condition.text.find(late)),
            len(late),
        )
    return checked


def destinations_of(fields: Mapping[str, Any]) -> tuple[str, ...]:
    """All destinations that checked fields name."""
    some = [*fields["to"], *(name for one in fields["actions"] for name in one.get("to", ()))]
    return tuple(dict.fromkeys(some))


RULES: Final = Section("rules", "rule", check_rule)


def _when(value: Any) -> Any:
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, Mapping):
        return value
    raise InvalidRequestError(told("The condition of a rule (when) is a text in CEL or a tree of conditions."))


def _one_of(field: str, value: Any, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise InvalidRequestError(told("{field} is one of {all}.", field=field, all=", ".join(allowed)))
    return str(value)


def _names(field: str, value: Any) -> list[str]:
    some = [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value
    if not isinstance(some, list | tuple) or not all(
        isinstance(one, str) and 0 < len(one) <= NAME_CHARS_MAX for one in some
    ):
        raise InvalidRequestError(told("{field} is a list of names of destinations.", field=field))
    if len(some) > DESTINATIONS_MAX:
        raise InvalidRequestError(told("A rule sends to at most {most} destinations.", most=DESTINATIONS_MAX))
    return list(dict.fromkeys(some))


def _number(field: str, value: Any, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InvalidRequestError(
            told("{field} is a whole number from {least} to {most}.", field=field, least=least, most=most)
        )
    return value


def _flag(field: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise InvalidRequestError(told("{field} is true or false.", field=field))
    return value


def _text(field: str, value: Any, chars_max: int) -> str:
    if not isinstance(value, str) or len(value) > chars_max or "\0" in value:
        raise InvalidRequestError(told("{field} is a text of at most {most} characters.", field=field, most=chars_max))
    return value.strip()


def _actions(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list | tuple) or len(value) > ACTIONS_MAX:
        raise InvalidRequestError(told("actions is a list of at most {most} actions.", most=ACTIONS_MAX))
    return [_action(one) for one in value]


def _action(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping) or value.get("do") not in ACTIONS:
        raise InvalidRequestError(told("An action is a table whose do is one of {all}.", all=", ".join(ACTIONS)))
    do = str(value["do"])
    needs_to = do in ("send", "notify")
    if set(value) - {"do", "to"} or bool(value.get("to")) is not needs_to:
        raise InvalidRequestError(
            told("send and notify have to, a list of destinations; hold and drop have nothing else.")
        )
    return {"do": do, "to": _names("to", value["to"])} if needs_to else {"do": do}

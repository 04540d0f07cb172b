"""Morphing: attributes changed by steps in their order, each on what the ones before have left.

A step is data, `{"do": "set", "attribute": "PatientID", "value": "X1", "when": ...}`. `compiled_steps` checks them and makes
them ready; `changes.apply_steps` applies them. What a step does is told in `step_kinds`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pydicom.dataset import Dataset

from fileroom.core.errors import InvalidRequestError, told
from fileroom.transform.paths import AttributePath, attribute_path

STEPS_MAX: Final = 500
"""Of one treatment: a site's coercion of all its devices has some dozens."""

Condition = Callable[[Dataset], bool]
"""Whether a step is for this object. Must not fail and must not change it."""
CompileCondition = Callable[[Any], Condition]
"""From what stands in `when` to the condition. Raises InvalidRequestError."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a change is told beside the object. `installation_uid` and `system` name us in the object (Device UID; LO, at most
    64 characters), `moment` is DT text, `scope` keeps derived UIDs of different treatments apart, `order` are values of the
    order that belongs to the object, by keyword."""

    installation_uid: str
    system: str = "FILEROOM"
    moment: str = ""
    scope: str = ""
    order: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    reason: str = "COERCE"
    source: str = ""
    """Source of Previous Values (0400,0564): who had sent them."""


Work = Callable[[Dataset, Context], None]


@dataclass(frozen=True, slots=True)
class Step:
    """A step that is ready. `number` counts from 1. `paths` are the attributes it may change."""

    number: int
    kind: str
    paths: tuple[AttributePath, ...]
    work: Work
    condition: Condition | None = None
    anywhere: bool = False
    """It may change attributes in any place (new UIDs)."""


Made = tuple[tuple[AttributePath, ...], Work]
Maker = Callable[["Fields", int], Made]


class Fields:
    """The fields of one step, taken one by one, so that one that nobody knows is noticed."""

    def __init__(self, number: int, fields: Mapping[str, Any]) -> None:
        self.number = number
        self.kind = str(fields.get("do", ""))
        self._fields = dict(fields)
        self._taken = {"do", "when", "note"}

    def take(self, name: str, default: Any = None) -> Any:
        """The value of a field."""
        self._taken.add(name)
        return self._fields.get(name, default)

    def text(self, name: str, default: str | None = None) -> str:
        """A text; without `default` it must be there."""
        value = self.take(name, default)
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise self.wrong(name, told("a text"))
        return str(value)

    def texts(self, name: str) -> list[str]:
        """A text or a list of texts."""
        value = self.take(name)
        values = value if isinstance(value, list) else [value]
        if any(isinstance(one, bool) or not isinstance(one, (str, int, float)) for one in values):
            raise self.wrong(name, told("a text or a list of texts"))
        return [str(one) for one in values]

    def path(self, name: str = "attribute") -> AttributePath:
        """An attribute."""
        return attribute_path(self.text(name))

    def choice(self, name: str, choices: Sequence[str], default: str | None = None) -> str:
        """One of a few words."""
        value = self.text(name, default)
        if value not in choices:
            raise self.wrong(name, told("one of {choices}", choices=", ".join(choices)))
        return value

    def wrong(self, name: str, right: str) -> InvalidRequestError:
        """A field that is missing or not what it should be."""
        return InvalidRequestError(
            told(
                "Step {number} ({kind}): {field} must be {right}.",
                number=self.number,
                kind=self.kind,
                field=name,
                right=right,
            )
        )

    def require_no_others(self) -> None:
        """Raises InvalidRequestError for a field that no step of this kind has."""
        if unknown := sorted(self._fields.keys() - self._taken):
            raise InvalidRequestError(
                told(
                    "Step {number} ({kind}) has no field {field}.",
                    number=self.number,
                    kind=self.kind,
                    field=", ".join(unknown),
                )
            )


def compiled_steps(steps: object, makers: Mapping[str, Maker], compile_condition: CompileCondition) -> tuple[Step, ...]:
    """Raises InvalidRequestError, which names the step and what would be right."""
    if not isinstance(steps, list) or len(steps) > STEPS_MAX:
        raise InvalidRequestError(told("Steps are a list of at most {most}.", most=STEPS_MAX))
    return tuple(_compiled(number, one, makers, compile_condition) for number, one in enumerate(steps, 1))


def _compiled(number: int, one: object, makers: Mapping[str, Maker], compile_condition: CompileCondition) -> Step:
    if not isinstance(one, Mapping):
        raise InvalidRequestError(told("Step {number} must be a table with the field do.", number=number))
    fields = Fields(number, one)
    maker = makers.get(fields.kind)
    if maker is None:
        raise InvalidRequestError(
            told("Step {number}: do must be one of {choices}.", number=number, choices=", ".join(makers))
        )
    try:
        paths, work = maker(fields, number)
        condition = compile_condition(one["when"]) if one.get("when") else None
    except InvalidRequestError as error:
        if str(error).startswith(f"Step {number}"):
            raise
        raise InvalidRequestError(
            told("Step {number} ({kind}): {reason}", number=number, kind=fields.kind, reason=error.sentence)
        ) from error
    fields.require_no_others()
    return Step(number, fields.kind, paths, work, condition, anywhere=fields.kind == "new_uids")

"""What a search asks: parameters as they stand in an address become a `Question` (FHIR R4 3.1.1).

Unknown parameters are left out, and stand in no link; a client that wants none left out says `Prefer: handling=strict`. A
modifier that a parameter does not have is always refused, as leaving it out would change what is found (3.1.1.4.5).
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from fileroom.core.access import Permission
from fileroom.core.errors import InvalidRequestError, TooLargeError, told
from fileroom.fhir.conditions import Asked, SearchParameter, split
from fileroom.fhir.kinds import Include, Kind
from fileroom.fhir.registry import KINDS
from fileroom.index.conditions import Condition

COUNT_DEFAULT: Final = 20
COUNT_MAX: Final = 200
"""Resources in one page: some megabytes."""
VALUE_CHARS_MAX: Final = 2000
"""Of one parameter: thirty Study Instance UIDs."""
VALUES_MAX: Final = 100
PARAMETERS_MAX: Final = 50
CURSOR_CHARS_MAX: Final = 600
RESULT_PARAMETERS: Final = (
    *("_count", "_sort", "_total", "_summary", "_elements", "_include", "_revinclude", "_format", "_pretty"),
    "_cursor",
)
"""How the answer shall be, beside what it shall be about."""
_CHAINED: Final = ("patient", "subject")
"""References whose patient may be asked for by parameters of Patient: patient.identifier."""

Pairs = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Order:
    """How answers are ordered: a parameter of the kind's `sorts` (empty: by the row, the newest first)."""

    name: str = ""
    descending: bool = True


@dataclass(frozen=True, slots=True)
class FollowedReference:
    """One _include or _revinclude: the references of `kind` by the search parameter `name`."""

    kind: str
    name: str
    include: Include


@dataclass(frozen=True, slots=True)
class Question:
    """A search. `kept` are the parameters that were understood, for links; `needs` beside the kind's own permission."""

    kind: Kind
    condition: Condition
    kept: tuple[tuple[str, str], ...]
    count: int = COUNT_DEFAULT
    order: Order = Order()
    behind: tuple[str, int] | None = None
    total: bool = False
    only_count: bool = False
    elements: frozenset[str] = frozenset()
    includes: tuple[FollowedReference, ...] = ()
    revincludes: tuple[FollowedReference, ...] = ()
    needs: frozenset[Permission] = frozenset()


def read_question(
    kind: Kind, pairs: Pairs, *, base: str = "", zone: dt.tzinfo | None = None, strict: bool = False
) -> Question:
    """Raises InvalidRequestError, TooLargeError."""
    given = [(name, value) for name, value in pairs if value]
    if len(given) > PARAMETERS_MAX:
        raise TooLargeError(told("A search has at most {most} parameters.", most=PARAMETERS_MAX))
    kept: list[tuple[str, str]] = []
    conditions: list[Condition] = []
    needs: set[Permission] = set()
    asked_names: set[str] = set()
    for name, value in given:
        if len(value) > VALUE_CHARS_MAX or "\0" in value:
            raise TooLargeError(
                told("The value of {name} is longer than {most} characters.", name=name[:60], most=VALUE_CHARS_MAX)
            )
        if name in RESULT_PARAMETERS:
            kept.append((name, value))
            continue
        found = _condition(kind, name, value, base, zone)
        if found is None:
            if strict:
                raise _unknown(kind, name)
            continue
        kept.append((name, value))
        asked_names.add(name.partition(":")[0])
        conditions.append(found[0])
        needs.update(found[1])
    if not asked_names & kind.unless:
        conditions.append(kind.unasked)
    result = _Result(kind, kept, strict=strict)
    return Question(
        kind,
        Condition.all_of(conditions),
        tuple(kept),
        result.count(),
        result.order(),
        result.behind(),
        result.wants_total(),
        result.only_count(),
        result.elements(),
        result.followed("_include"),
        result.followed("_revinclude"),
        frozenset(needs),
    )


def cursor_of(key: str, row: int) -> str:
    """The place behind a row, for the link to the next page."""
    return base64.urlsafe_b64encode(orjson.dumps([key, row])).decode("ascii").rstrip("=")


def read_cursor(text: str) -> tuple[str, int]:
    """Raises InvalidRequestError."""
    try:
        if len(text) > CURSOR_CHARS_MAX:
            raise ValueError(text)
        key, row = orjson.loads(base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True))
        if not isinstance(key, str) or type(row) is not int or not -1 <= row < 1 << 63 or "\0" in key:
            raise ValueError(text)
    except (ValueError, TypeError, binascii.Error) as error:
        raise InvalidRequestError(told("This page does not exist; begin at the first one.")) from error
    return key, row


class _Result:
    """The parameters of the answer's form."""

    def __init__(self, kind: Kind, kept: list[tuple[str, str]], *, strict: bool) -> None:
        self._kind, self._kept, self._strict = kind, kept, strict

    def count(self) -> int:
        text = self._one("_count")
        if not text:
            return COUNT_DEFAULT
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise InvalidRequestError(told("{name} is a whole number.", name="_count"))
        return min(int(text), COUNT_MAX)

    def order(self) -> Order:
        text = self._one("_sort")
        if not text:
            return Order()
        name = text.removeprefix("-")
        if name not in self._kind.sorts:
            raise InvalidRequestError(
                told(
                    "{kind} cannot be sorted by {name}; it can by one of {names}.",
                    kind=self._kind.name,
                    name=name[:60],
                    names=", ".join(self._kind.sorts),
                )
            )
        return Order(name, text.startswith("-"))

    def behind(self) -> tuple[str, int] | None:
        text = self._one("_cursor")
        return read_cursor(text) if text else None

    def wants_total(self) -> bool:
        return self._one("_total") in ("accurate", "estimate")

    def only_count(self) -> bool:
        text = self._one("_summary")
        if text not in ("", "count", "false") and self._strict:
            raise InvalidRequestError(told("_summary is count or false here."))
        return text == "count" or self._one("_count") == "0"

    def elements(self) -> frozenset[str]:
        return frozenset(filter(None, self._one("_elements").split(",")))

    def followed(self, name: str) -> tuple[FollowedReference, ...]:
        found = []
        for text in (value for key, value in self._kept if key == name):
            source, _, rest = text.partition(":")
            parameter, _, target = rest.partition(":")
            include = KINDS[source].includes.get(parameter) if source in KINDS else None
            ours = source if name == "_include" else include.target if include else ""
            if include is None or ours != self._kind.name or target not in ("", include.target):
                raise InvalidRequestError(
                    told("{name}={value} is no reference that can be followed here.", name=name, value=text[:80])
                )
            found.append(FollowedReference(source, parameter, include))
        return tuple(found)

    def _one(self, name: str) -> str:
        values = [value for key, value in self._kept if key == name]
        if len(values) > 1:
            raise InvalidRequestError(told("{name} was given twice.", name=name))
        return values[0] if values else ""


def _condition(
    kind: Kind, name: str, value: str, base: str, zone: dt.tzinfo | None
) -> tuple[Condition, frozenset[Permission]] | None:
    """The condition of one parameter and what it needs; None: there is no such parameter."""
    before, dot, chained = name.partition(".")
    if dot and before.partition(":")[0] in _CHAINED and before in (*_CHAINED, *(f"{one}:Patient" for one in _CHAINED)):
        return _chain(kind, before.partition(":")[0], chained, value, base, zone)
    bare, _, modifier = name.partition(":")
    parameter = kind.parameters.get(bare)
    if parameter is None:
        return None
    needs = frozenset((parameter.needs,)) if parameter.needs else frozenset[Permission]()
    if modifier == "missing" and parameter.missing:
        if value not in ("true", "false"):
            raise InvalidRequestError(told("{name} is true or false.", name=name[:60]))
        return Condition(f"({parameter.missing}) = {value}"), needs
    if modifier and modifier not in parameter.modifiers:
        raise InvalidRequestError(told("The parameter {name} has no such modifier.", name=name[:60]))
    values = tuple(filter(None, split(value, ",")))
    if len(values) > VALUES_MAX:
        raise TooLargeError(told("{name} has at most {most} values.", name=name[:60], most=VALUES_MAX))
    return _built(parameter, Asked(bare, values, modifier, base, zone)), needs


def _built(parameter: SearchParameter, asked: Asked) -> Condition:
    found = parameter.build(asked) if asked.values else Condition("false")
    return Condition(f"({found.text})", found.parameters) if found.text else found


def _chain(
    kind: Kind, through: str, name: str, value: str, base: str, zone: dt.tzinfo | None
) -> tuple[Condition, frozenset[Permission]] | None:
    """A parameter of the patient that a resource is about. At most CHAINED_MAX patients are followed."""
    if through not in kind.parameters or kind.parameters[through].target != "Patient":
        return None
    patients = KINDS["Patient"]
    found = _condition(patients, name, value, base, zone)
    if found is None:
        return None
    condition, _ = found
    statement = f"SELECT p.id FROM registered_patient p WHERE {condition.text}"
    about = kind.of_patients(())
    # The list of numbers that `of_patients` takes becomes the statement itself.
    text = about.text.replace("ANY(%s)", f"ANY(ARRAY({statement}))")
    times = about.text.count("ANY(%s)")
    return Condition(text, condition.parameters * times), frozenset((Permission.ORDER_READ,))


def _unknown(kind: Kind, name: str) -> InvalidRequestError:
    return InvalidRequestError(
        told(
            "{name} is no parameter of this search; there are {names}.",
            name=name[:60],
            names=", ".join((*kind.parameters, *RESULT_PARAMETERS[:-1])),
        )
    )

"""What every destination has, whatever its kind: how much at once, how often, when, how changed, how proven.

Values in, values out; the rows are `routing.destinations`'. What a field does is done where it belongs: lanes take `lanes_max`
and `attempts_max`, `routing.schedules` the schedule, `routing.throttle` the pace, `routing.treatment` the treatment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from fileroom.admin.entries import Entry, Fields, with_secrets
from fileroom.core.errors import InvalidRequestError, told
from fileroom.routing.corrected import Corrected
from fileroom.routing.destination_kind import Confirmation, DestinationKind
from fileroom.routing.kinds import all_kinds, check_target, describe_target, kind_named
from fileroom.routing.target_fields import FieldType, TargetField, checked_value, from_text

LANES_MAX: Final = 16
"""Parcels that go to one destination side by side; archives take four to eight associations gladly."""
ATTEMPTS_MAX: Final = 10_000
"""A year of hourly tries."""
MBIT_S_MAX: Final = 100_000
OBJECTS_S_MAX: Final = 100_000
_THROTTLE: Final = "throttle."

COMMON: Final = (
    TargetField("description", told("Description"), help=told("What it is for, and whom to ask about it.")),
    TargetField(
        "confirmation",
        told("Proof"),
        FieldType.CHOICE,
        default=Confirmation.ANSWER.value,
        choices=tuple(one.value for one in Confirmation),
        help=told("What makes a delivery proven: its answer, storage commitment, or that it counts the objects."),
    ),
    TargetField(
        "lanes_max",
        told("Lanes"),
        FieldType.NUMBER,
        default=2,
        minimum=1,
        maximum=LANES_MAX,
        help=told("How many studies go there side by side."),
    ),
    TargetField(
        "attempts_max",
        told("Attempts"),
        FieldType.NUMBER,
        maximum=ATTEMPTS_MAX,
        default=0,
        help=told("After so many an object counts as failed. 0: it is tried for ever, at last once an hour."),
    ),
    TargetField("treatment", told("Treatment"), help=told("How objects are changed on the way. Empty: not at all.")),
    TargetField("schedule", told("Schedule"), help=told("When objects are sent. Empty: always.")),
    TargetField(
        "throttle.mbit_s",
        told("Mbit/s at most"),
        FieldType.DECIMAL,
        default=0,
        maximum=MBIT_S_MAX,
        help=told("0: as fast as it goes."),
    ),
    TargetField(
        "throttle.objects_s",
        told("Objects/s at most"),
        FieldType.DECIMAL,
        default=0,
        maximum=OBJECTS_S_MAX,
        help=told("0: as fast as it goes."),
    ),
    TargetField(
        "throttle.associations",
        told("Connections at most"),
        FieldType.NUMBER,
        default=0,
        maximum=LANES_MAX,
        help=told("Of all workers together. 0: as many as there are lanes."),
    ),
    TargetField(
        "corrected",
        told("Corrected later"),
        FieldType.CHOICE,
        default=Corrected.USUAL.value,
        choices=tuple(one.value for one in Corrected),
        help=told(
            "What was corrected after its delivery, by an order, a merge or a person, is sent again. Usual: to nodes, pools "
            "and STOW-RS."
        ),
    ),
    TargetField(
        "hold", told("Held"), FieldType.FLAG, default=False, help=told("Deliveries are kept and wait for a release.")
    ),
)
"""With `throttle` taken apart, as forms and command lines name the fields."""


@dataclass(frozen=True, slots=True)
class Throttle:
    """How fast at most; 0: no limit."""

    mbit_s: float = 0
    objects_s: float = 0
    associations: int = 0


@dataclass(frozen=True, slots=True)
class Destination:
    """Where objects go. `target` are the fields of its kind; it holds secrets only where they were asked for."""

    id: int
    name: str
    kind: str
    target: Mapping[str, Any] = field(repr=False)
    enabled: bool = True
    version: int = 1
    confirmation: Confirmation = Confirmation.ANSWER
    lanes_max: int = 2
    attempts_max: int = 0
    treatment: str = ""
    schedule: str = ""
    throttle: Throttle = Throttle()
    hold: bool = False
    """Nothing is sent; deliveries wait until it is released."""
    corrected: Corrected = Corrected.USUAL
    description: str = ""
    changed_by: str = ""

    @property
    def leads_to(self) -> str:
        """Where it leads, in a few words without secrets; empty where its kind is not installed."""
        kind = all_kinds().usable.get(self.kind)
        return describe_target(kind, self.target) if kind is not None else ""

    @property
    def state(self) -> str:
        """enabled, held or disabled."""
        return "disabled" if not self.enabled else "held" if self.hold else "enabled"


def checked_destination(name: str, fields: Mapping[str, Any]) -> Fields:
    """The fields in their normal form, defaults left out. Raises InvalidRequestError."""
    del name
    known = {"kind", "target", "throttle", *(one.name for one in COMMON if not one.name.startswith(_THROTTLE))}
    if unknown := set(map(str, fields)) - known:
        raise InvalidRequestError(
            told(
                "A destination has no field {unknown}; it has {known}.",
                unknown=repr(min(unknown))[:60],
                known=", ".join(sorted(known)),
            )
        )
    kind = kind_named(str(fields.get("kind", "")))
    target, throttle = fields.get("target", {}), fields.get("throttle", {})
    if not isinstance(target, Mapping):
        raise InvalidRequestError(told("The field {field} does not fit: it is {fits}.", field="target", fits="a table"))
    if not isinstance(throttle, Mapping) or set(throttle) - {"mbit_s", "objects_s", "associations"}:
        fits = told("a table of mbit_s, objects_s and associations")
        raise InvalidRequestError(told("The field {field} does not fit: it is {fits}.", field="throttle", fits=fits))
    found: Fields = {"kind": kind.name, "target": check_target(kind, target)}
    given = {**fields, **{_THROTTLE + key: value for key, value in throttle.items()}}
    for one in COMMON:
        value = checked_value(one, given.get(one.name, one.default))
        if value == one.default:
            continue
        if one.name.startswith(_THROTTLE):
            found.setdefault("throttle", {})[one.name.removeprefix(_THROTTLE)] = value
        else:
            found[one.name] = value
    _require_confirmation(kind, found)
    return found


def secret_paths(fields: Fields) -> frozenset[tuple[str, ...]]:
    """Where the secrets of a destination stand."""
    kind = all_kinds().usable.get(str(fields.get("kind")))
    return frozenset(("target", one) for one in kind.secrets) if kind is not None else frozenset()


def destination_of(entry: Entry) -> Destination:
    """From an entry of the section; with the secrets in clear where the entry has them."""
    fields = with_secrets(entry) if entry.secrets else entry.fields
    throttle = fields.get("throttle", {})
    return Destination(
        entry.id,
        entry.name,
        str(fields["kind"]),
        fields.get("target", {}),
        entry.enabled,
        entry.version,
        Confirmation(fields.get("confirmation", Confirmation.ANSWER)),
        int(fields.get("lanes_max", 2)),
        int(fields.get("attempts_max", 0)),
        str(fields.get("treatment", "")),
        str(fields.get("schedule", "")),
        Throttle(throttle.get("mbit_s", 0), throttle.get("objects_s", 0), throttle.get("associations", 0)),
        bool(fields.get("hold", False)),
        Corrected(fields.get("corrected", Corrected.USUAL)),
        str(fields.get("description", "")),
        entry.changed_by,
    )


def fields_of_destination(destination: Destination) -> Fields:
    """The fields as `put_destination` takes them, defaults among them."""
    throttle = destination.throttle
    return {
        "kind": destination.kind,
        "target": dict(destination.target),
        "description": destination.description,
        "confirmation": destination.confirmation.value,
        "lanes_max": destination.lanes_max,
        "attempts_max": destination.attempts_max,
        "treatment": destination.treatment,
        "schedule": destination.schedule,
        "throttle": {
            "mbit_s": throttle.mbit_s,
            "objects_s": throttle.objects_s,
            "associations": throttle.associations,
        },
        "hold": destination.hold,
        "corrected": destination.corrected.value,
    }


def with_texts(kind: DestinationKind, fields: Mapping[str, Any], texts: Mapping[str, str]) -> Fields:
    """Fields with what somebody wrote on a form or a command line laid over: `lanes_max`, `throttle.mbit_s`, `target.url`
    (or `url`, where no common field is called so). Raises InvalidRequestError."""
    from_kind = {one.name: one for one in getattr(kind, "fields", ())}
    common = {one.name: one for one in COMMON}
    made: Fields = {
        **fields,
        "kind": kind.name,
        "target": dict(fields.get("target", {})),
        "throttle": dict(fields.get("throttle", {})),
    }
    for name, text in texts.items():
        if name in common and name.startswith(_THROTTLE):
            made["throttle"][name.removeprefix(_THROTTLE)] = from_text(common[name], text)
        elif name in common:
            made[name] = from_text(common[name], text)
        else:
            inner = name.removeprefix("target.")
            made["target"][inner] = from_text(from_kind[inner], text) if inner in from_kind else text
    return made


def _require_confirmation(kind: DestinationKind, fields: Fields) -> None:
    wanted = Confirmation(fields.get("confirmation", Confirmation.ANSWER))
    if wanted not in kind.confirmations:
        raise InvalidRequestError(
            told(
                "The kind {kind} cannot prove deliveries by {wanted}, only by {possible}.",
                kind=kind.name,
                wanted=wanted.value,
                possible=", ".join(sorted(kind.confirmations)),
            )
        )

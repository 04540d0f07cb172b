"""From JSON to the models and back. What a newer server tells besides is passed over; what an older one lacks is None."""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import types
from collections.abc import Mapping, Sequence
from typing import Any, Union, get_args, get_origin, get_type_hints


@dataclasses.dataclass(frozen=True, slots=True)
class Model:
    """What all models have: the entity tag of the answer that they came in, for `if_match`; empty where there was none."""

    etag: str = dataclasses.field(default="", kw_only=True, compare=False, repr=False)


def from_json(kind: Any, value: Any) -> Any:
    """The value as `kind` has it: a model, a tuple of models, a moment, or as JSON has it."""
    if value is None:
        return None
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return _model(kind, value)
    if kind is dt.datetime:
        return dt.datetime.fromisoformat(value)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is tuple:
        return tuple(from_json(arguments[0], one) for one in value)
    if origin in (Union, types.UnionType):
        wanted = [one for one in arguments if one is not type(None)]
        return from_json(wanted[0], value) if len(wanted) == 1 else value
    return value


def to_json(value: Any) -> Any:
    """An argument as JSON: models as objects without their etag, moments in RFC 3339."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = ((one.name, getattr(value, one.name)) for one in dataclasses.fields(value) if one.name != "etag")
        return {name: to_json(one) for name, one in fields}
    if isinstance(value, dt.datetime):
        return moment(value)
    if isinstance(value, Mapping):
        return {str(name): to_json(one) for name, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return [to_json(one) for one in value]
    return value


def to_query(value: Any) -> str:
    """An argument in an address."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return moment(value) if isinstance(value, dt.datetime) else str(value)


def moment(value: dt.datetime) -> str:
    """RFC 3339; a moment without a zone is one of this machine."""
    return value.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")


def _model(kind: Any, value: Mapping[str, Any]) -> Any:
    hints = _hints(kind)
    return kind(**{name: from_json(hint, value.get(name)) for name, hint in hints.items() if name != "etag"})


@functools.cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)

"""Which kinds of destinations there are: Fileroom's own, and those of installed packages (entry points).

A package that has a kind says in its own pyproject.toml

    [project.entry-points."fileroom.destinations"]
    fax = "hospital_fax.destination:FAX"

where FAX is a `routing.destination_kind.DestinationKind` whose name is `fax`. One that cannot be loaded, has another name or
takes a name of ours is left out and told of (`broken_kinds`); the others work on. Packages are looked for once in a process.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Any, Final, Protocol, cast, runtime_checkable

import structlog

from fileroom.core.errors import FileroomError, InvalidRequestError, told
from fileroom.core.settings import Settings
from fileroom.routing.destination_kind import Confirmation, DestinationKind

ENTRY_POINT_GROUP: Final = "fileroom.destinations"
_REASON_CHARS_MAX: Final = 300
_log: Final = structlog.get_logger(__name__)

_BUILT_IN: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "dicom": ("fileroom.routing.dicom_destination", "DICOM"),
        "stow": ("fileroom.routing.stow_destination", "STOW"),
        "folder": ("fileroom.routing.folder_destination", "FOLDER"),
        "bucket": ("fileroom.routing.bucket_destination", "BUCKET"),
        "edge": ("fileroom.routing.edge_destination", "EDGE"),
        "edge_inbox": ("fileroom.routing.edge_outbox", "EDGE_INBOX"),
        "mail": ("fileroom.routing.mail_destination", "MAIL"),
        "webhook": ("fileroom.routing.webhook_destination", "WEBHOOK"),
        "pool": ("fileroom.routing.pools", "POOL"),
    }
)
"""In the order in which people choose. By name, as a pool opens the kinds of its members: it imports this module."""


@runtime_checkable
class KindWithLimits(Protocol):
    """A kind whose targets the settings limit, such as the folders that may be written to."""

    def require_allowed(self, settings: Settings, target: Mapping[str, Any]) -> None:
        """Raises InvalidRequestError where the settings do not allow a checked target."""


@dataclass(frozen=True, slots=True)
class BrokenKind:
    """A kind that is left out, and why."""

    name: str
    package: str
    reason: str


@dataclass(frozen=True, slots=True)
class Kinds:
    """What was found."""

    usable: Mapping[str, DestinationKind] = field(default_factory=dict)
    broken: tuple[BrokenKind, ...] = ()


@functools.cache
def all_kinds() -> Kinds:
    """Every kind by its name, Fileroom's own first, and those that are left out."""
    usable: dict[str, DestinationKind] = {
        name: cast(DestinationKind, getattr(importlib.import_module(module), attribute))
        for name, (module, attribute) in _BUILT_IN.items()
        if importlib.util.find_spec(module) is not None
    }
    broken: list[BrokenKind] = []
    for point in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda one: one.name):
        package = point.dist.name if point.dist is not None else point.value
        try:
            usable[point.name] = _loaded(point, usable)
        except Exception as error:  # noqa: BLE001 - a stranger's code; whatever it does, the others must work
            reason = f"{type(error).__name__}: {error}"[:_REASON_CHARS_MAX]
            _log.error("destination_kind_left_out", kind=point.name, package=package, reason=reason)
            broken.append(BrokenKind(point.name, package, reason))
    return Kinds(MappingProxyType(usable), tuple(broken))


def kind_named(name: str) -> DestinationKind:
    """Raises InvalidRequestError, which names the kinds there are, or why this one is left out."""
    found = all_kinds()
    if (kind := found.usable.get(name)) is not None:
        return kind
    for one in found.broken:
        if one.name == name:
            raise InvalidRequestError(
                told(
                    "The kind {kind} of the package {package} cannot be used: {reason}",
                    kind=name,
                    package=one.package,
                    reason=one.reason,
                )
            )
    raise InvalidRequestError(
        told(
            "There is no kind of destination {kind}; there are {kinds}.",
            kind=repr(name)[:60],
            kinds=", ".join(found.usable),
        )
    )


def check_target(kind: DestinationKind, target: Mapping[str, Any]) -> dict[str, Any]:
    """`kind.check`, whose mistakes are sentences too. Raises InvalidRequestError."""
    try:
        return dict(kind.check(target))
    except FileroomError:
        raise
    except Exception as error:
        raise InvalidRequestError(
            told(
                "The kind {kind} failed while it checked its fields: {reason}",
                kind=kind.name,
                reason=f"{type(error).__name__}: {error}"[:_REASON_CHARS_MAX],
            )
        ) from error


def describe_target(kind: DestinationKind, target: Mapping[str, Any]) -> str:
    """`kind.describe`; empty where that fails: a list of destinations must not fail because of one."""
    try:
        return str(kind.describe(target))
    except Exception as error:  # noqa: BLE001 - a stranger's code
        _log.warning("destination_not_described", kind=kind.name, reason=type(error).__name__)
        return ""


def _loaded(point: EntryPoint, others: Mapping[str, DestinationKind]) -> DestinationKind:
    kind = point.load()
    if point.name in others:
        raise ValueError("there is a kind of that name already")
    if getattr(kind, "name", None) != point.name:
        raise ValueError(f"its entry point is called {point.name}, it calls itself {getattr(kind, 'name', None)!r:.40}")
    if missing := [one for one in ("check", "describe", "open", "probe") if not callable(getattr(kind, one, None))]:
        raise TypeError(f"it has no {', '.join(missing)}")
    if not {Confirmation(one) for one in kind.confirmations}:
        raise ValueError("it has no way of confirmation; at least `answer`")
    if not all(isinstance(one, str) for one in kind.secrets):
        raise TypeError("secrets are names of fields")
    return cast(DestinationKind, kind)

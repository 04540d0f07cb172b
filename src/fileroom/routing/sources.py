"""Other archives that may be asked: for studies (C-FIND, QIDO-RS), for their objects (C-GET, C-MOVE, WADO-RS), for worklists.

A source is a node by its name, or the address of a DICOMweb service. What it is asked for is chosen for each: `federate` lets
searches of people and peers reach it, `prefetch` lets rules fetch priors from it, `worklist` passes questions for a modality
worklist on to it. The budget bounds what prefetching may take from it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from fileroom.admin.entries import (
    Entry,
    Fields,
    Section,
    get_entry,
    list_entries,
    put_entry,
    read_entries,
    read_entry,
    remove_entry,
)
from fileroom.admin.node_fields import Node
from fileroom.admin.nodes import read_node
from fileroom.archive.node_echo import EchoResult, echo_node
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.errors import InvalidRequestError, PeerError, PeerRefusedError, told

TIMEOUT_S_MAX: Final = 120
"""Of one question: nobody waits longer for a list."""
RESULTS_MAX: Final = 5000
"""Answers that are taken from one source to one question."""
ASSOCIATIONS_MAX: Final = 16
STUDIES_PER_HOUR_MAX: Final = 100_000
GB_PER_DAY_MAX: Final = 100_000
LABEL_CHARS_MAX: Final = 64
URL_CHARS_MAX: Final = 1000
SECRET_CHARS_MAX: Final = 4000
METHODS: Final = ("get", "move")
_TEXTS: Final = {"node": 64, "dicomweb": URL_CHARS_MAX, "label": LABEL_CHARS_MAX, "login": 200, "ca": URL_CHARS_MAX}
_SECRETS: Final = {"password": SECRET_CHARS_MAX, "token": SECRET_CHARS_MAX}
_FLAGS: Final = {"federate": True, "prefetch": False, "worklist": False}
_NUMBERS: Final = {"timeout_s": (10, 1, TIMEOUT_S_MAX), "results_max": (200, 1, RESULTS_MAX)}
_BUDGET: Final = {
    "studies_per_hour": (100, 0, STUDIES_PER_HOUR_MAX),
    "gb_per_day": (50, 0, GB_PER_DAY_MAX),
    "associations": (2, 1, ASSOCIATIONS_MAX),
}
_GIB: Final = 1024**3


@dataclass(frozen=True, slots=True)
class Budget:
    """What may be taken from a source. Prefetching alone is held to the first two (0: no limit)."""

    studies_per_hour: int = 100
    gb_per_day: float = 50
    associations: int = 2
    """Studies that are fetched at the same time."""

    @property
    def bytes_per_day(self) -> float:
        """The same in bytes, infinite where there is no limit."""
        return self.gb_per_day * _GIB if self.gb_per_day else math.inf

    @property
    def hourly(self) -> float:
        """Studies per hour, infinite where there is no limit."""
        return self.studies_per_hour or math.inf


@dataclass(frozen=True, slots=True)
class Source:
    """Another archive. Exactly one of `node` and `dicomweb` is set."""

    name: str
    node: str = ""
    dicomweb: str = ""
    federate: bool = True
    prefetch: bool = False
    worklist: bool = False
    timeout_s: int = 10
    results_max: int = 200
    method: str = "get"
    label: str = ""
    login: str = ""
    ca: str = ""
    budget: Budget = field(default_factory=Budget)
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)

    @property
    def shown(self) -> str:
        """What people read beside an answer of it."""
        return self.label or self.name

    @property
    def where(self) -> str:
        """Where it is, without secrets."""
        return self.node or self.dicomweb


def check_source(name: str, fields: Mapping[str, Any]) -> Fields:
    """The fields of a source in their normal form. Raises InvalidRequestError."""
    known = {*_TEXTS, *_SECRETS, *_FLAGS, *_NUMBERS, "method", "budget"}
    unknown = sorted(set(fields) - known)
    if unknown:
        raise InvalidRequestError(
            told("A source has no field {field}. It has: {known}.", field=unknown[0], known=", ".join(sorted(known)))
        )
    checked: Fields = {key: _text(key, fields.get(key), most) for key, most in (_TEXTS | _SECRETS).items()}
    checked |= {key: _flag(key, fields.get(key, usual)) for key, usual in _FLAGS.items()}
    checked |= {key: _number(key, fields.get(key), bounds) for key, bounds in _NUMBERS.items()}
    budget = fields.get("budget") or {}
    if not isinstance(budget, Mapping) or set(budget) - set(_BUDGET):
        raise InvalidRequestError(told("The budget of a source has the fields {known}.", known=", ".join(_BUDGET)))
    checked["budget"] = {key: _number(key, budget.get(key), bounds) for key, bounds in _BUDGET.items()}
    checked["method"] = _text("method", fields.get("method"), 8) or "get"
    if checked["method"] not in METHODS:
        raise InvalidRequestError(told("The method of a source is get (C-GET) or move (C-MOVE to ourselves)."))
    if bool(checked["node"]) == bool(checked["dicomweb"]):
        raise InvalidRequestError(
            told("Say where {name} is: either the name of a node, or the address of its DICOMweb service.", name=name)
        )
    if checked["dicomweb"]:
        checked["dicomweb"] = _address(checked["dicomweb"])
        if checked["worklist"]:
            raise InvalidRequestError(told("A worklist is asked of a node; DICOMweb has none."))
    return {key: value for key, value in checked.items() if value != ""}


SOURCES: Final = Section(
    "sources",
    "source",
    check_source,
    secrets=lambda fields: frozenset((key,) for key in _SECRETS if fields.get(key)),
)


def source_of(entry: Entry) -> Source:
    """An entry as a source, with its secrets where they were read."""
    fields = {key: value for key, value in entry.fields.items() if key not in (*_SECRETS, "budget")}
    secrets: dict[str, Any] = {path[0]: value for path, value in entry.secrets.items() if path and path[0] in _SECRETS}
    return Source(entry.name, **fields, budget=Budget(**entry.fields.get("budget", {})), **secrets)


# --- for people and the command line ---


async def list_sources(archive: Archive) -> list[Entry]:
    """All sources by name. Raises NotAllowedError, DatabaseError."""
    return await list_entries(archive.pool, SOURCES)


async def get_source(archive: Archive, name: str) -> Entry:
    """One source. Raises NotFoundError, NotAllowedError, DatabaseError."""
    return await get_entry(archive.pool, SOURCES, name)


async def put_source(
    archive: Archive,
    name: str,
    fields: Mapping[str, Any],
    *,
    enabled: bool = True,
    version: int | None = None,
    new: bool | None = None,
) -> Entry:
    """Add a source or change it; see `entries.put_entry`. A node that it names must be there.

    Raises InvalidRequestError, ConflictError, NotFoundError, NotAllowedError, DatabaseError.
    """
    require(Permission.ROUTING_MANAGE)
    node = str(fields.get("node") or "").strip()
    if node and await read_node(archive.pool, name=node) is None:
        raise InvalidRequestError(told("There is no node {name}; add it first.", name=node))
    return await put_entry(
        archive.pool, archive.settings, SOURCES, name, fields, enabled=enabled, version=version, new=new
    )


async def remove_source(archive: Archive, name: str) -> None:
    """Ask it no more. Raises NotFoundError, NotAllowedError, DatabaseError."""
    await remove_entry(archive.pool, SOURCES, name)


@dataclass(frozen=True, slots=True)
class SourceEcho:
    """Whether a source answers. `why` says what was wrong, empty where it does."""

    answered: bool
    latency_ms: float | None
    why: str = ""


Probe = Callable[[Archive, Source], Any]
"""Asks a source for one study, to see whether it answers (`source_calls.probe`)."""


async def echo_source(archive: Archive, name: str, probe: Probe) -> SourceEcho:
    """Ask a source whether it is there: C-ECHO, or a search for one study. Raises NotFoundError, NotAllowedError."""
    require(Permission.ROUTING_READ)
    source = source_of(await read_entry(archive.pool, SOURCES, name, settings=archive.settings))
    if source.node:
        result: EchoResult = await echo_node(archive, source.node)
        return SourceEcho(result.is_answered, result.latency_ms, result.detail or str(result.problem))
    began = time.perf_counter()
    try:
        await probe(archive, source)
    except PeerError as error:
        return SourceEcho(answered=False, latency_ms=None, why=str(error))
    return SourceEcho(answered=True, latency_ms=(time.perf_counter() - began) * 1000)


# --- for the other services of routing, which have asked ---


async def read_sources(archive: Archive, wanted: Callable[[Source], bool] = lambda _: True) -> list[Source]:
    """The sources that are enabled, by name, with their secrets. Raises DatabaseError, ConfigurationError."""
    entries = await read_entries(archive.pool, SOURCES, settings=archive.settings)
    return [source for source in (source_of(entry) for entry in entries if entry.enabled) if wanted(source)]


async def has_sources(archive: Archive) -> bool:
    """Whether there is any archive that searches could reach. Raises DatabaseError."""
    return any(source_of(one).federate for one in await read_entries(archive.pool, SOURCES) if one.enabled)


async def node_of(archive: Archive, source: Source) -> Node:
    """The node of a source. Raises PeerRefusedError when it is gone or disabled, DatabaseError."""
    node = await read_node(archive.pool, name=source.node)
    if node is None or node.name != source.node:
        raise PeerRefusedError(f"The node {source.node} of the source {source.name} was removed.")
    if not node.enabled:
        raise PeerRefusedError(f"The node {node.name} is disabled.")
    return node


# --- helpers ---


def _text(name: str, value: object, chars_max: int) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or not value.isprintable() or len(value) > chars_max:
        raise InvalidRequestError(told("{field} is a text of at most {most} characters.", field=name, most=chars_max))
    return value.strip()


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise InvalidRequestError(told("{field} is true or false.", field=name))
    return value


def _number(name: str, value: object, bounds: tuple[int, int, int]) -> int | float:
    usual, least, most = bounds
    if value is None:
        return usual
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        raise InvalidRequestError(
            told("{field} is a number from {least} to {most}.", field=name, least=least, most=most)
        )
    if name == "gb_per_day":
        return value
    if value != int(value):
        raise InvalidRequestError(told("{field} is a whole number.", field=name))
    return int(value)


def _address(url: str) -> str:
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        valid = False
        parts = urlsplit("")
    if not valid or parts.username or parts.query or parts.fragment:
        raise InvalidRequestError(
            told("{url} is no address such as https://archive.example/dicom-web, without a password in it.", url=url)
        )
    return url.rstrip("/")

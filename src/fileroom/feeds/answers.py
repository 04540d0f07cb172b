"""Answers that say more than that a message was taken: what a query found, how an order stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fileroom.hl7.acknowledge import ErrorLine
from fileroom.hl7.build import Value

Body = tuple[tuple[str, Mapping[int, Value]], ...]
"""Segments by name with their fields by number."""


@dataclass(frozen=True, slots=True)
class OwnAnswer:
    """`kind`: MSH-9; `body`: what follows MSA and ERR; `code`: AA or AE; `words`: what the inbox says of it."""

    kind: str
    body: Body = ()
    code: str = "AA"
    errors: tuple[ErrorLine, ...] = ()
    words: str = ""

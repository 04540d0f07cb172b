"""The routing of a running Fileroom, set up by its API as a script of an administrator does: nodes, destinations, rules."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import httpx

from acceptance.programs.fileroom import Fileroom

TAKEN_WITHIN_S = 1.3
"""Every process looks for new entries once a second."""


def node(aet: str, port: int, **more: Any) -> dict[str, Any]:
    """A node on this machine."""
    return {"aet": aet, "host": "127.0.0.1", "port": port, **more}


def to_node(name: str, **more: Any) -> dict[str, Any]:
    """A destination of kind dicom."""
    return {"kind": "dicom", "target": {"node": name}, **more}


def rule(condition: str, *destinations: str, **more: Any) -> dict[str, Any]:
    """A rule that sends what fits."""
    return {"when": condition, "to": list(destinations), **more}


class Routing:
    """What has been set up; each `add` and `remove` applies all of it."""

    def __init__(self, room: Fileroom) -> None:
        self._room = room
        self._sections: dict[str, dict[str, Any]] = {}

    def add(self, **sections: Mapping[str, Mapping[str, Any]]) -> None:
        """Add entries, or put others in their places: `rules={"name": {...}}`."""
        for section, entries in sections.items():
            self._sections.setdefault(section, {}).update(entries)
        self._apply()

    def remove(self, **sections: str) -> None:
        """Take entries away."""
        for section, name in sections.items():
            del self._sections[section][name]
        self._apply()

    def states(self, study: str, destination: str = "") -> dict[str, int]:
        """How many deliveries of a study stand where."""
        rows = self._room.rows(
            """SELECT d.state, count(*) FROM delivery d JOIN named_entry e ON e.id = d.destination_id
               WHERE d.study_instance_uid = %s AND (%s = '' OR e.name = %s) GROUP BY 1""",
            study,
            destination,
            destination,
        )
        return {str(state): int(number) for state, number in rows}

    def causes(self, study: str) -> list[str]:
        """What is said of the deliveries of a study."""
        rows = self._room.rows("SELECT DISTINCT cause FROM delivery WHERE study_instance_uid = %s", study)
        return [str(row[0]) for row in rows]

    def _apply(self) -> None:
        answer = httpx.put(f"{self._room.url}/api/v1/settings/document", json={"document": self._sections}, timeout=30)
        assert answer.is_success, answer.text
        time.sleep(TAKEN_WITHIN_S)

"""A file of the configuration that names what is not there is refused as a whole, with the entry and the name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from fileroom.admin.configuration import Configuration, InvalidConfigurationError, apply_document
from fileroom.admin.people import People
from fileroom.app.configuration import CONFIGURATION_SECTIONS
from fileroom.archive.services import Archive
from fileroom.core.access import SYSTEM, acting_as
from fileroom.routing.destinations import list_destinations
from fileroom.routing.references import missing_names

NODE = {"aet": "PACS", "host": "127.0.0.1", "port": 104}
WHOLE: dict[str, dict[str, Any]] = {
    "rules": {"ct": {"when": 'Modality == "CT"', "to": ["PACS"], "treatment": "clean"}},
    "destinations": {
        "PACS": {"kind": "dicom", "target": {"node": "PACS"}, "schedule": "nights"},
        "pair": {"kind": "pool", "target": {"members": [{"destination": "PACS"}]}},
    },
    "treatments": {"clean": {"deid": "S1"}},
    "projects": {"S1": {"options": []}},
    "schedules": {"nights": {"windows": [{"days": ["daily"], "from": "18:00", "to": "06:00"}]}},
    "nodes": {"PACS": NODE},
    "alerts": {"old": {"kind": "queue_age", "destinations": ["PACS"], "quiet": "nights"}},
}


@pytest.fixture
def configuration(archive: Archive) -> Iterator[Configuration]:
    with acting_as(SYSTEM):
        yield Configuration(People(archive.pool, archive.settings, archive.now), CONFIGURATION_SECTIONS)


async def test_names_may_stand_before_what_they_name(configuration: Configuration, archive: Archive) -> None:
    await apply_document(configuration, WHOLE)
    assert [one.name for one in await list_destinations(archive)] == ["PACS", "pair"]
    assert await missing_names(archive.pool) == []


@pytest.mark.parametrize(
    ("gone", "told"),
    [
        ("nodes", ["destinations.PACS: there is no node PACS"]),
        ("schedules", ["alerts.old: there is no schedule nights", "destinations.PACS: there is no schedule nights"]),
        ("treatments", ["rules.ct: there is no treatment clean"]),
        ("projects", ["treatments.clean: there is no project S1"]),
        (
            "destinations",
            ["alerts.old: there is no destination PACS", "rules.ct: there is no destination PACS"],
        ),
    ],
)
async def test_a_name_that_is_nowhere_is_told_and_nothing_is_changed(
    configuration: Configuration, archive: Archive, gone: str, told: list[str]
) -> None:
    with pytest.raises(InvalidConfigurationError) as error:
        await apply_document(configuration, {name: entries for name, entries in WHOLE.items() if name != gone})
    assert [str(one).partition(";")[0] for one in error.value.problems] == told
    assert await list_destinations(archive) == []


async def test_what_somebody_else_left_without_its_name_keeps_no_change_from_being_made(
    configuration: Configuration, archive: Archive
) -> None:
    await apply_document(configuration, WHOLE)
    async with archive.pool.connection() as connection:
        await connection.execute(b"DELETE FROM node")
    await apply_document(
        configuration,
        {
            "schedules": {
                **WHOLE["schedules"],
                "days": {"windows": [{"days": ["daily"], "from": "08:00", "to": "18:00"}]},
            }
        },
    )
    assert [one.name for one in await missing_names(archive.pool)] == ["destinations.PACS"]

"""Rules are kept as versions, refused when they are wrong, and tried without effect."""

from __future__ import annotations

from typing import Any

import pytest

from fileroom.admin.entries import put_entry
from fileroom.archive.services import Archive
from fileroom.core.access import SYSTEM, Access, ActorKind, Permission, RowScope, acting_as
from fileroom.core.errors import InvalidRequestError, NotAllowedError, NotFoundError
from fileroom.routing.destinations import DESTINATIONS
from fileroom.routing.expression import ExpressionError
from fileroom.routing.rule_trials import backtest, try_rule
from fileroom.routing.rules import (
    get_rule,
    list_rules,
    move_rule,
    put_rule,
    remove_rule,
    restore_rule,
    rule_versions,
    set_rule_enabled,
)
from stored_objects import make_file, store_file


@pytest.fixture(autouse=True)
def _as_system() -> Any:
    with acting_as(SYSTEM):
        yield


@pytest.fixture
async def routed(archive: Archive) -> Archive:
    """An archive with two destinations."""
    for name in ("PACS", "TEACHING"):
        fields = {"kind": "folder", "target": {"path": name}}
        await put_entry(archive.pool, archive.settings, DESTINATIONS, name, fields)
    return archive


async def test_a_wrong_rule_is_refused_and_the_old_version_stays(routed: Archive) -> None:
    await put_rule(routed, "CT", {"when": 'Modality == "CT"', "to": ["PACS"]})
    with pytest.raises(ExpressionError, match="Did you mean Modality") as refused:
        await put_rule(routed, "CT", {"when": 'Modlity == "CT"', "to": ["PACS"]})
    assert refused.value.position == 0
    with pytest.raises(InvalidRequestError, match="There is no destination NOWHERE"):
        await put_rule(routed, "CT", {"when": 'Modality == "CT"', "to": ["NOWHERE"]})
    with pytest.raises(InvalidRequestError, match="There is no treatment X"):
        await put_rule(routed, "CT", {"when": "true", "to": ["PACS"], "treatment": "X"})
    kept = await get_rule(routed, "CT")
    assert (kept.version, kept.fields["when"], kept.fields["to"]) == (1, 'Modality == "CT"', ["PACS"])


async def test_what_only_a_complete_study_knows_needs_one(routed: Archive) -> None:
    fields = {"when": "study.instances > 100", "to": ["PACS"]}
    with pytest.raises(ExpressionError, match=r"study\.instances is only known"):
        await put_rule(routed, "BIG", fields)
    assert (await put_rule(routed, "BIG", {**fields, "on": "study"})).version == 1


async def test_versions_are_restored(routed: Archive) -> None:
    await put_rule(routed, "CT", {"when": 'Modality == "CT"', "to": ["PACS"]})
    await put_rule(routed, "CT", {"when": 'Modality == "MR"', "to": ["TEACHING"]})
    await set_rule_enabled(routed, "CT", enabled=False)
    assert [one.version for one in await rule_versions(routed, "CT")] == [3, 2, 1]
    again = await restore_rule(routed, "CT", 1)
    assert (again.version, again.enabled, again.fields["when"]) == (4, True, 'Modality == "CT"')
    with pytest.raises(NotFoundError):
        await restore_rule(routed, "CT", 77)
    await remove_rule(routed, "CT")
    assert await list_rules(routed) == []


async def test_the_order_is_changed_one_place_at_a_time(routed: Archive) -> None:
    for name in ("A", "B", "C"):
        await put_rule(routed, name, {"when": "true", "to": ["PACS"]})
    await move_rule(routed, "C", earlier=True)
    assert [one.name for one in await list_rules(routed)] == ["A", "C", "B"]
    await move_rule(routed, "A", earlier=False)
    assert [one.name for one in await list_rules(routed)] == ["C", "A", "B"]
    await move_rule(routed, "C", earlier=True)
    assert [one.name for one in await list_rules(routed)] == ["C", "A", "B"]


async def test_a_dry_run_says_which_part_failed_and_on_what(archive: Archive) -> None:
    await store_file(archive, make_file(SliceThickness="5.0"))
    await store_file(archive, make_file(SOPInstanceUID="1.2.3.1.1.2", InstanceNumber=2, SliceThickness="1.0"))
    tried = await try_rule(archive, {"when": 'Modality == "CT" && SliceThickness < 1.5'}, "1.2.3.1")
    assert [one.matched for one in tried] == [False, True]
    assert [(part.text, part.holds) for part in tried[0].parts] == [
        ('Modality == "CT"', True),
        ("SliceThickness < 1.5", False),
    ]
    assert tried[0].parts[1].values == {"SliceThickness": "5"}
    with pytest.raises(NotFoundError):
        await try_rule(archive, {"when": "true"}, "1.2.3.999")


async def test_a_dry_run_may_say_which_ae_title_was_called(archive: Archive) -> None:
    await store_file(archive, make_file())
    when = {"when": 'association.called == "RESEARCH"'}
    assert [one.matched for one in await try_rule(archive, when, "1.2.3.1")] == [False]
    assert [one.matched for one in await try_rule(archive, when, "1.2.3.1", called="RESEARCH")] == [True]


async def store_some(archive: Archive) -> None:
    for number, modality in enumerate(("CT", "CT", "MR"), 1):
        await store_file(
            archive,
            make_file(
                StudyInstanceUID=f"1.2.3.{number}",
                SeriesInstanceUID=f"1.2.3.{number}.1",
                SOPInstanceUID=f"1.2.3.{number}.1.1",
                Modality=modality,
                SliceThickness=str(number),
                InstitutionName="North" if number == 1 else "South",
            ),
        )


@pytest.mark.parametrize(
    ("when", "source", "studies"),
    [
        ('Modality == "CT"', "index", ["1.2.3.1", "1.2.3.2"]),
        ('Modality == "CT" && SliceThickness < 1.5', "headers", ["1.2.3.1"]),
        ('Rows == 2 && like(PatientName, "doe*")', "index", ["1.2.3.1", "1.2.3.2", "1.2.3.3"]),
        ('StudyDate >= "2026-01-02"', "index", []),
        ("study.instances == 1 && study.modalities == ['MR']", "index", ["1.2.3.3"]),
    ],
)
async def test_a_back_test_counts_what_arrived(archive: Archive, when: str, source: str, studies: list[str]) -> None:
    await store_some(archive)
    told: list[tuple[int, int]] = []
    found = await backtest(archive, {"when": when}, 3, progress=lambda asked, matched: told.append((asked, matched)))
    assert found.source == source
    assert (found.asked, found.objects, found.studies) == (3, len(studies), len(studies))
    assert sorted(one.study_instance_uid for one in found.listed) == studies
    assert sum(found.by_modality.values()) == sum(found.by_day.values()) == len(studies)
    assert told[-1] == (3, len(studies))


async def test_trials_see_what_whoever_asks_may_see(archive: Archive) -> None:
    await store_some(archive)
    reader = Access(
        ActorKind.PERSON,
        "reader",
        frozenset({Permission.ROUTING_READ, Permission.STUDY_SEARCH}),
        RowScope(institutions=("South",)),
    )
    with acting_as(reader):
        for when in ("true", "SliceThickness > 0"):
            found = await backtest(archive, {"when": when}, 3)
            assert sorted(one.study_instance_uid for one in found.listed) == ["1.2.3.2", "1.2.3.3"]
        with pytest.raises(NotFoundError):
            await try_rule(archive, {"when": "true"}, "1.2.3.1")
        with pytest.raises(NotAllowedError):
            await put_rule(archive, "X", {"when": "true", "to": ["PACS"]})


async def test_a_back_test_is_bounded(archive: Archive) -> None:
    await store_some(archive)
    found = await backtest(archive, {"when": "true"}, 3, rows_max=2)
    assert found.asked == 2
    assert "fewer days" in found.stopped
    with pytest.raises(InvalidRequestError):
        await backtest(archive, {"when": "true"}, 0)

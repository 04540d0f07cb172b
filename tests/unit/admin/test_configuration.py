"""Versions of the configuration: checked, compared, attributed, audited, reversible; nothing of a wrong one is applied."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
from typing import Any

import psycopg
import pytest

from fileroom.admin import configuration as services
from fileroom.admin.configuration import (
    Applied,
    Intent,
    InvalidConfigurationError,
    VersionConflictError,
    apply_document,
    change_settings,
    compare_versions,
    list_versions,
    read_document,
    read_settings,
    roll_back,
)
from fileroom.admin.configuration_changes import Change
from fileroom.admin.configuration_sections import SECTIONS, Configuration
from fileroom.admin.people import People
from fileroom.admin.roles import Role, add_role, list_roles
from fileroom.archive.services import Archive
from fileroom.core.access import SYSTEM, Access, ActorKind, Permission, acting_as
from fileroom.core.errors import ConflictError, InvalidRequestError, NotAllowedError, NotFoundError
from fileroom.core.settings import Settings
from people_of_tests import HeldClock, add, people_of

ADA = Access(ActorKind.PERSON, "ada", frozenset(Permission), address="10.0.0.7", account_id=1)
DESK = {"description": "CT desk", "permissions": ["study.search", "study.view"]}


@pytest.fixture(autouse=True)
def _as_ada() -> Any:
    with acting_as(ADA):
        yield


@pytest.fixture
def configuration(people: People) -> Configuration:
    return Configuration(people, SECTIONS)


async def stored(configuration: Configuration) -> dict[str, Any]:
    return (await read_document(configuration))[1]["settings"]


async def audited(configuration: Configuration) -> list[tuple[str, str]]:
    """(kind, what was done) of each event."""
    async with configuration.people.pool.connection() as connection:
        cursor = await connection.execute(b"SELECT event_type, message ->> 'outcome' FROM audit_event ORDER BY id")
        return [(row[0], row[1]) for row in await cursor.fetchall()]


async def test_a_change_is_a_version_with_author_time_and_comment(configuration: Configuration) -> None:
    applied = await change_settings(configuration, {"ledger_days": "30"}, Intent("less disk"))
    assert applied == Applied(1, (Change("settings", "ledger_days", None, 30),))
    assert await stored(configuration) == {"ledger_days": 30}
    [version] = await list_versions(configuration)
    assert (version.number, version.actor, version.address, version.comment) == (1, "ada", "10.0.0.7", "less disk")
    assert version.changes == applied.changes


async def test_it_stands_in_the_audit_trail_as_a_change_of_configuration(configuration: Configuration) -> None:
    await change_settings(configuration, {"ledger_days": 30, "session_hours": 4}, Intent("shorter"))
    assert await audited(configuration) == [
        ("110131", "ledger_days: (default) -> 30 (version 1: shorter)"),  # Software Configuration
        ("110129", "session_hours: (default) -> 4 (version 1: shorter)"),  # Security Configuration
    ]


async def test_what_changes_nothing_makes_no_version(configuration: Configuration) -> None:
    await change_settings(configuration, {"ledger_days": 30})
    assert await change_settings(configuration, {"ledger_days": 30}) == Applied(1, ())
    assert await apply_document(configuration, {"settings": {"ledger_days": 30}}) == Applied(1, ())
    assert await change_settings(configuration, {"session_hours": None}) == Applied(1, ())
    assert await change_settings(configuration, {"ledger_days": 30}, Intent(expected=0)) == Applied(1, ()), (
        "no conflict"
    )
    assert len(await list_versions(configuration)) == 1
    assert len(await audited(configuration)) == 1


async def test_a_setting_goes_back_to_its_default(configuration: Configuration) -> None:
    await change_settings(configuration, {"ledger_days": 30, "audit_site": "North"})
    await change_settings(configuration, {"ledger_days": None})
    assert await stored(configuration) == {"audit_site": "North"}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"ledger_days": 0}, "ledger_days = 0: it is a whole number of days from 1 to 3650"),
        ({"ledger_days": "many"}, "ledger_days = 'many': it is a whole number of days from 1 to 3650"),
        ({"ledger_days": True}, "ledger_days = true: it is a whole number"),
        ({"ledger_days": [30]}, "it is a whole number"),
        ({"ledger_days": 2**70}, "it is a whole number"),
        ({"series_stable_s": "nan"}, "it is a number of seconds above 0"),
        ({"viewer_priors": "some"}, "it is one of primary, recent, all"),
        ({"log_level": "LOUD"}, "it is one of DEBUG, INFO, WARNING, ERROR"),
        ({"called_aet_check": "perhaps"}, "it is true or false"),
        ({"audit_syslog_url": "http://h"}, "'http://h' is no address such as tls://HOST:6514"),
        ({"viewer_name": "a\nb"}, "characters in one line"),
        ({"ledgerdays": 30}, "ledgerdays = 30: there is no such setting"),
        ({"ledgerdays": None}, "ledgerdays: there is no such setting"),
        ({"aet": "OTHER"}, "it is set from outside only, as FILEROOM_AET"),
        ({"admin_password": "x"}, "it is set from outside only, as FILEROOM_ADMIN_PASSWORD"),
    ],
)
async def test_a_wrong_value_is_named_with_what_would_fit(
    configuration: Configuration, values: dict[str, object], said: str
) -> None:
    with pytest.raises(InvalidConfigurationError) as caught:
        await change_settings(configuration, {"audit_site": "North", **values})
    assert said in str(caught.value)
    assert str(caught.value).startswith("Nothing was changed.")
    assert await stored(configuration) == {}, "the half that was right"


async def test_every_wrong_value_is_named_at_once(configuration: Configuration) -> None:
    values = {"ledger_days": 0, "session_hours": 0, "nonsense": 1, "log_level": "x", "audit_site": "North"}
    with pytest.raises(InvalidConfigurationError) as caught:
        await apply_document(configuration, {"settings": values, "rolls": {}, "roles": {"x": {"permissions": ["fly"]}}})
    assert {problem.name for problem in caught.value.problems} == {
        "ledger_days",
        "session_hours",
        "nonsense",
        "log_level",
        "rolls",
        "roles.x",
    }
    assert await list_versions(configuration) == []


async def test_a_dry_run_says_what_would_change_and_changes_nothing(configuration: Configuration) -> None:
    document = {"settings": {"ledger_days": 30}, "roles": {"ct-desk": DESK}}
    applied = await apply_document(configuration, document, Intent(dry_run=True))
    assert [str(change) for change in applied.changes] == [
        "ledger_days: (default) -> 30",
        'roles.ct-desk: (none) -> {"description": "CT desk", "permissions": ["study.search", "study.view"]}',
    ]
    assert (applied.number, applied.dry_run) == (0, True)
    assert await read_document(configuration) == (0, {"settings": {}, "roles": {}})
    assert await audited(configuration) == []


async def test_the_second_of_two_sees_the_difference_and_can_apply_on_top(configuration: Configuration) -> None:
    await change_settings(configuration, {"ledger_days": 30})
    with acting_as(dataclasses.replace(ADA, name="grace")):
        await change_settings(configuration, {"ledger_days": 60, "audit_site": "North"}, Intent(expected=1))
    with pytest.raises(VersionConflictError) as caught:
        await change_settings(configuration, {"ledger_days": 45}, Intent(expected=1))
    assert caught.value.latest.actor == "grace"
    assert [str(one) for one in caught.value.theirs] == ["audit_site: (default) -> North", "ledger_days: 30 -> 60"]
    assert [str(one) for one in caught.value.yours] == ["ledger_days: 60 -> 45"]
    assert await stored(configuration) == {"ledger_days": 60, "audit_site": "North"}
    await change_settings(configuration, {"ledger_days": 45}, Intent(expected=2))
    assert await stored(configuration) == {"ledger_days": 45, "audit_site": "North"}, "theirs is not lost"


async def test_of_many_at_once_each_gets_a_version_of_its_own(configuration: Configuration) -> None:
    applied = await asyncio.gather(
        *(change_settings(configuration, {"ledger_days": days}) for days in range(10, 20)),
    )
    assert sorted(one.number for one in applied) == list(range(1, 11))
    versions = await list_versions(configuration)
    assert [version.number for version in versions] == list(range(10, 0, -1))
    for newer, older in itertools.pairwise(versions):
        assert newer.changes[0].old == older.changes[0].new


async def test_of_two_who_expect_the_same_one_is_refused(configuration: Configuration) -> None:
    results = await asyncio.gather(
        *(change_settings(configuration, {"ledger_days": days}, Intent(expected=0)) for days in (10, 20)),
        return_exceptions=True,
    )
    assert sorted(type(result).__name__ for result in results) == ["Applied", "VersionConflictError"]


async def test_going_back_is_a_new_version(configuration: Configuration) -> None:
    for days in (30, 60, 90):
        await change_settings(configuration, {"ledger_days": days, "audit_site": f"site {days}"})
    applied = await roll_back(configuration, 1)
    assert applied.number == 4
    assert await stored(configuration) == {"ledger_days": 30, "audit_site": "site 30"}
    assert (await list_versions(configuration))[0].comment == "Back to version 1"
    await roll_back(configuration, 0, Intent("all of it"))
    assert await stored(configuration) == {}
    await roll_back(configuration, 3)
    assert await stored(configuration) == {"ledger_days": 90, "audit_site": "site 90"}
    with pytest.raises(NotFoundError, match="There is no version 99; the newest is 6"):
        await roll_back(configuration, 99)


async def test_any_two_versions_can_be_compared(configuration: Configuration) -> None:
    for values in ({"ledger_days": 30}, {"ledger_days": 60, "audit_site": "N"}, {"ledger_days": 30}):
        await change_settings(configuration, values)
    assert [str(one) for one in await compare_versions(configuration, 0, 2)] == [
        "audit_site: (default) -> N",
        "ledger_days: (default) -> 60",
    ]
    assert [str(one) for one in await compare_versions(configuration, 1, 3)] == ["audit_site: (default) -> N"]
    assert [str(one) for one in await compare_versions(configuration, 3, 1)] == ["audit_site: N -> (default)"]
    with pytest.raises(NotFoundError):
        await compare_versions(configuration, 1, 4)


async def test_roles_are_a_section(configuration: Configuration) -> None:
    rows = {"modalities": ["CT"], "own_uploads": True}
    document = {"roles": {"ct-desk": {**DESK, "rows": rows}}}
    await apply_document(configuration, document)
    assert (await read_document(configuration))[1]["roles"] == document["roles"]
    assert await apply_document(configuration, document) == Applied(1, ())
    await apply_document(configuration, {"roles": {"ct-desk": DESK, "mr-desk": DESK}})
    await apply_document(configuration, {"roles": {"mr-desk": DESK}})
    own = [role.name for role in await list_roles(configuration.people) if not role.built_in]
    assert own == ["mr-desk"]
    assert [text for _, text in await audited(configuration)][-1] == "Removed"


async def test_settings_are_left_alone_where_a_document_does_not_speak_of_them(configuration: Configuration) -> None:
    await change_settings(configuration, {"ledger_days": 30})
    await apply_document(configuration, {"roles": {"ct-desk": DESK}})
    assert await stored(configuration) == {"ledger_days": 30}


async def test_going_back_takes_roles_along_and_leaves_what_their_page_did(configuration: Configuration) -> None:
    await apply_document(configuration, {"settings": {"ledger_days": 30}, "roles": {"ct-desk": DESK}})
    await add_role(configuration.people, Role("by-hand", frozenset({Permission.STUDY_SEARCH})))
    await roll_back(configuration, 0)
    _, document = await read_document(configuration)
    assert document["settings"] == {}
    assert list(document["roles"]) == ["by-hand"]


async def test_a_role_that_cannot_be_removed_keeps_the_settings_back_too(configuration: Configuration) -> None:
    await apply_document(configuration, {"roles": {"ct-desk": DESK}})
    await add(configuration.people, "bob", "ct-desk")
    for dry_run in (True, False):
        with pytest.raises(ConflictError, match="ct-desk is still given"):
            await apply_document(configuration, {"settings": {"ledger_days": 30}, "roles": {}}, Intent(dry_run=dry_run))
    assert await stored(configuration) == {}


async def test_nobody_gives_rights_by_a_file_that_they_do_not_have(configuration: Configuration) -> None:
    allowed = frozenset({Permission.SETTINGS_MANAGE, Permission.SETTINGS_READ, Permission.USER_MANAGE})
    less = dataclasses.replace(ADA, permissions=allowed)
    with acting_as(less), pytest.raises(NotAllowedError, match="nobody can give rights"):
        await apply_document(configuration, {"roles": {"ct-desk": DESK}})
    with acting_as(dataclasses.replace(ADA, permissions=allowed - {Permission.USER_MANAGE})):
        assert list((await read_document(configuration))[1]) == ["settings"], "roles are not theirs to read"
        with pytest.raises(NotAllowedError, match=r"user\.manage"):
            await apply_document(configuration, {"roles": {}})


async def test_who_gets_which_rights_is_decided_by_who_has_them_all(configuration: Configuration) -> None:
    less = dataclasses.replace(ADA, permissions=frozenset({Permission.SETTINGS_MANAGE, Permission.USER_MANAGE}))
    roles = '{"everybody": "administrator"}'
    for dry_run in (True, False):
        with acting_as(less), pytest.raises(NotAllowedError, match="ldap_roles decides who gets which rights"):
            await change_settings(configuration, {"ldap_roles": roles, "ledger_days": 30}, Intent(dry_run=dry_run))
    assert await stored(configuration) == {}
    await change_settings(configuration, {"ldap_roles": roles})
    with acting_as(less), pytest.raises(NotAllowedError):
        await roll_back(configuration, 0)


async def test_a_setting_says_where_its_value_comes_from(archive: Archive, clock: HeldClock) -> None:
    people = people_of(archive, clock, web_login="always", session_hours=3)
    configuration = Configuration(people, SECTIONS)
    await change_settings(configuration, {"ledger_days": 30, "session_hours": 5})
    number, states = await read_settings(configuration)
    found = {state.entry.name: state for state in states}
    assert number == 1
    assert found["session_hours"].from_outside
    assert (found["session_hours"].value, found["session_hours"].stored) == (3, 5)
    assert not found["ledger_days"].from_outside
    changed_by = found["ledger_days"].changed_by
    assert changed_by is not None
    assert (changed_by.actor, changed_by.number) == ("ada", 1)
    assert found["admin_password"].value == ""
    assert found["audit_site"].stored is None


async def test_a_stored_value_that_newer_code_refuses_is_told_and_is_in_nobodys_way(
    configuration: Configuration,
) -> None:
    await change_settings(configuration, {"ledger_days": 30})
    async with configuration.people.pool.connection() as connection:
        await connection.execute(
            b"""INSERT INTO configuration_version (number, actor_kind, actor, changes, document)
                VALUES (2, 'system', 'an older Fileroom', '[]',
                '{"settings": {"ledger_days": 30, "session_hours": 9999, "gone": 1}}')"""
        )
    _, states = await read_settings(configuration)
    refused = {state.entry.name: state.refused for state in states if state.refused}
    assert refused == {"session_hours": "it is a whole number of hours from 1 to 168"}
    await change_settings(configuration, {"ledger_days": 60})
    await change_settings(configuration, {"gone": None, "session_hours": 8})
    assert await stored(configuration) == {"ledger_days": 60, "session_hours": 8}


async def test_a_masked_secret_says_nothing(configuration: Configuration) -> None:
    assert await apply_document(configuration, {"settings": {"admin_password": "********"}}) == Applied(0, ())


@pytest.mark.parametrize("comment", ["x" * 501, "two\nlines"])
async def test_a_comment_is_one_line(configuration: Configuration, comment: str) -> None:
    with pytest.raises(InvalidRequestError, match="A comment is one line"):
        await change_settings(configuration, {"ledger_days": 30}, Intent(comment))


async def test_the_database_keeps_versions_as_they_are(configuration: Configuration) -> None:
    await change_settings(configuration, {"ledger_days": 30})
    for statement in (
        b"UPDATE configuration_version SET actor = 'nobody'",
        b"DELETE FROM configuration_version",
        b"TRUNCATE configuration_version",
    ):
        async with configuration.people.pool.connection() as connection:
            with pytest.raises(psycopg.errors.RaiseException):
                await connection.execute(statement)


async def test_a_version_that_there_never_was_is_not_expected(configuration: Configuration) -> None:
    with pytest.raises(ConflictError, match="the newest here is 0: the file may be from another archive"):
        await change_settings(configuration, {"ledger_days": 30}, Intent(expected=7))


async def test_reading_needs_one_right_and_changing_another(configuration: Configuration) -> None:
    with acting_as(dataclasses.replace(SYSTEM, permissions=frozenset({Permission.SETTINGS_READ}))):
        await read_settings(configuration)
        with pytest.raises(NotAllowedError, match=r"settings\.manage"):
            await services.change_settings(configuration, {"ledger_days": 30})
        with pytest.raises(NotAllowedError, match=r"settings\.manage"):
            await roll_back(configuration, 0, Intent(dry_run=True))


def test_settings_of_tests_are_not_those_of_the_environment() -> None:
    assert "ledger_days" not in Settings().model_fields_set

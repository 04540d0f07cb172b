"""`/admin/settings`: what is shown, changing with a second look, two people at once, history and the way back."""

from __future__ import annotations

import dataclasses
import re
from html import unescape

import httpx
import pytest

from fileroom.admin.configuration import Intent, change_settings, list_versions, read_document
from fileroom.admin.configuration_sections import SECTIONS, Configuration
from fileroom.admin.people import People
from fileroom.archive.services import Archive
from fileroom.core.access import SYSTEM, Access, ActorKind, Permission, acting_as
from fileroom.db.pool import Pool
from fileroom.web.app import create_router

ADA = Access(ActorKind.PERSON, "ada", frozenset(Permission))
READER = Access(ActorKind.PERSON, "eve", frozenset({Permission.SETTINGS_READ}))


def client_of(archive: Archive, access: Access) -> httpx.AsyncClient:
    router = create_router(archive)

    async def app(scope: object, receive: object, send: object) -> None:
        with acting_as(access):
            await router(scope, receive, send)  # type: ignore[arg-type]

    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost:8080")


@pytest.fixture
def ada(archive: Archive) -> httpx.AsyncClient:
    return client_of(archive, ADA)


@pytest.fixture
def configuration(archive: Archive) -> Configuration:
    return Configuration(People(archive.pool, archive.settings, archive.now), SECTIONS)


async def given(configuration: Configuration, intent: Intent | None = None, **values: object) -> None:
    with acting_as(SYSTEM):
        await change_settings(configuration, values, intent)


async def stored(configuration: Configuration) -> dict[str, object]:
    with acting_as(SYSTEM):
        return dict((await read_document(configuration))[1]["settings"])


def form_of(page: httpx.Response, **typed: str) -> dict[str, str]:
    """What a browser sends of the settings form after somebody has typed these values."""
    fields = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', page.text))
    shown = {name.replace("was.", "set."): value for name, value in fields.items() if name.startswith("was.")}
    changed = {name if name.startswith("default.") else f"set.{name}": value for name, value in typed.items()}
    return {name: unescape(value) for name, value in {**fields, **shown, **changed}.items()}


def changes_in(page: httpx.Response) -> list[tuple[str, ...]]:
    """Name, before and after of each row of the tables of changes."""
    rows = re.findall(
        r"<tr><th scope=\"row\">(.*?)</th>\s*<td class=\"before\">(.*?)</td>\s*<td class=\"after\">(.*?)</td>",
        page.text,
        re.S,
    )
    return [tuple(unescape(re.sub(r"<[^>]+>", "", cell)).strip() for cell in row) for row in rows]


async def test_every_setting_is_shown_with_its_value_and_where_it_comes_from(
    ada: httpx.AsyncClient, configuration: Configuration
) -> None:
    await given(configuration, ledger_days=30)
    page = await ada.get("/admin/settings")
    assert page.status_code == 200
    assert re.search(
        r'name="set.ledger_days" type="number" value="30" required[^>]*min="1" max="3650" step="1"', page.text
    )
    assert "Set by system," in page.text
    assert "back to the default, 90" in page.text
    assert "<option selected>all</option>" in page.text
    assert "<code>FILEROOM_DATABASE_URL</code>" in page.text
    assert "••••••••" in page.text


async def test_a_change_is_reviewed_and_then_applied(ada: httpx.AsyncClient, configuration: Configuration) -> None:
    page = await ada.get("/admin/settings")
    review = await ada.post("/admin/settings/review", data=form_of(page, ledger_days="30", called_aet_check="false"))
    assert changes_in(review) == [("called_aet_check", "default", "false"), ("ledger_days", "default", "30")]
    assert "Associations that begin from now on." in review.text
    assert await stored(configuration) == {}, "nothing yet"
    applied = await ada.post("/admin/settings/apply", data={**form_of(review), "comment": "less disk"})
    assert applied.status_code == 303
    assert applied.headers["location"] == "/admin/settings?done=1"
    assert await stored(configuration) == {"ledger_days": 30, "called_aet_check": False}
    with acting_as(SYSTEM):
        [version] = await list_versions(configuration)
    assert (version.actor, version.comment) == ("ada", "less disk")
    assert "Version 1 holds." in (await ada.get(applied.headers["location"])).text


async def test_what_was_not_touched_is_not_set(ada: httpx.AsyncClient, configuration: Configuration) -> None:
    page = await ada.get("/admin/settings")
    answer = await ada.post("/admin/settings/review", data=form_of(page))
    assert answer.headers["location"] == "/admin/settings?done=same"
    assert "Nothing was different" in (await ada.get("/admin/settings?done=same")).text


async def test_back_to_the_default(ada: httpx.AsyncClient, configuration: Configuration) -> None:
    await given(configuration, ledger_days=30, audit_site="North")
    page = await ada.get("/admin/settings?changed=1")
    assert re.findall(r'class="setting changed[^"]*" id="(\w+)"', page.text) == ["ledger_days", "audit_site"]
    review = await ada.post("/admin/settings/review", data=form_of(page, **{"default.ledger_days": "1"}))
    assert changes_in(review) == [("ledger_days", "30", "default")]
    await ada.post("/admin/settings/apply", data=form_of(review))
    assert await stored(configuration) == {"audit_site": "North"}


async def test_a_wrong_value_is_marked_and_what_was_typed_stays(
    ada: httpx.AsyncClient, configuration: Configuration
) -> None:
    page = await ada.get("/admin/settings")
    typed = form_of(page, ledger_days="0", audit_site="North")
    answer = await ada.post("/admin/settings/review", data=typed, headers={"accept-language": "de"})
    assert answer.status_code == 400
    assert re.search(r'class="setting wrong" id="ledger_days"', answer.text)
    assert "eine ganze Zahl (Tage) von 1 bis 3650" in answer.text
    assert 'name="set.audit_site" value="North"' in answer.text
    assert 'name="set.ledger_days" type="number" value="0"' in answer.text
    assert await stored(configuration) == {}


async def test_the_second_of_two_sees_the_difference_and_applies_on_top(
    ada: httpx.AsyncClient, archive: Archive, configuration: Configuration
) -> None:
    mine = await ada.get("/admin/settings")
    await given(configuration, Intent("by the other"), ledger_days=60, audit_site="North")
    review = await ada.post("/admin/settings/review", data=form_of(mine, ledger_days="30"))
    assert review.status_code == 409
    assert "Meanwhile system has made version 1" in review.text
    assert changes_in(review) == [
        ("audit_site", "default", "North"),
        ("ledger_days", "default", "60"),
        ("ledger_days", "60", "30"),
    ]
    assert "Apply on top of version 1" in review.text
    applied = await ada.post("/admin/settings/apply", data=form_of(review))
    assert applied.headers["location"] == "/admin/settings?done=2"
    assert await stored(configuration) == {"ledger_days": 30, "audit_site": "North"}


async def test_somebody_may_be_quicker_during_the_second_look(
    ada: httpx.AsyncClient, configuration: Configuration
) -> None:
    review = await ada.post("/admin/settings/review", data=form_of(await ada.get("/admin/settings"), ledger_days="30"))
    await given(configuration, ledger_days=60)
    again = await ada.post("/admin/settings/apply", data=form_of(review))
    assert again.status_code == 409
    assert await stored(configuration) == {"ledger_days": 60}


async def test_what_the_environment_sets_cannot_be_changed_here(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    object.__setattr__(archive.settings, "__pydantic_fields_set__", {"ledger_days"})
    page = await client_of(archive, ADA).get("/admin/settings")
    assert "Set by the environment or fileroom.toml (FILEROOM_LEDGER_DAYS): cannot be changed here." in page.text
    assert re.search(r'name="set.ledger_days"[^>]* disabled>', page.text)
    assert 'name="was.ledger_days"' not in page.text


async def test_a_value_that_newer_code_refuses_is_told(ada: httpx.AsyncClient, archive: Archive) -> None:
    async with archive.pool.connection() as connection:
        await connection.execute(
            b"""INSERT INTO configuration_version (number, actor_kind, actor, changes, document)
                VALUES (1, 'system', 'x', '[]', '{"settings": {"session_hours": 9999}}')"""
        )
    page = await ada.get("/admin/settings")
    assert "What was set, 9999, is left out: it is a whole number of hours from 1 to 168." in page.text
    assert re.search(r'name="set.session_hours" type="number" value="12"', page.text)


async def test_settings_are_found_by_words_in_the_readers_language(ada: httpx.AsyncClient) -> None:
    page = await ada.get("/admin/settings?q=ledger days")
    assert re.findall(r'class="setting[^"]*" id="(\w+)"', page.text) == ["ledger_days"]
    page = await ada.get("/admin/settings?q=prüfprotokoll", headers={"accept-language": "de"})
    assert "audit_syslog_url" in re.findall(r'class="setting[^"]*" id="(\w+)"', page.text)
    assert "No setting fits." in (await ada.get("/admin/settings?q=<b>nothing")).text


async def test_settings_are_found_from_everywhere(ada: httpx.AsyncClient, archive: Archive) -> None:
    for words, language in (("ledger_da", "en"), ("Assoziationsbuch", "de")):
        found = await ada.get("/search", params={"q": words}, headers={"accept-language": language})
        assert 'href="/admin/settings#ledger_days"' in found.text
    bob = client_of(archive, Access(ActorKind.PERSON, "bob", frozenset({Permission.STUDY_SEARCH})))
    assert "/admin/settings#" not in (await bob.get("/search?q=ledger_da")).text


async def test_without_a_database_the_page_says_so(archive: Archive) -> None:
    pool = Pool("postgresql://127.0.0.1:1/nowhere", timeout=0.2, min_size=1, max_size=1, open=False)
    await pool.open()
    answer = await client_of(dataclasses.replace(archive, pool=pool), ADA).get("/admin/settings")
    await pool.close()
    assert answer.status_code == 503
    assert "database does not answer" in answer.text


async def test_history_comparison_and_the_way_back(ada: httpx.AsyncClient, configuration: Configuration) -> None:
    assert "Nothing has been changed yet" in (await ada.get("/admin/settings/history")).text
    await given(configuration, Intent("<i>first</i>"), ledger_days=30)
    await given(configuration, ledger_days=60, audit_site="<b>North</b>")
    page = await ada.get("/admin/settings/history?first=0&second=2")
    assert "<i>first" not in page.text
    assert "<b>North" not in page.text
    assert changes_in(page)[:2] == [("audit_site", "default", "<b>North</b>"), ("ledger_days", "default", "60")]
    preview = await ada.get("/admin/settings/history?back=1")
    assert changes_in(preview)[:2] == [("audit_site", "<b>North</b>", "default"), ("ledger_days", "60", "30")]
    assert await stored(configuration) == {"ledger_days": 60, "audit_site": "<b>North</b>"}
    done = await ada.post("/admin/settings/rollback", data={**form_of(preview), "comment": "too much"})
    assert done.headers["location"] == "/admin/settings/history?done=3"
    assert await stored(configuration) == {"ledger_days": 30}
    assert (await ada.get("/admin/settings/history?first=1&second=99")).status_code == 404
    late = await ada.post("/admin/settings/rollback", data={"number": "0", "expected": "2"})
    assert late.status_code == 409
    assert "now there is version 3" in late.text


async def test_the_file_is_what_the_command_line_writes(ada: httpx.AsyncClient, configuration: Configuration) -> None:
    await given(configuration, ledger_days=30)
    file = await ada.get("/admin/settings/file")
    assert file.headers["content-disposition"] == 'attachment; filename="fileroom-config-1.toml"'
    assert "\nledger_days = 30\n" in file.text


async def test_whoever_may_only_read_sees_no_way_to_change(archive: Archive, configuration: Configuration) -> None:
    eve = client_of(archive, READER)
    page = await eve.get("/admin/settings")
    assert "Review changes" not in page.text
    assert "was.ledger_days" not in page.text
    assert (await eve.post("/admin/settings/apply", data={"expected": "0", "set.ledger_days": "1"})).status_code == 403
    assert "[roles" not in (await eve.get("/admin/settings/file")).text
    await given(configuration, ledger_days=30)
    assert 'href="/admin/settings/history?back' not in (await eve.get("/admin/settings/history?back=0")).text
    assert (await client_of(archive, Access(ActorKind.PERSON, "bob")).get("/admin/settings")).status_code == 403


@pytest.mark.parametrize("expected", ["", "x", "-1", "9" * 20])
async def test_a_form_without_a_version_is_refused(ada: httpx.AsyncClient, expected: str) -> None:
    answer = await ada.post("/admin/settings/review", data={"expected": expected, "set.ledger_days": "30"})
    assert answer.status_code == 400

"""The pages of rules: the list in its order, the editor with its trials, what is wrong shown at its place."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from html import unescape

import httpx
import pytest

from fileroom.archive.services import Archive
from fileroom.core.access import SYSTEM, acting_as
from fileroom.routing.destinations import put_destination
from fileroom.routing.rules import get_rule, list_rules, put_rule
from fileroom.web.app import create_app
from stored_objects import make_file, store_file

RULE = {"when": 'Modality == "CT"', "name": "CT", "on": "instance", "to": "PACS", "priority": "100", "enabled": "1"}


@pytest.fixture
async def web(archive: Archive) -> AsyncIterator[httpx.AsyncClient]:
    with acting_as(SYSTEM):
        await put_destination(archive, "PACS", {"kind": "folder", "target": {"path": "PACS"}})
    transport = httpx.ASGITransport(create_app(archive), client=("127.0.0.1", 50000))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as client:
        yield client


def texts(answer: httpx.Response) -> str:
    """The page without its tags."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", answer.text)).split())


async def sent(web: httpx.AsyncClient, path: str, form: dict[str, str]) -> httpx.Response:
    return await web.post(f"/routing/rules/{path}", data=form, headers={"origin": "http://127.0.0.1:8080"})


async def test_an_empty_list_teaches_what_a_rule_is(web: httpx.AsyncClient) -> None:
    answer = await web.get("/routing/rules")
    assert answer.status_code == 200
    assert "There is no rule yet" in texts(answer)


async def test_a_rule_is_written_and_stands_in_the_list(web: httpx.AsyncClient, archive: Archive) -> None:
    answer = await sent(web, "save", RULE)
    assert (answer.status_code, answer.headers["location"]) == (303, "/routing/rules/rule?name=CT&done=1")
    assert "Saved." in texts(await web.get(answer.headers["location"]))
    shown = texts(await web.get("/routing/rules"))
    assert 'Modality == "CT"' in shown
    assert "PACS" in shown
    with acting_as(SYSTEM):
        assert (await get_rule(archive, "CT")).fields["to"] == ["PACS"]


async def test_every_page_that_names_a_rule_leads_to_it(web: httpx.AsyncClient) -> None:
    await sent(web, "save", RULE | {"name": "CT all"})
    for page in ("/routing", "/routing/destinations/PACS", "/search?q=CT+all"):
        links = re.findall(r'href="(/routing/rules/[^"]+)"', (await web.get(page)).text)
        assert links, page
        for link in links:
            answer = await web.get(unescape(link))
            assert (answer.status_code, "CT all" in texts(answer)) == (200, True), f"{page}: {link}"


async def test_what_is_wrong_is_marked_and_nothing_is_lost(web: httpx.AsyncClient, archive: Archive) -> None:
    wrong = RULE | {"when": 'Modality == "CT" && Rws > 3', "description": "<b>kept</b>"}
    answer = await sent(web, "save", wrong)
    assert answer.status_code == 400
    assert "<mark>Rws</mark>" in answer.text
    assert "Did you mean Rows?" in texts(answer)
    assert "&lt;b&gt;kept&lt;/b&gt;" in answer.text
    with acting_as(SYSTEM):
        assert await list_rules(archive) == []


async def test_two_who_edit_at_once(web: httpx.AsyncClient, archive: Archive) -> None:
    await sent(web, "save", RULE)
    with acting_as(SYSTEM):
        await put_rule(archive, "CT", {"when": 'Modality == "MR"', "to": ["PACS"]})
    answer = await sent(web, "save", RULE | {"was": "CT", "version": "1", "when": 'Modality == "US"'})
    assert answer.status_code == 409
    assert 'Modality == "MR"' in texts(answer)
    assert 'name="version" value="2"' in answer.text
    assert (
        await sent(web, "save", RULE | {"was": "CT", "version": "2", "when": 'Modality == "US"'})
    ).status_code == 303


async def test_trials_show_what_would_happen_and_change_nothing(web: httpx.AsyncClient, archive: Archive) -> None:
    with acting_as(SYSTEM):
        await store_file(archive, make_file(StudyDescription="<i>Thorax</i>"))
        await store_file(archive, make_file(SOPInstanceUID="1.2.3.1.1.2", InstanceNumber=2))
    form = RULE | {"when": "InstanceNumber == 2", "study": "1.2.3.1", "days": "3"}
    tried = texts(await sent(web, "try", form))
    assert "1 of 2 objects match." in tried
    assert "InstanceNumber: 1" in tried
    answer = await sent(web, "backtest", form)
    assert "1 of 2 objects in 1 studies would have matched" in texts(answer)
    assert "&lt;i&gt;Thorax&lt;/i&gt;" in answer.text
    assert "Say which study" in texts(await sent(web, "try", RULE))
    with acting_as(SYSTEM):
        assert await list_rules(archive) == []


async def test_order_switch_restore_and_removal(web: httpx.AsyncClient, archive: Archive) -> None:
    for name in ("A", "B"):
        await sent(web, "save", RULE | {"name": name})
    await sent(web, "move", {"name": "B", "to": "earlier"})
    await sent(web, "disable", {"name": "A"})
    with acting_as(SYSTEM):
        assert [(one.name, one.enabled) for one in await list_rules(archive)] == [("B", True), ("A", False)]
    await sent(web, "restore", {"name": "A", "version": "1"})
    await sent(web, "remove", {"name": "B"})
    with acting_as(SYSTEM):
        assert [(one.name, one.enabled) for one in await list_rules(archive)] == [("A", True)]


async def test_a_form_of_another_site_changes_nothing(web: httpx.AsyncClient, archive: Archive) -> None:
    await web.post("/routing/rules/save", data=RULE, headers={"origin": "http://elsewhere"})
    with acting_as(SYSTEM):
        assert await list_rules(archive) == []

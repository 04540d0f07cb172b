"""What services of routing and transform say reaches the page in the reader's language, with the names that it is about."""

from __future__ import annotations

import re
from html import unescape

import httpx
import pytest

from fileroom.archive.services import Archive
from fileroom.routing.destinations import put_destination
from fileroom.routing.rules import put_rule

FOLDER = {"kind": "folder", "target": {"path": "PACS"}}
RULE = {"name": "CT", "when": "true", "on": "instance", "to": "PACS", "priority": "100", "enabled": "1"}
STEP = {"step.more": "", "step.value": "N-", "step.otherwise": "", "step.when": ""}


def texts(answer: httpx.Response) -> str:
    """The page without its tags."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", answer.text)).split())


@pytest.mark.parametrize(
    ("path", "form", "status", "english", "german"),
    [
        (
            "rules/save",
            RULE | {"to": "{who}<b>"},
            400,
            "There is no destination {who}<b>. Add it first.",
            "{who}<b> (destination) gibt es nicht. Legen Sie ihn zuerst an.",
        ),
        (
            "destination/save",
            {"name": "N", "kind": "dicom", "target.node": "CT9", "is_new": "1"},
            400,
            "There is no node CT9. Add it first under Nodes.",
            "Einen Knoten CT9 gibt es nicht. Legen Sie ihn zuerst unter Knoten an.",
        ),
        (
            "destination/save",
            {"name": "N", "kind": "folder", "target.path": "N", "lanes_max": "0", "is_new": "1"},
            400,
            "it is a whole number from 1 to",
            "erwartet wird eine ganze Zahl von 1 bis",
        ),
        (
            "destination/remove",
            {"name": "PACS"},
            409,
            "PACS is still named by",
            "PACS wird noch von",
        ),
        (
            "treatments/save",
            {"name": "a", "is_new": "1", "step.do": "prefix", "step.attribute": "PatentID", **STEP},
            400,
            "There is no attribute PatentID.",
            "Ein Attribut PatentID gibt es nicht.",
        ),
    ],
)
async def test_what_is_refused_is_told_in_the_readers_language(
    client: httpx.AsyncClient, archive: Archive, path: str, form: dict[str, str], status: int, english: str, german: str
) -> None:
    await put_destination(archive, "PACS", FOLDER)
    await put_rule(archive, "all", {"when": "true", "to": ["PACS"]})
    for language, told, other in (("de", german, english), ("en", english, german)):
        answer = await client.post(f"/routing/{path}", data=form, headers={"accept-language": language})
        assert answer.status_code == status
        assert told in texts(answer)
        assert other not in texts(answer)


async def test_a_destination_that_nobody_knows_is_told_in_german(client: httpx.AsyncClient) -> None:
    answer = await client.get("/routing/destinations/PACS9", headers={"accept-language": "de"})
    assert answer.status_code == 404
    assert "Einen Eintrag PACS9 (destination) gibt es nicht." in texts(answer)


async def test_what_a_destination_answers_is_told_in_german(client: httpx.AsyncClient, archive: Archive) -> None:
    await put_destination(archive, "PACS", FOLDER)
    answer = await client.post("/routing/destination/probe", data={"name": "PACS"}, headers={"accept-language": "de"})
    assert "ist beschreibbar" in texts(answer)

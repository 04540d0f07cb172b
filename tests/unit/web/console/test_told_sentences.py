"""What services of routing and transform say reaches the page in the reader's language, with the names that it is about."""

from __future__ import annotations

import re
from html import unescape

import httpx
import pytest

from fileroom.archive.services import Archive
from fileroom.core.access import SYSTEM, acting_as
from fileroom.core.errors import FileroomError
from fileroom.routing.destinations import put_destination, probe_destination, remove_destination
from fileroom.routing.rules import put_rule
from fileroom.routing.treatments import put_treatment
from fileroom.web.console.language import reader_of

GERMAN = {"accept-language": "de"}


def texts(answer: httpx.Response) -> str:
    """The page without its tags."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", answer.text)).split())


async def test_an_unknown_destination_is_told_in_german(client: httpx.AsyncClient) -> None:
    answer = await client.get("/routing/destinations/destination/PACS%7B0%7D", headers=GERMAN)
    assert answer.status_code == 404
    print(texts(answer))

"""The page of schedules: the drawn week, and what its forms do."""

from __future__ import annotations

import httpx

from fileroom.archive.services import Archive
from fileroom.routing.destinations import put_destination
from fileroom.routing.schedules import get_schedule, list_schedules, put_schedule

FORM = {
    "name": "nights & <b>more",
    "windows": "mon-fri 18:00-06:00\r\nsat,sun,holiday 00:00-24:00",
    "holidays": "de-by",
    "dates": "12-24 2026-06-05",
    "zone": "Europe/Berlin",
    "enabled": "1",
}


async def test_schedule_is_added_drawn_and_changed(client: httpx.AsyncClient, archive: Archive) -> None:
    assert "No schedule yet" in (await client.get("/routing/schedules")).text
    answer = await client.post("/routing/schedules/save", data=FORM)
    assert answer.status_code == 303
    made = await get_schedule(archive, FORM["name"])
    assert (made.schedule.holidays, sorted(made.schedule.dates)) == ("DE-BY", ["12-24", "2026-06-05"])
    html = (await client.get("/routing/schedules")).text
    assert "nights &amp; &lt;b&gt;more" in html
    assert html.count('class="week-day') == 8  # Seven days and the scale
    assert html.count('class="now"') == 1
    assert "mon-fri 18:00-06:00\nsat,sun,holiday 00:00-24:00" in html
    changed = {**FORM, "was": FORM["name"], "version": "1", "windows": ""}
    assert (await client.post("/routing/schedules/save", data=changed)).status_code == 303
    assert (await get_schedule(archive, FORM["name"])).schedule.windows == ()
    meanwhile = await client.post("/routing/schedules/save", data=changed | {"zone": "UTC"})
    assert meanwhile.status_code == 409
    assert "was changed by" in meanwhile.text


async def test_what_is_wrong_is_told_and_what_was_typed_stays(client: httpx.AsyncClient, archive: Archive) -> None:
    answer = await client.post("/routing/schedules/save", data={**FORM, "windows": "at night"})
    assert answer.status_code == 400
    assert "at night is no window" in answer.text
    assert ">at night</textarea>" in answer.text
    wrong_zone = await client.post("/routing/schedules/save", data={**FORM, "zone": "Mars"})
    assert "There is no time zone Mars" in wrong_zone.text
    assert await list_schedules(archive) == []


async def test_schedule_in_use_is_not_removed(client: httpx.AsyncClient, archive: Archive) -> None:
    await put_schedule(archive, "nights", {})
    hook = {"kind": "webhook", "target": {"url": "https://example.org/hook"}, "schedule": "nights"}
    await put_destination(archive, "A", hook)
    assert "the destination A" in (await client.get("/routing/schedules")).text
    refused = await client.post("/routing/schedules/remove", data={"name": "nights"})
    assert refused.status_code == 409
    assert "still named by the destination A" in refused.text
    await put_destination(archive, "A", {**hook, "schedule": ""})
    assert (await client.post("/routing/schedules/remove", data={"name": "nights"})).status_code == 303
    assert await list_schedules(archive) == []

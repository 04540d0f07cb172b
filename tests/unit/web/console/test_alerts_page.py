"""The page of alerts: what fires, acknowledging, history, conditions; and the dashboard's warning."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import httpx

from fileroom.archive.services import Archive
from fileroom.core.clock import system_now
from fileroom.routing.alert_rules import AlertKind
from fileroom.routing.alerts import USUAL, alerts_due, list_alerts, list_conditions
from fileroom.routing.destinations import put_destination
from fileroom.routing.troubles import Troubles

FORM = {
    "name": "loops",
    "kind": "routing_loop",
    "above": "0",
    "severity": "critical",
    "window_min": "15",
    "repeat_min": "60",
    "quiet": "",
    "enabled": "1",
}


async def test_alert_is_seen_acknowledged_and_stays_in_the_history(client: httpx.AsyncClient, archive: Archive) -> None:
    assert "No condition yet" in (await client.get("/routing/alerts")).text
    assert (await client.post("/routing/alerts/save", data=FORM)).status_code == 303
    assert "Nothing is alarming." in (await client.get("/routing/alerts")).text
    assert "nobody has acknowledged" not in (await client.get("/system")).text
    troubles = Troubles()
    troubles.note(AlertKind.ROUTING_LOOP, "an object from <b>FAR</b>")
    await troubles.flush(archive.pool, system_now())
    await alerts_due(archive)
    html = (await client.get("/routing/alerts")).text
    assert "an object from &lt;b&gt;FAR&lt;/b&gt;" in html
    assert "1 alert that nobody has acknowledged." in (await client.get("/system")).text
    [alert] = await list_alerts(archive)
    assert '<b class="pressing" title="1 alert that nobody has acknowledged.">1</b>' in (await client.get("/")).text
    done = {"id": str(alert.id), "note": "Cut the circle"}
    assert (await client.post("/routing/alerts/acknowledge", data=done)).status_code == 303
    html = (await client.get("/routing/alerts")).text
    assert "Cut the circle" in html
    assert 'action="/routing/alerts/acknowledge"' not in html
    assert 'class="pressing"' not in html
    later = replace(archive, now=lambda: system_now() + dt.timedelta(hours=1))
    await alerts_due(later)
    html = (await client.get("/routing/alerts")).text
    assert "Nothing is alarming." in html
    assert "Cut the circle" in html  # Among those that were
    gone = await client.post("/routing/alerts/acknowledge", data=done)
    assert (gone.status_code, "no alert" in gone.text) == (404, True)


async def test_conditions_are_changed_by_forms(client: httpx.AsyncClient, archive: Archive) -> None:
    hook = {"kind": "webhook", "target": {"url": "https://example.org/hook"}}
    await put_destination(archive, "chat", hook)
    assert (await client.post("/routing/alerts/usual", data={"form_token": ""})).status_code == 303
    assert len(await list_conditions(archive)) == len(USUAL)
    changed = {
        **FORM,
        "was": "Queue is old",
        "version": "1",
        "kind": "queue_age",
        "above": "1,5",
        "notify": ["chat"],
        "destinations": ["chat"],
    }
    assert (await client.post("/routing/alerts/save", data=changed)).status_code == 303
    one = next(one for one in await list_conditions(archive) if one.name == "Queue is old")
    assert (one.above, one.notify, one.destinations, one.repeat_min) == (1.5, ("chat",), ("chat",), 60)
    wrong = await client.post("/routing/alerts/save", data={**changed, "version": "2", "above": "many"})
    assert (wrong.status_code, "above is a number" in wrong.text, 'value="many"' in wrong.text) == (400, True, True)
    stale = await client.post("/routing/alerts/save", data={**changed, "above": "7"})
    assert stale.status_code == 409
    assert (await client.post("/routing/alerts/remove", data={"name": "Queue is old"})).status_code == 303
    assert len(await list_conditions(archive)) == len(USUAL) - 1

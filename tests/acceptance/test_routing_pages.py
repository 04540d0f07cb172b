"""The map of routing and the delivery ledger, used by mouse in Chromium; what is ordered there happens at real receivers."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import Browser, Page, expect

from acceptance.dicom_files import study_uid
from acceptance.programs.browser import CHROMIUM, chromium
from acceptance.programs.dcmtk import Dcmtk, StoreScp
from acceptance.programs.fileroom import Fileroom
from acceptance.programs.processes import free_ports, wait_until
from acceptance.programs.routing import Routing, node, rule, to_node
from corpus.ct import make_ct_series

pytestmark = pytest.mark.usefixtures("dcmtk_installed")

OBJECTS: Final = 5


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.skip("needs Chromium (Debian package chromium)")
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreScp]:
    with StoreScp(tmp_path_factory.mktemp("receiver"), aet="WS1") as running:
        yield running


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory, receiver: StoreScp) -> Iterator[Fileroom]:
    """Every object goes to a destination where nobody listens, which gives up after one try, and is held for another."""
    folder = tmp_path_factory.mktemp("pages")
    with Fileroom(folder / "room", workers=1, web_workers=1) as running:
        routing = Routing(running)
        routing.add(
            nodes={"WS1": node("WS1", receiver.port), "DEAD": node("DEAD", free_ports(1)[0])},
            destinations={"Station 1": to_node("WS1"), "Dead end": to_node("DEAD", attempts_max=1)},
            rules={"To nobody": rule('Modality == "CT"', "Dead end")},
        )
        files = make_ct_series(folder / "files", OBJECTS, 64, 71)
        assert Dcmtk(running.dicom_port).store(files).returncode == 0
        study = study_uid(files[0])
        wait_until(
            lambda: routing.states(study, "Dead end") == {"failed": OBJECTS}, 30, "dead letters", running.log_tail
        )
        yield running


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    yield context.new_page()
    context.close()


def act(page: Page, action: str, reason: str, **chosen: str) -> None:
    """Press an action of the bar, give a reason on the page that tells what it concerns, and do it."""
    page.locator("#bulk").get_by_role("button", name=action, exact=False).first.click()
    expect(page.locator(".review .large")).to_have_text(str(OBJECTS))
    for name, value in chosen.items():
        page.locator(f"select[name={name}]").select_option(value)
    page.get_by_label("Reason").fill(reason)
    page.locator(".reason button").click()
    expect(page.get_by_role("status").filter(has_text="changed")).to_contain_text(str(OBJECTS))


def states(room: Fileroom, destination: str) -> dict[str, int]:
    rows = room.rows(
        """SELECT d.state, count(*) FROM delivery d JOIN named_entry e ON e.id = d.destination_id
           WHERE e.name = %s GROUP BY d.state""",
        destination,
    )
    return {state: int(count) for state, count in rows}


def test_the_map_shows_who_sends_and_where_it_goes(room: Fileroom, page: Page) -> None:
    page.goto(f"{room.url}/routing")
    rule_box = page.locator(".box", has_text="To nobody")
    expect(rule_box).to_contain_text(f"{OBJECTS} deliveries planned")
    dead = page.locator(".box", has_text="Dead end")
    expect(dead).to_contain_text(f"{OBJECTS} failed")
    expect(dead.locator(".state")).to_have_text("suspect")
    assert page.locator("svg.lines path.look-suspect:not(.still)").count() == 1

    rule_box.hover()  # what it is connected with lights up, the rest steps back
    expect(dead).to_have_class(re.compile(r"\blit\b"))
    expect(page.locator(".box", has_text="Station 1")).not_to_have_class(re.compile(r"\blit\b"))

    dead.get_by_role("link", name=f"{OBJECTS} failed").click()
    expect(page.locator("#ledger tbody tr")).to_have_count(1)


def test_the_map_is_three_lists_on_a_phone(room: Fileroom, page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    page.goto(f"{room.url}/routing")
    expect(page.locator("svg.lines").first).to_be_hidden()
    tops = [page.locator(f"#{name}").bounding_box() for name in ("map-sources", "map-rules", "map-destinations")]
    assert all(first and second and first["y"] < second["y"] for first, second in itertools.pairwise(tops))
    page.get_by_role("link", name="Dead end").click()
    expect(page.locator("#standing")).to_contain_text("Dead letters")
    expect(page.locator("#standing").get_by_role("link", name="To nobody")).to_be_visible()


def test_dead_letters_are_held_released_and_sent_elsewhere_by_mouse(
    room: Fileroom, page: Page, receiver: StoreScp
) -> None:
    page.goto(f"{room.url}/routing/deliveries")
    page.locator(".sum-failed").click()
    expect(page.locator("#ledger tbody tr")).to_have_count(1)
    expect(page.locator(".why")).to_contain_text("could not be reached")

    page.locator("#ledger tbody input[type=checkbox]").check()
    act(page, "Retry", "the cable is in again")  # it is not: they fail once more
    wait_until(lambda: states(room, "Dead end") == {"failed": OBJECTS}, 60, "them to fail again", room.log_tail)

    page.goto(f"{room.url}/routing/deliveries?state=failed&destination=Dead+end")
    page.locator("#ledger tbody tr a").first.click()  # the parcel, object by object
    expect(page.locator("#ledger tbody tr")).to_have_count(OBJECTS)
    page.locator("#mark-all").check()
    act(page, "Send elsewhere", "the archive is moving", to_destination="Station 1")
    wait_until(lambda: len(receiver.received()) == OBJECTS, 30, "the objects at the other station", room.log_tail)
    wait_until(lambda: states(room, "Station 1") == {"delivered": OBJECTS}, 30, "their proof", room.log_tail)
    assert states(room, "Dead end") == {"cancelled": OBJECTS}

    trail = " ".join(text for (text,) in room.rows("SELECT message::text FROM audit_event"))
    assert "the archive is moving" in trail


def test_what_waits_is_held_and_released_for_all_that_fit(room: Fileroom, page: Page, receiver: StoreScp) -> None:
    assert room.command("destination", "hold", "Station 1").returncode == 0
    receiver.clear()
    page.goto(f"{room.url}/routing/deliveries?destination=Dead+end&state=cancelled")
    page.get_by_label("all that fit the search").check()
    act(page, "Retry", "once more")
    wait_until(lambda: states(room, "Dead end") == {"failed": OBJECTS}, 60, "them to fail", room.log_tail)
    room.execute("UPDATE delivery SET state = 'waiting', due_at = now() + interval '1 hour' WHERE state = 'failed'")
    page.goto(f"{room.url}/routing/deliveries?destination=Dead+end&state=waiting")
    page.locator("#ledger tbody input[type=checkbox]").check()
    act(page, "Hold", "not now")
    assert states(room, "Dead end") == {"held": OBJECTS}
    page.goto(f"{room.url}/routing/deliveries?destination=Dead+end&state=held")
    page.get_by_label("all that fit the search").check()
    act(page, "Release", "now")
    assert "held" not in states(room, "Dead end")


def test_the_ledger_leaves_as_a_table(room: Fileroom, page: Page) -> None:
    page.goto(f"{room.url}/routing/deliveries?destination=Dead+end")
    with page.expect_download() as waited:
        page.get_by_role("link", name="CSV").click()
    lines = Path(waited.value.path()).read_text().splitlines()
    assert lines[0].startswith("id,destination,rule,state,cause")
    assert len(lines) == 1 + OBJECTS

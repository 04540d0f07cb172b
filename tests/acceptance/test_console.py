"""The console in a real browser: the study list live while a C-STORE comes, its keyboard, the study page, looks."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Request, expect, sync_playwright
from pydicom import dcmread

from acceptance.conftest import SeriesFactory
from acceptance.programs.dcmtk import Dcmtk
from acceptance.programs.fileroom import Fileroom
from fileroom.demo.studies import write_demo_studies

CHROMIUM = Path("/usr/bin/chromium")
PAGE_BYTES_MAX = 100_000


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fileroom]:
    """A Fileroom of this module's own with the demo studies."""
    folder = tmp_path_factory.mktemp("console")
    write_demo_studies(folder / "demo")
    with Fileroom(folder / "room", workers=1, web_workers=1) as running:
        result = running.command("import", folder / "demo")
        assert result.returncode == 0, result.stderr
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium."""
    if not CHROMIUM.exists():
        pytest.skip("needs Chromium (Debian package chromium)")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield running
        running.close()


class Visit:
    """A page with everything that goes wrong in it."""

    def __init__(self, page: Page, room: Fileroom) -> None:
        self.page = page
        self.troubles: list[str] = []
        page.on("console", lambda message: self.troubles.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.troubles.append(str(error)))
        page.on("request", lambda request: self._own(request.url, room.url))

    def _own(self, url: str, root: str) -> None:
        if not url.startswith((root + "/", "blob:", "data:", "chrome-extension:")):
            self.troubles.append(f"request to {url}")


@pytest.fixture
def visit(browser: Browser, room: Fileroom) -> Iterator[Visit]:
    """A fresh browser profile; the test fails for errors in its console and for requests to other hosts."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, locale="en-GB", base_url=room.url)
    visit = Visit(context.new_page(), room)
    yield visit
    context.close()
    assert visit.troubles == []


def study_of(room: Fileroom, modality: str, description: str) -> str:
    found = room.rows(
        "SELECT study_instance_uid FROM study WHERE %s = ANY(modalities) AND study_description = %s "
        "ORDER BY study_date DESC",
        modality,
        description,
    )
    return str(found[0][0])


def test_the_list_shows_every_study_and_works_without_scripts(visit: Visit, browser: Browser, room: Fileroom) -> None:
    studies = room.rows("SELECT count(*) FROM study")[0][0]
    visit.page.goto("/")
    expect(visit.page.locator("#found tr[data-uid]")).to_have_count(studies)
    expect(visit.page.locator("#live")).to_be_visible()
    without = browser.new_context(java_script_enabled=False, base_url=room.url)
    page = without.new_page()
    page.goto("/?ModalitiesInStudy=MG")
    assert 0 < page.locator("tr[data-uid]").count() < studies
    without.close()


def test_a_study_appears_and_fills_while_it_is_sent(visit: Visit, room: Fileroom, ct_series: SeriesFactory) -> None:
    files = ct_series(4)
    page = visit.page
    page.goto("/")
    page.mouse.move(5, 5)
    expect(page.locator("#live")).to_be_visible()
    began = time.monotonic()
    Dcmtk(room.dicom_port, room.aet).store(files[:2])
    row = page.locator("#arriving tr[data-uid]")
    expect(row).to_have_count(1, timeout=10_000)
    assert time.monotonic() - began < 10
    expect(row.locator(".c-images")).to_contain_text("2")
    expect(row.locator(".state.receiving")).to_be_visible()
    Dcmtk(room.dicom_port, room.aet).store(files[2:])
    expect(row.locator(".c-images")).to_contain_text("4", timeout=10_000)
    expect(row.locator(".state.complete")).to_be_attached(timeout=20_000)


def test_rows_do_not_move_under_the_pointer(visit: Visit, room: Fileroom, ct_series: SeriesFactory) -> None:
    page = visit.page
    page.goto("/")
    expect(page.locator("#live")).to_be_visible()
    target = page.locator("#found tr[data-uid]").nth(3)
    target.hover()
    before = target.bounding_box()
    Dcmtk(room.dicom_port, room.aet).store(ct_series(1))
    expect(page.locator("#fresh")).to_be_visible(timeout=10_000)
    assert target.bounding_box() == before


def test_searching_while_typing_keeps_the_field_and_the_address(visit: Visit) -> None:
    page = visit.page
    page.goto("/")
    field = page.locator('[name="PatientName"]')
    field.fill("sorensen")
    expect(page).to_have_url("/?PatientName=sorensen")
    expect(page.locator("#found tr[data-uid]").first).to_contain_text("Sørensen")
    expect(field).to_be_focused()
    page.reload()
    expect(page.locator('[name="PatientName"]')).to_have_value("sorensen")
    page.locator('[name="StudyDate"]').fill("rubbish")
    expect(page.locator(".none")).to_contain_text("This is no date")


def test_the_list_is_used_by_keyboard_alone(visit: Visit) -> None:
    page = visit.page
    page.goto("/")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    page.keyboard.press("x")
    expect(page.locator("#bulk-bar")).to_be_visible()
    expect(page.locator("#marked")).to_have_text("1")
    page.keyboard.press("Escape")
    expect(page.locator("#bulk-bar")).to_be_hidden()
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    expect(page.locator("#find")).to_be_focused()
    page.keyboard.type("FR-100127")
    expect(page.locator("#found a").first).to_contain_text("Sørensen")
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.locator(".patient-name")).to_be_visible()


def test_marked_studies_are_downloaded(visit: Visit) -> None:
    page = visit.page
    page.goto("/")
    for number in (0, 1):
        page.locator('#found input[name="uid"]').nth(number).check()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download as ZIP").click()
    assert download.value.suggested_filename == "studies.zip"
    assert Path(download.value.path()).read_bytes()[:4] == b"PK\x03\x04"


def test_the_quick_look_scrolls_and_changes_the_window(visit: Visit, room: Fileroom) -> None:
    page = visit.page
    page.goto(f"/studies/{study_of(room, 'CT', 'CT thorax with contrast')}")
    where, window = page.locator("#where"), page.locator("#window")
    expect(where).to_have_text("61 / 120")
    expect(window).not_to_be_empty()
    page.keyboard.press("ArrowDown")
    expect(where).to_have_text("62 / 120")
    film = page.locator("#film")
    film.hover()
    page.mouse.wheel(0, 120)
    expect(where).to_have_text("65 / 120")
    usual = window.text_content()
    box = film.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 300, box["y"] + 200)
    page.mouse.down()
    page.mouse.move(box["x"] + 380, box["y"] + 240, steps=4)
    page.mouse.up()
    expect(window).not_to_have_text(usual or "")
    expect(page.locator("#frame")).to_have_attribute("src", re.compile("window="))
    page.keyboard.press("r")
    expect(window).to_have_text(usual or "")
    assert page.evaluate("document.getElementById('frame').naturalWidth") > 0


def test_reports_attributes_and_priors_are_reached_from_the_study(visit: Visit, room: Fileroom) -> None:
    page = visit.page
    page.goto(f"/studies/{study_of(room, 'CT', 'CT thorax with contrast')}")
    assert page.locator(".priors circle").count() > 2
    page.locator("#series a", has_text="Radiology report").click()
    expect(page.locator(".report")).to_contain_text("Suspicious nodule")
    page.locator("#attributes summary").click()
    page.locator(".filter-rows").fill("patient's name")
    expect(page.locator(".attribute-table tbody tr:visible")).to_have_count(1)
    address = page.url
    page.reload()
    expect(page.locator(".report")).to_contain_text("Suspicious nodule")
    assert page.url == address


def test_the_theme_changes_at_once_and_stays(visit: Visit) -> None:
    page = visit.page
    page.goto("/")
    page.get_by_role("button", name="Dark theme").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("path", ["/", "/system", "/admin/nodes", "study"])
def test_pages_are_light_and_fit_their_width(browser: Browser, room: Fileroom, path: str, width: int) -> None:
    if path == "study":
        path = f"/studies/{study_of(room, 'CT', 'CT thorax with contrast')}"
    context = browser.new_context(viewport={"width": width, "height": 844}, base_url=room.url)
    page = context.new_page()
    sizes: list[int] = []
    page.on("requestfinished", lambda request: sizes.append(_page_bytes(request)))
    page.goto(path, wait_until="load")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    context.close()
    assert 0 < sum(sizes) < PAGE_BYTES_MAX


def _page_bytes(request: Request) -> int:
    """What came for a page over the wire; images are not counted."""
    if request.resource_type == "image":
        return 0
    sizes = request.sizes()
    return int(sizes["responseHeadersSize"] + sizes["responseBodySize"])


def test_script_in_a_patients_name_stays_text(visit: Visit, room: Fileroom, ct_series: SeriesFactory) -> None:
    (file,) = ct_series(1)
    dataset = dcmread(file)
    dataset.PatientName = "<script>alert(1)</script>"
    dataset.StudyDescription = '<img src=x onerror="document.title=1">'
    dataset.save_as(file)
    Dcmtk(room.dicom_port, room.aet).store([file])
    page = visit.page
    for path in ("/", f"/studies/{dataset.StudyInstanceUID}", f"/search?q={dataset.PatientID}"):
        page.goto(path)
        expect(page.locator("main")).to_contain_text("<script>alert(1)")
        assert "Fileroom" in page.title()
        assert page.locator("main img[src='x']").count() == 0


def test_open_pages_do_not_hold_up_the_end(tmp_path: Path, browser: Browser) -> None:
    room = Fileroom(tmp_path, workers=1, web_workers=1)
    room.start()
    context = browser.new_context(base_url=room.url)
    page = context.new_page()
    page.goto("/")
    expect(page.locator("#live")).to_be_visible()
    began = time.monotonic()
    room.stop()
    assert time.monotonic() - began < 8
    context.close()

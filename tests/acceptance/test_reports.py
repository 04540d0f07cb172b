"""Reports written in a real browser: saved while typed, signed, added to, corrected; nothing typed is lost."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import pytest
from playwright.sync_api import Browser, Page, StorageState, expect

from acceptance.programs.browser import CHROMIUM, chromium
from acceptance.programs.fileroom import Fileroom
from fileroom.demo.studies import write_demo_studies

PASSWORD: Final = "correct horse battery staple"
PATIENCE_MS: Final = 60_000
"""Saving by itself takes three seconds; a busy machine takes as long as it likes."""
FINDINGS: Final = "textarea[aria-label=Findings]"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for all."""
    if not CHROMIUM.exists():
        pytest.skip("needs Chromium (Debian package chromium)")
    expect.set_options(timeout=PATIENCE_MS)
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fileroom]:
    """A Fileroom with one study, a radiologist and a physician."""
    folder = tmp_path_factory.mktemp("reports")
    write_demo_studies(folder / "files", only=["ct-chest"])
    settings = {"web_login": "always", "admin_password": PASSWORD}
    with Fileroom(folder / "room", workers=1, web_workers=1, **settings) as running:
        assert running.command("import", folder / "files").returncode == 0
        for login, role, name in (("eve", "radiologist", "Dr. Eve Example"), ("rob", "physician", "Rob Reader")):
            added = running.command("user", "add", login, "--role", role, "--name", name, "--password", PASSWORD)
            assert added.returncode == 0, added.stderr
        yield running


@pytest.fixture(scope="module")
def study(room: Fileroom) -> str:
    """Its UID."""
    return str(room.rows("SELECT study_instance_uid FROM study")[0][0])


@pytest.fixture(scope="module")
def radiologist(browser: Browser, room: Fileroom) -> StorageState:
    """The cookies of Eve, who has logged in."""
    return logged_in(browser, room, "eve")


@pytest.fixture
def page(browser: Browser, radiologist: StorageState) -> Iterator[Page]:
    """A window of Eve's."""
    context = browser.new_context(storage_state=radiologist)
    context.set_default_timeout(PATIENCE_MS)
    yield context.new_page()
    context.close()


def logged_in(browser: Browser, room: Fileroom, login: str) -> StorageState:
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{room.url}/login")
    log_in(page, login)
    page.wait_for_url(f"{room.url}/", timeout=PATIENCE_MS)
    state = context.storage_state()
    context.close()
    return state


def log_in(page: Page, login: str) -> None:
    page.fill("#username", login)
    page.fill("#password", PASSWORD)
    page.press("#password", "Enter")


def begun(page: Page, room: Fileroom, study: str) -> str:
    """Begin a report with headings alone; the address of its page."""
    page.goto(f"{room.url}/reports/new?study={study}")
    page.check("input[name=template][value='']")
    page.click("button.main")
    page.wait_for_url(re.compile(r"/reports/\d+/edit"))
    return page.url.removesuffix("/edit")


def test_a_radiologist_writes_signs_adds_and_corrects(page: Page, room: Fileroom, study: str, browser: Browser) -> None:
    page.goto(f"{room.url}/studies/{study}")
    page.click("text=Write a report")
    page.wait_for_url(re.compile(r"/reports/new"))
    address = begun(page, room, study)
    page.fill(FINDINGS, "No <b>nodule</b>.")
    expect(page.locator("#saved")).to_have_text(re.compile("saved at"))
    page.goto(f"{address}/edit")
    expect(page.locator(FINDINGS)).to_have_value("No <b>nodule</b>.")
    page.fill("textarea[aria-label=Impression]", "Normal chest.")
    page.keyboard.press("Control+s")
    expect(page.locator("#saved")).to_have_text(re.compile("saved at"))
    page.keyboard.press("Control+Enter")
    page.wait_for_url(f"{address}/sign")
    expect(page.locator(".signer")).to_contain_text("Example, Dr. Eve")
    page.keyboard.press("Control+Enter")
    page.wait_for_url(f"{address}?done=signed")
    expect(page.locator(".report-text")).to_contain_text("No <b>nodule</b>.")
    expect(page.locator(".signed")).to_contain_text("Example, Dr. Eve")

    page.fill("#addendum textarea", "Compared with the study of last year.")
    page.click("#addendum button.main")
    expect(page.locator(".addendum")).to_contain_text("Compared with the study of last year.")

    page.goto(f"{address}/edit")
    page.fill(FINDINGS, "One nodule.")
    page.click("#sign")
    page.fill("input[name=reason]", "a nodule was overlooked")
    page.click("button[value=corrected]")
    page.wait_for_url(f"{address}?done=signed")
    expect(page.locator(".report-text")).to_contain_text("One nodule.")
    page.locator("#versions a", has_text="What changed").first.click()
    expect(page.locator("#differences ins").first).to_have_text(re.compile("One"))
    expect(page.locator("#versions li")).to_have_count(4)
    page.goto(f"{room.url}/studies/{study}")
    expect(page.locator("#reports .excerpt").first).to_have_text("Normal chest.")

    reading = browser.new_context(storage_state=logged_in(browser, room, "rob"))
    reader = reading.new_page()
    reader.goto(address)
    expect(reader.locator(".report-text")).to_contain_text("One nodule.")
    expect(reader.get_by_text("Correct", exact=True)).to_have_count(0)
    refused = reader.goto(f"{address}/edit")
    assert refused is not None
    assert refused.status == 403
    hidden = reader.goto(begun(page, room, study))
    assert hidden is not None
    assert hidden.status == 404  # nobody has signed that one
    reading.close()


def test_of_two_windows_the_second_is_told_and_both_texts_are_there(page: Page, room: Fileroom, study: str) -> None:
    address = begun(page, room, study)
    other = page.context.new_page()
    other.goto(f"{address}/edit")
    other.fill(FINDINGS, "from the other window")
    other.keyboard.press("Control+s")
    expect(other.locator("#saved")).to_have_text(re.compile("saved at"))
    page.fill(FINDINGS, "from this window")
    expect(page.locator("#saved")).to_have_text(re.compile("was changed by"))
    page.click("#compare")
    expect(page.locator(FINDINGS)).to_have_value("from this window")
    expect(page.locator("aside")).to_contain_text("from the other window")
    page.click("#save")
    expect(page.locator("#saved")).to_have_text(re.compile("saved at"))
    other.reload()
    expect(other.locator(FINDINGS)).to_have_value("from this window")


def test_what_is_typed_after_the_session_is_over_comes_back_after_the_login(
    page: Page, room: Fileroom, study: str
) -> None:
    address = begun(page, room, study)
    page.context.clear_cookies()
    page.fill(FINDINGS, "typed while nobody was logged in")
    expect(page.locator("#saved")).to_have_text(re.compile("logged out"))
    page.reload()
    log_in(page, "eve")
    page.wait_for_url(f"{address}/edit")
    expect(page.locator(FINDINGS)).to_have_value("typed while nobody was logged in")
    page.keyboard.press("Control+s")
    expect(page.locator("#saved")).to_have_text(re.compile("saved at"))
    kept = room.rows("SELECT sections FROM report_edit WHERE report = %s", int(address.rpartition("/")[2]))[0][0]
    assert "typed while nobody was logged in" in str(kept)

"""Settings of a running Fileroom: changed without a restart, by commands and in two browsers at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect, sync_playwright

from acceptance.programs.dcmtk import Dcmtk
from acceptance.programs.fileroom import Fileroom
from acceptance.programs.processes import wait_until

CHROMIUM = Path("/usr/bin/chromium")
TAKEN_WITHIN_S = 5.0
"""It is about a second; a machine that runs other tests beside gets some more."""


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fileroom]:
    """A Fileroom of this module's own; a setting was changed before it was ever started."""
    room = Fileroom(tmp_path_factory.mktemp("settings"), workers=2, web_workers=2)
    changed = room.command("config", "set", "viewer_name", "Before the start")
    assert changed.returncode == 0, changed.stderr
    with room:
        yield room


def configure(room: Fileroom, *arguments: str | Path) -> str:
    result = room.command("config", *arguments)
    assert result.returncode == 0, result.stderr
    return result.stdout


def pids(room: Fileroom) -> set[int]:
    return {pid for pid, command in room.running_processes().items() if "worker" in command}


def page_of(room: Fileroom) -> str:
    """From whichever web worker answers: each request comes on a connection of its own."""
    return httpx.get(f"{room.url}/admin/settings/file", headers={"connection": "close"}).text


def test_what_was_set_while_it_stood_still_holds_from_the_start(room: Fileroom) -> None:
    assert 'viewer_name = "Before the start"' in page_of(room)
    assert 'viewer_name = "Before the start"' in configure(room, "export")


def test_every_worker_takes_a_change_without_a_restart(room: Fileroom) -> None:
    wrong_title = Dcmtk(room.dicom_port, "SOMEBODYELSE")
    before = pids(room)
    assert wrong_title.echo().returncode != 0
    configure(room, "set", "called_aet_check", "false", "--comment", "a modality that cannot be set")
    wait_until(lambda: wrong_title.echo().returncode == 0, TAKEN_WITHIN_S, "callers of another title let in")
    assert [wrong_title.echo().returncode for _ in range(6)] == [0] * 6, "on each of the workers"
    configure(room, "rollback", "1")
    wait_until(lambda: wrong_title.echo().returncode != 0, TAKEN_WITHIN_S, "callers of another title refused again")
    assert all(wrong_title.echo().returncode for _ in range(6))
    assert pids(room) == before, "nothing was started anew"


def test_a_change_stands_in_the_audit_trail(room: Fileroom) -> None:
    configure(room, "set", "session_hours", "6", "--comment", "shorter shifts")
    found = room.command("audit", "search", "--event", "110113")
    assert "session_hours: (default) -> 6" in found.stdout
    assert "shorter shifts" in found.stdout


def test_a_file_goes_there_and_back(room: Fileroom, tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    configure(room, "set", "ledger_days", "30")
    configure(room, "export", file)
    file.write_text(file.read_text().replace("ledger_days = 30", "ledger_days = 31"))
    assert "ledger_days: 30 -> 31" in configure(room, "apply", file, "--dry-run")
    assert "ledger_days = 30" in page_of(room)
    configure(room, "apply", file)
    wait_until(lambda: "\nledger_days = 31\n" in page_of(room), TAKEN_WITHIN_S, "the file in force")
    stale = room.command("config", "apply", file)
    assert "Nothing changes" in stale.stdout, "the same file again changes nothing"
    file.write_text(file.read_text().replace("ledger_days = 31", "ledger_days = 0"))
    wrong = room.command("config", "apply", file, "--expect", "99")
    assert (wrong.returncode, "a whole number of days" in wrong.stderr) == (2, True)


def test_a_change_reaches_it_after_its_database_died(room: Fileroom) -> None:
    before = room.postgres_pid()
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: before not in room.running_processes(), 30, "the end of the database")
    room.wait_until_ready()
    configure(room, "set", "called_aet_check", "false")
    wrong_title = Dcmtk(room.dicom_port, "SOMEBODYELSE")
    wait_until(lambda: wrong_title.echo().returncode == 0, 30, "callers of another title let in")
    configure(room, "unset", "called_aet_check")


def test_two_administrators_edit_at_once_and_nothing_is_lost(room: Fileroom) -> None:
    """Each in a browser of their own; the second sees what the first has done, and puts theirs on top."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        first, second = (browser.new_context(base_url=room.url, locale="en-GB").new_page() for _ in range(2))
        for page in (first, second):
            page.goto("/admin/settings")
        change(first, audit_site="North", ledger_days="60")
        expect(first.locator("p[role=status]")).to_contain_text("holds")
        second.fill("#set-ledger_days", "45")
        second.get_by_role("button", name="Review changes").click()
        conflict = second.get_by_role("alert")
        expect(conflict).to_contain_text("Somebody else was quicker")
        expect(conflict.locator("tr", has_text="audit_site")).to_contain_text("North")
        expect(conflict.locator("tr", has_text="ledger_days")).to_contain_text("60")
        second.get_by_role("button", name="Apply on top of version").click()
        expect(second.locator("p[role=status]")).to_contain_text("holds")
        second.goto("/admin/settings?changed=1")
        expect(second.locator("#set-ledger_days")).to_have_value("45")
        expect(second.locator("#set-audit_site")).to_have_value("North")
        take_back(second)
        browser.close()
    assert "ledger_days = 60" in configure(room, "export")


def change(page: Page, **values: str) -> None:
    for name, value in values.items():
        page.fill(f"#set-{name}", value)
    page.get_by_role("button", name="Review changes").click()
    page.get_by_label("Why?").fill("in a browser")
    page.get_by_role("button", name="Apply").click()


def take_back(page: Page) -> None:
    page.goto("/admin/settings/history")
    page.get_by_role("link", name="Take this version back").click()
    expect(page.locator("#back tr", has_text="ledger_days")).to_contain_text("60")
    page.get_by_role("button", name="Go back to version").click()
    expect(page.locator("p[role=status]")).to_contain_text("holds")

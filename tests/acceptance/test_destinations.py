"""Destinations against independent programs: Orthanc's STOW-RS, nginx that wants our certificate; the pages by mouse."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from acceptance.programs.browser import CHROMIUM, chromium
from acceptance.programs.fileroom import Fileroom
from acceptance.programs.nginx import Nginx, nginx_program
from acceptance.programs.orthanc import DICOMWEB_PLUGIN, Orthanc, orthanc_program
from acceptance.programs.processes import LOOPBACK, free_ports
from fileroom.routing.contract import DestinationContract
from fileroom.routing.stow_destination import STOW
from tls_material import authority


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    if orthanc_program() is None or not DICOMWEB_PLUGIN.exists():
        pytest.skip("needs Orthanc (Debian packages orthanc and orthanc-dicomweb)")
    with Orthanc(tmp_path_factory.mktemp("receiver")) as running:
        yield running


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fileroom]:
    with Fileroom(tmp_path_factory.mktemp("destinations"), workers=1, web_workers=1) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.skip("needs Chromium (Debian package chromium)")
    with chromium() as running:
        yield running


class TestStowToOrthanc(DestinationContract):
    kind = STOW

    @pytest.fixture
    def target(self, receiver: Orthanc) -> Iterator[Mapping[str, Any]]:
        self.receiver = receiver
        yield {"url": receiver.dicomweb, "objects_max": 2}
        for study in receiver.get("/studies"):
            receiver.rest.delete(f"/studies/{study}").raise_for_status()

    async def received(self, target: Mapping[str, Any]) -> list[str]:
        return sorted(one["MainDicomTags"]["SOPInstanceUID"] for one in self.receiver.get("/instances?expand"))

    def gone(self, target: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**target, "url": f"http://{LOOPBACK}:9/dicom-web"}


def run(room: Fileroom, *arguments: str) -> str:
    """A command that must succeed; what it prints."""
    result = room.command(*arguments)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_our_certificate_is_shown_where_it_is_wanted(room: Fileroom, receiver: Orthanc, tmp_path: Path) -> None:
    if nginx_program() is None:
        pytest.skip("needs nginx (Debian package nginx)")
    root = authority()
    certificate, key = root.issue("proxy").files(tmp_path, "proxy")
    ours, our_key = root.issue("fileroom").files(tmp_path, "ours")
    (tmp_path / "root.crt").write_text(root.pem)
    port = free_ports(1)[0]
    more = (
        f"listen {LOOPBACK}:{port} ssl; ssl_certificate {certificate}; ssl_certificate_key {key}; "
        f"ssl_client_certificate {tmp_path}/root.crt; ssl_verify_client on; client_max_body_size 0; "
        f"location / {{ proxy_pass {receiver.url}; }}"
    )
    url = f"https://{LOOPBACK}:{port}/dicom-web"
    with Nginx(tmp_path / "nginx", tmp_path, 1, more):
        run(room, "destination", "add", "stranger", "--stow", url)
        assert "not trusted" in room.command("destination", "probe", "stranger").stderr
        run(room, "certificate", "trust", "root", str(tmp_path / "root.crt"))
        run(room, "destination", "add", "silent", "--stow", url, "--set", "trust=own")
        assert room.command("destination", "probe", "silent").returncode == 1
        run(room, "certificate", "add", "ours", str(ours), "--key-file", str(our_key), "--use", "calls")
        run(room, "destination", "add", "known", "--stow", url, "--set", "trust=own", "--set", "show_certificate=yes")
        assert "answers to searches" in run(room, "destination", "probe", "known")


def test_a_destination_by_mouse(room: Fileroom, browser: Browser) -> None:
    page = browser.new_page(base_url=room.url)
    page.goto("/routing/destinations")
    page.get_by_role("link", name="Webhook").click()
    page.get_by_label("Name", exact=True).fill("desk")
    page.get_by_label("Address").fill("ftp://x")
    page.get_by_label("Secret").fill("of many characters, yes")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("url")
    page.get_by_label("Address").fill(f"http://{LOOPBACK}:9/hook")
    page.get_by_label("Secret").fill("of many characters, yes")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name="desk")).to_be_visible()
    assert "of many characters" not in page.content()
    page.get_by_role("button", name="Ask whether it is there").click()
    expect(page.locator("p[role=status]")).to_contain_text("cannot be reached")
    page.get_by_role("button", name="Hold").click()
    expect(page.get_by_role("button", name="Release")).to_be_visible()
    page.get_by_label("Description").fill("the desk's own program")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("p[role=status]")).to_contain_text("holds")
    page.get_by_role("link", name="Destinations").click()
    expect(page.get_by_role("row", name="desk")).to_contain_text("the desk's own program")
    page.close()
    (found,) = [one for one in json.loads(run(room, "destination", "list", "--json")) if one["name"] == "desk"]
    assert (found["hold"], found["target"]["secret"]) == (True, "secret")

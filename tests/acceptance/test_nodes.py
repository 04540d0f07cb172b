"""Nodes as an administrator and as devices know them: DCMTK and pynetdicom call and are called, Chromium opens the pages."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from pydicom import dcmread
from pydicom.uid import JPEG2000Lossless, RLELossless
from pynetdicom import AE
from pynetdicom.sop_class import CTImageStorage, Verification

from acceptance.conftest import SeriesFactory
from acceptance.programs.browser import CHROMIUM, chromium
from acceptance.programs.dcmtk import Dcmtk, StoreScp
from acceptance.programs.fileroom import Fileroom
from acceptance.programs.processes import LOOPBACK, free_ports, wait_until


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.skip("needs Chromium (Debian package chromium)")
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fileroom]:
    """A Fileroom of this module's own, with several workers, each of which must hear of every change."""
    with Fileroom(tmp_path_factory.mktemp("nodes"), workers=2, web_workers=1) as running:
        yield running


def fileroom(room: Fileroom, *arguments: str) -> str:
    """A command that must succeed; what it prints."""
    result = room.command(*arguments)
    assert result.returncode == 0, result.stderr
    return result.stdout


def add(room: Fileroom, aet: str, port: int = 104, **fields: str) -> None:
    sets = [part for name, value in fields.items() for part in ("--set", f"{name}={value}")]
    fileroom(room, "node", "add", aet.lower(), "--aet", aet, "--host", LOOPBACK, "--port", str(port), *sets)


@dataclasses.dataclass
class Device:
    """A modality made with pynetdicom, which calls from an address of its own."""

    room: Fileroom
    aet: str
    address: str = LOOPBACK

    def associate(self, *contexts: tuple[str, list[str]]) -> Any:
        entity = AE(ae_title=self.aet)
        entity.add_requested_context(Verification)
        for sop_class, syntaxes in contexts:
            entity.add_requested_context(sop_class, syntaxes)
        return entity.associate(LOOPBACK, self.room.dicom_port, ae_title=self.room.aet, bind_address=(self.address, 0))

    def is_let_in(self) -> bool:
        association = self.associate()
        if association.is_established:
            association.release()
        return bool(association.is_released)


def advice(room: Fileroom, aet: str, cause: str = "") -> str:
    """What the ledger says of the last call of a title that ended for such a cause."""
    statement = """SELECT id FROM association WHERE calling_aet = %s AND cause = %s AND ended_at IS NOT NULL
                   ORDER BY began_at DESC"""
    wait_until(lambda: bool(room.rows(statement, aet, cause)), 10, "the ledger", room.log_tail)
    return " ".join(fileroom(room, "associations", "show", str(room.rows(statement, aet, cause)[0][0])).split())


def test_a_node_comes_from_its_addresses_alone_and_a_disabled_one_not_at_all(room: Fileroom) -> None:
    add(room, "MR1", calling_from="127.0.0.0/30")
    assert Device(room, "MR1", "127.0.0.2").is_let_in()
    assert not Device(room, "MR1", "127.0.0.9").is_let_in()
    assert ["MR1", "127.0.0.9"] in [[one["aet"], one["host"]] for one in held(room)]
    fileroom(room, "node", "approve", "MR1", "127.0.0.9")
    assert Device(room, "MR1", "127.0.0.9").is_let_in()
    fileroom(room, "node", "disable", "mr1")
    assert not Device(room, "MR1", "127.0.0.2").is_let_in()
    assert "is disabled" in advice(room, "MR1", "node disabled")
    fileroom(room, "node", "enable", "mr1")
    assert Device(room, "MR1", "127.0.0.2").is_let_in()


def held(room: Fileroom) -> list[dict[str, Any]]:
    return list(json.loads(fileroom(room, "node", "held", "--json")))


def test_an_open_association_of_a_node_that_is_disabled_ends_in_a_second_or_so(room: Fileroom) -> None:
    add(room, "US1")
    association = Device(room, "US1").associate()
    assert association.send_c_echo().Status == 0
    fileroom(room, "node", "disable", "us1")
    association.join(10)
    assert association.is_aborted
    assert "is disabled" in advice(room, "US1", "node disabled")


def test_storescu_is_held_to_the_nodes_transfer_syntaxes(
    room: Fileroom, dcmtk_installed: None, ct_series: SeriesFactory, tmp_path: Path
) -> None:
    [plain] = ct_series(1)
    packed = tmp_path / "rle.dcm"
    dataset = dcmread(plain)
    dataset.compress(RLELossless)
    dataset.save_as(packed)
    device = Dcmtk(room.dicom_port, room.aet, "CT1")
    add(room, "CT1", accept_syntaxes=JPEG2000Lossless)
    refused = device.store([packed], "-xr", "-R")
    assert refused.returncode != 0 or "No presentation context" in refused.stderr + refused.stdout
    assert room.instance_count() == 0
    said = advice(room, "CT1")
    assert "RLE Lossless" in said
    assert "allow this transfer syntax under Nodes > CT1" in said
    fileroom(room, "node", "edit", "ct1", "--set", f"accept_syntaxes={RLELossless}")
    assert device.store([packed], "-xr", "-R").returncode == 0
    assert room.rows("SELECT transfer_syntax_uid FROM instance") == [(str(RLELossless),)]
    both = Device(room, "CT1").associate((CTImageStorage, ["1.2.840.10008.1.2.1", str(RLELossless)]))
    chosen = {str(c.abstract_syntax): str(c.transfer_syntax[0]) for c in both.accepted_contexts}
    both.release()
    assert chosen[CTImageStorage] == RLELossless  # its own preference, before ours


def test_a_node_is_answered_in_its_character_set(
    room: Fileroom, dcmtk_installed: None, ct_series: SeriesFactory, tmp_path: Path
) -> None:
    [path] = ct_series(1)
    dataset = dcmread(path)
    dataset.SpecificCharacterSet, dataset.PatientName, dataset.PatientID = "ISO_IR 192", "MÜLLER^Jörg", "CHARSET1"
    dataset.save_as(path)
    assert Dcmtk(room.dicom_port, room.aet).store([path]).returncode == 0
    add(room, "OLD1", charset="ISO_IR 100")
    keys = {"PatientID": "CHARSET1", "PatientName": "", "SpecificCharacterSet": "ISO_IR 192"}
    answers = {}
    for aet in ("OLD1", "MODERN"):
        [answers[aet]] = Dcmtk(room.dicom_port, room.aet, aet).find(tmp_path / aet, "STUDY", keys)
    assert answers["OLD1"].SpecificCharacterSet == "ISO_IR 100"
    assert "MÜLLER^Jörg".encode("latin-1") in (tmp_path / "OLD1" / "rsp0001.dcm").read_bytes()
    assert answers["MODERN"].SpecificCharacterSet == "ISO_IR 192"
    assert str(answers["OLD1"].PatientName) == str(answers["MODERN"].PatientName) == "MÜLLER^Jörg"


def test_roles_and_the_number_of_associations_hold_in_every_worker(room: Fileroom, dcmtk_installed: None) -> None:
    add(room, "XA1", roles="send", associations_max="2")
    refused = Dcmtk(room.dicom_port, room.aet, "XA1")._run("findscu", ["-S", "-k", "QueryRetrieveLevel=STUDY"])
    assert refused.returncode != 0
    assert "roles of its node" in advice(room, "XA1")
    open_ones = [Device(room, "XA1").associate() for _ in range(5)]
    assert sum(one.is_established for one in open_ones) == 2
    assert {one.acceptor.primitive.result for one in open_ones if one.is_rejected} == {2}
    for one in open_ones:
        if one.is_established:
            one.release()
    wait_until(Device(room, "XA1").is_let_in, 10, "a place that is free again", lambda: "")


def test_an_echo_says_in_plain_words_why_there_was_no_answer(room: Fileroom, dcmtk_installed: None) -> None:
    port = free_ports(1)[0]
    add(room, "GONE", port)
    result = room.command("node", "echo", "gone")
    assert result.returncode == 1
    assert f"nothing listens on port {port}" in result.stderr
    add(room, "FILEROOM", room.dicom_port, echo_interval_s="10")
    assert "answered in" in fileroom(room, "node", "echo", "fileroom")
    room.execute("UPDATE node_echo_due SET due_at = now()")  # its ten seconds have passed
    wait_until(lambda: echoes(room) == 2, 10, "the scheduled echo", lambda: str(echoes(room)))


def echoes(room: Fileroom) -> int:
    return int(
        room.rows("SELECT count(*) FROM node_echo e JOIN node n ON n.id = e.node_id WHERE n.aet = 'FILEROOM'")[0][0]
    )


def test_an_order_to_send_survives_a_restart(
    room: Fileroom, dcmtk_installed: None, ct_series: SeriesFactory, tmp_path: Path, browser: Browser
) -> None:
    files = ct_series(4)
    study = str(dcmread(files[0]).StudyInstanceUID)
    assert Dcmtk(room.dicom_port, room.aet).store(files).returncode == 0
    with StoreScp(tmp_path / "slow", "--sleep-after", "1", aet="SLOW") as slow:
        add(room, "SLOW", slow.port)
        page = browser.new_page(base_url=room.url)
        page.goto(f"/studies/{study}")
        page.get_by_role("link", name="Send to a node").click()
        page.get_by_label("slow").check()
        page.get_by_role("button", name="Send", exact=True).click()
        wait_until(lambda: bool(slow.received()), 15, "the first object", room.log_tail)
        room.stop()
        assert len(slow.received()) < len(files)
        room.start()
        wait_until(lambda: len(slow.received()) == len(files), 30, "the other objects", room.log_tail)
        page.reload()
        expect(page.get_by_text("All objects arrived")).to_be_visible(timeout=10_000)
        page.close()
    assert room.rows("SELECT count(*) FROM audit_event WHERE event = '110106' AND %s = ANY(study_uids)", study) == [
        (1,)
    ]


class Visit:
    """A page with everything that goes wrong in it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.troubles: list[str] = []
        page.on("pageerror", lambda error: self.troubles.append(str(error)))


@pytest.fixture
def page(browser: Browser, room: Fileroom) -> Iterator[Page]:
    context = browser.new_context(locale="en-GB", base_url=room.url, viewport={"width": 1280, "height": 900})
    visit = Visit(context.new_page())
    yield visit.page
    context.close()
    assert visit.troubles == []


def test_an_administrator_approves_edits_echoes_and_imports_on_the_page(page: Page, room: Fileroom) -> None:
    add(room, "WS9", free_ports(1)[0])
    fileroom(room, "node", "edit", "ws9", "--set", "calling_from=127.0.0.1")
    assert not Device(room, "WS9", "127.0.0.8").is_let_in()
    room.execute("INSERT INTO held_caller (aet, host) VALUES ('NEW9', '10.9.9.9'), ('NOISE', '10.9.9.8')")
    page.goto("/admin/nodes")
    page.locator("form.held", has_text="NEW9").get_by_role("button", name="Approve").click()
    page.locator("form.held", has_text="NOISE").get_by_role("button", name="Ignore").click()
    page.locator("form.held", has_text="WS9").get_by_role("button", name="Let it call from here too").click()
    expect(page.locator("form.held:visible")).to_have_count(0)
    assert Device(room, "WS9", "127.0.0.8").is_let_in()
    row = page.locator("li[data-node]", has_text="WS9")
    row.get_by_role("button", name="Echo now").click()
    expect(row.locator(".node-why")).to_contain_text("nothing listens")
    assert "/admin/nodes/" not in page.url
    expect(page.locator("li[data-node]", has_text="NEW9")).to_be_visible()

    row.get_by_role("link").click()
    fileroom(room, "node", "edit", "ws9", "--set", "location=Room 1", "--set", "associations_max=3")
    page.get_by_label("Description").fill("Reading <b>room</b>")
    page.get_by_label("Associations at a time").fill("7")
    page.get_by_role("button", name="Save").click()
    conflict = page.locator("#conflict")
    expect(conflict).to_contain_text("Room 1")
    expect(conflict.locator("tr", has_text="Associations at a time")).to_contain_text("7")
    expect(page.get_by_label("Location")).to_have_value("Room 1")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Done.")).to_be_visible()
    shown = json.loads(fileroom(room, "node", "show", "ws9", "--json"))
    assert (shown["location"], shown["associations_max"], shown["description"]) == ("Room 1", 7, "Reading <b>room</b>")

    page.goto("/admin/nodes")
    page.locator("#file-text").fill("Station;AE Title;IP Address;Port\nus9;US9;10.1.1.1;104\nws9;WS9;127.0.0.1;11999\n")
    page.get_by_role("button", name="Show what would change").click()
    expect(page.locator("table.changes")).to_contain_text("11999")
    assert json.loads(fileroom(room, "node", "show", "ws9", "--json"))["port"] != 11999
    page.get_by_role("button", name="Import 2 nodes").click()
    expect(page.locator("li[data-node]", has_text="US9")).to_be_visible()
    assert json.loads(fileroom(room, "node", "show", "ws9", "--json"))["port"] == 11999


@pytest.mark.parametrize("path", ["/admin/nodes", "/admin/nodes/node?name=long", "/studies/sent", "/admin/nodes/node"])
def test_the_pages_fit_a_telephone(browser: Browser, room: Fileroom, path: str) -> None:
    if "long" in path and room.command("node", "show", "long").returncode:
        name, host = "long", "workstation-with-a-very-long-name.radiology.hospital.example"
        fileroom(
            room, "node", "add", name, "--aet", "LONG", "--host", host, "--port", "104", "--set", "comment=" + "x" * 300
        )
    context = browser.new_context(viewport={"width": 390, "height": 844}, base_url=room.url)
    page = context.new_page()
    page.goto(path)
    too_wide = """() => [...document.querySelectorAll("main *")].filter((one) => one.getBoundingClientRect().right > 391
        && !one.closest(".scroll-x, .tabs")).map((one) => one.outerHTML.slice(0, 80))"""
    assert page.evaluate(too_wide) == []
    context.close()

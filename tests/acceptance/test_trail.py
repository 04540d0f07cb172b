"""Associations, audit trail and history as an administrator meets them: DCMTK calls, workers are killed, Chromium looks.

One Fileroom for the module; the tests of bad days come last and leave it running.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import imagecodecs
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from pydicom import dcmread
from pydicom.encaps import encapsulate

from acceptance.conftest import SeriesFactory
from acceptance.dicom_files import read_part10, study_uid
from acceptance.programs.dcmtk import Dcmtk, StoreScp
from acceptance.programs.fileroom import ASSOCIATION_WORKER, Fileroom
from acceptance.programs.processes import wait_until
from acceptance.programs.raw_scu import RawAssociation
from corpus.ct import CT_IMAGE_STORAGE

CHROMIUM = Path("/usr/bin/chromium")
EXPLICIT_LE = "1.2.840.10008.1.2.1"
LEDGER_S = 20.0
"""The ledger is a second behind; what a dead process left open is closed within five."""
RECOVERY_S = 60.0
JPEG_2000_ONLY = """
[[TransferSyntaxes]]
[JPEG2000]
TransferSyntax1 = JPEG2000LosslessOnly
[[PresentationContexts]]
[CT]
PresentationContext1 = CTImageStorage\\JPEG2000
[[Profiles]]
[Default]
PresentationContexts = CT
"""


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory, dcmtk_installed: None) -> Iterator[Fileroom]:
    """A Fileroom of this module's own, in which killed workers are no harm to others."""
    with Fileroom(tmp_path_factory.mktemp("trail"), workers=1, web_workers=1) as running:
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


@pytest.fixture
def page(browser: Browser, room: Fileroom) -> Iterator[Page]:
    """A page whose console must stay without errors."""
    context = browser.new_context(viewport={"width": 1300, "height": 900}, locale="en-GB", base_url=room.url)
    page = context.new_page()
    troubles: list[str] = []
    page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    yield page
    context.close()
    assert troubles == []


def newest(room: Fileroom, aet: str) -> tuple[int, str]:
    """Number and outcome of the latest association with a peer; 0 where there is none."""
    rows = room.rows(
        "SELECT id, outcome FROM association WHERE %s IN (calling_aet, called_aet) ORDER BY began_at DESC LIMIT 1", aet
    )
    return (int(rows[0][0]), str(rows[0][1])) if rows else (0, "")


def await_outcome(room: Fileroom, aet: str, outcome: str) -> int:
    wait_until(lambda: newest(room, aet)[1] == outcome, LEDGER_S, f"{aet}: {outcome}", lambda: str(newest(room, aet)))
    return newest(room, aet)[0]


def jpeg_2000(path: Path, target: Path) -> Path:
    """The same CT image in JPEG 2000."""
    image = dcmread(path)
    image.PixelData = encapsulate([imagecodecs.jpeg2k_encode(image.pixel_array, reversible=True, codecformat="j2k")])
    image["PixelData"].is_undefined_length = True
    image.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.90"
    image.save_as(target)
    return target


# --- what failed, in sentences ---


def test_a_device_that_proposes_only_jpeg_2000_is_told_with_the_way_out(
    room: Fileroom, page: Page, ct_series: SeriesFactory, tmp_path: Path
) -> None:
    taken = room.command(
        "node", "add", "CT 2000", "--aet", "CT2000", "--host", "127.0.0.1", "--port", "104",
        "--set", f"accept_syntaxes={EXPLICIT_LE}",
    )  # fmt: skip
    assert taken.returncode == 0, taken.stderr
    configuration = tmp_path / "storescu.cfg"
    configuration.write_text(JPEG_2000_ONLY)
    image = jpeg_2000(ct_series(1)[0], tmp_path / "j2k.dcm")
    device = Dcmtk(room.dicom_port, room.aet, "CT2000")
    assert device.store([image], "-xf", str(configuration), "Default").returncode != 0
    number = await_outcome(room, "CT2000", "connection lost")  # DCMTK says no farewell then
    page.goto("/admin/associations?aet=CT2000")
    sentence = "CT2000 proposed only JPEG 2000 (Lossless Only) for CT Image Storage, which is not accepted from it."
    expect(page.locator("#associations")).to_contain_text(sentence)
    page.locator(f'#associations [data-association="{number}"] .when a').click()
    expect(page.locator(".advice")).to_contain_text(sentence)
    expect(page.locator(".advice")).to_contain_text("Allow it under Nodes > CT2000 > Transfer syntaxes")
    expect(page.locator("#contexts")).to_contain_text("none of these transfer syntaxes")
    page.get_by_role("link", name="To its node").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("CT 2000")
    page.context.add_cookies([{"name": "fileroom_language", "value": "de", "url": room.url}])
    page.goto(f"/admin/associations/{number}")
    expect(page.locator(".advice")).to_contain_text(
        "CT2000 schlug für CT Image Storage nur JPEG 2000 (Lossless Only) vor"
    )


def test_an_aborted_association_and_our_own_calls_are_listed(
    room: Fileroom, page: Page, ct_series: SeriesFactory, tmp_path: Path
) -> None:
    files = ct_series(2)
    Dcmtk(room.dicom_port, room.aet, "ABORTER").store(files, "--abort")
    await_outcome(room, "ABORTER", "aborted by peer")
    with StoreScp(tmp_path, aet="OUTSIDE", bit_preserving=False) as receiver:
        image = jpeg_2000(files[0], tmp_path / "j2k.dcm")
        to = ("127.0.0.1", str(receiver.port), "--aec", "OUTSIDE")
        assert room.command("echo", *to).returncode == 0
        await_outcome(room, "OUTSIDE", "released")
        refused = room.command("send", *to[:2], image, *to[2:])
        assert refused.returncode == 1
        await_outcome(room, "OUTSIDE", "aborted by us")
    page.goto("/admin/associations?outcome=failed")
    listed = page.locator("#associations")
    expect(listed).to_contain_text("ABORTER broke the association off")
    expect(listed).to_contain_text("OUTSIDE does not take CT Image Storage as JPEG 2000 (Lossless Only).")
    page.goto("/admin/associations?aet=OUTSIDE")
    expect(page.locator("#associations tr[data-association]")).to_have_count(2)
    expect(listed).to_contain_text("to ask whether it is there")


# --- live ---


def test_an_open_association_is_on_top_and_its_counts_move(
    room: Fileroom, page: Page, ct_series: SeriesFactory
) -> None:
    parts = [read_part10(path) for path in ct_series(3)]
    page.goto("/admin/associations")
    expect(page.locator("#live")).to_contain_text("No association is open.")
    device = RawAssociation(room.dicom_port, [(CT_IMAGE_STORAGE, EXPLICIT_LE)], calling_aet="SLOWLY")
    row = page.locator("#live tr[data-association]", has_text="SLOWLY")
    expect(row).to_have_count(1, timeout=10_000)
    for count, part in enumerate(parts, 1):
        assert device.store(CT_IMAGE_STORAGE, part.sop_instance_uid, EXPLICIT_LE, part.dataset).status == 0
        expect(row.locator("td.right.number")).to_have_text(str(count), timeout=10_000)
    device.release()
    expect(row).to_have_count(0, timeout=10_000)
    page.get_by_role("link", name="There are newer ones").click()
    expect(page.locator("#associations tr[data-association]").first).to_contain_text("SLOWLY")


# --- the trail and the history ---


def test_who_looked_at_this_patient(room: Fileroom, page: Page, ct_series: SeriesFactory) -> None:
    files = ct_series(1)
    patient = str(dcmread(files[0]).PatientID)
    Dcmtk(room.dicom_port, room.aet, "CT7").store(files)
    wait_until(lambda: newest(room, "CT7")[1] not in ("", "open"), LEDGER_S, "the association in the ledger")
    uid = study_uid(files[0])
    page.goto(f"/studies/{uid}")
    expect(page.locator(".time-line")).to_contain_text("1 object came from CT7")
    page.get_by_role("link", name="Who looked at this study").click()
    expect(page).to_have_url(f"/admin/audit?study={uid}")
    expect(page.locator("#events")).to_contain_text("viewed")
    page.get_by_label("Study Instance UID").fill("")
    page.get_by_label("Patient ID").fill(patient)
    page.get_by_role("button", name="Search", exact=True).click()
    found = page.locator("#events tbody tr")
    expect(found.first).to_contain_text(patient)
    sent = found.filter(has_text="CT7 sent")
    expect(sent).to_contain_text(f"of patient {patient} to Fileroom")
    sent.locator(".sentence a").click()
    expect(page.locator(".message")).to_contain_text(f'ParticipantObjectID="{patient}"')
    command = room.command("audit", "search", "--patient", patient, "--event", "receive")
    assert f"of patient {patient} to Fileroom" in command.stdout
    page.goto(f"/studies/{uid}/history")
    page.locator(".time-line a", has_text="1 object came from CT7").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(f"CT7 called {room.aet}")
    expect(page.locator("#operations")).to_contain_text("C-STORE")


def test_the_chain_is_checked_by_a_click(room: Fileroom, page: Page) -> None:
    page.goto("/admin/audit")
    page.get_by_role("button", name="Check the trail now").click()
    expect(page.locator("#trail-state")).to_contain_text("The trail is whole.", timeout=15_000)
    checked = room.command("audit", "verify")
    assert checked.returncode == 0
    page.goto("/admin/audit")
    expect(page.locator("#trail-state")).to_contain_text("for system")
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    text = Path(download.value.path()).read_text("utf-8-sig")
    assert text.startswith("id,time,person,")
    assert "to Fileroom" in text


@pytest.mark.parametrize("address", ["/admin/audit", "/admin/associations", "/admin/audit/events/3"])
def test_the_pages_fit_a_telephone_and_need_no_script(room: Fileroom, browser: Browser, address: str) -> None:
    context = browser.new_context(
        viewport={"width": 390, "height": 800}, color_scheme="dark", java_script_enabled=False, base_url=room.url
    )
    page = context.new_page()
    page.goto(address)
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    widths = page.locator("main").evaluate("(main) => [main.scrollWidth, main.clientWidth]")
    assert widths[0] <= widths[1]
    context.close()


# --- bad days ---


def test_what_a_killed_worker_served_ends_as_interrupted(room: Fileroom, page: Page) -> None:
    device = RawAssociation(room.dicom_port, [(CT_IMAGE_STORAGE, EXPLICIT_LE)], calling_aet="VICTIM")
    await_outcome(room, "VICTIM", "open")
    os.kill(room.workers(ASSOCIATION_WORKER)[0], signal.SIGKILL)
    number = await_outcome(room, "VICTIM", "interrupted")
    device.close()
    page.goto(f"/admin/associations/{number}")
    expect(page.locator(".facts")).to_contain_text("interrupted")
    expect(page.locator(".advice")).to_contain_text("What was answered with success is safe")


def test_the_ledger_goes_on_when_the_database_was_restarted(room: Fileroom, ct_series: SeriesFactory) -> None:
    part = read_part10(ct_series(1)[0])
    wait_until(lambda: room.workers(ASSOCIATION_WORKER), RECOVERY_S, "a new worker")
    device = RawAssociation(room.dicom_port, [(CT_IMAGE_STORAGE, EXPLICIT_LE)], calling_aet="PATIENT")
    await_outcome(room, "PATIENT", "open")
    backend = room.rows("SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' LIMIT 1")[0][0]
    os.kill(int(backend), signal.SIGKILL)  # PostgreSQL restarts as after a crash; the association stays open
    room.wait_until_ready(RECOVERY_S)
    uid = part.sop_instance_uid
    wait_until(
        lambda: device.store(CT_IMAGE_STORAGE, uid, EXPLICIT_LE, part.dataset).status == 0, RECOVERY_S, "a store"
    )
    device.release()
    number = await_outcome(room, "PATIENT", "released")
    assert room.rows("SELECT objects FROM association WHERE id = %s", number) == [(1,)]


def test_nothing_stays_open_for_ever_after_kill_9_of_everything(room: Fileroom) -> None:
    device = RawAssociation(room.dicom_port, [(CT_IMAGE_STORAGE, EXPLICIT_LE)], calling_aet="LAST")
    await_outcome(room, "LAST", "open")
    room.kill()
    room.wait_until_nothing_runs()
    device.close()
    room.start()
    await_outcome(room, "LAST", "interrupted")
    assert room.rows("SELECT count(*) FROM association WHERE ended_at IS NULL") == [(0,)]

"""What a receiver gets after a treatment: DCMTK's storescp, dcmdump and a browser look at it."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from highdicom.legacy import LegacyConvertedEnhancedCTImage
from playwright.sync_api import Browser
from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.events import Event

from acceptance.dicom_files import study_uid
from acceptance.programs.browser import chromium
from acceptance.programs.dcmtk import Dcmtk, StoreScp
from acceptance.programs.fileroom import Fileroom
from acceptance.programs.processes import free_ports, wait_until
from acceptance.programs.routing import TAKEN_WITHIN_S, Routing, node, rule, to_node
from corpus.ct import make_ct_series

pytestmark = pytest.mark.usefixtures("dcmtk_installed")

STEPS = [
    {"do": "prefix", "attribute": "PatientID", "value": "NORTH-"},
    {"do": "set", "attribute": "InstitutionName", "value": "Köln", "when": 'Modality == "CT"'},
]


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreScp]:
    with StoreScp(tmp_path_factory.mktemp("receiver"), aet="WS1") as running:
        yield running


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fileroom]:
    with Fileroom(tmp_path_factory.mktemp("room"), workers=1) as running:
        yield running


@pytest.fixture(scope="module")
def routing(room: Fileroom, receiver: StoreScp) -> Routing:
    made = Routing(room)
    made.add(
        nodes={"WS1": node("WS1", receiver.port)},
        treatments={
            "north": {"steps": STEPS},
            "wrong": {"steps": [{"do": "copy", "from": "PatientID", "attribute": "StudyDate"}]},
        },
        destinations={"WS1": to_node("WS1"), "BAD": to_node("WS1", treatment="wrong")},
        rules={"north": rule('StudyID != "BAD"', "WS1", treatment="north"), "bad": rule('StudyID == "BAD"', "BAD")},
    )
    return made


@pytest.fixture
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


def test_receiver_gets_what_the_treatment_says_with_the_same_pixels(
    room: Fileroom, routing: Routing, receiver: StoreScp, tmp_path: Path
) -> None:
    files = make_ct_series(tmp_path, 5, 64, 7001)
    Dcmtk(room.dicom_port).store(files)
    study = study_uid(files[0])
    wait_until(
        lambda: routing.states(study) == {"delivered": 5},
        30,
        "deliveries",
        lambda: f"{routing.states(study)} {room.log_tail()}",
    )
    sent = {dcmread(path).SOPInstanceUID: dcmread(path) for path in files}
    got = [path for path in receiver.received() if dcmread(path, stop_before_pixels=True).StudyInstanceUID == study]
    assert len(got) == 5
    for path in got:
        received = dcmread(path)
        original = sent[received.SOPInstanceUID]
        assert received.PatientID == f"NORTH-{original.PatientID}"
        assert np.array_equal(received.pixel_array, original.pixel_array)
        assert received.OriginalAttributesSequence[0].ModifiedAttributesSequence[0].PatientID == original.PatientID
    dumped = subprocess.run(["dcmdump", "+U8", str(got[0])], capture_output=True, text=True, check=True).stdout
    assert "[Köln]" in dumped
    assert "Modifying Equipment" in dumped


def test_what_cannot_be_changed_does_not_leave_and_says_why(
    room: Fileroom, routing: Routing, receiver: StoreScp, tmp_path: Path
) -> None:
    files = make_ct_series(tmp_path, 1, 64, 7002)
    dataset = dcmread(files[0])
    dataset.StudyID = "BAD"
    dataset.save_as(files[0])
    Dcmtk(room.dicom_port).store(files)
    study = study_uid(files[0])
    wait_until(lambda: routing.states(study) == {"failed": 1}, 30, "a failure", lambda: f"{routing.states(study)}")
    assert "Step 1 (copy StudyDate)" in str(routing.causes(study))
    assert all(dcmread(path, stop_before_pixels=True).StudyInstanceUID != study for path in receiver.received())


def test_treatment_is_made_and_tried_by_mouse(
    room: Fileroom, routing: Routing, browser: Browser, tmp_path: Path
) -> None:
    files = make_ct_series(tmp_path, 1, 64, 7003)
    Dcmtk(room.dicom_port).store(files)
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(f"{room.url}/routing/treatments")
    page.click("text=Add a treatment")
    page.fill('input[name="name"]', "mouse")
    page.select_option('select[name="step.do"] >> nth=0', "suffix")
    page.fill('input[name="step.attribute"] >> nth=0', "PatientID")
    page.fill('input[name="step.value"] >> nth=0', "-M")
    page.fill('input[name="sop_instance_uid"]', str(dcmread(files[0]).SOPInstanceUID))
    page.click("text=Show what would change")
    patient = str(dcmread(files[0]).PatientID)
    assert page.inner_text(".changes ins") == f"{patient}-M"
    assert page.inner_text(".changes del") == patient
    page.click('button:has-text("Save")')
    page.wait_for_selector("text=Version 1 holds")
    if folder := os.environ.get("FILEROOM_TEST_PICTURES"):
        page.screenshot(path=f"{folder}/treatment.png", full_page=True)
        page.goto(f"{room.url}/routing/treatments")
        page.screenshot(path=f"{folder}/treatments.png", full_page=True)
        page.set_viewport_size({"width": 390, "height": 800})
        page.emulate_media(color_scheme="dark")
        page.screenshot(path=f"{folder}/treatments390.png", full_page=True)
        page.goto(f"{room.url}/routing/treatments/treatment?name=north")
        page.screenshot(path=f"{folder}/treatment390.png", full_page=True)
    page.goto(f"{room.url}/routing/treatments")
    assert page.is_visible("text=mouse")


def test_frames_leave_one_by_one_where_the_destination_refuses_the_class(
    room: Fileroom, routing: Routing, tmp_path: Path
) -> None:
    """pynetdicom's receiver knows CT images only."""
    singles = [dcmread(path) for path in make_ct_series(tmp_path, 3, 64, 7004)]
    whole = LegacyConvertedEnhancedCTImage(singles, "1.2.3.74.1", 1, "1.2.3.74.1.1", 1)
    whole.StudyID = "FRAMES"
    whole.SOPClassUID = whole.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"  # which storescu knows
    whole.save_as(tmp_path / "whole.dcm", enforce_file_format=True)
    received: list[Dataset] = []

    def keep(event: Event) -> int:
        received.append(event.dataset)
        return 0

    entity = AE("OLD")
    entity.add_supported_context("1.2.840.10008.5.1.4.1.1.2")
    (port,) = free_ports(1)
    server = entity.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, keep)])
    try:
        routing.add(
            nodes={"OLD": node("OLD", port)},
            treatments={"old": {"sop_class_fallback": {"when": "refused"}}},
            destinations={"OLD": to_node("OLD", treatment="old")},
            rules={
                "old": rule('StudyID == "FRAMES"', "OLD"),
                "north": rule('StudyID == "1"', "WS1", treatment="north"),
            },
        )
        time.sleep(TAKEN_WITHIN_S)
        singles[0].StudyID = "FRAMES"
        singles[0].save_as(tmp_path / "single.dcm")
        Dcmtk(room.dicom_port).store([tmp_path / "single.dcm", tmp_path / "whole.dcm"])
        study = str(whole.StudyInstanceUID)
        wait_until(
            lambda: routing.states(study) == {"delivered": 2},
            30,
            "the frames",
            lambda: f"{routing.states(study)} {routing.causes(study)} {room.log_tail()}",
        )
    finally:
        server.shutdown()
    assert [int(one.InstanceNumber) for one in received if one.SeriesInstanceUID != singles[0].SeriesInstanceUID] == [
        1,
        2,
        3,
    ]
    pixels = {one.pixel_array.tobytes() for one in singles}
    assert {bytes(one.PixelData) for one in received} == pixels

"""The viewer in a real browser, on the demo studies: what it draws, that it asks nobody else, that nothing goes wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser
from pydicom import dcmread

from acceptance.programs.browser import CHROMIUM, ViewerPage, chromium, holds_an_image
from acceptance.programs.fileroom import Fileroom
from acceptance.programs.raw_scu import send_exactly
from corpus.ct import make_ct_series
from fileroom.core.settings import Settings
from fileroom.demo.studies import write_demo_studies
from fileroom.web.viewer import viewer_folder
from film_objects import film_of_kind
from slide_objects import SLIDE_STUDY, write_slide

VIDEO_ENDOSCOPIC = "1.2.840.10008.5.1.4.1.1.77.1.1.1"
VIDEO_STUDY = "1.2.826.0.1.77"
GREY_LEVELS_APART_MAX = 6.0
"""Mean difference between our JPEG of an image and the viewer's drawing of it, both scaled to the window."""


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fileroom]:
    """A Fileroom of this module's own: demo studies, a CT series of 20 slices, a film."""
    if not (viewer_folder(Settings()) / "viewer.json").exists():
        pytest.skip("needs the viewer: python tools/viewer.py, with a network")
    folder = tmp_path_factory.mktemp("viewer")
    write_demo_studies(folder / "files")
    make_ct_series(folder / "files" / "ct", 20, 512, 4321)
    film = film_of_kind(
        "h264 in mp4",
        SOPClassUID=VIDEO_ENDOSCOPIC,
        StudyInstanceUID=VIDEO_STUDY,
        SeriesInstanceUID=f"{VIDEO_STUDY}.1",
        SOPInstanceUID=f"{VIDEO_STUDY}.1.1",
    )
    (folder / "files" / "film.dcm").write_bytes(film)
    write_slide(folder / "files" / "slide")
    with Fileroom(folder / "room", workers=1, web_workers=1) as running:
        result = running.command("import", folder / "files")
        assert result.returncode == 0, result.stderr
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for all."""
    if not CHROMIUM.exists():
        pytest.skip("needs Chromium (Debian package chromium)")
    with chromium() as running:
        yield running


@pytest.fixture
def visit(browser: Browser, room: Fileroom) -> Iterator[ViewerPage]:
    """A fresh profile; errors in the console, refused requests and requests to other hosts fail the test."""
    page = ViewerPage(browser, room.url)
    yield page
    page.close()
    assert page.troubles == []


def study_with(room: Fileroom, modality: str) -> str:
    """The newest study in which there is this modality."""
    found = room.rows(
        "SELECT study_instance_uid FROM study WHERE %s = ANY(modalities) ORDER BY study_date DESC NULLS LAST LIMIT 1",
        modality,
    )
    return str(found[0][0])


@pytest.mark.parametrize("modality", ["MR", "US", "MG", "XA", "DX", "CR", "NM", "PT", "SEG"])
def test_an_image_is_drawn(visit: ViewerPage, room: Fileroom, modality: str) -> None:
    visit.open(study_with(room, modality))
    visit.drawn_after_ms()
    visit.wait_for(lambda: visit.page.locator("#first-image").count() == 0, "the picture to go")
    visit.wait_for(lambda: _is_varied(visit.image_area()), "pixels on the canvas")


def test_the_picture_shown_first_is_the_image_that_the_viewer_then_draws(
    browser: Browser, room: Fileroom, visit: ViewerPage
) -> None:
    study = str(dcmread(next(room.folder.parent.glob("files/ct/*.dcm")), stop_before_pixels=True).StudyInstanceUID)
    # A page whose viewer never comes: only the picture is there.
    early = ViewerPage(browser, room.url)
    early.page.route("**/app.bundle.*.js", lambda route: route.abort())
    early.open(study)
    early.wait_for(lambda: holds_an_image(early.image_area()), "the picture")
    picture = early.image_area()
    early.close()
    visit.open(study)
    visit.drawn_after_ms()
    visit.wait_for(lambda: visit.page.locator("#first-image").count() == 0, "the picture to go")
    visit.wait_for(lambda: holds_an_image(visit.image_area()), "the image")
    apart = np.abs(picture.astype(int) - visit.image_area().astype(int)).mean()
    assert apart < GREY_LEVELS_APART_MAX


def test_three_planes_are_cut_through_a_volume(visit: ViewerPage, room: Fileroom) -> None:
    visit.open(study_with(room, "MR"), more="&hangingProtocolId=mpr")
    visit.drawn_after_ms()
    third = visit.image_area().shape[1] // 3

    def all_drawn() -> bool:
        area = visit.image_area()
        return all(_is_varied(area[:, number * third : (number + 1) * third]) for number in range(3))

    visit.wait_for(all_drawn, "axial, sagittal and coronal planes")


def test_a_structured_report_is_read(visit: ViewerPage, room: Fileroom) -> None:
    visit.open(study_with(room, "SEG"))
    visit.drawn_after_ms()
    visit.page.get_by_text("Radiology report").first.dblclick()
    visit.wait_for(lambda: visit.page.get_by_text("Spiculated solid nodule").count(), "the report's text")


def test_a_segmentation_is_laid_over_its_images(visit: ViewerPage, room: Fileroom) -> None:
    visit.open(study_with(room, "SEG"))
    visit.drawn_after_ms()
    visit.page.get_by_text("Nodule", exact=True).first.dblclick()
    visit.wait_for(lambda: visit.page.get_by_text("Do you want to open this Segmentation?").count(), "the segmentation")
    visit.wait_for(lambda: _has_colour(visit.image_area()), "its colour on the image")


def test_a_pdf_is_shown(visit: ViewerPage, room: Fileroom) -> None:
    visit.open(study_with(room, "DOC"))
    visit.drawn_after_ms()
    with visit.page.expect_response(lambda one: one.url.endswith("/rendered")) as shown:
        visit.page.get_by_text("Signed report").first.dblclick()
    assert shown.value.headers["content-type"] == "application/pdf"
    visit.wait_for(lambda: visit.image_area().mean() > 150, "a white page")


def test_a_film_plays(visit: ViewerPage, room: Fileroom) -> None:
    visit.open(VIDEO_STUDY)
    # The viewer draws the film's frames; their lower half is red.
    visit.wait_for(lambda: _has_colour(visit.image_area()), "a frame of the film")


def test_a_whole_slide_is_opened_from_its_tiles(visit: ViewerPage, room: Fileroom) -> None:
    tiles: list[str] = []
    visit.page.on("response", lambda one: tiles.append(one.url) if "/frames/" in one.url and one.ok else None)
    visit.open(SLIDE_STUDY)
    visit.wait_for(lambda: visit.page.locator("canvas").count() and len(tiles) > 2, "tiles of the slide")
    visit.wait_for(
        lambda: _is_varied(visit.image_area()) and visit.image_area().mean() > 100, "cells on a bright ground"
    )


def test_the_patients_other_studies_are_listed(visit: ViewerPage, room: Fileroom) -> None:
    visit.open(study_with(room, "SEG"))
    visit.drawn_after_ms()
    visit.wait_for(lambda: visit.page.get_by_text("FDG PET chest").count(), "a prior in the list")


def test_a_study_that_is_still_arriving_is_shown_as_far_as_it_has_come(
    visit: ViewerPage, room: Fileroom, tmp_path: Path
) -> None:
    files = make_ct_series(tmp_path, 12, 256, 99)
    study = str(dcmread(files[0], stop_before_pixels=True).StudyInstanceUID)
    send_exactly(room.dicom_port, files[:5])
    visit.open(study)
    visit.drawn_after_ms()
    visit.wait_for(lambda: visit.page.get_by_text("/5)").count(), "five images")
    send_exactly(room.dicom_port, files[5:])
    visit.open(study)
    visit.wait_for(lambda: visit.page.get_by_text("/12)").count(), "all twelve")


def test_a_study_that_is_not_there_is_told(browser: Browser, room: Fileroom) -> None:
    page = ViewerPage(browser, room.url)
    page.open("1.2.3.4.5")
    page.wait_for(lambda: page.page.get_by_text("not available").count(), "the message")
    page.close()


def _is_varied(area: np.ndarray) -> bool:
    """More than a plain background with a few letters on it."""
    return bool(area.std() > 10)


def _has_colour(area: np.ndarray) -> bool:
    levels = area.astype(int)
    return bool(((levels[..., 0] - levels[..., 1:].max(axis=2)) > 80).sum() > 10)

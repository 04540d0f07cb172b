"""Debian's Chromium under Playwright, with a viewer's page in it: what is drawn, what is asked for, what goes wrong."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright
from playwright.sync_api import Error as PlaywrightError

CHROMIUM: Final = Path("/usr/bin/chromium")
ARGUMENTS: Final = ("--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist")
"""WebGL drawn by the processor: machines that test have no graphics card."""
WINDOW: Final = {"width": 1400, "height": 900}
IMAGE_AREA: Final = (400, 120, 1240, 780)
"""Left, upper, right and lower edge (pixels of the window) of a part in which the viewer draws nothing but the image."""
DRAW_TIMEOUT_S: Final = 120.0
_WATCH: Final = """
window.drawnAt = null;
document.addEventListener('CORNERSTONE_IMAGE_RENDERED', () => { window.drawnAt ??= performance.now(); }, true);
// OHIF's notice lies over the image until it is confirmed. A plug-in's frame has no storage.
try { localStorage.setItem('investigationalUseDialog', JSON.stringify({expiryDate: '2999-01-01'})); } catch { }
"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """A running Chromium whose processes have settled."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=list(ARGUMENTS))
        try:
            page = browser.new_page()
            page.goto("data:text/html,<canvas>")
            page.evaluate("document.querySelector('canvas').getContext('webgl2').getParameter(7937)")
            page.close()
            yield browser
        finally:
            browser.close()


class ViewerPage:
    """A viewer in a fresh profile (so with an empty cache), and everything that goes wrong in it."""

    def __init__(self, browser: Browser, root: str) -> None:
        self.root = root
        self.troubles: list[str] = []
        self.page: Page = browser.new_context(viewport=WINDOW).new_page()  # type: ignore[arg-type]  # a TypedDict of theirs
        self.page.add_init_script(_WATCH)
        self.page.on("console", lambda one: self._trouble(one.text) if one.type == "error" else None)
        self.page.on("pageerror", lambda error: self._trouble(str(error)))
        self.page.on("request", lambda request: self._own(request.url))
        self.page.on("response", lambda one: self._trouble(f"{one.status} {one.url}") if one.status >= 400 else None)

    def open(self, *study_uids: str, more: str = "") -> None:
        """Ask for the page; do not wait for it."""
        address = f"{self.root}/viewer?StudyInstanceUIDs={','.join(study_uids)}{more}"
        self.page.goto(address, wait_until="commit")

    def drawn_after_ms(self) -> float:
        """Wait until the viewer has drawn its first image; milliseconds from the beginning of the navigation."""
        self.wait_for(lambda: self.page.evaluate("window.drawnAt") is not None, "the viewer to draw an image")
        return float(self.page.evaluate("window.drawnAt"))

    def wait_for(self, condition: Callable[[], object], what: str) -> None:
        """Ask again and again. Raises AssertionError after DRAW_TIMEOUT_S."""
        deadline = time.monotonic() + DRAW_TIMEOUT_S
        while not condition():
            assert time.monotonic() < deadline, f"waited in vain for {what}: {self.troubles[:5]}"
            self.page.wait_for_timeout(50)

    def image_area(self) -> np.ndarray:
        """What the window shows where the image is: RGB. Black where Chromium, drawing a film without a graphics card, has
        no picture to give at this moment: whoever waits for something in it asks again."""
        try:
            return picture_of(self.page.screenshot())
        except PlaywrightError as error:
            if "Unable to capture screenshot" not in error.message:
                raise
            left, upper, right, lower = IMAGE_AREA
            return np.zeros((lower - upper, right - left, 3), np.uint8)

    def close(self) -> None:
        """Leave the profile."""
        self.page.context.close()

    def _own(self, url: str) -> None:
        if not url.startswith((self.root + "/", "blob:", "data:", "chrome-extension:", "chrome:")):
            self._trouble(f"request to {url}")

    def _trouble(self, text: str) -> None:
        self.troubles.append(text)


def picture_of(screenshot: bytes) -> np.ndarray:
    """The image area of a screenshot: RGB, rows x columns x 3."""
    with Image.open(io.BytesIO(screenshot)) as picture:
        return np.asarray(picture.convert("RGB").crop(IMAGE_AREA))


def holds_an_image(area: np.ndarray) -> bool:
    """Whether a good part of it is neither black nor the viewer's dark blue."""
    return bool((area.min(axis=2) > 50).mean() > 0.1)

"""Opening a CT of 1,000 slices in the viewer with an empty cache: Fileroom, and the same viewer in front of Orthanc.

Both sides run in one Chromium whose processes have settled; each round is a fresh profile. Orthanc's side gets the very same
files, compressed beforehand too, from nginx, which also passes DICOMweb on to Orthanc, so that both have one origin.

Two moments are measured. *Seen*: the first frame of the window, as the browser shows it, that holds an image. Fileroom
shows its own picture of the first image until the viewer has drawn it. *Drawn by the viewer*: from then on it can be
measured on, scrolled and windowed.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Final

import httpx
import pydicom
from playwright.sync_api import Browser, CDPSession

from acceptance.programs.browser import CHROMIUM, ViewerPage, chromium, holds_an_image, picture_of
from acceptance.programs.dcmtk import Dcmtk
from acceptance.programs.nginx import Nginx
from acceptance.programs.orthanc import Orthanc
from acceptance.programs.processes import wait_until
from benchmarks.results import Goal, Row
from benchmarks.rounds import alternate, median
from benchmarks.session import Session
from fileroom.core.settings import Settings
from fileroom.web.viewer import load_viewer, viewer_folder

OURS: Final = "Fileroom"
PEER: Final = "the same viewer before Orthanc"
RATIO_MAX: Final = 0.3
STABLE_S: Final = 2.0
DOCUMENT_TIMEOUT_S: Final = 120.0


def viewer(session: Session) -> list[Row]:
    """Rows: the first image seen, and drawn by the viewer."""
    assert CHROMIUM.exists(), "Chromium is not installed (Debian package chromium)"
    count = session.amount(1000, 20)
    folder = session.new_folder("viewer")
    with (
        session.ct_files(1, count, 512) as [files],
        session.fileroom(series_stable_s=STABLE_S) as room,
        Orthanc(folder / "orthanc") as orthanc,
    ):
        orthanc.upload(files)
        assert Dcmtk(room.dicom_port, room.aet).store(files, environment={"TCP_NODELAY": "1"}).returncode == 0
        wait_until(
            lambda: room.rows("SELECT bool_and(documented) FROM series")[0][0],
            DOCUMENT_TIMEOUT_S,
            "the series' document",
        )
        study = str(pydicom.dcmread(files[0], stop_before_pixels=True).StudyInstanceUID)
        with (
            Nginx(folder / "nginx", folder, workers=2, more=_same_viewer(room.url, orthanc.url, folder)) as nginx,
            chromium() as browser,
        ):
            drawn: dict[str, list[float]] = {OURS: [], PEER: []}

            def measure(side: str, root: str) -> float:
                seen_ms, drawn_ms = _open(browser, root, study)
                drawn[side].append(drawn_ms)
                return seen_ms

            for root in (room.url, nginx.url):  # servers that have just started are nobody's fault
                _open(browser, root, study)
            sides = {
                OURS: lambda _round: measure(OURS, room.url),
                PEER: lambda _round: measure(PEER, nginx.url),
            }
            seen = alternate(sides, session.rounds)
    work = f"viewer, CT of {count:,} slices, empty cache"
    goal = Goal(f"at most {RATIO_MAX} x Orthanc's time", at_least=1 / RATIO_MAX)
    note = "Fileroom: its picture of the first image, before the viewer itself has started"
    return [
        _row(f"{work}: first image seen", seen, goal, note),
        _row(f"{work}: first image drawn by the viewer", drawn),
    ]


def _row(work: str, rounds: dict[str, list[float]], goal: Goal | None = None, note: str = "") -> Row:
    return Row(
        work=work,
        unit="ms",
        ours=median(rounds[OURS]),
        peer=PEER,
        theirs=median(rounds[PEER]),
        less_is_better=True,
        goal=goal,
        note=note,
        rounds=rounds,
    )


def _same_viewer(ours: str, orthanc: str, folder: Path) -> str:
    """Lines for nginx: our page and settings without what needs Fileroom, the viewer's files, Orthanc's DICOMweb."""
    place = viewer_folder(Settings())
    found = load_viewer(place)
    assert found is not None, "the viewer is not set up: run 'make test' once"
    (folder / "page.html").write_bytes(httpx.get(f"{ours}/viewer").raise_for_status().content)
    config = httpx.get(f"{ours}/viewer/app-config.js").raise_for_status().text
    # This Orthanc makes no thumbnails; the viewer draws them from the images.
    assert json.dumps("thumbnailDirect") in config
    (folder / "app-config.js").write_text(config.replace("thumbnailDirect", "wadors"))
    return f"""
      location = /viewer {{ default_type text/html; try_files /page.html =404; }}
      location = /viewer/app-config.js {{ default_type text/javascript; try_files /app-config.js =404; }}
      location /viewer/{found.build}/ {{ alias {place}/; gzip_static on;
        types {{ text/javascript js; text/css css; application/wasm wasm; font/woff2 woff2; image/png png; }} }}
      location /dicom-web/ {{ proxy_pass {orthanc}; proxy_http_version 1.1; proxy_set_header Host $http_host; }}
    """


def _open(browser: Browser, root: str, study: str) -> tuple[float, float]:
    """Milliseconds from the navigation until an image is seen, and until the viewer has drawn one."""
    viewer_page = ViewerPage(browser, root)
    page = viewer_page.page
    try:
        frames = _Frames(page.context.new_cdp_session(page))
        viewer_page.open(study)
        drawn_ms = viewer_page.drawn_after_ms()
        began_s = float(page.evaluate("performance.timeOrigin")) / 1000
        viewer_page.wait_for(lambda: frames.image_since(began_s) is not None, "an image in the window")
        seen_s = frames.image_since(began_s)
        assert seen_s is not None
        return (seen_s - began_s) * 1000, drawn_ms
    finally:
        viewer_page.close()


class _Frames:
    """What the window has shown, and when (seconds since 1970)."""

    def __init__(self, session: CDPSession) -> None:
        self._session = session
        self._frames: list[tuple[float, bytes]] = []
        session.on("Page.screencastFrame", self._take)
        session.send("Page.startScreencast", {"format": "jpeg", "quality": 50, "everyNthFrame": 1})

    def image_since(self, began_s: float) -> float | None:
        """When the first frame came that holds an image."""
        for moment, data in self._frames:
            if moment >= began_s and holds_an_image(picture_of(data)):
                return moment
        return None

    def _take(self, event: dict[str, object]) -> None:
        metadata = event["metadata"]
        assert isinstance(metadata, dict)
        self._frames.append((float(metadata["timestamp"]), base64.b64decode(str(event["data"]))))
        self._session.send("Page.screencastFrameAck", {"sessionId": event["sessionId"]})

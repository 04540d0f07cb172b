"""Frames over WADO-RS for eight clients, against nginx serving the same bytes from files.

Each client is one curl that fetches its list of frames over one kept connection: the same for both sides.
"""

from __future__ import annotations

import subprocess
from functools import partial
from pathlib import Path
from typing import Final

import pydicom

from acceptance.programs.dcmtk import Dcmtk
from acceptance.programs.nginx import Nginx
from benchmarks.results import Goal, Row
from benchmarks.rounds import alternate, median, timed
from benchmarks.session import NEVER_STABLE_S, Session

CLIENTS: Final = 8
ACCEPT: Final = 'Accept: multipart/related; type="application/octet-stream"'
TIMEOUT_S: Final = 600.0
OURS: Final = "Fileroom"
PEER: Final = "nginx"


def frames(session: Session) -> list[Row]:
    """Rows for frames of 512x512 and 64x64 pixels."""
    return [_row(session, size) for size in (512, 64)]


def _row(session: Session, size: int) -> Row:
    count, repeats = session.amount(200, 10), session.amount(8, 1)
    folder = session.new_folder("frames")
    root = folder / "root"
    root.mkdir()
    with session.ct_files(1, count, size) as [files], session.fileroom(series_stable_s=NEVER_STABLE_S) as room:
        assert Dcmtk(room.dicom_port, room.aet).store(files, environment={"TCP_NODELAY": "1"}).returncode == 0
        ours, theirs = [], []
        with Nginx(folder / "nginx", root, workers=2) as nginx:
            for number, path in enumerate(files):
                ds = pydicom.dcmread(path)
                (root / f"{number}.raw").write_bytes(ds.PixelData)
                uids = (ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID)
                ours.append("{}/studies/{}/series/{}/instances/{}/frames/1".format(room.dicomweb, *uids))
                theirs.append(f"{nginx.url}/{number}.raw")
            sides = {
                OURS: partial(_rate, folder, ours * repeats),
                PEER: partial(_rate, folder, theirs * repeats),
            }
            for side in sides.values():
                side(0)  # warm up
            results = alternate(sides, session.rounds)
    return Row(
        work=f"WADO-RS frames {size}x{size} 16 bit, {CLIENTS} clients",
        unit="frames/s",
        ours=median(results[OURS]),
        peer="nginx, the same bytes from files",
        theirs=median(results[PEER]),
        goal=Goal("at least 0.5 x nginx", at_least=0.5),
        rounds=results,
    )


def _rate(folder: Path, urls: list[str], _round: int) -> float:
    """Frames a second of all clients together."""
    lists = []
    for client in range(CLIENTS):
        mine = urls[client::CLIENTS]
        file = folder / f"client{client}.curl"
        file.write_text("".join(f'url = "{url}"\noutput = "/dev/null"\n' for url in mine))
        lists.append(file)

    def fetch() -> None:
        clients = [subprocess.Popen(["curl", "-sS", "--fail", "-H", ACCEPT, "-K", file]) for file in lists]
        codes = [client.wait(TIMEOUT_S) for client in clients]
        assert codes == [0] * CLIENTS, f"curl ended with {codes}"

    return len(urls) / timed(fetch)

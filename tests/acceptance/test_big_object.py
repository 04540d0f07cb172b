"""A multi-frame object of 512 MiB (FILEROOM_TEST_BIG_MIB sets it, 2048 for the full size) in and out in little memory."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pydicom
import pytest

from acceptance.conftest import FileroomFactory
from acceptance.programs.dcmtk import Dcmtk
from acceptance.programs.fileroom import ASSOCIATION_WORKER, WEB_WORKER, Fileroom
from acceptance.programs.processes import reset_peak_memory, resident_bytes
from corpus.ct import BIG_FRAME_SIDE, make_big_multiframe

MIB = 1024 * 1024
BIG_MIB = int(os.environ.get("FILEROOM_TEST_BIG_MIB", "512"))
GROWTH_BYTES_MAX = 64 * MIB
FRAME_BYTES = 2 * BIG_FRAME_SIDE * BIG_FRAME_SIDE


@contextmanager
def _grows_little(pid: int, what: str) -> Iterator[None]:
    """The highest memory of a process during the block is at most 64 MiB above its memory before."""
    before = resident_bytes(pid)
    reset_peak_memory(pid)
    yield
    growth = resident_bytes(pid, peak=True) - before
    assert growth <= GROWTH_BYTES_MAX, f"{what}: memory grew by {growth / MIB:.0f} MiB"


@pytest.mark.usefixtures("dcmtk_installed")
def test_a_big_object_goes_in_and_out_in_little_memory(fileroom_factory: FileroomFactory, tmp_path: Path) -> None:
    room = fileroom_factory(workers=1, web_workers=1)
    big = tmp_path / "big.dcm"
    frames = make_big_multiframe(big, BIG_MIB * MIB)
    ds = pydicom.dcmread(big, stop_before_pixels=True)
    digest = _digest_of_pixels(big)
    (worker,) = room.workers(ASSOCIATION_WORKER)
    (web,) = room.workers(WEB_WORKER)

    with _grows_little(worker, "receiving by C-STORE"):
        result = Dcmtk(room.dicom_port).store([big], environment={"TCP_NODELAY": "1"})
        assert result.returncode == 0, result.stdout[-500:]
    big.unlink()

    with _grows_little(worker, "returning by C-GET"):
        (got,) = Dcmtk(room.dicom_port).get(tmp_path / "got", "STUDY", {"StudyInstanceUID": str(ds.StudyInstanceUID)})
    assert _digest_of_pixels(got) == digest
    got.unlink()

    path = f"studies/{ds.StudyInstanceUID}/series/{ds.SeriesInstanceUID}/instances/{ds.SOPInstanceUID}"
    with _grows_little(web, "returning by WADO-RS"):
        assert _stream_bytes(f"{room.dicomweb}/{path}") >= frames * FRAME_BYTES
    with _grows_little(web, "metadata and one frame"):
        assert httpx.get(f"{room.dicomweb}/{path}/metadata", timeout=120).status_code == 200
        answer = httpx.get(f"{room.dicomweb}/{path}/frames/{frames}", timeout=120)
        assert frames.to_bytes(4, "little") + bytes(100) in answer.content


@pytest.mark.usefixtures("dcmtk_installed")
def test_two_big_uploads_by_stow_at_once(fileroom_factory: FileroomFactory, tmp_path: Path) -> None:
    room = fileroom_factory(workers=1, web_workers=1)
    (web,) = room.workers(WEB_WORKER)
    files = [tmp_path / f"{n}.dcm" for n in range(2)]
    for seed, path in enumerate(files):
        make_big_multiframe(path, BIG_MIB * MIB // 4, seed)
    with _grows_little(web, "receiving by STOW-RS"):
        senders = [threading.Thread(target=_stow, args=(room, path)) for path in files]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
    assert room.instance_count() == 2


def _stow(room: Fileroom, path: Path) -> None:
    def body() -> Iterator[bytes]:
        yield b"--x\r\nContent-Type: application/dicom\r\n\r\n"
        with path.open("rb") as file:
            while piece := file.read(MIB):
                yield piece
        yield b"\r\n--x--\r\n"

    kind = 'multipart/related; type="application/dicom"; boundary=x'
    answer = httpx.post(f"{room.dicomweb}/studies", content=body(), headers={"Content-Type": kind}, timeout=300)
    assert answer.status_code == 200, answer.text[:500]


def _stream_bytes(url: str) -> int:
    accept = 'multipart/related; type="application/dicom"; transfer-syntax=*'
    total = 0
    with httpx.stream("GET", url, headers={"Accept": accept}, timeout=300) as answer:
        assert answer.status_code == 200
        for piece in answer.iter_bytes():
            total += len(piece)
    return total


def _digest_of_pixels(path: Path) -> str:
    """SHA-256 of all whole frames, which are the last bytes of the file."""
    frames = int(pydicom.dcmread(path, stop_before_pixels=True).NumberOfFrames)
    digest = hashlib.sha256()
    with path.open("rb") as file:
        file.seek(-frames * FRAME_BYTES, os.SEEK_END)
        while piece := file.read(4 * MIB):
            digest.update(piece)
    return digest.hexdigest()

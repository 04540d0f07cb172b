"""Films: decoded in every coding of DICOM, made from frames, and what happens to damaged and hostile ones."""

from __future__ import annotations

import dataclasses
import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from fileroom.core.errors import InvalidObjectError, NotFoundError, RequestError, TooLargeError, UnsupportedError
from fileroom.dicom.display import Viewport
from fileroom.pixels import film as films
from fileroom.pixels.film import encode_film, film_frames
from fileroom.pixels.frames import frame_table
from fileroom.pixels.render import render_source, thumbnail
from fileroom.pixels.request import GIF, JPEG, MP4, PNG, RenderRequest
from film_objects import COLUMNS, FRAMES, KINDS, ROWS, SYNTAX, film_file, film_of_kind, frames_of, make_film, number_in
from pixel_objects import encapsulated_file, header, native_file, source_of


def frames_in(data: bytes, *wanted: int, **options: Any) -> list[tuple[int, int]]:
    """(index, number shown) of the frames that are decoded."""
    source = source_of(data)
    found = film_frames(frame_table(source), source.read, wanted, **options)
    return [(frame.index, number_in(frame.rgb)) for frame in found]


def picture(file: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))


# --- decoding ---


@pytest.mark.parametrize("kind", KINDS)
def test_every_coding_is_decoded(kind: str) -> None:
    data = film_of_kind(kind)
    assert frames_in(data) == [(number, number) for number in range(FRAMES)]
    still = picture(render_source(source_of(data), RenderRequest(PNG, (7,))))
    assert still.shape == (ROWS, COLUMNS, 3)
    assert number_in(still) == 6
    assert np.abs(still[-10, 10].astype(int) - (200, 30, 40)).max() < 12


def test_frames_come_in_the_order_asked_for() -> None:
    data = film_of_kind("h264 in mp4")
    assert frames_in(data, 3, 20, 5, 5) == [(3, 3), (20, 20), (5, 5), (5, 5)]


@pytest.mark.parametrize("container", ["mp4", "mpegts", "h264"])
def test_a_frame_far_in_is_the_right_one(container: str) -> None:
    """Some containers are jumped into by time, in others frames are counted; both come to the same."""
    data = film_file(make_film("libx264", container, frames=300), SYNTAX + "102")
    for wanted in (99, 100, 101, 250, 299):
        assert frames_in(data, wanted) == [(wanted, wanted)]
    assert frames_in(data, *range(140, 150)) == [(number, number) for number in range(140, 150)]


def test_a_frame_behind_the_end_is_not_found() -> None:
    data = film_of_kind("h264 in mp4")
    with pytest.raises(NotFoundError, match="has 30"):
        render_source(source_of(data), RenderRequest(frame_numbers=(31,)))
    with pytest.raises(NotFoundError, match="count from 1"):
        render_source(source_of(data), RenderRequest(frame_numbers=(0,)))


@pytest.mark.parametrize(("declared", "shown"), [(30, 15), (1, 0), (100_000, 29)])
def test_a_thumbnail_is_the_middle_or_the_last_there_is(declared: int, shown: int) -> None:
    small = picture(thumbnail(source_of(film_of_kind("mpeg2 in a program stream", NumberOfFrames=declared)), 80))
    assert small.shape == (48, 80, 3)
    assert number_in(small) == shown


def test_bytes_are_read_where_they_are_needed_only() -> None:
    """A film in an MP4 whose index stands in front is not read to its end for its first frame."""
    rng = np.random.default_rng(5)
    stream = encode_film((rng.integers(0, 256, (256, 256, 3), np.uint8), 40.0) for _ in range(60))
    source = source_of(film_file(stream, SYNTAX + "102"))
    read: list[int] = []

    def counted(offset: int, length: int) -> bytes:
        read.append(length)
        return source.read(offset, length)

    table = frame_table(source)
    read.clear()
    assert next(film_frames(table, counted, [0])).index == 0
    assert max(read) <= 1 << 20
    assert sum(read) < len(stream) // 2


# --- making ---


def test_a_film_becomes_an_mp4_with_its_times() -> None:
    data = film_of_kind("mpeg2 elementary")
    made = render_source(source_of(data), RenderRequest(MP4))
    found = list(frames_of(made))
    assert [number_in(rgb) for _, rgb in found] == list(range(FRAMES))
    assert [round(second, 3) for second, _ in found[:3]] == [0, 0.04, 0.08]
    with av.open(io.BytesIO(made)) as film:
        stream = film.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert float(stream.duration * stream.time_base) == pytest.approx(FRAMES * 0.04, abs=0.001)
    assert made.index(b"moov") < made.index(b"mdat")


@pytest.mark.parametrize(
    ("cine", "starts"),
    [
        ({"FrameTime": "50"}, [0, 0.05, 0.1, 0.15]),
        ({"RecommendedDisplayFrameRate": 5}, [0, 0.2, 0.4, 0.6]),
        ({"CineRate": "8"}, [0, 0.125, 0.25, 0.375]),
        ({"FrameTimeVector": ["0", "10", "30", "50"]}, [0, 0.01, 0.04, 0.09]),
        ({"FrameTime": "4"}, [0, 0.004, 0.008, 0.012]),
        ({}, [0, 0.1, 0.2, 0.3]),
    ],
)
def test_frames_of_an_image_become_an_mp4_by_the_cine_module(cine: dict[str, Any], starts: list[float]) -> None:
    gray = np.arange(4, dtype=np.uint8)[:, None, None] * 60 + np.zeros((4, 33, 21), np.uint8)
    made = header(33, 21, bits=8, NumberOfFrames=4, WindowCenter="128", WindowWidth="256", **cine)
    found = list(frames_of(render_source(source_of(native_file(made, gray.tobytes())), RenderRequest(MP4))))
    assert [round(second, 3) for second, _ in found] == starts
    assert found[0][1].shape == (34, 22, 3)
    assert [float(rgb.mean()) for _, rgb in found] == pytest.approx([0, 60, 120, 180], abs=4)


def test_a_films_own_rate_counts_where_the_header_has_none() -> None:
    data = film_file(make_film("libx264", "mp4", rate=10), SYNTAX + "102", FrameTime=None)
    starts = [second for second, _ in frames_of(render_source(source_of(data), RenderRequest(MP4, (3, 6))))]
    assert starts == [0, pytest.approx(0.1)]


def test_viewport_and_quality_are_honoured() -> None:
    source = source_of(film_of_kind("h264 elementary"))
    small = render_source(source, RenderRequest(MP4, viewport=Viewport(80, 80), quality=90))
    worse = render_source(source, RenderRequest(MP4, viewport=Viewport(80, 80), quality=10))
    assert next(frames_of(small))[1].shape == (48, 80, 3)
    assert len(worse) < len(small)


def test_a_film_becomes_an_animation() -> None:
    moving = Image.open(io.BytesIO(render_source(source_of(film_of_kind("hevc in mp4")), RenderRequest(GIF, (2, 4)))))
    assert moving.n_frames == 2  # type: ignore[attr-defined]
    assert number_in(np.asarray(moving.convert("RGB"))) == 1


# --- what is refused ---


@pytest.mark.parametrize("syntax", ["100", "102", "107"])
@pytest.mark.parametrize(
    "stream",
    [
        b"mpeg",
        bytes(5000),
        bytes(range(256)) * 40,
        b"ffconcat version 1.0\nfile /etc/passwd\n" * 20,
        b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
        b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom\0\0\0\x08mdat",
    ],
)
def test_what_is_no_film_is_refused(syntax: str, stream: bytes) -> None:
    data = encapsulated_file(header(4, 4), [stream], syntax=SYNTAX + syntax)
    with pytest.raises(InvalidObjectError):
        render_source(source_of(data), RenderRequest())


def test_another_coding_in_the_container_is_refused() -> None:
    with pytest.raises(InvalidObjectError, match="coded"):
        frames_in(film_file(make_film("libvpx-vp9", "mp4"), SYNTAX + "102"))


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_films_are_decoded_in_part_or_refused(kind: str) -> None:
    """Cut at any place, or with bytes turned over: never a crash here, never a wait."""
    suffix, encoder, container, pixel_format = KINDS[kind]
    stream = make_film(encoder, container, pixel_format)
    rng = np.random.default_rng(11)
    damaged = [stream[:length] for length in (3, 60, 400, len(stream) // 2, len(stream) - 9)]
    for share in (0.001, 0.05):
        noise = np.frombuffer(stream, np.uint8).copy()
        places = rng.integers(0, len(noise), max(int(len(noise) * share), 1))
        noise[places] ^= rng.integers(1, 256, len(places), np.uint8)
        damaged.append(noise.tobytes())
    for one in damaged:
        try:
            assert frames_in(film_file(one, SYNTAX + suffix))
        except InvalidObjectError:
            pass


def test_an_object_that_ends_early_gives_what_is_there_or_an_error() -> None:
    data = film_of_kind("mpeg2 in a program stream")
    source = source_of(data)
    table = frame_table(source)
    half = film_frames(table, lambda offset, length: data[: len(data) // 2][offset : offset + length])
    assert 0 < len(list(half)) < FRAMES


def test_too_many_frames_are_refused_in_time() -> None:
    with pytest.raises(TooLargeError, match="more than 12 frames"):
        frames_in(film_of_kind("h264 in mp4"), frames_max=12)


def test_too_large_frames_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(films, "FILM_PIXELS_MAX", ROWS * COLUMNS - 1)
    with pytest.raises(TooLargeError, match="160 x 96"):
        frames_in(film_of_kind("mpeg2 elementary"))
    with pytest.raises(TooLargeError, match="viewport"):
        encode_film([(np.zeros((ROWS, COLUMNS), np.uint8), 40.0)])


def test_too_large_files_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(films, "FILM_BYTES_MAX", 5000)
    rng = np.random.default_rng(5)
    noise = ((rng.integers(0, 256, (128, 128, 3), np.uint8), 40.0) for _ in range(200))
    with pytest.raises(TooLargeError, match="5000 bytes"):
        encode_film(noise)


def test_time_is_bounded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "waits.py"
    program.write_text("import signal\nsignal.pause()\n")
    monkeypatch.setattr(films, "_PROGRAM", str(program))
    with pytest.raises(TooLargeError, match="seconds"):
        frames_in(film_of_kind("h264 in mp4"), timeout_s=0.3)
    monkeypatch.setattr(films, "FILM_TIMEOUT_S", 0.3)
    with pytest.raises(TooLargeError, match="seconds"):
        encode_film((np.zeros((512, 512, 3), np.uint8), 40.0) for _ in range(100))


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(films, "FILM_MEMORY_BYTES_MAX", 96 << 20)
    with pytest.raises(RequestError):
        frames_in(film_file(make_film("libx264", "h264", rows=1088, columns=1920, frames=3), SYNTAX + "102"))


def test_a_crash_of_the_decoder_is_an_error_of_the_object(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "crash.py"
    program.write_text("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    monkeypatch.setattr(films, "_PROGRAM", str(program))
    with pytest.raises(InvalidObjectError, match="fail"):
        frames_in(film_of_kind("h264 in mp4"))
    with pytest.raises(InvalidObjectError, match="fail"):
        encode_film((np.zeros((512, 512, 3), np.uint8), 40.0) for _ in range(5))


def test_without_the_decoder_it_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "bare.py"
    child = Path(films.__file__).with_name("film_child.py").read_text("utf-8")
    program.write_text(
        "import sys\nsys.modules['av'] = None\n" + child.replace("from __future__ import annotations", "")
    )
    monkeypatch.setattr(films, "_PROGRAM", str(program))
    with pytest.raises(UnsupportedError, match="not installed"):
        frames_in(film_of_kind("h264 in mp4"))


def test_a_reader_that_goes_away_leaves_no_process() -> None:
    source = source_of(film_of_kind("h264 in mp4"))
    started: list[subprocess.Popen[bytes]] = []
    real = subprocess.Popen

    def noted(*args: Any, **more: Any) -> subprocess.Popen[bytes]:
        started.append(real(*args, **more))
        return started[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess, "Popen", noted)
        frames = film_frames(frame_table(source), source.read)
        next(frames)
        frames.close()  # type: ignore[attr-defined]  # it is a generator
    assert [process.returncode is not None for process in started] == [True]


def test_nothing_is_imported_before_it_is_needed() -> None:
    code = "import sys, fileroom.pixels.render; sys.exit('av' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_stills_of_several_frames_are_refused() -> None:
    request = dataclasses.replace(RenderRequest(JPEG), frame_numbers=(1, 2))
    with pytest.raises(RequestError, match="holds one frame"):
        render_source(source_of(film_of_kind("h264 in mp4")), request)

"""PNG and GIF files to pixels, compared with what Pillow makes of them; damaged ones are refused."""

from __future__ import annotations

import contextlib
import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fileroom.core.errors import InvalidRequestError, RequestError, TooLargeError, UnsupportedError
from fileroom.core.limits import PICTURE_BYTES_MAX
from fileroom.pixels import pictures
from fileroom.pixels.pictures import read_picture

RNG = np.random.default_rng(3)
GRAY = RNG.integers(0, 255, (7, 5), np.uint8)
RGB = RNG.integers(0, 255, (7, 5, 3), np.uint8)


def saved(image: Image.Image, form: str, **options: Any) -> memoryview:
    out = io.BytesIO()
    image.save(out, form, **options)
    return memoryview(out.getvalue())


def gif(frames: list[np.ndarray], **options: Any) -> memoryview:
    images = [Image.fromarray(frame) for frame in frames]
    return saved(images[0], "GIF", save_all=True, append_images=images[1:], **options)


def pixels(found: pictures.ImageHeader) -> np.ndarray:
    shape = (found.frames or 1, found.rows, found.columns, found.samples)
    return np.frombuffer(found.codestream, f"<u{found.bits // 8}").reshape(shape).squeeze()


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(GRAY),
        Image.fromarray(RGB),
        Image.fromarray(RGB).quantize(16),
        Image.fromarray(GRAY > 99),
        Image.fromarray(np.dstack([RGB, GRAY])),
        Image.merge("LA", [Image.fromarray(GRAY), Image.fromarray(255 - GRAY)]),
    ],
    ids=["gray", "rgb", "indexed", "one bit", "rgb with alpha", "gray with alpha"],
)
def test_png(image: Image.Image) -> None:
    found = read_picture("image/png", saved(image, "PNG"), gray=False)
    is_gray = image.mode in ("1", "L", "LA")
    assert np.array_equal(pixels(found), np.asarray(image.convert("L" if is_gray else "RGB")))
    assert found.photometric == ("MONOCHROME2" if is_gray else "RGB")


def test_gif_frames_are_whole_pictures_with_their_time() -> None:
    frames = [np.full((6, 4), 40 * n, np.uint8) for n in range(4)]
    frames[2][:3] = 7
    found = read_picture("image/gif", gif(frames, duration=120), gray=True)
    assert np.array_equal(pixels(found), frames)
    assert (found.frames, found.frame_time_ms, found.photometric) == (4, 120.0, "MONOCHROME2")
    assert read_picture("image/gif", gif(frames, duration=[10, 20, 30, 40]), gray=False).frame_time_ms is None
    one = read_picture("image/gif", gif(frames[:1]), gray=False)
    assert (one.frames, one.samples, one.photometric) == (1, 3, "RGB")


def test_colours_are_not_made_gray() -> None:
    with pytest.raises(InvalidRequestError, match="has colours"):
        read_picture("image/png", saved(Image.fromarray(RGB), "PNG"), gray=True)


def bomb(columns: int, rows: int) -> memoryview:
    head = struct.pack(">IIBBBBB", columns, rows, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    made = [struct.pack(">I", len(v)) + k + v + struct.pack(">I", zlib.crc32(k + v)) for k, v in chunks]
    return memoryview(b"\x89PNG\r\n\x1a\n" + b"".join(made))


def test_size_is_judged_before_anything_is_inflated(monkeypatch: pytest.MonkeyPatch) -> None:
    def png_decode(_data: object) -> None:
        raise AssertionError("it was decoded")

    monkeypatch.setattr(pictures.imagecodecs, "png_decode", png_decode)
    with pytest.raises(TooLargeError, match=str(PICTURE_BYTES_MAX)):
        read_picture("image/png", bomb(60000, 60000), gray=False)
    with pytest.raises(InvalidRequestError, match="65535"):
        read_picture("image/png", bomb(70000, 1), gray=False)


def test_an_animation_is_counted_while_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    data = gif([np.full((10, 10), n, np.uint8) for n in range(8)])
    monkeypatch.setattr(pictures, "PICTURE_BYTES_MAX", 3 * 100 * 5)
    with pytest.raises(TooLargeError):
        read_picture("image/gif", data, gray=False)
    monkeypatch.setattr(pictures, "PICTURE_BYTES_MAX", PICTURE_BYTES_MAX)
    monkeypatch.setattr(pictures, "PICTURE_FRAMES_MAX", 7)
    with pytest.raises(TooLargeError, match="7 frames"):
        read_picture("image/gif", data, gray=False)


def test_other_types_are_not_decoded() -> None:
    with pytest.raises(UnsupportedError):
        read_picture("image/webp", memoryview(b"RIFF"), gray=False)


@given(
    st.sampled_from(["image/png", "image/gif"]),
    st.integers(0, 2000),
    st.integers(0, 255),
    st.integers(0, 400) | st.none(),
)
def test_any_damage_is_told_as_a_request_error(kind: str, place: int, value: int, cut: int | None) -> None:
    data = saved(Image.fromarray(RGB), "PNG") if kind == "image/png" else gif([GRAY, 255 - GRAY, GRAY])
    damaged = bytearray(data)
    damaged[place % len(damaged)] = value
    with contextlib.suppress(RequestError):
        read_picture(kind, memoryview(bytes(damaged[:cut])), gray=False)

"""Pixel data: absent, empty, too short, of all transfer syntaxes, in one fragment and in many (PS3.5 8.2, annex A.4)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Final

import imagecodecs
import numpy as np

from corpus.elements import BIG, DEFLATED_LE, EXPLICIT, EXPLICIT_LE, IMPLICIT, PIXEL_DATA, SIDE, UNDEFINED, Body
from corpus.odd import OddObject, from_body, kept, refused

FAMILIES: Final = (
    # name, transfer syntax, may its frames be split into fragments freely?
    ("rle", "1.2.840.10008.1.2.5", False),
    ("jpeg-baseline", "1.2.840.10008.1.2.4.50", True),
    ("jpeg-extended", "1.2.840.10008.1.2.4.51", True),
    ("jpeg-spectral-retired", "1.2.840.10008.1.2.4.53", True),
    ("jpeg-progressive-retired", "1.2.840.10008.1.2.4.55", True),
    ("jpeg-lossless", "1.2.840.10008.1.2.4.57", True),
    ("jpeg-lossless-sv1", "1.2.840.10008.1.2.4.70", True),
    ("jpeg-ls", "1.2.840.10008.1.2.4.80", True),
    ("jpeg-ls-near", "1.2.840.10008.1.2.4.81", True),
    ("jpeg-2000-lossless", "1.2.840.10008.1.2.4.90", True),
    ("jpeg-2000", "1.2.840.10008.1.2.4.91", True),
    ("jpeg-2000-part-2-lossless", "1.2.840.10008.1.2.4.92", True),
    ("jpeg-2000-part-2", "1.2.840.10008.1.2.4.93", True),
    ("mpeg-2", "1.2.840.10008.1.2.4.100", True),
    ("mpeg-2-high", "1.2.840.10008.1.2.4.101", True),
    ("mpeg-4", "1.2.840.10008.1.2.4.102", True),
    ("mpeg-4-bluray", "1.2.840.10008.1.2.4.103", True),
    ("mpeg-4-2d", "1.2.840.10008.1.2.4.104", True),
    ("mpeg-4-3d", "1.2.840.10008.1.2.4.105", True),
    ("mpeg-4-stereo", "1.2.840.10008.1.2.4.106", True),
    ("hevc", "1.2.840.10008.1.2.4.107", True),
    ("hevc-10", "1.2.840.10008.1.2.4.108", True),
    ("jpeg-xl-lossless", "1.2.840.10008.1.2.4.110", True),
    ("jpeg-xl-recompression", "1.2.840.10008.1.2.4.111", True),
    ("jpeg-xl", "1.2.840.10008.1.2.4.112", True),
    ("htj2k-lossless", "1.2.840.10008.1.2.4.201", True),
    ("htj2k-lossless-rpcl", "1.2.840.10008.1.2.4.202", True),
    ("htj2k", "1.2.840.10008.1.2.4.203", True),
    ("encapsulated-uncompressed", "1.2.840.10008.1.2.1.98", True),
    ("deflated-frames", "1.2.840.10008.1.2.8.1", True),
)
_NO_PIXELS: Final = (("jpip", "1.2.840.10008.1.2.4.94"), ("jpip-htj2k", "1.2.840.10008.1.2.4.204"))


def objects() -> Iterator[OddObject]:
    """About 170 objects."""
    yield from _native()
    for name, syntax, divisible in FAMILIES:
        yield from _encapsulated(name, syntax, divisible)
    for name, syntax in _NO_PIXELS:
        body = Body(f"pixels/{name}").drop(PIXEL_DATA).put(0x00287FE0, "UR", "http://127.0.0.1:9/pixels?x=1")
        yield from_body(body, kept("the pixels are elsewhere", firm=False), transfer_syntax=syntax)
    yield from _odd_encapsulation()
    yield from _deflated()


def encapsulated(
    fragments: list[bytes], offsets: list[int] | None = None, *, table: bool = True, closed: bool = True
) -> bytes:
    """Pixel Data of undefined length: the basic offset table (empty unless `offsets`), the fragments, the delimiter."""
    out = EXPLICIT.element(PIXEL_DATA, "OB", b"", length=UNDEFINED)
    if table:
        out += EXPLICIT.item(struct.pack(f"<{len(offsets or [])}I", *(offsets or [])))
    out += b"".join(EXPLICIT.item(fragment) for fragment in fragments)
    return out + (EXPLICIT.mark(0xFFFEE0DD, 0) if closed else b"")


# --- native ---


def _native() -> Iterator[OddObject]:
    why = "what the pixels are does not matter for keeping them"
    for coder_name, coder in (("explicit", EXPLICIT), ("implicit", IMPLICIT), ("big", BIG)):
        yield from_body(Body(f"pixels/right-{coder_name}", coder), kept("a right object"))
        yield from_body(Body(f"pixels/none-{coder_name}", coder).drop(PIXEL_DATA), kept("no pixel data"))
        yield from_body(Body(f"pixels/empty-{coder_name}", coder).put(PIXEL_DATA, "OW", b""), kept("empty pixel data"))
        body = Body(f"pixels/odd-length-{coder_name}", coder).put(PIXEL_DATA, "OB", bytes(SIDE * SIDE - 1), pad=False)
        yield from_body(body, kept("odd lengths are wrong (PS3.5 7.1.1) and common"))
        yield from_body(Body(f"pixels/too-short-{coder_name}", coder).put(PIXEL_DATA, "OW", bytes(100)), kept(why))
        yield from_body(Body(f"pixels/too-long-{coder_name}", coder).put(PIXEL_DATA, "OW", bytes(5000)), kept(why))
    for name, tag, vr, bits in (("float", 0x7FE00008, "OF", 32), ("double", 0x7FE00009, "OD", 64)):
        body = Body(f"pixels/{name}").drop(PIXEL_DATA).put(0x00280100, "US", EXPLICIT.number(bits))
        yield from_body(body.put(tag, vr, bytes(SIDE * SIDE * bits // 8)), kept("float pixels are right"))
    for name, bits in (
        ("1-bit", 1),
        ("8-bit", 8),
        ("12-bit-packed", 12),
        ("32-bit", 32),
        ("0-bit", 0),
        ("65535-bit", 65535),
    ):
        body = Body(f"pixels/{name}").put(0x00280100, "US", EXPLICIT.number(bits))
        yield from_body(body.put(PIXEL_DATA, "OW", bytes(max(2, SIDE * SIDE * min(bits, 64) // 8))), kept(why))
    for name, tag, value in (
        ("rows-0", 0x00280010, 0), ("rows-65535", 0x00280010, 65535), ("samples-0", 0x00280002, 0),
        ("samples-7", 0x00280002, 7), ("high-bit-99", 0x00280102, 99), ("representation-9", 0x00280103, 9),
    ):  # fmt: skip
        yield from_body(Body(f"pixels/{name}").put(tag, "US", EXPLICIT.number(value)), kept(why))
    yield from_body(Body("pixels/rows-missing").drop(0x00280010), kept(why))
    yield from_body(Body("pixels/photometric-missing").drop(0x00280004), kept(why))
    for name, frames in (("many", "100000"), ("negative", "-1"), ("zero", "0"), ("text", "ten")):
        yield from_body(Body(f"pixels/frames-{name}").put(0x00280008, "IS", frames), kept(why))
    body = Body("pixels/undefined-length-in-native-syntax").raw(PIXEL_DATA, encapsulated([bytes(512)]))
    yield from_body(body, kept("encapsulated although the transfer syntax says native", firm=False))
    body = Body("pixels/icon-with-pixels")
    icon = EXPLICIT.element(0x00280010, "US", EXPLICIT.number(2)) + EXPLICIT.element(PIXEL_DATA, "OW", bytes(8))
    yield from_body(
        body.raw(0x00880200, EXPLICIT.sequence(0x00880200, [icon])), kept("an icon has pixel data of its own")
    )


# --- encapsulated ---


def _encapsulated(name: str, syntax: str, divisible: bool) -> Iterator[OddObject]:
    why = "every transfer syntax is stored as it came"
    frames = [_frame(syntax, shade) for shade in (40, 90, 140)]
    starts = [0, len(frames[0]) + 8, len(frames[0]) + len(frames[1]) + 16]
    body = _image(f"syntax/{name}-one-frame", 1).raw(PIXEL_DATA, encapsulated(frames[:1], [0]))
    yield from_body(body, kept(why), transfer_syntax=syntax)
    body = _image(f"syntax/{name}-three-frames-table", 3).raw(PIXEL_DATA, encapsulated(frames, starts))
    yield from_body(body, kept(why), transfer_syntax=syntax)
    body = _image(f"syntax/{name}-three-frames-no-table", 3).raw(PIXEL_DATA, encapsulated(frames))
    yield from_body(body, kept(why), transfer_syntax=syntax)
    if divisible:
        half = len(frames[0]) // 4 * 2
        pieces = [frames[0][:half], frames[0][half:]]
        body = _image(f"syntax/{name}-several-fragments", 1).raw(PIXEL_DATA, encapsulated(pieces, [0]))
        yield from_body(body, kept(why), transfer_syntax=syntax)
    if name in ("jpeg-baseline", "jpeg-2000-lossless", "htj2k-lossless", "rle"):
        body = _image(f"syntax/{name}-extended-table", 3).raw(PIXEL_DATA, encapsulated(frames))
        body.put(0x7FE00001, "OV", struct.pack("<3Q", *starts))
        body.put(0x7FE00002, "OV", struct.pack("<3Q", *map(len, frames)))
        yield from_body(body, kept("extended offset table (PS3.5 A.4)"), transfer_syntax=syntax)


def _image(name: str, frames: int) -> Body:
    body = Body(name, sop_class="1.2.840.10008.5.1.4.1.1.7.2").put(0x00280008, "IS", str(frames))
    for tag, value in ((0x00280100, 8), (0x00280101, 8), (0x00280102, 7)):
        body.put(tag, "US", EXPLICIT.number(value))
    return body


def _frame(syntax: str, shade: int) -> bytes:
    """A real code stream where an encoder is at hand, else bytes that begin as one of the family does."""
    pixels = (np.arange(SIDE * SIDE, dtype=np.uint16).reshape(SIDE, SIDE) % 50 + shade).astype(np.uint8)
    data: bytes | bytearray
    last = syntax.rsplit(".", 2)[-2:]
    if syntax.endswith(".1.2.5"):
        data = _rle(pixels)
    elif last == ["4", "50"]:
        data = imagecodecs.jpeg8_encode(pixels, level=90)
    elif last in (["4", "57"], ["4", "70"]):
        data = imagecodecs.ljpeg_encode(pixels, bitspersample=8)
    elif last == ["4", "80"]:
        data = imagecodecs.jpegls_encode(pixels)
    elif last == ["4", "81"]:
        data = imagecodecs.jpegls_encode(pixels, level=2)
    elif last in (["4", "90"], ["4", "91"]):
        data = imagecodecs.jpeg2k_encode(pixels, codecformat="j2k", reversible=True, level=0)
    elif last in (["4", "201"], ["4", "202"], ["4", "203"]):
        data = imagecodecs.htj2k_encode(pixels, reversible=True)
    elif last in (["4", "110"], ["4", "112"]):
        data = imagecodecs.jpegxl_encode(pixels, lossless=True)
    elif last == ["1", "98"]:
        data = pixels.tobytes()
    elif last == ["8", "1"]:
        packer = zlib.compressobj(wbits=-15)
        data = packer.compress(pixels.tobytes()) + packer.flush()
    else:
        data = b"\0\0\1\xb3" + pixels.tobytes()
    data = bytes(data)
    return data + b"\0" * (len(data) % 2)


def _rle(pixels: np.ndarray) -> bytes:
    packed = b"".join(bytes([SIDE - 1]) + row.tobytes() for row in pixels)
    return struct.pack("<16I", 1, 64, *[0] * 14) + packed


def _odd_encapsulation() -> Iterator[OddObject]:
    syntax = "1.2.840.10008.1.2.4.50"
    frame = _frame(syntax, 60)
    why = "how fragments lie does not matter for keeping them"
    for name, encoded, frames, firm in (
        ("table-missing", encapsulated([frame], table=False), 1, False),
        ("table-wrong", encapsulated([frame, frame], [0, 3]), 2, True),
        ("table-past-end", encapsulated([frame], [0, 999999]), 1, True),
        ("table-longer-than-frames", encapsulated([frame], [0, 8, 16, 24]), 1, True),
        ("no-fragment", encapsulated([]), 1, True),
        ("empty-fragments", encapsulated([b"", frame, b""]), 1, True),
        ("odd-fragment", encapsulated([frame + b"\0"]), 1, True),
        ("5000-fragments", encapsulated([frame[n % 100 : n % 100 + 2] for n in range(5000)]), 1, True),
        ("fewer-fragments-than-frames", encapsulated([frame]), 10, True),
        ("more-fragments-than-frames", encapsulated([frame] * 10), 1, True),
        ("garbage-frame", encapsulated([b"This is no JPEG stream. "]), 1, True),
        ("zeros-behind-delimiter", encapsulated([frame]) + bytes(64), 1, False),
        ("jpeg-2000-instead", encapsulated([_frame("1.2.840.10008.1.2.4.90", 60)]), 1, True),
        (
            "with-jfif-file-around",
            encapsulated([b"\xff\xd8\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0" + frame[2:]]),
            1,
            True,
        ),
    ):
        body = _image(f"fragments/{name}", frames).raw(PIXEL_DATA, encoded)
        yield from_body(body, kept(why, firm=firm), transfer_syntax=syntax)
    body = _image("fragments/defined-length", 1).put(PIXEL_DATA, "OB", frame)
    yield from_body(
        body, kept("native although the transfer syntax is encapsulated", firm=False), transfer_syntax=syntax
    )
    body = _image("fragments/never-closed", 1).raw(PIXEL_DATA, encapsulated([frame], closed=False))
    yield from_body(
        body, kept("all fragments are there, only the delimiter is not", firm=False), transfer_syntax=syntax
    )
    body = _image("fragments/last-fragment-cut", 1).raw(PIXEL_DATA, encapsulated([frame], closed=False)[:-20])
    why_cut = "the last fragment is cut, which only walking over all fragments would tell"
    yield from_body(body, kept(why_cut, firm=False), transfer_syntax=syntax)


def _deflated() -> Iterator[OddObject]:
    for name, wbits, expectation in (
        ("right", -15, kept("deflated (PS3.5 A.5)")),
        ("with-zlib-header", 15, kept("some writers add the zlib header", firm=False)),
    ):
        body = Body(f"deflated/{name}")
        packer = zlib.compressobj(wbits=wbits)
        data = packer.compress(body.encoded()) + packer.flush()
        data += b"\0" * (len(data) % 2)
        yield from_body(body, expectation, transfer_syntax=DEFLATED_LE, data_set=data)
    body = Body("deflated/not-deflated")
    yield from_body(body, refused("not deflated at all", "C000"), transfer_syntax=DEFLATED_LE)
    body = Body("deflated/garbage")
    yield from_body(body, refused("not deflated at all", "C000"), transfer_syntax=DEFLATED_LE, data_set=b"\xff" * 600)
    body = Body("deflated/cut-in-header")
    packer = zlib.compressobj(wbits=-15)
    data = packer.compress(body.encoded()) + packer.flush()
    cut = data[: len(data) // 8]
    yield from_body(body, refused("cut", firm=True), transfer_syntax=DEFLATED_LE, data_set=cut)
    body = Body("deflated/explicit-announced-deflated-sent")
    packer = zlib.compressobj(wbits=-15)
    data = packer.compress(body.encoded()) + packer.flush()
    yield from_body(body, refused("not what was negotiated"), transfer_syntax=EXPLICIT_LE, data_set=data)
    body = Body("deflated/bomb").put(0x00291001, "OB", bytes(32 * 1024 * 1024))
    packer = zlib.compressobj(9, wbits=-15)
    data = packer.compress(body.encoded()) + packer.flush()
    yield from_body(
        body, kept("32 MB of zeros in 32 KB must not hurt", firm=False), transfer_syntax=DEFLATED_LE, data_set=data
    )

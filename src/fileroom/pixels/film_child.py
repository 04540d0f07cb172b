"""The program that decodes and encodes films, in a process of its own: `python -I film_child.py decode|encode NUMBERS...`.

FFmpeg reads what strangers made. Here its mistakes end a process without rights to anything: one that may not write
files, has bounds for memory and processor time set before the first byte, opens no container but those of DICOM video
(PS3.5 8.2.5 to 8.2.12) and no address at all, and uses one thread (several have crashed on cut streams). `film.py` starts
and ends it. It imports nothing of Fileroom, so that it starts in a tenth of a second.

Messages out: one letter and the length of what follows (`<cQ`). R: offset and length of bytes wanted. F: index, width,
height, bytes of a line, milliseconds that a frame lasts (0: unknown), and its RGB. M: an MP4 file. E: a letter for the
kind of error, and a sentence. Z: all is said. Messages in, to decode: the answers to R, each with its length (`<I`); to
encode: for each picture the microseconds that it is shown (`<Q`), and its RGB.
"""

from __future__ import annotations

import io
import itertools
import struct
import sys
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any, Final

_FORMATS: Final = "mov,mp4,m4a,3gp,3g2,mj2,mpegts,mpeg,mpegvideo,h264,hevc"
_CODECS: Final = "mpeg1video,mpeg2video,h264,hevc"
_READ_BYTES: Final = 256 * 1024
_SEEK_FROM_FRAME: Final = 100
"""Nearer frames are decoded to from the start, which needs no trust in time stamps."""
_HD_ROWS: Final = 720
"""From here on films that do not tell their colours have those of BT.709, smaller ones those of BT.601."""
_TICKS_PER_S: Final = 90_000
_OPEN_FILES_MAX: Final = 64


class FilmError(Exception):
    """A letter (I: broken, N: no such frame, T: too large, U: not possible here) and a sentence."""

    def __init__(self, kind: str, sentence: str) -> None:
        super().__init__(sentence)
        self.kind = kind


def main(arguments: Sequence[str]) -> None:
    """Do one job; what goes wrong is told in a message."""
    job, (memory_bytes, seconds, *numbers) = arguments[0], [int(text) for text in arguments[1:]]
    try:
        limit(memory_bytes, seconds)
        av = load()
        if job == "decode":
            decode(av, *numbers)
        else:
            encode(av, *numbers)
        say(b"Z")
    except FilmError as error:
        say(b"E", error.kind.encode(), str(error).encode())
    except MemoryError:
        say(b"E", b"T", b"the film needs more memory than one may have")
    except Exception as error:  # noqa: BLE001  # the edge of the process; a crash would say less
        say(b"E", b"I", f"FFmpeg says: {error}"[:300].encode())


def limit(memory_bytes: int, seconds: int) -> None:
    """Bounds that the system keeps, where it has such."""
    if sys.platform != "win32":
        import resource

        bounds = [
            (resource.RLIMIT_CORE, 0),
            (resource.RLIMIT_FSIZE, 0),
            (resource.RLIMIT_CPU, seconds),
            (resource.RLIMIT_NOFILE, _OPEN_FILES_MAX),
            (resource.RLIMIT_AS, memory_bytes),
        ]
        for what, most in bounds:
            try:
                resource.setrlimit(what, (most, most))
            except (ValueError, OSError):  # not every system knows each of them, or may lower it
                continue


def load() -> Any:
    """The package `av`, silent."""
    try:
        import av
    except ImportError as error:
        raise FilmError("U", "video cannot be decoded here, because the package 'av' is not installed") from error
    av.logging.set_level(av.logging.PANIC)
    return av


# --- decode ---


def decode(av: Any, bytes_total: int, pixels_max: int, frames_max: int, is_last_enough: int, *wanted: int) -> None:
    """Send the frames `wanted` (ascending, from 0), or all when there are none named.

    `is_last_enough`: when the film ends before the one that is wanted, its last frame is sent in its place.
    """
    last = wanted[-1] if wanted else None
    asked = frozenset(wanted)
    kept: Any = None
    count = sent = 0
    for index, frame, frame_ms in frames_from(av, bytes_total, wanted[0] if wanted else 0):
        count = index + 1
        if frame.width * frame.height > pixels_max:
            raise FilmError("T", f"its frames of {frame.width} x {frame.height} pixels are larger than is decoded")
        if not asked or index in asked:
            if sent == frames_max:
                raise FilmError("T", f"the film has more than {frames_max} frames; ask for some of them by number")
            send_frame(index, frame, frame_ms)
            sent += 1
        kept = frame if is_last_enough else None
        if last is not None and index >= last:
            return
    if is_last_enough and not sent and kept is not None:
        send_frame(count - 1, kept, 0.0)
    elif not count:
        raise FilmError("I", "no frame of the film can be decoded; it is damaged, cut, or of another kind than it says")
    elif last is not None:
        raise FilmError("N", f"frame {last + 1} was asked for, but the film has {count}")


def frames_from(av: Any, bytes_total: int, first: int) -> Iterator[tuple[int, Any, float]]:
    """(index, frame, milliseconds) in the order of showing, from `first` or an earlier one on."""
    if first >= _SEEK_FROM_FRAME:
        container, stream = opened(av, bytes_total)
        if jumped(av, container, stream, first):
            frames = decoded(av, container, stream)
            frame = next(frames, None)
            index = index_of(frame, stream)
            if index is not None and index <= first:
                for at, one in enumerate(itertools.chain([frame], frames), index):
                    yield at, one, frame_ms(stream)
                return
    container, stream = opened(av, bytes_total)
    for index, frame in enumerate(decoded(av, container, stream)):
        yield index, frame, frame_ms(stream)


def opened(av: Any, bytes_total: int) -> tuple[Any, Any]:
    """The container and its film."""
    options = {"format_whitelist": _FORMATS, "codec_whitelist": _CODECS, "protocol_whitelist": "none"}
    container = av.open(Asked(bytes_total), options=options, buffer_size=_READ_BYTES)
    if not container.streams.video:
        raise FilmError("I", "there is no film in the stream")
    stream = container.streams.video[0]
    if stream.codec_context is None or stream.codec_context.name not in _CODECS.split(","):
        raise FilmError("I", "the film is coded in a way that DICOM does not have, or cut before its first frame")
    stream.codec_context.thread_count = 1
    stream.codec_context.thread_type = "NONE"
    return container, stream


def decoded(av: Any, container: Any, stream: Any) -> Iterator[Any]:
    """Frames in order; damaged packets are passed over, as players do."""
    for packet in container.demux(stream):
        try:
            yield from packet.decode()
        except av.error.InvalidDataError:
            continue


def jumped(av: Any, container: Any, stream: Any, index: int) -> bool:
    """Go to a key frame before `index`, where a constant rate says when it is shown."""
    rate = stream.average_rate
    if not rate or rate != stream.base_rate or stream.duration is None or stream.time_base is None:
        return False
    try:
        container.seek((stream.start_time or 0) + round(index / rate / stream.time_base), stream=stream)
    except av.error.FFmpegError:
        return False
    return True


def index_of(frame: Any, stream: Any) -> int | None:
    """Which one it is by its time stamp."""
    if frame is None or frame.pts is None:
        return None
    return max(int((frame.pts - (stream.start_time or 0)) * stream.time_base * stream.average_rate + Fraction(1, 2)), 0)


def frame_ms(stream: Any) -> float:
    """How long the stream says that a frame lasts; 0 when it does not say."""
    rate = stream.average_rate
    return float(1000 / rate) if rate else 0.0


def send_frame(index: int, frame: Any, milliseconds: float) -> None:
    """As RGB of 8 bits each."""
    unspecified = int(frame.colorspace) not in (1, 5, 6, 9)  # AVColorSpace: BT.709, BT.470BG, SMPTE 170M, BT.2020
    colors = ("ITU709" if frame.height >= _HD_ROWS else "ITU601") if unspecified else None
    picture = frame.reformat(format="rgb24", src_colorspace=colors, dst_color_range="JPEG", threads=1)
    plane = picture.planes[0]
    say(b"F", struct.pack("<IIIId", index, picture.width, picture.height, plane.line_size, milliseconds), bytes(plane))


class Asked:
    """The stream as a file: bytes come from the parent when they are asked for."""

    def __init__(self, bytes_total: int) -> None:
        self._total = bytes_total
        self._at = 0

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes from here."""
        left = max(self._total - self._at, 0)
        size = left if size < 0 else min(size, left, _READ_BYTES)
        if not size:
            return b""
        say(b"R", struct.pack("<QI", self._at, size))
        data = heard(struct.unpack("<I", heard(4))[0])
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        """As files do."""
        self._at = max(offset + (0, self._at, self._total)[whence], 0)
        return self._at

    def tell(self) -> int:
        """Where it is."""
        return self._at


# --- encode ---


def encode(av: Any, columns: int, rows: int, crf: int, file_bytes_max: int, threads: int) -> None:
    """Pictures until the end of input to H.264 High Profile, 4:2:0, BT.709, in an MP4 that plays while it loads."""
    file = io.BytesIO()

    def open_again(_url: str, _flags: int, _options: object) -> io.BytesIO:
        """FFmpeg reads the file a second time to move its index to the front."""
        return io.BytesIO(file.getvalue())

    container = av.open(file, "w", format="mp4", options={"movflags": "faststart"}, io_open=open_again)
    stream = container.add_stream("libx264", rate=25, options={"preset": "veryfast", "crf": str(crf)})
    stream.width, stream.height, stream.pix_fmt = columns, rows, "yuv420p"
    context = stream.codec_context
    context.time_base = stream.time_base = Fraction(1, _TICKS_PER_S)
    context.thread_count = threads
    context.colorspace, context.color_primaries, context.color_trc, context.color_range = 1, 1, 1, 1
    durations: dict[int, int] = {}
    for frame in pictures(av, columns, rows, durations):
        write(container, stream.encode(frame), durations)
        if file.tell() > file_bytes_max:
            raise FilmError("T", f"the film has more than {file_bytes_max} bytes; ask for fewer frames or a viewport")
    write(container, stream.encode(None), durations)
    container.close()
    say(b"M", file.getvalue())


def pictures(av: Any, columns: int, rows: int, durations: dict[int, int]) -> Iterator[Any]:
    """The frames that come; `durations` gets the ticks of each by its time stamp."""
    at_us = 0
    while head := sys.stdin.buffer.read(8):
        shown_us = int(struct.unpack("<Q", head)[0])
        rgb = av.VideoFrame(columns, rows, "rgb24")
        plane = rgb.planes[0]
        data = heard(columns * rows * 3)
        line = columns * 3
        if plane.line_size != line:
            gap = bytes(plane.line_size - line)
            data = b"".join(data[i : i + line] + gap for i in range(0, len(data), line))
        plane.update(data)
        frame = rgb.reformat(
            format="yuv420p",
            src_colorspace="ITU709",
            dst_colorspace="ITU709",
            src_color_range="JPEG",
            dst_color_range="MPEG",
            threads=1,
        )
        frame.pts, frame.time_base = ticks(at_us), Fraction(1, _TICKS_PER_S)
        durations[frame.pts] = ticks(at_us + shown_us) - frame.pts
        at_us += shown_us
        yield frame


def write(container: Any, packets: Sequence[Any], durations: dict[int, int]) -> None:
    """Each packet with the time that its picture is shown; encoders only know an average."""
    for packet in packets:
        packet.duration = durations.pop(packet.pts, packet.duration)
        container.mux(packet)


def ticks(microseconds: int) -> int:
    """Of the film's clock."""
    return microseconds * _TICKS_PER_S // 1_000_000


# --- the pipes ---


def say(letter: bytes, *parts: bytes) -> None:
    """One message to the parent."""
    out = sys.stdout.buffer
    out.write(struct.pack("<cQ", letter, sum(map(len, parts))))
    for part in parts:
        out.write(part)
    out.flush()


def heard(length: int) -> bytes:
    """Exactly `length` bytes of the parent; without them there is nobody left to work for."""
    data = sys.stdin.buffer.read(length)
    if len(data) != length:
        sys.exit(1)
    return data


if __name__ == "__main__":
    main(sys.argv[1:])

"""A message as its sender wrote it: segments, fields, repetitions, components, subcomponents (HL7 v2.5.1 ch. 2).

`parse_message` finds the segments and no more; a field is parted when it is asked for, so that the header of a message
with fifty megabytes in one field costs what any header costs. The bytes stay what they were (`Message.raw`); texts are
decoded and unescaped as they are taken out. Wrong line ends, blank lines, line ends within a text and a damaged MSH-2
are read for what they mean, and `Message.warnings` tells them. Version 2.1 to 2.8 differ in what stands where, not in how
it is written.

Places are given as in `hl7.path`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import islice
from typing import Final

from fileroom.core.errors import told
from fileroom.hl7.charsets import Charset, charset_of, decode, find_charset, is_clean
from fileroom.hl7.edit import replace_value
from fileroom.hl7.path import Path, read_path
from fileroom.hl7.scan import BLANK, SEGMENTS_MAX, find_header, segment_spans
from fileroom.hl7.segment import FIELDS_MAX, Dialect, Field, Repetition, Segment
from fileroom.hl7.separators import Separators, read_separators

__all__ = ["Field", "Message", "Repetition", "Segment", "SegmentGroup", "parse_message"]

_TEXT_SHOWN_MAX: Final = 40


class SegmentGroup:
    """Segments that belong together, in their order."""

    __slots__ = ("segments",)

    def __init__(self, segments: Sequence[Segment]) -> None:
        self.segments = tuple(segments)

    def first(self, name: str) -> Segment | None:
        """The first segment of that name."""
        for segment in self.segments:
            if segment.name == name:
                return segment
        return None

    def all(self, name: str) -> tuple[Segment, ...]:
        """All segments of that name."""
        return tuple(segment for segment in self.segments if segment.name == name)

    def get(self, path: str) -> str:
        """Text at a path, unescaped; "" where nothing is or where it is to be taken away.

        Without a component it is the first, and of several subcomponents the first; `whole` gives all of a field.
        """
        where = read_path(path)
        segment = self._at(where)
        return "" if segment is None else segment.value(where.field, where.repetition, where.component, where.sub)

    def said(self, path: str) -> str | None:
        """Like `get`, but None where nothing is said: then "" means that the value is to be taken away."""
        where = read_path(path)
        segment = self._at(where)
        if segment is None:
            return None
        return segment.field(where.field).repetition(where.repetition).said(where.component or 1, where.sub or 1)

    def whole(self, path: str) -> str:
        """Text at a path with the separators that stand in it: of senders who do not escape & and ^ in free text."""
        where = read_path(path)
        segment = self._at(where)
        if segment is None:
            return ""
        repetition = segment.field(where.field).repetition(where.repetition)
        return repetition.whole(where.component) if where.component else repetition.text

    def groups(self, starts: Sequence[str]) -> tuple[SegmentGroup, ...]:
        """The groups that begin at one of these names, which are given from outer to inner.

        `("ORC", "OBR")`: an OBR belongs to the ORC before it; another OBR, or one without ORC, begins a group of its own.
        What stands before the first is in none.
        """
        rank = {name: place for place, name in enumerate(starts)}
        groups: list[list[Segment]] = []
        last = len(starts)
        for segment in self.segments:
            place = rank.get(segment.name)
            if place is not None:
                if not groups or place <= last:
                    groups.append([])
                last = place
            if groups:
                groups[-1].append(segment)
        return tuple(SegmentGroup(group) for group in groups)

    def _at(self, where: Path) -> Segment | None:
        found = self.first(where.segment) if where.occurrence == 1 else None
        if where.occurrence > 1:
            found = next(
                islice((s for s in self.segments if s.name == where.segment), where.occurrence - 1, None), None
            )
        return found


class Message(SegmentGroup):
    """A message. Made by `parse_message`."""

    __slots__ = ("_charset", "_dialect", "_warnings", "_work", "raw")

    def __init__(
        self, raw: bytes, work: bytes, charset: Charset, dialect: Dialect, segments: Sequence[Segment]
    ) -> None:
        super().__init__(segments)
        self.raw = raw
        self._work = work
        self._charset = charset
        self._dialect = dialect
        self._warnings: tuple[str, ...] | None = None

    @property
    def kind(self) -> str:
        """Message type and trigger event, as in ADT^A40 (MSH-9.1 and MSH-9.2); ACK alone where no event is said."""
        return "^".join(part for part in (self.get("MSH-9.1"), self.get("MSH-9.2")) if part)

    @property
    def control_id(self) -> str:
        """MSH-10."""
        return self.get("MSH-10")

    @property
    def version(self) -> str:
        """MSH-12.1, for example 2.5.1."""
        return self.get("MSH-12")

    @property
    def charset(self) -> str:
        """The first character set that MSH-18 names, as it names it; "" without one."""
        return self._charset.said

    @property
    def encoding(self) -> Charset:
        """How its bytes were read."""
        return self._charset

    @property
    def separators(self) -> Separators:
        """As its header gives them."""
        return self._dialect.separators

    @property
    def text(self) -> str:
        """All of it as people see it: decoded, one line for a segment, nothing unescaped."""
        return "\n".join(decode(segment.raw, self._dialect.codec) for segment in self.segments)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is not as it should be and was read for what it means; sentences."""
        if self._warnings is None:
            self._warnings = tuple(_find_warnings(self, self._work, self._dialect))
        return self._warnings

    def with_value(self, path: str, text: str) -> Message:
        """The message with another text at a place; all other bytes as they were.

        The text is escaped. A place without a component is the whole repetition. What is not there yet is made.
        Raises Hl7Error for a place that cannot be, or for a text that the message's character set does not have.
        """
        edited = replace_value(self.raw, self.separators, self._charset, read_path(path), text)
        return parse_message(edited, assumed_charset=self._charset.said)

    def __repr__(self) -> str:
        return f"Message({self.kind}, {len(self.segments)} segments, {len(self.raw)} bytes)"


def parse_message(raw: bytes, *, assumed_charset: str = "") -> Message:
    """The message in these bytes, which may have blank lines around it.

    `assumed_charset`: of senders that name none. Raises Hl7Error when there is no MSH, or an MSH that separates nothing.
    """
    raw = bytes(raw)
    work, start, unicode_codec = find_header(raw)
    separators = read_separators(work[start : start + 32])
    spans = segment_spans(work, start, separators.field)
    charset = _find_charset(work, work[start : spans[0][1]], separators, assumed_charset)
    codec = charset.codec
    if unicode_codec:
        charset, codec = Charset(charset.said, unicode_codec), "utf-8"
    elif charset.hides_separators or b"\x1b$" in work:
        work = work[:start] + decode(work[start:], codec).encode("utf-8", "replace")
        codec = "utf-8"
        spans = segment_spans(work, start, separators.field)
    dialect = Dialect(separators, codec)
    segments = [Segment(work[begin:end], dialect) for begin, end in spans]
    return Message(raw, work, charset, dialect, segments[:SEGMENTS_MAX])


# --- finding ---


def _find_charset(work: bytes, header: bytes, separators: Separators, assumed: str) -> Charset:
    fields = header.split(separators.field, 18)
    said = fields[17] if len(fields) > 17 else b""
    return _known_charset(said) or charset_of(_names(said, separators.repetition), work, assumed)


@lru_cache(maxsize=256)
def _known_charset(said: bytes) -> Charset | None:
    """The set of a field that names one that is known, and no other."""
    return find_charset(said.decode("ascii").strip()) if said.isascii() and said.strip() else None


def _names(said: bytes, repetition: bytes) -> tuple[str, ...]:
    return tuple(name.decode("ascii", "replace") for name in said.split(repetition or b"~", 16))


# --- what is odd about it ---


def _find_warnings(message: Message, work: bytes, dialect: Dialect) -> list[str]:
    warnings = list(dialect.separators.warnings)
    start = work.find(b"MSH")
    if work[:start].strip(BLANK):
        warnings.append(told("something stands before MSH; it was left out"))
    lines = work[start:] if start > 0 else work
    if b"\n" in lines and b"\r" not in lines:
        warnings.append(told("its lines end with LF; they should end with CR"))
    elif b"\r\n" in lines:
        warnings.append(told("its lines end with CR LF; they should end with CR"))
    broken = [segment.name for segment in message.segments if b"\r" in segment.raw or b"\n" in segment.raw]
    if broken:
        warnings.append(
            told("line ends stand in the text of {names}; they were kept", names=", ".join(sorted(set(broken))[:10]))
        )
    if len(message.segments) >= SEGMENTS_MAX:
        warnings.append(told("it has more than {number} segments; the rest was not read", number=SEGMENTS_MAX))
    for segment in message.segments:
        if segment.raw.count(dialect.separators.field) >= FIELDS_MAX:
            warnings.append(
                told(
                    "{name} has more than {number} fields; the rest was not read", name=segment.name, number=FIELDS_MAX
                )
            )
            break
    return warnings + _charset_warnings(message)


def _charset_warnings(message: Message) -> list[str]:
    charset = message.encoding
    if not charset.is_known:
        return [
            told(
                "MSH-18 names the character set {name}, which is not known; texts were read as {codec}",
                name=charset.said[:_TEXT_SHOWN_MAX],
                codec=charset.codec,
            )
        ]
    if message.raw.isascii():
        return []
    if not charset.said:
        return [told("MSH-18 names no character set, but there are letters beyond ASCII; they were read as {codec}",
                     codec=charset.codec)]  # fmt: skip
    if not is_clean(message.raw, charset.codec):
        return [told("some bytes are not in the character set {name}; they were read for what they look like",
                     name=charset.said)]  # fmt: skip
    return []

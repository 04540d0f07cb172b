"""A message as its sender wrote it: segments, fields, repetitions, components, subcomponents (HL7 v2.5.1 ch. 2).

`parse_message` finds the segments and no more; a field is parted when it is asked for, so that the header of a message
with fifty megabytes in one field costs what any header costs. The bytes stay what they were (`Message.raw`); texts are
decoded and unescaped as they are taken out. Wrong line ends, blank lines, line ends within a text and a damaged MSH-2
are read for what they mean, and `Message.warnings` tells them. Version 2.1 to 2.8 differ in what stands where, not in how
it is written.

Places are given as in `hl7.path`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import islice
from typing import Final

from fileroom.core.errors import told
from fileroom.hl7.charsets import Charset, charset_of, decode, is_clean
from fileroom.hl7.edit import replace_value
from fileroom.hl7.escapes import carry_out_switches, unescape
from fileroom.hl7.path import Path, read_path
from fileroom.hl7.scan import BLANK, SEGMENTS_MAX, find_header, segment_spans
from fileroom.hl7.separators import Separators, read_separators

FIELDS_MAX: Final = 1_000
"""Of one segment. The longest of the standard has 80, vendors' Z-segments some hundred."""
REPETITIONS_MAX: Final = 1_000
"""Of one field. Patients with many names and numbers have some ten."""
COMPONENTS_MAX: Final = 200
"""Of one repetition, and subcomponents of one component. The longest data type has 23."""
_TEXT_SHOWN_MAX: Final = 40

_NULL: Final = b'""'
"""A value that is to be taken away (v2.5.1 2.5.3)."""


class Dialect:
    """How the bytes of one message become text."""

    __slots__ = ("codec", "escape", "separators")

    def __init__(self, separators: Separators, codec: str) -> None:
        self.separators = separators
        self.codec = codec
        self.escape = separators.escape or b"\xff\xff\xff"  # never in any text

    def text(self, data: bytes) -> str:
        """What the bytes of a component say."""
        if self.escape not in data:
            if data.isascii() and b"\x1b" not in data:
                return data.decode("ascii")
            return decode(data, self.codec)
        return unescape(carry_out_switches(data, self.codec), self.separators, self.codec)


class Repetition:
    """One value of a field, with its components."""

    __slots__ = ("_components", "_dialect", "raw")

    def __init__(self, raw: bytes, dialect: Dialect) -> None:
        self.raw = raw
        self._dialect = dialect
        self._components: list[bytes] | None = None

    def component(self, number: int) -> str:
        """Its text; of several subcomponents the first. "" if it is absent or taken away (`""`)."""
        return self.sub(number, 1)

    def sub(self, component: int, number: int = 1) -> str:
        """The text of a subcomponent, "" if absent or taken away."""
        parts = self.subcomponents(component)
        return _value(parts[number - 1], self._dialect) if number <= len(parts) else ""

    def whole(self, component: int) -> str:
        """A component as text with its subcomponents: what a sender means who does not escape & in "head & neck"."""
        data = self._component(component)
        return _value(data, self._dialect)

    def said(self, component: int, sub: int = 1) -> str | None:
        """None if it is absent, "" if it is to be taken away, else its text."""
        if self.is_null:
            return ""
        parts = self.subcomponents(component)
        data = parts[sub - 1] if sub <= len(parts) else b""
        return _value(data, self._dialect) if data else None

    def subcomponents(self, component: int) -> Sequence[bytes]:
        """The bytes of the subcomponents of a component."""
        sign = self._dialect.separators.subcomponent
        data = self._component(component)
        return _split(data, sign, COMPONENTS_MAX) if sign and sign in data else (data,)

    @property
    def components(self) -> Sequence[bytes]:
        """Their bytes."""
        if self._components is None:
            sign = self._dialect.separators.component
            self._components = _split(self.raw, sign, COMPONENTS_MAX) if sign and sign in self.raw else [self.raw]
        return self._components

    @property
    def text(self) -> str:
        """All of it, decoded and unescaped, with the separators that stand in it; "" if taken away."""
        return _value(self.raw, self._dialect)

    @property
    def is_null(self) -> bool:
        """To be taken away: `""`."""
        return self.raw == _NULL

    def _component(self, number: int) -> bytes:
        parts = self.components
        return parts[number - 1] if 0 < number <= len(parts) else b""

    def __repr__(self) -> str:
        return f"Repetition({len(self.raw)} bytes)"


class Field:
    """A field with its repetitions; absent ones have one, which is empty."""

    __slots__ = ("_dialect", "_repetitions", "raw")

    def __init__(self, raw: bytes, dialect: Dialect, *, is_whole: bool = False) -> None:
        self.raw = raw
        self._dialect = dialect
        self._repetitions: tuple[Repetition, ...] | None = None
        if is_whole:  # separators of a header are no text with separators in it
            self._repetitions = (Repetition(raw, Dialect(_NO_PARTS, dialect.codec)),)

    @property
    def repetitions(self) -> tuple[Repetition, ...]:
        """All of them, at least one."""
        if self._repetitions is None:
            sign = self._dialect.separators.repetition
            parts = _split(self.raw, sign, REPETITIONS_MAX) if sign and sign in self.raw else (self.raw,)
            self._repetitions = tuple(Repetition(part, self._dialect) for part in parts)
        return self._repetitions

    def repetition(self, number: int) -> Repetition:
        """The n-th one, or an empty one."""
        found = self.repetitions
        return found[number - 1] if 0 < number <= len(found) else Repetition(b"", self._dialect)

    def component(self, number: int) -> str:
        """Of the first repetition."""
        return self.repetitions[0].component(number)

    def sub(self, component: int, number: int = 1) -> str:
        """Of the first repetition."""
        return self.repetitions[0].sub(component, number)

    @property
    def text(self) -> str:
        """All of it, decoded and unescaped, with the separators that stand in it; "" if taken away."""
        return _value(self.raw, self._dialect)

    @property
    def is_null(self) -> bool:
        """To be taken away: `""`."""
        return self.raw == _NULL

    @property
    def is_present(self) -> bool:
        """Something stands there, be it `""`."""
        return bool(self.raw)

    @property
    def is_truncated(self) -> bool:
        """Its sender cut it (v2.7 2.5.5.2)."""
        sign = self._dialect.separators.truncation
        return bool(sign) and self.raw.endswith(sign)

    def __repr__(self) -> str:
        return f"Field({len(self.raw)} bytes)"


class Segment:
    """A segment. Field 1 of MSH, FHS and BHS is the separator itself."""

    __slots__ = ("_dialect", "_fields", "name", "raw")

    def __init__(self, raw: bytes, dialect: Dialect) -> None:
        self.raw = raw
        self.name = raw[:3].decode("ascii", "replace").upper()
        self._dialect = dialect
        self._fields: list[bytes] | None = None

    def field(self, number: int) -> Field:
        """The n-th field, empty if it is not there."""
        if self.name in HEADERS and number <= 2:
            separators = self._dialect.separators
            parts = self._parts()
            raw = separators.field if number == 1 else parts[1] if len(parts) > 1 else b""
            return Field(raw, self._dialect, is_whole=True)
        return Field(self._raw_field(number), self._dialect)

    @property
    def field_count(self) -> int:
        """The number of the last field."""
        return len(self._parts()) - (0 if self.name in HEADERS else 1)

    def get(self, path: str) -> str:
        """Text by a path within the segment: "3", "3[2].4.2"."""
        where = read_path(f"{_ANY}-{path}")
        return self.value(where.field, where.repetition, where.component, where.sub)

    def value(self, field: int, repetition: int = 1, component: int = 0, sub: int = 0) -> str:
        """Text by numbers; 0 is the first component or subcomponent."""
        found = self.field(field).repetition(repetition)
        return found.sub(component or 1, sub or 1)

    @property
    def separators(self) -> Separators:
        """Those of its message."""
        return self._dialect.separators

    def _raw_field(self, number: int) -> bytes:
        parts = self._parts()
        place = number - 1 if self.name in HEADERS else number
        return parts[place] if 0 < place < len(parts) else b""

    def _parts(self) -> list[bytes]:
        if self._fields is None:
            self._fields = _split(self.raw, self._dialect.separators.field, FIELDS_MAX)
        return self._fields

    def __repr__(self) -> str:
        return f"Segment({self.name}, {len(self.raw)} bytes)"


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
    work, start, unicode_codec = find_header(bytes(raw))
    separators = read_separators(work[start : start + 32])
    charset = _find_charset(work, start, separators, assumed_charset)
    codec = charset.codec
    if unicode_codec:
        charset, codec = Charset(charset.said, unicode_codec), "utf-8"
    elif charset.hides_separators or b"\x1b$" in work:
        work = work[:start] + decode(work[start:], codec).encode("utf-8", "replace")
        codec = "utf-8"
    dialect = Dialect(separators, codec)
    segments = [Segment(work[a:b], dialect) for a, b in segment_spans(work, start, separators.field)]
    return Message(raw, work, charset, dialect, segments[:SEGMENTS_MAX])


def segment_of(header: bytes) -> Segment:
    """A segment FHS or BHS by itself. Raises Hl7Error if it separates nothing."""
    line = header[: _line_end(header, 0)]
    return Segment(line, Dialect(read_separators(line), "utf-8"))


HEADERS: Final = frozenset({"MSH", "FHS", "BHS"})
_ANY: Final = "ZZZ"
_NO_PARTS: Final = Separators(b"|", b"", b"", b"", b"")


# --- finding ---


def _find_charset(work: bytes, start: int, separators: Separators, assumed: str) -> Charset:
    end = _line_end(work, start)
    fields = work[start:end].split(separators.field, FIELDS_MAX)
    said = fields[17] if len(fields) > 17 else b""
    names = [name.decode("ascii", "replace") for name in said.split(separators.repetition or b"~", 16)]
    return charset_of(tuple(names), work, assumed)


def _line_end(work: bytes, start: int) -> int:
    found = _LINE_END.search(work, start)
    return found.start() if found is not None else len(work)


_LINE_END: Final = re.compile(rb"[\r\n]")


def _split(data: bytes, sign: bytes, parts_max: int) -> list[bytes]:
    """Parts up to a number; what is beyond is not looked at."""
    return data.split(sign, parts_max)[:parts_max]


def _value(data: bytes, dialect: Dialect) -> str:
    return "" if data == _NULL else dialect.text(data)


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
    broken = [segment.name for segment in message.segments if _LINE_END.search(segment.raw)]
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

"""Messages of ours: segments from values, with separators, escapes and character set seen to.

A value is a text; a tuple of components, each a text or a tuple of subcomponents; or a list of repetitions of these.
`NULL` takes a value away at the receiver (v2.5.1 2.5.3), None and "" say nothing.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Final, Self

from fileroom.core.errors import Hl7Error, told
from fileroom.hl7.charsets import Charset, find_charset
from fileroom.hl7.escapes import escape
from fileroom.hl7.segment import Field, Segment
from fileroom.hl7.separators import USUAL, Separators


class _Null:
    """The value `""`."""

    def __repr__(self) -> str:
        return "NULL"


NULL: Final = _Null()
Part = str | None | _Null
Component = Part | tuple[Part, ...]
Value = Part | tuple[Component, ...] | list["Part | tuple[Component, ...]"]


class MessageBuilder:
    """Writes one message, segment by segment; `build` gives its bytes."""

    def __init__(
        self,
        *,
        version: str = "2.5.1",
        charset: str | Charset = "UNICODE UTF-8",
        separators: Separators = USUAL,
        replaces: bool = False,
    ) -> None:
        """`charset`: as it is to stand in MSH-18, "" for ASCII; Hl7Error if nobody knows it.

        `replaces`: a letter that the set lacks becomes ? instead of an error.
        """
        known = charset if isinstance(charset, Charset) else find_charset(charset) if charset else Charset("", "ascii")
        if known is None:
            raise Hl7Error(told("{name} is no character set of HL7 table 0211", name=str(charset)[:40]))
        self._version = version
        self._charset = known
        self._wide_codec = known.codec if known.codec.startswith(("utf-16", "utf-32")) else ""
        """Their separators have more than one byte: such a message is written in UTF-8 and turned over in the end."""
        self._replaces = replaces
        self._separators = separators
        self._segments: list[bytes] = []

    def header(
        self,
        kind: str,
        *,
        control_id: str,
        now: dt.datetime,
        sender: tuple[Value, Value] = ("", ""),
        receiver: tuple[Value, Value] = ("", ""),
        processing: Value = "P",
        accept: str = "",
        application: str = "",
        more: Mapping[int, Value] | None = None,
    ) -> Self:
        """MSH. `kind`: ADT^A40^ADT_A39. `sender`, `receiver`: application and facility. `accept`, `application`: MSH-15 and 16.

        `more`: further fields, by number.
        """
        return self.segment(
            "MSH",
            {
                3: sender[0],
                4: sender[1],
                5: receiver[0],
                6: receiver[1],
                7: hl7_time(now),
                9: tuple(kind.split("^")),
                10: control_id,
                11: processing,
                12: self._version,
                15: accept,
                16: application,
                18: self._charset.said,
                **(more or {}),
            },
        )

    def segment(self, name: str, fields: Mapping[int, Value]) -> Self:
        """A segment with these fields, by number. Raises Hl7Error for a letter that the character set lacks."""
        separators = self._separators
        written = [b""] * (max(fields, default=0) + 1)
        for number, value in fields.items():
            written[number] = self._field(value, f"{name}-{number}")
        if name in ("MSH", "FHS", "BHS"):
            # Field 1 is the separator before the second; neither is written like a value.
            head = name.encode("ascii") + separators.field + separators.encoding
            self._segments.append(separators.field.join([head, *written[3:]]).rstrip(separators.field))
        else:
            text = separators.field.join([name.encode("ascii"), *written[1:]])
            self._segments.append(text.rstrip(separators.field) if len(text) > 4 else text)
        return self

    def copy(self, segment: Segment) -> Self:
        """A segment of another message, with everything in it."""
        first = 3 if segment.name in ("MSH", "FHS", "BHS") else 1
        fields = {number: field_value(segment.field(number)) for number in range(first, segment.field_count + 1)}
        return self.segment(segment.name, fields)

    def build(self) -> bytes:
        """The message; each segment ends with CR."""
        raw = b"".join(segment + b"\r" for segment in self._segments)
        return raw.decode("utf-8").encode(self._wide_codec) if self._wide_codec else raw

    def _field(self, value: Value, where: str) -> bytes:
        values = value if isinstance(value, list) else [value]
        return self._separators.repetition.join(self._repetition(one, where) for one in values)

    def _repetition(self, value: Part | tuple[Component, ...], where: str) -> bytes:
        if not isinstance(value, tuple):
            return self._text(value, where)
        signs = self._separators
        components = [
            signs.subcomponent.join(self._text(part, where) for part in component).rstrip(signs.subcomponent)
            if isinstance(component, tuple)
            else self._text(component, where)
            for component in value
        ]
        return signs.component.join(components).rstrip(signs.component)

    def _text(self, text: Part, where: str) -> bytes:
        if text is None:
            return b""
        if isinstance(text, _Null):
            return b'""'
        escaped = escape(text, self._separators)
        if self._wide_codec:
            return escaped.encode("utf-8", "replace")
        try:
            return self._charset.encode(escaped)
        except UnicodeEncodeError as error:
            if self._replaces:
                return escaped.encode(self._charset.codec, "replace")
            letter = repr(str(error.object)[error.start : error.start + 1])
            raise Hl7Error(
                told(
                    "{where} has {letter}, which {charset} does not; send UNICODE UTF-8 to this receiver, if it can read it",
                    where=where,
                    letter=letter,
                    charset=self._charset.said or "ASCII",
                )
            ) from error


def hl7_time(moment: dt.datetime) -> str:
    """YYYYMMDDHHMMSS, with the offset where the moment has one."""
    return moment.strftime("%Y%m%d%H%M%S%z")[:19]


def field_value(field: Field) -> Value:
    """All that stands in a field, to be written again, maybe with other separators."""
    values: list[Part | tuple[Component, ...]] = []
    for repetition in field.repetitions:
        components: list[Component] = []
        for number in range(1, len(repetition.components) + 1):
            parts: Sequence[bytes] = repetition.subcomponents(number)
            components.append(tuple(_part(part, repetition.sub(number, n)) for n, part in enumerate(parts, start=1)))
        values.append(tuple(components))
    return values


def _part(raw: bytes, text: str) -> Part:
    return NULL if raw == b'""' else text

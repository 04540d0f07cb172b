"""A segment and what it is made of: fields, repetitions, components, subcomponents (HL7 v2.5.1 2.5), parted when asked for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from fileroom.hl7.charsets import decode
from fileroom.hl7.escapes import carry_out_switches, unescape
from fileroom.hl7.path import read_path
from fileroom.hl7.separators import Separators, read_separators

FIELDS_MAX: Final = 1_000
"""Of one segment. The longest of the standard has 80, vendors' Z-segments some hundred."""
REPETITIONS_MAX: Final = 1_000
"""Of one field. Patients with many names and numbers have some ten."""
COMPONENTS_MAX: Final = 200
"""Of one repetition, and subcomponents of one component. The longest data type has 23."""
HEADERS: Final = frozenset({"MSH", "FHS", "BHS"})
"""Segments whose first two fields are the separators."""
_ANY: Final = "ZZZ"
_NO_PARTS: Final = Separators(b"|", b"", b"", b"", b"")
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
        if self.name in HEADERS and field <= 2:
            return self.field(field).repetition(repetition).sub(component or 1, sub or 1)
        # The same as by way of Field and Repetition, without making them: nearly everything is read here.
        data, signs = self._raw_field(field), self._dialect.separators
        data = _part(data, signs.repetition, repetition, REPETITIONS_MAX)
        data = _part(data, signs.component, component or 1, COMPONENTS_MAX)
        data = _part(data, signs.subcomponent, sub or 1, COMPONENTS_MAX)
        return _value(data, self._dialect) if data else ""

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


def segment_of(header: bytes) -> Segment:
    """A segment FHS or BHS by itself. Raises Hl7Error if it separates nothing."""
    line = re.split(rb"[\r\n]", header, maxsplit=1)[0]
    return Segment(line, Dialect(read_separators(line), "utf-8"))


def _split(data: bytes, sign: bytes, parts_max: int) -> list[bytes]:
    """Parts up to a number; what is beyond is not looked at."""
    return data.split(sign, parts_max)[:parts_max]


def _part(data: bytes, sign: bytes, number: int, parts_max: int) -> bytes:
    """The n-th part, empty if there are fewer."""
    if not sign or sign not in data:
        return data if number == 1 else b""
    parts = data.split(sign, min(number, parts_max))
    return parts[number - 1] if number <= min(len(parts), parts_max) else b""


def _value(data: bytes, dialect: Dialect) -> str:
    return "" if data == _NULL else dialect.text(data)

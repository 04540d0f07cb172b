"""Facts out of a message by a mapping, and an account of where each came from and what could not be used.

A value that cannot be what it should be (a date like 20261399) is left out and told of; it never fails the message. A place
that says nothing is passed over for the next; one that says `""` takes the value away (HL7 v2.5.1 2.5.3).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from fileroom.core.errors import InvalidRequestError, told
from fileroom.core.identifiers import AETitle
from fileroom.dicom.charset import clean
from fileroom.feeds import forms
from fileroom.feeds.changes import Change
from fileroom.feeds.forms import UnusableError
from fileroom.feeds.mapping_facts import Form, Part, fact_named
from fileroom.feeds.mapping_fields import Mapping
from fileroom.feeds.paths import Path, Scope
from fileroom.hl7.message import Message, Repetition, Segment
from fileroom.worklist.facts import Code, Identifier

TEXT_CHARS_MAX: Final = 10_240
"""Of one fact: LT (PS3.5 6.2)."""
NUMBER_CHARS_MAX: Final = 64
"""Of an identifier: LO. One that is longer is left out; cut, it would be another one's."""
LIST_MAX: Final = 50
KEPT_SEGMENTS_MAX: Final = 20
KEPT_CHARS_MAX: Final = 1024
FOUND_MAX: Final = 5000
"""Lines of the account; more nobody reads."""
_RECORD: Final = {"": "MR", "MRN": "MR"}
"""Kinds of patient numbers that mean the medical record's."""


@dataclass(frozen=True, slots=True)
class Found:
    """A fact that the message says."""

    fact: str
    path: str
    raw: str
    used: str


@dataclass(frozen=True, slots=True)
class Unusable:
    """A place whose value was not used; `words` say why."""

    fact: str
    path: str
    raw: str
    words: str


@dataclass(slots=True)
class Reading:
    """What a message was understood as."""

    is_traced: bool = True
    """Whether `found` is kept; nobody reads it of messages that are only applied."""
    changes: list[Change] = field(default_factory=list)
    found: list[Found] = field(default_factory=list)
    unusable: list[Unusable] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def note(self, words: str) -> None:
        """Say something of the message once."""
        if words not in self.notes:
            self.notes.append(words)


class Reader:
    """Reads facts in one scope. All readers of a message write into one `Reading`."""

    __slots__ = ("mapping", "message", "reading", "scope")

    def __init__(self, message: Message, mapping: Mapping, scope: Scope, reading: Reading) -> None:
        self.message = message
        self.mapping = mapping
        self.scope = scope
        self.reading = reading

    def within(self, scope: Scope) -> Reader:
        """The same in another scope."""
        return Reader(self.message, self.mapping, scope, self.reading)

    # --- one value ---

    def value(self, name: str) -> str | None:
        """A fact of any form that is one text, in DICOM's form. None: not said; empty: taken away."""
        form = form_of(name)
        if form is Form.LINES:
            return self._lines(name)
        for path in self.mapping.facts.get(name, ()):
            if path.fixed is not None:
                return self._keep(name, path, path.fixed, path.fixed)
            for one in self.scope.at(path):
                if forms.is_null(one, path):
                    return self._keep(name, path, one, "")
                if not forms.is_said(one, path):
                    continue
                try:
                    text = self._converted(form, name, one, path)
                except UnusableError as error:
                    self._left_out(name, path, one, error.words)
                    continue
                return self._keep(name, path, one, text)
        return None

    def identifier(self, name: str, whose: str, kind: str) -> Identifier | None:
        """A number with its authority. `whose`: which default authority it has where it names none."""
        for path in self.mapping.facts.get(name, ()):
            for one in self._identifiers_at(name, path, whose, kind):
                return one
        return None

    def identifiers(self, name: str, whose: str, kind: str) -> list[Identifier]:
        """All numbers at all places."""
        return [
            one for path in self.mapping.facts.get(name, ()) for one in self._identifiers_at(name, path, whose, kind)
        ][:LIST_MAX]

    def code(self, name: str) -> Code | None:
        """The first coded entry."""
        found = self.codes(name)
        return found[0] if found else Code("") if found == () else None

    def codes(self, name: str) -> tuple[Code, ...] | None:
        """All coded entries at the first place that has any. None: not said; empty: taken away."""
        for path in self.mapping.facts.get(name, ()):
            if path.fixed is not None:
                self._keep(name, path, path.fixed, path.fixed)
                return (Code(path.fixed),)
            found: list[Code] = []
            for one in self.scope.at(path):
                if forms.is_null(one, path):
                    self._keep(name, path, one, "")
                    return ()
                code = forms.code(one, path)
                if code is not None and code not in found:
                    found.append(code)
                    self._keep(name, path, one, " ".join(part for part in (code.value, code.meaning) if part))
            if found:
                return tuple(found[:LIST_MAX])
        return None

    def names(self, name: str) -> tuple[str, ...] | None:
        """All names at all places. None: not said; empty: taken away."""
        found: list[str] = []
        for path in self.mapping.facts.get(name, ()):
            for one in self.scope.at(path):
                if forms.is_null(one, path):
                    self._keep(name, path, one, "")
                    return ()
                try:
                    text = forms.name(one, path, self.mapping.names) if forms.is_said(one, path) else ""
                except UnusableError as error:
                    self._left_out(name, path, one, error.words)
                    continue
                if text and text not in found:
                    found.append(self._keep(name, path, one, text))
        return tuple(found[:LIST_MAX]) or None

    def ae_titles(self, name: str) -> tuple[str, ...] | None:
        """All AE titles at the first place that has any."""
        table = self.mapping.values.get(name)
        for path in self.mapping.facts.get(name, ()):
            found: list[str] = []
            raws = (
                [(path.fixed, None)]
                if path.fixed is not None
                else [(forms.plain(r, path), r) for r in self.scope.at(path)]
            )
            for raw, repetition in raws:
                if repetition is not None and forms.is_null(repetition, path):
                    self._keep(name, path, repetition, "")
                    return ()
                used = table.get(raw) if table is not None and raw else None
                for part in (raw if used is None else used).split("\\"):
                    if not part.strip():
                        continue
                    try:
                        found.append(self._keep(name, path, raw, str(AETitle(part))))
                    except InvalidRequestError as error:
                        self.reading.unusable.append(Unusable(name, path.text, raw[:TEXT_CHARS_MAX], error.sentence))
            if found:
                return tuple(dict.fromkeys(found))[:LIST_MAX]
        return None

    def details(self, part: Part) -> dict[str, str]:
        """What else is mapped, by DICOM keyword."""
        found = {}
        for fact in self.mapping.details:
            if fact.part is part:
                value = self.value(fact.name)
                if value is not None:
                    found[fact.name] = value
        return found

    def kept(self, segments: list[Segment]) -> dict[str, str]:
        """Z segments as they stand, by their name; of several with a name all, one a line."""
        found: dict[str, str] = {}
        count = 0
        for segment in segments:
            if segment.name[:1] != "Z" or not (segment.name in self.mapping.keep or "*" in self.mapping.keep):
                continue
            count += 1
            if count > KEPT_SEGMENTS_MAX:
                self.reading.note(told("There are more than {most} Z segments; the rest is only in the message.",
                                       most=KEPT_SEGMENTS_MAX))  # fmt: skip
                break
            text = self._segment_text(segment)
            found[segment.name] = f"{found[segment.name]}\n{text}" if segment.name in found else text
        return found

    # --- helpers ---

    def _segment_text(self, segment: Segment) -> str:
        texts = (segment.field(number).text for number in range(1, segment.field_count + 1))
        return clean("|".join((segment.name, *texts)))[:KEPT_CHARS_MAX]

    def _keep(self, name: str, path: Path, raw: Repetition | str, used: str) -> str:
        if self.reading.is_traced and len(self.reading.found) < FOUND_MAX:
            text = raw if isinstance(raw, str) else raw.text or '""'
            self.reading.found.append(Found(name, path.text, text[:TEXT_CHARS_MAX], used))
        return used

    def _left_out(self, name: str, path: Path, one: Repetition, words: str) -> None:
        if len(self.reading.unusable) < FOUND_MAX:
            self.reading.unusable.append(Unusable(name, path.text, one.text[:TEXT_CHARS_MAX], words))

    def _identifiers_at(self, name: str, path: Path, whose: str, kind: str) -> Iterator[Identifier]:
        if path.fixed:
            yield Identifier(self._keep(name, path, path.fixed, path.fixed), self._default_authority(whose), kind)
            return
        has_type = form_of(name) in (Form.PATIENT_NUMBER, Form.PATIENT_NUMBERS)
        for one in self.scope.at(path):
            value = forms.plain(one, path)
            if not value:
                continue
            if len(value) > NUMBER_CHARS_MAX or "\\" in value:
                words = told("it has more than {most} characters, or a backslash", most=NUMBER_CHARS_MAX)
                self._left_out(name, path, one, words)
                continue
            authority, given = "", ""
            if not path.component:
                authority = self._authority(one, 4) if has_type else self._authority_of_entity(one)
                given = clean(one.component(5)).upper()[:20] if has_type else ""
            authority = authority or self._default_authority(whose)
            if has_type and whose == "patient":
                given = _RECORD.get(given, given)
            found = Identifier(value, authority, (given or kind) if has_type and whose == "patient" else kind)
            self._keep(name, path, one, f"{value} ({authority})" if authority else value)
            yield found

    def _authority(self, one: Repetition, component: int) -> str:
        """Of an HD (2.A.36) in a component."""
        return named_authority(self.mapping, *(clean(one.sub(component, number)) for number in (1, 2, 3)))

    def _authority_of_entity(self, one: Repetition) -> str:
        """Of an EI (2.A.28), whose authority is components 2 to 4."""
        return named_authority(self.mapping, *(clean(one.component(number)) for number in (2, 3, 4)))

    def _default_authority(self, whose: str) -> str:
        for path in self.mapping.authority.get(whose, ()):
            if path.fixed is not None:
                return path.fixed
            for one in self.scope.at(path):
                text = forms.plain(one, path)
                if text:
                    return self.mapping.authorities.get(text, text)[:NUMBER_CHARS_MAX]
        return ""

    def _converted(self, form: Form, name: str, one: Repetition, path: Path) -> str:
        """The text in DICOM's form. Raises UnusableError."""
        match form:
            case Form.TEXT:
                return self._by_table(name, forms.plain(one, path, whole=True))
            case Form.CONTROL:
                return forms.plain(one, path).upper()
            case Form.PLACE:
                return self._by_table(name, forms.place(one, path))
            case Form.ADDRESS:
                return forms.address(one, path)
            case Form.NAME:
                is_one = bool(path.repetition or path.repetition_where)
                field = None if is_one else next(self.scope.fields(path), None)
                return forms.name(one, path, self.mapping.names, field)
            case Form.PERSON:
                return forms.person(one, path, self.mapping.names)
            case Form.DATE:
                return forms.date(forms.plain(one, path))
            case Form.TIME:
                return forms.moment(forms.plain(one, path), self.mapping.zone)
            case Form.UID:
                return forms.uid(forms.plain(one, path))
            case Form.DECIMAL:
                return forms.decimal(forms.plain(one, path))
            case Form.CODE_STRING:
                return forms.code_string(self._by_table(name, forms.plain(one, path)))
            case Form.MODALITY:
                return self._modality(name, forms.plain(one, path).upper())
            case _:
                return self._listed(name, forms.plain(one, path))

    def _by_table(self, name: str, text: str) -> str:
        table = self.mapping.values.get(name)
        used = table.get(text) if table is not None else None
        return text if used is None else used

    def _listed(self, name: str, text: str) -> str:
        """Only what the table has."""
        table = self.mapping.values.get(name)
        used = table.get(text) if table is not None else None
        if used is None:
            raise UnusableError(told("the mapping's table for {fact} has no line for it", fact=name))
        return used

    def _modality(self, name: str, text: str) -> str:
        table = self.mapping.values.get(name)
        used = table.get(text) if table is not None else None
        if used is None and text not in forms.MODALITIES:
            raise UnusableError(told("it is no modality; give it a line in the mapping's table for modality"))
        return text if used is None else used

    def _lines(self, name: str) -> str | None:
        for path in self.mapping.facts.get(name, ()):
            if path.fixed is not None:
                return self._keep(name, path, path.fixed, path.fixed)
            some = list(self.scope.at(path))
            if some and all(forms.is_null(one, path) for one in some):
                return self._keep(name, path, some[0], "")
            said = [forms.lines(one, path) for one in some]
            text = "\n".join(line for line in said if line)[:TEXT_CHARS_MAX]
            if text:
                return self._keep(name, path, "\n".join(one.text for one in some), text)
        return None


def named_authority(mapping: Mapping, namespace: str, universal: str, kind: str) -> str:
    """What the authority of an HD is called here; empty: it names nobody."""
    table = mapping.authorities
    if table:
        for key in (f"{namespace}&{universal}&{kind}", universal, namespace):
            if key.strip("&") and key in table:
                return table[key]
    return (namespace or universal)[:NUMBER_CHARS_MAX]


def form_of(name: str) -> Form:
    """The form of a fact that there is."""
    fact = fact_named(name)
    return fact.form if fact is not None else Form.TEXT

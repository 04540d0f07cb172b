"""Conditions of rules: CEL text about an object, checked once and compiled once (PS3.5 6.2 for what values mean).

What people write is CEL; the names in it are operands (routing.operands). Before CEL sees it, every operand becomes a
variable of its own, literals beside dates, times and names take their normal form, and parts that reckon with numbers or
dates are guarded: a comparison with what is not there is false. So a condition that was checked has no errors later.

    Modality == "CT" && SliceThickness < 1.5          like(StudyDescription, "*thorax*") || "LOCALIZER" in ImageType
    "A17" in attr("RequestAttributesSequence.AccessionNumber")      present(private("SIEMENS CSA HEADER", "29,10"))
"""

from __future__ import annotations

import difflib
import functools
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import cel
from pydicom._dicom_dict import DicomDictionary

from fileroom.core.errors import InvalidRequestError, told
from fileroom.dicom.dictionary import tag_of
from fileroom.dicom.normal_forms import normalize_datetime, normalize_name, normalize_time
from fileroom.routing.calendars import checked_holidays
from fileroom.routing.condition_functions import PATTERN_CHARS_MAX, RUNTIME_FUNCTIONS, normalize_day
from fileroom.routing.condition_tree import text_of_tree
from fileroom.routing.expression import ExpressionError, Outline, Token, closing, outline, quoted, tokenize
from fileroom.routing.operands import (
    Facts,
    Operand,
    Step,
    Type,
    attribute_operand,
    context_names,
    context_operand,
    parse_path,
    private_step,
)

OPERANDS_MAX: Final = 100
EVALUATION_S_MAX: Final = 0.02
"""Of one part on sample values: a thousandth of that is usual. What is slower is a pattern made to be slow."""
_EVALUATION_TRIES: Final = 3
_MACROS: Final = frozenset({"exists", "all", "exists_one", "filter", "map"})
_COMPARISONS: Final = frozenset({"==", "!=", "<", "<=", ">", ">="})
_RECKONING: Final = frozenset({"<", "<=", ">", ">=", "+", "-", "*", "/", "%"})
_OF_ATTRIBUTES: Final = frozenset({"attr", "tag", "private"})
_ABOUT_ATTRIBUTES: Final = frozenset({"present", "has", "values", "number", "days_since", "years_since"})
_CEL_WORDS: Final = frozenset({"true", "false", "null", "in"})
_CEL_FUNCTIONS: Final = frozenset(
    {"size", "contains", "startsWith", "endsWith", "matches", "int", "double", "string", "bool"}
)
_OWN_FUNCTIONS: Final = frozenset({"like", "same", "at", "date"})
FUNCTIONS: Final = tuple(sorted(_OF_ATTRIBUTES | _ABOUT_ATTRIBUTES | _CEL_FUNCTIONS | _MACROS | _OWN_FUNCTIONS)) + (
    "age_in_days",
    "age_in_years",
    "holiday",
)


@dataclass(frozen=True)
class Part:
    """A part of a condition that can be tried by itself: where it stands in the text, and what it refers to."""

    text: str
    start: int
    end: int
    operands: tuple[Operand, ...]
    program: cel.Program
    variables: tuple[str, ...]

    def holds(self, facts: Facts) -> bool:
        """Whether this part is true of an object."""
        return _run(self.program, self.operands, self.variables, facts)


@dataclass(frozen=True)
class Condition:
    """A checked condition. It never changes; it may be asked about any number of objects."""

    text: str
    operands: tuple[Operand, ...]
    program: cel.Program
    variables: tuple[str, ...]
    parts: tuple[Part, ...]

    @functools.cached_property
    def tags(self) -> frozenset[int]:
        """Top-level tags that must be scanned for it."""
        return frozenset().union(*(operand.tags for operand in self.operands))

    @property
    def is_late(self) -> bool:
        """Whether it can only be answered when the study is complete."""
        return any(operand.is_late for operand in self.operands)

    @functools.cached_property
    def functions(self) -> dict[str, Callable[..., Any]]:
        """Those of ours that it calls, to be given with its values."""
        called = set(self.program.functions())
        return {name: function for name, function in RUNTIME_FUNCTIONS.items() if name in called}

    def holds_of(self, values: Mapping[Operand, Any]) -> bool:
        """Whether it is true of values that have been read. Raises as `holds` does."""
        given = {name: values[operand] for name, operand in zip(self.variables, self.operands, strict=True)}
        return self.program.execute({**given, **self.functions}) is True

    def holds(self, facts: Facts) -> bool:
        """Whether it is true of an object. Raises what CEL raises where a value is of no kind that the check tried."""
        return _run(self.program, self.operands, self.variables, facts)


def compile_condition(when: str | Mapping[str, Any]) -> Condition:
    """CEL text, or a tree of conditions (routing.condition_tree), checked and compiled.

    Raises ExpressionError with the place and, where there is one, what was probably meant.
    """
    text = when if isinstance(when, str) else text_of_tree(when)
    return _compile(text)


@functools.lru_cache(maxsize=512)
def _compile(text: str) -> Condition:
    tokens = tokenize(text)
    whole = outline(tokens)
    _require_cel(text)
    names = _Names()
    parts = tuple(_part(leaf, text, names) for leaf in whole.leaves())
    compiled = _joined(whole, iter([part_text for _, part_text in parts]))
    program = cel.compile(compiled)
    operands = tuple(names.operands)
    return Condition(text, operands, program, tuple(names.operands.values()), tuple(part for part, _ in parts))


# --- taking it apart ---


class _Names:
    """The variables of one condition, by operand."""

    def __init__(self) -> None:
        self.operands: dict[Operand, str] = {}

    def of(self, operand: Operand, token: Token) -> str:
        if operand not in self.operands and len(self.operands) >= OPERANDS_MAX:
            raise ExpressionError(told("A condition refers to at most {most} values.", most=OPERANDS_MAX), token.start)
        return self.operands.setdefault(operand, f"v_{len(self.operands)}")


@dataclass(frozen=True, slots=True)
class _Reference:
    operand: Operand
    first: int
    behind: int
    """Places among the tokens."""


def _part(leaf: Outline, text: str, names: _Names) -> tuple[Part, str]:
    tokens = leaf.tokens
    references = _references(tokens)
    _check_kinds(tokens, references)
    pieces: list[str] = []
    used: dict[Operand, str] = {}
    by_first = {one.first: one for one in references}
    types = {one.operand.type for one in references}
    place = 0
    while place < len(tokens):
        reference = by_first.get(place)
        if reference is not None:
            used[reference.operand] = names.of(reference.operand, tokens[place])
            pieces.append(used[reference.operand])
            place = reference.behind
            continue
        pieces.append(_written(tokens, place, types))
        place += 1
    body = " ".join(pieces)
    if any(token.kind == "operator" and token.text in _RECKONING for token in tokens):
        guards = [f"{name} != {_EMPTY[one.type]}" for one, name in used.items() if one.type in _EMPTY and not one.many]
        body = " && ".join([*guards, f"({body})"])
    written = text[leaf.start : leaf.end]
    part = Part(written, leaf.start, leaf.end, tuple(used), _compiled(body, leaf), tuple(used.values()))
    _try(part)
    return part, f"({body})"


_EMPTY: Final = {Type.NUMBER: "null", Type.DATE: '""', Type.TIME: '""', Type.MOMENT: '""'}


def _references(tokens: tuple[Token, ...]) -> list[_Reference]:
    bound = {
        tokens[place + 2].text
        for place in range(len(tokens) - 3)
        if tokens[place].text in _MACROS and tokens[place + 1].text == "(" and tokens[place + 3].text == ","
    }
    _check_macros(tokens)
    found: list[_Reference] = []
    place = 0
    while place < len(tokens):
        token = tokens[place]
        if token.kind != "name" or token.text in _CEL_WORDS or token.text in bound or _is_member(tokens, place):
            place += 1
            continue
        called = place + 1 < len(tokens) and tokens[place + 1].text == "("
        if called and token.text in _CEL_FUNCTIONS | _OWN_FUNCTIONS:
            place += 1
            continue
        operand, behind = _call(tokens, place) if called else _name(tokens, place)
        found.append(_Reference(operand, place, behind))
        place = behind
    return found


def _is_member(tokens: tuple[Token, ...], place: int) -> bool:
    """The name of a method: `.startsWith(`."""
    if place == 0 or tokens[place - 1].text != ".":
        return False
    name = tokens[place]
    called = place + 1 < len(tokens) and tokens[place + 1].text == "("
    if called and name.text in _CEL_FUNCTIONS | _MACROS | {"like", "same", "at"}:
        return True
    raise _unknown(name, sorted(_CEL_FUNCTIONS | _MACROS | _OWN_FUNCTIONS), "function")


def _check_macros(tokens: tuple[Token, ...]) -> None:
    """One within another can take as long as somebody likes."""
    for place, token in enumerate(tokens):
        if token.text in _MACROS and place + 1 < len(tokens) and tokens[place + 1].text == "(":
            inner = tokens[place + 2 : closing(tokens, place + 1)]
            for one in inner:
                if one.kind == "name" and one.text in _MACROS:
                    raise ExpressionError(
                        told("{inner} cannot stand within {outer}.", inner=one.text, outer=token.text),
                        one.start,
                        len(one.text),
                    )


def _name(tokens: tuple[Token, ...], place: int) -> tuple[Operand, int]:
    token = tokens[place]
    if place + 2 < len(tokens) and tokens[place + 1].text == "." and tokens[place + 2].kind == "name":
        dotted = f"{token.text}.{tokens[place + 2].text}"
        operand = context_operand(dotted)
        if operand is not None:
            return operand, place + 3
        if token.text in {name.partition(".")[0] for name in context_names() if "." in name}:
            raise _unknown(Token("name", dotted, token.start), list(context_names()), "value")
        if tag_of(tokens[place + 2].text) is not None and tag_of(token.text) is not None:
            raise ExpressionError(
                told('Values of a sequence\'s items are written attr("{path}").', path=dotted), token.start, len(dotted)
            )
    operand = context_operand(token.text) if token.text not in ("age_in_years", "age_in_days") else None
    if operand is not None:
        return operand, place + 1
    if tag_of(token.text) is None:
        raise _unknown(token, [*_keywords(), *context_names(), *FUNCTIONS], "attribute")
    return _attribute(token, lambda: parse_path(token.text), token.text), place + 1


def _call(tokens: tuple[Token, ...], place: int) -> tuple[Operand, int]:
    """A function of an attribute's name, not of its value: attr, tag, private, present, number ..."""
    token = tokens[place]
    end = closing(tokens, place + 1)
    inner = tokens[place + 2 : end]
    written = _spelled(tokens[place : end + 1])
    if token.text in ("age_in_years", "age_in_days") and not inner:
        return context_operand(token.text) or Operand(token.text), end + 1
    if token.text == "holiday" and len(inner) == 1 and inner[0].kind == "text":
        try:
            return Operand(
                "now.holiday", (), Type.FLAG, text=written, argument=checked_holidays(inner[0].value)
            ), end + 1
        except InvalidRequestError as error:
            raise ExpressionError(error.sentence, inner[0].start, len(inner[0].text)) from error
    if token.text in _OF_ATTRIBUTES:
        return _attribute(token, lambda: _path_of(token, inner), written), end + 1
    if token.text in _ABOUT_ATTRIBUTES and inner:
        what = "present" if token.text == "has" else token.text
        return _attribute(token, lambda: _path_within(inner), written, what), end + 1
    if token.text in FUNCTIONS:
        raise ExpressionError(
            told("{name} is not used like that; see the chapter about rules.", name=token.text),
            token.start,
            len(token.text),
        )
    raise _unknown(token, list(FUNCTIONS), "function")


def _path_within(inner: tuple[Token, ...]) -> tuple[Step, ...]:
    """The attribute that a function is about: its keyword, its path as a text, attr(...), tag(...) or private(...)."""
    first = inner[0]
    if len(inner) == 1 and first.kind in ("name", "text"):
        return parse_path(first.value or first.text)
    if first.text in _OF_ATTRIBUTES and len(inner) > 3 and closing(inner, 1) == len(inner) - 1:
        return _path_of(first, inner[2:-1])
    if all(one.kind == "name" or one.text in ".[]" or one.kind == "number" for one in inner):
        return parse_path("".join(one.text for one in inner))
    raise ValueError("Here stands the name of an attribute.")


def _path_of(function: Token, inner: tuple[Token, ...]) -> tuple[Step, ...]:
    texts = [one.value for one in inner if one.kind == "text"]
    commas = [one for one in inner if one.text == ","]
    if function.text == "private":
        if len(texts) == 2 and len(inner) == 3 and len(commas) == 1:
            return (private_step(*texts),)
        raise ValueError('Write private("CREATOR", "29,10").')
    if len(texts) == 1 and len(inner) == 1:
        return parse_path(texts[0])
    raise ValueError(f'Write {function.text}("...") with the name in quotation marks.')


def _attribute(token: Token, path: Callable[[], tuple[Step, ...]], written: str, what: str = "value") -> Operand:
    try:
        return attribute_operand(path(), written, what)
    except KeyError as error:
        raise _unknown(Token("name", str(error.args[0]), token.start), _keywords(), "attribute") from error
    except ValueError as error:
        raise ExpressionError(str(error), token.start, len(written)) from error


# --- what stands beside an operand ---


def _written(tokens: tuple[Token, ...], place: int, types: set[Type]) -> str:
    """A token as CEL shall see it: a text beside a date, a time or a name in its normal form."""
    token = tokens[place]
    if token.kind != "text":
        return token.text
    function = _function_around(tokens, place)
    if function == "matches":
        if len(token.value) > PATTERN_CHARS_MAX:
            raise ExpressionError(
                told("A pattern has at most {most} characters.", most=PATTERN_CHARS_MAX), token.start, len(token.text)
            )
        return quoted("(?i)" + token.value) if types == {Type.NAME} else quoted(token.value)
    if function in ("like", "same") or len(types) != 1:
        return quoted(token.value)
    normal = _literal(token, next(iter(types)), whole=function not in ("startsWith", "endsWith", "contains"))
    return quoted(normal)


def _literal(token: Token, type_: Type, *, whole: bool) -> str:
    value = token.value
    if type_ is Type.NAME:
        return normalize_name(value)
    normalize = {Type.DATE: normalize_day, Type.TIME: normalize_time, Type.MOMENT: _normalize_moment}.get(type_)
    if normalize is None or not value or not whole:
        return value
    normal = normalize(value)
    if normal is None:
        how = {Type.DATE: '"2026-01-31"', Type.TIME: '"18:30"'}.get(type_, '"20260131183000"')
        raise ExpressionError(
            told("{value} is no {kind}; write it like {how}.", value=token.text, kind=type_.value, how=how),
            token.start,
            len(token.text),
        )
    return normal


def _normalize_moment(text: str) -> str | None:
    return normalize_datetime(re.sub(r"(?<=\d)[-T:](?=\d\d)", "", text) if ":" in text or "T" in text else text)


def _function_around(tokens: tuple[Token, ...], place: int) -> str:
    """The function in whose parentheses a token stands; empty when in none."""
    depth = 0
    for before in range(place - 1, -1, -1):
        text = tokens[before].text if tokens[before].kind == "operator" else ""
        depth += (text in (")", "]")) - (text in ("(", "["))
        if depth < 0:
            name = tokens[before - 1] if text == "(" and before else None
            return name.text if name is not None and name.kind == "name" else ""
    return ""


def _check_kinds(tokens: tuple[Token, ...], references: list[_Reference]) -> None:
    """What CEL would let pass, and would never be true: a number against a text, a list against one value."""
    for one in references:
        if one.operand.type in (Type.NUMBER, Type.FLAG) and _function_around(tokens, one.first) in ("like", "same"):
            raise ExpressionError(
                told(
                    "{name} is a {kind}, and has no text to look into.",
                    name=one.operand.text,
                    kind=one.operand.type.value,
                ),
                tokens[one.first].start,
                len(one.operand.text),
            )
        beside = _beside(tokens, one)
        if beside is None:
            continue
        literal, operator = beside
        operand = one.operand
        if operand.many:
            hint = f"{literal.text} in {operand.text}"
            if operator.text not in ("==", "!="):
                hint = f"{operand.text}.exists(x, x {operator.text} {literal.text})"
            message = told("{name} may have several values; write {hint}.", name=operand.text, hint=hint)
        elif (operand.type is Type.NUMBER) != (literal.kind == "number") and operand.type is not Type.FLAG:
            kind = "number" if operand.type is Type.NUMBER else "text"
            message = told("{name} is a {kind}, and {value} is none.", name=operand.text, kind=kind, value=literal.text)
        elif operand.type is Type.FLAG:
            message = told("{name} is true or false by itself; compare it with nothing.", name=operand.text)
        else:
            continue
        raise ExpressionError(message, literal.start, len(literal.text))


def _beside(tokens: tuple[Token, ...], one: _Reference) -> tuple[Token, Token] | None:
    """The literal that an operand is compared with, and the operator."""
    after = tokens[one.behind : one.behind + 2]
    before = tokens[max(0, one.first - 2) : one.first]
    if len(after) == 2 and after[0].text in _COMPARISONS and after[1].kind in ("text", "number"):
        return after[1], after[0]
    if len(before) == 2 and before[1].text in _COMPARISONS and before[0].kind in ("text", "number"):
        return before[0], before[1]
    return None


def _spelled(tokens: tuple[Token, ...]) -> str:
    return "".join(f"{token.text} " if token.text == "," else token.text for token in tokens)


@functools.cache
def _keywords() -> list[str]:
    return [row[4] for row in DicomDictionary.values() if row[4]]


def _unknown(token: Token, known: list[str], kind: str) -> ExpressionError:
    lower = {name.casefold(): name for name in known}
    near = lower.get(token.text.casefold())
    if near is None:
        close = difflib.get_close_matches(token.text.casefold(), lower, n=1, cutoff=0.7)
        near = lower[close[0]] if close else None
    if near:
        message = told("There is no {kind} {name}. Did you mean {near}?", kind=kind, name=token.text, near=near)
    elif kind == "attribute":
        message = told(
            'There is no attribute {name}. Texts stand in quotation marks, other elements are written tag("0029,1010").',
            name=token.text,
        )
    else:
        message = told("There is no {kind} {name}.", kind=kind, name=token.text)
    return ExpressionError(message, token.start, len(token.text))


# --- CEL ---


def _joined(whole: Outline, parts: Any) -> str:
    if whole.kind == "leaf":
        return str(next(parts))
    inner = [_joined(part, parts) for part in whole.parts]
    if whole.kind == "not":
        return f"!({inner[0]})"
    return f"({(' && ' if whole.kind == 'all' else ' || ').join(inner)})"


_CEL_PLACE: Final = re.compile(r"<input>:(\d+):(\d+): (?:Syntax error: )?(.*)")


def _require_cel(text: str) -> None:
    """Let CEL itself say where the text as written is none."""
    try:
        cel.compile(text)
    except (ValueError, RuntimeError) as error:
        match = _CEL_PLACE.search(str(error))
        if match is None:
            raise ExpressionError(told("This is no condition in CEL.")) from error
        lines = text.splitlines(keepends=True) or [""]
        start = sum(map(len, lines[: int(match[1]) - 1])) + int(match[2]) - 1
        what = match[3].partition(" expecting ")[0].replace("<EOF>", "the end")
        raise ExpressionError(
            told("This is no condition in CEL: {what}.", what=what[:200]), min(start, max(0, len(text) - 1))
        ) from error


def _compiled(body: str, leaf: Outline) -> cel.Program:
    try:
        return cel.compile(body)
    except (ValueError, RuntimeError) as error:
        raise ExpressionError(told("This is no condition in CEL."), leaf.start, leaf.end - leaf.start) from error


def _run(program: cel.Program, operands: tuple[Operand, ...], variables: tuple[str, ...], facts: Facts) -> bool:
    values: dict[str, Any] = {name: operand.read(facts) for name, operand in zip(variables, operands, strict=True)}
    return program.execute({**values, **RUNTIME_FUNCTIONS}) is True


_SAMPLES: Final[dict[Type, tuple[Any, ...]]] = {
    Type.TEXT: ("", "A", "A longer one, 17"),
    Type.NAME: ("", "doe^john", "x"),
    Type.NUMBER: (None, 1.0, -2.5),
    Type.DATE: ("", "20260131", "19700101"),
    Type.TIME: ("", "183000", "070000.5"),
    Type.MOMENT: ("", "20260131183000", "19700101000000"),
    Type.FLAG: (False, True, False),
}
_LONG_SAMPLE: Final = "a" * 2000 + "b"
"""What a pattern must get through in time."""


def _samples(operand: Operand) -> tuple[Any, ...]:
    some = _SAMPLES[operand.type]
    if operand.many:
        return [], [some[1]], [some[1], some[2], some[1]]
    return (*some, _LONG_SAMPLE) if operand.type is Type.TEXT else some


def _try(part: Part) -> None:
    """Run it on values that there are, and on none. Raises ExpressionError for what would fail later."""
    samples = [_samples(operand) for operand in part.operands]
    for number in range(max(map(len, samples), default=1)):
        values = {name: some[number % len(some)] for name, some in zip(part.variables, samples, strict=True)}
        _try_once(part, {**values, **RUNTIME_FUNCTIONS})


def _try_once(part: Part, values: dict[str, Any]) -> None:
    place = part.start, part.end - part.start
    for attempt in range(_EVALUATION_TRIES):
        began = time.perf_counter()
        try:
            result = part.program.execute(values)
        except Exception as error:  # CEL raises what Python has: TypeError, IndexError, ZeroDivisionError ...
            raise ExpressionError(_explained(error), *place) from error
        if not isinstance(result, bool):
            raise ExpressionError(
                told("{part} is neither true nor false; compare it with something.", part=part.text[:80]), *place
            )
        if time.perf_counter() - began < EVALUATION_S_MAX:
            return
        if attempt == _EVALUATION_TRIES - 1:
            raise ExpressionError(told("This takes too long; write a simpler pattern."), *place)


def _explained(error: Exception) -> str:
    text = str(error)
    if isinstance(error, IndexError):
        return told("This fails where there are fewer values; write at(ImageType, 3) for the third one, empty if none.")
    if isinstance(error, ZeroDivisionError):
        return told("This divides by zero for some objects.")
    if "not a valid regex" in text:
        return told(
            "This pattern is no regular expression: {why}.", why=text.rpartition("error: ")[2].partition(".")[0]
        )
    if "Unsupported operation: float * int" in text or ("float" in text and "int" in text):
        return told("Numbers of attributes are decimals: reckon with decimals too, for example 2.0.")
    if isinstance(error, TypeError):
        return told("Values of these kinds cannot be compared or reckoned with like this.")
    return told("This cannot be worked out: {why}.", why=text.splitlines()[0][:200] if text else type(error).__name__)

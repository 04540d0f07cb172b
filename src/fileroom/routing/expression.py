"""The outline of a condition in CEL: its tokens, and how `&&`, `||`, `!` and parentheses join its parts.

CEL itself (Common Expression Language) is compiled and run by the `cel` package; this file only takes the text apart so
that conditions can tell which attributes they refer to, and which part of them failed. Every text is bounded, so that
no text can be too deep or too long for the engine behind.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from fileroom.core.errors import InvalidRequestError, told

TEXT_CHARS_MAX: Final = 8000
"""A page and a half of conditions; lists of codes are longer than anybody's logic."""
DEPTH_MAX: Final = 40
"""Brackets within brackets. The parser behind recurses."""
TOKENS_MAX: Final = 2000


class ExpressionError(InvalidRequestError):
    """A condition that cannot be used. `position` counts characters of its text from 0; `length` of what is wrong."""

    def __init__(self, message: str, position: int = 0, length: int = 1) -> None:
        super().__init__(message)
        self.position = position
        self.length = length


@dataclass(frozen=True, slots=True)
class Token:
    """One word of CEL. `kind`: name, number, text, operator. `text` as written, `value` of a text without its quotes."""

    kind: str
    text: str
    start: int
    value: str = ""

    @property
    def end(self) -> int:
        """Where the next character stands."""
        return self.start + len(self.text)


@dataclass(frozen=True, slots=True)
class Outline:
    """A part of a condition. `kind`: all, any, not (with `parts`) or leaf (with `tokens`)."""

    kind: str
    tokens: tuple[Token, ...]
    parts: tuple[Outline, ...] = ()

    @property
    def start(self) -> int:
        """Its first character in the text."""
        return self.tokens[0].start

    @property
    def end(self) -> int:
        """Behind its last character."""
        return self.tokens[-1].end

    def leaves(self) -> list[Outline]:
        """The parts that are not joined of others."""
        return [self] if self.kind == "leaf" else [leaf for part in self.parts for leaf in part.leaves()]


_TOKEN: Final = re.compile(
    r"""(?P<blank>\s+|//[^\n]*)
    |(?P<text>[rR]?(?:\"\"\"(?:[^\\]|\\.)*?\"\"\"|'''(?:[^\\]|\\.)*?'''|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'))
    |(?P<number>0[xX][0-9a-fA-F]+u?|\d+(?:\.\d+)?(?:[eE][+-]?\d+)?u?|\.\d+(?:[eE][+-]?\d+)?)
    |(?P<name>[A-Za-z_]\w*)
    |(?P<operator>&&|\|\||==|!=|<=|>=|[<>!?:+\-*/%.,()\[\]{}])""",
    re.X | re.S | re.A,
)
_ESCAPE: Final = re.compile(r"\\(u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[xX][0-9a-fA-F]{2}|[0-3][0-7]{2}|.)", re.S)
_ESCAPED: Final = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_OPENING: Final = {"(": ")", "[": "]", "{": "}"}


def tokenize(text: str) -> tuple[Token, ...]:
    """The tokens of a condition, brackets matched. Raises ExpressionError."""
    if len(text) > TEXT_CHARS_MAX:
        raise ExpressionError(
            told("A condition has at most {most} characters; this one has {n}.", most=TEXT_CHARS_MAX, n=len(text))
        )
    tokens: list[Token] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise _unreadable(text, at)
        if match.lastgroup != "blank":
            written = match[0]
            kind = match.lastgroup or ""
            tokens.append(Token(kind, written, at, _text_value(written) if kind == "text" else ""))
        at = match.end()
    if len(tokens) > TOKENS_MAX:
        raise ExpressionError(told("A condition has at most {most} words; make two rules of it.", most=TOKENS_MAX))
    _match_brackets(tokens)
    return tuple(tokens)


def outline(tokens: Sequence[Token]) -> Outline:
    """How the parts of a condition are joined. Raises ExpressionError where a part is missing."""
    whole = tuple(tokens)
    if not whole:
        raise ExpressionError(
            told('The condition is empty. Write for example Modality == "CT", or true for every object.')
        )
    if not _at_top(whole, {"?"}):
        for operator, kind in (("||", "any"), ("&&", "all")):
            places = _at_top(whole, {operator})
            if places:
                return Outline(kind, whole, tuple(map(outline, _pieces(whole, places))))
        if whole[0].text == "!" and len(whole) > 1 and _is_one_unit(whole[1:]):
            return Outline("not", whole, (outline(whole[1:]),))
        if _is_enclosed(whole):
            inner = whole[1:-1]
            if not inner:
                raise ExpressionError(told("There is nothing between these parentheses."), whole[0].start, 2)
            return outline(inner)
    return Outline("leaf", whole)


def quoted(text: str) -> str:
    """A text as CEL writes it."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    return f'"{escaped}"'


def closing(tokens: Sequence[Token], opening: int) -> int:
    """The place of the bracket that closes the one at `opening`."""
    depth = 0
    for place in range(opening, len(tokens)):
        if tokens[place].kind == "operator":
            depth += (tokens[place].text in _OPENING) - (tokens[place].text in _OPENING.values())
            if depth == 0:
                return place
    return len(tokens) - 1


def _text_value(written: str) -> str:
    raw = written[0] in "rR"
    inner = written[1:] if raw else written
    edge = 3 if inner.startswith(('"""', "'''")) and len(inner) >= 6 else 1
    inner = inner[edge:-edge]
    return inner if raw else _ESCAPE.sub(_unescaped, inner)


def _unescaped(match: re.Match[str]) -> str:
    code = match[1]
    if len(code) > 1:
        number = int(code, 8) if code[0] in "0123" else int(code[1:], 16)
        return chr(number) if number <= 0x10FFFF else ""
    return _ESCAPED.get(code, code)


def _unreadable(text: str, at: int) -> ExpressionError:
    char = text[at]
    if char == "=":
        return ExpressionError(told("Write == to compare."), at)
    if char in "\"'":
        return ExpressionError(told("This text has no end: the closing quotation mark is missing."), at, len(text) - at)
    if char in "&|":
        return ExpressionError(told("Write {twice} to join conditions.", twice=char * 2), at)
    if char in "“”„‘’«»":
        return ExpressionError(told('Texts stand in straight quotation marks, like "CT".'), at)
    return ExpressionError(told("{char} means nothing here.", char=repr(char)), at)


def _match_brackets(tokens: Sequence[Token]) -> None:
    open_: list[Token] = []
    signs = 0
    for token in tokens:
        signs = signs + 1 if token.text in ("!", "-") else 0
        if signs > DEPTH_MAX:
            raise ExpressionError(told("So many {char} in a row mean nothing.", char=token.text), token.start)
        if token.kind != "operator":
            continue
        if token.text in _OPENING:
            open_.append(token)
            if len(open_) > DEPTH_MAX:
                raise ExpressionError(
                    told("Brackets stand at most {most} deep in each other.", most=DEPTH_MAX), token.start
                )
        elif token.text in _OPENING.values() and (not open_ or _OPENING[open_.pop().text] != token.text):
            raise ExpressionError(told("Nothing was opened that {char} closes.", char=token.text), token.start)
    if open_:
        raise ExpressionError(told("{char} is opened here and never closed.", char=open_[-1].text), open_[-1].start)


def _at_top(tokens: Sequence[Token], wanted: set[str]) -> list[int]:
    """Places of operators that stand in no bracket."""
    depth = 0
    places: list[int] = []
    for place, token in enumerate(tokens):
        if token.kind != "operator":
            continue
        if token.text in wanted and depth == 0:
            places.append(place)
        depth += (token.text in _OPENING) - (token.text in _OPENING.values())
    return places


def _pieces(tokens: tuple[Token, ...], places: list[int]) -> list[tuple[Token, ...]]:
    starts = [0, *(place + 1 for place in places)]
    ends = [*places, len(tokens)]
    pieces = [tokens[start:end] for start, end in zip(starts, ends, strict=True)]
    for piece, end in zip(pieces, ends, strict=True):
        if not piece:
            near = tokens[min(end, len(tokens) - 1)]
            raise ExpressionError(
                told("A condition is missing beside {word}.", word=near.text), near.start, len(near.text)
            )
    return pieces


def _is_enclosed(tokens: Sequence[Token]) -> bool:
    return tokens[0].text == "(" and tokens[0].kind == "operator" and closing(tokens, 0) == len(tokens) - 1


def _is_one_unit(tokens: Sequence[Token]) -> bool:
    """Something that `!` applies to as a whole: parentheses, or a name with its calls."""
    if not _is_enclosed(tokens) and tokens[0].kind != "name":
        return tokens[0].text == "!" and len(tokens) > 1 and _is_one_unit(tokens[1:])
    if tokens[0].kind == "name":
        return not _at_top(tokens, {"==", "!=", "<", "<=", ">", ">=", "+", "-", "*", "/", "%", "?"}) and not any(
            token.text == "in" for token in tokens
        )
    return True

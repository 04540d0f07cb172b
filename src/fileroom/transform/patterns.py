"""Patterns that cannot be made to run for ever: no nested repetition, no back reference, a bounded value.

Python's engine goes back and tries again; what makes that exponential is a repetition inside of a repetition and choices in
one. Those are refused when the pattern is entered. What is left is a polynomial of a small degree in a value of at most
VALUE_CHARS_MAX characters.
"""

from __future__ import annotations

import re
from re import _constants as sre  # type: ignore[attr-defined]  # the tree of a pattern has no public name
from re import _parser as sre_parser  # type: ignore[attr-defined]
from typing import Any, Final

from fileroom.core.errors import InvalidRequestError, told

PATTERN_CHARS_MAX: Final = 300
VALUE_CHARS_MAX: Final = 256
"""Of one value; no VR that identifies anything is longer (LO 64, PN 3 x 64)."""
_REPEATS_MAX: Final = 4
"""Repetitions one behind the other, each over an unknown number of characters."""
_FEW: Final = 4
"""A repetition of at most so many is written out; it does not count."""


def compiled_pattern(text: str) -> re.Pattern[str]:
    """Raises InvalidRequestError when it is no pattern or one that could run for long."""
    if not text or len(text) > PATTERN_CHARS_MAX:
        raise InvalidRequestError(told("A pattern has 1 to {most} characters.", most=PATTERN_CHARS_MAX))
    try:
        pattern = re.compile(text)
        repeats = _repeats(sre_parser.parse(text), inside=False)
    except (re.error, RecursionError, OverflowError) as error:
        raise InvalidRequestError(
            told("{pattern} is no pattern: {reason}.", pattern=text, reason=str(error))
        ) from error
    if repeats > _REPEATS_MAX:
        raise InvalidRequestError(
            told("{pattern} repeats too often; at most {most} times * or +.", pattern=text, most=_REPEATS_MAX)
        )
    return pattern


def checked_replacement(pattern: re.Pattern[str], text: str) -> str:
    r"""What the pattern is replaced by: \1 or \g<name> for its groups. Raises InvalidRequestError."""
    try:
        pattern.sub(text, "")  # parses the template, whatever matches
    except (re.error, IndexError) as error:
        raise InvalidRequestError(
            told("{text} cannot replace {pattern}: {reason}.", text=text, pattern=pattern.pattern, reason=str(error))
        ) from error
    return text


def _repeats(tree: Any, *, inside: bool) -> int:
    """How many open repetitions there are. Raises InvalidRequestError for what is not allowed."""
    count = 0
    for kind, argument in tree:
        if kind in (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT):
            _low, high, body = argument
            is_open = high is sre.MAXREPEAT or high > _FEW
            inner = _repeats(body, inside=inside or is_open or high > 1)
            if is_open and (inside or inner):
                raise _nested()
            count += inner * max(1, min(int(high), _FEW)) + (1 if is_open else 0)
        elif kind is sre.SUBPATTERN:
            count += _repeats(argument[-1], inside=inside)
        elif kind is sre.ATOMIC_GROUP:
            count += _repeats(argument, inside=inside)
        elif kind is sre.BRANCH:
            if inside:
                raise _nested()
            count += max(_repeats(one, inside=inside) for one in argument[1])
        elif kind in (sre.GROUPREF, sre.GROUPREF_EXISTS, sre.ASSERT, sre.ASSERT_NOT):
            raise InvalidRequestError(told("Back references and look-around are not possible in a pattern."))
    return count


def _nested() -> InvalidRequestError:
    return InvalidRequestError(
        told(
            "A repetition or a choice inside of a repetition, as in (a+)+ or (a|b)*, is not possible; write [ab]* instead."
        )
    )

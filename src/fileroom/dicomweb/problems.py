"""What an answer tells beside its payload: Warning headers, and the body of an error (PS3.18 8.4, 8.5; RFC 9457).

Which error has which status is one table at the edge, in the web room; here is only how it is written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Final

import orjson

PROBLEM_JSON: Final = "application/problem+json"

_WARNINGS_MAX: Final = 20
_WARNING_CHARS_MAX: Final = 400
"""Twenty warnings of this length stay below the 8 to 16 KiB of headers that proxies let through."""
_NOT_IN_HEADER: Final = re.compile(r"[^\x20-\x7e]")


def warning_headers(warnings: Iterable[str], service: str) -> list[str]:
    """Values of Warning headers with code 299 (PS3.18 8.3.4, RFC 7234 5.5), one for each sentence.

    `service` is the base URL of the service. Characters that a header cannot hold become question marks; past
    twenty warnings only their number is told.
    """
    sentences = list(warnings)
    if len(sentences) > _WARNINGS_MAX:
        rest = len(sentences) - _WARNINGS_MAX + 1
        sentences = [*sentences[: _WARNINGS_MAX - 1], f"{rest} more warnings are left out"]
    return [f'299 {service} "{_quotable(sentence)}"' for sentence in sentences]


def more_results_warning(remaining: int | None) -> str:
    """The sentence for a search whose answer is cut (PS3.18 8.3.4.4); `remaining` None if nobody counted."""
    if remaining is None:
        return "There are additional results that can be requested"
    return f"There are {remaining} additional results that can be requested"


def problem_json(status: int, detail: str) -> bytes:
    """The body of an error for programs and people (RFC 9457); `detail` says what, where, why and what to do next."""
    try:
        title = HTTPStatus(status).phrase
    except ValueError:
        title = "Error"
    # Half characters may come in from a URL; JSON cannot hold them.
    sound = detail.encode("utf-8", "replace").decode()
    return orjson.dumps({"type": "about:blank", "title": title, "status": status, "detail": sound})


def _quotable(sentence: str) -> str:
    text = _NOT_IN_HEADER.sub("?", sentence.strip())[:_WARNING_CHARS_MAX]
    return text.replace("\\", "\\\\").replace('"', '\\"')

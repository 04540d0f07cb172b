"""Objects that end too early, in every encoding: in the header, in a sequence, in the pixels, between two elements."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from corpus.elements import (
    BIG,
    EXPLICIT,
    EXPLICIT_BE,
    EXPLICIT_LE,
    IMPLICIT,
    IMPLICIT_LE,
    PIXEL_DATA,
    STUDY,
    Body,
    Coder,
)
from corpus.odd import OddObject, from_body, kept, refused

_CUT: Final = "the object ends inside an element: part of it is lost, and the sender still has all of it"
_CODERS: Final = (("explicit", EXPLICIT), ("implicit", IMPLICIT), ("big", BIG))


def objects() -> Iterator[OddObject]:
    """About 70 objects."""
    for name, coder in _CODERS:
        yield from _cut_everywhere(name, coder)
        yield from _cut_between(name, coder)
    yield from _other_syntax_than_announced()


def _cut_everywhere(name: str, coder: Coder) -> Iterator[OddObject]:
    for percent in (1, 5, 12, 20, 33, 47, 62, 75, 88, 97):
        body = Body(f"cut/header-{percent:02d}-percent-{name}", coder)
        header = len(body.encoded()) - len(body.elements[PIXEL_DATA])
        at = _inside_an_element(body, header * percent // 100)
        yield from_body(body, refused(_CUT), data_set=body.encoded()[:at])
    body = Body(f"cut/in-pixel-header-{name}", coder)
    at = len(body.encoded()) - len(body.elements[PIXEL_DATA]) + 5
    yield from_body(body, refused(_CUT, "C000"), data_set=body.encoded()[:at])
    for place, share in (("start", 500), ("middle", 256), ("last-byte", 1)):
        body = Body(f"cut/in-pixels-{place}-{name}", coder)
        yield from_body(body, refused(_CUT, "C000"), data_set=body.encoded()[:-share])
    body = Body(f"cut/in-sequence-{name}", coder).drop(PIXEL_DATA)
    code = coder.element(0x00080100, "SH", b"CODE")
    body.raw(0x0040A730, coder.sequence(0x0040A730, [code] * 20))
    yield from_body(body, refused(_CUT, "C000"), data_set=body.encoded()[:-30])
    body = Body(f"cut/nothing-{name}", coder)
    yield from_body(body, refused("no data set at all"), data_set=b"")
    body = Body(f"cut/four-bytes-{name}", coder)
    yield from_body(body, refused("no data set at all"), data_set=body.encoded()[:4])


def _inside_an_element(body: Body, at: int) -> int:
    """The position itself, or three bytes further when an element begins there."""
    edge = 0
    for tag in sorted(body.elements):
        if edge == at:
            return at + 3
        edge += len(body.elements[tag])
    return at


def _cut_between(name: str, coder: Coder) -> Iterator[OddObject]:
    body = Body(f"cut/before-study-uid-{name}", coder)
    at = sum(len(body.elements[tag]) for tag in body.elements if tag < STUDY)
    yield from_body(
        body, refused("it ends between two elements, before the Study Instance UID"), data_set=body.encoded()[:at]
    )
    body = Body(f"cut/before-pixels-{name}", coder)
    at = len(body.encoded()) - len(body.elements[PIXEL_DATA])
    whole = kept("it ends between two elements and has all that is needed: nobody can know that pixels are missing")
    yield from_body(body, whole, data_set=body.encoded()[:at])


def _other_syntax_than_announced() -> Iterator[OddObject]:
    for name, coder, syntax, expectation in (
        ("implicit-sent-explicit-announced", IMPLICIT, EXPLICIT_LE, kept("told by the first element", firm=False)),
        ("explicit-sent-implicit-announced", EXPLICIT, IMPLICIT_LE, kept("told by the first element", firm=False)),
        ("big-sent-little-announced", BIG, EXPLICIT_LE, refused("the tags make no sense", firm=False)),
        ("little-sent-big-announced", EXPLICIT, EXPLICIT_BE, refused("the tags make no sense", firm=False)),
        ("random-bytes", EXPLICIT, EXPLICIT_LE, refused("no data set", firm=True)),
    ):
        body = Body(f"announced/{name}", coder)
        data = bytes(n * 89 % 251 for n in range(3000)) if name == "random-bytes" else None
        yield from_body(body, expectation, transfer_syntax=syntax, data_set=data)
    body = Body("announced/private-transfer-syntax")
    yield from_body(
        body, kept("a private transfer syntax of explicit VR", firm=False), transfer_syntax="1.2.840.113619.5.2.99"
    )

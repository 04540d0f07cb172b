"""How elements are strung together: nesting, undefined lengths, private elements, order, padding, sheer number."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from corpus.elements import BIG, EXPLICIT, IMPLICIT, PATIENT_ID, SOP_INSTANCE, STUDY, UNDEFINED, Body, Coder
from corpus.odd import OddObject, from_body, kept, refused

_REFERENCED: Final = 0x00081140
_CONTENT: Final = 0x0040A730
_CODERS: Final = (("explicit", EXPLICIT), ("implicit", IMPLICIT), ("big", BIG))
_HUGE_BYTES: Final = 8 * 1024 * 1024


def objects() -> Iterator[OddObject]:
    """About 110 objects, two of them of 8 MB."""
    for name, coder in _CODERS:
        yield from _nested(name, coder)
        yield from _lengths(name, coder)
        yield from _many(name, coder)
        yield from _private(name, coder)
    yield from _unknown_vr_sequences()
    yield from _broken_delimiters()
    yield from _group_lengths()
    yield from _order()
    yield from _foreign_groups()
    yield from _tails()


def _nested(name: str, coder: Coder) -> Iterator[OddObject]:
    for depth in (10, 100, 1000):
        for kind, undefined in (("defined", False), ("undefined", True)):
            body = Body(f"nested/{depth}-{kind}-{name}", coder)
            body.raw(_CONTENT, nest(coder, depth, undefined))
            yield from_body(body, kept("nesting costs nobody a stack", firm=depth <= 1000))
    yield from_body(
        Body(f"nested/1000-before-uids-{name}", coder).raw(0x00080006, nest(coder, 1000, True, tag=0x00080006)),
        kept("nesting in front of the UIDs must be stepped over"),
    )


def nest(coder: Coder, depth: int, undefined: bool, tag: int = _CONTENT) -> bytes:
    """A sequence in a sequence, `depth` levels, built from the inside out."""
    if not undefined:
        content = coder.element(0x00080100, "SH", b"DEEP")
        for _ in range(depth):
            content = coder.sequence(tag, [content])
        return content
    opening = coder.element(tag, "SQ", b"", length=UNDEFINED) + coder.mark(0xFFFEE000, UNDEFINED)
    closing = coder.mark(0xFFFEE00D, 0) + coder.mark(0xFFFEE0DD, 0)
    return opening * depth + coder.element(0x00080100, "SH", b"DEEP") + closing * depth


def _lengths(name: str, coder: Coder) -> Iterator[OddObject]:
    why = "every mixture of defined and undefined lengths is right (PS3.5 7.5)"
    reference = coder.element(0x00081150, "UI", b"1.2.840.10008.5.1.4.1.1.2") + coder.element(
        0x00081155, "UI", b"1.2.3"
    )
    for kind, undefined, items_undefined in (
        ("undefined-undefined", True, True), ("undefined-defined", True, False), ("defined-undefined", False, True),
    ):  # fmt: skip
        body = Body(f"length/{kind}-{name}", coder)
        for tag in (_REFERENCED, 0x00081032, 0x00400275, _CONTENT, 0x52009230):
            inner = coder.sequence(
                0x00081199, [reference, reference], undefined=undefined, items_undefined=items_undefined
            )
            body.raw(
                tag, coder.sequence(tag, [inner, b"", inner], undefined=undefined, items_undefined=items_undefined)
            )
        yield from_body(body, kept(why))
    for kind, encoded in (
        ("empty-defined", coder.sequence(_REFERENCED, [])),
        ("empty-undefined", coder.sequence(_REFERENCED, [], undefined=True)),
        ("empty-item", coder.sequence(_REFERENCED, [b""])),
        ("empty-items-undefined", coder.sequence(_REFERENCED, [b"", b""], undefined=True, items_undefined=True)),
    ):
        yield from_body(Body(f"length/{kind}-{name}", coder).raw(_REFERENCED, encoded), kept(why))


def _many(name: str, coder: Coder) -> Iterator[OddObject]:
    code = coder.element(0x00080100, "SH", b"C") + coder.element(0x00080104, "LO", b"Code")
    for kind, undefined in (("defined", False), ("undefined", True)):
        body = Body(f"many/20000-items-{kind}-{name}", coder)
        body.raw(_CONTENT, coder.sequence(_CONTENT, [code] * 20_000, undefined=undefined, items_undefined=undefined))
        yield from_body(body, kept("long sequences are common in structured reports and enhanced images"))
    body = Body(f"many/20000-elements-{name}", coder)
    body.put(0x00090010, "LO", "ODD CORPUS")
    for number in range(20_000):
        tag = 0x00091000 + (number // 256 << 17) + number % 256
        body.put(tag, "LO", f"value {number}")
        if number % 256 == 0:
            body.put((tag & 0xFFFF0000) | 0x0010, "LO", "ODD CORPUS")
    yield from_body(body, kept("many elements are only many"))


def _private(name: str, coder: Coder) -> Iterator[OddObject]:
    why = "private elements are kept as they came"
    body = Body(f"private/with-creator-{name}", coder).put(0x00290010, "LO", "ODD CORPUS")
    yield from_body(body.put(0x00291001, "LO", "secret").put(0x00291002, "OB", bytes(range(256))), kept(why))
    yield from_body(Body(f"private/without-creator-{name}", coder).put(0x00291001, "LO", "orphan"), kept(why))
    body = Body(f"private/creator-twice-{name}", coder).put(0x00290010, "LO", "ODD CORPUS")
    yield from_body(body.put(0x00290011, "LO", "ODD CORPUS").put(0x00291101, "LO", "second block"), kept(why))
    body = Body(f"private/creator-empty-{name}", coder).put(0x00290010, "LO", "").put(0x00291001, "LO", "x")
    yield from_body(body, kept(why))
    body = Body(f"private/low-number-{name}", coder).put(0x00290001, "LO", "illegal").put(0x00290FFF, "LO", "illegal")
    yield from_body(body, kept(why))
    inner = coder.element(0x00290010, "LO", b"ODD CORPUS") + coder.element(0x00291001, "LO", b"inner")
    body = Body(f"private/sequence-{name}", coder).put(0x00290010, "LO", "ODD CORPUS")
    body.raw(0x00291010, coder.sequence(0x00291010, [inner], undefined=True, items_undefined=True))
    yield from_body(body, kept(why))
    if name != "big":
        body = Body(f"private/8-megabytes-{name}", coder).put(0x00290010, "LO", "ODD CORPUS")
        body.put(0x00291001, "OB", (b"ODD" * (_HUGE_BYTES // 3 + 1))[:_HUGE_BYTES])
        yield from_body(body, kept("a huge private element in front of the pixels must not hide them"))


def _unknown_vr_sequences() -> Iterator[OddObject]:
    why = "a sequence of VR UN with undefined length holds implicit VR (PS3.5 6.2.2 note 4)"
    content = IMPLICIT.element(0x00081150, "UI", b"1.2.3.4") + IMPLICIT.element(0x00081155, "UI", b"1.2.3.5")
    for tag, name in ((_REFERENCED, "known"), (0x00291010, "private"), (0x00091001, "private-before-uids")):
        for items_undefined in (False, True):
            kind = "undefined" if items_undefined else "defined"
            inner = EXPLICIT.element(tag, "UN", b"", length=UNDEFINED)
            inner += IMPLICIT.item(content, undefined=items_undefined) + IMPLICIT.mark(0xFFFEE0DD, 0)
            yield from_body(Body(f"un/undefined-{name}-items-{kind}").raw(tag, inner), kept(why))
    nested = IMPLICIT.sequence(_CONTENT, [content], undefined=True, items_undefined=True)
    inner = (
        EXPLICIT.element(0x00291010, "UN", b"", length=UNDEFINED) + IMPLICIT.item(nested) + IMPLICIT.mark(0xFFFEE0DD, 0)
    )
    yield from_body(Body("un/undefined-nested").raw(0x00291010, inner), kept(why))
    yield from_body(
        Body("un/defined-with-implicit-items").put(0x00291010, "UN", IMPLICIT.item(content)), kept("opaque bytes")
    )
    yield from_body(
        Body("un/defined-with-explicit-items").put(
            0x00291010, "UN", EXPLICIT.item(EXPLICIT.element(0x00080100, "SH", b"X"))
        ),
        kept("opaque bytes"),
    )
    yield from_body(Body("un/empty").put(0x00291010, "UN", b""), kept("empty"))
    yield from_body(
        Body("un/looks-like-delimiters").put(0x00291010, "UN", EXPLICIT.mark(0xFFFEE0DD, 0) * 8), kept("opaque")
    )


def _broken_delimiters() -> Iterator[OddObject]:
    item = EXPLICIT.element(0x00080100, "SH", b"CODE")
    opening = EXPLICIT.element(_REFERENCED, "SQ", b"", length=UNDEFINED)
    start, end_item, end = (
        EXPLICIT.mark(0xFFFEE000, UNDEFINED),
        EXPLICIT.mark(0xFFFEE00D, 0),
        EXPLICIT.mark(0xFFFEE0DD, 0),
    )
    for name, encoded, expectation in (
        ("item-not-closed", opening + start + item + end, kept("the end of the sequence closes its item", firm=False)),
        ("item-delimiter-with-length", opening + start + item + EXPLICIT.mark(0xFFFEE00D, 4) + end,
         kept("the length of a delimiter is ignored", firm=False)),
        ("sequence-delimiter-with-length", opening + start + item + end_item + EXPLICIT.mark(0xFFFEE0DD, 4),
         kept("the length of a delimiter is ignored", firm=False)),
        ("delimiter-after-defined-item", opening + EXPLICIT.item(item) + end_item + end,
         kept("a needless delimiter does no harm", firm=False)),
        ("element-instead-of-item", opening + item + end, refused("no item where an item must be", "C000", firm=False)),
        ("never-closed", opening + start + item, refused("the sequence swallows the rest of the object", "C000")),
    ):  # fmt: skip
        yield from_body(Body(f"delimiter/{name}").raw(_REFERENCED, encoded), expectation)
    yield from_body(
        Body("delimiter/stray-at-top").raw(0x00281054, EXPLICIT.mark(0xFFFEE00D, 0)),
        kept("devices leave stray delimiters at the top level", firm=False),
    )
    yield from_body(
        Body("delimiter/length-fffffffe").put(0x00291001, "OB", b"", length=0xFFFFFFFE),
        refused("the element reaches past the end", "C000"),
    )
    yield from_body(
        Body("delimiter/item-longer-than-sequence").raw(
            _REFERENCED, EXPLICIT.element(_REFERENCED, "SQ", EXPLICIT.mark(0xFFFEE000, 500) + item)
        ),
        kept(
            "the lengths of the sequence and of its item contradict each other; that of the sequence counts", firm=False
        ),
    )


def _group_lengths() -> Iterator[OddObject]:
    why = "group lengths are retired and ignored (PS3.5 7.2)"
    for name, coder in _CODERS:
        for kind, lie in (("right", None), ("zero", 0), ("wrong", 7), ("huge", 0xFFFFFFF0)):
            body = Body(f"group-length/{kind}-{name}", coder)
            groups: dict[int, int] = {}
            for tag, encoded in body.elements.items():
                groups[tag >> 16] = groups.get(tag >> 16, 0) + len(encoded)
            for group, length in groups.items():
                body.put(group << 16, "UL", struct.pack(coder.order + "I", length if lie is None else lie))
            yield from_body(body, kept(why))
    yield from_body(
        Body("group-length/of-two-bytes").put(0x00080000, "UL", b"\x10\0", pad=False), kept(why, firm=False)
    )


def _order() -> Iterator[OddObject]:
    why = "elements must ascend (PS3.5 7.1), but each still says what it is"
    body = Body("order/descending")
    backwards = b"".join(body.elements[tag] for tag in sorted(body.elements, reverse=True) if tag != 0x7FE00010)
    yield from_body(body, kept(why, firm=False), data_set=backwards + body.elements[0x7FE00010])
    body = Body("order/patient-after-image-groups")
    late = body.elements.pop(PATIENT_ID)
    yield from_body(body.raw(0x00289999, late), kept(why, firm=False))
    body = Body("order/instance-uid-last-before-pixels")
    late = body.elements.pop(SOP_INSTANCE)
    yield from_body(body.raw(0x7FE00009, late), kept(why, firm=False))
    body = Body("order/uids-after-pixels")
    body.tail = body.elements.pop(STUDY)
    yield from_body(
        body, refused("attributes behind the pixel data are not looked for: no Study Instance UID", firm=False)
    )
    body = Body("order/patient-id-twice-same")
    yield from_body(body.raw(0x00100021, body.elements[PATIENT_ID]), kept("the same twice", firm=False))
    body = Body("order/patient-id-twice-different")
    yield from_body(
        body.raw(0x00100021, EXPLICIT.element(PATIENT_ID, "LO", b"ODD-TWICE")), kept("one of both", firm=False)
    )
    body = Body("order/instance-uid-twice-same")
    yield from_body(body.raw(0x00080019, body.elements[SOP_INSTANCE]), kept("the same twice", firm=False))
    body = Body("order/instance-uid-twice-different")
    body.raw(0x00080019, EXPLICIT.element(SOP_INSTANCE, "UI", b"2.25.1"))
    yield from_body(body, refused("two identities", firm=False))
    body = Body("order/study-uid-differs-in-item")
    body.raw(_REFERENCED, EXPLICIT.sequence(_REFERENCED, [EXPLICIT.element(STUDY, "UI", b"2.25.666")]))
    yield from_body(body, kept("UIDs inside sequences are not those of the object"))
    body = Body("order/instance-uid-in-item-first")
    inner = EXPLICIT.element(SOP_INSTANCE, "UI", b"2.25.666") + EXPLICIT.element(PATIENT_ID, "LO", b"WRONG")
    body.raw(0x00080006, EXPLICIT.sequence(0x00080006, [inner], undefined=True, items_undefined=True))
    yield from_body(body, kept("UIDs inside sequences are not those of the object"))


def _foreign_groups() -> Iterator[OddObject]:
    why = "an element of a group that does not belong into a data set"
    yield from_body(Body("group/file-meta-inside").put(0x00020010, "UI", "1.2.840.10008.1.2"), kept(why, firm=False))
    yield from_body(Body("group/0004-inside").put(0x00041220, "LO", "x"), kept(why, firm=False))
    yield from_body(Body("group/command-inside").put(0x00000902, "LO", "x"), kept(why, firm=False))
    yield from_body(Body("group/0003").put(0x00030010, "LO", "ODD"), kept(why, firm=False))
    yield from_body(Body("group/ffff-before-end").put(0xFFFF0010, "LO", "ODD"), kept(why, firm=False))
    for group in (0x6000, 0x6002, 0x601E):
        body = Body(f"group/overlay-{group:04x}")
        body.put(group << 16 | 0x0010, "US", EXPLICIT.number(16)).put(group << 16 | 0x0011, "US", EXPLICIT.number(16))
        yield from_body(body.put(group << 16 | 0x3000, "OW", bytes(32)), kept("overlays are right"))
    yield from_body(Body("group/curve-5000").put(0x50003000, "OW", bytes(64)), kept("retired curve"))


def _tails() -> Iterator[OddObject]:
    why = "what follows the last element is kept and means nothing"
    for name, tail in (
        ("padding-fffc", EXPLICIT.element(0xFFFCFFFC, "OB", bytes(1000))),
        ("padding-fffc-empty", EXPLICIT.element(0xFFFCFFFC, "OB", b"")),
        ("digital-signature", EXPLICIT.sequence(0xFFFAFFFA, [EXPLICIT.element(0x04000100, "UI", b"1.2.3")])),
        ("element-after-pixels", EXPLICIT.element(0x7FE10010, "LO", b"late private creator")),
        ("zeros", bytes(512)), ("one-zero", b"\0"), ("one-byte", b"x"), ("seven-bytes", b"garbage"),
        ("garbage", bytes(range(256)) * 4), ("second-object", Body("x").encoded()), ("text", b"\r\nEnd of file\r\n"),
    ):  # fmt: skip
        body = Body(f"tail/{name}")
        body.tail = tail
        yield from_body(body, kept(why, firm=name.startswith("padding") or name.endswith(("signature", "pixels"))))
        body = Body(f"tail/no-pixels-{name}").drop(0x7FE00010)
        body.tail = tail
        clean = name.startswith("padding") or name.endswith(("signature", "pixels"))
        if name not in ("garbage", "text", "second-object"):
            rest = refused("too few bytes for another element: it looks cut", "C000", firm=False)
            yield from_body(body, rest if len(tail) < 8 else kept(why, firm=clean))

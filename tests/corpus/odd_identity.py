"""Odd UIDs, SOP classes and patients: what an object is filed under."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from corpus.elements import PATIENT_ID, PATIENT_NAME, SERIES, SOP_CLASS, SOP_INSTANCE, STUDY, Body, odd_uid
from corpus.odd import MISMATCH, NOT_UNDERSTOOD, OddObject, from_body, kept, refused

_LEVELS: Final = (("study", STUDY), ("series", SERIES))
_BAD_UIDS: Final = (
    ("path-up", "../../etc/passwd"),
    ("path-absolute", "/etc/passwd"),
    ("path-windows", "..\\..\\windows\\win.ini"),
    ("path-inside", "1.2.3/../../4"),
    ("path-encoded", "1.2.%2e%2e%2f4"),
    ("drive", "C:1.2.3"),
    ("200-long", "1.2." + "3" * 196),
    ("65-long", "2.25." + "7" * 60),
    ("letters", "1.2.abc.4"),
    ("empty-component", "1.2..3"),
    ("leading-dot", ".1.2.3"),
    ("trailing-dot", "1.2.3."),
    ("only-dots", "..."),
    ("minus", "1.2.-3"),
    ("comma", "1,2,3"),
    ("blank-inside", "1.2 .3"),
    ("nul-inside", "1.2\0.3"),
    ("newline", "1.2\n3"),
    ("quote", "1.2' OR '1'='1"),
    ("semicolon", "1.2;DROP TABLE x"),
    ("wildcard", "1.2.*"),
    ("high-byte", "1.2.\xe9"),
)
_RETIRED_OR_RARE: Final = (
    ("us-retired", "1.2.840.10008.5.1.4.1.1.6"),
    ("us-multiframe-retired", "1.2.840.10008.5.1.4.1.1.3"),
    ("nm-retired", "1.2.840.10008.5.1.4.1.1.5"),
    ("vl-retired", "1.2.840.10008.5.1.4.1.1.77.1"),
    ("standalone-overlay-retired", "1.2.840.10008.5.1.4.1.1.8"),
    ("standalone-curve-retired", "1.2.840.10008.5.1.4.1.1.9"),
    ("stored-print-retired", "1.2.840.10008.5.1.1.27"),
    ("xa-biplane-retired", "1.2.840.10008.5.1.4.1.1.12.3"),
    ("siemens-non-image", "1.3.12.2.1107.5.9.1"),
    ("ge-3d-model", "1.2.840.113619.4.26"),
    ("private-2.25", "2.25.112233445566778899"),
    ("of-a-later-edition", "1.2.840.10008.5.1.4.1.1.999.1"),
)


def objects() -> Iterator[OddObject]:
    """About 90 objects."""
    yield from _missing()
    yield from _mismatched()
    for name, uid in _BAD_UIDS:
        why = "a UID is digits and single dots, at most 64 characters; with this one the object cannot be filed"
        body = Body(f"uid/instance-{name}").put(SOP_INSTANCE, "UI", uid)
        yield from_body(body, refused(why), sop_instance=uid)
        for level, tag in _LEVELS:
            # A receiver may strip control characters first and find a good UID.
            expectation = refused(why, NOT_UNDERSTOOD, MISMATCH, firm=name not in ("nul-inside", "newline"))
            yield from_body(Body(f"uid/{level}-{name}").put(tag, "UI", uid), expectation)
    yield from _good_uids()
    for name, sop_class in _RETIRED_OR_RARE:
        body = Body(f"class/{name}", sop_class=sop_class)
        yield from_body(body, kept("unknown, private and retired storage classes are stored as they come"))
    yield from _patients()
    yield from _modalities()


def _missing() -> Iterator[OddObject]:
    for name, tag in (("instance", SOP_INSTANCE), ("class", SOP_CLASS), ("study", STUDY), ("series", SERIES)):
        why = f"without a {name} UID in the data set it cannot be known what this is"
        yield from_body(Body(f"uid/{name}-missing").drop(tag), refused(why))
        yield from_body(Body(f"uid/{name}-empty").put(tag, "UI", b""), refused(why))
        yield from_body(Body(f"uid/{name}-only-padding").put(tag, "UI", b"\0\0"), refused(why))
        yield from_body(Body(f"uid/{name}-only-blanks").put(tag, "UI", b"    "), refused(why))


def _mismatched() -> Iterator[OddObject]:
    why = "the data set must be the object that was announced (PS3.4 B.2.3)"
    yield from_body(
        Body("uid/instance-differs-from-command"),
        refused(why, MISMATCH),
        sop_instance=odd_uid("another", "instance"),
    )
    yield from_body(
        Body("uid/class-differs-from-command"), refused(why, MISMATCH), sop_class="1.2.840.10008.5.1.4.1.1.4"
    )
    shorter = Body("uid/instance-is-prefix-of-command")
    yield from_body(shorter, refused(why, MISMATCH), sop_instance=shorter.sop_instance + ".1")


def _good_uids() -> Iterator[OddObject]:
    longest = "2.25." + "8" * 59
    for name, uid in (
        ("64-long", longest),
        ("leading-zero", "1.2.003.4.5.20240229"),
        ("one-component", "12345678901"),
        ("many-components", ".".join("1" * 32)),
        ("large-component", "1.2.99999999999999999999999999999999"),
        ("root-9", "9.9.9.20240229"),
    ):
        body = Body(f"uid/instance-{name}").put(SOP_INSTANCE, "UI", uid)
        yield from_body(body, kept("odd, but an identity that can be kept", firm=name == "64-long"), sop_instance=uid)
        for level, tag in _LEVELS:
            yield from_body(Body(f"uid/{level}-{name}").put(tag, "UI", uid), kept("odd, but an identity", firm=False))
    for name, padding in (("blank", b" "), ("two-nuls", b"\0\0"), ("blanks-and-nul", b"  \0")):
        body = Body(f"uid/padded-with-{name}")
        for tag, uid in ((SOP_INSTANCE, body.sop_instance), (STUDY, odd_uid(body.name, "study"))):
            body.put(tag, "UI", uid.encode() + padding)
        yield from_body(body, kept("wrong padding is stripped before UIDs are compared"))


def _patients() -> Iterator[OddObject]:
    why = "a study without a usable patient is still a study"
    yield from_body(Body("patient/id-empty").put(PATIENT_ID, "LO", ""), kept(why))
    yield from_body(Body("patient/id-missing").drop(PATIENT_ID), kept(why))
    yield from_body(Body("patient/id-blank").put(PATIENT_ID, "LO", "      "), kept(why))
    yield from_body(Body("patient/id-200-long").put(PATIENT_ID, "LO", "P" * 200), kept(why))
    yield from_body(Body("patient/id-5000-long").put(PATIENT_ID, "LO", "P" * 5000), kept(why))
    yield from_body(Body("patient/id-two-values").put(PATIENT_ID, "LO", "A1\\B2"), kept(why))
    yield from_body(Body("patient/id-wildcard").put(PATIENT_ID, "LO", "*?%_"), kept(why))
    yield from_body(Body("patient/id-sql").put(PATIENT_ID, "LO", "'; DROP TABLE patient; --"), kept(why))
    yield from_body(Body("patient/id-html").put(PATIENT_ID, "LO", "<script>alert(1)</script>"), kept(why))
    yield from_body(Body("patient/name-empty").put(PATIENT_NAME, "PN", ""), kept(why, patient_name=""))
    yield from_body(Body("patient/name-missing").drop(PATIENT_NAME), kept(why))
    yield from_body(Body("patient/name-html").put(PATIENT_NAME, "PN", "<b>O'Odd</b>^&amp;"), kept(why))
    yield from_body(Body("patient/name-only-carets").put(PATIENT_NAME, "PN", "^^^^"), kept(why))
    yield from_body(Body("patient/name-nine-components").put(PATIENT_NAME, "PN", "A^B^C^D^E^F^G^H^I"), kept(why))
    yield from_body(Body("patient/name-five-groups").put(PATIENT_NAME, "PN", "A=B=C=D=E"), kept(why))
    yield from_body(Body("patient/name-two-values").put(PATIENT_NAME, "PN", "Odd^One\\Odd^Two"), kept(why))
    yield from_body(Body("patient/module-missing").drop(PATIENT_NAME, PATIENT_ID, 0x00100030, 0x00100040), kept(why))


def _modalities() -> Iterator[OddObject]:
    why = "the modality is only an attribute"
    for name, value in (
        ("two-values", "CT\\MR"),
        ("empty", ""),
        ("lower-case", "ct"),
        ("unknown", "XYZZY"),
        ("40-long", "M" * 40),
        ("blank-before", " CT"),
        ("with-newline", "CT\r\n"),
    ):
        yield from_body(Body(f"modality/{name}").put(0x00080060, "CS", value), kept(why))
    yield from_body(Body("modality/missing").drop(0x00080060), kept(why))

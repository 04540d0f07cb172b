"""Files that an import finds on a disc: DICOM without its wrapping, with a wrong one, and what is no DICOM at all."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
from collections.abc import Iterator
from typing import Final

from corpus.elements import BIG, EXPLICIT, EXPLICIT_LE, IMPLICIT, IMPLICIT_LE, PREAMBLE, Body, file_meta, odd_uid
from corpus.odd import OddObject, file_only, kept, refused

_NOT_DICOM: Final = refused("this is no DICOM object")


def objects() -> Iterator[OddObject]:
    """About 60 files. None of them can be sent by C-STORE as it is."""
    yield from _unwrapped()
    yield from _wrong_meta()
    yield from _cut_meta()
    yield from _directories()
    yield from _no_dicom()


def _unwrapped() -> Iterator[OddObject]:
    why = "old devices and old discs hold bare data sets"
    for name, coder in (("explicit", EXPLICIT), ("implicit", IMPLICIT), ("big", BIG)):
        body = Body(f"file/bare-{name}", coder)
        yield file_only(body.name, body.encoded(), kept(why, firm=name != "big"))
        body = Body(f"file/preamble-and-bare-{name}", coder)
        yield file_only(body.name, PREAMBLE + body.encoded(), kept(why, firm=False))
    body = Body("file/no-preamble-but-meta")
    yield file_only(body.name, _meta(body) + body.encoded(), kept("no preamble, but file meta"))
    body = Body("file/dicm-without-preamble")
    yield file_only(body.name, b"DICM" + _meta(body) + body.encoded(), kept("the preamble is missing", firm=False))
    body = Body("file/preamble-without-dicm")
    yield file_only(
        body.name,
        bytes(132) + _meta(body) + body.encoded(),
        refused("DICM is missing, and zeros are no element", firm=False),
    )
    body = Body("file/preamble-lower-case-dicm")
    yield file_only(
        body.name,
        bytes(128) + b"dicm" + _meta(body) + body.encoded(),
        refused("dicm is wrong, and zeros are no element", firm=False),
    )
    body = Body("file/tiff-in-preamble")
    tiff = b"II*\0\x08\0\0\0" + bytes(120)
    yield file_only(
        body.name, tiff + b"DICM" + _meta(body) + body.encoded(), kept("the preamble may be anything (PS3.10 7.1)")
    )
    body = Body("file/html-in-preamble")
    html = b"<html><script>alert(1)</script>".ljust(128)
    yield file_only(body.name, html + b"DICM" + _meta(body) + body.encoded(), kept("the preamble may be anything"))
    body = Body("file/right")
    yield file_only(body.name, PREAMBLE + _meta(body) + body.encoded(), kept("a right file"))


def _wrong_meta() -> Iterator[OddObject]:
    for name, number in (("zero", 0), ("too-short", 40), ("too-long", 4000), ("huge", 0xFFFFFFF0)):
        body = Body(f"meta/group-length-{name}")
        right = _meta(body)
        meta = right[:8] + struct.pack("<I", number) + right[12:]
        why = "group 2 ends where another group begins, whatever its length says"
        yield file_only(body.name, PREAMBLE + meta + body.encoded(), kept(why, firm=False))
    body = Body("meta/group-length-missing")
    yield file_only(body.name, PREAMBLE + _meta(body)[12:] + body.encoded(), kept("no group length"))
    body = Body("meta/only-transfer-syntax")
    syntax = EXPLICIT.element(0x00020010, "UI", EXPLICIT_LE.encode())
    yield file_only(body.name, PREAMBLE + syntax + body.encoded(), kept("the data set tells the rest"))
    body = Body("meta/transfer-syntax-missing")
    meta = EXPLICIT.element(0x00020003, "UI", body.sop_instance.encode())
    yield file_only(body.name, PREAMBLE + meta + body.encoded(), kept("told by the first element"))
    body = Body("meta/transfer-syntax-missing-implicit", IMPLICIT)
    meta = EXPLICIT.element(0x00020003, "UI", body.sop_instance.encode())
    yield file_only(body.name, PREAMBLE + meta + body.encoded(), kept("told by the first element"))
    for name, coder, said in (
        ("says-explicit-is-implicit", IMPLICIT, EXPLICIT_LE), ("says-implicit-is-explicit", EXPLICIT, IMPLICIT_LE),
        ("says-nonsense", EXPLICIT, "1.2.3.4.5"), ("says-blank", EXPLICIT, "   "),
    ):  # fmt: skip
        body = Body(f"meta/{name}", coder)
        meta = file_meta(body.sop_class, body.sop_instance, said)
        yield file_only(body.name, PREAMBLE + meta + body.encoded(), kept("told by the first element", firm=False))
    body = Body("meta/implicit-vr")
    meta = IMPLICIT.element(0x00020010, "UI", EXPLICIT_LE.encode())
    yield file_only(body.name, PREAMBLE + meta + body.encoded(), kept("group 2 must be explicit", firm=False))
    body = Body("meta/other-instance-uid")
    meta = file_meta(body.sop_class, odd_uid("other", "instance"), EXPLICIT_LE)
    yield file_only(body.name, PREAMBLE + meta + body.encoded(), refused("the meta is of another object", firm=False))
    body = Body("meta/path-as-instance-uid")
    meta = file_meta(body.sop_class, "../../etc/passwd", EXPLICIT_LE)
    yield file_only(body.name, PREAMBLE + meta + body.encoded(), refused("the meta is of another object", firm=False))
    body = Body("meta/twice")
    yield file_only(body.name, PREAMBLE + _meta(body) + _meta(body) + body.encoded(), kept("group 2 twice", firm=False))
    body = Body("meta/private-information")
    extra = EXPLICIT.element(0x00020100, "UI", b"2.25.99") + EXPLICIT.element(0x00020102, "OB", bytes(5000))
    meta = _meta(body)[12:] + extra
    meta = EXPLICIT.element(0x00020000, "UL", struct.pack("<I", len(meta))) + meta
    yield file_only(body.name, PREAMBLE + meta + body.encoded(), kept("private information is right (PS3.10 7.1)"))


def _cut_meta() -> Iterator[OddObject]:
    body = Body("meta/cut")
    whole = PREAMBLE + _meta(body) + body.encoded()
    start = len(PREAMBLE)
    meta_end = start + len(_meta(body))
    for at in (1, 4, 127, 128, 131, start + 1, start + 6, start + 14, start + 40, start + 100, meta_end - 3):
        yield file_only(f"meta/cut-at-{at:03d}", whole[:at], refused("the file ends in its file meta information"))
    yield file_only("meta/nothing-behind", whole[: start + len(_meta(body))], refused("the file has no data set"))


def _directories() -> Iterator[OddObject]:
    syntax = "1.2.840.10008.1.3.10"
    record = EXPLICIT.element(0x00041400, "UL", bytes(4)) + EXPLICIT.element(0x00041410, "US", b"\xff\xff")
    record += EXPLICIT.element(0x00041420, "UL", bytes(4)) + EXPLICIT.element(0x00041430, "CS", b"PATIENT")
    record += EXPLICIT.element(0x00100010, "PN", b"Odd^Directory") + EXPLICIT.element(0x00100020, "LO", b"ODD")
    for name, records in (("empty", []), ("one-patient", [record]), ("of-wrong-offsets", [record] * 3)):
        data = EXPLICIT.element(0x00041130, "CS", b"ODD") + EXPLICIT.element(0x00041200, "UL", bytes(4))
        data += EXPLICIT.element(0x00041202, "UL", b"\xff\xff\xff\x7f") + EXPLICIT.element(0x00041212, "US", bytes(2))
        data += EXPLICIT.sequence(0x00041220, records)
        meta = file_meta(syntax, odd_uid(name, "directory"), EXPLICIT_LE)
        yield file_only(f"dicomdir/{name}", PREAMBLE + meta + data, refused("a directory of objects is not an object"))


def _no_dicom() -> Iterator[OddObject]:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as pack:
        pack.writestr(zipfile.ZipInfo("readme.txt"), "no object in here")
    for name, data in (
        ("empty", b""), ("one-byte", b"D"), ("text", b"Dear colleague,\r\nplease find enclosed ...\r\n"),
        ("dicm-and-text", PREAMBLE + b"Dear colleague, please find enclosed our report."),
        ("only-dicm-twice", PREAMBLE + PREAMBLE),
        ("zeros-100", bytes(100)), ("zeros-132", bytes(132)), ("zeros-4096", bytes(4096)), ("ones-4096", b"\xff" * 4096),
        ("jpeg", b"\xff\xd8\xff\xe0\0\x10JFIF\0" + bytes(200)), ("png", b"\x89PNG\r\n\x1a\n" + bytes(200)),
        ("pdf", b"%PDF-1.4\n%%EOF\n"), ("zip", archive.getvalue()), ("gzip", gzip.compress(b"x" * 500, mtime=0)),
        ("xml", b"<?xml version='1.0'?><NativeDicomModel/>"), ("json", b'{"00080018": {"vr": "UI"}}'),
        ("hl7", b"MSH|^~\\&|A|B|C|D|20240229||ADT^A01|1|P|2.5.1\r"), ("elf", b"\x7fELF\x02\x01\x01" + bytes(300)),
        ("exe", b"MZ" + bytes(300)), ("html", b"<!DOCTYPE html><title>viewer</title>"), ("nifti", b"\x5c\x01\0\0" + bytes(344)),
        ("utf-16", "DICM".encode("utf-16") * 40), ("autorun", b"[autorun]\r\nopen=viewer.exe\r\n"),
        ("mac-resource", b"\0\5\x16\7\0\2\0\0" + bytes(100)), ("acr-nema-like", b"\x08\0\x01\0\4\0\0\0\1\2\3\4" + bytes(40)),
        ("ramp", bytes(range(256)) * 8), ("pseudo-random", bytes(n * n * 31 % 251 for n in range(5000))),
    ):  # fmt: skip
        yield file_only(f"no-dicom/{name}", data, _NOT_DICOM)


def _meta(body: Body) -> bytes:
    return file_meta(body.sop_class, body.sop_instance, EXPLICIT_LE)

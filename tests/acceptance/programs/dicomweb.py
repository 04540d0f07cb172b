"""A plain DICOMweb client (PS3.18): requests over HTTP, multipart answers taken apart by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any, Final

import httpx

from acceptance.dicom_files import Part10, read_part10

TIMEOUT_S: Final = 300.0
AS_STORED: Final = 'multipart/related; type="application/dicom"; transfer-syntax=*'
STOW_BOUNDARY: Final = b"acceptance-test-boundary"


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a multipart answer."""

    headers: Mapping[str, str]
    content: bytes


def retrieve(dicomweb: str, path: str, accept: str = AS_STORED) -> dict[str, Part10]:
    """WADO-RS of objects; what came, by SOP Instance UID."""
    answer = httpx.get(f"{dicomweb}/{path}", headers={"Accept": accept}, timeout=TIMEOUT_S)
    assert answer.status_code == 200, f"{answer.status_code} {answer.text[:500]}"
    objects = [read_part10(part.content) for part in multipart(answer)]
    return {each.sop_instance_uid: each for each in objects}


def retrieve_by_uri(url: str, study_uid: str, series_uid: str, instance_uid: str) -> Part10:
    """WADO-URI of one object as a DICOM file."""
    query = {
        "requestType": "WADO",
        "studyUID": study_uid,
        "seriesUID": series_uid,
        "objectUID": instance_uid,
        "contentType": "application/dicom",
        "transferSyntax": "*",
    }
    answer = httpx.get(f"{url}/wado", params=query, timeout=TIMEOUT_S)
    assert answer.status_code == 200, f"{answer.status_code} {answer.text[:500]}"
    assert answer.headers["content-type"].split(";")[0] == "application/dicom"
    return read_part10(answer.content)


def search(dicomweb: str, path: str, query: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    """QIDO-RS; the matches as DICOM JSON."""
    answer = httpx.get(
        f"{dicomweb}/{path}", params=query, headers={"Accept": "application/dicom+json"}, timeout=TIMEOUT_S
    )
    assert answer.status_code in (200, 204), f"{answer.status_code} {answer.text[:500]}"
    found: list[dict[str, Any]] = answer.json() if answer.content else []
    return found


def store(dicomweb: str, contents: Sequence[bytes | Path]) -> httpx.Response:
    """STOW-RS of whole files; the answer, whatever its status."""
    body = bytearray()
    for content in contents:
        data = content.read_bytes() if isinstance(content, Path) else content
        body += b"--" + STOW_BOUNDARY + b"\r\nContent-Type: application/dicom\r\n\r\n" + data + b"\r\n"
    body += b"--" + STOW_BOUNDARY + b"--\r\n"
    kind = f'multipart/related; type="application/dicom"; boundary={STOW_BOUNDARY.decode()}'
    headers = {"Content-Type": kind, "Accept": "application/dicom+json"}
    return httpx.post(f"{dicomweb}/studies", content=bytes(body), headers=headers, timeout=TIMEOUT_S)


def multipart(answer: httpx.Response) -> list[Part]:
    """The parts of a multipart/related answer (RFC 2387)."""
    message = Message()
    message["Content-Type"] = answer.headers["content-type"]
    assert message.get_content_type() == "multipart/related", answer.headers["content-type"]
    boundary = b"--" + str(message.get_param("boundary")).encode()
    pieces = (b"\r\n" + answer.content).split(b"\r\n" + boundary)
    assert pieces[-1].startswith(b"--"), "the multipart answer has no end"
    return [_part(piece) for piece in pieces[1:-1]]


def value(match: Mapping[str, Any], tag: str) -> Any:
    """The first value of an element in DICOM JSON, None if it has none."""
    values = match.get(tag, {}).get("Value")
    return values[0] if values else None


def _part(piece: bytes) -> Part:
    head, _, content = piece.removeprefix(b"\r\n").partition(b"\r\n\r\n")
    lines = (line.partition(":") for line in head.decode("latin-1").split("\r\n") if line)
    return Part({name.strip().lower(): text.strip() for name, _, text in lines}, content)

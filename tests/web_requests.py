"""What tests of the web room send and read: multipart bodies by hand, so that the parser under test is not its own judge."""

from __future__ import annotations

import email.parser
import email.policy
from email.message import Message

BOUNDARY = "0123456789abcdef"
DICOM_RELATED = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'


def multipart(*parts: tuple[str, bytes], headers: str = "") -> bytes:
    """A body of (Content-Type, body) parts."""
    pieces = [
        f"--{BOUNDARY}\r\nContent-Type: {content_type}\r\n{headers}\r\n".encode() + body + b"\r\n"
        for content_type, body in parts
    ]
    return b"".join(pieces) + f"--{BOUNDARY}--\r\n".encode()


def dicom_parts(*files: bytes) -> bytes:
    """A body of DICOM files."""
    return multipart(*(("application/dicom", file) for file in files))


def split_parts(content_type: str, body: bytes) -> list[tuple[Message, bytes]]:
    """(headers, body) of each part, found by Python's own mail parser."""
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(
        f"Content-Type: {content_type}\r\nMIME-Version: 1.0\r\n\r\n".encode() + body
    )
    assert message.is_multipart(), content_type
    boundary = message.get_boundary() or ""
    raw = body.split(f"--{boundary}".encode())[1:-1]
    bodies = [piece.split(b"\r\n\r\n", 1)[1][:-2] for piece in raw]
    return list(zip(message.iter_parts(), bodies, strict=True))  # type: ignore[attr-defined]

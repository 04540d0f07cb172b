"""The few answers of Active Directory that slapd cannot give: its matching rule, objectGUID, references, reasons for a refusal.

LDAP (RFC 4511) over plain TCP on 127.0.0.1, in a thread; its BER is written out by hand.
"""

from __future__ import annotations

import socketserver
import threading
import uuid
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Final

BASE: Final = "DC=hospital,DC=example"
SERVICE: Final = ("CN=fileroom,CN=Users,DC=hospital,DC=example", "quiet-lamp-7")
PERSON_DN: Final = "CN=Müller\\, Anna,OU=Radiology,DC=hospital,DC=example"
PASSWORD: Final = "green-boat-in-may"
GUID: Final = uuid.UUID("5b3c1a2e-9f0d-4c6b-8a71-0d9e2f4b6c88")
PERSON: Final = {
    "sAMAccountName": [b"AMueller"],
    "displayName": ["Müller, Anna".encode()],
    "objectGUID": [GUID.bytes_le],
}
GROUP_DN: Final = "CN=Radiologists,OU=Groups,DC=hospital,DC=example"
RULE: Final = "1.2.840.113556.1.4.1941"

_SEQUENCE, _SET, _INTEGER, _OCTETS, _ENUMERATED = 0x30, 0x31, 0x02, 0x04, 0x0A
_BIND, _UNBIND, _SEARCH = 0x60, 0x42, 0x63
_BOUND, _ENTRY, _DONE, _REFERENCE = 0x61, 0x64, 0x65, 0x73
_EQUALITY, _EXTENSIBLE = 0xA3, 0xA9


class ActiveDirectory:
    """It knows one person, who is in the group Radiologists by way of another; a context manager.

    `reason`: why the right password is refused; `doubles`: how many people have the login; `control`: userAccountControl.
    """

    def __init__(self) -> None:
        self.reason = ""
        self.doubles = 1
        self.control = 0x200
        self.is_member = True
        self.is_down = False
        self.filters: list[list[tuple[int, tuple[str, ...]]]] = []
        self.binds: list[tuple[str, str]] = []
        outer = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                _serve(outer, self.request)

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def url(self) -> str:
        return f"ldap://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> ActiveDirectory:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def bind(self, dn: str, password: str) -> tuple[int, str]:
        """Code and words."""
        if self.is_down:
            return 52, "unavailable"
        self.binds.append((dn, password))
        if (dn, password) == SERVICE or ((dn, password) == (PERSON_DN, PASSWORD) and not self.reason):
            return 0, ""
        return (
            49,
            f"80090308: LdapErr: DSID-0C090439, comment: AcceptSecurityContext error, {self.reason or 'data 52e'}",
        )

    def search(self, parts: list[tuple[int, tuple[str, ...]]]) -> Iterator[tuple[str, dict[str, list[bytes]]]]:
        """What fits any of the parts of a filter."""
        self.filters.append(parts)
        if (_EXTENSIBLE, (RULE, "member", PERSON_DN)) in parts and self.is_member:
            yield GROUP_DN, {"cn": [b"Radiologists"]}
        if (_EQUALITY, ("sAMAccountName", "amueller")) in parts:
            for _ in range(self.doubles):
                yield PERSON_DN, PERSON | {"userAccountControl": [b"%d" % self.control]}


def _serve(directory: ActiveDirectory, connection: Any) -> None:
    buffer = b""
    while piece := connection.recv(65536):
        buffer += piece
        while (message := _whole(buffer)) is not None:
            (_, content), *_ = _elements(buffer[:message])
            buffer = buffer[message:]
            (_, number), (kind, asked), *_ = _elements(content)
            if kind == _UNBIND:
                return
            for answer in _answers(directory, kind, asked):
                connection.sendall(_tlv(_SEQUENCE, _tlv(_INTEGER, number) + answer))


def _answers(directory: ActiveDirectory, kind: int, asked: bytes) -> Iterator[bytes]:
    values = [value for _, value in _elements(asked)]
    if kind == _BIND:
        code, words = directory.bind(values[1].decode(), values[2].decode())
        yield _tlv(_BOUND, _result(code, words))
    elif kind == _SEARCH:
        (tag, content), *_ = _elements(asked)[6:]
        for dn, attributes in directory.search(list(_parts(tag, content))):
            pairs = b"".join(
                _tlv(
                    _SEQUENCE,
                    _tlv(_OCTETS, name.encode()) + _tlv(_SET, b"".join(_tlv(_OCTETS, one) for one in found)),
                )
                for name, found in attributes.items()
            )
            yield _tlv(_ENTRY, _tlv(_OCTETS, dn.encode()) + _tlv(_SEQUENCE, pairs))
        yield _tlv(_REFERENCE, _tlv(_OCTETS, b"ldap://elsewhere.example/DC=ForestDnsZones"))
        yield _tlv(_DONE, _result(0, ""))
    else:
        yield _tlv(0x78, _result(2, "only simple binds and searches"))


def _parts(tag: int, content: bytes) -> Iterator[tuple[int, tuple[str, ...]]]:
    """The comparisons of a filter, those within others too."""
    if tag in (_EQUALITY, _EXTENSIBLE):
        yield tag, tuple(value.decode() for _, value in _elements(content))
    elif tag in (0xA0, 0xA1):
        for inner, value in _elements(content):
            yield from _parts(inner, value)


def _whole(data: bytes) -> int | None:
    """The length of the first element, if all of it is there."""
    if len(data) < 2:
        return None
    count = data[1] & 0x7F if data[1] & 0x80 else 0
    if len(data) < 2 + count:
        return None
    length = 2 + count + (int.from_bytes(data[2 : 2 + count], "big") if count else data[1])
    return length if len(data) >= length else None


def _elements(data: bytes) -> list[tuple[int, bytes]]:
    found = []
    while data:
        length = _whole(data)
        assert length is not None
        count = data[1] & 0x7F if data[1] & 0x80 else 0
        found.append((data[0], data[2 + count : length]))
        data = data[length:]
    return found


def _tlv(tag: int, value: bytes) -> bytes:
    if len(value) < 0x80:
        return bytes([tag, len(value)]) + value
    length = len(value).to_bytes((len(value).bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + value


def _result(code: int, words: str) -> bytes:
    return _tlv(_ENUMERATED, bytes([code])) + _tlv(_OCTETS, b"") + _tlv(_OCTETS, words.encode())

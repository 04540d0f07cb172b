"""A RIS that sends HL7 over one connection, with a socket of its own."""

from __future__ import annotations

import socket

from acceptance.programs.processes import LOOPBACK

START, END = b"\x0b", b"\x1c\r"


class Sender:
    """A RIS with one connection."""

    def __init__(self, port: int, timeout_s: float = 20.0) -> None:
        self.socket = socket.create_connection((LOOPBACK, port), timeout=timeout_s)

    def __enter__(self) -> Sender:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, raw: bytes) -> bytes:
        """The answer without its frame; empty: the connection was closed without one."""
        self.socket.sendall(START + raw + END)
        return self.answer()

    def answer(self) -> bytes:
        got = b""
        try:
            while not got.endswith(END):
                piece = self.socket.recv(65536)
                if not piece:
                    return b""
                got += piece
        except ConnectionError:
            return b""
        return got.removeprefix(START).removesuffix(END)

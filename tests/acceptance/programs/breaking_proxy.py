"""A line that breaks: a TCP proxy that cuts connections after some random number of bytes, and now and then lets nothing in.

Bytes are never changed or reordered; only the end comes early. A seed makes a run the same again.
"""

from __future__ import annotations

import contextlib
import random
import socket
import threading
from types import TracebackType

from acceptance.programs.processes import LOOPBACK

_PIECE_BYTES = 16_384


class BreakingProxy:
    """Listens on a free port and passes on to `target_port`. A context manager.

    Each connection is cut when `cut_after` bytes (between the two) have gone through it; None: never. While `is_down` is set
    nobody is let in. `delay_s` holds up each piece of 16 KB, which makes a slow line.
    """

    def __init__(
        self, target_port: int, seed: int, cut_after: tuple[int, int] | None, host: str = LOOPBACK, delay_s: float = 0
    ) -> None:
        self._target_port = target_port
        self._random = random.Random(seed)
        self.cut_after = cut_after
        self.is_down = threading.Event()
        self.connections = 0
        self.cuts = 0
        self.bytes_up = 0
        self._delay_s = delay_s
        self._listening = socket.create_server((host, 0))
        self.port: int = self._listening.getsockname()[1]
        self._pause = threading.Event()
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> BreakingProxy:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._pause.set()
        self.cut_all()
        for thread in self._threads:
            thread.join(10)

    def cut_all(self) -> None:
        """End every connection now, as a router does that is switched off."""
        with self._lock:
            for one in self._open:
                _reset(one)

    def _start(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)  # type: ignore[arg-type]  # typed above
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            if self.is_down.is_set():
                _reset(client)
                continue
            self.connections += 1
            try:
                server = socket.create_connection((LOOPBACK, self._target_port), timeout=10)
            except OSError:
                _reset(client)
                continue
            budget = [self._random.randint(*self.cut_after)] if self.cut_after else None
            with self._lock:
                self._open |= {client, server}
            self._start(self._pump, client, server, budget, True)
            self._start(self._pump, server, client, budget, False)

    def _pump(self, source: socket.socket, target: socket.socket, budget: list[int] | None, up: bool) -> None:
        with contextlib.suppress(OSError):
            source.settimeout(None)
            while data := source.recv(_PIECE_BYTES):
                if self._delay_s:
                    self._pause.wait(self._delay_s)
                if budget is not None:
                    budget[0] -= len(data)
                    if budget[0] <= 0:
                        target.sendall(data[: len(data) // 2])
                        self.cuts += 1
                        break
                target.sendall(data)
                if up:
                    self.bytes_up += len(data)
        for one in (source, target):
            _reset(one)
        with self._lock:
            self._open -= {source, target}


def _reset(one: socket.socket) -> None:
    """Both ends learn it at once."""
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    with contextlib.suppress(OSError):
        one.close()

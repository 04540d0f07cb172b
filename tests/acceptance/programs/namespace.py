"""A network of its own (network_namespaces(7)): a machine behind a router, as far as this kernel and this user allow it."""

from __future__ import annotations

import ctypes
import itertools
import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, TypeVar

import pytest

from acceptance.programs.fileroom import Fileroom

T = TypeVar("T")
_CLONE_NEWNET: Final = 0x40000000
_numbers = itertools.count(1)


class Namespace:
    """A namespace with one line to ours: `outside` is our end's address, `inside` its own. A context manager.

    Skips the test where this machine has no namespaces for us, or with `loss` where its kernel cannot lose packets.
    """

    def __init__(self, loss: str = "") -> None:
        number = next(_numbers)
        self.name = f"fr{os.getpid()}x{number}"
        self.outside, self.inside = f"10.213.{number}.1", f"10.213.{number}.2"
        self._ends = f"fa{os.getpid()}x{number}"[-15:], f"fb{os.getpid()}x{number}"[-15:]
        self._loss = loss

    def __enter__(self) -> Namespace:
        ours, theirs = self._ends
        try:
            _run("ip", "netns", "add", self.name)
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"needs network namespaces (root, and ip of the Debian package iproute2): {_why(error)}")
        try:
            _run("ip", "link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", self.name)
            _run("ip", "address", "add", f"{self.outside}/24", "dev", ours)
            _run("ip", "link", "set", ours, "up")
            for command in (
                ("address", "add", f"{self.inside}/24", "dev", theirs),
                ("link", "set", theirs, "up"),
                ("link", "set", "lo", "up"),
            ):
                _run("ip", "-n", self.name, *command)
        except (OSError, subprocess.CalledProcessError) as error:
            self._remove()
            pytest.skip(f"needs virtual network cards: {_why(error)}")
        try:
            if self._loss:
                _run("tc", "qdisc", "add", "dev", ours, "root", "netem", *self._loss.split())
        except (OSError, subprocess.CalledProcessError) as error:
            self._remove()
            pytest.skip(f"needs a kernel with netem: {_why(error)}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def do(self, work: Callable[[], T]) -> T:
        """Do something as if this process were inside."""
        found: list[T] = []
        errors: list[BaseException] = []

        def enter() -> None:
            libc = ctypes.CDLL(None, use_errno=True)
            with Path(f"/run/netns/{self.name}").open() as file:
                if libc.setns(file.fileno(), _CLONE_NEWNET):
                    errors.append(OSError(ctypes.get_errno(), "setns"))
                    return
            try:
                found.append(work())
            except BaseException as error:  # noqa: BLE001 - raised again by the caller
                errors.append(error)

        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
        if errors:
            raise errors[0]
        return found[0]

    def _remove(self) -> None:
        subprocess.run(["ip", "link", "delete", self._ends[0]], check=False, capture_output=True)
        subprocess.run(["ip", "netns", "delete", self.name], check=False, capture_output=True)


class FileroomInside(Fileroom):
    """A Fileroom in a namespace; its ports are there on the loopback of the namespace."""

    def __init__(self, namespace: Namespace, folder: Path, **settings: object) -> None:
        self._namespace = namespace
        self.run_in = ("nsenter", f"--net=/run/netns/{namespace.name}")
        super().__init__(folder, **settings)

    def is_ready(self) -> bool:
        """Asked from inside."""
        return self._namespace.do(super().is_ready)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=10)


def _why(error: Exception) -> str:
    told = error.stderr.decode(errors="replace") if isinstance(error, subprocess.CalledProcessError) else str(error)
    return " ".join(told.split())[:200]

"""Private keys: files in the data folder that only Fileroom's own user can read, named by their public key.

They do not stand in the database: its backups travel, and a key must not (decision 25). A file is on the disk before the row
that needs it is committed; it goes after the row has gone.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import Final

from fileroom.core.errors import ConfigurationError

_KEY_ID: Final = re.compile(r"[0-9a-f]{64}")


class KeyFolder:
    """The folder `keys` of a data folder."""

    def __init__(self, data: Path) -> None:
        self._folder = data / "keys"

    def path(self, key_id: str) -> Path:
        """Where the key with this id lies, or would lie."""
        if not _KEY_ID.fullmatch(key_id):
            raise AssertionError("a key is named by the SHA-256 of its public key")
        return self._folder / f"{key_id}.pem"

    def has(self, key_id: str) -> bool:
        """Whether it is here. Machines that share a database have their own keys."""
        return self.path(key_id).is_file()

    def keep(self, key_id: str, pem: bytes) -> None:
        """Write a key, durably. Raises ConfigurationError when the folder cannot be written."""
        path = self.path(key_id)
        part = path.with_suffix(f".{os.getpid()}.part")
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._folder.chmod(0o700)
            part.unlink(missing_ok=True)
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(pem)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
            self._flush()
        except OSError as error:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            raise ConfigurationError(
                f"The key cannot be kept in {self._folder}: {error.strerror}. Make the folder writable for Fileroom."
            ) from error

    def forget(self, key_id: str) -> None:
        """Remove a key. One that cannot be removed stays: nothing refers to it any more."""
        with contextlib.suppress(OSError):
            self.path(key_id).unlink(missing_ok=True)
            self._flush()

    def _flush(self) -> None:
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

"""Secrets in the database, sealed: passwords of destinations, pseudonyms of projects. The key is a file of the data folder.

Fernet (AES-128-CBC with HMAC-SHA-256) of the cryptography package. Backups of the database travel; the key does not travel
with them (decision 25), so it must be kept with the backup of the data folder.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

from cryptography.fernet import Fernet, InvalidToken

from fileroom.core.errors import ConfigurationError

_KEY_FILE: Final = "sealing.key"


def seal(data: Path, clear: bytes) -> bytes:
    """Sealed with the key of the data folder, which is made when there is none. Raises ConfigurationError."""
    return Fernet(_key(data, make=True)).encrypt(clear)


def unseal(data: Path, sealed: bytes) -> bytes:
    """What was sealed. Raises ConfigurationError when the key is missing or is another one."""
    try:
        return Fernet(_key(data, make=False)).decrypt(sealed)
    except (InvalidToken, ValueError) as error:
        raise ConfigurationError(
            f"A secret cannot be opened: {data / 'keys' / _KEY_FILE} is not the key it was sealed with. Restore that file "
            "from the backup of the data folder, or enter the secret again."
        ) from error


def _key(data: Path, *, make: bool) -> bytes:
    folder = data / "keys"
    path = folder / _KEY_FILE
    try:
        with contextlib.suppress(FileNotFoundError):
            return path.read_bytes()
        if not make:
            raise ConfigurationError(
                f"The key {path} is missing: secrets cannot be opened. Restore it from the backup of the data folder."
            )
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        part = path.with_suffix(f".{os.getpid()}.part")
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(Fernet.generate_key())
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(part, path)  # The first of several processes wins.
        part.unlink()
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"The key {path} cannot be kept: {error.strerror}. Make the folder writable."
        ) from error

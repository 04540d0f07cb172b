"""The `openssl` program as a caller that chooses its own protocol version and cipher suites."""

from __future__ import annotations

import re
import subprocess
from typing import Final

from acceptance.programs.processes import LOOPBACK

TIMEOUT_S: Final = 30.0


def handshake(port: int, *options: str) -> tuple[str, str]:
    """Protocol and suite that `s_client` comes to; two empty strings where there is no agreement."""
    command = ["openssl", "s_client", "-connect", f"{LOOPBACK}:{port}", *options]
    result = subprocess.run(command, input="", capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    found = re.search(r"^New, (\S+), Cipher is (\S+)$", result.stdout, re.MULTILINE)
    if found is None or found[2] == "(NONE)":
        return "", ""
    return found[1], found[2]


def fingerprint(port: int) -> str:
    """SHA-256 of the certificate that a port shows, in hex."""
    command = ["openssl", "s_client", "-connect", f"{LOOPBACK}:{port}"]
    shown = subprocess.run(command, input="", capture_output=True, text=True, timeout=TIMEOUT_S, check=False).stdout
    command = ["openssl", "x509", "-noout", "-fingerprint", "-sha256"]
    told = subprocess.run(command, input=shown, capture_output=True, text=True, timeout=TIMEOUT_S, check=False).stdout
    return told.partition("=")[2].strip().replace(":", "").lower()

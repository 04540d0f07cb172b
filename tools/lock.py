"""Renew requirements/*.txt from pyproject.toml with uv: hashes for every file, no address of a package index."""

from __future__ import annotations

import subprocess

COMMON = ["uv", "pip", "compile", "-q", "--generate-hashes", "--python-version", "3.11", "--universal", "--no-header"]

if __name__ == "__main__":
    subprocess.run([*COMMON, "pyproject.toml", "-o", "requirements/base.txt"], check=True)
    subprocess.run([*COMMON, "pyproject.toml", "--group", "dev", "-o", "requirements/dev.txt"], check=True)
    subprocess.run([*COMMON, "--group", "node", "-o", "requirements/node.txt"], check=True)

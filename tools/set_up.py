"""Make the virtual environment from a lock file and install Fileroom into it in place: set_up.py VENV REQUIREMENTS.

Uses uv where it is installed (seconds), else venv and pip. Every package is checked against the lock's hashes.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

OLDEST_PYTHON = (3, 11)


def main(venv: Path, requirements: Path) -> None:
    """Bring the environment to the lock file's state."""
    if sys.version_info < OLDEST_PYTHON:
        sys.exit(
            f"Fileroom needs Python {'.'.join(map(str, OLDEST_PYTHON))} or newer; this is {sys.version.split()[0]}. "
            "Install a newer one and run 'make PYTHON=/path/to/python3.11 up'."
        )
    print(f"Setting up {venv} from {requirements} ...", flush=True)
    uv = shutil.which("uv")
    python = venv / "bin" / "python"
    if not python.exists():
        run([uv, "venv", "-q", "--python", sys.executable, venv] if uv else [sys.executable, "-m", "venv", venv])
    if uv:
        run([uv, "pip", "install", "-q", "--python", python, "--require-hashes", "-r", requirements])
    else:
        run(
            [
                python,
                "-m",
                "pip",
                "install",
                "-q",
                "--disable-pip-version-check",
                "--require-hashes",
                "-r",
                requirements,
            ]
        )
    install_in_place(venv)


def install_in_place(venv: Path) -> None:
    """Let the environment import src/ and have the `fileroom` command, without building anything."""
    source = Path(__file__).resolve().parent.parent / "src"
    packages = next((venv / "lib").glob("python3*")) / "site-packages"
    (packages / "fileroom.pth").write_text(f"{source}\n")
    command = venv / "bin" / "fileroom"
    command.write_text(
        f"#!{venv.resolve() / 'bin' / 'python'}\nfrom fileroom.cli.main import main\n\nif __name__ == '__main__':\n    main()\n"
    )
    command.chmod(0o755)


def run(command: list[object]) -> None:
    """Run a step; its own messages explain a failure."""
    result = subprocess.run([str(part) for part in command], check=False)
    if result.returncode:
        sys.exit(f"Setting up failed at: {' '.join(map(str, command))}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

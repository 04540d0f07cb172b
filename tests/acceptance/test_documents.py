"""What the documents tell people to type works as it stands: on the demo studies, with curl and DCMTK."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from subprocess import CompletedProcess, run
from typing import Final

import pytest

from acceptance.conftest import FileroomFactory
from acceptance.programs.fileroom import Fileroom
from fileroom.demo.studies import write_demo_studies

ROOT: Final = Path(__file__).parents[2]
STUDY: Final = "ct-chest"
"""A demo study with images, a report and a PDF, of the patient that the examples ask for."""
CINE_STUDY: Final = "us-echo"
"""One with moving images."""
SCRIPT_TIMEOUT_S: Final = 120.0
STORED: Final = '"00081199":'
"""Referenced SOP Sequence in the answer to a Store request: something is safe."""


@pytest.fixture(scope="module")
def demo_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    write_demo_studies(folder, only=[STUDY, CINE_STUDY])
    return folder / STUDY


@pytest.fixture
def demo(fileroom_factory: FileroomFactory, demo_files: Path) -> Fileroom:
    """A Fileroom with one demo study."""
    fileroom = fileroom_factory(workers=1, web_login="always")
    result = fileroom.command("import", demo_files)
    assert result.returncode == 0, result.stderr
    return fileroom


def test_the_examples_of_the_dicomweb_document_work(demo: Fileroom, demo_files: Path, tmp_path: Path) -> None:
    cine = demo.command("import", demo_files.parent / CINE_STUDY)
    assert cine.returncode == 0, cine.stderr
    text = (ROOT / "docs" / "dicomweb.md").read_text("utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    before = demo.instance_count()
    script = "\n".join([f"TOKEN={token(demo)}", *blocks]).replace("http://127.0.0.1:8080", demo.url)
    result = run_script(script, tmp_path)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr
    assert result.stdout.count(STORED) == 3
    assert "'yesterday' is not a DA value" in result.stdout
    assert re.search(r"304$", result.stdout, re.MULTILINE)
    assert demo.instance_count() == before + 1
    assert (tmp_path / "image.jpg").read_bytes()[:3] == b"\xff\xd8\xff"
    assert (tmp_path / "clip.mp4").read_bytes()[4:8] == b"ftyp"
    assert (tmp_path / "clip.gif").read_bytes()[:3] == b"GIF"
    assert (tmp_path / "image.dcm").read_bytes()[128:132] == b"DICM"
    assert (tmp_path / "report.pdf").read_bytes()[:5] == b"%PDF-"
    assert (tmp_path / "first-bytes").stat().st_size == 100


@pytest.mark.usefixtures("dcmtk_installed")
def test_the_first_steps_of_the_readme_work(demo: Fileroom, demo_files: Path, tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    lines = re.findall(r"^    ((?:storescu|findscu|getscu|curl) .*)$", text, re.MULTILINE)
    assert [line.split()[0] for line in lines] == ["storescu", "findscu", "curl", "getscu", "curl"]
    for number, file in enumerate(sorted(demo_files.iterdir())[:2], 1):
        shutil.copy(file, tmp_path / f"image{number}.dcm")
    study = demo.rows("SELECT study_instance_uid FROM study")[0][0]
    script = "\n".join([f"STUDY={study}", f"TOKEN={token(demo)}", *lines])
    script = script.replace("127.0.0.1 11112", f"127.0.0.1 {demo.dicom_port}").replace(
        "http://127.0.0.1:8080", demo.url
    )
    result = run_script(script, tmp_path)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr
    assert study in result.stdout
    assert len([path for path in tmp_path.iterdir() if study not in path.name]) > demo.instance_count()
    assert (tmp_path / "study.zip").read_bytes()[:2] == b"PK"


def token(fileroom: Fileroom) -> str:
    """A token made as the documents say: the command prints it alone."""
    result = fileroom.command("token", "create", "--name", "me", "--role", "administrator")
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def run_script(script: str, folder: Path) -> CompletedProcess[str]:
    """Run it in a shell that stops at the first command that fails."""
    command = ["bash", "-c", f"set -euo pipefail\n{script}"]
    # DCMTK prints names in the character set of the answer.
    return run(
        command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=SCRIPT_TIMEOUT_S, check=False
    )

"""`tools/charts.py`: what it takes of the package, and what it does not trust."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import io
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """tools/charts.py as a module."""
    monkeypatch.syspath_prepend(ROOT / "tools")
    spec = importlib.util.spec_from_file_location("charts_tool", ROOT / "tools" / "charts.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.modules.pop("viewer", None)


def _package(folder: Path, tool: ModuleType, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """An npm that gives a package of these files, which has the expected hash."""
    archive = folder / "package.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    digest = hashlib.sha512(archive.read_bytes()).digest()
    monkeypatch.setattr(tool, "INTEGRITY", f"sha512-{base64.b64encode(digest).decode()}")
    _npm(folder, f'eval "place=\\${{$#}}"; cp {archive} "$place/uplot.tgz"', monkeypatch)


def _npm(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = folder / "programs"
    programs.mkdir()
    for name, text in {"npm": script, "node": ""}.items():
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")


WHOLE = {
    "package/dist/uPlot.iife.min.js": b"var uPlot = 1",
    "package/dist/uPlot.min.css": b".uplot {}",
    "package/LICENSE": b"MIT",
    "package/dist/uPlot.esm.js": b"more",
}


def test_script_style_and_licence_are_laid_down_once(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _package(tmp_path, tool, WHOLE, monkeypatch)
    folder = tmp_path / "made" / "charts"
    tool.main(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["LICENSE.txt", "uplot.css", "uplot.js", "version.txt"]
    assert (folder / "uplot.js").read_bytes() == b"var uPlot = 1"
    monkeypatch.setenv("PATH", "/nowhere")
    tool.main(folder)  # asks nobody
    assert [path.name for path in folder.parent.iterdir()] == ["charts"]


@pytest.mark.parametrize("missing", ["package/dist/uPlot.iife.min.js", "package/LICENSE"])
def test_a_package_without_a_file_is_refused(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], missing: str
) -> None:
    _package(tmp_path, tool, {name: text for name, text in WHOLE.items() if name != missing}, monkeypatch)
    tool.main(tmp_path / "charts")
    assert not (tmp_path / "charts").exists()
    assert missing in capsys.readouterr().err


def test_a_package_with_another_hash_is_refused(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _package(tmp_path, tool, WHOLE, monkeypatch)
    monkeypatch.setattr(tool, "INTEGRITY", "sha512-other")
    tool.main(tmp_path / "charts")
    assert not (tmp_path / "charts").exists()
    assert "not the expected one" in capsys.readouterr().err


def test_without_a_network_the_rest_goes_on(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _npm(tmp_path, "echo no network >&2; exit 1", monkeypatch)
    tool.main(tmp_path / "charts")
    assert "no network" in capsys.readouterr().err

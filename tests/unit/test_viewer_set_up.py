"""`tools/viewer.py`: what it takes of the package, what it changes, and how it fails."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import io
import json
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
PUBLIC = '__webpack_require__.p = "/";'


@pytest.fixture
def tool() -> Iterator[ModuleType]:
    """tools/viewer.py as a module."""
    spec = importlib.util.spec_from_file_location("viewer_tool", ROOT / "tools" / "viewer.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def _package(path: Path, files: dict[str, str]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    return path


def _whole_package(path: Path, tool: ModuleType) -> Path:
    """A package with everything that the recipe looks for, and a few things that it must leave."""
    scripts = {f"package/dist/{part}.bundle.0a.js": PUBLIC for part in tool.FIRST_SCRIPTS}
    scripts["package/dist/app.bundle.0a.js"] += "webGlContextCount: 7, '/dicom-microscopy-viewer/x.js'"
    scripts = {name: text if number < 8 else "" for number, (name, text) in enumerate(scripts.items())}
    return _package(
        path,
        {
            **scripts,
            "package/LICENSE": "MIT",
            "package/dist/app.bundle.css": "url(/a)" * 5,
            "package/dist/app.bundle.0a.js.map": "{}",
            "package/dist/ort/ort.wasm": "x",
            "package/dist/sw.js": "importScripts('https://elsewhere')",
            "package/dist/app-config.js": "x",
            "package/dist/assets/images/a.png": "x",
        },
    )


def _fake_npm(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An npm that runs `script`, where the tool finds it; `pack` names its place last."""
    node = shutil.which("node")
    folder.mkdir()
    (folder / "npm").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "npm").chmod(0o755)
    # Compressing needs a node; without one only the failures before it can be tested.
    (folder / "node").symlink_to(node or "/bin/false")
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_the_package_is_slimmed_and_fitted(tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = _whole_package(tmp_path / "package.tgz", tool)
    files = tmp_path / "files"
    tool.unpack(archive, files)
    names = {path.relative_to(files).as_posix() for path in files.rglob("*") if path.is_file()}
    assert names == {f"{part}.bundle.0a.js" for part in tool.FIRST_SCRIPTS} | {
        "LICENSE.txt",
        "app.bundle.css",
        "assets/images/a.png",
    }
    tool.patch(files, "/viewer/b/")
    assert (files / "app.bundle.css").read_text() == "url(/viewer/b/a)" * 5
    assert "'/viewer/b/dicom-microscopy-viewer/x.js'" in (files / "app.bundle.0a.js").read_text()
    monkeypatch.setattr(tool, "run", lambda *_: None)  # brotli is node's; its files are not looked at here
    tool.compress(tool.Node([], []), files)
    tool.write_list(files, "b")
    listed = json.loads((files / "viewer.json").read_text())
    assert listed["files"]["app.bundle.css"]["sizes"].keys() == {"identity", "gzip"}
    assert listed["scripts"][0] == "app.bundle.0a.js"
    assert set(listed["files"]) == names


def test_a_package_that_is_not_as_it_was_is_not_patched(tool: ModuleType, tmp_path: Path) -> None:
    files = tmp_path / "files"
    tool.unpack(_package(tmp_path / "p.tgz", {"package/dist/app.bundle.0a.js": PUBLIC}), files)
    with pytest.raises(tool.SetUpError, match="stands 1 times"):
        tool.patch(files, "/viewer/b/")


def test_an_archive_that_leads_outside_is_refused(tool: ModuleType, tmp_path: Path) -> None:
    archive = _package(tmp_path / "p.tgz", {"package/dist/../../outside.js": "x"})
    with pytest.raises(tarfile.TarError):
        tool.unpack(archive, tmp_path / "one" / "files")
    assert not list(tmp_path.rglob("outside.js"))


def test_another_archive_than_the_known_one_is_refused(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = _whole_package(tmp_path / "ohif-app.tgz", tool)
    _fake_npm(tmp_path / "bin", f'for place; do :; done; cp {archive} "$place/"', monkeypatch)
    # As make calls it: with a path that is relative to the current folder, which npm's is not.
    command = [sys.executable, ROOT / "tools" / "viewer.py", "share/viewer"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    assert f"is not the expected one: it has sha512-{digest}" in result.stderr
    assert not (tmp_path / "share" / "viewer").exists()


def test_without_a_network_there_is_a_message_and_no_viewer(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _fake_npm(tmp_path / "bin", "echo 'getaddrinfo ENOTFOUND' >&2; exit 1", monkeypatch)
    tool.main(tmp_path / "share" / "viewer")
    said = capsys.readouterr().err
    assert "getaddrinfo ENOTFOUND" in said
    assert "Fileroom works without it" in said
    assert list((tmp_path / "share").iterdir()) == []


def test_a_viewer_that_is_there_costs_no_request(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "viewer"
    folder.mkdir()
    (folder / "viewer.json").write_text(json.dumps({"build": tool.build_name()}))
    _fake_npm(tmp_path / "bin", f"touch {tmp_path}/called; exit 1", monkeypatch)
    tool.main(folder)
    assert not (tmp_path / "called").exists()


def test_nothing_of_the_viewer_is_committed() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    assert not [name for name in listed.stdout.splitlines() if ".bundle." in name or name.endswith(".wasm")]

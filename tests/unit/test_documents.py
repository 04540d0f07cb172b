"""The documents say what the code does: generated tables are current, links lead somewhere, every command has an example."""

from __future__ import annotations

import importlib.util
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer

from fileroom.cli.main import app

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "requirements").glob("*.md")])
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
PRIVATE_PATH = re.compile(r"(?<![\w.])(?:/(?:home|Users|root|work|workspace|builds)/|[A-Za-z]:\\Users\\)\S*")


@pytest.fixture(scope="module")
def tool() -> Iterator[ModuleType]:
    """tools/conformance.py as a module; tools are programs, not a package."""
    spec = importlib.util.spec_from_file_location("conformance_tool", ROOT / "tools" / "conformance.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_generated_tables_are_what_the_code_says(tool: ModuleType) -> None:
    stale = list(tool.update(write=False))
    assert not stale, f"run 'python tools/conformance.py' and commit what it writes: {', '.join(stale)}"


def test_every_table_stands_in_some_document(tool: ModuleType) -> None:
    text = "".join(path.read_text("utf-8") for path in DOCUMENTS)
    assert set(re.findall(r"<!-- generated: ([a-z-]+) -->", text)) == set(tool.TABLES)


def test_a_stale_table_is_found_and_written(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    document = tmp_path / "one.md"
    document.write_text("before\n<!-- generated: settings -->\nold\n<!-- end -->\nafter\n")
    monkeypatch.setattr(tool, "ROOT", tmp_path)
    monkeypatch.setattr(tool, "DOCUMENTS", tmp_path)
    assert tool.main(["--check"]) == 1
    assert "one.md: settings" in capsys.readouterr().out
    assert "old" in document.read_text()
    assert tool.main([]) == 0
    written = document.read_text()
    assert "`FILEROOM_DATA`" in written
    assert written.startswith("before\n")
    assert written.endswith("<!-- end -->\nafter\n")
    assert tool.main(["--check"]) == 0


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_relative_links_resolve(path: Path) -> None:
    broken = []
    for target in LINK.findall(FENCED.sub("", path.read_text("utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, fragment = target.partition("#")
        linked = (path.parent / name).resolve() if name else path
        if not linked.exists() or (fragment and fragment not in anchors(linked)):
            broken.append(target)
    assert not broken


def anchors(path: Path) -> set[str]:
    """The fragments that a document's headings can be linked by, as GitHub makes them."""
    headings = HEADING.findall(FENCED.sub("", path.read_text("utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_document_names_a_path_of_somebodys_machine(path: Path) -> None:
    assert not PRIVATE_PATH.findall(path.read_text("utf-8"))


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    declared = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    names = {re.split(r"[\[<>=;! ]", requirement, maxsplit=1)[0] for requirement in declared}
    reasons = (ROOT / "docs" / "adr" / "0002-dependencies.md").read_text("utf-8")
    assert not {name for name in names if not re.search(rf"\b{re.escape(name)}\b", reasons)}


def test_decisions_are_numbered_without_gaps() -> None:
    numbers = [int(path.name[:4]) for path in sorted((ROOT / "docs" / "adr").glob("*.md"))]
    assert numbers == list(range(1, len(numbers) + 1))


def commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    """(whole name, command) of every command below `command` that can be run. Typer brings classes of its own for both."""
    below = getattr(command, "commands", None)
    if below is None:
        yield name, command
        return
    for sub_name, sub_command in below.items():
        yield from commands(sub_command, f"{name} {sub_name}")


@pytest.mark.parametrize(("name", "command"), list(commands(typer.main.get_command(app), "fileroom")))
def test_every_command_shows_an_example_of_itself(name: str, command: Any) -> None:
    example = re.search(r"Example: `([^`]+)`", " ".join((command.help or "").split()))
    assert example is not None
    assert f"{name} " in example[1] + " "


def test_the_architecture_names_files_and_rooms_that_exist() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    source = ROOT / "src" / "fileroom"
    named = set(re.findall(r"`([a-z_]+/[a-z_]+\.py)`", text))
    assert named
    assert not {path for path in named if not (source / path).is_file()}
    drawn = set(
        re.findall(r"[a-z0-9_]+", re.sub(r" {3,}.*", "", "\n".join(FENCED.findall(text)[0].splitlines()[1:-1])))
    )
    assert drawn == {path.parent.name for path in source.glob("*/__init__.py")}


def test_ihe_names_tests_that_exist() -> None:
    named = set(re.findall(r"`(tests/[a-z0-9_/]+\.py)`", (ROOT / "docs" / "ihe.md").read_text("utf-8")))
    assert len(named) > 10
    assert not {path for path in named if not (ROOT / path).is_file()}

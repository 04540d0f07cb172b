"""A command loads what it needs and no more: loading all of Fileroom takes a second."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pynetdicom import AE

PYDICOM = {"pydicom", "numpy", "PIL", "imagecodecs"}
MIGRATION = {"alembic", "sqlalchemy"}
STORE = {"obstore", "fileroom.storage.local", "fileroom.index.write", "fileroom.archive.services"}
DATABASE = {"psycopg", "fileroom.db.embedded", "fileroom.admin.nodes"}
SERVER = {"uvicorn", "starlette", "fileroom.app.supervisor", "fileroom.web.app", "fileroom.scp.association"}
EVERYTHING = PYDICOM | MIGRATION | STORE | DATABASE | SERVER
PROGRAM = """
import sys
from fileroom.cli.main import main
try:
    main()
except SystemExit as ended:
    code = ended.code or 0
else:
    code = 0
import json
print("\\n" + json.dumps([code, sorted(sys.modules)]))
"""


def loaded_by(*arguments: object, folder: Path, **environment: str) -> set[str]:
    """The modules in memory after `fileroom ARGUMENTS...`, which must succeed."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("FILEROOM_")}
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
        env=ours | {"FILEROOM_DATA": str(folder / "data")} | environment,
    )
    code, modules = json.loads(result.stdout.splitlines()[-1])
    assert code == 0, result.stderr
    return set(modules)


@pytest.fixture
def answering_port() -> Iterator[int]:
    """A Verification SCP that is not ours."""
    entity = AE(ae_title="PEER")
    entity.add_supported_context("1.2.840.10008.1.1")
    server = entity.start_server(("127.0.0.1", 0), block=False)
    yield server.server_address[1]
    server.shutdown()


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], ["node", "--help"], ["serve", "--help"], ["verify", "--help"]],
    ids=" ".join,
)
def test_help_loads_neither_services_nor_settings(tmp_path: Path, arguments: list[str]) -> None:
    assert (
        loaded_by(*arguments, folder=tmp_path) & (EVERYTHING | {"pydantic_settings", "fileroom.core.settings"}) == set()
    )


def test_echo_loads_no_pydicom_and_no_database(tmp_path: Path, answering_port: int) -> None:
    loaded = loaded_by("echo", "127.0.0.1", answering_port, folder=tmp_path)
    assert "fileroom.net.association_client" in loaded, "it has really called"
    assert loaded & EVERYTHING == set()


@pytest.mark.parametrize("arguments", [["node", "list"], ["node", "held"], ["refusals"], ["conflicts"]], ids=" ".join)
def test_lists_of_rows_load_the_database_alone(tmp_path: Path, empty_database: str, arguments: list[str]) -> None:
    loaded = loaded_by(*arguments, folder=tmp_path, FILEROOM_DATABASE_URL=empty_database)
    assert "psycopg" in loaded
    assert loaded & (PYDICOM | MIGRATION | STORE | SERVER) == set()


def test_a_command_on_an_archive_whose_schema_is_current_does_not_load_alembic(
    tmp_path: Path, empty_database: str
) -> None:
    loaded = loaded_by("verify", folder=tmp_path, FILEROOM_DATABASE_URL=empty_database)
    assert "fileroom.archive.verify" in loaded
    assert loaded & MIGRATION == set()

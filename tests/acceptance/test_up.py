"""`fileroom serve` as a new user meets it: what it prints, the demo studies, how it stops, what it refuses."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import psycopg
import pytest

from acceptance.conftest import FileroomFactory
from acceptance.programs.fileroom import Fileroom
from acceptance.programs.processes import LOOPBACK, wait_until
from fileroom.db.embedded import EmbeddedPostgres
from fileroom.demo.studies import study_keys


def _serve(fileroom: Fileroom, *flags: str, **settings: str) -> subprocess.Popen[str]:
    environment = os.environ | fileroom.environment | settings
    return subprocess.Popen(
        [sys.executable, "-m", "fileroom", "serve", *flags],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=fileroom.folder,
    )


@pytest.fixture
def prepared(tmp_path: Path) -> Fileroom:
    """Ports and a data folder; nothing started."""
    folder = tmp_path / "up"
    folder.mkdir()
    return Fileroom(folder, workers=1, web_login="always")


def test_an_empty_archive_gets_demo_studies_and_ctrl_c_stops_everything(prepared: Fileroom) -> None:
    process = _serve(prepared, "--demo")
    printed = ""
    try:
        prepared.wait_until_ready()
        while "Ctrl-C" not in printed:
            printed += process.stdout.readline()
        studies = f"{prepared.url}/dicom-web/studies"
        assert httpx.get(studies, timeout=30).status_code == 401
        login, password = re.search(r"as (\S+) with password (\S+)", printed).groups()

        def found() -> int:
            return len(httpx.get(studies, auth=(login, password), timeout=30).json())

        wait_until(lambda: found() == len(study_keys()), 120, "the demo studies")
    finally:
        process.send_signal(signal.SIGINT)
        _, logged = process.communicate(timeout=60)
    assert process.returncode == 0, logged[-2000:]
    for told in (f"http://{LOOPBACK}:{prepared.http_port}/", "FILEROOM", str(prepared.dicom_port), "storescu"):
        assert told in printed
    prepared.wait_until_nothing_runs()


def test_the_second_start_on_the_same_folder_is_refused(fileroom_factory: FileroomFactory) -> None:
    first = fileroom_factory(workers=1)
    second = _serve(first)
    _, errors = second.communicate(timeout=30)
    assert second.returncode == 1
    assert "Another 'fileroom serve' is running" in errors
    assert first.is_ready()


def test_a_port_in_use_is_named_with_its_setting(prepared: Fileroom) -> None:
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = _serve(prepared, FILEROOM_DICOM_PORT=str(port))
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert f"{LOOPBACK}:{port}" in errors
    assert "FILEROOM_DICOM_PORT" in errors


def test_a_weak_first_password_stops_the_start(prepared: Fileroom) -> None:
    process = _serve(prepared, FILEROOM_ADMIN_PASSWORD="admin123")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "FILEROOM_ADMIN_PASSWORD" in errors
    assert "admin123" not in errors
    prepared.wait_until_nothing_runs()


def test_a_wrong_setting_is_named(prepared: Fileroom) -> None:
    process = _serve(prepared, FILEROOM_DICOM_PORT="eleven")
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "FILEROOM_DICOM_PORT" in errors
    assert "Traceback" not in errors


def test_a_database_from_a_newer_fileroom_is_refused(prepared: Fileroom) -> None:
    database = EmbeddedPostgres(prepared.data / "postgres")
    prepared.data.mkdir()
    database.start()
    with psycopg.connect(database.url) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num varchar(32))")
        connection.execute("INSERT INTO alembic_version VALUES ('9999')")
    database.stop()
    process = _serve(prepared)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "9999" in errors
    assert "newer Fileroom" in errors
    prepared.wait_until_nothing_runs()

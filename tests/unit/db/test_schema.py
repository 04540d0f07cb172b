"""The schema is brought up to the code, once, by whoever comes first."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic.script import ScriptDirectory

from fileroom.app.services import repeatables
from fileroom.core.errors import ConfigurationError, DatabaseError
from fileroom.db import migration, schema
from fileroom.db.schema import is_current, migrate

NewDatabase = Callable[[str], str]


def ask(url: str, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def objects(url: str) -> list[tuple[Any, ...]]:
    """Every table, index and function with the transaction that made it."""
    tables, functions = "SELECT relname, xmin::text FROM pg_class", "SELECT proname, xmin::text FROM pg_proc"
    return ask(url, f"{tables} UNION ALL {functions} ORDER BY 1, 2")


def test_a_second_migration_changes_nothing(new_database: NewDatabase) -> None:
    url = new_database("twice")
    migrate(url, repeatables())
    before = objects(url)
    assert "store_instances" in {name for name, _ in before}
    migrate(url, repeatables())
    assert objects(url) == before


def test_functions_are_replaced_when_their_text_changes(new_database: NewDatabase) -> None:
    url = new_database("functions")
    text = "CREATE OR REPLACE FUNCTION answer() RETURNS int LANGUAGE sql AS 'SELECT {}'"
    for number in (42, 43):
        migrate(url, [text.format(number)])
        assert ask(url, "SELECT answer()") == [(number,)]
    assert ask(url, "SELECT count(*) FROM schema_repeatable") == [(1,)]


def test_a_function_of_an_earlier_version_gives_way_whatever_it_returned(new_database: NewDatabase) -> None:
    url = new_database("earlier")
    migrate(url)
    for function in ("store_instances(x jsonb)", "ensure_series(x jsonb)", "dicom_moment(x text, y text, z text)"):
        ask(url, f"CREATE FUNCTION {function} RETURNS TABLE (a int) LANGUAGE sql AS 'SELECT 1'")
    migrate(url, repeatables())
    assert ask(url, "SELECT count(*) FROM store_instances('[]')") == [(0,)]


def test_processes_that_start_together_migrate_once(new_database: NewDatabase) -> None:
    url = new_database("together")
    program = "import sys; from fileroom.db.schema import migrate; migrate(sys.argv[1], ['SELECT 1'])"
    source = str(Path(__file__).parents[3] / "src")
    running = [
        subprocess.Popen([sys.executable, "-c", program, url], env={"PYTHONPATH": source}, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    for process in running:
        _, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (0, b"")
    assert ask(url, "SELECT count(*) FROM alembic_version") == [(1,)]


def test_a_newer_schema_is_left_alone(new_database: NewDatabase) -> None:
    url = new_database("newer")
    migrate(url, repeatables())
    ask(url, "UPDATE alembic_version SET version_num = '9999'")
    before = objects(url)
    with pytest.raises(
        ConfigurationError,
        match=r"schema version 9999, which this Fileroom does not know \(its newest is \d+\).*newer Fileroom",
    ):
        migrate(url, ["CREATE TABLE something (n int)"])
    assert objects(url) == before


def test_a_migration_that_fails_leaves_nothing(new_database: NewDatabase) -> None:
    url = new_database("failing")
    with pytest.raises(DatabaseError, match="did not take the schema"):
        migrate(url, ["THIS IS NOT SQL"])
    migrate(url, ["SELECT 1"])
    assert ask(url, "SELECT count(*) FROM study") == [(0,)]


def test_a_server_that_does_not_answer_is_told(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match=r"does not answer: .*Check FILEROOM_DATABASE_URL") as caught:
        migrate(f"postgresql://nobody@/none?host={tmp_path}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("url", ["nonsense", "mysql://me:secret@a/b"])
def test_an_address_that_is_none_is_told_without_its_password(url: str) -> None:
    with pytest.raises(ConfigurationError, match="FILEROOM_DATABASE_URL is no address") as caught:
        migrate(url)
    assert "secret" not in str(caught.value)


def test_whether_the_schema_is_current_is_seen_by_a_look(new_database: NewDatabase) -> None:
    url = new_database("look")
    assert not is_current(url), "there are no tables yet"
    migrate(url, ["SELECT 1"])
    assert is_current(url)
    assert is_current(url, ["SELECT 1"])
    assert not is_current(url, ["SELECT 2"])
    for change in ("UPDATE alembic_version SET version_num = '0000'", "INSERT INTO alembic_version VALUES ('9999')"):
        ask(url, change)
        assert not is_current(url)


def test_the_newest_migration_by_file_name_is_alembics_head() -> None:
    """Alembic follows the revisions named in the files; the quick look goes by the files' names."""
    assert schema._newest_version() == ScriptDirectory.from_config(migration._config()).get_current_head()

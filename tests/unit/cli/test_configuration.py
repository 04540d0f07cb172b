"""`fileroom config`: the configuration by commands and as a file that goes there and back."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from .conftest import Run


@pytest.fixture
def here(environment: Path, empty_database: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FILEROOM_DATABASE_URL", empty_database)
    return environment


def test_a_setting_is_set_shown_and_put_back(here: Path, run: Run) -> None:
    assert run("config", "set", "ledger_days", "30", "--comment", "less disk").out == (
        "ledger_days: (default) -> 30\nVersion 1 holds.\n"
    )
    shown = json.loads(run("config", "show", "ledger_days", "--json").out)
    assert [(one["value"], one["source"], one["unit"]) for one in shown] == [(30, "version 1, system", "days")]
    assert run("config", "set", "ledger_days", "30").out == "Nothing changes; version 1 holds.\n"
    assert run("config", "unset", "ledger_days").out == "ledger_days: 30 -> (default)\nVersion 2 holds.\n"


def test_every_setting_is_shown_and_secrets_are_masked(here: Path, run: Run) -> None:
    shown = {one["name"]: one for one in json.loads(run("config", "show", "--json").out)}
    assert shown["database_url"]["value"] == "********"
    assert shown["database_url"]["source"] == "environment or file"
    assert shown["ledger_days"]["source"] == "default"
    ended = run("config", "show", "nonsense")
    assert (ended.code, ended.err) == (2, "fileroom: There is no setting 'nonsense'; see 'fileroom config show'.\n")


def test_a_wrong_value_ends_with_2_and_changes_nothing(here: Path, run: Run) -> None:
    ended = run("config", "set", "ledger_days", "many")
    assert ended.code == 2
    assert ended.err == (
        "fileroom: Nothing was changed. ledger_days = 'many': it is a whole number of days from 1 to 3650.\n"
    )
    assert json.loads(run("config", "history", "--json").out) == []


def test_what_the_environment_sets_is_said(here: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FILEROOM_LEDGER_DAYS", "7")
    ended = run("config", "set", "ledger_days", "30")
    assert ended.code == 0
    assert "FILEROOM_LEDGER_DAYS or fileroom.toml sets ledger_days here, and wins" in ended.err
    assert json.loads(run("config", "show", "ledger_days", "--json").out)[0]["value"] == 7


def test_a_file_goes_there_and_back(here: Path, run: Run) -> None:
    run("config", "set", "ledger_days", "30")
    run("user", "role", "add", "ct-desk", "--permission", "study.search", "--modality", "CT")
    file = here / "config.toml"
    assert run("config", "export", file).code == 0
    assert run("config", "apply", file).out == "Nothing changes; version 1 holds.\n"
    text = file.read_text()
    assert "version = 1\n" in text
    assert 'rows = {modalities = ["CT"]}' in text
    file.write_text(text.replace("ledger_days = 30", "ledger_days = 60").replace('["CT"]', '["CT", "MR"]'))
    dry = run("config", "apply", file, "--dry-run")
    assert "ledger_days: 30 -> 60\n" in dry.out
    assert dry.out.endswith("Nothing was changed: this was a dry run.\n")
    assert run("config", "diff", "1").err == "They are the same.\n"
    assert run("config", "apply", file, "--comment", "reviewed").out.endswith("Version 2 holds.\n")
    again = run("config", "export").out
    assert "ledger_days = 60\n" in again
    assert 'rows = {modalities = ["CT", "MR"]}' in again


def test_nodes_go_there_and_back(here: Path, run: Run) -> None:
    run("node", "add", "CT1", "--aet", "CT1", "--host", "10.1.2.3", "--port", "104")
    file = here / "config.toml"
    run("config", "export", file)
    text = file.read_text()
    assert '[nodes.CT1]\naet = "CT1"\nhost = "10.1.2.3"\nport = 104\n' in text
    assert run("config", "apply", file).out == "Nothing changes; version 0 holds.\n"
    mr = '\n[nodes."MR 2"]\naet = "CT1"\nhost = "mr2"\nport = 104\nroles = ["send"]\n'
    file.write_text(text.replace("[nodes.CT1]", "[nodes.gone]").partition("[nodes.gone]")[0] + mr)
    applied = run("config", "apply", file)
    assert applied.code == 0, applied.err
    listed = json.loads(run("node", "list", "--json").out)
    assert [(one["name"], one["aet"], one["roles"]) for one in listed] == [("MR 2", "CT1", ["send"])]
    assert run("config", "rollback", "0").code == 0
    assert [one["name"] for one in json.loads(run("node", "list", "--json").out)] == ["CT1"]


def test_nodes_changed_elsewhere_meanwhile_are_not_overwritten(here: Path, run: Run) -> None:
    run("node", "add", "CT1", "--aet", "CT1", "--host", "10.1.2.3", "--port", "104")
    file = here / "config.toml"
    run("config", "export", file)
    run("node", "add", "MR2", "--aet", "MR2", "--host", "10.1.2.4", "--port", "104")
    file.write_text(file.read_text().replace("port = 104", "port = 105"))
    ended = run("config", "apply", file)
    assert ended.code == 2
    assert "[nodes] was changed elsewhere" in ended.err
    assert "nodes.MR2: " in ended.err
    assert run("config", "apply", file, "--expect", "0").code == 0


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("port = 104", "is no host name"),
        ('aet = "CT1"\nhost = "h"\nport = 0', "between 1 and 65535"),
        ('aet = "CT1"\nhost = "h"\nport = "104"', "port is a whole number"),
        ('aet = "CT1"\nhost = "h"\nport = 104\nroles = [1]', "roles is a list of texts"),
        ('aet = "CT1"\nhost = "h"\nport = 104\nenabled = 1', "enabled is true or false"),
        ('aet = "CT1"\nhost = "h"\nport = 104\nspeed = 1', "a node has no field 'speed'"),
    ],
)
def test_a_wrong_node_in_a_file_is_named(here: Path, run: Run, entry: str, said: str) -> None:
    (here / "config.toml").write_text(f"[nodes.X9]\n{entry}\n")
    ended = run("config", "apply", here / "config.toml")
    assert ended.code == 2
    assert "nodes.X9: " in ended.err
    assert said in ended.err


def test_a_file_of_an_older_version_is_refused_with_the_difference(here: Path, run: Run) -> None:
    run("config", "set", "ledger_days", "30")
    file = here / "config.toml"
    run("config", "export", file)
    file.write_text(file.read_text().replace("ledger_days = 30", "ledger_days = 45"))
    run("config", "set", "ledger_days", "60")
    ended = run("config", "apply", file)
    assert ended.code == 2
    assert "In between: ledger_days: 30 -> 60. Yours: ledger_days: 60 -> 45." in ended.err
    assert "(--expect 2)" in ended.err
    assert run("config", "apply", file, "--expect", "2").out == "ledger_days: 60 -> 45\nVersion 3 holds.\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[settings]\nledger_days = 0\nsession_hours = 4\n", "ledger_days = 0: it is a whole number"),
        ("[settings]\nledgerdays = 3\n", "there is no such setting"),
        ("[rolls]\n", "rolls: there is no such section; there are settings, roles, nodes"),
        ("format = 9\n", "A newer one has made it"),
        ("[settings\n", "is not TOML"),
    ],
)
def test_a_file_that_is_wrong_changes_nothing(here: Path, run: Run, text: str, said: str) -> None:
    (here / "config.toml").write_text(text)
    ended = run("config", "apply", here / "config.toml")
    assert ended.code == 2
    assert said in ended.err
    assert json.loads(run("config", "history", "--json").out) == []


def test_a_file_may_come_from_standard_input(here: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"[settings]\nledger_days = 30\n")))
    assert run("config", "apply", "-").out.endswith("Version 1 holds.\n")
    assert run("config", "apply", here / "missing.toml").code == 2


def test_history_difference_and_the_way_back(here: Path, run: Run) -> None:
    run("config", "set", "ledger_days", "30", "--comment", "less disk")
    run("config", "set", "audit_site", "North")
    history = json.loads(run("config", "history", "--json").out)
    assert [(one["number"], one["actor"], one["comment"]) for one in history] == [
        (2, "system", ""),
        (1, "system", "less disk"),
    ]
    assert "less disk" in run("config", "history").out
    assert run("config", "diff", "0", "2").out == "audit_site: (default) -> North\nledger_days: (default) -> 30\n"
    assert run("config", "rollback", "1", "--dry-run").out.startswith("audit_site: North -> (default)\n")
    assert run("config", "rollback", "1").out == "audit_site: North -> (default)\nVersion 3 holds.\n"
    assert run("config", "rollback", "7").code == 2


def test_the_embedded_database_is_started_for_it(environment: Path, run: Run) -> None:
    environment.chmod(0o755)
    assert run("config", "set", "ledger_days", "30").code == 0
    assert json.loads(run("config", "show", "ledger_days", "--json").out)[0]["value"] == 30


def test_rules_for_passwords_are_those_of_the_database(here: Path, run: Run) -> None:
    run("config", "set", "password_chars_min", "20")
    ended = run("user", "add", "ada", "--role", "auditor", "--password", "violet-kettle-42")
    assert ended.code == 2
    assert "20" in ended.err

"""Flags before environment before file before default; and a wrong value is named."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from fileroom.core.settings import Settings


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder without a settings file, and an environment without settings."""
    _forget_environment(monkeypatch)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _forget_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("FILEROOM_"):
            monkeypatch.delenv(name)


def test_defaults_are_those_of_the_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    _forget_environment(monkeypatch)
    settings = Settings()
    assert settings.data == Path("data")
    assert (settings.host, settings.web_host) == ("127.0.0.1", "127.0.0.1")
    assert (settings.aet, settings.dicom_port, settings.http_port, settings.hl7_port) == ("FILEROOM", 11112, 8080, 2575)
    assert settings.database_url.get_secret_value() == settings.storage_url == ""
    assert settings.web_login == "always"
    assert settings.association_workers == (os.cpu_count() or 1)


def test_the_stronger_source_wins(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (nowhere / "fileroom.toml").write_text('aet = "FROMFILE"\ndicom_port = 1001\nhttp_port = 1002\n')
    monkeypatch.setenv("FILEROOM_DICOM_PORT", "2001")
    monkeypatch.setenv("FILEROOM_HTTP_PORT", "2002")
    settings = Settings(http_port=3002)
    assert (settings.aet, settings.dicom_port, settings.http_port) == ("FROMFILE", 2001, 3002)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dicom_port", "0"),
        ("dicom_port", "65536"),
        ("http_port", "web"),
        ("workers", "-1"),
        ("workers", "1000"),
        ("aet", "A TITLE THAT IS TOO LONG"),
        ("aet", "Ä"),
        ("aet", ""),
        ("series_stable_s", "0"),
        ("storage_reserve_mib", "-5"),
        ("log_level", "LOUD"),
        ("called_aet_check", "perhaps"),
    ],
)
def test_a_wrong_value_is_named(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"FILEROOM_{name.upper()}", value)
    with pytest.raises(ValidationError) as caught:
        Settings()
    assert [error["loc"] for error in caught.value.errors()] == [(name,)]


def test_a_name_in_the_file_that_is_no_setting_is_named(nowhere: Path) -> None:
    """A slip of the pen must not go unnoticed."""
    (nowhere / "fileroom.toml").write_text("dicomport = 104\n")
    with pytest.raises(ValidationError) as caught:
        Settings()
    assert [error["loc"] for error in caught.value.errors()] == [("dicomport",)]


def test_other_variables_of_the_environment_are_nobodys_business(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FILEROOM_SOMETHING_ELSE", "1")
    Settings()


def test_log_levels_may_be_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FILEROOM_LOG_LEVEL", "debug")
    assert Settings().log_level == "DEBUG"


def test_an_ae_title_loses_its_padding() -> None:
    assert Settings(aet=" CT1 ").aet == "CT1"


def test_secrets_are_masked() -> None:
    settings = Settings(database_url=SecretStr("postgresql://u:hidden@h/d"), admin_password=SecretStr("hidden"))
    assert "hidden" not in repr(settings)
    assert "hidden" not in str(settings)


def test_a_child_process_gets_the_same_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(
        aet="OTHER",
        dicom_port=4242,
        called_aet_check=False,
        data=Path("/srv/x y"),
        database_url=SecretStr("postgresql://u:p@h/d"),
        series_stable_s=1.5,
    )
    for name, value in settings.as_environment().items():
        monkeypatch.setenv(name, value)
    assert Settings() == settings


def test_every_setting_is_explained() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert field.description[0].isupper(), name
        assert field.description.rstrip().endswith("."), name


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError):
        Settings().aet = "X"  # type: ignore[misc]


def test_a_table_of_the_file_is_the_mapping_that_the_environment_writes_as_json(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (nowhere / "fileroom.toml").write_text('[ldap_roles]\n"CT Desk" = { role = "technologist", modalities = ["CT"] }\n')
    in_the_file = Settings().ldap_roles
    assert in_the_file == '{"CT Desk": {"role": "technologist", "modalities": ["CT"]}}'
    monkeypatch.setenv("FILEROOM_LDAP_ROLES", Settings().as_environment()["FILEROOM_LDAP_ROLES"])
    assert Settings().ldap_roles == in_the_file
    for wrong in ("CT Desk", "[]", '"x"'):
        monkeypatch.setenv("FILEROOM_LDAP_ROLES", wrong)
        with pytest.raises(ValidationError, match="JSON object"):
            Settings()

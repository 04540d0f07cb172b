"""The configuration as a file: what is written is read again, and what is wrong is said."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fileroom.admin.configuration_file import FILE_BYTES_MAX, MASK, parse_file, write_file
from fileroom.core.errors import InvalidRequestError, TooLargeError
from fileroom.core.live_settings import check_values, managed_settings, settings_table

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SCALARS = st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=6
)
RESERVED = {"settings", "format", "version", "seen"}
ENTRIES = st.dictionaries(TEXTS, st.dictionaries(TEXTS, VALUES, max_size=3), max_size=3)
SECTIONS = st.dictionaries(TEXTS.filter(lambda name: name not in RESERVED), ENTRIES, max_size=3)


@given(SECTIONS, st.dictionaries(TEXTS, SCALARS, max_size=4))
def test_what_is_written_is_read_again(sections: dict[str, dict[str, object]], settings: dict[str, object]) -> None:
    document = {"settings": settings, **sections}
    read = parse_file(write_file(document, 12, settings_table(), {}).encode())
    assert read.document == document
    assert read.version == 12


def test_every_setting_stands_in_the_file_with_its_help_and_its_default_as_a_comment() -> None:
    text = write_file({"settings": {"ledger_days": 30}}, 4, settings_table(), {"session_hours": 3, "aet": "ARCHIVE"})
    assert tomllib.loads(text) == {"format": 1, "version": 4, "seen": {}, "settings": {"ledger_days": 30}}
    assert "# Hours after which a session ends in any case.\n# (here the environment or fileroom.toml says 3)\n" in text
    assert "\n# session_hours = 12\n" in text
    assert '\n# aet = "ARCHIVE"\n' in text
    assert f'\n# admin_password = "{MASK}"\n' in text
    uncommented = "\n".join(
        line.removeprefix("# ")
        for line in text.splitlines()
        if line.partition(" = ")[0].removeprefix("# ") in managed_settings()
    )
    values, problems = check_values(tomllib.loads(uncommented))
    assert problems == []
    assert values == {name: entry.default for name, entry in managed_settings().items()} | {"ledger_days": 30}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[settings\n", r"not TOML: .*line 1"),
        ("[settings]\nx = 1\nx = 2\n", "not TOML"),
        ("ledger_days = 30\n", "'ledger_days' stands outside of every section; settings stand below"),
        ("format = 2\n[settings]\n", "says format = 2; this Fileroom reads up to 1"),
        ('format = "1"\n', "says format = 1; this"),
        ('version = "x"\n', "a version is a number such as 12"),
        ("version = -1\n", "a version is a number"),
        ("seen = 1\n", "'seen' is not as it was exported"),
        ("a = " + "[" * 5000, "not TOML|nested too deeply"),
        ("\n".join(f"[s{number}]" for number in range(51)), "more than 50 sections"),
    ],
)
def test_a_file_that_is_wrong_says_where(text: str, said: str) -> None:
    with pytest.raises(InvalidRequestError, match=said):
        parse_file(text.encode())


def test_a_file_has_limits() -> None:
    with pytest.raises(TooLargeError):
        parse_file(b"#" * (FILE_BYTES_MAX + 1))
    with pytest.raises(InvalidRequestError, match="not UTF-8"):
        parse_file(b"\xff\xfe")


def test_an_editor_of_windows_may_have_had_it() -> None:
    assert parse_file("\ufeff[settings]\r\nledger_days = 30\r\n".encode()).document == {"settings": {"ledger_days": 30}}

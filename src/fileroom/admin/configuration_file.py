"""The configuration as a file that people write and version: TOML, as `fileroom.toml` is.

    format = 1
    version = 12
    seen = {roles = "5d0f..."}

    [settings]
    ledger_days = 30

    [roles.ct-desk]
    permissions = ["study.search", "study.view"]

A section that stands in the file is the whole of it: what it does not name goes back to its default, or goes. A section that
does not stand there is left alone. Reading is the standard library's; it has no writer, so that is here.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from fileroom.admin.configuration_changes import SETTINGS, Document, fingerprint
from fileroom.core.errors import InvalidRequestError, TooLargeError
from fileroom.core.setting_marks import SettingEntry, SettingKind

FORMAT: Final = 1
"""Raised when an older Fileroom would misunderstand the file."""
FILE_BYTES_MAX: Final = 4 << 20
"""Thousands of nodes fit."""
SECTIONS_MAX: Final = 50
MASK: Final = "********"
"""Stands where a secret would; as a value in a file it means: leave it as it is."""

_FORMAT: Final = "format"
_VERSION: Final = "version"
_SEEN: Final = "seen"
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class ConfigurationFile:
    """What a file says. `version` is the one that it was exported from, None where it does not say."""

    document: Document
    version: int | None = None
    seen: Mapping[str, str] = field(default_factory=dict)
    """Fingerprints of the sections beside the settings, when it was exported."""


def parse_file(data: bytes) -> ConfigurationFile:
    """Read a file. Raises TooLargeError, InvalidRequestError that says where it is wrong."""
    if len(data) > FILE_BYTES_MAX:
        raise TooLargeError(f"The configuration file is longer than {FILE_BYTES_MAX} bytes.")
    try:
        read = tomllib.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise InvalidRequestError(f"The configuration file is not UTF-8 text: {error}.") from error
    except tomllib.TOMLDecodeError as error:
        raise InvalidRequestError(f"The configuration file is not TOML: {error}.") from error
    except RecursionError as error:
        raise InvalidRequestError("The configuration file is nested too deeply.") from error
    return _file_of(read)


def write_file(document: Document, version: int, table: Mapping[str, SettingEntry], outside: Mapping[str, Any]) -> str:
    """The file of a document. `outside` are the values that come from outside, by setting; they stand there as comments."""
    lines = [
        "# Configuration of Fileroom. Change it and apply it: fileroom config apply FILE --dry-run",
        "# A section that stands here is the whole of it; leave one out and it is left alone.",
        f"{_FORMAT} = {FORMAT}",
        f"{_VERSION} = {version}",
        f"{_SEEN} = {_value({name: fingerprint(entries) for name, entries in document.items() if name != SETTINGS})}",
        "",
        f"[{SETTINGS}]",
        *_settings_lines(document.get(SETTINGS, {}), table, outside),
    ]
    for section, entries in document.items():
        if section == SETTINGS:
            continue
        if not entries:
            lines += ["", f"[{_key(section)}]"]
        for name, entry in sorted(entries.items()):
            lines += ["", f"[{_key(section)}.{_key(name)}]", *_entry_lines(entry)]
    return "\n".join(lines) + "\n"


def _file_of(read: Mapping[str, Any]) -> ConfigurationFile:
    number, version = read.get(_FORMAT, FORMAT), read.get(_VERSION)
    if not _is_number(number) or number > FORMAT:
        raise InvalidRequestError(
            f"The file says format = {str(number)[:20]}; this Fileroom reads up to {FORMAT}. A newer one has made it: "
            "update Fileroom, or export the file from this one."
        )
    if version is not None and not _is_number(version):
        raise InvalidRequestError(f"The file says version = {str(version)[:20]!r}; a version is a number such as 12.")
    seen = read.get(_SEEN, {})
    if not isinstance(seen, Mapping) or not all(isinstance(one, str) for one in seen.values()):
        raise InvalidRequestError("The file's line 'seen' is not as it was exported; take it out, or export again.")
    sections = {name: value for name, value in read.items() if name not in (_FORMAT, _VERSION, _SEEN)}
    for name, value in sections.items():
        if not isinstance(value, Mapping):
            raise InvalidRequestError(f"{name!r:.60} stands outside of every section; settings stand below [settings].")
    if len(sections) > SECTIONS_MAX:
        raise InvalidRequestError(f"The file has more than {SECTIONS_MAX} sections.")
    return ConfigurationFile(sections, version, seen)


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _settings_lines(
    values: Mapping[str, Any], table: Mapping[str, SettingEntry], outside: Mapping[str, Any]
) -> Iterator[str]:
    """What is set, and as comments what is not: the defaults, and what comes from outside."""
    for name, entry in table.items():
        if entry.kind is not SettingKind.MANAGED:
            continue
        yield f"# {entry.description}"
        if name in outside:
            yield f"# (here the environment or fileroom.toml says {_value(outside[name])})"
        yield f"{name} = {_value(values[name])}" if name in values else f"# {name} = {_value(entry.default)}"
    yield from (f"{_key(name)} = {_value(value)}" for name, value in values.items() if name not in table)
    yield "# From outside only (environment, fileroom.toml):"
    for name, entry in table.items():
        if entry.kind is not SettingKind.MANAGED:
            shown = MASK if entry.kind is SettingKind.SECRET else outside.get(name, entry.default)
            yield f"# {name} = {_value(shown)}"


def _entry_lines(entry: Any) -> Iterator[str]:
    for name, value in entry.items():
        if value is not None:
            yield f"{_key(name)} = {_value(value)}"


def _key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else _text(name)


def _value(value: Any) -> str:
    """One value of TOML 1.0, in one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_key(str(key))} = {_value(one)}" for key, one in value.items() if one is not None)
        return f"{{{inner}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(one) for one in value)}]"
    return _text(str(value))


def _text(text: str) -> str:
    """A basic string: TOML takes JSON's escapes, and wants DEL escaped as well."""
    plain = text.encode("utf-8", "replace").decode()
    return json.dumps(plain, ensure_ascii=False).replace("\x7f", "\\u007f")

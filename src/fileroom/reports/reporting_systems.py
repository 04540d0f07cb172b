"""Reporting systems beside Fileroom, as they dictate and recognise speech: how one is called, and what it is told of an exam.

Entries by name:

    "dictate": {"url": "dictate://open?accession={accession}&patient={patient_id}", "context": "xml", "feed": "dictation"}

`url` opens the program, `context` is the file that it reads (`json`, `xml` or `text`; `template` for one of another form),
`folder` is where the file is put for it, `feed` the feed out that takes its orders. Names in braces stand for what is known of
the exam. In a URL each value is percent-encoded (RFC 3986 2.1), in a file escaped as its form wants it: no value can add a
parameter, a tag or a key.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote
from xml.sax.saxutils import escape

from fileroom.admin.entries import Entry, Fields, Section, get_entry, list_entries, put_entry, remove_entry
from fileroom.archive.services import Archive
from fileroom.core.access import Permission
from fileroom.core.errors import InvalidRequestError, told

FIELDS: Final = (
    *(
        "accession",
        "accession_issuer",
        "study_uid",
        "patient_id",
        "patient_issuer",
        "patient_name",
        "birth_date",
        "sex",
    ),
    *(
        "modality",
        "study_date",
        "study_time",
        "description",
        "procedure_code",
        "procedure",
        "priority",
        "placer",
        "filler",
    ),
    *("referring_physician", "reason", "user", "context_link"),
)
"""What is known of an exam. `user` is who dictates, `context_link` a path that gives the file once more, for a few minutes."""
CONTEXTS: Final = ("none", "json", "xml", "text")
TYPES: Final = {"json": "application/json", "xml": "application/xml", "text": "text/plain; charset=utf-8"}
EXTENSIONS: Final = {"json": "json", "xml": "xml", "text": "txt"}
URL_CHARS_MAX: Final = 2000
TEMPLATE_CHARS_MAX: Final = 20_000
_NAME: Final = re.compile(r"\{([a-z_]+)\}")
_SCHEME: Final = re.compile(r"([a-z][a-z0-9+.-]{0,30}):")
_FORBIDDEN: Final = ("javascript", "data", "vbscript", "file", "blob", "about", "view-source", "filesystem")
_EXTENSION: Final = re.compile(r"[a-z0-9]{1,10}")
_MEDIA_TYPE: Final = re.compile(r"[a-z]+/[a-z0-9.+-]{1,60}")


@dataclass(frozen=True, slots=True)
class ReportingSystem:
    """One of them."""

    name: str
    url: str = ""
    context: str = "none"
    template: str = ""
    extension: str = ""
    media_type: str = ""
    folder: str = ""
    feed: str = ""
    enabled: bool = True
    version: int = 0


def check_system(_: str, fields: Mapping[str, Any]) -> Fields:
    """The fields in their normal form. Raises InvalidRequestError."""
    known = ("url", "context", "template", "extension", "media_type", "folder", "feed")
    if unknown := sorted(set(map(str, fields)) - set(known)):
        raise InvalidRequestError(
            told(
                "A reporting system has no field {field}. It has: {known}.",
                field=unknown[0][:40],
                known=", ".join(known),
            )
        )
    texts = {name: _text(fields, name, TEMPLATE_CHARS_MAX if name == "template" else URL_CHARS_MAX) for name in known}
    texts["context"] = texts["context"] or "none"
    if texts["context"] not in CONTEXTS:
        raise InvalidRequestError(told("The file of a reporting system is one of {known}.", known=", ".join(CONTEXTS)))
    if texts["url"]:
        _check_url(texts["url"])
    _check_names(texts["template"])
    if texts["context"] == "text" and not texts["template"]:
        raise InvalidRequestError(told("A file of the form text needs a template."))
    if texts["context"] == "none" and (texts["template"] or texts["folder"]):
        raise InvalidRequestError(told("A template and a folder need a file: json, xml or text."))
    if texts["extension"] and not _EXTENSION.fullmatch(texts["extension"]):
        raise InvalidRequestError(told("The extension of the file is a few letters, for example xml."))
    if texts["media_type"] and not _MEDIA_TYPE.fullmatch(texts["media_type"]):
        raise InvalidRequestError(told("The media type of the file is written as application/xml."))
    if not (texts["url"] or texts["context"] != "none" or texts["feed"]):
        raise InvalidRequestError(told("A reporting system needs a URL, a file or a feed."))
    return {name: value for name, value in texts.items() if value}


SYSTEMS: Final = Section(
    "reporting_systems",
    "reporting system",
    check_system,
    may_read=Permission.STUDY_VIEW,
    may_manage=Permission.ROUTING_MANAGE,
)


async def list_systems(archive: Archive) -> list[ReportingSystem]:
    """All by name. Raises NotAllowedError, DatabaseError."""
    return [_system(one) for one in await list_entries(archive.pool, SYSTEMS)]


async def get_system(archive: Archive, name: str) -> ReportingSystem:
    """One. Raises NotFoundError, NotAllowedError, DatabaseError."""
    return _system(await get_entry(archive.pool, SYSTEMS, name))


async def put_system(
    archive: Archive, name: str, fields: Mapping[str, Any], *, enabled: bool = True, version: int | None = None
) -> ReportingSystem:
    """Add one or change it. Raises InvalidRequestError, ConflictError, NotFoundError, NotAllowedError, DatabaseError."""
    return _system(
        await put_entry(archive.pool, archive.settings, SYSTEMS, name, fields, enabled=enabled, version=version)
    )


async def remove_system(archive: Archive, name: str) -> None:
    """Remove it. Raises NotFoundError, NotAllowedError, DatabaseError."""
    await remove_entry(archive.pool, SYSTEMS, name)


def url_of(system: ReportingSystem, values: Mapping[str, str]) -> str:
    """The URL that opens the program; empty where it has none."""
    return _filled(system.url, values, lambda text: quote(text, safe=""))


def context_of(system: ReportingSystem, values: Mapping[str, str]) -> bytes:
    """The bytes of its file."""
    if system.context == "xml":
        if system.template:
            return _filled(
                system.template, values, lambda text: escape(_clean(text), {'"': "&quot;", "'": "&apos;"})
            ).encode()
        inner = "".join(f"  <{name}>{escape(_clean(values[name]))}</{name}>\n" for name in FIELDS if name in values)
        return f'<?xml version="1.0" encoding="UTF-8"?>\n<exam>\n{inner}</exam>\n'.encode()
    if system.context == "json":
        if system.template:
            return _filled(system.template, values, lambda text: json.dumps(text, ensure_ascii=False)[1:-1]).encode()
        return json.dumps(dict(values), ensure_ascii=False, indent=2).encode()
    return _filled(system.template, values, lambda text: " ".join(_clean(text).split())).encode()


# --- helpers ---


def _system(entry: Entry) -> ReportingSystem:
    return ReportingSystem(entry.name, **entry.fields, enabled=entry.enabled, version=entry.version)


def _filled(template: str, values: Mapping[str, str], as_written: Callable[[str], str]) -> str:
    """In one pass: braces in a value stay what they are."""
    return _NAME.sub(lambda found: as_written(values.get(found[1], "")), template)


def _clean(text: str) -> str:
    """Without what XML 1.0 cannot hold."""
    return "".join(one for one in text if one >= " " or one in "\t\n\r")


def _check_url(url: str) -> None:
    scheme = _SCHEME.match(url)
    if scheme is None or scheme[1] in _FORBIDDEN or not url.isascii() or any(one.isspace() for one in url):
        raise InvalidRequestError(
            told("The URL begins with the scheme of the program, for example dictate://open?accession={{accession}}.")
        )
    if "{" in url.partition("?")[0].partition("//")[2].partition("/")[0]:
        raise InvalidRequestError(told("Which host the URL calls stands in it; names in braces come after that."))
    _check_names(url)


def _check_names(template: str) -> None:
    for name in _NAME.findall(template):
        if name not in FIELDS:
            raise InvalidRequestError(
                told(
                    "{name} is nothing that is known of an exam. There are: {known}.",
                    name=name[:40],
                    known=", ".join(FIELDS),
                )
            )


def _text(fields: Mapping[str, Any], name: str, most: int) -> str:
    value = fields.get(name, "")
    if not isinstance(value, str) or len(value) > most or "\0" in value:
        raise InvalidRequestError(told("{name} is a text of at most {most} characters.", name=name, most=most))
    return value.strip()

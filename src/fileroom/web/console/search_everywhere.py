"""`/search`: one field for patients, accession numbers, UIDs, nodes, settings and places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request

from fileroom.admin import nodes
from fileroom.admin.entries import Section, read_entries
from fileroom.archive.services import Archive
from fileroom.archive.study_list import ListedStudy, list_studies
from fileroom.core.access import Permission, current_access
from fileroom.core.errors import InvalidRequestError
from fileroom.core.identifiers import UID
from fileroom.core.live_settings import settings_table
from fileroom.core.setting_marks import SettingEntry
from fileroom.dicom.dictionary import tag_of, vr_of
from fileroom.dicom.matching import parse_matching
from fileroom.dicom.query import Key, SingleValue
from fileroom.routing.destinations import DESTINATIONS
from fileroom.routing.rule_fields import RULES
from fileroom.web.answers import Answer
from fileroom.web.audited import note_query
from fileroom.web.console.break_glass_page import hidden_behind_glass
from fileroom.web.console.page import is_part, page, view_of
from fileroom.web.console.places import Place, pages_for
from fileroom.web.endpoint import Handler

TEXT_CHARS_MAX: Final = 200
FOUND_OF_EACH_KIND: Final = 6
_UID_FIELDS: Final = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")


@dataclass(frozen=True, slots=True)
class Everywhere:
    """What was found, by kind."""

    studies: Sequence[ListedStudy] = ()
    nodes: Sequence[nodes.Node] = ()
    places: Sequence[Place] = ()
    settings: Sequence[SettingEntry] = ()
    rules: Sequence[str] = ()
    destinations: Sequence[str] = ()

    @property
    def is_empty(self) -> bool:
        """Nothing at all."""
        return not (self.studies or self.nodes or self.places or self.settings or self.rules or self.destinations)


def search_handler(archive: Archive) -> Handler:
    """The handler of `/search?q=`; a request for a part gets the list alone."""

    async def handle(request: Request) -> Answer:
        text = request.query_params.get("q", "").strip()[:TEXT_CHARS_MAX]
        found = await _search(archive, request, text) if text and "\0" not in text else Everywhere()
        template = "search_found.html" if is_part(request) else "search.html"
        hidden = bool(text) and await hidden_behind_glass(archive, text)
        return await page(archive, request, template, text=text, found=found, hidden=hidden)

    return handle


async def _search(archive: Archive, request: Request, text: str) -> Everywhere:
    access = current_access()
    studies = await _studies(archive, request, text) if access.allows(Permission.STUDY_SEARCH) else []
    sought = text.lower()
    known = await nodes.list_nodes(archive.pool) if access.allows(Permission.NODE_READ) else []
    of_text = [
        node for node in known if sought in node.name.lower() or sought in node.aet.lower() or sought in node.host
    ]
    reader = view_of(request).reader
    named = [place for place in pages_for(access) if sought in reader.gettext(place.title).lower()]
    entries = settings_table().values() if access.allows(Permission.SETTINGS_READ) else ()
    told = [entry for entry in entries if sought in f"{entry.name} {reader.gettext(entry.description)}".lower()]
    rules, destinations = [await _named(archive, section, sought) for section in (RULES, DESTINATIONS)]
    return Everywhere(studies, of_text[:FOUND_OF_EACH_KIND], named, told[:FOUND_OF_EACH_KIND], rules, destinations)


async def _named(archive: Archive, section: Section, sought: str) -> list[str]:
    """Entries of routing by their names and descriptions, for who may see them."""
    if not current_access().allows(Permission.ROUTING_READ):
        return []
    entries = await read_entries(archive.pool, section)
    fitting = [one.name for one in entries if sought in f"{one.name} {one.fields.get('description', '')}".lower()]
    return fitting[:FOUND_OF_EACH_KIND]


async def _studies(archive: Archive, request: Request, text: str) -> list[ListedStudy]:
    """By UID where it is one; else by accession number, patient ID and name, each study once."""
    found: dict[str, ListedStudy] = {}
    for key, fuzzy in _keys(text):
        studies = await list_studies(archive, [key], limit=FOUND_OF_EACH_KIND, fuzzy_names=fuzzy)
        note_query(archive, request, studies.query)
        for study in studies.studies:
            found.setdefault(study.study_uid, study)
    return list(found.values())


def _keys(text: str) -> list[tuple[Key, bool]]:
    if "." in text:
        try:
            return [(_key(field, UID(text)), False) for field in _UID_FIELDS]
        except InvalidRequestError:
            pass
    keys = [
        (Key(tag_of(field) or 0, vr_of(tag_of(field) or 0), matching), False)
        for field in ("AccessionNumber", "PatientID")
        if (matching := parse_matching("SH", text if "*" in text else f"{text}*")) is not None
    ]
    return [*keys, (_key("PatientName", text.replace("^", " ").replace(",", " ")), True)]


def _key(field: str, text: str) -> Key:
    tag = tag_of(field) or 0
    return Key(tag, vr_of(tag), SingleValue(text))

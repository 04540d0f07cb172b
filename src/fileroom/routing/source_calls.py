"""Asking one source: a `Query` as C-FIND (PS3.4 C.4.1) or QIDO-RS (PS3.18 10.6), its answers as DICOM JSON.

What comes back is a stranger's word: bounded in number and size, read with our own decoders, and held against the unique keys
that were asked for. A source that does not support a key answers more than was asked; that is filtered here.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterable
from contextlib import aclosing, asynccontextmanager
from typing import Any, Final, TypeVar

import httpx
import orjson
from pydicom.datadict import keyword_for_tag

from fileroom.admin.node_fields import Node
from fileroom.archive.node_calls import connect_node
from fileroom.archive.services import Archive
from fileroom.core.errors import (
    ConfigurationError,
    InvalidObjectError,
    InvalidRequestError,
    PeerError,
    PeerRefusedError,
    PeerTimeoutError,
)
from fileroom.core.limits import MIB
from fileroom.dicom import uids
from fileroom.dicom.dictionary import vr_of
from fileroom.dicom.identifier import AnswerElement, encode_answer
from fileroom.dicom.json_model import JsonObject, encoded_to_model
from fileroom.dicom.matching import matches
from fileroom.dicom.query import (
    AnyOf,
    EmptyValue,
    Key,
    Level,
    Matching,
    Page,
    Query,
    Range,
    SequenceItem,
    SingleValue,
    Wildcard,
)
from fileroom.dimse.status import StatusCategory, category, is_pending
from fileroom.index.attributes import BY_KEYWORD, UNIQUE_KEYS
from fileroom.net.association_client import ClientAssociation, ProposedContext
from fileroom.net.association_handler import Response
from fileroom.routing.sources import Source, node_of

Result = TypeVar("Result")

ANSWER_BYTES_MAX: Final = 32 * MIB
"""Of one answer of a DICOMweb service: 5,000 matches of 6 KB."""
MATCH_ELEMENTS_MAX: Final = 500
"""Attributes of one match that are looked at."""
UNCOMPRESSED: Final = (uids.EXPLICIT_VR_LITTLE_ENDIAN, uids.IMPLICIT_VR_LITTLE_ENDIAN)
LEVEL_NAMES: Final = {Level.PATIENT: "PATIENT", Level.STUDY: "STUDY", Level.SERIES: "SERIES", Level.INSTANCE: "IMAGE"}
STUDY_UID: Final = BY_KEYWORD["StudyInstanceUID"].tag
SERIES_UID: Final = BY_KEYWORD["SeriesInstanceUID"].tag
PATIENT_ID: Final = BY_KEYWORD["PatientID"].tag
ISSUER: Final = BY_KEYWORD["IssuerOfPatientID"].tag
_LEVEL_TAG: Final = 0x00080052
_CHARACTER_SET_TAG: Final = 0x00080005
_RETRIEVE_AET_TAG: Final = 0x00080054
_NOT_ASKED: Final = frozenset({_LEVEL_TAG, _CHARACTER_SET_TAG, _RETRIEVE_AET_TAG, 0x00080056, 0x00081190, 0x00080201})
_HELD_AGAINST: Final = frozenset(
    BY_KEYWORD[word].tag
    for word in (
        *("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"),
        *("AccessionNumber", "StudyDate", "Modality"),
    )
)
"""Keys that every archive must support (PS3.4 C.6), or that are too telling to be believed blindly."""
_USUAL: Final = {
    Level.PATIENT: ("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex"),
    Level.STUDY: (
        *("StudyDate", "StudyTime", "AccessionNumber", "ModalitiesInStudy", "ReferringPhysicianName"),
        *("StudyDescription", "StudyInstanceUID", "StudyID"),
        *("NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances"),
    ),
    Level.SERIES: (
        *("Modality", "SeriesDescription", "SeriesInstanceUID", "SeriesNumber", "BodyPartExamined"),
        "NumberOfSeriesRelatedInstances",
    ),
    Level.INSTANCE: ("SOPClassUID", "SOPInstanceUID", "InstanceNumber", "Rows", "Columns", "NumberOfFrames"),
}
"""What is asked for where everything is wanted."""
_RESOURCES: Final = {
    Level.PATIENT: "studies",
    Level.STUDY: "studies",
    Level.SERIES: "series",
    Level.INSTANCE: "instances",
}


async def ask_source(archive: Archive, source: Source, query: Query, *, via: str = "") -> list[JsonObject]:
    """The matches of a source, at most `results_max` of it, within its time. `via` is the way that a question over HTTP came.

    Raises PeerError with what went wrong, DatabaseError.
    """
    try:
        async with asyncio.timeout(source.timeout_s):
            ask = _find(archive, source, query) if source.node else _search(source, query, via)
            found = await ask
    except TimeoutError as error:
        raise PeerTimeoutError(f"{source.shown} did not answer within {source.timeout_s} s.") from error
    return [match for match in found if _is_meant(match, query)]


async def probe(archive: Archive, source: Source) -> None:
    """Whether it answers a search for one study. Raises PeerError."""
    page = Page(1)
    await ask_source(archive, source, Query(Level.STUDY, return_tags=((STUDY_UID,),), page=page))


# --- C-FIND ---


async def _find(archive: Archive, source: Source, query: Query) -> list[JsonObject]:
    node = await node_of(archive, source)
    sop_class = uids.PATIENT_ROOT_FIND if query.level is Level.PATIENT else uids.STUDY_ROOT_FIND
    elements = [AnswerElement(_LEVEL_TAG, "CS", LEVEL_NAMES[query.level]), *identifier_of(query)]
    return await find_at_node(archive, node, sop_class, elements, _most(source, query))


async def find_at_node(
    archive: Archive, node: Node, sop_class: str, elements: list[AnswerElement], results_max: int
) -> list[JsonObject]:
    """A C-FIND of any information model: the matches as DICOM JSON. Raises PeerError."""
    contexts = [ProposedContext(sop_class, UNCOMPRESSED)]
    async with connect_node(archive, node, purpose="find", contexts=contexts) as (association, _):
        syntax = association.context_of(sop_class).transfer_syntax
        identifier = encode_answer(elements, syntax, b"ISO_IR 192")
        responses = association.find(sop_class, identifier)
        return await or_abort(association, _collect(node, responses, syntax, results_max))


async def or_abort(association: ClientAssociation, work: Coroutine[Any, Any, Result]) -> Result:
    """Work on an association; when it is cancelled, the association is aborted at once.

    To ask a peer politely to stop takes half a minute where it does not answer, which is mostly why it is given up.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        association.abort()
        await asyncio.gather(task, return_exceptions=True)
        raise
    return task.result()


async def _collect(
    node: Node, responses: AsyncGenerator[Response, None], syntax: str, results_max: int
) -> list[JsonObject]:
    found: list[JsonObject] = []
    async with aclosing(responses):
        async for response in responses:
            if is_pending(response.status) and response.dataset is not None:
                found.append(_model(bytes(response.dataset), syntax))
                if len(found) >= results_max:
                    break  # leaving cancels the rest (PS3.7 9.3.2.3)
            elif category(response.status) is StatusCategory.FAILURE:
                comment = response.command.error_comment or ""
                raise PeerRefusedError(f"{node.name} ended the search with {response.status:04X} {comment}".strip())
    return found


def identifier_of(query: Query) -> list[AnswerElement]:
    """The keys of a query, and what shall be returned, as elements of a C-FIND identifier (without its level)."""
    elements: dict[int, AnswerElement] = {}
    for tag in _asked_tags(query):
        vr = vr_of(tag)
        elements[tag] = AnswerElement(tag, vr, [] if vr == "SQ" else "")
    for key in query.keys:
        if key.tag not in _NOT_ASKED:
            elements[key.tag] = _key_element(key)
    return list(elements.values())


def _key_element(key: Key) -> AnswerElement:
    if isinstance(key.matching, SequenceItem):
        item = {f"{one.tag:08X}": _json_element(one) for one in key.matching.keys}
        return AnswerElement(key.tag, "SQ", [item])
    return AnswerElement(key.tag, key.vr, _text(key.matching, "\\"))


def _json_element(key: Key) -> JsonObject:
    if isinstance(key.matching, SequenceItem):
        return {"vr": "SQ", "Value": [{f"{one.tag:08X}": _json_element(one) for one in key.matching.keys}]}
    text = _text(key.matching, "\\")
    return {"vr": key.vr, "Value": [{"Alphabetic": text}] if key.vr == "PN" else text.split("\\")}


def _text(matching: Matching, separator: str) -> str:
    if isinstance(matching, SingleValue):
        return matching.value
    if isinstance(matching, Wildcard):
        return matching.pattern
    if isinstance(matching, AnyOf):
        return separator.join(matching.values)
    if isinstance(matching, Range):
        return f"{matching.start or ''}-{matching.end or ''}"
    return '""' if isinstance(matching, EmptyValue) else ""


def _model(encoded: bytes, transfer_syntax: str) -> JsonObject:
    try:
        return encoded_to_model(encoded, transfer_syntax)
    except InvalidObjectError as error:
        raise PeerRefusedError(f"It answered with something that cannot be read: {error}") from error


# --- QIDO-RS ---


@asynccontextmanager
async def open_service(source: Source, timeout_s: float) -> AsyncIterator[httpx.AsyncClient]:
    """A client for the DICOMweb service of a source, with what it logs in by. Raises PeerRefusedError."""
    headers = {"authorization": f"Bearer {source.token}"} if source.token else {}
    auth = httpx.BasicAuth(source.login, source.password) if source.login and not source.token else None
    try:
        context = ssl.create_default_context(cafile=source.ca or None)
    except OSError as error:
        raise PeerRefusedError(f"The certificates in {source.ca} cannot be read: {error}") from error
    try:
        async with httpx.AsyncClient(
            verify=context, timeout=timeout_s, headers=headers, auth=auth, follow_redirects=False
        ) as client:
            yield client
    except httpx.TimeoutException as error:
        raise PeerTimeoutError(f"{source.shown} did not answer within {timeout_s:g} s.") from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise PeerRefusedError(f"{source.shown} at {source.dicomweb}: {error or type(error).__name__}") from error


async def _search(source: Source, query: Query, via: str) -> list[JsonObject]:
    url = f"{source.dicomweb}/{_RESOURCES[query.level]}"
    headers = {"accept": "application/dicom+json"} | ({"via": via} if via else {})
    parameters = httpx.QueryParams(search_parameters(query, _most(source, query)))
    async with (
        open_service(source, source.timeout_s) as client,
        client.stream("GET", url, params=parameters, headers=headers) as answer,
    ):
        if answer.status_code == httpx.codes.NO_CONTENT:
            return []
        if answer.status_code != httpx.codes.OK:
            raise PeerRefusedError(f"{source.shown} answered the search with HTTP {answer.status_code}.")
        body = bytearray()
        async for piece in answer.aiter_bytes():
            body += piece
            if len(body) > ANSWER_BYTES_MAX:
                raise PeerRefusedError(f"{source.shown} answers with more than {ANSWER_BYTES_MAX // MIB} MiB.")
    return list(_models(bytes(body), source))[: _most(source, query)]


def search_parameters(query: Query, limit: int) -> list[tuple[str, str | int | float | bool | None]]:
    """A query as the parameters of QIDO-RS (PS3.18 8.3.4)."""
    parameters: list[tuple[str, str | int | float | bool | None]] = [
        (name, text) for key in query.keys for name, text in _key_parameters("", key)
    ]
    parameters += [("includefield", f"{tag:08X}") for tag in _asked_tags(query)]
    if query.fuzzy_names:
        parameters.append(("fuzzymatching", "true"))
    return [*parameters, ("limit", str(limit))]


def _key_parameters(path: str, key: Key) -> Iterable[tuple[str, str]]:
    name = f"{path}{key.tag:08X}"
    if isinstance(key.matching, SequenceItem):
        for one in key.matching.keys:
            yield from _key_parameters(f"{name}.", one)
    elif key.tag not in _NOT_ASKED:
        yield name, _text(key.matching, "," if key.vr == "UI" else "\\")


def _models(body: bytes, source: Source) -> Iterable[JsonObject]:
    try:
        found = orjson.loads(body or b"[]")
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, list):
        raise PeerRefusedError(f"{source.shown} answered the search with something that is no list of JSON.")
    return (match for match in map(checked_model, found) if match)


def checked_model(found: object) -> JsonObject:
    """A data set in DICOM JSON (PS3.18 F.2) with what is well formed in it; nothing else of a stranger's is passed on."""
    if not isinstance(found, dict):
        return {}
    checked: JsonObject = {}
    for key, element in list(found.items())[:MATCH_ELEMENTS_MAX]:
        tag = _tag(key)
        if tag is None or not isinstance(element, dict):
            continue
        told = element.get("vr")
        vr = told if isinstance(told, str) else vr_of(tag)
        values = element.get("Value")
        if not isinstance(values, list) or vr in ("OB", "OD", "OF", "OL", "OV", "OW", "UN"):
            checked[f"{tag:08X}"] = {"vr": vr}
        elif vr == "SQ":
            checked[f"{tag:08X}"] = {"vr": vr, "Value": [checked_model(item) for item in values]}
        else:
            kept = [one for one in (_value(vr, value) for value in values) if one is not None]
            checked[f"{tag:08X}"] = {"vr": vr, "Value": kept} if kept else {"vr": vr}
    return checked


def _tag(key: object) -> int | None:
    if not isinstance(key, str) or len(key) != 8:
        return None
    try:
        return int(key, 16)
    except ValueError:
        return None


def _value(vr: str, value: object) -> Any:
    if vr == "PN":
        if isinstance(value, str):
            return {"Alphabetic": value}
        groups = ("Alphabetic", "Ideographic", "Phonetic")
        texts = (
            {key: value[key] for key in groups if isinstance(value.get(key), str)} if isinstance(value, dict) else {}
        )
        return texts or None
    return value if isinstance(value, (str, int, float)) and not isinstance(value, bool) else None


# --- both ---


def text_of(match: JsonObject, tag: int) -> str:
    """The value of an attribute as one text, several values apart by backslashes; empty where there is none."""
    element = match.get(f"{tag:08X}")
    values = element.get("Value") if isinstance(element, dict) else None
    return "\\".join(_plain(value) for value in values) if isinstance(values, list) else ""


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return "=".join(str(value.get(key, "")) for key in ("Alphabetic", "Ideographic", "Phonetic")).rstrip("=")
    return "" if value is None else str(value)


def _asked_tags(query: Query) -> list[int]:
    if query.return_tags is None:
        words = [word for level in Level if level <= query.level for word in _USUAL[level]]
        tags = [BY_KEYWORD[word].tag for word in words]
    else:
        tags = [path[0] for path in query.return_tags]
    unique = [UNIQUE_KEYS[level].tag for level in Level if Level.STUDY <= level <= query.level]
    if query.level is Level.PATIENT:
        unique = [PATIENT_ID, ISSUER]
    return [tag for tag in dict.fromkeys((*tags, *unique)) if tag not in _NOT_ASKED and keyword_for_tag(tag)]


def _most(source: Source, query: Query) -> int:
    if query.page is None:
        return source.results_max
    return min(source.results_max, query.page.offset + query.page.limit)


def _is_meant(match: JsonObject, query: Query) -> bool:
    """Whether a match fits the keys that a source must not pass over, as far as it says what its values are."""
    for key in query.keys:
        if key.tag not in _HELD_AGAINST or isinstance(key.matching, (SequenceItem, EmptyValue)):
            continue
        value = text_of(match, key.tag)
        try:
            if value and not matches(value, key.matching, key.vr):
                return False
        except InvalidRequestError:
            continue
    return bool(text_of(match, PATIENT_ID if query.level is Level.PATIENT else UNIQUE_KEYS[query.level].tag))


def reason_of(source: Source, error: BaseException) -> str:
    """Why a source did not answer, in a sentence that names it."""
    if isinstance(error, (PeerError, ConfigurationError)):
        return str(error)
    return f"{source.shown} could not be asked: {type(error).__name__}"

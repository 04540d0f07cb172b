"""WADO-RS: studies, series and instances as DICOM objects, in parts, alone or as a ZIP file (PS3.18 10.4.1.1.1)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

from starlette.requests import Request

from fileroom.archive import retrieve
from fileroom.archive.retrieve import OpenedObject, Selection, StoredInstance
from fileroom.archive.services import Archive
from fileroom.core.access import Permission
from fileroom.core.errors import InvalidObjectError, NotFoundError, TooLargeError, UnsupportedError
from fileroom.dicom import uids
from fileroom.dicomweb.media_types import AS_STORED, Representation
from fileroom.dicomweb.offers import ZIP, instance_offers, web_transfer_syntax
from fileroom.pixels.transcode import can_transcode
from fileroom.web.address import dicomweb_root, optional_path_uid, path_uid
from fileroom.web.answers import PRIVATE, Answer, before_first
from fileroom.web.conditional import entity_tag, not_modified
from fileroom.web.endpoint import Handler
from fileroom.web.files import object_pieces
from fileroom.web.matches import retrieve_url
from fileroom.web.negotiation import negotiate
from fileroom.web.parts import Part, multipart_answer
from fileroom.web.transfer_syntaxes import encodable_from
from fileroom.web.zip_stream import ZipEntry, zip_pieces


def instances_handler(archive: Archive) -> Handler:
    """The handler of `/studies/{study}`, of `/series/{series}` below it and of `/instances/{instance}` below that."""

    async def handle(request: Request) -> Answer:
        instances = await select_instances(archive, request)
        single = "instance" in request.path_params
        chosen = await negotiate_instances(archive, request, instances, single=single)
        if single:
            return await _one(archive, request, instances[0], chosen)
        headers = {"cache-control": PRIVATE, "vary": "Accept"}
        if chosen.media_type == ZIP:
            return await _zip(archive, instances, chosen, headers)
        answer = multipart_answer(chosen, _parts(archive, instances, chosen, dicomweb_root(request)), headers)
        return await begun(answer)

    return handle


async def select_instances(archive: Archive, request: Request) -> list[StoredInstance]:
    """What the path names. Raises NotFoundError where that is nothing."""
    study = path_uid(request, "study")
    series = optional_path_uid(request, "series")
    if "instance" in request.path_params:
        return [await path_instance(archive, request)]
    selection = Selection(study_uids=(study,), series_uids=(series,) if series else ())
    instances = await retrieve.list_instances(archive, selection)
    if not instances:
        what = f"series {series} in study {study}" if series else f"study {study}"
        raise NotFoundError(f"There is no {what} in the archive. It was never received, or was deleted.")
    return instances


async def path_instance(archive: Archive, request: Request) -> StoredInstance:
    """The one instance that the path names. Raises NotFoundError."""
    study, series, instance = (path_uid(request, name) for name in ("study", "series", "instance"))
    return await retrieve.get_instance(archive, study, series, instance)


async def negotiate_instances(
    archive: Archive, request: Request, instances: list[StoredInstance], *, single: bool
) -> Representation:
    """How the instances shall be sent. Raises NotAcceptableError.

    An encoding that the codecs know but that does not fit the first image gives way to the next best.
    """
    stored = {instance.transfer_syntax_uid for instance in instances}
    encodable = encodable_from(stored)
    while True:
        chosen = negotiate(request, instance_offers(stored, encodable, single=single))
        wanted = chosen.transfer_syntax
        image = next((one for one in instances if one.rows and _must_encode(one, wanted)), None)
        if wanted is None or image is None:
            return chosen
        header, pixel_keyword = await retrieve.read_pixel_header(archive, image)
        if can_transcode(image.transfer_syntax_uid, wanted, header, pixel_keyword=pixel_keyword):
            return chosen
        encodable = tuple(uid for uid in encodable if uid != wanted)


async def begun(answer: Answer) -> Answer:
    """The same answer with its first piece made: an error up to there has a status code of its own."""
    if not isinstance(answer.body, AsyncIterator):
        return answer
    return Answer(answer.status, answer.headers, await before_first(answer.body), answer.length)


async def open_as(
    archive: Archive,
    instance: StoredInstance,
    chosen: Representation,
    permission: Permission = Permission.STUDY_VIEW,
) -> OpenedObject:
    """The instance as a file in the chosen transfer syntax.

    An object so broken that it can only be sent as it is stored is sent so to those who take any transfer syntax.
    """
    syntax = _target_syntax(instance, chosen)
    try:
        return await retrieve.open_object(archive, instance, syntax, part10=True, permission=permission)
    except (InvalidObjectError, TooLargeError, UnsupportedError):
        if chosen.transfer_syntax != AS_STORED:
            raise
        return await retrieve.open_object(archive, instance, part10=True, permission=permission)


async def dicom_answer(archive: Archive, request: Request, instance: StoredInstance, chosen: Representation) -> Answer:
    """One instance as one file."""
    tag = entity_tag(instance, chosen.media_type, _target_syntax(instance, chosen))
    if unchanged := not_modified(request, tag):
        return unchanged
    opened = await open_as(archive, instance, chosen)
    headers = {
        "content-type": chosen.part_content_type(opened.transfer_syntax),
        "etag": tag,
        "cache-control": PRIVATE,
        "vary": "Accept",
    }
    return await begun(Answer(200, headers, object_pieces(opened), opened.length))


async def _one(archive: Archive, request: Request, instance: StoredInstance, chosen: Representation) -> Answer:
    if chosen.media_type == ZIP:
        return await _zip(archive, [instance], chosen, {"cache-control": PRIVATE, "vary": "Accept"})
    if not chosen.multipart:
        return await dicom_answer(archive, request, instance, chosen)
    tag = entity_tag(instance, "multipart", chosen.media_type, _target_syntax(instance, chosen))
    if unchanged := not_modified(request, tag):
        return unchanged
    headers = {"etag": tag, "cache-control": PRIVATE, "vary": "Accept"}
    part = _part(instance, await open_as(archive, instance, chosen), chosen, dicomweb_root(request))
    return await begun(multipart_answer(chosen, _one_part(part), headers))


async def _one_part(part: Part) -> AsyncIterator[Part]:
    yield part


async def _parts(
    archive: Archive, instances: list[StoredInstance], chosen: Representation, root_url: str
) -> AsyncIterator[Part]:
    for instance in instances:
        yield _part(instance, await _open_as_far_as_possible(archive, instance, chosen), chosen, root_url)


def _part(instance: StoredInstance, opened: OpenedObject, chosen: Representation, root_url: str) -> Part:
    names = (instance.study_instance_uid, instance.series_instance_uid, instance.sop_instance_uid)
    content_type = replace(chosen, transfer_syntax=AS_STORED).part_content_type(opened.transfer_syntax)
    return Part(content_type, object_pieces(opened), opened.length, retrieve_url(root_url, *names))


async def _open_as_far_as_possible(
    archive: Archive,
    instance: StoredInstance,
    chosen: Representation,
    permission: Permission = Permission.STUDY_VIEW,
) -> OpenedObject:
    """One of many: where it cannot be encoded as the others, it goes as it is stored, and its part says so."""
    try:
        return await open_as(archive, instance, chosen, permission)
    except (InvalidObjectError, TooLargeError, UnsupportedError):
        return await open_as(archive, instance, replace(chosen, transfer_syntax=AS_STORED), permission)


async def _zip(
    archive: Archive, instances: list[StoredInstance], chosen: Representation, headers: dict[str, str]
) -> Answer:
    async def entries() -> AsyncIterator[ZipEntry]:
        series_uids = list(dict.fromkeys(instance.series_instance_uid for instance in instances))
        folders = {uid: number for number, uid in enumerate(series_uids, start=1)}
        for number, instance in enumerate(instances, start=1):
            opened = await _open_as_far_as_possible(archive, instance, chosen, Permission.STUDY_EXPORT)
            name = f"series-{folders[instance.series_instance_uid]:04d}/{number:06d}.dcm"
            yield ZipEntry(name, object_pieces(opened))

    disposition = {"content-type": ZIP, "content-disposition": 'attachment; filename="study.zip"'}
    return await begun(Answer(200, {**headers, **disposition}, zip_pieces(entries(), archive.now())))


def _must_encode(instance: StoredInstance, wanted: str | None) -> bool:
    """Would its pixels have to be encoded anew?"""
    if wanted in (None, AS_STORED):
        return False
    stored = uids.transfer_syntax(instance.transfer_syntax_uid)
    return wanted != instance.transfer_syntax_uid and (
        stored.encapsulated or uids.transfer_syntax(wanted or "").encapsulated
    )


def _target_syntax(instance: StoredInstance, chosen: Representation) -> str | None:
    if chosen.transfer_syntax != AS_STORED:
        return chosen.transfer_syntax
    # Implicit VR and big endian may not travel over DICOMweb even "as stored" (PS3.18 8.7.3).
    allowed = web_transfer_syntax(instance.transfer_syntax_uid)
    return None if allowed == instance.transfer_syntax_uid else allowed

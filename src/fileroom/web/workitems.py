"""UPS-RS: workitems over the web (PS3.18 chapter 11). Each handler reads a request, calls one service and says what came of it.

States that do not allow a request are told by status 400 or 409 and by the Warning header that PS3.18 has for it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from contextlib import aclosing
from http import HTTPStatus
from typing import Final

import orjson
from starlette.requests import Request

from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.errors import InvalidRequestError
from fileroom.core.identifiers import UID
from fileroom.core.limits import QIDO_LIMIT_MAX
from fileroom.dicom.dictionary import vr_of
from fileroom.dicom.json_model import JsonObject
from fileroom.dicom.query import Page, TagPath
from fileroom.dicomweb.offers import DICOM_XML, METADATA_OFFERS
from fileroom.dicomweb.parameters import boolean
from fileroom.dicomweb.problems import more_results_warning, warning_headers
from fileroom.dicomweb.qido_params import parse_attribute_search
from fileroom.web.address import DICOMWEB_PATH, dicomweb_root, path_uid
from fileroom.web.answers import NO_STORE, Answer, compressed
from fileroom.web.endpoint import Handler
from fileroom.web.errors import problem
from fileroom.web.negotiation import negotiate, search_parameters
from fileroom.web.workitem_bodies import WORKITEM_OFFERS, dataset_answer, read_dataset
from fileroom.web.xml_answers import xml_parts
from fileroom.worklist import workitem_rules as rules
from fileroom.worklist.performed_rules import text_of
from fileroom.worklist.workitem_rules import UnknownWorkitemError, WorkitemError
from fileroom.worklist.workitem_search import pruned, search_workitems
from fileroom.worklist.workitem_subscriptions import subscribe, suspend, unsubscribe
from fileroom.worklist.workitems import (
    change_workitem_state,
    create_workitem,
    get_workitem,
    request_cancel,
    update_workitem,
)

RETURNED: Final = (
    *("SOPClassUID", "SOPInstanceUID", "ProcedureStepState", "ProcedureStepLabel", "WorklistLabel"),
    *("ScheduledProcedureStepPriority", "ScheduledProcedureStepStartDateTime", "ExpectedCompletionDateTime"),
    *("ScheduledProcedureStepModificationDateTime", "InputReadinessState", "PatientName", "PatientID"),
    *("IssuerOfPatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "AdmissionID"),
    *("ScheduledWorkitemCodeSequence", "ScheduledStationNameCodeSequence", "ScheduledStationClassCodeSequence"),
    *("ScheduledStationGeographicLocationCodeSequence", "ScheduledHumanPerformersSequence"),
    *("CommentsOnTheScheduledProcedureStep", "ReferencedRequestSequence", "InputInformationSequence"),
    "ProcedureStepProgressInformationSequence",
)
"""Return keys of types 1 and 2 (PS3.4 table CC.2.5-3)."""
_READ, _MANAGE = Permission.ORDER_READ, Permission.ORDER_MANAGE
_UID_PARAMETERS: Final = ("workitem", "affectedsopinstanceuid")
_UID: Final = re.compile(r"[0-9.]{3,64}")
_BAD_REQUEST: Final = frozenset({0xC301, 0xC303})
_NOT_CLAIMED: Final = "The submitted request is inconsistent with the current state of the Workitem."


def create_handler(archive: Archive) -> Handler:
    """POST `/workitems` (11.4)."""

    async def handle(request: Request) -> Answer:
        uid = _asked_uid(request)
        model = await read_dataset(request)
        uid = uid or text_of(model, rules.SOP_INSTANCE)
        made = await create_workitem(archive, uid, model)
        url = f"{dicomweb_root(request)}/workitems/{made.sop_instance_uid}"
        answer = Answer(HTTPStatus.CREATED, {"location": url, "content-location": url, "cache-control": NO_STORE})
        return _warned(request, answer, "The Workitem was created with modifications." if made.is_modified else "")

    return _told(handle, _MANAGE)


def retrieve_handler(archive: Archive) -> Handler:
    """GET `/workitems/{workitem}` (11.5)."""

    async def handle(request: Request) -> Answer:
        chosen = negotiate(request, WORKITEM_OFFERS)
        found = await get_workitem(archive, path_uid(request, "workitem"))
        url = f"{dicomweb_root(request)}/workitems/{found.sop_instance_uid}"
        return dataset_answer(found.attributes, chosen, {"content-location": url})

    return _told(handle, _READ)


def update_handler(archive: Archive) -> Handler:
    """POST `/workitems/{workitem}?{transaction-uid}` (11.6)."""

    async def handle(request: Request) -> Answer:
        uid = path_uid(request, "workitem")
        change = await read_dataset(request)
        await update_workitem(archive, uid, change, _transaction_of(request))
        url = f"{dicomweb_root(request)}/workitems/{uid}"
        return Answer(HTTPStatus.OK, {"content-location": url, "cache-control": NO_STORE})

    return _told(handle, _MANAGE, final_is_bad=True)


def state_handler(archive: Archive) -> Handler:
    """PUT `/workitems/{workitem}/state` (11.7)."""

    async def handle(request: Request) -> Answer:
        uid = path_uid(request, "workitem")
        said = await read_dataset(request)
        state, key = text_of(said, rules.STATE), text_of(said, rules.TRANSACTION)
        warning = await change_workitem_state(archive, uid, state, key)
        url = f"{dicomweb_root(request)}/workitems/{uid}"
        answer = Answer(HTTPStatus.OK, {"content-location": url, "cache-control": NO_STORE})
        return _warned(request, answer, rules.already(warning))

    return _told(handle, _MANAGE)


def cancel_handler(archive: Archive) -> Handler:
    """POST `/workitems/{workitem}/cancelrequest`, with or without who asks (11.8)."""

    async def handle(request: Request) -> Answer:
        uid = path_uid(request, "workitem")
        said = await read_dataset(request, may_be_empty=True)
        warning = await request_cancel(archive, uid, said, request.path_params.get("requester", ""))
        if warning:
            return _warned(request, problem(HTTPStatus.CONFLICT, rules.already(warning)), rules.already(warning))
        url = f"{dicomweb_root(request)}/workitems/{uid}"
        return Answer(HTTPStatus.ACCEPTED, {"content-location": url, "cache-control": NO_STORE})

    return _told(handle, _MANAGE)


def search_handler(archive: Archive) -> Handler:
    """GET `/workitems` (11.9)."""

    async def handle(request: Request) -> Answer:
        chosen = negotiate(request, METADATA_OFFERS)
        search = parse_attribute_search(search_parameters(request), RETURNED)
        page = search.query.page or Page(QIDO_LIMIT_MAX)
        asked = None if search.query.return_tags is None else _asked(search.query.return_tags)
        matches: list[bytes] = []
        warnings = list(search.warnings)
        passed = 0
        async with aclosing(search_workitems(archive, search.query.keys)) as workitems:
            async for found in workitems:
                if len(matches) == page.limit:
                    warnings.append(more_results_warning(None))
                    break
                passed += 1
                if passed > page.offset:
                    model = found.attributes if asked is None else pruned(found.attributes, asked)
                    matches.append(orjson.dumps(model))
        headers = {"cache-control": NO_STORE, "vary": "Accept"}
        if warnings:
            headers["warning"] = ", ".join(warning_headers(warnings, dicomweb_root(request)))
        if not matches:
            return Answer(HTTPStatus.NO_CONTENT, headers)
        if chosen.media_type == DICOM_XML:
            return xml_parts(matches, headers)
        headers["content-type"] = chosen.media_type
        answer = Answer(HTTPStatus.OK, headers, b"[" + b",".join(matches) + b"]")
        return compressed(answer, request.headers.get("accept-encoding"))

    return _told(handle, _READ)


def subscribe_handler(archive: Archive) -> Handler:
    """POST `/workitems/{workitem}/subscribers/{aetitle}` (11.10)."""

    async def handle(request: Request) -> Answer:
        uid, aet = path_uid(request, "workitem"), request.path_params["aetitle"]
        lock, pairs = False, []
        for name, value in search_parameters(request):
            if name.lower() == "deletionlock":
                lock = boolean(name, value)
            elif name.lower() == "filter":
                pairs += [_pair(one) for one in value.split(",") if one.strip()]
            else:
                pairs.append((name, value))
        keys = parse_attribute_search(pairs, ()).query.keys if uid == rules.FILTERED_SUBSCRIPTION else ()
        await subscribe(archive, uid, aet, deletion_lock=lock, keys=keys)
        return Answer(
            HTTPStatus.CREATED, {"content-location": notification_url(request, aet), "cache-control": NO_STORE}
        )

    return _told(handle, _READ)


def unsubscribe_handler(archive: Archive) -> Handler:
    """DELETE `/workitems/{workitem}/subscribers/{aetitle}` (11.11)."""

    async def handle(request: Request) -> Answer:
        await unsubscribe(archive, path_uid(request, "workitem"), request.path_params["aetitle"])
        return Answer(HTTPStatus.OK, {"cache-control": NO_STORE})

    return _told(handle, _READ)


def suspend_handler(archive: Archive) -> Handler:
    """POST `/workitems/{workitem}/subscribers/{aetitle}/suspend` (11.12)."""

    async def handle(request: Request) -> Answer:
        await suspend(archive, path_uid(request, "workitem"), request.path_params["aetitle"])
        return Answer(HTTPStatus.OK, {"cache-control": NO_STORE})

    return _told(handle, _READ)


def notification_url(request: Request, aet: str) -> str:
    """Where a subscriber opens its WebSocket (8.10.4)."""
    root = dicomweb_root(request)
    return f"ws{root.removeprefix('http').removesuffix(DICOMWEB_PATH)}{DICOMWEB_PATH}/subscribers/{aet}"


# --- helpers ---


def _told(handle: Handler, permission: Permission, *, final_is_bad: bool = False) -> Handler:
    """The handler for who has the permission, with what a workitem's state forbids as PS3.18 tells it.

    `final_is_bad`: 400 for what is over (11.6.2).
    """

    @functools.wraps(handle)
    async def told(request: Request) -> Answer:
        require(permission)  # before a body is read; the service asks again
        try:
            return await handle(request)
        except UnknownWorkitemError as error:
            return problem(HTTPStatus.GONE if error.is_gone else HTTPStatus.NOT_FOUND, str(error))
        except WorkitemError as error:
            is_bad = error.status in _BAD_REQUEST or (final_is_bad and error.status == 0xC300)
            answer = problem(HTTPStatus.BAD_REQUEST if is_bad else HTTPStatus.CONFLICT, str(error))
            warning = _NOT_CLAIMED if final_is_bad and error.status != 0xC301 else error.warning
            return _warned(request, answer, warning)

    return told


def _warned(request: Request, answer: Answer, sentence: str) -> Answer:
    if not sentence:
        return answer
    return answer.with_headers({"warning": ", ".join(warning_headers([sentence], dicomweb_root(request)))})


def _asked_uid(request: Request) -> str:
    """The UID of `?workitem=UID` or, as 11.4.1 writes it, of `?UID`. Raises InvalidRequestError."""
    for name, value in search_parameters(request):
        if name.lower() in _UID_PARAMETERS:
            return str(UID(value))
        if not value and _UID.fullmatch(name):
            return str(UID(name))
    return ""


def _transaction_of(request: Request) -> str:
    """The Transaction UID of `?transaction-uid=UID` or `?UID`; else it may stand in the body. Raises InvalidRequestError."""
    for name, value in search_parameters(request):
        if name.lower() in ("transaction-uid", "transactionuid", "transaction"):
            return str(UID(value))
        if not value and _UID.fullmatch(name):
            return str(UID(name))
    return ""


def _pair(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator:
        raise InvalidRequestError(f"filter={text[:80]} is no pair of attribute and value, as in filter=PatientID=P1")
    return name.strip(), value.strip()


def _asked(paths: Sequence[TagPath]) -> JsonObject:
    """An identifier that asks for these attributes; of a sequence that is named whole, for all of its items."""
    asked: JsonObject = {}
    whole = {path for path in paths if vr_of(path[-1]) == "SQ"}
    for path in paths:
        if any(path[:depth] in whole for depth in range(1, len(path))):
            continue
        level = asked
        for tag in path[:-1]:
            element = level.setdefault(f"{tag:08X}", {"vr": "SQ", "Value": [{}]})
            level = element.setdefault("Value", [{}])[0]
        level.setdefault(f"{path[-1]:08X}", {"vr": vr_of(path[-1])})
    return dict(sorted(asked.items()))

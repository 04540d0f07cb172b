"""`/worklist/patients`: patients as the RIS tells them, found and looked at; what is known of one, changed by hand."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode

from starlette.requests import Request

from fileroom.archive.services import Archive
from fileroom.archive.study_list import ListedStudy, list_studies
from fileroom.core.access import Permission, current_access, require
from fileroom.core.errors import NotFoundError, RequestError, told
from fileroom.dicom.dictionary import tag_of
from fileroom.dicom.query import AnyOf, Key
from fileroom.web.answers import NO_STORE, Answer
from fileroom.web.audited import note_query
from fileroom.web.authentication import FORM_TOKEN_FIELD, require_form_token
from fileroom.web.console.form_pages import number_of, whole_number
from fileroom.web.console.forms import Form, read_form
from fileroom.web.console.language import N_
from fileroom.web.console.order_form import name_from_text, name_to_text
from fileroom.web.console.page import page, view_of
from fileroom.web.console.worklist_page import state_words
from fileroom.web.endpoint import Handler
from fileroom.worklist.facts import PatientFacts
from fileroom.worklist.merge_preview import merged_records
from fileroom.worklist.patient_editing import count_studies, save_patient
from fileroom.worklist.patient_moves import list_moves
from fileroom.worklist.patient_search import PatientDetail, get_patient, search_patients

PATIENTS_PATH: Final = "/worklist/patients"
PAGE_PATIENTS: Final = 50
STUDIES_SHOWN: Final = 50
TEXT_CHARS_MAX: Final = 200
DETAILS: Final = {
    "Allergies": N_("Allergies"),
    "MedicalAlerts": N_("Medical alerts"),
    "SpecialNeeds": N_("Special needs"),
    "PatientWeight": N_("Weight in kg"),
    "PatientAddress": N_("Address"),
    "PatientTelephoneNumbers": N_("Telephone"),
    "EthnicGroup": N_("Ethnic group"),
    "PatientComments": N_("Comments"),
}
"""What the form has beside name, birth date and sex, by DICOM keyword; others stay as they came."""
DONE: Final = {
    "saved": N_("Saved."),
    "merged": N_("The two are one patient now. It can be taken back below."),
    "unmerged": N_("The two are two patients again."),
    "linked": N_("The two are linked as one person."),
    "unlinked": N_("They are no longer linked."),
    "moved": N_("The visit is moved. It can be moved back below."),
    "moved-back": N_("What was moved is back."),
}
VISIT_STATES: Final = {
    "scheduled": N_("planned"),
    "admitted": N_("admitted"),
    "discharged": N_("discharged"),
    "cancelled": N_("cancelled"),
}
_DIGITS_MAX: Final = 15


def patients_handlers(archive: Archive) -> dict[str, dict[str, Handler]]:
    """The list, a patient and its form, by path and method."""

    async def patients(request: Request) -> Answer:
        require(Permission.ORDER_READ)
        return await _list(archive, request)

    async def one(request: Request) -> Answer:
        require(Permission.ORDER_READ)
        return await show_patient_page(archive, request, patient_number(request))

    async def edit(request: Request) -> Answer:
        require(Permission.ORDER_MANAGE)
        return await _edit(archive, request, patient_number(request))

    async def save(request: Request) -> Answer:
        number = patient_number(request)
        form = await patient_form(request)
        try:
            await save_patient(
                archive,
                number,
                _facts(form),
                version=whole_number(form, "version"),
                correct_images=form.has("correct_images"),
            )
        except RequestError as error:
            if isinstance(error, NotFoundError):
                raise
            return await _edit(archive, request, number, error, form)
        return to_patient(number, "saved")

    return {
        PATIENTS_PATH: {"GET": patients},
        f"{PATIENTS_PATH}/{{patient}}": {"GET": one},
        f"{PATIENTS_PATH}/{{patient}}/edit": {"GET": edit},
        f"{PATIENTS_PATH}/{{patient}}/save": {"POST": save},
    }


def patient_number(request: Request) -> int:
    """The patient of the address. Raises NotFoundError."""
    text = request.path_params["patient"]
    if text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX:
        return int(text)
    raise NotFoundError(told("There is no such patient."))


async def patient_form(request: Request) -> Form:
    """A form about patients, from somebody who may change them."""
    require(Permission.ORDER_MANAGE)  # before anything of it is read
    form = await read_form(request)
    require_form_token(request, form.get(FORM_TOKEN_FIELD))
    return form


def to_patient(number: int, done: str) -> Answer:
    """To the page of a patient, which says what was done."""
    location = f"{PATIENTS_PATH}/{number}?{urlencode({'done': done})}"
    return Answer(HTTPStatus.SEE_OTHER, {"location": location, "cache-control": NO_STORE})


async def show_patient_page(
    archive: Archive, request: Request, number: int, error: RequestError | None = None
) -> Answer:
    """A patient with all that belongs to it."""
    found = await get_patient(archive, number)
    access = current_access()
    done = DONE.get(request.query_params.get("done", ""), "")
    values: dict[str, Any] = {
        "found": found,
        "records": await merged_records(archive, number),
        "moves": await list_moves(archive, number),
        "studies": await _studies(archive, request, found),
        "visit_states": VISIT_STATES,
        "details": DETAILS,
        "may_change": access.allows(Permission.ORDER_MANAGE) and found.merged_into is None,
        "may_undo": access.allows(Permission.ORDER_MANAGE),
        "may_search": access.allows(Permission.STUDY_SEARCH),
        "may_read_messages": access.allows(Permission.MESSAGE_READ),
        "done": done if error is None else "",
        "error": view_of(request).reader.say(error) if error else "",
        **state_words(),
    }
    return await page(archive, request, "patient.html", place="worklist", status=number_of(error), **values)


# --- pages ---


async def _list(archive: Archive, request: Request) -> Answer:
    text = asked_text(request, "text")
    after = request.query_params.get("after", "")
    place = int(after) if after.isascii() and after.isdigit() and len(after) <= _DIGITS_MAX else None
    rows = await search_patients(archive, text, limit=PAGE_PATIENTS + 1, after=place)
    more = len(rows) > PAGE_PATIENTS
    rows = rows[:PAGE_PATIENTS]
    words = {"text": text} if text else {}
    values: dict[str, Any] = {
        "rows": rows,
        "text": text,
        "next": f"{PATIENTS_PATH}?{urlencode(words | {'after': str(rows[-1].id)})}" if more else "",
    }
    return await page(archive, request, "patients.html", place="worklist", **values)


def asked_text(request: Request, name: str) -> str:
    """A text of the address, short and without what a database does not take."""
    return request.query_params.get(name, "").strip()[:TEXT_CHARS_MAX].replace("\0", "")


async def _edit(
    archive: Archive, request: Request, number: int, error: RequestError | None = None, typed: Form | None = None
) -> Answer:
    found = await get_patient(archive, number)
    day = found.birth_date
    texts = {
        "name": name_to_text(found.patient_name),
        "birth_date": f"{day[:4]}-{day[4:6]}-{day[6:]}" if len(day) == len("YYYYMMDD") else day,
        "sex": found.sex,
        "other_names": "\n".join(name_to_text(one) for one in found.other_names),
        **{keyword: found.details.get(keyword, "") for keyword in DETAILS},
    }
    if typed is not None:
        texts |= {name: typed.get(name) for name in typed.names()}
    values: dict[str, Any] = {
        "found": found,
        "texts": texts,
        "details": DETAILS,
        "version": typed.get("version") if typed is not None else found.version,
        "studies": await count_studies(archive, number),
        "correct_images": typed.has("correct_images") if typed is not None else archive.settings.ris_updates_images,
        "error": view_of(request).reader.say(error) if error else "",
    }
    return await page(archive, request, "patient_form.html", place="worklist", status=number_of(error), **values)


# --- helpers ---


def _facts(form: Form) -> PatientFacts:
    """What the form says; every field of it is there, an empty one takes the value away."""
    others = [name_from_text(line.strip()) for line in form.get("other_names").splitlines() if line.strip()]
    return PatientFacts(
        (),
        name=name_from_text(form.get("name")),
        birth_date=re.sub("[-.]", "", form.get("birth_date")),
        sex=form.get("sex"),
        other_names=tuple(others),
        details={keyword: form.get(keyword) for keyword in DETAILS if form.has(keyword)},
    )


async def _studies(archive: Archive, request: Request, found: PatientDetail) -> list[ListedStudy]:
    """The patient's studies as the list of studies tells them, the newest first."""
    if not found.study_uids or not current_access().allows(Permission.STUDY_SEARCH):
        return []
    key = Key(tag_of("StudyInstanceUID") or 0, "UI", AnyOf(found.study_uids[:STUDIES_SHOWN]))
    studies = await list_studies(archive, [key], limit=STUDIES_SHOWN)
    note_query(archive, request, studies.query)
    return studies.studies

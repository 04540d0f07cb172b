"""The form of an order: what it shows of an order, and the change that it asks for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from fileroom.core.errors import InvalidRequestError, told
from fileroom.web.console.forms import Form
from fileroom.worklist.changes import PutOrder
from fileroom.worklist.facts import Code, Identifier, OrderFacts, PatientFacts, StepFacts
from fileroom.worklist.order_rows import Order, OrderStep
from fileroom.worklist.procedure_codes import protocols_from_text, protocols_to_text

TEXTS: Final = ("reason", "clinical_information", "department", "institution", "transport", "danger")
NAMES: Final = ("ordering_physician", "referring_physician")
STEP_TEXTS: Final = (
    "modality",
    "location",
    "station_name",
    "description",
    "comments",
    "contrast_agent",
    "pre_medication",
)
NEW_STEPS: Final = 1
"""Empty rows for further steps below those that there are."""


def values_of(order: Order | None, patient_id: str = "") -> dict[str, str]:
    """What the form shows of an order, by the names of its fields."""
    order = order or Order()
    values = {name: getattr(order, name) for name in (*TEXTS, "priority", "body_part", "laterality", "procedure_id")}
    values |= {name: name_to_text(getattr(order, name)) for name in NAMES}
    values |= {
        "accession": order.accession_number,
        "accession_authority": order.accession_authority,
        "placer": order.placer_number,
        "placer_authority": order.placer_authority,
        "code": order.procedure_code,
        "scheme": order.procedure_scheme,
        "meaning": order.procedure_meaning,
        "patient_id": patient_id,
    }
    for place, step in enumerate((*order.steps, *[OrderStep()] * (NEW_STEPS if order.steps else 1))):
        values |= {f"{name}.{place}": getattr(step, name) for name in (*STEP_TEXTS, "step_id")}
        values[f"start.{place}"] = _start_to_text(step)
        values[f"stations.{place}"] = " ".join(step.station_aets)
        values[f"protocols.{place}"] = protocols_to_text(step.protocol_codes)
        values[f"physician.{place}"] = name_to_text(step.performing_physician)
    return values


def change_of(form: Form, order: Order | None) -> PutOrder:
    """The change that the form asks for. Raises InvalidRequestError."""
    said: dict[str, Any] = {name: form.get(name) for name in (*TEXTS, "priority", "body_part", "laterality")}
    said |= {name: name_from_text(form.get(name)) for name in NAMES}
    facts = OrderFacts(
        placer=_number(form, "placer"),
        accession=_number(form, "accession"),
        procedure_id=form.get("procedure_id"),
        procedure=_procedure(form, order),
        steps=tuple(_steps(form)),
        **said,
    )
    return PutOrder(facts, None if order is not None else _patient(form))


def name_to_text(name: str) -> str:
    """A PN as people type it: `Family, Given`; one with more parts stays a PN."""
    parts = name.split("^")
    plain = "=" not in name and len(parts) == 2 and all(parts)
    return ", ".join(parts) if plain else name


def name_from_text(text: str) -> str:
    """`Family, Given` as a PN; what has a caret is one already."""
    if "^" in text or "," not in text:
        return text
    family, _, given = text.partition(",")
    return f"{family.strip()}^{given.strip()}".rstrip("^")


# --- helpers ---


def _number(form: Form, name: str) -> Identifier | None:
    value = form.get(name)
    return Identifier(value, form.get(f"{name}_authority")) if value else None


def _procedure(form: Form, order: Order | None) -> Code | None:
    code = Code(form.get("code"), form.get("scheme"), form.get("meaning"))
    if code == Code("") and (order is None or not (order.procedure_code or order.procedure_meaning)):
        return None
    return code


def _steps(form: Form) -> list[StepFacts]:
    """Rows that say something; one that was there stays with what it says now."""
    steps = []
    place = 0
    while form.has(f"start.{place}"):
        get: Mapping[str, str] = {
            name: form.get(f"{name}.{place}")
            for name in (*STEP_TEXTS, "step_id", "start", "stations", "protocols", "physician")
        }
        place += 1
        if not any(get.values()):
            continue
        is_new = not get["step_id"]
        texts = {name: get[name] if get[name] or not is_new else None for name in STEP_TEXTS}
        steps.append(
            StepFacts(
                step_id=get["step_id"],
                station_aets=tuple(re.split(r"[\s,;]+", get["stations"]))
                if get["stations"]
                else None
                if is_new
                else (),
                start=_start_of(get["start"]),
                performing_physician=name_from_text(get["physician"]),
                protocol_codes=protocols_from_text(get["protocols"]) if get["protocols"] else None if is_new else (),
                **texts,
            )
        )
    return steps


def _start_of(text: str) -> str:
    """`2026-11-22T10:30` of the browser as DT."""
    digits = re.sub(r"[-:T ]", "", text)
    if digits and not digits.isdigit():
        raise InvalidRequestError(
            told("{start} is no date and time; write it as 2026-11-22 10:30.", start=repr(text[:40]))
        )
    return digits


def _start_to_text(step: OrderStep) -> str:
    day, time = step.start_date, step.start_time
    return f"{day[:4]}-{day[4:6]}-{day[6:]}T{time[:2] or '00'}:{time[2:4] or '00'}" if day else ""


def _patient(form: Form) -> PatientFacts | None:
    number = form.get("patient_id")
    if not number:
        raise InvalidRequestError(told("An order that is entered here needs its patient: give the Patient ID."))
    return PatientFacts(
        (Identifier(number, form.get("authority")),),
        name=name_from_text(form.get("name")) or None,
        birth_date=re.sub("[-.]", "", form.get("birth_date")) or None,
        sex=form.get("sex") or None,
    )

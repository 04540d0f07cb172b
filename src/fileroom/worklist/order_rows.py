"""Rows of orders with their steps: found and locked, made, changed, each in one statement with the order's history.

Rules of what an order becomes are in `orders`. Every change of an order is also a row of `order_change`: its id is a mark
behind which rooms above find what has changed since.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final

import orjson
from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from fileroom.core.errors import Told
from fileroom.dicom.normal_forms import normalize_name
from fileroom.worklist.changes import Cause
from fileroom.worklist.facts import Code, Identifier, OrderState

CANDIDATES_MAX: Final = 100
"""Orders that one message can mean: more under one accession are nobody's."""


@dataclass(frozen=True, slots=True)
class OrderStep:
    """A scheduled procedure step. `start_date` DA, `start_time` normal TM or empty; `minutes` 0: not known. `id` 0: new."""

    id: int = 0
    step_id: str = ""
    modality: str = ""
    station_aets: tuple[str, ...] = ()
    station_name: str = ""
    location: str = ""
    start_date: str = ""
    start_time: str = ""
    minutes: int = 0
    performing_physician: str = ""
    description: str = ""
    protocol_codes: tuple[Code, ...] = ()
    pre_medication: str = ""
    contrast_agent: str = ""
    comments: str = ""
    state: OrderState = OrderState.SCHEDULED


@dataclass(frozen=True, slots=True)
class Order:
    """An order with its requested procedure and steps. `patient` None: its patient has not been told yet."""

    id: int = 0
    patient: int | None = None
    visit: int | None = None
    placer_number: str = ""
    placer_authority: str = ""
    filler_number: str = ""
    filler_authority: str = ""
    accession_number: str = ""
    accession_authority: str = ""
    procedure_id: str = ""
    """As the RIS gives it; empty: it gives none."""
    study_instance_uid: str = ""
    procedure_code: str = ""
    procedure_scheme: str = ""
    procedure_meaning: str = ""
    priority: str = "ROUTINE"
    state: OrderState = OrderState.SCHEDULED
    ordering_physician: str = ""
    referring_physician: str = ""
    reason: str = ""
    clinical_information: str = ""
    department: str = ""
    institution: str = ""
    body_part: str = ""
    laterality: str = ""
    transport: str = ""
    danger: str = ""
    details: Mapping[str, str] | None = None
    placed: bool = True
    """False: only a cancellation or another change of its state came so far."""
    version: int = 1
    changed_by: str = ""
    patient_id: str = ""
    """The identifier that images carry."""
    patient_name: str = ""
    steps: tuple[OrderStep, ...] = ()

    @property
    def name(self) -> str:
        """What people call it: its accession number, else its placer's or filler's, else its own."""
        return self.accession_number or self.placer_number or self.filler_number or f"#{self.id}"


_STEP_NAMES: Final = tuple(one.name for one in fields(OrderStep))
_READ_ONLY: Final = ("id", "version", "changed_by", "patient_id", "patient_name", "steps")
WRITTEN: Final = tuple(one.name for one in fields(Order) if one.name not in _READ_ONLY)
"""Columns that a change of an order writes."""
COLUMNS: Final = f"""{", ".join(f"o.{name}" for name in ("id", *WRITTEN, "version", "changed_by"))},
    coalesce((SELECT i.value FROM patient_identifier i WHERE i.patient = o.patient
        ORDER BY i.is_first DESC, i.id LIMIT 1), '') AS patient_id,
    coalesce((SELECT p.patient_name FROM registered_patient p WHERE p.id = o.patient), '') AS patient_name,
    coalesce((SELECT jsonb_agg(to_jsonb(s) ORDER BY s.id) FROM scheduled_step s WHERE s.imaging_order = o.id), '[]')
        AS steps"""
_NAMES: Final = ("id", *WRITTEN, "version", "changed_by", "patient_id", "patient_name", "steps")


def order_of(row: Sequence[Any]) -> Order:
    """A row of COLUMNS."""
    values = dict(zip(_NAMES, row, strict=True))
    values["state"] = OrderState(values["state"])
    values["steps"] = tuple(_step_of(one) for one in values["steps"])
    return Order(**values)


async def read_order(connection: AsyncConnection[Any], number: int, *, lock: bool = False) -> Order | None:
    """The order with this row's number. Raises psycopg.Error."""
    cursor = await connection.execute(
        f"SELECT {COLUMNS} FROM imaging_order o WHERE o.id = %s{_LOCK if lock else ''}".encode(),
        (number,),
    )
    row = await cursor.fetchone()
    return None if row is None else order_of(row)


async def find_orders(
    connection: AsyncConnection[Any],
    placer: Identifier | None,
    filler: Identifier | None,
    accession: Identifier | None,
) -> list[Order]:
    """Orders that carry any of these, the oldest first, locked until the transaction ends. Raises psycopg.Error."""
    conditions: list[str] = []
    values: list[object] = []
    for name, one in (("placer", placer), ("filler", filler), ("accession", accession)):
        if one is not None and one.value:
            conditions.append(f"(o.{name}_number = %s AND o.{name}_authority = %s AND o.{name}_number <> '')")
            values += [one.value, one.authority]
    if not conditions:
        return []
    cursor = await connection.execute(
        f"""SELECT {COLUMNS} FROM imaging_order o WHERE {" OR ".join(conditions)}
            ORDER BY o.id LIMIT {CANDIDATES_MAX}{_LOCK}""".encode(),
        values,
    )
    return [order_of(row) for row in await cursor.fetchall()]


async def lock_numbers(connection: AsyncConnection[Any], *numbers: Identifier | None) -> None:
    """Let nobody else make an order of these numbers until the transaction ends. Raises psycopg.Error."""
    names = sorted({f"{one.authority}|{one.value}" for one in numbers if one is not None and one.value})
    await connection.execute(
        b"""SELECT pg_advisory_xact_lock(%s, h) FROM (
                SELECT DISTINCT hashtext(n) AS h FROM unnest(%s::text[]) AS n ORDER BY 1) AS hashes""",
        (_LOCK_CLASS, names),
    )


async def insert_order(
    connection: AsyncConnection[Any], order: Order, cause: Cause, sentences: Sequence[str]
) -> Order | None:
    """Make an order with its steps; None where there is one of this placer number already. Raises psycopg.Error.

    Steps without an ID get one: the order's row and their place, which no other step of any order has.
    """
    cursor = await connection.execute(
        _INSERT,
        (
            *_order_values(order),
            cause.who,
            _steps_to_json(order.steps),
            cause.message,
            cause.who,
            sentences_to_json(sentences),
        ),
    )
    row = await cursor.fetchone()
    if row is None:
        return None
    made = int(row[0])
    steps = tuple(
        step if step.step_id else replace(step, step_id=made_step_id(made, place))
        for place, step in enumerate(order.steps, 1)
    )
    return replace(order, id=made, steps=steps)


async def update_order(
    connection: AsyncConnection[Any],
    order: Order,
    steps: Sequence[OrderStep],
    cause: Cause,
    sentences: Sequence[str],
) -> None:
    """Let the order be as it is given, and these of its steps. Raises psycopg.Error."""
    await connection.execute(
        _UPDATE,
        (
            *_order_values(order),
            cause.who,
            order.id,
            _steps_to_json(steps),
            cause.message,
            cause.who,
            sentences_to_json(sentences),
        ),
    )


async def note_in_history(
    connection: AsyncConnection[Any], orders: Sequence[int], cause: Cause, sentences: Sequence[str]
) -> None:
    """Write into the history of orders what befell them with their patient or visit, as new versions. Raises psycopg.Error."""
    if not orders:
        return
    await connection.execute(
        b"""WITH changed AS (UPDATE imaging_order SET version = version + 1, changed_at = now(), changed_by = %s
                WHERE id = ANY(%s) RETURNING id)
            INSERT INTO order_change (imaging_order, message, changed_by, sentences)
            SELECT id, %s, %s, %s::jsonb FROM changed ORDER BY id""",
        (cause.who, list(orders), cause.message, cause.who, sentences_to_json(sentences)),
    )


def made_step_id(order: int, place: int) -> str:
    """The ID of a step whose order gives none: at most 16 characters (SH)."""
    return f"{order}-{place}"


def sentences_to_json(sentences: Sequence[str]) -> str:
    """As `order_change` keeps them."""
    return orjson.dumps([_sentence_to_json(one) for one in sentences]).decode()


def sentence_of_json(value: Any) -> str:
    """One of them back: a `Told` that pages can say in other languages."""
    if not isinstance(value, list) or len(value) != 2:
        return str(value)
    template, values = value
    sentence = Told(template.format_map(read) if (read := _values_of_json(values)) else template)
    sentence.template, sentence.values = template, read
    return sentence


# --- helpers ---

_LOCK: Final = " FOR NO KEY UPDATE OF o"
_LOCK_CLASS: Final = 0x4F52
""""OR": the first half of the advisory locks of orders."""
_STEP_TYPES: Final = {"place": "integer", "id": "bigint", "minutes": "integer"} | {
    "station_aets": "text[]",
    "protocol_codes": "jsonb",
}
_STEP_COLUMNS: Final = (*(name for name in _STEP_NAMES if name != "id"), "performing_physician_key")
_STEPS_GIVEN: Final = ", ".join(f"{name} {_STEP_TYPES.get(name, 'text')}" for name in ("place", "id", *_STEP_COLUMNS))
_ORDER_COLUMNS: Final = (*WRITTEN, "referring_physician_key", "changed_by")
_REST: Final = f"""given AS (SELECT * FROM jsonb_to_recordset(%s::jsonb) AS g({_STEPS_GIVEN})),
made AS (INSERT INTO scheduled_step (imaging_order, {", ".join(_STEP_COLUMNS)})
    SELECT changed.id, coalesce(nullif(g.step_id, ''), changed.id || '-' || g.place),
    {", ".join(f"g.{name}" for name in _STEP_COLUMNS if name != "step_id")}
    FROM changed, given g WHERE g.id = 0 ORDER BY g.place),
moved AS (UPDATE scheduled_step s SET {", ".join(f"{name} = g.{name}" for name in _STEP_COLUMNS)}
    FROM changed, given g WHERE s.id = g.id AND s.imaging_order = changed.id),
told AS (INSERT INTO order_change (imaging_order, message, changed_by, sentences)
    SELECT changed.id, %s, %s, %s::jsonb FROM changed)
SELECT id FROM changed"""
_INSERT: Final = f"""WITH changed AS (
    INSERT INTO imaging_order ({", ".join(_ORDER_COLUMNS)}) VALUES ({", ".join(["%s"] * len(_ORDER_COLUMNS))})
    ON CONFLICT (placer_authority, placer_number, procedure_id) WHERE placer_number <> '' DO NOTHING RETURNING id),
{_REST}""".encode()
_UPDATE: Final = f"""WITH changed AS (
    UPDATE imaging_order SET {", ".join(f"{name} = %s" for name in _ORDER_COLUMNS)}, version = version + 1,
    changed_at = now() WHERE id = %s RETURNING id),
{_REST}""".encode()


def _order_values(order: Order) -> list[object]:
    values: dict[str, object] = {name: getattr(order, name) for name in WRITTEN}
    values["state"] = order.state.value
    values["details"] = Jsonb(dict(order.details or {}))
    return [*values.values(), normalize_name(order.referring_physician) or None]


def _steps_to_json(steps: Sequence[OrderStep]) -> str:
    return orjson.dumps([{"place": place, **_step_values(one)} for place, one in enumerate(steps, 1)]).decode()


def _step_values(step: OrderStep) -> dict[str, Any]:
    values = {name: getattr(step, name) for name in _STEP_NAMES}
    values["protocol_codes"] = [
        {"value": one.value, "scheme": one.scheme, "meaning": one.meaning} for one in step.protocol_codes
    ]
    values["performing_physician_key"] = normalize_name(step.performing_physician) or None
    return values


def _step_of(row: Mapping[str, Any]) -> OrderStep:
    values = {name: row[name] for name in _STEP_NAMES}
    values["station_aets"] = tuple(row["station_aets"])
    values["protocol_codes"] = tuple(Code(**one) for one in row["protocol_codes"])
    values["state"] = OrderState(row["state"])
    return OrderStep(**values)


def _sentence_to_json(sentence: object) -> Any:
    if isinstance(sentence, Told):
        return [sentence.template, {name: _sentence_to_json(value) for name, value in sentence.values.items()}]
    return sentence if isinstance(sentence, int) else str(sentence)


def _values_of_json(values: Mapping[str, Any]) -> dict[str, object]:
    return {name: sentence_of_json(value) if isinstance(value, list) else value for name, value in values.items()}
